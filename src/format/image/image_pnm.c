/* image_pnm.c - the binary forms of Netpbm: P4 (bitmap), P5 (grey), P6 (colour). */
#include "format/image/image_internal.h"

#include <stdio.h>
#include <string.h>

typedef struct header {
    uint32_t width, height, maximum;
    size_t bytes; /* of the header: where the pixels start */
    char kind;    /* '4', '5', '6' */
} header;

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* White space and comments, then a decimal number of at most 9 digits. */
static bool take_number(const uint8_t *p, size_t bytes, size_t *at, uint32_t *out)
{
    size_t i = *at;
    while (i < bytes && (is_space(p[i]) || p[i] == '#')) {
        if (p[i] == '#')
            while (i < bytes && p[i] != '\n') i++;
        else
            i++;
    }
    uint32_t value = 0;
    size_t start = i;
    for (; i < bytes && p[i] >= '0' && p[i] <= '9'; i++) {
        if (i - start == 9) return false;
        value = value * 10 + (uint32_t)(p[i] - '0');
    }
    if (i == start) return false;
    *at = i;
    *out = value;
    return true;
}

static bool read_header(const uint8_t *p, size_t bytes, header *out)
{
    header h = { .kind = (char)p[1], .maximum = 1, .bytes = 2 };
    if (!is_space(p[2]) && p[2] != '#') return false;
    if (!take_number(p, bytes, &h.bytes, &h.width)) return false;
    if (!take_number(p, bytes, &h.bytes, &h.height)) return false;
    if (h.kind != '4' && !take_number(p, bytes, &h.bytes, &h.maximum)) return false;
    if (h.bytes >= bytes || !is_space(p[h.bytes])) return false;
    h.bytes++; /* exactly one white space before the pixels */
    if (h.maximum < 1 || h.maximum > 65535) return false;
    *out = h;
    return true;
}

tl_status tl_image_pnm_probe(tl_image_decoder *decoder, const uint8_t *data, size_t bytes,
                             tl_image_info *out, tl_error *err)
{
    (void)decoder;
    header h;
    if (!read_header(data, bytes, &h))
        return tl_fail(
            err, TL_EINVAL,
            "PNM: damaged header; expected P4, P5 or P6, width, height, maximum 1..65535");
    out->width = h.width;
    out->height = h.height;
    out->channels = h.kind == '6' ? 3 : 1;
    return TL_OK;
}

static size_t row_bytes(const header *h)
{
    if (h->kind == '4') return ((size_t)h->width + 7) / 8;
    return (size_t)h->width * (h->kind == '6' ? 3 : 1) * (h->maximum > 255 ? 2 : 1);
}

static uint8_t sample(const header *h, const uint8_t *row, size_t i)
{
    uint32_t value = h->maximum > 255 ? (uint32_t)row[2 * i] << 8 | row[2 * i + 1] : row[i];
    if (value > h->maximum) value = h->maximum;
    return (uint8_t)((value * 255 + h->maximum / 2) / h->maximum);
}

tl_status tl_image_pnm_decode(tl_image_decoder *decoder, const uint8_t *data, size_t bytes,
                              uint32_t channels, tl_image_info *info, tl_error *err)
{
    (void)channels; /* converted by the caller */
    header h;
    if (!read_header(data, bytes, &h)) return tl_fail(err, TL_EINVAL, "PNM: damaged header");
    size_t need = row_bytes(&h) * h.height;
    if (need > bytes - h.bytes)
        return tl_fail(err, TL_EINVAL, "PNM: truncated: %zu bytes of pixels, expected %zu",
                       bytes - h.bytes, need);
    size_t row_count = (size_t)h.width * info->channels;
    tl_status status = tl_image_reserve(&decoder->pixels, row_count * h.height, err);
    if (status != TL_OK) return status;
    uint8_t *out = decoder->pixels.data;
    for (uint32_t y = 0; y < h.height; y++, out += row_count) {
        const uint8_t *row = data + h.bytes + y * row_bytes(&h);
        if (h.kind == '4')
            for (size_t i = 0; i < row_count; i++)
                out[i] = (row[i / 8] >> (7 - i % 8) & 1) != 0 ? 0 : 255; /* 1 is black */
        else if (h.maximum == 255)
            memcpy(out, row, row_count);
        else
            for (size_t i = 0; i < row_count; i++) out[i] = sample(&h, row, i);
    }
    return TL_OK;
}

tl_status tl_image_encode_pnm(tl_pixels pixels, tl_text *out, tl_error *err)
{
    TL_ASSERT(pixels.channels == 1 || pixels.channels == 3);
    tl_text_printf(out, "P%c\n%u %u\n255\n", pixels.channels == 1 ? '5' : '6', pixels.width,
                   pixels.height);
    tl_text_append(out, (const char *)pixels.data,
                   (size_t)pixels.height * pixels.width * pixels.channels);
    return tl_text_ok(out) ? TL_OK : tl_fail(err, TL_ENOMEM, "PNM file");
}

/* image.c - the decoder: recognises, checks the limits, hands over to a format, converts. */
#include "format/image.h"

#include "format/image/image_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    BYTES_MAX_DEFAULT = 32 << 20,
    PIXELS_MAX_DEFAULT = 25000000,
    SCANS_MAX_DEFAULT = 32,
    KEPT_BYTES_MAX = 8 << 20
};

tl_status tl_image_decoder_create(const tl_image_limits *limits, tl_image_decoder **out,
                                  tl_error *err)
{
    TL_ASSERT(out != NULL);
    tl_image_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL) return tl_fail(err, TL_ENOMEM, "image decoder");
    if (limits != NULL) decoder->limits = *limits;
    if (decoder->limits.bytes_max == 0) decoder->limits.bytes_max = BYTES_MAX_DEFAULT;
    if (decoder->limits.pixels_max == 0) decoder->limits.pixels_max = PIXELS_MAX_DEFAULT;
    if (decoder->limits.jpeg_scans_max == 0) decoder->limits.jpeg_scans_max = SCANS_MAX_DEFAULT;
    *out = decoder;
    return TL_OK;
}

void tl_image_decoder_destroy(tl_image_decoder **decoder)
{
    if (*decoder == NULL) return;
    tl_image_jpeg_close(*decoder);
    free((*decoder)->pixels.data);
    free((*decoder)->converted.data);
    free((*decoder)->resized.data);
    free((*decoder)->sums.data);
    free(*decoder);
    *decoder = NULL;
}

uint64_t tl_image_decoder_count(const tl_image_decoder *decoder)
{
    return decoder->decoded_count;
}

tl_status tl_image_reserve(tl_image_buffer *buffer, size_t bytes, tl_error *err)
{
    bool shrink = buffer->capacity > KEPT_BYTES_MAX && bytes <= KEPT_BYTES_MAX;
    if (bytes <= buffer->capacity && !shrink) return TL_OK;
    free(buffer->data);
    buffer->capacity = 0;
    buffer->data = malloc(bytes);
    if (buffer->data == NULL) return tl_fail(err, TL_ENOMEM, "image of %zu bytes", bytes);
    buffer->capacity = bytes;
    return TL_OK;
}

tl_status tl_image_check_size(const tl_image_decoder *decoder, uint64_t height, uint64_t width,
                              tl_error *err)
{
    if (height == 0 || width == 0)
        return tl_fail(err, TL_EINVAL, "image: has no pixels (height %llu, width %llu)",
                       (unsigned long long)height, (unsigned long long)width);
    uint64_t pixels_max = decoder->limits.pixels_max;
    if (height > TL_IMAGE_FILE_SIDE_MAX || width > TL_IMAGE_FILE_SIDE_MAX ||
        height * width > pixels_max)
        return tl_fail(err, TL_ELIMIT,
                       "image: %llu x %llu pixels; at most %llu in all and %d a side are taken: "
                       "send it smaller",
                       (unsigned long long)height, (unsigned long long)width,
                       (unsigned long long)pixels_max, TL_IMAGE_FILE_SIDE_MAX);
    return TL_OK;
}

/* ITU-R BT.601, in 1/65536; the weights sum to 65536, so that grey stays grey. */
static uint8_t luma(const uint8_t *rgb)
{
    return (uint8_t)((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 32768u) >> 16);
}

void tl_image_convert(const uint8_t *in, size_t count, uint32_t from, uint32_t to, uint8_t *out)
{
    if (from == to)
        memcpy(out, in, count * from);
    else if (to == 1)
        for (size_t i = 0; i < count; i++) out[i] = luma(in + 3 * i);
    else
        for (size_t i = 0; i < count; i++) memset(out + 3 * i, in[i], 3);
}

tl_image_format tl_image_recognise(const void *data, size_t bytes)
{
    static const uint8_t PNG[] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };
    const uint8_t *p = data;
    if (bytes >= 3 && p[0] == 0xFF && p[1] == 0xD8 && p[2] == 0xFF) return TL_IMAGE_FORMAT_JPEG;
    if (bytes >= sizeof PNG && memcmp(p, PNG, sizeof PNG) == 0) return TL_IMAGE_FORMAT_PNG;
    if (bytes >= 3 && p[0] == 'P' && p[1] >= '4' && p[1] <= '6') return TL_IMAGE_FORMAT_PNM;
    return TL_IMAGE_FORMAT_UNKNOWN;
}

static tl_image_probe_fn *const PROBES[] = {
    [TL_IMAGE_FORMAT_JPEG] = tl_image_jpeg_probe,
    [TL_IMAGE_FORMAT_PNG] = tl_image_png_probe,
    [TL_IMAGE_FORMAT_PNM] = tl_image_pnm_probe,
};

static tl_image_decode_fn *const DECODES[] = {
    [TL_IMAGE_FORMAT_JPEG] = tl_image_jpeg_decode,
    [TL_IMAGE_FORMAT_PNG] = tl_image_png_decode,
    [TL_IMAGE_FORMAT_PNM] = tl_image_pnm_decode,
};

tl_status tl_image_probe(tl_image_decoder *decoder, const void *data, size_t bytes,
                         tl_image_info *out, tl_error *err)
{
    TL_ASSERT(decoder != NULL);
    if (bytes == 0) return tl_fail(err, TL_EINVAL, "image: empty");
    if (bytes > decoder->limits.bytes_max)
        return tl_fail(err, TL_ELIMIT, "image: a file of %zu bytes; at most %zu are taken", bytes,
                       decoder->limits.bytes_max);
    tl_image_info info = { .format = tl_image_recognise(data, bytes) };
    if (info.format == TL_IMAGE_FORMAT_UNKNOWN)
        return tl_fail(err, TL_EINVAL, "image: not a JPEG, PNG, PBM, PGM or PPM file");
    tl_status status = PROBES[info.format](decoder, data, bytes, &info, err);
    if (status == TL_OK) status = tl_image_check_size(decoder, info.height, info.width, err);
    if (status == TL_OK) *out = info;
    return status;
}

tl_status tl_image_decode(tl_image_decoder *decoder, const void *data, size_t bytes,
                          uint32_t channels, tl_pixels *out, tl_error *err)
{
    TL_ASSERT(channels == 0 || channels == 1 || channels == 3);
    tl_image_info info = { 0 };
    tl_status status = tl_image_probe(decoder, data, bytes, &info, err);
    if (status != TL_OK) return status;
    status = DECODES[info.format](decoder, data, bytes, channels, &info, err);
    if (status != TL_OK) return status;
    size_t count = (size_t)info.height * info.width;
    decoder->decoded_count += count;
    tl_pixels pixels = { decoder->pixels.data, info.height, info.width, info.channels };
    if (channels != 0 && channels != info.channels) {
        status = tl_image_reserve(&decoder->converted, count * channels, err);
        if (status != TL_OK) return status;
        tl_image_convert(pixels.data, count, info.channels, channels, decoder->converted.data);
        pixels.data = decoder->converted.data;
        pixels.channels = channels;
    }
    *out = pixels;
    return TL_OK;
}

tl_status tl_image_decode_to(tl_image_decoder *decoder, const void *data, size_t bytes,
                             uint32_t height, uint32_t width, uint32_t channels, uint8_t *out,
                             tl_error *err)
{
    TL_ASSERT(channels == 1 || channels == 3);
    tl_pixels pixels;
    tl_status status = tl_image_decode(decoder, data, bytes, channels, &pixels, err);
    if (status != TL_OK) return status;
    return tl_image_resize(decoder, pixels, height, width, channels, out, err);
}

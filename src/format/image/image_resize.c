/* image_resize.c - area averaging where an axis shrinks, linear where it grows. In whole numbers
 * throughout, with one rounding at the end: the result is the same on every machine. */
#include "format/image/image_internal.h"

#include <string.h>

typedef struct axis {
    uint32_t in, out;
    uint32_t total; /* the weights of each output pixel sum to this; at most 2 * 65535 */
} axis;

/* The input pixels [first, first + count) that make up one output pixel: weights `head` for the
 * first, `tail` for the last of several, axis.out for those between. */
typedef struct span {
    uint32_t first, count, head, tail;
} span;

static axis axis_make(uint32_t in, uint32_t out)
{
    return (axis){ in, out, in >= out ? in : 2 * out };
}

/* Shrinking: in units of 1/out of an input pixel, output o covers [o*in, (o+1)*in) and input i
 * covers [i*out, (i+1)*out). */
static span span_area(axis a, uint32_t o)
{
    uint64_t start = (uint64_t)o * a.in, end = start + a.in;
    span s = { .first = (uint32_t)(start / a.out) };
    uint32_t last = (uint32_t)((end - 1) / a.out);
    s.count = last - s.first + 1;
    s.head = (uint32_t)((uint64_t)(s.first + 1) * a.out - start); /* a.in when it is the only one */
    s.tail = (uint32_t)(end - (uint64_t)last * a.out);
    return s;
}

/* Growing: in units of 1/(2*out), the centre of output o lies at (2*o+1)*in - out from that of the
 * first input pixel; beyond the outer centres the outer pixel is repeated. */
static span span_linear(axis a, uint32_t o)
{
    int64_t at = (int64_t)(2 * (uint64_t)o + 1) * a.in - a.out;
    int64_t end = (int64_t)(a.in - 1) * 2 * a.out;
    if (at < 0) at = 0;
    if (at > end) at = end;
    span s = { .first = (uint32_t)(at / (2 * (int64_t)a.out)) };
    s.tail = (uint32_t)(at % (2 * (int64_t)a.out));
    s.head = a.total - s.tail;
    s.count = s.tail == 0 ? 1 : 2;
    return s;
}

static span span_of(axis a, uint32_t o)
{
    return a.in >= a.out ? span_area(a, o) : span_linear(a, o);
}

static uint32_t span_weight(axis a, span s, uint32_t i)
{
    return i == 0 ? s.head : i == s.count - 1 ? s.tail : a.out;
}

static void sum_rows(axis a, span s, const uint8_t *in, size_t row_count, uint32_t *sums)
{
    memset(sums, 0, row_count * sizeof *sums);
    for (uint32_t i = 0; i < s.count; i++) {
        const uint8_t *row = in + (size_t)(s.first + i) * row_count;
        uint32_t weight = span_weight(a, s, i);
        for (size_t k = 0; k < row_count; k++) sums[k] += weight * row[k];
    }
}

static void sum_columns(axis a, uint64_t total, const uint32_t *sums, uint32_t channels,
                        uint8_t *out)
{
    for (uint32_t o = 0; o < a.out; o++) {
        span s = span_of(a, o);
        for (uint32_t c = 0; c < channels; c++) {
            const uint32_t *column = sums + (size_t)s.first * channels + c;
            uint64_t sum = total / 2;
            for (uint32_t i = 0; i < s.count; i++)
                sum += (uint64_t)span_weight(a, s, i) * column[(size_t)i * channels];
            *out++ = (uint8_t)(sum / total);
        }
    }
}

static tl_status resize(tl_image_decoder *decoder, tl_pixels in, uint32_t height, uint32_t width,
                        uint8_t *out, tl_error *err)
{
    axis y = axis_make(in.height, height), x = axis_make(in.width, width);
    size_t row_count = (size_t)in.width * in.channels;
    tl_status status = tl_image_reserve(&decoder->sums, row_count * sizeof(uint32_t), err);
    if (status != TL_OK) return status;
    for (uint32_t o = 0; o < height; o++) {
        sum_rows(y, span_of(y, o), in.data, row_count, decoder->sums.data);
        sum_columns(x, (uint64_t)y.total * x.total, decoder->sums.data, in.channels,
                    out + (size_t)o * width * in.channels);
    }
    return TL_OK;
}

tl_status tl_image_resize(tl_image_decoder *decoder, tl_pixels in, uint32_t height, uint32_t width,
                          uint32_t channels, uint8_t *out, tl_error *err)
{
    TL_ASSERT(in.height >= 1 && in.height <= TL_IMAGE_FILE_SIDE_MAX);
    TL_ASSERT(in.width >= 1 && in.width <= TL_IMAGE_FILE_SIDE_MAX);
    TL_ASSERT(height >= 1 && height <= TL_IMAGE_FILE_SIDE_MAX);
    TL_ASSERT(width >= 1 && width <= TL_IMAGE_FILE_SIDE_MAX);
    TL_ASSERT(in.channels == 1 || in.channels == 3);
    TL_ASSERT(channels == 1 || channels == 3);
    size_t count = (size_t)height * width;
    if (in.height == height && in.width == width) {
        tl_image_convert(in.data, count, in.channels, channels, out);
        return TL_OK;
    }
    if (in.channels == channels) return resize(decoder, in, height, width, out, err);
    tl_status status = tl_image_reserve(&decoder->resized, count * in.channels, err);
    if (status == TL_OK) status = resize(decoder, in, height, width, decoder->resized.data, err);
    if (status == TL_OK) tl_image_convert(decoder->resized.data, count, in.channels, channels, out);
    return status;
}

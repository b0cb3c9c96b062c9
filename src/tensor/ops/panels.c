#include "tensor/ops/panels.h"

#include <string.h>

enum { STRETCH = 64 }; /* numbers of every column in turn: what they are turned into stays in L1 */

/* Fewer than 8 columns are wasted. */
size_t tl_panels_width(size_t out, size_t begin)
{
    const size_t left = out - begin;
    return left > 24 ? 32 : left > 8 ? 16 : 8;
}

size_t tl_panels_columns(size_t out)
{
    size_t begin = 0;
    while (begin < out) begin += tl_panels_width(out, begin);
    return begin;
}

size_t tl_panels_floats(size_t out, size_t inner)
{
    return tl_panels_columns(out) * inner;
}

size_t tl_panels_count(size_t out)
{
    size_t count = 0;
    for (size_t begin = 0; begin < out; begin += tl_panels_width(out, begin)) count++;
    return count;
}

/* Four columns of a panel, numbers `k` (whole fours) of the canonical rows, in blocks of 4 x 4 that
 * stay in registers. */
typedef float four __attribute__((vector_size(16)));

static four load(const float *from)
{
    four value;
    memcpy(&value, from, sizeof value);
    return value;
}

/* The next stretch of a row: that is a jump away, which processors do not foresee. */
static void prefetch(const float *row, size_t begin, size_t end)
{
    for (size_t i = begin; i < end && i < begin + STRETCH; i += TL_ALIGN_BYTES / sizeof(float))
        __builtin_prefetch(row + i);
}

static void pack_four(const float *from, size_t channels, size_t taps, tl_range k, size_t width,
                      float *panel)
{
    const size_t inner = channels * taps;
    size_t c = k.begin / taps, t = k.begin % taps; /* the number's channel and tap */
    for (size_t i = 0; i < 4; i++) prefetch(from + i * inner, k.end, inner);
    for (size_t i = k.begin; i < k.end; i += 4) {
        const four a = load(from + i), b = load(from + inner + i);
        const four d = load(from + 2 * inner + i), e = load(from + 3 * inner + i);
        const four low_ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const four low_de = __builtin_shufflevector(d, e, 0, 4, 1, 5);
        const four high_ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const four high_de = __builtin_shufflevector(d, e, 2, 6, 3, 7);
        const four turned[4] = { __builtin_shufflevector(low_ab, low_de, 0, 1, 4, 5),
                                 __builtin_shufflevector(low_ab, low_de, 2, 3, 6, 7),
                                 __builtin_shufflevector(high_ab, high_de, 0, 1, 4, 5),
                                 __builtin_shufflevector(high_ab, high_de, 2, 3, 6, 7) };
#pragma GCC unroll 4
        for (size_t n = 0; n < 4; n++) {
            memcpy(panel + (t * channels + c) * width, &turned[n], sizeof turned[n]);
            if (++t == taps) t = 0, c++;
        }
    }
}

/* One column from number `begin` on; NULL: a column that is not there. */
static void pack_one(const float *from, size_t channels, size_t taps, size_t begin, size_t width,
                     float *panel)
{
    size_t c = begin / taps, t = begin % taps;
    for (size_t i = begin; i < channels * taps; i++) {
        panel[(t * channels + c) * width] = from != NULL ? from[i] : 0.0f;
        if (++t == taps) t = 0, c++;
    }
}

/* Columns 0..there-1 of `width`, a stretch of all of them at a time, for the cache. */
static void pack_panel(const float *from, size_t there, size_t channels, size_t taps, size_t width,
                       float *panel)
{
    const size_t inner = channels * taps;
    const size_t fours = inner / 4 * 4, whole = there / 4 * 4;
    for (size_t begin = 0; begin < fours; begin += STRETCH) {
        const tl_range k = { begin, begin + STRETCH < fours ? begin + STRETCH : fours };
        for (size_t i = 0; i < whole; i += 4)
            pack_four(from + i * inner, channels, taps, k, width, panel + i);
    }
    for (size_t i = 0; i < width; i++)
        pack_one(i < there ? from + i * inner : NULL, channels, taps, i < whole ? fours : 0, width,
                 panel + i);
}

void tl_panels_turn(const float *weights, size_t out, size_t channels, size_t taps, float *turned)
{
    pack_panel(weights, out, channels, taps, out, turned);
}

void tl_panels_pack(const float *weights, const float *bias, size_t out, size_t channels,
                    size_t taps, float *panels, float *panel_bias)
{
    const size_t inner = channels * taps;
    for (size_t begin = 0, width; begin < out; begin += width) {
        width = tl_panels_width(out, begin);
        float *panel = panels + begin * inner;
        const size_t there = out - begin < width ? out - begin : width;
        pack_panel(weights + begin * inner, there, channels, taps, width, panel);
        for (size_t i = 0; i < width; i++)
            panel_bias[begin + i] = i < there && bias != NULL ? bias[begin + i] : 0.0f;
    }
}

void tl_panels_run(const tl_panel_args *pixels, size_t out, const float *panels,
                   const float *panel_bias, tl_range which)
{
    const tl_kernels *k = tl_kernels_get();
    const size_t inner = pixels->segments * pixels->segment_floats;
    tl_panel_args one = *pixels;
    size_t begin = 0;
    for (size_t p = 0; begin < out && p < which.end; p++, begin += one.width) {
        one.width = tl_panels_width(out, begin);
        if (p < which.begin) continue;
        one.columns = out - begin < one.width ? out - begin : one.width;
        one.weights = panels + begin * inner;
        one.bias = panel_bias + begin;
        one.y = pixels->y + begin;
        one.add = pixels->add == NULL ? NULL : pixels->add + begin;
        k->panel(&one);
    }
}

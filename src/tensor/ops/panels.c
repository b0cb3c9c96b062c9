#include "tensor/ops/panels.h"

#include <string.h>

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

/* Columns 0..there-1 of `width`. */
static void pack_panel(const float *from, size_t there, size_t channels, size_t taps, size_t width,
                       float *panel)
{
    const size_t inner = channels * taps, fours = inner / 4 * 4, whole = there / 4 * 4;
    const tl_turn_args turn = { from, whole, fours, channels, taps, panel, width };
    tl_kernels_get()->turn(&turn);
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

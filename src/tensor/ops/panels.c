#include "tensor/ops/panels.h"

/* The panel that begins at column `begin`. Fewer than 8 columns are wasted. */
static size_t width_at(size_t out, size_t begin)
{
    const size_t left = out - begin;
    return left > 24 ? 32 : left > 8 ? 16 : 8;
}

size_t tl_panels_columns(size_t out)
{
    size_t begin = 0;
    while (begin < out) begin += width_at(out, begin);
    return begin;
}

size_t tl_panels_floats(size_t out, size_t inner)
{
    return tl_panels_columns(out) * inner;
}

size_t tl_panels_count(size_t out)
{
    size_t count = 0;
    for (size_t begin = 0; begin < out; begin += width_at(out, begin)) count++;
    return count;
}

void tl_panels_pack(const float *weights, const float *bias, size_t out, size_t channels,
                    size_t taps, float *panels, float *panel_bias)
{
    const size_t inner = channels * taps;
    for (size_t begin = 0, width; begin < out; begin += width) {
        width = width_at(out, begin);
        float *panel = panels + begin * inner;
        for (size_t i = 0; i < width; i++) {
            const bool there = begin + i < out;
            const float *from = weights + (begin + i) * inner;
            panel_bias[begin + i] = there && bias != NULL ? bias[begin + i] : 0.0f;
            for (size_t t = 0; t < taps; t++)
                for (size_t c = 0; c < channels; c++)
                    panel[(t * channels + c) * width + i] = there ? from[c * taps + t] : 0.0f;
        }
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
        one.width = width_at(out, begin);
        if (p < which.begin) continue;
        one.columns = out - begin < one.width ? out - begin : one.width;
        one.weights = panels + begin * inner;
        one.bias = panel_bias + begin;
        one.y = pixels->y + begin;
        one.add = pixels->add == NULL ? NULL : pixels->add + begin;
        k->panel(&one);
    }
}

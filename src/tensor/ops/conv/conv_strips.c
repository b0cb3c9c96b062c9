/* Strips of an image with its padding around it, so that kernels need not look for the edge. A few
 * rows at a time: the copy stays in the cache and costs little beside the sums. */
#include "tensor/ops/conv/conv_internal.h"

#include <string.h>

enum { STRIP_BYTES = 128 << 10 }; /* should stay in the second-level cache */

void tl_strips_take(tl_strips *s, tl_range taken)
{
    s->taken = taken;
    s->row_floats = s->columns * (taken.end - taken.begin);
}

tl_strips tl_strips_of(const tl_op_state *state, tl_range outputs, tl_range taken)
{
    const tl_window *w = &state->attrs->window;
    const uint32_t *in = state->inputs[0].dim, *out = state->output.dim;
    tl_strips s = { .window = w, .height = in[0], .width = in[1], .channels = in[2] };
    s.first = outputs.begin * w->stride_w;
    s.columns = (outputs.end - outputs.begin - 1) * w->stride_w + w->kernel_w;
    tl_strips_take(&s, taken);
    const size_t room = STRIP_BYTES / (s.row_floats * sizeof(float));
    s.rows = room > w->kernel_h ? (room - w->kernel_h) / w->stride_h + 1 : 1;
    if (s.rows > out[0]) s.rows = out[0];
    s.floats = ((s.rows - 1) * w->stride_h + w->kernel_h) * s.row_floats;
    return s;
}

/* The taken channels of `pixels` pixels. */
static void copy_pixels(const tl_strips *s, const void *x, bool half, size_t at, size_t pixels,
                        float *to)
{
    size_t each = s->taken.end - s->taken.begin;
    if (each == s->channels) { /* they lie one after the other */
        each *= pixels;
        pixels = 1;
    }
    at = at * s->channels + s->taken.begin;
    for (size_t p = 0; p < pixels; p++, at += s->channels, to += each) {
        if (half)
            tl_kernels_get()->from_half(each, (const uint16_t *)x + at, to);
        else
            memcpy(to, (const float *)x + at, each * sizeof *to);
    }
}

void tl_strips_fill(const tl_strips *s, const void *x, bool half, tl_range rows, float *strip)
{
    const tl_window *w = s->window;
    const size_t each = s->taken.end - s->taken.begin;
    const size_t padded = w->pad_left > s->first ? w->pad_left - s->first : 0;
    const size_t from = s->first > w->pad_left ? s->first - w->pad_left : 0;
    const size_t beside = from < s->width ? s->width - from : 0; /* columns of the image */
    const size_t count = (rows.end - rows.begin - 1) * w->stride_h + w->kernel_h;
    const size_t after = s->columns - padded; /* columns that are not padding on the left */
    const size_t inside = after < beside ? after : beside;
    for (size_t r = 0; r < count; r++, strip += s->row_floats) {
        const ptrdiff_t y = (ptrdiff_t)(rows.begin * w->stride_h + r) - (ptrdiff_t)w->pad_top;
        if (y < 0 || y >= (ptrdiff_t)s->height) {
            memset(strip, 0, s->row_floats * sizeof *strip);
            continue;
        }
        memset(strip, 0, padded * each * sizeof *strip);
        copy_pixels(s, x, half, (size_t)y * s->width + from, inside, strip + padded * each);
        memset(strip + (padded + inside) * each, 0, (after - inside) * each * sizeof *strip);
    }
}

/* Dense convolution when serving: pixels times packed panels of weights (panels.h), with bias,
 * activation and an addition in the same pass.
 *
 * What an output pixel reads is one run of floats for each row under the window, since neighbours
 * in a row are neighbours in memory. Windows with padding read padded strips of the image
 * (conv_strips.c); 1x1 convolutions read the image itself, all its pixels being one row. */
#include "tensor/ops/conv/conv_internal.h"
#include "tensor/ops/panels.h"

#include <stdlib.h>

enum {
    ROW_GRAIN = 56,      /* pixels of a 1x1 convolution for which all panels run in turn */
    WEIGHTS_OUTWEIGH = 3 /* times what is read of an image */
};

bool tl_panel_fits(const tl_op_state *state)
{
    const tl_window *w = &state->attrs->window;
    return state->mode == TL_MODE_INFER && state->attrs->groups == 1 && w->dilation_h == 1 &&
           w->dilation_w == 1;
}

typedef struct panel_conv {
    size_t in, out, inner; /* channels; inner: what a sum runs over */
    size_t height, width, out_h, out_w;
    const tl_window *window;
    bool plain; /* 1x1, stride 1: no strips */
    tl_strips strips;
} panel_conv;

static panel_conv describe(const tl_op_state *state)
{
    const tl_window *w = &state->attrs->window;
    const uint32_t *in = state->inputs[0].dim, *out = state->output.dim;
    panel_conv c = { .in = in[2],
                     .out = out[2],
                     .inner = (size_t)in[2] * w->kernel_h * w->kernel_w,
                     .height = in[0],
                     .width = in[1],
                     .out_h = out[0],
                     .out_w = out[1],
                     .window = w,
                     .strips =
                         tl_strips_of(state, (tl_range){ 0, out[1] }, (tl_range){ 0, in[2] }) };
    c.plain = w->kernel_h == 1 && w->kernel_w == 1 && w->stride_h == 1 && w->stride_w == 1;
    return c;
}

static tl_status panel_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    const panel_conv c = describe(state);
    state->needs.packed =
        (tl_panels_floats(c.out, c.inner) + tl_panels_columns(c.out)) * sizeof(float);
    if (!c.plain) state->needs.forward_scratch = tl_align(c.strips.floats * sizeof(float));
    state->needs.parts = true;
    state->needs.rows = state->batch == 1;
    state->needs.any_batch = true;
    return TL_OK;
}

/* A panel at a time: its columns are folded into a few rows, which stay in the cache until they lie
 * in the panel. */
static tl_status panel_pack(const tl_op_state *state, const float *const *params, void *packed,
                            tl_error *err)
{
    const panel_conv c = describe(state);
    float *folded = malloc(TL_PANEL_MAX * (c.inner + 1) * sizeof *folded);
    if (folded == NULL) return tl_fail(err, TL_ENOMEM, "fold weights");
    float *bias = folded + TL_PANEL_MAX * c.inner, *panels = packed;
    float *panel_bias = panels + tl_panels_floats(c.out, c.inner);
    for (size_t begin = 0, width; begin < c.out; begin += width) {
        width = tl_panels_width(c.out, begin);
        const tl_range columns = { begin, begin + width < c.out ? begin + width : c.out };
        tl_conv_fold(state->attrs, columns, c.inner, params, folded, bias);
        tl_panels_pack(folded, bias, columns.end - columns.begin, c.in, c.inner / c.in,
                       panels + begin * c.inner, panel_bias + begin);
    }
    free(folded);
    return TL_OK;
}

static void run_strips(const panel_conv *c, const float *panels, tl_range rows, tl_range which,
                       const tl_panel_args *base, float *strip)
{
    const tl_window *w = c->window;
    tl_panel_args args = *base;
    args.rows = c->out_w;
    args.x_step = w->stride_w * c->in;
    args.segments = w->kernel_h;
    args.segment_floats = w->kernel_w * c->in;
    args.segment_step = c->strips.row_floats;
    for (tl_range part = { rows.begin, 0 }; part.begin < rows.end; part.begin = part.end) {
        part.end = part.begin + c->strips.rows < rows.end ? part.begin + c->strips.rows : rows.end;
        tl_strips_fill(&c->strips, base->x, false, part, strip);
        for (size_t p = which.begin; p < which.end; p++) {
            for (size_t y = part.begin; y < part.end; y++) {
                const size_t at = y * c->out_w * c->out;
                args.x = strip + (y - part.begin) * w->stride_h * args.segment_step;
                args.y = base->y + at;
                if (base->add != NULL) args.add = base->add + at;
                tl_panels_run(&args, c->out, panels, panels + tl_panels_floats(c->out, c->inner),
                              (tl_range){ p, p + 1 });
            }
        }
    }
}

static void run_plain(const panel_conv *c, const float *panels, tl_range pixels, tl_range which,
                      const tl_panel_args *base)
{
    tl_panel_args args = *base;
    args.x_step = args.segment_floats = c->in;
    args.segments = 1;
    /* Weights that overflow the cache are read once, all pixels passing each panel. */
    const bool once = c->out * c->inner > c->in * (pixels.end - pixels.begin);
    const size_t grain = once ? pixels.end - pixels.begin : ROW_GRAIN;
    for (size_t at = pixels.begin; at < pixels.end; at += args.rows) {
        args.rows = pixels.end - at < grain ? pixels.end - at : grain;
        args.x = base->x + at * c->in;
        args.y = base->y + at * c->out;
        if (base->add != NULL) args.add = base->add + at * c->out;
        tl_panels_run(&args, c->out, panels, panels + tl_panels_floats(c->out, c->inner), which);
    }
}

/* What of the output a run does: rows (of a 1x1 convolution: pixels) and panels. Threads share out
 * pixels, which neighbouring steps then find in their own cache, unless weights are many more. */
static void share(const panel_conv *c, const tl_op_run *run, size_t images, tl_range *rows,
                  tl_range *which)
{
    const uint32_t parts = run->parts == 0 ? 1 : run->parts;
    const size_t row = c->plain ? c->out_w : 1;
    *which = (tl_range){ 0, tl_panels_count(c->out) };
    *rows = (tl_range){ 0, c->plain ? images * c->out_h * row : c->out_h };
    if (run->row_end > 0)
        *rows = (tl_range){ run->row_begin * row, run->row_end * row };
    else if (c->out * c->inner > WEIGHTS_OUTWEIGH * c->in * c->height * c->width * images &&
             which->end >= parts)
        *which = tl_team_range(which->end, 1, run->part, parts);
    else
        *rows = tl_team_range(rows->end, c->plain ? 14 : 1, run->part, parts);
}

static tl_status panel_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const panel_conv c = describe(state);
    const size_t images = state->batch, pixels = c.out_h * c.out_w;
    tl_range rows, which;
    share(&c, run, images, &rows, &which);
    tl_panel_args base = { .act = &state->attrs->activation,
                           .x = run->x[0],
                           .y = run->y,
                           .y_step = c.out,
                           .add = state->input_count > 1 ? run->x[1] : NULL,
                           .add_step = c.out };
    if (c.plain) {
        run_plain(&c, run->packed, rows, which, &base);
        return TL_OK;
    }
    for (size_t i = 0; i < images; i++) {
        run_strips(&c, run->packed, rows, which, &base, run->scratch);
        base.x += c.height * c.width * c.in;
        base.y += pixels * c.out;
        if (base.add != NULL) base.add += pixels * c.out;
    }
    return TL_OK;
}

const tl_op tl_panel = {
    .name = "panel",
    .prepare = panel_prepare,
    .pack = panel_pack,
    .forward = panel_forward,
};

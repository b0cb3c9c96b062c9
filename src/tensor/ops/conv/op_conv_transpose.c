/* Transposed convolution: every input pixel, times the weights, is added to a window of the output.
 *
 * Row by row: the input row times the weights gives the numbers of all taps, [w, taps, out / groups]
 * of each group, which are added to where they belong. Backward gathers the same numbers of dy:
 * dx = taps * weights', dw = x' * taps. Sums run in the order of rows, whatever the batch. */
#include "tensor/internal.h"

#include <string.h>

enum { WEIGHT, BIAS };

typedef struct problem {
    const tl_window *window;
    size_t in, out, groups; /* channels */
    size_t height, width, out_height, out_width;
    size_t taps, each, wide; /* of a group: inputs `each`; columns `wide` = taps * out / groups */
} problem;

static problem problem_of(const tl_op_state *state)
{
    const tl_window *w = &state->attrs->window;
    const uint32_t *x = state->inputs[0].dim, *y = state->output.dim;
    problem p = { .window = w,
                  .in = x[2],
                  .out = y[2],
                  .groups = state->attrs->groups,
                  .height = x[0],
                  .width = x[1],
                  .out_height = y[0],
                  .out_width = y[1],
                  .taps = (size_t)w->kernel_h * w->kernel_w };
    p.each = p.in / p.groups;
    p.wide = p.taps * (p.out / p.groups);
    return p;
}

static size_t transpose_params(const tl_attrs *attrs, const tl_shape *inputs,
                               tl_param_spec specs[TL_OP_PARAM_MAX])
{
    const tl_window *w = &attrs->window;
    const uint32_t in = tl_shape_channels(&inputs[0]), out = attrs->channels;
    specs[WEIGHT] = (tl_param_spec){ .suffix = "weight",
                                     .shape = tl_shape_weights(in, out / attrs->groups, w->kernel_h,
                                                               w->kernel_w),
                                     .role = TL_PARAM_WEIGHT,
                                     .init = TL_INIT_HE_FAN_OUT,
                                     .fan = in / attrs->groups * w->kernel_h * w->kernel_w };
    if (!attrs->has_bias) return 1;
    specs[BIAS] = (tl_param_spec){
        .suffix = "bias", .shape = tl_shape_vector(out), .role = TL_PARAM_BIAS, .init = TL_INIT_ZERO
    };
    return 2;
}

/* (size - 1) * stride + reach + output_pad - pads; 0 when that is nothing. */
static uint32_t grown(uint32_t size, uint32_t kernel, uint32_t stride, uint32_t dilation,
                      uint32_t output_pad, uint32_t pads)
{
    const int64_t all =
        (int64_t)(size - 1) * stride + (int64_t)(kernel - 1) * dilation + 1 + output_pad - pads;
    return all < 1 || all > TL_DIM_MAX ? 0 : (uint32_t)all;
}

static tl_status transpose_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                                 tl_shape *output, tl_error *err)
{
    (void)input_count;
    const tl_window *w = &attrs->window;
    tl_shape image;
    tl_status status = tl_image_of(&inputs[0], &image, err);
    if (status == TL_OK) status = tl_window_check(w, err);
    if (status != TL_OK) return status;
    const uint32_t in = image.dim[2], out = attrs->channels, groups = attrs->groups;
    if (out < 1 || out > TL_DIM_MAX) return tl_fail(err, TL_ESHAPE, "%u output channels", out);
    if (groups < 1 || in % groups != 0 || out % groups != 0)
        return tl_fail(err, TL_ESHAPE, "%u groups do not divide %u input and %u output channels",
                       groups, in, out);
    const uint32_t most_h = w->stride_h > w->dilation_h ? w->stride_h : w->dilation_h;
    const uint32_t most_w = w->stride_w > w->dilation_w ? w->stride_w : w->dilation_w;
    if (attrs->output_pad_h >= most_h || attrs->output_pad_w >= most_w)
        return tl_fail(err, TL_ESHAPE, "output padding of %u and %u is over stride and dilation",
                       attrs->output_pad_h, attrs->output_pad_w);
    const uint32_t height = grown(image.dim[0], w->kernel_h, w->stride_h, w->dilation_h,
                                  attrs->output_pad_h, w->pad_top + w->pad_bottom);
    const uint32_t width = grown(image.dim[1], w->kernel_w, w->stride_w, w->dilation_w,
                                 attrs->output_pad_w, w->pad_left + w->pad_right);
    if (height == 0 || width == 0)
        return tl_fail(err, TL_ESHAPE, "nothing, or too much, is left of %u x %u", image.dim[0],
                       image.dim[1]);
    const tl_shape weights = tl_shape_weights(in, out / groups, w->kernel_h, w->kernel_w);
    status = tl_shape_check(&weights, err);
    if (status == TL_OK) *output = tl_image_into(&inputs[0], height, width, out);
    return status;
}

static uint64_t transpose_macs(const tl_attrs *attrs, const tl_shape *inputs,
                               const tl_shape *output)
{
    (void)output;
    return (uint64_t)tl_shape_count(&inputs[0]) * (attrs->channels / attrs->groups) *
           attrs->window.kernel_h * attrs->window.kernel_w;
}

static size_t weights_bytes(const problem *p)
{
    return tl_align(p->in * p->wide * sizeof(float));
}

static tl_status image_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    const problem p = problem_of(state);
    const size_t row = tl_align(p.width * p.wide * sizeof(float)), weights = weights_bytes(&p);
    if (state->mode == TL_MODE_INFER)
        state->needs.packed = weights + tl_align(p.out * sizeof(float));
    state->needs.forward_scratch = row + (state->mode == TL_MODE_INFER ? 0 : weights);
    state->needs.backward_scratch = row + 2 * weights;
    state->needs.keeps_input[0] = true;
    return TL_OK;
}

static tl_status transpose_prepare(tl_op_state *state, tl_error *err)
{
    return tl_image_prepare(state, image_prepare, err);
}

/* Weights of channel i, output o of its group, tap t: canonical [in, o, t]. As a product likes
 * them: [in, t, o]; turned: [group, t, o, each]. */
static void pack_weights(const problem *p, const float *from, float *to)
{
    const size_t outs = p->out / p->groups;
    for (size_t i = 0; i < p->in; i++)
        for (size_t o = 0; o < outs; o++)
            for (size_t t = 0; t < p->taps; t++)
                to[i * p->wide + t * outs + o] = from[(i * outs + o) * p->taps + t];
}

static void unpack_weights(const problem *p, const float *from, float *to)
{
    const size_t outs = p->out / p->groups;
    for (size_t i = 0; i < p->in; i++)
        for (size_t o = 0; o < outs; o++)
            for (size_t t = 0; t < p->taps; t++)
                to[(i * outs + o) * p->taps + t] = from[i * p->wide + t * outs + o];
}

static void turn_weights(const problem *p, const float *from, float *to)
{
    const size_t outs = p->out / p->groups;
    for (size_t i = 0; i < p->in; i++)
        for (size_t o = 0; o < outs; o++)
            for (size_t t = 0; t < p->taps; t++)
                to[(i / p->each * p->wide + t * outs + o) * p->each + i % p->each] =
                    from[(i * outs + o) * p->taps + t];
}

static tl_status transpose_pack(const tl_op_state *state, const float *const *params, void *packed,
                                tl_error *err)
{
    (void)err;
    tl_op_state room;
    const problem p = problem_of(tl_image_state(state, &room));
    pack_weights(&p, params[WEIGHT], packed);
    if (state->attrs->has_bias)
        memcpy((char *)packed + weights_bytes(&p), params[BIAS], p.out * sizeof(float));
    return TL_OK;
}

/* Call for each tap and input column that meets the output: the numbers of the tap, and of the
 * output pixel. */
typedef struct meeting {
    const problem *p;
    size_t row, group;
    float *taps, *image; /* image: of dy or y */
} meeting;

static void meet(const meeting *m, bool gathers)
{
    const problem *p = m->p;
    const tl_window *w = p->window;
    const size_t outs = p->out / p->groups;
    for (size_t t = 0; t < p->taps; t++) {
        const ptrdiff_t y = (ptrdiff_t)(m->row * w->stride_h + t / w->kernel_w * w->dilation_h) -
                            (ptrdiff_t)w->pad_top;
        const ptrdiff_t x0 = (ptrdiff_t)(t % w->kernel_w * w->dilation_w) - (ptrdiff_t)w->pad_left;
        for (size_t i = 0; i < p->width; i++) {
            const ptrdiff_t x = x0 + (ptrdiff_t)(i * w->stride_w);
            float *tap = m->taps + i * p->wide + t * outs;
            const bool inside =
                y >= 0 && y < (ptrdiff_t)p->out_height && x >= 0 && x < (ptrdiff_t)p->out_width;
            if (!inside) {
                if (gathers) memset(tap, 0, outs * sizeof *tap);
                continue;
            }
            float *pixel = m->image + (y * (ptrdiff_t)p->out_width + x) * (ptrdiff_t)p->out +
                           (ptrdiff_t)(m->group * outs);
            if (gathers)
                memcpy(tap, pixel, outs * sizeof *tap);
            else
                tl_kernels_get()->add(outs, pixel, tap, pixel);
        }
    }
}

static void start_image(const problem *p, const float *bias, float *y)
{
    const size_t pixels = p->out_height * p->out_width;
    if (bias == NULL) memset(y, 0, pixels * p->out * sizeof *y);
    for (size_t i = 0; i < pixels && bias != NULL; i++)
        memcpy(y + i * p->out, bias, p->out * sizeof *y);
}

static tl_status transpose_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const problem p = problem_of(state);
    const bool serves = state->mode == TL_MODE_INFER;
    const size_t row_bytes = tl_align(p.width * p.wide * sizeof(float));
    float *taps = run->scratch, *made = (float *)(void *)((char *)run->scratch + row_bytes);
    const float *weights = serves ? run->packed : made, *bias = NULL;
    if (!serves) pack_weights(&p, run->params[WEIGHT], made);
    if (state->attrs->has_bias)
        bias = serves ? (const float *)(const void *)((const char *)run->packed + weights_bytes(&p))
                      : run->params[BIAS];
    for (size_t i = 0; i < state->batch; i++) {
        float *y = run->y + i * p.out_height * p.out_width * p.out;
        start_image(&p, bias, y);
        for (size_t job = 0; job < p.height * p.groups; job++) {
            const size_t row = job / p.groups, group = job % p.groups;
            const tl_gemm_args args = { .rows = p.width,
                                        .columns = p.wide,
                                        .inner = p.each,
                                        .a = run->x[0] + (i * p.height + row) * p.width * p.in +
                                             group * p.each,
                                        .a_row = p.in,
                                        .a_inner = 1,
                                        .b = weights + group * p.each * p.wide,
                                        .b_row = p.wide,
                                        .c = taps,
                                        .c_row = p.wide };
            tl_kernels_get()->gemm(&args);
            meet(&(meeting){ &p, row, group, taps, y }, false);
        }
    }
    return TL_OK;
}

/* One row of one group of image i. */
static void row_backward(const tl_op_run *run, const problem *p, size_t line, size_t group,
                         const float *taps, const float *turned, float *dweights)
{
    const size_t at = line * p->width * p->in + group * p->each;
    const tl_gemm_args weights = { .rows = p->each,
                                   .columns = p->wide,
                                   .inner = p->width,
                                   .a = run->x[0] + at,
                                   .a_row = 1,
                                   .a_inner = p->in,
                                   .b = taps,
                                   .b_row = p->wide,
                                   .c = dweights + group * p->each * p->wide,
                                   .c_row = p->wide,
                                   .adds = true };
    tl_kernels_get()->gemm(&weights);
    if (run->dx[0] == NULL) return;
    const tl_gemm_args data = { .rows = p->width,
                                .columns = p->each,
                                .inner = p->wide,
                                .a = taps,
                                .a_row = p->wide,
                                .a_inner = 1,
                                .b = turned + group * p->wide * p->each,
                                .b_row = p->each,
                                .c = run->dx[0] + at,
                                .c_row = p->in };
    tl_kernels_get()->gemm(&data);
}

static tl_status transpose_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const problem p = problem_of(state);
    const size_t row_bytes = tl_align(p.width * p.wide * sizeof(float));
    const size_t pixels = p.out_height * p.out_width;
    float *taps = run->scratch;
    float *turned = (float *)(void *)((char *)run->scratch + row_bytes);
    float *dweights = (float *)(void *)((char *)run->scratch + row_bytes + weights_bytes(&p));
    turn_weights(&p, run->params[WEIGHT], turned);
    memset(dweights, 0, weights_bytes(&p));
    for (size_t i = 0; i < state->batch; i++) {
        for (size_t job = 0; job < p.height * p.groups; job++) {
            const size_t row = job / p.groups, group = job % p.groups;
            float *dy = (float *)(uintptr_t)(run->dy + i * pixels * p.out); /* only read */
            meet(&(meeting){ &p, row, group, taps, dy }, true);
            row_backward(run, &p, i * p.height + row, group, taps, turned, dweights);
        }
    }
    unpack_weights(&p, dweights, run->dparams[WEIGHT]);
    if (state->attrs->has_bias) {
        memset(run->dparams[BIAS], 0, p.out * sizeof(float));
        tl_kernels_get()->sum_groups(state->batch * pixels * p.out, p.out, run->dy,
                                     run->dparams[BIAS]);
    }
    return TL_OK;
}

const tl_op tl_op_conv_transpose = {
    .name = "conv_transpose",
    .input_min = 1,
    .input_max = 1,
    .params = transpose_params,
    .shape = transpose_shape,
    .macs = transpose_macs,
    .prepare = transpose_prepare,
    .pack = transpose_pack,
    .forward = transpose_forward,
    .backward = transpose_backward,
};

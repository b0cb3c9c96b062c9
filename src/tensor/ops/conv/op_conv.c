/* Convolution: shapes and parameters, and which of its kernels runs: an own one, or oneDNN's. */
#include "tensor/ops/conv/conv_internal.h"

#include <math.h>

static size_t conv_params(const tl_attrs *attrs, const tl_shape *inputs,
                          tl_param_spec specs[TL_OP_PARAM_MAX])
{
    const tl_window *w = &attrs->window;
    uint32_t in = tl_shape_channels(&inputs[0]) / attrs->groups, out = attrs->channels;
    uint32_t area = w->kernel_h * w->kernel_w;
    specs[TL_CONV_WEIGHT] =
        (tl_param_spec){ .suffix = "weight",
                         .shape = tl_shape_weights(out, in, w->kernel_h, w->kernel_w),
                         .role = TL_PARAM_WEIGHT,
                         .init = TL_INIT_HE_FAN_OUT,
                         .fan = out / attrs->groups * area };
    if (!attrs->has_bias) return 1;
    specs[TL_CONV_BIAS] = (tl_param_spec){
        .suffix = "bias", .shape = tl_shape_vector(out), .role = TL_PARAM_BIAS, .init = TL_INIT_ZERO
    };
    return 2;
}

static tl_status conv_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                            tl_shape *output, tl_error *err)
{
    (void)input_count;
    uint32_t height, width;
    tl_shape image;
    tl_status status = tl_image_of(&inputs[0], &image, err);
    if (status == TL_OK) status = tl_window_shape(&attrs->window, &image, &height, &width, err);
    if (status != TL_OK) return status;
    uint32_t in = image.dim[2], out = attrs->channels, groups = attrs->groups;
    if (out < 1 || out > TL_DIM_MAX) return tl_fail(err, TL_ESHAPE, "%u output channels", out);
    if (groups < 1 || in % groups != 0 || out % groups != 0)
        return tl_fail(err, TL_ESHAPE, "%u groups do not divide %u input and %u output channels",
                       groups, in, out);
    tl_shape weights =
        tl_shape_weights(out, in / groups, attrs->window.kernel_h, attrs->window.kernel_w);
    status = tl_shape_check(&weights, err);
    if (status == TL_OK) *output = tl_image_into(&inputs[0], height, width, out);
    return status;
}

static uint64_t conv_macs(const tl_attrs *attrs, const tl_shape *inputs, const tl_shape *output)
{
    uint64_t each = (uint64_t)(tl_shape_channels(&inputs[0]) / attrs->groups) *
                    attrs->window.kernel_h * attrs->window.kernel_w;
    return each * tl_shape_count(output);
}

void tl_conv_fold(const tl_attrs *attrs, tl_range outputs, size_t per_output,
                  const float *const *params, float *weights, float *bias)
{
    const float *const *norm = params + (attrs->has_bias ? 2 : 1);
    for (size_t o = outputs.begin; o < outputs.end; o++, weights += per_output, bias++) {
        double factor = 1, start = attrs->has_bias ? (double)params[TL_CONV_BIAS][o] : 0;
        if (attrs->folded_norm) {
            factor = (double)norm[0][o] / sqrt((double)norm[3][o] + (double)attrs->epsilon);
            start = (start - (double)norm[2][o]) * factor + (double)norm[1][o];
        }
        *bias = (float)start;
        tl_kernels_get()->scale_wide(per_output, params[TL_CONV_WEIGHT] + o * per_output, factor,
                                     weights);
    }
}

/* Of single pixels, as in squeeze-and-excite, it is a product of matrices with the same parameters. */
static bool is_gemm(const tl_op_state *state)
{
    const tl_window *w = &state->attrs->window;
    return state->attrs->groups == 1 && w->kernel_h == 1 && w->kernel_w == 1 && w->pad_top == 0 &&
           w->pad_left == 0 && tl_shape_pixels(&state->inputs[0]) == 1 &&
           tl_shape_pixels(&state->output) == 1;
}

/* Our own kernel for this convolution, or NULL: oneDNN's. */
static const tl_op *own_kernel(const tl_op_state *state)
{
    if (state->mode != TL_MODE_INFER && is_gemm(state)) return &tl_op_gemm;
    if (tl_depthwise_fits(state->attrs, &state->inputs[0])) return &tl_depthwise;
    if (state->half) return NULL;
    if (tl_winograd_fits(state->attrs, &state->inputs[0])) return &tl_winograd;
    if (tl_panel_fits(state)) return &tl_panel;
    return NULL;
}

static tl_status image_prepare(tl_op_state *state, tl_error *err)
{
    const tl_op *kernel = own_kernel(state);
    if (kernel != NULL) return kernel->prepare(state, err);
    tl_status status = tl_op_alloc(state, sizeof(tl_conv_state), err);
    if (status != TL_OK) return status;
    return state->mode == TL_MODE_INFER ? tl_conv_prepare_infer(state, err)
                                        : tl_conv_prepare_train(state, err);
}

/* Training: products of bf16 take half as long, and rounding what they read a part of that. An
 * image of 1 to 4 channels leaves nothing to gain; Winograd has fewer products to begin with. */
static bool trains_halves(const tl_op_state *state)
{
    enum { CHANNELS_MIN = 8 };
    return state->inputs[0].dim[2] / state->attrs->groups >= CHANNELS_MIN &&
           !tl_winograd_beats_halves(state->attrs, &state->inputs[0]);
}

/* By oneDNN, where it applies the activation itself; one channel a group by rows, when serving. */
static bool conv_halves(const tl_op_state *state, const bool *operands)
{
    tl_op_state room;
    state = tl_image_state(state, &room);
    const bool depthwise = tl_depthwise_fits(state->attrs, &state->inputs[0]);
    if (state->mode != TL_MODE_INFER)
        return !operands[0] && !depthwise && !is_gemm(state) && trains_halves(state);
    if (depthwise) return tl_depthwise_halves(state);
    return tl_conv_has_activation(state->attrs->activation.kind);
}

static tl_status conv_prepare(tl_op_state *state, tl_error *err)
{
    return tl_image_prepare(state, image_prepare, err);
}

static tl_status conv_pack(const tl_op_state *state, const float *const *params, void *packed,
                           tl_error *err)
{
    tl_op_state room;
    state = tl_image_state(state, &room);
    const tl_op *kernel = own_kernel(state);
    if (kernel != NULL) return kernel->pack(state, params, packed, err);
    return tl_conv_pack(state, params, packed, err);
}

static tl_status conv_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    tl_op_state room;
    state = tl_image_state(state, &room);
    const tl_op *kernel = own_kernel(state);
    tl_status status = kernel != NULL                 ? kernel->forward(state, run, err)
                       : state->mode == TL_MODE_INFER ? tl_conv_infer(state, run, err)
                                                      : tl_conv_train_forward(state, run, err);
    if (status == TL_OK && state->attrs->fused_add && !state->half && kernel != &tl_panel &&
        kernel != &tl_winograd)
        tl_kernels_get()->add(state->batch * tl_shape_count(&state->output), run->y, run->x[1],
                              run->y);
    return status;
}

static tl_status conv_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    tl_op_state room;
    state = tl_image_state(state, &room);
    const tl_op *kernel = own_kernel(state);
    if (kernel != NULL) return kernel->backward(state, run, err);
    return tl_conv_train_backward(state, run, err);
}

static void conv_destroy(tl_op_state *state)
{
    tl_op_state room;
    if (own_kernel(tl_image_state(state, &room)) != NULL)
        return; /* never: own kernels hold nothing */
    tl_conv_state *own = state->own;
    tl_call_destroy(&own->forward);
    tl_call_destroy(&own->lower);
    tl_device_destroy_stream(&own->lower_stream);
    tl_call_destroy(&own->backward_data);
    tl_call_destroy(&own->backward_weights);
    tl_call_destroy(&own->pack_weights);
    tl_call_destroy(&own->pack_data);
    tl_call_destroy(&own->unpack_gradient);
}

const tl_op tl_op_conv = {
    .name = "conv",
    .input_min = 1,
    .input_max = 1,
    .fuses_infer = TL_ACTIVATION_BITS,
    .params = conv_params,
    .shape = conv_shape,
    .macs = conv_macs,
    .halves = conv_halves,
    .prepare = conv_prepare,
    .pack = conv_pack,
    .forward = conv_forward,
    .backward = conv_backward,
    .destroy = conv_destroy,
};

/* Convolution by oneDNN: NHWC activations, weights in the layout that the primitive asks for.
 *
 * Inference: weights are packed once, in the layout that the primitive for one item likes, with a
 * normalisation folded in; bias and activation run inside the primitive. Training: canonical
 * weights are reordered in each step, since they change in each step; that is linear in the weights
 * and costs little beside the convolution. */
#include "tensor/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WEIGHT, BIAS };

typedef struct conv_state {
    tl_call forward, backward_data, backward_weights;
    tl_call pack_weights, pack_data, unpack_gradient; /* reorders; may be empty: same layout */
    size_t packed_bytes, data_weights_bytes, gradient_bytes; /* of the weights in each layout */
    size_t scratch_offset; /* backward: the primitives' scratch, after the weights */
} conv_state;

/* The layers of one problem. */
typedef struct conv_descs {
    dnnl_memory_desc_t x, y, weights, any_weights, bias;
    dnnl_dims_t strides, dilations, pad_begin, pad_end;
    bool has_bias;
} conv_descs;

static size_t conv_params(const tl_attrs *attrs, const tl_shape *inputs,
                          tl_param_spec specs[TL_OP_PARAM_MAX])
{
    const tl_window *w = &attrs->window;
    uint32_t in = inputs[0].dim[2] / attrs->groups, out = attrs->channels;
    uint32_t area = w->kernel_h * w->kernel_w;
    specs[WEIGHT] = (tl_param_spec){ .suffix = "weight",
                                     .shape = tl_shape_weights(out, in, w->kernel_h, w->kernel_w),
                                     .role = TL_PARAM_WEIGHT,
                                     .init = TL_INIT_HE_FAN_OUT,
                                     .fan = out / attrs->groups * area };
    if (!attrs->has_bias) return 1;
    specs[BIAS] = (tl_param_spec){
        .suffix = "bias", .shape = tl_shape_vector(out), .role = TL_PARAM_BIAS, .init = TL_INIT_ZERO
    };
    return 2;
}

static tl_status conv_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                            tl_shape *output, tl_error *err)
{
    (void)input_count;
    uint32_t height, width;
    tl_status status = tl_window_shape(&attrs->window, &inputs[0], &height, &width, err);
    if (status != TL_OK) return status;
    uint32_t in = inputs[0].dim[2], out = attrs->channels, groups = attrs->groups;
    if (out < 1 || out > TL_DIM_MAX) return tl_fail(err, TL_ESHAPE, "%u output channels", out);
    if (groups < 1 || in % groups != 0 || out % groups != 0)
        return tl_fail(err, TL_ESHAPE, "%u groups do not divide %u input and %u output channels",
                       groups, in, out);
    tl_shape weights =
        tl_shape_weights(out, in / groups, attrs->window.kernel_h, attrs->window.kernel_w);
    status = tl_shape_check(&weights, err);
    if (status == TL_OK) *output = tl_shape_image(height, width, out);
    return status;
}

static uint64_t conv_macs(const tl_attrs *attrs, const tl_shape *inputs, const tl_shape *output)
{
    uint64_t each = (uint64_t)(inputs[0].dim[2] / attrs->groups) * attrs->window.kernel_h *
                    attrs->window.kernel_w;
    return each * tl_shape_count(output);
}

void tl_conv_fold(const tl_attrs *attrs, size_t out, size_t per_output, const float *const *params,
                  float *weights, float *bias)
{
    const float *const *norm = params + (attrs->has_bias ? 2 : 1);
    for (size_t o = 0; o < out; o++) {
        double factor = 1, start = attrs->has_bias ? (double)params[BIAS][o] : 0;
        if (attrs->folded_norm) {
            factor = (double)norm[0][o] / sqrt((double)norm[3][o] + (double)attrs->epsilon);
            start = (start - (double)norm[2][o]) * factor + (double)norm[1][o];
        }
        bias[o] = (float)start;
        for (size_t i = 0; i < per_output; i++)
            weights[o * per_output + i] =
                (float)((double)params[WEIGHT][o * per_output + i] * factor);
    }
}

/* Our own kernel for this convolution, or NULL: oneDNN's. */
static const tl_op *own_kernel(const tl_op_state *state)
{
    if (tl_depthwise_fits(state->attrs, &state->inputs[0])) return &tl_depthwise;
    if (tl_winograd_fits(state->attrs, &state->inputs[0])) return &tl_winograd;
    return NULL;
}

/* ---- Descriptions ---------------------------------------------------------------------------- */

static tl_status describe(dnnl_memory_desc_t *desc, int rank, const dnnl_dims_t dims,
                          dnnl_format_tag_t tag, tl_error *err)
{
    return tl_dnnl_check(dnnl_memory_desc_init_by_tag(desc, rank, dims, dnnl_f32, tag),
                         "describe a tensor", err);
}

static tl_status describe_all(const tl_op_state *state, uint32_t batch, conv_descs *d,
                              tl_error *err)
{
    const tl_attrs *attrs = state->attrs;
    const tl_window *w = &attrs->window;
    const uint32_t *in = state->inputs[0].dim, *out = state->output.dim;
    const dnnl_dim_t groups = attrs->groups;
    const dnnl_dims_t x = { batch, in[2], in[0], in[1] }, y = { batch, out[2], out[0], out[1] };
    const dnnl_dims_t plain = { out[2], in[2], w->kernel_h, w->kernel_w };
    const dnnl_dims_t grouped = { groups, out[2] / groups, in[2] / groups, w->kernel_h,
                                  w->kernel_w };
    const dnnl_dims_t bias = { out[2] };
    const int rank = groups > 1 ? 5 : 4;
    const int64_t *weights = groups > 1 ? grouped : plain;
    memset(d, 0, sizeof *d);
    d->strides[0] = w->stride_h, d->strides[1] = w->stride_w;
    d->dilations[0] = w->dilation_h - 1, d->dilations[1] = w->dilation_w - 1;
    d->pad_begin[0] = w->pad_top, d->pad_begin[1] = w->pad_left;
    d->pad_end[0] = w->pad_bottom, d->pad_end[1] = w->pad_right;
    d->has_bias = attrs->has_bias || attrs->folded_norm;
    tl_status status = describe(&d->x, 4, x, dnnl_nhwc, err);
    if (status == TL_OK) status = describe(&d->y, 4, y, dnnl_nhwc, err);
    if (status == TL_OK)
        status = describe(&d->weights, rank, weights, groups > 1 ? dnnl_abcde : dnnl_abcd, err);
    if (status == TL_OK)
        status = describe(&d->any_weights, rank, weights, dnnl_format_tag_any, err);
    if (status == TL_OK) status = describe(&d->bias, 1, bias, dnnl_a, err);
    return status;
}

static dnnl_status_t append_activation(dnnl_post_ops_t ops, const tl_activation *act)
{
    dnnl_alg_kind_t kind;
    float alpha = 0, beta = 0;
    switch ((int)act->kind) {
    case TL_OP_RELU: kind = dnnl_eltwise_relu; break;
    case TL_OP_CLIP:
        kind = dnnl_eltwise_clip;
        alpha = act->alpha;
        beta = act->beta;
        break;
    case TL_OP_HARD_SWISH: kind = dnnl_eltwise_hardswish; break;
    case TL_OP_SIGMOID: kind = dnnl_eltwise_logistic; break;
    case TL_OP_SILU:
        kind = dnnl_eltwise_swish;
        alpha = 1;
        break;
    case TL_OP_ABS: kind = dnnl_eltwise_abs; break;
    default: return dnnl_success; /* none */
    }
    return dnnl_post_ops_append_eltwise(ops, 1.0f, kind, alpha, beta);
}

/* Scratch in our arena; the activation inside the primitive. */
static tl_status make_attr(const tl_activation *act, dnnl_primitive_attr_t *out, tl_error *err)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success) status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success) status = append_activation(ops, act);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attr, ops);
    if (ops != NULL) dnnl_post_ops_destroy(ops);
    if (status == dnnl_success) {
        *out = attr;
        return TL_OK;
    }
    if (attr != NULL) dnnl_primitive_attr_destroy(attr);
    return tl_dnnl_check(status, "set the attributes of a convolution", err);
}

static tl_status make_forward_desc(const tl_op_state *state, const conv_descs *d,
                                   const dnnl_memory_desc_t *weights, dnnl_primitive_desc_t *out,
                                   tl_error *err)
{
    dnnl_convolution_desc_t op;
    dnnl_prop_kind_t prop =
        state->mode == TL_MODE_INFER ? dnnl_forward_inference : dnnl_forward_training;
    tl_status status = tl_dnnl_check(dnnl_dilated_convolution_forward_desc_init(
                                         &op, prop, dnnl_convolution_direct, &d->x, weights,
                                         d->has_bias ? &d->bias : NULL, &d->y, d->strides,
                                         d->dilations, d->pad_begin, d->pad_end),
                                     "describe a convolution", err);
    dnnl_primitive_attr_t attr = NULL;
    if (status == TL_OK) status = make_attr(&state->attrs->activation, &attr, err);
    if (status == TL_OK)
        status = tl_dnnl_check(dnnl_primitive_desc_create(out, &op, attr, tl_dnnl_engine(), NULL),
                               "convolve", err);
    if (attr != NULL) dnnl_primitive_attr_destroy(attr);
    return status;
}

static dnnl_memory_desc_t weights_of(const_dnnl_primitive_desc_t desc, dnnl_query_t which)
{
    return *dnnl_primitive_desc_query_md(desc, which, 0);
}

/* A reorder, or an empty call when the layouts are the same. */
static tl_status make_reorder(tl_call *call, const dnnl_memory_desc_t *from,
                              const dnnl_memory_desc_t *to, tl_error *err)
{
    if (dnnl_memory_desc_equal(from, to)) return TL_OK;
    return tl_call_create_reorder(call, from, to, err);
}

/* ---- Prepare --------------------------------------------------------------------------------- */

static tl_status prepare_infer(tl_op_state *state, tl_error *err)
{
    conv_state *own = state->own;
    conv_descs one, all;
    dnnl_primitive_desc_t single = NULL, desc = NULL;
    dnnl_memory_desc_t packed;
    tl_status status = describe_all(state, 1, &one, err);
    if (status == TL_OK) status = describe_all(state, state->batch, &all, err);
    if (status == TL_OK) status = make_forward_desc(state, &one, &one.any_weights, &single, err);
    if (status == TL_OK) {
        packed = weights_of(single, dnnl_query_weights_md);
        status = make_forward_desc(state, &all, &packed, &desc, err);
    }
    if (status == TL_OK) status = make_reorder(&own->pack_weights, &one.weights, &packed, err);
    if (status == TL_OK) {
        const tl_call_arg args[] = { { DNNL_ARG_SRC, &all.x, false },
                                     { DNNL_ARG_WEIGHTS, &packed, true },
                                     { DNNL_ARG_DST, &all.y, false },
                                     { DNNL_ARG_BIAS, &all.bias, true } };
        status = tl_call_create(&own->forward, desc, args, all.has_bias ? 4 : 3, err);
    }
    if (status == TL_OK) {
        own->packed_bytes = tl_align(dnnl_memory_desc_get_size(&packed));
        state->needs.packed = own->packed_bytes + tl_align(state->output.dim[2] * sizeof(float)) +
                              tl_align(own->pack_weights.scratch_bytes);
        state->needs.forward_scratch = own->forward.scratch_bytes;
    }
    if (single != NULL) dnnl_primitive_desc_destroy(single);
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    return status;
}

static tl_status prepare_backward_data(tl_op_state *state, const conv_descs *d,
                                       const_dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr,
                                       tl_error *err)
{
    conv_state *own = state->own;
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t desc = NULL;
    tl_status status = tl_dnnl_check(dnnl_dilated_convolution_backward_data_desc_init(
                                         &op, dnnl_convolution_direct, &d->x, &d->any_weights,
                                         &d->y, d->strides, d->dilations, d->pad_begin, d->pad_end),
                                     "describe a convolution's gradient by its input", err);
    if (status == TL_OK)
        status = tl_dnnl_check(dnnl_primitive_desc_create(&desc, &op, attr, tl_dnnl_engine(), hint),
                               "differentiate a convolution by its input", err);
    if (status == TL_OK) {
        dnnl_memory_desc_t weights = weights_of(desc, dnnl_query_weights_md);
        const tl_call_arg args[] = { { DNNL_ARG_DIFF_DST, &d->y, false },
                                     { DNNL_ARG_WEIGHTS, &weights, false },
                                     { DNNL_ARG_DIFF_SRC, &d->x, false } };
        own->data_weights_bytes = tl_align(dnnl_memory_desc_get_size(&weights));
        status = tl_call_create(&own->backward_data, desc, args, 3, err);
        if (status == TL_OK) status = make_reorder(&own->pack_data, &d->weights, &weights, err);
    }
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    return status;
}

static tl_status prepare_backward_weights(tl_op_state *state, const conv_descs *d,
                                          const_dnnl_primitive_desc_t hint,
                                          dnnl_primitive_attr_t attr, tl_error *err)
{
    conv_state *own = state->own;
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t desc = NULL;
    tl_status status = tl_dnnl_check(dnnl_dilated_convolution_backward_weights_desc_init(
                                         &op, dnnl_convolution_direct, &d->x, &d->any_weights,
                                         d->has_bias ? &d->bias : NULL, &d->y, d->strides,
                                         d->dilations, d->pad_begin, d->pad_end),
                                     "describe a convolution's gradient by its weights", err);
    if (status == TL_OK)
        status = tl_dnnl_check(dnnl_primitive_desc_create(&desc, &op, attr, tl_dnnl_engine(), hint),
                               "differentiate a convolution by its weights", err);
    if (status == TL_OK) {
        dnnl_memory_desc_t gradient = weights_of(desc, dnnl_query_diff_weights_md);
        const tl_call_arg args[] = { { DNNL_ARG_SRC, &d->x, false },
                                     { DNNL_ARG_DIFF_DST, &d->y, false },
                                     { DNNL_ARG_DIFF_WEIGHTS, &gradient, false },
                                     { DNNL_ARG_DIFF_BIAS, &d->bias, false } };
        own->gradient_bytes = tl_align(dnnl_memory_desc_get_size(&gradient));
        status = tl_call_create(&own->backward_weights, desc, args, d->has_bias ? 4 : 3, err);
        if (status == TL_OK)
            status = make_reorder(&own->unpack_gradient, &gradient, &d->weights, err);
    }
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    return status;
}

static tl_status prepare_train_forward(tl_op_state *state, const conv_descs *d,
                                       const_dnnl_primitive_desc_t desc, tl_error *err)
{
    conv_state *own = state->own;
    dnnl_memory_desc_t weights = weights_of(desc, dnnl_query_weights_md);
    const tl_call_arg args[] = { { DNNL_ARG_SRC, &d->x, false },
                                 { DNNL_ARG_WEIGHTS, &weights, false },
                                 { DNNL_ARG_DST, &d->y, false },
                                 { DNNL_ARG_BIAS, &d->bias, false } };
    own->packed_bytes = tl_align(dnnl_memory_desc_get_size(&weights));
    tl_status status = tl_call_create(&own->forward, desc, args, d->has_bias ? 4 : 3, err);
    if (status == TL_OK) status = make_reorder(&own->pack_weights, &d->weights, &weights, err);
    return status;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void state_train_needs(tl_op_state *state)
{
    conv_state *own = state->own;
    const size_t forward = max_size(own->forward.scratch_bytes, own->pack_weights.scratch_bytes);
    size_t backward = max_size(own->backward_data.scratch_bytes, own->pack_data.scratch_bytes);
    backward = max_size(backward, own->backward_weights.scratch_bytes);
    backward = max_size(backward, own->unpack_gradient.scratch_bytes);
    own->scratch_offset = max_size(own->data_weights_bytes, own->gradient_bytes);
    state->needs.forward_scratch = own->packed_bytes + forward;
    state->needs.backward_scratch = own->scratch_offset + backward;
    state->needs.keeps_input[0] = true;
}

static tl_status prepare_train(tl_op_state *state, tl_error *err)
{
    conv_descs d;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_primitive_attr_t attr = NULL;
    const tl_activation none = tl_activation_none();
    tl_status status = describe_all(state, state->batch, &d, err);
    if (status == TL_OK) status = make_attr(&none, &attr, err);
    if (status == TL_OK) status = make_forward_desc(state, &d, &d.any_weights, &hint, err);
    if (status == TL_OK) status = prepare_train_forward(state, &d, hint, err);
    if (status == TL_OK) status = prepare_backward_weights(state, &d, hint, attr, err);
    if (status == TL_OK && state->wants_grad[0])
        status = prepare_backward_data(state, &d, hint, attr, err);
    if (status == TL_OK) state_train_needs(state);
    if (hint != NULL) dnnl_primitive_desc_destroy(hint);
    if (attr != NULL) dnnl_primitive_attr_destroy(attr);
    return status;
}

static tl_status conv_prepare(tl_op_state *state, tl_error *err)
{
    const tl_op *kernel = own_kernel(state);
    if (kernel != NULL) return kernel->prepare(state, err);
    tl_status status = tl_op_alloc(state, sizeof(conv_state), err);
    if (status != TL_OK) return status;
    return state->mode == TL_MODE_INFER ? prepare_infer(state, err) : prepare_train(state, err);
}

/* ---- Run ------------------------------------------------------------------------------------- */

static tl_status conv_pack(const tl_op_state *state, const float *const *params, void *packed,
                           tl_error *err)
{
    const tl_op *kernel = own_kernel(state);
    if (kernel != NULL) return kernel->pack(state, params, packed, err);
    conv_state *own = state->own;
    const tl_attrs *attrs = state->attrs;
    const size_t out = state->output.dim[2];
    const size_t per_output = (size_t)(state->inputs[0].dim[2] / attrs->groups) *
                              attrs->window.kernel_h * attrs->window.kernel_w;
    float *bias = (float *)((char *)packed + own->packed_bytes);
    void *scratch = (char *)bias + tl_align(out * sizeof(float));
    if (own->pack_weights.primitive == NULL) {
        tl_conv_fold(attrs, out, per_output, params, packed, bias);
        return TL_OK;
    }
    float *folded = malloc(out * per_output * sizeof *folded);
    if (folded == NULL) return tl_fail(err, TL_ENOMEM, "fold weights");
    tl_conv_fold(attrs, out, per_output, params, folded, bias);
    void *const buffers[] = { folded, packed };
    tl_status status = tl_call_run(&own->pack_weights, state->stream, buffers, scratch, err);
    free(folded);
    return status;
}

/* oneDNN takes inputs as pointers to what could be written; it does not write them. */
static void *readable(const void *data)
{
    void *out;
    memcpy(&out, &data, sizeof out);
    return out;
}

static tl_status conv_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    const tl_op *kernel = own_kernel(state);
    if (kernel != NULL) return kernel->forward(state, run, err);
    conv_state *own = state->own;
    if (state->mode == TL_MODE_INFER) {
        char *packed = readable(run->packed);
        void *const buffers[] = { readable(run->x[0]), packed, run->y, packed + own->packed_bytes };
        return tl_call_run(&own->forward, state->stream, buffers, run->scratch, err);
    }
    void *weights = run->params[WEIGHT], *scratch = (char *)run->scratch + own->packed_bytes;
    if (own->pack_weights.primitive != NULL) {
        void *const buffers[] = { weights, run->scratch };
        tl_status status = tl_call_run(&own->pack_weights, state->stream, buffers, scratch, err);
        if (status != TL_OK) return status;
        weights = run->scratch;
    }
    void *const buffers[] = { readable(run->x[0]), weights, run->y, run->params[BIAS] };
    return tl_call_run(&own->forward, state->stream, buffers, scratch, err);
}

static tl_status run_backward_data(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    conv_state *own = state->own;
    void *weights = run->params[WEIGHT], *scratch = (char *)run->scratch + own->scratch_offset;
    if (own->pack_data.primitive != NULL) {
        void *const buffers[] = { weights, run->scratch };
        tl_status status = tl_call_run(&own->pack_data, state->stream, buffers, scratch, err);
        if (status != TL_OK) return status;
        weights = run->scratch;
    }
    void *const buffers[] = { readable(run->dy), weights, run->dx[0] };
    return tl_call_run(&own->backward_data, state->stream, buffers, scratch, err);
}

static tl_status conv_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    const tl_op *kernel = own_kernel(state);
    if (kernel != NULL) return kernel->backward(state, run, err);
    conv_state *own = state->own;
    tl_status status = run->dx[0] == NULL ? TL_OK : run_backward_data(state, run, err);
    if (status != TL_OK) return status;
    void *scratch = (char *)run->scratch + own->scratch_offset;
    bool direct = own->unpack_gradient.primitive == NULL;
    void *gradient = direct ? (void *)run->dparams[WEIGHT] : run->scratch;
    void *const buffers[] = { readable(run->x[0]), readable(run->dy), gradient,
                              run->dparams[BIAS] };
    status = tl_call_run(&own->backward_weights, state->stream, buffers, scratch, err);
    if (status != TL_OK || direct) return status;
    void *const unpack[] = { gradient, run->dparams[WEIGHT] };
    return tl_call_run(&own->unpack_gradient, state->stream, unpack, scratch, err);
}

static void conv_destroy(tl_op_state *state)
{
    if (own_kernel(state) != NULL) return; /* never: own kernels hold nothing */
    conv_state *own = state->own;
    tl_call_destroy(&own->forward);
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
    .fuses_infer = TL_ACTIVATION_BITS & ~TL_OP_BIT(TL_OP_HARD_SIGMOID), /* not in oneDNN 2.6 */
    .params = conv_params,
    .shape = conv_shape,
    .macs = conv_macs,
    .prepare = conv_prepare,
    .pack = conv_pack,
    .forward = conv_forward,
    .backward = conv_backward,
    .destroy = conv_destroy,
};

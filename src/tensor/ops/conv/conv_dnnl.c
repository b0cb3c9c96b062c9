/* Convolutions as oneDNN sees them: descriptions, attributes, layouts. NHWC activations, weights in
 * the layout that a primitive asks for. */
#include "tensor/ops/conv/conv_internal.h"

#include <string.h>

static tl_status describe(dnnl_memory_desc_t *desc, int rank, const dnnl_dims_t dims,
                          dnnl_data_type_t type, dnnl_format_tag_t tag, tl_error *err)
{
    return tl_dnnl_check(dnnl_memory_desc_init_by_tag(desc, rank, dims, type, tag),
                         "describe a tensor", err);
}

tl_status tl_conv_describe(const tl_op_state *state, uint32_t batch, tl_conv_descs *d,
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
    const dnnl_data_type_t type = state->half ? dnnl_bf16 : dnnl_f32;
    tl_status status = describe(&d->x, 4, x, type, dnnl_nhwc, err);
    if (status == TL_OK) status = describe(&d->y, 4, y, type, dnnl_nhwc, err);
    if (status == TL_OK)
        status = describe(&d->weights, rank, weights, dnnl_f32, groups > 1 ? dnnl_abcde : dnnl_abcd,
                          err);
    if (status == TL_OK)
        status = describe(&d->any_weights, rank, weights, type, dnnl_format_tag_any, err);
    if (status == TL_OK) status = describe(&d->bias, 1, bias, dnnl_f32, dnnl_a, err);
    d->dx = d->x, d->y_written = d->y, d->any_gradient = d->any_weights;
    if (state->mode == TL_MODE_INFER) return status;
    d->dx.data_type = d->any_gradient.data_type = dnnl_f32;
    if (!state->half_output) d->y_written.data_type = dnnl_f32;
    return status;
}

bool tl_conv_has_activation(tl_op_kind kind)
{
    return kind != TL_OP_HARD_SIGMOID; /* not in 2.6 */
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
    case TL_OP_LEAKY_RELU:
        kind = dnnl_eltwise_relu;
        alpha = act->alpha;
        break;
    case TL_OP_TANH: kind = dnnl_eltwise_tanh; break;
    case TL_OP_ELU:
        kind = dnnl_eltwise_elu;
        alpha = act->alpha;
        break;
    case TL_OP_GELU: kind = dnnl_eltwise_gelu_erf; break;
    case TL_OP_MISH: kind = dnnl_eltwise_mish; break;
    default: return dnnl_success; /* none */
    }
    return dnnl_post_ops_append_eltwise(ops, 1.0f, kind, alpha, beta);
}

tl_status tl_conv_make_attr(const tl_activation *act, const dnnl_memory_desc_t *add,
                            dnnl_primitive_attr_t *out, tl_error *err)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success) status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success) status = append_activation(ops, act);
    if (status == dnnl_success && add != NULL)
        status = dnnl_post_ops_append_binary(ops, dnnl_binary_add, add);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attr, ops);
    if (ops != NULL) dnnl_post_ops_destroy(ops);
    if (status == dnnl_success) {
        *out = attr;
        return TL_OK;
    }
    if (attr != NULL) dnnl_primitive_attr_destroy(attr);
    return tl_dnnl_check(status, "set the attributes of a convolution", err);
}

tl_status tl_conv_make_forward(const tl_op_state *state, const tl_conv_descs *d,
                               const dnnl_memory_desc_t *weights, dnnl_primitive_desc_t *out,
                               tl_error *err)
{
    dnnl_convolution_desc_t op;
    const dnnl_prop_kind_t prop =
        state->mode == TL_MODE_INFER ? dnnl_forward_inference : dnnl_forward_training;
    tl_status status = tl_dnnl_check(dnnl_dilated_convolution_forward_desc_init(
                                         &op, prop, dnnl_convolution_direct, &d->x, weights,
                                         d->has_bias ? &d->bias : NULL, &d->y_written, d->strides,
                                         d->dilations, d->pad_begin, d->pad_end),
                                     "describe a convolution", err);
    dnnl_primitive_attr_t attr = NULL;
    if (status == TL_OK)
        status = tl_conv_make_attr(&state->attrs->activation, tl_conv_adds(state) ? &d->y : NULL,
                                   &attr, err);
    if (status == TL_OK)
        status = tl_dnnl_check(dnnl_primitive_desc_create(out, &op, attr, tl_dnnl_engine(), NULL),
                               "convolve", err);
    if (attr != NULL) dnnl_primitive_attr_destroy(attr);
    return status;
}

bool tl_conv_adds(const tl_op_state *state)
{
    return state->half && state->attrs->fused_add;
}

dnnl_memory_desc_t tl_conv_weights_of(const_dnnl_primitive_desc_t desc, dnnl_query_t which)
{
    return *dnnl_primitive_desc_query_md(desc, which, 0);
}

tl_status tl_conv_make_reorder(tl_call *call, const dnnl_memory_desc_t *from,
                               const dnnl_memory_desc_t *to, tl_error *err)
{
    if (dnnl_memory_desc_equal(from, to)) return TL_OK;
    return tl_call_create_reorder(call, from, to, err);
}

void *tl_conv_readable(const void *data)
{
    void *out;
    memcpy(&out, &data, sizeof out);
    return out;
}

/* Training by oneDNN: canonical weights are reordered in each step, since they change in each step;
 * that is linear in the weights and costs little beside the convolution.
 *
 * In bf16 the three products are of bf16 with sums in float32: x, dy and the weights are rounded
 * for them, dx and the weights' gradient are float32. x stays rounded for backward. y and dy are
 * float32, or bf16 in memory too, when the operator after it takes y so. */
#include "tensor/ops/conv/conv_internal.h"

static tl_status prepare_backward_data(tl_op_state *state, const tl_conv_descs *d,
                                       const_dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attr,
                                       tl_error *err)
{
    tl_conv_state *own = state->own;
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t desc = NULL;
    tl_status status = tl_dnnl_check(dnnl_dilated_convolution_backward_data_desc_init(
                                         &op, dnnl_convolution_direct, &d->dx, &d->any_weights,
                                         &d->y, d->strides, d->dilations, d->pad_begin, d->pad_end),
                                     "describe a convolution's gradient by its input", err);
    if (status == TL_OK)
        status = tl_dnnl_check(dnnl_primitive_desc_create(&desc, &op, attr, tl_dnnl_engine(), hint),
                               "differentiate a convolution by its input", err);
    if (status == TL_OK) {
        dnnl_memory_desc_t weights = tl_conv_weights_of(desc, dnnl_query_weights_md);
        const tl_call_arg args[] = { { DNNL_ARG_DIFF_DST, &d->y, false },
                                     { DNNL_ARG_WEIGHTS, &weights, false },
                                     { DNNL_ARG_DIFF_SRC, &d->dx, false } };
        own->data_weights_bytes = tl_align(dnnl_memory_desc_get_size(&weights));
        status = tl_call_create(&own->backward_data, desc, args, 3, err);
        if (status == TL_OK)
            status = tl_conv_make_reorder(&own->pack_data, &d->weights, &weights, err);
    }
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    return status;
}

static tl_status prepare_backward_weights(tl_op_state *state, const tl_conv_descs *d,
                                          const_dnnl_primitive_desc_t hint,
                                          dnnl_primitive_attr_t attr, tl_error *err)
{
    tl_conv_state *own = state->own;
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t desc = NULL;
    tl_status status = tl_dnnl_check(dnnl_dilated_convolution_backward_weights_desc_init(
                                         &op, dnnl_convolution_direct, &d->x, &d->any_gradient,
                                         d->has_bias ? &d->bias : NULL, &d->y, d->strides,
                                         d->dilations, d->pad_begin, d->pad_end),
                                     "describe a convolution's gradient by its weights", err);
    if (status == TL_OK)
        status = tl_dnnl_check(dnnl_primitive_desc_create(&desc, &op, attr, tl_dnnl_engine(), hint),
                               "differentiate a convolution by its weights", err);
    if (status == TL_OK) {
        dnnl_memory_desc_t gradient = tl_conv_weights_of(desc, dnnl_query_diff_weights_md);
        const tl_call_arg args[] = { { DNNL_ARG_SRC, &d->x, false },
                                     { DNNL_ARG_DIFF_DST, &d->y, false },
                                     { DNNL_ARG_DIFF_WEIGHTS, &gradient, false },
                                     { DNNL_ARG_DIFF_BIAS, &d->bias, false } };
        own->gradient_bytes = tl_align(dnnl_memory_desc_get_size(&gradient));
        status = tl_call_create(&own->backward_weights, desc, args, d->has_bias ? 4 : 3, err);
        if (status == TL_OK)
            status = tl_conv_make_reorder(&own->unpack_gradient, &gradient, &d->weights, err);
    }
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    return status;
}

static tl_status prepare_train_forward(tl_op_state *state, const tl_conv_descs *d,
                                       const_dnnl_primitive_desc_t desc, tl_error *err)
{
    tl_conv_state *own = state->own;
    dnnl_memory_desc_t weights = tl_conv_weights_of(desc, dnnl_query_weights_md);
    const tl_call_arg args[] = { { DNNL_ARG_SRC, &d->x, false },
                                 { DNNL_ARG_WEIGHTS, &weights, false },
                                 { DNNL_ARG_DST, &d->y_written, false },
                                 { DNNL_ARG_BIAS, &d->bias, false } };
    own->packed_bytes = tl_align(dnnl_memory_desc_get_size(&weights));
    tl_status status = tl_call_create(&own->forward, desc, args, d->has_bias ? 4 : 3, err);
    if (status == TL_OK)
        status = tl_conv_make_reorder(&own->pack_weights, &d->weights, &weights, err);
    return status;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t half_bytes(const tl_op_state *state, const tl_shape *shape)
{
    return tl_align(state->batch * tl_shape_count(shape) * sizeof(uint16_t));
}

static void state_train_needs(tl_op_state *state)
{
    tl_conv_state *own = state->own;
    const size_t forward = max_size(own->forward.scratch_bytes, own->pack_weights.scratch_bytes);
    size_t backward = max_size(own->backward_data.scratch_bytes, own->pack_data.scratch_bytes);
    backward = max_size(backward, own->backward_weights.scratch_bytes);
    backward = max_size(backward, own->unpack_gradient.scratch_bytes);
    if (state->half) {
        own->x_half_bytes = half_bytes(state, &state->inputs[0]);
        own->dy_half_bytes = state->half_output ? 0 : half_bytes(state, &state->output);
    }
    own->scratch_offset =
        max_size(own->data_weights_bytes, own->gradient_bytes) + own->dy_half_bytes;
    state->needs.forward_scratch = own->packed_bytes + forward;
    state->needs.backward_scratch = own->scratch_offset + backward;
    state->needs.saved = own->x_half_bytes;
    state->needs.keeps_input[0] = !state->half;
}

tl_status tl_conv_prepare_train(tl_op_state *state, tl_error *err)
{
    tl_conv_descs d;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_primitive_attr_t attr = NULL;
    const tl_activation none = tl_activation_none();
    tl_status status = tl_conv_describe(state, state->batch, &d, err);
    if (status == TL_OK) status = tl_conv_make_attr(&none, NULL, &attr, err);
    if (status == TL_OK) status = tl_conv_make_forward(state, &d, &d.any_weights, &hint, err);
    if (status == TL_OK) status = prepare_train_forward(state, &d, hint, err);
    if (status == TL_OK) status = prepare_backward_weights(state, &d, hint, attr, err);
    if (status == TL_OK && state->wants_grad[0])
        status = prepare_backward_data(state, &d, hint, attr, err);
    if (status == TL_OK) state_train_needs(state);
    if (hint != NULL) dnnl_primitive_desc_destroy(hint);
    if (attr != NULL) dnnl_primitive_attr_destroy(attr);
    return status;
}

/* ---- Run ------------------------------------------------------------------------------------- */

/* `data` as the products take it; where `rounds`, rounded into `room`. */
static void *as_operand(const tl_op_state *state, const tl_shape *shape, const float *data,
                        bool rounds, void *room)
{
    if (!rounds) return tl_conv_readable(data);
    tl_kernels_get()->to_half(state->batch * tl_shape_count(shape), data, room);
    return room;
}

tl_status tl_conv_train_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    tl_conv_state *own = state->own;
    void *weights = run->params[TL_CONV_WEIGHT],
         *scratch = (char *)run->scratch + own->packed_bytes;
    if (own->pack_weights.primitive != NULL) {
        void *const buffers[] = { weights, run->scratch };
        tl_status status = tl_call_run(&own->pack_weights, state->stream, buffers, scratch, err);
        if (status != TL_OK) return status;
        weights = run->scratch;
    }
    void *x = as_operand(state, &state->inputs[0], run->x[0], state->half, run->saved);
    void *const buffers[] = { x, weights, run->y, run->params[TL_CONV_BIAS] };
    return tl_call_run(&own->forward, state->stream, buffers, scratch, err);
}

static tl_status run_backward_data(const tl_op_state *state, const tl_op_run *run, void *dy,
                                   tl_error *err)
{
    tl_conv_state *own = state->own;
    void *weights = run->params[TL_CONV_WEIGHT],
         *scratch = (char *)run->scratch + own->scratch_offset;
    if (own->pack_data.primitive != NULL) {
        void *const buffers[] = { weights, run->scratch };
        tl_status status = tl_call_run(&own->pack_data, state->stream, buffers, scratch, err);
        if (status != TL_OK) return status;
        weights = run->scratch;
    }
    void *const buffers[] = { dy, weights, run->dx[0] };
    return tl_call_run(&own->backward_data, state->stream, buffers, scratch, err);
}

tl_status tl_conv_train_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    tl_conv_state *own = state->own;
    void *scratch = (char *)run->scratch + own->scratch_offset;
    void *dy = as_operand(state, &state->output, run->dy, own->dy_half_bytes > 0,
                          (char *)scratch - own->dy_half_bytes);
    tl_status status = run->dx[0] == NULL ? TL_OK : run_backward_data(state, run, dy, err);
    if (status != TL_OK) return status;
    bool direct = own->unpack_gradient.primitive == NULL;
    void *gradient = direct ? (void *)run->dparams[TL_CONV_WEIGHT] : run->scratch;
    void *x = state->half ? run->saved : tl_conv_readable(run->x[0]);
    void *const buffers[] = { x, dy, gradient, run->dparams[TL_CONV_BIAS] };
    status = tl_call_run(&own->backward_weights, state->stream, buffers, scratch, err);
    if (status != TL_OK || direct) return status;
    void *const unpack[] = { gradient, run->dparams[TL_CONV_WEIGHT] };
    return tl_call_run(&own->unpack_gradient, state->stream, unpack, scratch, err);
}

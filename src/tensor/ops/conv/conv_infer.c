/* Inference by oneDNN: weights are packed once, in the layout that the primitive for one item likes,
 * with a normalisation folded in; bias and activation run inside the primitive. */
#include "tensor/ops/conv/conv_internal.h"

#include <stdlib.h>

tl_status tl_conv_prepare_infer(tl_op_state *state, tl_error *err)
{
    tl_conv_state *own = state->own;
    tl_conv_descs one, all;
    dnnl_primitive_desc_t single = NULL, desc = NULL;
    dnnl_memory_desc_t packed;
    tl_status status = tl_conv_describe(state, 1, &one, err);
    if (status == TL_OK) status = tl_conv_describe(state, state->batch, &all, err);
    if (status == TL_OK) status = tl_conv_make_forward(state, &one, &one.any_weights, &single, err);
    if (status == TL_OK) {
        packed = tl_conv_weights_of(single, dnnl_query_weights_md);
        status = tl_conv_make_forward(state, &all, &packed, &desc, err);
    }
    if (status == TL_OK)
        status = tl_conv_make_reorder(&own->pack_weights, &one.weights, &packed, err);
    if (status == TL_OK) {
        const int acts = state->attrs->activation.kind != TL_OP_COUNT;
        const int added = DNNL_ARG_ATTR_MULTIPLE_POST_OP(acts) | DNNL_ARG_SRC_1;
        tl_call_arg args[] = { { DNNL_ARG_SRC, &all.x, false },
                               { DNNL_ARG_WEIGHTS, &packed, true },
                               { DNNL_ARG_DST, &all.y, false },
                               { DNNL_ARG_BIAS, &all.bias, true },
                               { added, &all.y, false } };
        int count = all.has_bias ? 4 : 3;
        if (tl_conv_adds(state)) args[count++] = args[4];
        status = tl_call_create(&own->forward, desc, args, count, err);
    }
    if (status == TL_OK) {
        own->packed_bytes = tl_align(dnnl_memory_desc_get_size(&packed));
        state->needs.packed = own->packed_bytes + tl_align(state->output.dim[2] * sizeof(float)) +
                              tl_align(own->pack_weights.scratch_bytes);
        state->needs.forward_scratch = own->forward.scratch_bytes;
        state->needs.alone = true;
    }
    if (single != NULL) dnnl_primitive_desc_destroy(single);
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    return status;
}

tl_status tl_conv_pack(const tl_op_state *state, const float *const *params, void *packed,
                       tl_error *err)
{
    tl_conv_state *own = state->own;
    const tl_attrs *attrs = state->attrs;
    const size_t out = state->output.dim[2];
    const size_t per_output = (size_t)(state->inputs[0].dim[2] / attrs->groups) *
                              attrs->window.kernel_h * attrs->window.kernel_w;
    float *bias = (float *)((char *)packed + own->packed_bytes);
    void *scratch = (char *)bias + tl_align(out * sizeof(float));
    if (own->pack_weights.primitive == NULL) {
        tl_conv_fold(attrs, (tl_range){ 0, out }, per_output, params, packed, bias);
        return TL_OK;
    }
    float *folded = malloc(out * per_output * sizeof *folded);
    if (folded == NULL) return tl_fail(err, TL_ENOMEM, "fold weights");
    tl_conv_fold(attrs, (tl_range){ 0, out }, per_output, params, folded, bias);
    void *const buffers[] = { folded, packed };
    tl_status status = tl_call_run(&own->pack_weights, state->stream, buffers, scratch, err);
    free(folded);
    return status;
}

tl_status tl_conv_infer(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    tl_conv_state *own = state->own;
    char *packed = tl_conv_readable(run->packed);
    const bool has_bias = state->attrs->has_bias || state->attrs->folded_norm;
    void *buffers[] = { tl_conv_readable(run->x[0]), packed, run->y, packed + own->packed_bytes,
                        NULL };
    if (tl_conv_adds(state)) buffers[has_bias ? 4 : 3] = tl_conv_readable(run->x[1]);
    tl_status status = tl_call_run(&own->forward, state->stream, buffers, run->scratch, err);
    const tl_activation *act = &state->attrs->activation;
    if (status == TL_OK && !tl_conv_has_activation(act->kind))
        tl_kernels_get()->activate(act, state->batch * tl_shape_count(&state->output), run->y,
                                   run->y);
    return status;
}

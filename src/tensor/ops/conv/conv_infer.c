/* Inference by oneDNN: weights are packed once, in the layout that the primitive for one item
 * likes, with a normalisation folded in; bias and activation run inside the primitive.
 *
 * A primitive is one thread's. A layer that is worth it has two, for the upper and the lower rows
 * of its image, whether there are two threads or not: so that threads change no number. */
#include "tensor/ops/conv/conv_internal.h"

#include <stdlib.h>
#include <string.h>

static bool has_bias(const tl_op_state *state)
{
    return state->attrs->has_bias || state->attrs->folded_norm;
}

/* The layer, or some rows of it, as a primitive. */
typedef struct piece {
    tl_op_state state;
    tl_attrs attrs;
    uint32_t input, output; /* its first rows */
    tl_conv_descs descs;
    dnnl_primitive_desc_t desc;
} piece;

/* The layer for output rows `rows` alone. */
static void cut(const tl_op_state *state, tl_range rows, piece *out)
{
    const tl_window *whole = &state->attrs->window;
    const int64_t height = state->inputs[0].dim[0], stride = whole->stride_h;
    const int64_t first = (int64_t)rows.begin * stride - whole->pad_top;
    const int64_t reach = (int64_t)(whole->kernel_h - 1) * whole->dilation_h + 1;
    const int64_t end = first + (int64_t)(rows.end - rows.begin - 1) * stride + reach;
    const int64_t from = first < 0 ? 0 : first, to = end > height ? height : end;
    *out = (piece){ .state = *state, .attrs = *state->attrs };
    out->state.attrs = &out->attrs;
    out->attrs.window.pad_top = (uint32_t)(from - first);
    out->attrs.window.pad_bottom = (uint32_t)(end - to);
    out->state.inputs[0].dim[0] = to > from ? (uint32_t)(to - from) : 0;
    out->state.output.dim[0] = (uint32_t)(rows.end - rows.begin);
    out->input = (uint32_t)from;
    out->output = (uint32_t)rows.begin;
}

/* With weights as in `packed`; NULL: as the primitive for one item likes them. */
static tl_status describe(piece *p, const dnnl_memory_desc_t *packed, tl_error *err)
{
    dnnl_memory_desc_t liked;
    tl_status status = TL_OK;
    if (packed == NULL) {
        status = tl_conv_describe(&p->state, 1, &p->descs, err);
        if (status == TL_OK)
            status =
                tl_conv_make_forward(&p->state, &p->descs, &p->descs.any_weights, &p->desc, err);
        if (status != TL_OK || p->state.batch == 1) return status;
        liked = tl_conv_weights_of(p->desc, dnnl_query_weights_md);
        packed = &liked;
        dnnl_primitive_desc_destroy(p->desc);
        p->desc = NULL;
    }
    if (status == TL_OK) status = tl_conv_describe(&p->state, p->state.batch, &p->descs, err);
    return status == TL_OK ? tl_conv_make_forward(&p->state, &p->descs, packed, &p->desc, err)
                           : status;
}

static void forget(piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].desc != NULL) dnnl_primitive_desc_destroy(pieces[i].desc);
        pieces[i].desc = NULL;
    }
}

static const char *kernel_of(const piece *p)
{
    const char *name = "";
    dnnl_primitive_desc_query(p->desc, dnnl_query_impl_info_str, 0, &name);
    return name;
}

/* Whether two primitives are worth it: a barrier and a call more cost some microseconds. What runs
 * after the primitives runs on the whole. */
static bool is_worth_two(const tl_op_state *state)
{
    const uint64_t worth_macs = 8000000;
    const tl_attrs *attrs = state->attrs;
    const bool whole = attrs->fused_add || !tl_conv_has_activation(attrs->activation.kind);
    return state->batch == 1 && state->output.dim[0] > 1 && (state->half || !whole) &&
           tl_op_conv.macs(attrs, state->inputs, &state->output) >= worth_macs;
}

/* Both halves by one kind of kernel and one layout of weights; false in *made: there is none. */
static tl_status describe_two(const tl_op_state *state, piece pieces[2], bool *made, tl_error *err)
{
    const size_t height = state->output.dim[0], middle = (height + 1) / 2;
    cut(state, (tl_range){ 0, middle }, &pieces[0]);
    cut(state, (tl_range){ middle, height }, &pieces[1]);
    *made = false;
    if (pieces[0].state.inputs[0].dim[0] == 0 || pieces[1].state.inputs[0].dim[0] == 0)
        return TL_OK; /* one is padding alone */
    tl_status status = describe(&pieces[0], NULL, err);
    if (status != TL_OK) return status;
    const dnnl_memory_desc_t packed = tl_conv_weights_of(pieces[0].desc, dnnl_query_weights_md);
    status = describe(&pieces[1], &packed, err);
    *made = status == TL_OK && strcmp(kernel_of(&pieces[0]), kernel_of(&pieces[1])) == 0;
    if (!*made) forget(pieces, 2);
    return status == TL_EUNSUPPORTED ? TL_OK : status;
}

static tl_status make_call(const piece *p, const dnnl_memory_desc_t *packed, tl_call *out,
                           tl_error *err)
{
    const int acts = p->attrs.activation.kind != TL_OP_COUNT;
    const int added = DNNL_ARG_ATTR_MULTIPLE_POST_OP(acts) | DNNL_ARG_SRC_1;
    tl_call_arg args[] = { { DNNL_ARG_SRC, &p->descs.x, false },
                           { DNNL_ARG_WEIGHTS, packed, true },
                           { DNNL_ARG_DST, &p->descs.y, false },
                           { DNNL_ARG_BIAS, &p->descs.bias, true },
                           { added, &p->descs.y, false } };
    int count = p->descs.has_bias ? 4 : 3;
    if (tl_conv_adds(&p->state)) args[count++] = args[4];
    return tl_call_create(out, p->desc, args, count, err);
}

static tl_status make_calls(tl_op_state *state, const piece pieces[2], tl_error *err)
{
    tl_conv_state *own = state->own;
    const bool two = pieces[1].desc != NULL;
    const dnnl_memory_desc_t packed = tl_conv_weights_of(pieces[0].desc, dnnl_query_weights_md);
    tl_status status = make_call(&pieces[0], &packed, &own->forward, err);
    if (status == TL_OK && two) status = make_call(&pieces[1], &packed, &own->lower, err);
    if (status == TL_OK && two) status = tl_device_create_stream(&own->lower_stream, err);
    if (status == TL_OK)
        status = tl_conv_make_reorder(&own->pack_weights, &pieces[0].descs.weights, &packed, err);
    if (status != TL_OK) return status;
    own->lower_input = two ? pieces[1].input : 0;
    own->lower_output = two ? pieces[1].output : 0;
    own->packed_bytes = tl_align(dnnl_memory_desc_get_size(&packed));
    state->needs.packed = own->packed_bytes + tl_align(state->output.dim[2] * sizeof(float)) +
                          tl_align(own->pack_weights.scratch_bytes);
    state->needs.forward_scratch = own->forward.scratch_bytes > own->lower.scratch_bytes
                                       ? own->forward.scratch_bytes
                                       : own->lower.scratch_bytes;
    state->needs.parts = two;
    state->needs.alone = !two;
    return TL_OK;
}

tl_status tl_conv_prepare_infer(tl_op_state *state, tl_error *err)
{
    piece pieces[2] = { { .desc = NULL }, { .desc = NULL } };
    bool two = false;
    tl_status status = TL_OK;
    if (is_worth_two(state)) status = describe_two(state, pieces, &two, err);
    if (status == TL_OK && !two) {
        pieces[0] = (piece){ .state = *state, .attrs = *state->attrs };
        status = describe(&pieces[0], NULL, err);
    }
    if (status == TL_OK) status = make_calls(state, pieces, err);
    forget(pieces, 2);
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

/* One of the primitives: x, y and what is added from the rows on where it begins. */
static tl_status run_call(const tl_op_state *state, const tl_op_run *run, tl_call *call,
                          size_t input, size_t output, tl_error *err)
{
    const tl_conv_state *own = state->own;
    const size_t in = (size_t)state->inputs[0].dim[1] * state->inputs[0].dim[2];
    const size_t out = (size_t)state->output.dim[1] * state->output.dim[2];
    const size_t number = tl_number_bytes(state), y = output * out * number;
    char *packed = tl_conv_readable(run->packed);
    void *buffers[] = { (char *)tl_conv_readable(run->x[0]) + input * in * number, packed,
                        (char *)run->y + y, packed + own->packed_bytes, NULL };
    if (tl_conv_adds(state))
        buffers[has_bias(state) ? 4 : 3] = (char *)tl_conv_readable(run->x[1]) + y;
    struct dnnl_stream *stream = call == &own->lower ? own->lower_stream : state->stream;
    return tl_call_run(call, stream, buffers, run->scratch, err);
}

tl_status tl_conv_infer(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    tl_conv_state *own = state->own;
    const size_t calls = own->lower_output > 0 ? 2 : 1;
    const tl_range mine = tl_run_share(run, calls, 1);
    tl_status status = TL_OK;
    if (mine.begin == 0 && mine.end > 0) status = run_call(state, run, &own->forward, 0, 0, err);
    if (status == TL_OK && mine.begin < mine.end && mine.end == 2)
        status = run_call(state, run, &own->lower, own->lower_input, own->lower_output, err);
    const tl_activation *act = &state->attrs->activation;
    if (status == TL_OK && !tl_conv_has_activation(act->kind))
        tl_kernels_get()->activate(act, state->batch * tl_shape_count(&state->output), run->y,
                                   run->y);
    return status;
}

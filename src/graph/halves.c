/* Where a bf16 plan has bf16. A step works on bf16 where its operator has a form for it that pays,
 * and a kernel of that form can be made; what it leaves is bf16 too, but for inputs, outputs and
 * features, which are the caller's. Other steps work on float32, and leave float32. The plan
 * converts where the two meet. */
#include "graph/internal.h"

bool tl_graph_is_outside(const tl_graph *g, uint32_t tensor)
{
    bool outside = g->features == tensor;
    for (size_t i = 0; i < g->output_count; i++) outside = outside || g->outputs[i] == tensor;
    return outside;
}

/* oneDNN 2.6 has gaps that it does not state: 12 channels a group with SiLU, for one. */
static bool can_be_made(tl_op_kind kind, tl_op_state *state)
{
    tl_error ignored;
    state->half = true;
    const bool made = tl_op_prepare(kind, state, &ignored) == TL_OK;
    if (made) tl_op_release(kind, state);
    return made;
}

void tl_program_halves(const tl_graph *graph, const tl_node *steps, size_t count,
                       struct dnnl_stream *stream, bool *step_half, bool *tensor_half)
{
    for (size_t s = 0; s < count; s++) {
        const tl_node *step = &steps[s];
        const tl_op *op = tl_op_get(step->kind);
        tl_op_state state;
        tl_step_describe(graph, step, TL_MODE_INFER, 1, stream, &state);
        bool operands[TL_OP_INPUT_MAX] = { false };
        for (uint32_t i = 0; i < step->input_count; i++) operands[i] = tensor_half[step->inputs[i]];
        step_half[s] =
            op->halves != NULL && op->halves(&state, operands) && can_be_made(step->kind, &state);
        /* Steps from item to item are counted in floats: an odd count stays float32. */
        tensor_half[step->output] = step_half[s] && !tl_graph_is_outside(graph, step->output) &&
                                    tl_shape_count(&graph->tensors[step->output]) % 2 == 0;
    }
}

/* Where a plan that trains in bf16 has bf16. A convolution rounds what it multiplies. What it writes is
 * bf16 in memory too, and so is that tensor's gradient, where one normalisation is all that reads it:
 * that makes float32 of both as it goes. Everything else between operators is float32. */
#include "graph/plan/plan_internal.h"

#include <stdlib.h>

tl_status tl_plan_make_halves(tl_plan *plan, tl_error *err)
{
    if (plan->precision != TL_PRECISION_BF16) return TL_OK;
    plan->train_half = calloc(plan->graph->tensor_count + 1, sizeof *plan->train_half);
    if (plan->train_half == NULL) return tl_fail(err, TL_ENOMEM, "precisions of tensors");
    plan->half = plan->train_half;
    return TL_OK;
}

/* Whether all that reads the tensor is one step that takes it in bf16. */
static bool reader_takes_half(const tl_plan *plan, uint32_t tensor)
{
    const plan_step *reader = NULL;
    size_t reads = 0;
    for (size_t s = 0; s < plan->step_count; s++)
        for (uint32_t i = 0; i < plan->steps[s].node->input_count; i++) {
            if (plan->steps[s].node->inputs[i] != tensor) continue;
            reader = &plan->steps[s];
            reads++;
        }
    if (reads != 1 || reader->node->input_count != 1) return false;
    const tl_op *op = tl_op_get(reader->node->kind);
    const bool half = true;
    tl_op_state state;
    tl_step_describe(plan->graph, reader->node, plan->op_mode, 1, plan->stream, &state);
    return op->halves != NULL && op->halves(&state, &half);
}

/* Steps from item to item are counted in floats: an odd count stays float32. */
static bool output_can_be_half(const tl_plan *plan, const plan_step *step)
{
    const uint32_t y = step->node->output;
    return tl_shape_count(&plan->graph->tensors[y]) % 2 == 0 &&
           !tl_graph_is_outside(plan->graph, y) && reader_takes_half(plan, y);
}

tl_status tl_plan_prepare_training(tl_plan *plan, plan_step *step, tl_error *err)
{
    const tl_node *node = step->node;
    const tl_op *op = tl_op_get(node->kind);
    tl_op_state *state = &step->state;
    if (plan->train_half != NULL && op->halves != NULL) {
        bool operands[TL_OP_INPUT_MAX] = { false };
        for (uint32_t i = 0; i < node->input_count; i++)
            operands[i] = plan->train_half[node->inputs[i]];
        state->half = op->halves(state, operands);
        state->half_output = state->half && !operands[0] && output_can_be_half(plan, step);
    }
    tl_status status = tl_op_prepare(node->kind, state, err);
    while (status == TL_EUNSUPPORTED &&
           state->half) { /* oneDNN 2.6 has gaps that it does not state */
        state->half = state->half_output;
        state->half_output = false;
        status = tl_op_prepare(node->kind, state, err);
    }
    if (status == TL_OK && state->half_output) plan->train_half[node->output] = true;
    return status;
}

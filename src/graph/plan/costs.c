/* Where a plan's time went. */
#include "graph/plan/plan_internal.h"

#include <stdio.h>
#include <string.h>

/* Replicas have the same steps and about the same times: those of the first are told. */
static const tl_plan *steps_of(const tl_plan *plan)
{
    return plan->replica_count > 0 ? plan->replicas[0] : plan;
}

size_t tl_plan_node_count(const tl_plan *plan)
{
    return steps_of(plan)->step_count;
}

void tl_plan_node_cost(const tl_plan *plan, size_t index, tl_node_cost *out)
{
    plan = steps_of(plan);
    TL_ASSERT(index < plan->step_count);
    const plan_step *step = &plan->steps[index];
    const tl_op *op = tl_op_get(step->node->kind);
    const tl_attrs *attrs = &step->node->attrs;
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", step->node->name);
    const bool acts = attrs->activation.kind != TL_OP_COUNT;
    snprintf(out->op, sizeof out->op, "%s%s%s%s%s", op->name, attrs->folded_norm ? "+norm" : "",
             acts ? "+" : "", acts ? tl_op_get(attrs->activation.kind)->name : "",
             attrs->fused_add ? "+add" : "");
    out->forward_s = step->forward_s;
    out->backward_s = step->backward_s;
    if (op->macs != NULL) out->macs = op->macs(attrs, step->state.inputs, &step->state.output);
    out->output = step->state.output;
    size_t floats = tl_shape_count(&out->output);
    for (size_t i = 0; i < step->state.input_count; i++)
        floats += tl_shape_count(&step->state.inputs[i]);
    for (uint32_t p = 0; p < step->node->param_count; p++)
        floats += plan->graph->params[step->node->params[p]].count;
    out->bytes = floats * sizeof(float);
}

/* A plan that serves: items one after the other. */
#include "graph/plan/plan_internal.h"
#include "tensor/device.h"

static tl_status infer_item(tl_plan *plan, const char *packed, uint32_t item, tl_error *err)
{
    double before = tl_plan_now_s();
    for (size_t s = 0; s < plan->step_count; s++) {
        plan_step *step = &plan->steps[s];
        tl_op_run run = step->forward;
        for (size_t i = 0; i < step->state.input_count; i++) run.x[i] += item * step->x_stride[i];
        run.y += item * step->y_stride;
        run.packed = packed + step->packed_offset;
        tl_status status = tl_op_get(step->node->kind)->forward(&step->state, &run, err);
        if (status != TL_OK) return tl_fail_context(err, status, "node %s", step->node->name);
        double after = tl_plan_now_s();
        step->forward_s += after - before;
        before = after;
    }
    return TL_OK;
}

tl_status tl_plan_infer(tl_plan *plan, const tl_weights *weights, uint32_t batch, tl_error *err)
{
    TL_ASSERT(plan->mode == TL_PLAN_INFER);
    TL_ASSERT(tl_weights_graph(weights) == plan->graph);
    if (batch < 1 || batch > plan->batch_max)
        return tl_fail(err, TL_ESHAPE, "batch of %u; the plan takes 1 to %u", batch,
                       plan->batch_max);
    const char *packed = tl_weights_packed(weights);
    int threads = tl_device_set_threads(plan->threads);
    tl_status status = TL_OK;
    for (uint32_t i = 0; i < batch && status == TL_OK; i++)
        status = infer_item(plan, packed, i, err);
    tl_device_set_threads(threads);
    return status;
}

/* A plan that learns: forward and backward of a whole batch. */
#include "graph/plan/plan_internal.h"
#include "tensor/device.h"
#include "tensor/kernels/kernels.h"

#include <string.h>

tl_status tl_plan_forward_steps(tl_plan *plan, float *flat, tl_error *err)
{
    tl_status first = TL_OK;
    double before = tl_plan_now_s();
    for (size_t s = 0; s < plan->step_count; s++) {
        plan_step *step = &plan->steps[s];
        for (uint32_t p = 0; p < step->node->param_count; p++)
            step->forward.params[p] = flat + plan->graph->params[step->node->params[p]].offset;
        tl_status status = tl_op_get(step->node->kind)
                               ->forward(&step->state, &step->forward, first == TL_OK ? err : NULL);
        if (status != TL_OK && first == TL_OK)
            first = tl_fail_context(err, status, "node %s", step->node->name);
        if (first != TL_OK && plan->exchange == NULL) break;
        double after = tl_plan_now_s();
        step->forward_s += after - before;
        before = after;
    }
    return first;
}

tl_status tl_plan_train_forward(tl_plan *plan, float *flat, uint32_t batch, tl_error *err)
{
    TL_ASSERT(tl_plan_trains(plan));
    if (batch != plan->batch_max)
        return tl_fail(err, TL_ESHAPE, "batch of %u; this plan trains on %u", batch,
                       plan->batch_max);
    int threads = tl_device_set_threads(plan->threads);
    tl_status status = plan->team != NULL ? tl_plan_forward_replicas(plan, flat, err)
                                          : tl_plan_forward_steps(plan, flat, err);
    tl_device_set_threads(threads);
    plan->ran_forward = status == TL_OK;
    return status;
}

static tl_status backward_step(tl_plan *plan, plan_step *step, const float *flat, float *grad,
                               tl_error *err)
{
    const tl_node *node = step->node;
    tl_op_run run = step->backward;
    for (uint32_t p = 0; p < node->param_count; p++) {
        const size_t offset = plan->graph->params[node->params[p]].offset;
        const float *param = flat + offset;
        memcpy(&run.params[p], &param, sizeof param); /* backward does not write parameters */
        run.dparams[p] = grad + offset;
    }
    tl_status status = tl_op_get(node->kind)->backward(&step->state, &run, err);
    if (status != TL_OK) return tl_fail_context(err, status, "node %s", node->name);
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (!step->adds[i]) continue;
        float *sum = tl_plan_at(plan, plan->gradient_buffer[node->inputs[i]]);
        tl_kernels_get()->add(plan->chunk * tl_shape_count(&step->state.inputs[i]), sum, run.dx[i],
                              sum);
    }
    return TL_OK;
}

/* The gradients by the outputs of this plan's items, each into its buffer; those of a tensor that is several outputs add
 * up. */
static void put_output_grads(tl_plan *plan, const float *from)
{
    for (uint32_t i = 0; i < plan->loss_outputs; i++) {
        const uint32_t output = plan->graph->outputs[i];
        const size_t bytes = tl_plan_tensor_bytes(plan, output, plan->chunk);
        const size_t item = tl_shape_count(&plan->graph->tensors[output]);
        const float *own = from + plan->first_item * item;
        float *to = tl_plan_at(plan, plan->gradient_buffer[output]);
        bool again = false;
        for (uint32_t j = 0; j < i; j++) again = again || plan->graph->outputs[j] == output;
        if (again)
            tl_kernels_get()->add(bytes / sizeof *to, to, own, to);
        else
            memcpy(to, own, bytes);
        from += plan->batch_all * item;
    }
}

tl_status tl_plan_backward_steps(tl_plan *plan, const float *flat, const float *output_grad,
                                 float *grad, tl_error *err)
{
    for (size_t p = 0; p < plan->graph->param_count; p++) { /* of what takes no part */
        const tl_param *param = &plan->graph->params[p];
        if (!plan->written[p]) memset(grad + param->offset, 0, param->count * sizeof *grad);
    }
    put_output_grads(plan, output_grad);
    tl_status first = TL_OK;
    double before = tl_plan_now_s();
    for (size_t s = plan->step_count; s-- > 0;) {
        plan_step *step = &plan->steps[s];
        if (!step->active) continue;
        tl_status status = backward_step(plan, step, flat, grad, first == TL_OK ? err : NULL);
        if (status != TL_OK && first == TL_OK) first = status;
        if (first != TL_OK && plan->exchange == NULL) break;
        double after = tl_plan_now_s();
        step->backward_s += after - before;
        before = after;
    }
    return first;
}

tl_status tl_plan_train_backward(tl_plan *plan, const float *flat, const float *output_grad,
                                 float *grad, tl_error *err)
{
    TL_ASSERT(plan->ran_forward); /* backward uses what forward kept */
    int threads = tl_device_set_threads(plan->threads);
    tl_status status = plan->team != NULL
                           ? tl_plan_backward_replicas(plan, flat, output_grad, grad, err)
                           : tl_plan_backward_steps(plan, flat, output_grad, grad, err);
    tl_device_set_threads(threads);
    plan->ran_forward = false; /* buffers were reused: one backward for each forward */
    return status;
}

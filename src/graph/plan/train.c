/* A plan that learns: forward and backward of a whole batch. */
#include "graph/plan/plan_internal.h"
#include "tensor/device.h"
#include "tensor/kernels/kernels.h"

#include <string.h>

/* One pass over a batch. */
typedef struct pass {
    tl_plan *plan;
    float *flat; /* backward does not write parameters */
    float *grad;
    tl_error *err;
    tl_status status; /* the first failure */
} pass;

/* Whether to go on: a replica does after a failure, since others wait for its sums. */
static bool goes_on(const pass *p)
{
    return p->status == TL_OK || p->plan->exchange != NULL;
}

static void note(pass *p, const plan_step *step, tl_status status)
{
    if (status == TL_OK || p->status != TL_OK) return;
    p->status = tl_fail_context(p->err, status, "node %s", step->node->name);
    p->err = NULL; /* the text stays that of the first failure */
}

/* The buffers of `run` for items first..first+items-1. */
static tl_op_run run_at(const plan_step *step, const tl_op_run *all, uint32_t first, uint32_t items)
{
    tl_op_run run = *all;
    for (uint32_t i = 0; i < step->node->input_count; i++) {
        run.x[i] += first * step->x_stride[i];
        if (run.dx[i] != NULL) run.dx[i] += first * step->dx_stride[i];
    }
    run.y += first * step->y_stride;
    if (run.dy != NULL) run.dy += first * step->y_stride;
    if (step->saved_stride > 0) run.saved = (char *)run.saved + first / items * step->saved_stride;
    run.items = items;
    run.first_item = first;
    return run;
}

static void point_params(const pass *p, const plan_step *step, tl_op_run *run)
{
    for (uint32_t i = 0; i < step->node->param_count; i++) {
        const size_t offset = p->plan->graph->params[step->node->params[i]].offset;
        run->params[i] = p->flat + offset;
        if (p->grad != NULL) run->dparams[i] = p->grad + offset;
    }
}

static void run_phase(pass *p, plan_step *step, tl_op_phase phase, uint32_t first, uint32_t items)
{
    if (!goes_on(p)) return;
    const bool forward = phase == TL_PHASE_GATHER_FORWARD || phase == TL_PHASE_SETTLE_FORWARD;
    const double before = tl_plan_now_s();
    tl_op_run run = run_at(step, forward ? &step->forward : &step->backward, first, items);
    point_params(p, step, &run);
    note(p, step, tl_op_get(step->node->kind)->phase(&step->state, &run, phase, p->err));
    *(forward ? &step->forward_s : &step->backward_s) += tl_plan_now_s() - before;
}

/* ---- Forward --------------------------------------------------------------------------------- */

static void forward_step(pass *p, plan_step *step, uint32_t first, uint32_t items)
{
    if (!goes_on(p)) return;
    const double before = tl_plan_now_s();
    tl_op_run run = run_at(step, &step->forward, first, items);
    point_params(p, step, &run);
    note(p, step, tl_op_get(step->node->kind)->forward(&step->state, &run, p->err));
    step->forward_s += tl_plan_now_s() - before;
}

static void forward_group(pass *p, const tl_plan_group *group)
{
    plan_step *steps = p->plan->steps;
    const uint32_t batch = p->plan->batch_max, chunk = group->chunk;
    for (uint32_t s = group->first; s < group->end; s++)
        if (tl_op_get(steps[s].node->kind)->phase != NULL)
            run_phase(p, &steps[s], TL_PHASE_SETTLE_FORWARD, 0, batch);
    for (uint32_t first = 0; first < batch; first += chunk) {
        if (group->before != TL_NONE) forward_step(p, &steps[group->before], first, chunk);
        for (uint32_t s = group->first; s < group->end; s++)
            forward_step(p, &steps[s], first, chunk);
        if (group->after != TL_NONE)
            run_phase(p, &steps[group->after], TL_PHASE_GATHER_FORWARD, first, chunk);
    }
    if (group->after != TL_NONE)
        run_phase(p, &steps[group->after], TL_PHASE_SETTLE_FORWARD, 0, batch);
}

tl_status tl_plan_forward_steps(tl_plan *plan, float *flat, tl_error *err)
{
    pass p = { .plan = plan, .flat = flat, .err = err };
    for (uint32_t g = 0; g < plan->group_count; g++) forward_group(&p, &plan->groups[g]);
    return p.status;
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

/* ---- Backward -------------------------------------------------------------------------------- */

/* Let backward write the parameters' gradients of later items aside. */
static void point_aside(const pass *p, const plan_step *step, tl_op_run *run)
{
    float *at = tl_plan_at(p->plan, step->params_aside);
    for (uint32_t i = 0; i < step->node->param_count; i++) {
        run->dparams[i] = at;
        at += p->plan->graph->params[step->node->params[i]].count;
    }
}

static void add_aside(const pass *p, const plan_step *step, const tl_op_run *run)
{
    for (uint32_t i = 0; i < step->node->param_count; i++) {
        const tl_param *param = &p->plan->graph->params[step->node->params[i]];
        float *sum = p->grad + param->offset;
        tl_kernels_get()->add(param->count, sum, run->dparams[i], sum);
    }
}

static void backward_step(pass *p, plan_step *step, uint32_t first, uint32_t items)
{
    if (!step->active || !goes_on(p)) return;
    const double before = tl_plan_now_s();
    const tl_node *node = step->node;
    tl_op_run run = run_at(step, &step->backward, first, items);
    point_params(p, step, &run);
    const bool aside = first > 0 && step->params_aside != TL_NO_BUFFER;
    if (aside) point_aside(p, step, &run);
    note(p, step, tl_op_get(node->kind)->backward(&step->state, &run, p->err));
    if (aside) add_aside(p, step, &run);
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (!step->adds[i]) continue;
        float *sum = tl_plan_at(p->plan, p->plan->gradient_buffer[node->inputs[i]]) +
                     first * step->x_stride[i];
        tl_kernels_get()->add(items * step->x_stride[i], sum, run.dx[i], sum);
    }
    step->backward_s += tl_plan_now_s() - before;
}

static void backward_group(pass *p, const tl_plan_group *group)
{
    plan_step *steps = p->plan->steps;
    const uint32_t batch = p->plan->batch_max, chunk = group->chunk;
    plan_step *before = group->before == TL_NONE ? NULL : &steps[group->before];
    for (uint32_t first = 0; first < batch; first += chunk) {
        if (group->after != TL_NONE) backward_step(p, &steps[group->after], first, chunk);
        for (uint32_t s = group->end; s-- > group->first;)
            backward_step(p, &steps[s], first, chunk);
        if (before != NULL && before->active)
            run_phase(p, before, TL_PHASE_GATHER_BACKWARD, first, chunk);
    }
    for (uint32_t s = group->end; s-- > group->first;)
        if (steps[s].active && tl_op_get(steps[s].node->kind)->phase != NULL)
            run_phase(p, &steps[s], TL_PHASE_SETTLE_BACKWARD, 0, batch);
    if (before != NULL && before->active) run_phase(p, before, TL_PHASE_SETTLE_BACKWARD, 0, batch);
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
    float *params;
    memcpy(&params, &flat, sizeof params);
    pass p = { .plan = plan, .flat = params, .grad = grad, .err = err };
    for (uint32_t g = plan->group_count; g-- > 0;) backward_group(&p, &plan->groups[g]);
    return p.status;
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

/* A plan that serves.
 *
 * Items run one after the other, up to the last steps, which run for a group of items together. With
 * several threads, each takes a share of the items; of a single item each step is cut into parts,
 * with a barrier after it. No result depends on any of this: whatever is cut, each number is the
 * same sum in the same order. */
#include "graph/plan/plan_internal.h"
#include "tensor/device.h"

#include <stdlib.h>

enum { GROUP_MAX = 8 };

/* ---- Create ---------------------------------------------------------------------------------- */

/* The last steps, from where the weights they read outweigh by most what they read and write of one
 * item. */
void tl_plan_choose_joint(tl_plan *plan)
{
    plan->joint = plan->step_count;
    plan->group = plan->chunk;
    if (tl_plan_trains(plan) || plan->batch_max == 1) return;
    double gain = 0, most = 0;
    for (size_t s = plan->step_count; s-- > 0;) {
        const plan_step *step = &plan->steps[s];
        const tl_node *node = step->node;
        gain += (double)step->state.needs.packed;
        gain -= (double)tl_plan_tensor_bytes(plan, node->output, 1);
        for (uint32_t i = 0; i < node->input_count; i++)
            gain -= (double)tl_plan_tensor_bytes(plan, node->inputs[i], 1);
        if (gain <= most) continue;
        most = gain;
        plan->joint = s;
    }
    if (plan->joint == plan->step_count) return;
    plan->group = plan->batch_max < GROUP_MAX ? plan->batch_max : GROUP_MAX;
}

static tl_status make_helper(tl_plan *plan, tl_plan **out, tl_error *err)
{
    const tl_graph *g = plan->graph;
    tl_status status = tl_plan_begin(plan->graph, plan->mode, plan->batch_max, out, err);
    if (status != TL_OK) return status;
    tl_plan *helper = *out;
    helper->outside = calloc(g->tensor_count + 1, sizeof *helper->outside);
    if (helper->outside == NULL) return tl_fail(err, TL_ENOMEM, "plan of a thread");
    for (uint32_t t = 0; t < g->tensor_count; t++)
        if (plan->external[t]) helper->outside[t] = tl_plan_tensor(plan, t);
    return tl_plan_compile(helper, err);
}

tl_status tl_plan_make_helpers(tl_plan *plan, tl_error *err)
{
    const size_t count = (size_t)plan->threads - 1;
    plan->helpers = calloc(count, sizeof *plan->helpers);
    plan->failures = calloc(count + 1, sizeof *plan->failures);
    if (plan->helpers == NULL || plan->failures == NULL)
        return tl_fail(err, TL_ENOMEM, "plans of %zu threads", count);
    tl_status status = tl_team_create((uint32_t)plan->threads, &plan->team, err);
    for (size_t h = 0; h < count && status == TL_OK && plan->batch_max > 1; h++)
        status = make_helper(plan, &plan->helpers[h], err);
    return status;
}

void tl_plan_free_helpers(tl_plan *plan)
{
    if (plan->helpers == NULL) return;
    for (int h = 0; h + 1 < plan->threads; h++)
        if (plan->helpers[h] != NULL) tl_plan_destroy(&plan->helpers[h]);
    free(plan->helpers);
    tl_team_destroy(&plan->team);
}

/* ---- Run ------------------------------------------------------------------------------------- */

/* The buffers of a step for the item that is number `within` of its group. */
static tl_op_run run_of(const plan_step *step, const char *packed, size_t item, size_t within)
{
    tl_op_run run = step->forward;
    for (size_t i = 0; i < step->state.input_count; i++)
        run.x[i] += (step->x_outside[i] ? item : within) * step->x_stride[i];
    run.y += (step->y_outside ? item : within) * step->y_stride;
    run.packed = packed + step->packed_offset;
    return run;
}

/* Step s for items first..first + count - 1, which are a group from number `within` on. */
static tl_status run_step(plan_step *step, const char *packed, size_t first, size_t within,
                          size_t count, tl_error *err)
{
    const tl_op *op = tl_op_get(step->node->kind);
    const size_t once = step->state.needs.any_batch ? count : 1;
    tl_status status = TL_OK;
    step->state.batch = (uint32_t)once;
    for (size_t i = 0; i < count && status == TL_OK; i += once) {
        const tl_op_run run = run_of(step, packed, first + i, within + i);
        status = op->forward(&step->state, &run, err);
    }
    step->state.batch = 1;
    return status == TL_OK ? TL_OK : tl_fail_context(err, status, "node %s", step->node->name);
}

static tl_status run_steps(tl_plan *plan, const char *packed, tl_range steps, size_t first,
                           size_t within, size_t count, tl_error *err)
{
    double before = tl_plan_now_s();
    for (size_t s = steps.begin; s < steps.end; s++) {
        plan_step *step = &plan->steps[s];
        tl_status status = run_step(step, packed, first, within, count, err);
        if (status != TL_OK) return status;
        const double after = tl_plan_now_s();
        step->forward_s += after - before;
        before = after;
    }
    return TL_OK;
}

static tl_status infer_items(tl_plan *plan, const char *packed, tl_range items, tl_error *err)
{
    const tl_range alone = { 0, plan->joint }, joint = { plan->joint, plan->step_count };
    tl_status status = TL_OK;
    for (size_t first = items.begin, count; first < items.end && status == TL_OK; first += count) {
        count = items.end - first < plan->group ? items.end - first : plan->group;
        for (size_t i = 0; i < count && status == TL_OK; i++)
            status = run_steps(plan, packed, alone, first + i, i, 1, err);
        if (status == TL_OK) status = run_steps(plan, packed, joint, first, 0, count, err);
    }
    return status;
}

/* ---- With several threads -------------------------------------------------------------------- */

typedef struct infer_job {
    tl_plan *plan;
    const char *packed;
    uint32_t batch;
} infer_job;

static void infer_share(void *arg, uint32_t member)
{
    const infer_job *job = arg;
    tl_plan *plan = job->plan;
    const tl_range items = tl_team_range(job->batch, 1, member, (uint32_t)plan->threads);
    tl_error *failure = &plan->failures[member];
    failure->status =
        infer_items(member == 0 ? plan : plan->helpers[member - 1], job->packed, items, failure);
}

/* Member's parts of every step for item 0. Steps that cannot be cut are the first member's. */
static void infer_parts(void *arg, uint32_t member)
{
    const infer_job *job = arg;
    tl_plan *plan = job->plan;
    tl_error *failure = &plan->failures[member];
    const uint32_t threads = (uint32_t)plan->threads;
    failure->status = TL_OK;
    double before = tl_plan_now_s();
    for (size_t s = 0; s < plan->step_count; s++) {
        plan_step *step = &plan->steps[s];
        tl_op_run run = run_of(step, job->packed, 0, 0);
        const bool cut = step->state.needs.parts;
        run.part = member;
        run.parts = cut ? threads : 1;
        if (run.scratch != NULL)
            run.scratch = (char *)run.scratch + member * step->state.needs.forward_scratch;
        if ((cut || member == 0) && failure->status == TL_OK)
            failure->status = tl_op_get(step->node->kind)->forward(&step->state, &run, failure);
        tl_team_barrier(plan->team);
        if (member > 0) continue;
        const double after = tl_plan_now_s();
        step->forward_s += after - before;
        before = after;
    }
}

static tl_status infer_team(tl_plan *plan, const char *packed, uint32_t batch, tl_error *err)
{
    infer_job job = { .plan = plan, .packed = packed, .batch = batch };
    tl_team_run(plan->team, batch > 1 ? infer_share : infer_parts, &job);
    for (int m = 0; m < plan->threads; m++)
        if (plan->failures[m].status != TL_OK)
            return tl_fail(err, plan->failures[m].status, "%s", plan->failures[m].text);
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
    int threads = tl_device_set_threads(1);
    tl_status status = plan->team != NULL ? infer_team(plan, packed, batch, err)
                                          : infer_items(plan, packed, (tl_range){ 0, batch }, err);
    tl_device_set_threads(threads);
    return status;
}

/* A plan that serves.
 *
 * Items run one after the other, up to the last steps, which run for a group of items together.
 * With several threads, each takes a share of the group's items up to there; the joint steps, and
 * those of a single item, are cut into parts, with a barrier after each. No result depends on any
 * of this: whatever is cut, each number is the same sum in the same order. */
#include "graph/plan/plan_internal.h"
#include "tensor/device.h"
#include "tensor/kernels/kernels.h"

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
    const uint32_t room = plan->threads > GROUP_MAX ? (uint32_t)plan->threads : GROUP_MAX;
    plan->group = plan->batch_max < room ? plan->batch_max : room;
}

static tl_status make_helper(tl_plan *plan, tl_plan **out, tl_error *err)
{
    const tl_graph *g = plan->graph;
    tl_status status = tl_plan_begin(plan->graph, plan->mode, plan->batch_max, out, err);
    if (status != TL_OK) return status;
    tl_plan *helper = *out;
    helper->precision = plan->precision;
    helper->outside = calloc(g->tensor_count + 1, sizeof *helper->outside);
    if (helper->outside == NULL) return tl_fail(err, TL_ENOMEM, "plan of a thread");
    for (uint32_t t = 0; t < g->tensor_count; t++)
        if (plan->external[t]) helper->outside[t] = tl_plan_tensor(plan, t);
    for (size_t s = plan->joint; s < plan->step_count; s++) /* what the joint steps read */
        for (uint32_t i = 0; i < plan->steps[s].node->input_count; i++) {
            const uint32_t x = plan->steps[s].node->inputs[i];
            helper->outside[x] = tl_plan_tensor(plan, x);
        }
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

tl_op_run tl_plan_run_of(const plan_step *step, const char *packed, size_t item, size_t within,
                         uint32_t member)
{
    tl_op_run run = step->forward;
    for (size_t i = 0; i < step->state.input_count; i++)
        run.x[i] += (step->x_outside[i] ? item : within) * step->x_stride[i];
    run.y += (step->y_outside ? item : within) * step->y_stride;
    run.packed = packed + step->packed_offset;
    if (run.scratch != NULL)
        run.scratch = (char *)run.scratch + member * tl_align(step->state.needs.forward_scratch);
    return run;
}

/* Some items of the batch, which are a group or part of one from number `within` on. */
typedef struct infer_items {
    const char *packed;
    size_t first, within, count;
} infer_items;

/* n numbers of bf16 to float32, or the other way; returns where the next ones may go. */
static char *convert(bool to_half, size_t n, const void *from, void *to)
{
    const tl_kernels *k = tl_kernels_get();
    if (to_half)
        k->to_half(n, from, to);
    else
        k->from_half(n, from, to);
    return (char *)to + tl_align(n * sizeof(float));
}

/* Forward, with operands and result in the type that the step works on. */
static tl_status run_converted(const tl_plan *plan, const plan_step *step, const tl_op_state *state,
                               const tl_op_run *run, tl_error *err)
{
    const tl_op *op = tl_op_get(step->node->kind);
    if (step->converted == TL_NO_BUFFER) return op->forward(state, run, err);
    tl_op_run other = *run;
    char *room = (char *)tl_plan_at(plan, step->converted);
    for (size_t i = 0; i < state->input_count; i++) {
        if (!tl_plan_converts(plan, step, step->node->inputs[i])) continue;
        other.x[i] = (const float *)(const void *)room;
        room =
            convert(state->half, state->batch * tl_shape_count(&state->inputs[i]), run->x[i], room);
    }
    const bool converts = tl_plan_converts(plan, step, step->node->output);
    if (converts) other.y = (float *)(void *)room;
    tl_status status = op->forward(state, &other, err);
    if (status == TL_OK && converts)
        convert(!state->half, state->batch * tl_shape_count(&state->output), other.y, run->y);
    return status;
}

/* A member's part of a step: of all items where the step can be cut, else of its share of them. */
static tl_status run_step(const tl_plan *plan, const plan_step *step, const infer_items *items,
                          uint32_t member, uint32_t members, tl_error *err)
{
    const bool cut = step->state.needs.parts && members > 1;
    tl_range mine =
        cut ? (tl_range){ 0, items->count } : tl_team_range(items->count, 1, member, members);
    if (step->state.needs.alone) mine = (tl_range){ 0, member == 0 ? items->count : 0 };
    tl_op_state state = step->state; /* members run it with batches of their own */
    state.batch = state.needs.any_batch ? (uint32_t)(mine.end - mine.begin) : 1;
    tl_status status = TL_OK;
    for (size_t i = mine.begin; i < mine.end && status == TL_OK; i += state.batch) {
        tl_op_run run =
            tl_plan_run_of(step, items->packed, items->first + i, items->within + i, member);
        run.part = cut ? member : 0;
        run.parts = cut ? members : 1;
        status = run_converted(plan, step, &state, &run, err);
    }
    return status == TL_OK ? TL_OK : tl_fail_context(err, status, "node %s", step->node->name);
}

static tl_status run_chain(plan_step *steps, const infer_items *items, uint32_t member,
                           uint32_t members, tl_error *err)
{
    tl_status status = TL_OK;
    for (size_t i = 0; i < items->count && status == TL_OK; i++)
        status = tl_plan_run_chain(steps, items->packed, items->first + i, items->within + i,
                                   member, members, err);
    return status;
}

/* A member's part of some steps, all members meeting after each. After a failure a member goes on
 * meeting the others. */
static tl_status run_steps(tl_plan *plan, tl_range steps, const infer_items *items, uint32_t member,
                           uint32_t members, tl_error *err)
{
    tl_status status = TL_OK;
    double before = tl_plan_now_s();
    for (size_t s = steps.begin; s < steps.end;) {
        plan_step *step = &plan->steps[s];
        if (status == TL_OK)
            status = step->chain > 0 ? run_chain(step, items, member, members, err)
                                     : run_step(plan, step, items, member, members, err);
        if (members > 1) tl_team_barrier(plan->team);
        s += step->chain > 0 ? step->chain : 1;
        if (member > 0) continue;
        const double after = tl_plan_now_s();
        if (step->chain == 0) step->forward_s += after - before;
        before = after;
    }
    return status;
}

/* All of a batch on one thread: a group after the other. */
static tl_status infer_alone(tl_plan *plan, const char *packed, uint32_t batch, tl_error *err)
{
    const tl_range alone = { 0, plan->joint }, joint = { plan->joint, plan->step_count };
    tl_status status = TL_OK;
    infer_items group = { .packed = packed };
    for (; group.first < batch && status == TL_OK; group.first += group.count) {
        group.count = batch - group.first < plan->group ? batch - group.first : plan->group;
        for (size_t i = 0; i < group.count && status == TL_OK; i++) {
            const infer_items item = { packed, group.first + i, i, 1 };
            status = run_steps(plan, alone, &item, 0, 1, err);
        }
        if (status == TL_OK) status = run_steps(plan, joint, &group, 0, 1, err);
    }
    return status;
}

/* ---- With several threads -------------------------------------------------------------------- */

typedef struct infer_job {
    tl_plan *plan;
    const char *packed;
    uint32_t batch;
} infer_job;

/* How many of a group's items are shared out; the others are cut, one after the other. */
static size_t shared_items(size_t count, size_t members)
{
    const size_t rest = count % members;
    return 2 * rest > members ? count : count - rest;
}

/* A group by all members: each runs the steps up to the joint ones for its share of the items, in
 * an arena of its own; the other items and the joint steps are cut into parts of the plan's. */
static tl_status run_group(tl_plan *plan, const infer_items *group, uint32_t member, tl_error *err)
{
    const uint32_t members = (uint32_t)plan->threads;
    const tl_range alone = { 0, plan->joint }, joint = { plan->joint, plan->step_count };
    const size_t shared = shared_items(group->count, members);
    const tl_range mine = tl_team_range(shared, 1, member, members);
    tl_plan *own = member == 0 ? plan : plan->helpers[member - 1];
    tl_status status = TL_OK, later;
    for (size_t i = mine.begin; i < mine.end && status == TL_OK; i++) {
        const infer_items item = { group->packed, group->first + i, i, 1 };
        status = run_steps(own, alone, &item, 0, 1, err);
    }
    if (shared > 0) tl_team_barrier(plan->team);
    for (size_t i = shared; i < group->count; i++) {
        const infer_items item = { group->packed, group->first + i, i, 1 };
        later = run_steps(plan, alone, &item, member, members, err);
        if (status == TL_OK) status = later;
    }
    later = run_steps(plan, joint, group, member, members, err);
    return status == TL_OK ? later : status;
}

static void infer_member(void *arg, uint32_t member)
{
    const infer_job *job = arg;
    tl_plan *plan = job->plan;
    tl_error *failure = &plan->failures[member];
    /* Without joint steps nothing ties items together. */
    const size_t most = plan->joint == plan->step_count ? job->batch : plan->group;
    infer_items group = { .packed = job->packed };
    failure->status = TL_OK;
    for (; group.first < job->batch; group.first += group.count) {
        group.count = job->batch - group.first < most ? job->batch - group.first : most;
        const tl_status status = run_group(plan, &group, member, failure);
        if (status != TL_OK) failure->status = status;
    }
}

static tl_status infer_team(tl_plan *plan, const char *packed, uint32_t batch, tl_error *err)
{
    infer_job job = { .plan = plan, .packed = packed, .batch = batch };
    tl_team_run(plan->team, infer_member, &job);
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
    const void *packed;
    tl_status status = tl_weights_packed(weights, plan->precision, &packed, err);
    if (status != TL_OK) return status;
    int threads = tl_device_set_threads(1);
    status = plan->team != NULL ? infer_team(plan, packed, batch, err)
                                : infer_alone(plan, packed, batch, err);
    tl_device_set_threads(threads);
    return status;
}

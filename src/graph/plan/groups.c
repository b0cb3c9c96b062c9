/* Which steps of training run together for some items at a time. */
#include "graph/plan/plan_internal.h"

#include <stdlib.h>

/* What a step reads and writes for the items of one call should fit into the caches: beside the
 * second-level cache, which is smaller, a core's share of the third, from which reading is five
 * times as fast as from memory. */
enum { CHUNK_BYTES = 2 << 20 };

/* The largest operand or result of the group's steps, for one item. */
static size_t largest_item(const tl_plan *plan, const tl_plan_group *group)
{
    size_t most = 0;
    for (uint32_t s = group->first; s < group->end; s++) {
        const tl_node *node = plan->steps[s].node;
        size_t bytes = tl_plan_tensor_bytes(plan, node->output, 1);
        for (uint32_t i = 0; i < node->input_count; i++) {
            const size_t operand = tl_plan_tensor_bytes(plan, node->inputs[i], 1);
            if (operand > bytes) bytes = operand;
        }
        if (bytes > most) most = bytes;
    }
    return most;
}

/* A divisor of the batch, so that all calls are of the same size. */
static uint32_t choose_chunk(const tl_plan *plan, const tl_plan_group *group)
{
    const size_t item = largest_item(plan, group);
    uint32_t chunk = 1;
    for (uint32_t c = 2; c <= plan->batch_max; c++)
        if (plan->batch_max % c == 0 && c * item <= CHUNK_BYTES) chunk = c;
    return chunk;
}

tl_status tl_plan_make_groups(tl_plan *plan, tl_error *err)
{
    const uint32_t count = (uint32_t)plan->step_count;
    plan->groups = calloc(plan->step_count + 1, sizeof *plan->groups);
    if (plan->groups == NULL) return tl_fail(err, TL_ENOMEM, "groups of %u steps", count);
    tl_plan_group group = { .before = TL_NONE };
    for (uint32_t s = 0; s <= count; s++) {
        const bool ends = s == count || tl_op_sums_batch(plan->steps[s].node->kind, plan->op_mode);
        if (s < count) plan->steps[s].group = plan->group_count;
        if (!ends) continue;
        group.end = s;
        group.after = s < count ? s : TL_NONE;
        group.chunk = choose_chunk(plan, &group);
        if (s < count) plan->steps[s].sums = true;
        plan->groups[plan->group_count++] = group;
        group = (tl_plan_group){ .first = s + 1, .before = s };
    }
    return TL_OK;
}

/* The group in which step s is at time s (forward), or at its time backward. */
static uint32_t running_group(const tl_plan *plan, uint32_t s, bool forward)
{
    const plan_step *step = &plan->steps[s];
    return step->group + (step->sums && forward ? 1 : 0);
}

void tl_plan_widen(const tl_plan *plan, uint32_t *first, uint32_t *last)
{
    const uint32_t count = (uint32_t)plan->step_count, end = 2 * count - 1;
    if (*first < count) {
        const tl_plan_group *g = &plan->groups[running_group(plan, *first, true)];
        *first = g->before == TL_NONE ? 0 : g->before;
    } else if (*first <= end) {
        const tl_plan_group *g = &plan->groups[running_group(plan, end - *first, false)];
        *first = g->after == TL_NONE ? count : end - g->after;
    }
    if (*last < count) {
        const tl_plan_group *g = &plan->groups[running_group(plan, *last, true)];
        *last = g->after == TL_NONE ? count - 1 : g->after;
    } else if (*last <= end) {
        const tl_plan_group *g = &plan->groups[running_group(plan, end - *last, false)];
        *last = g->before == TL_NONE ? end : end - g->before;
    }
}

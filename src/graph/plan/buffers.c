/* Which buffers a plan needs, from when to when, and where they lie. */
#include "graph/plan/plan_internal.h"

#include <stdlib.h>

size_t tl_plan_tensor_bytes(const tl_plan *plan, uint32_t tensor, size_t items)
{
    const bool half = plan->half != NULL && plan->half[tensor];
    return items * tl_shape_count(&plan->graph->tensors[tensor]) *
           (half ? sizeof(uint16_t) : sizeof(float));
}

bool tl_plan_converts(const tl_plan *plan, const plan_step *step, uint32_t tensor)
{
    return plan->half != NULL && !tl_plan_trains(plan) && plan->half[tensor] != step->state.half;
}

/* What is converted for a step, for as many items as it may run for at a time. */
static size_t converted_bytes(const tl_plan *plan, const plan_step *step, uint32_t items)
{
    const tl_node *node = step->node;
    size_t bytes = 0;
    for (uint32_t i = 0; i <= node->input_count; i++) {
        const uint32_t tensor = i < node->input_count ? node->inputs[i] : node->output;
        if (!tl_plan_converts(plan, step, tensor)) continue;
        const size_t each = items * tl_shape_count(&plan->graph->tensors[tensor]) * sizeof(float);
        bytes += tl_align(each);
    }
    return bytes;
}

float *tl_plan_at(const tl_plan *plan, int32_t buffer)
{
    return buffer == TL_NO_BUFFER ? NULL
                                  : (float *)(void *)(plan->arena + plan->buffers[buffer].offset);
}

float *tl_plan_tensor(const tl_plan *plan, uint32_t tensor)
{
    if (plan->outside != NULL && plan->outside[tensor] != NULL) return plan->outside[tensor];
    return tl_plan_at(plan, plan->tensor_buffer[tensor]);
}

static int32_t add_buffer(tl_plan *plan, size_t bytes, size_t first, size_t last)
{
    TL_ASSERT(plan->buffer_count < plan->buffer_room);
    plan->buffers[plan->buffer_count] =
        (tl_buffer){ .bytes = bytes, .first = (uint32_t)first, .last = (uint32_t)last };
    return (int32_t)plan->buffer_count++;
}

static void live_until(tl_plan *plan, int32_t buffer, size_t time)
{
    if (plan->buffers[buffer].last < time) plan->buffers[buffer].last = (uint32_t)time;
}

static size_t end_time(const tl_plan *plan)
{
    return 2 * plan->step_count;
}

static size_t backward_time(const tl_plan *plan, size_t step)
{
    return 2 * plan->step_count - 1 - step;
}

static void add_external(tl_plan *plan, uint32_t tensor)
{
    if (plan->external[tensor]) return;
    plan->external[tensor] = true;
    const size_t bytes =
        plan->outside != NULL ? 0 : tl_plan_tensor_bytes(plan, tensor, plan->batch_max);
    plan->tensor_buffer[tensor] = add_buffer(plan, bytes, 0, end_time(plan));
}

static void place_externals(tl_plan *plan)
{
    const tl_graph *g = plan->graph;
    for (size_t i = 0; i < g->input_count; i++) add_external(plan, g->inputs[i]);
    for (size_t i = 0; i < g->output_count; i++) add_external(plan, g->outputs[i]);
    if (g->features != TL_NONE) add_external(plan, g->features);
}

/* When the tensors are read last. They are not yet shared. */
static void place_tensors(tl_plan *plan)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        const plan_step *step = &plan->steps[s];
        const tl_node *node = step->node;
        if (!plan->external[node->output])
            plan->tensor_buffer[node->output] =
                add_buffer(plan,
                           tl_plan_tensor_bytes(plan, node->output,
                                                s >= plan->joint ? plan->group : plan->chunk),
                           s, s);
        for (uint32_t i = 0; i < node->input_count; i++) {
            bool kept = step->active && step->state.needs.keeps_input[i];
            live_until(plan, plan->tensor_buffer[node->inputs[i]],
                       kept ? backward_time(plan, s) : s);
        }
        if (step->active && step->state.needs.keeps_output)
            live_until(plan, plan->tensor_buffer[node->output], backward_time(plan, s));
    }
}

/* Tensors that joint steps read of earlier ones: they must outlive the next items' earlier steps. */
static void place_crossing(tl_plan *plan)
{
    for (size_t s = plan->joint; s < plan->step_count; s++) {
        const tl_node *node = plan->steps[s].node;
        for (uint32_t i = 0; i < node->input_count; i++) {
            const uint32_t x = node->inputs[i];
            tl_buffer *buffer = &plan->buffers[plan->tensor_buffer[x]];
            if (plan->external[x] || buffer->first >= plan->joint) continue;
            buffer->first = 0;
            buffer->bytes = tl_plan_tensor_bytes(plan, x, plan->group);
        }
    }
}

/* An output takes over the buffer of the first operand where that is not needed any more. */
static void share_in_place(tl_plan *plan)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        const tl_node *node = plan->steps[s].node;
        if (!plan->steps[s].state.needs.in_place) continue;
        const uint32_t x = node->inputs[0], y = node->output;
        if (plan->external[x] || plan->external[y]) continue;
        if (tl_shape_count(&plan->graph->tensors[x]) != tl_shape_count(&plan->graph->tensors[y]))
            continue;
        tl_buffer *from = &plan->buffers[plan->tensor_buffer[x]];
        tl_buffer *to = &plan->buffers[plan->tensor_buffer[y]];
        if (from->last != s || from->bytes != to->bytes) continue;
        from->last = to->last;
        to->bytes = 0; /* stays in the list, takes no room */
        plan->tensor_buffer[y] = plan->tensor_buffer[x];
    }
}

/* ---- Gradients ------------------------------------------------------------------------------- */

bool tl_plan_learns(const tl_plan *plan, const tl_node *node)
{
    for (uint32_t p = 0; p < node->param_count; p++) {
        const tl_param *param = &plan->graph->params[node->params[p]];
        bool stays = plan->trained_stages > 0 && param->stage >= plan->trained_stages;
        if (param->role != TL_PARAM_RUNNING && !stays) return true;
    }
    return false;
}

/* Which tensors depend on something trained, and which steps lie between that and
 * the outputs of the loss. */
void tl_plan_mark_active(tl_plan *plan, bool *depends, bool *reaches)
{
    const tl_graph *g = plan->graph;
    for (size_t s = 0; s < plan->step_count; s++) {
        const tl_node *node = plan->steps[s].node;
        bool any = tl_plan_learns(plan, node);
        for (uint32_t i = 0; i < node->input_count; i++) any = any || depends[node->inputs[i]];
        depends[node->output] = any && tl_op_get(node->kind)->backward != NULL;
    }
    for (uint32_t i = 0; i < plan->loss_outputs; i++) reaches[g->outputs[i]] = true;
    for (size_t s = plan->step_count; s-- > 0;) {
        plan_step *step = &plan->steps[s];
        step->active =
            tl_plan_trains(plan) && reaches[step->node->output] && depends[step->node->output];
        if (!step->active) continue;
        for (uint32_t i = 0; i < step->node->input_count; i++) {
            reaches[step->node->inputs[i]] = true;
            step->state.wants_grad[i] = depends[step->node->inputs[i]];
        }
    }
}

/* The buffer that backward of step s writes operand i's gradient into. The first writer writes the
 * tensor's gradient itself, if it can over its own dy; later ones write aside and add. */
static void place_gradient(tl_plan *plan, size_t s, uint32_t i)
{
    plan_step *step = &plan->steps[s];
    const uint32_t x = step->node->inputs[i], y = step->node->output;
    const size_t now = backward_time(plan, s);
    if (plan->gradient_buffer[x] != TL_NO_BUFFER) {
        step->adds[i] = true;
        step->dx[i] = add_buffer(plan, tl_plan_tensor_bytes(plan, x, plan->chunk), now, now);
        return;
    }
    if (i == 0 && step->state.needs.backward_in_place &&
        tl_plan_tensor_bytes(plan, x, 1) == tl_plan_tensor_bytes(plan, y, 1))
        plan->gradient_buffer[x] = plan->gradient_buffer[y];
    else
        plan->gradient_buffer[x] =
            add_buffer(plan, tl_plan_tensor_bytes(plan, x, plan->chunk), now, now);
    step->dx[i] = plan->gradient_buffer[x];
}

static void place_gradients(tl_plan *plan)
{
    for (size_t t = 0; t < plan->graph->tensor_count; t++) plan->gradient_buffer[t] = TL_NO_BUFFER;
    if (!tl_plan_trains(plan)) return;
    for (uint32_t i = 0; i < plan->loss_outputs; i++) {
        const uint32_t output = plan->graph->outputs[i];
        const size_t bytes = tl_plan_tensor_bytes(plan, output, plan->chunk);
        if (plan->gradient_buffer[output] == TL_NO_BUFFER)
            plan->gradient_buffer[output] =
                add_buffer(plan, bytes, plan->step_count, plan->step_count);
    }
    for (size_t s = plan->step_count; s-- > 0;) {
        plan_step *step = &plan->steps[s];
        if (!step->active) continue;
        live_until(plan, plan->gradient_buffer[step->node->output], backward_time(plan, s));
        for (uint32_t i = 0; i < step->node->input_count; i++)
            if (step->state.wants_grad[i]) place_gradient(plan, s, i);
    }
}

/* Into how many calls the batch is divided; one for a step with phases, whose `saved` is of all. */
static uint32_t calls_of(const tl_plan *plan, const plan_step *step)
{
    if (!tl_plan_trains(plan) || tl_op_get(step->node->kind)->phase != NULL) return 1;
    return plan->batch_max / plan->groups[step->group].chunk;
}

static size_t params_bytes(const tl_plan *plan, const tl_node *node)
{
    size_t count = 0;
    for (uint32_t p = 0; p < node->param_count; p++)
        count += plan->graph->params[node->params[p]].count;
    return count * sizeof(float);
}

static void place_private(tl_plan *plan)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        plan_step *step = &plan->steps[s];
        const tl_op_needs *needs = &step->state.needs;
        const size_t back = backward_time(plan, s);
        step->saved = step->forward_scratch = step->backward_scratch = TL_NO_BUFFER;
        const size_t converted =
            converted_bytes(plan, step, s >= plan->joint ? plan->group : plan->chunk);
        step->converted = converted > 0 ? add_buffer(plan, converted, s, s) : TL_NO_BUFFER;
        if (needs->saved > 0) {
            const uint32_t calls = calls_of(plan, step);
            step->saved_stride = tl_align(needs->saved);
            /* of a step that sums: from its first phase on, in the group before it */
            step->saved = add_buffer(plan, calls * step->saved_stride,
                                     step->sums && s > 0 ? s - 1 : s, step->active ? back : s);
            if (calls == 1) step->saved_stride = 0;
        }
        if (needs->forward_scratch > 0)
            step->forward_scratch =
                add_buffer(plan, tl_align(needs->forward_scratch) * (size_t)plan->threads, s, s);
        if (needs->backward_scratch > 0 && step->active)
            step->backward_scratch = add_buffer(plan, needs->backward_scratch, back, back);
        step->params_aside = TL_NO_BUFFER;
        if (step->active && step->node->param_count > 0 && calls_of(plan, step) > 1)
            step->params_aside = add_buffer(plan, params_bytes(plan, step->node), back, back);
    }
}

/* ---- Place ----------------------------------------------------------------------------------- */

/* Floats from item to item (bf16: pairs), 0 where there is room for one. */
static size_t stride_of(const tl_plan *plan, uint32_t tensor)
{
    const size_t bytes = tl_plan_tensor_bytes(plan, tensor, 1);
    if (plan->external[tensor]) return bytes / sizeof(float);
    return plan->buffers[plan->tensor_buffer[tensor]].bytes >= 2 * bytes ? bytes / sizeof(float)
                                                                         : 0;
}

/* Training keeps all items of every tensor. */
static size_t step_stride(const tl_plan *plan, uint32_t tensor)
{
    return tl_plan_trains(plan) ? tl_plan_tensor_bytes(plan, tensor, 1) / sizeof(float)
                                : stride_of(plan, tensor);
}

static void bind_step(tl_plan *plan, plan_step *step)
{
    const tl_node *node = step->node;
    tl_op_run *f = &step->forward, *b = &step->backward;
    for (uint32_t i = 0; i < node->input_count; i++) {
        f->x[i] = tl_plan_tensor(plan, node->inputs[i]);
        step->x_stride[i] = step_stride(plan, node->inputs[i]);
        step->x_outside[i] = plan->external[node->inputs[i]];
    }
    f->y = tl_plan_tensor(plan, node->output);
    step->y_stride = step_stride(plan, node->output);
    step->y_outside = plan->external[node->output];
    f->saved = tl_plan_at(plan, step->saved);
    f->scratch = tl_plan_at(plan, step->forward_scratch);
    if (!step->active) return;
    *b = *f;
    b->scratch = tl_plan_at(plan, step->backward_scratch);
    b->dy = tl_plan_at(plan, plan->gradient_buffer[node->output]);
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (!step->state.wants_grad[i]) continue;
        b->dx[i] = tl_plan_at(plan, step->dx[i]);
        step->dx_stride[i] = step->adds[i] ? 0 : step->x_stride[i];
    }
}

static tl_status make_arena(tl_plan *plan, tl_error *err)
{
    tl_status status = tl_layout_place(plan->buffers, plan->buffer_count, &plan->arena_bytes, err);
    if (status != TL_OK || plan->only_measure) return status;
    plan->arena = tl_aligned_calloc(plan->arena_bytes);
    if (plan->arena == NULL)
        return tl_fail(err, TL_ENOMEM, "arena of %zu bytes; lower the batch", plan->arena_bytes);
    return TL_OK;
}

tl_status tl_plan_place(tl_plan *plan, tl_error *err)
{
    place_externals(plan);
    place_tensors(plan);
    tl_plan_choose_chains(plan);
    place_crossing(plan);
    share_in_place(plan);
    place_gradients(plan);
    place_private(plan);
    for (size_t b = 0; tl_plan_trains(plan) && b < plan->buffer_count; b++)
        tl_plan_widen(plan, &plan->buffers[b].first, &plan->buffers[b].last);
    tl_plan_widen_chains(plan);
    tl_status status = make_arena(plan, err);
    if (status != TL_OK || plan->only_measure) return status;
    for (size_t s = 0; s < plan->step_count; s++) {
        const plan_step *step = &plan->steps[s];
        bind_step(plan, &plan->steps[s]);
        for (uint32_t p = 0; step->active && p < step->node->param_count; p++)
            plan->written[step->node->params[p]] = true;
    }
    return TL_OK;
}

tl_status tl_plan_place_outside(tl_plan *plan, tl_error *err)
{
    place_externals(plan);
    return make_arena(plan, err);
}

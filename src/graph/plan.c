/* A graph compiled for (batch, mode).
 *
 * Time is counted in steps: step s runs forward at time s, and in a plan of `count` steps backward
 * at time 2 * count - 1 - s. Every buffer (tensor, gradient, what an operator saves, scratch) gets
 * the times between which it is needed, and layout.c gives it a place in one arena.
 *
 * Inference compiles for one item and runs items one after the other: results then cannot depend on
 * the batch, an item's activations stay in the core's cache, and the arena is small. Inputs,
 * outputs and features lie in [batch_max] arrays. */
#include "graph/internal.h"
#include "tensor/device.h"
#include "tensor/kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NO_BUFFER = -1 };

typedef struct plan_step {
    const tl_node *node;
    tl_op_state state;
    tl_op_run forward, backward;
    size_t x_stride[TL_OP_INPUT_MAX], y_stride; /* floats from item to item; 0: reused */
    size_t packed_offset;
    bool active;                                      /* takes part in backward */
    int32_t saved, forward_scratch, backward_scratch; /* buffers */
    int32_t dx[TL_OP_INPUT_MAX];                      /* buffer that backward writes */
    bool adds[TL_OP_INPUT_MAX]; /* ... and that is then added to the tensor's gradient */
    double forward_s, backward_s;
} plan_step;

struct tl_plan {
    tl_graph *graph;
    tl_plan_mode mode;
    tl_op_mode op_mode;
    uint32_t batch_max, chunk; /* chunk: items that steps are compiled for */
    int threads;
    tl_node *nodes; /* the program */
    plan_step *steps;
    size_t step_count;
    struct dnnl_stream *stream;
    tl_buffer *buffers;
    size_t buffer_count, buffer_room;
    int32_t *tensor_buffer, *gradient_buffer; /* of each tensor */
    bool *external;                           /* tensor lies in a [batch_max] array */
    char *arena;
    size_t arena_bytes;
    bool ran_forward;
};

/* ---- Buffers --------------------------------------------------------------------------------- */

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

static bool trains(const tl_plan *plan)
{
    return plan->mode != TL_PLAN_INFER;
}

static size_t end_time(const tl_plan *plan)
{
    return 2 * plan->step_count;
}

static size_t backward_time(const tl_plan *plan, size_t step)
{
    return 2 * plan->step_count - 1 - step;
}

static size_t tensor_bytes(const tl_plan *plan, uint32_t tensor, size_t items)
{
    return items * tl_shape_count(&plan->graph->tensors[tensor]) * sizeof(float);
}

static void add_external(tl_plan *plan, uint32_t tensor)
{
    if (plan->external[tensor]) return;
    plan->external[tensor] = true;
    plan->tensor_buffer[tensor] =
        add_buffer(plan, tensor_bytes(plan, tensor, plan->batch_max), 0, end_time(plan));
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
                add_buffer(plan, tensor_bytes(plan, node->output, plan->chunk), s, s);
        for (uint32_t i = 0; i < node->input_count; i++) {
            bool kept = step->active && step->state.needs.keeps_input[i];
            live_until(plan, plan->tensor_buffer[node->inputs[i]],
                       kept ? backward_time(plan, s) : s);
        }
        if (step->active && step->state.needs.keeps_output)
            live_until(plan, plan->tensor_buffer[node->output], backward_time(plan, s));
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
        if (!tl_shape_equal(&plan->graph->tensors[x], &plan->graph->tensors[y])) continue;
        tl_buffer *from = &plan->buffers[plan->tensor_buffer[x]];
        tl_buffer *to = &plan->buffers[plan->tensor_buffer[y]];
        if (from->last != s) continue;
        from->last = to->last;
        to->bytes = 0; /* stays in the list, takes no room */
        plan->tensor_buffer[y] = plan->tensor_buffer[x];
    }
}

/* ---- Gradients ------------------------------------------------------------------------------- */

static bool learns(const tl_graph *graph, const tl_node *node)
{
    for (uint32_t p = 0; p < node->param_count; p++)
        if (graph->params[node->params[p]].role != TL_PARAM_RUNNING) return true;
    return false;
}

/* Which tensors depend on something trained, and which steps lie between that and output 0. */
static void mark_active(tl_plan *plan, bool *depends, bool *reaches)
{
    const tl_graph *g = plan->graph;
    for (size_t s = 0; s < plan->step_count; s++) {
        const tl_node *node = plan->steps[s].node;
        bool any = learns(g, node);
        for (uint32_t i = 0; i < node->input_count; i++) any = any || depends[node->inputs[i]];
        depends[node->output] = any;
    }
    reaches[g->outputs[0]] = true;
    for (size_t s = plan->step_count; s-- > 0;) {
        plan_step *step = &plan->steps[s];
        step->active = trains(plan) && reaches[step->node->output] && depends[step->node->output];
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
    if (plan->gradient_buffer[x] != NO_BUFFER) {
        step->adds[i] = true;
        step->dx[i] = add_buffer(plan, tensor_bytes(plan, x, plan->chunk), now, now);
        return;
    }
    if (i == 0 && step->state.needs.backward_in_place &&
        tl_shape_equal(&plan->graph->tensors[x], &plan->graph->tensors[y]))
        plan->gradient_buffer[x] = plan->gradient_buffer[y];
    else
        plan->gradient_buffer[x] = add_buffer(plan, tensor_bytes(plan, x, plan->chunk), now, now);
    step->dx[i] = plan->gradient_buffer[x];
}

static void place_gradients(tl_plan *plan)
{
    const uint32_t output = plan->graph->outputs[0];
    for (size_t t = 0; t < plan->graph->tensor_count; t++) plan->gradient_buffer[t] = NO_BUFFER;
    if (!trains(plan)) return;
    plan->gradient_buffer[output] = add_buffer(plan, tensor_bytes(plan, output, plan->chunk),
                                               plan->step_count, plan->step_count);
    for (size_t s = plan->step_count; s-- > 0;) {
        plan_step *step = &plan->steps[s];
        if (!step->active) continue;
        live_until(plan, plan->gradient_buffer[step->node->output], backward_time(plan, s));
        for (uint32_t i = 0; i < step->node->input_count; i++)
            if (step->state.wants_grad[i]) place_gradient(plan, s, i);
    }
}

static void place_private(tl_plan *plan)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        plan_step *step = &plan->steps[s];
        const tl_op_needs *needs = &step->state.needs;
        const size_t back = backward_time(plan, s);
        step->saved = step->forward_scratch = step->backward_scratch = NO_BUFFER;
        if (needs->saved > 0)
            step->saved = add_buffer(plan, needs->saved, s, step->active ? back : s);
        if (needs->forward_scratch > 0)
            step->forward_scratch = add_buffer(plan, needs->forward_scratch, s, s);
        if (needs->backward_scratch > 0 && step->active)
            step->backward_scratch = add_buffer(plan, needs->backward_scratch, back, back);
    }
}

/* ---- Create ---------------------------------------------------------------------------------- */

static float *at_buffer(const tl_plan *plan, int32_t buffer)
{
    return buffer == NO_BUFFER ? NULL
                               : (float *)(void *)(plan->arena + plan->buffers[buffer].offset);
}

static void bind_step(tl_plan *plan, plan_step *step)
{
    const tl_node *node = step->node;
    tl_op_run *f = &step->forward, *b = &step->backward;
    for (uint32_t i = 0; i < node->input_count; i++) {
        f->x[i] = at_buffer(plan, plan->tensor_buffer[node->inputs[i]]);
        if (plan->external[node->inputs[i]])
            step->x_stride[i] = tl_shape_count(&plan->graph->tensors[node->inputs[i]]);
    }
    f->y = at_buffer(plan, plan->tensor_buffer[node->output]);
    if (plan->external[node->output])
        step->y_stride = tl_shape_count(&plan->graph->tensors[node->output]);
    f->saved = at_buffer(plan, step->saved);
    f->scratch = at_buffer(plan, step->forward_scratch);
    if (!step->active) return;
    *b = *f;
    b->scratch = at_buffer(plan, step->backward_scratch);
    b->dy = at_buffer(plan, plan->gradient_buffer[node->output]);
    for (uint32_t i = 0; i < node->input_count; i++)
        if (step->state.wants_grad[i]) b->dx[i] = at_buffer(plan, step->dx[i]);
}

static tl_status prepare_steps(tl_plan *plan, const tl_packer *packer, tl_error *err)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        plan_step *step = &plan->steps[s];
        tl_op_state described = step->state; /* wants_grad is already there */
        tl_step_describe(plan->graph, step->node, plan->op_mode, plan->chunk, plan->stream,
                         &step->state);
        memcpy(step->state.wants_grad, described.wants_grad, sizeof described.wants_grad);
        if (step->active && tl_op_get(step->node->kind)->backward == NULL)
            return tl_fail(err, TL_EUNSUPPORTED, "node %s (%s) cannot be trained", step->node->name,
                           tl_op_get(step->node->kind)->name);
        tl_status status = tl_op_prepare(step->node->kind, &step->state, err);
        if (status != TL_OK) return tl_fail_context(err, status, "node %s", step->node->name);
        if (packer == NULL) continue;
        TL_ASSERT(packer->states[s].needs.packed == step->state.needs.packed);
        step->packed_offset = packer->offsets[s];
    }
    return TL_OK;
}

static tl_status place_all(tl_plan *plan, tl_error *err)
{
    place_externals(plan);
    place_tensors(plan);
    share_in_place(plan);
    place_gradients(plan);
    place_private(plan);
    tl_status status = tl_layout_place(plan->buffers, plan->buffer_count, &plan->arena_bytes, err);
    if (status != TL_OK) return status;
    plan->arena = tl_aligned_calloc(plan->arena_bytes);
    if (plan->arena == NULL)
        return tl_fail(err, TL_ENOMEM, "arena of %zu bytes; lower the batch", plan->arena_bytes);
    for (size_t s = 0; s < plan->step_count; s++) bind_step(plan, &plan->steps[s]);
    return TL_OK;
}

static tl_status compile(tl_plan *plan, tl_error *err)
{
    const tl_graph *g = plan->graph;
    const tl_packer *packer = NULL;
    tl_status status = tl_program_make(g, plan->op_mode, &plan->nodes, &plan->step_count, err);
    if (status == TL_OK && !trains(plan)) status = tl_graph_packer(plan->graph, &packer, err);
    if (status == TL_OK) status = tl_device_create_stream(&plan->stream, err);
    if (status != TL_OK) return status;
    plan->steps = calloc(plan->step_count + 1, sizeof *plan->steps);
    plan->buffer_room = g->tensor_count + 1 + plan->step_count * (TL_OP_INPUT_MAX + 4);
    plan->buffers = calloc(plan->buffer_room, sizeof *plan->buffers);
    plan->tensor_buffer = calloc(g->tensor_count + 1, sizeof *plan->tensor_buffer);
    plan->gradient_buffer = calloc(g->tensor_count + 1, sizeof *plan->gradient_buffer);
    plan->external = calloc(g->tensor_count + 1, sizeof *plan->external);
    bool *depends = calloc(g->tensor_count + 1, sizeof *depends);
    bool *reaches = calloc(g->tensor_count + 1, sizeof *reaches);
    if (plan->steps == NULL || plan->buffers == NULL || plan->tensor_buffer == NULL ||
        plan->gradient_buffer == NULL || plan->external == NULL || depends == NULL ||
        reaches == NULL) {
        status = tl_fail(err, TL_ENOMEM, "plan of %zu steps", plan->step_count);
    } else {
        for (size_t s = 0; s < plan->step_count; s++) plan->steps[s].node = &plan->nodes[s];
        mark_active(plan, depends, reaches);
        status = prepare_steps(plan, packer, err);
        if (status == TL_OK) status = place_all(plan, err);
    }
    free(depends);
    free(reaches);
    return status;
}

tl_status tl_plan_create(tl_graph *graph, const tl_plan_options *options, tl_plan **out,
                         tl_error *err)
{
    TL_ASSERT(graph != NULL);
    if (options->batch_max < 1 || options->batch_max > 1 << 20)
        return tl_fail(err, TL_EINVAL, "batch_max is %u; want 1 to %d", options->batch_max,
                       1 << 20);
    if (options->threads > 256)
        return tl_fail(err, TL_EINVAL, "threads is %u; want 1 to 256", options->threads);
    tl_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return tl_fail(err, TL_ENOMEM, "plan");
    plan->graph = graph;
    tl_graph_retain(graph);
    plan->mode = options->mode;
    plan->op_mode = options->mode == TL_PLAN_INFER          ? TL_MODE_INFER
                    : options->mode == TL_PLAN_TRAIN_FROZEN ? TL_MODE_TRAIN_FROZEN
                                                            : TL_MODE_TRAIN_LIVE;
    plan->batch_max = options->batch_max;
    plan->chunk = trains(plan) ? options->batch_max : 1;
    plan->threads = options->threads == 0 ? 1 : (int)options->threads;
    int threads = tl_device_set_threads(plan->threads);
    tl_status status = compile(plan, err);
    tl_device_set_threads(threads);
    if (status != TL_OK) {
        tl_plan_destroy(&plan);
        return status;
    }
    *out = plan;
    return TL_OK;
}

void tl_plan_destroy(tl_plan **plan)
{
    tl_plan *old = *plan;
    *plan = NULL;
    if (old == NULL) return;
    for (size_t s = 0; old->steps != NULL && s < old->step_count; s++)
        tl_op_release(old->steps[s].node->kind, &old->steps[s].state);
    tl_device_destroy_stream(&old->stream);
    free(old->nodes);
    free(old->steps);
    free(old->buffers);
    free(old->tensor_buffer);
    free(old->gradient_buffer);
    free(old->external);
    free(old->arena);
    tl_graph_release(&old->graph);
    free(old);
}

size_t tl_plan_bytes(const tl_plan *plan)
{
    return sizeof *plan + plan->arena_bytes +
           plan->step_count * (sizeof *plan->steps + sizeof *plan->nodes) +
           plan->buffer_room * sizeof *plan->buffers;
}

float *tl_plan_input(tl_plan *plan, size_t index)
{
    TL_ASSERT(index < plan->graph->input_count);
    return at_buffer(plan, plan->tensor_buffer[plan->graph->inputs[index]]);
}

const float *tl_plan_output(const tl_plan *plan, size_t index)
{
    TL_ASSERT(index < plan->graph->output_count);
    return at_buffer(plan, plan->tensor_buffer[plan->graph->outputs[index]]);
}

const float *tl_plan_features(const tl_plan *plan)
{
    TL_ASSERT(plan->graph->features != TL_NONE);
    return at_buffer(plan, plan->tensor_buffer[plan->graph->features]);
}

/* ---- Run ------------------------------------------------------------------------------------- */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static tl_status infer_item(tl_plan *plan, const char *packed, uint32_t item, tl_error *err)
{
    double before = now_s();
    for (size_t s = 0; s < plan->step_count; s++) {
        plan_step *step = &plan->steps[s];
        tl_op_run run = step->forward;
        for (size_t i = 0; i < step->state.input_count; i++) run.x[i] += item * step->x_stride[i];
        run.y += item * step->y_stride;
        run.packed = packed + step->packed_offset;
        tl_status status = tl_op_get(step->node->kind)->forward(&step->state, &run, err);
        if (status != TL_OK) return tl_fail_context(err, status, "node %s", step->node->name);
        double after = now_s();
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

tl_status tl_plan_train_forward(tl_plan *plan, float *flat, uint32_t batch, tl_error *err)
{
    TL_ASSERT(trains(plan));
    if (batch != plan->batch_max)
        return tl_fail(err, TL_ESHAPE, "batch of %u; this plan trains on %u", batch,
                       plan->batch_max);
    int threads = tl_device_set_threads(plan->threads);
    tl_status status = TL_OK;
    double before = now_s();
    for (size_t s = 0; s < plan->step_count && status == TL_OK; s++) {
        plan_step *step = &plan->steps[s];
        for (uint32_t p = 0; p < step->node->param_count; p++)
            step->forward.params[p] = flat + plan->graph->params[step->node->params[p]].offset;
        status = tl_op_get(step->node->kind)->forward(&step->state, &step->forward, err);
        if (status != TL_OK) tl_fail_context(err, status, "node %s", step->node->name);
        double after = now_s();
        step->forward_s += after - before;
        before = after;
    }
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
        float *sum = at_buffer(plan, plan->gradient_buffer[node->inputs[i]]);
        tl_kernels_get()->add(plan->chunk * tl_shape_count(&step->state.inputs[i]), sum, run.dx[i],
                              sum);
    }
    return TL_OK;
}

tl_status tl_plan_train_backward(tl_plan *plan, const float *flat, const float *output_grad,
                                 float *grad, tl_error *err)
{
    TL_ASSERT(plan->ran_forward); /* backward uses what forward kept */
    const uint32_t output = plan->graph->outputs[0];
    memset(grad, 0, plan->graph->float_count * sizeof *grad); /* of what takes no part */
    memcpy(at_buffer(plan, plan->gradient_buffer[output]), output_grad,
           tensor_bytes(plan, output, plan->chunk));
    int threads = tl_device_set_threads(plan->threads);
    tl_status status = TL_OK;
    double before = now_s();
    for (size_t s = plan->step_count; s-- > 0 && status == TL_OK;) {
        plan_step *step = &plan->steps[s];
        if (!step->active) continue;
        status = backward_step(plan, step, flat, grad, err);
        double after = now_s();
        step->backward_s += after - before;
        before = after;
    }
    tl_device_set_threads(threads);
    plan->ran_forward = false; /* buffers were reused: one backward for each forward */
    return status;
}

/* ---- Costs ----------------------------------------------------------------------------------- */

size_t tl_plan_node_count(const tl_plan *plan)
{
    return plan->step_count;
}

void tl_plan_node_cost(const tl_plan *plan, size_t index, tl_node_cost *out)
{
    TL_ASSERT(index < plan->step_count);
    const plan_step *step = &plan->steps[index];
    const tl_op *op = tl_op_get(step->node->kind);
    const tl_attrs *attrs = &step->node->attrs;
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", step->node->name);
    const bool acts = attrs->activation.kind != TL_OP_COUNT;
    snprintf(out->op, sizeof out->op, "%s%s%s%s", op->name, attrs->folded_norm ? "+norm" : "",
             acts ? "+" : "", acts ? tl_op_get(attrs->activation.kind)->name : "");
    out->forward_s = step->forward_s;
    out->backward_s = step->backward_s;
    if (op->macs != NULL) out->macs = op->macs(attrs, step->state.inputs, &step->state.output);
}

/* A graph compiled for (batch, mode): created, asked, destroyed. */
#include "graph/plan/plan_internal.h"
#include "tensor/device.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

bool tl_plan_trains(const tl_plan *plan)
{
    return plan->mode != TL_PLAN_INFER;
}

double tl_plan_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Create ---------------------------------------------------------------------------------- */

static tl_status prepare_steps(tl_plan *plan, const tl_packer *packer, tl_error *err)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        plan_step *step = &plan->steps[s];
        tl_op_state described = step->state; /* wants_grad is already there */
        const bool parts = tl_plan_trains(plan) && !step->sums;
        tl_step_describe(plan->graph, step->node, plan->op_mode,
                         parts ? plan->groups[step->group].chunk : plan->chunk, plan->stream,
                         &step->state);
        memcpy(step->state.wants_grad, described.wants_grad, sizeof described.wants_grad);
        if (packer != NULL) step->state.half = packer->step_half[s];
        step->state.exchange = plan->exchange;
        step->state.member = plan->member;
        if (plan->op_mode == TL_MODE_TRAIN_LIVE && !tl_plan_learns(plan, step->node))
            step->state.mode = TL_MODE_TRAIN_FROZEN;
        tl_status status = packer != NULL ? tl_op_prepare(step->node->kind, &step->state, err)
                                          : tl_plan_prepare_training(plan, step, err);
        if (status != TL_OK) return tl_fail_context(err, status, "node %s", step->node->name);
        if (packer == NULL) continue;
        TL_ASSERT(packer->states[s].needs.packed == step->state.needs.packed);
        step->packed_offset = packer->offsets[s];
        bool converts = tl_plan_converts(plan, step, step->node->output);
        for (uint32_t i = 0; i < step->node->input_count; i++)
            converts = converts || tl_plan_converts(plan, step, step->node->inputs[i]);
        if (!converts) continue;
        step->state.needs.alone = true;
        step->state.needs.parts = step->state.needs.rows = false;
    }
    return TL_OK;
}

tl_status tl_plan_compile(tl_plan *plan, tl_error *err)
{
    const tl_graph *g = plan->graph;
    const tl_packer *packer = NULL;
    tl_status status = tl_program_make(g, plan->op_mode, &plan->nodes, &plan->step_count, err);
    if (status == TL_OK && !tl_plan_trains(plan))
        status = tl_graph_packer(plan->graph, plan->precision, &packer, err);
    if (packer != NULL) plan->half = packer->tensor_half;
    if (status == TL_OK && tl_plan_trains(plan)) status = tl_plan_make_halves(plan, err);
    if (status == TL_OK) status = tl_device_create_stream(&plan->stream, err);
    if (status != TL_OK) return status;
    plan->steps = calloc(plan->step_count + 1, sizeof *plan->steps);
    plan->buffer_room += plan->step_count * (TL_OP_INPUT_MAX + 5);
    free(plan->buffers);
    plan->buffers = calloc(plan->buffer_room, sizeof *plan->buffers);
    bool *depends = calloc(g->tensor_count + 1, sizeof *depends);
    bool *reaches = calloc(g->tensor_count + 1, sizeof *reaches);
    if (plan->steps == NULL || plan->buffers == NULL || depends == NULL || reaches == NULL) {
        status = tl_fail(err, TL_ENOMEM, "plan of %zu steps", plan->step_count);
    } else {
        for (size_t s = 0; s < plan->step_count; s++) plan->steps[s].node = &plan->nodes[s];
        tl_plan_mark_active(plan, depends, reaches);
        status = tl_plan_trains(plan) ? tl_plan_make_groups(plan, err) : TL_OK;
        if (status == TL_OK) status = prepare_steps(plan, packer, err);
        tl_plan_choose_joint(plan);
        if (status == TL_OK) status = tl_plan_place(plan, err);
    }
    free(depends);
    free(reaches);
    return status;
}

tl_status tl_plan_begin(tl_graph *graph, tl_plan_mode mode, uint32_t batch, tl_plan **out,
                        tl_error *err)
{
    tl_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return tl_fail(err, TL_ENOMEM, "plan");
    plan->graph = graph;
    tl_graph_retain(graph);
    plan->mode = mode;
    plan->op_mode = mode == TL_PLAN_INFER          ? TL_MODE_INFER
                    : mode == TL_PLAN_TRAIN_FROZEN ? TL_MODE_TRAIN_FROZEN
                                                   : TL_MODE_TRAIN_LIVE;
    plan->batch_max = plan->batch_all = batch;
    plan->chunk = tl_plan_trains(plan) ? batch : 1;
    plan->threads = 1;
    plan->group = 1;
    *out = plan;
    const size_t tensors = graph->tensor_count + 1;
    plan->buffer_room = tensors + graph->output_count;
    plan->buffers = calloc(plan->buffer_room, sizeof *plan->buffers);
    plan->tensor_buffer = calloc(tensors, sizeof *plan->tensor_buffer);
    plan->gradient_buffer = calloc(tensors, sizeof *plan->gradient_buffer);
    plan->external = calloc(tensors, sizeof *plan->external);
    plan->written = calloc(graph->param_count + 1, sizeof *plan->written);
    if (plan->buffers == NULL || plan->tensor_buffer == NULL || plan->gradient_buffer == NULL ||
        plan->external == NULL || plan->written == NULL)
        return tl_fail(err, TL_ENOMEM, "plan of %zu tensors", tensors);
    return TL_OK;
}

/* What is asked for, on this processor. */
static tl_status choose_precision(const tl_plan_options *options, tl_precision *out, tl_error *err)
{
    const bool serves = options->mode == TL_PLAN_INFER;
    *out = options->precision;
    if (options->precision == TL_PRECISION_AUTO)
        *out = serves && tl_device_prefers_bf16() ? TL_PRECISION_BF16 : TL_PRECISION_FLOAT32;
    if (*out == TL_PRECISION_FLOAT32) return TL_OK;
    if (!tl_device_runs_bf16())
        return tl_fail(err, TL_EUNSUPPORTED,
                       "bf16 needs a processor with AVX-512; choose fp32, or auto");
    return TL_OK;
}

tl_status tl_plan_create(tl_graph *graph, const tl_plan_options *options, tl_plan **out,
                         tl_error *err)
{
    TL_ASSERT(graph != NULL);
    if (options->batch_max < 1 || options->batch_max > 1 << 20)
        return tl_fail(err, TL_EINVAL, "batch_max is %u; want 1 to %d", options->batch_max,
                       1 << 20);
    if (options->threads > TL_TEAM_MAX)
        return tl_fail(err, TL_EINVAL, "threads is %u; want 1 to %d", options->threads,
                       TL_TEAM_MAX);
    if (options->loss_outputs > tl_graph_output_count(graph))
        return tl_fail(err, TL_EINVAL, "loss_outputs is %u; the graph has %zu outputs",
                       options->loss_outputs, tl_graph_output_count(graph));
    tl_plan *plan = NULL;
    tl_precision precision;
    tl_status status = choose_precision(options, &precision, err);
    if (status == TL_OK)
        status = tl_plan_begin(graph, options->mode, options->batch_max, &plan, err);
    if (status == TL_OK) {
        plan->precision = precision;
        plan->only_measure = options->only_measure;
        plan->loss_outputs = options->loss_outputs == 0 ? 1 : options->loss_outputs;
        plan->trained_stages = options->trained_stages;
        uint32_t wanted = options->threads == 0 ? 1 : options->threads;
        const bool splits =
            !plan->only_measure && tl_plan_trains(plan) && wanted > 1 && options->batch_max > 1;
        if (!tl_plan_trains(plan)) plan->threads = (int)wanted;
        if (wanted > options->batch_max) wanted = options->batch_max;
        int threads = tl_device_set_threads(1);
        status = splits ? tl_plan_make_replicas(plan, wanted, err) : tl_plan_compile(plan, err);
        if (status == TL_OK && plan->threads > 1) status = tl_plan_make_helpers(plan, err);
        tl_device_set_threads(threads);
    }
    if (status != TL_OK) {
        if (plan != NULL) tl_plan_destroy(&plan);
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
    tl_plan_free_replicas(old);
    tl_plan_free_helpers(old);
    for (size_t s = 0; old->steps != NULL && s < old->step_count; s++)
        tl_op_release(old->steps[s].node->kind, &old->steps[s].state);
    tl_device_destroy_stream(&old->stream);
    free(old->nodes);
    free(old->steps);
    free(old->groups);
    free(old->buffers);
    free(old->tensor_buffer);
    free(old->gradient_buffer);
    free(old->external);
    free(old->written);
    free(old->train_half);
    free(old->outside);
    free(old->grad);
    free(old->arena);
    tl_graph_release(&old->graph);
    free(old);
}

tl_precision tl_plan_precision(const tl_plan *plan)
{
    return plan->precision;
}

tl_status tl_plan_create_weights(tl_plan *plan, const float *flat, tl_weights **out, tl_error *err)
{
    tl_weights *weights = NULL;
    tl_status status =
        tl_weights_make(plan->graph, flat, plan->team, plan->failures, &weights, err);
    if (status == TL_OK) status = tl_weights_prepare(weights, plan, err);
    if (status == TL_OK)
        *out = weights;
    else
        tl_weights_release(&weights);
    return status;
}

size_t tl_plan_bytes(const tl_plan *plan)
{
    size_t bytes = sizeof *plan + plan->arena_bytes +
                   plan->step_count * (sizeof *plan->steps + sizeof *plan->nodes) +
                   plan->buffer_room * sizeof *plan->buffers;
    if (plan->grad != NULL) bytes += plan->graph->float_count * sizeof *plan->grad;
    for (uint32_t r = 0; r < plan->replica_count; r++) bytes += tl_plan_bytes(plan->replicas[r]);
    for (int h = 0; plan->helpers != NULL && h + 1 < plan->threads; h++)
        if (plan->helpers[h] != NULL) bytes += tl_plan_bytes(plan->helpers[h]);
    return bytes;
}

float *tl_plan_input(tl_plan *plan, size_t index)
{
    TL_ASSERT(index < plan->graph->input_count);
    return tl_plan_tensor(plan, plan->graph->inputs[index]);
}

const float *tl_plan_output(const tl_plan *plan, size_t index)
{
    TL_ASSERT(index < plan->graph->output_count);
    return tl_plan_tensor(plan, plan->graph->outputs[index]);
}

const float *tl_plan_features(const tl_plan *plan)
{
    TL_ASSERT(plan->graph->features != TL_NONE);
    return tl_plan_tensor(plan, plan->graph->features);
}

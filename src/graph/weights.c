#include "graph/internal.h"
#include "tensor/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct tl_weights {
    _Atomic uint32_t references;
    tl_graph *graph;
    float *flat;           /* as given */
    void *packed;          /* as kernels like them */
    _Atomic(void *) *half; /* the same in bf16, made when it is first asked for; until then NULL */
};

/* ---- Packer ---------------------------------------------------------------------------------- */

void tl_packer_destroy(tl_packer *packer)
{
    if (packer == NULL) return;
    for (size_t s = 0; packer->states != NULL && s < packer->step_count; s++)
        if (packer->states[s].attrs != NULL)
            tl_op_release(packer->steps[s].kind, &packer->states[s]);
    tl_device_destroy_stream(&packer->stream);
    free(packer->steps);
    free(packer->states);
    free(packer->offsets);
    free(packer->step_half);
    free(packer->tensor_half);
    free(packer);
}

static tl_status prepare_steps(const tl_graph *graph, tl_packer *packer, tl_precision precision,
                               tl_error *err)
{
    packer->states = calloc(packer->step_count + 1, sizeof *packer->states);
    packer->offsets = calloc(packer->step_count + 1, sizeof *packer->offsets);
    packer->step_half = calloc(packer->step_count + 1, sizeof *packer->step_half);
    packer->tensor_half = calloc(graph->tensor_count + 1, sizeof *packer->tensor_half);
    if (packer->states == NULL || packer->offsets == NULL || packer->step_half == NULL ||
        packer->tensor_half == NULL)
        return tl_fail(err, TL_ENOMEM, "packing of weights");
    if (precision == TL_PRECISION_BF16) {
        tl_status status = tl_program_halves(graph, packer->steps, packer->step_count,
                                             packer->step_half, packer->tensor_half, err);
        if (status != TL_OK) return status;
    }
    for (size_t s = 0; s < packer->step_count; s++) {
        const tl_node *step = &packer->steps[s];
        tl_op_state *state = &packer->states[s];
        tl_step_describe(graph, step, TL_MODE_INFER, 1, packer->stream, state);
        state->half = packer->step_half[s];
        tl_status status = tl_op_prepare(step->kind, state, err);
        if (status != TL_OK) return tl_fail_context(err, status, "node %s", step->name);
        packer->offsets[s] = packer->bytes;
        packer->bytes += tl_align(state->needs.packed);
    }
    return TL_OK;
}

static tl_status packer_create(const tl_graph *graph, tl_precision precision, tl_packer **out,
                               tl_error *err)
{
    tl_packer *packer = calloc(1, sizeof *packer);
    if (packer == NULL) return tl_fail(err, TL_ENOMEM, "packing of weights");
    int threads = tl_device_set_threads(1);
    tl_status status =
        tl_program_make(graph, TL_MODE_INFER, &packer->steps, &packer->step_count, err);
    if (status == TL_OK) status = tl_device_create_stream(&packer->stream, err);
    if (status == TL_OK) status = prepare_steps(graph, packer, precision, err);
    tl_device_set_threads(threads);
    if (status != TL_OK) {
        tl_packer_destroy(packer);
        return status;
    }
    *out = packer;
    return TL_OK;
}

tl_status tl_graph_packer(tl_graph *graph, tl_precision precision, const tl_packer **out,
                          tl_error *err)
{
    TL_ASSERT((int)precision < TL_PRECISIONS);
    tl_status status = TL_OK;
    tl_packer **packer = &graph->packers[precision];
    pthread_mutex_lock(&graph->mutex);
    if (*packer == NULL) status = packer_create(graph, precision, packer, err);
    if (status == TL_OK) *out = *packer;
    pthread_mutex_unlock(&graph->mutex);
    return status;
}

/* Under the graph's lock: the packer's primitives have one owner at a time. */
static tl_status pack_steps(const tl_graph *graph, const tl_packer *packer, const float *flat,
                            char *packed, tl_error *err)
{
    for (size_t s = 0; s < packer->step_count; s++) {
        const tl_node *step = &packer->steps[s];
        const tl_op *op = tl_op_get(step->kind);
        if (op->pack == NULL) continue;
        const float *params[TL_OP_PARAM_MAX] = { NULL };
        for (uint32_t p = 0; p < step->param_count; p++)
            params[p] = flat + graph->params[step->params[p]].offset;
        tl_status status = op->pack(&packer->states[s], params, packed + packer->offsets[s], err);
        if (status != TL_OK) return tl_fail_context(err, status, "node %s", step->name);
    }
    return TL_OK;
}

static tl_status pack_all(const tl_graph *graph, const tl_packer *packer, const float *flat,
                          char *packed, tl_error *err)
{
    int threads = tl_device_set_threads(1);
    tl_status status = pack_steps(graph, packer, flat, packed, err);
    tl_device_set_threads(threads);
    return status;
}

/* ---- Weights --------------------------------------------------------------------------------- */

void tl_weights_room_free(tl_weights_room *room)
{
    free(room->flat);
    free(room->packed);
    *room = (tl_weights_room){ NULL, NULL };
}

/* The memory of weights that were given up serves the next ones: its pages are there, and what no
 * operator packs into is zero still. */
static bool room_take(tl_graph *graph, size_t packed_bytes, tl_weights_room *out)
{
    pthread_mutex_lock(&graph->mutex);
    *out = graph->room;
    graph->room = (tl_weights_room){ NULL, NULL };
    pthread_mutex_unlock(&graph->mutex);
    if (out->flat != NULL) return true;
    out->flat = malloc((graph->float_count + 1) * sizeof *out->flat);
    out->packed = tl_aligned_calloc(packed_bytes);
    if (out->flat != NULL && out->packed != NULL) return true;
    tl_weights_room_free(out);
    return false;
}

static void weights_free(tl_weights *weights)
{
    tl_weights_room old = { weights->flat, weights->packed };
    pthread_mutex_lock(&weights->graph->mutex);
    if (weights->graph->room.flat == NULL) {
        weights->graph->room = old;
        old = (tl_weights_room){ NULL, NULL };
    }
    pthread_mutex_unlock(&weights->graph->mutex);
    tl_weights_room_free(&old);
    if (weights->half != NULL) free(atomic_load(weights->half));
    free((void *)weights->half);
    tl_graph_release(&weights->graph);
    free(weights);
}

/* A number that is not finite times zero is not zero. Sums in lanes, so that they do not wait. */
static bool all_finite(const float *numbers, size_t count)
{
    float zero[8] = { 0.0f }, sum = 0.0f;
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (size_t lane = 0; lane < 8; lane++) zero[lane] += numbers[i + lane] * 0.0f;
    for (; i < count; i++) sum += numbers[i] * 0.0f;
    for (size_t lane = 0; lane < 8; lane++) sum += zero[lane];
    return sum == 0.0f;
}

static tl_status check_finite(const tl_graph *graph, const float *flat, tl_error *err)
{
    for (size_t p = 0; p < graph->param_count; p++) {
        const tl_param *param = &graph->params[p];
        if (!all_finite(flat + param->offset, param->count))
            return tl_fail(err, TL_EINVAL, "parameter %s holds a number that is not finite",
                           param->name);
    }
    return TL_OK;
}

tl_status tl_weights_create(tl_graph *graph, const float *flat, tl_weights **out, tl_error *err)
{
    TL_ASSERT(graph != NULL);
    TL_ASSERT(flat != NULL);
    const tl_packer *packer = NULL;
    tl_status status = check_finite(graph, flat, err);
    if (status == TL_OK) status = tl_graph_packer(graph, TL_PRECISION_FLOAT32, &packer, err);
    if (status != TL_OK) return status;
    tl_weights *weights = calloc(1, sizeof *weights);
    if (weights == NULL) return tl_fail(err, TL_ENOMEM, "weights");
    atomic_init(&weights->references, 1);
    weights->graph = graph;
    tl_graph_retain(graph);
    tl_weights_room room;
    weights->half = calloc(1, sizeof *weights->half);
    if (weights->half == NULL || !room_take(graph, packer->bytes, &room)) {
        free((void *)weights->half);
        tl_graph_release(&weights->graph);
        free(weights);
        return tl_fail(err, TL_ENOMEM, "weights of %zu numbers", graph->float_count);
    }
    weights->flat = room.flat;
    weights->packed = room.packed;
    memcpy(weights->flat, flat, graph->float_count * sizeof *flat);
    pthread_mutex_lock(&graph->mutex);
    status = pack_all(graph, packer, weights->flat, weights->packed, err);
    pthread_mutex_unlock(&graph->mutex);
    if (status != TL_OK) {
        weights_free(weights);
        return status;
    }
    *out = weights;
    return TL_OK;
}

tl_status tl_graph_weights_bytes(tl_graph *graph, size_t *bytes, tl_error *err)
{
    const tl_packer *packer = NULL;
    tl_status status = tl_graph_packer(graph, TL_PRECISION_FLOAT32, &packer, err);
    if (status == TL_OK) *bytes = graph->float_count * sizeof(float) + packer->bytes;
    return status;
}

const float *tl_weights_flat(const tl_weights *weights)
{
    return weights->flat;
}
tl_graph *tl_weights_graph(const tl_weights *weights)
{
    return weights->graph;
}

/* Under the graph's lock. */
static tl_status pack_half(const tl_weights *weights, const tl_packer *packer, tl_error *err)
{
    if (atomic_load(weights->half) != NULL) return TL_OK; /* someone was faster */
    void *packed = tl_aligned_calloc(packer->bytes);
    if (packed == NULL) return tl_fail(err, TL_ENOMEM, "weights of %zu bytes", packer->bytes);
    tl_status status = pack_all(weights->graph, packer, weights->flat, packed, err);
    if (status == TL_OK) atomic_store(weights->half, packed);
    if (status != TL_OK) free(packed);
    return status;
}

tl_status tl_weights_packed(const tl_weights *weights, tl_precision precision, const void **out,
                            tl_error *err)
{
    *out = precision == TL_PRECISION_BF16 ? atomic_load(weights->half) : weights->packed;
    if (*out != NULL) return TL_OK;
    const tl_packer *packer = NULL;
    tl_status status = tl_graph_packer(weights->graph, precision, &packer, err);
    if (status != TL_OK) return status;
    pthread_mutex_lock(&weights->graph->mutex);
    status = pack_half(weights, packer, err);
    pthread_mutex_unlock(&weights->graph->mutex);
    *out = atomic_load(weights->half);
    return status;
}

tl_status tl_weights_prepare(const tl_weights *weights, const tl_plan *plan, tl_error *err)
{
    const void *packed;
    return tl_weights_packed(weights, tl_plan_precision(plan), &packed, err);
}

void tl_weights_retain(tl_weights *weights)
{
    atomic_fetch_add_explicit(&weights->references, 1, memory_order_relaxed);
}

void tl_weights_release(tl_weights **weights)
{
    tl_weights *old = *weights;
    *weights = NULL;
    if (old == NULL) return;
    if (atomic_fetch_sub_explicit(&old->references, 1, memory_order_acq_rel) == 1)
        weights_free(old);
}

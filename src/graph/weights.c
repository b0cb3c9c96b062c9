#include "graph/internal.h"
#include "tensor/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

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
    free(packer->takes);
    free(packer->step_half);
    free(packer->tensor_half);
    free(packer);
}

/* Tell each step which of its parameters no earlier one has. TL_ENOMEM. */
static tl_status share_params(const tl_graph *graph, tl_packer *packer, tl_error *err)
{
    _Static_assert(TL_OP_PARAM_MAX <= 8, "a bit for each parameter");
    bool *taken = calloc(graph->param_count + 1, sizeof *taken);
    if (taken == NULL) return tl_fail(err, TL_ENOMEM, "packing of weights");
    size_t count = 0;
    for (size_t s = 0; s < packer->step_count; s++) {
        const tl_node *step = &packer->steps[s];
        for (uint32_t p = 0; p < step->param_count; p++) {
            if (taken[step->params[p]]) continue;
            taken[step->params[p]] = true;
            packer->takes[s] |= (uint8_t)(1u << p);
            count++;
        }
    }
    free(taken);
    TL_ASSERT(count == graph->param_count); /* folding keeps parameters */
    return TL_OK;
}

static tl_status prepare_steps(const tl_graph *graph, tl_packer *packer, tl_precision precision,
                               tl_error *err)
{
    packer->states = calloc(packer->step_count + 1, sizeof *packer->states);
    packer->offsets = calloc(packer->step_count + 1, sizeof *packer->offsets);
    packer->takes = calloc(packer->step_count + 1, sizeof *packer->takes);
    packer->step_half = calloc(packer->step_count + 1, sizeof *packer->step_half);
    packer->tensor_half = calloc(graph->tensor_count + 1, sizeof *packer->tensor_half);
    if (packer->states == NULL || packer->offsets == NULL || packer->takes == NULL ||
        packer->step_half == NULL || packer->tensor_half == NULL)
        return tl_fail(err, TL_ENOMEM, "packing of weights");
    if (precision == TL_PRECISION_BF16)
        tl_program_halves(graph, packer->steps, packer->step_count, packer->stream,
                          packer->step_half, packer->tensor_half);
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
    if (status == TL_OK) status = share_params(graph, packer, err);
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

/* ---- Pack ------------------------------------------------------------------------------------ */

/* One set of numbers for a packer, under the graph's lock. */
typedef struct pack_job {
    const tl_graph *graph;
    const tl_packer *packer;
    const float *from;
    float *flat; /* NULL, or where the numbers are copied to, checked */
    char *packed;
    uint32_t members;
    tl_error *failures; /* of each member */
} pack_job;

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

/* A copy past the cache: nothing reads it soon, and lines need not be read to be written. `to` is
 * at a multiple of four bytes. */
static void copy_aside(const float *from, size_t count, float *to)
{
#if defined(__SSE2__)
    for (; count > 0 && (uintptr_t)to % 16 != 0; count--) *to++ = *from++;
    for (; count >= 4; count -= 4, from += 4, to += 4) _mm_stream_ps(to, _mm_loadu_ps(from));
#endif
    memcpy(to, from, count * sizeof *from);
}

/* Check and copy, so many numbers at a time that they are read from memory once. */
static tl_status take_param(const pack_job *job, const tl_param *param, tl_error *err)
{
    const size_t piece = 2048;
    for (size_t at = 0, count; at < param->count; at += count) {
        count = param->count - at < piece ? param->count - at : piece;
        const float *from = job->from + param->offset + at;
        if (!all_finite(from, count))
            return tl_fail(err, TL_EINVAL, "parameter %s holds a number that is not finite",
                           param->name);
        copy_aside(from, count, job->flat + param->offset + at);
    }
    return TL_OK;
}

static tl_status pack_step(const pack_job *job, size_t s, tl_error *err)
{
    const tl_packer *packer = job->packer;
    const tl_node *step = &packer->steps[s];
    const tl_op *op = tl_op_get(step->kind);
    const float *params[TL_OP_PARAM_MAX] = { NULL };
    tl_status status = TL_OK;
    for (uint32_t p = 0; p < step->param_count && status == TL_OK; p++) {
        const tl_param *param = &job->graph->params[step->params[p]];
        params[p] = job->from + param->offset;
        if (job->flat != NULL && (packer->takes[s] >> p & 1u) != 0)
            status = take_param(job, param, err);
    }
    if (status != TL_OK || op->pack == NULL) return status;
    status = op->pack(&packer->states[s], params, job->packed + packer->offsets[s], err);
    return status == TL_OK ? TL_OK : tl_fail_context(err, status, "node %s", step->name);
}

/* Members have about the same bytes. oneDNN's primitives share a stream, which has one owner. */
static uint32_t member_of(const tl_packer *packer, size_t s, uint32_t members)
{
    if (packer->states[s].own != NULL || packer->bytes == 0) return 0;
    const size_t middle = packer->offsets[s] + packer->states[s].needs.packed / 2;
    return (uint32_t)(middle * members / packer->bytes);
}

static void pack_member(void *arg, uint32_t member)
{
    const pack_job *job = arg;
    tl_error *failure = &job->failures[member];
    failure->status = TL_OK;
    for (size_t s = 0; s < job->packer->step_count; s++) {
        if (member_of(job->packer, s, job->members) != member) continue;
        failure->status = pack_step(job, s, failure);
        if (failure->status != TL_OK) break;
    }
#if defined(__SSE2__)
    _mm_sfence(); /* what is past the cache is seen before what comes next */
#endif
}

/* By the members of `team`, or NULL. */
static tl_status pack_all(pack_job *job, tl_team *team, tl_error *failures, tl_error *err)
{
    tl_error alone;
    job->members = team == NULL ? 1 : tl_team_members(team);
    job->failures = team == NULL ? &alone : failures;
    int threads = tl_device_set_threads(1);
    if (team == NULL)
        pack_member(job, 0);
    else
        tl_team_run(team, pack_member, job);
    tl_device_set_threads(threads);
    for (uint32_t m = 0; m < job->members; m++)
        if (job->failures[m].status != TL_OK)
            return tl_fail(err, job->failures[m].status, "%s", job->failures[m].text);
    return TL_OK;
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
    out->flat = tl_aligned_calloc(graph->float_count * sizeof *out->flat);
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

tl_status tl_weights_make(tl_graph *graph, const float *flat, tl_team *team, tl_error *failures,
                          tl_weights **out, tl_error *err)
{
    TL_ASSERT(graph != NULL);
    TL_ASSERT(flat != NULL);
    const tl_packer *packer = NULL;
    tl_status status = tl_graph_packer(graph, TL_PRECISION_FLOAT32, &packer, err);
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
    pack_job job = { graph, packer, flat, weights->flat, weights->packed, 0, NULL };
    pthread_mutex_lock(&graph->mutex);
    status = pack_all(&job, team, failures, err);
    pthread_mutex_unlock(&graph->mutex);
    if (status != TL_OK) {
        weights_free(weights);
        return status;
    }
    *out = weights;
    return TL_OK;
}

tl_status tl_weights_create(tl_graph *graph, const float *flat, tl_weights **out, tl_error *err)
{
    return tl_weights_make(graph, flat, NULL, NULL, out, err);
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
    pack_job job = { weights->graph, packer, weights->flat, NULL, packed, 0, NULL };
    tl_status status = pack_all(&job, NULL, NULL, err);
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

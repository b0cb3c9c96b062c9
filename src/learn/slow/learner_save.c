#include "learn/slow/learner_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEARNER_VERSION = 2 };

tl_status tl_learner_save(const tl_learner *learner, tl_blob *blob, tl_error *err)
{
    size_t begin = tl_blob_section_begin(blob, "LRNR", LEARNER_VERSION);
    tl_blob_u64(blob, tl_graph_hash(learner->graph));
    tl_blob_u64(blob, learner->float_count);
    tl_blob_u32(blob, learner->options.class_count);
    tl_blob_u64(blob, learner->labels);
    tl_blob_u64(blob, learner->steps);
    tl_blob_u32(blob, learner->pending_count);
    tl_blob_u64s(blob, learner->pending, learner->pending_count);
    tl_blob_u64(blob, learner->excluded.count);
    tl_blob_u64s(blob, learner->excluded.keys, learner->excluded.count);
    tl_blob_f32s(blob, learner->flat, learner->float_count);
    tl_blob_f32s(blob, learner->average, learner->float_count);
    tl_optimizer_save(learner->optimizer, blob, NULL);
    tl_replay_save(learner->replay, blob, NULL);
    tl_automatic_memory_save(&learner->automatic, blob);
    tl_blob_section_end(blob, begin);
    if (!tl_blob_ok(blob)) return tl_fail(err, TL_ENOMEM, "saving the learner");
    return TL_OK;
}

uint64_t tl_learner_digest(const tl_learner *learner)
{
    tl_blob blob;
    tl_blob_init(&blob);
    uint64_t digest = 0;
    if (tl_learner_save(learner, &blob, NULL) == TL_OK)
        digest = tl_hash64(blob.data, blob.bytes, 0);
    tl_blob_destroy(&blob);
    return digest;
}

/* What was read so far; becomes the learner's when all of it is sound. */
typedef struct loaded {
    uint32_t class_count, pending_count;
    uint64_t labels, steps;
    uint64_t *pending;
    tl_key_set excluded;
    float *flat, *average;
    tl_replay *replay;
    tl_automatic_memory automatic;
} loaded;

static void discard(loaded *state)
{
    free(state->pending);
    free(state->excluded.keys);
    free(state->flat);
    free(state->average);
    tl_replay_destroy(&state->replay);
    tl_automatic_memory_clear(&state->automatic);
}

static tl_status read_numbers(const tl_learner *learner, tl_blob_reader *body, loaded *state,
                              tl_error *err)
{
    uint64_t hash = tl_blob_read_u64(body), floats = tl_blob_read_u64(body);
    if (body->failed || hash != tl_graph_hash(learner->graph) || floats != learner->float_count)
        return tl_fail(err, TL_ECORRUPT, "the saved learner is of another network");
    state->class_count = tl_blob_read_u32(body);
    state->labels = tl_blob_read_u64(body);
    state->steps = tl_blob_read_u64(body);
    state->pending_count = tl_blob_read_u32(body);
    if (state->class_count < 1 || state->class_count > learner->width ||
        state->class_count > TL_CLASS_COUNT_MAX ||
        state->pending_count >= learner->options.labels_per_step)
        return tl_fail(err, TL_ECORRUPT, "a saved learner has impossible counts");
    state->pending = calloc(learner->options.labels_per_step, sizeof *state->pending);
    if (state->pending == NULL) return tl_fail(err, TL_ENOMEM, "loading the learner");
    tl_blob_read_u64s(body, state->pending, state->pending_count);
    return TL_OK;
}

static tl_status read_excluded(tl_blob_reader *body, tl_key_set *set, tl_error *err)
{
    uint64_t count = tl_blob_read_u64(body);
    if (count > tl_blob_left(body) / sizeof *set->keys)
        return tl_fail(err, TL_ECORRUPT, "a saved learner is cut short");
    set->keys = calloc(count + 1, sizeof *set->keys);
    if (set->keys == NULL) return tl_fail(err, TL_ENOMEM, "loading the learner");
    set->count = count;
    set->capacity = count + 1;
    tl_blob_read_u64s(body, set->keys, count);
    for (size_t i = 1; i < count; i++)
        if (set->keys[i] <= set->keys[i - 1])
            return tl_fail(err, TL_ECORRUPT, "a saved learner's excluded keys are out of order");
    return TL_OK;
}

static tl_status read_vector(tl_blob_reader *body, float **values, size_t count, tl_error *err)
{
    if (count > tl_blob_left(body) / sizeof **values)
        return tl_fail(err, TL_ECORRUPT, "a saved learner is cut short");
    *values = malloc((count + 1) * sizeof **values);
    if (*values == NULL) return tl_fail(err, TL_ENOMEM, "loading the learner");
    tl_blob_read_f32s(body, *values, count);
    for (size_t i = 0; i < count; i++)
        if (!isfinite((*values)[i]))
            return tl_fail(err, TL_ECORRUPT, "a saved learner holds numbers that are not finite");
    return TL_OK;
}

/* Labels of classes that do not exist would make a later step fail. */
static tl_status check_replay(const loaded *state, tl_error *err)
{
    for (size_t i = 0; i < tl_replay_count(state->replay); i++)
        if (tl_replay_at(state->replay, i)->label >= state->class_count)
            return tl_fail(err, TL_ECORRUPT, "a saved learner remembers an unknown class");
    return TL_OK;
}

static void take_over(tl_learner *learner, loaded *state)
{
    loaded old = { .pending = learner->pending,
                   .excluded = learner->excluded,
                   .flat = learner->flat,
                   .average = learner->average,
                   .replay = learner->replay,
                   .automatic = learner->automatic };
    learner->options.class_count = state->class_count;
    learner->labels = state->labels;
    learner->steps = state->steps;
    learner->pending = state->pending;
    learner->pending_count = state->pending_count;
    learner->excluded = state->excluded;
    learner->flat = state->flat;
    learner->average = state->average;
    learner->replay = state->replay;
    learner->automatic = state->automatic;
    *state = old;
}

/* The optimiser comes last: it checks itself before it changes. */
static tl_status read_state(tl_learner *learner, tl_blob_reader *body, loaded *state, tl_error *err)
{
    tl_status status = read_numbers(learner, body, state, err);
    if (status == TL_OK) status = read_excluded(body, &state->excluded, err);
    if (status == TL_OK) status = read_vector(body, &state->flat, learner->float_count, err);
    if (status == TL_OK) status = read_vector(body, &state->average, learner->float_count, err);
    if (status != TL_OK) return status;
    tl_blob_reader moments = *body, skipped;
    status = tl_blob_read_section(body, "OPTI", UINT32_MAX, &skipped, NULL, err);
    if (status == TL_OK)
        status = tl_replay_load(body, &learner->options.replay, &state->replay, err);
    if (status == TL_OK) status = check_replay(state, err);
    if (status == TL_OK)
        status = tl_automatic_memory_load(body, state->class_count, &state->automatic, err);
    if (status == TL_OK) status = tl_blob_read_end(body, "learner", err);
    if (status == TL_OK) status = tl_optimizer_load(learner->optimizer, &moments, err);
    return status;
}

tl_status tl_learner_load(tl_learner *learner, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader at = *reader, body;
    tl_status status = tl_blob_read_section(&at, "LRNR", LEARNER_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    loaded state = { 0 };
    status = read_state(learner, &body, &state, err);
    if (status == TL_OK) {
        take_over(learner, &state);
        *reader = at;
    }
    discard(&state);
    return status;
}

/* Opening a loop: create or recover it from the journal, compile, warm up; and closing it. */
#include "base/log.h"
#include "loop/threads/runtime.h"

#include <stdlib.h>
#include <string.h>

enum {
    REPLAY_CACHE_BYTES = 8 << 20 /* 1,024 images of 64x64 with templates */
};

/* ---- The network ----------------------------------------------------------------------------- */

/* The file that the loop was made of, unless it is another one by now. */
static tl_status read_model(const tl_loop_config *config, void **data, size_t *bytes, tl_error *err)
{
    char hash[TL_MODEL_HASH_BYTES];
    tl_status status = tl_network_read_file(config->model_path, data, bytes, hash, err);
    if (status != TL_OK) return status;
    if (config->model_hash[0] == '\0' || strcmp(config->model_hash, hash) == 0) return TL_OK;
    free(*data);
    *data = NULL;
    return tl_fail(
        err, TL_ECONFLICT,
        "%.120s is not the file that the loop was made of; put that back, or make a loop "
        "of another name",
        config->model_path);
}

tl_status tl_loop_make_graph(tl_loop *loop, tl_item_reader *items, tl_graph **graph, float **flat,
                             tl_network_facts *facts, tl_error *err)
{
    const tl_loop_config *config = &loop->config;
    if (!tl_network_from_file(config))
        return tl_network_make(config, NULL, 0, graph, flat, facts, err);
    if (loop->model_data != NULL)
        return tl_network_make(config, loop->model_data, loop->model_bytes, graph, flat, facts,
                               err);
    tl_record record;
    tl_arena_reset(&items->arena);
    tl_status status = tl_journal_find_version(items->journal, loop->number, TL_NETWORK_VERSION,
                                               &items->arena, &record, err);
    if (status == TL_OK && record.as.version.weights != NULL)
        return tl_network_make(config, record.as.version.weights, record.as.version.weights_bytes,
                               graph, flat, facts, err);
    if (status != TL_OK && status != TL_ENOTFOUND) return status;
    /* Made, but nothing was written yet; or by a program that did not keep the file. */
    status = read_model(config, &loop->model_data, &loop->model_bytes, err);
    if (status != TL_OK) return status;
    return tl_network_make(config, loop->model_data, loop->model_bytes, graph, flat, facts, err);
}

/* Of a loop that is there already the configuration may still name the file; it need not. */
static tl_status check_file(const tl_loop *loop, const tl_loop_config *wanted, tl_error *err)
{
    const tl_loop_config *recorded = &loop->config;
    if (wanted->model_path[0] == '\0' || loop->runtime->options.read_only) return TL_OK;
    if (!tl_network_from_file(wanted) || !tl_network_from_file(recorded))
        return strcmp(wanted->model_path, recorded->model_path) == 0
                   ? TL_OK
                   : tl_fail(err, TL_ECONFLICT,
                             "loop \"%s\" was made with %s; leave its model as it was, or use "
                             "another name",
                             recorded->info.name,
                             recorded->model_path[0] == '\0' ? "the small network"
                                                             : recorded->model_path);
    tl_loop_config named = *recorded;
    memcpy(named.model_path, wanted->model_path, sizeof named.model_path);
    void *data = NULL;
    size_t bytes;
    tl_status status = read_model(&named, &data, &bytes, err);
    free(data);
    if (status == TL_ENOTFOUND)
        tl_log(TL_LOG_INFO, "loop %s: %s is gone; the journal has it", recorded->info.name,
               wanted->model_path);
    return status == TL_ENOTFOUND ? TL_OK : status;
}

/* A loop that cannot work must not be recorded: nobody could correct it then. */
static tl_status check_new(tl_loop *loop, tl_loop_config *wanted, tl_error *err)
{
    tl_item_reader reader;
    tl_status status = tl_item_reader_open(loop->runtime->journal, wanted, 0, &reader, err);
    if (status != TL_OK) return status;
    bool known = false;
    for (uint32_t number = 1; status == TL_OK && !known; number++) {
        const char *name, *json;
        tl_arena_reset(&reader.arena);
        status = tl_journal_loop_info(reader.journal, number, &reader.arena, &name, &json, err);
        known = status == TL_OK && strcmp(name, wanted->info.name) == 0;
    }
    tl_item_reader_close(&reader);
    if (status == TL_ENOTFOUND) status = TL_OK;
    if (status != TL_OK || known) return status;
    tl_graph *graph = NULL;
    float *flat = NULL;
    if (tl_network_from_file(wanted))
        status = tl_network_read_file(wanted->model_path, &loop->model_data, &loop->model_bytes,
                                      wanted->model_hash, err);
    if (status == TL_OK)
        status =
            tl_network_make(wanted, loop->model_data, loop->model_bytes, &graph, &flat, NULL, err);
    if (status == TL_OK) status = tl_network_settle(wanted, graph, err);
    tl_graph_release(&graph);
    free(flat);
    return status;
}

/* The recorded description wins over what the options fix; knobs of the options win. */
static tl_status find_or_make(tl_loop *loop, tl_loop_config *wanted, tl_error *err)
{
    tl_loop_config *recorded = &loop->config;
    tl_text json;
    tl_text_init(&json, 1 << 16);
    char *found = NULL;
    tl_status status = TL_OK;
    if (!loop->runtime->options.read_only) status = check_new(loop, wanted, err);
    if (status == TL_OK) status = tl_loop_config_write(wanted, &json);
    if (status == TL_OK)
        status = tl_journal_loop_open(loop->runtime->journal, wanted->info.name, json.data,
                                      &loop->number, &found, err);
    if (status == TL_OK) status = tl_loop_config_read(found, recorded, err);
    if (status == TL_OK) status = tl_loop_config_agree(recorded, wanted, err);
    if (status == TL_OK && loop->model_data == NULL) status = check_file(loop, wanted, err);
    free(found);
    tl_text_destroy(&json);
    return status;
}

/* The file that the network comes from, the first version, and that it serves: all or none. */
static tl_status append_first_version(tl_loop *loop, const float *flat, tl_error *err)
{
    tl_version *version = NULL;
    tl_blob blob;
    tl_blob_init(&blob);
    tl_status status = tl_version_create(loop->graph, flat, 1, 0, 0, NULL, NULL, 0, &version, err);
    if (status == TL_OK) status = tl_version_save(version, loop->graph, &blob, err);
    if (status == TL_OK) {
        int64_t now_us = tl_env_wall_us(loop->runtime->env);
        bool from_file = tl_network_from_file(&loop->config);
        tl_record network = { .kind = TL_RECORD_VERSION,
                              .loop = loop->number,
                              .as.version = { .number = TL_NETWORK_VERSION,
                                              .origin = "network",
                                              .metrics = "{}",
                                              .time_us = now_us,
                                              .weights_hash = tl_graph_hash(loop->graph),
                                              .weights = loop->model_data,
                                              .weights_bytes = loop->model_bytes } };
        tl_record first = { .kind = TL_RECORD_VERSION,
                            .loop = loop->number,
                            .as.version = { .number = 1,
                                            .origin = from_file ? "import" : "initial",
                                            .metrics = "{}",
                                            .time_us = now_us,
                                            .weights_hash = version->weights_hash,
                                            .weights = blob.data,
                                            .weights_bytes = blob.bytes } };
        tl_record serves = { .kind = TL_RECORD_EVENT,
                             .loop = loop->number,
                             .as.event = { .kind = "publish",
                                           .body = "{\"version\":1,\"ops\":0}",
                                           .time_us = now_us } };
        tl_record records[3] = { network, first, serves };
        size_t skip = from_file ? 0 : 1;
        status = tl_journal_append(loop->runtime->journal, records + skip, 3 - skip, err);
    }
    tl_blob_destroy(&blob);
    tl_version_destroy(&version);
    return status;
}

static void count_seen(tl_seen *seen, const tl_record *record)
{
    if (record->position <= seen->position) return; /* the checkpoint has counted it */
    seen->predictions++;
    seen->flagged += record->as.prediction.flagged;
    seen->reviews += record->as.prediction.review;
    seen->position = record->position;
}

/* A version that is not kept is trained again: only when both checkpoints are of no use. */
static tl_status step_version(tl_loop *loop, tl_core *core, const tl_record *record, tl_error *err)
{
    tl_version *version = NULL;
    tl_judgement judgement = { 0 };
    bool judged = false;
    uint64_t ops = tl_event_number(record, "ops");
    tl_status status = TL_OK;
    if (loop->core != core && loop->core != NULL) /* rebuilding: the trainer is at work elsewhere */
        return tl_core_step(core, record, NULL, NULL, err);
    if (ops == 0)
        status = tl_version_first(loop, &version, err);
    else
        status = tl_version_read(loop->graph, &loop->core_items, tl_event_number(record, "version"),
                                 &version, err);
    if (status == TL_ENOTFOUND) {
        status = tl_training_again(loop, ops, &judgement, &judged, err);
        version = judgement.version;
        if (status == TL_OK && version == NULL)
            status = tl_fail(err, TL_ECORRUPT, "a version is not kept and cannot be made again");
    }
    if (status == TL_OK) status = tl_core_step(core, record, &version, NULL, err);
    tl_version_destroy(&version);
    return status;
}

static tl_status catch_up_step(tl_loop *loop, tl_core *core, const tl_record *record, tl_error *err)
{
    if (!tl_core_wants(record)) return TL_OK;
    if (tl_event_brings_version(record)) return step_version(loop, core, record, err);
    return tl_core_step(core, record, NULL, NULL, err);
}

tl_status tl_loop_catch_up(tl_loop *loop, tl_core *core, uint64_t after, tl_seen *seen,
                           tl_error *err)
{
    tl_item_reader reader; /* its own: a step uses the core's reader and arena */
    tl_status status =
        tl_item_reader_open(loop->runtime->journal, &loop->config, loop->number, &reader, err);
    if (status != TL_OK) return status;
    uint64_t at = after;
    while (status == TL_OK) {
        tl_record record;
        tl_arena_reset(&reader.arena);
        status = tl_journal_next(reader.journal, loop->number, at, &reader.arena, &record, err);
        if (status != TL_OK) break;
        at = record.position;
        if (record.kind == TL_RECORD_PREDICTION && seen != NULL) count_seen(seen, &record);
        status = catch_up_step(loop, core, &record, err);
        if (status == TL_ENOTFOUND) status = TL_ECORRUPT; /* not the end of the journal */
    }
    tl_item_reader_close(&reader);
    return status == TL_ENOTFOUND ? TL_OK : status;
}

static tl_status catch_up(tl_loop *loop, uint64_t after, tl_error *err)
{
    return tl_loop_catch_up(loop, loop->core, after, &loop->shared.seen, err);
}

static tl_status recover(tl_loop *loop, const float *flat, tl_error *err)
{
    tl_status status = tl_checkpoint_load(loop, err);
    if (status == TL_OK) status = catch_up(loop, loop->checkpoint_position, err);
    if (status != TL_OK || tl_core_champion(loop->core) != 0) return status;
    if (loop->runtime->options.read_only)
        return tl_fail(err, TL_ENOTFOUND, "the loop has no version yet");
    status = append_first_version(loop, flat, err);
    if (status == TL_OK) status = catch_up(loop, tl_core_position(loop->core), err);
    return status;
}

/* Classes that came while running are kept; the options may name them too, but no others. */
static tl_status check_classes(const tl_loop *loop, const tl_loop_config *wanted, tl_error *err)
{
    tl_loop_config now = *tl_core_config(loop->core);
    if (wanted->info.class_count > now.info.class_count)
        return tl_fail(err, TL_ECONFLICT, "loop \"%s\" has %zu classes, not %zu; add a class to it",
                       now.info.name, now.info.class_count, wanted->info.class_count);
    now.info.class_count = wanted->info.class_count;
    return tl_loop_config_agree(&now, wanted, err);
}

static tl_status apply_knobs(tl_loop *loop, const tl_loop_config *wanted, tl_error *err)
{
    const tl_loop_config *now = tl_core_config(loop->core);
    tl_loop_config changed = *now;
    tl_loop_config_copy_knobs(&changed, wanted);
    /* Only who runs campaigns says with how many threads. */
    if (!tl_runtime_trains(loop->runtime) || now->learning != TL_LEARNING_CAMPAIGN)
        changed.campaign_threads = now->campaign_threads;
    if (loop->runtime->options.read_only || tl_loop_config_knobs_equal(now, &changed)) return TL_OK;
    tl_text json;
    tl_text_init(&json, 1 << 16);
    tl_status status = tl_loop_config_write(&changed, &json);
    if (status == TL_OK) {
        tl_record record = { .kind = TL_RECORD_EVENT,
                             .loop = loop->number,
                             .as.event = { .kind = "configure",
                                           .body = json.data,
                                           .time_us = tl_env_wall_us(loop->runtime->env) } };
        status = tl_journal_append(loop->runtime->journal, &record, 1, err);
        if (status == TL_OK) status = tl_core_step(loop->core, &record, NULL, NULL, err);
    }
    tl_text_destroy(&json);
    return status;
}

static tl_status compile(tl_loop *loop, tl_error *err)
{
    const tl_runtime_options *runtime = &loop->runtime->options;
    const tl_plan_options options = { .batch_max = runtime->batch_max,
                                      .mode = TL_PLAN_INFER,
                                      .threads = 1,
                                      .precision = runtime->precision };
    return tl_plan_create(loop->graph, &options, &loop->serving_plan, err);
}

static tl_status make_reviewer(tl_loop *loop, tl_error *err)
{
    tl_loop_review_policy(&loop->config, &loop->review);
    tl_calibrator_init(&loop->calibrator);
    if (loop->review.budget > 0.0) /* none: without novelty then */
        loop->novelty = tl_novelty_create((uint32_t)tl_graph_feature_count(loop->graph));
    loop->reviewer = tl_reviewer_create(&loop->review);
    return loop->reviewer != NULL ? TL_OK : tl_fail(err, TL_ENOMEM, "reviewer");
}

/* The first answer should not pay for what the first run does: run all of a batch once. */
static tl_status warm_up(tl_loop *loop, tl_error *err)
{
    const uint32_t batch = loop->runtime->options.batch_max;
    tl_model *model = tl_model_slot_get(loop->model);
    size_t input = tl_shape_count(tl_graph_input_shape(loop->graph, 0));
    memset(tl_plan_input(loop->serving_plan, 0), 0, batch * input * sizeof(float));
    tl_status status = tl_plan_infer(loop->serving_plan, model->weights, batch, err);
    tl_model_release(&model);
    return status;
}

static tl_status open_readers(tl_loop *loop, tl_error *err)
{
    tl_journal *journal = loop->runtime->journal;
    tl_item_reader *const readers[] = { &loop->core_items, &loop->lookup, &loop->trainer_items };
    tl_status status = TL_OK;
    for (size_t i = 0; i < TL_COUNT_OF(readers) && status == TL_OK; i++)
        status = tl_item_reader_open(journal, &loop->config, loop->number, readers[i], err);
    if (status == TL_OK && loop->runtime->options.trainer_threads > 0)
        tl_item_reader_keep(&loop->trainer_items, REPLAY_CACHE_BYTES);
    return status;
}

static tl_status open_parts(tl_loop *loop, tl_loop_config *wanted, bool keeps_knobs, tl_error *err)
{
    float *flat = NULL;
    tl_status status = find_or_make(loop, wanted, err);
    if (status != TL_OK) return status;
    loop->shared.info = loop->config.info;
    status = open_readers(loop, err);
    if (status == TL_OK)
        status = tl_loop_make_graph(loop, &loop->lookup, &loop->graph, &flat, &loop->network, err);
    if (status == TL_OK) status = compile(loop, err);
    if (status == TL_OK) status = make_reviewer(loop, err);
    if (status == TL_OK) status = tl_model_slot_create(&loop->model);
    if (status == TL_OK) status = recover(loop, flat, err);
    free(loop->model_data);
    loop->model_data = NULL;
    if (status == TL_OK) status = check_classes(loop, wanted, err);
    if (status == TL_OK && !keeps_knobs) status = apply_knobs(loop, wanted, err);
    if (status == TL_OK) loop->asks = *tl_core_config(loop->core);
    free(flat);
    if (status == TL_OK) status = tl_training_start(loop, err);
    if (status == TL_OK) status = tl_learner_settle(loop, err);
    if (status == TL_OK) status = warm_up(loop, err);
    return status;
}

static void init_locks(tl_loop *loop)
{
    pthread_mutex_init(&loop->mutex, NULL);
    pthread_mutex_init(&loop->lookup_mutex, NULL);
    pthread_mutex_init(&loop->train_mutex, NULL);
    pthread_cond_init(&loop->train_idle, NULL);
}

static void loop_free(tl_loop *loop)
{
    for (size_t i = 0; i < loop->shared.side_count; i++) tl_model_release(&loop->shared.side[i]);
    for (size_t i = 0; i < loop->shared.shadow_count; i++)
        tl_model_release(&loop->shared.shadows[i]);
    tl_reviewer_destroy(&loop->reviewer);
    tl_novelty_destroy(&loop->novelty);
    free(loop->shared.golden);
    tl_model_slot_destroy(&loop->model);
    tl_plan_destroy(&loop->serving_plan);
    tl_trainer_destroy(&loop->trainer);
    tl_core_destroy(&loop->core);
    tl_item_reader_close(&loop->core_items);
    tl_item_reader_close(&loop->lookup);
    tl_item_reader_close(&loop->trainer_items);
    tl_graph_release(&loop->graph);
    free(loop->trainer_state);
    free(loop->train_ops);
    free(loop->model_data);
    pthread_mutex_destroy(&loop->mutex);
    pthread_mutex_destroy(&loop->lookup_mutex);
    pthread_mutex_destroy(&loop->train_mutex);
    pthread_cond_destroy(&loop->train_idle);
    free(loop);
}

static tl_status loop_register(tl_loop *loop, tl_error *err)
{
    tl_runtime *runtime = loop->runtime;
    tl_status status = TL_OK;
    pthread_mutex_lock(&runtime->mutex);
    if (runtime->loop_count == TL_LOOP_MAX)
        status = tl_fail(err, TL_ELIMIT, "%d loops are open already", TL_LOOP_MAX);
    else
        runtime->loops[runtime->loop_count++] = loop;
    pthread_mutex_unlock(&runtime->mutex);
    pthread_mutex_lock(&runtime->train_mutex); /* work may be waiting for it already */
    pthread_cond_signal(&runtime->train_wanted);
    pthread_mutex_unlock(&runtime->train_mutex);
    return status;
}

static tl_status open_alone(tl_runtime *runtime, tl_loop_config *wanted, bool keeps_knobs,
                            tl_loop **out, tl_error *err)
{
    const char *name = wanted->info.name;
    if (tl_runtime_loop(runtime, name) != NULL)
        return tl_fail(err, TL_ECONFLICT, "loop \"%s\" is open already", name);
    tl_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) return tl_fail(err, TL_ENOMEM, "loop");
    loop->runtime = runtime;
    loop->pending_limit = TL_PENDING_LIMIT;
    init_locks(loop);
    tl_status status = open_parts(loop, wanted, keeps_knobs, err);
    if (status == TL_OK) status = loop_register(loop, err);
    if (status != TL_OK) {
        loop_free(loop);
        return tl_fail_context(err, status, "loop \"%s\"", name);
    }
    *out = loop;
    return TL_OK;
}

static tl_status open_in_turn(tl_runtime *runtime, tl_loop_config *wanted, bool keeps_knobs,
                              tl_loop **out, tl_error *err)
{
    pthread_mutex_lock(&runtime->open_mutex); /* two of one name must not be made */
    tl_status status = open_alone(runtime, wanted, keeps_knobs, out, err);
    pthread_mutex_unlock(&runtime->open_mutex);
    return status;
}

tl_status tl_loop_open(tl_runtime *runtime, const tl_loop_options *options, tl_loop **out,
                       tl_error *err)
{
    TL_ASSERT(runtime != NULL && options != NULL && out != NULL);
    tl_loop_config wanted;
    tl_status status = tl_loop_config_make(options, runtime->env, &wanted, err);
    if (status != TL_OK) return status;
    if (tl_runtime_trains(runtime)) wanted.campaign_threads = runtime->options.trainer_threads;
    return open_in_turn(runtime, &wanted, false, out, err);
}

tl_status tl_loop_open_recorded(tl_runtime *runtime, const tl_loop_config *recorded, tl_loop **out,
                                tl_error *err)
{
    tl_loop_config wanted = *recorded;
    wanted.model_path[0] = '\0'; /* what the journal has, whatever became of the file */
    return open_in_turn(runtime, &wanted, true, out, err);
}

void tl_loop_close(tl_loop **loop_pointer)
{
    tl_loop *loop = *loop_pointer;
    if (loop == NULL) return;
    *loop_pointer = NULL;
    tl_runtime *runtime = loop->runtime;
    tl_error err = { 0 };
    atomic_store(&loop->closing, true);
    if (runtime->learner_runs) {
        tl_training_leave(loop);
        tl_control_barrier(loop, NULL); /* what was accepted is applied */
        while (atomic_load(&loop->inflight) > 0) tl_control_barrier(loop, NULL);
        if (tl_control_checkpoint(loop, &err) != TL_OK)
            tl_log(TL_LOG_WARNING, "loop %s: no checkpoint at closing: %s", loop->config.info.name,
                   err.text);
        /* The journal may acknowledge it while the learner still settles that round. */
        tl_control_barrier(loop, NULL);
    }
    pthread_mutex_lock(&runtime->mutex);
    size_t index = 0;
    while (runtime->loops[index] != loop) index++;
    runtime->loop_count--;
    memmove(&runtime->loops[index], &runtime->loops[index + 1],
            (runtime->loop_count - index) * sizeof runtime->loops[0]);
    pthread_mutex_unlock(&runtime->mutex);
    loop_free(loop);
}

void tl_loop_describe(tl_loop *loop, tl_loop_info *out)
{
    pthread_mutex_lock(&loop->mutex);
    *out = loop->shared.info;
    pthread_mutex_unlock(&loop->mutex);
}

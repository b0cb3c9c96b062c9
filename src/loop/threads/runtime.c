#include "loop/threads/runtime.h"

#include "base/log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_LIMIT = 256, QUEUE_LIMIT = 1 << 20 };

tl_runtime_options tl_runtime_options_default(void)
{
    return (tl_runtime_options){ .durability = TL_DURABILITY_FULL,
                                 .trainer_threads = 1,
                                 .batch_max = 32,
                                 .queue_max = 4096,
                                 .precision = TL_PRECISION_AUTO };
}

tl_loop_options tl_loop_options_default(void)
{
    return (tl_loop_options){ .input = TL_INPUT_IMAGE,
                              .height = 64,
                              .width = 64,
                              .channels = 1,
                              .feature_range = 16.0f,
                              .seed = 1,
                              .replay_per_label = 16,
                              .publish_every_labels = 32,
                              .cold_labels = 400,
                              .audit_rate = 0.02,
                              .learning = TL_LEARNING_AUTO,
                              .campaign_labels = 256,
                              .target_precision = 0.994,
                              .gate = { .promotion = TL_PROMOTION_PROVEN,
                                        .unit = TL_EVIDENCE_BOARD,
                                        .alpha = 0.05,
                                        .effect = 0.0005,
                                        .cost_miss = 1.0,
                                        .cost_false_alarm = 1.0,
                                        .alarm_days = 90,
                                        .take_back_days = 90,
                                        .timeout_s = 86400,
                                        .take_back = TL_RESPONSE_ACT,
                                        .drift = TL_RESPONSE_DRY_RUN,
                                        .drift_items = 1000000 },
                              .review = { .escapes = 0.01,
                                          .confidence = 0.95,
                                          .disagreements = 0.05,
                                          .automatic_precision = 0.995 } };
}

static tl_status open_journal(tl_runtime *runtime, const char *vfs, tl_error *err)
{
    const tl_runtime_options *o = &runtime->options;
    tl_journal_options options = { .path = runtime->path,
                                   .env = runtime->env,
                                   .vfs = vfs,
                                   .relaxed = o->durability == TL_DURABILITY_RELAXED,
                                   .read_only = o->read_only,
                                   .queue_max = 2 * (size_t)o->queue_max,
                                   .quota_bytes = o->quota_bytes,
                                   .retention_bytes = o->retention_bytes,
                                   .retention_days = o->retention_days };
    return tl_journal_open(&options, &runtime->journal, err);
}

bool tl_runtime_trains(const tl_runtime *runtime)
{
    return runtime->options.trainer_threads > 0 && !runtime->options.read_only;
}

static tl_status start_threads(tl_runtime *runtime, tl_error *err)
{
    if (runtime->options.read_only) return TL_OK;
    runtime->learner_runs = pthread_create(&runtime->learner, NULL, tl_learner_main, runtime) == 0;
    runtime->batcher_runs = runtime->learner_runs &&
                            pthread_create(&runtime->batcher, NULL, tl_batcher_main, runtime) == 0;
    if (runtime->batcher_runs && tl_runtime_trains(runtime))
        runtime->trainer_runs =
            pthread_create(&runtime->trainer, NULL, tl_trainer_main, runtime) == 0;
    if (!runtime->batcher_runs || (tl_runtime_trains(runtime) && !runtime->trainer_runs))
        return tl_fail(err, TL_ENOMEM, "cannot start a thread");
    return TL_OK;
}

static void init_locks(tl_runtime *runtime)
{
    pthread_mutex_init(&runtime->mutex, NULL);
    pthread_mutex_init(&runtime->id_mutex, NULL);
    pthread_mutex_init(&runtime->open_mutex, NULL);
    pthread_mutex_init(&runtime->control_mutex, NULL);
    pthread_mutex_init(&runtime->train_mutex, NULL);
    pthread_cond_init(&runtime->train_wanted, NULL);
}

tl_status tl_runtime_open(const tl_runtime_options *options, tl_runtime **out, tl_error *err)
{
    return tl_runtime_open_in(options, NULL, NULL, out, err);
}

tl_status tl_runtime_open_in(const tl_runtime_options *options, const tl_env *env, const char *vfs,
                             tl_runtime **out, tl_error *err)
{
    TL_ASSERT(options != NULL && out != NULL);
    if (options->path == NULL || options->path[0] == '\0')
        return tl_fail(err, TL_EINVAL, "give the folder of the journal");
    if (options->batch_max < 1 || options->batch_max > BATCH_LIMIT || options->queue_max < 1 ||
        options->queue_max > QUEUE_LIMIT)
        return tl_fail(err, TL_EINVAL, "batch_max must be 1 to %d, queue_max 1 to %d", BATCH_LIMIT,
                       QUEUE_LIMIT);
    if (options->trainer_threads > TL_CAMPAIGN_THREADS_MAX)
        return tl_fail(err, TL_EINVAL, "trainer_threads is %u; give 0 to %d",
                       options->trainer_threads, TL_CAMPAIGN_THREADS_MAX);
    if (sodium_init() < 0) return tl_fail(err, TL_EIO, "no source of randomness");
    tl_runtime *runtime = calloc(1, sizeof *runtime);
    if (runtime == NULL) return tl_fail(err, TL_ENOMEM, "runtime");
    init_locks(runtime);
    runtime->options = *options;
    runtime->env = env != NULL ? env : tl_env_system();
    tl_id_maker_init(&runtime->ids, runtime->env);
    runtime->path = strdup(options->path);
    size_t inbox = 4 * (size_t)options->queue_max + 4096;
    tl_status status = runtime->path == NULL ? tl_fail(err, TL_ENOMEM, "runtime") : TL_OK;
    if (status == TL_OK) status = tl_queue_create(options->queue_max, &runtime->predict_queue);
    if (status == TL_OK) status = tl_queue_create(inbox, &runtime->inbox);
    if (status == TL_OK) status = open_journal(runtime, vfs, err);
    if (status == TL_OK) status = start_threads(runtime, err);
    if (status != TL_OK) {
        tl_runtime_close(&runtime);
        return status;
    }
    *out = runtime;
    return TL_OK;
}

static void stop_trainer(tl_runtime *runtime)
{
    pthread_mutex_lock(&runtime->train_mutex);
    atomic_store(&runtime->stopping, true);
    pthread_cond_broadcast(&runtime->train_wanted);
    pthread_mutex_unlock(&runtime->train_mutex);
    if (runtime->trainer_runs) pthread_join(runtime->trainer, NULL);
    runtime->trainer_runs = false;
}

void tl_runtime_close(tl_runtime **runtime_pointer)
{
    tl_runtime *runtime = *runtime_pointer;
    if (runtime == NULL) return;
    *runtime_pointer = NULL;
    stop_trainer(runtime);
    /* The batcher runs what was accepted, then its thread ends. */
    if (runtime->predict_queue != NULL) tl_queue_close(runtime->predict_queue);
    if (runtime->batcher_runs) pthread_join(runtime->batcher, NULL);
    while (runtime->loop_count > 0) {
        tl_loop *loop = runtime->loops[runtime->loop_count - 1];
        tl_loop_close(&loop);
    }
    if (runtime->inbox != NULL) tl_queue_close(runtime->inbox);
    if (runtime->learner_runs) pthread_join(runtime->learner, NULL);
    tl_journal_close(&runtime->journal);
    tl_queue_destroy(&runtime->predict_queue);
    tl_queue_destroy(&runtime->inbox);
    pthread_mutex_destroy(&runtime->mutex);
    pthread_mutex_destroy(&runtime->id_mutex);
    pthread_mutex_destroy(&runtime->open_mutex);
    pthread_mutex_destroy(&runtime->control_mutex);
    pthread_mutex_destroy(&runtime->train_mutex);
    pthread_cond_destroy(&runtime->train_wanted);
    free(runtime->path);
    free(runtime);
}

tl_loop *tl_runtime_loop(tl_runtime *runtime, const char *name)
{
    tl_loop *found = NULL;
    pthread_mutex_lock(&runtime->mutex);
    for (size_t i = 0; i < runtime->loop_count && found == NULL; i++)
        if (strcmp(runtime->loops[i]->config.info.name, name) == 0) found = runtime->loops[i];
    pthread_mutex_unlock(&runtime->mutex);
    return found;
}

tl_loop *tl_runtime_loop_at(tl_runtime *runtime, size_t index)
{
    pthread_mutex_lock(&runtime->mutex);
    tl_loop *loop = index < runtime->loop_count ? runtime->loops[index] : NULL;
    pthread_mutex_unlock(&runtime->mutex);
    return loop;
}

void tl_runtime_on_event(tl_runtime *runtime, tl_event_fn fn, void *context)
{
    pthread_mutex_lock(&runtime->mutex);
    runtime->event_fn = fn;
    runtime->event_context = context;
    pthread_mutex_unlock(&runtime->mutex);
}

void tl_runtime_journal_state(tl_runtime *runtime, tl_journal_state *out)
{
    tl_journal_describe(runtime->journal, out);
}

tl_status tl_runtime_backup(tl_runtime *runtime, const char *path, tl_error *err)
{
    return tl_journal_backup(runtime->journal, path, err);
}

/* One request may go over the limit, so that none is too large for ever. */
bool tl_waiting_enter(_Atomic uint64_t *waiting, uint64_t count, uint64_t limit)
{
    if (atomic_fetch_add(waiting, count) < limit) return true;
    atomic_fetch_sub(waiting, count);
    return false;
}

void tl_message_post(tl_runtime *runtime, tl_message *message)
{
    tl_status status = tl_queue_push(runtime->inbox, message);
    TL_ASSERT(status == TL_OK); /* sized for all that can be under way; closed last */
}

/* Items that lie there count among those that wait: not when that soon turns others away. */
void tl_message_post_quietly(tl_runtime *runtime, tl_message *message)
{
    if (atomic_load(&runtime->waiting_items) > runtime->options.queue_max / 2) {
        tl_message_post(runtime, message);
        return;
    }
    tl_status status = tl_queue_push_quietly(runtime->inbox, message);
    TL_ASSERT(status == TL_OK);
}

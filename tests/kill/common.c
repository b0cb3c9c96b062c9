/* What the worker and the checker share: the loop, and items drawn from seeds. */
#include "base/rng.h"
#include "tests/kill/kill.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

const char *const KILL_SOURCE[KILL_SOURCES] = { "ann", "bob", "station 7" };

static const char *const CLASSES[KILL_CLASSES] = { "ok", "scratch", "dent" };

tl_status kill_open(const char *path, bool images, bool read_only, bool training,
                    tl_runtime **runtime, tl_loop **loop, tl_error *err)
{
    tl_runtime_options options = tl_runtime_options_default();
    options.path = path;
    options.read_only = read_only;
    options.trainer_threads = training ? 1 : 0;
    tl_loop_options parts = tl_loop_options_default();
    parts.name = "parts";
    parts.input = images ? TL_INPUT_IMAGE : TL_INPUT_FEATURES;
    parts.height = parts.width = KILL_SIDE;
    parts.feature_count = images ? 0 : KILL_FEATURES;
    parts.classes = CLASSES;
    parts.class_count = KILL_CLASSES;
    parts.cold_labels = 20;
    parts.replay_per_label = images ? 4 : 16;
    parts.publish_every_labels = 4;
    tl_status status = tl_runtime_open(&options, runtime, err);
    if (status != TL_OK) return status;
    status = tl_loop_open(*runtime, &parts, loop, err);
    if (status != TL_OK) tl_runtime_close(runtime);
    return status;
}

tl_id kill_id(uint64_t seed)
{
    tl_id id;
    uint64_t words[2] = { tl_mix64(seed), tl_mix64(~seed) };
    memcpy(id.bytes, words, sizeof id.bytes);
    return id;
}

void kill_item_draw(kill_item *out, bool images, uint64_t seed)
{
    tl_rng rng;
    tl_rng_seed(&rng, seed, 0x17e3);
    memset(out, 0, sizeof *out);
    out->label = (uint32_t)tl_rng_below(&rng, KILL_CLASSES);
    for (int i = 0; i < KILL_FEATURES; i++)
        out->features[i] =
            (float)(tl_rng_normal(&rng) + (i % KILL_CLASSES == (int)out->label ? 2.0 : 0.0));
    for (int i = 0; images && i < KILL_SIDE * KILL_SIDE; i++)
        out->pixels[i] = (uint8_t)(tl_rng_below(&rng, 120) +
                                   (i / 40 % KILL_CLASSES == (int)out->label ? 100 : 0));
    out->item.features = images ? NULL : out->features;
    out->item.feature_count = images ? 0 : KILL_FEATURES;
    if (images)
        out->item.image = (tl_image){ .encoding = TL_IMAGE_U8,
                                      .data = out->pixels,
                                      .bytes = sizeof out->pixels,
                                      .height = KILL_SIDE,
                                      .width = KILL_SIDE,
                                      .channels = 1 };
}

typedef struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    bool finished;
    tl_status status;
    tl_error err;
    tl_prediction *out;
} waiter;

static void take_answer(void *context, tl_status status, const tl_prediction *predictions,
                        size_t count, const tl_error *err)
{
    waiter *w = context;
    pthread_mutex_lock(&w->mutex);
    w->status = status;
    if (status == TL_OK) memcpy(w->out, predictions, count * sizeof *predictions);
    if (status != TL_OK && err != NULL) w->err = *err;
    w->finished = true;
    pthread_cond_signal(&w->answered);
    pthread_mutex_unlock(&w->mutex);
}

tl_status kill_ask(tl_loop *loop, bool images, uint64_t request, tl_prediction out[KILL_BATCH],
                   tl_error *err)
{
    kill_item drawn[KILL_BATCH];
    tl_item items[KILL_BATCH];
    char request_id[32];
    for (uint64_t i = 0; i < KILL_BATCH; i++) {
        uint64_t seed = tl_mix64(request) + i;
        kill_item_draw(&drawn[i], images, seed);
        items[i] = drawn[i].item;
        if (i % 2 == 1) items[i].id = kill_id(seed);
    }
    snprintf(request_id, sizeof request_id, "r-%llx", (unsigned long long)request);
    tl_predict_request ask = { .items = items,
                               .count = KILL_BATCH,
                               .request_id = request_id,
                               .body_hash = { request, ~request } };
    waiter w = { .out = out };
    pthread_mutex_init(&w.mutex, NULL);
    pthread_cond_init(&w.answered, NULL);
    tl_status status = tl_loop_predict_async(loop, &ask, take_answer, &w, err);
    if (status == TL_OK) {
        pthread_mutex_lock(&w.mutex);
        while (!w.finished) pthread_cond_wait(&w.answered, &w.mutex);
        pthread_mutex_unlock(&w.mutex);
        status = w.status;
        if (status != TL_OK && err != NULL) *err = w.err;
    }
    pthread_mutex_destroy(&w.mutex);
    pthread_cond_destroy(&w.answered);
    return status;
}

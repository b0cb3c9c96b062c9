/* A journal with many predictions, for measuring how long a start takes.
 * usage: fill FOLDER COUNT LABELS clean|crash
 * A loop "bench" of feature vectors answers COUNT of them, in requests of 256; the first LABELS get
 * their labels. "clean" closes it, "crash" leaves as a crash would, everything written. */
#include "base/rng.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tightloop.h>
#include <unistd.h>

enum { FEATURES = 30, CLASSES = 7, BATCH = TL_ITEM_COUNT_MAX, AHEAD = 8 };

static const char *const NAMES[CLASSES] = { "ok",   "open",   "short",   "mousebite",
                                            "spur", "copper", "pin-hole" };

typedef struct fill {
    tl_runtime *runtime;
    tl_loop *loop;
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    uint64_t waiting, labels;
    tl_rng rng;
} fill;

static void must(tl_status status, const tl_error *err)
{
    if (status == TL_OK) return;
    fprintf(stderr, "fill: %s\n", err->text);
    exit(1);
}

static void open_loop(fill *f, const char *folder)
{
    tl_error err = { 0 };
    tl_runtime_options runtime = tl_runtime_options_default();
    runtime.path = folder;
    runtime.durability = TL_DURABILITY_RELAXED; /* of no matter for what is measured */
    must(tl_runtime_open(&runtime, &f->runtime, &err), &err);
    tl_loop_options loop = tl_loop_options_default();
    loop.name = "bench";
    loop.input = TL_INPUT_FEATURES;
    loop.feature_count = FEATURES;
    loop.classes = NAMES;
    loop.class_count = CLASSES;
    must(tl_loop_open(f->runtime, &loop, &f->loop, &err), &err);
}

static void label(fill *f, const tl_prediction *predictions, size_t count)
{
    tl_feedback said[BATCH];
    tl_error err = { 0 };
    for (size_t i = 0; i < count; i++)
        said[i] = (tl_feedback){ .prediction_id = predictions[i].id,
                                 .kind = TL_FEEDBACK_LABEL,
                                 .label = NAMES[tl_rng_below(&f->rng, CLASSES)] };
    for (size_t i = 0; i < count; i++) must(tl_loop_feedback(f->loop, &said[i], NULL, &err), &err);
}

typedef struct kept {
    fill *f;
    bool wanted;
    tl_prediction predictions[BATCH];
} kept;

static void take(void *context, tl_status status, const tl_prediction *predictions, size_t count,
                 const tl_error *err)
{
    kept *k = context;
    must(status, err);
    pthread_mutex_lock(&k->f->mutex);
    if (k->wanted) memcpy(k->predictions, predictions, count * sizeof *predictions);
    k->f->waiting--;
    pthread_cond_signal(&k->f->answered);
    pthread_mutex_unlock(&k->f->mutex);
}

static void wait_until_below(fill *f, uint64_t limit)
{
    pthread_mutex_lock(&f->mutex);
    while (f->waiting >= limit) pthread_cond_wait(&f->answered, &f->mutex);
    pthread_mutex_unlock(&f->mutex);
}

static void predict(fill *f, size_t count, kept *k)
{
    static float features[BATCH][FEATURES];
    tl_item items[BATCH];
    tl_error err = { 0 };
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < count; i++) {
        for (int j = 0; j < FEATURES; j++) features[i][j] = (float)tl_rng_normal(&f->rng);
        items[i].features = features[i];
        items[i].feature_count = FEATURES;
        items[i].line = "line 7";
    }
    pthread_mutex_lock(&f->mutex);
    f->waiting++;
    pthread_mutex_unlock(&f->mutex);
    tl_predict_request request = { .items = items, .count = count };
    must(tl_loop_predict_async(f->loop, &request, take, k, &err), &err);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: fill FOLDER COUNT LABELS clean|crash\n");
        return 2;
    }
    static fill f = { .mutex = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER };
    static kept ring[AHEAD + 1];
    uint64_t count = strtoull(argv[2], NULL, 10), labels = strtoull(argv[3], NULL, 10);
    tl_rng_seed(&f.rng, 1, 0);
    open_loop(&f, argv[1]);
    for (uint64_t done = 0, number = 0; done < count; number++) {
        size_t some = count - done < BATCH ? (size_t)(count - done) : BATCH;
        bool labelled = f.labels < labels;
        wait_until_below(&f, labelled ? 1 : AHEAD);
        kept *k = &ring[number % (AHEAD + 1)];
        k->f = &f;
        k->wanted = labelled;
        predict(&f, some, k);
        if (labelled) {
            wait_until_below(&f, 1);
            label(&f, k->predictions, some);
            f.labels += some;
        }
        done += some;
    }
    wait_until_below(&f, 1);
    if (strcmp(argv[4], "crash") == 0) _exit(0);
    tl_runtime_close(&f.runtime);
    return 0;
}

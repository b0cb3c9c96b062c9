#include "sim/operator.h"

#include "base/env.h"
#include "base/histogram.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { OPERATOR_COUNT_MAX = 64, RETRY_MS = 250 };

typedef struct task {
    int64_t due_ns;
    uint32_t truth;
    char id[TL_ID_TEXT_BYTES];
} task;

struct tl_operators {
    tl_operators_options options;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    task *heap; /* [count], the earliest due first */
    size_t count, capacity;
    tl_rng rng; /* under the mutex */
    bool stop;
    tl_operators_counts counts; /* under the mutex; `waiting` and spans are filled in on asking */
    tl_histogram spans;
    pthread_t threads[OPERATOR_COUNT_MAX];
    uint32_t running;
};

tl_operators_options tl_operators_options_default(void)
{
    return (tl_operators_options){ .count = 4,
                                   .delay_s_median = 1.5,
                                   .delay_sigma = 0.6,
                                   .error_rate = 0.005,
                                   .waiting_max = 65536,
                                   .seed = 1 };
}

static int64_t now_ns(void)
{
    return tl_env_mono_ns(tl_env_system());
}

/* ---- The heap, under the mutex --------------------------------------------------------------- */

static bool heap_push(tl_operators *o, const task *item)
{
    if (o->count == o->options.waiting_max) return false;
    if (o->count == o->capacity) {
        size_t capacity = o->capacity > 0 ? 2 * o->capacity : 256;
        task *grown = realloc(o->heap, capacity * sizeof *grown);
        if (grown == NULL) return false;
        o->heap = grown;
        o->capacity = capacity;
    }
    size_t at = o->count++;
    for (; at > 0 && o->heap[(at - 1) / 2].due_ns > item->due_ns; at = (at - 1) / 2)
        o->heap[at] = o->heap[(at - 1) / 2];
    o->heap[at] = *item;
    return true;
}

static task heap_pop(tl_operators *o)
{
    task first = o->heap[0], last = o->heap[--o->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= o->count) break;
        if (child + 1 < o->count && o->heap[child + 1].due_ns < o->heap[child].due_ns) child++;
        if (o->heap[child].due_ns >= last.due_ns) break;
        o->heap[at] = o->heap[child];
        at = child;
    }
    o->heap[at] = last;
    return first;
}

/* ---- Operators ------------------------------------------------------------------------------- */

/* Wait until a task is due; false when it is time to stop. *said is what this operator will say. */
static bool next_task(tl_operators *o, task *out, uint32_t *said)
{
    pthread_mutex_lock(&o->mutex);
    while (!o->stop) {
        int64_t now = now_ns();
        if (o->count > 0 && o->heap[0].due_ns <= now) break;
        int64_t until = o->count > 0 ? o->heap[0].due_ns : now + 1000000000;
        struct timespec at = { until / 1000000000, until % 1000000000 };
        pthread_cond_timedwait(&o->wake, &o->mutex, &at);
    }
    bool has = !o->stop;
    if (has) {
        *out = heap_pop(o);
        *said = out->truth;
        if (tl_rng_unit(&o->rng) < o->options.error_rate)
            *said = (out->truth + 1 + (uint32_t)tl_rng_below(&o->rng, TL_SIM_CLASS_COUNT - 1)) %
                    TL_SIM_CLASS_COUNT;
    }
    pthread_mutex_unlock(&o->mutex);
    return has;
}

static void settle(tl_operators *o, task *done, uint32_t said, tl_status status, unsigned code)
{
    bool busy = status != TL_OK || code == 503 || code == 429 || code == 408;
    pthread_mutex_lock(&o->mutex);
    if (status == TL_OK && code >= 200 && code < 300) {
        o->counts.given++;
        o->counts.wrong += said != done->truth;
    } else if (busy) {
        done->due_ns = now_ns() + RETRY_MS * 1000000LL;
        o->counts.retried++;
        if (!heap_push(o, done)) o->counts.dropped++;
    } else {
        o->counts.refused++;
    }
    pthread_mutex_unlock(&o->mutex);
}

static void *operator_run(void *context)
{
    tl_operators *o = context;
    tl_client *client = NULL;
    task item;
    uint32_t said;
    if (tl_client_open(&o->options.server, &client, NULL) != TL_OK) return NULL;
    while (next_task(o, &item, &said)) {
        unsigned code = 0;
        int64_t start = now_ns();
        tl_status status =
            tl_client_feedback(client, o->options.loop, item.id, TL_SIM_CLASSES[said], &code, NULL);
        if (status == TL_OK && code < 300) tl_histogram_record_ns(&o->spans, now_ns() - start);
        settle(o, &item, said, status, code);
    }
    tl_client_close(&client);
    return NULL;
}

tl_status tl_operators_start(const tl_operators_options *options, tl_operators **out, tl_error *err)
{
    if (options->count < 1 || options->count > OPERATOR_COUNT_MAX)
        return tl_fail(err, TL_EINVAL, "want 1..%d operators", OPERATOR_COUNT_MAX);
    tl_operators *o = calloc(1, sizeof *o);
    if (o == NULL) return tl_fail(err, TL_ENOMEM, "operators");
    o->options = *options;
    tl_rng_seed(&o->rng, options->seed, 77);
    pthread_mutex_init(&o->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&o->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    for (; o->running < options->count; o->running++) {
        if (pthread_create(&o->threads[o->running], NULL, operator_run, o) != 0) {
            tl_operators_stop(&o);
            return tl_fail(err, TL_ENOMEM, "threads of operators");
        }
    }
    *out = o;
    return TL_OK;
}

void tl_operators_ask(tl_operators *o, const char *prediction_id, uint32_t truth)
{
    task item = { .truth = truth };
    TL_ASSERT(strlen(prediction_id) < sizeof item.id);
    strcpy(item.id, prediction_id);
    pthread_mutex_lock(&o->mutex);
    double delay_s =
        o->options.delay_s_median * exp(o->options.delay_sigma * tl_rng_normal(&o->rng));
    item.due_ns = now_ns() + (int64_t)(delay_s * 1e9);
    o->counts.asked++;
    if (!heap_push(o, &item)) o->counts.dropped++;
    pthread_cond_signal(&o->wake);
    pthread_mutex_unlock(&o->mutex);
}

void tl_operators_count(tl_operators *o, tl_operators_counts *out)
{
    pthread_mutex_lock(&o->mutex);
    *out = o->counts;
    out->waiting = o->count;
    pthread_mutex_unlock(&o->mutex);
    out->answer_ms_p50 = tl_histogram_quantile_ns(&o->spans, 0.50) / 1e6;
    out->answer_ms_p99 = tl_histogram_quantile_ns(&o->spans, 0.99) / 1e6;
}

void tl_operators_stop(tl_operators **operators)
{
    tl_operators *o = *operators;
    if (o == NULL) return;
    pthread_mutex_lock(&o->mutex);
    o->stop = true;
    pthread_cond_broadcast(&o->wake);
    pthread_mutex_unlock(&o->mutex);
    for (uint32_t i = 0; i < o->running; i++) pthread_join(o->threads[i], NULL);
    pthread_cond_destroy(&o->wake);
    pthread_mutex_destroy(&o->mutex);
    free(o->heap);
    free(o);
    *operators = NULL;
}

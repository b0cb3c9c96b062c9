/* adaptation - from a feedback's arrival to the head that knows it, durable.
 * quick: --seconds 6
 *   usage: adaptation [--seconds N] [FOLDER]    (default: 30, a new folder here)
 *
 * Features of 256 numbers, 7 classes. 2,000 predictions a second in an open loop throughout. In
 * every second second 1,000 feedbacks a second come beside them; in the others 1,000 times a second
 * as many bytes as a commit wrote are written to a file beside the journal and synced. The bar: p99
 * of the whole at most twice the p99 of those fdatasync plus 1 ms. */
#include "base/env.h"
#include "base/histogram.h"
#include "base/rng.h"
#include "loop/threads/runtime.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    FEATURES = 256,
    CLASSES = 7,
    PREDICTIONS_PER_S = 2000,
    FEEDBACK_PER_S = 1000,
    KNOWN_MAX = 4096,
    POOL = 2048,
    FILE_BYTES = 8 << 20
};

static const char *const class_names[CLASSES] = { "ok", "a", "b", "c", "d", "e", "f" };

typedef struct known {
    tl_id id;
    uint32_t label;
} known;

static struct {
    tl_runtime *runtime;
    tl_loop *loop;
    float pool[POOL][FEATURES];
    uint32_t labels[POOL];
    uint64_t predicted, fed;

    pthread_mutex_t mutex; /* predictions that wait for their feedback */
    known known[KNOWN_MAX];
    size_t known_head, known_count;

    _Atomic uint64_t answers, failed, refused, learned;
    tl_histogram whole, answer, sync, sync_idle;

    /* The bare writer. */
    int file;
    size_t sync_bytes;
    _Atomic bool sync_on, stop;
} b;

static int64_t now_ns(void)
{
    return tl_env_mono_ns(tl_env_system());
}

static void wait_until(int64_t at_ns)
{
    struct timespec at = { at_ns / 1000000000, at_ns % 1000000000 };
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* ---- Load ------------------------------------------------------------------------------------ */

typedef struct call {
    int64_t due_ns;
    uint32_t label;
} call;

static void pool_make(void)
{
    tl_rng rng;
    tl_rng_seed(&rng, 7, 0);
    for (size_t i = 0; i < POOL; i++) {
        b.labels[i] = (uint32_t)tl_rng_below(&rng, CLASSES);
        for (size_t f = 0; f < FEATURES; f++)
            b.pool[i][f] = (float)(tl_rng_normal(&rng) + (f % CLASSES == b.labels[i] ? 0.3 : 0.0));
    }
}

static void predicted(void *context, tl_status status, const tl_prediction *predictions,
                      size_t count, const tl_error *err)
{
    (void)count, (void)err;
    call *c = context;
    if (status == TL_OK) {
        tl_histogram_record_ns(&b.answer, now_ns() - c->due_ns);
        pthread_mutex_lock(&b.mutex);
        b.known[(b.known_head + b.known_count) % KNOWN_MAX] =
            (known){ predictions[0].id, c->label };
        if (b.known_count < KNOWN_MAX)
            b.known_count++;
        else
            b.known_head = (b.known_head + 1) % KNOWN_MAX;
        pthread_mutex_unlock(&b.mutex);
        atomic_fetch_add(&b.answers, 1);
    } else {
        atomic_fetch_add(&b.failed, 1);
    }
    free(c);
}

static void learned(void *context, tl_status status, const tl_feedback_result *results,
                    size_t count, const tl_error *err)
{
    (void)results, (void)count, (void)err;
    call *c = context;
    if (status == TL_OK) {
        tl_histogram_record_ns(&b.whole, now_ns() - c->due_ns);
        atomic_fetch_add(&b.learned, 1);
    } else {
        atomic_fetch_add(&b.failed, 1);
    }
    free(c);
}

static void predict(int64_t due_ns)
{
    size_t i = (size_t)(b.predicted++ % POOL);
    call *c = malloc(sizeof *c);
    *c = (call){ due_ns, b.labels[i] };
    tl_item item = { .features = b.pool[i], .feature_count = FEATURES };
    tl_predict_request request = { .items = &item, .count = 1 };
    if (tl_loop_predict_async(b.loop, &request, predicted, c, NULL) == TL_OK) return;
    atomic_fetch_add(&b.refused, 1);
    free(c);
}

static void give_feedback(int64_t due_ns)
{
    pthread_mutex_lock(&b.mutex);
    bool some = b.known_count > 0;
    known k = b.known[b.known_head];
    if (some) {
        b.known_head = (b.known_head + 1) % KNOWN_MAX;
        b.known_count--;
    }
    pthread_mutex_unlock(&b.mutex);
    if (!some) return;
    call *c = malloc(sizeof *c);
    *c = (call){ due_ns, k.label };
    tl_feedback feedback = { .prediction_id = k.id,
                             .kind = TL_FEEDBACK_LABEL,
                             .label = class_names[k.label] };
    tl_feedback_request request = { .items = &feedback, .count = 1 };
    b.fed++;
    if (tl_loop_feedback_async(b.loop, &request, learned, c, NULL) == TL_OK) return;
    atomic_fetch_add(&b.refused, 1);
    free(c);
}

/* One second of the schedule: a prediction each half millisecond, after every second one a
 * feedback a quarter of a millisecond later. Latencies count from the scheduled time. */
static void second_run(int64_t start_ns, bool with_feedback)
{
    const int64_t step_ns = 1000000000 / PREDICTIONS_PER_S;
    for (int i = 0; i < PREDICTIONS_PER_S; i++) {
        int64_t due_ns = start_ns + i * step_ns;
        wait_until(due_ns);
        predict(due_ns);
        if (!with_feedback || i % (PREDICTIONS_PER_S / FEEDBACK_PER_S) != 0) continue;
        wait_until(due_ns + step_ns / 2);
        give_feedback(due_ns + step_ns / 2);
    }
}

/* ---- The bare peer --------------------------------------------------------------------------- */

static void sync_once(tl_histogram *into)
{
    static char block[1 << 18];
    static off_t at;
    int64_t start = now_ns();
    if (pwrite(b.file, block, b.sync_bytes, at) < 0 || fdatasync(b.file) != 0) {
        atomic_fetch_add(&b.failed, 1);
        return;
    }
    tl_histogram_record_ns(into, now_ns() - start);
    at = (at + (off_t)b.sync_bytes) % (FILE_BYTES - (off_t)sizeof block);
}

static void *sync_main(void *unused)
{
    (void)unused;
    int64_t due_ns = now_ns();
    while (!atomic_load(&b.stop)) {
        due_ns += 1000000000 / FEEDBACK_PER_S;
        int64_t now = now_ns();
        if (due_ns < now) due_ns = now; /* one at a time: no backlog */
        wait_until(due_ns);
        if (atomic_load(&b.sync_on)) sync_once(&b.sync);
    }
    return NULL;
}

/* A file whose blocks are there already, as those of a log that is used again and again. */
static bool file_make(const char *folder)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/bare", folder);
    b.file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char *zeros = calloc(1, FILE_BYTES);
    bool ok = b.file >= 0 && zeros != NULL && pwrite(b.file, zeros, FILE_BYTES, 0) == FILE_BYTES &&
              fsync(b.file) == 0;
    free(zeros);
    unlink(path);
    return ok;
}

/* ---- Result ---------------------------------------------------------------------------------- */

static double ms(const tl_histogram *h, double share)
{
    return tl_histogram_quantile_ns(h, share) / 1e6;
}

static void row(const char *name, const tl_histogram *h)
{
    printf("%-34s %9.3f %9.3f %9.3f %9.3f\n", name, ms(h, 0.5), ms(h, 0.9), ms(h, 0.99),
           ms(h, 0.999));
}

static int report(double seconds)
{
    struct rusage usage;
    tl_journal_state journal;
    tl_runtime_journal_state(b.runtime, &journal);
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    uint64_t failed = atomic_load(&b.failed), refused = atomic_load(&b.refused);
    printf("%-34s %9s %9s %9s %9s  ms\n", "", "p50", "p90", "p99", "p99.9");
    row("feedback to published head, whole", &b.whole);
    row("  of it until committed", &b.loop->commit_ns);
    row("  of it update (a round)", &b.loop->update_ns);
    row("  of it publish (a round)", &b.loop->publish_ns);
    row("prediction, durable", &b.answer);
    row("fdatasync, same load", &b.sync);
    row("fdatasync, idle", &b.sync_idle);
    double limit = 2.0 * ms(&b.sync, 0.99) + 1.0, whole = ms(&b.whole, 0.99);
    bool met = whole <= limit && failed == 0 && refused == 0 && atomic_load(&b.learned) > 0;
    printf("a group's COMMIT by itself: p50 %.3f, p99 %.3f ms\n", journal.commit_ms_p50,
           journal.commit_ms_p99);
    printf("%llu predictions, %llu feedbacks, %llu refused, %llu failed; %.1f feedbacks a model; "
           "%zu bytes a sync; %.2f cores\n",
           (unsigned long long)atomic_load(&b.answers), (unsigned long long)atomic_load(&b.learned),
           (unsigned long long)refused, (unsigned long long)failed,
           (double)atomic_load(&b.learned) / (double)(b.loop->publish_ns.count + 1), b.sync_bytes,
           cpu / seconds);
    printf("{\"bench\": \"adaptation\", \"figures\": {\"whole_p50_ms\": %.3f, \"whole_p99_ms\": "
           "%.3f, \"commit_p99_ms\": %.3f, \"update_p99_ms\": %.3f, \"publish_p99_ms\": %.3f, "
           "\"publish_p50_ms\": %.3f, \"prediction_p99_ms\": %.3f, \"fdatasync_p50_ms\": %.3f, "
           "\"fdatasync_p99_ms\": %.3f, \"fdatasync_idle_p50_ms\": %.3f, "
           "\"fdatasync_idle_p99_ms\": %.3f, \"limit_ms\": %.3f, \"feedbacks\": %llu, "
           "\"refused_or_failed\": %llu, \"cores\": %.2f}, \"ratio\": %.3f, \"bar\": 1, "
           "\"met\": %s}\n",
           ms(&b.whole, 0.5), whole, ms(&b.loop->commit_ns, 0.99), ms(&b.loop->update_ns, 0.99),
           ms(&b.loop->publish_ns, 0.99), ms(&b.loop->publish_ns, 0.5), ms(&b.answer, 0.99),
           ms(&b.sync, 0.5), ms(&b.sync, 0.99), ms(&b.sync_idle, 0.5), ms(&b.sync_idle, 0.99),
           limit, (unsigned long long)atomic_load(&b.learned),
           (unsigned long long)(failed + refused), cpu / seconds, whole / limit,
           met ? "true" : "false");
    return met ? 0 : 1;
}

/* ---- Run ------------------------------------------------------------------------------------- */

static void warm_up(void)
{
    int64_t at = now_ns();
    for (int i = 0; i < 2; i++) second_run(at + i * (int64_t)1000000000, true);
    wait_until(now_ns() + 300000000);
    tl_histogram *all[] = { &b.whole,           &b.answer,           &b.loop->commit_ns,
                            &b.loop->update_ns, &b.loop->publish_ns, &b.loop->applied_ns };
    for (size_t i = 0; i < TL_COUNT_OF(all); i++) tl_histogram_reset(all[i]);
    atomic_store(&b.learned, 0);
    atomic_store(&b.answers, 0);
    tl_journal_state journal;
    tl_runtime_journal_state(b.runtime, &journal);
    size_t bytes = (size_t)((double)journal.bytes / (double)(journal.commits + 1));
    b.sync_bytes = bytes < 512 ? 512 : bytes > 1 << 18 ? 1 << 18 : bytes;
}

static int run(int seconds)
{
    pthread_t thread;
    for (int i = 0; i < 50; i++) {
        wait_until(now_ns() + 20000000);
        sync_once(&b.sync_idle);
    }
    warm_up();
    if (pthread_create(&thread, NULL, sync_main, NULL) != 0) return 1;
    int64_t start = now_ns();
    for (int i = 0; i < seconds; i++) {
        atomic_store(&b.sync_on, i % 2 != 0);
        second_run(start + i * (int64_t)1000000000, i % 2 == 0);
    }
    atomic_store(&b.stop, true);
    pthread_join(thread, NULL);
    wait_until(now_ns() + 200000000);
    return report((double)seconds + 2.0);
}

static tl_status open_loop(const char *folder, tl_error *err)
{
    tl_runtime_options options = tl_runtime_options_default();
    options.path = folder;
    tl_status status = tl_runtime_open(&options, &b.runtime, err);
    if (status != TL_OK) return status;
    tl_loop_options loop = tl_loop_options_default();
    loop.name = "adaptation";
    loop.input = TL_INPUT_FEATURES;
    loop.feature_count = FEATURES;
    loop.classes = class_names;
    loop.class_count = CLASSES;
    return tl_loop_open(b.runtime, &loop, &b.loop, err);
}

int main(int argc, char **argv)
{
    char made[] = "adaptation-XXXXXX", command[64];
    const char *folder = NULL;
    int seconds = 30;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = atoi(argv[++i]);
        else
            folder = argv[i];
    }
    if (seconds < 2 || seconds > 3600) {
        fputs("usage: adaptation [--seconds 2..3600] [FOLDER]\n", stderr);
        return 2;
    }
    if (folder == NULL) folder = mkdtemp(made);
    tl_error err = { 0 };
    b.sync_bytes = 4096;
    pthread_mutex_init(&b.mutex, NULL);
    pool_make();
    if (folder == NULL || open_loop(folder, &err) != TL_OK || !file_make(folder)) {
        fprintf(stderr, "adaptation: %s\n", err.text);
        return 1;
    }
    int code = run(seconds);
    tl_runtime_close(&b.runtime);
    close(b.file);
    if (folder == made) {
        snprintf(command, sizeof command, "rm -rf '%s'", made);
        if (system(command) != 0) fprintf(stderr, "left behind: %s\n", made);
    }
    return code;
}

/* journal_append - durable predictions a second into the journal, beside a bare fdatasync.
 *   usage: journal_append [FOLDER]    (default: a new folder under the working directory)
 * Rows: features of 30 numbers, 7 scores, one other head. A window of N entries is in flight; each
 * answered entry is submitted again from its answer, so that a group is about the window. */
#include "base/histogram.h"
#include "base/id.h"
#include "journal/journal.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FEATURES = 30, SCORES = 7, WINDOW_MAX = 1024 };

typedef struct bench {
    tl_journal *journal;
    uint32_t loop;
    tl_id_maker ids;
    uint64_t left, in_flight;
    tl_status failed;
    tl_histogram latency;
    pthread_mutex_t mutex;
    pthread_cond_t finished;
} bench;

typedef struct flight {
    tl_journal_entry entry; /* first */
    tl_record record;
    bench *bench;
    int64_t start_ns;
    float features[FEATURES], scores[SCORES];
} flight;

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static int64_t now_ns(void)
{
    return tl_env_mono_ns(tl_env_system());
}

static void flight_end(bench *b, tl_status status)
{
    pthread_mutex_lock(&b->mutex);
    if (status != TL_OK) b->failed = status;
    if (--b->in_flight == 0) pthread_cond_signal(&b->finished);
    pthread_mutex_unlock(&b->mutex);
}

/* On the writer's thread, except for the first of each flight. */
static void flight_start(flight *f)
{
    bench *b = f->bench;
    pthread_mutex_lock(&b->mutex);
    bool more = b->left > 0;
    if (more) b->left--;
    f->record.as.prediction.id = tl_id_make(&b->ids);
    pthread_mutex_unlock(&b->mutex);
    if (!more) {
        flight_end(b, TL_OK);
        return;
    }
    f->start_ns = now_ns();
    tl_status status = tl_journal_submit(b->journal, &f->entry, NULL);
    if (status != TL_OK) flight_end(b, status);
}

static void flight_done(tl_journal_entry *entry, tl_status status, const tl_error *err)
{
    (void)err;
    flight *f = (flight *)entry;
    bench *b = f->bench;
    tl_histogram_record_ns(&b->latency, now_ns() - f->start_ns);
    if (status != TL_OK) {
        flight_end(b, status);
    } else {
        flight_start(f);
    }
}

static void flight_init(flight *f, bench *b)
{
    *f = (flight){ .bench = b };
    for (int i = 0; i < FEATURES; i++) f->features[i] = (float)i * 0.37f;
    for (int i = 0; i < SCORES; i++) f->scores[i] = 1.0f / SCORES;
    f->entry = (tl_journal_entry){ .records = &f->record, .count = 1, .done = flight_done };
    f->record = (tl_record){ .kind = TL_RECORD_PREDICTION, .loop = b->loop };
    f->record.as.prediction = (tl_prediction_record){ .time_us = 1700000000000000,
                                                      .version = 3,
                                                      .epoch = 1000,
                                                      .site = "south",
                                                      .line = "L07",
                                                      .features = f->features,
                                                      .feature_count = FEATURES,
                                                      .scores = f->scores,
                                                      .score_count = SCORES,
                                                      .head_scores = f->scores,
                                                      .head_count = 1,
                                                      .threshold = 0.5f,
                                                      .propensity = 0.02f };
}

/* Appends of `bytes` with a sync each: p50 and p99 in ms. */
static void bare_sync(const char *folder, size_t bytes, int rounds, double *p50, double *p99)
{
    static char block[64 << 10];
    static tl_histogram spans;
    char path[4200];
    snprintf(path, sizeof path, "%s/bare", folder);
    int fd = open(path, O_RDWR | O_CREAT, 0666);
    tl_histogram_reset(&spans);
    for (int i = 0; i < rounds && fd >= 0; i++) {
        int64_t start = now_ns();
        if (pwrite(fd, block, bytes, (off_t)((size_t)i * bytes)) < 0 || fdatasync(fd) != 0) break;
        tl_histogram_record_ns(&spans, now_ns() - start);
    }
    close(fd);
    unlink(path);
    *p50 = tl_histogram_quantile_ns(&spans, 0.5) / 1e6;
    *p99 = tl_histogram_quantile_ns(&spans, 0.99) / 1e6;
}

/* Rows a second with `window` entries in flight. */
static double window_run(bench *b, flight *flights, size_t window, uint64_t rows)
{
    tl_histogram_reset(&b->latency);
    b->left = rows;
    b->in_flight = window;
    double cpu = cpu_s();
    int64_t start = now_ns();
    for (size_t i = 0; i < window; i++) flight_init(&flights[i], b);
    for (size_t i = 0; i < window; i++) flight_start(&flights[i]);
    pthread_mutex_lock(&b->mutex);
    while (b->in_flight > 0) pthread_cond_wait(&b->finished, &b->mutex);
    pthread_mutex_unlock(&b->mutex);
    double wall = (double)(now_ns() - start) * 1e-9;
    printf("%7zu %12.0f %10.2f %12.3f %10.3f", window, (double)rows / wall,
           (cpu_s() - cpu) * 1e6 / (double)rows, tl_histogram_quantile_ns(&b->latency, 0.5) / 1e6,
           tl_histogram_quantile_ns(&b->latency, 0.99) / 1e6);
    return (double)rows / wall;
}

static bool windows_run(bench *b, flight *flights, const char *folder)
{
    static const size_t WINDOWS[] = { 1, 4, 16, 64, 256, 1024 };
    static const uint64_t ROWS[] = { 2000, 8000, 30000, 200000, 400000, 600000 };
    double best = 0.0, cpu = 0.0;
    printf(" window       rows/s  cpu us/row   answer p50        p99   bare sync p50        p99  "
           "ms\n");
    for (size_t i = 0; i < TL_COUNT_OF(WINDOWS) && b->failed == TL_OK; i++) {
        double p50, p99, start = cpu_s();
        double rate = window_run(b, flights, WINDOWS[i], ROWS[i]);
        cpu = (cpu_s() - start) * 1e6 / (double)ROWS[i];
        bare_sync(folder, WINDOWS[i] * 350 < 65536 ? WINDOWS[i] * 350 : 65536, 300, &p50, &p99);
        printf("   %13.3f %10.3f\n", p50, p99);
        if (rate > best) best = rate;
    }
    tl_journal_state facts;
    tl_journal_describe(b->journal, &facts);
    printf("commits %llu, p50 %.3f ms, p99 %.3f ms; file %.1f MB, %.0f bytes a row\n",
           (unsigned long long)facts.commits, facts.commit_ms_p50, facts.commit_ms_p99,
           (double)facts.bytes / 1e6, (double)facts.bytes / (double)facts.records);
    bool met = b->failed == TL_OK && cpu < 8.0;
    printf("{\"bench\": \"journal_append\", \"figures\": {\"rows_per_s\": %.0f, "
           "\"cpu_us_per_row\": %.2f, \"commit_ms_p50\": %.3f, \"commit_ms_p99\": %.3f}, "
           "\"ratio\": %.2f, \"bar\": 8, \"met\": %s}\n",
           best, cpu, facts.commit_ms_p50, facts.commit_ms_p99, cpu, met ? "true" : "false");
    return met;
}

int main(int argc, char **argv)
{
    static bench b;
    char made[] = "journal-append-XXXXXX";
    const char *folder = argc > 1 ? argv[1] : mkdtemp(made);
    flight *flights = calloc(WINDOW_MAX, sizeof *flights);
    if (folder == NULL || flights == NULL) return 1;
    tl_error err;
    tl_journal_options options = { .path = folder };
    if (tl_journal_open(&options, &b.journal, &err) != TL_OK ||
        tl_journal_loop_open(b.journal, "bench", "{}", &b.loop, NULL, &err) != TL_OK) {
        fprintf(stderr, "journal_append: %s\n", err.text);
        return 1;
    }
    pthread_mutex_init(&b.mutex, NULL);
    pthread_cond_init(&b.finished, NULL);
    tl_id_maker_init(&b.ids, tl_env_system());
    bool met = windows_run(&b, flights, folder);
    tl_journal_close(&b.journal);
    free(flights);
    if (argc <= 1) printf("left behind: %s\n", folder);
    return met ? 0 : 1;
}

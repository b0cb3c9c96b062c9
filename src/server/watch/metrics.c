/* metrics.c - GET /metrics in the text format of Prometheus. docs/http.md lists them. */
#include "server/internal.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Codes that are counted by themselves; the last slot takes all others. */
static const unsigned short codes[] = { 200, 202, 204, 400, 401, 403, 404, 405, 408,
                                        409, 413, 415, 422, 431, 500, 503, 507, 0 };
_Static_assert(TL_COUNT_OF(codes) <= TL_CODE_SLOTS, "a slot for each code");

static size_t code_slot(unsigned code)
{
    size_t slot = 0;
    while (slot < TL_COUNT_OF(codes) - 1 && codes[slot] != code) slot++;
    return slot;
}

void tl_metrics_count(tl_server *server, size_t route_index, unsigned code, int64_t span_ns)
{
    tl_metrics *metrics = &server->metrics;
    atomic_fetch_add_explicit(&metrics->answers[route_index][code_slot(code)], 1,
                              memory_order_relaxed);
    const tl_route *route = tl_route_at(route_index);
    /* A stream of events lasts for days: not a latency. */
    if (route != NULL && strcmp(route->endpoint, "events") == 0) return;
    tl_histogram_record_ns(&metrics->durations[route_index], span_ns);
}

void tl_metrics_head(tl_text *text, const char *name, const char *type, const char *help)
{
    tl_text_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(tl_text *text, const char *name, const char *type, const char *help,
                   double value)
{
    tl_metrics_head(text, name, type, help);
    tl_text_printf(text, "%s %.17g\n", name, value);
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static const char *endpoint_of(size_t index)
{
    const tl_route *route = tl_route_at(index);
    return route == NULL ? "none" : route->endpoint;
}

static void write_answers(const tl_metrics *metrics, tl_text *text)
{
    tl_metrics_head(text, "tightloop_http_requests_total", "counter",
                    "Requests answered, by endpoint and HTTP status (0: others).");
    for (size_t i = 0; i <= tl_route_index(NULL); i++) {
        for (size_t slot = 0; slot < TL_COUNT_OF(codes); slot++) {
            uint64_t count = atomic_load_explicit(&metrics->answers[i][slot], memory_order_relaxed);
            if (count == 0) continue;
            tl_text_printf(
                text, "tightloop_http_requests_total{endpoint=\"%s\",code=\"%u\"} %" PRIu64 "\n",
                endpoint_of(i), codes[slot], count);
        }
    }
}

static void write_duration(const tl_histogram *histogram, const char *endpoint, tl_text *text)
{
    static const struct {
        const char *name;
        int64_t ns;
    } limits[] = { { "0.0001", 100000 }, { "0.00025", 250000 }, { "0.0005", 500000 },
                   { "0.001", 1000000 }, { "0.0025", 2500000 }, { "0.005", 5000000 },
                   { "0.01", 10000000 }, { "0.025", 25000000 }, { "0.05", 50000000 },
                   { "0.1", 100000000 }, { "0.25", 250000000 }, { "0.5", 500000000 },
                   { "1", 1000000000 },  { "5", 5000000000 } };
    static const char name[] = "tightloop_http_request_duration_seconds";
    /* Read the total first: later records may be in the buckets, so bound them by it. */
    uint64_t total = atomic_load(&histogram->count);
    for (size_t i = 0; i < TL_COUNT_OF(limits); i++) {
        uint64_t below = tl_histogram_count_below_ns(histogram, limits[i].ns);
        tl_text_printf(text, "%s_bucket{endpoint=\"%s\",le=\"%s\"} %" PRIu64 "\n", name, endpoint,
                       limits[i].name, below < total ? below : total);
    }
    tl_text_printf(text, "%s_bucket{endpoint=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, endpoint,
                   total);
    tl_text_printf(text, "%s_sum{endpoint=\"%s\"} %.9g\n", name, endpoint,
                   (double)atomic_load(&histogram->sum_ns) / 1e9);
    tl_text_printf(text, "%s_count{endpoint=\"%s\"} %" PRIu64 "\n", name, endpoint, total);
}

static void write_durations(const tl_metrics *metrics, tl_text *text)
{
    tl_metrics_head(text, "tightloop_http_request_duration_seconds", "histogram",
                    "From the headers of a request to the end of its answer.");
    for (size_t i = 0; i <= tl_route_index(NULL); i++)
        if (atomic_load(&metrics->durations[i].count) > 0)
            write_duration(&metrics->durations[i], endpoint_of(i), text);
}

static void write_http(tl_server *server, tl_text *text)
{
    tl_metrics *metrics = &server->metrics;
    write_answers(metrics, text);
    write_durations(metrics, text);
    single(text, "tightloop_http_connections", "gauge", "Open connections.",
           (double)atomic_load(&metrics->connections));
    single(text, "tightloop_http_requests_in_flight", "gauge", "Requests not answered yet.",
           (double)atomic_load(&metrics->active));
    single(text, "tightloop_http_requests_waiting", "gauge",
           "Requests that a loop or a worker has at this moment.",
           (double)atomic_load(&metrics->suspended));
    single(text, "tightloop_http_pending_body_bytes", "gauge", "Bodies being received.",
           (double)atomic_load(&server->pending_body_bytes));
    single(text, "tightloop_http_timeouts_total", "counter", "Connections closed as too slow.",
           (double)atomic_load(&metrics->timeouts));
    single(text, "tightloop_http_event_clients", "gauge", "Listeners of GET /events.",
           (double)tl_events_client_count(server->events));
    single(text, "tightloop_http_event_clients_dropped_total", "counter",
           "Listeners of GET /events that were too slow.",
           (double)tl_events_dropped_count(server->events));
}

/* ---- Process and journal --------------------------------------------------------------------- */

static double open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) return 0;
    double count = -3; /* ".", ".." and the folder itself */
    while (readdir(folder) != NULL) count++;
    closedir(folder);
    return count;
}

static double resident_bytes(void)
{
    unsigned long long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) return 0;
    int fields = fscanf(file, "%llu %llu", &total, &resident);
    fclose(file);
    return fields == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

static void write_process(tl_text *text)
{
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    tl_metrics_head(text, "tightloop_build_info", "gauge", "The version that runs.");
    tl_text_printf(text, "tightloop_build_info{version=\"%s\"} 1\n", tl_version_text());
    single(text, "process_cpu_seconds_total", "counter", "Processor time used.",
           (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    single(text, "process_resident_memory_bytes", "gauge", "Memory in use.", resident_bytes());
    single(text, "process_open_fds", "gauge", "Open files and connections.", open_files());
}

static void write_journal(tl_runtime *runtime, tl_text *text)
{
    tl_journal_state state;
    tl_runtime_journal_state(runtime, &state);
    single(text, "tightloop_journal_bytes", "gauge", "Size of the journal.", (double)state.bytes);
    single(text, "tightloop_journal_wal_bytes", "gauge", "Size of its write-ahead log.",
           (double)state.wal_bytes);
    single(text, "tightloop_journal_quota_bytes", "gauge", "Its quota; 0: none.",
           (double)state.quota_bytes);
    single(text, "tightloop_journal_commits_total", "counter", "Group commits.",
           (double)state.commits);
    single(text, "tightloop_journal_records_total", "counter", "Records written.",
           (double)state.records);
    single(text, "tightloop_journal_images", "gauge", "Images kept.", (double)state.images);
    single(text, "tightloop_journal_commit_p50_seconds", "gauge", "Time of a commit, median.",
           state.commit_ms_p50 / 1e3);
    single(text, "tightloop_journal_commit_p99_seconds", "gauge",
           "Time of a commit, 99th percentile.", state.commit_ms_p99 / 1e3);
    single(text, "tightloop_journal_full_in_seconds", "gauge",
           "Until the quota is reached at the present rate; negative: not foreseen.",
           state.days_until_full < 0 ? -1 : state.days_until_full * 86400);
}

/* ---- Loops ----------------------------------------------------------------------------------- */

/* X(name, type, help, value) with `s` the state of a loop. */
#define LOOP_METRICS(X)                                                                            \
    X("predictions_total", "counter", "Items predicted.", s->predictions)                          \
    X("flagged_total", "counter", "Items flagged.", s->flagged)                                    \
    X("reviews_wanted_total", "counter", "Items put up for review.", s->reviews_wanted)            \
    X("feedback_total", "counter", "Feedback received.", s->feedback)                              \
    X("labels", "gauge", "Predictions with a label in force.", s->labels)                          \
    X("pending_feedback", "gauge", "Feedback whose prediction is not known yet.", s->pending)      \
    X("withdrawn_total", "counter", "Labels withdrawn.", s->withdrawn)                             \
    X("clamped_total", "counter", "Feature values clamped.", s->clamped)                           \
    X("champion_version", "gauge", "Version that answers.", s->champion)                           \
    X("epoch", "gauge", "Last feedback that the champion's head knows.", s->epoch)                 \
    X("position", "gauge", "Last journal position applied.", s->position)                          \
    X("trained_labels", "gauge", "Labels the slow learner has worked through.", s->trained_labels) \
    X("publishes_total", "counter", "Versions that went live.", s->publishes)                      \
    X("rollbacks_total", "counter", "Versions taken back.", s->rollbacks)                          \
    X("refused_total", "counter", "Versions that were not better.", s->refused)                    \
    X("golden_items", "gauge", "Items in the golden set.", s->golden)                              \
    X("learning", "gauge", "1: learning, 0: paused.", s->learning)                                 \
    X("cold", "gauge", "1: everything is put up for review.", s->cold)                             \
    X("threshold_ratio", "gauge", "Flagged from this defect score on.", s->threshold)              \
    X("precision_ratio", "gauge", "Share of the flagged that are defects.", s->precision.value)    \
    X("precision_low_ratio", "gauge", "Its 95 % interval, low end.", s->precision.low)             \
    X("precision_high_ratio", "gauge", "Its 95 % interval, high end.", s->precision.high)          \
    X("precision_labels", "gauge", "Labels behind it.", s->precision.count)                        \
    X("recall_ratio", "gauge", "Share of the defects that are flagged.", s->recall.value)          \
    X("recall_low_ratio", "gauge", "Its 95 % interval, low end.", s->recall.low)                   \
    X("recall_high_ratio", "gauge", "Its 95 % interval, high end.", s->recall.high)                \
    X("recall_labels", "gauge", "Labels behind it.", s->recall.count)                              \
    X("accuracy_ratio", "gauge", "Share of right answers.", s->accuracy.value)                     \
    X("accuracy_low_ratio", "gauge", "Its 95 % interval, low end.", s->accuracy.low)               \
    X("accuracy_high_ratio", "gauge", "Its 95 % interval, high end.", s->accuracy.high)            \
    X("accuracy_labels", "gauge", "Labels behind it.", s->accuracy.count)                          \
    X("label_to_served_p50_seconds", "gauge", "Feedback to the head that knows it, median.",       \
      s->label_to_served_ms_p50 / 1e3)                                                             \
    X("label_to_served_p99_seconds", "gauge", "The same, 99th percentile.",                        \
      s->label_to_served_ms_p99 / 1e3)                                                             \
    X("answer_p50_seconds", "gauge", "Arrival to durable answer, median.", s->answer_ms_p50 / 1e3) \
    X("answer_p99_seconds", "gauge", "The same, 99th percentile.", s->answer_ms_p99 / 1e3)

enum { LOOPS_MAX = 64 };

typedef struct loop_row {
    char loop[TL_TEXT_BYTES_MAX]; /* [A-Za-z0-9._-]: needs no escaping in a label */
    tl_loop_state state;
} loop_row;

static size_t rows_get(tl_runtime *runtime, loop_row *rows)
{
    size_t count = 0;
    tl_loop *loop;
    while (count < LOOPS_MAX && (loop = tl_runtime_loop_at(runtime, count)) != NULL) {
        tl_loop_info info;
        tl_loop_describe(loop, &info);
        memcpy(rows[count].loop, info.name, sizeof rows[count].loop);
        tl_loop_status(loop, &rows[count].state);
        count++;
    }
    return count;
}

/* All values of one metric follow its head, as the format wants it. */
static void write_loops(tl_runtime *runtime, tl_text *text)
{
    loop_row rows[LOOPS_MAX];
    size_t count = rows_get(runtime, rows);
    if (count == 0) return;
#define X(name, type, help, value)                                                                 \
    tl_metrics_head(text, "tightloop_loop_" name, type, help);                                     \
    for (size_t i = 0; i < count; i++) {                                                           \
        const tl_loop_state *s = &rows[i].state;                                                   \
        tl_text_printf(text, "tightloop_loop_" name "{loop=\"%s\"} %.17g\n", rows[i].loop,         \
                       (double)(value));                                                           \
    }
    LOOP_METRICS(X)
#undef X
}

tl_status tl_metrics_handle(tl_request *request, tl_error *err)
{
    (void)err;
    tl_text *text = &request->text;
    write_process(text);
    write_http(request->server, text);
    write_journal(request->server->runtime, text);
    write_loops(request->server->runtime, text);
    tl_metrics_gate_write(request->server->runtime, text);
    request->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return TL_OK;
}

/* metrics_gate.c - the gate and the stages of the loop in GET /metrics. */
#include "server/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOPS_MAX = 64, SHADOWS_MAX = 16 };

typedef struct gate_row {
    char loop[TL_TEXT_BYTES_MAX]; /* [A-Za-z0-9._-]: needs no escaping in a label */
    tl_loop_state state;
    tl_loop_stage stages[TL_LOOP_STAGE_COUNT];
    tl_standing shadows[SHADOWS_MAX];
    size_t shadow_count;
    tl_review_person people[TL_PERSON_COUNT_MAX];
    size_t person_count;
} gate_row;

static size_t rows_get(tl_runtime *runtime, gate_row *rows)
{
    size_t count = 0;
    tl_loop *loop;
    while (count < LOOPS_MAX && (loop = tl_runtime_loop_at(runtime, count)) != NULL) {
        gate_row *row = &rows[count++];
        tl_loop_info info;
        tl_loop_describe(loop, &info);
        memcpy(row->loop, info.name, sizeof row->loop);
        tl_loop_status(loop, &row->state);
        tl_loop_stages(loop, row->stages);
        row->shadow_count = tl_loop_standings(loop, row->shadows, SHADOWS_MAX);
        row->person_count = tl_loop_people(loop, row->people);
    }
    return count;
}

/* ---- Shadows --------------------------------------------------------------------------------- */

/* X(name, help, value) with `s` a standing. */
#define SHADOW_METRICS(X)                                                                          \
    X("gate_log_e", "Evidence for the verdict that a shadow waits for, nats.", s->log_e)           \
    X("gate_log_e_needed", "Evidence that the verdict takes, nats.", s->log_needed)                \
    X("gate_needed", "About so many more reviewed disagreements to the verdict; NaN: unforeseen.", \
      s->needed)                                                                                   \
    X("gate_log_harm", "Evidence that what answers must give way to the shadow, nats.",            \
      s->log_harm)                                                                                 \
    X("gate_disagreements", "Reviewed disagreements with what answers.", s->disagreements)

static void write_shadows(const gate_row *rows, size_t count, tl_text *text)
{
#define X(name, help, value)                                                                       \
    tl_metrics_head(text, "tightloop_" name, "gauge", help);                                       \
    for (size_t i = 0; i < count; i++) {                                                           \
        for (size_t j = 0; j < rows[i].shadow_count; j++) {                                        \
            const tl_standing *s = &rows[i].shadows[j];                                            \
            tl_text_printf(text,                                                                   \
                           "tightloop_" name "{loop=\"%s\",version=\"%" PRIu64                     \
                           "\",role=\"%s\"} %.17g\n",                                              \
                           rows[i].loop, s->version, s->role, (double)(value));                    \
        }                                                                                          \
    }
    SHADOW_METRICS(X)
#undef X
}

/* ---- People ---------------------------------------------------------------------------------- */

/* In quotes, as label values are: what ends one is escaped. Names have no line breaks. */
static void write_label_value(const char *value, tl_text *text)
{
    tl_text_puts(text, "\"");
    for (; *value != '\0'; value++)
        tl_text_printf(text, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    tl_text_puts(text, "\"");
}

static void write_people(const gate_row *rows, size_t count, tl_text *text)
{
    tl_metrics_head(text, "tightloop_open_reviews", "gauge",
                    "Open reviews of each of those who are asked.");
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < rows[i].person_count; j++) {
            tl_text_printf(text, "tightloop_open_reviews{loop=\"%s\",person=", rows[i].loop);
            write_label_value(rows[i].people[j].name, text);
            tl_text_printf(text, "} %" PRIu64 "\n", rows[i].people[j].open);
        }
    }
}

/* ---- Time to improvement --------------------------------------------------------------------- */

static void write_median(const char *name, const char *loop, double p50, double low, double high,
                         tl_text *text)
{
    const struct {
        const char *bound;
        double value;
    } values[] = { { "median", p50 }, { "low", low }, { "high", high } };
    for (size_t i = 0; i < TL_COUNT_OF(values); i++)
        tl_text_printf(text, "%s{loop=\"%s\",bound=\"%s\"} %.17g\n", name, loop, values[i].bound,
                       values[i].value);
}

/* Seconds since each baseline was frozen that nothing has been proven better than yet. */
static void write_open(const gate_row *rows, size_t count, tl_text *text)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    tl_metrics_head(text, "tightloop_tti_open", "gauge",
                    "Seconds since the baseline was frozen, without a proven improvement yet.");
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < rows[i].shadow_count; j++) {
            const tl_standing *s = &rows[i].shadows[j];
            double since =
                (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)s->since_us / 1e6;
            if (strcmp(s->role, "baseline") != 0) continue;
            tl_text_printf(text, "tightloop_tti_open{loop=\"%s\",version=\"%" PRIu64 "\"} %.17g\n",
                           rows[i].loop, s->version, since < 0 ? 0 : since);
        }
    }
}

/* NaN where half of the baselines were not improved upon. */
static void write_tti(const gate_row *rows, size_t count, tl_text *text)
{
    tl_metrics_head(text, "tightloop_tti_seconds", "gauge",
                    "Time to improvement, Kaplan-Meier median and its 95 % interval, seconds.");
    for (size_t i = 0; i < count; i++)
        write_median("tightloop_tti_seconds", rows[i].loop, rows[i].state.tti_seconds_p50,
                     rows[i].state.tti_seconds_low, rows[i].state.tti_seconds_high, text);
    tl_metrics_head(text, "tightloop_tti_labels", "gauge",
                    "Time to improvement, Kaplan-Meier median and its 95 % interval, labels.");
    for (size_t i = 0; i < count; i++)
        write_median("tightloop_tti_labels", rows[i].loop, rows[i].state.tti_labels_p50,
                     rows[i].state.tti_labels_low, rows[i].state.tti_labels_high, text);
    write_open(rows, count, text);
}

/* ---- The loop -------------------------------------------------------------------------------- */

/* X(name, type, help, value) with `s` the state of a loop. */
#define GATE_METRICS(X)                                                                            \
    X("tti_proven", "gauge", "Baselines behind the median that were improved upon.",               \
      s->tti_proven)                                                                               \
    X("tti_censored", "gauge", "Baselines behind the median that were not, so far.",               \
      s->tti_censored)                                                                             \
    X("alarms_total", "counter", "Broken promises of the error rate.", s->alarms)                  \
    X("automatic_labels_total", "counter", "Labels that nobody gave, for training only.",          \
      s->automatic_labels)                                                                         \
    X("automatic_bins", "gauge", "Kinds of calls that audits have certified for it.",              \
      s->automatic_bins)                                                                           \
    X("frozen", "gauge", "1: a requalified line, nothing is learned or promoted.", s->frozen)

static void write_states(const gate_row *rows, size_t count, tl_text *text)
{
#define X(name, type, help, value)                                                                 \
    tl_metrics_head(text, "tightloop_" name, type, help);                                          \
    for (size_t i = 0; i < count; i++) {                                                           \
        const tl_loop_state *s = &rows[i].state;                                                   \
        tl_text_printf(text, "tightloop_" name "{loop=\"%s\"} %.17g\n", rows[i].loop,              \
                       (double)(value));                                                           \
    }
    GATE_METRICS(X)
#undef X
}

static void write_stages(const gate_row *rows, size_t count, tl_text *text)
{
    static const char name[] = "tightloop_loop_stage_seconds";
    tl_metrics_head(text, name, "summary", "How long the stages of the loop take.");
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < TL_LOOP_STAGE_COUNT; j++) {
            const tl_loop_stage *s = &rows[i].stages[j];
            const char *loop = rows[i].loop;
            tl_text_printf(text, "%s{loop=\"%s\",stage=\"%s\",quantile=\"0.5\"} %.9g\n", name, loop,
                           s->name, s->p50_seconds);
            tl_text_printf(text, "%s{loop=\"%s\",stage=\"%s\",quantile=\"0.99\"} %.9g\n", name,
                           loop, s->name, s->p99_seconds);
            tl_text_printf(text, "%s_sum{loop=\"%s\",stage=\"%s\"} %.9g\n", name, loop, s->name,
                           s->sum_seconds);
            tl_text_printf(text, "%s_count{loop=\"%s\",stage=\"%s\"} %" PRIu64 "\n", name, loop,
                           s->name, s->count);
        }
    }
}

void tl_metrics_gate_write(tl_runtime *runtime, tl_text *text)
{
    gate_row *rows = calloc(LOOPS_MAX, sizeof *rows);
    if (rows == NULL) return; /* the rest of the page is still of use */
    size_t count = rows_get(runtime, rows);
    if (count > 0) {
        write_shadows(rows, count, text);
        write_people(rows, count, text);
        write_tti(rows, count, text);
        write_states(rows, count, text);
        write_stages(rows, count, text);
    }
    free(rows);
}

/* selected_labels.c - are live precision and recall true where people look at what is flagged, and at
 * 2 % of what passed? Simulated lines of a million items, recall .95, prevalence 0.8 %: the truth
 * constant, drifting, and defects in clusters of five. Counts runs in which an interval of the
 * product (stats/estimate/selective.h) ever misses the truth, looking after every verified defect;
 * beside it what the field reports: shares of the verified items as if these were all.
 *
 *   selected-labels [RUNS [ITEMS]]    default 1000 1000000; some minutes
 *
 * quick: 60 200000
 */
#include "base/rng.h"
#include "stats/estimate/selective.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 1, SEGMENT = 1000, MARK_COUNT = 3, CLUSTER = 5, METHOD_COUNT = 3 };
static const double AUDIT = 0.02, PREVALENCE = 0.008, RECALL = 0.95, FALSE_ALARM = 0.0008;
static const double CONFIDENCE = 0.95, CORRELATION = 0.3, TAU = 6.283185307179586;
static const double RUNS_MISSED_MAX = 0.066, LOWER_MIN = 0.86;
static const uint64_t MARKS[MARK_COUNT] = { 10000, 100000, 1000000 };

typedef enum scenario { CONSTANT, DRIFTING, CLUSTERED, SCENARIO_COUNT } scenario;
static const char *const SCENARIOS[] = { "constant", "drifting", "clustered" };
static const char *const METHODS[] = { "running", "constant", "rate" };
static const char *const MEASURES[] = { "recall", "precision", "prevalence", "escape", "overkill" };

/* ---- One line -------------------------------------------------------------------------------- */

typedef struct line {
    scenario kind;
    tl_rng rng;
    tl_selective state;
    uint64_t items, defects[2], good[2]; /* [flagged]: what nobody knows on a real line */
    double prevalence, recall;           /* now */
    double sum_prevalence, sum_caught;   /* of the probabilities so far */
    uint64_t verified[2][2];             /* [flagged][defect] */
    bool missed[METHOD_COUNT][TL_SELECTIVE_MEASURE_COUNT]; /* realised truth; RUNNING is for it */
    bool missed_mean[METHOD_COUNT];                        /* recall: mean of the probabilities */
} line;

static void set_truth(line *l)
{
    double t = (double)l->items;
    l->prevalence = PREVALENCE;
    l->recall = RECALL;
    if (l->kind == DRIFTING) {
        l->prevalence *= 1.0 + 0.5 * sin(TAU * t / 200000.0 + 1.0);
        l->recall += 0.03 * sin(TAU * t / 300000.0);
    }
}

/* What is true: of the items so far, or the parameter for methods that suppose a constant one. */
static double truth(const line *l, tl_selective_method method, tl_selective_measure measure)
{
    double caught = (double)l->defects[1], escaped = (double)l->defects[0];
    double flagged = caught + (double)l->good[1], items = (double)l->items;
    bool fixed = method != TL_SELECTIVE_RUNNING && l->kind == CONSTANT;
    double p = PREVALENCE, r = RECALL, o = (1.0 - p) * FALSE_ALARM;
    switch (measure) {
    case TL_SELECTIVE_RECALL: return fixed ? r : caught / (caught + escaped);
    case TL_SELECTIVE_PRECISION: return fixed ? p * r / (p * r + o) : caught / flagged;
    case TL_SELECTIVE_PREVALENCE: return fixed ? p : (caught + escaped) / items;
    case TL_SELECTIVE_ESCAPE:
        return fixed ? p * (1.0 - r) / (1.0 - p * r - o) : escaped / (items - flagged);
    default: return fixed ? o : (double)l->good[1] / items;
    }
}

static void look(line *l, tl_selective_measure measure)
{
    for (int m = 0; m < METHOD_COUNT; m++) {
        double value = truth(l, (tl_selective_method)m, measure);
        if (l->missed[m][measure] || isnan(value)) continue;
        l->missed[m][measure] =
            !tl_selective_covers(&l->state, (tl_selective_method)m, measure, value, CONFIDENCE);
    }
}

static void look_at_recall(line *l)
{
    look(l, TL_SELECTIVE_RECALL);
    double mean = l->sum_caught / l->sum_prevalence;
    for (int m = 0; m < METHOD_COUNT; m++)
        if (!l->missed_mean[m])
            l->missed_mean[m] = !tl_selective_covers(&l->state, (tl_selective_method)m,
                                                     TL_SELECTIVE_RECALL, mean, CONFIDENCE);
}

/* Items that are neither flagged nor drawn nor, unknown to anybody, defective. */
static void pass(line *l, uint64_t count)
{
    tl_selective_skip(&l->state, false, count, AUDIT, tl_selective_rate(&l->state, false));
    l->items += count;
    l->good[0] += count;
    l->sum_prevalence += (double)count * l->prevalence;
    l->sum_caught += (double)count * l->prevalence * l->recall;
}

static void inspect(line *l, bool defect, bool flagged, bool drawn)
{
    tl_selective_add(&l->state, flagged, drawn, defect, flagged ? 1.0 : AUDIT,
                     tl_selective_rate(&l->state, flagged));
    l->items++;
    l->defects[flagged] += defect;
    l->good[flagged] += !defect;
    l->sum_prevalence += l->prevalence;
    l->sum_caught += l->prevalence * l->recall;
    if (drawn) l->verified[flagged][defect]++;
    if (drawn && defect) look_at_recall(l);
}

/* ---- Which items something happens to --------------------------------------------------------- */

static bool chance(line *l, double p)
{
    return tl_rng_unit(&l->rng) < p;
}

/* Several defects of one cause share their fate with the first one, or not. */
static void defect_arrives(line *l)
{
    int count = l->kind == CLUSTERED ? CLUSTER : 1;
    bool first = chance(l, l->recall), flagged = first;
    for (int i = 0; i < count; i++) {
        if (i > 0) flagged = chance(l, sqrt(CORRELATION)) ? first : chance(l, l->recall);
        inspect(l, true, flagged, flagged || chance(l, AUDIT));
    }
}

/* Up to `until`: jump from one item to which something happens to the next. */
static void advance(line *l, uint64_t until)
{
    double defect = l->prevalence / (l->kind == CLUSTERED ? CLUSTER : 1);
    double alarm = (1.0 - defect) * FALSE_ALARM;
    double audit = (1.0 - defect) * (1.0 - FALSE_ALARM) * AUDIT;
    double any = defect + alarm + audit;
    while (l->items < until) {
        double jump = floor(log1p(-tl_rng_unit(&l->rng)) / log1p(-any));
        uint64_t left = until - l->items;
        if (jump >= (double)left) {
            pass(l, left);
            return;
        }
        pass(l, (uint64_t)jump);
        double which = tl_rng_unit(&l->rng) * any;
        if (which < defect)
            defect_arrives(l);
        else
            inspect(l, false, which < defect + alarm, true);
    }
}

/* ---- A run, and what is kept of it ------------------------------------------------------------ */

typedef struct tally {
    uint64_t runs, missed[METHOD_COUNT][TL_SELECTIVE_MEASURE_COUNT], missed_mean[METHOD_COUNT];
    double *low[METHOD_COUNT][MARK_COUNT], *high[METHOD_COUNT][MARK_COUNT]; /* recall, [runs] */
    double *value[MARK_COUNT];
    double naive_recall, naive_precision, naive_prevalence; /* sums of the errors at the end */
} tally;

static void mark(line *l, tally *t, int at)
{
    for (int m = 0; m < METHOD_COUNT; m++) {
        tl_selective_figures figures;
        if (tl_selective_read(&l->state, (tl_selective_method)m, CONFIDENCE, &figures, NULL) !=
            TL_OK)
            exit(1);
        t->low[m][at][t->runs] = figures.recall.low;
        t->high[m][at][t->runs] = figures.recall.high;
        t->value[at][t->runs] = figures.recall.value;
    }
}

static void finish(const line *l, tally *t)
{
    for (int m = 0; m < METHOD_COUNT; m++) {
        t->missed_mean[m] += l->missed_mean[m];
        for (int i = 0; i < TL_SELECTIVE_MEASURE_COUNT; i++) t->missed[m][i] += l->missed[m][i];
    }
    double caught = (double)l->verified[1][1], found = (double)l->verified[0][1];
    double false_alarms = (double)l->verified[1][0], good = (double)l->verified[0][0];
    double all = caught + found + false_alarms + good;
    t->naive_recall += caught / (caught + found) - truth(l, 0, TL_SELECTIVE_RECALL);
    t->naive_precision += caught / (caught + false_alarms) - truth(l, 0, TL_SELECTIVE_PRECISION);
    t->naive_prevalence += (caught + found) / all - truth(l, 0, TL_SELECTIVE_PREVALENCE);
    t->runs++;
}

static void run(scenario kind, uint64_t index, uint64_t items, tally *t)
{
    line l = { .kind = kind };
    tl_selective_options options = tl_selective_options_default();
    tl_rng_seed(&l.rng, SEED, index * SCENARIO_COUNT + kind);
    if (tl_selective_init(&l.state, &options, NULL) != TL_OK) exit(1);
    int at = 0;
    while (l.items < items) {
        set_truth(&l);
        /* A cluster may have gone past the end of its segment. */
        advance(&l, (l.items / SEGMENT + 1) * SEGMENT);
        look_at_recall(&l);
        for (int i = 1; i < TL_SELECTIVE_MEASURE_COUNT; i++) look(&l, (tl_selective_measure)i);
        if (at < MARK_COUNT && l.items >= MARKS[at]) mark(&l, t, at++);
    }
    finish(&l, t);
}

/* ---- Report ---------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, uint64_t count, double share)
{
    qsort(values, count, sizeof *values, ascending);
    return values[(uint64_t)(share * (double)(count - 1) + 0.5)];
}

static void print_misses(const tally *t, scenario kind)
{
    printf("\n%s: runs of %llu that ever miss the truth\n  %-9s", SCENARIOS[kind],
           (unsigned long long)t->runs, "method");
    for (int i = 0; i < TL_SELECTIVE_MEASURE_COUNT; i++) printf(" %10s", MEASURES[i]);
    printf(" %22s\n", "recall (probabilities)");
    for (int m = 0; m < METHOD_COUNT; m++) {
        bool promised = m == TL_SELECTIVE_RUNNING || kind == CONSTANT;
        printf("  %-9s", METHODS[m]);
        for (int i = 0; i < TL_SELECTIVE_MEASURE_COUNT; i++)
            printf(" %10llu", (unsigned long long)t->missed[m][i]);
        printf(" %22llu%s\n", (unsigned long long)t->missed_mean[m],
               promised ? "" : "   (promises nothing here)");
    }
}

static void print_widths(tally *t, uint64_t items)
{
    printf("  recall, medians:  items  value    interval        width   low 10%%..90%%\n");
    for (int m = 0; m < METHOD_COUNT; m++)
        for (int at = 0; at < MARK_COUNT && MARKS[at] <= items; at++) {
            double low = quantile(t->low[m][at], t->runs, 0.5);
            double high = quantile(t->high[m][at], t->runs, 0.5);
            printf("  %-9s %13llu  %.4f  %.4f..%.4f  %.4f  %.4f..%.4f\n", METHODS[m],
                   (unsigned long long)MARKS[at], quantile(t->value[at], t->runs, 0.5), low, high,
                   high - low, quantile(t->low[m][at], t->runs, 0.1),
                   quantile(t->low[m][at], t->runs, 0.9));
        }
    double n = (double)t->runs;
    printf("  the field's estimates, mean error: recall %+.4f, precision %+.4f, prevalence %+.4f\n",
           t->naive_recall / n, t->naive_precision / n, t->naive_prevalence / n);
}

static tally tally_create(uint64_t runs)
{
    tally t = { 0 };
    for (int at = 0; at < MARK_COUNT; at++) {
        t.value[at] = calloc(runs, sizeof(double));
        for (int m = 0; m < METHOD_COUNT; m++) {
            t.low[m][at] = calloc(runs, sizeof(double));
            t.high[m][at] = calloc(runs, sizeof(double));
            if (t.value[at] == NULL || t.low[m][at] == NULL || t.high[m][at] == NULL) exit(1);
        }
    }
    return t;
}

static void tally_destroy(tally *t)
{
    for (int at = 0; at < MARK_COUNT; at++) {
        free(t->value[at]);
        for (int m = 0; m < METHOD_COUNT; m++) {
            free(t->low[m][at]);
            free(t->high[m][at]);
        }
    }
}

/* The worst of the measures, where the method promises something. */
static uint64_t worst(const tally *t, scenario kind)
{
    uint64_t missed = 0;
    for (int m = 0; m < METHOD_COUNT; m++)
        for (int i = 0; i < TL_SELECTIVE_MEASURE_COUNT; i++)
            if ((m == TL_SELECTIVE_RUNNING || kind == CONSTANT) && t->missed[m][i] > missed)
                missed = t->missed[m][i];
    return missed;
}

static void print_json(tally tallies[SCENARIO_COUNT], uint64_t items)
{
    uint64_t missed = 0, runs = tallies[0].runs;
    double low_min = 1.0;
    int last = MARK_COUNT - 1;
    while (last > 0 && MARKS[last] > items) last--;
    printf("{\"bench\": \"selected-labels\", \"figures\": {\"runs\": %llu, \"items\": %llu",
           (unsigned long long)runs, (unsigned long long)items);
    for (int k = 0; k < SCENARIO_COUNT; k++) {
        tally *t = &tallies[k];
        if (worst(t, (scenario)k) > missed) missed = worst(t, (scenario)k);
        printf(", \"%s\": {\"runs_missed_recall\": %llu, \"runs_missed_worst_measure\": %llu",
               SCENARIOS[k], (unsigned long long)t->missed[0][0],
               (unsigned long long)worst(t, (scenario)k));
        for (int at = 0; at <= last; at++) {
            double low = quantile(t->low[0][at], runs, 0.5);
            printf(", \"recall_low_%llu_items\": %.4f, \"recall_width_%llu_items\": %.4f",
                   (unsigned long long)MARKS[at], low, (unsigned long long)MARKS[at],
                   quantile(t->high[0][at], runs, 0.5) - low);
            if (at == last && k != CLUSTERED) low_min = fmin(low_min, low);
        }
        printf(", \"naive_recall_bias\": %.4f}", t->naive_recall / (double)runs);
    }
    double share = (double)missed / (double)runs;
    bool met = share <= RUNS_MISSED_MAX && MARKS[last] == 1000000 && low_min >= LOWER_MIN;
    printf(", \"recall_low_last\": %.4f}, \"ratio\": %.4f, \"bar\": %.3f, \"met\": %s}\n", low_min,
           share, RUNS_MISSED_MAX, met ? "true" : "false");
}

int main(int argc, char **argv)
{
    uint64_t runs = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    uint64_t items = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    if (runs < 1 || items < MARKS[0]) {
        fprintf(stderr, "usage: selected-labels [RUNS [ITEMS]], at least 1 and %llu\n",
                (unsigned long long)MARKS[0]);
        return 2;
    }
    tally tallies[SCENARIO_COUNT];
    for (int k = 0; k < SCENARIO_COUNT; k++) {
        tallies[k] = tally_create(runs);
        for (uint64_t i = 0; i < runs; i++) {
            run((scenario)k, i, items, &tallies[k]);
            if ((i + 1) % 50 == 0) {
                fprintf(stderr, "\r%s: %llu of %llu runs", SCENARIOS[k],
                        (unsigned long long)(i + 1), (unsigned long long)runs);
            }
        }
        print_misses(&tallies[k], (scenario)k);
        print_widths(&tallies[k], items);
    }
    print_json(tallies, items);
    for (int k = 0; k < SCENARIO_COUNT; k++) tally_destroy(&tallies[k]);
    return 0;
}

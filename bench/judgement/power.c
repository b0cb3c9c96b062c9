/* power - how many disagreements have to be reviewed until a better challenger is promoted.
 *
 * 98.5 % correct against 99.4 %: on 1.1 % of the items the challenger is right alone, on 0.2 % what
 * answers is. Least effect .0005, alpha .05; the 1st, 10th and 100th challenger; clean labels, and with
 * the margin against a hostile source (40 honest sources in turn, or
 * ten, each at its cap). Disagreements five to a board,
 * correlation .3, as in `nulls`; and one to a board. Beside it fully random review of a tenth of the
 * items: labels until the same verdict.
 *
 * Five to a board cannot be as fast as the bar: whatever the bet, a board at most doubles the evidence
 * (all five right or all five wrong is a fair coin), and 40.5, 2,700 and 91,000 to 1 are needed: 6, 12
 * and 17 boards at least, 30, 60 and 85 disagreements.
 *
 * usage: power [--runs N] [--random-runs N] [--seed N]
 * quick: --runs 101 --random-runs 11
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/judgement/lib/judgement.h"
#include "gate/test/series.h"

static const unsigned NUMBERS[] = { 1, 10, 100 };

typedef struct kind {
    const char *name;
    unsigned cluster, sources;
    double hostile, propensity;
    double bar[TL_COUNT_OF(NUMBERS)]; /* disagreements; 0: none */
} kind;

static const kind KINDS[] = {
    { "fives_clean", 5, 40, 0, 1, { 25, 45, 60 } },
    { "fives_hostile", 5, 40, 0.1, 1, { 40, 75, 0 } },
    { "single_clean", 1, 40, 0, 1, { 25, 45, 60 } },
    { "single_hostile", 1, 40, 0.1, 1, { 40, 75, 0 } },
    { "single_hostile_10_sources", 1, 10, 0.1, 1, { 40, 75, 0 } },
    { "random_review", 1, 40, 0, 0.1, { 0 } },
};

static series series_of(const kind *k)
{
    static const double wins = 0.011, losses = 0.002;
    series of = { .policy = tl_gate_policy_default(),
                  .by_board = true,
                  .cluster = k->cluster,
                  .correlation = k->cluster > 1 ? 0.3 : 0,
                  .gap = 1 / (wins + losses) - 1,
                  .win_flags = wins / (wins + losses),
                  .win_passes = wins / (wins + losses),
                  .sources = k->sources,
                  .propensity = k->propensity,
                  .limit = 100000 };
    of.policy.hostile = k->hostile;
    return of;
}

/* Median of what it took the number-th challenger: reviewed disagreements, and labels. */
static void measure(const kind *k, unsigned number, unsigned runs, uint64_t seed, double *reviewed,
                    double *labels)
{
    series of = series_of(k);
    double *values[2] = { calloc(runs, sizeof(double)), calloc(runs, sizeof(double)) };
    TL_ASSERT(values[0] != NULL && values[1] != NULL);
    for (unsigned i = 0; i < runs; i++) {
        tl_gate *gate = NULL;
        TL_ASSERT(tl_gate_create(&of.policy, &gate, NULL) == TL_OK);
        for (unsigned before = 1; before < number; before++) {
            TL_ASSERT(tl_gate_watch(gate, SERIES_SHADOW, TL_GATE_BETTER, 0, NULL) == TL_OK);
            tl_gate_drop(gate, SERIES_SHADOW);
        }
        tl_rng rng;
        tl_rng_seed(&rng, seed, i);
        uint64_t position = 0, unit = 0;
        series_result result = series_go(&of, gate, &rng, &position, &unit);
        values[0][i] = result.promoted ? (double)result.reviewed : INFINITY;
        values[1][i] = result.promoted ? (double)result.labels : INFINITY;
        tl_gate_destroy(&gate);
        judgement_progress(k->name, i + 1, runs);
    }
    *reviewed = judgement_median(values[0], runs);
    *labels = judgement_median(values[1], runs);
    free(values[0]);
    free(values[1]);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    unsigned runs = judgement_option(argc, argv, "--runs", 2001);
    unsigned random_runs = judgement_option(argc, argv, "--random-runs", 201);
    unsigned seed = judgement_option(argc, argv, "--seed", 1);
    char figures[JUDGEMENT_FIGURES_BYTES] = "";
    double worst[2] = { 0, 0 }; /* share of the bar: as in nulls, and one to a board */
    printf(
        "reviewed disagreements until promotion, median of %u runs (random review: all labels)\n\n"
        "%-28s%12s%12s%12s\n",
        runs, "challenger", "1st", "10th", "100th");
    for (size_t i = 0; i < TL_COUNT_OF(KINDS); i++) {
        const kind *k = &KINDS[i];
        bool random = k->propensity < 1;
        printf("%-28s", k->name);
        for (size_t n = 0; n < TL_COUNT_OF(NUMBERS); n++) {
            double reviewed, labels;
            measure(k, NUMBERS[n], random ? random_runs : runs, seed, &reviewed, &labels);
            double value = random ? labels : reviewed;
            char text[32], name[48];
            snprintf(text, sizeof text, k->bar[n] > 0 ? "%.0f (%.0f)" : "%.0f", value, k->bar[n]);
            printf("%12s", text);
            fflush(stdout);
            snprintf(name, sizeof name, "%s_%u_%s", k->name, NUMBERS[n],
                     random ? "labels" : "disagreements");
            judgement_figure(figures, name, "", value);
            if (k->bar[n] > 0)
                worst[k->cluster == 1] = fmax(worst[k->cluster == 1], value / k->bar[n]);
        }
        printf("\n");
    }
    printf("(the bar in brackets; one to a board uses %.2f of it at most)\n", worst[1]);
    judgement_figure(figures, "single_share_of_bar", "", worst[1]);
    judgement_last_line("power", figures, worst[0], 1, worst[0] <= 1);
    return 0;
}

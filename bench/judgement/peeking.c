/* peeking - looking after every label, and promoting what is no better.
 *
 * Champions and challengers of equal expected cost that disagree on 2 % of the items, each toss of a
 * fair coin (or a mean gain of exactly the least effect, .0005), 5,000 reviewed disagreements, looked at
 * after every one. The gate at alpha .05 with a first challenger; beside it, on the same series:
 *   fixed sample    a one-sided z-test at 5 % of the paired differences, looked at each time
 *   intervals       95 % intervals (Wilson) of both error rates that do not overlap
 *   canary          from 50 reviewed disagreements on, a rate of wrong calls 10 % lower
 * For the last two, 1 % of the items are errors of both.
 *
 * usage: peeking [--series N] [--disagreements N] [--seed N]
 * quick: --series 100
 */
#include <stdio.h>

#include "bench/judgement/lib/judgement.h"
#include "gate/test/series.h"
#include "stats/interval.h"

enum { RULES = 4, GATE = 0 };
static const char *const RULE_NAMES[RULES] = { "gate", "fixed_sample", "intervals", "canary" };
static const double DISAGREE = 0.02, BOTH_WRONG = 0.01;

typedef struct tally {
    double items, wins, losses;
} tally;

static bool fixed_sample(const tally *t, double effect)
{
    double mean = t->wins - t->losses - effect * t->items;
    double variance = t->wins + t->losses;
    return variance >= 10 && mean >= 1.6448536269514722 * sqrt(variance);
}

static bool intervals_apart(const tally *t, double effect)
{
    uint64_t items = (uint64_t)t->items;
    double both = BOTH_WRONG * t->items;
    tl_interval champion = tl_interval_wilson((uint64_t)(both + t->wins), items, 0.95);
    tl_interval challenger = tl_interval_wilson((uint64_t)(both + t->losses), items, 0.95);
    return challenger.high < champion.low - effect;
}

static bool canary(const tally *t, double effect)
{
    double both = BOTH_WRONG * t->items;
    return t->wins + t->losses >= 50 &&
           both + t->losses <= 0.9 * (both + t->wins) - effect * t->items;
}

typedef struct walk {
    tl_gate *gate;
    tl_rng rng;
    uint64_t position;
    double effect; /* of the mean gain */
} walk;

static void add(walk *w, bool agreed, bool right)
{
    tl_gate_item item = { .position = ++w->position,
                          .time_us = (int64_t)w->position * 7000,
                          .flagged = false,
                          .drawn = !agreed,
                          .propensity = 1,
                          .shadow_count = 1 };
    item.shadow[0] = (tl_gate_call){ SERIES_SHADOW, !agreed };
    TL_ASSERT(tl_gate_item_add(w->gate, &item, NULL) == TL_OK);
    if (!agreed) tl_gate_label(w->gate, w->position, right, 1);
}

/* One series; promoted[rule] is set where it ever says so. The gate's part ends there; the others
 * are looked at to the end. */
static void go(walk *w, unsigned disagreements, bool promoted[RULES])
{
    tally t = { 0, 0, 0 };
    double win = 0.5 + w->effect / DISAGREE / 2;
    for (unsigned n = 0; n < disagreements; n++) {
        unsigned agreed = (unsigned)(log(1 - tl_rng_unit(&w->rng)) / log(1 - DISAGREE));
        bool right = series_toss(&w->rng, win);
        t.items += agreed + 1;
        if (right)
            t.wins++;
        else
            t.losses++;
        promoted[1] = promoted[1] || fixed_sample(&t, w->effect);
        promoted[2] = promoted[2] || intervals_apart(&t, w->effect);
        promoted[3] = promoted[3] || canary(&t, w->effect);
        if (promoted[GATE]) continue;
        for (unsigned i = 0; i < agreed; i++) add(w, true, false);
        add(w, false, right);
        tl_gate_verdict verdict;
        promoted[GATE] = tl_gate_take_verdict(w->gate, &verdict);
    }
}

static void run(const char *name, double effect, unsigned count, unsigned disagreements,
                uint64_t seed, unsigned hits[RULES])
{
    tl_gate_policy policy = tl_gate_policy_default();
    for (unsigned i = 0; i < count; i++) {
        walk w = { .effect = effect };
        policy.effect = effect;
        tl_rng_seed(&w.rng, seed, i);
        TL_ASSERT(tl_gate_create(&policy, &w.gate, NULL) == TL_OK);
        TL_ASSERT(tl_gate_watch(w.gate, SERIES_SHADOW, TL_GATE_BETTER, 0, NULL) == TL_OK);
        bool promoted[RULES] = { false };
        go(&w, disagreements, promoted);
        for (unsigned r = 0; r < RULES; r++) hits[r] += promoted[r];
        tl_gate_destroy(&w.gate);
        judgement_progress(name, i + 1, count);
    }
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    unsigned count = judgement_option(argc, argv, "--series", 10000);
    unsigned disagreements = judgement_option(argc, argv, "--disagreements", 5000);
    unsigned seed = judgement_option(argc, argv, "--seed", 1);
    static const char *const names[] = { "equal", "least_effect" };
    static const double effects[] = { 0, 0.0005 };
    char figures[JUDGEMENT_FIGURES_BYTES] = "";
    double worst = 0, bar = 0.05 + 2 * sqrt(0.05 * 0.95 / count);
    printf("share of %u series with any false promotion [95 %% interval], %u disagreements\n\n"
           "%-14s",
           count, disagreements, "");
    for (unsigned r = 0; r < RULES; r++) printf("%-26s", RULE_NAMES[r]);
    printf("\n");
    for (unsigned k = 0; k < 2; k++) {
        unsigned hits[RULES] = { 0 };
        run(names[k], effects[k], count, disagreements, seed + k, hits);
        printf("%-14s", names[k]);
        for (unsigned r = 0; r < RULES; r++) {
            char text[JUDGEMENT_SHARE_BYTES], suffix[32];
            printf("%-26s", judgement_share(hits[r], count, text));
            snprintf(suffix, sizeof suffix, "_%s", RULE_NAMES[r]);
            judgement_figure(figures, names[k], suffix, (double)hits[r] / count);
        }
        printf("\n");
        worst = fmax(worst, (double)hits[GATE] / count);
    }
    judgement_figure(figures, "series", "", count);
    judgement_last_line("peeking", figures, worst, bar, worst <= bar);
    return 0;
}

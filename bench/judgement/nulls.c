/* nulls - loops with hundreds of challengers that are no better, and what is promoted all the same.
 *
 * Each loop has 500 challengers of equal expected cost with 2,000 disagreements each, five to a board
 * (correlation .3), looked at after every board, all on one gate at alpha .05. Costs of a miss and
 * of a false alarm 1 to 1 and 1 to 0.1 (a challenger that flags more); labels clean, with 10 %
 * symmetric noise, and with 10 % from one hostile source that sees the truth first and answers, from
 * the start on, wherever a lie helps the challenger, as long as its labels are taken. Beside it the
 * same gate without unit, margin and cap. A loop is over at its first false promotion.
 *
 * usage: nulls [--loops N] [--challengers N] [--disagreements N] [--seed N] [--plain-loops N]
 * quick: --loops 3 --plain-loops 3
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/judgement/lib/judgement.h"
#include "gate/test/series.h"

typedef struct setting {
    unsigned loops, plain_loops, challengers, disagreements;
    uint64_t seed;
} setting;

typedef struct kind {
    const char *name;
    double cost_false_alarm;
    bool noise, hostile;
} kind;

static const kind KINDS[] = {
    { "equal_clean", 1, false, false },    { "equal_noise", 1, true, false },
    { "equal_hostile", 1, false, true },   { "unequal_clean", 0.1, false, false },
    { "unequal_noise", 0.1, true, false }, { "unequal_hostile", 0.1, false, true },
};

static series series_of(const setting *s, const kind *k, bool plain)
{
    series of = { .policy = tl_gate_policy_default(),
                  .by_board = !plain,
                  .cluster = 5,
                  .correlation = 0.3,
                  .flags_only = k->cost_false_alarm < 1,
                  .noise = k->noise ? 0.1 : 0,
                  .hostile = k->hostile ? s->disagreements / 10 : 0,
                  .sources = 40,
                  .propensity = 1,
                  .limit = s->disagreements };
    of.policy.effect = 0; /* exactly at the edge: a challenger that is no better, and no worse */
    of.policy.cost_false_alarm = k->cost_false_alarm;
    of.policy.noise = k->noise && !plain ? 0.1 : 0;
    of.policy.hostile = k->hostile && !plain ? 0.1 : 0;
    of.win_flags = series_even(&of.policy);
    of.win_passes = 1 - of.win_flags;
    return of;
}

/* Whether any of the loop's challengers is promoted. */
static bool run_loop(const setting *s, const series *of, unsigned loop)
{
    tl_gate *gate = NULL;
    TL_ASSERT(tl_gate_create(&of->policy, &gate, NULL) == TL_OK);
    tl_rng rng;
    tl_rng_seed(&rng, s->seed, loop);
    uint64_t position = 0, unit = 0;
    bool promoted = false;
    for (unsigned i = 0; i < s->challengers && !promoted; i++)
        promoted = series_go(of, gate, &rng, &position, &unit).promoted;
    tl_gate_destroy(&gate);
    return promoted;
}

static unsigned run_loops(const setting *s, const kind *k, bool plain)
{
    series of = series_of(s, k, plain);
    unsigned loops = plain ? s->plain_loops : s->loops, promoted = 0;
    for (unsigned i = 0; i < loops; i++) {
        promoted += run_loop(s, &of, i);
        judgement_progress(k->name, i + 1, loops);
    }
    return promoted;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    setting s = { .loops = judgement_option(argc, argv, "--loops", 1000),
                  .challengers = judgement_option(argc, argv, "--challengers", 500),
                  .disagreements = judgement_option(argc, argv, "--disagreements", 2000),
                  .seed = judgement_option(argc, argv, "--seed", 1) };
    s.plain_loops = judgement_option(argc, argv, "--plain-loops", s.loops);
    printf("%u challengers of equal cost a loop, %u disagreements each, five to a board; share of\n"
           "loops with any false promotion [95 %% interval]\n\n%-16s  %-26s  %s\n",
           s.challengers, s.disagreements, "labels", "the gate", "without unit, margin and cap");
    double worst = 0;
    char figures[JUDGEMENT_FIGURES_BYTES] = "";
    for (size_t i = 0; i < TL_COUNT_OF(KINDS); i++) {
        unsigned ours = run_loops(&s, &KINDS[i], false), plain = run_loops(&s, &KINDS[i], true);
        char text[2][JUDGEMENT_SHARE_BYTES];
        printf("%-16s  %-26s  %s\n", KINDS[i].name, judgement_share(ours, s.loops, text[0]),
               judgement_share(plain, s.plain_loops, text[1]));
        judgement_figure(figures, KINDS[i].name, "", (double)ours / s.loops);
        judgement_figure(figures, KINDS[i].name, "_plain", (double)plain / s.plain_loops);
        worst = fmax(worst, (double)ours / s.loops);
    }
    judgement_figure(figures, "loops", "", s.loops);
    judgement_last_line("nulls", figures, worst, 0.05, worst <= 0.05);
    return 0;
}

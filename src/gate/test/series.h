/* series.h - simulated challengers, driven through a gate: for its tests and for bench/judgement.
 * Layer: gate, tests and benchmarks only. Everything follows from the seed.
 *
 * A challenger is a sequence of boards. On a board there are `cluster` disagreements, outcomes
 * correlated, and between two of them `gap` items on average about which both agree. The verdict on a
 * disagreement is true, or wrong by noise, or given by one hostile source that says what helps the
 * challenger wherever the truth does not, as long as its labels are taken and it has any left. */
#ifndef TL_GATE_TEST_SERIES_H
#define TL_GATE_TEST_SERIES_H

#include <math.h>

#include "base/rng.h"
#include "gate/gate.h"

typedef struct series {
    tl_gate_policy policy;
    bool by_board;      /* else every item is a unit */
    unsigned cluster;   /* disagreements of one board */
    double correlation; /* of two outcomes of one board */
    double gap;         /* mean number of agreed items before each disagreement; 0: none */
    double win_flags,
        win_passes;    /* chance that the challenger is right where it flags, or passes */
    bool flags_only;   /* the challenger flags at every disagreement, else at every other one */
    double noise;      /* labels wrong at random */
    unsigned hostile;  /* labels that the hostile source may give */
    unsigned sources;  /* honest ones, who answer in turn */
    double propensity; /* of review, of every item; 1: all */
    unsigned limit;    /* disagreements at most */
} series;

typedef struct series_result {
    bool promoted;
    uint64_t reviewed; /* reviewed disagreements in the evidence of the verdict */
    uint64_t labels;   /* items drawn until then, agreed ones too */
} series_result;

enum { SERIES_HOSTILE = 999, SERIES_SHADOW = 1 };

/* State of one run. */
typedef struct series_run {
    const series *of;
    tl_gate *gate;
    tl_rng *rng;
    uint64_t *position; /* goes on from challenger to challenger */
    uint64_t unit;
    unsigned hostile_left, source;
    bool flags;
    series_result result;
} series_run;

/* The chance of being right where it flags at which a challenger's expected cost is equal; where it
 * passes it is the complement. */
static inline double series_even(const tl_gate_policy *policy)
{
    return policy->cost_false_alarm / (policy->cost_false_alarm + policy->cost_miss);
}

static inline bool series_toss(tl_rng *rng, double chance)
{
    return tl_rng_unit(rng) < chance;
}

static inline bool series_drawn(series_run *run)
{
    return run->of->propensity >= 1 || series_toss(run->rng, run->of->propensity);
}

static inline uint64_t series_item(series_run *run, bool flagged, bool shadow_flagged, bool drawn)
{
    tl_gate_item item = { .position = ++*run->position,
                          .time_us = (int64_t)run->unit * 6000000,
                          .unit = run->of->by_board ? run->unit : 0,
                          .flagged = flagged,
                          .drawn = drawn,
                          .propensity = run->of->propensity,
                          .shadow_count = 1 };
    item.shadow[0] = (tl_gate_call){ SERIES_SHADOW, shadow_flagged };
    TL_ASSERT(tl_gate_item_add(run->gate, &item, NULL) == TL_OK);
    run->result.labels += drawn;
    return item.position;
}

/* A new board, six seconds later: the one before is over. */
static inline void series_unit(series_run *run)
{
    run->unit++;
}

/* On boards of their own, at most 64 on one. */
static inline void series_agreed(series_run *run)
{
    if (run->of->gap <= 0) return;
    double stay = run->of->gap / (1 + run->of->gap);
    unsigned count = (unsigned)(log(1 - tl_rng_unit(run->rng)) / log(stay));
    for (unsigned i = 0; i < count; i++) {
        if (i % 64 == 0) series_unit(run);
        series_item(run, false, false, series_drawn(run));
    }
}

/* The hostile one where it helps, else the next of the honest ones in turn. */
static inline void series_label(series_run *run, uint64_t position, bool right)
{
    if (!right && run->hostile_left > 0 &&
        tl_gate_label(run->gate, position, run->flags, SERIES_HOSTILE)) {
        run->hostile_left--;
        return;
    }
    if (run->of->noise > 0 && series_toss(run->rng, run->of->noise)) right = !right;
    bool defect = right == run->flags;
    for (unsigned tries = 0; tries < run->of->sources; tries++) {
        run->source = (run->source + 1) % run->of->sources;
        if (tl_gate_label(run->gate, position, defect, 1 + run->source)) return;
    }
}

static inline void series_board(series_run *run)
{
    const series *of = run->of;
    for (unsigned i = 0; i < of->cluster; i++) series_agreed(run);
    series_unit(run);
    run->flags = of->flags_only || !run->flags; /* the same way on one board: it has one cause */
    double win = run->flags ? of->win_flags : of->win_passes, copies = sqrt(of->correlation);
    bool common = series_toss(run->rng, win);
    for (unsigned i = 0; i < of->cluster; i++) {
        bool copied = copies > 0 && series_toss(run->rng, copies);
        bool right = copied ? common : series_toss(run->rng, win);
        bool drawn = series_drawn(run);
        uint64_t position = series_item(run, !run->flags, run->flags, drawn);
        if (drawn) series_label(run, position, right);
    }
}

static inline void series_look(series_run *run)
{
    tl_gate_verdict verdict;
    if (!tl_gate_take_verdict(run->gate, &verdict) || verdict.kind != TL_GATE_PROMOTE) return;
    run->result.promoted = true;
    run->result.reviewed = verdict.counts.disagreements;
}

/* One challenger on a gate that watches nothing else; it is dropped in the end. *position is the last
 * one used, *unit the last board. */
static inline series_result series_go(const series *of, tl_gate *gate, tl_rng *rng,
                                      uint64_t *position, uint64_t *unit)
{
    series_run run = { .of = of,
                       .gate = gate,
                       .rng = rng,
                       .position = position,
                       .unit = *unit,
                       .hostile_left = of->hostile };
    run.source = (unsigned)tl_rng_below(rng, of->sources);
    TL_ASSERT(tl_gate_watch(gate, SERIES_SHADOW, TL_GATE_BETTER, *position, NULL) == TL_OK);
    for (unsigned n = 0; n < of->limit && !run.result.promoted; n += of->cluster) {
        series_board(&run);
        series_look(&run);
    }
    series_unit(&run);
    if (!run.result.promoted) {
        series_item(&run, false, false, false); /* the last board is over */
        series_look(&run);
    }
    tl_gate_drop(gate, SERIES_SHADOW);
    *unit = run.unit;
    return run.result;
}

#endif

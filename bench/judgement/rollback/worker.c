/* The gate's side of rollback.py: labels from a change until the alarm, one line a run.
 *
 * usage: worker PROMISED BEFORE AFTER BURST AUDIT LEVEL UNITS RUNS BURN LIMIT SEED
 *   rates of errors promised, before the change and after it; errors come BURST at a time, on boards
 *   of ten items when above 1; AUDIT is the share of items that is reviewed; LEVEL items come between
 *   alarms without a cause; UNITS 1: a board is one unit of evidence, 0: an item is; BURN items before
 *   the change; a run ends LIMIT items after it. Prints labels, items, and 1 where there was an alarm. */
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "gate/gate.h"

enum { BOARD_ITEMS = 10 };

typedef struct setting {
    double promised, before, after;
    unsigned burst;
    double audit;
    unsigned level;
    bool units;
    unsigned runs, burn, limit, seed;
} setting;

typedef struct run {
    const setting *of;
    tl_gate *gate;
    tl_rng rng;
    uint64_t position, labels, items;
    unsigned errors_left; /* on the board */
} run;

static bool is_error(run *r, double rate)
{
    unsigned burst = r->of->burst;
    if (burst == 1) return tl_rng_unit(&r->rng) < rate;
    if (r->position % BOARD_ITEMS == 0)
        r->errors_left = tl_rng_unit(&r->rng) < rate * BOARD_ITEMS / burst ? burst : 0;
    if (r->errors_left == 0) return false;
    r->errors_left--;
    return true;
}

static void step(run *r, double rate)
{
    const setting *of = r->of;
    bool wrong = is_error(r, rate);
    bool drawn = of->audit >= 1 || tl_rng_unit(&r->rng) < of->audit;
    tl_gate_item item = { .time_us = (int64_t)((double)r->position * (86400e6 / of->level)),
                          .unit = of->units && of->burst > 1 ? r->position / BOARD_ITEMS + 1 : 0,
                          .drawn = drawn,
                          .propensity = of->audit };
    item.position = ++r->position;
    TL_ASSERT(tl_gate_item_add(r->gate, &item, NULL) == TL_OK);
    if (drawn) tl_gate_label(r->gate, item.position, wrong, 1);
    r->labels += drawn;
    r->items++;
}

static void go(const setting *of, unsigned number)
{
    run r = { .of = of };
    tl_gate_policy policy = tl_gate_policy_default();
    policy.promised_error = of->promised;
    policy.alarm_days = 1;
    tl_gate_verdict verdict;
    TL_ASSERT(tl_gate_create(&policy, &r.gate, NULL) == TL_OK);
    tl_rng_seed(&r.rng, of->seed, number);
    for (unsigned i = 0; i < of->burn; i++) {
        step(&r, of->before);
        (void)tl_gate_take_verdict(r.gate, &verdict);
    }
    r.labels = r.items = 0;
    bool alarm = false;
    while (r.items < of->limit && !alarm) {
        step(&r, of->after);
        alarm = tl_gate_take_verdict(r.gate, &verdict);
    }
    printf("%llu %llu %d\n", (unsigned long long)r.labels, (unsigned long long)r.items, alarm);
    tl_gate_destroy(&r.gate);
}

int main(int argc, char **argv)
{
    if (argc != 12) {
        fprintf(stderr, "run bench/judgement/rollback.py\n");
        return 2;
    }
    setting of = { .promised = atof(argv[1]),
                   .before = atof(argv[2]),
                   .after = atof(argv[3]),
                   .burst = (unsigned)atoi(argv[4]),
                   .audit = atof(argv[5]),
                   .level = (unsigned)atoi(argv[6]),
                   .units = atoi(argv[7]) != 0,
                   .runs = (unsigned)atoi(argv[8]),
                   .burn = (unsigned)atoi(argv[9]),
                   .limit = (unsigned)atoi(argv[10]),
                   .seed = (unsigned)atoi(argv[11]) };
    for (unsigned i = 0; i < of.runs; i++) go(&of, i);
    return 0;
}

/* ledger.h - everything that was acknowledged on one journal, and whether it is there. */
#ifndef TL_TESTS_LEDGER_H
#define TL_TESTS_LEDGER_H

#include "base/rng.h"
#include "tests/kill/kill.h"

#include <stddef.h>

typedef struct kill_counts {
    uint64_t kills, kills_while_opening, journals, reports;
    uint64_t predictions, feedback, digests, retries, retries_unanswered, restarts;
    uint64_t records, judgements, checkpoints; /* walked and done again by the checker */
} kill_counts;

typedef struct ledger {
    const char *path;
    bool images;
    kill_report *reports;         /* [count] in the order in which they came */
    size_t count, capacity, life; /* `life`: where those of the newest life begin */
    bool opened;                  /* the loop was open once: it must be there */
    kill_counts *counts;
    char trouble[400]; /* the first thing that is wrong; empty: nothing */
} ledger;

void ledger_begin(ledger *l, const char *path, bool images, kill_counts *counts);
void ledger_end(ledger *l);
void ledger_take(ledger *l, const kill_report *report);

/* Look at the journal as the kill left it. */
void ledger_check(ledger *l);
/* Open it again, in a way drawn from `rng`, ask again what was asked, and look. */
void ledger_restart(ledger *l, tl_rng *rng);

#endif

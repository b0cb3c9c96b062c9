/* line.h - a line that drives a gate in tests: items with one challenger, labels at once.
 * Layer: gate, tests only. */
#ifndef TL_GATE_TEST_LINE_H
#define TL_GATE_TEST_LINE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "gate/gate.h"

enum { LINE_SHADOW = 7, LINE_SOURCES = 40 };

typedef struct line {
    tl_gate *gate;
    uint64_t position;
    int64_t now_us, step_us;
    uint64_t unit, site; /* of the next item */
    tl_rng rng;
} line;

static inline void line_begin(line *l, const tl_gate_policy *policy, unsigned watch, uint64_t seed)
{
    *l = (line){ .step_us = 1000000 };
    tl_rng_seed(&l->rng, seed, 0);
    assert_int_equal(tl_gate_create(policy, &l->gate, NULL), TL_OK);
    if (watch != 0) assert_int_equal(tl_gate_watch(l->gate, LINE_SHADOW, watch, 0, NULL), TL_OK);
}

static inline void line_end(line *l)
{
    tl_gate_destroy(&l->gate);
}

/* Returns its position. */
static inline uint64_t line_item(line *l, bool flagged, bool shadow_flagged, bool drawn)
{
    tl_gate_item item = { .position = ++l->position,
                          .time_us = l->now_us += l->step_us,
                          .unit = l->unit,
                          .site = l->site,
                          .flagged = flagged,
                          .drawn = drawn,
                          .propensity = 1,
                          .shadow = { { LINE_SHADOW, shadow_flagged } },
                          .shadow_count = 1 };
    assert_int_equal(tl_gate_item_add(l->gate, &item, NULL), TL_OK);
    return l->position;
}

static inline void line_agreed(line *l, unsigned count)
{
    while (count-- > 0) line_item(l, false, false, false);
}

/* One disagreement, labelled at once by one of many; the shadow flags, or what answers does. */
static inline void line_disagreement(line *l, bool shadow_flags, bool shadow_right)
{
    uint64_t position = line_item(l, !shadow_flags, shadow_flags, true);
    bool defect = shadow_flags == shadow_right;
    tl_gate_label(l->gate, position, defect, 1 + position % LINE_SOURCES);
}

static inline tl_gate_standing line_standing(const line *l)
{
    tl_gate_standing standing;
    assert_true(tl_gate_describe(l->gate, LINE_SHADOW, &standing));
    return standing;
}

/* Takes the next verdict, which must be of that kind. */
static inline tl_gate_verdict line_verdict(line *l, tl_gate_kind kind)
{
    tl_gate_verdict verdict;
    assert_true(tl_gate_take_verdict(l->gate, &verdict));
    assert_int_equal(verdict.kind, kind);
    return verdict;
}

static inline void line_no_verdict(line *l)
{
    tl_gate_verdict verdict;
    assert_false(tl_gate_take_verdict(l->gate, &verdict));
}

#endif

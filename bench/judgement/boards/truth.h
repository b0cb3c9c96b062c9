/* truth.h - what a policy truly costs: asked about items whose labels the loop never learns from.
 * One owner thread. */
#ifndef BENCH_BOARDS_TRUTH_H
#define BENCH_BOARDS_TRUTH_H

#include "bench/judgement/boards/line.h"
#include "loop/threads/runtime.h"

/* Two policies on the same items. */
typedef struct boards_pair {
    uint64_t items, came_errors, replaced_errors;
    uint64_t better, worse; /* items on which only one of them is right: what came, what went */
} boards_pair;

/* The share by which errors fell, and its 95 % interval (normal; 0 when they agree). */
double boards_pair_gain(const boards_pair *pair, double *low, double *high);

typedef struct boards_truth {
    const boards_line *line;
    const tl_loop *loop;
    tl_plan *plan;
    uint8_t *pixels;
    bool *said[2]; /* of the items asked last */
    boards_item *asked;
    size_t *when;
} boards_truth;

tl_status boards_truth_open(boards_truth *truth, const boards_line *line, const tl_loop *loop,
                            tl_error *err);
void boards_truth_close(boards_truth *truth);

/* `came` beside `replaced` after item number `from`: on the rest of the stream, and on the boards
 * that are kept out as they would look then. */
tl_status boards_truth_compare(boards_truth *truth, const tl_model *came, const tl_model *replaced,
                               size_t from, boards_pair *rest, boards_pair *kept_out,
                               tl_error *err);

/* What answered beside `replaced` on the items after number `from` up to `until`; `wrong` [items of the
 * stream]: what answered was. */
tl_status boards_truth_since(boards_truth *truth, const uint8_t *wrong, const tl_model *replaced,
                             size_t from, size_t until, boards_pair *out, tl_error *err);

#endif

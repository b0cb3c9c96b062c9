/* run.h - one story of boards through a whole loop with its gate, labels only where a person looked.
 * One owner thread. */
#ifndef BENCH_BOARDS_RUN_H
#define BENCH_BOARDS_RUN_H

#include "bench/judgement/boards/truth.h"
#include "cli/data/stream.h"

enum {
    BOARDS_WINDOW = 1000, /* items of a point of the curve */
    BOARDS_POINT_MAX = 64,
    BOARDS_CHANGE_MAX = 128,
    BOARDS_SOURCES = 11
};

/* Something that the gate put into service, proved, or took back. */
typedef struct boards_change {
    char kind[16]; /* "promoted", "certified", "taken_back" */
    size_t item;
    uint64_t version;
    boards_pair rest, kept_out; /* what answers then beside what it replaced, or was held against */
    boards_pair
        claim; /* of a certificate: what answered beside the baseline, since it was frozen */
    char words[256];
} boards_change;

typedef struct boards_result {
    uint64_t items, labels, reviewed, volunteered, lies, alarms;
    uint64_t challengers, better_challengers;      /* truly so when they begin, on the rest */
    tl_stream_counts all, point[BOARDS_POINT_MAX]; /* true, of BOARDS_WINDOW items each */
    uint64_t asked[BOARDS_POINT_MAX];              /* of these, put before people */
    size_t point_count;
    boards_change change[BOARDS_CHANGE_MAX];
    size_t change_count;
    tl_loop_state state; /* in the end */
    /* From the story's change on; labels UINT64_MAX: never. */
    uint64_t found_labels, found_class_labels; /* a new class: 16 of its newest 20 are flagged */
    double first_flagged;                      /* share of its first 20 that is */
    double errors_before, errors_after; /* share wrong: of the 1,000 before and the 300 after it */
    uint64_t
        recovered_labels; /* labels until a window of 300 is at most 1.5 times as bad as before */
    double cpu_s, wall_s;
} boards_result;

typedef struct boards_options {
    const char *data;
    boards_story story;
    size_t limit; /* items; 0: all */
    uint64_t seed;
} boards_options;

tl_status boards_run(const boards_options *options, boards_result *out, tl_error *err);

#endif

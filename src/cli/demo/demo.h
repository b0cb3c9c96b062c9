/* demo.h - the parts of `tightloop demo`: what was measured, and how it is shown. Layer: cli. */
#ifndef TL_CLI_DEMO_H
#define TL_CLI_DEMO_H

#include "base/text.h"
#include "sim/factory.h"

/* Boards of one line or of all, as the simulator knows them. */
typedef struct tl_demo_score {
    uint64_t boards, defects, flagged, hits, right; /* right: flagged exactly when defective */
    tl_share precision, recall, decisions;          /* 95 % intervals; decisions: right of boards */
} tl_demo_score;

enum { TL_DEMO_CURVE_MAX = 64, TL_DEMO_VERDICT_MAX = 64 };

typedef struct tl_demo_point {
    double at_s;
    uint64_t labels;
    tl_demo_score score; /* of the boards since the point before */
} tl_demo_point;

typedef struct tl_demo_picture {
    uint32_t line_count;
    double seconds, elapsed_s, boards_per_s, window_s;
    tl_demo_score lines[TL_FACTORY_LINE_COUNT_MAX];
    tl_demo_score all;
    tl_demo_score start;     /* of the first seconds, all lines */
    uint64_t boards, failed; /* since the start, all lines */
    char failure[TL_ERROR_TEXT_BYTES];
    tl_operators_counts people;
    double answer_ms_p50, answer_ms_p99; /* as the lines saw it, over HTTP */
    tl_loop_state loop;
    tl_journal_state journal;
    double review_share; /* of the boards in the last seconds */
    tl_demo_point curve[TL_DEMO_CURVE_MAX];
    size_t curve_count;
    tl_verdict_info verdicts[TL_DEMO_VERDICT_MAX]; /* at the end: the newest, newest first */
    size_t verdict_count;
} tl_demo_picture;

/* Intervals from the counts. */
void tl_demo_score_finish(tl_demo_score *score);

/* Better at the end than at the start: the 95 % intervals of right decisions do not overlap. */
bool tl_demo_improved(const tl_demo_picture *picture);

/* The live table, `rows` lines of the plant at most; escape sequences only with `colours`. */
void tl_demo_table(const tl_demo_picture *picture, size_t rows, bool colours, tl_text *out);
/* One line for logs. */
void tl_demo_line(const tl_demo_picture *picture, tl_text *out);
/* What happened, in plain words. `kept`: folder of the journal, or NULL when it is gone. */
void tl_demo_story(const tl_demo_picture *picture, const char *kept, size_t columns, tl_text *out);
void tl_demo_json(const tl_demo_picture *picture, tl_text *out);

#endif

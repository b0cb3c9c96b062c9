/* factory.h - a plant at work: lines that have each board inspected over HTTP at a steady rate, and
 * operators who verify what was put up for review. The truth is known here, so that precision and
 * recall can be told. Layer: sim. Each line is a thread with an HTTP client. */
#ifndef TL_SIM_FACTORY_H
#define TL_SIM_FACTORY_H

#include "sim/operator.h"

typedef struct tl_factory tl_factory;

enum { TL_FACTORY_LINE_COUNT_MAX = 512, TL_FACTORY_HISTORY = 2048 };

typedef struct tl_factory_options {
    tl_sim_plant plant;
    uint32_t line_count;         /* 1..TL_FACTORY_LINE_COUNT_MAX; default 8 */
    double boards_per_s;         /* a line; default 2.78 */
    tl_operators_options people; /* its `server` and `loop` are those of the lines, too */
} tl_factory_options;

/* Counts of boards of one line. */
typedef struct tl_factory_line {
    uint64_t boards;      /* inspected, all time */
    uint64_t failed;      /* not inspected: the server did not answer or refused */
    uint64_t window;      /* boards that the following counts are of: the newest ones */
    uint64_t defects;     /* truly defective */
    uint64_t flagged;     /* said to be */
    uint64_t hits;        /* both */
    uint64_t right_class; /* the class answered is the truth */
    uint64_t version;     /* that answered last */
} tl_factory_line;

tl_factory_options tl_factory_options_default(void);

/* Start the lines (spread over the period) and the operators. The strings of the options must
 * outlive the factory. Errors: TL_EINVAL, TL_ENOMEM. */
tl_status tl_factory_start(const tl_factory_options *options, tl_factory **out, tl_error *err);
/* Stop the lines, then the operators. NULL-safe; clears *factory. */
void tl_factory_stop(tl_factory **factory);

/* Of line `index`; `window` boards at most, and at most TL_FACTORY_HISTORY. */
void tl_factory_line_count(tl_factory *factory, uint32_t index, size_t window,
                           tl_factory_line *out);
void tl_factory_people_count(tl_factory *factory, tl_operators_counts *out);
/* Answers of the server as the lines saw them, milliseconds. */
void tl_factory_answer_ms(tl_factory *factory, double *p50, double *p99);
/* What a line was told last when an inspection failed; "" when none did. */
void tl_factory_last_failure(tl_factory *factory, char text[TL_ERROR_TEXT_BYTES]);

#endif

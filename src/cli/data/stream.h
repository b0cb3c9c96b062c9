/* stream.h - a labelled data set through a loop, item by item: each is predicted before its label
 * is learned. What `replay --data` and the benchmarks run. Layer: cli. One owner thread. */
#ifndef TL_CLI_STREAM_H
#define TL_CLI_STREAM_H

#include "cli/data/dataset.h"

/* Counts over some items; "defect" is every class but the first. */
typedef struct tl_stream_counts {
    uint64_t items, correct;                    /* all classes */
    uint64_t defects, flagged, flagged_defects; /* by the loop's threshold */
} tl_stream_counts;

double tl_stream_precision(const tl_stream_counts *counts); /* 0 when nothing was flagged */
double tl_stream_recall(const tl_stream_counts *counts);
double tl_stream_accuracy(const tl_stream_counts *counts);
/* Share of flags that would be false, and of defects that pass, per million items, if a share
 * `prevalence` of the items were defects. */
double tl_stream_false_rejects_ppm(const tl_stream_counts *counts, double prevalence);
double tl_stream_misses_ppm(const tl_stream_counts *counts, double prevalence);

typedef struct tl_stream_point {
    uint64_t labels;
    tl_stream_counts window; /* the last window_items items */
    tl_stream_counts judged; /* all held-out items, by the version of this moment */
    bool has_judged;
} tl_stream_point;

typedef struct tl_stream_options {
    const char *data, *order;
    const char *holdout;  /* another data set to judge on; NULL: the held-out items of `data` */
    const char *journal;  /* folder; must not exist, and is kept */
    uint64_t delay_items; /* a label comes so many items after its prediction */
    uint64_t limit_items; /* 0: all */
    uint64_t seed;
    uint32_t window_items;       /* default 1,000 */
    uint32_t judge_every_labels; /* 0: only at the end */
    uint32_t early_labels;       /* up to so many, judge_early_labels counts instead; default 0 */
    uint32_t judge_early_labels;
    uint32_t replay_per_label; /* 0: the loop's default */
    const char *model;         /* ONNX file; NULL: the small network */
    const char *normalisation; /* NULL: guessed by the model's name */
    uint32_t side;             /* images are scaled to side x side; 0: the model's, the data's */
    tl_learning learning;
    uint32_t campaign_labels; /* 0: the loop's default */
    double precision, recall; /* of "labels needed"; default .994 and .95 */
    uint32_t sustain_items;   /* and stays so for these; default 500 */
    void (*on_point)(void *context, const tl_stream_point *point); /* may be NULL */
    void (*on_progress)(void *context, uint64_t done, uint64_t total);
    void *context;
} tl_stream_options;

tl_stream_options tl_stream_options_default(void);

typedef struct tl_stream_result {
    uint64_t items, labels;
    uint64_t labels_needed; /* 0: not reached */
    tl_stream_counts all, window, judged;
    uint64_t lowest_from;    /* labels from which lowest_precision counts */
    double lowest_precision; /* of the judgements from then on; 1 when there were none */
    uint64_t lowest_at;
    uint64_t versions;
    double cpu_s; /* of the process, judging not counted */
    double wall_s;
} tl_stream_result;

/* Errors: those of the data set, the runtime and the loop. */
tl_status tl_stream_run(const tl_stream_options *options, tl_stream_result *out, tl_error *err);

#endif

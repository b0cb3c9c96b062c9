/* worker.h - what the engine's workers share: they load a network once, say that they are ready,
 * and then work in turns with a peer that is just as warm.
 *
 * A worker prints one line of JSON when it is ready, and one for each line that it reads: the line
 * is how many seconds the turn lasts (at least one run is made), the answer
 *     {"runs": N, "median_s": S, "min_s": S, "mean_s": S, "cpu_s": S}
 * of single runs, cpu_s of the whole process per run. It ends with its input. */
#ifndef TL_BENCH_ENGINE_WORKER_H
#define TL_BENCH_ENGINE_WORKER_H

#include "format/npy.h"
#include "graph/graph.h"

typedef struct worker_options {
    const char *model;  /* an ONNX file */
    const char *input;  /* .npy, [n, ...] as the file has it (NCHW), n at least the batch */
    const char *labels; /* .npy, [n] integers, or boxes [n, 6]: item, class, x1, y1, x2, y2 */
    const char *output; /* where the first results go, for the comparison; NULL: nowhere */
    uint32_t batch, threads;
    uint32_t height, width;    /* 0: the file's */
    bool frozen, bf16, deploy; /* deploy: a run makes new weights and answers with them */
} worker_options;

typedef struct worker_network {
    tl_graph *graph;
    float *flat;
} worker_network;

/* A .npy file; `array` points into `data`, which is malloc'ed. */
typedef struct worker_array {
    void *data;
    tl_npy array;
} worker_array;

tl_status worker_network_load(const worker_options *options, worker_network *out, tl_error *err);
void worker_network_close(worker_network *network);
tl_status worker_array_load(const char *path, worker_array *out, tl_error *err);
/* Items 0..batch-1 of `input` into the plan's first input: images become NHWC. */
tl_status worker_fill(const worker_options *options, const worker_network *network, tl_plan *plan,
                      tl_error *err);

/* One run, of what `context` is. */
typedef tl_status (*worker_run)(void *context, tl_error *err);
/* Some unmeasured runs, then turns until the input ends. `ready` is the first line. */
tl_status worker_turns(worker_run run, void *context, const char *ready, tl_error *err);

double worker_now_s(void);

tl_status worker_infer(const worker_options *options, tl_error *err);
tl_status worker_train(const worker_options *options, tl_error *err);

#endif

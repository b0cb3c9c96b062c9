/* optimizer.h - steps over a graph's flat parameter vector. Layer: learn. One owner thread.
 * Running statistics are never stepped. Elementwise throughout: bits do not depend on the machine
 * (AdamW uses correctly rounded square roots and divisions only). */
#ifndef TL_LEARN_OPTIMIZER_H
#define TL_LEARN_OPTIMIZER_H

#include "base/blob.h"
#include "graph/graph.h"

typedef enum tl_optimizer_kind { TL_OPTIMIZER_SGD, TL_OPTIMIZER_ADAMW } tl_optimizer_kind;

typedef struct tl_optimizer_options {
    tl_optimizer_kind kind;
    float momentum;        /* SGD, PyTorch's: m = momentum m + g, no dampening; default 0.9 */
    bool nesterov;         /* SGD: steps along g + momentum m; default true */
    float beta1, beta2;    /* AdamW; default 0.9, 0.999 */
    float epsilon;         /* AdamW; default 1e-8 */
    float weight_decay;    /* of TL_PARAM_WEIGHT only. SGD: added to the gradient; AdamW: decoupled.
                              Default 5e-4; of AdamW 1e-2 */
    float clip_norm;       /* gradients of larger norm are scaled down to it; 0 (default): never */
    float stage_factor;    /* learning rate of stage s is multiplied by stage_factor^s; default 1 */
    float backbone_factor; /* and, for s >= 1, by this; default 1 */
    uint32_t trained_stages; /* stages from this one on stay as they are; 0 (default): all learn */
} tl_optimizer_options;

tl_optimizer_options tl_optimizer_options_default(tl_optimizer_kind kind);

typedef struct tl_optimizer tl_optimizer;

/* Retains `graph`. Errors: TL_EINVAL, TL_ENOMEM. */
tl_status tl_optimizer_create(tl_graph *graph, const tl_optimizer_options *options,
                              tl_optimizer **out, tl_error *err);
void tl_optimizer_destroy(tl_optimizer **optimizer);
/* One step of `flat` against `grad` (which clipping may scale), both [tl_graph_float_count]; shared
 * out to the threads of `plan`, which trains, with the same bits for any number of them. NULL: the
 * caller's thread alone. TL_EINVAL: the gradient is not finite; then nothing moved. */
tl_status tl_optimizer_step(tl_optimizer *optimizer, const tl_plan *plan, float *flat, float *grad,
                            double rate, tl_error *err);
void tl_optimizer_reset(tl_optimizer *optimizer); /* forget momenta */
tl_status tl_optimizer_save(const tl_optimizer *optimizer, tl_blob *blob, tl_error *err);
/* Into an optimiser of the same graph and kind. TL_ECORRUPT, TL_EVERSION; then unchanged. */
tl_status tl_optimizer_load(tl_optimizer *optimizer, tl_blob_reader *reader, tl_error *err);

/* ---- Schedules ------------------------------------------------------------------------------- */

typedef enum tl_schedule_kind {
    TL_SCHEDULE_POWER, /* base / (1 + t / scale)^power: never ends; for continuous learning */
    TL_SCHEDULE_COSINE /* half a cosine from base to base * floor at t = scale; then stays */
} tl_schedule_kind;

typedef struct tl_schedule {
    tl_schedule_kind kind;
    double base;
    double warmup; /* t below it: times (t + 1) / warmup */
    double scale, power, floor;
} tl_schedule;

/* The learning rate at t = 0, 1, 2, ... (labels or steps). */
double tl_schedule_rate(const tl_schedule *schedule, double t);

/* ---- Averages of weights --------------------------------------------------------------------- */

/* average += (1 - d) (flat - average) with d = min(decay, (1 + t) / (10 + t)), t the number of
 * updates before: warm start. Running statistics are averaged like everything else. */
void tl_average_update(float *average, const float *flat, size_t count, double decay, uint64_t t);
/* out = from + share (to - from), each [count]: between two sets of weights, a fine-tune keeps more
 * of what it knew (Wortsman et al., "Robust Fine-tuning of Zero-shot Models", 2021). */
void tl_interpolate(const float *from, const float *to, size_t count, double share, float *out);

#endif

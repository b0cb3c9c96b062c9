/* plan_internal.h - what the parts of a plan share. Layer: graph.
 *
 * Time is counted in steps: step s runs forward at time s, and in a plan of `count` steps backward
 * at time 2 * count - 1 - s. Every buffer (tensor, gradient, what an operator saves, scratch) gets
 * the times between which it is needed, and layout.c gives it a place in one arena.
 *
 * Inference compiles for one item and runs items one after the other: results then cannot depend on
 * the batch, an item's activations stay in the core's cache, and the arena is small. Only the last
 * steps, where weights outweigh activations, run for a group of items together, so that the weights
 * are read once. Inputs, outputs and features lie in [batch_max] arrays. With T threads, a group is
 * shared out to the plan and T - 1 helpers, which have an arena of their own; the steps of a single
 * item, and of a group together, are cut into parts (infer.c). At high resolution several steps run
 * for some rows at a time (strips.c).
 *
 * Training with T threads: the plan holds these arrays, and T replicas of itself, each for its share
 * of the items, that read and write their part of them (replicas.c). */
#ifndef TL_GRAPH_PLAN_PLAN_INTERNAL_H
#define TL_GRAPH_PLAN_PLAN_INTERNAL_H

#include "graph/internal.h"
#include "tensor/team.h"

enum { TL_NO_BUFFER = -1 };

typedef struct plan_step {
    const tl_node *node;
    tl_op_state state;
    tl_op_run forward, backward;
    size_t x_stride[TL_OP_INPUT_MAX], y_stride;      /* floats from item to item; 0: reused */
    bool x_outside[TL_OP_INPUT_MAX], y_outside;      /* ... of the whole batch, not of a group */
    size_t dx_stride[TL_OP_INPUT_MAX], saved_stride; /* saved: bytes from call to call */
    uint32_t group; /* training: see tl_plan_group; of a step that sums, the one before it */
    bool sums;      /* it ends its group */
    size_t packed_offset;
    bool active;                                      /* takes part in backward */
    int32_t saved, forward_scratch, backward_scratch; /* buffers */
    int32_t converted;           /* operands and result of the other width, where there are any */
    int32_t params_aside;        /* gradients of all items but the first */
    int32_t dx[TL_OP_INPUT_MAX]; /* buffer that backward writes */
    bool adds[TL_OP_INPUT_MAX];  /* ... and that is then added to the tensor's gradient */
    /* Inference: */
    uint32_t chain;      /* steps of the chain that begins here; 0: none does */
    uint32_t chain_rows; /* rows of its output at a time */
    size_t window_bytes; /* in a chain: what there is of the output at a time */
    double forward_s, backward_s;
} plan_step;

/* Training runs a stretch of steps for `chunk` items, then for the next ones, so that what one step
 * writes is still in the cache when the next reads it. Stretches end at steps that sum over the
 * batch: forward, the one before goes first in it and the one at the end gathers; backward the
 * other way round. */
typedef struct tl_plan_group {
    uint32_t first, end;    /* steps, without those that sum */
    uint32_t before, after; /* the steps that sum, TL_NONE: there is none */
    uint32_t chunk;         /* items; divides the batch */
} tl_plan_group;

struct tl_plan {
    tl_graph *graph;
    tl_plan_mode mode;
    tl_op_mode op_mode;
    tl_precision precision;    /* not AUTO */
    const bool *half;          /* of each tensor: it is bf16; the packer's. NULL: none is */
    bool *train_half;          /* the same in training, where a tensor's gradient is bf16 too */
    uint32_t batch_max, chunk; /* chunk: items that steps are compiled for */
    uint32_t loss_outputs;     /* of the graph's first outputs: those that get a gradient */
    uint32_t trained_stages;   /* 0: all */
    int threads;
    tl_node *nodes; /* the program */
    plan_step *steps;
    size_t step_count;
    tl_plan_group *groups;
    uint32_t group_count;
    struct dnnl_stream *stream;
    tl_buffer *buffers;
    size_t buffer_count, buffer_room;
    int32_t *tensor_buffer, *gradient_buffer; /* of each tensor */
    bool *external;                           /* tensor lies in a [batch_max] array */
    bool only_measure;
    char *arena; /* NULL when it is only measured */
    size_t arena_bytes;
    /* Inference: steps from `joint` on run for `group` items together. */
    size_t joint;
    uint32_t group;
    struct tl_plan **helpers; /* [threads - 1] or NULL */
    bool ran_forward;
    bool *written; /* parameters whose gradient backward writes */
    /* Training with several threads: the replicas. */
    tl_team *team;
    tl_exchange *exchange;
    struct tl_plan **replicas;
    uint32_t replica_count;
    tl_error *failures; /* [replica_count] of the last run */
    /* In a replica or a helper: of tensors that lie in the plan's memory, where; else NULL. */
    float **outside;
    /* In a replica: */
    uint32_t member, first_item;
    uint32_t batch_all; /* items of all replicas */
    float *grad;        /* of its items; NULL: member 0, which writes the caller's */
};

/* ---- groups.c -------------------------------------------------------------------------------- */

/* The groups of a plan that trains; tells each step its own. TL_ENOMEM. */
tl_status tl_plan_make_groups(tl_plan *plan, tl_error *err);
/* Steps of a group run for some items before the next ones: what lives in a part of its time lives
 * in all of it. Widen `first` and `last`, times of forward or backward, accordingly. */
void tl_plan_widen(const tl_plan *plan, uint32_t *first, uint32_t *last);

/* ---- halves.c -------------------------------------------------------------------------------- */

/* Room to note which tensors of a plan that trains are bf16; nothing in float32. TL_ENOMEM. */
tl_status tl_plan_make_halves(tl_plan *plan, tl_error *err);
/* Prepare a described step of training; in bf16 where that pays and a kernel can be made. */
tl_status tl_plan_prepare_training(tl_plan *plan, plan_step *step, tl_error *err);

/* ---- train.c --------------------------------------------------------------------------------- */

/* All steps of one thread. A replica goes on after a failure, since others wait for its sums; the
 * first failure is returned. */
tl_status tl_plan_forward_steps(tl_plan *plan, float *flat, tl_error *err);
tl_status tl_plan_backward_steps(tl_plan *plan, const float *flat, const float *output_grad,
                                 float *grad, tl_error *err); /* output_grad of all items */

/* ---- replicas.c ------------------------------------------------------------------------------ */

/* The team and the replicas of a plan that trains with `count` threads. */
tl_status tl_plan_make_replicas(tl_plan *plan, uint32_t count, tl_error *err);
void tl_plan_free_replicas(tl_plan *plan);
tl_status tl_plan_forward_replicas(tl_plan *plan, float *flat, tl_error *err);
tl_status tl_plan_backward_replicas(tl_plan *plan, const float *flat, const float *output_grad,
                                    float *grad, tl_error *err);

/* ---- infer.c --------------------------------------------------------------------------------- */

/* Choose `joint` and `group` for the prepared steps. */
void tl_plan_choose_joint(tl_plan *plan);
/* The team and the helpers of a plan that serves with more than one thread. */
tl_status tl_plan_make_helpers(tl_plan *plan, tl_error *err);
void tl_plan_free_helpers(tl_plan *plan);
/* The buffers of a step for one thread, for the item that is number `within` of its group. */
tl_op_run tl_plan_run_of(const plan_step *step, const char *packed, size_t item, size_t within,
                         uint32_t member);

/* ---- strips.c -------------------------------------------------------------------------------- */

/* Find the chains among the prepared steps, whose tensors have buffers; make those buffers small. */
void tl_plan_choose_chains(tl_plan *plan);
/* All buffers that a chain uses at any time are in use from its beginning to its end. */
void tl_plan_widen_chains(tl_plan *plan);
/* Member's rows of the chain that begins at `steps`, for one item. */
tl_status tl_plan_run_chain(plan_step *steps, const char *packed, size_t item, size_t within,
                            uint32_t member, uint32_t members, tl_error *err);

/* ---- plan.c ---------------------------------------------------------------------------------- */

bool tl_plan_trains(const tl_plan *plan);
/* A plan without its steps; and steps, buffers and arena. A failure leaves what destroy frees. */
tl_status tl_plan_begin(tl_graph *graph, tl_plan_mode mode, uint32_t batch, tl_plan **out,
                        tl_error *err);
tl_status tl_plan_compile(tl_plan *plan, tl_error *err);
/* A steady clock, in seconds. */
double tl_plan_now_s(void);

/* ---- buffers.c ------------------------------------------------------------------------------- */

/* Which tensors depend on something trained (`depends`), and which steps lie between that and
 * the outputs of the loss (`reaches` is working room); both [tensors], zeroed. */
void tl_plan_mark_active(tl_plan *plan, bool *depends, bool *reaches);
/* Whether a node has a parameter that learns. */
bool tl_plan_learns(const tl_plan *plan, const tl_node *node);
/* Give every tensor, gradient and scratch of the prepared steps its place, and make the arena. */
tl_status tl_plan_place(tl_plan *plan, tl_error *err);
/* The same of a plan with replicas: the [batch_max] arrays only. */
tl_status tl_plan_place_outside(tl_plan *plan, tl_error *err);
/* Whether a step does not work on the type that `tensor` has: it is converted for it. */
bool tl_plan_converts(const tl_plan *plan, const plan_step *step, uint32_t tensor);
/* Where a tensor lies. */
float *tl_plan_tensor(const tl_plan *plan, uint32_t tensor);
/* Where a buffer lies; NULL for TL_NO_BUFFER. */
float *tl_plan_at(const tl_plan *plan, int32_t buffer);
size_t tl_plan_tensor_bytes(const tl_plan *plan, uint32_t tensor, size_t items);

#endif

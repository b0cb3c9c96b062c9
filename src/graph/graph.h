/* graph.h - networks as graphs of operators: build or import, plan, run forward, run backward,
 * export. Layer: graph (above tensor). The same graph serves and learns.
 *
 * Three separate acts, three kinds of object:
 *   tl_graph    the topology: nodes, shapes for one item, the list of parameters. Immutable once
 *               finished; shared by every thread and version.
 *   tl_weights  one immutable set of numbers for a graph's parameters, reference-counted, with what
 *               the kernels prefer (reordered copies) made once. A version of a loop holds one.
 *   tl_plan     a graph compiled for (batch, mode): every buffer laid out in one arena, every
 * oneDNN primitive created. Owned by one thread; running it allocates nothing. So a publish is a
 * pointer swap: plans stay, weights change.
 *
 * Tensors are NHWC, float32, dense: [batch, height, width, channels] or [batch, count].
 * Forward results do not depend on the batch, nor on the number of threads. */
#ifndef TL_GRAPH_GRAPH_H
#define TL_GRAPH_GRAPH_H

#include "tensor/tensor.h"

typedef struct tl_graph tl_graph;
typedef struct tl_weights tl_weights;
typedef struct tl_plan tl_plan;

/* ---- Parameters ------------------------------------------------------------------------------ */

/* All parameters of a graph lie in one flat float buffer, so that optimisers, averages, digests and
 * the journal handle them as one vector. Canonical layout of a parameter is ONNX's (OIHW,
 * [out,in]), whatever the kernels use. */
typedef struct tl_param {
    char name[96]; /* the initializer's name, e.g. "c1.weight" */
    tl_shape shape;
    size_t offset, count; /* floats in the flat buffer */
    tl_param_role role;
    uint32_t stage; /* distance from the output in trainable layers, 0 = head */
} tl_param;

size_t tl_graph_param_count(const tl_graph *graph);
const tl_param *tl_graph_param(const tl_graph *graph, size_t index);
/* Floats in the flat buffer, running statistics included. */
size_t tl_graph_float_count(const tl_graph *graph);
/* Index of the parameter of that name, or SIZE_MAX. */
size_t tl_graph_find_param(const tl_graph *graph, const char *name);

/* ---- Inputs, outputs, features --------------------------------------------------------------- */

size_t tl_graph_input_count(const tl_graph *graph);
/* Shape of one item, without the batch: [height, width, channels] or [count]. */
const tl_shape *tl_graph_input_shape(const tl_graph *graph, size_t index);
size_t tl_graph_output_count(const tl_graph *graph);
const tl_shape *tl_graph_output_shape(const tl_graph *graph, size_t index);
/* The penultimate tensor: input of the head, [features]; the head is the Gemm, or the convolution of
 * an image of one pixel, behind the first output, else the last Gemm. 0 without such a layer. */
size_t tl_graph_feature_count(const tl_graph *graph);
/* Multiply-adds of one item, forward; normalisation, which folds away, does not count. */
uint64_t tl_graph_macs(const tl_graph *graph);
/* A hash over operators, attributes and shapes (not weights): graphs that agree in it are the same.
 */
uint64_t tl_graph_hash(const tl_graph *graph);

void tl_graph_retain(tl_graph *graph);
void tl_graph_release(
    tl_graph **graph); /* NULL-safe; clears *graph; freed with the last reference */

/* ---- Weights --------------------------------------------------------------------------------- */

/* A copy of `flat` [tl_graph_float_count], made ready for the kernels of float32. The graph keeps the
 * memory of one that was given up for the next. Errors: TL_ENOMEM, TL_EINVAL (a number is not finite). */
tl_status tl_weights_create(tl_graph *graph, const float *flat, tl_weights **out, tl_error *err);
/* Make them ready for what the plan runs, in bf16 too; else the plan's first run does. Any thread.
 * TL_ENOMEM. */
tl_status tl_weights_prepare(const tl_weights *weights, const tl_plan *plan, tl_error *err);
/* The flat numbers it was made of; borrowed until released. */
const float *tl_weights_flat(const tl_weights *weights);
/* What one set of weights of the graph takes, the copies for float32 included. TL_ENOMEM,
 * TL_EUNSUPPORTED. */
tl_status tl_graph_weights_bytes(tl_graph *graph, size_t *bytes, tl_error *err);
void tl_weights_retain(tl_weights *weights);
void tl_weights_release(tl_weights **weights); /* NULL-safe; any thread */

/* ---- Plans ----------------------------------------------------------------------------------- */

typedef enum tl_plan_mode {
    TL_PLAN_INFER,        /* batch normalisation folded, nothing kept for backward */
    TL_PLAN_TRAIN_FROZEN, /* batch normalisation with its running statistics, which stay */
    TL_PLAN_TRAIN_LIVE    /* batch statistics; running statistics move with the node's momentum */
} tl_plan_mode;

typedef struct tl_plan_options {
    uint32_t batch_max; /* >= 1; any batch up to this can be run */
    tl_plan_mode mode;
    uint32_t threads; /* >= 1. Training: the items are shared out to so many threads, the caller
                         being one; sums run in the threads' order, so that training repeats bit for
                         bit for one number of threads */
    /* Training: the first so many outputs have a part in the loss; 0: the first one. */
    uint32_t loss_outputs;
    /* Training: parameters of stages from this one on stay: they get gradient 0, nothing is kept or
     * run backward for them, and their normalisation is frozen in live mode too. 0: all learn. */
    uint32_t trained_stages;
    /* bf16 when serving: weights and most activations are bf16; sums, biases and activation
     * functions are float32, and so are inputs, outputs, features, and operators without a form for
     * bf16. bf16 when training: operands of the products in dense and grouped convolutions are
     * rounded to bf16, where that pays; parameters, gradients, sums and everything between
     * operators are float32. Results then agree with float32's to two or three digits;
     * docs/decisions/0006-bf16.md has what it brings. AUTO: bf16 only when serving, with AMX. */
    tl_precision precision;
    bool only_measure; /* for tl_plan_bytes: nothing is allocated for tensors, and nothing can be
                          run or written */
} tl_plan_options;

/* Errors: TL_ENOMEM, TL_EUNSUPPORTED (a setting that an operator does not have; a precision that the
 * processor, or training, does not have). */
tl_status tl_plan_create(tl_graph *graph, const tl_plan_options *options, tl_plan **out,
                         tl_error *err);
void tl_plan_destroy(tl_plan **plan); /* NULL-safe */
/* tl_weights_create and tl_weights_prepare by the plan's threads, while the plan does not run: for
 * who waits for an answer with them. */
tl_status tl_plan_create_weights(tl_plan *plan, const float *flat, tl_weights **out, tl_error *err);
/* FLOAT32 or BF16: what AUTO came to. */
tl_precision tl_plan_precision(const tl_plan *plan);
/* What it holds, the arena above all. Known before it runs. oneDNN's generated code comes on top.
 */
size_t tl_plan_bytes(const tl_plan *plan);

/* Where the caller writes the inputs: [batch_max, ...shape] floats inside the plan's arena. */
float *tl_plan_input(tl_plan *plan, size_t index);
/* Inference: run items 0..batch-1 of the inputs through `weights`, which are of the plan's graph
 * (asserted). TL_ESHAPE when batch is 0 or above batch_max. */
tl_status tl_plan_infer(tl_plan *plan, const tl_weights *weights, uint32_t batch, tl_error *err);
/* Outputs of the last run, [batch, ...shape]; borrowed until the next run. */
const float *tl_plan_output(const tl_plan *plan, size_t index);
/* Penultimate features of the last run, [batch, tl_graph_feature_count]; borrowed likewise. */
const float *tl_plan_features(const tl_plan *plan);

/* Training: forward with the caller's flat parameters (not packed; they change every step). In live
 * mode the running statistics inside `flat` are moved. `batch` must equal batch_max. */
tl_status tl_plan_train_forward(tl_plan *plan, float *flat, uint32_t batch, tl_error *err);
/* Backward from the gradient of the loss by the outputs that have a part in it, one after the
 * other, each [batch, ...shape]. Writes (not adds) the gradient of every parameter into `grad`
 * [tl_graph_float_count]; running statistics get 0. `flat` is what forward was given. One backward
 * for each forward (asserted). */
tl_status tl_plan_train_backward(tl_plan *plan, const float *flat, const float *output_grad,
                                 float *grad, tl_error *err);

/* Training: for other work on the same vectors between runs, such as an optimiser's. How many threads
 * there are; and call work(arg, member) once in each, the caller being member 0, and wait for all. */
uint32_t tl_plan_threads(const tl_plan *plan);
void tl_plan_share(const tl_plan *plan, void (*work)(void *arg, uint32_t member), void *arg);

/* Seconds spent and multiply-adds of node `index` since creation, for layer tables. */
typedef struct tl_node_cost {
    char name[64], op[32];
    double forward_s, backward_s;
    uint64_t macs;   /* one item, forward */
    uint64_t bytes;  /* one item, forward: operands, result and parameters, each once */
    tl_shape output; /* one item */
} tl_node_cost;
size_t tl_plan_node_count(const tl_plan *plan);
void tl_plan_node_cost(const tl_plan *plan, size_t index, tl_node_cost *out);

#endif

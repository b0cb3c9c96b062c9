/* builder.h - make a graph in C. Layer: graph. One owner thread.
 *
 * Calls append nodes and return the new tensor's index, or TL_TENSOR_NONE after a failure; once one
 * call failed all later ones do nothing, and tl_builder_finish reports the first error. So a
 * network reads as a list of layers. */
#ifndef TL_GRAPH_BUILDER_H
#define TL_GRAPH_BUILDER_H

#include "base/rng.h"
#include "graph/graph.h"

typedef struct tl_builder tl_builder;
typedef uint32_t tl_tensor_index;
#define TL_TENSOR_NONE UINT32_MAX

tl_status tl_builder_create(tl_builder **out, tl_error *err);
void tl_builder_destroy(tl_builder **builder);

tl_tensor_index tl_builder_input(tl_builder *builder, const char *name, const tl_shape *item_shape);

typedef struct tl_conv_options {
    tl_window window;
    uint32_t groups;
    bool bias;
} tl_conv_options;

/* k x k, stride s, "same" padding k/2, no bias; adjust what differs. */
tl_conv_options tl_conv_square(uint32_t kernel, uint32_t stride, uint32_t groups);
tl_tensor_index tl_builder_conv(tl_builder *builder, const char *name, tl_tensor_index x,
                                uint32_t channels, const tl_conv_options *options);
tl_tensor_index tl_builder_batch_norm(tl_builder *builder, const char *name, tl_tensor_index x,
                                      float epsilon, float momentum);

/* Operators without parameters of their own. `kind` is one of the operator table's (tensor.h says
 * what each takes); attributes are tl_attrs_default's. */
tl_tensor_index tl_builder_unary(tl_builder *builder, tl_op_kind kind, tl_tensor_index x);
tl_tensor_index tl_builder_binary(tl_builder *builder, tl_op_kind kind, tl_tensor_index a,
                                  tl_tensor_index b);
tl_tensor_index tl_builder_max_pool(tl_builder *builder, tl_tensor_index x, uint32_t kernel,
                                    uint32_t stride, uint32_t pad);
tl_tensor_index tl_builder_average_pool(tl_builder *builder, tl_tensor_index x, uint32_t kernel,
                                        uint32_t stride, uint32_t pad);
/* Every pixel of an image `factor` x `factor` times. */
tl_tensor_index tl_builder_enlarge(tl_builder *builder, tl_tensor_index x, uint32_t factor);
/* Transposed: the options' window, groups and bias, as for tl_builder_conv. */
tl_tensor_index tl_builder_conv_transpose(tl_builder *builder, const char *name, tl_tensor_index x,
                                          uint32_t channels, const tl_conv_options *options);
/* Channels begin..end-1. */
tl_tensor_index tl_builder_slice(tl_builder *builder, tl_tensor_index x, int32_t begin,
                                 int32_t end);
/* 1..TL_OP_INPUT_MAX parts along an axis; a negative one counts from the end. */
tl_tensor_index tl_builder_concat(tl_builder *builder, const tl_tensor_index *parts, size_t count,
                                  int32_t axis);
tl_tensor_index tl_builder_reshape(tl_builder *builder, tl_tensor_index x, tl_shape shape);
/* Axis i of the result is axis axes[i] of x; as many as x has. */
tl_tensor_index tl_builder_permute(tl_builder *builder, tl_tensor_index x, const uint8_t *axes);
tl_tensor_index tl_builder_softmax(tl_builder *builder, tl_tensor_index x, int32_t axis);
tl_tensor_index tl_builder_gemm(tl_builder *builder, const char *name, tl_tensor_index x,
                                uint32_t outputs);

/* ---- The general form, for importers: any operator, any attributes -----------------------------
 */

/* A parameter's name and initial value. Names must be unique in the graph (a value that several
 * nodes share is given once for each, under different names). */
typedef struct tl_param_init {
    const char *name;    /* NULL: made of the node's name and the parameter's suffix, "c1.weight" */
    const float *values; /* canonical layout, copied; NULL: seeded by tl_builder_finish */
    size_t count;        /* floats in `values`; TL_ESHAPE when the parameter has another count */
} tl_param_init;

typedef struct tl_node_options {
    tl_op_kind kind;
    const char *name;      /* for messages, tables and parameter names; NULL: numbered */
    const tl_attrs *attrs; /* NULL: tl_attrs_default(kind) */
    const tl_tensor_index *inputs;
    size_t input_count;
    const tl_param_init *params; /* in the order of the operator's table line; may be shorter than
                                    the operator's list: the rest is seeded */
    size_t param_count;
} tl_node_options;

/* Everything in `options` is copied. A failure is remembered, as in all of these calls; its text
 * names the node. */
tl_tensor_index tl_builder_node(tl_builder *builder, const tl_node_options *options);
/* A constant operand, the same for each item, e.g. [1, 1, c]: values [tl_shape_count(shape)]. */
tl_tensor_index tl_builder_constant(tl_builder *builder, const char *name, const tl_shape *shape,
                                    const float *values, bool trained);
/* Item shape of a tensor, or NULL for TL_TENSOR_NONE and after a failure. Borrowed until the next
 * call. */
const tl_shape *tl_builder_shape(const tl_builder *builder, tl_tensor_index x);
/* The first failure so far, TL_OK when there was none; fills *err (may be NULL). */
tl_status tl_builder_status(const tl_builder *builder, tl_error *err);

/* Marks a tensor as the next output. The graph keeps only what some output depends on. */
void tl_builder_output(tl_builder *builder, tl_tensor_index x);

/* The graph, and seeded initial parameters when `flat` is not NULL: given values as given; else He
 * fan-out normal for convolutions, U(+-1/sqrt(fan_in)) for Gemm, 1 and 0 for normalisation. *flat
 * is malloc'ed [tl_graph_float_count] and the caller's. Parameters are in the order of their nodes.
 * The builder is spent, and destroyed by the caller. Errors: the first remembered failure;
 * TL_EINVAL (no output). */
tl_status tl_builder_finish(tl_builder *builder, uint64_t seed, tl_graph **graph, float **flat,
                            tl_error *err);

#endif

/* builder.h - make a graph in C. Layer: graph. One owner thread.
 *
 * Calls append nodes and return the new tensor's index, or TL_TENSOR_NONE after a failure; once one
 * call failed all later ones do nothing, and tl_builder_finish reports the first error. So a network
 * reads as a list of layers. */
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
    uint32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups;
    uint32_t pad_top, pad_left, pad_bottom, pad_right;
    bool bias;
} tl_conv_options;

/* k x k, stride s, "same" padding k/2, no bias; adjust what differs. */
tl_conv_options tl_conv_square(uint32_t kernel, uint32_t stride, uint32_t groups);
tl_tensor_index tl_builder_conv(tl_builder *builder, const char *name, tl_tensor_index x,
                                uint32_t channels, const tl_conv_options *options);
tl_tensor_index tl_builder_batch_norm(tl_builder *builder, const char *name, tl_tensor_index x,
                                      float epsilon, float momentum);
/* Operators without parameters of their own: activations, pooling over everything, add, mul, concat.
 * `kind` is one of the operator table's; see docs/operators.md for what each takes. */
tl_tensor_index tl_builder_unary(tl_builder *builder, tl_op_kind kind, tl_tensor_index x);
tl_tensor_index tl_builder_binary(tl_builder *builder, tl_op_kind kind, tl_tensor_index a,
                                  tl_tensor_index b);
tl_tensor_index tl_builder_max_pool(tl_builder *builder, tl_tensor_index x, uint32_t kernel,
                                    uint32_t stride, uint32_t pad);
tl_tensor_index tl_builder_gemm(tl_builder *builder, const char *name, tl_tensor_index x,
                                uint32_t outputs);
void tl_builder_output(tl_builder *builder, tl_tensor_index x);

/* The graph, and seeded initial parameters when `flat` is not NULL (He fan-out normal for
 * convolutions, U(+-1/sqrt(fan_in)) for Gemm, 1 and 0 for normalisation): *flat is malloc'ed
 * [tl_graph_float_count] and the caller's. The builder is spent, and destroyed by the caller. */
tl_status tl_builder_finish(tl_builder *builder, uint64_t seed, tl_graph **graph, float **flat,
                            tl_error *err);

#endif

/* ops/internal.h - the operators of the ONNX importer: one handler a line of table.c. Not for other
 * modules. A handler appends to the builder what its node computes and declares the node's outputs
 * (onnx_yield); it fails with onnx_fail, which names the node.
 *
 * conv.c    convolutions                         layer.c   other operators with weights
 * pool.c    windows, pooling                     resize.c  other sizes of images
 * math.c    functions of one or two numbers      reduce.c  sums and the like, softmax
 * shape.c   operators that rename numbers        move.c    operators that move numbers
 * norm.c    normalisations by the item's own numbers */
#ifndef TL_GRAPH_ONNX_IMPORT_OPS_INTERNAL_H
#define TL_GRAPH_ONNX_IMPORT_OPS_INTERNAL_H

#include "graph/onnx/import/internal.h"

tl_status onnx_run_conv(onnx_import *import, onnx_node *node);
tl_status onnx_run_conv_transpose(onnx_import *import, onnx_node *node);
/* The Add of one number a channel that alone uses the node's output: its bias. NULL: none. `rank` and
 * `axis` are the output's and its channels'. */
onnx_node *onnx_find_bias_add(const onnx_import *import, const onnx_node *node, size_t channels,
                              uint32_t rank, uint32_t axis, onnx_value **bias);
tl_status onnx_run_batch_norm(onnx_import *import, onnx_node *node);
tl_status onnx_run_gemm(onnx_import *import, onnx_node *node);
tl_status onnx_run_matmul(onnx_import *import, onnx_node *node);
tl_status onnx_run_prelu(onnx_import *import, onnx_node *node);

/* A window over the last 1 or 2 axes; one dimension is a height of 1. `kernel` [spatial]; padding by
 * auto_pad is that of a tensor with sizes `in` [spatial]. */
tl_status onnx_read_window(const onnx_import *import, const onnx_node *node, uint32_t spatial,
                           const int64_t *kernel, const int64_t *in, tl_window *out);
/* The same over three axes, [d, h, w]: `plane` over the last two, `depth` over the first, as the
 * height of a window that is 1 wide. */
tl_status onnx_read_space(const onnx_import *import, const onnx_node *node, const int64_t *kernel,
                          const int64_t *in, tl_window *plane, tl_window *depth);
tl_status onnx_run_pool(onnx_import *import, onnx_node *node);
tl_status onnx_run_global_pool(onnx_import *import, onnx_node *node);

tl_status onnx_run_function(onnx_import *import, onnx_node *node);
tl_status onnx_run_gelu(onnx_import *import, onnx_node *node);
tl_status onnx_run_celu(onnx_import *import, onnx_node *node);
tl_status onnx_run_clip(onnx_import *import, onnx_node *node);
tl_status onnx_run_binary(onnx_import *import, onnx_node *node);
tl_status onnx_run_pow(onnx_import *import, onnx_node *node);
tl_status onnx_run_variadic(onnx_import *import, onnx_node *node);
tl_status onnx_run_where(onnx_import *import, onnx_node *node);
tl_status onnx_run_cast(onnx_import *import, onnx_node *node);

tl_status onnx_run_reduce(onnx_import *import, onnx_node *node);
tl_status onnx_run_softmax(onnx_import *import, onnx_node *node);
tl_status onnx_run_arg(onnx_import *import, onnx_node *node);

tl_status onnx_run_layer_norm(onnx_import *import, onnx_node *node);
tl_status onnx_run_group_norm(onnx_import *import, onnx_node *node);
tl_status onnx_run_mean_variance(onnx_import *import, onnx_node *node);
tl_status onnx_run_lp_norm(onnx_import *import, onnx_node *node);

tl_status onnx_run_identity(onnx_import *import, onnx_node *node);
tl_status onnx_run_dropout(onnx_import *import, onnx_node *node);
tl_status onnx_run_constant(onnx_import *import, onnx_node *node);
tl_status onnx_run_reshape(onnx_import *import, onnx_node *node);
tl_status onnx_run_flatten(onnx_import *import, onnx_node *node);
/* Squeeze and Unsqueeze; the sizes that come of `from` (`count` is left 0), and the axes that the node
 * names, as a mask. */
tl_status onnx_run_axes(onnx_import *import, onnx_node *node);
tl_status onnx_axes_sizes(onnx_import *import, const onnx_node *node, const onnx_dims *from,
                          onnx_dims *out, uint32_t *mask);
tl_status onnx_run_transpose(onnx_import *import, onnx_node *node);
tl_status onnx_run_depth_space(onnx_import *import, onnx_node *node);
/* The sizes that a Reshape asks for, of `count` numbers of sizes `from`. */
tl_status onnx_reshape_sizes(onnx_import *import, const onnx_node *node, const onnx_dims *from,
                             const int64_t *to, size_t count, bool batch, uint32_t *out);

tl_status onnx_run_concat(onnx_import *import, onnx_node *node);
tl_status onnx_run_slice(onnx_import *import, onnx_node *node);
tl_status onnx_run_split(onnx_import *import, onnx_node *node);
tl_status onnx_run_gather(onnx_import *import, onnx_node *node);
tl_status onnx_run_pad(onnx_import *import, onnx_node *node);
tl_status onnx_run_tile(onnx_import *import, onnx_node *node);
tl_status onnx_run_expand(onnx_import *import, onnx_node *node);
/* Where a Slice begins and how it goes on along an axis of `size`; *begin == *end: nothing. */
void onnx_slice_range(int64_t size, int64_t step, int64_t *begin, int64_t *end);

tl_status onnx_run_resize(onnx_import *import, onnx_node *node);

#endif

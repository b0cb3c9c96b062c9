/* onnx.h - ONNX files in and out. Layer: graph.
 * Untrusted input: every size is checked before it is used; a file that is refused changes nothing.
 */
#ifndef TL_GRAPH_ONNX_H
#define TL_GRAPH_ONNX_H

#include "graph/graph.h"

typedef struct tl_onnx_options {
    /* Sizes for dynamic dimensions of an image input; 0: as in the file (then it must be fixed). */
    uint32_t height, width;
} tl_onnx_options;

/* Parse `data` [bytes] and make its graph and parameters (*flat is malloc'ed and the caller's).
 * NCHW models become NHWC here. `options` may be NULL.
 *
 * Operator sets from 6 on. One or more float32 inputs, [n, c, h, w] or [n, count]; the first
 * dimension of everything is the batch, whatever the file says of its size. Operators: Conv,
 * BatchNormalization, Gemm, MatMul (of a constant matrix, with or without Add), Relu, Sigmoid,
 * HardSwish, HardSigmoid, Clip, Abs, Softmax, MaxPool, AveragePool (over the whole image),
 * GlobalAveragePool, GlobalMaxPool, ReduceMean and ReduceMax (over height and width), Add, Sub,
 * Mul, Div (by a constant), Concat, Slice, Split (channels), Flatten, Reshape, Squeeze, Unsqueeze
 * (between image and vector), Pad (before a Conv), Identity, Dropout, Cast, Constant, Transpose (of
 * a constant matrix); Shape and Gather where they lead to a Reshape. x * Sigmoid(x) becomes SiLU.
 * What no output depends on is ignored.
 *
 * Parameters are named after their initializers. One that several layers share, directly or behind
 * Identity nodes (where exporters merge equal ones), becomes a parameter of each layer: "b", "b#2",
 * or the Identity's name. Constants beside Add, Sub, Mul and Div are not trained. Errors: TL_EINVAL
 * (malformed), TL_EUNSUPPORTED (the text names operator, node and a remedy), TL_ELIMIT, TL_ENOMEM.
 */
tl_status tl_onnx_import(const void *data, size_t bytes, const tl_onnx_options *options,
                         tl_graph **graph, float **flat, tl_error *err);
tl_status tl_onnx_import_file(const char *path, const tl_onnx_options *options, tl_graph **graph,
                              float **flat, tl_error *err);

/* An operator that the importer knows; both texts are static. */
typedef struct tl_onnx_operator {
    const char *name;    /* as in ONNX */
    const char *accepts; /* what is taken of it; "": all of it */
} tl_onnx_operator;

/* The operators by index from 0 on, in no particular order; false past the last. */
bool tl_onnx_operator_at(size_t index, tl_onnx_operator *out);

#endif

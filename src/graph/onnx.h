/* onnx.h - ONNX files in and out. Layer: graph.
 * Untrusted input: every size is checked before it is used; a file that is refused changes nothing. */
#ifndef TL_GRAPH_ONNX_H
#define TL_GRAPH_ONNX_H

#include "graph/graph.h"

typedef struct tl_onnx_options {
    /* Sizes for dynamic dimensions of an image input; 0: as in the file (then it must be fixed). */
    uint32_t height, width;
} tl_onnx_options;

/* Parse `data` [bytes] and make its graph and parameters (*flat is malloc'ed and the caller's).
 * NCHW models become NHWC here. `options` may be NULL.
 * Errors: TL_EINVAL (malformed), TL_EUNSUPPORTED (the text names operator, node and a remedy),
 * TL_ELIMIT, TL_ENOMEM. */
tl_status tl_onnx_import(const void *data, size_t bytes, const tl_onnx_options *options,
                         tl_graph **graph, float **flat, tl_error *err);
tl_status tl_onnx_import_file(const char *path, const tl_onnx_options *options, tl_graph **graph,
                              float **flat, tl_error *err);

#endif

/* onnx.h - ONNX files in and out. Layer: graph.
 * Untrusted input: every size is checked before it is used; a file that is refused changes nothing.
 */
#ifndef TL_GRAPH_ONNX_H
#define TL_GRAPH_ONNX_H

#include "graph/graph.h"

/* How the first axis of tensors is taken. */
typedef enum tl_onnx_reading {
    TL_ONNX_AUTO,  /* by items where the file allows it, else whole */
    TL_ONNX_ITEMS, /* it is the batch and stays outside: any batch can be run */
    TL_ONNX_WHOLE  /* it belongs to the item, which is the whole tensor; run with a batch of 1 */
} tl_onnx_reading;

/* A size that the caller chooses. */
typedef struct tl_onnx_size {
    const char *name;     /* a dynamic dimension, as the file names it; NULL: by position */
    uint32_t input, axis; /* from 0, as the file counts them; instead of what it says */
    uint32_t size;
} tl_onnx_size;

typedef struct tl_onnx_options {
    /* Sizes for dynamic dimensions of an image input; 0: as in the file (then it must be fixed). */
    uint32_t height, width;
    const tl_onnx_size *sizes; /* borrowed for the call; they go before height and width */
    size_t size_count;
    tl_onnx_reading reading;
    uint32_t batch; /* read whole: for a dynamic first axis; 0: 1 */
} tl_onnx_options;

/* Parse `data` [bytes] and make its graph and parameters (*flat is malloc'ed and the caller's).
 * `options` may be NULL. Operator sets from 6 on; the operators are tl_onnx_operator_at's.
 *
 * Items of inputs and outputs of four dimensions, [n, c, h, w], are [h, w, c] (read whole:
 * [n, h, w, c]); all others have the file's order, [n, a, b] is [a, b]. Inside, tensors lie as suits
 * the operators. Integers and booleans are carried as floats, exact up to 2^24. What is constant is
 * computed here, sizes exactly; what no output depends on is ignored.
 *
 * Parameters are named after their initializers. One that several layers share, directly or behind
 * Identity nodes (where exporters merge equal ones), becomes a parameter of each layer: "b", "b#2",
 * or the Identity's name. What trains: weights and biases of layers, a constant number a channel
 * beside a layer's output, and tables that Gather reads; other constants do not.
 *
 * Numbers may lie in files beside the model (tl_onnx_import_file only), in its folder or below. The
 * tensors of one item together may have 2^28 numbers. Errors: TL_EINVAL (malformed), TL_EUNSUPPORTED
 * (the text names operator, node and a remedy), TL_ELIMIT, TL_EIO, TL_ENOTFOUND, TL_ENOMEM.
 */
tl_status tl_onnx_import(const void *data, size_t bytes, const tl_onnx_options *options,
                         tl_graph **graph, float **flat, tl_error *err);
tl_status tl_onnx_import_file(const char *path, const tl_onnx_options *options, tl_graph **graph,
                              float **flat, tl_error *err);

/* ---- Export ----------------------------------------------------------------------------------
 */

typedef struct tl_onnx_entry {
    const char *key, *value;
} tl_onnx_entry;

typedef struct tl_onnx_export_options {
    bool trainable;   /* keep BatchNormalization and its parameters; else it is folded into the
                          convolution before it */
    const char *name; /* of the graph; NULL: "tightloop" */
    int64_t version;  /* of the model; 0: not stated */
    const char *const *input_names, *const *output_names; /* as many as the graph has, not names of
                                                             parameters; NULL: "input", "input1", ...
                                                             and "output", "output1", ... */
    const tl_onnx_entry *metadata;                        /* e.g. the names of the classes */
    size_t metadata_count;
} tl_onnx_export_options;

/* Write a graph and its numbers [tl_graph_float_count] as an ONNX file (operator set 17). *data is
 * malloc'ed [*bytes] and the caller's. `options` may be NULL.
 *
 * Inputs and outputs are [batch, ...item] with a batch of any size; images are [batch, c, h, w].
 * Parameters keep names and values. A trainable file imports again as the same graph. What the
 * engine computes and ONNX Runtime computes from the file agree to float32 rounding.
 * Errors: TL_EUNSUPPORTED (the text names node and operator), TL_EINVAL (a name is empty or taken),
 * TL_ELIMIT (over 2 GiB, which ONNX files cannot be), TL_ENOMEM. */
tl_status tl_onnx_export(const tl_graph *graph, const float *flat,
                         const tl_onnx_export_options *options, void **data, size_t *bytes,
                         tl_error *err);
/* To a file, which appears whole or not at all. Also TL_EIO, TL_ENOSPC. */
tl_status tl_onnx_export_file(const tl_graph *graph, const float *flat,
                              const tl_onnx_export_options *options, const char *path,
                              tl_error *err);

/* ---- What is known ----------------------------------------------------------------------------
 */

/* An operator that the importer knows; both texts are static. */
typedef struct tl_onnx_operator {
    const char *name;    /* as in ONNX */
    const char *accepts; /* what is taken of it; "": all of it */
} tl_onnx_operator;

/* The operators by index from 0 on, in no particular order; false past the last. */
bool tl_onnx_operator_at(size_t index, tl_onnx_operator *out);

#endif

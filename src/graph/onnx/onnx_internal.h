/* onnx_internal.h - the parts of the ONNX importer. Not for other modules.
 *
 * onnx_model.c   bytes -> messages, bounded and checked before the protobuf library sees them
 * onnx_tensor.c  initializers -> numbers
 * onnx_attr.c    attributes and operands of a node
 * onnx_import.c  names, order of the nodes, inputs and outputs
 * onnx_layer.c   operators with weights, functions of one number, pooling
 * onnx_binary.c  arithmetic of two operands, constants among them
 * onnx_shape.c   operators that move or rename data
 * onnx_sizes.c   arithmetic on shapes that ends in a Reshape */
#ifndef TL_GRAPH_ONNX_INTERNAL_H
#define TL_GRAPH_ONNX_INTERNAL_H

#include "base/arena.h"
#include "graph/builder.h"
#include "graph/onnx.h"
#include "onnx/onnx.pb-c.h"

enum {
    ONNX_NODES_MAX = 1 << 17,
    ONNX_OPERANDS_MAX = 256,
    ONNX_DEPTH_MAX = 24,  /* nested messages */
    ONNX_RANK_MAX = 8,    /* of an initializer */
    ONNX_WORD_BYTES = 64, /* a name in an error text */
    ONNX_NONE = -1
};

/* The one size that is not known at import, among ONNX_VALUE_SIZES. */
#define ONNX_BATCH INT64_MIN

/* ---- Messages ---------------------------------------------------------------------------------
 */

/* Everything lies in `arena`, which the caller made and destroys. */
tl_status onnx_model_parse(const void *data, size_t bytes, tl_arena *arena,
                           const Onnx__ModelProto **out, tl_error *err);

/* ---- Initializers -----------------------------------------------------------------------------
 */

typedef struct onnx_dims {
    uint32_t rank;
    uint32_t dim[ONNX_RANK_MAX];
    size_t count; /* 1 for rank 0 */
} onnx_dims;

/* Check type, sizes and location: after it the readers below cannot fail. `name` is for the text.
 */
tl_status onnx_tensor_check(const Onnx__TensorProto *tensor, const char *name, onnx_dims *out,
                            tl_error *err);
bool onnx_tensor_is_float(const Onnx__TensorProto *tensor);
/* Element `index` of a checked tensor. */
double onnx_tensor_number(const Onnx__TensorProto *tensor, size_t index);
int64_t onnx_tensor_integer(const Onnx__TensorProto *tensor, size_t index);

/* ---- The import -------------------------------------------------------------------------------
 */

typedef enum onnx_value_kind {
    ONNX_VALUE_UNKNOWN, /* not made yet, or never: a side output such as Dropout's mask */
    ONNX_VALUE_TENSOR,
    ONNX_VALUE_CONSTANT,
    ONNX_VALUE_SIZES /* numbers out of a tensor's shape */
} onnx_value_kind;

/* A named value of the file. */
typedef struct onnx_value {
    const char *name; /* borrowed from the model */
    onnx_value_kind kind;
    const Onnx__TensorProto *constant; /* checked; may be shared by values behind Identity */
    onnx_dims dims;                    /* the constant's */
    int32_t transposed;                /* the matrix of that value, seen transposed; or ONNX_NONE */
    tl_tensor_index tensor;
    uint32_t size_count; /* SIZES */
    int64_t sizes[ONNX_RANK_MAX];
    uint32_t rank;   /* TENSOR: ONNX's, 2 [n, c] or 4 [n, c, h, w] */
    uint32_t pad[4]; /* TENSOR: zeros to add before use (top, left, bottom, right), from a Pad */
    int32_t producer, consumer; /* node indexes or ONNX_NONE; consumer: one of them */
    uint32_t use_count;         /* by nodes and outputs of the graph */
    uint32_t param_count;       /* parameters that were made of it */
    bool is_output;
} onnx_value;

typedef struct onnx_node {
    const Onnx__NodeProto *proto;
    const char *op;
    int32_t *inputs, *outputs; /* value indexes; ONNX_NONE where left out */
    size_t input_count, output_count;
    uint8_t visit; /* 0 not yet, 1 waits for its operands, 2 done */
    bool needed;   /* an output depends on it */
    bool absorbed; /* a node before it did its work */
} onnx_node;

typedef struct onnx_import {
    const Onnx__GraphProto *graph;
    tl_onnx_options options;
    int64_t opset;
    tl_arena *arena;
    onnx_value *values; /* sorted by name */
    size_t value_count;
    onnx_node *nodes;
    size_t node_count;
    tl_builder *builder;
    int64_t batch;             /* as the inputs state it; 0: any */
    tl_tensor_index input_end; /* tensors below it are the graph's inputs */
    tl_error *err;
} onnx_import;

/* Printable ASCII for error texts; of a long name the end, which tells nodes apart. */
typedef struct onnx_word {
    char text[ONNX_WORD_BYTES];
} onnx_word;
onnx_word onnx_word_of(const char *text);

/* "Conv node /c1/Conv: <text>". */
tl_status onnx_fail(const onnx_import *import, const onnx_node *node, tl_status status,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

typedef tl_status (*onnx_handler)(onnx_import *import, onnx_node *node);
typedef struct onnx_op_entry {
    const char *op;
    onnx_handler handler;
    const char *accepts; /* what is taken of it, for docs/operators.md; "": all of it */
} onnx_op_entry;
/* NULL when there is none. */
onnx_handler onnx_layer_find(const char *op);
onnx_handler onnx_shape_find(const char *op);
/* Of the operators about shapes; NULL past the last. */
const onnx_op_entry *onnx_shape_at(size_t index);
tl_status onnx_run_binary(onnx_import *import, onnx_node *node);
tl_status onnx_run_shape(onnx_import *import, onnx_node *node);
tl_status onnx_run_gather(onnx_import *import, onnx_node *node);
/* Slice and Concat of sizes instead of tensors. */
tl_status onnx_slice_sizes(onnx_import *import, onnx_node *node, const onnx_value *source);
tl_status onnx_concat_sizes(onnx_import *import, onnx_node *node);
/* What can be done about an operator that is not there. */
const char *onnx_remedy(const char *op);

/* ---- Attributes and operands (onnx_attr.c) ----------------------------------------------------
 */

int64_t onnx_attr_int(const onnx_node *node, const char *name, int64_t otherwise);
float onnx_attr_float(const onnx_node *node, const char *name, float otherwise);
/* NULL when absent. */
const Onnx__AttributeProto *onnx_attr(const onnx_node *node, const char *name);
/* True when the attribute is absent or has that text. */
bool onnx_attr_is(const onnx_node *node, const char *name, const char *text);
/* `count` integers in lowest..highest; `otherwise` fills all of them when absent. TL_EINVAL. */
tl_status onnx_attr_sizes(const onnx_import *import, const onnx_node *node, const char *name,
                          size_t count, int64_t lowest, int64_t highest, int64_t otherwise,
                          int64_t *out);

/* NULL when it is left out. */
onnx_value *onnx_operand(const onnx_import *import, const onnx_node *node, size_t index);
/* A tensor without pending padding. */
tl_status onnx_operand_tensor(const onnx_import *import, const onnx_node *node, size_t index,
                              onnx_value **out);
tl_status onnx_operand_constant(const onnx_import *import, const onnx_node *node, size_t index,
                                onnx_value **out);
/* Integers from operand `index` (a constant, or sizes) or, when that is left out, from attribute
 * `name`. *count is 0 when neither is there. The batch may stand only at the head of a "shape", and
 * is 0. */
tl_status onnx_operand_integers(const onnx_import *import, const onnx_node *node, size_t index,
                                const char *name, size_t count_max, int64_t *out, size_t *count);
/* One number likewise. */
tl_status onnx_operand_number(const onnx_import *import, const onnx_node *node, size_t index,
                              const char *name, double otherwise, double *out);

/* All elements as floats in the arena; NULL when out of memory (reported). */
float *onnx_floats(const onnx_import *import, const onnx_value *constant);
float *onnx_floats_alloc(const onnx_import *import, size_t count);
/* The name under which `value` becomes a parameter: unique, printable, short enough. */
const char *onnx_param_name(onnx_import *import, onnx_value *value);

/* Item shape of a tensor as [c, h, w]; h = w = 1 for a vector. */
typedef struct onnx_item {
    uint32_t c, h, w;
} onnx_item;
onnx_item onnx_item_of(const onnx_import *import, const onnx_value *value);

/* Declare output 0 of the node to be `tensor`, of that ONNX rank; reports the builder's failure. */
tl_status onnx_yield(onnx_import *import, onnx_node *node, tl_tensor_index tensor, uint32_t rank);
tl_status onnx_yield_at(onnx_import *import, onnx_node *node, size_t index, tl_tensor_index tensor,
                        uint32_t rank);
/* Append an engine node named after `node`; TL_TENSOR_NONE after a failure. */
tl_tensor_index onnx_append(onnx_import *import, const onnx_node *node, tl_node_options options);
tl_tensor_index onnx_append_unary(onnx_import *import, const onnx_node *node, tl_op_kind kind,
                                  const tl_attrs *attrs, tl_tensor_index x);
/* Output 0 is another name for `source`. */
tl_status onnx_yield_same(onnx_import *import, onnx_node *node, const onnx_value *source);

#endif

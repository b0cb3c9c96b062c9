/* import/internal.h - the parts of the ONNX importer. Not for other modules.
 *
 * file/       bytes -> messages and numbers
 * names.c     names, who makes and who uses them, what the outputs depend on
 * operands.c  attributes, operands and results of a node
 * import.c    one file: its readings, its nodes one after the other
 * ends.c      inputs and outputs of the network
 * table.c     the operators; their handlers are in ops/
 * array/      order.c: how a tensor lies in the engine, order of axes, reshaping, transposing;
 *             arithmetic.c: arithmetic of such tensors, and constants as tensors
 * fold/       nodes whose operands are all constants
 *
 * Two readings of a file. By items: the first axis of every tensor is the batch, it stays outside,
 * and the network is for one item. Whole: an item is the whole tensor, and the engine's batch is 1.
 * Handlers are the same for both; one that would mix the items of a batch says so with
 * onnx_fail_batch, upon which the file is read again, whole.
 *
 * For whoever writes files: a parameter keeps its initializer's name (onnx_param_name) and ONNX's
 * layout, except that a matrix is [out, in] always (Gemm with transB) and the kernel of a
 * one-dimensional convolution has a height of 1. Items of inputs and outputs of rank 4 are
 * [h, w, c] for [n, c, h, w]; all others have the file's order. */
#ifndef TL_GRAPH_ONNX_IMPORT_INTERNAL_H
#define TL_GRAPH_ONNX_IMPORT_INTERNAL_H

#include "graph/builder.h"
#include "graph/onnx.h"
#include "graph/onnx/import/file/internal.h"

enum {
    ONNX_NODES_MAX = 1 << 17,
    ONNX_OPERANDS_MAX = 256,
    ONNX_WINDOW_MAX = 1 << 16, /* a kernel, stride, dilation, padding */
    ONNX_NONE = -1
};
/* Numbers in all tensors of one item together, which bounds what a small file can ask for. */
#define ONNX_FLOATS_MAX ((size_t)1 << 28)
#define ONNX_FOLDED_MAX ((size_t)1 << 24) /* the same of constants that the engine computes */
/* Multiply-adds and the like for all of these, some seconds. */
#define ONNX_FOLDED_WORK_MAX ((uint64_t)1 << 34)

/* The one size that is not known at import, among the integers of a constant. No number that files
 * have a use for: INT64_MIN itself is "from the first" in a Slice that goes backwards. */
#define ONNX_BATCH (INT64_MIN + 0x6261)

/* ---- The import -------------------------------------------------------------------------------
 */

/* A tensor of the network, as the file sees it and as it lies in the engine. */
typedef struct onnx_array {
    tl_tensor_index tensor;
    int32_t type;                 /* ONNX's element type */
    uint32_t rank;                /* ONNX's, the batch included */
    uint32_t dim[ONNX_RANK_MAX];  /* ONNX's; read by items the batch is 1 */
    uint8_t order[ONNX_RANK_MAX]; /* the ONNX axis of each axis of the item */
} onnx_array;

typedef enum onnx_value_kind {
    ONNX_VALUE_UNKNOWN, /* not made yet, or never: a side output such as Dropout's mask */
    ONNX_VALUE_TENSOR,
    ONNX_VALUE_CONSTANT
} onnx_value_kind;

/* A named value of the file. */
typedef struct onnx_value {
    const char *name; /* borrowed from the model */
    onnx_value_kind kind;
    const Onnx__TensorProto *constant; /* checked; may be shared by values behind Identity */
    onnx_dims dims;                    /* the constant's */
    int32_t origin;   /* value whose numbers a constant has, elsewhere; ONNX_NONE */
    onnx_array array; /* TENSOR */
    uint32_t pad[4];  /* TENSOR: zeros to add before use (top, left, bottom, right), from a Pad */
    int32_t producer, consumer; /* node indexes or ONNX_NONE; consumer: one of them */
    uint32_t use_count;         /* by nodes and outputs of the graph */
    uint32_t param_count;       /* parameters that were made of it */
    bool is_output;
} onnx_value;

typedef struct onnx_op_entry onnx_op_entry;

typedef struct onnx_node {
    const Onnx__NodeProto *proto;
    const char *op;
    const onnx_op_entry *entry; /* NULL: not known */
    int32_t *inputs, *outputs;  /* value indexes; ONNX_NONE where left out */
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
    bool whole;     /* an item is the whole tensor */
    bool mixes;     /* onnx_fail_batch was called */
    bool folding;   /* the builder is for one node of constants */
    uint32_t batch; /* as the inputs state it; 0: any */
    size_t floats;  /* in the tensors so far */
    size_t folded;  /* in those of constants that the engine computed */
    uint64_t folded_work;
    uint32_t folded_names;
    uint32_t input_count; /* of the engine's graph: its tensors before all others */
    tl_error *err;
} onnx_import;

/* "Conv node /c1/Conv: <text>". */
tl_status onnx_fail(const onnx_import *import, const onnx_node *node, tl_status status,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The node mixes the items of a batch: TL_EUNSUPPORTED, and the file may be read whole. */
tl_status onnx_fail_batch(onnx_import *import, const onnx_node *node, const char *what);

typedef tl_status (*onnx_handler)(onnx_import *import, onnx_node *node);
struct onnx_op_entry {
    const char *op;
    onnx_handler handler;
    uint8_t operand_min, operand_max; /* 255: any number */
    const char *accepts; /* what is taken of it, for docs/operators.md; "": all of it */
};
enum { ONNX_ANY = 255 };
/* NULL when there is none. */
const onnx_op_entry *onnx_entry_find(const char *op);
/* What can be done about an operator that is not there. */
const char *onnx_remedy(const char *op);
/* ---- Ends (ends.c) ----------------------------------------------------------------------------
 */

/* Inputs of the network become tensors; values that outputs name become its outputs. */
tl_status onnx_inputs_define(onnx_import *import);
tl_status onnx_outputs_define(onnx_import *import);

/* ---- Names (names.c) --------------------------------------------------------------------------
 */

onnx_value *onnx_find_value(const onnx_import *import, const char *name);
/* Make the tables of values and nodes, and mark what the outputs depend on. */
tl_status onnx_names_build(onnx_import *import);

/* ---- Attributes and operands (operands.c) -----------------------------------------------------
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
/* Attribute `name`, an axis of a tensor of that rank, negative ones counted from the end. */
tl_status onnx_attr_axis(const onnx_import *import, const onnx_node *node, const char *name,
                         int64_t otherwise, uint32_t rank, uint32_t *out);
/* The same of a number. TL_EINVAL when it is outside. */
tl_status onnx_axis(const onnx_import *import, const onnx_node *node, int64_t axis, uint32_t rank,
                    uint32_t *out);
/* Number `at` of the constant as an index along an axis of `size`, negative ones likewise. */
tl_status onnx_index(onnx_import *import, const onnx_node *node, const onnx_value *constant,
                     size_t at, uint32_t size, uint32_t *out);

/* NULL when it is left out. */
onnx_value *onnx_operand(const onnx_import *import, const onnx_node *node, size_t index);
bool onnx_operand_is_constant(const onnx_import *import, const onnx_node *node, size_t index);
tl_status onnx_operand_constant(const onnx_import *import, const onnx_node *node, size_t index,
                                onnx_value **out);
/* As a tensor: what is pending is done, a constant becomes a node. */
tl_status onnx_operand_array(onnx_import *import, const onnx_node *node, size_t index,
                             onnx_array *out);
/* Integers from operand `index` (a constant) or, when that is left out, from attribute `name`.
 * *count is 0 when neither is there, and SIZE_MAX is never. The batch may stand only where
 * `batch_at_head`, as the first of them. */
tl_status onnx_operand_integers(onnx_import *import, const onnx_node *node, size_t index,
                                const char *name, bool batch_at_head, size_t count_max,
                                int64_t *out, size_t *count);
/* One number likewise. */
tl_status onnx_operand_number(const onnx_import *import, const onnx_node *node, size_t index,
                              const char *name, double otherwise, double *out);

/* All elements as floats in the arena; NULL when out of memory (reported). */
float *onnx_floats(const onnx_import *import, const onnx_value *constant);
float *onnx_floats_alloc(const onnx_import *import, size_t count);
/* The same of weights: refused, reported, when one is not finite. */
float *onnx_weights(const onnx_import *import, const onnx_node *node, const onnx_value *constant);
/* The name under which `value` becomes a parameter: unique, printable, short enough. */
const char *onnx_param_name(onnx_import *import, const onnx_value *value);
/* Constant operand `index` as a parameter of `count` floats (0: any). */
tl_status onnx_operand_param(onnx_import *import, const onnx_node *node, size_t index, size_t count,
                             tl_param_init *out);

/* Declare an output of the node. */
tl_status onnx_yield_at(onnx_import *import, onnx_node *node, size_t index,
                        const onnx_array *array);
tl_status onnx_yield(onnx_import *import, onnx_node *node, const onnx_array *array);
/* Output 0 is another name for `source`. */
tl_status onnx_yield_same(onnx_import *import, onnx_node *node, const onnx_value *source);
/* Output `index` is a constant that was made here (checked), of the numbers of value `origin`. */
tl_status onnx_yield_constant(onnx_import *import, onnx_node *node, size_t index,
                              const Onnx__TensorProto *constant, int32_t origin);

/* ---- Order (array/order.c) --------------------------------------------------------------------
 */

/* Axes before the item's: the batch, or none. */
static inline uint32_t onnx_lead(const onnx_import *import)
{
    return import->whole ? 0 : 1;
}

static inline uint32_t onnx_item_rank(const onnx_import *import, const onnx_array *a)
{
    return a->rank - onnx_lead(import);
}

/* The file's order. */
void onnx_order_plain(const onnx_import *import, onnx_array *a);
/* Position of ONNX axis `axis` in the item. */
uint32_t onnx_place(const onnx_import *import, const onnx_array *a, uint32_t axis);
/* Fails when the item has more dimensions than the engine takes. */
tl_status onnx_item_shape(const onnx_import *import, const onnx_node *node, const onnx_array *a,
                          tl_shape *out);

typedef struct onnx_emit_options {
    tl_op_kind kind;
    const tl_attrs *attrs; /* NULL: the default */
    const onnx_array *const *inputs;
    size_t input_count;
    const tl_param_init *params;
    size_t param_count;
} onnx_emit_options;

/* Append an engine node named after `node`. *out comes with rank, order and type; its tensor and
 * sizes are filled in. */
tl_status onnx_emit(onnx_import *import, const onnx_node *node, const onnx_emit_options *options,
                    onnx_array *out);
/* x = f(x), same axes. */
tl_status onnx_unary(onnx_import *import, const onnx_node *node, tl_op_kind kind,
                     const tl_attrs *attrs, onnx_array *x);

/* Move numbers, where needed, until the item's axes have that order; [item rank] entries. */
tl_status onnx_arrange(onnx_import *import, const onnx_node *node, onnx_array *x,
                       const uint8_t *order);
/* [n, c, ...]: until the channels are last and the others in the file's order; [h, w, c]. */
tl_status onnx_arrange_image(onnx_import *import, const onnx_node *node, onnx_array *x);
/* Until that axis is last; the others stay as they are. */
tl_status onnx_arrange_last(onnx_import *import, const onnx_node *node, onnx_array *x,
                            uint32_t axis);
/* ONNX's Reshape and Transpose. Read by items, axis 0 is the batch in both. */
tl_status onnx_reshape(onnx_import *import, const onnx_node *node, onnx_array *x, uint32_t rank,
                       const uint32_t *dim);
tl_status onnx_transpose(onnx_import *import, const onnx_node *node, onnx_array *x,
                         const uint8_t *permutation);
/* Insert an axis of 1 before `axis`, or take one away. */
tl_status onnx_unsqueeze(onnx_import *import, const onnx_node *node, onnx_array *x, uint32_t axis);
tl_status onnx_squeeze(onnx_import *import, const onnx_node *node, onnx_array *x, uint32_t axis);

/* ---- Arithmetic (array/arithmetic.c) ----------------------------------------------------------
 */

/* A constant as a tensor of that rank, axes of 1 put before; `order` NULL: the file's. */
tl_status onnx_constant_array(onnx_import *import, const onnx_node *node, onnx_value *value,
                              uint32_t rank, const uint8_t *order, bool trained, onnx_array *out);
/* A constant as it is, without any batch. */
tl_status onnx_constant_tensor(onnx_import *import, const onnx_node *node, onnx_value *value,
                               bool trained, tl_tensor_index *out);
/* One number, beside tensors of that rank. */
tl_status onnx_number(onnx_import *import, const onnx_node *node, float number, uint32_t rank,
                      onnx_array *out);
/* Operands first..first+count-1, broadcast to each other: same rank, same order of axes. Sizes may
 * still be 1 where others are not. */
tl_status onnx_aligned(onnx_import *import, const onnx_node *node, size_t first, size_t count,
                       onnx_array *out);
/* Of aligned or unaligned tensors of equal rank; *out may be one of them. */
tl_status onnx_binary(onnx_import *import, const onnx_node *node, tl_op_kind kind,
                      const onnx_array *a, const onnx_array *b, onnx_array *out);
/* x = x <kind> number. */
tl_status onnx_binary_number(onnx_import *import, const onnx_node *node, tl_op_kind kind,
                             onnx_array *x, float number);
/* Over the ONNX axes whose bit is set. */
tl_status onnx_reduce(onnx_import *import, const onnx_node *node, tl_op_kind kind, uint32_t axes,
                      bool keep, onnx_array *x);
tl_status onnx_slice(onnx_import *import, const onnx_node *node, onnx_array *x, uint32_t axis,
                     int64_t begin, int64_t end, int64_t step);
/* *out may be parts[0]; parts are moved into its order. */
tl_status onnx_concat(onnx_import *import, const onnx_node *node, onnx_array *parts, size_t count,
                      uint32_t axis, onnx_array *out);
/* Zeros or `fill` around; [rank] each. */
tl_status onnx_pad(onnx_import *import, const onnx_node *node, onnx_array *x,
                   const uint32_t *before, const uint32_t *after, tl_pad_mode mode, float fill);

/* ---- Constants (fold/) ------------------------------------------------------------------------
 */

/* Compute a node all of whose operands are constants: integers exactly, the rest by the engine. */
tl_status onnx_fold(onnx_import *import, onnx_node *node);
/* A checked constant in the arena; exactly one of *integers and *floats is for the caller to fill,
 * by the type. NULL when out of memory or over a bound (reported). */
Onnx__TensorProto *onnx_constant_new(const onnx_import *import, int32_t type, uint32_t rank,
                                     const uint32_t *dim, int64_t **integers, float **floats);
/* The sizes of an operand, and of what they are computed. */
tl_status onnx_run_shape(onnx_import *import, onnx_node *node);

#endif

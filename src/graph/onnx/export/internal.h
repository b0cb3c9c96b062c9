/* export/internal.h - the parts of the ONNX exporter. Not for other modules.
 *
 * model.c  the file around the nodes: inputs, outputs, metadata, packing
 * write.c  nodes, attributes, initializers; the orders in which a tensor is at hand
 * layer.c  operators with weights, pooling, resizing
 * ops.c    every other operator
 *
 * An item's axes are ours, in the order in which memory has them: images are [h, w, c]. ONNX puts a
 * batch before them and wants images as [n, c, h, w]. So each tensor is at hand in one or more
 * orders of its axes, and only who needs another order makes a Transpose. */
#ifndef TL_GRAPH_ONNX_EXPORT_INTERNAL_H
#define TL_GRAPH_ONNX_EXPORT_INTERNAL_H

#include "base/arena.h"
#include "graph/internal.h"
#include "graph/onnx.h"
#include "onnx/onnx.pb-c.h"

enum { EXPORT_FORMS_MAX = 4, EXPORT_OPSET = 17, EXPORT_IR = 8 };

typedef struct export_order {
    uint8_t axis[TL_RANK_MAX]; /* of ours, for each of ONNX's after the batch */
} export_order;

extern const export_order EXPORT_PLAIN, EXPORT_IMAGE;

/* What is known of a tensor of the graph. */
typedef struct export_tensor {
    struct {
        const char *name;
        export_order order;
    } forms[EXPORT_FORMS_MAX];
    uint32_t form_count;
    const tl_node *maker; /* NULL: an input */
    uint32_t readers;     /* nodes and outputs */
    size_t reader;        /* index of a node that reads it */
    bool named;           /* a constant: its parameter's name is taken */
    const char *output;   /* its name as an output of the file, until a form takes it */
} export_tensor;

/* A file under construction. The first failure is remembered, and later calls do nothing. */
typedef struct onnx_export {
    const tl_graph *graph;
    const float *flat;
    const tl_onnx_export_options *options;
    tl_arena *arena;
    export_tensor *tensors;
    const tl_node *node; /* that is exported just now */
    bool *done;          /* nodes that another one exported too */
    Onnx__NodeProto **nodes;
    Onnx__TensorProto **initializers;
    size_t node_count, node_room, initializer_count, initializer_room, name_count;
    tl_status status;
    tl_error *err;
} onnx_export;

/* ---- Bookkeeping (write.c) --------------------------------------------------------------------
 */

/* "NODE (OPERATOR): <text>". */
void export_fail(onnx_export *e, tl_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Cleared; NULL when out of memory, which is remembered. */
void *export_alloc(onnx_export *e, size_t bytes);
/* A name that nothing has; "" after a failure, as below. */
const char *export_name(onnx_export *e);
/* Does a parameter have the name, or an input or output for which the caller gave it? */
bool export_is_taken(const onnx_export *e, const char *name);
/* Inputs and outputs for which the caller gave the name. */
size_t export_given_count(const onnx_export *e, const char *name);

/* ---- Forms of a tensor ------------------------------------------------------------------------
 */

/* The order in which it is at hand. */
export_order export_order_of(const onnx_export *e, uint32_t tensor);
/* Its name in that order; a Transpose when there is none yet. Constants become initializers. */
const char *export_want(onnx_export *e, uint32_t tensor, export_order order);
/* The same, with ones before its shape up to `rank`; for broadcasting. */
const char *export_want_rank(onnx_export *e, uint32_t tensor, uint32_t rank, export_order order);
/* A tensor that is smaller than `rank` can be had in that order by a Reshape. */
bool export_can_pad(const onnx_export *e, uint32_t tensor, uint32_t rank, export_order order);
/* A new form: the name that the node to come must write. */
const char *export_make(onnx_export *e, uint32_t tensor, export_order order);
/* A new form under a name that is there already. */
void export_alias(onnx_export *e, uint32_t tensor, export_order order, const char *name);
/* Position of our axis in ONNX's shape. */
int64_t export_position(uint32_t rank, export_order order, uint32_t axis);
/* The numbers of the constant behind a tensor, or NULL. */
const float *export_constant(const onnx_export *e, uint32_t tensor);
const tl_shape *export_shape(const onnx_export *e, uint32_t tensor);

/* ---- Nodes, attributes, initializers ----------------------------------------------------------
 */

Onnx__NodeProto *export_node(onnx_export *e, const char *op, const char *output,
                             const char *const *inputs, size_t count);
#define EXPORT_NODE(e, op, output, ...)                                                            \
    export_node(e, op, output, (const char *const[]){ __VA_ARGS__ },                               \
                sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))

/* `node` may be NULL, after a failure. */
void export_int(onnx_export *e, Onnx__NodeProto *node, const char *name, int64_t value);
void export_ints(onnx_export *e, Onnx__NodeProto *node, const char *name, const int64_t *values,
                 size_t count);
void export_float(onnx_export *e, Onnx__NodeProto *node, const char *name, float value);
void export_text(onnx_export *e, Onnx__NodeProto *node, const char *name, const char *value);

/* Initializers; `values` are borrowed until the file is packed. `name` NULL: a new one. */
const char *export_floats(onnx_export *e, const char *name, const int64_t *dims, size_t rank,
                          const float *values);
const char *export_integers(onnx_export *e, const int64_t *values, size_t count);
/* No dimension. */
const char *export_number(onnx_export *e, float value);
/* Parameter `index` of the node, in its own shape and under its own name. */
const char *export_param(onnx_export *e, const tl_node *node, uint32_t index);
/* The constant behind a tensor in its own shape, without a batch; under its own name if it is the
 * first use. */
const char *export_table(onnx_export *e, uint32_t tensor);
/* `from` in the shape [0, dims]: 0 stands for the batch. */
void export_reshape(onnx_export *e, const char *output, const char *from, const uint32_t *dims,
                    uint32_t rank);

/* ---- Operators --------------------------------------------------------------------------------
 */

typedef void (*export_handler)(onnx_export *e, const tl_node *node);
/* NULL: not of this file. */
export_handler export_layer_find(tl_op_kind kind);
void export_op(onnx_export *e, const tl_node *node);

#endif

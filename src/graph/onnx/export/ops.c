#include "graph/onnx/export/internal.h"

#include <math.h>
#include <string.h>

static uint32_t input(const tl_node *node)
{
    return node->inputs[0];
}

static void cast(onnx_export *e, const char *output, const char *from, int64_t type)
{
    export_int(e, EXPORT_NODE(e, "Cast", output, from), "to", type);
}

enum {
    FLOAT = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
    INTEGER = ONNX__TENSOR_PROTO__DATA_TYPE__INT64,
    BOOL = ONNX__TENSOR_PROTO__DATA_TYPE__BOOL
};

static const char *as_type(onnx_export *e, const char *from, int64_t type)
{
    const char *name = export_name(e);
    cast(e, name, from, type);
    return name;
}

static const char *step(onnx_export *e, const char *op, const char *a, const char *b)
{
    const char *name = export_name(e);
    export_node(e, op, name, (const char *const[]){ a, b }, b == NULL ? 1 : 2);
    return name;
}

/* ---- Functions of one number ----------------------------------------------------------------- */

/* Those that ONNX has under a name, without attributes. */
static const char *unary_name(tl_op_kind kind)
{
    switch (kind) {
    case TL_OP_RELU: return "Relu";
    case TL_OP_HARD_SWISH: return "HardSwish";
    case TL_OP_HARD_SIGMOID: return "HardSigmoid";
    case TL_OP_SIGMOID: return "Sigmoid";
    case TL_OP_ABS: return "Abs";
    case TL_OP_LEAKY_RELU: return "LeakyRelu";
    case TL_OP_TANH: return "Tanh";
    case TL_OP_ELU: return "Elu";
    case TL_OP_SELU: return "Selu";
    case TL_OP_SOFTPLUS: return "Softplus";
    case TL_OP_SOFTSIGN: return "Softsign";
    case TL_OP_EXP: return "Exp";
    case TL_OP_LOG: return "Log";
    case TL_OP_SQRT: return "Sqrt";
    case TL_OP_RECIPROCAL: return "Reciprocal";
    case TL_OP_NEG: return "Neg";
    case TL_OP_ERF: return "Erf";
    case TL_OP_FLOOR: return "Floor";
    case TL_OP_CEIL: return "Ceil";
    case TL_OP_SIGN: return "Sign";
    case TL_OP_ROUND: return "Round";
    default: return NULL;
    }
}

static void named_unary(onnx_export *e, const tl_node *node, const char *x, const char *y)
{
    const tl_attrs *a = &node->attrs;
    Onnx__NodeProto *out = EXPORT_NODE(e, unary_name(node->kind), y, x);
    switch (node->kind) {
    case TL_OP_HARD_SIGMOID:
        export_float(e, out, "alpha", a->alpha);
        export_float(e, out, "beta", a->beta);
        break;
    case TL_OP_SELU: export_float(e, out, "gamma", a->beta); /* fall through */
    case TL_OP_LEAKY_RELU:
    case TL_OP_ELU: export_float(e, out, "alpha", a->alpha); break;
    default: break;
    }
}

/* x / 2 * (1 + g(x)) */
static void gelu(onnx_export *e, const tl_node *node, const char *x, const char *y)
{
    const char *g;
    if (node->kind == TL_OP_GELU) {
        g = step(e, "Erf", step(e, "Mul", x, export_number(e, (float)sqrt(0.5))), NULL);
    } else {
        const char *cube = step(e, "Mul", step(e, "Mul", x, x), x);
        const char *sum = step(e, "Add", x, step(e, "Mul", cube, export_number(e, 0.044715f)));
        g = step(e, "Tanh",
                 step(e, "Mul", sum, export_number(e, (float)sqrt(2.0 / 3.14159265358979323846))),
                 NULL);
    }
    const char *half = step(e, "Mul", x, export_number(e, 0.5f));
    EXPORT_NODE(e, "Mul", y, half, step(e, "Add", g, export_number(e, 1.0f)));
}

static void unary(onnx_export *e, const tl_node *node)
{
    const export_order order = export_order_of(e, input(node));
    const char *x = export_want(e, input(node), order), *y = export_make(e, node->output, order);
    switch (node->kind) {
    case TL_OP_CLIP:
        EXPORT_NODE(e, "Clip", y, x, export_number(e, node->attrs.alpha),
                    export_number(e, node->attrs.beta));
        break;
    case TL_OP_SILU: EXPORT_NODE(e, "Mul", y, x, step(e, "Sigmoid", x, NULL)); break;
    case TL_OP_MISH:
        EXPORT_NODE(e, "Mul", y, x, step(e, "Tanh", step(e, "Softplus", x, NULL), NULL));
        break;
    case TL_OP_GELU:
    case TL_OP_GELU_TANH: gelu(e, node, x, y); break;
    case TL_OP_NOT: cast(e, y, step(e, "Not", as_type(e, x, BOOL), NULL), FLOAT); break;
    case TL_OP_CAST_INTEGER: cast(e, y, as_type(e, x, INTEGER), FLOAT); break;
    case TL_OP_CAST_BOOL: cast(e, y, as_type(e, x, BOOL), FLOAT); break;
    default: named_unary(e, node, x, y);
    }
}

static void prelu(onnx_export *e, const tl_node *node)
{
    const uint32_t rank = export_shape(e, input(node))->rank;
    const export_order order = export_order_of(e, input(node));
    const tl_param *slope = &e->graph->params[node->params[0]];
    int64_t dims[TL_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = order.axis[i] == rank - 1 ? (int64_t)slope->count : 1;
    const char *x = export_want(e, input(node), order);
    const char *by = export_floats(e, slope->name, dims, rank, e->flat + slope->offset);
    EXPORT_NODE(e, "PRelu", export_make(e, node->output, order), x, by);
}

/* ---- Functions of two and three -------------------------------------------------------------- */

/* An order in which every operand can be had: of the first that has the whole rank. */
static export_order common_order(const onnx_export *e, const tl_node *node)
{
    const uint32_t rank = export_shape(e, node->output)->rank;
    export_order order = EXPORT_PLAIN;
    for (uint32_t i = node->input_count; i-- > 0;)
        if (export_shape(e, node->inputs[i])->rank == rank &&
            export_constant(e, node->inputs[i]) == NULL)
            order = export_order_of(e, node->inputs[i]);
    for (uint32_t i = 0; i < node->input_count; i++)
        if (export_shape(e, node->inputs[i])->rank < rank &&
            !export_can_pad(e, node->inputs[i], rank, order))
            return EXPORT_PLAIN;
    return order;
}

static const char *binary_name(tl_op_kind kind)
{
    switch (kind) {
    case TL_OP_ADD: return "Add";
    case TL_OP_SUB: return "Sub";
    case TL_OP_MUL: return "Mul";
    case TL_OP_DIV: return "Div";
    case TL_OP_POW: return "Pow";
    case TL_OP_MIN: return "Min";
    case TL_OP_MAX: return "Max";
    case TL_OP_FMOD: return "Mod";
    case TL_OP_MOD: return "Mod";
    case TL_OP_EQUAL: return "Equal";
    case TL_OP_GREATER: return "Greater";
    case TL_OP_GREATER_OR_EQUAL: return "GreaterOrEqual";
    case TL_OP_LESS: return "Less";
    case TL_OP_LESS_OR_EQUAL: return "LessOrEqual";
    case TL_OP_AND: return "And";
    case TL_OP_OR: return "Or";
    case TL_OP_XOR: return "Xor";
    default: return NULL;
    }
}

static void binary(onnx_export *e, const tl_node *node)
{
    const uint32_t rank = export_shape(e, node->output)->rank;
    const export_order order = common_order(e, node);
    const char *a = export_want_rank(e, node->inputs[0], rank, order);
    const char *b = export_want_rank(e, node->inputs[1], rank, order);
    const char *y = export_make(e, node->output, order), *op = binary_name(node->kind);
    switch (node->kind) {
    case TL_OP_AND:
    case TL_OP_OR:
    case TL_OP_XOR: a = as_type(e, a, BOOL); b = as_type(e, b, BOOL); /* fall through */
    case TL_OP_EQUAL:
    case TL_OP_GREATER:
    case TL_OP_GREATER_OR_EQUAL:
    case TL_OP_LESS:
    case TL_OP_LESS_OR_EQUAL: cast(e, y, step(e, op, a, b), FLOAT); break;
    case TL_OP_MOD: /* ONNX has it for integers only */
        EXPORT_NODE(e, "Sub", y, a,
                    step(e, "Mul", b, step(e, "Floor", step(e, "Div", a, b), NULL)));
        break;
    case TL_OP_FMOD: export_int(e, EXPORT_NODE(e, op, y, a, b), "fmod", 1); break;
    default: EXPORT_NODE(e, op, y, a, b);
    }
}

static void where(onnx_export *e, const tl_node *node)
{
    const uint32_t rank = export_shape(e, node->output)->rank;
    const export_order order = common_order(e, node);
    const char *names[3];
    for (uint32_t i = 0; i < 3; i++) names[i] = export_want_rank(e, node->inputs[i], rank, order);
    EXPORT_NODE(e, "Where", export_make(e, node->output, order), as_type(e, names[0], BOOL),
                names[1], names[2]);
}

/* ---- Along axes ------------------------------------------------------------------------------ */

static uint32_t axis_of(const onnx_export *e, const tl_node *node)
{
    const int32_t rank = (int32_t)export_shape(e, input(node))->rank, axis = node->attrs.axis;
    return (uint32_t)(axis < 0 ? axis + rank : axis);
}

/* ONNX's axis for the node's. */
static int64_t axis_in(const onnx_export *e, const tl_node *node, export_order order)
{
    return export_position(export_shape(e, input(node))->rank, order, axis_of(e, node));
}

static void softmax(onnx_export *e, const tl_node *node)
{
    const export_order order = export_order_of(e, input(node));
    const char *x = export_want(e, input(node), order);
    const char *op = node->kind == TL_OP_SOFTMAX ? "Softmax" : "LogSoftmax";
    export_int(e, EXPORT_NODE(e, op, export_make(e, node->output, order), x), "axis",
               axis_in(e, node, order));
}

/* `kept` has the operand's rank, with ones; the output does, or lost them. */
static void yield_reduced(onnx_export *e, const tl_node *node, const char *kept, export_order order)
{
    const tl_shape *shape = export_shape(e, node->output);
    if (node->attrs.keep_dims)
        export_alias(e, node->output, order, kept);
    else
        export_reshape(e, export_make(e, node->output, EXPORT_PLAIN), kept, shape->dim,
                       shape->rank);
}

static void reduce(onnx_export *e, const tl_node *node)
{
    static const char *const names[] = { "ReduceSum", "ReduceMean", "ReduceMax",
                                         "ReduceMin", "ReduceProd", "ReduceL2" };
    const uint32_t rank = export_shape(e, input(node))->rank;
    const uint32_t mask = node->attrs.axis_mask;
    /* What is left keeps its order only in ours. */
    const export_order order =
        node->attrs.keep_dims ? export_order_of(e, input(node)) : EXPORT_PLAIN;
    int64_t axes[TL_RANK_MAX];
    size_t count = 0;
    for (uint32_t a = 0; a < rank; a++)
        if (mask == 0 || (mask >> a & 1) != 0) axes[count++] = export_position(rank, order, a);
    const char *x = export_want(e, input(node), order), *y = export_name(e);
    if (node->kind == TL_OP_REDUCE_SUM)
        EXPORT_NODE(e, names[0], y, x, export_integers(e, axes, count));
    else
        export_ints(e, EXPORT_NODE(e, names[node->kind - TL_OP_REDUCE_SUM], y, x), "axes", axes,
                    count);
    yield_reduced(e, node, y, order);
}

static void arg_max(onnx_export *e, const tl_node *node)
{
    const export_order order =
        node->attrs.keep_dims ? export_order_of(e, input(node)) : EXPORT_PLAIN;
    const char *x = export_want(e, input(node), order), *at = export_name(e);
    export_int(e, EXPORT_NODE(e, "ArgMax", at, x), "axis", axis_in(e, node, order));
    yield_reduced(e, node, as_type(e, at, FLOAT), order);
}

/* ---- Moving numbers -------------------------------------------------------------------------- */

static void concat(onnx_export *e, const tl_node *node)
{
    const export_order order = common_order(e, node);
    const char *names[TL_OP_INPUT_MAX];
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (export_constant(e, node->inputs[i]) != NULL)
            export_fail(e, TL_EUNSUPPORTED, "a constant operand would need the size of the batch");
        names[i] = export_want(e, node->inputs[i], order);
    }
    Onnx__NodeProto *out =
        export_node(e, "Concat", export_make(e, node->output, order), names, node->input_count);
    export_int(e, out, "axis", axis_in(e, node, order));
}

static void flatten(onnx_export *e, const tl_node *node)
{
    const bool image = export_shape(e, input(node))->rank == 3;
    const char *x = export_want(e, input(node), image ? EXPORT_IMAGE : EXPORT_PLAIN);
    export_int(e, EXPORT_NODE(e, "Flatten", export_make(e, node->output, EXPORT_PLAIN), x), "axis",
               1);
}

static void slice(onnx_export *e, const tl_node *node)
{
    const export_order order = export_order_of(e, input(node));
    const int64_t begin = node->attrs.begin, step_by = node->attrs.step;
    const int64_t end = node->attrs.end < 0 ? INT32_MIN : node->attrs.end;
    const int64_t axis = axis_in(e, node, order);
    const char *x = export_want(e, input(node), order);
    EXPORT_NODE(e, "Slice", export_make(e, node->output, order), x, export_integers(e, &begin, 1),
                export_integers(e, &end, 1), export_integers(e, &axis, 1),
                export_integers(e, &step_by, 1));
}

static void reshape(onnx_export *e, const tl_node *node)
{
    const tl_shape *to = export_shape(e, node->output), *from = export_shape(e, input(node));
    /* One pixel, or one channel: memory is the same in both orders. */
    const bool from_image =
        from->rank == 3 && (from->dim[0] * from->dim[1] == 1 || from->dim[2] == 1);
    const bool to_image = to->rank == 3 && to->dim[0] * to->dim[1] == 1;
    const export_order order = to_image ? EXPORT_IMAGE : EXPORT_PLAIN;
    const char *x =
        export_want(e, input(node), from_image ? export_order_of(e, input(node)) : EXPORT_PLAIN);
    uint32_t dims[TL_RANK_MAX];
    for (uint32_t i = 0; i < to->rank; i++) dims[i] = to->dim[order.axis[i]];
    export_reshape(e, export_make(e, node->output, order), x, dims, to->rank);
}

/* Nothing moves: what the operand has in one order, the output has in another. */
static void permute(onnx_export *e, const tl_node *node)
{
    const uint32_t rank = export_shape(e, input(node))->rank;
    const char *name = export_want(e, input(node), export_order_of(e, input(node)));
    const export_order from = export_order_of(e, input(node));
    export_order order = EXPORT_PLAIN;
    for (uint32_t i = 0; i < rank; i++)
        for (uint32_t to = 0; to < rank; to++)
            if (node->attrs.axes[to] == from.axis[i]) order.axis[i] = (uint8_t)to;
    export_alias(e, node->output, order, name);
}

static void pad(onnx_export *e, const tl_node *node)
{
    static const char *const modes[] = { "constant", "reflect", "edge", NULL };
    const uint32_t rank = export_shape(e, input(node))->rank;
    const export_order order = export_order_of(e, input(node));
    int64_t pads[2 * (TL_RANK_MAX + 1)] = { 0 };
    if (modes[node->attrs.pad_mode] == NULL) {
        export_fail(e, TL_EUNSUPPORTED, "padding by wrapping, which operator set %d does not have",
                    EXPORT_OPSET);
        return;
    }
    for (uint32_t i = 0; i < rank; i++) {
        pads[1 + i] = node->attrs.pad_begin[order.axis[i]];
        pads[1 + rank + 1 + i] = node->attrs.pad_end[order.axis[i]];
    }
    const char *x = export_want(e, input(node), order);
    const char *by = export_integers(e, pads, 2 * (rank + 1));
    Onnx__NodeProto *out = EXPORT_NODE(e, "Pad", export_make(e, node->output, order), x, by,
                                       export_number(e, node->attrs.alpha));
    export_text(e, out, "mode", modes[node->attrs.pad_mode]);
}

static void tile(onnx_export *e, const tl_node *node)
{
    const tl_shape *to = export_shape(e, node->output), *from = export_shape(e, input(node));
    const export_order order =
        from->rank == to->rank ? export_order_of(e, input(node)) : EXPORT_PLAIN;
    int64_t repeats[TL_RANK_MAX + 1] = { 1 };
    for (uint32_t i = 0; i < to->rank; i++) {
        const uint32_t axis = order.axis[i], before = to->rank - from->rank;
        repeats[1 + i] = to->dim[axis] / (axis < before ? 1 : from->dim[axis - before]);
    }
    const char *x = export_want_rank(e, input(node), to->rank, order);
    EXPORT_NODE(e, "Tile", export_make(e, node->output, order), x,
                export_integers(e, repeats, 1 + to->rank));
}

/* ONNX's Gather takes the same from every item: one of the two must be constant. */
static void gather(onnx_export *e, const tl_node *node)
{
    const uint32_t table = node->inputs[0], where_from = node->inputs[1];
    const uint32_t axis = axis_of(e, node);
    if (export_constant(e, where_from) != NULL) {
        const char *x = export_want(e, table, EXPORT_PLAIN);
        const char *at = as_type(e, export_table(e, where_from), INTEGER);
        export_int(e, EXPORT_NODE(e, "Gather", export_make(e, node->output, EXPORT_PLAIN), x, at),
                   "axis", 1 + axis);
        return;
    }
    if (export_constant(e, table) == NULL || axis != 0) {
        export_fail(e, TL_EUNSUPPORTED, "gathering with indices and data that both vary");
        return;
    }
    const char *x = export_table(e, table);
    const char *at = as_type(e, export_want(e, where_from, EXPORT_PLAIN), INTEGER);
    export_int(e, EXPORT_NODE(e, "Gather", export_make(e, node->output, EXPORT_PLAIN), x, at),
               "axis", 0);
}

/* ---- All of them ----------------------------------------------------------------------------- */

static void constant(onnx_export *e, const tl_node *node)
{
    (void)e, (void)node; /* an initializer where it is wanted */
}

static export_handler find(tl_op_kind kind)
{
    switch (kind) {
    case TL_OP_PRELU: return prelu;
    case TL_OP_WHERE: return where;
    case TL_OP_SOFTMAX:
    case TL_OP_LOG_SOFTMAX: return softmax;
    case TL_OP_REDUCE_SUM:
    case TL_OP_REDUCE_MEAN:
    case TL_OP_REDUCE_MAX:
    case TL_OP_REDUCE_MIN:
    case TL_OP_REDUCE_PROD:
    case TL_OP_REDUCE_L2: return reduce;
    case TL_OP_ARG_MAX: return arg_max;
    case TL_OP_CONCAT: return concat;
    case TL_OP_FLATTEN: return flatten;
    case TL_OP_SLICE: return slice;
    case TL_OP_RESHAPE: return reshape;
    case TL_OP_PERMUTE: return permute;
    case TL_OP_PAD: return pad;
    case TL_OP_EXPAND:
    case TL_OP_TILE: return tile;
    case TL_OP_GATHER: return gather;
    case TL_OP_CONSTANT: return constant;
    case TL_OP_CLIP:
    case TL_OP_SILU:
    case TL_OP_MISH:
    case TL_OP_GELU:
    case TL_OP_GELU_TANH:
    case TL_OP_NOT:
    case TL_OP_CAST_INTEGER:
    case TL_OP_CAST_BOOL: return unary;
    default:
        return unary_name(kind) != NULL    ? unary
               : binary_name(kind) != NULL ? binary
                                           : export_layer_find(kind);
    }
}

void export_op(onnx_export *e, const tl_node *node)
{
    const export_handler handler = find(node->kind);
    e->node = node;
    if (handler == NULL)
        export_fail(e, TL_EUNSUPPORTED, "ONNX files cannot be written with it yet");
    else if (e->status == TL_OK)
        handler(e, node);
    e->node = NULL;
}

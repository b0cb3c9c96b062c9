#include "graph/onnx/import/ops/internal.h"

#include <string.h>

/* ---- Reductions -------------------------------------------------------------------------------
 */

/* What is done before and after the sum, of the kinds that the engine has no operator for. */
typedef struct reduction {
    const char *op;
    tl_op_kind kind, before, after; /* TL_OP_COUNT: nothing */
} reduction;

static const reduction REDUCTIONS[] = {
    { "ReduceMean", TL_OP_REDUCE_MEAN, TL_OP_COUNT, TL_OP_COUNT },
    { "ReduceSum", TL_OP_REDUCE_SUM, TL_OP_COUNT, TL_OP_COUNT },
    { "ReduceMax", TL_OP_REDUCE_MAX, TL_OP_COUNT, TL_OP_COUNT },
    { "ReduceMin", TL_OP_REDUCE_MIN, TL_OP_COUNT, TL_OP_COUNT },
    { "ReduceProd", TL_OP_REDUCE_PROD, TL_OP_COUNT, TL_OP_COUNT },
    { "ReduceL1", TL_OP_REDUCE_SUM, TL_OP_ABS, TL_OP_COUNT },
    { "ReduceL2", TL_OP_REDUCE_L2, TL_OP_COUNT, TL_OP_COUNT },
    { "ReduceLogSum", TL_OP_REDUCE_SUM, TL_OP_COUNT, TL_OP_LOG },
    { "ReduceLogSumExp", TL_OP_REDUCE_SUM, TL_OP_EXP, TL_OP_LOG },
    { "ReduceSumSquare", TL_OP_REDUCE_SUM, TL_OP_MUL, TL_OP_COUNT },
};

static tl_status read_axes(onnx_import *import, const onnx_node *node, uint32_t rank, uint32_t *out)
{
    int64_t axes[ONNX_RANK_MAX];
    size_t count;
    *out = 0;
    tl_status status =
        onnx_operand_integers(import, node, 1, "axes", false, ONNX_RANK_MAX, axes, &count);
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        uint32_t axis;
        status = onnx_axis(import, node, axes[i], rank, &axis);
        if (status == TL_OK) *out |= 1u << axis;
    }
    if (status == TL_OK && count == 0 && onnx_attr_int(node, "noop_with_empty_axes", 0) == 0)
        *out = (1u << rank) - 1;
    return status;
}

/* log(sum(exp(x))) would overflow: the largest number is taken out before and added after. */
static tl_status reduce_log_sum_exp(onnx_import *import, const onnx_node *node, uint32_t axes,
                                    bool keep, onnx_array *x)
{
    onnx_array largest = *x, kept;
    tl_status status = onnx_reduce(import, node, TL_OP_REDUCE_MAX, axes, true, &largest);
    if (status == TL_OK) status = onnx_binary(import, node, TL_OP_SUB, x, &largest, x);
    if (status == TL_OK) status = onnx_unary(import, node, TL_OP_EXP, NULL, x);
    if (status == TL_OK) status = onnx_reduce(import, node, TL_OP_REDUCE_SUM, axes, true, x);
    if (status == TL_OK) status = onnx_unary(import, node, TL_OP_LOG, NULL, x);
    if (status == TL_OK) status = onnx_binary(import, node, TL_OP_ADD, x, &largest, &kept);
    for (uint32_t axis = kept.rank; status == TL_OK && !keep && axis-- > 0;)
        if ((axes >> axis & 1) != 0) status = onnx_squeeze(import, node, &kept, axis);
    *x = kept;
    return status;
}

/* Means over height and width of an image have an operator of their own. */
static bool is_global_pool(const onnx_array *x, tl_op_kind kind, uint32_t axes, bool keep)
{
    return keep && x->rank == 4 && axes == 0xc &&
           (kind == TL_OP_REDUCE_MEAN || kind == TL_OP_REDUCE_MAX);
}

tl_status onnx_run_reduce(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    uint32_t axes = 0;
    size_t i = 0;
    while (strcmp(REDUCTIONS[i].op, node->op) != 0) i++; /* the table of operators led here */
    const reduction *r = &REDUCTIONS[i];
    bool keep = onnx_attr_int(node, "keepdims", 1) != 0;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = read_axes(import, node, x.rank, &axes);
    if (status != TL_OK) return status;
    if (r->before == TL_OP_EXP) {
        status = reduce_log_sum_exp(import, node, axes, keep, &x);
        return status == TL_OK ? onnx_yield(import, node, &x) : status;
    }
    if (r->before == TL_OP_MUL) {
        onnx_array squared;
        status = onnx_binary(import, node, TL_OP_MUL, &x, &x, &squared);
        x = squared;
    } else if (r->before != TL_OP_COUNT) {
        status = onnx_unary(import, node, r->before, NULL, &x);
    }
    if (status == TL_OK && is_global_pool(&x, r->kind, axes, keep)) {
        status = onnx_arrange_image(import, node, &x);
        if (status == TL_OK)
            status = onnx_unary(import, node,
                                r->kind == TL_OP_REDUCE_MAX ? TL_OP_GLOBAL_MAX_POOL
                                                            : TL_OP_GLOBAL_AVERAGE_POOL,
                                NULL, &x);
    } else if (status == TL_OK) {
        status = onnx_reduce(import, node, r->kind, axes, keep, &x);
    }
    if (status == TL_OK && r->after != TL_OP_COUNT)
        status = onnx_unary(import, node, r->after, NULL, &x);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

/* ---- Along an axis ----------------------------------------------------------------------------
 */

static tl_status softmax_along(onnx_import *import, const onnx_node *node, uint32_t axis,
                               onnx_array *x)
{
    tl_op_kind kind = strcmp(node->op, "LogSoftmax") == 0 ? TL_OP_LOG_SOFTMAX : TL_OP_SOFTMAX;
    if (axis < onnx_lead(import)) return onnx_fail_batch(import, node, "it goes along the batch");
    tl_attrs attrs = tl_attrs_default(kind);
    uint32_t place = onnx_place(import, x, axis);
    if (place + 1 < onnx_item_rank(import, x)) attrs.axis = (int32_t)place;
    return onnx_unary(import, node, kind, &attrs, x);
}

tl_status onnx_run_softmax(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    uint32_t axis = 0;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_attr_axis(import, node, "axis", import->opset >= 13 ? -1 : 1, x.rank, &axis);
    if (status != TL_OK) return status;
    /* Before operator set 13 everything from the axis on was one row. */
    uint32_t full[ONNX_RANK_MAX], rank = x.rank, longer = 0;
    memcpy(full, x.dim, sizeof full);
    for (uint32_t i = axis + 1; i < rank; i++) longer += x.dim[i] != 1;
    if (import->opset >= 13 || longer == 0) {
        status = softmax_along(import, node, axis, &x);
        return status == TL_OK ? onnx_yield(import, node, &x) : status;
    }
    if (axis < onnx_lead(import)) return onnx_fail_batch(import, node, "it goes along the batch");
    uint32_t row[ONNX_RANK_MAX];
    memcpy(row, full, sizeof row);
    for (uint32_t i = axis + 1; i < rank; i++) row[axis] *= full[i];
    status = onnx_reshape(import, node, &x, axis + 1, row);
    if (status == TL_OK) status = softmax_along(import, node, axis, &x);
    if (status == TL_OK) status = onnx_reshape(import, node, &x, rank, full);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

/* ArgMax and ArgMin: the first of equals, or the last by looking from the other end. */
tl_status onnx_run_arg(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    uint32_t axis = 0;
    bool keep = onnx_attr_int(node, "keepdims", 1) != 0;
    bool last = onnx_attr_int(node, "select_last_index", 0) != 0;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = onnx_attr_axis(import, node, "axis", 0, x.rank, &axis);
    if (status != TL_OK) return status;
    if (axis < onnx_lead(import)) return onnx_fail_batch(import, node, "it looks along the batch");
    uint32_t size = x.dim[axis];
    if (strcmp(node->op, "ArgMin") == 0) status = onnx_unary(import, node, TL_OP_NEG, NULL, &x);
    if (status == TL_OK && last && size > 1)
        status = onnx_slice(import, node, &x, axis, (int64_t)size - 1, -1, -1);
    if (status != TL_OK) return status;
    tl_attrs attrs = tl_attrs_default(TL_OP_ARG_MAX);
    attrs.axis = (int32_t)onnx_place(import, &x, axis);
    attrs.keep_dims = true;
    status = onnx_unary(import, node, TL_OP_ARG_MAX, &attrs, &x);
    if (status == TL_OK && last) {
        status = onnx_unary(import, node, TL_OP_NEG, NULL, &x);
        if (status == TL_OK)
            status = onnx_binary_number(import, node, TL_OP_ADD, &x, (float)(size - 1));
    }
    if (status == TL_OK && !keep) status = onnx_squeeze(import, node, &x, axis);
    x.type = ONNX_TYPE(INT64);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

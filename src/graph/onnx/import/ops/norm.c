#include "graph/onnx/import/ops/internal.h"

#include <math.h>
#include <string.h>

/* ---- Pieces -----------------------------------------------------------------------------------
 */

/* Operand `index` beside tensors of that rank, its axes from `axis` on. */
static tl_status operand_at(onnx_import *import, const onnx_node *node, size_t index, uint32_t rank,
                            uint32_t axis, onnx_array *out)
{
    onnx_value *value = onnx_operand(import, node, index);
    if (value == NULL) return onnx_fail(import, node, TL_EINVAL, "operand %zu is missing", index);
    uint32_t own = value->kind == ONNX_VALUE_CONSTANT ? value->dims.rank : value->array.rank;
    if (own + axis > rank)
        return onnx_fail(import, node, TL_EINVAL, "operand %zu has %u dimensions", index, own);
    if (value->kind == ONNX_VALUE_CONSTANT) {
        onnx_value placed = *value;
        while (placed.dims.rank < rank - axis) placed.dims.dim[placed.dims.rank++] = 1;
        return onnx_constant_array(import, node, &placed, rank, NULL, !import->folding, out);
    }
    if (!import->whole) return onnx_fail_batch(import, node, "its scale is for all items");
    tl_status status = onnx_operand_array(import, node, index, out);
    while (status == TL_OK && out->rank < rank - axis)
        status = onnx_unsqueeze(import, node, out, out->rank);
    while (status == TL_OK && out->rank < rank) status = onnx_unsqueeze(import, node, out, 0);
    return status;
}

/* x = x <kind> operand. */
static tl_status apply_at(onnx_import *import, const onnx_node *node, tl_op_kind kind, size_t index,
                          uint32_t axis, onnx_array *x)
{
    onnx_array factor;
    tl_status status = operand_at(import, node, index, x->rank, axis, &factor);
    return status == TL_OK ? onnx_binary(import, node, kind, x, &factor, x) : status;
}

/* Mean and variance over the axes, which stay as 1; x becomes x minus the mean. */
static tl_status centre(onnx_import *import, const onnx_node *node, uint32_t axes, onnx_array *x,
                        onnx_array *mean, onnx_array *variance)
{
    *mean = *x;
    tl_status status = onnx_reduce(import, node, TL_OP_REDUCE_MEAN, axes, true, mean);
    if (status == TL_OK) status = onnx_binary(import, node, TL_OP_SUB, x, mean, x);
    if (status == TL_OK) status = onnx_binary(import, node, TL_OP_MUL, x, x, variance);
    if (status == TL_OK)
        status = onnx_reduce(import, node, TL_OP_REDUCE_MEAN, axes, true, variance);
    return status;
}

/* x divided by the root of (variance + epsilon), which *variance becomes. */
static tl_status divide_by_deviation(onnx_import *import, const onnx_node *node, float epsilon,
                                     onnx_array *x, onnx_array *variance)
{
    tl_status status = onnx_binary_number(import, node, TL_OP_ADD, variance, epsilon);
    if (status == TL_OK) status = onnx_unary(import, node, TL_OP_SQRT, NULL, variance);
    return status == TL_OK ? onnx_binary(import, node, TL_OP_DIV, x, variance, x) : status;
}

static tl_status read_epsilon(const onnx_import *import, const onnx_node *node, float *out)
{
    *out = onnx_attr_float(node, "epsilon", 1e-5f);
    if (*out >= 0.0f && *out < 1.0f) return TL_OK;
    return onnx_fail(import, node, TL_EINVAL, "epsilon is not between 0 and 1");
}

static bool is_used(const onnx_import *import, const onnx_node *node, size_t output)
{
    return output < node->output_count && node->outputs[output] != ONNX_NONE &&
           import->values[node->outputs[output]].use_count > 0;
}

/* ---- Batch normalisation ----------------------------------------------------------------------
 */

/* With numbers that are not constant: by arithmetic. */
static tl_status batch_norm_spelled(onnx_import *import, onnx_node *node, float epsilon)
{
    onnx_array x, variance;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = apply_at(import, node, TL_OP_SUB, 3, 1, &x);
    if (status == TL_OK) status = operand_at(import, node, 4, x.rank, 1, &variance);
    if (status == TL_OK) status = divide_by_deviation(import, node, epsilon, &x, &variance);
    if (status == TL_OK) status = apply_at(import, node, TL_OP_MUL, 1, 1, &x);
    if (status == TL_OK) status = apply_at(import, node, TL_OP_ADD, 2, 1, &x);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

/* Output `index`: the old running numbers (operand index + 2) moved towards those of the batch. */
static tl_status yield_running(onnx_import *import, onnx_node *node, size_t index, float kept,
                               onnx_array batch)
{
    onnx_array old;
    uint32_t channels = batch.dim[1];
    tl_status status = onnx_binary_number(import, node, TL_OP_MUL, &batch, 1.0f - kept);
    if (status == TL_OK) status = operand_at(import, node, index + 2, batch.rank, 1, &old);
    if (status == TL_OK) status = onnx_binary_number(import, node, TL_OP_MUL, &old, kept);
    if (status == TL_OK) status = onnx_binary(import, node, TL_OP_ADD, &batch, &old, &batch);
    if (status == TL_OK) status = onnx_reshape(import, node, &batch, 1, &channels);
    return status == TL_OK ? onnx_yield_at(import, node, index, &batch) : status;
}

/* training_mode with its side outputs in use: by the statistics of the batch, read whole. */
static tl_status batch_norm_training(onnx_import *import, onnx_node *node, float epsilon,
                                     float kept)
{
    onnx_array x, mean, variance, deviation;
    if (!import->whole) return onnx_fail_batch(import, node, "its mean is over the batch");
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status != TL_OK) return status;
    if (x.rank < 2) return onnx_fail(import, node, TL_EINVAL, "its input has no channels");
    uint32_t axes = ((1u << x.rank) - 1) & ~2u;
    status = centre(import, node, axes, &x, &mean, &variance);
    deviation = variance;
    if (status == TL_OK) status = divide_by_deviation(import, node, epsilon, &x, &deviation);
    if (status == TL_OK) status = apply_at(import, node, TL_OP_MUL, 1, 1, &x);
    if (status == TL_OK) status = apply_at(import, node, TL_OP_ADD, 2, 1, &x);
    if (status == TL_OK) status = onnx_yield(import, node, &x);
    if (status == TL_OK) status = yield_running(import, node, 1, kept, mean);
    return status == TL_OK ? yield_running(import, node, 2, kept, variance) : status;
}

tl_status onnx_run_batch_norm(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    float epsilon, kept = onnx_attr_float(node, "momentum", 0.9f); /* the share of the old */
    tl_status status = read_epsilon(import, node, &epsilon);
    if (status != TL_OK) return status;
    if (!(kept >= 0.0f && kept <= 1.0f))
        return onnx_fail(import, node, TL_EINVAL, "momentum is not between 0 and 1");
    if (onnx_attr_int(node, "spatial", 1) != 1)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "spatial = 0 is not supported");
    if (is_used(import, node, 1) || is_used(import, node, 2))
        return batch_norm_training(import, node, epsilon, kept);
    for (size_t i = 1; i < 5; i++)
        if (!onnx_operand_is_constant(import, node, i))
            return batch_norm_spelled(import, node, epsilon);
    tl_attrs attrs = tl_attrs_default(TL_OP_BATCH_NORM);
    tl_param_init params[4] = { { 0 } };
    attrs.epsilon = epsilon;
    attrs.momentum = (float)(1.0 - (double)kept);
    status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK && x.rank < 2)
        status = onnx_fail(import, node, TL_EINVAL, "its input has no channels");
    if (status == TL_OK) status = onnx_arrange_last(import, node, &x, 1);
    for (size_t i = 0; status == TL_OK && i < 4; i++)
        status = onnx_operand_param(import, node, i + 1, x.dim[1], &params[i]);
    const onnx_array in = x, *inputs[1] = { &in };
    if (status == TL_OK)
        status = onnx_emit(import, node,
                           &(onnx_emit_options){ .kind = TL_OP_BATCH_NORM,
                                                 .attrs = &attrs,
                                                 .inputs = inputs,
                                                 .input_count = 1,
                                                 .params = params,
                                                 .param_count = 4 },
                           &x);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

/* ---- Over the item's own numbers --------------------------------------------------------------
 */

tl_status onnx_run_layer_norm(onnx_import *import, onnx_node *node)
{
    onnx_array x, mean, variance;
    uint32_t axis = 0;
    float epsilon;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = read_epsilon(import, node, &epsilon);
    if (status == TL_OK) status = onnx_attr_axis(import, node, "axis", -1, x.rank, &axis);
    if (status != TL_OK) return status;
    uint32_t axes = ((1u << x.rank) - 1) & ~((1u << axis) - 1);
    status = centre(import, node, axes, &x, &mean, &variance);
    if (status == TL_OK) status = divide_by_deviation(import, node, epsilon, &x, &variance);
    for (size_t i = 1; status == TL_OK && i < 3; i++) {
        const onnx_value *value = onnx_operand(import, node, i);
        if (value == NULL) continue;
        uint32_t own = value->kind == ONNX_VALUE_CONSTANT ? value->dims.rank : value->array.rank;
        if (own > x.rank) return onnx_fail(import, node, TL_EINVAL, "operand %zu", i);
        status = apply_at(import, node, i == 1 ? TL_OP_MUL : TL_OP_ADD, i, x.rank - own, &x);
    }
    if (status == TL_OK) status = onnx_yield(import, node, &x);
    if (status == TL_OK && is_used(import, node, 1)) status = onnx_yield_at(import, node, 1, &mean);
    if (status == TL_OK && is_used(import, node, 2)) {
        status = onnx_unary(import, node, TL_OP_RECIPROCAL, NULL, &variance);
        if (status == TL_OK) status = onnx_yield_at(import, node, 2, &variance);
    }
    return status;
}

/* InstanceNormalization is GroupNormalization with a group for each channel. */
tl_status onnx_run_group_norm(onnx_import *import, onnx_node *node)
{
    onnx_array x, mean, variance;
    float epsilon;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = read_epsilon(import, node, &epsilon);
    if (status != TL_OK) return status;
    if (x.rank < 3 || x.rank > ONNX_RANK_MAX - 1)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "its input has %u dimensions", x.rank);
    bool instance = strcmp(node->op, "InstanceNormalization") == 0;
    int64_t groups = instance ? x.dim[1] : onnx_attr_int(node, "num_groups", 0);
    if (groups < 1 || groups > x.dim[1] || x.dim[1] % (uint32_t)groups != 0)
        return onnx_fail(import, node, TL_EINVAL, "%lld groups of %u channels", (long long)groups,
                         x.dim[1]);
    onnx_array whole = x;
    uint32_t split[ONNX_RANK_MAX] = { x.dim[0], (uint32_t)groups, x.dim[1] / (uint32_t)groups };
    for (uint32_t i = 2; i < x.rank; i++) split[i + 1] = x.dim[i];
    bool by_group = !instance && import->opset < 21; /* a scale for each group, not channel */
    status = onnx_reshape(import, node, &x, x.rank + 1, split);
    uint32_t axes = ((1u << x.rank) - 1) & ~3u;
    if (status == TL_OK) status = centre(import, node, axes, &x, &mean, &variance);
    if (status == TL_OK) status = divide_by_deviation(import, node, epsilon, &x, &variance);
    if (status == TL_OK && by_group) status = apply_at(import, node, TL_OP_MUL, 1, 1, &x);
    if (status == TL_OK && by_group) status = apply_at(import, node, TL_OP_ADD, 2, 1, &x);
    if (status == TL_OK) status = onnx_reshape(import, node, &x, whole.rank, whole.dim);
    if (status == TL_OK && !by_group) status = apply_at(import, node, TL_OP_MUL, 1, 1, &x);
    if (status == TL_OK && !by_group) status = apply_at(import, node, TL_OP_ADD, 2, 1, &x);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

tl_status onnx_run_mean_variance(onnx_import *import, onnx_node *node)
{
    onnx_array x, mean, variance;
    int64_t axes[ONNX_RANK_MAX] = { 0, 2, 3 };
    const Onnx__AttributeProto *attr = onnx_attr(node, "axes");
    size_t count = attr == NULL ? 3 : attr->n_ints;
    if (count > ONNX_RANK_MAX) return onnx_fail(import, node, TL_EINVAL, "too many axes");
    for (size_t i = 0; attr != NULL && i < count; i++) axes[i] = attr->ints[i];
    tl_status status = onnx_operand_array(import, node, 0, &x);
    uint32_t mask = 0;
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        uint32_t axis;
        status = onnx_axis(import, node, axes[i], x.rank, &axis);
        if (status == TL_OK) mask |= 1u << axis;
    }
    if (status == TL_OK) status = centre(import, node, mask, &x, &mean, &variance);
    if (status == TL_OK) status = onnx_unary(import, node, TL_OP_SQRT, NULL, &variance);
    if (status == TL_OK) status = onnx_binary_number(import, node, TL_OP_ADD, &variance, 1e-9f);
    if (status == TL_OK) status = onnx_binary(import, node, TL_OP_DIV, &x, &variance, &x);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

tl_status onnx_run_lp_norm(onnx_import *import, onnx_node *node)
{
    onnx_array x, norm;
    uint32_t axis = 0;
    int64_t p = onnx_attr_int(node, "p", 2);
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = onnx_attr_axis(import, node, "axis", -1, x.rank, &axis);
    if (status != TL_OK) return status;
    if (p != 1 && p != 2) return onnx_fail(import, node, TL_EUNSUPPORTED, "p is not 1 or 2");
    norm = x;
    if (p == 1) status = onnx_unary(import, node, TL_OP_ABS, NULL, &norm);
    if (status == TL_OK)
        status = onnx_reduce(import, node, p == 1 ? TL_OP_REDUCE_SUM : TL_OP_REDUCE_L2, 1u << axis,
                             true, &norm);
    if (status == TL_OK) status = onnx_binary(import, node, TL_OP_DIV, &x, &norm, &x);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

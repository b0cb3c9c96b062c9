#include "graph/onnx/import/ops/internal.h"

#include <string.h>

/* Operators that leave the numbers as they are and give them other names or axes. */

tl_status onnx_run_identity(onnx_import *import, onnx_node *node)
{
    const onnx_value *source = onnx_operand(import, node, 0);
    if (source == NULL || source->kind == ONNX_VALUE_UNKNOWN)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "its operand is missing or not made");
    return onnx_yield_same(import, node, source);
}

/* Nothing is dropped, except where the file asks for it. */
tl_status onnx_run_dropout(onnx_import *import, onnx_node *node)
{
    const onnx_value *training = onnx_operand(import, node, 2);
    bool drops =
        training != NULL && (training->kind != ONNX_VALUE_CONSTANT || training->dims.count != 1 ||
                             onnx_tensor_number(training->constant, 0) != 0.0);
    double ratio;
    tl_status status = onnx_operand_number(import, node, 1, "ratio", 0.5, &ratio);
    if (status == TL_OK && drops && ratio != 0.0)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "it drops numbers at random (training_mode); export the model for "
                         "inference");
    return status == TL_OK ? onnx_run_identity(import, node) : status;
}

/* value_float, value_int and their lists as a tensor; NULL when there is none of them. */
static Onnx__TensorProto *constant_of_numbers(onnx_import *import, const onnx_node *node)
{
    Onnx__AttributeProto *attr = node->proto->n_attribute == 1 ? node->proto->attribute[0] : NULL;
    if (attr == NULL || (!attr->has_f && !attr->has_i && attr->n_floats + attr->n_ints == 0))
        return NULL;
    Onnx__TensorProto *tensor = tl_arena_alloc(import->arena, sizeof *tensor);
    int64_t *dims = tl_arena_alloc(import->arena, sizeof *dims);
    if (tensor == NULL || dims == NULL) return NULL;
    onnx__tensor_proto__init(tensor);
    bool list = attr->n_floats + attr->n_ints > 0;
    if (attr->has_f || attr->n_floats > 0) {
        tensor->data_type = ONNX_TYPE(FLOAT);
        tensor->float_data = list ? attr->floats : &attr->f;
        tensor->n_float_data = list ? attr->n_floats : 1;
    } else {
        tensor->data_type = ONNX_TYPE(INT64);
        tensor->int64_data = list ? attr->ints : &attr->i;
        tensor->n_int64_data = list ? attr->n_ints : 1;
    }
    *dims = (int64_t)(tensor->n_float_data + tensor->n_int64_data);
    tensor->dims = dims;
    tensor->n_dims = list ? 1 : 0;
    return tensor;
}

tl_status onnx_run_constant(onnx_import *import, onnx_node *node)
{
    const Onnx__AttributeProto *attr = onnx_attr(node, "value");
    const Onnx__TensorProto *tensor =
        attr != NULL && attr->t != NULL ? attr->t : constant_of_numbers(import, node);
    if (tensor == NULL)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "it does not consist of numbers");
    return onnx_yield_constant(import, node, 0, tensor, ONNX_NONE);
}

/* ---- Reshape ----------------------------------------------------------------------------------
 */

tl_status onnx_reshape_sizes(onnx_import *import, const onnx_node *node, const onnx_dims *from,
                             const int64_t *to, size_t count, bool batch, uint32_t *out)
{
    bool zero_is_zero = onnx_attr_int(node, "allowzero", 0) != 0;
    uint64_t all = 1, known = 1;
    size_t open = count;
    for (uint32_t i = batch ? 1 : 0; i < from->rank; i++) all *= from->dim[i];
    if (all == 0) return onnx_fail(import, node, TL_EUNSUPPORTED, "it is empty");
    for (size_t i = batch ? 1 : 0; i < count; i++) {
        int64_t size = to[i];
        if (size == 0 && !zero_is_zero && i < from->rank) size = from->dim[i];
        if (size == -1 && open == count) {
            open = i;
            out[i] = 1;
            continue;
        }
        if (size == 0) return onnx_fail(import, node, TL_EUNSUPPORTED, "its result is empty");
        if (size < 0 || size > TL_DIM_MAX || known > all)
            return onnx_fail(import, node, TL_EINVAL, "its shape is malformed");
        out[i] = (uint32_t)size;
        known *= (uint64_t)size;
    }
    if (open < count && known > 0 && all % known == 0 && all / known <= TL_DIM_MAX) {
        out[open] = (uint32_t)(all / known);
        known = all;
    }
    if (known != all)
        return batch
                   ? onnx_fail_batch(import, node, "it makes another number of elements of an item")
                   : onnx_fail(import, node, TL_EINVAL, "its shape has another number of elements");
    if (batch) out[0] = 1;
    return TL_OK;
}

tl_status onnx_run_reshape(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    int64_t to[ONNX_RANK_MAX];
    uint32_t sizes[ONNX_RANK_MAX];
    size_t count;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 1, "shape", true, ONNX_RANK_MAX, to, &count);
    if (status != TL_OK) return status;
    onnx_dims from = { .rank = x.rank };
    memcpy(from.dim, x.dim, sizeof from.dim);
    if (!import->whole) {
        /* 1: exported for one item at a time, which then holds for each. */
        bool fits = count > 0 && (to[0] == ONNX_BATCH || to[0] == 0 || to[0] == -1 || to[0] == 1 ||
                                  to[0] == (int64_t)import->batch);
        if (!fits) return onnx_fail_batch(import, node, "its first size is not the batch");
    }
    status = onnx_reshape_sizes(import, node, &from, to, count, !import->whole, sizes);
    if (status == TL_OK) status = onnx_reshape(import, node, &x, (uint32_t)count, sizes);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

tl_status onnx_run_flatten(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status != TL_OK) return status;
    int64_t axis = onnx_attr_int(node, "axis", 1);
    if (axis < 0) axis += x.rank;
    if (axis < 0 || axis > x.rank) return onnx_fail(import, node, TL_EINVAL, "axis is outside");
    if (!import->whole && axis != 1)
        return onnx_fail_batch(import, node, "it makes one axis of the batch and another");
    uint64_t sizes[2] = { 1, 1 };
    for (uint32_t i = 0; i < x.rank; i++) sizes[i < axis ? 0 : 1] *= x.dim[i];
    if (sizes[0] > TL_DIM_MAX || sizes[1] > TL_DIM_MAX)
        return onnx_fail(import, node, TL_ELIMIT, "an axis of more than %d", TL_DIM_MAX);
    const uint32_t dim[2] = { (uint32_t)sizes[0], (uint32_t)sizes[1] };
    status = onnx_reshape(import, node, &x, 2, dim);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

/* ---- Axes of 1 --------------------------------------------------------------------------------
 */

/* Operand 1 or attribute "axes", of a tensor of `rank` axes and as many more as are named when they are
 * `added`; as a mask. */
static tl_status read_axes(onnx_import *import, const onnx_node *node, uint32_t *rank, bool added,
                           uint32_t *mask)
{
    int64_t axes[ONNX_RANK_MAX];
    size_t count;
    tl_status status =
        onnx_operand_integers(import, node, 1, "axes", false, ONNX_RANK_MAX, axes, &count);
    if (status != TL_OK) return status;
    if (added) *rank += (uint32_t)count;
    if (*rank > ONNX_RANK_MAX)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "more than %d dimensions", ONNX_RANK_MAX);
    *mask = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t axis;
        status = onnx_axis(import, node, axes[i], *rank, &axis);
        if (status != TL_OK) return status;
        if ((*mask >> axis & 1) != 0)
            return onnx_fail(import, node, TL_EINVAL, "axes names an axis twice");
        *mask |= 1u << axis;
    }
    return TL_OK;
}

tl_status onnx_axes_sizes(onnx_import *import, const onnx_node *node, const onnx_dims *from,
                          onnx_dims *out, uint32_t *mask)
{
    bool removes = strcmp(node->op, "Squeeze") == 0;
    uint32_t counted = from->rank, next = 0;
    tl_status status = read_axes(import, node, &counted, !removes, mask);
    if (status != TL_OK) return status;
    *out = (onnx_dims){ .rank = 0 };
    for (uint32_t i = 0; i < counted; i++) {
        bool named = (*mask >> i & 1) != 0;
        if (!removes)
            out->dim[out->rank++] = named ? 1 : from->dim[next++];
        else if (named && from->dim[i] != 1)
            return onnx_fail(import, node, TL_EINVAL, "axis %u is %u long", i, from->dim[i]);
        else if (!named && (*mask != 0 || from->dim[i] != 1))
            out->dim[out->rank++] = from->dim[i];
    }
    return TL_OK;
}

tl_status onnx_run_axes(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    onnx_dims from, to;
    uint32_t mask;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status != TL_OK) return status;
    from = (onnx_dims){ .rank = x.rank };
    memcpy(from.dim, x.dim, sizeof from.dim);
    status = onnx_axes_sizes(import, node, &from, &to, &mask);
    if (status != TL_OK) return status;
    bool removes = strcmp(node->op, "Squeeze") == 0;
    if (!import->whole && ((mask & 1) != 0 || (removes && mask == 0)))
        return onnx_fail_batch(import, node,
                               removes ? "it may take the batch away"
                                       : "it puts an axis before the batch");
    status = onnx_reshape(import, node, &x, to.rank, to.dim);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

/* ---- Transpose --------------------------------------------------------------------------------
 */

tl_status onnx_run_transpose(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    int64_t perm[ONNX_RANK_MAX];
    uint8_t permutation[ONNX_RANK_MAX];
    uint32_t seen = 0;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_attr_sizes(import, node, "perm", x.rank, 0, (int64_t)x.rank - 1, -1, perm);
    if (status != TL_OK) return status;
    for (uint32_t i = 0; i < x.rank; i++) {
        permutation[i] = (uint8_t)(perm[i] < 0 ? x.rank - 1 - i : (uint32_t)perm[i]);
        seen |= 1u << permutation[i];
    }
    if (seen != (1u << x.rank) - 1)
        return onnx_fail(import, node, TL_EINVAL, "perm names an axis twice");
    status = onnx_transpose(import, node, &x, permutation);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

/* DepthToSpace and SpaceToDepth: split an axis, move it, join it. */
tl_status onnx_run_depth_space(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    int64_t block = onnx_attr_int(node, "blocksize", 0);
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status != TL_OK) return status;
    bool to_space = strcmp(node->op, "DepthToSpace") == 0;
    bool by_columns =
        to_space && onnx_attr(node, "mode") != NULL && onnx_attr_is(node, "mode", "CRD");
    if (x.rank != 4 || block < 1 || block > ONNX_WINDOW_MAX)
        return onnx_fail(import, node, TL_EINVAL, "it wants an image and a blocksize above 0");
    uint32_t b = (uint32_t)block, n = x.dim[0], c = x.dim[1], h = x.dim[2], w = x.dim[3];
    if (to_space ? c % ((uint64_t)b * b) != 0 : h % b != 0 || w % b != 0)
        return onnx_fail(import, node, TL_EINVAL, "%u x %u x %u does not divide by %u", c, h, w, b);
    static const uint8_t ORDERS[3][6] = { { 0, 3, 4, 1, 5, 2 },
                                          { 0, 1, 4, 2, 5, 3 },
                                          { 0, 3, 5, 1, 2, 4 } };
    uint32_t rest = to_space ? c / (b * b) : 0;
    const uint32_t split[3][6] = { { n, b, b, rest, h, w },
                                   { n, rest, b, b, h, w },
                                   { n, c, to_space ? 1 : h / b, b, to_space ? 1 : w / b, b } };
    const uint32_t joined[2][4] = { { n, rest, h * b, w * b }, { n, c * b * b, h / b, w / b } };
    int kind = !to_space ? 2 : by_columns ? 1 : 0;
    status = onnx_reshape(import, node, &x, 6, split[kind]);
    if (status == TL_OK) status = onnx_transpose(import, node, &x, ORDERS[kind]);
    if (status == TL_OK) status = onnx_reshape(import, node, &x, 4, joined[to_space ? 0 : 1]);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

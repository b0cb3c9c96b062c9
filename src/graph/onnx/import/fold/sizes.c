#include "graph/onnx/import/fold/internal.h"

#include <math.h>
#include <string.h>

#include "graph/onnx/import/ops/internal.h"

tl_status fold_range(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    double limits[3];
    for (size_t i = 0; i < 3; i++) {
        const onnx_value *value = onnx_operand(import, node, i);
        if (value->dims.count != 1) return onnx_fail(import, node, TL_EINVAL, "no number");
        if (onnx_tensor_integer(value->constant, 0) == ONNX_BATCH)
            return onnx_fail_batch(import, node, "it counts the items of the batch");
        limits[i] = onnx_tensor_number(value->constant, 0);
    }
    double steps = limits[2] == 0.0 ? NAN : ceil((limits[1] - limits[0]) / limits[2]);
    if (!(steps <= TL_DIM_MAX) || !(fabs(limits[0]) < 1e15) || !(fabs(limits[2]) < 1e15))
        return onnx_fail(import, node, TL_ELIMIT, "from %g to %g by %g", limits[0], limits[1],
                         limits[2]);
    uint32_t count = steps > 0.0 ? (uint32_t)steps : 0;
    fold_draft d;
    if (!fold_draft_open(import, &d, source->constant->data_type, 1, &count))
        return import->err->status;
    for (uint32_t i = 0; i < count; i++) {
        double value = limits[0] + i * limits[2];
        if (d.integers != NULL)
            d.integers[i] = (int64_t)value;
        else
            d.floats[i] = (float)value;
    }
    return fold_draft_yield(import, node, &d, NULL);
}

/* A value all over; the batch counts as 1, for the result is the same for each item. */
tl_status fold_constant_of_shape(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    (void)source;
    int64_t to[ONNX_RANK_MAX];
    uint32_t dim[ONNX_RANK_MAX];
    size_t count;
    onnx_dims dims = { .count = 1 };
    const Onnx__AttributeProto *attr = onnx_attr(node, "value");
    tl_status status = onnx_operand_integers(import, node, 0, "", true, ONNX_RANK_MAX, to, &count);
    if (status == TL_OK && attr != NULL && attr->t != NULL)
        status = onnx_tensor_check(attr->t, "value", &dims, import->err);
    if (status == TL_OK && dims.count != 1)
        status = onnx_fail(import, node, TL_EINVAL, "its value is not one number");
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        if (to[i] == ONNX_BATCH) to[i] = 1;
        if (to[i] < 0 || to[i] > TL_DIM_MAX)
            return onnx_fail(import, node, TL_EINVAL, "size %lld", (long long)to[i]);
        dim[i] = (uint32_t)to[i];
    }
    if (status != TL_OK) return status;
    const Onnx__TensorProto *value = attr != NULL ? attr->t : NULL;
    fold_draft d;
    if (!fold_draft_open(import, &d, value == NULL ? ONNX_TYPE(FLOAT) : value->data_type,
                         (uint32_t)count, dim))
        return import->err->status;
    for (size_t i = 0; i < d.tensor->n_int64_data; i++)
        d.integers[i] = onnx_tensor_integer(value, 0);
    for (size_t i = 0; i < d.tensor->n_float_data; i++)
        d.floats[i] = value == NULL ? 0.0f : (float)onnx_tensor_number(value, 0);
    return fold_draft_yield(import, node, &d, NULL);
}

/* Shape and Size, of a constant or of what the network computes. */
tl_status onnx_run_shape(onnx_import *import, onnx_node *node)
{
    const onnx_value *source = onnx_operand(import, node, 0);
    int64_t sizes[ONNX_RANK_MAX];
    bool constant = source->kind == ONNX_VALUE_CONSTANT;
    onnx_array x = { .rank = source->dims.rank };
    tl_status status = constant ? TL_OK : onnx_operand_array(import, node, 0, &x);
    if (status != TL_OK) return status;
    for (uint32_t i = 0; i < x.rank; i++) sizes[i] = constant ? source->dims.dim[i] : x.dim[i];
    if (!constant && !import->whole) sizes[0] = ONNX_BATCH;
    fold_draft d;
    if (strcmp(node->op, "Size") == 0) {
        if (!fold_draft_open(import, &d, ONNX_TYPE(INT64), 0, NULL)) return import->err->status;
        d.integers[0] = 1;
        for (uint32_t i = 0; i < x.rank; i++) {
            if (sizes[i] == ONNX_BATCH)
                return onnx_fail_batch(import, node, "it computes with the size of the batch");
            d.integers[0] *= sizes[i];
        }
        return fold_draft_yield(import, node, &d, NULL);
    }
    int64_t begin = onnx_attr_int(node, "start", 0), end = onnx_attr_int(node, "end", INT64_MAX);
    onnx_slice_range(x.rank, 1, &begin, &end);
    uint32_t count = (uint32_t)(end - begin);
    if (!fold_draft_open(import, &d, ONNX_TYPE(INT64), 1, &count)) return import->err->status;
    for (uint32_t i = 0; i < count; i++) d.integers[i] = sizes[begin + i];
    return fold_draft_yield(import, node, &d, NULL);
}

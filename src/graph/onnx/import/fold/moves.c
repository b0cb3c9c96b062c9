#include "graph/onnx/import/fold/internal.h"

#include <string.h>

#include "graph/onnx/import/ops/internal.h"

tl_status fold_reshape(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    int64_t to[ONNX_RANK_MAX];
    uint32_t dim[ONNX_RANK_MAX];
    size_t count;
    tl_status status =
        onnx_operand_integers(import, node, 1, "shape", false, ONNX_RANK_MAX, to, &count);
    if (status == TL_OK)
        status = onnx_reshape_sizes(import, node, &source->dims, to, count, false, dim);
    return status == TL_OK ? fold_yield_renamed(import, node, source, (uint32_t)count, dim)
                           : status;
}

/* Squeeze and Unsqueeze. */
tl_status fold_axes(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    onnx_dims to;
    uint32_t mask;
    tl_status status = onnx_axes_sizes(import, node, &source->dims, &to, &mask);
    return status == TL_OK ? fold_yield_renamed(import, node, source, to.rank, to.dim) : status;
}

tl_status fold_transpose(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    const onnx_dims *dims = &source->dims;
    int64_t perm[ONNX_RANK_MAX], from[ONNX_RANK_MAX], stride[ONNX_RANK_MAX];
    uint32_t dim[ONNX_RANK_MAX], seen = 0;
    tl_status status =
        onnx_attr_sizes(import, node, "perm", dims->rank, 0, (int64_t)dims->rank - 1, -1, perm);
    if (status != TL_OK) return status;
    fold_strides(dims, from);
    for (uint32_t i = 0; i < dims->rank; i++) {
        uint32_t axis = perm[i] < 0 ? dims->rank - 1 - i : (uint32_t)perm[i];
        dim[i] = dims->dim[axis];
        stride[i] = from[axis];
        seen |= 1u << axis;
    }
    if (seen != (1u << dims->rank) - 1)
        return onnx_fail(import, node, TL_EINVAL, "perm names an axis twice");
    return fold_yield_view(import, node, source, dims->rank, dim, stride, 0);
}

tl_status fold_slice(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    const onnx_dims *dims = &source->dims;
    int64_t lists[4][ONNX_RANK_MAX], stride[ONNX_RANK_MAX], offset = 0;
    uint32_t dim[ONNX_RANK_MAX];
    size_t counts[4];
    static const char *const NAMES[4] = { "starts", "ends", "axes", "steps" };
    for (size_t i = 0; i < 4; i++) {
        tl_status status = onnx_operand_integers(import, node, i + 1, NAMES[i], false,
                                                 ONNX_RANK_MAX, lists[i], &counts[i]);
        if (status != TL_OK) return status;
        if (i > 0 && counts[i] != counts[0] && (i == 1 || counts[i] != 0))
            return onnx_fail(import, node, TL_EINVAL, "starts, ends, axes and steps do not match");
    }
    fold_strides(dims, stride);
    memcpy(dim, dims->dim, sizeof dim);
    for (size_t i = 0; i < counts[0]; i++) {
        uint32_t axis;
        int64_t step = counts[3] == 0 ? 1 : lists[3][i];
        tl_status status =
            onnx_axis(import, node, counts[2] == 0 ? (int64_t)i : lists[2][i], dims->rank, &axis);
        if (status != TL_OK) return status;
        if (step == 0 || step > TL_DIM_MAX || step < -TL_DIM_MAX)
            return onnx_fail(import, node, TL_EINVAL, "a step of %lld", (long long)step);
        onnx_slice_range(dim[axis], step, &lists[0][i], &lists[1][i]);
        int64_t length = lists[1][i] - lists[0][i], size = step > 0 ? step : -step;
        offset += lists[0][i] * stride[axis];
        dim[axis] = (uint32_t)(((length < 0 ? -length : length) + size - 1) / size);
        stride[axis] *= step;
    }
    return fold_yield_view(import, node, source, dims->rank, dim, stride, offset);
}

tl_status fold_expand(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    const onnx_dims *dims = &source->dims;
    int64_t to[ONNX_RANK_MAX], own[ONNX_RANK_MAX], stride[ONNX_RANK_MAX] = { 0 };
    uint32_t dim[ONNX_RANK_MAX];
    size_t count;
    tl_status status =
        onnx_operand_integers(import, node, 1, "shape", false, ONNX_RANK_MAX, to, &count);
    if (status != TL_OK) return status;
    uint32_t rank = dims->rank > count ? dims->rank : (uint32_t)count;
    fold_strides(dims, own);
    for (uint32_t i = 0; i < rank; i++) {
        uint32_t from_end = rank - i; /* counted from 1 */
        uint32_t had = from_end <= dims->rank ? dims->dim[dims->rank - from_end] : 1;
        int64_t size = from_end <= count ? to[count - from_end] : 1;
        if (size < 0 || size > TL_DIM_MAX || (size != 1 && had != 1 && size != (int64_t)had))
            return onnx_fail(import, node, TL_EINVAL, "%u does not expand to %lld", had,
                             (long long)size);
        dim[i] = size == 1 ? had : (uint32_t)size;
        if (had != 1) stride[i] = own[dims->rank - from_end];
    }
    return fold_yield_view(import, node, source, rank, dim, stride, 0);
}

tl_status fold_gather(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    const onnx_dims *dims = &source->dims;
    const onnx_value *indices = onnx_operand(import, node, 1);
    uint32_t axis, dim[2 * ONNX_RANK_MAX], rank = 0;
    tl_status status = onnx_attr_axis(import, node, "axis", 0, dims->rank, &axis);
    if (status != TL_OK) return status;
    size_t before = 1, after = 1;
    for (uint32_t i = 0; i < axis; i++) before *= dim[rank++] = dims->dim[i];
    for (uint32_t i = 0; i < indices->dims.rank; i++) dim[rank++] = indices->dims.dim[i];
    for (uint32_t i = axis + 1; i < dims->rank; i++) after *= dim[rank++] = dims->dim[i];
    if (rank > ONNX_RANK_MAX)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "more than %d dimensions", ONNX_RANK_MAX);
    fold_draft d;
    if (!fold_draft_open(import, &d, source->constant->data_type, rank, dim))
        return import->err->status;
    size_t to = 0;
    for (size_t b = 0; b < before; b++)
        for (size_t i = 0; i < indices->dims.count; i++) {
            uint32_t at;
            status = onnx_index(import, node, indices, i, dims->dim[axis], &at);
            if (status != TL_OK) return status;
            size_t from = (b * dims->dim[axis] + at) * after;
            for (size_t k = 0; k < after; k++) fold_draft_copy(&d, to++, source, from + k);
        }
    return fold_draft_yield(import, node, &d, source);
}

tl_status fold_concat(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    const onnx_dims *dims = &source->dims;
    uint32_t axis, dim[ONNX_RANK_MAX];
    size_t before = 1, joined = 0;
    tl_status status = onnx_attr_axis(import, node, "axis", 1, dims->rank, &axis);
    if (status != TL_OK) return status;
    bool is_float = onnx_type_is_float(source->constant->data_type);
    for (size_t i = 0; i < node->input_count; i++) {
        const onnx_value *part = onnx_operand(import, node, i);
        bool fits = part != NULL && part->dims.rank == dims->rank &&
                    onnx_type_is_float(part->constant->data_type) == is_float;
        for (uint32_t k = 0; fits && k < dims->rank; k++)
            fits = k == axis || part->dims.dim[k] == dims->dim[k];
        if (!fits) return onnx_fail(import, node, TL_EINVAL, "operand %zu does not fit", i);
        joined += part->dims.dim[axis];
    }
    if (joined > TL_DIM_MAX) return onnx_fail(import, node, TL_ELIMIT, "its result is too large");
    memcpy(dim, dims->dim, sizeof dim);
    dim[axis] = (uint32_t)joined;
    for (uint32_t i = 0; i < axis; i++) before *= dim[i];
    fold_draft d;
    if (!fold_draft_open(import, &d, source->constant->data_type, dims->rank, dim))
        return import->err->status;
    size_t to = 0;
    for (size_t b = 0; b < before; b++)
        for (size_t i = 0; i < node->input_count; i++) {
            const onnx_value *part = onnx_operand(import, node, i);
            size_t run = part->dims.count / before;
            for (size_t k = 0; k < run; k++) fold_draft_copy(&d, to++, part, b * run + k);
        }
    return fold_draft_yield(import, node, &d, NULL);
}

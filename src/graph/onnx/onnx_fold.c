#include "graph/onnx/onnx_internal.h"

#include <math.h>
#include <string.h>

/* Constants made of constants. Integers, which sizes are, are computed here, exactly; numbers that
 * only move likewise; the rest is built as a graph of its own and run once. */

/* ---- Making constants -------------------------------------------------------------------------
 */

static Onnx__TensorProto *tensor_new(const onnx_import *import, uint32_t rank, const uint32_t *dim)
{
    Onnx__TensorProto *tensor = tl_arena_alloc(import->arena, sizeof *tensor);
    int64_t *dims = tl_arena_alloc(import->arena, (rank + 1) * sizeof *dims);
    if (tensor == NULL || dims == NULL) {
        tl_fail(import->err, TL_ELIMIT, "the constants of an ONNX file need too much memory");
        return NULL;
    }
    onnx__tensor_proto__init(tensor);
    for (uint32_t i = 0; i < rank; i++) dims[i] = dim[i];
    tensor->n_dims = rank;
    tensor->dims = dims;
    return tensor;
}

Onnx__TensorProto *onnx_constant_new(const onnx_import *import, int32_t type, uint32_t rank,
                                     const uint32_t *dim, int64_t **integers, float **floats)
{
    size_t count = 1;
    Onnx__TensorProto *tensor = tensor_new(import, rank, dim);
    if (tensor == NULL) return NULL;
    for (uint32_t i = 0; i < rank; i++) {
        if (!__builtin_mul_overflow(count, (size_t)dim[i], &count) && count <= TL_ITEM_FLOATS_MAX)
            continue;
        tl_fail(import->err, TL_ELIMIT, "a constant of an ONNX file is too large");
        return NULL;
    }
    bool is_float = onnx_type_is_float(type);
    void *data =
        tl_arena_alloc(import->arena, (count + 1) * (is_float ? sizeof(float) : sizeof(int64_t)));
    if (data == NULL) {
        tl_fail(import->err, TL_ELIMIT, "the constants of an ONNX file need too much memory");
        return NULL;
    }
    *integers = is_float ? NULL : data;
    *floats = is_float ? data : NULL;
    tensor->data_type = is_float ? ONNX_TYPE(FLOAT) : ONNX_TYPE(INT64);
    if (is_float) {
        tensor->float_data = data;
        tensor->n_float_data = count;
    } else {
        tensor->int64_data = data;
        tensor->n_int64_data = count;
    }
    return tensor;
}

/* A constant under construction. */
typedef struct draft {
    Onnx__TensorProto *tensor;
    int64_t *integers;
    float *floats;
} draft;

static bool draft_open(const onnx_import *import, draft *d, int32_t type, uint32_t rank,
                       const uint32_t *dim)
{
    d->tensor = onnx_constant_new(import, type, rank, dim, &d->integers, &d->floats);
    return d->tensor != NULL;
}

static void draft_copy(draft *d, size_t to, const onnx_value *source, size_t from)
{
    if (d->integers != NULL)
        d->integers[to] = onnx_tensor_integer(source->constant, from);
    else
        d->floats[to] = (float)onnx_tensor_number(source->constant, from);
}

static int32_t index_of(const onnx_import *import, const onnx_value *value)
{
    return (int32_t)(value - import->values);
}

/* Output `index`: the source's numbers along strides; axis i of the result has dim[i] numbers. */
static tl_status yield_view(onnx_import *import, onnx_node *node, size_t index,
                            const onnx_value *source, uint32_t rank, const uint32_t *dim,
                            const int64_t *stride, int64_t offset)
{
    draft d;
    uint32_t at[ONNX_RANK_MAX] = { 0 };
    if (!draft_open(import, &d, source->constant->data_type, rank, dim)) return import->err->status;
    size_t count = 1;
    for (uint32_t i = 0; i < rank; i++) count *= dim[i];
    for (size_t i = 0; i < count; i++) {
        draft_copy(&d, i, source, (size_t)offset);
        for (uint32_t k = rank; k-- > 0;) {
            offset += stride[k];
            if (++at[k] < dim[k]) break;
            offset -= stride[k] * (int64_t)dim[k];
            at[k] = 0;
        }
    }
    return onnx_yield_constant(import, node, index, d.tensor, index_of(import, source));
}

static void strides_of(const onnx_dims *dims, int64_t *out)
{
    int64_t step = 1;
    for (uint32_t i = dims->rank; i-- > 0;) {
        out[i] = step;
        step *= dims->dim[i];
    }
}

/* ---- Numbers that move ------------------------------------------------------------------------
 */

/* The same numbers under other sizes. */
static tl_status yield_renamed(onnx_import *import, onnx_node *node, const onnx_value *source,
                               uint32_t rank, const uint32_t *dim)
{
    Onnx__TensorProto *tensor = tensor_new(import, rank, dim);
    if (tensor == NULL) return import->err->status;
    Onnx__TensorProto renamed = *source->constant;
    renamed.dims = tensor->dims;
    renamed.n_dims = rank;
    *tensor = renamed;
    return onnx_yield_constant(import, node, 0, tensor, index_of(import, source));
}

static tl_status fold_reshape(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    int64_t to[ONNX_RANK_MAX];
    uint32_t dim[ONNX_RANK_MAX];
    size_t count;
    tl_status status =
        onnx_operand_integers(import, node, 1, "shape", false, ONNX_RANK_MAX, to, &count);
    if (status == TL_OK)
        status = onnx_reshape_sizes(import, node, &source->dims, to, count, false, dim);
    return status == TL_OK ? yield_renamed(import, node, source, (uint32_t)count, dim) : status;
}

/* Squeeze and Unsqueeze. */
static tl_status fold_axes(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    bool removes = strcmp(node->op, "Squeeze") == 0;
    int64_t axes[ONNX_RANK_MAX];
    size_t count;
    uint32_t dim[ONNX_RANK_MAX], rank = 0, mask = 0, from = 0;
    const onnx_dims *dims = &source->dims;
    tl_status status =
        onnx_operand_integers(import, node, 1, "axes", false, ONNX_RANK_MAX, axes, &count);
    uint32_t counted = dims->rank + (removes ? 0 : (uint32_t)count);
    if (status == TL_OK && counted > ONNX_RANK_MAX)
        status = onnx_fail(import, node, TL_EUNSUPPORTED, "more than %d dimensions", ONNX_RANK_MAX);
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        uint32_t axis;
        status = onnx_axis(import, node, axes[i], counted, &axis);
        if (status == TL_OK && (mask >> axis & 1) != 0)
            status = onnx_fail(import, node, TL_EINVAL, "axes names an axis twice");
        if (status == TL_OK) mask |= 1u << axis;
    }
    if (status != TL_OK) return status;
    for (uint32_t i = 0; i < counted; i++) {
        bool named = (mask >> i & 1) != 0;
        if (!removes) {
            dim[rank++] = named ? 1 : dims->dim[from++];
        } else if (!named && (count > 0 || dims->dim[i] != 1)) {
            dim[rank++] = dims->dim[i];
        } else if (dims->dim[i] != 1) {
            return onnx_fail(import, node, TL_EINVAL, "axis %u is %u long", i, dims->dim[i]);
        }
    }
    return yield_renamed(import, node, source, rank, dim);
}

static tl_status fold_transpose(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    const onnx_dims *dims = &source->dims;
    int64_t perm[ONNX_RANK_MAX], from[ONNX_RANK_MAX], stride[ONNX_RANK_MAX];
    uint32_t dim[ONNX_RANK_MAX], seen = 0;
    tl_status status =
        onnx_attr_sizes(import, node, "perm", dims->rank, 0, (int64_t)dims->rank - 1, -1, perm);
    if (status != TL_OK) return status;
    strides_of(dims, from);
    for (uint32_t i = 0; i < dims->rank; i++) {
        uint32_t axis = perm[i] < 0 ? dims->rank - 1 - i : (uint32_t)perm[i];
        dim[i] = dims->dim[axis];
        stride[i] = from[axis];
        seen |= 1u << axis;
    }
    if (seen != (1u << dims->rank) - 1)
        return onnx_fail(import, node, TL_EINVAL, "perm names an axis twice");
    return yield_view(import, node, 0, source, dims->rank, dim, stride, 0);
}

static tl_status fold_slice(onnx_import *import, onnx_node *node, const onnx_value *source)
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
    strides_of(dims, stride);
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
    return yield_view(import, node, 0, source, dims->rank, dim, stride, offset);
}

static tl_status fold_expand(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    const onnx_dims *dims = &source->dims;
    int64_t to[ONNX_RANK_MAX], own[ONNX_RANK_MAX], stride[ONNX_RANK_MAX] = { 0 };
    uint32_t dim[ONNX_RANK_MAX];
    size_t count;
    tl_status status =
        onnx_operand_integers(import, node, 1, "shape", false, ONNX_RANK_MAX, to, &count);
    if (status != TL_OK) return status;
    uint32_t rank = dims->rank > count ? dims->rank : (uint32_t)count;
    strides_of(dims, own);
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
    return yield_view(import, node, 0, source, rank, dim, stride, 0);
}

static tl_status fold_gather(onnx_import *import, onnx_node *node, const onnx_value *source)
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
    draft d;
    if (!draft_open(import, &d, source->constant->data_type, rank, dim)) return import->err->status;
    size_t to = 0;
    for (size_t b = 0; b < before; b++)
        for (size_t i = 0; i < indices->dims.count; i++) {
            int64_t at = onnx_tensor_integer(indices->constant, i), size = dims->dim[axis];
            if (at < 0 && at >= -size) at += size;
            if (at < 0 || at >= size)
                return onnx_fail(import, node, TL_EINVAL, "index %lld of %lld", (long long)at,
                                 (long long)size);
            size_t from = (b * dims->dim[axis] + (size_t)at) * after;
            for (size_t k = 0; k < after; k++) draft_copy(&d, to++, source, from + k);
        }
    return onnx_yield_constant(import, node, 0, d.tensor, index_of(import, source));
}

static tl_status fold_concat(onnx_import *import, onnx_node *node, const onnx_value *source)
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
    draft d;
    if (!draft_open(import, &d, source->constant->data_type, dims->rank, dim))
        return import->err->status;
    size_t to = 0;
    for (size_t b = 0; b < before; b++)
        for (size_t i = 0; i < node->input_count; i++) {
            const onnx_value *part = onnx_operand(import, node, i);
            size_t run = part->dims.count / before;
            for (size_t k = 0; k < run; k++) draft_copy(&d, to++, part, b * run + k);
        }
    return onnx_yield_constant(import, node, 0, d.tensor, ONNX_NONE);
}

/* ---- Integers ---------------------------------------------------------------------------------
 */

static int64_t divide(int64_t a, int64_t b)
{
    return b == 0 || (a == INT64_MIN && b == -1) ? 0 : a / b;
}

static int64_t modulo(int64_t a, int64_t b)
{
    if (b == 0 || b == -1) return 0;
    int64_t rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/* Wraps around, as two's complement does. */
static int64_t compute(const char *op, int64_t a, int64_t b)
{
    uint64_t x = (uint64_t)a, y = (uint64_t)b;
    switch (op[0]) {
    case 'A': return strcmp(op, "Add") == 0 ? (int64_t)(x + y) : a != 0 && b != 0;
    case 'S': return (int64_t)(x - y);
    case 'D': return divide(a, b);
    case 'E': return a == b;
    case 'O': return a != 0 || b != 0;
    case 'X': return (a != 0) != (b != 0);
    case 'G': return strcmp(op, "Greater") == 0 ? a > b : a >= b;
    case 'L': return strcmp(op, "Less") == 0 ? a < b : a <= b;
    default: break;
    }
    if (strcmp(op, "Mul") == 0) return (int64_t)(x * y);
    if (strcmp(op, "Mod") == 0) return modulo(a, b);
    if (strcmp(op, "Min") == 0) return a < b ? a : b;
    return a > b ? a : b;
}

static bool is_integer(const onnx_value *value)
{
    return !onnx_type_is_float(value->constant->data_type);
}

/* Two or three operands spread to each other's sizes; strides of 0 repeat. */
typedef struct spread {
    uint32_t rank, dim[ONNX_RANK_MAX];
    int64_t stride[3][ONNX_RANK_MAX];
    size_t at[3];
    uint32_t place[ONNX_RANK_MAX];
} spread;

static bool spread_open(const onnx_import *import, const onnx_node *node, size_t count, spread *s)
{
    *s = (spread){ .rank = 0 };
    for (size_t i = 0; i < count; i++) {
        uint32_t rank = onnx_operand(import, node, i)->dims.rank;
        if (rank > s->rank) s->rank = rank;
    }
    for (uint32_t k = 0; k < s->rank; k++) s->dim[k] = 1;
    for (size_t i = 0; i < count; i++) {
        const onnx_dims *dims = &onnx_operand(import, node, i)->dims;
        int64_t own[ONNX_RANK_MAX];
        uint32_t before = s->rank - dims->rank;
        strides_of(dims, own);
        for (uint32_t k = 0; k < dims->rank; k++) {
            uint32_t *size = &s->dim[before + k];
            if (dims->dim[k] == 1) continue;
            if (*size != 1 && *size != dims->dim[k]) return false;
            *size = dims->dim[k];
            s->stride[i][before + k] = own[k];
        }
    }
    return true;
}

static void spread_next(spread *s)
{
    for (uint32_t k = s->rank; k-- > 0;) {
        for (int i = 0; i < 3; i++) s->at[i] += (size_t)s->stride[i][k];
        if (++s->place[k] < s->dim[k]) return;
        for (int i = 0; i < 3; i++) s->at[i] -= (size_t)s->stride[i][k] * s->dim[k];
        s->place[k] = 0;
    }
}

static tl_status fold_integers(onnx_import *import, onnx_node *node)
{
    spread s;
    draft d;
    const onnx_value *a = onnx_operand(import, node, 0), *b = onnx_operand(import, node, 1);
    if (!spread_open(import, node, 2, &s))
        return onnx_fail(import, node, TL_EINVAL, "its operands do not fit together");
    if (!draft_open(import, &d, ONNX_TYPE(INT64), s.rank, s.dim)) return import->err->status;
    for (size_t i = 0; i < d.tensor->n_int64_data; i++, spread_next(&s)) {
        int64_t x = onnx_tensor_integer(a->constant, s.at[0]);
        int64_t y = onnx_tensor_integer(b->constant, s.at[1]);
        if ((x == ONNX_BATCH || y == ONNX_BATCH) && strcmp(node->op, "Equal") != 0)
            return onnx_fail_batch(import, node, "it computes with the size of the batch");
        if (y == 0 && (strcmp(node->op, "Div") == 0 || strcmp(node->op, "Mod") == 0))
            return onnx_fail(import, node, TL_EINVAL, "it divides by zero");
        d.integers[i] = compute(node->op, x, y);
    }
    return onnx_yield_constant(import, node, 0, d.tensor, ONNX_NONE);
}

static tl_status fold_where(onnx_import *import, onnx_node *node)
{
    spread s;
    draft d;
    const onnx_value *parts[3];
    for (size_t i = 0; i < 3; i++) parts[i] = onnx_operand(import, node, i);
    if (!spread_open(import, node, 3, &s))
        return onnx_fail(import, node, TL_EINVAL, "its operands do not fit together");
    if (!draft_open(import, &d, parts[1]->constant->data_type, s.rank, s.dim))
        return import->err->status;
    size_t count = d.tensor->n_int64_data + d.tensor->n_float_data;
    for (size_t i = 0; i < count; i++, spread_next(&s)) {
        size_t from = onnx_tensor_integer(parts[0]->constant, s.at[0]) != 0 ? 1 : 2;
        draft_copy(&d, i, parts[from], s.at[from]);
    }
    return onnx_yield_constant(import, node, 0, d.tensor, ONNX_NONE);
}

static tl_status fold_cast(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    int64_t to = onnx_attr_int(node, "to", 0);
    bool wants_float = to == ONNX_TYPE(FLOAT) || to == ONNX_TYPE(DOUBLE);
    bool wants_integer = to == ONNX_TYPE(INT64) || to == ONNX_TYPE(INT32) || to == ONNX_TYPE(BOOL);
    if (!wants_float && !wants_integer)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "conversion to element type %lld is not supported; export in float32",
                         (long long)to);
    if (wants_float != is_integer(source) && to != ONNX_TYPE(BOOL))
        return onnx_yield_same(import, node, source);
    draft d;
    if (!draft_open(import, &d, (int32_t)to, source->dims.rank, source->dims.dim))
        return import->err->status;
    for (size_t i = 0; i < source->dims.count; i++) {
        if (wants_float && onnx_tensor_integer(source->constant, i) == ONNX_BATCH)
            return onnx_fail_batch(import, node, "it computes with the size of the batch");
        draft_copy(&d, i, source, i); /* towards 0 */
        if (to == ONNX_TYPE(BOOL)) d.integers[i] = onnx_tensor_number(source->constant, i) != 0.0;
    }
    return onnx_yield_constant(import, node, 0, d.tensor, index_of(import, source));
}

/* Product, sum and the like over all of a list of integers. */
static tl_status fold_reduce(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    static const uint32_t ONE[1] = { 1 };
    const char *op = strcmp(node->op, "ReduceProd") == 0  ? "Mul"
                     : strcmp(node->op, "ReduceSum") == 0 ? "Add"
                     : strcmp(node->op, "ReduceMin") == 0 ? "Min"
                                                          : "Max";
    draft d;
    if (source->dims.count == 0) return onnx_fail(import, node, TL_EUNSUPPORTED, "of nothing");
    bool keep = onnx_attr_int(node, "keepdims", 1) != 0;
    if (!draft_open(import, &d, ONNX_TYPE(INT64), keep ? 1 : 0, ONE)) return import->err->status;
    for (size_t i = 0; i < source->dims.count; i++) {
        int64_t x = onnx_tensor_integer(source->constant, i);
        if (x == ONNX_BATCH)
            return onnx_fail_batch(import, node, "it computes with the size of the batch");
        d.integers[0] = i == 0 ? x : compute(op, d.integers[0], x);
    }
    return onnx_yield_constant(import, node, 0, d.tensor, ONNX_NONE);
}

static tl_status fold_range(onnx_import *import, onnx_node *node)
{
    double limits[3];
    for (size_t i = 0; i < 3; i++) {
        const onnx_value *value = onnx_operand(import, node, i);
        if (value->dims.count != 1) return onnx_fail(import, node, TL_EINVAL, "no number");
        limits[i] = onnx_tensor_number(value->constant, 0);
    }
    double steps = limits[2] == 0.0 ? NAN : ceil((limits[1] - limits[0]) / limits[2]);
    if (!(steps <= TL_DIM_MAX) || !(fabs(limits[0]) < 1e15) || !(fabs(limits[2]) < 1e15))
        return onnx_fail(import, node, TL_ELIMIT, "from %g to %g by %g", limits[0], limits[1],
                         limits[2]);
    uint32_t count = steps > 0.0 ? (uint32_t)steps : 0;
    draft d;
    if (!draft_open(import, &d, onnx_operand(import, node, 0)->constant->data_type, 1, &count))
        return import->err->status;
    for (uint32_t i = 0; i < count; i++) {
        double value = limits[0] + i * limits[2];
        if (d.integers != NULL)
            d.integers[i] = (int64_t)value;
        else
            d.floats[i] = (float)value;
    }
    return onnx_yield_constant(import, node, 0, d.tensor, ONNX_NONE);
}

/* A value all over; the batch counts as 1, for the result is the same for each item. */
static tl_status fold_constant_of_shape(onnx_import *import, onnx_node *node)
{
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
    draft d;
    if (!draft_open(import, &d, value == NULL ? ONNX_TYPE(FLOAT) : value->data_type,
                    (uint32_t)count, dim))
        return import->err->status;
    for (size_t i = 0; i < d.tensor->n_int64_data; i++)
        d.integers[i] = onnx_tensor_integer(value, 0);
    for (size_t i = 0; i < d.tensor->n_float_data; i++)
        d.floats[i] = value == NULL ? 0.0f : (float)onnx_tensor_number(value, 0);
    return onnx_yield_constant(import, node, 0, d.tensor, ONNX_NONE);
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
    draft d;
    if (strcmp(node->op, "Size") == 0) {
        if (!draft_open(import, &d, ONNX_TYPE(INT64), 0, NULL)) return import->err->status;
        d.integers[0] = 1;
        for (uint32_t i = 0; i < x.rank; i++) {
            if (sizes[i] == ONNX_BATCH)
                return onnx_fail_batch(import, node, "it computes with the size of the batch");
            d.integers[0] *= sizes[i];
        }
        return onnx_yield_constant(import, node, 0, d.tensor, ONNX_NONE);
    }
    int64_t begin = onnx_attr_int(node, "start", 0), end = onnx_attr_int(node, "end", INT64_MAX);
    onnx_slice_range(x.rank, 1, &begin, &end);
    uint32_t count = (uint32_t)(end - begin);
    if (!draft_open(import, &d, ONNX_TYPE(INT64), 1, &count)) return import->err->status;
    for (uint32_t i = 0; i < count; i++) d.integers[i] = sizes[begin + i];
    return onnx_yield_constant(import, node, 0, d.tensor, ONNX_NONE);
}

/* ---- Which way --------------------------------------------------------------------------------
 */

typedef tl_status (*folder)(onnx_import *import, onnx_node *node, const onnx_value *source);

static const struct {
    const char *op;
    folder fold;
} MOVES[] = {
    { "Reshape", fold_reshape }, { "Squeeze", fold_axes },        { "Unsqueeze", fold_axes },
    { "Slice", fold_slice },     { "Transpose", fold_transpose }, { "Expand", fold_expand },
    { "Gather", fold_gather },   { "Concat", fold_concat },       { "Cast", fold_cast },
};

static const char *const INTEGER_OPS[] = { "Add",
                                           "Sub",
                                           "Mul",
                                           "Div",
                                           "Mod",
                                           "Min",
                                           "Max",
                                           "And",
                                           "Or",
                                           "Xor",
                                           "Equal",
                                           "Greater",
                                           "GreaterOrEqual",
                                           "Less",
                                           "LessOrEqual" };
static const char *const REDUCE_OPS[] = { "ReduceProd", "ReduceSum", "ReduceMin", "ReduceMax" };

static bool is_one_of(const char *op, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(op, list[i]) == 0) return true;
    return false;
}

static bool are_integers(const onnx_import *import, const onnx_node *node)
{
    for (size_t i = 0; i < node->input_count; i++) {
        const onnx_value *value = onnx_operand(import, node, i);
        if (value == NULL || !is_integer(value)) return false;
    }
    return true;
}

tl_status onnx_fold(onnx_import *import, onnx_node *node)
{
    onnx_handler handler = node->entry->handler;
    if (handler == onnx_run_identity || handler == onnx_run_dropout ||
        handler == onnx_run_constant || handler == onnx_run_shape)
        return handler(import, node);
    const onnx_value *source = onnx_operand(import, node, 0);
    if (source == NULL) return onnx_fail(import, node, TL_EINVAL, "operand 0 is missing");
    for (size_t i = 0; i < TL_COUNT_OF(MOVES); i++)
        if (strcmp(node->op, MOVES[i].op) == 0) return MOVES[i].fold(import, node, source);
    if (strcmp(node->op, "Where") == 0) return fold_where(import, node);
    if (strcmp(node->op, "Range") == 0) return fold_range(import, node);
    if (strcmp(node->op, "ConstantOfShape") == 0) return fold_constant_of_shape(import, node);
    bool integers = are_integers(import, node);
    if (integers && node->input_count == 2 && onnx_attr(node, "fmod") == NULL &&
        is_one_of(node->op, INTEGER_OPS, TL_COUNT_OF(INTEGER_OPS)))
        return fold_integers(import, node);
    if (integers && source->dims.rank == 1 &&
        is_one_of(node->op, REDUCE_OPS, TL_COUNT_OF(REDUCE_OPS)))
        return fold_reduce(import, node, source);
    return onnx_fold_by_engine(import, node);
}

#include "graph/onnx/import/fold/internal.h"

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

bool fold_draft_open(const onnx_import *import, fold_draft *d, int32_t type, uint32_t rank,
                     const uint32_t *dim)
{
    d->tensor = onnx_constant_new(import, type, rank, dim, &d->integers, &d->floats);
    if (d->tensor == NULL) return false;
    d->count = d->tensor->n_int64_data + d->tensor->n_float_data;
    return true;
}

void fold_draft_copy(fold_draft *d, size_t to, const onnx_value *source, size_t from)
{
    if (d->integers != NULL)
        d->integers[to] = onnx_tensor_integer(source->constant, from);
    else
        d->floats[to] = (float)onnx_tensor_number(source->constant, from);
}

static int32_t origin_of(const onnx_import *import, const onnx_value *source)
{
    return source == NULL ? ONNX_NONE : (int32_t)(source - import->values);
}

tl_status fold_draft_yield(onnx_import *import, onnx_node *node, const fold_draft *d,
                           const onnx_value *source)
{
    return onnx_yield_constant(import, node, 0, d->tensor, origin_of(import, source));
}

/* ---- Views ------------------------------------------------------------------------------------
 */

tl_status fold_yield_view(onnx_import *import, onnx_node *node, const onnx_value *source,
                          uint32_t rank, const uint32_t *dim, const int64_t *stride, int64_t offset)
{
    fold_draft d;
    uint32_t at[ONNX_RANK_MAX] = { 0 };
    if (!fold_draft_open(import, &d, source->constant->data_type, rank, dim))
        return import->err->status;
    for (size_t i = 0; i < d.count; i++) {
        fold_draft_copy(&d, i, source, (size_t)offset);
        for (uint32_t k = rank; k-- > 0;) {
            offset += stride[k];
            if (++at[k] < dim[k]) break;
            offset -= stride[k] * (int64_t)dim[k];
            at[k] = 0;
        }
    }
    return fold_draft_yield(import, node, &d, source);
}

void fold_strides(const onnx_dims *dims, int64_t *out)
{
    int64_t step = 1;
    for (uint32_t i = dims->rank; i-- > 0;) {
        out[i] = step;
        step *= dims->dim[i];
    }
}
tl_status fold_yield_renamed(onnx_import *import, onnx_node *node, const onnx_value *source,
                             uint32_t rank, const uint32_t *dim)
{
    Onnx__TensorProto *tensor = tensor_new(import, rank, dim);
    if (tensor == NULL) return import->err->status;
    Onnx__TensorProto renamed = *source->constant;
    renamed.dims = tensor->dims;
    renamed.n_dims = rank;
    *tensor = renamed;
    return onnx_yield_constant(import, node, 0, tensor, origin_of(import, source));
}

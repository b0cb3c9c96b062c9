#include "graph/onnx/import/file/internal.h"

#include <math.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is read as it lies");

static size_t element_bytes(int32_t type)
{
    switch (type) {
    case ONNX_TYPE(DOUBLE):
    case ONNX_TYPE(INT64): return 8;
    case ONNX_TYPE(FLOAT):
    case ONNX_TYPE(INT32): return 4;
    case ONNX_TYPE(FLOAT16):
    case ONNX_TYPE(BFLOAT16): return 2;
    case ONNX_TYPE(UINT8):
    case ONNX_TYPE(INT8):
    case ONNX_TYPE(BOOL): return 1;
    default: return 0;
    }
}

bool onnx_type_is_float(int32_t type)
{
    return type == ONNX_TYPE(FLOAT) || type == ONNX_TYPE(DOUBLE) || type == ONNX_TYPE(FLOAT16) ||
           type == ONNX_TYPE(BFLOAT16);
}

/* Elements in the field that holds this type when raw_data does not. */
static size_t typed_count(const Onnx__TensorProto *tensor)
{
    switch (tensor->data_type) {
    case ONNX_TYPE(FLOAT): return tensor->n_float_data;
    case ONNX_TYPE(DOUBLE): return tensor->n_double_data;
    case ONNX_TYPE(INT64): return tensor->n_int64_data;
    default: return tensor->n_int32_data;
    }
}

static tl_status check_dims(const Onnx__TensorProto *tensor, const char *name, onnx_dims *out,
                            tl_error *err)
{
    *out = (onnx_dims){ .count = 1 };
    if (tensor->n_dims > ONNX_RANK_MAX)
        return tl_fail(err, TL_ELIMIT, "initializer %s: %zu dimensions, at most %d are read",
                       onnx_word_of(name).text, tensor->n_dims, ONNX_RANK_MAX);
    for (size_t i = 0; i < tensor->n_dims; i++) {
        int64_t dim = tensor->dims[i];
        if (dim < 0 || dim > TL_DIM_MAX)
            return tl_fail(err, TL_ELIMIT, "initializer %s: dimension %lld is not in 0..%d",
                           onnx_word_of(name).text, (long long)dim, TL_DIM_MAX);
        out->dim[i] = (uint32_t)dim;
        if (__builtin_mul_overflow(out->count, (size_t)dim, &out->count) ||
            out->count > TL_ITEM_FLOATS_MAX)
            return tl_fail(err, TL_ELIMIT, "initializer %s: more than %zu elements",
                           onnx_word_of(name).text, TL_ITEM_FLOATS_MAX);
    }
    out->rank = (uint32_t)tensor->n_dims;
    return TL_OK;
}

tl_status onnx_tensor_check(const Onnx__TensorProto *tensor, const char *name, onnx_dims *out,
                            tl_error *err)
{
    onnx_word word = onnx_word_of(name);
    if (tensor->n_external_data > 0 ||
        (tensor->has_data_location &&
         tensor->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT))
        return tl_fail(err, TL_EUNSUPPORTED,
                       "initializer %s keeps its data in another file; save the model as one file "
                       "(onnx.save with save_as_external_data=False)",
                       word.text);
    if (tensor->segment != NULL)
        return tl_fail(err, TL_EUNSUPPORTED, "initializer %s is split into segments", word.text);
    size_t size = element_bytes(tensor->data_type);
    if (size == 0)
        return tl_fail(err, TL_EUNSUPPORTED,
                       "initializer %s: element type %d is not supported; convert it to float32",
                       word.text, tensor->data_type);
    tl_status status = check_dims(tensor, name, out, err);
    if (status != TL_OK) return status;
    size_t have = tensor->has_raw_data ? tensor->raw_data.len / size : typed_count(tensor);
    bool odd = tensor->has_raw_data && tensor->raw_data.len % size != 0;
    if (have != out->count || odd)
        return tl_fail(err, TL_EINVAL, "initializer %s: its shape has %zu elements, its data %zu",
                       word.text, out->count, have);
    return TL_OK;
}

/* IEEE 754 half precision, given as bits. */
static double half_number(uint32_t bits)
{
    uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value = exponent == 0    ? ldexp((double)fraction, -24)
                   : exponent == 31 ? (fraction == 0 ? HUGE_VAL : (double)NAN)
                                    : ldexp((double)(fraction + 1024), (int)exponent - 25);
    return bits & 0x8000 ? -value : value;
}

static double bfloat_number(uint32_t bits)
{
    uint32_t wide = bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

static double typed_number(const Onnx__TensorProto *tensor, size_t index)
{
    switch (tensor->data_type) {
    case ONNX_TYPE(FLOAT): return (double)tensor->float_data[index];
    case ONNX_TYPE(DOUBLE): return tensor->double_data[index];
    case ONNX_TYPE(INT64): return (double)tensor->int64_data[index];
    case ONNX_TYPE(FLOAT16): return half_number((uint32_t)tensor->int32_data[index] & 0xffff);
    case ONNX_TYPE(BFLOAT16): return bfloat_number((uint32_t)tensor->int32_data[index] & 0xffff);
    default: return (double)tensor->int32_data[index];
    }
}

double onnx_tensor_number(const Onnx__TensorProto *tensor, size_t index)
{
    if (!tensor->has_raw_data) return typed_number(tensor, index);
    const uint8_t *at = tensor->raw_data.data + index * element_bytes(tensor->data_type);
    union {
        float f32;
        double f64;
        int64_t i64;
        int32_t i32;
        uint16_t bits;
    } u;
    switch (tensor->data_type) {
    case ONNX_TYPE(FLOAT): memcpy(&u.f32, at, sizeof u.f32); return (double)u.f32;
    case ONNX_TYPE(DOUBLE): memcpy(&u.f64, at, sizeof u.f64); return u.f64;
    case ONNX_TYPE(INT64): memcpy(&u.i64, at, sizeof u.i64); return (double)u.i64;
    case ONNX_TYPE(INT32): memcpy(&u.i32, at, sizeof u.i32); return (double)u.i32;
    case ONNX_TYPE(FLOAT16): memcpy(&u.bits, at, sizeof u.bits); return half_number(u.bits);
    case ONNX_TYPE(BFLOAT16): memcpy(&u.bits, at, sizeof u.bits); return bfloat_number(u.bits);
    case ONNX_TYPE(INT8): return (double)(int8_t)*at;
    default: return (double)*at;
    }
}

int64_t onnx_tensor_integer(const Onnx__TensorProto *tensor, size_t index)
{
    if (tensor->data_type == ONNX_TYPE(INT64)) {
        int64_t value;
        if (!tensor->has_raw_data) return tensor->int64_data[index];
        memcpy(&value, tensor->raw_data.data + index * sizeof value, sizeof value);
        return value;
    }
    double value = onnx_tensor_number(tensor, index);
    if (isnan(value)) return 0;
    return value >= 9e18 ? INT64_MAX : value <= -9e18 ? INT64_MIN : (int64_t)value;
}

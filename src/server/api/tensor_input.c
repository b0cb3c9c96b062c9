/* tensor_input.c - input tensors of the Open Inference Protocol. */
#include "server/api/tensor_input.h"

#include "format/base64.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} datatypes[] = {
#define X(name, bytes) [TL_DATATYPE_##name] = { #name, bytes },
    TL_DATATYPE_MAP(X)
#undef X
};
_Static_assert(TL_COUNT_OF(datatypes) == TL_DATATYPE_COUNT, "every datatype has its row");

const char *tl_datatype_text(tl_datatype type)
{
    return datatypes[type].name;
}

/* ---- Description ----------------------------------------------------------------------------- */

static tl_status read_type(const tl_json *json, tl_tensor_input *out, tl_error *err)
{
    const char *text = tl_json_get_text(json, "datatype", NULL);
    if (text == NULL)
        return tl_fail(err, TL_EINVAL, "input \"%.64s\": give its \"datatype\" as text", out->name);
    for (size_t i = 0; i < TL_DATATYPE_COUNT; i++) {
        if (strcmp(text, datatypes[i].name) != 0) continue;
        out->type = (tl_datatype)i;
        return TL_OK;
    }
    return tl_fail(
        err, TL_EUNSUPPORTED,
        "input \"%.64s\": datatype \"%.16s\" is not known; use FP32, FP64, UINT8 or BYTES",
        out->name, text);
}

static tl_status shape_fail(const tl_tensor_input *tensor, tl_error *err)
{
    return tl_fail(err, TL_ESHAPE,
                   "input \"%.64s\": \"shape\" must be 1 to %d whole numbers of at least 1",
                   tensor->name, TL_TENSOR_RANK_MAX);
}

static tl_status read_shape(const tl_json *json, tl_tensor_input *out, tl_error *err)
{
    const tl_json *shape = tl_json_get(json, "shape");
    size_t rank = tl_json_count(shape);
    if (shape == NULL || shape->kind != TL_JSON_NUMBERS || rank > TL_TENSOR_RANK_MAX)
        return shape_fail(out, err);
    out->rank = rank;
    out->count = 1;
    for (size_t i = 0; i < rank; i++) {
        double side = shape->as.numbers.values[i];
        /* 2^31 is over every body that is taken in, and 2^31 elements of 8 bytes do not overflow.
         */
        if (!(side >= 1.0) || side > 2147483648.0 || side != floor(side))
            return shape_fail(out, err);
        out->shape[i] = (size_t)side;
        if (out->count > 2147483648u / out->shape[i])
            return tl_fail(err, TL_ELIMIT, "input \"%.64s\": the shape has too many elements",
                           out->name);
        out->count *= out->shape[i];
    }
    return TL_OK;
}

static tl_status read_blob(const tl_json *size, const uint8_t **blob, size_t *blob_bytes,
                           tl_tensor_input *out, tl_error *err)
{
    uint64_t bytes;
    if (!tl_json_uint64(size, &bytes))
        return tl_fail(err, TL_EINVAL, "input \"%.64s\": binary_data_size must be a whole number",
                       out->name);
    if (bytes > *blob_bytes)
        return tl_fail(err, TL_EINVAL,
                       "input \"%.64s\": binary_data_size is %llu, but %zu bytes are left in the "
                       "body; check Inference-Header-Content-Length",
                       out->name, (unsigned long long)bytes, *blob_bytes);
    size_t element = datatypes[out->type].bytes;
    if (element != 0 && bytes != out->count * element)
        return tl_fail(err, TL_ESHAPE,
                       "input \"%.64s\": its shape needs %zu bytes of %s, binary_data_size is %llu",
                       out->name, out->count * element, datatypes[out->type].name,
                       (unsigned long long)bytes);
    out->blob = *blob;
    out->blob_bytes = (size_t)bytes;
    *blob += bytes;
    *blob_bytes -= (size_t)bytes;
    return TL_OK;
}

tl_status tl_tensor_read(const tl_json *json, const uint8_t **blob, size_t *blob_bytes,
                         tl_tensor_input *out, tl_error *err)
{
    *out = (tl_tensor_input){ .name = tl_json_get_text(json, "name", NULL) };
    if (out->name == NULL) return tl_fail(err, TL_EINVAL, "each input needs a \"name\"");
    tl_status status = read_type(json, out, err);
    if (status != TL_OK) return status;
    status = read_shape(json, out, err);
    if (status != TL_OK) return status;
    out->parameters = tl_json_get(json, "parameters");
    if (out->parameters != NULL && out->parameters->kind != TL_JSON_OBJECT)
        return tl_fail(err, TL_EINVAL, "input \"%.64s\": \"parameters\" must be an object",
                       out->name);
    const tl_json *size = tl_json_get(out->parameters, "binary_data_size");
    out->data = tl_json_get(json, "data");
    if ((size == NULL) == (out->data == NULL))
        return tl_fail(err, TL_EINVAL,
                       "input \"%.64s\": give either \"data\" or the parameter binary_data_size",
                       out->name);
    return size == NULL ? TL_OK : read_blob(size, blob, blob_bytes, out, err);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

/* IEEE 754 binary16 to single precision, exact. */
static float half_to_float(uint16_t half)
{
    uint32_t exponent = (half >> 10) & 31u, fraction = half & 1023u;
    float magnitude;
    if (exponent == 0) {
        magnitude = ldexpf((float)fraction, -24);
    } else if (exponent == 31) {
        magnitude = fraction == 0 ? INFINITY : NAN;
    } else {
        magnitude = ldexpf((float)(fraction | 1024u), (int)exponent - 25);
    }
    return (half & 0x8000u) != 0 ? -magnitude : magnitude;
}

#define CONVERT(c_type)                                                                            \
    for (size_t i = 0; i < count; i++) {                                                           \
        c_type value;                                                                              \
        memcpy(&value, blob + i * sizeof value, sizeof value);                                     \
        out[i] = (float)value;                                                                     \
    }                                                                                              \
    break

/* `type` is numeric; blob holds [count] of it. */
static void convert_blob(tl_datatype type, const uint8_t *blob, size_t count, float *out)
{
    switch (type) {
    case TL_DATATYPE_FP32: memcpy(out, blob, count * sizeof *out); break;
    case TL_DATATYPE_FP64: CONVERT(double);
    case TL_DATATYPE_BOOL:
        for (size_t i = 0; i < count; i++) out[i] = blob[i] != 0 ? 1.0f : 0.0f;
        break;
    case TL_DATATYPE_UINT8: CONVERT(uint8_t);
    case TL_DATATYPE_UINT16: CONVERT(uint16_t);
    case TL_DATATYPE_UINT32: CONVERT(uint32_t);
    case TL_DATATYPE_UINT64: CONVERT(uint64_t);
    case TL_DATATYPE_INT8: CONVERT(int8_t);
    case TL_DATATYPE_INT16: CONVERT(int16_t);
    case TL_DATATYPE_INT32: CONVERT(int32_t);
    case TL_DATATYPE_INT64: CONVERT(int64_t);
    case TL_DATATYPE_FP16:
        for (size_t i = 0; i < count; i++) {
            uint16_t half;
            memcpy(&half, blob + i * sizeof half, sizeof half);
            out[i] = half_to_float(half);
        }
        break;
    default: break;
    }
}

static tl_status copy_numbers(const tl_tensor_input *tensor, float *out, tl_error *err)
{
    size_t count;
    if (!tl_json_count_numbers(tensor->data, &count))
        return tl_fail(err, TL_EINVAL, "input \"%.64s\": \"data\" must hold nothing but numbers",
                       tensor->name);
    if (count != tensor->count)
        return tl_fail(err, TL_ESHAPE, "input \"%.64s\": its shape needs %zu numbers, data has %zu",
                       tensor->name, tensor->count, count);
    tl_json_copy_floats(tensor->data, out, count);
    return TL_OK;
}

static bool is_whole_type(tl_datatype type)
{
    return type >= TL_DATATYPE_UINT8 && type <= TL_DATATYPE_INT64;
}

tl_status tl_tensor_floats(const tl_tensor_input *tensor, tl_arena *arena, const float **out,
                           tl_error *err)
{
    if (tensor->type == TL_DATATYPE_BYTES)
        return tl_fail(err, TL_EUNSUPPORTED,
                       "input \"%.64s\": BYTES are not numbers; use FP32 or FP64", tensor->name);
    if (tensor->data != NULL &&
        (tensor->type == TL_DATATYPE_BOOL || tensor->type == TL_DATATYPE_FP16))
        return tl_fail(err, TL_EUNSUPPORTED,
                       "input \"%.64s\": %s is taken in binary only; use FP32 in JSON",
                       tensor->name, tl_datatype_text(tensor->type));
    float *values = tl_arena_alloc(arena, tensor->count * sizeof *values);
    if (values == NULL)
        return tl_fail(err, TL_ELIMIT, "input \"%.64s\" is too large", tensor->name);
    if (tensor->data != NULL) {
        tl_status status = copy_numbers(tensor, values, err);
        if (status != TL_OK) return status;
    } else {
        convert_blob(tensor->type, tensor->blob, tensor->count, values);
    }
    bool whole = tensor->data != NULL && is_whole_type(tensor->type);
    for (size_t i = 0; i < tensor->count; i++) {
        if (!isfinite(values[i]))
            return tl_fail(err, TL_EINVAL,
                           "input \"%.64s\": number %zu is not finite in single precision",
                           tensor->name, i);
        if (whole && values[i] != floorf(values[i]))
            return tl_fail(err, TL_EINVAL, "input \"%.64s\": number %zu is not whole, but %s is",
                           tensor->name, i, tl_datatype_text(tensor->type));
    }
    *out = values;
    return TL_OK;
}

/* ---- Images as files ------------------------------------------------------------------------- */

static tl_image image_file(const void *data, size_t bytes)
{
    if (bytes == 0) return (tl_image){ .encoding = TL_IMAGE_NONE };
    return (tl_image){ .encoding = TL_IMAGE_FILE, .data = data, .bytes = bytes };
}

static tl_status count_fail(const tl_tensor_input *tensor, size_t found, tl_error *err)
{
    return tl_fail(err, TL_ESHAPE, "input \"%.64s\": its shape needs %zu elements, data has %zu%s",
                   tensor->name, tensor->count, found < tensor->count ? found : tensor->count,
                   found > tensor->count ? " and more" : "");
}

static tl_status blob_files(const tl_tensor_input *tensor, tl_image *images, tl_error *err)
{
    const uint8_t *at = tensor->blob;
    size_t left = tensor->blob_bytes;
    for (size_t i = 0; i < tensor->count; i++) {
        uint32_t bytes;
        if (left < sizeof bytes) return count_fail(tensor, i, err);
        memcpy(&bytes, at, sizeof bytes);
        at += sizeof bytes;
        left -= sizeof bytes;
        if (bytes > left)
            return tl_fail(err, TL_EINVAL,
                           "input \"%.64s\": element %zu states %u bytes, %zu are left",
                           tensor->name, i, bytes, left);
        images[i] = image_file(at, bytes);
        at += bytes;
        left -= bytes;
    }
    return left == 0 ? TL_OK : count_fail(tensor, tensor->count + 1, err);
}

static tl_status json_file(const tl_tensor_input *tensor, const tl_json *value, size_t index,
                           tl_arena *arena, tl_image *image, tl_error *err)
{
    if (value->kind != TL_JSON_STRING)
        return tl_fail(err, TL_EINVAL,
                       "input \"%.64s\": element %zu must be the text of an image in base64",
                       tensor->name, index);
    const void *data = NULL;
    size_t bytes = 0;
    if (value->as.string.bytes > 0) {
        tl_status status = tl_base64_decode_arena(value->as.string.data, value->as.string.bytes,
                                                  arena, &data, &bytes, err);
        if (status != TL_OK)
            return tl_fail_context(err, status, "input \"%.64s\", element %zu", tensor->name,
                                   index);
    }
    *image = image_file(data, bytes);
    return TL_OK;
}

/* Data is ["...", ...] or [["..."], ...]. */
static tl_status json_files(const tl_tensor_input *tensor, tl_arena *arena, tl_image *images,
                            tl_error *err)
{
    if (tensor->data->kind != TL_JSON_ARRAY)
        return tl_fail(err, TL_EINVAL, "input \"%.64s\": \"data\" must be an array of texts",
                       tensor->name);
    size_t found = tl_json_count(tensor->data);
    if (found != tensor->count) return count_fail(tensor, found, err);
    size_t i = 0;
    for (const tl_json *value = tl_json_first(tensor->data); value != NULL; value = value->next) {
        const tl_json *element = value;
        if (value->kind == TL_JSON_ARRAY && tl_json_count(value) == 1)
            element = tl_json_first(value);
        tl_status status = json_file(tensor, element, i, arena, &images[i], err);
        if (status != TL_OK) return status;
        i++;
    }
    return TL_OK;
}

tl_status tl_tensor_image_files(const tl_tensor_input *tensor, tl_arena *arena, tl_image *images,
                                tl_error *err)
{
    if (tensor->rank > 2 || (tensor->rank == 2 && tensor->shape[1] != 1))
        return tl_fail(err, TL_ESHAPE, "input \"%.64s\": BYTES have the shape [n] or [n, 1]",
                       tensor->name);
    return tensor->data == NULL ? blob_files(tensor, images, err)
                                : json_files(tensor, arena, images, err);
}

/* ---- Images as pixels ------------------------------------------------------------------------ */

typedef struct layout {
    size_t height, width, channels;
    bool planes; /* [c, h, w] instead of [h, w, c] */
} layout;

static tl_status read_layout(const tl_tensor_input *tensor, layout *out, tl_error *err)
{
    const size_t *shape = tensor->shape;
    const char *wanted = tl_json_get_text(tensor->parameters, "layout", NULL);
    bool planes_fit = tensor->rank == 4 && (shape[1] == 1 || shape[1] == 3);
    bool rows_fit = tensor->rank == 4 && (shape[3] == 1 || shape[3] == 3);
    if (wanted != NULL && strcmp(wanted, "NCHW") == 0) rows_fit = false;
    if (wanted != NULL && strcmp(wanted, "NHWC") == 0) planes_fit = false;
    if (tensor->rank == 3) {
        *out = (layout){ shape[1], shape[2], 1, false };
    } else if (rows_fit) {
        *out = (layout){ shape[1], shape[2], shape[3], false };
    } else if (planes_fit) {
        *out = (layout){ shape[2], shape[3], shape[1], true };
    } else {
        return tl_fail(err, TL_ESHAPE,
                       "input \"%.64s\": pixels have the shape [n, h, w], [n, h, w, c] or "
                       "[n, c, h, w] with 1 or 3 channels; the parameter \"layout\" (NHWC, NCHW) "
                       "decides where both fit",
                       tensor->name);
    }
    return TL_OK;
}

/* What 255 is in the tensor: 1 for floating point, unless the parameter "range" says 255. */
static tl_status read_range(const tl_tensor_input *tensor, float *out, tl_error *err)
{
    bool is_float = tensor->type >= TL_DATATYPE_FP16 && tensor->type <= TL_DATATYPE_FP64;
    double range = is_float ? 1.0 : 255.0;
    const tl_json *given = tl_json_get(tensor->parameters, "range");
    if (given != NULL && (!tl_json_number(given, &range) || (range != 1.0 && range != 255.0)))
        return tl_fail(err, TL_EINVAL, "input \"%.64s\": the parameter \"range\" must be 1 or 255",
                       tensor->name);
    *out = (float)range;
    return TL_OK;
}

static tl_status round_pixels(const tl_tensor_input *tensor, tl_arena *arena, uint8_t *out,
                              tl_error *err)
{
    if (tensor->data == NULL && tensor->type == TL_DATATYPE_UINT8) {
        memcpy(out, tensor->blob, tensor->count);
        return TL_OK;
    }
    float range = 0;
    tl_status status = read_range(tensor, &range, err);
    if (status != TL_OK) return status;
    const float *values;
    status = tl_tensor_floats(tensor, arena, &values, err);
    if (status != TL_OK) return status;
    float scale = 255.0f / range;
    for (size_t i = 0; i < tensor->count; i++) {
        if (!(values[i] >= 0.0f) || values[i] > range)
            return tl_fail(
                err, TL_EINVAL,
                "input \"%.64s\": number %zu is outside 0..%g; give pixels of 0..255 the "
                "parameter \"range\": 255",
                tensor->name, i, (double)range);
        out[i] = (uint8_t)(values[i] * scale + 0.5f);
    }
    return TL_OK;
}

/* [c, h, w] to [h, w, c]. */
static void interleave(const uint8_t *planes, const layout *size, uint8_t *out)
{
    size_t area = size->height * size->width;
    for (size_t i = 0; i < area; i++)
        for (size_t c = 0; c < size->channels; c++)
            out[i * size->channels + c] = planes[c * area + i];
}

tl_status tl_tensor_pixels(const tl_tensor_input *tensor, tl_arena *arena, tl_image *images,
                           tl_error *err)
{
    layout size = { 0 };
    tl_status status = read_layout(tensor, &size, err);
    if (status != TL_OK) return status;
    uint8_t *pixels = tl_arena_alloc(arena, tensor->count);
    uint8_t *rows = size.planes ? tl_arena_alloc(arena, tensor->count) : pixels;
    if (pixels == NULL || rows == NULL)
        return tl_fail(err, TL_ELIMIT, "input \"%.64s\" is too large", tensor->name);
    status = round_pixels(tensor, arena, pixels, err);
    if (status != TL_OK) return status;
    size_t bytes = size.height * size.width * size.channels;
    for (size_t i = 0; i < tensor->shape[0]; i++) {
        if (size.planes) interleave(pixels + i * bytes, &size, rows + i * bytes);
        images[i] = (tl_image){ .encoding = TL_IMAGE_U8,
                                .data = rows + i * bytes,
                                .bytes = bytes,
                                .height = (uint32_t)size.height,
                                .width = (uint32_t)size.width,
                                .channels = (uint32_t)size.channels };
    }
    return TL_OK;
}

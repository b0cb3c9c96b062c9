#include "graph/onnx/import/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const Onnx__AttributeProto *onnx_attr(const onnx_node *node, const char *name)
{
    const Onnx__NodeProto *proto = node->proto;
    for (size_t i = 0; i < proto->n_attribute; i++)
        if (proto->attribute[i]->name != NULL && strcmp(proto->attribute[i]->name, name) == 0)
            return proto->attribute[i];
    return NULL;
}

int64_t onnx_attr_int(const onnx_node *node, const char *name, int64_t otherwise)
{
    const Onnx__AttributeProto *attr = onnx_attr(node, name);
    return attr != NULL && attr->has_i ? attr->i : otherwise;
}

float onnx_attr_float(const onnx_node *node, const char *name, float otherwise)
{
    const Onnx__AttributeProto *attr = onnx_attr(node, name);
    return attr != NULL && attr->has_f ? attr->f : otherwise;
}

bool onnx_attr_is(const onnx_node *node, const char *name, const char *text)
{
    const Onnx__AttributeProto *attr = onnx_attr(node, name);
    if (attr == NULL || !attr->has_s) return true;
    return attr->s.len == strlen(text) && memcmp(attr->s.data, text, attr->s.len) == 0;
}

tl_status onnx_attr_sizes(const onnx_import *import, const onnx_node *node, const char *name,
                          size_t count, int64_t lowest, int64_t highest, int64_t otherwise,
                          int64_t *out)
{
    const Onnx__AttributeProto *attr = onnx_attr(node, name);
    if (attr == NULL || attr->n_ints == 0) {
        for (size_t i = 0; i < count; i++) out[i] = otherwise;
        return TL_OK;
    }
    if (attr->n_ints != count)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "%s has %zu numbers instead of %zu", name,
                         attr->n_ints, count);
    for (size_t i = 0; i < count; i++) {
        if (attr->ints[i] < lowest || attr->ints[i] > highest)
            return onnx_fail(import, node, TL_EINVAL, "%s %lld is not in %lld..%lld", name,
                             (long long)attr->ints[i], (long long)lowest, (long long)highest);
        out[i] = attr->ints[i];
    }
    return TL_OK;
}

tl_status onnx_axis(const onnx_import *import, const onnx_node *node, int64_t axis, uint32_t rank,
                    uint32_t *out)
{
    int64_t counted = axis < 0 ? axis + (int64_t)rank : axis;
    if (axis < -(int64_t)rank || counted >= (int64_t)rank)
        return onnx_fail(import, node, TL_EINVAL, "axis %lld of %u dimensions", (long long)axis,
                         rank);
    *out = (uint32_t)counted;
    return TL_OK;
}

tl_status onnx_index(onnx_import *import, const onnx_node *node, const onnx_value *constant,
                     size_t at, uint32_t size, uint32_t *out)
{
    int64_t index = onnx_tensor_integer(constant->constant, at);
    if (index == ONNX_BATCH)
        return onnx_fail_batch(import, node, "it computes with the size of the batch");
    int64_t counted = index < 0 ? index + (int64_t)size : index;
    if (index < -(int64_t)size || counted >= (int64_t)size)
        return onnx_fail(import, node, TL_EINVAL, "index %lld of %u", (long long)index, size);
    *out = (uint32_t)counted;
    return TL_OK;
}

tl_status onnx_attr_axis(const onnx_import *import, const onnx_node *node, const char *name,
                         int64_t otherwise, uint32_t rank, uint32_t *out)
{
    return onnx_axis(import, node, onnx_attr_int(node, name, otherwise), rank, out);
}

/* ---- Operands ---------------------------------------------------------------------------------
 */

onnx_value *onnx_operand(const onnx_import *import, const onnx_node *node, size_t index)
{
    if (index >= node->input_count || node->inputs[index] == ONNX_NONE) return NULL;
    return &import->values[node->inputs[index]];
}

bool onnx_operand_is_constant(const onnx_import *import, const onnx_node *node, size_t index)
{
    const onnx_value *value = onnx_operand(import, node, index);
    return value != NULL && value->kind == ONNX_VALUE_CONSTANT;
}

/* Padding that no convolution has taken. */
static tl_status add_padding(onnx_import *import, const onnx_node *node, onnx_value *value)
{
    uint32_t before[ONNX_RANK_MAX] = { 0, 0, value->pad[0], value->pad[1] };
    uint32_t after[ONNX_RANK_MAX] = { 0, 0, value->pad[2], value->pad[3] };
    memset(value->pad, 0, sizeof value->pad);
    return onnx_pad(import, node, &value->array, before, after, TL_PAD_CONSTANT, 0.0f);
}

tl_status onnx_operand_array(onnx_import *import, const onnx_node *node, size_t index,
                             onnx_array *out)
{
    onnx_value *value = onnx_operand(import, node, index);
    if (value == NULL) return onnx_fail(import, node, TL_EINVAL, "operand %zu is missing", index);
    if (value->kind == ONNX_VALUE_CONSTANT)
        return onnx_constant_array(import, node, value, value->dims.rank, NULL, false, out);
    if (value->kind != ONNX_VALUE_TENSOR)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "operand %zu is a side output that is not made (%s)", index,
                         onnx_word_of(value->name).text);
    tl_status status = TL_OK;
    if (value->pad[0] + value->pad[1] + value->pad[2] + value->pad[3] > 0)
        status = add_padding(import, node, value);
    *out = value->array;
    return status;
}

tl_status onnx_operand_constant(const onnx_import *import, const onnx_node *node, size_t index,
                                onnx_value **out)
{
    onnx_value *value = onnx_operand(import, node, index);
    if (value == NULL) return onnx_fail(import, node, TL_EINVAL, "operand %zu is missing", index);
    if (value->kind != ONNX_VALUE_CONSTANT)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "operand %zu is computed by the network; only a constant or an "
                         "initializer is supported there",
                         index);
    *out = value;
    return TL_OK;
}

tl_status onnx_operand_integers(onnx_import *import, const onnx_node *node, size_t index,
                                const char *name, bool batch_at_head, size_t count_max,
                                int64_t *out, size_t *count)
{
    *count = 0;
    const Onnx__AttributeProto *attr = onnx_attr(node, name);
    if (onnx_operand(import, node, index) == NULL) {
        if (attr == NULL) return TL_OK;
        size_t given = attr->n_ints == 0 && attr->has_i ? 1 : attr->n_ints;
        if (given > count_max)
            return onnx_fail(import, node, TL_EINVAL, "%s has too many numbers", name);
        for (size_t i = 0; i < given; i++) out[i] = attr->n_ints == 0 ? attr->i : attr->ints[i];
        *count = given;
        return TL_OK;
    }
    onnx_value *value = NULL;
    tl_status status = onnx_operand_constant(import, node, index, &value);
    if (value == NULL) return status;
    if (value->dims.rank > 1 || value->dims.count > count_max)
        return onnx_fail(import, node, TL_EINVAL, "%s has too many numbers", name);
    for (size_t i = 0; i < value->dims.count; i++) {
        out[i] = onnx_tensor_integer(value->constant, i);
        if (out[i] == ONNX_BATCH && (i > 0 || !batch_at_head))
            return onnx_fail_batch(import, node, "it depends on the size of the batch");
    }
    *count = value->dims.count;
    return TL_OK;
}

tl_status onnx_operand_number(const onnx_import *import, const onnx_node *node, size_t index,
                              const char *name, double otherwise, double *out)
{
    const Onnx__AttributeProto *attr = onnx_attr(node, name);
    *out = attr != NULL && attr->has_f ? (double)attr->f : otherwise;
    if (onnx_operand(import, node, index) == NULL) return TL_OK;
    onnx_value *value = NULL;
    tl_status status = onnx_operand_constant(import, node, index, &value);
    if (value == NULL) return status;
    if (value->dims.count != 1)
        return onnx_fail(import, node, TL_EINVAL, "%s must be one number", name);
    *out = onnx_tensor_number(value->constant, 0);
    return TL_OK;
}

float *onnx_floats_alloc(const onnx_import *import, size_t count)
{
    float *out = tl_arena_alloc(import->arena, (count > 0 ? count : 1) * sizeof *out);
    if (out == NULL) tl_fail(import->err, TL_ENOMEM, "%zu numbers of an ONNX file", count);
    return out;
}

float *onnx_floats(const onnx_import *import, const onnx_value *constant)
{
    float *out = onnx_floats_alloc(import, constant->dims.count);
    for (size_t i = 0; out != NULL && i < constant->dims.count; i++)
        out[i] = (float)onnx_tensor_number(constant->constant, i);
    return out;
}

float *onnx_weights(const onnx_import *import, const onnx_node *node, const onnx_value *constant)
{
    float *out = onnx_floats(import, constant);
    for (size_t i = 0; out != NULL && i < constant->dims.count; i++) {
        if (isfinite(out[i])) continue;
        onnx_fail(
            import, node, TL_EINVAL,
            "weight %zu of %s is not finite as a float32; export the model again from weights "
            "that are",
            i, onnx_word_of(constant->name).text);
        return NULL;
    }
    return out;
}

enum { NAME_BYTES = sizeof((tl_param *)NULL)->name, TAIL_BYTES = 20 };

/* A name for use `use` of a value, from 1 on. Names that are cut or changed stay distinct by their
 * value's place in the sorted table. */
static void write_name(const onnx_import *import, const onnx_value *value, uint32_t use,
                       char out[NAME_BYTES])
{
    size_t bytes = strlen(value->name);
    size_t kept = bytes < NAME_BYTES - TAIL_BYTES ? bytes : NAME_BYTES - TAIL_BYTES;
    bool changed = kept < bytes;
    for (size_t i = 0; i < kept; i++) {
        char c = value->name[i];
        bool plain = c > ' ' && c < 127;
        changed = changed || !plain;
        out[i] = plain ? c : '_';
    }
    char tail[TAIL_BYTES + 12] = "";
    if (changed) snprintf(tail, sizeof tail, "~%zu", (size_t)(value - import->values));
    if (use > 1) snprintf(tail + strlen(tail), sizeof tail - strlen(tail), "#%u", use);
    snprintf(out + kept, NAME_BYTES - kept, "%s", tail);
}

const char *onnx_param_name(onnx_import *import, const onnx_value *value)
{
    if (import->folding) { /* of a graph that is run once */
        char *name = tl_arena_alloc(import->arena, NAME_BYTES);
        if (name == NULL)
            tl_fail(import->err, TL_ENOMEM, "a parameter's name");
        else
            snprintf(name, NAME_BYTES, "folded%u", import->folded_names++);
        return name;
    }
    while (value->origin != ONNX_NONE) value = &import->values[value->origin];
    onnx_value *own = onnx_find_value(import, value->name); /* `value` may be a copy */
    char *name = tl_arena_alloc(import->arena, NAME_BYTES);
    if (name == NULL) {
        tl_fail(import->err, TL_ENOMEM, "a parameter's name");
        return NULL;
    }
    const onnx_value *other;
    do {
        write_name(import, own, ++own->param_count, name);
        other = onnx_find_value(import, name);
    } while (other != NULL && other != own); /* the file has that name itself */
    return name;
}

tl_status onnx_operand_param(onnx_import *import, const onnx_node *node, size_t index, size_t count,
                             tl_param_init *out)
{
    onnx_value *value;
    tl_status status = onnx_operand_constant(import, node, index, &value);
    if (status != TL_OK) return status;
    if (value->dims.count == 0 || (count != 0 && value->dims.count != count))
        return onnx_fail(import, node, TL_EINVAL, "operand %zu has %zu numbers instead of %zu",
                         index, value->dims.count, count);
    out->values = onnx_weights(import, node, value);
    out->name = onnx_param_name(import, value);
    out->count = value->dims.count;
    return out->values == NULL || out->name == NULL ? import->err->status : TL_OK;
}

/* ---- Results ----------------------------------------------------------------------------------
 */

static onnx_value *output_of(onnx_import *import, const onnx_node *node, size_t index)
{
    if (index >= node->output_count || node->outputs[index] == ONNX_NONE) return NULL;
    return &import->values[node->outputs[index]];
}

tl_status onnx_yield_at(onnx_import *import, onnx_node *node, size_t index, const onnx_array *array)
{
    onnx_value *value = output_of(import, node, index);
    if (value == NULL) return TL_OK;
    value->kind = ONNX_VALUE_TENSOR;
    value->array = *array;
    return TL_OK;
}

tl_status onnx_yield(onnx_import *import, onnx_node *node, const onnx_array *array)
{
    return onnx_yield_at(import, node, 0, array);
}

tl_status onnx_yield_same(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    onnx_value *value = output_of(import, node, 0);
    if (value == NULL) return TL_OK;
    value->kind = source->kind;
    value->constant = source->constant;
    value->dims = source->dims;
    value->array = source->array;
    memcpy(value->pad, source->pad, sizeof value->pad);
    return TL_OK;
}

tl_status onnx_yield_constant(onnx_import *import, onnx_node *node, size_t index,
                              const Onnx__TensorProto *constant, int32_t origin)
{
    onnx_value *value = output_of(import, node, index);
    if (value == NULL) return TL_OK;
    tl_status status = onnx_tensor_check(constant, value->name, &value->dims, import->err);
    if (status != TL_OK) return status;
    value->kind = ONNX_VALUE_CONSTANT;
    value->constant = constant;
    value->origin = origin;
    return TL_OK;
}

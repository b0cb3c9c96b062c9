#include "graph/onnx/onnx_internal.h"

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
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "%s has %zu numbers instead of %zu; only images (two spatial dimensions) "
                         "are supported",
                         name, attr->n_ints, count);
    for (size_t i = 0; i < count; i++) {
        if (attr->ints[i] < lowest || attr->ints[i] > highest)
            return onnx_fail(import, node, TL_EINVAL, "%s %lld is not in %lld..%lld", name,
                             (long long)attr->ints[i], (long long)lowest, (long long)highest);
        out[i] = attr->ints[i];
    }
    return TL_OK;
}

/* ---- Operands ---------------------------------------------------------------------------------
 */

onnx_value *onnx_operand(const onnx_import *import, const onnx_node *node, size_t index)
{
    if (index >= node->input_count || node->inputs[index] == ONNX_NONE) return NULL;
    return &import->values[node->inputs[index]];
}

tl_status onnx_operand_tensor(const onnx_import *import, const onnx_node *node, size_t index,
                              onnx_value **out)
{
    onnx_value *value = onnx_operand(import, node, index);
    if (value == NULL) return onnx_fail(import, node, TL_EINVAL, "operand %zu is missing", index);
    if (value->kind == ONNX_VALUE_CONSTANT)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "operand %zu is a constant where the network's data is expected; fold "
                         "constants before the import (onnxsim)",
                         index);
    if (value->kind != ONNX_VALUE_TENSOR)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "operand %zu is a side output that is not made (%s)", index,
                         onnx_word_of(value->name).text);
    for (size_t i = 0; i < 4; i++)
        if (value->pad[i] != 0)
            return onnx_fail(import, node, TL_EUNSUPPORTED,
                             "Pad is supported before a Conv only; let the layer pad by itself");
    *out = value;
    return TL_OK;
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

static tl_status copy_sizes(const onnx_import *import, const onnx_node *node,
                            const onnx_value *value, const char *name, size_t count_max,
                            int64_t *out, size_t *count)
{
    if (value->size_count > count_max)
        return onnx_fail(import, node, TL_EINVAL, "%s has too many numbers", name);
    for (size_t i = 0; i < value->size_count; i++) {
        out[i] = value->sizes[i];
        if (out[i] != ONNX_BATCH) continue;
        if (i != 0 || strcmp(name, "shape") != 0)
            return onnx_fail(import, node, TL_EUNSUPPORTED,
                             "%s depends on the size of the batch; export with fixed sizes", name);
        out[i] = 0;
    }
    *count = value->size_count;
    return TL_OK;
}

tl_status onnx_operand_integers(const onnx_import *import, const onnx_node *node, size_t index,
                                const char *name, size_t count_max, int64_t *out, size_t *count)
{
    *count = 0;
    const Onnx__AttributeProto *attr = onnx_attr(node, name);
    if (onnx_operand(import, node, index) == NULL) {
        if (attr == NULL) return TL_OK;
        if (attr->n_ints > count_max)
            return onnx_fail(import, node, TL_EINVAL, "%s has too many numbers", name);
        for (size_t i = 0; i < attr->n_ints; i++) out[i] = attr->ints[i];
        *count = attr->n_ints;
        return TL_OK;
    }
    onnx_value *value = onnx_operand(import, node, index);
    if (value->kind == ONNX_VALUE_SIZES)
        return copy_sizes(import, node, value, name, count_max, out, count);
    value = NULL;
    tl_status status = onnx_operand_constant(import, node, index, &value);
    if (value == NULL) return status;
    if (value->dims.rank > 1 || value->dims.count > count_max)
        return onnx_fail(import, node, TL_EINVAL, "%s has too many numbers", name);
    for (size_t i = 0; i < value->dims.count; i++) out[i] = onnx_tensor_integer(value->constant, i);
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
    if (out == NULL) return NULL;
    size_t rows = constant->dims.dim[0], columns = constant->dims.dim[1];
    bool turned = constant->transposed != ONNX_NONE;
    for (size_t i = 0; i < constant->dims.count; i++) {
        size_t at = turned ? i % columns * rows + i / columns : i;
        out[i] = (float)onnx_tensor_number(constant->constant, at);
    }
    return out;
}

const char *onnx_param_name(onnx_import *import, onnx_value *value)
{
    enum { NAME_BYTES = sizeof((tl_param *)NULL)->name, TAIL_BYTES = 20 };
    if (value->transposed != ONNX_NONE) value = &import->values[value->transposed];
    size_t bytes = strlen(value->name);
    char *name = tl_arena_alloc(import->arena, NAME_BYTES);
    if (name == NULL) {
        tl_fail(import->err, TL_ENOMEM, "a parameter's name");
        return NULL;
    }
    size_t kept = bytes < NAME_BYTES - TAIL_BYTES ? bytes : NAME_BYTES - TAIL_BYTES;
    for (size_t i = 0; i < kept; i++) {
        char c = value->name[i];
        name[i] = c > ' ' && c < 127 ? c : '_';
    }
    name[kept] = '\0';
    /* Cut names stay distinct by their place in the sorted table, shared ones by their use. */
    char tail[TAIL_BYTES + 12] = "";
    if (kept < bytes) snprintf(tail, sizeof tail, "~%zu", (size_t)(value - import->values));
    if (value->param_count > 0)
        snprintf(tail + strlen(tail), sizeof tail - strlen(tail), "#%u", value->param_count + 1);
    snprintf(name + kept, NAME_BYTES - kept, "%s", tail);
    value->param_count++;
    return name;
}

/* ---- Results ----------------------------------------------------------------------------------
 */

onnx_item onnx_item_of(const onnx_import *import, const onnx_value *value)
{
    const tl_shape *shape = tl_builder_shape(import->builder, value->tensor);
    TL_ASSERT(shape != NULL); /* every handler stops at the builder's first failure */
    if (shape->rank == 3) return (onnx_item){ shape->dim[2], shape->dim[0], shape->dim[1] };
    return (onnx_item){ shape->dim[0], 1, 1 };
}

tl_status onnx_yield_at(onnx_import *import, onnx_node *node, size_t index, tl_tensor_index tensor,
                        uint32_t rank)
{
    if (tensor == TL_TENSOR_NONE) {
        tl_status status = tl_builder_status(import->builder, import->err);
        TL_ASSERT(status != TL_OK);
        return tl_fail_context(import->err, status, "ONNX %s", onnx_word_of(node->op).text);
    }
    if (index >= node->output_count || node->outputs[index] == ONNX_NONE) return TL_OK;
    onnx_value *value = &import->values[node->outputs[index]];
    value->kind = ONNX_VALUE_TENSOR;
    value->tensor = tensor;
    value->rank = rank;
    return TL_OK;
}

tl_status onnx_yield(onnx_import *import, onnx_node *node, tl_tensor_index tensor, uint32_t rank)
{
    return onnx_yield_at(import, node, 0, tensor, rank);
}

tl_status onnx_yield_same(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    if (node->output_count == 0 || node->outputs[0] == ONNX_NONE) return TL_OK;
    onnx_value *value = &import->values[node->outputs[0]];
    value->kind = source->kind;
    value->constant = source->constant;
    value->dims = source->dims;
    value->transposed = source->transposed;
    value->size_count = source->size_count;
    memcpy(value->sizes, source->sizes, sizeof value->sizes);
    value->tensor = source->tensor;
    value->rank = source->rank;
    memcpy(value->pad, source->pad, sizeof value->pad);
    return TL_OK;
}

tl_tensor_index onnx_append(onnx_import *import, const onnx_node *node, tl_node_options options)
{
    onnx_word name = onnx_word_of(node->proto->name);
    options.name = node->proto->name == NULL || *node->proto->name == '\0' ? NULL : name.text;
    return tl_builder_node(import->builder, &options);
}

tl_tensor_index onnx_append_unary(onnx_import *import, const onnx_node *node, tl_op_kind kind,
                                  const tl_attrs *attrs, tl_tensor_index x)
{
    return onnx_append(
        import, node,
        (tl_node_options){ .kind = kind, .attrs = attrs, .inputs = &x, .input_count = 1 });
}

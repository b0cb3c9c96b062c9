#include "graph/onnx/onnx_internal.h"

#include <math.h>
#include <string.h>

/* Add, Sub, Mul and Div of two tensors, or of a tensor and a constant. */

/* A constant's dimensions as [c, h, w] beside a tensor of ONNX rank `rank`; false: they do not fit.
 */
static bool align_constant(const onnx_dims *dims, uint32_t rank, onnx_item *out)
{
    uint32_t full[4] = { 1, 1, 1, 1 }; /* n, c, h, w or n, c */
    for (uint32_t i = 0; i < dims->rank; i++) {
        uint32_t from_end = dims->rank - 1 - i;
        if (from_end >= rank && dims->dim[i] != 1) return false;
        if (from_end < rank) full[rank - 1 - from_end] = dims->dim[i];
    }
    *out = (onnx_item){ full[1], rank == 4 ? full[2] : 1, rank == 4 ? full[3] : 1 };
    return full[0] == 1;
}

static bool broadcasts(uint32_t constant, uint32_t tensor)
{
    return constant == 1 || constant == tensor || (tensor == 1 && constant > 0);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* `values` of shape `from`, in ONNX's order, as [h, w, c] of the (larger) shape `to`. */
static float *spread(onnx_import *import, const float *values, onnx_item from, onnx_item to)
{
    size_t count;
    if (__builtin_mul_overflow((size_t)to.h * to.w, (size_t)to.c, &count) ||
        count > TL_ITEM_FLOATS_MAX) {
        tl_fail(import->err, TL_ELIMIT, "a constant of an ONNX file is too large");
        return NULL;
    }
    float *out = onnx_floats_alloc(import, count), *at = out;
    if (out == NULL) return NULL;
    for (size_t h = 0; h < to.h; h++)
        for (size_t w = 0; w < to.w; w++)
            for (size_t c = 0; c < to.c; c++) {
                size_t fc = from.c == 1 ? 0 : c, fh = from.h == 1 ? 0 : h, fw = from.w == 1 ? 0 : w;
                *at++ = values[(fc * from.h + fh) * from.w + fw];
            }
    return out;
}

/* A constant operand beside the tensor `x`: one number, one a channel, or as large as the result.
 */
static tl_status make_constant(onnx_import *import, onnx_node *node, onnx_value *constant,
                               const onnx_value *x, bool reciprocal, tl_tensor_index *out)
{
    onnx_item from, item = onnx_item_of(import, x);
    if (!align_constant(&constant->dims, x->rank, &from) || !broadcasts(from.c, item.c) ||
        !broadcasts(from.h, item.h) || !broadcasts(from.w, item.w))
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "its constant operand does not fit an item of %u x %u x %u (channels, "
                         "height, width)",
                         item.c, item.h, item.w);
    float *values = onnx_floats(import, constant);
    const char *name = onnx_param_name(import, constant);
    if (values == NULL || name == NULL) return TL_ENOMEM;
    for (size_t i = 0; reciprocal && i < constant->dims.count; i++) {
        if (values[i] == 0.0f) return onnx_fail(import, node, TL_EINVAL, "it divides by zero");
        values[i] = 1.0f / values[i];
    }
    const tl_shape *x_shape = tl_builder_shape(import->builder, x->tensor);
    tl_shape shape = x_shape->rank == 3 ? tl_shape_image(1, 1, from.c) : tl_shape_vector(from.c);
    if (constant->dims.count == 1) {
        shape = tl_shape_vector(1);
    } else if (from.h != 1 || from.w != 1) {
        onnx_item to = { larger(from.c, item.c), larger(from.h, item.h), larger(from.w, item.w) };
        values = spread(import, values, from, to);
        if (values == NULL) return import->err->status;
        shape = tl_shape_image(to.h, to.w, to.c);
    }
    *out = tl_builder_constant(import->builder, name, &shape, values, false);
    return TL_OK;
}

static bool is_near(float a, double b)
{
    return fabs((double)a - b) < 1e-6;
}

/* x * Sigmoid(x) and x * HardSigmoid(x): the operator that they are together, or TL_OP_COUNT. */
static tl_op_kind fused_gate(const onnx_import *import, const onnx_value *x, const onnx_value *gate)
{
    if (gate->producer == ONNX_NONE) return TL_OP_COUNT;
    const onnx_node *node = &import->nodes[gate->producer];
    const onnx_value *source = onnx_operand(import, node, 0);
    if (source == NULL || source->kind != ONNX_VALUE_TENSOR || source->tensor != x->tensor)
        return TL_OP_COUNT;
    if (strcmp(node->op, "Sigmoid") == 0) return TL_OP_SILU;
    bool slope = is_near(onnx_attr_float(node, "alpha", 0.2f), 1.0 / 6.0);
    bool offset = is_near(onnx_attr_float(node, "beta", 0.5f), 0.5);
    return strcmp(node->op, "HardSigmoid") == 0 && slope && offset ? TL_OP_HARD_SWISH : TL_OP_COUNT;
}

static tl_op_kind binary_kind(const onnx_node *node)
{
    if (strcmp(node->op, "Add") == 0) return TL_OP_ADD;
    return strcmp(node->op, "Sub") == 0 ? TL_OP_SUB : TL_OP_MUL; /* Div: by the reciprocal */
}

static tl_status run_binary_constant(onnx_import *import, onnx_node *node, size_t tensor_index)
{
    onnx_value *x;
    tl_status status = onnx_operand_tensor(import, node, tensor_index, &x);
    if (status != TL_OK) return status;
    bool divides = strcmp(node->op, "Div") == 0;
    if (divides && tensor_index == 1)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "only division by a constant is supported");
    onnx_value *constant = onnx_operand(import, node, 1 - tensor_index);
    tl_tensor_index inputs[2];
    inputs[tensor_index] = x->tensor;
    status = make_constant(import, node, constant, x, divides, &inputs[1 - tensor_index]);
    if (status != TL_OK) return status;
    tl_node_options options = { .kind = binary_kind(node), .inputs = inputs, .input_count = 2 };
    return onnx_yield(import, node, onnx_append(import, node, options), x->rank);
}

tl_status onnx_run_binary(onnx_import *import, onnx_node *node)
{
    onnx_value *a = onnx_operand(import, node, 0), *b = onnx_operand(import, node, 1);
    if (onnx_attr(node, "axis") != NULL) /* operator set 6 could align operands elsewhere */
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "axis is not supported; convert the model with onnx.version_converter");
    if (a != NULL && a->kind == ONNX_VALUE_CONSTANT) return run_binary_constant(import, node, 1);
    if (b != NULL && b->kind == ONNX_VALUE_CONSTANT) return run_binary_constant(import, node, 0);
    tl_status status = onnx_operand_tensor(import, node, 0, &a);
    if (status == TL_OK) status = onnx_operand_tensor(import, node, 1, &b);
    if (status != TL_OK) return status;
    if (strcmp(node->op, "Div") == 0)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "only division by a constant is supported");
    if (a->rank != b->rank)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "operands of %u and %u dimensions cannot be combined", a->rank, b->rank);
    if (strcmp(node->op, "Mul") == 0) {
        tl_op_kind fused = fused_gate(import, a, b);
        if (fused == TL_OP_COUNT) fused = fused_gate(import, b, a);
        if (fused != TL_OP_COUNT) {
            tl_tensor_index x = fused_gate(import, a, b) == fused ? a->tensor : b->tensor;
            return onnx_yield(import, node, onnx_append_unary(import, node, fused, NULL, x),
                              a->rank);
        }
    }
    tl_tensor_index inputs[2] = { a->tensor, b->tensor };
    tl_node_options options = { .kind = binary_kind(node), .inputs = inputs, .input_count = 2 };
    return onnx_yield(import, node, onnx_append(import, node, options), a->rank);
}

#include "graph/onnx/import/internal.h"

#include <stdio.h>
#include <string.h>

/* ---- Inputs -----------------------------------------------------------------------------------
 */

/* Inputs and outputs as nodes, for texts. */
typedef struct end_node {
    onnx_node node;
    Onnx__NodeProto proto;
} end_node;

static onnx_node *make_end(end_node *end, const char *op, char *name)
{
    onnx__node_proto__init(&end->proto);
    end->proto.name = name;
    end->node = (onnx_node){ .proto = &end->proto, .op = op };
    return &end->node;
}

typedef Onnx__TensorShapeProto__Dimension onnx_dimension;

/* What the caller wants of that dimension; 0: nothing. */
static uint32_t chosen_size(const onnx_import *import, const onnx_dimension *dim, size_t input,
                            uint32_t axis, uint32_t rank)
{
    const tl_onnx_options *options = &import->options;
    bool fixed = dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
                 dim->dim_value > 0;
    bool named = dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    for (size_t i = 0; i < options->size_count; i++) {
        const tl_onnx_size *size = &options->sizes[i];
        if (size->name == NULL ? size->input == input && size->axis == axis
                               : named && strcmp(size->name, dim->dim_param) == 0)
            return size->size;
    }
    if (fixed || rank != 4 || axis < 2) return 0;
    return axis == 2 ? options->height : options->width;
}

static tl_status input_dim(onnx_import *import, const onnx_node *node, const onnx_dimension *dim,
                           size_t input, uint32_t axis, uint32_t rank, uint32_t *out)
{
    int64_t size = chosen_size(import, dim, input, axis, rank);
    if (size == 0 && dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
        !(dim->dim_value == -1 && (axis == 0 || rank == 4)))
        size = dim->dim_value;
    bool empty =
        size == 0 && dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    if (empty && (import->whole || axis > 0) && !(axis == 0 && import->options.batch > 0))
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "dimension %u is 0, that is empty or not fixed; give it in the options",
                         axis);
    if (axis == 0 && size == 0) { /* dynamic: read by items it may stay so */
        *out = !import->whole ? 0 : import->options.batch > 0 ? import->options.batch : 1;
        return TL_OK;
    }
    static const char *const NAMES[4] = { "batch", "channel count", "height", "width" };
    char number[24];
    snprintf(number, sizeof number, "dimension %u", axis);
    const char *what = rank == 4 ? NAMES[axis] : number;
    if (size == 0)
        return onnx_fail(import, node, TL_EINVAL,
                         "its %s is not fixed; give it in the options, or export the model with a "
                         "fixed size",
                         what);
    if (size < 0 || size > TL_DIM_MAX)
        return onnx_fail(import, node, TL_EINVAL, "%s %lld is not in 1..%d", what, (long long)size,
                         TL_DIM_MAX);
    *out = (uint32_t)size;
    return TL_OK;
}

static bool is_carried(int32_t type)
{
    return type == ONNX_TYPE(FLOAT) || type == ONNX_TYPE(INT64) || type == ONNX_TYPE(INT32) ||
           type == ONNX_TYPE(BOOL) || type == ONNX_TYPE(UINT8) || type == ONNX_TYPE(INT8);
}

/* Read by items: the first axis becomes the batch, of which inputs must agree. */
static tl_status take_batch(onnx_import *import, const onnx_node *node, onnx_array *array)
{
    if (array->rank < 2) return onnx_fail_batch(import, node, "it is a number or a list of them");
    uint32_t batch = array->dim[0];
    if (batch != 0 && import->batch != 0 && batch != import->batch)
        return onnx_fail_batch(import, node, "its first size is not that of other inputs");
    if (batch != 0) import->batch = batch;
    array->dim[0] = 1;
    return TL_OK;
}

static tl_status input_array(onnx_import *import, const onnx_node *node, size_t index,
                             const Onnx__ValueInfoProto *info, onnx_array *out)
{
    const Onnx__TypeProto *type = info->type;
    if (type == NULL || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
        type->tensor_type == NULL || type->tensor_type->shape == NULL)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "it has no tensor type with a shape; export the model with one");
    if (!is_carried(type->tensor_type->elem_type))
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "element type %d; float32 (1), integers up to 64 bits (2, 3, 6, 7) and "
                         "booleans (9) are supported",
                         type->tensor_type->elem_type);
    const Onnx__TensorShapeProto *shape = type->tensor_type->shape;
    if (shape->n_dim > ONNX_RANK_MAX)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "%zu dimensions", shape->n_dim);
    *out = (onnx_array){ .type = type->tensor_type->elem_type, .rank = (uint32_t)shape->n_dim };
    for (uint32_t i = 0; i < out->rank; i++) {
        tl_status status =
            input_dim(import, node, shape->dim[i], index, i, out->rank, &out->dim[i]);
        if (status != TL_OK) return status;
    }
    if (!import->whole) {
        tl_status status = take_batch(import, node, out);
        if (status != TL_OK) return status;
    }
    onnx_order_plain(import, out);
    if (out->rank != 4) return TL_OK;
    static const uint8_t IMAGE[4] = { 0, 2, 3, 1 };
    memcpy(out->order, IMAGE + onnx_lead(import), 4 - onnx_lead(import));
    return TL_OK;
}

static tl_status define_input(onnx_import *import, size_t index, onnx_value *value)
{
    end_node end;
    const Onnx__ValueInfoProto *info = import->graph->input[index];
    const onnx_node *node = make_end(&end, "input", info->name);
    if (value->kind != ONNX_VALUE_UNKNOWN || value->producer != ONNX_NONE)
        return onnx_fail(import, node, TL_EINVAL, "it is defined twice");
    tl_shape shape;
    tl_status status = input_array(import, node, index, info, &value->array);
    if (status == TL_OK) status = onnx_item_shape(import, node, &value->array, &shape);
    if (status == TL_OK) status = tl_shape_check(&shape, import->err);
    if (status != TL_OK) return status;
    value->array.tensor = tl_builder_input(import->builder, onnx_word_of(info->name).text, &shape);
    if (value->array.tensor == TL_TENSOR_NONE)
        return tl_builder_status(import->builder, import->err);
    TL_ASSERT(value->array.tensor == import->input_count);
    import->input_count++;
    value->kind = ONNX_VALUE_TENSOR;
    return TL_OK;
}

tl_status onnx_inputs_define(onnx_import *import)
{
    const Onnx__GraphProto *graph = import->graph;
    for (size_t i = 0; i < graph->n_input; i++) {
        if (!onnx_is_named(graph->input[i]->name))
            return tl_fail(import->err, TL_EINVAL, "ONNX file: an input has no name");
        onnx_value *value = onnx_find_value(import, graph->input[i]->name);
        if (value->kind == ONNX_VALUE_CONSTANT) continue; /* an initializer's default */
        tl_status status = define_input(import, i, value);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

/* ---- Outputs ----------------------------------------------------------------------------------
 */

/* What the caller gets: images as [h, w, c], the rest in the file's order. */
static tl_status arrange_output(onnx_import *import, const onnx_node *node, onnx_array *x)
{
    if (x->rank == 4) return onnx_arrange_image(import, node, x);
    onnx_array plain = *x;
    onnx_order_plain(import, &plain);
    return onnx_arrange(import, node, x, plain.order);
}

/* An input as it is: the engine wants a node. */
static tl_status copy_input(onnx_import *import, const onnx_node *node, onnx_array *x)
{
    if (x->tensor >= import->input_count) return TL_OK;
    tl_attrs attrs = tl_attrs_default(TL_OP_SLICE);
    attrs.axis = 0;
    attrs.end = (int32_t)tl_builder_shape(import->builder, x->tensor)->dim[0];
    return onnx_unary(import, node, TL_OP_SLICE, &attrs, x);
}

static tl_status define_output(onnx_import *import, char *name)
{
    end_node end;
    onnx_node *node = make_end(&end, "output", name);
    int32_t index = (int32_t)(onnx_find_value(import, name) - import->values);
    node->inputs = &index;
    node->input_count = 1;
    onnx_array x;
    if (!import->whole && onnx_operand_is_constant(import, node, 0))
        return onnx_fail_batch(import, node, "it is the same for all items");
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = arrange_output(import, node, &x);
    if (status == TL_OK) status = copy_input(import, node, &x);
    if (status == TL_OK) tl_builder_output(import->builder, x.tensor);
    return status;
}

tl_status onnx_outputs_define(onnx_import *import)
{
    for (size_t i = 0; i < import->graph->n_output; i++) {
        tl_status status = define_output(import, import->graph->output[i]->name);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

#include "graph/onnx/onnx_internal.h"

#include "format/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPSET_MIN = 6 };
static const size_t ARENA_BYTES_BASE = (size_t)64 << 20;

/* ---- Texts ------------------------------------------------------------------------------------
 */

onnx_word onnx_word_of(const char *text)
{
    enum { KEPT = ONNX_WORD_BYTES - 3 };
    onnx_word word = { "" };
    if (text == NULL || *text == '\0') text = "(unnamed)";
    size_t bytes = strlen(text), at = 0;
    if (bytes >= ONNX_WORD_BYTES) {
        text += bytes - KEPT + 1;
        word.text[at++] = '.';
        word.text[at++] = '.';
    }
    for (; *text != '\0'; text++) word.text[at++] = *text >= ' ' && *text < 127 ? *text : '?';
    return word;
}

tl_status onnx_fail(const onnx_import *import, const onnx_node *node, tl_status status,
                    const char *format, ...)
{
    char detail[TL_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    return tl_fail(import->err, status, "ONNX %s node %s: %s", onnx_word_of(node->op).text,
                   onnx_word_of(node->proto->name).text, detail);
}

tl_status onnx_fail_batch(onnx_import *import, const onnx_node *node, const char *what)
{
    import->mixes = true;
    return onnx_fail(import, node, TL_EUNSUPPORTED,
                     "%s, so that items cannot be apart from each other (it mixes the items of a "
                     "batch); import the file whole, or export it with the batch as first axis",
                     what);
}

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
    value->kind = ONNX_VALUE_TENSOR;
    return TL_OK;
}

static tl_status define_inputs(onnx_import *import)
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

/* ---- Nodes ------------------------------------------------------------------------------------
 */

static tl_status check_node(onnx_import *import, onnx_node *node)
{
    const char *domain = node->proto->domain;
    if (onnx_is_named(domain) && strcmp(domain, "ai.onnx") != 0)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "operators of the domain %s are not supported; export the model with "
                         "standard operators",
                         onnx_word_of(domain).text);
    const onnx_op_entry *entry = node->entry;
    if (entry == NULL)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "the operator is not supported; %s",
                         onnx_remedy(node->op));
    for (size_t i = 0; i < entry->operand_min; i++)
        if (onnx_operand(import, node, i) == NULL)
            return onnx_fail(import, node, TL_EINVAL, "operand %zu is missing", i);
    if (entry->operand_max != ONNX_ANY && node->input_count > entry->operand_max)
        return onnx_fail(import, node, TL_EINVAL, "%zu operands; it takes %u", node->input_count,
                         entry->operand_max);
    return TL_OK;
}

static bool is_constant(const onnx_import *import, const onnx_node *node)
{
    size_t constants = 0;
    for (size_t i = 0; i < node->input_count; i++) {
        const onnx_value *value = onnx_operand(import, node, i);
        if (value == NULL) continue;
        if (value->kind != ONNX_VALUE_CONSTANT) return false;
        constants++;
    }
    return constants > 0 || strcmp(node->op, "Constant") == 0;
}

static tl_status run_node(onnx_import *import, onnx_node *node)
{
    if (node->absorbed) return TL_OK;
    tl_status status = check_node(import, node);
    if (status != TL_OK) return status;
    return is_constant(import, node) ? onnx_fold(import, node) : node->entry->handler(import, node);
}

/* An operand's node that has not run yet, or ONNX_NONE. */
static int32_t waiting_for(const onnx_import *import, const onnx_node *node)
{
    for (size_t i = 0; i < node->input_count; i++) {
        const onnx_value *value = onnx_operand(import, node, i);
        if (value == NULL || value->producer == ONNX_NONE) continue;
        if (import->nodes[value->producer].visit != 2) return value->producer;
    }
    return ONNX_NONE;
}

/* Run node `index` after everything that it depends on. A file in the right order, as the format
 * demands, never uses more than one entry of `stack`. */
static tl_status run_with_operands(onnx_import *import, int32_t index, int32_t *stack)
{
    size_t depth = 0;
    stack[depth++] = index;
    while (depth > 0) {
        onnx_node *node = &import->nodes[stack[depth - 1]];
        node->visit = 1;
        int32_t operand = waiting_for(import, node);
        if (operand == ONNX_NONE) {
            tl_status status = run_node(import, node);
            if (status != TL_OK) return status;
            node->visit = 2;
            depth--;
        } else if (import->nodes[operand].visit == 1) {
            return onnx_fail(import, node, TL_EINVAL, "it is part of a cycle");
        } else {
            stack[depth++] = operand;
        }
    }
    return TL_OK;
}

static tl_status run_nodes(onnx_import *import)
{
    int32_t *stack = tl_arena_alloc(import->arena, (import->node_count + 1) * sizeof *stack);
    if (stack == NULL) return tl_fail(import->err, TL_ENOMEM, "order of the ONNX nodes");
    for (size_t i = 0; i < import->node_count;
         i++) { /* constants first, for those who look ahead */
        onnx_node *node = &import->nodes[i];
        if (!node->needed || !is_constant(import, node)) continue;
        tl_status status = run_node(import, node);
        if (status != TL_OK) return status;
        node->visit = 2;
    }
    for (size_t i = 0; i < import->node_count; i++) {
        if (!import->nodes[i].needed || import->nodes[i].visit == 2) continue;
        tl_status status = run_with_operands(import, (int32_t)i, stack);
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
    for (size_t i = 0; i < import->graph->n_input; i++) {
        const onnx_value *value = onnx_find_value(import, import->graph->input[i]->name);
        if (value->kind != ONNX_VALUE_TENSOR || value->array.tensor != x->tensor) continue;
        tl_attrs attrs = tl_attrs_default(TL_OP_SLICE);
        attrs.axis = 0;
        attrs.end = (int32_t)tl_builder_shape(import->builder, x->tensor)->dim[0];
        return onnx_unary(import, node, TL_OP_SLICE, &attrs, x);
    }
    return TL_OK;
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

static tl_status define_outputs(onnx_import *import)
{
    for (size_t i = 0; i < import->graph->n_output; i++) {
        tl_status status = define_output(import, import->graph->output[i]->name);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

/* ---- All of it --------------------------------------------------------------------------------
 */

static tl_status check_opset(onnx_import *import, const Onnx__ModelProto *model)
{
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = model->opset_import[i];
        if (onnx_is_named(set->domain) && strcmp(set->domain, "ai.onnx") != 0) continue;
        if (set->has_version) import->opset = set->version;
    }
    if (import->opset < OPSET_MIN)
        return tl_fail(import->err, TL_EUNSUPPORTED,
                       "ONNX operator set %lld is older than %d; convert the model with "
                       "onnx.version_converter",
                       (long long)import->opset, OPSET_MIN);
    if (model->graph->n_sparse_initializer > 0)
        return tl_fail(import->err, TL_EUNSUPPORTED,
                       "ONNX file: sparse initializers are not supported; store them dense");
    return TL_OK;
}

/* One reading of the file. */
static tl_status import_graph(onnx_import *import, tl_graph **graph, float **flat)
{
    tl_status status = tl_builder_create(&import->builder, import->err);
    if (status == TL_OK) status = onnx_names_build(import);
    if (status == TL_OK) status = define_inputs(import);
    if (status == TL_OK) status = run_nodes(import);
    if (status == TL_OK) status = define_outputs(import);
    if (status == TL_OK) status = tl_builder_finish(import->builder, 0, graph, flat, import->err);
    tl_builder_destroy(&import->builder);
    return status;
}

/* By items if it can be, or as the caller wants it. */
static tl_status import_model(onnx_import *import, const Onnx__ModelProto *model, tl_graph **graph,
                              float **flat)
{
    tl_status status = check_opset(import, model);
    if (status != TL_OK) return status;
    tl_onnx_reading reading = import->options.reading;
    onnx_import start = *import;
    import->whole = reading == TL_ONNX_WHOLE;
    status = import_graph(import, graph, flat);
    if (status == TL_OK || !import->mixes || reading != TL_ONNX_AUTO) return status;
    *import = start;
    import->whole = true;
    return import_graph(import, graph, flat);
}

/* `folder` of the file, for data beside it; NULL: there is none. */
static tl_status import_bytes(const void *data, size_t bytes, const char *folder,
                              const tl_onnx_options *options, tl_graph **graph, float **flat,
                              tl_error *err)
{
    TL_ASSERT(graph != NULL);
    TL_ASSERT(flat != NULL);
    tl_error own; /* handlers rely on having one */
    if (err == NULL) err = &own;
    if (bytes > ONNX_FILE_BYTES_MAX)
        return tl_fail(err, TL_ELIMIT, "ONNX file of %zu bytes; at most %zu are read", bytes,
                       ONNX_FILE_BYTES_MAX);
    tl_arena arena;
    tl_arena_init(&arena, ARENA_BYTES_BASE + 6 * bytes);
    Onnx__ModelProto *model = NULL;
    tl_status status = onnx_model_parse(data, bytes, &arena, &model, err);
    if (status == TL_OK && folder != NULL)
        status = onnx_external_load(model->graph, folder, &arena, err);
    onnx_import import = { .arena = &arena, .err = err };
    if (options != NULL) import.options = *options;
    if (status == TL_OK) {
        import.graph = model->graph;
        status = import_model(&import, model, graph, flat);
    }
    tl_arena_destroy(&arena);
    return status;
}

tl_status tl_onnx_import(const void *data, size_t bytes, const tl_onnx_options *options,
                         tl_graph **graph, float **flat, tl_error *err)
{
    return import_bytes(data, bytes, NULL, options, graph, flat, err);
}

tl_status tl_onnx_import_file(const char *path, const tl_onnx_options *options, tl_graph **graph,
                              float **flat, tl_error *err)
{
    void *data;
    size_t bytes;
    tl_status status = tl_file_read(path, ONNX_FILE_BYTES_MAX, &data, &bytes, err);
    if (status != TL_OK) return status;
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    if (folder == NULL)
        status = tl_fail(err, TL_ENOMEM, "a file's folder");
    else
        status = import_bytes(data, bytes, folder, options, graph, flat, err);
    free(folder);
    free(data);
    return status;
}

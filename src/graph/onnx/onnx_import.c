#include "graph/onnx/onnx_internal.h"

#include "format/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 1 << 30, OPSET_MIN = 6 };
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

/* ---- The table of values ----------------------------------------------------------------------
 */

static int compare_values(const void *a, const void *b)
{
    return strcmp(((const onnx_value *)a)->name, ((const onnx_value *)b)->name);
}

static onnx_value *find_value(const onnx_import *import, const char *name)
{
    if (import->value_count == 0) return NULL;
    onnx_value key = { .name = name };
    return bsearch(&key, import->values, import->value_count, sizeof key, compare_values);
}

static bool is_named(const char *name)
{
    return name != NULL && *name != '\0';
}

static void add_name(onnx_import *import, const char *name)
{
    if (!is_named(name)) return;
    import->values[import->value_count++] = (onnx_value){ .name = name,
                                                          .tensor = TL_TENSOR_NONE,
                                                          .transposed = ONNX_NONE,
                                                          .producer = ONNX_NONE,
                                                          .consumer = ONNX_NONE };
}

/* One entry for each name that an initializer, an input or a node defines. */
static tl_status build_values(onnx_import *import)
{
    const Onnx__GraphProto *graph = import->graph;
    size_t count = graph->n_initializer + graph->n_input;
    for (size_t i = 0; i < graph->n_node; i++) count += graph->node[i]->n_output;
    if (count > INT32_MAX / 2) return tl_fail(import->err, TL_ELIMIT, "ONNX file: too many names");
    import->values = tl_arena_alloc(import->arena, (count + 1) * sizeof *import->values);
    if (import->values == NULL) return tl_fail(import->err, TL_ENOMEM, "%zu ONNX values", count);

    for (size_t i = 0; i < graph->n_initializer; i++) add_name(import, graph->initializer[i]->name);
    for (size_t i = 0; i < graph->n_input; i++) add_name(import, graph->input[i]->name);
    for (size_t i = 0; i < graph->n_node; i++)
        for (size_t k = 0; k < graph->node[i]->n_output; k++)
            add_name(import, graph->node[i]->output[k]);

    qsort(import->values, import->value_count, sizeof *import->values, compare_values);
    size_t kept = 0;
    for (size_t i = 0; i < import->value_count; i++)
        if (kept == 0 || strcmp(import->values[kept - 1].name, import->values[i].name) != 0)
            import->values[kept++] = import->values[i];
    import->value_count = kept;
    return TL_OK;
}

static tl_status define_initializers(onnx_import *import)
{
    const Onnx__GraphProto *graph = import->graph;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const Onnx__TensorProto *tensor = graph->initializer[i];
        if (!is_named(tensor->name))
            return tl_fail(import->err, TL_EINVAL, "ONNX file: an initializer has no name");
        onnx_value *value = find_value(import, tensor->name);
        if (value->kind != ONNX_VALUE_UNKNOWN)
            return tl_fail(import->err, TL_EINVAL, "ONNX file: initializer %s is defined twice",
                           onnx_word_of(tensor->name).text);
        tl_status status = onnx_tensor_check(tensor, tensor->name, &value->dims, import->err);
        if (status != TL_OK) return status;
        value->kind = ONNX_VALUE_CONSTANT;
        value->constant = tensor;
    }
    return TL_OK;
}

/* ---- Inputs -----------------------------------------------------------------------------------
 */

typedef Onnx__TensorShapeProto__Dimension onnx_dimension;

static tl_status input_dim(onnx_import *import, const char *name, const onnx_dimension *dim,
                           uint32_t otherwise, const char *what, uint32_t *out)
{
    int64_t size = otherwise;
    if (dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
        dim->dim_value != 0)
        size = dim->dim_value;
    if (size == 0)
        return tl_fail(import->err, TL_EINVAL,
                       "ONNX input %s: its %s is not fixed; give it in the options, or export the "
                       "model with a fixed size",
                       onnx_word_of(name).text, what);
    if (size < 0 || size > TL_DIM_MAX)
        return tl_fail(import->err, TL_EINVAL, "ONNX input %s: %s %lld is not in 1..%d",
                       onnx_word_of(name).text, what, (long long)size, TL_DIM_MAX);
    *out = (uint32_t)size;
    return TL_OK;
}

static tl_status input_shape(onnx_import *import, const Onnx__ValueInfoProto *info, tl_shape *out)
{
    const Onnx__TypeProto *type = info->type;
    onnx_word word = onnx_word_of(info->name);
    if (type == NULL || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
        type->tensor_type == NULL || type->tensor_type->shape == NULL)
        return tl_fail(import->err, TL_EUNSUPPORTED,
                       "ONNX input %s has no tensor type with a shape; export the model with one",
                       word.text);
    if (type->tensor_type->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT)
        return tl_fail(import->err, TL_EUNSUPPORTED,
                       "ONNX input %s has element type %d; only float32 (1) is supported",
                       word.text, type->tensor_type->elem_type);
    const Onnx__TensorShapeProto *shape = type->tensor_type->shape;
    uint32_t c, h, w;
    tl_status status;
    if (shape->n_dim > 0 &&
        shape->dim[0]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE)
        import->batch = shape->dim[0]->dim_value;
    if (shape->n_dim == 2) {
        status = input_dim(import, info->name, shape->dim[1], 0, "feature count", &c);
        if (status == TL_OK) *out = tl_shape_vector(c);
        return status;
    }
    if (shape->n_dim != 4)
        return tl_fail(
            import->err, TL_EUNSUPPORTED,
            "ONNX input %s has %zu dimensions; [n, c, h, w] and [n, count] are supported",
            word.text, shape->n_dim);
    const tl_onnx_options *options = &import->options;
    status = input_dim(import, info->name, shape->dim[1], 0, "channel count", &c);
    if (status == TL_OK)
        status = input_dim(import, info->name, shape->dim[2], options->height, "height", &h);
    if (status == TL_OK)
        status = input_dim(import, info->name, shape->dim[3], options->width, "width", &w);
    if (status == TL_OK) *out = tl_shape_image(h, w, c);
    return status;
}

static tl_status define_inputs(onnx_import *import)
{
    const Onnx__GraphProto *graph = import->graph;
    for (size_t i = 0; i < graph->n_input; i++) {
        const Onnx__ValueInfoProto *info = graph->input[i];
        if (!is_named(info->name))
            return tl_fail(import->err, TL_EINVAL, "ONNX file: an input has no name");
        onnx_value *value = find_value(import, info->name);
        if (value->kind == ONNX_VALUE_CONSTANT) continue; /* an initializer's default */
        if (value->kind != ONNX_VALUE_UNKNOWN)
            return tl_fail(import->err, TL_EINVAL, "ONNX file: input %s is defined twice",
                           onnx_word_of(info->name).text);
        tl_shape shape = { 0 };
        tl_status status = input_shape(import, info, &shape);
        if (status == TL_OK) status = tl_shape_check(&shape, import->err);
        if (status != TL_OK) return status;
        value->tensor = tl_builder_input(import->builder, onnx_word_of(info->name).text, &shape);
        if (value->tensor == TL_TENSOR_NONE) return tl_builder_status(import->builder, import->err);
        value->kind = ONNX_VALUE_TENSOR;
        value->rank = shape.rank == 3 ? 4 : 2;
        import->input_end = value->tensor + 1;
    }
    return TL_OK;
}

/* ---- Nodes ------------------------------------------------------------------------------------
 */

static int32_t *resolve_names(onnx_import *import, char **names, size_t count)
{
    int32_t *out = tl_arena_alloc(import->arena, (count + 1) * sizeof *out);
    if (out == NULL) return NULL;
    for (size_t i = 0; i < count; i++) {
        const onnx_value *value = is_named(names[i]) ? find_value(import, names[i]) : NULL;
        out[i] = value == NULL ? ONNX_NONE : (int32_t)(value - import->values);
    }
    return out;
}

static tl_status link_node(onnx_import *import, int32_t index)
{
    onnx_node *node = &import->nodes[index];
    const Onnx__NodeProto *proto = import->graph->node[index];
    *node = (onnx_node){ .proto = proto,
                         .op = proto->op_type == NULL ? "" : proto->op_type,
                         .input_count = proto->n_input,
                         .output_count = proto->n_output };
    node->inputs = resolve_names(import, proto->input, proto->n_input);
    node->outputs = resolve_names(import, proto->output, proto->n_output);
    if (node->inputs == NULL || node->outputs == NULL)
        return tl_fail(import->err, TL_ENOMEM, "names of an ONNX node");
    if (node->input_count > ONNX_OPERANDS_MAX)
        return onnx_fail(import, node, TL_ELIMIT, "%zu operands, at most %d are read",
                         node->input_count, ONNX_OPERANDS_MAX);
    for (size_t i = 0; i < node->input_count; i++) {
        if (node->inputs[i] == ONNX_NONE && is_named(proto->input[i]))
            return onnx_fail(import, node, TL_EINVAL, "it reads %s, which nothing defines",
                             onnx_word_of(proto->input[i]).text);
        if (node->inputs[i] == ONNX_NONE) continue;
        import->values[node->inputs[i]].consumer = index;
        import->values[node->inputs[i]].use_count++;
    }
    for (size_t i = 0; i < node->output_count; i++) {
        if (node->outputs[i] == ONNX_NONE) continue;
        onnx_value *value = &import->values[node->outputs[i]];
        if (value->kind != ONNX_VALUE_UNKNOWN || value->producer != ONNX_NONE)
            return onnx_fail(import, node, TL_EINVAL, "its output %s is defined twice",
                             onnx_word_of(value->name).text);
        value->producer = index;
    }
    return TL_OK;
}

static tl_status link_nodes(onnx_import *import)
{
    import->node_count = import->graph->n_node;
    if (import->node_count > ONNX_NODES_MAX)
        return tl_fail(import->err, TL_ELIMIT, "ONNX file: %zu nodes, at most %d are read",
                       import->node_count, ONNX_NODES_MAX);
    import->nodes = tl_arena_alloc(import->arena, (import->node_count + 1) * sizeof *import->nodes);
    if (import->nodes == NULL)
        return tl_fail(import->err, TL_ENOMEM, "%zu ONNX nodes", import->node_count);
    for (size_t i = 0; i < import->node_count; i++) {
        tl_status status = link_node(import, (int32_t)i);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

/* Mark what outputs depend on, so that the rest is neither checked nor built. */
static tl_status mark_needed(onnx_import *import)
{
    const Onnx__GraphProto *graph = import->graph;
    int32_t *stack = tl_arena_alloc(import->arena, (import->node_count + 1) * sizeof *stack);
    if (stack == NULL) return tl_fail(import->err, TL_ENOMEM, "order of the ONNX nodes");
    if (graph->n_output == 0) return tl_fail(import->err, TL_EINVAL, "ONNX file: it has no output");
    size_t depth = 0;
    for (size_t i = 0; i < graph->n_output; i++) {
        onnx_value *value =
            is_named(graph->output[i]->name) ? find_value(import, graph->output[i]->name) : NULL;
        if (value == NULL)
            return tl_fail(import->err, TL_EINVAL, "ONNX file: nothing defines the output %s",
                           onnx_word_of(graph->output[i]->name).text);
        value->is_output = true;
        value->use_count++;
        if (value->producer == ONNX_NONE || import->nodes[value->producer].needed) continue;
        import->nodes[value->producer].needed = true;
        stack[depth++] = value->producer;
    }
    while (depth > 0) {
        const onnx_node *node = &import->nodes[stack[--depth]];
        for (size_t i = 0; i < node->input_count; i++) {
            const onnx_value *value = onnx_operand(import, node, i);
            if (value == NULL || value->producer == ONNX_NONE) continue;
            if (import->nodes[value->producer].needed) continue;
            import->nodes[value->producer].needed = true;
            stack[depth++] = value->producer; /* each node at most once: it fits */
        }
    }
    return TL_OK;
}

static tl_status run_node(onnx_import *import, onnx_node *node)
{
    if (node->absorbed) return TL_OK;
    const char *domain = node->proto->domain;
    if (is_named(domain) && strcmp(domain, "ai.onnx") != 0)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "operators of the domain %s are not supported; export the model with "
                         "standard operators",
                         onnx_word_of(domain).text);
    onnx_handler handler = onnx_layer_find(node->op);
    if (handler == NULL) handler = onnx_shape_find(node->op);
    if (handler == NULL)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "the operator is not supported; %s",
                         onnx_remedy(node->op));
    return handler(import, node);
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
    for (size_t i = 0; i < import->node_count; i++) {
        if (!import->nodes[i].needed || import->nodes[i].visit == 2) continue;
        tl_status status = run_with_operands(import, (int32_t)i, stack);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

static tl_status define_outputs(onnx_import *import)
{
    for (size_t i = 0; i < import->graph->n_output; i++) {
        const onnx_value *value = find_value(import, import->graph->output[i]->name);
        bool padded = (value->pad[0] | value->pad[1] | value->pad[2] | value->pad[3]) != 0;
        bool is_input = value->kind == ONNX_VALUE_TENSOR && value->tensor < import->input_end;
        if (value->kind != ONNX_VALUE_TENSOR || padded || is_input)
            return tl_fail(import->err, TL_EUNSUPPORTED,
                           "ONNX output %s is not computed by a supported layer; leave it out of "
                           "the export",
                           onnx_word_of(value->name).text);
        tl_builder_output(import->builder, value->tensor);
    }
    return TL_OK;
}

/* ---- All of it --------------------------------------------------------------------------------
 */

static tl_status check_opset(onnx_import *import, const Onnx__ModelProto *model)
{
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = model->opset_import[i];
        if (is_named(set->domain) && strcmp(set->domain, "ai.onnx") != 0) continue;
        if (set->has_version) import->opset = set->version;
    }
    if (import->opset < OPSET_MIN)
        return tl_fail(import->err, TL_EUNSUPPORTED,
                       "ONNX operator set %lld is older than %d; convert the model with "
                       "onnx.version_converter",
                       (long long)import->opset, OPSET_MIN);
    return TL_OK;
}

static tl_status import_graph(onnx_import *import, const Onnx__ModelProto *model, tl_graph **graph,
                              float **flat)
{
    tl_status status = check_opset(import, model);
    if (status == TL_OK && model->graph->n_sparse_initializer > 0)
        status = tl_fail(import->err, TL_EUNSUPPORTED,
                         "ONNX file: sparse initializers are not supported; store them dense");
    if (status == TL_OK) status = build_values(import);
    if (status == TL_OK) status = define_initializers(import);
    if (status == TL_OK) status = define_inputs(import);
    if (status == TL_OK) status = link_nodes(import);
    if (status == TL_OK) status = mark_needed(import);
    if (status == TL_OK) status = run_nodes(import);
    if (status == TL_OK) status = define_outputs(import);
    if (status == TL_OK) status = tl_builder_finish(import->builder, 0, graph, flat, import->err);
    return status;
}

tl_status tl_onnx_import(const void *data, size_t bytes, const tl_onnx_options *options,
                         tl_graph **graph, float **flat, tl_error *err)
{
    TL_ASSERT(graph != NULL);
    TL_ASSERT(flat != NULL);
    tl_error own; /* handlers rely on having one */
    if (err == NULL) err = &own;
    if (bytes > FILE_BYTES_MAX)
        return tl_fail(err, TL_ELIMIT, "ONNX file of %zu bytes; at most %d are read", bytes,
                       FILE_BYTES_MAX);
    tl_arena arena;
    tl_arena_init(&arena, ARENA_BYTES_BASE + 6 * bytes);
    const Onnx__ModelProto *model = NULL;
    tl_status status = onnx_model_parse(data, bytes, &arena, &model, err);
    onnx_import import = { .arena = &arena, .err = err };
    if (options != NULL) import.options = *options;
    if (status == TL_OK) status = tl_builder_create(&import.builder, err);
    if (status == TL_OK) {
        import.graph = model->graph;
        status = import_graph(&import, model, graph, flat);
    }
    tl_builder_destroy(&import.builder);
    tl_arena_destroy(&arena);
    return status;
}

tl_status tl_onnx_import_file(const char *path, const tl_onnx_options *options, tl_graph **graph,
                              float **flat, tl_error *err)
{
    void *data;
    size_t bytes;
    tl_status status = tl_file_read(path, FILE_BYTES_MAX, &data, &bytes, err);
    if (status != TL_OK) return status;
    status = tl_onnx_import(data, bytes, options, graph, flat, err);
    free(data);
    return status;
}

#include "graph/onnx/import/internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- The table of values ----------------------------------------------------------------------
 */

static int compare_values(const void *a, const void *b)
{
    return strcmp(((const onnx_value *)a)->name, ((const onnx_value *)b)->name);
}

onnx_value *onnx_find_value(const onnx_import *import, const char *name)
{
    if (import->value_count == 0) return NULL;
    onnx_value key = { .name = name };
    return bsearch(&key, import->values, import->value_count, sizeof key, compare_values);
}

static void add_name(onnx_import *import, const char *name)
{
    if (!onnx_is_named(name)) return;
    import->values[import->value_count++] = (onnx_value){
        .name = name, .origin = ONNX_NONE, .producer = ONNX_NONE, .consumer = ONNX_NONE
    };
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
        if (!onnx_is_named(tensor->name))
            return tl_fail(import->err, TL_EINVAL, "ONNX file: an initializer has no name");
        onnx_value *value = onnx_find_value(import, tensor->name);
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

/* ---- Nodes ------------------------------------------------------------------------------------
 */

static int32_t *resolve_names(onnx_import *import, char **names, size_t count)
{
    int32_t *out = tl_arena_alloc(import->arena, (count + 1) * sizeof *out);
    if (out == NULL) return NULL;
    for (size_t i = 0; i < count; i++) {
        const onnx_value *value =
            onnx_is_named(names[i]) ? onnx_find_value(import, names[i]) : NULL;
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
                         .entry = proto->op_type == NULL ? NULL : onnx_entry_find(proto->op_type),
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
        if (node->inputs[i] == ONNX_NONE && onnx_is_named(proto->input[i]))
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
        onnx_value *value = onnx_is_named(graph->output[i]->name)
                                ? onnx_find_value(import, graph->output[i]->name)
                                : NULL;
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

tl_status onnx_names_build(onnx_import *import)
{
    tl_status status = build_values(import);
    if (status == TL_OK) status = define_initializers(import);
    if (status == TL_OK) status = link_nodes(import);
    return status == TL_OK ? mark_needed(import) : status;
}

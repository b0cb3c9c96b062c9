#include "graph/onnx/import/internal.h"

#include "format/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPSET_MIN = 6 };
static const size_t ARENA_BYTES_BASE = (size_t)64 << 20;

/* ---- Texts ------------------------------------------------------------------------------------
 */

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
    if (status == TL_OK) status = onnx_inputs_define(import);
    if (status == TL_OK) status = run_nodes(import);
    if (status == TL_OK) status = onnx_outputs_define(import);
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

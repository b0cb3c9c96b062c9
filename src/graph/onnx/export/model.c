#include "format/file.h"
#include "graph/onnx/export/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX ((size_t)INT32_MAX) /* protocol buffers end there */

static const tl_onnx_export_options DEFAULTS = { .name = NULL };

/* ---- Inputs and outputs ---------------------------------------------------------------------- */

/* The names that the caller gives are there, and nothing has one of them twice. */
static void check_names(onnx_export *e)
{
    const char *const *const lists[] = { e->options->input_names, e->options->output_names };
    const size_t counts[] = { e->graph->input_count, e->graph->output_count };
    for (size_t i = 0; i < TL_COUNT_OF(lists); i++) {
        const char *kind = i == 0 ? "input" : "output";
        for (size_t k = 0; lists[i] != NULL && k < counts[i]; k++) {
            const char *name = lists[i][k];
            if (name == NULL || name[0] == '\0')
                export_fail(e, TL_EINVAL, "%s %zu has an empty name", kind, k);
            else if (tl_graph_find_param(e->graph, name) != SIZE_MAX)
                export_fail(e, TL_EINVAL, "%s %zu: a parameter is named \"%.40s\"", kind, k, name);
            else if (export_given_count(e, name) > 1)
                export_fail(e, TL_EINVAL, "%s %zu: another one is named \"%.40s\"", kind, k, name);
            if (e->status != TL_OK) return;
        }
    }
}

static const char *name_of(onnx_export *e, const char *const *given, const char *kind, size_t index)
{
    char name[32];
    if (given != NULL) return given[index];
    snprintf(name, sizeof name, index == 0 ? "%s" : "%s%zu", kind, index);
    if (export_is_taken(e, name)) return export_name(e);
    char *copy = export_alloc(e, strlen(name));
    return copy == NULL ? "" : strcpy(copy, name);
}

static Onnx__TensorShapeProto__Dimension *dimension(onnx_export *e, uint32_t size)
{
    static char batch[] = "batch";
    Onnx__TensorShapeProto__Dimension *dim = export_alloc(e, sizeof *dim);
    if (dim == NULL) return NULL;
    onnx__tensor_shape_proto__dimension__init(dim);
    dim->value_case = size == 0 ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    if (size == 0)
        dim->dim_param = batch;
    else
        dim->dim_value = size;
    return dim;
}

static Onnx__ValueInfoProto *value_info(onnx_export *e, const char *name, uint32_t tensor,
                                        export_order order)
{
    const tl_shape *shape = export_shape(e, tensor);
    Onnx__ValueInfoProto *info = export_alloc(e, sizeof *info);
    Onnx__TypeProto *type = export_alloc(e, sizeof *type);
    Onnx__TypeProto__Tensor *of = export_alloc(e, sizeof *of);
    Onnx__TensorShapeProto *dims = export_alloc(e, sizeof *dims);
    Onnx__TensorShapeProto__Dimension **list = export_alloc(e, (1 + shape->rank) * sizeof *list);
    char *copy = export_alloc(e, strlen(name));
    if (copy == NULL) return NULL;
    onnx__value_info_proto__init(info);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(of);
    onnx__tensor_shape_proto__init(dims);
    info->name = strcpy(copy, name);
    info->type = type;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = of;
    of->has_elem_type = 1;
    of->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    of->shape = dims;
    dims->dim = list;
    list[dims->n_dim++] = dimension(e, 0);
    for (uint32_t i = 0; i < shape->rank; i++)
        list[dims->n_dim++] = dimension(e, shape->dim[order.axis[i]]);
    return info;
}

static void add_inputs(onnx_export *e, Onnx__GraphProto *out)
{
    const tl_graph *g = e->graph;
    out->input = export_alloc(e, g->input_count * sizeof *out->input);
    if (out->input == NULL) return;
    for (size_t i = 0; i < g->input_count; i++) {
        const uint32_t tensor = g->inputs[i];
        const export_order order = export_shape(e, tensor)->rank == 3 ? EXPORT_IMAGE : EXPORT_PLAIN;
        const char *name = name_of(e, e->options->input_names, "input", i);
        export_alias(e, tensor, order, name);
        out->input[out->n_input++] = value_info(e, name, tensor, order);
    }
}

/* The order in which a tensor has the name; made when it has not. */
static export_order order_of_output(onnx_export *e, uint32_t tensor, const char *name)
{
    export_tensor *t = &e->tensors[tensor];
    for (int attempt = 0; attempt < 2; attempt++) {
        for (uint32_t f = 0; f < t->form_count; f++)
            if (t->forms[f].name == name) return t->forms[f].order;
        if (attempt == 0) export_want(e, tensor, EXPORT_PLAIN);
    }
    EXPORT_NODE(e, "Identity", name, export_want(e, tensor, EXPORT_PLAIN));
    return EXPORT_PLAIN;
}

static void add_outputs(onnx_export *e, Onnx__GraphProto *out, const char *const *names)
{
    const tl_graph *g = e->graph;
    out->output = export_alloc(e, g->output_count * sizeof *out->output);
    if (out->output == NULL) return;
    for (size_t i = 0; i < g->output_count && e->status == TL_OK; i++) {
        const export_order order = order_of_output(e, g->outputs[i], names[i]);
        out->output[out->n_output++] = value_info(e, names[i], g->outputs[i], order);
    }
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

static const char *const *prepare(onnx_export *e)
{
    const tl_graph *g = e->graph;
    const char **names = export_alloc(e, g->output_count * sizeof *names);
    e->tensors = export_alloc(e, g->tensor_count * sizeof *e->tensors);
    e->done = export_alloc(e, g->node_count * sizeof *e->done);
    check_names(e);
    if (e->status != TL_OK) return NULL;
    for (size_t n = 0; n < g->node_count; n++) {
        e->tensors[g->nodes[n].output].maker = &g->nodes[n];
        for (uint32_t i = 0; i < g->nodes[n].input_count; i++) {
            export_tensor *read = &e->tensors[g->nodes[n].inputs[i]];
            read->readers++;
            read->reader = n;
        }
    }
    for (size_t i = 0; i < g->output_count; i++) {
        export_tensor *t = &e->tensors[g->outputs[i]];
        names[i] = name_of(e, e->options->output_names, "output", i);
        t->readers++;
        if (t->output == NULL) t->output = names[i];
    }
    return names;
}

static void add_metadata(onnx_export *e, Onnx__ModelProto *model)
{
    const size_t count = e->options->metadata_count;
    Onnx__StringStringEntryProto **list = export_alloc(e, count * sizeof *list);
    for (size_t i = 0; list != NULL && i < count; i++) {
        const tl_onnx_entry *from = &e->options->metadata[i];
        Onnx__StringStringEntryProto *entry = export_alloc(e, sizeof *entry);
        char *key = export_alloc(e, strlen(from->key));
        char *value = export_alloc(e, strlen(from->value));
        if (value == NULL) return;
        onnx__string_string_entry_proto__init(entry);
        entry->key = strcpy(key, from->key);
        entry->value = strcpy(value, from->value);
        list[model->n_metadata_props++] = entry;
    }
    model->metadata_props = list;
}

static void pack(onnx_export *e, const Onnx__ModelProto *model, void **data, size_t *bytes)
{
    if (e->status != TL_OK) return;
    const size_t size = onnx__model_proto__get_packed_size(model);
    if (size > FILE_BYTES_MAX) {
        export_fail(e, TL_ELIMIT, "the file would have %zu bytes; an ONNX file ends at 2 GiB",
                    size);
        return;
    }
    uint8_t *out = malloc(size + 1);
    if (out == NULL) {
        export_fail(e, TL_ENOMEM, "ONNX file of %zu bytes", size);
        return;
    }
    *bytes = onnx__model_proto__pack(model, out);
    *data = out;
}

static void write_model(onnx_export *e, void **data, size_t *bytes)
{
    static char producer[] = "tightloop", version[] = TL_VERSION_TEXT, domain[] = "";
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    Onnx__GraphProto graph = ONNX__GRAPH_PROTO__INIT;
    Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT;
    Onnx__OperatorSetIdProto *opsets[] = { &opset };
    const char *name = e->options->name == NULL ? producer : e->options->name;
    const char *const *output_names = prepare(e);
    char *own_name = export_alloc(e, strlen(name));
    if (e->status != TL_OK) return;
    graph.name = strcpy(own_name, name);
    add_inputs(e, &graph);
    for (size_t n = 0; n < e->graph->node_count && e->status == TL_OK; n++)
        if (!e->done[n]) export_op(e, &e->graph->nodes[n]);
    add_outputs(e, &graph, output_names);
    add_metadata(e, &model);
    graph.node = e->nodes;
    graph.n_node = e->node_count;
    graph.initializer = e->initializers;
    graph.n_initializer = e->initializer_count;
    opset.domain = domain;
    opset.has_version = 1;
    opset.version = EXPORT_OPSET;
    model.has_ir_version = 1;
    model.ir_version = EXPORT_IR;
    model.producer_name = producer;
    model.producer_version = version;
    model.has_model_version = e->options->version != 0;
    model.model_version = e->options->version;
    model.opset_import = opsets;
    model.n_opset_import = 1;
    model.graph = &graph;
    pack(e, &model, data, bytes);
}

tl_status tl_onnx_export(const tl_graph *graph, const float *flat,
                         const tl_onnx_export_options *options, void **data, size_t *bytes,
                         tl_error *err)
{
    TL_ASSERT(graph != NULL);
    TL_ASSERT(flat != NULL);
    tl_arena arena;
    tl_arena_init(&arena, FILE_BYTES_MAX);
    onnx_export e = { .graph = graph,
                      .flat = flat,
                      .options = options == NULL ? &DEFAULTS : options,
                      .arena = &arena,
                      .err = err };
    write_model(&e, data, bytes);
    tl_arena_destroy(&arena);
    return e.status;
}

tl_status tl_onnx_export_file(const tl_graph *graph, const float *flat,
                              const tl_onnx_export_options *options, const char *path,
                              tl_error *err)
{
    void *data = NULL;
    size_t bytes = 0;
    tl_status status = tl_onnx_export(graph, flat, options, &data, &bytes, err);
    if (status == TL_OK) status = tl_file_write(path, data, bytes, err);
    free(data);
    return status;
}

/* test/support.h - making ONNX files in memory, and importing them, for the tests of the
 * importer. Each includes it once. */
#ifndef TL_GRAPH_ONNX_TEST_SUPPORT_H
#define TL_GRAPH_ONNX_TEST_SUPPORT_H

#include "base/arena.h"
#include "base/rng.h"
#include "graph/onnx.h"
#include "onnx/onnx.pb-c.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Making files -----------------------------------------------------------------------------
 */

enum { NODES_MAX = 32, NAMES_MAX = 8, ATTRS_MAX = 8, INITS_MAX = 16, OUT_MAX = 256 };

typedef struct model {
    tl_arena arena;
    Onnx__ModelProto proto;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset;
    Onnx__OperatorSetIdProto *opsets[1];
    Onnx__NodeProto *nodes[NODES_MAX];
    Onnx__TensorProto *inits[INITS_MAX];
    Onnx__ValueInfoProto *inputs[4], *outputs[4];
} model;

static inline void *take(model *m, size_t bytes)
{
    void *out = tl_arena_alloc(&m->arena, bytes);
    assert_non_null(out);
    return memset(out, 0, bytes);
}

static inline char *text(model *m, const char *string)
{
    char *copy = tl_arena_strndup(&m->arena, string, strlen(string));
    assert_non_null(copy);
    return copy;
}

static inline Onnx__ValueInfoProto *value_info(model *m, const char *name, const int64_t *dims,
                                               size_t count)
{
    Onnx__ValueInfoProto *info = take(m, sizeof *info);
    onnx__value_info_proto__init(info);
    info->name = text(m, name);
    info->type = take(m, sizeof *info->type);
    onnx__type_proto__init(info->type);
    info->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    Onnx__TypeProto__Tensor *tensor = take(m, sizeof *tensor);
    onnx__type_proto__tensor__init(tensor);
    info->type->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = take(m, sizeof *tensor->shape);
    onnx__tensor_shape_proto__init(tensor->shape);
    tensor->shape->n_dim = count;
    tensor->shape->dim = take(m, (count + 1) * sizeof *tensor->shape->dim);
    for (size_t i = 0; i < count; i++) {
        Onnx__TensorShapeProto__Dimension *dim = take(m, sizeof *dim);
        onnx__tensor_shape_proto__dimension__init(dim);
        dim->value_case = dims[i] == 0 ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                       : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (dims[i] == 0)
            dim->dim_param = text(m, "any");
        else
            dim->dim_value = dims[i];
        tensor->shape->dim[i] = dim;
    }
    return info;
}

/* A model with one input "x"; dims of 0 are symbolic. */
static inline model *model_new(const int64_t *dims, size_t count)
{
    model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    tl_arena_init(&m->arena, 1 << 24);
    onnx__model_proto__init(&m->proto);
    onnx__graph_proto__init(&m->graph);
    onnx__operator_set_id_proto__init(&m->opset);
    m->proto.has_ir_version = 1;
    m->proto.ir_version = 8;
    m->opset.has_version = 1;
    m->opset.version = 17;
    m->opsets[0] = &m->opset;
    m->proto.n_opset_import = 1;
    m->proto.opset_import = m->opsets;
    m->proto.graph = &m->graph;
    m->graph.node = m->nodes;
    m->graph.initializer = m->inits;
    m->graph.input = m->inputs;
    m->graph.output = m->outputs;
    m->inputs[m->graph.n_input++] = value_info(m, "x", dims, count);
    return m;
}

static inline void model_free(model *m)
{
    tl_arena_destroy(&m->arena);
    free(m);
}

static inline void add_output(model *m, const char *name)
{
    static const int64_t dims[2] = { 0, 0 };
    m->outputs[m->graph.n_output++] = value_info(m, name, dims, 2);
}

/* Split at commas; an empty part is a name left out. */
static inline size_t split_names(model *m, const char *list, char ***out)
{
    char **names = take(m, NAMES_MAX * sizeof *names);
    size_t count = 0;
    for (const char *at = list; *list != '\0';) {
        size_t bytes = strcspn(at, ",");
        assert_true(count < NAMES_MAX);
        names[count] = tl_arena_strndup(&m->arena, at, bytes);
        assert_non_null(names[count]);
        count++;
        if (at[bytes] == '\0') break;
        at += bytes + 1;
    }
    *out = names;
    return count;
}

static inline Onnx__NodeProto *add_node(model *m, const char *op, const char *inputs,
                                        const char *outputs)
{
    Onnx__NodeProto *node = take(m, sizeof *node);
    onnx__node_proto__init(node);
    char name[64];
    snprintf(name, sizeof name, "/%s_%zu", op, m->graph.n_node);
    node->name = text(m, name);
    node->op_type = text(m, op);
    node->n_input = split_names(m, inputs, &node->input);
    node->n_output = split_names(m, outputs, &node->output);
    node->attribute = take(m, ATTRS_MAX * sizeof *node->attribute);
    assert_true(m->graph.n_node < NODES_MAX);
    m->nodes[m->graph.n_node++] = node;
    return node;
}

static inline Onnx__AttributeProto *add_attr(model *m, Onnx__NodeProto *node, const char *name)
{
    Onnx__AttributeProto *attr = take(m, sizeof *attr);
    onnx__attribute_proto__init(attr);
    attr->name = text(m, name);
    assert_true(node->n_attribute < ATTRS_MAX);
    node->attribute[node->n_attribute++] = attr;
    return attr;
}

static inline void attr_int(model *m, Onnx__NodeProto *node, const char *name, int64_t value)
{
    Onnx__AttributeProto *attr = add_attr(m, node, name);
    attr->has_i = 1;
    attr->i = value;
}

static inline void attr_float(model *m, Onnx__NodeProto *node, const char *name, float value)
{
    Onnx__AttributeProto *attr = add_attr(m, node, name);
    attr->has_f = 1;
    attr->f = value;
}

static inline void attr_ints(model *m, Onnx__NodeProto *node, const char *name, size_t count,
                             const int64_t *values)
{
    Onnx__AttributeProto *attr = add_attr(m, node, name);
    attr->n_ints = count;
    attr->ints = take(m, (count + 1) * sizeof *attr->ints);
    memcpy(attr->ints, values, count * sizeof *values);
}

static inline void attr_text(model *m, Onnx__NodeProto *node, const char *name, const char *value)
{
    Onnx__AttributeProto *attr = add_attr(m, node, name);
    attr->has_s = 1;
    attr->s.data = (uint8_t *)text(m, value);
    attr->s.len = strlen(value);
}

static inline Onnx__TensorProto *add_init(model *m, const char *name, size_t rank,
                                          const int64_t *dims)
{
    Onnx__TensorProto *tensor = take(m, sizeof *tensor);
    onnx__tensor_proto__init(tensor);
    tensor->name = text(m, name);
    tensor->has_data_type = 1;
    tensor->n_dims = rank;
    tensor->dims = take(m, (rank + 1) * sizeof *tensor->dims);
    if (rank > 0) memcpy(tensor->dims, dims, rank * sizeof *dims);
    assert_true(m->graph.n_initializer < INITS_MAX);
    m->inits[m->graph.n_initializer++] = tensor;
    return tensor;
}

static inline Onnx__TensorProto *add_floats(model *m, const char *name, size_t rank,
                                            const int64_t *dims, size_t count, const float *values)
{
    Onnx__TensorProto *tensor = add_init(m, name, rank, dims);
    tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->n_float_data = count;
    tensor->float_data = take(m, (count + 1) * sizeof *values);
    if (count > 0) memcpy(tensor->float_data, values, count * sizeof *values);
    return tensor;
}

static inline void add_integers(model *m, const char *name, size_t count, const int64_t *values)
{
    Onnx__TensorProto *tensor = add_init(m, name, 1, (const int64_t[]){ (int64_t)count });
    tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    tensor->has_raw_data = 1;
    tensor->raw_data.len = count * sizeof *values;
    tensor->raw_data.data = take(m, count * sizeof *values + 1);
    if (count > 0) memcpy(tensor->raw_data.data, values, count * sizeof *values);
}

#define DIMS(...)                                                                                  \
    sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t), (const int64_t[])                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define FLOATS(...)                                                                                \
    sizeof((const float[]){ __VA_ARGS__ }) / sizeof(float), (const float[])                        \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static inline model *model_of(size_t rank, const int64_t *dims)
{
    return model_new(dims, rank);
}

/* ---- Using them -------------------------------------------------------------------------------
 */

typedef struct imported {
    tl_status status;
    tl_error err;
    tl_graph *graph;
    float *flat;
} imported;

static inline imported import_bytes_as(const void *data, size_t bytes,
                                       const tl_onnx_options *options)
{
    imported out = { .status = TL_OK };
    out.status = tl_onnx_import(data, bytes, options, &out.graph, &out.flat, &out.err);
    if (out.status != TL_OK) {
        assert_null(out.graph);
        assert_null(out.flat);
        assert_int_equal(out.err.status, out.status);
        assert_true(out.err.text[0] != '\0');
    }
    return out;
}

static inline imported import_bytes(const void *data, size_t bytes)
{
    return import_bytes_as(data, bytes, NULL);
}

static inline uint8_t *pack(const model *m, size_t *bytes)
{
    *bytes = onnx__model_proto__get_packed_size(&m->proto);
    uint8_t *data = malloc(*bytes + 1);
    assert_non_null(data);
    onnx__model_proto__pack(&m->proto, data);
    return data;
}

static inline imported import_model_as(const model *m, const tl_onnx_options *options)
{
    size_t bytes;
    uint8_t *data = pack(m, &bytes);
    imported out = import_bytes_as(data, bytes, options);
    free(data);
    return out;
}

static inline imported import_model(const model *m)
{
    return import_model_as(m, NULL);
}

static inline void imported_free(imported *i)
{
    tl_graph_release(&i->graph);
    free(i->flat);
}

/* Run one item twice and compare output 0; frees the model. */
static inline void check_run_as(model *m, const tl_onnx_options *options, const float *x,
                                size_t count, const float *wanted)
{
    imported i = import_model_as(m, options);
    if (i.status != TL_OK) fail_msg("%s", i.err.text);
    tl_weights *weights;
    tl_plan *plan;
    tl_plan_options plan_options = { .batch_max = 2, .mode = TL_PLAN_INFER, .threads = 1 };
    assert_int_equal(tl_weights_create(i.graph, i.flat, &weights, &i.err), TL_OK);
    assert_int_equal(tl_plan_create(i.graph, &plan_options, &plan, &i.err), TL_OK);
    size_t in_count = tl_shape_count(tl_graph_input_shape(i.graph, 0));
    for (size_t n = 0; n < 2; n++)
        memcpy(tl_plan_input(plan, 0) + n * in_count, x, in_count * sizeof *x);
    assert_int_equal(tl_plan_infer(plan, weights, 2, &i.err), TL_OK);
    assert_int_equal(tl_shape_count(tl_graph_output_shape(i.graph, 0)), count);
    for (size_t k = 0; k < 2 * count; k++) {
        double ours = (double)tl_plan_output(plan, 0)[k];
        if (!(fabs(ours - (double)wanted[k % count]) < 1e-5))
            fail_msg("number %zu is %.7g, not %.7g", k, ours, (double)wanted[k % count]);
    }
    tl_plan_destroy(&plan);
    tl_weights_release(&weights);
    imported_free(&i);
    model_free(m);
}

/* An item is [h, w, c] or [count]: the batch is outside. */
static inline void check_run(model *m, const float *x, size_t count, const float *wanted)
{
    check_run_as(m, &(tl_onnx_options){ .reading = TL_ONNX_ITEMS }, x, count, wanted);
}

/* An item is the whole tensor. */
static inline void check_run_whole(model *m, const float *x, size_t count, const float *wanted)
{
    check_run_as(m, NULL, x, count, wanted);
}

/* Refused with that status and these words in the text; frees the model. */
static inline void check_refused_as(model *m, const tl_onnx_options *options, tl_status status,
                                    const char *words)
{
    imported i = import_model_as(m, options);
    if (i.status != status || strstr(i.err.text, words) == NULL)
        fail_msg("status %s, text '%s'; wanted %s, '%s'", tl_status_name(i.status), i.err.text,
                 tl_status_name(status), words);
    model_free(m);
}

static inline void check_refused(model *m, tl_status status, const char *words)
{
    check_refused_as(m, NULL, status, words);
}

/* Refused because it mixes the items of a batch. */
static inline void check_mixes(model *m, const char *words)
{
    check_refused_as(m, &(tl_onnx_options){ .reading = TL_ONNX_ITEMS }, TL_EUNSUPPORTED, words);
}

#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "graph/onnx.h"
#include "onnx/onnx.pb-c.h"

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

static void *take(model *m, size_t bytes)
{
    void *out = tl_arena_alloc(&m->arena, bytes);
    assert_non_null(out);
    return memset(out, 0, bytes);
}

static char *text(model *m, const char *string)
{
    char *copy = tl_arena_strndup(&m->arena, string, strlen(string));
    assert_non_null(copy);
    return copy;
}

static Onnx__ValueInfoProto *value_info(model *m, const char *name, const int64_t *dims,
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
static model *model_new(const int64_t *dims, size_t count)
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

static void model_free(model *m)
{
    tl_arena_destroy(&m->arena);
    free(m);
}

static void add_output(model *m, const char *name)
{
    static const int64_t dims[2] = { 0, 0 };
    m->outputs[m->graph.n_output++] = value_info(m, name, dims, 2);
}

/* Split at commas; an empty part is a name left out. */
static size_t split_names(model *m, const char *list, char ***out)
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

static Onnx__NodeProto *add_node(model *m, const char *op, const char *inputs, const char *outputs)
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

static Onnx__AttributeProto *add_attr(model *m, Onnx__NodeProto *node, const char *name)
{
    Onnx__AttributeProto *attr = take(m, sizeof *attr);
    onnx__attribute_proto__init(attr);
    attr->name = text(m, name);
    assert_true(node->n_attribute < ATTRS_MAX);
    node->attribute[node->n_attribute++] = attr;
    return attr;
}

static void attr_int(model *m, Onnx__NodeProto *node, const char *name, int64_t value)
{
    Onnx__AttributeProto *attr = add_attr(m, node, name);
    attr->has_i = 1;
    attr->i = value;
}

static void attr_float(model *m, Onnx__NodeProto *node, const char *name, float value)
{
    Onnx__AttributeProto *attr = add_attr(m, node, name);
    attr->has_f = 1;
    attr->f = value;
}

static void attr_ints(model *m, Onnx__NodeProto *node, const char *name, size_t count,
                      const int64_t *values)
{
    Onnx__AttributeProto *attr = add_attr(m, node, name);
    attr->n_ints = count;
    attr->ints = take(m, (count + 1) * sizeof *attr->ints);
    memcpy(attr->ints, values, count * sizeof *values);
}

static void attr_text(model *m, Onnx__NodeProto *node, const char *name, const char *value)
{
    Onnx__AttributeProto *attr = add_attr(m, node, name);
    attr->has_s = 1;
    attr->s.data = (uint8_t *)text(m, value);
    attr->s.len = strlen(value);
}

static Onnx__TensorProto *add_init(model *m, const char *name, size_t rank, const int64_t *dims)
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

static Onnx__TensorProto *add_floats(model *m, const char *name, size_t rank, const int64_t *dims,
                                     size_t count, const float *values)
{
    Onnx__TensorProto *tensor = add_init(m, name, rank, dims);
    tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->n_float_data = count;
    tensor->float_data = take(m, (count + 1) * sizeof *values);
    memcpy(tensor->float_data, values, count * sizeof *values);
    return tensor;
}

static void add_integers(model *m, const char *name, size_t count, const int64_t *values)
{
    Onnx__TensorProto *tensor = add_init(m, name, 1, (const int64_t[]){ (int64_t)count });
    tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    tensor->has_raw_data = 1;
    tensor->raw_data.len = count * sizeof *values;
    tensor->raw_data.data = take(m, count * sizeof *values + 1);
    memcpy(tensor->raw_data.data, values, count * sizeof *values);
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

static model *model_of(size_t rank, const int64_t *dims)
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

static imported import_bytes(const void *data, size_t bytes)
{
    imported out = { .status = TL_OK };
    out.status = tl_onnx_import(data, bytes, NULL, &out.graph, &out.flat, &out.err);
    if (out.status != TL_OK) {
        assert_null(out.graph);
        assert_null(out.flat);
        assert_int_equal(out.err.status, out.status);
        assert_true(out.err.text[0] != '\0');
    }
    return out;
}

static uint8_t *pack(const model *m, size_t *bytes)
{
    *bytes = onnx__model_proto__get_packed_size(&m->proto);
    uint8_t *data = malloc(*bytes + 1);
    assert_non_null(data);
    onnx__model_proto__pack(&m->proto, data);
    return data;
}

static imported import_model(const model *m)
{
    size_t bytes;
    uint8_t *data = pack(m, &bytes);
    imported out = import_bytes(data, bytes);
    free(data);
    return out;
}

static void imported_free(imported *i)
{
    tl_graph_release(&i->graph);
    free(i->flat);
}

/* Run one item ([h, w, c] or [count]) and compare output 0; frees the model. */
static void check_run(model *m, const float *x, size_t count, const float *wanted)
{
    imported i = import_model(m);
    if (i.status != TL_OK) fail_msg("%s", i.err.text);
    tl_weights *weights;
    tl_plan *plan;
    tl_plan_options options = { .batch_max = 2, .mode = TL_PLAN_INFER, .threads = 1 };
    assert_int_equal(tl_weights_create(i.graph, i.flat, &weights, &i.err), TL_OK);
    assert_int_equal(tl_plan_create(i.graph, &options, &plan, &i.err), TL_OK);
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

/* Refused with that status and these words in the text; frees the model. */
static void check_refused(model *m, tl_status status, const char *words)
{
    imported i = import_model(m);
    if (i.status != status || strstr(i.err.text, words) == NULL)
        fail_msg("status %s, text '%s'; wanted %s, '%s'", tl_status_name(i.status), i.err.text,
                 tl_status_name(status), words);
    model_free(m);
}

/* ---- Operators --------------------------------------------------------------------------------
 */

static void gemm_takes_either_order_and_factors(void **state)
{
    (void)state;
    const float x[3] = { 1.0f, 2.0f, 3.0f };
    for (int transposed = 0; transposed < 2; transposed++) {
        model *m = model_of(DIMS(1, 3));
        Onnx__NodeProto *node = add_node(m, "Gemm", "x,w,b", "y");
        attr_float(m, node, "alpha", 2.0f);
        attr_float(m, node, "beta", 0.5f);
        if (transposed) {
            attr_int(m, node, "transB", 1);
            add_floats(m, "w", DIMS(2, 3), FLOATS(1, 0, 2, 0, 1, -1));
        } else {
            add_floats(m, "w", DIMS(3, 2), FLOATS(1, 0, 0, 1, 2, -1));
        }
        add_floats(m, "b", DIMS(2), FLOATS(10, 20));
        add_output(m, "y");
        check_run(m, x, FLOATS(2 * 7 + 5, 2 * -1 + 10));
    }
}

static void matmul_and_add_are_one_layer(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2));
    add_node(m, "MatMul", "x,w", "p");
    add_node(m, "Add", "b,p", "y");
    add_floats(m, "w", DIMS(2, 2), FLOATS(1, 2, 3, 4));
    add_floats(m, "b", DIMS(2), FLOATS(0.5f, -0.5f));
    add_output(m, "y");
    imported i = import_model(m);
    assert_int_equal(i.status, TL_OK);
    assert_int_equal(tl_graph_param_count(i.graph), 2);
    assert_true(tl_graph_param(i.graph, tl_graph_find_param(i.graph, "b"))->role == TL_PARAM_BIAS);
    imported_free(&i);
    check_run(m, (const float[]){ 1, 10 }, FLOATS(31.5f, 41.5f));
}

static void a_transposed_matrix_keeps_its_name(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 3));
    attr_ints(m, add_node(m, "Transpose", "fc.weight", "t"), "perm", DIMS(1, 0));
    add_node(m, "MatMul", "x,t", "y");
    add_floats(m, "fc.weight", DIMS(2, 3), FLOATS(1, 0, 2, 0, 1, -1));
    add_output(m, "y");
    imported i = import_model(m);
    assert_int_equal(i.status, TL_OK);
    size_t index = tl_graph_find_param(i.graph, "fc.weight");
    assert_true(index != SIZE_MAX);
    assert_true(i.flat[tl_graph_param(i.graph, index)->offset + 2] == 2.0f);
    imported_free(&i);
    check_run(m, (const float[]){ 1, 2, 3 }, FLOATS(7, -1));
}

/* [1, 2, 2, 2]: channel 0 is 1 2 / 3 4, channel 1 is 5 6 / 7 8. */
static const float IMAGE[8] = { 1, 5, 2, 6, 3, 7, 4, 8 };

static void flatten_keeps_the_order_of_the_file(void **state)
{
    (void)state;
    static const char *const ops[2] = { "Flatten", "Reshape" };
    for (int i = 0; i < 2; i++) {
        model *m = model_of(DIMS(0, 2, 2, 2));
        add_node(m, ops[i], i == 0 ? "x" : "x,shape", "f");
        if (i == 1) add_integers(m, "shape", DIMS(-1, 8));
        attr_int(m, add_node(m, "Gemm", "f,w", "y"), "transB", 1);
        add_floats(m, "w", DIMS(2, 8),
                   FLOATS(1, 10, 100, 1000, 0, 0, 0, 0, 0, 0, 0, 0, 1, 10, 100, 1000));
        add_output(m, "y");
        check_run(m, IMAGE, FLOATS(4321, 8765));
    }
}

/* x.view(x.size(0), -1) as older exporters write it. */
static void shapes_may_be_computed(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        model *m = model_of(DIMS(0, 2, 2, 2));
        add_node(m, "Shape", "x", "shape");
        add_node(m, "Gather", "shape,zero", "n");
        attr_int(m, add_node(m, "Constant", "", "zero"), "value_int", i);
        attr_ints(m, add_node(m, "Unsqueeze", "n", "n1"), "axes", DIMS(0));
        attr_int(m, add_node(m, "Concat", "n1,rest", "to"), "axis", 0);
        add_integers(m, "rest", DIMS(-1));
        add_node(m, "Reshape", "x,to", "y");
        add_output(m, "y");
        if (i == 0)
            check_run(m, IMAGE, FLOATS(1, 2, 3, 4, 5, 6, 7, 8));
        else
            check_refused(m, TL_EUNSUPPORTED, "mixes the items");
    }
    model *m = model_of(DIMS(0, 2, 2, 2));
    add_node(m, "Shape", "x", "shape");
    add_node(m, "Slice", "shape,two,four", "hw");
    add_integers(m, "two", DIMS(2));
    add_integers(m, "four", DIMS(4));
    attr_int(m, add_node(m, "Concat", "batch,hw,hw", "to"), "axis", 0);
    add_integers(m, "batch", DIMS(-1));
    add_node(m, "Reshape", "x,to", "y");
    add_output(m, "y");
    check_refused(m, TL_EUNSUPPORTED, "are supported");
    m = model_of(DIMS(0, 2, 2, 2));
    add_node(m, "Shape", "x", "shape");
    add_node(m, "Gather", "shape,n", "n");
    m->nodes[1]->output[0] = text(m, "first");
    add_integers(m, "n", DIMS(0));
    add_node(m, "Slice", "x,n,first,axis", "y");
    add_integers(m, "axis", DIMS(1));
    add_output(m, "y");
    check_refused(m, TL_EUNSUPPORTED, "size of the batch");
}

static void conv_pads_as_asked(void **state)
{
    (void)state;
    /* A 2x2 kernel of ones over both channels: sums of 2x2 neighbourhoods. */
    const float upper[4] = { 36, 20, 22, 12 }, lower[4] = { 6, 14, 16, 36 };
    for (int i = 0; i < 4; i++) {
        model *m = model_of(DIMS(1, 2, 2, 2));
        const char *source = "x";
        if (i == 3) {
            attr_text(m, add_node(m, "Pad", "x,pads", "padded"), "mode", "constant");
            add_integers(m, "pads", DIMS(0, 0, 1, 1, 0, 0, 0, 0));
            source = "padded,w";
        }
        Onnx__NodeProto *node = add_node(m, "Conv", i == 3 ? source : "x,w", "y");
        if (i == 0) attr_text(m, node, "auto_pad", "SAME_UPPER");
        if (i == 1) attr_text(m, node, "auto_pad", "SAME_LOWER");
        if (i == 2) attr_ints(m, node, "pads", DIMS(0, 0, 1, 1));
        attr_ints(m, node, "kernel_shape", DIMS(2, 2));
        add_floats(m, "w", DIMS(1, 2, 2, 2), FLOATS(1, 1, 1, 1, 1, 1, 1, 1));
        add_output(m, "y");
        check_run(m, IMAGE, 4, i == 0 || i == 2 ? upper : lower);
    }
}

static void gates_are_recognised(void **state)
{
    (void)state;
    const float x[3] = { -1.0f, 0.5f, 4.0f };
    float silu[3], hard[3];
    for (int i = 0; i < 3; i++) {
        silu[i] = x[i] / (1.0f + expf(-x[i]));
        hard[i] = x[i] * fminf(fmaxf(x[i] / 6.0f + 0.5f, 0.0f), 1.0f);
    }
    for (int i = 0; i < 4; i++) {
        model *m = model_of(DIMS(1, 3));
        Onnx__NodeProto *gate = add_node(m, i < 2 ? "Sigmoid" : "HardSigmoid", "x", "s");
        if (i >= 2) attr_float(m, gate, "alpha", 1.0f / 6.0f);
        add_node(m, "Mul", i % 2 == 0 ? "x,s" : "s,x", "y");
        add_output(m, "y");
        imported im = import_model(m);
        assert_int_equal(im.status, TL_OK);
        tl_plan *plan;
        tl_plan_options options = { .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1 };
        assert_int_equal(tl_plan_create(im.graph, &options, &plan, NULL), TL_OK);
        tl_node_cost cost;
        tl_plan_node_cost(plan, tl_plan_node_count(plan) - 1, &cost);
        assert_string_equal(cost.op, i < 2 ? "silu" : "hard_swish");
        tl_plan_destroy(&plan);
        imported_free(&im);
        check_run(m, x, 3, i < 2 ? silu : hard);
    }
    /* Not a gate of itself. */
    model *m = model_of(DIMS(1, 2));
    attr_float(m, add_node(m, "HardSigmoid", "x", "s"), "alpha", 0.25f);
    add_node(m, "Mul", "x,s", "y");
    add_output(m, "y");
    check_run(m, (const float[]){ 1.0f, 4.0f }, FLOATS(0.75f, 4.0f));
    m = model_of(DIMS(1, 2));
    add_node(m, "HardSigmoid", "x", "y");
    add_output(m, "y");
    check_run(m, (const float[]){ -1.0f, 2.0f }, FLOATS(0.3f, 0.9f));
}

static void constants_broadcast(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2, 2, 2));
    add_node(m, "Mul", "x,channel", "a");
    add_node(m, "Add", "a,pixel", "b");
    add_node(m, "Sub", "one,b", "c");
    add_node(m, "Div", "c,full", "y");
    add_floats(m, "channel", DIMS(2, 1, 1), FLOATS(1, 10));
    add_floats(m, "pixel", DIMS(2, 2), FLOATS(100, 200, 300, 400));
    Onnx__TensorProto *one = add_floats(m, "one", 0, NULL, FLOATS(1));
    assert_int_equal(one->n_dims, 0);
    add_floats(m, "full", DIMS(1, 2, 2, 2), FLOATS(1, 2, 4, 8, -1, -2, -4, -8));
    add_output(m, "y");
    /* Channel 0: 1 - (x + pixel), channel 1: 1 - (10 x + pixel); divided; in [h, w, c] order. */
    check_run(m, IMAGE,
              FLOATS(-100.0f, 149.0f, -201.0f / 2, 259.0f / 2, -302.0f / 4, 369.0f / 4, -403.0f / 8,
                     479.0f / 8));
}

static void clip_takes_inputs_constants_and_attributes(void **state)
{
    (void)state;
    const float x[3] = { -9.0f, 0.5f, 9.0f };
    for (int i = 0; i < 3; i++) {
        model *m = model_of(DIMS(1, 3));
        Onnx__NodeProto *node = add_node(m, "Clip", i == 0 ? "x" : "x,,high", "y");
        if (i == 0) {
            m->opset.version = 10;
            attr_float(m, node, "max", 6.0f);
        } else if (i == 1) {
            add_floats(m, "high", 0, NULL, FLOATS(6));
        } else { /* the constant's node comes after its user: order is mended */
            Onnx__NodeProto *constant = add_node(m, "Constant", "", "c");
            attr_float(m, constant, "value_float", 6.0f);
            attr_int(m, add_node(m, "Cast", "c", "high"), "to", 1);
        }
        add_output(m, "y");
        check_run(m, x, FLOATS(-9.0f, 0.5f, 6.0f));
    }
}

static void channels_are_cut_and_joined(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2, 2, 2));
    attr_int(m, add_node(m, "Split", "x,sizes", "a,b"), "axis", 1);
    add_integers(m, "sizes", DIMS(1, 1));
    add_node(m, "Slice", "x,start,end,axis", "c");
    add_integers(m, "start", DIMS(-1));
    add_integers(m, "end", DIMS(INT64_MAX));
    add_integers(m, "axis", DIMS(1));
    attr_int(m, add_node(m, "Concat", "b,a,c", "y"), "axis", -3);
    add_output(m, "y");
    check_run(m, IMAGE, FLOATS(5, 1, 5, 6, 2, 6, 7, 3, 7, 8, 4, 8));
}

static void pooling_and_views(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2, 2, 2));
    attr_ints(m, add_node(m, "ReduceMean", "x", "mean"), "axes", DIMS(-1, -2));
    attr_int(m, m->nodes[0], "keepdims", 0);
    add_node(m, "Unsqueeze", "mean,axes", "image");
    add_integers(m, "axes", DIMS(2, 3));
    add_node(m, "Mul", "x,image", "scaled");
    add_node(m, "Dropout", "scaled", "same,mask");
    attr_ints(m, add_node(m, "MaxPool", "same", "y"), "kernel_shape", DIMS(2, 2));
    add_output(m, "y");
    check_run(m, IMAGE, FLOATS(4 * 2.5f, 8 * 6.5f));
}

static void max_pool_rounds_up(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 1, 3, 3));
    Onnx__NodeProto *node = add_node(m, "MaxPool", "x", "y");
    attr_ints(m, node, "kernel_shape", DIMS(2, 2));
    attr_ints(m, node, "strides", DIMS(2, 2));
    attr_int(m, node, "ceil_mode", 1);
    add_output(m, "y");
    const float x[9] = { -1, -2, -3, -4, -5, -6, -7, -8, -9 };
    check_run(m, x, FLOATS(-1, -3, -7, -9));
}

static void batch_norm_keeps_its_numbers(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2, 2, 2));
    Onnx__NodeProto *node = add_node(m, "BatchNormalization", "x,scale,shift,mean,var", "y");
    attr_float(m, node, "epsilon", 0.5f);
    add_floats(m, "scale", DIMS(2), FLOATS(2, 3));
    add_floats(m, "shift", DIMS(2), FLOATS(0, 1));
    add_floats(m, "mean", DIMS(2), FLOATS(1, 5));
    add_floats(m, "var", DIMS(2), FLOATS(3.5f, 0.5f));
    add_output(m, "y");
    check_run(m, IMAGE, FLOATS(0, 1, 1, 4, 2, 7, 3, 10));
}

static void dynamic_sizes_come_from_the_options(void **state)
{
    (void)state;
    model *m = model_of(DIMS(0, 2, 0, 0));
    add_node(m, "GlobalAveragePool", "x", "y");
    add_output(m, "y");
    size_t bytes;
    uint8_t *data = pack(m, &bytes);
    imported i = { .graph = NULL };
    tl_onnx_options options = { .height = 5, .width = 7 };
    assert_int_equal(tl_onnx_import(data, bytes, &options, &i.graph, &i.flat, &i.err), TL_OK);
    tl_shape wanted = tl_shape_image(5, 7, 2);
    assert_true(tl_shape_equal(tl_graph_input_shape(i.graph, 0), &wanted));
    imported_free(&i);
    free(data);
    check_refused(m, TL_EINVAL, "height is not fixed");
}

/* ---- Parameters -------------------------------------------------------------------------------
 */

static void tied_initializers_become_two_parameters(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2));
    add_node(m, "Identity", "one.bias", "two.bias");
    attr_int(m, add_node(m, "Gemm", "x,one.weight,one.bias", "h"), "transB", 1);
    attr_int(m, add_node(m, "Gemm", "h,two.weight,two.bias", "k"), "transB", 1);
    attr_int(m, add_node(m, "Gemm", "k,two.weight,two.bias", "y"), "transB", 1);
    add_floats(m, "one.weight", DIMS(2, 2), FLOATS(1, 0, 0, 1));
    add_floats(m, "two.weight", DIMS(2, 2), FLOATS(0, 1, 1, 0));
    add_floats(m, "one.bias", DIMS(2), FLOATS(3, 4));
    add_output(m, "y");
    imported i = import_model(m);
    if (i.status != TL_OK) fail_msg("%s", i.err.text);
    assert_int_equal(tl_graph_param_count(i.graph), 6);
    size_t one = tl_graph_find_param(i.graph, "one.bias");
    size_t two = tl_graph_find_param(i.graph, "two.bias");
    size_t again = tl_graph_find_param(i.graph, "two.bias#2");
    assert_true(one != SIZE_MAX && two != SIZE_MAX && again != SIZE_MAX);
    assert_true(i.flat[tl_graph_param(i.graph, two)->offset + 1] == 4.0f);
    assert_true(i.flat[tl_graph_param(i.graph, again)->offset] == 3.0f);
    imported_free(&i);
    check_run(m, (const float[]){ 0, 0 }, FLOATS(3 + 4 + 3, 4 + 3 + 4));
}

static void long_names_stay_distinct(void **state)
{
    (void)state;
    char names[2][201], inputs[256];
    model *m = model_of(DIMS(1, 1));
    for (int i = 0; i < 2; i++) {
        memset(names[i], 'n', 200);
        names[i][199] = (char)('a' + i);
        names[i][3] = '\n';
        names[i][200] = '\0';
        snprintf(inputs, sizeof inputs, "%s,%s", i == 0 ? "x" : "h", names[i]);
        add_node(m, "Gemm", inputs, i == 0 ? "h" : "y");
        add_floats(m, names[i], DIMS(1, 1), FLOATS(2));
    }
    add_output(m, "y");
    imported im = import_model(m);
    if (im.status != TL_OK) fail_msg("%s", im.err.text);
    assert_string_not_equal(tl_graph_param(im.graph, 0)->name, tl_graph_param(im.graph, 1)->name);
    assert_null(strchr(tl_graph_param(im.graph, 0)->name, '\n'));
    imported_free(&im);
    check_run(m, (const float[]){ 3 }, FLOATS(12));
}

static void reads_the_element_types(void **state)
{
    (void)state;
    static const uint16_t halves[2] = { 0x3e00, 0xc000 }, bfloats[2] = { 0x3fc0, 0xc000 };
    static const double doubles[2] = { 1.5, -2.0 };
    const struct {
        int32_t type;
        const void *data;
        size_t bytes;
    } cases[3] = { { ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16, halves, sizeof halves },
                   { ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16, bfloats, sizeof bfloats },
                   { ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE, doubles, sizeof doubles } };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        model *m = model_of(DIMS(1, 2));
        add_node(m, "Mul", "x,c", "y");
        Onnx__TensorProto *tensor = add_init(m, "c", DIMS(2));
        tensor->data_type = cases[i].type;
        tensor->has_raw_data = 1;
        tensor->raw_data.data = take(m, cases[i].bytes);
        tensor->raw_data.len = cases[i].bytes;
        memcpy(tensor->raw_data.data, cases[i].data, cases[i].bytes);
        add_output(m, "y");
        check_run(m, (const float[]){ 2, 3 }, FLOATS(3, -6));
    }
}

/* ---- Malformed and hostile files --------------------------------------------------------------
 */

/* x -> Relu -> Gemm -> y */
static model *small_model(void)
{
    model *m = model_of(DIMS(1, 2));
    add_node(m, "Relu", "x", "r");
    attr_int(m, add_node(m, "Gemm", "r,w,b", "y"), "transB", 1);
    add_floats(m, "w", DIMS(2, 2), FLOATS(1, 2, 3, 4));
    add_floats(m, "b", DIMS(2), FLOATS(5, 6));
    add_output(m, "y");
    return m;
}

static void refuses_wrong_graphs(void **state)
{
    (void)state;
    model *m = small_model();
    m->nodes[0]->op_type = text(m, "Erf\x01");
    check_refused(m, TL_EUNSUPPORTED, "Erf? node /Relu_0: the operator is not supported; rewrite");
    m = small_model();
    m->nodes[0]->op_type = text(m, "QLinearConv");
    check_refused(m, TL_EUNSUPPORTED, "before quantisation");
    m = small_model();
    m->nodes[0]->op_type = NULL;
    check_refused(m, TL_EUNSUPPORTED, "not supported");
    m = small_model();
    m->nodes[0]->domain = text(m, "com.example");
    check_refused(m, TL_EUNSUPPORTED, "com.example");
    m = small_model();
    m->nodes[0]->input[0] = text(m, "y");
    check_refused(m, TL_EINVAL, "cycle");
    m = small_model();
    m->nodes[0]->input[0] = text(m, "r");
    check_refused(m, TL_EINVAL, "cycle");
    m = small_model();
    m->nodes[0]->input[0] = text(m, "nowhere");
    check_refused(m, TL_EINVAL, "nowhere, which nothing defines");
    m = small_model();
    m->nodes[0]->n_input = 0;
    check_refused(m, TL_EINVAL, "operand 0 is missing");
    m = small_model();
    m->nodes[0]->output[0] = text(m, "y");
    m->nodes[1]->input[0] = text(m, "x");
    check_refused(m, TL_EINVAL, "defined twice");
    m = small_model();
    m->outputs[0]->name = text(m, "nothing");
    check_refused(m, TL_EINVAL, "nothing defines the output");
    m = small_model();
    m->graph.n_output = 0;
    check_refused(m, TL_EINVAL, "no output");
    m = small_model();
    m->graph.n_initializer = 1;
    check_refused(m, TL_EINVAL, "it reads b");
    m = small_model();
    m->outputs[0]->name = text(m, "x");
    check_refused(m, TL_EUNSUPPORTED, "not computed by a supported layer");
    m = small_model();
    m->outputs[0]->name = text(m, "w");
    check_refused(m, TL_EUNSUPPORTED, "not computed by a supported layer");
    m = small_model();
    m->opset.version = 3;
    check_refused(m, TL_EUNSUPPORTED, "version_converter");
    m = small_model();
    m->proto.graph = NULL;
    check_refused(m, TL_EINVAL, "no graph");
    m = small_model();
    m->inputs[0]->type->tensor_type->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
    check_refused(m, TL_EUNSUPPORTED, "element type 11");
    m = small_model();
    m->inputs[0]->type = NULL;
    check_refused(m, TL_EUNSUPPORTED, "no tensor type");
    m = small_model();
    m->inputs[0]->type->tensor_type->shape->dim[1]->dim_value = -1;
    check_refused(m, TL_EINVAL, "not in 1..");
    m = small_model();
    m->inputs[0]->type->tensor_type->shape->dim[1]->dim_value = 3;
    check_refused(m, TL_EINVAL, "takes 2 inputs and gets 3");
}

static void refuses_wrong_initializers(void **state)
{
    (void)state;
    model *m = small_model();
    m->inits[0]->dims[0] = 3;
    check_refused(m, TL_EINVAL, "its shape has 6 elements, its data 4");
    m = small_model();
    m->inits[0]->dims[0] = INT64_MAX;
    check_refused(m, TL_ELIMIT, "is not in 0..");
    m = small_model();
    m->inits[0]->dims[0] = -1;
    check_refused(m, TL_ELIMIT, "is not in 0..");
    m = small_model();
    m->inits[0]->dims[0] = m->inits[0]->dims[1] = 1 << 24;
    check_refused(m, TL_ELIMIT, "elements");
    m = small_model();
    m->inits[0]->n_dims = 9;
    m->inits[0]->dims = take(m, 9 * sizeof(int64_t));
    check_refused(m, TL_ELIMIT, "9 dimensions");
    m = small_model();
    m->inits[0]->dims[0] = 0;
    m->inits[0]->n_float_data = 0;
    check_refused(m, TL_EUNSUPPORTED, "not a matrix");
    m = small_model();
    m->inits[0]->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__STRING;
    check_refused(m, TL_EUNSUPPORTED, "element type 8");
    m = small_model();
    m->inits[0]->has_raw_data = 1;
    m->inits[0]->raw_data.data = take(m, 32);
    m->inits[0]->raw_data.len = 15;
    check_refused(m, TL_EINVAL, "its data 3");
    m = small_model();
    m->inits[0]->has_data_location = 1;
    m->inits[0]->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    check_refused(m, TL_EUNSUPPORTED, "another file");
    m = small_model();
    m->inits[1]->name = text(m, "w");
    check_refused(m, TL_EINVAL, "defined twice");
    m = small_model();
    m->inits[1]->name = NULL;
    check_refused(m, TL_EINVAL, "no name");
    m = small_model();
    m->inits[1]->dims[0] = 1;
    m->inits[1]->n_dims = 2; /* [1, 0] by the zero behind it */
    check_refused(m, TL_EINVAL, "its shape has 0 elements");
}

static void refuses_wrong_attributes(void **state)
{
    (void)state;
    static const int64_t image[4] = { 1, 2, 4, 4 };
    for (int i = 0; i < 7; i++) {
        static const char *const words[7] = {
            "strides 0 is not in", "dilations", "pads -1", "instead of 2", "groups",
            "kernel_shape",        "auto_pad"
        };
        model *m = model_new(image, 4);
        Onnx__NodeProto *node = add_node(m, "Conv", "x,w", "y");
        if (i == 0) attr_ints(m, node, "strides", DIMS(0, 1));
        if (i == 1) attr_ints(m, node, "dilations", DIMS(1, INT64_MAX));
        if (i == 2) attr_ints(m, node, "pads", DIMS(-1, 0, 0, 0));
        if (i == 3) attr_ints(m, node, "strides", DIMS(1));
        if (i == 4) attr_int(m, node, "group", 1 + ((int64_t)1 << 32));
        if (i == 5) attr_ints(m, node, "kernel_shape", DIMS(3, 3));
        if (i == 6) attr_text(m, node, "auto_pad", "SAME");
        add_floats(m, "w", DIMS(1, 2, 1, 1), FLOATS(1, 1));
        add_output(m, "y");
        check_refused(m, i == 3 ? TL_EUNSUPPORTED : TL_EINVAL, words[i]);
    }
    model *m = model_new(image, 4);
    attr_ints(m, add_node(m, "MaxPool", "x", "y"), "kernel_shape", DIMS(5, 5));
    add_output(m, "y");
    imported i = import_model(m);
    assert_int_not_equal(i.status, TL_OK); /* larger than the image: the engine's own check */
    model_free(m);
}

static void refuses_what_changes_meaning(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2, 2, 2));
    add_node(m, "Pad", "x,pads", "p");
    add_integers(m, "pads", DIMS(0, 0, 1, 1, 0, 0, 1, 1));
    attr_ints(m, add_node(m, "MaxPool", "p", "y"), "kernel_shape", DIMS(2, 2));
    add_output(m, "y");
    check_refused(m, TL_EUNSUPPORTED, "before a Conv only");
    m = model_of(DIMS(1, 2, 2, 2));
    attr_int(m, add_node(m, "Concat", "x,x", "y"), "axis", 2);
    add_output(m, "y");
    check_refused(m, TL_EUNSUPPORTED, "axis 1");
    m = model_of(DIMS(1, 2, 2, 2));
    add_node(m, "Flatten", "x", "f");
    add_node(m, "Mul", "x,f", "y");
    add_output(m, "y");
    check_refused(m, TL_EUNSUPPORTED, "4 and 2 dimensions");
    m = model_of(DIMS(1, 2));
    add_node(m, "Div", "x,zero", "y");
    add_floats(m, "zero", DIMS(1), FLOATS(0));
    add_output(m, "y");
    check_refused(m, TL_EINVAL, "divides by zero");
    m = model_of(DIMS(1, 2));
    add_node(m, "Dropout", "x", "same,mask");
    add_node(m, "Relu", "mask", "y");
    add_output(m, "y");
    check_refused(m, TL_EUNSUPPORTED, "side output");
}

static void ignores_what_no_output_needs(void **state)
{
    (void)state;
    model *m = small_model();
    add_node(m, "Unheard", "r", "unused");
    check_run(m, (const float[]){ 1, -1 }, FLOATS(6, 9));
}

static size_t put_length(uint8_t *out, size_t value)
{
    size_t bytes = 0;
    for (; value >= 0x80; value >>= 7) out[bytes++] = (uint8_t)(value | 0x80);
    out[bytes++] = (uint8_t)value;
    return bytes;
}

/* Graphs inside attributes of nodes of graphs ...: would use up the stack of a recursive reader. */
static void refuses_deep_nesting(void **state)
{
    (void)state;
    enum { LEVELS = 60001, CAPACITY = LEVELS * 12 };
    uint8_t *data = malloc(CAPACITY);
    assert_non_null(data);
    size_t start = CAPACITY; /* written from the inside out */
    for (int level = 0; level < LEVELS; level++) {
        /* model.graph 7, then graph.node 1, node.attribute 5, attribute.g 6 */
        static const uint8_t tags[3] = { 6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2 };
        uint8_t header[11];
        header[0] = level == LEVELS - 1 ? 7 << 3 | 2 : tags[level % 3];
        size_t bytes = 1 + put_length(header + 1, CAPACITY - start);
        start -= bytes;
        memcpy(data + start, header, bytes);
    }
    imported i = import_bytes(data + start, CAPACITY - start);
    assert_int_equal(i.status, TL_ELIMIT);
    assert_non_null(strstr(i.err.text, "nested"));
    free(data);
}

/* Small on the wire, large in memory. */
static void bounds_its_memory(void **state)
{
    (void)state;
    enum { NODES = 4 << 20, CAPACITY = NODES * 2 + 16 };
    uint8_t *data = malloc(CAPACITY);
    assert_non_null(data);
    data[0] = 7 << 3 | 2;
    size_t start = 1 + put_length(data + 1, NODES * 2);
    for (size_t i = 0; i < NODES; i++) {
        data[start + 2 * i] = 1 << 3 | 2; /* an empty node */
        data[start + 2 * i + 1] = 0;
    }
    imported i = import_bytes(data, start + NODES * 2);
    assert_int_equal(i.status, TL_ELIMIT);
    free(data);
}

static void refuses_a_second_graph(void **state)
{
    (void)state;
    model *m = small_model();
    size_t bytes;
    uint8_t *data = pack(m, &bytes);
    data = realloc(data, 2 * bytes);
    assert_non_null(data);
    memcpy(data + bytes, data, bytes);
    imported i = import_bytes(data, 2 * bytes);
    assert_int_equal(i.status, TL_EINVAL);
    assert_non_null(strstr(i.err.text, "field graph occurs twice"));
    free(data);
    model_free(m);
}

static void survives_truncated_and_changed_bytes(void **state)
{
    (void)state;
    model *m = small_model();
    size_t bytes, accepted = 0;
    uint8_t *data = pack(m, &bytes);
    for (size_t count = 0; count < bytes; count++) {
        uint8_t *part = malloc(count > 0 ? count : 1);
        memcpy(part, data, count);
        imported i = import_bytes(part, count);
        assert_int_not_equal(i.status, TL_OK);
        free(part);
    }
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    uint8_t *copy = malloc(bytes);
    for (int round = 0; round < 20000; round++) {
        memcpy(copy, data, bytes);
        for (uint64_t k = 0; k <= tl_rng_below(&rng, 3); k++)
            copy[tl_rng_below(&rng, bytes)] = (uint8_t)tl_rng_u64(&rng);
        imported i = import_bytes(copy, bytes);
        accepted += i.status == TL_OK;
        imported_free(&i);
    }
    assert_true(accepted > 0 && accepted < 20000);
    free(copy);
    free(data);
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_takes_either_order_and_factors),
        cmocka_unit_test(matmul_and_add_are_one_layer),
        cmocka_unit_test(a_transposed_matrix_keeps_its_name),
        cmocka_unit_test(flatten_keeps_the_order_of_the_file),
        cmocka_unit_test(shapes_may_be_computed),
        cmocka_unit_test(conv_pads_as_asked),
        cmocka_unit_test(gates_are_recognised),
        cmocka_unit_test(constants_broadcast),
        cmocka_unit_test(clip_takes_inputs_constants_and_attributes),
        cmocka_unit_test(channels_are_cut_and_joined),
        cmocka_unit_test(pooling_and_views),
        cmocka_unit_test(max_pool_rounds_up),
        cmocka_unit_test(batch_norm_keeps_its_numbers),
        cmocka_unit_test(dynamic_sizes_come_from_the_options),
        cmocka_unit_test(tied_initializers_become_two_parameters),
        cmocka_unit_test(long_names_stay_distinct),
        cmocka_unit_test(reads_the_element_types),
        cmocka_unit_test(refuses_wrong_graphs),
        cmocka_unit_test(refuses_wrong_initializers),
        cmocka_unit_test(refuses_wrong_attributes),
        cmocka_unit_test(refuses_what_changes_meaning),
        cmocka_unit_test(ignores_what_no_output_needs),
        cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(bounds_its_memory),
        cmocka_unit_test(refuses_a_second_graph),
        cmocka_unit_test(survives_truncated_and_changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

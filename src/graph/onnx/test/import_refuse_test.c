/* What the importer refuses, and that malformed and hostile files do no harm. */
#include "graph/onnx/test/support.h"

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
    m->nodes[0]->op_type = text(m, "Erg\x01");
    check_refused(m, TL_EUNSUPPORTED, "Erg? node /Relu_0: the operator is not supported; rewrite");
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
    m->nodes[0]->n_input = 2;
    m->nodes[0]->input = m->nodes[1]->input + 1;
    check_refused(m, TL_EINVAL, "2 operands; it takes 1");
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
    add_node(m, "Flatten", "x", "f");
    add_node(m, "Mul", "x,f", "y");
    add_output(m, "y");
    check_mixes(m, "operands of different rank");
    static const char *const words[5] = { "moves the axis of the batch", "joins along the batch",
                                          "reduces over the batch", "not the batch",
                                          "is the same for all items" };
    for (int i = 0; i < 5; i++) {
        m = model_of(DIMS(2, 3, 2));
        if (i == 0) add_node(m, "Transpose", "x", "y");
        if (i == 1) attr_int(m, add_node(m, "Concat", "x,x", "y"), "axis", 0);
        if (i == 2) add_node(m, "ReduceSum", "x", "y");
        if (i == 3) add_node(m, "Reshape", "x,three", "y");
        if (i == 4) add_node(m, "Shape", "x", "y");
        add_integers(m, "three", DIMS(3, 4));
        add_output(m, "y");
        check_mixes(m, words[i]);
    }
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

/* Constants without numbers where one is read. */
static void reads_nothing_from_empty_constants(void **state)
{
    (void)state;
    static const char *const nodes[][3] = {
        { "Dropout", "x,ratio,empty", "training_mode" },
        { "Dropout", "x,empty", "ratio must be one number" },
        { "Clip", "x,empty", "min must be one number" },
        { "Gather", "x,empty", "is empty" },
        { "Tile", "x,empty", "0 repeats for 2 axes" },
        { "Pad", "x,empty", "0 pads for 2 axes" },
        { "Slice", "x,empty,empty", "do not match" },
        { "Add", "x,empty", "is empty" },
        { "Reshape", "x,empty", "not the batch" },
        { "PRelu", "x,empty", "is empty" },
        { "Expand", "x,empty", "" },
    };
    for (size_t i = 0; i < TL_COUNT_OF(nodes); i++) {
        model *m = model_of(DIMS(1, 2));
        Onnx__NodeProto *node = add_node(m, nodes[i][0], nodes[i][1], "y");
        if (strcmp(nodes[i][0], "Gather") == 0) attr_int(m, node, "axis", 1);
        add_floats(m, "ratio", 0, NULL, 1, (const float[]){ 0.5f });
        bool floats = strstr("Add PRelu Clip", nodes[i][0]) != NULL;
        if (floats)
            add_floats(m, "empty", DIMS(0), 0, NULL);
        else
            add_integers(m, "empty", 0, NULL);
        add_output(m, "y");
        imported in = import_model_as(m, &(tl_onnx_options){ .reading = TL_ONNX_ITEMS });
        bool said = in.status != TL_OK && strstr(in.err.text, nodes[i][2]) != NULL;
        if (in.status == TL_OK ? nodes[i][2][0] != '\0' : !said)
            fail_msg("%s: status %s, text '%s'", nodes[i][0], tl_status_name(in.status),
                     in.err.text);
        imported_free(&in);
        model_free(m);
    }
}

static void refuses_weights_that_are_not_finite(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        model *m = small_model();
        const char *const words[3] = { "weight 2 of w is not finite", "weight 1 of b is not finite",
                                       "weight 0 of w is not finite" };
        if (i == 0) m->inits[0]->float_data[2] = NAN;
        if (i == 1) m->inits[1]->float_data[1] = -INFINITY;
        if (i == 2) { /* finite as a double */
            m->inits[0]->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
            m->inits[0]->double_data = take(m, 4 * sizeof(double));
            m->inits[0]->n_double_data = 4;
            m->inits[0]->double_data[0] = 1e300;
        }
        check_refused(m, TL_EINVAL, words[i]);
    }
}

/* A file of some hundred bytes whose constants would take minutes to compute. */
static void refuses_endless_constants(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        model *m = model_of(DIMS(1, 2));
        add_node(m, "ConstantOfShape", "image", "c");
        add_node(m, "ConstantOfShape", "kernel", "k");
        Onnx__NodeProto *node =
            add_node(m, i == 0 ? "Conv" : "AveragePool", i == 0 ? "c,k" : "c", "p");
        if (i == 1) attr_ints(m, node, "kernel_shape", DIMS(1000, 1000));
        attr_int(m, add_node(m, "ReduceMax", "p", "one"), "keepdims", 0);
        add_node(m, "Mul", "x,one", "y");
        add_integers(m, "image", DIMS(1, 1, 2000, 2000));
        add_integers(m, "kernel", DIMS(1, 1, 1000, 1000));
        add_output(m, "y");
        check_refused(m, TL_ELIMIT, "fold them before");
    }
}

static void refuses_sizes_that_overflow(void **state)
{
    (void)state;
    const int64_t huge[] = { INT64_MAX, INT64_MIN, (int64_t)1 << 32, 1 << 24 };
    for (size_t i = 0; i < TL_COUNT_OF(huge); i++)
        for (int kind = 0; kind < 6; kind++) {
            model *m = model_of(DIMS(1, 2, 4, 4));
            const char *const ops[6] = {
                "Tile", "Expand", "Pad", "Reshape", "Resize", "Unsqueeze"
            };
            if (kind == 4)
                attr_text(m, add_node(m, "Resize", "x,,,sizes", "y"), "keep_aspect_ratio_policy",
                          "not_smaller");
            else
                add_node(m, ops[kind], "x,sizes", "y");
            if (kind == 2)
                add_integers(m, "sizes", DIMS(0, 0, huge[i], huge[i], 0, 0, huge[i], huge[i]));
            else
                add_integers(m, "sizes", DIMS(1, 2, huge[i], kind == 4 ? 1 << 20 : huge[i]));
            add_output(m, "y");
            imported in = import_model(m);
            if (in.status == TL_OK) fail_msg("%s by %lld", ops[kind], (long long)huge[i]);
            model_free(m);
        }
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
        cmocka_unit_test(refuses_wrong_graphs),
        cmocka_unit_test(refuses_wrong_initializers),
        cmocka_unit_test(refuses_wrong_attributes),
        cmocka_unit_test(refuses_what_changes_meaning),
        cmocka_unit_test(reads_nothing_from_empty_constants),
        cmocka_unit_test(refuses_weights_that_are_not_finite),
        cmocka_unit_test(refuses_endless_constants),
        cmocka_unit_test(refuses_sizes_that_overflow),
        cmocka_unit_test(ignores_what_no_output_needs),
        cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(bounds_its_memory),
        cmocka_unit_test(refuses_a_second_graph),
        cmocka_unit_test(survives_truncated_and_changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

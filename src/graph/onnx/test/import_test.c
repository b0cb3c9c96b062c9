/* What the importer makes of files: operators, sizes, parameters. */
#include "graph/onnx/test/support.h"

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
            check_mixes(m, "mixes the items");
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
    check_refused(m, TL_EINVAL, "another number of elements");
    m = model_of(DIMS(0, 2, 2, 2));
    add_node(m, "Shape", "x", "shape");
    add_node(m, "Gather", "shape,n", "n");
    m->nodes[1]->output[0] = text(m, "first");
    add_integers(m, "n", DIMS(0));
    add_node(m, "Slice", "x,n,first,axis", "y");
    add_integers(m, "axis", DIMS(1));
    add_output(m, "y");
    check_mixes(m, "size of the batch");
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

/* Names in other scripts, equal but for what a name here cannot have, and names like those that the
 * importer makes for shared weights. */
static void odd_names_stay_distinct(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2));
    add_node(m, "Gemm", "x,\xe5\xb1\x82\xe4\xb8\x80,b", "h");
    add_node(m, "Gemm", "h,\xe5\xb1\x82\xe4\xba\x8c,b", "i");
    add_node(m, "Gemm", "i,b#2,b", "y");
    add_floats(m, "\xe5\xb1\x82\xe4\xb8\x80", DIMS(2, 2), FLOATS(1, 0, 0, 1));
    add_floats(m, "\xe5\xb1\x82\xe4\xba\x8c", DIMS(2, 2), FLOATS(1, 0, 0, 1));
    add_floats(m, "b#2", DIMS(2, 2), FLOATS(1, 0, 0, 1));
    add_floats(m, "b", DIMS(2), FLOATS(1, 2));
    add_output(m, "y");
    imported i = import_model(m);
    if (i.status != TL_OK) fail_msg("%s", i.err.text);
    assert_int_equal(tl_graph_param_count(i.graph), 6);
    static const char *const names[] = { "b", "b#2", "b#3", "b#4" };
    for (size_t k = 0; k < TL_COUNT_OF(names); k++)
        assert_int_not_equal(tl_graph_find_param(i.graph, names[k]), SIZE_MAX);
    size_t own = tl_graph_find_param(i.graph, "b#2");
    assert_int_equal(tl_graph_param(i.graph, own)->count, 4);
    imported_free(&i);
    model_free(m);
}

/* Nodes need no names, and may share one. */
static void nodes_may_share_a_name(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2));
    add_node(m, "Gemm", "x,w", "h")->name = text(m, "layer");
    add_node(m, "Gemm", "h,w", "i")->name = text(m, "layer");
    add_node(m, "Relu", "i", "y")->name = NULL;
    add_floats(m, "w", DIMS(2, 2), FLOATS(1, 2, 3, 4));
    add_output(m, "y");
    check_run(m, (const float[]){ 1, 1 }, FLOATS(22, 32));
}

/* "From the last to the first" is INT64_MIN in some exporters' files. */
static void slices_go_backwards_to_the_first(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 3));
    add_node(m, "Slice", "x,starts,ends,axes,steps", "y");
    add_integers(m, "starts", DIMS(-1));
    add_integers(m, "ends", DIMS(INT64_MIN));
    add_integers(m, "axes", DIMS(1));
    add_integers(m, "steps", DIMS(-1));
    add_output(m, "y");
    check_run(m, (const float[]){ 1, 2, 3 }, FLOATS(3, 2, 1));
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
        cmocka_unit_test(odd_names_stay_distinct),
        cmocka_unit_test(nodes_may_share_a_name),
        cmocka_unit_test(slices_go_backwards_to_the_first),
        cmocka_unit_test(reads_the_element_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

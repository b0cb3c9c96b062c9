/* What the exporter writes: names, sizes, and the way back through the importer. That ONNX Runtime
 * computes the same is tests/onnx. */
#include "graph/builder.h"
#include "graph/onnx/test/support.h"

/* Two inputs of two numbers, a table that the second looks up in, two outputs. */
static tl_graph *table_graph(float **flat)
{
    tl_builder *builder;
    tl_graph *graph = NULL;
    const tl_shape two = { .rank = 1, .dim = { 2 } }, rows = { .rank = 2, .dim = { 3, 2 } };
    const float numbers[6] = { 1, 2, 3, 4, 5, 6 };
    assert_int_equal(tl_builder_create(&builder, NULL), TL_OK);
    tl_tensor_index x = tl_builder_input(builder, "x", &two);
    tl_tensor_index at = tl_builder_input(builder, "at", &two);
    tl_tensor_index table = tl_builder_constant(builder, "table", &rows, numbers, true);
    const tl_tensor_index inputs[2] = { table, at };
    tl_attrs attrs = tl_attrs_default(TL_OP_GATHER);
    attrs.axis = 0;
    tl_tensor_index found = tl_builder_node(
        builder, &(tl_node_options){
                     .kind = TL_OP_GATHER, .attrs = &attrs, .inputs = inputs, .input_count = 2 });
    tl_builder_output(builder, tl_builder_gemm(builder, "fc", x, 2));
    tl_builder_output(builder, found);
    tl_error err;
    if (tl_builder_finish(builder, 1, &graph, flat, &err) != TL_OK) fail_msg("%s", err.text);
    tl_builder_destroy(&builder);
    return graph;
}

static tl_status export_as(const tl_onnx_export_options *options, Onnx__ModelProto **out,
                           tl_error *err)
{
    float *flat;
    void *data = NULL;
    size_t bytes = 0;
    tl_graph *graph = table_graph(&flat);
    tl_status status = tl_onnx_export(graph, flat, options, &data, &bytes, err);
    if (status == TL_OK && out != NULL) *out = onnx__model_proto__unpack(NULL, bytes, data);
    free(data);
    free(flat);
    tl_graph_release(&graph);
    return status;
}

static void refuses_names_that_are_taken(void **state)
{
    (void)state;
    static const char *const good[2] = { "a", "b" };
    static const struct {
        const char *inputs[2], *outputs[2], *words;
    } cases[] = {
        { { "a", "a" }, { "b", "c" }, "input 0: another one is named \"a\"" },
        { { "a", "b" }, { "c", "b" }, "input 1: another one is named \"b\"" },
        { { "a", "b" }, { "c", "c" }, "output 0: another one is named \"c\"" },
        { { "a", "" }, { "c", "d" }, "input 1 has an empty name" },
        { { "a", "b" }, { "c", NULL }, "output 1 has an empty name" },
        { { "a", "table" }, { "c", "d" }, "input 1: a parameter is named \"table\"" },
        { { "a", "b" }, { "fc.bias", "d" }, "output 0: a parameter is named \"fc.bias\"" },
    };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        tl_error err;
        const tl_onnx_export_options options = { .input_names = cases[i].inputs,
                                                 .output_names = cases[i].outputs };
        assert_int_equal(export_as(&options, NULL, &err), TL_EINVAL);
        if (strstr(err.text, cases[i].words) == NULL) fail_msg("%s", err.text);
    }
    assert_int_equal(export_as(&(tl_onnx_export_options){ .input_names = good }, NULL, NULL),
                     TL_OK);
}

static size_t uses_of(const Onnx__GraphProto *graph, const char *name)
{
    size_t makers = 0;
    for (size_t i = 0; i < graph->n_input; i++) makers += strcmp(graph->input[i]->name, name) == 0;
    for (size_t i = 0; i < graph->n_initializer; i++)
        makers += strcmp(graph->initializer[i]->name, name) == 0;
    for (size_t i = 0; i < graph->n_node; i++)
        for (size_t k = 0; k < graph->node[i]->n_output; k++)
            makers += strcmp(graph->node[i]->output[k], name) == 0;
    return makers;
}

/* Whatever the caller calls inputs and outputs, each name is made once. */
static void own_names_keep_clear_of_given_ones(void **state)
{
    (void)state;
    static const char *const inputs[2] = { "output", "/gather1/0" };
    static const char *const outputs[2] = { "input1", "/gather1/1" };
    const tl_onnx_export_options cases[] = { { .input_names = inputs },
                                             { .output_names = outputs },
                                             { .input_names = inputs, .output_names = outputs } };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        tl_error err;
        Onnx__ModelProto *file = NULL;
        if (export_as(&cases[i], &file, &err) != TL_OK) fail_msg("%s", err.text);
        const Onnx__GraphProto *graph = file->graph;
        for (size_t k = 0; k < graph->n_input; k++)
            assert_int_equal(uses_of(graph, graph->input[k]->name), 1);
        for (size_t k = 0; k < graph->n_initializer; k++)
            assert_int_equal(uses_of(graph, graph->initializer[k]->name), 1);
        for (size_t k = 0; k < graph->n_node; k++)
            assert_int_equal(uses_of(graph, graph->node[k]->output[0]), 1);
        for (size_t k = 0; k < graph->n_output; k++)
            assert_int_equal(uses_of(graph, graph->output[k]->name), 1);
        onnx__model_proto__free_unpacked(file, NULL);
    }
}

static void says_what_the_file_is(void **state)
{
    (void)state;
    Onnx__ModelProto *file = NULL;
    assert_int_equal(export_as(NULL, &file, NULL), TL_OK);
    assert_int_equal(file->ir_version, 8);
    assert_int_equal(file->n_opset_import, 1);
    assert_int_equal(file->opset_import[0]->version, 17);
    assert_string_equal(file->graph->input[0]->name, "input");
    assert_string_equal(file->graph->output[1]->name, "output1");
    for (size_t i = 0; i < 2; i++) {
        const Onnx__TensorShapeProto *shape = file->graph->input[i]->type->tensor_type->shape;
        assert_int_equal(shape->n_dim, 2);
        assert_string_equal(shape->dim[0]->dim_param, "batch");
        assert_int_equal(shape->dim[1]->dim_value, 2);
    }
    onnx__model_proto__free_unpacked(file, NULL);
}

/* Parameters keep their names, tables that are looked up in too. */
static void comes_back_as_the_same_graph(void **state)
{
    (void)state;
    float *flat;
    void *data = NULL;
    size_t bytes = 0;
    tl_graph *graph = table_graph(&flat);
    assert_int_equal(tl_onnx_export(graph, flat, &(tl_onnx_export_options){ .trainable = true },
                                    &data, &bytes, NULL),
                     TL_OK);
    imported i = import_bytes(data, bytes);
    if (i.status != TL_OK) fail_msg("%s", i.err.text);
    assert_int_equal(tl_graph_param_count(i.graph), tl_graph_param_count(graph));
    for (size_t p = 0; p < tl_graph_param_count(graph); p++) {
        const tl_param *before = tl_graph_param(graph, p);
        const size_t at = tl_graph_find_param(i.graph, before->name);
        if (at == SIZE_MAX) fail_msg("%s is missing", before->name);
        assert_memory_equal(flat + before->offset, i.flat + tl_graph_param(i.graph, at)->offset,
                            before->count * sizeof *flat);
    }
    imported_free(&i);
    free(data);
    free(flat);
    tl_graph_release(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_names_that_are_taken),
        cmocka_unit_test(own_names_keep_clear_of_given_ones),
        cmocka_unit_test(says_what_the_file_is),
        cmocka_unit_test(comes_back_as_the_same_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Order of axes, the two readings of a file, sizes chosen by the caller, constants that are
 * computed, and data beside the file. */
#include "graph/onnx/test/support.h"

#include <sys/stat.h>
#include <unistd.h>

/* [1, 2, 2, 2]: channel 0 is 1 2 / 3 4, channel 1 is 5 6 / 7 8; in [h, w, c] order. */
static const float IMAGE[8] = { 1, 5, 2, 6, 3, 7, 4, 8 };

static void axes_keep_their_meaning(void **state)
{
    (void)state;
    /* As a detector's head: [n, c, h, w] -> [n, c, hw] -> transposed, cut, joined. */
    model *m = model_of(DIMS(0, 2, 2, 2));
    add_node(m, "Reshape", "x,flat", "a");
    add_integers(m, "flat", DIMS(0, 2, -1));
    attr_ints(m, add_node(m, "Transpose", "a", "b"), "perm", DIMS(0, 2, 1));
    attr_int(m, add_node(m, "Split", "b", "c,d"), "axis", 1);
    attr_int(m, add_node(m, "Concat", "d,c", "y"), "axis", 2);
    add_output(m, "y");
    check_run(m, IMAGE, FLOATS(3, 7, 1, 5, 4, 8, 2, 6)); /* [pixel of 2, channels of d and c] */
    /* Channels that a shuffle interleaves: the split axis is transposed and joined again. */
    m = model_of(DIMS(1, 4, 1, 1));
    add_node(m, "Reshape", "x,split", "a");
    add_integers(m, "split", DIMS(1, 2, 2, 1, 1));
    attr_ints(m, add_node(m, "Transpose", "a", "b"), "perm", DIMS(0, 2, 1, 3, 4));
    add_node(m, "Reshape", "b,join", "y");
    add_integers(m, "join", DIMS(1, 4, 1, 1));
    add_output(m, "y");
    check_run(m, (const float[]){ 1, 2, 3, 4 }, FLOATS(1, 3, 2, 4));
}

static void a_file_that_mixes_items_is_read_whole(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        model *m = model_of(DIMS(2, 3));
        add_node(m, "Transpose", "x", "t");
        add_node(m, "MatMul", "t,x", "y");
        add_output(m, "y");
        const float x[6] = { 1, 2, 3, 4, 5, 6 };
        if (i == 0)
            check_mixes(m, "moves the axis of the batch");
        else
            check_run_whole(m, x, FLOATS(17, 22, 27, 22, 29, 36, 27, 36, 45));
    }
}

/* How many of 0, 1, 2 ... for each item there are: only a fixed batch says it. */
static void items_are_counted_whole(void **state)
{
    (void)state;
    model *m = model_of(DIMS(0, 2));
    add_node(m, "Shape", "x", "s");
    add_node(m, "Gather", "s,first", "n");
    add_node(m, "Range", "none,n,one", "r");
    add_node(m, "Size", "r", "k");
    attr_int(m, add_node(m, "Cast", "k", "f"), "to", 1);
    add_node(m, "Mul", "x,f", "y");
    add_init(m, "first", 0, NULL)->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    add_init(m, "none", 0, NULL)->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    add_init(m, "one", 0, NULL)->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    for (size_t i = 0; i < 3; i++) {
        m->inits[i]->n_int64_data = 1;
        m->inits[i]->int64_data = take(m, sizeof(int64_t));
        m->inits[i]->int64_data[0] = i == 2;
    }
    add_output(m, "y");
    check_run_as(m, &(tl_onnx_options){ .batch = 3 }, (const float[]){ 1, 2, 3, 4, 5, 6 },
                 FLOATS(3, 6, 9, 12, 15, 18));
}

static void sizes_are_chosen_by_name_and_place(void **state)
{
    (void)state;
    const tl_onnx_size sizes[2] = { { .name = "any", .size = 3 },
                                    { .input = 0, .axis = 2, .size = 5 } };
    tl_onnx_options options = { .sizes = sizes, .size_count = 2, .batch = 4 };
    model *m = model_of(DIMS(2, 0, 4));
    add_node(m, "Relu", "x", "y");
    add_output(m, "y");
    imported i = import_model_as(m, &options);
    if (i.status != TL_OK) fail_msg("%s", i.err.text);
    const tl_shape wanted = { .rank = 2, .dim = { 3, 5 } };
    assert_true(tl_shape_equal(tl_graph_input_shape(i.graph, 0), &wanted));
    imported_free(&i);
    options.reading = TL_ONNX_WHOLE;
    i = import_model_as(m, &options);
    const tl_shape whole = { .rank = 3, .dim = { 2, 3, 5 } };
    assert_int_equal(i.status, TL_OK);
    assert_true(tl_shape_equal(tl_graph_output_shape(i.graph, 0), &whole));
    imported_free(&i);
    check_refused(m, TL_EINVAL, "dimension 1 is not fixed");
}

static void constants_are_computed(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2));
    add_node(m, "Add", "one,two", "three"); /* integers, beyond what a float holds */
    add_node(m, "Sub", "three,two", "one2");
    add_node(m, "Cast", "one2", "onef");
    attr_int(m, m->nodes[2], "to", 1);
    add_node(m, "Exp", "zero", "e"); /* by the engine */
    add_node(m, "Add", "e,onef", "sum");
    add_node(m, "Mul", "x,sum", "y");
    add_integers(m, "one", DIMS(1));
    add_integers(m, "two", DIMS(INT64_C(1) << 53));
    add_floats(m, "zero", DIMS(1), FLOATS(0));
    add_output(m, "y");
    imported i = import_model(m);
    if (i.status != TL_OK) fail_msg("%s", i.err.text);
    assert_int_equal(tl_graph_param_count(i.graph), 1); /* the factor, no more */
    imported_free(&i);
    check_run(m, (const float[]){ 1, 3 }, FLOATS(2, 6));
}

static void volumes_are_convolved_backwards(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2, 2, 1, 1));
    Onnx__NodeProto *node = add_node(m, "ConvTranspose", "x,w", "y");
    attr_int(m, node, "group", 2);
    attr_ints(m, node, "strides", DIMS(2, 1, 1));
    attr_ints(m, node, "pads", DIMS(1, 0, 0, 1, 0, 0));
    attr_ints(m, node, "output_padding", DIMS(1, 0, 0));
    add_floats(m, "w", DIMS(2, 1, 3, 1, 1), FLOATS(1, 2, 3, 10, 20, 30));
    add_output(m, "y");
    check_run(m, (const float[]){ 1, 2, 1, 3 }, FLOATS(2, 5, 4, 6, 20, 60, 60, 90));
}

static void small_files_do_not_ask_for_much(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        model *m = model_of(DIMS(1, 1));
        add_node(m, i == 1 ? "Expand" : "Tile", i == 2 ? "c,times" : "x,times", "a");
        add_node(m, "Relu", "a", "y");
        add_integers(m, "times", DIMS(1, i == 0 ? INT64_MAX : 1 << 24));
        add_floats(m, "c", 2, (const int64_t[]){ 1, 64 }, 64, (const float[64]){ 0 });
        for (int k = 0; i == 1 && k < 20; k++) { /* each is allowed, together they are not */
            char in[8], out[8];
            snprintf(in, sizeof in, k == 0 ? "a" : "r%d", k - 1);
            snprintf(out, sizeof out, "r%d", k);
            add_node(m, "Relu", in, out);
        }
        if (i == 1) m->nodes[1]->input[0] = text(m, "r19");
        add_output(m, "y");
        imported im = import_model(m);
        assert_int_not_equal(im.status, TL_OK);
        assert_true(i == 0 ? im.status == TL_EUNSUPPORTED : im.status == TL_ELIMIT);
        model_free(m);
    }
}

static void the_head_may_be_a_convolution(void **state)
{
    (void)state;
    model *m = model_of(DIMS(1, 2, 2, 2));
    add_node(m, "GlobalAveragePool", "x", "p");
    add_node(m, "Conv", "p,w,b", "c");
    add_node(m, "Flatten", "c", "f");
    add_node(m, "Softmax", "f", "y");
    add_floats(m, "w", DIMS(3, 2, 1, 1), FLOATS(1, 2, 3, 4, 5, 6));
    add_floats(m, "b", DIMS(3), FLOATS(0, 0, 0));
    add_output(m, "y");
    imported i = import_model(m);
    if (i.status != TL_OK) fail_msg("%s", i.err.text);
    assert_int_equal(tl_graph_feature_count(i.graph), 2);
    imported_free(&i);
    model_free(m);
}

/* ---- Data beside the file ---------------------------------------------------------------------
 */

static void external(model *m, Onnx__TensorProto *tensor, const char *location, const char *offset)
{
    const char *const pairs[2][2] = { { "location", location }, { "offset", offset } };
    tensor->n_float_data = 0;
    tensor->has_data_location = 1;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    tensor->n_external_data = 2;
    tensor->external_data = take(m, 2 * sizeof *tensor->external_data);
    for (int i = 0; i < 2; i++) {
        Onnx__StringStringEntryProto *entry = take(m, sizeof *entry);
        onnx__string_string_entry_proto__init(entry);
        entry->key = text(m, pairs[i][0]);
        entry->value = text(m, pairs[i][1]);
        tensor->external_data[i] = entry;
    }
}

static void write_file(const char *folder, const char *name, const void *data, size_t bytes)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* Import a model whose bias lies at `location` from `offset` on. */
static tl_status import_external(const char *folder, const char *location, const char *offset,
                                 float *first)
{
    model *m = model_of(DIMS(1, 2));
    char path[256];
    size_t bytes;
    tl_graph *graph = NULL;
    float *flat = NULL;
    add_node(m, "Gemm", "x,w,b", "y");
    add_floats(m, "w", DIMS(2, 2), FLOATS(1, 2, 3, 4));
    external(m, add_floats(m, "b", DIMS(2), FLOATS(0, 0)), location, offset);
    add_output(m, "y");
    uint8_t *data = pack(m, &bytes);
    write_file(folder, "model.onnx", data, bytes);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    tl_error err;
    tl_status status = tl_onnx_import_file(path, NULL, &graph, &flat, &err);
    if (status == TL_OK)
        *first = flat[tl_graph_param(graph, tl_graph_find_param(graph, "b"))->offset];
    tl_graph_release(&graph);
    free(flat);
    free(data);
    model_free(m);
    return status;
}

static void data_may_lie_beside_the_file(void **state)
{
    (void)state;
    char top[] = "/tmp/tl_onnx_XXXXXX", folder[64], inside[96], path[128];
    const float numbers[3] = { 7, 8, 9 };
    float first = 0;
    assert_non_null(mkdtemp(top));
    snprintf(folder, sizeof folder, "%s/model", top);
    snprintf(inside, sizeof inside, "%s/parts", folder);
    assert_int_equal(mkdir(folder, 0700) | mkdir(inside, 0700), 0);
    write_file(top, "outside", numbers, sizeof numbers);
    write_file(inside, "numbers", numbers, sizeof numbers);
    snprintf(path, sizeof path, "%s/link", folder);
    assert_int_equal(symlink("../outside", path), 0);
    assert_int_equal(import_external(folder, "parts/numbers", "4", &first), TL_OK);
    assert_true(first == 8);
    assert_int_equal(import_external(folder, "parts/numbers", "8", &first), TL_EINVAL);
    assert_int_equal(import_external(folder, "parts/numbers", "13", &first), TL_EINVAL);
    assert_int_equal(import_external(folder, "parts/numbers", "-4", &first), TL_EINVAL);
    assert_int_equal(import_external(folder, "../outside", "4", &first), TL_EUNSUPPORTED);
    assert_int_equal(import_external(folder, "parts/../../outside", "4", &first), TL_EUNSUPPORTED);
    assert_int_equal(import_external(folder, "/etc/hostname", "0", &first), TL_EUNSUPPORTED);
    assert_int_equal(import_external(folder, "link", "4", &first), TL_EIO);
    snprintf(path, sizeof path, "%s/way", folder);
    assert_int_equal(symlink("..", path), 0);
    assert_int_equal(import_external(folder, "way/outside", "4", &first), TL_EIO);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(import_external(folder, "pipe", "0", &first), TL_EINVAL); /* nobody waits */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(import_external(folder, "parts/numbers/", "4", &first), TL_EIO);
    assert_int_equal(import_external(folder, "", "4", &first), TL_EINVAL);
    assert_int_equal(import_external(folder, "parts/numbers", "18446744073709551615", &first),
                     TL_EINVAL);
    assert_int_equal(import_external(folder, "parts/numbers", "18446744073709551616", &first),
                     TL_EINVAL);
    assert_int_equal(import_external(folder, "missing", "4", &first), TL_ENOTFOUND);
    assert_int_equal(import_external(folder, "parts", "0", &first), TL_EINVAL);
    static const char *const paths[] = { "model/parts/numbers", "model/link", "model/model.onnx",
                                         "outside" };
    for (size_t i = 0; i < TL_COUNT_OF(paths); i++) {
        snprintf(path, sizeof path, "%s/%s", top, paths[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(inside) | rmdir(folder) | rmdir(top), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_keep_their_meaning),
        cmocka_unit_test(a_file_that_mixes_items_is_read_whole),
        cmocka_unit_test(items_are_counted_whole),
        cmocka_unit_test(sizes_are_chosen_by_name_and_place),
        cmocka_unit_test(constants_are_computed),
        cmocka_unit_test(volumes_are_convolved_backwards),
        cmocka_unit_test(small_files_do_not_ask_for_much),
        cmocka_unit_test(the_head_may_be_a_convolution),
        cmocka_unit_test(data_may_lie_beside_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

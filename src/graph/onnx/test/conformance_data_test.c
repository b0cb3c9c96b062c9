/* ONNX's own tests of single operators and small networks (data/fixtures/onnx-conformance): each is
 * either computed right or refused with a reason; none is computed wrong. Of the core tests those
 * that are refused are listed below.
 *
 * The tests feed everything as inputs of the graph, weights, sizes and axes too. What the engine
 * takes only as a constant becomes an initializer, as in files that people have: first the inputs
 * stay inputs, then those of integers become initializers, then all but the first, then all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/file.h"
#include "graph/onnx/import/internal.h"

#define FOLDER  TL_SHARED_DATA "/fixtures/onnx-conformance"
#define ARCHIVE FOLDER "/onnx-1.17.0-tests.tar.xz"

enum {
    PARTS_MAX = 16, /* inputs, and outputs, of a test */
    ARCHIVE_BYTES_MAX = 1 << 27,
    CORE = 341, /* tests */
    TAR_BLOCK = 512,
    TAR_KIND = 156 /* in the header */
};

/* ONNX's own tolerance. */
static const double RELATIVE = 1e-3, ABSOLUTE = 1e-7;

/* ---- The archive ------------------------------------------------------------------------------
 */

typedef struct bytes {
    const uint8_t *data;
    size_t count;
} bytes;

static uint8_t *read_archive(size_t *count)
{
    FILE *pipe = popen("xz -dc '" ARCHIVE "'", "r");
    assert_non_null(pipe);
    uint8_t *data = malloc(ARCHIVE_BYTES_MAX);
    assert_non_null(data);
    *count = fread(data, 1, ARCHIVE_BYTES_MAX, pipe);
    assert_true(feof(pipe));
    assert_int_equal(pclose(pipe), 0);
    return data;
}

/* Does the header at `at` name that path? A path of over 100 bytes is in a header of its own before. */
static bool names(bytes tar, size_t at, size_t size, const char *path)
{
    const char *name = (const char *)tar.data + at;
    if (name[TAR_KIND] != 'x') {
        if (strncmp(name, "./", 2) == 0) name += 2;
        return strcmp(name, path) == 0;
    }
    char record[512];
    int length = snprintf(record, sizeof record, "path=%s\n", path);
    return memmem(name + TAR_BLOCK, size, record, (size_t)length) != NULL;
}

static size_t size_at(bytes tar, size_t at)
{
    return strtoull((const char *)tar.data + at + 124, NULL, 8);
}

static size_t after(size_t at, size_t size)
{
    return at + TAR_BLOCK + (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

/* The file of that path in a tar archive; {NULL, 0} when there is none. Files lie in the order of
 * their folders, so the search goes on from *hint and starts over at the end. */
static bytes find_file(bytes tar, const char *path, size_t *hint)
{
    size_t start = *hint, at = start;
    bool wrapped = false;
    while (!wrapped || at < start) {
        if (at + TAR_BLOCK > tar.count || tar.data[at] == '\0') {
            if (wrapped) break;
            wrapped = true;
            at = 0;
            continue;
        }
        size_t size = size_at(tar, at);
        if (names(tar, at, size, path)) {
            *hint = at;
            if (tar.data[at + TAR_KIND] == 'x') at = after(at, size);
            return (bytes){ tar.data + at + TAR_BLOCK, size_at(tar, at) };
        }
        at = after(at, size);
    }
    return (bytes){ NULL, 0 };
}

/* ---- One test ---------------------------------------------------------------------------------
 */

typedef enum verdict { PASSED, REFUSED, WRONG, VERDICT_COUNT } verdict;

/* Which inputs become initializers. */
typedef enum binding { BIND_NONE, BIND_INTEGERS, BIND_REST, BIND_ALL, BINDING_COUNT } binding;

typedef struct example {
    Onnx__ModelProto *model;
    Onnx__TensorProto *inputs[PARTS_MAX], *outputs[PARTS_MAX]; /* NULL where bound */
    size_t input_count, output_count;
} example;

static size_t load_tensors(bytes tar, const char *name, const char *kind, size_t *hint,
                           Onnx__TensorProto **out)
{
    size_t count = 0;
    for (; count < PARTS_MAX; count++) {
        char path[256];
        snprintf(path, sizeof path, "%s/test_data_set_0/%s_%zu.pb", name, kind, count);
        bytes file = find_file(tar, path, hint);
        if (file.data == NULL) break;
        out[count] = onnx__tensor_proto__unpack(NULL, file.count, file.data);
        assert_non_null(out[count]);
    }
    return count;
}

static bool is_initializer(const Onnx__GraphProto *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (strcmp(graph->initializer[i]->name, name) == 0) return true;
    return false;
}

static bool binds(binding how, size_t index, const Onnx__TensorProto *tensor)
{
    if (how == BIND_INTEGERS) return index > 0 && !onnx_type_is_float(tensor->data_type);
    return how == BIND_ALL || (how == BIND_REST && index > 0);
}

/* Inputs become initializers; the others keep their order. False when one is no tensor. */
static bool bind_inputs(example *e, binding how)
{
    Onnx__GraphProto *graph = e->model->graph;
    size_t fed = 0, added = graph->n_initializer, kept = 0;
    bool whole = true;
    graph->initializer = realloc(graph->initializer,
                                 (graph->n_initializer + PARTS_MAX) * sizeof *graph->initializer);
    assert_non_null(graph->initializer);
    for (size_t i = 0; i < graph->n_input && fed < e->input_count; i++) {
        if (is_initializer(graph, graph->input[i]->name)) continue;
        Onnx__TensorProto *tensor = e->inputs[fed++];
        if (!binds(how, fed - 1, tensor)) {
            e->inputs[kept++] = tensor;
            continue;
        }
        onnx_dims dims;
        whole = whole && onnx_tensor_check(tensor, "input", &dims, NULL) == TL_OK;
        free(tensor->name);
        tensor->name = strdup(graph->input[i]->name);
        graph->initializer[added++] = tensor; /* the model's now */
    }
    for (size_t i = kept; i < e->input_count; i++) e->inputs[i] = NULL;
    e->input_count = kept;
    graph->n_initializer = added;
    return whole;
}

static void example_free(example *e)
{
    onnx__model_proto__free_unpacked(e->model, NULL);
    for (size_t i = 0; i < PARTS_MAX; i++) {
        if (e->inputs[i] != NULL) onnx__tensor_proto__free_unpacked(e->inputs[i], NULL);
        if (e->outputs[i] != NULL) onnx__tensor_proto__free_unpacked(e->outputs[i], NULL);
    }
}

/* Position in [n, h, w, c] of number `index` of [n, c, h, w]; other ranks lie as in the file. */
static size_t place(const onnx_dims *dims, size_t index)
{
    if (dims->rank != 4) return index;
    size_t channels = dims->dim[1], pixels = (size_t)dims->dim[2] * dims->dim[3];
    size_t pixel = index % pixels, rest = index / pixels;
    return (rest / channels * pixels + pixel) * channels + rest % channels;
}

static bool agrees(const float *ours, size_t count, const Onnx__TensorProto *wanted)
{
    onnx_dims dims;
    if (onnx_tensor_check(wanted, "output", &dims, NULL) != TL_OK || dims.count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        double a = (double)ours[place(&dims, i)], b = onnx_tensor_number(wanted, i);
        if (a == b || (isnan(a) && isnan(b))) continue;
        if (!(fabs(a - b) <= ABSOLUTE + RELATIVE * fabs(b))) return false;
    }
    return true;
}

/* Items in the batch: the first size, or 1 where the graph takes the whole tensor as an item. */
static uint32_t batch_of(const example *e, const tl_graph *graph)
{
    onnx_dims dims;
    if (e->input_count == 0) return 1;
    if (onnx_tensor_check(e->inputs[0], "input", &dims, NULL) != TL_OK) return 1;
    return tl_graph_input_shape(graph, 0)->rank < dims.rank ? dims.dim[0] : 1;
}

static bool feed(const example *e, tl_graph *graph, tl_plan *plan, uint32_t batch)
{
    if (tl_graph_input_count(graph) != e->input_count) return false;
    for (size_t i = 0; i < e->input_count; i++) {
        onnx_dims dims;
        if (onnx_tensor_check(e->inputs[i], "input", &dims, NULL) != TL_OK) return false;
        if (dims.count != batch * tl_shape_count(tl_graph_input_shape(graph, i))) return false;
        for (size_t k = 0; k < dims.count; k++)
            tl_plan_input(plan, i)[place(&dims, k)] = (float)onnx_tensor_number(e->inputs[i], k);
    }
    return true;
}

static verdict run_graph(const example *e, tl_graph *graph, const float *flat, tl_error *err)
{
    tl_plan *plan = NULL;
    tl_weights *weights = NULL;
    uint32_t batch = batch_of(e, graph);
    tl_plan_options options = { .batch_max = batch, .mode = TL_PLAN_INFER, .threads = 1 };
    tl_status status = tl_plan_create(graph, &options, &plan, err);
    if (status == TL_OK) status = tl_weights_create(graph, flat, &weights, err);
    bool right = status == TL_OK && feed(e, graph, plan, batch) &&
                 tl_graph_output_count(graph) == e->output_count;
    if (right) right = tl_plan_infer(plan, weights, batch, err) == TL_OK;
    if (right) tl_fail(err, TL_EINVAL, "numbers differ");
    for (size_t i = 0; right && i < e->output_count; i++)
        right = agrees(tl_plan_output(plan, i),
                       batch * tl_shape_count(tl_graph_output_shape(graph, i)), e->outputs[i]);
    tl_plan_destroy(&plan);
    tl_weights_release(&weights);
    return right ? PASSED : status == TL_EUNSUPPORTED ? REFUSED : WRONG;
}

static verdict run_bound(bytes tar, const char *name, size_t *hint, binding how, tl_error *err)
{
    char path[256];
    snprintf(path, sizeof path, "%s/model.onnx", name);
    bytes file = find_file(tar, path, hint);
    assert_non_null(file.data);
    example e = { .model = onnx__model_proto__unpack(NULL, file.count, file.data) };
    assert_non_null(e.model);
    e.input_count = load_tensors(tar, name, "input", hint, e.inputs);
    e.output_count = load_tensors(tar, name, "output", hint, e.outputs);
    if (!bind_inputs(&e, how)) {
        example_free(&e);
        return REFUSED;
    }
    size_t count = onnx__model_proto__get_packed_size(e.model);
    uint8_t *data = malloc(count + 1);
    assert_non_null(data);
    onnx__model_proto__pack(e.model, data);
    tl_graph *graph;
    float *flat;
    tl_status status = tl_onnx_import(data, count, NULL, &graph, &flat, err);
    free(data);
    verdict v = status == TL_EUNSUPPORTED ? REFUSED : WRONG;
    if (status == TL_OK) {
        v = run_graph(&e, graph, flat, err);
        tl_graph_release(&graph);
        free(flat);
    }
    example_free(&e);
    return v;
}

static verdict run_example(bytes tar, const char *name, size_t *hint, binding *how, tl_error *err)
{
    verdict v = REFUSED;
    for (int i = 0; v == REFUSED && i < BINDING_COUNT; i++) {
        *how = (binding)i;
        v = run_bound(tar, name, hint, *how, err);
    }
    return v;
}

/* ---- All of them ------------------------------------------------------------------------------
 */

/* Core tests that do not pass, and why. All are refused but one, in which what is wanted contradicts
 * PyTorch and ONNX Runtime, whom the engine follows. */
typedef struct exception {
    const char *name, *reason;
    bool differs;
} exception;

static const exception EXCEPTIONS[] = {
    { "node/test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
      "counts what lies past the padding", true },
    { "node/test_maxpool_with_argmax_2d_precomputed_pads", "indices of a MaxPool", false },
    { "node/test_maxpool_with_argmax_2d_precomputed_strides", "indices of a MaxPool", false },
    { "node/test_reshape_allowzero_reordered", "an empty tensor", false },
    { "node/test_slice_start_out_of_bounds", "an empty tensor", false },
    { "node/test_split_zero_size_splits_opset13", "an empty tensor", false },
    { "node/test_split_zero_size_splits_opset18", "an empty tensor", false },
};

static const exception *exception_of(const char *name)
{
    for (size_t i = 0; i < TL_COUNT_OF(EXCEPTIONS); i++)
        if (strcmp(EXCEPTIONS[i].name, name) == 0) return &EXCEPTIONS[i];
    return NULL;
}

/* The next column of a line of the list, which holds no quotes. */
static bool take_column(char **line, char **out)
{
    *out = *line;
    if (**line == '\0') return false;
    size_t length = strcspn(*line, ",\r\n");
    bool more = (*line)[length] == ',';
    (*line)[length] = '\0';
    *line += length + (more ? 1 : 0);
    return true;
}

typedef struct tally {
    size_t verdicts[VERDICT_COUNT], bound[BINDING_COUNT];
} tally;

static void report(const char *what, const tally *t)
{
    print_message("%s: %zu passed (%zu with all inputs as inputs, %zu with those of integers "
                  "constant, %zu with all but the first, %zu with all), %zu refused, %zu wrong\n",
                  what, t->verdicts[PASSED], t->bound[BIND_NONE], t->bound[BIND_INTEGERS],
                  t->bound[BIND_REST], t->bound[BIND_ALL], t->verdicts[REFUSED],
                  t->verdicts[WRONG]);
}

static void tests_are_right_or_refused(void **state)
{
    (void)state;
    size_t tar_bytes, hint = 0, surprises = 0;
    tally core = { { 0 }, { 0 } }, rest = { { 0 }, { 0 } };
    uint8_t *tar = read_archive(&tar_bytes);
    FILE *list = fopen(FOLDER "/index.csv", "r");
    assert_non_null(list);
    bool verbose = getenv("TL_TEST_VERBOSE") != NULL;
    char line[1024];
    while (fgets(line, sizeof line, list) != NULL) {
        char *at = line, *columns[8] = { NULL };
        size_t count = 0;
        while (count < 8 && take_column(&at, &columns[count])) count++;
        if (count < 8 || strcmp(columns[0], "suite") == 0) continue;
        char name[256];
        snprintf(name, sizeof name, "%s/%s", columns[0], columns[1]);
        tl_error err = { .text = "" };
        binding how;
        bool is_core = strcmp(columns[7], "1") == 0;
        tally *t = is_core ? &core : &rest;
        verdict v = run_example((bytes){ tar, tar_bytes }, name, &hint, &how, &err);
        t->verdicts[v]++;
        if (v == PASSED) t->bound[how]++;
        const exception *known = is_core ? exception_of(name) : NULL;
        verdict wanted = known == NULL ? PASSED : known->differs ? WRONG : REFUSED;
        bool surprise = is_core ? v != wanted : v == WRONG;
        surprises += surprise;
        if (surprise || known != NULL || verbose)
            print_message("%s %s: %s\n",
                          v == PASSED  ? "passed"
                          : v == WRONG ? "WRONG"
                                       : "refused",
                          name,
                          v == PASSED     ? ""
                          : known != NULL ? known->reason
                                          : err.text);
    }
    fclose(list);
    free(tar);
    report("core", &core);
    report("the rest", &rest);
    assert_int_equal(surprises, 0);
    assert_int_equal(core.verdicts[PASSED], CORE - TL_COUNT_OF(EXCEPTIONS));
}

int main(void)
{
    if (access(ARCHIVE, R_OK) != 0 || system("command -v xz > /dev/null") != 0) return 77;
    const struct CMUnitTest tests[] = { cmocka_unit_test(tests_are_right_or_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

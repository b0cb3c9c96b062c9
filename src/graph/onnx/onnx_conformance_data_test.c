/* ONNX's own tests of single operators and small networks (data/fixtures/onnx-conformance): each is
 * either computed right or refused with a reason; none is computed wrong.
 *
 * Those tests feed weights as inputs of the graph. Here every input but the first becomes an
 * initializer, as in files that people have. */
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
#include "graph/onnx/onnx_internal.h"

#define FOLDER  TL_SHARED_DATA "/fixtures/onnx-conformance"
#define ARCHIVE FOLDER "/onnx-1.17.0-tests.tar.xz"

enum {
    PARTS_MAX = 16, /* inputs, and outputs, of a test */
    ARCHIVE_BYTES_MAX = 1 << 27,
    TAR_BLOCK = 512,
    PASSED_MIN = 60 /* of the 341 core tests */
};

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
        size_t size = strtoull((const char *)tar.data + at + 124, NULL, 8);
        const uint8_t *body = tar.data + at + TAR_BLOCK;
        const char *name = (const char *)tar.data + at;
        if (strncmp(name, "./", 2) == 0) name += 2;
        if (strcmp(name, path) == 0) {
            *hint = at;
            return (bytes){ body, size };
        }
        at += TAR_BLOCK + (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
    }
    return (bytes){ NULL, 0 };
}

/* ---- One test ---------------------------------------------------------------------------------
 */

typedef enum verdict { PASSED, REFUSED, WRONG, VERDICT_COUNT } verdict;

typedef struct example {
    Onnx__ModelProto *model;
    Onnx__TensorProto *inputs[PARTS_MAX], *outputs[PARTS_MAX];
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

/* Every input that the test feeds, but the first, becomes an initializer of that value. */
static void bind_inputs(example *e)
{
    Onnx__GraphProto *graph = e->model->graph;
    size_t fed = 0, added = graph->n_initializer;
    graph->initializer = realloc(graph->initializer,
                                 (graph->n_initializer + PARTS_MAX) * sizeof *graph->initializer);
    assert_non_null(graph->initializer);
    for (size_t i = 0; i < graph->n_input && fed < e->input_count; i++) {
        if (is_initializer(graph, graph->input[i]->name)) continue;
        Onnx__TensorProto *tensor = e->inputs[fed++];
        if (fed == 1) continue;
        free(tensor->name);
        tensor->name = strdup(graph->input[i]->name);
        graph->initializer[added++] = tensor;
        e->inputs[fed - 1] = NULL; /* the model's now */
    }
    graph->n_initializer = added;
}

static void example_free(example *e)
{
    onnx__model_proto__free_unpacked(e->model, NULL);
    for (size_t i = 0; i < PARTS_MAX; i++) {
        if (e->inputs[i] != NULL) onnx__tensor_proto__free_unpacked(e->inputs[i], NULL);
        if (e->outputs[i] != NULL) onnx__tensor_proto__free_unpacked(e->outputs[i], NULL);
    }
}

static onnx_item item_of(const tl_shape *shape)
{
    if (shape->rank == 3) return (onnx_item){ shape->dim[2], shape->dim[0], shape->dim[1] };
    return (onnx_item){ shape->dim[0], 1, 1 };
}

/* Position in [n, h, w, c] of number `index` of [n, c, h, w]. */
static size_t place(onnx_item item, size_t index)
{
    size_t pixels = (size_t)item.h * item.w, pixel = index % pixels, rest = index / pixels;
    return (rest / item.c * pixels + pixel) * item.c + rest % item.c;
}

static bool agrees(const float *ours, const tl_shape *shape, uint32_t batch,
                   const Onnx__TensorProto *wanted)
{
    onnx_dims dims;
    if (onnx_tensor_check(wanted, "output", &dims, NULL) != TL_OK) return false;
    if (dims.count != batch * tl_shape_count(shape)) return false;
    for (size_t i = 0; i < dims.count; i++) {
        double a = (double)ours[place(item_of(shape), i)], b = onnx_tensor_number(wanted, i);
        if (!(fabs(a - b) <= 1e-5 + 1e-3 * fabs(b))) return false;
    }
    return true;
}

static verdict run_plan(const example *e, tl_graph *graph, tl_plan *plan, const float *flat,
                        uint32_t batch, tl_error *err)
{
    tl_weights *weights;
    if (tl_weights_create(graph, flat, &weights, err) != TL_OK) return WRONG;
    const tl_shape *shape = tl_graph_input_shape(graph, 0);
    size_t count = batch * tl_shape_count(shape);
    for (size_t i = 0; i < count; i++)
        tl_plan_input(plan, 0)[place(item_of(shape), i)] =
            (float)onnx_tensor_number(e->inputs[0], i);
    bool right = tl_plan_infer(plan, weights, batch, err) == TL_OK;
    if (right) tl_fail(err, TL_EINVAL, "numbers differ");
    for (size_t i = 0; right && i < tl_graph_output_count(graph); i++)
        right =
            i < e->output_count &&
            agrees(tl_plan_output(plan, i), tl_graph_output_shape(graph, i), batch, e->outputs[i]);
    tl_weights_release(&weights);
    return right ? PASSED : WRONG;
}

static verdict run_graph(const example *e, tl_graph *graph, const float *flat, tl_error *err)
{
    onnx_dims dims;
    if (tl_graph_input_count(graph) == 0) { /* constants only: nothing to serve */
        tl_fail(err, TL_EUNSUPPORTED, "no input");
        return REFUSED;
    }
    if (onnx_tensor_check(e->inputs[0], "input", &dims, err) != TL_OK || dims.rank < 2)
        return WRONG;
    uint32_t batch = dims.dim[0];
    if (dims.count != batch * tl_shape_count(tl_graph_input_shape(graph, 0))) return WRONG;
    tl_plan *plan;
    tl_plan_options options = { .batch_max = batch, .mode = TL_PLAN_INFER, .threads = 1 };
    tl_status status = tl_plan_create(graph, &options, &plan, err);
    if (status != TL_OK) return status == TL_EUNSUPPORTED ? REFUSED : WRONG;
    verdict v = run_plan(e, graph, plan, flat, batch, err);
    tl_plan_destroy(&plan);
    return v;
}

static verdict run_example(bytes tar, const char *name, size_t *hint, tl_error *err)
{
    char path[256];
    snprintf(path, sizeof path, "%s/model.onnx", name);
    bytes file = find_file(tar, path, hint);
    assert_non_null(file.data);
    example e = { .model = onnx__model_proto__unpack(NULL, file.count, file.data) };
    assert_non_null(e.model);
    e.input_count = load_tensors(tar, name, "input", hint, e.inputs);
    e.output_count = load_tensors(tar, name, "output", hint, e.outputs);
    bind_inputs(&e);
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

/* ---- All of them ------------------------------------------------------------------------------
 */

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

static void core_tests_are_right_or_refused(void **state)
{
    (void)state;
    size_t tar_bytes, hint = 0, counts[VERDICT_COUNT] = { 0 };
    uint8_t *tar = read_archive(&tar_bytes);
    FILE *list = fopen(FOLDER "/index.csv", "r");
    assert_non_null(list);
    bool verbose = getenv("TL_TEST_VERBOSE") != NULL;
    char line[1024];
    while (fgets(line, sizeof line, list) != NULL) {
        char *at = line, *columns[8] = { NULL };
        size_t count = 0;
        while (count < 8 && take_column(&at, &columns[count])) count++;
        if (count < 8 || strcmp(columns[7], "1") != 0) continue;
        char name[256];
        snprintf(name, sizeof name, "%s/%s", columns[0], columns[1]);
        tl_error err = { .text = "" };
        verdict v = run_example((bytes){ tar, tar_bytes }, name, &hint, &err);
        counts[v]++;
        if (v == WRONG || verbose)
            print_message("%s %s: %s\n",
                          v == PASSED  ? "passed"
                          : v == WRONG ? "WRONG"
                                       : "refused",
                          name, v == PASSED ? "" : err.text);
    }
    fclose(list);
    free(tar);
    print_message("%zu passed, %zu refused, %zu wrong\n", counts[PASSED], counts[REFUSED],
                  counts[WRONG]);
    assert_int_equal(counts[WRONG], 0);
    assert_true(counts[PASSED] >= PASSED_MIN);
}

int main(void)
{
    if (access(ARCHIVE, R_OK) != 0 || system("command -v xz > /dev/null") != 0) return 77;
    const struct CMUnitTest tests[] = { cmocka_unit_test(core_tests_are_right_or_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

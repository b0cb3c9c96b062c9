/* Three training steps on the fixtures' networks end where PyTorch's do (cross-entropy, SGD with
 * momentum; data/fixtures/README.md). */
#include "learn/train/step.h"

#include "format/file.h"
#include "format/npy.h"
#include "graph/onnx.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BATCH = 4, STEPS = 3 };

static char *load(const char *network, const char *name, size_t *bytes)
{
    char path[512];
    void *data = NULL;
    tl_error err = { 0 };
    snprintf(path, sizeof path, "%s/fixtures/%s/%s", TL_SHARED_DATA, network, name);
    if (tl_file_read(path, 1 << 28, &data, bytes, &err) != TL_OK) fail_msg("%s", err.text);
    return data;
}

/* batch_x.npy is [n, c, h, w]; inputs are [n, h, w, c]. */
static void fill_input(const char *network, tl_graph *graph, float *input)
{
    size_t bytes = 0;
    char *data = load(network, "batch_x.npy", &bytes);
    tl_npy array;
    const tl_shape *shape = tl_graph_input_shape(graph, 0);
    size_t channels = tl_shape_channels(shape), pixels = tl_shape_pixels(shape);
    assert_int_equal(tl_npy_parse(data, bytes, &array, NULL), TL_OK);
    assert_int_equal(array.count, BATCH * channels * pixels);
    for (size_t i = 0; i < array.count; i++) {
        size_t item = i / (channels * pixels), channel = i / pixels % channels, p = i % pixels;
        input[(item * pixels + p) * channels + channel] = (float)tl_npy_number(&array, i);
    }
    free(data);
}

/* The distance of all parameters to those of the archive over the length of the way to them. */
static double distance_left(const char *network, const char *archive_name, const tl_graph *graph,
                            const float *flat, const float *start)
{
    size_t bytes = 0;
    char *data = load(network, archive_name, &bytes);
    tl_npz archive;
    double error = 0, way = 0;
    assert_int_equal(tl_npz_open(data, bytes, &archive, NULL), TL_OK);
    for (size_t i = 0; i < tl_graph_param_count(graph); i++) {
        const tl_param *param = tl_graph_param(graph, i);
        tl_npy array;
        assert_int_equal(tl_npz_find(&archive, param->name, &array, NULL), TL_OK);
        assert_int_equal(array.count, param->count);
        for (size_t k = 0; k < param->count; k++) {
            double wanted = tl_npy_number(&array, k), at = (double)flat[param->offset + k];
            error += (at - wanted) * (at - wanted);
            way += pow((double)start[param->offset + k] - wanted, 2);
        }
    }
    free(data);
    assert_true(way > 0);
    return sqrt(error / way);
}

static void check(const char *network, bool live)
{
    char model[64];
    size_t bytes = 0;
    tl_graph *graph = NULL;
    float *flat = NULL, *start;
    tl_step *step = NULL;
    tl_optimizer *optimizer = NULL;
    uint32_t labels[BATCH];
    snprintf(model, sizeof model, "%s.train.onnx", network);
    char *data = load(network, model, &bytes);
    assert_int_equal(tl_onnx_import(data, bytes, NULL, &graph, &flat, NULL), TL_OK);
    free(data);
    start = malloc(tl_graph_float_count(graph) * sizeof *start);
    memcpy(start, flat, tl_graph_float_count(graph) * sizeof *start);
    data = load(network, "batch_y.npy", &bytes);
    tl_npy array;
    assert_int_equal(tl_npy_parse(data, bytes, &array, NULL), TL_OK);
    for (size_t i = 0; i < BATCH; i++) labels[i] = (uint32_t)tl_npy_integer(&array, i);
    free(data);
    const tl_step_options options = {
        .task = TL_TASK_CLASSIFY, .batch = BATCH, .live_norm = live, .threads = 1
    };
    tl_optimizer_options sgd = tl_optimizer_options_default(TL_OPTIMIZER_SGD);
    sgd.nesterov = false;
    sgd.weight_decay = 0;
    assert_int_equal(tl_step_create(graph, &options, &step, NULL), TL_OK);
    assert_int_equal(tl_optimizer_create(graph, &sgd, &optimizer, NULL), TL_OK);
    const tl_step_targets targets = { .labels = labels };
    const tl_step_update update = { .optimizer = optimizer, .rate = 0.01 };
    for (int s = 0; s < STEPS; s++) {
        tl_step_loss loss;
        fill_input(network, graph, tl_plan_input(tl_step_plan(step), 0));
        assert_int_equal(tl_step_gradient(step, flat, &targets, &loss, NULL), TL_OK);
        assert_int_equal(tl_step_apply(step, &update, flat, NULL), TL_OK);
    }
    /* The running statistics in the file have seen one more forward pass. */
    fill_input(network, graph, tl_plan_input(tl_step_plan(step), 0));
    assert_int_equal(tl_plan_train_forward(tl_step_plan(step), flat, BATCH, NULL), TL_OK);
    double left =
        distance_left(network, live ? "after3_live.npz" : "after3_frozen.npz", graph, flat, start);
    print_message("%s %s: %.2g of the way is missing\n", network, live ? "live" : "frozen", left);
    assert_true(left < 1e-3); /* float32 against float64 in PyTorch: up to 5e-4 */
    tl_step_destroy(&step);
    tl_optimizer_destroy(&optimizer);
    tl_graph_release(&graph);
    free(flat);
    free(start);
}

static void three_steps_end_where_pytorchs_do(void **state)
{
    (void)state;
    static const char *const NETWORKS[] = { "tiny_cnn", "pcb_cnn" };
    for (size_t i = 0; i < TL_COUNT_OF(NETWORKS); i++) {
        check(NETWORKS[i], false);
        check(NETWORKS[i], true);
    }
}

int main(void)
{
    if (access(TL_SHARED_DATA "/fixtures/tiny_cnn", R_OK) != 0) {
        print_message("skipped: no fixtures in " TL_SHARED_DATA "\n");
        return 77;
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(three_steps_end_where_pytorchs_do) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

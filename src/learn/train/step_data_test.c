/* Three training steps on the fixtures' networks end where PyTorch's do (cross-entropy, SGD with
 * momentum; data/fixtures/README.md). */
#include "learn/train/step.h"

#include "graph/onnx/test/shared_data.h"

enum { BATCH = 4, STEPS = 3 };

static data_file load(const char *network, const char *file)
{
    char name[DATA_NAME_BYTES];
    snprintf(name, sizeof name, "fixtures/%s/%s", network, file);
    return data_load(name);
}

static void fill_input(const char *network, tl_graph *graph, float *input)
{
    char name[DATA_NAME_BYTES];
    snprintf(name, sizeof name, "fixtures/%s/batch_x.npy", network);
    data_numbers x = data_read(name);
    assert_int_equal(x.count, BATCH * tl_shape_count(tl_graph_input_shape(graph, 0)));
    memcpy(input, x.values, x.count * sizeof *input);
    free(x.values);
}

/* The distance of all parameters to those of the archive over the length of the way to them. */
static double distance_left(const char *network, const char *archive_name, const tl_graph *graph,
                            const float *flat, const float *start)
{
    data_file f = load(network, archive_name);
    tl_npz archive;
    double error = 0, way = 0;
    assert_int_equal(tl_npz_open(f.data, f.bytes, &archive, NULL), TL_OK);
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
    free(f.data);
    assert_true(way > 0);
    return sqrt(error / way);
}

static void check(const char *network, bool live)
{
    char model[DATA_NAME_BYTES];
    tl_graph *graph = NULL;
    float *flat = NULL, *start;
    tl_step *step = NULL;
    tl_optimizer *optimizer = NULL;
    uint32_t labels[BATCH];
    snprintf(model, sizeof model, "fixtures/%s/%s.train.onnx", network, network);
    data_import(model, NULL, &graph, &flat);
    start = malloc(tl_graph_float_count(graph) * sizeof *start);
    memcpy(start, flat, tl_graph_float_count(graph) * sizeof *start);
    data_file f = load(network, "batch_y.npy");
    const tl_npy array = data_array(&f);
    assert_int_equal(array.count, BATCH);
    for (size_t i = 0; i < BATCH; i++) labels[i] = (uint32_t)tl_npy_integer(&array, i);
    free(f.data);
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
    if (!data_exists("fixtures/tiny_cnn")) {
        print_message("skipped: no fixtures in " TL_SHARED_DATA "\n");
        return 77;
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(three_steps_end_where_pytorchs_do) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

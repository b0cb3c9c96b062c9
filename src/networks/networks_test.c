/* The built-in architectures: sizes as published, options, initial weights. */
#include "networks/networks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Parameters are those of the reference implementations at 1000 classes (detectors: 80); millions
 * of multiply-adds as their authors state them. Those of EfficientNet-Lite count normalisation and
 * activations too, by 3 to 6 %; here only convolutions and matrices count. */
static const struct {
    const char *name;
    uint64_t parameters;
    double macs, tolerance;
    uint32_t features;
} PUBLISHED[] = {
    { "mobilenet_v3_small", 2542856, 56, 0.02, 1024 },
    { "mobilenet_v3_large", 5483032, 219, 0.02, 1280 },
    { "efficientnet_lite0", 4652008, 407, 0.06, 1280 },
    { "efficientnet_lite1", 5416680, 631, 0.06, 1280 },
    { "efficientnet_lite2", 6092072, 899, 0.06, 1280 },
    { "efficientnet_lite3", 8197096, 1440, 0.06, 1280 },
    { "efficientnet_lite4", 13006568, 2640, 0.06, 1280 },
    { "yolov8n", 3157200, 8700 / 2.0, 0.02, 0 },
    { "yolov8s", 11166560, 28600 / 2.0, 0.02, 0 },
    { "yolov8m", 25902640, 78900 / 2.0, 0.02, 0 },
    { "yolov8l", 43691520, 165200 / 2.0, 0.02, 0 },
    { "yolov8x", 68229648, 257800 / 2.0, 0.02, 0 },
};

static tl_graph *make(const char *name, const tl_network_options *options, float **flat)
{
    const tl_network *network = tl_network_find(name);
    tl_graph *graph = NULL;
    tl_error err = { .text = "" };
    assert_non_null(network);
    if (tl_network_create(network, options, &graph, flat, &err) != TL_OK)
        fail_msg("%s: %s", name, err.text);
    return graph;
}

static void sizes_are_the_published_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < TL_COUNT_OF(PUBLISHED); i++) {
        tl_graph *graph = make(PUBLISHED[i].name, NULL, NULL);
        uint64_t parameters = 0;
        for (size_t p = 0; p < tl_graph_param_count(graph); p++)
            if (tl_graph_param(graph, p)->role != TL_PARAM_RUNNING)
                parameters += tl_graph_param(graph, p)->count;
        assert_int_equal(parameters, PUBLISHED[i].parameters);
        double macs = (double)tl_graph_macs(graph) / 1e6;
        if (!(fabs(macs / PUBLISHED[i].macs - 1.0) <= PUBLISHED[i].tolerance))
            fail_msg("%s: %g million multiply-adds", PUBLISHED[i].name, macs);
        assert_int_equal(tl_graph_feature_count(graph), PUBLISHED[i].features);
        tl_graph_release(&graph);
    }
}

static void found_by_name(void **state)
{
    (void)state;
    size_t count = 0;
    for (const tl_network *n; (n = tl_network_at(count)) != NULL; count++)
        assert_ptr_equal(tl_network_find(n->name), n);
    assert_true(count >= 13);
    assert_null(tl_network_find("mobilenet_v3"));
}

static void any_size_and_classes(void **state)
{
    (void)state;
    const tl_network_options options = {
        .height = 33, .width = 70, .channels = 1, .class_count = 5
    };
    for (size_t i = 0; tl_network_at(i) != NULL; i++) {
        const tl_network *network = tl_network_at(i);
        if (network->task != TL_NETWORK_CLASSIFY) continue;
        tl_graph *graph = make(network->name, &options, NULL);
        const tl_shape in = tl_shape_image(33, 70, 1), out = tl_shape_vector(5);
        assert_true(tl_shape_equal(tl_graph_input_shape(graph, 0), &in));
        assert_true(tl_shape_equal(tl_graph_output_shape(graph, 0), &out));
        tl_graph_release(&graph);
    }
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *words;
        tl_network_options options;
    } cases[] = {
        { "mobilenet_v3_small", "classes", { .class_count = TL_NETWORK_CLASSES_MAX + 1 } },
        { "efficientnet_lite0", "up to", { .height = TL_NETWORK_SIDE_MAX + 1 } },
        { "efficientnet_lite0", "channels", { .channels = TL_NETWORK_CHANNELS_MAX + 1 } },
        { "yolov8n", "multiples of 32", { .width = 330 } },
    };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        tl_graph *graph = NULL;
        float *flat = NULL;
        tl_error err = { .text = "" };
        assert_int_equal(tl_network_create(tl_network_find(cases[i].name), &cases[i].options,
                                           &graph, &flat, &err),
                         TL_EINVAL);
        assert_non_null(strstr(err.text, cases[i].words));
        assert_null(graph);
        assert_null(flat);
    }
}

/* ---- Initial weights --------------------------------------------------------------------------
 */

typedef struct spread {
    double mean, deviation;
} spread;

static spread spread_of(const tl_graph *graph, const float *flat, const char *name)
{
    size_t index = tl_graph_find_param(graph, name);
    assert_true(index != SIZE_MAX);
    const tl_param *param = tl_graph_param(graph, index);
    double sum = 0.0, squares = 0.0, n = (double)param->count;
    for (size_t i = 0; i < param->count; i++) {
        double value = (double)flat[param->offset + i];
        sum += value;
        squares += value * value;
    }
    return (spread){ sum / n, sqrt(squares / n - sum / n * (sum / n)) };
}

static void check_spread(const tl_graph *graph, const float *flat, const char *name, double mean,
                         double deviation)
{
    spread s = spread_of(graph, flat, name);
    if (!(fabs(s.mean - mean) <= 0.1 * deviation + 1e-6) ||
        !(fabs(s.deviation - deviation) <= 0.1 * deviation + 1e-6))
        fail_msg("%s: mean %g, deviation %g", name, s.mean, s.deviation);
}

static void classifiers_start_as_the_field_does(void **state)
{
    (void)state;
    float *flat;
    tl_graph *graph = make("mobilenet_v3_small", &(tl_network_options){ .seed = 3 }, &flat);
    check_spread(graph, flat, "features.12.0.weight", 0.0, sqrt(2.0 / 576));
    check_spread(graph, flat, "features.12.1.weight", 1.0, 0.0);
    check_spread(graph, flat, "features.12.1.bias", 0.0, 0.0);
    check_spread(graph, flat, "features.12.1.running_var", 1.0, 0.0);
    check_spread(graph, flat, "classifier.3.weight", 0.0, 0.01);
    check_spread(graph, flat, "classifier.3.bias", 0.0, 0.0);
    free(flat);
    tl_graph_release(&graph);
    graph = make("efficientnet_lite0", NULL, &flat);
    check_spread(graph, flat, "_conv_head.weight", 0.0, sqrt(2.0 / 1280));
    check_spread(graph, flat, "_fc.weight", 0.0, 0.01);
    free(flat);
    tl_graph_release(&graph);
}

/* The numbers for training are the first of those for serving. */
static void a_detector_has_two_forms(void **state)
{
    (void)state;
    tl_network_options options = { .height = 64, .width = 96, .class_count = 3 };
    float *served, *trained;
    tl_graph *serve = make("yolov8n", &options, &served);
    options.form = TL_NETWORK_TRAIN;
    tl_graph *train = make("yolov8n", &options, &trained);
    const tl_shape decoded = { .rank = 2, .dim = { 4 + 3, 8 * 12 + 4 * 6 + 2 * 3 } };
    assert_int_equal(tl_graph_output_count(serve), 1);
    assert_true(tl_shape_equal(tl_graph_output_shape(serve, 0), &decoded));
    assert_int_equal(tl_graph_output_count(train), 3);
    for (uint32_t i = 0; i < 3; i++) {
        const tl_shape map = tl_shape_image(8u >> i, 12u >> i, 4 * TL_NETWORK_BOX_BINS + 3);
        assert_true(tl_shape_equal(tl_graph_output_shape(train, i), &map));
    }
    for (size_t p = 0; p < tl_graph_param_count(train); p++) {
        const tl_param *a = tl_graph_param(train, p), *b = tl_graph_param(serve, p);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->offset, b->offset);
    }
    assert_memory_equal(served, trained, tl_graph_float_count(train) * sizeof *trained);
    /* Five objects of three classes among 6,400 cells. */
    check_spread(train, trained, "model.22.cv3.0.2.bias", log(5.0 / 3 / 6400), 0.0);
    check_spread(train, trained, "model.22.cv2.2.2.bias", 1.0, 0.0);
    tl_graph_release(&serve);
    tl_graph_release(&train);
    free(served);
    free(trained);
}

static void the_seed_decides(void **state)
{
    (void)state;
    const tl_network_options options = { .height = 32, .width = 32, .class_count = 3, .seed = 5 };
    tl_network_options other = options;
    other.seed = 6;
    float *a, *b, *c;
    tl_graph *graph = make("mobilenet_v3_small", &options, &a);
    size_t bytes = tl_graph_float_count(graph) * sizeof(float);
    tl_graph_release(&graph);
    graph = make("mobilenet_v3_small", &options, &b);
    tl_graph_release(&graph);
    graph = make("mobilenet_v3_small", &other, &c);
    assert_memory_equal(a, b, bytes);
    assert_memory_not_equal(a, c, bytes);
    tl_graph_release(&graph);
    free(a);
    free(b);
    free(c);
}

static void costs_are_known_before_anything_runs(void **state)
{
    (void)state;
    const tl_network_options options = { .height = 64, .width = 64, .class_count = 7 };
    tl_network_cost cost;
    tl_error err = { .text = "" };
    const tl_network *network = tl_network_find("mobilenet_v3_small");
    assert_int_equal(tl_network_cost_of(network, &options, 8, &cost, &err), TL_OK);
    assert_int_equal(cost.parameters, 1525031);
    assert_int_equal(cost.features, 1024);
    assert_true(cost.macs > 4000000 && cost.macs < 7000000);
    assert_true(cost.weights_bytes >= 2 * 4 * cost.parameters);
    assert_true(cost.serve_bytes > 64 * 64 * 3 * sizeof(float));
    assert_true(cost.train_bytes > 8 * cost.serve_bytes);
    /* Measured as an allocated one is. */
    tl_graph *graph = make("mobilenet_v3_small", &options, NULL);
    tl_plan *plan = NULL;
    const tl_plan_options train = { .batch_max = 8, .mode = TL_PLAN_TRAIN_LIVE, .threads = 1 };
    assert_int_equal(tl_plan_create(graph, &train, &plan, &err), TL_OK);
    assert_int_equal(tl_plan_bytes(plan), cost.train_bytes);
    tl_plan_destroy(&plan);
    tl_graph_release(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_the_published_ones),
        cmocka_unit_test(found_by_name),
        cmocka_unit_test(any_size_and_classes),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(classifiers_start_as_the_field_does),
        cmocka_unit_test(a_detector_has_two_forms),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(costs_are_known_before_anything_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Another last layer on networks of several kinds. */
#include "graph/builder.h"
#include "graph/classifier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct network {
    tl_builder *builder;
    tl_tensor_index x;
    tl_graph *graph;
    float *flat;
} network;

static network begin(void)
{
    network n = { 0 };
    const tl_shape shape = tl_shape_image(16, 16, 3);
    assert_int_equal(tl_builder_create(&n.builder, NULL), TL_OK);
    n.x = tl_builder_input(n.builder, "x", &shape);
    return n;
}

static void conv(network *n, const char *name, uint32_t channels, uint32_t stride)
{
    tl_conv_options options = tl_conv_square(3, stride, 1);
    n->x = tl_builder_conv(n->builder, name, n->x, channels, &options);
    n->x = tl_builder_unary(n->builder, TL_OP_RELU, n->x);
}

static void unary(network *n, tl_op_kind kind)
{
    n->x = tl_builder_unary(n->builder, kind, n->x);
}

static void end(network *n)
{
    tl_error err = { 0 };
    tl_builder_output(n->builder, n->x);
    if (tl_builder_finish(n->builder, 3, &n->graph, &n->flat, &err) != TL_OK)
        fail_msg("%s", err.text);
    tl_builder_destroy(&n->builder);
}

/* Convolutions, pooling, one Gemm and a Softmax. */
static network classifier(void)
{
    network n = begin();
    conv(&n, "c1", 8, 2);
    conv(&n, "c2", 12, 2);
    unary(&n, TL_OP_GLOBAL_AVERAGE_POOL);
    unary(&n, TL_OP_FLATTEN);
    n.x = tl_builder_gemm(n.builder, "fc", n.x, 4);
    unary(&n, TL_OP_SOFTMAX);
    end(&n);
    return n;
}

static void release(network *n)
{
    tl_graph_release(&n->graph);
    free(n->flat);
}

static const float *run(tl_graph *graph, const float *flat, tl_plan **plan, bool features)
{
    tl_weights *weights = NULL;
    const tl_plan_options options = { .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1 };
    assert_int_equal(tl_plan_create(graph, &options, plan, NULL), TL_OK);
    assert_int_equal(tl_weights_create(graph, flat, &weights, NULL), TL_OK);
    for (size_t i = 0; i < 16 * 16 * 3; i++) tl_plan_input(*plan, 0)[i] = (float)(i % 7) / 7.0f;
    assert_int_equal(tl_plan_infer(*plan, weights, 1, NULL), TL_OK);
    tl_weights_release(&weights);
    return features ? tl_plan_features(*plan) : tl_plan_output(*plan, 0);
}

static network change(const network *from, tl_classifier_options options,
                      tl_classifier_report *report)
{
    network to = { 0 };
    tl_error err = { 0 };
    if (tl_graph_classifier(from->graph, from->flat, &options, &to.graph, &to.flat, report, &err) !=
        TL_OK)
        fail_msg("%s", err.text);
    assert_int_equal(tl_graph_output_count(to.graph), 1);
    assert_int_equal(tl_shape_count(tl_graph_output_shape(to.graph, 0)), options.outputs);
    assert_int_equal(tl_graph_feature_count(to.graph), report->features);
    return to;
}

/* The features are those of the network itself; the new layer knows nothing. */
static void a_new_layer_takes_the_same_features(void **state)
{
    (void)state;
    network whole = classifier();
    tl_classifier_report report;
    network to = change(&whole, (tl_classifier_options){ .outputs = 6, .keep = 3 }, &report);
    assert_int_equal(report.features, 12);
    assert_false(report.kept);
    assert_false(report.pooled);
    assert_int_equal(report.dropped, 2); /* Gemm and Softmax */
    tl_plan *a = NULL, *b = NULL, *c = NULL;
    const float *old = run(whole.graph, whole.flat, &a, true);
    assert_memory_equal(old, run(to.graph, to.flat, &b, true), 12 * sizeof(float));
    const float *scores = run(to.graph, to.flat, &c, false);
    for (int i = 0; i < 6; i++) assert_true(scores[i] == 0.0f);
    tl_plan_destroy(&a);
    tl_plan_destroy(&b);
    tl_plan_destroy(&c);
    release(&to);
    release(&whole);
}

static void a_layer_of_as_many_classes_is_kept(void **state)
{
    (void)state;
    network whole = classifier();
    tl_classifier_report report;
    network to = change(&whole, (tl_classifier_options){ .outputs = 6, .keep = 4 }, &report);
    assert_true(report.kept);
    tl_plan *a = NULL, *b = NULL;
    const float *shares = run(whole.graph, whole.flat, &a, false);
    const float *logits = run(to.graph, to.flat, &b, false);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) assert_int_equal(shares[i] < shares[j], logits[i] < logits[j]);
    assert_true(logits[4] == 0.0f && logits[5] == 0.0f);
    tl_plan_destroy(&a);
    tl_plan_destroy(&b);
    release(&to);
    const tl_classifier_options wrong = { .outputs = 6, .keep = 5, .keep_or_fail = true };
    tl_error err = { 0 };
    assert_int_equal(
        tl_graph_classifier(whole.graph, whole.flat, &wrong, &to.graph, &to.flat, NULL, &err),
        TL_ESHAPE);
    assert_non_null(strstr(err.text, "4 classes, the loop has 5"));
    release(&whole);
}

/* No Gemm: the map of 4x4 with 20 channels, not the later one of 10, nor what is larger. */
static void without_a_last_layer_the_deepest_map_is_averaged(void **state)
{
    (void)state;
    network n = begin();
    conv(&n, "c1", 30, 2);
    n.x = tl_builder_slice(n.builder, n.x, 0, 15); /* as YOLOv8 does */
    conv(&n, "c2", 20, 2);
    conv(&n, "c3", 10, 1);
    end(&n);
    tl_classifier_report report;
    network to = change(&n, (tl_classifier_options){ .outputs = 3 }, &report);
    assert_true(report.pooled);
    assert_int_equal(report.features, 20);
    assert_int_equal(report.height, 4);
    assert_int_equal(tl_graph_find_param(to.graph, "c3.weight"), SIZE_MAX);
    assert_true(tl_graph_find_param(to.graph, "c2.weight") != SIZE_MAX);
    release(&to);
    release(&n);
}

/* As some exporters have it: a 1x1 convolution on the pooled map. */
static void a_convolution_on_a_pooled_map_is_a_last_layer(void **state)
{
    (void)state;
    network n = begin();
    conv(&n, "c1", 8, 2);
    unary(&n, TL_OP_GLOBAL_AVERAGE_POOL);
    tl_conv_options options = tl_conv_square(1, 1, 1);
    n.x = tl_builder_conv(n.builder, "fc", n.x, 5, &options);
    unary(&n, TL_OP_FLATTEN);
    end(&n);
    tl_classifier_report report;
    network to = change(&n, (tl_classifier_options){ .outputs = 3 }, &report);
    assert_false(report.pooled);
    assert_int_equal(report.features, 8);
    release(&to);
    release(&n);
}

static void what_has_no_features_is_refused(void **state)
{
    (void)state;
    network n = begin();
    unary(&n, TL_OP_GLOBAL_AVERAGE_POOL);
    end(&n);
    network to = { 0 };
    const tl_classifier_options options = { .outputs = 3 };
    tl_error err = { 0 };
    assert_int_equal(
        tl_graph_classifier(n.graph, n.flat, &options, &to.graph, &to.flat, NULL, &err),
        TL_EUNSUPPORTED);
    assert_null(to.graph);
    release(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_layer_takes_the_same_features),
        cmocka_unit_test(a_layer_of_as_many_classes_is_kept),
        cmocka_unit_test(without_a_last_layer_the_deepest_map_is_averaged),
        cmocka_unit_test(a_convolution_on_a_pooled_map_is_a_last_layer),
        cmocka_unit_test(what_has_no_features_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

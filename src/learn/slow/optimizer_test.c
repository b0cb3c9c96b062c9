/* Losses and optimiser steps against PyTorch's numbers; schedules; averages. */
#include "learn/slow/optimizer.h"

#include "learn/slow/loss.h"
#include "networks/small.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A Gemm of 3 features and 1 class: weight [1, 3], bias [1]. */
static tl_graph *make_graph(void)
{
    tl_graph *graph = NULL;
    float *flat = NULL;
    assert_int_equal(tl_network_linear(3, 1, &graph, &flat, NULL), TL_OK);
    assert_int_equal(tl_graph_float_count(graph), 4);
    assert_int_equal(tl_graph_param(graph, 0)->role, TL_PARAM_WEIGHT);
    free(flat);
    return graph;
}

static const float GRADS[3][4] = { { 0.5f, -1.25f, 0.0625f, 0.5f },
                                   { 0.25f, 2.0f, -3.0f, 0.25f },
                                   { -0.75f, 0.125f, 0.5f, -0.75f } };

/* Three steps at rate 0.1, weight decay 0.01, from 1, -2, 0.5. Wanted: torch.optim of PyTorch. The
 * bias has the first weight's gradients and no decay. */
static void compare(const tl_optimizer_options *options, const double *wanted, double wanted_bias)
{
    tl_graph *graph = make_graph();
    tl_optimizer *optimizer = NULL;
    assert_int_equal(tl_optimizer_create(graph, options, &optimizer, NULL), TL_OK);
    float flat[4] = { 1.0f, -2.0f, 0.5f, 1.0f };
    for (int i = 0; i < 3; i++) {
        float grad[4];
        memcpy(grad, GRADS[i], sizeof grad);
        assert_int_equal(tl_optimizer_step(optimizer, NULL, flat, grad, 0.1, NULL), TL_OK);
    }
    for (size_t i = 0; i < 3; i++) assert_true(fabs((double)flat[i] - wanted[i]) < 1e-6);
    assert_true(fabs((double)flat[3] - wanted_bias) < 1e-6);
    tl_optimizer_destroy(&optimizer);
    tl_graph_release(&graph);
}

static void steps_are_pytorchs(void **state)
{
    (void)state;
    tl_optimizer_options options = tl_optimizer_options_default(TL_OPTIMIZER_SGD);
    options.weight_decay = 0.01f;
    options.nesterov = false;
    /* Without decay, by hand: momenta 0.5, 0.7, -0.12; 1 - 0.1 (0.5 + 0.7 - 0.12) = 0.892. */
    const double sgd[] = { 0.8866097331047058, -2.0428144931793213, 0.9999836683273315 };
    compare(&options, sgd, 0.892);
    options.nesterov = true;
    /* 0.5 + 0.45, 0.25 + 0.63, -0.75 - 0.108 along the way: 1 - 0.1 * 0.972. */
    const double nesterov[] = { 0.8953697681427002, -2.1203691959381104, 1.1914700269699097 };
    compare(&options, nesterov, 0.9028);
    options = tl_optimizer_options_default(TL_OPTIMIZER_ADAMW);
    options.weight_decay = 0.01f;
    options.beta2 = 0.99f;
    const double adamw[] = { 0.8121358752250671, -1.9464904069900513, 0.5166201591491699 };
    double m = 0, v = 0, bias = 1;
    for (int t = 1; t <= 3; t++) {
        double g = (double)GRADS[t - 1][3];
        m = 0.9 * m + 0.1 * g;
        v = 0.99 * v + 0.01 * g * g;
        bias -= 0.1 * m / (1 - pow(0.9, t)) / (sqrt(v / (1 - pow(0.99, t))) + 1e-8);
    }
    compare(&options, adamw, bias);
}

static void large_gradients_are_clipped_and_infinite_ones_refused(void **state)
{
    (void)state;
    tl_graph *graph = make_graph();
    tl_optimizer_options options = tl_optimizer_options_default(TL_OPTIMIZER_SGD);
    options.clip_norm = 1.0f;
    options.weight_decay = 0;
    options.momentum = 0;
    tl_optimizer *optimizer = NULL;
    assert_int_equal(tl_optimizer_create(graph, &options, &optimizer, NULL), TL_OK);
    float flat[4] = { 0 }, grad[4] = { 0, 3, 0, 4 };
    assert_int_equal(tl_optimizer_step(optimizer, NULL, flat, grad, 1.0, NULL), TL_OK);
    assert_float_equal(flat[1], -0.6, 1e-6);
    assert_float_equal(flat[3], -0.8, 1e-6);
    float small[4] = { 0, 0.3f, 0, 0.4f };
    assert_int_equal(tl_optimizer_step(optimizer, NULL, flat, small, 1.0, NULL), TL_OK);
    assert_float_equal(flat[3], -1.2, 1e-6);
    float bad[4] = { 0, NAN, 0, 1 }, before[4];
    memcpy(before, flat, sizeof flat);
    assert_int_equal(tl_optimizer_step(optimizer, NULL, flat, bad, 1.0, NULL), TL_EINVAL);
    assert_memory_equal(before, flat, sizeof flat);
    tl_optimizer_destroy(&optimizer);
    options.momentum = 1.0f;
    assert_int_equal(tl_optimizer_create(graph, &options, &optimizer, NULL), TL_EINVAL);
    tl_graph_release(&graph);
}

/* A small network: stages, roles and running statistics. */
static void roles_and_stages_are_heeded(void **state)
{
    (void)state;
    tl_small_options network = tl_small_options_default();
    network.height = network.width = 16;
    network.layer_count = 2;
    tl_graph *graph = NULL;
    float *flat = NULL;
    assert_int_equal(tl_network_small(&network, &graph, &flat, NULL), TL_OK);
    size_t count = tl_graph_float_count(graph);
    float *grad = malloc(count * sizeof *grad), *before = malloc(count * sizeof *before);
    for (size_t i = 0; i < count; i++) grad[i] = 1.0f;
    memcpy(before, flat, count * sizeof *flat);
    tl_optimizer_options options = tl_optimizer_options_default(TL_OPTIMIZER_SGD);
    options.momentum = 0;
    options.nesterov = false;
    options.weight_decay = 0.5f;
    options.backbone_factor = 0.25f;
    options.stage_factor = 0.5f;
    tl_optimizer *optimizer = NULL;
    assert_int_equal(tl_optimizer_create(graph, &options, &optimizer, NULL), TL_OK);
    assert_int_equal(tl_optimizer_step(optimizer, NULL, flat, grad, 0.125, NULL), TL_OK);
    uint32_t stage_max = 0;
    for (size_t p = 0; p < tl_graph_param_count(graph); p++) {
        const tl_param *param = tl_graph_param(graph, p);
        if (param->stage > stage_max) stage_max = param->stage;
        double rate = 0.125 * pow(0.5, param->stage) * (param->stage > 0 ? 0.25 : 1.0);
        if (param->role == TL_PARAM_RUNNING) rate = 0;
        double decay = param->role == TL_PARAM_WEIGHT ? 0.5 : 0;
        for (size_t i = param->offset; i < param->offset + param->count; i++) {
            double wanted = (double)before[i] - rate * (1 + decay * (double)before[i]);
            assert_true(fabs((double)flat[i] - wanted) < 1e-6);
        }
    }
    assert_true(stage_max >= 2);
    tl_optimizer_destroy(&optimizer);
    tl_graph_release(&graph);
    free(flat);
    free(grad);
    free(before);
}

static void a_saved_optimiser_goes_on_with_the_same_bits(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        tl_graph *graph = make_graph();
        tl_optimizer_options options = tl_optimizer_options_default((tl_optimizer_kind)kind);
        tl_optimizer *one = NULL, *two = NULL;
        assert_int_equal(tl_optimizer_create(graph, &options, &one, NULL), TL_OK);
        assert_int_equal(tl_optimizer_create(graph, &options, &two, NULL), TL_OK);
        float flat[2][4] = { { 1, 2, 3, 4 } }, grad[4];
        for (int i = 0; i < 5; i++) {
            memcpy(grad, GRADS[i % 3], sizeof grad);
            assert_int_equal(tl_optimizer_step(one, NULL, flat[0], grad, 0.01, NULL), TL_OK);
        }
        tl_blob blob;
        tl_blob_init(&blob);
        assert_int_equal(tl_optimizer_save(one, &blob, NULL), TL_OK);
        tl_blob_reader reader;
        tl_blob_reader_init(&reader, blob.data, blob.bytes - 1);
        assert_int_equal(tl_optimizer_load(two, &reader, NULL), TL_ECORRUPT);
        tl_blob_reader_init(&reader, blob.data, blob.bytes);
        assert_int_equal(tl_optimizer_load(two, &reader, NULL), TL_OK);
        memcpy(flat[1], flat[0], sizeof flat[0]);
        memcpy(grad, GRADS[1], sizeof grad);
        assert_int_equal(tl_optimizer_step(one, NULL, flat[0], grad, 0.01, NULL), TL_OK);
        memcpy(grad, GRADS[1], sizeof grad);
        assert_int_equal(tl_optimizer_step(two, NULL, flat[1], grad, 0.01, NULL), TL_OK);
        assert_memory_equal(flat[0], flat[1], sizeof flat[0]);
        tl_blob_destroy(&blob);
        tl_optimizer_destroy(&one);
        tl_optimizer_destroy(&two);
        tl_graph_release(&graph);
    }
}

/* Two steps that clip, of 60,020 numbers, shared out to the threads of a plan or not. */
static void step_twice(tl_optimizer_kind kind, uint32_t threads, float *flat)
{
    enum { FEATURES = 3000, CLASSES = 20, COUNT = (FEATURES + 1) * CLASSES };
    tl_graph *graph = NULL;
    float *start = NULL, *grad = malloc(COUNT * sizeof *grad);
    tl_plan *plan = NULL;
    tl_optimizer *optimizer = NULL;
    tl_optimizer_options options = tl_optimizer_options_default(kind);
    const tl_plan_options how = { .batch_max = 4, .mode = TL_PLAN_TRAIN_LIVE, .threads = threads };
    options.clip_norm = 1.0f;
    assert_non_null(grad);
    assert_int_equal(tl_network_linear(FEATURES, CLASSES, &graph, &start, NULL), TL_OK);
    assert_int_equal(tl_graph_float_count(graph), COUNT);
    if (threads > 0) assert_int_equal(tl_plan_create(graph, &how, &plan, NULL), TL_OK);
    if (threads > 0) assert_int_equal(tl_plan_threads(plan), threads);
    assert_int_equal(tl_optimizer_create(graph, &options, &optimizer, NULL), TL_OK);
    for (size_t i = 0; i < COUNT; i++) flat[i] = 1.0f;
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < COUNT; k++) grad[k] = sinf((float)k + 0.5f * (float)i);
        assert_int_equal(tl_optimizer_step(optimizer, plan, flat, grad, 0.1, NULL), TL_OK);
    }
    for (size_t k = 0; k < COUNT; k++) assert_true(flat[k] != 1.0f);
    tl_optimizer_destroy(&optimizer);
    tl_plan_destroy(&plan);
    tl_graph_release(&graph);
    free(start);
    free(grad);
}

static void threads_share_a_step_and_its_bits_stay(void **state)
{
    (void)state;
    const size_t bytes = 60020 * sizeof(float);
    float *alone = malloc(bytes), *shared = malloc(bytes);
    assert_true(alone != NULL && shared != NULL);
    for (int kind = 0; kind < 2; kind++) {
        step_twice((tl_optimizer_kind)kind, 0, alone);
        for (uint32_t threads = 1; threads <= 3; threads++) {
            step_twice((tl_optimizer_kind)kind, threads, shared);
            assert_memory_equal(alone, shared, bytes);
        }
    }
    free(alone);
    free(shared);
}

static void schedules(void **state)
{
    (void)state;
    tl_schedule power = {
        .kind = TL_SCHEDULE_POWER, .base = 0.1, .warmup = 10, .scale = 100, .power = 0.5
    };
    assert_float_equal(tl_schedule_rate(&power, 0), 0.01, 1e-9);
    assert_float_equal(tl_schedule_rate(&power, 300), 0.05, 1e-9);
    tl_schedule cosine = { .kind = TL_SCHEDULE_COSINE, .base = 1, .scale = 100, .floor = 0.1 };
    assert_float_equal(tl_schedule_rate(&cosine, 0), 1, 1e-9);
    assert_float_equal(tl_schedule_rate(&cosine, 50), 0.55, 1e-9);
    assert_float_equal(tl_schedule_rate(&cosine, 1000), 0.1, 1e-9);
}

static void averages_start_warm(void **state)
{
    (void)state;
    float average[19] = { 0 }, flat[19];
    for (size_t i = 0; i < 19; i++) flat[i] = (float)i;
    tl_average_update(average, flat, 19, 0.998, 0); /* d = 1/10 */
    for (size_t i = 0; i < 19; i++) assert_float_equal(average[i], 0.9f * (float)i, 1e-5);
    tl_average_update(average, flat, 19, 0.5, 1000000); /* d = 1/2 */
    for (size_t i = 0; i < 19; i++) assert_float_equal(average[i], 0.95f * (float)i, 1e-5);
}

/* torch.nn.functional.cross_entropy with label_smoothing 0.1 over the first three logits. */
static void cross_entropy_is_pytorchs(void **state)
{
    (void)state;
    const tl_loss_options options = { .width = 4, .class_count = 3, .label_smoothing = 0.1f };
    const float logits[8] = { 1, 2, -0.5f, 9, 0, 0.5f, 3, -9 };
    const uint32_t labels[2] = { 1, 0 };
    static const double wanted[8] = { 0.11019143462181091,  -0.12183061242103577,
                                      0.011639196425676346, 0,
                                      -0.44467341899871826, 0.01959405280649662,
                                      0.4250793755054474,   0 };
    float losses[2], grad[8], alone[8];
    double loss = tl_loss_cross_entropy(&options, logits, labels, NULL, 2, losses, grad);
    assert_true(fabs(loss - 1.7477059364318848) < 1e-6);
    for (size_t i = 0; i < 8; i++) assert_true(fabs((double)grad[i] - wanted[i]) < 1e-6);
    /* Weight 0 leaves a sample out of loss and gradient, but its own loss is told. */
    const float weights[2] = { 0, 3 };
    double second = tl_loss_cross_entropy(&options, logits + 4, labels + 1, NULL, 1, NULL, NULL);
    loss = tl_loss_cross_entropy(&options, logits, labels, weights, 2, losses, alone);
    assert_true(fabs(loss - second) < 1e-9);
    for (size_t i = 0; i < 4; i++) {
        assert_float_equal(alone[i], 0, 0);
        assert_float_equal(alone[4 + i], 2 * grad[4 + i], 1e-6);
    }
    float scores[3];
    tl_loss_softmax(logits, 3, scores);
    assert_float_equal(losses[0], -logf(scores[1]), 1e-6);
    const float by_class[3] = { 1, 0, 1 };
    tl_loss_options weighted = options;
    weighted.class_weight = by_class;
    loss = tl_loss_cross_entropy(&weighted, logits, labels, NULL, 2, NULL, NULL);
    assert_true(fabs(loss - second) < 1e-9);
}

static void extreme_logits_stay_finite(void **state)
{
    (void)state;
    const tl_loss_options options = { .width = 2, .class_count = 2 };
    const float logits[2] = { 3e38f, -3e38f };
    const uint32_t label = 1;
    float loss, grad[2];
    double mean = tl_loss_cross_entropy(&options, logits, &label, NULL, 1, &loss, grad);
    assert_true(isfinite(mean) && mean > 1e38);
    assert_float_equal(grad[0], 1, 1e-6);
    assert_float_equal(grad[1], -1, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_pytorchs),
        cmocka_unit_test(large_gradients_are_clipped_and_infinite_ones_refused),
        cmocka_unit_test(roles_and_stages_are_heeded),
        cmocka_unit_test(a_saved_optimiser_goes_on_with_the_same_bits),
        cmocka_unit_test(threads_share_a_step_and_its_bits_stay),
        cmocka_unit_test(schedules),
        cmocka_unit_test(averages_start_warm),
        cmocka_unit_test(cross_entropy_is_pytorchs),
        cmocka_unit_test(extreme_logits_stay_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

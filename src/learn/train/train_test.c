/* Trainings of small networks on drawn images: they learn, repeat themselves, leave alone what is
 * frozen, and stop when told. */
#include "learn/train/train.h"

#include "graph/builder.h"
#include "learn/detect/detect.h"
#include "networks/small.h"
#include "tensor/device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 64, COUNT = 24 };

/* Item i: a flat rectangle on noise, wide and bright (class 0) or high and dull (class 1). */
typedef struct world {
    uint8_t image[SIDE * SIDE];
    tl_truth truth;
    size_t missing; /* an item that cannot be had, plus 1 */
} world;

static tl_status fetch(void *context, size_t index, tl_train_item *out, tl_error *err)
{
    world *w = context;
    if (index + 1 == w->missing) return tl_fail(err, TL_ENOTFOUND, "no such file");
    tl_rng rng;
    tl_rng_seed(&rng, index, 7);
    for (size_t i = 0; i < sizeof w->image; i++) w->image[i] = (uint8_t)tl_rng_below(&rng, 60);
    uint32_t label = (uint32_t)(index % 2), x = (uint32_t)tl_rng_below(&rng, 30);
    uint32_t y = (uint32_t)tl_rng_below(&rng, 30), wide = label == 0 ? 32 : 14;
    uint32_t high = 46 - wide;
    for (uint32_t r = y; r < y + high; r++)
        memset(w->image + r * SIDE + x, label == 0 ? 230 : 150, wide);
    w->truth = (tl_truth){ { (float)x, (float)y, (float)(x + wide), (float)(y + high) }, label };
    *out = (tl_train_item){ .source = { w->image, NULL, SIDE, SIDE, { &w->truth, 1 } },
                            .label = label };
    return TL_OK;
}

static tl_train_options make_options(tl_task task)
{
    tl_train_options options = tl_train_options_default(task);
    options.form = (tl_pixels_form){ .height = SIDE, .width = SIDE, .channels = 1 };
    options.count = COUNT;
    options.batch = 8;
    options.augment = tl_augment_options_none();
    options.average_decay = 0.9;
    return options;
}

static tl_graph *make_classifier(float **flat)
{
    tl_small_options options = tl_small_options_default();
    options.height = options.width = SIDE;
    options.channels = 1;
    options.class_count = 2;
    options.layer_count = 2;
    options.layers[0] = (tl_small_layer){ 8, 3, 2 };
    options.layers[1] = (tl_small_layer){ 12, 3, 2 };
    tl_graph *graph = NULL;
    assert_int_equal(tl_network_small(&options, &graph, flat, NULL), TL_OK);
    return graph;
}

static tl_tensor_index layer(tl_builder *b, const char *name, tl_tensor_index x, uint32_t channels)
{
    char norm[16];
    snprintf(norm, sizeof norm, "%sn", name);
    tl_conv_options conv = tl_conv_square(3, 2, 1);
    x = tl_builder_batch_norm(b, norm, tl_builder_conv(b, name, x, channels, &conv), 1e-3f, 0.1f);
    return tl_builder_unary(b, TL_OP_SILU, x);
}

/* A head of strides 8, 16, 32 on plain convolutions. */
static tl_graph *make_detector(float **flat)
{
    tl_builder *b = NULL;
    tl_graph *graph = NULL;
    tl_tensor_index maps[3];
    assert_int_equal(tl_builder_create(&b, NULL), TL_OK);
    tl_shape shape = tl_shape_image(SIDE, SIDE, 1);
    tl_conv_options one = tl_conv_square(1, 1, 1);
    one.bias = true;
    tl_tensor_index x = tl_builder_input(b, "x", &shape);
    x = layer(b, "c1", x, 8);
    x = layer(b, "c2", x, 16);
    const char *const names[3] = { "c3", "c4", "c5" }, *const heads[3] = { "h3", "h4", "h5" };
    for (int i = 0; i < 3; i++) {
        x = layer(b, names[i], x, 32);
        maps[i] = tl_builder_conv(b, heads[i], x, TL_YOLO_BOX_CHANNELS + 2, &one);
    }
    for (int i = 0; i < 3; i++) tl_builder_output(b, maps[i]);
    assert_int_equal(tl_builder_finish(b, 2, &graph, flat, NULL), TL_OK);
    tl_builder_destroy(&b);
    return graph;
}

/* Mean loss of the first and of the last steps; the result's weights. */
static void train(tl_graph *graph, const float *start, const tl_train_options *options,
                  double *first, double *last, float *out)
{
    world w = { .missing = 0 };
    tl_train *t = NULL;
    tl_error err = { 0 };
    tl_train_progress now;
    if (tl_train_create(graph, start, options, fetch, &w, &t, &err) != TL_OK)
        fail_msg("%s", err.text);
    assert_true(tl_train_bytes(t) > 10000);
    *first = *last = 0;
    for (bool more = true; more;) {
        if (tl_train_step(t, &now, &more, &err) != TL_OK) fail_msg("%s", err.text);
        if (now.step <= 5) *first += now.loss.total / 5;
        if (now.step + 5 > now.steps) *last += now.loss.total / 5;
    }
    assert_int_equal(now.step, now.steps);
    assert_int_equal(now.left_out, 0);
    assert_true(fabs(now.epoch - options->epochs) < 0.5);
    tl_train_result(t, out);
    tl_train_destroy(&t);
}

static void a_classifier_learns_and_repeats_itself(void **state)
{
    (void)state;
    float *start = NULL;
    tl_graph *graph = make_classifier(&start);
    const size_t floats = tl_graph_float_count(graph);
    tl_train_options options = make_options(TL_TASK_CLASSIFY);
    options.augment = tl_augment_options_classify();
    options.epochs = 40;
    options.rate = 0.01;
    const int runs = tl_device_runs_bf16() ? 4 : 3; /* the last in bf16 */
    float *out[4];
    double first, last;
    for (int run = 0; run < runs; run++) {
        out[run] = malloc(floats * sizeof(float));
        options.seed = run == 2 ? 2 : 1;
        options.precision = run == 3 ? TL_PRECISION_BF16 : TL_PRECISION_FLOAT32;
        train(graph, start, &options, &first, &last, out[run]);
        if (!(last < 0.3 * first)) fail_msg("loss %g, then %g", first, last);
    }
    assert_memory_equal(out[0], out[1], floats * sizeof(float));
    for (int run = 2; run < runs; run++)
        assert_memory_not_equal(out[0], out[run], floats * sizeof(float));
    options.precision = TL_PRECISION_FLOAT32;
    /* Half-way between the start and the result. */
    options.seed = 1;
    options.interpolation = 0.5;
    train(graph, start, &options, &first, &last, out[1]);
    for (size_t i = 0; i < floats; i++)
        assert_float_equal(out[1][i], 0.5f * (start[i] + out[0][i]), 1e-5);
    for (int run = 0; run < runs; run++) free(out[run]);
    tl_graph_release(&graph);
    free(start);
}

/* A head on a frozen backbone is the same training with two other options. */
static void frozen_layers_stay(void **state)
{
    (void)state;
    float *start = NULL;
    tl_graph *graph = make_classifier(&start);
    float *out = malloc(tl_graph_float_count(graph) * sizeof *out);
    tl_train_options options = make_options(TL_TASK_CLASSIFY);
    options.optimizer.trained_stages = 1;
    options.l2_to_start = 1e-3f;
    options.epochs = 10;
    options.rate = 0.03;
    double first, last;
    train(graph, start, &options, &first, &last, out);
    if (!(last < 0.9 * first)) fail_msg("loss %g, then %g", first, last);
    for (size_t i = 0; i < tl_graph_param_count(graph); i++) {
        const tl_param *param = tl_graph_param(graph, i);
        bool same =
            memcmp(out + param->offset, start + param->offset, param->count * sizeof *out) == 0;
        assert_true(same == (param->stage > 0));
    }
    free(out);
    tl_graph_release(&graph);
    free(start);
}

static double map50_of(tl_graph *graph, const float *flat, const tl_train_options *options)
{
    world w = { .missing = 0 };
    tl_train *t = NULL;
    tl_plan *plan = NULL;
    tl_weights *weights = NULL;
    tl_yolo_head head;
    static tl_detection found[COUNT][50];
    static tl_truth boxes[COUNT];
    tl_detect_image images[COUNT];
    tl_detect_options detect = tl_detect_options_default();
    detect.score_min = 0.01f;
    const tl_plan_options infer = { .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1 };
    assert_int_equal(tl_train_create(graph, flat, options, fetch, &w, &t, NULL), TL_OK);
    assert_int_equal(tl_plan_create(graph, &infer, &plan, NULL), TL_OK);
    assert_int_equal(tl_weights_create(graph, flat, &weights, NULL), TL_OK);
    assert_int_equal(tl_yolo_head_of_graph(graph, &head, NULL), TL_OK);
    for (size_t i = 0; i < COUNT; i++) {
        tl_truths truths;
        assert_int_equal(tl_train_view(t, i, tl_plan_input(plan, 0), &truths, NULL), TL_OK);
        assert_int_equal(truths.count, 1);
        boxes[i] = truths.items[0];
        assert_int_equal(tl_plan_infer(plan, weights, 1, NULL), TL_OK);
        const float *maps[3];
        for (size_t s = 0; s < 3; s++) maps[s] = tl_plan_output(plan, s);
        size_t count = tl_detect_decode(&head, maps, 0, &detect, found[i], 50);
        images[i] = (tl_detect_image){ found[i],
                                       tl_detect_suppress(&detect, found[i], count),
                                       { &boxes[i], 1 } };
    }
    tl_detect_quality quality;
    assert_int_equal(tl_detect_measure(images, COUNT, 2, &quality, NULL), TL_OK);
    tl_train_destroy(&t);
    tl_plan_destroy(&plan);
    tl_weights_release(&weights);
    return quality.map50;
}

static void a_detector_learns(void **state)
{
    (void)state;
    float *start = NULL;
    tl_graph *graph = make_detector(&start);
    float *out = malloc(tl_graph_float_count(graph) * sizeof *out);
    tl_train_options options = make_options(TL_TASK_DETECT);
    options.augment.mosaic_chance = 0.2f;
    options.epochs = 50;
    options.rate = 0.01;
    double first, last;
    train(graph, start, &options, &first, &last, out);
    if (!(last < 0.5 * first)) fail_msg("loss %g, then %g", first, last);
    double before = map50_of(graph, start, &options), after = map50_of(graph, out, &options);
    if (!(before < 0.1 && after > 0.5)) fail_msg("mAP50 %g, then %g", before, after);
    free(out);
    tl_graph_release(&graph);
    free(start);
}

static bool stop_after_two(void *context, const tl_train_progress *now)
{
    *(uint64_t *)context = now->step;
    return now->step < 2;
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    float *start = NULL;
    tl_graph *graph = make_classifier(&start);
    tl_train_options options = make_options(TL_TASK_CLASSIFY);
    world w = { .missing = 4 };
    tl_train *t = NULL;
    tl_error err = { 0 };
    assert_int_equal(tl_train_create(graph, start, &options, fetch, &w, &t, NULL), TL_OK);
    assert_int_equal(tl_train_run(t, NULL, NULL, &err), TL_ENOTFOUND);
    assert_non_null(strstr(err.text, "item 3: no such file"));
    tl_train_destroy(&t);
    w.missing = 0;
    uint64_t steps = 0;
    assert_int_equal(tl_train_create(graph, start, &options, fetch, &w, &t, NULL), TL_OK);
    assert_int_equal(tl_train_run(t, stop_after_two, &steps, NULL), TL_ECLOSED);
    assert_int_equal(steps, 2);
    tl_train_destroy(&t);
    tl_train_options bad = options;
    bad.class_count = 1; /* there are labels of class 1 */
    assert_int_equal(tl_train_create(graph, start, &bad, fetch, &w, &t, NULL), TL_OK);
    assert_int_equal(tl_train_run(t, NULL, NULL, NULL), TL_EINVAL);
    tl_train_destroy(&t);
    bad = options;
    bad.task = TL_TASK_DETECT;
    assert_int_equal(tl_train_create(graph, start, &bad, fetch, &w, &t, NULL), TL_ESHAPE);
    bad = options;
    bad.form.height = 32;
    assert_int_equal(tl_train_create(graph, start, &bad, fetch, &w, &t, NULL), TL_ESHAPE);
    bad = options;
    bad.count = 0;
    assert_int_equal(tl_train_create(graph, start, &bad, fetch, &w, &t, NULL), TL_EINVAL);
    tl_graph_release(&graph);
    free(start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_classifier_learns_and_repeats_itself),
        cmocka_unit_test(frozen_layers_stay),
        cmocka_unit_test(a_detector_learns),
        cmocka_unit_test(what_is_wrong_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

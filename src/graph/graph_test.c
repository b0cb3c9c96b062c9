/* Graphs as a whole: plans, weights, fusing, memory, errors. */
#include "base/rng.h"
#include "graph/builder.h"
#include "tensor/device.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { OUTPUTS = 5 };
/* With this activation the network has no maxima: finite differences work. */
#define SMOOTH TL_OP_SIGMOID

/* ThreadSanitizer does not know oneDNN's OpenMP: one thread a team there. */
#if defined(__SANITIZE_THREAD__)
#define TEAM 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEAM 1
#endif
#endif
#if !defined(TEAM)
#define TEAM 2
#endif

typedef struct network {
    tl_graph *graph;
    float *flat;
} network;

static void fill(float *to, size_t count, uint64_t seed)
{
    tl_rng rng;
    tl_rng_seed(&rng, seed, 0);
    for (size_t i = 0; i < count; i++) to[i] = (float)tl_rng_normal(&rng);
}

static size_t count_of(const network *n)
{
    return tl_shape_count(tl_graph_input_shape(n->graph, 0));
}

/* Everything at once: odd channels, a depthwise layer, squeeze-and-excite, a residual, a tensor
 * with three readers, both pools, x * sigmoid(x), a trained constant. */
static tl_tensor_index body(tl_builder *b, tl_tensor_index x, tl_op_kind act)
{
    tl_conv_options square = tl_conv_square(3, 2, 1), depth = tl_conv_square(5, 1, 11);
    tl_conv_options point = tl_conv_square(1, 1, 1);
    x = tl_builder_conv(b, "c1", x, 11, &square);
    x = tl_builder_unary(b, act, tl_builder_batch_norm(b, "n1", x, 1e-5f, 0.1f));
    tl_tensor_index d = tl_builder_conv(b, "dw", x, 11, &depth);
    d = tl_builder_batch_norm(b, "n2", d, 1e-3f, 0.2f);
    d = tl_builder_binary(b, TL_OP_MUL, d, tl_builder_unary(b, TL_OP_SIGMOID, d));
    point.bias = true;
    tl_tensor_index gate = tl_builder_unary(b, TL_OP_GLOBAL_AVERAGE_POOL, d);
    gate = tl_builder_unary(b, act, tl_builder_conv(b, "se1", gate, 3, &point));
    gate = tl_builder_unary(b, TL_OP_HARD_SIGMOID, tl_builder_conv(b, "se2", gate, 11, &point));
    d = tl_builder_binary(b, TL_OP_MUL, d, gate);
    x = tl_builder_binary(b, TL_OP_ADD, x, d);
    const tl_shape row = tl_shape_image(1, 1, 11);
    x = tl_builder_binary(b, TL_OP_SUB, x, tl_builder_constant(b, "offset", &row, NULL, true));
    tl_conv_options same = tl_conv_square(3, 1, 1);
    if (act != SMOOTH) x = tl_builder_max_pool(b, x, 2, 2, 0);
    tl_tensor_index y = tl_builder_conv(b, "c2", x, 16, &same);
    y = tl_builder_unary(b, act, tl_builder_batch_norm(b, "n3", y, 1e-5f, 0.1f));
    const tl_op_kind second = act == SMOOTH ? TL_OP_GLOBAL_AVERAGE_POOL : TL_OP_GLOBAL_MAX_POOL;
    tl_tensor_index parts[2] = { tl_builder_unary(b, TL_OP_GLOBAL_AVERAGE_POOL, y),
                                 tl_builder_unary(b, second, y) };
    y = tl_builder_node(
        b, &(tl_node_options){ .kind = TL_OP_CONCAT, .inputs = parts, .input_count = 2 });
    return tl_builder_gemm(b, "fc", tl_builder_unary(b, TL_OP_FLATTEN, y), OUTPUTS);
}

static network make_network(tl_op_kind act)
{
    network n = { NULL, NULL };
    tl_builder *b = NULL;
    tl_error err = { .status = TL_OK };
    assert_int_equal(tl_builder_create(&b, &err), TL_OK);
    const tl_shape shape = tl_shape_image(13, 12, 3);
    tl_builder_output(b, body(b, tl_builder_input(b, "x", &shape), act));
    tl_status status = tl_builder_finish(b, 7, &n.graph, &n.flat, &err);
    if (status != TL_OK) fail_msg("%s", err.text);
    tl_builder_destroy(&b);
    return n;
}

static void free_network(network *n)
{
    free(n->flat);
    tl_graph_release(&n->graph);
}

static tl_plan *make_plan_in(const network *n, uint32_t batch, tl_plan_mode mode, uint32_t threads,
                             tl_precision precision)
{
    tl_plan *plan = NULL;
    tl_error err;
    const tl_plan_options options = {
        .batch_max = batch, .mode = mode, .threads = threads, .precision = precision
    };
    tl_status status = tl_plan_create(n->graph, &options, &plan, &err);
    if (status != TL_OK) fail_msg("%s", err.text);
    return plan;
}

static tl_plan *make_plan(const network *n, uint32_t batch, tl_plan_mode mode, uint32_t threads)
{
    return make_plan_in(n, batch, mode, threads, TL_PRECISION_FLOAT32);
}

static tl_weights *make_weights(const network *n)
{
    tl_weights *weights = NULL;
    tl_error err;
    tl_status status = tl_weights_create(n->graph, n->flat, &weights, &err);
    if (status != TL_OK) fail_msg("%s", err.text);
    return weights;
}

/* ---- Inference ------------------------------------------------------------------------------- */

/* Every kernel that only serves: strided, depthwise, pointwise with an addition; last layers whose
 * weights outweigh their activations. */
static network make_wide(void)
{
    network n = { NULL, NULL };
    tl_builder *b = NULL;
    assert_int_equal(tl_builder_create(&b, NULL), TL_OK);
    const tl_shape shape = tl_shape_image(13, 12, 3);
    const tl_conv_options down = tl_conv_square(3, 2, 1), point = tl_conv_square(1, 1, 1);
    const tl_conv_options depth3 = tl_conv_square(3, 1, 24), depth5 = tl_conv_square(5, 2, 24);
    tl_tensor_index x = tl_builder_conv(b, "c1", tl_builder_input(b, "x", &shape), 24, &down);
    x = tl_builder_unary(b, TL_OP_RELU, x);
    tl_tensor_index y = tl_builder_conv(b, "d1", x, 24, &depth3);
    y = tl_builder_conv(b, "p1", tl_builder_unary(b, TL_OP_HARD_SWISH, y), 24, &point);
    x = tl_builder_binary(b, TL_OP_ADD, x, tl_builder_unary(b, TL_OP_SILU, y));
    const tl_conv_options same = tl_conv_square(3, 1, 1);
    y = tl_builder_unary(b, TL_OP_SILU, tl_builder_conv(b, "w", x, 24, &same));
    x = tl_builder_binary(b, TL_OP_ADD, x, y);
    x = tl_builder_unary(b, TL_OP_RELU, tl_builder_conv(b, "d2", x, 24, &depth5));
    x = tl_builder_unary(b, TL_OP_HARD_SWISH, tl_builder_conv(b, "p2", x, 217, &point));
    x = tl_builder_unary(b, TL_OP_HARD_SIGMOID, tl_builder_conv(b, "c2", x, 17, &down));
    tl_builder_output(b, tl_builder_gemm(b, "fc", tl_builder_unary(b, TL_OP_FLATTEN, x), OUTPUTS));
    assert_int_equal(tl_builder_finish(b, 5, &n.graph, &n.flat, NULL), TL_OK);
    tl_builder_destroy(&b);
    return n;
}

/* Layers at a resolution where they run a few rows at a time: windows of several sizes and strides,
 * an addition at the end, and a tensor that somebody else reads. */
static network make_high(void)
{
    network n = { NULL, NULL };
    tl_builder *b = NULL;
    assert_int_equal(tl_builder_create(&b, NULL), TL_OK);
    const tl_shape shape = tl_shape_image(91, 90, 3);
    const tl_conv_options same = tl_conv_square(3, 1, 1), point = tl_conv_square(1, 1, 1);
    const tl_conv_options depth3 = tl_conv_square(3, 1, 24), depth5 = tl_conv_square(5, 1, 24);
    const tl_conv_options down5 = tl_conv_square(5, 2, 72), down3 = tl_conv_square(3, 2, 72);
    tl_tensor_index x = tl_builder_conv(b, "c", tl_builder_input(b, "x", &shape), 24, &same);
    x = tl_builder_conv(b, "d1", tl_builder_unary(b, TL_OP_RELU, x), 24, &depth3);
    tl_tensor_index y = tl_builder_conv(b, "p1", x, 24, &point);
    y = tl_builder_conv(b, "d2", tl_builder_unary(b, TL_OP_HARD_SWISH, y), 24, &depth5);
    x = tl_builder_binary(b, TL_OP_ADD, x, tl_builder_conv(b, "p2", y, 24, &point));
    y = tl_builder_conv(b, "p3", x, 72, &point);
    y = tl_builder_conv(b, "d3", tl_builder_unary(b, TL_OP_RELU, y), 72, &down5);
    y = tl_builder_conv(b, "p4", tl_builder_unary(b, TL_OP_RELU, y), 72, &point);
    y = tl_builder_conv(b, "d4", y, 72, &down3);
    y = tl_builder_unary(b, TL_OP_FLATTEN, tl_builder_unary(b, TL_OP_GLOBAL_AVERAGE_POOL, y));
    tl_builder_output(b, tl_builder_gemm(b, "fc", y, OUTPUTS));
    assert_int_equal(tl_builder_finish(b, 6, &n.graph, &n.flat, NULL), TL_OK);
    tl_builder_destroy(&b);
    return n;
}

/* Layers that are worth a second thread, and are oneDNN's in float32 (grouped) or in bf16 (all). */
static network make_heavy(void)
{
    network n = { NULL, NULL };
    tl_builder *b = NULL;
    assert_int_equal(tl_builder_create(&b, NULL), TL_OK);
    const tl_shape shape = tl_shape_image(91, 90, 3);
    const tl_conv_options same = tl_conv_square(3, 1, 1), down = tl_conv_square(3, 2, 1);
    tl_conv_options grouped = tl_conv_square(3, 1, 2);
    grouped.window.dilation_h = grouped.window.dilation_w = 2;
    grouped.window.pad_top = grouped.window.pad_bottom = 2;
    grouped.window.pad_left = grouped.window.pad_right = 2;
    tl_tensor_index x = tl_builder_conv(b, "c", tl_builder_input(b, "x", &shape), 24, &same);
    x = tl_builder_unary(b, TL_OP_RELU, x);
    tl_tensor_index y = tl_builder_unary(b, TL_OP_SILU, tl_builder_conv(b, "g", x, 24, &grouped));
    y = tl_builder_conv(b, "w", y, 24, &same);
    y = tl_builder_conv(b, "s", tl_builder_unary(b, TL_OP_RELU, y), 40, &down);
    x = tl_builder_binary(b, TL_OP_ADD, tl_builder_conv(b, "a", x, 40, &down), y);
    x = tl_builder_unary(b, TL_OP_FLATTEN, tl_builder_unary(b, TL_OP_GLOBAL_AVERAGE_POOL, x));
    tl_builder_output(b, tl_builder_gemm(b, "fc", x, OUTPUTS));
    assert_int_equal(tl_builder_finish(b, 6, &n.graph, &n.flat, NULL), TL_OK);
    tl_builder_destroy(&b);
    return n;
}

/* The largest difference, as a share of the largest number. */
static float worst_share(const float *got, const float *wanted, size_t count)
{
    float largest = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmaxf(largest, fabsf(wanted[i]));
        worst = fmaxf(worst, fabsf(got[i] - wanted[i]));
    }
    return worst / largest;
}

/* The same numbers in any batch and with any threads, and those of the kernels that train: to within
 * `share` of the largest. */
static void check_serving(network n, tl_precision precision, float share)
{
    enum { ITEMS = 9 };
    tl_weights *weights = make_weights(&n);
    const size_t count = count_of(&n);
    tl_plan *trains = make_plan(&n, ITEMS, TL_PLAN_TRAIN_FROZEN, 1);
    fill(tl_plan_input(trains, 0), ITEMS * count, 3);
    assert_int_equal(tl_plan_train_forward(trains, n.flat, ITEMS, NULL), TL_OK);
    float first[ITEMS * OUTPUTS];
    const uint32_t batches[] = { 1, 9, 4, 1, 9, 2 }, threads[] = { 1, 1, 1, TEAM, TEAM, 2 };
    for (size_t b = 0; b < TL_COUNT_OF(batches); b++) {
        tl_plan *plan = make_plan_in(&n, batches[b], TL_PLAN_INFER, threads[b], precision);
        assert_int_equal(tl_plan_precision(plan), precision);
        for (uint32_t from = 0; from < ITEMS; from += batches[b]) {
            const uint32_t items = ITEMS - from < batches[b] ? ITEMS - from : batches[b];
            memcpy(tl_plan_input(plan, 0), tl_plan_input(trains, 0) + from * count,
                   items * count * sizeof(float));
            assert_int_equal(tl_plan_infer(plan, weights, items, NULL), TL_OK);
            float *to = first + (size_t)from * OUTPUTS;
            if (b == 0) memcpy(to, tl_plan_output(plan, 0), items * OUTPUTS * sizeof(float));
            assert_memory_equal(tl_plan_output(plan, 0), to, items * OUTPUTS * sizeof(float));
        }
        tl_plan_destroy(&plan);
    }
    const float worst = worst_share(first, tl_plan_output(trains, 0), ITEMS * OUTPUTS);
    assert_true(worst <= share);
    assert_true(precision == TL_PRECISION_FLOAT32 || worst > 1e-5f);
    tl_plan_destroy(&trains);
    tl_weights_release(&weights);
    free_network(&n);
}

static void test_serving_kernels(void **state)
{
    (void)state;
    check_serving(make_wide(), TL_PRECISION_FLOAT32, 1e-4f);
    check_serving(make_high(), TL_PRECISION_FLOAT32, 1e-4f);
    check_serving(make_heavy(), TL_PRECISION_FLOAT32, 1e-4f);
}

static void test_serving_in_bf16(void **state)
{
    (void)state;
    if (!tl_device_runs_bf16()) skip();
    check_serving(make_wide(), TL_PRECISION_BF16, 3e-2f);
    check_serving(make_high(), TL_PRECISION_BF16, 3e-2f);
    check_serving(make_heavy(), TL_PRECISION_BF16, 3e-2f);
}

/* Bf16 is only chosen where it pays, for training never; where it cannot be had it is refused. */
static void test_precisions(void **state)
{
    (void)state;
    network n = make_wide();
    tl_error err;
    tl_plan *plan = make_plan_in(&n, 1, TL_PLAN_INFER, 1, TL_PRECISION_AUTO);
    assert_int_equal(tl_plan_precision(plan),
                     tl_device_prefers_bf16() ? TL_PRECISION_BF16 : TL_PRECISION_FLOAT32);
    tl_plan_destroy(&plan);
    plan = make_plan_in(&n, 1, TL_PLAN_TRAIN_LIVE, 1, TL_PRECISION_AUTO);
    assert_int_equal(tl_plan_precision(plan), TL_PRECISION_FLOAT32);
    tl_plan_destroy(&plan);
    tl_plan_options options = { .batch_max = 1, .precision = TL_PRECISION_BF16, .threads = 1 };
    const tl_status wanted = tl_device_runs_bf16() ? TL_OK : TL_EUNSUPPORTED;
    options.mode = TL_PLAN_TRAIN_FROZEN;
    assert_int_equal(tl_plan_create(n.graph, &options, &plan, &err), wanted);
    if (wanted == TL_OK)
        tl_plan_destroy(&plan);
    else
        assert_string_equal(err.text, "bf16 needs a processor with AVX-512; choose fp32, or auto");
    options.mode = TL_PLAN_INFER;
    const tl_status status = tl_plan_create(n.graph, &options, &plan, &err);
    assert_int_equal(status, wanted);
    if (status == TL_OK) { /* weights made ready before the first run */
        tl_weights *weights = make_weights(&n);
        assert_int_equal(tl_weights_prepare(weights, plan, &err), TL_OK);
        assert_int_equal(tl_plan_infer(plan, weights, 1, &err), TL_OK);
        tl_weights_release(&weights);
        tl_plan_destroy(&plan);
    }
    free_network(&n);
}

static tl_tensor_index side_by_side(tl_builder *b, const tl_tensor_index *both)
{
    tl_attrs attrs = tl_attrs_default(TL_OP_CONCAT);
    attrs.axis = -1;
    return tl_builder_node(
        b, &(tl_node_options){
               .kind = TL_OP_CONCAT, .attrs = &attrs, .inputs = both, .input_count = 2 });
}

/* x at 25 rows of 24 pixels, by one mode and then by the other. */
static tl_tensor_index resized(tl_builder *b, tl_tensor_index x)
{
    tl_tensor_index both[2];
    for (int i = 0; i < 2; i++) {
        tl_attrs attrs = tl_attrs_default(TL_OP_RESIZE);
        attrs.resize.mode = i == 0 ? TL_RESIZE_NEAREST : TL_RESIZE_LINEAR;
        attrs.resize.height = 25;
        attrs.resize.width = 24;
        both[i] = tl_builder_node(
            b, &(tl_node_options){
                   .kind = TL_OP_RESIZE, .attrs = &attrs, .inputs = &x, .input_count = 1 });
    }
    return side_by_side(b, both);
}

/* Every kind of convolution that serves, and what lies between, of an image or of several in one
 * item. */
static network make_images(const tl_shape *shape)
{
    network n = { NULL, NULL };
    tl_builder *b = NULL;
    assert_int_equal(tl_builder_create(&b, NULL), TL_OK);
    const tl_conv_options same = tl_conv_square(3, 1, 1), down = tl_conv_square(3, 2, 1);
    const tl_conv_options point = tl_conv_square(1, 1, 1), depth = tl_conv_square(5, 1, 16);
    tl_conv_options wide = tl_conv_square(3, 1, 1);
    wide.window.dilation_h = wide.window.dilation_w = 2;
    tl_tensor_index x = tl_builder_conv(b, "w", tl_builder_input(b, "x", shape), 16, &same);
    tl_tensor_index y = tl_builder_conv(b, "d", tl_builder_unary(b, TL_OP_SILU, x), 16, &depth);
    y = tl_builder_conv(b, "p", tl_builder_unary(b, TL_OP_RELU, y), 16, &point);
    x = tl_builder_binary(b, TL_OP_ADD, x, y);
    x = tl_builder_unary(b, TL_OP_RELU, x);
    const tl_tensor_index parts[] = { tl_builder_conv(b, "c", x, 16, &down),
                                      tl_builder_conv(b, "c2", x, 8, &down) };
    x = resized(b, side_by_side(b, parts));
    x = tl_builder_unary(b, TL_OP_TANH, tl_builder_max_pool(b, x, 5, 1, 2));
    tl_builder_output(b, tl_builder_conv(b, "o", x, 5, &wide));
    assert_int_equal(tl_builder_finish(b, 8, &n.graph, &n.flat, NULL), TL_OK);
    tl_builder_destroy(&b);
    return n;
}

/* Images in the axes of one item are served as the same images in a batch, and much like they are in
 * float32. */
static void check_images_of_an_item(tl_precision precision)
{
    enum { IMAGES = 3, FLOATS = 13 * 12 * 16 };
    const tl_shape one = tl_shape_image(13, 12, 16);
    const tl_shape all = { .rank = 4, .dim = { IMAGES, 13, 12, 16 } };
    network batch = make_images(&one), whole = make_images(&all);
    tl_weights *weights = make_weights(&batch), *weights_whole = make_weights(&whole);
    tl_plan *expected = make_plan_in(&batch, IMAGES, TL_PLAN_INFER, 1, precision);
    fill(tl_plan_input(expected, 0), IMAGES * FLOATS, 4);
    assert_int_equal(tl_plan_infer(expected, weights, IMAGES, NULL), TL_OK);
    const size_t count = tl_shape_count(tl_graph_output_shape(whole.graph, 0));
    tl_plan *exact = make_plan(&batch, IMAGES, TL_PLAN_INFER, 1);
    fill(tl_plan_input(exact, 0), IMAGES * FLOATS, 4);
    assert_int_equal(tl_plan_infer(exact, weights, IMAGES, NULL), TL_OK);
    assert_true(worst_share(tl_plan_output(expected, 0), tl_plan_output(exact, 0), count) <= 3e-2f);
    tl_plan_destroy(&exact);
    for (uint32_t threads = 1; threads <= TEAM; threads++) {
        tl_plan *plan = make_plan_in(&whole, 1, TL_PLAN_INFER, threads, precision);
        fill(tl_plan_input(plan, 0), IMAGES * FLOATS, 4);
        assert_int_equal(tl_plan_infer(plan, weights_whole, 1, NULL), TL_OK);
        assert_memory_equal(tl_plan_output(plan, 0), tl_plan_output(expected, 0),
                            count * sizeof(float));
        tl_plan_destroy(&plan);
    }
    tl_plan_destroy(&expected);
    tl_weights_release(&weights);
    tl_weights_release(&weights_whole);
    free_network(&batch);
    free_network(&whole);
}

static void test_images_of_an_item(void **state)
{
    (void)state;
    check_images_of_an_item(TL_PRECISION_FLOAT32);
    if (tl_device_runs_bf16()) check_images_of_an_item(TL_PRECISION_BF16);
}

static void test_batch_and_threads_do_not_matter(void **state)
{
    (void)state;
    network n = make_network(TL_OP_RELU);
    tl_weights *weights = make_weights(&n);
    const size_t count = count_of(&n);
    float first[32 * OUTPUTS], features[32 * 32];
    assert_int_equal(tl_graph_feature_count(n.graph), 32);
    const uint32_t batches[] = { 32, 1, 7, 16, 1 }, threads[] = { 1, 1, TEAM, TEAM, TEAM };
    for (size_t b = 0; b < TL_COUNT_OF(batches); b++) {
        tl_plan *plan = make_plan(&n, batches[b], TL_PLAN_INFER, threads[b]);
        for (uint32_t from = 0; from < 32; from += batches[b]) {
            uint32_t items = 32 - from < batches[b] ? 32 - from : batches[b];
            for (uint32_t i = 0; i < items; i++)
                fill(tl_plan_input(plan, 0) + i * count, count, from + i);
            assert_int_equal(tl_plan_infer(plan, weights, items, NULL), TL_OK);
            if (b == 0) {
                memcpy(first, tl_plan_output(plan, 0), sizeof first);
                memcpy(features, tl_plan_features(plan), sizeof features);
            }
            assert_memory_equal(tl_plan_output(plan, 0), first + from * OUTPUTS,
                                items * OUTPUTS * sizeof(float));
            assert_memory_equal(tl_plan_features(plan), features + from * 32,
                                items * 32 * sizeof(float));
        }
        tl_plan_destroy(&plan);
    }
    tl_weights_release(&weights);
    free_network(&n);
}

static void answer_of(tl_plan *plan, const tl_weights *weights, float out[OUTPUTS])
{
    assert_int_equal(tl_plan_infer(plan, weights, 1, NULL), TL_OK);
    memcpy(out, tl_plan_output(plan, 0), OUTPUTS * sizeof *out);
}

/* Weights in the memory of others, given up before, are as good as new; those that live keep theirs. */
static void test_weights_in_used_memory(void **state)
{
    (void)state;
    network n = make_wide();
    tl_plan *plan = make_plan(&n, 1, TL_PLAN_INFER, 1);
    fill(tl_plan_input(plan, 0), count_of(&n), 3);
    float first[OUTPUTS], other[OUTPUTS], again[OUTPUTS];
    tl_weights *kept = make_weights(&n);
    answer_of(plan, kept, first);
    for (int round = 0; round < 4; round++) { /* doubled numbers and the first ones in turn */
        for (size_t i = 0; i < tl_graph_float_count(n.graph); i++)
            n.flat[i] *= round % 2 == 0 ? 2.0f : 0.5f;
        tl_weights *changed = make_weights(&n);
        answer_of(plan, changed, round == 0 ? other : again);
        if (round > 0) assert_memory_equal(again, round % 2 == 0 ? other : first, sizeof again);
        answer_of(plan, kept, again);
        assert_memory_equal(again, first, sizeof again);
        tl_weights_release(&changed);
    }
    assert_memory_not_equal(other, first, sizeof first);
    tl_weights_release(&kept);
    tl_plan_destroy(&plan);
    free_network(&n);
}

/* Weights made by the plan's threads are the same; a number that is not finite is found in any
 * parameter, whoever has it, and the plan is as good as before. */
static void test_weights_by_threads(void **state)
{
    (void)state;
    network n = make_wide();
    float expected[OUTPUTS], answer[OUTPUTS];
    for (uint32_t threads = 1; threads <= TEAM; threads++) {
        tl_plan *plan = make_plan(&n, 1, TL_PLAN_INFER, threads);
        fill(tl_plan_input(plan, 0), count_of(&n), 3);
        tl_weights *alone = make_weights(&n), *weights = NULL;
        answer_of(plan, alone, expected);
        for (size_t p = 0; p < tl_graph_param_count(n.graph); p++) {
            const tl_param *param = tl_graph_param(n.graph, p);
            float *last = n.flat + param->offset + param->count - 1, kept = *last;
            tl_error err = { .status = TL_OK };
            *last = INFINITY;
            assert_int_equal(tl_plan_create_weights(plan, n.flat, &weights, &err), TL_EINVAL);
            assert_non_null(strstr(err.text, param->name));
            assert_null(weights);
            *last = kept;
        }
        assert_int_equal(tl_plan_create_weights(plan, n.flat, &weights, NULL), TL_OK);
        assert_memory_equal(tl_weights_flat(weights), n.flat,
                            tl_graph_float_count(n.graph) * sizeof(float));
        answer_of(plan, weights, answer);
        assert_memory_equal(answer, expected, sizeof answer);
        tl_weights_release(&weights);
        tl_weights_release(&alone);
        tl_plan_destroy(&plan);
    }
    free_network(&n);
}

static void test_running_again_gives_the_same(void **state)
{
    (void)state;
    network n = make_network(TL_OP_SILU);
    network other = make_network(TL_OP_SILU);
    fill(other.flat, tl_graph_param(other.graph, 0)->count, 99);
    tl_weights *a = make_weights(&n), *b = NULL;
    assert_int_equal(tl_weights_create(n.graph, other.flat, &b, NULL), TL_OK);
    tl_plan *plan = make_plan(&n, 4, TL_PLAN_INFER, 1);
    fill(tl_plan_input(plan, 0), 4 * count_of(&n), 1);
    float first[4 * OUTPUTS];
    assert_int_equal(tl_plan_infer(plan, a, 4, NULL), TL_OK);
    memcpy(first, tl_plan_output(plan, 0), sizeof first);
    assert_int_equal(tl_plan_infer(plan, b, 4, NULL), TL_OK);
    assert_memory_not_equal(tl_plan_output(plan, 0), first, sizeof first);
    assert_int_equal(tl_plan_infer(plan, a, 4, NULL), TL_OK);
    assert_memory_equal(tl_plan_output(plan, 0), first, sizeof first);
    tl_plan_destroy(&plan);
    tl_weights_release(&a);
    tl_weights_release(&b);
    free_network(&n);
    free_network(&other);
}

/* Serving with folded normalisation, and training with it frozen, are the same function. */
static void test_serving_agrees_with_training(void **state)
{
    (void)state;
    const tl_op_kind kinds[] = { TL_OP_RELU,    TL_OP_CLIP, TL_OP_HARD_SWISH, TL_OP_HARD_SIGMOID,
                                 TL_OP_SIGMOID, TL_OP_SILU, TL_OP_ABS,        TL_OP_LEAKY_RELU,
                                 TL_OP_TANH,    TL_OP_ELU,  TL_OP_GELU,       TL_OP_MISH };
    for (size_t k = 0; k < TL_COUNT_OF(kinds); k++) {
        network n = make_network(kinds[k]);
        for (size_t p = 0; p < tl_graph_param_count(n.graph); p++) {
            const tl_param *param = tl_graph_param(n.graph, p);
            if (param->role == TL_PARAM_WEIGHT) continue;
            float *to = n.flat + param->offset;
            fill(to, param->count, p);
            if (strstr(param->name, "var") != NULL)
                for (size_t i = 0; i < param->count; i++) to[i] = 0.5f + fabsf(to[i]);
        }
        tl_weights *weights = make_weights(&n);
        tl_plan *infer = make_plan(&n, 6, TL_PLAN_INFER, 1);
        tl_plan *train = make_plan(&n, 6, TL_PLAN_TRAIN_FROZEN, 1);
        fill(tl_plan_input(infer, 0), 6 * count_of(&n), 1);
        fill(tl_plan_input(train, 0), 6 * count_of(&n), 1);
        assert_int_equal(tl_plan_infer(infer, weights, 6, NULL), TL_OK);
        assert_int_equal(tl_plan_train_forward(train, n.flat, 6, NULL), TL_OK);
        for (size_t i = 0; i < 6 * OUTPUTS; i++) {
            float a = tl_plan_output(infer, 0)[i], b = tl_plan_output(train, 0)[i];
            if (!(fabsf(a - b) <= 2e-5f * (1 + fabsf(b))))
                fail_msg("activation %d: serving %g, training %g", kinds[k], (double)a, (double)b);
        }
        assert_true(tl_plan_bytes(train) > tl_plan_bytes(infer));
        tl_plan_destroy(&infer);
        tl_plan_destroy(&train);
        tl_weights_release(&weights);
        free_network(&n);
    }
}

/* Values that are read twice, or are outputs, must survive fusing: the first network may fold
 * nothing into what the second one shows. */
static void test_fusing_keeps_what_others_read(void **state)
{
    (void)state;
    float first[OUTPUTS] = { 0 };
    for (int shown = 0; shown < 2; shown++) {
        network n;
        tl_builder *b = NULL;
        assert_int_equal(tl_builder_create(&b, NULL), TL_OK);
        const tl_shape shape = tl_shape_image(6, 6, 3);
        const tl_conv_options square = tl_conv_square(3, 1, 1);
        tl_tensor_index parts[6];
        parts[0] = tl_builder_conv(b, "c", tl_builder_input(b, "x", &shape), OUTPUTS, &square);
        parts[1] = tl_builder_batch_norm(b, "n", parts[0], 1e-5f, 0.1f);
        parts[2] = tl_builder_unary(b, TL_OP_RELU, parts[1]);
        parts[3] = tl_builder_unary(b, TL_OP_SIGMOID, parts[2]);
        parts[4] = tl_builder_binary(b, TL_OP_MUL, parts[2], parts[3]);
        parts[5] = tl_builder_unary(b, TL_OP_ABS, parts[0]);
        tl_tensor_index sum = parts[0];
        for (int i = 1; i < 6; i++) sum = tl_builder_binary(b, TL_OP_ADD, sum, parts[i]);
        tl_builder_output(b, tl_builder_unary(b, TL_OP_GLOBAL_AVERAGE_POOL, sum));
        for (int i = 0; i < 6 && shown; i++) tl_builder_output(b, parts[i]);
        assert_int_equal(tl_builder_finish(b, 3, &n.graph, &n.flat, NULL), TL_OK);
        tl_builder_destroy(&b);
        for (int mode = TL_PLAN_INFER; mode <= TL_PLAN_TRAIN_FROZEN; mode++) {
            tl_weights *weights = make_weights(&n);
            tl_plan *plan = make_plan(&n, 1, (tl_plan_mode)mode, 1);
            fill(tl_plan_input(plan, 0), count_of(&n), 3);
            if (mode == TL_PLAN_INFER)
                assert_int_equal(tl_plan_infer(plan, weights, 1, NULL), TL_OK);
            else
                assert_int_equal(tl_plan_train_forward(plan, n.flat, 1, NULL), TL_OK);
            const float *out = tl_plan_output(plan, 0);
            for (int i = 0; i < OUTPUTS; i++) {
                if (shown == 0 && mode == TL_PLAN_INFER) first[i] = out[i];
                assert_true(fabsf(out[i] - first[i]) < 1e-5f * (1 + fabsf(first[i])));
            }
            if (shown == 1) {
                double want = 0; /* the first channel of output 0, from the outputs it is made of */
                for (size_t p = 1; p <= 6; p++)
                    for (size_t i = 0; i < 36; i++)
                        want += (double)tl_plan_output(plan, p)[i * OUTPUTS] / 36;
                assert_true(fabs(want - (double)out[0]) < 1e-4);
            }
            tl_plan_destroy(&plan);
            tl_weights_release(&weights);
        }
        free_network(&n);
    }
}

static void test_fusing_keeps_outputs(void **state)
{
    (void)state;
    network n;
    tl_builder *b = NULL;
    assert_int_equal(tl_builder_create(&b, NULL), TL_OK);
    const tl_shape shape = tl_shape_image(6, 6, 3);
    const tl_conv_options square = tl_conv_square(3, 1, 1);
    tl_tensor_index x = tl_builder_conv(b, "c", tl_builder_input(b, "x", &shape), 2, &square);
    tl_builder_output(b, x);
    tl_builder_output(b, tl_builder_unary(b, TL_OP_RELU, x));
    assert_int_equal(tl_builder_finish(b, 3, &n.graph, &n.flat, NULL), TL_OK);
    tl_builder_destroy(&b);
    tl_weights *weights = make_weights(&n);
    tl_plan *plan = make_plan(&n, 1, TL_PLAN_INFER, 1);
    fill(tl_plan_input(plan, 0), count_of(&n), 3);
    assert_int_equal(tl_plan_infer(plan, weights, 1, NULL), TL_OK);
    for (size_t i = 0; i < 72; i++) {
        float before = tl_plan_output(plan, 0)[i], after = tl_plan_output(plan, 1)[i];
        assert_true(before != 0.0f);
        assert_true(after == (before > 0 ? before : 0.0f));
    }
    tl_plan_destroy(&plan);
    tl_weights_release(&weights);
    free_network(&n);
}

typedef struct server {
    const network *n;
    tl_weights *weights;
    float out[OUTPUTS];
} server;

static void *serve(void *argument)
{
    server *s = argument;
    tl_plan *plan = make_plan(s->n, 2, TL_PLAN_INFER, 1);
    fill(tl_plan_input(plan, 0), count_of(s->n), 3);
    for (int i = 0; i < 50; i++)
        if (tl_plan_infer(plan, s->weights, 1, NULL) != TL_OK) break;
    memcpy(s->out, tl_plan_output(plan, 0), sizeof s->out);
    tl_plan_destroy(&plan);
    tl_weights_release(&s->weights);
    return NULL;
}

static void test_threads_share_weights(void **state)
{
    (void)state;
    network n = make_network(TL_OP_RELU);
    server servers[3];
    pthread_t threads[3];
    tl_weights *weights = make_weights(&n);
    for (int i = 0; i < 3; i++) {
        servers[i] = (server){ .n = &n, .weights = weights };
        tl_weights_retain(weights);
        assert_int_equal(pthread_create(&threads[i], NULL, serve, &servers[i]), 0);
    }
    tl_weights *more = make_weights(&n); /* a publish meanwhile */
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    assert_memory_equal(servers[0].out, servers[1].out, sizeof servers[0].out);
    assert_memory_equal(servers[0].out, servers[2].out, sizeof servers[0].out);
    tl_weights_release(&more);
    tl_weights_release(&weights);
    free_network(&n);
}

/* ---- Training -------------------------------------------------------------------------------- */

static double loss_of(tl_plan *plan, float *flat, size_t floats, const float *by, uint32_t batch)
{
    float *copy = malloc(floats * sizeof *copy); /* live statistics move the running ones */
    assert_non_null(copy);
    memcpy(copy, flat, floats * sizeof *copy);
    assert_int_equal(tl_plan_train_forward(plan, copy, batch, NULL), TL_OK);
    free(copy);
    double sum = 0;
    for (size_t i = 0; i < batch * OUTPUTS; i++)
        sum += (double)by[i] * (double)tl_plan_output(plan, 0)[i];
    return sum;
}

/* The whole backward pass, buffers shared by liveness and all, against finite differences. */
static void check_gradient(tl_plan_mode mode)
{
    enum { batch = 5 };
    network n = make_network(SMOOTH);
    tl_plan *plan = make_plan(&n, batch, mode, 1);
    const size_t floats = tl_graph_float_count(n.graph);
    float *grad = malloc(floats * sizeof *grad), *moved = malloc(floats * sizeof *moved);
    float by[batch * OUTPUTS];
    fill(by, batch * OUTPUTS, 11);
    fill(tl_plan_input(plan, 0), batch * count_of(&n), 12);
    loss_of(plan, n.flat, floats, by, batch);
    assert_int_equal(tl_plan_train_backward(plan, n.flat, by, grad, NULL), TL_OK);
    const float h = 2e-3f;
    for (size_t p = 0; p < tl_graph_param_count(n.graph); p++) {
        const tl_param *param = tl_graph_param(n.graph, p);
        double norm = 0, worst = 0;
        for (size_t i = 0; i < param->count; i++) {
            norm += (double)grad[param->offset + i] * (double)grad[param->offset + i];
            if (param->role == TL_PARAM_RUNNING) assert_true(grad[param->offset + i] == 0.0f);
        }
        if (param->role == TL_PARAM_RUNNING) continue;
        for (int d = 0; d < 4; d++) {
            tl_rng rng;
            double analytic = 0, numeric = 0;
            for (int side = 0; side < 2; side++) {
                tl_rng_seed(&rng, p, (uint64_t)d);
                memcpy(moved, n.flat, floats * sizeof *moved);
                for (size_t i = param->offset; i < param->offset + param->count; i++) {
                    float step = (tl_rng_u64(&rng) & 1) != 0 ? h : -h;
                    moved[i] += side == 0 ? step : -step;
                    analytic += (side == 0 ? 1 : -1) * (double)grad[i] * (double)moved[i];
                }
                numeric += (side == 0 ? 1 : -1) * loss_of(plan, moved, floats, by, batch);
            }
            double share = fabs(numeric - analytic) / (2 * (double)h) / (sqrt(norm) + 0.01);
            if (share > worst) worst = share;
        }
        if (!(worst < 0.02)) fail_msg("gradient of %s is off by %g", param->name, worst);
    }
    free(grad);
    free(moved);
    tl_plan_destroy(&plan);
    free_network(&n);
}

static void test_gradient_frozen(void **state)
{
    (void)state, check_gradient(TL_PLAN_TRAIN_FROZEN);
}
static void test_gradient_live(void **state)
{
    (void)state, check_gradient(TL_PLAN_TRAIN_LIVE);
}

/* Three steps with so many threads; flat and grad [floats] are malloc'ed. */
static void train_steps(const network *n, uint32_t threads, float **flat, float **grad)
{
    const size_t floats = tl_graph_float_count(n->graph);
    float by[8 * OUTPUTS];
    fill(by, 8 * OUTPUTS, 2);
    *grad = malloc(floats * sizeof(float));
    *flat = malloc(floats * sizeof(float));
    memcpy(*flat, n->flat, floats * sizeof(float));
    tl_plan *plan = make_plan(n, 8, TL_PLAN_TRAIN_LIVE, threads);
    for (int step = 0; step < 3; step++) {
        fill(tl_plan_input(plan, 0), 8 * count_of(n), (uint64_t)step);
        assert_int_equal(tl_plan_train_forward(plan, *flat, 8, NULL), TL_OK);
        assert_int_equal(tl_plan_train_backward(plan, *flat, by, *grad, NULL), TL_OK);
        for (size_t i = 0; i < floats; i++) (*flat)[i] -= 0.01f * (*grad)[i];
    }
    assert_true(tl_plan_node_count(plan) > 0);
    tl_plan_destroy(&plan);
}

/* Relative distance of two vectors. */
static double distance(const float *a, const float *b, size_t count)
{
    double error = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)a[i] * (double)a[i];
    }
    return sqrt(error / norm);
}

static void test_training_repeats_bit_for_bit(void **state)
{
    (void)state;
    network n = make_network(TL_OP_RELU);
    const size_t bytes = tl_graph_float_count(n.graph) * sizeof(float);
    float *grad[2], *flat[2], *alone_grad, *alone_flat;
    train_steps(&n, 1, &alone_flat, &alone_grad);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        for (int r = 0; r < 2; r++) train_steps(&n, threads, &flat[r], &grad[r]);
        assert_memory_equal(grad[0], grad[1], bytes);
        assert_memory_equal(flat[0], flat[1], bytes);
        assert_true(distance(alone_grad, grad[0], bytes / sizeof(float)) < 1e-3);
        assert_true(distance(alone_flat, flat[0], bytes / sizeof(float)) < 1e-5);
        for (int r = 0; r < 2; r++) free(grad[r]), free(flat[r]);
    }
    free(alone_grad), free(alone_flat);
    free_network(&n);
}

static void test_live_statistics(void **state)
{
    (void)state;
    tl_builder *b = NULL;
    network n;
    tl_error err;
    assert_int_equal(tl_builder_create(&b, &err), TL_OK);
    const tl_shape shape = tl_shape_image(3, 5, 7);
    tl_tensor_index x = tl_builder_input(b, "x", &shape);
    x = tl_builder_batch_norm(b, "n", x, 1e-5f, 0.25f);
    tl_builder_output(b, tl_builder_unary(b, TL_OP_GLOBAL_AVERAGE_POOL, x));
    assert_int_equal(tl_builder_finish(b, 1, &n.graph, &n.flat, &err), TL_OK);
    tl_builder_destroy(&b);
    tl_plan *plan = make_plan(&n, 4, TL_PLAN_TRAIN_LIVE, 1);
    float *in = tl_plan_input(plan, 0);
    fill(in, 4 * 105, 1);
    for (size_t i = 0; i < 4 * 105; i++) in[i] = in[i] * 0.1f + 1000.0f * (float)(i % 7);
    assert_int_equal(tl_plan_train_forward(plan, n.flat, 4, NULL), TL_OK);
    const float *mean = n.flat + tl_graph_param(n.graph, 2)->offset;
    const float *variance = n.flat + tl_graph_param(n.graph, 3)->offset;
    assert_string_equal(tl_graph_param(n.graph, 2)->name, "n.running_mean");
    for (size_t c = 0; c < 7; c++) {
        double m = 0, v = 0;
        for (size_t i = c; i < 4 * 105; i += 7) m += (double)in[i] / 60;
        for (size_t i = c; i < 4 * 105; i += 7) v += ((double)in[i] - m) * ((double)in[i] - m) / 59;
        assert_true(fabs((double)mean[c] - 0.25 * m) < 1e-5 * (1 + m));
        assert_true(fabs((double)variance[c] - (0.75 + 0.25 * v)) < 1e-6);
    }
    tl_plan_destroy(&plan);
    free_network(&n);
}

/* ---- Graphs ---------------------------------------------------------------------------------- */

static void test_structure(void **state)
{
    (void)state;
    network a = make_network(TL_OP_RELU), b = make_network(TL_OP_RELU);
    network c = make_network(TL_OP_SILU);
    assert_true(tl_graph_hash(a.graph) == tl_graph_hash(b.graph));
    assert_true(tl_graph_hash(a.graph) != tl_graph_hash(c.graph));
    assert_memory_equal(a.flat, b.flat, tl_graph_float_count(a.graph) * sizeof(float));
    size_t fc = tl_graph_find_param(a.graph, "fc.weight");
    assert_true(fc != SIZE_MAX);
    assert_int_equal(tl_graph_param(a.graph, fc)->stage, 0);
    assert_int_equal(tl_graph_param(a.graph, tl_graph_find_param(a.graph, "n3.bias"))->stage, 1);
    assert_int_equal(tl_graph_param(a.graph, tl_graph_find_param(a.graph, "c2.weight"))->stage, 1);
    assert_int_equal(tl_graph_param(a.graph, tl_graph_find_param(a.graph, "c1.weight"))->stage, 5);
    assert_true(tl_graph_find_param(a.graph, "nothing") == SIZE_MAX);
    tl_plan *plan = make_plan(&a, 1, TL_PLAN_INFER, 1);
    tl_node_cost cost;
    tl_plan_node_cost(plan, 0, &cost);
    assert_string_equal(cost.op, "conv+norm+relu");
    assert_int_equal(cost.macs, 7 * 6 * 11 * 27);
    tl_plan_destroy(&plan);
    free_network(&a);
    free_network(&b);
    free_network(&c);
}

static tl_status build_bad(int which, tl_error *err)
{
    tl_builder *b = NULL;
    assert_int_equal(tl_builder_create(&b, err), TL_OK);
    const tl_shape shape = tl_shape_image(8, 8, 3), zero = tl_shape_image(0, 8, 3);
    const tl_shape row = tl_shape_vector(4);
    tl_tensor_index x = tl_builder_input(b, "x", which == 0 ? &zero : &shape);
    tl_tensor_index r = tl_builder_input(b, "r", &row);
    tl_conv_options o = tl_conv_square(3, 1, 1);
    float four[4] = { 0 };
    const tl_param_init short_weights = { .name = "w", .values = four, .count = 4 };
    switch (which) {
    case 1: o.window.kernel_h = 11, o.window.pad_top = o.window.pad_bottom = 0; break;
    case 2: o.groups = 2; break;
    case 3: o.window.stride_w = 0; break;
    case 4: o.window.pad_left = 3; break;
    case 5: x = tl_builder_binary(b, TL_OP_ADD, x, r); break;
    case 6: x = tl_builder_gemm(b, "g", x, 0); break;
    case 7: x = tl_builder_slice(b, x, 2, 4); break;
    case 8: x = tl_builder_batch_norm(b, "n", x, 0.0f, 0.1f); break;
    case 9: x = tl_builder_unary(b, TL_OP_GLOBAL_AVERAGE_POOL, r); break;
    case 10: x = tl_builder_max_pool(b, x, 3, 1, 3); break;
    case 11: x = tl_builder_unary(b, TL_OP_RELU, 77); break;
    case 12:
        x = tl_builder_node(b, &(tl_node_options){ .kind = TL_OP_BATCH_NORM,
                                                   .inputs = &x,
                                                   .input_count = 1,
                                                   .params = &short_weights,
                                                   .param_count = 1 });
        break;
    case 13: x = tl_builder_node(b, &(tl_node_options){ .kind = TL_OP_CONCAT }); break;
    case 14: tl_builder_output(b, x); break;
    case 15: o.groups = 0; break;
    default: break;
    }
    if (which != 6) x = tl_builder_conv(b, "c", x, 4, &o);
    if (which == 16) x = tl_builder_conv(b, "c", x, 4, &o);
    assert_true(tl_builder_shape(b, x) == NULL || which == 17 || which == 18);
    if (which != 18) tl_builder_output(b, x);
    tl_graph *graph = NULL;
    tl_status status = tl_builder_finish(b, 1, &graph, NULL, err);
    tl_graph_release(&graph);
    tl_builder_destroy(&b);
    return status;
}

static void test_bad_graphs_are_refused(void **state)
{
    (void)state;
    const tl_status want[] = { TL_ESHAPE, TL_ESHAPE, TL_ESHAPE, TL_ESHAPE, TL_ESHAPE,
                               TL_ESHAPE, TL_ESHAPE, TL_ESHAPE, TL_EINVAL, TL_ESHAPE,
                               TL_ESHAPE, TL_EINVAL, TL_ESHAPE, TL_EINVAL, TL_EINVAL,
                               TL_ESHAPE, TL_EINVAL, TL_OK,     TL_EINVAL };
    for (int which = 0; which < (int)TL_COUNT_OF(want); which++) {
        tl_error err = { .status = TL_OK };
        tl_status status = build_bad(which, &err);
        if (status != want[which])
            fail_msg("graph %d: %s (%s)", which, tl_status_name(status), err.text);
    }
}

static void test_bad_calls_are_refused(void **state)
{
    (void)state;
    network n = make_network(TL_OP_RELU);
    tl_error err;
    tl_plan *plan = NULL;
    tl_weights *weights = NULL;
    tl_plan_options options = { .batch_max = 0, .mode = TL_PLAN_INFER, .threads = 1 };
    assert_int_equal(tl_plan_create(n.graph, &options, &plan, &err), TL_EINVAL);
    options.batch_max = 2;
    options.threads = 100000;
    assert_int_equal(tl_plan_create(n.graph, &options, &plan, &err), TL_EINVAL);
    assert_null(plan);
    plan = make_plan(&n, 2, TL_PLAN_INFER, 1);
    weights = make_weights(&n);
    assert_int_equal(tl_plan_infer(plan, weights, 3, &err), TL_ESHAPE);
    assert_int_equal(tl_plan_infer(plan, weights, 0, &err), TL_ESHAPE);
    tl_plan_destroy(&plan);
    plan = make_plan(&n, 2, TL_PLAN_TRAIN_LIVE, 1);
    assert_int_equal(tl_plan_train_forward(plan, n.flat, 1, &err), TL_ESHAPE);
    tl_plan_destroy(&plan);
    tl_weights_release(&weights);
    n.flat[3] = NAN;
    assert_int_equal(tl_weights_create(n.graph, n.flat, &weights, &err), TL_EINVAL);
    assert_null(weights);
    assert_non_null(strstr(err.text, "c1.weight"));
    free_network(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_and_threads_do_not_matter),
        cmocka_unit_test(test_serving_kernels),
        cmocka_unit_test(test_serving_in_bf16),
        cmocka_unit_test(test_precisions),
        cmocka_unit_test(test_weights_in_used_memory),
        cmocka_unit_test(test_weights_by_threads),
        cmocka_unit_test(test_images_of_an_item),
        cmocka_unit_test(test_running_again_gives_the_same),
        cmocka_unit_test(test_serving_agrees_with_training),
        cmocka_unit_test(test_fusing_keeps_what_others_read),
        cmocka_unit_test(test_fusing_keeps_outputs),
        cmocka_unit_test(test_threads_share_weights),
        cmocka_unit_test(test_gradient_frozen),
        cmocka_unit_test(test_gradient_live),
        cmocka_unit_test(test_training_repeats_bit_for_bit),
        cmocka_unit_test(test_live_statistics),
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_bad_graphs_are_refused),
        cmocka_unit_test(test_bad_calls_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

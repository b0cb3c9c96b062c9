/* Training in bf16: beside float32, with and without rounding; that it repeats; that it learns. */
#include "base/rng.h"
#include "graph/builder.h"
#include "tensor/device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { OUTPUTS = 5 };

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

/* To what bf16 has without rounding. */
static void shorten(float *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        bits &= 0xffff0000u;
        memcpy(&numbers[i], &bits, sizeof bits);
    }
}

static network finish(tl_builder *b, tl_tensor_index output)
{
    network n = { NULL, NULL };
    tl_error err = { .status = TL_OK };
    tl_builder_output(b, output);
    if (tl_builder_finish(b, 7, &n.graph, &n.flat, &err) != TL_OK) fail_msg("%s", err.text);
    tl_builder_destroy(&b);
    return n;
}

static void free_network(network *n)
{
    free(n->flat);
    tl_graph_release(&n->graph);
}

static tl_plan *make_plan(const network *n, uint32_t batch, tl_plan_mode mode, uint32_t threads,
                          tl_precision precision)
{
    tl_plan *plan = NULL;
    tl_error err;
    const tl_plan_options options = {
        .batch_max = batch, .mode = mode, .threads = threads, .precision = precision
    };
    if (tl_plan_create(n->graph, &options, &plan, &err) != TL_OK) fail_msg("%s", err.text);
    assert_int_equal(tl_plan_precision(plan), precision);
    return plan;
}

/* What a step gives: the output, and the gradient of every parameter; and how many of each. */
typedef struct step {
    float *output, *grad;
    size_t outputs, parameters;
} step;

static void free_step(step *s)
{
    free(s->output);
    free(s->grad);
}

/* One step from seeded images and gradients; exact: of numbers that bf16 has. `flat` stays. */
static step run(const network *n, tl_plan_mode mode, uint32_t threads, tl_precision precision,
                bool exact)
{
    enum { ITEMS = 6 };
    tl_plan *plan = make_plan(n, ITEMS, mode, threads, precision);
    const size_t inputs = ITEMS * tl_shape_count(tl_graph_input_shape(n->graph, 0));
    step s = { .outputs = ITEMS * tl_shape_count(tl_graph_output_shape(n->graph, 0)),
               .parameters = tl_graph_float_count(n->graph) };
    float *flat = malloc(s.parameters * sizeof *flat);
    float *output_grad = malloc(s.outputs * sizeof *output_grad);
    s.output = malloc(s.outputs * sizeof *s.output);
    s.grad = malloc(s.parameters * sizeof *s.grad);
    assert_true(flat != NULL && output_grad != NULL && s.output != NULL && s.grad != NULL);
    memcpy(flat, n->flat, s.parameters * sizeof *flat);
    fill(tl_plan_input(plan, 0), inputs, 3);
    fill(output_grad, s.outputs, 4);
    if (exact) {
        shorten(flat, s.parameters);
        shorten(tl_plan_input(plan, 0), inputs);
        shorten(output_grad, s.outputs);
    }
    assert_int_equal(tl_plan_train_forward(plan, flat, ITEMS, NULL), TL_OK);
    memcpy(s.output, tl_plan_output(plan, 0), s.outputs * sizeof *s.output);
    assert_int_equal(tl_plan_train_backward(plan, flat, output_grad, s.grad, NULL), TL_OK);
    free(flat);
    free(output_grad);
    tl_plan_destroy(&plan);
    return s;
}

/* ---- One convolution ------------------------------------------------------------------------- */

typedef struct layer {
    uint32_t size, in, out, kernel, stride, groups, dilation;
    bool bias;
    bool winograd; /* faster by fewer products: it stays float32 */
} layer;

/* With a constant, 0, added to the image, whose gradient is that by the image. */
static network make_layer(const layer *l)
{
    tl_builder *b = NULL;
    assert_int_equal(tl_builder_create(&b, NULL), TL_OK);
    const tl_shape shape = tl_shape_image(l->size, l->size + 1, l->in);
    tl_conv_options o = tl_conv_square(l->kernel, l->stride, l->groups);
    o.bias = l->bias;
    o.window.dilation_h = o.window.dilation_w = l->dilation;
    o.window.pad_top = o.window.pad_bottom = o.window.pad_left = o.window.pad_right =
        l->kernel / 2 * l->dilation;
    float *zeros = calloc(tl_shape_count(&shape), sizeof *zeros);
    tl_tensor_index x = tl_builder_input(b, "x", &shape);
    x = tl_builder_binary(b, TL_OP_ADD, x, tl_builder_constant(b, "zero", &shape, zeros, true));
    free(zeros);
    return finish(b, tl_builder_conv(b, "c", x, l->out, &o));
}

/* The largest difference, as a share of the largest number. */
static double worst_share(const float *got, const float *wanted, size_t count)
{
    double largest = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)wanted[i]));
        worst = fmax(worst, fabs((double)got[i] - (double)wanted[i]));
    }
    return worst / largest;
}

static void check_share(const layer *l, double share, bool exact, const char *what)
{
    /* Sums in float32, in another order. Rounding moves an operand by at most 1/256 of itself, a
     * product of two by 1/128; what is summed errs in both directions. */
    const double most = exact || l->winograd ? 1e-5 : 1.0 / 128;
    const double least = exact || l->winograd ? 0 : 1.0 / 8192;
    if (share > most || share < least)
        fail_msg("%u: %u to %u, %ux%u/%u, %u groups, %s, %s: %g", l->size, l->in, l->out, l->kernel,
                 l->kernel, l->stride, l->groups, exact ? "exact" : "rounded", what, share);
}

/* Output, gradient by the image and by the parameters: of numbers that bf16 has, as in float32; of
 * others, to within bf16's rounding, and not nearer. */
static void test_one_convolution(void **state)
{
    (void)state;
    if (!tl_device_runs_bf16()) skip();
    static const layer layers[] = {
        { 12, 16, 24, 1, 1, 1, 1, false, false }, { 13, 19, 24, 1, 2, 1, 1, true, false },
        { 9, 16, 32, 3, 2, 1, 1, false, false },  { 12, 16, 16, 3, 1, 1, 1, true, false },
        { 10, 40, 48, 3, 1, 1, 1, false, false }, { 19, 32, 32, 3, 1, 1, 1, false, true },
        { 11, 32, 32, 3, 1, 2, 1, true, false },  { 11, 16, 8, 3, 1, 1, 2, true, false },
        { 7, 8, 80, 5, 1, 1, 1, true, false },
    };
    for (size_t i = 0; i < TL_COUNT_OF(layers); i++) {
        const layer *l = &layers[i];
        network n = make_layer(l);
        for (int exact = 0; exact < 2; exact++) {
            step a = run(&n, TL_PLAN_TRAIN_LIVE, 1, TL_PRECISION_FLOAT32, exact != 0);
            step b = run(&n, TL_PLAN_TRAIN_LIVE, 1, TL_PRECISION_BF16, exact != 0);
            check_share(l, worst_share(b.output, a.output, a.outputs), exact != 0, "output");
            for (size_t p = 0; p < tl_graph_param_count(n.graph); p++) {
                const tl_param *param = tl_graph_param(n.graph, p);
                const size_t at = param->offset;
                check_share(l, worst_share(b.grad + at, a.grad + at, param->count), exact != 0,
                            param->name);
            }
            free_step(&a);
            free_step(&b);
        }
        free_network(&n);
    }
}

/* ---- Whole networks -------------------------------------------------------------------------- */

/* Strided, pointwise, depthwise, with live normalisation, a residual and smooth activations. */
static network make_network(void)
{
    tl_builder *b = NULL;
    assert_int_equal(tl_builder_create(&b, NULL), TL_OK);
    const tl_shape shape = tl_shape_image(20, 19, 3);
    const tl_conv_options down = tl_conv_square(3, 2, 1), same = tl_conv_square(3, 1, 1);
    const tl_conv_options point = tl_conv_square(1, 1, 1), depth = tl_conv_square(3, 1, 24);
    tl_tensor_index x = tl_builder_input(b, "x", &shape), y;
    x = tl_builder_batch_norm(b, "n1", tl_builder_conv(b, "c1", x, 16, &same), 1e-5f, 0.1f);
    x = tl_builder_conv(b, "c2", tl_builder_unary(b, TL_OP_SILU, x), 24, &down);
    x = tl_builder_unary(b, TL_OP_SILU, tl_builder_batch_norm(b, "n2", x, 1e-5f, 0.1f));
    y = tl_builder_batch_norm(b, "n3", tl_builder_conv(b, "d", x, 24, &depth), 1e-5f, 0.1f);
    y = tl_builder_conv(b, "c3", tl_builder_unary(b, TL_OP_SILU, y), 24, &point);
    x = tl_builder_binary(b, TL_OP_ADD, x, tl_builder_batch_norm(b, "n4", y, 1e-5f, 0.1f));
    x = tl_builder_unary(b, TL_OP_SILU, tl_builder_conv(b, "c4", x, 40, &same));
    x = tl_builder_unary(b, TL_OP_FLATTEN, tl_builder_unary(b, TL_OP_GLOBAL_AVERAGE_POOL, x));
    return finish(b, tl_builder_gemm(b, "fc", x, OUTPUTS));
}

/* Length of the difference beside that of what is wanted. */
static double distance(const float *got, const float *wanted, size_t count)
{
    double all = 0, apart = 0;
    for (size_t i = 0; i < count; i++) {
        const double w = (double)wanted[i], d = (double)got[i] - w;
        all += w * w;
        apart += d * d;
    }
    return all > 0 ? sqrt(apart / all) : sqrt(apart);
}

/* Three convolutions on the way, two operands each, forward and once more backward: 12 roundings of
 * at most 1/256 each, 1/20 if all erred the same way. Independent ones make a quarter of that. */
static void test_network(void **state)
{
    (void)state;
    if (!tl_device_runs_bf16()) skip();
    network n = make_network();
    for (int mode = TL_PLAN_TRAIN_FROZEN; mode <= TL_PLAN_TRAIN_LIVE; mode++) {
        step a = run(&n, (tl_plan_mode)mode, 1, TL_PRECISION_FLOAT32, false);
        for (uint32_t threads = 1; threads <= 3; threads++) {
            step b = run(&n, (tl_plan_mode)mode, threads, TL_PRECISION_BF16, false);
            step again = run(&n, (tl_plan_mode)mode, threads, TL_PRECISION_BF16, false);
            assert_memory_equal(b.grad, again.grad, b.parameters * sizeof(float));
            const double output = distance(b.output, a.output, a.outputs);
            assert_true(output > 1e-4 && output < 0.02);
            for (size_t p = 0; p < tl_graph_param_count(n.graph); p++) {
                const tl_param *param = tl_graph_param(n.graph, p);
                const double apart =
                    distance(b.grad + param->offset, a.grad + param->offset, param->count);
                if (!(apart <= 0.05)) fail_msg("%s: %g", param->name, apart);
            }
            free_step(&b);
            free_step(&again);
        }
        free_step(&a);
    }
    free_network(&n);
}

/* Mean of the squares, after so many steps down the gradient. */
static double fitted(const network *n, tl_precision precision, int steps)
{
    enum { ITEMS = 8 };
    const float rate = 0.5f;
    const size_t count = tl_graph_float_count(n->graph);
    tl_plan *plan = make_plan(n, ITEMS, TL_PLAN_TRAIN_LIVE, 1, precision);
    float *flat = malloc(count * sizeof *flat), *grad = malloc(count * sizeof *grad);
    float wanted[ITEMS * OUTPUTS], error[ITEMS * OUTPUTS];
    assert_true(flat != NULL && grad != NULL);
    memcpy(flat, n->flat, count * sizeof *flat);
    fill(tl_plan_input(plan, 0), ITEMS * tl_shape_count(tl_graph_input_shape(n->graph, 0)), 5);
    fill(wanted, ITEMS * OUTPUTS, 6);
    double loss = 0;
    for (int s = 0; s <= steps; s++) {
        assert_int_equal(tl_plan_train_forward(plan, flat, ITEMS, NULL), TL_OK);
        loss = 0;
        for (size_t i = 0; i < ITEMS * OUTPUTS; i++) {
            error[i] = (tl_plan_output(plan, 0)[i] - wanted[i]) / (ITEMS * OUTPUTS);
            loss += (double)error[i] * (double)error[i] * (ITEMS * OUTPUTS);
        }
        assert_int_equal(tl_plan_train_backward(plan, flat, error, grad, NULL), TL_OK);
        for (size_t i = 0; i < count; i++) flat[i] -= rate * grad[i];
    }
    free(flat);
    free(grad);
    tl_plan_destroy(&plan);
    return loss;
}

/* Steps far smaller than a weight's rounding to bf16 still add up: the weights are float32. */
static void test_learns(void **state)
{
    (void)state;
    if (!tl_device_runs_bf16()) skip();
    enum { STEPS = 150 };
    network n = make_network();
    const double start = fitted(&n, TL_PRECISION_FLOAT32, 0);
    const double wide = fitted(&n, TL_PRECISION_FLOAT32, STEPS);
    const double half = fitted(&n, TL_PRECISION_BF16, STEPS);
    print_message("%g to %g in float32, to %g in bf16\n", start, wide, half);
    assert_true(wide < start / 10);
    assert_true(fabs(half - wide) < start / 50);
    assert_true(half != wide);
    free_network(&n);
}

/* ---- Processors that have it not ------------------------------------------------------------- */

/* oneDNN reads what it may use when it is first asked: in a process of its own. */
static void test_refusal(void **state)
{
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1);
        network n = make_network();
        tl_plan *plan = NULL;
        tl_error err = { .status = TL_OK };
        const tl_plan_options options = {
            .batch_max = 1, .mode = TL_PLAN_TRAIN_LIVE, .threads = 1, .precision = TL_PRECISION_BF16
        };
        const tl_status status = tl_plan_create(n.graph, &options, &plan, &err);
        _exit(status == TL_EUNSUPPORTED && plan == NULL && strstr(err.text, "AVX-512") != NULL ? 0
                                                                                               : 1);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusal), /* before oneDNN is asked */
        cmocka_unit_test(test_one_convolution),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_learns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

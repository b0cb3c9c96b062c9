/* Losses over several outputs, gradients against finite differences; stages that stay. */
#include "graph/builder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 3, INPUTS = 3, FIRST = 2, SECOND = 4, GRADS = BATCH * (FIRST + SECOND) };

/* Output 0 is also what output 1 is made of; with `twice` it is output 2 as well. */
static tl_graph *make_graph(bool twice, float **flat)
{
    tl_builder *b = NULL;
    tl_graph *graph = NULL;
    assert_int_equal(tl_builder_create(&b, NULL), TL_OK);
    tl_shape shape = tl_shape_vector(INPUTS);
    tl_tensor_index x = tl_builder_input(b, "x", &shape);
    tl_tensor_index first = tl_builder_gemm(b, "first", x, FIRST);
    tl_tensor_index smooth = tl_builder_unary(b, TL_OP_SILU, first);
    tl_tensor_index second = tl_builder_gemm(b, "second", smooth, SECOND);
    tl_builder_output(b, first);
    tl_builder_output(b, second);
    if (twice) tl_builder_output(b, first);
    assert_int_equal(tl_builder_finish(b, 3, &graph, flat, NULL), TL_OK);
    tl_builder_destroy(&b);
    return graph;
}

static tl_plan *make_plan(tl_graph *graph, uint32_t loss_outputs, uint32_t threads)
{
    const tl_plan_options options = { .batch_max = BATCH,
                                      .mode = TL_PLAN_TRAIN_LIVE,
                                      .threads = threads,
                                      .loss_outputs = loss_outputs };
    tl_plan *plan = NULL;
    assert_int_equal(tl_plan_create(graph, &options, &plan, NULL), TL_OK);
    for (size_t i = 0; i < (size_t)BATCH * INPUTS; i++) tl_plan_input(plan, 0)[i] = sinf((float)i);
    return plan;
}

/* The sum of outputs weighted by `by`, laid out as backward takes it. */
static double loss_of(tl_plan *plan, float *flat, const float *by)
{
    double sum = 0;
    assert_int_equal(tl_plan_train_forward(plan, flat, BATCH, NULL), TL_OK);
    for (size_t i = 0; i < (size_t)BATCH * FIRST; i++)
        sum += (double)*by++ * (double)tl_plan_output(plan, 0)[i];
    for (size_t i = 0; i < (size_t)BATCH * SECOND; i++)
        sum += (double)*by++ * (double)tl_plan_output(plan, 1)[i];
    return sum;
}

static void check_two_outputs(uint32_t threads)
{
    float *flat = NULL, by[GRADS], grad[64];
    tl_graph *graph = make_graph(false, &flat);
    tl_plan *plan = make_plan(graph, 2, threads);
    size_t floats = tl_graph_float_count(graph);
    assert_true(floats <= TL_COUNT_OF(grad));
    for (size_t i = 0; i < GRADS; i++) by[i] = cosf((float)(7 * i));
    loss_of(plan, flat, by);
    assert_int_equal(tl_plan_train_backward(plan, flat, by, grad, NULL), TL_OK);
    for (size_t i = 0; i < floats; i++) {
        const float before = flat[i], h = 1e-2f;
        flat[i] = before + h;
        double numeric = loss_of(plan, flat, by);
        flat[i] = before - h;
        numeric = (numeric - loss_of(plan, flat, by)) / (2 * (double)h);
        flat[i] = before;
        assert_true(fabs(numeric - (double)grad[i]) < 2e-3);
    }
    tl_plan_destroy(&plan);
    tl_graph_release(&graph);
    free(flat);
}

static void gradients_of_two_outputs(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 2; threads++) check_two_outputs(threads);
}

/* A tensor that is two outputs gets the sum of both gradients. */
static void gradients_of_one_tensor_add_up(void **state)
{
    (void)state;
    float *flat = NULL, by[GRADS + BATCH * FIRST], grad[2][64];
    tl_graph *graph = make_graph(true, &flat);
    for (size_t i = 0; i < TL_COUNT_OF(by); i++) by[i] = 0.25f * (float)(i % 5);
    for (int r = 0; r < 2; r++) {
        tl_plan *plan = make_plan(graph, r == 0 ? 3 : 2, 1);
        assert_int_equal(tl_plan_train_forward(plan, flat, BATCH, NULL), TL_OK);
        assert_int_equal(tl_plan_train_backward(plan, flat, by, grad[r], NULL), TL_OK);
        tl_plan_destroy(&plan);
        for (size_t i = 0; i < (size_t)BATCH * FIRST; i++) by[i] += by[GRADS + i];
    }
    for (size_t i = 0; i < tl_graph_float_count(graph); i++)
        assert_float_equal(grad[0][i], grad[1][i], 1e-5);
    tl_graph_release(&graph);
    free(flat);
}

/* Only the last layer learns: its gradient is the same, all others' are 0, and their normalisation
 * stays, batch statistics or not. */
static void frozen_stages(void **state)
{
    (void)state;
    tl_builder *b = NULL;
    tl_graph *graph = NULL;
    float *flat = NULL, by[BATCH * 2], grad[2][64], moved[64];
    assert_int_equal(tl_builder_create(&b, NULL), TL_OK);
    tl_shape shape = tl_shape_image(1, 1, 3);
    tl_conv_options conv = tl_conv_square(1, 1, 1);
    tl_tensor_index x = tl_builder_input(b, "x", &shape);
    x = tl_builder_conv(b, "c", x, 4, &conv);
    x = tl_builder_unary(b, TL_OP_SILU, tl_builder_batch_norm(b, "n", x, 1e-3f, 0.1f));
    tl_builder_output(b, tl_builder_gemm(b, "head", tl_builder_unary(b, TL_OP_FLATTEN, x), 2));
    assert_int_equal(tl_builder_finish(b, 3, &graph, &flat, NULL), TL_OK);
    tl_builder_destroy(&b);
    size_t floats = tl_graph_float_count(graph);
    assert_true(floats <= TL_COUNT_OF(moved));
    for (size_t i = 0; i < TL_COUNT_OF(by); i++) by[i] = cosf((float)i);
    for (uint32_t stages = 0; stages < 2; stages++) {
        for (uint32_t threads = 1; threads <= 2; threads++) {
            const tl_plan_options options = { .batch_max = BATCH,
                                              .mode = stages == 0 ? TL_PLAN_TRAIN_FROZEN
                                                                  : TL_PLAN_TRAIN_LIVE,
                                              .threads = threads,
                                              .trained_stages = stages };
            tl_plan *plan = NULL;
            memcpy(moved, flat, floats * sizeof *flat);
            assert_int_equal(tl_plan_create(graph, &options, &plan, NULL), TL_OK);
            for (size_t i = 0; i < (size_t)BATCH * 3; i++)
                tl_plan_input(plan, 0)[i] = sinf((float)i);
            assert_int_equal(tl_plan_train_forward(plan, moved, BATCH, NULL), TL_OK);
            assert_int_equal(tl_plan_train_backward(plan, moved, by, grad[stages], NULL), TL_OK);
            assert_memory_equal(moved, flat, floats * sizeof *flat);
            tl_node_cost cost; /* of the convolution */
            tl_plan_node_cost(plan, 0, &cost);
            assert_true((cost.backward_s > 0.0) == (stages == 0));
            tl_plan_destroy(&plan);
        }
    }
    for (size_t p = 0; p < tl_graph_param_count(graph); p++) {
        const tl_param *param = tl_graph_param(graph, p);
        for (size_t i = param->offset; i < param->offset + param->count; i++)
            assert_float_equal(grad[1][i], param->stage == 0 ? grad[0][i] : 0.0f, 1e-6);
    }
    tl_graph_release(&graph);
    free(flat);
}

static void more_outputs_than_there_are(void **state)
{
    (void)state;
    float *flat = NULL;
    tl_graph *graph = make_graph(false, &flat);
    const tl_plan_options options = { .batch_max = 1,
                                      .mode = TL_PLAN_TRAIN_LIVE,
                                      .loss_outputs = 3 };
    tl_plan *plan = NULL;
    assert_int_equal(tl_plan_create(graph, &options, &plan, NULL), TL_EINVAL);
    tl_graph_release(&graph);
    free(flat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_two_outputs),
        cmocka_unit_test(gradients_of_one_tensor_add_up),
        cmocka_unit_test(frozen_stages),
        cmocka_unit_test(more_outputs_than_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

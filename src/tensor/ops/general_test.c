/* Operators on small numbers that were worked out by hand, and what they refuse. */
#include "tensor/device.h"
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NUMBERS(...)      ((const float[]){ __VA_ARGS__ })
#define SHAPE(rank_, ...) ((tl_shape){ .rank = (rank_), .dim = { __VA_ARGS__ } })

typedef struct op_call {
    tl_op_kind kind;
    tl_attrs attrs;
    size_t input_count;
    tl_shape inputs[3];
    const float *x[3];
    const float *params[2];
} op_call;

static op_call call1(tl_op_kind kind, tl_shape shape, const float *x)
{
    return (op_call){ .kind = kind,
                      .attrs = tl_attrs_default(kind),
                      .input_count = 1,
                      .inputs = { shape },
                      .x = { x } };
}

static op_call call2(tl_op_kind kind, tl_shape a, const float *x, tl_shape b, const float *y)
{
    op_call out = call1(kind, a, x);
    out.input_count = 2;
    out.inputs[1] = b;
    out.x[1] = y;
    return out;
}

static void *aligned(size_t bytes)
{
    void *out = aligned_alloc(TL_ALIGN_BYTES, (bytes / TL_ALIGN_BYTES + 1) * TL_ALIGN_BYTES);
    assert_non_null(out);
    memset(out, 0, bytes);
    return out;
}

/* The output is of this shape and has these numbers. */
static void expect(const op_call *call, tl_shape shape, const float *want)
{
    const tl_op *op = tl_op_get(call->kind);
    tl_op_state state = {
        .attrs = &call->attrs, .mode = TL_MODE_INFER, .batch = 1, .input_count = call->input_count
    };
    memcpy(state.inputs, call->inputs, sizeof call->inputs);
    tl_error err;
    if (op->shape(&call->attrs, call->inputs, call->input_count, &state.output, &err) != TL_OK)
        fail_msg("%s: %s", op->name, err.text);
    assert_true(tl_shape_equal(&state.output, &shape));
    assert_int_equal(tl_device_create_stream(&state.stream, NULL), TL_OK);
    assert_int_equal(tl_op_prepare(call->kind, &state, NULL), TL_OK);
    tl_op_run run = { .packed = aligned(state.needs.packed),
                      .scratch = aligned(state.needs.forward_scratch),
                      .y = aligned(tl_shape_count(&shape) * sizeof(float)) };
    float *x[3] = { NULL };
    for (size_t i = 0; i < call->input_count; i++) {
        const size_t bytes = tl_shape_count(&call->inputs[i]) * sizeof(float);
        x[i] = aligned(bytes);
        memcpy(x[i], call->x[i], bytes);
        run.x[i] = x[i];
    }
    if (op->pack != NULL)
        assert_int_equal(op->pack(&state, call->params, (void *)(uintptr_t)run.packed, NULL),
                         TL_OK);
    assert_int_equal(op->forward(&state, &run, NULL), TL_OK);
    for (size_t i = 0; i < tl_shape_count(&shape); i++)
        if (!(fabsf(run.y[i] - want[i]) <= 2e-6f * fmaxf(1, fabsf(want[i]))))
            fail_msg("%s [%zu]: got %.9g, want %.9g", op->name, i, (double)run.y[i],
                     (double)want[i]);
    tl_op_release(call->kind, &state);
    tl_device_destroy_stream(&state.stream);
    for (size_t i = 0; i < call->input_count; i++) free(x[i]);
    free(run.y);
    free(run.scratch);
    free((void *)(uintptr_t)run.packed);
}

static void refuse(const op_call *call)
{
    tl_shape out;
    tl_error err = { .status = TL_OK };
    const tl_op *op = tl_op_get(call->kind);
    const tl_status status = op->shape(&call->attrs, call->inputs, call->input_count, &out, &err);
    if (status == TL_OK) fail_msg("%s takes what it should refuse", op->name);
    assert_true(err.text[0] != '\0');
}

static void test_functions(void **state)
{
    (void)state;
    static const struct {
        tl_op_kind kind;
        float want[5]; /* of -2, -1/2, 0, 1/2, 3 */
    } cases[] = {
        { TL_OP_LEAKY_RELU, { -0.02f, -0.005f, 0, 0.5f, 3 } },
        { TL_OP_TANH, { -0.96402758f, -0.46211716f, 0, 0.46211716f, 0.99505475f } },
        { TL_OP_ELU, { -0.86466472f, -0.39346934f, 0, 0.5f, 3 } },
        { TL_OP_SELU, { -1.52016647f, -0.69175819f, 0, 0.52535051f, 3.15210306f } },
        { TL_OP_GELU, { -0.04550026f, -0.15426877f, 0, 0.34573123f, 2.99595031f } },
        { TL_OP_GELU_TANH, { -0.04540231f, -0.15428599f, 0, 0.34571401f, 2.99636261f } },
        { TL_OP_SOFTPLUS, { 0.12692801f, 0.47407698f, 0.69314718f, 0.97407698f, 3.04858735f } },
        { TL_OP_MISH, { -0.25250148f, -0.22074401f, 0, 0.37524524f, 2.98653500f } },
        { TL_OP_SOFTSIGN, { -0.66666667f, -0.33333333f, 0, 0.33333333f, 0.75f } },
        { TL_OP_EXP, { 0.13533528f, 0.60653066f, 1, 1.64872127f, 20.0855369f } },
        { TL_OP_NEG, { 2, 0.5f, 0, -0.5f, -3 } },
        { TL_OP_ERF, { -0.99532227f, -0.52049988f, 0, 0.52049988f, 0.99997791f } },
        { TL_OP_FLOOR, { -2, -1, 0, 0, 3 } },
        { TL_OP_CEIL, { -2, 0, 0, 1, 3 } },
        { TL_OP_SIGN, { -1, -1, 0, 1, 1 } },
        { TL_OP_ROUND, { -2, 0, 0, 0, 3 } },
        { TL_OP_NOT, { 0, 0, 1, 0, 0 } },
        { TL_OP_CAST_INTEGER, { -2, 0, 0, 0, 3 } },
        { TL_OP_CAST_BOOL, { 1, 1, 0, 1, 1 } },
    };
    const float *x = NUMBERS(-2, -0.5f, 0, 0.5f, 3);
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        const op_call call = call1(cases[i].kind, tl_shape_vector(5), x);
        expect(&call, tl_shape_vector(5), cases[i].want);
    }
}

static void test_two_numbers(void **state)
{
    (void)state;
    static const struct {
        tl_op_kind kind;
        float want[6]; /* of 6, -7, 2 by 4, 2 (rows) */
    } cases[] = {
        { TL_OP_ADD, { 10, -3, 6, 8, -5, 4 } },
        { TL_OP_SUB, { 2, -11, -2, 4, -9, 0 } },
        { TL_OP_MUL, { 24, -28, 8, 12, -14, 4 } },
        { TL_OP_DIV, { 1.5f, -1.75f, 0.5f, 3, -3.5f, 1 } },
        { TL_OP_POW, { 1296, 2401, 16, 36, 49, 4 } },
        { TL_OP_MIN, { 4, -7, 2, 2, -7, 2 } },
        { TL_OP_MAX, { 6, 4, 4, 6, 2, 2 } },
        { TL_OP_MOD, { 2, 1, 2, 0, 1, 0 } },
        { TL_OP_FMOD, { 2, -3, 2, 0, -1, 0 } },
        { TL_OP_EQUAL, { 0, 0, 0, 0, 0, 1 } },
        { TL_OP_GREATER, { 1, 0, 0, 1, 0, 0 } },
        { TL_OP_GREATER_OR_EQUAL, { 1, 0, 0, 1, 0, 1 } },
        { TL_OP_LESS, { 0, 1, 1, 0, 1, 0 } },
        { TL_OP_LESS_OR_EQUAL, { 0, 1, 1, 0, 1, 1 } },
    };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        const op_call call = call2(cases[i].kind, tl_shape_vector(3), NUMBERS(6, -7, 2),
                                   SHAPE(2, 2, 1), NUMBERS(4, 2));
        expect(&call, SHAPE(2, 2, 3), cases[i].want);
    }
    op_call truth = call2(TL_OP_AND, tl_shape_vector(4), NUMBERS(0, 0, 5, -1), tl_shape_vector(4),
                          NUMBERS(0, 2, 0, 3));
    expect(&truth, tl_shape_vector(4), NUMBERS(0, 0, 0, 1));
    truth.kind = TL_OP_OR;
    expect(&truth, tl_shape_vector(4), NUMBERS(0, 1, 1, 1));
    truth.kind = TL_OP_XOR;
    expect(&truth, tl_shape_vector(4), NUMBERS(0, 1, 1, 0));
    op_call where =
        call2(TL_OP_WHERE, SHAPE(2, 2, 1), NUMBERS(1, 0), tl_shape_vector(2), NUMBERS(1, 2));
    where.input_count = 3;
    where.inputs[2] = tl_shape_vector(1);
    where.x[2] = NUMBERS(9);
    expect(&where, SHAPE(2, 2, 2), NUMBERS(1, 2, 9, 9));
    const op_call wrong = call2(TL_OP_ADD, tl_shape_vector(3), NULL, tl_shape_vector(2), NULL);
    refuse(&wrong);
}

static void test_products(void **state)
{
    (void)state;
    const op_call product = call2(TL_OP_MATMUL, SHAPE(2, 2, 3), NUMBERS(1, 2, 3, 4, 5, 6),
                                  SHAPE(3, 2, 3, 1), NUMBERS(1, 0, 2, 0, 1, 1));
    expect(&product, SHAPE(3, 2, 2, 1), NUMBERS(7, 16, 5, 11));
    const op_call wrong = call2(TL_OP_MATMUL, SHAPE(2, 2, 3), NULL, SHAPE(2, 2, 3), NULL);
    refuse(&wrong);
    op_call slope = call1(TL_OP_PRELU, SHAPE(2, 2, 2), NUMBERS(-1, -2, 3, 4));
    slope.attrs.channels = 2;
    slope.params[0] = NUMBERS(0.5f, 0.25f);
    expect(&slope, SHAPE(2, 2, 2), NUMBERS(-0.5f, -0.5f, 3, 4));
}

static void test_reductions(void **state)
{
    (void)state;
    const float *x = NUMBERS(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    op_call call = call1(TL_OP_REDUCE_SUM, SHAPE(3, 2, 3, 2), x);
    call.attrs.axis_mask = 2;
    call.attrs.keep_dims = false;
    expect(&call, SHAPE(2, 2, 2), NUMBERS(9, 12, 27, 30));
    call.kind = TL_OP_REDUCE_MEAN;
    expect(&call, SHAPE(2, 2, 2), NUMBERS(3, 4, 9, 10));
    call.kind = TL_OP_REDUCE_MAX;
    expect(&call, SHAPE(2, 2, 2), NUMBERS(5, 6, 11, 12));
    call.kind = TL_OP_REDUCE_MIN;
    expect(&call, SHAPE(2, 2, 2), NUMBERS(1, 2, 7, 8));
    call.kind = TL_OP_REDUCE_PROD;
    expect(&call, SHAPE(2, 2, 2), NUMBERS(15, 48, 693, 960));
    call.kind = TL_OP_REDUCE_L2;
    call.attrs.axis_mask = 5;
    call.attrs.keep_dims = true;
    expect(&call, SHAPE(3, 1, 3, 1), NUMBERS(10.8627805f, 14.3527001f, 18.0554701f));
    call.kind = TL_OP_REDUCE_SUM;
    call.attrs.axis_mask = 0;
    call.attrs.keep_dims = false;
    expect(&call, tl_shape_vector(1), NUMBERS(78));
    call.attrs.axis_mask = 8;
    refuse(&call);
    op_call most = call1(TL_OP_ARG_MAX, SHAPE(2, 2, 3), NUMBERS(1, 5, 5, 9, 2, 3));
    expect(&most, SHAPE(2, 2, 1), NUMBERS(1, 0));
    most.attrs.axis = 0;
    most.attrs.keep_dims = false;
    expect(&most, tl_shape_vector(3), NUMBERS(1, 0, 0));
    op_call soft = call1(TL_OP_SOFTMAX, SHAPE(2, 2, 2), NUMBERS(0, 1, 1.09861229f, 1));
    soft.attrs.axis = 0;
    expect(&soft, SHAPE(2, 2, 2), NUMBERS(0.25f, 0.5f, 0.75f, 0.5f));
    soft.kind = TL_OP_LOG_SOFTMAX;
    expect(&soft, SHAPE(2, 2, 2), NUMBERS(-1.38629436f, -0.69314718f, -0.28768207f, -0.69314718f));
}

static void test_moves(void **state)
{
    (void)state;
    const float *x = NUMBERS(1, 2, 3, 4, 5, 6);
    op_call call = call1(TL_OP_SLICE, SHAPE(2, 2, 3), x);
    call.attrs.begin = 2, call.attrs.end = -1, call.attrs.step = -2;
    expect(&call, SHAPE(2, 2, 2), NUMBERS(3, 1, 6, 4));
    call.attrs.begin = 3;
    refuse(&call);
    call = call1(TL_OP_PERMUTE, SHAPE(3, 1, 2, 3), x);
    memcpy(call.attrs.axes, ((const uint8_t[]){ 2, 0, 1 }), 3);
    expect(&call, SHAPE(3, 3, 1, 2), NUMBERS(1, 4, 2, 5, 3, 6));
    call.attrs.axes[0] = 1;
    refuse(&call);
    call = call1(TL_OP_PAD, tl_shape_vector(3), x);
    call.attrs.pad_begin[0] = 2, call.attrs.pad_end[0] = 1, call.attrs.alpha = 9;
    expect(&call, tl_shape_vector(6), NUMBERS(9, 9, 1, 2, 3, 9));
    call.attrs.pad_mode = TL_PAD_REFLECT;
    expect(&call, tl_shape_vector(6), NUMBERS(3, 2, 1, 2, 3, 2));
    call.attrs.pad_mode = TL_PAD_EDGE;
    expect(&call, tl_shape_vector(6), NUMBERS(1, 1, 1, 2, 3, 3));
    call.attrs.pad_mode = TL_PAD_WRAP;
    expect(&call, tl_shape_vector(6), NUMBERS(2, 3, 1, 2, 3, 1));
    call.attrs.pad_mode = TL_PAD_REFLECT;
    call.attrs.pad_begin[0] = 3;
    refuse(&call);
    call = call1(TL_OP_TILE, tl_shape_vector(2), x);
    call.attrs.shape = SHAPE(2, 2, 4);
    expect(&call, SHAPE(2, 2, 4), NUMBERS(1, 2, 1, 2, 1, 2, 1, 2));
    call.attrs.shape = tl_shape_vector(3);
    refuse(&call);
    call = call2(TL_OP_GATHER, SHAPE(2, 3, 2), x, tl_shape_vector(4), NUMBERS(2, -3, 7, NAN));
    call.attrs.axis = 0;
    expect(&call, SHAPE(2, 4, 2), NUMBERS(5, 6, 1, 2, 5, 6, 1, 2));
    call = call2(TL_OP_CONCAT, SHAPE(2, 1, 2), x, SHAPE(2, 2, 2), x + 2);
    call.attrs.axis = 0;
    expect(&call, SHAPE(2, 3, 2), x);
    call.attrs.axis = 1;
    refuse(&call);
    call = call1(TL_OP_RESHAPE, SHAPE(2, 2, 3), x);
    call.attrs.shape = SHAPE(2, 3, 2);
    expect(&call, SHAPE(2, 3, 2), x);
    call.attrs.shape = tl_shape_vector(5);
    refuse(&call);
}

static void test_windows(void **state)
{
    (void)state;
    const float *x = NUMBERS(1, 2, 3, 4, 5, 6, 7, 8, 9);
    op_call call = call1(TL_OP_AVERAGE_POOL, tl_shape_image(3, 3, 1), x);
    call.attrs.window = (tl_window){ 2, 2, 2, 2, 1, 1, 0, 0, 0, 0 };
    expect(&call, tl_shape_image(1, 1, 1), NUMBERS(3));
    call.attrs.ceil_mode = true;
    expect(&call, tl_shape_image(2, 2, 1), NUMBERS(3, 4.5f, 7.5f, 9));
    call.attrs.window = (tl_window){ 2, 2, 2, 2, 1, 1, 1, 1, 0, 0 };
    call.attrs.ceil_mode = false;
    expect(&call, tl_shape_image(2, 2, 1), NUMBERS(1, 2.5f, 5.5f, 7));
    call.attrs.count_include_pad = true;
    expect(&call, tl_shape_image(2, 2, 1), NUMBERS(0.25f, 1.25f, 2.75f, 7));
    call.kind = TL_OP_MAX_POOL;
    call.attrs.window = (tl_window){ 2, 2, 1, 1, 2, 2, 0, 0, 0, 0 };
    expect(&call, tl_shape_image(1, 1, 1), NUMBERS(9));
    call.inputs[0] = tl_shape_vector(9);
    refuse(&call);
    call = call1(TL_OP_CONV_TRANSPOSE, tl_shape_image(1, 2, 1), NUMBERS(2, 3));
    call.attrs.window = (tl_window){ 1, 3, 1, 2, 1, 1, 0, 1, 0, 0 };
    call.attrs.channels = 1;
    call.attrs.has_bias = true;
    call.params[0] = NUMBERS(1, 10, 100);
    call.params[1] = NUMBERS(0.5f);
    expect(&call, tl_shape_image(1, 4, 1), NUMBERS(20.5f, 203.5f, 30.5f, 300.5f));
    call.attrs.output_pad_w = 1;
    expect(&call, tl_shape_image(1, 5, 1), NUMBERS(20.5f, 203.5f, 30.5f, 300.5f, 0.5f));
    call.attrs.groups = 2;
    refuse(&call);
}

static void test_resize(void **state)
{
    (void)state;
    op_call call = call1(TL_OP_RESIZE, tl_shape_image(1, 2, 2), NUMBERS(0, 10, 4, 20));
    call.attrs.resize.height = 1;
    call.attrs.resize.width = 4;
    expect(&call, tl_shape_image(1, 4, 2), NUMBERS(0, 10, 0, 10, 4, 20, 4, 20));
    call.attrs.resize.mode = TL_RESIZE_LINEAR;
    expect(&call, tl_shape_image(1, 4, 2), NUMBERS(0, 10, 1, 12.5f, 3, 17.5f, 4, 20));
    call.attrs.resize.position = TL_POSITION_ALIGN_CORNERS;
    expect(&call, tl_shape_image(1, 4, 2),
           NUMBERS(0, 10, 4.0f / 3, 40.0f / 3, 8.0f / 3, 50.0f / 3, 4, 20));
    call.attrs.resize.position = TL_POSITION_CROP_AND_RESIZE;
    call.attrs.resize.crop_left = 0, call.attrs.resize.crop_right = 3;
    call.attrs.resize.outside = -1;
    expect(&call, tl_shape_image(1, 4, 2), NUMBERS(0, 10, 4, 20, -1, -1, -1, -1));
    call = call1(TL_OP_RESIZE, tl_shape_image(4, 1, 1), NUMBERS(0, 0, 8, 8));
    call.attrs.resize.mode = TL_RESIZE_CUBIC;
    call.attrs.resize.height = 2;
    call.attrs.resize.width = 1;
    expect(&call, tl_shape_image(2, 1, 1), NUMBERS(-0.75f, 8.75f));
    call.attrs.resize.mode = TL_RESIZE_LINEAR;
    call.attrs.resize.antialias = true;
    expect(&call, tl_shape_image(2, 1, 1), NUMBERS(1, 7));
    call.attrs.resize.height = 0;
    refuse(&call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions), cmocka_unit_test(test_two_numbers),
        cmocka_unit_test(test_products),  cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_moves),     cmocka_unit_test(test_windows),
        cmocka_unit_test(test_resize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

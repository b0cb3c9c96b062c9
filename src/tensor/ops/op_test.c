/* Forward passes against plain loops in double: convolutions of every kind (oneDNN's, depthwise,
 * Winograd), serving and training, and the operators that move numbers. */
#include "base/rng.h"
#include "tensor/device.h"
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 2 };

typedef struct conv_case {
    uint32_t h, w, in, out, kernel_h, kernel_w, stride_h, stride_w, dilation, groups, pads[4];
} conv_case;

static const conv_case conv_cases[] = {
    { 5, 6, 3, 7, 3, 3, 1, 1, 1, 1, { 1, 1, 1, 1 } },
    { 9, 8, 2, 16, 3, 3, 2, 2, 1, 1, { 1, 1, 1, 1 } },
    { 9, 8, 16, 5, 3, 2, 2, 1, 1, 1, { 0, 1, 2, 0 } },
    { 8, 7, 21, 35, 3, 3, 1, 1, 1, 1, { 1, 1, 1, 1 } },
    { 30, 29, 16, 16, 3, 3, 1, 1, 1, 1, { 2, 0, 1, 2 } },
    { 7, 9, 6, 4, 3, 3, 1, 1, 2, 2, { 2, 1, 0, 2 } },
    { 1, 1, 13, 4, 1, 1, 1, 1, 1, 1, { 0, 0, 0, 0 } },
    { 9, 7, 21, 21, 5, 3, 2, 1, 1, 21, { 1, 0, 2, 2 } },
    { 6, 7, 16, 16, 3, 3, 1, 1, 2, 16, { 2, 2, 2, 2 } },
};

static tl_rng rng;

/* 64-byte aligned; `scale` 0: zeros. */
static float *floats(size_t count, float scale)
{
    float *out = aligned_alloc(TL_ALIGN_BYTES, (count * sizeof(float) / 64 + 1) * 64);
    assert_non_null(out);
    memset(out, 0, count * sizeof(float));
    for (size_t i = 0; i < count && scale > 0; i++) out[i] = scale * (float)tl_rng_normal(&rng);
    return out;
}

static tl_op_state describe(const tl_attrs *attrs, tl_op_kind kind, tl_op_mode mode,
                            const tl_shape *input, struct dnnl_stream *stream)
{
    tl_op_state state = { .attrs = attrs,
                          .mode = mode,
                          .batch = BATCH,
                          .stream = stream,
                          .input_count = 1,
                          .inputs = { *input } };
    assert_int_equal(tl_op_get(kind)->shape(attrs, input, 1, &state.output, NULL), TL_OK);
    assert_int_equal(tl_op_prepare(kind, &state, NULL), TL_OK);
    return state;
}

/* y [batch, ...output] of one operator. */
static float *run_forward(const tl_attrs *attrs, tl_op_kind kind, tl_op_mode mode,
                          const tl_shape *input, float *x, float *const *params)
{
    struct dnnl_stream *stream = NULL;
    assert_int_equal(tl_device_create_stream(&stream, NULL), TL_OK);
    tl_op_state state = describe(attrs, kind, mode, input, stream);
    float *y = floats(BATCH * tl_shape_count(&state.output), 0);
    float *packed = floats(state.needs.packed / sizeof(float) + 1, 0);
    float *scratch = floats(state.needs.forward_scratch / sizeof(float) + 1, 0);
    float *saved = floats(state.needs.saved / sizeof(float) + 1, 0);
    tl_op_run run = { .x = { x }, .y = y, .packed = packed, .scratch = scratch, .saved = saved };
    const float *given[TL_OP_PARAM_MAX] = { NULL };
    for (int p = 0; p < 2 && params != NULL; p++) given[p] = run.params[p] = params[p];
    if (mode == TL_MODE_INFER && tl_op_get(kind)->pack != NULL)
        assert_int_equal(tl_op_get(kind)->pack(&state, given, packed, NULL), TL_OK);
    assert_int_equal(tl_op_get(kind)->forward(&state, &run, NULL), TL_OK);
    tl_op_release(kind, &state);
    tl_device_destroy_stream(&stream);
    free(packed);
    free(scratch);
    free(saved);
    return y;
}

/* x [h, w, c] at (y, x), or `outside`. */
static double pixel(const float *image, const tl_shape *s, long y, long x, size_t c, double outside)
{
    if (y < 0 || x < 0 || y >= (long)s->dim[0] || x >= (long)s->dim[1]) return outside;
    return (double)image[((size_t)y * s->dim[1] + (size_t)x) * s->dim[2] + c];
}

static double conv_at(const tl_attrs *a, const tl_shape *in, const float *image,
                      const float *weights, const float *bias, uint32_t oy, uint32_t ox, uint32_t o)
{
    const tl_window *v = &a->window;
    const uint32_t each = in->dim[2] / a->groups, first = o / (a->channels / a->groups) * each;
    double sum = (double)bias[o];
    for (uint32_t c = 0; c < each; c++) {
        for (uint32_t ky = 0; ky < v->kernel_h; ky++) {
            for (uint32_t kx = 0; kx < v->kernel_w; kx++) {
                long y = (long)(oy * v->stride_h + ky * v->dilation_h) - (long)v->pad_top;
                long x = (long)(ox * v->stride_w + kx * v->dilation_w) - (long)v->pad_left;
                size_t at = ((o * each + c) * v->kernel_h + ky) * v->kernel_w + kx;
                sum += pixel(image, in, y, x, first + c, 0) * (double)weights[at];
            }
        }
    }
    return sum;
}

static void check_conv(const conv_case *c, size_t number, tl_op_mode mode)
{
    tl_attrs attrs = tl_attrs_default(TL_OP_CONV);
    attrs.window = (tl_window){ c->kernel_h, c->kernel_w, c->stride_h, c->stride_w, c->dilation,
                                c->dilation, c->pads[0],  c->pads[1],  c->pads[2],  c->pads[3] };
    attrs.channels = c->out;
    attrs.groups = c->groups;
    attrs.has_bias = true;
    const tl_shape in = tl_shape_image(c->h, c->w, c->in);
    tl_shape out;
    assert_int_equal(tl_op_get(TL_OP_CONV)->shape(&attrs, &in, 1, &out, NULL), TL_OK);
    float *x = floats(BATCH * tl_shape_count(&in), 1);
    float *params[2] = { floats((size_t)c->out * c->in / c->groups * c->kernel_h * c->kernel_w, 1),
                         floats(c->out, 1) };
    float *y = run_forward(&attrs, TL_OP_CONV, mode, &in, x, params);
    for (size_t i = 0; i < BATCH * tl_shape_count(&out); i++) {
        const uint32_t o = (uint32_t)(i % c->out), ox = (uint32_t)(i / c->out % out.dim[1]);
        const uint32_t oy = (uint32_t)(i / c->out / out.dim[1] % out.dim[0]);
        const float *image = x + i / tl_shape_count(&out) * tl_shape_count(&in);
        double want = conv_at(&attrs, &in, image, params[0], params[1], oy, ox, o);
        if (!(fabs((double)y[i] - want) < 1e-4))
            fail_msg("conv %zu, mode %d [%zu]: got %g, want %g", number, mode, i, (double)y[i],
                     want);
    }
    free(x);
    free(y);
    free(params[0]);
    free(params[1]);
}

static void test_convolutions(void **state)
{
    (void)state;
    tl_rng_seed(&rng, 1, 0);
    for (size_t c = 0; c < TL_COUNT_OF(conv_cases); c++) {
        check_conv(&conv_cases[c], c, TL_MODE_INFER);
        check_conv(&conv_cases[c], c, TL_MODE_TRAIN_FROZEN);
    }
}

static void test_max_pool(void **state)
{
    (void)state;
    tl_rng_seed(&rng, 2, 0);
    tl_attrs attrs = tl_attrs_default(TL_OP_MAX_POOL);
    attrs.window = (tl_window){ 3, 2, 2, 3, 1, 1, 1, 1, 2, 0 };
    const tl_shape in = tl_shape_image(8, 7, 19);
    tl_shape out;
    assert_int_equal(tl_op_get(TL_OP_MAX_POOL)->shape(&attrs, &in, 1, &out, NULL), TL_OK);
    float *x = floats(BATCH * tl_shape_count(&in), 1);
    for (size_t i = 0; i < BATCH * tl_shape_count(&in); i++) x[i] -= 10; /* below the padding's 0 */
    for (size_t mode = TL_MODE_INFER; mode <= TL_MODE_TRAIN_LIVE; mode++) {
        float *y = run_forward(&attrs, TL_OP_MAX_POOL, (tl_op_mode)mode, &in, x, NULL);
        for (size_t i = 0; i < BATCH * tl_shape_count(&out); i++) {
            const size_t c = i % 19, ox = i / 19 % out.dim[1],
                         oy = i / 19 / out.dim[1] % out.dim[0];
            const float *image = x + i / tl_shape_count(&out) * tl_shape_count(&in);
            double want = -INFINITY;
            for (long ky = 0; ky < 3; ky++)
                for (long kx = 0; kx < 2; kx++)
                    want = fmax(want, pixel(image, &in, (long)oy * 2 + ky - 1,
                                            (long)ox * 3 + kx - 1, c, -INFINITY));
            assert_true((double)y[i] == want);
        }
        free(y);
    }
    free(x);
}

static void test_flatten_is_channel_major(void **state)
{
    (void)state;
    const tl_attrs attrs = tl_attrs_default(TL_OP_FLATTEN);
    const tl_shape in = tl_shape_image(2, 3, 4);
    float *x = floats(BATCH * 24, 0);
    for (size_t i = 0; i < BATCH * 24; i++) x[i] = (float)i;
    float *y = run_forward(&attrs, TL_OP_FLATTEN, TL_MODE_INFER, &in, x, NULL);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t c = 0; c < 4; c++)
            for (size_t p = 0; p < 6; p++)
                assert_true(y[b * 24 + c * 6 + p] == x[b * 24 + p * 4 + c]);
    free(x);
    free(y);
}

static void test_slice(void **state)
{
    (void)state;
    tl_attrs attrs = tl_attrs_default(TL_OP_SLICE);
    attrs.begin = 1;
    attrs.end = 3;
    const tl_shape in = tl_shape_image(2, 3, 4);
    float *x = floats(BATCH * 24, 1);
    float *y = run_forward(&attrs, TL_OP_SLICE, TL_MODE_INFER, &in, x, NULL);
    for (size_t i = 0; i < BATCH * 12; i++) assert_true(y[i] == x[i / 2 * 4 + 1 + i % 2]);
    free(x);
    free(y);
}

static void test_the_table_is_whole(void **state)
{
    (void)state;
    for (int kind = 0; kind < TL_OP_COUNT; kind++) {
        const tl_op *op = tl_op_get((tl_op_kind)kind);
        assert_int_equal(tl_op_find(op->name), kind);
        assert_true(op->shape != NULL && op->prepare != NULL);
        assert_non_null(op->forward);
        assert_true(op->input_min <= op->input_max && op->input_max <= TL_OP_INPUT_MAX);
    }
    assert_int_equal(tl_op_find("no such operator"), TL_OP_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_is_whole),
        cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_max_pool),
        cmocka_unit_test(test_flatten_is_channel_major),
        cmocka_unit_test(test_slice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

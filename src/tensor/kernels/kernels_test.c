/* The vector kernels of every instruction set against plain loops in double, at awkward sizes. */
#include "base/rng.h"
#include "tensor/kernels/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 1 << 15 };

static const char *const sets[] = { "base", "avx2", "avx512" };
static tl_rng rng;

static void fill(float *to, size_t count)
{
    for (size_t i = 0; i < count; i++) to[i] = (float)tl_rng_normal(&rng);
}

static void assert_near(const char *what, const tl_kernels *k, size_t index, float got, double want,
                        double allowed)
{
    if (!(fabs((double)got - want) <= allowed * (1 + fabs(want))))
        fail_msg("%s %s [%zu]: got %.9g, want %.9g", k->name, what, index, (double)got, want);
}

static double activation(tl_op_kind kind, double x, double a, double b)
{
    switch ((int)kind) {
    case TL_OP_RELU: return x > 0 ? x : 0;
    case TL_OP_CLIP: return fmin(fmax(x, a), b);
    case TL_OP_HARD_SWISH: return x * fmin(fmax(x / 6 + 0.5, 0), 1);
    case TL_OP_HARD_SIGMOID: return fmin(fmax(a * x + b, 0), 1);
    case TL_OP_SIGMOID: return 1 / (1 + exp(-x));
    case TL_OP_SILU: return x / (1 + exp(-x));
    case TL_OP_ABS: return fabs(x);
    default: return x;
    }
}

static void check_activations(const tl_kernels *k)
{
    static const tl_op_kind kinds[] = { TL_OP_RELU,         TL_OP_CLIP,    TL_OP_HARD_SWISH,
                                        TL_OP_HARD_SIGMOID, TL_OP_SIGMOID, TL_OP_SILU,
                                        TL_OP_ABS,          TL_OP_COUNT };
    static float x[2003], y[2003];
    for (size_t i = 0; i < TL_COUNT_OF(x); i++) x[i] = ((float)i - 1001) * 0.1f;
    x[0] = -1e30f;
    x[1] = 1e30f;
    for (size_t a = 0; a < TL_COUNT_OF(kinds); a++) {
        const tl_activation act = { kinds[a], -0.5f, 2.25f };
        k->activate(&act, TL_COUNT_OF(x), x, y);
        for (size_t i = 0; i < TL_COUNT_OF(x); i++)
            assert_near("activation", k, i, y[i], activation(kinds[a], (double)x[i], -0.5, 2.25),
                        1e-6);
    }
}

static void check_gemm(const tl_kernels *k)
{
    static float a[ROOM], b[ROOM], c[ROOM], bias[256];
    static const size_t sizes[][3] = {
        { 1, 1, 1 },   { 3, 7, 5 },    { 13, 64, 17 }, { 5, 33, 9 },
        { 6, 100, 3 }, { 16, 48, 64 }, { 7, 31, 40 },  { 4, 130, 2 }
    };
    fill(bias, 256);
    for (size_t s = 0; s < TL_COUNT_OF(sizes); s++) {
        const size_t rows = sizes[s][0], columns = sizes[s][1], inner = sizes[s][2];
        fill(a, rows * inner);
        fill(b, inner * columns);
        for (int transposed = 0; transposed < 2; transposed++) {
            const tl_gemm_args args = { .rows = rows,
                                        .columns = columns,
                                        .inner = inner,
                                        .a = a,
                                        .a_row = transposed ? 1 : inner,
                                        .a_inner = transposed ? rows : 1,
                                        .b = b,
                                        .b_row = columns,
                                        .bias = transposed ? NULL : bias,
                                        .c = c,
                                        .c_row = columns };
            k->gemm(&args);
            for (size_t r = 0; r < rows; r++) {
                for (size_t n = 0; n < columns; n++) {
                    double sum = transposed ? 0 : (double)bias[n];
                    for (size_t i = 0; i < inner; i++)
                        sum += (double)a[r * args.a_row + i * args.a_inner] *
                               (double)b[i * columns + n];
                    assert_near("gemm", k, r * columns + n, c[r * columns + n], sum, 2e-5);
                }
            }
        }
    }
}

/* Panels of all widths, whole and with columns missing; blocks of all heights; an addition. */
static void check_panel(const tl_kernels *k)
{
    static float x[ROOM], w[ROOM], y[ROOM], more[ROOM], bias[TL_PANEL_MAX];
    static const size_t widths[] = { 32, 16, 8 };
    static const tl_op_kind kinds[] = { TL_OP_COUNT, TL_OP_RELU, TL_OP_CLIP, TL_OP_HARD_SWISH,
                                        TL_OP_SILU };
    fill(bias, TL_PANEL_MAX);
    for (size_t n = 0; n < 3 * 5 * 31; n++) {
        const tl_activation act = { kinds[n % 5], -0.5f, 2.25f };
        const size_t width = widths[n % 3], rows = 1 + n % 31, inner = 1 + n % 7;
        const size_t columns = n % 2 == 0 ? width : 1 + n % width;
        tl_panel_args args = { .rows = rows,
                               .x = x,
                               .x_step = 5,
                               .segments = 2,
                               .segment_floats = inner,
                               .segment_step = 200,
                               .weights = w,
                               .bias = bias,
                               .width = width,
                               .columns = columns,
                               .act = &act,
                               .add = n % 4 == 0 ? more : NULL,
                               .add_step = 34,
                               .y = y,
                               .y_step = 33 };
        fill(x, 1024), fill(w, 2 * inner * width), fill(more, 2048), fill(y, 2048);
        const float after = y[(rows - 1) * 33 + columns];
        k->panel(&args);
        for (size_t at = 0; at < rows * columns; at++) {
            const size_t r = at / columns, c = at % columns;
            double sum = (double)bias[c];
            for (size_t i = 0; i < 2 * inner; i++)
                sum += (double)x[r * 5 + i / inner * 200 + i % inner] * (double)w[i * width + c];
            sum = activation(act.kind, sum, -0.5, 2.25);
            if (args.add != NULL) sum += (double)more[r * 34 + c];
            assert_near("panel", k, at, y[r * 33 + c], sum, 2e-5);
        }
        assert_true(y[(rows - 1) * 33 + columns] == after); /* nothing past the columns */
    }
}

static void check_depthwise_row(const tl_kernels *k)
{
    static float x[ROOM], w[ROOM], y[ROOM], bias[64];
    static const uint32_t channels[] = { 16, 24, 37, 64 };
    for (size_t n = 0; n < 4 * 4 * 17; n++) {
        const tl_activation act = { n % 2 == 0 ? TL_OP_RELU : TL_OP_SILU, 0, 0 };
        const size_t kernel = n % 4 < 2 ? 3 : 5, stride = 1 + n % 2, pixels = 1 + n % 17;
        const size_t c = channels[n / 17 % 4], columns = (pixels - 1) * stride + kernel;
        const size_t begin = c > 32 ? 16 : 0, first = n % 3 == 0 ? begin : 0;
        const size_t x_step = c - first, x_row = columns * x_step;
        const tl_depthwise_row row = { .x = { x, x + x_row, x + 2 * x_row, x + 3 * x_row,
                                              x + 4 * x_row },
                                       .kernel = kernel,
                                       .stride = stride,
                                       .channels = c,
                                       .pixels = pixels,
                                       .x_step = x_step,
                                       .x_first = first,
                                       .begin = begin,
                                       .end = c,
                                       .weights = w,
                                       .bias = bias,
                                       .act = &act,
                                       .y = y };
        fill(x, kernel * columns * c), fill(w, kernel * kernel * c), fill(bias, c);
        k->depthwise_row(&row);
        for (size_t at = 0; at < pixels * c; at++) {
            if (at % c < row.begin) continue;
            double sum = (double)bias[at % c];
            for (size_t t = 0; t < kernel * kernel; t++)
                sum += (double)x[t / kernel * x_row + (at / c * stride + t % kernel) * x_step +
                                 at % c - first] *
                       (double)w[t * c + at % c];
            assert_near("depthwise row", k, at, y[at], activation(act.kind, sum, 0, 0), 2e-5);
        }
    }
}

static void check_depthwise(const tl_kernels *k)
{
    static float x[ROOM], w[ROOM], y[ROOM], bias[64];
    static const tl_window windows[] = { { 3, 3, 1, 1, 1, 1, 1, 1, 1, 1 },
                                         { 5, 5, 2, 2, 1, 1, 2, 2, 2, 2 },
                                         { 3, 2, 2, 3, 2, 1, 0, 1, 2, 0 } };
    static const uint32_t channels[] = { 1, 4, 13, 16, 37 };
    for (size_t n = 0; n < TL_COUNT_OF(windows) * TL_COUNT_OF(channels); n++) {
        const tl_window *v = &windows[n % TL_COUNT_OF(windows)];
        const uint32_t c = channels[n / TL_COUNT_OF(windows)], h = 9, width = 11;
        const uint32_t oh =
            (h + v->pad_top + v->pad_bottom - (v->kernel_h - 1) * v->dilation_h - 1) / v->stride_h +
            1;
        const uint32_t ow =
            (width + v->pad_left + v->pad_right - (v->kernel_w - 1) * v->dilation_w - 1) /
                v->stride_w +
            1;
        fill(x, (size_t)h * width * c);
        fill(w, (size_t)v->kernel_h * v->kernel_w * c);
        fill(bias, c);
        const tl_depthwise_args args = { v, h, width, c, oh, ow, w, bias };
        k->depthwise_forward(&args, x, y);
        for (size_t i = 0; i < (size_t)oh * ow * c; i++) {
            const size_t ch = i % c, oy = i / c / ow, ox = i / c % ow;
            double sum = (double)bias[ch];
            for (size_t ky = 0; ky < v->kernel_h; ky++) {
                for (size_t kx = 0; kx < v->kernel_w; kx++) {
                    long iy = (long)(oy * v->stride_h + ky * v->dilation_h) - (long)v->pad_top;
                    long ix = (long)(ox * v->stride_w + kx * v->dilation_w) - (long)v->pad_left;
                    if (iy < 0 || iy >= (long)h || ix < 0 || ix >= (long)width) continue;
                    sum += (double)x[((size_t)iy * width + (size_t)ix) * c + ch] *
                           (double)w[(ky * v->kernel_w + kx) * c + ch];
                }
            }
            assert_near("depthwise", k, i, y[i], sum, 1e-5);
        }
    }
}

static void check_groups(const tl_kernels *k)
{
    static float x[ROOM], c[512], y[ROOM], sum[512];
    static const uint32_t channels[] = { 1, 3, 16, 129, 200 };
    for (size_t n = 0; n < TL_COUNT_OF(channels); n++) {
        const size_t group = tl_group_floats(channels[n]), count = channels[n] * 37;
        assert_int_equal(group % channels[n], 0);
        fill(x, count);
        fill(c, group);
        memset(sum, 0, sizeof sum);
        k->sum_groups(count, group, x, sum);
        for (size_t i = 0; i < group; i++) {
            double want = 0;
            for (size_t at = i; at < count; at += group) want += (double)x[at];
            assert_near("sum_groups", k, i, sum[i], want, 1e-5);
        }
        k->apply_groups('r', count, group, x, c, y);
        for (size_t i = 0; i < count; i++)
            assert_near("apply_groups", k, i, y[i], (double)c[i % group] - (double)x[i], 1e-6);
        memcpy(y, x, count * sizeof *x);
        k->apply_groups('*', count, group, y, c, y); /* in place */
        for (size_t i = 0; i < count; i++)
            assert_near("apply_groups in place", k, i, y[i], (double)c[i % group] * (double)x[i],
                        1e-6);
    }
}

/* Normalisation of bf16 beside that of the same numbers in float32; dx to within its rounding. */
static void check_half_norm_as(const tl_kernels *k, uint32_t channels, const tl_activation *act)
{
    enum { MOST = 200 * 37, GROUP = 256 };
    static float x[MOST], dy[MOST], y[2][MOST], dx[MOST], back[MOST], c[6][GROUP], s[4][GROUP];
    static uint16_t half[MOST], half_dx[MOST];
    const size_t group = tl_group_floats(channels), count = channels * 37;
    const tl_norm_coefficients by = { c[0], c[1], c[2], c[3], c[4], c[5] };
    fill(dy, count);
    fill(x, count);
    for (size_t i = 0; i < 6; i++) fill(c[i], group);
    k->to_half(count, x, half);
    k->from_half(count, half, x);
    for (int frozen = 0; frozen < 2; frozen++) {
        memset(s, 0, sizeof s);
        if (frozen == 1) {
            k->norm_backward_frozen(act, count, group, x, dy, &by, s[0], s[1], dx);
            k->norm_half_backward_frozen(act, count, group, half, dy, &by, s[2], s[3], half_dx);
        } else {
            k->norm_reduce(act, count, group, x, dy, &by, s[0], s[1]);
            k->norm_half_reduce(act, count, group, half, dy, &by, s[2], s[3]);
            k->norm_backward(act, count, group, x, dy, &by, dx);
            k->norm_half_backward(act, count, group, half, dy, &by, half_dx);
        }
        k->from_half(count, half_dx, back);
        for (size_t i = 0; i < count; i++)
            assert_near("half dx", k, i, back[i], (double)dx[i], 1.0 / 256);
        for (size_t i = 0; i < group; i++) {
            assert_near("half sum", k, i, s[2][i], (double)s[0][i], 1e-5);
            assert_near("half dot", k, i, s[3][i], (double)s[1][i], 1e-5);
        }
    }
    memset(s, 0, sizeof s);
    k->norm_moments(count, group, x, c[0], s[0], s[1]);
    k->norm_half_moments(count, group, half, c[0], s[2], s[3]);
    k->norm_forward(act, count, group, x, &by, y[0]);
    k->norm_half_forward(act, count, group, half, &by, y[1]);
    for (size_t i = 0; i < group; i++) {
        assert_near("half moments", k, i, s[2][i], (double)s[0][i], 1e-5);
        assert_near("half squares", k, i, s[3][i], (double)s[1][i], 1e-5);
    }
    for (size_t i = 0; i < count; i++) assert_near("half y", k, i, y[1][i], (double)y[0][i], 1e-5);
}

static void check_half_norm(const tl_kernels *k)
{
    static const uint32_t channels[] = { 1, 3, 16, 129, 200 };
    static const tl_activation acts[] = { { TL_OP_SILU, 0, 0 },
                                          { TL_OP_HARD_SIGMOID, 0.2f, 0.5f },
                                          { TL_OP_COUNT, 0, 0 } };
    for (size_t n = 0; n < TL_COUNT_OF(channels); n++)
        for (size_t a = 0; a < TL_COUNT_OF(acts); a++) check_half_norm_as(k, channels[n], &acts[a]);
}

static void check_turn(const tl_kernels *k)
{
    static const size_t shapes[][3] = { { 4, 5, 4 },   { 16, 16, 1 }, { 20, 9, 4 },
                                        { 32, 68, 1 }, { 36, 12, 9 }, { 48, 140, 1 } };
    static float x[ROOM], y[ROOM];
    for (size_t s = 0; s < TL_COUNT_OF(shapes); s++) {
        const size_t rows = shapes[s][0], channels = shapes[s][1], taps = shapes[s][2];
        const size_t inner = channels * taps, step = rows + 3;
        const tl_turn_args args = { x, rows, inner, channels, taps, y, step };
        assert_true(inner % 4 == 0);
        fill(x, rows * inner);
        memset(y, 0, sizeof y);
        k->turn(&args);
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < inner; i++)
                assert_near("turn", k, r * inner + i,
                            y[(i % taps * channels + i / taps) * step + r],
                            (double)x[r * inner + i], 0);
        for (size_t i = 0; i < inner; i++) /* between the rows nothing is written */
            for (size_t c = rows; c < step; c++) assert_near("turn", k, i, y[i * step + c], 0, 0);
    }
}

static void check_softmax(const tl_kernels *k)
{
    static float x[70], y[70];
    for (size_t i = 0; i < TL_COUNT_OF(x); i++) x[i] = 50 * (float)tl_rng_normal(&rng);
    double total = 0, best = -INFINITY;
    for (size_t i = 0; i < TL_COUNT_OF(x); i++) best = fmax(best, (double)x[i]);
    for (size_t i = 0; i < TL_COUNT_OF(x); i++) total += exp((double)x[i] - best);
    k->softmax(TL_COUNT_OF(x), x, y);
    for (size_t i = 0; i < TL_COUNT_OF(x); i++)
        assert_near("softmax", k, i, y[i], exp((double)x[i] - best) / total, 1e-6);
}

static void for_each_set(void (*check)(const tl_kernels *))
{
    for (size_t s = 0; s < TL_COUNT_OF(sets); s++) {
        const tl_kernels *k = tl_kernels_find(sets[s]);
        tl_rng_seed(&rng, 3, s);
        if (k != NULL) check(k);
    }
}

static void test_activations(void **state)
{
    (void)state, for_each_set(check_activations);
}
static void test_gemm(void **state)
{
    (void)state, for_each_set(check_gemm);
    for_each_set(check_panel);
}
static void test_turn(void **state)
{
    (void)state, for_each_set(check_turn);
}
static void test_depthwise(void **state)
{
    (void)state, for_each_set(check_depthwise);
    for_each_set(check_depthwise_row);
}
static void test_groups(void **state)
{
    (void)state, for_each_set(check_groups);
    for_each_set(check_half_norm);
}
static void test_softmax(void **state)
{
    (void)state, for_each_set(check_softmax);
}

/* All sums go to the fixed point of x * 0.999 + 0.001. */
static void check_fma_loop(const tl_kernels *kernels)
{
    float sum = 0;
    const size_t done = kernels->fma_loop(100000, &sum);
    assert_int_equal(done % (12 * 100000), 0);
    assert_true(fabsf(sum - 12.0f) < 0.01f);
}

static void test_fma_loop(void **state)
{
    (void)state, for_each_set(check_fma_loop);
}

static void test_base_is_always_there(void **state)
{
    (void)state;
    assert_non_null(tl_kernels_find("base"));
    assert_null(tl_kernels_find("none"));
    assert_non_null(tl_kernels_get());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_is_always_there),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_turn),
        cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_fma_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Every operator's backward against finite differences of its forward.
 *
 * For an operand v (input or parameter), random weights r and a random direction d of +-1:
 *     (f(v + h d) - f(v - h d)) / 2h  against  sum g d,   f = sum r y, in double.
 * Operators with kinks get numbers that keep away from them. An operator of the table that has a
 * backward and no case fails the test. */
#include "base/rng.h"
#include "graph/internal.h"
#include "tensor/device.h"
#include "tensor/kernels/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 3, DIRECTIONS = 6, BUFFER_MAX = 1 << 16 };

/* APART: away from the kinks at -3, 0, 3 and `alpha`, `beta`; DISTINCT: no two alike; POSITIVE:
 * 1/2 to 2; UNLIKE: every operand's are apart from those of the others; SPREAD: items are apart, so
 * that a channel of three numbers has a variance far above the square of a step. */
typedef enum numbers { SMOOTH, APART, DISTINCT, POSITIVE, UNLIKE, SPREAD } numbers;

typedef struct grad_case {
    tl_op_kind kind;
    numbers numbers;
    size_t input_count;
    tl_shape inputs[3];
    tl_attrs attrs;
    tl_op_mode mode;
    bool fixed[3]; /* indices and choices: 0, 1, -1 ...; no gradient */
} grad_case;

typedef struct fixture {
    const grad_case *is;
    tl_op_state state;
    tl_op_run run;
    float *inputs[TL_OP_INPUT_MAX], *params[TL_OP_PARAM_MAX];
    float *input_grads[TL_OP_INPUT_MAX], *param_grads[TL_OP_PARAM_MAX];
    float *y, *dy;
    void *saved, *scratch;
    tl_param_spec specs[TL_OP_PARAM_MAX];
    size_t param_count, output_count;
    struct dnnl_stream *stream;
} fixture;

static float *floats(size_t count)
{
    float *out = tl_aligned_calloc(count * sizeof *out);
    assert_non_null(out);
    return out;
}

static float draw(tl_rng *rng, const grad_case *is, size_t operand, size_t index, size_t count)
{
    float x = (float)(4 * tl_rng_unit(rng) - 2);
    if (is->fixed[operand]) return (float)((index * 7) % 3) - 1.0f;
    if (is->numbers == POSITIVE) return 0.5f + 1.5f * (float)tl_rng_unit(rng);
    if (is->numbers == UNLIKE) return floorf(x * 4) / 2 + (operand == 0 ? 0.0f : 0.25f);
    if (is->numbers == DISTINCT) return 0.05f * (float)((index * 37 + 11) % count) - 1.0f;
    if (is->numbers == SMOOTH) return x;
    if (is->numbers == SPREAD) return x / 2 + 2.5f * (float)(index * BATCH / count);
    x *= 2;
    const float kinks[] = { -3, 0, 3, is->attrs.alpha, is->attrs.beta };
    for (size_t i = 0; i < TL_COUNT_OF(kinks); i++)
        if (fabsf(x - kinks[i]) < 0.1f) x = kinks[i] + (x < kinks[i] ? -0.1f : 0.1f);
    return x;
}

static void fill_params(fixture *f, tl_rng *rng)
{
    const tl_op *op = tl_op_get(f->is->kind);
    f->param_count = op->params == NULL ? 0 : op->params(f->state.attrs, f->state.inputs, f->specs);
    for (size_t p = 0; p < f->param_count; p++) {
        const size_t count = tl_shape_count(&f->specs[p].shape);
        f->params[p] = floats(count);
        f->param_grads[p] = floats(count);
        for (size_t i = 0; i < count; i++) f->params[p][i] = (float)tl_rng_normal(rng) * 0.7f;
        if (strcmp(f->specs[p].suffix, "running_var") == 0)
            for (size_t i = 0; i < count; i++) f->params[p][i] = 0.5f + (float)tl_rng_unit(rng);
    }
}

static void setup(fixture *f, const grad_case *is, tl_rng *rng)
{
    memset(f, 0, sizeof *f);
    tl_error err;
    f->is = is;
    assert_int_equal(tl_device_create_stream(&f->stream, &err), TL_OK);
    f->state = (tl_op_state){ .attrs = &is->attrs,
                              .mode = is->mode,
                              .batch = BATCH,
                              .stream = f->stream,
                              .input_count = is->input_count };
    for (size_t i = 0; i < is->input_count; i++) {
        f->state.inputs[i] = is->inputs[i];
        f->state.wants_grad[i] = true;
        const size_t count = BATCH * tl_shape_count(&is->inputs[i]);
        f->inputs[i] = floats(count);
        f->input_grads[i] = floats(count);
        for (size_t n = 0; n < count; n++) f->inputs[i][n] = draw(rng, is, i, n, count);
    }
    const tl_op *op = tl_op_get(is->kind);
    assert_int_equal(op->shape(&is->attrs, is->inputs, is->input_count, &f->state.output, &err),
                     TL_OK);
    fill_params(f, rng);
    assert_int_equal(tl_op_prepare(is->kind, &f->state, &err), TL_OK);
    f->output_count = BATCH * tl_shape_count(&f->state.output);
    f->y = floats(f->output_count);
    f->dy = floats(f->output_count);
    for (size_t n = 0; n < f->output_count; n++) f->dy[n] = (float)tl_rng_normal(rng);
    const tl_op_needs *needs = &f->state.needs;
    f->saved = tl_aligned_calloc(needs->saved);
    f->scratch = tl_aligned_calloc(needs->forward_scratch + needs->backward_scratch);
    f->run = (tl_op_run){ .y = f->y, .dy = f->dy, .saved = f->saved, .scratch = f->scratch };
    for (size_t i = 0; i < is->input_count; i++) {
        f->run.x[i] = f->inputs[i];
        f->run.dx[i] = f->input_grads[i];
    }
    for (size_t p = 0; p < f->param_count; p++) {
        f->run.params[p] = f->params[p];
        f->run.dparams[p] = f->param_grads[p];
    }
}

static void teardown(fixture *f)
{
    tl_op_release(f->is->kind, &f->state);
    for (size_t i = 0; i < TL_OP_INPUT_MAX; i++) free(f->inputs[i]), free(f->input_grads[i]);
    for (size_t p = 0; p < TL_OP_PARAM_MAX; p++) free(f->params[p]), free(f->param_grads[p]);
    free(f->y);
    free(f->dy);
    free(f->saved);
    free(f->scratch);
    tl_device_destroy_stream(&f->stream);
}

static double objective(fixture *f)
{
    /* Live statistics move the running ones; an evaluation must not. */
    float kept[2][64];
    bool live = f->is->kind == TL_OP_BATCH_NORM;
    size_t channels = live ? tl_shape_count(&f->specs[2].shape) : 0;
    for (int i = 0; i < 2 && live; i++) memcpy(kept[i], f->params[2 + i], channels * sizeof(float));
    tl_error err;
    assert_int_equal(tl_op_forward(f->is->kind, &f->state, &f->run, &err), TL_OK);
    for (int i = 0; i < 2 && live; i++) memcpy(f->params[2 + i], kept[i], channels * sizeof(float));
    double sum = 0;
    for (size_t n = 0; n < f->output_count; n++) sum += (double)f->y[n] * (double)f->dy[n];
    return sum;
}

/* The worst disagreement over some directions, as a share of the gradient's norm. */
static double disagreement(fixture *f, float *values, const float *grad, size_t count, tl_rng *rng)
{
    const float h = 0.01f;
    double norm = 0, worst = 0;
    float *before = floats(count), *d = floats(count);
    memcpy(before, values, count * sizeof *values);
    for (size_t n = 0; n < count; n++) norm += (double)grad[n] * (double)grad[n];
    for (int k = 0; k < DIRECTIONS; k++) {
        double analytic = 0, step = 0;
        for (size_t n = 0; n < count; n++) d[n] = (tl_rng_u64(rng) & 1) != 0 ? h : -h;
        for (size_t n = 0; n < count; n++) values[n] = before[n] + d[n];
        step += objective(f);
        for (size_t n = 0; n < count; n++) values[n] = before[n] - d[n];
        step -= objective(f);
        /* what the numbers really moved by, after rounding */
        for (size_t n = 0; n < count; n++)
            analytic += (double)grad[n] * ((double)(before[n] + d[n]) - (double)(before[n] - d[n]));
        double share = fabs(step - analytic) / (2.0 * (double)h) / (sqrt(norm) + 1e-3);
        if (share > worst) worst = share;
    }
    memcpy(values, before, count * sizeof *values);
    free(before);
    free(d);
    return worst;
}

static void run_case(const grad_case *is, size_t number)
{
    const double allowed = 4e-3;
    fixture f;
    tl_rng rng;
    tl_rng_seed(&rng, 5, number);
    setup(&f, is, &rng);
    tl_error err;
    objective(&f);
    assert_int_equal(tl_op_backward(is->kind, &f.state, &f.run, &err), TL_OK);
    for (size_t i = 0; i < is->input_count; i++) {
        if (is->fixed[i]) continue;
        const size_t count = BATCH * tl_shape_count(&is->inputs[i]);
        double share = disagreement(&f, f.inputs[i], f.input_grads[i], count, &rng);
        if (!(share < allowed))
            fail_msg("case %zu, %s, %s: gradient by operand %zu is off by %g", number,
                     tl_op_get(is->kind)->name, tl_kernels_get()->name, i, share);
    }
    for (size_t p = 0; p < f.param_count; p++) {
        if (f.specs[p].role == TL_PARAM_RUNNING) continue;
        const size_t count = tl_shape_count(&f.specs[p].shape);
        double share = disagreement(&f, f.params[p], f.param_grads[p], count, &rng);
        if (!(share < allowed))
            fail_msg("case %zu, %s, %s: gradient by parameter %s is off by %g", number,
                     tl_op_get(is->kind)->name, tl_kernels_get()->name, f.specs[p].suffix, share);
    }
    teardown(&f);
}

/* ---- Cases ----------------------------------------------------------------------------------- */

typedef struct conv_shape_case {
    uint32_t h, w, in, out, kernel_h, kernel_w, stride, dilation, groups;
    uint32_t pads[4]; /* top left bottom right */
    bool bias;
} conv_shape_case;

static const conv_shape_case conv_cases[] = {
    { 5, 6, 3, 7, 3, 3, 1, 1, 1, { 1, 1, 1, 1 }, true },
    { 7, 5, 2, 16, 3, 3, 2, 1, 1, { 1, 1, 1, 1 }, false },
    { 8, 8, 16, 24, 3, 3, 1, 1, 1, { 1, 1, 1, 1 }, true },
    { 8, 8, 32, 32, 3, 3, 1, 1, 1, { 1, 1, 1, 1 }, false },
    { 6, 7, 16, 16, 3, 3, 1, 1, 1, { 1, 1, 1, 1 }, true },
    { 8, 7, 21, 35, 3, 3, 1, 1, 1, { 1, 1, 1, 1 }, true },
    { 20, 24, 17, 16, 3, 3, 1, 1, 1, { 1, 1, 1, 1 }, false }, /* several chunks of tiles */
    { 9, 5, 17, 33, 3, 3, 1, 1, 1, { 1, 1, 1, 1 }, false },
    { 6, 6, 32, 16, 3, 3, 1, 1, 1, { 0, 0, 0, 0 }, false },
    { 7, 6, 16, 48, 3, 3, 1, 1, 1, { 2, 0, 1, 2 }, true },
    { 8, 8, 16, 16, 3, 3, 2, 1, 1, { 0, 0, 1, 1 }, false },
    { 6, 6, 5, 9, 1, 1, 1, 1, 1, { 0, 0, 0, 0 }, true },
    { 1, 1, 13, 4, 1, 1, 1, 1, 1, { 0, 0, 0, 0 }, true },
    { 9, 8, 4, 6, 3, 2, 1, 2, 1, { 2, 0, 1, 1 }, false },
    { 7, 7, 6, 8, 5, 5, 2, 1, 2, { 2, 2, 2, 2 }, true },
    { 6, 7, 11, 11, 3, 3, 1, 1, 11, { 1, 1, 1, 1 }, true },
    { 9, 9, 8, 8, 5, 5, 2, 1, 8, { 2, 2, 2, 2 }, false },
    { 8, 7, 29, 29, 3, 3, 2, 1, 29, { 0, 0, 1, 1 }, false },
    { 9, 8, 20, 20, 3, 2, 1, 2, 20, { 2, 1, 2, 0 }, true },
    { 5, 5, 4, 4, 7, 7, 3, 1, 4, { 3, 3, 3, 3 }, true },
};

static grad_case make_conv(const conv_shape_case *c)
{
    grad_case out = { .kind = TL_OP_CONV, .input_count = 1, .mode = TL_MODE_TRAIN_LIVE };
    out.inputs[0] = tl_shape_image(c->h, c->w, c->in);
    out.attrs = tl_attrs_default(TL_OP_CONV);
    out.attrs.window = (tl_window){ c->kernel_h, c->kernel_w, c->stride,  c->stride,  c->dilation,
                                    c->dilation, c->pads[0],  c->pads[1], c->pads[2], c->pads[3] };
    out.attrs.channels = c->out;
    out.attrs.groups = c->groups;
    out.attrs.has_bias = c->bias;
    return out;
}

static grad_case make(tl_op_kind kind, numbers kind_of_numbers, tl_shape a)
{
    grad_case out = { .kind = kind,
                      .numbers = kind_of_numbers,
                      .input_count = 1,
                      .inputs = { a },
                      .attrs = tl_attrs_default(kind),
                      .mode = TL_MODE_TRAIN_FROZEN };
    return out;
}

static grad_case make2(tl_op_kind kind, tl_shape a, tl_shape b)
{
    grad_case out = make(kind, SMOOTH, a);
    out.input_count = 2;
    out.inputs[1] = b;
    return out;
}

static tl_shape shape4(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    return (tl_shape){ .rank = 4, .dim = { a, b, c, d } };
}

static size_t add_norms(grad_case *cases)
{
    const tl_op_kind smooth[] = { TL_OP_COUNT, TL_OP_SIGMOID, TL_OP_SILU };
    const tl_shape shapes[] = { tl_shape_image(4, 5, 7), tl_shape_image(3, 3, 16),
                                tl_shape_vector(5), tl_shape_image(1, 2, 61) };
    size_t n = 0;
    for (size_t mode = TL_MODE_TRAIN_FROZEN; mode <= TL_MODE_TRAIN_LIVE; mode++) {
        for (size_t s = 0; s < TL_COUNT_OF(shapes); s++) {
            for (size_t a = 0; a < TL_COUNT_OF(smooth); a++) {
                cases[n] = make(TL_OP_BATCH_NORM, SPREAD, shapes[s]);
                cases[n].mode = (tl_op_mode)mode;
                cases[n++].attrs.activation.kind = smooth[a];
            }
        }
    }
    return n;
}

static size_t add_elementwise(grad_case *cases)
{
    const tl_op_kind kinds[] = {
        TL_OP_RELU,     TL_OP_CLIP, TL_OP_HARD_SWISH, TL_OP_HARD_SIGMOID, TL_OP_SIGMOID,
        TL_OP_SILU,     TL_OP_ABS,  TL_OP_LEAKY_RELU, TL_OP_TANH,         TL_OP_ELU,
        TL_OP_SELU,     TL_OP_GELU, TL_OP_GELU_TANH,  TL_OP_SOFTPLUS,     TL_OP_MISH,
        TL_OP_SOFTSIGN, TL_OP_EXP,  TL_OP_NEG,        TL_OP_ERF,          TL_OP_PRELU
    };
    size_t n = 0;
    for (size_t k = 0; k < TL_COUNT_OF(kinds); k++) {
        cases[n] = make(kinds[k], APART, tl_shape_image(3, 5, 7));
        if (kinds[k] == TL_OP_CLIP) cases[n].attrs.alpha = -1, cases[n].attrs.beta = 1.5f;
        if (kinds[k] == TL_OP_HARD_SIGMOID) cases[n].attrs.alpha = 1.0f / 6; /* kinks at -3, 3 */
        if (kinds[k] == TL_OP_PRELU) cases[n].attrs.channels = 7;
        n++;
    }
    cases[n] = make(TL_OP_PRELU, APART, tl_shape_image(3, 5, 7));
    cases[n++].attrs.channels = 1;
    cases[n++] = make(TL_OP_LOG, POSITIVE, tl_shape_image(3, 5, 7));
    cases[n++] = make(TL_OP_SQRT, POSITIVE, tl_shape_image(3, 5, 7));
    cases[n++] = make(TL_OP_RECIPROCAL, POSITIVE, tl_shape_vector(9));
    return n;
}

static size_t add_binaries(grad_case *cases)
{
    const tl_op_kind kinds[] = { TL_OP_ADD, TL_OP_SUB, TL_OP_MUL, TL_OP_DIV,
                                 TL_OP_POW, TL_OP_MIN, TL_OP_MAX };
    const tl_shape image = tl_shape_image(4, 3, 9), channel = tl_shape_image(1, 1, 9);
    const tl_shape row = tl_shape_vector(9), one = tl_shape_vector(1);
    const tl_shape column = tl_shape_image(4, 1, 1), plane = tl_shape_image(4, 3, 1);
    const tl_shape pairs[][2] = { { image, image }, { image, channel }, { channel, image },
                                  { image, row },   { one, image },     { row, row },
                                  { row, image },   { plane, channel }, { column, plane },
                                  { image, plane } };
    size_t n = 0;
    for (size_t k = 0; k < TL_COUNT_OF(kinds); k++) {
        const bool extreme = kinds[k] == TL_OP_MIN || kinds[k] == TL_OP_MAX;
        for (size_t i = 0; i < TL_COUNT_OF(pairs); i++) {
            cases[n] = make2(kinds[k], pairs[i][0], pairs[i][1]);
            cases[n].numbers = kinds[k] == TL_OP_DIV || kinds[k] == TL_OP_POW ? POSITIVE
                               : extreme                                      ? UNLIKE
                                                                              : SMOOTH;
            n++;
        }
    }
    cases[n] = make2(TL_OP_WHERE, tl_shape_image(2, 3, 1), image);
    cases[n].inputs[0] = tl_shape_image(4, 3, 1);
    cases[n].inputs[2] = row;
    cases[n].input_count = 3;
    cases[n++].fixed[0] = true;
    return n;
}

static size_t add_reductions(grad_case *cases)
{
    const tl_op_kind kinds[] = { TL_OP_REDUCE_SUM, TL_OP_REDUCE_MEAN, TL_OP_REDUCE_MAX,
                                 TL_OP_REDUCE_MIN, TL_OP_REDUCE_PROD, TL_OP_REDUCE_L2 };
    const uint32_t masks[] = { 0, 1, 3, 4, 5 };
    size_t n = 0;
    for (size_t k = 0; k < TL_COUNT_OF(kinds); k++) {
        for (size_t m = 0; m < TL_COUNT_OF(masks); m++) {
            const bool extreme = kinds[k] == TL_OP_REDUCE_MAX || kinds[k] == TL_OP_REDUCE_MIN;
            const bool product = kinds[k] == TL_OP_REDUCE_PROD;
            cases[n] = make(kinds[k],
                            extreme   ? DISTINCT
                            : product ? POSITIVE
                                      : SMOOTH,
                            product ? tl_shape_image(2, 1, 3) : tl_shape_image(4, 2, 3));
            cases[n].attrs.keep_dims = m % 2 == 0;
            cases[n++].attrs.axis_mask = masks[m];
        }
    }
    for (int32_t axis = -1; axis < 3; axis++) {
        cases[n] = make(TL_OP_SOFTMAX, SMOOTH, tl_shape_image(3, 4, 5));
        cases[n++].attrs.axis = axis;
        cases[n] = make(TL_OP_LOG_SOFTMAX, SMOOTH, tl_shape_image(3, 4, 5));
        cases[n++].attrs.axis = axis;
    }
    return n;
}

static size_t add_products(grad_case *cases)
{
    const tl_shape matrix = { .rank = 2, .dim = { 4, 5 } }, other = { .rank = 2, .dim = { 5, 3 } };
    size_t n = 0;
    cases[n++] = make2(TL_OP_MATMUL, matrix, other);
    cases[n++] = make2(TL_OP_MATMUL, shape4(2, 3, 4, 5), other);
    cases[n++] = make2(TL_OP_MATMUL, matrix, shape4(2, 3, 5, 7));
    cases[n++] = make2(TL_OP_MATMUL, shape4(2, 1, 4, 5), tl_shape_image(3, 5, 2));
    cases[n] = make(TL_OP_GEMM, SMOOTH, tl_shape_image(2, 3, 5));
    cases[n].attrs.channels = 4;
    cases[n++].attrs.has_bias = true;
    return n;
}

static size_t add_moves(grad_case *cases)
{
    const tl_shape shape = shape4(2, 3, 4, 5);
    size_t n = 0;
    for (int32_t axis = 0; axis < 4; axis++) {
        cases[n] = make2(TL_OP_CONCAT, shape, shape);
        cases[n].inputs[1].dim[axis] = 6;
        cases[n++].attrs.axis = axis;
        cases[n] = make(TL_OP_SLICE, SMOOTH, shape4(7, 7, 7, 7));
        cases[n].attrs.axis = axis;
        cases[n].attrs.begin = axis % 2 == 0 ? 1 : 6;
        cases[n].attrs.end = axis % 2 == 0 ? 6 : -1;
        cases[n++].attrs.step = axis % 2 == 0 ? 2 : -3;
        cases[n] = make2(TL_OP_GATHER, shape, (tl_shape){ .rank = 2, .dim = { 2, 3 } });
        cases[n].fixed[1] = true;
        cases[n++].attrs.axis = axis;
        cases[n] = make(TL_OP_PAD, SMOOTH, tl_shape_image(3, 4, 5));
        cases[n].attrs.pad_mode = (tl_pad_mode)axis;
        for (uint32_t i = 0; i < 3; i++)
            cases[n].attrs.pad_begin[i] = i, cases[n].attrs.pad_end[i] = 2 - i;
        n++;
    }
    cases[n] = make(TL_OP_RESHAPE, SMOOTH, shape);
    cases[n++].attrs.shape = tl_shape_image(8, 5, 3);
    const uint8_t orders[][4] = { { 0, 1, 2, 3 }, { 3, 0, 1, 2 }, { 1, 0, 3, 2 }, { 2, 3, 1, 0 } };
    for (size_t i = 0; i < TL_COUNT_OF(orders); i++) {
        cases[n] = make(TL_OP_PERMUTE, SMOOTH, shape);
        memcpy(cases[n++].attrs.axes, orders[i], sizeof orders[i]);
    }
    cases[n] = make(TL_OP_EXPAND, SMOOTH, tl_shape_image(1, 4, 1));
    cases[n++].attrs.shape = shape4(2, 3, 4, 5);
    cases[n] = make(TL_OP_TILE, SMOOTH, tl_shape_image(2, 3, 4));
    cases[n++].attrs.shape = tl_shape_image(4, 9, 8);
    return n;
}

static size_t add_pools(grad_case *cases)
{
    const tl_window windows[] = { { 2, 2, 2, 2, 1, 1, 0, 0, 0, 0 },
                                  { 3, 3, 2, 2, 1, 1, 1, 1, 1, 1 },
                                  { 5, 3, 1, 1, 1, 1, 2, 1, 2, 1 },
                                  { 3, 2, 3, 2, 1, 1, 0, 0, 2, 1 } };
    size_t n = 0;
    for (size_t w = 0; w < TL_COUNT_OF(windows); w++) {
        cases[n] = make(TL_OP_MAX_POOL, DISTINCT, tl_shape_image(5, 7, 3));
        cases[n++].attrs.window = windows[w];
    }
    const tl_window dilated = { 2, 3, 2, 1, 2, 2, 1, 2, 0, 1 };
    for (int i = 0; i < 8; i++) {
        const bool max = i % 2 == 0;
        cases[n] = make(max ? TL_OP_MAX_POOL : TL_OP_AVERAGE_POOL, max ? DISTINCT : SMOOTH,
                        i < 4 ? tl_shape_image(6, 7, 5) : shape4(2, 6, 4, 3));
        cases[n].attrs.window = i % 4 < 2 ? dilated : windows[1];
        cases[n].attrs.ceil_mode = i % 3 == 0;
        cases[n++].attrs.count_include_pad = i % 4 < 2;
    }
    cases[n++] = make(TL_OP_GLOBAL_AVERAGE_POOL, SMOOTH, shape4(2, 3, 4, 5));
    cases[n++] = make(TL_OP_GLOBAL_MAX_POOL, DISTINCT, shape4(2, 3, 4, 5));
    cases[n++] = make(TL_OP_GLOBAL_AVERAGE_POOL, SMOOTH, tl_shape_image(5, 3, 11));
    cases[n++] = make(TL_OP_GLOBAL_AVERAGE_POOL, SMOOTH, tl_shape_image(1, 2, 200));
    cases[n++] = make(TL_OP_GLOBAL_MAX_POOL, DISTINCT, tl_shape_image(5, 3, 7));
    return n;
}

static size_t add_resizes(grad_case *cases)
{
    const tl_shape in = tl_shape_image(5, 6, 3);
    size_t n = 0;
    for (uint32_t mode = TL_RESIZE_NEAREST; mode <= TL_RESIZE_CUBIC; mode++) {
        for (uint32_t position = 0; position <= TL_POSITION_CROP_AND_RESIZE; position++) {
            cases[n] = make(TL_OP_RESIZE, SMOOTH, position == 0 ? shape4(2, 5, 6, 3) : in);
            tl_resize *by = &cases[n++].attrs.resize;
            by->mode = (tl_resize_mode)mode;
            by->position = (tl_resize_position)position;
            by->rounding = (tl_resize_rounding)(position % 4);
            by->height = position % 2 == 0 ? 10 : 3;
            by->width = position % 3 == 0 ? 4 : 12;
            by->antialias = position == 0 && mode != TL_RESIZE_NEAREST;
            by->exclude_outside = position % 2 == 0;
            by->crop_top = -0.2f, by->crop_right = 0.8f;
        }
    }
    return n;
}

static size_t add_transposed(grad_case *cases)
{
    const tl_window windows[] = { { 2, 2, 2, 2, 1, 1, 0, 0, 0, 0 },
                                  { 3, 3, 2, 2, 1, 1, 1, 1, 1, 0 },
                                  { 3, 2, 1, 3, 2, 1, 2, 0, 1, 1 } };
    size_t n = 0;
    for (size_t w = 0; w < TL_COUNT_OF(windows); w++) {
        for (uint32_t groups = 1; groups <= 4; groups++) {
            if (groups == 3) continue;
            cases[n] = make(TL_OP_CONV_TRANSPOSE, SMOOTH,
                            groups == 2 ? shape4(2, 4, 3, 8) : tl_shape_image(4, 3, 8));
            cases[n].attrs.window = windows[w];
            cases[n].attrs.channels = 12;
            cases[n].attrs.groups = groups;
            cases[n].attrs.has_bias = groups != 2;
            cases[n].attrs.output_pad_h = w == 1;
            cases[n++].attrs.output_pad_w = w == 2 ? 2 : 0;
        }
    }
    return n;
}

static size_t add_rest(grad_case *cases)
{
    size_t n = 0;
    cases[n] = make(TL_OP_CONCAT, SMOOTH, tl_shape_image(3, 2, 5));
    cases[n].inputs[1] = tl_shape_image(3, 2, 1);
    cases[n].inputs[2] = tl_shape_image(3, 2, 8);
    cases[n++].input_count = 3;
    cases[n++] = make(TL_OP_FLATTEN, SMOOTH, tl_shape_image(3, 4, 5));
    cases[n] = make(TL_OP_SLICE, SMOOTH, tl_shape_image(3, 4, 9));
    cases[n].attrs.begin = 2;
    cases[n++].attrs.end = 7;
    for (uint32_t out = 1; out <= 71; out += 35) {
        cases[n] = make(TL_OP_GEMM, SMOOTH, tl_shape_vector(13));
        cases[n].attrs.channels = out;
        cases[n++].attrs.has_bias = out != 36;
    }
    for (uint32_t groups = 1; groups <= 16; groups += 15) { /* several images an item */
        cases[n] = make_conv(&conv_cases[2]);
        cases[n].inputs[0] = shape4(2, 8, 8, 16);
        cases[n].attrs.channels = 16;
        cases[n++].attrs.groups = groups;
        cases[n] = cases[n - 1];
        cases[n++].attrs.window.stride_h = 2;
    }
    cases[n] = make(TL_OP_CONSTANT, SMOOTH, tl_shape_vector(1));
    cases[n].input_count = 0;
    cases[n].attrs.trained = true;
    cases[n++].attrs.shape = tl_shape_image(2, 3, 5);
    return n;
}

static size_t all_cases(grad_case *cases)
{
    size_t n = 0;
    for (size_t c = 0; c < TL_COUNT_OF(conv_cases); c++) cases[n++] = make_conv(&conv_cases[c]);
    n += add_norms(cases + n);
    n += add_elementwise(cases + n);
    n += add_binaries(cases + n);
    n += add_reductions(cases + n);
    n += add_products(cases + n);
    n += add_moves(cases + n);
    n += add_pools(cases + n);
    n += add_resizes(cases + n);
    n += add_transposed(cases + n);
    return n + add_rest(cases + n);
}

static grad_case cases[512];

static void test_every_operator(void **state)
{
    (void)state;
    static const char *const sets[] = { "base", "avx2", "avx512" };
    bool covered[TL_OP_COUNT] = { false };
    size_t count = all_cases(cases);
    assert_true(count <= TL_COUNT_OF(cases));
    for (size_t c = 0; c < count; c++) {
        for (size_t s = 0; s < TL_COUNT_OF(sets); s++) {
            const tl_kernels *kernels = tl_kernels_find(sets[s]);
            if (kernels == NULL) continue; /* not on this processor */
            tl_kernels_choose(kernels);
            run_case(&cases[c], c);
        }
        covered[cases[c].kind] = true;
    }
    tl_kernels_choose(NULL);
    for (int kind = 0; kind < TL_OP_COUNT; kind++)
        if (!covered[kind] && tl_op_get((tl_op_kind)kind)->backward != NULL)
            fail_msg("operator %s has no case", tl_op_get((tl_op_kind)kind)->name);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_operator) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

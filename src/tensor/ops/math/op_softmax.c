/* SOFTMAX, y = exp(x) / sum exp(x) along an axis: dx = y * (dy - sum(dy * y)); and LOG_SOFTMAX, its
 * logarithm: dx = dy - exp(y) * sum(dy). Rows that do not lie in one piece are taken aside. */
#include "tensor/internal.h"
#include "tensor/walk.h"

#include <math.h>

static tl_status softmax_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                               tl_shape *output, tl_error *err)
{
    (void)input_count;
    if (tl_axis_index(attrs->axis, inputs[0].rank) < 0)
        return tl_fail(err, TL_ESHAPE, "axis %d of an item of rank %u", attrs->axis,
                       inputs[0].rank);
    *output = inputs[0];
    return TL_OK;
}

/* Row r of `rows` begins at (r / inner) * n * inner + r % inner and has steps of `inner`. */
typedef struct softmax_rows {
    size_t rows, n, inner;
} softmax_rows;

static softmax_rows rows_of(const tl_op_state *state)
{
    const tl_shape *x = &state->output;
    const uint32_t axis = (uint32_t)tl_axis_index(state->attrs->axis, x->rank);
    softmax_rows out = { .n = x->dim[axis], .inner = 1 };
    for (uint32_t i = axis + 1; i < x->rank; i++) out.inner *= x->dim[i];
    out.rows = state->batch * tl_shape_count(x) / out.n;
    return out;
}

static tl_status softmax_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    const softmax_rows s = rows_of(state);
    state->needs.keeps_output = true;
    state->needs.in_place = true;
    state->needs.backward_in_place = true;
    if (s.inner > 1) {
        state->needs.forward_scratch = s.n * sizeof(float);
        state->needs.backward_scratch = 2 * s.n * sizeof(float);
    }
    return TL_OK;
}

static const float *take_row(const softmax_rows *s, const float *from, float *aside)
{
    if (s->inner == 1) return from;
    for (size_t i = 0; i < s->n; i++) aside[i] = from[i * s->inner];
    return aside;
}

static void log_softmax(size_t n, const float *x, float *y)
{
    float best = x[0];
    for (size_t i = 1; i < n; i++) best = x[i] > best ? x[i] : best;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)expf(x[i] - best);
    const float shift = best + (float)log(sum);
    for (size_t i = 0; i < n; i++) y[i] = x[i] - shift;
}

static tl_status softmax_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const softmax_rows s = rows_of(state);
    for (size_t r = 0; r < s.rows; r++) {
        const size_t at = r / s.inner * s.n * s.inner + r % s.inner;
        const float *x = take_row(&s, run->x[0] + at, run->scratch);
        float *y = s.inner == 1 ? run->y + at : run->scratch;
        if (state->kind == TL_OP_SOFTMAX)
            tl_kernels_get()->softmax(s.n, x, y);
        else
            log_softmax(s.n, x, y);
        for (size_t i = 0; i < s.n && s.inner > 1; i++) run->y[at + i * s.inner] = y[i];
    }
    return TL_OK;
}

static tl_status softmax_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
    const softmax_rows s = rows_of(state);
    for (size_t r = 0; r < s.rows; r++) {
        const size_t at = r / s.inner * s.n * s.inner + r % s.inner;
        const float *y = take_row(&s, run->y + at, run->scratch);
        const float *dy = take_row(&s, run->dy + at, (float *)run->scratch + s.n);
        float *dx = run->dx[0] + at;
        double sum = 0;
        if (state->kind == TL_OP_SOFTMAX) {
            for (size_t i = 0; i < s.n; i++) sum += (double)dy[i] * (double)y[i];
            for (size_t i = 0; i < s.n; i++) dx[i * s.inner] = y[i] * (dy[i] - (float)sum);
        } else {
            for (size_t i = 0; i < s.n; i++) sum += (double)dy[i];
            for (size_t i = 0; i < s.n; i++) dx[i * s.inner] = dy[i] - expf(y[i]) * (float)sum;
        }
    }
    return TL_OK;
}

#define SOFTMAX(name_)                                                                             \
    const tl_op tl_op_##name_ = {                                                                  \
        .name = #name_,                                                                            \
        .input_min = 1,                                                                            \
        .input_max = 1,                                                                            \
        .shape = softmax_shape,                                                                    \
        .prepare = softmax_prepare,                                                                \
        .forward = softmax_forward,                                                                \
        .backward = softmax_backward,                                                              \
    };

SOFTMAX(softmax)
SOFTMAX(log_softmax)

/* y = act((x - mean) / sqrt(variance + epsilon) * scale + shift), by channel.
 *
 * Frozen: mean and variance are the running ones. Live: those of the batch (biased variance), and
 * the running ones move towards them (unbiased variance, Ioffe & Szegedy 2015). The activation is
 * fused, and its derivative is taken from x again, so that nothing but x is kept. Sums run in float
 * over some thousand numbers at a time, then in double. */
#include "tensor/internal.h"
#include "tensor/team.h"

#include <math.h>
#include <string.h>

enum { SCALE, SHIFT, MEAN, VARIANCE }; /* parameters */
enum { GROUPS_A_BLOCK = 64 };          /* summed in float */

static size_t norm_params(const tl_attrs *attrs, const tl_shape *inputs,
                          tl_param_spec specs[TL_OP_PARAM_MAX])
{
    (void)attrs;
    static const tl_param_spec each[4] = {
        { .suffix = "weight", .role = TL_PARAM_BIAS, .init = TL_INIT_ONE },
        { .suffix = "bias", .role = TL_PARAM_BIAS, .init = TL_INIT_ZERO },
        { .suffix = "running_mean", .role = TL_PARAM_RUNNING, .init = TL_INIT_ZERO },
        { .suffix = "running_var", .role = TL_PARAM_RUNNING, .init = TL_INIT_ONE },
    };
    for (int i = 0; i < 4; i++) {
        specs[i] = each[i];
        specs[i].shape = tl_shape_vector(tl_shape_channels(&inputs[0]));
    }
    return 4;
}

static tl_status norm_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                            tl_shape *output, tl_error *err)
{
    (void)input_count;
    if (!(attrs->epsilon > 0.0f) || !isfinite(attrs->epsilon))
        return tl_fail(err, TL_EINVAL, "epsilon is %g; want above 0", (double)attrs->epsilon);
    if (!(attrs->momentum >= 0.0f && attrs->momentum <= 1.0f))
        return tl_fail(err, TL_EINVAL, "momentum is %g; want 0 to 1", (double)attrs->momentum);
    *output = inputs[0];
    return TL_OK;
}

static uint64_t norm_macs(const tl_attrs *attrs, const tl_shape *inputs, const tl_shape *output)
{
    (void)attrs, (void)inputs;
    return tl_shape_count(output);
}

typedef struct norm_sizes {
    size_t channels, group, item;
} norm_sizes;

static norm_sizes sizes_of(const tl_op_state *state)
{
    norm_sizes s;
    s.channels = tl_shape_channels(&state->output);
    s.group = tl_group_floats((uint32_t)s.channels);
    s.item = tl_shape_count(&state->output);
    return s;
}

/* Two numbers a channel and the number of pixels; whole cache lines, for what follows them. */
static size_t totals_count(const norm_sizes *s)
{
    return (2 * s->channels + 1 + 7) / 8 * 8;
}

/* What training keeps from its first phase to its last. */
typedef struct norm_saved {
    double *total;                 /* of sum and dot, by channel, then the number of pixels */
    float *scale, *shift, *center; /* groups */
    float *h, *k;                  /* groups; backward */
    float *first;                  /* group: the first pixel */
    float *sum, *dot;              /* groups: sums of a block */
    float *inverse;                /* [channels] 1 / deviation */
} norm_saved;

static norm_saved saved_of(const norm_sizes *s, void *saved)
{
    norm_saved v = { .total = saved };
    float *at = (float *)(v.total + totals_count(s));
    float **const groups[] = { &v.scale, &v.shift, &v.center, &v.h,      &v.k,
                               &v.first, &v.sum,   &v.dot,    &v.inverse };
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++, at += s->group) *groups[i] = at;
    return v;
}

/* Training: x and dx, where what comes before leaves x so. */
static bool norm_halves(const tl_op_state *state, const bool *operands)
{
    return state->mode != TL_MODE_INFER && operands[0];
}

static tl_status norm_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    const norm_sizes s = sizes_of(state);
    if (state->mode == TL_MODE_INFER) {
        state->needs.in_place = true;
        state->needs.packed = 2 * s.group * sizeof(float);
        return TL_OK;
    }
    state->needs.keeps_input[0] = true;
    state->needs.backward_in_place = !state->half;
    state->needs.saved = totals_count(&s) * sizeof(double) + 9 * s.group * sizeof(float);
    return TL_OK;
}

/* Repeat the first `channels` numbers over the group. */
static void spread(const norm_sizes *s, float *group)
{
    for (size_t at = s->channels; at < s->group; at += s->channels)
        memcpy(group + at, group, s->channels * sizeof *group);
}

/* Add a group of sums to totals by channel, and clear it. */
static void flush(const norm_sizes *s, float *group, double *total)
{
    for (size_t at = 0; at < s->group; at += s->channels)
        for (size_t c = 0; c < s->channels; c++) total[c] += (double)group[at + c];
    memset(group, 0, s->group * sizeof *group);
}

static tl_status norm_pack(const tl_op_state *state, const float *const *params, void *packed,
                           tl_error *err)
{
    (void)err;
    const norm_sizes s = sizes_of(state);
    float *scale = packed, *shift = scale + s.group;
    for (size_t c = 0; c < s.channels; c++) {
        double factor = (double)params[SCALE][c] /
                        sqrt((double)params[VARIANCE][c] + (double)state->attrs->epsilon);
        scale[c] = (float)factor;
        shift[c] = (float)((double)params[SHIFT][c] - (double)params[MEAN][c] * factor);
    }
    spread(&s, scale);
    spread(&s, shift);
    return TL_OK;
}

/* From number `at` on, of x or dx in bf16. */
static const uint16_t *half_at(const float *x, size_t at)
{
    return (const uint16_t *)(const void *)x + at;
}

static uint16_t *half_dx_at(float *dx, size_t at)
{
    return dx == NULL ? NULL : (uint16_t *)(void *)dx + at;
}

/* ---- Forward --------------------------------------------------------------------------------- */

static void clear_sums(const norm_sizes *s, const norm_saved *v)
{
    memset(v->total, 0, 2 * s->channels * sizeof *v->total);
    memset(v->sum, 0, s->group * sizeof *v->sum);
    memset(v->dot, 0, s->group * sizeof *v->dot);
}

/* Sums of these items and of their squares. The first pixel is taken off before squaring, so that a
 * large mean costs no precision. */
static void gather_forward(const tl_op_state *state, const norm_sizes *s, const tl_op_run *run,
                           const norm_saved *v)
{
    const tl_kernels *k = tl_kernels_get();
    const float *x = run->x[0];
    if (run->first_item == 0) {
        clear_sums(s, v);
        if (state->half)
            k->from_half(s->channels, half_at(x, 0), v->first);
        else
            memcpy(v->first, x, s->channels * sizeof *v->first);
        spread(s, v->first);
    }
    const size_t block = GROUPS_A_BLOCK * s->group, count = run->items * s->item;
    for (size_t at = 0; at < count; at += block) {
        size_t n = count - at < block ? count - at : block;
        if (state->half)
            k->norm_half_moments(n, s->group, half_at(x, at), v->first, v->sum, v->dot);
        else
            k->norm_moments(n, s->group, x + at, v->first, v->sum, v->dot);
        flush(s, v->sum, v->total);
        flush(s, v->dot, v->total + s->channels);
    }
}

/* Sums become mean and biased variance, of all threads' items. Returns how many pixels there are. */
static double share_moments(const tl_op_state *state, const norm_sizes *s, const norm_saved *v)
{
    double *mean = v->total, *variance = mean + s->channels;
    double pixels = (double)(state->batch * s->item / s->channels);
    for (size_t c = 0; c < s->channels; c++) {
        double shifted = mean[c] / pixels;
        variance[c] = fmax(variance[c] / pixels - shifted * shifted, 0.0);
        mean[c] = shifted + (double)v->first[c];
    }
    if (state->exchange == NULL) return pixels;
    for (size_t c = 0; c < s->channels; c++) {
        variance[c] = (variance[c] + mean[c] * mean[c]) * pixels;
        mean[c] *= pixels;
    }
    v->total[2 * s->channels] = pixels;
    tl_exchange_sum(state->exchange, state->member, v->total, 2 * s->channels + 1);
    pixels = v->total[2 * s->channels];
    for (size_t c = 0; c < s->channels; c++) {
        mean[c] /= pixels;
        variance[c] = fmax(variance[c] / pixels - mean[c] * mean[c], 0.0);
    }
    return pixels;
}

static void move_running(const tl_op_state *state, const norm_sizes *s, const tl_op_run *run,
                         const double *moments, double pixels)
{
    if (state->member != 0) return;
    const double m = (double)state->attrs->momentum, *mean = moments,
                 *variance = moments + s->channels;
    const double unbiased = pixels > 1 ? pixels / (pixels - 1) : 1;
    for (size_t c = 0; c < s->channels; c++) {
        float *old_mean = &run->params[MEAN][c], *old_variance = &run->params[VARIANCE][c];
        *old_mean = (float)((1 - m) * (double)*old_mean + m * mean[c]);
        *old_variance = (float)((1 - m) * (double)*old_variance + m * variance[c] * unbiased);
    }
}

static void settle_forward(const tl_op_state *state, const norm_sizes *s, const tl_op_run *run,
                           const norm_saved *v)
{
    double *mean = v->total, *variance = mean + s->channels;
    if (state->mode == TL_MODE_TRAIN_LIVE) {
        double pixels = share_moments(state, s, v);
        move_running(state, s, run, v->total, pixels);
    } else {
        for (size_t c = 0; c < s->channels; c++) {
            mean[c] = (double)run->params[MEAN][c];
            variance[c] = (double)run->params[VARIANCE][c];
        }
    }
    for (size_t c = 0; c < s->channels; c++) {
        double factor = 1.0 / sqrt(variance[c] + (double)state->attrs->epsilon);
        v->inverse[c] = (float)factor;
        v->center[c] = (float)mean[c];
        v->scale[c] = (float)(factor * (double)run->params[SCALE][c]);
        v->shift[c] = (float)((double)run->params[SHIFT][c] - mean[c] * (double)v->scale[c]);
    }
    spread(s, v->scale);
    spread(s, v->shift);
    spread(s, v->center);
}

static tl_status norm_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const tl_kernels *k = tl_kernels_get();
    const tl_activation *act = &state->attrs->activation;
    const norm_sizes s = sizes_of(state);
    const bool serves = state->mode == TL_MODE_INFER;
    const float *packed = run->packed;
    tl_norm_coefficients by = { .scale = packed };
    if (serves) {
        by.shift = packed + s.group;
    } else {
        const norm_saved v = saved_of(&s, run->saved);
        by = (tl_norm_coefficients){ .scale = v.scale, .shift = v.shift };
    }
    const size_t count = (serves ? state->batch : run->items) * s.item;
    if (state->half)
        k->norm_half_forward(act, count, s.group, half_at(run->x[0], 0), &by, run->y);
    else
        k->norm_forward(act, count, s.group, run->x[0], &by, run->y);
    return TL_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

static tl_norm_coefficients backward_coefficients(const norm_saved *v)
{
    return (tl_norm_coefficients){ .scale = v->scale,
                                   .shift = v->shift,
                                   .center = v->center,
                                   .g = v->scale,
                                   .h = v->h,
                                   .k = v->k };
}

/* `n` numbers from `at` on, at most a block: sums of dz and dz * (x - mean) by position in the group;
 * in frozen mode also dx. */
static void gather_block(const tl_op_state *state, const norm_sizes *s, const tl_op_run *run,
                         const norm_saved *v, size_t at, size_t n)
{
    const tl_kernels *k = tl_kernels_get();
    const tl_activation *act = &state->attrs->activation;
    const tl_norm_coefficients by = backward_coefficients(v);
    const float *x = run->x[0], *dy = run->dy + at;
    float *dx = run->dx[0];
    if (state->mode == TL_MODE_TRAIN_LIVE) {
        if (state->half)
            k->norm_half_reduce(act, n, s->group, half_at(x, at), dy, &by, v->sum, v->dot);
        else
            k->norm_reduce(act, n, s->group, x + at, dy, &by, v->sum, v->dot);
    } else if (state->half) {
        k->norm_half_backward_frozen(act, n, s->group, half_at(x, at), dy, &by, v->sum, v->dot,
                                     half_dx_at(dx, at));
    } else {
        k->norm_backward_frozen(act, n, s->group, x + at, dy, &by, v->sum, v->dot,
                                dx == NULL ? NULL : dx + at);
    }
}

/* The same of all items of a call, by channel. */
static void gather_backward(const tl_op_state *state, const norm_sizes *s, const tl_op_run *run,
                            const norm_saved *v)
{
    const size_t block = GROUPS_A_BLOCK * s->group, count = run->items * s->item;
    if (run->first_item == 0) clear_sums(s, v);
    for (size_t at = 0; at < count; at += block) {
        size_t n = count - at < block ? count - at : block;
        gather_block(state, s, run, v, at, n);
        flush(s, v->sum, v->total);
        flush(s, v->dot, v->total + s->channels);
    }
}

static void settle_backward(const tl_op_state *state, const norm_sizes *s, const tl_op_run *run,
                            const norm_saved *v)
{
    double *total = v->total, *total_dot = total + s->channels;
    for (size_t c = 0; c < s->channels; c++) {
        run->dparams[SCALE][c] = (float)(total_dot[c] * (double)v->inverse[c]);
        run->dparams[SHIFT][c] = (float)total[c];
        run->dparams[MEAN][c] = 0.0f;
        run->dparams[VARIANCE][c] = 0.0f;
    }
    if (state->mode != TL_MODE_TRAIN_LIVE) return;
    total[2 * s->channels] = (double)(state->batch * s->item / s->channels);
    if (state->exchange != NULL)
        tl_exchange_sum(state->exchange, state->member, total, 2 * s->channels + 1);
    const double pixels = total[2 * s->channels];
    for (size_t c = 0; c < s->channels; c++) {
        double factor = (double)v->scale[c] / pixels, r = (double)v->inverse[c];
        v->h[c] = (float)(-factor * r * r * total_dot[c]);
        v->k[c] = (float)(-factor * total[c]);
    }
    spread(s, v->h);
    spread(s, v->k);
}

static tl_status norm_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const norm_sizes s = sizes_of(state);
    const norm_saved v = saved_of(&s, run->saved);
    if (state->mode != TL_MODE_TRAIN_LIVE) {
        gather_backward(state, &s, run, &v);
    } else if (run->dx[0] != NULL) {
        const tl_kernels *k = tl_kernels_get();
        const tl_activation *act = &state->attrs->activation;
        const tl_norm_coefficients by = backward_coefficients(&v);
        const size_t count = run->items * s.item;
        if (state->half)
            k->norm_half_backward(act, count, s.group, half_at(run->x[0], 0), run->dy, &by,
                                  half_dx_at(run->dx[0], 0));
        else
            k->norm_backward(act, count, s.group, run->x[0], run->dy, &by, run->dx[0]);
    }
    return TL_OK;
}

static tl_status norm_phase(const tl_op_state *state, const tl_op_run *run, tl_op_phase phase,
                            tl_error *err)
{
    (void)err;
    const norm_sizes s = sizes_of(state);
    const norm_saved v = saved_of(&s, run->saved);
    switch (phase) {
    case TL_PHASE_GATHER_FORWARD: gather_forward(state, &s, run, &v); break;
    case TL_PHASE_SETTLE_FORWARD: settle_forward(state, &s, run, &v); break;
    case TL_PHASE_GATHER_BACKWARD: gather_backward(state, &s, run, &v); break;
    case TL_PHASE_SETTLE_BACKWARD: settle_backward(state, &s, run, &v); break;
    }
    return TL_OK;
}

const tl_op tl_op_batch_norm = {
    .name = "batch_norm",
    .input_min = 1,
    .input_max = 1,
    .fuses_infer = TL_ACTIVATION_BITS,
    .fuses_train = TL_ACTIVATION_BITS,
    .params = norm_params,
    .shape = norm_shape,
    .macs = norm_macs,
    .halves = norm_halves,
    .prepare = norm_prepare,
    .pack = norm_pack,
    .forward = norm_forward,
    .backward = norm_backward,
    .phase = norm_phase,
    .sums_batch = true,
};

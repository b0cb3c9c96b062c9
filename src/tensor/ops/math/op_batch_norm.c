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

/* Buffers: saved holds three groups (scale, shift, center) and, by channel, 1 / deviation. */
typedef struct norm_sizes {
    size_t channels, group, item, count; /* count: numbers in the batch */
} norm_sizes;

static norm_sizes sizes_of(const tl_op_state *state)
{
    norm_sizes s;
    s.channels = tl_shape_channels(&state->output);
    s.group = tl_group_floats((uint32_t)s.channels);
    s.item = tl_shape_count(&state->output);
    s.count = state->batch * s.item;
    return s;
}

/* Two numbers a channel and the number of pixels; whole cache lines, for what follows them. */
static size_t totals_count(const norm_sizes *s)
{
    return (2 * s->channels + 1 + 7) / 8 * 8;
}

static tl_status norm_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    const norm_sizes s = sizes_of(state);
    state->needs.in_place = true;
    if (state->mode == TL_MODE_INFER) {
        state->needs.packed = 2 * s.group * sizeof(float);
        return TL_OK;
    }
    state->needs.in_place = false;
    state->needs.keeps_input[0] = true;
    state->needs.backward_in_place = true;
    state->needs.saved = (3 * s.group + s.channels) * sizeof(float);
    const size_t totals = totals_count(&s) * sizeof(double);
    state->needs.forward_scratch = 3 * s.group * sizeof(float) + totals;
    state->needs.backward_scratch = 4 * s.group * sizeof(float) + totals;
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

/* Mean and biased variance of the batch, by channel. The first pixel is taken off before squaring,
 * so that a large mean costs no precision. */
static void batch_moments(const norm_sizes *s, const float *x, void *scratch, double *mean,
                          double *variance)
{
    float *first = (float *)((double *)scratch + totals_count(s));
    float *sum = first + s->group, *square = sum + s->group;
    memcpy(first, x, s->channels * sizeof *first);
    spread(s, first);
    memset(sum, 0, 2 * s->group * sizeof *sum);
    memset(mean, 0, s->channels * sizeof *mean);
    memset(variance, 0, s->channels * sizeof *variance);
    const size_t block = GROUPS_A_BLOCK * s->group;
    for (size_t at = 0; at < s->count; at += block) {
        size_t n = s->count - at < block ? s->count - at : block;
        tl_kernels_get()->norm_moments(n, s->group, x + at, first, sum, square);
        flush(s, sum, mean);
        flush(s, square, variance);
    }
    const double pixels = (double)(s->count / s->channels);
    for (size_t c = 0; c < s->channels; c++) {
        double shifted = mean[c] / pixels;
        variance[c] = fmax(variance[c] / pixels - shifted * shifted, 0.0);
        mean[c] = shifted + (double)first[c];
    }
}

/* Moments of this thread's items become those of all. Returns how many pixels there are. */
static double share_moments(const tl_op_state *state, const norm_sizes *s, double *mean,
                            double *variance)
{
    double pixels = (double)(s->count / s->channels);
    if (state->exchange == NULL) return pixels;
    double *all = mean; /* mean, variance and one more number lie together */
    TL_ASSERT(variance == mean + s->channels);
    for (size_t c = 0; c < s->channels; c++) {
        variance[c] = (variance[c] + mean[c] * mean[c]) * pixels;
        mean[c] *= pixels;
    }
    all[2 * s->channels] = pixels;
    tl_exchange_sum(state->exchange, state->member, all, 2 * s->channels + 1);
    pixels = all[2 * s->channels];
    for (size_t c = 0; c < s->channels; c++) {
        mean[c] /= pixels;
        variance[c] = fmax(variance[c] / pixels - mean[c] * mean[c], 0.0);
    }
    return pixels;
}

static void move_running(const tl_op_state *state, const norm_sizes *s, const tl_op_run *run,
                         const double *mean, const double *variance, double pixels)
{
    if (state->member != 0) return;
    const double m = (double)state->attrs->momentum;
    const double unbiased = pixels > 1 ? pixels / (pixels - 1) : 1;
    for (size_t c = 0; c < s->channels; c++) {
        float *old_mean = &run->params[MEAN][c], *old_variance = &run->params[VARIANCE][c];
        *old_mean = (float)((1 - m) * (double)*old_mean + m * mean[c]);
        *old_variance = (float)((1 - m) * (double)*old_variance + m * variance[c] * unbiased);
    }
}

static tl_status norm_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const norm_sizes s = sizes_of(state);
    if (state->mode == TL_MODE_INFER) {
        const float *packed = run->packed;
        const tl_norm_coefficients by = { .scale = packed, .shift = packed + s.group };
        tl_kernels_get()->norm_forward(&state->attrs->activation, s.count, s.group, run->x[0], &by,
                                       run->y);
        return TL_OK;
    }
    double *mean = run->scratch, *variance = mean + s.channels;
    if (state->mode == TL_MODE_TRAIN_LIVE) {
        batch_moments(&s, run->x[0], run->scratch, mean, variance);
        move_running(state, &s, run, mean, variance, share_moments(state, &s, mean, variance));
    } else {
        for (size_t c = 0; c < s.channels; c++) {
            mean[c] = (double)run->params[MEAN][c];
            variance[c] = (double)run->params[VARIANCE][c];
        }
    }
    float *scale = run->saved, *shift = scale + s.group, *center = shift + s.group;
    float *inverse = center + s.group;
    for (size_t c = 0; c < s.channels; c++) {
        double factor = 1.0 / sqrt(variance[c] + (double)state->attrs->epsilon);
        inverse[c] = (float)factor;
        center[c] = (float)mean[c];
        scale[c] = (float)(factor * (double)run->params[SCALE][c]);
        shift[c] = (float)((double)run->params[SHIFT][c] - mean[c] * (double)scale[c]);
    }
    spread(&s, scale);
    spread(&s, shift);
    spread(&s, center);
    const tl_norm_coefficients by = { .scale = scale, .shift = shift };
    tl_kernels_get()->norm_forward(&state->attrs->activation, s.count, s.group, run->x[0], &by,
                                   run->y);
    return TL_OK;
}

/* Sums of dz and dz * (x - mean) by channel; in frozen mode also dx. */
static void reduce(const tl_op_state *state, const norm_sizes *s, const tl_op_run *run,
                   const tl_norm_coefficients *by, double *total, float *sums)
{
    const tl_kernels *k = tl_kernels_get();
    const size_t block = GROUPS_A_BLOCK * s->group;
    float *sum = sums, *dot = sums + s->group;
    memset(total, 0, 2 * s->channels * sizeof *total);
    memset(sums, 0, 2 * s->group * sizeof *sums);
    for (size_t at = 0; at < s->count; at += block) {
        size_t n = s->count - at < block ? s->count - at : block;
        const float *x = run->x[0] + at, *dy = run->dy + at;
        if (state->mode == TL_MODE_TRAIN_LIVE)
            k->norm_reduce(&state->attrs->activation, n, s->group, x, dy, by, sum, dot);
        else
            k->norm_backward_frozen(&state->attrs->activation, n, s->group, x, dy, by, sum, dot,
                                    run->dx[0] == NULL ? NULL : run->dx[0] + at);
        flush(s, sum, total);
        flush(s, dot, total + s->channels);
    }
}

static tl_status norm_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const norm_sizes s = sizes_of(state);
    const float *scale = run->saved, *inverse = scale + 3 * s.group;
    double *total = run->scratch, *total_dot = total + s.channels;
    float *sums = (float *)(total + totals_count(&s));
    float *h = sums + 2 * s.group, *k = h + s.group;
    const tl_norm_coefficients by = { .scale = scale,
                                      .shift = scale + s.group,
                                      .center = scale + 2 * s.group,
                                      .g = scale,
                                      .h = h,
                                      .k = k };
    reduce(state, &s, run, &by, total, sums);
    for (size_t c = 0; c < s.channels; c++) {
        run->dparams[SCALE][c] = (float)(total_dot[c] * (double)inverse[c]);
        run->dparams[SHIFT][c] = (float)total[c];
        run->dparams[MEAN][c] = 0.0f;
        run->dparams[VARIANCE][c] = 0.0f;
    }
    if (state->mode != TL_MODE_TRAIN_LIVE || run->dx[0] == NULL) return TL_OK;
    total[2 * s.channels] = (double)(s.count / s.channels);
    if (state->exchange != NULL)
        tl_exchange_sum(state->exchange, state->member, total, 2 * s.channels + 1);
    const double pixels = total[2 * s.channels];
    for (size_t c = 0; c < s.channels; c++) {
        double factor = (double)scale[c] / pixels, r = (double)inverse[c];
        h[c] = (float)(-factor * r * r * total_dot[c]);
        k[c] = (float)(-factor * total[c]);
    }
    spread(&s, h);
    spread(&s, k);
    tl_kernels_get()->norm_backward(&state->attrs->activation, s.count, s.group, run->x[0], run->dy,
                                    &by, run->dx[0]);
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
    .prepare = norm_prepare,
    .pack = norm_pack,
    .forward = norm_forward,
    .backward = norm_backward,
};

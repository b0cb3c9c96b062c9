/* Convolution with one channel in and out a group, by own kernels: oneDNN 2.6 is slow in the
 * gradient by the weights when kernels are 5x5 or channels are no multiple of 16
 * (docs/decisions/0001). */
#include "tensor/ops/conv/conv_internal.h"

#include <string.h>

bool tl_depthwise_fits(const tl_attrs *attrs, const tl_shape *input)
{
    return attrs->groups > 1 && attrs->groups == input->dim[2] &&
           attrs->groups == attrs->channels &&
           (uint64_t)attrs->window.kernel_h * attrs->window.kernel_w <= 256;
}

static size_t taps_of(const tl_op_state *state)
{
    return (size_t)state->attrs->window.kernel_h * state->attrs->window.kernel_w;
}

static size_t weights_bytes(const tl_op_state *state)
{
    return tl_align(taps_of(state) * state->output.dim[2] * sizeof(float));
}

static size_t channels_bytes(const tl_op_state *state)
{
    return tl_align(state->output.dim[2] * sizeof(float));
}

static size_t group_bytes(const tl_op_state *state)
{
    return tl_align(tl_group_floats(state->output.dim[2]) * sizeof(float));
}

/* Serving by rows of padded strips: the windows that the kernels are made for. */
static bool strips_fit(const tl_op_state *state)
{
    const tl_window *w = &state->attrs->window;
    return w->kernel_h == w->kernel_w && (w->kernel_h == 3 || w->kernel_h == 5) &&
           w->stride_h == w->stride_w && w->stride_h <= 2 && w->dilation_h == 1 &&
           w->dilation_w == 1 && state->output.dim[2] >= 16;
}

/* Columns of the output. The windows of the inner ones lie inside the image from left to right and
 * read it in place; the others read padded strips. Of a narrow image all do, some channels at a
 * time, so that strips stay in the cache: single columns are sums that wait for each other. */
enum {
    NARROW = 14, /* columns */
    STRIP_CHANNELS = 64
};

typedef struct serving_columns {
    tl_range left, inner, right;
} serving_columns;

static serving_columns columns_of(const tl_op_state *state)
{
    const tl_window *w = &state->attrs->window;
    const size_t all = state->output.dim[1], limit = w->pad_left + state->inputs[0].dim[1];
    size_t begin = (w->pad_left + w->stride_w - 1) / w->stride_w;
    size_t end = limit < w->kernel_w ? 0 : (limit - w->kernel_w) / w->stride_w + 1;
    if (end > all) end = all;
    if (state->half) end = 0; /* strips are float32 */
    if (begin >= end || all * w->stride_w <= NARROW) begin = end = all;
    return (serving_columns){ { 0, begin }, { begin, end }, { end, all } };
}

/* Floats that the inner columns read of a row. */
static size_t inner_floats(const tl_op_state *state, tl_range inner)
{
    const tl_window *w = &state->attrs->window;
    if (inner.begin == inner.end) return 0;
    return ((inner.end - inner.begin - 1) * w->stride_w + w->kernel_w) * state->output.dim[2];
}

/* The channels of a strip, from `begin` on: at least 16, as kernels want. */
static tl_range strip_channels(const tl_op_state *state, tl_range columns, size_t begin, size_t end)
{
    const bool all = state->half || columns.end - columns.begin < state->output.dim[1];
    const bool last = end - begin < STRIP_CHANNELS + 16;
    return (tl_range){ begin, all || last ? end : begin + STRIP_CHANNELS };
}

static tl_strips strips_of(const tl_op_state *state, tl_range columns)
{
    const size_t channels = state->output.dim[2];
    const bool cut = strip_channels(state, columns, 0, channels).end < channels;
    const size_t most = cut ? STRIP_CHANNELS + 15 : channels;
    return tl_strips_of(state, columns, (tl_range){ 0, most });
}

/* Room for strips, or for a row of padding. */
static size_t serving_scratch(const tl_op_state *state)
{
    const serving_columns columns = columns_of(state);
    const tl_range ranges[] = { columns.left, columns.right };
    size_t floats = inner_floats(state, columns.inner);
    for (size_t i = 0; i < TL_COUNT_OF(ranges); i++) {
        if (ranges[i].begin == ranges[i].end) continue;
        const size_t strip = strips_of(state, ranges[i]).floats;
        if (strip > floats) floats = strip;
    }
    return tl_align(floats * sizeof(float));
}

/* bf16 becomes float32 in the strips; a row of sums becomes bf16 when it is done. */
bool tl_depthwise_halves(const tl_op_state *state)
{
    return strips_fit(state) && !state->attrs->fused_add;
}

/* Room for that row; no room where it is written in place. */
static size_t aside_bytes(const tl_op_state *state)
{
    const size_t floats = (size_t)state->output.dim[1] * state->output.dim[2];
    return state->half ? tl_align(floats * sizeof(float)) : 0;
}

static tl_status depthwise_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    const size_t weights = weights_bytes(state);
    if (state->mode == TL_MODE_INFER) {
        state->needs.packed = weights + channels_bytes(state);
        if (strips_fit(state)) {
            state->needs.forward_scratch = aside_bytes(state) + serving_scratch(state);
            /* what is added afterwards is added to the whole */
            state->needs.parts = !state->attrs->fused_add;
            state->needs.rows = state->batch == 1 && !state->half && !state->attrs->fused_add;
        }
        state->needs.any_batch = true;
        return TL_OK;
    }
    state->needs.forward_scratch = weights;
    state->needs.backward_scratch = weights + group_bytes(state);
    state->needs.keeps_input[0] = true;
    return TL_OK;
}

/* [channels, taps] and back. */
static void transpose(size_t rows, size_t columns, const float *from, float *to)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
}

static tl_status depthwise_pack(const tl_op_state *state, const float *const *params, void *packed,
                                tl_error *err)
{
    (void)err;
    const tl_attrs *attrs = state->attrs;
    const size_t channels = state->output.dim[2], taps = taps_of(state);
    float *weights = packed, *bias = (float *)((char *)packed + weights_bytes(state));
    for (size_t c = 0; c < channels; c++) {
        float folded[256];
        tl_conv_fold(attrs, (tl_range){ c, c + 1 }, taps, params, folded, bias + c);
        for (size_t t = 0; t < taps; t++) weights[t * channels + c] = folded[t];
    }
    return TL_OK;
}

static tl_depthwise_args args_of(const tl_op_state *state)
{
    return (tl_depthwise_args){ .window = &state->attrs->window,
                                .height = state->inputs[0].dim[0],
                                .width = state->inputs[0].dim[1],
                                .channels = state->output.dim[2],
                                .out_height = state->output.dim[0],
                                .out_width = state->output.dim[1] };
}

/* What of the output a run does: rows of the image, or channels where rows are few. */
static void share(const tl_op_state *state, const tl_op_run *run, tl_range *rows,
                  tl_range *channels)
{
    const uint32_t parts = run->parts == 0 ? 1 : run->parts;
    *rows = (tl_range){ 0, state->output.dim[0] };
    *channels = (tl_range){ 0, state->output.dim[2] };
    const size_t grains = channels->end / 16;
    if (run->row_end > 0) {
        *rows = (tl_range){ run->row_begin, run->row_end };
        return;
    }
    if (rows->end >= 4 * parts || grains < parts) {
        *rows = tl_team_range(rows->end, 1, run->part, parts);
        return;
    }
    *channels = tl_team_range(grains * 16, 16, run->part, parts);
    if (run->part == parts - 1) channels->end = state->output.dim[2];
}

/* The channels of a row that were done, as bf16. */
static void store_row(const tl_depthwise_row *row, uint16_t *to)
{
    const tl_kernels *k = tl_kernels_get();
    if (row->end - row->begin == row->channels) {
        k->to_half(row->pixels * row->channels, row->y, to);
        return;
    }
    for (size_t p = 0; p < row->pixels; p++) {
        const size_t at = p * row->channels + row->begin;
        k->to_half(row->end - row->begin, row->y + at, to + at);
    }
}

/* Output columns `columns` of some rows, from padded strips that have the row's channels. */
static void infer_rows(const tl_op_state *state, const tl_strips *strips, const void *x, void *y,
                       tl_range rows, tl_range columns, tl_depthwise_row *row, void *scratch)
{
    float *aside = scratch, *strip = aside + aside_bytes(state) / sizeof *aside;
    row->pixels = columns.end - columns.begin;
    row->x_step = strips->taken.end - strips->taken.begin;
    row->x_first = strips->taken.begin;
    for (tl_range part = { rows.begin, 0 }; part.begin < rows.end; part.begin = part.end) {
        part.end = part.begin + strips->rows < rows.end ? part.begin + strips->rows : rows.end;
        tl_strips_fill(strips, x, state->half, part, strip);
        for (size_t at = part.begin; at < part.end; at++) {
            for (size_t ky = 0; ky < row->kernel; ky++)
                row->x[ky] = strip + ((at - part.begin) * row->stride + ky) * strips->row_floats;
            const size_t first = (at * state->output.dim[1] + columns.begin) * row->channels;
            row->y = state->half ? aside : (float *)y + first;
            tl_kernels_get()->depthwise_row(row);
            if (state->half) store_row(row, (uint16_t *)y + first);
        }
    }
}

static void infer_strips(const tl_op_state *state, const void *x, void *y, tl_range rows,
                         tl_range columns, const tl_depthwise_row *all, void *scratch)
{
    if (columns.begin == columns.end) return;
    tl_strips strips = strips_of(state, columns);
    const bool whole = strips.taken.end == all->channels;
    tl_depthwise_row row = *all;
    for (; row.begin < all->end; row.begin = row.end) {
        row.end = strip_channels(state, columns, row.begin, all->end).end;
        if (!whole) tl_strips_take(&strips, (tl_range){ row.begin, row.end });
        infer_rows(state, &strips, x, y, rows, columns, &row, scratch);
    }
}

/* Output columns whose windows lie inside the image from left to right. */
static void infer_inner(const tl_op_state *state, const float *x, float *y, tl_range rows,
                        tl_range columns, tl_depthwise_row *row, float *zeros)
{
    if (columns.begin == columns.end) return;
    const tl_window *w = &state->attrs->window;
    const size_t height = state->inputs[0].dim[0], width = state->inputs[0].dim[1];
    row->pixels = columns.end - columns.begin;
    row->x_step = row->channels;
    row->x_first = 0;
    memset(zeros, 0, inner_floats(state, columns) * sizeof *zeros);
    for (size_t at = rows.begin; at < rows.end; at++) {
        for (size_t ky = 0; ky < row->kernel; ky++) {
            const size_t padded = at * row->stride + ky, from = columns.begin * row->stride;
            const bool inside = padded >= w->pad_top && padded < w->pad_top + height;
            row->x[ky] =
                inside ? x + ((padded - w->pad_top) * width + from - w->pad_left) * row->channels
                       : zeros;
        }
        row->y = y + (at * state->output.dim[1] + columns.begin) * row->channels;
        tl_kernels_get()->depthwise_row(row);
    }
}

static void infer_image(const tl_op_state *state, const tl_op_run *run)
{
    const size_t in = tl_shape_count(&state->inputs[0]), out = tl_shape_count(&state->output);
    const serving_columns columns = columns_of(state);
    tl_range rows, channels;
    share(state, run, &rows, &channels);
    tl_depthwise_row row = { .kernel = state->attrs->window.kernel_h,
                             .stride = state->attrs->window.stride_h,
                             .channels = state->output.dim[2],
                             .begin = channels.begin,
                             .end = channels.end,
                             .weights = run->packed,
                             .act = &state->attrs->activation };
    row.bias = row.weights + weights_bytes(state) / sizeof(float);
    for (uint32_t i = 0; i < state->batch; i++) {
        const void *x = (const char *)run->x[0] + i * in * tl_number_bytes(state);
        void *y = (char *)run->y + i * out * tl_number_bytes(state);
        infer_strips(state, x, y, rows, columns.left, &row, run->scratch);
        infer_inner(state, x, y, rows, columns.inner, &row, run->scratch);
        infer_strips(state, x, y, rows, columns.right, &row, run->scratch);
    }
}

static tl_status depthwise_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (state->mode == TL_MODE_INFER && strips_fit(state)) {
        infer_image(state, run);
        return TL_OK;
    }
    const tl_kernels *k = tl_kernels_get();
    const size_t in = tl_shape_count(&state->inputs[0]), out = tl_shape_count(&state->output);
    const tl_activation *act = &state->attrs->activation;
    tl_depthwise_args args = args_of(state);
    if (state->mode == TL_MODE_INFER) {
        args.weights = run->packed;
        args.bias = (const float *)((const char *)run->packed + weights_bytes(state));
    } else {
        transpose(args.channels, taps_of(state), run->params[TL_CONV_WEIGHT], run->scratch);
        args.weights = run->scratch;
        args.bias = state->attrs->has_bias ? run->params[TL_CONV_BIAS] : NULL;
    }
    for (uint32_t i = 0; i < state->batch; i++) {
        float *y = run->y + i * out;
        k->depthwise_forward(&args, run->x[0] + i * in, y);
        if (act->kind != TL_OP_COUNT) k->activate(act, out, y, y);
    }
    return TL_OK;
}

static tl_status depthwise_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const tl_kernels *k = tl_kernels_get();
    const size_t in = tl_shape_count(&state->inputs[0]), out = tl_shape_count(&state->output);
    const size_t taps = taps_of(state), channels = state->output.dim[2];
    tl_depthwise_args args = args_of(state);
    float *weights = run->scratch;
    if (run->dx[0] != NULL) {
        transpose(channels, taps, run->params[TL_CONV_WEIGHT], weights);
        args.weights = weights;
        for (uint32_t i = 0; i < state->batch; i++)
            k->depthwise_backward_data(&args, run->dy + i * out, run->dx[0] + i * in);
    }
    memset(weights, 0, taps * channels * sizeof *weights);
    for (uint32_t i = 0; i < state->batch; i++)
        k->depthwise_backward_weights(&args, run->x[0] + i * in, run->dy + i * out, weights);
    transpose(taps, channels, weights, run->dparams[TL_CONV_WEIGHT]);
    if (!state->attrs->has_bias) return TL_OK;
    const size_t group = tl_group_floats((uint32_t)channels);
    float *sum = (float *)((char *)run->scratch + weights_bytes(state));
    memset(sum, 0, group * sizeof *sum);
    k->sum_groups(state->batch * out, group, run->dy, sum);
    for (size_t c = 0; c < channels; c++) {
        double total = 0;
        for (size_t at = c; at < group; at += channels) total += (double)sum[at];
        run->dparams[TL_CONV_BIAS][c] = (float)total;
    }
    return TL_OK;
}

const tl_op tl_depthwise = {
    .name = "depthwise",
    .prepare = depthwise_prepare,
    .pack = depthwise_pack,
    .forward = depthwise_forward,
    .backward = depthwise_backward,
};

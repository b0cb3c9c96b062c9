/* RESIZE, as ONNX defines it (https://onnx.ai/onnx/operators/onnx__Resize.html), over height and
 * width.
 *
 * Along each axis an output pixel is a weighted sum of some input pixels. The weights are computed
 * once; forward blends rows, then columns; backward does the same the other way. */
#include "tensor/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct axis_taps {
    uint32_t count;  /* of taps of each output pixel */
    uint32_t *index; /* [out, count] input pixels */
    float *weight;   /* [out, count] */
    bool *outside;   /* [out]: the pixel lies outside of what is cropped */
} axis_taps;

typedef struct resize_state {
    axis_taps rows, columns;
} resize_state;

/* What one axis is resized by. */
typedef struct axis_size {
    const tl_resize *by;
    uint32_t in, out;
    double scale, crop_begin, crop_end;
} axis_size;

static axis_size axis_of(const tl_op_state *state, bool rows)
{
    const tl_resize *by = &state->attrs->resize;
    axis_size a = { .by = by,
                    .in = state->inputs[0].dim[rows ? 0 : 1],
                    .out = state->output.dim[rows ? 0 : 1],
                    .scale = (double)(rows ? by->scale_h : by->scale_w),
                    .crop_begin = (double)(rows ? by->crop_top : by->crop_left),
                    .crop_end = (double)(rows ? by->crop_bottom : by->crop_right) };
    if (a.scale == 0) a.scale = (double)a.out / a.in;
    return a;
}

/* Where output pixel i is in the input. */
static double position_of(const axis_size *a, uint32_t i)
{
    const double length = a->scale * a->in, last = a->in - 1.0, half = (i + 0.5) / a->scale - 0.5;
    switch (a->by->position) {
    case TL_POSITION_HALF_PIXEL: break;
    case TL_POSITION_HALF_PIXEL_SYMMETRIC: return a->in / 2.0 * (1 - a->out / length) + half;
    case TL_POSITION_PYTORCH_HALF_PIXEL: return a->out == 1 ? 0 : half;
    case TL_POSITION_ALIGN_CORNERS: return length == 1 ? 0 : i * last / (length - 1);
    case TL_POSITION_ASYMMETRIC: return i / a->scale;
    case TL_POSITION_CROP_AND_RESIZE: {
        const double span = (a->crop_end - a->crop_begin) * last;
        const bool point = a->out == 1 || length == 1;
        return a->crop_begin * last + (point ? span / 2 : i * span / (length - 1));
    }
    }
    return half;
}

static double nearest_of(tl_resize_rounding rounding, double at)
{
    switch (rounding) {
    case TL_ROUNDING_PREFER_FLOOR: return ceil(at - 0.5);
    case TL_ROUNDING_PREFER_CEIL: return floor(at + 0.5);
    case TL_ROUNDING_FLOOR: return floor(at);
    case TL_ROUNDING_CEIL: break;
    }
    return ceil(at);
}

/* The filter at distance d; Keys 1981 for the cubic. */
static double filter_at(const tl_resize *by, double d)
{
    const double c = (double)by->cubic;
    d = fabs(d);
    if (by->mode == TL_RESIZE_LINEAR) return d < 1 ? 1 - d : 0;
    if (d <= 1) return ((c + 2) * d - (c + 3)) * d * d + 1;
    return d < 2 ? ((c * d - 5 * c) * d + 8 * c) * d - 4 * c : 0;
}

/* How much wider the filter is, for shrinking. */
static double stretch_of(const axis_size *a)
{
    return a->by->antialias && a->scale < 1 ? a->scale : 1;
}

/* First tap of a filter, from the pixel before the position. */
static int64_t first_tap(const axis_size *a)
{
    const double reach = a->by->mode == TL_RESIZE_CUBIC ? 2 : 1;
    return (int64_t)floor(-reach / stretch_of(a)) + 1;
}

static uint32_t clamp_index(int64_t index, uint32_t size)
{
    return index < 0 ? 0 : index >= size ? size - 1 : (uint32_t)index;
}

static void fill_taps(const axis_size *a, axis_taps *taps, uint32_t i)
{
    const double at = position_of(a, i);
    uint32_t *index = taps->index + (size_t)i * taps->count;
    float *weight = taps->weight + (size_t)i * taps->count;
    taps->outside[i] =
        a->by->position == TL_POSITION_CROP_AND_RESIZE && (at < 0 || at > a->in - 1.0);
    if (a->by->mode == TL_RESIZE_NEAREST) {
        *index = clamp_index((int64_t)nearest_of(a->by->rounding, at), a->in);
        *weight = 1;
        return;
    }
    const double before = ceil(at) - 1;
    const int64_t first = first_tap(a);
    double sum = 0;
    for (uint32_t t = 0; t < taps->count; t++) {
        const int64_t pixel = (int64_t)before + first + t;
        const bool counts = !a->by->exclude_outside || (pixel >= 0 && pixel < a->in);
        const double distance = (double)(first + t) - (at - before);
        const double w = counts ? filter_at(a->by, distance * stretch_of(a)) : 0;
        index[t] = clamp_index(pixel, a->in);
        weight[t] = (float)w;
        sum += w;
    }
    for (uint32_t t = 0; t < taps->count && sum != 0; t++)
        weight[t] = (float)((double)weight[t] / sum);
}

static tl_status make_taps(const tl_op_state *state, bool rows, axis_taps *taps, tl_error *err)
{
    const axis_size a = axis_of(state, rows);
    const bool nearest = a.by->mode == TL_RESIZE_NEAREST;
    taps->count = nearest ? 1 : (uint32_t)(2 - 2 * first_tap(&a));
    taps->index = malloc((size_t)a.out * taps->count * sizeof *taps->index);
    taps->weight = malloc((size_t)a.out * taps->count * sizeof *taps->weight);
    taps->outside = malloc(a.out * sizeof *taps->outside);
    if (taps->index == NULL || taps->weight == NULL || taps->outside == NULL)
        return tl_fail(err, TL_ENOMEM, "resize to %u pixels", a.out);
    for (uint32_t i = 0; i < a.out; i++) fill_taps(&a, taps, i);
    return TL_OK;
}

static tl_status resize_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                              tl_shape *output, tl_error *err)
{
    (void)input_count;
    const tl_resize *by = &attrs->resize;
    tl_shape image;
    tl_status status = tl_image_of(&inputs[0], &image, err);
    if (status != TL_OK) return status;
    if (by->height < 1 || by->width < 1 || by->height > TL_DIM_MAX || by->width > TL_DIM_MAX)
        return tl_fail(err, TL_ESHAPE, "resize to %u x %u", by->height, by->width);
    const float low = 1.0f / (1 << 12), high = 1 << 12; /* bounds the taps of a pixel */
    const float scales[2] = { by->scale_h, by->scale_w };
    for (int i = 0; i < 2; i++) {
        const float scale = scales[i] != 0.0f
                                ? scales[i]
                                : (float)(i == 0 ? by->height : by->width) / (float)image.dim[i];
        if (!(scale >= low && scale <= high))
            return tl_fail(err, TL_ESHAPE, "resize by %g; want 1/4096 to 4096", (double)scale);
    }
    const float numbers[] = { by->cubic, by->crop_top, by->crop_left, by->crop_right,
                              by->crop_bottom };
    for (size_t i = 0; i < TL_COUNT_OF(numbers); i++)
        if (!(fabsf(numbers[i]) <= high))
            return tl_fail(err, TL_EINVAL, "an attribute of a resize is %g", (double)numbers[i]);
    *output = tl_image_into(&inputs[0], by->height, by->width, image.dim[2]);
    return TL_OK;
}

static void resize_destroy(tl_op_state *state)
{
    resize_state *own = state->own;
    axis_taps *const both[] = { &own->rows, &own->columns };
    for (int i = 0; i < 2; i++) {
        free(both[i]->index);
        free(both[i]->weight);
        free(both[i]->outside);
    }
}

static tl_status image_prepare(tl_op_state *state, tl_error *err)
{
    tl_status status = tl_op_alloc(state, sizeof(resize_state), err);
    if (status != TL_OK) return status;
    resize_state *own = state->own;
    state->needs.parts = state->mode == TL_MODE_INFER;
    if (state->attrs->resize.mode != TL_RESIZE_NEAREST)
        state->needs.forward_scratch = state->needs.backward_scratch =
            (size_t)state->inputs[0].dim[1] * state->inputs[0].dim[2] * sizeof(float);
    status = make_taps(state, true, &own->rows, err);
    return status == TL_OK ? make_taps(state, false, &own->columns, err) : status;
}

static tl_status resize_prepare(tl_op_state *state, tl_error *err)
{
    return tl_image_prepare(state, image_prepare, err);
}

/* ---- Forward --------------------------------------------------------------------------------- */

static void fill_pixel(float *y, size_t channels, float value)
{
    for (size_t c = 0; c < channels; c++) y[c] = value;
}

static void nearest_row(const tl_op_state *state, const float *x, float *y)
{
    const axis_taps *columns = &((const resize_state *)state->own)->columns;
    const size_t channels = state->output.dim[2], bytes = channels * sizeof(float);
    for (size_t ox = 0; ox < state->output.dim[1]; ox++, y += channels) {
        if (columns->outside[ox])
            fill_pixel(y, channels, state->attrs->resize.outside);
        else
            memcpy(y, x + columns->index[ox] * channels, bytes);
    }
}

static void blend_row(const tl_op_state *state, const float *row, float *y)
{
    const axis_taps *columns = &((const resize_state *)state->own)->columns;
    const tl_kernels *k = tl_kernels_get();
    const size_t channels = state->output.dim[2], count = columns->count;
    for (size_t ox = 0; ox < state->output.dim[1]; ox++, y += channels) {
        if (columns->outside[ox]) {
            fill_pixel(y, channels, state->attrs->resize.outside);
            continue;
        }
        const uint32_t *index = columns->index + ox * count;
        const float *weight = columns->weight + ox * count;
        k->scale(channels, weight[0], row + index[0] * channels, y);
        for (size_t t = 1; t < count; t++)
            k->add_scaled(channels, weight[t], row + index[t] * channels, y);
    }
}

static void resize_image(const tl_op_state *state, const float *x, float *y, tl_range part,
                         float *row)
{
    const axis_taps *rows = &((const resize_state *)state->own)->rows;
    const tl_kernels *k = tl_kernels_get();
    const size_t in = (size_t)state->inputs[0].dim[1] * state->inputs[0].dim[2];
    const size_t out = (size_t)state->output.dim[1] * state->output.dim[2];
    y += part.begin * out;
    for (size_t oy = part.begin; oy < part.end; oy++, y += out) {
        const uint32_t *index = rows->index + oy * rows->count;
        const float *weight = rows->weight + oy * rows->count;
        if (rows->outside[oy]) {
            fill_pixel(y, out, state->attrs->resize.outside);
        } else if (row == NULL) {
            if (oy > part.begin && !rows->outside[oy - 1] && index[0] == index[-1])
                memcpy(y, y - out, out * sizeof *y);
            else
                nearest_row(state, x + index[0] * in, y);
        } else {
            k->scale(in, weight[0], x + index[0] * in, row);
            for (size_t t = 1; t < rows->count; t++)
                k->add_scaled(in, weight[t], x + index[t] * in, row);
            blend_row(state, row, y);
        }
    }
}

static tl_status resize_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const bool nearest = state->attrs->resize.mode == TL_RESIZE_NEAREST;
    const size_t in = tl_shape_count(&state->inputs[0]), out = tl_shape_count(&state->output);
    const tl_range part = tl_run_share(run, state->output.dim[0], 1);
    for (uint32_t i = 0; i < state->batch; i++)
        resize_image(state, run->x[0] + i * in, run->y + i * out, part,
                     nearest ? NULL : run->scratch);
    return TL_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* to [input row] += dy [output row], each pixel to those it came from. */
static void spread_row(const tl_op_state *state, const float *dy, float *to)
{
    const axis_taps *columns = &((const resize_state *)state->own)->columns;
    const size_t channels = state->output.dim[2], count = columns->count;
    for (size_t ox = 0; ox < state->output.dim[1]; ox++, dy += channels)
        for (size_t t = 0; t < count && !columns->outside[ox]; t++)
            tl_kernels_get()->add_scaled(channels, columns->weight[ox * count + t], dy,
                                         to + columns->index[ox * count + t] * channels);
}

static void spread_image(const tl_op_state *state, const float *dy, float *dx, float *row)
{
    const axis_taps *rows = &((const resize_state *)state->own)->rows;
    const size_t in = (size_t)state->inputs[0].dim[1] * state->inputs[0].dim[2];
    const size_t out = (size_t)state->output.dim[1] * state->output.dim[2];
    for (size_t oy = 0; oy < state->output.dim[0]; oy++, dy += out) {
        if (rows->outside[oy]) continue;
        const uint32_t *index = rows->index + oy * rows->count;
        if (row == NULL) {
            spread_row(state, dy, dx + index[0] * in);
            continue;
        }
        memset(row, 0, in * sizeof *row);
        spread_row(state, dy, row);
        for (size_t t = 0; t < rows->count; t++)
            tl_kernels_get()->add_scaled(in, rows->weight[oy * rows->count + t], row,
                                         dx + index[t] * in);
    }
}

static tl_status resize_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const bool nearest = state->attrs->resize.mode == TL_RESIZE_NEAREST;
    const size_t in = tl_shape_count(&state->inputs[0]), out = tl_shape_count(&state->output);
    memset(run->dx[0], 0, state->batch * in * sizeof(float));
    for (uint32_t i = 0; i < state->batch; i++)
        spread_image(state, run->dy + i * out, run->dx[0] + i * in, nearest ? NULL : run->scratch);
    return TL_OK;
}

const tl_op tl_op_resize = {
    .name = "resize",
    .input_min = 1,
    .input_max = 1,
    .shape = resize_shape,
    .prepare = resize_prepare,
    .forward = resize_forward,
    .backward = resize_backward,
    .destroy = resize_destroy,
};

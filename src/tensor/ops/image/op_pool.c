/* Pooling: maximum and mean over windows and over the whole image. */
#include "tensor/internal.h"

#include <math.h>
#include <string.h>

/* ---- Windows --------------------------------------------------------------------------------- */

/* Size of an axis after a window that is also set where it ends past the padding, as long as it
 * begins before it. */
static uint32_t ceil_output(uint32_t size, uint32_t reach, uint32_t stride, uint32_t pad_begin,
                            uint32_t pad_end)
{
    const uint32_t beyond = size + pad_begin + pad_end - reach;
    const uint32_t count = (beyond + stride - 1) / stride + 1;
    return (count - 1) * stride >= size + pad_begin ? count - 1 : count;
}

static tl_status pool_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                            tl_shape *output, tl_error *err)
{
    (void)input_count;
    const tl_window *w = &attrs->window;
    uint32_t height, width;
    tl_shape image;
    tl_status status = tl_image_of(&inputs[0], &image, err);
    if (status == TL_OK) status = tl_window_shape(w, &image, &height, &width, err);
    if (status != TL_OK) return status;
    if (attrs->ceil_mode) {
        height = ceil_output(image.dim[0], (w->kernel_h - 1) * w->dilation_h + 1, w->stride_h,
                             w->pad_top, w->pad_bottom);
        width = ceil_output(image.dim[1], (w->kernel_w - 1) * w->dilation_w + 1, w->stride_w,
                            w->pad_left, w->pad_right);
    }
    *output = tl_image_into(&inputs[0], height, width, image.dim[2]);
    return TL_OK;
}

/* The taps of one output pixel that lie inside the image. */
typedef struct tap_walk {
    uint32_t y0, y1, x0, x1; /* kernel rows and columns inside */
    ptrdiff_t top, left;     /* input row and column of tap (0, 0) */
    uint32_t padded;         /* taps inside image and padding */
} tap_walk;

/* How many of `kernel` taps from `start` lie before `limit`. */
static uint32_t taps_before(uint32_t start, uint32_t dilation, uint32_t kernel, uint32_t limit)
{
    const uint32_t count = start >= limit ? 0 : (limit - start + dilation - 1) / dilation;
    return count < kernel ? count : kernel;
}

static tap_walk walk_of(const tl_op_state *state, uint32_t oy, uint32_t ox)
{
    const tl_window *w = &state->attrs->window;
    const uint32_t height = state->inputs[0].dim[0], width = state->inputs[0].dim[1];
    const uint32_t top = oy * w->stride_h, left = ox * w->stride_w; /* in the padded image */
    const uint32_t low = w->pad_top + height, right = w->pad_left + width;
    return (tap_walk){ .y0 = taps_before(top, w->dilation_h, w->kernel_h, w->pad_top),
                       .x0 = taps_before(left, w->dilation_w, w->kernel_w, w->pad_left),
                       .y1 = taps_before(top, w->dilation_h, w->kernel_h, low),
                       .x1 = taps_before(left, w->dilation_w, w->kernel_w, right),
                       .top = (ptrdiff_t)top - w->pad_top,
                       .left = (ptrdiff_t)left - w->pad_left,
                       .padded =
                           taps_before(top, w->dilation_h, w->kernel_h, low + w->pad_bottom) *
                           taps_before(left, w->dilation_w, w->kernel_w, right + w->pad_right) };
}

/* First number of the input pixel of tap (ky, kx). */
static size_t tap_at(const tl_op_state *state, const tap_walk *walk, uint32_t ky, uint32_t kx)
{
    const tl_window *w = &state->attrs->window;
    const size_t y = (size_t)(walk->top + (ptrdiff_t)(ky * w->dilation_h));
    const size_t x = (size_t)(walk->left + (ptrdiff_t)(kx * w->dilation_w));
    return (y * state->inputs[0].dim[1] + x) * state->inputs[0].dim[2];
}

/* ---- MAX_POOL -------------------------------------------------------------------------------- */

/* Saved: the tap of each maximum. The first of equals wins, as in other frameworks. */
static tl_status max_pool_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    state->needs.parts = state->mode == TL_MODE_INFER;
    if (state->mode != TL_MODE_INFER)
        state->needs.saved = state->batch * tl_shape_count(&state->output) * sizeof(uint32_t);
    return TL_OK;
}

static void max_pixel(const tl_op_state *state, const tap_walk *walk, const float *x, float *y,
                      uint32_t *index)
{
    const size_t channels = state->output.dim[2];
    const uint32_t kernel_w = state->attrs->window.kernel_w;
    for (size_t c = 0; c < channels; c++) y[c] = -INFINITY;
    if (index != NULL) memset(index, 0xff, channels * sizeof *index);
    for (uint32_t ky = walk->y0; ky < walk->y1; ky++)
        for (uint32_t kx = walk->x0; kx < walk->x1; kx++)
            tl_kernels_get()->max_update(channels, x + tap_at(state, walk, ky, kx),
                                         ky * kernel_w + kx, y, index);
}

static tl_status max_pool_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const size_t in = tl_shape_count(&state->inputs[0]), out = tl_shape_count(&state->output);
    const size_t channels = state->output.dim[2], row = state->output.dim[1] * channels;
    const tl_range rows = tl_run_share(run, state->output.dim[0], 1);
    for (uint32_t i = 0; i < state->batch; i++) {
        float *y = run->y + i * out + rows.begin * row;
        uint32_t *index = state->mode == TL_MODE_INFER ? NULL : (uint32_t *)run->saved + i * out;
        for (uint32_t oy = (uint32_t)rows.begin; oy < rows.end; oy++) {
            for (uint32_t ox = 0; ox < state->output.dim[1]; ox++) {
                tap_walk walk = walk_of(state, oy, ox);
                max_pixel(state, &walk, run->x[0] + i * in, y, index);
                y += channels;
                if (index != NULL) index += channels;
            }
        }
    }
    return TL_OK;
}

static void scatter_pixel(const tl_op_state *state, const tap_walk *walk, const uint32_t *index,
                          const float *dy, float *dx)
{
    const size_t channels = state->output.dim[2];
    const uint32_t kernel_w = state->attrs->window.kernel_w;
    for (uint32_t ky = walk->y0; ky < walk->y1; ky++)
        for (uint32_t kx = walk->x0; kx < walk->x1; kx++)
            tl_kernels_get()->max_scatter(channels, ky * kernel_w + kx, index, dy,
                                          dx + tap_at(state, walk, ky, kx));
}

static tl_status max_pool_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const size_t in = tl_shape_count(&state->inputs[0]), out = tl_shape_count(&state->output);
    const size_t channels = state->output.dim[2];
    memset(run->dx[0], 0, state->batch * in * sizeof(float));
    for (uint32_t i = 0; i < state->batch; i++) {
        size_t at = i * out;
        for (uint32_t oy = 0; oy < state->output.dim[0]; oy++) {
            for (uint32_t ox = 0; ox < state->output.dim[1]; ox++, at += channels) {
                tap_walk walk = walk_of(state, oy, ox);
                scatter_pixel(state, &walk, (const uint32_t *)run->saved + at, run->dy + at,
                              run->dx[0] + i * in);
            }
        }
    }
    return TL_OK;
}

const tl_op tl_op_max_pool = {
    .name = "max_pool",
    .input_min = 1,
    .input_max = 1,
    .shape = pool_shape,
    .prepare = max_pool_prepare,
    .forward = max_pool_forward,
    .backward = max_pool_backward,
};

/* ---- AVERAGE_POOL ---------------------------------------------------------------------------- */

static tl_status average_pool_prepare(tl_op_state *state, tl_error *err)
{
    (void)state, (void)err;
    return TL_OK;
}

static float share_of(const tl_op_state *state, const tap_walk *walk)
{
    const uint32_t inside = (walk->y1 - walk->y0) * (walk->x1 - walk->x0);
    if (inside == 0) return 0.0f;
    return 1.0f / (float)(state->attrs->count_include_pad ? walk->padded : inside);
}

static void mean_pixel(const tl_op_state *state, const tap_walk *walk, const float *x, float *y)
{
    const size_t channels = state->output.dim[2];
    memset(y, 0, channels * sizeof *y);
    for (uint32_t ky = walk->y0; ky < walk->y1; ky++)
        for (uint32_t kx = walk->x0; kx < walk->x1; kx++)
            tl_kernels_get()->add(channels, y, x + tap_at(state, walk, ky, kx), y);
    tl_kernels_get()->scale(channels, share_of(state, walk), y, y);
}

static tl_status average_pool_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const size_t in = tl_shape_count(&state->inputs[0]);
    float *y = run->y;
    for (uint32_t i = 0; i < state->batch; i++) {
        for (uint32_t oy = 0; oy < state->output.dim[0]; oy++) {
            for (uint32_t ox = 0; ox < state->output.dim[1]; ox++, y += state->output.dim[2]) {
                const tap_walk walk = walk_of(state, oy, ox);
                mean_pixel(state, &walk, run->x[0] + i * in, y);
            }
        }
    }
    return TL_OK;
}

static tl_status average_pool_backward(const tl_op_state *state, const tl_op_run *run,
                                       tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const size_t in = tl_shape_count(&state->inputs[0]), channels = state->output.dim[2];
    const size_t pixels = tl_shape_pixels(&state->output), width = state->output.dim[1];
    memset(run->dx[0], 0, state->batch * in * sizeof(float));
    for (size_t p = 0; p < state->batch * pixels; p++) {
        float *dx = run->dx[0] + p / pixels * in;
        const tap_walk walk = walk_of(state, (uint32_t)(p % pixels / width), (uint32_t)(p % width));
        const float share = share_of(state, &walk);
        for (uint32_t ky = walk.y0; ky < walk.y1; ky++)
            for (uint32_t kx = walk.x0; kx < walk.x1; kx++)
                tl_kernels_get()->add_scaled(channels, share, run->dy + p * channels,
                                             dx + tap_at(state, &walk, ky, kx));
    }
    return TL_OK;
}

const tl_op tl_op_average_pool = {
    .name = "average_pool",
    .input_min = 1,
    .input_max = 1,
    .shape = pool_shape,
    .prepare = average_pool_prepare,
    .forward = average_pool_forward,
    .backward = average_pool_backward,
};

/* ---- GLOBAL_AVERAGE_POOL --------------------------------------------------------------------- */

static tl_status global_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                              tl_shape *output, tl_error *err)
{
    (void)attrs, (void)input_count;
    tl_shape image;
    tl_status status = tl_image_of(&inputs[0], &image, err);
    if (status == TL_OK) *output = tl_image_into(&inputs[0], 1, 1, image.dim[2]);
    return status;
}

static tl_status global_average_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    size_t bytes = tl_group_floats(tl_shape_channels(&state->output)) * sizeof(float);
    state->needs.forward_scratch = bytes;
    state->needs.backward_scratch = 0;
    return TL_OK;
}

static tl_status global_average_forward(const tl_op_state *state, const tl_op_run *run,
                                        tl_error *err)
{
    (void)err;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const size_t channels = state->output.dim[2], group = tl_group_floats((uint32_t)channels);
    const size_t item = tl_shape_count(&state->inputs[0]);
    const double factor = 1.0 / (double)tl_shape_pixels(&state->inputs[0]);
    float *sum = run->scratch;
    for (uint32_t i = 0; i < state->batch; i++) {
        memset(sum, 0, group * sizeof *sum);
        tl_kernels_get()->sum_groups(item, group, run->x[0] + i * item, sum);
        for (size_t c = 0; c < channels; c++) {
            double total = 0;
            for (size_t at = c; at < group; at += channels) total += (double)sum[at];
            run->y[i * channels + c] = (float)(total * factor);
        }
    }
    return TL_OK;
}

static tl_status global_average_backward(const tl_op_state *state, const tl_op_run *run,
                                         tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const size_t channels = state->output.dim[2], pixels = tl_shape_pixels(&state->inputs[0]);
    const float factor = (float)(1.0 / (double)pixels);
    for (uint32_t i = 0; i < state->batch; i++) {
        float *first = run->dx[0] + i * pixels * channels;
        tl_kernels_get()->scale(channels, factor, run->dy + i * channels, first);
        for (size_t p = 1; p < pixels; p++)
            memcpy(first + p * channels, first, channels * sizeof *first);
    }
    return TL_OK;
}

const tl_op tl_op_global_average_pool = {
    .name = "global_average_pool",
    .input_min = 1,
    .input_max = 1,
    .shape = global_shape,
    .prepare = global_average_prepare,
    .forward = global_average_forward,
    .backward = global_average_backward,
};

/* ---- GLOBAL_MAX_POOL ------------------------------------------------------------------------- */

/* Saved: the pixel of each maximum. */
static tl_status global_max_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    if (state->mode != TL_MODE_INFER)
        state->needs.saved = state->batch * tl_shape_count(&state->output) * sizeof(uint32_t);
    return TL_OK;
}

static tl_status global_max_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const size_t channels = state->output.dim[2], pixels = tl_shape_pixels(&state->inputs[0]);
    for (uint32_t i = 0; i < state->batch; i++) {
        float *y = run->y + i * channels;
        const float *x = run->x[0] + i * pixels * channels;
        uint32_t *index =
            state->mode == TL_MODE_INFER ? NULL : (uint32_t *)run->saved + i * channels;
        for (size_t c = 0; c < channels; c++) y[c] = -INFINITY;
        if (index != NULL) memset(index, 0xff, channels * sizeof *index);
        for (size_t p = 0; p < pixels; p++)
            tl_kernels_get()->max_update(channels, x + p * channels, (uint32_t)p, y, index);
    }
    return TL_OK;
}

static tl_status global_max_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
    tl_op_state room;
    state = tl_image_state(state, &room);
    const size_t channels = state->output.dim[2], pixels = tl_shape_pixels(&state->inputs[0]);
    memset(run->dx[0], 0, state->batch * pixels * channels * sizeof(float));
    for (uint32_t i = 0; i < state->batch; i++) {
        const uint32_t *index = (const uint32_t *)run->saved + i * channels;
        float *dx = run->dx[0] + i * pixels * channels;
        for (size_t c = 0; c < channels; c++)
            if (index[c] < pixels) dx[index[c] * channels + c] = run->dy[i * channels + c];
    }
    return TL_OK;
}

const tl_op tl_op_global_max_pool = {
    .name = "global_max_pool",
    .input_min = 1,
    .input_max = 1,
    .shape = global_shape,
    .prepare = global_max_prepare,
    .forward = global_max_forward,
    .backward = global_max_backward,
};

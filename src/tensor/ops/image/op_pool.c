/* Pooling: maxima over windows, mean and maximum over the whole image. */
#include "tensor/internal.h"

#include <math.h>
#include <string.h>

/* ---- MAX_POOL -------------------------------------------------------------------------------- */

static tl_status max_pool_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                                tl_shape *output, tl_error *err)
{
    (void)input_count;
    uint32_t height, width;
    tl_status status = tl_window_shape(&attrs->window, &inputs[0], &height, &width, err);
    if (status != TL_OK) return status;
    if (attrs->window.dilation_h != 1 || attrs->window.dilation_w != 1)
        return tl_fail(err, TL_EUNSUPPORTED, "dilated pooling is not supported");
    *output = tl_shape_image(height, width, inputs[0].dim[2]);
    return TL_OK;
}

/* Saved: the tap of each maximum. The first of equals wins, as in other frameworks. */
static tl_status max_pool_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    if (state->mode != TL_MODE_INFER)
        state->needs.saved = state->batch * tl_shape_count(&state->output) * sizeof(uint32_t);
    return TL_OK;
}

/* Call for each tap of output pixel (oy, ox) that lies inside the image. */
typedef struct tap_walk {
    uint32_t y0, y1, x0, x1; /* kernel rows and columns inside */
    size_t top, left;        /* input pixel of (y0, x0) */
} tap_walk;

static tap_walk walk_of(const tl_op_state *state, uint32_t oy, uint32_t ox)
{
    const tl_window *w = &state->attrs->window;
    const uint32_t height = state->inputs[0].dim[0], width = state->inputs[0].dim[1];
    uint32_t top = oy * w->stride_h, left = ox * w->stride_w; /* in the padded image */
    tap_walk walk;
    walk.y0 = top < w->pad_top ? w->pad_top - top : 0;
    walk.x0 = left < w->pad_left ? w->pad_left - left : 0;
    walk.y1 = height + w->pad_top - top < w->kernel_h ? height + w->pad_top - top : w->kernel_h;
    walk.x1 = width + w->pad_left - left < w->kernel_w ? width + w->pad_left - left : w->kernel_w;
    walk.top = top + walk.y0 - w->pad_top;
    walk.left = left + walk.x0 - w->pad_left;
    return walk;
}

static void max_pixel(const tl_op_state *state, const tap_walk *walk, const float *x, float *y,
                      uint32_t *index)
{
    const size_t channels = state->output.dim[2], width = state->inputs[0].dim[1];
    const uint32_t kernel_w = state->attrs->window.kernel_w;
    for (size_t c = 0; c < channels; c++) y[c] = -INFINITY;
    if (index != NULL) memset(index, 0xff, channels * sizeof *index);
    for (uint32_t ky = walk->y0; ky < walk->y1; ky++) {
        for (uint32_t kx = walk->x0; kx < walk->x1; kx++) {
            size_t pixel = (walk->top + ky - walk->y0) * width + walk->left + kx - walk->x0;
            tl_kernels_get()->max_update(channels, x + pixel * channels, ky * kernel_w + kx, y,
                                         index);
        }
    }
}

static tl_status max_pool_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const size_t in = tl_shape_count(&state->inputs[0]), out = tl_shape_count(&state->output);
    const size_t channels = state->output.dim[2];
    for (uint32_t i = 0; i < state->batch; i++) {
        float *y = run->y + i * out;
        uint32_t *index = state->mode == TL_MODE_INFER ? NULL : (uint32_t *)run->saved + i * out;
        for (uint32_t oy = 0; oy < state->output.dim[0]; oy++) {
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
    const size_t channels = state->output.dim[2], width = state->inputs[0].dim[1];
    const uint32_t kernel_w = state->attrs->window.kernel_w;
    for (uint32_t ky = walk->y0; ky < walk->y1; ky++) {
        for (uint32_t kx = walk->x0; kx < walk->x1; kx++) {
            size_t pixel = (walk->top + ky - walk->y0) * width + walk->left + kx - walk->x0;
            tl_kernels_get()->max_scatter(channels, ky * kernel_w + kx, index, dy,
                                          dx + pixel * channels);
        }
    }
}

static tl_status max_pool_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
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
    .shape = max_pool_shape,
    .prepare = max_pool_prepare,
    .forward = max_pool_forward,
    .backward = max_pool_backward,
};

/* ---- GLOBAL_AVERAGE_POOL --------------------------------------------------------------------- */

static tl_status global_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                              tl_shape *output, tl_error *err)
{
    (void)attrs, (void)input_count;
    if (inputs[0].rank != 3)
        return tl_fail(err, TL_ESHAPE, "want an image [h, w, c], got rank %u", inputs[0].rank);
    *output = tl_shape_image(1, 1, inputs[0].dim[2]);
    return TL_OK;
}

static tl_status average_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    size_t bytes = tl_group_floats(state->output.dim[2]) * sizeof(float);
    state->needs.forward_scratch = bytes;
    state->needs.backward_scratch = 0;
    return TL_OK;
}

static tl_status average_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
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

static tl_status average_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
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
    .prepare = average_prepare,
    .forward = average_forward,
    .backward = average_backward,
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

/* kernels_depthwise.h - depthwise convolutions, forward and backward: first those of 3x3 and 5x5 with
 * stride 1 and 2, which is what training spends on them, then any, row by row. Included by
 * kernels_body.h after kernels_width.h has defined the widths; LANES is the width of what registers
 * hold. Layer: tensor.
 *
 * Forward and the gradient by the input are the same: a line of pixels, each the sum over some
 * source rows of a few taps. Seven pixels are summed at once, so that each number of the source and
 * each weight is loaded once for several products; feature maps are mostly multiples of seven wide. */

#if GEMM_VECTORS == 4
#define LANES 16
typedef vec16 lanes;
#elif defined(__AVX2__)
#define LANES 8
typedef vec8 lanes;
#else
#define LANES 4
typedef vec4 lanes;
#endif

enum { LINE_PIXELS = 7, LINE_TAPS_MAX = 5, STRIP_BYTES = 96 << 10 };

/* A line of output pixels. Tap t of pixel j reads column j * stride + left + t of each source row;
 * columns outside count as 0. A pixel's sum takes the taps from left to right or (`down`) from right
 * to left: in the order of the kernel's columns, forward and backward. */
typedef struct depthwise_line {
    const float *sources[LINE_TAPS_MAX], *weights[LINE_TAPS_MAX]; /* of tap 0, by source row */
    size_t rows;
    ptrdiff_t weight_step; /* floats from tap to tap */
    ptrdiff_t left, width; /* of the source */
    size_t pixels, to_step, channels;
    const float *bias; /* [c] or NULL */
    float *to;
} depthwise_line;

INLINE void line_block(const depthwise_line *l, size_t pixel, size_t c, const int taps,
                       const int stride, const bool down, const bool edge)
{
    const lanes zero = { 0 };
    const ptrdiff_t channels = (ptrdiff_t)l->channels;
    const ptrdiff_t left = (ptrdiff_t)pixel * stride + l->left;
    lanes sum[LINE_PIXELS], start = zero;
    if (l->bias != NULL) start = *(const lanes *)(l->bias + c);
    UNROLL for (int i = 0; i < LINE_PIXELS; i++) sum[i] = start;
    for (size_t r = 0; r < l->rows; r++) {
        const float *source = l->sources[r] + (left * channels + (ptrdiff_t)c);
        lanes weight[LINE_TAPS_MAX];
        UNROLL for (int t = 0; t < taps; t++) weight[t] =
            *(const lanes *)(l->weights[r] + t * l->weight_step + c);
        const int columns = (LINE_PIXELS - 1) * stride + taps;
        UNROLL for (int i = 0; i < columns; i++)
        {
            const int j = down ? columns - 1 - i : i;
            lanes value = zero;
            if (!edge || (left + j >= 0 && left + j < l->width))
                value = *(const lanes *)(source + j * channels);
            UNROLL for (int t = 0; t < taps;
                        t++) if (j >= t && (j - t) % stride == 0 && (j - t) / stride < LINE_PIXELS)
                sum[(j - t) / stride] += value * weight[t];
        }
    }
    float *to = l->to + pixel * l->to_step + c;
    UNROLL for (int i = 0; i < LINE_PIXELS; i++) if (!edge || pixel + (size_t)i < l->pixels) *
        (lanes *)(to + (size_t)i * l->to_step) = sum[i];
}

INLINE void line_channels(const depthwise_line *l, size_t c, const int taps, const int stride,
                          const bool down)
{
    const ptrdiff_t reach = (LINE_PIXELS - 1) * stride + taps;
    for (size_t pixel = 0; pixel < l->pixels; pixel += LINE_PIXELS) {
        const ptrdiff_t left = (ptrdiff_t)pixel * stride + l->left;
        if (left < 0 || left + reach > l->width || pixel + LINE_PIXELS > l->pixels)
            line_block(l, pixel, c, taps, stride, down, true);
        else
            line_block(l, pixel, c, taps, stride, down, false);
    }
}

/* At least LANES channels; the last ones may be done twice, with the same result. */
INLINE void line_all(const depthwise_line *l, const int taps, const int stride, const bool down)
{
    size_t c = 0;
    for (; c + LANES <= l->channels; c += LANES) line_channels(l, c, taps, stride, down);
    if (c < l->channels) line_channels(l, l->channels - LANES, taps, stride, down);
}

static void forward_line(const depthwise_line *l, size_t kernel, size_t stride)
{
    switch (kernel + stride) {
    case 4: line_all(l, 3, 1, false); break;
    case 5: line_all(l, 3, 2, false); break;
    case 6: line_all(l, 5, 1, false); break;
    default: line_all(l, 5, 2, false); break;
    }
}

static void backward_line(const depthwise_line *l, size_t taps)
{
    switch (taps) {
    case 1: line_all(l, 1, 1, true); break;
    case 2: line_all(l, 2, 1, true); break;
    case 3: line_all(l, 3, 1, true); break;
    default: line_all(l, 5, 1, true); break;
    }
}

static bool lines_fit(const tl_depthwise_args *d)
{
    const tl_window *w = d->window;
    return d->channels >= LANES && w->kernel_h == w->kernel_w &&
           (w->kernel_h == 3 || w->kernel_h == 5) && w->stride_h == w->stride_w &&
           w->stride_h <= 2 && w->dilation_h == 1 && w->dilation_w == 1;
}

static void lines_forward(const tl_depthwise_args *d, const float *x, float *y)
{
    const tl_window *w = d->window;
    const size_t c = d->channels, k = w->kernel_h;
    depthwise_line l = { .weight_step = (ptrdiff_t)c,
                         .left = -(ptrdiff_t)w->pad_left,
                         .width = d->width,
                         .pixels = d->out_width,
                         .to_step = c,
                         .channels = c,
                         .bias = d->bias };
    for (size_t oy = 0; oy < d->out_height; oy++) {
        l.rows = 0;
        l.to = y + oy * d->out_width * c;
        for (size_t ky = 0; ky < k; ky++) {
            const ptrdiff_t iy = (ptrdiff_t)(oy * w->stride_h + ky) - w->pad_top;
            if (iy < 0 || iy >= (ptrdiff_t)d->height) continue;
            l.sources[l.rows] = x + (size_t)iy * d->width * c;
            l.weights[l.rows++] = d->weights + ky * k * c;
        }
        forward_line(&l, k, w->stride_w);
    }
}

/* Pixel stride * j + phase of a row gets the taps whose distance is a whole number of strides; the
 * last tap reads the first column. */
static void lines_backward_data(const tl_depthwise_args *d, const float *dy, float *dx)
{
    const tl_window *w = d->window;
    const size_t c = d->channels, k = w->kernel_h, stride = w->stride_w;
    for (size_t at = 0; at < d->height * stride; at++) {
        const size_t iy = at / stride, phase = at % stride;
        if (phase >= d->width) continue;
        const size_t first = (phase + w->pad_left) % stride; /* tap */
        const size_t taps = (k - first + stride - 1) / stride;
        const size_t last = first + (taps - 1) * stride;
        depthwise_line l = { .weight_step = -(ptrdiff_t)(stride * c),
                             .left = ((ptrdiff_t)(phase + w->pad_left) - (ptrdiff_t)last) /
                                     (ptrdiff_t)stride,
                             .width = d->out_width,
                             .pixels = (d->width - phase + stride - 1) / stride,
                             .to_step = stride * c,
                             .channels = c,
                             .to = dx + (iy * d->width + phase) * c };
        for (size_t ky = (iy + w->pad_top) % stride; ky < k; ky += stride) {
            const ptrdiff_t oy = ((ptrdiff_t)(iy + w->pad_top) - (ptrdiff_t)ky) / (ptrdiff_t)stride;
            if (iy + w->pad_top < ky || oy >= (ptrdiff_t)d->out_height) continue;
            l.sources[l.rows] = dy + (size_t)oy * d->out_width * c;
            l.weights[l.rows++] = d->weights + (ky * k + last) * c;
        }
        backward_line(&l, taps);
    }
}

/* ---- Gradient by the weights ----------------------------------------------------------------- */

/* One output pixel: sum[taps] += g * x. `at`: input of tap (0, 0), in column `ix`; kernel rows
 * ky0..ky1-1 lie inside. */
INLINE void tap_pixel(const tl_depthwise_args *d, lanes *sum, lanes g, const float *at,
                      ptrdiff_t ix, int ky0, int ky1, const int k, const bool edge)
{
    const ptrdiff_t channels = d->channels, width = d->width;
    UNROLL for (int ky = 0; ky < k; ky++)
    {
        if (edge && (ky < ky0 || ky >= ky1)) continue;
        UNROLL for (int kx = 0; kx < k; kx++)
        {
            if (edge && (ix + kx < 0 || ix + kx >= width)) continue;
            sum[ky * k + kx] += g * *(const lanes *)(at + (ky * width + kx) * channels);
        }
    }
}

/* Output rows oy..end-1, LANES channels from c; all sums stay in registers. */
INLINE void tap_rows(const tl_depthwise_args *d, const float *x, const float *dy, float *dw,
                     size_t oy, size_t end, size_t c, const int k)
{
    const tl_window *w = d->window;
    const ptrdiff_t channels = d->channels, width = d->width, height = d->height;
    const ptrdiff_t stride = w->stride_w, pixels = d->out_width;
    lanes sum[LINE_TAPS_MAX * LINE_TAPS_MAX];
    UNROLL for (int t = 0; t < k * k; t++) sum[t] = *(const lanes *)(dw + t * channels + c);
    for (; oy < end; oy++) {
        const ptrdiff_t iy = (ptrdiff_t)oy * stride - w->pad_top;
        const int ky0 = iy < 0 ? (int)-iy : 0, ky1 = iy + k > height ? (int)(height - iy) : k;
        const bool inside = ky0 == 0 && ky1 == k;
        const float *line = x + (iy * width * channels + (ptrdiff_t)c);
        const float *grad = dy + oy * d->out_width * d->channels + c;
        for (ptrdiff_t ox = 0; ox < pixels; ox++, grad += channels) {
            const ptrdiff_t ix = ox * stride - w->pad_left;
            const lanes g = *(const lanes *)grad;
            if (inside && ix >= 0 && ix + k <= width)
                tap_pixel(d, sum, g, line + ix * channels, ix, 0, k, k, false);
            else
                tap_pixel(d, sum, g, line + ix * channels, ix, ky0, ky1, k, true);
        }
    }
    UNROLL for (int t = 0; t < k * k; t++) * (lanes *)(dw + t * channels + c) = sum[t];
}

/* The channels that make whole vectors; returns how many. In strips of rows that stay in the cache
 * from one vector of channels to the next. */
static size_t lines_backward_weights(const tl_depthwise_args *d, const float *x, const float *dy,
                                     float *dw)
{
    const size_t whole = d->channels / LANES * LANES;
    const size_t bytes = (size_t)d->width * d->channels * d->window->stride_h * sizeof(float);
    const size_t strip = bytes < STRIP_BYTES ? STRIP_BYTES / bytes : 1;
    for (size_t oy = 0; oy < d->out_height; oy += strip) {
        const size_t end = oy + strip < d->out_height ? oy + strip : d->out_height;
        for (size_t c = 0; c < whole; c += LANES) {
            if (d->window->kernel_h == 3)
                tap_rows(d, x, dy, dw, oy, end, c, 3);
            else
                tap_rows(d, x, dy, dw, oy, end, c, 5);
        }
    }
    return whole;
}

#undef LANES

static void run_row(const row *r)
{
#define CALL(width) row_channels_##width(r, c)
    FOR_WIDTHS(c, r->channels, CALL)
#undef CALL
}

static void k_depthwise_forward(const tl_depthwise_args *d, const float *x, float *y)
{
    if (lines_fit(d)) {
        lines_forward(d, x, y);
        return;
    }
    const tl_window *w = d->window;
    const size_t c = d->channels;
    row r; /* 8 KiB: not worth clearing */
    r.pixels = d->out_width;
    r.channels = c;
    r.from_step = w->stride_w * c;
    r.to_step = c;
    r.bias = d->bias;
    r.source = x;
    for (size_t oy = 0; oy < d->out_height; oy++) {
        r.tap_count = 0;
        r.to = y + oy * d->out_width * c;
        for (size_t ky = 0; ky < w->kernel_h; ky++) {
            ptrdiff_t iy = (ptrdiff_t)(oy * w->stride_h + ky * w->dilation_h) - w->pad_top;
            if (iy < 0 || iy >= (ptrdiff_t)d->height) continue;
            for (size_t kx = 0; kx < w->kernel_w; kx++) {
                ptrdiff_t ix = (ptrdiff_t)(kx * w->dilation_w) - w->pad_left; /* of pixel 0 */
                ptrdiff_t s = w->stride_w, left = (ptrdiff_t)d->width - ix;
                row_tap *tap = &r.taps[r.tap_count++];
                tap->weights = d->weights + (ky * w->kernel_w + kx) * c;
                tap->from = (iy * (ptrdiff_t)d->width + ix) * (ptrdiff_t)c;
                tap->low = ix >= 0 ? 0 : (size_t)((-ix + s - 1) / s);
                tap->high = left <= 0 ? 0 : (size_t)((left + s - 1) / s);
                if (tap->high > d->out_width) tap->high = d->out_width;
            }
        }
        run_row(&r);
    }
}

/* Input pixels of a row fall into stride_w phases; within one, neighbours read neighbours. */
static void backward_data_phase(const tl_depthwise_args *d, const float *dy, float *dx, size_t iy,
                                size_t phase)
{
    const tl_window *w = d->window;
    const size_t c = d->channels;
    row r;
    r.tap_count = 0;
    r.channels = c;
    r.from_step = c;
    r.to_step = w->stride_w * c;
    r.bias = NULL;
    r.source = dy;
    r.to = dx + (iy * d->width + phase) * c;
    r.pixels = (d->width - phase + w->stride_w - 1) / w->stride_w;
    for (size_t ky = 0; ky < w->kernel_h; ky++) {
        ptrdiff_t up = (ptrdiff_t)(iy + w->pad_top) - (ptrdiff_t)(ky * w->dilation_h);
        if (up < 0 || up % w->stride_h != 0 || up / w->stride_h >= d->out_height) continue;
        ptrdiff_t oy = up / w->stride_h;
        for (size_t kx = 0; kx < w->kernel_w; kx++) {
            ptrdiff_t over = (ptrdiff_t)(phase + w->pad_left) - (ptrdiff_t)(kx * w->dilation_w);
            if (over % (ptrdiff_t)w->stride_w != 0) continue;
            ptrdiff_t ox = over / (ptrdiff_t)w->stride_w; /* of pixel 0; may be outside */
            row_tap *tap = &r.taps[r.tap_count++];
            tap->weights = d->weights + (ky * w->kernel_w + kx) * c;
            tap->from = (oy * (ptrdiff_t)d->out_width + ox) * (ptrdiff_t)c;
            tap->low = ox >= 0 ? 0 : (size_t)-ox;
            ptrdiff_t left = (ptrdiff_t)d->out_width - ox;
            tap->high = left <= 0 ? 0 : (size_t)left;
            if (tap->high > r.pixels) tap->high = r.pixels;
        }
    }
    run_row(&r);
}

static void k_depthwise_backward_data(const tl_depthwise_args *d, const float *dy, float *dx)
{
    if (lines_fit(d)) {
        lines_backward_data(d, dy, dx);
        return;
    }
    for (size_t iy = 0; iy < d->height; iy++)
        for (size_t phase = 0; phase < d->window->stride_w && phase < d->width; phase++)
            backward_data_phase(d, dy, dx, iy, phase);
}

static void k_depthwise_backward_weights(const tl_depthwise_args *d, const float *x,
                                         const float *dy, float *dw)
{
    const size_t done = lines_fit(d) ? lines_backward_weights(d, x, dy, dw) : 0;
    for (size_t ky = 0; ky < d->window->kernel_h; ky++) {
#define CALL(width) depthwise_weights_##width(d, x, dy, dw, ky, done + c)
        FOR_WIDTHS(c, (size_t)d->channels - done, CALL)
#undef CALL
    }
}

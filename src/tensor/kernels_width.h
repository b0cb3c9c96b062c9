/* kernels_width.h - the part of kernels_body.h that is written once for each vector width: VEC of
 * WIDTH floats, names through NAME(). Undefines all three. Layer: tensor. */

#define LOAD(from)       (*(const VEC *)(from))
#define STORE(to, value) (*(VEC *)(to) = (value))

/* `rows` x (`vectors` * WIDTH) sums over all of k. */
INLINE void NAME(gemm_block)(const tl_gemm_args *g, size_t row0, size_t column0, const int rows,
                             const int vectors)
{
    VEC sum[4][2];
    for (int v = 0; v < vectors; v++) {
        VEC start = { 0 };
        if (g->bias != NULL) start = LOAD(g->bias + column0 + v * WIDTH);
        for (int r = 0; r < rows; r++) sum[r][v] = start;
    }
    const float *a = g->a + row0 * g->a_row;
    const float *b = g->b + column0;
    for (size_t k = 0; k < g->inner; k++, a += g->a_inner, b += g->b_row) {
        for (int v = 0; v < vectors; v++) {
            VEC column = LOAD(b + v * WIDTH);
            for (int r = 0; r < rows; r++) sum[r][v] += a[(size_t)r * g->a_row] * column;
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            STORE(g->c + (row0 + (size_t)r) * g->c_row + column0 + v * WIDTH, sum[r][v]);
}

INLINE void NAME(gemm_columns)(const tl_gemm_args *g, size_t column, const int vectors)
{
    size_t r = 0;
    for (; r + 4 <= g->rows; r += 4) NAME(gemm_block)(g, r, column, 4, vectors);
    for (; r < g->rows; r++) NAME(gemm_block)(g, r, column, 1, vectors);
}

/* WIDTH channels from c of one row: four pixels at a time where all taps are inside. */
static void NAME(row_channels)(const row *r, size_t c)
{
    VEC start = { 0 };
    if (r->bias != NULL) start = LOAD(r->bias + c);
    size_t low = 0, high = r->pixels;
    for (size_t t = 0; t < r->tap_count; t++) {
        if (r->taps[t].low > low) low = r->taps[t].low;
        if (r->taps[t].high < high) high = r->taps[t].high;
    }
    for (size_t j = 0; j < r->pixels;) {
        float *to = r->to + j * r->to_step + c;
        if (j >= low && j + 4 <= high) {
            VEC s0 = start, s1 = start, s2 = start, s3 = start;
            for (size_t t = 0; t < r->tap_count; t++) {
                const float *from =
                    r->source + (r->taps[t].from + (ptrdiff_t)(j * r->from_step + c));
                VEC weight = LOAD(r->taps[t].weights + c);
                s0 += LOAD(from) * weight;
                s1 += LOAD(from + r->from_step) * weight;
                s2 += LOAD(from + 2 * r->from_step) * weight;
                s3 += LOAD(from + 3 * r->from_step) * weight;
            }
            STORE(to, s0);
            STORE(to + r->to_step, s1);
            STORE(to + 2 * r->to_step, s2);
            STORE(to + 3 * r->to_step, s3);
            j += 4;
            continue;
        }
        VEC sum = start;
        for (size_t t = 0; t < r->tap_count; t++) {
            if (j < r->taps[t].low || j >= r->taps[t].high) continue;
            const float *from = r->source + (r->taps[t].from + (ptrdiff_t)(j * r->from_step + c));
            sum += LOAD(from) * LOAD(r->taps[t].weights + c);
        }
        STORE(to, sum);
        j++;
    }
}

/* Taps kx0..kx0+taps-1 of kernel row ky, WIDTH channels from c: sums over the image stay in
 * registers. Output columns low..high-1 have all taps inside; the others are done tap by tap. */
INLINE void NAME(depthwise_taps)(const tl_depthwise_args *d, const float *x, const float *dy,
                                 float *dw, size_t ky, size_t kx0, const int taps, size_t c)
{
    const tl_window *w = d->window;
    const ptrdiff_t channels = d->channels, width = d->width, stride = w->stride_w;
    VEC sum[7];
    for (int t = 0; t < taps; t++)
        sum[t] = LOAD(dw + (ky * w->kernel_w + kx0 + (size_t)t) * d->channels + c);
    const ptrdiff_t first = (ptrdiff_t)(kx0 * w->dilation_w) - w->pad_left;
    const ptrdiff_t tap_step = (ptrdiff_t)w->dilation_w;
    const ptrdiff_t last = first + (taps - 1) * tap_step;
    for (size_t oy = 0; oy < d->out_height; oy++) {
        ptrdiff_t iy = (ptrdiff_t)(oy * w->stride_h + ky * w->dilation_h) - w->pad_top;
        if (iy < 0 || iy >= (ptrdiff_t)d->height) continue;
        const float *from = x + iy * width * channels + c;
        const float *grad = dy + oy * d->out_width * d->channels + c;
        for (ptrdiff_t ox = 0; ox < (ptrdiff_t)d->out_width; ox++, grad += channels) {
            VEC g = LOAD(grad);
            ptrdiff_t ix = ox * stride + first;
            if (ix >= 0 && ox * stride + last < width) {
                const float *at = from + ix * channels;
                for (int t = 0; t < taps; t++, at += tap_step * channels) sum[t] += g * LOAD(at);
                continue;
            }
            for (int t = 0; t < taps; t++) {
                ptrdiff_t tx = ix + t * tap_step;
                if (tx >= 0 && tx < width) sum[t] += g * LOAD(from + tx * channels);
            }
        }
    }
    for (int t = 0; t < taps; t++)
        STORE(dw + (ky * w->kernel_w + kx0 + (size_t)t) * d->channels + c, sum[t]);
}

static void NAME(depthwise_weights)(const tl_depthwise_args *d, const float *x, const float *dy,
                                    float *dw, size_t ky, size_t c)
{
    switch (d->window->kernel_w) {
    case 3: NAME(depthwise_taps)(d, x, dy, dw, ky, 0, 3, c); return;
    case 5: NAME(depthwise_taps)(d, x, dy, dw, ky, 0, 5, c); return;
    case 7: NAME(depthwise_taps)(d, x, dy, dw, ky, 0, 7, c); return;
    default:
        for (size_t kx = 0; kx < d->window->kernel_w; kx++)
            NAME(depthwise_taps)(d, x, dy, dw, ky, kx, 1, c);
    }
}

#undef LOAD
#undef STORE
#undef VEC
#undef WIDTH
#undef NAME

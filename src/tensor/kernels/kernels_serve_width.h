/* kernels_serve_width.h - the part of kernels_width.h that only serving needs: blocks of sums that
 * stay in registers and leave them with their activation. Layer: tensor. */

/* The larger and the smaller of two, the second where one is not a number. In C compilers make two
 * instructions of the general form, and of a block of few inputs these are a tenth of the time. */
INLINE VEC NAME(larger)(VEC a, VEC b)
{
#if defined(__x86_64__) && PANEL_WIDTH == 16 && WIDTH == 16
    return (VEC)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__x86_64__) && PANEL_WIDTH >= 8 && WIDTH == 8
    return (VEC)_mm256_max_ps((__m256)a, (__m256)b);
#else
    const __typeof__(a > b) mask = a > b;
    return (VEC)((mask & (__typeof__(mask))a) | (~mask & (__typeof__(mask))b));
#endif
}

INLINE VEC NAME(smaller)(VEC a, VEC b)
{
#if defined(__x86_64__) && PANEL_WIDTH == 16 && WIDTH == 16
    return (VEC)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__x86_64__) && PANEL_WIDTH >= 8 && WIDTH == 8
    return (VEC)_mm256_min_ps((__m256)a, (__m256)b);
#else
    const __typeof__(a < b) mask = a < b;
    return (VEC)((mask & (__typeof__(mask))a) | (~mask & (__typeof__(mask))b));
#endif
}

/* The activations that are cheap enough for sums in registers (acts_in_registers): which one is
 * asked once for all sums. */
INLINE void NAME(act_sums)(const tl_activation *act, VEC *sum, const int count)
{
    const VEC zero = { 0 }, one = zero + 1.0f;
    if (act->kind == TL_OP_RELU) {
        UNROLL for (int i = 0; i < count; i++) sum[i] = NAME(larger)(sum[i], zero);
    } else if (act->kind == TL_OP_CLIP) {
        const VEC low = zero + act->alpha, high = zero + act->beta;
        UNROLL for (int i = 0; i < count; i++) sum[i] =
            NAME(smaller)(NAME(larger)(sum[i], low), high);
    } else if (act->kind == TL_OP_HARD_SWISH) {
        UNROLL for (int i = 0; i < count; i++) sum[i] *=
            NAME(smaller)(NAME(larger)(sum[i] * (1.0f / 6.0f) + 0.5f, zero), one);
    }
}

/* to[r] = act(bias + x[r] . weights), for `rows` pixels and `vectors` vectors of columns. */
INLINE void NAME(panel_block)(const tl_panel_args *p, const float *x, size_t column, float *to,
                              size_t to_step, const int rows, const int vectors)
{
    VEC sum[PANEL_ROWS * PANEL_VECTORS]; /* of pixel r: from r * vectors on */
    const float *w = p->weights + column;
    to += column;
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
        sum[r * vectors + v] = LOAD(p->bias + column + v * WIDTH);
    for (size_t s = 0; s < p->segments; s++, x += p->segment_step) {
        const float *from = x;
        for (size_t k = 0; k < p->segment_floats; k++, from++, w += p->width) {
            VEC weight[PANEL_VECTORS];
            UNROLL for (int v = 0; v < vectors; v++) weight[v] = LOAD(w + v * WIDTH);
            UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
                sum[r * vectors + v] += from[(size_t)r * p->x_step] * weight[v];
        }
    }
    NAME(act_sums)(p->act, sum, rows * vectors);
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
        STORE(to + (size_t)r * to_step + v * WIDTH, sum[r * vectors + v]);
}

#define ROWS(count)                                                                                \
    case count: NAME(panel_block)(p, x, column, to, to_step, count, vectors); break;

INLINE void NAME(panel_rows)(const tl_panel_args *p, size_t rows, const float *x, size_t column,
                             float *to, size_t to_step, const int vectors)
{
    switch (rows) {
        ROWS(1)
        ROWS(2)
        ROWS(3)
        ROWS(4)
#if PANEL_ROWS > 4
        ROWS(5)
        ROWS(6)
#endif
#if PANEL_ROWS > 6
        ROWS(7)
        ROWS(8)
        ROWS(9)
        ROWS(10)
        ROWS(11)
        ROWS(12)
        ROWS(13)
        ROWS(14)
#endif
    default: break;
    }
}
#undef ROWS

/* `pixels` outputs for one vector of channels. With kernel and stride known when compiled, what
 * neighbours share is loaded once. */
INLINE void NAME(depthwise_block)(const tl_depthwise_row *d, size_t at, const float *weights,
                                  VEC bias, float *y, const int kernel, const int stride,
                                  const int pixels)
{
    const size_t channels = d->channels, x_step = d->x_step;
    VEC sum[8];
    UNROLL for (int i = 0; i < pixels; i++) sum[i] = bias;
    for (int ky = 0; ky < kernel; ky++, weights += (size_t)kernel * channels) {
        const float *x = d->x[ky] + at;
        UNROLL for (int kx = 0; kx < kernel; kx++)
        {
            const VEC weight = LOAD(weights + (size_t)kx * channels);
            UNROLL for (int i = 0; i < pixels; i++) sum[i] +=
                weight * LOAD(x + (size_t)(i * stride + kx) * x_step);
        }
    }
    NAME(act_sums)(d->act, sum, pixels);
    UNROLL for (int i = 0; i < pixels; i++) STORE(y + (size_t)i * channels, sum[i]);
}

/* All pixels of the row, for the vector of channels from c on. */
INLINE void NAME(depthwise_pixels)(const tl_depthwise_row *d, size_t c, const int kernel,
                                   const int stride)
{
    const float *weights = d->weights + c;
    const VEC bias = LOAD(d->bias + c);
    float *y = d->y + c;
    size_t x = c - d->x_first;
    for (size_t left = d->pixels, block; left > 0; left -= block) {
        if (DEPTHWISE_PIXELS == 8 && (left == 7 || left == 14)) {
            block = 7;
            NAME(depthwise_block)(d, x, weights, bias, y, kernel, stride, 7);
        } else if (DEPTHWISE_PIXELS == 8 && left >= 8) {
            block = 8;
            NAME(depthwise_block)(d, x, weights, bias, y, kernel, stride, 8);
        } else if (left >= 4) {
            block = 4;
            NAME(depthwise_block)(d, x, weights, bias, y, kernel, stride, 4);
        } else if (left >= 2) {
            block = 2;
            NAME(depthwise_block)(d, x, weights, bias, y, kernel, stride, 2);
        } else {
            block = 1;
            NAME(depthwise_block)(d, x, weights, bias, y, kernel, stride, 1);
        }
        x += block * (size_t)stride * d->x_step;
        y += block * d->channels;
    }
}

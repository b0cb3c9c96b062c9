/* kernels_serve_width.h - the part of kernels_width.h that only serving needs: blocks of sums that
 * stay in registers and leave them with their activation. Layer: tensor. */

INLINE VEC NAME(larger)(VEC a, VEC b)
{
    const __typeof__(a > b) mask = a > b;
    return (VEC)((mask & (__typeof__(mask))a) | (~mask & (__typeof__(mask))b));
}

/* The activations that are cheap enough for sums in registers (acts_in_registers). */
INLINE VEC NAME(act_vector)(const tl_activation *act, VEC z)
{
    const VEC zero = { 0 };
    if (act->kind == TL_OP_RELU) return NAME(larger)(z, zero);
    if (act->kind == TL_OP_CLIP)
        return -NAME(larger)(-NAME(larger)(z, zero + act->alpha), zero - act->beta);
    if (act->kind != TL_OP_HARD_SWISH) return z;
    const VEC gate = NAME(larger)(z * (1.0f / 6.0f) + 0.5f, zero);
    return -NAME(larger)(-gate, zero - 1.0f) * z;
}

/* to[r] = act(bias + x[r] . weights), for `rows` pixels and `vectors` vectors of columns. */
INLINE void NAME(panel_block)(const tl_panel_args *p, const float *x, size_t column, float *to,
                              size_t to_step, const int rows, const int vectors)
{
    VEC sum[PANEL_ROWS][PANEL_VECTORS];
    const float *w = p->weights + column;
    to += column;
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) sum[r][v] =
        LOAD(p->bias + column + v * WIDTH);
    for (size_t s = 0; s < p->segments; s++, x += p->segment_step) {
        const float *from = x;
        for (size_t k = 0; k < p->segment_floats; k++, from++, w += p->width) {
            VEC weight[PANEL_VECTORS];
            UNROLL for (int v = 0; v < vectors; v++) weight[v] = LOAD(w + v * WIDTH);
            UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
                sum[r][v] += from[(size_t)r * p->x_step] * weight[v];
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
        STORE(to + (size_t)r * to_step + v * WIDTH, NAME(act_vector)(p->act, sum[r][v]));
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
            ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12) ROWS(13) ROWS(14)
#endif
                default : break;
    }
}
#undef ROWS

/* `pixels` outputs for one vector of channels. With kernel and stride known when compiled, what
 * neighbours share is loaded once. */
INLINE void NAME(depthwise_block)(const tl_depthwise_row *d, size_t at, const float *weights,
                                  VEC bias, float *y, const int kernel, const int stride,
                                  const int pixels)
{
    const size_t channels = d->channels;
    VEC sum[8];
    UNROLL for (int i = 0; i < pixels; i++) sum[i] = bias;
    for (int ky = 0; ky < kernel; ky++, weights += (size_t)kernel * channels) {
        const float *x = d->x[ky] + at;
        UNROLL for (int kx = 0; kx < kernel; kx++)
        {
            const VEC weight = LOAD(weights + (size_t)kx * channels);
            UNROLL for (int i = 0; i < pixels; i++) sum[i] +=
                weight * LOAD(x + (size_t)(i * stride + kx) * channels);
        }
    }
    UNROLL for (int i = 0; i < pixels; i++)
        STORE(y + (size_t)i * channels, NAME(act_vector)(d->act, sum[i]));
}

/* All pixels of the row, for the vector of channels from c on. */
INLINE void NAME(depthwise_pixels)(const tl_depthwise_row *d, size_t c, const int kernel,
                                   const int stride)
{
    const float *weights = d->weights + c;
    const VEC bias = LOAD(d->bias + c);
    float *y = d->y + c;
    size_t x = c;
    for (size_t left = d->pixels, block; left > 0; left -= block) {
        if (DEPTHWISE_PIXELS == 8 && left >= 8) {
            block = 8;
            NAME(depthwise_block)(d, x, weights, bias, y, kernel, stride, 8);
        } else if (DEPTHWISE_PIXELS == 8 && left == 7) {
            block = 7;
            NAME(depthwise_block)(d, x, weights, bias, y, kernel, stride, 7);
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
        x += block * (size_t)stride * d->channels;
        y += block * d->channels;
    }
}


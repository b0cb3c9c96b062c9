/* kernels_width.h - the part of kernels_body.h that is written once for each vector width: VEC of
 * WIDTH floats, names through NAME(). Undefines all three. Layer: tensor. */

#define LOAD(from)       (*(const VEC *)(from))
#define STORE(to, value) (*(VEC *)(to) = (value))

/* `rows` x (`vectors` * WIDTH) sums over all of k. */
INLINE void NAME(gemm_block)(const tl_gemm_args *g, size_t row0, size_t column0, const int rows,
                             const int vectors)
{
    VEC sum[2 * GEMM_ROWS][GEMM_VECTORS];
    for (int v = 0; v < vectors; v++) {
        VEC start = { 0 };
        if (g->bias != NULL) start = LOAD(g->bias + column0 + v * WIDTH);
        for (int r = 0; r < rows; r++) sum[r][v] = start;
    }
    float *c = g->c + row0 * g->c_row + column0;
    if (g->adds)
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++)
                sum[r][v] = LOAD(c + (size_t)r * g->c_row + v * WIDTH);
    const float *a = g->a + row0 * g->a_row;
    const float *b = g->b + column0;
    for (size_t k = 0; k < g->inner; k++, a += g->a_inner, b += g->b_row) {
        VEC column[GEMM_VECTORS];
        for (int v = 0; v < vectors; v++) column[v] = LOAD(b + v * WIDTH);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++) sum[r][v] += a[(size_t)r * g->a_row] * column[v];
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) STORE(c + (size_t)r * g->c_row + v * WIDTH, sum[r][v]);
}

/* All rows of one block of columns, `block` at a time. */
INLINE void NAME(gemm_columns)(const tl_gemm_args *g, size_t column, const int vectors,
                               const int block)
{
    size_t r = 0;
    for (; r + (size_t)block <= g->rows; r += (size_t)block)
        NAME(gemm_block)(g, r, column, block, vectors);
    for (; r + 4 <= g->rows; r += 4) NAME(gemm_block)(g, r, column, 4, vectors);
    for (; r + 2 <= g->rows; r += 2) NAME(gemm_block)(g, r, column, 2, vectors);
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

/* ---- Winograd F(4x4, 3x3); the matrices are in op_winograd.c ----------------------------------
 */

#define WINO_A  0.70710678118654752f /* sqrt(1/2), and its cube */
#define WINO_A3 0.35355339059327376f
#define WINO_B  1.41421356237309505f /* sqrt(2), and its cube */
#define WINO_B3 2.82842712474619010f

/* to[i * step] = (B' v)[i] */
INLINE void NAME(wino_bt)(const VEC *v, VEC *to, const int step)
{
    VEC e1 = v[4] - 2.0f * v[2], f1 = WINO_A * v[3] - WINO_B * v[1];
    VEC e2 = v[4] - 0.5f * v[2], f2 = WINO_B * v[3] - WINO_A * v[1];
    to[0] = (v[0] + v[4]) - 2.5f * v[2];
    to[step] = e1 + f1;
    to[2 * step] = e1 - f1;
    to[3 * step] = e2 + f2;
    to[4 * step] = e2 - f2;
    to[5 * step] = (v[1] + v[5]) - 2.5f * v[3];
}

/* to[i * step] = (A' m)[i] */
INLINE void NAME(wino_at)(const VEC *m, VEC *to, const int step)
{
    VEC s1 = m[1] + m[2], d1 = m[1] - m[2], s2 = m[3] + m[4], d2 = m[3] - m[4];
    to[0] = m[0] + s1 + s2;
    to[step] = WINO_A * d1 + WINO_B * d2;
    to[2 * step] = 0.5f * s1 + 2.0f * s2;
    to[3 * step] = WINO_A3 * d1 + WINO_B3 * d2 + m[5];
}

/* to[i * step] = (A y)[i] */
INLINE void NAME(wino_a)(const VEC *y, VEC *to, const int step)
{
    VEC e1 = y[0] + 0.5f * y[2], f1 = WINO_A * y[1] + WINO_A3 * y[3];
    VEC e2 = y[0] + 2.0f * y[2], f2 = WINO_B * y[1] + WINO_B3 * y[3];
    to[0] = y[0];
    to[step] = e1 + f1;
    to[2 * step] = e1 - f1;
    to[3 * step] = e2 + f2;
    to[4 * step] = e2 - f2;
    to[5 * step] = y[3];
}

/* to[i * step] = (G g)[i] */
INLINE void NAME(wino_g)(const VEC *g, VEC *to, const int step)
{
    VEC e1 = (-2.0f / 3.0f) * g[0] - (1.0f / 3.0f) * g[2], f1 = (-2.0f / 3.0f * WINO_A) * g[1];
    VEC e2 = (1.0f / 6.0f) * g[0] + (1.0f / 3.0f) * g[2], f2 = (1.0f / 6.0f * WINO_B) * g[1];
    to[0] = g[0];
    to[step] = e1 + f1;
    to[2 * step] = e1 - f1;
    to[3 * step] = e2 + f2;
    to[4 * step] = e2 - f2;
    to[5 * step] = g[2];
}

/* to[i * step] = (G' u)[i] */
INLINE void NAME(wino_gt)(const VEC *u, VEC *to, const int step)
{
    VEC s1 = u[1] + u[2], d1 = u[1] - u[2], s2 = u[3] + u[4], d2 = u[3] - u[4];
    to[0] = u[0] - (2.0f / 3.0f) * s1 + (1.0f / 6.0f) * s2;
    to[step] = (1.0f / 6.0f * WINO_B) * d2 - (2.0f / 3.0f * WINO_A) * d1;
    to[2 * step] = (1.0f / 3.0f) * (s2 - s1) + u[5];
}

/* Column j of a tile of `rows` x `rows` pixels, channels c..c+WIDTH-1, zeros outside the image;
 * `full`: all rows are inside. False when the whole column is outside. */
INLINE bool NAME(wino_column)(const tl_winograd_tile *t, size_t c, const int rows, int j, bool full,
                              VEC *column)
{
    const VEC zero = { 0 };
    const ptrdiff_t h = t->height, w = t->width, n = (ptrdiff_t)t->channels;
    const ptrdiff_t x = t->x + j;
    if (x < 0 || x >= w) return false;
    const float *image = t->image + c;
    const ptrdiff_t from = (t->y * w + x) * n;
    if (full) {
        for (int i = 0; i < rows; i++) column[i] = LOAD(image + (from + i * w * n));
        return true;
    }
    for (int i = 0; i < rows; i++) {
        bool inside = t->y + i >= 0 && t->y + i < h;
        column[i] = inside ? LOAD(image + (from + i * w * n)) : zero;
    }
    return true;
}

static void NAME(wino_gather)(const tl_winograd_tile *t, size_t c)
{
    VEC column[6], half[36], out[6];
    float *to = t->planes + c;
    const bool full = t->y >= 0 && t->y + 6 <= (ptrdiff_t)t->height;
    for (int j = 0; j < 6; j++) {
        const VEC zero = { 0 };
        if (NAME(wino_column)(t, c, 6, j, full, column))
            NAME(wino_bt)(column, half + j, 6);
        else
            for (int i = 0; i < 6; i++) half[6 * i + j] = zero;
    }
    for (int i = 0; i < 6; i++) {
        NAME(wino_bt)(half + 6 * i, out, 1);
        for (int j = 0; j < 6; j++, to += t->plane) STORE(to, out[j]);
    }
}

static void NAME(wino_spread)(const tl_winograd_tile *t, size_t c)
{
    VEC column[4], half[24], out[6];
    float *to = t->planes + c;
    const bool full = t->y + 4 <= (ptrdiff_t)t->height;
    for (int j = 0; j < 4; j++) {
        const VEC zero = { 0 };
        if (NAME(wino_column)(t, c, 4, j, full, column))
            NAME(wino_a)(column, half + j, 4);
        else
            for (int i = 0; i < 6; i++) half[4 * i + j] = zero;
    }
    for (int i = 0; i < 6; i++) {
        NAME(wino_a)(half + 4 * i, out, 1);
        for (int j = 0; j < 6; j++, to += t->plane) STORE(to, out[j]);
    }
}

static void NAME(wino_store)(const tl_winograd_tile *t, const float *bias, float *image, size_t c)
{
    VEC column[6], half[24], out[4], start = { 0 };
    if (bias != NULL) start = LOAD(bias + c);
    for (int j = 0; j < 6; j++) {
        for (int i = 0; i < 6; i++)
            column[i] = LOAD(t->planes + (size_t)(6 * i + j) * t->plane + c);
        NAME(wino_at)(column, half + j, 6);
    }
    for (int i = 0; i < 4 && t->y + i < (ptrdiff_t)t->height; i++) {
        NAME(wino_at)(half + 6 * i, out, 1);
        float *to = image + ((t->y + i) * (ptrdiff_t)t->width + t->x) * (ptrdiff_t)t->channels + c;
        for (int j = 0; j < 4 && t->x + j < (ptrdiff_t)t->width; j++)
            STORE(to + (size_t)j * t->channels, out[j] + start);
    }
}

static void NAME(wino_weights)(const float *taps, size_t n, bool flip, float *planes, size_t plane,
                               size_t at)
{
    VEC kernel[9], half[18], out[6];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            kernel[3 * j + i] = LOAD(taps + (size_t)(flip ? 8 - (3 * i + j) : 3 * i + j) * n + at);
    for (int j = 0; j < 3; j++) NAME(wino_g)(kernel + 3 * j, half + j, 3);
    for (int i = 0; i < 6; i++) {
        NAME(wino_g)(half + 3 * i, out, 1);
        for (int j = 0; j < 6; j++) STORE(planes + (size_t)(6 * i + j) * plane + at, out[j]);
    }
}

static void NAME(wino_gradient)(const float *planes, size_t plane, float *taps, size_t n, size_t at)
{
    VEC column[6], half[18], out[3];
    for (int j = 0; j < 6; j++) {
        for (int i = 0; i < 6; i++) column[i] = LOAD(planes + (size_t)(6 * i + j) * plane + at);
        NAME(wino_gt)(column, half + j, 6);
    }
    for (int i = 0; i < 3; i++) {
        NAME(wino_gt)(half + 6 * i, out, 1);
        for (int j = 0; j < 3; j++) STORE(taps + (size_t)(3 * i + j) * n + at, out[j]);
    }
}

#undef WINO_A
#undef WINO_A3
#undef WINO_B
#undef WINO_B3
#if WIDTH == PANEL_WIDTH || (PANEL_WIDTH == 16 && WIDTH == 8)
#include "tensor/kernels/kernels_serve_width.h"
#endif

#undef LOAD
#undef STORE
#undef VEC
#undef WIDTH
#undef NAME

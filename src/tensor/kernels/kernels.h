/* kernels.h - loops over floats, compiled once for each instruction set and chosen when the process
 * starts. Layer: tensor. Pure functions: any thread. No aliasing unless said so.
 *
 * A *group* is as many whole pixels as make about 128 numbers (or one pixel): coefficients that
 * differ by channel are repeated over a group, so that loops stay long when channels are few or
 * odd. */
#ifndef TL_TENSOR_KERNELS_H
#define TL_TENSOR_KERNELS_H

#include "tensor/tensor.h"

/* Coefficients for a fused scale, shift and activation, one number for each position in a group. */
typedef struct tl_norm_coefficients {
    const float *scale, *shift; /* z = x * scale + shift */
    const float *center;        /* the mean, for backward */
    const float *g, *h, *k;     /* backward: dx = g * dz + h * (x - center) + k */
} tl_norm_coefficients;

/* `rows` rows of n results, dense; operands have a step of 1 or 0 along a row, not both 0 where n is
 * above 1. */
typedef struct tl_binary_args {
    size_t rows, n;
    const float *a, *b;
    ptrdiff_t a_row, b_row, a_step, b_step;
} tl_binary_args;

typedef struct tl_gemm_args {
    size_t rows, columns, inner;
    const float *a; /* element (i, k) at a[i * a_row + k * a_inner] */
    size_t a_row, a_inner;
    const float *b; /* [inner, columns], row stride b_row */
    size_t b_row;
    const float *bias; /* [columns] or NULL */
    float *c;          /* [rows, columns], row stride c_row; written */
    size_t c_row;
    bool adds; /* c = c + a b instead; bias must be NULL */
} tl_gemm_args;

/* Pixels times one panel of packed weights: y[r] = act(bias + sum over k of x[r][k] weights[k]) +
 * add[r]. What a pixel reads is `segments` runs of floats (the rows under a convolution's window; one
 * for 1x1 and for matrices). */
enum { TL_PANEL_MAX = 32 };
typedef struct tl_panel_args {
    size_t rows; /* pixels */
    const float *x;
    size_t x_step; /* floats from pixel to pixel */
    size_t segments, segment_floats, segment_step;
    const float *weights;  /* [segments * segment_floats, width] */
    const float *bias;     /* [width] */
    size_t width, columns; /* 32, 16 or 8; how many of them are there: 1..width */
    const tl_activation *act;
    const float *add; /* or NULL */
    size_t add_step;
    float *y; /* may be add */
    size_t y_step;
} tl_panel_args;

/* Depthwise convolution over one image. weights [kh * kw, c], tap-major. */
typedef struct tl_depthwise_args {
    const tl_window *window;
    uint32_t height, width, channels, out_height, out_width;
    const float *weights;
    const float *bias; /* [c] or NULL */
} tl_depthwise_args;

/* Rows of weights that become columns: number i = c * taps + t of a row, which has channels * taps, goes
 * to row t * channels + c. */
typedef struct tl_turn_args {
    const float *from;
    size_t rows, count; /* numbers of each row; both multiples of 4 */
    size_t channels, taps;
    float *to;
    size_t to_step;
} tl_turn_args;

/* One output row of a depthwise convolution of a square window over padded rows. */
typedef struct tl_depthwise_row {
    const float *x[5];      /* the rows under the window, padding included: of every pixel x_step */
    size_t x_step, x_first; /* channels, from channel x_first on */
    size_t kernel, stride;  /* 3 or 5; 1 or 2 */
    size_t channels, pixels;
    size_t begin, end;           /* channels to do, 16 at least */
    const float *weights, *bias; /* [kernel * kernel, channels], [channels] */
    const tl_activation *act;
    float *y; /* [pixels, channels] */
} tl_depthwise_row;

/* A tile of Winograd's F(4x4, 3x3): pixels from (y, x) of one image, and its row in 36 planes. */
typedef struct tl_winograd_tile {
    const float *image; /* [height, width, channels] */
    uint32_t height, width;
    size_t channels;
    ptrdiff_t y, x; /* may be outside; what is outside counts as 0, or is not written */
    float *planes;  /* numbers of plane p at planes[p * plane], [channels] */
    size_t plane;
} tl_winograd_tile;

typedef struct tl_kernels {
    const char *name; /* "avx512", "avx2", "base" */

    /* y = act(x); y may be x. Kinds of one number but PRELU. */
    void (*activate)(const tl_activation *act, size_t n, const float *x, float *y);
    /* dx = dy * act'(x); dx may be dy. Those that have a derivative. */
    void (*activate_backward)(const tl_activation *act, size_t n, const float *x, const float *dy,
                              float *dx);

    /* y = a op b; y may be an operand that goes along. Kinds of two numbers. */
    void (*binary)(tl_op_kind kind, const tl_binary_args *args, float *y);
    /* d = dy times the derivative by the first or the second operand; d may be dy. */
    void (*binary_backward)(tl_op_kind kind, const tl_binary_args *args, bool second,
                            const float *dy, float *d);

    void (*add)(size_t n, const float *a, const float *b, float *y); /* y may be a or b */
    void (*sub)(size_t n, const float *a, const float *b, float *y);
    void (*mul)(size_t n, const float *a, const float *b, float *y);
    void (*scale)(size_t n, float factor, const float *x, float *y); /* y may be x */
    /* y += factor * x */
    void (*add_scaled)(size_t n, float factor, const float *x, float *y);
    /* sum[i] += x[g * group + i] over whole groups g of n, and the rest. */
    void (*sum_groups)(size_t n, size_t group, const float *x, float *sum);
    void (*dot_groups)(size_t n, size_t group, const float *x, const float *y, float *sum);
    /* y = x op c, c repeated with period `group`; y may be x. op: '+', '-', 'r' (c - x), '*'. */
    void (*apply_groups)(char op, size_t n, size_t group, const float *x, const float *c, float *y);

    /* sum += (x - shift), square += (x - shift)^2 by position in the group. */
    void (*norm_moments)(size_t n, size_t group, const float *x, const float *shift, float *sum,
                         float *square);
    /* y = act(x * scale + shift) by position in the group; y may be x. */
    void (*norm_forward)(const tl_activation *act, size_t n, size_t group, const float *x,
                         const tl_norm_coefficients *by, float *y);
    /* With dz = dy * act'(x * scale + shift): sum += dz, dot += dz * (x - center). */
    void (*norm_reduce)(const tl_activation *act, size_t n, size_t group, const float *x,
                        const float *dy, const tl_norm_coefficients *by, float *sum, float *dot);
    /* The same, and dx = g * dz; dx may be dy, or NULL. */
    void (*norm_backward_frozen)(const tl_activation *act, size_t n, size_t group, const float *x,
                                 const float *dy, const tl_norm_coefficients *by, float *sum,
                                 float *dot, float *dx);
    /* dx = g * dz + h * (x - center) + k; dx may be dy. */
    void (*norm_backward)(const tl_activation *act, size_t n, size_t group, const float *x,
                          const float *dy, const tl_norm_coefficients *by, float *dx);
    /* The same with x and dx in bf16; nothing may be anything else. */
    void (*norm_half_moments)(size_t n, size_t group, const uint16_t *x, const float *shift,
                              float *sum, float *square);
    void (*norm_half_forward)(const tl_activation *act, size_t n, size_t group, const uint16_t *x,
                              const tl_norm_coefficients *by, float *y);
    void (*norm_half_reduce)(const tl_activation *act, size_t n, size_t group, const uint16_t *x,
                             const float *dy, const tl_norm_coefficients *by, float *sum,
                             float *dot);
    void (*norm_half_backward_frozen)(const tl_activation *act, size_t n, size_t group,
                                      const uint16_t *x, const float *dy,
                                      const tl_norm_coefficients *by, float *sum, float *dot,
                                      uint16_t *dx);
    void (*norm_half_backward)(const tl_activation *act, size_t n, size_t group, const uint16_t *x,
                               const float *dy, const tl_norm_coefficients *by, uint16_t *dx);

    /* c = a b + bias, each sum in order of k whatever the number of rows. */
    void (*gemm)(const tl_gemm_args *args);

    /* Sums in order of k whatever the number of rows, each rounded once a product. */
    void (*panel)(const tl_panel_args *args);

    void (*depthwise_row)(const tl_depthwise_row *row);
    void (*depthwise_forward)(const tl_depthwise_args *args, const float *x, float *y);
    void (*depthwise_backward_data)(const tl_depthwise_args *args, const float *dy, float *dx);
    /* dw [kh * kw, c] += */
    void (*depthwise_backward_weights)(const tl_depthwise_args *args, const float *x,
                                       const float *dy, float *dw);

    /* planes = B' d B of the 6x6 pixels. */
    void (*winograd_gather)(const tl_winograd_tile *tile);
    /* planes = A y A' of the 4x4 pixels. */
    void (*winograd_spread)(const tl_winograd_tile *tile);
    /* The 4x4 pixels of `image` = A' m A + bias ([channels] or NULL). */
    void (*winograd_store)(const tl_winograd_tile *tile, const float *bias, float *image);
    /* planes = G g G' for n kernels; taps [9, n], flip: turned by 180 degrees. */
    void (*turn)(const tl_turn_args *args);
    void (*winograd_weights)(const float *taps, size_t n, bool flip, float *planes, size_t plane);
    /* taps = G' u G. */
    void (*winograd_gradient)(const float *planes, size_t plane, float *taps, size_t n);

    /* y = x * factor, the product in double precision. */
    void (*scale_wide)(size_t n, const float *x, double factor, float *y);
    /* One output pixel of a maximum: best[c], index[c] = tap for x[c] > best[c]. index may be NULL.
     */
    void (*max_update)(size_t channels, const float *x, uint32_t tap, float *best, uint32_t *index);
    /* dx[c] += dy[c] where index[c] == tap. */
    void (*max_scatter)(size_t channels, uint32_t tap, const uint32_t *index, const float *dy,
                        float *dx);
    /* float32 to bf16, to the nearest, halves to even; and back. */
    void (*to_half)(size_t n, const float *x, uint16_t *y);
    void (*from_half)(size_t n, const uint16_t *x, float *y);
    /* Softmax of one row. */
    void (*softmax)(size_t n, const float *x, float *y);

    /* Multiply-adds in registers and nothing else, to measure the processor's peak; returns how
     * many, and some sum of them. */
    size_t (*fma_loop)(size_t rounds, float *sum);
} tl_kernels;

/* The best set for this processor. */
const tl_kernels *tl_kernels_get(void);
/* A set by name, or NULL when the processor (or the build) does not have it; for tests. */
const tl_kernels *tl_kernels_find(const char *name);

/* Use this set from now on, NULL: the best; for tests, while no other thread computes. */
void tl_kernels_choose(const tl_kernels *kernels);

/* Numbers in a group for `channels`. */
size_t tl_group_floats(uint32_t channels);

#endif

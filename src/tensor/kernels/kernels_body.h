/* kernels_body.h - the loops of kernels.h. Included once for each instruction set, by
 * kernels_<set>.c, which defines TL_KERNELS and TL_KERNELS_NAME and sets the target. Plain C, for
 * the compiler to vectorise, but where a sum must stay in registers: there vector types of 16, 8, 4
 * and 1 floats, which compilers map to what the target has. Layer: tensor. */
#include "tensor/kernels/kernels.h"

#include <math.h>
#include <string.h>

#if defined(__clang__)
#pragma clang fp contract(fast)
#endif

/* IVDEP: what a loop writes is at most the very element that it reads; safe to vectorise in place.
 * UNROLL: a loop of a constant count over arrays that are to be registers. Where the compiler puts
 * checks around every access (TL_COMPACT_KERNELS), functions stay apart and loops stay loops: the
 * numbers are the same, and a file is compiled in seconds instead of minutes. */
#if defined(TL_COMPACT_KERNELS)
#define INLINE static inline
#define IVDEP
#define UNROLL
#elif defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define IVDEP  _Pragma("clang loop vectorize(assume_safety)")
#define UNROLL _Pragma("unroll")
#else
#define INLINE static inline __attribute__((always_inline))
#define IVDEP  _Pragma("GCC ivdep")
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* By capability, in this order: each uses what is above it. */
/* clang-format off */
#include "tensor/kernels/kernels_elementwise.h"
#include "tensor/kernels/kernels_binary.h"
#include "tensor/kernels/kernels_groups.h"

INLINE uint16_t half_of(float x)
{
    union {
        float f;
        uint32_t u;
    } number = { .f = x };
    const uint32_t u = number.u, round = 0x7FFFu + (u >> 16 & 1u);
    const bool finite = (u & 0x7FFFFFFFu) <= 0x7F800000u; /* or infinite */
    return (uint16_t)((finite ? u + round : u | 0x400000u) >> 16);
}

INLINE float of_half(uint16_t x)
{
    union {
        uint32_t u;
        float f;
    } number = { .u = (uint32_t)x << 16 };
    return number.f;
}

#define X float
#define LOAD(x) (x)
#define STORE(x) (x)
#define NORM(name) k_norm_##name
#include "tensor/kernels/kernels_norm.h"
#define X uint16_t
#define LOAD(x) of_half(x)
#define STORE(x) half_of(x)
#define NORM(name) k_norm_half_##name
#include "tensor/kernels/kernels_norm.h"
/* clang-format on */

/* ---- Sums in registers ----------------------------------------------------------------------- */

typedef float vec16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef float vec8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef float vec1;

/* One tap of a row of depthwise convolution: pixel j of the row reads source[from + j * step]. */
enum { TAP_MAX = 256 };
typedef struct row_tap {
    const float *weights; /* [c] */
    ptrdiff_t from;       /* of pixel 0, from the source; may lie outside */
    size_t low, high;     /* pixels low..high-1 read inside the image */
} row_tap;

typedef struct row {
    row_tap taps[TAP_MAX];
    size_t tap_count, pixels, channels, from_step, to_step;
    const float *bias, *source;
    float *to;
} row;

/* Sums of a block of gemm: as many as registers hold. GEMM_VECTORS counts vectors of 16, 1 or 4. */
#if !defined(GEMM_ROWS)
#define GEMM_ROWS    4
#define GEMM_VECTORS 1
#endif

/* Blocks of the kernels that serve. */
#if !defined(PANEL_ROWS)
#define PANEL_ROWS    4
#define PANEL_VECTORS 2
#define PANEL_WIDTH   4
#endif
#if PANEL_WIDTH == 16 || defined(__aarch64__)
#define DEPTHWISE_PIXELS 8
#else
#define DEPTHWISE_PIXELS 4 /* half as many registers */
#endif

#define VEC        vec16
#define WIDTH      16
#define NAME(name) name##_16
#include "tensor/kernels/kernels_width.h"
#define VEC        vec8
#define WIDTH      8
#define NAME(name) name##_8
#include "tensor/kernels/kernels_width.h"
#define VEC        vec4
#define WIDTH      4
#define NAME(name) name##_4
#include "tensor/kernels/kernels_width.h"
#define VEC        vec1
#define WIDTH      1
#define NAME(name) name##_1
#include "tensor/kernels/kernels_width.h"

/* Cover `count` columns or channels from `at` with blocks of 16, 8, 4 and 1. */
#define FOR_WIDTHS(at, count, CALL)                                                                \
    {                                                                                              \
        size_t at = 0;                                                                             \
        for (; at + 16 <= (count); at += 16) {                                                     \
            CALL(16);                                                                              \
        }                                                                                          \
        for (; at + 8 <= (count); at += 8) {                                                       \
            CALL(8);                                                                               \
        }                                                                                          \
        for (; at + 4 <= (count); at += 4) {                                                       \
            CALL(4);                                                                               \
        }                                                                                          \
        for (; at < (count); at++) {                                                               \
            CALL(1);                                                                               \
        }                                                                                          \
    }

static void k_gemm(const tl_gemm_args *g)
{
    size_t column = 0;
    for (; column + 16 * GEMM_VECTORS <= g->columns; column += 16 * GEMM_VECTORS)
        gemm_columns_16(g, column, GEMM_VECTORS, GEMM_ROWS);
#if GEMM_VECTORS == 4
    for (; column + 32 <= g->columns; column += 32) gemm_columns_16(g, column, 2, 2 * GEMM_ROWS);
    for (; column + 16 <= g->columns; column += 16) gemm_columns_16(g, column, 1, 2 * GEMM_ROWS);
#endif
    for (; column + 8 <= g->columns; column += 8) gemm_columns_8(g, column, 1, GEMM_ROWS);
    for (; column + 4 <= g->columns; column += 4) gemm_columns_4(g, column, 1, GEMM_ROWS);
    for (; column < g->columns; column++) gemm_columns_1(g, column, 1, GEMM_ROWS);
}

#include "tensor/kernels/kernels_serve.h"

#include "tensor/kernels/kernels_depthwise.h"

/* ---- Winograd -------------------------------------------------------------------------------- */

static void k_winograd_gather(const tl_winograd_tile *tile)
{
#define CALL(width) wino_gather_##width(tile, c)
    FOR_WIDTHS(c, tile->channels, CALL)
#undef CALL
}

static void k_winograd_spread(const tl_winograd_tile *tile)
{
#define CALL(width) wino_spread_##width(tile, c)
    FOR_WIDTHS(c, tile->channels, CALL)
#undef CALL
}

static void k_winograd_store(const tl_winograd_tile *tile, const float *bias, float *image)
{
#define CALL(width) wino_store_##width(tile, bias, image, c)
    FOR_WIDTHS(c, tile->channels, CALL)
#undef CALL
}

static void k_winograd_weights(const float *taps, size_t n, bool flip, float *planes, size_t plane)
{
#define CALL(width) wino_weights_##width(taps, n, flip, planes, plane, at)
    FOR_WIDTHS(at, n, CALL)
#undef CALL
}

static void k_winograd_gradient(const float *planes, size_t plane, float *taps, size_t n)
{
#define CALL(width) wino_gradient_##width(planes, plane, taps, n, at)
    FOR_WIDTHS(at, n, CALL)
#undef CALL
}

/* ---- Rest ------------------------------------------------------------------------------------ */

static void k_scale_wide(size_t n, const float *restrict x, double factor, float *restrict y)
{
    for (size_t i = 0; i < n; i++) y[i] = (float)((double)x[i] * factor);
}

static void k_max_update(size_t channels, const float *x, uint32_t tap, float *restrict best,
                         uint32_t *restrict index)
{
    if (index == NULL) {
        for (size_t c = 0; c < channels; c++) best[c] = x[c] > best[c] ? x[c] : best[c];
        return;
    }
    for (size_t c = 0; c < channels; c++) {
        float value = x[c], old = best[c];
        index[c] = value > old ? tap : index[c];
        best[c] = value > old ? value : old;
    }
}

static void k_max_scatter(size_t channels, uint32_t tap, const uint32_t *index, const float *dy,
                          float *restrict dx)
{
    for (size_t c = 0; c < channels; c++) dx[c] += index[c] == tap ? dy[c] : 0.0f;
}

static void k_to_half(size_t n, const float *x, uint16_t *y)
{
    IVDEP
    for (size_t i = 0; i < n; i++) y[i] = half_of(x[i]);
}

static void k_from_half(size_t n, const uint16_t *x, float *y)
{
    IVDEP
    for (size_t i = 0; i < n; i++) y[i] = of_half(x[i]);
}

static void k_softmax(size_t n, const float *x, float *y)
{
    float best = x[0];
    for (size_t i = 1; i < n; i++) best = x[i] > best ? x[i] : best;
    IVDEP for (size_t i = 0; i < n; i++) y[i] = exp_fast(x[i] - best);
    double sum = 0;
    IVDEP for (size_t i = 0; i < n; i++) sum += (double)y[i];
    float factor = (float)(1.0 / sum);
    IVDEP for (size_t i = 0; i < n; i++) y[i] *= factor;
}

/* The widest vectors of the instruction set, as many sums as hide the latency of one. */
#if GEMM_VECTORS == 4
typedef vec16 widest;
#elif GEMM_ROWS == 6
typedef vec8 widest;
#else
typedef vec4 widest;
#endif

static size_t k_fma_loop(size_t rounds, float *sum)
{
    enum { SUMS = 12, LANES = sizeof(widest) / sizeof(float) };
    widest sums[SUMS], factor = { 0 }, step = { 0 };
    factor += 0.999f;
    step += 0.001f;
    for (int k = 0; k < SUMS; k++) sums[k] = step * (float)k;
    for (size_t r = 0; r < rounds; r++)
        for (int k = 0; k < SUMS; k++) sums[k] = sums[k] * factor + step;
    for (int k = 1; k < SUMS; k++) sums[0] += sums[k];
    *sum = sums[0][0];
    return rounds * SUMS * LANES;
}

const tl_kernels TL_KERNELS = {
    .name = TL_KERNELS_NAME,
    .activate = k_activate,
    .activate_backward = k_activate_backward,
    .binary = k_binary,
    .binary_backward = k_binary_backward,
    .add = k_add,
    .sub = k_sub,
    .mul = k_mul,
    .scale = k_scale,
    .add_scaled = k_add_scaled,
    .sum_groups = k_sum_groups,
    .dot_groups = k_dot_groups,
    .apply_groups = k_apply_groups,
    .norm_moments = k_norm_moments,
    .norm_half_moments = k_norm_half_moments,
    .norm_forward = k_norm_forward,
    .norm_half_forward = k_norm_half_forward,
    .norm_reduce = k_norm_reduce,
    .norm_half_reduce = k_norm_half_reduce,
    .norm_backward_frozen = k_norm_backward_frozen,
    .norm_half_backward_frozen = k_norm_half_backward_frozen,
    .norm_backward = k_norm_backward,
    .norm_half_backward = k_norm_half_backward,
    .gemm = k_gemm,
    .panel = k_panel,
    .turn = k_turn,
    .depthwise_row = k_depthwise_row,
    .depthwise_forward = k_depthwise_forward,
    .depthwise_backward_data = k_depthwise_backward_data,
    .depthwise_backward_weights = k_depthwise_backward_weights,
    .winograd_gather = k_winograd_gather,
    .winograd_spread = k_winograd_spread,
    .winograd_store = k_winograd_store,
    .winograd_weights = k_winograd_weights,
    .winograd_gradient = k_winograd_gradient,
    .scale_wide = k_scale_wide,
    .max_update = k_max_update,
    .max_scatter = k_max_scatter,
    .to_half = k_to_half,
    .from_half = k_from_half,
    .softmax = k_softmax,
    .fma_loop = k_fma_loop,
};

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

/* ---- Elementwise functions ------------------------------------------------------------------- */

/* exp(x), relative error below 2e-7, for |x| up to 87 (clamped). Cody-Waite reduction by ln 2 in
 * two parts, then a Taylor polynomial on [-0.347, 0.347]. */
INLINE float exp_fast(float x)
{
    union {
        float f;
        uint32_t u; /* unsigned: what is not a number must not overflow a shift */
    } shifted, scale;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    shifted.f = x * 1.44269504f + magic;
    float n = shifted.f - magic;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    scale.u = (shifted.u - 0x4B400000u + 127u) << 23; /* 0x4B400000: the bits of magic */
    return p * scale.f;
}

INLINE float sigmoid_of(float x)
{
    return 1.0f / (1.0f + exp_fast(-x));
}
INLINE float between(float x, float low, float high)
{
    x = x > low ? x : low;
    return x < high ? x : high;
}

/* f(z, a, b) and its derivative, for each kind of TL_ACTIVATION_BITS. */
INLINE float f_none(float z, float a, float b)
{
    return (void)a, (void)b, z;
}
INLINE float d_none(float z, float a, float b)
{
    return (void)z, (void)a, (void)b, 1.0f;
}
INLINE float f_relu(float z, float a, float b)
{
    return (void)a, (void)b, z > 0.0f ? z : 0.0f;
}
INLINE float d_relu(float z, float a, float b)
{
    return (void)a, (void)b, z > 0.0f ? 1.0f : 0.0f;
}
INLINE float f_clip(float z, float a, float b)
{
    return between(z, a, b);
}
INLINE float d_clip(float z, float a, float b)
{
    return ((z > a) & (z < b)) ? 1.0f : 0.0f;
}
INLINE float f_hard_swish(float z, float a, float b)
{
    return (void)a, (void)b, z * between(z * (1.0f / 6.0f) + 0.5f, 0.0f, 1.0f);
}
INLINE float d_hard_swish(float z, float a, float b)
{
    float inner = z * (1.0f / 3.0f) + 0.5f;
    inner = z > -3.0f ? inner : 0.0f;
    return (void)a, (void)b, z < 3.0f ? inner : 1.0f;
}
INLINE float f_hard_sigmoid(float z, float a, float b)
{
    return between(a * z + b, 0.0f, 1.0f);
}
INLINE float d_hard_sigmoid(float z, float a, float b)
{
    float line = a * z + b;
    return ((line > 0.0f) & (line < 1.0f)) ? a : 0.0f;
}
INLINE float f_sigmoid(float z, float a, float b)
{
    return (void)a, (void)b, sigmoid_of(z);
}
INLINE float d_sigmoid(float z, float a, float b)
{
    float s = sigmoid_of(z);
    return (void)a, (void)b, s * (1.0f - s);
}
INLINE float f_silu(float z, float a, float b)
{
    return (void)a, (void)b, z * sigmoid_of(z);
}
INLINE float d_silu(float z, float a, float b)
{
    float s = sigmoid_of(z);
    return (void)a, (void)b, s * (1.0f + z * (1.0f - s));
}
INLINE float f_abs(float z, float a, float b)
{
    return (void)a, (void)b, z < 0.0f ? -z : z;
}
INLINE float d_abs(float z, float a, float b)
{
    float positive = z > 0.0f ? 1.0f : 0.0f, negative = z < 0.0f ? 1.0f : 0.0f;
    return (void)a, (void)b, positive - negative;
}

/* tanh(x): a polynomial near 0, where the quotient would lose digits. */
INLINE float tanh_fast(float x)
{
    float s = x * x;
    float near = 62.0f / 2835.0f;
    near = near * s - 17.0f / 315.0f;
    near = near * s + 2.0f / 15.0f;
    near = near * s - 1.0f / 3.0f;
    near = x + x * s * near;
    float far = 1.0f - 2.0f / (1.0f + exp_fast(2.0f * x));
    return s < 0.0625f ? near : far;
}

/* erf(x): the series near 0; else Abramowitz and Stegun, 7.1.26, error below 2e-7. */
INLINE float erf_fast(float x)
{
    float s = x * x;
    float near = -1.0f / 1320.0f;
    near = near * s + 1.0f / 216.0f;
    near = near * s - 1.0f / 42.0f;
    near = near * s + 1.0f / 10.0f;
    near = near * s - 1.0f / 3.0f;
    near = 1.12837917f * (x + x * s * near);
    float t = 1.0f / (1.0f + 0.3275911f * (x < 0.0f ? -x : x));
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float far = 1.0f - p * t * exp_fast(-s);
    far = x < 0.0f ? -far : far;
    return s < 0.25f ? near : far;
}

INLINE float f_leaky_relu(float z, float a, float b)
{
    return (void)b, z < 0.0f ? a * z : z;
}
INLINE float d_leaky_relu(float z, float a, float b)
{
    return (void)b, z < 0.0f ? a : 1.0f;
}
INLINE float f_tanh(float z, float a, float b)
{
    return (void)a, (void)b, tanh_fast(z);
}
INLINE float d_tanh(float z, float a, float b)
{
    float t = tanh_fast(z);
    return (void)a, (void)b, 1.0f - t * t;
}
INLINE float f_elu(float z, float a, float b)
{
    return (void)b, z < 0.0f ? a * (exp_fast(z) - 1.0f) : z;
}
INLINE float d_elu(float z, float a, float b)
{
    return (void)b, z < 0.0f ? a * exp_fast(z) : 1.0f;
}
INLINE float f_gelu(float z, float a, float b)
{
    return (void)a, (void)b, 0.5f * z * (1.0f + erf_fast(z * 0.70710678f));
}
INLINE float d_gelu(float z, float a, float b)
{
    float bell = 0.39894228f * exp_fast(-0.5f * z * z);
    return (void)a, (void)b, 0.5f * (1.0f + erf_fast(z * 0.70710678f)) + z * bell;
}
/* tanh(softplus(z)) is n / (n + 2) with n = e (e + 2), e = exp(z); it is 1 from 20 on. */
INLINE float mish_gate(float z)
{
    float e = exp_fast(z < 20.0f ? z : 20.0f), n = e * (e + 2.0f);
    return n / (n + 2.0f);
}
INLINE float f_mish(float z, float a, float b)
{
    return (void)a, (void)b, z * mish_gate(z);
}
INLINE float d_mish(float z, float a, float b)
{
    float t = mish_gate(z);
    return (void)a, (void)b, t + z * (1.0f - t * t) * sigmoid_of(z);
}

/* ... and of the other operators of one number. */
INLINE float f_selu(float z, float a, float b)
{
    return b * f_elu(z, a, b);
}
INLINE float d_selu(float z, float a, float b)
{
    return b * d_elu(z, a, b);
}
INLINE float f_gelu_tanh(float z, float a, float b)
{
    float inner = 0.79788456f * (z + 0.044715f * z * z * z);
    return (void)a, (void)b, 0.5f * z * (1.0f + tanh_fast(inner));
}
INLINE float d_gelu_tanh(float z, float a, float b)
{
    float t = tanh_fast(0.79788456f * (z + 0.044715f * z * z * z));
    float slope = 0.79788456f * (1.0f + 0.134145f * z * z);
    return (void)a, (void)b, 0.5f * (1.0f + t) + 0.5f * z * (1.0f - t * t) * slope;
}
INLINE float f_softplus(float z, float a, float b)
{
    /* log(1 + e) = 2 artanh(s), s up to 1/3, by its series. */
    float e = exp_fast(z < 0.0f ? z : -z), s = e / (2.0f + e), q = s * s;
    float p = 1.0f / 13.0f;
    p = p * q + 1.0f / 11.0f;
    p = p * q + 1.0f / 9.0f;
    p = p * q + 1.0f / 7.0f;
    p = p * q + 1.0f / 5.0f;
    p = p * q + 1.0f / 3.0f;
    return (void)a, (void)b, (z > 0.0f ? z : 0.0f) + 2.0f * (s + s * q * p);
}
INLINE float d_softplus(float z, float a, float b)
{
    return (void)a, (void)b, sigmoid_of(z);
}
INLINE float f_softsign(float z, float a, float b)
{
    return z / (1.0f + f_abs(z, a, b));
}
INLINE float d_softsign(float z, float a, float b)
{
    float below = 1.0f + f_abs(z, a, b);
    return 1.0f / (below * below);
}
/* Beyond what exp_fast knows this is infinite or 0, not clamped. */
INLINE float f_exp(float z, float a, float b)
{
    float e = exp_fast(z);
    e = z > 88.7228f ? INFINITY : e;
    return (void)a, (void)b, z < -87.0f ? 0.0f : e;
}
INLINE float d_exp(float z, float a, float b)
{
    return f_exp(z, a, b);
}
INLINE float f_log(float z, float a, float b)
{
    return (void)a, (void)b, logf(z);
}
INLINE float d_log(float z, float a, float b)
{
    return (void)a, (void)b, 1.0f / z;
}
INLINE float f_sqrt(float z, float a, float b)
{
    return (void)a, (void)b, sqrtf(z);
}
INLINE float d_sqrt(float z, float a, float b)
{
    return (void)a, (void)b, 0.5f / sqrtf(z);
}
INLINE float f_reciprocal(float z, float a, float b)
{
    return (void)a, (void)b, 1.0f / z;
}
INLINE float d_reciprocal(float z, float a, float b)
{
    return (void)a, (void)b, -1.0f / (z * z);
}
INLINE float f_neg(float z, float a, float b)
{
    return (void)a, (void)b, -z;
}
INLINE float d_neg(float z, float a, float b)
{
    return (void)z, (void)a, (void)b, -1.0f;
}
INLINE float f_erf(float z, float a, float b)
{
    return (void)a, (void)b, erf_fast(z);
}
INLINE float d_erf(float z, float a, float b)
{
    return (void)a, (void)b, 1.12837917f * exp_fast(-z * z);
}
INLINE float f_floor(float z, float a, float b)
{
    return (void)a, (void)b, floorf(z);
}
INLINE float f_ceil(float z, float a, float b)
{
    return (void)a, (void)b, ceilf(z);
}
INLINE float f_sign(float z, float a, float b)
{
    return d_abs(z, a, b);
}
INLINE float f_round(float z, float a, float b)
{
    return (void)a, (void)b, rintf(z);
}
INLINE float f_logical_not(float z, float a, float b)
{
    return (void)a, (void)b, z == 0.0f ? 1.0f : 0.0f;
}
INLINE float f_cast_integer(float z, float a, float b)
{
    return (void)a, (void)b, truncf(z);
}
INLINE float f_cast_bool(float z, float a, float b)
{
    return (void)a, (void)b, z == 0.0f ? 0.0f : 1.0f;
}

/* What can be applied to what another loop writes; other smooth functions; steps. */
#define ACTIVATIONS(X)                                                                             \
    X(RELU, relu)                                                                                  \
    X(CLIP, clip)                                                                                  \
    X(HARD_SWISH, hard_swish)                                                                      \
    X(HARD_SIGMOID, hard_sigmoid)                                                                  \
    X(SIGMOID, sigmoid)                                                                            \
    X(SILU, silu)                                                                                  \
    X(ABS, abs)                                                                                    \
    X(LEAKY_RELU, leaky_relu)                                                                      \
    X(TANH, tanh)                                                                                  \
    X(ELU, elu)                                                                                    \
    X(GELU, gelu)                                                                                  \
    X(MISH, mish)
#define SMOOTH(X)                                                                                  \
    X(SELU, selu)                                                                                  \
    X(GELU_TANH, gelu_tanh)                                                                        \
    X(SOFTPLUS, softplus)                                                                          \
    X(SOFTSIGN, softsign)                                                                          \
    X(EXP, exp)                                                                                    \
    X(LOG, log)                                                                                    \
    X(SQRT, sqrt)                                                                                  \
    X(RECIPROCAL, reciprocal)                                                                      \
    X(NEG, neg)                                                                                    \
    X(ERF, erf)
#define STEPS(X)                                                                                   \
    X(FLOOR, floor)                                                                                \
    X(CEIL, ceil)                                                                                  \
    X(SIGN, sign)                                                                                  \
    X(ROUND, round)                                                                                \
    X(NOT, logical_not)                                                                            \
    X(CAST_INTEGER, cast_integer)                                                                  \
    X(CAST_BOOL, cast_bool)

/* Run LOOP(name) for the kind; a loop for each keeps the choice outside it. */
#define CASE(NAME, name)                                                                           \
    case TL_OP_##NAME:                                                                             \
        LOOP(name) break;

#define FOR_ACTIVATION(act)                                                                        \
    switch ((int)(act)->kind) {                                                                    \
        ACTIVATIONS(CASE)                                                                          \
    default: LOOP(none) break;                                                                     \
    }
#define FOR_SMOOTH(act)                                                                            \
    switch ((int)(act)->kind) {                                                                    \
        ACTIVATIONS(CASE)                                                                          \
        SMOOTH(CASE)                                                                               \
    default: LOOP(none) break;                                                                     \
    }
#define FOR_UNARY(act)                                                                             \
    switch ((int)(act)->kind) {                                                                    \
        ACTIVATIONS(CASE)                                                                          \
        SMOOTH(CASE)                                                                               \
        STEPS(CASE)                                                                                \
    default: LOOP(none) break;                                                                     \
    }

static void k_activate(const tl_activation *act, size_t n, const float *x, float *y)
{
    const float a = act->alpha, b = act->beta;
#define LOOP(name) IVDEP for (size_t i = 0; i < n; i++) y[i] = f_##name(x[i], a, b);
    FOR_UNARY(act)
#undef LOOP
}

static void k_activate_backward(const tl_activation *act, size_t n, const float *x, const float *dy,
                                float *dx)
{
    const float a = act->alpha, b = act->beta;
#define LOOP(name) IVDEP for (size_t i = 0; i < n; i++) dx[i] = dy[i] * d_##name(x[i], a, b);
    FOR_SMOOTH(act)
#undef LOOP
}

/* ---- Functions of two numbers ---------------------------------------------------------------- */

/* Squares are what networks raise to. */
INLINE float power_of(float a, float b)
{
    return b == 2.0f ? a * a : powf(a, b);
}

INLINE float mod_of(float a, float b)
{
    return a - b * floorf(a / b);
}

/* X(KIND, y, da, db): the function of a and b, and its derivatives where there are any. */
#define SMOOTH_BINARIES(X)                                                                         \
    X(ADD, a + b, 1.0f, 1.0f)                                                                      \
    X(SUB, a - b, 1.0f, -1.0f)                                                                     \
    X(MUL, a *b, b, a)                                                                             \
    X(DIV, a / b, 1.0f / b, -a / (b * b))                                                          \
    X(POW, power_of(a, b), b == 0.0f ? 0.0f : b * powf(a, b - 1.0f),                               \
      a > 0.0f ? powf(a, b) * logf(a) : 0.0f)                                                      \
    X(MIN, a < b ? a : b, a <= b ? 1.0f : 0.0f, a <= b ? 0.0f : 1.0f)                              \
    X(MAX, a > b ? a : b, a >= b ? 1.0f : 0.0f, a >= b ? 0.0f : 1.0f)
#define STEP_BINARIES(X)                                                                           \
    X(MOD, mod_of(a, b), , )                                                                       \
    X(FMOD, fmodf(a, b), , )                                                                       \
    X(EQUAL, a == b ? 1.0f : 0.0f, , )                                                             \
    X(GREATER, a > b ? 1.0f : 0.0f, , )                                                            \
    X(GREATER_OR_EQUAL, a >= b ? 1.0f : 0.0f, , )                                                  \
    X(LESS, a < b ? 1.0f : 0.0f, , )                                                               \
    X(LESS_OR_EQUAL, a <= b ? 1.0f : 0.0f, , )                                                     \
    X(AND, a != 0.0f && b != 0.0f ? 1.0f : 0.0f, , )                                               \
    X(OR, a != 0.0f || b != 0.0f ? 1.0f : 0.0f, , )                                                \
    X(XOR, (a != 0.0f) != (b != 0.0f) ? 1.0f : 0.0f, , )

#define X(KIND, value, da, db)                                                                     \
    INLINE float of_##KIND(float a, float b)                                                       \
    {                                                                                              \
        return value;                                                                              \
    }
SMOOTH_BINARIES(X)
STEP_BINARIES(X)
#undef X
#define X(KIND, value, da, db)                                                                     \
    INLINE float first_##KIND(float a, float b)                                                    \
    {                                                                                              \
        return (void)a, (void)b, da;                                                               \
    }                                                                                              \
    INLINE float second_##KIND(float a, float b)                                                   \
    {                                                                                              \
        return (void)a, (void)b, db;                                                               \
    }
SMOOTH_BINARIES(X)
#undef X

/* All rows; a loop for each way in which operands go along or stand still. */
#define BINARY_ROWS(factor, f)                                                                     \
    for (size_t r = 0; r < v->rows; r++) {                                                         \
        const float *a = v->a + (ptrdiff_t)r * v->a_row, *b = v->b + (ptrdiff_t)r * v->b_row;      \
        const size_t at = r * v->n, n = v->n;                                                      \
        if (v->a_step == 1 && v->b_step == 1) {                                                    \
            IVDEP for (size_t i = 0; i < n; i++) y[at + i] = factor f(a[i], b[i]);                 \
        } else if (v->a_step == 1) {                                                               \
            const float other = *b;                                                                \
            IVDEP for (size_t i = 0; i < n; i++) y[at + i] = factor f(a[i], other);                \
        } else {                                                                                   \
            const float other = *a;                                                                \
            IVDEP for (size_t i = 0; i < n; i++) y[at + i] = factor f(other, b[i]);                \
        }                                                                                          \
    }

static void k_binary(tl_op_kind kind, const tl_binary_args *v, float *y)
{
    switch ((int)kind) {
#define X(KIND, value, da, db)                                                                     \
    case TL_OP_##KIND: {                                                                           \
        BINARY_ROWS(, of_##KIND)                                                                   \
        break;                                                                                     \
    }
        SMOOTH_BINARIES(X)
        STEP_BINARIES(X)
#undef X
    }
}

static void k_binary_backward(tl_op_kind kind, const tl_binary_args *v, bool second,
                              const float *dy, float *y)
{
    switch ((int)kind * 2 + second) {
#define X(KIND, value, da, db)                                                                     \
    case 2 * TL_OP_##KIND: {                                                                       \
        BINARY_ROWS(dy[at + i] *, first_##KIND)                                                    \
        break;                                                                                     \
    }                                                                                              \
    case 2 * TL_OP_##KIND + 1: {                                                                   \
        BINARY_ROWS(dy[at + i] *, second_##KIND)                                                   \
        break;                                                                                     \
    }
        SMOOTH_BINARIES(X)
#undef X
    }
}

static void k_add(size_t n, const float *a, const float *b, float *y)
{
    IVDEP for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void k_sub(size_t n, const float *a, const float *b, float *y)
{
    IVDEP for (size_t i = 0; i < n; i++) y[i] = a[i] - b[i];
}

static void k_mul(size_t n, const float *a, const float *b, float *y)
{
    IVDEP for (size_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void k_scale(size_t n, float factor, const float *x, float *y)
{
    IVDEP for (size_t i = 0; i < n; i++) y[i] = x[i] * factor;
}

static void k_add_scaled(size_t n, float factor, const float *x, float *y)
{
    IVDEP for (size_t i = 0; i < n; i++) y[i] += x[i] * factor;
}

/* ---- By group -------------------------------------------------------------------------------- */

/* for each group: `base` its first number, `m` how many it has (the last one may be short) */
#define FOR_GROUPS(n, group)                                                                       \
    for (size_t base = 0, m; base < (n) && (m = (n)-base < (group) ? (n)-base : (group), 1);       \
         base += (group))

static void k_sum_groups(size_t n, size_t group, const float *x, float *restrict sum)
{
    FOR_GROUPS(n, group)
    {
        const float *restrict from = x + base;
        IVDEP for (size_t i = 0; i < m; i++) sum[i] += from[i];
    }
}

static void k_dot_groups(size_t n, size_t group, const float *x, const float *y,
                         float *restrict sum)
{
    FOR_GROUPS(n, group)
    {
        IVDEP for (size_t i = 0; i < m; i++) sum[i] += x[base + i] * y[base + i];
    }
}

static void k_apply_groups(char op, size_t n, size_t group, const float *x, const float *restrict c,
                           float *y)
{
#define LOOP(expression)                                                                           \
    FOR_GROUPS(n, group)                                                                           \
    {                                                                                              \
        const float *from = x + base;                                                              \
        float *to = y + base;                                                                      \
        IVDEP for (size_t i = 0; i < m; i++) to[i] = expression;                                   \
    }
    switch (op) {
    case '+': LOOP(from[i] + c[i]) break;
    case '-': LOOP(from[i] - c[i]) break;
    case 'r': LOOP(c[i] - from[i]) break;
    default: LOOP(from[i] * c[i]) break;
    }
#undef LOOP
}

static void k_norm_moments(size_t n, size_t group, const float *x, const float *restrict shift,
                           float *restrict sum, float *restrict square)
{
    FOR_GROUPS(n, group)
    {
        const float *restrict from = x + base;
        IVDEP for (size_t i = 0; i < m; i++)
        {
            float d = from[i] - shift[i];
            sum[i] += d;
            square[i] += d * d;
        }
    }
}

static void k_norm_forward(const tl_activation *act, size_t n, size_t group, const float *x,
                           const tl_norm_coefficients *by, float *y)
{
    const float a = act->alpha, b = act->beta;
    const float *restrict scale = by->scale, *restrict shift = by->shift;
#define LOOP(name)                                                                                 \
    FOR_GROUPS(n, group)                                                                           \
    {                                                                                              \
        const float *from = x + base;                                                              \
        float *to = y + base;                                                                      \
        IVDEP for (size_t i = 0; i < m; i++) to[i] =                                               \
            f_##name(from[i] * scale[i] + shift[i], a, b);                                         \
    }
    FOR_ACTIVATION(act)
#undef LOOP
}

static void k_norm_reduce(const tl_activation *act, size_t n, size_t group, const float *x,
                          const float *dy, const tl_norm_coefficients *by, float *restrict sum,
                          float *restrict dot)
{
    const float a = act->alpha, b = act->beta;
    const float *restrict scale = by->scale, *restrict shift = by->shift;
    const float *restrict center = by->center;
#define LOOP(name)                                                                                 \
    FOR_GROUPS(n, group)                                                                           \
    {                                                                                              \
        const float *restrict from = x + base, *restrict grad = dy + base;                         \
        for (size_t i = 0; i < m; i++) {                                                           \
            float dz = grad[i] * d_##name(from[i] * scale[i] + shift[i], a, b);                    \
            sum[i] += dz;                                                                          \
            dot[i] += dz * (from[i] - center[i]);                                                  \
        }                                                                                          \
    }
    FOR_ACTIVATION(act)
#undef LOOP
}

static void k_norm_backward_frozen(const tl_activation *act, size_t n, size_t group, const float *x,
                                   const float *dy, const tl_norm_coefficients *by,
                                   float *restrict sum, float *restrict dot, float *dx)
{
    if (dx == NULL) {
        k_norm_reduce(act, n, group, x, dy, by, sum, dot);
        return;
    }
    const float a = act->alpha, b = act->beta;
    const float *restrict scale = by->scale, *restrict shift = by->shift;
    const float *restrict center = by->center, *restrict g = by->g;
#define LOOP(name)                                                                                 \
    FOR_GROUPS(n, group)                                                                           \
    {                                                                                              \
        const float *from = x + base, *grad = dy + base;                                           \
        float *to = dx + base;                                                                     \
        IVDEP for (size_t i = 0; i < m; i++)                                                       \
        {                                                                                          \
            float dz = grad[i] * d_##name(from[i] * scale[i] + shift[i], a, b);                    \
            sum[i] += dz;                                                                          \
            dot[i] += dz * (from[i] - center[i]);                                                  \
            to[i] = g[i] * dz;                                                                     \
        }                                                                                          \
    }
    FOR_ACTIVATION(act)
#undef LOOP
}

static void k_norm_backward(const tl_activation *act, size_t n, size_t group, const float *x,
                            const float *dy, const tl_norm_coefficients *by, float *dx)
{
    const float a = act->alpha, b = act->beta;
    const float *restrict scale = by->scale, *restrict shift = by->shift, *restrict g = by->g;
    const float *restrict h = by->h, *restrict k = by->k, *restrict center = by->center;
#define LOOP(name)                                                                                 \
    FOR_GROUPS(n, group)                                                                           \
    {                                                                                              \
        const float *from = x + base, *grad = dy + base;                                           \
        float *to = dx + base;                                                                     \
        IVDEP for (size_t i = 0; i < m; i++)                                                       \
        {                                                                                          \
            float dz = grad[i] * d_##name(from[i] * scale[i] + shift[i], a, b);                    \
            to[i] = g[i] * dz + (h[i] * (from[i] - center[i]) + k[i]);                             \
        }                                                                                          \
    }
    FOR_ACTIVATION(act)
#undef LOOP
}

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

/* ---- Depthwise convolution ------------------------------------------------------------------- */

#include "tensor/kernels/kernels_depthwise.h"

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
    for (size_t i = 0; i < n; i++) {
        union {
            float f;
            uint32_t u;
        } number = { .f = x[i] };
        const uint32_t u = number.u, round = 0x7FFFu + (u >> 16 & 1u);
        const bool finite = (u & 0x7FFFFFFFu) <= 0x7F800000u; /* or infinite */
        y[i] = (uint16_t)((finite ? u + round : u | 0x400000u) >> 16);
    }
}

static void k_from_half(size_t n, const uint16_t *x, float *y)
{
    IVDEP
    for (size_t i = 0; i < n; i++) {
        union {
            uint32_t u;
            float f;
        } number = { .u = (uint32_t)x[i] << 16 };
        y[i] = number.f;
    }
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
    .norm_forward = k_norm_forward,
    .norm_reduce = k_norm_reduce,
    .norm_backward_frozen = k_norm_backward_frozen,
    .norm_backward = k_norm_backward,
    .gemm = k_gemm,
    .panel = k_panel,
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

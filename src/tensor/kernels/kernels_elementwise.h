/* kernels_elementwise.h - functions of one number, forward and backward. Part of kernels_body.h. */

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

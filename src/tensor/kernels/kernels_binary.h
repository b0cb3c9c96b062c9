/* kernels_binary.h - functions of two numbers, forward and backward. Part of kernels_body.h. */

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

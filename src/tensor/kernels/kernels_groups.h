/* kernels_groups.h - sums and products by channel, in groups of channels that fill vectors;
 * normalisation above all. Part of kernels_body.h. */

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

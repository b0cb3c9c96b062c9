/* kernels_norm.h - normalisation, by groups, of x and dx of one type: included by kernels_body.h for
 * each, with X, the type; LOAD and STORE, between it and float; NORM, that names a function. */

static void NORM(moments)(size_t n, size_t group, const X *x, const float *restrict shift,
                          float *restrict sum, float *restrict square)
{
    FOR_GROUPS(n, group)
    {
        const X *restrict from = x + base;
        IVDEP for (size_t i = 0; i < m; i++)
        {
            float d = LOAD(from[i]) - shift[i];
            sum[i] += d;
            square[i] += d * d;
        }
    }
}

static void NORM(forward)(const tl_activation *act, size_t n, size_t group, const X *x,
                          const tl_norm_coefficients *by, float *y)
{
    const float a = act->alpha, b = act->beta;
    const float *restrict scale = by->scale, *restrict shift = by->shift;
#define LOOP(name)                                                                                 \
    FOR_GROUPS(n, group)                                                                           \
    {                                                                                              \
        const X *from = x + base;                                                                  \
        float *to = y + base;                                                                      \
        IVDEP for (size_t i = 0; i < m; i++) to[i] =                                               \
            f_##name(LOAD(from[i]) * scale[i] + shift[i], a, b);                                   \
    }
    FOR_ACTIVATION(act)
#undef LOOP
}

static void NORM(reduce)(const tl_activation *act, size_t n, size_t group, const X *x,
                         const float *dy, const tl_norm_coefficients *by, float *restrict sum,
                         float *restrict dot)
{
    const float a = act->alpha, b = act->beta;
    const float *restrict scale = by->scale, *restrict shift = by->shift;
    const float *restrict center = by->center;
#define LOOP(name)                                                                                 \
    FOR_GROUPS(n, group)                                                                           \
    {                                                                                              \
        const X *restrict from = x + base;                                                         \
        const float *restrict grad = dy + base;                                                    \
        for (size_t i = 0; i < m; i++) {                                                           \
            float dz = grad[i] * d_##name(LOAD(from[i]) * scale[i] + shift[i], a, b);              \
            sum[i] += dz;                                                                          \
            dot[i] += dz * (LOAD(from[i]) - center[i]);                                            \
        }                                                                                          \
    }
    FOR_ACTIVATION(act)
#undef LOOP
}

static void NORM(backward_frozen)(const tl_activation *act, size_t n, size_t group, const X *x,
                                  const float *dy, const tl_norm_coefficients *by,
                                  float *restrict sum, float *restrict dot, X *dx)
{
    if (dx == NULL) {
        NORM(reduce)(act, n, group, x, dy, by, sum, dot);
        return;
    }
    const float a = act->alpha, b = act->beta;
    const float *restrict scale = by->scale, *restrict shift = by->shift;
    const float *restrict center = by->center, *restrict g = by->g;
#define LOOP(name)                                                                                 \
    FOR_GROUPS(n, group)                                                                           \
    {                                                                                              \
        const X *from = x + base;                                                                  \
        const float *grad = dy + base;                                                             \
        X *to = dx + base;                                                                         \
        IVDEP for (size_t i = 0; i < m; i++)                                                       \
        {                                                                                          \
            float dz = grad[i] * d_##name(LOAD(from[i]) * scale[i] + shift[i], a, b);              \
            sum[i] += dz;                                                                          \
            dot[i] += dz * (LOAD(from[i]) - center[i]);                                            \
            to[i] = STORE(g[i] * dz);                                                              \
        }                                                                                          \
    }
    FOR_ACTIVATION(act)
#undef LOOP
}

static void NORM(backward)(const tl_activation *act, size_t n, size_t group, const X *x,
                           const float *dy, const tl_norm_coefficients *by, X *dx)
{
    const float a = act->alpha, b = act->beta;
    const float *restrict scale = by->scale, *restrict shift = by->shift, *restrict g = by->g;
    const float *restrict h = by->h, *restrict k = by->k, *restrict center = by->center;
#define LOOP(name)                                                                                 \
    FOR_GROUPS(n, group)                                                                           \
    {                                                                                              \
        const X *from = x + base;                                                                  \
        const float *grad = dy + base;                                                             \
        X *to = dx + base;                                                                         \
        IVDEP for (size_t i = 0; i < m; i++)                                                       \
        {                                                                                          \
            float dz = grad[i] * d_##name(LOAD(from[i]) * scale[i] + shift[i], a, b);              \
            to[i] = STORE(g[i] * dz + (h[i] * (LOAD(from[i]) - center[i]) + k[i]));                \
        }                                                                                          \
    }
    FOR_ACTIVATION(act)
#undef LOOP
}

#undef X
#undef LOAD
#undef STORE
#undef NORM

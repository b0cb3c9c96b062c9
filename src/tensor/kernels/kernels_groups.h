/* kernels_groups.h - sums and products by channel, in groups of channels that fill vectors.
 * Part of kernels_body.h. */

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

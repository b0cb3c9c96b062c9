#include "stats/interval.h"

#include "base/status.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

/* ---- Normal distribution --------------------------------------------------------------------- */

double tl_normal_quantile(double p)
{
    TL_ASSERT(p > 0.0 && p < 1.0);
    if (p > 0.5) return -tl_normal_quantile(1.0 - p);
    /* Hastings' start (Abramowitz and Stegun 26.2.23): good to 4.5e-4. */
    double t = sqrt(-2.0 * log(p));
    double x = -(t - (2.515517 + t * (0.802853 + t * 0.010328)) /
                         (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))));
    for (int i = 0; i < 3; i++) {
        double error = 0.5 * erfc(-x / sqrt(2.0)) - p;
        double step = error * sqrt(2.0 * PI) * exp(0.5 * x * x);
        x -= step / (1.0 + 0.5 * x * step); /* Halley: the density's slope is -x times itself */
    }
    return x;
}

/* ---- Beta distribution ----------------------------------------------------------------------- */

/* Lentz's evaluation of the continued fraction of I_x(a, b) (DLMF 8.17.22); converges fast for
 * x < (a + 1) / (a + b + 2), in some sqrt(max(a, b)) terms. */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1.0, d = 1.0 - (a + b) * x / (a + 1.0);
    d = 1.0 / (fabs(d) < tiny ? tiny : d);
    double value = d;
    for (int m = 1; m < 20000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        const double terms[] = { even, odd };
        double factor = 1.0;
        for (int i = 0; i < 2; i++) {
            d = 1.0 + terms[i] * d;
            d = 1.0 / (fabs(d) < tiny ? tiny : d);
            c = 1.0 + terms[i] / c;
            if (fabs(c) < tiny) c = tiny;
            factor = c * d;
            value *= factor;
        }
        if (fabs(factor - 1.0) < 1e-15) break;
    }
    return value;
}

/* ln Gamma without its global sign variable. */
static double log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

double tl_beta_cdf(double a, double b, double x)
{
    TL_ASSERT(a > 0.0 && b > 0.0);
    if (!(x > 0.0)) return 0.0;
    if (x >= 1.0) return 1.0;
    double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1.0) / (a + b + 2.0)) return front * beta_fraction(a, b, x) / a;
    return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

double tl_beta_quantile(double a, double b, double p)
{
    if (!(p > 0.0)) return 0.0;
    if (p >= 1.0) return 1.0;
    double low = 0.0, high = 1.0;
    for (int i = 0; i < 200 && high - low > 1e-16 * high; i++) {
        double middle = 0.5 * (low + high);
        if (tl_beta_cdf(a, b, middle) < p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

/* ---- Intervals ------------------------------------------------------------------------------- */

tl_interval tl_interval_wilson(uint64_t hits, uint64_t count, double confidence)
{
    TL_ASSERT(hits <= count);
    TL_ASSERT(confidence > 0.0 && confidence < 1.0);
    if (count == 0) return (tl_interval){ 0.0, 1.0 };
    double n = (double)count, p = (double)hits / n;
    double z = tl_normal_quantile(0.5 + 0.5 * confidence), zz = z * z;
    double centre = (p + zz / (2.0 * n)) / (1.0 + zz / n);
    double half = z * sqrt(p * (1.0 - p) / n + zz / (4.0 * n * n)) / (1.0 + zz / n);
    tl_interval out = { fmax(centre - half, 0.0), fmin(centre + half, 1.0) };
    if (hits == 0) out.low = 0.0; /* exactly, not by rounding */
    if (hits == count) out.high = 1.0;
    return out;
}

tl_interval tl_interval_exact(uint64_t hits, uint64_t count, double confidence)
{
    TL_ASSERT(hits <= count);
    TL_ASSERT(confidence > 0.0 && confidence < 1.0);
    double tail = 0.5 * (1.0 - confidence), k = (double)hits, n = (double)count;
    tl_interval out = { 0.0, 1.0 };
    if (hits > 0) out.low = tl_beta_quantile(k, n - k + 1.0, tail);
    if (hits < count) out.high = tl_beta_quantile(k + 1.0, n - k, 1.0 - tail);
    return out;
}

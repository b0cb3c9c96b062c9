#include "stats/acceptance.h"

#include "stats/interval.h"

#include <math.h>

/* ---- Distributions ----------------------------------------------------------------------------- */

static const double PI = 3.14159265358979323846;

static double log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign); /* without lgamma's global */
}

/* ln n! - ln(sqrt(2 pi n) (n/e)^n): Stirling's error, from its series (DLMF 5.11.1) where that is
 * exact to a double. */
static double stirling_error(double n)
{
    if (n < 16.0) return log_gamma(n + 1.0) - (n + 0.5) * log(n) + n - 0.5 * log(2.0 * PI);
    double n2 = n * n;
    return (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - 1.0 / 1188 / n2) / n2) / n2) / n2) /
           n;
}

/* x ln(x/m) + m - x >= 0 without cancellation where x is near m. */
static double deviance(double x, double m)
{
    double d = x - m;
    if (fabs(d) > 0.1 * (x + m)) return x * log(x / m) + m - x;
    /* With v = d / (x + m): d v + 2 x (v^3/3 + v^5/5 + ...). */
    double v = d / (x + m), term = 2.0 * x * v, sum = d * v;
    for (int j = 1; j < 1000; j++) {
        term *= v * v;
        double next = sum + term / (2 * j + 1);
        if (next == sum) break;
        sum = next;
    }
    return sum;
}

/* ln of the binomial probability of k in n, p in (0, 1), by the saddle point (Loader 2000): accurate
 * where differences of ln Gamma are not. */
static double log_binomial(double k, double n, double p)
{
    if (k == 0.0) return n * log1p(-p);
    if (k == n) return n * log(p);
    double error = stirling_error(n) - stirling_error(k) - stirling_error(n - k);
    return error - deviance(k, n * p) - deviance(n - k, n * (1.0 - p)) +
           0.5 * log(n / (2.0 * PI * k * (n - k)));
}

/* P(X = k) of a sample of n from a lot with so many bad items: three binomials, any p will do. */
static double hypergeometric(double k, double bad, double lot, double n)
{
    double p = n / lot;
    if (n == lot) return k == bad ? 1.0 : 0.0;
    return exp(log_binomial(k, bad, p) + log_binomial(n - k, lot - bad, p) -
               log_binomial(n, lot, p));
}

/* P(X <= c) where c is below the mean, else P(X > c): from the end near the mean outwards, by the
 * ratio of neighbours. */
static double lower_tail(double c, double least, double bad, double lot, double n)
{
    double term = hypergeometric(c, bad, lot, n), sum = term;
    for (double k = c; k > least && term > 1e-18 * sum; k--) {
        term *= k * (lot - bad - n + k) / ((bad - k + 1.0) * (n - k + 1.0));
        sum += term;
    }
    return sum;
}

static double upper_tail(double c, double most, double bad, double lot, double n)
{
    double term = hypergeometric(c + 1.0, bad, lot, n), sum = term;
    for (double k = c + 1.0; k < most && term > 1e-18 * sum; k++) {
        term *= (bad - k) * (n - k) / ((k + 1.0) * (lot - bad - n + k + 1.0));
        sum += term;
    }
    return sum;
}

static double hypergeometric_cdf(uint64_t c, uint64_t bad, uint64_t lot, uint64_t n)
{
    uint64_t most = bad < n ? bad : n, least = n + bad > lot ? n + bad - lot : 0;
    if (c >= most) return 1.0;
    if (c < least) return 0.0;
    double mean = (double)n * (double)bad / (double)lot;
    double p = (double)c < mean
                   ? lower_tail((double)c, (double)least, (double)bad, (double)lot, (double)n)
                   : 1.0 - upper_tail((double)c, (double)most, (double)bad, (double)lot, (double)n);
    return p < 0.0 ? 0.0 : p > 1.0 ? 1.0 : p;
}

/* ---- Operating characteristic ------------------------------------------------------------------ */

uint64_t tl_sampling_defectives(uint64_t lot, double share, bool up)
{
    double exact = share * (double)lot;
    /* 0.1 % of 5,000 is 5, whatever its binary digits say. */
    double whole = up ? ceil(exact - 1e-9 * (1.0 + exact)) : floor(exact + 1e-9 * (1.0 + exact));
    if (whole <= 0.0) return 0;
    return whole >= (double)lot ? lot : (uint64_t)whole;
}

double tl_sampling_accepts_lot(const tl_sampling_plan *plan, uint64_t defectives)
{
    TL_ASSERT(plan->lot > 0 && defectives <= plan->lot && plan->sample <= plan->lot);
    return hypergeometric_cdf(plan->accept, defectives, plan->lot, plan->sample);
}

static double accepts_process(uint64_t n, uint64_t c, double share)
{
    if (c >= n) return 1.0;
    return tl_beta_cdf((double)(n - c), (double)c + 1.0, 1.0 - share);
}

double tl_sampling_accepts(const tl_sampling_plan *plan, double share)
{
    TL_ASSERT(share >= 0.0 && share <= 1.0);
    if (plan->lot == 0) return accepts_process(plan->sample, plan->accept, share);
    return tl_sampling_accepts_lot(plan, (uint64_t)llround(share * (double)plan->lot));
}

/* The most defectives of a lot that are still accepted with that probability. */
static uint64_t most_accepted(const tl_sampling_plan *plan, double probability)
{
    uint64_t low = 0, high = plan->lot;
    while (low < high) {
        uint64_t middle = low + (high - low + 1) / 2;
        if (tl_sampling_accepts_lot(plan, middle) >= probability)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

double tl_sampling_quality_at(const tl_sampling_plan *plan, double probability)
{
    TL_ASSERT(probability > 0.0 && probability < 1.0);
    if (plan->accept >= plan->sample) return 1.0;
    if (plan->lot > 0) return (double)most_accepted(plan, probability) / (double)plan->lot;
    return tl_beta_quantile((double)plan->accept + 1.0, (double)(plan->sample - plan->accept),
                            1.0 - probability);
}

/* ---- Outgoing quality -------------------------------------------------------------------------- */

static double kept_share(const tl_sampling_plan *plan)
{
    return plan->lot == 0 ? 1.0 : (double)(plan->lot - plan->sample) / (double)plan->lot;
}

double tl_sampling_outgoing(const tl_sampling_plan *plan, double share)
{
    return tl_sampling_accepts(plan, share) * share * kept_share(plan);
}

/* P(accept) is log-concave in the share, so is the product with it: one peak. */
static double peak_of_lot(const tl_sampling_plan *plan)
{
    uint64_t low = 0, high = plan->lot;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        double here = tl_sampling_accepts_lot(plan, middle) * (double)middle;
        double next = tl_sampling_accepts_lot(plan, middle + 1) * (double)(middle + 1);
        /* Far beyond the peak both are 0. */
        if (next > here || (here == 0.0 && middle == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return (double)low / (double)plan->lot;
}

static double peak_of_process(const tl_sampling_plan *plan)
{
    const double ratio = 0.61803398874989485;
    double low = 0.0, high = 1.0;
    for (int i = 0; i < 90; i++) {
        double span = ratio * (high - low), left = high - span, right = low + span;
        if (tl_sampling_outgoing(plan, left) < tl_sampling_outgoing(plan, right))
            low = left;
        else
            high = right;
    }
    return 0.5 * (low + high);
}

double tl_sampling_outgoing_limit(const tl_sampling_plan *plan, double *share_out)
{
    double share = plan->lot > 0 ? peak_of_lot(plan) : peak_of_process(plan);
    if (share_out != NULL) *share_out = share;
    return tl_sampling_outgoing(plan, share);
}

/* ---- Finding a plan ---------------------------------------------------------------------------- */

/* The two points that the curve has to pass: at the AQL (above 1 - producer) and at the LTPD. */
typedef struct points {
    const tl_sampling_risks *risks;
    uint64_t good, bad; /* defectives of a lot */
} points;

static double accepts_at(const points *p, uint64_t n, uint64_t c, bool at_ltpd)
{
    if (p->risks->lot > 0)
        return hypergeometric_cdf(c, at_ltpd ? p->bad : p->good, p->risks->lot, n);
    return accepts_process(n, c, at_ltpd ? p->risks->ltpd : p->risks->aql);
}

/* The smallest sample that accepts at most `consumer` at the LTPD; it is above `from`. */
static uint64_t least_sample(const points *p, uint64_t c, uint64_t from)
{
    uint64_t end = p->risks->lot > 0 ? p->risks->lot : UINT64_MAX / 4;
    uint64_t low = from, step = 1, high = from;
    while (accepts_at(p, high, c, true) > p->risks->consumer) {
        low = high;
        high = end - high < step ? end : high + step;
        step *= 2;
    }
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (accepts_at(p, middle, c, true) > p->risks->consumer)
            low = middle;
        else
            high = middle;
    }
    return high;
}

static const double SHARE_MIN = 1e-6; /* below it samples are of a size that nobody looks at */

static tl_status check_risks(const tl_sampling_risks *r, uint64_t accept, tl_error *err)
{
    if (!(r->ltpd >= SHARE_MIN && r->ltpd < 1.0))
        return tl_fail(err, TL_EINVAL, "the LTPD must be at least 1 ppm and below 100 %%");
    if (!(r->aql >= 0.0 && r->aql < r->ltpd))
        return tl_fail(err, TL_EINVAL, "the AQL must be below the LTPD");
    if (!(r->producer > 0.0 && r->producer < 1.0 && r->consumer > 0.0 && r->consumer < 1.0 &&
          r->producer + r->consumer < 1.0))
        return tl_fail(err, TL_EINVAL,
                       "the producer's and the consumer's risk must be above 0, and below 100 %% "
                       "together");
    if (r->lot > TL_SAMPLING_LOT_MAX || accept > TL_SAMPLING_ACCEPT_MAX)
        return tl_fail(err, TL_ELIMIT, "at most %d items of a lot, and %d defectives accepted",
                       TL_SAMPLING_LOT_MAX, TL_SAMPLING_ACCEPT_MAX);
    return TL_OK;
}

static tl_status points_of(const tl_sampling_risks *risks, points *out, tl_error *err)
{
    *out = (points){ .risks = risks };
    if (risks->lot == 0) return TL_OK;
    out->good = tl_sampling_defectives(risks->lot, risks->aql, false);
    out->bad = tl_sampling_defectives(risks->lot, risks->ltpd, true);
    if (out->good >= out->bad)
        return tl_fail(err, TL_EINVAL,
                       "in a lot of %llu items AQL and LTPD are the same number of defectives",
                       (unsigned long long)risks->lot);
    return TL_OK;
}

static tl_status find_consumer_plan(const points *p, uint64_t accept, tl_sampling_plan *out,
                                    tl_error *err)
{
    if (p->risks->lot > 0 && accept >= p->bad)
        return tl_fail(err, TL_EINVAL,
                       "a lot with %llu defectives among %llu items would be rejected even if all "
                       "of it were looked at",
                       (unsigned long long)p->bad, (unsigned long long)p->risks->lot);
    *out = (tl_sampling_plan){ least_sample(p, accept, accept), accept, p->risks->lot };
    return TL_OK;
}

tl_status tl_sampling_find(const tl_sampling_risks *risks, uint64_t accept, tl_sampling_plan *out,
                           tl_error *err)
{
    points p;
    tl_status status = check_risks(risks, accept, err);
    if (status == TL_OK) status = points_of(risks, &p, err);
    if (status != TL_OK) return status;
    if (risks->aql == 0.0) return find_consumer_plan(&p, accept, out, err);
    /* More accepted defectives need a larger sample, so the first that fits is the smallest. */
    uint64_t n = 0;
    for (uint64_t c = 0; c <= TL_SAMPLING_ACCEPT_MAX; c++) {
        if (risks->lot > 0 && c >= p.bad) break;
        n = least_sample(&p, c, n > c ? n : c);
        if (accepts_at(&p, n, c, false) < 1.0 - risks->producer) continue;
        *out = (tl_sampling_plan){ n, c, risks->lot };
        return TL_OK;
    }
    return tl_fail(err, TL_ELIMIT,
                   "AQL and LTPD are too near to each other: the plan would accept over %d "
                   "defectives; choose them further apart, or larger risks",
                   TL_SAMPLING_ACCEPT_MAX);
}

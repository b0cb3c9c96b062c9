#include "stats/estimate/confidence.h"

#include <math.h>

enum { STAKE_COUNT = 24, MEAN_VERSION = 1, RUNNING_VERSION = 1 };
/* .95 to 1e-5 evenly in the logarithm: shares of what may be staked. */
static const double STAKES[STAKE_COUNT] = {
    0.95,
    0.5771661333,
    0.3506534163,
    0.2130371331,
    0.1294292825,
    0.07863389315,
    0.0477734948,
    0.0290244666,
    0.01763362017,
    0.01071318776,
    0.006508725423,
    0.003954332511,
    0.002402428216,
    0.001459579162,
    0.0008867575382,
    0.0005387435995,
    0.0003273100633,
    0.0001988550354,
    0.0001208130441,
    7.339915527e-05,
    4.459316488e-05,
    2.709227847e-05,
    1.645973222e-05,
    1e-05,
};

/* ---- Shared ---------------------------------------------------------------------------------- */

/* ln of the mean of exp(logs) under weights .9^j: what is decided early is decided by large stakes,
 * and a long record pays for its small ones with at most a nat more. */
static double log_mean_exp(const double logs[STAKE_COUNT])
{
    static const double SUM = (1.0 - 0.0797664430768) / 0.1; /* .9^24 */
    double max = -INFINITY, sum = 0.0, weight = 1.0;
    for (int j = 0; j < STAKE_COUNT; j++) max = fmax(max, logs[j]);
    if (isinf(max)) return max;
    for (int j = 0; j < STAKE_COUNT; j++, weight *= 0.9) sum += weight * exp(logs[j] - max);
    return max + log(sum / SUM);
}

double tl_confidence_log_bar(double confidence)
{
    TL_ASSERT(confidence > 0.0 && confidence < 1.0);
    return log(2.0 / (1.0 - confidence));
}

/* The edge nearest to `from` of the candidates that `f` does not deny: steps first, so that evidence
 * which does not fall all the way hides none of them, then bisection to 2^-40. */
static double edge(double (*f)(const void *context, double m), const void *context, double bar,
                   double from, double to)
{
    enum { STEPS = 32 };
    double denied = from, step = (to - from) / STEPS;
    int i = 1;
    while (i < STEPS && f(context, from + i * step) >= bar) denied = from + i++ * step;
    double open = from + i * step;
    for (i = 0; i < 35; i++) {
        double middle = 0.5 * (denied + open);
        if (f(context, middle) >= bar)
            denied = middle;
        else
            open = middle;
    }
    return denied;
}

double tl_confidence_lower(double (*f)(const void *context, double m), const void *context,
                           double bar)
{
    return edge(f, context, bar, 0.0, 1.0);
}

double tl_confidence_upper(double (*f)(const void *context, double m), const void *context,
                           double bar)
{
    return edge(f, context, bar, 1.0, 0.0);
}

static double unit_clamp(double x)
{
    return x > 0.0 ? fmin(x, 1.0) : 0.0;
}

/* ---- Betting --------------------------------------------------------------------------------- */

double tl_betting_log_e_above(const tl_payoff *payoffs, size_t payoff_count, double loss_max,
                              double m)
{
    TL_ASSERT(loss_max > 0.0);
    double logs[STAKE_COUNT] = { 0 };
    for (size_t k = 0; k < payoff_count; k++) {
        const tl_payoff *p = &payoffs[k];
        if (p->count <= 0.0) continue;
        if (m <= 0.0 && p->gain > 0.0) return INFINITY;
        double rate = ((p->gain > 0.0 ? p->gain / m : 0.0) - p->scale) / loss_max;
        for (int j = 0; j < STAKE_COUNT; j++) logs[j] += p->count * log1p(STAKES[j] * rate);
    }
    return log_mean_exp(logs);
}

double tl_betting_log_e_below(const tl_payoff *payoffs, size_t payoff_count, double gain_max,
                              double m)
{
    TL_ASSERT(gain_max > 0.0);
    double logs[STAKE_COUNT] = { 0 };
    for (size_t k = 0; k < payoff_count; k++) {
        const tl_payoff *p = &payoffs[k];
        double loss = p->scale - p->gain; /* a gain of the share's complement */
        if (p->count <= 0.0) continue;
        if (m >= 1.0 && loss > 0.0) return INFINITY;
        double rate = ((loss > 0.0 ? loss / (1.0 - m) : 0.0) - p->scale) / gain_max;
        for (int j = 0; j < STAKE_COUNT; j++) logs[j] += p->count * log1p(STAKES[j] * rate);
    }
    return log_mean_exp(logs);
}

typedef struct bets {
    const tl_payoff *payoffs;
    size_t count;
    double loss_max, gain_max;
} bets;

static double bets_above(const void *context, double m)
{
    const bets *b = context;
    return tl_betting_log_e_above(b->payoffs, b->count, b->loss_max, m);
}

static double bets_below(const void *context, double m)
{
    const bets *b = context;
    return tl_betting_log_e_below(b->payoffs, b->count, b->gain_max, m);
}

tl_interval tl_betting_interval(const tl_payoff *payoffs, size_t payoff_count, double loss_max,
                                double gain_max, double confidence)
{
    bets b = { payoffs, payoff_count, loss_max, gain_max };
    double bar = tl_confidence_log_bar(confidence);
    return (tl_interval){ tl_confidence_lower(bets_above, &b, bar),
                          tl_confidence_upper(bets_below, &b, bar) };
}

void tl_mean_add(tl_mean *mean, double x)
{
    x = unit_clamp(x);
    double at = x * TL_MEAN_CELLS;
    int cell = at >= TL_MEAN_CELLS ? TL_MEAN_CELLS - 1 : (int)at;
    mean->count++;
    mean->sum += x;
    mean->cells[cell] += cell + 1 - at;
    mean->cells[cell + 1] += at - cell;
}

void tl_mean_merge(tl_mean *mean, const tl_mean *other)
{
    mean->count += other->count;
    mean->sum += other->sum;
    for (int i = 0; i <= TL_MEAN_CELLS; i++) mean->cells[i] += other->cells[i];
}

static size_t mean_payoffs(const tl_mean *mean, tl_payoff out[TL_MEAN_CELLS + 1])
{
    size_t count = 0;
    for (int i = 0; i <= TL_MEAN_CELLS; i++)
        if (mean->cells[i] > 0.0)
            out[count++] = (tl_payoff){ mean->cells[i], (double)i / TL_MEAN_CELLS, 1.0 };
    return count;
}

tl_interval tl_mean_interval(const tl_mean *mean, double confidence)
{
    tl_payoff payoffs[TL_MEAN_CELLS + 1];
    return tl_betting_interval(payoffs, mean_payoffs(mean, payoffs), 1.0, 1.0, confidence);
}

bool tl_mean_covers(const tl_mean *mean, double m, double confidence)
{
    tl_payoff payoffs[TL_MEAN_CELLS + 1];
    size_t count = mean_payoffs(mean, payoffs);
    double bar = tl_confidence_log_bar(confidence);
    return tl_betting_log_e_above(payoffs, count, 1.0, m) < bar &&
           tl_betting_log_e_below(payoffs, count, 1.0, m) < bar;
}

void tl_mean_save(const tl_mean *mean, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "MEAN", MEAN_VERSION);
    tl_blob_u64(blob, mean->count);
    tl_blob_f64(blob, mean->sum);
    for (int i = 0; i <= TL_MEAN_CELLS; i++) tl_blob_f64(blob, mean->cells[i]);
    tl_blob_section_end(blob, section);
}

/* A weight that a count allows. */
static bool weight_sane(double weight, double count)
{
    return isfinite(weight) && weight >= 0.0 && weight <= count * (1.0 + 1e-9) + 1e-6;
}

tl_status tl_mean_load(tl_blob_reader *reader, tl_mean *out, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "MEAN", MEAN_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_mean read = { .count = tl_blob_read_u64(&body) };
    read.sum = tl_blob_read_f64(&body);
    double count = (double)read.count, cells = 0.0;
    bool sane = weight_sane(read.sum, count);
    for (int i = 0; i <= TL_MEAN_CELLS; i++) {
        read.cells[i] = tl_blob_read_f64(&body);
        sane = sane && weight_sane(read.cells[i], count);
        cells += read.cells[i];
    }
    status = tl_blob_read_end(&body, "mean", err);
    if (status != TL_OK) return status;
    if (!sane || !weight_sane(cells, count))
        return tl_fail(err, TL_ECORRUPT, "saved mean holds numbers that no values give");
    *out = read;
    return TL_OK;
}

/* ---- Beta-binomial --------------------------------------------------------------------------- */

static double log_gamma(double x)
{
    int sign; /* lgamma itself writes a global */
    return lgamma_r(x, &sign);
}

double tl_beta_binomial_log_e(double hits, double count, double u)
{
    TL_ASSERT(hits >= 0.0);
    TL_ASSERT(hits <= count);
    static const double LOG_PI = 1.14472988584940017414; /* ln B(1/2, 1/2) */
    double rest = count - hits;
    double likelihood = (hits > 0.0 ? hits * log(u) : 0.0) + (rest > 0.0 ? rest * log1p(-u) : 0.0);
    if (isinf(likelihood)) return INFINITY;
    return log_gamma(hits + 0.5) + log_gamma(rest + 0.5) - log_gamma(count + 1.0) - LOG_PI -
           likelihood;
}

/* The edge between `inside`, where the evidence is below `bar`, and `outside`. */
static double beta_binomial_edge(double hits, double count, double bar, double inside,
                                 double outside)
{
    if (tl_beta_binomial_log_e(hits, count, outside) < bar) return outside;
    for (int i = 0; i < 60; i++) {
        double middle = 0.5 * (inside + outside);
        if (tl_beta_binomial_log_e(hits, count, middle) < bar)
            inside = middle;
        else
            outside = middle;
    }
    return outside;
}

tl_interval tl_beta_binomial_interval(uint64_t hits, uint64_t count, double confidence)
{
    TL_ASSERT(hits <= count);
    TL_ASSERT(confidence > 0.0 && confidence < 1.0);
    if (count == 0) return (tl_interval){ 0.0, 1.0 };
    double bar = -log(1.0 - confidence), k = (double)hits, n = (double)count;
    return (tl_interval){ beta_binomial_edge(k, n, bar, k / n, 0.0),
                          beta_binomial_edge(k, n, bar, k / n, 1.0) };
}

/* ---- Running means --------------------------------------------------------------------------- */

double tl_bernstein_log_e(double excess, double squares, double loss_max)
{
    TL_ASSERT(loss_max > 0.0);
    double logs[STAKE_COUNT];
    for (int j = 0; j < STAKE_COUNT; j++) {
        double share = STAKES[j];
        double psi = -log1p(-share) - share;
        logs[j] = share * (excess / loss_max) - psi * (squares / (loss_max * loss_max));
    }
    return log_mean_exp(logs);
}

void tl_running_mean_add(tl_running_mean *mean, double x)
{
    x = unit_clamp(x);
    double guess = (mean->sum + 0.5) / ((double)mean->count + 1.0);
    mean->count++;
    mean->sum += x;
    mean->squares += (x - guess) * (x - guess);
}

static double running_above(const void *context, double m)
{
    const tl_running_mean *mean = context;
    return tl_bernstein_log_e(mean->sum - (double)mean->count * m, mean->squares, 1.0);
}

static double running_below(const void *context, double m)
{
    const tl_running_mean *mean = context;
    return tl_bernstein_log_e((double)mean->count * m - mean->sum, mean->squares, 1.0);
}

tl_interval tl_running_mean_interval(const tl_running_mean *mean, double confidence)
{
    double bar = tl_confidence_log_bar(confidence);
    return (tl_interval){ tl_confidence_lower(running_above, mean, bar),
                          tl_confidence_upper(running_below, mean, bar) };
}

bool tl_running_mean_covers(const tl_running_mean *mean, double m, double confidence)
{
    double bar = tl_confidence_log_bar(confidence);
    return running_above(mean, m) < bar && running_below(mean, m) < bar;
}

void tl_running_mean_save(const tl_running_mean *mean, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "RUNM", RUNNING_VERSION);
    tl_blob_u64(blob, mean->count);
    tl_blob_f64(blob, mean->sum);
    tl_blob_f64(blob, mean->squares);
    tl_blob_section_end(blob, section);
}

tl_status tl_running_mean_load(tl_blob_reader *reader, tl_running_mean *out, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "RUNM", RUNNING_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_running_mean read = { .count = tl_blob_read_u64(&body) };
    read.sum = tl_blob_read_f64(&body);
    read.squares = tl_blob_read_f64(&body);
    status = tl_blob_read_end(&body, "running mean", err);
    if (status != TL_OK) return status;
    double count = (double)read.count;
    if (!weight_sane(read.sum, count) || !weight_sane(read.squares, count))
        return tl_fail(err, TL_ECORRUPT, "saved running mean holds numbers that no values give");
    *out = read;
    return TL_OK;
}

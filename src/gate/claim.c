#include "gate/claim.h"

#include <math.h>

enum { VERSION = 1, STEPS = 24, HALVINGS = 30 };

/* ---- The limit ------------------------------------------------------------------------------- */

void tl_limit_init(tl_limit *limit)
{
    tl_bettor_init(&limit->free);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++)
        limit->slope[j] = limit->curve[j] = limit->reach[j] = 0;
    limit->still_slope = limit->still_curve = limit->still_reach = 0;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

void tl_limit_bet(tl_limit *limit, double z, double n)
{
    if (z == 0) {
        limit->still_slope += n;
        limit->still_curve += n * n;
        limit->still_reach = larger(limit->still_reach, n);
        return;
    }
    tl_bettor_bet(&limit->free, z);
    const double *stakes = tl_bettor_stakes();
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        double share = n / (1 + stakes[j] * z);
        limit->slope[j] += share;
        limit->curve[j] += share * share;
        limit->reach[j] = larger(limit->reach[j], share);
    }
}

/* A lower bound of log K(gain). */
static double log_e_at(const tl_limit *limit, double gain)
{
    const double *stakes = tl_bettor_stakes();
    double logs[TL_BETTOR_STAKES], top = -INFINITY;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        double pull = stakes[j] * gain;
        double slope = limit->slope[j] + limit->still_slope;
        double curve = limit->curve[j] + limit->still_curve;
        bool holds = fabs(pull) * larger(limit->reach[j], limit->still_reach) <= 0.5;
        logs[j] = holds ? tl_bettor_log_wealth(&limit->free, j) - pull * slope - pull * pull * curve
                        : -INFINITY; /* the bound does not hold: this stake is worth nothing */
        top = fmax(top, logs[j]);
    }
    if (top == -INFINITY) return top;
    double sum = 0;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) sum += exp(logs[j] - top);
    return top + log(sum / TL_BETTOR_STAKES);
}

/* Gains to be tried, descending: widest, widest/2, ..., 0, ..., -widest/2, -widest. */
static double step_gain(int step, double widest)
{
    if (step < STEPS) return ldexp(widest, -step);
    if (step == STEPS) return 0;
    return -ldexp(widest, step - 2 * STEPS);
}

double tl_limit_low(const tl_limit *limit, double log_threshold, double widest)
{
    int step = 0;
    while (step <= 2 * STEPS && log_e_at(limit, step_gain(step, widest)) < log_threshold) step++;
    if (step > 2 * STEPS) return -widest;
    if (step == 0) return widest;
    double low = step_gain(step, widest), high = step_gain(step - 1, widest);
    for (int i = 0; i < HALVINGS; i++) {
        double middle = 0.5 * (low + high);
        if (log_e_at(limit, middle) >= log_threshold)
            low = middle;
        else
            high = middle;
    }
    return low;
}
void tl_limit_save(const tl_limit *limit, tl_blob *blob)
{
    tl_bettor_save(&limit->free, blob);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        tl_blob_f64(blob, limit->slope[j]);
        tl_blob_f64(blob, limit->curve[j]);
        tl_blob_f64(blob, limit->reach[j]);
    }
    tl_blob_f64(blob, limit->still_slope);
    tl_blob_f64(blob, limit->still_curve);
    tl_blob_f64(blob, limit->still_reach);
}

static double read_sum(tl_blob_reader *reader)
{
    double value = tl_blob_read_f64(reader);
    if (!(isfinite(value) && value >= 0)) reader->failed = true;
    return value;
}

tl_status tl_limit_load(tl_limit *limit, tl_blob_reader *reader, tl_error *err)
{
    tl_status status = tl_bettor_load(&limit->free, reader, err);
    if (status != TL_OK) return status;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        limit->slope[j] = read_sum(reader);
        limit->curve[j] = read_sum(reader);
        limit->reach[j] = read_sum(reader);
    }
    limit->still_slope = read_sum(reader);
    limit->still_curve = read_sum(reader);
    limit->still_reach = read_sum(reader);
    return reader->failed ? tl_fail(err, TL_ECORRUPT, "saved limit is out of range") : TL_OK;
}

/* ---- The claim ------------------------------------------------------------------------------- */

void tl_claim_init(tl_claim *claim)
{
    tl_bettor_init(&claim->decided);
    tl_doubt_init(&claim->doubt);
    tl_limit_init(&claim->limit);
}

void tl_claim_bet(tl_claim *claim, double payoff, double z, double n)
{
    tl_bettor_bet(&claim->decided, payoff);
    tl_limit_bet(&claim->limit, z, n);
}

double tl_claim_log_e(const tl_claim *claim)
{
    return tl_doubt_log_e(&claim->doubt, &claim->decided, NULL);
}

bool tl_claim_reaches(const tl_claim *claim, double log_threshold)
{
    return tl_bettor_log_e(&claim->decided) >= log_threshold &&
           tl_claim_log_e(claim) >= log_threshold;
}

double tl_claim_growth(const tl_claim *claim, uint64_t disagreements)
{
    if (disagreements == 0) return 0;
    double log_wealth[TL_BETTOR_STAKES], best = 0;
    tl_doubt_log_e(&claim->doubt, &claim->decided, log_wealth);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) best = fmax(best, log_wealth[j]);
    return best / (double)disagreements;
}

void tl_claim_save(const tl_claim *claim, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "CLAI", VERSION);
    tl_bettor_save(&claim->decided, blob);
    tl_doubt_save(&claim->doubt, blob);
    tl_limit_save(&claim->limit, blob);
    tl_blob_section_end(blob, section);
}

tl_status tl_claim_load(tl_claim *claim, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "CLAI", VERSION, &body, NULL, err);
    if (status == TL_OK) status = tl_bettor_load(&claim->decided, &body, err);
    if (status == TL_OK) status = tl_doubt_load(&claim->doubt, &body, err);
    if (status == TL_OK) status = tl_limit_load(&claim->limit, &body, err);
    return status == TL_OK ? tl_blob_read_end(&body, "claim", err) : status;
}

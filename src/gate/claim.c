#include "gate/claim.h"

#include <math.h>

enum { VERSION = 1, STEPS = 24, HALVINGS = 30 };

void tl_claim_init(tl_claim *claim)
{
    tl_bettor_init(&claim->decided);
    tl_doubt_init(&claim->doubt);
    tl_bettor_init(&claim->free);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++)
        claim->slope[j] = claim->curve[j] = claim->reach[j] = 0;
    claim->still_slope = claim->still_curve = claim->still_reach = 0;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

void tl_claim_bet(tl_claim *claim, double payoff, double z, double n)
{
    tl_bettor_bet(&claim->decided, payoff);
    if (z == 0) {
        claim->still_slope += n;
        claim->still_curve += n * n;
        claim->still_reach = larger(claim->still_reach, n);
        return;
    }
    tl_bettor_bet(&claim->free, z);
    const double *stakes = tl_bettor_stakes();
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        double share = n / (1 + stakes[j] * z);
        claim->slope[j] += share;
        claim->curve[j] += share * share;
        claim->reach[j] = larger(claim->reach[j], share);
    }
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

/* A lower bound of log K(gain). */
static double log_e_at(const tl_claim *claim, double gain)
{
    const double *stakes = tl_bettor_stakes();
    double logs[TL_BETTOR_STAKES], top = -INFINITY;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        double pull = stakes[j] * gain;
        double slope = claim->slope[j] + claim->still_slope;
        double curve = claim->curve[j] + claim->still_curve;
        bool holds = fabs(pull) * larger(claim->reach[j], claim->still_reach) <= 0.5;
        logs[j] = holds ? tl_bettor_log_wealth(&claim->free, j) - pull * slope - pull * pull * curve
                        : -INFINITY; /* the bound does not hold: this stake is worth nothing */
        top = fmax(top, logs[j]);
    }
    if (top == -INFINITY) return top;
    double sum = 0;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) sum += exp(logs[j] - top);
    return top + log(sum / TL_BETTOR_STAKES);
}

/* Gains to be tried, descending: limit, limit/2, ..., 0, ..., -limit/2, -limit. */
static double step_gain(int step, double limit)
{
    if (step < STEPS) return ldexp(limit, -step);
    if (step == STEPS) return 0;
    return -ldexp(limit, step - 2 * STEPS);
}

double tl_claim_gain_low(const tl_claim *claim, double log_threshold, double limit)
{
    int step = 0;
    while (step <= 2 * STEPS && log_e_at(claim, step_gain(step, limit)) < log_threshold) step++;
    if (step > 2 * STEPS) return -limit;
    if (step == 0) return limit;
    double low = step_gain(step, limit), high = step_gain(step - 1, limit);
    for (int i = 0; i < HALVINGS; i++) {
        double middle = 0.5 * (low + high);
        if (log_e_at(claim, middle) >= log_threshold)
            low = middle;
        else
            high = middle;
    }
    return low;
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
    tl_bettor_save(&claim->free, blob);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        tl_blob_f64(blob, claim->slope[j]);
        tl_blob_f64(blob, claim->curve[j]);
        tl_blob_f64(blob, claim->reach[j]);
    }
    tl_blob_f64(blob, claim->still_slope);
    tl_blob_f64(blob, claim->still_curve);
    tl_blob_f64(blob, claim->still_reach);
    tl_blob_section_end(blob, section);
}

static bool fine(double value)
{
    return isfinite(value) && value >= 0;
}

tl_status tl_claim_load(tl_claim *claim, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "CLAI", VERSION, &body, NULL, err);
    if (status == TL_OK) status = tl_bettor_load(&claim->decided, &body, err);
    if (status == TL_OK) status = tl_doubt_load(&claim->doubt, &body, err);
    if (status == TL_OK) status = tl_bettor_load(&claim->free, &body, err);
    if (status != TL_OK) return status;
    bool sound = true;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        claim->slope[j] = tl_blob_read_f64(&body);
        claim->curve[j] = tl_blob_read_f64(&body);
        claim->reach[j] = tl_blob_read_f64(&body);
        sound = sound && fine(claim->slope[j]) && fine(claim->curve[j]) && fine(claim->reach[j]);
    }
    claim->still_slope = tl_blob_read_f64(&body);
    claim->still_curve = tl_blob_read_f64(&body);
    claim->still_reach = tl_blob_read_f64(&body);
    sound =
        sound && fine(claim->still_slope) && fine(claim->still_curve) && fine(claim->still_reach);
    status = tl_blob_read_end(&body, "claim", err);
    if (status == TL_OK && !sound)
        status = tl_fail(err, TL_ECORRUPT, "saved claim is out of range");
    return status;
}

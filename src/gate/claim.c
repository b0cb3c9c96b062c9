#include "gate/claim.h"

#include <math.h>

enum { VERSION = 1, STEPS = 24, HALVINGS = 30 };

void tl_claim_init(tl_claim *claim, double charge)
{
    *claim = (tl_claim){ .slope = { 0 } };
    tl_bettor_init_charged(&claim->decided, charge);
    tl_bettor_init_charged(&claim->free, charge);
}

void tl_claim_bet(tl_claim *claim, double z, double n, double effect)
{
    tl_bettor_bet(&claim->decided, z - effect * n);
    tl_bettor_bet(&claim->free, z);
    const double *stakes = tl_bettor_stakes();
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        double share = n / (1 + stakes[j] * z);
        claim->slope[j] += share;
        claim->curve[j] += share * share;
        claim->reach[j] = claim->reach[j] > share ? claim->reach[j] : share;
    }
}

/* A lower bound of log K(gain). */
static double log_e_at(const tl_claim *claim, double gain)
{
    const double *stakes = tl_bettor_stakes();
    double logs[TL_BETTOR_STAKES], top = -INFINITY;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        double pull = stakes[j] * gain;
        logs[j] = fabs(pull) * claim->reach[j] > 0.5
                      ? -INFINITY /* the bound does not hold: this stake is worth nothing */
                      : tl_bettor_log_wealth(&claim->free, j) - pull * claim->slope[j] -
                            pull * pull * claim->curve[j];
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
    double best = 0;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++)
        best = fmax(best, tl_bettor_log_wealth(&claim->decided, j));
    return best / (double)disagreements;
}

void tl_claim_save(const tl_claim *claim, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "CLAI", VERSION);
    tl_bettor_save(&claim->decided, blob);
    tl_bettor_save(&claim->free, blob);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        tl_blob_f64(blob, claim->slope[j]);
        tl_blob_f64(blob, claim->curve[j]);
        tl_blob_f64(blob, claim->reach[j]);
    }
    tl_blob_section_end(blob, section);
}

static bool fine(double value)
{
    return isfinite(value) && value >= 0;
}

tl_status tl_claim_load(tl_claim *claim, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader body;
    tl_claim loaded;
    tl_status status = tl_blob_read_section(reader, "CLAI", VERSION, &body, NULL, err);
    if (status == TL_OK) status = tl_bettor_load(&loaded.decided, &body, err);
    if (status == TL_OK) status = tl_bettor_load(&loaded.free, &body, err);
    if (status != TL_OK) return status;
    bool sound = true;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
        loaded.slope[j] = tl_blob_read_f64(&body);
        loaded.curve[j] = tl_blob_read_f64(&body);
        loaded.reach[j] = tl_blob_read_f64(&body);
        sound = sound && fine(loaded.slope[j]) && fine(loaded.curve[j]) && fine(loaded.reach[j]);
    }
    status = tl_blob_read_end(&body, "claim", err);
    if (status == TL_OK && !sound)
        status = tl_fail(err, TL_ECORRUPT, "saved claim is out of range");
    if (status == TL_OK) *claim = loaded;
    return status;
}

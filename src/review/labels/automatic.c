#include "review/labels/automatic.h"

#include "stats/estimate/confidence.h"
#include "stats/estimate/needed.h"

#include <math.h>
#include <stdio.h>

enum { BINS_ALL = 2 * TL_AUTOMATIC_BINS };

static const double LOGIT_STEP = 0.25; /* from even odds up to e^8, 0.9997 */

/* ---- Policy and bins --------------------------------------------------------------------------- */

tl_automatic_policy tl_automatic_policy_default(void)
{
    return (tl_automatic_policy){
        .precision = 0.995, .confidence = 0.95, .weight = 0.3, .alarm_length = 1e5
    };
}

const char *tl_automatic_policy_check(const tl_automatic_policy *p)
{
    if (!(p->precision >= 0.5 && p->precision < 1.0))
        return "the precision of automatic labels must be 0.5 or more, below 1";
    if (!(p->confidence > 0.5 && p->confidence < 1.0))
        return "the confidence in automatic labels must be above 0.5 and below 1";
    if (!(p->weight >= 0.0 && p->weight <= 1.0))
        return "the weight of automatic labels must be 0 to 1";
    if (!(p->alarm_length >= 100.0 && p->alarm_length <= 1e15))
        return "the run length between alarms must be 100 to 1e15 audits";
    return NULL;
}

/* -1: below even odds, or not a number. */
static int bin_of(double probability)
{
    if (!(probability >= 0.5 && probability <= 1.0)) return -1;
    double logit = log(probability / fmax(1.0 - probability, 1e-9));
    return (int)fmin(logit / LOGIT_STEP, TL_AUTOMATIC_BINS - 1);
}

static double bin_low(int bin)
{
    return 1.0 / (1.0 + exp(-LOGIT_STEP * bin));
}

static void bin_init(tl_automatic_bin *bin, const tl_automatic_policy *policy)
{
    *bin = (tl_automatic_bin){ 0 };
    tl_detector_init_rate(&bin->detector, 1.0 - policy->precision);
}

void tl_automatic_restart(tl_automatic *a)
{
    for (int call = 0; call < 2; call++)
        for (int k = 0; k < TL_AUTOMATIC_BINS; k++) bin_init(&a->bin[call][k], &a->policy);
}

void tl_automatic_init(tl_automatic *a, const tl_automatic_policy *policy)
{
    TL_ASSERT(tl_automatic_policy_check(policy) == NULL);
    a->policy = *policy;
    tl_automatic_restart(a);
}

/* ---- Learning and answering -------------------------------------------------------------------- */

static bool is_proven(const tl_automatic_policy *p, const tl_automatic_bin *bin)
{
    double errors = (double)bin->errors, audits = (double)bin->audits, bound = 1.0 - p->precision;
    return errors < bound * audits &&
           tl_beta_binomial_log_e(errors, audits, bound) >= log(BINS_ALL / (1.0 - p->confidence));
}

bool tl_automatic_audit(tl_automatic *a, bool called_defect, double probability, bool same)
{
    int k = bin_of(probability);
    if (k < 0) return false;
    tl_automatic_bin *bin = &a->bin[called_defect][k];
    bin->audits++;
    bin->errors += !same;
    if (!bin->certified) {
        bin->certified = is_proven(&a->policy, bin);
        return false;
    }
    tl_detector_step(&bin->detector, same ? 0.0 : 1.0, 1.0);
    bool ends = tl_detector_value(&bin->detector) >= a->policy.alarm_length;
    if (ends) bin_init(bin, &a->policy);
    return ends;
}

uint32_t tl_automatic_call(double probability)
{
    if (!(probability >= 0.5 && probability <= 1.0)) return 0;
    return (uint32_t)fmin(log(probability / fmax(1.0 - probability, 1e-9)), TL_AUTOMATIC_CALL_MAX);
}

double tl_automatic_call_probability(uint32_t call)
{
    return 1.0 / (1.0 + exp(-((double)call + 0.5)));
}

double tl_automatic_weight(const tl_automatic *a, bool called_defect, double probability)
{
    int k = bin_of(probability);
    return k >= 0 && a->bin[called_defect][k].certified ? a->policy.weight : 0.0;
}

/* ---- Reading ----------------------------------------------------------------------------------- */

uint32_t tl_automatic_certified(const tl_automatic *a)
{
    uint32_t count = 0;
    for (int call = 0; call < 2; call++)
        for (int k = 0; k < TL_AUTOMATIC_BINS; k++) count += a->bin[call][k].certified;
    return count;
}

/* More audits without an error until the bin is certified; only bins with audits are in sight. */
static double needed_of(const tl_automatic_policy *p, const tl_automatic_bin *bin)
{
    if (bin->audits == 0) return INFINITY;
    double each = 1.0 - (1.0 - p->confidence) / BINS_ALL;
    return tl_needed_more_audits(bin->errors, bin->audits, 0.0, 1.0 - p->precision, each, true);
}

static void write_words(const tl_automatic *a, tl_automatic_reading *out)
{
    double percent = 100.0 * a->policy.precision;
    if (out->certified > 0)
        snprintf(out->words, sizeof out->words,
                 "Automatic labels in %u of %d bins, each right at least %.4g %% of the time at "
                 "%.4g %% confidence for all (%llu audits); never used as evidence.",
                 out->certified, BINS_ALL, percent, 100.0 * a->policy.confidence,
                 (unsigned long long)out->audits);
    else if (isfinite(out->needed_audits))
        snprintf(out->words, sizeof out->words,
                 "No automatic labels: the nearest bin needs about %.0f more audits without an "
                 "error to be right at least %.4g %% of the time (%llu audits).",
                 out->needed_audits, percent, (unsigned long long)out->audits);
    else
        snprintf(out->words, sizeof out->words, "No automatic labels: nothing is audited yet.");
}

void tl_automatic_read(const tl_automatic *a, tl_automatic_reading *out)
{
    *out =
        (tl_automatic_reading){ .good_above = NAN, .defect_above = NAN, .needed_audits = INFINITY };
    for (int call = 0; call < 2; call++) {
        double *above = call == 1 ? &out->defect_above : &out->good_above;
        for (int k = TL_AUTOMATIC_BINS - 1; k >= 0; k--) {
            const tl_automatic_bin *bin = &a->bin[call][k];
            out->audits += bin->audits;
            out->certified += bin->certified;
            out->certified_audits += bin->certified ? bin->audits : 0;
            out->certified_errors += bin->certified ? bin->errors : 0;
            if (bin->certified)
                *above = bin_low(k);
            else
                out->needed_audits = fmin(out->needed_audits, needed_of(&a->policy, bin));
        }
    }
    write_words(a, out);
}

/* ---- Saving ------------------------------------------------------------------------------------ */

enum { AUTOMATIC_VERSION = 1 };

void tl_automatic_save(const tl_automatic *a, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "AUTO", AUTOMATIC_VERSION);
    tl_blob_f64(blob, a->policy.precision);
    tl_blob_f64(blob, a->policy.confidence);
    tl_blob_f64(blob, a->policy.weight);
    tl_blob_f64(blob, a->policy.alarm_length);
    for (int call = 0; call < 2; call++)
        for (int k = 0; k < TL_AUTOMATIC_BINS; k++) {
            const tl_automatic_bin *bin = &a->bin[call][k];
            tl_blob_u64(blob, bin->audits);
            tl_blob_u64(blob, bin->errors);
            tl_blob_u8(blob, bin->certified);
            tl_detector_save(&bin->detector, blob);
        }
    tl_blob_section_end(blob, section);
}

static bool load_bin(tl_blob_reader *body, tl_automatic_bin *bin)
{
    bin->audits = tl_blob_read_u64(body);
    bin->errors = tl_blob_read_u64(body);
    bin->certified = tl_blob_read_u8(body) != 0;
    return bin->errors <= bin->audits && tl_detector_load(&bin->detector, body, NULL) == TL_OK;
}

static bool load_state(tl_blob_reader *body, tl_automatic *a)
{
    a->policy.precision = tl_blob_read_f64(body);
    a->policy.confidence = tl_blob_read_f64(body);
    a->policy.weight = tl_blob_read_f64(body);
    a->policy.alarm_length = tl_blob_read_f64(body);
    if (tl_automatic_policy_check(&a->policy) != NULL) return false;
    for (int call = 0; call < 2; call++)
        for (int k = 0; k < TL_AUTOMATIC_BINS; k++)
            if (!load_bin(body, &a->bin[call][k])) return false;
    return true;
}

tl_status tl_automatic_load(tl_blob_reader *reader, tl_automatic *out, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "AUTO", AUTOMATIC_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_automatic loaded;
    if (!load_state(&body, &loaded))
        return tl_fail(err, TL_ECORRUPT, "the state of automatic labels is damaged");
    status = tl_blob_read_end(&body, "automatic labels", err);
    if (status == TL_OK) *out = loaded;
    return status;
}

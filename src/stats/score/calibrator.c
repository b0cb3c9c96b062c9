#include "stats/score/calibrator.h"

#include <math.h>

enum { CALIBRATOR_VERSION = 1, BINS = TL_CALIBRATOR_BINS, ISOTONIC_DEFECTS = 1000, REFIT = 16 };
static const double LOGIT_MAX = 12.0, WEIGHT_MAX = 10.0, PSEUDO_LABELS = 10.0;
static const double A_MIN = 0.02, A_MAX = 20.0, B_MAX = 20.0, PROBABILITY_MIN = 1e-6;

static double sigmoid(double x)
{
    double e = exp(-fabs(x));
    return x >= 0.0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

static double clamp(double x, double low, double high)
{
    return fmin(fmax(x, low), high);
}

static double logit(double score)
{
    if (!(score > 0.0)) return -LOGIT_MAX; /* also what is not a number */
    if (score >= 1.0) return LOGIT_MAX;
    return clamp(log(score) - log1p(-score), -LOGIT_MAX, LOGIT_MAX);
}

/* Where in the bins, 0..BINS; bin k has its middle at k + 1/2. */
static double position(double score)
{
    return (logit(score) / LOGIT_MAX + 1.0) * (BINS / 2);
}

static double middle(int bin)
{
    return LOGIT_MAX * ((2.0 * bin + 1.0) / BINS - 1.0);
}

void tl_calibrator_init(tl_calibrator *calibrator)
{
    *calibrator = (tl_calibrator){ .a = 1.0 };
}

/* ---- Platt ----------------------------------------------------------------------------------- */

/* The loss with its gradient and curvature. */
typedef struct slope {
    double loss, by_a, by_b, aa, ab, bb;
} slope;

static slope slope_at(const tl_calibrator *c, double a, double b, double pseudo_share)
{
    slope s = { 0 };
    for (int k = 0; k < BINS; k++) {
        if (c->weight[k] <= 0.0) continue;
        double x = middle(k), z = a * x + b, p = sigmoid(z);
        double pseudo = pseudo_share * c->weight[k], weight = c->weight[k] + pseudo;
        double hits = c->defect_weight[k] + pseudo * sigmoid(x);
        double gradient = weight * p - hits, curvature = weight * p * (1.0 - p);
        s.loss += weight * (fmax(z, 0.0) + log1p(exp(-fabs(z)))) - hits * z;
        s.by_a += gradient * x;
        s.by_b += gradient;
        s.aa += curvature * x * x;
        s.ab += curvature * x;
        s.bb += curvature;
    }
    return s;
}

/* The loss is convex: Newton's steps, halved while they do not help. */
static void fit_platt(tl_calibrator *c, double pseudo_share)
{
    double a = 1.0, b = 0.0;
    slope s = slope_at(c, a, b, pseudo_share);
    for (int i = 0; i < 30; i++) {
        double ridge = 1e-9 * (s.aa + s.bb) + 1e-12;
        double aa = s.aa + ridge, bb = s.bb + ridge, det = aa * bb - s.ab * s.ab;
        double step_a = (bb * s.by_a - s.ab * s.by_b) / det;
        double step_b = (aa * s.by_b - s.ab * s.by_a) / det;
        double size = 1.0, before = s.loss, next_a = a, next_b = b;
        for (int halvings = 0; halvings < 30; halvings++, size *= 0.5) {
            next_a = clamp(a - size * step_a, A_MIN, A_MAX);
            next_b = clamp(b - size * step_b, -B_MAX, B_MAX);
            s = slope_at(c, next_a, next_b, pseudo_share);
            if (s.loss <= before) break;
        }
        bool still = fabs(next_a - a) + fabs(next_b - b) < 1e-9;
        a = next_a;
        b = next_b;
        if (still) break;
    }
    c->a = a;
    c->b = b;
}

/* ---- Isotonic regression --------------------------------------------------------------------- */

typedef struct pool {
    double weight, hits;
    int first, last; /* bins */
} pool;

static double share_of(const pool *p)
{
    return p->hits / p->weight;
}

/* Neighbours that fall are pooled until none does. Returns the number of pools. */
static int make_pools(const tl_calibrator *c, double pseudo_share, pool *pools)
{
    int count = 0;
    for (int k = 0; k < BINS; k++) {
        if (c->weight[k] <= 0.0) continue;
        double pseudo = pseudo_share * c->weight[k];
        double hits = c->defect_weight[k] + pseudo * sigmoid(c->a * middle(k) + c->b);
        pool next = { c->weight[k] + pseudo, hits, k, k };
        while (count > 0 && share_of(&pools[count - 1]) >= share_of(&next)) {
            next.weight += pools[count - 1].weight;
            next.hits += pools[count - 1].hits;
            next.first = pools[--count].first;
        }
        pools[count++] = next;
    }
    return count;
}

/* Each pool's value over its bins, straight lines between pools. */
static void fit_isotonic(tl_calibrator *c, double pseudo_share)
{
    pool pools[BINS];
    int count = make_pools(c, pseudo_share, pools), end = -1;
    double value = share_of(&pools[0]);
    for (int i = 0; i < count; i++) {
        double next = share_of(&pools[i]);
        for (int k = end + 1; k < pools[i].first; k++)
            c->curve[k] = value + (next - value) * (k - end) / (pools[i].first - end);
        for (int k = pools[i].first; k <= pools[i].last; k++) c->curve[k] = next;
        end = pools[i].last;
        value = next;
    }
    for (int k = end + 1; k < BINS; k++) c->curve[k] = value;
}

static void fit(tl_calibrator *c)
{
    double total = 0.0;
    for (int k = 0; k < BINS; k++) total += c->weight[k];
    c->fitted_at = c->labels;
    if (total <= 0.0) return;
    double pseudo_share = PSEUDO_LABELS / total;
    fit_platt(c, pseudo_share);
    c->isotonic = c->defects >= ISOTONIC_DEFECTS;
    if (c->isotonic) fit_isotonic(c, pseudo_share);
}

/* ---- State ----------------------------------------------------------------------------------- */

void tl_calibrator_add(tl_calibrator *calibrator, double score, bool defect, double propensity)
{
    if (!(propensity > 0.0 && propensity <= 1.0)) return;
    double weight = fmin(1.0 / propensity, WEIGHT_MAX);
    int bin = (int)fmin(position(score), BINS - 1.0);
    calibrator->labels++;
    calibrator->defects += defect;
    calibrator->weight[bin] += weight;
    if (defect) calibrator->defect_weight[bin] += weight;
    if (calibrator->labels > calibrator->fitted_at + calibrator->fitted_at / REFIT) fit(calibrator);
}

double tl_calibrator_read(const tl_calibrator *calibrator, double score)
{
    double p;
    if (calibrator->isotonic) {
        double at = clamp(position(score) - 0.5, 0.0, BINS - 1.0);
        int bin = (int)fmin(at, BINS - 2.0);
        double low = calibrator->curve[bin], high = calibrator->curve[bin + 1];
        p = low + (high - low) * (at - bin);
    } else {
        p = sigmoid(calibrator->a * logit(score) + calibrator->b);
    }
    return clamp(p, PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
}

void tl_calibrator_halve(tl_calibrator *calibrator)
{
    for (int k = 0; k < BINS; k++) {
        calibrator->weight[k] *= 0.5;
        calibrator->defect_weight[k] *= 0.5;
    }
}

void tl_calibrator_merge(tl_calibrator *calibrator, const tl_calibrator *other)
{
    calibrator->labels += other->labels;
    calibrator->defects += other->defects;
    for (int k = 0; k < BINS; k++) {
        calibrator->weight[k] += other->weight[k];
        calibrator->defect_weight[k] += other->defect_weight[k];
    }
    fit(calibrator);
}

/* The curves are older than the bins by up to a sixteenth of the labels; they are kept too, so that
 * a state goes on as it stood. */
void tl_calibrator_save(const tl_calibrator *calibrator, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "CALI", CALIBRATOR_VERSION);
    tl_blob_u64(blob, calibrator->labels);
    tl_blob_u64(blob, calibrator->defects);
    tl_blob_u64(blob, calibrator->fitted_at);
    tl_blob_f64(blob, calibrator->a);
    tl_blob_f64(blob, calibrator->b);
    tl_blob_u8(blob, calibrator->isotonic);
    for (int k = 0; k < BINS; k++) {
        tl_blob_f64(blob, calibrator->weight[k]);
        tl_blob_f64(blob, calibrator->defect_weight[k]);
        tl_blob_f64(blob, calibrator->curve[k]);
    }
    tl_blob_section_end(blob, section);
}

static bool sound(const tl_calibrator *c)
{
    bool fine = c->defects <= c->labels && c->fitted_at <= c->labels && c->a >= A_MIN &&
                c->a <= A_MAX && fabs(c->b) <= B_MAX;
    double most = WEIGHT_MAX * (double)c->labels * (1.0 + 1e-9), before = 0.0;
    for (int k = 0; k < BINS; k++) {
        fine = fine && c->weight[k] <= most && c->defect_weight[k] >= 0.0 &&
               c->defect_weight[k] <= c->weight[k];
        fine = fine && c->curve[k] >= before - 1e-12 && c->curve[k] <= 1.0 + 1e-9;
        before = c->curve[k];
    }
    return fine;
}

tl_status tl_calibrator_load(tl_blob_reader *reader, tl_calibrator *out, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "CALI", CALIBRATOR_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_calibrator read = { .labels = tl_blob_read_u64(&body) };
    read.defects = tl_blob_read_u64(&body);
    read.fitted_at = tl_blob_read_u64(&body);
    read.a = tl_blob_read_f64(&body);
    read.b = tl_blob_read_f64(&body);
    read.isotonic = tl_blob_read_u8(&body) != 0;
    for (int k = 0; k < BINS; k++) {
        read.weight[k] = tl_blob_read_f64(&body);
        read.defect_weight[k] = tl_blob_read_f64(&body);
        read.curve[k] = tl_blob_read_f64(&body);
    }
    status = tl_blob_read_end(&body, "calibration", err);
    if (status != TL_OK) return status;
    if (!sound(&read))
        return tl_fail(err, TL_ECORRUPT, "saved calibration holds numbers that no labels give");
    *out = read;
    return TL_OK;
}

#include "learn/fast/mixture.h"

#include <math.h>

enum { MIXTURE_VERSION = 1 };
static const double LOG_MIN = -27.6310211159285; /* ln 1e-12: the least that a head may say */
static const double A_MIN = 0.02, A_MAX = 4.0, B_MAX = 6.0;
static const double STEP_A_MAX = 0.25, STEP_B_MAX = 1.0;
static const double SURPRISE = 0.05;

tl_mixture_options tl_mixture_options_default(uint32_t head_count)
{
    return (tl_mixture_options){ .head_count = head_count,
                                 .share = 1.0 / 500.0,
                                 .eta = 0.5,
                                 .loss_max = 6.0,
                                 .memory = 500.0,
                                 .pseudo_count = 20.0 };
}

static tl_status check_options(const tl_mixture_options *options, tl_error *err)
{
    if (options->head_count < 1 || options->head_count > TL_MIXTURE_HEAD_MAX)
        return tl_fail(err, TL_EINVAL, "%u heads; use 1 to %d", options->head_count,
                       TL_MIXTURE_HEAD_MAX);
    bool sane = options->share >= 0.0 && options->share < 1.0 && options->eta > 0.0 &&
                options->eta <= 1.0 && options->loss_max > 0.0 && isfinite(options->loss_max) &&
                options->memory >= 1.0 && isfinite(options->memory) &&
                options->pseudo_count > 0.0 && isfinite(options->pseudo_count);
    for (uint32_t h = 0; h < options->head_count; h++)
        sane = sane && options->initial[h] >= 0.0 && isfinite(options->initial[h]);
    if (!sane) return tl_fail(err, TL_EINVAL, "an option of the mixture is out of bounds");
    return TL_OK;
}

tl_status tl_mixture_init(tl_mixture *mixture, const tl_mixture_options *options, tl_error *err)
{
    tl_status status = check_options(options, err);
    if (status != TL_OK) return status;
    double sum = 0.0;
    for (uint32_t h = 0; h < options->head_count; h++) sum += options->initial[h];
    *mixture = (tl_mixture){ .options = *options };
    for (uint32_t h = 0; h < options->head_count; h++) {
        mixture->weight[h] = sum > 0.0 ? options->initial[h] / sum : 1.0 / options->head_count;
        mixture->calibration[h].a = 1.0;
    }
    return TL_OK;
}

/* ln of the scores, floored; a score that is not a number counts as the floor. */
static void take_logs(const float *scores, uint32_t class_count, double *logs)
{
    for (uint32_t c = 0; c < class_count; c++)
        logs[c] = scores[c] > 1e-12f ? log((double)scores[c]) : LOG_MIN;
}

static void calibrate(const struct tl_calibration *calibration, const double *logs,
                      uint32_t class_count, double *out)
{
    double max = -INFINITY, sum = 0.0;
    for (uint32_t c = 0; c < class_count; c++) {
        out[c] = calibration->a * logs[c] + (c == 0 ? calibration->b : 0.0);
        if (out[c] > max) max = out[c];
    }
    for (uint32_t c = 0; c < class_count; c++) sum += out[c] = exp(out[c] - max);
    for (uint32_t c = 0; c < class_count; c++) out[c] /= sum;
}

void tl_mixture_combine(const tl_mixture *mixture, const float *head_scores, uint32_t class_count,
                        float *out)
{
    TL_ASSERT(class_count >= 1 && class_count <= TL_CLASS_COUNT_MAX);
    double blend[TL_CLASS_COUNT_MAX] = { 0 };
    for (uint32_t h = 0; h < mixture->options.head_count; h++) {
        double logs[TL_CLASS_COUNT_MAX], scores[TL_CLASS_COUNT_MAX];
        take_logs(head_scores + h * class_count, class_count, logs);
        calibrate(&mixture->calibration[h], logs, class_count, scores);
        for (uint32_t c = 0; c < class_count; c++) blend[c] += mixture->weight[h] * scores[c];
    }
    double sum = 0.0;
    for (uint32_t c = 0; c < class_count; c++) sum += blend[c];
    for (uint32_t c = 0; c < class_count; c++) out[c] = (float)(blend[c] / sum);
}

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

/* One Newton step of the decayed log loss plus a quadratic belief in a = 1, b = 0. The curvature is
 * Fisher's, which vanishes where a head is sure of itself, plus a little of the gradient's square,
 * so that many surprises do not each throw the calibration as far as the first one; a larger part
 * of it would hold back the way down from gross overconfidence. */
static void learn_calibration(struct tl_calibration *calibration, const tl_mixture_options *options,
                              const double *logs, const double *scores, uint32_t class_count,
                              uint32_t label)
{
    double mean = 0.0, square = 0.0;
    for (uint32_t c = 0; c < class_count; c++) {
        mean += scores[c] * logs[c];
        square += scores[c] * logs[c] * logs[c];
    }
    double ga = mean - logs[label], gb = scores[0] - (label == 0 ? 1.0 : 0.0);
    double keep = 1.0 - 1.0 / options->memory;
    double *h = calibration->curvature;
    h[0] = keep * h[0] + fmax(square - mean * mean, 0.0) + SURPRISE * ga * ga;
    h[1] = keep * h[1] + scores[0] * (logs[0] - mean) + SURPRISE * ga * gb;
    h[2] = keep * h[2] + scores[0] * (1.0 - scores[0]) + SURPRISE * gb * gb;

    double belief_a = options->pseudo_count, belief_b = 0.25 * options->pseudo_count;
    ga += (1.0 - keep) * belief_a * (calibration->a - 1.0);
    gb += (1.0 - keep) * belief_b * calibration->b;
    double haa = h[0] + belief_a, hab = h[1], hbb = h[2] + belief_b;
    double determinant = haa * hbb - hab * hab; /* positive: the belief is added to a PSD matrix */
    double step_a = (hbb * ga - hab * gb) / determinant;
    double step_b = (haa * gb - hab * ga) / determinant;
    calibration->a = clamp(calibration->a - clamp(step_a, -STEP_A_MAX, STEP_A_MAX), A_MIN, A_MAX);
    calibration->b = clamp(calibration->b - clamp(step_b, -STEP_B_MAX, STEP_B_MAX), -B_MAX, B_MAX);
}

void tl_mixture_learn(tl_mixture *mixture, const float *head_scores, uint32_t class_count,
                      uint32_t label)
{
    TL_ASSERT(class_count >= 1 && class_count <= TL_CLASS_COUNT_MAX);
    TL_ASSERT(label < class_count);
    const tl_mixture_options *options = &mixture->options;
    double keep = 1.0 - 1.0 / fmin((double)mixture->labels + 1.0, options->memory), sum = 0.0;
    for (uint32_t h = 0; h < options->head_count; h++) {
        double logs[TL_CLASS_COUNT_MAX], scores[TL_CLASS_COUNT_MAX];
        take_logs(head_scores + h * class_count, class_count, logs);
        calibrate(&mixture->calibration[h], logs, class_count, scores);
        double loss = fmin(-log(fmax(scores[label], 1e-300)), options->loss_max);
        mixture->loss[h] = keep * mixture->loss[h] + (1.0 - keep) * loss;
        sum += mixture->weight[h] *= exp(-options->eta * loss);
        learn_calibration(&mixture->calibration[h], options, logs, scores, class_count, label);
    }
    for (uint32_t h = 0; h < options->head_count; h++)
        mixture->weight[h] = (1.0 - options->share) * mixture->weight[h] / sum +
                             options->share / options->head_count;
    mixture->labels++;
}

tl_status tl_mixture_save(const tl_mixture *mixture, tl_blob *blob, tl_error *err)
{
    const tl_mixture_options *o = &mixture->options;
    size_t begin = tl_blob_section_begin(blob, "MIXT", MIXTURE_VERSION);
    tl_blob_u32(blob, o->head_count);
    const double options[] = { o->share, o->eta, o->loss_max, o->memory, o->pseudo_count };
    for (size_t i = 0; i < TL_COUNT_OF(options); i++) tl_blob_f64(blob, options[i]);
    tl_blob_u64(blob, mixture->labels);
    for (uint32_t h = 0; h < o->head_count; h++) {
        const struct tl_calibration *k = &mixture->calibration[h];
        const double numbers[] = {
            o->initial[h], mixture->weight[h], mixture->loss[h], k->a,
            k->b,          k->curvature[0],    k->curvature[1],  k->curvature[2]
        };
        for (size_t i = 0; i < TL_COUNT_OF(numbers); i++) tl_blob_f64(blob, numbers[i]);
    }
    tl_blob_section_end(blob, begin);
    if (!tl_blob_ok(blob)) return tl_fail(err, TL_ENOMEM, "saving the mixture");
    return TL_OK;
}

static bool read_heads(tl_blob_reader *body, tl_mixture *mixture)
{
    bool sane = true;
    double sum = 0.0;
    for (uint32_t h = 0; h < mixture->options.head_count && h < TL_MIXTURE_HEAD_MAX; h++) {
        struct tl_calibration *k = &mixture->calibration[h];
        double *numbers[] = { &mixture->options.initial[h],
                              &mixture->weight[h],
                              &mixture->loss[h],
                              &k->a,
                              &k->b,
                              &k->curvature[0],
                              &k->curvature[1],
                              &k->curvature[2] };
        for (size_t i = 0; i < TL_COUNT_OF(numbers); i++) {
            *numbers[i] = tl_blob_read_f64(body);
            sane = sane && isfinite(*numbers[i]);
        }
        sane = sane && mixture->weight[h] >= 0.0 && k->a >= A_MIN && k->a <= A_MAX &&
               fabs(k->b) <= B_MAX && k->curvature[0] >= 0.0 && k->curvature[2] >= 0.0;
        sum += mixture->weight[h];
    }
    return sane && fabs(sum - 1.0) < 1e-6;
}

tl_status tl_mixture_load(tl_blob_reader *reader, tl_mixture *out, tl_error *err)
{
    tl_blob_reader at = *reader, body;
    tl_status status = tl_blob_read_section(&at, "MIXT", MIXTURE_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_mixture mixture = { .options = { .head_count = tl_blob_read_u32(&body) } };
    tl_mixture_options *o = &mixture.options;
    double *options[] = { &o->share, &o->eta, &o->loss_max, &o->memory, &o->pseudo_count };
    for (size_t i = 0; i < TL_COUNT_OF(options); i++) *options[i] = tl_blob_read_f64(&body);
    mixture.labels = tl_blob_read_u64(&body);
    bool sane = read_heads(&body, &mixture) && check_options(o, NULL) == TL_OK;
    status = tl_blob_read_end(&body, "mixture", err);
    if (status != TL_OK) return status;
    if (!sane) return tl_fail(err, TL_ECORRUPT, "a saved mixture holds impossible numbers");
    *out = mixture;
    *reader = at;
    return TL_OK;
}

#include "learn/fast/threshold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { THRESHOLD_VERSION = 1, WINDOW_MAX = 100000 };

struct tl_threshold {
    tl_threshold_options options;
    tl_threshold_entry *ring; /* [window], oldest first from `begin` */
    tl_threshold_entry *sorted;
    uint32_t begin, count;
    bool fresh; /* `value` is that of the ring */
    float value;
};

tl_threshold_options tl_threshold_options_default(void)
{
    return (tl_threshold_options){ .window = 1000,
                                   .target_precision = 0.994,
                                   .recall_min = 0.97,
                                   .low = 0.5f,
                                   .high = 0.9f,
                                   .early = 0.9f,
                                   .labels_min = 300,
                                   .defects_min = 20 };
}

tl_status tl_threshold_create(const tl_threshold_options *options, tl_threshold **out,
                              tl_error *err)
{
    if (options->window < 1 || options->window > WINDOW_MAX)
        return tl_fail(err, TL_EINVAL, "threshold window %u; use 1 to %d", options->window,
                       WINDOW_MAX);
    if (!(options->target_precision >= 0.0 && options->target_precision <= 1.0 &&
          options->recall_min >= 0.0 && options->recall_min <= 1.0 && options->low >= 0.0f &&
          options->low <= options->high && options->high <= 1.0f && options->early >= 0.0f &&
          options->early <= 1.0f))
        return tl_fail(err, TL_EINVAL, "an option of the threshold is not a share");
    tl_threshold *threshold = calloc(1, sizeof *threshold);
    if (threshold == NULL) return tl_fail(err, TL_ENOMEM, "threshold");
    threshold->options = *options;
    threshold->ring = calloc(options->window, sizeof *threshold->ring);
    threshold->sorted = calloc(options->window, sizeof *threshold->sorted);
    if (threshold->ring == NULL || threshold->sorted == NULL) {
        tl_threshold_destroy(&threshold);
        return tl_fail(err, TL_ENOMEM, "threshold window of %u items", options->window);
    }
    *out = threshold;
    return TL_OK;
}

void tl_threshold_destroy(tl_threshold **threshold)
{
    if (threshold == NULL || *threshold == NULL) return;
    free((*threshold)->ring);
    free((*threshold)->sorted);
    free(*threshold);
    *threshold = NULL;
}

static tl_threshold_entry *ring_at(const tl_threshold *threshold, uint32_t index)
{
    return &threshold->ring[(threshold->begin + index) % threshold->options.window];
}

void tl_threshold_set_target(tl_threshold *threshold, double target_precision)
{
    TL_ASSERT(target_precision >= 0.0 && target_precision <= 1.0);
    threshold->options.target_precision = target_precision;
    threshold->fresh = false;
}

void tl_threshold_learn(tl_threshold *threshold, const tl_threshold_entry *entry)
{
    threshold->fresh = false;
    if (threshold->count == threshold->options.window) {
        threshold->begin = (threshold->begin + 1) % threshold->options.window;
        threshold->count--;
    }
    *ring_at(threshold, threshold->count++) = *entry;
}

void tl_threshold_forget(tl_threshold *threshold, uint64_t key)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < threshold->count; i++) {
        tl_threshold_entry entry = *ring_at(threshold, i);
        if (entry.key != key) *ring_at(threshold, kept++) = entry;
    }
    threshold->fresh = threshold->fresh && kept == threshold->count;
    threshold->count = kept;
}

/* Highest score first; defects first among equals, so that the order is the same everywhere. */
static int by_score(const void *a, const void *b)
{
    const tl_threshold_entry *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (int)y->defect - (int)x->defect;
}

/* The lowest threshold at which the precision of `sorted` would have reached the target, one more
 * false alarm counted in: just above
 * the highest score left out. Without any such threshold: above all scores. */
static float precise(const tl_threshold_entry *sorted, uint32_t count, double target)
{
    float lowest = count > 0 ? nextafterf(sorted[0].score, INFINITY) : 0.0f;
    uint32_t defects = 0;
    for (uint32_t i = 0; i < count; i++) {
        defects += sorted[i].defect;
        bool last_of_equals = i + 1 == count || sorted[i + 1].score < sorted[i].score;
        if (!last_of_equals || (double)defects < target * (double)(i + 2)) continue;
        lowest = i + 1 == count ? 0.0f : nextafterf(sorted[i + 1].score, INFINITY);
    }
    return lowest;
}

/* The highest threshold at which enough of the defects would still have been flagged. */
static float sensitive(const tl_threshold_entry *sorted, uint32_t count, uint32_t defects,
                       double recall_min)
{
    uint32_t wanted = (uint32_t)ceil(recall_min * (double)defects), seen = 0;
    for (uint32_t i = 0; i < count; i++) {
        seen += sorted[i].defect;
        if (seen >= wanted) return sorted[i].score;
    }
    return 0.0f;
}

float tl_threshold_value(tl_threshold *threshold)
{
    if (threshold->fresh) return threshold->value;
    const tl_threshold_options *options = &threshold->options;
    uint32_t defects = 0;
    for (uint32_t i = 0; i < threshold->count; i++) {
        threshold->sorted[i] = *ring_at(threshold, i);
        defects += threshold->sorted[i].defect;
    }
    float value = options->early;
    if (threshold->count >= options->labels_min && defects >= options->defects_min) {
        qsort(threshold->sorted, threshold->count, sizeof *threshold->sorted, by_score);
        value = fminf(precise(threshold->sorted, threshold->count, options->target_precision),
                      sensitive(threshold->sorted, threshold->count, defects, options->recall_min));
        value = fminf(fmaxf(value, options->low), options->high);
    }
    threshold->value = value;
    threshold->fresh = true;
    return value;
}

void tl_threshold_counts(const tl_threshold *threshold, tl_window_counts *out)
{
    tl_window_counts counts = { .items = threshold->count };
    double loss = 0.0;
    for (uint32_t i = 0; i < threshold->count; i++) {
        const tl_threshold_entry *entry = ring_at(threshold, i);
        counts.defects += entry->defect;
        counts.flagged += entry->flagged;
        counts.flagged_defects += entry->flagged && entry->defect;
        counts.correct += entry->correct;
        loss += (double)entry->loss;
    }
    if (counts.items > 0) counts.loss_mean = loss / (double)counts.items;
    *out = counts;
}

tl_status tl_threshold_save(const tl_threshold *threshold, tl_blob *blob, tl_error *err)
{
    const tl_threshold_options *o = &threshold->options;
    size_t begin = tl_blob_section_begin(blob, "THRE", THRESHOLD_VERSION);
    const uint32_t numbers[] = { o->window, o->labels_min, o->defects_min, threshold->count };
    for (size_t i = 0; i < TL_COUNT_OF(numbers); i++) tl_blob_u32(blob, numbers[i]);
    tl_blob_f64(blob, o->target_precision);
    tl_blob_f64(blob, o->recall_min);
    tl_blob_f32s(blob, &o->low, 1);
    tl_blob_f32s(blob, &o->high, 1);
    tl_blob_f32s(blob, &o->early, 1);
    for (uint32_t i = 0; i < threshold->count; i++) {
        const tl_threshold_entry *entry = ring_at(threshold, i);
        tl_blob_u64(blob, entry->key);
        tl_blob_f32s(blob, &entry->score, 1);
        tl_blob_f32s(blob, &entry->loss, 1);
        tl_blob_u8(blob, (uint8_t)((entry->defect != 0) | (entry->flagged != 0) << 1 |
                                   (entry->correct != 0) << 2));
    }
    tl_blob_section_end(blob, begin);
    if (!tl_blob_ok(blob)) return tl_fail(err, TL_ENOMEM, "saving the threshold");
    return TL_OK;
}

/* False when a number cannot be. */
static bool read_entry(tl_blob_reader *body, tl_threshold_entry *entry)
{
    *entry = (tl_threshold_entry){ .key = tl_blob_read_u64(body) };
    tl_blob_read_f32s(body, &entry->score, 1);
    tl_blob_read_f32s(body, &entry->loss, 1);
    uint8_t bits = tl_blob_read_u8(body);
    entry->defect = bits & 1;
    entry->flagged = bits >> 1 & 1;
    entry->correct = bits >> 2 & 1;
    return bits < 8 && entry->score >= 0.0f && entry->score <= 1.0f && !isnan(entry->loss);
}

static tl_status read_threshold(tl_blob_reader *body, tl_threshold **out, tl_error *err)
{
    tl_threshold_options options = { .window = tl_blob_read_u32(body) };
    options.labels_min = tl_blob_read_u32(body);
    options.defects_min = tl_blob_read_u32(body);
    uint32_t count = tl_blob_read_u32(body);
    options.target_precision = tl_blob_read_f64(body);
    options.recall_min = tl_blob_read_f64(body);
    tl_blob_read_f32s(body, &options.low, 1);
    tl_blob_read_f32s(body, &options.high, 1);
    tl_blob_read_f32s(body, &options.early, 1);
    if (body->failed || count > options.window)
        return tl_fail(err, TL_ECORRUPT, "a saved threshold has impossible sizes");
    tl_threshold *threshold = NULL;
    tl_status status = tl_threshold_create(&options, &threshold, err);
    if (status != TL_OK) return status == TL_EINVAL ? TL_ECORRUPT : status;
    bool sane = true;
    for (uint32_t i = 0; i < count; i++) {
        tl_threshold_entry entry;
        sane = read_entry(body, &entry) && sane;
        tl_threshold_learn(threshold, &entry);
    }
    status = tl_blob_read_end(body, "threshold", err);
    if (status == TL_OK && !sane)
        status = tl_fail(err, TL_ECORRUPT, "a saved threshold holds impossible numbers");
    if (status != TL_OK) {
        tl_threshold_destroy(&threshold);
        return status;
    }
    *out = threshold;
    return TL_OK;
}

tl_status tl_threshold_load(tl_blob_reader *reader, tl_threshold **out, tl_error *err)
{
    tl_blob_reader at = *reader, body;
    tl_status status = tl_blob_read_section(&at, "THRE", THRESHOLD_VERSION, &body, NULL, err);
    if (status == TL_OK) status = read_threshold(&body, out, err);
    if (status == TL_OK) *reader = at;
    return status;
}

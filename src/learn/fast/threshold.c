#include "learn/fast/threshold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { THRESHOLD_VERSION = 2, WINDOW_MAX = 100000 };

/* What the rule sees of an entry. */
typedef struct ranked {
    float score;
    uint32_t defect;
} ranked;

struct tl_threshold {
    tl_threshold_options options;
    tl_threshold_entry *ring; /* [window], oldest first from `begin` */
    ranked *sorted;           /* [count], if `in_order`: then a change moves a few bytes */
    uint32_t begin, count;
    tl_window_counts counts;
    bool in_order;
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

/* ---- The window in order --------------------------------------------------------------------- */

/* A score that is no number, of a damaged journal, is below all others. */
static ranked rank_of(const tl_threshold_entry *entry)
{
    return (ranked){ isnan(entry->score) ? -INFINITY : entry->score, entry->defect };
}

/* Highest score first; defects first among equals, so that the order is the same everywhere. */
static int by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (int)y->defect - (int)x->defect;
}

static void put_in_order(tl_threshold *threshold)
{
    if (threshold->in_order) return;
    for (uint32_t i = 0; i < threshold->count; i++)
        threshold->sorted[i] = rank_of(ring_at(threshold, i));
    qsort(threshold->sorted, threshold->count, sizeof *threshold->sorted, by_score);
    threshold->in_order = true;
}

/* Where it is among the first `count`, or would be. */
static uint32_t find_rank(const tl_threshold *threshold, uint32_t count, const ranked *rank)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (by_score(&threshold->sorted[middle], rank) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void count_entry(tl_window_counts *counts, const tl_threshold_entry *entry, int sign)
{
    uint64_t one = (uint64_t)sign; /* 1, or what takes 1 away */
    if (entry->defect) counts->defects += one;
    if (entry->flagged) counts->flagged += one;
    if (entry->flagged && entry->defect) counts->flagged_defects += one;
    if (entry->correct) counts->correct += one;
    counts->items += one;
}

static void drop_oldest(tl_threshold *threshold)
{
    const tl_threshold_entry *oldest = ring_at(threshold, 0);
    count_entry(&threshold->counts, oldest, -1);
    if (threshold->in_order) {
        ranked rank = rank_of(oldest);
        ranked *at = &threshold->sorted[find_rank(threshold, threshold->count, &rank)];
        size_t behind = (size_t)(threshold->sorted + threshold->count - (at + 1));
        memmove(at, at + 1, behind * sizeof *at);
    }
    threshold->begin = (threshold->begin + 1) % threshold->options.window;
    threshold->count--;
}

void tl_threshold_learn(tl_threshold *threshold, const tl_threshold_entry *entry)
{
    threshold->fresh = false;
    if (threshold->count == threshold->options.window) drop_oldest(threshold);
    if (threshold->in_order) {
        ranked rank = rank_of(entry);
        uint32_t place = find_rank(threshold, threshold->count, &rank);
        ranked *at = &threshold->sorted[place];
        memmove(at + 1, at, (threshold->count - place) * sizeof *at);
        *at = rank;
    }
    *ring_at(threshold, threshold->count++) = *entry;
    count_entry(&threshold->counts, entry, 1);
}

void tl_threshold_forget(tl_threshold *threshold, uint64_t key)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < threshold->count; i++) {
        tl_threshold_entry entry = *ring_at(threshold, i);
        if (entry.key == key)
            count_entry(&threshold->counts, &entry, -1);
        else
            *ring_at(threshold, kept++) = entry;
    }
    if (kept == threshold->count) return;
    threshold->fresh = threshold->in_order = false;
    threshold->count = kept;
}

/* ---- The rule -------------------------------------------------------------------------------- */

/* The lowest threshold at which the precision of `sorted` would have reached the target, one more
 * false alarm counted in: just above
 * the highest score left out. Without any such threshold: above all scores. */
static float precise(const ranked *sorted, uint32_t count, double target)
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
static float sensitive(const ranked *sorted, uint32_t count, uint32_t defects, double recall_min)
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
    uint32_t count = threshold->count, defects = (uint32_t)threshold->counts.defects;
    float value = options->early;
    if (count >= options->labels_min && defects >= options->defects_min) {
        put_in_order(threshold);
        value = fminf(precise(threshold->sorted, count, options->target_precision),
                      sensitive(threshold->sorted, count, defects, options->recall_min));
        value = fminf(fmaxf(value, options->low), options->high);
    }
    threshold->value = value;
    threshold->fresh = true;
    return value;
}

void tl_threshold_counts(const tl_threshold *threshold, tl_window_counts *out)
{
    *out = threshold->counts;
}

/* ---- Saving ---------------------------------------------------------------------------------- */

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
    uint8_t bits = tl_blob_read_u8(body);
    entry->defect = bits & 1;
    entry->flagged = bits >> 1 & 1;
    entry->correct = bits >> 2 & 1;
    return bits < 8 && entry->score >= 0.0f && entry->score <= 1.0f;
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

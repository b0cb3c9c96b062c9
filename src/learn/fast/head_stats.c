#include "learn/fast/head_stats.h"

#include "base/rng.h"
#include "learn/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STATS_VERSION = 2 }; /* 1 had no sketch */
static const double ONE = 1 << TL_HEAD_FRACTION_BITS;

static size_t gram_count(size_t d)
{
    return d * (d + 1) / 2;
}

static tl_status check_options(const tl_head_stats_options *options, tl_error *err)
{
    if (options->feature_count < 1 || options->feature_count > TL_FEATURE_COUNT_MAX)
        return tl_fail(err, TL_EINVAL, "feature count %u; use 1 to %d", options->feature_count,
                       TL_FEATURE_COUNT_MAX);
    if (options->class_count < 1 || options->class_count > TL_CLASS_COUNT_MAX)
        return tl_fail(err, TL_EINVAL, "class count %u; use 1 to %d", options->class_count,
                       TL_CLASS_COUNT_MAX);
    if (options->form != TL_HEAD_RAW && options->form != TL_HEAD_UNIT)
        return tl_fail(err, TL_EINVAL, "unknown form of features");
    if (options->form == TL_HEAD_RAW && !(options->range > 0 && isfinite(options->range)))
        return tl_fail(err, TL_EINVAL, "the range of features must be above 0");
    if (options->input_count != 0 && options->input_count != options->feature_count &&
        (options->form != TL_HEAD_UNIT || options->input_count < options->feature_count ||
         options->input_count > TL_FEATURE_COUNT_MAX))
        return tl_fail(err, TL_EINVAL, "%u features cannot be made of %u numbers",
                       options->feature_count, options->input_count);
    return TL_OK;
}

tl_status tl_head_stats_create(const tl_head_stats_options *options, tl_head_stats **out,
                               tl_error *err)
{
    tl_status status = check_options(options, err);
    if (status != TL_OK) return status;
    size_t d = options->feature_count;
    tl_head_stats *stats = calloc(1, sizeof *stats);
    if (stats == NULL) return tl_fail(err, TL_ENOMEM, "statistics of a head");
    stats->options = *options;
    if (options->form == TL_HEAD_UNIT) stats->options.range = 1.0f;
    if (options->input_count == 0) stats->options.input_count = options->feature_count;
    stats->sketch = calloc(d, sizeof *stats->sketch);
    stats->sum = calloc(options->class_count * d, sizeof *stats->sum);
    stats->gram = calloc(gram_count(d), sizeof *stats->gram);
    stats->quantised = calloc(d, sizeof *stats->quantised);
    if (stats->sum == NULL || stats->gram == NULL || stats->quantised == NULL ||
        stats->sketch == NULL) {
        tl_head_stats_destroy(&stats);
        return tl_fail(err, TL_ENOMEM, "statistics of a head over %zu features", d);
    }
    *out = stats;
    return TL_OK;
}

void tl_head_stats_destroy(tl_head_stats **stats)
{
    if (stats == NULL || *stats == NULL) return;
    free((*stats)->sum);
    free((*stats)->gram);
    free((*stats)->quantised);
    free((*stats)->sketch);
    free(*stats);
    *stats = NULL;
}

const float *tl_head_sketch(const float *x, size_t from, size_t to, float *out)
{
    if (from == to) return x;
    memset(out, 0, to * sizeof *out);
    for (size_t i = 0; i < from; i++) {
        if (!isfinite(x[i])) continue;
        uint64_t bits = tl_mix64(i + 1);
        for (int way = 0; way < TL_HEAD_SKETCH_WAYS; way++, bits >>= 16) {
            float *at = &out[(bits & 0x7fff) % to];
            *at += (bits & 0x8000) != 0 ? -x[i] : x[i];
        }
    }
    return out;
}

/* One accumulator and no reordering: every machine gets the same length. */
double tl_head_scale(tl_head_form form, float range, const float *x, size_t d)
{
    if (form == TL_HEAD_RAW) return 1.0 / (double)range;
    double squares = 0.0;
    for (size_t i = 0; i < d; i++) {
        double value = x[i];
        if (isfinite(value)) squares += value * value;
    }
    return squares > 1e-30 ? 1.0 / sqrt(squares) : 0.0;
}

double tl_head_clamp(double value, bool *clamped)
{
    if (value >= -1.0 && value <= 1.0) return value;
    *clamped = true;
    if (!isfinite(value)) return 0.0;
    return value < 0.0 ? -1.0 : 1.0;
}

/* x to stats->quantised; returns how many values were clamped. */
static uint64_t quantise(tl_head_stats *stats, const float *x)
{
    size_t d = stats->options.feature_count;
    x = tl_head_sketch(x, stats->options.input_count, d, stats->sketch);
    double scale = tl_head_scale(stats->options.form, stats->options.range, x, d);
    /* Rounding may put a unit vector's only number just above 1: that is no clamping. */
    double slack = stats->options.form == TL_HEAD_UNIT ? 1.0 - 1e-12 : 1.0;
    uint64_t clamped_count = 0;
    for (size_t i = 0; i < d; i++) {
        bool clamped = false;
        double value = tl_head_clamp((double)x[i] * scale * slack, &clamped);
        clamped_count += clamped;
        stats->quantised[i] = (int64_t)rint(value * ONE);
    }
    return clamped_count;
}

/* row[j] += factor * q[j] */
TL_KERNEL static void add_scaled(int64_t *row, const int64_t *q, int64_t factor, size_t count)
{
    size_t j = 0;
    for (; j + TL_LANES <= count; j += TL_LANES)
        *(tl_i64x8 *)(row + j) += *(const tl_i64x8 *)(q + j) * factor;
    for (; j < count; j++) row[j] += q[j] * factor;
}

TL_KERNEL static void add_outer(int64_t *gram, const int64_t *q, int64_t sign, size_t d)
{
    for (size_t i = 0; i < d; i++) {
        int64_t factor = q[i] * sign;
        size_t count = d - i, j = 0;
        const int64_t *from = q + i;
        if (factor != 0) { /* features after a ReLU are often 0 */
            for (; j + TL_LANES <= count; j += TL_LANES)
                *(tl_i64x8 *)(gram + j) += *(const tl_i64x8 *)(from + j) * factor;
            for (; j < count; j++) gram[j] += from[j] * factor;
        }
        gram += count;
    }
}

static tl_status check_label(const tl_head_stats *stats, uint32_t label, tl_error *err)
{
    if (label >= stats->options.class_count)
        return tl_fail(err, TL_EINVAL, "label %u; there are %u classes", label,
                       stats->options.class_count);
    return TL_OK;
}

static tl_status check_can_forget(const tl_head_stats *stats, uint32_t label, tl_error *err)
{
    if (stats->count[label] == 0)
        return tl_fail(err, TL_ECONFLICT, "class %u has no examples that could be forgotten",
                       label);
    return TL_OK;
}

tl_status tl_head_stats_add(tl_head_stats *stats, const float *x, uint32_t label, int sign,
                            tl_error *err)
{
    TL_ASSERT(sign == 1 || sign == -1);
    tl_status status = check_label(stats, label, err);
    if (status == TL_OK && sign < 0) status = check_can_forget(stats, label, err);
    if (status != TL_OK) return status;
    if (sign > 0 && stats->total >= TL_HEAD_EXAMPLE_MAX)
        return tl_fail(err, TL_ELIMIT, "statistics hold their limit of %d examples",
                       TL_HEAD_EXAMPLE_MAX);
    size_t d = stats->options.feature_count;
    uint64_t clamped = quantise(stats, x);
    stats->clamped += sign > 0 ? clamped : 0 - clamped;
    stats->count[label] += (uint64_t)(int64_t)sign;
    stats->total += (uint64_t)(int64_t)sign;
    add_scaled(stats->sum + label * d, stats->quantised, sign, d);
    add_outer(stats->gram, stats->quantised, sign, d);
    return TL_OK;
}

tl_status tl_head_stats_relabel(tl_head_stats *stats, const float *x, uint32_t from, uint32_t to,
                                tl_error *err)
{
    tl_status status = check_label(stats, from, err);
    if (status == TL_OK) status = check_label(stats, to, err);
    if (status == TL_OK) status = check_can_forget(stats, from, err);
    if (status != TL_OK) return status;
    size_t d = stats->options.feature_count;
    quantise(stats, x);
    add_scaled(stats->sum + from * d, stats->quantised, -1, d);
    add_scaled(stats->sum + to * d, stats->quantised, 1, d);
    stats->count[from]--;
    stats->count[to]++;
    return TL_OK;
}

static tl_status check_merge(const tl_head_stats *stats, const tl_head_stats *other, int sign,
                             tl_error *err)
{
    const tl_head_stats_options *a = &stats->options, *b = &other->options;
    if (a->feature_count != b->feature_count || a->input_count != b->input_count ||
        a->form != b->form || a->range != b->range)
        return tl_fail(err, TL_ESHAPE,
                       "statistics of other features; merge what was made with the "
                       "same backbone and options");
    if (b->class_count > a->class_count)
        return tl_fail(err, TL_ESHAPE, "%u classes into %u; add the classes first", b->class_count,
                       a->class_count);
    if (sign > 0 && other->total > TL_HEAD_EXAMPLE_MAX - stats->total)
        return tl_fail(err, TL_ELIMIT, "together more than %d examples", TL_HEAD_EXAMPLE_MAX);
    for (uint32_t c = 0; sign < 0 && c < b->class_count; c++)
        if (other->count[c] > stats->count[c])
            return tl_fail(err, TL_ECONFLICT,
                           "class %u has fewer examples than are to be taken away", c);
    return TL_OK;
}

tl_status tl_head_stats_merge(tl_head_stats *stats, const tl_head_stats *other, int sign,
                              tl_error *err)
{
    TL_ASSERT(sign == 1 || sign == -1);
    tl_status status = check_merge(stats, other, sign, err);
    if (status != TL_OK) return status;
    size_t d = stats->options.feature_count;
    uint64_t factor = (uint64_t)(int64_t)sign;
    for (uint32_t c = 0; c < other->options.class_count; c++)
        stats->count[c] += factor * other->count[c];
    stats->total += factor * other->total;
    stats->clamped += factor * other->clamped;
    add_scaled(stats->sum, other->sum, sign, other->options.class_count * d);
    add_scaled(stats->gram, other->gram, sign, gram_count(d));
    return TL_OK;
}

tl_status tl_head_stats_add_class(tl_head_stats *stats, tl_error *err)
{
    size_t d = stats->options.feature_count, count = stats->options.class_count;
    if (count >= TL_CLASS_COUNT_MAX)
        return tl_fail(err, TL_ELIMIT, "there are %d classes already", TL_CLASS_COUNT_MAX);
    int64_t *sum = realloc(stats->sum, (count + 1) * d * sizeof *sum);
    if (sum == NULL) return tl_fail(err, TL_ENOMEM, "sums of one more class");
    memset(sum + count * d, 0, d * sizeof *sum);
    stats->sum = sum;
    stats->options.class_count++;
    return TL_OK;
}

void tl_head_stats_clear(tl_head_stats *stats)
{
    size_t d = stats->options.feature_count;
    memset(stats->sum, 0, stats->options.class_count * d * sizeof *stats->sum);
    memset(stats->gram, 0, gram_count(d) * sizeof *stats->gram);
    memset(stats->count, 0, sizeof stats->count);
    stats->total = stats->clamped = 0;
}

uint32_t tl_head_stats_feature_count(const tl_head_stats *stats)
{
    return stats->options.feature_count;
}

uint32_t tl_head_stats_class_count(const tl_head_stats *stats)
{
    return stats->options.class_count;
}

uint64_t tl_head_stats_total(const tl_head_stats *stats)
{
    return stats->total;
}

uint64_t tl_head_stats_clamped(const tl_head_stats *stats)
{
    return stats->clamped;
}

/* All but the numbers of G and s. */
static void write_scalars(const tl_head_stats *stats, tl_blob *blob)
{
    uint32_t range_bits;
    memcpy(&range_bits, &stats->options.range, sizeof range_bits);
    tl_blob_u32(blob, stats->options.feature_count);
    tl_blob_u32(blob, stats->options.class_count);
    tl_blob_u32(blob, (uint32_t)stats->options.form);
    tl_blob_u32(blob, range_bits);
    tl_blob_u32(blob, stats->options.input_count);
    tl_blob_u64(blob, stats->total);
    tl_blob_u64(blob, stats->clamped);
    tl_blob_u64s(blob, stats->count, stats->options.class_count);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digests read memory as it is saved");

static uint64_t hash_words(const void *words, size_t count, uint64_t seed)
{
    return tl_hash64(words, count * sizeof(uint64_t), seed);
}

uint64_t tl_head_stats_digest(const tl_head_stats *stats)
{
    size_t d = stats->options.feature_count;
    uint64_t scalars[4 + TL_CLASS_COUNT_MAX] = { d, stats->options.class_count, stats->total,
                                                 stats->clamped };
    memcpy(scalars + 4, stats->count, sizeof stats->count);
    uint64_t hash = hash_words(scalars, TL_COUNT_OF(scalars), 1);
    hash = hash_words(stats->sum, stats->options.class_count * d, hash);
    return hash_words(stats->gram, gram_count(d), hash);
}

tl_status tl_head_stats_save(const tl_head_stats *stats, tl_blob *blob, tl_error *err)
{
    size_t d = stats->options.feature_count;
    size_t begin = tl_blob_section_begin(blob, "HSTA", STATS_VERSION);
    write_scalars(stats, blob);
    tl_blob_u64s(blob, (const uint64_t *)stats->sum, stats->options.class_count * d);
    tl_blob_u64s(blob, (const uint64_t *)stats->gram, gram_count(d));
    tl_blob_section_end(blob, begin);
    if (!tl_blob_ok(blob)) return tl_fail(err, TL_ENOMEM, "saving the statistics of a head");
    return TL_OK;
}

/* What a sum of that many quantised numbers can be: all a damaged file could break is prediction
 * quality, but nothing may overflow later. */
static bool plausible(const tl_head_stats *stats)
{
    size_t d = stats->options.feature_count;
    uint64_t total = 0;
    for (uint32_t c = 0; c < stats->options.class_count; c++) {
        if (stats->count[c] > TL_HEAD_EXAMPLE_MAX) return false;
        total += stats->count[c];
        int64_t bound = (int64_t)(stats->count[c] << TL_HEAD_FRACTION_BITS);
        for (size_t i = 0; i < d; i++) {
            int64_t value = stats->sum[c * d + i];
            if (value > bound || value < -bound) return false;
        }
    }
    if (total != stats->total || total > TL_HEAD_EXAMPLE_MAX) return false;
    int64_t bound = (int64_t)(total << (2 * TL_HEAD_FRACTION_BITS));
    for (size_t i = 0; i < gram_count(d); i++)
        if (stats->gram[i] > bound || stats->gram[i] < -bound) return false;
    return true;
}

static tl_status read_body(tl_blob_reader *body, uint32_t version, tl_head_stats **out,
                           tl_error *err)
{
    tl_head_stats_options options = { .feature_count = tl_blob_read_u32(body) };
    options.class_count = tl_blob_read_u32(body);
    options.form = (tl_head_form)tl_blob_read_u32(body);
    uint32_t range_bits = tl_blob_read_u32(body);
    memcpy(&options.range, &range_bits, sizeof range_bits);
    if (version > 1) options.input_count = tl_blob_read_u32(body);
    if (body->failed) return tl_fail(err, TL_ECORRUPT, "saved statistics are cut short");
    tl_head_stats *stats = NULL;
    tl_status status = tl_head_stats_create(&options, &stats, err);
    if (status != TL_OK)
        return status == TL_EINVAL ? tl_fail_context(err, TL_ECORRUPT,
                                                     "saved "
                                                     "statistics")
                                   : status;
    size_t d = options.feature_count;
    stats->total = tl_blob_read_u64(body);
    stats->clamped = tl_blob_read_u64(body);
    tl_blob_read_u64s(body, stats->count, options.class_count);
    tl_blob_read_u64s(body, (uint64_t *)stats->sum, options.class_count * d);
    tl_blob_read_u64s(body, (uint64_t *)stats->gram, gram_count(d));
    status = tl_blob_read_end(body, "statistics of a head", err);
    if (status == TL_OK && !plausible(stats))
        status = tl_fail(err, TL_ECORRUPT, "saved statistics of a head contradict themselves");
    if (status != TL_OK) {
        tl_head_stats_destroy(&stats);
        return status;
    }
    *out = stats;
    return TL_OK;
}

tl_status tl_head_stats_load(tl_blob_reader *reader, tl_head_stats **out, tl_error *err)
{
    tl_blob_reader at = *reader, body;
    uint32_t version;
    tl_status status = tl_blob_read_section(&at, "HSTA", STATS_VERSION, &body, &version, err);
    if (status == TL_OK) status = read_body(&body, version, out, err);
    if (status == TL_OK) *reader = at;
    return status;
}

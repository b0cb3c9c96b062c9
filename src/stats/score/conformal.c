#include "stats/score/conformal.h"

#include <math.h>
#include <string.h>

enum { CONFORMAL_VERSION = 1, BINS = TL_CONFORMAL_BINS };
/* Far beyond every threshold; keeps an unwatched detector finite. */
static const double M_MAX = 1e200;

void tl_conformal_init(tl_conformal *conformal, double low, double high, uint64_t seed)
{
    TL_ASSERT(isfinite(low));
    TL_ASSERT(isfinite(high));
    TL_ASSERT(low < high);
    *conformal = (tl_conformal){ .low = low, .high = high };
    tl_rng_seed(&conformal->rng, seed, 0);
}

void tl_conformal_reset(tl_conformal *conformal)
{
    memset(conformal->tree, 0, sizeof conformal->tree);
    conformal->count = 0;
    memset(conformal->m, 0, sizeof conformal->m);
}

static int bin_of(const tl_conformal *c, double score)
{
    double at = (score - c->low) / (c->high - c->low) * BINS;
    if (at < 0.0) return 0;
    return at < BINS ? (int)at : BINS - 1; /* also what is not a number */
}

/* Scores in bins 0..bin. */
static uint64_t count_up_to(const tl_conformal *c, int bin)
{
    uint64_t sum = 0;
    for (int i = bin + 1; i > 0; i -= i & -i) sum += c->tree[i];
    return sum;
}

static void add(tl_conformal *c, int bin, uint64_t count)
{
    for (int i = bin + 1; i <= BINS; i += i & -i) c->tree[i] += count;
    c->count += count;
}

static void bet(tl_conformal *c, double p)
{
    double root = pow(p, 1.0 / (TL_CONFORMAL_BETS + 1)), power = 1.0;
    for (int k = 0; k < TL_CONFORMAL_BETS; k++) {
        power *= root; /* p^e */
        double e = (k + 1.0) / (TL_CONFORMAL_BETS + 1);
        c->m[k] = fmin((1.0 + c->m[k]) * e * power / p, M_MAX);
    }
}

double tl_conformal_value(const tl_conformal *conformal)
{
    double sum = 0.0;
    for (int k = 0; k < TL_CONFORMAL_BETS; k++) sum += conformal->m[k];
    return sum / TL_CONFORMAL_BETS;
}

double tl_conformal_step(tl_conformal *conformal, double score)
{
    int bin = bin_of(conformal, score);
    add(conformal, bin, 1);
    uint64_t up_to = count_up_to(conformal, bin);
    uint64_t below = bin > 0 ? count_up_to(conformal, bin - 1) : 0;
    double above = (double)(conformal->count - up_to), equal = (double)(up_to - below);
    double lot = 1.0 - tl_rng_unit(&conformal->rng); /* (0, 1] */
    double p = (above + lot * equal) / (double)conformal->count;
    bet(conformal, p);
    return p;
}

void tl_conformal_save(const tl_conformal *conformal, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "CONF", CONFORMAL_VERSION);
    tl_blob_f64(blob, conformal->low);
    tl_blob_f64(blob, conformal->high);
    for (int k = 0; k < TL_CONFORMAL_BETS; k++) tl_blob_f64(blob, conformal->m[k]);
    tl_blob_u64s(blob, conformal->rng.s, 4);
    uint64_t before = 0;
    for (int bin = 0; bin < BINS; bin++) {
        uint64_t up_to = count_up_to(conformal, bin);
        tl_blob_u64(blob, up_to - before);
        before = up_to;
    }
    tl_blob_section_end(blob, section);
}

tl_status tl_conformal_load(tl_blob_reader *reader, tl_conformal *out, tl_error *err)
{
    static const uint64_t COUNT_MAX = UINT64_C(1) << 48; /* of a bin: sums stay far from 2^64 */
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "CONF", CONFORMAL_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_conformal read = { .low = tl_blob_read_f64(&body) };
    read.high = tl_blob_read_f64(&body);
    bool sane = isfinite(read.low) && isfinite(read.high) && read.low < read.high;
    for (int k = 0; k < TL_CONFORMAL_BETS; k++) {
        read.m[k] = tl_blob_read_f64(&body);
        sane = sane && read.m[k] >= 0.0 && read.m[k] <= M_MAX;
    }
    sane = tl_blob_read_u64s(&body, read.rng.s, 4) && sane;
    sane = sane && (read.rng.s[0] | read.rng.s[1] | read.rng.s[2] | read.rng.s[3]) != 0;
    for (int bin = 0; bin < BINS; bin++) {
        uint64_t count = tl_blob_read_u64(&body);
        if (count > COUNT_MAX)
            sane = false;
        else
            add(&read, bin, count);
    }
    if (!sane) return tl_fail(err, TL_ECORRUPT, "saved ranks of scores are out of range");
    status = tl_blob_read_end(&body, "ranks of scores", err);
    if (status == TL_OK) *out = read;
    return status;
}

#include "base/histogram.h"

enum { SUB = 1 << TL_HISTOGRAM_SUB_BITS };

static unsigned bucket_of(uint64_t value)
{
    if (value < SUB) return (unsigned)value;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(value);
    unsigned shift = exponent - TL_HISTOGRAM_SUB_BITS;
    return (shift + 1) * SUB + (unsigned)((value >> shift) - SUB);
}

/* The middle of a bucket: the best single guess for what fell into it. */
static double bucket_middle(unsigned bucket)
{
    if (bucket < SUB) return (double)bucket;
    unsigned shift = bucket / SUB - 1;
    return ((double)(SUB + bucket % SUB) + 0.5) * (double)(1ull << shift);
}

void tl_histogram_record_ns(tl_histogram *histogram, int64_t span_ns)
{
    uint64_t value = span_ns < 0 ? 0 : (uint64_t)span_ns;
    atomic_fetch_add_explicit(&histogram->buckets[bucket_of(value)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_ns, value, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->count, 1, memory_order_relaxed);
}

double tl_histogram_quantile_ns(const tl_histogram *histogram, double share)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < TL_HISTOGRAM_BUCKETS; i++)
        count += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    if (count == 0) return 0.0;
    uint64_t rank = (uint64_t)(share * (double)(count - 1));
    uint64_t seen = 0;
    for (unsigned i = 0; i < TL_HISTOGRAM_BUCKETS; i++) {
        seen += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        if (seen > rank) return bucket_middle(i);
    }
    return bucket_middle(TL_HISTOGRAM_BUCKETS - 1);
}

uint64_t tl_histogram_count_below_ns(const tl_histogram *histogram, int64_t limit_ns)
{
    if (limit_ns < 0) return 0;
    unsigned last = bucket_of((uint64_t)limit_ns);
    uint64_t count = 0;
    for (unsigned i = 0; i <= last; i++)
        count += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    return count;
}

void tl_histogram_reset(tl_histogram *histogram)
{
    for (unsigned i = 0; i < TL_HISTOGRAM_BUCKETS; i++)
        atomic_store_explicit(&histogram->buckets[i], 0, memory_order_relaxed);
    atomic_store_explicit(&histogram->sum_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&histogram->count, 0, memory_order_relaxed);
}

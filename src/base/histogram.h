/* histogram.h - latencies in a fixed number of log-linear buckets (about 3 % wide). Layer: base.
 * Record from any thread (relaxed atomics); reading gives a consistent enough picture. */
#ifndef TL_BASE_HISTOGRAM_H
#define TL_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    TL_HISTOGRAM_SUB_BITS = 5, /* 32 buckets a power of two */
    TL_HISTOGRAM_BUCKETS = (64 - TL_HISTOGRAM_SUB_BITS + 1) << TL_HISTOGRAM_SUB_BITS
};

typedef struct tl_histogram {
    _Atomic uint64_t count, sum_ns;
    _Atomic uint32_t buckets[TL_HISTOGRAM_BUCKETS];
} tl_histogram;

void tl_histogram_record_ns(tl_histogram *histogram, int64_t span_ns); /* negative counts as 0 */
/* The value below which `share` (0..1) of the records lie, in nanoseconds; 0 when empty. */
double tl_histogram_quantile_ns(const tl_histogram *histogram, double share);
/* Records of at most `limit_ns`, to bucket precision. */
uint64_t tl_histogram_count_below_ns(const tl_histogram *histogram, int64_t limit_ns);
void tl_histogram_reset(tl_histogram *histogram);

#endif

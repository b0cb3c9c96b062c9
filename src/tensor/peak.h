/* peak.h - what this machine could do at most, measured: the roof over layer tables. Layer: tensor.
 * Any thread; takes some hundred milliseconds. */
#ifndef TL_TENSOR_PEAK_H
#define TL_TENSOR_PEAK_H

#include "base/status.h"

typedef struct tl_peak {
    double flops;        /* a second, float32: two for a multiply-add */
    double bytes;        /* a second, read from memory */
    const char *kernels; /* the instruction set; static */
} tl_peak;

/* Of `threads` at once, 1..TL_TEAM_MAX: multiply-adds in registers with the kernels' instruction
 * set, and sums over more memory than caches hold. The best of some rounds. TL_ENOMEM. */
tl_status tl_peak_measure(uint32_t threads, tl_peak *out, tl_error *err);

#endif

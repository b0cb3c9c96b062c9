/* rng.h - a small seeded generator (xoshiro256**, Blackman & Vigna 2021), bit-exact everywhere.
 * Layer: base. One owner thread per state. Not for secrets. */
#ifndef TL_BASE_RNG_H
#define TL_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct tl_rng {
    uint64_t s[4];
} tl_rng;

/* Independent streams: every (seed, stream) gives its own sequence. */
void tl_rng_seed(tl_rng *rng, uint64_t seed, uint64_t stream);
uint64_t tl_rng_u64(tl_rng *rng);
/* Uniform in 0..bound-1, without bias; bound >= 1. */
uint64_t tl_rng_below(tl_rng *rng, uint64_t bound);
/* Uniform in [0, 1) with 53 random bits. */
double tl_rng_unit(tl_rng *rng);
/* Standard normal (Box-Muller, one of the pair). */
double tl_rng_normal(tl_rng *rng);

/* One round of splitmix64: a good mixing of 64 bits. */
uint64_t tl_mix64(uint64_t x);

#endif

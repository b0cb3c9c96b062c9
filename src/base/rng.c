#include "base/rng.h"

#include "base/status.h"

#include <math.h>

uint64_t tl_mix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void tl_rng_seed(tl_rng *rng, uint64_t seed, uint64_t stream)
{
    uint64_t x = tl_mix64(seed) ^ tl_mix64(~stream);
    for (int i = 0; i < 4; i++) {
        x = tl_mix64(x + (uint64_t)i);
        rng->s[i] = x;
    }
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t tl_rng_u64(tl_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t tl_rng_below(tl_rng *rng, uint64_t bound)
{
    TL_ASSERT(bound >= 1);
    uint64_t reject_below = (0 - bound) % bound; /* 2^64 mod bound: drop the uneven rest */
    for (;;) {
        uint64_t x = tl_rng_u64(rng);
        if (x >= reject_below) return x % bound;
    }
}

double tl_rng_unit(tl_rng *rng)
{
    return (double)(tl_rng_u64(rng) >> 11) * 0x1p-53;
}

double tl_rng_normal(tl_rng *rng)
{
    double u = 1.0 - tl_rng_unit(rng); /* (0, 1]: the logarithm is finite */
    double v = tl_rng_unit(rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

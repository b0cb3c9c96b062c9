#include "loop/item/novelty.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = TL_NOVELTY_WIDTH, FACTOR_EVERY = 256 };
/* Of the mean variance, added to each dimension: what never varied must not count for everything. */
static const double RIDGE = 0.05;

struct tl_novelty {
    uint32_t feature_count, width;
    uint64_t version;
    uint64_t items, factored_at; /* seen of this version; then */
    float mean[WIDTH];
    float covariance[WIDTH][WIDTH]; /* lower triangle */
    float factor[WIDTH][WIDTH];     /* Cholesky's, its diagonal inverted; from FIRST items on */
};

tl_novelty *tl_novelty_create(uint32_t feature_count)
{
    tl_novelty *n = calloc(1, sizeof *n);
    if (n == NULL) return NULL;
    n->feature_count = feature_count;
    n->width = feature_count < WIDTH ? feature_count : WIDTH;
    return n;
}

void tl_novelty_destroy(tl_novelty **novelty)
{
    if (novelty == NULL) return;
    free(*novelty);
    *novelty = NULL;
}

static void restart(tl_novelty *n, uint64_t version)
{
    n->version = version;
    n->items = n->factored_at = 0;
    memset(n->mean, 0, sizeof n->mean);
    memset(n->covariance, 0, sizeof n->covariance);
}

/* Features at length 1, as few as there is room for. False: not finite, or all 0. */
static bool project(const tl_novelty *n, const float *x, float out[WIDTH])
{
    float square = 0.0f;
    for (uint32_t i = 0; i < n->feature_count; i++) square += x[i] * x[i];
    float scale = 1.0f / sqrtf(square);
    if (!(isfinite(square) && isfinite(scale))) return false;
    if (n->width == n->feature_count) {
        for (uint32_t i = 0; i < n->width; i++) out[i] = x[i] * scale;
        return true;
    }
    memset(out, 0, WIDTH * sizeof out[0]);
    for (uint32_t i = 0; i < n->feature_count; i++) {
        uint64_t lot = tl_mix64(i);
        out[lot % WIDTH] += (lot >> 32 & 1) != 0 ? x[i] * scale : -x[i] * scale;
    }
    return true;
}

/* Mean and covariance of the newest items, both with fading weights. */
static void join(tl_novelty *n, const float x[WIDTH])
{
    uint64_t known = ++n->items < TL_NOVELTY_MEMORY ? n->items : TL_NOVELTY_MEMORY;
    float share = 1.0f / (float)known, before[WIDTH];
    for (uint32_t i = 0; i < n->width; i++) {
        before[i] = x[i] - n->mean[i];
        n->mean[i] += share * before[i];
    }
    for (uint32_t i = 0; i < n->width; i++) {
        float pull = share * (x[i] - n->mean[i]);
        for (uint32_t k = 0; k <= i; k++)
            n->covariance[i][k] += pull * before[k] - share * n->covariance[i][k];
    }
}

static void factorise(tl_novelty *n)
{
    double trace = 0.0;
    for (uint32_t i = 0; i < n->width; i++) trace += (double)n->covariance[i][i];
    double ridge = RIDGE * trace / n->width + 1e-12;
    for (uint32_t i = 0; i < n->width; i++)
        for (uint32_t k = 0; k <= i; k++) {
            double sum = (double)n->covariance[i][k] + (i == k ? ridge : 0.0);
            for (uint32_t j = 0; j < k; j++)
                sum -= (double)n->factor[i][j] * (double)n->factor[k][j];
            n->factor[i][k] =
                i == k ? (float)(1.0 / sqrt(fmax(sum, ridge))) : (float)sum * n->factor[k][k];
        }
    n->factored_at = n->items;
}

static float distance(const tl_novelty *n, const float x[WIDTH])
{
    float z[WIDTH], sum = 0.0f;
    for (uint32_t i = 0; i < n->width; i++) {
        float rest = x[i] - n->mean[i];
        for (uint32_t k = 0; k < i; k++) rest -= n->factor[i][k] * z[k];
        z[i] = rest * n->factor[i][i];
        sum += z[i] * z[i];
    }
    return sum;
}

float tl_novelty_see(tl_novelty *n, uint64_t version, const float *x)
{
    float projected[WIDTH], out = NAN;
    if (version != n->version) restart(n, version);
    if (!project(n, x, projected)) return NAN;
    if (n->items >= TL_NOVELTY_FIRST) {
        if (n->factored_at == 0 || n->items >= n->factored_at + FACTOR_EVERY) factorise(n);
        out = distance(n, projected);
    }
    join(n, projected);
    return out;
}

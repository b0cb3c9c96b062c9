#include "tensor/peak.h"

#include "tensor/kernels/kernels.h"
#include "tensor/team.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 25, FMA_ROUNDS = 2000000 };
static const size_t MEMORY_BYTES = (size_t)256 << 20; /* of all threads together */

typedef struct peak_work {
    tl_team *team;
    uint64_t *words;
    size_t word_count;
    size_t multiply_adds; /* of one member */
    float sums[TL_TEAM_MAX];
    uint64_t totals[TL_TEAM_MAX]; /* so that no compiler leaves the work out */
} peak_work;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void multiply_add(void *arg, uint32_t member)
{
    peak_work *work = arg;
    const size_t done = tl_kernels_get()->fma_loop(FMA_ROUNDS, &work->sums[member]);
    if (member == 0) work->multiply_adds = done;
}

static void read_memory(void *arg, uint32_t member)
{
    peak_work *work = arg;
    const tl_range range = tl_team_range(work->word_count, 8, member, tl_team_members(work->team));
    uint64_t sums[8] = { 0 };
    for (size_t i = range.begin; i + 8 <= range.end; i += 8)
        for (size_t k = 0; k < 8; k++) sums[k] += work->words[i + k];
    for (size_t k = 0; k < 8; k++) work->totals[member] += sums[k];
}

/* Seconds of the quickest round. */
static double quickest(peak_work *work, void (*act)(void *arg, uint32_t member))
{
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = now_s();
        tl_team_run(work->team, act, work);
        const double span = now_s() - start;
        if (span < best) best = span;
    }
    return best;
}

tl_status tl_peak_measure(uint32_t threads, tl_peak *out, tl_error *err)
{
    TL_ASSERT(threads >= 1 && threads <= TL_TEAM_MAX);
    peak_work work = { .word_count = MEMORY_BYTES / sizeof *work.words };
    tl_status status = tl_team_create(threads, &work.team, err);
    if (status != TL_OK) return status;
    work.words = malloc(MEMORY_BYTES);
    if (work.words == NULL) {
        status = tl_fail(err, TL_ENOMEM, "%zu bytes to measure memory with", MEMORY_BYTES);
    } else {
        memset(work.words, 1, MEMORY_BYTES);
        const double fma_s = quickest(&work, multiply_add);
        const double read_s = quickest(&work, read_memory);
        *out = (tl_peak){ .flops = 2.0 * threads * (double)work.multiply_adds / fma_s,
                          .bytes = (double)MEMORY_BYTES / read_s,
                          .kernels = tl_kernels_get()->name };
    }
    free(work.words);
    tl_team_destroy(&work.team);
    return status;
}

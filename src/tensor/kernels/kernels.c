#include "tensor/kernels/kernels.h"

#include <stdatomic.h>
#include <string.h>

extern const tl_kernels tl_kernels_base;
#if defined(__x86_64__)
extern const tl_kernels tl_kernels_avx2, tl_kernels_avx512;
#endif

const tl_kernels *tl_kernels_find(const char *name)
{
    if (strcmp(name, "base") == 0) return &tl_kernels_base;
#if defined(__x86_64__)
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (strcmp(name, "avx512") == 0 && avx512) return &tl_kernels_avx512;
    if (strcmp(name, "avx2") == 0 && avx2) return &tl_kernels_avx2;
#endif
    return NULL;
}

static _Atomic(const tl_kernels *) chosen;

static const tl_kernels *best(void)
{
    const tl_kernels *found = tl_kernels_find("avx512");
    if (found == NULL) found = tl_kernels_find("avx2");
    return found != NULL ? found : &tl_kernels_base;
}

const tl_kernels *tl_kernels_get(void)
{
    const tl_kernels *kernels = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (kernels != NULL) return kernels;
    kernels = best(); /* the same from every thread */
    atomic_store_explicit(&chosen, kernels, memory_order_relaxed);
    return kernels;
}

void tl_kernels_choose(const tl_kernels *kernels)
{
    atomic_store_explicit(&chosen, kernels, memory_order_relaxed);
}

size_t tl_group_floats(uint32_t channels)
{
    const uint32_t wanted = 128;
    return channels >= wanted ? channels : (size_t)(wanted / channels) * channels;
}

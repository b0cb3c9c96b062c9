#include "tensor/kernels.h"

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

const tl_kernels *tl_kernels_get(void)
{
#if defined(__x86_64__)
    const tl_kernels *found = tl_kernels_find("avx512");
    if (found == NULL) found = tl_kernels_find("avx2");
    if (found != NULL) return found;
#endif
    return &tl_kernels_base;
}

size_t tl_group_floats(uint32_t channels)
{
    const uint32_t wanted = 128;
    return channels >= wanted ? channels : (size_t)(wanted / channels) * channels;
}

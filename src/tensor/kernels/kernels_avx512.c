/* The kernels for x86-64 with AVX512; chosen at run time. */
#if defined(__x86_64__)
/* Before the pragma: system headers must not be compiled for the instruction set below. */
#include "tensor/kernels/kernels.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define TL_KERNELS      tl_kernels_avx512
#define TL_KERNELS_NAME "avx512"
#define GEMM_ROWS       6
#define GEMM_VECTORS    4
#define PANEL_ROWS      14
#define PANEL_VECTORS   2
#define PANEL_WIDTH     16
#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#else
#pragma GCC optimize("O3", "fp-contract=fast")
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512")
#endif
#include "tensor/kernels/kernels_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int tl_kernels_not_built; /* a translation unit is never empty */
#endif

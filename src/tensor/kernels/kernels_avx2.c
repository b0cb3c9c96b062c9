/* The kernels for x86-64 with AVX2; chosen at run time. */
#if defined(__x86_64__)
/* Before the pragma: system headers must not be compiled for the instruction set below. */
#include "tensor/kernels/kernels.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define TL_KERNELS      tl_kernels_avx2
#define TL_KERNELS_NAME "avx2"
#define GEMM_ROWS       6
#define GEMM_VECTORS    1
#define PANEL_ROWS      6
#define PANEL_VECTORS   2
#define PANEL_WIDTH     8
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC optimize("O3", "fp-contract=fast")
#pragma GCC target("avx2,fma")
#endif
#include "tensor/kernels/kernels_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int tl_kernels_not_built; /* a translation unit is never empty */
#endif

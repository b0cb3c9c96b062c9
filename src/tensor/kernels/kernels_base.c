/* The kernels for whatever the compiler targets by default (SSE2 on x86-64, NEON on aarch64). */
#define TL_KERNELS      tl_kernels_base
#define TL_KERNELS_NAME "base"
#if !defined(__clang__)
#pragma GCC optimize("O3", "fp-contract=fast")
#endif
#include "tensor/kernels/kernels_body.h"

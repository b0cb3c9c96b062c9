/* internal.h - shared by the files of this module only. */
#ifndef TL_LEARN_INTERNAL_H
#define TL_LEARN_INTERNAL_H

#include "base/status.h"

/* Compile a kernel for several instruction sets and choose at load time. Kernels are elementwise
 * (or sum in a fixed number of lanes), so that all variants give the same bits. Sanitizers do not
 * stand resolvers that run before they are set up. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define TL_SANITIZED 1
#endif
#endif
#if !defined(__x86_64__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||       \
    defined(TL_SANITIZED)
#define TL_KERNEL
#elif defined(__clang__)
#define TL_KERNEL __attribute__((target_clones("default", "avx2", "avx512dq")))
#else
#define TL_KERNEL __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#endif

/* Before a loop of four turns over an array of accumulators, so that they live in registers. */
#if defined(__clang__)
#define TL_UNROLL_4 _Pragma("clang loop unroll(full)")
#else
#define TL_UNROLL_4 _Pragma("GCC unroll 4")
#endif

/* Eight lanes, whatever the machine has; loads and stores need no alignment. */
enum { TL_LANES = 8 };
typedef double tl_f64x8 __attribute__((vector_size(64), aligned(8), may_alias));
typedef int64_t tl_i64x8 __attribute__((vector_size(64), aligned(8), may_alias));

static inline size_t tl_round_up(size_t count, size_t multiple)
{
    return (count + multiple - 1) / multiple * multiple;
}

#endif

/* status.h - error text and assertions. Layer: base. Any thread. */
#ifndef TL_BASE_STATUS_H
#define TL_BASE_STATUS_H

#include <tightloop.h>

/* Write the detail into *err (when not NULL) and return `status`, so that callers can write
 * `return tl_fail(err, TL_ESHAPE, "want %zu numbers, got %zu", want, got);` */
tl_status tl_fail(tl_error *err, tl_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "prefix: " before the text of an error that a lower layer wrote; returns err's status. */
tl_status tl_fail_context(tl_error *err, tl_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__ /* it reads one file at a time: show it that the status comes back */
#define tl_fail(err, status, ...) ((void)(tl_fail)(err, status, __VA_ARGS__), (status))
#define tl_fail_context(err, status, ...)                                                          \
    ((void)(tl_fail_context)(err, status, __VA_ARGS__), (status))
#endif

/* Always on, one condition each: a caller's bug or a broken invariant. Never for input. */
#define TL_ASSERT(condition)                                                                       \
    ((condition) ? (void)0 : tl_assert_failed(#condition, __FILE__, __LINE__, __func__))

_Noreturn void tl_assert_failed(const char *condition, const char *file, int line,
                                const char *function);

#define TL_COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

#endif

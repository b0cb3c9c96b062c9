#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef tl_fail
#undef tl_fail_context

static const struct {
    const char *name, *text;
} STATUS[TL_STATUS_COUNT] = {
#define X(name, text) [TL_##name] = { "TL_" #name, text },
    TL_STATUS_MAP(X)
#undef X
};

const char *tl_status_text(tl_status status)
{
    return (unsigned)status < TL_STATUS_COUNT ? STATUS[status].text : "unknown status";
}

const char *tl_status_name(tl_status status)
{
    return (unsigned)status < TL_STATUS_COUNT ? STATUS[status].name : "TL_UNKNOWN";
}

tl_status tl_fail(tl_error *err, tl_status status, const char *format, ...)
{
    TL_ASSERT(status != TL_OK);
    if (err == NULL) return status;
    err->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return status;
}

tl_status tl_fail_context(tl_error *err, tl_status status, const char *format, ...)
{
    TL_ASSERT(status != TL_OK);
    if (err == NULL) return status;
    char below[TL_ERROR_TEXT_BYTES];
    snprintf(below, sizeof below, "%s", err->text);
    char prefix[TL_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    err->status = status;
    int written = snprintf(err->text, sizeof err->text, "%.120s: ", prefix);
    snprintf(err->text + written, sizeof err->text - (size_t)written, "%s", below);
    return status;
}

void tl_assert_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "tightloop: %s:%d: %s: assertion failed: %s\n", file, line, function,
            condition);
    abort();
}

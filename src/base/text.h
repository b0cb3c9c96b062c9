/* text.h - a growing, bounded text buffer. Layer: base. One owner thread.
 * Appending never fails on the spot: a buffer that ran out of memory or over its bound remembers
 * it, and tl_text_ok tells in the end. So callers can write a whole document and check once. */
#ifndef TL_BASE_TEXT_H
#define TL_BASE_TEXT_H

#include "base/status.h"

typedef struct tl_text {
    char *data; /* NUL-terminated when not NULL */
    size_t bytes, capacity, bytes_max;
    bool failed;
} tl_text;

void tl_text_init(tl_text *text, size_t bytes_max);
void tl_text_destroy(tl_text *text);
void tl_text_clear(tl_text *text); /* keeps the memory */
void tl_text_append(tl_text *text, const char *data, size_t bytes);
void tl_text_puts(tl_text *text, const char *string);
void tl_text_printf(tl_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool tl_text_ok(const tl_text *text);

#endif

/* internal.h - what the files of this module share. Layer: format; not for other modules. */
#ifndef TL_FORMAT_INTERNAL_H
#define TL_FORMAT_INTERNAL_H

#include "base/status.h"

#include <locale.h>

/* How many of the bytes at the start are whole, valid UTF-8 sequences (RFC 3629: no overlong forms,
 * no surrogates, nothing above U+10FFFF); `bytes` when all are. */
size_t tl_utf8_valid_prefix(const char *data, size_t bytes);

/* The "C" locale, whatever the program has set; made once. (locale_t)0 when out of memory. */
locale_t tl_format_c_locale(void);

/* How a number was written: in tl_json.whole. */
enum {
    TL_WHOLE_NOT,     /* has a fraction, or is too large to be sure */
    TL_WHOLE_SIGNED,  /* whole_bits holds an int64_t */
    TL_WHOLE_UNSIGNED /* whole_bits holds a uint64_t above INT64_MAX */
};

enum { TL_JSON_NUMBER_BYTES_MAX = 1000 };

typedef struct tl_json_decimal {
    double value;
    uint64_t whole_bits;
    uint8_t whole;
} tl_json_decimal;

/* False: no number in JSON's syntax, longer than TL_JSON_NUMBER_BYTES_MAX, or too large. */
bool tl_json_convert_number(const char *data, size_t bytes, tl_json_decimal *out);

#endif

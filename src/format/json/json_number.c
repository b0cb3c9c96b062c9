/* json_number.c - decimal text to double, correctly rounded, mostly without strtod. */
#include "format/internal.h"
#include "format/json.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t locale_once = PTHREAD_ONCE_INIT;
static locale_t c_locale;

static void locale_make(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

locale_t tl_format_c_locale(void)
{
    pthread_once(&locale_once, locale_make);
    return c_locale;
}

typedef struct scan {
    uint64_t mantissa;
    int64_t exponent; /* value = mantissa * 10^exponent, unless digits were dropped */
    bool negative, plain /* digits only */, dropped;
} scan;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void take_digit(scan *s, char c, bool fraction)
{
    uint64_t next;
    if (s->dropped || __builtin_mul_overflow(s->mantissa, (uint64_t)10, &next) ||
        __builtin_add_overflow(next, (uint64_t)(c - '0'), &next)) {
        s->dropped = true;
        return;
    }
    s->mantissa = next;
    if (fraction) s->exponent--;
}

/* The exponent after 'e'; saturates far beyond any double. */
static const char *scan_exponent(const char *p, const char *end, int64_t *out)
{
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) p++;
    if (p == end || !is_digit(*p)) return NULL;
    int64_t value = 0;
    for (; p < end && is_digit(*p); p++)
        if (value < 1000000) value = value * 10 + (*p - '0');
    *out = negative ? -value : value;
    return p;
}

/* RFC 8259, section 6: [-] int [frac] [exp]. */
static bool scan_number(const char *p, const char *end, scan *out)
{
    scan s = { .plain = true };
    if (p < end && *p == '-') s.negative = true, p++;
    if (p == end || !is_digit(*p)) return false;
    if (*p == '0' && p + 1 < end && is_digit(p[1])) return false;
    for (; p < end && is_digit(*p); p++) take_digit(&s, *p, false);
    if (p < end && *p == '.') {
        s.plain = false;
        if (++p == end || !is_digit(*p)) return false;
        for (; p < end && is_digit(*p); p++) take_digit(&s, *p, true);
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        int64_t exponent;
        s.plain = false;
        p = scan_exponent(p + 1, end, &exponent);
        if (p == NULL) return false;
        s.exponent += exponent;
    }
    *out = s;
    return p == end;
}

#if LDBL_MANT_DIG == 64
enum { POWER_MAX = 27 }; /* 10^27 = 2^27 * 5^27 and 5^27 < 2^64: exact in 64 bits */
#else
enum { POWER_MAX = 22 };
#endif

static const long double POWERS[] = {
    1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
    1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
    1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L,
};
static const double POWERS_DOUBLE[] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

/* One rounding only, so the result is the nearest double (Clinger 1990). With the x87's 64-bit
 * significand the same holds for longer mantissas, unless the result lies just halfway between two
 * doubles, where a second rounding could go wrong. */
static bool convert_fast(const scan *s, double *out)
{
    if (s->dropped) return false;
    if (s->mantissa == 0) {
        *out = 0;
        return true;
    }
    int64_t power = s->exponent < 0 ? -s->exponent : s->exponent;
    if (s->mantissa <= (uint64_t)1 << 53 && power <= 22) {
        double m = (double)s->mantissa;
        *out = s->exponent < 0 ? m / POWERS_DOUBLE[power] : m * POWERS_DOUBLE[power];
        return true;
    }
#if LDBL_MANT_DIG == 64
    if (power > POWER_MAX) return false;
    long double m = (long double)s->mantissa;
    long double value = s->exponent < 0 ? m / POWERS[power] : m * POWERS[power];
    uint64_t significand;
    memcpy(&significand, &value, sizeof significand);
    if ((significand & 0x7FF) == 0x400) return false;
    *out = (double)value;
    return true;
#else
    (void)POWERS;
    return false;
#endif
}

static bool convert_slow(const char *data, size_t bytes, double *out)
{
    char copy[TL_JSON_NUMBER_BYTES_MAX + 1];
    if (bytes >= sizeof copy) return false;
    memcpy(copy, data, bytes);
    copy[bytes] = '\0';
    locale_t locale = tl_format_c_locale();
    if (locale == (locale_t)0) return false;
    *out = fabs(strtod_l(copy, NULL, locale));
    return true;
}

static void note_whole(const scan *s, tl_json_decimal *out)
{
    const double exact_max = 9007199254740992.0; /* 2^53 */
    out->whole = TL_WHOLE_NOT;
    out->whole_bits = 0;
    if (s->plain && !s->dropped) {
        uint64_t magnitude_max = (uint64_t)INT64_MAX + s->negative;
        if (s->mantissa <= magnitude_max) {
            out->whole = TL_WHOLE_SIGNED;
            out->whole_bits = s->negative ? 0 - s->mantissa : s->mantissa;
        } else if (!s->negative) {
            out->whole = TL_WHOLE_UNSIGNED;
            out->whole_bits = s->mantissa;
        }
    } else if (fabs(out->value) <= exact_max && out->value == trunc(out->value)) {
        out->whole = TL_WHOLE_SIGNED;
        out->whole_bits = (uint64_t)(int64_t)out->value;
    }
}

bool tl_json_convert_number(const char *data, size_t bytes, tl_json_decimal *out)
{
    scan s;
    if (bytes > TL_JSON_NUMBER_BYTES_MAX || !scan_number(data, data + bytes, &s)) return false;
    double value;
    if (!convert_fast(&s, &value) && !convert_slow(data, bytes, &value)) return false;
    if (!isfinite(value)) return false;
    out->value = s.negative ? -value : value;
    note_whole(&s, out);
    return true;
}

bool tl_json_parse_number(const char *data, size_t bytes, double *out)
{
    tl_json_decimal decimal;
    if (!tl_json_convert_number(data, bytes, &decimal)) return false;
    *out = decimal.value;
    return true;
}

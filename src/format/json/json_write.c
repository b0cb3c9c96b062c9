/* json_write.c - writing JSON. Floats are printed here and not by printf: a server writes hundreds
 * of thousands of probabilities a second, and printf's decimal point follows the locale. */
#include "format/internal.h"
#include "format/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Text -------------------------------------------------------------------------------------
 */

/* The letter after the backslash for control characters, '"' and '\\'; 'u' where there is none. */
static char escape_letter(unsigned char c)
{
    switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return 'u';
    }
}

static void write_escape(tl_text *text, unsigned char c)
{
    static const char HEX[] = "0123456789abcdef";
    char letter = escape_letter(c);
    char out[6] = { '\\', letter, '0', '0', HEX[c >> 4], HEX[c & 15] };
    tl_text_append(text, out, letter == 'u' ? 6 : 2);
}

static void write_valid(tl_text *text, const char *data, size_t bytes)
{
    size_t start = 0;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        tl_text_append(text, data + start, i - start);
        write_escape(text, c);
        start = i + 1;
    }
    tl_text_append(text, data + start, bytes - start);
}

void tl_json_write_string_n(tl_text *text, const char *data, size_t bytes)
{
    tl_text_append(text, "\"", 1);
    while (bytes > 0) {
        size_t valid = tl_utf8_valid_prefix(data, bytes);
        write_valid(text, data, valid);
        data += valid;
        bytes -= valid;
        if (bytes == 0) break;
        tl_text_append(text, "\xEF\xBF\xBD", 3);
        data++;
        bytes--;
    }
    tl_text_append(text, "\"", 1);
}

void tl_json_write_string(tl_text *text, const char *string)
{
    tl_json_write_string_n(text, string, strlen(string));
}

/* ---- Whole numbers ----------------------------------------------------------------------------
 */

enum { UINT64_DIGITS = 20 };

/* Digits of value to the end of out; returns where they start. */
static char *digits_before(char *end, uint64_t value)
{
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return end;
}

void tl_json_write_uint64(tl_text *text, uint64_t value)
{
    char out[UINT64_DIGITS];
    char *start = digits_before(out + sizeof out, value);
    tl_text_append(text, start, (size_t)(out + sizeof out - start));
}

void tl_json_write_int64(tl_text *text, int64_t value)
{
    char out[UINT64_DIGITS + 1];
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char *start = digits_before(out + sizeof out, magnitude);
    if (value < 0) *--start = '-';
    tl_text_append(text, start, (size_t)(out + sizeof out - start));
}

void tl_json_write_bool(tl_text *text, bool value)
{
    tl_text_puts(text, value ? "true" : "false");
}

/* ---- Floats -----------------------------------------------------------------------------------
 */

static const double POWERS[] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13,
    1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27,
    1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38, 1e39, 1e40, 1e41,
    1e42, 1e43, 1e44, 1e45, 1e46, 1e47, 1e48, 1e49, 1e50, 1e51, 1e52, 1e53, 1e54,
};

static double scale(double x, int power)
{
    return power >= 0 ? x * POWERS[power] : x / POWERS[-power];
}

/* x is about digits * 10^(exponent - 8), with nine digits: 1e8 <= digits < 1e9. The product is off
 * by a few units of 2^-53, where nine digits need 2^-30 to tell floats apart: no harm. */
static uint32_t nine_digits(double x, int *exponent)
{
    int binary;
    frexp(x, &binary);
    int e = (int)floor((binary - 1) * 0.30102999566398120); /* the right one, or one too low */
    uint64_t digits = (uint64_t)(scale(x, 8 - e) + 0.5);
    if (digits >= 1000000000) {
        e++;
        digits = (uint64_t)(scale(x, 8 - e) + 0.5);
    }
    *exponent = e;
    return (uint32_t)digits;
}

/* Does digits * 10^power read as x by any correct reader, with room for the error made here? */
static bool reads_back(uint32_t digits, int power, float x)
{
    const double slack = 0x1p-50;
    double value = scale((double)digits, power);
    return (float)(value * (1 + slack)) == x && (float)(value * (1 - slack)) == x;
}

/* Drop the last one or two digits where fewer say the same; then zeros. Returns the digits' count.
 */
static int shorten(uint32_t *digits, int *exponent, float x)
{
    uint32_t seven = (*digits + 50) / 100;
    uint32_t eight = (*digits + 5) / 10;
    int count = 9;
    if (reads_back(seven, *exponent - 6, x)) {
        *digits = seven;
        count = 7;
    } else if (reads_back(eight, *exponent - 7, x)) {
        *digits = eight;
        count = 8;
    }
    if (*digits == (count == 7 ? 10000000u : 100000000u) && count < 9) { /* rounded up to 10.0 */
        *digits = 1;
        *exponent += 1;
        return 1;
    }
    while (count > 1 && *digits % 10 == 0) {
        *digits /= 10;
        count--;
    }
    return count;
}

/* 0.00123, 12.3, 12300 */
static char *put_fixed(char *out, const char *digits, int count, int exponent)
{
    if (exponent < 0) {
        *out++ = '0';
        *out++ = '.';
        for (int i = exponent + 1; i < 0; i++) *out++ = '0';
        memcpy(out, digits, (size_t)count);
        return out + count;
    }
    for (int i = 0; i < count || i <= exponent; i++) {
        if (i == exponent + 1) *out++ = '.';
        *out++ = i < count ? digits[i] : '0';
    }
    return out;
}

/* 1.23e-08 without the padding: 1.23e-8 */
static char *put_scientific(char *out, const char *digits, int count, int exponent)
{
    *out++ = digits[0];
    if (count > 1) {
        *out++ = '.';
        memcpy(out, digits + 1, (size_t)count - 1);
        out += count - 1;
    }
    *out++ = 'e';
    if (exponent < 0) *out++ = '-';
    int magnitude = exponent < 0 ? -exponent : exponent;
    if (magnitude >= 10) *out++ = (char)('0' + magnitude / 10);
    *out++ = (char)('0' + magnitude % 10);
    return out;
}

size_t tl_json_format_float(float value, char out[TL_JSON_FLOAT_BYTES])
{
    if (!isfinite(value)) {
        static const char NOTHING[] = { 'n', 'u', 'l', 'l' };
        memcpy(out, NOTHING, sizeof NOTHING);
        return sizeof NOTHING;
    }
    char *p = out;
    if (signbit(value)) *p++ = '-';
    float x = fabsf(value);
    if (x == 0) {
        *p++ = '0';
        return (size_t)(p - out);
    }
    int exponent;
    uint32_t digits = nine_digits((double)x, &exponent);
    int count = shorten(&digits, &exponent, x);
    char text[10] = { 0 };
    digits_before(text + count, digits);
    if (exponent >= -5 && exponent < 9)
        p = put_fixed(p, text, count, exponent);
    else
        p = put_scientific(p, text, count, exponent);
    return (size_t)(p - out);
}

void tl_json_write_float(tl_text *text, float value)
{
    char out[TL_JSON_FLOAT_BYTES];
    tl_text_append(text, out, tl_json_format_float(value, out));
}

/* The fewest of 15, 16 and 17 digits that read back; printf under the C locale. */
static void write_double_slow(tl_text *text, double value)
{
    char out[32];
    locale_t c_locale = tl_format_c_locale();
    locale_t before = c_locale == (locale_t)0 ? (locale_t)0 : uselocale(c_locale);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, sizeof out, "%.*g", digits, value);
        double back;
        if (tl_json_parse_number(out, strlen(out), &back) && back == value) break;
    }
    if (before != (locale_t)0) uselocale(before);
    tl_text_puts(text, out);
}

void tl_json_write_double(tl_text *text, double value)
{
    if (!isfinite(value))
        tl_text_puts(text, "null");
    else if (fabs(value) <= 9007199254740992.0 && value == trunc(value) && !signbit(value))
        tl_json_write_uint64(text, (uint64_t)value);
    else
        write_double_slow(text, value);
}

/* ---- The writer -------------------------------------------------------------------------------
 */

enum { WRITER_DEPTH_MAX = 60 };

void tl_json_begin(tl_json_writer *w, tl_text *text)
{
    *w = (tl_json_writer){ .text = text };
}

/* The comma before a value or key, unless it is the first or follows its key. */
static void separate(tl_json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    uint64_t bit = (uint64_t)1 << w->depth;
    if (w->depth > 0 && (w->has_items & bit) != 0) tl_text_append(w->text, ",", 1);
    w->has_items |= bit;
}

static void open_container(tl_json_writer *w, const char *bracket)
{
    separate(w);
    TL_ASSERT(w->depth < WRITER_DEPTH_MAX);
    w->depth++;
    w->has_items &= ~((uint64_t)1 << w->depth);
    tl_text_append(w->text, bracket, 1);
}

static void close_container(tl_json_writer *w, const char *bracket)
{
    TL_ASSERT(w->depth > 0);
    TL_ASSERT(!w->after_key);
    w->depth--;
    tl_text_append(w->text, bracket, 1);
}

void tl_json_object(tl_json_writer *w)
{
    open_container(w, "{");
}
void tl_json_object_end(tl_json_writer *w)
{
    close_container(w, "}");
}
void tl_json_array(tl_json_writer *w)
{
    open_container(w, "[");
}
void tl_json_array_end(tl_json_writer *w)
{
    close_container(w, "]");
}

void tl_json_key(tl_json_writer *w, const char *key)
{
    TL_ASSERT(!w->after_key);
    separate(w);
    tl_json_write_string(w->text, key);
    tl_text_append(w->text, ":", 1);
    w->after_key = true;
}

void tl_json_string(tl_json_writer *w, const char *string)
{
    if (string == NULL) {
        tl_json_null(w);
        return;
    }
    separate(w);
    tl_json_write_string(w->text, string);
}

void tl_json_float(tl_json_writer *w, float value)
{
    separate(w);
    tl_json_write_float(w->text, value);
}

void tl_json_double(tl_json_writer *w, double value)
{
    separate(w);
    tl_json_write_double(w->text, value);
}

void tl_json_uint(tl_json_writer *w, uint64_t value)
{
    separate(w);
    tl_json_write_uint64(w->text, value);
}

void tl_json_int(tl_json_writer *w, int64_t value)
{
    separate(w);
    tl_json_write_int64(w->text, value);
}

void tl_json_boolean(tl_json_writer *w, bool value)
{
    separate(w);
    tl_json_write_bool(w->text, value);
}

void tl_json_null(tl_json_writer *w)
{
    separate(w);
    tl_text_append(w->text, "null", 4);
}

void tl_json_put_text(tl_json_writer *w, const char *key, const char *value)
{
    tl_json_key(w, key);
    tl_json_string(w, value);
}

void tl_json_put_double(tl_json_writer *w, const char *key, double value)
{
    tl_json_key(w, key);
    tl_json_double(w, value);
}

void tl_json_put_uint(tl_json_writer *w, const char *key, uint64_t value)
{
    tl_json_key(w, key);
    tl_json_uint(w, value);
}

void tl_json_put_bool(tl_json_writer *w, const char *key, bool value)
{
    tl_json_key(w, key);
    tl_json_boolean(w, value);
}

void tl_json_raw(tl_json_writer *w, const char *json, size_t bytes)
{
    separate(w);
    tl_text_append(w->text, json, bytes);
}

void tl_json_floats(tl_json_writer *w, const float *values, size_t count)
{
    char out[32 * (TL_JSON_FLOAT_BYTES + 1) + 2];
    size_t used = 0;
    separate(w);
    out[used++] = '[';
    for (size_t i = 0; i < count; i++) {
        if (i > 0) out[used++] = ',';
        used += tl_json_format_float(values[i], out + used);
        if (used + TL_JSON_FLOAT_BYTES + 2 > sizeof out) {
            tl_text_append(w->text, out, used);
            used = 0;
        }
    }
    out[used++] = ']';
    tl_text_append(w->text, out, used);
}

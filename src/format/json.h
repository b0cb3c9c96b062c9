/* json.h - reading and writing JSON on the server's hot path. Layer: format.
 * Reading wraps yajl and builds a compact document in the caller's arena; writing appends to a
 * tl_text. One owner thread per parser and per writer; a finished document may be read by any.
 *
 *     tl_json_parser *parser;                       // one a thread, reused
 *     tl_json_parser_create(NULL, &parser, &err);
 *     const tl_json *root;
 *     tl_json_parse(parser, body, bytes, &arena, &root, &err);
 *     const tl_json *inputs = tl_json_get(root, "inputs");
 *     for (const tl_json *input = tl_json_first(inputs); input; input = input->next) ...
 *
 * Accessors accept NULL and any kind and then say "not there", so that lookups can be chained:
 * tl_json_get_text(tl_json_get(root, "parameters"), "site", NULL). */
#ifndef TL_FORMAT_JSON_H
#define TL_FORMAT_JSON_H

#include "base/arena.h"
#include "base/text.h"

/* ---- Documents ------------------------------------------------------------------------------- */

typedef enum tl_json_kind {
    TL_JSON_NULL,
    TL_JSON_BOOL,
    TL_JSON_NUMBER,
    TL_JSON_STRING,
    TL_JSON_ARRAY,   /* of anything, linked through `next` */
    TL_JSON_NUMBERS, /* an array of nothing but numbers, at least one: packed */
    TL_JSON_OBJECT   /* members linked through `next`, each with its key, in the order written */
} tl_json_kind;

typedef struct tl_json tl_json;

/* A value. Everything it points to lives in the arena it was parsed into, until that is reset. */
struct tl_json {
    tl_json_kind kind;
    uint32_t key_bytes;
    const char *key;     /* of a member of an object, else NULL; NUL-terminated */
    const tl_json *next; /* sibling in an array or object */
    union {
        bool boolean;
        struct {
            double value;        /* finite */
            uint64_t whole_bits; /* see tl_json_int64 */
        } number;
        struct {
            const char *data; /* valid UTF-8, NUL-terminated; may contain NUL (bytes > strlen) */
            size_t bytes;
        } string;
        struct {
            const double *values; /* [count], finite */
            size_t count;
        } numbers;
        struct {
            const tl_json *first;
            size_t count;
        } list; /* TL_JSON_ARRAY and TL_JSON_OBJECT */
    } as;
    uint8_t whole; /* private: how the number was written */
};

/* "an object", "a number", ...: for error texts; "nothing" for NULL. Static. */
const char *tl_json_kind_text(const tl_json *value);

/* The member `key` of an object; NULL when missing or `value` is NULL or no object. */
const tl_json *tl_json_get(const tl_json *value, const char *key);
/* The first element or member of an array or object (not of TL_JSON_NUMBERS); NULL when none. */
const tl_json *tl_json_first(const tl_json *value);
/* Elements of an array of either kind, or members of an object; 0 for anything else. */
size_t tl_json_count(const tl_json *value);

/* False when `value` is not of that kind (or NULL, or has a NUL inside, or is not whole, or does
 * not fit); *out is then untouched. Whole numbers are exact over the whole range of the type; "1.0"
 * and "1e3" count as whole, 1.5 does not. */
bool tl_json_text(const tl_json *value, const char **out);
bool tl_json_number(const tl_json *value, double *out);
bool tl_json_int64(const tl_json *value, int64_t *out);
bool tl_json_uint64(const tl_json *value, uint64_t *out);
bool tl_json_bool(const tl_json *value, bool *out);

/* The text member `key` of an object, or `fallback` when it is missing, no text, or has a NUL. */
const char *tl_json_get_text(const tl_json *value, const char *key, const char *fallback);

/* How many numbers are in `value`: a number, a packed array, or arrays of such to any depth.
 * False when anything else is in it. An empty array has 0 numbers. */
bool tl_json_count_numbers(const tl_json *value, size_t *out);
/* Copy those numbers, row by row, as floats to out [capacity]. Returns how many were written; the
 * value must have passed tl_json_count_numbers, and what is over `capacity` is left out. Numbers
 * beyond the range of a float become infinite: check where that matters. */
size_t tl_json_copy_floats(const tl_json *value, float *out, size_t capacity);

/* ---- Reading --------------------------------------------------------------------------------- */

typedef struct tl_json_parser tl_json_parser;

typedef struct tl_json_limits {
    uint32_t depth_max;   /* arrays and objects inside each other; default 32 */
    uint32_t members_max; /* keys in one object; default 256 */
    size_t bytes_max;     /* of the text; default 64 MiB */
} tl_json_limits;

/* `limits` NULL, or a field 0: the defaults. Errors: TL_ENOMEM. */
tl_status tl_json_parser_create(const tl_json_limits *limits, tl_json_parser **out, tl_error *err);
void tl_json_parser_destroy(tl_json_parser **parser); /* NULL-safe; clears *parser */

/* Parse one JSON text (RFC 8259) into `arena`, which is not reset here. Does not call malloc once
 * the parser and the arena have grown to the size of the requests.
 *   data   borrowed for the call; the document does not point into it
 * Refused with TL_EINVAL: anything that is not JSON, text after the value, a key given twice,
 * invalid UTF-8, a lone surrogate, a number beyond the range of a double, an empty text. TL_ELIMIT:
 * too deep, too many members, too long, or over the bound of the arena. TL_ENOMEM. The error's text
 * gives the byte offset and what was wrong. On error the arena may hold part of the document.
 * Arena: 8 bytes a number of a packed array, a text's own bytes, 48 bytes for any other value; so a
 * usual request takes about its own size, and a hostile one up to 16 times that. */
tl_status tl_json_parse(tl_json_parser *parser, const void *data, size_t bytes, tl_arena *arena,
                        const tl_json **out, tl_error *err);

/* One number in JSON's syntax, all of [data, data + bytes), independent of the locale; correctly
 * rounded. False when it is not one, or is too large for a double. */
bool tl_json_parse_number(const char *data, size_t bytes, double *out);

/* ---- Writing --------------------------------------------------------------------------------- */

/* Values, without commas. Text is escaped; each invalid UTF-8 byte becomes U+FFFD. Numbers come in
 * few digits that read back as the same float or double; NaN and infinity become null. */
void tl_json_write_string(tl_text *text, const char *string);
void tl_json_write_string_n(tl_text *text, const char *data, size_t bytes);
void tl_json_write_float(tl_text *text, float value);
void tl_json_write_double(tl_text *text, double value);
void tl_json_write_uint64(tl_text *text, uint64_t value);
void tl_json_write_int64(tl_text *text, int64_t value);
void tl_json_write_bool(tl_text *text, bool value);

enum { TL_JSON_FLOAT_BYTES = 24 };
/* What tl_json_write_float writes, without NUL; returns the bytes, at most TL_JSON_FLOAT_BYTES. */
size_t tl_json_format_float(float value, char out[TL_JSON_FLOAT_BYTES]);

/* A writer that puts the commas. In an object each value is preceded by its key:
 *
 *     tl_json_writer w;
 *     tl_json_begin(&w, &text);
 *     tl_json_object(&w);
 *     tl_json_key(&w, "id"); tl_json_string(&w, "a");
 *     tl_json_key(&w, "data"); tl_json_array(&w); tl_json_float(&w, 0.5f); tl_json_array_end(&w);
 *     tl_json_object_end(&w);
 *
 * Keys are written as they are when plain, so constant keys are cheap. Nesting is at most 60 deep
 * and ends must match (asserted: a caller's bug). */
typedef struct tl_json_writer {
    tl_text *text;
    uint64_t has_items; /* bit d: the container at depth d has something in it */
    uint32_t depth;
    bool after_key;
} tl_json_writer;

void tl_json_begin(tl_json_writer *w, tl_text *text);
void tl_json_object(tl_json_writer *w);
void tl_json_object_end(tl_json_writer *w);
void tl_json_array(tl_json_writer *w);
void tl_json_array_end(tl_json_writer *w);
void tl_json_key(tl_json_writer *w, const char *key);
void tl_json_string(tl_json_writer *w, const char *string); /* NULL: null */
void tl_json_float(tl_json_writer *w, float value);
void tl_json_double(tl_json_writer *w, double value);
void tl_json_uint(tl_json_writer *w, uint64_t value);
void tl_json_int(tl_json_writer *w, int64_t value);
void tl_json_boolean(tl_json_writer *w, bool value);
void tl_json_null(tl_json_writer *w);
/* A member of an object: its key and its value. */
void tl_json_put_text(tl_json_writer *w, const char *key, const char *value); /* NULL: null */
void tl_json_put_double(tl_json_writer *w, const char *key, double value);    /* NaN: null */
void tl_json_put_uint(tl_json_writer *w, const char *key, uint64_t value);
void tl_json_put_bool(tl_json_writer *w, const char *key, bool value);
/* A value that is JSON already, e.g. the caller's own id echoed. */
void tl_json_raw(tl_json_writer *w, const char *json, size_t bytes);
/* A packed array of floats, the hot one. */
void tl_json_floats(tl_json_writer *w, const float *values, size_t count);

#endif

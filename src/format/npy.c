#include "format/npy.h"

#include <math.h>
#include <string.h>

static uint16_t load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static uint32_t load_u32(const uint8_t *p)
{
    return load_u16(p) | (uint32_t)load_u16(p + 2) << 16;
}

/* ---- The header: a Python dictionary in text form ---------------------------------------------
 */

typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_space(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t')) c->at++;
}

static bool take(cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

/* A quoted string without escapes, borrowed. */
static bool take_string(cursor *c, const char **text, size_t *bytes)
{
    skip_space(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
    char quote = *c->at++;
    const char *close = memchr(c->at, quote, (size_t)(c->end - c->at));
    if (close == NULL) return false;
    *text = c->at;
    *bytes = (size_t)(close - c->at);
    c->at = close + 1;
    return true;
}

static bool take_word(cursor *c, const char *word)
{
    skip_space(c);
    size_t bytes = strlen(word);
    if ((size_t)(c->end - c->at) < bytes || memcmp(c->at, word, bytes) != 0) return false;
    c->at += bytes;
    return true;
}

static bool take_size(cursor *c, size_t *out)
{
    skip_space(c);
    size_t value = 0;
    const char *start = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        size_t digit = (size_t)(*c->at - '0');
        if (value > (SIZE_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return c->at > start;
}

static bool take_shape(cursor *c, tl_npy *array)
{
    array->rank = 0;
    array->count = 1;
    if (!take(c, '(')) return false;
    while (!take(c, ')')) {
        size_t size;
        if (array->rank == TL_NPY_RANK_MAX || !take_size(c, &size)) return false;
        if (__builtin_mul_overflow(array->count, size, &array->count)) return false;
        array->shape[array->rank++] = size;
        if (!take(c, ',')) return take(c, ')');
    }
    return true;
}

static const struct {
    char text[4];
    tl_npy_type type;
    size_t bytes;
} TYPES[] = {
    { "<f4", TL_NPY_F32, 4 }, { "<f8", TL_NPY_F64, 8 }, { "<i8", TL_NPY_I64, 8 },
    { "|u1", TL_NPY_U8, 1 },  { "<u1", TL_NPY_U8, 1 },
};

static size_t type_bytes(tl_npy_type type)
{
    return type == TL_NPY_F32 ? 4 : type == TL_NPY_U8 ? 1 : 8;
}

static bool find_type(const char *text, size_t bytes, tl_npy_type *out)
{
    for (size_t i = 0; i < TL_COUNT_OF(TYPES); i++) {
        if (bytes != 3 || memcmp(TYPES[i].text, text, 3) != 0) continue;
        *out = TYPES[i].type;
        return true;
    }
    return false;
}

enum { SEEN_DESCR = 1, SEEN_ORDER = 2, SEEN_SHAPE = 4, SEEN_ALL = 7 };

/* One "key: value" of the dictionary. */
static tl_status parse_entry(cursor *c, tl_npy *array, unsigned *seen, tl_error *err)
{
    const char *key, *text;
    size_t key_bytes, bytes;
    if (!take_string(c, &key, &key_bytes) || !take(c, ':'))
        return tl_fail(err, TL_EINVAL, ".npy header: a key is malformed");
    if (key_bytes == 5 && memcmp(key, "descr", 5) == 0) {
        if (!take_string(c, &text, &bytes) || !find_type(text, bytes, &array->type))
            return tl_fail(err, TL_EUNSUPPORTED,
                           ".npy element type is not float32, float64, int64 or uint8 in little "
                           "endian; convert it with astype");
        *seen |= SEEN_DESCR;
        return TL_OK;
    }
    if (key_bytes == 13 && memcmp(key, "fortran_order", 13) == 0) {
        if (!take_word(c, "False"))
            return tl_fail(err, TL_EUNSUPPORTED,
                           ".npy array is in Fortran order; save numpy.ascontiguousarray of it");
        *seen |= SEEN_ORDER;
        return TL_OK;
    }
    if (key_bytes == 5 && memcmp(key, "shape", 5) == 0) {
        if (!take_shape(c, array))
            return tl_fail(err, TL_EINVAL, ".npy shape is malformed or has more than %d dimensions",
                           TL_NPY_RANK_MAX);
        *seen |= SEEN_SHAPE;
        return TL_OK;
    }
    return tl_fail(err, TL_EINVAL, ".npy header has an unknown key");
}

static tl_status parse_header(const char *text, size_t bytes, tl_npy *array, tl_error *err)
{
    cursor c = { text, text + bytes };
    unsigned seen = 0;
    if (!take(&c, '{')) return tl_fail(err, TL_EINVAL, ".npy header is not a dictionary");
    while (!take(&c, '}')) {
        tl_status status = parse_entry(&c, array, &seen, err);
        if (status != TL_OK) return status;
        if (take(&c, ',')) continue;
        if (!take(&c, '}')) return tl_fail(err, TL_EINVAL, ".npy header does not end");
        break;
    }
    if (seen != SEEN_ALL)
        return tl_fail(err, TL_EINVAL, ".npy header lacks its type, order or shape");
    return TL_OK;
}

tl_status tl_npy_parse(const void *data, size_t bytes, tl_npy *out, tl_error *err)
{
    const uint8_t *p = data;
    if (bytes < 10 || memcmp(p, "\x93NUMPY", 6) != 0)
        return tl_fail(err, TL_EINVAL, "not a .npy array: the magic bytes are missing");
    if (p[6] < 1 || p[6] > 3)
        return tl_fail(err, TL_EUNSUPPORTED, ".npy version %u is not known; 1 to 3 are", p[6]);
    size_t start = p[6] == 1 ? 10 : 12;
    if (bytes < start) return tl_fail(err, TL_EINVAL, ".npy array is cut off in its header");
    size_t header_bytes = p[6] == 1 ? load_u16(p + 8) : load_u32(p + 8);
    if (header_bytes > bytes - start)
        return tl_fail(err, TL_EINVAL, ".npy array is cut off in its header");

    tl_npy array = { .data = p + start + header_bytes };
    tl_status status = parse_header((const char *)p + start, header_bytes, &array, err);
    if (status != TL_OK) return status;
    size_t have = bytes - start - header_bytes;
    if (array.count > have / type_bytes(array.type))
        return tl_fail(err, TL_EINVAL, ".npy array of %zu elements is cut off after %zu bytes",
                       array.count, have);
    *out = array;
    return TL_OK;
}

/* ---- Numbers ----------------------------------------------------------------------------------
 */

double tl_npy_number(const tl_npy *array, size_t index)
{
    TL_ASSERT(index < array->count);
    const uint8_t *at = (const uint8_t *)array->data + index * type_bytes(array->type);
    float f32;
    double f64;
    int64_t i64;
    switch (array->type) {
    case TL_NPY_F32: memcpy(&f32, at, sizeof f32); return (double)f32;
    case TL_NPY_F64: memcpy(&f64, at, sizeof f64); return f64;
    case TL_NPY_I64: memcpy(&i64, at, sizeof i64); return (double)i64;
    case TL_NPY_U8: return (double)*at;
    }
    return 0.0;
}

int64_t tl_npy_integer(const tl_npy *array, size_t index)
{
    TL_ASSERT(index < array->count);
    if (array->type == TL_NPY_I64) {
        int64_t value;
        memcpy(&value, (const uint8_t *)array->data + index * sizeof value, sizeof value);
        return value;
    }
    double value = tl_npy_number(array, index);
    if (isnan(value)) return 0;
    if (value >= 9223372036854775808.0) return INT64_MAX;
    if (value < -9223372036854775808.0) return INT64_MIN;
    return (int64_t)value;
}

void tl_npy_copy_f32(const tl_npy *array, float *out)
{
    if (array->type == TL_NPY_F32) {
        if (array->count > 0) memcpy(out, array->data, array->count * sizeof *out);
        return;
    }
    for (size_t i = 0; i < array->count; i++) out[i] = (float)tl_npy_number(array, i);
}

/* ---- Archives ---------------------------------------------------------------------------------
 */

enum { END_BYTES = 22, ENTRY_BYTES = 46, LOCAL_BYTES = 30, COMMENT_BYTES_MAX = 65535 };
static const uint32_t END_SIGNATURE = 0x06054b50, ENTRY_SIGNATURE = 0x02014b50,
                      LOCAL_SIGNATURE = 0x04034b50;

typedef struct entry {
    const char *name;
    size_t name_bytes, local_offset, data_bytes;
    uint16_t method;
    size_t next; /* offset of the entry after this one */
} entry;

/* The entry of the central directory at `at`; false when it does not fit. */
static bool load_entry(const tl_npz *archive, size_t at, entry *out)
{
    size_t end = archive->directory_offset + archive->directory_bytes;
    if (at > end || end - at < ENTRY_BYTES) return false;
    const uint8_t *p = archive->data + at;
    if (load_u32(p) != ENTRY_SIGNATURE) return false;
    size_t name_bytes = load_u16(p + 28);
    size_t bytes = ENTRY_BYTES + name_bytes + load_u16(p + 30) + load_u16(p + 32);
    if (bytes > end - at) return false;
    *out = (entry){ .name = (const char *)p + ENTRY_BYTES,
                    .name_bytes = name_bytes,
                    .method = load_u16(p + 10),
                    .data_bytes = load_u32(p + 24),
                    .local_offset = load_u32(p + 42),
                    .next = at + bytes };
    return true;
}

static bool find_end(const uint8_t *data, size_t bytes, size_t *out)
{
    if (bytes < END_BYTES) return false;
    size_t lowest =
        bytes - END_BYTES > COMMENT_BYTES_MAX ? bytes - END_BYTES - COMMENT_BYTES_MAX : 0;
    for (size_t at = bytes - END_BYTES + 1; at-- > lowest;) {
        if (load_u32(data + at) != END_SIGNATURE) continue;
        *out = at;
        return true;
    }
    return false;
}

tl_status tl_npz_open(const void *data, size_t bytes, tl_npz *out, tl_error *err)
{
    size_t end;
    if (!find_end(data, bytes, &end))
        return tl_fail(err, TL_EINVAL, "not an .npz archive: no end record");
    const uint8_t *p = (const uint8_t *)data + end;
    tl_npz archive = { .data = data,
                       .bytes = bytes,
                       .count = load_u16(p + 10),
                       .directory_bytes = load_u32(p + 12),
                       .directory_offset = load_u32(p + 16) };
    if (archive.directory_offset > end || archive.directory_bytes > end - archive.directory_offset)
        return tl_fail(err, TL_EINVAL, ".npz directory lies outside of the archive");
    size_t at = archive.directory_offset;
    for (size_t i = 0; i < archive.count; i++) {
        entry e;
        if (!load_entry(&archive, at, &e))
            return tl_fail(err, TL_EINVAL, ".npz directory entry %zu is malformed", i);
        at = e.next;
    }
    *out = archive;
    return TL_OK;
}

const char *tl_npz_name(const tl_npz *archive, size_t index, size_t *bytes)
{
    TL_ASSERT(index < archive->count);
    entry e = { .next = archive->directory_offset };
    for (size_t i = 0; i <= index; i++) {
        bool found = load_entry(archive, e.next, &e);
        TL_ASSERT(found); /* tl_npz_open walked all of them */
    }
    *bytes = e.name_bytes;
    return e.name;
}

static tl_status parse_member(const tl_npz *archive, const entry *e, const char *name, tl_npy *out,
                              tl_error *err)
{
    if (e->method != 0)
        return tl_fail(err, TL_EUNSUPPORTED,
                       ".npz member %s is compressed; save it with numpy.savez", name);
    size_t bytes = archive->bytes, at = e->local_offset;
    if (at > bytes || bytes - at < LOCAL_BYTES || load_u32(archive->data + at) != LOCAL_SIGNATURE)
        return tl_fail(err, TL_EINVAL, ".npz member %s has no local header", name);
    size_t skip =
        LOCAL_BYTES + load_u16(archive->data + at + 26) + load_u16(archive->data + at + 28);
    if (skip > bytes - at || e->data_bytes > bytes - at - skip)
        return tl_fail(err, TL_EINVAL, ".npz member %s is cut off", name);
    return tl_npy_parse(archive->data + at + skip, e->data_bytes, out, err);
}

tl_status tl_npz_find(const tl_npz *archive, const char *name, tl_npy *out, tl_error *err)
{
    size_t name_bytes = strlen(name);
    entry e = { .next = archive->directory_offset };
    for (size_t i = 0; i < archive->count; i++) {
        bool found = load_entry(archive, e.next, &e);
        TL_ASSERT(found);
        if (e.name_bytes != name_bytes + 4 || memcmp(e.name, name, name_bytes) != 0) continue;
        if (memcmp(e.name + name_bytes, ".npy", 4) != 0) continue;
        return parse_member(archive, &e, name, out, err);
    }
    return tl_fail(err, TL_ENOTFOUND, "no array %s in the .npz archive", name);
}

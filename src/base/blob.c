#include "base/blob.h"

#include <stdlib.h>
#include <string.h>

enum { SECTION_HEADER_BYTES = 16 };

void tl_blob_init(tl_blob *blob)
{
    *blob = (tl_blob){ 0 };
}

void tl_blob_destroy(tl_blob *blob)
{
    free(blob->data);
    *blob = (tl_blob){ 0 };
}

bool tl_blob_ok(const tl_blob *blob)
{
    return !blob->failed;
}

/* Room for `bytes` more, or NULL once memory ran out. */
static uint8_t *grow(tl_blob *blob, size_t bytes)
{
    if (blob->failed) return NULL;
    if (bytes > blob->capacity - blob->bytes) {
        size_t capacity = blob->capacity < 256 ? 256 : blob->capacity;
        while (capacity - blob->bytes < bytes && capacity <= SIZE_MAX / 2) capacity *= 2;
        uint8_t *data = capacity - blob->bytes < bytes ? NULL : realloc(blob->data, capacity);
        if (data == NULL) {
            blob->failed = true;
            return NULL;
        }
        blob->data = data;
        blob->capacity = capacity;
    }
    uint8_t *at = blob->data + blob->bytes;
    blob->bytes += bytes;
    return at;
}

static void put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void append(tl_blob *blob, uint64_t value, size_t bytes)
{
    uint8_t *at = grow(blob, bytes);
    if (at != NULL) put(at, value, bytes);
}

void tl_blob_u8(tl_blob *blob, uint8_t value)
{
    append(blob, value, 1);
}

void tl_blob_u32(tl_blob *blob, uint32_t value)
{
    append(blob, value, 4);
}

void tl_blob_u64(tl_blob *blob, uint64_t value)
{
    append(blob, value, 8);
}

void tl_blob_f64(tl_blob *blob, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    append(blob, bits, 8);
}

void tl_blob_bytes(tl_blob *blob, const void *data, size_t bytes)
{
    uint8_t *at = grow(blob, bytes);
    if (at != NULL && bytes > 0) memcpy(at, data, bytes);
}

void tl_blob_f32s(tl_blob *blob, const float *values, size_t count)
{
    uint8_t *at = grow(blob, count * 4);
    if (at == NULL) return;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        put(at + 4 * i, bits, 4);
    }
}

void tl_blob_u64s(tl_blob *blob, const uint64_t *values, size_t count)
{
    uint8_t *at = grow(blob, count * 8);
    if (at == NULL) return;
    for (size_t i = 0; i < count; i++) put(at + 8 * i, values[i], 8);
}

size_t tl_blob_section_begin(tl_blob *blob, const char tag[4], uint32_t version)
{
    size_t begin = blob->bytes;
    tl_blob_bytes(blob, tag, 4);
    tl_blob_u32(blob, version);
    tl_blob_u64(blob, 0); /* the length, known at the end */
    return begin;
}

void tl_blob_section_end(tl_blob *blob, size_t begin)
{
    if (blob->failed) return;
    size_t body = begin + SECTION_HEADER_BYTES;
    TL_ASSERT(body <= blob->bytes);
    size_t bytes = blob->bytes - body;
    put(blob->data + begin + 8, bytes, 8);
    tl_blob_u64(blob, tl_hash64(blob->data + begin, bytes + SECTION_HEADER_BYTES, 0));
}

void tl_blob_reader_init(tl_blob_reader *reader, const void *data, size_t bytes)
{
    *reader = (tl_blob_reader){ .data = data, .bytes = bytes };
}

size_t tl_blob_left(const tl_blob_reader *reader)
{
    return reader->failed ? 0 : reader->bytes - reader->at;
}

const void *tl_blob_read_bytes(tl_blob_reader *reader, size_t bytes)
{
    if (reader->failed || bytes > reader->bytes - reader->at) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *at = reader->data + reader->at;
    reader->at += bytes;
    return at;
}

static uint64_t take(tl_blob_reader *reader, size_t bytes)
{
    const uint8_t *at = tl_blob_read_bytes(reader, bytes);
    return at == NULL ? 0 : get(at, bytes);
}

uint8_t tl_blob_read_u8(tl_blob_reader *reader)
{
    return (uint8_t)take(reader, 1);
}

uint32_t tl_blob_read_u32(tl_blob_reader *reader)
{
    return (uint32_t)take(reader, 4);
}

uint64_t tl_blob_read_u64(tl_blob_reader *reader)
{
    return take(reader, 8);
}

double tl_blob_read_f64(tl_blob_reader *reader)
{
    uint64_t bits = take(reader, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

bool tl_blob_read_f32s(tl_blob_reader *reader, float *out, size_t count)
{
    if (count > tl_blob_left(reader) / 4) reader->failed = true;
    const uint8_t *at = tl_blob_read_bytes(reader, count * 4);
    if (at == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)get(at + 4 * i, 4);
        memcpy(&out[i], &bits, sizeof bits);
    }
    return true;
}

bool tl_blob_read_u64s(tl_blob_reader *reader, uint64_t *out, size_t count)
{
    if (count > tl_blob_left(reader) / 8) reader->failed = true;
    const uint8_t *at = tl_blob_read_bytes(reader, count * 8);
    if (at == NULL) return false;
    for (size_t i = 0; i < count; i++) out[i] = get(at + 8 * i, 8);
    return true;
}

tl_status tl_blob_read_section(tl_blob_reader *reader, const char tag[4], uint32_t version_max,
                               tl_blob_reader *body, uint32_t *version, tl_error *err)
{
    size_t left = tl_blob_left(reader);
    if (left < SECTION_HEADER_BYTES + 8)
        return tl_fail(err, TL_ECORRUPT, "saved state ends before section %.4s", tag);
    const uint8_t *header = reader->data + reader->at;
    if (memcmp(header, tag, 4) != 0)
        return tl_fail(err, TL_ECORRUPT,
                       "saved state holds something else where section %.4s was "
                       "expected",
                       tag);
    uint64_t bytes = get(header + 8, 8);
    if (bytes > left - SECTION_HEADER_BYTES - 8)
        return tl_fail(err, TL_ECORRUPT, "section %.4s of a saved state is cut short", tag);
    size_t hashed = SECTION_HEADER_BYTES + (size_t)bytes;
    if (get(header + hashed, 8) != tl_hash64(header, hashed, 0))
        return tl_fail(err, TL_ECORRUPT, "section %.4s of a saved state is damaged", tag);
    uint32_t found = (uint32_t)get(header + 4, 4);
    if (found > version_max)
        return tl_fail(err, TL_EVERSION,
                       "section %.4s has version %u, this program knows %u; use a "
                       "newer tightloop",
                       tag, found, version_max);
    tl_blob_reader_init(body, header + SECTION_HEADER_BYTES, (size_t)bytes);
    reader->at += hashed + 8;
    if (version != NULL) *version = found;
    return TL_OK;
}

tl_status tl_blob_read_end(const tl_blob_reader *body, const char *what, tl_error *err)
{
    if (body->failed) return tl_fail(err, TL_ECORRUPT, "saved %s is cut short", what);
    if (body->at != body->bytes)
        return tl_fail(err, TL_ECORRUPT, "saved %s has %zu bytes too many", what,
                       body->bytes - body->at);
    return TL_OK;
}

static uint64_t mix(uint64_t lane, uint64_t word)
{
    lane = (lane ^ word) * 0x9fb21c651e98df25u;
    return lane ^ (lane >> 29);
}

uint64_t tl_hash64(const void *data, size_t bytes, uint64_t seed)
{
    const uint8_t *at = data;
    uint64_t lane[4];
    for (unsigned i = 0; i < 4; i++) lane[i] = mix(seed + i, 0xd6e8feb86659fd93u);
    size_t left = bytes;
    for (; left >= 32; left -= 32, at += 32)
        for (unsigned i = 0; i < 4; i++) lane[i] = mix(lane[i], get(at + 8 * i, 8));
    for (unsigned i = 0; left > 0; i++) { /* at most four words, the last one padded with zeros */
        size_t part = left < 8 ? left : 8;
        lane[i] = mix(lane[i], get(at, part));
        at += part;
        left -= part;
    }
    uint64_t hash = mix(bytes, seed);
    for (unsigned i = 0; i < 4; i++) hash = mix(hash, lane[i]);
    return mix(hash, hash >> 32);
}

/* blob.h - saved states as bytes: little-endian, in sections, checked as untrusted when read.
 * Layer: base. One owner thread.
 *
 * A section is: tag (4 bytes), version (4), length of its body (8), body, hash of the body (8).
 * Sections follow one another and nest, so that a loop keeps all its learning state in one blob.
 * Writing never fails on the spot: tl_blob_ok tells in the end. Reading past an end or from a
 * damaged section gives zeros and a failed reader: check once, before the values are used to
 * allocate. */
#ifndef TL_BASE_BLOB_H
#define TL_BASE_BLOB_H

#include "base/status.h"

typedef struct tl_blob {
    uint8_t *data; /* malloc'ed */
    size_t bytes, capacity;
    bool failed; /* out of memory */
} tl_blob;

void tl_blob_init(tl_blob *blob);
void tl_blob_destroy(tl_blob *blob);
bool tl_blob_ok(const tl_blob *blob);
void tl_blob_u8(tl_blob *blob, uint8_t value);
void tl_blob_u32(tl_blob *blob, uint32_t value);
void tl_blob_u64(tl_blob *blob, uint64_t value);
void tl_blob_f64(tl_blob *blob, double value);
void tl_blob_bytes(tl_blob *blob, const void *data, size_t bytes);
void tl_blob_f32s(tl_blob *blob, const float *values, size_t count);
void tl_blob_u64s(tl_blob *blob, const uint64_t *values, size_t count);
/* `tag` is four letters, e.g. "HEAD". Returns what tl_blob_section_end wants back. */
size_t tl_blob_section_begin(tl_blob *blob, const char tag[4], uint32_t version);
void tl_blob_section_end(tl_blob *blob, size_t begin);

typedef struct tl_blob_reader {
    const uint8_t *data; /* borrowed */
    size_t bytes, at;
    bool failed;
} tl_blob_reader;

void tl_blob_reader_init(tl_blob_reader *reader, const void *data, size_t bytes);
uint8_t tl_blob_read_u8(tl_blob_reader *reader);
uint32_t tl_blob_read_u32(tl_blob_reader *reader);
uint64_t tl_blob_read_u64(tl_blob_reader *reader);
double tl_blob_read_f64(tl_blob_reader *reader);
/* Bytes left to read. */
size_t tl_blob_left(const tl_blob_reader *reader);
/* The next `bytes` bytes, borrowed from the blob; NULL (and failed) when there are fewer. */
const void *tl_blob_read_bytes(tl_blob_reader *reader, size_t bytes);
/* False (and failed) when there are fewer. */
bool tl_blob_read_f32s(tl_blob_reader *reader, float *out, size_t count);
bool tl_blob_read_u64s(tl_blob_reader *reader, uint64_t *out, size_t count);
/* Open the next section, which must have that tag: `body` reads it, `reader` moves past it.
 * Errors: TL_ECORRUPT (other tag, cut short, hash), TL_EVERSION (version above `version_max`). */
tl_status tl_blob_read_section(tl_blob_reader *reader, const char tag[4], uint32_t version_max,
                               tl_blob_reader *body, uint32_t *version, tl_error *err);
/* TL_OK when `body` was read to its end without failure, else TL_ECORRUPT naming `what`. */
tl_status tl_blob_read_end(const tl_blob_reader *body, const char *what, tl_error *err);

/* A fast 64-bit hash for damage and comparison, not against malice. The same on every machine. */
uint64_t tl_hash64(const void *data, size_t bytes, uint64_t seed);

#endif

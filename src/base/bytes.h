/* bytes.h - states as bytes: little-endian, bounds-checked. Layer: base. One owner thread.
 * Writing goes to a tl_text (base/text.h). Reading never runs past the end: after the first short
 * read everything reads as zero and tl_bytes_ok tells, so a whole record can be read and checked
 * once. */
#ifndef TL_BASE_BYTES_H
#define TL_BASE_BYTES_H

#include "base/text.h"

void tl_bytes_put_u8(tl_text *out, uint8_t value);
void tl_bytes_put_u32(tl_text *out, uint32_t value);
void tl_bytes_put_u64(tl_text *out, uint64_t value);
void tl_bytes_put_f32(tl_text *out, float value);
void tl_bytes_put_f64(tl_text *out, double value);
void tl_bytes_put_f32s(tl_text *out, const float *values, size_t count);
/* Length as u64, then the bytes. */
void tl_bytes_put_block(tl_text *out, const void *data, size_t bytes);
void tl_bytes_put_string(tl_text *out, const char *string);

typedef struct tl_bytes {
    const uint8_t *data;
    size_t bytes, at;
    bool failed;
} tl_bytes;

tl_bytes tl_bytes_of(const void *data, size_t bytes);
uint8_t tl_bytes_get_u8(tl_bytes *in);
uint32_t tl_bytes_get_u32(tl_bytes *in);
uint64_t tl_bytes_get_u64(tl_bytes *in);
float tl_bytes_get_f32(tl_bytes *in);
double tl_bytes_get_f64(tl_bytes *in);
void tl_bytes_get_f32s(tl_bytes *in, float *values, size_t count);
/* Borrowed from the input; *bytes is 0 and the result NULL after a failure. */
const void *tl_bytes_get_block(tl_bytes *in, size_t *bytes);
/* Copies at most capacity-1 bytes and a NUL; a longer string fails. */
void tl_bytes_get_string(tl_bytes *in, char *out, size_t capacity);
bool tl_bytes_ok(const tl_bytes *in);
/* Everything was read, and nothing is left. */
bool tl_bytes_done(const tl_bytes *in);

/* 64-bit hash of bytes for digests (not against an adversary). Chain with `seed`. */
uint64_t tl_hash64(const void *data, size_t bytes, uint64_t seed);

#endif

/* base64.h - strict base64 (RFC 4648, section 4: padded, no line breaks) for images inside JSON.
 * Layer: format, over libsodium. Any thread. */
#ifndef TL_FORMAT_BASE64_H
#define TL_FORMAT_BASE64_H

#include "base/arena.h"
#include "base/text.h"

/* An upper bound of the bytes that `text_bytes` of base64 decode to. */
size_t tl_base64_decoded_bytes_max(size_t text_bytes);

/* Decode all of text to out [capacity]; *bytes_out is the count written. TL_EINVAL: a character
 * that is none of base64, missing padding, bits left over; TL_ELIMIT: over the capacity. */
tl_status tl_base64_decode(const char *text, size_t text_bytes, void *out, size_t capacity,
                           size_t *bytes_out, tl_error *err);

/* The same into the arena; *out lives until that is reset. TL_ENOMEM: over the arena's bound. */
tl_status tl_base64_decode_arena(const char *text, size_t text_bytes, tl_arena *arena,
                                 const void **out, size_t *bytes_out, tl_error *err);

/* Append the base64 of data. */
void tl_base64_encode(const void *data, size_t bytes, tl_text *out);

#endif

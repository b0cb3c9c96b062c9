#include "format/base64.h"

#include <sodium.h>
#include <string.h>

size_t tl_base64_decoded_bytes_max(size_t text_bytes)
{
    return text_bytes / 4 * 3 + 3;
}

tl_status tl_base64_decode(const char *text, size_t text_bytes, void *out, size_t capacity,
                           size_t *bytes_out, tl_error *err)
{
    if (text_bytes % 4 != 0)
        return tl_fail(err, TL_EINVAL, "base64: %zu characters; expected a multiple of 4, padded",
                       text_bytes);
    size_t padding = 0;
    while (padding < 2 && padding < text_bytes && text[text_bytes - 1 - padding] == '=') padding++;
    if (text_bytes / 4 * 3 - padding > capacity)
        return tl_fail(err, TL_ELIMIT, "base64: decodes to more than the %zu bytes allowed",
                       capacity);
    size_t bytes = 0;
    const char *end = text;
    int result = sodium_base642bin(out, capacity, text, text_bytes, NULL, &bytes, &end,
                                   sodium_base64_VARIANT_ORIGINAL);
    if (result != 0 || end != text + text_bytes)
        return tl_fail(err, TL_EINVAL, "base64: not valid near character %zu",
                       (size_t)(end - text));
    *bytes_out = bytes;
    return TL_OK;
}

tl_status tl_base64_decode_arena(const char *text, size_t text_bytes, tl_arena *arena,
                                 const void **out, size_t *bytes_out, tl_error *err)
{
    size_t capacity = tl_base64_decoded_bytes_max(text_bytes);
    void *data = tl_arena_alloc(arena, capacity);
    if (data == NULL)
        return tl_fail(err, TL_ENOMEM, "base64: %zu characters do not fit in the request's memory",
                       text_bytes);
    tl_status status = tl_base64_decode(text, text_bytes, data, capacity, bytes_out, err);
    if (status == TL_OK) *out = data;
    return status;
}

void tl_base64_encode(const void *data, size_t bytes, tl_text *out)
{
    const unsigned char *in = data;
    char chunk[1024 + 1]; /* 768 bytes a piece: a multiple of 3, so that pieces join up */
    for (size_t at = 0; at < bytes; at += 768) {
        size_t part = bytes - at < 768 ? bytes - at : 768;
        sodium_bin2base64(chunk, sizeof chunk, in + at, part, sodium_base64_VARIANT_ORIGINAL);
        tl_text_puts(out, chunk);
    }
}

#include "base/bytes.h"

#include "base/rng.h"

#include <string.h>

_Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "IEEE 754 floats");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "states are stored little-endian");

void tl_bytes_put_u8(tl_text *out, uint8_t value)
{
    tl_text_append(out, (const char *)&value, sizeof value);
}

void tl_bytes_put_u32(tl_text *out, uint32_t value)
{
    tl_text_append(out, (const char *)&value, sizeof value);
}

void tl_bytes_put_u64(tl_text *out, uint64_t value)
{
    tl_text_append(out, (const char *)&value, sizeof value);
}

void tl_bytes_put_f32(tl_text *out, float value)
{
    tl_text_append(out, (const char *)&value, sizeof value);
}

void tl_bytes_put_f64(tl_text *out, double value)
{
    tl_text_append(out, (const char *)&value, sizeof value);
}

void tl_bytes_put_f32s(tl_text *out, const float *values, size_t count)
{
    tl_text_append(out, (const char *)values, count * sizeof *values);
}

void tl_bytes_put_block(tl_text *out, const void *data, size_t bytes)
{
    tl_bytes_put_u64(out, bytes);
    if (bytes > 0) tl_text_append(out, data, bytes);
}

void tl_bytes_put_string(tl_text *out, const char *string)
{
    tl_bytes_put_block(out, string, strlen(string));
}

tl_bytes tl_bytes_of(const void *data, size_t bytes)
{
    return (tl_bytes){ .data = data, .bytes = bytes };
}

static const uint8_t *take(tl_bytes *in, uint64_t bytes)
{
    if (in->failed || bytes > in->bytes - in->at) {
        in->failed = true;
        return NULL;
    }
    const uint8_t *data = in->data + in->at;
    in->at += (size_t)bytes;
    return data;
}

static void copy(tl_bytes *in, void *out, size_t bytes)
{
    const uint8_t *data = take(in, bytes);
    if (data != NULL)
        memcpy(out, data, bytes);
    else
        memset(out, 0, bytes);
}

uint8_t tl_bytes_get_u8(tl_bytes *in)
{
    uint8_t value;
    copy(in, &value, sizeof value);
    return value;
}

uint32_t tl_bytes_get_u32(tl_bytes *in)
{
    uint32_t value;
    copy(in, &value, sizeof value);
    return value;
}

uint64_t tl_bytes_get_u64(tl_bytes *in)
{
    uint64_t value;
    copy(in, &value, sizeof value);
    return value;
}

float tl_bytes_get_f32(tl_bytes *in)
{
    float value;
    copy(in, &value, sizeof value);
    return value;
}

double tl_bytes_get_f64(tl_bytes *in)
{
    double value;
    copy(in, &value, sizeof value);
    return value;
}

void tl_bytes_get_f32s(tl_bytes *in, float *values, size_t count)
{
    copy(in, values, count * sizeof *values);
}

const void *tl_bytes_get_block(tl_bytes *in, size_t *bytes)
{
    uint64_t length = tl_bytes_get_u64(in);
    const void *data = take(in, length);
    *bytes = data == NULL ? 0 : (size_t)length;
    return data;
}

void tl_bytes_get_string(tl_bytes *in, char *out, size_t capacity)
{
    size_t bytes;
    const void *data = tl_bytes_get_block(in, &bytes);
    if (data == NULL || bytes >= capacity) {
        in->failed = true;
        bytes = 0;
    }
    if (bytes > 0) memcpy(out, data, bytes);
    out[bytes] = '\0';
}

bool tl_bytes_ok(const tl_bytes *in)
{
    return !in->failed;
}

bool tl_bytes_done(const tl_bytes *in)
{
    return !in->failed && in->at == in->bytes;
}

uint64_t tl_hash64(const void *data, size_t bytes, uint64_t seed)
{
    const uint8_t *at = data;
    uint64_t hash = tl_mix64(seed ^ bytes);
    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = tl_mix64(hash ^ word);
    }
    uint64_t rest = 0;
    memcpy(&rest, at, bytes);
    return tl_mix64(hash ^ rest);
}

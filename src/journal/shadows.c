/* shadows.c - what challengers said of an item, as bytes and back. */
#include "journal/internal.h"

#include <string.h>

static void put_little(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_little(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

size_t tl_shadows_encode(const tl_shadow_record *shadows, uint32_t count, uint8_t *bytes)
{
    TL_ASSERT(count <= TL_SHADOW_COUNT_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = bytes + (size_t)i * TL_SHADOW_BYTES;
        uint32_t score;
        memcpy(&score, &shadows[i].defect_score, sizeof score);
        put_little(at, shadows[i].version, 8);
        put_little(at + 8, score, 4);
        at[12] = shadows[i].label;
        at[13] = shadows[i].flagged != 0;
    }
    return (size_t)count * TL_SHADOW_BYTES;
}

bool tl_shadows_decode(const uint8_t *bytes, size_t byte_count, tl_shadow_record *out,
                       uint32_t *count)
{
    *count = 0;
    if (byte_count % TL_SHADOW_BYTES != 0) return false;
    if (byte_count / TL_SHADOW_BYTES > TL_SHADOW_COUNT_MAX) return false;
    for (size_t i = 0; i < byte_count / TL_SHADOW_BYTES; i++) {
        const uint8_t *at = bytes + i * TL_SHADOW_BYTES;
        uint32_t score = (uint32_t)get_little(at + 8, 4);
        if (at[12] >= TL_CLASS_COUNT_MAX || at[13] > 1) return false;
        out[i] =
            (tl_shadow_record){ .version = get_little(at, 8), .label = at[12], .flagged = at[13] };
        memcpy(&out[i].defect_score, &score, sizeof score);
    }
    *count = (uint32_t)(byte_count / TL_SHADOW_BYTES);
    return true;
}

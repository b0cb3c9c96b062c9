#include "base/id.h"

#include <string.h>

void tl_id_maker_init(tl_id_maker *maker, const tl_env *env)
{
    *maker = (tl_id_maker){ .env = env };
}

static void pool_take(tl_id_maker *maker, uint8_t *out, size_t bytes)
{
    if (maker->pool_left < bytes) {
        maker->env->random(maker->env->context, maker->pool, sizeof maker->pool);
        maker->pool_left = sizeof maker->pool;
    }
    maker->pool_left -= bytes;
    memcpy(out, maker->pool + maker->pool_left, bytes);
}

tl_id tl_id_make(tl_id_maker *maker)
{
    uint64_t now_ms = (uint64_t)tl_env_wall_us(maker->env) / 1000;
    if (now_ms > maker->last_ms) {
        maker->last_ms = now_ms;
        maker->counter = 0;
    } else if (++maker->counter > 0xfff) { /* borrow from the next millisecond: order is kept */
        maker->last_ms++;
        maker->counter = 0;
    }
    tl_id id;
    for (int i = 0; i < 6; i++) id.bytes[i] = (uint8_t)(maker->last_ms >> (40 - 8 * i));
    id.bytes[6] = (uint8_t)(0x70 | maker->counter >> 8);
    id.bytes[7] = (uint8_t)maker->counter;
    pool_take(maker, id.bytes + 8, 8);
    id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f));
    return id;
}

int tl_id_compare(tl_id a, tl_id b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes);
}

bool tl_id_is_none(tl_id id)
{
    static const tl_id none;
    return tl_id_compare(id, none) == 0;
}

static const uint8_t DASH_BEFORE_BYTE[16] = { [4] = 1, [6] = 1, [8] = 1, [10] = 1 };

void tl_id_format(tl_id id, char text[TL_ID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (DASH_BEFORE_BYTE[i]) *text++ = '-';
        *text++ = digits[id.bytes[i] >> 4];
        *text++ = digits[id.bytes[i] & 15];
    }
    *text = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

tl_status tl_id_parse(const char *text, size_t bytes, tl_id *out)
{
    if (bytes != 36 && bytes != 32) return TL_EINVAL;
    tl_id id;
    const char *at = text;
    for (int i = 0; i < 16; i++) {
        if (bytes == 36 && DASH_BEFORE_BYTE[i] && *at++ != '-') return TL_EINVAL;
        int high = hex_digit(at[0]);
        int low = high < 0 ? -1 : hex_digit(at[1]);
        if (low < 0) return TL_EINVAL;
        id.bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    if (tl_id_is_none(id)) return TL_EINVAL;
    *out = id;
    return TL_OK;
}

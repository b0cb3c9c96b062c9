#include "review/draw.h"

#include <sodium.h>
#include <string.h>

_Static_assert(TL_DRAW_KEY_BYTES == crypto_shorthash_KEYBYTES, "SipHash-2-4 key");

double tl_draw_unit(const uint8_t key[TL_DRAW_KEY_BYTES], tl_id id, tl_draw_purpose purpose,
                    uint32_t round)
{
    TL_ASSERT(purpose < TL_DRAW_PURPOSE_COUNT);
    TL_ASSERT(purpose != TL_DRAW_REVIEW || round == 0);
    uint8_t message[sizeof id.bytes + 5], hash[crypto_shorthash_BYTES], *end = message;
    memcpy(end, id.bytes, sizeof id.bytes);
    end += sizeof id.bytes;
    /* The first draw hashes the id alone, as it did when there was only one: SipHash takes the
     * length in, so messages of 16 and 21 bytes do not meet. */
    if (purpose != TL_DRAW_REVIEW) {
        *end++ = (uint8_t)purpose;
        for (int shift = 0; shift < 32; shift += 8) *end++ = (uint8_t)(round >> shift);
    }
    crypto_shorthash(hash, message, (size_t)(end - message), key);
    uint64_t bits;
    memcpy(&bits, hash, sizeof bits);
    return (double)(bits >> 11) * 0x1p-53;
}

double tl_draw_marginal(double first, double second)
{
    return first + second - first * second;
}

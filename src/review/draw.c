#include "review/draw.h"

#include <sodium.h>
#include <string.h>

_Static_assert(TL_DRAW_KEY_BYTES == crypto_shorthash_KEYBYTES, "SipHash-2-4 key");

double tl_draw_unit(const uint8_t key[TL_DRAW_KEY_BYTES], tl_id id, tl_draw_purpose purpose)
{
    TL_ASSERT(purpose < TL_DRAW_PURPOSE_COUNT);
    uint8_t message[sizeof id.bytes + 1], hash[crypto_shorthash_BYTES];
    memcpy(message, id.bytes, sizeof id.bytes);
    message[sizeof id.bytes] = (uint8_t)purpose;
    /* The first draw hashes the id alone, as it did when there was only one: SipHash takes the
     * length in, so messages of 16 and 17 bytes do not meet. */
    crypto_shorthash(hash, message, sizeof message - (purpose == TL_DRAW_REVIEW), key);
    uint64_t bits;
    memcpy(&bits, hash, sizeof bits);
    return (double)(bits >> 11) * 0x1p-53;
}

double tl_draw_marginal(double first, double second)
{
    return first + second - first * second;
}

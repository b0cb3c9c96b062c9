#include "review/review.h"

#include <sodium.h>
#include <string.h>

_Static_assert(TL_REVIEW_KEY_BYTES == crypto_shorthash_KEYBYTES, "SipHash-2-4 key");

/* Uniform in [0, 1), 53 bits, by SipHash-2-4 (Aumasson & Bernstein 2012): a keyed hash. */
static double unit_of(const uint8_t *key, tl_id id)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, id.bytes, sizeof id.bytes, key);
    uint64_t bits;
    memcpy(&bits, hash, sizeof bits);
    return (double)(bits >> 11) * 0x1p-53;
}

tl_review_choice tl_review_choose(const tl_review_policy *policy, tl_id id, bool flagged, bool cold)
{
    if (cold || flagged) return (tl_review_choice){ .review = true, .propensity = 1.0f };
    return (tl_review_choice){ .review = unit_of(policy->key, id) < policy->audit_rate,
                               .propensity = (float)policy->audit_rate };
}

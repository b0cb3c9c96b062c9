/* draw.h - the lot: a number in [0, 1) that a secret and an item's id fix for ever.
 * Layer: review (above base). Pure; any thread.
 *
 * Callers may bring their own ids, so a plain hash would let them choose what is looked at. With a
 * keyed pseudo-random function (SipHash-2-4, Aumasson & Bernstein 2012) and a secret key nobody
 * outside can tell drawn ids from others, and the draw can still be repeated from the journal.
 *
 * Conditions: the key is secret and random; an id is used for one item; a probability is fixed
 * before the item's label can be known, and from nothing that depends on that label. */
#ifndef TL_REVIEW_DRAW_H
#define TL_REVIEW_DRAW_H

#include "base/status.h"

enum { TL_DRAW_KEY_BYTES = 16 };

/* Numbers of one id for different purposes are independent of each other. */
typedef enum tl_draw_purpose {
    TL_DRAW_REVIEW, /* first draw; the number is the hash of the id alone */
    TL_DRAW_AGAIN,  /* the same item drawn once more, later */
    TL_DRAW_BLIND,  /* a flagged item shown without the verdict */
    TL_DRAW_REPEAT, /* a known item shown again to measure people */
    TL_DRAW_ORDER,  /* where in the list of open reviews an item stands */
    TL_DRAW_ASSIGN, /* who is asked, see assign.h */
    TL_DRAW_PURPOSE_COUNT
} tl_draw_purpose;

/* Uniform in [0, 1), 53 bits. An item is drawn with probability p when this is below p. Rounds of
 * one purpose are independent too; there is only round 0 of TL_DRAW_REVIEW (asserted). */
double tl_draw_unit(const uint8_t key[TL_DRAW_KEY_BYTES], tl_id id, tl_draw_purpose purpose,
                    uint32_t round);

/* The probability that at least one of two independent draws takes an item: what its label is
 * weighted with when it is drawn again. Both in 0..1. */
double tl_draw_marginal(double first, double second);

#endif

/* assign.h - which person is asked: by a keyed lot, so that no source can choose what it decides about.
 * Layer: review (above base). Pure; any thread.
 *
 * Each person gets a number from the secret key, the subject and who they are; the highest one is
 * asked (highest random weight, Thaler & Ravishankar 1998). So everybody is asked equally often, a
 * subject stays with its person when others come or go as long as nobody higher comes, and without
 * the key nobody can foretell who is asked. */
#ifndef TL_REVIEW_ASSIGN_H
#define TL_REVIEW_ASSIGN_H

#include "review/draw.h"

/* The index of who is asked.
 *   people   [count] hashes of who they are, unlike each other
 *   subject  what goes to one person as a whole: a hash of a board, or of an item
 *   round    0: first; further rounds ask independently of it
 *   but      a person who is not asked; 0: nobody
 * `count` when there is nobody to ask. */
size_t tl_assign(const uint8_t key[TL_DRAW_KEY_BYTES], const uint64_t *people, size_t count,
                 uint64_t subject, uint32_t round, uint64_t but);

#endif

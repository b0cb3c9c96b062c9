/* review.h - which predictions to put before a person, with the probability that was in force.
 * Layer: review (above stats). Pure; any thread.
 *
 * Whether an item is asked about is drawn from a keyed hash of its id, so the draw is fixed before
 * the label, repeatable from the journal, and out of reach of callers who bring their own ids (they
 * do not know the key). */
#ifndef TL_REVIEW_REVIEW_H
#define TL_REVIEW_REVIEW_H

#include "base/env.h"

enum { TL_REVIEW_KEY_BYTES = 16 };

typedef struct tl_review_policy {
    uint8_t key[TL_REVIEW_KEY_BYTES]; /* secret, one a loop */
    double audit_rate;                /* of what passed, 0..1 */
} tl_review_policy;

typedef struct tl_review_choice {
    bool review;
    float propensity; /* probability of review given everything known before the draw, > 0 when
                         review is set; 0 when such an item is never asked about */
} tl_review_choice;

/* A cold loop asks about everything; a flagged item is always asked about; of the others
 * `audit_rate` are, by lot. */
tl_review_choice tl_review_choose(const tl_review_policy *policy, tl_id id, bool flagged,
                                  bool cold);

#endif

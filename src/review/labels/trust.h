/* trust.h - whose labels speak against everybody else's, and are not to be learned from.
 * Layer: review (above stats). Plain state, one owner thread; saved with the loop's state.
 *
 * A person contradicts with a verdict - good or defect - other than what seemed likelier before.
 * Whoever the items are handed out to at random contradicts as often as the others do. So a detector
 * (src/stats/detector.h) for each source watches "contradicts with a chance of at most m", with
 *   m = max(0.4, 2 r + 0.05), r how often the others contradicted lately at the same site:
 * a source loses trust when it goes off. One that never contradicts with more than that chance gives
 * at least 10,000 labels, in the mean, before it is mistaken; one that does so half as often, in
 * practice for ever. It takes 13 contradictions in a row. Trust comes back in the same way,
 * against "contradicts at least half the time".
 *
 * Conditions: items are handed out, not chosen, so that volunteered labels are not seen here (people
 * volunteer what the model got wrong); at least TL_TRUST_OTHERS_MIN labels of others at the site, so
 * whoever judges alone at a site is never judged; the model may be as bad as it likes, if it is for
 * the others too. Somebody who lies now and then is not found: the margin of the gate is for that
 * (src/gate/sources.h). */
#ifndef TL_REVIEW_LABELS_TRUST_H
#define TL_REVIEW_LABELS_TRUST_H

#include "stats/detector.h"

enum { TL_TRUST_SOURCE_MAX = 64, TL_TRUST_PLACE_MAX = 512, TL_TRUST_OTHERS_MIN = 30 };

typedef struct tl_trust_source {
    uint64_t source;
    bool lost;
    uint64_t labels, contradicted; /* drawn, since trust was lost or came back */
    tl_detector detector;          /* for losing it, or for getting it back */
} tl_trust_source;

/* One source at one site, the newest labels only. */
typedef struct tl_trust_place {
    uint64_t site, source;
    double labels, contradicted;
} tl_trust_place;

/* Plain data; change only by the functions below. Sources and places beyond the bounds are not
 * judged. */
typedef struct tl_trust {
    tl_trust_source source[TL_TRUST_SOURCE_MAX];
    tl_trust_place place[TL_TRUST_PLACE_MAX];
    uint32_t source_count, place_count;
} tl_trust;

typedef enum tl_trust_turn { TL_TRUST_STAYS, TL_TRUST_LOST, TL_TRUST_REGAINED } tl_trust_turn;

void tl_trust_init(tl_trust *trust);
/* A first label of an item that was drawn, by `source`, hashes both; what changed with it. */
tl_trust_turn tl_trust_see(tl_trust *trust, uint64_t site, uint64_t source, bool contradicts);
bool tl_trust_has(const tl_trust *trust, uint64_t source);

/* How often a source contradicted, and the others where it judges. False: not known. */
typedef struct tl_trust_reading {
    uint64_t labels, contradicted;
    double others; /* share, of their newest labels; NaN: there are none */
} tl_trust_reading;
bool tl_trust_read(const tl_trust *trust, uint64_t source, tl_trust_reading *out);

void tl_trust_save(const tl_trust *trust, tl_blob *blob);
/* Untrusted bytes. Errors: TL_ECORRUPT, TL_EVERSION; what *out holds then is of no use. */
tl_status tl_trust_load(tl_trust *trust, tl_blob_reader *reader, tl_error *err);

#endif

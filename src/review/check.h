/* check.h - whether the rules of review are kept, on which every estimate and verdict rests.
 * Layer: review (above stats). One owner thread; saved with the loop's state.
 *
 * Two things are watched:
 *   - the lot: items are drawn as often as their probabilities say. Bets on "more" and on "less"
 *     than that (bettor.h), half the stake each: an anytime test. Over all items together, because
 *     the reason of an item depends on the draw;
 *   - the answers, by reason and by source (a line, a shift, a station: who ought to answer): what is
 *     drawn is answered, not left. A share of drawn items left open biases
 *     every estimate by whatever made people leave them; its interval is a confidence sequence
 *     (beta-binomial), so that it may be looked at after every item.
 * Where items are assigned to people: that those answer who were asked. What others say is no evidence;
 * where it is more than the odd one, people choose what they decide about.
 * Labels that people volunteer are counted: they train, they are never weighted as drawn.
 *
 * What cannot be seen from here and has to be kept by those who build the stations: audits shown
 * without the model's verdict, answers given without looking at those of others. */
#ifndef TL_REVIEW_CHECK_H
#define TL_REVIEW_CHECK_H

#include "base/blob.h"
#include "review/reviewer.h"
#include "stats/interval.h"

enum {
    TL_REVIEW_SOURCE_MAX = 32, /* further sources are counted together */
    TL_REVIEW_FINDING_MAX = 8,
    TL_REVIEW_FINDING_BYTES = 160
};

typedef struct tl_review_check_policy {
    double answered_min; /* share of drawn items to be answered; 0.95 */
    double confidence;   /* of the intervals of each line; 0.95 */
    double false_alarm;  /* chance that the test of the lot ever speaks without a cause; 0.001 */
} tl_review_check_policy;

tl_review_check_policy tl_review_check_policy_default(void);

typedef struct tl_review_check tl_review_check;

/* NULL: out of memory. */
tl_review_check *tl_review_check_create(const tl_review_check_policy *policy);
void tl_review_check_destroy(tl_review_check **check);

/* A prediction, drawn or not, in order, with the probability that was logged. */
void tl_review_check_item(tl_review_check *check, bool drawn, double propensity);

typedef enum tl_review_outcome {
    TL_REVIEW_ANSWERED,
    TL_REVIEW_TIMED_OUT,
    TL_REVIEW_BY_ANOTHER, /* the first answer by somebody else than the one who was asked; what becomes
                             of the item with that one is told as well */
    TL_REVIEW_VOLUNTEERED /* a label for an item that was not drawn */
} tl_review_outcome;

/* What became of an item. `reason`: why it was put up (void for volunteered ones); `source`: a hash
 * of who ought to answer, 0: not known. An answer after the time-out is still a time-out. */
void tl_review_check_outcome(tl_review_check *check, tl_review_reason reason,
                             tl_review_outcome outcome, uint64_t source);

typedef struct tl_review_answers {
    uint64_t answered, timed_out;
    double share; /* NaN: nothing yet */
    tl_interval interval;
} tl_review_answers;

typedef struct tl_review_check_reading {
    bool kept;             /* no finding */
    uint64_t items, drawn; /* of those left to the lot: probabilities between 0 and 1 */
    double expected;       /* the sum of their probabilities */
    double log_e;          /* evidence against the lot, nats */
    tl_review_answers reason[TL_REVIEW_REASON_COUNT];
    struct {
        uint64_t source; /* 0: not known, or one of too many */
        tl_review_answers answers;
    } source[TL_REVIEW_SOURCE_MAX + 1];
    size_t source_count;
    uint64_t volunteered;
    uint64_t by_another; /* answered by another than the one who was asked */
    uint64_t impossible; /* drawn with probability 0, or not drawn with probability 1 */
    char finding[TL_REVIEW_FINDING_MAX][TL_REVIEW_FINDING_BYTES]; /* for people */
    size_t finding_count;
} tl_review_check_reading;

void tl_review_check_read(const tl_review_check *check, tl_review_check_reading *out);

void tl_review_check_save(const tl_review_check *check, tl_blob *blob);
/* Errors: TL_ECORRUPT, TL_EVERSION, TL_ENOMEM; *out is then untouched. */
tl_status tl_review_check_load(tl_blob_reader *reader, tl_review_check **out, tl_error *err);

#endif

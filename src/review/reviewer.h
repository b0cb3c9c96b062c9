/* reviewer.h - which items to put before a person, within a budget, each with the probability that
 * was in force. Layer: review (above stats). One owner thread: the one that answers.
 *
 * The rules, from the strongest:
 *   cold or flagged   always (probability 1); so is what lies in the zone of review (zones.h)
 *   disagreement      some version in the shadow calls a passed item otherwise: always, or with one
 *                     constant probability where these would be too many (rivals.h)
 *   band              its score lies where a certificate is to be proven (zones.h): at `band_rate`
 *   others            min(1, q + c u): q the audit rate, u how much the item would teach,
 *                     u = 0.5 * 4 p (1 - p) + 0.3 * (rank of its novelty)^32 + 0.2 * its value
 * c follows the budget: ln c += 0.05 (B - r) / B every 32 items, r the mean probability of these.
 * With budget 0 there is nothing but flagged items and audits.
 *
 * Why estimates stay unbiased: a probability depends on earlier items and on what the model says of
 * this one, never on its label; the draw is a keyed hash of the id (draw.h); every item has at least
 * the audit rate. Poisson sampling, Horvitz & Thompson 1952. Conditions that people have to keep,
 * and that check.h watches: every drawn item is answered or timed out; what a person volunteers is
 * not counted as drawn; blind items are shown without the model's verdict.
 *
 * Not journaled: the probability is, with the prediction. After a start c and the novelty ranks
 * settle anew within some hundred items, which costs a little of the budget and no validity. */
#ifndef TL_REVIEW_REVIEWER_H
#define TL_REVIEW_REVIEWER_H

#include "review/draw.h"
#include "review/rivals.h"

typedef struct tl_reviewer_policy {
    uint8_t key[TL_DRAW_KEY_BYTES]; /* secret, one a loop */
    double audit_rate;              /* q: of what passed, 0..1; 0.02 */
    double budget;                  /* B: share of all items put before people, flagged ones and
                                       audits included; 0: nothing beyond these; 0 */
    double disagreements;           /* share of all items that people are asked about because only
                                       challengers, or only snapshots, disagree, (0, 1]; 0.05 */
    double band_rate;               /* in the band; at or below the audit rate: no denser; 0 */
    double blind_rate;              /* of the flagged items, shown without the verdict, so that a
                                       missing verdict does not tell that the item passed; 0 */
} tl_reviewer_policy;

tl_reviewer_policy tl_reviewer_policy_default(void);
/* NULL when it can be used, else what is wrong, in words. Static. */
const char *tl_reviewer_policy_check(const tl_reviewer_policy *policy);

/* X(name, text): the rule that decides about an item. */
#define TL_REVIEW_REASON_MAP(X)                                                                    \
    X(NONE, "none")                                                                                \
    X(COLD, "cold")                                                                                \
    X(FLAGGED, "flagged")                                                                          \
    X(DISAGREEMENT, "disagreement")                                                                \
    X(BAND, "band")                                                                                \
    X(UNCERTAIN, "uncertain")                                                                      \
    X(AUDIT, "audit")                                                                              \
    X(ZONE, "zone")

typedef enum tl_review_reason {
#define X(name, text) TL_REVIEW_##name,
    TL_REVIEW_REASON_MAP(X)
#undef X
        TL_REVIEW_REASON_COUNT
} tl_review_reason;

/* In a byte, as it is logged: the rule, whether the item is to be shown blind, and how sure a call is
 * that may become a label (labels/automatic.h), 0..TL_REVIEW_CALL_MAX; 0: none. Bytes from elsewhere
 * that name no rule are NONE. */
enum { TL_REVIEW_CALL_MAX = 7 };
uint8_t tl_review_log(tl_review_reason rule, bool blind, uint32_t call);
uint32_t tl_review_logged_call(uint8_t logged);
tl_review_reason tl_review_logged_rule(uint8_t logged);
bool tl_review_logged_blind(uint8_t logged);

const char *tl_review_reason_text(tl_review_reason reason);

/* What is known of an item before anybody looks. */
typedef struct tl_review_signals {
    tl_id id;
    bool flagged, cold;
    tl_rival_calls rivals; /* what versions in the shadow make of it */
    bool zone;             /* in the zone of review: above what is accepted unseen */
    bool band;             /* in the band below a threshold that is to be certified */
    float p;               /* calibrated probability of a defect, 0..1; NaN: not known */
    float novelty;         /* raw score of any scale, higher is newer; NaN: none */
    float value;           /* whatever else speaks for asking, 0..1; 0: nothing */
    float alarm;           /* factor on audits while a drift alarm stands, 4; else 1 */
} tl_review_signals;

enum { TL_REVIEW_ALARM_FACTOR = 4 };

typedef struct tl_review_choice {
    bool review;
    bool blind;              /* to be shown without the model's verdict */
    float propensity;        /* of review, given everything known before the draw */
    tl_review_reason rule;   /* which rule set the probability; never NONE */
    tl_review_reason reason; /* why a person is asked; NONE when nobody is. A passed item whose lot
                                fell below the audit rate is an AUDIT, whatever its rule: audits
                                are a plain random sample of what passed (but for disagreements) */
} tl_review_choice;

typedef struct tl_reviewer tl_reviewer;

/* NULL: out of memory. `policy` must pass its check. */
tl_reviewer *tl_reviewer_create(const tl_reviewer_policy *policy);
void tl_reviewer_destroy(tl_reviewer **reviewer);
/* For the items from now on; what was learned of the stream is kept. */
void tl_reviewer_set_policy(tl_reviewer *reviewer, const tl_reviewer_policy *policy);

tl_review_choice tl_reviewer_choose(tl_reviewer *reviewer, const tl_review_signals *signals);

/* The share of the last items (some thousands) that were to be reviewed: what the budget is held
 * against. Cold items are not counted. */
double tl_reviewer_rate(const tl_reviewer *reviewer);

#endif

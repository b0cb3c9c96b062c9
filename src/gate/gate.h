/* gate.h - one loop's gate: takes items and their verdicts in the order of the journal, and says
 * when a version is proven better, when what serves must be taken back, and when a promise is broken.
 * Layer: gate (above stats). Pure: no clock, no randomness. One owner thread.
 *
 * Versions that do not answer ("shadows") are compared with what answers on the same items. All bets
 * are placed once per unit of evidence (a board, a lot), in the order of the units' first items,
 * behind a watermark: a unit is bet when later items show that it is over and every item of it that
 * was to be looked at is answered or timed out. What nobody disagrees about and nobody has to look
 * at waits for nothing.
 *
 * The bet of a unit on "the shadow is better": Y = sum D A / pi - effect N, over the N items of the
 * unit; D the loss of what answers less the loss of the shadow (0 where they agree), A whether the
 * item was drawn, pi its propensity. A drawn item without an answer counts as the shadow's error.
 * Divided by the largest possible loss of a unit so far, this one included, it is at least -1.
 *
 * What is promised, and on which conditions (src/stats/bettor.h):
 *   - The chance that any version is ever promoted whose cost an item is not lower by more than
 *     `effect` is at most alpha, over all versions ever watched (src/stats/spending.h).
 *   - The null is "E[Y | earlier units] <= 0", given which items are of the unit, which of them are
 *     disagreed about and their propensities: units are independent enough for that, items of one
 *     unit need not be. A version that wins in small units exactly what it loses in large ones is
 *     not covered while units set records of size, because stakes are cut at a record.
 *   - Propensities are fixed before the label; items that can never be drawn (propensity below
 *     TL_GATE_PROPENSITY_MIN) count as the shadow's errors where it disagrees.
 *   - `noise`: labels wrong at random, equally in both directions, at most at that rate.
 *   - `hostile`: whatever any one source says and whenever it says it, nothing is promoted that the
 *     labels of the others do not prove (sources.h). No source counts for more than that share, so
 *     that it takes at least 1/hostile sources to prove anything; intervals allow for that share of
 *     lies on average.
 *   - A take-back and an alarm have a mean run length, no level (src/stats/detector.h). With hostile
 *     labels that of a take-back needs P(hostile | past) <= `hostile` for each label. */
#ifndef TL_GATE_GATE_H
#define TL_GATE_GATE_H

#include "base/blob.h"

enum {
    TL_GATE_SHADOW_MAX = 5,
    TL_GATE_SITE_MAX = 16,
    TL_GATE_WORDS_BYTES = 256,
    TL_GATE_OPEN_MAX = 65536,   /* items, and units; beyond, the oldest unit is timed out */
    TL_GATE_UNIT_FOLLOWED = 64, /* so many items of other units after its last one end a unit */
};
#define TL_GATE_PROPENSITY_MIN 0.01

typedef enum tl_gate_unit { TL_GATE_UNIT_BOARD, TL_GATE_UNIT_LOT, TL_GATE_UNIT_ITEM } tl_gate_unit;

typedef struct tl_gate_policy {
    double alpha;            /* of any false promotion ever; in (0, 0.5]; .05 */
    double effect;           /* least gain in cost an item that counts; 0..0.5; .0005 */
    double cost_miss;        /* in (0, 1]; 1 */
    double cost_false_alarm; /* in (0, 1]; 1 */
    double noise;            /* labels that are wrong at random, at most; 0..0.4 */
    double hostile;        /* share of labels that one hostile source may give, and the cap on each
                                source's share of the evidence; 0..0.4; 0: sources are trusted */
    double promised_error; /* share of wrong calls promised; 0..0.3; 0: nothing promised */
    double alarm_days;     /* mean days between alarms without a cause; 90 */
    double take_back_days; /* the same for take-backs; 90 */
    int64_t timeout_us;    /* a drawn item that is not answered by then is timed out, with its whole
                                unit, counted from the unit's last item; 1 day */
    tl_gate_unit unit; /* in words; a unit without a new item for 5 s is over, a lot for 1 hour */
} tl_gate_policy;

tl_gate_policy tl_gate_policy_default(void);
/* NULL, or which field is wrong and what it may be. Static text. */
const char *tl_gate_policy_check(const tl_gate_policy *policy);

/* What a shadow is watched for; any combination. */
enum {
    TL_GATE_BETTER = 1, /* it may replace what answers (a challenger) */
    TL_GATE_HARM =
        2, /* what answers may have to give way to it (certified snapshot, old champion) */
    TL_GATE_GAIN = 4, /* what answers may be proven better than it (Time-to-Improvement) */
};

typedef struct tl_gate tl_gate;

/* A copy of the policy, which must have passed the check (asserted). Errors: TL_ENOMEM. */
tl_status tl_gate_create(const tl_gate_policy *policy, tl_gate **out, tl_error *err);
void tl_gate_destroy(tl_gate **gate); /* NULL-safe; clears *gate */
/* The whole state as a section. A loaded gate goes on bit by bit where it stood. Load: untrusted.
 * Errors: TL_ECORRUPT, TL_EVERSION, TL_ENOMEM; *out is then untouched. */
void tl_gate_save(const tl_gate *gate, tl_blob *blob);
tl_status tl_gate_load(tl_blob_reader *reader, tl_gate **out, tl_error *err);

/* Other rules from now on: as tl_gate_restart, and the alarm begins anew. */
void tl_gate_set_policy(tl_gate *gate, const tl_gate_policy *policy);
const tl_gate_policy *tl_gate_get_policy(const tl_gate *gate);

/* Watch `version` on items predicted after `position`; units that began at or before it are no
 * evidence. The next number of the alpha series is spent when BETTER or GAIN is asked for.
 * Errors: TL_ELIMIT (TL_GATE_SHADOW_MAX are watched), TL_ECONFLICT (it is), TL_EINVAL (watch). */
tl_status tl_gate_watch(tl_gate *gate, uint64_t version, unsigned watch, uint64_t position,
                        tl_error *err);
/* Harmless when it is not watched. */
void tl_gate_drop(tl_gate *gate, uint64_t version);
/* Another policy answers after `position` (promotion, return, threshold by hand): all evidence
 * begins anew, what is open is dropped, and shadows that stay get new numbers. */
void tl_gate_restart(tl_gate *gate, uint64_t position);

typedef struct tl_gate_call {
    uint64_t version;
    bool flagged;
} tl_gate_call;

typedef struct tl_gate_item {
    uint64_t position; /* ascending */
    int64_t time_us;   /* >= 0 */
    uint64_t unit;     /* hash of what is one unit of evidence; 0: the item is a unit of its own */
    uint64_t site;     /* hash; 0: none. A unit is of the site of its first item */
    bool flagged;      /* by what answered */
    bool drawn;        /* a person is to look, by lot or because all are */
    double propensity; /* of being drawn, in [0, 1], of items not drawn too; > 0 when drawn */
    tl_gate_call shadow[TL_GATE_SHADOW_MAX];
    size_t shadow_count;
} tl_gate_item;

/* Also moves the watermark by item count and time. Errors: TL_ENOMEM, TL_EINVAL (position not above
 * the one before, propensity); nothing is changed then. */
tl_status tl_gate_item_add(tl_gate *gate, const tl_gate_item *item, tl_error *err);

/* The label that stands of a prediction; `source`: hash of who says so. Later labels before the unit
 * is bet replace it, afterwards they are counted and change nothing. Unknown positions, and items
 * that were not drawn, are no evidence. Returns whether it stands as the answer: false also when its
 * source has given its share; then another source may answer, or the item times out. */
bool tl_gate_label(tl_gate *gate, uint64_t position, bool defect, uint64_t source);
/* No label stands any more. */
void tl_gate_unlabel(tl_gate *gate, uint64_t position);

typedef enum tl_gate_kind {
    TL_GATE_PROMOTE,   /* a BETTER shadow is proven better; told once a watch */
    TL_GATE_TAKE_BACK, /* a HARM shadow does better than what answers; the detector then restarts */
    TL_GATE_CERTIFY, /* the gain of what answers over a GAIN shadow is proven; told once a watch */
    TL_GATE_ALARM,   /* errors above what is promised; the detector then restarts */
} tl_gate_kind;

/* Evidence so far of one comparison; of an alarm: of all items since the detector (re)started. */
typedef struct tl_gate_counts {
    uint64_t units;         /* bet */
    uint64_t items;         /* in them */
    uint64_t disagreements; /* reviewed and counted; alarm: items reviewed */
    uint64_t wins, losses;  /* where the shadow was right, wrong; alarm: right calls, wrong calls */
    uint64_t timeouts;      /* drawn disagreements that nobody answered, or a source over its cap */
} tl_gate_counts;

typedef struct tl_gate_verdict {
    tl_gate_kind kind;
    uint64_t version;            /* of the shadow; 0: alarm */
    uint64_t number;             /* of the version in the alpha series; 0: it spends none */
    uint64_t position;           /* last item of the evidence */
    double log_e, log_threshold; /* nats; take-back, alarm: log of the detector and its level */
    tl_gate_counts counts;
    double gain;                /* cost an item that the shadow saves; certify: that it costs more;
                                    alarm: share of calls that are wrong */
    double gain_low, gain_high; /* its 95 % anytime interval; alarm: nan */
    char words[TL_GATE_WORDS_BYTES];
} tl_gate_verdict;

/* The oldest verdict that was reached and not taken; false: none. At most 32 are kept; then the
 * oldest is lost. */
bool tl_gate_take_verdict(tl_gate *gate, tl_gate_verdict *out);

typedef struct tl_gate_site_standing {
    uint64_t site;
    tl_gate_counts counts;
    double gain;                /* cost an item that the shadow saves there */
    double gain_low, gain_high; /* its 95 % anytime interval */
    double log_e;               /* nats, that it is worse there */
    bool worse;                 /* proven, at .05 over all sites of this shadow */
} tl_gate_site_standing;

typedef struct tl_gate_standing {
    uint64_t version;
    unsigned watch;
    uint64_t number;                 /* in the alpha series; 0: none spent */
    double alpha;                    /* spent; 0: none */
    double log_threshold;            /* log(1/alpha), nats */
    double log_e_better, log_e_gain; /* nats; 0 where not watched for */
    double log_harm, log_harm_threshold;
    tl_gate_counts counts;
    uint64_t over_cap; /* labels not taken because their source had given its share */
    double gain, gain_low, gain_high;
    double needed; /* about so many more reviewed disagreements until BETTER (else GAIN) is
                            proven, at the present share of wins; nan: not foreseeable */
    bool promoted, certified; /* such a verdict was reached */
    bool blocked_by_site;     /* proven better overall and worse at one site: not promoted */
    tl_gate_site_standing site[TL_GATE_SITE_MAX];
    size_t site_count;
    char words[TL_GATE_WORDS_BYTES];
} tl_gate_standing;

/* How a shadow stands. False: it is not watched. */
bool tl_gate_describe(const tl_gate *gate, uint64_t version, tl_gate_standing *out);

typedef struct tl_gate_status {
    uint64_t spent;  /* numbers of the alpha series spent so far */
    uint64_t newest; /* position of the newest item */
    size_t open_items, open_units;
    uint64_t late_items;    /* of units that were over already: no evidence */
    uint64_t unused_labels; /* of items not drawn or unknown, or whose unit was bet already */
    uint64_t forced_units;  /* timed out because too much was open */
    double log_alarm, log_alarm_threshold; /* of the promised error rate */
    tl_gate_counts promise;                /* as in an alarm's verdict */
} tl_gate_status;
void tl_gate_get_status(const tl_gate *gate, tl_gate_status *out);

/* The golden set: whether `new_errors` items that were right and are wrong now are no more than
 * chance allows beside `fixed_errors` items that were wrong and are right now, by the exact paired
 * test (McNemar 1947: the binomial, one-sided, 5 %). */
bool tl_gate_golden(uint64_t new_errors, uint64_t fixed_errors);

#endif

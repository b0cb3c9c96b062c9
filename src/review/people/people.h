/* people.h - the people measured too: an attribute agreement study, blind repeats, and estimates
 * corrected for what people get wrong. Layer: review (above stats). Pure; any thread.
 *
 * The study is the one of AIAG, Measurement Systems Analysis, 4th edition (2010), chapter III C:
 * parts whose true class is known (a reference decided by experts or by another measurement) are
 * judged by several operators, several times each, without their knowing which part it is, what they
 * said before or what the model says. Usual size: 50 parts, a third to a half of them defects and
 * some close to the limit, 3 operators, 3 trials.
 *
 * Kappas: Cohen 1960 for two (operator and reference, two operators), Fleiss 1971 for many (trials
 * of one operator, all operators). Their intervals come from a jackknife over parts, because trials
 * on one part are alike. Shares have exact intervals (Clopper & Pearson 1934); those of misses and
 * false alarms count trials, as the manual does, and are therefore somewhat too narrow when an
 * operator always stumbles over the same part.
 *
 * Conditions of everything derived from it: the parts of the study are as hard as those of the line,
 * and the operators are those who label. */
#ifndef TL_REVIEW_PEOPLE_H
#define TL_REVIEW_PEOPLE_H

#include "review/draw.h"
#include "stats/interval.h"

enum {
    TL_PEOPLE_OPERATOR_MAX = 32,
    TL_PEOPLE_TRIAL_MAX = 32,
    TL_PEOPLE_PART_MAX = 10000,
    TL_PEOPLE_NOTHING = 255, /* a call that was not made */
    TL_PEOPLE_WORDS_BYTES = 256
};

/* Classes: 0 is good, all others are defects. */
typedef struct tl_people_study {
    size_t parts, operators, trials; /* 2.., 1.., 1.. up to the limits above */
    uint32_t classes;                /* 2..64 */
    const uint8_t *known; /* [parts]; TL_PEOPLE_NOTHING: not known, and such a part only tells
                                        how people repeat themselves and agree */
    const uint8_t *calls; /* [parts, operators, trials]; TL_PEOPLE_NOTHING: none */
    double confidence;    /* of the intervals, e.g. 0.95 */
} tl_people_study;

typedef struct tl_people_share {
    uint64_t hits, count;
    double share; /* NaN without a count */
    tl_interval interval;
} tl_people_share;

typedef struct tl_people_kappa {
    double kappa;         /* NaN: void, as there was only one class */
    tl_interval interval; /* of numbers -1..1 */
} tl_people_kappa;

/* X(name, text): by the usual limits. */
#define TL_PEOPLE_VERDICT_MAP(X)                                                                   \
    X(GOOD, "acceptable")                                                                          \
    X(MARGINAL, "marginal")                                                                        \
    X(POOR, "not acceptable")                                                                      \
    X(UNKNOWN, "not known")

typedef enum tl_people_verdict {
#define X(name, text) TL_PEOPLE_##name,
    TL_PEOPLE_VERDICT_MAP(X)
#undef X
        TL_PEOPLE_VERDICT_COUNT
} tl_people_verdict;

const char *tl_people_verdict_text(tl_people_verdict verdict);
/* Above 0.75 good agreement, below 0.40 poor, marginal between. */
tl_people_verdict tl_people_kappa_verdict(double kappa);

typedef struct tl_people_operator {
    tl_people_share repeatable;   /* parts on which all trials agree; two trials or more */
    tl_people_share right;        /* parts on which all trials say what is known: effectiveness */
    tl_people_share misses;       /* trials on defects that were called good */
    tl_people_share false_alarms; /* trials on good parts that were called a defect */
    tl_people_share wrong_class;  /* trials on defects that were called another defect */
    tl_people_kappa to_known;     /* Cohen's */
    tl_people_kappa to_itself;    /* Fleiss', over trials */
    tl_people_verdict verdict; /* the worst of effectiveness (90, 80 %), misses (2, 5 %) and false
                                     alarms (5, 10 %) against the manual's limits */
    char words[TL_PEOPLE_WORDS_BYTES];
} tl_people_operator;

typedef struct tl_people_result {
    size_t parts, operators, trials;
    tl_people_operator each[TL_PEOPLE_OPERATOR_MAX];
    tl_people_kappa pair[TL_PEOPLE_OPERATOR_MAX][TL_PEOPLE_OPERATOR_MAX]; /* Cohen's; symmetric */
    tl_people_share all_agree; /* parts on which all operators agree in all trials */
    tl_people_share all_right; /* and say what is known */
    tl_people_share found;     /* of all trials on defects, called a defect: sensitivity */
    tl_people_share passed;    /* of all trials on good parts, called good: specificity */
    tl_people_kappa between;   /* Fleiss', all operators and trials */
    tl_people_kappa to_known;  /* Cohen's, all operators pooled */
    tl_people_verdict verdict; /* the worst of the operators and of the two kappas above */
    char words[TL_PEOPLE_WORDS_BYTES];
} tl_people_result;

/* Errors: TL_EINVAL says what is wrong with the study; *out is untouched. `out` is some 30 KB. */
tl_status tl_people_judge(const tl_people_study *study, tl_people_result *out, tl_error *err);

/* ---- Estimates corrected for people's errors --------------------------------------------------- */

typedef struct tl_people_corrected {
    double value;         /* NaN: people's calls carry no information */
    tl_interval interval; /* 0..1 then */
} tl_people_corrected;

/* Rogan & Gladen 1978: a share of defects as people see it (`apparent`, with its interval), to a
 * true share: (p + specificity - 1) / (sensitivity + specificity - 1). `found` and `passed` are
 * those of a study. The interval takes the worst of all three intervals (those of the study at
 * `confidence` together), so it is wrong at most with the chance that `apparent_interval` is, plus
 * 1 - confidence. Nothing is assumed about how the three depend on each other. */
tl_people_corrected tl_people_correct(double apparent, tl_interval apparent_interval,
                                      const tl_people_share *found, const tl_people_share *passed,
                                      double confidence);

/* A recall "against operators", corrected: from the share of items that are flagged, and the true
 * shares of defects among the flagged and among the passed (both corrected as above). Needs people
 * who err on both alike: blind audits. */
tl_people_corrected tl_people_correct_recall(double flagged_share,
                                             const tl_people_corrected *defects_flagged,
                                             const tl_people_corrected *defects_passed);

/* ---- Blind repeats ----------------------------------------------------------------------------- */

typedef struct tl_people_policy {
    uint8_t key[TL_DRAW_KEY_BYTES]; /* secret, one a loop */
    double rate;                    /* of the known items, in each round; 0..1 */
} tl_people_policy;

/* Whether the known (golden) item is shown once more, unmarked, in this round (a shift, say): by a
 * seeded lot, which nobody on the line can foretell. */
bool tl_people_repeat(const tl_people_policy *policy, tl_id id, uint32_t round);

#endif

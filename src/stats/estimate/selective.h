/* selective.h - precision, recall, escapes and overkill where a person looked only at some items.
 * Layer: stats. One owner thread a state.
 *
 * People verify mostly what was flagged, so that what they saw is no fair sample. Every item has a
 * logged probability of being verified (its propensity); a verified item counts for 1 / propensity
 * items, after a prediction f of its label was taken from it and added for all items: the augmented
 * inverse-propensity estimate, sum of f + (A / pi) (Y - f) (Robins, Rotnitzky and Zhao 1994;
 * Angelopoulos et al. 2023). It is unbiased for any f that is fixed before the label; a good f makes
 * it sharper.
 *
 * Intervals hold at every look (confidence.h), each measure by itself:
 *   TL_SELECTIVE_RUNNING   truths may move, defects may come in clusters: the figures are those of
 *                          the items so far. Empirical Bernstein on what was verified less what was
 *                          predicted; recall from limits on the defects that passed (and, where not
 *                          all flagged items are verified, on those flagged, half the doubt each).
 *   TL_SELECTIVE_CONSTANT  given the past, every item has the same precision, recall, ...: bets on
 *                          Z(r) = (A / pi) Y (1{flagged} - r), which has mean 0 where r is the
 *                          recall, and likewise for the others (Waudby-Smith and Ramdas 2023).
 *   TL_SELECTIVE_RATE      as CONSTANT, and all flagged items have one propensity and all passed
 *                          items one: beta-binomial on the verified ones.
 * Choose one before looking at the data. RUNNING asks for the least and is the default.
 *
 * Conditions: propensity and f are fixed before the label; the draw is independent of everything
 * else given them; every drawn item is answered, or added as timed out (say `defect` for one that was
 * passed: a bound, no estimate); volunteered labels are added with verified = false. An item is
 * added when its verdict stands, once. */
#ifndef TL_STATS_SELECTIVE_H
#define TL_STATS_SELECTIVE_H

#include "base/blob.h"
#include "stats/interval.h"

enum { TL_SELECTIVE_LEVELS = 32 };

typedef struct tl_selective_options {
    /* The smallest propensity that an item may have, in (0, 1]; the larger, the narrower. */
    double flagged_propensity_min; /* default 1: whatever is flagged is verified */
    double passed_propensity_min;  /* default .02 */
} tl_selective_options;

tl_selective_options tl_selective_options_default(void);

/* What is kept of the flagged, or of the passed, items. */
typedef struct tl_selective_group {
    uint64_t items, verified, defects; /* defects: among the verified */
    double total;                      /* sum of f + (A / pi) (Y - f) */
    double squares;                    /* sum of ((A / pi) (Y - f))^2 */
    double propensity;                 /* of the first verified item; 0: none yet */
    bool propensity_varies;            /* among the verified ones */
    /* Weights 1 / pi of verified defects and of verified good items, each split between the two next
     * of geometrically spaced levels from 1 to 1 / propensity_min so that their sum stays. */
    double defect_levels[TL_SELECTIVE_LEVELS], good_levels[TL_SELECTIVE_LEVELS];
} tl_selective_group;

/* Plain data, 1 KB; change only by the functions below. */
typedef struct tl_selective {
    tl_selective_options options;
    tl_selective_group flagged, passed;
    uint64_t
        unreachable; /* items below the smallest propensity: the figures do not speak of them */
} tl_selective;

/* TL_EINVAL: a propensity out of (0, 1]. */
tl_status tl_selective_init(tl_selective *state, const tl_selective_options *options,
                            tl_error *err);

/* One item. `verified`: drawn and answered; `defect` counts only then. `propensity`: of being
 * verified, given everything known before the draw. `f`: predicted probability of a defect, known
 * before the label; it is brought down to what the propensity can bear. Some 30 ns. */
void tl_selective_add(tl_selective *state, bool flagged, bool verified, bool defect,
                      double propensity, double f);
/* `count` items of one propensity and f, none of them verified. The same as adding each. */
void tl_selective_skip(tl_selective *state, bool flagged, uint64_t count, double propensity,
                       double f);
/* Take back an add with the same arguments: a verdict that was withdrawn, or corrected before it is
 * added anew. Sums come back up to rounding. */
void tl_selective_remove(tl_selective *state, bool flagged, bool verified, bool defect,
                         double propensity, double f);
/* A prediction for those without a model: the share of defects among the verified items so far of
 * this kind. (1/2 added to both sides.) */
double tl_selective_rate(const tl_selective *state, bool flagged);
/* Add another state's items: sites, lines. TL_ECONFLICT: other options. */
tl_status tl_selective_merge(tl_selective *state, const tl_selective *other, tl_error *err);

typedef enum tl_selective_method {
    TL_SELECTIVE_RUNNING,
    TL_SELECTIVE_CONSTANT,
    TL_SELECTIVE_RATE
} tl_selective_method;

typedef enum tl_selective_measure {
    TL_SELECTIVE_RECALL,     /* share of the defects that is flagged */
    TL_SELECTIVE_PRECISION,  /* share of the flagged that is defective */
    TL_SELECTIVE_PREVALENCE, /* share of all items that is defective */
    TL_SELECTIVE_ESCAPE,     /* share of the passed items that is defective */
    TL_SELECTIVE_OVERKILL,   /* share of all items that is flagged though good */
    TL_SELECTIVE_MEASURE_COUNT
} tl_selective_measure;

/* A share with its anytime interval. Without anything to go by: value NaN, 0..1. */
typedef struct tl_figure {
    double value, low, high;
    uint64_t hits, count; /* verified items behind it, not weighted: hits of count */
} tl_figure;

typedef struct tl_selective_figures {
    tl_figure recall, precision, prevalence, escape, overkill;
    tl_figure miss; /* 1 - recall: share of the defects that is passed */
    uint64_t items, flagged, verified, unreachable;
} tl_selective_figures;

/* All figures at `confidence` in (0, 1). Some 0.3 ms (RUNNING) to 3 ms. Errors: TL_ECONFLICT
 * (TL_SELECTIVE_RATE, and propensities vary). */
tl_status tl_selective_read(const tl_selective *state, tl_selective_method method,
                            double confidence, tl_selective_figures *out, tl_error *err);
/* Is `truth` inside the interval of that measure now? Some microseconds. For RATE as above, measures
 * that mix both kinds fall back to CONSTANT. */
bool tl_selective_covers(const tl_selective *state, tl_selective_method method,
                         tl_selective_measure measure, double truth, double confidence);

void tl_selective_save(const tl_selective *state, tl_blob *blob);
/* Errors: TL_ECORRUPT, TL_EVERSION; *out is then untouched. */
tl_status tl_selective_load(tl_blob_reader *reader, tl_selective *out, tl_error *err);

#endif

/* head.h - the fast learner: shrunk linear discriminant analysis from additive statistics.
 * Layer: learn. Statistics: one owner thread. Heads: immutable, reference-counted, any thread.
 *
 * The statistics are, for each class, the number of examples n_c and the sum of their features s_c,
 * and over all classes G = sum of x x^T. They are kept as 64-bit integers: a feature is clamped to
 * +-range, scaled by 1/range and rounded to a multiple of 2^-TL_HEAD_FRACTION_BITS. So adding,
 * withdrawing, correcting and merging sites are exact, and their order does not matter: statistics
 * from which a label was withdrawn equal, bit for bit, those that never saw it.
 *
 * Overflow: |q| <= 2^18, so that a product is at most 2^36 and TL_HEAD_EXAMPLE_MAX = 2^26 of them
 * stay within 2^62. tl_head_add refuses more.
 *
 * A head's bits are a function of the statistics and the options alone (and of the C library's
 * logarithm): inner loops are elementwise, without reordered sums or fused multiply-adds. */
#ifndef TL_LEARN_HEAD_H
#define TL_LEARN_HEAD_H

#include "base/blob.h"

enum { TL_HEAD_FRACTION_BITS = 18, TL_HEAD_EXAMPLE_MAX = 1 << 26, TL_HEAD_SKETCH_WAYS = 4 };

typedef struct tl_head_stats tl_head_stats;
typedef struct tl_head tl_head;

typedef enum tl_head_form {
    TL_HEAD_RAW, /* features as they are: vectors whose dimensions mean different things */
    TL_HEAD_UNIT /* scaled to Euclidean length 1 first: features of a network. Range is then 1 */
} tl_head_form;

typedef struct tl_head_stats_options {
    uint32_t feature_count; /* 1..TL_FEATURE_COUNT_MAX */
    uint32_t class_count;   /* 1..TL_CLASS_COUNT_MAX */
    tl_head_form form;
    float range; /* > 0, finite; |feature| above it is clamped and counted. Ignored for UNIT */
    /* Numbers that a caller gives, when there are more than feature_count: they are sketched, each
     * added with fixed signs to TL_HEAD_SKETCH_WAYS of the features, which keeps distances nearly as
     * they are (a sparse Johnson-Lindenstrauss transform). For UNIT only. 0: feature_count. */
    uint32_t input_count;
} tl_head_stats_options;

/* Errors: TL_EINVAL (a number out of bounds), TL_ENOMEM. Memory: 4 d (d + 1) bytes and some. */
tl_status tl_head_stats_create(const tl_head_stats_options *options, tl_head_stats **out,
                               tl_error *err);
void tl_head_stats_destroy(tl_head_stats **stats); /* NULL-safe; clears */

/* Learn (`sign` +1) or forget (-1) that features `x` [input_count] belong to class `label`.
 * Forgetting must be told the very features that were learned. A feature that is not finite counts
 * as 0 and as clamped.
 * Errors: TL_EINVAL (label unknown), TL_ELIMIT (too many examples), TL_ECONFLICT (forgetting from a
 * class that has no examples). Statistics are then unchanged. */
tl_status tl_head_stats_add(tl_head_stats *stats, const float *x, uint32_t label, int sign,
                            tl_error *err);
/* Forget x under `from`, learn it under `to`: cheaper than two calls, the same bits. */
tl_status tl_head_stats_relabel(tl_head_stats *stats, const float *x, uint32_t from, uint32_t to,
                                tl_error *err);
/* Add (`sign` +1) or take away (-1) another site's statistics of the same options; class counts may
 * differ, `other` must not have more. Errors: TL_ESHAPE, TL_ELIMIT, TL_ECONFLICT. */
tl_status tl_head_stats_merge(tl_head_stats *stats, const tl_head_stats *other, int sign,
                              tl_error *err);
/* One more class, without examples. TL_ELIMIT. */
tl_status tl_head_stats_add_class(tl_head_stats *stats, tl_error *err);
void tl_head_stats_clear(tl_head_stats *stats);

uint32_t tl_head_stats_feature_count(const tl_head_stats *stats);
uint32_t tl_head_stats_class_count(const tl_head_stats *stats);
uint64_t tl_head_stats_total(const tl_head_stats *stats); /* examples of all classes */
/* Features clamped so far (forgetting takes back). */
uint64_t tl_head_stats_clamped(const tl_head_stats *stats);
/* Over everything above. O(d^2): d = 256 takes some 30 us. */
uint64_t tl_head_stats_digest(const tl_head_stats *stats);

tl_status tl_head_stats_save(const tl_head_stats *stats, tl_blob *blob, tl_error *err);
/* Errors: TL_ECORRUPT, TL_EVERSION, TL_ENOMEM. */
tl_status tl_head_stats_load(tl_blob_reader *reader, tl_head_stats **out, tl_error *err);

/* ---- Heads ----------------------------------------------------------------------------------- */

typedef struct tl_head_options {
    /* Examples' worth of the overall variance that is blended into each dimension's variance within
     * classes: makes a head sensible from two labels on. Default 1. */
    double variance_prior;
    /* Shrinkage towards the diagonal: negative (default) is OAS; else the share itself, 0..1. */
    double shrinkage;
    double shrinkage_min;   /* lower limit of OAS's; default 1e-4 */
    double prior_smoothing; /* examples' worth added to every class with examples; default 1 */
    float unseen_score;     /* probability of each class without examples; default 1e-4 */
} tl_head_options;

tl_head_options tl_head_options_default(void);

/* Work memory of the solver, so that a solve allocates nothing but its head. NULL in tl_head_solve:
 * allocated for the call. */
typedef struct tl_head_solver tl_head_solver;
tl_status tl_head_solver_create(uint32_t feature_count, tl_head_solver **out, tl_error *err);
void tl_head_solver_destroy(tl_head_solver **solver);

/* The head of these statistics. With S the pooled covariance within classes, D its diagonal
 * (blended as above), R = D^-1/2 S D^-1/2: R is shrunk towards the identity by OAS (Chen, Wiesel,
 * Eldar and Hero 2010) with n - classes degrees of freedom; then w_c = D^-1/2 R^-1 D^-1/2 mu_c and
 * b_c = -mu_c w_c / 2 + ln prior_c, both about the overall mean.
 * `options` NULL: defaults. Errors: TL_ENOMEM. */
tl_status tl_head_solve(const tl_head_stats *stats, const tl_head_options *options,
                        tl_head_solver *solver, tl_head **out, tl_error *err);

/* Probabilities [class_count] of features `x` [input_count], clamped and scaled as they were for
 * the statistics. Sum 1; each at least 1e-12. Uniform for a head without examples. */
void tl_head_predict(const tl_head *head, const float *x, float *scores);

/* The same in two halves, for several heads over the same statistics' form: features are clamped and
 * scaled once. An input begins as { 0 }, which fits no head. */
typedef struct tl_head_input {
    tl_head_form form;
    float range;
    uint32_t feature_count, input_count;
    double value[TL_FEATURE_COUNT_MAX]; /* [feature_count] */
} tl_head_input;
void tl_head_take(const tl_head *head, const float *x, tl_head_input *out);
bool tl_head_fits(const tl_head *head, const tl_head_input *input);
void tl_head_predict_taken(const tl_head *head, const tl_head_input *input, float *scores);

uint32_t tl_head_class_count(const tl_head *head);
double tl_head_shrinkage(const tl_head *head); /* the share that was used */
uint64_t tl_head_digest(const tl_head *head);
void tl_head_retain(tl_head *head);
void tl_head_release(tl_head **head); /* NULL-safe; clears */
tl_status tl_head_save(const tl_head *head, tl_blob *blob, tl_error *err);
tl_status tl_head_load(tl_blob_reader *reader, tl_head **out, tl_error *err);

#endif

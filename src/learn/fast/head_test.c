/* Additive statistics, their exactness, and the heads solved from them. */
#include "learn/fast/head.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tl_head_stats *make(uint32_t d, uint32_t classes, tl_head_form form, float range)
{
    tl_head_stats_options options = {
        .feature_count = d, .class_count = classes, .form = form, .range = range
    };
    tl_head_stats *stats = NULL;
    assert_int_equal(tl_head_stats_create(&options, &stats, NULL), TL_OK);
    return stats;
}

static void draw(tl_rng *rng, float *x, size_t d)
{
    for (size_t i = 0; i < d; i++) x[i] = (float)tl_rng_normal(rng);
}

static void add(tl_head_stats *stats, const float *x, uint32_t label, int sign)
{
    assert_int_equal(tl_head_stats_add(stats, x, label, sign, NULL), TL_OK);
}

static uint64_t solved_digest(const tl_head_stats *stats)
{
    tl_head *head = NULL;
    assert_int_equal(tl_head_solve(stats, NULL, NULL, &head, NULL), TL_OK);
    uint64_t digest = tl_head_digest(head);
    tl_head_release(&head);
    return digest;
}

/* ---- Statistics ------------------------------------------------------------------------------ */

static void a_withdrawn_label_leaves_no_trace(void **state)
{
    (void)state;
    enum { D = 37, N = 60 };
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    float x[N][D];
    for (size_t i = 0; i < N; i++) draw(&rng, x[i], D);
    x[5][3] = 1e9f; /* clamped */
    x[7][0] = NAN;
    tl_head_stats *without = make(D, 3, TL_HEAD_RAW, 2.0f), *with = make(D, 3, TL_HEAD_RAW, 2.0f);
    for (uint32_t i = 0; i < N; i++) {
        add(with, x[i], i % 3, 1);
        if (i % 4 != 1) add(without, x[i], i % 3, 1);
    }
    assert_true(tl_head_stats_digest(with) != tl_head_stats_digest(without));
    for (uint32_t i = 1; i < N; i += 4) add(with, x[i], i % 3, -1);
    assert_true(tl_head_stats_digest(with) == tl_head_stats_digest(without));
    assert_true(solved_digest(with) == solved_digest(without));
    assert_int_equal(tl_head_stats_total(with), N - N / 4);
    for (uint32_t i = 0; i < N; i++)
        if (i % 4 != 1) add(with, x[i], i % 3, -1);
    tl_head_stats_clear(without);
    assert_true(tl_head_stats_digest(with) == tl_head_stats_digest(without));
    tl_head_stats_destroy(&with);
    tl_head_stats_destroy(&without);
}

static void order_and_sites_do_not_matter(void **state)
{
    (void)state;
    enum { D = 21, N = 50 };
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    float x[N][D];
    for (size_t i = 0; i < N; i++) draw(&rng, x[i], D);
    tl_head_stats *forth = make(D, 4, TL_HEAD_UNIT, 0), *back = make(D, 4, TL_HEAD_UNIT, 0);
    tl_head_stats *site = make(D, 3, TL_HEAD_UNIT, 0);
    for (uint32_t i = 0; i < N; i++) add(forth, x[i], i % 4, 1);
    for (uint32_t i = N; i-- > 0;) add(i % 4 != 3 && i < 20 ? site : back, x[i], i % 4, 1);
    assert_int_equal(tl_head_stats_merge(back, site, 1, NULL), TL_OK);
    assert_true(tl_head_stats_digest(forth) == tl_head_stats_digest(back));
    assert_int_equal(tl_head_stats_merge(site, back, 1, NULL), TL_ESHAPE); /* fewer classes */
    assert_int_equal(tl_head_stats_merge(back, site, -1, NULL), TL_OK);
    assert_int_equal(tl_head_stats_merge(back, site, 1, NULL), TL_OK);
    assert_true(tl_head_stats_digest(forth) == tl_head_stats_digest(back));
    tl_head_stats_destroy(&forth);
    tl_head_stats_destroy(&back);
    tl_head_stats_destroy(&site);
}

static void a_corrected_label_counts_as_if_right_at_once(void **state)
{
    (void)state;
    enum { D = 9, N = 20 };
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    tl_head_stats *right = make(D, 2, TL_HEAD_RAW, 4), *wrong = make(D, 2, TL_HEAD_RAW, 4);
    float x[N][D];
    for (uint32_t i = 0; i < N; i++) {
        draw(&rng, x[i], D);
        add(right, x[i], i % 2, 1);
        add(wrong, x[i], i == 6 ? 1 : i % 2, 1);
    }
    assert_int_equal(tl_head_stats_relabel(wrong, x[6], 1, 0, NULL), TL_OK);
    assert_true(tl_head_stats_digest(right) == tl_head_stats_digest(wrong));
    tl_head_stats_destroy(&right);
    tl_head_stats_destroy(&wrong);
}

static void sums_are_exact_products(void **state)
{
    (void)state;
    /* 0.5 and -0.25 of range 1 are exact: G = x x^T, and two examples of one class have scatter 0
     * only when they are equal. */
    tl_head_stats *stats = make(2, 1, TL_HEAD_RAW, 1);
    const float x[2] = { 0.5f, -0.25f };
    add(stats, x, 0, 1);
    add(stats, x, 0, 1);
    tl_blob blob;
    tl_blob_init(&blob);
    assert_int_equal(tl_head_stats_save(stats, &blob, NULL), TL_OK);
    tl_blob_reader reader;
    tl_blob_reader_init(&reader, blob.data + 16 + 36 + 8, blob.bytes - 16 - 36 - 8 - 8);
    const int64_t wanted[] = { 2 * (1 << 17), -2 * (1 << 16), 2LL << 34, -(2LL << 33), 2LL << 32 };
    for (size_t i = 0; i < TL_COUNT_OF(wanted); i++)
        assert_true((int64_t)tl_blob_read_u64(&reader) == wanted[i]);
    assert_int_equal(tl_blob_left(&reader), 0);
    tl_blob_destroy(&blob);
    tl_head_stats_destroy(&stats);
}

/* Integers through and through: the same on every machine, compiler and instruction set. */
static void statistics_have_the_known_digest(void **state)
{
    (void)state;
    enum { D = 133 };
    tl_head_stats *stats = make(D, 5, TL_HEAD_UNIT, 0);
    tl_rng rng;
    tl_rng_seed(&rng, 1, 1);
    for (uint32_t i = 0; i < 300; i++) {
        float x[D];
        for (uint32_t j = 0; j < D; j++)
            x[j] = (float)(tl_rng_unit(&rng) + (j % 5 == i % 5 ? .3 : 0));
        add(stats, x, i % 5, 1);
    }
    assert_true(tl_head_stats_digest(stats) == 0xd3c239dd4c25c9e3);
    tl_head_stats_destroy(&stats);
}

static void clamped_features_are_counted(void **state)
{
    (void)state;
    tl_head_stats *stats = make(3, 2, TL_HEAD_RAW, 2);
    const float x[3] = { 5.0f, -2.0f, INFINITY };
    add(stats, x, 0, 1);
    assert_int_equal(tl_head_stats_clamped(stats), 2);
    add(stats, x, 0, -1);
    assert_int_equal(tl_head_stats_clamped(stats), 0);
    tl_head_stats_destroy(&stats);
    stats = make(3, 2, TL_HEAD_UNIT, 0);
    const float one[3] = { 0.0f, -7.0f, 0.0f }, zero[3] = { 0 };
    add(stats, one, 0, 1);
    add(stats, zero, 0, 1);
    assert_int_equal(tl_head_stats_clamped(stats), 0);
    tl_head_stats_destroy(&stats);
}

static void impossible_requests_are_refused(void **state)
{
    (void)state;
    tl_head_stats_options options = { .feature_count = 0, .class_count = 2, .range = 1 };
    tl_head_stats *stats = NULL;
    tl_error err;
    assert_int_equal(tl_head_stats_create(&options, &stats, &err), TL_EINVAL);
    options.feature_count = 4;
    options.range = NAN;
    assert_int_equal(tl_head_stats_create(&options, &stats, &err), TL_EINVAL);
    stats = make(4, 2, TL_HEAD_RAW, 1);
    uint64_t digest = tl_head_stats_digest(stats);
    const float x[4] = { 0 };
    assert_int_equal(tl_head_stats_add(stats, x, 2, 1, &err), TL_EINVAL);
    assert_int_equal(tl_head_stats_add(stats, x, 1, -1, &err), TL_ECONFLICT);
    assert_int_equal(tl_head_stats_relabel(stats, x, 1, 0, &err), TL_ECONFLICT);
    assert_true(tl_head_stats_digest(stats) == digest);
    tl_head_stats_destroy(&stats);
}

static void statistics_survive_saving_and_damage_is_found(void **state)
{
    (void)state;
    enum { D = 11 };
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    tl_head_stats *stats = make(D, 3, TL_HEAD_RAW, 2), *loaded = NULL;
    for (uint32_t i = 0; i < 30; i++) {
        float x[D];
        draw(&rng, x, D);
        add(stats, x, i % 3, 1);
    }
    assert_int_equal(tl_head_stats_add_class(stats, NULL), TL_OK);
    tl_blob blob;
    tl_blob_init(&blob);
    assert_int_equal(tl_head_stats_save(stats, &blob, NULL), TL_OK);
    tl_blob_reader reader;
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_head_stats_load(&reader, &loaded, NULL), TL_OK);
    assert_int_equal(tl_blob_left(&reader), 0);
    assert_true(tl_head_stats_digest(stats) == tl_head_stats_digest(loaded));
    tl_head_stats_destroy(&loaded);
    for (size_t i = 0; i < blob.bytes; i += 13) {
        blob.data[i] ^= 0x10;
        tl_blob_reader_init(&reader, blob.data, blob.bytes);
        tl_status status = tl_head_stats_load(&reader, &loaded, NULL);
        assert_true(status == TL_ECORRUPT || status == TL_EVERSION);
        blob.data[i] ^= 0x10;
        tl_blob_reader_init(&reader, blob.data, i);
        assert_int_equal(tl_head_stats_load(&reader, &loaded, NULL), TL_ECORRUPT);
    }
    tl_blob_destroy(&blob);
    tl_head_stats_destroy(&stats);
}

/* ---- Heads ----------------------------------------------------------------------------------- */

enum { REF_D = 19, REF_C = 3, REF_N = 40 };

/* Solve A x = b by elimination with pivoting: slow and plain. */
static void eliminate(double a[REF_D][REF_D], double *b)
{
    for (size_t k = 0; k < REF_D; k++) {
        size_t pivot = k;
        for (size_t i = k; i < REF_D; i++)
            if (fabs(a[i][k]) > fabs(a[pivot][k])) pivot = i;
        for (size_t j = 0; j < REF_D; j++) {
            double keep = a[k][j];
            a[k][j] = a[pivot][j];
            a[pivot][j] = keep;
        }
        double keep = b[k];
        b[k] = b[pivot];
        b[pivot] = keep;
        for (size_t i = k + 1; i < REF_D; i++) {
            double factor = a[i][k] / a[k][k];
            for (size_t j = k; j < REF_D; j++) a[i][j] -= factor * a[k][j];
            b[i] -= factor * b[k];
        }
    }
    for (size_t k = REF_D; k-- > 0;) {
        for (size_t j = k + 1; j < REF_D; j++) b[k] -= a[k][j] * b[j];
        b[k] /= a[k][k];
    }
}

/* Log posterior, up to a constant, of `x` under the documented definition, in plain loops. */
static void reference_logits(float x[REF_N][REF_D], const uint32_t *y, const float *query,
                             double *logits, double *shrinkage)
{
    double mean[REF_C][REF_D] = { { 0 } }, overall[REF_D] = { 0 }, n[REF_C] = { 0 };
    for (size_t i = 0; i < REF_N; i++) {
        n[y[i]] += 1;
        for (size_t j = 0; j < REF_D; j++) mean[y[i]][j] += (double)x[i][j];
    }
    for (size_t c = 0; c < REF_C; c++)
        for (size_t j = 0; j < REF_D; j++) overall[j] += mean[c][j] / REF_N, mean[c][j] /= n[c];
    double s[REF_D][REF_D] = { { 0 } }, r[REF_D][REF_D], total[REF_D] = { 0 };
    for (size_t i = 0; i < REF_N; i++)
        for (size_t j = 0; j < REF_D; j++) {
            total[j] += pow((double)x[i][j] - overall[j], 2) / REF_N;
            for (size_t k = 0; k < REF_D; k++)
                s[j][k] += ((double)x[i][j] - mean[y[i]][j]) * ((double)x[i][k] - mean[y[i]][k]);
        }
    double degrees = REF_N - REF_C, deviation[REF_D], squares = 0;
    for (size_t j = 0; j < REF_D; j++) deviation[j] = sqrt((s[j][j] + total[j]) / (degrees + 1));
    for (size_t j = 0; j < REF_D; j++)
        for (size_t k = 0; k < REF_D; k++) {
            r[j][k] = j == k ? 1 : s[j][k] / (degrees + 1) / deviation[j] / deviation[k];
            squares += r[j][k] * r[j][k];
        }
    double d = REF_D,
           rho = ((1 - 2 / d) * squares + d * d) / ((degrees + 1 - 2 / d) * (squares - d));
    *shrinkage = rho = rho > 1 ? 1 : rho;
    for (size_t c = 0; c < REF_C; c++) {
        double a[REF_D][REF_D], b[REF_D];
        for (size_t j = 0; j < REF_D; j++) {
            b[j] = mean[c][j] - overall[j];
            for (size_t k = 0; k < REF_D; k++)
                a[j][k] = (j == k ? 1 : (1 - rho) * r[j][k]) * deviation[j] * deviation[k];
        }
        eliminate(a, b);
        logits[c] = log((n[c] + 1) / (REF_N + REF_C));
        for (size_t j = 0; j < REF_D; j++)
            logits[c] += b[j] * ((double)query[j] - overall[j] - 0.5 * (mean[c][j] - overall[j]));
    }
}

static void a_head_is_what_the_formulas_say(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    float x[REF_N][REF_D];
    uint32_t y[REF_N];
    tl_head_stats *stats = make(REF_D, REF_C, TL_HEAD_RAW, 8);
    for (size_t i = 0; i < REF_N; i++) {
        y[i] = (uint32_t)(i % 5 % REF_C);
        draw(&rng, x[i], REF_D);
        for (size_t j = 0; j < REF_D; j++) { /* correlated, of many scales, classes apart */
            x[i][j] = 0.5f * x[i][j] + (j > 0 ? 0.6f * x[i][j - 1] : 0.0f) + 0.3f * (float)y[i];
        }
        for (size_t j = 0; j < REF_D; j += 3) x[i][j] *= 0.125f;
        for (size_t j = 0; j < REF_D; j++) /* multiples of the quantum: statistics lose nothing */
            x[i][j] = rintf(x[i][j] * 0x1p15f) * 0x1p-15f;
        add(stats, x[i], y[i], 1);
    }
    tl_head *head = NULL;
    assert_int_equal(tl_head_solve(stats, NULL, NULL, &head, NULL), TL_OK);
    for (size_t i = 0; i < REF_N; i++) {
        double logits[REF_C], rho, sum = 0;
        float scores[REF_C];
        reference_logits(x, y, x[i], logits, &rho);
        tl_head_predict(head, x[i], scores);
        for (size_t c = 0; c < REF_C; c++) sum += exp(logits[c]);
        for (size_t c = 0; c < REF_C; c++)
            assert_true(fabs((double)scores[c] - exp(logits[c]) / sum) < 1e-5);
        assert_true(fabs(rho - tl_head_shrinkage(head)) < 1e-6);
        assert_true(rho > 0.01 && rho < 0.99);
    }
    tl_head_release(&head);
    tl_head_stats_destroy(&stats);
}

/* Two Gaussians at Mahalanobis distance 3 with correlated dimensions of very different scales: the
 * best possible accuracy is Phi(3/2) = 0.9332. */
static double gaussian_accuracy(uint32_t labels, tl_head_form form)
{
    enum { D = 24, TESTS = 8000 };
    tl_rng rng;
    tl_rng_seed(&rng, 6, labels);
    tl_head_stats *stats = make(D, 2, form, 64);
    tl_head *head = NULL;
    uint32_t right = 0;
    for (uint32_t i = 0; i < labels + TESTS; i++) {
        float x[D], scores[2];
        uint32_t label = i < 2 ? i : (uint32_t)tl_rng_below(&rng, 2);
        draw(&rng, x, D);
        for (size_t j = 0; j < D; j++) x[j] += label ? 3.0f / sqrtf(D) : 0.0f;
        for (size_t j = 1; j < D; j++) x[j] += 0.7f * x[j - 1]; /* invertible: distance stays */
        for (size_t j = 0; j < D; j++) x[j] *= j % 2 ? 4.0f : 0.05f;
        if (i < labels) {
            add(stats, x, label, 1);
            if (i + 1 < labels) continue;
            assert_int_equal(tl_head_solve(stats, NULL, NULL, &head, NULL), TL_OK);
            continue;
        }
        tl_head_predict(head, x, scores);
        right += (scores[1] > scores[0]) == label;
    }
    tl_head_release(&head);
    tl_head_stats_destroy(&stats);
    return (double)right / TESTS;
}

static void accuracy_nears_the_best_possible(void **state)
{
    (void)state;
    double best = 0.9332;
    assert_true(gaussian_accuracy(4000, TL_HEAD_RAW) > best - 0.01);
    assert_true(gaussian_accuracy(4000, TL_HEAD_RAW) < best + 0.012);
    assert_true(gaussian_accuracy(200, TL_HEAD_RAW) > best - 0.04);
    assert_true(gaussian_accuracy(20, TL_HEAD_RAW) > 0.65);
    assert_true(gaussian_accuracy(2, TL_HEAD_RAW) > 0.52);
}

static void few_labels_make_a_sensible_head(void **state)
{
    (void)state;
    tl_head_stats *stats = make(4, 3, TL_HEAD_RAW, 4);
    const float a[4] = { 1, 0, 0, 0 }, b[4] = { -1, 0.5f, 0, 0 };
    float scores[3];
    tl_head *head = NULL;
    assert_int_equal(tl_head_solve(stats, NULL, NULL, &head, NULL), TL_OK);
    tl_head_predict(head, a, scores);
    for (size_t c = 0; c < 3; c++) assert_float_equal(scores[c], 1.0 / 3, 1e-6);
    tl_head_release(&head);
    add(stats, a, 0, 1);
    assert_int_equal(tl_head_solve(stats, NULL, NULL, &head, NULL), TL_OK);
    tl_head_predict(head, b, scores);
    assert_true(scores[0] > 0.99f && scores[1] == scores[2]);
    tl_head_release(&head);
    add(stats, b, 2, 1);
    assert_int_equal(tl_head_solve(stats, NULL, NULL, &head, NULL), TL_OK);
    tl_head_predict(head, a, scores);
    assert_true(scores[0] > 0.6f && scores[0] < 1.0f && scores[1] < 0.01f);
    tl_head_predict(head, b, scores);
    assert_true(scores[2] > 0.6f && scores[1] < 0.01f);
    float sum = scores[0] + scores[1] + scores[2];
    assert_float_equal(sum, 1.0, 1e-6);
    tl_head_release(&head);
    tl_head_stats_destroy(&stats);
}

static void odd_features_give_finite_scores(void **state)
{
    (void)state;
    enum { D = 33 };
    tl_head_stats *stats = make(D, 2, TL_HEAD_UNIT, 0);
    float x[D] = { 0 }, scores[2];
    for (uint32_t i = 0; i < 20; i++) { /* constant, equal and dead dimensions; zero vectors */
        for (size_t j = 0; j < 8; j++) x[j] = j < 4 ? 1.0f : (float)(i % 2);
        add(stats, x, i % 2, 1);
        add(stats, (float[D]){ 0 }, i % 2, 1);
    }
    tl_head *head = NULL;
    assert_int_equal(tl_head_solve(stats, NULL, NULL, &head, NULL), TL_OK);
    for (size_t j = 0; j < D; j++) x[j] = j % 3 ? 1e30f : -NAN;
    tl_head_predict(head, x, scores);
    assert_true(isfinite(scores[0]) && isfinite(scores[1]));
    assert_float_equal(scores[0] + scores[1], 1.0, 1e-6);
    tl_head_release(&head);
    tl_head_stats_destroy(&stats);
}

static void a_head_survives_saving(void **state)
{
    (void)state;
    enum { D = 10 };
    tl_rng rng;
    tl_rng_seed(&rng, 8, 0);
    tl_head_stats *stats = make(D, 9, TL_HEAD_RAW, 3);
    float x[D];
    for (uint32_t i = 0; i < 50; i++) {
        draw(&rng, x, D);
        add(stats, x, i % 7, 1);
    }
    tl_head *head = NULL, *loaded = NULL;
    assert_int_equal(tl_head_solve(stats, NULL, NULL, &head, NULL), TL_OK);
    tl_blob blob;
    tl_blob_init(&blob);
    assert_int_equal(tl_head_save(head, &blob, NULL), TL_OK);
    tl_blob_reader reader;
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_head_load(&reader, &loaded, NULL), TL_OK);
    assert_true(tl_head_digest(head) == tl_head_digest(loaded));
    float a[9], b[9];
    tl_head_predict(head, x, a);
    tl_head_predict(loaded, x, b);
    assert_memory_equal(a, b, sizeof a);
    tl_head_retain(loaded);
    tl_head *other = loaded;
    tl_head_release(&loaded);
    assert_int_equal(tl_head_class_count(other), 9);
    tl_head_release(&other);
    tl_head_release(&head);
    for (size_t i = 0; i < blob.bytes; i += 7) {
        tl_blob_reader_init(&reader, blob.data, i);
        assert_int_equal(tl_head_load(&reader, &loaded, NULL), TL_ECORRUPT);
    }
    tl_blob_destroy(&blob);
    tl_head_stats_destroy(&stats);
}

/* A solver is used again and again: nothing of the last solve may shine through. */
static void a_used_solver_gives_the_same_bits(void **state)
{
    (void)state;
    enum { D = 45 };
    tl_rng rng;
    tl_rng_seed(&rng, 9, 0);
    tl_head_stats *stats = make(D, 3, TL_HEAD_RAW, 4);
    tl_head_solver *solver = NULL;
    assert_int_equal(tl_head_solver_create(D, &solver, NULL), TL_OK);
    for (uint32_t i = 0; i < 90; i++) {
        float x[D];
        draw(&rng, x, D);
        add(stats, x, i % 3, 1);
        tl_head *head = NULL;
        assert_int_equal(tl_head_solve(stats, NULL, solver, &head, NULL), TL_OK);
        assert_true(tl_head_digest(head) == solved_digest(stats));
        tl_head_release(&head);
    }
    tl_head_solver_destroy(&solver);
    tl_head_stats_destroy(&stats);
}

/* More numbers than features: two classes far apart in them stay so, and what was learned goes
 * again without a trace. */
static void many_numbers_are_sketched(void **state)
{
    (void)state;
    enum { WIDE = 300, D = 24 };
    const tl_head_stats_options options = {
        .feature_count = D, .class_count = 2, .form = TL_HEAD_UNIT, .input_count = WIDE
    };
    tl_head_stats *stats = NULL;
    assert_int_equal(tl_head_stats_create(&options, &stats, NULL), TL_OK);
    uint64_t empty = tl_head_stats_digest(stats);
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    float x[40][WIDE];
    for (uint32_t i = 0; i < 40; i++) {
        draw(&rng, x[i], WIDE);
        for (size_t k = i % 2; k < WIDE; k += 2) x[i][k] += 2.0f;
        if (i < 30) add(stats, x[i], i % 2, 1);
    }
    tl_head *head = NULL, *loaded = NULL;
    assert_int_equal(tl_head_solve(stats, NULL, NULL, &head, NULL), TL_OK);
    tl_blob blob;
    tl_blob_init(&blob);
    assert_int_equal(tl_head_save(head, &blob, NULL), TL_OK);
    tl_blob_reader reader;
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_head_load(&reader, &loaded, NULL), TL_OK);
    for (uint32_t i = 30; i < 40; i++) {
        float scores[2], again[2];
        tl_head_predict(head, x[i], scores);
        tl_head_predict(loaded, x[i], again);
        assert_true(scores[i % 2] > 0.9f);
        assert_memory_equal(scores, again, sizeof scores);
    }
    for (uint32_t i = 0; i < 30; i++) add(stats, x[i], i % 2, -1);
    assert_true(tl_head_stats_digest(stats) == empty);
    tl_blob_destroy(&blob);
    tl_head_release(&head);
    tl_head_release(&loaded);
    tl_head_stats_destroy(&stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_withdrawn_label_leaves_no_trace),
        cmocka_unit_test(order_and_sites_do_not_matter),
        cmocka_unit_test(a_corrected_label_counts_as_if_right_at_once),
        cmocka_unit_test(sums_are_exact_products),
        cmocka_unit_test(statistics_have_the_known_digest),
        cmocka_unit_test(clamped_features_are_counted),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(statistics_survive_saving_and_damage_is_found),
        cmocka_unit_test(a_head_is_what_the_formulas_say),
        cmocka_unit_test(accuracy_nears_the_best_possible),
        cmocka_unit_test(few_labels_make_a_sensible_head),
        cmocka_unit_test(odd_features_give_finite_scores),
        cmocka_unit_test(a_head_survives_saving),
        cmocka_unit_test(a_used_solver_gives_the_same_bits),
        cmocka_unit_test(many_numbers_are_sketched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

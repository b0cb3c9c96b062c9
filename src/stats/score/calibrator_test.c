/* Calibration: recovers a known distortion, isotonic where a sigmoid cannot, weights, saving. */
#include "stats/score/calibrator.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void close_to(double value, double wanted, double tolerance)
{
    if (!(fabs(value - wanted) <= tolerance)) fail_msg("got %.12g, want %.12g", value, wanted);
}

/* What a score really means. */
typedef double (*meaning)(double score);

static double as_said(double score)
{
    return score;
}

static double overconfident(double score)
{
    return 1.0 / (1.0 + exp(1.0 - 0.5 * log(score / (1 - score))));
}

static double steps(double score)
{
    return score < 0.3 ? 0.02 : score < 0.7 ? 0.5 : 0.6;
}

static void feed(tl_calibrator *c, meaning of, unsigned labels, uint64_t seed)
{
    tl_rng rng;
    tl_rng_seed(&rng, seed, 0);
    for (unsigned i = 0; i < labels; i++) {
        double score = 0.001 + 0.998 * tl_rng_unit(&rng);
        tl_calibrator_add(c, score, tl_rng_unit(&rng) < of(score), 1.0);
    }
}

static double worst_error(const tl_calibrator *c, meaning of)
{
    double worst = 0;
    for (double s = 0.025; s < 1; s += 0.05) {
        if (fabs(s - 0.3) < 0.03 || fabs(s - 0.7) < 0.03) continue; /* the steps' edges */
        worst = fmax(worst, fabs(tl_calibrator_read(c, s) - of(s)));
    }
    return worst;
}

static void without_labels_scores_are_believed(void **state)
{
    (void)state;
    tl_calibrator c;
    tl_calibrator_init(&c);
    close_to(tl_calibrator_read(&c, 0.3), 0.3, 1e-9);
    close_to(tl_calibrator_read(&c, 0.0), 1e-5, 1e-5);
    close_to(tl_calibrator_read(&c, NAN), 1e-5, 1e-5);
    assert_true(tl_calibrator_read(&c, 1.0) < 1.0);
    tl_calibrator_add(&c, 0.3, true, 1.0); /* one surprise moves little */
    close_to(tl_calibrator_read(&c, 0.3), 0.36, 0.03);
    tl_calibrator_add(&c, 0.3, true, 0.0);
    tl_calibrator_add(&c, 0.3, true, NAN);
    assert_int_equal(c.labels, 1);
}

static void a_sigmoid_is_recovered(void **state)
{
    (void)state;
    tl_calibrator c;
    tl_calibrator_init(&c);
    feed(&c, overconfident, 1500, 1);
    assert_false(c.isotonic);
    assert_true(worst_error(&c, overconfident) < 0.05);
    close_to(c.a, 0.5, 0.1);
    close_to(c.b, -1.0, 0.2);
    tl_calibrator_init(&c);
    feed(&c, as_said, 1500, 2);
    assert_true(worst_error(&c, as_said) < 0.05);
}

static void what_is_no_sigmoid_is_learned_from_many(void **state)
{
    (void)state;
    tl_calibrator c;
    tl_calibrator_init(&c);
    feed(&c, steps, 1000, 3);
    assert_false(c.isotonic);
    assert_true(worst_error(&c, steps) > 0.1);
    feed(&c, steps, 20000, 4);
    assert_true(c.isotonic);
    assert_true(worst_error(&c, steps) < 0.06);
    double before = 0;
    for (double s = 0.001; s < 1; s += 0.001) {
        double p = tl_calibrator_read(&c, s);
        assert_true(p >= before - 1e-12 && p > 0 && p < 1);
        before = p;
    }
}

/* Defects are looked at more often than their score says: only weights show how many there are. */
static void weights_undo_the_selection(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    tl_calibrator weighted, plain;
    tl_calibrator_init(&weighted);
    tl_calibrator_init(&plain);
    for (int i = 0; i < 40000; i++) {
        bool defect = tl_rng_unit(&rng) < 0.3;
        double pi = defect ? 0.8 : 0.2;
        if (tl_rng_unit(&rng) >= pi) continue;
        tl_calibrator_add(&weighted, 0.3, defect, pi);
        tl_calibrator_add(&plain, 0.3, defect, 1.0);
    }
    close_to(tl_calibrator_read(&weighted, 0.3), 0.3, 0.02);
    assert_true(tl_calibrator_read(&plain, 0.3) > 0.5);
    tl_calibrator_init(&weighted);
    tl_calibrator_add(&weighted, 0.3, true, 0.001);
    double total = 0;
    for (int k = 0; k < TL_CALIBRATOR_BINS; k++) total += weighted.weight[k];
    close_to(total, 10, 1e-9);
}

static void one_sided_labels_stay_finite(void **state)
{
    (void)state;
    tl_calibrator c;
    tl_calibrator_init(&c);
    for (int i = 0; i < 3000; i++) tl_calibrator_add(&c, i % 2 ? 1.0 : 0.999, true, 1.0);
    assert_true(tl_calibrator_read(&c, 0.999) > 0.99);
    assert_true(isfinite(c.a) && isfinite(c.b));
    tl_calibrator_init(&c);
    for (int i = 0; i < 3000; i++) tl_calibrator_add(&c, 0.9, false, 1.0);
    assert_true(tl_calibrator_read(&c, 0.9) < 0.01);
}

static void states_add_up_and_come_back(void **state)
{
    (void)state;
    tl_calibrator a, b, whole, back, empty;
    tl_calibrator_init(&a);
    tl_calibrator_init(&b);
    tl_calibrator_init(&whole);
    tl_calibrator_init(&empty);
    feed(&a, overconfident, 3000, 6);
    feed(&b, overconfident, 3000, 7);
    feed(&whole, overconfident, 3000, 6);
    feed(&whole, overconfident, 3000, 7);
    tl_calibrator_merge(&a, &b);
    tl_calibrator_merge(&whole, &empty); /* fits */
    close_to(tl_calibrator_read(&a, 0.7), tl_calibrator_read(&whole, 0.7), 1e-9);
    tl_calibrator_halve(&a);
    for (int damage = 3; damage >= 0; damage--) {
        tl_calibrator bad = a;
        if (damage == 1) bad.curve[5] = 2.0;
        if (damage == 2) bad.defect_weight[128] = bad.weight[128] + 1;
        if (damage == 3) bad.a = NAN;
        tl_blob blob;
        tl_blob_init(&blob);
        tl_calibrator_save(&bad, &blob);
        tl_blob_reader reader;
        tl_blob_reader_init(&reader, blob.data, blob.bytes);
        assert_int_equal(tl_calibrator_load(&reader, &back, NULL),
                         damage == 0 ? TL_OK : TL_ECORRUPT);
        tl_blob_destroy(&blob);
    }
    close_to(tl_calibrator_read(&back, 0.7), tl_calibrator_read(&a, 0.7), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_labels_scores_are_believed),
        cmocka_unit_test(a_sigmoid_is_recovered),
        cmocka_unit_test(what_is_no_sigmoid_is_learned_from_many),
        cmocka_unit_test(weights_undo_the_selection),
        cmocka_unit_test(one_sided_labels_stay_finite),
        cmocka_unit_test(states_add_up_and_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

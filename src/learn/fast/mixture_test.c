/* The mixture follows the better head, corrects overconfidence, and never freezes. */
#include "learn/fast/mixture.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { C = 3, HEADS = 2 };

static void init(tl_mixture *mixture)
{
    tl_mixture_options options = tl_mixture_options_default(HEADS);
    assert_int_equal(tl_mixture_init(mixture, &options, NULL), TL_OK);
}

/* A head that is right with probability `right` and says so with `confidence`. */
static void speak(tl_rng *rng, uint32_t label, double right, double confidence, float *scores)
{
    uint32_t said = label;
    if (tl_rng_unit(rng) >= right) said = (label + 1 + (uint32_t)tl_rng_below(rng, C - 1)) % C;
    for (uint32_t c = 0; c < C; c++)
        scores[c] = (float)(c == said ? confidence : (1 - confidence) / (C - 1));
}

/* Mean log loss of the mixture over the last `measured` of `labels`; heads' skills as given. */
static double play(tl_mixture *mixture, tl_rng *rng, const double *right, const double *confidence,
                   int labels, int measured)
{
    double loss = 0;
    for (int i = 0; i < labels; i++) {
        uint32_t label = (uint32_t)tl_rng_below(rng, C);
        float scores[HEADS * C], out[C];
        for (uint32_t h = 0; h < HEADS; h++)
            speak(rng, label, right[h], confidence[h], scores + h * C);
        tl_mixture_combine(mixture, scores, C, out);
        float sum = out[0] + out[1] + out[2];
        assert_float_equal(sum, 1.0, 1e-5);
        tl_mixture_learn(mixture, scores, C, label);
        if (labels - i <= measured) loss -= log((double)out[label]) / measured;
    }
    return loss;
}

static double entropy(double right)
{
    return -right * log(right) - (1 - right) * log((1 - right) / (C - 1));
}

static void it_follows_the_better_head_both_ways(void **state)
{
    (void)state;
    tl_mixture mixture;
    init(&mixture);
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    const double first[] = { 0.95, 0.5 }, second[] = { 0.5, 0.95 }, confidence[] = { 0.9, 0.9 };
    double loss = play(&mixture, &rng, first, confidence, 400, 200);
    assert_true(mixture.weight[0] > 0.95);
    assert_true(loss < entropy(0.95) + 0.06);
    play(&mixture, &rng, second, confidence, 60, 30);
    assert_true(mixture.weight[1] > 0.9); /* it changed its mind within some tens of labels */
    play(&mixture, &rng, second, confidence, 3000, 1);
    assert_true(mixture.weight[0] >= mixture.options.share / HEADS * 0.999);
}

static void overconfidence_is_calibrated_away(void **state)
{
    (void)state;
    tl_mixture mixture;
    init(&mixture);
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    /* Both say 1 - 1e-9 and are right in 80 %: uncalibrated that costs 4 nats an item. */
    const double right[] = { 0.8, 0.8 }, confidence[] = { 1 - 1e-9, 1 - 1e-9 };
    double loss = play(&mixture, &rng, right, confidence, 1500, 1000);
    assert_true(loss < entropy(0.8) + 0.08);
    assert_true(mixture.calibration[0].a < 0.3);
    /* And timid heads are believed more. */
    init(&mixture);
    const double timid_right[] = { 0.97, 0.97 }, timid[] = { 0.45, 0.45 };
    loss = play(&mixture, &rng, timid_right, timid, 1500, 1000);
    assert_true(mixture.calibration[0].a > 2.0);
    assert_true(loss < 0.35); /* uncalibrated: 0.81 */
}

static void the_offset_of_class_0_is_learned(void **state)
{
    (void)state;
    tl_mixture mixture;
    init(&mixture);
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    double before = 0, after = 0;
    for (int i = 0; i < 2000; i++) { /* heads claim balance; in truth class 0 has 90 % */
        uint32_t label = tl_rng_unit(&rng) < 0.9 ? 0 : 1;
        const float scores[HEADS * C] = { 0.45f, 0.45f, 0.1f, 0.45f, 0.45f, 0.1f };
        float out[C];
        tl_mixture_combine(&mixture, scores, C, out);
        double loss = -log((double)out[label]);
        if (i < 50) before += loss / 50;
        if (i >= 1000) after += loss / 1000;
        tl_mixture_learn(&mixture, scores, C, label);
    }
    assert_true(before > after + 0.15);
    assert_true(mixture.calibration[0].b > 1.5);
}

static void impossible_scores_do_no_harm(void **state)
{
    (void)state;
    tl_mixture mixture;
    init(&mixture);
    const float bad[HEADS * C] = { 1, 0, 0, NAN, -1, 7 };
    float out[C];
    for (int i = 0; i < 300; i++) {
        tl_mixture_combine(&mixture, bad, C, out);
        for (uint32_t c = 0; c < C; c++) assert_true(out[c] >= 0 && out[c] <= 1);
        tl_mixture_learn(&mixture, bad, C, (uint32_t)i % C);
        double sum = 0;
        for (uint32_t h = 0; h < HEADS; h++) {
            assert_true(mixture.weight[h] >= mixture.options.share / HEADS * 0.999);
            assert_true(isfinite(mixture.calibration[h].a) && isfinite(mixture.calibration[h].b));
            sum += mixture.weight[h];
        }
        assert_true(fabs(sum - 1) < 1e-9);
    }
}

static void a_saved_mixture_goes_on_with_the_same_bits(void **state)
{
    (void)state;
    tl_mixture one, two;
    init(&one);
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    const double right[] = { 0.9, 0.7 }, confidence[] = { 0.99, 0.6 };
    play(&one, &rng, right, confidence, 77, 1);
    tl_blob blob;
    tl_blob_init(&blob);
    assert_int_equal(tl_mixture_save(&one, &blob, NULL), TL_OK);
    tl_blob_reader reader;
    for (size_t i = 0; i < blob.bytes; i++) {
        blob.data[i] ^= 1;
        tl_blob_reader_init(&reader, blob.data, blob.bytes);
        assert_int_not_equal(tl_mixture_load(&reader, &two, NULL), TL_OK);
        blob.data[i] ^= 1;
    }
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_mixture_load(&reader, &two, NULL), TL_OK);
    tl_rng again = rng;
    double a = play(&one, &rng, right, confidence, 50, 50);
    double b = play(&two, &again, right, confidence, 50, 50);
    assert_memory_equal(&a, &b, sizeof a);
    assert_memory_equal(one.weight, two.weight, sizeof one.weight);
    assert_memory_equal(one.calibration, two.calibration, sizeof one.calibration);
    tl_blob_destroy(&blob);
}

static void options_are_checked(void **state)
{
    (void)state;
    tl_mixture mixture;
    tl_mixture_options options = tl_mixture_options_default(0);
    assert_int_equal(tl_mixture_init(&mixture, &options, NULL), TL_EINVAL);
    options = tl_mixture_options_default(2);
    options.eta = NAN;
    assert_int_equal(tl_mixture_init(&mixture, &options, NULL), TL_EINVAL);
    options = tl_mixture_options_default(2);
    options.initial[1] = 3;
    options.initial[0] = 1;
    assert_int_equal(tl_mixture_init(&mixture, &options, NULL), TL_OK);
    assert_true(mixture.weight[1] == 0.75);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_follows_the_better_head_both_ways),
        cmocka_unit_test(overconfidence_is_calibrated_away),
        cmocka_unit_test(the_offset_of_class_0_is_learned),
        cmocka_unit_test(impossible_scores_do_no_harm),
        cmocka_unit_test(a_saved_mixture_goes_on_with_the_same_bits),
        cmocka_unit_test(options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

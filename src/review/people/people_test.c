/* The agreement study against published tables; corrections and repeats by simulation. */
#include "review/people/people.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void close_to(double value, double wanted, double tolerance)
{
    if (!(fabs(value - wanted) <= tolerance)) fail_msg("got %.6g, want %.6g", value, wanted);
}

static tl_people_result result; /* large */

/* AIAG, Measurement Systems Analysis, 4th edition, chapter III C: the tables of its example. Here
 * each of the 150 judgements is a part of its own, judged once by two. */
static void published_kappas_of_two(void **state)
{
    (void)state;
    static const struct {
        int table[2][2];
        double kappa;
    } pairs[] = {
        { { { 44, 6 }, { 3, 97 } }, .86 },  /* A and B */
        { { { 42, 5 }, { 9, 94 } }, .79 },  /* B and C */
        { { { 43, 7 }, { 8, 92 } }, .78 },  /* A and C */
        { { { 45, 5 }, { 3, 97 } }, .88 },  /* A and the reference */
        { { { 45, 2 }, { 3, 100 } }, .92 }, /* B */
        { { { 42, 9 }, { 6, 93 } }, .77 },  /* C */
    };
    for (size_t p = 0; p < TL_COUNT_OF(pairs); p++) {
        uint8_t calls[150][2], known[150];
        size_t n = 0;
        for (int a = 0; a < 2; a++)
            for (int b = 0; b < 2; b++)
                for (int i = 0; i < pairs[p].table[a][b]; i++, n++)
                    calls[n][0] = (uint8_t)a, calls[n][1] = known[n] = (uint8_t)b;
        tl_people_study study = { 150, 2, 1, 2, known, calls[0], 0.95 };
        assert_int_equal(tl_people_judge(&study, &result, NULL), TL_OK);
        close_to(result.pair[0][1].kappa, pairs[p].kappa, .0051);
        close_to(result.each[0].to_known.kappa, pairs[p].kappa, .0051);
        assert_true(result.pair[0][1].interval.low < pairs[p].kappa - 0.05);
        assert_true(result.pair[0][1].interval.high > pairs[p].kappa + 0.04);
    }
}

/* The worked example of Fleiss' kappa: 10 subjects, 14 raters, 5 classes. */
static void published_kappa_of_many(void **state)
{
    (void)state;
    static const int table[10][5] = { { 0, 0, 0, 0, 14 }, { 0, 2, 6, 4, 2 }, { 0, 0, 3, 5, 6 },
                                      { 0, 3, 9, 2, 0 },  { 2, 2, 8, 1, 1 }, { 7, 7, 0, 0, 0 },
                                      { 3, 2, 6, 3, 0 },  { 2, 5, 3, 2, 2 }, { 6, 5, 2, 1, 0 },
                                      { 0, 2, 2, 3, 7 } };
    uint8_t calls[10][14], known[10] = { 0 };
    for (int part = 0; part < 10; part++)
        for (int label = 0, at = 0; label < 5; label++)
            for (int i = 0; i < table[part][label]; i++) calls[part][at++] = (uint8_t)label;
    tl_people_study study = { 10, 14, 1, 5, known, calls[0], 0.95 };
    assert_int_equal(tl_people_judge(&study, &result, NULL), TL_OK);
    close_to(result.between.kappa, 0.210, 0.0005);
    study = (tl_people_study){ 10, 1, 14, 5, known, calls[0], 0.95 }; /* one who wavers */
    assert_int_equal(tl_people_judge(&study, &result, NULL), TL_OK);
    close_to(result.each[0].to_itself.kappa, 0.210, 0.0005);
    assert_int_equal(result.verdict, TL_PEOPLE_POOR);
}

static void shares_are_counted_by_part_and_by_trial(void **state)
{
    (void)state;
    enum { N = TL_PEOPLE_NOTHING };
    static const uint8_t known[5] = { 0, 0, 1, 1, 2 };
    static const uint8_t calls[5][2][3] = {
        { { 0, 0, 0 }, { 0, 0, 0 } }, { { 0, 1, 0 }, { 0, 0, N } }, { { 1, 1, 1 }, { 1, 0, 1 } },
        { { 1, 1, 1 }, { 0, 0, 0 } }, { { 2, 1, 2 }, { N, N, N } },
    };
    tl_people_study study = { 5, 2, 3, 3, known, calls[0][0], 0.95 };
    assert_int_equal(tl_people_judge(&study, &result, NULL), TL_OK);
    const struct {
        const tl_people_share *share;
        uint64_t hits, count;
    } wanted[] = {
        { &result.each[0].repeatable, 3, 5 },
        { &result.each[1].repeatable, 3, 4 },
        { &result.each[0].right, 3, 5 },
        { &result.each[1].right, 2, 4 },
        { &result.each[0].misses, 0, 9 },
        { &result.each[1].misses, 4, 6 },
        { &result.each[0].false_alarms, 1, 6 },
        { &result.each[1].false_alarms, 0, 5 },
        { &result.each[0].wrong_class, 1, 9 },
        { &result.each[1].wrong_class, 0, 6 },
        { &result.all_agree, 1, 5 },
        { &result.all_right, 1, 5 },
        { &result.found, 11, 15 },
        { &result.passed, 10, 11 },
    };
    for (size_t i = 0; i < TL_COUNT_OF(wanted); i++) {
        assert_int_equal(wanted[i].share->hits, wanted[i].hits);
        assert_int_equal(wanted[i].share->count, wanted[i].count);
        tl_interval exact = tl_interval_exact(wanted[i].hits, wanted[i].count, 0.95);
        close_to(wanted[i].share->interval.low, exact.low, 0);
        close_to(wanted[i].share->interval.high, exact.high, 0);
    }
    assert_non_null(strstr(result.each[1].words, "not acceptable: right 50.0 %"));
    assert_non_null(strstr(result.each[1].words, "misses 66.7 % [22.3-95.7] of 6"));
    assert_string_equal(tl_people_verdict_text(TL_PEOPLE_POOR), "not acceptable");
}

/* One who is always right: the kappa is 1, which so many parts cannot prove. */
static void perfect_agreement_has_an_interval_too(void **state)
{
    (void)state;
    uint8_t known[30], calls[30][3];
    for (int i = 0; i < 30; i++) {
        known[i] = (uint8_t)(i % 3 == 0);
        memset(calls[i], known[i], 3);
    }
    tl_people_study study = { 30, 1, 3, 2, known, calls[0], 0.95 };
    assert_int_equal(tl_people_judge(&study, &result, NULL), TL_OK);
    close_to(result.to_known.kappa, 1, 1e-12);
    assert_true(result.to_known.interval.low < 0.8 && result.to_known.interval.low > 0.6);
    close_to(result.to_known.interval.high, 1, 0);
    assert_int_equal(result.verdict, TL_PEOPLE_GOOD);
    memset(known, 0, sizeof known); /* only good parts: nothing is known of misses */
    memset(calls, 0, sizeof calls);
    assert_int_equal(tl_people_judge(&study, &result, NULL), TL_OK);
    assert_true(isnan(result.to_known.kappa) && isnan(result.found.share));
    assert_int_equal(result.verdict, TL_PEOPLE_GOOD);
    assert_non_null(strstr(result.each[0].words, "misses not known"));
}

static void senseless_studies_are_refused(void **state)
{
    (void)state;
    uint8_t known[2] = { 0, 1 }, calls[2] = { 0, 1 };
    const tl_people_study good = { 2, 1, 1, 2, known, calls, 0.95 };
    assert_int_equal(tl_people_judge(&good, &result, NULL), TL_OK);
    tl_people_study bad[6] = { good, good, good, good, good, good };
    bad[0].parts = 1;
    bad[1].operators = 0;
    bad[2].trials = TL_PEOPLE_TRIAL_MAX + 1;
    bad[3].classes = 1; /* also: class 1 is not one of it */
    bad[4].classes = 65;
    bad[5].confidence = 1;
    tl_error err;
    for (int i = 0; i < 6; i++)
        assert_int_equal(tl_people_judge(&bad[i], &result, &err), TL_EINVAL);
    calls[1] = 2;
    assert_int_equal(tl_people_judge(&good, &result, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "part 1"));
    calls[1] = TL_PEOPLE_NOTHING;
    assert_int_equal(tl_people_judge(&good, &result, &err), TL_OK);
    known[0] = 7;
    assert_int_equal(tl_people_judge(&good, &result, &err), TL_EINVAL);
}

static tl_people_share draw_share(tl_rng *rng, double p, uint64_t count)
{
    tl_people_share out = { 0, count, 0, { 0, 1 } };
    for (uint64_t i = 0; i < count; i++) out.hits += tl_rng_unit(rng) < p;
    out.share = (double)out.hits / (double)count;
    out.interval = tl_interval_exact(out.hits, count, 0.975);
    return out;
}

/* Operators find 85 % of the defects and pass 97 % of the good: corrected shares hold the truth. */
static void corrected_shares_hold_the_truth(void **state)
{
    (void)state;
    const double truth = 0.1, sensitivity = 0.85, specificity = 0.97;
    const double apparent = truth * sensitivity + (1 - truth) * (1 - specificity);
    tl_rng rng;
    tl_rng_seed(&rng, 21, 0);
    int held = 0, naive = 0;
    double mean = 0;
    for (int i = 0; i < 300; i++) {
        tl_people_share found = draw_share(&rng, sensitivity, 150);
        tl_people_share passed = draw_share(&rng, specificity, 300);
        tl_people_share seen = draw_share(&rng, apparent, 2000);
        tl_people_corrected c =
            tl_people_correct(seen.share, seen.interval, &found, &passed, 0.975);
        held += c.interval.low <= truth && truth <= c.interval.high;
        naive += seen.interval.low <= truth && truth <= seen.interval.high;
        mean += c.value / 300;
    }
    assert_true(held >= 285);
    assert_true(naive < 200);
    close_to(mean, truth, 0.003);
    tl_people_share blind = { 50, 100, 0.5, { 0.4, 0.6 } }; /* tossing a coin */
    tl_people_corrected none =
        tl_people_correct(0.5, (tl_interval){ 0.4, 0.6 }, &blind, &blind, 0.95);
    assert_true(isnan(none.value));
    close_to(none.interval.high - none.interval.low, 1, 0);
}

/* A recall of 0.95 among one in a hundred, seen by people who find 80 % and raise no false alarm. */
static void a_recall_is_corrected_from_both_sides(void **state)
{
    (void)state;
    tl_people_share found = { 800, 1000, 0.8, { 0, 1 } }, passed = { 1000, 1000, 1, { 0, 1 } };
    const double flagged = 0.01, in_flagged = 0.95 * 0.008 / 0.01, in_passed = 0.05 * 0.008 / 0.99;
    tl_people_corrected f =
        tl_people_correct(0.8 * in_flagged, (tl_interval){ 0.55, 0.65 }, &found, &passed, 0.95);
    tl_people_corrected p =
        tl_people_correct(0.8 * in_passed, (tl_interval){ 0.0002, 0.0005 }, &found, &passed, 0.95);
    tl_people_corrected recall = tl_people_correct_recall(flagged, &f, &p);
    close_to(recall.value, 0.95, 1e-9);
    assert_true(recall.interval.low < 0.93 && recall.interval.low > 0.85);
    assert_true(recall.interval.high > 0.95);
}

/* Of parts of which nothing is known, people's agreement is told, and nothing else. */
static void agreement_needs_nothing_known(void **state)
{
    (void)state;
    uint8_t known[20], calls[20][2][2];
    memset(known, TL_PEOPLE_NOTHING, sizeof known);
    for (int i = 0; i < 20; i++) {
        memset(calls[i], i % 2, sizeof calls[i]);
        if (i < 4) calls[i][0][1] ^= 1; /* the first one wavers */
    }
    tl_people_study study = { 20, 2, 2, 2, known, calls[0][0], 0.95 };
    assert_int_equal(tl_people_judge(&study, &result, NULL), TL_OK);
    assert_int_equal(result.each[0].repeatable.hits, 16);
    assert_int_equal(result.each[1].repeatable.hits, 20);
    assert_int_equal(result.each[0].right.count + result.each[0].misses.count, 0);
    assert_int_equal(result.found.count + result.passed.count + result.all_right.count, 0);
    assert_true(result.between.kappa > 0.5 && isnan(result.to_known.kappa));
    assert_null(strstr(result.words, "nan"));
    known[0] = 0; /* one of them is known */
    assert_int_equal(tl_people_judge(&study, &result, NULL), TL_OK);
    assert_int_equal(result.each[0].right.count, 1);
    assert_int_equal(result.each[0].false_alarms.count, 2);
}

static void repeats_come_by_lot(void **state)
{
    (void)state;
    tl_people_policy policy = { .key = { 5 }, .rate = 0.25 };
    int count = 0, again = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        tl_id id = { .bytes = { (uint8_t)i, (uint8_t)(i >> 8) } };
        bool now = tl_people_repeat(&policy, id, 1);
        assert_int_equal(now, tl_people_repeat(&policy, id, 1));
        count += now;
        again += now && tl_people_repeat(&policy, id, 2);
    }
    assert_in_range(count, 4694, 5306);
    assert_in_range(again, 1079, 1421); /* another lot each round */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_kappas_of_two),
        cmocka_unit_test(published_kappa_of_many),
        cmocka_unit_test(shares_are_counted_by_part_and_by_trial),
        cmocka_unit_test(perfect_agreement_has_an_interval_too),
        cmocka_unit_test(senseless_studies_are_refused),
        cmocka_unit_test(corrected_shares_hold_the_truth),
        cmocka_unit_test(a_recall_is_corrected_from_both_sides),
        cmocka_unit_test(agreement_needs_nothing_known),
        cmocka_unit_test(repeats_come_by_lot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

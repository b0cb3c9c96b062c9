/* The check of the review: silent while the rules are kept, in words when they are not. */
#include "review/check.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static tl_review_check_reading reading;

static tl_review_check *make(void)
{
    tl_review_check_policy policy = tl_review_check_policy_default();
    tl_review_check *check = tl_review_check_create(&policy);
    assert_non_null(check);
    return check;
}

static void look_at(const tl_review_check *check)
{
    tl_review_check_read(check, &reading);
}

/* Items of all rules, drawn at `factor` times what they say. */
static void run(tl_review_check *check, tl_rng *rng, int items, double factor)
{
    for (int i = 0; i < items; i++) {
        bool flagged = i % 50 == 0;
        double p = flagged ? 1.0 : i % 2 ? 0.02 : 0.3 * tl_rng_unit(rng) + 0.001;
        tl_review_reason rule = flagged ? TL_REVIEW_FLAGGED
                                : i % 2 ? TL_REVIEW_AUDIT
                                        : TL_REVIEW_UNCERTAIN;
        bool drawn = flagged || tl_rng_unit(rng) < p * factor;
        tl_review_check_item(check, drawn, p);
        if (drawn) tl_review_check_outcome(check, rule, TL_REVIEW_ANSWERED, 1 + i % 3);
    }
}

static void kept_rules_stay_silent(void **state)
{
    (void)state;
    int spoken = 0;
    for (uint64_t s = 0; s < 100; s++) {
        tl_rng rng;
        tl_rng_seed(&rng, 31, s);
        tl_review_check *check = make();
        for (int look = 0; look < 10; look++) {
            run(check, &rng, 500, 1.0);
            look_at(check);
            spoken += !reading.kept;
        }
        assert_int_equal(reading.reason[TL_REVIEW_FLAGGED].answered, 100);
        assert_int_equal(reading.source_count, 3);
        tl_review_check_destroy(&check);
    }
    assert_true(spoken <= 1);
}

static void a_lot_that_is_not_kept_is_noticed(void **state)
{
    (void)state;
    static const double factors[] = { 0.3, 2.0 };
    for (int f = 0; f < 2; f++) {
        tl_rng rng;
        tl_rng_seed(&rng, 32, 0);
        tl_review_check *check = make();
        run(check, &rng, 6000, factors[f]);
        look_at(check);
        assert_false(reading.kept);
        assert_non_null(strstr(reading.finding[0], "the lot is not kept"));
        tl_review_check_destroy(&check);
    }
    tl_review_check *check = make();
    tl_review_check_item(check, false, 1.0);
    tl_review_check_item(check, true, 0.0);
    tl_review_check_item(check, true, NAN);
    look_at(check);
    assert_int_equal(reading.impossible, 3);
    assert_false(reading.kept);
    tl_review_check_destroy(&check);
}

static void audits_left_open_are_told(void **state)
{
    (void)state;
    tl_review_check *check = make();
    for (int i = 0; i < 1000; i++) {
        tl_review_check_outcome(check, TL_REVIEW_FLAGGED, TL_REVIEW_ANSWERED, 5);
        tl_review_check_outcome(check, TL_REVIEW_AUDIT,
                                i % 100 < 61 ? TL_REVIEW_ANSWERED : TL_REVIEW_TIMED_OUT, 6);
        tl_review_check_outcome(check, TL_REVIEW_AUDIT, TL_REVIEW_VOLUNTEERED, 5);
    }
    look_at(check);
    assert_int_equal(reading.finding_count, 2);
    assert_string_equal(reading.finding[0],
                        "audits are answered 61 % [55-67] of the time: estimates assume all");
    assert_non_null(strstr(reading.finding[1], "source 0000000000000006 answers 61 %"));
    assert_int_equal(reading.volunteered, 1000);
    assert_true(reading.reason[TL_REVIEW_FLAGGED].interval.low > 0.98);
    tl_review_check_destroy(&check);
}

static void too_many_sources_are_counted_together(void **state)
{
    (void)state;
    tl_review_check *check = make();
    for (uint64_t i = 0; i < 100; i++)
        tl_review_check_outcome(check, TL_REVIEW_AUDIT, TL_REVIEW_ANSWERED, i);
    look_at(check);
    assert_int_equal(reading.source_count, TL_REVIEW_SOURCE_MAX + 1);
    assert_int_equal(reading.source[TL_REVIEW_SOURCE_MAX].answers.answered,
                     100 - TL_REVIEW_SOURCE_MAX);
    assert_int_equal(reading.source[TL_REVIEW_SOURCE_MAX].source, 0);
    tl_review_check_destroy(&check);
}

static void a_saved_state_comes_back(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 33, 0);
    tl_review_check *check = make(), *copy = NULL;
    run(check, &rng, 3000, 1.0);
    tl_blob blob, again;
    tl_blob_init(&blob);
    tl_blob_init(&again);
    tl_review_check_save(check, &blob);
    tl_blob_reader reader;
    for (size_t cut = 0; cut < blob.bytes; cut += 61) {
        tl_blob_reader_init(&reader, blob.data, cut);
        assert_int_not_equal(tl_review_check_load(&reader, &copy, NULL), TL_OK);
        assert_null(copy);
    }
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_review_check_load(&reader, &copy, NULL), TL_OK);
    tl_rng same = rng;
    run(check, &rng, 1000, 1.0);
    run(copy, &same, 1000, 1.0);
    tl_blob_destroy(&blob);
    tl_blob_init(&blob);
    tl_review_check_save(check, &blob);
    tl_review_check_save(copy, &again);
    assert_int_equal(blob.bytes, again.bytes);
    assert_memory_equal(blob.data, again.data, blob.bytes);
    tl_blob_destroy(&blob);
    tl_blob_destroy(&again);
    tl_review_check_destroy(&check);
    tl_review_check_destroy(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_rules_stay_silent),
        cmocka_unit_test(a_lot_that_is_not_kept_is_noticed),
        cmocka_unit_test(audits_left_open_are_told),
        cmocka_unit_test(too_many_sources_are_counted_together),
        cmocka_unit_test(a_saved_state_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Unit tests of the review module. */
#include "base/id.h"
#include "review/review.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void cold_and_flagged_items_are_always_asked_about(void **state)
{
    (void)state;
    tl_review_policy policy = { .audit_rate = 0.0 };
    tl_id id = { .bytes = { 1 } };
    tl_review_choice cold = tl_review_choose(&policy, id, false, true);
    tl_review_choice flagged = tl_review_choose(&policy, id, true, false);
    tl_review_choice passed = tl_review_choose(&policy, id, false, false);
    assert_true(cold.review && cold.propensity == 1.0f);
    assert_true(flagged.review && flagged.propensity == 1.0f);
    assert_true(!passed.review && passed.propensity == 0.0f);
}

static void audits_come_at_their_rate_and_depend_on_the_key(void **state)
{
    (void)state;
    tl_review_policy policy = { .audit_rate = 0.02 }, other = { .audit_rate = 0.02 };
    other.key[0] = 1;
    tl_id_maker maker;
    tl_id_maker_init(&maker, tl_env_system());
    int drawn = 0, both = 0;
    for (int i = 0; i < 100000; i++) {
        tl_id id = tl_id_make(&maker);
        tl_review_choice choice = tl_review_choose(&policy, id, false, false);
        assert_true(choice.propensity == 0.02f);
        assert_int_equal(choice.review, tl_review_choose(&policy, id, false, false).review);
        drawn += choice.review;
        both += choice.review && tl_review_choose(&other, id, false, false).review;
    }
    assert_in_range(drawn, 1780, 2220); /* 5 standard deviations around 2,000 */
    assert_in_range(both, 8, 80);       /* independent keys: around 40 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cold_and_flagged_items_are_always_asked_about),
        cmocka_unit_test(audits_come_at_their_rate_and_depend_on_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

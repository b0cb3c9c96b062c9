/* Unit tests of the gate's plain rule. */
#include "gate/no_worse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void better_is_published_and_worse_is_not(void **state)
{
    (void)state;
    tl_no_worse_evidence evidence = { .champion_loss = 10, .candidate_loss = 9.9, .count = 32 };
    assert_true(tl_no_worse_decide(&evidence).publish);
    evidence.candidate_loss = 10.1;
    tl_no_worse_verdict verdict = tl_no_worse_decide(&evidence);
    assert_false(verdict.publish);
    assert_non_null(strstr(verdict.words, "not better"));
}

static void nothing_is_published_without_evidence(void **state)
{
    (void)state;
    tl_no_worse_evidence evidence = { .count = 0 };
    assert_false(tl_no_worse_decide(&evidence).publish);
    evidence = (tl_no_worse_evidence){ .champion_loss = 1, .candidate_loss = NAN, .count = 5 };
    assert_false(tl_no_worse_decide(&evidence).publish);
}

static void a_new_golden_error_refuses(void **state)
{
    (void)state;
    tl_no_worse_evidence evidence = { .champion_loss = 10,
                                      .candidate_loss = 1,
                                      .count = 32,
                                      .golden_count = 20,
                                      .golden_champion_errors = 1,
                                      .golden_candidate_errors = 2 };
    assert_false(tl_no_worse_decide(&evidence).publish);
    evidence.golden_candidate_errors = 1;
    assert_true(tl_no_worse_decide(&evidence).publish);
}

/* One of twenty may be chance; five of five are not. */
static void golden_errors_are_paired_for_what_must_prove_itself(void **state)
{
    (void)state;
    tl_no_worse_evidence evidence = { .champion_loss = 2,
                                      .candidate_loss = 1,
                                      .count = 4,
                                      .golden_count = 20,
                                      .golden_candidate_errors = 1,
                                      .golden_new_errors = 1,
                                      .golden_paired = true };
    assert_true(tl_no_worse_decide(&evidence).publish);
    evidence.golden_candidate_errors = evidence.golden_new_errors = 5;
    assert_false(tl_no_worse_decide(&evidence).publish);
    evidence.golden_champion_errors = 3; /* mended by the candidate */
    assert_true(tl_no_worse_decide(&evidence).publish);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(better_is_published_and_worse_is_not),
        cmocka_unit_test(nothing_is_published_without_evidence),
        cmocka_unit_test(a_new_golden_error_refuses),
        cmocka_unit_test(golden_errors_are_paired_for_what_must_prove_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* How long versions take. */
#include "loop/threads/spans.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t sum_of(const tl_histogram *h)
{
    return atomic_load(&h->sum_ns);
}

static void the_stages_of_a_version_join(void **state)
{
    (void)state;
    tl_spans *s = calloc(1, sizeof *s);
    assert_non_null(s);
    tl_spans_serves(s, 1, 5); /* answered when the loop was opened: nothing to measure */
    tl_spans_answered(s, 1, 6);
    tl_spans_handed(s, 10, 100);
    tl_spans_handed(s, 10, 150); /* nothing new */
    tl_spans_handed(s, 20, 200);
    tl_spans_judged(s, 15, 7, 1000); /* its newest label came with the second round */
    tl_spans_serves(s, 1, 1500);
    tl_spans_serves(s, 7, 3000);
    tl_spans_answered(s, 1, 3100); /* the one before, on its way */
    tl_spans_answered(s, 7, 3500);
    tl_spans_answered(s, 7, 9000);
    assert_int_equal(sum_of(&s->candidate_ns), 800);
    assert_int_equal(sum_of(&s->verdict_ns), 2000);
    assert_int_equal(sum_of(&s->first_answer_ns), 500);
    assert_int_equal(atomic_load(&s->first_answer_ns.count), 1);
    free(s);
}

/* A return is no verdict on what was judged long ago; but it has a first answer. */
static void a_return_is_no_verdict(void **state)
{
    (void)state;
    tl_spans *s = calloc(1, sizeof *s);
    assert_non_null(s);
    tl_spans_serves(s, 1, 0);
    tl_spans_judged(s, 1, 2, 10);
    tl_spans_serves(s, 2, 20);
    tl_spans_serves(s, 1, 30);
    tl_spans_serves(s, 2, 40);
    tl_spans_answered(s, 2, 50);
    assert_int_equal(atomic_load(&s->verdict_ns.count), 1);
    assert_int_equal(atomic_load(&s->first_answer_ns.count), 1);
    assert_int_equal(sum_of(&s->first_answer_ns), 10);
    free(s);
}

/* What is older than the ring is not guessed. */
static void old_labels_are_not_measured(void **state)
{
    (void)state;
    tl_spans *s = calloc(1, sizeof *s);
    assert_non_null(s);
    for (uint64_t i = 1; i <= TL_SPANS_ROUNDS + 5; i++) tl_spans_handed(s, i, (int64_t)i);
    tl_spans_judged(s, 3, 0, 1000);
    assert_int_equal(atomic_load(&s->candidate_ns.count), 0);
    tl_spans_judged(s, TL_SPANS_ROUNDS, 0, 1000);
    assert_int_equal(sum_of(&s->candidate_ns), 1000 - TL_SPANS_ROUNDS);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stages_of_a_version_join),
        cmocka_unit_test(a_return_is_no_verdict),
        cmocka_unit_test(old_labels_are_not_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* How often disagreements are asked about: always, unless there are too many. */
#include "review/rivals.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

typedef struct outcome {
    double asked, least; /* expected questions; the lowest probability */
    unsigned changes;    /* of the probability */
} outcome;

/* Items of which a challenger calls that share otherwise. */
static outcome run(tl_rivals *rivals, tl_rng *rng, uint64_t version, int items, double share)
{
    outcome out = { .least = 1.0 };
    double before = 0.0;
    for (int i = 0; i < items; i++) {
        tl_rival_calls calls = { .newest = { version }, .disagrees = { tl_rng_unit(rng) < share } };
        double rate = tl_rivals_step(rivals, &calls, true);
        assert_int_equal(rate > 0.0, calls.disagrees[TL_RIVAL_CHALLENGER]);
        if (rate == 0.0) continue;
        out.asked += rate;
        out.changes += before > 0.0 && rate != before;
        out.least = fmin(out.least, rate);
        before = rate;
    }
    return out;
}

static void few_are_all_asked(void **state)
{
    (void)state;
    tl_rivals rivals;
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    tl_rivals_init(&rivals, 0.05);
    outcome o = run(&rivals, &rng, 7, 20000, 0.03);
    assert_true(o.least == 1.0);
    assert_true(o.asked > 500);
}

static void too_many_are_halved_to_the_share(void **state)
{
    (void)state;
    tl_rivals rivals;
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    tl_rivals_init(&rivals, 0.05);
    outcome o = run(&rivals, &rng, 7, 4000, 0.4);
    assert_true(o.asked < TL_RIVALS_CREDIT + 3 * 8 + 0.05 * 4000);
    assert_int_equal(o.changes, 3); /* a constant but for these: 1, 1/2, 1/4, 1/8 */
    assert_true(o.least == 0.125);

    /* Its successors are no way around it, once the credit is used up ... */
    tl_rivals_init(&rivals, 0.05);
    double asked = 0;
    for (uint64_t version = 1; version <= 40; version++)
        asked += run(&rivals, &rng, version, 100, 0.4).asked;
    assert_true(asked < TL_RIVALS_CREDIT + 40 * 8 + 0.05 * 4000);
    assert_true(asked < 0.5 * 0.4 * 4000);
    /* ... and a good one begins afresh when it is there again. */
    run(&rivals, &rng, 41, 400, 0);
    assert_true(run(&rivals, &rng, 42, 1000, 0.02).least == 1.0);
}

static void each_sort_has_its_own(void **state)
{
    (void)state;
    tl_rivals rivals;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    tl_rivals_init(&rivals, 0.05);
    run(&rivals, &rng, 7, 4000, 0.4);
    tl_rival_calls calls = { .newest = { 7, 8 }, .disagrees = { false, true } };
    assert_true(tl_rivals_step(&rivals, &calls, true) == 1.0);
    calls.disagrees[TL_RIVAL_CHALLENGER] = true;
    assert_true(tl_rivals_step(&rivals, &calls, true) == 1.0); /* the higher one */
    calls.disagrees[TL_RIVAL_SNAPSHOT] = false;
    assert_true(tl_rivals_step(&rivals, &calls, true) < 1.0);
    double credit = rivals.of[0].credit;
    assert_true(tl_rivals_step(&rivals, &calls, false) == 0.0); /* it is looked at anyway */
    assert_true(rivals.of[0].credit >= credit);
}

static void without_a_limit_all_are_asked(void **state)
{
    (void)state;
    tl_rivals rivals;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    tl_rivals_init(&rivals, 1.0);
    assert_true(run(&rivals, &rng, 7, 4000, 1.0).least == 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_are_all_asked),
        cmocka_unit_test(too_many_are_halved_to_the_share),
        cmocka_unit_test(each_sort_has_its_own),
        cmocka_unit_test(without_a_limit_all_are_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

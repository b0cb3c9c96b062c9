#include "loop/item/novelty.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NARROW = 12, WIDE = 300, SEEN = 2000 };

/* Features of one direction with noise in a few others; `odd`: with one that the others never have. */
static void draw(tl_rng *rng, uint32_t count, bool odd, float *x)
{
    for (uint32_t i = 0; i < count; i++) x[i] = 1.0f;
    for (uint32_t k = 0; k < 4; k++) {
        float noise = 0.2f * (float)tl_rng_normal(rng);
        for (uint32_t i = k; i < count; i += 5) x[i] += noise;
    }
    if (odd)
        for (uint32_t i = 4; i < count; i += 5) x[i] += 3.0f;
}

static void what_was_never_seen_is_new(uint32_t count)
{
    tl_novelty *n = tl_novelty_create(count);
    tl_rng rng;
    tl_rng_seed(&rng, 1, count);
    float x[WIDE], usual_most = 0.0f, odd_least = INFINITY;
    for (int i = 0; i < SEEN; i++) {
        draw(&rng, count, false, x);
        float novelty = tl_novelty_see(n, 7, x);
        assert_int_equal(isnan(novelty), i < TL_NOVELTY_FIRST);
        if (i > SEEN / 2) usual_most = fmaxf(usual_most, novelty);
    }
    for (int i = 0; i < 5; i++) {
        draw(&rng, count, true, x);
        odd_least = fminf(odd_least, tl_novelty_see(n, 7, x));
    }
    assert_true(odd_least > usual_most);
    tl_novelty_destroy(&n);
}

static void narrow_features(void **state)
{
    (void)state;
    what_was_never_seen_is_new(NARROW);
}

static void wide_features_are_added_up(void **state)
{
    (void)state;
    what_was_never_seen_is_new(WIDE);
}

static void what_comes_often_is_not_new_any_more(void **state)
{
    (void)state;
    tl_novelty *n = tl_novelty_create(NARROW);
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    float x[NARROW], first = 0.0f, last = 0.0f;
    for (int i = 0; i < SEEN; i++) {
        draw(&rng, NARROW, false, x);
        tl_novelty_see(n, 7, x);
    }
    for (int i = 0; i < SEEN; i++) {
        draw(&rng, NARROW, i % 2 == 0, x);
        float novelty = tl_novelty_see(n, 7, x);
        if (i == 0) first = novelty;
        if (i % 2 == 0) last = novelty;
    }
    assert_true(last < 0.1f * first);
    tl_novelty_destroy(&n);
}

static void another_version_begins_anew(void **state)
{
    (void)state;
    tl_novelty *n = tl_novelty_create(NARROW);
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    float x[NARROW];
    for (int i = 0; i < SEEN; i++) {
        draw(&rng, NARROW, false, x);
        tl_novelty_see(n, 7, x);
    }
    assert_false(isnan(tl_novelty_see(n, 7, x)));
    assert_true(isnan(tl_novelty_see(n, 8, x)));
    tl_novelty_destroy(&n);
}

/* Features that say nothing are left out, and do no harm; nor do those that never vary. */
static void odd_numbers_do_no_harm(void **state)
{
    (void)state;
    tl_novelty *n = tl_novelty_create(NARROW);
    float bad[NARROW] = { 1.0f }, zero[NARROW] = { 0 }, same[NARROW] = { 1.0f, 2.0f };
    bad[3] = NAN;
    for (int i = 0; i < SEEN; i++) {
        tl_novelty_see(n, 7, same);
        assert_true(isnan(tl_novelty_see(n, 7, bad)));
        assert_true(isnan(tl_novelty_see(n, 7, zero)));
    }
    bad[3] = INFINITY;
    assert_true(isnan(tl_novelty_see(n, 7, bad)));
    float novelty = tl_novelty_see(n, 7, same);
    assert_true(novelty >= 0.0f && novelty < 1e-3f);
    same[5] = 1.0f;
    assert_true(isfinite(tl_novelty_see(n, 7, same)));
    tl_novelty_destroy(&n);
    assert_null(n);
    tl_novelty_destroy(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narrow_features),
        cmocka_unit_test(wide_features_are_added_up),
        cmocka_unit_test(what_comes_often_is_not_new_any_more),
        cmocka_unit_test(another_version_begins_anew),
        cmocka_unit_test(odd_numbers_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

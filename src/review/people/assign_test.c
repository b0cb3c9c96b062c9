/* Who is asked: everybody equally often, and nobody can foretell it. */
#include "review/people/assign.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { PEOPLE = 5, SUBJECTS = 20000 };

static const uint8_t KEY[TL_DRAW_KEY_BYTES] = { 3, 1, 4, 1, 5 };
static const uint64_t WHO[PEOPLE] = { 11, 22, 33, 44, 55 };

/* Chi-squared of counts that are to be equal. */
static double unevenness(const size_t *counts, size_t cells, size_t total)
{
    double expected = (double)total / (double)cells, sum = 0.0;
    for (size_t i = 0; i < cells; i++)
        sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    return sum;
}

static void everybody_is_asked_equally_often(void **state)
{
    (void)state;
    size_t counts[PEOPLE] = { 0 };
    for (uint64_t s = 1; s <= SUBJECTS; s++) counts[tl_assign(KEY, WHO, PEOPLE, s, 0, 0)]++;
    assert_true(unevenness(counts, PEOPLE, SUBJECTS) < 18.5); /* 4 degrees of freedom: 0.1 % */
}

/* Whatever is known of a subject without the key, or of what other keys say. */
static void nobody_can_foretell_it(void **state)
{
    (void)state;
    size_t both[PEOPLE * PEOPLE] = { 0 }, rounds[PEOPLE * PEOPLE] = { 0 };
    uint8_t other[TL_DRAW_KEY_BYTES];
    memcpy(other, KEY, sizeof other);
    other[15] ^= 1;
    for (uint64_t s = 1; s <= SUBJECTS; s++) {
        size_t mine = tl_assign(KEY, WHO, PEOPLE, s, 0, 0);
        both[mine * PEOPLE + tl_assign(other, WHO, PEOPLE, s, 0, 0)]++;
        rounds[mine * PEOPLE + tl_assign(KEY, WHO, PEOPLE, s, 1, 0)]++;
    }
    assert_true(unevenness(both, PEOPLE * PEOPLE, SUBJECTS) < 51.2); /* 24 degrees: 0.1 % */
    assert_true(unevenness(rounds, PEOPLE * PEOPLE, SUBJECTS) < 51.2);
}

static void a_subject_stays_with_its_person(void **state)
{
    (void)state;
    const uint64_t without[PEOPLE - 1] = { 55, 11, 22, 44 }; /* 33 left; in another order */
    size_t moved = 0;
    for (uint64_t s = 1; s <= SUBJECTS; s++) {
        uint64_t before = WHO[tl_assign(KEY, WHO, PEOPLE, s, 0, 0)];
        uint64_t after = without[tl_assign(KEY, without, PEOPLE - 1, s, 0, 0)];
        if (before != 33) assert_true(before == after);
        moved += before != after;
    }
    assert_true(moved > SUBJECTS / PEOPLE / 2);
}

static void somebody_else_is_asked(void **state)
{
    (void)state;
    size_t counts[PEOPLE] = { 0 };
    for (uint64_t s = 1; s <= SUBJECTS; s++) counts[tl_assign(KEY, WHO, PEOPLE, s, 1, 22)]++;
    assert_int_equal(counts[1], 0);
    counts[1] = counts[PEOPLE - 1];
    assert_true(unevenness(counts, PEOPLE - 1, SUBJECTS) < 16.3); /* 3 degrees: 0.1 % */
    assert_int_equal(tl_assign(KEY, WHO, 1, 7, 0, 11), 1);        /* nobody is left */
    assert_int_equal(tl_assign(KEY, WHO, 0, 7, 0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_is_asked_equally_often),
        cmocka_unit_test(nobody_can_foretell_it),
        cmocka_unit_test(a_subject_stays_with_its_person),
        cmocka_unit_test(somebody_else_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The series of levels: what it sums to, and what it asks of a test. */
#include "stats/spending.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The function is convex, so each term is below the integral over the step around it, and the rest
 * of the series below the integral of c / (x ln^2 x) from N + 1/2: c / ln(N + 1/2). */
static void all_of_it_is_at_most_one(void **state)
{
    (void)state;
    enum { TERMS = 1000000 };
    double sum = 0;
    for (uint64_t i = TERMS; i >= 1; i--) sum += tl_spending_share(i);
    double rest = 0.47399 / log(TERMS + 1.5);
    assert_true(sum + rest <= 1);
    assert_true(sum + rest >= 0.99999); /* and little is given away */
}

static void later_tests_get_less(void **state)
{
    (void)state;
    for (uint64_t i = 1; i < 5000; i++)
        assert_true(tl_spending_share(i + 1) < tl_spending_share(i));
    assert_true(fabs(tl_spending_log_threshold(0.05, 1) - log(40.55)) < 0.01);
    assert_true(fabs(tl_spending_log_threshold(0.05, 1000) - 14.52) < 0.05);
    assert_true(tl_spending_log_threshold(0.01, 7) > tl_spending_log_threshold(0.05, 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_is_at_most_one),
        cmocka_unit_test(later_tests_get_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

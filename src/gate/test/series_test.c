/* Small versions of the benchmarks peeking, power and rollback (nulls: hostile_test.c). */
#include "gate/test/line.h"
#include "gate/test/series.h"

/* Challengers as good as what answers, looked at after each of 300 disagreements: at most 5 %. And with
 * a gain of exactly the least effect. */
static void peeking(void **state)
{
    (void)state;
    enum { SERIES = 500 };
    for (unsigned kind = 0; kind < 2; kind++) {
        series of = { .policy = tl_gate_policy_default(),
                      .cluster = 1,
                      .gap = kind == 0 ? 0 : 20,
                      .win_flags = 0.5,
                      .win_passes = 0.5,
                      .sources = 1,
                      .propensity = 1,
                      .limit = 300 };
        of.policy.effect = kind == 0 ? 0 : 0.01;
        if (kind == 1) of.win_flags = of.win_passes = 0.5 + 0.01 * 21 / 2;
        unsigned promoted = 0;
        for (unsigned i = 0; i < SERIES; i++) {
            tl_gate *gate = NULL;
            assert_int_equal(tl_gate_create(&of.policy, &gate, NULL), TL_OK);
            tl_rng rng;
            tl_rng_seed(&rng, 31 + kind, i);
            uint64_t position = 0, unit = 0;
            promoted += series_go(&of, gate, &rng, &position, &unit).promoted;
            tl_gate_destroy(&gate);
        }
        assert_true(promoted <= SERIES * (0.05 + 2 * sqrt(0.05 * 0.95 / SERIES)));
        assert_true(promoted >= 1);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Medians for 98.5 to 99.4 % correct: what is documented in bench/README.md. */
static void power(void **state)
{
    (void)state;
    enum { RUNS = 101 };
    static const struct {
        unsigned number, cluster;
        double hostile, most;
    } table[] = { { 1, 1, 0, 25 }, { 10, 1, 0, 45 }, { 1, 1, 0.1, 40 }, { 1, 5, 0, 100 } };
    for (size_t k = 0; k < TL_COUNT_OF(table); k++) {
        series of = { .policy = tl_gate_policy_default(),
                      .by_board = true,
                      .cluster = table[k].cluster,
                      .correlation = table[k].cluster > 1 ? 0.3 : 0,
                      .gap = 76,
                      .win_flags = 0.846,
                      .win_passes = 0.846,
                      .sources = 40,
                      .propensity = 1,
                      .limit = 1000 };
        of.policy.hostile = table[k].hostile;
        double reviewed[RUNS];
        for (unsigned i = 0; i < RUNS; i++) {
            tl_gate *gate = NULL;
            assert_int_equal(tl_gate_create(&of.policy, &gate, NULL), TL_OK);
            for (unsigned before = 1; before < table[k].number; before++) {
                tl_gate_watch(gate, SERIES_SHADOW, TL_GATE_BETTER, 0, NULL);
                tl_gate_drop(gate, SERIES_SHADOW);
            }
            tl_rng rng;
            tl_rng_seed(&rng, 41, i);
            uint64_t position = 0, unit = 0;
            series_result result = series_go(&of, gate, &rng, &position, &unit);
            assert_true(result.promoted);
            reviewed[i] = (double)result.reviewed;
            tl_gate_destroy(&gate);
        }
        qsort(reviewed, RUNS, sizeof reviewed[0], compare_doubles);
        assert_true(reviewed[RUNS / 2] <= table[k].most);
    }
}

/* Labels until the alarm: as many items a day as make the level 20,000. */
static double labels_until_alarm(double rate, double promised, uint64_t seed, double most)
{
    tl_gate_policy policy = tl_gate_policy_default();
    policy.promised_error = promised;
    policy.alarm_days = 1;
    line l;
    line_begin(&l, &policy, 0, seed);
    l.step_us = 86400 * 1000000ll / 20000;
    tl_gate_verdict verdict;
    double labels = 0;
    while (labels < most && !tl_gate_take_verdict(l.gate, &verdict)) {
        uint64_t position = line_item(&l, false, false, true);
        tl_gate_label(l.gate, position, tl_rng_unit(&l.rng) < rate, 1);
        labels++;
    }
    line_end(&l);
    return labels;
}

static void rollback(void **state)
{
    (void)state;
    enum { RUNS = 41 };
    static const struct {
        double times, most;
    } table[] = { { 10, 100 }, { 4, 400 }, { 2, 2000 } };
    double labels[RUNS], sum = 0;
    for (size_t k = 0; k < TL_COUNT_OF(table); k++) {
        for (unsigned i = 0; i < RUNS; i++)
            labels[i] = labels_until_alarm(0.008 * table[k].times, 0.008, i, 1e5);
        qsort(labels, RUNS, sizeof labels[0], compare_doubles);
        assert_true(labels[RUNS / 2] <= table[k].most);
    }
    for (unsigned i = 0; i < RUNS; i++) sum += labels_until_alarm(0.008, 0.008, 1000 + i, 6e4);
    assert_true(sum / RUNS >= 15000); /* cut off at 60,000, so below the true mean */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peeking),
        cmocka_unit_test(power),
        cmocka_unit_test(rollback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

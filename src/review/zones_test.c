/* Three zones: what is certified is true, what it costs, when it ends. */
#include "review/zones.h"

#include "base/rng.h"
#include "review/zones_internal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Defects only (others pay nothing): a share `escapes` scores low. */
typedef struct defects {
    tl_rng rng;
    double escapes, floor, band; /* least propensity; that of escapes */
} defects;

static tl_zones_item next_defect(defects *d)
{
    bool escape = tl_rng_unit(&d->rng) < d->escapes;
    double pi = escape ? d->band : 1.0;
    return (tl_zones_item){ .score = escape ? 0.09 : 0.9,
                            .drawn = pi >= 1.0 || tl_rng_unit(&d->rng) < pi,
                            .answered = true,
                            .defect = true,
                            .propensity = pi,
                            .propensity_min = d->floor };
}

static tl_zones *make(double escapes_max)
{
    tl_zones_policy policy = tl_zones_policy_default();
    policy.escapes_max = escapes_max;
    tl_zones *zones = tl_zones_create(&policy);
    assert_non_null(zones);
    return zones;
}

static void learn(tl_zones *zones, const tl_zones_item *items, size_t count)
{
    assert_int_equal(tl_zones_learn(zones, items, count, NULL), TL_OK);
}

/* Verified defects until all thresholds up to 0.1 are certified; `stop` when they never are. */
static uint64_t defects_to_certify(defects *d, double escapes_max, uint64_t stop)
{
    tl_zones *zones = make(escapes_max);
    tl_zones_reading reading = { .needed_defects = 1 };
    for (uint64_t i = 1; reading.needed_defects > 0.0 && reading.defects_verified < stop; i++) {
        tl_zones_item item = next_defect(d);
        learn(zones, &item, 1);
        if (i % 16 == 0) tl_zones_read(zones, 0.1, &reading);
    }
    tl_zones_destroy(&zones);
    return reading.defects_verified;
}

/* Where exactly the promised share is missed, every bet at every threshold is fair: the mean of its
 * wealth over a defect that is found, missed and drawn, or missed and not drawn, is 1. */
static void bets_are_fair(void **state)
{
    (void)state;
    static const double rates[] = { 1.0, 0.3, 0.02 };
    const double a = 0.04;
    for (size_t r = 0; r < TL_COUNT_OF(rates); r++) {
        tl_zones *found = make(a), *missed = make(a);
        tl_zones_item above = { 0.9, true, true, true, 1.0, 0.02, 0 };
        tl_zones_item below = { 1e-7, true, true, true, rates[r], 0.02, 0 };
        learn(found, &above, 1);
        learn(missed, &below, 1);
        for (size_t k = 0; tl_zones_threshold(k) <= 0.9; k++)
            for (size_t j = 0; j < TL_BETTOR_STAKES; j++) {
                double mean = (1 - a) * exp(found->wealth[k][j]) +
                              a * rates[r] * exp(missed->wealth[k][j]) + a * (1 - rates[r]);
                assert_true(fabs(mean - 1.0) < 1e-12);
            }
        tl_zones_destroy(&found);
        tl_zones_destroy(&missed);
    }
}

/* The share of series in which more than the promised share of defects is certified, ever: at most
 * 5 % and two Monte Carlo standard errors, here for a truth just above the promise. */
static void certificates_are_true(void **state)
{
    (void)state;
    enum { SERIES = 60, DEFECTS = 1200 };
    static const struct {
        double floor, band;
    } rates[] = { { 1, 1 }, { 0.1, 0.1 }, { 0.02, 0.2 } };
    for (size_t c = 0; c < 3; c++) {
        int wrong = 0;
        for (uint64_t s = 0; s < SERIES; s++) {
            defects d = { .escapes = 0.0501, .floor = rates[c].floor, .band = rates[c].band };
            tl_rng_seed(&d.rng, 1 + c, s);
            wrong += defects_to_certify(&d, 0.05, DEFECTS) < DEFECTS;
        }
        assert_true(wrong <= SERIES * (0.05 + 2 * sqrt(0.05 * 0.95 / SERIES)));
    }
}

static double median_cost(double escapes_max, double escapes, double floor, double band)
{
    enum { SERIES = 31 };
    uint64_t cost[SERIES];
    for (uint64_t s = 0; s < SERIES; s++) {
        defects d = { .escapes = escapes, .floor = floor, .band = band };
        tl_rng_seed(&d.rng, 9, s);
        uint64_t value = defects_to_certify(&d, escapes_max, 200000);
        size_t at = s;
        for (; at > 0 && cost[at - 1] > value; at--) cost[at] = cost[at - 1];
        cost[at] = value;
    }
    return (double)cost[SERIES / 2];
}

/* What it costs, and that the forecast tells it beforehand. */
static void costs_are_as_forecast(void **state)
{
    (void)state;
    static const struct {
        double a, escapes, floor, most;
    } cases[] = {
        { 0.01, 0, 1, 400 }, { 0.01, 0.003, 1, 1300 }, { 0.05, 0.01, 1, 160 }, { 0.05, 0, 0.1, 760 }
    };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        double median = median_cost(cases[i].a, cases[i].escapes, cases[i].floor, cases[i].floor);
        assert_true(median <= cases[i].most);
        tl_zones_plan plan = { .escapes_max = cases[i].a,
                               .confidence = 0.95,
                               .escapes = cases[i].escapes,
                               .propensity_min = cases[i].floor,
                               .propensity_missed = cases[i].floor,
                               .prevalence = 0.008,
                               .flagged = 0.01,
                               .audits = cases[i].floor };
        tl_zones_need need;
        assert_int_equal(tl_zones_forecast(&plan, &need, NULL), TL_OK);
        assert_true(need.defects > 0.8 * median && need.defects < 2.5 * median);
        if (cases[i].escapes == 0.0) assert_true(fabs(need.items * 0.008 - need.defects) < 1.0);
    }
}

/* Real escapes lie close below the threshold. Denser audits there take most of their price. */
static void band_audits_cut_the_cost(void **state)
{
    (void)state;
    double thin = 0, dense = 0;
    for (uint64_t s = 0; s < 5; s++) {
        defects d = { .escapes = 0.02, .floor = 0.02, .band = 0.02 };
        tl_rng_seed(&d.rng, 11, s);
        thin += (double)defects_to_certify(&d, 0.05, 60000);
        d.band = 0.5;
        tl_rng_seed(&d.rng, 11, s);
        dense += (double)defects_to_certify(&d, 0.05, 60000);
    }
    assert_true(dense < 0.7 * thin);
}

static bool certified(const tl_zones *zones)
{
    tl_zones_reading reading;
    tl_zones_read(zones, 0.1, &reading);
    return reading.ceiling >= 0.09;
}

/* Escapes that come together on one board are one escape's worth of evidence: bets by item certify
 * a version that misses more than promised far too often. */
static void clusters_are_one_unit(void **state)
{
    (void)state;
    enum { SERIES = 120, BOARDS = 160, ITEMS = 5 };
    int by_unit = 0, by_item = 0;
    for (uint64_t s = 0; s < SERIES; s++) {
        tl_rng rng;
        tl_rng_seed(&rng, 12, s);
        tl_zones *unit = make(0.05), *item = make(0.05);
        bool unit_ever = false, item_ever = false;
        for (int b = 0; b < BOARDS; b++) {
            tl_zones_item board[ITEMS];
            bool missed = tl_rng_unit(&rng) < 0.051;
            for (int i = 0; i < ITEMS; i++)
                board[i] = (tl_zones_item){ missed ? 0.09 : 0.9, true, true, true, 1.0, 1.0, 0 };
            learn(unit, board, ITEMS);
            for (int i = 0; i < ITEMS; i++) learn(item, &board[i], 1);
            unit_ever = unit_ever || certified(unit);
            item_ever = item_ever || certified(item);
        }
        by_unit += unit_ever;
        by_item += item_ever;
        tl_zones_destroy(&unit);
        tl_zones_destroy(&item);
    }
    assert_true(by_unit <= SERIES * (0.05 + 2 * sqrt(0.05 * 0.95 / SERIES)));
    assert_true(by_item > SERIES / 4);
}

/* The drawn items of a board and how many it has tell the same as the whole board. */
static void what_was_not_drawn_counts_by_number(void **state)
{
    (void)state;
    tl_zones *whole = make(0.05), *drawn = make(0.05);
    for (int b = 0; b < 50; b++) {
        tl_zones_item board[5] = { { 0.9, true, true, true, 1.0, 0.1, 0 } };
        for (int i = 1; i < 5; i++)
            board[i] = (tl_zones_item){ 0.01, false, false, false, 0.0, 0.1, 0 };
        learn(whole, board, 5);
        board[0].unit_items = 5;
        learn(drawn, board, 1);
    }
    assert_memory_equal(whole->wealth, drawn->wealth, sizeof drawn->wealth);
    tl_zones_destroy(&whole);
    tl_zones_destroy(&drawn);
}

static void learn_many(tl_zones *zones, defects *d, int count)
{
    for (int i = 0; i < count; i++) {
        tl_zones_item item = next_defect(d);
        learn(zones, &item, 1);
    }
}

static void the_tracker_stays_below_and_an_alarm_ends_it(void **state)
{
    (void)state;
    tl_zones *zones = make(0.05);
    tl_zones_reading reading;
    tl_zones_read(zones, 0.1, &reading);
    assert_false(reading.certified);
    assert_true(reading.accept_below == 0.0 && isnan(reading.needed_labels));
    assert_non_null(strstr(reading.words, "if everything is looked at"));
    defects d = { .escapes = 0.01, .floor = 0.1, .band = 0.2 };
    tl_rng_seed(&d.rng, 13, 0);
    for (int i = 0; i < 5000; i++) {
        learn_many(zones, &d, 1);
        tl_zones_read(zones, 0.1, &reading);
        assert_true(reading.accept_below <= reading.ceiling);
        assert_false(reading.alarmed);
    }
    assert_true(reading.certified && reading.accept_below > 0.1 && reading.ceiling < 0.9);
    assert_non_null(strstr(reading.words, "Certified at 95 %"));
    assert_true(fabs(reading.escapes - 0.01) < 0.006);
    d.escapes = 0.3; /* something changed */
    int labels = 0;
    while (!reading.alarmed && labels < 2000) {
        learn_many(zones, &d, 1);
        tl_zones_read(zones, 0.1, &reading);
        labels++;
    }
    assert_true(reading.alarmed && labels < 300);
    assert_true(reading.accept_below == 0.0 && !reading.certified);
    learn_many(zones, &d, 500);
    tl_zones_read(zones, 0.1, &reading);
    assert_true(isinf(reading.needed_defects));
    assert_non_null(strstr(reading.words, "Not to be certified"));
    tl_zones_destroy(&zones);
}

/* A drawn item that nobody answers counts as an escape for each threshold above its score. */
static void silence_is_no_evidence(void **state)
{
    (void)state;
    tl_zones *zones = make(0.05);
    for (int i = 0; i < 400; i++) {
        tl_zones_item found = { 0.9, true, true, true, 1.0, 1.0, 0 };
        tl_zones_item silent = { 0.09, true, i % 8 != 0, false, 1.0, 1.0, 0 };
        learn(zones, &found, 1);
        learn(zones, &silent, 1);
    }
    tl_zones_reading reading;
    tl_zones_read(zones, 0.1, &reading);
    assert_true(reading.certified && reading.ceiling < 0.1);
    assert_int_equal(reading.timeouts, 50);
    assert_true(reading.needed_defects > 0);
    tl_zones_destroy(&zones);
}

static void words_say_what_is_needed(void **state)
{
    (void)state;
    tl_zones *zones = make(0.01);
    defects d = { .floor = 0.02 };
    tl_rng_seed(&d.rng, 14, 0);
    learn_many(zones, &d, 100);
    tl_zones_item good = { 0.001, true, true, false, 0.02, 0.02, 0 };
    for (int i = 0; i < 300; i++) learn(zones, &good, 1);
    tl_zones_reading reading;
    tl_zones_read(zones, 0.2, &reading);
    assert_true(reading.needed_defects > 18000 && reading.needed_defects < 19000);
    assert_true(fabs(reading.needed_labels - 4 * reading.needed_defects) < 1);
    assert_non_null(strstr(reading.words, "needs about 18"));
    assert_true(reading.band_low < reading.band_high && reading.band_high <= 0.2);
    tl_zones_destroy(&zones);
}

static void senseless_items_are_refused(void **state)
{
    (void)state;
    tl_zones *zones = make(0.01);
    const tl_zones_item good = { 0.5, true, true, true, 0.5, 0.1, 0 };
    tl_zones_item bad[6] = { good, good, good, good, good, good };
    bad[0].score = NAN;
    bad[1].propensity = 0;
    bad[2].propensity = 1.5;
    bad[3].propensity_min = 0;
    bad[4].propensity = 0.05; /* below the least */
    bad[5].unit_items = 1;    /* but two come */
    tl_error err;
    for (int i = 0; i < 6; i++) {
        tl_zones_item pair[] = { good, bad[i] };
        assert_int_equal(tl_zones_learn(zones, pair, 2, &err), TL_EINVAL);
    }
    tl_zones_reading reading;
    tl_zones_read(zones, 0.5, &reading);
    assert_int_equal(reading.labels, 0);
    tl_zones_destroy(&zones);
    tl_zones_policy policy = tl_zones_policy_default();
    policy.confidence = 1;
    assert_non_null(tl_zones_policy_check(&policy));
    tl_zones_plan plan = { .escapes_max = 0.01, .confidence = 0.95, .propensity_min = 1 };
    tl_zones_need need;
    assert_int_equal(tl_zones_forecast(&plan, &need, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "propensity_missed"));
}

static void a_saved_state_goes_on_as_if_nothing_happened(void **state)
{
    (void)state;
    tl_zones *zones = make(0.05), *copy = NULL;
    defects d = { .escapes = 0.01, .floor = 0.1, .band = 0.2 };
    tl_rng_seed(&d.rng, 15, 0);
    learn_many(zones, &d, 1500);
    tl_blob blob, again;
    tl_blob_init(&blob);
    tl_blob_init(&again);
    tl_zones_save(zones, &blob);
    tl_blob_reader reader;
    for (size_t cut = 0; cut < blob.bytes; cut += 97) {
        tl_blob_reader_init(&reader, blob.data, cut);
        assert_int_not_equal(tl_zones_load(&reader, &copy, NULL), TL_OK);
        assert_null(copy);
    }
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_zones_load(&reader, &copy, NULL), TL_OK);
    defects same = d;
    learn_many(zones, &d, 500);
    learn_many(copy, &same, 500);
    tl_blob_destroy(&blob);
    tl_blob_init(&blob);
    tl_zones_save(zones, &blob);
    tl_zones_save(copy, &again);
    assert_int_equal(blob.bytes, again.bytes);
    assert_memory_equal(blob.data, again.data, blob.bytes);
    tl_blob_destroy(&blob);
    tl_blob_destroy(&again);
    tl_zones_destroy(&zones);
    tl_zones_destroy(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bets_are_fair),
        cmocka_unit_test(certificates_are_true),
        cmocka_unit_test(costs_are_as_forecast),
        cmocka_unit_test(band_audits_cut_the_cost),
        cmocka_unit_test(clusters_are_one_unit),
        cmocka_unit_test(what_was_not_drawn_counts_by_number),
        cmocka_unit_test(the_tracker_stays_below_and_an_alarm_ends_it),
        cmocka_unit_test(silence_is_no_evidence),
        cmocka_unit_test(words_say_what_is_needed),
        cmocka_unit_test(senseless_items_are_refused),
        cmocka_unit_test(a_saved_state_goes_on_as_if_nothing_happened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

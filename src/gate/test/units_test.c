/* Units of evidence, their order, the watermark, time-outs, bounds. */
#include "gate/internal.h"
#include "gate/test/line.h"

static const int64_t SECOND = 1000000;

static tl_gate_policy plain(void)
{
    tl_gate_policy policy = tl_gate_policy_default();
    policy.effect = 0;
    return policy;
}

/* Far enough ahead that every unit so far is over; no unit of evidence of its own for the shadow. */
static void line_flush(line *l)
{
    tl_gate_item item = { .position = ++l->position, .time_us = l->now_us += 10 * SECOND };
    assert_int_equal(tl_gate_item_add(l->gate, &item, NULL), TL_OK);
}

/* Three wins and two losses on one board: one bet, on their mean. */
static void a_board_is_one_bet(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 1);
    l.unit = 5;
    for (int i = 0; i < 5; i++) line_disagreement(&l, true, i < 3);
    assert_int_equal(line_standing(&l).counts.units, 0); /* it may go on */
    line_flush(&l);
    tl_gate_standing standing = line_standing(&l);
    assert_int_equal(standing.counts.units, 1);
    assert_int_equal(standing.counts.disagreements, 5);
    tl_bettor bettor;
    tl_bettor_init(&bettor);
    tl_bettor_bet(&bettor, 0.2);
    assert_true(fabs(standing.log_e_better - tl_bettor_log_e(&bettor)) < 1e-12);
    line_end(&l);
}

/* Stakes are cut once a board of several has been seen, never before. */
static void stakes_follow_the_largest_unit(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 2);
    tl_bettor bettor;
    tl_bettor_init(&bettor);
    line_disagreement(&l, true, true);
    tl_bettor_bet(&bettor, 1);
    l.unit = 9;
    for (int i = 0; i < 4; i++) line_disagreement(&l, true, true);
    line_flush(&l);
    tl_bettor_bet(&bettor, 1);
    l.unit = 0;
    line_disagreement(&l, true, true);
    tl_bettor_bet(&bettor, 0.25);
    assert_true(fabs(line_standing(&l).log_e_better - tl_bettor_log_e(&bettor)) < 1e-12);
    line_end(&l);
}

static void interleaved_boards_do_not_mix(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 3);
    for (int i = 0; i < 6; i++) {
        l.unit = 100 + i % 2;
        line_disagreement(&l, true, i % 2 == 0); /* one wins thrice, the other loses thrice */
    }
    line_flush(&l);
    tl_bettor bettor;
    tl_bettor_init(&bettor);
    tl_bettor_bet(&bettor, 1);
    tl_bettor_bet(&bettor, -1);
    tl_gate_standing standing = line_standing(&l);
    assert_int_equal(standing.counts.units, 2);
    assert_true(fabs(standing.log_e_better - tl_bettor_log_e(&bettor)) < 1e-12);
    line_end(&l);
}

/* An unanswered board holds back what came after it, and nothing that nobody disagrees about. */
static void the_order_is_that_of_the_items(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 4);
    uint64_t waiting = line_item(&l, false, true, true);
    line_disagreement(&l, true, true);
    line_disagreement(&l, true, true);
    line_agreed(&l, 3);
    assert_int_equal(line_standing(&l).counts.disagreements, 0);
    assert_int_equal(line_standing(&l).counts.units, 3);
    assert_true(tl_gate_label(l.gate, waiting, false, 1));
    assert_int_equal(line_standing(&l).counts.disagreements, 3);
    assert_int_equal(line_standing(&l).counts.losses, 1);
    assert_false(tl_gate_label(l.gate, waiting, true, 1)); /* too late */
    assert_int_equal(line_standing(&l).counts.losses, 1);
    line_end(&l);
}

static void the_label_that_stands_counts(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 5);
    uint64_t first = line_item(&l, false, true, true), second = line_item(&l, false, true, true);
    tl_gate_label(l.gate, second, false, 1);
    tl_gate_label(l.gate, second, true, 1); /* corrected */
    tl_gate_unlabel(l.gate, second);
    tl_gate_label(l.gate, first, true, 1);
    assert_int_equal(line_standing(&l).counts.units, 1);
    tl_gate_label(l.gate, second, true, 2);
    assert_int_equal(line_standing(&l).counts.wins, 2);
    line_end(&l);
}

static void nobody_answering_counts_against(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    policy.cost_false_alarm = 0.25;
    policy.timeout_us = 60 * SECOND;
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER | TL_GATE_GAIN, 6);
    line_item(&l, false, true, true);
    line_item(&l, true, false, true);
    line_agreed(&l, 50);
    assert_int_equal(line_standing(&l).counts.timeouts, 0);
    line_agreed(&l, 20);
    tl_gate_standing standing = line_standing(&l);
    assert_int_equal(standing.counts.timeouts, 2);
    assert_int_equal(standing.counts.disagreements, 0);
    assert_true(fabs(standing.gain + 1.25 / 72) < 1e-12); /* as false alarm, and as miss */
    assert_true(standing.log_e_better < 0);
    assert_true(standing.log_e_gain < 0); /* silence proves nothing for the other side either */
    line_end(&l);
}

static void not_drawn_is_no_evidence(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 7);
    uint64_t volunteered = line_item(&l, false, true, false);
    assert_false(tl_gate_label(l.gate, volunteered, true, 1));
    tl_gate_standing standing = line_standing(&l);
    assert_int_equal(standing.counts.units, 1);
    assert_int_equal(standing.counts.disagreements, 0);
    assert_true(standing.log_e_better == 0);
    line_end(&l);
}

/* A disagreement that can never be reviewed is the shadow's error: else it could hide there. */
static void what_cannot_be_drawn_counts_against(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 8);
    tl_gate_item item = { .position = 1, .shadow = { { LINE_SHADOW, true } }, .shadow_count = 1 };
    assert_int_equal(tl_gate_item_add(l.gate, &item, NULL), TL_OK);
    assert_true(line_standing(&l).gain == -1);
    assert_true(line_standing(&l).log_e_better < 0);
    line_end(&l);
}

/* Reviewed one in four: the weights make the gain an item what it is. */
static void propensities_weigh(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 9);
    enum { ITEMS = 20000 };
    for (uint64_t i = 0; i < ITEMS; i++) {
        tl_gate_item item = { .position = ++l.position,
                              .time_us = l.now_us += l.step_us,
                              .drawn = tl_rng_unit(&l.rng) < 0.25,
                              .propensity = 0.25,
                              .shadow = { { LINE_SHADOW, i % 10 == 0 } },
                              .shadow_count = 1 };
        assert_int_equal(tl_gate_item_add(l.gate, &item, NULL), TL_OK);
        if (item.drawn) tl_gate_label(l.gate, item.position, tl_rng_unit(&l.rng) < 0.8, 1);
    }
    tl_gate_standing standing = line_standing(&l);
    assert_true(fabs(standing.gain - 0.06) < 0.01); /* .1 (.8 - .2) */
    assert_true(standing.gain_low < 0.06);
    assert_true(standing.gain_high > 0.06);
    assert_true(standing.gain_high - standing.gain_low < 0.05);
    line_end(&l);
}

static void units_that_began_before_are_no_evidence(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, 0, 10);
    l.unit = 77;
    line_disagreement(&l, true, true);
    assert_int_equal(tl_gate_watch(l.gate, LINE_SHADOW, TL_GATE_BETTER, l.position, NULL), TL_OK);
    line_disagreement(&l, true, true); /* same board: its labels may have trained the version */
    l.unit = 78;
    line_disagreement(&l, true, true);
    line_flush(&l);
    assert_int_equal(line_standing(&l).counts.units, 1);
    assert_int_equal(line_standing(&l).counts.disagreements, 1);
    line_end(&l);
}

static void late_items_of_a_board_are_counted_and_ignored(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 11);
    l.unit = 41;
    line_disagreement(&l, true, true);
    l.unit = 0;
    line_agreed(&l, TL_GATE_UNIT_FOLLOWED + 1);
    assert_int_equal(line_standing(&l).counts.disagreements, 1);
    l.unit = 41;
    line_disagreement(&l, true, true);
    line_flush(&l);
    tl_gate_status status;
    tl_gate_get_status(l.gate, &status);
    assert_int_equal(status.late_items, 1);
    assert_int_equal(line_standing(&l).counts.disagreements, 1);
    l.now_us += 3600 * SECOND; /* another board of that name */
    line_disagreement(&l, true, true);
    line_flush(&l);
    assert_int_equal(line_standing(&l).counts.disagreements, 2);
    line_end(&l);
}

static void a_restart_begins_anew(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER | TL_GATE_HARM, 12);
    for (int i = 0; i < 4; i++) line_disagreement(&l, true, true);
    l.unit = 6;
    uint64_t open = line_item(&l, false, true, true);
    tl_gate_restart(l.gate, l.position);
    tl_gate_standing standing = line_standing(&l);
    assert_int_equal(standing.number, 2);
    assert_int_equal(standing.counts.units, 0);
    assert_true(standing.log_e_better == 0);
    assert_false(tl_gate_label(l.gate, open, true, 1));
    line_disagreement(&l, true, true); /* the rest of a board that was judged by another policy */
    line_flush(&l);
    assert_int_equal(line_standing(&l).counts.units, 0);
    line_end(&l);
}

/* Nobody ever answers: memory stays bounded, the oldest are timed out. */
static void memory_is_bounded(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 13);
    l.step_us = 10;
    tl_gate_status status;
    for (uint64_t i = 0; i < 3 * TL_GATE_OPEN_MAX; i++) {
        l.unit = 1 + i / 3;
        line_item(&l, false, true, true);
        if (i % 4096 != 0) continue;
        tl_gate_get_status(l.gate, &status);
        assert_true(status.open_items <= TL_GATE_OPEN_MAX);
        assert_true(status.open_units <= TL_GATE_OPEN_MAX);
    }
    tl_gate_get_status(l.gate, &status);
    assert_true(status.forced_units >= 2 * TL_GATE_OPEN_MAX / 3 - 100);
    assert_int_equal(line_standing(&l).counts.units, status.forced_units);
    assert_int_equal(line_standing(&l).counts.timeouts, 3 * status.forced_units);
    line_end(&l);
}

static void wrong_items_change_nothing(void **state)
{
    (void)state;
    tl_gate_policy policy = plain();
    tl_error error;
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 14);
    line_agreed(&l, 3);
    tl_gate_item item = { .position = 3, .propensity = 1 };
    assert_int_equal(tl_gate_item_add(l.gate, &item, &error), TL_EINVAL);
    item = (tl_gate_item){ .position = 9, .drawn = true };
    assert_int_equal(tl_gate_item_add(l.gate, &item, &error), TL_EINVAL);
    item = (tl_gate_item){ .position = 9, .propensity = NAN };
    assert_int_equal(tl_gate_item_add(l.gate, &item, &error), TL_EINVAL);
    item = (tl_gate_item){ .position = 9, .time_us = INT64_MIN };
    assert_int_equal(tl_gate_item_add(l.gate, &item, &error), TL_EINVAL);
    assert_int_equal(line_standing(&l).counts.units, 3);
    line_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_board_is_one_bet),
        cmocka_unit_test(stakes_follow_the_largest_unit),
        cmocka_unit_test(interleaved_boards_do_not_mix),
        cmocka_unit_test(the_order_is_that_of_the_items),
        cmocka_unit_test(the_label_that_stands_counts),
        cmocka_unit_test(nobody_answering_counts_against),
        cmocka_unit_test(not_drawn_is_no_evidence),
        cmocka_unit_test(what_cannot_be_drawn_counts_against),
        cmocka_unit_test(propensities_weigh),
        cmocka_unit_test(units_that_began_before_are_no_evidence),
        cmocka_unit_test(late_items_of_a_board_are_counted_and_ignored),
        cmocka_unit_test(a_restart_begins_anew),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(wrong_items_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Reports on journals whose truth is known. */
#include "loop/report/report.h"
#include "loop/test/test_support.h"

#include <math.h>

enum { ITEMS = 4000, CLASS_COUNT = 3 };

static const float SCORES_OK[3] = { 0.9f, 0.05f, 0.05f }, SCORES_SCRATCH[3] = { 0.1f, 0.8f, 0.1f };

static tl_id item_id(uint64_t number)
{
    tl_id id = { { 7 } };
    for (int i = 0; i < 8; i++) id.bytes[15 - i] = (uint8_t)(number >> (8 * i));
    return id;
}

/* A loop's journal, opened for writing by hand. */
static tl_journal *journal_of(fixture *f, uint64_t retention_bytes, uint32_t *loop)
{
    open_loop(f);
    tl_runtime_close(&f->runtime);
    tl_journal_options options = { .path = f->path, .retention_bytes = retention_bytes };
    tl_journal *journal = NULL;
    assert_int_equal(tl_journal_open(&options, &journal, NULL), TL_OK);
    assert_int_equal(tl_journal_loop_open(journal, "parts", NULL, loop, NULL, NULL), TL_OK);
    return journal;
}

static void add(tl_journal *journal, tl_record record)
{
    tl_error err;
    if (tl_journal_append(journal, &record, 1, &err) != TL_OK) fail_msg("%s", err.text);
}

static void say(tl_journal *journal, uint32_t loop, uint64_t number, int32_t label, const char *who)
{
    tl_record record = { .kind = TL_RECORD_FEEDBACK, .loop = loop };
    record.as.feedback = (tl_feedback_record){
        .prediction_id = item_id(number), .kind = TL_FEEDBACK_LABEL, .label = label, .source = who
    };
    add(journal, record);
}

static tl_record item_of(uint32_t loop, uint64_t number, bool flagged, bool review,
                         float propensity)
{
    tl_record record = { .kind = TL_RECORD_PREDICTION, .loop = loop };
    record.as.prediction = (tl_prediction_record){ .id = item_id(number),
                                                   .time_us = 1000000 * (int64_t)number,
                                                   .version = 1,
                                                   .site = number % 2 == 0 ? "A" : "B",
                                                   .scores = flagged ? SCORES_SCRATCH : SCORES_OK,
                                                   .score_count = CLASS_COUNT,
                                                   .label = flagged,
                                                   .flagged = flagged,
                                                   .review = review,
                                                   .propensity = propensity,
                                                   .threshold = 0.5f };
    return record;
}

/* Every 20th item is flagged, and each of these looked at: 3 of 4 are scratches. Of those that pass a
 * quarter is drawn; every 40th drawn one is a dent: 25,000 ppm escape. Nobody says more. */
static void write_stream(tl_journal *journal, uint32_t loop)
{
    tl_record records[2 * ITEMS];
    memset(records, 0, sizeof records);
    size_t count = 0, drawn = 0, passed = 0, flagged_count = 0;
    for (uint64_t i = 0; i < ITEMS; i++) {
        bool flagged = i % 20 == 0, review = flagged || passed % 4 == 0;
        passed += !flagged;
        records[count++] = item_of(loop, i, flagged, review, flagged ? 1.0f : 0.25f);
        if (!review) continue;
        int32_t label = flagged ? (flagged_count++ % 4 != 0) : (drawn++ % 40 == 39 ? 2 : 0);
        records[count] = (tl_record){ .kind = TL_RECORD_FEEDBACK, .loop = loop };
        records[count++].as.feedback = (tl_feedback_record){
            .prediction_id = item_id(i), .kind = TL_FEEDBACK_LABEL, .label = label, .source = "ann"
        };
    }
    for (size_t at = 0; at < count; at += 500) {
        size_t some = count - at < 500 ? count - at : 500;
        assert_int_equal(tl_journal_append(journal, records + at, some, NULL), TL_OK);
    }
}

static tl_report *report_on(tl_journal *journal, uint32_t loop, tl_report_options options)
{
    tl_journal_reader *reader = NULL;
    tl_report *report = NULL;
    tl_error err;
    assert_int_equal(tl_journal_reader_open(journal, &reader, NULL), TL_OK);
    if (tl_report_make(reader, loop, &options, &report, &err) != TL_OK) fail_msg("%s", err.text);
    tl_journal_reader_close(&reader);
    return report;
}

static void share_is(tl_share share, double value, double tolerance)
{
    if (!(fabs(share.value - value) <= tolerance && share.low <= value && value <= share.high))
        fail_msg("%g (%g to %g), not %g", share.value, share.low, share.high, value);
    assert_true(share.low <= share.value && share.value <= share.high);
}

static void figures_are_of_all_items(void **state)
{
    fixture *f = *state;
    uint32_t loop;
    tl_journal *journal = journal_of(f, 0, &loop);
    write_stream(journal, loop);
    say(journal, loop, 2, 1, "ann"); /* volunteered: it was not put up for review */
    tl_report *report = report_on(journal, loop, (tl_report_options){ .by = TL_REPORT_SITE });
    const tl_report_row *all = &report->all;
    assert_int_equal(all->items, ITEMS);
    assert_int_equal(all->flagged, ITEMS / 20);
    assert_int_equal(all->drawn, ITEMS / 20 + 950);
    assert_int_equal(all->answered, ITEMS / 20 + 950);
    assert_int_equal(all->volunteered, 1);
    const double escapes = 23.0 / 950, flagged = 0.05, passed = 0.95;
    share_is(all->escapes, escapes, 2e-3);
    share_is(all->overkill, flagged / 4, 1e-9);
    share_is(all->prevalence, passed * escapes + flagged * 0.75, 2e-3);
    share_is(all->recall, flagged * 0.75 / (passed * escapes + flagged * 0.75), 0.03);
    share_is(all->precision, 0.75, 1e-9);
    share_is(all->accuracy, 1.0 - passed * escapes - flagged / 4, 2e-3);
    assert_int_equal(all->escapes.hits, 23);
    assert_int_equal(all->escapes.count, 950);
    assert_true(report->escapes_worst.value == all->escapes.value); /* nobody was silent */
    double sum = 0.0;
    for (size_t i = 0; i < CLASS_COUNT * CLASS_COUNT; i++) sum += report->confusion[i];
    assert_true(fabs(sum - ITEMS) < 1e-6);
    assert_int_equal(report->confusion_count[2 * CLASS_COUNT], 23);
    assert_int_equal(report->row_count, 2);
    assert_string_equal(report->rows[0].name, "A");
    assert_int_equal(report->rows[0].items + report->rows[1].items, ITEMS);
    assert_int_equal(report->rows[0].flagged, ITEMS / 20); /* all of them are even ones */
    tl_report_destroy(&report);
    tl_journal_close(&journal);
}

static void classes_have_rows_of_their_own(void **state)
{
    fixture *f = *state;
    uint32_t loop;
    tl_journal *journal = journal_of(f, 0, &loop);
    write_stream(journal, loop);
    tl_report *report = report_on(journal, loop, (tl_report_options){ .by = TL_REPORT_CLASS });
    assert_int_equal(report->row_count, 2);
    const tl_report_row *scratch = &report->rows[0], *dent = &report->rows[1];
    assert_string_equal(scratch->name, "scratch");
    assert_string_equal(dent->name, "dent");
    share_is(scratch->escapes, 0.0, 0.01);
    share_is(scratch->overkill, 0.05 / 4, 1e-9);
    share_is(scratch->recall, 1.0, 0.05);
    share_is(dent->escapes, 23.0 / 950, 2e-3);
    share_is(dent->overkill, 0.0, 1e-9);
    share_is(dent->recall, 0.0, 0.05);
    tl_report_destroy(&report);
    /* The second half only, by the time of the predictions. */
    report = report_on(journal, loop, (tl_report_options){ .since_us = ITEMS / 2 * 1000000LL });
    assert_int_equal(report->all.items, ITEMS / 2);
    assert_int_equal(report->row_count, 0);
    tl_report_destroy(&report);
    tl_journal_close(&journal);
}

/* A drawn item without a verdict is neither good nor bad. */
static void silence_is_told(void **state)
{
    fixture *f = *state;
    uint32_t loop;
    tl_journal *journal = journal_of(f, 0, &loop);
    for (uint64_t i = 0; i < 100; i++) {
        add(journal, item_of(loop, i, false, true, 1.0f));
        if (i % 2 == 0) say(journal, loop, i, i % 10 == 0 ? 1 : 0, "ann");
    }
    tl_report *report = report_on(journal, loop, (tl_report_options){ 0 });
    assert_int_equal(report->all.drawn, 100);
    assert_int_equal(report->all.answered, 50);
    share_is(report->all.escapes, 0.2, 0.02);
    share_is(report->escapes_worst, 0.6, 0.02);
    assert_int_equal(report->finding_count, 0); /* they may still come */
    tl_report_destroy(&report);
    add(journal, item_of(loop, 2 * 86400, false, true, 1.0f)); /* two days later they may not */
    report = report_on(journal, loop, (tl_report_options){ 0 });
    assert_int_equal(report->finding_count, 1);
    assert_non_null(strstr(report->findings[0], "are answered 50 % ["));
    tl_report_destroy(&report);
    tl_journal_close(&journal);
}

/* What comes back from the field weeks later finds its item, also when all but its line is gone. */
static void field_returns_count_on_pruned_items(void **state)
{
    fixture *f = *state;
    uint32_t loop;
    tl_journal *journal = journal_of(f, 1, &loop);
    tl_journal_reader *reader = NULL;
    tl_arena arena;
    tl_record found;
    bool pruned = false;
    tl_arena_init(&arena, 1 << 20);
    assert_int_equal(tl_journal_reader_open(journal, &reader, NULL), TL_OK);
    for (uint64_t i = 1; i < 2000 && !pruned; i++) {
        add(journal, item_of(loop, i, i == 2, i == 2, i == 2 ? 1.0f : 0.25f));
        tl_arena_reset(&arena);
        assert_int_equal(tl_journal_find_prediction(reader, loop, item_id(2), false, &arena, &found,
                                                    &pruned, NULL),
                         i == 1 ? TL_ENOTFOUND : TL_OK);
    }
    assert_true(pruned);
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    tl_journal_close(&journal);
    open_loop(f);
    for (uint64_t i = 1; i <= 2; i++) { /* one that passed, one that was flagged */
        tl_feedback_result result;
        tl_feedback feedback = { .prediction_id = item_id(i),
                                 .kind = TL_FEEDBACK_LABEL,
                                 .label = "dent",
                                 .source = "field" };
        assert_int_equal(tl_loop_feedback(f->loop, &feedback, &result, NULL), TL_OK);
        assert_int_equal(result.state, TL_FEEDBACK_APPLIED);
    }
    tl_report *report = NULL;
    tl_report_options options = { .by = TL_REPORT_CLASS };
    assert_int_equal(tl_loop_report(f->loop, &options, &report, NULL), TL_OK);
    assert_int_equal(report->all.field, 2);
    assert_int_equal(report->all.field_escapes, 1);
    assert_int_equal(report->all.answered, 0); /* not a verdict of those who were asked */
    assert_int_equal(report->rows[0].field_escapes, 0);
    assert_int_equal(report->rows[1].field_escapes, 1);
    tl_report_destroy(&report);
    options.field_source = "customer";
    assert_int_equal(tl_loop_report(f->loop, &options, &report, NULL), TL_OK);
    assert_int_equal(report->all.field, 0);
    assert_int_equal(report->all.volunteered, 1);
    tl_report_destroy(&report);
}

/* Of each item only the word of the one who was asked is a verdict. */
static void others_words_are_no_verdicts(void **state)
{
    fixture *f = *state;
    static const char *const people[] = { "anna", "ben" };
    enum { COUNT = 200 };
    uint32_t loop;
    tl_report *report = NULL;
    tl_report_options by_all = { .by = TL_REPORT_ALL };
    tl_error err;
    uint64_t answered[2];
    f->options.people = people;
    f->options.person_count = 2;
    tl_journal *journal = journal_of(f, 0, &loop);
    for (uint64_t i = 0; i < COUNT; i++) add(journal, item_of(loop, i, true, true, 1.0f));
    for (int who = 0; who < 2; who++) {
        for (uint64_t i = 0; i < COUNT; i++) say(journal, loop, i, who, people[who]);
        tl_journal_reader *reader = NULL;
        ok(tl_journal_reader_open(journal, &reader, &err), &err);
        ok(tl_report_make(reader, loop, &by_all, &report, &err), &err);
        answered[who] = report->all.answered;
        if (who == 1) assert_int_equal(report->all.prevalence.hits, COUNT - answered[0]);
        tl_report_destroy(&report);
        tl_journal_reader_close(&reader);
    }
    assert_in_range(answered[0], COUNT / 4, COUNT * 3 / 4);
    assert_int_equal(answered[1], COUNT);
    tl_journal_close(&journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED_TEST(figures_are_of_all_items),
        CLOSED_TEST(classes_have_rows_of_their_own),
        CLOSED_TEST(silence_is_told),
        CLOSED_TEST(field_returns_count_on_pruned_items),
        CLOSED_TEST(others_words_are_no_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Items that are put up once more: labels that look wrong, and repeats that measure people. */
#include "loop/core/internal.h"
#include "loop/test/test_support.h"

#include <string.h>

enum { WARM = 120 };

static const char *const PEOPLE[] = { "anna", "ben", "carl" };

/* A clock that the test turns. */
static int64_t ahead_us;

static int64_t wall_us(void *context)
{
    (void)context;
    return tl_env_wall_us(tl_env_system()) + ahead_us;
}

static tl_env turned;

static void open_turned(fixture *f)
{
    turned = *known_env();
    turned.wall_us = wall_us;
    f->env = &turned;
    open_loop(f);
}

static void reopen_turned(fixture *f)
{
    tl_runtime_close(&f->runtime);
    open_turned(f);
}

/* What is asked is answered by who is asked: truly, by "anna" where nobody is asked in particular. */
static void answer(fixture *f, uint64_t seed, size_t count)
{
    tl_rng rng;
    tl_rng_seed(&rng, seed, 0);
    for (size_t i = 0; i < count; i++) {
        uint32_t label;
        float x[FEATURES];
        draw(&rng, &label, x);
        tl_prediction p = predict(f, x, NO_ID);
        if (p.review) label_as(f, p.id, CLASSES[label], p.person == NULL ? "anna" : p.person);
    }
    settle(f);
}

static int set_up_asking(void **state)
{
    if (set_up_closed(state) != 0) return -1;
    fixture *f = *state;
    ahead_us = 0;
    f->options.cold_labels = WARM;
    f->options.audit_rate = 0.5;
    f->options.publish_every_labels = 100000;
    f->options.people = PEOPLE;
    f->runtime_options.trainer_threads = 0;
    return 0;
}

#define ASKING_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_asking, tear_down)

static tl_review_item list[TL_REVIEW_LIST_MAX];

static size_t reviews(fixture *f)
{
    size_t count = 0;
    uint64_t open;
    tl_error err = { 0 };
    settle(f);
    ok(tl_loop_reviews(f->loop, NULL, list, TL_REVIEW_LIST_MAX, &count, &open, &err), &err);
    return count;
}

/* An item of a class that somebody calls another one. */
static tl_prediction mislabel(fixture *f, uint32_t class, uint32_t called, const char *source)
{
    float x[FEATURES];
    for (int i = 0; i < FEATURES; i++) x[i] = i % 3 == (int)class ? 2.0f : 0.0f;
    tl_prediction p = predict(f, x, NO_ID);
    label_as(f, p.id, CLASSES[called], source == NULL ? p.person : source);
    return p;
}

/* Somebody else is asked, blind; what that one says is told, and is ordinary feedback. */
static void a_label_that_looks_wrong_is_asked_again(void **state)
{
    fixture *f = *state;
    f->options.person_count = 3;
    open_turned(f);
    answer(f, 1, 200);
    assert_int_equal(reviews(f), 0);
    tl_prediction wrong = mislabel(f, 1, 0, NULL), odd = mislabel(f, 2, 0, NULL);
    assert_true(wrong.review && odd.review);
    uint64_t verified = estimates_of(f).verified, labels = status_of(f).labels;
    assert_int_equal(reviews(f), 2);
    for (size_t i = 0; i < 2; i++) {
        bool first = memcmp(list[i].id.bytes, wrong.id.bytes, sizeof wrong.id.bytes) == 0;
        const char *before = first ? wrong.person : odd.person;
        assert_true(list[i].blind);
        assert_string_equal(list[i].why, "blind");
        assert_true(list[i].person[0] != '\0' && strcmp(list[i].person, before) != 0);
    }
    char first_person[TL_TEXT_BYTES_MAX];
    snprintf(first_person, sizeof first_person, "%s", wrong.person); /* borrowed from the loop */
    reopen_turned(f); /* comes back from the checkpoint */
    assert_int_equal(reviews(f), 2);
    label_as(f, wrong.id, CLASSES[0], first_person); /* says it once more: no second answer */
    assert_int_equal(reviews(f), 2);
    for (size_t i = 0; i < 2; i++) {
        bool first = memcmp(list[i].id.bytes, wrong.id.bytes, sizeof wrong.id.bytes) == 0;
        label_as(f, list[i].id, CLASSES[first ? 1 : 0], list[i].person);
    }
    assert_int_equal(reviews(f), 0);
    tl_estimates e = estimates_of(f);
    assert_non_null(strstr(e.suspects_words, "of 2 asked again 1 were changed"));
    assert_int_equal(e.verified,
                     verified); /* and no evidence: asked is what contradicts the model */
    assert_int_equal(e.by_another, 0);
    assert_int_equal(status_of(f).labels, labels);
    verify(f);
}

/* Without people anybody else may answer; the first answer stays the evidence. */
static void without_people_anybody_else_may_answer(void **state)
{
    fixture *f = *state;
    open_turned(f);
    answer(f, 2, 200);
    tl_prediction wrong = mislabel(f, 1, 0, "anna");
    tl_estimates before = estimates_of(f);
    assert_int_equal(reviews(f), 1);
    assert_string_equal(list[0].person, "");
    label_as(f, wrong.id, CLASSES[1], "ben");
    tl_estimates after = estimates_of(f);
    assert_int_equal(reviews(f), 0);
    assert_non_null(strstr(after.suspects_words, "of 1 asked again 1 were changed"));
    assert_true(after.recall.count == before.recall.count);
    assert_true(after.prevalence.value == before.prevalence.value);
    verify(f);
}

/* Who gave a label may take it back before anybody else was asked. */
static void a_correction_ends_the_suspicion(void **state)
{
    fixture *f = *state;
    open_turned(f);
    answer(f, 3, 200);
    tl_prediction wrong = mislabel(f, 1, 0, "anna");
    assert_int_equal(reviews(f), 1);
    label_as(f, wrong.id, CLASSES[1], "anna");
    assert_int_equal(reviews(f), 0);
    assert_null(strstr(estimates_of(f).suspects_words, "asked again"));
    ahead_us = 0;
    mislabel(f, 1, 0, "anna");
    assert_int_equal(reviews(f), 1);
    ahead_us = 2 * 86400000000LL; /* nobody answered */
    answer(f, 4, 20);
    assert_int_equal(reviews(f), 0);
    verify(f);
}

/* Of too many the largest leads are kept. */
static void suspicions_are_bounded(void **state)
{
    fixture *f = *state;
    open_turned(f);
    tl_error err = { 0 };
    answer(f, 5, 200);
    ok(tl_loop_set_learning(f->loop, false, "me", &err), &err); /* or it would come to believe it */
    for (int i = 0; i < TL_AGAIN_SUSPECT_MAX + 20; i++) mislabel(f, 1, 0, "anna");
    settle(f);
    assert_int_equal(f->loop->core->again->count, TL_AGAIN_SUSPECT_MAX);
    assert_int_equal(reviews(f), TL_REVIEW_LIST_MAX);
    reopen_turned(f);
    assert_int_equal(f->loop->core->again->count, TL_AGAIN_SUSPECT_MAX);
    verify(f);
}

static uint32_t label_of(const tl_core_again *again, uint64_t key)
{
    for (uint32_t i = 0; i < again->count; i++)
        if (again->items[i].key == key && again->items[i].repeat) return again->items[i].label;
    fail_msg("it is not asked again");
    return 0;
}

/* All answered reviews come once more, after a while, to the same person or another. */
static void repeats_measure_people(void **state)
{
    fixture *f = *state;
    f->options.person_count = 2;
    f->options.review.repeats = 1.0;
    open_turned(f);
    answer(f, 6, 100);
    float x[FEATURES] = { 2.0f, 0.0f, 0.0f, 2.0f };
    for (int i = 0; i < 10; i++) {
        tl_prediction twice = predict(f, x, NO_ID);
        assert_true(twice.review); /* the loop is cold */
        for (int click = 0; click < 2; click++) label_as(f, twice.id, "ok", twice.person);
    }
    assert_int_equal(reviews(f), 0); /* not while they remember it, and a second click is none */
    assert_int_equal(f->loop->core->again->repeats.own, 0);
    tl_core_again *again = f->loop->core->again;
    uint32_t count = again->count, same = 0;
    assert_true(count > 60);
    for (uint32_t i = 0; i < count; i++) same += again->items[i].person == again->items[i].first;
    assert_true(same > count / 5 && same < count * 4 / 5);
    ahead_us = 1000000LL * (TL_AGAIN_AFTER_S + 1);
    assert_int_equal(reviews(f), count);
    assert_true(list[0].blind && list[0].time_us > 0);
    uint64_t verified = estimates_of(f).verified;
    label_as(f, list[0].id, CLASSES[label_of(again, list[0].position)],
             strcmp(list[0].person, "anna") == 0 ? "ben" : "anna");
    assert_int_equal(reviews(f), count); /* not who was asked */
    for (size_t i = 0; i < count; i++) {
        uint32_t label = label_of(again, list[i].position);
        label_as(f, list[i].id, CLASSES[i % 4 == 0 ? (label + 1) % 3 : label], list[i].person);
    }
    settle(f);
    for (uint32_t i = 0; i < again->count; i++) assert_false(again->items[i].repeat);
    const tl_again_tally *t = &f->loop->core->again->repeats;
    assert_int_equal(t->own, same);
    assert_int_equal(t->own + t->other, count);
    assert_true(t->own_alike < t->own && t->other_alike < t->other);
    tl_estimates e = estimates_of(f);
    assert_non_null(strstr(e.people_words, "by the same person"));
    assert_non_null(strstr(e.people_words, "by another"));
    assert_int_equal(e.verified, verified); /* corrections, not new verdicts */
    reopen_turned(f);
    assert_int_equal(f->loop->core->again->repeats.own, same);
    verify(f);
}

static void no_repeats_unless_wanted(void **state)
{
    fixture *f = *state;
    open_turned(f);
    answer(f, 7, 60);
    assert_int_equal(f->loop->core->again->count, 0);
    ahead_us = 1000000LL * (TL_AGAIN_AFTER_S + 1);
    assert_int_equal(reviews(f), 0);
    f->options.review.repeats = 1.5;
    tl_runtime_close(&f->runtime);
    tl_error err = { 0 };
    open_runtime(f);
    assert_int_equal(tl_loop_open(f->runtime, &f->options, &f->loop, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "review.repeats"));
}

/* A checkpoint of elsewhere is not believed. */
static void damaged_state_is_refused(void **state)
{
    (void)state;
    static tl_core_again before, after;
    tl_blob blob, again;
    before.count = 2;
    before.items[0] = (tl_again){ .key = 7, .label = 1, .lead = -0.5f };
    before.items[1] = (tl_again){ .key = 9, .repeat = true, .flagged = true };
    tl_blob_init(&blob);
    tl_again_save(&before, &blob);
    for (size_t cut = 0; cut < blob.bytes; cut++) {
        tl_blob_reader reader;
        tl_blob_reader_init(&reader, blob.data, cut);
        assert_int_not_equal(tl_again_load(&reader, &after, NULL), TL_OK);
    }
    tl_blob_reader whole;
    tl_blob_reader_init(&whole, blob.data, blob.bytes);
    assert_int_equal(tl_again_load(&whole, &after, NULL), TL_OK);
    tl_blob_init(&again);
    tl_again_save(&after, &again);
    assert_int_equal(again.bytes, blob.bytes);
    assert_memory_equal(again.data, blob.data, blob.bytes);
    tl_blob_destroy(&again);
    tl_blob_destroy(&blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ASKING_TEST(a_label_that_looks_wrong_is_asked_again),
        ASKING_TEST(without_people_anybody_else_may_answer),
        ASKING_TEST(a_correction_ends_the_suspicion),
        ASKING_TEST(suspicions_are_bounded),
        ASKING_TEST(repeats_measure_people),
        ASKING_TEST(no_repeats_unless_wanted),
        cmocka_unit_test(damaged_state_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The queue: what people are asked of a loop, from whom, and what an answer does to it. */
#include "loop/core/internal.h"
#include "loop/test/test_support.h"

#include <math.h>

enum { WARM = 60 };

static void warm_up(fixture *f)
{
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, WARM);
    drain(f);
}

static int set_up_warm(void **state)
{
    if (set_up_closed(state) != 0) return -1;
    fixture *f = *state;
    f->options.cold_labels = WARM;
    f->options.audit_rate = 0.25;
    f->options.publish_every_labels = 100000; /* what serves stays */
    f->options.review.blind = 0.3;
    f->runtime_options.trainer_threads = 0;
    f->env = known_env();
    open_loop(f);
    warm_up(f);
    return 0;
}

#define WARM_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_warm, tear_down)

static tl_review_item list[TL_REVIEW_LIST_MAX];

static size_t reviews(fixture *f, uint64_t *open)
{
    size_t count = 0;
    tl_error err = { 0 };
    settle(f);
    ok(tl_loop_reviews(f->loop, NULL, list, TL_REVIEW_LIST_MAX, &count, open, &err), &err);
    return count;
}

/* Items of a board each; those that were drawn are told by their place in `drawn`. */
static size_t predict_boards(fixture *f, uint64_t seed, size_t count, tl_prediction *drawn)
{
    tl_rng rng;
    tl_rng_seed(&rng, seed, 0);
    size_t reviewed = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t label;
        float x[FEATURES];
        char board[TL_TEXT_BYTES_MAX];
        tl_error err = { 0 };
        draw(&rng, &label, x);
        snprintf(board, sizeof board, "SN-%llu-%zu", (unsigned long long)seed, i / 2);
        tl_item item = { .features = x, .feature_count = FEATURES, .board = board, .line = "7" };
        ok(tl_loop_predict(f->loop, &item, &drawn[reviewed], &err), &err);
        reviewed += drawn[reviewed].review;
    }
    return reviewed;
}

static const tl_review_item *find(tl_id id, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(list[i].id.bytes, id.bytes, sizeof id.bytes) == 0) return &list[i];
    return NULL;
}

static void what_was_drawn_is_asked_until_it_is_answered(void **state)
{
    fixture *f = *state;
    tl_prediction drawn[101];
    uint64_t open;
    assert_int_equal(reviews(f, &open), 0);
    size_t asked = predict_boards(f, 5, 100, drawn);
    size_t count = reviews(f, &open);
    assert_true(asked > 20);
    assert_int_equal(count, asked);
    assert_int_equal(open, asked);
    for (size_t i = 0; i < asked; i++) {
        const tl_review_item *item = find(drawn[i].id, count);
        assert_non_null(item);
        assert_true(item->blind == drawn[i].blind);
        assert_true(item->position == drawn[i].position);
        assert_true(item->until_us == item->time_us + 86400000000);
        assert_string_equal(item->line, "7");
        assert_true(strncmp(item->board, "SN-5-", 5) == 0);
        assert_true(isnan(item->defect_score) == item->blind);
        assert_true(item->flagged == (drawn[i].flagged && !drawn[i].blind));
        assert_string_equal(item->why, item->blind ? "blind" : "flagged");
    }
    label_as(f, drawn[0].id, "ok", "anna");
    assert_int_equal(reviews(f, &open), asked - 1);
    assert_null(find(drawn[0].id, asked - 1));
}

static void the_list_is_the_same_after_a_start(void **state)
{
    fixture *f = *state;
    tl_prediction drawn[201];
    static tl_review_item before[TL_REVIEW_LIST_MAX];
    uint64_t open;
    predict_boards(f, 6, 200, drawn);
    size_t count = reviews(f, &open);
    memcpy(before, list, sizeof before);
    reopen(f);
    assert_int_equal(reviews(f, &open), count);
    assert_memory_equal(list, before, count * sizeof *list);
    verify(f);
}

static void the_list_is_bounded(void **state)
{
    fixture *f = *state;
    tl_prediction drawn[101];
    tl_review_item first;
    size_t count = 9;
    uint64_t open = 9;
    tl_error err = { 0 };
    size_t asked = predict_boards(f, 7, 100, drawn);
    reviews(f, &open);
    ok(tl_loop_reviews(f->loop, NULL, &first, 1, &count, &open, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(open, asked);
    assert_memory_equal(&first, &list[0], sizeof first);
    assert_int_equal(tl_loop_reviews(f->loop, NULL, list, 0, &count, &open, &err), TL_EINVAL);
    assert_int_equal(
        tl_loop_reviews(f->loop, NULL, list, TL_REVIEW_LIST_MAX + 1, &count, &open, &err),
        TL_EINVAL);
    assert_int_equal(count, 1);
}

/* ---- People ---------------------------------------------------------------------------------- */

static const char *const PEOPLE[] = { "anna", "ben", "carl" };

static void with_people(fixture *f, size_t count)
{
    f->options.people = PEOPLE;
    f->options.person_count = count;
    reopen(f);
}

static const char *another_than(const char *person)
{
    return strcmp(person, PEOPLE[0]) == 0 ? PEOPLE[1] : PEOPLE[0];
}

static void a_board_is_one_persons(void **state)
{
    fixture *f = *state;
    tl_prediction drawn[401];
    uint64_t open, of_each = 0;
    tl_review_person people[TL_PERSON_COUNT_MAX];
    with_people(f, 3);
    size_t asked = predict_boards(f, 8, 400, drawn), count = reviews(f, &open);
    assert_int_equal(tl_loop_people(f->loop, people), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(people[i].name, PEOPLE[i]);
        assert_true(people[i].open > asked / 6); /* a third each, but for chance */
        of_each += people[i].open;
    }
    assert_int_equal(of_each, asked);
    for (size_t i = 0; i < asked; i++) {
        const tl_review_item *item = find(drawn[i].id, count);
        if (item == NULL) continue; /* beyond what is listed */
        assert_string_equal(item->person, drawn[i].person);
        for (size_t j = 0; j < count; j++)
            if (strcmp(list[j].board, item->board) == 0)
                assert_string_equal(list[j].person, item->person);
    }
}

static void a_person_sees_what_that_one_is_asked(void **state)
{
    fixture *f = *state;
    tl_prediction drawn[101];
    tl_error err = { 0 };
    size_t count = 0;
    uint64_t open = 0, all;
    assert_int_equal(
        tl_loop_reviews(f->loop, "anna", list, TL_REVIEW_LIST_MAX, &count, &open, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "leave the person out"));
    with_people(f, 2);
    predict_boards(f, 9, 100, drawn);
    reviews(f, &all);
    ok(tl_loop_reviews(f->loop, "ben", list, TL_REVIEW_LIST_MAX, &count, &open, &err), &err);
    assert_true(open > 0 && open < all);
    for (size_t i = 0; i < count; i++) assert_string_equal(list[i].person, "ben");
    assert_int_equal(
        tl_loop_reviews(f->loop, "carl", list, TL_REVIEW_LIST_MAX, &count, &open, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "anna, ben"));
}

/* Another's word is learned from, and is no evidence; the assigned one's is, also when it only repeats. */
static void only_the_one_who_was_asked_is_heard(void **state)
{
    fixture *f = *state;
    tl_prediction drawn[101];
    uint64_t open;
    with_people(f, 3);
    size_t asked = predict_boards(f, 10, 100, drawn);
    tl_estimates before = estimates_of(f);
    uint64_t labels = status_of(f).labels;
    for (size_t i = 0; i < asked; i++)
        assert_int_equal(label_as(f, drawn[i].id, "ok", another_than(drawn[i].person)),
                         TL_FEEDBACK_APPLIED);
    tl_estimates others = estimates_of(f);
    assert_int_equal(status_of(f).labels, labels + asked);
    assert_int_equal(others.verified, before.verified);
    assert_int_equal(others.by_another, asked);
    assert_false(others.rules_kept);
    assert_non_null(strstr(others.rules_words, "somebody else"));
    assert_int_equal(reviews(f, &open), asked); /* they are asked still */
    for (size_t i = 0; i < asked; i++)
        assert_int_equal(label_as(f, drawn[i].id, "ok", drawn[i].person), TL_FEEDBACK_REPEATED);
    assert_int_equal(estimates_of(f).verified, before.verified + asked);
    assert_int_equal(reviews(f, &open), 0);
    label_as(f, drawn[0].id, "dent", another_than(drawn[0].person)); /* stands, and is not heard */
    assert_true(estimates_of(f).prevalence.hits == before.prevalence.hits);
    withdraw(f, drawn[0].id, drawn[0].person);
    assert_int_equal(estimates_of(f).verified, before.verified + asked - 1);
    verify(f);
}

/* Feedback that came before its prediction is heard alike. */
static void early_answers_are_heard_by_person(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 12, 0);
    with_people(f, 2);
    uint64_t before = estimates_of(f).verified, heard = 0;
    for (uint64_t i = 0; i < 60; i++) {
        uint32_t label;
        float x[FEATURES];
        draw(&rng, &label, x);
        assert_int_equal(label_as(f, id_of(i), CLASSES[label], "anna"), TL_FEEDBACK_PENDING);
        tl_prediction p = predict(f, x, id_of(i));
        heard += p.review && strcmp(p.person, "anna") == 0;
    }
    assert_true(heard > 5);
    assert_int_equal(estimates_of(f).verified, before + heard);
    assert_true(estimates_of(f).by_another > 0);
    verify(f);
}

/* Who leaves hands over; all others keep what they were asked, and new people get nothing old. */
static void open_reviews_keep_their_person(void **state)
{
    fixture *f = *state;
    static const char *const later[] = { "ben", "anna", "dora" };
    static tl_review_item before[TL_REVIEW_LIST_MAX];
    tl_prediction drawn[201];
    uint64_t open, left = 0;
    with_people(f, 3);
    predict_boards(f, 11, 200, drawn);
    size_t count = reviews(f, &open);
    memcpy(before, list, sizeof before);
    f->options.people = later;
    reopen(f);
    assert_int_equal(reviews(f, &open), count);
    for (size_t i = 0; i < count; i++) {
        const tl_review_item *now = find(before[i].id, count);
        bool stays = strcmp(before[i].person, "carl") != 0;
        assert_non_null(now);
        if (stays) assert_string_equal(now->person, before[i].person);
        assert_true(strcmp(now->person, "carl") != 0);
        left += !stays;
    }
    assert_true(left > 0);
    f->options.person_count = 0;
    reopen(f);
    reviews(f, &open);
    assert_string_equal(list[0].person, ""); /* anybody, as before */
    verify(f);
}

static void names_are_checked(void **state)
{
    fixture *f = *state;
    static const char *const twice[] = { "anna", "anna" };
    static const char *many[TL_PERSON_COUNT_MAX + 1];
    tl_error err = { 0 };
    tl_loop *loop = NULL;
    open_runtime(f);
    f->options.people = twice;
    f->options.person_count = 2;
    assert_int_equal(tl_loop_open(f->runtime, &f->options, &loop, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "review.people"));
    f->options.people = many;
    f->options.person_count = TL_COUNT_OF(many);
    assert_int_equal(tl_loop_open(f->runtime, &f->options, &loop, &err), TL_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WARM_TEST(what_was_drawn_is_asked_until_it_is_answered),
        WARM_TEST(the_list_is_the_same_after_a_start),
        WARM_TEST(the_list_is_bounded),
        WARM_TEST(a_board_is_one_persons),
        WARM_TEST(a_person_sees_what_that_one_is_asked),
        WARM_TEST(only_the_one_who_was_asked_is_heard),
        WARM_TEST(early_answers_are_heard_by_person),
        WARM_TEST(open_reviews_keep_their_person),
        CLOSED_TEST(names_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

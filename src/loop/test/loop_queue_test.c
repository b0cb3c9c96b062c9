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
    ok(tl_loop_reviews(f->loop, list, TL_REVIEW_LIST_MAX, &count, open, &err), &err);
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
    ok(tl_loop_reviews(f->loop, &first, 1, &count, &open, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(open, asked);
    assert_memory_equal(&first, &list[0], sizeof first);
    assert_int_equal(tl_loop_reviews(f->loop, list, 0, &count, &open, &err), TL_EINVAL);
    assert_int_equal(tl_loop_reviews(f->loop, list, TL_REVIEW_LIST_MAX + 1, &count, &open, &err),
                     TL_EINVAL);
    assert_int_equal(count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WARM_TEST(what_was_drawn_is_asked_until_it_is_answered),
        WARM_TEST(the_list_is_the_same_after_a_start),
        WARM_TEST(the_list_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

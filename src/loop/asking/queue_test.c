/* In which order people are asked: what is worth most comes first, and place tells no verdict. */
#include "loop/asking/queue.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LIST = 200, LISTS = 400 };

static const uint8_t KEY[TL_DRAW_KEY_BYTES] = { 7, 1, 4 };

/* As a loop draws them: some flagged ones blind, all passed ones, and disputes that are of one verdict
 * more often than of the other. */
static void fill(tl_rng *rng, tl_queue_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tl_queue_entry *e = &entries[i];
        *e = (tl_queue_entry){ .key = tl_rng_u64(rng) >> 8, .score = (float)tl_rng_unit(rng) };
        e->flagged = tl_rng_below(rng, 2) == 0;
        e->blind = !e->flagged || tl_rng_below(rng, 2) == 0;
        e->disputed = tl_rng_below(rng, 100) < (e->flagged ? 5 : 30);
        bool uncertain = !e->flagged && tl_rng_below(rng, 3) == 0;
        e->reason = e->flagged  ? TL_REVIEW_FLAGGED
                    : uncertain ? TL_REVIEW_UNCERTAIN
                                : TL_REVIEW_AUDIT;
    }
}

static void the_most_valuable_come_first(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    tl_queue_entry list[LIST];
    fill(&rng, list, LIST);
    tl_queue_order(KEY, list, LIST);
    size_t disputed = 0, first = 0;
    float clear = 1.0f;
    for (size_t i = 0; i < LIST; i++) disputed += list[i].disputed;
    for (size_t i = 0; i < LIST; i++) {
        first += list[i].disputed && list[i].place < 1.0;
        if (!list[i].blind && !list[i].disputed) { /* the least clear of the flagged ones first */
            float unclear = list[i].score * (1.0f - list[i].score);
            assert_true(unclear <= clear);
            clear = unclear;
        }
        if (i > 0) assert_true(list[i - 1].place <= list[i].place);
    }
    assert_true(disputed > 10);
    assert_int_equal(first, disputed);
}

static int compare_keys(const void *a, const void *b)
{
    const tl_queue_entry *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static void the_same_reviews_come_in_the_same_order(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    tl_queue_entry list[LIST], again[LIST], other[LIST];
    fill(&rng, list, LIST);
    memcpy(again, list, sizeof list);
    memcpy(other, list, sizeof list);
    qsort(again, LIST, sizeof *again, compare_keys);
    tl_queue_order(KEY, list, LIST);
    tl_queue_order(KEY, again, LIST);
    size_t moved = 0;
    const uint8_t another[TL_DRAW_KEY_BYTES] = { 9 };
    tl_queue_order(another, other, LIST);
    for (size_t i = 0; i < LIST; i++) {
        assert_true(list[i].key == again[i].key);
        moved += list[i].key != other[i].key;
    }
    assert_true(moved > LIST / 2); /* without the key nobody can tell it */
}

/* Mean place of the blind ones of a verdict, of all lists, and its standard error. */
typedef struct mean {
    double sum, squares, count;
} mean;

static void note(mean *m, double value)
{
    m->sum += value;
    m->squares += value * value;
    m->count += 1.0;
}

static double mean_of(const mean *m)
{
    return m->sum / m->count;
}

static double error_of(const mean *m)
{
    return sqrt((m->squares / m->count - mean_of(m) * mean_of(m)) / m->count);
}

static void the_place_of_a_blind_one_tells_no_verdict(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    mean passed = { 0 }, flagged = { 0 }, early[2] = { { 0 } };
    static tl_queue_entry list[LIST];
    for (int round = 0; round < LISTS; round++) {
        fill(&rng, list, LIST);
        tl_queue_order(KEY, list, LIST);
        for (size_t i = 0; i < LIST; i++) {
            if (!list[i].blind) continue;
            note(list[i].flagged ? &flagged : &passed, (double)i);
            note(&early[list[i].flagged], i < LIST / 5 ? 1.0 : 0.0);
        }
    }
    assert_true(fabs(mean_of(&passed) - mean_of(&flagged)) <
                3.0 * hypot(error_of(&passed), error_of(&flagged)));
    assert_true(fabs(mean_of(&early[0]) - mean_of(&early[1])) <
                3.0 * hypot(error_of(&early[0]), error_of(&early[1])));
}

static void a_blind_one_says_nothing_of_its_rule(void **state)
{
    (void)state;
    tl_queue_entry audit = { .blind = true, .reason = TL_REVIEW_AUDIT };
    tl_queue_entry flagged = { .blind = true, .flagged = true, .reason = TL_REVIEW_FLAGGED };
    tl_queue_entry disputed = { .blind = true, .disputed = true, .reason = TL_REVIEW_COLD };
    assert_ptr_equal(tl_queue_why(&audit), tl_queue_why(&flagged));
    assert_ptr_equal(tl_queue_words(&audit), tl_queue_words(&flagged));
    assert_ptr_equal(tl_queue_words(&audit), tl_queue_words(&disputed));
    assert_string_equal(tl_queue_why(&disputed), "blind");
}

static void odd_scores_and_short_lists_are_fine(void **state)
{
    (void)state;
    tl_queue_entry list[4] = { { .key = 1, .score = NAN, .flagged = true },
                               { .key = 2, .score = INFINITY, .flagged = true },
                               { .key = 3, .score = NAN, .blind = true },
                               { .key = 4, .score = 0.5f, .flagged = true } };
    tl_queue_order(KEY, list, 0);
    tl_queue_order(KEY, list, 1);
    tl_queue_order(KEY, list, 4);
    size_t seen = 0;
    for (size_t i = 0; i < 4; i++) seen += (size_t)list[i].key;
    assert_int_equal(seen, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_valuable_come_first),
        cmocka_unit_test(the_same_reviews_come_in_the_same_order),
        cmocka_unit_test(the_place_of_a_blind_one_tells_no_verdict),
        cmocka_unit_test(a_blind_one_says_nothing_of_its_rule),
        cmocka_unit_test(odd_scores_and_short_lists_are_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

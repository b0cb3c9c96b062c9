/* The replay memory: keys, draws, eviction, saving; against a plain model. */
#include "learn/slow/replay.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static tl_replay *make(uint32_t capacity, tl_rng *rng)
{
    tl_replay_options options = tl_replay_options_default();
    options.capacity = capacity;
    tl_replay *replay = NULL;
    assert_int_equal(tl_replay_create(&options, &replay, NULL), TL_OK);
    tl_rng_seed(rng, 7, capacity);
    return replay;
}

static void add(tl_replay *replay, uint64_t key, uint32_t label, tl_rng *rng)
{
    assert_int_equal(tl_replay_add(replay, key, label, rng, NULL), TL_OK);
}

/* Shares of draws by label and by key. */
static void balanced_draws_have_the_stated_frequencies(void **state)
{
    (void)state;
    tl_rng rng;
    tl_replay *replay = make(1000, &rng);
    for (uint64_t k = 0; k < 500; k++) add(replay, k, k < 400 ? 0 : k < 490 ? 1 : 4, &rng);
    enum { N = 60000 };
    tl_replay_entry *out = malloc(N * sizeof *out);
    assert_int_equal(tl_replay_sample_mixed(replay, &rng, N, 0.0, out), N);
    double share[5] = { 0 };
    for (size_t i = 0; i < N; i++) share[out[i].label] += 1.0 / N;
    assert_true(fabs(share[0] - 0.25) < 0.01);
    assert_true(fabs(share[1] - 0.375) < 0.01);
    assert_true(fabs(share[4] - 0.375) < 0.01);
    free(out);
    tl_replay_destroy(&replay);
}

static void draws_by_loss_are_proportional_within_bounds(void **state)
{
    (void)state;
    tl_rng rng;
    tl_replay *replay = make(64, &rng);
    for (uint64_t k = 0; k < 40; k++) {
        add(replay, k, (uint32_t)k % 3, &rng);
        assert_true(tl_replay_set_loss(replay, k, 0.5f));
    }
    tl_replay_set_loss(replay, 0, 50.0f); /* capped at 2 */
    tl_replay_set_loss(replay, 1, 0.0f);  /* raised to 0.02 */
    tl_replay_set_loss(replay, 2, 1.0f);
    enum { N = 200000 };
    tl_replay_entry *out = malloc(N * sizeof *out);
    assert_int_equal(tl_replay_sample_mixed(replay, &rng, N, 1.0, out), N);
    double share[40] = { 0 }, sum = 37 * 0.5 + 2 + 0.02 + 1;
    for (size_t i = 0; i < N; i++) share[out[i].key] += 1.0 / N;
    assert_true(fabs(share[0] - 2 / sum) < 0.003);
    assert_true(fabs(share[1] - 0.02 / sum) < 0.0005);
    assert_true(fabs(share[2] - 1 / sum) < 0.003);
    assert_true(fabs(share[39] - 0.5 / sum) < 0.002);
    /* Half by loss: the second half of the draws. */
    assert_int_equal(tl_replay_sample(replay, &rng, N, out), N);
    size_t first = 0, second = 0;
    for (size_t i = 0; i < N; i++) *(i < N / 2 ? &first : &second) += out[i].key == 0;
    assert_true(fabs((double)second / (N / 2) - 2 / sum) < 0.003);
    assert_true(fabs((double)first / (N / 2) - 0.25 / 14) < 0.003); /* 14 of class 0 */
    free(out);
    tl_replay_destroy(&replay);
}

static void suspect_entries_are_drawn_less(void **state)
{
    (void)state;
    tl_replay_options options = tl_replay_options_default();
    options.suspect_loss = 4;
    options.suspect_count = 3;
    options.by_loss_min = 1;
    tl_replay *replay = NULL;
    assert_int_equal(tl_replay_create(&options, &replay, NULL), TL_OK);
    tl_rng rng;
    tl_rng_seed(&rng, 1, 1);
    add(replay, 1, 0, &rng);
    add(replay, 2, 0, &rng);
    tl_replay_entry out[2000];
    for (int turn = 1; turn <= 4; turn++) {
        tl_replay_set_loss(replay, 1, turn < 4 ? 9.0f : 3.0f); /* the last one clears it */
        tl_replay_set_loss(replay, 2, 1.0f);
        tl_replay_sample_mixed(replay, &rng, 2000, 1.0, out);
        size_t hits = 0;
        for (size_t i = 0; i < 2000; i++) hits += out[i].key == 1;
        if (turn == 3)
            assert_true(hits < 100);
        else
            assert_true(hits > 1200 && hits < 1460); /* 2 of 3 */
    }
    tl_replay_destroy(&replay);
}

/* Random changes against arrays searched from end to end. */
static void it_agrees_with_a_plain_model(void **state)
{
    (void)state;
    enum { KEYS = 300, TURNS = 20000 };
    tl_rng rng;
    tl_replay *replay = make(128, &rng);
    int label[KEYS];
    bool excluded[KEYS] = { false };
    size_t count = 0;
    for (size_t k = 0; k < KEYS; k++) label[k] = -1;
    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t key = tl_rng_below(&rng, KEYS);
        uint32_t to = (uint32_t)tl_rng_below(&rng, 5);
        bool there = label[key] >= 0, on = tl_rng_below(&rng, 2) == 1;
        switch (tl_rng_below(&rng, 5)) {
        case 0:
            if (count == 128) break;
            assert_int_equal(tl_replay_add(replay, key, to, &rng, NULL),
                             there ? TL_ECONFLICT : TL_OK);
            if (!there) {
                label[key] = (int)to;
                excluded[key] = false;
                count++;
            }
            break;
        case 1:
            assert_int_equal(tl_replay_remove(replay, key), there);
            if (there) count--;
            label[key] = -1;
            break;
        case 2:
            assert_int_equal(tl_replay_relabel(replay, key, to), there);
            if (there) label[key] = (int)to;
            break;
        case 3:
            assert_int_equal(tl_replay_exclude(replay, key, on), there);
            if (there) excluded[key] = on;
            break;
        default: assert_int_equal(tl_replay_set_loss(replay, key, (float)to), there); break;
        }
        assert_int_equal(tl_replay_count(replay), count);
    }
    size_t classes[5] = { 0 };
    for (size_t k = 0; k < KEYS; k++) {
        const tl_replay_entry *entry = tl_replay_find(replay, k);
        assert_int_equal(entry != NULL, label[k] >= 0);
        if (entry == NULL) continue;
        assert_int_equal(entry->label, label[k]);
        assert_int_equal(entry->excluded, excluded[k]);
        if (!excluded[k]) classes[label[k]]++;
    }
    for (uint32_t c = 0; c < 5; c++) assert_int_equal(tl_replay_class_count(replay, c), classes[c]);
    tl_replay_entry out[5000];
    assert_int_equal(tl_replay_sample(replay, &rng, 5000, out), 5000);
    for (size_t i = 0; i < 5000; i++) {
        assert_false(excluded[out[i].key]);
        assert_int_equal(label[out[i].key], out[i].label);
    }
    tl_replay_destroy(&replay);
}

static void a_full_memory_keeps_rare_classes(void **state)
{
    (void)state;
    tl_rng rng;
    tl_replay *replay = make(100, &rng);
    for (uint64_t k = 0; k < 5000; k++) add(replay, k, k % 200 == 0 ? 3 : k % 10 == 0, &rng);
    assert_int_equal(tl_replay_count(replay), 100);
    assert_int_equal(tl_replay_class_count(replay, 3), 25); /* all of them */
    assert_true(tl_replay_class_count(replay, 0) <= 38);
    assert_true(tl_replay_class_count(replay, 1) >= 37);
    tl_replay_destroy(&replay);
}

static void a_saved_memory_goes_on_with_the_same_bits(void **state)
{
    (void)state;
    tl_rng rng;
    tl_replay *one = make(60, &rng), *two = NULL;
    for (uint64_t k = 0; k < 200; k++) {
        add(one, k * 977, (uint32_t)k % 4, &rng);
        tl_replay_set_loss(one, k * 977, (float)(k % 7));
        tl_replay_set_note(one, k * 977, (uint8_t)k);
        if (k % 9 == 0) tl_replay_exclude(one, k * 977, true);
        if (k % 11 == 0) tl_replay_remove(one, k * 977);
    }
    tl_blob blob;
    tl_blob_init(&blob);
    assert_int_equal(tl_replay_save(one, &blob, NULL), TL_OK);
    tl_replay_options options = tl_replay_options_default();
    options.capacity = 60;
    tl_blob_reader reader;
    for (size_t i = 0; i < blob.bytes; i += 11) {
        tl_blob_reader_init(&reader, blob.data, i);
        assert_int_equal(tl_replay_load(&reader, &options, &two, NULL), TL_ECORRUPT);
    }
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_replay_load(&reader, &options, &two, NULL), TL_OK);
    tl_rng again = rng;
    for (uint64_t k = 1; k < 200; k++) {
        tl_replay_entry a[9], b[9];
        size_t drawn = tl_replay_sample(one, &rng, 9, a);
        assert_int_equal(tl_replay_sample(two, &again, 9, b), drawn);
        for (size_t i = 0; i < drawn; i++) {
            assert_int_equal(a[i].key, b[i].key);
            assert_int_equal(a[i].note, b[i].note);
        }
        add(one, k * 1000003, (uint32_t)k % 5, &rng);
        add(two, k * 1000003, (uint32_t)k % 5, &again);
        tl_replay_remove(one, a[0].key);
        tl_replay_remove(two, b[0].key);
    }
    options.capacity = 10;
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    tl_replay *small = NULL;
    assert_int_equal(tl_replay_load(&reader, &options, &small, NULL), TL_ECORRUPT);
    tl_blob_destroy(&blob);
    tl_replay_destroy(&one);
    tl_replay_destroy(&two);
}

static void nothing_to_draw(void **state)
{
    (void)state;
    tl_rng rng;
    tl_replay *replay = make(2, &rng);
    tl_replay_entry out[3];
    assert_int_equal(tl_replay_sample(replay, &rng, 3, out), 0);
    add(replay, 5, 2, &rng); /* only a class other than 0 */
    assert_int_equal(tl_replay_sample(replay, &rng, 3, out), 3);
    assert_int_equal(out[2].key, 5);
    tl_replay_exclude(replay, 5, true);
    assert_int_equal(tl_replay_sample(replay, &rng, 3, out), 0);
    add(replay, 6, 0, &rng);
    tl_replay_exclude(replay, 6, true);
    add(replay, 7, 0, &rng); /* full of excluded ones: one goes */
    assert_int_equal(tl_replay_count(replay), 2);
    assert_int_equal(tl_replay_add(replay, 8, TL_CLASS_COUNT_MAX, &rng, NULL), TL_EINVAL);
    tl_replay_destroy(&replay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(balanced_draws_have_the_stated_frequencies),
        cmocka_unit_test(draws_by_loss_are_proportional_within_bounds),
        cmocka_unit_test(suspect_entries_are_drawn_less),
        cmocka_unit_test(it_agrees_with_a_plain_model),
        cmocka_unit_test(a_full_memory_keeps_rare_classes),
        cmocka_unit_test(a_saved_memory_goes_on_with_the_same_bits),
        cmocka_unit_test(nothing_to_draw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The threshold rule, its window, and the counts behind precision and recall. */
#include "learn/fast/threshold.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static tl_threshold *make(uint32_t window, double precision, double recall)
{
    tl_threshold_options options = tl_threshold_options_default();
    options.window = window;
    options.target_precision = precision;
    options.recall_min = recall;
    options.labels_min = 10;
    options.defects_min = 2;
    options.early = 0.75f;
    options.high = 0.9999f;
    tl_threshold *threshold = NULL;
    assert_int_equal(tl_threshold_create(&options, &threshold, NULL), TL_OK);
    return threshold;
}

static void learn(tl_threshold *threshold, uint64_t key, double score, bool defect)
{
    tl_threshold_entry entry = { .key = key,
                                 .score = (float)score,
                                 .defect = defect,
                                 .flagged = score >= 0.5,
                                 .correct = defect == (score >= 0.5) };
    tl_threshold_learn(threshold, &entry);
}

static void too_few_labels_give_the_early_value(void **state)
{
    (void)state;
    tl_threshold *threshold = make(100, 0.7, 0);
    assert_float_equal(tl_threshold_value(threshold), 0.75f, 0);
    for (uint64_t i = 0; i < 9; i++) learn(threshold, i, 0.9, false);
    assert_float_equal(tl_threshold_value(threshold), 0.75f, 0);
    for (uint64_t i = 10; i < 13; i++) learn(threshold, i, 0.95, true);
    assert_true(tl_threshold_value(threshold) > 0.9f && tl_threshold_value(threshold) <= 0.95f);
    tl_threshold_destroy(&threshold);
}

/* The rule by trying every threshold. */
static float by_trial(const float *scores, const bool *defects, size_t count, double precision,
                      double recall)
{
    float lowest = 2.0f, highest = 0.0f;
    size_t all = 0;
    for (size_t i = 0; i < count; i++) all += defects[i];
    for (size_t t = 0; t <= count; t++) {
        float above = t < count ? nextafterf(scores[t], 2.0f) : 0.0f;
        size_t flagged = 0, hits = 0, found = 0;
        for (size_t i = 0; i < count; i++) {
            flagged += scores[i] >= above;
            hits += scores[i] >= above && defects[i];
            found += t < count && scores[i] >= scores[t] && defects[i];
        }
        if ((double)hits >= precision * (double)(flagged + 1) && flagged > 0 && above < lowest)
            lowest = above;
        if (t < count && (double)found >= recall * (double)all && scores[t] > highest)
            highest = scores[t];
    }
    float value = lowest < highest ? lowest : highest;
    return value < 0.5f ? 0.5f : value > 0.9999f ? 0.9999f : value;
}

static void it_is_the_rule_that_is_documented(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    for (int round = 0; round < 200; round++) {
        enum { N = 60 };
        float scores[N];
        bool defects[N];
        double precision = 0.7 + 0.3 * tl_rng_unit(&rng), recall = tl_rng_unit(&rng);
        tl_threshold *threshold = make(N, precision, recall);
        for (size_t i = 0; i < N; i++) {
            defects[i] = tl_rng_unit(&rng) < 0.5 || i < 2;
            double score = 0.5 + 0.3 * tl_rng_normal(&rng) + (defects[i] ? 0.2 : -0.2);
            score = floor(score * 50) / 50; /* ties */
            scores[i] = (float)(score < 0 ? 0 : score > 1 ? 1 : score);
            learn(threshold, i, (double)scores[i], defects[i]);
        }
        assert_float_equal(tl_threshold_value(threshold),
                           by_trial(scores, defects, N, precision, recall), 0);
        tl_threshold_destroy(&threshold);
    }
}

static void the_window_moves_and_forgets(void **state)
{
    (void)state;
    tl_threshold *threshold = make(20, 0.94, 0);
    for (uint64_t i = 0; i < 30; i++) learn(threshold, i, i < 10 ? 0.97 : 0.6, i >= 10);
    assert_float_equal(tl_threshold_value(threshold), 0.5f, 0); /* the false alarms are gone */
    learn(threshold, 30, 0.8, false);
    assert_true(tl_threshold_value(threshold) > 0.5f);
    tl_threshold_forget(threshold, 30);
    assert_float_equal(tl_threshold_value(threshold), 0.5f, 0);
    tl_window_counts counts;
    tl_threshold_counts(threshold, &counts);
    assert_int_equal(counts.items, 19);
    assert_int_equal(counts.defects, 19);
    assert_int_equal(counts.flagged_defects, 19);
    learn(threshold, 31, 0.9, false);
    tl_threshold_counts(threshold, &counts);
    assert_int_equal(counts.items, 20);
    assert_int_equal(counts.flagged, 20);
    assert_int_equal(counts.flagged_defects, 19);
    assert_int_equal(counts.correct, 19);
    tl_threshold_destroy(&threshold);
}

/* It is kept in order from label to label: as if all of the window were new each time. */
static void it_moves_as_if_made_anew(void **state)
{
    (void)state;
    enum { WINDOW = 30, LABELS = 300 };
    tl_threshold *moved = make(WINDOW, 0.8, 0.6);
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    double score[LABELS];
    bool defect[LABELS], gone[LABELS] = { false };
    uint64_t begin = 0;
    for (uint64_t i = 0, live = 0; i < LABELS; i++) {
        defect[i] = tl_rng_unit(&rng) < 0.4;
        score[i] = floor(20 * (0.5 * tl_rng_unit(&rng) + (defect[i] ? 0.5 : 0.3))) / 20; /* ties */
        learn(moved, i, score[i], defect[i]);
        for (live++; live > WINDOW; begin++) live -= !gone[begin];
        if (i % 7 == 3 && !gone[i - 2]) {
            tl_threshold_forget(moved, i - 2);
            gone[i - 2] = true;
            live--;
        }
        tl_threshold *anew = make(WINDOW, 0.8, 0.6);
        for (uint64_t k = begin; k <= i; k++)
            if (!gone[k]) learn(anew, k, score[k], defect[k]);
        assert_float_equal(tl_threshold_value(moved), tl_threshold_value(anew), 0);
        tl_window_counts a, b;
        tl_threshold_counts(moved, &a);
        tl_threshold_counts(anew, &b);
        assert_memory_equal(&a, &b, sizeof a);
        tl_threshold_destroy(&anew);
    }
    tl_threshold_destroy(&moved);
}

static void it_is_bounded_on_both_sides(void **state)
{
    (void)state;
    tl_threshold *threshold = make(50, 1.0, 0.9);
    for (uint64_t i = 0; i < 40; i++) learn(threshold, i, i % 2 ? 0.9 : 1.0, i % 2);
    /* No threshold is precise; 90 % recall needs 0.9. */
    assert_float_equal(tl_threshold_value(threshold), 0.9f, 0);
    tl_threshold_destroy(&threshold);
    threshold = make(50, 1.0, 0.0);
    for (uint64_t i = 0; i < 40; i++) learn(threshold, i, 1.0, i % 2);
    assert_true(tl_threshold_value(threshold) <= 0.9999f);
    tl_threshold_destroy(&threshold);
}

static void it_survives_saving(void **state)
{
    (void)state;
    tl_threshold *threshold = make(25, 0.9, 0.5), *loaded = NULL;
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    for (uint64_t i = 0; i < 40; i++) learn(threshold, i, tl_rng_unit(&rng), tl_rng_below(&rng, 2));
    tl_blob blob, again;
    tl_blob_init(&blob);
    tl_blob_init(&again);
    assert_int_equal(tl_threshold_save(threshold, &blob, NULL), TL_OK);
    tl_blob_reader reader;
    for (size_t i = 0; i < blob.bytes; i += 5) {
        tl_blob_reader_init(&reader, blob.data, i);
        assert_int_equal(tl_threshold_load(&reader, &loaded, NULL), TL_ECORRUPT);
    }
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_threshold_load(&reader, &loaded, NULL), TL_OK);
    assert_float_equal(tl_threshold_value(threshold), tl_threshold_value(loaded), 0);
    learn(threshold, 99, 0.4, true);
    learn(loaded, 99, 0.4, true);
    assert_int_equal(tl_threshold_save(loaded, &again, NULL), TL_OK);
    tl_blob_destroy(&blob);
    tl_blob_init(&blob);
    assert_int_equal(tl_threshold_save(threshold, &blob, NULL), TL_OK);
    assert_int_equal(blob.bytes, again.bytes);
    assert_memory_equal(blob.data, again.data, blob.bytes);
    tl_blob_destroy(&blob);
    tl_blob_destroy(&again);
    tl_threshold_destroy(&threshold);
    tl_threshold_destroy(&loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_few_labels_give_the_early_value),
        cmocka_unit_test(it_is_the_rule_that_is_documented),
        cmocka_unit_test(the_window_moves_and_forgets),
        cmocka_unit_test(it_moves_as_if_made_anew),
        cmocka_unit_test(it_is_bounded_on_both_sides),
        cmocka_unit_test(it_survives_saving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Suspicious labels: found where they are planted, left alone where they are not. */
#include "review/labels/suspects.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { CLASSES = 3 };

/* A model that is right mostly, and always less sure of the last class. */
static void predict(tl_rng *rng, uint32_t truth, float out[CLASSES])
{
    static const double bias[CLASSES] = { 1.0, 0.0, -1.0 };
    double sum = 0.0, e[CLASSES];
    for (uint32_t k = 0; k < CLASSES; k++) {
        e[k] = exp(bias[k] + 3.0 * (k == truth) + 0.8 * tl_rng_normal(rng));
        sum += e[k];
    }
    for (uint32_t k = 0; k < CLASSES; k++) out[k] = (float)(e[k] / sum);
}

typedef struct tally {
    int wrong, wrong_found, right, right_accused, named;
} tally;

static tally run(tl_suspects *suspects, tl_rng *rng, int count, double noise)
{
    tally t = { 0 };
    for (int i = 0; i < count; i++) {
        uint32_t truth = (uint32_t)tl_rng_below(rng, CLASSES), label = truth;
        if (tl_rng_unit(rng) < noise) label = (truth + 1) % CLASSES;
        float p[CLASSES];
        predict(rng, truth, p);
        tl_suspicion s = tl_suspects_see(suspects, p, label);
        if (label == truth) {
            t.right++;
            t.right_accused += s.suspicious;
            continue;
        }
        t.wrong++;
        t.wrong_found += s.suspicious;
        t.named += s.suspicious && s.likely == truth && s.lead > 0;
    }
    return t;
}

static void planted_errors_are_found(void **state)
{
    (void)state;
    tl_suspects suspects;
    tl_suspects_init(&suspects, CLASSES);
    tl_rng rng;
    tl_rng_seed(&rng, 41, 0);
    run(&suspects, &rng, 500, 0.1);
    tally t = run(&suspects, &rng, 20000, 0.1);
    assert_true(t.wrong_found > 0.55 * t.wrong);
    assert_true(t.right_accused < 0.03 * t.right);
    assert_true(t.named > 0.95 * t.wrong_found);
    /* So most of what is asked again is wrong, where one in ten was. */
    assert_true(t.wrong_found > 2 * t.right_accused);
    assert_true(suspects.suspicious > 0 && suspects.seen == 20500);
}

static void few_labels_accuse_nobody(void **state)
{
    (void)state;
    tl_suspects suspects;
    tl_suspects_init(&suspects, CLASSES);
    const float sure[CLASSES] = { 0.98f, 0.01f, 0.01f };
    for (int i = 0; i < TL_SUSPECTS_LABELS_MIN; i++)
        assert_false(tl_suspects_see(&suspects, sure, 1).suspicious);
    assert_false(tl_suspects_see(&suspects, sure, 1).suspicious); /* class 0 has no labels yet */
    for (int i = 0; i < TL_SUSPECTS_LABELS_MIN; i++)
        assert_false(tl_suspects_see(&suspects, sure, 0).suspicious);
    tl_suspicion s = tl_suspects_see(&suspects, sure, 1);
    assert_true(s.suspicious && s.likely == 0 && fabs(s.lead - 0.97) < 1e-6);
    const float senseless[CLASSES] = { NAN, NAN, NAN };
    assert_false(tl_suspects_see(&suspects, senseless, 1).suspicious);
    assert_true(suspects.mean[1] > 0.0);
}

static void words_and_saving(void **state)
{
    (void)state;
    tl_suspects suspects, copy;
    tl_suspects_init(&suspects, CLASSES);
    tl_rng rng;
    tl_rng_seed(&rng, 42, 0);
    run(&suspects, &rng, 480, 0.1);
    for (int i = 0; i < 10; i++) tl_suspects_answer(&suspects, i < 8);
    char words[TL_SUSPECTS_WORDS_BYTES];
    tl_suspects_words(&suspects, words);
    assert_non_null(strstr(words, "of 480 labels looked wrong; of 10 asked again 8 were changed "
                                  "[49-94 %]"));
    tl_blob blob;
    tl_blob_init(&blob);
    tl_suspects_save(&suspects, &blob);
    tl_blob_reader reader;
    for (size_t cut = 0; cut < blob.bytes; cut++) {
        tl_blob_reader_init(&reader, blob.data, cut);
        assert_int_not_equal(tl_suspects_load(&reader, &copy, NULL), TL_OK);
    }
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_suspects_load(&reader, &copy, NULL), TL_OK);
    assert_memory_equal(&suspects, &copy, sizeof copy);
    tl_blob_destroy(&blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planted_errors_are_found),
        cmocka_unit_test(few_labels_accuse_nobody),
        cmocka_unit_test(words_and_saving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

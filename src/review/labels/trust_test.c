/* Trust in sources: lost by whoever speaks against all others, and by nobody else. */
#include "review/labels/trust.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { PEOPLE = 11, LIAR = 7, SITE = 3 };

/* Labels of people who take turns, at random; how often each contradicts. Returns after how many the
 * turn came, or 0. */
static unsigned run(tl_trust *trust, tl_rng *rng, unsigned labels, const double contradicts[PEOPLE],
                    tl_trust_turn turn)
{
    for (unsigned i = 1; i <= labels; i++) {
        uint64_t who = tl_rng_below(rng, PEOPLE);
        bool does = tl_rng_unit(rng) < contradicts[who];
        if (tl_trust_see(trust, SITE, 1 + who, does) == turn) return i;
    }
    return 0;
}

static void whoever_lies_loses_trust_and_gets_it_back(void **state)
{
    (void)state;
    static tl_trust trust;
    tl_rng rng;
    double contradicts[PEOPLE];
    for (int i = 0; i < PEOPLE; i++) contradicts[i] = i == LIAR ? 0.93 : 0.07;
    tl_trust_init(&trust);
    tl_rng_seed(&rng, 5, 0);
    unsigned after = run(&trust, &rng, 2000, contradicts, TL_TRUST_LOST);
    assert_in_range(after, 100, 400);
    for (uint64_t i = 0; i < PEOPLE; i++) assert_int_equal(tl_trust_has(&trust, 1 + i), i != LIAR);
    tl_trust_reading reading;
    assert_true(tl_trust_read(&trust, 1 + LIAR, &reading));
    assert_true(reading.contradicted * 10 > reading.labels * 8);
    assert_true(reading.others > 0.02 && reading.others < 0.15);

    assert_int_equal(run(&trust, &rng, 2000, contradicts, TL_TRUST_REGAINED), 0);
    contradicts[LIAR] = 0.07;
    assert_in_range(run(&trust, &rng, 2000, contradicts, TL_TRUST_REGAINED), 100, 500);
    assert_true(tl_trust_has(&trust, 1 + LIAR));
}

static void fewest_contradictions(void **state)
{
    (void)state;
    static tl_trust trust;
    tl_trust_init(&trust);
    for (int i = 0; i < 200; i++) tl_trust_see(&trust, SITE, 1 + (uint64_t)i % 5, false);
    unsigned count = 1;
    while (tl_trust_see(&trust, SITE, 99, true) == TL_TRUST_STAYS) count++;
    assert_int_equal(count, 13);
}

/* A change that makes the model wrong for everybody is nobody's fault; nor is being alone. */
static void a_bad_model_is_nobodys_fault(void **state)
{
    (void)state;
    static tl_trust trust;
    tl_rng rng;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        double contradicts[PEOPLE];
        tl_trust_init(&trust);
        tl_rng_seed(&rng, seed, 1);
        for (int i = 0; i < PEOPLE; i++) contradicts[i] = 0.03;
        lost += run(&trust, &rng, 500, contradicts, TL_TRUST_LOST) > 0;
        for (int i = 0; i < PEOPLE; i++) contradicts[i] = 0.7;
        lost += run(&trust, &rng, 500, contradicts, TL_TRUST_LOST) > 0;
        for (int i = 0; i < 100; i++)
            lost += tl_trust_see(&trust, SITE + 1, 50, true) != TL_TRUST_STAYS;
    }
    assert_int_equal(lost, 0);
}

/* The run length at the edge of what is promised. */
static void mistakes_are_as_rare_as_promised(void **state)
{
    (void)state;
    static tl_trust trust;
    tl_rng rng;
    tl_rng_seed(&rng, 9, 2);
    tl_trust_init(&trust);
    for (int i = 0; i < 100; i++) tl_trust_see(&trust, SITE, 1 + (uint64_t)i % 3, false);
    enum { LABELS = 400000 };
    unsigned lost = 0;
    for (int i = 0; i < LABELS; i++) {
        tl_trust_see(&trust, SITE, 1 + (uint64_t)i % 3, false);
        if (tl_trust_see(&trust, SITE, 77, tl_rng_unit(&rng) < 0.4) != TL_TRUST_LOST) continue;
        lost++;
        trust.source[3].lost = false; /* the same again */
    }
    assert_in_range(lost, 1, LABELS / 10000);
}

static void what_is_saved_goes_on(void **state)
{
    (void)state;
    static tl_trust trust, loaded;
    tl_rng rng;
    double contradicts[PEOPLE] = { 0.1, 0.2, 0.9, 0.1 };
    tl_trust_init(&trust);
    tl_rng_seed(&rng, 6, 0);
    run(&trust, &rng, 150, contradicts, TL_TRUST_REGAINED);
    tl_blob blob;
    tl_blob_reader reader;
    tl_blob_init(&blob);
    tl_trust_save(&trust, &blob);
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    tl_trust_init(&loaded);
    assert_int_equal(tl_trust_load(&loaded, &reader, NULL), TL_OK);
    tl_rng other = rng;
    run(&trust, &rng, 300, contradicts, TL_TRUST_REGAINED);
    run(&loaded, &other, 300, contradicts, TL_TRUST_REGAINED);
    tl_blob again[2];
    for (int i = 0; i < 2; i++) tl_blob_init(&again[i]);
    tl_trust_save(&trust, &again[0]);
    tl_trust_save(&loaded, &again[1]);
    assert_int_equal(again[0].bytes, again[1].bytes);
    assert_memory_equal(again[0].data, again[1].data, again[0].bytes);

    for (size_t bytes = 0; bytes < blob.bytes; bytes += 7) {
        tl_blob_reader_init(&reader, blob.data, bytes);
        tl_trust_init(&loaded);
        assert_int_not_equal(tl_trust_load(&loaded, &reader, NULL), TL_OK);
    }
    tl_blob_destroy(&blob);
    for (int i = 0; i < 2; i++) tl_blob_destroy(&again[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_lies_loses_trust_and_gets_it_back),
        cmocka_unit_test(fewest_contradictions),
        cmocka_unit_test(a_bad_model_is_nobodys_fault),
        cmocka_unit_test(mistakes_are_as_rare_as_promised),
        cmocka_unit_test(what_is_saved_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

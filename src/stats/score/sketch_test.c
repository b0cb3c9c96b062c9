/* The novelty sketch: new things stand out, sketches add up, counts stay in bounds, saving. */
#include "stats/score/sketch.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { D = 100 };

static void close_to(double value, double wanted, double tolerance)
{
    if (!(fabs(value - wanted) <= tolerance)) fail_msg("got %.12g, want %.12g", value, wanted);
}

static tl_sketch *make(uint64_t seed)
{
    tl_sketch *s = NULL;
    assert_int_equal(tl_sketch_create(D, seed, NULL, &s, NULL), TL_OK);
    return s;
}

/* A direction of its own for each kind, some noise around it. */
static void embed(tl_rng *rng, unsigned kind, double noise, float *x)
{
    tl_rng own;
    tl_rng_seed(&own, 77, kind);
    for (int i = 0; i < D; i++)
        x[i] = (float)(3 * (tl_rng_normal(&own) + noise * tl_rng_normal(rng)));
}

static void what_is_new_stands_out(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    tl_sketch *s = make(1);
    float x[D];
    embed(&rng, 0, 0.3, x);
    close_to(tl_sketch_score(s, x), 0, 1e-12);
    for (unsigned i = 0; i < 3000; i++) {
        embed(&rng, i % 5, 0.3, x);
        tl_sketch_add(s, x);
    }
    close_to(tl_sketch_seen(s), 3000, 1e-9);
    double known = 0, rare = INFINITY;
    for (unsigned i = 0; i < 200; i++) {
        embed(&rng, i % 5, 0.3, x);
        known = fmax(known, tl_sketch_score(s, x));
        embed(&rng, 5 + i, 0.3, x);
        rare = fmin(rare, tl_sketch_score(s, x));
    }
    if (!(rare > known + 0.5)) fail_msg("known at most %.2f, new at least %.2f", known, rare);
    assert_true(rare <= log(3001));
    double before = rare, after = 0;
    embed(&rng, 999, 0, x); /* seen often, it is new no more */
    before = tl_sketch_score(s, x);
    for (int i = 0; i < 300; i++) after = tl_sketch_add(s, x);
    assert_true(after < before - 2);
    tl_sketch_destroy(&s);
    tl_sketch_destroy(&s);
}

/* Two vectors at an angle meet in a row with probability (1 - angle / pi)^12. */
static void meeting_depends_on_the_angle(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    for (double angle = 0.1; angle < 1.0; angle += 0.2) {
        double met = 0;
        enum { RUNS = 40 };
        for (uint64_t run = 0; run < RUNS; run++) {
            tl_sketch *s = make(100 + run);
            float a[D], b[D];
            double aa = 0, ab = 0, bb = 0;
            for (int i = 0; i < D; i++) {
                a[i] = (float)tl_rng_normal(&rng);
                b[i] = (float)tl_rng_normal(&rng);
                aa += (double)(a[i] * a[i]);
                ab += (double)(a[i] * b[i]);
            }
            for (int i = 0; i < D; i++) {
                b[i] -= (float)(ab / aa) * a[i];
                bb += (double)(b[i] * b[i]);
            }
            for (int i = 0; i < D; i++)
                b[i] = (float)(cos(angle) * (double)a[i] / sqrt(aa) +
                               sin(angle) * (double)b[i] / sqrt(bb));
            tl_sketch_add(s, a);
            met += 2 / exp(tl_sketch_score(s, b)) - 1; /* the mean count */
            tl_sketch_destroy(&s);
        }
        double wanted = pow(1 - angle / 3.14159265358979, 12);
        close_to(met / RUNS, wanted, 0.01 + 4 * sqrt(wanted / (64 * RUNS)));
    }
}

static void only_the_direction_counts(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    float centre[D], x[D], far[D];
    for (int i = 0; i < D; i++) centre[i] = 5.0f;
    tl_sketch *s = NULL;
    assert_int_equal(tl_sketch_create(D, 4, centre, &s, NULL), TL_OK);
    for (int k = 0; k < 50; k++) {
        embed(&rng, 1, 0.2, x);
        for (int i = 0; i < D; i++) x[i] += centre[i];
        tl_sketch_add(s, x);
    }
    for (int i = 0; i < D; i++) far[i] = centre[i] + 1e30f * (x[i] - centre[i]);
    close_to(tl_sketch_score(s, far), tl_sketch_score(s, x), 0.2);
    for (int i = 0; i < D; i++) far[i] = i % 2 ? NAN : INFINITY;
    assert_true(isfinite(tl_sketch_add(s, far)));
    tl_sketch_destroy(&s);
}

static void sketches_add_up(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    tl_sketch *parts[2] = { make(5), make(5) }, *whole = make(5), *other = make(6);
    float x[D];
    for (unsigned i = 0; i < 1000; i++) {
        embed(&rng, i % 3, 0.3, x);
        tl_sketch_add(parts[i % 2], x);
        tl_sketch_add(whole, x);
    }
    assert_int_equal(tl_sketch_merge(parts[0], parts[1], NULL), TL_OK);
    close_to(tl_sketch_score(parts[0], x), tl_sketch_score(whole, x), 0);
    assert_int_equal(tl_sketch_merge(whole, other, NULL), TL_ECONFLICT);
    double seen = tl_sketch_seen(whole);
    tl_sketch_halve(whole);
    assert_true(tl_sketch_seen(whole) > 0.2 * seen && tl_sketch_seen(whole) <= 0.5 * seen);
    tl_sketch_destroy(&parts[0]);
    tl_sketch_destroy(&parts[1]);
    tl_sketch_destroy(&whole);
    tl_sketch_destroy(&other);
}

static void full_cells_halve(void **state)
{
    (void)state;
    tl_sketch *s = make(7), *t = make(7);
    float x[D] = { 1.0f };
    for (int i = 0; i < 65535; i++) tl_sketch_add(s, x);
    close_to(tl_sketch_seen(s), 65535, 1e-9);
    tl_sketch_add(t, x);
    assert_int_equal(tl_sketch_merge(t, s, NULL), TL_OK);
    close_to(tl_sketch_seen(t), 32768, 1e-9);
    close_to(tl_sketch_add(s, x), 0, 1e-9);
    close_to(tl_sketch_seen(s), 32768, 1e-9);
    tl_sketch_destroy(&s);
    tl_sketch_destroy(&t);
}

static void states_come_back(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    tl_sketch *s = make(8), *back = NULL;
    float x[D];
    for (unsigned i = 0; i < 300; i++) {
        embed(&rng, i % 3, 0.3, x);
        tl_sketch_add(s, x);
    }
    tl_blob blob;
    tl_blob_init(&blob);
    tl_sketch_save(s, &blob);
    tl_blob_reader reader;
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_sketch_load(&reader, &back, NULL), TL_OK);
    close_to(tl_sketch_add(back, x), tl_sketch_add(s, x), 0);
    close_to(tl_sketch_seen(back), 301, 1e-9);
    tl_sketch_destroy(&back);
    blob.bytes = 0; /* a section that is whole but not a sketch */
    size_t section = tl_blob_section_begin(&blob, "SKET", 1);
    tl_blob_u32(&blob, D);
    tl_blob_u64(&blob, 8);
    tl_blob_section_end(&blob, section);
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_sketch_load(&reader, &back, NULL), TL_ECORRUPT);
    assert_null(back);
    tl_blob_destroy(&blob);
    tl_sketch_destroy(&s);
    assert_int_equal(tl_sketch_create(0, 1, NULL, &s, NULL), TL_EINVAL);
    assert_int_equal(tl_sketch_create(TL_SKETCH_DIMENSION_MAX + 1, 1, NULL, &s, NULL), TL_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_new_stands_out),    cmocka_unit_test(meeting_depends_on_the_angle),
        cmocka_unit_test(only_the_direction_counts), cmocka_unit_test(sketches_add_up),
        cmocka_unit_test(full_cells_halve),          cmocka_unit_test(states_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

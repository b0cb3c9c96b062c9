/* Conversion, symmetries and registration of images. */
#include "learn/pixels.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 24 };

static void noise(tl_rng *rng, uint8_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++) out[i] = (uint8_t)tl_rng_below(rng, 256);
}

static void values_are_scaled_as_documented(void **state)
{
    (void)state;
    const tl_pixels_form form = { .height = 1, .width = 2, .channels = 3, .has_template = true };
    const uint8_t image[6] = { 0, 255, 51, 0, 0, 0 }, reference[6] = { 0, 0, 102, 255, 0, 0 };
    float out[18];
    assert_int_equal(tl_pixels_item_bytes(&form), 12);
    assert_int_equal(tl_pixels_input_channels(&form), 9);
    assert_int_equal(tl_pixels_input_count(&form), 18);
    tl_pixels_convert(&form, image, reference, 0, out);
    const float wanted[18] = { -1, 1,  -0.6f, -1, -1, -0.2f, 0, 1, 0.2f,
                               -1, -1, -1,    1,  -1, -1,    1, 0, 0 };
    for (size_t i = 0; i < 18; i++) assert_float_equal(out[i], wanted[i], 1e-6);
}

/* 1 mirrors left and right, 2 top and bottom, 4 swaps rows and columns first. */
static void transforms_are_the_symmetries_of_the_square(void **state)
{
    (void)state;
    const tl_pixels_form form = { .height = 2, .width = 2, .channels = 1 };
    assert_int_equal(tl_pixels_transform_count(&form), 8);
    const uint8_t image[4] = { 0, 51, 102, 153 }; /* 0 1 / 2 3 */
    static const uint8_t wanted[8][4] = { { 0, 1, 2, 3 }, { 1, 0, 3, 2 }, { 2, 3, 0, 1 },
                                          { 3, 2, 1, 0 }, { 0, 2, 1, 3 }, { 2, 0, 3, 1 },
                                          { 1, 3, 0, 2 }, { 3, 1, 2, 0 } };
    for (uint32_t t = 0; t < 8; t++) {
        float out[4];
        tl_pixels_convert(&form, image, NULL, t, out);
        for (size_t i = 0; i < 4; i++)
            assert_float_equal((out[i] + 1.0f) * 2.5f, wanted[t][i], 1e-5);
    }
    const tl_pixels_form wide = { .height = 2, .width = 3, .channels = 1 };
    assert_int_equal(tl_pixels_transform_count(&wide), 4);
    const uint8_t six[6] = { 0, 51, 102, 153, 204, 255 };
    float out[6];
    tl_pixels_convert(&wide, six, NULL, 3, out);
    for (size_t i = 0; i < 6; i++) assert_float_equal((out[i] + 1.0f) * 2.5f, (float)(5 - i), 1e-5);
}

static void a_moved_template_is_found(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    for (uint32_t channels = 1; channels <= 3; channels += 2) {
        tl_pixels_form form = { .height = SIDE,
                                .width = SIDE + 5,
                                .channels = channels,
                                .has_template = true,
                                .align = 3 };
        size_t bytes = tl_pixels_item_bytes(&form) / 2, row = (SIDE + 5) * channels;
        uint8_t *image = malloc(bytes), *reference = malloc(bytes), *moved = malloc(bytes);
        for (int wanted_y = -3; wanted_y <= 3; wanted_y++) {
            for (int wanted_x = -3; wanted_x <= 3; wanted_x++) {
                int dy, dx;
                noise(&rng, reference, bytes);
                noise(&rng, image, bytes);
                for (int y = 0; y < SIDE; y++)
                    for (int x = 0; x < SIDE + 5; x++) {
                        int sy = y + wanted_y, sx = x + wanted_x;
                        if (sy < 0 || sy >= SIDE || sx < 0 || sx >= SIDE + 5) continue;
                        memcpy(image + (size_t)y * row + (size_t)x * channels,
                               reference + (size_t)sy * row + (size_t)sx * channels, channels);
                    }
                tl_pixels_align(&form, image, reference, &dy, &dx);
                assert_int_equal(dy, wanted_y);
                assert_int_equal(dx, wanted_x);
                tl_pixels_register(&form, image, reference, moved);
                assert_memory_equal(image, moved, bytes); /* uncovered parts repeat the image */
            }
        }
        free(image);
        free(reference);
        free(moved);
    }
}

static void equal_fits_take_the_shortest_shift(void **state)
{
    (void)state;
    tl_pixels_form form = {
        .height = SIDE, .width = SIDE, .channels = 1, .has_template = true, .align = 3
    };
    uint8_t image[SIDE * SIDE], reference[SIDE * SIDE];
    int dy = 9, dx = 9;
    memset(image, 7, sizeof image);
    memset(reference, 99, sizeof reference);
    tl_pixels_align(&form, image, reference, &dy, &dx);
    assert_int_equal(dy, 0);
    assert_int_equal(dx, 0);
    for (size_t i = 0; i < sizeof image; i++) { /* stripes of period 4: 1 left, or 3 right */
        image[i] = (i % SIDE) % 4 == 0 ? 200 : 0;
        reference[i] = (i % SIDE + 1) % 4 == 0 ? 200 : 0;
    }
    tl_pixels_align(&form, image, reference, &dy, &dx);
    assert_int_equal(dy, 0);
    assert_int_equal(dx, -1);
}

static void converting_moved_or_registered_is_the_same(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    tl_pixels_form form = {
        .height = SIDE, .width = SIDE, .channels = 1, .has_template = true, .align = 3
    };
    tl_pixels_form still = form;
    still.align = 0;
    uint8_t image[SIDE * SIDE], reference[SIDE * SIDE], moved[SIDE * SIDE];
    float a[SIDE * SIDE * 3], b[SIDE * SIDE * 3];
    for (int round = 0; round < 20; round++) {
        noise(&rng, image, sizeof image);
        noise(&rng, reference, sizeof reference);
        size_t by = tl_rng_below(&rng, 3) * SIDE + tl_rng_below(&rng, 3);
        memcpy(image, reference + by, sizeof image - by);
        tl_pixels_register(&form, image, reference, moved);
        for (uint32_t t = 0; t < 8; t++) {
            tl_pixels_convert(&form, image, reference, t, a);
            tl_pixels_convert(&still, image, moved, t, b);
            assert_memory_equal(a, b, sizeof a);
        }
    }
}

static void networks_have_their_own_numbers(void **state)
{
    (void)state;
    tl_pixels_form form = { .height = 1, .width = 2, .channels = 1, .repeat = true };
    const uint8_t image[2] = { 0, 255 }, reference[2] = { 255, 245 };
    float out[6];
    assert_int_equal(tl_pixels_normalise(&form, "imagenet", NULL), TL_OK);
    assert_int_equal(tl_pixels_input_channels(&form), 3);
    tl_pixels_convert(&form, image, NULL, 0, out);
    assert_float_equal(out[0], -2.1179039, 1e-5); /* torchvision's (0 / 255 - 0.485) / 0.229 */
    assert_float_equal(out[2], -1.8044444, 1e-5);
    assert_float_equal(out[4], 2.4285714, 1e-5);
    form.has_template = true; /* image, template, difference: the three of a grey pair */
    form.repeat = false;
    assert_int_equal(tl_pixels_normalise(&form, "10,20,30/1,2,4", NULL), TL_OK);
    tl_pixels_convert(&form, image, reference, 0, out);
    const float wanted[6] = { -10, 117.5f, 31.875f, 245, 112.5f, 1.25f };
    for (int i = 0; i < 6; i++) assert_float_equal(out[i], wanted[i], 1e-4);
    assert_int_equal(tl_pixels_normalise(&form, "127/128", NULL), TL_OK);
    assert_float_equal(form.mean[2], 127, 0);
    static const char *const WRONG[] = { "bright", "1,2/3", "1,2,3", "1/0", "/", "1/2x", "nan/1" };
    for (size_t i = 0; i < TL_COUNT_OF(WRONG); i++)
        assert_int_equal(tl_pixels_normalise(&form, WRONG[i], NULL), TL_EINVAL);
    assert_float_equal(form.mean[2], 127, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_scaled_as_documented),
        cmocka_unit_test(transforms_are_the_symmetries_of_the_square),
        cmocka_unit_test(a_moved_template_is_found),
        cmocka_unit_test(equal_fits_take_the_shortest_shift),
        cmocka_unit_test(converting_moved_or_registered_is_the_same),
        cmocka_unit_test(networks_have_their_own_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

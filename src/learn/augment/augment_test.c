/* Augmentation: boxes follow the pixels, whatever happens to an image; nothing happens without
 * options; a seed repeats. */
#include "learn/augment/augment.h"

#include "learn/augment/colour.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 64, HIGH = 96, WIDE = 120 };

/* A dark image with one bright rectangle. */
static void draw(uint8_t *image, uint32_t height, uint32_t width, const tl_box *box)
{
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            bool in = (float)x >= box->x1 && (float)x < box->x2 && (float)y >= box->y1 &&
                      (float)y < box->y2;
            image[y * width + x] = in ? 250 : 0;
        }
}

/* The bounds of what is bright in an input of SIDE x SIDE. */
static tl_box bright(const float *input)
{
    tl_box box = { SIDE, SIDE, 0, 0 };
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            if (input[y * SIDE + x] < 0.4f) continue;
            box.x1 = fminf(box.x1, (float)x);
            box.y1 = fminf(box.y1, (float)y);
            box.x2 = fmaxf(box.x2, (float)(x + 1));
            box.y2 = fmaxf(box.y2, (float)(y + 1));
        }
    return box;
}

static tl_augment *make(const tl_augment_options *options, bool has_template)
{
    const tl_pixels_form form = {
        .height = SIDE, .width = SIDE, .channels = 1, .has_template = has_template
    };
    tl_augment *augment = NULL;
    assert_int_equal(tl_augment_create(&form, options, 16, &augment, NULL), TL_OK);
    return augment;
}

static void an_image_of_the_right_size_stays_as_it_is(void **state)
{
    (void)state;
    uint8_t image[SIDE * SIDE], reference[SIDE * SIDE];
    float input[3 * SIDE * SIDE], plain[3 * SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++) image[i] = (uint8_t)(7 * i), reference[i] = (uint8_t)i;
    const tl_augment_options none = tl_augment_options_none();
    tl_augment *augment = make(&none, true);
    const tl_truth truth = { { 3, 4, 30, 20 }, 5 };
    const tl_augment_source source = { image, reference, SIDE, SIDE, { &truth, 1 } };
    tl_rng rng;
    tl_rng_seed(&rng, 1, 1);
    assert_int_equal(tl_augment_begin(augment, &rng), 1);
    tl_augment_add(augment, &source);
    tl_truths truths;
    tl_augment_finish(augment, input, &truths);
    const tl_pixels_form form = {
        .height = SIDE, .width = SIDE, .channels = 1, .has_template = true
    };
    tl_pixels_convert(&form, image, reference, 0, plain);
    assert_memory_equal(input, plain, sizeof plain);
    assert_int_equal(truths.count, 1);
    assert_int_equal(truths.items[0].label, 5);
    assert_memory_equal(&truths.items[0].box, &truth.box, sizeof truth.box);
    tl_augment_destroy(&augment);
}

/* Whatever is drawn: where the box is, there it is bright. */
static void boxes_follow_pixels(void **state)
{
    (void)state;
    tl_augment_options options = { .symmetries = true, .scale = 0.4f, .translate = 0.2f };
    static uint8_t image[HIGH * WIDE];
    static float input[SIDE * SIDE];
    const tl_truth truth = { { 30, 24, 78, 52 }, 1 };
    draw(image, HIGH, WIDE, &truth.box);
    size_t seen = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        options.mosaic_chance = seed % 2 == 0 ? 1.0f : 0.0f;
        tl_augment *augment = make(&options, false);
        tl_rng rng;
        tl_rng_seed(&rng, seed, 5);
        const tl_augment_source source = { image, NULL, HIGH, WIDE, { &truth, 1 } };
        static const uint8_t dark[16];
        const tl_augment_source other = { dark, NULL, 4, 4, { NULL, 0 } };
        uint32_t count = tl_augment_begin(augment, &rng);
        assert_int_equal(count, seed % 2 == 0 ? 4 : 1);
        for (uint32_t i = 0; i < count; i++)
            tl_augment_add(augment, i == seed / 2 % count ? &source : &other);
        tl_truths truths;
        tl_augment_finish(augment, input, &truths);
        tl_box box = bright(input);
        assert_true(truths.count <= 1);
        if (truths.count == 0) { /* gone, or next to nothing is left */
            assert_true(tl_box_area(&box) < 0.5 * 48 * 28);
        } else {
            const tl_box *found = &truths.items[0].box;
            seen++;
            if (fabsf(found->x1 - box.x1) > 1.0f || fabsf(found->y1 - box.y1) > 1.0f ||
                fabsf(found->x2 - box.x2) > 1.0f || fabsf(found->y2 - box.y2) > 1.0f)
                fail_msg("seed %d: box %g %g %g %g, bright %g %g %g %g", (int)seed,
                         (double)found->x1, (double)found->y1, (double)found->x2, (double)found->y2,
                         (double)box.x1, (double)box.y1, (double)box.x2, (double)box.y2);
        }
        tl_augment_destroy(&augment);
    }
    assert_true(seen > 120);
}

static void seeds_repeat_and_differ(void **state)
{
    (void)state;
    tl_augment_options options = tl_augment_options_classify();
    options.erase_chance = 1.0f;
    options.rotate = 10.0f;
    uint8_t image[SIDE * SIDE];
    static float input[3][SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++) image[i] = (uint8_t)(i / SIDE * 4);
    tl_augment *augment = make(&options, false);
    for (int run = 0; run < 3; run++) {
        tl_rng rng;
        tl_rng_seed(&rng, run < 2 ? 3 : 4, 1);
        const tl_augment_source source = { image, NULL, SIDE, SIDE, { NULL, 0 } };
        tl_augment_begin(augment, &rng);
        tl_augment_add(augment, &source);
        tl_augment_finish(augment, input[run], NULL);
    }
    assert_memory_equal(input[0], input[1], sizeof input[0]);
    assert_memory_not_equal(input[0], input[2], sizeof input[0]);
    tl_augment_destroy(&augment);
    options.scale = 1.0f;
    const tl_pixels_form form = { .height = SIDE, .width = SIDE, .channels = 1 };
    assert_int_equal(tl_augment_create(&form, &options, 1, &augment, NULL), TL_EINVAL);
}

static void colours(void **state)
{
    (void)state;
    uint8_t pixels[6] = { 200, 100, 50, 90, 90, 90 };
    tl_colour colour = { .hue = 1.0 / 3, .saturation = 1, .value = 1, .contrast = 1 };
    tl_colour_apply(&colour, 3, 2, pixels); /* red to green: channels move on by one */
    const uint8_t turned[6] = { 50, 200, 100, 90, 90, 90 };
    assert_memory_equal(pixels, turned, 6);
    colour = (tl_colour){ .saturation = 0, .value = 1, .contrast = 1 };
    tl_colour_apply(&colour, 3, 2, pixels);
    const uint8_t grey[6] = { 200, 200, 200, 90, 90, 90 };
    assert_memory_equal(pixels, grey, 6);
    colour = (tl_colour){ .saturation = 1, .value = 0.5, .contrast = 2, .brightness = 0.1 };
    tl_colour_apply(&colour, 1, 6, pixels); /* 100 -> 72.5 + 25.5; 45 -> 0 */
    const uint8_t dark[6] = { 98, 98, 98, 0, 0, 0 };
    assert_memory_equal(pixels, dark, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_of_the_right_size_stays_as_it_is),
        cmocka_unit_test(boxes_follow_pixels),
        cmocka_unit_test(seeds_repeat_and_differ),
        cmocka_unit_test(colours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Image loops, end to end: pictures in files, with a template and without. */
#include "loop/test/test_support.h"

#include "tensor/device.h"

#include <math.h>
#include <png.h>

enum { SIDE = 40, STREAM = 150, JUDGED = 50 }; /* the loop takes 32 x 32: scaled on the way in */

typedef struct picture {
    uint8_t pixels[SIDE * SIDE];
    uint8_t file[4 * SIDE * SIDE];
    size_t bytes;
} picture;

static void encode(picture *p)
{
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = SIDE, .height = SIDE, .format = PNG_FORMAT_GRAY
    };
    p->bytes = sizeof p->file;
    assert_true(png_image_write_to_memory(&image, p->file, &p->bytes, 0, p->pixels, 0, NULL));
}

/* A bright bar over noise; the defect (class 1) is a dark spot in it, (class 2) a bright one beside
 * it. The template is the bar without either. */
static uint32_t draw_picture(tl_rng *rng, picture *image, picture *reference)
{
    uint32_t label = (uint32_t)tl_rng_below(rng, 3);
    size_t row = 8 + tl_rng_below(rng, 12), column = 6 + tl_rng_below(rng, SIDE - 16);
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        bool bar = i / SIDE >= row && i / SIDE < row + 8;
        reference->pixels[i] = bar ? 200 : 40;
        image->pixels[i] = (uint8_t)(reference->pixels[i] + tl_rng_below(rng, 30));
    }
    size_t top = label == 1 ? row + 1 : row + 11;
    for (size_t y = 0; y < 6 && label > 0; y++)
        for (size_t x = 0; x < 6; x++)
            image->pixels[(top + y) * SIDE + column + x] = label == 1 ? 30 : 220;
    encode(image);
    encode(reference);
    return label;
}

static tl_image file_of(const picture *p)
{
    return (tl_image){ .encoding = TL_IMAGE_FILE, .data = p->file, .bytes = p->bytes };
}

static void open_images(fixture *f, bool has_template)
{
    f->options.input = TL_INPUT_IMAGE;
    f->options.height = f->options.width = 32;
    f->options.has_template = has_template;
    f->options.feature_count = 0;
    f->options.replay_per_label = 8;
    open_loop(f);
}

static tl_prediction predict_picture(fixture *f, const picture *image, const picture *reference)
{
    tl_error err = { 0 };
    tl_item item = { .image = file_of(image) };
    if (reference != NULL) item.reference = file_of(reference);
    tl_prediction p = { 0 };
    ok(tl_loop_predict(f->loop, &item, &p, &err), &err);
    return p;
}

/* Returns how many of the last JUDGED were right. */
static int learn_stream(fixture *f, tl_rng *rng, int count, bool has_template)
{
    int correct = 0;
    for (int i = 0; i < count; i++) {
        picture image, reference;
        uint32_t label = draw_picture(rng, &image, &reference);
        tl_prediction p = predict_picture(f, &image, has_template ? &reference : NULL);
        if (i >= count - JUDGED) correct += p.label == label;
        label_as(f, p.id, CLASSES[label], NULL);
    }
    return correct;
}

static void run(fixture *f, bool has_template, int wanted)
{
    tl_rng rng;
    tl_rng_seed(&rng, 8, 0);
    open_images(f, has_template);
    int correct = learn_stream(f, &rng, STREAM, has_template);
    assert_in_range(correct, wanted, JUDGED);
    drain(f);
    assert_true(status_of(f).champion > 1);
    picture image, reference;
    draw_picture(&rng, &image, &reference);
    tl_prediction before = predict_picture(f, &image, has_template ? &reference : NULL);
    reopen(f);
    tl_prediction after = predict_picture(f, &image, has_template ? &reference : NULL);
    assert_int_equal(before.version, after.version);
    assert_memory_equal(before.scores, after.scores, 3 * sizeof(float));
    tl_verify_report report = verify(f);
    assert_true(report.judgements >= STREAM / 16);
}

static void pictures_are_learned(void **state)
{
    run(*state, false, 30);
}

static void pictures_with_templates_are_learned(void **state)
{
    run(*state, true, 33);
}

/* What a loop answers in is not what it learns in: the journal fits both. */
static void pictures_are_answered_in_bf16(void **state)
{
    fixture *f = *state;
    if (!tl_device_runs_bf16()) skip();
    f->runtime_options.precision = TL_PRECISION_BF16;
    run(f, true, 33);
    open_loop(f);
    tl_rng rng;
    tl_rng_seed(&rng, 9, 0);
    picture image, reference;
    draw_picture(&rng, &image, &reference);
    const tl_prediction half = predict_picture(f, &image, &reference);
    f->runtime_options.precision = TL_PRECISION_FLOAT32;
    reopen(f);
    const tl_prediction exact = predict_picture(f, &image, &reference);
    assert_int_equal(half.version, exact.version);
    assert_memory_not_equal(half.scores, exact.scores, 3 * sizeof(float));
    for (int i = 0; i < 3; i++) assert_true(fabsf(half.scores[i] - exact.scores[i]) < 0.02f);
}

/* Features change with the version: the statistics of the one returned to must not bring back what
 * was withdrawn since. */
static void returning_to_a_version_does_not_bring_back_withdrawn_labels(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 8, 0);
    open_images(f, false);
    picture image, reference;
    draw_picture(&rng, &image, &reference);
    tl_id id = predict_picture(f, &image, NULL).id;
    label_as(f, id, "dent", NULL);
    learn_stream(f, &rng, 60, false);
    drain(f);
    uint64_t version = status_of(f).champion;
    while (status_of(f).champion == version) {
        learn_stream(f, &rng, 16, false);
        drain(f);
    }
    assert_true(version > 1);
    withdraw(f, id, NULL);
    drain(f);
    tl_error err = { 0 };
    ok(tl_loop_promote(f->loop, version, "me", &err), &err);
    uint64_t before = stats_digest(f);
    uint64_t total = tl_core_stats_total(f->loop->core);
    label_as(f, id, "scratch", NULL); /* learned as a new one, not instead of the old label */
    assert_true(stats_digest(f) != before);
    assert_int_equal(tl_core_stats_total(f->loop->core), total + 1);
    verify(f);
}

static void pictures_that_cannot_be_read_are_refused(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 8, 0);
    open_images(f, true);
    picture image, reference;
    draw_picture(&rng, &image, &reference);
    image.bytes /= 2;
    tl_item item = { .image = file_of(&image), .reference = file_of(&reference) };
    tl_prediction p;
    tl_error err;
    assert_int_not_equal(tl_loop_predict(f->loop, &item, &p, &err), TL_OK);
    item.image = (tl_image){ 0 };
    assert_int_equal(tl_loop_predict(f->loop, &item, &p, &err), TL_EINVAL);
    assert_int_equal(status_of(f).predictions, 0);
    encode(&image);
    item.image = file_of(&image);
    item.reference = (tl_image){ 0 }; /* none: a black one */
    assert_int_equal(tl_loop_predict(f->loop, &item, &p, &err), TL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED_TEST(pictures_are_learned),
        CLOSED_TEST(pictures_with_templates_are_learned),
        CLOSED_TEST(pictures_are_answered_in_bf16),
        CLOSED_TEST(returning_to_a_version_does_not_bring_back_withdrawn_labels),
        CLOSED_TEST(pictures_that_cannot_be_read_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

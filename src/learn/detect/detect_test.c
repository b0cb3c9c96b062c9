/* Decoding, suppression and average precision on cases worked out by hand. */
#include "learn/detect/detect.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void maps_become_boxes(void **state)
{
    (void)state;
    tl_yolo_head head;
    assert_int_equal(tl_yolo_head_make(64, 32, 2, &head, NULL), TL_OK);
    assert_int_equal(head.anchor_count, 8 * 4 + 4 * 2 + 2);
    float *all = calloc(tl_yolo_head_floats(&head), sizeof *all);
    const float *maps[TL_YOLO_SCALE_MAX];
    for (uint32_t s = 0; s < head.scale_count; s++)
        maps[s] = all + head.scales[s].first * tl_yolo_head_channels(&head);
    for (size_t a = 0; a < head.anchor_count; a++)
        for (int c = 0; c < 2; c++) all[a * 66 + 64 + c] = -20;
    /* Scale 1 (stride 16), row 2, column 1: distances 1, 2, 3, 2.5 strides. */
    float *one = all + (32 + 5) * 66;
    one[1] = one[16 + 2] = one[32 + 3] = one[48 + 2] = one[48 + 3] = 100;
    one[64 + 1] = 2; /* sigmoid 0.880797 */
    one[64 + 0] = 1;
    tl_detect_options options = tl_detect_options_default();
    tl_detection found[8];
    assert_int_equal(tl_detect_decode(&head, maps, 0, &options, found, 8), 1);
    assert_int_equal(found[0].label, 1);
    assert_float_equal(found[0].score, 0.880797, 1e-5);
    const tl_box *box = &found[0].box; /* the middle is 24, 40 */
    assert_float_equal(box->x1, 8, 1e-4);
    assert_float_equal(box->y1, 8, 1e-4);
    assert_float_equal(box->x2, 72, 1e-4);
    assert_float_equal(box->y2, 80, 1e-4);
    options.many_labels = true;
    assert_int_equal(tl_detect_decode(&head, maps, 0, &options, found, 8), 2);
    assert_int_equal(found[1].label, 0);
    assert_int_equal(tl_detect_decode(&head, maps, 0, &options, found, 1), 1);
    assert_int_equal(found[0].label, 1); /* the better one */
    options.score_min = 0;
    assert_int_equal(tl_detect_decode(&head, maps, 0, &options, found, 8), 8);
    assert_int_equal(tl_yolo_head_make(60, 64, 2, &head, NULL), TL_EINVAL);
    assert_int_equal(tl_yolo_head_make(64, 64, 0, &head, NULL), TL_EINVAL);
    free(all);
}

static void the_best_of_overlapping_boxes_stays(void **state)
{
    (void)state;
    tl_detection boxes[] = {
        { { 1, 0, 11, 10 }, 0.5f, 0 },  /* IoU 9/11 with the best: dropped */
        { { 0, 0, 10, 10 }, 0.9f, 0 },  /* the best */
        { { 1, 0, 11, 10 }, 0.4f, 1 },  /* another class */
        { { 0, 5, 10, 15 }, 0.8f, 0 },  /* IoU 1/3 */
        { { 50, 0, 60, 10 }, 0.1f, 0 }, /* far away */
    };
    tl_detect_options options = tl_detect_options_default();
    assert_int_equal(tl_detect_suppress(&options, boxes, TL_COUNT_OF(boxes)), 4);
    const float scores[] = { 0.9f, 0.8f, 0.4f, 0.1f };
    for (int i = 0; i < 4; i++) assert_float_equal(boxes[i].score, scores[i], 0);
    options.count_max = 2;
    assert_int_equal(tl_detect_suppress(&options, boxes, 4), 2);
    options.overlap_max = 0.3;
    assert_int_equal(tl_detect_suppress(&options, boxes, 2), 1);
}

/* Two images, three boxes of class 0 and one of class 1. By score, class 0: right (IoU 1), wrong,
 * right (IoU 0.6), again the one that is taken. Precisions 1, 2/3 at recalls 1/3, 2/3: at 0.5
 * 34 + 33 * 2/3 of 101 recalls; from 0.65 on 34 of 101. Class 1 is not found. */
static void average_precision_by_hand(void **state)
{
    (void)state;
    const tl_truth first[] = { { { 0, 0, 10, 10 }, 0 }, { { 40, 40, 50, 50 }, 1 } };
    const tl_truth second[] = { { { 0, 0, 10, 10 }, 0 }, { { 20, 0, 30, 10 }, 0 } };
    const tl_detection a[] = { { { 0, 0, 10, 10 }, 0.9f, 0 }, { { 40, 0, 50, 10 }, 0.8f, 0 } };
    const tl_detection b[] = { { { 0, 0, 10, 6 }, 0.7f, 0 }, { { 0, 0, 10, 6 }, 0.6f, 0 } };
    const tl_detect_image images[] = { { a, 2, { first, 2 } }, { b, 2, { second, 2 } } };
    tl_detect_quality q;
    assert_int_equal(tl_detect_measure(images, 2, 3, &q, NULL), TL_OK);
    assert_int_equal(q.classes, 2);
    double at50 = (34 + 33 * 2.0 / 3) / 101, at65 = 34.0 / 101;
    assert_true(fabs(q.map50 - at50 / 2) < 1e-9);
    /* 0.5, 0.55 and 0.6 (IoU is 0.6 but for rounding of the threshold), then 7 of the others. */
    double with_three = (3 * at50 + 7 * at65) / 20, with_two = (2 * at50 + 8 * at65) / 20;
    assert_true(fabs(q.map50_95 - with_three) < 1e-9 || fabs(q.map50_95 - with_two) < 1e-9);
    const tl_detect_image nothing = { 0 };
    assert_int_equal(tl_detect_measure(&nothing, 1, 3, &q, NULL), TL_OK);
    assert_true(q.map50 == 0.0 && q.classes == 0);
}

/* The numbers of score_detect.py on these boxes: 2 of 4 correct; AP (1/1 + 2/4) / 3. */
static void the_rule_of_the_boards(void **state)
{
    (void)state;
    const tl_truth truths[] = { { { 0, 0, 10, 10 }, 0 },
                                { { 20, 0, 30, 10 }, 1 },
                                { { 40, 0, 50, 10 }, 2 } };
    const tl_detection found[] = { { { 0, 0, 10, 10 }, 0.9f, 0 },  /* correct */
                                   { { 20, 0, 30, 10 }, 0.8f, 2 }, /* takes it with another class */
                                   { { 20, 0, 30, 10 }, 0.7f, 1 }, /* too late: it is taken */
                                   { { 40, 0, 50, 4 }, 0.6f, 2 } }; /* IoU 0.4: correct */
    const tl_detect_image image = { found, 4, { truths, 3 } };
    tl_detect_matched m;
    assert_int_equal(tl_detect_measure_boards(&image, 1, &m, NULL), TL_OK);
    assert_true(fabs(m.precision - 0.5) < 1e-9);
    assert_true(fabs(m.recall - 2.0 / 3) < 1e-9);
    assert_true(fabs(m.f_mean - 4.0 / 7) < 1e-9);
    assert_true(fabs(m.average_precision - 0.5) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_become_boxes),
        cmocka_unit_test(the_best_of_overlapping_boxes_stays),
        cmocka_unit_test(average_precision_by_hand),
        cmocka_unit_test(the_rule_of_the_boards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

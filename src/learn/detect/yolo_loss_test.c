/* The losses of YOLOv8: by hand where that is possible, gradients by finite differences.
 * bench/engine/agreement.py holds them against PyTorch. */
#include "learn/detect/yolo_loss.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 64, CLASSES = 3, BATCH = 2 };

typedef struct heads {
    tl_yolo_head head;
    float *all; /* the maps one after the other */
    const float *maps[TL_YOLO_SCALE_MAX];
    size_t floats;
} heads;

static heads make_heads(uint64_t seed, double deviation)
{
    heads h = { 0 };
    tl_rng rng;
    tl_rng_seed(&rng, seed, 1);
    assert_int_equal(tl_yolo_head_make(SIDE, SIDE, CLASSES, &h.head, NULL), TL_OK);
    h.floats = BATCH * tl_yolo_head_floats(&h.head);
    h.all = malloc(h.floats * sizeof *h.all);
    assert_non_null(h.all);
    for (size_t i = 0; i < h.floats; i++) h.all[i] = (float)(deviation * tl_rng_normal(&rng));
    const float *at = h.all;
    for (uint32_t s = 0; s < h.head.scale_count; s++) {
        const tl_yolo_scale *scale = &h.head.scales[s];
        h.maps[s] = at;
        at += (size_t)BATCH * scale->height * scale->width * tl_yolo_head_channels(&h.head);
    }
    return h;
}

static tl_yolo_loss *make_loss(const heads *h)
{
    tl_yolo_loss_options options = tl_yolo_loss_options_default(&h->head, BATCH);
    tl_yolo_loss *loss = NULL;
    assert_int_equal(tl_yolo_loss_create(&options, &loss, NULL), TL_OK);
    return loss;
}

static tl_yolo_parts run(tl_yolo_loss *loss, const heads *h, const tl_truths *truths, float *grad)
{
    tl_yolo_parts parts;
    tl_error err = { 0 };
    if (tl_yolo_loss_run(loss, h->maps, BATCH, truths, &parts, grad, &err) != TL_OK)
        fail_msg("%s", err.text);
    return parts;
}

static const tl_truth SOME[] = { { { 3, 5, 30, 28 }, 0 },
                                 { { 10, 8, 40, 36 }, 2 }, /* overlaps both others */
                                 { { 20, 20, 62, 50 }, 1 } };

/* Without boxes there is only the background: softplus of every class logit, S = 1. */
static void background_alone(void **state)
{
    (void)state;
    heads h = make_heads(1, 1.0);
    tl_yolo_loss *loss = make_loss(&h);
    const tl_truths none[BATCH] = { 0 };
    float *grad = malloc(h.floats * sizeof *grad);
    tl_yolo_parts parts = run(loss, &h, none, grad);
    double wanted = 0.0;
    const size_t channels = tl_yolo_head_channels(&h.head);
    for (size_t i = 0; i < h.floats; i++) {
        bool class_logit = i % channels >= TL_YOLO_BOX_CHANNELS;
        double z = (double)h.all[i], p = 1 / (1 + exp(-z));
        if (class_logit) wanted += log1p(exp(z));
        assert_true(fabs((double)grad[i] - (class_logit ? 0.5 * p : 0)) < 1e-6);
    }
    assert_true(fabs(parts.classes - wanted) < 1e-4);
    assert_true(fabs(parts.total - 0.5 * wanted) < 1e-4);
    assert_int_equal(parts.foreground, 0);
    assert_true(parts.box == 0.0 && parts.distance == 0.0 && parts.target_sum == 0.0);
    tl_yolo_loss_destroy(&loss);
    free(grad);
    free(h.all);
}

/* As many classes as there may be, all at 1/2: ln 2 for each, however many there are. */
static void many_classes_add_up(void **state)
{
    (void)state;
    tl_yolo_head head;
    tl_yolo_loss *loss = NULL;
    tl_yolo_parts parts;
    assert_int_equal(tl_yolo_head_make(32, 32, TL_YOLO_CLASS_MAX, &head, NULL), TL_OK);
    float *zeros = calloc(tl_yolo_head_floats(&head), sizeof *zeros);
    assert_non_null(zeros);
    const float *maps[TL_YOLO_SCALE_MAX] = { zeros, zeros, zeros, zeros };
    const tl_yolo_loss_options options = tl_yolo_loss_options_default(&head, 1);
    const tl_truths none = { NULL, 0 };
    assert_int_equal(tl_yolo_loss_create(&options, &loss, NULL), TL_OK);
    assert_int_equal(tl_yolo_loss_run(loss, maps, 1, &none, &parts, NULL, NULL), TL_OK);
    const double wanted = (double)head.anchor_count * TL_YOLO_CLASS_MAX * log(2);
    assert_true(fabs(parts.classes - wanted) < 1e-9 * wanted);
    tl_yolo_loss_destroy(&loss);
    free(zeros);
}

/* All logits 0: every distance is 7.5 strides, all classes at 1/2, so that who is assigned follows
 * from geometry alone. A box of 8 x 8 around the first anchor of scale 0: only that anchor lies
 * within. */
static void one_anchor_by_hand(void **state)
{
    (void)state;
    heads h = make_heads(1, 0.0);
    tl_yolo_loss *loss = make_loss(&h);
    const tl_truth box = { { 1, 1, 7.5f, 7.5f }, 1 };
    const tl_truths truths[BATCH] = { { &box, 1 }, { NULL, 0 } };
    float *grad = malloc(h.floats * sizeof *grad);
    tl_yolo_parts parts = run(loss, &h, truths, grad);
    assert_int_equal(parts.foreground, 1);
    const double predicted[4] = { 4 - 60, 4 - 60, 4 + 60, 4 + 60 }, target[4] = { 1, 1, 7.5, 7.5 };
    double overlap = tl_box_complete_iou(predicted, target, NULL);
    double metric = sqrt(0.5) * pow(overlap, 6), weight = metric * overlap / (metric + 1e-9);
    assert_true(overlap > 0.0 && weight > 0.0);
    assert_true(fabs(parts.target_sum - weight) < 1e-6 * weight);
    assert_true(fabs(parts.box - weight * (1 - overlap)) < 1e-6 * weight);
    assert_true(fabs(parts.distance - weight * log(16)) < 1e-6 * weight); /* any bin: ln 16 */
    double cells = BATCH * 84.0 * CLASSES * log(2);
    assert_true(fabs(parts.classes - cells) < 1e-3);
    /* left: 3 px = 0.375 strides between bins 0 and 1. */
    const double factor = 1.5 * weight / 4;
    double by_box[4];
    const double p[4] = { -7, -7, 8, 8 }, t[4] = { 0.125, 0.125, 0.9375, 0.9375 }; /* strides */
    tl_box_complete_iou(p, t, by_box);
    double by_left = 7.5 * weight * by_box[0] / 16;
    assert_true(fabs((double)grad[0] - (factor * (1.0 / 16 - 0.625) + by_left * -7.5)) <
                1e-6 * weight);
    assert_true(fabs((double)grad[1] - (factor * (1.0 / 16 - 0.375) + by_left * -6.5)) <
                1e-6 * weight);
    tl_yolo_loss_destroy(&loss);
    free(grad);
    free(h.all);
}

/* The loss for targets that stay: to the gradient they are constants. So is the weight of the aspect
 * term, but not here: box channels are compared as a whole, and less closely. */
static double fixed_loss(const heads *h, const tl_truths *truths, tl_assigned *const *assigned,
                         double norm)
{
    double box = 0, classes = 0, distance = 0;
    for (uint32_t item = 0; item < BATCH; item++) {
        for (size_t a = 0; a < h->head.anchor_count; a++) {
            tl_yolo_anchor anchor = tl_yolo_head_anchor(&h->head, a);
            const float *c = tl_yolo_head_at(&h->head, h->maps, item, &anchor);
            const tl_assigned own = assigned[item][a];
            for (uint32_t k = 0; k < CLASSES; k++) {
                bool is = own.truth >= 0 && truths[item].items[own.truth].label == k;
                double z = (double)c[TL_YOLO_BOX_CHANNELS + k];
                classes += log1p(exp(z)) - (is ? (double)own.target * z : 0);
            }
            if (own.truth < 0) continue;
            const tl_box *b = &truths[item].items[own.truth].box;
            double target[4] = { (double)b->x1, (double)b->y1, (double)b->x2, (double)b->y2 };
            double predicted[4], bins[TL_YOLO_BINS];
            tl_yolo_box(&anchor, c, predicted);
            for (int i = 0; i < 4; i++) target[i] /= anchor.stride, predicted[i] /= anchor.stride;
            box += (double)own.target * (1 - tl_box_complete_iou(predicted, target, NULL));
            for (int i = 0; i < 4; i++) {
                double middle = (i % 2 == 0 ? anchor.x : anchor.y) / anchor.stride;
                double d = fabs(target[i] - middle);
                if (d > 14.99) d = 14.99;
                tl_yolo_distance(c + i * TL_YOLO_BINS, bins);
                int left = (int)d;
                distance -= (double)own.target / 4 *
                            ((left + 1 - d) * log(bins[left]) + (d - left) * log(bins[left + 1]));
            }
        }
    }
    return (7.5 * box + 0.5 * classes + 1.5 * distance) / norm;
}

static void gradients_are_those_of_the_loss(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        heads h = make_heads(seed, 1.5);
        tl_yolo_loss *loss = make_loss(&h);
        tl_assign *assign = NULL;
        tl_yolo_loss_options options = tl_yolo_loss_options_default(&h.head, BATCH);
        assert_int_equal(tl_assign_create(&h.head, &options.assign, 8, &assign, NULL), TL_OK);
        const tl_truths truths[BATCH] = { { SOME, 3 }, { SOME + 1, 1 } };
        tl_assigned *assigned[BATCH];
        float *grad = malloc(h.floats * sizeof *grad);
        double sum = 0, off = 0, all = 0;
        for (uint32_t i = 0; i < BATCH; i++) {
            assigned[i] = malloc(h.head.anchor_count * sizeof **assigned);
            sum += tl_assign_run(assign, h.maps, i, &truths[i], assigned[i]);
        }
        tl_yolo_parts parts = run(loss, &h, truths, grad);
        const double norm = fmax(sum, 1);
        assert_true(parts.foreground > 10);
        assert_true(fabs(parts.target_sum - sum) < 1e-9);
        assert_true(fabs(parts.total - fixed_loss(&h, truths, assigned, norm)) <
                    1e-5 * parts.total);
        for (size_t i = 0; i < h.floats; i += 1 + i % 3) {
            const float before = h.all[i], step = 1e-2f;
            h.all[i] = before + step;
            double numeric = fixed_loss(&h, truths, assigned, norm), width = (double)h.all[i];
            h.all[i] = before - step;
            width -= (double)h.all[i];
            numeric = (numeric - fixed_loss(&h, truths, assigned, norm)) / width;
            h.all[i] = before;
            double error = numeric - (double)grad[i];
            if (i % tl_yolo_head_channels(&h.head) < TL_YOLO_BOX_CHANNELS) {
                off += error * error;
                all += numeric * numeric;
            } else if (!(fabs(error) < 2e-4 + 2e-3 * fabs(numeric))) {
                fail_msg("seed %d, %zu: %g instead of %g", (int)seed, i, (double)grad[i], numeric);
            }
        }
        if (!(sqrt(off) < 0.05 * sqrt(all))) fail_msg("boxes: %g of %g", sqrt(off), sqrt(all));
        for (uint32_t i = 0; i < BATCH; i++) free(assigned[i]);
        tl_assign_destroy(&assign);
        tl_yolo_loss_destroy(&loss);
        free(grad);
        free(h.all);
    }
}

/* ---- Assignment ------------------------------------------------------------------------------ */

static void anchors_go_to_who_overlaps_them_most(void **state)
{
    (void)state;
    heads h = make_heads(4, 1.0);
    const tl_assign_options options = { .topk = 10, .alpha = 0.5, .beta = 6 };
    tl_assign *assign = NULL;
    assert_int_equal(tl_assign_create(&h.head, &options, 3, &assign, NULL), TL_OK);
    tl_assigned *out = malloc(h.head.anchor_count * sizeof *out);
    const tl_truths truths = { SOME, 3 };
    double sum = tl_assign_run(assign, h.maps, 0, &truths, out), again = 0;
    size_t count[3] = { 0 };
    for (size_t a = 0; a < h.head.anchor_count; a++) {
        again += (double)out[a].target;
        if (out[a].truth < 0) continue;
        const tl_box *box = &SOME[out[a].truth].box;
        tl_yolo_anchor anchor = tl_yolo_head_anchor(&h.head, a);
        assert_true(anchor.x > (double)box->x1 && anchor.x < (double)box->x2);
        assert_true(anchor.y > (double)box->y1 && anchor.y < (double)box->y2);
        assert_true(out[a].target >= 0.0f && out[a].target <= 1.0f);
        count[out[a].truth]++;
    }
    assert_true(fabs(sum - again) < 1e-5);
    for (int t = 0; t < 3; t++) assert_true(count[t] > 0);
    /* The largest target of a box is the largest overlap among its anchors. */
    for (int32_t t = 0; t < 3; t++) {
        double overlap = 0, target = 0;
        for (size_t a = 0; a < h.head.anchor_count; a++) {
            if (out[a].truth != t) continue;
            tl_yolo_anchor anchor = tl_yolo_head_anchor(&h.head, a);
            double box[4];
            const tl_box *b = &SOME[t].box;
            const double wanted[4] = { (double)b->x1, (double)b->y1, (double)b->x2, (double)b->y2 };
            tl_yolo_box(&anchor, tl_yolo_head_at(&h.head, h.maps, 0, &anchor), box);
            overlap = fmax(overlap, tl_box_complete_iou(wanted, box, NULL));
            target = fmax(target, (double)out[a].target);
        }
        assert_true(target <= overlap + 1e-6);
        assert_true(target > 0.5 * overlap); /* 1e-9 beside small metrics takes a little */
    }
    free(out);
    tl_assign_destroy(&assign);
    free(h.all);
}

static void boxes_that_nothing_can_learn_are_harmless(void **state)
{
    (void)state;
    heads h = make_heads(5, 1.0);
    tl_yolo_loss *loss = make_loss(&h);
    const tl_truth odd[] = { { { 9, 9, 9, 30 }, 0 },          /* no width */
                             { { 30, 30, 20, 20 }, 0 },       /* turned around */
                             { { 12.5f, 12.5f, 13, 13 }, 1 }, /* holds no middle */
                             { { -500, -500, -400, -400 }, 1 },
                             { { NAN, 0, 10, 10 }, 1 },
                             { { 200, 200, 1e30f, 1e30f }, 2 } };
    const tl_truths truths[BATCH] = { { odd, TL_COUNT_OF(odd) }, { NULL, 0 } };
    tl_yolo_parts parts = run(loss, &h, truths, NULL);
    assert_int_equal(parts.foreground, 0);
    assert_true(isfinite(parts.total));
    const tl_truth wrong = { { 0, 0, 9, 9 }, CLASSES };
    const tl_truths unknown[BATCH] = { { &wrong, 1 }, { NULL, 0 } };
    assert_int_equal(tl_yolo_loss_run(loss, h.maps, BATCH, unknown, &parts, NULL, NULL), TL_EINVAL);
    tl_truth *many = calloc(1025, sizeof *many);
    const tl_truths crowd[BATCH] = { { many, 1025 }, { NULL, 0 } };
    assert_int_equal(tl_yolo_loss_run(loss, h.maps, BATCH, crowd, &parts, NULL, NULL), TL_EINVAL);
    free(many);
    tl_yolo_loss_destroy(&loss);
    free(h.all);
}

static void complete_iou_has_its_gradient(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 3);
    const double target[4] = { 2, 3, 9, 12 };
    assert_true(fabs(tl_box_complete_iou(target, target, NULL) - 1) < 1e-6);
    /* Aspect alike, so that its term is 0: 1/4 of the area, the same centre. */
    const double inner[4] = { 3.75, 5.25, 7.25, 9.75 };
    assert_true(fabs(tl_box_complete_iou(inner, target, NULL) - 0.25) < 1e-6);
    /* Apart: -(distance of centres / diagonal)^2. */
    const double apart[4] = { 12, 3, 19, 12 };
    assert_true(fabs(tl_box_complete_iou(apart, target, NULL) + 100.0 / (17 * 17 + 81)) < 1e-6);
    for (int round = 0; round < 200; round++) {
        double box[4], grad[4], h = 1e-6;
        for (int i = 0; i < 4; i++) box[i] = target[i] + 3 * tl_rng_normal(&rng);
        if (box[2] - box[0] < 0.5 || box[3] - box[1] < 0.5) continue;
        tl_box_complete_iou(box, target, grad);
        /* The weight of the aspect term is a constant: put its own derivative aside by hand. */
        double w = box[2] - box[0], high = box[3] - box[1], turn = atan(7.0 / 9) - atan(w / high);
        double iou = 0, value = 4 / (M_PI * M_PI) * turn * turn;
        double wide = fmin(box[2], 9) - fmax(box[0], 2), tall = fmin(box[3], 12) - fmax(box[1], 3);
        if (wide > 0 && tall > 0) iou = wide * tall / (w * high + 63 - wide * tall);
        double weight = value / (value - iou + 1);
        for (int i = 0; i < 4; i++) {
            double sides[2];
            for (int s = 0; s < 2; s++) {
                double moved[4];
                memcpy(moved, box, sizeof moved);
                moved[i] += s == 0 ? h : -h;
                double t = atan(7.0 / 9) - atan((moved[2] - moved[0]) / (moved[3] - moved[1]));
                double v = 4 / (M_PI * M_PI) * t * t, overlap = 0;
                wide = fmin(moved[2], 9) - fmax(moved[0], 2);
                tall = fmin(moved[3], 12) - fmax(moved[1], 3);
                double area = (moved[2] - moved[0]) * (moved[3] - moved[1]);
                if (wide > 0 && tall > 0) overlap = wide * tall / (area + 63 - wide * tall);
                double own = v * v / (v - overlap + 1); /* with its own weight */
                sides[s] = tl_box_complete_iou(moved, target, NULL) + own - weight * v;
            }
            assert_true(fabs((sides[0] - sides[1]) / (2 * h) - grad[i]) < 1e-4);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(background_alone),
        cmocka_unit_test(many_classes_add_up),
        cmocka_unit_test(one_anchor_by_hand),
        cmocka_unit_test(gradients_are_those_of_the_loss),
        cmocka_unit_test(anchors_go_to_who_overlaps_them_most),
        cmocka_unit_test(boxes_that_nothing_can_learn_are_harmless),
        cmocka_unit_test(complete_iou_has_its_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A challenger with features of its own learns along while it is in shadow, through corrections and
 * restarts, and goes into service with what it knows. */
#include "loop/core/internal.h"
#include "loop/test/test_support.h"

#include "loop/core/core.h"

enum { SIDE = 16, COLD = 40, LABELS = 110 };

static int set_up_images(void **state)
{
    if (set_up_closed(state) != 0) return -1;
    fixture *f = *state;
    f->options.input = TL_INPUT_IMAGE;
    f->options.height = f->options.width = SIDE;
    f->options.feature_count = 0;
    f->options.gate.promotion = TL_PROMOTION_PROVEN;
    f->options.gate.unit = TL_EVIDENCE_ITEM;
    f->options.cold_labels = COLD;
    f->options.audit_rate = 1.0;
    f->env = known_env();
    open_loop(f);
    return 0;
}

/* Noise, with a dark spot above (class 1) or below (class 2). */
static tl_prediction see_one(fixture *f, tl_rng *rng, uint32_t *label)
{
    uint8_t pixels[SIDE * SIDE];
    *label = (uint32_t)tl_rng_below(rng, 3);
    for (int i = 0; i < SIDE * SIDE; i++) pixels[i] = (uint8_t)(120 + tl_rng_below(rng, 60));
    for (int i = 0; i < 25 && *label > 0; i++)
        pixels[(i / 5 + (*label == 1 ? 2 : 9)) * SIDE + i % 5 + 5] = 20;
    tl_item item = { .image = { .encoding = TL_IMAGE_U8,
                                .data = pixels,
                                .bytes = sizeof pixels,
                                .height = SIDE,
                                .width = SIDE,
                                .channels = 1 } };
    tl_prediction p = { 0 };
    tl_error err = { 0 };
    ok(tl_loop_predict(f->loop, &item, &p, &err), &err);
    return p;
}

/* Returns the newest of so many labelled items. */
static tl_prediction see_some(fixture *f, tl_rng *rng, int count)
{
    tl_prediction newest = { 0 };
    for (int i = 0; i < count; i++) {
        uint32_t label;
        newest = see_one(f, rng, &label);
        label_as(f, newest.id, CLASSES[label], NULL);
        drain(f); /* what is made of which labels does not depend on the moment */
    }
    settle(f);
    return newest;
}

static tl_shadow *challenger_of(fixture *f)
{
    return tl_core_find_watched(f->loop->core, TL_WATCH_CHALLENGER);
}

static void a_challenger_learns_along(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    tl_prediction newest = see_some(f, &rng, LABELS);
    tl_shadow *shadow = challenger_of(f);
    assert_non_null(shadow);
    assert_true(shadow->follows && shadow->own_backbone);
    assert_int_equal(shadow->members.count, LABELS);
    assert_int_equal(tl_head_stats_total(shadow->made->stats), LABELS);

    tl_shadow policy;
    assert_int_equal(tl_core_follow_policy(f->loop->core, shadow, &policy, NULL), TL_OK);
    assert_non_null(policy.head);
    assert_true(policy.threshold == tl_core_threshold(f->loop->core));

    uint32_t learned = 9;
    label_as(f, newest.id, CLASSES[2], NULL);
    settle(f);
    assert_true(tl_keymap_get(&challenger_of(f)->members, newest.position, &learned));
    assert_int_equal(learned, 2);
    withdraw(f, newest.id, NULL);
    settle(f);
    assert_int_equal(challenger_of(f)->members.count, LABELS - 1);
    assert_int_equal(tl_head_stats_total(challenger_of(f)->made->stats), LABELS - 1);

    uint64_t digest = tl_core_full_digest(f->loop->core);
    reopen(f); /* from a checkpoint */
    settle(f);
    assert_true(tl_core_full_digest(f->loop->core) == digest);
    see_some(f, &rng, 3);
    assert_int_equal(challenger_of(f)->members.count, LABELS + 2);
    verify(f);
}

static void decide(tl_core *core, void *context)
{
    (void)context;
    const tl_shadow *shadow = tl_core_find_watched(core, TL_WATCH_CHALLENGER);
    core->verdict = (tl_gate_verdict){ .kind = TL_GATE_PROMOTE, .version = shadow->key };
    core->has_verdict = true;
    core->verdict_number++;
}

static void it_serves_with_what_it_knows(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_error err = { 0 };
    tl_rng_seed(&rng, 4, 0);
    see_some(f, &rng, LABELS);
    uint64_t version = challenger_of(f)->version;
    ok(tl_control_look(f->loop, decide, NULL, &err), &err);
    see_some(f, &rng, 1); /* a round, in which the verdict takes effect */
    assert_int_equal(f->loop->core->champion, version);
    assert_int_equal(f->loop->core->members.count, LABELS + 1);
    assert_int_equal(tl_head_stats_total(f->loop->core->stats), LABELS + 1);
    assert_null(challenger_of(f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_challenger_learns_along, set_up_images, tear_down),
        cmocka_unit_test_setup_teardown(it_serves_with_what_it_knows, set_up_images, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Whether the gate is right in a loop that learns only from what was put before people: whatever it
 * promotes or certifies is asked about items whose labels nobody ever gives. */
#include "loop/test/test_support.h"

#include "loop/version/model.h"

enum { HIDDEN = 3000, STREAM = 1600, COLD = 80 };

static int set_up_gated(void **state)
{
    if (set_up_closed(state) != 0) return -1;
    fixture *f = *state;
    f->options.gate.promotion = TL_PROMOTION_PROVEN;
    f->options.gate.unit = TL_EVIDENCE_ITEM;
    f->options.cold_labels = COLD;
    f->options.audit_rate = 0.05;
    f->env = known_env();
    open_loop(f);
    return 0;
}

/* Two of three items are good. From the middle of the stream on everything lies elsewhere. */
static void draw_item(tl_rng *rng, bool moved, uint32_t *label, float x[FEATURES])
{
    uint64_t kind = tl_rng_below(rng, 6);
    *label = kind < 4 ? 0 : (uint32_t)(kind - 3);
    for (int i = 0; i < FEATURES; i++) {
        int place = moved ? (i + 1) % FEATURES : i;
        x[i] = (float)(tl_rng_normal(rng) * 0.7 + (place % 3 == (int)*label ? 1.5 : 0.0));
    }
}

/* Errors of a policy on hidden items as they are drawn then. */
static uint32_t errors_of(fixture *f, const tl_model *model, bool moved)
{
    tl_rng rng;
    tl_plan *plan = NULL;
    tl_error err = { 0 };
    tl_plan_options options = { .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1 };
    uint32_t errors = 0;
    ok(tl_plan_create(f->loop->graph, &options, &plan, &err), &err);
    tl_rng_seed(&rng, 77, 0);
    for (int i = 0; i < HIDDEN; i++) {
        uint32_t label;
        float x[FEATURES], heads[TL_MODEL_HEAD_COUNT * 3], scores[3];
        draw_item(&rng, moved, &label, x);
        tl_items_to_input(&f->loop->config, NULL, x, tl_plan_input(plan, 0), 0);
        ok(tl_plan_infer(plan, model->weights, 1, &err), &err);
        tl_model_score(model, tl_plan_output(plan, 0), tl_plan_features(plan), heads, scores);
        errors += (1.0f - scores[0] >= model->threshold) != (label != 0);
    }
    tl_plan_destroy(&plan);
    return errors;
}

/* What answers, and who is in shadow (NULL: nobody); one reference each. */
typedef struct cast {
    tl_model *champion, *baseline, *challenger;
} cast;

static cast take_cast(fixture *f)
{
    cast now = { .champion = tl_model_slot_get(f->loop->model) };
    tl_standing standings[TL_GATE_SHADOW_MAX];
    size_t count = tl_loop_standings(f->loop, standings, TL_COUNT_OF(standings));
    pthread_mutex_lock(&f->loop->mutex);
    for (size_t i = 0; i < f->loop->shared.shadow_count && i < count; i++) {
        tl_model *shadow = f->loop->shared.shadows[i], **place = NULL;
        if (strcmp(standings[i].role, "baseline") == 0) place = &now.baseline;
        if (strcmp(standings[i].role, "challenger") == 0) place = &now.challenger;
        if (place == NULL) continue;
        tl_model_retain(shadow);
        *place = shadow;
    }
    pthread_mutex_unlock(&f->loop->mutex);
    return now;
}

static void release(cast *c)
{
    tl_model_release(&c->champion);
    tl_model_release(&c->baseline);
    tl_model_release(&c->challenger);
}

/* Holds what came against what it replaced; returns whether something came. */
static bool judge(fixture *f, const cast *before, const cast *now, uint64_t *seen, bool moved)
{
    tl_gate_event events[8];
    size_t count = tl_loop_gate_events(f->loop, events, TL_COUNT_OF(events));
    bool came = false;
    for (size_t i = 0; i < count && events[i].position > *seen; i++) {
        bool promoted = strcmp(events[i].kind, "promoted") == 0;
        bool certified = strcmp(events[i].kind, "certified") == 0;
        assert_string_not_equal(events[i].kind, "taken_back");
        if (!promoted && !certified) continue;
        const tl_model *replaced = promoted ? before->champion : before->baseline;
        assert_non_null(replaced);
        uint32_t errors = errors_of(f, replaced, moved);
        assert_in_range(errors_of(f, now->champion, moved), 0, errors);
        if (promoted) /* what was proven: its fast head is the old one's, if features are shared */
            assert_in_range(errors_of(f, before->challenger, moved), 0, errors);
        came = true;
    }
    if (count > 0) *seen = events[0].position;
    return came;
}

static void what_comes_is_truly_better_though_few_are_labelled(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    uint64_t seen = 0;
    int labels = 0, came = 0;
    cast before = take_cast(f);
    tl_rng_seed(&rng, 5, 0);
    for (int i = 0; i < STREAM; i++) {
        uint32_t label;
        float x[FEATURES];
        bool moved = i >= STREAM / 4;
        draw_item(&rng, moved, &label, x);
        tl_prediction p = predict(f, x, id_of((uint64_t)i + 1));
        if (p.review) label_as(f, p.id, CLASSES[label], NULL);
        labels += p.review;
        settle(f);
        cast now = take_cast(f);
        came += judge(f, &before, &now, &seen, moved);
        release(&before);
        before = now;
    }
    release(&before);
    assert_in_range(came, 1, 20);
    assert_in_range(labels, COLD, STREAM / 2);
    verify(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_comes_is_truly_better_though_few_are_labelled,
                                        set_up_gated, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

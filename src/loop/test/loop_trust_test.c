/* A source that speaks against all others is not learned from, and what was learned from it is taken
 * out; a word of somebody else on the same item is. */
#include "loop/core/internal.h"
#include "loop/test/test_support.h"

enum { PEOPLE = 6, LIAR = 5, HIDDEN = 300 };

static int set_up_hostile(void **state)
{
    if (set_up_closed(state) != 0) return -1;
    fixture *f = *state;
    f->options.gate.promotion = TL_PROMOTION_PROVEN;
    f->options.gate.hostile = 0.25;
    f->options.gate.unit = TL_EVIDENCE_ITEM;
    f->options.cold_labels = 40;
    f->options.audit_rate = 1.0;
    f->env = known_env();
    open_loop(f);
    return 0;
}

/* Items that people judge in turn; the liar takes every defect for good, and what is good for a
 * dent. Returns the newest lie. */
static tl_prediction judge_some(fixture *f, tl_rng *rng, int count, tl_id *lies, int *lie_count)
{
    tl_prediction newest = { 0 };
    for (int i = 0; i < count; i++) {
        uint32_t label;
        float x[FEATURES];
        char name[16];
        draw(rng, &label, x);
        int who = i % PEOPLE;
        snprintf(name, sizeof name, "person-%d", who);
        uint32_t said = who != LIAR ? label : label == 0 ? 2 : 0;
        tl_prediction p = predict(f, x, NO_ID);
        label_as(f, p.id, CLASSES[said], name);
        if (who != LIAR) continue;
        newest = p;
        lies[(*lie_count)++] = p.id;
    }
    settle(f);
    return newest;
}

static const tl_gate_note *note_of(fixture *f, tl_gate_note_kind kind)
{
    const tl_core *core = f->loop->core;
    for (size_t i = core->note_count; i-- > 0;)
        if (core->notes[i].kind == kind) return &core->notes[i];
    return NULL;
}

static int correct_of(fixture *f)
{
    tl_rng rng;
    int correct = 0;
    tl_rng_seed(&rng, 99, 0);
    for (int i = 0; i < HIDDEN; i++) {
        uint32_t label;
        float x[FEATURES];
        draw(&rng, &label, x);
        correct += predict(f, x, NO_ID).label == label;
    }
    return correct;
}

static void a_liar_is_not_learned_from(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_id lies[128];
    int lie_count = 0;
    tl_rng_seed(&rng, 11, 0);
    tl_prediction newest = judge_some(f, &rng, 480, lies, &lie_count);
    const tl_core *core = f->loop->core;
    const tl_gate_note *note = note_of(f, TL_NOTE_DISTRUSTED);
    assert_non_null(note);
    assert_non_null(strstr(note->words, "person-5"));
    assert_int_equal(core->trust->held.count, lie_count);
    assert_int_equal(core->members.count, 480 - lie_count);
    assert_int_equal(core->labels, 480);

    /* What he adds is held as well, until somebody else says it. */
    assert_true(tl_keymap_get(&core->trust->held, newest.position, NULL));
    label_as(f, newest.id, CLASSES[newest.label], "person-0");
    settle(f);
    assert_false(tl_keymap_get(&core->trust->held, newest.position, NULL));
    assert_true(tl_keymap_get(&core->members, newest.position, NULL));
    label_as(f, newest.id, CLASSES[(newest.label + 1) % 3], "person-5");
    settle(f);
    assert_true(tl_keymap_get(&core->trust->held, newest.position, NULL));
    assert_false(tl_keymap_get(&core->members, newest.position, NULL));
    withdraw(f, newest.id, "person-5"); /* then the word of person-0 stands again */
    settle(f);
    assert_int_equal(core->trust->held.count, lie_count - 1);
    assert_true(correct_of(f) >= HIDDEN * 97 / 100);
    verify(f);
    reopen(f);
    assert_int_equal(f->loop->core->trust->held.count, lie_count - 1);
    verify(f);
}

/* Who comes to reason is learned from again. */
static void trust_comes_back(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_id lies[128];
    int lie_count = 0;
    tl_rng_seed(&rng, 12, 0);
    judge_some(f, &rng, 240, lies, &lie_count);
    assert_non_null(note_of(f, TL_NOTE_DISTRUSTED));
    for (int i = 0; i < 300; i++) {
        uint32_t label;
        float x[FEATURES];
        char name[16];
        draw(&rng, &label, x);
        snprintf(name, sizeof name, "person-%d", i % PEOPLE);
        tl_prediction p = predict(f, x, NO_ID);
        label_as(f, p.id, CLASSES[label], name);
    }
    settle(f);
    assert_non_null(note_of(f, TL_NOTE_TRUSTED));
    verify(f);
}

/* Where sources are trusted, nobody is judged. */
static void without_the_knob_nobody_is_judged(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_id lies[128];
    int lie_count = 0;
    tl_rng_seed(&rng, 11, 0);
    judge_some(f, &rng, 300, lies, &lie_count);
    assert_null(note_of(f, TL_NOTE_DISTRUSTED));
    assert_int_equal(f->loop->core->trust->held.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_liar_is_not_learned_from, set_up_hostile, tear_down),
        cmocka_unit_test_setup_teardown(trust_comes_back, set_up_hostile, tear_down),
        cmocka_unit_test_setup_teardown(without_the_knob_nobody_is_judged, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

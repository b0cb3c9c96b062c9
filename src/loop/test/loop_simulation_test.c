/* A loop's life drawn from a seed: predictions, all kinds of feedback, calls by hand, faults of the
 * disk, power cuts, restarts. After each restart everything acknowledged is there, and rebuilding
 * the state from the journal gives the same. TL_SIMULATION_SEEDS: how many lives; default 8. */
#include "journal/test/simdisk_impl.h"
#include "loop/test/test_support.h"

enum { RESTARTS = 4, STEPS = 120, KNOWN_MAX = RESTARTS * STEPS };

typedef struct life {
    fixture f;
    tl_simdisk *disk;
    tl_rng rng;
    tl_id id[KNOWN_MAX]; /* acknowledged predictions */
    size_t known;
    uint64_t early;             /* ids made up so far */
    uint64_t feedback, unknown; /* acknowledged; and those that failed: there or not */
} life;

static void say(life *l, tl_feedback feedback)
{
    static const char *const sources[] = { "ann", "bob", "cam" };
    feedback.source = sources[tl_rng_below(&l->rng, 3)];
    tl_status status = tl_loop_feedback(l->f.loop, &feedback, NULL, NULL);
    l->feedback += status == TL_OK;
    l->unknown += status != TL_OK;
}

static void live_feedback(life *l)
{
    tl_feedback feedback = { .label = CLASSES[tl_rng_below(&l->rng, 3)],
                             .correct = tl_rng_below(&l->rng, 2) == 0 };
    uint64_t kind = tl_rng_below(&l->rng, 12);
    feedback.kind = kind < 9    ? TL_FEEDBACK_LABEL
                    : kind < 10 ? TL_FEEDBACK_VERDICT
                                : TL_FEEDBACK_WITHDRAW;
    if (l->known == 0 || tl_rng_below(&l->rng, 10) == 0)
        feedback.prediction_id = id_of(l->early + tl_rng_below(&l->rng, 4)); /* may come later */
    else
        feedback.prediction_id = l->id[tl_rng_below(&l->rng, l->known)];
    say(l, feedback);
}

static void live_prediction(life *l)
{
    uint32_t label;
    float x[FEATURES];
    draw(&l->rng, &label, x);
    tl_item item = { .features = x, .feature_count = FEATURES };
    if (tl_rng_below(&l->rng, 4) == 0) item.id = id_of(l->early++);
    tl_prediction p;
    if (tl_loop_predict(l->f.loop, &item, &p, NULL) != TL_OK) return;
    l->id[l->known++] = p.id;
    if (tl_rng_below(&l->rng, 3) > 0)
        say(l, (tl_feedback){
                   .prediction_id = p.id, .kind = TL_FEEDBACK_LABEL, .label = CLASSES[label] });
}

static void live_control(life *l)
{
    tl_loop *loop = l->f.loop;
    tl_id id = l->known > 0 ? l->id[tl_rng_below(&l->rng, l->known)] : id_of(0);
    switch (tl_rng_below(&l->rng, 8)) {
    case 0: tl_loop_set_learning(loop, false, "me", NULL); break;
    case 1:
    case 2: tl_loop_set_learning(loop, true, "me", NULL); break;
    case 3: tl_loop_rollback(loop, 0, "me", NULL); break;
    case 4: tl_loop_promote(loop, 1 + tl_rng_below(&l->rng, 6), "me", NULL); break;
    case 5: tl_loop_golden_add(loop, id, "me", NULL); break;
    case 6: tl_loop_golden_remove(loop, id, "me", NULL); break;
    case 7: {
        char name[16];
        snprintf(name, sizeof name, "class%llu", (unsigned long long)tl_rng_below(&l->rng, 4));
        tl_loop_add_class(loop, name, "me", NULL);
        break;
    }
    }
}

static void arm(life *l)
{
    static const tl_simdisk_fault faults[] = { TL_SIMDISK_FULL, TL_SIMDISK_WRITE, TL_SIMDISK_SYNC };
    uint64_t when = 1 + tl_rng_below(&l->rng, 1500);
    if (tl_rng_below(&l->rng, 3) == 0) tl_simdisk_cut_after(l->disk, when);
    if (tl_rng_below(&l->rng, 3) == 0)
        tl_simdisk_fail(l->disk, faults[tl_rng_below(&l->rng, 3)], when / 3 + 1,
                        1 + tl_rng_below(&l->rng, 3));
}

static void check(life *l, uint64_t seed)
{
    tl_loop_state now = status_of(&l->f);
    if (now.feedback < l->feedback || now.feedback > l->feedback + l->unknown)
        fail_msg("seed %llu: %llu statements are there, %llu were acknowledged",
                 (unsigned long long)seed, (unsigned long long)now.feedback,
                 (unsigned long long)l->feedback);
    l->feedback = now.feedback;
    l->unknown = 0;
    pthread_mutex_lock(&l->f.loop->lookup_mutex);
    for (size_t i = 0; i < l->known; i++) {
        tl_record record;
        tl_arena_reset(&l->f.loop->lookup.arena);
        ok(tl_journal_find_prediction(l->f.loop->lookup.journal, l->f.loop->number, l->id[i], false,
                                      &l->f.loop->lookup.arena, &record, NULL, NULL),
           NULL);
    }
    pthread_mutex_unlock(&l->f.loop->lookup_mutex);
    drain(&l->f);
    now = status_of(&l->f);
    tl_verify_options options = { .path = l->f.path, .vfs = l->f.vfs, .loop = "parts" };
    tl_verify_report report;
    tl_error err = { 0 };
    tl_runtime_close(&l->f.runtime);
    if (tl_replay_verify(&options, &report, &err) != TL_OK)
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
    if (report.mismatches > 0)
        fail_msg("seed %llu: %s", (unsigned long long)seed, report.first_mismatch);
    if (report.digest != now.digest || report.labels != now.labels)
        fail_msg("seed %llu: the state rebuilt differs", (unsigned long long)seed);
}

static void live(const fixture *from, uint64_t seed)
{
    life *l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->f = *from;
    l->disk = tl_simdisk_create("loop-life", seed);
    l->f.vfs = "loop-life";
    l->f.runtime_options.path = "journal.db";
    l->f.runtime_options.durability = TL_DURABILITY_FULL;
    l->f.options.publish_every_labels = 8;
    l->f.options.replay_per_label = 2;
    l->f.options.seed = seed;
    snprintf(l->f.path, sizeof l->f.path, "journal.db");
    tl_rng_seed(&l->rng, seed, 2);
    for (int restart = 0; restart < RESTARTS; restart++) {
        open_loop(&l->f);
        arm(l);
        for (int i = 0; i < STEPS; i++) {
            uint64_t what = tl_rng_below(&l->rng, 20);
            if (what < 12)
                live_prediction(l);
            else if (what < 19)
                live_feedback(l);
            else
                live_control(l);
        }
        if (tl_rng_below(&l->rng, 2) == 0) tl_simdisk_cut_after(l->disk, 0); /* no good-bye */
        tl_runtime_close(&l->f.runtime);
        for (int fault = TL_SIMDISK_FULL; fault <= TL_SIMDISK_SYNC; fault++)
            tl_simdisk_fail(l->disk, (tl_simdisk_fault)fault, UINT64_MAX, 0);
        tl_simdisk_power_on(l->disk);
        open_loop(&l->f);
        check(l, seed);
    }
    tl_simdisk_destroy(&l->disk);
    free(l);
}

static void lives_are_replayed_exactly(void **state)
{
    const char *text = getenv("TL_SIMULATION_SEEDS");
    uint64_t seeds = text == NULL ? 8 : strtoull(text, NULL, 10);
    tl_log_set_level(TL_LOG_ERROR + 1);
    for (uint64_t seed = 1; seed <= seeds; seed++) live(*state, seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = { CLOSED_TEST(lives_are_replayed_exactly) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

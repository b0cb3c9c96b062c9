/* test_support.h - what the tests of the loop share; each includes it once. */
#ifndef TL_LOOP_TEST_SUPPORT_H
#define TL_LOOP_TEST_SUPPORT_H

#include "base/log.h"
#include "base/rng.h"
#include "loop/replay.h"
#include "loop/threads/runtime.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { FEATURES = 8 };

static const char *const CLASSES[] = { "ok", "scratch", "dent" };
static const tl_id NO_ID;

/* A journal in a folder of its own, with one loop of features. Options may be changed between
 * setting up and opening. */
typedef struct fixture {
    char path[64];
    const char *vfs;
    const tl_env *env; /* NULL: the machine's */
    uint64_t brought;  /* ids so far, where draws are to be the same in each run */
    tl_runtime_options runtime_options;
    tl_loop_options options;
    tl_runtime *runtime;
    tl_loop *loop;
} fixture;

/* Who is drawn hangs on a secret and on ids. With this secret, and ids that are counted (predict), each
 * run is the same. */
static inline void known_random(void *context, void *out, size_t bytes)
{
    (void)context;
    memset(out, 42, bytes);
}

static inline const tl_env *known_env(void)
{
    static tl_env env;
    env = *tl_env_system();
    env.random = known_random;
    return &env;
}

static inline void open_runtime(fixture *f)
{
    tl_error err = { 0 };
    if (tl_runtime_open_in(&f->runtime_options, f->env, f->vfs, &f->runtime, &err) != TL_OK)
        fail_msg("open: %s", err.text);
}

static inline void open_loop(fixture *f)
{
    tl_error err = { 0 };
    open_runtime(f);
    if (tl_loop_open(f->runtime, &f->options, &f->loop, &err) != TL_OK)
        fail_msg("loop: %s", err.text);
}

static inline void reopen(fixture *f)
{
    tl_runtime_close(&f->runtime);
    open_loop(f);
}

static inline int set_up_closed(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    snprintf(f->path, sizeof f->path, "/tmp/tightloop-test-XXXXXX");
    if (mkdtemp(f->path) == NULL) return -1;
    tl_log_set_level(TL_LOG_ERROR);
    f->runtime_options = tl_runtime_options_default();
    f->runtime_options.path = f->path;
    f->runtime_options.durability = TL_DURABILITY_RELAXED;
    f->options = tl_loop_options_default();
    f->options.name = "parts";
    f->options.input = TL_INPUT_FEATURES;
    f->options.feature_count = FEATURES;
    f->options.classes = CLASSES;
    f->options.class_count = 3;
    f->options.cold_labels = 20;
    f->options.publish_every_labels = 16;
    f->options.replay_per_label = 4;
    f->options.gate.promotion = TL_PROMOTION_NO_WORSE;
    *state = f;
    return 0;
}

static inline int set_up(void **state)
{
    if (set_up_closed(state) != 0) return -1;
    open_loop(*state);
    return 0;
}

static inline int remove_entry(const char *path, const struct stat *info, int type,
                               struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static inline int tear_down(void **state)
{
    fixture *f = *state;
    tl_runtime_close(&f->runtime);
    nftw(f->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

#define LOOP_TEST(name)   cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define CLOSED_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_closed, tear_down)

/* Three Gaussian classes, well apart. */
static inline void draw(tl_rng *rng, uint32_t *label, float x[FEATURES])
{
    *label = (uint32_t)tl_rng_below(rng, 3);
    for (int i = 0; i < FEATURES; i++)
        x[i] = (float)(tl_rng_normal(rng) * 0.5 + (i % 3 == (int)*label ? 2.0 : 0.0));
}

static inline tl_id id_of(uint64_t number)
{
    tl_id id = { { 0xee } };
    memcpy(id.bytes + 8, &number, sizeof number);
    return id;
}

static inline tl_prediction predict_by(tl_loop *loop, const float *x, tl_id id)
{
    tl_error err = { 0 };
    tl_item item = { .id = id, .features = x, .feature_count = FEATURES };
    tl_prediction prediction = { 0 };
    if (tl_loop_predict(loop, &item, &prediction, &err) != TL_OK) fail_msg("predict: %s", err.text);
    return prediction;
}

static inline tl_prediction predict(fixture *f, const float *x, tl_id id)
{
    if (f->env != NULL && memcmp(&id, &NO_ID, sizeof id) == 0) {
        id = id_of(++f->brought);
        id.bytes[1] = 1; /* none that a test brings itself */
    }
    return predict_by(f->loop, x, id);
}

static inline tl_feedback_result feed(tl_loop *loop, tl_feedback feedback)
{
    tl_error err = { 0 };
    tl_feedback_result result = { 0 };
    if (tl_loop_feedback(loop, &feedback, &result, &err) != TL_OK)
        fail_msg("feedback: %s", err.text);
    return result;
}

static inline tl_feedback_state label_as(fixture *f, tl_id id, const char *label,
                                         const char *source)
{
    return feed(f->loop, (tl_feedback){ .prediction_id = id,
                                        .kind = TL_FEEDBACK_LABEL,
                                        .label = label,
                                        .source = source })
        .state;
}

static inline tl_feedback_state withdraw(fixture *f, tl_id id, const char *source)
{
    return feed(
               f->loop,
               (tl_feedback){ .prediction_id = id, .kind = TL_FEEDBACK_WITHDRAW, .source = source })
        .state;
}

static inline tl_loop_state status_of(fixture *f)
{
    tl_loop_state state;
    tl_loop_status(f->loop, &state);
    return state;
}

/* Predict and label `count` drawn items; returns how many were right. */
static inline int label_some(fixture *f, tl_rng *rng, int count)
{
    int correct = 0;
    for (int i = 0; i < count; i++) {
        uint32_t label;
        float x[FEATURES];
        draw(rng, &label, x);
        tl_prediction prediction = predict(f, x, NO_ID);
        correct += prediction.label == label;
        label_as(f, prediction.id, CLASSES[label], NULL);
    }
    return correct;
}

static inline void ok(tl_status status, const tl_error *err)
{
    if (status != TL_OK) fail_msg("%s", err->text);
}

static inline void drain(fixture *f)
{
    tl_error err = { 0 };
    ok(tl_loop_drain(f->loop, &err), &err);
}

/* Everything that was answered is in the core, which rests until the next call. */
static inline void settle(fixture *f)
{
    drain(f);
    while (atomic_load(&f->loop->inflight) > 0) tl_control_barrier(f->loop, NULL);
    assert_int_equal(tl_control_barrier(f->loop, NULL), TL_OK);
}

/* Of the statistics; the learner must have nothing to do. */
static inline uint64_t stats_digest(fixture *f)
{
    drain(f);
    assert_int_equal(tl_control_barrier(f->loop, NULL), TL_OK);
    return tl_core_stats_digest(f->loop->core);
}

static inline tl_estimates estimates_of(fixture *f)
{
    tl_estimates estimates;
    tl_error err = { 0 };
    settle(f);
    ok(tl_loop_estimates(f->loop, &estimates, &err), &err);
    return estimates;
}

/* Work through what waits, close, rebuild everything from the journal, and hold it against what was
 * recorded. */
static inline tl_verify_report verify(fixture *f)
{
    drain(f);
    uint64_t digest = status_of(f).digest;
    tl_runtime_close(&f->runtime);
    tl_verify_options options = { .path = f->path, .vfs = f->vfs, .loop = "parts" };
    tl_verify_report report;
    tl_error err = { 0 };
    ok(tl_replay_verify(&options, &report, &err), &err);
    if (report.mismatches > 0) fail_msg("mismatch: %s", report.first_mismatch);
    assert_true(report.digest == digest);
    assert_int_equal(report.unchecked, 0);
    return report;
}

#endif

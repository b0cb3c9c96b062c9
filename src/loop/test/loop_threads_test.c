/* Several threads and several loops in one runtime; made to be run under ThreadSanitizer too. */
#include "loop/test/test_support.h"

enum { CALLERS = 4, ROUNDS = 60 };

static tl_loop *open_another(fixture *f, const char *name)
{
    tl_loop *loop = NULL;
    tl_loop_options options = f->options;
    options.name = name;
    tl_error err = { 0 };
    ok(tl_loop_open(f->runtime, &options, &loop, &err), &err);
    return loop;
}

typedef struct caller {
    pthread_t thread;
    tl_loop *loop;
    uint64_t seed;
    _Atomic uint64_t *accepted, *answered;
} caller;

static void count_prediction(void *context, tl_status status, const tl_prediction *predictions,
                             size_t count, const tl_error *err)
{
    (void)status, (void)predictions, (void)count, (void)err;
    atomic_fetch_add((_Atomic uint64_t *)context, 1);
}

static void count_feedback(void *context, tl_status status, const tl_feedback_result *results,
                           size_t count, const tl_error *err)
{
    (void)status, (void)results, (void)count, (void)err;
    atomic_fetch_add((_Atomic uint64_t *)context, 1);
}

/* Predictions that bring their ids, and feedback on them that may come before or after. */
static void *call(void *context)
{
    caller *c = context;
    tl_rng rng;
    tl_rng_seed(&rng, c->seed, 1);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint32_t label;
        float x[FEATURES];
        draw(&rng, &label, x);
        tl_id id = id_of(c->seed * 100000 + i);
        tl_item item = { .id = id, .features = x, .feature_count = FEATURES };
        tl_predict_request request = { .items = &item, .count = 1 };
        tl_feedback said = { .prediction_id = id,
                             .kind = TL_FEEDBACK_LABEL,
                             .label = CLASSES[label] };
        tl_feedback_request feedback = { .items = &said, .count = 1 };
        bool early = tl_rng_below(&rng, 2) == 0;
        for (int turn = 0; turn < 2; turn++) {
            bool predicts = (turn == 0) != early;
            tl_status status = predicts ? tl_loop_predict_async(c->loop, &request, count_prediction,
                                                                (void *)c->answered, NULL)
                                        : tl_loop_feedback_async(c->loop, &feedback, count_feedback,
                                                                 (void *)c->answered, NULL);
            if (status == TL_OK) atomic_fetch_add(c->accepted, 1);
        }
    }
    return NULL;
}

static void run_callers(tl_loop *const *loops, size_t loop_count, _Atomic uint64_t *accepted,
                        _Atomic uint64_t *answered)
{
    caller callers[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (caller){
            .loop = loops[i % loop_count], .seed = i + 1, .accepted = accepted, .answered = answered
        };
        pthread_create(&callers[i].thread, NULL, call, &callers[i]);
    }
    for (size_t i = 0; i < CALLERS; i++) pthread_join(callers[i].thread, NULL);
}

static void closing_answers_everything_that_was_accepted(void **state)
{
    fixture *f = *state;
    for (int round = 0; round < 3; round++) {
        tl_loop *loops[2] = { f->loop, open_another(f, "others") };
        _Atomic uint64_t accepted = 0, answered = 0;
        run_callers(loops, 2, &accepted, &answered);
        if (round == 1) tl_loop_close(&loops[1]); /* alone, while the other one is at work */
        tl_runtime_close(&f->runtime);
        assert_true(accepted > 0);
        assert_int_equal(atomic_load(&accepted), atomic_load(&answered));
        open_loop(f);
    }
    /* The same ids came again and were refused: one label for each, early or late. */
    assert_int_equal(status_of(f).labels, 2 * ROUNDS);
    assert_int_equal(status_of(f).pending, 0);
    verify(f);
}

static void two_loops_share_the_trainer_and_nothing_else(void **state)
{
    fixture *f = *state;
    f->runtime_options.trainer_threads = 0;
    open_loop(f);
    tl_loop *other = open_another(f, "others");
    float x[FEATURES] = { 2, 0, 0, 2, 0, 0, 2, 0 };
    tl_prediction untouched = predict_by(other, x, NO_ID);
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    label_some(f, &rng, 40);
    tl_prediction after = predict_by(other, x, NO_ID);
    assert_memory_equal(untouched.scores, after.scores, 3 * sizeof(float));
    for (int i = 0; i < 40; i++) {
        uint32_t label;
        float y[FEATURES];
        draw(&rng, &label, y);
        feed(other, (tl_feedback){ .prediction_id = predict_by(other, y, NO_ID).id,
                                   .kind = TL_FEEDBACK_LABEL,
                                   .label = CLASSES[(label + 1) % 3] });
    }
    f->runtime_options.trainer_threads = 1;
    reopen(f);
    other = open_another(f, "others");
    drain(f);
    assert_int_equal(tl_loop_drain(other, NULL), TL_OK);
    tl_loop_state theirs;
    tl_loop_status(other, &theirs);
    assert_int_equal(theirs.trained_labels, 40);
    assert_int_equal(status_of(f).trained_labels, 40);
    assert_int_not_equal(predict(f, x, NO_ID).label, predict_by(other, x, NO_ID).label);
    assert_ptr_equal(tl_runtime_loop(f->runtime, "others"), other);
    tl_loop_close(&other);
    assert_null(tl_runtime_loop(f->runtime, "others"));
    verify(f);
}

typedef struct opener {
    pthread_t thread;
    fixture *f;
    tl_loop *loop;
    tl_status status;
} opener;

static void *open_one(void *context)
{
    opener *o = context;
    o->status = tl_loop_open(o->f->runtime, &o->f->options, &o->loop, NULL);
    return NULL;
}

static void a_loop_is_opened_once(void **state)
{
    fixture *f = *state;
    open_runtime(f);
    opener openers[CALLERS];
    size_t opened = 0;
    for (size_t i = 0; i < CALLERS; i++) {
        openers[i] = (opener){ .f = f };
        pthread_create(&openers[i].thread, NULL, open_one, &openers[i]);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(openers[i].thread, NULL);
        opened += openers[i].status == TL_OK;
        if (openers[i].status == TL_OK)
            f->loop = openers[i].loop;
        else
            assert_int_equal(openers[i].status, TL_ECONFLICT);
    }
    assert_int_equal(opened, 1);
    verify(f);
}

static void *add_class(void *context)
{
    opener *o = context;
    o->status = tl_loop_add_class(o->f->loop, "rust", "me", NULL);
    return NULL;
}

static void a_class_is_added_once(void **state)
{
    fixture *f = *state;
    opener adders[CALLERS];
    size_t added = 0;
    for (size_t i = 0; i < CALLERS; i++) {
        adders[i] = (opener){ .f = f };
        pthread_create(&adders[i].thread, NULL, add_class, &adders[i]);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(adders[i].thread, NULL);
        added += adders[i].status == TL_OK;
    }
    tl_loop_info info;
    tl_loop_describe(f->loop, &info);
    assert_int_equal(added, 1);
    assert_int_equal(info.class_count, 4);
    verify(f);
}

static void a_small_queue_refuses_and_goes_on(void **state)
{
    fixture *f = *state;
    f->runtime_options.queue_max = 2;
    open_loop(f);
    tl_loop *loops[2] = { f->loop, open_another(f, "others") };
    _Atomic uint64_t accepted = 0, answered = 0;
    run_callers(loops, 2, &accepted, &answered);
    tl_loop_close(&loops[1]);
    float x[FEATURES] = { 1 };
    while (atomic_load(&f->loop->inflight) > 0) tl_control_barrier(f->loop, NULL);
    predict(f, x, NO_ID);
    verify(f);
    assert_int_equal(atomic_load(&accepted), atomic_load(&answered));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(closing_answers_everything_that_was_accepted),
        CLOSED_TEST(two_loops_share_the_trainer_and_nothing_else),
        CLOSED_TEST(a_loop_is_opened_once),
        LOOP_TEST(a_class_is_added_once),
        CLOSED_TEST(a_small_queue_refuses_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

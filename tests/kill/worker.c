/* The process that is killed: a loop under load from several threads. */
#include "base/rng.h"
#include "tests/kill/kill.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RECENT = 256 };

typedef struct worker {
    const kill_worker_options *options;
    tl_loop *loop;
    pthread_mutex_t mutex; /* of `recent` */
    struct {
        tl_id id;
        uint32_t label;
    } recent[RECENT];
    uint64_t recent_count;
    _Atomic uint64_t next; /* seeds of items and requests */
} worker;

static void tell(const worker *w, const kill_report *report)
{
    if (write(w->options->fd, report, sizeof *report) != sizeof *report) _exit(3);
}

/* A call that failed, unless it is one of those that a race explains. */
static void trouble(const worker *w, const char *call, tl_status status, const tl_error *err)
{
    if (status == TL_OK || status == TL_EFULL) return;
    kill_report report = { .kind = KILL_TROUBLE };
    snprintf(report.as.text, sizeof report.as.text, "%s: %s: %s", call, tl_status_name(status),
             err->text);
    tell(w, &report);
}

static uint64_t fresh_seed(worker *w)
{
    return tl_mix64(w->options->seed) + atomic_fetch_add(&w->next, 1);
}

/* ---- Predictions ----------------------------------------------------------------------------- */

static void remember(worker *w, tl_id id, uint32_t label)
{
    pthread_mutex_lock(&w->mutex);
    w->recent[w->recent_count % RECENT].id = id;
    w->recent[w->recent_count++ % RECENT].label = label;
    pthread_mutex_unlock(&w->mutex);
}

static void tell_prediction(const worker *w, const tl_prediction *p, uint64_t request,
                            uint32_t item)
{
    kill_report report = { .kind = KILL_PREDICTION,
                           .label = (int32_t)p->label,
                           .class_count = p->class_count,
                           .item = item,
                           .position = p->position,
                           .version = p->version,
                           .epoch = p->epoch,
                           .request = request,
                           .id = p->id };
    memcpy(report.as.scores, p->scores, sizeof report.as.scores);
    tell(w, &report);
}

static void predict_one(worker *w, uint64_t seed, bool brings_id)
{
    kill_item drawn;
    tl_prediction prediction;
    tl_error err = { 0 };
    kill_item_draw(&drawn, w->options->images, seed);
    if (brings_id) drawn.item.id = kill_id(seed);
    if (brings_id && w->options->eager) {
        kill_report lie = { .kind = KILL_PREDICTION, .id = drawn.item.id };
        tell(w, &lie);
    }
    tl_status status = tl_loop_predict(w->loop, &drawn.item, &prediction, &err);
    trouble(w, "predict", status, &err);
    if (status != TL_OK) return;
    tell_prediction(w, &prediction, 0, 0);
    remember(w, prediction.id, drawn.label);
}

static void *predict_on(void *context)
{
    worker *w = context;
    for (;;) {
        uint64_t seed = fresh_seed(w);
        predict_one(w, seed, tl_mix64(seed) % 3 == 0);
    }
    return NULL;
}

static void *ask_on(void *context)
{
    worker *w = context;
    for (;;) {
        uint64_t request = fresh_seed(w);
        tl_prediction answers[KILL_BATCH];
        tl_error err = { 0 };
        kill_report asking = { .kind = KILL_ASKING, .request = request };
        tell(w, &asking);
        tl_status status = kill_ask(w->loop, w->options->images, request, answers, &err);
        trouble(w, "request", status, &err);
        for (uint32_t i = 0; status == TL_OK && i < KILL_BATCH; i++) {
            kill_item drawn;
            kill_item_draw(&drawn, w->options->images, tl_mix64(request) + i);
            tell_prediction(w, &answers[i], request, i);
            remember(w, answers[i].id, drawn.label);
        }
    }
    return NULL;
}

/* ---- Feedback -------------------------------------------------------------------------------- */

static void say(worker *w, tl_id id, tl_feedback_kind kind, int32_t label, tl_rng *rng)
{
    tl_loop_info info;
    tl_error err = { 0 };
    tl_feedback_result result;
    tl_loop_describe(w->loop, &info);
    uint32_t source = (uint32_t)tl_rng_below(rng, KILL_SOURCES);
    if (kind != TL_FEEDBACK_LABEL) label = -1;
    tl_feedback feedback = { .prediction_id = id,
                             .kind = kind,
                             .label = label < 0 ? NULL : info.classes[label],
                             .correct = true,
                             .source = KILL_SOURCE[source] };
    tl_status status = tl_loop_feedback(w->loop, &feedback, &result, &err);
    trouble(w, "feedback", status, &err);
    if (status != TL_OK) return;
    kill_report report = { .kind = KILL_FEEDBACK,
                           .state = (uint32_t)result.state,
                           .label = label,
                           .source = source,
                           .position = result.position,
                           .seed = (uint64_t)kind,
                           .id = id };
    tell(w, &report);
}

/* Feedback that comes before its prediction. */
static void say_early(worker *w, tl_rng *rng)
{
    kill_item drawn;
    uint64_t seed = fresh_seed(w);
    kill_item_draw(&drawn, false, seed);
    say(w, kill_id(seed), TL_FEEDBACK_LABEL, (int32_t)drawn.label, rng);
    if (tl_rng_below(rng, 4) != 0) predict_one(w, seed, true);
}

static void *speak_on(void *context)
{
    worker *w = context;
    tl_rng rng;
    tl_rng_seed(&rng, w->options->seed, fresh_seed(w));
    for (;;) {
        pthread_mutex_lock(&w->mutex);
        uint64_t known = w->recent_count < RECENT ? w->recent_count : RECENT;
        uint64_t which = known > 0 ? tl_rng_below(&rng, known) : 0;
        tl_id id = w->recent[which].id;
        uint32_t label = w->recent[which].label;
        pthread_mutex_unlock(&w->mutex);
        uint64_t draw = tl_rng_below(&rng, 20);
        if (known == 0 || draw == 0)
            say_early(w, &rng);
        else if (draw <= 2)
            say(w, id, TL_FEEDBACK_WITHDRAW, -1, &rng);
        else if (draw == 3)
            say(w, id, TL_FEEDBACK_VERDICT, -1, &rng);
        else if (draw <= 5)
            say(w, id, TL_FEEDBACK_LABEL, (int32_t)tl_rng_below(&rng, KILL_CLASSES), &rng);
        else
            say(w, id, TL_FEEDBACK_LABEL, (int32_t)label, &rng);
    }
    return NULL;
}

/* ---- Control --------------------------------------------------------------------------------- */

static void switch_learning(worker *w, bool on)
{
    tl_error err = { 0 };
    kill_report report = { .kind = KILL_LEARNING_SOON };
    tell(w, &report);
    tl_status status = tl_loop_set_learning(w->loop, on, "operator", &err);
    trouble(w, "set learning", status, &err);
    report = (kill_report){ .kind = KILL_LEARNING, .state = on };
    if (status == TL_OK) tell(w, &report);
}

static void add_class(worker *w)
{
    tl_loop_info info;
    tl_error err = { 0 };
    char name[TL_TEXT_BYTES_MAX];
    tl_loop_describe(w->loop, &info);
    if (info.class_count >= KILL_CLASSES + KILL_EXTRA_CLASSES) return;
    snprintf(name, sizeof name, "new %zu", info.class_count);
    tl_status status = tl_loop_add_class(w->loop, name, "operator", &err);
    trouble(w, "add class", status, &err);
    kill_report report = { .kind = KILL_CLASS, .label = (int32_t)info.class_count + 1 };
    if (status == TL_OK) tell(w, &report);
}

/* A way back, then learning again; none to go back to, or it went meanwhile: fine. */
static void roll_back(worker *w)
{
    tl_error err = { 0 };
    kill_report report = { .kind = KILL_LEARNING_SOON };
    tell(w, &report);
    tl_status status = tl_loop_rollback(w->loop, 0, "operator", &err);
    if (status != TL_ENOTFOUND && status != TL_ECONFLICT) trouble(w, "roll back", status, &err);
    switch_learning(w, true);
}

static void change_golden(worker *w, tl_rng *rng)
{
    tl_id golden[8];
    tl_error err = { 0 };
    size_t count = tl_loop_golden(w->loop, golden, 8);
    pthread_mutex_lock(&w->mutex);
    tl_id id = w->recent[0].id;
    bool any = w->recent_count > 0;
    pthread_mutex_unlock(&w->mutex);
    if (count >= 8) {
        tl_status status =
            tl_loop_golden_remove(w->loop, golden[tl_rng_below(rng, 8)], "operator", &err);
        if (status != TL_ENOTFOUND) trouble(w, "remove golden", status, &err);
    } else if (any) { /* a label may be withdrawn meanwhile */
        tl_status status = tl_loop_golden_add(w->loop, id, "operator", &err);
        if (status != TL_EINVAL) trouble(w, "add golden", status, &err);
    }
}

static void *control_on(void *context)
{
    worker *w = context;
    tl_rng rng;
    tl_rng_seed(&rng, w->options->seed, 77);
    for (;;) {
        usleep((useconds_t)(2000 + tl_rng_below(&rng, 20000)));
        switch (tl_rng_below(&rng, 8)) {
        case 0: switch_learning(w, false); break;
        case 1:
        case 2: switch_learning(w, true); break;
        case 3: add_class(w); break;
        case 4: roll_back(w); break;
        default: change_golden(w, &rng); break;
        }
    }
    return NULL;
}

static void watch(const worker *w)
{
    uint64_t before = 0;
    for (;;) {
        tl_loop_state state;
        tl_loop_status(w->loop, &state);
        kill_report report = { .kind = KILL_STATUS,
                               .position = state.position,
                               .digest = state.digest,
                               .epoch = state.epoch };
        if (state.position != before) tell(w, &report);
        before = state.position;
        usleep(500);
    }
}

int kill_worker_run(const kill_worker_options *options)
{
    static worker w;
    tl_runtime *runtime;
    tl_error err = { 0 };
    w.options = options;
    pthread_mutex_init(&w.mutex, NULL);
    tl_status status =
        kill_open(options->path, options->images, false, true, &runtime, &w.loop, &err);
    if (status != TL_OK) {
        trouble(&w, "open", status, &err);
        return 1;
    }
    kill_report ready = { .kind = KILL_READY };
    tell(&w, &ready);
    void *(*const threads[])(void *) = { predict_on, predict_on, ask_on,    speak_on,
                                         speak_on,   speak_on,   control_on };
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, threads[i], &w) != 0) return 1;
    }
    watch(&w);
    return 1;
}

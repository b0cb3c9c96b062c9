/* stub_loop.h - a test double of the loop: the functions of tightloop.h that the server calls, in
 * memory, with knobs that make them fail or wait. Layer: tests of the server. Include it in one
 * file of a test program; what it defines is then linked in the place of the loop's own functions.
 *
 * Its answers are simple functions of the input, so that a test can tell whether the right item got
 * the right answer: the scores of a feature vector come from its first number. */
#ifndef TL_SERVER_STUB_LOOP_H
#define TL_SERVER_STUB_LOOP_H

#include "base/env.h"
#include "base/id.h"
#include "base/status.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STUB_LOOPS_MAX = 4, STUB_JOBS_MAX = 16384, STUB_GOLDEN_MAX = 16, STUB_GROUP_MAX = 256 };

typedef struct stub_job {
    tl_predict_done predicted;
    tl_feedback_done learned;
    void *context;
    size_t count;
    tl_prediction *predictions;
    tl_feedback_result *results;
} stub_job;

struct tl_loop {
    tl_runtime *runtime;
    tl_loop_info info;
    uint64_t predictions, feedback, champion;
    bool learning, frozen;
    tl_id golden[STUB_GOLDEN_MAX];
    size_t golden_count;
};

struct tl_runtime {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    bool stop, waits;
    tl_loop loops[STUB_LOOPS_MAX];
    size_t loop_count;
    stub_job jobs[STUB_JOBS_MAX];
    size_t job_head, job_count;
    tl_id_maker maker;
    tl_event_fn event;
    void *event_context;
};

/* Knobs; set them before the request that they are for. */
static struct {
    _Atomic int predict_refuses; /* a tl_status: tl_loop_predict_async returns it */
    _Atomic int predict_fails;   /* a tl_status: `done` gets it */
    _Atomic int control_fails;   /* a tl_status: changes by hand return it */
    _Atomic bool hold;           /* `done` is not called while this is set */
    _Atomic int jobs_max;        /* more waiting give TL_EFULL; default STUB_JOBS_MAX */
    _Atomic int control_ms;      /* changes by hand take so long */
    _Atomic int commit_us;       /* and a group of predictions so long */
    tl_item last_item;           /* texts and pixels are not copied: only numbers are of use */
    char last_request_id[TL_REQUEST_ID_BYTES_MAX], last_site[TL_TEXT_BYTES_MAX];
    char last_source[TL_TEXT_BYTES_MAX];
    uint8_t last_pixels[16]; /* of the last raw image */
    size_t last_image_bytes, last_reference_bytes;
    tl_feedback last_feedback;
    uint64_t last_version, last_hash[2];
} stub;

static void stub_run(const stub_job *job)
{
    int fails = atomic_load(&stub.predict_fails);
    tl_error err;
    if (fails != TL_OK) tl_fail(&err, (tl_status)fails, "the stub was told to fail");
    if (job->predicted != NULL) {
        job->predicted(job->context, (tl_status)fails, fails ? NULL : job->predictions,
                       fails ? 0 : job->count, fails ? &err : NULL);
    } else {
        job->learned(job->context, (tl_status)fails, fails ? NULL : job->results,
                     fails ? 0 : job->count, fails ? &err : NULL);
    }
    free(job->predictions);
    free(job->results);
}

/* Like a group commit: what has come together is answered together. */
static void *stub_thread(void *context)
{
    tl_runtime *runtime = context;
    static stub_job group[STUB_GROUP_MAX];
    pthread_mutex_lock(&runtime->mutex);
    for (;;) {
        size_t count = 0;
        while (runtime->job_count > 0 && count < STUB_GROUP_MAX && !atomic_load(&stub.hold)) {
            group[count++] = runtime->jobs[runtime->job_head];
            runtime->job_head = (runtime->job_head + 1) % STUB_JOBS_MAX;
            runtime->job_count--;
        }
        if (count > 0) {
            pthread_mutex_unlock(&runtime->mutex);
            struct timespec commit = { .tv_nsec = atomic_load(&stub.commit_us) * 1000L };
            if (commit.tv_nsec > 0) nanosleep(&commit, NULL);
            for (size_t i = 0; i < count; i++) stub_run(&group[i]);
            pthread_mutex_lock(&runtime->mutex);
            continue;
        }
        if (runtime->stop) break;
        struct timespec at;
        clock_gettime(CLOCK_REALTIME, &at);
        at.tv_nsec += 2000000;
        if (at.tv_nsec >= 1000000000) {
            at.tv_sec++;
            at.tv_nsec -= 1000000000;
        }
        /* With a time-out, for `hold` is changed without a signal. */
        runtime->waits = true;
        pthread_cond_timedwait(&runtime->changed, &runtime->mutex, &at);
        runtime->waits = false;
    }
    pthread_mutex_unlock(&runtime->mutex);
    return NULL;
}

tl_runtime_options tl_runtime_options_default(void)
{
    return (tl_runtime_options){ 0 };
}

tl_status tl_runtime_open(const tl_runtime_options *options, tl_runtime **out, tl_error *err)
{
    (void)options;
    tl_runtime *runtime = calloc(1, sizeof *runtime);
    if (runtime == NULL) return tl_fail(err, TL_ENOMEM, "stub");
    pthread_mutex_init(&runtime->mutex, NULL);
    pthread_cond_init(&runtime->changed, NULL);
    tl_id_maker_init(&runtime->maker, tl_env_system());
    atomic_store(&stub.jobs_max, STUB_JOBS_MAX);
    pthread_create(&runtime->thread, NULL, stub_thread, runtime);
    *out = runtime;
    return TL_OK;
}

void tl_runtime_close(tl_runtime **runtime)
{
    if (*runtime == NULL) return;
    pthread_mutex_lock(&(*runtime)->mutex);
    (*runtime)->stop = true;
    pthread_cond_signal(&(*runtime)->changed);
    pthread_mutex_unlock(&(*runtime)->mutex);
    pthread_join((*runtime)->thread, NULL);
    pthread_mutex_destroy(&(*runtime)->mutex);
    pthread_cond_destroy(&(*runtime)->changed);
    free(*runtime);
    *runtime = NULL;
}

tl_loop_options tl_loop_options_default(void)
{
    return (tl_loop_options){ .height = 64, .width = 64, .channels = 1 };
}

tl_status tl_loop_open(tl_runtime *runtime, const tl_loop_options *options, tl_loop **out,
                       tl_error *err)
{
    if (runtime->loop_count == STUB_LOOPS_MAX) return tl_fail(err, TL_ELIMIT, "stub");
    tl_loop *loop = &runtime->loops[runtime->loop_count];
    *loop = (tl_loop){ .runtime = runtime, .champion = 1, .learning = true };
    snprintf(loop->info.name, sizeof loop->info.name, "%s", options->name);
    loop->info.input = options->input;
    loop->info.height = options->height;
    loop->info.width = options->width;
    loop->info.channels = options->channels;
    loop->info.has_template = options->has_template;
    loop->info.feature_count = options->feature_count;
    loop->info.class_count = options->class_count;
    for (size_t i = 0; i < options->class_count; i++)
        snprintf(loop->info.classes[i], TL_TEXT_BYTES_MAX, "%s", options->classes[i]);
    runtime->loop_count++;
    *out = loop;
    return TL_OK;
}

tl_loop *tl_runtime_loop_at(tl_runtime *runtime, size_t index)
{
    return index < runtime->loop_count ? &runtime->loops[index] : NULL;
}

tl_loop *tl_runtime_loop(tl_runtime *runtime, const char *name)
{
    for (size_t i = 0; i < runtime->loop_count; i++)
        if (strcmp(runtime->loops[i].info.name, name) == 0) return &runtime->loops[i];
    return NULL;
}

void tl_loop_describe(tl_loop *loop, tl_loop_info *out)
{
    pthread_mutex_lock(&loop->runtime->mutex);
    *out = loop->info;
    pthread_mutex_unlock(&loop->runtime->mutex);
}

static tl_status stub_push(tl_runtime *runtime, const stub_job *job, tl_error *err)
{
    pthread_mutex_lock(&runtime->mutex);
    bool full = runtime->job_count >= (size_t)atomic_load(&stub.jobs_max);
    if (!full) runtime->jobs[(runtime->job_head + runtime->job_count++) % STUB_JOBS_MAX] = *job;
    bool wake = runtime->waits;
    pthread_mutex_unlock(&runtime->mutex);
    if (wake) pthread_cond_signal(&runtime->changed);
    if (!full) return TL_OK;
    free(job->predictions);
    free(job->results);
    return tl_fail(err, TL_EFULL, "the queue is full; try again shortly");
}

static void stub_predict_one(tl_loop *loop, const tl_item *item, uint64_t version,
                             tl_prediction *out)
{
    size_t classes = loop->info.class_count;
    memset(out, 0, sizeof *out);
    out->id = tl_id_is_none(item->id) ? tl_id_make(&loop->runtime->maker) : item->id;
    out->position = ++loop->predictions;
    out->version = version != 0 ? version : loop->champion;
    out->epoch = loop->feedback;
    out->class_count = (uint32_t)classes;
    float value = item->features != NULL ? item->features[0] : (float)item->image.bytes;
    out->label = (uint32_t)((uint64_t)(value < 0 ? -value : value) % classes);
    for (size_t c = 0; c < classes; c++)
        out->scores[c] = c == out->label ? 0.5f : 0.5f / (float)(classes - 1);
    out->defect_score = 1.0f - out->scores[0];
    out->threshold = 0.625f;
    out->flagged = out->defect_score >= out->threshold;
    out->review = out->flagged;
    out->propensity = out->flagged ? 1.0f : 0.0625f;
}

static void stub_remember(const tl_predict_request *request)
{
    const tl_item *last = &request->items[request->count - 1];
    stub.last_item = *last;
    stub.last_version = request->version;
    memcpy(stub.last_hash, request->body_hash, sizeof stub.last_hash);
    snprintf(stub.last_request_id, sizeof stub.last_request_id, "%s",
             request->request_id != NULL ? request->request_id : "");
    snprintf(stub.last_site, sizeof stub.last_site, "%s", last->site != NULL ? last->site : "");
    stub.last_image_bytes = last->image.bytes;
    stub.last_reference_bytes = last->reference.bytes;
    if (last->image.encoding == TL_IMAGE_U8)
        memcpy(stub.last_pixels, last->image.data,
               last->image.bytes < sizeof stub.last_pixels ? last->image.bytes
                                                           : sizeof stub.last_pixels);
}

tl_status tl_loop_predict_async(tl_loop *loop, const tl_predict_request *request,
                                tl_predict_done done, void *context, tl_error *err)
{
    int refuses = atomic_load(&stub.predict_refuses);
    if (refuses != TL_OK) return tl_fail(err, (tl_status)refuses, "the stub was told to refuse");
    if (request->version > 2)
        return tl_fail(err, TL_ENOTFOUND, "version %llu is not kept",
                       (unsigned long long)request->version);
    stub_job job = { .predicted = done, .context = context, .count = request->count };
    job.predictions = calloc(request->count, sizeof *job.predictions);
    if (job.predictions == NULL) return tl_fail(err, TL_ENOMEM, "stub");
    pthread_mutex_lock(&loop->runtime->mutex);
    stub_remember(request);
    for (size_t i = 0; i < request->count; i++)
        stub_predict_one(loop, &request->items[i], request->version, &job.predictions[i]);
    pthread_mutex_unlock(&loop->runtime->mutex);
    return stub_push(loop->runtime, &job, err);
}

static tl_status stub_check_label(const tl_loop *loop, const tl_feedback *feedback, tl_error *err)
{
    if (feedback->kind != TL_FEEDBACK_LABEL) return TL_OK;
    for (size_t c = 0; c < loop->info.class_count; c++)
        if (strcmp(loop->info.classes[c], feedback->label) == 0) return TL_OK;
    return tl_fail(err, TL_EINVAL, "there is no class \"%s\"", feedback->label);
}

tl_status tl_loop_feedback_async(tl_loop *loop, const tl_feedback_request *request,
                                 tl_feedback_done done, void *context, tl_error *err)
{
    stub_job job = { .learned = done, .context = context, .count = request->count };
    job.results = calloc(request->count, sizeof *job.results);
    if (job.results == NULL) return tl_fail(err, TL_ENOMEM, "stub");
    pthread_mutex_lock(&loop->runtime->mutex);
    tl_status status = TL_OK;
    for (size_t i = 0; i < request->count && status == TL_OK; i++) {
        const tl_feedback *feedback = &request->items[i];
        status = stub_check_label(loop, feedback, err);
        stub.last_feedback = *feedback;
        snprintf(stub.last_source, sizeof stub.last_source, "%s", feedback->source);
        /* Ids that were not made here are not known yet: version 7 is in byte 6. */
        bool known = (feedback->prediction_id.bytes[6] >> 4) == 7;
        job.results[i].state = known ? TL_FEEDBACK_APPLIED : TL_FEEDBACK_PENDING;
        if (known && feedback->kind == TL_FEEDBACK_WITHDRAW)
            job.results[i].state = TL_FEEDBACK_WITHDRAWN;
        job.results[i].epoch = job.results[i].position = ++loop->feedback;
    }
    pthread_mutex_unlock(&loop->runtime->mutex);
    if (status == TL_OK) return stub_push(loop->runtime, &job, err);
    free(job.results);
    return status;
}

const char *tl_feedback_state_text(tl_feedback_state state)
{
    static const char *const texts[] = { "applied", "corrected", "repeated",
                                         "pending", "withdrawn", "noted" };
    return texts[state];
}

void tl_loop_status(tl_loop *loop, tl_loop_state *out)
{
    pthread_mutex_lock(&loop->runtime->mutex);
    *out = (tl_loop_state){ .predictions = loop->predictions,
                            .feedback = loop->feedback,
                            .champion = loop->champion,
                            .learning = loop->learning,
                            .frozen = loop->frozen,
                            .golden = loop->golden_count,
                            .precision = { 0.5, 0.25, 0.75, 2, 4 },
                            .recall = { 0, 0, 1, 0, 0 },
                            .alarms = 3,
                            .tti_seconds_p50 = 60,
                            .tti_seconds_low = 30,
                            .tti_seconds_high = NAN,
                            .tti_labels_p50 = 40,
                            .tti_labels_low = 20,
                            .tti_labels_high = NAN,
                            .tti_proven = 2,
                            .tti_censored = 1,
                            .digest = 0xabcdef };
    pthread_mutex_unlock(&loop->runtime->mutex);
}

tl_status tl_loop_estimates(tl_loop *loop, tl_estimates *out, tl_error *err)
{
    (void)loop, (void)err;
    *out =
        (tl_estimates){ .items = 1000,
                        .verified = 40,
                        .recall = { .value = 0.9, .low = 0.7, .high = 1, .hits = 9, .count = 10 },
                        .needed_defects = INFINITY,
                        .needed_labels = NAN,
                        .rules_kept = true,
                        .threshold_words = "not certified" };
    return TL_OK;
}

size_t tl_loop_people(tl_loop *loop, tl_review_person out[TL_PERSON_COUNT_MAX])
{
    (void)loop;
    out[0] = (tl_review_person){ .name = "anna", .open = 3 };
    return 1;
}

tl_status tl_loop_reviews(tl_loop *loop, const char *person, tl_review_item *out, size_t capacity,
                          size_t *count, uint64_t *open, tl_error *err)
{
    (void)loop;
    if (person != NULL && strcmp(person, "anna") != 0)
        return tl_fail(err, TL_EINVAL, "nobody called \"%.40s\" is asked", person);
    out[0] = (tl_review_item){ .id = { { 1 } },
                               .time_us = 1500000,
                               .until_us = 2500000,
                               .flagged = true,
                               .label = 1,
                               .defect_score = 0.75f,
                               .why = "flagged",
                               .words = "the model calls it a defect",
                               .board = "SN-1" };
    if (capacity > 1)
        out[1] = (tl_review_item){
            .id = { { 2 } }, .blind = true, .defect_score = NAN, .why = "blind", .words = "blind"
        };
    *count = capacity > 1 ? 2 : 1;
    *open = 7;
    return TL_OK;
}

size_t tl_loop_standings(tl_loop *loop, tl_standing *out, size_t capacity)
{
    (void)loop;
    const tl_standing standings[] = {
        { .version = 1, .role = "baseline", .since_us = 1700000000000000, .needed = NAN },
        { .version = 2,
          .role = "challenger",
          .number = 3,
          .log_e = 1.5,
          .log_needed = 4.25,
          .disagreements = 12,
          .wins = 9,
          .needed = 40,
          .words = "waiting" }
    };
    size_t count = capacity < 2 ? capacity : 2;
    memcpy(out, standings, count * sizeof *out);
    return count;
}

size_t tl_loop_gate_events(tl_loop *loop, tl_gate_event *out, size_t capacity)
{
    (void)loop;
    if (capacity == 0) return 0;
    out[0] = (tl_gate_event){
        .kind = "challenge", .position = 7, .version = 2, .time_us = 1500000, .words = "in shadow"
    };
    return 1;
}

size_t tl_loop_verdicts(tl_loop *loop, uint64_t version, tl_verdict_info *out, size_t capacity)
{
    (void)loop;
    if (capacity == 0 || version == 2) return 0;
    out[0] = (tl_verdict_info){ .kind = "publish", .position = 1, .version = 1, .words = "first" };
    return 1;
}

void tl_loop_stages(tl_loop *loop, tl_loop_stage out[TL_LOOP_STAGE_COUNT])
{
    (void)loop;
    for (size_t i = 0; i < TL_LOOP_STAGE_COUNT; i++)
        out[i] = (tl_loop_stage){ .name = i == 0 ? "commit" : "x", .p50_seconds = 0.25 };
}

tl_status tl_loop_version(tl_loop *loop, uint64_t number, tl_version_info *out, tl_error *err)
{
    tl_version_info versions[4];
    size_t count = tl_loop_versions(loop, versions, 4);
    for (size_t i = 0; i < count; i++) {
        if (versions[i].number != number) continue;
        *out = versions[i];
        return TL_OK;
    }
    return tl_fail(err, TL_ENOTFOUND, "no version %llu", (unsigned long long)number);
}

size_t tl_loop_versions(tl_loop *loop, tl_version_info *out, size_t capacity)
{
    size_t count = capacity < 2 ? capacity : 2;
    for (size_t i = 0; i < count; i++) {
        out[i] = (tl_version_info){ .number = 2 - i, .parent = 1 - i, .kept = true };
        out[i].champion = out[i].number == loop->champion;
        snprintf(out[i].origin, sizeof out[i].origin, "%s", i == 0 ? "continuous" : "initial");
    }
    return count;
}

size_t tl_loop_refusals(tl_loop *loop, tl_refusal_info *out, size_t capacity)
{
    (void)loop;
    if (capacity == 0) return 0;
    out[0] = (tl_refusal_info){ .position = 41, .labels = 64, .verdict = "refused, not better" };
    return 1;
}

tl_status tl_loop_report(tl_loop *loop, const tl_report_options *options, tl_report **out,
                         tl_error *err)
{
    (void)loop;
    tl_report *report = calloc(1, sizeof *report);
    if (report == NULL) return tl_fail(err, TL_ENOMEM, "report");
    report->all = (tl_report_row){ .items = 7, .field = 2, .escapes = { 0.5, 0.25, 0.75, 2, 4 } };
    report->rows = calloc(1, sizeof *report->rows);
    report->row_count = options->by == TL_REPORT_SITE;
    if (options->by == TL_REPORT_SITE) strcpy(report->rows[0].name, "hall 2");
    report->all.drawn = (uint64_t)options->since_us;
    snprintf(report->all.name, sizeof report->all.name, "x");
    *out = report;
    return TL_OK;
}

void tl_report_destroy(tl_report **report)
{
    if (*report == NULL) return;
    free((*report)->rows);
    free(*report);
    *report = NULL;
}

static tl_status stub_control(tl_loop *loop, const char *who, tl_error *err)
{
    int fails = atomic_load(&stub.control_fails), ms = atomic_load(&stub.control_ms);
    struct timespec span = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
    if (ms > 0) nanosleep(&span, NULL);
    pthread_mutex_lock(&loop->runtime->mutex);
    snprintf(stub.last_source, sizeof stub.last_source, "%s", who);
    pthread_mutex_unlock(&loop->runtime->mutex);
    return fails == TL_OK ? TL_OK : tl_fail(err, (tl_status)fails, "the stub was told to fail");
}

tl_status tl_loop_set_frozen(tl_loop *loop, bool on, const char *who, tl_error *err)
{
    tl_status status = stub_control(loop, who, err);
    if (status == TL_OK) loop->frozen = on;
    return status;
}

tl_status tl_loop_promote(tl_loop *loop, uint64_t version, const char *who, tl_error *err)
{
    if (version > 2)
        return tl_fail(err, TL_ENOTFOUND, "version %llu is not kept", (unsigned long long)version);
    tl_status status = stub_control(loop, who, err);
    if (status == TL_OK) loop->champion = version;
    return status;
}

tl_status tl_loop_challenge(tl_loop *loop, uint64_t version, const char *who, tl_error *err)
{
    (void)who;
    if (version == loop->champion)
        return tl_fail(err, TL_ECONFLICT, "version %llu serves already",
                       (unsigned long long)version);
    return TL_OK;
}

tl_status tl_loop_rollback(tl_loop *loop, uint64_t version, const char *who, tl_error *err)
{
    tl_status status = tl_loop_promote(loop, version == 0 ? 1 : version, who, err);
    if (status == TL_OK) loop->learning = false;
    return status;
}

tl_status tl_loop_set_learning(tl_loop *loop, bool on, const char *who, tl_error *err)
{
    tl_status status = stub_control(loop, who, err);
    if (status == TL_OK) loop->learning = on;
    return status;
}

tl_status tl_loop_add_class(tl_loop *loop, const char *name, const char *who, tl_error *err)
{
    tl_status status = stub_control(loop, who, err);
    if (status != TL_OK) return status;
    pthread_mutex_lock(&loop->runtime->mutex);
    for (size_t c = 0; c < loop->info.class_count; c++)
        if (strcmp(loop->info.classes[c], name) == 0)
            status = tl_fail(err, TL_ECONFLICT, "there is a class \"%s\" already", name);
    if (status == TL_OK && loop->info.class_count < TL_CLASS_COUNT_MAX)
        snprintf(loop->info.classes[loop->info.class_count++], TL_TEXT_BYTES_MAX, "%s", name);
    pthread_mutex_unlock(&loop->runtime->mutex);
    return status;
}

tl_status tl_loop_golden_add(tl_loop *loop, tl_id prediction, const char *who, tl_error *err)
{
    tl_status status = stub_control(loop, who, err);
    if (status == TL_OK && loop->golden_count == STUB_GOLDEN_MAX)
        status = tl_fail(err, TL_ELIMIT, "stub");
    if (status == TL_OK) loop->golden[loop->golden_count++] = prediction;
    return status;
}

tl_status tl_loop_golden_remove(tl_loop *loop, tl_id prediction, const char *who, tl_error *err)
{
    (void)who;
    for (size_t i = 0; i < loop->golden_count; i++) {
        if (tl_id_compare(loop->golden[i], prediction) != 0) continue;
        loop->golden[i] = loop->golden[--loop->golden_count];
        return TL_OK;
    }
    return tl_fail(err, TL_ENOTFOUND, "not in the golden set");
}

size_t tl_loop_golden(tl_loop *loop, tl_id *out, size_t capacity)
{
    for (size_t i = 0; i < loop->golden_count && i < capacity; i++) out[i] = loop->golden[i];
    return loop->golden_count;
}

void tl_runtime_on_event(tl_runtime *runtime, tl_event_fn fn, void *context)
{
    pthread_mutex_lock(&runtime->mutex);
    runtime->event = fn;
    runtime->event_context = context;
    pthread_mutex_unlock(&runtime->mutex);
}

/* Something happens. */
static inline void stub_event(tl_runtime *runtime, const char *json)
{
    pthread_mutex_lock(&runtime->mutex);
    if (runtime->event != NULL) runtime->event(runtime->event_context, json, strlen(json));
    pthread_mutex_unlock(&runtime->mutex);
}

void tl_runtime_journal_state(tl_runtime *runtime, tl_journal_state *out)
{
    (void)runtime;
    *out = (tl_journal_state){ .bytes = 4096, .commits = 1, .days_until_full = -1 };
}

#endif

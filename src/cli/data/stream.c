#include "cli/data/stream.h"

#include "cli/model.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { JUDGE_BATCH = 64, LOWEST_FROM = 4000 };

tl_stream_options tl_stream_options_default(void)
{
    return (tl_stream_options){ .order = "site",
                                .seed = 1,
                                .window_items = 1000,
                                .precision = 0.994,
                                .recall = 0.95,
                                .sustain_items = 500 };
}

static double share(uint64_t hits, uint64_t count)
{
    return count == 0 ? 0.0 : (double)hits / (double)count;
}

double tl_stream_precision(const tl_stream_counts *counts)
{
    return share(counts->flagged_defects, counts->flagged);
}

double tl_stream_recall(const tl_stream_counts *counts)
{
    return share(counts->flagged_defects, counts->defects);
}

double tl_stream_accuracy(const tl_stream_counts *counts)
{
    return share(counts->correct, counts->items);
}

double tl_stream_false_rejects_ppm(const tl_stream_counts *counts, double prevalence)
{
    double rate = share(counts->flagged - counts->flagged_defects, counts->items - counts->defects);
    return 1e6 * rate * (1.0 - prevalence);
}

double tl_stream_misses_ppm(const tl_stream_counts *counts, double prevalence)
{
    return 1e6 * share(counts->defects - counts->flagged_defects, counts->defects) * prevalence;
}

/* What was said of one item. */
typedef struct outcome {
    uint8_t correct, defect, flagged;
} outcome;

static void count_outcome(tl_stream_counts *counts, outcome o, int sign)
{
    uint64_t one = sign > 0 ? 1 : UINT64_MAX;
    counts->items += one;
    counts->correct += o.correct ? one : 0;
    counts->defects += o.defect ? one : 0;
    counts->flagged += o.flagged ? one : 0;
    counts->flagged_defects += o.flagged && o.defect ? one : 0;
}

typedef struct stream {
    const tl_stream_options *options;
    tl_dataset *data, *holdout; /* holdout NULL: the held-out items of data */
    tl_dataset_info info;
    size_t plane;
    tl_runtime *runtime;
    tl_loop *loop;
    uint8_t *pixels; /* [JUDGE_BATCH, 2, plane] */
    outcome *window; /* ring [window_items] */
    size_t window_at;
    uint64_t run_from; /* item from which the target has held without a break; 0: it does not */
    struct waiting {
        tl_id id;
        uint32_t label;
    } * waiting; /* ring [delay_items + 1] of predictions whose labels are still to come */
    uint64_t predicted;
    tl_stream_result result;
} stream;

/* ---- Set-up ---------------------------------------------------------------------------------- */

static tl_status open_data(stream *s, tl_error *err)
{
    tl_dataset_options data = { .path = s->options->data,
                                .order = s->options->order,
                                .seed = s->options->seed };
    tl_status status = tl_dataset_open(&data, &s->data, err);
    if (status != TL_OK) return status;
    tl_dataset_describe(s->data, &s->info);
    s->plane = (size_t)s->info.height * s->info.width * s->info.channels;
    if (s->options->holdout == NULL) return TL_OK;
    tl_dataset_options judge = { .path = s->options->holdout, .order = s->options->order };
    status = tl_dataset_open(&judge, &s->holdout, err);
    if (status == TL_ENOTFOUND) { /* a part of its own need not have the same orders */
        judge.order = NULL;
        status = tl_dataset_open(&judge, &s->holdout, err);
    }
    if (status != TL_OK) return status;
    tl_dataset_info other;
    tl_dataset_describe(s->holdout, &other);
    if (other.height != s->info.height || other.width != s->info.width ||
        other.channels != s->info.channels || other.class_count > s->info.class_count)
        return tl_fail(err, TL_ESHAPE, "the images to judge on are of another form");
    return TL_OK;
}

static tl_status open_loop(stream *s, tl_error *err)
{
    tl_runtime_options runtime = tl_runtime_options_default();
    runtime.path = s->options->journal;
    runtime.durability = TL_DURABILITY_RELAXED; /* a replay can be run again */
    tl_status status = tl_runtime_open(&runtime, &s->runtime, err);
    if (status != TL_OK) return status;
    const char *classes[TL_CLASS_COUNT_MAX];
    for (size_t i = 0; i < s->info.class_count; i++) classes[i] = s->info.classes[i];
    tl_loop_options loop = tl_loop_options_default();
    loop.name = "replay";
    loop.height = s->info.height;
    loop.width = s->info.width;
    loop.channels = s->info.channels;
    loop.has_template = s->info.has_template;
    loop.classes = classes;
    loop.class_count = s->info.class_count;
    loop.seed = s->options->seed;
    loop.learning = s->options->learning;
    if (s->options->replay_per_label > 0) loop.replay_per_label = s->options->replay_per_label;
    if (s->options->campaign_labels > 0) loop.campaign_labels = s->options->campaign_labels;
    if (s->options->side > 0) loop.height = loop.width = s->options->side;
    if (s->options->model != NULL) {
        loop.model_path = s->options->model;
        loop.normalisation = s->options->normalisation;
        loop.channels = 0;
        if (s->options->side == 0) loop.height = loop.width = 0;
        status = tl_model_choose(&loop, NULL, err);
        if (status != TL_OK) return status;
    }
    return tl_loop_open(s->runtime, &loop, &s->loop, err);
}

static tl_status allocate(stream *s, tl_error *err)
{
    s->pixels = malloc(2 * JUDGE_BATCH * s->plane);
    s->window = calloc(s->options->window_items, sizeof *s->window);
    s->waiting = calloc(s->options->delay_items + 1, sizeof *s->waiting);
    if (s->pixels == NULL || s->window == NULL || s->waiting == NULL)
        return tl_fail(err, TL_ENOMEM, "replay");
    return TL_OK;
}

static void close_all(stream *s)
{
    tl_runtime_close(&s->runtime);
    tl_dataset_close(&s->data);
    tl_dataset_close(&s->holdout);
    free(s->pixels);
    free(s->window);
    free(s->waiting);
}

/* ---- One item -------------------------------------------------------------------------------- */

static tl_image image_of(const stream *s, const uint8_t *pixels)
{
    return (tl_image){ .encoding = TL_IMAGE_U8,
                       .data = pixels,
                       .bytes = s->plane,
                       .height = s->info.height,
                       .width = s->info.width,
                       .channels = s->info.channels };
}

static tl_status load_item(stream *s, tl_dataset *data, size_t position, size_t slot, tl_item *out,
                           tl_error *err)
{
    uint8_t *pixels = s->pixels + 2 * slot * s->plane;
    tl_status status = tl_dataset_pixels(data, position, pixels, pixels + s->plane, err);
    if (status != TL_OK) return status;
    *out = (tl_item){ .image = image_of(s, pixels) };
    if (s->info.has_template) out->reference = image_of(s, pixels + s->plane);
    return TL_OK;
}

static outcome outcome_of(const tl_prediction *prediction, uint32_t label)
{
    return (outcome){ .correct = prediction->label == label,
                      .defect = label != 0,
                      .flagged = prediction->flagged };
}

static tl_status give_label(stream *s, const struct waiting *w, tl_error *err)
{
    tl_feedback feedback = { .prediction_id = w->id,
                             .kind = TL_FEEDBACK_LABEL,
                             .label = s->info.classes[w->label] };
    tl_status status = tl_loop_feedback(s->loop, &feedback, NULL, err);
    if (status != TL_OK) return status;
    s->result.labels++;
    return tl_loop_drain(s->loop, err); /* in step, so that the result does not depend on speed */
}

static void note(stream *s, outcome o)
{
    const tl_stream_options *options = s->options;
    if (s->result.window.items == options->window_items)
        count_outcome(&s->result.window, s->window[s->window_at], -1);
    s->window[s->window_at] = o;
    s->window_at = (s->window_at + 1) % options->window_items;
    count_outcome(&s->result.window, o, +1);
    count_outcome(&s->result.all, o, +1);
    bool holds = s->result.window.items == options->window_items &&
                 tl_stream_precision(&s->result.window) > options->precision &&
                 tl_stream_recall(&s->result.window) > options->recall;
    if (!holds)
        s->run_from = 0;
    else if (s->run_from == 0)
        s->run_from = s->result.all.items;
    if (s->result.labels_needed == 0 && s->run_from > 0 &&
        s->result.all.items - s->run_from >= options->sustain_items)
        s->result.labels_needed = s->run_from;
}

static tl_status run_item(stream *s, size_t position, tl_error *err)
{
    tl_item item;
    tl_dataset_item known;
    tl_prediction prediction;
    tl_dataset_item_at(s->data, position, &known);
    tl_status status = load_item(s, s->data, position, 0, &item, err);
    item.site = known.group;
    if (s->info.fixed_size) item.board = known.name; /* several patches of one board */
    if (status == TL_OK) status = tl_loop_predict(s->loop, &item, &prediction, err);
    if (status != TL_OK) return status;
    note(s, outcome_of(&prediction, known.label));
    uint64_t delay = s->options->delay_items;
    s->waiting[s->predicted % (delay + 1)] = (struct waiting){ prediction.id, known.label };
    s->predicted++;
    if (s->predicted <= delay) return TL_OK;
    return give_label(s, &s->waiting[s->predicted % (delay + 1)], err);
}

/* ---- Judging --------------------------------------------------------------------------------- */

typedef struct judging {
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    bool finished;
    tl_status status;
    tl_error err;
    const uint32_t *labels;
    tl_stream_counts *counts;
} judging;

static void take_answers(void *context, tl_status status, const tl_prediction *predictions,
                         size_t count, const tl_error *err)
{
    judging *j = context;
    pthread_mutex_lock(&j->mutex);
    for (size_t i = 0; i < count; i++)
        count_outcome(j->counts, outcome_of(&predictions[i], j->labels[i]), +1);
    j->status = status;
    if (status != TL_OK && err != NULL) j->err = *err;
    j->finished = true;
    pthread_cond_signal(&j->answered);
    pthread_mutex_unlock(&j->mutex);
}

static tl_status judge_batch(stream *s, const tl_item *items, const uint32_t *labels, size_t count,
                             tl_stream_counts *counts, tl_error *err)
{
    if (count == 0) return TL_OK;
    judging j = { .mutex = PTHREAD_MUTEX_INITIALIZER,
                  .answered = PTHREAD_COND_INITIALIZER,
                  .labels = labels,
                  .counts = counts };
    tl_predict_request request = { .items = items, .count = count };
    tl_status status = tl_loop_predict_async(s->loop, &request, take_answers, &j, err);
    if (status != TL_OK) return status;
    pthread_mutex_lock(&j.mutex);
    while (!j.finished) pthread_cond_wait(&j.answered, &j.mutex);
    pthread_mutex_unlock(&j.mutex);
    if (j.status != TL_OK && err != NULL) *err = j.err;
    return j.status;
}

static tl_status judge(stream *s, tl_stream_counts *counts, tl_error *err)
{
    tl_dataset *data = s->holdout != NULL ? s->holdout : s->data;
    tl_dataset_info info;
    tl_dataset_describe(data, &info);
    tl_item items[JUDGE_BATCH];
    uint32_t labels[JUDGE_BATCH];
    size_t count = 0;
    *counts = (tl_stream_counts){ 0 };
    for (size_t i = 0; i < info.count; i++) {
        tl_dataset_item known;
        tl_dataset_item_at(data, i, &known);
        if (s->holdout == NULL && !known.held_out) continue;
        tl_status status = load_item(s, data, i, count, &items[count], err);
        if (status != TL_OK) return status;
        labels[count++] = known.label;
        if (count < JUDGE_BATCH) continue;
        status = judge_batch(s, items, labels, count, counts, err);
        if (status != TL_OK) return status;
        count = 0;
    }
    return judge_batch(s, items, labels, count, counts, err);
}

static tl_status judge_now(stream *s, tl_error *err)
{
    tl_status status = judge(s, &s->result.judged, err);
    if (status != TL_OK) return status;
    double precision = tl_stream_precision(&s->result.judged);
    if (s->result.labels >= LOWEST_FROM && precision < s->result.lowest_precision) {
        s->result.lowest_precision = precision;
        s->result.lowest_at = s->result.labels;
    }
    return TL_OK;
}

/* ---- The run --------------------------------------------------------------------------------- */

static double clock_s(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void tell_point(stream *s, bool judged)
{
    if (s->options->on_point == NULL) return;
    tl_stream_point point = { .labels = s->result.labels,
                              .window = s->result.window,
                              .judged = s->result.judged,
                              .has_judged = judged };
    s->options->on_point(s->options->context, &point);
}

static tl_status judge_if_due(stream *s, uint64_t labels_before, tl_error *err)
{
    const tl_stream_options *o = s->options;
    uint32_t every =
        s->result.labels <= o->early_labels ? o->judge_early_labels : o->judge_every_labels;
    if (every == 0 || s->result.labels == labels_before || s->result.labels % every != 0)
        return TL_OK;
    double cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    tl_status status = judge_now(s, err);
    s->result.cpu_s -= clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu_s;
    if (status == TL_OK) tell_point(s, true);
    return status;
}

static tl_status run_all(stream *s, tl_error *err)
{
    double cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID), wall_s = clock_s(CLOCK_MONOTONIC);
    uint64_t limit = s->options->limit_items == 0 ? UINT64_MAX : s->options->limit_items;
    tl_status status = TL_OK;
    for (size_t i = 0; i < s->info.count && s->result.items < limit && status == TL_OK; i++) {
        tl_dataset_item known;
        tl_dataset_item_at(s->data, i, &known);
        if (known.held_out) continue; /* nor when other items are judged: they may be the same */
        uint64_t labels_before = s->result.labels;
        status = run_item(s, i, err);
        s->result.items++;
        if (status == TL_OK) status = judge_if_due(s, labels_before, err);
        if (s->options->on_progress != NULL)
            s->options->on_progress(s->options->context, i + 1, s->info.count);
    }
    s->result.cpu_s += clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu_s;
    s->result.wall_s = clock_s(CLOCK_MONOTONIC) - wall_s;
    if (status == TL_OK) status = judge_now(s, err);
    if (status == TL_OK) tell_point(s, true);
    return status;
}

tl_status tl_stream_run(const tl_stream_options *options, tl_stream_result *out, tl_error *err)
{
    TL_ASSERT(options->window_items >= 1);
    stream s = { .options = options,
                 .result = { .lowest_from = LOWEST_FROM, .lowest_precision = 1.0 } };
    tl_status status = open_data(&s, err);
    if (status == TL_OK) status = allocate(&s, err);
    if (status == TL_OK) status = open_loop(&s, err);
    if (status == TL_OK) status = run_all(&s, err);
    if (status == TL_OK) {
        tl_loop_state state;
        tl_loop_status(s.loop, &state);
        s.result.versions = state.publishes;
        *out = s.result;
    }
    close_all(&s);
    return status;
}

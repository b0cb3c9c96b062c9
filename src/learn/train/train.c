#include "learn/train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEFT_OUT_MAX = 100 };

struct tl_train {
    tl_graph *graph;
    tl_train_options options;
    tl_train_fetch fetch;
    void *context;
    tl_step *step;
    tl_optimizer *optimizer;
    tl_augment *augment, *plain;
    tl_schedule schedule;
    uint64_t done, steps, drawn, left_out; /* drawn: items so far */
    uint32_t left_out_now;                 /* in a row */
    size_t float_count, input_count;
    size_t *order; /* [count], of epoch `shuffled` - 1 */
    uint64_t shuffled;
    float *start, *flat, *average; /* [float_count] */
    uint32_t *labels;              /* [batch] */
    tl_truths *truths;             /* [batch] */
    tl_truth *boxes;               /* [batch, truth_max] */
};

tl_train_options tl_train_options_default(tl_task task)
{
    const bool detects = task == TL_TASK_DETECT;
    tl_train_options options = { .task = task,
                                 .epochs = 10.0,
                                 .batch = 16,
                                 .threads = 1,
                                 .precision = TL_PRECISION_FLOAT32,
                                 .seed = 1,
                                 .truth_max = 1024,
                                 .optimizer = tl_optimizer_options_default(TL_OPTIMIZER_ADAMW),
                                 .live_norm = true,
                                 .rate = 1e-3,
                                 .warmup_share = 0.05,
                                 .final_share = 0.01,
                                 .average_decay = 0.999,
                                 .interpolation = 1.0,
                                 .augment = detects ? tl_augment_options_detect()
                                                    : tl_augment_options_classify(),
                                 .plain_share = 0.1 };
    options.optimizer.clip_norm = 10.0f;
    return options;
}

/* ---- Creation -------------------------------------------------------------------------------- */

static tl_status check(const tl_graph *graph, const tl_train_options *o, tl_error *err)
{
    bool sane = o->count >= 1 && o->epochs > 0.0 && o->epochs <= 1e5 && o->rate > 0.0 &&
                isfinite(o->rate) && o->warmup_share >= 0.0 && o->warmup_share <= 1.0 &&
                o->final_share >= 0.0 && o->final_share <= 1.0 && o->average_decay >= 0.0 &&
                o->average_decay < 1.0 && o->l2_to_start >= 0.0f && isfinite(o->l2_to_start) &&
                o->interpolation >= 0.0 && o->interpolation <= 1.0 && o->plain_share >= 0.0 &&
                o->plain_share <= 1.0 && o->truth_max >= 1 && o->truth_max <= 1 << 16 &&
                o->batch >= 1;
    if (!sane)
        return tl_fail(err, TL_EINVAL,
                       "training: no items, or epochs, batch, rate or a share is out of bounds");
    return tl_step_check_images(graph, &o->form, err);
}

static tl_status create_parts(tl_train *train, tl_error *err)
{
    const tl_train_options *o = &train->options;
    const tl_step_options step = { .task = o->task,
                                   .batch = o->batch,
                                   .live_norm = o->live_norm,
                                   .threads = o->threads,
                                   .precision = o->precision,
                                   .trained_stages = o->optimizer.trained_stages,
                                   .class_count = o->class_count,
                                   .label_smoothing = o->label_smoothing,
                                   .class_weight = o->class_weight,
                                   .truth_max = o->truth_max };
    const tl_augment_options none = tl_augment_options_none();
    tl_status status = tl_step_create(train->graph, &step, &train->step, err);
    if (status == TL_OK)
        status = tl_optimizer_create(train->graph, &o->optimizer, &train->optimizer, err);
    if (status == TL_OK)
        status = tl_augment_create(&o->form, &o->augment, o->truth_max, &train->augment, err);
    if (status == TL_OK)
        status = tl_augment_create(&o->form, &none, o->truth_max, &train->plain, err);
    return status;
}

static tl_status allocate(tl_train *train, const float *start, tl_error *err)
{
    const tl_train_options *o = &train->options;
    const size_t bytes = train->float_count * sizeof(float);
    train->order = calloc(o->count, sizeof *train->order);
    train->start = malloc(bytes + 1);
    train->flat = malloc(bytes + 1);
    train->average = malloc(bytes + 1);
    train->labels = calloc(o->batch, sizeof *train->labels);
    train->truths = calloc(o->batch, sizeof *train->truths);
    size_t boxes = o->task == TL_TASK_DETECT ? (size_t)o->batch * o->truth_max : 1;
    train->boxes = calloc(boxes, sizeof *train->boxes);
    if (train->order == NULL || train->start == NULL || train->flat == NULL ||
        train->average == NULL || train->labels == NULL || train->truths == NULL ||
        train->boxes == NULL)
        return tl_fail(err, TL_ENOMEM, "training of %zu parameters", train->float_count);
    memcpy(train->start, start, bytes);
    memcpy(train->flat, start, bytes);
    memcpy(train->average, start, bytes);
    return TL_OK;
}

tl_status tl_train_create(tl_graph *graph, const float *start, const tl_train_options *options,
                          tl_train_fetch fetch, void *context, tl_train **out, tl_error *err)
{
    tl_status status = check(graph, options, err);
    if (status != TL_OK) return status;
    tl_train *train = calloc(1, sizeof *train);
    if (train == NULL) return tl_fail(err, TL_ENOMEM, "training");
    train->graph = graph;
    tl_graph_retain(graph);
    train->options = *options;
    train->fetch = fetch;
    train->context = context;
    train->float_count = tl_graph_float_count(graph);
    train->input_count = tl_pixels_input_count(&options->form);
    train->steps = (uint64_t)ceil(options->epochs * (double)options->count / options->batch);
    train->schedule = (tl_schedule){ .kind = TL_SCHEDULE_COSINE,
                                     .base = options->rate,
                                     .warmup = ceil(options->warmup_share * (double)train->steps),
                                     .scale = (double)train->steps,
                                     .floor = options->final_share };
    status = create_parts(train, err);
    if (status == TL_OK) status = allocate(train, start, err);
    if (status != TL_OK) {
        tl_train_destroy(&train);
        return status;
    }
    *out = train;
    return TL_OK;
}

void tl_train_destroy(tl_train **train)
{
    if (train == NULL || *train == NULL) return;
    tl_train *t = *train;
    tl_step_destroy(&t->step);
    tl_optimizer_destroy(&t->optimizer);
    tl_augment_destroy(&t->augment);
    tl_augment_destroy(&t->plain);
    tl_graph_release(&t->graph);
    void *const owned[] = {
        t->order, t->start, t->flat, t->average, t->labels, t->truths, t->boxes
    };
    for (size_t i = 0; i < TL_COUNT_OF(owned); i++) free(owned[i]);
    free(t);
    *train = NULL;
}

size_t tl_train_bytes(const tl_train *train)
{
    const tl_train_options *o = &train->options;
    const size_t moments = o->optimizer.kind == TL_OPTIMIZER_ADAMW ? 2 : 1;
    const size_t boxes = o->task == TL_TASK_DETECT ? (size_t)o->batch * o->truth_max : 1;
    return sizeof *train + tl_step_bytes(train->step) +
           (3 + moments) * train->float_count * sizeof(float) + o->count * sizeof *train->order +
           (boxes + 2 * (size_t)o->truth_max) * sizeof *train->boxes +
           4 * (size_t)o->form.height * o->form.width * o->form.channels;
}

/* ---- Items ----------------------------------------------------------------------------------- */

/* The index of item `drawn` of all that are drawn: each epoch is a shuffle of its own (Fisher and
 * Yates). */
static size_t pick(tl_train *train, uint64_t drawn)
{
    const size_t count = train->options.count;
    const uint64_t epoch = drawn / count;
    if (train->shuffled != epoch + 1) {
        tl_rng rng;
        tl_rng_seed(&rng, train->options.seed, epoch);
        for (size_t i = 0; i < count; i++) train->order[i] = i;
        for (size_t i = count; i-- > 1;) {
            size_t other = (size_t)tl_rng_below(&rng, i + 1), held = train->order[i];
            train->order[i] = train->order[other];
            train->order[other] = held;
        }
        train->shuffled = epoch + 1;
    }
    return train->order[drawn % count];
}

static tl_status add_item(tl_train *train, tl_augment *augment, size_t index, uint32_t *label,
                          tl_error *err)
{
    tl_train_item item = { .label = 0 };
    tl_status status = train->fetch(train->context, index, &item, err);
    if (status != TL_OK) return tl_fail_context(err, status, "item %zu", index);
    if (item.source.height < 1 || item.source.width < 1 || item.source.image == NULL)
        return tl_fail(err, TL_EINVAL, "item %zu has no image", index);
    const uint32_t classes = train->options.class_count;
    if (train->options.task == TL_TASK_CLASSIFY && classes > 0 && item.label >= classes)
        return tl_fail(err, TL_EINVAL, "item %zu is of class %u; there are %u", index, item.label,
                       classes);
    if (label != NULL) *label = item.label;
    tl_augment_add(augment, &item.source);
    return TL_OK;
}

/* Item `slot` of the batch: its input, label and boxes. */
static tl_status fill(tl_train *train, uint32_t slot, tl_error *err)
{
    tl_rng rng;
    tl_rng_seed(&rng, ~train->options.seed, train->drawn);
    size_t index = pick(train, train->drawn++);
    uint32_t sources = tl_augment_begin(train->augment, &rng);
    tl_status status = add_item(train, train->augment, index, &train->labels[slot], err);
    for (uint32_t i = 1; i < sources && status == TL_OK; i++) {
        index = (size_t)tl_rng_below(&rng, train->options.count);
        status = add_item(train, train->augment, index, NULL, err);
    }
    if (status != TL_OK) return status;
    tl_truths found;
    float *input = tl_plan_input(tl_step_plan(train->step), 0) + slot * train->input_count;
    tl_augment_finish(train->augment, input, &found);
    if (train->options.task != TL_TASK_DETECT) return TL_OK;
    tl_truth *own = train->boxes + (size_t)slot * train->options.truth_max;
    memcpy(own, found.items, found.count * sizeof *own);
    train->truths[slot] = (tl_truths){ own, found.count };
    return TL_OK;
}

tl_status tl_train_view(tl_train *train, size_t index, float *input, tl_truths *truths,
                        tl_error *err)
{
    TL_ASSERT(index < train->options.count);
    tl_rng rng;
    tl_rng_seed(&rng, 0, 0);
    tl_augment_begin(train->plain, &rng);
    tl_status status = add_item(train, train->plain, index, NULL, err);
    if (status == TL_OK) tl_augment_finish(train->plain, input, truths);
    return status;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* Forward, backward, update. Numbers that are not finite leave the step out. */
static tl_status learn(tl_train *train, tl_train_progress *progress, tl_error *err)
{
    const tl_train_options *o = &train->options;
    const tl_step_targets targets = { .labels = train->labels, .truths = train->truths };
    const tl_step_update update = { .optimizer = train->optimizer,
                                    .rate = progress->rate,
                                    .start = train->start,
                                    .pull = o->l2_to_start,
                                    .average = train->average,
                                    .average_decay = o->average_decay,
                                    .updates = train->done };
    tl_status status = tl_step_gradient(train->step, train->flat, &targets, &progress->loss, err);
    if (status == TL_OK) status = tl_step_apply(train->step, &update, train->flat, err);
    if (status == TL_OK) train->left_out_now = 0;
    if (status != TL_EINVAL || ++train->left_out_now == LEFT_OUT_MAX) return status;
    train->left_out++;
    return TL_OK;
}

tl_status tl_train_step(tl_train *train, tl_train_progress *progress, bool *more, tl_error *err)
{
    const tl_train_options *o = &train->options;
    TL_ASSERT(train->done < train->steps);
    tl_train_progress now = { .steps = train->steps };
    now.rate = tl_schedule_rate(&train->schedule, (double)train->done);
    tl_augment_set_mosaic(train->augment,
                          (double)train->done < (1.0 - o->plain_share) * (double)train->steps);
    for (uint32_t i = 0; i < o->batch; i++) {
        tl_status status = fill(train, i, err);
        if (status != TL_OK) return status;
    }
    tl_status status = learn(train, &now, err);
    if (status != TL_OK) return status;
    now.step = ++train->done;
    now.epoch = (double)train->drawn / (double)o->count;
    now.left_out = train->left_out;
    *progress = now;
    *more = train->done < train->steps;
    return TL_OK;
}

tl_status tl_train_run(tl_train *train,
                       bool (*on_step)(void *context, const tl_train_progress *now), void *context,
                       tl_error *err)
{
    tl_train_progress now;
    for (bool more = train->done < train->steps; more;) {
        tl_status status = tl_train_step(train, &now, &more, err);
        if (status != TL_OK) return status;
        if (on_step != NULL && !on_step(context, &now))
            return tl_fail(err, TL_ECLOSED, "the training was stopped");
    }
    return TL_OK;
}

void tl_train_result(const tl_train *train, float *out)
{
    tl_interpolate(train->start, train->average, train->float_count, train->options.interpolation,
                   out);
}

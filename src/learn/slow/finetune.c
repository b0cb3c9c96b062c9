/* Campaigns: a fine-tune of given weights over the replay memory. */
#include "learn/slow/learner_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

tl_finetune_options tl_finetune_options_default(void)
{
    tl_finetune_options options = { .seed = 1,
                                    .epochs = 5.0,
                                    .optimizer = tl_optimizer_options_default(TL_OPTIMIZER_ADAMW),
                                    .rate = 1e-3,
                                    .warmup_share = 0.05,
                                    .average_decay = 0.999,
                                    .l2_to_start = 1e-3f,
                                    .interpolation = 0.5 };
    options.optimizer.backbone_factor = 0.1f;
    options.optimizer.weight_decay = 0.0f; /* the pull goes to the start instead of to 0 */
    return options;
}

static tl_status check_options(const tl_finetune_options *o, tl_error *err)
{
    bool sane = o->epochs > 0.0 && o->epochs <= 1000.0 && o->rate > 0.0 && isfinite(o->rate) &&
                o->warmup_share >= 0.0 && o->warmup_share <= 1.0 && o->average_decay >= 0.0 &&
                o->average_decay < 1.0 && o->l2_to_start >= 0.0f && isfinite(o->l2_to_start) &&
                o->interpolation >= 0.0 && o->interpolation <= 1.0;
    if (!sane) return tl_fail(err, TL_EINVAL, "an option of the fine-tune is out of bounds");
    return TL_OK;
}

typedef struct campaign {
    const tl_finetune_options *options;
    const float *start;
    float *flat, *average;
    tl_optimizer *optimizer;
    tl_schedule schedule;
    uint64_t steps;
} campaign;

static tl_status run_step(tl_learner *learner, campaign *c, tl_learner_source *source,
                          uint64_t step, tl_error *err)
{
    tl_rng rng;
    tl_rng_seed(&rng, c->options->seed, step);
    learner->skipped_count = 0;
    tl_replay_sample_mixed(learner->replay, &rng, learner->batch, 0.0, learner->chosen);
    source->has_fetched = false;
    if (!tl_learner_fill(learner, source, &rng)) return TL_OK;
    double loss = 0.0;
    tl_status status = tl_learner_gradient(learner, c->flat, &loss, err);
    const tl_step_update update = { .optimizer = c->optimizer,
                                    .rate = tl_schedule_rate(&c->schedule, (double)step),
                                    .start = c->start,
                                    .pull = c->options->l2_to_start,
                                    .average = c->average,
                                    .average_decay = c->options->average_decay,
                                    .updates = step };
    return status == TL_OK ? tl_step_apply(learner->step, &update, c->flat, err) : status;
}

static tl_status run(tl_learner *learner, campaign *c, tl_learner_source *source,
                     bool (*stop)(void *context), tl_error *err)
{
    for (uint64_t step = 0; step < c->steps; step++) {
        if (stop != NULL && stop(source->context))
            return tl_fail(err, TL_ECLOSED, "the fine-tune was stopped");
        tl_status status = run_step(learner, c, source, step, err);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

static uint64_t step_count(const tl_learner *learner, const tl_finetune_options *options)
{
    double items = options->epochs * (double)tl_replay_count(learner->replay);
    double steps = ceil(items / (double)learner->batch);
    return steps < 1.0 ? 1 : (uint64_t)steps;
}

tl_status tl_learner_finetune(tl_learner *learner, const float *start,
                              const tl_finetune_options *options, tl_learner_fetch fetch,
                              void *context, bool (*stop)(void *context), float *out, tl_error *err)
{
    tl_status status = check_options(options, err);
    if (status != TL_OK) return status;
    if (tl_replay_drawable(learner->replay) == 0)
        return tl_fail(err, TL_ENOTFOUND, "there are no labels to fine-tune on");
    size_t bytes = learner->float_count * sizeof(float);
    campaign c = { .options = options,
                   .start = start,
                   .flat = malloc(bytes + 1),
                   .average = malloc(bytes + 1),
                   .steps = step_count(learner, options) };
    c.schedule = (tl_schedule){ .kind = TL_SCHEDULE_COSINE,
                                .base = options->rate,
                                .warmup = ceil(options->warmup_share * (double)c.steps),
                                .scale = (double)c.steps };
    if (c.flat == NULL || c.average == NULL)
        status = tl_fail(err, TL_ENOMEM, "fine-tune");
    else
        status = tl_optimizer_create(learner->graph, &options->optimizer, &c.optimizer, err);
    if (status == TL_OK) {
        memcpy(c.flat, start, bytes);
        memcpy(c.average, start, bytes);
        tl_learner_source source = { .fetch = fetch, .context = context };
        status = run(learner, &c, &source, stop, err);
    }
    if (status == TL_OK)
        tl_interpolate(start, c.average, learner->float_count, options->interpolation, out);
    tl_optimizer_destroy(&c.optimizer);
    free(c.flat);
    free(c.average);
    return status;
}

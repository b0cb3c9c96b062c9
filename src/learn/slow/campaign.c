#include "learn/slow/campaign.h"

#include "learn/train/step.h"
#include "networks/small.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAD_BATCH = 32,
    HEAD_STEPS_MIN = 300,
    HEAD_EPOCHS = 20,
    FEATURE_BATCH = 16 /* items whose features are one step */
};
static const double HEAD_RATE = 3e-3;

/* The last layer by itself, on features. */
typedef struct head_phase {
    tl_plan *plan; /* inference, of the whole network */
    tl_weights *weights;
    size_t *chosen;  /* [count] entries */
    float *features; /* [count, feature_count] */
    uint32_t *labels;
    size_t count, done, found; /* items; looked at; of those fetched */
} head_phase;

struct tl_campaign {
    tl_campaign_options options;
    tl_graph *graph;
    tl_learner_fetch fetch;
    void *context;
    tl_campaign_entry *entries;   /* the fresh ones first, each part by class */
    tl_automatic_item *automatic; /* [options.automatic_count] */
    size_t count, fresh_count;
    size_t class_first[TL_CLASS_COUNT_MAX + 1]; /* into by_class */
    size_t *by_class;                           /* [count] entries */
    uint32_t classes[TL_CLASS_COUNT_MAX], seen_classes;
    size_t float_count, input_count;
    uint32_t width, batch;
    float *start, *flat, *average;
    tl_step *step; /* of everything; made when the head is done */
    tl_optimizer *optimizer;
    tl_schedule schedule;
    head_phase head;
    uint64_t head_steps, tune_steps, done, skipped;
    uint8_t *pixels;
    float *weights;
    uint32_t *targets;
    double loss;
};

tl_campaign_options tl_campaign_options_default(void)
{
    return (tl_campaign_options){ .seed = 1,
                                  .class_count = 2,
                                  .threads = 1,
                                  .batch = 16,
                                  .bytes_max = (size_t)1 << 30,
                                  .head_items = 1024,
                                  .epochs = 8.0,
                                  .steps_min = 200,
                                  .rate = 3e-3,
                                  .backbone_factor = 1.0f,
                                  .l2_to_start = 1e-4f,
                                  .average_decay = 0.99,
                                  .warmup_share = 0.05 };
}

/* ---- Creation -------------------------------------------------------------------------------- */

static tl_status check_label(uint32_t label, uint32_t class_count, tl_error *err)
{
    return label < class_count
               ? TL_OK
               : tl_fail(err, TL_EINVAL, "label %u; there are %u classes", label, class_count);
}

static tl_status check(const tl_graph *graph, const tl_campaign_entry *entries, size_t count,
                       const tl_campaign_options *o, tl_error *err)
{
    bool sane = o->epochs > 0.0 && o->epochs <= 1000.0 && o->rate > 0.0 && isfinite(o->rate) &&
                o->warmup_share >= 0.0 && o->warmup_share <= 1.0 && o->average_decay >= 0.0 &&
                o->average_decay < 1.0 && o->l2_to_start >= 0.0f && isfinite(o->l2_to_start) &&
                o->batch >= 1 && o->batch <= 512 && o->head_items >= 1 &&
                o->automatic_weight >= 0.0f && o->automatic_weight <= 1.0f;
    if (!sane) return tl_fail(err, TL_EINVAL, "an option of the campaign is out of bounds");
    if (count == 0) return tl_fail(err, TL_EINVAL, "there are no labels to learn from");
    tl_status status = tl_step_check_images(graph, &o->pixels, err);
    if (status != TL_OK) return status;
    size_t width = tl_shape_count(tl_graph_output_shape(graph, 0));
    if (o->class_count < 1 || o->class_count > width || o->class_count > TL_CLASS_COUNT_MAX ||
        tl_graph_feature_count(graph) == 0)
        return tl_fail(err, TL_ESHAPE, "%u classes; the network has %zu outputs", o->class_count,
                       width);
    for (size_t i = 0; i < count && status == TL_OK; i++)
        status = check_label(entries[i].label, o->class_count, err);
    for (size_t i = 0; i < o->automatic_count && status == TL_OK; i++)
        status = check_label(o->automatic[i].label, o->class_count, err);
    return status;
}

/* The entries, the fresh ones first; and their places by class. */
static void arrange(tl_campaign *c, const tl_campaign_entry *entries)
{
    size_t at = 0;
    for (int old = 0; old < 2; old++)
        for (size_t i = 0; i < c->count; i++)
            if (entries[i].fresh != (old == 1)) c->entries[at++] = entries[i];
    while (c->fresh_count < c->count && c->entries[c->fresh_count].fresh) c->fresh_count++;
    at = 0;
    for (uint32_t k = 0; k < c->options.class_count; k++) {
        c->class_first[k] = at;
        for (size_t i = 0; i < c->count; i++)
            if (c->entries[i].label == k) c->by_class[at++] = i;
        if (at > c->class_first[k]) c->classes[c->seen_classes++] = k;
        c->class_first[k + 1] = at;
    }
}

static tl_status allocate(tl_campaign *c, const tl_campaign_entry *entries, const float *start,
                          tl_error *err)
{
    size_t bytes = c->float_count * sizeof(float);
    c->entries = malloc(c->count * sizeof *c->entries);
    c->by_class = malloc(c->count * sizeof *c->by_class);
    float **const vectors[] = { &c->start, &c->flat, &c->average };
    c->automatic = malloc((c->options.automatic_count + 1) * sizeof *c->automatic);
    bool ok = c->entries != NULL && c->by_class != NULL && c->automatic != NULL;
    for (size_t i = 0; i < TL_COUNT_OF(vectors); i++) {
        *vectors[i] = malloc(bytes + 1);
        ok = ok && *vectors[i] != NULL;
        if (ok) memcpy(*vectors[i], start, bytes);
    }
    size_t item_bytes = tl_pixels_item_bytes(&c->options.pixels);
    c->pixels = malloc(item_bytes);
    size_t batch = c->options.batch > HEAD_BATCH ? c->options.batch : HEAD_BATCH;
    c->weights = calloc(batch, sizeof(float));
    c->targets = calloc(batch, sizeof *c->targets);
    ok = ok && c->pixels != NULL && c->weights != NULL && c->targets != NULL;
    if (!ok) return tl_fail(err, TL_ENOMEM, "a campaign over %zu labels", c->count);
    arrange(c, entries);
    for (size_t i = 0; i < c->options.automatic_count; i++)
        c->automatic[i] = c->options.automatic[i];
    return TL_OK;
}

/* Round and round the classes, from the newest of each on, until there are enough. */
static tl_status choose_head_items(tl_campaign *c, tl_error *err)
{
    head_phase *head = &c->head;
    size_t most = c->count < c->options.head_items ? c->count : c->options.head_items;
    head->chosen = malloc(most * sizeof *head->chosen);
    head->features = malloc(most * tl_graph_feature_count(c->graph) * sizeof(float));
    head->labels = malloc(most * sizeof *head->labels);
    if (head->chosen == NULL || head->features == NULL || head->labels == NULL)
        return tl_fail(err, TL_ENOMEM, "features of %zu items", most);
    for (size_t turn = 0; head->count < most; turn++)
        for (uint32_t k = 0; k < c->options.class_count && head->count < most; k++)
            if (c->class_first[k] + turn < c->class_first[k + 1])
                head->chosen[head->count++] = c->by_class[c->class_first[k] + turn];
    c->head_steps = (head->count + FEATURE_BATCH - 1) / FEATURE_BATCH;
    const tl_plan_options plan = { .batch_max = FEATURE_BATCH,
                                   .mode = TL_PLAN_INFER,
                                   .threads = c->options.threads };
    tl_status status = tl_plan_create(c->graph, &plan, &head->plan, err);
    return status == TL_OK ? tl_weights_create(c->graph, c->start, &head->weights, err) : status;
}

static void head_free(head_phase *head)
{
    tl_plan_destroy(&head->plan);
    tl_weights_release(&head->weights);
    free(head->chosen);
    free(head->features);
    free(head->labels);
    *head = (head_phase){ 0 };
}

tl_status tl_campaign_create(tl_graph *graph, const float *start, const tl_campaign_entry *entries,
                             size_t count, const tl_campaign_options *options,
                             tl_learner_fetch fetch, void *context, tl_campaign **out,
                             tl_error *err)
{
    tl_status status = check(graph, entries, count, options, err);
    if (status != TL_OK) return status;
    tl_campaign *c = calloc(1, sizeof *c);
    if (c == NULL) return tl_fail(err, TL_ENOMEM, "campaign");
    c->options = *options;
    c->graph = graph;
    tl_graph_retain(graph);
    c->fetch = fetch;
    c->context = context;
    c->count = count;
    c->float_count = tl_graph_float_count(graph);
    c->input_count = tl_shape_count(tl_graph_input_shape(graph, 0));
    c->width = (uint32_t)tl_shape_count(tl_graph_output_shape(graph, 0));
    c->batch = options->batch;
    double steps = ceil(options->epochs * (double)count / options->batch);
    c->tune_steps = steps > options->steps_min ? (uint64_t)steps : options->steps_min;
    c->schedule = (tl_schedule){ .kind = TL_SCHEDULE_COSINE,
                                 .base = options->rate,
                                 .warmup = ceil(options->warmup_share * (double)c->tune_steps),
                                 .scale = (double)c->tune_steps };
    status = allocate(c, entries, start, err);
    if (status == TL_OK) status = choose_head_items(c, err);
    if (status != TL_OK) {
        tl_campaign_destroy(&c);
        return status;
    }
    *out = c;
    return TL_OK;
}

void tl_campaign_destroy(tl_campaign **campaign)
{
    tl_campaign *c = *campaign;
    *campaign = NULL;
    if (c == NULL) return;
    head_free(&c->head);
    tl_step_destroy(&c->step);
    tl_optimizer_destroy(&c->optimizer);
    tl_graph_release(&c->graph);
    void *const owned[] = { c->entries, c->by_class, c->start,   c->flat,     c->average,
                            c->pixels,  c->weights,  c->targets, c->automatic };
    for (size_t i = 0; i < TL_COUNT_OF(owned); i++) free(owned[i]);
    free(c);
}

/* ---- Items ----------------------------------------------------------------------------------- */

/* Fetch an entry's item into row `row` of the plan's input. False: it is gone. */
static bool put(tl_campaign *c, tl_plan *plan, uint32_t row, const tl_campaign_entry *entry,
                uint32_t transform)
{
    if (c->fetch(c->context, entry->key, c->pixels, NULL, NULL) != TL_OK) {
        c->skipped++;
        return false;
    }
    const tl_pixels_form *form = &c->options.pixels;
    const uint8_t *reference =
        form->has_template ? c->pixels + tl_pixels_item_bytes(form) / 2 : NULL;
    tl_pixels_convert(form, c->pixels, reference, transform,
                      tl_plan_input(plan, 0) + row * c->input_count);
    return true;
}

/* ---- The last layer -------------------------------------------------------------------------- */

/* Features of the next few items. */
static tl_status step_features(tl_campaign *c, tl_error *err)
{
    head_phase *head = &c->head;
    size_t feature_count = tl_graph_feature_count(c->graph), first = head->found;
    uint32_t rows = 0;
    for (; rows < FEATURE_BATCH && head->done < head->count; head->done++) {
        const tl_campaign_entry *entry = &c->entries[head->chosen[head->done]];
        if (!put(c, head->plan, rows, entry, 0)) continue;
        head->labels[first + rows++] = entry->label;
    }
    if (rows == 0) return TL_OK;
    tl_status status = tl_plan_infer(head->plan, head->weights, rows, err);
    if (status != TL_OK) return status;
    memcpy(head->features + first * feature_count, tl_plan_features(head->plan),
           rows * feature_count * sizeof(float));
    head->found += rows;
    return TL_OK;
}

/* Where the last layer's weights and biases lie among all numbers. */
static bool find_last_layer(const tl_campaign *c, size_t *weights, size_t *biases)
{
    size_t wanted = c->width * tl_graph_feature_count(c->graph);
    *weights = *biases = SIZE_MAX;
    for (size_t i = 0; i < tl_graph_param_count(c->graph); i++) {
        const tl_param *param = tl_graph_param(c->graph, i);
        if (param->stage != 0) continue;
        if (param->role == TL_PARAM_WEIGHT && param->count == wanted) *weights = param->offset;
        if (param->role == TL_PARAM_BIAS && param->count == c->width) *biases = param->offset;
    }
    return *weights != SIZE_MAX && *biases != SIZE_MAX;
}

typedef struct head_fit {
    tl_graph *graph; /* one Gemm: its weights, then its biases */
    tl_step *step;
    tl_optimizer *optimizer;
    float *flat;
} head_fit;

static tl_status fit_step(const tl_campaign *c, head_fit *fit, uint64_t step, uint64_t steps,
                          tl_error *err)
{
    const head_phase *head = &c->head;
    size_t d = tl_graph_feature_count(c->graph);
    float *input = tl_plan_input(tl_step_plan(fit->step), 0);
    tl_rng rng;
    tl_rng_seed(&rng, ~c->options.seed, step);
    for (uint32_t i = 0; i < HEAD_BATCH; i++) {
        size_t pick = (size_t)tl_rng_below(&rng, head->found);
        memcpy(input + i * d, head->features + pick * d, d * sizeof *input);
        c->targets[i] = head->labels[pick];
    }
    const tl_schedule schedule = { .kind = TL_SCHEDULE_COSINE,
                                   .base = HEAD_RATE,
                                   .scale = (double)steps };
    const tl_step_update update = { .optimizer = fit->optimizer,
                                    .rate = tl_schedule_rate(&schedule, (double)step) };
    tl_step_loss loss;
    tl_status status = tl_step_gradient(fit->step, fit->flat,
                                        &(tl_step_targets){ .labels = c->targets }, &loss, err);
    if (status == TL_OK) status = tl_step_apply(fit->step, &update, fit->flat, err);
    return status == TL_EINVAL ? TL_OK : status; /* not finite: nothing moved */
}

static tl_status fit_run(tl_campaign *c, head_fit *fit, size_t weights, size_t biases,
                         tl_error *err)
{
    size_t d = tl_graph_feature_count(c->graph), count = c->width * d;
    tl_optimizer_options adam = tl_optimizer_options_default(TL_OPTIMIZER_ADAMW);
    const tl_step_options options = { .batch = HEAD_BATCH,
                                      .threads = 1,
                                      .class_count = c->options.class_count };
    tl_status status = tl_network_linear((uint32_t)d, c->width, &fit->graph, &fit->flat, err);
    if (status == TL_OK) status = tl_step_create(fit->graph, &options, &fit->step, err);
    if (status == TL_OK) status = tl_optimizer_create(fit->graph, &adam, &fit->optimizer, err);
    if (status != TL_OK) return status;
    memcpy(fit->flat, c->flat + weights, count * sizeof(float));
    memcpy(fit->flat + count, c->flat + biases, c->width * sizeof(float));
    uint64_t steps = HEAD_EPOCHS * c->head.found / HEAD_BATCH;
    if (steps < HEAD_STEPS_MIN) steps = HEAD_STEPS_MIN;
    for (uint64_t step = 0; step < steps && status == TL_OK; step++)
        status = fit_step(c, fit, step, steps, err);
    if (status != TL_OK) return status;
    memcpy(c->flat + weights, fit->flat, count * sizeof(float));
    memcpy(c->flat + biases, fit->flat + count, c->width * sizeof(float));
    return TL_OK;
}

/* The last layer on all features at once: it is small, and they are in memory. */
static tl_status fit_head(tl_campaign *c, tl_error *err)
{
    size_t weights, biases;
    head_fit fit = { 0 };
    if (c->head.found == 0 || !find_last_layer(c, &weights, &biases)) return TL_OK;
    tl_status status = fit_run(c, &fit, weights, biases, err);
    tl_optimizer_destroy(&fit.optimizer);
    tl_step_destroy(&fit.step);
    tl_graph_release(&fit.graph);
    free(fit.flat);
    return status;
}

/* ---- Everything ------------------------------------------------------------------------------ */

/* A step over as many items as memory allows. `c` may be one that is only measured. */
static tl_status create_step(tl_campaign *c, bool only_measure, tl_error *err)
{
    for (;;) {
        const tl_step_options step = { .batch = c->batch,
                                       .live_norm = true,
                                       .threads = c->options.threads,
                                       .class_count = c->options.class_count,
                                       .only_measure = only_measure };
        tl_status status = tl_step_create(c->graph, &step, &c->step, err);
        if (status != TL_OK || tl_step_bytes(c->step) <= c->options.bytes_max || c->batch <= 2)
            return status;
        tl_step_destroy(&c->step);
        c->batch /= 2;
    }
}

tl_status tl_campaign_measure(tl_graph *graph, const tl_campaign_options *options, uint32_t *batch,
                              size_t *bytes, tl_error *err)
{
    tl_campaign c = { .graph = graph,
                      .options = *options,
                      .batch = options->batch,
                      .float_count = tl_graph_float_count(graph) };
    tl_status status = create_step(&c, true, err);
    if (status != TL_OK) return status;
    *batch = c.batch;
    *bytes = tl_campaign_bytes(&c);
    tl_step_destroy(&c.step);
    return TL_OK;
}

static tl_status start_tuning(tl_campaign *c, tl_error *err)
{
    memcpy(c->average, c->flat, c->float_count * sizeof *c->flat);
    memcpy(c->start, c->flat, c->float_count * sizeof *c->flat);
    tl_optimizer_options adam = tl_optimizer_options_default(TL_OPTIMIZER_ADAMW);
    adam.beta2 = 0.99f;
    adam.weight_decay = 0.0f; /* the pull goes to the start instead of to 0 */
    adam.backbone_factor = c->options.backbone_factor;
    tl_status status = tl_optimizer_create(c->graph, &adam, &c->optimizer, err);
    return status == TL_OK ? create_step(c, false, err) : status;
}

static tl_campaign_entry draw(const tl_campaign *c, tl_rng *rng, bool fresh)
{
    if (fresh && c->fresh_count > 0) return c->entries[tl_rng_below(rng, c->fresh_count)];
    uint32_t k = c->classes[tl_rng_below(rng, c->seen_classes)];
    size_t first = c->class_first[k];
    return c->entries[c->by_class[first + tl_rng_below(rng, c->class_first[k + 1] - first)]];
}

/* An item for that row of the batch; *weight: what it counts there. */
static tl_campaign_entry draw_row(const tl_campaign *c, tl_rng *rng, uint32_t row, float *weight)
{
    size_t count = c->options.automatic_count;
    *weight = 1.0f;
    if (count == 0 || row % TL_AUTOMATIC_PART != TL_AUTOMATIC_PART - 1)
        return draw(c, rng, row % 2 == 0);
    *weight = c->options.automatic_weight;
    const tl_automatic_item *item = &c->automatic[tl_rng_below(rng, count)];
    return (tl_campaign_entry){ .key = item->key, .label = item->label };
}

/* False: none of the batch could be fetched. */
static bool fill(tl_campaign *c, tl_rng *rng)
{
    uint32_t transforms = tl_pixels_transform_count(&c->options.pixels);
    for (uint32_t i = 0; i < c->batch; i++) {
        float weight;
        tl_campaign_entry entry = draw_row(c, rng, i, &weight);
        uint32_t transform = (uint32_t)tl_rng_below(rng, transforms); /* drawn, fetched or not */
        bool got = put(c, tl_step_plan(c->step), i, &entry, transform);
        c->weights[i] = got ? weight : 0.0f;
        c->targets[i] = entry.label;
    }
    return tl_step_stand_in(c->step, c->weights);
}

static tl_status step_tuning(tl_campaign *c, uint64_t step, tl_error *err)
{
    tl_rng rng;
    tl_rng_seed(&rng, c->options.seed, step);
    if (!fill(c, &rng)) return TL_OK;
    const tl_step_targets targets = { .labels = c->targets, .weights = c->weights };
    const tl_step_update update = { .optimizer = c->optimizer,
                                    .rate = tl_schedule_rate(&c->schedule, (double)step),
                                    .start = c->start,
                                    .pull = c->options.l2_to_start,
                                    .average = c->average,
                                    .average_decay = c->options.average_decay,
                                    .updates = step };
    tl_step_loss loss = { 0 };
    tl_status status = tl_step_gradient(c->step, c->flat, &targets, &loss, err);
    c->loss = loss.total;
    if (status == TL_OK) status = tl_step_apply(c->step, &update, c->flat, err);
    return status == TL_EINVAL ? TL_OK : status; /* not finite: as if the step had not been */
}

tl_status tl_campaign_step(tl_campaign *c, tl_error *err)
{
    TL_ASSERT(c->done < tl_campaign_steps(c));
    tl_status status = TL_OK;
    if (c->done < c->head_steps) {
        status = step_features(c, err);
        if (status == TL_OK && c->done + 1 == c->head_steps) {
            status = fit_head(c, err);
            head_free(&c->head);
            if (status == TL_OK) status = start_tuning(c, err);
        }
    } else {
        status = step_tuning(c, c->done - c->head_steps, err);
    }
    if (status == TL_OK) c->done++;
    return status;
}

/* ---- Facts ----------------------------------------------------------------------------------- */

uint64_t tl_campaign_done(const tl_campaign *campaign)
{
    return campaign->done;
}

uint64_t tl_campaign_steps(const tl_campaign *campaign)
{
    return campaign->head_steps + campaign->tune_steps;
}

uint64_t tl_campaign_skipped(const tl_campaign *campaign)
{
    return campaign->skipped;
}

double tl_campaign_loss(const tl_campaign *campaign)
{
    return campaign->loss;
}

const float *tl_campaign_result(const tl_campaign *campaign)
{
    return campaign->average;
}

size_t tl_campaign_bytes(const tl_campaign *campaign)
{
    size_t plans = campaign->step != NULL ? tl_step_bytes(campaign->step) : 0;
    if (campaign->head.plan != NULL) plans += tl_plan_bytes(campaign->head.plan);
    return sizeof *campaign + plans + 5 * campaign->float_count * sizeof(float);
}

#include "learn/slow/learner_state.h"

#include "learn/slow/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

tl_learner_options tl_learner_options_default(void)
{
    tl_learner_options options = {
        .pixels = { .height = 64, .width = 64, .channels = 1, .has_template = true, .align = 6 },
        .feature_scale = 1.0f,
        .seed = 1,
        .class_count = 2,
        .replay_per_label = 8,
        .labels_per_step = 1,
        .early_steps = 1,
        .augment = true,
        .optimizer = tl_optimizer_options_default(TL_OPTIMIZER_ADAMW),
        .schedule = { .kind = TL_SCHEDULE_POWER,
                      .base = 0.004,
                      .warmup = 50,
                      .scale = 2000,
                      .power = 0.5 },
        .average_decay = 0.998,
        .replay = tl_replay_options_default(),
        .live_norm = true,
        .threads = 1,
    };
    options.optimizer.beta2 = 0.99f;
    options.optimizer.weight_decay = 0.01f;
    return options;
}

/* ---- Creation -------------------------------------------------------------------------------- */

static tl_status check_options(const tl_learner_options *o, tl_error *err)
{
    uint64_t batch = (uint64_t)o->labels_per_step * (1 + (uint64_t)o->replay_per_label);
    if (o->labels_per_step < 1 || batch > TL_LEARNER_BATCH_MAX)
        return tl_fail(err, TL_EINVAL, "a step of %llu items; use 1 to %d",
                       (unsigned long long)batch, TL_LEARNER_BATCH_MAX);
    if (o->early_steps < 1 || o->early_steps > 64)
        return tl_fail(err, TL_EINVAL, "%u early steps a label; use 1 to 64", o->early_steps);
    if (!(o->average_decay >= 0.0 && o->average_decay < 1.0) ||
        !(o->label_smoothing >= 0.0f && o->label_smoothing < 1.0f))
        return tl_fail(err, TL_EINVAL, "averaging and label smoothing must be in [0, 1)");
    const tl_schedule *s = &o->schedule;
    if (!(s->base >= 0.0 && isfinite(s->base) && s->warmup >= 0.0 && s->scale > 0.0 &&
          isfinite(s->power)))
        return tl_fail(err, TL_EINVAL, "the schedule's numbers must be 0 or more");
    if (o->feature_count > 0 && !(o->feature_scale > 0.0f && isfinite(o->feature_scale)))
        return tl_fail(err, TL_EINVAL, "the scale of features must be above 0");
    if (o->feature_count == 0 && (o->pixels.height < 1 || o->pixels.height > TL_IMAGE_SIDE_MAX ||
                                  o->pixels.width < 1 || o->pixels.width > TL_IMAGE_SIDE_MAX ||
                                  (o->pixels.channels != 1 && o->pixels.channels != 3)))
        return tl_fail(err, TL_EINVAL,
                       "images of %u x %u x %u; use sides up to %d and 1 or 3 "
                       "channels",
                       o->pixels.height, o->pixels.width, o->pixels.channels, TL_IMAGE_SIDE_MAX);
    return TL_OK;
}

static tl_status check_graph(tl_graph *graph, const tl_learner_options *o, tl_error *err)
{
    const tl_shape features = tl_shape_vector(o->feature_count);
    tl_status status = TL_OK;
    if (o->feature_count == 0)
        status = tl_step_check_images(graph, &o->pixels, err);
    else if (tl_graph_input_count(graph) != 1 ||
             !tl_shape_equal(tl_graph_input_shape(graph, 0), &features))
        status = tl_fail(err, TL_ESHAPE, "the network does not take %u features", o->feature_count);
    if (status != TL_OK) return status;
    if (tl_graph_output_count(graph) < 1 || tl_graph_output_shape(graph, 0)->rank != 1)
        return tl_fail(err, TL_ESHAPE, "the network's first output is not a vector of scores");
    uint32_t width = tl_graph_output_shape(graph, 0)->dim[0];
    if (o->class_count < 1 || o->class_count > width || o->class_count > TL_CLASS_COUNT_MAX)
        return tl_fail(err, TL_ESHAPE, "%u classes; the network has %u outputs", o->class_count,
                       width);
    return TL_OK;
}

static tl_status create_step(const tl_learner *learner, uint32_t batch, tl_step **out,
                             tl_error *err)
{
    const tl_step_options options = { .task = TL_TASK_CLASSIFY,
                                      .batch = batch,
                                      .live_norm = learner->options.live_norm,
                                      .threads = learner->options.threads,
                                      .class_count = learner->options.class_count,
                                      .label_smoothing = learner->options.label_smoothing };
    return tl_step_create(learner->graph, &options, out, err);
}

static tl_status create_plans(tl_learner *learner, tl_error *err)
{
    const tl_plan_options predict = { .batch_max = 1,
                                      .mode = TL_PLAN_TRAIN_FROZEN,
                                      .threads = learner->options.threads };
    tl_status status = tl_plan_create(learner->graph, &predict, &learner->predict_plan, err);
    if (status == TL_OK) status = create_step(learner, learner->batch, &learner->step, err);
    return status;
}

/* What is as long as a batch. */
static tl_status allocate_batch(tl_learner *learner, uint32_t batch, tl_error *err)
{
    learner->batch = batch;
    learner->skipped_max = 1 + (size_t)learner->options.early_steps * batch;
    learner->weights = calloc(batch, sizeof(float));
    learner->targets = calloc(batch, sizeof *learner->targets);
    learner->chosen = calloc(batch, sizeof *learner->chosen);
    learner->skipped = calloc(learner->skipped_max, sizeof *learner->skipped);
    bool ok = learner->weights != NULL && learner->targets != NULL && learner->chosen != NULL &&
              learner->skipped != NULL;
    return ok ? TL_OK : tl_fail(err, TL_ENOMEM, "batches of %u items", batch);
}

static void free_batch(tl_learner *learner)
{
    void *const owned[] = { learner->weights, learner->targets, learner->chosen, learner->skipped };
    for (size_t i = 0; i < TL_COUNT_OF(owned); i++) free(owned[i]);
}

static tl_status allocate(tl_learner *learner, tl_error *err)
{
    size_t floats = learner->float_count;
    const tl_learner_options *o = &learner->options;
    learner->flat = malloc((floats + 1) * sizeof(float));
    learner->average = malloc((floats + 1) * sizeof(float));
    learner->pending = calloc(o->labels_per_step, sizeof *learner->pending);
    bool image = o->feature_count == 0;
    size_t item_bytes = image ? tl_pixels_item_bytes(&o->pixels) : 0;
    if (image) learner->pixels = calloc(item_bytes + item_bytes / 2, 1);
    if (!image) learner->features = calloc(o->feature_count, sizeof(float));
    bool ok = learner->flat != NULL && learner->average != NULL && learner->pending != NULL &&
              (image ? learner->pixels != NULL : learner->features != NULL);
    if (!ok) return tl_fail(err, TL_ENOMEM, "learner of %zu parameters", floats);
    return allocate_batch(learner, o->labels_per_step * (1 + o->replay_per_label), err);
}

tl_status tl_learner_create(tl_graph *graph, const float *initial_flat,
                            const tl_learner_options *options, tl_learner **out, tl_error *err)
{
    tl_status status = check_options(options, err);
    if (status == TL_OK) status = check_graph(graph, options, err);
    if (status != TL_OK) return status;
    tl_learner *learner = calloc(1, sizeof *learner);
    if (learner == NULL) return tl_fail(err, TL_ENOMEM, "learner");
    tl_graph_retain(graph);
    learner->graph = graph;
    learner->options = *options;
    learner->float_count = tl_graph_float_count(graph);
    learner->input_count = tl_shape_count(tl_graph_input_shape(graph, 0));
    learner->width = tl_graph_output_shape(graph, 0)->dim[0];
    status = allocate(learner, err);
    if (status == TL_OK) status = create_plans(learner, err);
    if (status == TL_OK)
        status = tl_optimizer_create(graph, &options->optimizer, &learner->optimizer, err);
    if (status == TL_OK) status = tl_replay_create(&options->replay, &learner->replay, err);
    if (status != TL_OK) {
        tl_learner_destroy(&learner);
        return status;
    }
    memcpy(learner->flat, initial_flat, learner->float_count * sizeof(float));
    memcpy(learner->average, initial_flat, learner->float_count * sizeof(float));
    *out = learner;
    return TL_OK;
}

void tl_learner_destroy(tl_learner **learner)
{
    if (learner == NULL || *learner == NULL) return;
    tl_learner *l = *learner;
    tl_plan_destroy(&l->predict_plan);
    tl_step_destroy(&l->step);
    tl_optimizer_destroy(&l->optimizer);
    tl_replay_destroy(&l->replay);
    tl_automatic_memory_clear(&l->automatic);
    tl_graph_release(&l->graph);
    free_batch(l);
    void *const owned[] = { l->flat,   l->average,  l->pending,
                            l->pixels, l->features, l->excluded.keys };
    for (size_t i = 0; i < TL_COUNT_OF(owned); i++) free(owned[i]);
    free(l);
    *learner = NULL;
}

/* ---- Items ----------------------------------------------------------------------------------- */

bool tl_learner_get(tl_learner *learner, tl_learner_source *source, uint64_t key)
{
    if (source->has_fetched && source->fetched == key) return true;
    source->has_fetched = false;
    tl_status status =
        source->fetch(source->context, key, learner->pixels, learner->features, NULL);
    if (status == TL_OK) {
        source->has_fetched = true;
        source->fetched = key;
        return true;
    }
    if (learner->skipped_count < learner->skipped_max)
        learner->skipped[learner->skipped_count++] = key;
    return false;
}

/* A shift as the replay memory's note: 0 is "not known". */
enum { SHIFTS = 2 * TL_PIXELS_ALIGN_MAX + 1 };
_Static_assert(SHIFTS *SHIFTS < 256, "a shift fits into the note of an entry");

/* Move the template to where it fits, into the third part of the item buffer. */
static const uint8_t *moved_template(tl_learner *learner, uint64_t key)
{
    const tl_pixels_form *form = &learner->options.pixels;
    size_t bytes = tl_pixels_item_bytes(form) / 2;
    const uint8_t *image = learner->pixels, *reference = image + bytes;
    uint8_t *moved = learner->pixels + 2 * bytes;
    if (form->align == 0) return reference;
    const tl_replay_entry *entry = tl_replay_find(learner->replay, key);
    int dy, dx;
    if (entry != NULL && entry->note > 0) {
        dy = (entry->note - 1) / SHIFTS - TL_PIXELS_ALIGN_MAX;
        dx = (entry->note - 1) % SHIFTS - TL_PIXELS_ALIGN_MAX;
    } else {
        tl_pixels_align(form, image, reference, &dy, &dx);
        int note = 1 + (dy + TL_PIXELS_ALIGN_MAX) * SHIFTS + dx + TL_PIXELS_ALIGN_MAX;
        tl_replay_set_note(learner->replay, key, (uint8_t)note);
    }
    tl_pixels_move(form, image, reference, dy, dx, moved);
    return moved;
}

void tl_learner_put(tl_learner *learner, tl_plan *plan, uint32_t slot, uint64_t key,
                    uint32_t transform)
{
    const tl_learner_options *o = &learner->options;
    float *to = tl_plan_input(plan, 0) + slot * learner->input_count;
    if (o->feature_count == 0) {
        tl_pixels_form form = o->pixels;
        form.align = 0; /* done here */
        const uint8_t *reference = form.has_template ? moved_template(learner, key) : NULL;
        tl_pixels_convert(&form, learner->pixels, reference, transform, to);
    } else {
        for (size_t i = 0; i < o->feature_count; i++)
            to[i] = learner->features[i] * o->feature_scale;
    }
}

static float weight_of(const tl_learner *learner, uint32_t row)
{
    bool automatic = row >= learner->batch - learner->automatic_count;
    return automatic ? learner->automatic.weight : 1.0f;
}

bool tl_learner_fill(tl_learner *learner, tl_learner_source *source, tl_rng *rng)
{
    const tl_learner_options *o = &learner->options;
    bool turn = o->augment && o->feature_count == 0;
    uint32_t transforms = turn ? tl_pixels_transform_count(&o->pixels) : 1;
    for (uint32_t i = 0; i < learner->batch; i++) {
        uint32_t transform = (uint32_t)tl_rng_below(rng, transforms); /* drawn, fetched or not */
        bool got = tl_learner_get(learner, source, learner->chosen[i].key);
        learner->weights[i] = got ? weight_of(learner, i) : 0.0f;
        learner->targets[i] = learner->chosen[i].label;
        if (got)
            tl_learner_put(learner, tl_step_plan(learner->step), i, learner->chosen[i].key,
                           transform);
    }
    return tl_step_stand_in(learner->step, learner->weights);
}

tl_status tl_learner_gradient(tl_learner *learner, float *flat, double *loss, tl_error *err)
{
    const tl_step_targets targets = { .labels = learner->targets, .weights = learner->weights };
    tl_step_loss found;
    tl_step_set_class_count(learner->step, learner->options.class_count);
    tl_status status = tl_step_gradient(learner->step, flat, &targets, &found, err);
    if (status == TL_OK) *loss = found.total;
    return status;
}

/* ---- Key sets -------------------------------------------------------------------------------- */

static size_t lower_bound(const tl_key_set *set, uint64_t key)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (set->keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool tl_key_set_has(const tl_key_set *set, uint64_t key)
{
    size_t at = lower_bound(set, key);
    return at < set->count && set->keys[at] == key;
}

static tl_status key_set_change(tl_key_set *set, uint64_t key, bool in, tl_error *err)
{
    if (tl_key_set_has(set, key) == in) return TL_OK;
    size_t at = lower_bound(set, key);
    if (!in) {
        memmove(set->keys + at, set->keys + at + 1, (set->count - at - 1) * sizeof *set->keys);
        set->count--;
        return TL_OK;
    }
    if (set->count == set->capacity) {
        size_t capacity = set->capacity == 0 ? 16 : 2 * set->capacity;
        uint64_t *keys = realloc(set->keys, capacity * sizeof *keys);
        if (keys == NULL) return tl_fail(err, TL_ENOMEM, "keys that are kept out of training");
        set->keys = keys;
        set->capacity = capacity;
    }
    memmove(set->keys + at + 1, set->keys + at, (set->count - at) * sizeof *set->keys);
    set->keys[at] = key;
    set->count++;
    return TL_OK;
}

/* ---- Learning -------------------------------------------------------------------------------- */

static tl_status predict(tl_learner *learner, uint64_t key, uint32_t label,
                         tl_learner_result *result, tl_error *err)
{
    tl_learner_put(learner, learner->predict_plan, 0, key, 0);
    tl_status status = tl_plan_train_forward(learner->predict_plan, learner->average, 1, err);
    if (status != TL_OK) return status;
    const tl_loss_options options = { .width = learner->width,
                                      .class_count = learner->options.class_count };
    const float *logits = tl_plan_output(learner->predict_plan, 0);
    result->log_loss = tl_loss_cross_entropy(&options, logits, &label, NULL, 1, NULL, NULL);
    tl_loss_softmax(logits, options.class_count, result->scores);
    result->predicted = true;
    return TL_OK;
}

/* Put the new item into the memory. TL_OK with *train false: it is not to be trained on. */
static tl_status remember(tl_learner *learner, uint64_t key, uint32_t label, tl_rng *rng,
                          bool *train, tl_error *err)
{
    bool excluded = tl_key_set_has(&learner->excluded, key);
    *train = !excluded;
    tl_automatic_memory_remove(&learner->automatic, key);
    if (tl_replay_relabel(learner->replay, key, label)) return TL_OK;
    tl_status status = tl_replay_add(learner->replay, key, label, rng, err);
    if (status == TL_OK && excluded) tl_replay_exclude(learner->replay, key, true);
    return status;
}

/* The last rows of the batch, of `rest` that are left: a quarter of it at most. */
static void choose_automatic(tl_learner *learner, tl_rng *rng, uint32_t rest)
{
    const tl_automatic_memory *memory = &learner->automatic;
    learner->automatic_count = 0;
    if (memory->count == 0 || memory->weight <= 0.0f) return;
    uint32_t most = learner->batch / TL_AUTOMATIC_PART;
    learner->automatic_count = most < rest ? most : rest;
    for (uint32_t i = 0; i < learner->automatic_count; i++) {
        uint64_t pick = tl_rng_below(rng, memory->count);
        learner->chosen[learner->batch - 1 - i] =
            (tl_replay_entry){ .key = memory->items[pick].key, .label = memory->items[pick].label };
    }
}

/* The pending items, then replayed ones. False: nothing to replay, which pending items preclude. */
static bool choose(tl_learner *learner, tl_rng *rng)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < learner->pending_count; i++) {
        const tl_replay_entry *entry = tl_replay_find(learner->replay, learner->pending[i]);
        if (entry != NULL && !entry->excluded) learner->chosen[count++] = *entry;
    }
    choose_automatic(learner, rng, learner->batch - count);
    size_t rest = learner->batch - count - learner->automatic_count;
    return tl_replay_sample(learner->replay, rng, rest, learner->chosen + count) == rest;
}

/* One step. Numbers that are not finite leave it out: they are told by `trained`, not as an error.
 */
static tl_status train(tl_learner *learner, tl_learner_source *source, tl_rng *rng,
                       tl_learner_result *result, tl_error *err)
{
    if (!choose(learner, rng) || !tl_learner_fill(learner, source, rng)) return TL_OK;
    double loss = 0.0;
    double rate = tl_schedule_rate(&learner->options.schedule, (double)(learner->labels - 1));
    tl_status status = tl_learner_gradient(learner, learner->flat, &loss, err);
    const tl_step_update update = { .optimizer = learner->optimizer,
                                    .rate = rate,
                                    .average = learner->average,
                                    .average_decay = learner->options.average_decay,
                                    .updates = learner->steps + 1 };
    if (status == TL_OK) status = tl_step_apply(learner->step, &update, learner->flat, err);
    if (status != TL_OK) return status == TL_EINVAL ? TL_OK : status;
    const float *losses = tl_step_losses(learner->step);
    for (uint32_t i = 0; i < learner->batch; i++)
        if (learner->weights[i] > 0.0f)
            tl_replay_set_loss(learner->replay, learner->chosen[i].key, losses[i]);
    learner->steps++;
    result->trained = true;
    result->train_loss = loss;
    result->rate = rate;
    return TL_OK;
}

tl_status tl_learner_step(tl_learner *learner, uint64_t key, uint32_t label, tl_learner_fetch fetch,
                          void *context, tl_learner_result *result, tl_error *err)
{
    if (label >= learner->options.class_count)
        return tl_fail(err, TL_EINVAL, "label %u; there are %u classes", label,
                       learner->options.class_count);
    *result = (tl_learner_result){ .skipped = learner->skipped };
    learner->skipped_count = 0;
    learner->labels++;
    tl_rng rng;
    tl_rng_seed(&rng, learner->options.seed, learner->labels);
    tl_learner_source source = { .fetch = fetch, .context = context };
    bool wanted = tl_learner_get(learner, &source, key);
    tl_status status = TL_OK;
    if (wanted) {
        status = remember(learner, key, label, &rng, &wanted, err);
        if (status == TL_OK) status = predict(learner, key, label, result, err);
    }
    if (status != TL_OK) return status;
    if (wanted) learner->pending[learner->pending_count++] = key;
    if (learner->pending_count == learner->options.labels_per_step) {
        uint32_t steps = 1;
        if (learner->labels <= learner->options.early_labels) steps = learner->options.early_steps;
        for (uint32_t i = 0; i < steps && status == TL_OK; i++)
            status = train(learner, &source, &rng, result, err);
        learner->pending_count = 0;
    }
    result->skipped_count = learner->skipped_count;
    return status;
}

tl_status tl_learner_remember(tl_learner *learner, uint64_t key, uint32_t label, tl_error *err)
{
    if (label >= learner->options.class_count)
        return tl_fail(err, TL_EINVAL, "label %u; there are %u classes", label,
                       learner->options.class_count);
    tl_rng rng;
    bool train;
    tl_rng_seed(&rng, ~learner->options.seed, key);
    return remember(learner, key, label, &rng, &train, err);
}

tl_status tl_learner_automatic(tl_learner *learner, uint64_t key, uint32_t label, float weight,
                               tl_error *err)
{
    if (label >= learner->options.class_count || !(weight >= 0.0f && weight <= 1.0f))
        return tl_fail(err, TL_EINVAL, "an automatic label %u of weight %g; there are %u classes",
                       label, (double)weight, learner->options.class_count);
    bool known = tl_replay_find(learner->replay, key) != NULL;
    if (known || tl_key_set_has(&learner->excluded, key)) return TL_OK; /* a person's word stands */
    return tl_automatic_memory_add(&learner->automatic, key, label, weight, err);
}

void tl_learner_forget_automatic(tl_learner *learner)
{
    tl_automatic_memory_clear(&learner->automatic);
}

size_t tl_learner_automatic_count(const tl_learner *learner)
{
    return learner->automatic.count;
}

bool tl_learner_remove(tl_learner *learner, uint64_t key)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < learner->pending_count; i++)
        if (learner->pending[i] != key) learner->pending[kept++] = learner->pending[i];
    learner->pending_count = kept;
    return tl_replay_remove(learner->replay, key);
}

bool tl_learner_relabel(tl_learner *learner, uint64_t key, uint32_t label)
{
    return label < learner->options.class_count && tl_replay_relabel(learner->replay, key, label);
}

tl_status tl_learner_exclude(tl_learner *learner, uint64_t key, bool excluded, tl_error *err)
{
    tl_status status = key_set_change(&learner->excluded, key, excluded, err);
    if (status == TL_OK) tl_replay_exclude(learner->replay, key, excluded);
    if (excluded) tl_automatic_memory_remove(&learner->automatic, key);
    return status;
}

tl_status tl_learner_set_class_count(tl_learner *learner, uint32_t class_count, tl_error *err)
{
    if (class_count > learner->width || class_count > TL_CLASS_COUNT_MAX)
        return tl_fail(err, TL_ELIMIT, "%u classes; the network has %u outputs", class_count,
                       learner->width);
    if (class_count < learner->options.class_count)
        return tl_fail(err, TL_EINVAL, "classes cannot be taken away");
    learner->options.class_count = class_count;
    return TL_OK;
}

void tl_learner_restart(tl_learner *learner, const float *flat)
{
    memcpy(learner->flat, flat, learner->float_count * sizeof *flat);
    memcpy(learner->average, flat, learner->float_count * sizeof *flat);
    tl_optimizer_reset(learner->optimizer);
    tl_learner_forget_automatic(learner); /* by a version that may have been the wrong one */
}

tl_status tl_learner_set_replay(tl_learner *learner, uint32_t replay_per_label, tl_error *err)
{
    tl_learner changed = *learner;
    changed.options.replay_per_label = replay_per_label;
    tl_status status = check_options(&changed.options, err);
    if (status != TL_OK) return status;
    uint32_t batch = changed.options.labels_per_step * (1 + replay_per_label);
    changed.step = NULL;
    status = allocate_batch(&changed, batch, err);
    if (status == TL_OK) status = create_step(&changed, batch, &changed.step, err);
    if (status != TL_OK) {
        free_batch(&changed);
        return status;
    }
    free_batch(learner);
    tl_step_destroy(&learner->step);
    *learner = changed;
    return TL_OK;
}

/* ---- Facts ----------------------------------------------------------------------------------- */

uint64_t tl_learner_labels(const tl_learner *learner)
{
    return learner->labels;
}

uint64_t tl_learner_steps(const tl_learner *learner)
{
    return learner->steps;
}

const float *tl_learner_average(const tl_learner *learner)
{
    return learner->average;
}

const float *tl_learner_flat(const tl_learner *learner)
{
    return learner->flat;
}

const tl_replay *tl_learner_replay(const tl_learner *learner)
{
    return learner->replay;
}

size_t tl_learner_bytes(const tl_learner *learner)
{
    size_t moments = learner->options.optimizer.kind == TL_OPTIMIZER_ADAMW ? 2 : 1;
    return sizeof *learner + tl_plan_bytes(learner->predict_plan) + tl_step_bytes(learner->step) +
           (2 + moments) * learner->float_count * sizeof(float) + tl_replay_bytes(learner->replay) +
           learner->excluded.capacity * sizeof(uint64_t);
}

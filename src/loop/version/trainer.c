#include "loop/version/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    STATE_VERSION = 2,
    KEPT_PER_VERSION = 128, /* items that a version's fast head starts from */
    GOLDEN_LOAD_MAX = 4096
};

struct tl_trainer {
    tl_loop_config config;
    tl_graph *graph;
    tl_item_reader *items;
    tl_featurizer *featurizer;
    tl_learner *learner;
    uint64_t ops, next_version;
    /* The version that serves as far as the trainer knows: the parent of the next one. */
    uint64_t parent;
    tl_weights *parent_weights;
    tl_keymap golden; /* position -> label */
    /* The window that is filling. */
    double champion_loss, candidate_loss;
    uint32_t window_count, window_labels;
    uint64_t newest_key, skipped;
    tl_status failed; /* reading an item, for a reason that may pass */
};

static tl_learner_options learner_options(const tl_loop_config *config, uint32_t threads)
{
    tl_learner_options options = tl_learner_options_default();
    options.pixels = tl_items_pixels_form(config);
    options.feature_count = config->info.feature_count;
    options.seed = config->seed;
    options.class_count = (uint32_t)config->info.class_count;
    options.replay_per_label = config->replay_per_label;
    options.threads = threads;
    return options;
}

static tl_status learner_create(tl_trainer *trainer, const float *flat, uint32_t threads,
                                tl_error *err)
{
    tl_learner_options options = learner_options(&trainer->config, threads);
    return tl_learner_create(trainer->graph, flat, &options, &trainer->learner, err);
}

tl_status tl_trainer_create(const tl_trainer_options *options, tl_trainer **out, tl_error *err)
{
    tl_trainer *trainer = calloc(1, sizeof *trainer);
    if (trainer == NULL) return tl_fail(err, TL_ENOMEM, "slow learner");
    trainer->config = *options->config;
    trainer->items = options->items;
    trainer->graph = options->graph;
    tl_graph_retain(trainer->graph);
    trainer->ops = options->start_ops;
    trainer->parent = options->start->number;
    trainer->next_version = options->start->number + 1;
    trainer->parent_weights = options->start->weights;
    tl_weights_retain(trainer->parent_weights);
    tl_status status =
        tl_featurizer_create(trainer->graph, trainer->items, &trainer->featurizer, err);
    if (status == TL_OK)
        status = learner_create(trainer, tl_weights_flat(options->start->weights), options->threads,
                                err);
    if (status != TL_OK) {
        tl_trainer_destroy(&trainer);
        return status;
    }
    *out = trainer;
    return TL_OK;
}

void tl_trainer_destroy(tl_trainer **trainer_pointer)
{
    tl_trainer *trainer = *trainer_pointer;
    if (trainer == NULL) return;
    *trainer_pointer = NULL;
    tl_learner_destroy(&trainer->learner);
    tl_featurizer_destroy(&trainer->featurizer);
    tl_weights_release(&trainer->parent_weights);
    tl_keymap_destroy(&trainer->golden);
    tl_graph_release(&trainer->graph);
    free(trainer);
}

/* An item that is gone, or that cannot be decoded, is left out: it will be so whenever this is done
 * again. Everything else must stop the training, for it may go better the next time. */
static tl_status fetch(void *context, uint64_t key, uint8_t *pixels, float *features, tl_error *err)
{
    tl_trainer *trainer = context;
    tl_status status = tl_item_fetch(trainer->items, key, pixels, features, err);
    if (status == TL_EIO || status == TL_ENOMEM || status == TL_EBUSY) trainer->failed = status;
    return status;
}

static void window_clear(tl_trainer *trainer)
{
    trainer->champion_loss = trainer->candidate_loss = 0.0;
    trainer->window_count = trainer->window_labels = 0;
}

/* ---- Judging --------------------------------------------------------------------------------- */

static tl_status golden_errors(tl_trainer *trainer, const tl_weights *weights, uint32_t *errors,
                               uint32_t *count, tl_error *err)
{
    size_t golden = trainer->golden.count;
    size_t features = tl_graph_feature_count(trainer->graph);
    size_t outputs = tl_shape_count(tl_graph_output_shape(trainer->graph, 0));
    *errors = *count = 0;
    if (golden == 0) return TL_OK;
    uint64_t *keys = malloc(golden * sizeof *keys);
    float *rows = malloc(golden * (features + outputs) * sizeof *rows);
    bool *found = malloc(golden);
    tl_status status = TL_OK;
    if (keys == NULL || rows == NULL || found == NULL)
        status = tl_fail(err, TL_ENOMEM, "golden set");
    if (status == TL_OK) {
        tl_keymap_sorted_keys(&trainer->golden, keys);
        status = tl_featurizer_run(trainer->featurizer, weights, keys, golden, rows,
                                   rows + golden * features, found, err);
    }
    for (size_t i = 0; status == TL_OK && i < golden; i++) {
        uint32_t label = 0;
        if (!found[i]) continue;
        tl_keymap_get(&trainer->golden, keys[i], &label);
        const float *logits = rows + golden * features + i * outputs;
        *errors += tl_model_most_likely(logits, trainer->config.info.class_count) != label;
        (*count)++;
    }
    free(keys);
    free(rows);
    free(found);
    return status;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = ((const tl_replay_entry *)a)->key, y = ((const tl_replay_entry *)b)->key;
    return (x < y) - (x > y);
}

/* The newest items of each class, at most an equal share of KEPT_PER_VERSION each. */
static tl_status choose_kept(tl_trainer *trainer, uint64_t *keys, uint32_t *labels, size_t *count,
                             tl_error *err)
{
    const tl_replay *replay = tl_learner_replay(trainer->learner);
    size_t total = tl_replay_count(replay), kept = 0;
    size_t share = KEPT_PER_VERSION / trainer->config.info.class_count;
    size_t taken[TL_CLASS_COUNT_MAX] = { 0 };
    tl_replay_entry *entries = malloc((total + 1) * sizeof *entries);
    if (entries == NULL) return tl_fail(err, TL_ENOMEM, "kept items");
    for (size_t i = 0; i < total; i++) entries[i] = *tl_replay_at(replay, i);
    if (total > 1) qsort(entries, total, sizeof *entries, newest_first);
    for (size_t i = 0; i < total; i++) {
        const tl_replay_entry *entry = &entries[i];
        if (entry->excluded || taken[entry->label] >= share) continue;
        taken[entry->label]++;
        keys[kept] = entry->key;
        labels[kept++] = entry->label;
    }
    free(entries);
    *count = kept;
    return TL_OK;
}

static tl_status make_version(tl_trainer *trainer, tl_version **out, tl_error *err)
{
    uint64_t keys[KEPT_PER_VERSION];
    uint32_t labels[KEPT_PER_VERSION];
    size_t kept = 0;
    tl_version *version = NULL;
    tl_status status = choose_kept(trainer, keys, labels, &kept, err);
    if (status == TL_OK)
        status = tl_version_create(trainer->graph, tl_learner_average(trainer->learner),
                                   trainer->next_version, trainer->parent, trainer->ops, keys,
                                   labels, kept, &version, err);
    if (status == TL_OK) *out = version;
    return status;
}

static tl_status judge(tl_trainer *trainer, tl_judgement *out, tl_error *err)
{
    tl_judgement judgement = {
        .ops = trainer->ops,
        .labels = tl_learner_labels(trainer->learner),
        .position = trainer->newest_key,
        .skipped = trainer->skipped,
        .evidence = { .champion_loss = trainer->champion_loss,
                      .candidate_loss = trainer->candidate_loss,
                      .count = trainer->window_count },
    };
    tl_gate_evidence *evidence = &judgement.evidence;
    tl_version *version = NULL;
    tl_status status = make_version(trainer, &version, err);
    if (status == TL_OK)
        status = golden_errors(trainer, trainer->parent_weights, &evidence->golden_champion_errors,
                               &evidence->golden_count, err);
    if (status == TL_OK)
        status = golden_errors(trainer, version->weights, &evidence->golden_candidate_errors,
                               &evidence->golden_count, err);
    judgement.verdict = tl_gate_decide(evidence);
    bool publish = status == TL_OK && judgement.verdict.publish;
    if (publish && tl_graph_param_count(trainer->graph) > 2)
        status =
            tl_version_warm(version, trainer->graph, trainer->featurizer, &trainer->config.info,
                            trainer->config.feature_range, trainer->config.info.class_count, err);
    if (status != TL_OK || !publish) tl_version_destroy(&version);
    if (status != TL_OK) return status;
    if (publish) {
        tl_weights_release(&trainer->parent_weights);
        trainer->parent_weights = version->weights;
        tl_weights_retain(version->weights);
        trainer->parent = trainer->next_version++;
    }
    judgement.version = version;
    trainer->skipped = 0;
    window_clear(trainer);
    *out = judgement;
    return TL_OK;
}

/* ---- Operations ------------------------------------------------------------------------------ */

static tl_status do_learn(tl_trainer *trainer, const tl_train_op *op, tl_error *err)
{
    tl_learner_result result = { 0 };
    tl_status status =
        tl_learner_step(trainer->learner, op->key, op->label, fetch, trainer, &result, err);
    if (status == TL_OK && trainer->failed != TL_OK)
        status = tl_fail(err, trainer->failed, "an item could not be read");
    if (status != TL_OK) return status;
    trainer->window_labels++;
    trainer->skipped += result.skipped_count;
    trainer->newest_key = op->key > trainer->newest_key ? op->key : trainer->newest_key;
    if (result.predicted) {
        trainer->champion_loss += op->champion_loss;
        trainer->candidate_loss += result.log_loss;
        trainer->window_count++;
    }
    return TL_OK;
}

static tl_status do_exclude(tl_trainer *trainer, const tl_train_op *op, tl_error *err)
{
    if (op->code == TL_TRAIN_INCLUDE)
        tl_keymap_remove(&trainer->golden, op->key);
    else if (tl_keymap_set(&trainer->golden, op->key, op->label) != TL_OK)
        return tl_fail(err, TL_ENOMEM, "golden set");
    return tl_learner_exclude(trainer->learner, op->key, op->code == TL_TRAIN_EXCLUDE, err);
}

/* Continue from another version: its weights, no momentum; what is remembered stays. */
static void do_restart(tl_trainer *trainer, const tl_version *version)
{
    TL_ASSERT(version != NULL);
    tl_learner_restart(trainer->learner, tl_weights_flat(version->weights));
    tl_weights_release(&trainer->parent_weights);
    trainer->parent_weights = version->weights;
    tl_weights_retain(version->weights);
    trainer->parent = version->number;
    window_clear(trainer);
}

static tl_status do_configure(tl_trainer *trainer, const tl_loop_config *config, tl_error *err)
{
    TL_ASSERT(config != NULL);
    uint32_t replay_before = trainer->config.replay_per_label;
    tl_loop_config_copy_knobs(&trainer->config, config);
    if (trainer->config.replay_per_label == replay_before) return TL_OK;
    return tl_learner_set_replay(trainer->learner, trainer->config.replay_per_label, err);
}

tl_status tl_trainer_do(tl_trainer *trainer, const tl_train_op *op, const tl_version *restart,
                        const tl_loop_config *configure, bool *judged, tl_judgement *judgement,
                        tl_error *err)
{
    tl_status status = TL_OK;
    switch (op->code) {
    case TL_TRAIN_LEARN: status = do_learn(trainer, op, err); break;
    case TL_TRAIN_REMEMBER:
        status = tl_learner_remember(trainer->learner, op->key, op->label, err);
        break;
    case TL_TRAIN_REMOVE: tl_learner_remove(trainer->learner, op->key); break;
    case TL_TRAIN_RELABEL: tl_learner_relabel(trainer->learner, op->key, op->label); break;
    case TL_TRAIN_EXCLUDE:
    case TL_TRAIN_INCLUDE: status = do_exclude(trainer, op, err); break;
    case TL_TRAIN_RESTART: do_restart(trainer, restart); break;
    case TL_TRAIN_CLASSES:
        trainer->config.info.class_count = op->key;
        status = tl_learner_set_class_count(trainer->learner, (uint32_t)op->key, err);
        break;
    case TL_TRAIN_CONFIGURE: status = do_configure(trainer, configure, err); break;
    default: status = tl_fail(err, TL_ECORRUPT, "unknown training operation %u", op->code);
    }
    if (status != TL_OK) return status;
    trainer->ops++;
    *judged = trainer->window_labels >= trainer->config.publish_every_labels;
    return *judged ? judge(trainer, judgement, err) : TL_OK;
}

uint64_t tl_trainer_ops(const tl_trainer *trainer)
{
    return trainer->ops;
}

uint64_t tl_trainer_labels(const tl_trainer *trainer)
{
    return tl_learner_labels(trainer->learner);
}

const tl_replay *tl_trainer_replay(const tl_trainer *trainer)
{
    return tl_learner_replay(trainer->learner);
}

/* ---- State ----------------------------------------------------------------------------------- */

tl_status tl_trainer_save(const tl_trainer *trainer, tl_blob *blob, tl_error *err)
{
    size_t section = tl_blob_section_begin(blob, "TRNR", STATE_VERSION);
    tl_blob_u64(blob, trainer->ops);
    tl_blob_u64(blob, trainer->next_version);
    tl_blob_u64(blob, trainer->parent);
    tl_blob_u64(blob, trainer->newest_key);
    tl_blob_u32(blob, (uint32_t)trainer->config.info.class_count);
    tl_blob_u32(blob, trainer->config.replay_per_label);
    tl_blob_u32(blob, trainer->config.publish_every_labels);
    tl_blob_f64(blob, trainer->champion_loss);
    tl_blob_f64(blob, trainer->candidate_loss);
    tl_blob_u32(blob, trainer->window_count);
    tl_blob_u32(blob, trainer->window_labels);
    tl_blob_u64(blob, trainer->skipped);
    tl_status status = tl_keymap_save(&trainer->golden, blob, err);
    size_t float_count = tl_graph_float_count(trainer->graph);
    tl_blob_f32s(blob, tl_weights_flat(trainer->parent_weights), float_count);
    if (status == TL_OK) status = tl_learner_save(trainer->learner, blob, err);
    if (status != TL_OK) return status;
    tl_blob_section_end(blob, section);
    return tl_blob_ok(blob) ? TL_OK : tl_fail(err, TL_ENOMEM, "saving the slow learner");
}

static tl_status load_parent(tl_trainer *trainer, tl_blob_reader *body, tl_error *err)
{
    size_t float_count = tl_graph_float_count(trainer->graph);
    float *flat = malloc(float_count * sizeof *flat);
    if (flat == NULL) return tl_fail(err, TL_ENOMEM, "slow learner");
    tl_weights *weights = NULL;
    tl_status status = tl_blob_read_f32s(body, flat, float_count)
                           ? tl_weights_create(trainer->graph, flat, &weights, err)
                           : tl_fail(err, TL_ECORRUPT, "a checkpoint lacks its weights");
    free(flat);
    if (status != TL_OK) return status;
    tl_weights_release(&trainer->parent_weights);
    trainer->parent_weights = weights;
    return TL_OK;
}

static tl_status load_config(tl_trainer *trainer, tl_blob_reader *body, tl_error *err)
{
    uint32_t class_count = tl_blob_read_u32(body), replay = tl_blob_read_u32(body);
    trainer->config.publish_every_labels = tl_blob_read_u32(body);
    trainer->config.info.class_count = class_count;
    if (class_count < 2 || class_count > TL_CLASS_COUNT_MAX || replay > 1024 ||
        trainer->config.publish_every_labels == 0)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint of the slow learner is damaged");
    tl_status status = tl_learner_set_class_count(trainer->learner, class_count, err);
    if (status == TL_OK && replay != trainer->config.replay_per_label) {
        trainer->config.replay_per_label = replay;
        status = tl_learner_set_replay(trainer->learner, replay, err);
    }
    return status;
}

tl_status tl_trainer_load(tl_trainer *trainer, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader body;
    uint32_t version;
    tl_status status = tl_blob_read_section(reader, "TRNR", STATE_VERSION, &body, &version, err);
    if (status != TL_OK) return status;
    if (version != STATE_VERSION)
        return tl_fail(err, TL_ECORRUPT, "a state of the slow learner of format %u", version);
    trainer->ops = tl_blob_read_u64(&body);
    trainer->next_version = tl_blob_read_u64(&body);
    trainer->parent = tl_blob_read_u64(&body);
    trainer->newest_key = tl_blob_read_u64(&body);
    status = load_config(trainer, &body, err);
    if (status != TL_OK) return status;
    trainer->champion_loss = tl_blob_read_f64(&body);
    trainer->candidate_loss = tl_blob_read_f64(&body);
    trainer->window_count = tl_blob_read_u32(&body);
    trainer->window_labels = tl_blob_read_u32(&body);
    trainer->skipped = tl_blob_read_u64(&body);
    status = tl_keymap_load(&trainer->golden, &body, GOLDEN_LOAD_MAX, err);
    if (status == TL_OK) status = load_parent(trainer, &body, err);
    if (status == TL_OK) status = tl_learner_load(trainer->learner, &body, err);
    return status == TL_OK ? tl_blob_read_end(&body, "the slow learner", err) : status;
}

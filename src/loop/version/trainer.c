#include "loop/version/trainer_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    STATE_VERSION = 9,       /* of continuous learning */
    CAMPAIGNS_VERSION = 10,  /* of campaigns */
    KEPT_CONTINUOUSLY = 128, /* items that a version's fast head starts from */
    GOLDEN_LOAD_MAX = 4096
};

static tl_learner_options learner_options(const tl_loop_config *config)
{
    tl_learner_options options = tl_learner_options_default();
    options.pixels = tl_items_pixels_form(config);
    options.feature_count = config->info.feature_count;
    options.seed = config->seed;
    options.class_count = (uint32_t)config->info.class_count;
    options.replay_per_label = config->replay_per_label;
    return options;
}

static tl_status learner_create(tl_trainer *trainer, const float *flat, tl_error *err)
{
    if (trainer->config.learning != TL_LEARNING_CONTINUOUS)
        return tl_campaigns_create(trainer, err);
    tl_learner_options options = learner_options(&trainer->config);
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
    trainer->warm = options->config->cold_labels == 0;
    trainer->parent_weights = options->start->weights;
    tl_weights_retain(trainer->parent_weights);
    tl_status status =
        tl_featurizer_create(trainer->graph, trainer->items, &trainer->featurizer, err);
    if (status == TL_OK)
        status = learner_create(trainer, tl_weights_flat(options->start->weights), err);
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
    tl_campaigns_destroy(&trainer->campaigns);
    tl_featurizer_destroy(&trainer->featurizer);
    tl_weights_release(&trainer->parent_weights);
    tl_keymap_destroy(&trainer->golden);
    tl_graph_release(&trainer->graph);
    free(trainer);
}

/* An item that is gone, or that cannot be decoded, is left out: it will be so whenever this is done
 * again. Everything else must stop the training, for it may go better the next time. */
tl_status tl_trainer_fetch(void *context, uint64_t key, uint8_t *pixels, float *features,
                           tl_error *err)
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

static tl_status judge(tl_trainer *trainer, tl_judgement *out, tl_error *err)
{
    tl_judgement judgement = {
        .labels = tl_learner_labels(trainer->learner),
        .origin = "continuous",
        .evidence = { .champion_loss = trainer->champion_loss,
                      .candidate_loss = trainer->candidate_loss,
                      .count = trainer->window_count },
    };
    tl_status status = tl_trainer_judge(trainer, tl_learner_average(trainer->learner),
                                        KEPT_CONTINUOUSLY, &judgement, err);
    if (status != TL_OK) return status;
    window_clear(trainer);
    *out = judgement;
    return TL_OK;
}

/* ---- Operations ------------------------------------------------------------------------------ */

static tl_status do_learn(tl_trainer *trainer, const tl_train_op *op, tl_error *err)
{
    tl_learner_result result = { 0 };
    tl_status status = tl_learner_step(trainer->learner, op->key, op->label, tl_trainer_fetch,
                                       trainer, &result, err);
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
    if (trainer->learner == NULL) return TL_OK;
    return tl_learner_exclude(trainer->learner, op->key, op->code == TL_TRAIN_EXCLUDE, err);
}

void tl_trainer_take_parent(tl_trainer *trainer, const tl_version *version)
{
    TL_ASSERT(version != NULL);
    tl_weights_release(&trainer->parent_weights);
    trainer->parent_weights = version->weights;
    tl_weights_retain(version->weights);
    trainer->parent = version->number;
}

/* Continue from another version: its weights, no momentum; what is remembered stays. */
static void do_restart(tl_trainer *trainer, const tl_version *version)
{
    TL_ASSERT(version != NULL);
    if (trainer->learner != NULL)
        tl_learner_restart(trainer->learner, tl_weights_flat(version->weights));
    else
        tl_automatic_memory_clear(&trainer->campaigns.automatic);
    tl_trainer_take_parent(trainer, version);
    window_clear(trainer);
}

static tl_status do_configure(tl_trainer *trainer, const tl_loop_config *config, tl_error *err)
{
    TL_ASSERT(config != NULL);
    uint32_t replay_before = trainer->config.replay_per_label;
    tl_loop_config_copy_knobs(&trainer->config, config);
    if (trainer->config.replay_per_label == replay_before || trainer->learner == NULL) return TL_OK;
    return tl_learner_set_replay(trainer->learner, trainer->config.replay_per_label, err);
}

static tl_status do_classes(tl_trainer *trainer, uint64_t count, tl_error *err)
{
    trainer->config.info.class_count = count;
    if (trainer->learner == NULL) return TL_OK;
    return tl_learner_set_class_count(trainer->learner, (uint32_t)count, err);
}

/* What changes the labels that are remembered. */
static tl_status do_label(tl_trainer *trainer, const tl_train_op *op, tl_error *err)
{
    if (trainer->learner == NULL) return tl_campaigns_do(trainer, op, err);
    switch (op->code) {
    case TL_TRAIN_LEARN: return do_learn(trainer, op, err);
    case TL_TRAIN_REMEMBER: return tl_learner_remember(trainer->learner, op->key, op->label, err);
    case TL_TRAIN_AUTOMATIC:
        return tl_learner_automatic(trainer->learner, op->key, op->label, op->weight, err);
    case TL_TRAIN_FORGET: tl_learner_forget_automatic(trainer->learner); break;
    case TL_TRAIN_REMOVE: tl_learner_remove(trainer->learner, op->key); break;
    case TL_TRAIN_RELABEL: tl_learner_relabel(trainer->learner, op->key, op->label); break;
    default: break;
    }
    return TL_OK;
}

tl_status tl_trainer_do(tl_trainer *trainer, const tl_train_op *op, const tl_version *restart,
                        const tl_loop_config *configure, bool *judged, tl_judgement *judgement,
                        tl_error *err)
{
    TL_ASSERT(!tl_trainer_busy(trainer));
    tl_status status = TL_OK;
    switch (op->code) {
    case TL_TRAIN_LEARN:
    case TL_TRAIN_REMEMBER:
    case TL_TRAIN_REMOVE:
    case TL_TRAIN_AUTOMATIC:
    case TL_TRAIN_FORGET:
    case TL_TRAIN_RELABEL: status = do_label(trainer, op, err); break;
    case TL_TRAIN_EXCLUDE:
    case TL_TRAIN_INCLUDE:
        status = do_exclude(trainer, op, err);
        if (status == TL_OK && trainer->learner == NULL) status = do_label(trainer, op, err);
        break;
    case TL_TRAIN_RESTART: do_restart(trainer, restart); break;
    case TL_TRAIN_PARENT: tl_trainer_take_parent(trainer, restart); break;
    case TL_TRAIN_CLASSES: status = do_classes(trainer, op->key, err); break;
    case TL_TRAIN_CONFIGURE: status = do_configure(trainer, configure, err); break;
    case TL_TRAIN_WARM: trainer->warm = true; break;
    default: status = tl_fail(err, TL_ECORRUPT, "unknown training operation %u", op->code);
    }
    if (status != TL_OK) return status;
    trainer->ops++;
    *judged =
        trainer->learner != NULL && trainer->window_labels >= trainer->config.publish_every_labels;
    return *judged ? judge(trainer, judgement, err) : TL_OK;
}

uint64_t tl_trainer_ops(const tl_trainer *trainer)
{
    return trainer->ops;
}

uint64_t tl_trainer_labels(const tl_trainer *trainer)
{
    return trainer->learner != NULL ? tl_learner_labels(trainer->learner)
                                    : trainer->campaigns.labels;
}

const tl_replay *tl_trainer_memory(const tl_trainer *trainer)
{
    return trainer->learner != NULL ? tl_learner_replay(trainer->learner)
                                    : trainer->campaigns.replay;
}

const tl_replay *tl_trainer_replay(const tl_trainer *trainer)
{
    return tl_trainer_memory(trainer);
}

/* ---- State ----------------------------------------------------------------------------------- */

tl_status tl_trainer_save(const tl_trainer *trainer, tl_blob *blob, tl_error *err)
{
    size_t section = tl_blob_section_begin(
        blob, "TRNR", trainer->learner != NULL ? STATE_VERSION : CAMPAIGNS_VERSION);
    tl_blob_u64(blob, trainer->ops);
    tl_blob_u64(blob, trainer->next_version);
    tl_blob_u64(blob, trainer->parent);
    tl_blob_u64(blob, trainer->newest_key);
    tl_blob_u32(blob, (uint32_t)trainer->config.info.class_count);
    tl_blob_u32(blob, trainer->config.replay_per_label);
    tl_blob_u32(blob, trainer->config.publish_every_labels);
    tl_blob_u32(blob, trainer->config.cold_labels);
    tl_blob_u8(blob, (uint8_t)trainer->config.gate.promotion);
    tl_blob_u8(blob, trainer->warm);
    tl_blob_f64(blob, trainer->champion_loss);
    tl_blob_f64(blob, trainer->candidate_loss);
    tl_blob_u32(blob, trainer->window_count);
    tl_blob_u32(blob, trainer->window_labels);
    tl_blob_u64(blob, trainer->skipped);
    tl_status status = tl_keymap_save(&trainer->golden, blob, err);
    if (status == TL_OK && trainer->learner == NULL) /* the parent is among the versions */
        status = tl_campaigns_save(trainer, blob, err);
    if (status == TL_OK && trainer->learner != NULL) {
        size_t float_count = tl_graph_float_count(trainer->graph);
        tl_blob_f32s(blob, tl_weights_flat(trainer->parent_weights), float_count);
        status = tl_learner_save(trainer->learner, blob, err);
    }
    if (status != TL_OK) return status;
    tl_blob_section_end(blob, section);
    return tl_blob_ok(blob) ? TL_OK : tl_fail(err, TL_ENOMEM, "saving the slow learner");
}

/* In campaigns the weights are large, and nothing but those of some version: they are read. */
static tl_status read_parent(tl_trainer *trainer, tl_error *err)
{
    tl_version *version = NULL;
    tl_status status =
        tl_version_read(trainer->graph, trainer->items, trainer->parent, &version, err);
    if (status != TL_OK) return status;
    tl_weights_release(&trainer->parent_weights);
    trainer->parent_weights = version->weights;
    version->weights = NULL;
    tl_version_destroy(&version);
    return TL_OK;
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
    trainer->config.cold_labels = tl_blob_read_u32(body);
    trainer->config.gate.promotion =
        tl_blob_read_u8(body) == 0 ? TL_PROMOTION_PROVEN : TL_PROMOTION_NO_WORSE;
    trainer->warm = tl_blob_read_u8(body) != 0;
    trainer->config.info.class_count = class_count;
    if (class_count < 2 || class_count > TL_CLASS_COUNT_MAX || replay > 1024 ||
        trainer->config.publish_every_labels == 0)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint of the slow learner is damaged");
    if (trainer->learner == NULL) {
        trainer->config.replay_per_label = replay;
        return TL_OK;
    }
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
    tl_status status =
        tl_blob_read_section(reader, "TRNR", CAMPAIGNS_VERSION, &body, &version, err);
    if (status != TL_OK) return status;
    if (version != (trainer->learner != NULL ? STATE_VERSION : CAMPAIGNS_VERSION))
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
    if (status == TL_OK && trainer->learner == NULL) {
        status = tl_campaigns_load(trainer, &body, err);
        if (status == TL_OK) status = read_parent(trainer, err);
    } else if (status == TL_OK) {
        status = load_parent(trainer, &body, err);
        if (status == TL_OK) status = tl_learner_load(trainer->learner, &body, err);
    }
    return status == TL_OK ? tl_blob_read_end(&body, "the slow learner", err) : status;
}

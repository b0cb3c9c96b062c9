/* Learning in campaigns: labels are remembered; when there are enough new ones, everything is
 * fine-tuned, and the result is judged on labelled items that no campaign learns from. */
#include "loop/version/trainer_internal.h"

#include "base/rng.h"
#include "learn/slow/loss.h"

#include <math.h>
#include <stdlib.h>

enum {
    GAP_MAX = 4096,         /* new labels after which a campaign starts in any case */
    JUDGED_PER_MILLE = 100, /* labelled items that are kept for judging, by lot */
    JUDGED_MAX = 512,       /* of them, the newest so many are looked at */
    KEPT_IN_CAMPAIGNS = 1024
};
static const double LOSS_MAX = 100.0; /* of one item, also when it is not finite */

tl_status tl_campaigns_create(tl_trainer *trainer, tl_error *err)
{
    const tl_replay_options options = tl_replay_options_default();
    return tl_replay_create(&options, &trainer->campaigns.replay, err);
}

void tl_campaigns_destroy(tl_campaigns *campaigns)
{
    tl_campaign_destroy(&campaigns->running);
    tl_replay_destroy(&campaigns->replay);
    tl_automatic_memory_clear(&campaigns->automatic);
}

/* As many new labels as there were at the last campaign: each costs a bounded number of passes
 * over all of them, and the first ones come early. */
static uint64_t next_labels(const tl_trainer *trainer)
{
    const tl_campaigns *c = &trainer->campaigns;
    uint64_t gap = c->last_labels < GAP_MAX ? c->last_labels : GAP_MAX;
    if (gap < trainer->config.campaign_labels) gap = trainer->config.campaign_labels;
    return c->last_labels + gap;
}

static tl_status remember(tl_trainer *trainer, const tl_train_op *op, tl_error *err)
{
    tl_campaigns *c = &trainer->campaigns;
    tl_rng rng;
    tl_rng_seed(&rng, trainer->config.seed, op->key);
    c->labels++;
    tl_automatic_memory_remove(&c->automatic, op->key);
    if (op->key > trainer->newest_key) trainer->newest_key = op->key;
    c->due = trainer->config.learning == TL_LEARNING_CAMPAIGN && c->labels >= next_labels(trainer);
    if (tl_replay_relabel(c->replay, op->key, op->label)) return TL_OK;
    tl_status status = tl_replay_add(c->replay, op->key, op->label, &rng, err);
    if (status == TL_OK && tl_keymap_get(&trainer->golden, op->key, NULL))
        tl_replay_exclude(c->replay, op->key, true);
    return status;
}

/* A label that nobody gave; a person's word on the item stands. */
static tl_status take_automatic(tl_trainer *trainer, const tl_train_op *op, tl_error *err)
{
    tl_campaigns *c = &trainer->campaigns;
    bool known = tl_replay_find(c->replay, op->key) != NULL;
    if (known || tl_keymap_get(&trainer->golden, op->key, NULL)) return TL_OK;
    return tl_automatic_memory_add(&c->automatic, op->key, op->label, op->weight, err);
}

tl_status tl_campaigns_do(tl_trainer *trainer, const tl_train_op *op, tl_error *err)
{
    tl_replay *replay = trainer->campaigns.replay;
    switch (op->code) {
    case TL_TRAIN_LEARN:
    case TL_TRAIN_REMEMBER: return remember(trainer, op, err);
    case TL_TRAIN_AUTOMATIC: return take_automatic(trainer, op, err);
    case TL_TRAIN_FORGET: tl_automatic_memory_clear(&trainer->campaigns.automatic); break;
    case TL_TRAIN_REMOVE: tl_replay_remove(replay, op->key); break;
    case TL_TRAIN_RELABEL: tl_replay_relabel(replay, op->key, op->label); break;
    case TL_TRAIN_EXCLUDE:
        tl_automatic_memory_remove(&trainer->campaigns.automatic, op->key);
        tl_replay_exclude(replay, op->key, true);
        break;
    case TL_TRAIN_INCLUDE: tl_replay_exclude(replay, op->key, false); break;
    default: break;
    }
    return TL_OK;
}

bool tl_trainer_busy(const tl_trainer *trainer)
{
    return trainer->campaigns.due;
}

void tl_trainer_campaign(const tl_trainer *trainer, tl_campaign_state *out)
{
    const tl_campaigns *c = &trainer->campaigns;
    *out = (tl_campaign_state){ .campaigns = c->count };
    if (trainer->config.learning == TL_LEARNING_CAMPAIGN) out->next_labels = next_labels(trainer);
    if (c->running == NULL) return;
    out->done = tl_campaign_done(c->running);
    out->steps = tl_campaign_steps(c->running);
}

/* ---- The labels ------------------------------------------------------------------------------ */

static bool is_for_judging(const tl_trainer *trainer, uint64_t key)
{
    return tl_mix64(key ^ tl_mix64(trainer->config.seed)) % 1000 < JUDGED_PER_MILLE;
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const tl_campaign_entry *)a)->key, y = ((const tl_campaign_entry *)b)->key;
    return (x > y) - (x < y);
}

/* What can be drawn from the memory, newest first: the labels for judging, or all others. *out is
 * malloc'ed. */
static tl_status list_entries(const tl_trainer *trainer, bool for_judging, tl_campaign_entry **out,
                              size_t *count, tl_error *err)
{
    const tl_replay *replay = trainer->campaigns.replay;
    size_t total = tl_replay_count(replay);
    tl_campaign_entry *entries = malloc((total + 1) * sizeof *entries);
    if (entries == NULL) return tl_fail(err, TL_ENOMEM, "%zu labels", total);
    *count = 0;
    for (size_t i = 0; i < total; i++) {
        const tl_replay_entry *entry = tl_replay_at(replay, i);
        if (entry->excluded || is_for_judging(trainer, entry->key) != for_judging) continue;
        entries[(*count)++] = (tl_campaign_entry){ entry->key, entry->label, entry->note == 0 };
    }
    if (*count > 1) qsort(entries, *count, sizeof *entries, by_key);
    for (size_t i = 0; i < *count / 2; i++) {
        tl_campaign_entry swap = entries[i];
        entries[i] = entries[*count - 1 - i];
        entries[*count - 1 - i] = swap;
    }
    *out = entries;
    return TL_OK;
}

static void mark_learned(tl_trainer *trainer)
{
    tl_replay *replay = trainer->campaigns.replay;
    for (size_t i = 0; i < tl_replay_count(replay); i++)
        tl_replay_set_note(replay, tl_replay_at(replay, i)->key, 1);
}

/* ---- Evidence -------------------------------------------------------------------------------- */

/* Log loss of what the network answers for each item; a missing item costs nothing. */
static tl_status sum_losses(tl_trainer *trainer, const tl_weights *weights,
                            const tl_campaign_entry *entries, size_t count, double *loss,
                            uint32_t *found_count, tl_error *err)
{
    size_t features = tl_graph_feature_count(trainer->graph);
    size_t outputs = tl_shape_count(tl_graph_output_shape(trainer->graph, 0));
    float *rows = malloc(features * sizeof *rows), *logits = malloc(outputs * sizeof *logits);
    tl_status status = rows == NULL || logits == NULL ? tl_fail(err, TL_ENOMEM, "judging") : TL_OK;
    const tl_loss_options options = { .width = (uint32_t)outputs,
                                      .class_count = (uint32_t)trainer->config.info.class_count };
    *loss = 0.0;
    *found_count = 0;
    for (size_t i = 0; i < count && status == TL_OK; i++) {
        bool found = false;
        status = tl_featurizer_run(trainer->featurizer, weights, &entries[i].key, 1, rows, logits,
                                   &found, err);
        if (status != TL_OK || !found) continue;
        *loss +=
            fmin(tl_loss_cross_entropy(&options, logits, &entries[i].label, NULL, 1, NULL, NULL),
                 LOSS_MAX);
        (*found_count)++;
    }
    free(rows);
    free(logits);
    return status;
}

static tl_status gather_evidence(tl_trainer *trainer, const float *flat, tl_no_worse_evidence *out,
                                 tl_error *err)
{
    tl_campaign_entry *entries = NULL;
    tl_weights *candidate = NULL;
    size_t count = 0;
    uint32_t found = 0;
    tl_status status = list_entries(trainer, true, &entries, &count, err);
    if (count > JUDGED_MAX) count = JUDGED_MAX;
    if (status == TL_OK) status = tl_weights_create(trainer->graph, flat, &candidate, err);
    if (status == TL_OK)
        status = sum_losses(trainer, candidate, entries, count, &out->candidate_loss, &found, err);
    if (status == TL_OK)
        status = sum_losses(trainer, trainer->parent_weights, entries, count, &out->champion_loss,
                            &out->count, err);
    tl_weights_release(&candidate);
    free(entries);
    return status;
}

/* ---- A campaign ------------------------------------------------------------------------------ */

static tl_status start(tl_trainer *trainer, tl_error *err)
{
    tl_campaigns *c = &trainer->campaigns;
    tl_campaign_options options = tl_campaign_options_default();
    options.pixels = tl_items_pixels_form(&trainer->config);
    options.seed = tl_mix64(trainer->config.seed + c->count);
    options.class_count = (uint32_t)trainer->config.info.class_count;
    options.threads = trainer->config.campaign_threads;
    options.automatic = c->automatic.items;
    options.automatic_count = c->automatic.count;
    options.automatic_weight = c->automatic.weight;
    tl_campaign_entry *entries = NULL;
    size_t count = 0;
    tl_status status = list_entries(trainer, false, &entries, &count, err);
    if (status == TL_OK)
        status =
            tl_campaign_create(trainer->graph, tl_weights_flat(trainer->parent_weights), entries,
                               count, &options, tl_trainer_fetch, trainer, &c->running, err);
    free(entries);
    return status;
}

/* Enough labels came, but there are none any more that could be learned from. */
static bool nothing_to_learn(const tl_trainer *trainer)
{
    const tl_replay *replay = trainer->campaigns.replay;
    for (size_t i = 0; i < tl_replay_count(replay); i++) {
        const tl_replay_entry *entry = tl_replay_at(replay, i);
        if (!entry->excluded && !is_for_judging(trainer, entry->key)) return false;
    }
    return true;
}

static tl_status finish(tl_trainer *trainer, tl_judgement *out, tl_error *err)
{
    tl_campaigns *c = &trainer->campaigns;
    const float *flat = tl_campaign_result(c->running);
    tl_judgement judgement = { .labels = c->labels, .origin = "campaign" };
    trainer->skipped += tl_campaign_skipped(c->running);
    tl_status status = gather_evidence(trainer, flat, &judgement.evidence, err);
    if (status == TL_OK)
        status = tl_trainer_judge(trainer, flat, KEPT_IN_CAMPAIGNS, &judgement, err);
    if (status != TL_OK) return status;
    mark_learned(trainer);
    tl_campaign_destroy(&c->running);
    c->last_labels = c->labels;
    c->count++;
    c->due = false;
    *out = judgement;
    return TL_OK;
}

tl_status tl_trainer_work(tl_trainer *trainer, bool *judged, tl_judgement *judgement, tl_error *err)
{
    TL_ASSERT(tl_trainer_busy(trainer));
    tl_campaigns *c = &trainer->campaigns;
    *judged = false;
    if (c->running == NULL && nothing_to_learn(trainer)) {
        c->due = false;
        return TL_OK;
    }
    tl_status status = TL_OK;
    if (c->running == NULL)
        status = start(trainer, err);
    else if (tl_campaign_done(c->running) < tl_campaign_steps(c->running))
        status = tl_campaign_step(c->running, err);
    else
        status = finish(trainer, judgement, err);
    if (status == TL_OK && trainer->failed != TL_OK)
        status = tl_fail(err, trainer->failed, "an item could not be read");
    *judged = status == TL_OK && c->running == NULL;
    return status;
}

/* ---- State ----------------------------------------------------------------------------------- */

tl_status tl_campaigns_save(const tl_trainer *trainer, tl_blob *blob, tl_error *err)
{
    const tl_campaigns *campaigns = &trainer->campaigns;
    TL_ASSERT(campaigns->running == NULL);
    tl_blob_u32(blob, trainer->config.campaign_labels);
    tl_blob_u32(blob, trainer->config.campaign_threads);
    tl_blob_u64(blob, campaigns->labels);
    tl_blob_u64(blob, campaigns->last_labels);
    tl_blob_u64(blob, campaigns->count);
    tl_automatic_memory_save(&campaigns->automatic, blob);
    return tl_replay_save(campaigns->replay, blob, err);
}

tl_status tl_campaigns_load(tl_trainer *trainer, tl_blob_reader *body, tl_error *err)
{
    const tl_replay_options options = tl_replay_options_default();
    tl_campaigns *campaigns = &trainer->campaigns;
    tl_replay *replay = NULL;
    uint32_t labels = tl_blob_read_u32(body), threads = tl_blob_read_u32(body);
    if (labels == 0 || threads == 0 || threads > TL_CAMPAIGN_THREADS_MAX)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint of the slow learner is damaged");
    trainer->config.campaign_labels = labels;
    trainer->config.campaign_threads = threads;
    campaigns->labels = tl_blob_read_u64(body);
    campaigns->last_labels = tl_blob_read_u64(body);
    campaigns->count = tl_blob_read_u64(body);
    tl_automatic_memory automatic = { 0 };
    tl_status status =
        tl_automatic_memory_load(body, (uint32_t)trainer->config.info.class_count, &automatic, err);
    if (status == TL_OK) status = tl_replay_load(body, &options, &replay, err);
    if (status != TL_OK) {
        tl_automatic_memory_clear(&automatic);
        return status;
    }
    tl_automatic_memory_clear(&campaigns->automatic);
    campaigns->automatic = automatic;
    tl_replay_destroy(&campaigns->replay);
    campaigns->replay = replay;
    return TL_OK;
}

/* What becomes of a candidate: its evidence on the golden set, the gate, and the version. */
#include "loop/version/trainer_internal.h"

#include <stdlib.h>

/* Which golden items `weights` calls wrongly; those that cannot be read are right. `wrong` and `found`
 * are [golden count]. */
static tl_status golden_errors(tl_trainer *trainer, const tl_weights *weights, bool *wrong,
                               bool *found, tl_error *err)
{
    size_t golden = trainer->golden.count;
    size_t features = tl_graph_feature_count(trainer->graph);
    size_t outputs = tl_shape_count(tl_graph_output_shape(trainer->graph, 0));
    uint64_t *keys = malloc(golden * sizeof *keys);
    float *rows = malloc(golden * (features + outputs) * sizeof *rows);
    tl_status status = TL_OK;
    if (keys == NULL || rows == NULL) status = tl_fail(err, TL_ENOMEM, "golden set");
    if (status == TL_OK) {
        tl_keymap_sorted_keys(&trainer->golden, keys);
        status = tl_featurizer_run(trainer->featurizer, weights, keys, golden, rows,
                                   rows + golden * features, found, err);
    }
    for (size_t i = 0; status == TL_OK && i < golden; i++) {
        uint32_t label = 0;
        tl_keymap_get(&trainer->golden, keys[i], &label);
        const float *logits = rows + golden * features + i * outputs;
        wrong[i] =
            found[i] && tl_model_most_likely(logits, trainer->config.info.class_count) != label;
    }
    free(keys);
    free(rows);
    return status;
}

/* Champion and candidate on the golden set, item by item. */
static tl_status golden_evidence(tl_trainer *trainer, const tl_weights *candidate,
                                 tl_no_worse_evidence *evidence, tl_error *err)
{
    size_t golden = trainer->golden.count;
    if (golden == 0) return TL_OK;
    bool *flags = malloc(3 * golden);
    if (flags == NULL) return tl_fail(err, TL_ENOMEM, "golden set");
    bool *before = flags, *after = flags + golden, *found = flags + 2 * golden;
    tl_status status = golden_errors(trainer, trainer->parent_weights, before, found, err);
    if (status == TL_OK) status = golden_errors(trainer, candidate, after, found, err);
    for (size_t i = 0; status == TL_OK && i < golden; i++) {
        evidence->golden_count += found[i];
        evidence->golden_champion_errors += before[i];
        evidence->golden_candidate_errors += after[i];
        evidence->golden_new_errors += after[i] && !before[i];
    }
    free(flags);
    return status;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = ((const tl_replay_entry *)a)->key, y = ((const tl_replay_entry *)b)->key;
    return (x < y) - (x > y);
}

/* The newest items of each class, at most an equal share of kept_max each. */
static tl_status choose_kept(tl_trainer *trainer, size_t kept_max, uint64_t *keys, uint32_t *labels,
                             size_t *count, tl_error *err)
{
    const tl_replay *replay = tl_trainer_memory(trainer);
    size_t total = tl_replay_count(replay), kept = 0;
    size_t share = kept_max / trainer->config.info.class_count;
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

static tl_status make_version(tl_trainer *trainer, const float *flat, size_t kept_max,
                              tl_version **out, tl_error *err)
{
    uint64_t *keys = malloc(kept_max * sizeof *keys);
    uint32_t *labels = malloc(kept_max * sizeof *labels);
    size_t kept = 0;
    tl_status status =
        keys == NULL || labels == NULL ? tl_fail(err, TL_ENOMEM, "kept items") : TL_OK;
    if (status == TL_OK) status = choose_kept(trainer, kept_max, keys, labels, &kept, err);
    if (status == TL_OK)
        status = tl_version_create(trainer->graph, flat, trainer->next_version, trainer->parent,
                                   trainer->ops, keys, labels, kept, out, err);
    free(keys);
    free(labels);
    return status;
}

static tl_status warm(tl_trainer *trainer, tl_version *version, tl_error *err)
{
    if (tl_graph_param_count(trainer->graph) <= 2) return TL_OK; /* features are the input */
    return tl_version_warm(version, trainer->graph, trainer->featurizer, &trainer->config.info,
                           trainer->config.feature_range, trainer->config.info.class_count, err);
}

/* A cold loop takes what does no worse: its labels are few, and a person sees every item. */
static bool must_prove(const tl_trainer *trainer)
{
    return trainer->config.gate.promotion == TL_PROMOTION_PROVEN && trainer->warm &&
           tl_trainer_labels(trainer) >= trainer->config.cold_labels;
}

tl_status tl_trainer_judge(tl_trainer *trainer, const float *flat, size_t kept_max,
                           tl_judgement *judgement, tl_error *err)
{
    tl_no_worse_evidence *evidence = &judgement->evidence;
    tl_version *version = NULL;
    tl_status status = make_version(trainer, flat, kept_max, &version, err);
    if (status == TL_OK) status = golden_evidence(trainer, version->weights, evidence, err);
    evidence->golden_paired = must_prove(trainer);
    judgement->verdict = tl_no_worse_decide(evidence);
    bool publish = status == TL_OK && judgement->verdict.publish;
    if (publish) status = warm(trainer, version, err);
    if (status != TL_OK || !publish) tl_version_destroy(&version);
    if (status != TL_OK) return status;
    if (publish) trainer->next_version++;
    judgement->challenges = publish && evidence->golden_paired;
    if (publish && !judgement->challenges) tl_trainer_take_parent(trainer, version);
    judgement->version = version;
    judgement->ops = trainer->ops;
    judgement->position = trainer->newest_key;
    judgement->skipped = trainer->skipped;
    trainer->skipped = 0;
    return TL_OK;
}

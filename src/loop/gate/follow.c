/* A challenger decides as it would if it served: with the labels that came since it was made in its
 * fast head, and with the mixture and the threshold of what answers. Else what answers, which learns
 * on, would catch up with a better version in the time that proving it takes. Each decision is made,
 * and journaled, before its label is learned. Not with large networks: every label costs a pass. */
#include "loop/core/internal.h"

#include <stdlib.h>
#include <string.h>

/* One pass for each label: about a millisecond of the learner's thread at most. */
#define FOLLOW_MACS_MAX 20000000u

static bool with_statistics(const tl_shadow *shadow)
{
    return shadow->follows && shadow->own_backbone;
}

static tl_status add_classes(const tl_core *core, tl_head_stats *stats, tl_error *err)
{
    tl_status status = TL_OK;
    while (status == TL_OK && tl_head_stats_class_count(stats) < core->config.info.class_count)
        status = tl_head_stats_add_class(stats, err);
    return status;
}

/* ---- One label -------------------------------------------------------------------------------- */

static tl_status change(tl_core *core, tl_shadow *shadow, uint64_t key, int32_t to, tl_error *err)
{
    uint32_t from = 0;
    bool member = tl_keymap_get(&shadow->members, key, &from), found;
    if (member ? to == (int32_t)from : to < 0) return TL_OK;
    float *features =
        tl_arena_alloc(&core->arena, tl_graph_feature_count(core->graph) * sizeof *features);
    if (features == NULL) return tl_fail(err, TL_ENOMEM, "features of an item");
    tl_status status =
        tl_featurizer_run(core->featurizer, shadow->weights, &key, 1, features, NULL, &found, err);
    if (status != TL_OK || !found) return status; /* pruned: nothing left to learn from */
    tl_head_stats *stats = shadow->made->stats;
    status = add_classes(core, stats, err);
    if (status != TL_OK) return status;
    if (member && to >= 0)
        status = tl_head_stats_relabel(stats, features, from, (uint32_t)to, err);
    else
        status =
            tl_head_stats_add(stats, features, member ? from : (uint32_t)to, member ? -1 : 1, err);
    if (status != TL_OK) return status;
    shadow->head_stale = true;
    if (to < 0)
        tl_keymap_remove(&shadow->members, key);
    else if (tl_keymap_set(&shadow->members, key, (uint32_t)to) != TL_OK)
        return tl_fail(err, TL_ENOMEM, "items of a challenger's fast head");
    return TL_OK;
}

static tl_status learn(tl_core *core, const tl_catch_up_op *op, tl_error *err)
{
    tl_status status = TL_OK;
    for (size_t i = 0; i < core->shadow_count && status == TL_OK; i++) {
        tl_shadow *shadow = &core->shadows[i];
        if (with_statistics(shadow) &&
            (!op->members_only || tl_keymap_get(&shadow->members, op->key, NULL)))
            status = change(core, shadow, op->key, op->to, err);
    }
    return status;
}

/* A pass for each label is not for the way of a label into service: it waits until that is done. */
tl_status tl_core_follow(tl_core *core, uint64_t key, int32_t to, bool members_only, tl_error *err)
{
    bool passes = false;
    for (size_t i = 0; i < core->shadow_count; i++) {
        core->shadows_follow = core->shadows_follow || core->shadows[i].follows;
        passes = passes || with_statistics(&core->shadows[i]);
    }
    if (!passes) return TL_OK; /* at most the head of what answers */
    tl_status status = TL_OK;
    if (core->following_count == TL_FOLLOWING_MAX) status = tl_core_follow_up(core, err);
    if (status != TL_OK) return status;
    core->following[core->following_count++] =
        (tl_catch_up_op){ .key = key, .to = to, .members_only = members_only };
    return TL_OK;
}

tl_status tl_core_follow_up(tl_core *core, tl_error *err)
{
    tl_status status = TL_OK;
    size_t done = 0;
    while (done < core->following_count && status == TL_OK) {
        status = learn(core, &core->following[done], err);
        done += status == TL_OK; /* what failed is tried again: doing it twice changes nothing */
    }
    core->following_count -= done;
    memmove(core->following, core->following + done,
            core->following_count * sizeof core->following[0]);
    return status;
}

/* ---- Beginning and end ------------------------------------------------------------------------ */

tl_status tl_core_follow_begin(tl_core *core, tl_shadow *shadow, tl_error *err)
{
    if (tl_graph_macs(core->graph) > FOLLOW_MACS_MAX) return TL_OK;
    const tl_version *made = shadow->made;
    tl_status status = tl_core_follow_up(core, err); /* of others: this one catches up by itself */
    if (status != TL_OK) return status;
    shadow->follows = true;
    if (!with_statistics(shadow)) return TL_OK;
    for (size_t i = 0; i < made->kept_count; i++)
        if (tl_keymap_set(&shadow->members, made->kept_keys[i], made->kept_labels[i]) != TL_OK)
            return tl_fail(err, TL_ENOMEM, "items of a challenger's fast head");
    shadow->head_stale = true;
    tl_catch_up_op op;
    for (tl_catch_up way = tl_core_catch_up_from(core, made->op_count);
         status == TL_OK && tl_core_catch_up_next(core, &way, &op);)
        if (!op.members_only || tl_keymap_get(&shadow->members, op.key, NULL))
            status = change(core, shadow, op.key, op.to, err);
    return status;
}

tl_status tl_core_follow_end(tl_core *core, tl_shadow *shadow, tl_error *err)
{
    if (!with_statistics(shadow)) return TL_OK;
    tl_status status = tl_core_follow_up(core, err);
    if (status != TL_OK) return status;
    tl_version *made = shadow->made;
    size_t count = shadow->members.count;
    uint64_t *keys = malloc((count + 1) * sizeof *keys);
    uint32_t *labels = malloc((count + 1) * sizeof *labels);
    if (keys == NULL || labels == NULL) {
        free(keys);
        free(labels);
        return tl_fail(err, TL_ENOMEM, "items of a challenger's fast head");
    }
    tl_keymap_sorted_keys(&shadow->members, keys);
    for (size_t i = 0; i < count; i++) tl_keymap_get(&shadow->members, keys[i], &labels[i]);
    free(made->kept_keys);
    free(made->kept_labels);
    made->kept_keys = keys;
    made->kept_labels = labels;
    made->kept_count = count;
    made->op_count = tl_core_op_count(core);
    return add_classes(core, made->stats, err);
}

/* ---- What it decides with --------------------------------------------------------------------- */

tl_status tl_core_follow_policy(tl_core *core, tl_shadow *shadow, tl_shadow *out, tl_error *err)
{
    *out = *shadow;
    if (!shadow->follows) return TL_OK;
    out->mixture = core->mixture;
    out->threshold = tl_core_threshold(core);
    if (!shadow->own_backbone) {
        out->head = core->head;
        return TL_OK;
    }
    if (!shadow->head_stale) return TL_OK;
    tl_head *head = NULL;
    if (tl_head_stats_total(shadow->made->stats) > 0) {
        tl_status status = tl_head_solve(shadow->made->stats, NULL, core->solver, &head, err);
        if (status != TL_OK) return status;
    }
    tl_head_release(&shadow->head);
    shadow->head = out->head = head;
    shadow->head_stale = false;
    return TL_OK;
}

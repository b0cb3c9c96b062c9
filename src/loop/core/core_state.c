/* The core's state as bytes: checkpoints and the full digest. */
#include "loop/core/internal.h"

#include <string.h>

enum { STATE_VERSION = 10, MEMBERS_MAX = 1 << 27 };

/* ---- Saving ---------------------------------------------------------------------------------- */

static void save_counters(const tl_core *core, tl_blob *blob)
{
    const uint64_t counters[] = { core->position,  core->epoch,          core->digest,
                                  core->champion,  core->previous,       core->decided_ops,
                                  core->feedback,  core->labels,         core->withdrawn,
                                  core->publishes, core->rollbacks,      core->refused,
                                  core->ops_base,  core->third_class_at, core->restart_ops };
    tl_blob_u64s(blob, counters, TL_COUNT_OF(counters));
    tl_blob_u8(blob, core->learning);
    tl_blob_u8(blob, core->head_frozen);
    tl_blob_f32s(blob, &core->frozen_threshold, 1);
}

static void save_knobs(const tl_core *core, tl_blob *blob)
{
    const tl_loop_config *c = &core->config;
    tl_blob_u32(blob, c->replay_per_label);
    tl_blob_u32(blob, c->publish_every_labels);
    tl_blob_u32(blob, c->cold_labels);
    tl_blob_u32(blob, c->campaign_labels);
    tl_blob_u32(blob, c->campaign_threads);
    tl_blob_f64(blob, c->audit_rate);
    tl_blob_f64(blob, c->target_precision);
    tl_loop_policy_save(c, blob);
    tl_loop_people_save(c, blob);
    tl_blob_u32(blob, (uint32_t)c->info.class_count);
    for (size_t i = 0; i < c->info.class_count; i++)
        tl_blob_bytes(blob, c->info.classes[i], sizeof c->info.classes[i]);
}

tl_status tl_core_save_head(const tl_head *head, tl_blob *blob, tl_error *err)
{
    tl_blob_u8(blob, head != NULL);
    return head == NULL ? TL_OK : tl_head_save(head, blob, err);
}

static tl_status save_past(const tl_core *core, tl_blob *blob, tl_error *err)
{
    tl_blob_u32(blob, (uint32_t)core->past_count);
    for (size_t i = 0; i < core->past_count; i++) {
        const tl_past *past = &core->past[i];
        tl_blob_u64(blob, past->number);
        tl_blob_u8(blob, past->pinned);
        tl_blob_f32s(blob, &past->threshold, 1);
        tl_status status = tl_mixture_save(&past->mixture, blob, err);
        if (status == TL_OK) status = tl_core_save_head(past->head, blob, err);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

static void save_ops(const tl_core *core, tl_blob *blob)
{
    tl_blob_u64(blob, core->op_count);
    for (size_t i = 0; i < core->op_count; i++) {
        const tl_train_op *op = &core->ops[i];
        tl_blob_u8(blob, op->code);
        tl_blob_u32(blob, op->label);
        tl_blob_u64(blob, op->key);
        tl_blob_f64(blob, op->champion_loss);
        tl_blob_f32s(blob, &op->weight, 1);
    }
}

tl_status tl_core_save(tl_core *core, tl_blob *blob, tl_error *err)
{
    tl_status status = tl_core_follow_up(core, err);
    if (status != TL_OK) return status;
    size_t section = tl_blob_section_begin(blob, "CORE", STATE_VERSION);
    save_counters(core, blob);
    save_knobs(core, blob);
    status = tl_head_stats_save(core->stats, blob, err);
    if (status == TL_OK) status = tl_mixture_save(&core->mixture, blob, err);
    if (status == TL_OK) status = tl_threshold_save(core->threshold, blob, err);
    if (status == TL_OK)
        status = tl_core_save_head(core->head_frozen ? core->head : NULL, blob, err);
    if (status == TL_OK) status = save_past(core, blob, err);
    if (status == TL_OK) status = tl_keymap_save(&core->members, blob, err);
    if (status == TL_OK) status = tl_keymap_save(&core->golden, blob, err);
    if (status == TL_OK) status = tl_keymap_save(&core->deferred, blob, err);
    if (status == TL_OK) status = tl_idset_save(&core->pending, blob, err);
    if (status != TL_OK) return status;
    save_ops(core, blob);
    status = tl_core_gate_save(core, blob, err);
    if (status != TL_OK) return status;
    tl_blob_section_end(blob, section);
    return tl_blob_ok(blob) ? TL_OK : tl_fail(err, TL_ENOMEM, "saving the state of a loop");
}

/* ---- Loading --------------------------------------------------------------------------------- */

static void load_counters(tl_core *core, tl_blob_reader *body)
{
    uint64_t *const counters[] = { &core->position,  &core->epoch,          &core->digest,
                                   &core->champion,  &core->previous,       &core->decided_ops,
                                   &core->feedback,  &core->labels,         &core->withdrawn,
                                   &core->publishes, &core->rollbacks,      &core->refused,
                                   &core->ops_base,  &core->third_class_at, &core->restart_ops };
    for (size_t i = 0; i < TL_COUNT_OF(counters); i++) *counters[i] = tl_blob_read_u64(body);
    core->learning = tl_blob_read_u8(body) != 0;
    core->head_frozen = tl_blob_read_u8(body) != 0;
    tl_blob_read_f32s(body, &core->frozen_threshold, 1);
}

static tl_status load_knobs(tl_core *core, tl_blob_reader *body, tl_error *err)
{
    tl_loop_config *c = &core->config;
    c->replay_per_label = tl_blob_read_u32(body);
    c->publish_every_labels = tl_blob_read_u32(body);
    c->cold_labels = tl_blob_read_u32(body);
    c->campaign_labels = tl_blob_read_u32(body);
    c->campaign_threads = tl_blob_read_u32(body);
    c->audit_rate = tl_blob_read_f64(body);
    c->target_precision = tl_blob_read_f64(body);
    tl_status status = tl_loop_policy_load(body, c, err);
    if (status == TL_OK) status = tl_loop_people_load(body, c, err);
    if (status != TL_OK) return status;
    uint32_t class_count = tl_blob_read_u32(body);
    if (class_count < c->info.class_count || class_count > TL_CLASS_COUNT_MAX ||
        c->publish_every_labels == 0 || c->campaign_labels == 0 || c->campaign_threads == 0 ||
        c->campaign_threads > TL_CAMPAIGN_THREADS_MAX)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint has %u classes", class_count);
    for (uint32_t i = 0; i < class_count; i++) {
        const char *name = tl_blob_read_bytes(body, TL_TEXT_BYTES_MAX);
        if (name == NULL || memchr(name, '\0', TL_TEXT_BYTES_MAX) == NULL)
            return tl_fail(err, TL_ECORRUPT, "a checkpoint has a damaged class name");
        memcpy(c->info.classes[i], name, TL_TEXT_BYTES_MAX);
    }
    c->info.class_count = class_count;
    return TL_OK;
}

tl_status tl_core_load_head(tl_blob_reader *body, tl_head **out, tl_error *err)
{
    *out = NULL;
    return tl_blob_read_u8(body) == 0 ? TL_OK : tl_head_load(body, out, err);
}

static tl_status load_past(tl_core *core, tl_blob_reader *body, tl_error *err)
{
    uint32_t count = tl_blob_read_u32(body);
    if (count > TL_PAST_MAX)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint has %u versions", count);
    for (uint32_t i = 0; i < count; i++) {
        tl_past past = { .number = tl_blob_read_u64(body) };
        past.pinned = tl_blob_read_u8(body) != 0;
        tl_blob_read_f32s(body, &past.threshold, 1);
        tl_status status = tl_mixture_load(body, &past.mixture, err);
        if (status == TL_OK) status = tl_core_load_head(body, &past.head, err);
        if (status != TL_OK) return status;
        core->past[core->past_count++] = past;
    }
    return TL_OK;
}

static tl_status load_ops(tl_core *core, tl_blob_reader *body, tl_error *err)
{
    uint64_t count = tl_blob_read_u64(body);
    if (count > tl_blob_left(body) / 25)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint claims %llu operations",
                       (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        tl_train_op op = { .code = tl_blob_read_u8(body) };
        op.label = tl_blob_read_u32(body);
        op.key = tl_blob_read_u64(body);
        op.champion_loss = tl_blob_read_f64(body);
        tl_blob_read_f32s(body, &op.weight, 1);
        tl_status status = tl_core_push_op(core, op, err);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

static tl_status load_learned(tl_core *core, tl_blob_reader *body, tl_error *err)
{
    tl_head_stats *stats = NULL;
    tl_threshold *threshold = NULL;
    tl_status status = tl_head_stats_load(body, &stats, err);
    if (status != TL_OK) return status;
    tl_head_stats_destroy(&core->stats);
    core->stats = stats;
    status = tl_mixture_load(body, &core->mixture, err);
    if (status == TL_OK) status = tl_threshold_load(body, &threshold, err);
    if (status != TL_OK) return status;
    tl_threshold_destroy(&core->threshold);
    core->threshold = threshold;
    status = tl_core_load_head(body, &core->head, err);
    if (status == TL_OK) status = load_past(core, body, err);
    return status;
}

static tl_status load_champion(tl_core *core, tl_error *err)
{
    if (core->champion == 0) return TL_OK;
    tl_version *version = NULL;
    tl_status status = tl_version_read(core->graph, core->items, core->champion, &version, err);
    if (status != TL_OK) return status;
    core->weights = version->weights;
    version->weights = NULL;
    core->backbone_hash = version->backbone_hash;
    tl_version_destroy(&version);
    core->dirty = true;
    core->head_stale = !core->head_frozen;
    return TL_OK;
}

tl_status tl_core_load(tl_core *core, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader body;
    uint32_t version;
    tl_status status = tl_blob_read_section(reader, "CORE", STATE_VERSION, &body, &version, err);
    if (status != TL_OK) return status;
    if (version != STATE_VERSION)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint of format %u; the journal is read instead",
                       version);
    load_counters(core, &body);
    status = load_knobs(core, &body, err);
    if (status == TL_OK) status = load_learned(core, &body, err);
    if (status == TL_OK) status = tl_keymap_load(&core->members, &body, MEMBERS_MAX, err);
    if (status == TL_OK) status = tl_keymap_load(&core->golden, &body, TL_GOLDEN_MAX, err);
    if (status == TL_OK) status = tl_keymap_load(&core->deferred, &body, MEMBERS_MAX, err);
    if (status == TL_OK) status = tl_idset_load(&core->pending, &body, 2 * TL_PENDING_MAX, err);
    if (status == TL_OK) status = load_ops(core, &body, err);
    if (status == TL_OK) tl_core_decide(core, core->decided_ops);
    if (status == TL_OK) status = load_champion(core, err);
    if (status == TL_OK) status = tl_core_gate_load(core, &body, err);
    return status == TL_OK ? tl_blob_read_end(&body, "a checkpoint", err) : status;
}

uint64_t tl_core_full_digest(tl_core *core)
{
    tl_blob blob;
    tl_blob_init(&blob);
    uint64_t ops_base = core->ops_base; /* how much was forgotten is no part of the state */
    size_t op_count = core->op_count;
    core->ops_base = 0;
    core->op_count = 0;
    tl_status status = tl_core_save(core, &blob, NULL);
    core->ops_base = ops_base;
    core->op_count = op_count;
    uint64_t digest = status == TL_OK ? tl_hash64(blob.data, blob.bytes, 0) : 0;
    tl_blob_destroy(&blob);
    return digest;
}

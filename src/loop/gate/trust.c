/* Sources that are not learned from: their labels stand and count, but nothing is trained on them, and
 * what was trained on them before is taken out again. Only where gate.hostile says that there may be
 * such sources. */
#include "loop/core/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

tl_status tl_core_trust_create(tl_core *core, tl_error *err)
{
    core->trust = calloc(1, sizeof *core->trust);
    if (core->trust == NULL) return tl_fail(err, TL_ENOMEM, "trust in sources");
    return TL_OK;
}

void tl_core_trust_destroy(tl_core *core)
{
    if (core->trust == NULL) return;
    tl_keymap_destroy(&core->trust->held);
    free(core->trust);
    core->trust = NULL;
}

/* ---- What was learned from whom --------------------------------------------------------------- */

static void remember(tl_core_trust *trust, uint64_t key, uint64_t source, uint32_t label)
{
    trust->learned[trust->learned_at] =
        (tl_learned){ .key = key, .source = source, .label = label };
    trust->learned_at = (trust->learned_at + 1) % TL_LEARNED_MAX;
    if (trust->learned_count < TL_LEARNED_MAX) trust->learned_count++;
}

static tl_learned *learned_at(tl_core_trust *trust, size_t age)
{
    return &trust->learned[(trust->learned_at + TL_LEARNED_MAX - 1 - age) % TL_LEARNED_MAX];
}

/* Somebody else's word has replaced it. */
static bool is_overruled(tl_core_trust *trust, size_t age)
{
    for (size_t i = 0; i < age; i++)
        if (learned_at(trust, i)->key == learned_at(trust, age)->key) return true;
    return false;
}

static tl_status hold(tl_core *core, uint64_t key, uint32_t label, tl_error *err)
{
    if (tl_keymap_set(&core->trust->held, key, label) == TL_OK) return TL_OK;
    return tl_fail(err, TL_ENOMEM, "labels that are not learned from");
}

static tl_status unlearn(tl_core *core, const tl_learned *learned, tl_error *err)
{
    if (tl_keymap_get(&core->golden, learned->key, NULL)) return TL_OK;
    tl_threshold_forget(core->threshold, learned->key);
    tl_keymap_remove(&core->deferred, learned->key);
    tl_train_op op = { .code = TL_TRAIN_REMOVE, .key = learned->key };
    tl_status status = tl_core_push_op(core, op, err);
    if (status == TL_OK) status = tl_core_stats_change(core, learned->key, -1, NULL, err);
    return status == TL_OK ? hold(core, learned->key, learned->label, err) : status;
}

static tl_status unlearn_source(tl_core *core, uint64_t source, tl_error *err)
{
    tl_core_trust *trust = core->trust;
    tl_status status = TL_OK;
    for (size_t age = 0; age < trust->learned_count && status == TL_OK; age++) {
        const tl_learned *learned = learned_at(trust, age);
        if (learned->source != source || is_overruled(trust, age) ||
            tl_keymap_get(&trust->held, learned->key, NULL))
            continue;
        status = unlearn(core, learned, err);
    }
    core->dirty = true;
    return status;
}

/* ---- Labels as they come ---------------------------------------------------------------------- */

static void note_turn(tl_core *core, const char *name, uint64_t source, tl_trust_turn turn)
{
    tl_trust_reading r;
    char words[TL_GATE_WORDS_BYTES], others[64] = "";
    if (!tl_trust_read(&core->trust->sources, source, &r)) return;
    if (isfinite(r.others))
        snprintf(others, sizeof others, ", of the others' newest %.0f %%", 100.0 * r.others);
    bool lost = turn == TL_TRUST_LOST;
    snprintf(words, sizeof words,
             "the labels of \"%.60s\" are %s: %llu of %llu contradict what answered%s", name,
             lost ? "not learned from any more" : "learned from again",
             (unsigned long long)r.contradicted, (unsigned long long)r.labels, others);
    tl_core_note(core, lost ? TL_NOTE_DISTRUSTED : TL_NOTE_TRUSTED, core->champion, words);
}

tl_status tl_core_trust_label(tl_core *core, const tl_label_change *change, tl_error *err)
{
    const tl_prediction_record *p = &change->prediction.as.prediction;
    bool named = change->by != NULL && change->by[0] != '\0';
    if (core->config.gate.hostile <= 0.0 || !named || change->before >= 0 || !p->review)
        return TL_OK;
    uint64_t who = tl_shadow_source(change->by);
    bool contradicts = (p->label != 0) != (change->after != 0); /* wherever the threshold lies */
    tl_trust_turn turn = tl_trust_see(&core->trust->sources, tl_shadow_site(p), who, contradicts);
    if (turn == TL_TRUST_STAYS) return TL_OK;
    note_turn(core, change->by, who, turn);
    return turn == TL_TRUST_LOST ? unlearn_source(core, who, err) : TL_OK;
}

tl_status tl_core_trust_filter(tl_core *core, uint64_t key, int32_t label, const char *by,
                               tl_trust_way *way, tl_error *err)
{
    tl_core_trust *trust = core->trust;
    bool was_held = tl_keymap_remove(&trust->held, key);
    *way = was_held ? TL_TRUST_NEW : TL_TRUST_AS_IT_IS;
    if (label < 0 && was_held) *way = TL_TRUST_NOTHING;
    if (label < 0 || core->config.gate.hostile <= 0.0) return TL_OK;
    uint64_t who = tl_shadow_source(by);
    if (tl_trust_has(&trust->sources, who)) {
        remember(trust, key, who, (uint32_t)label);
        return TL_OK;
    }
    *way = was_held ? TL_TRUST_NOTHING : TL_TRUST_TAKE_OUT;
    return hold(core, key, (uint32_t)label, err);
}

/* ---- In a checkpoint ------------------------------------------------------------------------- */

tl_status tl_core_trust_save(const tl_core *core, tl_blob *blob, tl_error *err)
{
    tl_core_trust *trust = core->trust;
    tl_trust_save(&trust->sources, blob);
    tl_blob_u32(blob, trust->learned_count);
    for (size_t age = trust->learned_count; age-- > 0;) {
        const tl_learned *learned = learned_at(trust, age);
        tl_blob_u64(blob, learned->key);
        tl_blob_u64(blob, learned->source);
        tl_blob_u32(blob, learned->label);
    }
    return tl_keymap_save(&trust->held, blob, err);
}

tl_status tl_core_trust_load(tl_core *core, tl_blob_reader *body, tl_error *err)
{
    tl_core_trust *trust = core->trust;
    tl_status status = tl_trust_load(&trust->sources, body, err);
    if (status != TL_OK) return status;
    uint32_t count = tl_blob_read_u32(body);
    if (count > TL_LEARNED_MAX)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint has %u labels by source", count);
    trust->learned_count = trust->learned_at = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t key = tl_blob_read_u64(body), source = tl_blob_read_u64(body);
        remember(trust, key, source, tl_blob_read_u32(body));
    }
    return tl_keymap_load(&trust->held, body, TL_HELD_MAX, err);
}

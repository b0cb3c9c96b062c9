#include "loop/asking/again.h"

#include "loop/core/internal.h"
#include "review/people/people.h"
#include "stats/interval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUND_LOT, ROUND_WHO };               /* of the lots of repeats */
enum { ROUND_SECOND = 1, ROUND_REPEAT = 2 }; /* of assigning; 0 is the first time */
static const int64_t AFTER_US = 1000000LL * TL_AGAIN_AFTER_S;

/* ---- The list -------------------------------------------------------------------------------- */

static void drop(tl_core_again *again, uint32_t index)
{
    again->count--;
    memmove(&again->items[index], &again->items[index + 1],
            (again->count - index) * sizeof again->items[0]);
}

static tl_again *find(tl_core_again *again, uint64_t key, bool repeat)
{
    for (uint32_t i = 0; i < again->count; i++)
        if (again->items[i].key == key && again->items[i].repeat == repeat) return &again->items[i];
    return NULL;
}

/* The least of its kind: of suspicions the smallest lead, of repeats the oldest. */
static uint32_t find_least(const tl_core_again *again, bool repeat, uint32_t *count)
{
    uint32_t least = again->count;
    *count = 0;
    for (uint32_t i = 0; i < again->count; i++) {
        if (again->items[i].repeat != repeat) continue;
        *count += 1;
        if (least == again->count || again->items[i].lead < again->items[least].lead) least = i;
    }
    return least;
}

static void put(tl_core_again *again, const tl_again *item)
{
    tl_again *old = find(again, item->key, item->repeat);
    if (old != NULL) {
        *old = *item;
        return;
    }
    uint32_t count, most = item->repeat ? TL_AGAIN_REPEAT_MAX : TL_AGAIN_SUSPECT_MAX;
    uint32_t least = find_least(again, item->repeat, &count);
    if (count == most) {
        if (!item->repeat && item->lead <= again->items[least].lead) return;
        drop(again, least);
    }
    again->items[again->count++] = *item;
}

static void give_up_old(tl_core *core)
{
    int64_t timeout_us = 1000000 * (int64_t)core->config.gate.timeout_s;
    for (uint32_t i = core->again->count; i-- > 0;)
        if (core->now_us - core->again->items[i].asked_us > timeout_us) drop(core->again, i);
}

static tl_again make(const tl_core *core, const tl_record *prediction, uint32_t label,
                     uint64_t first)
{
    const tl_prediction_record *p = &prediction->as.prediction;
    return (tl_again){ .key = prediction->position,
                       .subject =
                           tl_people_subject(tl_shadow_unit(p, core->config.gate.unit), p->id),
                       .first = first,
                       .asked_us = core->now_us,
                       .label = label,
                       .score = p->score_count > 0 ? 1.0f - p->scores[0] : 0.0f,
                       .flagged = p->flagged };
}

/* ---- What is put up again -------------------------------------------------------------------- */

void tl_core_again_suspect(tl_core *core, const tl_label_change *change)
{
    const tl_prediction_record *p = &change->prediction.as.prediction;
    tl_suspects *suspects = &core->review.suspects;
    give_up_old(core);
    if (change->after < 0 || p->scores == NULL || p->score_count != suspects->classes) return;
    tl_suspicion suspicion = tl_suspects_see(suspects, p->scores, (uint32_t)change->after);
    const tl_drawn *open = tl_core_find_drawn(core, change->prediction.position);
    bool comes_anyway = open != NULL && !open->answered; /* the answer of who is asked */
    if (!suspicion.suspicious || change->pruned || change->by == NULL || comes_anyway) return;
    tl_again item =
        make(core, &change->prediction, (uint32_t)change->after, tl_shadow_source(change->by));
    item.person = tl_people_assign(&core->config, item.subject, ROUND_SECOND, item.first);
    item.lead = (float)suspicion.lead;
    if (item.person == 0 && core->config.person_count > 0) return; /* nobody else to ask */
    put(core->again, &item);
}

void tl_core_again_repeat(tl_core *core, const tl_record *prediction, uint32_t label,
                          uint64_t source)
{
    const tl_prediction_record *p = &prediction->as.prediction;
    tl_people_policy policy = { .rate = core->config.review.repeats };
    memcpy(policy.key, core->config.audit_key, sizeof policy.key);
    if (p->pruned || !tl_people_repeat(&policy, p->id, ROUND_LOT)) return;
    tl_again item = make(core, prediction, label, source);
    item.repeat = true;
    item.asked_us += AFTER_US;
    bool same = tl_draw_unit(policy.key, p->id, TL_DRAW_REPEAT, ROUND_WHO) < 0.5;
    item.person = same && tl_people_name(&core->config, source) != NULL
                      ? source
                      : tl_people_assign(&core->config, item.subject, ROUND_REPEAT, source);
    if (item.person == 0 && core->config.person_count > 0) item.person = source;
    put(core->again, &item);
}

/* ---- Second answers -------------------------------------------------------------------------- */

static bool hear_suspect(tl_core *core, tl_again *item, uint64_t who, int32_t said)
{
    bool second = who != item->first;
    if (said < 0 || (!second && (uint32_t)said == item->label)) return false;
    if (second) tl_suspects_answer(&core->review.suspects, (uint32_t)said != item->label);
    drop(core->again, (uint32_t)(item - core->again->items)); /* or taken back by who gave it */
    return second;
}

static void hear_repeat(tl_core *core, tl_again *item, uint64_t who, int32_t said)
{
    tl_again_tally *t = &core->again->repeats;
    bool asked = item->person == 0 || item->person == who;
    if (said < 0 || !asked || core->now_us < item->asked_us) return;
    bool alike = (uint32_t)said == item->label;
    *(who == item->first ? &t->own : &t->other) += 1;
    *(who == item->first ? &t->own_alike : &t->other_alike) += alike;
    drop(core->again, (uint32_t)(item - core->again->items));
}

bool tl_core_again_hear(tl_core *core, const tl_label_change *change, const tl_record *feedback)
{
    const tl_prediction_record *p = &change->prediction.as.prediction;
    uint64_t key = change->prediction.position,
             who = tl_shadow_source(feedback->as.feedback.source);
    give_up_old(core);
    int32_t said =
        tl_standing_fold(p, feedback, 1, core->config.info.class_count, core->third_class_at);
    tl_again *repeat = find(core->again, key, true);
    if (repeat != NULL) hear_repeat(core, repeat, who, said);
    tl_again *suspect = find(core->again, key, false);
    return suspect != NULL && hear_suspect(core, suspect, who, said);
}

void tl_core_again_people_changed(tl_core *core)
{
    for (uint32_t i = core->again->count; i-- > 0;) {
        tl_again *item = &core->again->items[i];
        if (tl_people_name(&core->config, item->person) != NULL) continue;
        uint32_t round = item->repeat ? ROUND_REPEAT : ROUND_SECOND;
        item->person = tl_people_assign(&core->config, item->subject, round, item->first);
        if (item->person == 0 && core->config.person_count > 0) drop(core->again, i);
    }
}

/* ---- For people ------------------------------------------------------------------------------ */

static int write_share(char *out, size_t bytes, const char *before, uint64_t alike, uint64_t count)
{
    tl_interval in = tl_interval_wilson(alike, count, 0.95);
    return snprintf(out, bytes, "%s %llu of %llu alike [%.0f-%.0f %%]", before,
                    (unsigned long long)alike, (unsigned long long)count, 100.0 * in.low,
                    100.0 * in.high);
}

void tl_again_words(const tl_again_tally *t, char words[TL_AGAIN_WORDS_BYTES])
{
    int at = 0;
    words[0] = '\0';
    if (t->own + t->other == 0) return;
    at = snprintf(words, TL_AGAIN_WORDS_BYTES, "items shown again were answered,");
    size_t left = TL_AGAIN_WORDS_BYTES - (size_t)at;
    if (t->own > 0)
        at += write_share(words + at, left, " by the same person,", t->own_alike, t->own);
    left = TL_AGAIN_WORDS_BYTES - (size_t)at;
    if (t->other > 0)
        write_share(words + at, left, t->own > 0 ? "; by another," : " by another,", t->other_alike,
                    t->other);
}

/* ---- In a checkpoint ------------------------------------------------------------------------- */

enum { AGAIN_VERSION = 1 };

void tl_again_save(const tl_core_again *again, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "AGAN", AGAIN_VERSION);
    const tl_again_tally *t = &again->repeats;
    const uint64_t counts[] = { t->own, t->own_alike, t->other, t->other_alike, again->count };
    tl_blob_u64s(blob, counts, TL_COUNT_OF(counts));
    for (uint32_t i = 0; i < again->count; i++) {
        const tl_again *item = &again->items[i];
        const uint64_t numbers[] = { item->key, item->subject, item->first, item->person,
                                     (uint64_t)item->asked_us };
        tl_blob_u64s(blob, numbers, TL_COUNT_OF(numbers));
        tl_blob_u32(blob, item->label);
        tl_blob_f32s(blob, &item->score, 1);
        tl_blob_f32s(blob, &item->lead, 1);
        tl_blob_u8(blob, (uint8_t)(item->flagged | item->repeat << 1));
    }
    tl_blob_section_end(blob, section);
}

static void load_item(tl_blob_reader *body, tl_again *item)
{
    item->key = tl_blob_read_u64(body);
    item->subject = tl_blob_read_u64(body);
    item->first = tl_blob_read_u64(body);
    item->person = tl_blob_read_u64(body);
    item->asked_us = (int64_t)tl_blob_read_u64(body);
    item->label = tl_blob_read_u32(body);
    tl_blob_read_f32s(body, &item->score, 1);
    tl_blob_read_f32s(body, &item->lead, 1);
    uint8_t bits = tl_blob_read_u8(body);
    item->flagged = (bits & 1) != 0;
    item->repeat = (bits & 2) != 0;
}

static bool load_items(tl_blob_reader *body, tl_core_again *out)
{
    uint32_t repeats = 0;
    for (uint32_t i = 0; i < out->count; i++) {
        load_item(body, &out->items[i]);
        repeats += out->items[i].repeat;
        /* Not a number would be no lead to compare. */
        if (isnan(out->items[i].lead) || out->items[i].label >= TL_CLASS_COUNT_MAX) return false;
    }
    return repeats <= TL_AGAIN_REPEAT_MAX && out->count - repeats <= TL_AGAIN_SUSPECT_MAX;
}

tl_status tl_again_load(tl_blob_reader *reader, tl_core_again *out, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "AGAN", AGAIN_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_core_again *loaded = calloc(1, sizeof *loaded);
    if (loaded == NULL) return tl_fail(err, TL_ENOMEM, "items that are asked again");
    tl_again_tally *t = &loaded->repeats;
    t->own = tl_blob_read_u64(&body);
    t->own_alike = tl_blob_read_u64(&body);
    t->other = tl_blob_read_u64(&body);
    t->other_alike = tl_blob_read_u64(&body);
    uint64_t count = tl_blob_read_u64(&body);
    loaded->count = (uint32_t)(count <= TL_AGAIN_MAX ? count : 0);
    bool sound = count <= TL_AGAIN_MAX && t->own_alike <= t->own && t->other_alike <= t->other &&
                 load_items(&body, loaded);
    status = sound ? tl_blob_read_end(&body, "items that are asked again", err)
                   : tl_fail(err, TL_ECORRUPT, "a checkpoint has damaged items to ask again");
    if (status == TL_OK) *out = *loaded;
    free(loaded);
    return status;
}

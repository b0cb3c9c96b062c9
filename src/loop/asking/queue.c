#include "loop/asking/queue.h"

#include "loop/core/internal.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP_DISPUTED, GROUP_UNCLEAR, GROUP_OTHER };
enum { ROUND_PLACE, ROUND_DECOY }; /* of the keyed lots; one of the latter a group */

/* ---- Order ----------------------------------------------------------------------------------- */

static double lot_of(const uint8_t key[TL_DRAW_KEY_BYTES], const tl_queue_entry *e, uint32_t round)
{
    tl_id id = { { 0 } };
    memcpy(id.bytes, &e->key, sizeof e->key);
    return tl_draw_unit(key, id, TL_DRAW_ORDER, round);
}

static int own_group(const tl_queue_entry *e)
{
    if (e->disputed) return GROUP_DISPUTED;
    bool unclear = e->reason == TL_REVIEW_UNCERTAIN || e->reason == TL_REVIEW_BAND ||
                   e->reason == TL_REVIEW_ZONE || e->reason == TL_REVIEW_DISAGREEMENT;
    return unclear ? GROUP_UNCLEAR : GROUP_OTHER;
}

/* Blind ones of the two verdicts: how many, and how many of them in a group. */
typedef struct census {
    double all[2], members[2];
} census;

static double share_of(const census *c, bool flagged)
{
    return c->all[flagged] > 0.0 ? c->members[flagged] / c->all[flagged] : 0.0;
}

/* The chance with which one that is no member joins, so that both verdicts are there alike. */
static double chance_of(const census *c, bool flagged)
{
    double own = share_of(c, flagged), other = share_of(c, !flagged);
    return other > own ? (other - own) / (1.0 - own) : 0.0;
}

/* Members of `group`, of those that stand in no group before it (their place is below `group`). */
static void fill_group(const uint8_t key[TL_DRAW_KEY_BYTES], tl_queue_entry *entries, size_t count,
                       int group)
{
    census c = { { 0 }, { 0 } };
    for (size_t i = 0; i < count; i++) {
        const tl_queue_entry *e = &entries[i];
        if (!e->blind || e->place < group) continue;
        c.all[e->flagged]++;
        c.members[e->flagged] += own_group(e) == group;
    }
    for (size_t i = 0; i < count; i++) {
        tl_queue_entry *e = &entries[i];
        if (e->place < group) continue;
        bool joins =
            e->blind && lot_of(key, e, ROUND_DECOY + (uint32_t)group) < chance_of(&c, e->flagged);
        if (own_group(e) == group || joins) e->place = group + lot_of(key, e, ROUND_PLACE);
    }
}

static float unclear(float score)
{
    return score >= 0.0f && score <= 1.0f ? score * (1.0f - score) : 0.0f;
}

/* Descending by how unclear the score is. */
static int compare_unclear(const void *a, const void *b)
{
    const tl_queue_entry *x = a, *y = b;
    float left = unclear(x->score), right = unclear(y->score);
    if (left != right) return left > right ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

static int compare_place(const void *a, const void *b)
{
    const tl_queue_entry *x = a, *y = b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* What is shown with its verdict stands by its score, evenly among the blind ones. */
static void place_others(const uint8_t key[TL_DRAW_KEY_BYTES], tl_queue_entry *entries,
                         size_t count)
{
    size_t sighted = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        sighted += entries[i].place >= GROUP_OTHER && !entries[i].blind;
    for (size_t i = 0; i < count; i++) {
        tl_queue_entry *e = &entries[i];
        if (e->place < GROUP_OTHER) continue;
        e->place = GROUP_OTHER + (e->blind ? lot_of(key, e, ROUND_PLACE)
                                           : ((double)at++ + 0.5) / (double)sighted);
    }
}

void tl_queue_order(const uint8_t key[TL_DRAW_KEY_BYTES], tl_queue_entry *entries, size_t count)
{
    if (count == 0) return;
    qsort(entries, count, sizeof *entries, compare_unclear);
    for (size_t i = 0; i < count; i++) entries[i].place = GROUP_OTHER;
    fill_group(key, entries, count, GROUP_DISPUTED);
    fill_group(key, entries, count, GROUP_UNCLEAR);
    place_others(key, entries, count);
    qsort(entries, count, sizeof *entries, compare_place);
}

/* ---- Words ----------------------------------------------------------------------------------- */

const char *tl_queue_why(const tl_queue_entry *entry)
{
    if (entry->blind) return "blind";
    return entry->disputed ? "disagreement" : tl_review_reason_text(entry->reason);
}

const char *tl_queue_words(const tl_queue_entry *entry)
{
    if (entry->blind) return "to be judged without the model's word";
    if (entry->disputed) return "a version in shadow decides otherwise: a verdict waits for this";
    if (entry->reason == TL_REVIEW_COLD) return "the loop has seen little yet: everything is asked";
    return "the model calls it a defect";
}

/* ---- Of a loop ------------------------------------------------------------------------------- */

/* Whether a verdict still waits: what decided otherwise was in shadow before the item came. */
static bool is_waited_for(const tl_core *core, const tl_drawn *drawn)
{
    for (size_t i = 0; i < core->shadow_count && drawn->disputed; i++)
        if (core->shadows[i].key < drawn->key) return true;
    return false;
}

static tl_queue_entry entry_of(const tl_core *core, const tl_drawn *drawn)
{
    return (tl_queue_entry){ .key = drawn->key,
                             .time_us = drawn->time_us,
                             .person = drawn->person,
                             .score = drawn->score,
                             .reason = (tl_review_reason)drawn->reason,
                             .flagged = drawn->flagged,
                             .blind = drawn->blind,
                             .disputed = is_waited_for(core, drawn) };
}

/* A suspicion is urgent like a dispute; a repeat stands like an audit. */
static tl_queue_entry entry_again(const tl_again *again)
{
    return (tl_queue_entry){ .key = again->key,
                             .time_us = again->asked_us,
                             .person = again->person,
                             .score = again->score,
                             .reason = TL_REVIEW_AUDIT,
                             .flagged = again->flagged,
                             .blind = true,
                             .disputed = !again->repeat };
}

tl_status tl_core_reviews(const tl_core *core, uint64_t person, int64_t now_us,
                          tl_queue_entry **out, size_t *count, tl_error *err)
{
    const tl_core_review *review = &core->review;
    size_t capacity = review->drawn_count + core->again->count + 1, open = 0;
    tl_queue_entry *entries = malloc(capacity * sizeof *entries);
    if (entries == NULL) return tl_fail(err, TL_ENOMEM, "open reviews");
    for (size_t i = 0; i < review->drawn_count; i++) {
        const tl_drawn *drawn = tl_drawn_at(review, i);
        if (drawn->answered || (person != 0 && drawn->person != person)) continue;
        entries[open++] = entry_of(core, drawn);
    }
    for (uint32_t i = 0; i < core->again->count; i++) {
        const tl_again *again = &core->again->items[i];
        if (again->asked_us > now_us || (person != 0 && again->person != person)) continue;
        entries[open++] = entry_again(again);
    }
    tl_queue_order(core->config.audit_key, entries, open);
    *out = entries;
    *count = open;
    return TL_OK;
}

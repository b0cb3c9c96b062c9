/* What people are asked: the open reviews of the core, with what the journal knows of each. */
#include "loop/asking/people.h"
#include "loop/gate/shadow.h"
#include "loop/threads/runtime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct asking {
    uint64_t person; /* 0: of everybody */
    int64_t now_us;
    tl_queue_entry *entries;
    size_t count;
    int64_t timeout_us;
    tl_status status;
    tl_error *err;
} asking;

static void look_at_reviews(tl_core *core, void *context)
{
    asking *a = context;
    a->timeout_us = 1000000 * (int64_t)tl_core_config(core)->gate.timeout_s;
    a->status = tl_core_reviews(core, a->person, a->now_us, &a->entries, &a->count, a->err);
}

static void copy_text(char out[TL_TEXT_BYTES_MAX], const char *text)
{
    snprintf(out, TL_TEXT_BYTES_MAX, "%s", text == NULL ? "" : text);
}

static void describe(const tl_loop *loop, const tl_queue_entry *entry,
                     const tl_prediction_record *p, int64_t timeout_us, tl_review_item *out)
{
    *out = (tl_review_item){ .id = p->id,
                             .position = entry->key,
                             .time_us = entry->time_us,
                             .until_us = entry->time_us + timeout_us,
                             .blind = entry->blind,
                             .defect_score = NAN,
                             .why = tl_queue_why(entry),
                             .words = tl_queue_words(entry) };
    if (!entry->blind) {
        out->flagged = p->flagged;
        out->label = p->label;
        out->defect_score = entry->score;
    }
    copy_text(out->site, p->site);
    copy_text(out->line, p->line);
    copy_text(out->part, p->part);
    copy_text(out->board, p->board);
    copy_text(out->lot, p->lot);
    copy_text(out->person, tl_people_name(&loop->asks, entry->person));
}

/* In pieces of one each: predictions are answered meanwhile. */
static tl_status describe_all(tl_loop *loop, const asking *a, tl_review_item *out, size_t capacity,
                              size_t *count, tl_error *err)
{
    tl_status status = TL_OK;
    *count = 0;
    for (size_t i = 0; i < a->count && *count < capacity && status == TL_OK; i++) {
        tl_record record;
        pthread_mutex_lock(&loop->lookup_mutex);
        tl_arena_reset(&loop->lookup.arena);
        status = tl_journal_read_prediction(loop->lookup.journal, loop->number, a->entries[i].key,
                                            false, &loop->lookup.arena, &record, err);
        if (status == TL_OK)
            describe(loop, &a->entries[i], &record.as.prediction, a->timeout_us, &out[(*count)++]);
        pthread_mutex_unlock(&loop->lookup_mutex);
        if (status == TL_ENOTFOUND) status = TL_OK; /* pruned: nothing is left to look at */
    }
    return status;
}

/* Nobody of that name is asked: who is. */
static tl_status fail_unknown(const tl_loop *loop, const char *person, tl_error *err)
{
    const tl_loop_config *asks = &loop->asks;
    char names[200] = "";
    for (uint32_t i = 0; i < asks->person_count; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i > 0 ? ", " : "",
                 asks->people[i]);
    if (asks->person_count == 0)
        return tl_fail(
            err, TL_EINVAL,
            "nobody is asked in particular: review.people of the configuration names who "
            "is; leave the person out");
    return tl_fail(err, TL_EINVAL, "nobody called \"%.40s\" is asked; review.people has %s", person,
                   names);
}

tl_status tl_loop_reviews(tl_loop *loop, const char *person, tl_review_item *out, size_t capacity,
                          size_t *count, uint64_t *open, tl_error *err)
{
    if (capacity < 1 || capacity > TL_REVIEW_LIST_MAX)
        return tl_fail(err, TL_EINVAL, "limit must be 1 to %d", TL_REVIEW_LIST_MAX);
    asking a = { .err = err,
                 .person = person == NULL ? 0 : tl_shadow_source(person),
                 .now_us = tl_env_wall_us(loop->runtime->env) };
    if (person != NULL && tl_people_name(&loop->asks, a.person) == NULL)
        return fail_unknown(loop, person, err);
    tl_status status = tl_control_look(loop, look_at_reviews, &a, err);
    if (status == TL_OK) status = a.status;
    size_t written = 0;
    if (status == TL_OK) status = describe_all(loop, &a, out, capacity, &written, err);
    free(a.entries);
    if (status != TL_OK) return status;
    *count = written;
    *open = a.count;
    return TL_OK;
}

/* ---- Who is asked how much ------------------------------------------------------------------- */

size_t tl_loop_people(tl_loop *loop, tl_review_person out[TL_PERSON_COUNT_MAX])
{
    const tl_loop_config *asks = &loop->asks;
    asking a = { .now_us = tl_env_wall_us(loop->runtime->env) };
    if (asks->person_count == 0 || tl_control_look(loop, look_at_reviews, &a, NULL) != TL_OK ||
        a.status != TL_OK)
        return 0;
    for (uint32_t i = 0; i < asks->person_count; i++) {
        uint64_t who = tl_shadow_source(asks->people[i]);
        out[i] = (tl_review_person){ .open = 0 };
        copy_text(out[i].name, asks->people[i]);
        for (size_t k = 0; k < a.count; k++) out[i].open += a.entries[k].person == who;
    }
    free(a.entries);
    return asks->person_count;
}

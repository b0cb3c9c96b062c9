/* What was decided about versions, read back from the journal with its evidence. */
#include "loop/threads/runtime.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const KINDS[] = { "publish", "promote", "certify",  "take_back", "rollback",
                                     "alarm",   "freeze",  "unfreeze", "challenge", "try" };
/* The last of them are told of one version only: there is one of nearly each version. */
enum { KINDS_OF_ALL = 8 };

/* The walk over the events of one kind, newest first. */
typedef struct cursor {
    bool ended;
    tl_verdict_info info; /* the event that it is at */
} cursor;

static uint64_t count_of(const tl_json *body, const char *key)
{
    uint64_t count = 0;
    (void)tl_json_uint64(tl_json_get(body, key), &count);
    return count;
}

static double number_of(const tl_json *body, const char *key)
{
    double number = NAN;
    (void)tl_json_number(tl_json_get(body, key), &number);
    return number;
}

static void read_evidence(const tl_json *body, tl_verdict_info *out)
{
    out->number = count_of(body, "series");
    out->log_e = number_of(body, "log_e");
    out->log_needed = number_of(body, "log_needed");
    out->units = count_of(body, "units");
    out->items = count_of(body, "items");
    out->disagreements = count_of(body, "disagreements");
    out->wins = count_of(body, "wins");
    out->losses = count_of(body, "losses");
    out->timeouts = count_of(body, "timeouts");
    out->gain = number_of(body, "gain");
    out->gain_low = number_of(body, "gain_low");
    out->gain_high = number_of(body, "gain_high");
    out->tti_seconds = number_of(body, "tti_seconds");
    out->tti_labels = count_of(body, "tti_labels");
    out->tti_proven = strcmp(out->kind, "take_back") != 0; /* journals from before it was told */
    (void)tl_json_bool(tl_json_get(body, "tti_proven"), &out->tti_proven);
}

static void read_event(const tl_record *record, tl_json_parser *parser, tl_arena *arena,
                       tl_verdict_info *out)
{
    const tl_event_record *event = &record->as.event;
    const tl_json *body = NULL;
    *out = (tl_verdict_info){ .position = record->position, .time_us = event->time_us };
    snprintf(out->kind, sizeof out->kind, "%s", event->kind);
    tl_arena_reset(arena);
    if (tl_json_parse(parser, event->body, strlen(event->body), arena, &body, NULL) != TL_OK)
        return;
    out->version = count_of(body, "version");
    out->champion = count_of(body, "champion");
    (void)tl_json_bool(tl_json_get(body, "dry_run"), &out->dry_run);
    snprintf(out->who, sizeof out->who, "%s", tl_json_get_text(body, "who", ""));
    snprintf(out->words, sizeof out->words, "%s", tl_json_get_text(body, "verdict", ""));
    out->judged = tl_json_get(body, "units") != NULL;
    read_evidence(body, out);
}

static bool is_about(const tl_verdict_info *info, uint64_t version)
{
    return version == 0 || info->version == version ||
           (info->champion == version && strcmp(info->kind, "take_back") == 0);
}

/* To the next event of the kind that is about `version`. */
static void advance(tl_loop *loop, size_t kind, uint64_t version, tl_json_parser *parser,
                    tl_arena *arena, cursor *c)
{
    tl_record record;
    uint64_t below = c->info.position;
    do {
        pthread_mutex_lock(&loop->lookup_mutex);
        tl_arena_reset(&loop->lookup.arena);
        c->ended = tl_journal_next_event(loop->lookup.journal, loop->number, KINDS[kind], below,
                                         &loop->lookup.arena, &record, NULL) != TL_OK;
        if (!c->ended) read_event(&record, parser, arena, &c->info);
        pthread_mutex_unlock(&loop->lookup_mutex);
        below = c->info.position;
    } while (!c->ended && !is_about(&c->info, version));
}

size_t tl_loop_verdicts(tl_loop *loop, uint64_t version, tl_verdict_info *out, size_t capacity)
{
    tl_json_parser *parser = NULL;
    if (tl_json_parser_create(NULL, &parser, NULL) != TL_OK) return 0;
    tl_arena arena;
    tl_arena_init(&arena, 1 << 16);
    cursor cursors[TL_COUNT_OF(KINDS)];
    size_t kinds = version == 0 ? KINDS_OF_ALL : TL_COUNT_OF(KINDS);
    for (size_t k = 0; k < kinds; k++) {
        cursors[k].info.position = UINT64_MAX;
        advance(loop, k, version, parser, &arena, &cursors[k]);
    }
    size_t count = 0;
    while (count < capacity) {
        size_t newest = kinds;
        for (size_t k = 0; k < kinds; k++)
            if (!cursors[k].ended &&
                (newest == kinds || cursors[k].info.position > cursors[newest].info.position))
                newest = k;
        if (newest == kinds) break;
        out[count++] = cursors[newest].info;
        advance(loop, newest, version, parser, &arena, &cursors[newest]);
    }
    tl_arena_destroy(&arena);
    tl_json_parser_destroy(&parser);
    return count;
}

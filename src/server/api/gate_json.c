/* gate_json.c - the gate as JSON: standings, what it did, verdicts with their evidence. */
#include "server/state_json.h"

#include <stdlib.h>
#include <string.h>

enum { SHADOWS_MAX = 16, EVENTS_MAX = 128, VERDICTS_MAX = 64 };

/* ---- Standings and events -------------------------------------------------------------------- */

static void write_site(tl_json_writer *w, const tl_site_standing *s)
{
    tl_json_object(w);
    tl_json_put_text(w, "site", s->name);
    tl_json_put_uint(w, "units", s->units);
    tl_json_put_uint(w, "items", s->items);
    tl_json_put_uint(w, "disagreements", s->disagreements);
    tl_json_put_uint(w, "wins", s->wins);
    tl_json_put_uint(w, "losses", s->losses);
    tl_json_put_uint(w, "timeouts", s->timeouts);
    tl_json_put_double(w, "gain", s->gain);
    tl_json_put_double(w, "gain_low", s->gain_low);
    tl_json_put_double(w, "gain_high", s->gain_high);
    tl_json_put_bool(w, "worse", s->worse);
    tl_json_object_end(w);
}

static void write_standing(tl_json_writer *w, const tl_standing *s)
{
    tl_json_object(w);
    tl_json_put_uint(w, "version", s->version);
    tl_json_put_text(w, "role", s->role);
    tl_json_put_double(w, "since", (double)s->since_us / 1e6);
    tl_json_put_uint(w, "number", s->number);
    tl_json_put_double(w, "alpha", s->alpha);
    tl_json_put_double(w, "log_e", s->log_e);
    tl_json_put_double(w, "log_needed", s->log_needed);
    tl_json_put_double(w, "log_harm", s->log_harm);
    tl_json_put_double(w, "log_harm_needed", s->log_harm_needed);
    tl_json_put_uint(w, "units", s->units);
    tl_json_put_uint(w, "items", s->items);
    tl_json_put_uint(w, "disagreements", s->disagreements);
    tl_json_put_uint(w, "wins", s->wins);
    tl_json_put_uint(w, "losses", s->losses);
    tl_json_put_uint(w, "timeouts", s->timeouts);
    tl_json_put_double(w, "gain", s->gain);
    tl_json_put_double(w, "gain_low", s->gain_low);
    tl_json_put_double(w, "gain_high", s->gain_high);
    tl_json_put_double(w, "needed", s->needed);
    tl_json_put_bool(w, "blocked_by_site", s->blocked_by_site);
    tl_json_put_text(w, "words", s->words);
    tl_json_put_text(w, "site_words", s->site_words);
    tl_json_key(w, "sites");
    tl_json_array(w);
    for (size_t i = 0; i < s->site_count; i++) write_site(w, &s->sites[i]);
    tl_json_array_end(w);
    tl_json_object_end(w);
}

static void write_event(tl_json_writer *w, const tl_gate_event *e)
{
    tl_json_object(w);
    tl_json_put_text(w, "kind", e->kind);
    tl_json_put_uint(w, "version", e->version);
    tl_json_put_uint(w, "position", e->position);
    tl_json_put_double(w, "time", (double)e->time_us / 1e6);
    tl_json_put_text(w, "words", e->words);
    tl_json_object_end(w);
}

static void write_median(tl_json_writer *w, const char *key, double p50, double low, double high)
{
    tl_json_key(w, key);
    tl_json_object(w);
    tl_json_put_double(w, "p50", p50);
    tl_json_put_double(w, "low", low);
    tl_json_put_double(w, "high", high);
    tl_json_object_end(w);
}

/* What the gate of a loop tells at one look. */
typedef struct look {
    tl_standing standings[SHADOWS_MAX];
    tl_gate_event events[EVENTS_MAX];
    tl_verdict_info verdicts[VERDICTS_MAX];
    tl_version_info version; /* that is asked about */
    size_t standing_count, event_count, verdict_count;
} look;

static look *look_take(tl_loop *loop, size_t events, tl_error *err)
{
    look *l = calloc(1, sizeof *l);
    if (l == NULL) {
        tl_fail(err, TL_ENOMEM, "out of memory; try again");
        return NULL;
    }
    l->standing_count = tl_loop_standings(loop, l->standings, SHADOWS_MAX);
    l->event_count = tl_loop_gate_events(loop, l->events, events);
    return l;
}

tl_status tl_gate_write(tl_json_writer *w, tl_loop *loop, const tl_loop_state *state, tl_error *err)
{
    look *l = look_take(loop, TL_GATE_EVENTS_SHOWN, err);
    if (l == NULL) return TL_ENOMEM;
    tl_json_key(w, "gate");
    tl_json_object(w);
    tl_json_key(w, "shadows");
    tl_json_array(w);
    for (size_t i = 0; i < l->standing_count; i++) write_standing(w, &l->standings[i]);
    tl_json_array_end(w);
    tl_json_key(w, "events");
    tl_json_array(w);
    for (size_t i = 0; i < l->event_count; i++) write_event(w, &l->events[i]);
    tl_json_array_end(w);
    tl_json_key(w, "tti");
    tl_json_object(w);
    write_median(w, "seconds", state->tti_seconds_p50, state->tti_seconds_low,
                 state->tti_seconds_high);
    write_median(w, "labels", state->tti_labels_p50, state->tti_labels_low, state->tti_labels_high);
    tl_json_put_uint(w, "proven", state->tti_proven);
    tl_json_put_uint(w, "censored", state->tti_censored);
    tl_json_object_end(w);
    tl_json_put_bool(w, "frozen", state->frozen);
    tl_json_put_uint(w, "alarms", state->alarms);
    tl_json_object_end(w);
    free(l);
    return TL_OK;
}

/* ---- One version explained ------------------------------------------------------------------- */

static void write_verdict(tl_json_writer *w, const tl_verdict_info *v)
{
    tl_json_object(w);
    tl_json_put_text(w, "kind", v->kind);
    tl_json_put_text(w, "who", v->who);
    tl_json_put_uint(w, "position", v->position);
    tl_json_put_uint(w, "version", v->version);
    tl_json_put_uint(w, "champion", v->champion);
    tl_json_put_double(w, "time", (double)v->time_us / 1e6);
    tl_json_put_bool(w, "dry_run", v->dry_run);
    tl_json_put_text(w, "words", v->words);
    if (v->judged) {
        tl_json_key(w, "evidence");
        tl_json_object(w);
        tl_json_put_uint(w, "number", v->number);
        tl_json_put_double(w, "log_e", v->log_e);
        tl_json_put_double(w, "log_needed", v->log_needed);
        tl_json_put_uint(w, "units", v->units);
        tl_json_put_uint(w, "items", v->items);
        tl_json_put_uint(w, "disagreements", v->disagreements);
        tl_json_put_uint(w, "wins", v->wins);
        tl_json_put_uint(w, "losses", v->losses);
        tl_json_put_uint(w, "timeouts", v->timeouts);
        tl_json_put_double(w, "gain", v->gain);
        tl_json_put_double(w, "gain_low", v->gain_low);
        tl_json_put_double(w, "gain_high", v->gain_high);
        tl_json_put_double(w, "tti_seconds", v->tti_seconds);
        tl_json_put_uint(w, "tti_labels", v->tti_labels);
        tl_json_put_bool(w, "tti_proven", v->tti_proven);
        tl_json_object_end(w);
    }
    tl_json_object_end(w);
}

static bool is_one_of(const char *kind, const char *const *kinds)
{
    for (; *kinds != NULL; kinds++)
        if (strcmp(kind, *kinds) == 0) return true;
    return false;
}

/* What the newest event that moved it left it as; the journal has all of them. */
static const char *stage_before(const look *l, uint64_t version)
{
    static const char *const served[] = { "publish", "promote", "rollback", "take_back", NULL };
    static const char *const tried[] = { "challenge", "try", NULL };
    for (size_t i = 0; i < l->verdict_count; i++) {
        const tl_verdict_info *v = &l->verdicts[i];
        if (v->dry_run) continue;
        if (strcmp(v->kind, "take_back") == 0 && v->version != version) return "taken_back";
        if (is_one_of(v->kind, served)) return "served_before";
        if (is_one_of(v->kind, tried)) return "set_aside";
    }
    return "never_served";
}

/* Where the version is on its way, in one word. */
static const char *stage_of(const look *l, const tl_version_info *version)
{
    if (version->champion) return "answers";
    for (size_t i = 0; i < l->standing_count; i++)
        if (l->standings[i].version == version->number &&
            strcmp(l->standings[i].role, "challenger") == 0)
            return "challenges";
    for (size_t i = 0; i < l->event_count; i++) {
        const tl_gate_event *e = &l->events[i];
        if (e->version != version->number) continue;
        if (strcmp(e->kind, "waits") == 0) return "waits";
        break;
    }
    return stage_before(l, version->number);
}

static void write_explanation(tl_json_writer *w, const char *name, const look *l,
                              const tl_version_info *version)
{
    tl_json_object(w);
    tl_json_put_text(w, "name", name);
    tl_json_put_text(w, "stage", stage_of(l, version));
    tl_json_key(w, "version");
    tl_version_write(w, version);
    tl_json_key(w, "shadows");
    tl_json_array(w);
    for (size_t i = 0; i < l->standing_count; i++)
        if (l->standings[i].version == version->number) write_standing(w, &l->standings[i]);
    tl_json_array_end(w);
    tl_json_key(w, "verdicts");
    tl_json_array(w);
    for (size_t i = 0; i < l->verdict_count; i++) write_verdict(w, &l->verdicts[i]);
    tl_json_array_end(w);
    tl_json_key(w, "events");
    tl_json_array(w);
    for (size_t i = 0; i < l->event_count; i++)
        if (l->events[i].version == version->number) write_event(w, &l->events[i]);
    tl_json_array_end(w);
    tl_json_object_end(w);
}

tl_status tl_explanation_write(tl_json_writer *w, const char *name, tl_loop *loop, uint64_t number,
                               tl_error *err)
{
    look *l = look_take(loop, EVENTS_MAX, err);
    if (l == NULL) return TL_ENOMEM;
    tl_status status = tl_loop_version(loop, number, &l->version, err);
    if (status == TL_OK) {
        l->verdict_count = tl_loop_verdicts(loop, number, l->verdicts, VERDICTS_MAX);
        write_explanation(w, name, l, &l->version);
    }
    free(l);
    return status;
}

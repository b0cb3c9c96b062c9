#include "loop/whatif.h"

#include "format/json.h"
#include "loop/asking/people.h"
#include "loop/core/keymap.h"
#include "loop/core/standing.h"
#include "loop/gate/shadow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BASELINE = TL_GATE_HARM | TL_GATE_GAIN, GUARD = TL_GATE_HARM, CHALLENGER = TL_GATE_BETTER };
enum { KEYS_A_POSITION = 8 }; /* as the core gives them out */

typedef struct seen_shadow {
    uint64_t key, version;
    unsigned watch;
    bool over;
} seen_shadow;

typedef struct teller {
    tl_journal_reader *reader;
    uint32_t loop;
    tl_loop_config config;
    tl_whatif_fn change;
    void *context;
    tl_arena arena;
    tl_json_parser *parser;
    tl_gate *gate;
    tl_idset pending;
    uint64_t third_class_at;
    uint64_t champion, champion_before, challenger; /* versions */
    uint64_t promoted_at, challenged_at;            /* the newest such event of the gate */
    bool frozen;
    seen_shadow *shadows; /* ever seen, in the order of their coming */
    size_t shadow_count, verdict_capacity;
    tl_whatif_report *report;
} teller;

/* ---- Policy ---------------------------------------------------------------------------------- */

static tl_status changed_policy(teller *t, tl_gate_options *options, tl_gate_policy *out,
                                tl_error *err)
{
    tl_status status = t->change(t->context, options, err);
    if (status != TL_OK) return status;
    *out = tl_loop_config_gate(options);
    const char *problem = tl_gate_policy_check(out);
    return problem == NULL ? TL_OK : tl_fail(err, TL_EINVAL, "gate: %s", problem);
}

static tl_status reconfigure(teller *t, const char *body, tl_error *err)
{
    tl_loop_config config;
    tl_gate_policy policy;
    tl_status status = tl_loop_config_read(body, &config, err);
    if (status == TL_OK) tl_loop_config_copy_knobs(&t->config, &config);
    if (status == TL_OK) status = changed_policy(t, &t->config.gate, &policy, err);
    if (status == TL_OK) tl_gate_set_policy(t->gate, &policy);
    return status;
}

/* ---- Shadows --------------------------------------------------------------------------------- */

static seen_shadow *find_seen(teller *t, uint64_t key)
{
    for (size_t i = t->shadow_count; i-- > 0;)
        if (t->shadows[i].key == key) return &t->shadows[i];
    return NULL;
}

static bool is_carried(const tl_prediction_record *p, uint64_t key)
{
    for (uint32_t i = 0; i < p->shadow_count; i++)
        if (p->shadows[i].version == key) return true;
    return false;
}

static void end_shadow(teller *t, seen_shadow *shadow)
{
    if (!shadow->over) tl_gate_drop(t->gate, shadow->key);
    shadow->over = true;
}

static void end_all(teller *t, uint64_t position)
{
    for (size_t i = 0; i < t->shadow_count; i++) end_shadow(t, &t->shadows[i]);
    tl_gate_restart(t->gate, position);
}

/* What a shadow is there for is told by the event that its key names, and by who is there already. */
static unsigned watch_of(teller *t, uint64_t key)
{
    uint64_t position = key / KEYS_A_POSITION;
    bool first = key % KEYS_A_POSITION == 0, has_baseline = false;
    for (size_t i = 0; i < t->shadow_count; i++)
        has_baseline = has_baseline || (!t->shadows[i].over && t->shadows[i].watch == BASELINE);
    if (first && position == t->promoted_at) return GUARD;
    if (has_baseline || (first && position == t->challenged_at)) return CHALLENGER;
    return BASELINE;
}

static tl_status start_shadow(teller *t, uint64_t key, tl_error *err)
{
    seen_shadow *grown = realloc(t->shadows, (t->shadow_count + 1) * sizeof *grown);
    if (grown == NULL) return tl_fail(err, TL_ENOMEM, "shadows");
    t->shadows = grown;
    unsigned watch = watch_of(t, key);
    t->shadows[t->shadow_count++] = (seen_shadow){ .key = key,
                                                   .version = watch == GUARD ? t->champion_before
                                                              : watch == CHALLENGER ? t->challenger
                                                                                    : t->champion,
                                                   .watch = watch };
    t->report->shadows++;
    return tl_gate_watch(t->gate, key, watch, key / KEYS_A_POSITION, err);
}

/* The shadows are those that the prediction carries, in the order of their keys. */
static tl_status follow_shadows(teller *t, const tl_prediction_record *p, tl_error *err)
{
    for (size_t i = 0; i < t->shadow_count; i++)
        if (!is_carried(p, t->shadows[i].key)) end_shadow(t, &t->shadows[i]);
    for (uint64_t above = 0;;) {
        uint64_t next = UINT64_MAX;
        for (uint32_t i = 0; i < p->shadow_count; i++) {
            uint64_t key = p->shadows[i].version;
            if (key > above && key < next && find_seen(t, key) == NULL) next = key;
        }
        if (next == UINT64_MAX) return TL_OK;
        tl_status status = start_shadow(t, next, err);
        if (status != TL_OK) return status;
        above = next;
    }
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

static const char *const KINDS[] = { [TL_GATE_PROMOTE] = "promote",
                                     [TL_GATE_TAKE_BACK] = "take_back",
                                     [TL_GATE_CERTIFY] = "certify",
                                     [TL_GATE_ALARM] = "alarm" };

/* The first one of that kind and shadow of which only one moment is known; else a new one. */
static tl_whatif_verdict *verdict_for(teller *t, const char *kind, uint64_t key, bool recorded)
{
    tl_whatif_report *r = t->report;
    for (size_t i = 0; i < r->count; i++) {
        tl_whatif_verdict *v = &r->verdicts[i];
        if (v->key == key && v->kind == kind && (recorded ? !v->recorded : !v->comes)) return v;
    }
    if (r->count == t->verdict_capacity) {
        size_t wider = 2 * t->verdict_capacity + 16;
        tl_whatif_verdict *grown = realloc(r->verdicts, wider * sizeof *grown);
        if (grown == NULL) return NULL;
        r->verdicts = grown;
        t->verdict_capacity = wider;
    }
    r->verdicts[r->count] =
        (tl_whatif_verdict){ .kind = kind, .key = key, .log_e = NAN, .log_needed = NAN };
    return &r->verdicts[r->count++];
}

static tl_status take_verdicts(teller *t, uint64_t position, tl_error *err)
{
    tl_gate_verdict verdict;
    while (tl_gate_take_verdict(t->gate, &verdict)) {
        if (verdict.kind == TL_GATE_TAKE_BACK && t->config.gate.take_back == TL_RESPONSE_OFF)
            continue;
        if (t->frozen && (verdict.kind == TL_GATE_PROMOTE || verdict.kind == TL_GATE_CERTIFY))
            continue;
        tl_whatif_verdict *v = verdict_for(t, KINDS[verdict.kind], verdict.version, false);
        if (v == NULL) return tl_fail(err, TL_ENOMEM, "verdicts");
        const seen_shadow *shadow = find_seen(t, verdict.version);
        if (v->version == 0) v->version = shadow == NULL ? t->champion : shadow->version;
        v->comes = true;
        v->position_now = position;
        v->labels_now = t->report->labels;
        v->log_e = verdict.log_e;
        v->log_needed = verdict.log_threshold;
    }
    return TL_OK;
}

/* How near it was, when it did not come. */
static void measure(teller *t, tl_whatif_verdict *v)
{
    tl_gate_standing s;
    tl_gate_status status;
    if (strcmp(v->kind, "alarm") == 0) {
        tl_gate_get_status(t->gate, &status);
        v->log_e = status.log_alarm;
        v->log_needed = status.log_alarm_threshold;
    } else if (tl_gate_describe(t->gate, v->key, &s)) {
        bool harm = strcmp(v->kind, "take_back") == 0;
        v->log_e = harm                              ? s.log_harm
                   : strcmp(v->kind, "certify") == 0 ? s.log_e_gain
                                                     : s.log_e_better;
        v->log_needed = harm ? s.log_harm_threshold : s.log_threshold;
    }
}

static tl_status record_verdict(teller *t, size_t kind, uint64_t position, uint64_t key,
                                uint64_t version, tl_error *err)
{
    tl_whatif_verdict *v = verdict_for(t, KINDS[kind], key, true);
    if (v == NULL) return tl_fail(err, TL_ENOMEM, "verdicts");
    v->recorded = true;
    v->version = version;
    v->position_then = position;
    v->labels_then = t->report->labels;
    if (!v->comes) measure(t, v);
    return TL_OK;
}

/* ---- Records --------------------------------------------------------------------------------- */

static uint64_t number_of(const tl_json *body, const char *key)
{
    uint64_t value = 0;
    return tl_json_uint64(tl_json_get(body, key), &value) ? value : 0;
}

static void serve(teller *t, uint64_t version, uint64_t position)
{
    end_all(t, position);
    if (version == 0 || version == t->champion) return;
    t->champion_before = t->champion;
    t->champion = version;
}

/* What the event did to the shadows then. */
static void follow_event(teller *t, const char *kind, const tl_json *body, uint64_t position)
{
    uint64_t version = number_of(body, "version");
    bool dry = false;
    (void)tl_json_bool(tl_json_get(body, "dry_run"), &dry);
    if (strcmp(kind, "challenge") == 0 || strcmp(kind, "try") == 0) {
        t->challenger = version;
        t->challenged_at = position;
    } else if (strcmp(kind, "certify") == 0 || (strcmp(kind, "take_back") == 0 && dry)) {
        seen_shadow *shadow = find_seen(t, number_of(body, "key"));
        if (shadow != NULL) end_shadow(t, shadow);
    } else if (strcmp(kind, "publish") == 0 || strcmp(kind, "promote") == 0 ||
               strcmp(kind, "rollback") == 0 || strcmp(kind, "take_back") == 0) {
        if (tl_json_get(body, "key") != NULL && strcmp(kind, "promote") == 0)
            t->promoted_at = position;
        serve(t, version, position);
    } else if (strcmp(kind, "class") == 0) {
        if (++t->config.info.class_count == 3) t->third_class_at = position;
        end_all(t, position);
    } else if (strcmp(kind, "freeze") == 0 || strcmp(kind, "unfreeze") == 0) {
        t->frozen = strcmp(kind, "freeze") == 0;
    }
}

static tl_status take_event(teller *t, const tl_record *record, tl_error *err)
{
    const char *kind = record->as.event.kind;
    const tl_json *body = NULL;
    tl_status status = tl_json_parse(t->parser, record->as.event.body,
                                     strlen(record->as.event.body), &t->arena, &body, err);
    if (status != TL_OK) return tl_fail_context(err, TL_ECORRUPT, "event \"%.32s\"", kind);
    if (strcmp(kind, "configure") == 0) return reconfigure(t, record->as.event.body, err);
    for (size_t k = 0; k < TL_COUNT_OF(KINDS) && status == TL_OK; k++)
        if (strcmp(kind, KINDS[k]) == 0 && tl_json_get(body, "key") != NULL)
            status = record_verdict(t, k, record->position, number_of(body, "key"),
                                    number_of(body, "version"), err);
    follow_event(t, kind, body, record->position);
    return status;
}

static void take_label(teller *t, uint64_t position, int32_t label, uint64_t source)
{
    if (label >= 0)
        tl_gate_label(t->gate, position, label != 0, source);
    else
        tl_gate_unlabel(t->gate, position);
}

/* Where people are asked in particular, only the word of the one who was is evidence. */
static tl_status take_asked(teller *t, const tl_record *prediction, uint64_t asked, uint64_t upto,
                            tl_error *err)
{
    const tl_prediction_record *p = &prediction->as.prediction;
    tl_record *statements;
    size_t count;
    tl_status status = tl_journal_list_feedback(t->reader, t->loop, p->id, upto, &t->arena,
                                                &statements, &count, err);
    if (status == TL_OK)
        take_label(t, prediction->position,
                   tl_people_label(p, statements, count, asked, t->config.info.class_count,
                                   t->third_class_at),
                   asked);
    return status;
}

static tl_status take_feedback(teller *t, const tl_record *record, tl_error *err)
{
    tl_label_change change;
    tl_status status = tl_standing_join(t->reader, t->loop, record, t->config.info.class_count,
                                        t->third_class_at, &t->arena, &change, err);
    if (status != TL_OK) return status;
    if (!change.known) return tl_idset_add(&t->pending, record->as.feedback.prediction_id);
    if (change.before < 0 && change.after >= 0) t->report->labels++;
    uint64_t asked = tl_people_asked(&t->config, &change.prediction.as.prediction),
             who = tl_shadow_source(record->as.feedback.source);
    if (asked != 0)
        return who == asked ? take_asked(t, &change.prediction, asked, record->position, err)
                            : TL_OK;
    if (change.before != change.after) take_label(t, change.prediction.position, change.after, who);
    return TL_OK;
}

/* Feedback that came before its prediction. */
static tl_status take_pending(teller *t, const tl_record *record, tl_error *err)
{
    const tl_prediction_record *p = &record->as.prediction;
    tl_record *statements;
    size_t count;
    if (!tl_idset_remove(&t->pending, p->id)) return TL_OK;
    tl_status status = tl_journal_list_feedback(t->reader, t->loop, p->id, record->position,
                                                &t->arena, &statements, &count, err);
    if (status != TL_OK) return status;
    int32_t label =
        tl_standing_fold(p, statements, count, t->config.info.class_count, t->third_class_at);
    if (label < 0) return TL_OK;
    t->report->labels++;
    uint64_t asked = tl_people_asked(&t->config, p);
    if (asked != 0) return take_asked(t, record, asked, record->position, err);
    take_label(t, record->position, label, tl_shadow_source(NULL));
    return TL_OK;
}

static tl_status take_prediction(teller *t, const tl_record *record, tl_error *err)
{
    const tl_prediction_record *p = &record->as.prediction;
    tl_status status = TL_OK;
    t->report->predictions++;
    if (p->version == t->champion && !p->pruned) {
        status = follow_shadows(t, p, err);
        tl_gate_item item = tl_shadow_item(record, t->config.gate.unit);
        for (uint32_t i = 0; i < p->shadow_count && status == TL_OK; i++) {
            const seen_shadow *shadow = find_seen(t, p->shadows[i].version);
            if (shadow == NULL || shadow->over) continue;
            item.shadow[item.shadow_count].version = shadow->key;
            item.shadow[item.shadow_count++].flagged = p->shadows[i].flagged != 0;
        }
        if (status == TL_OK) status = tl_gate_item_add(t->gate, &item, err);
    }
    return status == TL_OK ? take_pending(t, record, err) : status;
}

static tl_status take(teller *t, const tl_record *record, tl_error *err)
{
    tl_status status = TL_OK;
    if (record->kind == TL_RECORD_PREDICTION)
        status = take_prediction(t, record, err);
    else if (record->kind == TL_RECORD_FEEDBACK)
        status = take_feedback(t, record, err);
    else if (record->kind == TL_RECORD_EVENT)
        status = take_event(t, record, err);
    return status == TL_OK ? take_verdicts(t, record->position, err) : status;
}

/* ---- The walk -------------------------------------------------------------------------------- */

static tl_status walk(teller *t, tl_error *err)
{
    uint64_t last = 0, at = 0;
    tl_status status = tl_journal_last_position(t->reader, &last, err);
    while (status == TL_OK && at < last) {
        tl_record record;
        tl_arena_reset(&t->arena);
        status = tl_journal_next(t->reader, t->loop, at, &t->arena, &record, err);
        if (status == TL_OK) status = take(t, &record, err);
        at = record.position;
    }
    return status == TL_ENOTFOUND ? TL_OK : status; /* the end */
}

tl_status tl_whatif_run(tl_journal_reader *reader, uint32_t loop, const char *config,
                        tl_whatif_fn change, void *context, tl_whatif_report *out, tl_error *err)
{
    teller *t = calloc(1, sizeof *t);
    tl_whatif_report report = { 0 };
    tl_gate_policy policy;
    if (t == NULL) return tl_fail(err, TL_ENOMEM, "what-if");
    t->reader = reader;
    t->loop = loop;
    t->change = change;
    t->context = context;
    t->report = &report;
    tl_arena_init(&t->arena, 64 << 20);
    tl_status status = tl_loop_config_read(config, &t->config, err);
    if (status == TL_OK) status = changed_policy(t, &t->config.gate, &policy, err);
    if (status == TL_OK) status = tl_gate_create(&policy, &t->gate, err);
    if (status == TL_OK) status = tl_json_parser_create(NULL, &t->parser, err);
    if (t->config.info.class_count == 2) t->third_class_at = UINT64_MAX;
    if (status == TL_OK) status = walk(t, err);
    tl_json_parser_destroy(&t->parser);
    tl_gate_destroy(&t->gate);
    tl_idset_destroy(&t->pending);
    tl_arena_destroy(&t->arena);
    free(t->shadows);
    free(t);
    if (status == TL_OK)
        *out = report;
    else
        tl_whatif_clear(&report);
    return status;
}

void tl_whatif_clear(tl_whatif_report *report)
{
    free(report->verdicts);
    *report = (tl_whatif_report){ 0 };
}

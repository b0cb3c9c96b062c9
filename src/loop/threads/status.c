/* What a loop tells of itself: its state, its versions, its events. */
#include "loop/threads/runtime.h"
#include "stats/interval.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The end of a path that fits, or the built-in network's name. */
static void name_network(const tl_loop_config *config, char out[TL_TEXT_BYTES_MAX])
{
    const char *path = config->model_path, *slash = strrchr(path, '/');
    if (slash != NULL && slash[1] != '\0') path = slash + 1;
    if (*path == '\0') path = config->info.input == TL_INPUT_FEATURES ? "linear" : "small";
    snprintf(out, TL_TEXT_BYTES_MAX, "%s", path);
}

static void describe_network(tl_loop *loop, tl_loop_state *out)
{
    name_network(&loop->config, out->network);
    out->parameters = loop->network.parameters;
    out->multiply_adds = loop->network.macs;
    out->network_features = loop->network.head.features;
    out->learns = loop->config.learning;
    pthread_mutex_lock(&loop->train_mutex);
    out->campaigns = loop->campaign.campaigns;
    out->campaign_done = loop->campaign.done;
    out->campaign_steps = loop->campaign.steps;
    out->next_campaign_labels = loop->campaign.next_labels;
    pthread_mutex_unlock(&loop->train_mutex);
}

static void fill_share(tl_share *share)
{
    tl_interval interval = tl_interval_wilson(share->hits, share->count, 0.95);
    share->low = interval.low;
    share->high = interval.high;
    share->value = share->count == 0 ? 0.0 : (double)share->hits / (double)share->count;
}

void tl_loop_status(tl_loop *loop, tl_loop_state *out)
{
    tl_tti ttis[TL_TTI_LIMIT];
    pthread_mutex_lock(&loop->mutex);
    *out = loop->shared.state;
    size_t tti_count = loop->shared.tti_count;
    memcpy(ttis, loop->shared.ttis, tti_count * sizeof *ttis);
    out->predictions = loop->shared.seen.predictions;
    out->flagged = loop->shared.seen.flagged;
    out->reviews_wanted = loop->shared.seen.reviews;
    pthread_mutex_unlock(&loop->mutex);
    fill_share(&out->precision);
    fill_share(&out->recall);
    fill_share(&out->accuracy);
    tl_tti_describe(ttis, tti_count, out);
    describe_network(loop, out);
    out->trained_labels = atomic_load(&loop->trained_labels);
    out->label_to_served_ms_p50 = tl_histogram_quantile_ns(&loop->applied_ns, 0.50) / 1e6;
    out->label_to_served_ms_p99 = tl_histogram_quantile_ns(&loop->applied_ns, 0.99) / 1e6;
    out->answer_ms_p50 = tl_histogram_quantile_ns(&loop->answer_ns, 0.50) / 1e6;
    out->answer_ms_p99 = tl_histogram_quantile_ns(&loop->answer_ns, 0.99) / 1e6;
}

void tl_loop_stages(tl_loop *loop, tl_loop_stage out[TL_LOOP_STAGE_COUNT])
{
    const struct {
        const char *name;
        const tl_histogram *spans;
    } stages[TL_LOOP_STAGE_COUNT] = {
        { "answer", &loop->answer_ns },           { "commit", &loop->commit_ns },
        { "update", &loop->update_ns },           { "publish", &loop->publish_ns },
        { "label_to_served", &loop->applied_ns }, { "candidate", &loop->spans.candidate_ns },
        { "verdict", &loop->spans.verdict_ns },   { "first_answer", &loop->spans.first_answer_ns }
    };
    for (size_t i = 0; i < TL_LOOP_STAGE_COUNT; i++) {
        const tl_histogram *h = stages[i].spans;
        out[i] = (tl_loop_stage){ .name = stages[i].name,
                                  .count = atomic_load(&h->count),
                                  .sum_seconds = (double)atomic_load(&h->sum_ns) / 1e9,
                                  .p50_seconds = tl_histogram_quantile_ns(h, 0.50) / 1e9,
                                  .p99_seconds = tl_histogram_quantile_ns(h, 0.99) / 1e9 };
    }
}

static double number_of(const tl_json *root, const char *key)
{
    double value;
    return tl_json_number(tl_json_get(root, key), &value) ? value : NAN;
}

/* What a judgement says of itself; NULL when it is not JSON. `arena` is the caller's, empty. */
static const tl_json *parse_judgement(const char *json, tl_json_parser **parser, tl_arena *arena)
{
    const tl_json *root = NULL;
    tl_arena_init(arena, 1 << 16);
    *parser = NULL;
    if (tl_json_parser_create(NULL, parser, NULL) != TL_OK ||
        tl_json_parse(*parser, json, strlen(json), arena, &root, NULL) != TL_OK)
        return NULL;
    return root;
}

static void read_metrics(const char *json, tl_version_info *out)
{
    tl_arena arena;
    tl_json_parser *parser;
    const tl_json *root = parse_judgement(json, &parser, &arena);
    out->window_loss = out->parent_window_loss = NAN;
    if (root != NULL) {
        uint64_t whole;
        out->window_loss = number_of(root, "window_loss");
        out->parent_window_loss = number_of(root, "parent_window_loss");
        if (tl_json_uint64(tl_json_get(root, "labels"), &whole)) out->labels = whole;
        if (tl_json_uint64(tl_json_get(root, "window_count"), &whole))
            out->window_count = (uint32_t)whole;
        if (tl_json_uint64(tl_json_get(root, "golden_count"), &whole))
            out->golden_count = (uint32_t)whole;
        if (tl_json_uint64(tl_json_get(root, "golden_errors"), &whole))
            out->golden_errors = (uint32_t)whole;
        snprintf(out->verdict, sizeof out->verdict, "%s", tl_json_get_text(root, "verdict", ""));
    }
    tl_json_parser_destroy(&parser);
    tl_arena_destroy(&arena);
}

static void read_refusal(const char *json, tl_refusal_info *out)
{
    tl_arena arena;
    tl_json_parser *parser;
    const tl_json *root = parse_judgement(json, &parser, &arena);
    uint64_t labels;
    if (root != NULL) {
        if (tl_json_uint64(tl_json_get(root, "labels"), &labels)) out->labels = labels;
        snprintf(out->verdict, sizeof out->verdict, "%s", tl_json_get_text(root, "verdict", ""));
    }
    tl_json_parser_destroy(&parser);
    tl_arena_destroy(&arena);
}

/* The newest version below a number. */
static tl_status read_version(tl_loop *loop, uint64_t below, tl_version_info *out, tl_error *err)
{
    tl_record record;
    pthread_mutex_lock(&loop->lookup_mutex);
    tl_arena_reset(&loop->lookup.arena);
    tl_status status = tl_journal_next_version(loop->lookup.journal, loop->number, below,
                                               &loop->lookup.arena, &record, err);
    if (status == TL_OK) {
        const tl_version_record *v = &record.as.version;
        *out = (tl_version_info){ .number = v->number,
                                  .parent = v->parent,
                                  .created_us = v->time_us,
                                  .position = v->trained_position };
        snprintf(out->origin, sizeof out->origin, "%s", v->origin);
        read_metrics(v->metrics, out);
    }
    pthread_mutex_unlock(&loop->lookup_mutex);
    return status;
}

static void mark_versions(tl_loop *loop, tl_version_info *versions, size_t count)
{
    tl_model *champion = tl_model_slot_get(loop->model);
    for (size_t i = 0; i < count; i++)
        versions[i].champion = versions[i].number == champion->version;
    tl_model_release(&champion);
    pthread_mutex_lock(&loop->mutex);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < loop->shared.kept_count; j++)
            versions[i].kept = versions[i].kept || versions[i].number == loop->shared.kept[j];
    pthread_mutex_unlock(&loop->mutex);
}

size_t tl_loop_versions(tl_loop *loop, tl_version_info *out, size_t capacity)
{
    uint64_t below = UINT64_MAX;
    size_t count = 0;
    while (count < capacity && below > 1) { /* 0 is the file that the network comes from */
        if (read_version(loop, below, &out[count], NULL) != TL_OK) break;
        below = out[count++].number;
    }
    mark_versions(loop, out, count);
    return count;
}

tl_status tl_loop_version(tl_loop *loop, uint64_t number, tl_version_info *out, tl_error *err)
{
    tl_version_info info = { 0 };
    tl_status status = number == 0 || number == UINT64_MAX
                           ? TL_ENOTFOUND
                           : read_version(loop, number + 1, &info, err);
    if (status == TL_ENOTFOUND || (status == TL_OK && info.number != number))
        return tl_fail(err, TL_ENOTFOUND,
                       "loop \"%s\" has no version %llu; `tightloop versions` lists them",
                       loop->config.info.name, (unsigned long long)number);
    if (status != TL_OK) return status;
    mark_versions(loop, &info, 1);
    *out = info;
    return TL_OK;
}

typedef struct looking {
    tl_standing *standings;
    tl_gate_event *events;
    size_t capacity, count;
} looking;

static void look_at_standings(tl_core *core, void *context)
{
    looking *l = context;
    l->count = tl_core_standings(core, l->standings, l->capacity);
}

static void look_at_events(tl_core *core, void *context)
{
    looking *l = context;
    l->count = tl_core_gate_events(core, l->events, l->capacity);
}

typedef struct estimating {
    tl_estimates *out;
    tl_status status;
    tl_error *err;
} estimating;

static void look_at_estimates(tl_core *core, void *context)
{
    estimating *e = context;
    e->status = tl_core_estimates(core, e->out, e->err);
}

tl_status tl_loop_estimates(tl_loop *loop, tl_estimates *out, tl_error *err)
{
    estimating e = { .out = out, .err = err };
    tl_status status = tl_control_look(loop, look_at_estimates, &e, err);
    return status == TL_OK ? e.status : status;
}

size_t tl_loop_standings(tl_loop *loop, tl_standing *out, size_t capacity)
{
    looking l = { .standings = out, .capacity = capacity };
    return tl_control_look(loop, look_at_standings, &l, NULL) == TL_OK ? l.count : 0;
}

size_t tl_loop_gate_events(tl_loop *loop, tl_gate_event *out, size_t capacity)
{
    looking l = { .events = out, .capacity = capacity };
    return tl_control_look(loop, look_at_events, &l, NULL) == TL_OK ? l.count : 0;
}

size_t tl_loop_refusals(tl_loop *loop, tl_refusal_info *out, size_t capacity)
{
    uint64_t below = UINT64_MAX;
    size_t count = 0;
    while (count < capacity) {
        tl_record record;
        pthread_mutex_lock(&loop->lookup_mutex);
        tl_arena_reset(&loop->lookup.arena);
        tl_status status = tl_journal_next_event(loop->lookup.journal, loop->number, "refuse",
                                                 below, &loop->lookup.arena, &record, NULL);
        if (status == TL_OK) {
            out[count] = (tl_refusal_info){ .position = record.position,
                                            .judged_us = record.as.event.time_us };
            read_refusal(record.as.event.body, &out[count]);
        }
        pthread_mutex_unlock(&loop->lookup_mutex);
        if (status != TL_OK) break;
        below = out[count++].position;
    }
    return count;
}

void tl_event_emit(tl_loop *loop, const tl_record *record)
{
    tl_runtime *runtime = loop->runtime;
    tl_text line;
    tl_text_init(&line, 1 << 16);
    tl_text_puts(&line, "{\"type\":");
    tl_json_write_string(&line, record->as.event.kind);
    tl_text_puts(&line, ",\"loop\":");
    tl_json_write_string(&line, loop->config.info.name);
    tl_text_printf(&line, ",\"position\":%llu,\"time_us\":%lld,\"detail\":%s}",
                   (unsigned long long)record->position, (long long)record->as.event.time_us,
                   record->as.event.body);
    pthread_mutex_lock(&runtime->mutex);
    if (runtime->event_fn != NULL && tl_text_ok(&line))
        runtime->event_fn(runtime->event_context, line.data, line.bytes);
    pthread_mutex_unlock(&runtime->mutex);
    tl_text_destroy(&line);
}

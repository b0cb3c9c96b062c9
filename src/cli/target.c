#include "cli/target.h"

#include "journal/journal.h"
#include "loop/config.h"
#include "server/state_json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_BYTES_MAX = 16 << 20, VERSION_COUNT_MAX = 1000 };

struct tl_target {
    char loop[TL_TEXT_BYTES_MAX];
    tl_client *client;   /* a server, or */
    tl_runtime *runtime; /* a journal */
    tl_loop *handle;
    tl_text text;
    tl_json_parser *parser;
    tl_arena arena;
};

static const char WHO[] = "command line";

/* ---- A journal ------------------------------------------------------------------------------- */

static tl_status open_recorded_loop(tl_runtime *runtime, const char *json, tl_error *err)
{
    tl_loop_config *config = malloc(sizeof *config);
    tl_loop *loop;
    if (config == NULL) return tl_fail(err, TL_ENOMEM, "description of a loop");
    tl_status status = tl_loop_config_read(json, config, err);
    if (status == TL_OK) status = tl_loop_open_recorded(runtime, config, &loop, err);
    free(config);
    return status;
}

tl_status tl_target_open_runtime(const tl_runtime_options *options, tl_runtime **out, tl_error *err)
{
    tl_journal_reader *reader = NULL;
    tl_runtime *runtime = NULL;
    tl_arena arena;
    tl_arena_init(&arena, ANSWER_BYTES_MAX);
    /* The reader comes first: a folder without a journal is not to be made into one. */
    tl_status status = tl_journal_reader_open_path(options->path, &reader, err);
    if (status == TL_OK) status = tl_runtime_open(options, &runtime, err);
    for (uint32_t number = 1; status == TL_OK; number++) {
        const char *name, *config;
        status = tl_journal_loop_info(reader, number, &arena, &name, &config, err);
        if (status == TL_OK)
            status = open_recorded_loop(runtime, config, err);
        else if (status == TL_ENOTFOUND) {
            status = TL_OK;
            break;
        }
    }
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    if (status != TL_OK) {
        tl_runtime_close(&runtime);
        return status;
    }
    *out = runtime;
    return TL_OK;
}

static tl_status pick_local_loop(tl_target *target, const char *wanted, tl_error *err)
{
    tl_loop_info info;
    target->handle = wanted != NULL ? tl_runtime_loop(target->runtime, wanted)
                                    : tl_runtime_loop_at(target->runtime, 0);
    if (target->handle == NULL && wanted != NULL)
        return tl_fail(err, TL_ENOTFOUND, "the journal has no loop \"%.64s\"", wanted);
    if (target->handle == NULL) return tl_fail(err, TL_ENOTFOUND, "the journal has no loops");
    if (wanted == NULL && tl_runtime_loop_at(target->runtime, 1) != NULL)
        return tl_fail(err, TL_EINVAL, "the journal has several loops; name one with --loop");
    tl_loop_describe(target->handle, &info);
    strcpy(target->loop, info.name);
    return TL_OK;
}

static tl_status open_journal(tl_target *target, const tl_target_options *options, bool changes,
                              tl_error *err)
{
    tl_config *config;
    tl_status status = tl_command_config(options->config, options->journal,
                                         options->journal != NULL, &config, err);
    if (status != TL_OK) return status;
    tl_runtime_options runtime_options = config->runtime;
    runtime_options.read_only = !changes;
    status = tl_target_open_runtime(&runtime_options, &target->runtime, err);
    tl_config_destroy(&config);
    if (status == TL_EBUSY)
        return tl_fail(err, status, "a server has this journal open; use --url with its address");
    return status == TL_OK ? pick_local_loop(target, options->loop, err) : status;
}

/* ---- Lifecycle ------------------------------------------------------------------------------- */

tl_status tl_target_open(const tl_target_options *options, bool changes, tl_target **out,
                         tl_error *err)
{
    tl_target *target = calloc(1, sizeof *target);
    if (target == NULL) return tl_fail(err, TL_ENOMEM, "target");
    tl_text_init(&target->text, ANSWER_BYTES_MAX);
    tl_arena_init(&target->arena, ANSWER_BYTES_MAX);
    tl_status status = tl_json_parser_create(NULL, &target->parser, err);
    if (status == TL_OK && options->url != NULL) {
        status = tl_command_connect(options->url, options->token, &target->client, err);
        if (status == TL_OK)
            status = tl_command_pick_loop(target->client, options->loop, target->loop, err);
    } else if (status == TL_OK) {
        status = open_journal(target, options, changes, err);
    }
    if (status != TL_OK) {
        tl_target_close(&target);
        return status;
    }
    *out = target;
    return TL_OK;
}

void tl_target_close(tl_target **target)
{
    if (*target == NULL) return;
    tl_client_close(&(*target)->client);
    tl_runtime_close(&(*target)->runtime);
    tl_json_parser_destroy(&(*target)->parser);
    tl_arena_destroy(&(*target)->arena);
    tl_text_destroy(&(*target)->text);
    free(*target);
    *target = NULL;
}

/* ---- Questions and changes ------------------------------------------------------------------- */

static tl_status ask_server(tl_target *target, const char *method, const char *body,
                            tl_target_answer *out, tl_error *err, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

static tl_status ask_server(tl_target *target, const char *method, const char *body,
                            tl_target_answer *out, tl_error *err, const char *format, ...)
{
    char path[400];
    int start = snprintf(path, sizeof path, "/v2/models/%s", target->loop);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path + start, sizeof path - (size_t)start, format, arguments);
    va_end(arguments);
    tl_client_answer answer;
    tl_status status = tl_client_call(target->client, method, path, body, &answer, err);
    if (status != TL_OK) return status;
    if (answer.json == NULL)
        return tl_fail(err, TL_EINVAL,
                       "the server's answer is not JSON; is it a tightloop server?");
    *out = (tl_target_answer){ answer.body, answer.bytes, answer.json };
    return TL_OK;
}

/* target->text was written: parse it, so that both ways look the same. */
static tl_status give_text(tl_target *target, tl_target_answer *out, tl_error *err)
{
    if (!tl_text_ok(&target->text)) return tl_fail(err, TL_ENOMEM, "answer");
    tl_arena_reset(&target->arena);
    *out = (tl_target_answer){ target->text.data, target->text.bytes, NULL };
    return tl_json_parse(target->parser, out->text, out->bytes, &target->arena, &out->json, err);
}

static tl_status give_state(tl_target *target, tl_target_answer *out, tl_error *err)
{
    tl_loop_state state;
    tl_json_writer w;
    tl_loop_status(target->handle, &state);
    tl_text_clear(&target->text);
    tl_json_begin(&w, &target->text);
    tl_status status = tl_state_write(&w, target->loop, &state, target->handle, err);
    return status == TL_OK ? give_text(target, out, err) : status;
}

tl_status tl_target_state(tl_target *target, tl_target_answer *out, tl_error *err)
{
    if (target->client != NULL) return ask_server(target, "GET", NULL, out, err, "/loop");
    return give_state(target, out, err);
}

tl_status tl_target_versions(tl_target *target, uint32_t limit, tl_target_answer *out,
                             tl_error *err)
{
    TL_ASSERT(limit <= VERSION_COUNT_MAX);
    if (target->client != NULL)
        return ask_server(target, "GET", NULL, out, err, "/versions?limit=%" PRIu32, limit);
    tl_json_writer w;
    tl_text_clear(&target->text);
    tl_json_begin(&w, &target->text);
    tl_status status = tl_versions_write(&w, target->handle, limit, err);
    return status == TL_OK ? give_text(target, out, err) : status;
}

tl_status tl_target_explain(tl_target *target, uint64_t version, tl_target_answer *out,
                            tl_error *err)
{
    if (target->client != NULL)
        return ask_server(target, "GET", NULL, out, err, "/versions/%" PRIu64 "/explain", version);
    tl_json_writer w;
    tl_text_clear(&target->text);
    tl_json_begin(&w, &target->text);
    tl_status status = tl_explanation_write(&w, target->loop, target->handle, version, err);
    return status == TL_OK ? give_text(target, out, err) : status;
}

/* As it may stand in a query (RFC 3986, 2.1); nothing for NULL. */
static void quote(const char *text, char out[3 * TL_TEXT_BYTES_MAX])
{
    char *end = out;
    for (size_t i = 0; text != NULL && text[i] != '\0' && i < TL_TEXT_BYTES_MAX - 1; i++)
        end += sprintf(end, "%%%02X", (unsigned char)text[i]);
    *end = '\0';
}

tl_status tl_target_reviews(tl_target *target, const char *person, uint32_t limit,
                            tl_target_answer *out, tl_error *err)
{
    char name[3 * TL_TEXT_BYTES_MAX];
    quote(person, name);
    if (target->client != NULL)
        return ask_server(target, "GET", NULL, out, err, "/review?limit=%" PRIu32 "%s%s", limit,
                          person != NULL ? "&person=" : "", name);
    tl_json_writer w;
    tl_text_clear(&target->text);
    tl_json_begin(&w, &target->text);
    tl_status status = tl_reviews_write(&w, target->handle, person, limit, err);
    return status == TL_OK ? give_text(target, out, err) : status;
}

tl_status tl_target_report(tl_target *target, const char *by, const char *query,
                           tl_target_answer *out, tl_error *err)
{
    TL_ASSERT(target->client != NULL);
    return ask_server(target, "GET", NULL, out, err, "/report?by=%s%s", by, query);
}

tl_status tl_target_challenge(tl_target *target, uint64_t version, tl_target_answer *out,
                              tl_error *err)
{
    if (target->client != NULL)
        return ask_server(target, "POST", NULL, out, err, "/versions/%" PRIu64 "/challenge",
                          version);
    tl_status status = tl_loop_challenge(target->handle, version, WHO, err);
    return status == TL_OK ? tl_target_state(target, out, err) : status;
}

tl_status tl_target_promote(tl_target *target, uint64_t version, tl_target_answer *out,
                            tl_error *err)
{
    if (target->client != NULL)
        return ask_server(target, "POST", NULL, out, err, "/versions/%" PRIu64 "/promote", version);
    tl_status status = tl_loop_promote(target->handle, version, WHO, err);
    return status == TL_OK ? give_state(target, out, err) : status;
}

tl_status tl_target_rollback(tl_target *target, uint64_t version, tl_target_answer *out,
                             tl_error *err)
{
    char body[48] = "{}";
    if (version > 0) snprintf(body, sizeof body, "{\"version\":%" PRIu64 "}", version);
    if (target->client != NULL) return ask_server(target, "POST", body, out, err, "/rollback");
    tl_status status = tl_loop_rollback(target->handle, version, WHO, err);
    return status == TL_OK ? give_state(target, out, err) : status;
}

tl_status tl_target_set_frozen(tl_target *target, bool on, tl_target_answer *out, tl_error *err)
{
    if (target->client != NULL)
        return ask_server(target, "POST", on ? "{\"on\":true}" : "{\"on\":false}", out, err,
                          "/frozen");
    tl_status status = tl_loop_set_frozen(target->handle, on, WHO, err);
    return status == TL_OK ? give_state(target, out, err) : status;
}

tl_status tl_target_set_learning(tl_target *target, bool on, tl_target_answer *out, tl_error *err)
{
    const char *body = on ? "{\"on\":true}" : "{\"on\":false}";
    if (target->client != NULL) return ask_server(target, "POST", body, out, err, "/learning");
    tl_status status = tl_loop_set_learning(target->handle, on, WHO, err);
    return status == TL_OK ? give_state(target, out, err) : status;
}

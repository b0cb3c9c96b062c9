/* control.c - the state of a loop, and its control by hand. */
#include "server/internal.h"
#include "server/state_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSIONS_DEFAULT = 50, VERSIONS_MAX = 1000, GOLDEN_MAX = 100000 };

/* ---- The state ------------------------------------------------------------------------------- */

static void write_id(tl_json_writer *w, tl_id id)
{
    char text[TL_ID_TEXT_BYTES];
    tl_id_format(id, text);
    tl_json_string(w, text);
}

/* The state after a change is its answer. */
static tl_status answer_state(tl_request *request, tl_error *err)
{
    tl_loop_info info;
    tl_loop_state state;
    tl_loop_describe(request->loop, &info);
    tl_loop_status(request->loop, &state);
    tl_json_writer w;
    tl_json_begin(&w, &request->text);
    return tl_state_write(&w, info.name, &state, request->loop, err);
}

tl_status tl_loop_state_handle(tl_request *request, tl_error *err)
{
    return answer_state(request, err);
}

tl_status tl_explain_handle(tl_request *request, tl_error *err)
{
    tl_json_writer w;
    tl_json_begin(&w, &request->text);
    return tl_explanation_write(&w, request->match.loop, request->loop, request->version, err);
}

tl_status tl_versions_handle(tl_request *request, tl_error *err)
{
    size_t capacity;
    tl_status status = tl_limit_read(request, VERSIONS_DEFAULT, VERSIONS_MAX, &capacity, err);
    if (status != TL_OK) return status;
    tl_json_writer w;
    tl_json_begin(&w, &request->text);
    return tl_versions_write(&w, request->loop, capacity, err);
}

/* ---- Changes --------------------------------------------------------------------------------- */

tl_status tl_promote_handle(tl_request *request, tl_error *err)
{
    tl_status status = tl_loop_promote(request->loop, request->version, request->source, err);
    return status == TL_OK ? answer_state(request, err) : status;
}

tl_status tl_challenge_handle(tl_request *request, tl_error *err)
{
    tl_status status = tl_loop_challenge(request->loop, request->version, request->source, err);
    return status == TL_OK ? answer_state(request, err) : status;
}

/* Run `change` with the parsed body (NULL when that is empty and `optional`). */
static tl_status with_body(tl_request *request, bool optional,
                           tl_status (*change)(tl_request *request, const tl_json *body,
                                               tl_error *err),
                           tl_error *err)
{
    tl_scratch *scratch = tl_scratch_take(request->server, err);
    if (scratch == NULL) return TL_ENOMEM;
    const tl_json *body;
    tl_status status = tl_request_json(request, scratch, optional, &body, err);
    if (status == TL_OK && body != NULL && body->kind != TL_JSON_OBJECT)
        status = tl_fail(err, TL_EINVAL, "the body must be a JSON object");
    if (status == TL_OK) status = change(request, body, err);
    tl_scratch_give(request->server, scratch);
    return status;
}

static tl_status roll_back(tl_request *request, const tl_json *body, tl_error *err)
{
    uint64_t version = 0;
    const tl_json *wanted = tl_json_get(body, "version");
    if (wanted != NULL && (!tl_json_uint64(wanted, &version) || version == 0))
        return tl_fail(err, TL_EINVAL,
                       "\"version\" must be the number of a kept version; left out, it is the "
                       "champion before this one");
    return tl_loop_rollback(request->loop, version, request->source, err);
}

tl_status tl_rollback_handle(tl_request *request, tl_error *err)
{
    tl_status status = with_body(request, true, roll_back, err);
    return status == TL_OK ? answer_state(request, err) : status;
}

static tl_status read_on(const tl_json *body, bool *out, tl_error *err)
{
    if (tl_json_bool(tl_json_get(body, "on"), out)) return TL_OK;
    return tl_fail(err, TL_EINVAL, "the body must be {\"on\": true} or {\"on\": false}");
}

static tl_status set_learning(tl_request *request, const tl_json *body, tl_error *err)
{
    bool on;
    tl_status status = read_on(body, &on, err);
    return status == TL_OK ? tl_loop_set_learning(request->loop, on, request->source, err) : status;
}

static tl_status set_frozen(tl_request *request, const tl_json *body, tl_error *err)
{
    bool on;
    tl_status status = read_on(body, &on, err);
    return status == TL_OK ? tl_loop_set_frozen(request->loop, on, request->source, err) : status;
}

tl_status tl_frozen_handle(tl_request *request, tl_error *err)
{
    tl_status status = with_body(request, false, set_frozen, err);
    return status == TL_OK ? answer_state(request, err) : status;
}

tl_status tl_learning_handle(tl_request *request, tl_error *err)
{
    tl_status status = with_body(request, false, set_learning, err);
    return status == TL_OK ? answer_state(request, err) : status;
}

static tl_status add_class(tl_request *request, const tl_json *body, tl_error *err)
{
    const char *name;
    if (!tl_json_text(tl_json_get(body, "name"), &name) || name[0] == '\0' ||
        strlen(name) >= TL_TEXT_BYTES_MAX)
        return tl_fail(err, TL_EINVAL,
                       "the body must be {\"name\": \"...\"} with a name of 1 to %d bytes",
                       TL_TEXT_BYTES_MAX - 1);
    return tl_loop_add_class(request->loop, name, request->source, err);
}

tl_status tl_classes_handle(tl_request *request, tl_error *err)
{
    tl_status status = with_body(request, false, add_class, err);
    if (status != TL_OK) return status;
    tl_loop_info info;
    tl_loop_describe(request->loop, &info);
    tl_json_writer w;
    tl_json_begin(&w, &request->text);
    tl_json_object(&w);
    tl_json_key(&w, "classes");
    tl_json_array(&w);
    for (size_t i = 0; i < info.class_count; i++) tl_json_string(&w, info.classes[i]);
    tl_json_array_end(&w);
    tl_json_object_end(&w);
    return TL_OK;
}

/* ---- The golden set -------------------------------------------------------------------------- */

static tl_status read_id(const tl_json *value, tl_id *out, tl_error *err)
{
    const char *text;
    if (tl_json_text(value, &text) && tl_id_parse(text, strlen(text), out) == TL_OK &&
        !tl_id_is_none(*out))
        return TL_OK;
    return tl_fail(err, TL_EINVAL, "\"prediction_id\" must be the id of a prediction");
}

static tl_status golden_add(tl_request *request, const tl_json *body, tl_error *err)
{
    tl_id id;
    tl_status status = read_id(tl_json_get(body, "prediction_id"), &id, err);
    return status == TL_OK ? tl_loop_golden_add(request->loop, id, request->source, err) : status;
}

static tl_status golden_remove(tl_request *request, const tl_json *body, tl_error *err)
{
    tl_id id;
    tl_status status = read_id(tl_json_get(body, "prediction_id"), &id, err);
    return status == TL_OK ? tl_loop_golden_remove(request->loop, id, request->source, err)
                           : status;
}

tl_status tl_golden_list_handle(tl_request *request, tl_error *err)
{
    size_t capacity = tl_loop_golden(request->loop, NULL, 0);
    if (capacity > GOLDEN_MAX) capacity = GOLDEN_MAX;
    tl_id *ids = calloc(capacity + 1, sizeof *ids);
    if (ids == NULL) return tl_fail(err, TL_ENOMEM, "out of memory; try again");
    size_t count = tl_loop_golden(request->loop, ids, capacity);
    tl_json_writer w;
    tl_json_begin(&w, &request->text);
    tl_json_object(&w);
    tl_json_key(&w, "count");
    tl_json_uint(&w, count);
    tl_json_key(&w, "prediction_ids");
    tl_json_array(&w);
    for (size_t i = 0; i < count && i < capacity; i++) write_id(&w, ids[i]);
    tl_json_array_end(&w);
    tl_json_object_end(&w);
    free(ids);
    return TL_OK;
}

tl_status tl_golden_add_handle(tl_request *request, tl_error *err)
{
    tl_status status = with_body(request, false, golden_add, err);
    return status == TL_OK ? tl_golden_list_handle(request, err) : status;
}

tl_status tl_golden_remove_handle(tl_request *request, tl_error *err)
{
    tl_status status = with_body(request, false, golden_remove, err);
    return status == TL_OK ? tl_golden_list_handle(request, err) : status;
}

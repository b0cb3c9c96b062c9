/* feedback.c - POST .../feedback. */
#include "server/api/feedback_read.h"
#include "server/internal.h"

#include <string.h>

/* The answer names each prediction again: so its id is kept beside the result. */
typedef struct entry {
    tl_id prediction_id;
    tl_feedback_result result;
} entry;

static void learned(void *context, tl_status status, const tl_feedback_result *results,
                    size_t count, const tl_error *err)
{
    tl_request *request = context;
    request->status = status;
    if (status == TL_OK) {
        TL_ASSERT(count == request->result_count);
        entry *entries = request->results;
        for (size_t i = 0; i < count; i++) entries[i].result = results[i];
    } else if (err != NULL) {
        request->error = *err;
    } else {
        tl_fail(&request->error, status, "%s", tl_status_text(status));
    }
    tl_request_finish(request);
}

static tl_status submit(tl_request *request, tl_scratch *scratch, const tl_feedback_body *body,
                        tl_error *err)
{
    tl_feedback_request feedback = { .items = body->items, .count = body->count };
    tl_status status = tl_request_key(request, body->request_id, &scratch->arena,
                                      &feedback.request_id, feedback.body_hash, err);
    if (status != TL_OK) return status;
    if (!tl_request_results_reserve(request, body->count * sizeof(entry)))
        return tl_fail(err, TL_ENOMEM, "out of memory for the answer; try again");
    entry *entries = request->results;
    for (size_t i = 0; i < body->count; i++)
        entries[i].prediction_id = body->items[i].prediction_id;
    request->result_count = body->count;
    tl_request_suspend(request);
    status = tl_loop_feedback_async(request->loop, &feedback, learned, request, err);
    if (status == TL_OK) return TL_OK;
    request->status = status; /* it will not be called: wake the connection ourselves */
    tl_request_resume(request);
    return status;
}

tl_status tl_feedback_handle(tl_request *request, tl_error *err)
{
    tl_scratch *scratch = tl_scratch_take(request->server, err);
    if (scratch == NULL) return TL_ENOMEM;
    const tl_json *root;
    tl_feedback_body body;
    tl_status status = tl_request_json(request, scratch, false, &root, err);
    if (status == TL_OK)
        status = tl_feedback_read(root, request->source, &scratch->arena, &body, err);
    if (status == TL_OK) status = submit(request, scratch, &body, err);
    tl_scratch_give(request->server, scratch);
    tl_request_body_release(request);
    return status;
}

tl_status tl_feedback_finish(tl_request *request, tl_error *err)
{
    (void)err;
    const entry *entries = request->results;
    bool all_pending = true;
    tl_json_writer w;
    tl_json_begin(&w, &request->text);
    tl_json_object(&w);
    tl_json_key(&w, "feedback");
    tl_json_array(&w);
    for (size_t i = 0; i < request->result_count; i++) {
        const tl_feedback_result *result = &entries[i].result;
        char id[TL_ID_TEXT_BYTES];
        tl_id_format(entries[i].prediction_id, id);
        tl_json_object(&w);
        tl_json_key(&w, "prediction_id");
        tl_json_string(&w, id);
        tl_json_key(&w, "state");
        tl_json_string(&w, tl_feedback_state_text(result->state));
        tl_json_key(&w, "position");
        tl_json_uint(&w, result->position);
        tl_json_key(&w, "epoch");
        tl_json_uint(&w, result->epoch);
        tl_json_object_end(&w);
        if (result->state != TL_FEEDBACK_PENDING) all_pending = false;
    }
    tl_json_array_end(&w);
    tl_json_object_end(&w);
    request->code = all_pending ? MHD_HTTP_ACCEPTED : MHD_HTTP_OK;
    return TL_OK;
}

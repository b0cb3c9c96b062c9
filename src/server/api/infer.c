/* infer.c - POST .../infer: from the body to the loop, and from its predictions to the answer. */
#include "server/internal.h"

#include <stdlib.h>
#include <string.h>

/* On a thread of the loop: keep the predictions, and wake the connection. */
static void predicted(void *context, tl_status status, const tl_prediction *predictions,
                      size_t count, const tl_error *err)
{
    tl_request *request = context;
    request->status = status;
    if (status == TL_OK) {
        TL_ASSERT(count * sizeof *predictions <= request->results_capacity);
        memcpy(request->results, predictions, count * sizeof *predictions);
        request->result_count = count;
    } else if (err != NULL) {
        request->error = *err;
    } else {
        tl_fail(&request->error, status, "%s", tl_status_text(status));
    }
    tl_request_finish(request);
}

/* Length of the JSON part of the body. */
static tl_status json_bytes_of(tl_request *request, size_t *out, tl_error *err)
{
    const char *value = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                    "Inference-Header-Content-Length");
    *out = request->body_bytes;
    if (value == NULL) return TL_OK;
    size_t digits = strlen(value);
    if (digits == 0 || digits > 12 || strspn(value, "0123456789") != digits)
        return tl_fail(err, TL_EINVAL, "Inference-Header-Content-Length must be a whole number");
    unsigned long long bytes = strtoull(value, NULL, 10);
    if (bytes > request->body_bytes)
        return tl_fail(err, TL_EINVAL,
                       "Inference-Header-Content-Length is %llu, but the body has %zu bytes", bytes,
                       request->body_bytes);
    *out = (size_t)bytes;
    return TL_OK;
}

static tl_status submit(tl_request *request, tl_scratch *scratch, const tl_infer_request *infer,
                        tl_error *err)
{
    tl_predict_request predict = { .items = infer->items,
                                   .count = infer->count,
                                   .version = request->version };
    if (predict.version == 0) predict.version = infer->version;
    if (request->version != 0 && infer->version != 0 && infer->version != request->version)
        return tl_fail(err, TL_EINVAL, "the path asks for version %llu, the parameters for %llu",
                       (unsigned long long)request->version, (unsigned long long)infer->version);
    tl_status status = tl_request_key(request, infer->request_id, &scratch->arena,
                                      &predict.request_id, predict.body_hash, err);
    if (status != TL_OK) return status;
    if (!tl_request_results_reserve(request, infer->count * sizeof(tl_prediction)))
        return tl_fail(err, TL_ENOMEM, "out of memory for the answer; try again");
    request->form = infer->form;
    tl_request_suspend(request);
    status = tl_loop_predict_async(request->loop, &predict, predicted, request, err);
    if (status == TL_OK) return TL_OK;
    request->status = status; /* it will not be called: wake the connection ourselves */
    tl_request_resume(request);
    return status;
}

tl_status tl_infer_handle(tl_request *request, tl_error *err)
{
    size_t json_bytes;
    tl_status status = json_bytes_of(request, &json_bytes, err);
    if (status != TL_OK) return status;
    tl_scratch *scratch = tl_scratch_take(request->server, err);
    if (scratch == NULL) return TL_ENOMEM;
    tl_loop_info info;
    tl_loop_describe(request->loop, &info);
    tl_infer_request infer;
    status = tl_infer_read(scratch->parser, &scratch->arena, &info,
                           request->body != NULL ? request->body : "", request->body_bytes,
                           json_bytes, &infer, err);
    if (status == TL_OK) status = submit(request, scratch, &infer, err);
    tl_scratch_give(request->server, scratch);
    tl_request_body_release(request); /* the loop has copied what it needs */
    return status;
}

tl_status tl_infer_finish(tl_request *request, tl_error *err)
{
    (void)err;
    tl_loop_info info;
    tl_loop_describe(request->loop, &info);
    request->json_bytes = tl_infer_write(&request->form, &info, request->results,
                                         request->result_count, &request->text);
    if (tl_infer_is_binary(&request->form)) request->content_type = "application/octet-stream";
    return TL_OK;
}

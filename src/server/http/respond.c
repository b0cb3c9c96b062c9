/* respond.c - answers and errors onto the wire. */
#include "server/internal.h"

#include <stdio.h>
#include <string.h>

unsigned tl_http_code(tl_status status)
{
    switch (status) {
    case TL_OK: return MHD_HTTP_OK;
    case TL_EINVAL:
    case TL_ESHAPE: return MHD_HTTP_BAD_REQUEST;
    case TL_EPERM: return MHD_HTTP_FORBIDDEN;
    case TL_ENOTFOUND: return MHD_HTTP_NOT_FOUND;
    case TL_ECONFLICT: return MHD_HTTP_CONFLICT;
    case TL_ELIMIT: return MHD_HTTP_CONTENT_TOO_LARGE;
    case TL_EUNSUPPORTED: return MHD_HTTP_UNPROCESSABLE_CONTENT;
    case TL_ENOMEM:
    case TL_EFULL:
    case TL_EBUSY:
    case TL_ECLOSED: return MHD_HTTP_SERVICE_UNAVAILABLE;
    case TL_ENOSPC: return MHD_HTTP_INSUFFICIENT_STORAGE;
    default: return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

void tl_respond_error(tl_request *request, unsigned code, const tl_error *err)
{
    tl_text *text = &request->text;
    tl_text_clear(text);
    tl_text_puts(text, "{\"error\":");
    tl_json_write_string(text, err->text[0] != '\0' ? err->text : tl_status_text(err->status));
    tl_text_puts(text, "}");
    request->code = code;
    request->content_type = NULL;
    request->static_body = NULL;
    request->json_bytes = 0;
    request->response = NULL;
}

static void add(struct MHD_Response *response, const char *name, const char *value)
{
    /* Fails only when out of memory; the body is still right then. */
    (void)MHD_add_response_header(response, name, value);
}

static void add_by_code(const tl_request *request, struct MHD_Response *response)
{
    char allowed[64];
    switch (request->code) {
    case MHD_HTTP_NO_CONTENT:
    case MHD_HTTP_METHOD_NOT_ALLOWED:
        tl_route_allowed_text(request->match.allowed, allowed);
        add(response, MHD_HTTP_HEADER_ALLOW, allowed);
        break;
    case MHD_HTTP_UNAUTHORIZED:
        add(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"tightloop\"");
        break;
    case MHD_HTTP_SERVICE_UNAVAILABLE: add(response, MHD_HTTP_HEADER_RETRY_AFTER, "1"); break;
    default: break;
    }
}

static struct MHD_Response *response_make(tl_request *request)
{
    if (request->response != NULL) return request->response;
    const char *body = request->static_body != NULL ? request->static_body : request->text.data;
    size_t bytes = request->static_body != NULL ? strlen(body) : request->text.bytes;
    if (body == NULL) body = "";
    /* Not copied: the request outlives the sending (tl_connection_completed gives it back). */
    union {
        const char *text;
        void *data;
    } borrowed = { .text = body };
    return MHD_create_response_from_buffer(bytes, borrowed.data, MHD_RESPMEM_PERSISTENT);
}

static void add_headers(tl_request *request, struct MHD_Response *response)
{
    const char *type = request->content_type;
    if (request->code != MHD_HTTP_NO_CONTENT)
        add(response, MHD_HTTP_HEADER_CONTENT_TYPE, type != NULL ? type : "application/json");
    if (request->json_bytes > 0) {
        char bytes[24];
        snprintf(bytes, sizeof bytes, "%zu", request->json_bytes);
        add(response, "Inference-Header-Content-Length", bytes);
    }
    if (request->cache_control != NULL)
        add(response, MHD_HTTP_HEADER_CACHE_CONTROL, request->cache_control);
    if (request->content_policy != NULL)
        add(response, "Content-Security-Policy", request->content_policy);
    if (atomic_load_explicit(&request->server->stopping, memory_order_relaxed))
        add(response, MHD_HTTP_HEADER_CONNECTION, "close");
    add_by_code(request, response);
}

enum MHD_Result tl_respond(tl_request *request)
{
    if (!tl_text_ok(&request->text)) {
        tl_error err;
        tl_text_destroy(&request->text);
        tl_fail(&err, TL_ENOMEM, "out of memory for the answer; try again");
        tl_respond_error(request, tl_http_code(TL_ENOMEM), &err);
    }
    struct MHD_Response *response = response_make(request);
    if (response == NULL) return MHD_NO;
    add_headers(request, response);
    request->stage = TL_STAGE_ANSWERED;
    enum MHD_Result queued = MHD_queue_response(request->connection, request->code, response);
    MHD_destroy_response(response); /* drops our reference */
    request->response = NULL;
    return queued;
}

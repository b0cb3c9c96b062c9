/* routes.c - which handler answers which method and path. docs/http.md follows this table. */
#include "server/internal.h"

#include <string.h>

#define MODEL "/v2/models/{loop}"

/* The hot ones first. */
static const tl_route routes[] = {
    { TL_METHOD_POST, MODEL "/infer", "infer", TL_RIGHT_PREDICT, TL_ROUTE_ASYNC, tl_infer_handle,
      tl_infer_finish },
    { TL_METHOD_POST, MODEL "/feedback", "feedback", TL_RIGHT_FEEDBACK, TL_ROUTE_ASYNC,
      tl_feedback_handle, tl_feedback_finish },
    { TL_METHOD_POST, MODEL "/versions/{version}/infer", "infer_version", TL_RIGHT_PREDICT,
      TL_ROUTE_ASYNC, tl_infer_handle, tl_infer_finish },
    { TL_METHOD_GET, "/v2/health/live", "live", TL_ACCESS_OPEN, TL_ROUTE_INLINE, tl_live_handle,
      NULL },
    { TL_METHOD_GET, "/v2/health/ready", "ready", TL_ACCESS_OPEN, TL_ROUTE_INLINE, tl_ready_handle,
      NULL },
    { TL_METHOD_GET, "/v2", "server", TL_ACCESS_TOKEN, TL_ROUTE_INLINE, tl_server_metadata_handle,
      NULL },
    { TL_METHOD_GET, MODEL "/ready", "model_ready", TL_ACCESS_TOKEN, TL_ROUTE_READ,
      tl_model_ready_handle, NULL },
    { TL_METHOD_GET, MODEL, "model", TL_ACCESS_TOKEN, TL_ROUTE_READ, tl_model_handle, NULL },
    { TL_METHOD_GET, MODEL "/versions/{version}/ready", "version_ready", TL_ACCESS_TOKEN,
      TL_ROUTE_READ, tl_model_ready_handle, NULL },
    { TL_METHOD_GET, MODEL "/versions/{version}", "version", TL_ACCESS_TOKEN, TL_ROUTE_READ,
      tl_model_handle, NULL },
    { TL_METHOD_GET, MODEL "/loop", "loop", TL_ACCESS_TOKEN, TL_ROUTE_READ, tl_loop_state_handle,
      NULL },
    { TL_METHOD_GET, MODEL "/versions", "versions", TL_ACCESS_TOKEN, TL_ROUTE_READ,
      tl_versions_handle, NULL },
    { TL_METHOD_GET, MODEL "/versions/{version}/explain", "explain", TL_ACCESS_TOKEN, TL_ROUTE_READ,
      tl_explain_handle, NULL },
    { TL_METHOD_GET, MODEL "/review", "review", TL_ACCESS_TOKEN, TL_ROUTE_READ, tl_reviews_handle,
      NULL },
    /* Reads the whole journal: not on the worker that others wait for. */
    { TL_METHOD_GET, MODEL "/report", "report", TL_ACCESS_TOKEN, TL_ROUTE_CONTROL, tl_report_handle,
      NULL },
    { TL_METHOD_POST, MODEL "/versions/{version}/promote", "promote", TL_RIGHT_ADMIN,
      TL_ROUTE_CONTROL, tl_promote_handle, NULL },
    { TL_METHOD_POST, MODEL "/versions/{version}/challenge", "challenge", TL_RIGHT_ADMIN,
      TL_ROUTE_CONTROL, tl_challenge_handle, NULL },
    { TL_METHOD_POST, MODEL "/rollback", "rollback", TL_RIGHT_ADMIN, TL_ROUTE_CONTROL,
      tl_rollback_handle, NULL },
    { TL_METHOD_POST, MODEL "/learning", "learning", TL_RIGHT_ADMIN, TL_ROUTE_CONTROL,
      tl_learning_handle, NULL },
    { TL_METHOD_POST, MODEL "/frozen", "frozen", TL_RIGHT_ADMIN, TL_ROUTE_CONTROL, tl_frozen_handle,
      NULL },
    { TL_METHOD_POST, MODEL "/classes", "classes", TL_RIGHT_ADMIN, TL_ROUTE_CONTROL,
      tl_classes_handle, NULL },
    { TL_METHOD_GET, MODEL "/golden", "golden_list", TL_ACCESS_TOKEN, TL_ROUTE_READ,
      tl_golden_list_handle, NULL },
    { TL_METHOD_POST, MODEL "/golden", "golden_add", TL_RIGHT_ADMIN, TL_ROUTE_CONTROL,
      tl_golden_add_handle, NULL },
    { TL_METHOD_DELETE, MODEL "/golden", "golden_remove", TL_RIGHT_ADMIN, TL_ROUTE_CONTROL,
      tl_golden_remove_handle, NULL },
    { TL_METHOD_POST, "/v2/repository/index", "index", TL_ACCESS_TOKEN, TL_ROUTE_READ,
      tl_index_handle, NULL },
    { TL_METHOD_POST, "/v2/repository/models/{loop}/load", "load", TL_RIGHT_ADMIN, TL_ROUTE_INLINE,
      tl_load_handle, NULL },
    { TL_METHOD_POST, "/v2/repository/models/{loop}/unload", "unload", TL_RIGHT_ADMIN,
      TL_ROUTE_INLINE, tl_unload_handle, NULL },
    { TL_METHOD_GET, "/metrics", "metrics", TL_ACCESS_METRICS, TL_ROUTE_READ, tl_metrics_handle,
      NULL },
    { TL_METHOD_GET, "/events", "events", TL_ACCESS_TOKEN, TL_ROUTE_INLINE, tl_events_handle,
      NULL },
    { TL_METHOD_GET, "/", "page", TL_ACCESS_OPEN, TL_ROUTE_INLINE, tl_page_handle, NULL },
    { TL_METHOD_GET, "/page.js", "page_script", TL_ACCESS_OPEN, TL_ROUTE_INLINE,
      tl_page_script_handle, NULL },
};
_Static_assert(TL_COUNT_OF(routes) < TL_ROUTE_COUNT_MAX, "one slot is for unknown paths");

/* Copy one segment of the path; false when it is empty or too long to name anything. */
static bool capture(const char *path, size_t bytes, char out[TL_TEXT_BYTES_MAX])
{
    if (bytes == 0 || bytes >= TL_TEXT_BYTES_MAX) return false;
    memcpy(out, path, bytes);
    out[bytes] = '\0';
    return true;
}

static bool path_fits(const char *pattern, const char *path, tl_route_match *out)
{
    out->loop[0] = out->version[0] = '\0';
    while (*pattern != '\0') {
        if (*pattern != '{') {
            if (*pattern++ != *path++) return false;
            continue;
        }
        size_t bytes = strcspn(path, "/");
        if (!capture(path, bytes, pattern[1] == 'l' ? out->loop : out->version)) return false;
        path += bytes;
        pattern += strcspn(pattern, "}") + 1;
    }
    return *path == '\0' || (path[0] == '/' && path[1] == '\0');
}

static unsigned method_of(const char *method)
{
    if (strcmp(method, "POST") == 0) return TL_METHOD_POST;
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) return TL_METHOD_GET;
    if (strcmp(method, "DELETE") == 0) return TL_METHOD_DELETE;
    if (strcmp(method, "OPTIONS") == 0) return TL_METHOD_OPTIONS;
    return 0;
}

void tl_route_find(const char *method, const char *path, tl_route_match *out)
{
    unsigned wanted = method_of(method);
    out->route = NULL;
    out->allowed = 0;
    for (size_t i = 0; i < TL_COUNT_OF(routes); i++) {
        if (!path_fits(routes[i].pattern, path, out)) continue;
        if (routes[i].method == wanted) {
            out->route = &routes[i];
            return;
        }
        out->allowed |= routes[i].method;
    }
}

size_t tl_route_index(const tl_route *route)
{
    return route == NULL ? TL_COUNT_OF(routes) : (size_t)(route - routes);
}

const tl_route *tl_route_at(size_t index)
{
    return index < TL_COUNT_OF(routes) ? &routes[index] : NULL;
}

void tl_route_allowed_text(unsigned allowed, char text[64])
{
    text[0] = '\0';
    if (allowed & TL_METHOD_GET) strcat(text, "GET, HEAD, ");
    if (allowed & TL_METHOD_POST) strcat(text, "POST, ");
    if (allowed & TL_METHOD_DELETE) strcat(text, "DELETE, ");
    strcat(text, "OPTIONS");
}

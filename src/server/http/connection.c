/* connection.c - the life of a connection and of a request on it, as libmicrohttpd calls us.
 *
 * A request is seen first with its headers, then with each piece of its body, then once more when
 * it is complete. There it is answered at once, or the connection is suspended, the request handed
 * to the loop or to a worker, and seen again after it was resumed. A refused request with a body is
 * read to its end before it is answered, for closing a socket with unread data would destroy the
 * answer. */
#include "server/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { DROP_BYTES_MAX = 64 << 20 }; /* of the body of a refused request, read for nothing */

/* `seconds` 0: no deadline. */
static void phase_set(tl_request *request, tl_phase phase, uint32_t seconds)
{
    int64_t at = seconds == 0 ? 0 : tl_server_now_ns() + (int64_t)seconds * 1000000000;
    if (request->peer == NULL) return;
    atomic_store_explicit(&request->peer->phase, phase, memory_order_relaxed);
    atomic_store_explicit(&request->peer->deadline_ns, at, memory_order_relaxed);
}

/* A body has its whole time, but must not stand still. */
static void phase_receiving(tl_request *request)
{
    const tl_server_options *options = &request->server->options;
    if (request->peer == NULL) return;
    atomic_store_explicit(&request->peer->phase, TL_PHASE_RECEIVING, memory_order_relaxed);
    int64_t whole = request->started_ns + (int64_t)options->request_timeout_s * 1000000000;
    int64_t still = tl_server_now_ns() + (int64_t)options->idle_timeout_s * 1000000000;
    atomic_store_explicit(&request->peer->deadline_ns, whole < still ? whole : still,
                          memory_order_relaxed);
}

/* ---- Refusals before the body ---------------------------------------------------------------- */

static const char *header(const tl_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static void refuse(tl_request *request, unsigned code)
{
    request->refusal = code;
}

static bool parse_version(const char *text, uint64_t *out)
{
    size_t bytes = strlen(text);
    if (bytes == 0 || bytes > 19 || strspn(text, "0123456789") != bytes) return false;
    *out = strtoull(text, NULL, 10);
    return *out != 0;
}

static void loop_not_found(tl_request *request)
{
    char names[160] = "";
    size_t bytes = 0;
    tl_loop *loop;
    for (size_t i = 0; (loop = tl_runtime_loop_at(request->server->runtime, i)) != NULL; i++) {
        tl_loop_info info;
        tl_loop_describe(loop, &info);
        int more =
            snprintf(names + bytes, sizeof names - bytes, "%s%s", i == 0 ? "" : ", ", info.name);
        if (more < 0 || (size_t)more >= sizeof names - bytes) break;
        bytes += (size_t)more;
    }
    tl_fail(&request->error, TL_ENOTFOUND, "there is no loop \"%s\"; open are: %s",
            request->match.loop, names[0] != '\0' ? names : "none");
    refuse(request, MHD_HTTP_NOT_FOUND);
}

static void refuse_by_route(tl_request *request, const char *method, const char *path)
{
    const tl_route_match *match = &request->match;
    if (match->route == NULL && match->allowed == 0) {
        tl_fail(&request->error, TL_ENOTFOUND, "there is nothing at %.100s; see docs/http.md",
                path);
        refuse(request, MHD_HTTP_NOT_FOUND);
    } else if (match->route == NULL && strcmp(method, "OPTIONS") == 0) {
        refuse(request, MHD_HTTP_NO_CONTENT);
    } else if (match->route == NULL) {
        char allowed[64];
        tl_route_allowed_text(match->allowed, allowed);
        tl_fail(&request->error, TL_EINVAL, "%.20s is not for %.100s; use %s", method, path,
                allowed);
        refuse(request, MHD_HTTP_METHOD_NOT_ALLOWED);
    }
}

static void refuse_by_target(tl_request *request)
{
    if (request->match.loop[0] != '\0') {
        request->loop = tl_runtime_loop(request->server->runtime, request->match.loop);
        if (request->loop == NULL) {
            loop_not_found(request);
            return;
        }
    }
    if (request->match.version[0] != '\0' &&
        !parse_version(request->match.version, &request->version)) {
        tl_fail(&request->error, TL_ENOTFOUND, "\"%s\" is not the number of a version",
                request->match.version);
        refuse(request, MHD_HTTP_NOT_FOUND);
    }
}

/* Content-Length, when there is one that fits; SIZE_MAX for a chunked body; 0 for none. */
static uint64_t body_bytes_stated(const tl_request *request)
{
    if (header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL) return UINT64_MAX;
    const char *length = header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return length == NULL ? 0 : strtoull(length, NULL, 10);
}

static void refuse_by_body(tl_request *request)
{
    const char *encoding = header(request, MHD_HTTP_HEADER_CONTENT_ENCODING);
    bool chunked = header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
    if (chunked && header(request, MHD_HTTP_HEADER_CONTENT_LENGTH) != NULL) {
        tl_fail(&request->error, TL_EINVAL, "give Content-Length or Transfer-Encoding, not both");
        refuse(request, MHD_HTTP_BAD_REQUEST);
    } else if (encoding != NULL && strcasecmp(encoding, "identity") != 0) {
        tl_fail(&request->error, TL_EUNSUPPORTED,
                "Content-Encoding \"%.32s\" is not supported; send the body as it is", encoding);
        refuse(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE);
    } else if (!chunked && body_bytes_stated(request) > request->server->options.max_body_bytes) {
        tl_fail(&request->error, TL_ELIMIT, "the body is over %zu bytes; send less at a time",
                request->server->options.max_body_bytes);
        refuse(request, MHD_HTTP_CONTENT_TOO_LARGE);
    }
}

static void examine(tl_request *request, const char *method, const char *path)
{
    tl_server *server = request->server;
    tl_route_find(method, path, &request->match);
    if (atomic_load_explicit(&server->stopping, memory_order_relaxed)) {
        tl_fail(&request->error, TL_ECLOSED, "the server is stopping; try again when it is back");
        refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE);
        return;
    }
    unsigned code = tl_auth_check(request, &request->error);
    if (code != 0) {
        refuse(request, code);
        return;
    }
    refuse_by_route(request, method, path);
    if (request->refusal == 0) refuse_by_target(request);
    if (request->refusal == 0) refuse_by_body(request);
}

static enum MHD_Result answer_refusal(tl_request *request)
{
    if (request->refusal == MHD_HTTP_NO_CONTENT) {
        request->code = MHD_HTTP_NO_CONTENT;
    } else {
        tl_respond_error(request, request->refusal, &request->error);
    }
    phase_set(request, TL_PHASE_SENDING, request->server->options.request_timeout_s);
    return tl_respond(request);
}

/* ---- Suspending and resuming ----------------------------------------------------------------- */

/* The I/O thread that runs this. Threads of the HTTP library serve one server in their life. */
static tl_io *io_current(tl_server *server)
{
    static _Thread_local tl_io *current;
    if (current == NULL)
        current = &server->io[atomic_fetch_add(&server->io_count, 1) % TL_IO_THREADS_MAX];
    return current;
}

void tl_request_suspend(tl_request *request)
{
    request->stage = TL_STAGE_WAITING;
    request->woken = false;
    atomic_fetch_add(&request->server->metrics.suspended, 1);
    MHD_suspend_connection(request->connection);
}

void tl_request_resume(tl_request *request)
{
    request->woken = true;
    MHD_resume_connection(request->connection);
}

void tl_request_finish(tl_request *request)
{
    struct MHD_Connection *connection = request->connection;
    _Atomic(tl_request *) *list = &request->io->finished;
    tl_request *first = atomic_load_explicit(list, memory_order_relaxed);
    do {
        request->next = first;
    } while (!atomic_compare_exchange_weak_explicit(list, &first, request, memory_order_acq_rel,
                                                    memory_order_relaxed));
    /* Whoever finds the list empty wakes the thread. It stays in the list until then, so that there
     * is one at a time; the others must not be touched any more. */
    if (first == NULL) MHD_resume_connection(connection);
}

/* On the I/O thread, once for each suspended request. */
static void resumed(tl_request *request)
{
    atomic_fetch_sub(&request->server->metrics.suspended, 1);
    if (request->woken) return;
    tl_request *next;
    tl_request *other =
        atomic_exchange_explicit(&request->io->finished, NULL, memory_order_acq_rel);
    for (; other != NULL; other = next) {
        next = other->next;
        if (other != request) tl_request_resume(other);
    }
}

/* ---- The stages of a request ----------------------------------------------------------------- */

static enum MHD_Result request_begin(tl_server *server, struct MHD_Connection *connection,
                                     const char *path, const char *method, void **context)
{
    tl_request *request = tl_request_take(server);
    if (request == NULL) return MHD_NO;
    *context = request;
    atomic_fetch_add(&server->metrics.active, 1);
    request->connection = connection;
    request->io = io_current(server);
    request->started_ns = tl_server_now_ns();
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    request->peer = info == NULL ? NULL : info->socket_context;
    examine(request, method, path);
    phase_receiving(request);
    if (request->refusal == 0) return MHD_YES;
    /* Whoever asks before sending, or would send without end, is told at once. */
    uint64_t bytes = body_bytes_stated(request);
    bool asks = bytes > 0 && header(request, MHD_HTTP_HEADER_EXPECT) != NULL;
    bool endless = bytes > DROP_BYTES_MAX && bytes != UINT64_MAX;
    return asks || endless ? answer_refusal(request) : MHD_YES;
}

static enum MHD_Result request_receive(tl_request *request, const char *data, size_t *bytes)
{
    if (request->refusal == 0) {
        tl_status status = tl_request_body_append(request, data, *bytes, &request->error);
        if (status != TL_OK) {
            refuse(request, tl_http_code(status));
            tl_request_body_release(request);
        }
    }
    if (request->refusal != 0) {
        request->dropped_bytes += *bytes;
        if (request->dropped_bytes > DROP_BYTES_MAX) return MHD_NO;
    }
    *bytes = 0;
    phase_receiving(request);
    return MHD_YES;
}

static enum MHD_Result answer(tl_request *request)
{
    if (request->status != TL_OK)
        tl_respond_error(request, tl_http_code(request->status), &request->error);
    /* A stream has no end; the HTTP library closes it when it stands still. */
    if (request->response == NULL)
        phase_set(request, TL_PHASE_SENDING, request->server->options.request_timeout_s);
    return tl_respond(request);
}

static enum MHD_Result request_run(tl_request *request)
{
    if (request->refusal != 0) return answer_refusal(request);
    const tl_route *route = request->match.route;
    phase_set(request, TL_PHASE_WORKING, 0);
    request->code = MHD_HTTP_OK;
    tl_server *server = request->server;
    tl_error *err = &request->error;
    tl_status status;
    if (route->kind == TL_ROUTE_READ) {
        status = tl_worker_submit(&server->readers, request, err);
    } else if (route->kind == TL_ROUTE_CONTROL) {
        status = tl_worker_submit(&server->controllers, request, err);
    } else {
        status = route->handle(request, err);
    }
    /* A suspended request belongs to another thread, and is seen again when that is done. */
    if (request->stage == TL_STAGE_WAITING) return MHD_YES;
    request->status = status;
    return answer(request);
}

static enum MHD_Result request_resumed(tl_request *request)
{
    const tl_route *route = request->match.route;
    resumed(request);
    if (request->status == TL_OK && route->finish != NULL)
        request->status = route->finish(request, &request->error);
    return answer(request);
}

enum MHD_Result tl_connection_request(void *server, struct MHD_Connection *connection,
                                      const char *url, const char *method, const char *version,
                                      const char *data, size_t *bytes, void **context)
{
    (void)version;
    tl_request *request = *context;
    if (request == NULL) return request_begin(server, connection, url, method, context);
    if (*bytes != 0) return request_receive(request, data, bytes);
    if (request->stage == TL_STAGE_WAITING) return request_resumed(request);
    return request_run(request);
}

void tl_connection_completed(void *context, struct MHD_Connection *connection, void **slot,
                             enum MHD_RequestTerminationCode code)
{
    (void)connection;
    (void)code;
    tl_server *server = context;
    tl_request *request = *slot;
    if (request == NULL) return;
    *slot = NULL;
    /* The client went away while the request waited: seen only now that it was resumed. */
    if (request->stage == TL_STAGE_WAITING) resumed(request);
    phase_set(request, TL_PHASE_IDLE, server->options.idle_timeout_s);
    tl_metrics_count(server, tl_route_index(request->match.route), request->code,
                     tl_server_now_ns() - request->started_ns);
    tl_request_give(request);
    atomic_fetch_sub(&server->metrics.active, 1);
}

/* ---- Connections ----------------------------------------------------------------------------- */

static void peer_add(tl_server *server, struct MHD_Connection *connection, void **context)
{
    tl_peer *peer = calloc(1, sizeof *peer);
    *context = peer;
    atomic_fetch_add(&server->metrics.connections, 1);
    if (peer == NULL) return; /* served all the same, without our deadlines */
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    peer->socket = info == NULL ? -1 : info->connect_fd;
    atomic_init(&peer->phase, TL_PHASE_NEW);
    atomic_init(&peer->deadline_ns,
                tl_server_now_ns() + (int64_t)server->options.idle_timeout_s * 1000000000);
    pthread_mutex_lock(&server->peers_mutex);
    peer->older = server->peers;
    if (server->peers != NULL) server->peers->newer = peer;
    server->peers = peer;
    pthread_mutex_unlock(&server->peers_mutex);
}

static void peer_remove(tl_server *server, void **context)
{
    tl_peer *peer = *context;
    *context = NULL;
    atomic_fetch_sub(&server->metrics.connections, 1);
    if (peer == NULL) return;
    pthread_mutex_lock(&server->peers_mutex);
    if (peer->newer != NULL) peer->newer->older = peer->older;
    if (peer->older != NULL) peer->older->newer = peer->newer;
    if (server->peers == peer) server->peers = peer->older;
    pthread_mutex_unlock(&server->peers_mutex);
    free(peer);
}

void tl_connection_notify(void *server, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        peer_add(server, connection, context);
    } else {
        peer_remove(server, context);
    }
}

/* The socket is ours to touch: it is closed only after peer_remove, which waits for the mutex. */
static void peer_expire(tl_server *server, tl_peer *peer)
{
    static const char text[] =
        "{\"error\":\"the request did not arrive in time; send it again, all at once\"}";
    peer->expired = true;
    atomic_fetch_add(&server->metrics.timeouts, 1);
    if (peer->socket < 0) return;
    int phase = atomic_load_explicit(&peer->phase, memory_order_relaxed);
    bool waits = phase == TL_PHASE_NEW || phase == TL_PHASE_RECEIVING;
    if (waits && server->options.tls_certificate_path == NULL) {
        char answer_text[256];
        int bytes = snprintf(answer_text, sizeof answer_text,
                             "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
                             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                             sizeof text - 1, text);
        (void)send(peer->socket, answer_text, (size_t)bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    shutdown(peer->socket, SHUT_RDWR);
}

void tl_connections_sweep(tl_server *server)
{
    int64_t now = tl_server_now_ns();
    pthread_mutex_lock(&server->peers_mutex);
    for (tl_peer *peer = server->peers; peer != NULL; peer = peer->older) {
        int64_t deadline = atomic_load_explicit(&peer->deadline_ns, memory_order_relaxed);
        if (deadline != 0 && now > deadline && !peer->expired) peer_expire(server, peer);
    }
    pthread_mutex_unlock(&server->peers_mutex);
}

/* internal.h - what the files of the server share. Layer: server. */
#ifndef TL_SERVER_INTERNAL_H
#define TL_SERVER_INTERNAL_H

#include "base/arena.h"
#include "base/histogram.h"
#include "base/queue.h"
#include "base/text.h"
#include "format/json.h"
#include "server/api/infer.h"
#include "server/server.h"
#include "server/tokens.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct tl_request tl_request;
typedef struct tl_peer tl_peer;
typedef struct tl_events tl_events;
typedef struct tl_auth tl_auth;
typedef struct tl_io tl_io;

/* ---- Routes ---------------------------------------------------------------------------------- */

typedef enum tl_method {
    TL_METHOD_GET = 1,
    TL_METHOD_POST = 2,
    TL_METHOD_DELETE = 4,
    TL_METHOD_OPTIONS = 8
} tl_method;

/* Where a handler runs. I/O threads must not wait, for they carry all connections. */
typedef enum tl_route_kind {
    TL_ROUTE_INLINE, /* on the I/O thread; does not wait */
    TL_ROUTE_ASYNC,  /* on the I/O thread; suspends, and is finished by `finish` */
    TL_ROUTE_READ,   /* on the worker for reading */
    TL_ROUTE_CONTROL /* on the worker for changes, which may take seconds */
} tl_route_kind;

enum { TL_ACCESS_TOKEN = 0, TL_ACCESS_OPEN = 8, TL_ACCESS_METRICS = 16 }; /* or a TL_RIGHT_... */

typedef struct tl_route {
    tl_method method;
    const char *pattern;  /* "/v2/models/{loop}/versions/{version}/infer" */
    const char *endpoint; /* label in the metrics */
    unsigned access;
    tl_route_kind kind;
    /* Writes the answer, or starts what will. An error becomes the answer. */
    tl_status (*handle)(tl_request *request, tl_error *err);
    tl_status (*finish)(tl_request *request, tl_error *err); /* TL_ROUTE_ASYNC */
} tl_route;

enum { TL_ROUTE_COUNT_MAX = 40 };

typedef struct tl_route_match {
    const tl_route *route; /* NULL: none; then `allowed` has the methods of the path, 0: no path */
    unsigned allowed;
    char loop[TL_TEXT_BYTES_MAX];    /* "" when the path names none */
    char version[TL_TEXT_BYTES_MAX]; /* "" when the path names none */
} tl_route_match;

void tl_route_find(const char *method, const char *path, tl_route_match *out);
size_t tl_route_index(const tl_route *route);
const tl_route *tl_route_at(size_t index); /* NULL past the end */
/* "GET, HEAD, OPTIONS" */
void tl_route_allowed_text(unsigned allowed, char text[64]);

/* ---- Requests -------------------------------------------------------------------------------- */

typedef enum tl_stage {
    TL_STAGE_RECEIVING, /* the body comes in, and is kept or, after a refusal, dropped */
    TL_STAGE_WAITING,   /* suspended: the loop or a worker has it */
    TL_STAGE_ANSWERED   /* the answer is MHD's to send */
} tl_stage;

struct tl_request {
    tl_request *next; /* in the free list, or among the finished ones of its I/O thread */
    tl_server *server;
    struct MHD_Connection *connection;
    tl_peer *peer;
    tl_io *io; /* the thread that the connection belongs to */
    tl_stage stage;
    bool woken; /* resumed by itself, not as the first of the finished ones */
    int64_t started_ns;

    tl_route_match match;
    tl_loop *loop;                  /* when the path names one */
    uint64_t version;               /* when the path names one, else 0 */
    char source[TL_TEXT_BYTES_MAX]; /* name of the token, or "local" */
    unsigned refusal;               /* HTTP status decided before the body was read; 0: none */

    char *body; /* [body_capacity] */
    size_t body_bytes, body_capacity;
    uint64_t dropped_bytes;
    size_t charged_bytes; /* to server->pending_body_bytes */

    tl_infer_form form;
    void *results; /* [results_capacity]: tl_prediction or tl_feedback_result */
    size_t results_capacity, result_count;

    tl_status status;
    tl_error error;
    unsigned code; /* HTTP status of the answer */
    tl_text text;
    const char *content_type;
    const char *static_body; /* instead of text */
    size_t json_bytes;       /* for Inference-Header-Content-Length; 0: none */
    const char *cache_control, *content_policy;
    struct MHD_Response *response; /* instead of text: a stream */
};

/* Parser and arena for the time that one body is read: one set an I/O thread or worker is enough.
 */
typedef struct tl_scratch tl_scratch;
struct tl_scratch {
    tl_scratch *next;
    tl_json_parser *parser;
    tl_arena arena;
};

tl_request *tl_request_take(tl_server *server);
void tl_request_give(tl_request *request);
/* Room for `bytes` in request->results; false when out of memory. */
bool tl_request_results_reserve(tl_request *request, size_t bytes);
/* Append to the body, charging the server's budget. */
tl_status tl_request_body_append(tl_request *request, const void *data, size_t bytes,
                                 tl_error *err);
void tl_request_body_release(tl_request *request);
void tl_requests_free(tl_server *server);

tl_scratch *tl_scratch_take(tl_server *server, tl_error *err); /* NULL: TL_ENOMEM */
void tl_scratch_give(tl_server *server, tl_scratch *scratch);
void tl_scratches_free(tl_server *server);

/* Parse the body into scratch->arena; an empty body gives NULL when `optional`. */
tl_status tl_request_json(tl_request *request, tl_scratch *scratch, bool optional,
                          const tl_json **out, tl_error *err);

/* The caller's key that makes a retry harmless, scoped to its token: from the header, else from
 * `parameter` (may be NULL). *out is in the arena, NULL when there is none. Also the body's hash.
 */
tl_status tl_request_key(tl_request *request, const char *parameter, tl_arena *arena,
                         const char **out, uint64_t hash[2], tl_error *err);

/* ---- Connections ----------------------------------------------------------------------------- */

typedef enum tl_phase {
    TL_PHASE_NEW,       /* nothing was asked yet */
    TL_PHASE_RECEIVING, /* a body comes in */
    TL_PHASE_WORKING,   /* the answer is being made */
    TL_PHASE_SENDING,
    TL_PHASE_IDLE /* between two requests */
} tl_phase;

/* One TCP connection. `deadline_ns` is monotonic; 0: none. */
struct tl_peer {
    tl_peer *newer, *older;
    int socket;
    _Atomic int64_t deadline_ns;
    _Atomic int phase;
    bool expired;
};

enum MHD_Result tl_connection_request(void *server, struct MHD_Connection *connection,
                                      const char *url, const char *method, const char *version,
                                      const char *data, size_t *bytes, void **context);
void tl_connection_completed(void *server, struct MHD_Connection *connection, void **context,
                             enum MHD_RequestTerminationCode code);
void tl_connection_notify(void *server, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code);
/* Answer with 408 and close what is past its deadline. */
void tl_connections_sweep(tl_server *server);
/* Suspend before handing the request to another thread; then exactly one of the others, from any
 * thread. Many requests are finished at once, by one commit: `finish` wakes the I/O thread for the
 * first of them only, which then resumes the others itself. */
void tl_request_suspend(tl_request *request);
void tl_request_resume(tl_request *request);
void tl_request_finish(tl_request *request);

/* Queue request's answer on its connection. */
enum MHD_Result tl_respond(tl_request *request);
/* Make `err` the answer. */
void tl_respond_error(tl_request *request, unsigned code, const tl_error *err);
/* HTTP status of a tl_status. */
unsigned tl_http_code(tl_status status);

/* ---- The server ------------------------------------------------------------------------------ */

enum { TL_CODE_SLOTS = 24 };

typedef struct tl_metrics {
    _Atomic uint64_t answers[TL_ROUTE_COUNT_MAX][TL_CODE_SLOTS]; /* last route: no such path */
    tl_histogram *durations;                                     /* [TL_ROUTE_COUNT_MAX] */
    _Atomic uint64_t timeouts;
    _Atomic int64_t connections, active, suspended;
} tl_metrics;

/* metrics.c, metrics_gate.c: parts of GET /metrics. */
void tl_metrics_head(tl_text *text, const char *name, const char *type, const char *help);
void tl_metrics_gate_write(tl_runtime *runtime, tl_text *text);
void tl_metrics_count(tl_server *server, size_t route_index, unsigned code, int64_t span_ns);

typedef struct tl_worker {
    pthread_t thread;
    tl_queue *queue;
    bool running;
} tl_worker;

enum { TL_IO_THREADS_MAX = 64 };

/* An I/O thread. */
struct tl_io {
    _Atomic(tl_request *) finished; /* newest first */
};

struct tl_server {
    tl_runtime *runtime;
    tl_server_options options;
    struct MHD_Daemon *daemon;
    int listen_socket;
    uint16_t port;
    bool loopback;
    _Atomic bool stopping;

    tl_io io[TL_IO_THREADS_MAX];
    _Atomic unsigned io_count;

    pthread_mutex_t free_mutex;
    tl_request *free_requests;
    size_t free_request_count;
    tl_scratch *free_scratches;
    _Atomic size_t pending_body_bytes;

    pthread_mutex_t peers_mutex;
    tl_peer *peers;

    tl_worker readers, controllers;
    tl_auth *auth; /* NULL: no tokens */
    tl_events *events;
    tl_metrics metrics;

    pthread_t housekeeper;
    pthread_mutex_t housekeeper_mutex;
    pthread_cond_t housekeeper_wake;
    bool housekeeper_running, housekeeper_stop;
};

int64_t tl_server_now_ns(void);

tl_status tl_listen_open(const tl_server_options *options, int *socket_out, uint16_t *port_out,
                         bool *loopback_out, tl_error *err);
/* Make sure that as many connections can be open; returns how many. */
uint32_t tl_listen_raise_files(uint32_t connections);

tl_status tl_worker_start(tl_worker *worker, size_t capacity);
void tl_worker_stop(tl_worker *worker);
/* Run the request's handler on the worker; it is suspended meanwhile. TL_EFULL. */
tl_status tl_worker_submit(tl_worker *worker, tl_request *request, tl_error *err);

/* ---- Who may --------------------------------------------------------------------------------- */

tl_status tl_auth_open(const char *path, tl_auth **out, tl_error *err);
void tl_auth_close(tl_auth **auth);
tl_status tl_auth_reload(tl_auth *auth, tl_error *err);
void tl_auth_reload_when_changed(tl_auth *auth);
/* Hold the request against its route's access; fills request->source. Returns 0, or the HTTP status
 * of the refusal with the reason in *err. */
unsigned tl_auth_check(tl_request *request, tl_error *err);

/* ---- Handlers -------------------------------------------------------------------------------- */

tl_status tl_infer_handle(tl_request *request, tl_error *err);
tl_status tl_infer_finish(tl_request *request, tl_error *err);
tl_status tl_feedback_handle(tl_request *request, tl_error *err);
tl_status tl_feedback_finish(tl_request *request, tl_error *err);
tl_status tl_server_metadata_handle(tl_request *request, tl_error *err);
tl_status tl_live_handle(tl_request *request, tl_error *err);
tl_status tl_ready_handle(tl_request *request, tl_error *err);
tl_status tl_model_handle(tl_request *request, tl_error *err);
tl_status tl_model_ready_handle(tl_request *request, tl_error *err);
tl_status tl_index_handle(tl_request *request, tl_error *err);
tl_status tl_load_handle(tl_request *request, tl_error *err);
tl_status tl_unload_handle(tl_request *request, tl_error *err);
tl_status tl_loop_state_handle(tl_request *request, tl_error *err);
tl_status tl_versions_handle(tl_request *request, tl_error *err);
tl_status tl_explain_handle(tl_request *request, tl_error *err);
tl_status tl_report_handle(tl_request *request, tl_error *err);
tl_status tl_reviews_handle(tl_request *request, tl_error *err);
/* ?limit=N, 1..maximum; `preset` without one. TL_EINVAL. */
tl_status tl_limit_read(const tl_request *request, size_t preset, size_t maximum, size_t *out,
                        tl_error *err);
tl_status tl_promote_handle(tl_request *request, tl_error *err);
tl_status tl_challenge_handle(tl_request *request, tl_error *err);
tl_status tl_rollback_handle(tl_request *request, tl_error *err);
tl_status tl_learning_handle(tl_request *request, tl_error *err);
tl_status tl_frozen_handle(tl_request *request, tl_error *err);
tl_status tl_classes_handle(tl_request *request, tl_error *err);
tl_status tl_golden_list_handle(tl_request *request, tl_error *err);
tl_status tl_golden_add_handle(tl_request *request, tl_error *err);
tl_status tl_golden_remove_handle(tl_request *request, tl_error *err);
tl_status tl_metrics_handle(tl_request *request, tl_error *err);
tl_status tl_events_handle(tl_request *request, tl_error *err);
tl_status tl_page_handle(tl_request *request, tl_error *err);
tl_status tl_page_script_handle(tl_request *request, tl_error *err);

/* ---- Events ---------------------------------------------------------------------------------- */

tl_status tl_events_open(uint32_t clients_max, tl_events **out, tl_error *err);
void tl_events_close(tl_events **events);                             /* no client may be left */
void tl_events_publish(void *events, const char *json, size_t bytes); /* a tl_event_fn */
void tl_events_heartbeat(tl_events *events, int64_t now_ns);
void tl_events_end(tl_events *events); /* end all streams, refuse new ones */
size_t tl_events_client_count(tl_events *events);
uint64_t tl_events_dropped_count(tl_events *events);

#endif

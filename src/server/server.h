/* server.h - the loops of a runtime over HTTP: Open Inference Protocol v2, feedback, control,
 * metrics, events. Layer: above loop, of which it sees the public header only. docs/http.md
 * describes the endpoints, docs/security.md who may do what.
 *
 *     tl_server_options options = tl_server_options_default();
 *     options.tokens_path = "tokens";
 *     tl_server_start(runtime, &options, &server, &err);
 *     ...
 *     tl_server_stop(&server);       // before tl_runtime_close
 *
 * Threads: start and stop belong to one thread; the other functions may be called from any. */
#ifndef TL_SERVER_SERVER_H
#define TL_SERVER_SERVER_H

#include "base/status.h"

typedef struct tl_server tl_server;

typedef struct tl_server_options {
    const char *address; /* IPv4 or IPv6 literal, or "localhost"; default "127.0.0.1" */
    uint16_t port;       /* default 8080; 0: any that is free, see tl_server_port */

    const char *tls_certificate_path; /* PEM, with its chain; NULL: plain HTTP */
    const char *tls_key_path;         /* PEM */
    const char *tokens_path;          /* see tokens.h; NULL: no authentication */
    bool allow_unauthenticated;       /* listen beyond loopback though there are no tokens */
    bool open_metrics;                /* GET /metrics needs no token */

    size_t max_body_bytes;           /* of one request; default 16 MiB */
    size_t max_pending_body_bytes;   /* of all requests being received; default 256 MiB */
    uint32_t max_connections;        /* default 1000 */
    uint32_t max_connections_per_ip; /* 0: no bound of its own (the default) */
    uint32_t max_event_clients;      /* listeners of GET /events; default 32 */
    uint32_t idle_timeout_s;    /* a connection on which nothing happens is closed; default 30 */
    uint32_t request_timeout_s; /* to send a request, and to take its answer; default 60 */
    uint32_t stop_timeout_s;    /* how long tl_server_stop waits for slow clients; default 30 */
    uint32_t io_threads;        /* default 1, at most 64 */
} tl_server_options;

tl_server_options tl_server_options_default(void);

/* Listen and serve the loops of `runtime`, which must outlive the server; options are copied. Takes
 * the runtime's event listener (tl_runtime_on_event).
 * Errors: TL_EPERM (an address beyond loopback without tokens), TL_EINVAL (options, damaged tokens
 * or certificate), TL_ENOTFOUND (a file), TL_EIO (the address is taken), TL_EUNSUPPORTED (TLS),
 * TL_ENOMEM. */
tl_status tl_server_start(tl_runtime *runtime, const tl_server_options *options, tl_server **out,
                          tl_error *err);

/* The port that it listens on. */
uint16_t tl_server_port(const tl_server *server);

/* Read the tokens file again. It is also read when its time of change differs, within a second. On
 * an error the tokens in force stay. TL_OK and no effect without a tokens file. */
tl_status tl_server_reload(tl_server *server, tl_error *err);

/* Stop listening, answer every request that was accepted, close. New requests on open connections
 * get 503 meanwhile. NULL-safe; clears *server. */
void tl_server_stop(tl_server **server);

#endif

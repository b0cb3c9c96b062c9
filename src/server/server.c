/* server.c - start, stop, and what is to be done every second. */
#include "server/internal.h"

#include "base/log.h"
#include "format/file.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTION_MEMORY_BYTES = 16 * 1024, /* bounds the headers of a request */
    PEM_BYTES_MAX = 1 << 20,
    READ_QUEUE_MAX = 256,
    CONTROL_QUEUE_MAX = 32,
    HTTP_TIMEOUT_SLACK_S = 15 /* ours come first, and say something */
};

int64_t tl_server_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

tl_server_options tl_server_options_default(void)
{
    return (tl_server_options){ .address = "127.0.0.1",
                                .port = 8080,
                                .max_body_bytes = (size_t)16 << 20,
                                .max_pending_body_bytes = (size_t)256 << 20,
                                .max_connections = 1000,
                                .max_event_clients = 32,
                                .idle_timeout_s = 30,
                                .request_timeout_s = 60,
                                .stop_timeout_s = 30,
                                .io_threads = 1 };
}

static tl_status options_check(const tl_server_options *options, tl_error *err)
{
    const char *wrong = NULL;
    if (options->address == NULL) wrong = "the address is missing";
    if ((options->tls_certificate_path == NULL) != (options->tls_key_path == NULL))
        wrong = "TLS needs both the certificate and the key";
    if (options->max_body_bytes < 1024 || options->max_body_bytes > (size_t)1 << 30)
        wrong = "max_body_bytes must be 1 KiB to 1 GiB";
    if (options->max_pending_body_bytes < options->max_body_bytes)
        wrong = "max_pending_body_bytes must be at least max_body_bytes";
    if (options->max_connections < 1 || options->max_connections > 100000)
        wrong = "max_connections must be 1 to 100000";
    if (options->idle_timeout_s < 1 || options->request_timeout_s < 1)
        wrong = "time-outs must be at least a second";
    if (options->io_threads < 1 || options->io_threads > TL_IO_THREADS_MAX)
        wrong = "io_threads must be 1 to 64";
    return wrong == NULL ? TL_OK : tl_fail(err, TL_EINVAL, "server: %s", wrong);
}

/* ---- Every second ---------------------------------------------------------------------------- */

static void *housekeeper_run(void *context)
{
    tl_server *server = context;
    pthread_mutex_lock(&server->housekeeper_mutex);
    while (!server->housekeeper_stop) {
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_sec += 1;
        pthread_cond_timedwait(&server->housekeeper_wake, &server->housekeeper_mutex, &at);
        if (server->housekeeper_stop) break;
        pthread_mutex_unlock(&server->housekeeper_mutex);
        tl_connections_sweep(server);
        if (server->auth != NULL) tl_auth_reload_when_changed(server->auth);
        tl_events_heartbeat(server->events, tl_server_now_ns());
        pthread_mutex_lock(&server->housekeeper_mutex);
    }
    pthread_mutex_unlock(&server->housekeeper_mutex);
    return NULL;
}

static tl_status housekeeper_start(tl_server *server)
{
    server->housekeeper_running =
        pthread_create(&server->housekeeper, NULL, housekeeper_run, server) == 0;
    return server->housekeeper_running ? TL_OK : TL_ENOMEM;
}

static void housekeeper_stop(tl_server *server)
{
    if (!server->housekeeper_running) return;
    pthread_mutex_lock(&server->housekeeper_mutex);
    server->housekeeper_stop = true;
    pthread_cond_signal(&server->housekeeper_wake);
    pthread_mutex_unlock(&server->housekeeper_mutex);
    pthread_join(server->housekeeper, NULL);
    server->housekeeper_running = false;
}

/* ---- The HTTP library ------------------------------------------------------------------------ */

/* Called when the library finds its own state broken: going on would be undefined. What was
 * acknowledged is in the journal, so a restart loses nothing. */
static void http_panic(void *context, const char *file, unsigned int line, const char *reason)
{
    (void)context;
    tl_log(TL_LOG_ERROR, "server: libmicrohttpd failed at %s:%u: %s", file, line,
           reason != NULL ? reason : "unknown");
    abort();
}

static void http_log(void *context, const char *format, va_list args)
{
    (void)context;
    char line[512];
    int bytes = vsnprintf(line, sizeof line, format, args);
    if (bytes <= 0) return;
    line[strcspn(line, "\n")] = '\0';
    tl_log(TL_LOG_DEBUG, "server: %s", line); /* mostly clients that went away */
}

typedef struct pem_files {
    void *certificate, *key;
} pem_files;

static tl_status pem_read(const tl_server_options *options, pem_files *out, tl_error *err)
{
    size_t bytes;
    *out = (pem_files){ 0 };
    if (options->tls_certificate_path == NULL) return TL_OK;
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return tl_fail(err, TL_EUNSUPPORTED, "libmicrohttpd was built without TLS");
    tl_status status =
        tl_file_read(options->tls_certificate_path, PEM_BYTES_MAX, &out->certificate, &bytes, err);
    if (status != TL_OK) return tl_fail_context(err, status, "TLS certificate");
    status = tl_file_read(options->tls_key_path, PEM_BYTES_MAX, &out->key, &bytes, err);
    if (status != TL_OK) {
        free(out->certificate);
        out->certificate = NULL;
        return tl_fail_context(err, status, "TLS key");
    }
    return TL_OK;
}

static void pem_free(pem_files *pem)
{
    free(pem->certificate);
    if (pem->key != NULL) sodium_memzero(pem->key, strlen(pem->key));
    free(pem->key);
}

static struct MHD_Daemon *http_start(tl_server *server, const pem_files *pem)
{
    const tl_server_options *options = &server->options;
    struct MHD_OptionItem list[16];
    size_t count = 0;
#define PUT(name, number, pointer)                                                                 \
    list[count++] = (struct MHD_OptionItem){ MHD_OPTION_##name, (intptr_t)(number), pointer }
    PUT(EXTERNAL_LOGGER, http_log, NULL);
    PUT(LISTEN_SOCKET, server->listen_socket, NULL);
    PUT(CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES, NULL);
    PUT(CONNECTION_LIMIT, tl_listen_raise_files(options->max_connections), NULL);
    PUT(CONNECTION_TIMEOUT, options->idle_timeout_s + HTTP_TIMEOUT_SLACK_S, NULL);
    PUT(NOTIFY_COMPLETED, tl_connection_completed, server);
    PUT(NOTIFY_CONNECTION, tl_connection_notify, server);
    if (options->max_connections_per_ip > 0)
        PUT(PER_IP_CONNECTION_LIMIT, options->max_connections_per_ip, NULL);
    if (options->io_threads > 1) PUT(THREAD_POOL_SIZE, options->io_threads, NULL);
    /* Not epoll: with many busy connections libmicrohttpd 0.9.75 misses events there, and requests
     * stay unread for as long as the client waits; poll is as fast with 32 of them. */
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    if (pem->certificate != NULL) {
        static char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
        flags |= MHD_USE_TLS;
        PUT(HTTPS_MEM_CERT, 0, pem->certificate);
        PUT(HTTPS_MEM_KEY, 0, pem->key);
        PUT(HTTPS_PRIORITIES, 0, priorities);
    }
    PUT(END, 0, NULL);
#undef PUT
    TL_ASSERT(count <= TL_COUNT_OF(list));
    MHD_set_panic_func(http_panic, NULL);
    return MHD_start_daemon(flags, 0, NULL, NULL, tl_connection_request, server, MHD_OPTION_ARRAY,
                            list, MHD_OPTION_END);
}

/* ---- Start ----------------------------------------------------------------------------------- */

static void locks_init(tl_server *server)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&server->housekeeper_wake, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&server->housekeeper_mutex, NULL);
    pthread_mutex_init(&server->free_mutex, NULL);
    pthread_mutex_init(&server->peers_mutex, NULL);
}

/* Frees what was started, in the reverse order; the daemon is stopped already. */
static void server_free(tl_server *server)
{
    housekeeper_stop(server);
    tl_worker_stop(&server->readers);
    tl_worker_stop(&server->controllers);
    if (server->listen_socket >= 0) close(server->listen_socket);
    if (server->events != NULL) tl_events_close(&server->events);
    tl_auth_close(&server->auth);
    tl_requests_free(server);
    tl_scratches_free(server);
    pthread_cond_destroy(&server->housekeeper_wake);
    pthread_mutex_destroy(&server->housekeeper_mutex);
    pthread_mutex_destroy(&server->free_mutex);
    pthread_mutex_destroy(&server->peers_mutex);
    free(server->metrics.durations);
    free(server);
}

static tl_status threads_start(tl_server *server, tl_error *err)
{
    tl_status status = tl_worker_start(&server->readers, READ_QUEUE_MAX);
    if (status == TL_OK) status = tl_worker_start(&server->controllers, CONTROL_QUEUE_MAX);
    if (status == TL_OK) status = housekeeper_start(server);
    return status == TL_OK ? TL_OK : tl_fail(err, status, "cannot start the server's threads");
}

static tl_status parts_open(tl_server *server, tl_error *err)
{
    const tl_server_options *options = &server->options;
    server->metrics.durations = calloc(TL_ROUTE_COUNT_MAX, sizeof *server->metrics.durations);
    if (server->metrics.durations == NULL) return tl_fail(err, TL_ENOMEM, "out of memory");
    tl_status status =
        tl_listen_open(options, &server->listen_socket, &server->port, &server->loopback, err);
    if (status == TL_OK && options->tokens_path != NULL)
        status = tl_auth_open(options->tokens_path, &server->auth, err);
    if (status == TL_OK) status = tl_events_open(options->max_event_clients, &server->events, err);
    return status;
}

static tl_status serve(tl_server *server, tl_error *err)
{
    pem_files pem;
    tl_status status = pem_read(&server->options, &pem, err);
    if (status != TL_OK) return status;
    server->daemon = http_start(server, &pem);
    pem_free(&pem);
    if (server->daemon != NULL) return TL_OK;
    return server->options.tls_certificate_path != NULL
               ? tl_fail(err, TL_EINVAL,
                         "cannot serve: the TLS certificate and key do not fit "
                         "each other, or are no PEM files")
               : tl_fail(err, TL_EIO, "cannot serve: %s", strerror(errno));
}

tl_status tl_server_start(tl_runtime *runtime, const tl_server_options *options, tl_server **out,
                          tl_error *err)
{
    TL_ASSERT(runtime != NULL);
    TL_ASSERT(options != NULL);
    tl_status status = options_check(options, err);
    if (status != TL_OK) return status;
    if (sodium_init() < 0) return tl_fail(err, TL_EIO, "no randomness");
    tl_server *server = calloc(1, sizeof *server);
    if (server == NULL) return tl_fail(err, TL_ENOMEM, "out of memory for the server");
    server->runtime = runtime;
    server->options = *options;
    server->listen_socket = -1;
    locks_init(server);
    status = parts_open(server, err);
    if (status == TL_OK) status = threads_start(server, err);
    if (status == TL_OK) status = serve(server, err);
    if (status != TL_OK) {
        server_free(server);
        return status;
    }
    tl_runtime_on_event(runtime, tl_events_publish, server->events);
    *out = server;
    return TL_OK;
}

uint16_t tl_server_port(const tl_server *server)
{
    return server->port;
}

tl_status tl_server_reload(tl_server *server, tl_error *err)
{
    return server->auth == NULL ? TL_OK : tl_auth_reload(server->auth, err);
}

/* ---- Stop ------------------------------------------------------------------------------------ */

static void wait_ms(long ms)
{
    struct timespec span = { .tv_nsec = ms * 1000000 };
    nanosleep(&span, NULL);
}

void tl_server_stop(tl_server **slot)
{
    tl_server *server = *slot;
    if (server == NULL) return;
    *slot = NULL;
    tl_runtime_on_event(server->runtime, NULL, NULL);
    atomic_store(&server->stopping, true);
    /* From here on connections are refused; the socket is closed when nobody can use it any more.
     */
    (void)MHD_quiesce_daemon(server->daemon);
    shutdown(server->listen_socket, SHUT_RDWR);
    tl_events_end(server->events);
    /* What was handed to the loop or a worker is always waited for: its memory is in use. The rest
     * is waited for as long as the clients are given. */
    int64_t until = tl_server_now_ns() + (int64_t)server->options.stop_timeout_s * 1000000000;
    while (atomic_load(&server->metrics.suspended) > 0 ||
           (atomic_load(&server->metrics.active) > 0 && tl_server_now_ns() < until))
        wait_ms(2);
    MHD_stop_daemon(server->daemon);
    server_free(server);
}

/* serve.c - `tightloop serve`: the loops of a configuration over HTTP. */
#include "base/env.h"
#include "base/log.h"
#include "cli/target.h"
#include "cli/terminal/terminal.h"
#include "server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *config, *journal, *listen, *log;
    uint64_t ready_fd;
    bool json, unauthenticated;
} values = { .log = "warning" };

static const tl_option options[] = {
    { "config", 'c', TL_OPTION_FILE, "FILE", "The configuration. [tightloop.yaml]", &values.config,
      0, 0 },
    { "journal", 'j', TL_OPTION_FOLDER, "DIR",
      "Journal, in place of the configuration's. Without a configuration the loops that are "
      "recorded in it are served.",
      &values.journal, 0, 0 },
    { "listen", 'L', TL_OPTION_TEXT, "[HOST:]PORT",
      "Where to listen, in place of the configuration's; port 0 takes any that is free.",
      &values.listen, 0, 0 },
    { "ready-fd", 0, TL_OPTION_WHOLE, "FD",
      "Write the line \"ready URL\" to this file descriptor instead of standard output.",
      &values.ready_fd, 0, 1023 },
    { "allow-unauthenticated", 0, TL_OPTION_FLAG, NULL,
      "Listen beyond this machine though there are no tokens.", &values.unauthenticated, 0, 0 },
    { "log", 0, TL_OPTION_CHOICE, "debug|info|warning|error", "How much to say.", &values.log, 0,
      0 },
    { "json", 0, TL_OPTION_FLAG, NULL, "The ready line as JSON.", &values.json, 0, 0 },
};

/* ---- Options --------------------------------------------------------------------------------- */

static void set_log_level(void)
{
    static const char *const names[] = { "debug", "info", "warning", "error" };
    for (int i = 0; i < 4; i++)
        if (strcmp(values.log, names[i]) == 0) tl_log_set_level((tl_log_level)i);
}

/* "8080", "host:8080", "[::1]:8080" over the configuration's. `host` has room for 256. */
static tl_status apply_listen(tl_server_options *server, char *host, tl_error *err)
{
    if (values.listen == NULL) return TL_OK;
    const char *colon = strrchr(values.listen, ':');
    const char *digits = colon != NULL ? colon + 1 : values.listen;
    char *end;
    unsigned long port = strtoul(digits, &end, 10);
    if (digits[0] < '0' || digits[0] > '9' || *end != '\0' || port > 65535)
        return tl_fail(err, TL_EINVAL, "--listen takes [HOST:]PORT, not \"%.60s\"", values.listen);
    server->port = (uint16_t)port;
    if (colon == NULL) return TL_OK;
    const char *start = values.listen;
    size_t bytes = (size_t)(colon - start);
    if (bytes >= 2 && start[0] == '[' && start[bytes - 1] == ']') {
        start++;
        bytes -= 2;
    }
    if (bytes == 0 || bytes >= 256)
        return tl_fail(err, TL_EINVAL, "--listen takes [HOST:]PORT, not \"%.60s\"", values.listen);
    memcpy(host, start, bytes);
    host[bytes] = '\0';
    server->address = host;
    return TL_OK;
}

static tl_server_options server_options(const tl_config_server *from)
{
    tl_server_options to = tl_server_options_default();
    to.address = from->host;
    to.port = (uint16_t)from->port;
    to.tls_certificate_path = from->tls_certificate;
    to.tls_key_path = from->tls_key;
    to.tokens_path = from->tokens_file;
    to.allow_unauthenticated = from->allow_unauthenticated || values.unauthenticated;
    to.max_body_bytes = from->max_body_bytes;
    to.max_connections = from->max_connections;
    to.idle_timeout_s = from->idle_timeout_s;
    to.io_threads = from->io_threads;
    to.max_connections_per_ip = from->max_connections_per_ip;
    to.request_timeout_s = from->request_timeout_s;
    to.open_metrics = from->open_metrics;
    return to;
}

/* ---- Starting and stopping ------------------------------------------------------------------- */

static tl_status open_loops(const tl_config *config, tl_runtime **runtime, tl_error *err)
{
    if (config->loop_count == 0) return tl_target_open_runtime(&config->runtime, runtime, err);
    tl_status status = tl_runtime_open(&config->runtime, runtime, err);
    for (size_t i = 0; status == TL_OK && i < config->loop_count; i++) {
        tl_loop *loop;
        status = tl_loop_open(*runtime, &config->loops[i], &loop, err);
        if (status != TL_OK) tl_fail_context(err, status, "loop \"%s\"", config->loops[i].name);
    }
    return status;
}

static void tell_ready(const tl_server_options *o, uint16_t port, double ready_ms)
{
    char line[512];
    bool bare = strchr(o->address, ':') != NULL; /* IPv6 */
    const char *scheme = o->tls_certificate_path != NULL ? "https" : "http";
    if (values.json)
        snprintf(line, sizeof line, "{\"ready\":\"%s://%s%s%s:%u\",\"ready_ms\":%.1f}\n", scheme,
                 bare ? "[" : "", o->address, bare ? "]" : "", (unsigned)port, ready_ms);
    else
        snprintf(line, sizeof line, "ready %s://%s%s%s:%u\n", scheme, bare ? "[" : "", o->address,
                 bare ? "]" : "", (unsigned)port);
    int fd = values.ready_fd > 0 ? (int)values.ready_fd : STDOUT_FILENO;
    ssize_t n = write(fd, line, strlen(line));
    (void)n; /* nobody may be listening: that is their choice */
    fprintf(stderr, "Ready after %.0f ms. Stop with Ctrl-C; a second one does not wait.\n",
            ready_ms);
}

/* SIGINT, SIGTERM and SIGHUP are blocked in all threads and taken one by one here. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void exit_at_once(int number)
{
    (void)number;
    _exit(TL_EXIT_FAILURE);
}

static void wait_for_stop(const sigset_t *set, tl_server *server)
{
    for (;;) {
        tl_error err;
        int number = sigwaitinfo(set, NULL);
        if (number < 0) continue;
        if (number != SIGHUP) break;
        if (tl_server_reload(server, &err) != TL_OK)
            fprintf(stderr, "Reload: %s; the tokens in force stay.\n", err.text);
        else
            fprintf(stderr, "Tokens were read again.\n");
    }
    fprintf(stderr, "Stopping: answering what was accepted.\n");
    struct sigaction now = { .sa_handler = exit_at_once };
    sigaction(SIGINT, &now, NULL);
    sigaction(SIGTERM, &now, NULL);
    pthread_sigmask(SIG_UNBLOCK, set, NULL);
}

static int run(const tl_arguments *arguments)
{
    (void)arguments;
    tl_error err;
    tl_config *config = NULL;
    tl_runtime *runtime = NULL;
    tl_server *server = NULL;
    sigset_t signals;
    char host[256];
    int64_t started = tl_env_mono_ns(tl_env_system());
    set_log_level();
    block_signals(&signals);
    tl_status status =
        tl_command_config(values.config, values.journal, values.journal != NULL, &config, &err);
    if (status != TL_OK) return tl_command_fail(&tl_command_serve, &err);
    tl_server_options server_opts = server_options(&config->server);
    if (apply_listen(&server_opts, host, &err) != TL_OK) {
        tl_config_destroy(&config);
        return tl_command_misuse(&tl_command_serve, &err);
    }
    int code = TL_EXIT_OK;
    status = open_loops(config, &runtime, &err);
    if (status == TL_OK) status = tl_server_start(runtime, &server_opts, &server, &err);
    if (status == TL_OK) {
        double ready_ms = (double)(tl_env_mono_ns(tl_env_system()) - started) / 1e6;
        tell_ready(&server_opts, tl_server_port(server), ready_ms);
        wait_for_stop(&signals, server);
    } else {
        code = tl_command_fail(&tl_command_serve, &err);
    }
    tl_server_stop(&server);
    tl_runtime_close(&runtime);
    tl_config_destroy(&config);
    return code;
}

const tl_command tl_command_serve = {
    .name = "serve",
    .summary = "serve the loops of a configuration over HTTP",
    .details =
        "Opens the journal, recovers what a crash left, and serves the loops: Open Inference "
        "Protocol v2, feedback, control, metrics, events. When it answers, it prints one line "
        "\"ready "
        "URL\". It listens on this machine only unless told otherwise.\n\n"
        "SIGINT or SIGTERM: stops, after everything that was accepted is answered and durable. A "
        "second one exits at once; nothing that was acknowledged is lost then either. SIGHUP: "
        "reads "
        "the tokens file again.",
    .example = "tightloop init --loop boards --classes ok,open,short\n"
               "tightloop serve --listen 8080",
    .exits = "3 the journal is damaged",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run,
};

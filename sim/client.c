#include "sim/client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    ANSWER_BYTES_MAX = 64 << 20,
    HEAD_BYTES_MAX = 64 << 10,
    TOKEN_BYTES_MAX = 256,
    PART_COUNT_MAX = 6,
    TIMEOUT_MS_DEFAULT = 30000
};

struct tl_client {
    char host[256];
    char port[8];
    char token[TOKEN_BYTES_MAX];
    int timeout_ms;
    int socket;   /* -1: not connected */
    char *buffer; /* [capacity] what came in: head, then body */
    size_t capacity, used;
    tl_json_parser *parser;
    tl_arena arena;
};

/* ---- Lifecycle ------------------------------------------------------------------------------- */

tl_status tl_client_open(const tl_client_options *options, tl_client **out, tl_error *err)
{
    const char *host = options->host != NULL ? options->host : "127.0.0.1";
    const char *token = options->token != NULL ? options->token : "";
    if (strlen(host) >= sizeof((tl_client *)0)->host)
        return tl_fail(err, TL_EINVAL, "the host name is too long");
    if (strlen(token) >= TOKEN_BYTES_MAX || strpbrk(token, "\r\n") != NULL)
        return tl_fail(err, TL_EINVAL, "the token is too long or has a line break in it");
    tl_client *client = calloc(1, sizeof *client);
    if (client == NULL) return tl_fail(err, TL_ENOMEM, "HTTP client");
    client->socket = -1;
    client->timeout_ms = options->timeout_ms > 0 ? (int)options->timeout_ms : TIMEOUT_MS_DEFAULT;
    snprintf(client->host, sizeof client->host, "%s", host);
    snprintf(client->port, sizeof client->port, "%u", (unsigned)options->port);
    snprintf(client->token, sizeof client->token, "%s", token);
    tl_arena_init(&client->arena, ANSWER_BYTES_MAX);
    tl_status status = tl_json_parser_create(NULL, &client->parser, err);
    if (status != TL_OK) {
        tl_client_close(&client);
        return status;
    }
    *out = client;
    return TL_OK;
}

static void hang_up(tl_client *client)
{
    if (client->socket >= 0) close(client->socket);
    client->socket = -1;
}

void tl_client_close(tl_client **client)
{
    if (*client == NULL) return;
    hang_up(*client);
    tl_json_parser_destroy(&(*client)->parser);
    tl_arena_destroy(&(*client)->arena);
    free((*client)->buffer);
    free(*client);
    *client = NULL;
}

tl_status tl_client_parse_url(const char *url, char host[256], uint16_t *port, tl_error *err)
{
    if (strncmp(url, "https://", 8) == 0)
        return tl_fail(err, TL_EUNSUPPORTED,
                       "https is not supported here; use a plain port on the server's own machine");
    if (strncmp(url, "http://", 7) != 0)
        return tl_fail(err, TL_EINVAL, "\"%.80s\" is no http:// address", url);
    const char *start = url + 7;
    bool bracketed = *start == '['; /* IPv6 literal */
    if (bracketed) start++;
    size_t bytes = strcspn(start, bracketed ? "]" : ":/");
    const char *rest = start + bytes + (bracketed && start[bytes] == ']');
    if (bytes == 0 || bytes >= 256)
        return tl_fail(err, TL_EINVAL, "\"%.80s\" has no host name", url);
    unsigned long number = 80;
    if (*rest == ':') {
        char *end;
        number = strtoul(rest + 1, &end, 10);
        if (end == rest + 1 || number == 0 || number > 65535)
            return tl_fail(err, TL_EINVAL, "\"%.80s\" has no valid port", url);
        rest = end;
    }
    if (*rest != '\0' && strcmp(rest, "/") != 0)
        return tl_fail(err, TL_EINVAL, "\"%.80s\": want only http://HOST:PORT, without a path",
                       url);
    memcpy(host, start, bytes);
    host[bytes] = '\0';
    *port = (uint16_t)number;
    return TL_OK;
}

/* ---- The socket ------------------------------------------------------------------------------ */

static tl_status wait_for(tl_client *client, short events, tl_error *err)
{
    struct pollfd p = { .fd = client->socket, .events = events };
    int n;
    do n = poll(&p, 1, client->timeout_ms);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return tl_fail(err, TL_EIO, "%s:%s did not answer within %d ms", client->host, client->port,
                       client->timeout_ms);
    return n > 0 ? TL_OK : tl_fail(err, TL_EIO, "poll: %s", strerror(errno));
}

static tl_status dial(tl_client *client, tl_error *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    int code = getaddrinfo(client->host, client->port, &hints, &list);
    if (code != 0)
        return tl_fail(err, TL_EIO, "cannot find %s: %s", client->host, gai_strerror(code));
    int why = 0;
    for (struct addrinfo *at = list; at != NULL && client->socket < 0; at = at->ai_next) {
        int s = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (s < 0) {
            why = errno;
        } else if (connect(s, at->ai_addr, at->ai_addrlen) != 0) {
            why = errno;
            close(s);
        } else {
            client->socket = s;
        }
    }
    freeaddrinfo(list);
    if (client->socket < 0)
        return tl_fail(err, TL_EIO, "cannot reach %s:%s: %s; is the server running?", client->host,
                       client->port, strerror(why));
    int on = 1;
    setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return TL_OK;
}

static tl_status send_all(tl_client *client, struct iovec *parts, size_t count, tl_error *err)
{
    while (count > 0) {
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = count };
        ssize_t n = sendmsg(client->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            tl_status status = wait_for(client, POLLOUT, err);
            if (status != TL_OK) return status;
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tl_fail(err, TL_EIO, "sending: %s", strerror(errno));
        size_t sent = (size_t)n;
        while (count > 0 && sent >= parts->iov_len) {
            sent -= parts->iov_len;
            parts++;
            count--;
        }
        if (count == 0) break;
        parts->iov_base = (char *)parts->iov_base + sent;
        parts->iov_len -= sent;
    }
    return TL_OK;
}

static tl_status reserve(tl_client *client, size_t bytes, tl_error *err)
{
    if (bytes <= client->capacity) return TL_OK;
    size_t capacity = client->capacity > 0 ? client->capacity : 4096;
    while (capacity < bytes) capacity *= 2;
    char *grown = realloc(client->buffer, capacity);
    if (grown == NULL) return tl_fail(err, TL_ENOMEM, "answer of %zu bytes", bytes);
    client->buffer = grown;
    client->capacity = capacity;
    return TL_OK;
}

/* Read once; *closed when the other side has nothing more. */
static tl_status receive(tl_client *client, bool *closed, tl_error *err)
{
    if (client->used > ANSWER_BYTES_MAX)
        return tl_fail(err, TL_ELIMIT, "the answer is over %d bytes", ANSWER_BYTES_MAX);
    tl_status status = reserve(client, client->used + 4096, err);
    if (status == TL_OK) status = wait_for(client, POLLIN, err);
    if (status != TL_OK) return status;
    ssize_t n =
        recv(client->socket, client->buffer + client->used, client->capacity - client->used - 1, 0);
    if (n < 0 && errno == EINTR) return TL_OK;
    if (n < 0) return tl_fail(err, TL_EIO, "receiving: %s", strerror(errno));
    *closed = n == 0;
    client->used += (size_t)n;
    return TL_OK;
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

typedef struct head {
    unsigned code;
    size_t bytes;      /* of the head with its empty line; 0: not complete yet */
    size_t body_bytes; /* SIZE_MAX: until the connection ends */
    size_t json_bytes; /* from Inference-Header-Content-Length; 0: the whole body */
    bool close_after;
} head;

static const char *header_value(const char *line, const char *name)
{
    size_t bytes = strlen(name);
    if (strncasecmp(line, name, bytes) != 0 || line[bytes] != ':') return NULL;
    return line + bytes + 1 + strspn(line + bytes + 1, " \t");
}

static tl_status read_head(char *text, size_t bytes, head *out, tl_error *err)
{
    *out = (head){ .body_bytes = SIZE_MAX };
    char *end = bytes > 0 ? memmem(text, bytes, "\r\n\r\n", 4) : NULL;
    if (end == NULL)
        return bytes <= HEAD_BYTES_MAX ? TL_OK : tl_fail(err, TL_EINVAL, "endless HTTP headers");
    if (sscanf(text, "HTTP/1.%*1[01] %3u", &out->code) != 1)
        return tl_fail(err, TL_EINVAL, "the answer is not HTTP/1.1");
    out->bytes = (size_t)(end - text) + 4;
    for (char *line = text; line < end + 2;) {
        char *stop = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        const char *value;
        if ((value = header_value(line, "Content-Length")) != NULL)
            out->body_bytes = strtoull(value, NULL, 10);
        if ((value = header_value(line, "Inference-Header-Content-Length")) != NULL)
            out->json_bytes = strtoull(value, NULL, 10);
        if ((value = header_value(line, "Connection")) != NULL)
            out->close_after = strncasecmp(value, "close", 5) == 0;
        if (header_value(line, "Transfer-Encoding") != NULL)
            return tl_fail(err, TL_EUNSUPPORTED, "chunked answers are not supported here");
        line = stop + 2;
    }
    if (out->code == 204 || out->code == 304) out->body_bytes = 0;
    if (out->body_bytes != SIZE_MAX && out->body_bytes > ANSWER_BYTES_MAX)
        return tl_fail(err, TL_ELIMIT, "the answer is over %d bytes", ANSWER_BYTES_MAX);
    return TL_OK;
}

static tl_status read_answer(tl_client *client, tl_client_answer *out, tl_error *err)
{
    head h = { 0 };
    bool closed = false;
    client->used = 0;
    while (h.bytes == 0) {
        tl_status status = read_head(client->buffer, client->used, &h, err);
        if (status != TL_OK) return status;
        if (h.bytes == 0 && closed) return tl_fail(err, TL_EIO, "the server closed the connection");
        if (h.bytes == 0) status = receive(client, &closed, err);
        if (status != TL_OK) return status;
        if (h.bytes > 0 && h.code >= 100 && h.code < 200) { /* "100 Continue" and the like */
            memmove(client->buffer, client->buffer + h.bytes, client->used - h.bytes);
            client->used -= h.bytes;
            h.bytes = 0;
        }
    }
    while (!closed && (h.body_bytes == SIZE_MAX || client->used - h.bytes < h.body_bytes)) {
        tl_status status = receive(client, &closed, err);
        if (status != TL_OK) return status;
    }
    size_t bytes = client->used - h.bytes;
    if (h.body_bytes != SIZE_MAX && bytes < h.body_bytes)
        return tl_fail(err, TL_EIO, "the answer broke off");
    if (closed || h.close_after) hang_up(client);
    client->buffer[client->used] = '\0';
    *out = (tl_client_answer){ .code = h.code, .body = client->buffer + h.bytes, .bytes = bytes };
    size_t json_bytes = h.json_bytes > 0 && h.json_bytes < bytes ? h.json_bytes : bytes;
    tl_arena_reset(&client->arena);
    if (json_bytes == 0 || tl_json_parse(client->parser, out->body, json_bytes, &client->arena,
                                         &out->json, NULL) != TL_OK)
        out->json = NULL;
    return TL_OK;
}

static tl_status exchange(tl_client *client, const char *head_text, size_t head_bytes,
                          const tl_client_request *request, tl_client_answer *out, tl_error *err)
{
    struct iovec parts[1 + PART_COUNT_MAX] = { { (void *)(uintptr_t)head_text, head_bytes } };
    for (size_t i = 0; i < request->part_count; i++)
        parts[1 + i] =
            (struct iovec){ (void *)(uintptr_t)request->parts[i].data, request->parts[i].bytes };
    tl_status status = send_all(client, parts, 1 + request->part_count, err);
    if (status == TL_OK) status = read_answer(client, out, err);
    if (status != TL_OK) hang_up(client);
    return status;
}

tl_status tl_client_send(tl_client *client, const tl_client_request *request, tl_client_answer *out,
                         tl_error *err)
{
    TL_ASSERT(request->part_count <= PART_COUNT_MAX);
    size_t body_bytes = 0;
    for (size_t i = 0; i < request->part_count; i++) body_bytes += request->parts[i].bytes;
    char text[1024 + TOKEN_BYTES_MAX], extra[64 + TOKEN_BYTES_MAX + 32] = "", json[64] = "";
    if (client->token[0] != '\0')
        snprintf(extra, sizeof extra, "Authorization: Bearer %s\r\n", client->token);
    if (request->json_bytes > 0)
        snprintf(json, sizeof json, "Inference-Header-Content-Length: %zu\r\n",
                 request->json_bytes);
    int bytes = snprintf(text, sizeof text,
                         "%s %s HTTP/1.1\r\nHost: %.255s:%s\r\nContent-Type: %s\r\n"
                         "Content-Length: %zu\r\n%s%s\r\n",
                         request->method, request->path, client->host, client->port,
                         request->content_type != NULL ? request->content_type : "application/json",
                         body_bytes, json, extra);
    if (bytes < 0 || (size_t)bytes >= sizeof text)
        return tl_fail(err, TL_EINVAL, "the request's path is too long");
    if (client->socket >= 0) {
        /* The server may have closed a connection that was idle; that shows only now. */
        struct pollfd p = { .fd = client->socket, .events = POLLIN | POLLRDHUP };
        if (poll(&p, 1, 0) != 0) hang_up(client);
    }
    if (client->socket < 0) {
        tl_status status = dial(client, err);
        if (status != TL_OK) return status;
    }
    return exchange(client, text, (size_t)bytes, request, out, err);
}

static tl_status code_to_status(unsigned code)
{
    switch (code) {
    case 401:
    case 403: return TL_EPERM;
    case 404: return TL_ENOTFOUND;
    case 409: return TL_ECONFLICT;
    case 413: return TL_ELIMIT;
    case 503: return TL_EFULL;
    case 507: return TL_ENOSPC;
    default: return code < 500 ? TL_EINVAL : TL_EIO;
    }
}

tl_status tl_client_call(tl_client *client, const char *method, const char *path, const char *body,
                         tl_client_answer *out, tl_error *err)
{
    tl_client_part part = { body, body != NULL ? strlen(body) : 0 };
    tl_client_request request = {
        .method = method, .path = path, .parts = &part, .part_count = body != NULL
    };
    tl_status status = tl_client_send(client, &request, out, err);
    if (status != TL_OK || out->code < 400) return status;
    const char *text = tl_json_get_text(out->json, "error", NULL);
    if (text == NULL) return tl_fail(err, code_to_status(out->code), "HTTP status %u", out->code);
    return tl_fail(err, code_to_status(out->code), "%.200s", text);
}

/* ---- Boards ---------------------------------------------------------------------------------- */

/* The i-th element of an array, as a value. */
static const tl_json *first_of(const tl_json *list)
{
    return list != NULL && list->kind == TL_JSON_ARRAY ? tl_json_first(list) : list;
}

static bool read_flag(const tl_json *list)
{
    bool flag = false;
    double number;
    const tl_json *value = first_of(list);
    if (value != NULL && value->kind == TL_JSON_NUMBERS) return value->as.numbers.values[0] != 0.0;
    if (tl_json_number(value, &number)) return number != 0.0;
    (void)tl_json_bool(value, &flag);
    return flag;
}

static void read_verdict(const tl_json *answer, tl_client_verdict *out)
{
    const tl_json *parameters = tl_json_get(answer, "parameters");
    const char *id;
    if (tl_json_text(first_of(tl_json_get(parameters, "prediction_ids")), &id))
        snprintf(out->id, sizeof out->id, "%s", id);
    out->review = read_flag(tl_json_get(parameters, "review"));
    const char *version = tl_json_get_text(answer, "model_version", "0");
    out->version = strtoull(version, NULL, 10);
    for (const tl_json *at = tl_json_first(tl_json_get(answer, "outputs")); at; at = at->next) {
        const char *name = tl_json_get_text(at, "name", "");
        const tl_json *data = tl_json_get(at, "data");
        if (strcmp(name, "flagged") == 0) out->flagged = read_flag(data);
        if (strcmp(name, "label") != 0) continue;
        const char *label = "";
        (void)tl_json_text(first_of(data), &label);
        for (uint32_t k = 0; k < TL_SIM_CLASS_COUNT; k++)
            if (strcmp(label, TL_SIM_CLASSES[k]) == 0) out->label = k;
    }
}

static const char *known(const char *text)
{
    return text != NULL ? text : "";
}

tl_status tl_client_infer(tl_client *client, const char *loop, const tl_client_origin *origin,
                          const tl_sim_board *board, tl_client_verdict *out, tl_error *err)
{
    char path[160], json[840];
    snprintf(path, sizeof path, "/v2/models/%s/infer", loop);
    int bytes =
        snprintf(json, sizeof json,
                 "{\"parameters\":{\"line\":\"%s\",\"board\":\"%s\",\"lot\":\"%s\"},\"inputs\":["
                 "{\"name\":\"image\",\"datatype\":\"UINT8\",\"shape\":[1,64,64],"
                 "\"parameters\":{\"binary_data_size\":4096}},"
                 "{\"name\":\"reference\",\"datatype\":\"UINT8\",\"shape\":[1,64,64],"
                 "\"parameters\":{\"binary_data_size\":4096}}],"
                 "\"outputs\":[{\"name\":\"label\"},{\"name\":\"flagged\"}]}",
                 known(origin->line), known(origin->board), known(origin->lot));
    TL_ASSERT(bytes > 0 && (size_t)bytes < sizeof json);
    const tl_client_part parts[3] = { { json, (size_t)bytes },
                                      { board->image, TL_SIM_PIXELS },
                                      { board->reference, TL_SIM_PIXELS } };
    const tl_client_request request = { .method = "POST",
                                        .path = path,
                                        .content_type = "application/octet-stream",
                                        .parts = parts,
                                        .part_count = 3,
                                        .json_bytes = (size_t)bytes };
    tl_client_answer answer;
    tl_status status = tl_client_send(client, &request, &answer, err);
    if (status != TL_OK) return status;
    tl_client_verdict verdict = { .code = answer.code };
    if (answer.code == 200) read_verdict(answer.json, &verdict);
    if (answer.code == 200 && verdict.id[0] == '\0')
        return tl_fail(err, TL_EINVAL, "the server's answer has no prediction id");
    *out = verdict;
    return TL_OK;
}

tl_status tl_client_feedback(tl_client *client, const char *loop, const char *id, const char *label,
                             unsigned *code_out, tl_error *err)
{
    char path[160], json[256];
    snprintf(path, sizeof path, "/v2/models/%s/feedback", loop);
    int bytes =
        snprintf(json, sizeof json, "{\"prediction_id\":\"%s\",\"label\":\"%s\"}", id, label);
    TL_ASSERT(bytes > 0 && (size_t)bytes < sizeof json);
    const tl_client_part part = { json, (size_t)bytes };
    const tl_client_request request = {
        .method = "POST", .path = path, .parts = &part, .part_count = 1
    };
    tl_client_answer answer;
    tl_status status = tl_client_send(client, &request, &answer, err);
    if (status == TL_OK) *code_out = answer.code;
    return status;
}

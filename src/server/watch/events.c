/* events.c - GET /events: what happens in the loops, as server-sent events (WHATWG HTML, 9.2).
 *
 * Each client has a buffer. The reader, on an I/O thread, empties it and suspends its connection
 * when there is nothing; publishing, on a thread of the runtime, fills it and resumes. A client
 * whose buffer is full is too slow: its stream ends, and it may connect again. */
#include "server/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES = 64 * 1024, BLOCK_BYTES = 4096, HEARTBEAT_S = 10 };

typedef struct client {
    struct client *next;
    tl_events *events;
    struct MHD_Connection *connection;
    size_t start, end; /* what is to be sent is buffer[start, end) */
    bool waiting;      /* suspended until there is something */
    bool dropped;
    char buffer[BUFFER_BYTES];
} client;

struct tl_events {
    pthread_mutex_t mutex;
    client *clients;
    size_t count, count_max;
    uint64_t number; /* of the last event */
    uint64_t dropped;
    int64_t heartbeat_ns;
    bool ended;
};

tl_status tl_events_open(uint32_t clients_max, tl_events **out, tl_error *err)
{
    tl_events *events = calloc(1, sizeof *events);
    if (events == NULL) return tl_fail(err, TL_ENOMEM, "out of memory for events");
    pthread_mutex_init(&events->mutex, NULL);
    events->count_max = clients_max;
    *out = events;
    return TL_OK;
}

void tl_events_close(tl_events **events)
{
    TL_ASSERT((*events)->clients == NULL);
    pthread_mutex_destroy(&(*events)->mutex);
    free(*events);
    *events = NULL;
}

/* ---- Writing; with the mutex held ------------------------------------------------------------ */

static void wake(client *to)
{
    if (!to->waiting) return;
    to->waiting = false;
    MHD_resume_connection(to->connection);
}

/* All of the pieces or nothing: a stream is never cut inside an event. */
static void push(client *to, const char *head, size_t head_bytes, const char *body,
                 size_t body_bytes, const char *tail)
{
    size_t tail_bytes = strlen(tail), bytes = head_bytes + body_bytes + tail_bytes;
    if (to->dropped) return;
    if (bytes > BUFFER_BYTES - to->end && to->start > 0) {
        memmove(to->buffer, to->buffer + to->start, to->end - to->start);
        to->end -= to->start;
        to->start = 0;
    }
    if (bytes > BUFFER_BYTES - to->end) {
        to->dropped = true;
        to->events->dropped++;
    } else {
        char *at = to->buffer + to->end;
        memcpy(at, head, head_bytes);
        if (body_bytes > 0) memcpy(at + head_bytes, body, body_bytes);
        memcpy(at + head_bytes + body_bytes, tail, tail_bytes);
        to->end += bytes;
    }
    wake(to);
}

void tl_events_publish(void *context, const char *json, size_t bytes)
{
    tl_events *events = context;
    char head[48];
    pthread_mutex_lock(&events->mutex);
    int head_bytes =
        snprintf(head, sizeof head, "id: %llu\ndata: ", (unsigned long long)++events->number);
    /* A line break would end the event; an event is one line. */
    const char *newline = memchr(json, '\n', bytes);
    if (newline != NULL) bytes = (size_t)(newline - json);
    for (client *to = events->clients; to != NULL; to = to->next)
        push(to, head, (size_t)head_bytes, json, bytes, "\n\n");
    pthread_mutex_unlock(&events->mutex);
}

/* So that a client that is gone is noticed, and proxies keep the connection. */
void tl_events_heartbeat(tl_events *events, int64_t now_ns)
{
    pthread_mutex_lock(&events->mutex);
    if (now_ns - events->heartbeat_ns >= (int64_t)HEARTBEAT_S * 1000000000) {
        events->heartbeat_ns = now_ns;
        for (client *to = events->clients; to != NULL; to = to->next)
            push(to, ":", 1, NULL, 0, "\n\n");
    }
    pthread_mutex_unlock(&events->mutex);
}

void tl_events_end(tl_events *events)
{
    pthread_mutex_lock(&events->mutex);
    events->ended = true;
    for (client *to = events->clients; to != NULL; to = to->next) wake(to);
    pthread_mutex_unlock(&events->mutex);
}

size_t tl_events_client_count(tl_events *events)
{
    pthread_mutex_lock(&events->mutex);
    size_t count = events->count;
    pthread_mutex_unlock(&events->mutex);
    return count;
}

uint64_t tl_events_dropped_count(tl_events *events)
{
    pthread_mutex_lock(&events->mutex);
    uint64_t dropped = events->dropped;
    pthread_mutex_unlock(&events->mutex);
    return dropped;
}

/* ---- One client ------------------------------------------------------------------------------ */

static ssize_t client_read(void *context, uint64_t position, char *out, size_t capacity)
{
    (void)position;
    client *from = context;
    tl_events *events = from->events;
    ssize_t result;
    pthread_mutex_lock(&events->mutex);
    size_t bytes = from->end - from->start;
    if (bytes > 0) {
        if (bytes > capacity) bytes = capacity;
        memcpy(out, from->buffer + from->start, bytes);
        from->start += bytes;
        if (from->start == from->end) from->start = from->end = 0;
        result = (ssize_t)bytes;
    } else if (from->dropped || events->ended) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        from->waiting = true;
        MHD_suspend_connection(from->connection);
        result = 0;
    }
    pthread_mutex_unlock(&events->mutex);
    return result;
}

static void client_free(void *context)
{
    client *gone = context;
    tl_events *events = gone->events;
    pthread_mutex_lock(&events->mutex);
    client **slot = &events->clients;
    while (*slot != gone) slot = &(*slot)->next;
    *slot = gone->next;
    events->count--;
    pthread_mutex_unlock(&events->mutex);
    free(gone);
}

static client *client_add(tl_events *events, struct MHD_Connection *connection, tl_error *err)
{
    client *added = malloc(sizeof *added);
    if (added == NULL) {
        tl_fail(err, TL_ENOMEM, "out of memory for events; try again");
        return NULL;
    }
    added->events = events;
    added->connection = connection;
    added->start = added->end = 0;
    added->waiting = added->dropped = false;
    pthread_mutex_lock(&events->mutex);
    bool full = events->count >= events->count_max;
    if (!full) {
        added->next = events->clients;
        events->clients = added;
        events->count++;
        push(added, "retry: 2000", 11, NULL, 0, "\n\n");
    }
    pthread_mutex_unlock(&events->mutex);
    if (!full) return added;
    free(added);
    tl_fail(err, TL_EFULL, "%zu clients listen to events already; try again later",
            events->count_max);
    return NULL;
}

tl_status tl_events_handle(tl_request *request, tl_error *err)
{
    client *added = client_add(request->server->events, request->connection, err);
    if (added == NULL) return err->status;
    request->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES,
                                                          client_read, added, client_free);
    if (request->response == NULL) {
        client_free(added);
        return tl_fail(err, TL_ENOMEM, "out of memory for events; try again");
    }
    request->content_type = "text/event-stream";
    request->cache_control = "no-store";
    return TL_OK;
}

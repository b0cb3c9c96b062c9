#include "base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct tl_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    size_t capacity, head, count, waiting;
    bool closed;
    void *slots[];
};

tl_status tl_queue_create(size_t capacity, tl_queue **out)
{
    TL_ASSERT(capacity >= 1);
    tl_queue *queue = calloc(1, sizeof *queue + capacity * sizeof queue->slots[0]);
    if (queue == NULL) return TL_ENOMEM;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_cond_init(&queue->filled, &attributes);
    pthread_condattr_destroy(&attributes);
    queue->capacity = capacity;
    *out = queue;
    return TL_OK;
}

void tl_queue_destroy(tl_queue **queue)
{
    if (*queue == NULL) return;
    pthread_cond_destroy(&(*queue)->filled);
    pthread_mutex_destroy(&(*queue)->mutex);
    free(*queue);
    *queue = NULL;
}

tl_status tl_queue_push(tl_queue *queue, void *pointer)
{
    tl_status status = TL_OK;
    pthread_mutex_lock(&queue->mutex);
    if (queue->closed) {
        status = TL_ECLOSED;
    } else if (queue->count == queue->capacity) {
        status = TL_EFULL;
    } else {
        queue->slots[(queue->head + queue->count++) % queue->capacity] = pointer;
    }
    bool wake = status == TL_OK && queue->waiting > 0;
    pthread_mutex_unlock(&queue->mutex);
    if (wake) pthread_cond_signal(&queue->filled);
    return status;
}

static struct timespec deadline_in(int64_t timeout_ns)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t ns = at.tv_nsec + timeout_ns % 1000000000;
    at.tv_sec += (time_t)(timeout_ns / 1000000000 + ns / 1000000000);
    at.tv_nsec = (long)(ns % 1000000000);
    return at;
}

size_t tl_queue_pop_many(tl_queue *queue, void **out, size_t capacity, int64_t timeout_ns)
{
    struct timespec deadline = { 0 };
    if (timeout_ns > 0) deadline = deadline_in(timeout_ns);
    pthread_mutex_lock(&queue->mutex);
    while (queue->count == 0 && !queue->closed && timeout_ns != 0) {
        queue->waiting++;
        int rc = timeout_ns < 0 ? pthread_cond_wait(&queue->filled, &queue->mutex)
                                : pthread_cond_timedwait(&queue->filled, &queue->mutex, &deadline);
        queue->waiting--;
        if (rc == ETIMEDOUT) break;
    }
    size_t taken = 0;
    while (taken < capacity && queue->count > 0) {
        out[taken++] = queue->slots[queue->head];
        queue->head = (queue->head + 1) % queue->capacity;
        queue->count--;
    }
    pthread_mutex_unlock(&queue->mutex);
    return taken;
}

void tl_queue_close(tl_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->closed = true;
    pthread_mutex_unlock(&queue->mutex);
    pthread_cond_broadcast(&queue->filled);
}

bool tl_queue_is_closed(tl_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    bool closed = queue->closed;
    pthread_mutex_unlock(&queue->mutex);
    return closed;
}

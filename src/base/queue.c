#include "base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct tl_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    size_t capacity, head, count, waiting;
    size_t enough; /* whoever gathers is woken at so many; 0: nobody gathers */
    bool urgent;   /* something came that was not pushed quietly */
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

static tl_status push(tl_queue *queue, void *pointer, bool quietly)
{
    tl_status status = TL_OK;
    pthread_mutex_lock(&queue->mutex);
    if (queue->closed) {
        status = TL_ECLOSED;
    } else if (queue->count == queue->capacity) {
        status = TL_EFULL;
    } else {
        queue->slots[(queue->head + queue->count++) % queue->capacity] = pointer;
        queue->urgent = queue->urgent || !quietly;
    }
    bool wake = status == TL_OK && queue->waiting > 0;
    wake = wake && (queue->urgent || queue->count >= queue->enough);
    pthread_mutex_unlock(&queue->mutex);
    if (wake) pthread_cond_signal(&queue->filled);
    return status;
}

tl_status tl_queue_push(tl_queue *queue, void *pointer)
{
    return push(queue, pointer, false);
}

tl_status tl_queue_push_quietly(tl_queue *queue, void *pointer)
{
    return push(queue, pointer, true);
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

/* Of a locked queue; unlocks it. */
static size_t take(tl_queue *queue, void **out, size_t capacity)
{
    size_t taken = 0;
    while (taken < capacity && queue->count > 0) {
        out[taken++] = queue->slots[queue->head];
        queue->head = (queue->head + 1) % queue->capacity;
        queue->count--;
    }
    queue->urgent = queue->urgent && queue->count > 0;
    pthread_mutex_unlock(&queue->mutex);
    return taken;
}

/* False: the deadline has passed. Of a locked queue. */
static bool wait_until(tl_queue *queue, const struct timespec *deadline)
{
    queue->waiting++;
    int rc = pthread_cond_timedwait(&queue->filled, &queue->mutex, deadline);
    queue->waiting--;
    return rc != ETIMEDOUT;
}

static void wait_for_ever(tl_queue *queue)
{
    queue->waiting++;
    pthread_cond_wait(&queue->filled, &queue->mutex);
    queue->waiting--;
}

size_t tl_queue_pop_many(tl_queue *queue, void **out, size_t capacity, int64_t timeout_ns)
{
    struct timespec deadline = { 0 };
    if (timeout_ns > 0) deadline = deadline_in(timeout_ns);
    pthread_mutex_lock(&queue->mutex);
    while (queue->count == 0 && !queue->closed && timeout_ns != 0) {
        if (timeout_ns < 0)
            wait_for_ever(queue);
        else if (!wait_until(queue, &deadline))
            break;
    }
    return take(queue, out, capacity);
}

size_t tl_queue_pop_gathered(tl_queue *queue, void **out, size_t capacity, int64_t gather_ns,
                             size_t enough)
{
    struct timespec deadline = deadline_in(gather_ns);
    pthread_mutex_lock(&queue->mutex);
    queue->enough = enough;
    while (queue->count < enough && !queue->urgent && !queue->closed)
        if (!wait_until(queue, &deadline)) break;
    queue->enough = 0;
    while (queue->count == 0 && !queue->closed) wait_for_ever(queue);
    return take(queue, out, capacity);
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

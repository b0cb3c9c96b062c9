/* queue.h - a bounded queue of pointers between threads. Layer: base.
 * Any number of threads may push and pop. Full is an answer, not a wait. */
#ifndef TL_BASE_QUEUE_H
#define TL_BASE_QUEUE_H

#include "base/status.h"

typedef struct tl_queue tl_queue;

tl_status tl_queue_create(size_t capacity, tl_queue **out);
void tl_queue_destroy(tl_queue **queue); /* NULL-safe; pointers still inside are the caller's */

/* TL_EFULL when full, TL_ECLOSED after tl_queue_close. */
tl_status tl_queue_push(tl_queue *queue, void *pointer);
/* Waits for at least one pointer, then takes up to `capacity` of them; returns how many.
 * timeout_ns < 0: forever. 0 on time-out, or when closed and empty. */
size_t tl_queue_pop_many(tl_queue *queue, void **out, size_t capacity, int64_t timeout_ns);
/* For what need not be seen at once, and is cheaper seen together: a push that does not wake whoever
 * gathers, unless it waits for anything at all. */
tl_status tl_queue_push_quietly(tl_queue *queue, void *pointer);
/* tl_queue_pop_many without a time-out, which first gathers: for gather_ns, or until `enough` pointers
 * are there, or one that was not pushed quietly, or the queue is closed. One thread gathers. */
size_t tl_queue_pop_gathered(tl_queue *queue, void **out, size_t capacity, int64_t gather_ns,
                             size_t enough);
/* No further pushes; what is inside can still be popped. */
void tl_queue_close(tl_queue *queue);
bool tl_queue_is_closed(tl_queue *queue);

#endif

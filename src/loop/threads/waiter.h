/* waiter.h - one thread waits until another has an answer. Layer: loop. */
#ifndef TL_LOOP_THREADS_WAITER_H
#define TL_LOOP_THREADS_WAITER_H

#include "base/status.h"

#include <pthread.h>

typedef struct tl_waiter {
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    bool finished;
    tl_status status;
    tl_error err;
} tl_waiter;

void tl_waiter_init(tl_waiter *waiter);
void tl_waiter_destroy(tl_waiter *waiter);
/* The answer; `err` may be NULL. What was written before is seen by whoever waited. */
void tl_waiter_finish(tl_waiter *waiter, tl_status status, const tl_error *err);
/* Wait for it: its status, and on failure *err filled (never without a text). May then be used for
 * the next answer. */
tl_status tl_waiter_wait(tl_waiter *waiter, tl_error *err);

#endif

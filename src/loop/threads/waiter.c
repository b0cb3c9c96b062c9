#include "loop/threads/waiter.h"

void tl_waiter_init(tl_waiter *waiter)
{
    *waiter = (tl_waiter){ .finished = false };
    pthread_mutex_init(&waiter->mutex, NULL);
    pthread_cond_init(&waiter->answered, NULL);
}

void tl_waiter_destroy(tl_waiter *waiter)
{
    pthread_mutex_destroy(&waiter->mutex);
    pthread_cond_destroy(&waiter->answered);
}

void tl_waiter_finish(tl_waiter *waiter, tl_status status, const tl_error *err)
{
    pthread_mutex_lock(&waiter->mutex);
    waiter->status = status;
    waiter->err.text[0] = '\0';
    if (status != TL_OK && err != NULL) waiter->err = *err;
    waiter->finished = true;
    pthread_cond_signal(&waiter->answered);
    pthread_mutex_unlock(&waiter->mutex);
}

tl_status tl_waiter_wait(tl_waiter *waiter, tl_error *err)
{
    pthread_mutex_lock(&waiter->mutex);
    while (!waiter->finished) pthread_cond_wait(&waiter->answered, &waiter->mutex);
    waiter->finished = false;
    tl_status status = waiter->status;
    pthread_mutex_unlock(&waiter->mutex);
    if (status == TL_OK) return TL_OK;
    if (waiter->err.text[0] == '\0') return tl_fail(err, status, "%s", tl_status_text(status));
    if (err != NULL) *err = waiter->err;
    return status;
}

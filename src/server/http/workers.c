/* workers.c - calls that may wait run beside the I/O threads: one thread for reading, one for
 * changes, so that a promotion of seconds does not hold up /metrics. */
#include "server/internal.h"

static void *worker_run(void *context)
{
    tl_worker *worker = context;
    void *pointer;
    while (tl_queue_pop_many(worker->queue, &pointer, 1, -1) == 1) {
        tl_request *request = pointer;
        request->status = request->match.route->handle(request, &request->error);
        tl_request_resume(request);
    }
    return NULL;
}

tl_status tl_worker_start(tl_worker *worker, size_t capacity)
{
    tl_status status = tl_queue_create(capacity, &worker->queue);
    if (status != TL_OK) return status;
    worker->running = pthread_create(&worker->thread, NULL, worker_run, worker) == 0;
    return worker->running ? TL_OK : TL_ENOMEM;
}

void tl_worker_stop(tl_worker *worker)
{
    if (worker->queue == NULL) return;
    tl_queue_close(worker->queue);
    if (worker->running) pthread_join(worker->thread, NULL);
    worker->running = false;
    tl_queue_destroy(&worker->queue);
}

tl_status tl_worker_submit(tl_worker *worker, tl_request *request, tl_error *err)
{
    tl_request_suspend(request);
    tl_status status = tl_queue_push(worker->queue, request);
    if (status == TL_OK) return TL_OK;
    request->status = tl_fail(err, status, "too many such requests are waiting; try again shortly");
    tl_request_resume(request);
    return status;
}

/* load.h - what the files of the load generator share.
 *
 * One thread, epoll, keep-alive, no pipelining. Closed loop: each connection sends its next request
 * when it has its answer. Open loop: requests are due at a steady rate whatever the server does,
 * and a latency counts from the time at which its request was due, so that waiting is not hidden.
 */
#ifndef TL_BENCH_LOAD_H
#define TL_BENCH_LOAD_H

#include "base/histogram.h"
#include "base/status.h"

#include <sys/uio.h>

enum { PARTS_MAX = 3, ID_BYTES = 36 };

typedef struct load_options {
    uint16_t port;
    const char *loop, *input; /* input: "features" or "board" */
    uint32_t features, lines, connections, feedback_connections, classes;
    double rate;      /* requests a second, open loop; 0: closed loop */
    double seconds;   /* after the warm-up */
    double warm_s;    /* not counted */
    double labels;    /* share of answered items for which feedback is sent */
    uint64_t swap[2]; /* versions promoted in turn, in every second second; 0: none */
    uint32_t swaps;   /* in such a second */
    uint64_t seed;
} load_options;

/* ---- Requests (request.c) -------------------------------------------------------------------- */

typedef struct load_requests load_requests;

/* Prepare what will be sent: `count` different items, sent over and over when more are wanted. */
load_requests *load_requests_make(const load_options *options, size_t count);
void load_requests_free(load_requests *requests);
/* The parts of request `index`; borrowed. */
size_t load_request_parts(const load_requests *requests, uint64_t index, struct iovec *parts);
/* Feedback on the prediction `id` [ID_BYTES], with the truth of item `index`, into `out`. */
size_t load_feedback_write(const load_requests *requests, uint64_t index, const char *id, char *out,
                           size_t capacity);

/* ---- Running (run.c) ------------------------------------------------------------------------- */

typedef struct load_count {
    uint64_t sent, answered, refused, failed; /* refused: 503 */
    tl_histogram latency;
    int64_t worst_ns;
} load_count;

typedef struct load_result {
    load_count all;     /* predictions */
    load_count swap[2]; /* the same, in seconds without and with a swap */
    load_count feedback;
    uint64_t swaps;
    tl_histogram swap_latency;
    double seconds, cpu_s;
    double rate_late_ms;   /* how far behind its schedule the sending was at worst */
    uint64_t answer_bytes; /* of the last answer */
    char failure[200];     /* the first answer that was an error, or what broke */
} load_result;

/* False: could not connect, or the server went away; result->failure says so. */
bool load_run(const load_options *options, const load_requests *requests, load_result *result);

int64_t load_now_ns(void);

#endif

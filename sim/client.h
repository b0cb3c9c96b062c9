/* client.h - a small HTTP/1.1 client that keeps its connection: what drives the server in the demo,
 * in benchmarks, and from the command line. Plain TCP, no TLS. Layer: sim.
 * One owner thread per client. What answers point to is borrowed until the client's next call. */
#ifndef TL_SIM_CLIENT_H
#define TL_SIM_CLIENT_H

#include "format/json.h"
#include "sim/board.h"

typedef struct tl_client tl_client;

typedef struct tl_client_options {
    const char *host; /* name or literal; NULL: 127.0.0.1 */
    uint16_t port;
    const char *token;   /* bearer token; NULL: none */
    uint32_t timeout_ms; /* for each wait on the socket; 0: 30,000 */
} tl_client_options;

/* Does not connect yet. Errors: TL_EINVAL (host, token too long), TL_ENOMEM. */
tl_status tl_client_open(const tl_client_options *options, tl_client **out, tl_error *err);
void tl_client_close(tl_client **client); /* NULL-safe; clears *client */

/* "http://host:port[/]" into its parts. Errors: TL_EINVAL, TL_EUNSUPPORTED (https). */
tl_status tl_client_parse_url(const char *url, char host[256], uint16_t *port, tl_error *err);

typedef struct tl_client_part {
    const void *data;
    size_t bytes;
} tl_client_part;

typedef struct tl_client_request {
    const char *method, *path;
    const char *content_type;    /* NULL: application/json */
    const tl_client_part *parts; /* body, sent one after the other */
    size_t part_count;
    size_t json_bytes; /* > 0: Inference-Header-Content-Length */
} tl_client_request;

typedef struct tl_client_answer {
    unsigned code;    /* HTTP status */
    const char *body; /* NUL-terminated */
    size_t bytes;
    const tl_json *json; /* the body parsed, NULL when it is not JSON */
} tl_client_answer;

/* Send and wait for the answer; connects when needed, and once more when a kept connection turns
 * out to be closed. Any HTTP status is TL_OK. Errors: TL_EIO (not reachable, broken off, timed
 * out), TL_EINVAL (not HTTP), TL_ELIMIT (answer over 64 MiB), TL_ENOMEM. */
tl_status tl_client_send(tl_client *client, const tl_client_request *request, tl_client_answer *out,
                         tl_error *err);

/* The same for a JSON body (NULL: none), with an HTTP status of 400 or more turned into an error
 * whose text is the server's. */
tl_status tl_client_call(tl_client *client, const char *method, const char *path, const char *body,
                         tl_client_answer *out, tl_error *err);

/* ---- Boards ---------------------------------------------------------------------------------- */

typedef struct tl_client_verdict {
    char id[TL_ID_TEXT_BYTES]; /* of the prediction */
    unsigned code;             /* HTTP status */
    uint32_t label;            /* index of the answered class */
    bool flagged, review;
    uint64_t version;
} tl_client_verdict;

/* Where a board comes from: texts without quotes, kept with its prediction; NULL: not told. */
typedef struct tl_client_origin {
    const char *line, *board, *lot;
} tl_client_origin;

/* Have `board` inspected by `loop`: binary tensors "image" and "reference", UINT8 [1, 64, 64].
 * TL_OK with any HTTP status; only `code` is set unless that is 200. Errors: as tl_client_send. */
tl_status tl_client_infer(tl_client *client, const char *loop, const tl_client_origin *origin,
                          const tl_sim_board *board, tl_client_verdict *out, tl_error *err);

/* Say what a board really was. *code_out: the HTTP status. Errors: as tl_client_send. */
tl_status tl_client_feedback(tl_client *client, const char *loop, const char *id, const char *label,
                             unsigned *code_out, tl_error *err);

#endif

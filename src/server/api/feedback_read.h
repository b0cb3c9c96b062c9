/* feedback_read.h - bodies of feedback requests. Layer: server; knows nothing of HTTP, so that it
 * can be fuzzed alone. Any thread. */
#ifndef TL_SERVER_FEEDBACK_READ_H
#define TL_SERVER_FEEDBACK_READ_H

#include "base/arena.h"
#include "format/json.h"

typedef struct tl_feedback_body {
    tl_feedback *items; /* in the arena, with all texts; source is `source` */
    size_t count;
    const char *request_id; /* NULL: not given */
} tl_feedback_body;

/* One object, an array of them, or {"feedback": [...]}. Errors: TL_EINVAL, TL_ELIMIT (too many),
 * TL_EUNSUPPORTED (boxes, rewards), TL_ENOMEM. */
tl_status tl_feedback_read(const tl_json *root, const char *source, tl_arena *arena,
                           tl_feedback_body *out, tl_error *err);

/* Unix microseconds of an RFC 3339 time, e.g. "2026-01-31T12:00:00.5+01:00". False: it is none. */
bool tl_time_parse(const char *text, int64_t *out_us);

#endif

/* replay.h - rebuild a loop from its journal, and hold it against what was recorded. Layer: loop.
 * Reads only; works on a journal that is being served, up to the position of the call. */
#ifndef TL_LOOP_REPLAY_H
#define TL_LOOP_REPLAY_H

#include "base/status.h"

typedef struct tl_verify_report {
    uint64_t events, labels; /* stepped through */
    uint64_t judgements;     /* versions and refusals whose training was done again, bit for bit */
    uint64_t checkpoints;    /* compared */
    uint64_t mismatches;
    uint64_t position, digest; /* at the end */
    char first_mismatch[192];  /* in words; empty: none */
    uint64_t unchecked; /* judgements taken as recorded: items that they were trained on are gone */
} tl_verify_report;

typedef struct tl_verify_options {
    const char *path; /* folder of the journal */
    const char *loop; /* by name */
    const char *vfs;  /* SQLite VFS of the journal; NULL: the default one */
    /* After each step, the chained digest as a running loop reports it; may be NULL. */
    void (*on_digest)(void *context, uint64_t position, uint64_t digest);
    /* After each feedback, what it did, as its sender was told; may be NULL. */
    void (*on_feedback)(void *context, uint64_t position, tl_feedback_state state);
    void (*progress)(void *context, uint64_t position, uint64_t last_position);
    void *context;
} tl_verify_options;

/* TL_OK also when there are mismatches: the report tells. Errors: TL_ENOTFOUND (no such loop),
 * those of reading, TL_ENOMEM. On another processor or library version the bits may differ: then
 * versions mismatch, and that is what the report says. */
tl_status tl_replay_verify(const tl_verify_options *options, tl_verify_report *out, tl_error *err);

#endif

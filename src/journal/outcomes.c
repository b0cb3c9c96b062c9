/* outcomes.c - predictions with what was said of them, for reports. */
#include "journal/internal.h"

enum { WINDOW_POSITIONS = 2048 }; /* a transaction: short, so that the log can start over */

typedef struct walk {
    tl_journal_reader *reader;
    uint32_t loop;
    uint64_t upto;
    tl_outcome_fn fn;
    void *context;
    tl_arena arena;
} walk;

static tl_status outcome_tell(walk *w, sqlite3_stmt *stmt, bool pruned, tl_error *err)
{
    enum { COLUMN_SAID = 18 };
    tl_record record, *feedback = NULL;
    size_t count = 0;
    tl_status status = TL_OK;
    tl_arena_reset(&w->arena);
    int rc = tl_row_tombstone(stmt, &w->arena, &record);
    if (rc != SQLITE_OK) return tl_reader_row_fail(w->reader, rc, err);
    tl_prediction_record *prediction = &record.as.prediction;
    prediction->pruned = pruned;
    if (sqlite3_column_int(stmt, COLUMN_SAID) != 0) /* of most nothing was */
        status = tl_journal_list_feedback(w->reader, w->loop, prediction->id, w->upto, &w->arena,
                                          &feedback, &count, err);
    return status == TL_OK ? w->fn(w->context, prediction, feedback, count, err) : status;
}

static tl_status table_walk(walk *w, read_index index, uint64_t after, uint64_t last, tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_reader_stmt(w->reader, index, &stmt, err);
    if (status != TL_OK) return status;
    sqlite3_bind_int64(stmt, 1, (int64_t)after);
    sqlite3_bind_int64(stmt, 2, (int64_t)last);
    sqlite3_bind_int64(stmt, 3, w->loop);
    int rc = SQLITE_ROW;
    while (status == TL_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        status = outcome_tell(w, stmt, index == RD_OUTCOMES_PRUNED, err);
    if (status == TL_OK && rc != SQLITE_DONE) status = tl_reader_row_fail(w->reader, rc, err);
    sqlite3_reset(stmt);
    return status;
}

tl_status tl_journal_walk_outcomes(tl_journal_reader *reader, uint32_t loop, uint64_t upto,
                                   tl_outcome_fn fn, void *context, tl_error *err)
{
    walk w = { reader, loop, upto, fn, context, { 0 } };
    uint64_t end;
    tl_status status = tl_journal_last_position(reader, &end, err);
    if (status == TL_OK && w.upto > end) w.upto = end;
    tl_arena_init(&w.arena, SIZE_MAX / 2);
    for (uint64_t after = 0; status == TL_OK && after < w.upto; after += WINDOW_POSITIONS) {
        uint64_t last = w.upto - after < WINDOW_POSITIONS ? w.upto : after + WINDOW_POSITIONS;
        status = tl_reader_begin(reader, err); /* a prediction is kept or pruned, never both */
        if (status != TL_OK) break;
        status = table_walk(&w, RD_OUTCOMES, after, last, err);
        if (status == TL_OK) status = table_walk(&w, RD_OUTCOMES_PRUNED, after, last, err);
        tl_reader_end(reader);
    }
    tl_arena_destroy(&w.arena);
    return status;
}

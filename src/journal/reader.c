/* Reading: a connection of its own, short transactions, records into the caller's arena. */
#include "journal/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_COUNT = RD_COUNT - RD_NEXT, TABLE_PREDICTION = 0 };

typedef int (*row_fn)(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out);
static const row_fn ROW_OF_TABLE[TABLE_COUNT] = { tl_row_prediction, tl_row_tombstone,
                                                  tl_row_feedback,   tl_row_event,
                                                  tl_row_version,    tl_row_checkpoint };

/* The plus keeps SQLite from going through the whole loop by its index of ids. */
#define OUTCOMES "WHERE position>?1 AND position<=?2 AND +loop=?3 ORDER BY position"

/* The select and the rest of each statement. */
static const struct {
    const char *select, *rest;
} READ_SQL[RD_COUNT] = {
    [RD_PREDICTION] = { TL_ROW_PREDICTION, "WHERE loop=?1 AND id=?2" },
    [RD_TOMBSTONE] = { TL_ROW_TOMBSTONE, "WHERE loop=?1 AND id=?2" },
    [RD_IMAGE] = { "SELECT encoding,height,width,channels,hash,data FROM image WHERE number=?1",
                   "" },
    [RD_PREDICTION_AT] = { TL_ROW_PREDICTION, "WHERE loop=?1 AND position=?2" },
    [RD_FEEDBACK] = { TL_ROW_FEEDBACK,
                      "WHERE position IN (SELECT position FROM feedback WHERE loop=?1 AND "
                      "prediction_id=?2 AND position<=?3 ORDER BY position DESC LIMIT 256) "
                      "ORDER BY position" },
    [RD_VERSION] = { TL_ROW_VERSION, "WHERE loop=?1 AND number=?2" },
    [RD_VERSION_BELOW] = { TL_ROW_VERSION_BARE,
                           "WHERE loop=?1 AND number<?2 ORDER BY number DESC LIMIT 1" },
    [RD_EVENT_BELOW] = { TL_ROW_EVENT, "WHERE loop=?1 AND position<?2 AND kind=?3 "
                                       "ORDER BY position DESC LIMIT 1" },
    [RD_CHECKPOINT] = { TL_ROW_CHECKPOINT,
                        "WHERE loop=?1 AND kept ORDER BY position DESC LIMIT 1 OFFSET ?2" },
    [RD_LOOP] = { "SELECT name,config FROM loop WHERE number=?1", "" },
    [RD_LOOP_NAMED] = { "SELECT number,config FROM loop WHERE name=?1", "" },
    [RD_LAST] = { "SELECT max(p) FROM (SELECT max(position) AS p FROM prediction UNION ALL SELECT "
                  "max(position) FROM tombstone UNION ALL SELECT max(position) FROM feedback UNION "
                  "ALL SELECT max(position) FROM event UNION ALL SELECT max(position) FROM version "
                  "UNION ALL SELECT max(position) FROM checkpoint)",
                  "" },
    [RD_OUTCOMES] = { TL_ROW_OUTCOME, "FROM prediction p " OUTCOMES },
    [RD_OUTCOMES_PRUNED] = { TL_ROW_OUTCOME, "FROM tombstone p " OUTCOMES },
#define NEXT "WHERE position>?1 AND (?2<0 OR loop=?2) ORDER BY position"
    [RD_NEXT + 0] = { TL_ROW_PREDICTION, NEXT },
    [RD_NEXT + 1] = { TL_ROW_TOMBSTONE, NEXT },
    [RD_NEXT + 2] = { TL_ROW_FEEDBACK, NEXT },
    [RD_NEXT + 3] = { TL_ROW_EVENT, NEXT },
    [RD_NEXT + 4] = { TL_ROW_VERSION, NEXT },
    [RD_NEXT + 5] = { TL_ROW_CHECKPOINT, NEXT },
#undef NEXT
};

/* ---- Lifecycle ---------------------------------------------------------------------------------
 */

static tl_status reader_open(const char *file, const char *vfs, tl_journal_reader **out,
                             tl_error *err)
{
    tl_journal_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) return tl_fail(err, TL_ENOMEM, "no memory for a journal reader");
    tl_arena_init(&reader->ahead_arena, SIZE_MAX / 2);
    tl_status status = tl_db_open_reader(file, vfs, &reader->db, err);
    int format;
    if (status == TL_OK) status = tl_schema_check(reader->db, &format, err);
    if (status == TL_OK && format < 0) status = tl_fail(err, TL_ENOTFOUND, "%s is empty", file);
    if (status == TL_OK && format < JOURNAL_FORMAT)
        status = tl_fail(err, TL_EVERSION,
                         "%s has the older format %d; open it once for writing to migrate it", file,
                         format);
    if (status != TL_OK) {
        tl_journal_reader_close(&reader);
        return status;
    }
    *out = reader;
    return TL_OK;
}

tl_status tl_journal_reader_open(tl_journal *journal, tl_journal_reader **out, tl_error *err)
{
    TL_ASSERT(journal != NULL);
    return reader_open(journal->file, journal->vfs, out, err);
}

tl_status tl_journal_reader_open_path(const char *path, tl_journal_reader **out, tl_error *err)
{
    char file[JOURNAL_PATH_BYTES_MAX];
    tl_status status = tl_journal_locate(path, file, err);
    return status == TL_OK ? reader_open(file, NULL, out, err) : status;
}

void tl_journal_reader_close(tl_journal_reader **reader)
{
    if (*reader == NULL) return;
    for (int i = 0; i < RD_COUNT; i++) sqlite3_finalize((*reader)->statements[i]);
    sqlite3_close((*reader)->db);
    tl_arena_destroy(&(*reader)->ahead_arena);
    free(*reader);
    *reader = NULL;
}

tl_status tl_reader_stmt(tl_journal_reader *reader, read_index index, sqlite3_stmt **out,
                         tl_error *err)
{
    if (reader->statements[index] == NULL) {
        char sql[1024];
        snprintf(sql, sizeof sql, "%s%s", READ_SQL[index].select, READ_SQL[index].rest);
        tl_status status = tl_db_prepare(reader->db, sql, &reader->statements[index], err);
        if (status != TL_OK) return status;
    }
    *out = reader->statements[index];
    return TL_OK;
}

tl_status tl_reader_begin(tl_journal_reader *reader, tl_error *err)
{
    return tl_db_exec(reader->db, "BEGIN", err);
}

void tl_reader_end(tl_journal_reader *reader)
{
    if (!sqlite3_get_autocommit(reader->db)) sqlite3_exec(reader->db, "COMMIT", NULL, NULL, NULL);
}

/* ---- One row -----------------------------------------------------------------------------------
 */

tl_status tl_reader_row_fail(tl_journal_reader *reader, int rc, tl_error *err)
{
    if (rc == SQLITE_NOMEM) return tl_fail(err, TL_ENOMEM, "no memory to read a journal record");
    if (rc == SQLITE_CORRUPT)
        return tl_fail(err, TL_ECORRUPT,
                       "a journal record is damaged; run `tightloop doctor` on the journal");
    return tl_db_fail(err, reader->db, rc, "journal read");
}

/* Step to the only row, decode it, reset. */
static tl_status row_read(tl_journal_reader *reader, sqlite3_stmt *stmt, row_fn decode,
                          tl_arena *arena, tl_record *out, tl_error *err)
{
    tl_record record;
    int rc = sqlite3_step(stmt);
    int decoded = rc == SQLITE_ROW ? decode(stmt, arena, &record) : SQLITE_OK;
    tl_status status = TL_OK;
    if (rc == SQLITE_DONE) {
        status = tl_fail(err, TL_ENOTFOUND, "no such record in the journal");
    } else if (rc != SQLITE_ROW || decoded != SQLITE_OK) {
        status = tl_reader_row_fail(reader, rc != SQLITE_ROW ? rc : decoded, err);
    }
    sqlite3_reset(stmt);
    if (status == TL_OK) *out = record;
    return status;
}

static tl_status read_by_id(tl_journal_reader *reader, read_index index, row_fn decode,
                            uint32_t loop, const tl_id *id, tl_arena *arena, tl_record *out,
                            tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_reader_stmt(reader, index, &stmt, err);
    if (status != TL_OK) return status;
    sqlite3_bind_int64(stmt, 1, loop);
    sqlite3_bind_blob(stmt, 2, id->bytes, sizeof id->bytes, SQLITE_STATIC);
    return row_read(reader, stmt, decode, arena, out, err);
}

static tl_status read_by_number(tl_journal_reader *reader, read_index index, row_fn decode,
                                uint32_t loop, int64_t number, tl_arena *arena, tl_record *out,
                                tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_reader_stmt(reader, index, &stmt, err);
    if (status != TL_OK) return status;
    sqlite3_bind_int64(stmt, 1, loop);
    sqlite3_bind_int64(stmt, 2, number);
    return row_read(reader, stmt, decode, arena, out, err);
}

/* ---- Images ------------------------------------------------------------------------------------
 */

static bool image_decode(sqlite3_stmt *stmt, tl_arena *arena, tl_stored_image *out)
{
    *out = (tl_stored_image){ .encoding = (uint8_t)sqlite3_column_int(stmt, 0),
                              .height = (uint32_t)sqlite3_column_int64(stmt, 1),
                              .width = (uint32_t)sqlite3_column_int64(stmt, 2),
                              .channels = (uint32_t)sqlite3_column_int64(stmt, 3) };
    const void *hash = sqlite3_column_blob(stmt, 4);
    if (hash != NULL && sqlite3_column_bytes(stmt, 4) == sizeof out->hash)
        memcpy(out->hash, hash, sizeof out->hash);
    const void *data = sqlite3_column_blob(stmt, 5);
    out->bytes = (size_t)sqlite3_column_bytes(stmt, 5);
    if (data == NULL && out->bytes > 0) return false;
    out->data = tl_arena_strndup(arena, data == NULL ? "" : data, out->bytes);
    return out->data != NULL;
}

tl_status tl_reader_image(tl_journal_reader *reader, int64_t number, tl_arena *arena,
                          tl_stored_image *out, tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_reader_stmt(reader, RD_IMAGE, &stmt, err);
    if (status != TL_OK) return status;
    sqlite3_bind_int64(stmt, 1, number);
    int rc = sqlite3_step(stmt);
    tl_stored_image image;
    if (rc == SQLITE_DONE) {
        status = tl_fail(err, TL_ENOTFOUND, "no image %lld in the journal", (long long)number);
    } else if (rc != SQLITE_ROW) {
        status = tl_reader_row_fail(reader, rc, err);
    } else if (!image_decode(stmt, arena, &image)) {
        status = tl_reader_row_fail(reader, SQLITE_NOMEM, err);
    }
    sqlite3_reset(stmt);
    if (status == TL_OK) *out = image;
    return status;
}

tl_status tl_journal_find_image(tl_journal_reader *reader, uint64_t number, tl_arena *arena,
                                tl_stored_image *out, tl_error *err)
{
    return tl_reader_image(reader, (int64_t)number, arena, out, err);
}

static tl_status image_attach(tl_journal_reader *reader, uint64_t number, tl_arena *arena,
                              const tl_stored_image **out, tl_error *err)
{
    if (number == 0) return TL_OK;
    tl_stored_image *image = tl_arena_alloc(arena, sizeof *image);
    if (image == NULL) return tl_reader_row_fail(reader, SQLITE_NOMEM, err);
    tl_status status = tl_reader_image(reader, (int64_t)number, arena, image, err);
    if (status == TL_ENOTFOUND)
        return tl_fail(err, TL_ECORRUPT, "image %llu of a prediction is missing from the journal",
                       (unsigned long long)number);
    if (status == TL_OK) *out = image;
    return status;
}

static tl_status images_attach(tl_journal_reader *reader, tl_arena *arena, tl_record *record,
                               tl_error *err)
{
    tl_prediction_record *p = &record->as.prediction;
    tl_status status = image_attach(reader, p->image_number, arena, &p->image, err);
    if (status == TL_OK)
        status = image_attach(reader, p->reference_number, arena, &p->reference, err);
    return status;
}

/* ---- Finding -----------------------------------------------------------------------------------
 */

static tl_status find_in_transaction(tl_journal_reader *reader, uint32_t loop, const tl_id *id,
                                     bool with_images, tl_arena *arena, tl_record *out,
                                     tl_error *err)
{
    tl_status status =
        read_by_id(reader, RD_PREDICTION, tl_row_prediction, loop, id, arena, out, err);
    if (status == TL_ENOTFOUND)
        return read_by_id(reader, RD_TOMBSTONE, tl_row_tombstone, loop, id, arena, out, err);
    return status == TL_OK && with_images ? images_attach(reader, arena, out, err) : status;
}

tl_status tl_journal_find_prediction(tl_journal_reader *reader, uint32_t loop, tl_id id,
                                     bool with_images, tl_arena *arena, tl_record *out,
                                     bool *pruned, tl_error *err)
{
    tl_record record;
    tl_status status = tl_reader_begin(reader, err);
    if (status != TL_OK) return status;
    status = find_in_transaction(reader, loop, &id, with_images, arena, &record, err);
    tl_reader_end(reader);
    if (status != TL_OK) return status;
    *out = record;
    if (pruned != NULL) *pruned = record.as.prediction.pruned;
    return TL_OK;
}

static tl_status read_at(tl_journal_reader *reader, uint32_t loop, uint64_t position,
                         bool with_images, tl_arena *arena, tl_record *out, tl_error *err)
{
    int64_t bound = position > INT64_MAX ? INT64_MAX : (int64_t)position;
    tl_status status =
        read_by_number(reader, RD_PREDICTION_AT, tl_row_prediction, loop, bound, arena, out, err);
    return status == TL_OK && with_images ? images_attach(reader, arena, out, err) : status;
}

tl_status tl_journal_read_prediction(tl_journal_reader *reader, uint32_t loop, uint64_t position,
                                     bool with_images, tl_arena *arena, tl_record *out,
                                     tl_error *err)
{
    tl_record record;
    tl_status status = tl_reader_begin(reader, err);
    if (status != TL_OK) return status;
    status = read_at(reader, loop, position, with_images, arena, &record, err);
    tl_reader_end(reader);
    if (status == TL_OK) *out = record;
    return status;
}

/* Rows of the statement into an array in the arena that doubles as it fills. */
static tl_status feedback_collect(tl_journal_reader *reader, sqlite3_stmt *stmt, tl_arena *arena,
                                  tl_record **out, size_t *count, tl_error *err)
{
    tl_record *records = NULL;
    size_t filled = 0, capacity = 0;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (filled == capacity) {
            capacity = capacity == 0 ? 4 : 2 * capacity;
            tl_record *wider = tl_arena_alloc(arena, capacity * sizeof *wider);
            if (wider == NULL) return tl_reader_row_fail(reader, SQLITE_NOMEM, err);
            if (filled > 0) memcpy(wider, records, filled * sizeof *wider);
            records = wider;
        }
        int decoded = tl_row_feedback(stmt, arena, &records[filled++]);
        if (decoded != SQLITE_OK) return tl_reader_row_fail(reader, decoded, err);
    }
    if (rc != SQLITE_DONE) return tl_reader_row_fail(reader, rc, err);
    *out = records;
    *count = filled;
    return TL_OK;
}

tl_status tl_journal_list_feedback(tl_journal_reader *reader, uint32_t loop, tl_id prediction_id,
                                   uint64_t upto, tl_arena *arena, tl_record **out, size_t *count,
                                   tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_reader_stmt(reader, RD_FEEDBACK, &stmt, err);
    if (status != TL_OK) return status;
    sqlite3_bind_int64(stmt, 1, loop);
    sqlite3_bind_blob(stmt, 2, prediction_id.bytes, sizeof prediction_id.bytes, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 3, upto > INT64_MAX ? INT64_MAX : (int64_t)upto);
    status = feedback_collect(reader, stmt, arena, out, count, err);
    sqlite3_reset(stmt);
    return status;
}

tl_status tl_journal_find_version(tl_journal_reader *reader, uint32_t loop, uint64_t number,
                                  tl_arena *arena, tl_record *out, tl_error *err)
{
    return read_by_number(reader, RD_VERSION, tl_row_version, loop, (int64_t)number, arena, out,
                          err);
}

tl_status tl_journal_next_version(tl_journal_reader *reader, uint32_t loop, uint64_t below,
                                  tl_arena *arena, tl_record *out, tl_error *err)
{
    int64_t bound = below > INT64_MAX ? INT64_MAX : (int64_t)below;
    return read_by_number(reader, RD_VERSION_BELOW, tl_row_version, loop, bound, arena, out, err);
}

tl_status tl_journal_next_event(tl_journal_reader *reader, uint32_t loop, const char *kind,
                                uint64_t below, tl_arena *arena, tl_record *out, tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_reader_stmt(reader, RD_EVENT_BELOW, &stmt, err);
    if (status != TL_OK) return status;
    sqlite3_bind_text(stmt, 3, kind, -1, SQLITE_STATIC);
    int64_t bound = below > INT64_MAX ? INT64_MAX : (int64_t)below;
    status = read_by_number(reader, RD_EVENT_BELOW, tl_row_event, loop, bound, arena, out, err);
    sqlite3_clear_bindings(stmt); /* `kind` is the caller's */
    return status;
}

tl_status tl_journal_find_checkpoint(tl_journal_reader *reader, uint32_t loop, uint32_t skip,
                                     tl_arena *arena, tl_record *out, tl_error *err)
{
    return read_by_number(reader, RD_CHECKPOINT, tl_row_checkpoint, loop, skip, arena, out, err);
}

tl_status tl_journal_loop_info(tl_journal_reader *reader, uint32_t loop, tl_arena *arena,
                               const char **name, const char **config, tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_reader_stmt(reader, RD_LOOP, &stmt, err);
    if (status != TL_OK) return status;
    sqlite3_bind_int64(stmt, 1, loop);
    int rc = sqlite3_step(stmt);
    const char *texts[2] = { NULL, NULL };
    for (int i = 0; i < 2 && rc == SQLITE_ROW; i++) {
        const char *text = (const char *)sqlite3_column_text(stmt, i);
        if (text != NULL) texts[i] = tl_arena_strndup(arena, text, strlen(text));
        if (texts[i] == NULL) rc = SQLITE_NOMEM;
    }
    if (rc == SQLITE_DONE) {
        status = tl_fail(err, TL_ENOTFOUND, "no loop number %u in the journal", loop);
    } else if (rc != SQLITE_ROW) {
        status = tl_reader_row_fail(reader, rc, err);
    }
    sqlite3_reset(stmt);
    if (status != TL_OK) return status;
    if (name != NULL) *name = texts[0];
    if (config != NULL) *config = texts[1];
    return TL_OK;
}

tl_status tl_reader_find_loop(tl_journal_reader *reader, const char *name, uint32_t *loop,
                              char **config, tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_reader_stmt(reader, RD_LOOP_NAMED, &stmt, err);
    if (status != TL_OK) return status;
    sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        *loop = (uint32_t)sqlite3_column_int64(stmt, 0);
        const char *text = (const char *)sqlite3_column_text(stmt, 1);
        if (config != NULL) *config = strdup(text != NULL ? text : "");
        if (config != NULL && *config == NULL)
            status = tl_reader_row_fail(reader, SQLITE_NOMEM, err);
    } else if (rc == SQLITE_DONE) {
        status = tl_fail(err, TL_ENOTFOUND, "no loop \"%s\" in the journal", name);
    } else {
        status = tl_reader_row_fail(reader, rc, err);
    }
    sqlite3_reset(stmt);
    return status;
}

tl_status tl_journal_last_position(tl_journal_reader *reader, uint64_t *out, tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_reader_stmt(reader, RD_LAST, &stmt, err);
    if (status != TL_OK) return status;
    int rc = sqlite3_step(stmt);
    uint64_t last = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(stmt, 0) : 0;
    if (rc != SQLITE_ROW) status = tl_reader_row_fail(reader, rc, err);
    sqlite3_reset(stmt);
    if (status == TL_OK) *out = last;
    return status;
}

/* ---- In order ----------------------------------------------------------------------------------
 */

/* Six cursors, one a table, each at its next row. */
typedef struct merge {
    sqlite3_stmt *stmts[TABLE_COUNT];
    int64_t positions[TABLE_COUNT]; /* INT64_MAX: at its end */
} merge;

static int merge_step(merge *m, int table)
{
    int rc = sqlite3_step(m->stmts[table]);
    m->positions[table] = rc == SQLITE_ROW ? sqlite3_column_int64(m->stmts[table], 0) : INT64_MAX;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int merge_least(const merge *m)
{
    int least = 0;
    for (int i = 1; i < TABLE_COUNT; i++)
        if (m->positions[i] < m->positions[least]) least = i;
    return m->positions[least] == INT64_MAX ? -1 : least;
}

static int ahead_fill(tl_journal_reader *reader, merge *m)
{
    for (int i = 0; i < TABLE_COUNT; i++) {
        int rc = merge_step(m, i);
        if (rc != SQLITE_OK) return rc;
    }
    while (reader->ahead_count < READ_CHUNK_MAX &&
           reader->ahead_arena.used_bytes < READ_CHUNK_BYTES) {
        int table = merge_least(m);
        if (table < 0) break;
        int rc = ROW_OF_TABLE[table](m->stmts[table], &reader->ahead_arena,
                                     &reader->ahead[reader->ahead_count]);
        if (rc == SQLITE_OK) rc = merge_step(m, table);
        if (rc != SQLITE_OK) return rc;
        reader->ahead_count++;
    }
    return SQLITE_OK;
}

static tl_status ahead_read(tl_journal_reader *reader, uint32_t loop, uint64_t after, tl_error *err)
{
    merge m;
    reader->ahead_count = reader->ahead_index = 0;
    tl_arena_reset(&reader->ahead_arena);
    for (int i = 0; i < TABLE_COUNT; i++) {
        tl_status status = tl_reader_stmt(reader, (read_index)(RD_NEXT + i), &m.stmts[i], err);
        if (status != TL_OK) return status;
        sqlite3_bind_int64(m.stmts[i], 1, after > INT64_MAX ? INT64_MAX : (int64_t)after);
        sqlite3_bind_int64(m.stmts[i], 2, loop == UINT32_MAX ? -1 : (int64_t)loop);
    }
    tl_status status = tl_reader_begin(reader, err);
    if (status != TL_OK) return status;
    int rc = ahead_fill(reader, &m);
    if (rc != SQLITE_OK) {
        status = tl_reader_row_fail(reader, rc, err);
        reader->ahead_count = 0;
    }
    for (int i = 0; i < TABLE_COUNT; i++) sqlite3_reset(m.stmts[i]);
    tl_reader_end(reader);
    reader->ahead_loop = loop;
    reader->ahead_after = after;
    return status;
}

tl_status tl_journal_next(tl_journal_reader *reader, uint32_t loop, uint64_t after, tl_arena *arena,
                          tl_record *out, tl_error *err)
{
    bool ahead = reader->ahead_index < reader->ahead_count && reader->ahead_loop == loop &&
                 reader->ahead_after == after;
    if (!ahead) {
        tl_status status = ahead_read(reader, loop, after, err);
        if (status != TL_OK) return status;
        if (reader->ahead_count == 0)
            return tl_fail(err, TL_ENOTFOUND, "no record after position %llu",
                           (unsigned long long)after);
    }
    tl_record record;
    if (!tl_record_copy(&reader->ahead[reader->ahead_index], arena, &record))
        return tl_reader_row_fail(reader, SQLITE_NOMEM, err);
    reader->ahead_index++;
    reader->ahead_after = record.position;
    *out = record;
    return TL_OK;
}

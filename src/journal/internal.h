/* internal.h - what the files of the journal share. Not for other modules. */
#ifndef TL_JOURNAL_INTERNAL_H
#define TL_JOURNAL_INTERNAL_H

#include "base/histogram.h"
#include "base/queue.h"
#include "journal/journal.h"

#include <pthread.h>
#include <sqlite3.h>

enum {
    JOURNAL_FORMAT = 2,                  /* PRAGMA user_version */
    JOURNAL_APPLICATION_ID = 0x544c4a4e, /* "TLJN" */
    JOURNAL_PATH_BYTES_MAX = 4096
};
#define JOURNAL_FILE_NAME "journal.db"
#define JOURNAL_LOCK_NAME "journal.lock"

/* ---- Database (db.c) --------------------------------------------------------------------------
 */

tl_status tl_db_status(sqlite3 *db, int rc);
/* The status of `rc`, with SQLite's text after `what`. */
tl_status tl_db_fail(tl_error *err, sqlite3 *db, int rc, const char *what);
tl_status tl_db_exec(sqlite3 *db, const char *sql, tl_error *err);
/* One integer; `fallback` when there is no row or it is NULL. */
tl_status tl_db_int64(sqlite3 *db, const char *sql, int64_t fallback, int64_t *out, tl_error *err);
tl_status tl_db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, tl_error *err);
/* Step a statement that gives no rows, and reset it; the SQLite code, SQLITE_OK when done. */
int tl_db_run(sqlite3_stmt *stmt);
/* Open for reading only; a file in a folder that cannot be written is opened as it stands. */
tl_status tl_db_open_reader(const char *file, const char *vfs, sqlite3 **out, tl_error *err);
/* Open for writing with the settings that a journal needs; sets up a new file, migrates an old one.
 */
tl_status tl_db_open_writer(const char *file, const char *vfs, bool relaxed, const tl_env *env,
                            sqlite3 **out, tl_error *err);

/* ---- Schema and migration (schema.c) ----------------------------------------------------------
 */

/* From format `from` to from + 1. */
typedef struct tl_migration {
    int from;
    const char *sql;
} tl_migration;

/* TL_EVERSION: newer than this program; TL_ECORRUPT: not a journal. *format -1: an empty file. */
tl_status tl_schema_check(sqlite3 *db, int *format, tl_error *err);
tl_status tl_schema_create(sqlite3 *db, const tl_env *env, tl_error *err);
/* All steps from `format` to JOURNAL_FORMAT in one transaction. */
tl_status tl_schema_migrate(sqlite3 *db, int format, tl_error *err);

/* ---- Rows (rows.c): columns of each table and the records that they hold ----------------------
 */

extern const char TL_ROW_PREDICTION[], TL_ROW_TOMBSTONE[], TL_ROW_FEEDBACK[], TL_ROW_EVENT[],
    TL_ROW_VERSION[], TL_ROW_VERSION_BARE[], TL_ROW_CHECKPOINT[], TL_ROW_OUTCOME[];

/* Fill `out` from the current row, blobs and texts copied into `arena`.
 * SQLITE_OK, SQLITE_NOMEM, or SQLITE_CORRUPT when a column cannot be. */
int tl_row_prediction(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out);
int tl_row_tombstone(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out);
int tl_row_feedback(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out);
int tl_row_event(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out);
int tl_row_version(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out);
int tl_row_checkpoint(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out);
/* A copy with everything that it points to; false: out of memory. */
bool tl_record_copy(const tl_record *record, tl_arena *arena, tl_record *out);
/* Bytes that a record adds to the file, roughly. */
size_t tl_record_bytes(const tl_record *record);

/* Shadows as a blob: for each 14 bytes, little-endian: version (8), defect score (float32, 4), label
 * (1), flagged (1). */
enum { TL_SHADOW_BYTES = 14 };
/* `bytes` has room for TL_SHADOW_COUNT_MAX of them; how many were written. */
size_t tl_shadows_encode(const tl_shadow_record *shadows, uint32_t count, uint8_t *bytes);
/* False: no such blob. */
bool tl_shadows_decode(const uint8_t *bytes, size_t byte_count, tl_shadow_record *out,
                       uint32_t *count);

/* ---- The writer's statements ------------------------------------------------------------------
 */

typedef enum statement_index {
    ST_BEGIN,
    ST_COMMIT,
    ST_ROLLBACK,
    ST_PAGE_COUNT,
    ST_FREE_COUNT,
    ST_PREDICTION,
    ST_FEEDBACK,
    ST_EVENT,
    ST_VERSION,
    ST_CHECKPOINT,
    ST_CHECKPOINT_DROP,
    ST_ID_KNOWN,
    ST_REQUEST_FIND,
    ST_REQUEST,
    ST_IMAGE_FIND,
    ST_IMAGE,
    ST_LOOP_FIND,
    ST_LOOP,
    ST_WEIGHTS_DROP,
    ST_MARK,
    ST_PRUNE_SCAN,
    ST_PRUNE_TOMBSTONE,
    ST_PRUNE_DELETE,
    ST_IMAGE_USED,
    ST_IMAGE_DELETE,
    ST_REQUEST_TRIM,
    ST_MARK_BEFORE,
    ST_MARK_TRIM,
    ST_COUNT
} statement_index;

/* ---- The journal ------------------------------------------------------------------------------
 */

enum { GROUP_ENTRIES_MAX = 1024, GROUP_RECORDS_MAX = 4096, GROUP_BYTES_MAX = 16 << 20 };

/* One entry on its way through a group. */
typedef struct tl_slot {
    tl_journal_entry *entry;
    tl_status status;
    const char *reason; /* static text, when status is not TL_OK */
    size_t culprit;     /* index of the record with the known id, or SIZE_MAX */
} tl_slot;

/* Where the journal's own clock stands: it runs with the monotonic clock while the journal is open,
 * and counts at most two days for the time between, so that a wall clock that jumps cannot make
 * records look old. */
typedef struct tl_journal_clock {
    int64_t elapsed_base_us; /* at opening */
    int64_t mono_base_ns;
    int64_t last_mark_us;      /* elapsed at the newest mark; INT64_MIN: none since opening */
    int64_t window_elapsed_us; /* the mark that the forecast looks back to */
    uint64_t window_bytes;
    bool window_set;
} tl_journal_clock;

/* The database file being synced beside the commits, after a checkpoint that did not wait for it.
 */
typedef struct tl_wal_sync {
    sqlite3 *pin; /* holds a snapshot, so that SQLite does not write over its log meanwhile */
    sqlite3_file *file;
    pthread_t thread;
    bool running, threaded;
    _Atomic bool finished;
    int rc;
} tl_wal_sync;

struct tl_journal {
    char *folder, *file, *vfs;
    const tl_env *env;
    tl_journal_options options;
    int lock_fd;
    tl_queue *queue;
    pthread_t thread;
    bool thread_started;

    /* The writer thread's own. */
    sqlite3 *db;
    sqlite3_stmt *statements[ST_COUNT];
    uint64_t next_position;
    uint64_t image_count;
    tl_slot *slots;             /* [GROUP_ENTRIES_MAX] */
    void **popped;              /* [GROUP_ENTRIES_MAX] */
    uint64_t frames;            /* in the WAL */
    uint64_t frames_moved;      /* of these, in the database file as well at the last checkpoint */
    uint64_t frames_checkpoint; /* next checkpoint at this many */
    uint64_t frames_soft, frames_hard;
    uint64_t pages, free_pages, page_bytes;
    int64_t checkpoint_not_before_ns;
    tl_wal_sync wal_sync;
    tl_journal_clock clock;
    uint64_t prune_after;       /* predictions up to here are labelled or pruned */
    uint64_t prune_limit;       /* predictions up to here are older than retention_days */
    int64_t care_next_ns;       /* when old marks and request ids are looked through again */
    int64_t care_not_before_ns; /* after a failure */
    bool trim_more;             /* more old request ids than fit into one step */
    uint64_t last_group_records;
    bool prune_done; /* nothing left to prune until something is written */
    bool unmarked;   /* records were written since the newest mark */

    /* Seen by other threads. */
    _Atomic bool broken, over_quota;
    _Atomic uint64_t used_bytes, file_bytes, wal_bytes, commits, last_position, images;
    _Atomic double days_until_full;
    tl_histogram commit_ns;
};

/* ---- Paths (journal.c) -------------------------------------------------------------------------
 */

/* The SQLite file of a journal's folder, or the file itself; TL_ENOTFOUND. */
tl_status tl_journal_locate(const char *path, char file[JOURNAL_PATH_BYTES_MAX], tl_error *err);

/* ---- Writer (writer.c), checkpoints of SQLite (wal.c) ------------------------------------------
 */

tl_status tl_writer_prepare(tl_journal *journal, tl_error *err);
void *tl_writer_main(void *journal);
void tl_writer_finalize(tl_journal *journal);
/* Stop writing for good: a write or a sync failed. */
void tl_writer_break(tl_journal *journal, int rc, const char *what);
/* A transaction of the writer; rolls back and, for errors of the device, breaks the journal. */
int tl_writer_begin(tl_journal *journal);
int tl_writer_commit(tl_journal *journal);
void tl_writer_rollback(tl_journal *journal);
/* Commit when `rc` is SQLITE_OK, else roll back; the code that counts. */
int tl_writer_end(tl_journal *journal, int rc, const char *what);
static inline sqlite3_stmt *tl_stmt(tl_journal *journal, statement_index index)
{
    return journal->statements[index];
}

/* Commands that go through the writer's queue as entries without records. */
typedef enum command_kind { COMMAND_LOOP_OPEN, COMMAND_DROP_WEIGHTS } command_kind;
typedef struct tl_command {
    tl_journal_entry entry; /* first: the queue holds entries; `done` tells a command */
    command_kind kind;
    const char *name, *config;
    uint32_t loop;
    uint64_t number;
    char *found_config;
    bool detached; /* freed by the writer */
    pthread_mutex_t mutex;
    pthread_cond_t finished;
    bool is_finished;
    tl_status status;
    tl_error err;
} tl_command;
void tl_command_done(tl_journal_entry *entry, tl_status status, const tl_error *err);

/* Put frames into the database file; called between groups and when idle. */
void tl_wal_between_groups(tl_journal *journal);
void tl_wal_when_idle(tl_journal *journal);
/* Everything into the file, and the WAL emptied: at opening and closing. */
int tl_wal_truncate(tl_journal *journal);
bool tl_wal_pending(const tl_journal *journal);
void tl_wal_install(tl_journal *journal);
/* Let go of what tl_wal_between_groups holds. NULL-safe for a journal without a database. */
void tl_wal_close(tl_journal *journal);

/* ---- Retention, clock, quota (retention.c, clock.c) --------------------------------------------
 */

tl_status tl_clock_start(tl_journal *journal, tl_error *err);
int64_t tl_clock_elapsed_us(const tl_journal *journal);
/* Inside a group's transaction: a mark now and then. `force`: at closing. */
int tl_clock_mark(tl_journal *journal, bool force);
/* Sizes: read inside a transaction, told to the other threads after its commit. */
int tl_quota_measure(tl_journal *journal);
void tl_quota_publish(tl_journal *journal);

/* A small chunk, when there is something to prune. */
void tl_retention_step(tl_journal *journal, bool idle);
bool tl_retention_pending(const tl_journal *journal);

/* ---- Reader ------------------------------------------------------------------------------------
 */

typedef enum read_index {
    RD_PREDICTION,
    RD_TOMBSTONE,
    RD_PREDICTION_AT,
    RD_IMAGE,
    RD_FEEDBACK,
    RD_VERSION,
    RD_VERSION_BELOW,
    RD_EVENT_BELOW,
    RD_CHECKPOINT,
    RD_LOOP,
    RD_LOOP_NAMED,
    RD_LAST,
    RD_OUTCOMES, /* predictions, then tombstones */
    RD_OUTCOMES_PRUNED,
    RD_NEXT, /* six in a row, one a table */
    RD_COUNT = RD_NEXT + 6
} read_index;

enum { READ_CHUNK_MAX = 256, READ_CHUNK_BYTES = 1 << 20 };

struct tl_journal_reader {
    sqlite3 *db;
    sqlite3_stmt *statements[RD_COUNT];
    /* Records read ahead, so that many share one short transaction. */
    tl_arena ahead_arena;
    tl_record ahead[READ_CHUNK_MAX];
    size_t ahead_count, ahead_index;
    uint32_t ahead_loop;
    uint64_t ahead_after; /* position that ahead[ahead_index] follows */
};

/* The statement, prepared at first use. */
tl_status tl_reader_stmt(tl_journal_reader *reader, read_index index, sqlite3_stmt **out,
                         tl_error *err);
tl_status tl_reader_begin(tl_journal_reader *reader, tl_error *err);
void tl_reader_end(tl_journal_reader *reader);
/* The status of a failed step or of a row that cannot be. */
tl_status tl_reader_row_fail(tl_journal_reader *reader, int rc, tl_error *err);
/* The image of that number into *out; TL_ENOTFOUND. */
tl_status tl_reader_image(tl_journal_reader *reader, int64_t number, tl_arena *arena,
                          tl_stored_image *out, tl_error *err);
tl_status tl_reader_find_loop(tl_journal_reader *reader, const char *name, uint32_t *loop,
                              char **config, tl_error *err);

#endif

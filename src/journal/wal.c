/* SQLite's checkpoints. They run on the writer's own connection between its commits, so that the
 * two never meet: SQLite before 3.51.3 can lose a commit that races with a checkpoint (the
 * WAL-reset bug).
 *
 * What takes long in a checkpoint is the sync of the database file; commits need not wait for that.
 * So under load it has two strokes. The first copies pages from the log into the file and syncs
 * nothing; a thread syncs the file while commits go on. The log must not be written over before the
 * file is durable: a connection of its own holds a snapshot until then, which keeps SQLite from
 * starting the log over. The second stroke is an ordinary checkpoint of the little that came in
 * between. A power cut before the sync finds the whole log, from which SQLite recovers. */
#include "base/log.h"
#include "journal/internal.h"

enum {
    SOFT_BYTES = 1 << 20,  /* small enough that copying its pages is a pause like a commit */
    HARD_BYTES = 64 << 20, /* wait a moment for readers, then cut the file */
    BUSY_MS = 100,
    BUSY_MS_NORMAL = 5000,
    PAGE_BYTES = 4096
};
static const int64_t RETRY_NS = 1000000000;

static int on_commit(void *context, sqlite3 *db, const char *name, int frames)
{
    (void)db, (void)name;
    tl_journal *journal = context;
    if ((uint64_t)frames < journal->frames) { /* the log started over */
        journal->frames_moved = 0;
        journal->frames_checkpoint = journal->frames_soft;
    }
    journal->frames = (uint64_t)frames;
    atomic_store_explicit(&journal->wal_bytes, (uint64_t)frames * (PAGE_BYTES + 24) + 32,
                          memory_order_relaxed);
    return SQLITE_OK;
}

void tl_wal_install(tl_journal *journal)
{
    const tl_journal_options *options = &journal->options;
    journal->frames_soft =
        (options->wal_soft_bytes > 0 ? options->wal_soft_bytes : SOFT_BYTES) / PAGE_BYTES;
    journal->frames_hard =
        (options->wal_hard_bytes > 0 ? options->wal_hard_bytes : HARD_BYTES) / PAGE_BYTES;
    journal->frames_checkpoint = journal->frames_soft;
    sqlite3_wal_hook(journal->db, on_commit, journal);
}

/* TL_OK and SQLITE_BUSY are both fine: the frame counts tell what was done. */
static int checkpoint(tl_journal *journal, int mode)
{
    /* After a sync that failed the log is all there is: SQLite takes the file for durable, and
     * would start the log over. */
    if (atomic_load(&journal->broken)) return SQLITE_IOERR;
    int frames = -1, moved = -1;
    int rc = sqlite3_wal_checkpoint_v2(journal->db, "main", mode, &frames, &moved);
    if (rc == SQLITE_OK || rc == SQLITE_BUSY) {
        if (frames < 0) frames = moved = 0;
        journal->frames = (uint64_t)frames;
        journal->frames_moved = (uint64_t)moved;
        journal->frames_checkpoint = journal->frames + journal->frames_soft;
        return SQLITE_OK;
    }
    tl_status status = tl_db_status(journal->db, rc);
    journal->checkpoint_not_before_ns = tl_env_mono_ns(journal->env) + RETRY_NS;
    if (status == TL_EIO || status == TL_ECORRUPT || status == TL_EPERM) {
        tl_writer_break(journal, rc, "checkpoint");
    } else {
        tl_log(TL_LOG_WARNING, "journal: checkpoint: %s; trying again", sqlite3_errstr(rc));
    }
    return rc;
}

static bool must_wait(const tl_journal *journal)
{
    return tl_env_mono_ns(journal->env) < journal->checkpoint_not_before_ns;
}

bool tl_wal_pending(const tl_journal *journal)
{
    bool moving = journal->frames > journal->frames_moved || journal->wal_sync.running;
    return moving && !atomic_load(&journal->broken);
}

/* ---- Syncing the file beside the commits -------------------------------------------------------
 */

static sqlite3_file *file_of(tl_journal *journal)
{
    sqlite3_file *file = NULL;
    (void)sqlite3_file_control(journal->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    return file;
}

static int file_sync(sqlite3_file *file)
{
    if (file == NULL || file->pMethods == NULL) return SQLITE_IOERR_FSYNC;
    return file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
}

static void *sync_main(void *context)
{
    tl_wal_sync *sync = context;
    sync->rc = file_sync(sync->file);
    atomic_store(&sync->finished, true);
    return NULL;
}

static void unpin(tl_journal *journal)
{
    sqlite3 *pin = journal->wal_sync.pin;
    if (pin != NULL && !sqlite3_get_autocommit(pin)) (void)tl_db_exec(pin, "ROLLBACK", NULL);
}

/* Hold a snapshot of the newest commit; it must be one in the log, not one in the file. */
static bool pin(tl_journal *journal)
{
    tl_wal_sync *sync = &journal->wal_sync;
    int64_t ignored;
    if (sync->pin == NULL &&
        tl_db_open_reader(journal->file, journal->vfs, &sync->pin, NULL) != TL_OK)
        return false;
    if (tl_db_exec(sync->pin, "BEGIN", NULL) == TL_OK &&
        tl_db_int64(sync->pin, "SELECT count(*) FROM meta", 0, &ignored, NULL) == TL_OK)
        return true;
    unpin(journal);
    return false;
}

/* The thread's answer is waited for; without one the sync is done here. */
static void sync_finish(tl_journal *journal)
{
    tl_wal_sync *sync = &journal->wal_sync;
    if (!sync->running) return;
    if (sync->threaded) {
        pthread_join(sync->thread, NULL);
    } else {
        sync_main(sync);
    }
    sync->running = false;
    unpin(journal);
    if (sync->rc != SQLITE_OK) tl_writer_break(journal, sync->rc, "sync of the database file");
}

/* A simulated disk belongs to one thread: there the sync comes at the next occasion. */
static void sync_start(tl_journal *journal)
{
    tl_wal_sync *sync = &journal->wal_sync;
    sync->running = true;
    sync->file = file_of(journal);
    atomic_store(&sync->finished, false);
    sync->threaded =
        journal->vfs == NULL && pthread_create(&sync->thread, NULL, sync_main, sync) == 0;
    if (!sync->threaded) atomic_store(&sync->finished, true);
}

/* The settings in force are those of db.c: durable commits. */
static void first_stroke(tl_journal *journal)
{
    if (!pin(journal)) {
        checkpoint(journal, SQLITE_CHECKPOINT_PASSIVE);
        return;
    }
    tl_status status = tl_db_exec(journal->db, "PRAGMA synchronous=OFF", NULL);
    if (status == TL_OK) (void)checkpoint(journal, SQLITE_CHECKPOINT_PASSIVE);
    if (tl_db_exec(journal->db, "PRAGMA synchronous=FULL", NULL) != TL_OK)
        tl_writer_break(journal, SQLITE_ERROR, "durability cannot be switched on again");
    sync_start(journal); /* also after an error: some pages may have been written */
}

int tl_wal_truncate(tl_journal *journal)
{
    sync_finish(journal);
    if (atomic_load(&journal->broken)) return SQLITE_IOERR;
    /* A process that was killed may have left pages in the file that are not durable yet. */
    int rc = file_sync(file_of(journal));
    if (rc == SQLITE_OK) return checkpoint(journal, SQLITE_CHECKPOINT_TRUNCATE);
    tl_writer_break(journal, rc, "sync of the database file");
    return rc;
}

void tl_wal_close(tl_journal *journal)
{
    if (journal->db == NULL) return;
    sync_finish(journal);
    sqlite3_close(journal->wal_sync.pin);
    journal->wal_sync.pin = NULL;
}

/* ---- When --------------------------------------------------------------------------------------
 */

/* A reader with an old snapshot keeps the WAL from starting over; give it a moment to finish. */
static void cut(tl_journal *journal)
{
    sqlite3_busy_timeout(journal->db, BUSY_MS);
    uint64_t frames = journal->frames;
    int rc = checkpoint(journal, SQLITE_CHECKPOINT_TRUNCATE);
    sqlite3_busy_timeout(journal->db, BUSY_MS_NORMAL);
    journal->checkpoint_not_before_ns = tl_env_mono_ns(journal->env) + RETRY_NS;
    if (rc == SQLITE_OK && journal->frames >= frames)
        tl_log(TL_LOG_WARNING,
               "journal: a reader holds an old snapshot open; the write-ahead log grew to %llu MiB",
               (unsigned long long)(frames >> 8));
}

/* What came since the first stroke. When that is much again, it takes two strokes as well. */
static void second_stroke(tl_journal *journal)
{
    sync_finish(journal);
    uint64_t left = journal->frames - journal->frames_moved;
    if (left == 0 || left >= journal->frames_soft || atomic_load(&journal->broken)) return;
    checkpoint(journal, SQLITE_CHECKPOINT_PASSIVE);
}

void tl_wal_between_groups(tl_journal *journal)
{
    if (journal->wal_sync.running) {
        bool long_log = journal->frames >= journal->frames_hard / 2;
        if (!atomic_load(&journal->wal_sync.finished) && !long_log) return;
        second_stroke(journal);
    }
    if (journal->frames < journal->frames_checkpoint || must_wait(journal)) return;
    if (journal->frames >= journal->frames_hard) {
        cut(journal);
    } else if (journal->options.relaxed) {
        checkpoint(journal, SQLITE_CHECKPOINT_PASSIVE); /* its log is not synced by commits */
    } else {
        first_stroke(journal);
    }
}

void tl_wal_when_idle(tl_journal *journal)
{
    if (journal->wal_sync.running && !atomic_load(&journal->wal_sync.finished)) return;
    sync_finish(journal);
    if (!tl_wal_pending(journal) || must_wait(journal)) return;
    checkpoint(journal, SQLITE_CHECKPOINT_PASSIVE);
}

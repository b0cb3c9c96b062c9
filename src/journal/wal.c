/* SQLite's checkpoints. They run on the writer's own connection between its commits, so that the
 * two never meet: SQLite before 3.51.3 can lose a commit that races with a checkpoint (the
 * WAL-reset bug). */
#include "base/log.h"
#include "journal/internal.h"

enum {
    SOFT_BYTES = 2 << 20,  /* small enough that the pause is about that of a commit */
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
    return journal->frames > journal->frames_moved && !atomic_load(&journal->broken);
}

int tl_wal_truncate(tl_journal *journal)
{
    return checkpoint(journal, SQLITE_CHECKPOINT_TRUNCATE);
}

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

void tl_wal_between_groups(tl_journal *journal)
{
    if (journal->frames < journal->frames_checkpoint || must_wait(journal)) return;
    if (journal->frames >= journal->frames_hard) {
        cut(journal);
    } else {
        checkpoint(journal, SQLITE_CHECKPOINT_PASSIVE);
    }
}

void tl_wal_when_idle(tl_journal *journal)
{
    if (!tl_wal_pending(journal) || must_wait(journal)) return;
    checkpoint(journal, SQLITE_CHECKPOINT_PASSIVE);
}

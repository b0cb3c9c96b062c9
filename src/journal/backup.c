/* A consistent copy while serving: one snapshot, read by a connection of its own. The write-ahead
 * log cannot start over as long as the snapshot is held, so it grows by what is written meanwhile.
 */
#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP_PAGES = 256, BUSY_RETRIES = 100, BUSY_WAIT_MS = 20 };

static tl_status copy_steps(sqlite3 *source, sqlite3 *target, tl_error *err)
{
    sqlite3_backup *backup = sqlite3_backup_init(target, "main", source, "main");
    if (backup == NULL) return tl_db_fail(err, target, sqlite3_errcode(target), "backup");
    int rc = SQLITE_OK;
    for (int retries = 0; retries < BUSY_RETRIES;) {
        rc = sqlite3_backup_step(backup, STEP_PAGES);
        if (rc == SQLITE_OK) continue;
        if (rc != SQLITE_BUSY && rc != SQLITE_LOCKED) break;
        sqlite3_sleep(BUSY_WAIT_MS);
        retries++;
    }
    int finished = sqlite3_backup_finish(backup);
    if (rc == SQLITE_DONE && finished == SQLITE_OK) return TL_OK;
    return tl_db_fail(err, target, finished != SQLITE_OK ? finished : rc, "backup");
}

static tl_status copy_snapshot(tl_journal *journal, const char *part, tl_error *err)
{
    tl_journal_reader *reader = NULL;
    sqlite3 *target = NULL;
    tl_status status = tl_journal_reader_open(journal, &reader, err);
    if (status != TL_OK) return status;
    int rc = sqlite3_open_v2(
        part, &target, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) status = tl_db_fail(err, target, rc, part);
    /* Synced once, below, before it gets its name. */
    if (status == TL_OK) status = tl_db_exec(target, "PRAGMA synchronous=OFF", err);
    uint64_t position;
    if (status == TL_OK) status = tl_reader_begin(reader, err);
    if (status == TL_OK)
        status = tl_journal_last_position(reader, &position, err); /* the snapshot */
    if (status == TL_OK) status = copy_steps(reader->db, target, err);
    tl_reader_end(reader);
    if (sqlite3_close(target) != SQLITE_OK && status == TL_OK)
        status = tl_fail(err, TL_EIO, "cannot close %s", part);
    tl_journal_reader_close(&reader);
    return status;
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

/* link(2) fails where the name is taken, which rename(2) would not. */
static tl_status publish(const char *part, const char *path, tl_error *err)
{
    if (sync_path(part, O_RDWR) != 0)
        return tl_fail(err, TL_EIO, "cannot sync %s: %s", part, strerror(errno));
    if (link(part, path) != 0) {
        if (errno == EEXIST) return tl_fail(err, TL_ECONFLICT, "%s exists already", path);
        if (rename(part, path) != 0) /* a file system without hard links */
            return tl_fail(err, TL_EIO, "cannot make %s: %s", path, strerror(errno));
    }
    char folder[JOURNAL_PATH_BYTES_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == folder) slash++;
    if (slash != NULL) *slash = '\0';
    (void)sync_path(slash != NULL ? folder : ".", O_RDONLY | O_DIRECTORY);
    return TL_OK;
}

tl_status tl_journal_backup(tl_journal *journal, const char *path, tl_error *err)
{
    char part[JOURNAL_PATH_BYTES_MAX];
    int bytes = snprintf(part, sizeof part, "%s.part", path);
    if (bytes >= (int)sizeof part) return tl_fail(err, TL_ELIMIT, "the path is too long");
    struct stat info;
    if (lstat(path, &info) == 0) return tl_fail(err, TL_ECONFLICT, "%s exists already", path);
    unlink(part);
    tl_status status = copy_snapshot(journal, part, err);
    if (status == TL_OK) status = publish(part, path, err);
    unlink(part);
    return status;
}

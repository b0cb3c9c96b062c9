/* Opening the SQLite file, and what its error codes mean for a journal. */
#include "journal/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { BUSY_TIMEOUT_MS = 5000, WRITER_CACHE_KIB = 8192, READER_CACHE_KIB = 2048 };

static bool out_of_space(sqlite3 *db, int rc)
{
    if ((rc & 0xff) == SQLITE_FULL) return true;
    /* The shared index of the WAL grows in its own file, with its own codes. A *sync* that failed
     * for want of space stays an input/output error: nobody knows what it wrote. */
    bool grows =
        rc == SQLITE_IOERR_SHMSIZE || rc == SQLITE_IOERR_SHMMAP || rc == SQLITE_IOERR_SHMOPEN;
    return grows && db != NULL && sqlite3_system_errno(db) == ENOSPC;
}

tl_status tl_db_status(sqlite3 *db, int rc)
{
    if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE) return TL_OK;
    if (out_of_space(db, rc)) return TL_ENOSPC;
    if (rc == SQLITE_IOERR_NOMEM) return TL_ENOMEM;
    switch (rc & 0xff) {
    case SQLITE_NOMEM: return TL_ENOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return TL_ECORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return TL_EBUSY;
    case SQLITE_CONSTRAINT: return TL_ECONFLICT;
    case SQLITE_TOOBIG: return TL_ELIMIT;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY: return TL_EPERM;
    default: return TL_EIO;
    }
}

tl_status tl_db_fail(tl_error *err, sqlite3 *db, int rc, const char *what)
{
    tl_status status = tl_db_status(db, rc);
    if (status == TL_OK) status = TL_EIO; /* a row too many or too few */
    const char *text =
        db != NULL && sqlite3_errcode(db) != SQLITE_OK ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    const char *todo = "";
    if (status == TL_ECORRUPT) todo = "; run `tightloop doctor` on it";
    if (status == TL_ENOSPC) todo = "; free some space, the journal goes on by itself";
    return tl_fail(err, status, "%s: %s%s", what, text, todo);
}

tl_status tl_db_exec(sqlite3 *db, const char *sql, tl_error *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK) return TL_OK;
    return tl_db_fail(err, db, sqlite3_extended_errcode(db), "journal");
}

tl_status tl_db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, tl_error *err)
{
    int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    if (rc == SQLITE_OK) return TL_OK;
    return tl_db_fail(err, db, rc, "journal statement");
}

tl_status tl_db_int64(sqlite3 *db, const char *sql, int64_t fallback, int64_t *out, tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_db_prepare(db, sql, &stmt, err);
    if (status != TL_OK) return status;
    int rc = sqlite3_step(stmt);
    int64_t value = fallback;
    if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
        value = sqlite3_column_int64(stmt, 0);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) status = tl_db_fail(err, db, rc, "journal");
    sqlite3_finalize(stmt);
    if (status == TL_OK) *out = value;
    return status;
}

int tl_db_run(sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);
    int reset = sqlite3_reset(stmt);
    if (rc == SQLITE_DONE || rc == SQLITE_ROW) return SQLITE_OK;
    return reset != SQLITE_OK ? reset : rc;
}

static tl_status open_with(const char *file, const char *vfs, int flags, sqlite3 **out,
                           tl_error *err)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(file, &db, flags | SQLITE_OPEN_NOMUTEX, vfs);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(db, 1);
        sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
        *out = db;
        return TL_OK;
    }
    tl_status status = tl_db_fail(err, db, rc, "cannot open");
    sqlite3_close(db);
    return status;
}

static bool has_log(const char *file)
{
    char path[JOURNAL_PATH_BYTES_MAX + 8];
    struct stat info;
    snprintf(path, sizeof path, "%s-wal", file);
    return stat(path, &info) == 0 && info.st_size > 0;
}

static void uri_immutable(const char *file, char *out, size_t bytes)
{
    size_t at = (size_t)snprintf(out, bytes, "file:");
    for (const char *c = file; *c != '\0' && at + 32 < bytes; c++) {
        bool plain = *c != '%' && *c != '?' && *c != '#';
        at += (size_t)snprintf(out + at, bytes - at, plain ? "%c" : "%%%02X", (unsigned char)*c);
    }
    snprintf(out + at, bytes - at, "?immutable=1");
}

tl_status tl_db_open_reader(const char *file, const char *vfs, sqlite3 **out, tl_error *err)
{
    sqlite3 *db = NULL;
    tl_status status = open_with(file, vfs, SQLITE_OPEN_READONLY, &db, err);
    if (status != TL_OK) return tl_fail_context(err, status, "%s", file);
    /* Never let a reader that happens to be the last one checkpoint. */
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    int64_t ignored;
    status = tl_db_int64(db, "SELECT count(*) FROM sqlite_schema", 0, &ignored, err);
    bool refused = status == TL_EPERM || sqlite3_errcode(db) == SQLITE_CANTOPEN;
    if (status != TL_OK && refused && vfs == NULL && !has_log(file)) {
        /* A WAL database needs its shared index, which a folder without write permission does not
         * let us make. Nobody serves it then, and all is in the file: read it as it stands. */
        sqlite3_close(db);
        char uri[3 * JOURNAL_PATH_BYTES_MAX + 32];
        uri_immutable(file, uri, sizeof uri);
        status = open_with(uri, vfs, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, &db, err);
        if (status != TL_OK) return tl_fail_context(err, status, "%s", file);
        status = tl_db_int64(db, "SELECT count(*) FROM sqlite_schema", 0, &ignored, err);
    }
    if (status == TL_OK) {
        char sql[64];
        snprintf(sql, sizeof sql, "PRAGMA cache_size=-%d", READER_CACHE_KIB);
        status = tl_db_exec(db, sql, err);
    }
    if (status != TL_OK) {
        sqlite3_close(db);
        return status;
    }
    *out = db;
    return TL_OK;
}

static tl_status settings_apply(sqlite3 *db, bool relaxed, tl_error *err)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "PRAGMA wal_autocheckpoint=0;PRAGMA synchronous=%s;PRAGMA cache_size=-%d;"
             "PRAGMA temp_store=MEMORY;PRAGMA secure_delete=FAST;",
             relaxed ? "NORMAL" : "FULL", WRITER_CACHE_KIB);
    return tl_db_exec(db, sql, err);
}

/* True when the file is in WAL mode. The connection must have read from it. */
static tl_status wal_check(sqlite3 *db, const char *sql, bool *out, tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_db_prepare(db, sql, &stmt, err);
    if (status != TL_OK) return status;
    int rc = sqlite3_step(stmt);
    const char *mode = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    *out = mode != NULL && strcmp(mode, "wal") == 0;
    if (rc != SQLITE_ROW) status = tl_db_fail(err, db, rc, "the write-ahead log");
    sqlite3_finalize(stmt);
    return status;
}

/* Switch a file that is not in WAL mode yet. */
static tl_status wal_enter(sqlite3 *db, int format, tl_error *err)
{
    bool entered = false;
    /* The first page is written under a rollback journal. Unless its deletion is synced as well, a
     * power cut can bring it back, and it would roll back everything that the WAL holds by then. */
    tl_status status = tl_db_exec(db, "PRAGMA synchronous=EXTRA", err);
    /* Before the first page is written; without effect later. */
    if (status == TL_OK && format < 0)
        status = tl_db_exec(db, "PRAGMA auto_vacuum=INCREMENTAL", err);
    if (status == TL_OK) status = wal_check(db, "PRAGMA journal_mode=WAL", &entered, err);
    if (status == TL_OK && !entered)
        status =
            tl_fail(err, TL_EUNSUPPORTED,
                    "SQLite cannot use a write-ahead log here; put the journal on a local disk");
    return status;
}

static tl_status open_checked(const char *file, const char *vfs, sqlite3 **out, int *format,
                              bool *is_wal, tl_error *err)
{
    tl_status status = open_with(file, vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, out, err);
    if (status == TL_OK) status = tl_schema_check(*out, format, err);
    if (status == TL_OK) status = wal_check(*out, "PRAGMA journal_mode", is_wal, err);
    return status;
}

/* An input/output error in the middle of the switch can leave SQLite saying "wal" and using a
 * rollback journal all the same. So the file is opened again after it, and must say so by itself.
 */
static tl_status open_in_wal(const char *file, const char *vfs, sqlite3 **db, int *format,
                             tl_error *err)
{
    bool is_wal;
    tl_status status = open_checked(file, vfs, db, format, &is_wal, err);
    if (status != TL_OK || is_wal) return status;
    status = wal_enter(*db, *format, err);
    if (status != TL_OK) return status;
    sqlite3_close(*db);
    *db = NULL;
    status = open_checked(file, vfs, db, format, &is_wal, err);
    if (status == TL_OK && !is_wal)
        status = tl_fail(err, TL_EIO, "switching to the write-ahead log failed");
    return status;
}

static tl_status writer_set_up(sqlite3 *db, int format, bool relaxed, const tl_env *env,
                               tl_error *err)
{
    tl_status status = settings_apply(db, relaxed, err);
    if (status != TL_OK) return status;
    if (format < 0) return tl_schema_create(db, env, err);
    if (format < JOURNAL_FORMAT) return tl_schema_migrate(db, format, err);
    return TL_OK;
}

static int log_rewrite(sqlite3_file *log)
{
    static const int STEP = 64 << 10;
    sqlite3_int64 bytes = 0;
    int rc = log->pMethods->xFileSize(log, &bytes);
    void *block = sqlite3_malloc(STEP);
    if (block == NULL) return SQLITE_NOMEM;
    for (sqlite3_int64 at = 0; at < bytes && rc == SQLITE_OK; at += STEP) {
        int part = bytes - at < STEP ? (int)(bytes - at) : STEP;
        rc = log->pMethods->xRead(log, block, part, at);
        if (rc == SQLITE_OK) rc = log->pMethods->xWrite(log, block, part, at);
    }
    if (rc == SQLITE_OK && bytes > 0) rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
    sqlite3_free(block);
    return rc;
}

/* After a sync that failed, the write-ahead log may be whole in the system's cache, marked as
 * saved, and not be on the disk; syncing it again would change nothing. Recovery is about to build
 * on it, so it is written and synced once more as it is. */
static tl_status log_secure(const char *file, const char *vfs_name, tl_error *err)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(vfs_name);
    char path[JOURNAL_PATH_BYTES_MAX + 8] = "";
    if (vfs == NULL)
        return tl_fail(err, TL_EINVAL, "no SQLite VFS \"%s\"", vfs_name != NULL ? vfs_name : "");
    snprintf(path, sizeof path - 1, "%s-wal", file);
    int there = 0;
    if (vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &there) != SQLITE_OK || !there) return TL_OK;
    sqlite3_file *log = sqlite3_malloc(vfs->szOsFile);
    if (log == NULL) return tl_fail(err, TL_ENOMEM, "no memory to open the journal");
    log->pMethods = NULL;
    int rc = vfs->xOpen(vfs, path, log, SQLITE_OPEN_READWRITE | SQLITE_OPEN_WAL, NULL);
    if (rc == SQLITE_OK) rc = log_rewrite(log);
    if (log->pMethods != NULL) log->pMethods->xClose(log);
    sqlite3_free(log);
    return rc == SQLITE_OK ? TL_OK : tl_db_fail(err, NULL, rc, "the write-ahead log");
}

tl_status tl_db_open_writer(const char *file, const char *vfs, bool relaxed, const tl_env *env,
                            sqlite3 **out, tl_error *err)
{
    sqlite3 *db = NULL;
    int format;
    tl_status status = log_secure(file, vfs, err);
    if (status == TL_OK) status = open_in_wal(file, vfs, &db, &format, err);
    if (status == TL_OK) status = writer_set_up(db, format, relaxed, env, err);
    if (status != TL_OK) {
        sqlite3_close(db);
        return tl_fail_context(err, status, "%s", file);
    }
    *out = db;
    return TL_OK;
}

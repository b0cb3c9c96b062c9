/* What is the matter with a journal, in words. Reads only. */
#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SAY_BYTES = 512, INTEGRITY_LINES_MAX = 20, LOW_SPACE_MIB = 1024, LONG_WAL_MIB = 256 };

typedef struct doctor {
    const char *path;
    char file[JOURNAL_PATH_BYTES_MAX];
    tl_doctor_fn fn;
    void *context;
    int worst;
    tl_journal_reader *reader;
    bool served;
} doctor;

__attribute__((format(printf, 3, 4))) static void say(doctor *d, int severity, const char *format,
                                                      ...)
{
    char text[SAY_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (severity > d->worst) d->worst = severity;
    if (d->fn != NULL) d->fn(d->context, severity, text);
}

/* ---- Around the file ---------------------------------------------------------------------------
 */

static void look_at_lock(doctor *d)
{
    char path[JOURNAL_PATH_BYTES_MAX + 32], pid[32] = "";
    snprintf(path, sizeof path, "%s/" JOURNAL_LOCK_NAME, d->path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        d->served = true;
        if (pread(fd, pid, sizeof pid - 1, 0) < 0) pid[0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        say(d, 0,
            "Process %s serves this journal; only the checks that do not disturb it are made. "
            "Stop it, or look at a backup, for all of them.",
            pid[0] != '\0' ? pid : "(unknown)");
    }
    close(fd);
}

static void look_at_sizes(doctor *d)
{
    struct stat info;
    double file_mib = 0, wal_mib = 0;
    char wal[JOURNAL_PATH_BYTES_MAX + 8];
    snprintf(wal, sizeof wal, "%s-wal", d->file);
    if (stat(d->file, &info) == 0) file_mib = (double)info.st_size / 1048576;
    if (stat(wal, &info) == 0) wal_mib = (double)info.st_size / 1048576;
    say(d, 0, "The file has %.1f MiB, its write-ahead log %.1f MiB.", file_mib, wal_mib);
    if (wal_mib > LONG_WAL_MIB)
        say(d, 1,
            "The write-ahead log is long: a program holds an old snapshot open (a sqlite3 shell "
            "inside a transaction, a backup). It shrinks when that program is done.");
    struct statvfs space;
    if (statvfs(d->file, &space) != 0) return;
    double free_mib = (double)space.f_bavail * (double)space.f_frsize / 1048576;
    if (free_mib < LOW_SPACE_MIB) {
        say(d, 1, "Only %.0f MiB are free on this disk. Free some, or set a quota or retention.",
            free_mib);
    } else {
        say(d, 0, "%.1f GiB are free on this disk.", free_mib / 1024);
    }
}

/* ---- Inside the file ---------------------------------------------------------------------------
 */

static int64_t number(doctor *d, const char *sql)
{
    int64_t out = 0;
    tl_error err;
    if (tl_db_int64(d->reader->db, sql, 0, &out, &err) == TL_OK) return out;
    say(d, 2, "A table cannot be read: %s.", err.text);
    return 0;
}

static void look_at_contents(doctor *d)
{
    say(d, 0,
        "Format %lld. %lld loops, %lld predictions, %lld pruned ones, %lld feedbacks, %lld events, "
        "%lld versions, %lld images.",
        (long long)number(d, "PRAGMA user_version"),
        (long long)number(d, "SELECT count(*) FROM loop"),
        (long long)number(d, "SELECT count(*) FROM prediction"),
        (long long)number(d, "SELECT count(*) FROM tombstone"),
        (long long)number(d, "SELECT count(*) FROM feedback"),
        (long long)number(d, "SELECT count(*) FROM event"),
        (long long)number(d, "SELECT count(*) FROM version"),
        (long long)number(d, "SELECT count(*) FROM image"));
    int64_t bare =
        number(d, "SELECT count(*) FROM loop l WHERE NOT EXISTS(SELECT 1 FROM checkpoint c "
                  "WHERE c.loop=l.number AND c.kept)");
    if (bare > 0)
        say(d, 1,
            "%lld loops have no checkpoint: their next start replays all their history, which may "
            "take a while.",
            (long long)bare);
}

static void look_at_pages(doctor *d)
{
    if (d->served) return;
    sqlite3_stmt *stmt;
    tl_error err;
    if (tl_db_prepare(d->reader->db, "PRAGMA integrity_check(20)", &stmt, &err) != TL_OK) {
        say(d, 2, "The file cannot be checked: %s.", err.text);
        return;
    }
    int rc, lines = 0;
    bool fine = false;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && lines < INTEGRITY_LINES_MAX) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        fine = text != NULL && strcmp(text, "ok") == 0;
        if (!fine) say(d, 2, "Damage in the file: %s.", text != NULL ? text : "(no text)");
        lines++;
    }
    sqlite3_finalize(stmt);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        say(d, 2, "Damage in the file: %s.", sqlite3_errstr(rc));
    if (fine) say(d, 0, "All pages and indexes of the file are sound.");
}

/* Every position from 1 on once; in chunks, so that a server is not held up. */
static void look_at_positions(doctor *d)
{
    tl_arena arena;
    tl_arena_init(&arena, SIZE_MAX / 2);
    uint64_t last = 0, gaps = 0, first_gap = 0;
    tl_record record;
    tl_error err;
    tl_status status;
    while ((status = tl_journal_next(d->reader, UINT32_MAX, last, &arena, &record, &err)) ==
           TL_OK) {
        if (record.position != last + 1 && gaps++ == 0) first_gap = last + 1;
        last = record.position;
        tl_arena_reset(&arena);
    }
    tl_arena_destroy(&arena);
    if (status != TL_ENOTFOUND) {
        say(d, 2, "The record after position %llu cannot be read: %s.", (unsigned long long)last,
            err.text);
    } else if (gaps > 0) {
        say(d, 2,
            "%llu gaps in the positions, the first at %llu: records were removed by hand, or "
            "the file is damaged.",
            (unsigned long long)gaps, (unsigned long long)first_gap);
    } else {
        say(d, 0, "Positions 1 to %llu are all there.", (unsigned long long)last);
    }
}

static void look_at_doubles(doctor *d)
{
    /* The walk above meets a position that two tables hold only once. */
    int64_t rows =
        number(d, "SELECT (SELECT count(*) FROM prediction)+(SELECT count(*) FROM "
                  "tombstone)+(SELECT count(*) FROM feedback)+(SELECT count(*) FROM event)"
                  "+(SELECT count(*) FROM version)+(SELECT count(*) FROM checkpoint)");
    uint64_t last = 0;
    if (!d->served && tl_journal_last_position(d->reader, &last, NULL) == TL_OK &&
        (uint64_t)rows > last)
        say(d, 2, "%lld records share %llu positions: something else wrote into this file.",
            (long long)rows, (unsigned long long)last);
}

static void look_at_references(doctor *d)
{
    int64_t unknown = number(
        d, "SELECT count(*) FROM feedback f WHERE NOT EXISTS(SELECT 1 FROM prediction p WHERE "
           "p.loop=f.loop AND p.id=f.prediction_id) AND NOT EXISTS(SELECT 1 FROM tombstone t "
           "WHERE t.loop=f.loop AND t.id=f.prediction_id)");
    if (unknown > 0)
        say(d, 1,
            "%lld feedbacks name a prediction that is not known (yet): they are pending. If the "
            "predictions were made elsewhere, send them too; otherwise look for a mix-up of ids.",
            (long long)unknown);
    int64_t missing = number(
        d, "SELECT count(*) FROM prediction p WHERE (image IS NOT NULL AND NOT EXISTS(SELECT 1 "
           "FROM image i WHERE i.number=p.image)) OR (reference IS NOT NULL AND NOT "
           "EXISTS(SELECT 1 FROM image i WHERE i.number=p.reference))");
    if (missing > 0)
        say(d, 2, "%lld predictions name an image that is missing.", (long long)missing);
    int64_t orphans =
        number(d, "SELECT count(*) FROM image i WHERE NOT EXISTS(SELECT 1 FROM prediction WHERE "
                  "image=i.number) AND NOT EXISTS(SELECT 1 FROM prediction WHERE "
                  "reference=i.number)");
    if (orphans > 0) say(d, 1, "%lld images belong to no prediction.", (long long)orphans);
    if (unknown == 0 && missing == 0 && orphans == 0)
        say(d, 0, "Feedback, predictions and images fit together.");
}

/* SQLite keeps no checksums of what it stores: the hashes of the images tell whether a disk lies.
 */
static void look_at_hashes(doctor *d)
{
    if (d->served) return;
    tl_arena arena;
    tl_arena_init(&arena, SIZE_MAX / 2);
    sqlite3_stmt *stmt;
    uint64_t checked = 0, wrong = 0;
    if (tl_db_prepare(d->reader->db, "SELECT number FROM image", &stmt, NULL) != TL_OK) return;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        tl_stored_image image;
        uint8_t hash[sizeof image.hash];
        tl_arena_reset(&arena);
        checked++;
        if (tl_reader_image(d->reader, sqlite3_column_int64(stmt, 0), &arena, &image, NULL) !=
            TL_OK) {
            wrong++;
            continue;
        }
        memcpy(hash, image.hash, sizeof hash);
        tl_stored_image_hash(&image);
        if (memcmp(hash, image.hash, sizeof hash) != 0) wrong++;
    }
    sqlite3_finalize(stmt);
    tl_arena_destroy(&arena);
    if (wrong > 0) {
        say(d, 2, "%llu of %llu images are not what was stored: the disk may be failing.",
            (unsigned long long)wrong, (unsigned long long)checked);
    } else if (checked > 0) {
        say(d, 0, "All %llu images are what was stored.", (unsigned long long)checked);
    }
}

static void advise(doctor *d)
{
    if (d->worst < 2) return;
    say(d, 2,
        "Make a copy of the folder before anything else. Then restore the newest backup, or save "
        "what can be read: sqlite3 journal.db .recover | sqlite3 rescued.db");
}

tl_status tl_journal_doctor(const char *path, tl_doctor_fn fn, void *context, int *worst,
                            tl_error *err)
{
    doctor d = { .path = path, .fn = fn, .context = context };
    tl_status status = tl_journal_locate(path, d.file, err);
    if (status != TL_OK) return status;
    look_at_lock(&d);
    look_at_sizes(&d);
    tl_error below;
    status = tl_journal_reader_open_path(path, &d.reader, &below);
    if (status == TL_OK) {
        look_at_contents(&d);
        look_at_pages(&d);
        look_at_positions(&d);
        look_at_doubles(&d);
        look_at_references(&d);
        look_at_hashes(&d);
        tl_journal_reader_close(&d.reader);
    } else if (status == TL_EVERSION) {
        return tl_fail(err, status, "%s", below.text); /* whether it is sound cannot be told */
    } else {
        say(&d, 2, "The journal cannot be opened: %s.", below.text);
    }
    advise(&d);
    if (worst != NULL) *worst = d.worst;
    return TL_OK;
}

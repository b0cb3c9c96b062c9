/* The tables, and the way from older formats. docs/formats/journal.md describes every column. */
#include "journal/internal.h"

#include <stdio.h>

static const char SCHEMA[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE loop(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, config TEXT NOT NULL,"
    " created_us INTEGER NOT NULL);"
    "CREATE TABLE image(number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE,"
    " encoding INTEGER NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL,"
    " channels INTEGER NOT NULL, bytes INTEGER NOT NULL, data BLOB NOT NULL);"
    /* Small columns first: a scan need not follow the pages of long blobs. */
    "CREATE TABLE prediction(position INTEGER PRIMARY KEY, loop INTEGER NOT NULL, id BLOB NOT NULL,"
    " time_us INTEGER NOT NULL, version INTEGER NOT NULL, epoch INTEGER NOT NULL,"
    " label INTEGER NOT NULL, flagged INTEGER NOT NULL, review INTEGER NOT NULL, defect_score REAL,"
    " threshold REAL, propensity REAL, site TEXT, line TEXT, part TEXT, board TEXT, lot TEXT,"
    " shift TEXT, reason INTEGER NOT NULL DEFAULT 0, image INTEGER, reference INTEGER,"
    " scores BLOB, shadows BLOB, head_scores BLOB, features BLOB);"
    "CREATE UNIQUE INDEX prediction_id ON prediction(loop, id);"
    "CREATE INDEX prediction_image ON prediction(image) WHERE image IS NOT NULL;"
    "CREATE INDEX prediction_reference ON prediction(reference) WHERE reference IS NOT NULL;"
    "CREATE TABLE tombstone(position INTEGER PRIMARY KEY, loop INTEGER NOT NULL, id BLOB NOT NULL,"
    " time_us INTEGER NOT NULL, version INTEGER NOT NULL, epoch INTEGER NOT NULL,"
    " label INTEGER NOT NULL, flagged INTEGER NOT NULL, review INTEGER NOT NULL, defect_score REAL,"
    " threshold REAL, propensity REAL, site TEXT, line TEXT, board TEXT, lot TEXT, shift TEXT,"
    " reason INTEGER NOT NULL DEFAULT 0, scores BLOB);"
    "CREATE UNIQUE INDEX tombstone_id ON tombstone(loop, id);"
    "CREATE TABLE feedback(position INTEGER PRIMARY KEY, loop INTEGER NOT NULL,"
    " prediction_id BLOB NOT NULL, kind INTEGER NOT NULL, label INTEGER NOT NULL,"
    " correct INTEGER NOT NULL, source TEXT NOT NULL, time_us INTEGER NOT NULL,"
    " received_us INTEGER NOT NULL);"
    "CREATE INDEX feedback_prediction ON feedback(loop, prediction_id);"
    "CREATE TABLE event(position INTEGER PRIMARY KEY, loop INTEGER NOT NULL, kind TEXT NOT NULL,"
    " body TEXT NOT NULL, time_us INTEGER NOT NULL);"
    "CREATE TABLE version(position INTEGER PRIMARY KEY, loop INTEGER NOT NULL,"
    " number INTEGER NOT NULL, parent INTEGER NOT NULL, origin TEXT NOT NULL,"
    " metrics TEXT NOT NULL, time_us INTEGER NOT NULL, trained_position INTEGER NOT NULL,"
    " weights_hash INTEGER NOT NULL, weights BLOB);"
    "CREATE UNIQUE INDEX version_number ON version(loop, number);"
    "CREATE TABLE checkpoint(position INTEGER PRIMARY KEY, loop INTEGER NOT NULL,"
    " upto INTEGER NOT NULL, build TEXT NOT NULL, time_us INTEGER NOT NULL,"
    " kept INTEGER NOT NULL, body BLOB);"
    "CREATE INDEX checkpoint_kept ON checkpoint(loop) WHERE kept;"
    "CREATE TABLE request(first_position INTEGER PRIMARY KEY, last_position INTEGER NOT NULL,"
    " loop INTEGER NOT NULL, id TEXT NOT NULL, body_hash BLOB NOT NULL);"
    "CREATE UNIQUE INDEX request_id ON request(loop, id);"
    "CREATE TABLE clock(position INTEGER PRIMARY KEY, wall_us INTEGER NOT NULL,"
    " elapsed_us INTEGER NOT NULL, bytes INTEGER NOT NULL);";

/* clang-format off */
#define UUID_OF(id) \
    "lower(substr(hex(" id "),1,8)||'-'||substr(hex(" id "),9,4)||'-'||substr(hex(" id "),13,4)" \
    "||'-'||substr(hex(" id "),17,4)||'-'||substr(hex(" id "),21))"
#define UTC_OF(us) "strftime('%Y-%m-%dT%H:%M:%fZ'," us "/1000000.0,'unixepoch')"
/* Class names live in the loop's description, when it has a list of that name. */
#define CLASS_OF(label) "json_extract(l.config,'$.classes['||(" label ")||']')"
#define TOLD_LABEL "CASE WHEN f.kind=0 THEN f.label WHEN f.correct THEN p.label END"

static const char VIEWS[] =
    "CREATE VIEW predictions AS SELECT p.position, l.name AS loop,"
    " " UUID_OF("p.id") " AS id, " UTC_OF("p.time_us") " AS time,"
    " p.version, p.epoch, p.label, " CLASS_OF("p.label") " AS class,"
    " round(p.defect_score,6) AS defect_score, round(p.threshold,6) AS threshold,"
    " p.flagged, p.review, round(p.propensity,6) AS propensity,"
    " p.reason, p.site, p.line, p.part, p.board, p.lot, p.shift, lower(hex(i.hash)) AS image"
    " FROM prediction p JOIN loop l ON l.number=p.loop LEFT JOIN image i ON i.number=p.image;"

    /* The newest word of each source on each prediction, unless it took its word back. */
    "CREATE VIEW standing AS SELECT f.* FROM feedback f WHERE f.kind<>2 AND NOT EXISTS"
    " (SELECT 1 FROM feedback g WHERE g.loop=f.loop AND g.prediction_id=f.prediction_id"
    " AND g.source=f.source AND g.position>f.position);"

    "CREATE VIEW labelled AS SELECT p.position, l.name AS loop,"
    " " UUID_OF("p.id") " AS id, " UTC_OF("p.time_us") " AS time,"
    " p.version, p.epoch, p.label AS answered, " CLASS_OF("p.label") " AS answered_class,"
    " " TOLD_LABEL " AS label, " CLASS_OF(TOLD_LABEL) " AS class,"
    " round(p.defect_score,6) AS defect_score, p.flagged,"
    " round(p.propensity,6) AS propensity, p.site, p.line, p.part, p.board, p.lot, p.shift,"
    " f.source,"
    " f.position AS feedback_position, " UTC_OF("f.time_us") " AS feedback_time"
    " FROM standing f JOIN prediction p ON p.loop=f.loop AND p.id=f.prediction_id"
    " JOIN loop l ON l.number=f.loop WHERE f.kind=0 OR f.correct;";
/* clang-format on */

/* One line a format; each takes the file from `from` to the next. */
static const tl_migration MIGRATIONS[] = {
    /* Format 0 did not tell when a feedback came in from when it was observed; it had no clock. */
    { 0, "ALTER TABLE feedback ADD COLUMN received_us INTEGER NOT NULL DEFAULT 0;"
         "UPDATE feedback SET received_us=time_us;"
         "CREATE TABLE IF NOT EXISTS clock(position INTEGER PRIMARY KEY, wall_us INTEGER NOT NULL,"
         " elapsed_us INTEGER NOT NULL, bytes INTEGER NOT NULL);" },
    /* Format 1 did not know which items belong to one unit, nor what challengers said of them. */
    { 1, "ALTER TABLE prediction ADD COLUMN board TEXT;"
         "ALTER TABLE prediction ADD COLUMN lot TEXT;"
         "ALTER TABLE prediction ADD COLUMN shift TEXT;"
         "ALTER TABLE prediction ADD COLUMN reason INTEGER NOT NULL DEFAULT 0;"
         "ALTER TABLE prediction ADD COLUMN shadows BLOB;"
         "ALTER TABLE tombstone ADD COLUMN board TEXT;"
         "ALTER TABLE tombstone ADD COLUMN lot TEXT;"
         "ALTER TABLE tombstone ADD COLUMN shift TEXT;"
         "ALTER TABLE tombstone ADD COLUMN reason INTEGER NOT NULL DEFAULT 0;" },
};
_Static_assert(TL_COUNT_OF(MIGRATIONS) == JOURNAL_FORMAT, "one migration a format");

tl_status tl_schema_check(sqlite3 *db, int *format, tl_error *err)
{
    int64_t application, version, tables;
    tl_status status = tl_db_int64(db, "PRAGMA application_id", 0, &application, err);
    if (status == TL_OK) status = tl_db_int64(db, "PRAGMA user_version", 0, &version, err);
    if (status == TL_OK)
        status = tl_db_int64(db, "SELECT count(*) FROM sqlite_schema", 0, &tables, err);
    if (status != TL_OK) return status;
    if (tables == 0 && application == 0) {
        *format = -1;
        return TL_OK;
    }
    if (application != JOURNAL_APPLICATION_ID)
        return tl_fail(err, TL_ECORRUPT,
                       "this SQLite file is not a journal (application id %lld); choose another "
                       "folder",
                       (long long)application);
    if (version > JOURNAL_FORMAT)
        return tl_fail(err, TL_EVERSION,
                       "the journal has format %lld, this program knows formats up to %d; run the "
                       "newer tightloop that wrote it",
                       (long long)version, JOURNAL_FORMAT);
    if (version < 0) return tl_fail(err, TL_ECORRUPT, "the journal has no valid format number");
    *format = (int)version;
    return TL_OK;
}

static tl_status transaction(sqlite3 *db, tl_status (*body)(sqlite3 *, const void *, tl_error *),
                             const void *context, tl_error *err)
{
    tl_status status = tl_db_exec(db, "BEGIN IMMEDIATE", err);
    if (status != TL_OK) return status;
    status = body(db, context, err);
    if (status == TL_OK) {
        char sql[64];
        snprintf(sql, sizeof sql, "PRAGMA user_version=%d", JOURNAL_FORMAT);
        status = tl_db_exec(db, sql, err);
    }
    if (status == TL_OK) status = tl_db_exec(db, "COMMIT", err);
    if (status != TL_OK && !sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static tl_status create_body(sqlite3 *db, const void *context, tl_error *err)
{
    const tl_env *env = context;
    char sql[256];
    snprintf(sql, sizeof sql,
             "PRAGMA application_id=%d;"
             "INSERT INTO meta VALUES('created_us',%lld),('created_by','tightloop %s');",
             JOURNAL_APPLICATION_ID, (long long)tl_env_wall_us(env), TL_VERSION_TEXT);
    tl_status status = tl_db_exec(db, SCHEMA, err);
    if (status == TL_OK) status = tl_db_exec(db, VIEWS, err);
    if (status == TL_OK) status = tl_db_exec(db, sql, err);
    return status;
}

tl_status tl_schema_create(sqlite3 *db, const tl_env *env, tl_error *err)
{
    return transaction(db, create_body, env, err);
}

static tl_status migrate_body(sqlite3 *db, const void *context, tl_error *err)
{
    int format = *(const int *)context;
    /* Views name columns; they are made anew from the present text. */
    tl_status status = tl_db_exec(db,
                                  "DROP VIEW IF EXISTS labelled;DROP VIEW IF EXISTS standing;"
                                  "DROP VIEW IF EXISTS predictions;",
                                  err);
    for (int i = format; i < JOURNAL_FORMAT && status == TL_OK; i++) {
        TL_ASSERT(MIGRATIONS[i].from == i);
        status = tl_db_exec(db, MIGRATIONS[i].sql, err);
        if (status != TL_OK) tl_fail_context(err, status, "migrating from format %d", i);
    }
    if (status == TL_OK) status = tl_db_exec(db, VIEWS, err);
    return status;
}

tl_status tl_schema_migrate(sqlite3 *db, int format, tl_error *err)
{
    return transaction(db, migrate_body, &format, err);
}

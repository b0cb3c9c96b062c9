/* Keeping the journal within its bounds: old unlabelled predictions become tombstones, in journal
 * order and a few at a time; images go with their last reference; free pages go back to the file
 * system. A prediction that anybody gave feedback on is never pruned. */
#include "base/log.h"
#include "journal/internal.h"

#include <stdio.h>
#include <string.h>

enum { CHUNK_MIN = 32, CHUNK_MAX = 256, TRIM_MAX = 256, SHRINK_PAGES = 128, FREE_PAGES_MIN = 256 };
static const int64_t DAY_US = 86400 * (int64_t)1000000;
static const int64_t CARE_EVERY_NS = 60 * (int64_t)1000000000;
static const int64_t REQUEST_DAYS = 7; /* how long a request id is remembered */

typedef struct candidate {
    int64_t position, image, reference;
    bool labelled;
} candidate;

static bool over_bytes(const tl_journal *journal)
{
    uint64_t bound = journal->options.retention_bytes;
    return bound > 0 && !journal->prune_done && atomic_load(&journal->used_bytes) > bound;
}

static bool over_days(const tl_journal *journal)
{
    return journal->prune_limit > journal->prune_after;
}

static bool shrinkable(const tl_journal *journal)
{
    return journal->free_pages > FREE_PAGES_MIN && journal->free_pages > journal->pages / 8;
}

bool tl_retention_pending(const tl_journal *journal)
{
    if (atomic_load(&journal->broken)) return false;
    return over_bytes(journal) || over_days(journal) || shrinkable(journal) || journal->trim_more;
}

static int scan(tl_journal *journal, uint64_t upto, candidate *found, size_t max, size_t *count)
{
    sqlite3_stmt *stmt = tl_stmt(journal, ST_PRUNE_SCAN);
    sqlite3_bind_int64(stmt, 1, (int64_t)journal->prune_after);
    sqlite3_bind_int64(stmt, 2, (int64_t)upto);
    sqlite3_bind_int64(stmt, 3, (int64_t)max);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        candidate *c = &found[(*count)++];
        c->position = sqlite3_column_int64(stmt, 0);
        c->image = sqlite3_column_int64(stmt, 3); /* NULL reads as 0 */
        c->reference = sqlite3_column_int64(stmt, 4);
        c->labelled = sqlite3_column_int(stmt, 5) != 0;
    }
    int reset = sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : reset;
}

static int image_release(tl_journal *journal, int64_t number)
{
    if (number == 0) return SQLITE_OK;
    sqlite3_stmt *stmt = tl_stmt(journal, ST_IMAGE_USED);
    sqlite3_bind_int64(stmt, 1, number);
    int rc = sqlite3_step(stmt);
    int reset = sqlite3_reset(stmt);
    if (rc == SQLITE_ROW) return SQLITE_OK;
    if (rc != SQLITE_DONE) return reset;
    stmt = tl_stmt(journal, ST_IMAGE_DELETE);
    sqlite3_bind_int64(stmt, 1, number);
    rc = tl_db_run(stmt);
    if (rc == SQLITE_OK) journal->image_count -= (uint64_t)sqlite3_changes(journal->db);
    return rc;
}

static int prune(tl_journal *journal, const candidate *c)
{
    sqlite3_stmt *stmt = tl_stmt(journal, ST_PRUNE_TOMBSTONE);
    sqlite3_bind_int64(stmt, 1, c->position);
    int rc = tl_db_run(stmt);
    if (rc != SQLITE_OK) return rc;
    stmt = tl_stmt(journal, ST_PRUNE_DELETE);
    sqlite3_bind_int64(stmt, 1, c->position);
    rc = tl_db_run(stmt);
    if (rc == SQLITE_OK) rc = image_release(journal, c->image);
    if (rc == SQLITE_OK) rc = image_release(journal, c->reference);
    return rc;
}

static int prune_many(tl_journal *journal, const candidate *found, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int rc = found[i].labelled ? SQLITE_OK : prune(journal, &found[i]);
        if (rc != SQLITE_OK) return rc;
    }
    return tl_quota_measure(journal);
}

/* Between groups a chunk keeps pace with what comes in; when idle it may take longer. */
static size_t chunk_size(const tl_journal *journal, bool idle)
{
    size_t size = idle ? CHUNK_MAX : 2 * (size_t)journal->last_group_records;
    if (size < CHUNK_MIN) return CHUNK_MIN;
    return size > CHUNK_MAX ? CHUNK_MAX : size;
}

static void prune_chunk(tl_journal *journal, bool idle)
{
    candidate found[CHUNK_MAX];
    size_t count = 0, max = chunk_size(journal, idle);
    bool bytes = over_bytes(journal);
    uint64_t upto = bytes ? journal->next_position - 1 : journal->prune_limit;
    uint64_t images = journal->image_count;
    if (tl_writer_begin(journal) != SQLITE_OK) return;
    int rc = scan(journal, upto, found, max, &count);
    if (rc == SQLITE_OK) rc = prune_many(journal, found, count);
    rc = tl_writer_end(journal, rc, "retention");
    if (rc != SQLITE_OK) {
        journal->image_count = images;
        journal->care_not_before_ns = tl_env_mono_ns(journal->env) + CARE_EVERY_NS / 60;
        return;
    }
    journal->prune_after = count == max ? (uint64_t)found[count - 1].position : upto;
    if (bytes && count < max) journal->prune_done = true;
    tl_quota_publish(journal);
}

/* The newest position that was written at least `days` of the journal's clock ago; 0: none. */
static int position_before(tl_journal *journal, int64_t days, uint64_t *out)
{
    sqlite3_stmt *stmt = tl_stmt(journal, ST_MARK_BEFORE);
    sqlite3_bind_int64(stmt, 1, tl_clock_elapsed_us(journal) - days * DAY_US);
    int rc = sqlite3_step(stmt);
    *out = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(stmt, 0) : 0;
    int reset = sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : reset;
}

static int requests_trim(tl_journal *journal, uint64_t upto)
{
    sqlite3_stmt *stmt = tl_stmt(journal, ST_REQUEST_TRIM);
    sqlite3_bind_int64(stmt, 1, (int64_t)upto);
    sqlite3_bind_int(stmt, 2, TRIM_MAX);
    int rc = tl_db_run(stmt);
    journal->trim_more = rc == SQLITE_OK && sqlite3_changes(journal->db) == TRIM_MAX;
    return rc;
}

static int marks_trim(tl_journal *journal)
{
    int64_t days = journal->options.retention_days;
    if (days < REQUEST_DAYS) days = REQUEST_DAYS;
    sqlite3_stmt *stmt = tl_stmt(journal, ST_MARK_TRIM);
    sqlite3_bind_int64(stmt, 1, tl_clock_elapsed_us(journal) - (days + 1) * DAY_US);
    return tl_db_run(stmt);
}

/* Now and then: what has become old, and which marks and request ids nobody needs any more. */
static void care(tl_journal *journal)
{
    uint64_t requests_upto = 0;
    journal->trim_more = false;
    int rc = tl_writer_begin(journal);
    if (rc != SQLITE_OK) return;
    if (journal->options.retention_days > 0)
        rc = position_before(journal, journal->options.retention_days, &journal->prune_limit);
    if (rc == SQLITE_OK) rc = position_before(journal, REQUEST_DAYS, &requests_upto);
    if (rc == SQLITE_OK) rc = requests_trim(journal, requests_upto);
    if (rc == SQLITE_OK) rc = marks_trim(journal);
    if (rc == SQLITE_OK) rc = tl_quota_measure(journal);
    if (tl_writer_end(journal, rc, "retention") == SQLITE_OK) tl_quota_publish(journal);
}

static void shrink(tl_journal *journal)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%d)", SHRINK_PAGES);
    if (tl_writer_begin(journal) != SQLITE_OK) return;
    int rc = sqlite3_exec(journal->db, sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK) rc = tl_quota_measure(journal);
    if (tl_writer_end(journal, rc, "giving space back") == SQLITE_OK) tl_quota_publish(journal);
}

void tl_retention_step(tl_journal *journal, bool idle)
{
    if (atomic_load(&journal->broken)) return;
    int64_t now_ns = tl_env_mono_ns(journal->env);
    if (now_ns < journal->care_not_before_ns) return;
    if (now_ns >= journal->care_next_ns || (idle && journal->trim_more)) {
        journal->care_next_ns = now_ns + CARE_EVERY_NS;
        care(journal);
    }
    if (over_bytes(journal) || over_days(journal)) {
        prune_chunk(journal, idle);
    } else if (idle && shrinkable(journal)) {
        shrink(journal);
    }
}

/* The journal's own clock, and what it is for: ages that a jumping wall clock cannot change, and
 * the forecast of when the quota is reached. */
#include "journal/internal.h"

static const int64_t MARK_EVERY_US = 15 * 60 * (int64_t)1000000;
static const int64_t GAP_MAX_US = 2 * 86400 * (int64_t)1000000;
static const int64_t WINDOW_US = 7 * 86400 * (int64_t)1000000;
static const int64_t FORECAST_AFTER_US = 10 * (int64_t)1000000;

int64_t tl_clock_elapsed_us(const tl_journal *journal)
{
    int64_t span_ns = tl_env_mono_ns(journal->env) - journal->clock.mono_base_ns;
    return journal->clock.elapsed_base_us + span_ns / 1000;
}

/* The oldest mark of the last week: growth since then is the present rate. */
static tl_status window_set(tl_journal *journal, tl_error *err)
{
    int64_t since = tl_clock_elapsed_us(journal) - WINDOW_US;
    sqlite3_stmt *stmt;
    tl_status status = tl_db_prepare(
        journal->db,
        "SELECT elapsed_us,bytes FROM clock WHERE elapsed_us>=?1 ORDER BY position LIMIT 1", &stmt,
        err);
    if (status != TL_OK) return status;
    sqlite3_bind_int64(stmt, 1, since);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        journal->clock.window_elapsed_us = sqlite3_column_int64(stmt, 0);
        journal->clock.window_bytes = (uint64_t)sqlite3_column_int64(stmt, 1);
    } else if (rc == SQLITE_DONE) {
        journal->clock.window_elapsed_us = tl_clock_elapsed_us(journal);
        journal->clock.window_bytes = atomic_load(&journal->used_bytes);
    } else {
        status = tl_db_fail(err, journal->db, rc, "journal clock");
    }
    sqlite3_finalize(stmt);
    return status;
}

tl_status tl_clock_start(tl_journal *journal, tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status = tl_db_prepare(
        journal->db, "SELECT wall_us,elapsed_us FROM clock ORDER BY position DESC LIMIT 1", &stmt,
        err);
    if (status != TL_OK) return status;
    int rc = sqlite3_step(stmt);
    tl_journal_clock *clock = &journal->clock;
    *clock = (tl_journal_clock){ .last_mark_us = INT64_MIN };
    clock->mono_base_ns = tl_env_mono_ns(journal->env);
    if (rc == SQLITE_ROW) {
        int64_t wall = sqlite3_column_int64(stmt, 0), now = tl_env_wall_us(journal->env);
        int64_t gap = now > wall ? now - wall : 0;
        clock->elapsed_base_us =
            sqlite3_column_int64(stmt, 1) + (gap < GAP_MAX_US ? gap : GAP_MAX_US);
    } else if (rc != SQLITE_DONE) {
        status = tl_db_fail(err, journal->db, rc, "journal clock");
    }
    sqlite3_finalize(stmt);
    return status == TL_OK ? window_set(journal, err) : status;
}

int tl_clock_mark(tl_journal *journal, bool force)
{
    tl_journal_clock *clock = &journal->clock;
    int64_t elapsed = tl_clock_elapsed_us(journal);
    bool due = clock->last_mark_us == INT64_MIN || elapsed - clock->last_mark_us >= MARK_EVERY_US;
    if (journal->next_position == 1 || (!due && !force)) return SQLITE_OK;
    sqlite3_stmt *stmt = tl_stmt(journal, ST_MARK);
    sqlite3_bind_int64(stmt, 1, (int64_t)journal->next_position - 1);
    sqlite3_bind_int64(stmt, 2, tl_env_wall_us(journal->env));
    sqlite3_bind_int64(stmt, 3, elapsed);
    sqlite3_bind_int64(stmt, 4, (int64_t)atomic_load(&journal->used_bytes));
    int rc = tl_db_run(stmt);
    if (rc != SQLITE_OK) return rc;
    clock->last_mark_us = elapsed;
    if (elapsed - clock->window_elapsed_us > WINDOW_US) window_set(journal, NULL);
    return SQLITE_OK;
}

static int pragma_read(sqlite3_stmt *stmt, uint64_t *out)
{
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) *out = (uint64_t)sqlite3_column_int64(stmt, 0);
    int reset = sqlite3_reset(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : reset;
}

int tl_quota_measure(tl_journal *journal)
{
    int rc = pragma_read(tl_stmt(journal, ST_PAGE_COUNT), &journal->pages);
    if (rc != SQLITE_OK) return rc;
    return pragma_read(tl_stmt(journal, ST_FREE_COUNT), &journal->free_pages);
}

static double forecast_days(const tl_journal *journal, uint64_t used)
{
    const tl_journal_clock *clock = &journal->clock;
    uint64_t quota = journal->options.quota_bytes;
    int64_t span_us = tl_clock_elapsed_us(journal) - clock->window_elapsed_us;
    if (quota == 0 || span_us < FORECAST_AFTER_US || used <= clock->window_bytes) return -1.0;
    if (used >= quota) return 0.0;
    double bytes_per_us = (double)(used - clock->window_bytes) / (double)span_us;
    return (double)(quota - used) / bytes_per_us / 86400e6;
}

void tl_quota_publish(tl_journal *journal)
{
    uint64_t page = journal->page_bytes;
    uint64_t used = (journal->pages - journal->free_pages) * page;
    atomic_store_explicit(&journal->used_bytes, used, memory_order_relaxed);
    atomic_store_explicit(&journal->file_bytes, journal->pages * page, memory_order_relaxed);
    atomic_store_explicit(&journal->images, journal->image_count, memory_order_relaxed);
    uint64_t quota = journal->options.quota_bytes;
    atomic_store_explicit(&journal->over_quota, quota > 0 && used >= quota, memory_order_relaxed);
    atomic_store_explicit(&journal->days_until_full, forecast_days(journal, used),
                          memory_order_relaxed);
}

/* bare_sqlite - SQLite by itself: rows of BYTES bytes in groups of GROUP, each group one
 * transaction with synchronous=FULL in WAL mode, one thread, SQLite's own checkpoints. usage:
 * bare_sqlite FOLDER BYTES GROUP SECONDS Prints one line of JSON: rows a second and how long a
 * group took. */
#include "base/env.h"
#include "base/histogram.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int64_t now_ns(void)
{
    return tl_env_mono_ns(tl_env_system());
}

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void must(sqlite3 *db, int rc)
{
    if (rc == SQLITE_OK || rc == SQLITE_DONE) return;
    fprintf(stderr, "bare_sqlite: %s\n", sqlite3_errmsg(db));
    exit(1);
}

static void step(sqlite3 *db, sqlite3_stmt *stmt)
{
    must(db, sqlite3_step(stmt));
    must(db, sqlite3_reset(stmt));
}

static void measure(sqlite3 *db, size_t bytes, int group, double seconds)
{
    static tl_histogram spans;
    sqlite3_stmt *begin, *insert, *commit;
    char *row = calloc(1, bytes);
    if (row == NULL) exit(1);
    must(db, sqlite3_prepare_v2(db, "BEGIN IMMEDIATE", -1, &begin, NULL));
    must(db, sqlite3_prepare_v2(db, "INSERT INTO row VALUES(?1,?2)", -1, &insert, NULL));
    must(db, sqlite3_prepare_v2(db, "COMMIT", -1, &commit, NULL));
    int64_t position = 0, start = now_ns(), end = start + (int64_t)(seconds * 1e9), at = start;
    double cpu = cpu_s();
    while (at < end) {
        step(db, begin);
        for (int i = 0; i < group; i++) {
            memcpy(row, &position, sizeof position);
            sqlite3_bind_int64(insert, 1, ++position);
            sqlite3_bind_blob64(insert, 2, row, bytes, SQLITE_STATIC);
            step(db, insert);
        }
        step(db, commit);
        int64_t now = now_ns();
        tl_histogram_record_ns(&spans, now - at);
        at = now;
    }
    printf("{\"rows_per_s\": %.0f, \"group_p50_ms\": %.3f, \"group_p99_ms\": %.3f, "
           "\"cpu_us_per_row\": %.2f}\n",
           (double)position / ((double)(at - start) / 1e9),
           tl_histogram_quantile_ns(&spans, 0.5) / 1e6,
           tl_histogram_quantile_ns(&spans, 0.99) / 1e6, (cpu_s() - cpu) * 1e6 / (double)position);
    sqlite3_finalize(begin);
    sqlite3_finalize(insert);
    sqlite3_finalize(commit);
    free(row);
}

int main(int argc, char **argv)
{
    size_t bytes = argc == 5 ? strtoul(argv[2], NULL, 10) : 0;
    int group = argc == 5 ? atoi(argv[3]) : 0;
    double seconds = argc == 5 ? atof(argv[4]) : 0;
    if (bytes < 8 || bytes > 1 << 20 || group < 1 || group > 100000 || !(seconds > 0)) {
        fputs("usage: bare_sqlite FOLDER BYTES GROUP SECONDS\n", stderr);
        return 2;
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/bare.db", argv[1]);
    sqlite3 *db;
    if (sqlite3_open(path, &db) != SQLITE_OK) return 1;
    must(db, sqlite3_exec(db,
                          "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                          "CREATE TABLE row(position INTEGER PRIMARY KEY, body BLOB);",
                          NULL, NULL, NULL));
    measure(db, bytes, group, seconds);
    sqlite3_close(db);
    unlink(path);
    return 0;
}

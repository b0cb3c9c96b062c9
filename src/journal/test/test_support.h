/* test_support.h - what the tests of the journal share; each includes it once. */
#ifndef TL_JOURNAL_TEST_SUPPORT_H
#define TL_JOURNAL_TEST_SUPPORT_H

#include "base/id.h"
#include "base/log.h"
#include "base/rng.h"
#include "journal/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A folder of its own for a test; removed by folder_remove. */
static inline char *folder_new(void)
{
    char text[] = "/tmp/tl-journal-test-XXXXXX";
    char *made = mkdtemp(text);
    assert_non_null(made);
    return strdup(made);
}

static inline void folder_remove(char *folder)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    free(folder);
}

static inline tl_id id_of(uint64_t number)
{
    tl_id id = { { 0 } };
    for (int i = 0; i < 8; i++) id.bytes[15 - i] = (uint8_t)(number >> (8 * i));
    id.bytes[0] = 1; /* never "none" */
    return id;
}

static const float TEST_SCORES[3] = { 0.25f, 0.5f, 0.25f };
static const float TEST_FEATURES[4] = { 1.0f, -2.0f, 3.5f, 0.0f };

static inline tl_record prediction_of(uint32_t loop, uint64_t number)
{
    tl_record record = { .kind = TL_RECORD_PREDICTION, .loop = loop };
    record.as.prediction = (tl_prediction_record){ .id = id_of(number),
                                                   .time_us = 1000000 * (int64_t)number,
                                                   .version = 1,
                                                   .epoch = 7,
                                                   .line = "L1",
                                                   .board = "B1",
                                                   .reason = 3,
                                                   .features = TEST_FEATURES,
                                                   .feature_count = 4,
                                                   .scores = TEST_SCORES,
                                                   .score_count = 3,
                                                   .label = 1,
                                                   .flagged = true,
                                                   .threshold = 0.5f,
                                                   .propensity = 1.0f };
    return record;
}

static inline tl_record feedback_of(uint32_t loop, uint64_t number, uint8_t kind, int32_t label,
                                    const char *source)
{
    tl_record record = { .kind = TL_RECORD_FEEDBACK, .loop = loop };
    record.as.feedback = (tl_feedback_record){ .prediction_id = id_of(number),
                                               .kind = kind,
                                               .label = label,
                                               .correct = true,
                                               .source = source,
                                               .time_us = 5,
                                               .received_us = 6 };
    return record;
}

static inline tl_journal *journal_at(const char *folder)
{
    tl_journal_options options = { .path = folder };
    tl_journal *journal = NULL;
    tl_error err;
    if (tl_journal_open(&options, &journal, &err) != TL_OK) fail_msg("%s", err.text);
    return journal;
}

static inline uint32_t loop_at(tl_journal *journal, const char *name)
{
    uint32_t loop = 0;
    tl_error err;
    if (tl_journal_loop_open(journal, name, "{\"classes\":[\"ok\",\"hole\",\"open\"]}", &loop, NULL,
                             &err) != TL_OK)
        fail_msg("%s", err.text);
    return loop;
}

static inline void append_ok(tl_journal *journal, tl_record record)
{
    tl_error err;
    if (tl_journal_append(journal, &record, 1, &err) != TL_OK) fail_msg("%s", err.text);
}

/* An entry that can be waited for. */
typedef struct waited {
    tl_journal_entry entry;
    pthread_mutex_t mutex;
    pthread_cond_t finished;
    bool is_finished;
    tl_status status;
    tl_error err;
} waited;

static inline void waited_done(tl_journal_entry *entry, tl_status status, const tl_error *err)
{
    waited *w = entry->context;
    pthread_mutex_lock(&w->mutex);
    w->status = status;
    if (err != NULL) w->err = *err;
    w->is_finished = true;
    pthread_cond_signal(&w->finished);
    pthread_mutex_unlock(&w->mutex);
}

static inline void waited_init(waited *w, tl_record *records, size_t count, const char *request_id,
                               uint64_t body)
{
    *w = (waited){ 0 };
    w->entry = (tl_journal_entry){ .records = records,
                                   .count = count,
                                   .request_id = request_id,
                                   .body_hash = { body, ~body },
                                   .done = waited_done,
                                   .context = w };
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->finished, NULL);
}

static inline tl_status waited_for(waited *w)
{
    pthread_mutex_lock(&w->mutex);
    while (!w->is_finished) pthread_cond_wait(&w->finished, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->finished);
    return w->status;
}

static inline tl_status submit_wait(tl_journal *journal, waited *w)
{
    tl_status status = tl_journal_submit(journal, &w->entry, &w->err);
    return status == TL_OK ? waited_for(w) : status;
}

/* One number out of the file, past the journal's own readers. */
static inline int64_t sql_int(tl_journal *journal, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2(journal->file, &db, SQLITE_OPEN_READONLY, journal->vfs), 0);
    sqlite3_busy_timeout(db, 5000);
    int64_t out = -1;
    tl_error err;
    if (tl_db_int64(db, sql, -1, &out, &err) != TL_OK) fail_msg("%s: %s", sql, err.text);
    sqlite3_close(db);
    return out;
}

#endif

/* The writer thread: takes what waits, writes it as one group, commits once, tells each entry. */
#include "base/log.h"
#include "journal/internal.h"

#include <stdlib.h>
#include <string.h>

#define TOMBSTONE_COLUMNS                                                                          \
    "position,loop,id,time_us,version,epoch,label,flagged,review,defect_score,threshold,"          \
    "propensity,site,line,board,lot,shift,reason,scores"

static const char *const SQL[ST_COUNT] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_ROLLBACK] = "ROLLBACK",
    [ST_PAGE_COUNT] = "PRAGMA page_count",
    [ST_FREE_COUNT] = "PRAGMA freelist_count",
    [ST_PREDICTION] =
        "INSERT INTO prediction(position,loop,id,time_us,version,epoch,label,flagged,review,"
        "defect_score,threshold,propensity,site,line,part,image,reference,scores,head_scores,"
        "features,board,lot,shift,reason,shadows) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,"
        "?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25)",
    [ST_FEEDBACK] = "INSERT INTO feedback(position,loop,prediction_id,kind,label,correct,source,"
                    "time_us,received_us) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
    [ST_EVENT] = "INSERT INTO event(position,loop,kind,body,time_us) VALUES(?1,?2,?3,?4,?5)",
    [ST_VERSION] =
        "INSERT INTO version(position,loop,number,parent,origin,metrics,time_us,trained_position,"
        "weights_hash,weights) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    [ST_CHECKPOINT] = "INSERT INTO checkpoint(position,loop,upto,build,time_us,kept,body) "
                      "VALUES(?1,?2,?3,?4,?5,1,?6)",
    /* The rows stay, so that positions stay gap-free; the bodies go. */
    [ST_CHECKPOINT_DROP] =
        "UPDATE checkpoint SET kept=0,body=NULL WHERE loop=?1 AND kept AND position NOT IN (SELECT "
        "position FROM checkpoint WHERE loop=?1 AND kept ORDER BY position DESC LIMIT 2)",
    [ST_ID_KNOWN] = "SELECT 1 FROM prediction WHERE loop=?1 AND id=?2 UNION ALL "
                    "SELECT 1 FROM tombstone WHERE loop=?1 AND id=?2 LIMIT 1",
    [ST_REQUEST_FIND] =
        "SELECT body_hash,first_position,last_position FROM request WHERE loop=?1 AND id=?2",
    [ST_REQUEST] = "INSERT INTO request(first_position,last_position,loop,id,body_hash) "
                   "VALUES(?1,?2,?3,?4,?5)",
    [ST_IMAGE_FIND] = "SELECT number FROM image WHERE hash=?1",
    [ST_IMAGE] = "INSERT INTO image(hash,encoding,height,width,channels,bytes,data) "
                 "VALUES(?1,?2,?3,?4,?5,?6,?7)",
    [ST_LOOP_FIND] = "SELECT number,config FROM loop WHERE name=?1",
    [ST_LOOP] = "INSERT INTO loop(name,config,created_us) VALUES(?1,?2,?3)",
    [ST_WEIGHTS_DROP] = "UPDATE version SET weights=NULL WHERE loop=?1 AND number=?2",
    [ST_MARK] = "INSERT OR REPLACE INTO clock(position,wall_us,elapsed_us,bytes) "
                "VALUES(?1,?2,?3,?4)",
    [ST_PRUNE_SCAN] =
        "SELECT position,loop,id,image,reference,EXISTS(SELECT 1 FROM feedback f WHERE "
        "f.loop=p.loop AND f.prediction_id=p.id) FROM prediction p WHERE position>?1 AND "
        "position<=?2 ORDER BY position LIMIT ?3",
    [ST_PRUNE_TOMBSTONE] = "INSERT INTO tombstone(" TOMBSTONE_COLUMNS ") SELECT " TOMBSTONE_COLUMNS
                           " FROM prediction WHERE position=?1",
    [ST_PRUNE_DELETE] = "DELETE FROM prediction WHERE position=?1",
    [ST_IMAGE_USED] = "SELECT 1 FROM prediction WHERE image=?1 UNION ALL "
                      "SELECT 1 FROM prediction WHERE reference=?1 LIMIT 1",
    [ST_IMAGE_DELETE] = "DELETE FROM image WHERE number=?1",
    [ST_REQUEST_TRIM] = "DELETE FROM request WHERE first_position IN (SELECT first_position FROM "
                        "request WHERE first_position<=?1 ORDER BY first_position LIMIT ?2)",
    [ST_MARK_BEFORE] =
        "SELECT position FROM clock WHERE elapsed_us<=?1 ORDER BY position DESC LIMIT 1",
    [ST_MARK_TRIM] =
        "DELETE FROM clock WHERE elapsed_us<?1 AND position<(SELECT max(position) FROM "
        "clock)",
};

tl_status tl_writer_prepare(tl_journal *journal, tl_error *err)
{
    for (int i = 0; i < ST_COUNT; i++) {
        tl_status status = tl_db_prepare(journal->db, SQL[i], &journal->statements[i], err);
        if (status != TL_OK) return status;
    }
    int64_t last = 0, images = 0;
    tl_status status = tl_db_int64(
        journal->db,
        "SELECT max(p) FROM (SELECT max(position) AS p FROM prediction UNION ALL SELECT "
        "max(position) FROM tombstone UNION ALL SELECT max(position) FROM feedback UNION ALL "
        "SELECT max(position) FROM event UNION ALL SELECT max(position) FROM version UNION ALL "
        "SELECT max(position) FROM checkpoint)",
        0, &last, err);
    if (status == TL_OK)
        status = tl_db_int64(journal->db, "SELECT count(*) FROM image", 0, &images, err);
    if (status != TL_OK) return status;
    journal->next_position = (uint64_t)last + 1;
    journal->image_count = (uint64_t)images;
    atomic_store(&journal->last_position, (uint64_t)last);
    return TL_OK;
}

void tl_writer_finalize(tl_journal *journal)
{
    for (int i = 0; i < ST_COUNT; i++) {
        sqlite3_finalize(journal->statements[i]);
        journal->statements[i] = NULL;
    }
}

/* ---- Transactions ------------------------------------------------------------------------------
 */

void tl_writer_break(tl_journal *journal, int rc, const char *what)
{
    if (atomic_exchange(&journal->broken, true)) return;
    /* What is in the WAL stays there for the next opening to judge. */
    sqlite3_db_config(journal->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    tl_log(TL_LOG_ERROR, "journal: %s: %s; the journal is read-only until it is opened anew", what,
           sqlite3_errstr(rc));
}

static void judge(tl_journal *journal, int rc, const char *what)
{
    tl_status status = tl_db_status(journal->db, rc);
    if (status == TL_EIO || status == TL_ECORRUPT || status == TL_EPERM)
        tl_writer_break(journal, rc, what);
}

int tl_writer_begin(tl_journal *journal)
{
    int rc = tl_db_run(tl_stmt(journal, ST_BEGIN));
    if (rc != SQLITE_OK) judge(journal, rc, "begin");
    return rc;
}

void tl_writer_rollback(tl_journal *journal)
{
    /* After some errors SQLite has rolled back by itself. */
    if (!sqlite3_get_autocommit(journal->db)) tl_db_run(tl_stmt(journal, ST_ROLLBACK));
}

int tl_writer_commit(tl_journal *journal)
{
    int64_t start_ns = tl_env_mono_ns(journal->env);
    int rc = tl_db_run(tl_stmt(journal, ST_COMMIT));
    if (rc != SQLITE_OK) {
        judge(journal, rc, "commit");
        tl_writer_rollback(journal);
        return rc;
    }
    tl_histogram_record_ns(&journal->commit_ns, tl_env_mono_ns(journal->env) - start_ns);
    atomic_fetch_add_explicit(&journal->commits, 1, memory_order_relaxed);
    return rc;
}

int tl_writer_end(tl_journal *journal, int rc, const char *what)
{
    if (rc == SQLITE_OK) return tl_writer_commit(journal);
    judge(journal, rc, what);
    tl_writer_rollback(journal);
    return rc;
}

/* ---- Rows --------------------------------------------------------------------------------------
 */

static void bind_text(sqlite3_stmt *stmt, int column, const char *text)
{
    if (text == NULL) {
        sqlite3_bind_null(stmt, column);
    } else {
        sqlite3_bind_text(stmt, column, text, -1, SQLITE_STATIC);
    }
}

/* NULL stays NULL, an empty blob stays an empty blob. */
static void bind_blob(sqlite3_stmt *stmt, int column, const void *data, size_t bytes)
{
    if (data == NULL) {
        sqlite3_bind_null(stmt, column);
    } else {
        sqlite3_bind_blob64(stmt, column, data, bytes, SQLITE_STATIC);
    }
}

static void bind_id(sqlite3_stmt *stmt, int column, const tl_id *id)
{
    sqlite3_bind_blob(stmt, column, id->bytes, sizeof id->bytes, SQLITE_STATIC);
}

static int image_insert(tl_journal *journal, const tl_stored_image *image, int64_t *number)
{
    sqlite3_stmt *stmt = tl_stmt(journal, ST_IMAGE);
    sqlite3_bind_blob(stmt, 1, image->hash, sizeof image->hash, SQLITE_STATIC);
    sqlite3_bind_int(stmt, 2, image->encoding);
    sqlite3_bind_int64(stmt, 3, image->height);
    sqlite3_bind_int64(stmt, 4, image->width);
    sqlite3_bind_int64(stmt, 5, image->channels);
    sqlite3_bind_int64(stmt, 6, (int64_t)image->bytes);
    bind_blob(stmt, 7, image->data, image->bytes);
    int rc = tl_db_run(stmt);
    if (rc != SQLITE_OK) return rc;
    *number = sqlite3_last_insert_rowid(journal->db);
    journal->image_count++;
    return SQLITE_OK;
}

/* The number of an image, kept once; 0: none. */
static int image_write(tl_journal *journal, const tl_stored_image *image, int64_t *number)
{
    *number = 0;
    if (image == NULL || image->encoding == TL_IMAGE_NONE) return SQLITE_OK;
    sqlite3_stmt *stmt = tl_stmt(journal, ST_IMAGE_FIND);
    sqlite3_bind_blob(stmt, 1, image->hash, sizeof image->hash, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) *number = sqlite3_column_int64(stmt, 0);
    int reset = sqlite3_reset(stmt);
    if (rc == SQLITE_ROW) return SQLITE_OK;
    return rc == SQLITE_DONE ? image_insert(journal, image, number) : reset;
}

static void bind_image(sqlite3_stmt *stmt, int column, int64_t number)
{
    if (number == 0) {
        sqlite3_bind_null(stmt, column);
    } else {
        sqlite3_bind_int64(stmt, column, number);
    }
}

static int prediction_write(tl_journal *journal, sqlite3_stmt *stmt, const tl_prediction_record *p)
{
    int64_t image, reference;
    int rc = image_write(journal, p->image, &image);
    if (rc == SQLITE_OK) rc = image_write(journal, p->reference, &reference);
    if (rc != SQLITE_OK) return rc;
    bind_id(stmt, 3, &p->id);
    sqlite3_bind_int64(stmt, 4, p->time_us);
    sqlite3_bind_int64(stmt, 5, (int64_t)p->version);
    sqlite3_bind_int64(stmt, 6, (int64_t)p->epoch);
    sqlite3_bind_int64(stmt, 7, p->label);
    sqlite3_bind_int(stmt, 8, p->flagged);
    sqlite3_bind_int(stmt, 9, p->review);
    if (p->score_count > 0) {
        sqlite3_bind_double(stmt, 10, 1.0 - (double)p->scores[0]);
    } else {
        sqlite3_bind_null(stmt, 10);
    }
    sqlite3_bind_double(stmt, 11, (double)p->threshold);
    sqlite3_bind_double(stmt, 12, (double)p->propensity);
    bind_text(stmt, 13, p->site);
    bind_text(stmt, 14, p->line);
    bind_text(stmt, 15, p->part);
    bind_image(stmt, 16, image);
    bind_image(stmt, 17, reference);
    bind_blob(stmt, 18, p->scores, p->score_count * sizeof(float));
    bind_blob(stmt, 19, p->head_scores, (size_t)p->head_count * p->score_count * sizeof(float));
    bind_blob(stmt, 20, p->features, p->feature_count * sizeof(float));
    bind_text(stmt, 21, p->board);
    bind_text(stmt, 22, p->lot);
    bind_text(stmt, 23, p->shift);
    sqlite3_bind_int(stmt, 24, p->reason);
    uint8_t shadows[TL_SHADOW_COUNT_MAX * TL_SHADOW_BYTES];
    size_t shadow_bytes = tl_shadows_encode(p->shadows, p->shadow_count, shadows);
    bind_blob(stmt, 25, p->shadow_count > 0 ? shadows : NULL, shadow_bytes);
    return tl_db_run(stmt);
}

static int feedback_write(sqlite3_stmt *stmt, const tl_feedback_record *feedback)
{
    bind_id(stmt, 3, &feedback->prediction_id);
    sqlite3_bind_int(stmt, 4, feedback->kind);
    sqlite3_bind_int(stmt, 5, feedback->label);
    sqlite3_bind_int(stmt, 6, feedback->correct);
    bind_text(stmt, 7, feedback->source != NULL ? feedback->source : "");
    sqlite3_bind_int64(stmt, 8, feedback->time_us);
    sqlite3_bind_int64(stmt, 9, feedback->received_us);
    return tl_db_run(stmt);
}

static int event_write(sqlite3_stmt *stmt, const tl_event_record *event)
{
    bind_text(stmt, 3, event->kind != NULL ? event->kind : "");
    bind_text(stmt, 4, event->body != NULL ? event->body : "");
    sqlite3_bind_int64(stmt, 5, event->time_us);
    return tl_db_run(stmt);
}

static int version_write(sqlite3_stmt *stmt, const tl_version_record *version)
{
    sqlite3_bind_int64(stmt, 3, (int64_t)version->number);
    sqlite3_bind_int64(stmt, 4, (int64_t)version->parent);
    bind_text(stmt, 5, version->origin != NULL ? version->origin : "");
    bind_text(stmt, 6, version->metrics != NULL ? version->metrics : "");
    sqlite3_bind_int64(stmt, 7, version->time_us);
    sqlite3_bind_int64(stmt, 8, (int64_t)version->trained_position);
    sqlite3_bind_int64(stmt, 9, (int64_t)version->weights_hash);
    bind_blob(stmt, 10, version->weights, version->weights_bytes);
    return tl_db_run(stmt);
}

static int checkpoint_write(tl_journal *journal, sqlite3_stmt *stmt, uint32_t loop,
                            const tl_checkpoint_record *checkpoint)
{
    sqlite3_bind_int64(stmt, 3, (int64_t)checkpoint->upto);
    bind_text(stmt, 4, checkpoint->build != NULL ? checkpoint->build : "");
    sqlite3_bind_int64(stmt, 5, checkpoint->time_us);
    bind_blob(stmt, 6, checkpoint->body != NULL ? checkpoint->body : "", checkpoint->bytes);
    int rc = tl_db_run(stmt);
    if (rc != SQLITE_OK) return rc;
    sqlite3_stmt *drop = tl_stmt(journal, ST_CHECKPOINT_DROP);
    sqlite3_bind_int64(drop, 1, loop);
    return tl_db_run(drop);
}

static int record_write(tl_journal *journal, tl_record *record)
{
    static const statement_index STATEMENT[] = {
        [TL_RECORD_PREDICTION] = ST_PREDICTION, [TL_RECORD_FEEDBACK] = ST_FEEDBACK,
        [TL_RECORD_EVENT] = ST_EVENT,           [TL_RECORD_VERSION] = ST_VERSION,
        [TL_RECORD_CHECKPOINT] = ST_CHECKPOINT,
    };
    sqlite3_stmt *stmt = tl_stmt(journal, STATEMENT[record->kind]);
    record->position = journal->next_position++;
    sqlite3_bind_int64(stmt, 1, (int64_t)record->position);
    sqlite3_bind_int64(stmt, 2, record->loop);
    switch (record->kind) {
    case TL_RECORD_PREDICTION: return prediction_write(journal, stmt, &record->as.prediction);
    case TL_RECORD_FEEDBACK: return feedback_write(stmt, &record->as.feedback);
    case TL_RECORD_EVENT: return event_write(stmt, &record->as.event);
    case TL_RECORD_VERSION: return version_write(stmt, &record->as.version);
    case TL_RECORD_CHECKPOINT:
        return checkpoint_write(journal, stmt, record->loop, &record->as.checkpoint);
    }
    return SQLITE_MISUSE;
}

/* ---- Entries -----------------------------------------------------------------------------------
 */

static int slot_refuse(tl_slot *slot, tl_status status, const char *reason, size_t culprit)
{
    slot->status = status;
    slot->reason = reason;
    slot->culprit = culprit;
    return SQLITE_OK;
}

/* Fills in what is known of an earlier request of that id; *known: nothing is to be written. */
static int request_look_up(tl_journal *journal, tl_slot *slot, bool *known)
{
    tl_journal_entry *entry = slot->entry;
    sqlite3_stmt *stmt = tl_stmt(journal, ST_REQUEST_FIND);
    sqlite3_bind_int64(stmt, 1, entry->records[0].loop);
    bind_text(stmt, 2, entry->request_id);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        const void *hash = sqlite3_column_blob(stmt, 0);
        bool same = hash != NULL && sqlite3_column_bytes(stmt, 0) == sizeof entry->body_hash &&
                    memcmp(hash, entry->body_hash, sizeof entry->body_hash) == 0;
        entry->repeated = same;
        entry->first_position = (uint64_t)sqlite3_column_int64(stmt, 1);
        entry->last_position = (uint64_t)sqlite3_column_int64(stmt, 2);
        if (!same)
            slot_refuse(slot, TL_ECONFLICT,
                        "this request id came before with another body; use a new id", SIZE_MAX);
        *known = true;
    }
    int reset = sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : reset;
}

static int request_write(tl_journal *journal, const tl_journal_entry *entry)
{
    sqlite3_stmt *stmt = tl_stmt(journal, ST_REQUEST);
    sqlite3_bind_int64(stmt, 1, (int64_t)entry->first_position);
    sqlite3_bind_int64(stmt, 2, (int64_t)entry->last_position);
    sqlite3_bind_int64(stmt, 3, entry->records[0].loop);
    bind_text(stmt, 4, entry->request_id);
    bind_blob(stmt, 5, entry->body_hash, sizeof entry->body_hash);
    return tl_db_run(stmt);
}

static bool is_brought(const tl_record *record)
{
    return record->kind == TL_RECORD_PREDICTION && record->as.prediction.brought_id;
}

static bool comes_twice(const tl_journal_entry *entry, size_t index)
{
    const tl_record *record = &entry->records[index];
    for (size_t i = 0; i < index; i++) {
        const tl_record *other = &entry->records[i];
        if (other->kind == TL_RECORD_PREDICTION && other->loop == record->loop &&
            memcmp(&other->as.prediction.id, &record->as.prediction.id, sizeof(tl_id)) == 0)
            return true;
    }
    return false;
}

static int id_known(tl_journal *journal, const tl_record *record, bool *known)
{
    sqlite3_stmt *stmt = tl_stmt(journal, ST_ID_KNOWN);
    sqlite3_bind_int64(stmt, 1, record->loop);
    bind_id(stmt, 2, &record->as.prediction.id);
    int rc = sqlite3_step(stmt);
    *known = rc == SQLITE_ROW;
    int reset = sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : reset;
}

/* Looking before writing spares a savepoint for each entry. */
static int ids_look_up(tl_journal *journal, tl_slot *slot)
{
    const tl_journal_entry *entry = slot->entry;
    for (size_t i = 0; i < entry->count; i++) {
        if (!is_brought(&entry->records[i])) continue;
        bool known = comes_twice(entry, i);
        int rc = known ? SQLITE_OK : id_known(journal, &entry->records[i], &known);
        if (rc != SQLITE_OK) return rc;
        if (known) return slot_refuse(slot, TL_ECONFLICT, "is known already; use a new id", i);
    }
    return SQLITE_OK;
}

static bool over_quota(const tl_journal *journal, const tl_journal_entry *entry, size_t group_bytes)
{
    if (journal->options.quota_bytes == 0) return false;
    size_t bytes = group_bytes;
    bool predictions = false;
    for (size_t i = 0; i < entry->count; i++) {
        predictions |= entry->records[i].kind == TL_RECORD_PREDICTION;
        bytes += tl_record_bytes(&entry->records[i]);
    }
    return predictions && atomic_load(&journal->used_bytes) + bytes > journal->options.quota_bytes;
}

static int entry_write(tl_journal *journal, tl_slot *slot, size_t group_bytes)
{
    tl_journal_entry *entry = slot->entry;
    bool known = false;
    int rc = entry->request_id != NULL ? request_look_up(journal, slot, &known) : SQLITE_OK;
    if (rc != SQLITE_OK || known) return rc;
    if (over_quota(journal, entry, group_bytes))
        return slot_refuse(slot, TL_ENOSPC, "the journal has reached its quota", SIZE_MAX);
    rc = ids_look_up(journal, slot);
    if (rc != SQLITE_OK || slot->status != TL_OK) return rc;
    entry->first_position = journal->next_position;
    for (size_t i = 0; i < entry->count && rc == SQLITE_OK; i++)
        rc = record_write(journal, &entry->records[i]);
    entry->last_position = journal->next_position - 1;
    if (rc == SQLITE_OK && entry->request_id != NULL) rc = request_write(journal, entry);
    return rc;
}

/* ---- Commands ----------------------------------------------------------------------------------
 */

static int loop_look_up(tl_journal *journal, tl_command *command, bool *found)
{
    sqlite3_stmt *stmt = tl_stmt(journal, ST_LOOP_FIND);
    bind_text(stmt, 1, command->name);
    int rc = sqlite3_step(stmt);
    *found = rc == SQLITE_ROW;
    if (*found) {
        command->loop = (uint32_t)sqlite3_column_int64(stmt, 0);
        const char *config = (const char *)sqlite3_column_text(stmt, 1);
        free(command->found_config); /* of an attempt that was rolled back */
        command->found_config = strdup(config != NULL ? config : "");
        if (command->found_config == NULL) rc = SQLITE_NOMEM;
    }
    int reset = sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : (rc == SQLITE_NOMEM ? rc : reset);
}

static int loop_open(tl_journal *journal, tl_command *command)
{
    bool found;
    int rc = loop_look_up(journal, command, &found);
    if (rc != SQLITE_OK || found) return rc;
    sqlite3_stmt *stmt = tl_stmt(journal, ST_LOOP);
    bind_text(stmt, 1, command->name);
    bind_text(stmt, 2, command->config != NULL ? command->config : "{}");
    sqlite3_bind_int64(stmt, 3, tl_env_wall_us(journal->env));
    rc = tl_db_run(stmt);
    return rc == SQLITE_OK ? loop_look_up(journal, command, &found) : rc;
}

static int command_run(tl_journal *journal, tl_command *command)
{
    if (command->kind == COMMAND_LOOP_OPEN) return loop_open(journal, command);
    sqlite3_stmt *stmt = tl_stmt(journal, ST_WEIGHTS_DROP);
    sqlite3_bind_int64(stmt, 1, command->loop);
    sqlite3_bind_int64(stmt, 2, (int64_t)command->number);
    return tl_db_run(stmt);
}

void tl_command_done(tl_journal_entry *entry, tl_status status, const tl_error *err)
{
    tl_command *command = (tl_command *)entry;
    if (command->detached) {
        free(command);
        return;
    }
    pthread_mutex_lock(&command->mutex);
    command->status = status;
    if (err != NULL) command->err = *err;
    command->is_finished = true;
    pthread_cond_signal(&command->finished);
    pthread_mutex_unlock(&command->mutex);
}

/* ---- Groups ------------------------------------------------------------------------------------
 */

static size_t entry_bytes(const tl_journal_entry *entry)
{
    size_t bytes = 0;
    for (size_t i = 0; i < entry->count; i++) bytes += tl_record_bytes(&entry->records[i]);
    return bytes;
}

static int group_write(tl_journal *journal, tl_slot *slots, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        tl_slot *slot = &slots[i];
        slot->status = TL_OK;
        slot->entry->repeated = false;
        bool is_command = slot->entry->done == tl_command_done;
        int rc = is_command ? command_run(journal, (tl_command *)slot->entry)
                            : entry_write(journal, slot, bytes);
        if (rc != SQLITE_OK) return rc;
        bytes += entry_bytes(slot->entry);
    }
    return SQLITE_OK;
}

/* One transaction with all of them; nothing has changed when it fails. */
static int group_try(tl_journal *journal, tl_slot *slots, size_t count)
{
    uint64_t position = journal->next_position, images = journal->image_count;
    int rc = tl_writer_begin(journal);
    if (rc != SQLITE_OK) return rc;
    rc = group_write(journal, slots, count);
    if (rc == SQLITE_OK) rc = tl_clock_mark(journal, false);
    if (rc == SQLITE_OK) rc = tl_quota_measure(journal);
    rc = tl_writer_end(journal, rc, "write");
    if (rc != SQLITE_OK) {
        journal->next_position = position;
        journal->image_count = images;
        journal->clock.last_mark_us = INT64_MIN;
        return rc;
    }
    journal->last_group_records = journal->next_position - position;
    if (journal->last_group_records > 0) {
        journal->prune_done = false;
        journal->unmarked = true;
    }
    atomic_store(&journal->last_position, journal->next_position - 1);
    tl_quota_publish(journal);
    return SQLITE_OK;
}

static void slot_finish(tl_slot *slot, const tl_error *group_err)
{
    tl_journal_entry *entry = slot->entry;
    tl_error own;
    const tl_error *err = group_err;
    if (group_err == NULL && slot->status != TL_OK) {
        if (slot->culprit != SIZE_MAX) {
            char text[TL_ID_TEXT_BYTES];
            tl_id_format(entry->records[slot->culprit].as.prediction.id, text);
            tl_fail(&own, slot->status, "prediction id %s %s", text, slot->reason);
        } else {
            tl_fail(&own, slot->status, "%s", slot->reason);
        }
        err = &own;
    }
    entry->done(entry, err == NULL ? TL_OK : err->status, err);
}

static void group_run(tl_journal *journal, tl_slot *slots, size_t count)
{
    int rc = group_try(journal, slots, count);
    int primary = rc & 0xff;
    if (count > 1 && (primary == SQLITE_CONSTRAINT || primary == SQLITE_TOOBIG)) {
        /* One of them broke a rule that was not looked up before; the others go on. */
        for (size_t i = 0; i < count; i++) group_run(journal, &slots[i], 1);
        return;
    }
    tl_error err;
    if (rc != SQLITE_OK) tl_db_fail(&err, journal->db, rc, "journal write");
    for (size_t i = 0; i < count; i++) slot_finish(&slots[i], rc == SQLITE_OK ? NULL : &err);
}

static void group_refuse(tl_journal *journal, size_t count)
{
    tl_error err;
    tl_fail(&err, TL_EIO, "the journal is read-only after a failed write; restart to go on");
    for (size_t i = 0; i < count; i++) {
        tl_slot slot = { .entry = journal->popped[i] };
        slot_finish(&slot, &err);
    }
}

/* What was popped, in groups within the bounds on records and bytes. */
static void groups_run(tl_journal *journal, size_t count)
{
    size_t from = 0;
    while (from < count && !atomic_load(&journal->broken)) {
        size_t filled = 0, records = 0, bytes = 0;
        while (from < count && records < GROUP_RECORDS_MAX && bytes < GROUP_BYTES_MAX) {
            tl_journal_entry *entry = journal->popped[from++];
            records += entry->count;
            bytes += entry_bytes(entry);
            journal->slots[filled++] = (tl_slot){ .entry = entry, .culprit = SIZE_MAX };
        }
        group_run(journal, journal->slots, filled);
        if (atomic_load(&journal->broken)) break;
        tl_wal_between_groups(journal);
        tl_retention_step(journal, false);
    }
    if (from < count) {
        memmove(journal->popped, journal->popped + from, (count - from) * sizeof(void *));
        group_refuse(journal, count - from);
    }
}

static void idle(tl_journal *journal)
{
    if (atomic_load(&journal->broken)) return;
    tl_retention_step(journal, true);
    tl_wal_when_idle(journal);
}

static void finish(tl_journal *journal)
{
    if (atomic_load(&journal->broken)) return;
    if (journal->unmarked && tl_writer_begin(journal) == SQLITE_OK)
        tl_writer_end(journal, tl_clock_mark(journal, true), "closing");
    if (!atomic_load(&journal->broken)) tl_wal_truncate(journal);
}

void *tl_writer_main(void *context)
{
    enum { QUIET_NS = 20 * 1000 * 1000 };
    tl_journal *journal = context;
    const int64_t rest_ns = 10 * (int64_t)1000000000;
    for (;;) {
        bool busy = tl_wal_pending(journal) || tl_retention_pending(journal);
        size_t count = tl_queue_pop_many(journal->queue, journal->popped, GROUP_ENTRIES_MAX,
                                         busy ? QUIET_NS : rest_ns);
        if (count == 0 && tl_queue_is_closed(journal->queue)) break;
        if (count == 0) {
            idle(journal);
        } else {
            groups_run(journal, count);
        }
    }
    finish(journal);
    return NULL;
}

/* The columns of each table, read into records. The writer's statements (writer.c) bind the same.
 */
#include "journal/internal.h"

#include <math.h>
#include <string.h>

const char TL_ROW_PREDICTION[] =
    "SELECT position,loop,id,time_us,version,epoch,label,flagged,review,threshold,propensity,site,"
    "line,board,lot,shift,reason,scores,part,image,reference,shadows,head_scores,features "
    "FROM prediction ";
const char TL_ROW_TOMBSTONE[] =
    "SELECT position,loop,id,time_us,version,epoch,label,flagged,review,threshold,propensity,site,"
    "line,board,lot,shift,reason,scores FROM tombstone ";
/* The columns of a tombstone, of either table, and whether anything was said of it. */
const char TL_ROW_OUTCOME[] =
    "SELECT position,loop,id,time_us,version,epoch,label,flagged,review,threshold,propensity,site,"
    "line,board,lot,shift,reason,scores,EXISTS(SELECT 1 FROM feedback f WHERE f.loop=p.loop AND "
    "f.prediction_id=p.id) ";
const char TL_ROW_FEEDBACK[] =
    "SELECT position,loop,prediction_id,kind,label,correct,source,time_us,"
    "received_us FROM feedback ";
const char TL_ROW_EVENT[] = "SELECT position,loop,kind,body,time_us FROM event ";
const char TL_ROW_VERSION[] =
    "SELECT "
    "position,loop,number,parent,origin,metrics,time_us,trained_position,weights_hash,weights "
    "FROM version ";
const char TL_ROW_VERSION_BARE[] =
    "SELECT position,loop,number,parent,origin,metrics,time_us,trained_position,weights_hash,NULL "
    "FROM version ";
const char TL_ROW_CHECKPOINT[] = "SELECT position,loop,upto,build,time_us,body FROM checkpoint ";

/* Reads columns in turn and remembers the first trouble, so that it is checked once at the end. */
typedef struct row {
    sqlite3_stmt *stmt;
    tl_arena *arena;
    int column, rc;
} row;

static int64_t row_int(row *r)
{
    return sqlite3_column_int64(r->stmt, r->column++);
}
static uint64_t row_uint(row *r)
{
    return (uint64_t)sqlite3_column_int64(r->stmt, r->column++);
}
static bool row_bool(row *r)
{
    return sqlite3_column_int64(r->stmt, r->column++) != 0;
}

static uint8_t row_u8(row *r)
{
    int64_t value = row_int(r);
    if (value < 0 || value > UINT8_MAX) r->rc = SQLITE_CORRUPT;
    return (uint8_t)value;
}

/* SQLite keeps a NaN as NULL. */
static float row_float(row *r)
{
    int column = r->column++;
    if (sqlite3_column_type(r->stmt, column) == SQLITE_NULL) return NAN;
    return (float)sqlite3_column_double(r->stmt, column);
}

static const void *row_copy(row *r, const void *data, size_t bytes)
{
    if (data == NULL && bytes > 0) r->rc = SQLITE_NOMEM;
    char *copy =
        r->rc == SQLITE_OK ? tl_arena_strndup(r->arena, data == NULL ? "" : data, bytes) : NULL;
    if (copy == NULL && r->rc == SQLITE_OK) r->rc = SQLITE_NOMEM;
    return copy;
}

/* NULL stays NULL. */
static const char *row_text(row *r)
{
    int column = r->column++;
    if (sqlite3_column_type(r->stmt, column) == SQLITE_NULL) return NULL;
    const void *data = sqlite3_column_text(r->stmt, column);
    return row_copy(r, data, (size_t)sqlite3_column_bytes(r->stmt, column));
}

static const char *row_text_required(row *r)
{
    const char *text = row_text(r);
    return text != NULL ? text : "";
}

static const void *row_blob(row *r, size_t *bytes)
{
    int column = r->column++;
    *bytes = 0;
    if (sqlite3_column_type(r->stmt, column) == SQLITE_NULL) return NULL;
    const void *data = sqlite3_column_blob(r->stmt, column);
    *bytes = (size_t)sqlite3_column_bytes(r->stmt, column);
    return row_copy(r, data, *bytes);
}

static const float *row_floats(row *r, uint32_t *count)
{
    size_t bytes;
    const float *values = row_blob(r, &bytes);
    if (bytes % sizeof(float) != 0) r->rc = SQLITE_CORRUPT;
    *count = (uint32_t)(bytes / sizeof(float));
    return values;
}

static const tl_shadow_record *row_shadows(row *r, uint32_t *count)
{
    int column = r->column++;
    *count = 0;
    if (sqlite3_column_type(r->stmt, column) == SQLITE_NULL) return NULL;
    const uint8_t *data = sqlite3_column_blob(r->stmt, column);
    tl_shadow_record shadows[TL_SHADOW_COUNT_MAX];
    if (!tl_shadows_decode(data, (size_t)sqlite3_column_bytes(r->stmt, column), shadows, count)) {
        r->rc = SQLITE_CORRUPT;
        return NULL;
    }
    return row_copy(r, shadows, *count * sizeof *shadows);
}

static tl_id row_id(row *r)
{
    tl_id id = { { 0 } };
    int column = r->column++;
    const void *data = sqlite3_column_blob(r->stmt, column);
    if (data == NULL || sqlite3_column_bytes(r->stmt, column) != sizeof id.bytes) {
        r->rc = SQLITE_CORRUPT;
    } else {
        memcpy(id.bytes, data, sizeof id.bytes);
    }
    return id;
}

static row row_start(sqlite3_stmt *stmt, tl_arena *arena, tl_record_kind kind, tl_record *out)
{
    row r = { stmt, arena, 0, SQLITE_OK };
    *out = (tl_record){ .kind = kind };
    out->position = row_uint(&r);
    out->loop = (uint32_t)row_uint(&r);
    return r;
}

/* What a prediction and its tombstone have in common. */
static void row_prediction_core(row *r, tl_prediction_record *out)
{
    out->id = row_id(r);
    out->time_us = row_int(r);
    out->version = row_uint(r);
    out->epoch = row_uint(r);
    out->label = (uint32_t)row_uint(r);
    out->flagged = row_bool(r);
    out->review = row_bool(r);
    out->threshold = row_float(r);
    out->propensity = row_float(r);
    out->site = row_text(r);
    out->line = row_text(r);
    out->board = row_text(r);
    out->lot = row_text(r);
    out->shift = row_text(r);
    out->reason = row_u8(r);
    out->scores = row_floats(r, &out->score_count);
}

int tl_row_prediction(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out)
{
    row r = row_start(stmt, arena, TL_RECORD_PREDICTION, out);
    tl_prediction_record *prediction = &out->as.prediction;
    row_prediction_core(&r, prediction);
    prediction->part = row_text(&r);
    prediction->image_number = row_uint(&r);
    prediction->reference_number = row_uint(&r);
    prediction->shadows = row_shadows(&r, &prediction->shadow_count);
    uint32_t count;
    prediction->head_scores = row_floats(&r, &count);
    if (prediction->score_count > 0) prediction->head_count = count / prediction->score_count;
    prediction->features = row_floats(&r, &prediction->feature_count);
    return r.rc;
}

int tl_row_tombstone(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out)
{
    row r = row_start(stmt, arena, TL_RECORD_PREDICTION, out);
    row_prediction_core(&r, &out->as.prediction);
    out->as.prediction.pruned = true;
    return r.rc;
}

int tl_row_feedback(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out)
{
    row r = row_start(stmt, arena, TL_RECORD_FEEDBACK, out);
    tl_feedback_record *feedback = &out->as.feedback;
    feedback->prediction_id = row_id(&r);
    feedback->kind = (uint8_t)row_int(&r);
    feedback->label = (int32_t)row_int(&r);
    feedback->correct = row_bool(&r);
    feedback->source = row_text_required(&r);
    feedback->time_us = row_int(&r);
    feedback->received_us = row_int(&r);
    return r.rc;
}

int tl_row_event(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out)
{
    row r = row_start(stmt, arena, TL_RECORD_EVENT, out);
    out->as.event.kind = row_text_required(&r);
    out->as.event.body = row_text_required(&r);
    out->as.event.time_us = row_int(&r);
    return r.rc;
}

int tl_row_version(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out)
{
    row r = row_start(stmt, arena, TL_RECORD_VERSION, out);
    tl_version_record *version = &out->as.version;
    version->number = row_uint(&r);
    version->parent = row_uint(&r);
    version->origin = row_text_required(&r);
    version->metrics = row_text_required(&r);
    version->time_us = row_int(&r);
    version->trained_position = row_uint(&r);
    version->weights_hash = row_uint(&r);
    version->weights = row_blob(&r, &version->weights_bytes);
    return r.rc;
}

int tl_row_checkpoint(sqlite3_stmt *stmt, tl_arena *arena, tl_record *out)
{
    row r = row_start(stmt, arena, TL_RECORD_CHECKPOINT, out);
    tl_checkpoint_record *checkpoint = &out->as.checkpoint;
    checkpoint->upto = row_uint(&r);
    checkpoint->build = row_text_required(&r);
    checkpoint->time_us = row_int(&r);
    checkpoint->body = row_blob(&r, &checkpoint->bytes);
    return r.rc;
}

/* ---- Copies ------------------------------------------------------------------------------------
 */

static bool copy_bytes(tl_arena *arena, const void **pointer, size_t bytes)
{
    if (*pointer == NULL) return true;
    *pointer = tl_arena_strndup(arena, *pointer, bytes);
    return *pointer != NULL;
}

static bool copy_text(tl_arena *arena, const char **text)
{
    if (*text == NULL) return true;
    *text = tl_arena_strndup(arena, *text, strlen(*text));
    return *text != NULL;
}

static bool copy_floats(tl_arena *arena, const float **values, size_t count)
{
    const void *data = *values;
    bool copied = copy_bytes(arena, &data, count * sizeof(float));
    *values = data;
    return copied;
}

static bool copy_shadows(tl_arena *arena, tl_prediction_record *p)
{
    const void *data = p->shadows;
    bool copied = copy_bytes(arena, &data, p->shadow_count * sizeof *p->shadows);
    p->shadows = data;
    return copied;
}

static bool copy_prediction(tl_arena *arena, tl_prediction_record *p)
{
    const char **texts[] = { &p->site, &p->line, &p->part, &p->board, &p->lot, &p->shift };
    for (size_t i = 0; i < TL_COUNT_OF(texts); i++)
        if (!copy_text(arena, texts[i])) return false;
    return copy_shadows(arena, p) && copy_floats(arena, &p->features, p->feature_count) &&
           copy_floats(arena, &p->scores, p->score_count) &&
           copy_floats(arena, &p->head_scores, (size_t)p->head_count * p->score_count);
}

bool tl_record_copy(const tl_record *record, tl_arena *arena, tl_record *out)
{
    *out = *record;
    switch (record->kind) {
    case TL_RECORD_PREDICTION: return copy_prediction(arena, &out->as.prediction);
    case TL_RECORD_FEEDBACK: return copy_text(arena, &out->as.feedback.source);
    case TL_RECORD_EVENT:
        return copy_text(arena, &out->as.event.kind) && copy_text(arena, &out->as.event.body);
    case TL_RECORD_VERSION:
        return copy_text(arena, &out->as.version.origin) &&
               copy_text(arena, &out->as.version.metrics) &&
               copy_bytes(arena, &out->as.version.weights, out->as.version.weights_bytes);
    case TL_RECORD_CHECKPOINT:
        return copy_text(arena, &out->as.checkpoint.build) &&
               copy_bytes(arena, &out->as.checkpoint.body, out->as.checkpoint.bytes);
    }
    return false;
}

static size_t text_bytes(const char *text)
{
    return text == NULL ? 0 : strlen(text);
}
static size_t image_bytes(const tl_stored_image *image)
{
    return image == NULL ? 0 : image->bytes;
}

static size_t prediction_bytes(const tl_prediction_record *p)
{
    size_t floats = (size_t)p->feature_count + p->score_count +
                    (p->head_scores != NULL ? (size_t)p->head_count * p->score_count : 0);
    size_t texts = text_bytes(p->site) + text_bytes(p->line) + text_bytes(p->part) +
                   text_bytes(p->board) + text_bytes(p->lot) + text_bytes(p->shift);
    return floats * sizeof(float) + texts + p->shadow_count * TL_SHADOW_BYTES +
           image_bytes(p->image) + image_bytes(p->reference);
}

size_t tl_record_bytes(const tl_record *record)
{
    enum { ROW_BYTES = 128 }; /* the row's small columns and its index entries */
    switch (record->kind) {
    case TL_RECORD_PREDICTION: return ROW_BYTES + prediction_bytes(&record->as.prediction);
    case TL_RECORD_FEEDBACK: return ROW_BYTES;
    case TL_RECORD_EVENT: return ROW_BYTES + text_bytes(record->as.event.body);
    case TL_RECORD_VERSION: return ROW_BYTES + record->as.version.weights_bytes;
    case TL_RECORD_CHECKPOINT: return ROW_BYTES + record->as.checkpoint.bytes;
    }
    return ROW_BYTES;
}

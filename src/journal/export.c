/* The labelled data of a loop as files that any tool reads: a table and the images beside it. */
#include "base/text.h"
#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { IDS_A_CHUNK = 128, HEX_BYTES = 65, NAME_BYTES = 96, LINE_BYTES_MAX = 1 << 20 };

typedef struct export
{
    tl_journal_reader *reader;
    uint32_t loop;
    const char *const *class_names;
    size_t class_count;
    const tl_export_options *options;
    FILE *table;
    tl_text line;
    tl_arena arena;
    uint32_t feature_count; /* columns of the table */
    uint64_t done, total;
}
export;

/* ---- Text --------------------------------------------------------------------------------------
 */

/* RFC 4180: quoted when it must be, quotes doubled. */
static void put_field(tl_text *line, const char *text)
{
    if (text == NULL) return;
    if (strpbrk(text, ",\"\r\n") == NULL) {
        tl_text_puts(line, text);
        return;
    }
    tl_text_puts(line, "\"");
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"') tl_text_puts(line, "\"");
        tl_text_append(line, c, 1);
    }
    tl_text_puts(line, "\"");
}

static void put_time(tl_text *line, int64_t time_us)
{
    time_t seconds = (time_t)(time_us / 1000000);
    int64_t rest = time_us % 1000000;
    if (rest < 0) {
        rest += 1000000;
        seconds--;
    }
    struct tm parts;
    char text[64];
    if (gmtime_r(&seconds, &parts) == NULL || strftime(text, sizeof text, "%FT%T", &parts) == 0)
        return;
    tl_text_printf(line, "%s.%06dZ", text, (int)rest);
}

/* ---- Images ------------------------------------------------------------------------------------
 */

static const char *extension_of(const tl_stored_image *image)
{
    const unsigned char *d = image->data;
    if (image->encoding == TL_IMAGE_U8) return image->channels == 1 ? "pgm" : "ppm";
    if (image->bytes >= 3 && d[0] == 0xff && d[1] == 0xd8 && d[2] == 0xff) return "jpg";
    if (image->bytes >= 8 && memcmp(d, "\x89PNG\r\n\x1a\n", 8) == 0) return "png";
    if (image->bytes >= 2 && d[0] == 'P' && (d[1] == '2' || d[1] == '5')) return "pgm";
    if (image->bytes >= 2 && d[0] == 'P' && (d[1] == '3' || d[1] == '6')) return "ppm";
    return "bin";
}

static tl_status file_fail(tl_error *err, const char *path)
{
    return tl_fail(err, errno == ENOSPC ? TL_ENOSPC : TL_EIO, "cannot write %s: %s", path,
                   strerror(errno));
}

/* Raw pixels get the header that makes them a picture; files are written as they came. */
static bool image_put(FILE *file, const tl_stored_image *image)
{
    bool raw = image->encoding == TL_IMAGE_U8 && (image->channels == 1 || image->channels == 3);
    if (raw && fprintf(file, "P%c\n%u %u\n255\n", image->channels == 1 ? '5' : '6', image->width,
                       image->height) < 0)
        return false;
    return fwrite(image->data, 1, image->bytes, file) == image->bytes;
}

static tl_status image_write(const export *e, const tl_stored_image *image, const char *name,
                             tl_error *err)
{
    char path[JOURNAL_PATH_BYTES_MAX];
    int bytes = snprintf(path, sizeof path, "%s/%s", e->options->folder, name);
    if (bytes >= (int)sizeof path) return tl_fail(err, TL_ELIMIT, "the path is too long");
    if (access(path, F_OK) == 0) return TL_OK; /* each once: the name is its content */
    FILE *file = fopen(path, "wb");
    if (file == NULL) return file_fail(err, path);
    bool written = image_put(file, image);
    if (fclose(file) != 0 || !written) {
        tl_status status = file_fail(err, path);
        unlink(path);
        return status;
    }
    return TL_OK;
}

/* Its field in the table, and the file. */
static tl_status image_export(export *e, const tl_stored_image *image, tl_error *err)
{
    if (image == NULL) return TL_OK;
    char hex[HEX_BYTES], name[NAME_BYTES];
    for (size_t i = 0; i < sizeof image->hash; i++)
        snprintf(hex + 2 * i, 3, "%02x", image->hash[i]);
    snprintf(name, sizeof name, "images/%s.%s", hex, extension_of(image));
    tl_text_puts(&e->line, name);
    return image_write(e, image, name, err);
}

/* ---- Rows --------------------------------------------------------------------------------------
 */

/* The newest feedback whose source did not take it back, or NULL. */
static const tl_feedback_record *standing(const tl_record *list, size_t count)
{
    for (size_t i = count; i-- > 0;) {
        const tl_feedback_record *f = &list[i].as.feedback;
        bool taken_back = f->kind == TL_FEEDBACK_WITHDRAW;
        for (size_t j = i + 1; j < count && !taken_back; j++)
            taken_back = list[j].as.feedback.kind == TL_FEEDBACK_WITHDRAW &&
                         strcmp(list[j].as.feedback.source, f->source) == 0;
        if (!taken_back) return f;
    }
    return NULL;
}

static void put_label(export *e, uint32_t label)
{
    if (label < e->class_count) {
        put_field(&e->line, e->class_names[label]);
    } else {
        tl_text_printf(&e->line, "%u", label);
    }
}

static tl_status row_write(export *e, const tl_prediction_record *p, uint32_t label,
                           const char *source, tl_error *err)
{
    char id[TL_ID_TEXT_BYTES];
    tl_id_format(p->id, id);
    tl_text_clear(&e->line);
    tl_text_printf(&e->line, "%s,", id);
    put_time(&e->line, p->time_us);
    const char *texts[] = { p->site, p->line, p->part, p->board, p->lot, p->shift };
    for (size_t i = 0; i < TL_COUNT_OF(texts); i++) {
        tl_text_puts(&e->line, ",");
        put_field(&e->line, texts[i]);
    }
    tl_text_puts(&e->line, ",");
    tl_status status = image_export(e, p->image, err);
    tl_text_puts(&e->line, ",");
    if (status == TL_OK) status = image_export(e, p->reference, err);
    if (status != TL_OK) return status;
    tl_text_puts(&e->line, ",");
    put_label(e, label);
    tl_text_puts(&e->line, ",");
    put_field(&e->line, source);
    for (uint32_t i = 0; i < e->feature_count; i++) {
        tl_text_puts(&e->line, ",");
        if (i < p->feature_count) tl_text_printf(&e->line, "%.9g", (double)p->features[i]);
    }
    tl_text_puts(&e->line, "\n");
    if (!tl_text_ok(&e->line)) return tl_fail(err, TL_ENOMEM, "no memory for a line of the table");
    if (fwrite(e->line.data, 1, e->line.bytes, e->table) != e->line.bytes)
        return file_fail(err, "labels.csv");
    return TL_OK;
}

static tl_status prediction_export(export *e, tl_id id, tl_error *err)
{
    tl_record *list, found;
    size_t count;
    bool pruned;
    tl_arena_reset(&e->arena);
    tl_status status =
        tl_journal_list_feedback(e->reader, e->loop, id, UINT64_MAX, &e->arena, &list, &count, err);
    if (status != TL_OK) return status;
    const tl_feedback_record *word = standing(list, count);
    if (word == NULL || (word->kind == TL_FEEDBACK_VERDICT && !word->correct)) return TL_OK;
    status =
        tl_journal_find_prediction(e->reader, e->loop, id, true, &e->arena, &found, &pruned, err);
    if (status == TL_ENOTFOUND || (status == TL_OK && pruned)) return TL_OK; /* nothing to show */
    if (status != TL_OK) return status;
    const tl_prediction_record *p = &found.as.prediction;
    uint32_t label = word->kind == TL_FEEDBACK_VERDICT ? p->label : (uint32_t)word->label;
    return row_write(e, p, label, word->source, err);
}

/* ---- Walk --------------------------------------------------------------------------------------
 */

/* Up to IDS_A_CHUNK ids with feedback after `after`; a transaction of its own. */
static tl_status ids_read(export *e, sqlite3_stmt *stmt, const tl_id *after, tl_id *ids,
                          size_t *count, tl_error *err)
{
    *count = 0;
    sqlite3_bind_int64(stmt, 1, e->loop);
    sqlite3_bind_blob(stmt, 2, after->bytes, sizeof after->bytes, SQLITE_STATIC);
    sqlite3_bind_int(stmt, 3, IDS_A_CHUNK);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const void *data = sqlite3_column_blob(stmt, 0);
        if (data == NULL || sqlite3_column_bytes(stmt, 0) != sizeof ids->bytes) {
            rc = SQLITE_CORRUPT;
            break;
        }
        memcpy(ids[(*count)++].bytes, data, sizeof ids->bytes);
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? TL_OK : tl_db_fail(err, e->reader->db, rc, "export");
}

static tl_status walk(export *e, sqlite3_stmt *stmt, tl_error *err)
{
    tl_id after = { { 0 } }, ids[IDS_A_CHUNK];
    size_t count;
    do {
        tl_status status = ids_read(e, stmt, &after, ids, &count, err);
        for (size_t i = 0; i < count && status == TL_OK; i++) {
            status = prediction_export(e, ids[i], err);
            after = ids[i];
            e->done++;
        }
        if (status != TL_OK) return status;
        if (e->options->progress != NULL)
            e->options->progress(e->options->context, e->done, e->total);
    } while (count == IDS_A_CHUNK);
    return TL_OK;
}

static tl_status count_rows(export *e, tl_error *err)
{
    char sql[160];
    snprintf(sql, sizeof sql, "SELECT count(DISTINCT prediction_id) FROM feedback WHERE loop=%u",
             e->loop);
    int64_t total, floats;
    tl_status status = tl_db_int64(e->reader->db, sql, 0, &total, err);
    snprintf(sql, sizeof sql,
             "SELECT length(features)/4 FROM prediction WHERE loop=%u ORDER BY position LIMIT 1",
             e->loop);
    if (status == TL_OK) status = tl_db_int64(e->reader->db, sql, 0, &floats, err);
    if (status != TL_OK) return status;
    e->total = (uint64_t)total;
    e->feature_count = (uint32_t)floats;
    return TL_OK;
}

static tl_status folders_make(const char *folder, tl_error *err)
{
    char images[JOURNAL_PATH_BYTES_MAX];
    int bytes = snprintf(images, sizeof images, "%s/images", folder);
    if (bytes >= (int)sizeof images) return tl_fail(err, TL_ELIMIT, "the path is too long");
    if ((mkdir(folder, 0777) != 0 && errno != EEXIST) ||
        (mkdir(images, 0777) != 0 && errno != EEXIST))
        return tl_fail(err, TL_EIO, "cannot make the folder %s: %s", images, strerror(errno));
    return TL_OK;
}

static tl_status table_write(export *e, tl_error *err)
{
    sqlite3_stmt *stmt;
    tl_status status =
        tl_db_prepare(e->reader->db,
                      "SELECT DISTINCT prediction_id FROM feedback WHERE loop=?1 AND "
                      "prediction_id>?2 ORDER BY prediction_id LIMIT ?3",
                      &stmt, err);
    if (status != TL_OK) return status;
    fputs("id,time,site,line,part,board,lot,shift,image,reference,label,source", e->table);
    for (uint32_t i = 0; i < e->feature_count; i++) fprintf(e->table, ",f%u", i);
    fputs("\n", e->table);
    status = walk(e, stmt, err);
    sqlite3_finalize(stmt);
    return status;
}

tl_status tl_journal_export(tl_journal_reader *reader, uint32_t loop,
                            const char *const *class_names, size_t class_count,
                            const tl_export_options *options, tl_error *err)
{
    export e = { .reader = reader,
                 .loop = loop,
                 .class_names = class_names,
                 .class_count = class_count,
                 .options = options };
    char path[JOURNAL_PATH_BYTES_MAX];
    tl_status status = folders_make(options->folder, err);
    if (status == TL_OK) status = count_rows(&e, err);
    if (status != TL_OK) return status;
    snprintf(path, sizeof path, "%s/labels.csv", options->folder);
    e.table = fopen(path, "w");
    if (e.table == NULL) return file_fail(err, path);
    tl_text_init(&e.line, LINE_BYTES_MAX);
    tl_arena_init(&e.arena, SIZE_MAX / 2);
    status = table_write(&e, err);
    bool failed = ferror(e.table) != 0;
    if (fclose(e.table) != 0) failed = true;
    if (failed && status == TL_OK) status = file_fail(err, path);
    tl_text_destroy(&e.line);
    tl_arena_destroy(&e.arena);
    return status;
}

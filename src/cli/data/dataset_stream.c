/* dataset_stream.c - patch streams: bit-packed patches, labels and orders as CSV. */
#include "cli/data/dataset_internal.h"
#include "format/file.h"
#include "format/npy.h"

#include <stdlib.h>
#include <string.h>

enum {
    SIDE = 64,
    PATCH_BYTES = 2 * SIDE * SIDE / 8,
    FILE_BYTES_MAX = 1 << 30,
    FIELD_COUNT_MAX = 32
};

/* ---- CSV ------------------------------------------------------------------------------------- */

/* A file of comma-separated fields without quotes, cut up in place. */
typedef struct table {
    const char *path;
    char *text; /* owned */
    char *next; /* the line to come */
    int line;
    char *fields[FIELD_COUNT_MAX];
    int field_count;
} table;

/* The next line into fields; false at the end. */
static bool table_next(table *t)
{
    if (*t->next == '\0') return false;
    char *line = t->next;
    size_t bytes = strcspn(line, "\n");
    t->next = line[bytes] == '\0' ? line + bytes : line + bytes + 1;
    line[bytes] = '\0';
    if (bytes > 0 && line[bytes - 1] == '\r') line[bytes - 1] = '\0';
    t->line++;
    t->field_count = 0;
    for (char *field = line; field != NULL && t->field_count < FIELD_COUNT_MAX;) {
        t->fields[t->field_count++] = field;
        field = strchr(field, ',');
        if (field != NULL) *field++ = '\0';
    }
    return true;
}

/* Read the file and its head line. */
static tl_status table_open(table *t, const char *path, tl_error *err)
{
    void *data;
    size_t bytes;
    *t = (table){ .path = path };
    tl_status status = tl_file_read(path, FILE_BYTES_MAX, &data, &bytes, err);
    if (status != TL_OK) return status;
    t->text = t->next = data;
    if (table_next(t)) return TL_OK;
    free(t->text);
    t->text = NULL;
    return tl_fail(err, TL_EINVAL, "%.180s is empty", path);
}

static tl_status table_column(const table *t, const char *name, int *out, tl_error *err)
{
    for (int i = 0; i < t->field_count; i++) {
        if (strcmp(t->fields[i], name) != 0) continue;
        *out = i;
        return TL_OK;
    }
    return tl_fail(err, TL_EINVAL, "%.160s: the first line names no column \"%s\"", t->path, name);
}

static tl_status table_number(const table *t, int column, size_t limit, size_t *out, tl_error *err)
{
    char *end = NULL;
    unsigned long long value = 0;
    if (column < t->field_count && t->fields[column][0] != '-')
        value = strtoull(t->fields[column], &end, 10);
    if (end == NULL || end == t->fields[column] || *end != '\0' || value >= limit)
        return tl_fail(err, TL_EINVAL,
                       "%.160s, line %d: want a whole number below %zu in column %d", t->path,
                       t->line, limit, column + 1);
    *out = (size_t)value;
    return TL_OK;
}

/* ---- The parts of a stream ------------------------------------------------------------------- */

static tl_status read_patches(tl_dataset *dataset, const char *path, tl_error *err)
{
    size_t bytes;
    tl_npy array;
    tl_status status = tl_file_read(path, FILE_BYTES_MAX, &dataset->file, &bytes, err);
    if (status == TL_OK) status = tl_npy_parse(dataset->file, bytes, &array, err);
    if (status != TL_OK) return status;
    if (array.type != TL_NPY_U8 || array.rank != 4 || array.shape[1] != 2 ||
        array.shape[2] != SIDE || array.shape[3] != SIDE / 8)
        return tl_fail(err, TL_EINVAL, "%.160s: want uint8 of shape (count, 2, 64, 8)", path);
    dataset->bits = array.data;
    dataset->patch_count = array.shape[0];
    return TL_OK;
}

/* Names of classes come with the labels; every label below the largest needs one. */
static tl_status note_class(tl_dataset *dataset, const table *t, size_t label, const char *name,
                            tl_error *err)
{
    char *known = dataset->info.classes[label];
    if (name[0] == '\0' || strlen(name) >= TL_TEXT_BYTES_MAX)
        return tl_fail(err, TL_EINVAL, "%.160s, line %d: bad class name", t->path, t->line);
    if (known[0] != '\0' && strcmp(known, name) != 0)
        return tl_fail(err, TL_EINVAL,
                       "%.140s, line %d: label %zu is \"%.20s\" here, \"%.20s\" above", t->path,
                       t->line, label, name, known);
    strcpy(known, name);
    if (label >= dataset->info.class_count) dataset->info.class_count = label + 1;
    return TL_OK;
}

typedef struct columns {
    int id, group, image, label, name;
} columns;

static tl_status read_label(tl_dataset *dataset, const table *t, const columns *c, tl_error *err)
{
    size_t id, label = 0;
    tl_status status = table_number(t, c->id, dataset->patch_count, &id, err);
    if (status == TL_OK) status = table_number(t, c->label, TL_CLASS_COUNT_MAX, &label, err);
    if (status != TL_OK) return status;
    int last = c->group > c->image ? c->group : c->image;
    if (t->field_count <= last || t->field_count <= c->name)
        return tl_fail(err, TL_EINVAL, "%.160s, line %d: too few columns", t->path, t->line);
    status = note_class(dataset, t, label, t->fields[c->name], err);
    if (status != TL_OK) return status;
    tl_dataset_item item = { .id = id,
                             .label = (uint32_t)label,
                             .name = t->fields[c->image],
                             .group = t->fields[c->group] };
    return tl_dataset_entry_add(dataset, &item, NULL, err);
}

static tl_status read_labels(tl_dataset *dataset, const char *path, tl_error *err)
{
    table t;
    columns c = { 0 };
    tl_status status = table_open(&t, path, err);
    if (status == TL_OK) status = table_column(&t, "id", &c.id, err);
    if (status == TL_OK) status = table_column(&t, "group", &c.group, err);
    if (status == TL_OK) status = table_column(&t, "image", &c.image, err);
    if (status == TL_OK) status = table_column(&t, "label", &c.label, err);
    if (status == TL_OK) status = table_column(&t, "name", &c.name, err);
    while (status == TL_OK && table_next(&t)) status = read_label(dataset, &t, &c, err);
    free(t.text);
    for (size_t i = 0; status == TL_OK && i < dataset->info.class_count; i++)
        if (dataset->info.classes[i][0] == '\0')
            status = tl_fail(err, TL_EINVAL, "%.160s: label %zu has no name", path, i);
    return status;
}

/* Turn the ids of an order file into indices of entries. */
static tl_status read_order(tl_dataset *dataset, const char *path, tl_error *err)
{
    table t;
    int column = 0;
    size_t capacity = 0;
    size_t *entry_of = malloc((dataset->patch_count + 1) * sizeof *entry_of);
    if (entry_of == NULL) return tl_fail(err, TL_ENOMEM, "order of items");
    for (size_t i = 0; i < dataset->patch_count; i++) entry_of[i] = SIZE_MAX;
    for (size_t i = 0; i < dataset->entry_count; i++) entry_of[dataset->entries[i].item.id] = i;
    tl_status status = table_open(&t, path, err);
    if (status == TL_OK) status = table_column(&t, "id", &column, err);
    while (status == TL_OK && table_next(&t)) {
        size_t id;
        status = table_number(&t, column, dataset->patch_count, &id, err);
        if (status != TL_OK) break;
        if (entry_of[id] == SIZE_MAX) {
            status =
                tl_fail(err, TL_EINVAL, "%.160s, line %d: id %zu has no label", path, t.line, id);
            break;
        }
        if (dataset->info.count == capacity) {
            capacity = capacity > 0 ? 2 * capacity : 4096;
            size_t *grown = realloc(dataset->order, capacity * sizeof *grown);
            if (grown == NULL) status = tl_fail(err, TL_ENOMEM, "order of items");
            if (grown == NULL) break;
            dataset->order = grown;
        }
        dataset->order[dataset->info.count++] = entry_of[id];
    }
    free(t.text);
    free(entry_of);
    return status;
}

tl_status tl_dataset_open_stream(tl_dataset *dataset, const tl_dataset_options *options,
                                 tl_error *err)
{
    char path[TL_DATASET_PATH_BYTES];
    dataset->info.height = dataset->info.width = SIDE;
    dataset->info.channels = 1;
    dataset->info.has_template = true;
    snprintf(path, sizeof path, "%s/patches_u1.npy", options->path);
    tl_status status = read_patches(dataset, path, err);
    snprintf(path, sizeof path, "%s/labels.csv", options->path);
    if (status == TL_OK) status = read_labels(dataset, path, err);
    if (status != TL_OK) return status;
    if (options->order == NULL || strcmp(options->order, "file") == 0)
        return tl_dataset_order_as_listed(dataset, err);
    if (strchr(options->order, '/') != NULL)
        return tl_fail(err, TL_EINVAL, "\"%.80s\" is no name of an order", options->order);
    snprintf(path, sizeof path, "%s/order_%s.csv", options->path, options->order);
    status = read_order(dataset, path, err);
    if (status == TL_ENOTFOUND)
        return tl_fail(err, status, "no order \"%.40s\": there is no %.160s", options->order, path);
    return status;
}

static void unpack(const uint8_t *bits, uint8_t *out)
{
    for (int i = 0; i < SIDE * SIDE; i++) out[i] = (bits[i / 8] >> (7 - i % 8)) & 1 ? 255 : 0;
}

void tl_dataset_unpack(const tl_dataset *dataset, size_t patch, uint8_t *image, uint8_t *reference)
{
    const uint8_t *bits = dataset->bits + patch * PATCH_BYTES;
    unpack(bits, image);
    unpack(bits + PATCH_BYTES / 2, reference);
}

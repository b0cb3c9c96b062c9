#include "cli/data/boxset.h"

#include "base/arena.h"
#include "cli/data/dataset.h"
#include "cli/data/names.h"
#include "format/file.h"
#include "format/image.h"
#include "learn/detect/yolo_head.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IMAGE_BYTES_MAX = 32 << 20,
    LABEL_BYTES_MAX = 1 << 20,
    PATH_BYTES = 4096,
    NUMBERS = 4 /* of a box */
};

/* How far a share may lie outside 0..1: what rounding brings. */
static const double SLACK = 0.01;

typedef struct entry {
    const char *path;    /* below images/ */
    size_t first, count; /* of its boxes */
} entry;

typedef struct part {
    entry *entries;
    size_t count, capacity;
} part;

struct tl_boxset {
    tl_arena arena; /* paths and names */
    const char *root;
    uint32_t channels, class_count;
    part parts[2];   /* learned, judged */
    tl_truth *boxes; /* shares of their image */
    size_t box_count, box_capacity;
    const char *names[TL_YOLO_CLASS_MAX];
    tl_image_decoder *decoder;
    tl_truth truths[TL_BOXSET_TRUTHS_MAX]; /* of the last item */
};

/* ---- Labels ---------------------------------------------------------------------------------- */

/* The next line of a text that is cut up in place; NULL at the end. */
static char *next_line(char **text)
{
    char *line = *text;
    if (*line == '\0') return NULL;
    size_t bytes = strcspn(line, "\n");
    *text = line[bytes] == '\0' ? line + bytes : line + bytes + 1;
    line[bytes] = '\0';
    if (bytes > 0 && line[bytes - 1] == '\r') line[bytes - 1] = '\0';
    return line;
}

static bool is_blank(const char *line)
{
    return line[strspn(line, " \t")] == '\0';
}

/* "CLASS CX CY W H" of shares to a box of shares, cut off at the image's edges. */
static bool parse_line(const char *line, tl_truth *out)
{
    char *end;
    double n[NUMBERS];
    const char *at = line + strspn(line, " \t");
    if (*at < '0' || *at > '9') return false;
    unsigned long label = strtoul(at, &end, 10);
    if (label >= TL_YOLO_CLASS_MAX) return false;
    for (int i = 0; i < NUMBERS; i++) {
        at = end;
        if (*at != ' ' && *at != '\t') return false;
        n[i] = strtod(at, &end);
        if (end == at || !(n[i] >= -SLACK && n[i] <= 1.0 + SLACK)) return false;
    }
    if (!is_blank(end) || n[2] <= 0.0 || n[3] <= 0.0) return false;
    const double low_x = n[0] - n[2] / 2, low_y = n[1] - n[3] / 2;
    const double high_x = n[0] + n[2] / 2, high_y = n[1] + n[3] / 2;
    *out = (tl_truth){ { (float)fmax(low_x, 0.0), (float)fmax(low_y, 0.0), (float)fmin(high_x, 1.0),
                         (float)fmin(high_y, 1.0) },
                       (uint32_t)label };
    return out->box.x1 < out->box.x2 && out->box.y1 < out->box.y2;
}

static tl_status add_box(tl_boxset *set, const tl_truth *truth, tl_error *err)
{
    if (set->box_count == set->box_capacity) {
        size_t capacity = set->box_capacity > 0 ? 2 * set->box_capacity : 1024;
        tl_truth *grown = realloc(set->boxes, capacity * sizeof *grown);
        if (grown == NULL) return tl_fail(err, TL_ENOMEM, "%zu boxes", capacity);
        set->boxes = grown;
        set->box_capacity = capacity;
    }
    set->boxes[set->box_count++] = *truth;
    if (truth->label >= set->class_count) set->class_count = truth->label + 1;
    return TL_OK;
}

/* The boxes of one image; no file is no box. */
static tl_status read_labels(tl_boxset *set, entry *e, tl_error *err)
{
    char path[PATH_BYTES];
    const char *dot = strrchr(e->path, '.');
    snprintf(path, sizeof path, "%s/labels/%.*s.txt", set->root, (int)(dot - e->path), e->path);
    void *data;
    size_t bytes;
    e->first = set->box_count;
    tl_status status = tl_file_read(path, LABEL_BYTES_MAX, &data, &bytes, err);
    if (status == TL_ENOTFOUND) return TL_OK;
    if (status != TL_OK) return status;
    char *text = data, *line;
    for (int number = 1; status == TL_OK && (line = next_line(&text)) != NULL; number++) {
        tl_truth truth;
        if (is_blank(line)) continue;
        if (!parse_line(line, &truth))
            status =
                tl_fail(err, TL_EINVAL,
                        "%.160s, line %d: want \"CLASS CX CY W H\", a class from 0 to %d and a "
                        "box in shares of the image's width and height, 0 to 1",
                        path, number, TL_YOLO_CLASS_MAX - 1);
        else if (++e->count > TL_BOXSET_TRUTHS_MAX)
            status =
                tl_fail(err, TL_ELIMIT, "%.160s: more than %d boxes", path, TL_BOXSET_TRUTHS_MAX);
        else
            status = add_box(set, &truth, err);
    }
    free(data);
    return status;
}

/* ---- Files ----------------------------------------------------------------------------------- */

static tl_status add_image(tl_boxset *set, part *p, const char *path, tl_error *err)
{
    if (p->count == p->capacity) {
        size_t capacity = p->capacity > 0 ? 2 * p->capacity : 256;
        entry *grown = realloc(p->entries, capacity * sizeof *grown);
        if (grown == NULL) return tl_fail(err, TL_ENOMEM, "%zu images", capacity);
        p->entries = grown;
        p->capacity = capacity;
    }
    entry *e = &p->entries[p->count++];
    *e = (entry){ .path = tl_arena_strndup(&set->arena, path, strlen(path)) };
    if (e->path == NULL) return tl_fail(err, TL_ENOMEM, "names of images");
    return read_labels(set, e, err);
}

/* The images in images/SUB ("" or "train/") to `p`; NULL: by their names to one part or the other. */
static tl_status add_folder(tl_boxset *set, const char *sub, part *p, tl_error *err)
{
    char path[PATH_BYTES];
    char **names = NULL;
    size_t count = 0;
    snprintf(path, sizeof path, "%s/images/%s", set->root, sub);
    tl_status status = tl_names_list(path, &names, &count, err);
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        if (!tl_is_image_name(names[i])) continue;
        snprintf(path, sizeof path, "%s%s", sub, names[i]);
        part *to = p != NULL ? p : &set->parts[tl_dataset_is_held_out(names[i])];
        status = add_image(set, to, path, err);
    }
    tl_names_free(names, count);
    return status;
}

static tl_status read_names(tl_boxset *set, tl_error *err)
{
    char path[PATH_BYTES];
    void *data;
    size_t bytes;
    snprintf(path, sizeof path, "%s/classes.txt", set->root);
    tl_status status = tl_file_read(path, LABEL_BYTES_MAX, &data, &bytes, err);
    const bool given = status == TL_OK;
    if (!given && status != TL_ENOTFOUND) return status;
    status = TL_OK;
    char *text = given ? data : NULL, *line;
    uint32_t count = 0;
    while (given && status == TL_OK && (line = next_line(&text)) != NULL) {
        if (is_blank(line)) continue;
        if (count == TL_YOLO_CLASS_MAX)
            status = tl_fail(err, TL_ELIMIT, "%.160s: more than %d classes", path, count);
        else if ((set->names[count++] = tl_arena_strndup(&set->arena, line, strlen(line))) == NULL)
            status = tl_fail(err, TL_ENOMEM, "names of classes");
    }
    if (given) free(data);
    if (status == TL_OK && given && count < set->class_count)
        return tl_fail(err, TL_EINVAL, "%.160s names %u classes, but there is a box of class %u",
                       path, count, set->class_count - 1);
    if (given) set->class_count = count;
    for (; status == TL_OK && count < set->class_count; count++) {
        char number[16];
        snprintf(number, sizeof number, "%u", count);
        set->names[count] = tl_arena_strndup(&set->arena, number, strlen(number));
        if (set->names[count] == NULL) status = tl_fail(err, TL_ENOMEM, "names of classes");
    }
    return status;
}

/* ---- The set --------------------------------------------------------------------------------- */

static bool has_folder(const char *root, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return tl_is_folder(path);
}

bool tl_boxset_is_at(const char *path)
{
    return has_folder(path, "images") && has_folder(path, "labels");
}

static tl_status read_all(tl_boxset *set, tl_error *err)
{
    tl_status status;
    if (has_folder(set->root, "images/train")) {
        status = add_folder(set, "train/", &set->parts[0], err);
        if (status == TL_OK && has_folder(set->root, "images/val"))
            status = add_folder(set, "val/", &set->parts[1], err);
    } else {
        status = add_folder(set, "", NULL, err);
    }
    if (status == TL_OK) status = read_names(set, err);
    if (status != TL_OK) return status;
    if (set->parts[0].count == 0)
        return tl_fail(err, TL_EINVAL, "%.160s: no image to learn from in images", set->root);
    if (set->box_count == 0)
        return tl_fail(err, TL_EINVAL,
                       "%.160s: no box in labels; beside images/NAME.jpg want labels/NAME.txt",
                       set->root);
    return TL_OK;
}

tl_status tl_boxset_open(const char *path, uint32_t channels, tl_boxset **out, tl_error *err)
{
    tl_boxset *set = calloc(1, sizeof *set);
    if (set == NULL) return tl_fail(err, TL_ENOMEM, "data set");
    tl_arena_init(&set->arena, (size_t)1 << 30);
    set->channels = channels;
    set->root = tl_arena_strndup(&set->arena, path, strlen(path));
    tl_status status = set->root != NULL ? TL_OK : tl_fail(err, TL_ENOMEM, "data set");
    if (status == TL_OK) status = tl_image_decoder_create(NULL, &set->decoder, err);
    if (status == TL_OK) status = read_all(set, err);
    if (status != TL_OK) {
        tl_boxset_close(&set);
        return status;
    }
    *out = set;
    return TL_OK;
}

void tl_boxset_close(tl_boxset **set)
{
    if (*set == NULL) return;
    tl_image_decoder_destroy(&(*set)->decoder);
    tl_arena_destroy(&(*set)->arena);
    free((*set)->parts[0].entries);
    free((*set)->parts[1].entries);
    free((*set)->boxes);
    free(*set);
    *set = NULL;
}

void tl_boxset_describe(const tl_boxset *set, tl_boxset_info *out)
{
    *out = (tl_boxset_info){ .count = set->parts[0].count + set->parts[1].count,
                             .learned = set->parts[0].count,
                             .judged = set->parts[1].count,
                             .boxes = set->box_count,
                             .class_count = set->class_count };
}

const char *tl_boxset_class(const tl_boxset *set, uint32_t label)
{
    TL_ASSERT(label < set->class_count);
    return set->names[label];
}

tl_status tl_boxset_item_at(tl_boxset *set, bool judged, size_t index, tl_boxset_item *out,
                            tl_error *err)
{
    TL_ASSERT(index < set->parts[judged].count);
    const entry *e = &set->parts[judged].entries[index];
    char path[PATH_BYTES];
    void *data;
    size_t bytes;
    tl_pixels pixels;
    snprintf(path, sizeof path, "%s/images/%s", set->root, e->path);
    tl_status status = tl_file_read(path, IMAGE_BYTES_MAX, &data, &bytes, err);
    if (status != TL_OK) return status;
    status = tl_image_decode(set->decoder, data, bytes, set->channels, &pixels, err);
    free(data);
    if (status != TL_OK) return tl_fail_context(err, status, "%.120s", path);
    const float width = (float)pixels.width, height = (float)pixels.height;
    for (size_t i = 0; i < e->count; i++) {
        const tl_truth *share = &set->boxes[e->first + i];
        const tl_box *b = &share->box;
        set->truths[i] =
            (tl_truth){ { b->x1 * width, b->y1 * height, b->x2 * width, b->y2 * height },
                        share->label };
    }
    *out = (tl_boxset_item){ pixels.data, pixels.height, pixels.width, { set->truths, e->count } };
    return TL_OK;
}

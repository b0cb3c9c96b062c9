#include "bench/learning/boards/boards.h"

#include "cli/data/dataset.h"
#include "format/file.h"
#include "format/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAR_BLOCK = 512 };
const char *const BOARD_CLASS_NAMES[BOARD_CLASSES] = { "open", "short",  "mousebite",
                                                       "spur", "copper", "pin-hole" };

_Noreturn static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "boards: %s: %s\n", what, why);
    exit(1);
}

static void check(tl_status status, const char *what, const tl_error *err)
{
    if (status != TL_OK) give_up(what, err->text);
}

static void *need(void *pointer)
{
    if (pointer == NULL) give_up("memory", "none left");
    return pointer;
}

static char *load(const char *folder, const char *name, size_t *bytes)
{
    char path[4096];
    void *data = NULL;
    tl_error err = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, name);
    check(tl_file_read(path, (size_t)1 << 30, &data, bytes, &err), path, &err);
    return data;
}

static board *find(boards *all, const char *name)
{
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->items[i].name, name) == 0) return &all->items[i];
    return NULL;
}

/* One member "NAME_test.png" or "NAME_temp.png" of the archive. */
static void add_member(boards *all, tl_image_decoder *decoder, const char *member, const char *data,
                       size_t bytes, size_t limit)
{
    tl_error err = { 0 };
    char name[32];
    const char *mark = strrchr(member, '_');
    if (mark == NULL || (size_t)(mark - member) >= sizeof name) return;
    snprintf(name, sizeof name, "%.*s", (int)(mark - member), member);
    board *item = find(all, name);
    if (item == NULL) {
        if (all->count == limit) return;
        item = &all->items[all->count++];
        memcpy(item->name, name, sizeof name);
        item->held_out = tl_dataset_is_held_out(name);
    }
    uint8_t *pixels = need(malloc((size_t)all->side * all->side));
    check(tl_image_decode_to(decoder, data, bytes, all->side, all->side, 1, pixels, &err), member,
          &err);
    *(strncmp(mark, "_test", 5) == 0 ? &item->image : &item->reference) = pixels;
}

/* POSIX.1-1988 "ustar": a header of 512 bytes, then the file, padded to 512. */
static void read_images(boards *all, const char *folder, size_t limit)
{
    size_t bytes = 0;
    char *tar = load(folder, "detect_1bit_png.tar", &bytes);
    tl_image_decoder *decoder = NULL;
    tl_error err = { 0 };
    check(tl_image_decoder_create(NULL, &decoder, &err), "decoder", &err);
    for (size_t at = 0; at + TAR_BLOCK <= bytes && tar[at] != '\0';) {
        char name[101] = { 0 }, octal[13] = { 0 };
        memcpy(name, tar + at, 100);
        memcpy(octal, tar + at + 124, 12);
        size_t size = strtoull(octal, NULL, 8);
        at += TAR_BLOCK;
        if (size > bytes - at) give_up("detect_1bit_png.tar", "it is cut short");
        if (size > 0) add_member(all, decoder, name, tar + at, size, limit);
        at += (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
    }
    tl_image_decoder_destroy(&decoder);
    free(tar);
}

static void read_boxes(boards *all, const char *folder)
{
    size_t bytes = 0;
    char *csv = load(folder, "boxes.csv", &bytes), *rest = csv;
    const float scale = (float)all->side / BOARD_SIDE;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        char name[32], group[32];
        unsigned x1, y1, x2, y2, label;
        if (sscanf(line, "%31[^,],%31[^,],%u,%u,%u,%u,%u", name, group, &x1, &y1, &x2, &y2,
                   &label) != 7)
            continue; /* the header, the end */
        board *item = find(all, name);
        if (item == NULL || label < 1 || label > BOARD_CLASSES) continue;
        item->truths = need(realloc(item->truths, (item->truth_count + 1) * sizeof *item->truths));
        item->truths[item->truth_count++] = (tl_truth){ { (float)x1 * scale, (float)y1 * scale,
                                                          (float)x2 * scale, (float)y2 * scale },
                                                        label - 1 };
    }
    free(csv);
}

tl_pixels_form boards_form(const boards *all)
{
    return (tl_pixels_form){
        .height = all->side, .width = all->side, .channels = 1, .has_template = true
    };
}

static void register_templates(boards *all)
{
    tl_pixels_form form = boards_form(all);
    form.align = 4;
    for (size_t i = 0; i < all->count; i++) {
        board *item = &all->items[i];
        if (item->image == NULL || item->reference == NULL) give_up(item->name, "half a pair");
        uint8_t *moved = need(malloc((size_t)all->side * all->side));
        tl_pixels_register(&form, item->image, item->reference, moved);
        free(item->reference);
        item->reference = moved;
    }
}

void boards_load(const char *folder, uint32_t side, size_t limit, boards *out)
{
    enum { BOARDS_MAX = 1000 };
    boards all = { .side = side };
    if (limit == 0 || limit > BOARDS_MAX) limit = BOARDS_MAX;
    all.items = need(calloc(limit, sizeof *all.items));
    read_images(&all, folder, limit);
    read_boxes(&all, folder);
    register_templates(&all);
    all.learned = need(calloc(all.count + 1, sizeof *all.learned));
    all.judged = need(calloc(all.count + 1, sizeof *all.judged));
    for (size_t i = 0; i < all.count; i++) {
        if (all.items[i].held_out)
            all.judged[all.judged_count++] = i;
        else
            all.learned[all.learned_count++] = i;
    }
    if (all.learned_count == 0 || all.judged_count == 0) give_up(folder, "too few boards");
    *out = all;
}

void boards_free(boards *all)
{
    for (size_t i = 0; i < all->count; i++) {
        free(all->items[i].image);
        free(all->items[i].reference);
        free(all->items[i].truths);
    }
    free(all->items);
    free(all->learned);
    free(all->judged);
}

tl_status boards_fetch(void *context, size_t index, tl_train_item *out, tl_error *err)
{
    (void)err;
    const boards *all = context;
    const board *item = &all->items[all->learned[index]];
    *out = (tl_train_item){ .source = { item->image,
                                        item->reference,
                                        all->side,
                                        all->side,
                                        { item->truths, item->truth_count } } };
    return TL_OK;
}

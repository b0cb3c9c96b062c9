#include "cli/data/dataset.h"

#include "base/rng.h"
#include "cli/data/dataset_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

uint64_t tl_fnv1a64(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (; *text != '\0'; text++) hash = (hash ^ (uint8_t)*text) * 0x100000001b3ULL;
    return hash;
}

bool tl_dataset_is_held_out(const char *image_name)
{
    return tl_fnv1a64(image_name) % 10 == 0;
}

tl_status tl_dataset_entry_add(tl_dataset *dataset, const tl_dataset_item *item, const char *path,
                               tl_error *err)
{
    if (dataset->entry_count == dataset->entry_capacity) {
        size_t capacity = dataset->entry_capacity > 0 ? 2 * dataset->entry_capacity : 1024;
        tl_dataset_entry *grown = realloc(dataset->entries, capacity * sizeof *grown);
        if (grown == NULL) return tl_fail(err, TL_ENOMEM, "%zu items", capacity);
        dataset->entries = grown;
        dataset->entry_capacity = capacity;
    }
    tl_dataset_entry entry = { .item = *item };
    entry.item.name = tl_arena_strndup(&dataset->arena, item->name, strlen(item->name));
    entry.item.group = tl_arena_strndup(&dataset->arena, item->group, strlen(item->group));
    if (path != NULL) entry.path = tl_arena_strndup(&dataset->arena, path, strlen(path));
    if (entry.item.name == NULL || entry.item.group == NULL || (path != NULL && entry.path == NULL))
        return tl_fail(err, TL_ENOMEM, "names of items");
    entry.item.held_out = tl_dataset_is_held_out(entry.item.name);
    dataset->entries[dataset->entry_count++] = entry;
    return TL_OK;
}

/* The order in which the entries are listed. */
tl_status tl_dataset_order_as_listed(tl_dataset *dataset, tl_error *err)
{
    dataset->order = malloc((dataset->entry_count + 1) * sizeof *dataset->order);
    if (dataset->order == NULL) return tl_fail(err, TL_ENOMEM, "order of items");
    for (size_t i = 0; i < dataset->entry_count; i++) dataset->order[i] = i;
    dataset->info.count = dataset->entry_count;
    return TL_OK;
}

tl_status tl_dataset_open(const tl_dataset_options *options, tl_dataset **out, tl_error *err)
{
    struct stat st;
    if (stat(options->path, &st) != 0 || !S_ISDIR(st.st_mode))
        return tl_fail(err, TL_ENOTFOUND, "%.180s: no such folder", options->path);
    tl_dataset *dataset = calloc(1, sizeof *dataset);
    if (dataset == NULL) return tl_fail(err, TL_ENOMEM, "data set");
    tl_arena_init(&dataset->arena, (size_t)1 << 30);
    char path[TL_DATASET_PATH_BYTES];
    snprintf(path, sizeof path, "%s/patches_u1.npy", options->path);
    dataset->is_stream = dataset->info.fixed_size = stat(path, &st) == 0;
    tl_status status = dataset->is_stream ? tl_dataset_open_stream(dataset, options, err)
                                          : tl_dataset_open_folder(dataset, options, err);
    if (status == TL_OK && dataset->info.count == 0)
        status = tl_fail(err, TL_EINVAL, "%.180s: there are no items in it", options->path);
    if (status != TL_OK) {
        tl_dataset_close(&dataset);
        return status;
    }
    *out = dataset;
    return TL_OK;
}

void tl_dataset_close(tl_dataset **dataset)
{
    if (*dataset == NULL) return;
    tl_image_decoder_destroy(&(*dataset)->decoder);
    tl_arena_destroy(&(*dataset)->arena);
    free((*dataset)->file);
    free((*dataset)->entries);
    free((*dataset)->order);
    free(*dataset);
    *dataset = NULL;
}

void tl_dataset_describe(const tl_dataset *dataset, tl_dataset_info *out)
{
    *out = dataset->info;
}

void tl_dataset_scale_to(tl_dataset *dataset, uint32_t height, uint32_t width, uint32_t channels)
{
    TL_ASSERT(!dataset->is_stream);
    dataset->info.height = height;
    dataset->info.width = width;
    dataset->info.channels = channels;
}

void tl_dataset_item_at(const tl_dataset *dataset, size_t position, tl_dataset_item *out)
{
    TL_ASSERT(position < dataset->info.count);
    *out = dataset->entries[dataset->order[position]].item;
}

tl_status tl_dataset_pixels(tl_dataset *dataset, size_t position, uint8_t *image,
                            uint8_t *reference, tl_error *err)
{
    TL_ASSERT(position < dataset->info.count);
    const tl_dataset_entry *entry = &dataset->entries[dataset->order[position]];
    if (!dataset->is_stream) return tl_dataset_read_files(dataset, entry, image, reference, err);
    tl_dataset_unpack(dataset, entry->item.id, image, reference);
    return TL_OK;
}

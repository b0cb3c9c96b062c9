/* dataset_folder.c - a folder of images, one sub-folder a class. */
#include "base/rng.h"
#include "cli/data/dataset_internal.h"
#include "cli/data/names.h"
#include "format/file.h"

#include <stdlib.h>
#include <string.h>

enum { IMAGE_BYTES_MAX = 32 << 20 };

static const char REFERENCE[] = "reference";

static bool is_harmless(const char *name)
{
    return strcmp(name, "ok") == 0 || strcmp(name, "good") == 0;
}

static int compare_classes(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    if (is_harmless(x) != is_harmless(y)) return is_harmless(x) ? -1 : 1;
    return strcmp(x, y);
}

static tl_status add_class(tl_dataset *dataset, const char *name, tl_error *err)
{
    char path[TL_DATASET_PATH_BYTES];
    tl_dataset_info *info = &dataset->info;
    if (info->class_count == TL_CLASS_COUNT_MAX)
        return tl_fail(err, TL_ELIMIT, "more than %d classes", TL_CLASS_COUNT_MAX);
    if (strlen(name) >= TL_TEXT_BYTES_MAX)
        return tl_fail(err, TL_ELIMIT, "the class name \"%.40s...\" is too long", name);
    snprintf(path, sizeof path, "%s/%s", dataset->root, name);
    char **files = NULL;
    size_t count = 0;
    tl_status status = tl_names_list(path, &files, &count, err);
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        if (!tl_is_image_name(files[i])) continue;
        snprintf(path, sizeof path, "%s/%s", name, files[i]);
        tl_dataset_item item = { .id = dataset->entry_count,
                                 .label = (uint32_t)info->class_count,
                                 .name = files[i],
                                 .group = "" };
        status = tl_dataset_entry_add(dataset, &item, path, err);
    }
    strcpy(info->classes[info->class_count++], name);
    tl_names_free(files, count);
    return status;
}

static tl_status add_classes(tl_dataset *dataset, tl_error *err)
{
    char path[TL_DATASET_PATH_BYTES];
    char **names = NULL;
    size_t count = 0;
    tl_status status = tl_names_list(dataset->root, &names, &count, err);
    if (count > 0) qsort(names, count, sizeof *names, compare_classes);
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", dataset->root, names[i]);
        if (!tl_is_folder(path) || strcmp(names[i], REFERENCE) == 0) continue;
        status = add_class(dataset, names[i], err);
    }
    tl_names_free(names, count);
    if (status == TL_OK && dataset->info.class_count < 2)
        return tl_fail(
            err, TL_EINVAL,
            "%.140s: want one sub-folder a class (\"ok\", ...), at least two; or a stream "
            "with patches_u1.npy",
            dataset->root);
    return status;
}

static void shuffle(tl_dataset *dataset, uint64_t seed)
{
    tl_rng rng;
    tl_rng_seed(&rng, seed, 4711);
    for (size_t i = dataset->info.count; i > 1; i--) {
        size_t j = (size_t)tl_rng_below(&rng, i), t = dataset->order[i - 1];
        dataset->order[i - 1] = dataset->order[j];
        dataset->order[j] = t;
    }
}

tl_status tl_dataset_open_folder(tl_dataset *dataset, const tl_dataset_options *options,
                                 tl_error *err)
{
    const char *order = options->order != NULL ? options->order : "file";
    bool shuffled = strcmp(order, "shuffled") == 0;
    if (!shuffled && strcmp(order, "file") != 0)
        return tl_fail(err, TL_ENOTFOUND,
                       "no order \"%.40s\": a folder of images has \"file\" and \"shuffled\"",
                       order);
    dataset->info.height = options->height > 0 ? options->height : 64;
    dataset->info.width = options->width > 0 ? options->width : 64;
    dataset->info.channels = options->channels > 0 ? options->channels : 1;
    dataset->root = tl_arena_strndup(&dataset->arena, options->path, strlen(options->path));
    if (dataset->root == NULL) return tl_fail(err, TL_ENOMEM, "data set");
    char path[TL_DATASET_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", options->path, REFERENCE);
    dataset->info.has_template = tl_is_folder(path);
    tl_status status = tl_image_decoder_create(NULL, &dataset->decoder, err);
    if (status == TL_OK) status = add_classes(dataset, err);
    if (status == TL_OK) status = tl_dataset_order_as_listed(dataset, err);
    if (status == TL_OK && shuffled) shuffle(dataset, options->seed);
    return status;
}

static tl_status read_image(tl_dataset *dataset, const char *path, uint8_t *out, tl_error *err)
{
    void *data;
    size_t bytes;
    const tl_dataset_info *info = &dataset->info;
    tl_status status = tl_file_read(path, IMAGE_BYTES_MAX, &data, &bytes, err);
    if (status != TL_OK) return status;
    status = tl_image_decode_to(dataset->decoder, data, bytes, info->height, info->width,
                                info->channels, out, err);
    free(data);
    return status == TL_OK ? TL_OK : tl_fail_context(err, status, "%.120s", path);
}

tl_status tl_dataset_read_files(tl_dataset *dataset, const tl_dataset_entry *entry, uint8_t *image,
                                uint8_t *reference, tl_error *err)
{
    char path[TL_DATASET_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", dataset->root, entry->path);
    tl_status status = read_image(dataset, path, image, err);
    if (status != TL_OK || !dataset->info.has_template) return status;
    snprintf(path, sizeof path, "%s/%s/%s", dataset->root, REFERENCE, entry->path);
    return read_image(dataset, path, reference, err);
}

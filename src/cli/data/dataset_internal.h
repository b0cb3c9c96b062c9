/* dataset_internal.h - what the two forms of data sets share. Layer: cli. */
#ifndef TL_CLI_DATASET_INTERNAL_H
#define TL_CLI_DATASET_INTERNAL_H

#include "base/arena.h"
#include "cli/data/dataset.h"
#include "format/image.h"

#include <stdio.h>

enum { TL_DATASET_PATH_BYTES = 4096 };

typedef struct tl_dataset_entry {
    tl_dataset_item item;
    const char *path; /* folders: CLASS/FILE below the root */
} tl_dataset_entry;

struct tl_dataset {
    tl_dataset_info info;
    bool is_stream;
    tl_arena arena; /* names */
    tl_dataset_entry *entries;
    size_t entry_count, entry_capacity;
    size_t *order; /* [info.count], indices of entries */
    /* Patch streams. */
    void *file;          /* patches_u1.npy */
    const uint8_t *bits; /* [patch_count, 2, 64, 8] */
    size_t patch_count;
    /* Folders. */
    const char *root;
    tl_image_decoder *decoder;
};

/* Copies `item` and its texts. */
tl_status tl_dataset_entry_add(tl_dataset *dataset, const tl_dataset_item *item, const char *path,
                               tl_error *err);
tl_status tl_dataset_order_as_listed(tl_dataset *dataset, tl_error *err);

tl_status tl_dataset_open_stream(tl_dataset *dataset, const tl_dataset_options *options,
                                 tl_error *err);
void tl_dataset_unpack(const tl_dataset *dataset, size_t patch, uint8_t *image, uint8_t *reference);

tl_status tl_dataset_open_folder(tl_dataset *dataset, const tl_dataset_options *options,
                                 tl_error *err);
tl_status tl_dataset_read_files(tl_dataset *dataset, const tl_dataset_entry *entry, uint8_t *image,
                                uint8_t *reference, tl_error *err);

#endif

/* dataset.h - labelled images on disk, in a stated order: what `replay --data`, benchmarks and
 * tests run through a loop. Layer: cli. Reading items is safe from any thread once a data set is
 * open, except for folders of images, which are decoded on the way: one thread at a time.
 *
 * Two forms are recognised:
 * - a patch stream: patches_u1.npy, uint8 [count, 2, 64, 8], one bit a pixel (most significant bit
 *   first, 1 is white), the tested image and its template; labels.csv with the columns id, group,
 *   image, label, name; order_NAME.csv with a column id. Items are 64 x 64 grey, 0 or 255.
 * - a folder with one sub-folder a class ("ok/0001.png", ...) of JPEG, PNG or PNM images; a
 * template is taken from reference/CLASS/FILE, when a folder `reference` is there. The class "ok"
 * or "good" comes first, else the alphabet rules.
 *
 * An image is held out (kept for judging) when FNV-1a 64 of its name is 0 modulo 10. In a patch
 * stream the name is that of the board, so that all patches of a board go the same way. */
#ifndef TL_CLI_DATASET_H
#define TL_CLI_DATASET_H

#include "base/status.h"

typedef struct tl_dataset tl_dataset;

typedef struct tl_dataset_options {
    const char *path;
    const char *order; /* patch stream: "site" for order_site.csv, ...; folder: "shuffled"; NULL or
                          "file": as they are listed (folders: by class, then name) */
    uint64_t seed;     /* of "shuffled" for folders */
    uint32_t height, width, channels; /* folders: what items are scaled to; 0: 64, 64, 1 */
} tl_dataset_options;

typedef struct tl_dataset_info {
    size_t count;
    uint32_t height, width, channels;
    bool has_template;
    bool fixed_size; /* patch streams */
    size_t class_count;
    char classes[TL_CLASS_COUNT_MAX][TL_TEXT_BYTES_MAX];
} tl_dataset_info;

typedef struct tl_dataset_item {
    size_t id;         /* in the file, or among the sorted files */
    uint32_t label;    /* index of its class */
    const char *name;  /* of the image; borrowed until the data set is closed */
    const char *group; /* site; "" when there is none; borrowed likewise */
    bool held_out;
} tl_dataset_item;

/* Errors: TL_ENOTFOUND (no such folder, file or order), TL_EINVAL (damaged; the text names the file
 * and line), TL_ELIMIT, TL_ENOMEM, TL_EIO. */
tl_status tl_dataset_open(const tl_dataset_options *options, tl_dataset **out, tl_error *err);
void tl_dataset_close(tl_dataset **dataset); /* NULL-safe; clears *dataset */
void tl_dataset_describe(const tl_dataset *dataset, tl_dataset_info *out);

/* Folders: what items are scaled to from now on, in place of the options. */
void tl_dataset_scale_to(tl_dataset *dataset, uint32_t height, uint32_t width, uint32_t channels);

/* The item at `position` < count of the order. */
void tl_dataset_item_at(const tl_dataset *dataset, size_t position, tl_dataset_item *out);
/* Its pixels: image and reference [height, width, channels]; `reference` is not touched when the
 * data set has no templates. Errors (folders only): as of tl_file_read and tl_image_decode_to. */
tl_status tl_dataset_pixels(tl_dataset *dataset, size_t position, uint8_t *image,
                            uint8_t *reference, tl_error *err);

/* FNV-1a, 64 bits, of a text (Fowler, Noll, Vo). */
uint64_t tl_fnv1a64(const char *text);
/* The rule of the held-out images. */
bool tl_dataset_is_held_out(const char *image_name);

#endif

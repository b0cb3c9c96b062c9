/* boxset.h - images with boxes on disk, as detectors are trained on. Layer: cli. One owner thread.
 *
 * A folder with images/ and labels/. Beside images/a.jpg lies labels/a.txt with one box a line:
 *   CLASS CX CY W H
 * where CLASS counts from 0 and the box's middle and size are shares of the image's width and
 * height; what sticks out of the image is cut off. An image without such a file, or with an empty one, shows nothing. Where images/train is a
 * folder, images/train is learned and images/val judged (labels/train, labels/val likewise);
 * otherwise the rule of tl_dataset_is_held_out decides by the file's name. classes.txt, if it is
 * there, names one class a line; otherwise classes are called by their numbers. */
#ifndef TL_CLI_BOXSET_H
#define TL_CLI_BOXSET_H

#include "learn/detect/box.h"

enum { TL_BOXSET_TRUTHS_MAX = 1024 /* boxes of one image */ };

typedef struct tl_boxset tl_boxset;

/* Whether there are folders images and labels at `path`. */
bool tl_boxset_is_at(const char *path);
/* Reads all labels; images are read when they are asked for, as 1 grey or 3 colour channels. Errors:
 * TL_EINVAL (the text names file and line), TL_ELIMIT, TL_EIO, TL_ENOMEM. */
tl_status tl_boxset_open(const char *path, uint32_t channels, tl_boxset **out, tl_error *err);
void tl_boxset_close(tl_boxset **set); /* NULL-safe; clears *set */

typedef struct tl_boxset_info {
    size_t count, learned, judged; /* images */
    size_t boxes;
    uint32_t class_count;
} tl_boxset_info;
void tl_boxset_describe(const tl_boxset *set, tl_boxset_info *out);
/* Borrowed until the set is closed. */
const char *tl_boxset_class(const tl_boxset *set, uint32_t label);

/* All of one image; borrowed until the next is asked for. */
typedef struct tl_boxset_item {
    const uint8_t *image; /* [height, width, channels] */
    uint32_t height, width;
    tl_truths truths; /* in pixels of it */
} tl_boxset_item;

/* Number `index` of the learned ones, or of the judged ones. Errors: as of tl_file_read and
 * tl_image_decode. */
tl_status tl_boxset_item_at(tl_boxset *set, bool judged, size_t index, tl_boxset_item *out,
                            tl_error *err);

#endif

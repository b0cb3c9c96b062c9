/* items.h - items as networks take them: from a request, or from the journal by position.
 * Layer: loop. A reader belongs to one thread. */
#ifndef TL_LOOP_ITEMS_H
#define TL_LOOP_ITEMS_H

#include "format/image.h"
#include "journal/journal.h"
#include "learn/pixels.h"
#include "loop/config.h"

/* How images of a loop become the network's input. */
tl_pixels_form tl_items_pixels_form(const tl_loop_config *config);

/* Features as networks take them: none beyond +-range. */
void tl_items_clamp(float *features, size_t count, float range);

/* Decode `image` into out [height, width, channels] of `info`, scaled when its size differs.
 * Errors: those of tl_image_decode; TL_ESHAPE (raw image of other channels, or bytes missing). */
tl_status tl_items_decode(tl_image_decoder *decoder, const tl_loop_info *info,
                          const tl_image *image, uint8_t *out, tl_error *err);

/* Pixels of items that were read lately, by position; each has two places where it may be. */
typedef struct tl_item_cache {
    uint64_t *keys;  /* [2 * pair_count]; 0: empty */
    uint8_t *pixels; /* [2 * pair_count, item_bytes] */
    size_t pair_count, item_bytes;
} tl_item_cache;

typedef struct tl_item_reader {
    const tl_loop_config *config; /* borrowed */
    uint32_t loop;
    tl_journal_reader *journal; /* owned */
    tl_image_decoder *decoder;
    tl_arena arena;
    tl_item_cache cache; /* of images only; empty unless asked for */
} tl_item_reader;

tl_status tl_item_reader_open(tl_journal *journal, const tl_loop_config *config, uint32_t loop,
                              tl_item_reader *out, tl_error *err);
/* Keep up to so many bytes of images, for who reads the same ones again and again: replay. Without
 * memory for it nothing is kept. */
void tl_item_reader_keep(tl_item_reader *reader, size_t bytes);
void tl_item_reader_close(tl_item_reader *reader);

/* The item predicted at `position`: image then template into pixels [tl_pixels_item_bytes], or
 * features [feature_count]. TL_ENOTFOUND: pruned. */
tl_status tl_item_fetch(tl_item_reader *reader, uint64_t position, uint8_t *pixels, float *features,
                        tl_error *err);

#endif

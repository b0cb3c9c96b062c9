/* automatic_memory.h - items with a label that nobody gave, apart from what people labelled: a few in
 * each batch, of little weight (review/labels/automatic.h says which). Layer: learn. One owner thread.
 * A function of the calls alone. */
#ifndef TL_LEARN_AUTOMATIC_MEMORY_H
#define TL_LEARN_AUTOMATIC_MEMORY_H

#include "base/blob.h"

enum {
    TL_AUTOMATIC_MEMORY_MAX = 2048,
    TL_AUTOMATIC_PART = 4 /* one of so many in a batch is such an item, at most */
};

typedef struct tl_automatic_item {
    uint64_t key;
    uint32_t label;
} tl_automatic_item;

/* Zeroed: empty. Read freely, change only by the functions below. */
typedef struct tl_automatic_memory {
    tl_automatic_item *items; /* [TL_AUTOMATIC_MEMORY_MAX], oldest first; NULL until the first */
    uint32_t count;
    float weight; /* of each in a batch, 0..1: that of the newest */
} tl_automatic_memory;

/* When it is full the oldest goes; a key that is there is put in anew. TL_ENOMEM. */
tl_status tl_automatic_memory_add(tl_automatic_memory *memory, uint64_t key, uint32_t label,
                                  float weight, tl_error *err);
void tl_automatic_memory_remove(tl_automatic_memory *memory, uint64_t key);
void tl_automatic_memory_clear(tl_automatic_memory *memory); /* and frees */

void tl_automatic_memory_save(const tl_automatic_memory *memory, tl_blob *blob);
/* TL_ECORRUPT (a label not below `class_count`), TL_ENOMEM; *out is then empty. */
tl_status tl_automatic_memory_load(tl_blob_reader *body, uint32_t class_count,
                                   tl_automatic_memory *out, tl_error *err);

#endif

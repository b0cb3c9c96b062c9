/* keymap.h - small hash maps of the loop's state: journal positions to labels, and sets of ids.
 * Layer: loop. One owner thread. What they hold is a function of the calls alone; saved in sorted
 * order, so that equal maps give equal bytes. */
#ifndef TL_LOOP_KEYMAP_H
#define TL_LOOP_KEYMAP_H

#include "base/blob.h"

/* Journal position (> 0) -> 32 bits. */
typedef struct tl_keymap {
    uint64_t *keys; /* 0: free */
    uint32_t *values;
    size_t capacity, count; /* capacity is a power of two, or 0 */
} tl_keymap;

void tl_keymap_destroy(tl_keymap *map);
void tl_keymap_clear(tl_keymap *map); /* keeps the memory */
/* Insert or replace. TL_ENOMEM. */
tl_status tl_keymap_set(tl_keymap *map, uint64_t key, uint32_t value);
bool tl_keymap_get(const tl_keymap *map, uint64_t key, uint32_t *out); /* out may be NULL */
bool tl_keymap_remove(tl_keymap *map, uint64_t key);
/* Copies the keys in ascending order; out [count]. */
void tl_keymap_sorted_keys(const tl_keymap *map, uint64_t *out);
tl_status tl_keymap_save(const tl_keymap *map, tl_blob *blob, tl_error *err);
/* Into an empty map; at most `count_max` entries. TL_ECORRUPT, TL_ENOMEM. */
tl_status tl_keymap_load(tl_keymap *map, tl_blob_reader *reader, size_t count_max, tl_error *err);

/* A bounded set of ids: feedback that waits for its prediction. */
typedef struct tl_idset {
    tl_id *ids; /* all zero: free */
    size_t capacity, count;
} tl_idset;

void tl_idset_destroy(tl_idset *set);
tl_status tl_idset_add(tl_idset *set, tl_id id); /* TL_ENOMEM; TL_OK when it is there already */
bool tl_idset_has(const tl_idset *set, tl_id id);
bool tl_idset_remove(tl_idset *set, tl_id id);
tl_status tl_idset_save(const tl_idset *set, tl_blob *blob, tl_error *err);
tl_status tl_idset_load(tl_idset *set, tl_blob_reader *reader, size_t count_max, tl_error *err);

#endif

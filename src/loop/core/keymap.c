#include "loop/core/keymap.h"

#include "base/id.h"
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 64 };

/* Open addressing with linear probing; at most two thirds full; removal closes the gap, so that no
 * marks of the dead pile up. */

static size_t slot_of_key(const tl_keymap *map, uint64_t key)
{
    size_t slot = tl_mix64(key) & (map->capacity - 1);
    while (map->keys[slot] != 0 && map->keys[slot] != key) slot = (slot + 1) & (map->capacity - 1);
    return slot;
}

void tl_keymap_destroy(tl_keymap *map)
{
    free(map->keys);
    free(map->values);
    *map = (tl_keymap){ 0 };
}

void tl_keymap_clear(tl_keymap *map)
{
    if (map->capacity > 0) memset(map->keys, 0, map->capacity * sizeof *map->keys);
    map->count = 0;
}

static tl_status keymap_grow(tl_keymap *map)
{
    tl_keymap bigger = { .capacity = map->capacity == 0 ? CAPACITY_MIN : map->capacity * 2 };
    bigger.keys = calloc(bigger.capacity, sizeof *bigger.keys);
    bigger.values = calloc(bigger.capacity, sizeof *bigger.values);
    if (bigger.keys == NULL || bigger.values == NULL) {
        tl_keymap_destroy(&bigger);
        return TL_ENOMEM;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->keys[i] == 0) continue;
        size_t slot = slot_of_key(&bigger, map->keys[i]);
        bigger.keys[slot] = map->keys[i];
        bigger.values[slot] = map->values[i];
    }
    bigger.count = map->count;
    tl_keymap_destroy(map);
    *map = bigger;
    return TL_OK;
}

tl_status tl_keymap_set(tl_keymap *map, uint64_t key, uint32_t value)
{
    TL_ASSERT(key != 0);
    if (3 * (map->count + 1) > 2 * map->capacity && keymap_grow(map) != TL_OK) return TL_ENOMEM;
    size_t slot = slot_of_key(map, key);
    if (map->keys[slot] == 0) map->count++;
    map->keys[slot] = key;
    map->values[slot] = value;
    return TL_OK;
}

bool tl_keymap_get(const tl_keymap *map, uint64_t key, uint32_t *out)
{
    if (map->count == 0 || key == 0) return false;
    size_t slot = slot_of_key(map, key);
    if (map->keys[slot] == 0) return false;
    if (out != NULL) *out = map->values[slot];
    return true;
}

bool tl_keymap_remove(tl_keymap *map, uint64_t key)
{
    if (!tl_keymap_get(map, key, NULL)) return false;
    size_t mask = map->capacity - 1;
    size_t hole = slot_of_key(map, key);
    for (size_t next = (hole + 1) & mask; map->keys[next] != 0; next = (next + 1) & mask) {
        size_t home = tl_mix64(map->keys[next]) & mask;
        if (((next - home) & mask) < ((next - hole) & mask))
            continue; /* must not move before home */
        map->keys[hole] = map->keys[next];
        map->values[hole] = map->values[next];
        hole = next;
    }
    map->keys[hole] = 0;
    map->count--;
    return true;
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void tl_keymap_sorted_keys(const tl_keymap *map, uint64_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->keys[i] != 0) out[count++] = map->keys[i];
    if (count > 1) qsort(out, count, sizeof *out, compare_keys);
}

tl_status tl_keymap_save(const tl_keymap *map, tl_blob *blob, tl_error *err)
{
    uint64_t *keys = malloc((map->count + 1) * sizeof *keys);
    if (keys == NULL) return tl_fail(err, TL_ENOMEM, "saving a map of %zu keys", map->count);
    tl_keymap_sorted_keys(map, keys);
    tl_blob_u64(blob, map->count);
    for (size_t i = 0; i < map->count; i++) {
        uint32_t value = 0;
        tl_keymap_get(map, keys[i], &value);
        tl_blob_u64(blob, keys[i]);
        tl_blob_u32(blob, value);
    }
    free(keys);
    return TL_OK;
}

tl_status tl_keymap_load(tl_keymap *map, tl_blob_reader *reader, size_t count_max, tl_error *err)
{
    uint64_t count = tl_blob_read_u64(reader);
    if (count > count_max || count > tl_blob_left(reader) / 12)
        return tl_fail(err, TL_ECORRUPT, "a saved map claims %llu keys", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t key = tl_blob_read_u64(reader);
        uint32_t value = tl_blob_read_u32(reader);
        if (key == 0) return tl_fail(err, TL_ECORRUPT, "a saved map has an empty key");
        if (tl_keymap_set(map, key, value) != TL_OK)
            return tl_fail(err, TL_ENOMEM, "loading a map of %llu keys", (unsigned long long)count);
    }
    return TL_OK;
}

static uint64_t hash_id(tl_id id)
{
    uint64_t half[2];
    memcpy(half, id.bytes, sizeof half);
    return tl_mix64(half[0] ^ tl_mix64(half[1]));
}

static size_t slot_of_id(const tl_idset *set, tl_id id)
{
    size_t slot = hash_id(id) & (set->capacity - 1);
    while (!tl_id_is_none(set->ids[slot]) && tl_id_compare(set->ids[slot], id) != 0)
        slot = (slot + 1) & (set->capacity - 1);
    return slot;
}

void tl_idset_destroy(tl_idset *set)
{
    free(set->ids);
    *set = (tl_idset){ 0 };
}

bool tl_idset_has(const tl_idset *set, tl_id id)
{
    return set->count > 0 && !tl_id_is_none(set->ids[slot_of_id(set, id)]);
}

static tl_status idset_grow(tl_idset *set)
{
    tl_idset bigger = { .capacity = set->capacity == 0 ? CAPACITY_MIN : set->capacity * 2 };
    bigger.ids = calloc(bigger.capacity, sizeof *bigger.ids);
    if (bigger.ids == NULL) return TL_ENOMEM;
    for (size_t i = 0; i < set->capacity; i++)
        if (!tl_id_is_none(set->ids[i])) bigger.ids[slot_of_id(&bigger, set->ids[i])] = set->ids[i];
    bigger.count = set->count;
    free(set->ids);
    *set = bigger;
    return TL_OK;
}

tl_status tl_idset_add(tl_idset *set, tl_id id)
{
    TL_ASSERT(!tl_id_is_none(id));
    if (3 * (set->count + 1) > 2 * set->capacity && idset_grow(set) != TL_OK) return TL_ENOMEM;
    size_t slot = slot_of_id(set, id);
    if (tl_id_is_none(set->ids[slot])) set->count++;
    set->ids[slot] = id;
    return TL_OK;
}

bool tl_idset_remove(tl_idset *set, tl_id id)
{
    if (!tl_idset_has(set, id)) return false;
    size_t mask = set->capacity - 1;
    size_t hole = slot_of_id(set, id);
    for (size_t next = (hole + 1) & mask; !tl_id_is_none(set->ids[next]);
         next = (next + 1) & mask) {
        size_t home = hash_id(set->ids[next]) & mask;
        if (((next - home) & mask) < ((next - hole) & mask)) continue;
        set->ids[hole] = set->ids[next];
        hole = next;
    }
    memset(&set->ids[hole], 0, sizeof set->ids[hole]);
    set->count--;
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    return tl_id_compare(*(const tl_id *)a, *(const tl_id *)b);
}

tl_status tl_idset_save(const tl_idset *set, tl_blob *blob, tl_error *err)
{
    tl_id *ids = malloc((set->count + 1) * sizeof *ids);
    if (ids == NULL) return tl_fail(err, TL_ENOMEM, "saving a set of %zu ids", set->count);
    size_t count = 0;
    for (size_t i = 0; i < set->capacity; i++)
        if (!tl_id_is_none(set->ids[i])) ids[count++] = set->ids[i];
    if (count > 1) qsort(ids, count, sizeof *ids, compare_ids);
    tl_blob_u64(blob, count);
    tl_blob_bytes(blob, ids, count * sizeof *ids);
    free(ids);
    return TL_OK;
}

tl_status tl_idset_load(tl_idset *set, tl_blob_reader *reader, size_t count_max, tl_error *err)
{
    uint64_t count = tl_blob_read_u64(reader);
    if (count > count_max || count > tl_blob_left(reader) / sizeof(tl_id))
        return tl_fail(err, TL_ECORRUPT, "a saved set claims %llu ids", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        const void *bytes = tl_blob_read_bytes(reader, sizeof(tl_id));
        tl_id id;
        memcpy(&id, bytes, sizeof id);
        if (tl_id_is_none(id)) return tl_fail(err, TL_ECORRUPT, "a saved set has an empty id");
        if (tl_idset_add(set, id) != TL_OK)
            return tl_fail(err, TL_ENOMEM, "loading a set of %llu ids", (unsigned long long)count);
    }
    return TL_OK;
}

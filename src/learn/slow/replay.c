#include "learn/slow/replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REPLAY_VERSION = 1, NONE = -1 };

/* Weights of draws by loss are whole numbers, so that sums are exact and a saved memory goes on
 * with the same bits: nats times 2^16. */
static const float WEIGHT_UNIT = 65536.0f;

typedef struct class_list {
    uint32_t *members; /* entry indices */
    uint32_t count, capacity;
} class_list;

struct tl_replay {
    tl_replay_options options;
    tl_replay_entry *entries;
    uint32_t *slot; /* of entry i in its class's list; UINT32_MAX when excluded */
    uint32_t count;
    int32_t *table; /* open addressing, keys to entry indices; NONE: free */
    uint32_t mask;
    uint64_t *tree; /* Fenwick tree over the weights, [tree_size + 1] */
    uint32_t tree_size;
    uint64_t weight; /* sum */
    uint32_t drawable;
    class_list classes[TL_CLASS_COUNT_MAX];
};

tl_replay_options tl_replay_options_default(void)
{
    return (tl_replay_options){ .capacity = 65536,
                                .by_loss = 0.5,
                                .by_loss_min = 32,
                                .ok_share = 0.25,
                                .loss_low = 0.02f,
                                .loss_high = 2.0f,
                                .suspect_loss = 8.0f,
                                .suspect_count = 0 };
}

static tl_status check_options(const tl_replay_options *o, tl_error *err)
{
    if (o->capacity < 1 || o->capacity > 1u << 24)
        return tl_fail(err, TL_EINVAL, "replay capacity %u; use 1 to %u", o->capacity, 1u << 24);
    bool sane = o->by_loss >= 0.0 && o->by_loss <= 1.0 && o->ok_share >= 0.0 &&
                o->ok_share <= 1.0 && o->loss_low > 0.0f && o->loss_low <= o->loss_high &&
                o->loss_high <= 1000.0f && o->suspect_loss >= 0.0f;
    if (!sane) return tl_fail(err, TL_EINVAL, "an option of the replay memory is out of bounds");
    return TL_OK;
}

tl_status tl_replay_create(const tl_replay_options *options, tl_replay **out, tl_error *err)
{
    tl_status status = check_options(options, err);
    if (status != TL_OK) return status;
    tl_replay *replay = calloc(1, sizeof *replay);
    if (replay == NULL) return tl_fail(err, TL_ENOMEM, "replay memory");
    replay->options = *options;
    uint32_t table_size = 4;
    replay->tree_size = 1;
    while (table_size < 2 * options->capacity) table_size *= 2;
    while (replay->tree_size < options->capacity) replay->tree_size *= 2;
    replay->mask = table_size - 1;
    replay->entries = calloc(options->capacity, sizeof *replay->entries);
    replay->slot = calloc(options->capacity, sizeof *replay->slot);
    replay->table = malloc(table_size * sizeof *replay->table);
    replay->tree = calloc((size_t)replay->tree_size + 1, sizeof *replay->tree);
    if (replay->entries == NULL || replay->slot == NULL || replay->table == NULL ||
        replay->tree == NULL) {
        tl_replay_destroy(&replay);
        return tl_fail(err, TL_ENOMEM, "replay memory of %u entries", options->capacity);
    }
    for (uint32_t i = 0; i < table_size; i++) replay->table[i] = NONE;
    *out = replay;
    return TL_OK;
}

void tl_replay_destroy(tl_replay **replay)
{
    if (replay == NULL || *replay == NULL) return;
    for (size_t c = 0; c < TL_CLASS_COUNT_MAX; c++) free((*replay)->classes[c].members);
    free((*replay)->entries);
    free((*replay)->slot);
    free((*replay)->table);
    free((*replay)->tree);
    free(*replay);
    *replay = NULL;
}

/* ---- Keys ------------------------------------------------------------------------------------ */

static uint32_t home(const tl_replay *replay, uint64_t key)
{
    return (uint32_t)tl_mix64(key) & replay->mask;
}

/* Where the key is, or the free place where it would go. */
static uint32_t place(const tl_replay *replay, uint64_t key)
{
    uint32_t at = home(replay, key);
    while (replay->table[at] != NONE && replay->entries[replay->table[at]].key != key)
        at = (at + 1) & replay->mask;
    return at;
}

/* Free a place; later ones of the same run move up, so that no tombstones are needed. */
static void table_remove(tl_replay *replay, uint64_t key)
{
    uint32_t hole = place(replay, key);
    for (uint32_t at = hole;;) {
        at = (at + 1) & replay->mask;
        int32_t index = replay->table[at];
        if (index == NONE) break;
        uint32_t from = home(replay, replay->entries[index].key);
        if (((at - from) & replay->mask) >= ((at - hole) & replay->mask)) {
            replay->table[hole] = index;
            hole = at;
        }
    }
    replay->table[hole] = NONE;
}

/* ---- Weights --------------------------------------------------------------------------------- */

static uint64_t weight_of(const tl_replay *replay, const tl_replay_entry *entry)
{
    const tl_replay_options *o = &replay->options;
    if (entry->excluded) return 0;
    float loss = entry->loss < 0.0f || entry->loss > o->loss_high ? o->loss_high : entry->loss;
    if (loss < o->loss_low) loss = o->loss_low;
    if (o->suspect_count > 0 && entry->suspect >= o->suspect_count) loss = o->loss_low;
    uint64_t weight = (uint64_t)(loss * WEIGHT_UNIT);
    return weight > 0 ? weight : 1;
}

static void tree_add(tl_replay *replay, uint32_t index, uint64_t change)
{
    for (uint32_t i = index + 1; i <= replay->tree_size; i += i & (0 - i))
        replay->tree[i] += change; /* modulo 2^64: subtracting is adding the complement */
    replay->weight += change;
}

/* The entry within whose stretch of the summed weights `at` lies. */
static uint32_t tree_find(const tl_replay *replay, uint64_t at)
{
    uint32_t index = 0;
    for (uint32_t step = replay->tree_size; step > 0; step /= 2) {
        if (index + step > replay->tree_size || replay->tree[index + step] > at) continue;
        index += step;
        at -= replay->tree[index];
    }
    return index;
}

/* ---- Classes --------------------------------------------------------------------------------- */

static bool list_reserve(class_list *list)
{
    if (list->count < list->capacity) return true;
    uint32_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
    uint32_t *members = realloc(list->members, capacity * sizeof *members);
    if (members == NULL) return false;
    list->members = members;
    list->capacity = capacity;
    return true;
}

/* Room was reserved before. */
static void list_add(tl_replay *replay, uint32_t index)
{
    class_list *list = &replay->classes[replay->entries[index].label];
    TL_ASSERT(list->count < list->capacity);
    replay->slot[index] = list->count;
    list->members[list->count++] = index;
    replay->drawable++;
}

static void list_remove(tl_replay *replay, uint32_t index)
{
    class_list *list = &replay->classes[replay->entries[index].label];
    uint32_t slot = replay->slot[index], last = list->members[--list->count];
    list->members[slot] = last;
    replay->slot[last] = slot;
    replay->slot[index] = UINT32_MAX;
    replay->drawable--;
}

/* ---- Changes --------------------------------------------------------------------------------- */

static void remove_at(tl_replay *replay, uint32_t index)
{
    tl_replay_entry *entry = &replay->entries[index];
    table_remove(replay, entry->key);
    tree_add(replay, index, 0 - weight_of(replay, entry));
    if (!entry->excluded) list_remove(replay, index);
    uint32_t last = --replay->count;
    if (index == last) return;
    uint64_t weight = weight_of(replay, &replay->entries[last]);
    tree_add(replay, last, 0 - weight);
    tree_add(replay, index, weight);
    replay->table[place(replay, replay->entries[last].key)] = (int32_t)index;
    *entry = replay->entries[last];
    replay->slot[index] = replay->slot[last];
    if (!entry->excluded) replay->classes[entry->label].members[replay->slot[index]] = index;
}

/* A random entry of the class that has the most; of all entries when none can be drawn. */
static void evict(tl_replay *replay, tl_rng *rng)
{
    const class_list *largest = &replay->classes[0];
    for (size_t c = 1; c < TL_CLASS_COUNT_MAX; c++)
        if (replay->classes[c].count > largest->count) largest = &replay->classes[c];
    if (largest->count > 0)
        remove_at(replay, largest->members[tl_rng_below(rng, largest->count)]);
    else
        remove_at(replay, (uint32_t)tl_rng_below(rng, replay->count));
}

tl_status tl_replay_add(tl_replay *replay, uint64_t key, uint32_t label, tl_rng *rng, tl_error *err)
{
    if (label >= TL_CLASS_COUNT_MAX) return tl_fail(err, TL_EINVAL, "label %u", label);
    if (tl_replay_find(replay, key) != NULL)
        return tl_fail(err, TL_ECONFLICT, "item %llu is remembered already",
                       (unsigned long long)key);
    if (!list_reserve(&replay->classes[label]))
        return tl_fail(err, TL_ENOMEM, "replay memory of class %u", label);
    if (replay->count == replay->options.capacity) evict(replay, rng);
    uint32_t index = replay->count++;
    replay->entries[index] = (tl_replay_entry){ .key = key, .label = label, .loss = -1.0f };
    replay->table[place(replay, key)] = (int32_t)index;
    list_add(replay, index);
    tree_add(replay, index, weight_of(replay, &replay->entries[index]));
    return TL_OK;
}

/* UINT32_MAX: not there. */
static uint32_t find(const tl_replay *replay, uint64_t key)
{
    int32_t index = replay->table[place(replay, key)];
    return index == NONE ? UINT32_MAX : (uint32_t)index;
}

bool tl_replay_remove(tl_replay *replay, uint64_t key)
{
    uint32_t index = find(replay, key);
    if (index == UINT32_MAX) return false;
    remove_at(replay, index);
    return true;
}

static void reweigh(tl_replay *replay, uint32_t index, tl_replay_entry changed)
{
    tree_add(replay, index,
             weight_of(replay, &changed) - weight_of(replay, &replay->entries[index]));
    replay->entries[index] = changed;
}

bool tl_replay_relabel(tl_replay *replay, uint64_t key, uint32_t label)
{
    uint32_t index = find(replay, key);
    if (index == UINT32_MAX || label >= TL_CLASS_COUNT_MAX) return false;
    tl_replay_entry changed = replay->entries[index];
    if (changed.label == label) return true;
    if (!list_reserve(&replay->classes[label])) return false;
    if (!changed.excluded) list_remove(replay, index);
    changed.label = label;
    changed.loss = -1.0f; /* what was known was about the other label */
    changed.suspect = 0;
    reweigh(replay, index, changed);
    if (!changed.excluded) list_add(replay, index);
    return true;
}

bool tl_replay_exclude(tl_replay *replay, uint64_t key, bool excluded)
{
    uint32_t index = find(replay, key);
    if (index == UINT32_MAX) return false;
    tl_replay_entry changed = replay->entries[index];
    if ((changed.excluded != 0) == excluded) return true;
    if (!excluded && !list_reserve(&replay->classes[changed.label])) return false;
    if (excluded) list_remove(replay, index);
    changed.excluded = excluded;
    reweigh(replay, index, changed);
    if (!excluded) list_add(replay, index);
    return true;
}

bool tl_replay_set_loss(tl_replay *replay, uint64_t key, float loss)
{
    uint32_t index = find(replay, key);
    if (index == UINT32_MAX || !(loss >= 0.0f)) return false;
    tl_replay_entry changed = replay->entries[index];
    changed.loss = loss;
    if (!(loss > replay->options.suspect_loss))
        changed.suspect = 0;
    else if (changed.suspect < UINT16_MAX)
        changed.suspect++;
    reweigh(replay, index, changed);
    return true;
}

bool tl_replay_set_note(tl_replay *replay, uint64_t key, uint8_t note)
{
    uint32_t index = find(replay, key);
    if (index == UINT32_MAX) return false;
    replay->entries[index].note = note;
    return true;
}

const tl_replay_entry *tl_replay_find(const tl_replay *replay, uint64_t key)
{
    uint32_t index = find(replay, key);
    return index == UINT32_MAX ? NULL : &replay->entries[index];
}

const tl_replay_entry *tl_replay_at(const tl_replay *replay, size_t index)
{
    TL_ASSERT(index < replay->count);
    return &replay->entries[index];
}

size_t tl_replay_count(const tl_replay *replay)
{
    return replay->count;
}

size_t tl_replay_class_count(const tl_replay *replay, uint32_t label)
{
    return label < TL_CLASS_COUNT_MAX ? replay->classes[label].count : 0;
}

size_t tl_replay_drawable(const tl_replay *replay)
{
    return replay->drawable;
}

size_t tl_replay_bytes(const tl_replay *replay)
{
    size_t bytes = sizeof *replay + ((size_t)replay->mask + 1) * sizeof *replay->table +
                   ((size_t)replay->tree_size + 1) * sizeof *replay->tree +
                   replay->options.capacity * (sizeof *replay->entries + sizeof *replay->slot);
    for (size_t c = 0; c < TL_CLASS_COUNT_MAX; c++)
        bytes += replay->classes[c].capacity * sizeof *replay->classes[c].members;
    return bytes;
}

/* ---- Draws ----------------------------------------------------------------------------------- */

static uint32_t draw_balanced(const tl_replay *replay, tl_rng *rng)
{
    uint32_t others[TL_CLASS_COUNT_MAX], other_count = 0, label = 0;
    for (uint32_t c = 1; c < TL_CLASS_COUNT_MAX; c++)
        if (replay->classes[c].count > 0) others[other_count++] = c;
    bool ok = tl_rng_unit(rng) < replay->options.ok_share && replay->classes[0].count > 0;
    if (!ok && other_count > 0) label = others[tl_rng_below(rng, other_count)];
    const class_list *list = &replay->classes[label];
    return list->members[tl_rng_below(rng, list->count)];
}

size_t tl_replay_sample_mixed(const tl_replay *replay, tl_rng *rng, size_t count, double by_loss,
                              tl_replay_entry *out)
{
    if (replay->drawable == 0) return 0;
    size_t losses = 0;
    if (replay->drawable >= replay->options.by_loss_min) losses = (size_t)((double)count * by_loss);
    for (size_t i = 0; i < count; i++) {
        uint32_t index = i < count - losses ? draw_balanced(replay, rng)
                                            : tree_find(replay, tl_rng_below(rng, replay->weight));
        out[i] = replay->entries[index];
    }
    return count;
}

size_t tl_replay_sample(const tl_replay *replay, tl_rng *rng, size_t count, tl_replay_entry *out)
{
    return tl_replay_sample_mixed(replay, rng, count, replay->options.by_loss, out);
}

/* ---- Saving ---------------------------------------------------------------------------------- */

tl_status tl_replay_save(const tl_replay *replay, tl_blob *blob, tl_error *err)
{
    size_t begin = tl_blob_section_begin(blob, "RPLY", REPLAY_VERSION);
    tl_blob_u32(blob, replay->count);
    for (uint32_t i = 0; i < replay->count; i++) {
        const tl_replay_entry *entry = &replay->entries[i];
        tl_blob_u64(blob, entry->key);
        tl_blob_u32(blob, entry->label);
        tl_blob_f32s(blob, &entry->loss, 1);
        tl_blob_u32(blob,
                    (uint32_t)entry->suspect << 16 | (uint32_t)entry->note << 8 | entry->excluded);
        tl_blob_u32(blob, replay->slot[i]); /* draws depend on the order within a class */
    }
    tl_blob_section_end(blob, begin);
    if (!tl_blob_ok(blob)) return tl_fail(err, TL_ENOMEM, "saving the replay memory");
    return TL_OK;
}

/* False when the entry cannot be. Excluded entries have no slot. */
static bool read_entry(tl_blob_reader *body, tl_replay *replay)
{
    uint32_t index = replay->count;
    tl_replay_entry *entry = &replay->entries[index];
    *entry = (tl_replay_entry){ .key = tl_blob_read_u64(body) };
    entry->label = tl_blob_read_u32(body);
    tl_blob_read_f32s(body, &entry->loss, 1);
    uint32_t bits = tl_blob_read_u32(body);
    entry->excluded = bits & 1;
    entry->note = (uint8_t)(bits >> 8);
    entry->suspect = (uint16_t)(bits >> 16);
    replay->slot[index] = tl_blob_read_u32(body);
    if (body->failed || entry->label >= TL_CLASS_COUNT_MAX || (bits & 0xfe) != 0 ||
        isnan(entry->loss) || (entry->excluded != 0) != (replay->slot[index] == UINT32_MAX) ||
        find(replay, entry->key) != UINT32_MAX)
        return false;
    replay->table[place(replay, entry->key)] = (int32_t)index;
    replay->count++;
    tree_add(replay, index, weight_of(replay, entry));
    return true;
}

/* Class lists from the slots, which must be 0..count-1 of each class, each once. */
static tl_status restore_lists(tl_replay *replay, tl_error *err)
{
    uint32_t counts[TL_CLASS_COUNT_MAX] = { 0 };
    for (uint32_t i = 0; i < replay->count; i++)
        if (!replay->entries[i].excluded) counts[replay->entries[i].label]++;
    for (size_t c = 0; c < TL_CLASS_COUNT_MAX; c++) {
        class_list *list = &replay->classes[c];
        if (counts[c] == 0) continue;
        list->members = malloc(counts[c] * sizeof *list->members);
        if (list->members == NULL) return tl_fail(err, TL_ENOMEM, "loading the replay memory");
        list->count = list->capacity = counts[c];
        for (uint32_t i = 0; i < counts[c]; i++) list->members[i] = UINT32_MAX;
    }
    for (uint32_t i = 0; i < replay->count; i++) {
        if (replay->entries[i].excluded) continue;
        class_list *list = &replay->classes[replay->entries[i].label];
        uint32_t slot = replay->slot[i];
        if (slot >= list->count || list->members[slot] != UINT32_MAX)
            return tl_fail(err, TL_ECORRUPT, "a saved replay memory contradicts itself");
        list->members[slot] = i;
        replay->drawable++;
    }
    return TL_OK;
}

tl_status tl_replay_load(tl_blob_reader *reader, const tl_replay_options *options, tl_replay **out,
                         tl_error *err)
{
    tl_blob_reader at = *reader, body;
    tl_status status = tl_blob_read_section(&at, "RPLY", REPLAY_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    uint32_t count = tl_blob_read_u32(&body);
    if (body.failed || count > options->capacity)
        return tl_fail(err, TL_ECORRUPT, "a saved replay memory has %u entries, room is for %u",
                       count, options->capacity);
    tl_replay *replay = NULL;
    status = tl_replay_create(options, &replay, err);
    if (status != TL_OK) return status;
    bool sane = true;
    for (uint32_t i = 0; i < count && sane; i++) sane = read_entry(&body, replay);
    if (!sane) status = tl_fail(err, TL_ECORRUPT, "a saved replay memory has an impossible entry");
    if (status == TL_OK) status = tl_blob_read_end(&body, "replay memory", err);
    if (status == TL_OK) status = restore_lists(replay, err);
    if (status != TL_OK) {
        tl_replay_destroy(&replay);
        return status;
    }
    *out = replay;
    *reader = at;
    return TL_OK;
}

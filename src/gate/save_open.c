/* save_open.c - items and units that are not bet yet, as bytes. */
#include <stdlib.h>

#include "gate/reading.h"

static void save_unit(const tl_open_unit *unit, tl_blob *blob)
{
    tl_blob_u64(blob, unit->key);
    tl_blob_u64(blob, unit->site);
    tl_blob_u64(blob, unit->first);
    tl_blob_u64(blob, unit->last);
    tl_blob_u64(blob, unit->last_number);
    tl_blob_u64(blob, (uint64_t)unit->last_us);
    tl_blob_u32(blob, unit->items);
    tl_blob_f64(blob, unit->propensity);
    tl_blob_u8(blob, unit->over);
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++) {
        tl_blob_u32(blob, unit->share[k].items);
        tl_blob_u32(blob, unit->share[k].hidden_flagged);
        tl_blob_u32(blob, unit->share[k].hidden_passed);
        tl_blob_f64(blob, unit->share[k].weight);
    }
}

static void load_unit(tl_open_unit *unit, tl_blob_reader *reader)
{
    unit->key = tl_blob_read_u64(reader);
    unit->site = tl_blob_read_u64(reader);
    unit->first = tl_blob_read_u64(reader);
    unit->last = tl_blob_read_u64(reader);
    unit->last_number = tl_blob_read_u64(reader);
    unit->last_us = read_time(reader);
    unit->items = tl_blob_read_u32(reader);
    unit->propensity = read_in(reader, TL_GATE_PROPENSITY_MIN, 1);
    unit->over = read_flag(reader);
    if (unit->items == 0 || (unit->key == 0 && !unit->over)) reader->failed = true;
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++) {
        unit->share[k].items = tl_blob_read_u32(reader);
        unit->share[k].hidden_flagged = tl_blob_read_u32(reader);
        unit->share[k].hidden_passed = tl_blob_read_u32(reader);
        unit->share[k].weight = read_in(reader, 0, 1e12);
    }
}

/* The index that every open unit gets: its place in the order. */
static void save_units(const tl_open *open, uint32_t *place, tl_blob *blob)
{
    uint32_t count = 0;
    tl_blob_u32(blob, (uint32_t)open->unit_count);
    for (uint32_t i = open->first; i != TL_GATE_NONE; i = open->units[i].after) {
        place[i] = count++;
        save_unit(&open->units[i], blob);
    }
    uint32_t growing = 0;
    for (uint32_t i = open->oldest; i != TL_GATE_NONE; i = open->units[i].newer) growing++;
    tl_blob_u32(blob, growing);
    for (uint32_t i = open->oldest; i != TL_GATE_NONE; i = open->units[i].newer)
        tl_blob_u32(blob, place[i]);
}

static void save_items(const tl_open *open, const uint32_t *place, tl_blob *blob)
{
    tl_blob_u64(blob, open->item_begin);
    tl_blob_u64(blob, open->item_end);
    for (uint64_t n = open->item_begin; n < open->item_end; n++) {
        const tl_open_item *item = tl_open_item_at(open, n);
        tl_blob_u64(blob, item->position);
        tl_blob_u64(blob, item->source);
        tl_blob_f64(blob, item->weight);
        tl_blob_u32(blob, item->done ? TL_GATE_NONE : place[item->unit]);
        tl_blob_u8(blob, item->answer);
        tl_blob_u8(blob, item->flagged);
        tl_blob_u8(blob, item->calls);
        tl_blob_u8(blob, item->calls_flagged);
    }
}

void tl_open_save(const tl_open *open, tl_blob *blob)
{
    uint32_t *place = malloc((open->unit_capacity + 1) * sizeof *place);
    if (place == NULL) {
        blob->failed = true;
        return;
    }
    tl_blob_u64(blob, open->number);
    tl_blob_u64(blob, open->position);
    tl_blob_u64(blob, (uint64_t)open->now_us);
    tl_blob_u64(blob, (uint64_t)open->start_us);
    tl_blob_u64s(blob, open->late, TL_GATE_LATE_SLOTS);
    for (size_t i = 0; i < TL_GATE_LATE_SLOTS; i++) tl_blob_u64(blob, (uint64_t)open->late_us[i]);
    save_units(open, place, blob);
    save_items(open, place, blob);
    free(place);
}

/* Units in their order take the indices 0, 1, ... */
static tl_status load_units(tl_open *open, tl_blob_reader *reader, tl_error *err)
{
    uint32_t count = tl_blob_read_u32(reader);
    if (reader->failed || count > TL_GATE_OPEN_MAX)
        return tl_fail(err, TL_ECORRUPT, "saved gate has too many open units");
    tl_status status = tl_open_reserve(open, 0, count, err);
    if (status != TL_OK) return status;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = tl_open_unit_new(open);
        load_unit(&open->units[index], reader);
    }
    uint32_t growing = tl_blob_read_u32(reader), expected = 0;
    for (uint32_t i = 0; i < count; i++) expected += !open->units[i].over;
    if (reader->failed || growing != expected)
        return tl_fail(err, TL_ECORRUPT, "saved gate is inconsistent about its open units");
    for (uint32_t i = 0; i < growing; i++) {
        uint32_t index = tl_blob_read_u32(reader);
        bool fresh = index < count && !open->units[index].over &&
                     open->units[index].newer == TL_GATE_NONE &&
                     open->units[index].older == TL_GATE_NONE && open->newest != index;
        if (!fresh) return tl_fail(err, TL_ECORRUPT, "saved gate lists an open unit wrongly");
        tl_open_growing_add(open, index);
    }
    return TL_OK;
}

static void load_item(tl_open *open, tl_blob_reader *reader, uint64_t number)
{
    tl_open_item *item = tl_open_item_at(open, number);
    *item = (tl_open_item){ .position = tl_blob_read_u64(reader) };
    item->source = tl_blob_read_u64(reader);
    item->weight = read_in(reader, 1, 1 / TL_GATE_PROPENSITY_MIN * (1 + 1e-9));
    item->unit = tl_blob_read_u32(reader);
    item->answer = tl_blob_read_u8(reader);
    item->flagged = read_flag(reader);
    item->calls = tl_blob_read_u8(reader);
    item->calls_flagged = tl_blob_read_u8(reader);
    item->done = item->unit == TL_GATE_NONE;
    bool ordered =
        number == open->item_begin || item->position > tl_open_item_at(open, number - 1)->position;
    if (!ordered || item->answer > TL_ANSWER_DEFECT || item->calls >> TL_GATE_SHADOW_MAX ||
        (item->calls_flagged & ~item->calls) || (!item->done && item->unit >= open->unit_count))
        reader->failed = true;
    if (item->done || reader->failed) return;
    tl_open_unit *unit = &open->units[item->unit];
    if (unit->item_last != 0)
        tl_open_item_at(open, unit->item_last)->next = number;
    else
        unit->item_first = number;
    unit->item_last = number;
    unit->open += item->answer == TL_ANSWER_NONE;
}

/* What a unit can lose is computed from its weights: its items must not bring more. */
static bool weights_agree(const tl_open *open)
{
    for (uint32_t i = 0; i < open->unit_count; i++) {
        const tl_open_unit *unit = &open->units[i];
        double weight[TL_GATE_SHADOW_MAX] = { 0 };
        for (uint64_t n = unit->item_first; n != 0; n = tl_open_item_at(open, n)->next)
            for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++)
                if (tl_open_disagrees(tl_open_item_at(open, n), k))
                    weight[k] += tl_open_item_at(open, n)->weight;
        for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++)
            if (weight[k] > unit->share[k].weight * (1 + 1e-9)) return false;
    }
    return true;
}

tl_status tl_open_load(tl_open *open, tl_blob_reader *reader, tl_error *err)
{
    open->number = tl_blob_read_u64(reader);
    open->position = tl_blob_read_u64(reader);
    open->now_us = read_time(reader);
    open->start_us = read_time(reader);
    tl_blob_read_u64s(reader, open->late, TL_GATE_LATE_SLOTS);
    for (size_t i = 0; i < TL_GATE_LATE_SLOTS; i++) open->late_us[i] = read_time(reader);
    tl_status status = load_units(open, reader, err);
    if (status != TL_OK) return status;
    open->item_begin = tl_blob_read_u64(reader);
    open->item_end = tl_blob_read_u64(reader);
    bool sound = !reader->failed && open->item_begin >= 1 && open->item_end >= open->item_begin &&
                 open->item_end - open->item_begin <= TL_GATE_OPEN_MAX;
    if (!sound) return tl_fail(err, TL_ECORRUPT, "saved gate has open items out of range");
    uint64_t end = open->item_end;
    open->item_end = open->item_begin; /* nothing to be moved */
    status = tl_open_reserve(open, (size_t)(end - open->item_begin), 0, err);
    open->item_end = end;
    for (uint64_t n = open->item_begin; status == TL_OK && n < end && !reader->failed; n++)
        load_item(open, reader, n);
    if (status == TL_OK && !reader->failed && !weights_agree(open))
        status = tl_fail(err, TL_ECORRUPT, "saved gate has items that their units do not count");
    return status;
}

/* open.c - room for items and units that are not bet yet, and their lists. */
#include <stdlib.h>
#include <string.h>

#include "gate/internal.h"

void tl_open_init(tl_open *open)
{
    *open = (tl_open){ .item_begin = 1,
                       .item_end = 1,
                       .unused = TL_GATE_NONE,
                       .first = TL_GATE_NONE,
                       .last = TL_GATE_NONE,
                       .newest = TL_GATE_NONE,
                       .oldest = TL_GATE_NONE };
}

void tl_open_destroy(tl_open *open)
{
    free(open->items);
    free(open->units);
    open->items = NULL;
    open->units = NULL;
}

tl_open_item *tl_open_item_at(const tl_open *open, uint64_t number)
{
    return &open->items[number & (open->item_capacity - 1)];
}

/* ---- Room ------------------------------------------------------------------------------------ */

static tl_status grow_items(tl_open *open, tl_error *err)
{
    size_t capacity = open->item_capacity == 0 ? 64 : 2 * open->item_capacity;
    tl_open_item *items = malloc(capacity * sizeof *items);
    if (items == NULL) return tl_fail(err, TL_ENOMEM, "open items of the gate");
    for (uint64_t n = open->item_begin; n < open->item_end; n++)
        items[n & (capacity - 1)] = *tl_open_item_at(open, n);
    free(open->items);
    open->items = items;
    open->item_capacity = capacity;
    return TL_OK;
}

static tl_status grow_units(tl_open *open, size_t wanted, tl_error *err)
{
    size_t capacity = open->unit_capacity == 0 ? 128 : 2 * open->unit_capacity;
    while (capacity < wanted) capacity *= 2;
    tl_open_unit *units = realloc(open->units, capacity * sizeof *units);
    if (units == NULL) return tl_fail(err, TL_ENOMEM, "open units of the gate");
    for (size_t i = capacity; i-- > open->unit_capacity;) {
        units[i].after = open->unused;
        open->unused = (uint32_t)i;
    }
    open->units = units;
    open->unit_capacity = capacity;
    return TL_OK;
}

tl_status tl_open_reserve(tl_open *open, size_t items, size_t units, tl_error *err)
{
    tl_status status = TL_OK;
    while (status == TL_OK && open->item_end - open->item_begin + items > open->item_capacity)
        status = grow_items(open, err);
    if (status == TL_OK && open->unit_count + units > open->unit_capacity)
        status = grow_units(open, open->unit_count + units, err);
    return status;
}

/* ---- Lists ----------------------------------------------------------------------------------- */

uint32_t tl_open_unit_new(tl_open *open)
{
    uint32_t index = open->unused;
    tl_open_unit *unit = &open->units[index];
    open->unused = unit->after;
    open->unit_count++;
    *unit = (tl_open_unit){ .before = open->last,
                            .after = TL_GATE_NONE,
                            .newer = TL_GATE_NONE,
                            .older = TL_GATE_NONE,
                            .propensity = 1 };
    if (open->last != TL_GATE_NONE)
        open->units[open->last].after = index;
    else
        open->first = index;
    open->last = index;
    return index;
}

void tl_open_growing_remove(tl_open *open, uint32_t index)
{
    tl_open_unit *unit = &open->units[index];
    if (unit->newer != TL_GATE_NONE)
        open->units[unit->newer].older = unit->older;
    else
        open->newest = unit->older;
    if (unit->older != TL_GATE_NONE)
        open->units[unit->older].newer = unit->newer;
    else
        open->oldest = unit->newer;
    unit->newer = unit->older = TL_GATE_NONE;
}

void tl_open_growing_add(tl_open *open, uint32_t index)
{
    tl_open_unit *unit = &open->units[index];
    unit->older = open->newest;
    unit->newer = TL_GATE_NONE;
    if (open->newest != TL_GATE_NONE)
        open->units[open->newest].newer = index;
    else
        open->oldest = index;
    open->newest = index;
}

/* A unit that was bet or dropped: its items go, as far as nothing before them is open. */
void tl_open_unit_free(tl_open *open, uint32_t index)
{
    tl_open_unit *unit = &open->units[index];
    for (uint64_t n = unit->item_first; n != 0;) {
        tl_open_item *item = tl_open_item_at(open, n);
        item->done = true;
        n = item->next;
    }
    while (open->item_begin < open->item_end && tl_open_item_at(open, open->item_begin)->done)
        open->item_begin++;
    if (unit->before != TL_GATE_NONE)
        open->units[unit->before].after = unit->after;
    else
        open->first = unit->after;
    if (unit->after != TL_GATE_NONE)
        open->units[unit->after].before = unit->before;
    else
        open->last = unit->before;
    unit->after = open->unused;
    open->unused = index;
    open->unit_count--;
}

size_t tl_open_late_slot(uint64_t key)
{
    uint64_t mixed = key * 0x9e3779b97f4a7c15u;
    return (mixed >> 32) % TL_GATE_LATE_SLOTS;
}

void tl_open_note_over(tl_open *open, uint64_t key)
{
    size_t slot = tl_open_late_slot(key);
    open->late[slot] = key;
    open->late_us[slot] = open->now_us;
}

void tl_open_clear(tl_open *open)
{
    while (open->first != TL_GATE_NONE) {
        uint32_t index = open->first;
        tl_open_unit *unit = &open->units[index];
        if (!unit->over) tl_open_growing_remove(open, index);
        if (unit->key != 0) tl_open_note_over(open, unit->key);
        tl_open_unit_free(open, index);
    }
}

void tl_open_forget(tl_open *open, unsigned slot)
{
    uint8_t keep = (uint8_t) ~(1u << slot);
    for (uint64_t n = open->item_begin; n < open->item_end; n++) {
        tl_open_item_at(open, n)->calls &= keep;
        tl_open_item_at(open, n)->calls_flagged &= keep;
    }
    for (uint32_t i = open->first; i != TL_GATE_NONE; i = open->units[i].after)
        open->units[i].share[slot] = (tl_open_share){ 0 };
}

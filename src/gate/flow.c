/* flow.c - items and labels as they come, and when a unit can be bet. */
#include "gate/internal.h"

/* A unit without a new item for so long is over, boards and lots; and one of the same name is another
 * one when so much time has passed since. */
static const int64_t QUIET_US = 5 * 1000000ll, LOT_QUIET_US = 3600 * 1000000ll;
static const int64_t LATE_US = 600 * 1000000ll, LOT_LATE_US = 86400 * 1000000ll;

/* ---- The watermark --------------------------------------------------------------------------- */

static bool is_late(const tl_gate *gate, uint64_t key)
{
    const tl_open *open = &gate->open;
    size_t slot = tl_open_late_slot(key);
    int64_t late_us = gate->policy.unit == TL_GATE_UNIT_LOT ? LOT_LATE_US : LATE_US;
    return open->late[slot] == key && open->now_us - open->late_us[slot] <= late_us;
}

/* Nothing in it depends on a label, so it need not wait for the units before it. Its factors are at
 * most 1 and known: taking them early only lowers the evidence meanwhile. */
static bool says_nothing(const tl_open_unit *unit)
{
    if (unit->item_first != 0) return false;
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++) {
        const tl_open_share *share = &unit->share[k];
        if (share->weight > 0 || share->hidden_flagged + share->hidden_passed > 0) return false;
    }
    return true;
}

static void unit_over(tl_gate *gate, uint32_t index)
{
    tl_open *open = &gate->open;
    tl_open_unit *unit = &open->units[index];
    unit->over = true;
    if (unit->key != 0) {
        tl_open_growing_remove(open, index);
        tl_open_note_over(open, unit->key);
    }
    if (!says_nothing(unit)) return;
    tl_gate_bet(gate, unit);
    tl_open_unit_free(open, index);
}

static void end_quiet_units(tl_gate *gate)
{
    tl_open *open = &gate->open;
    int64_t quiet_us = gate->policy.unit == TL_GATE_UNIT_LOT ? LOT_QUIET_US : QUIET_US;
    while (open->oldest != TL_GATE_NONE) {
        const tl_open_unit *unit = &open->units[open->oldest];
        if (open->number - unit->last_number <= TL_GATE_UNIT_FOLLOWED &&
            open->now_us - unit->last_us <= quiet_us)
            return;
        unit_over(gate, open->oldest);
    }
}

/* Bet, from the first unit on, what is over and answered or timed out. */
static void settle(tl_gate *gate)
{
    tl_open *open = &gate->open;
    while (open->first != TL_GATE_NONE) {
        uint32_t index = open->first;
        const tl_open_unit *unit = &open->units[index];
        bool timed_out = open->now_us - unit->last_us >= gate->policy.timeout_us;
        if (!unit->over || (unit->open > 0 && !timed_out)) return;
        tl_gate_bet(gate, unit);
        tl_open_unit_free(open, index);
    }
}

/* The oldest unit is timed out, so that something new has room. */
static void force_oldest(tl_gate *gate)
{
    tl_open *open = &gate->open;
    uint32_t index = open->first;
    gate->forced_units++;
    if (!open->units[index].over) {
        size_t before = open->unit_count;
        unit_over(gate, index);
        if (open->unit_count < before) return;
    }
    tl_gate_bet(gate, &open->units[index]);
    tl_open_unit_free(open, index);
    settle(gate);
}

/* ---- Items ----------------------------------------------------------------------------------- */

static uint32_t find_growing(const tl_open *open, uint64_t key)
{
    uint32_t index = open->newest;
    while (index != TL_GATE_NONE && open->units[index].key != key) index = open->units[index].older;
    return index;
}

static int slot_of(const tl_gate *gate, uint64_t version)
{
    for (int k = 0; k < TL_GATE_SHADOW_MAX; k++)
        if (tl_shadow_used(&gate->shadow[k]) && gate->shadow[k].version == version) return k;
    return -1;
}

/* Add a call of a shadow to its share; returns whether a drawn item of it has to be kept. */
static bool add_call(tl_open_share *share, const tl_gate_item *item, bool flagged)
{
    share->items++;
    if (flagged == item->flagged) return false;
    if (item->propensity >= TL_GATE_PROPENSITY_MIN) {
        share->weight += 1 / item->propensity;
        return item->drawn;
    }
    if (flagged)
        share->hidden_flagged++;
    else
        share->hidden_passed++;
    return false;
}

static void keep_item(tl_open *open, uint32_t index, const tl_gate_item *item, uint8_t calls,
                      uint8_t calls_flagged)
{
    tl_open_unit *unit = &open->units[index];
    uint64_t number = open->item_end++;
    *tl_open_item_at(open, number) = (tl_open_item){ .position = item->position,
                                                     .weight = 1 / item->propensity,
                                                     .unit = index,
                                                     .flagged = item->flagged,
                                                     .calls = calls,
                                                     .calls_flagged = calls_flagged };
    if (unit->item_last != 0)
        tl_open_item_at(open, unit->item_last)->next = number;
    else
        unit->item_first = number;
    unit->item_last = number;
    unit->open++;
}

static void add_to_unit(tl_gate *gate, uint32_t index, const tl_gate_item *item)
{
    tl_open_unit *unit = &gate->open.units[index];
    if (unit->items++ == 0) {
        unit->first = item->position;
        unit->site = item->site;
    }
    unit->last = item->position;
    unit->last_number = gate->open.number;
    unit->last_us = gate->open.now_us;
    bool can_be_drawn = item->propensity >= TL_GATE_PROPENSITY_MIN;
    if (can_be_drawn && item->propensity < unit->propensity) unit->propensity = item->propensity;
    uint8_t calls = 0, calls_flagged = 0;
    bool keep = can_be_drawn && item->drawn && gate->policy.promised_error > 0;
    for (size_t i = 0; i < item->shadow_count; i++) {
        int slot = slot_of(gate, item->shadow[i].version);
        if (slot < 0 || unit->first <= gate->shadow[slot].position) continue;
        if (add_call(&unit->share[slot], item, item->shadow[i].flagged)) keep = true;
        calls |= (uint8_t)(1u << slot);
        if (item->shadow[i].flagged) calls_flagged |= (uint8_t)(1u << slot);
    }
    if (keep) keep_item(&gate->open, index, item, calls, calls_flagged);
}

static tl_status check_item(const tl_gate *gate, const tl_gate_item *item, tl_error *err)
{
    if (item->position <= gate->open.position)
        return tl_fail(err, TL_EINVAL, "item %llu for the gate comes after item %llu",
                       (unsigned long long)item->position, (unsigned long long)gate->open.position);
    if (item->time_us < 0 || item->time_us > TL_GATE_TIME_MAX_US)
        return tl_fail(err, TL_EINVAL, "time of item %llu is out of range",
                       (unsigned long long)item->position);
    if (!(item->propensity >= 0 && item->propensity <= 1) || (item->drawn && item->propensity == 0))
        return tl_fail(err, TL_EINVAL, "propensity %g of item %llu is no probability of its draw",
                       item->propensity, (unsigned long long)item->position);
    if (item->shadow_count > TL_GATE_SHADOW_MAX)
        return tl_fail(err, TL_EINVAL, "item %llu has calls of %zu shadows, at most %d can be",
                       (unsigned long long)item->position, item->shadow_count, TL_GATE_SHADOW_MAX);
    return TL_OK;
}

tl_status tl_gate_item_add(tl_gate *gate, const tl_gate_item *item, tl_error *err)
{
    tl_open *open = &gate->open;
    tl_status status = check_item(gate, item, err);
    if (status != TL_OK) return status;
    while (open->item_end - open->item_begin >= TL_GATE_OPEN_MAX ||
           open->unit_count >= TL_GATE_OPEN_MAX)
        force_oldest(gate);
    status = tl_open_reserve(open, 1, 1, err);
    if (status != TL_OK) return status;
    if (open->number++ == 0) open->start_us = open->now_us = item->time_us;
    if (item->time_us > open->now_us) open->now_us = item->time_us;
    open->position = item->position;
    end_quiet_units(gate);
    uint32_t index = item->unit == 0 ? TL_GATE_NONE : find_growing(open, item->unit);
    if (item->unit != 0 && index == TL_GATE_NONE && is_late(gate, item->unit)) {
        gate->late_items++;
    } else {
        bool is_new = index == TL_GATE_NONE;
        if (is_new)
            index = tl_open_unit_new(open);
        else
            tl_open_growing_remove(open, index);
        open->units[index].key = item->unit;
        add_to_unit(gate, index, item);
        if (item->unit != 0)
            tl_open_growing_add(open, index);
        else
            unit_over(gate, index);
    }
    settle(gate);
    return TL_OK;
}

/* ---- Labels ---------------------------------------------------------------------------------- */

static tl_open_item *find_item(const tl_open *open, uint64_t position)
{
    uint64_t low = open->item_begin, high = open->item_end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (tl_open_item_at(open, middle)->position < position)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == open->item_end) return NULL;
    tl_open_item *item = tl_open_item_at(open, low);
    return item->position == position && !item->done ? item : NULL;
}

static void take_answer(tl_gate *gate, tl_open_item *item)
{
    if (item->answer == TL_ANSWER_NONE) return;
    item->answer = TL_ANSWER_NONE;
    gate->open.units[item->unit].open++;
    if (gate->policy.hostile == 0) return;
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++)
        if (tl_open_disagrees(item, k))
            tl_sources_give_back(&gate->shadow[k].arrived, item->source, item->weight);
}

/* False: a source over its cap. Then the item stays open for another one. */
static bool within_cap(tl_gate *gate, const tl_open_item *item, uint64_t source)
{
    bool room = true;
    double hostile = gate->policy.hostile;
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++) {
        tl_shadow *shadow = &gate->shadow[k];
        if (!tl_open_disagrees(item, k) ||
            tl_sources_has_room(&shadow->arrived, source, item->weight, hostile))
            continue;
        shadow->over_cap++;
        room = false;
    }
    for (unsigned k = 0; room && k < TL_GATE_SHADOW_MAX; k++)
        if (tl_open_disagrees(item, k))
            tl_sources_take(&gate->shadow[k].arrived, source, item->weight, hostile);
    return room;
}

bool tl_gate_label(tl_gate *gate, uint64_t position, bool defect, uint64_t source)
{
    tl_open_item *item = find_item(&gate->open, position);
    if (item == NULL) {
        gate->unused_labels++;
        return false;
    }
    take_answer(gate, item);
    if (gate->policy.hostile > 0 && !within_cap(gate, item, source)) return false;
    item->answer = defect ? TL_ANSWER_DEFECT : TL_ANSWER_GOOD;
    item->source = source;
    gate->open.units[item->unit].open--;
    settle(gate);
    return true;
}

void tl_gate_unlabel(tl_gate *gate, uint64_t position)
{
    tl_open_item *item = find_item(&gate->open, position);
    if (item != NULL) take_answer(gate, item);
}

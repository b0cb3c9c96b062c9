/* What is known from review, in a checkpoint. */
#include "loop/core/internal.h"

static void save_zone_units(const tl_core_review *review, tl_blob *blob)
{
    tl_blob_u32(blob, (uint32_t)review->unit_count);
    for (size_t i = 0; i < review->unit_count; i++) {
        const tl_zone_unit *unit = &review->units[i];
        tl_blob_u64(blob, unit->key);
        tl_blob_u32(blob, (uint32_t)unit->count);
        for (size_t k = 0; k < unit->count; k++) {
            tl_blob_f64(blob, unit->items[k].score);
            tl_blob_u8(blob, unit->items[k].answered);
            tl_blob_u8(blob, unit->items[k].defect);
            tl_blob_f64(blob, unit->items[k].propensity);
            tl_blob_f64(blob, unit->items[k].propensity_min);
        }
    }
}

tl_status tl_core_review_save(const tl_core *core, tl_blob *blob, tl_error *err)
{
    const tl_core_review *review = &core->review;
    const uint64_t counters[] = { review->since, review->warm, review->drift_alarms,
                                  review->drift_left, review->drawn_count };
    tl_blob_u64s(blob, counters, TL_COUNT_OF(counters));
    tl_selective_save(&review->estimates, blob);
    tl_zones_save(review->zones, blob);
    save_zone_units(review, blob);
    for (size_t i = 0; i < TL_ZONE_UNIT_MAX; i++) {
        tl_blob_u64(blob, review->sizes[i].key);
        tl_blob_u32(blob, review->sizes[i].items);
    }
    tl_blob_u32(blob, review->size_at);
    tl_blob_u32(blob, review->largest);
    tl_conformal_save(&review->drift, blob);
    tl_suspects_save(&review->suspects, blob);
    tl_calibrator_save(&review->calibrator, blob);
    tl_review_check_save(review->check, blob);
    for (size_t i = 0; i < review->drawn_count; i++) {
        const tl_drawn *drawn = tl_drawn_at(review, i);
        tl_blob_u64(blob, drawn->key);
        tl_blob_u64(blob, (uint64_t)drawn->time_us);
        tl_blob_u64(blob, drawn->unit);
        tl_blob_u64(blob, drawn->subject);
        tl_blob_u64(blob, drawn->person);
        tl_blob_f32s(blob, &drawn->score, 1);
        tl_blob_f32s(blob, &drawn->propensity, 1);
        tl_blob_u8(blob, drawn->reason);
        tl_blob_u8(blob, drawn->call);
        tl_blob_u8(blob, (uint8_t)(drawn->flagged | drawn->answered << 1 | drawn->blind << 2 |
                                   drawn->disputed << 3 | drawn->by_another << 4));
    }
    tl_core_automatic_save(core, blob);
    tl_again_save(core->again, blob);
    return tl_keymap_save(&review->counted, blob, err);
}

static tl_status load_zone_units(tl_core_review *review, tl_blob_reader *body, tl_error *err)
{
    review->unit_count = tl_blob_read_u32(body);
    bool sound = review->unit_count <= TL_ZONE_UNIT_MAX;
    for (size_t i = 0; sound && i < review->unit_count; i++) {
        tl_zone_unit *unit = &review->units[i];
        unit->key = tl_blob_read_u64(body);
        unit->count = tl_blob_read_u32(body);
        sound = unit->count <= TL_ZONE_ITEM_MAX;
        for (size_t k = 0; sound && k < unit->count; k++) {
            tl_zones_item *item = &unit->items[k];
            *item = (tl_zones_item){ .score = tl_blob_read_f64(body), .drawn = true };
            item->answered = tl_blob_read_u8(body) != 0;
            item->defect = tl_blob_read_u8(body) != 0;
            item->propensity = tl_blob_read_f64(body);
            item->propensity_min = tl_blob_read_f64(body);
        }
    }
    if (!sound) review->unit_count = 0;
    return sound ? TL_OK : tl_fail(err, TL_ECORRUPT, "a checkpoint has damaged units of review");
}

static tl_status load_drawn(tl_core_review *review, uint64_t count, tl_blob_reader *body,
                            tl_error *err)
{
    if (count > TL_DRAWN_MAX)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint has %llu open reviews",
                       (unsigned long long)count);
    review->drawn_begin = 0;
    review->drawn_count = (size_t)count;
    for (size_t i = 0; i < review->drawn_count; i++) {
        tl_drawn *drawn = &review->drawn[i];
        drawn->key = tl_blob_read_u64(body);
        drawn->time_us = (int64_t)tl_blob_read_u64(body);
        drawn->unit = tl_blob_read_u64(body);
        drawn->subject = tl_blob_read_u64(body);
        drawn->person = tl_blob_read_u64(body);
        tl_blob_read_f32s(body, &drawn->score, 1);
        tl_blob_read_f32s(body, &drawn->propensity, 1);
        uint8_t reason = tl_blob_read_u8(body), call = tl_blob_read_u8(body);
        uint8_t bits = tl_blob_read_u8(body);
        drawn->reason = (uint8_t)tl_review_logged_rule(reason);
        drawn->call = call <= TL_REVIEW_CALL_MAX ? call : 0;
        drawn->flagged = (bits & 1) != 0;
        drawn->answered = (bits & 2) != 0;
        drawn->blind = (bits & 4) != 0;
        drawn->disputed = (bits & 8) != 0;
        drawn->by_another = (bits & 16) != 0;
    }
    return body->failed ? tl_fail(err, TL_ECORRUPT, "a checkpoint is cut short") : TL_OK;
}

tl_status tl_core_review_load(tl_core *core, tl_blob_reader *body, tl_error *err)
{
    tl_core_review *review = &core->review;
    review->since = tl_blob_read_u64(body);
    review->warm = tl_blob_read_u64(body) != 0;
    review->drift_alarms = tl_blob_read_u64(body);
    review->drift_left = tl_blob_read_u64(body);
    uint64_t drawn_count = tl_blob_read_u64(body);
    tl_zones *zones = NULL;
    tl_review_check *check = NULL;
    tl_status status = tl_selective_load(body, &review->estimates, err);
    if (status == TL_OK) status = tl_zones_load(body, &zones, err);
    if (status != TL_OK) return status;
    tl_zones_destroy(&review->zones);
    review->zones = zones;
    status = load_zone_units(review, body, err);
    for (size_t i = 0; i < TL_ZONE_UNIT_MAX; i++) {
        review->sizes[i].key = tl_blob_read_u64(body);
        review->sizes[i].items = tl_blob_read_u32(body);
    }
    review->size_at = tl_blob_read_u32(body) % TL_ZONE_UNIT_MAX;
    review->largest = tl_blob_read_u32(body);
    if (status == TL_OK) status = tl_conformal_load(body, &review->drift, err);
    if (status == TL_OK) status = tl_suspects_load(body, &review->suspects, err);
    if (status == TL_OK) status = tl_calibrator_load(body, &review->calibrator, err);
    if (status == TL_OK) status = tl_review_check_load(body, &check, err);
    if (status != TL_OK) return status;
    tl_review_check_destroy(&review->check);
    review->check = check;
    status = load_drawn(review, drawn_count, body, err);
    if (status == TL_OK) status = tl_core_automatic_load(core, body, err);
    if (status == TL_OK) status = tl_again_load(body, core->again, err);
    return status == TL_OK ? tl_keymap_load(&review->counted, body, 1 << 27, err) : status;
}

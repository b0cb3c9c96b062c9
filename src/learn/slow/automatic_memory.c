#include "learn/slow/automatic_memory.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = TL_AUTOMATIC_MEMORY_MAX };

static bool find(const tl_automatic_memory *m, uint64_t key, uint32_t *index)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->items[i].key == key) {
            *index = i;
            return true;
        }
    return false;
}

static void drop(tl_automatic_memory *m, uint32_t index)
{
    m->count--;
    memmove(&m->items[index], &m->items[index + 1], (m->count - index) * sizeof m->items[0]);
}

void tl_automatic_memory_remove(tl_automatic_memory *m, uint64_t key)
{
    uint32_t index;
    if (find(m, key, &index)) drop(m, index);
}

tl_status tl_automatic_memory_add(tl_automatic_memory *m, uint64_t key, uint32_t label,
                                  float weight, tl_error *err)
{
    if (m->items == NULL) m->items = calloc(MOST, sizeof m->items[0]);
    if (m->items == NULL) return tl_fail(err, TL_ENOMEM, "items that nobody labelled");
    tl_automatic_memory_remove(m, key);
    if (m->count == MOST) drop(m, 0);
    m->items[m->count++] = (tl_automatic_item){ key, label };
    m->weight = weight;
    return TL_OK;
}

void tl_automatic_memory_clear(tl_automatic_memory *m)
{
    free(m->items);
    *m = (tl_automatic_memory){ 0 };
}

void tl_automatic_memory_save(const tl_automatic_memory *m, tl_blob *blob)
{
    tl_blob_u32(blob, m->count);
    tl_blob_f32s(blob, &m->weight, 1);
    for (uint32_t i = 0; i < m->count; i++) {
        tl_blob_u64(blob, m->items[i].key);
        tl_blob_u32(blob, m->items[i].label);
    }
}

static tl_status load_items(tl_blob_reader *body, uint32_t count, uint32_t class_count,
                            tl_automatic_memory *m, tl_error *err)
{
    tl_status status = TL_OK;
    for (uint32_t i = 0; i < count && status == TL_OK; i++) {
        uint64_t key = tl_blob_read_u64(body);
        uint32_t label = tl_blob_read_u32(body), index;
        if (body->failed || label >= class_count || find(m, key, &index))
            return tl_fail(err, TL_ECORRUPT, "a saved learner's automatic labels are damaged");
        status = tl_automatic_memory_add(m, key, label, m->weight, err);
    }
    return status;
}

tl_status tl_automatic_memory_load(tl_blob_reader *body, uint32_t class_count,
                                   tl_automatic_memory *out, tl_error *err)
{
    tl_automatic_memory m = { 0 };
    *out = m;
    uint32_t count = tl_blob_read_u32(body);
    tl_blob_read_f32s(body, &m.weight, 1);
    if (body->failed || count > MOST || !(m.weight >= 0.0f && m.weight <= 1.0f))
        return tl_fail(err, TL_ECORRUPT, "a saved learner's automatic labels are damaged");
    tl_status status = load_items(body, count, class_count, &m, err);
    if (status == TL_OK)
        *out = m;
    else
        tl_automatic_memory_clear(&m);
    return status;
}

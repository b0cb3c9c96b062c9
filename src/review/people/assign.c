#include "review/people/assign.h"

#include <string.h>

size_t tl_assign(const uint8_t key[TL_DRAW_KEY_BYTES], const uint64_t *people, size_t count,
                 uint64_t subject, uint32_t round, uint64_t but)
{
    size_t chosen = count;
    double highest = -1.0;
    for (size_t i = 0; i < count; i++) {
        if (but != 0 && people[i] == but) continue;
        tl_id id;
        memcpy(id.bytes, &subject, sizeof subject);
        memcpy(id.bytes + sizeof subject, &people[i], sizeof people[i]);
        double weight = tl_draw_unit(key, id, TL_DRAW_ASSIGN, round);
        if (weight > highest) {
            highest = weight;
            chosen = i;
        }
    }
    return chosen;
}

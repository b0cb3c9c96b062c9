#include "graph/internal.h"

#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
    const tl_buffer *x = *(tl_buffer *const *)a, *y = *(tl_buffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x < y ? -1 : x > y; /* the same array each time: a total order */
}

static bool alive_together(const tl_buffer *a, const tl_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest place for `buffer` among `placed`, which are in order of their offsets. */
static size_t lowest_place(const tl_buffer *buffer, tl_buffer *const *placed, size_t count)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const tl_buffer *other = placed[i];
        if (!alive_together(buffer, other)) continue;
        if (other->offset >= at && other->offset - at >= buffer->bytes) break;
        if (other->offset + other->bytes > at) at = other->offset + other->bytes;
    }
    return at;
}

tl_status tl_layout_place(tl_buffer *buffers, size_t count, size_t *bytes, tl_error *err)
{
    tl_buffer **order = malloc((count + 1) * sizeof *order);
    tl_buffer **placed = malloc((count + 1) * sizeof *placed);
    if (order == NULL || placed == NULL) {
        free(order);
        free(placed);
        return tl_fail(err, TL_ENOMEM, "layout of %zu buffers", count);
    }
    size_t total = 0, limit = (size_t)1 << 46;
    bool fits = true;
    for (size_t i = 0; i < count; i++) {
        order[i] = &buffers[i];
        fits = fits && buffers[i].bytes < limit;
        buffers[i].bytes = tl_align(buffers[i].bytes);
    }
    qsort(order, count, sizeof *order, by_size);
    for (size_t i = 0; i < count && fits; i++) {
        tl_buffer *buffer = order[i];
        buffer->offset = lowest_place(buffer, placed, i);
        size_t slot = i;
        for (; slot > 0 && placed[slot - 1]->offset > buffer->offset; slot--)
            placed[slot] = placed[slot - 1];
        placed[slot] = buffer;
        if (buffer->offset + buffer->bytes > total) total = buffer->offset + buffer->bytes;
        fits = total < limit;
    }
    free(order);
    free(placed);
    if (!fits)
        return tl_fail(err, TL_ENOMEM, "the network's buffers are too large; lower the batch");
    *bytes = total;
    return TL_OK;
}

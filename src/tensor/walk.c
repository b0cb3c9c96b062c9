#include "tensor/walk.h"
#include "tensor/kernels/kernels.h"

#include <string.h>

void tl_walk_axis(tl_walk *walk, size_t size, const ptrdiff_t step[TL_WALK_TENSORS])
{
    if (size == 1) return;
    if (walk->rank > 0) {
        ptrdiff_t *outer = walk->step[walk->rank - 1];
        bool one = true;
        for (int t = 0; t < TL_WALK_TENSORS; t++)
            one = one && outer[t] == step[t] * (ptrdiff_t)size;
        if (one) {
            walk->size[walk->rank - 1] *= size;
            memcpy(outer, step, sizeof walk->step[0]);
            return;
        }
    }
    TL_ASSERT(walk->rank < TL_WALK_AXES);
    walk->size[walk->rank] = size;
    memcpy(walk->step[walk->rank++], step, sizeof walk->step[0]);
}

void tl_walk_broadcast(const tl_shape *from, const tl_shape *to, ptrdiff_t step[TL_RANK_MAX])
{
    ptrdiff_t dense = 1;
    memset(step, 0, TL_RANK_MAX * sizeof *step);
    for (uint32_t i = from->rank; i-- > 0;) {
        const uint32_t axis = to->rank - from->rank + i;
        step[axis] = from->dim[i] == 1 ? 0 : dense;
        dense *= (ptrdiff_t)from->dim[i];
    }
}

void tl_walk_run(const tl_walk *walk, void (*plane)(void *context, const tl_walk_plane *plane),
                 void *context)
{
    const uint32_t outer = walk->rank > 2 ? walk->rank - 2 : 0;
    tl_walk_plane p = { .rows = 1, .n = 1 };
    if (walk->rank > 0) {
        p.n = walk->size[walk->rank - 1];
        memcpy(p.step, walk->step[walk->rank - 1], sizeof p.step);
    }
    if (walk->rank > 1) {
        p.rows = walk->size[walk->rank - 2];
        memcpy(p.row, walk->step[walk->rank - 2], sizeof p.row);
    }
    size_t index[TL_WALK_AXES] = { 0 };
    for (;;) {
        plane(context, &p);
        uint32_t axis = outer;
        while (axis > 0) {
            axis--;
            const ptrdiff_t *step = walk->step[axis];
            for (int t = 0; t < TL_WALK_TENSORS; t++) p.at[t] += step[t];
            if (++index[axis] < walk->size[axis]) break;
            for (int t = 0; t < TL_WALK_TENSORS; t++)
                p.at[t] -= step[t] * (ptrdiff_t)walk->size[axis];
            index[axis] = 0;
            if (axis == 0) return;
        }
        if (outer == 0) return;
    }
}

int tl_axis_index(int32_t axis, uint32_t rank)
{
    if (axis < -(int32_t)rank || axis >= (int32_t)rank) return -1;
    return axis < 0 ? axis + (int)rank : axis;
}

bool tl_shape_broadcast(const tl_shape *a, const tl_shape *b, tl_shape *out)
{
    const tl_shape *longer = a->rank >= b->rank ? a : b, *shorter = longer == a ? b : a;
    *out = *longer;
    for (uint32_t i = 0; i < shorter->rank; i++) {
        uint32_t *dim = &out->dim[longer->rank - shorter->rank + i];
        if (*dim == 1)
            *dim = shorter->dim[i];
        else if (shorter->dim[i] != 1 && shorter->dim[i] != *dim)
            return false;
    }
    return true;
}

/* ---- Copies ---------------------------------------------------------------------------------- */

typedef struct copy {
    const float *from;
    float *to;
} copy;

/* Rows that are read across and written along, or the other way round, in squares that stay in the
 * cache. */
static void copy_across(const tl_walk_plane *p, const float *from, float *to)
{
    enum { SIDE = 16 };
    for (size_t r0 = 0; r0 < p->rows; r0 += SIDE) {
        for (size_t i0 = 0; i0 < p->n; i0 += SIDE) {
            const size_t r1 = r0 + SIDE < p->rows ? r0 + SIDE : p->rows;
            const size_t i1 = i0 + SIDE < p->n ? i0 + SIDE : p->n;
            for (size_t r = r0; r < r1; r++) {
                const float *f = from + (ptrdiff_t)r * p->row[0];
                float *t = to + (ptrdiff_t)r * p->row[1];
                for (size_t i = i0; i < i1; i++)
                    t[(ptrdiff_t)i * p->step[1]] = f[(ptrdiff_t)i * p->step[0]];
            }
        }
    }
}

static void copy_plane(void *context, const tl_walk_plane *p)
{
    const copy *c = context;
    const float *from = c->from + p->at[0];
    float *to = c->to + p->at[1];
    if (p->n > 1 && p->step[0] != 0 && (p->step[0] != 1 || p->step[1] != 1)) {
        copy_across(p, from, to);
        return;
    }
    for (size_t r = 0; r < p->rows; r++, from += p->row[0], to += p->row[1]) {
        if (p->step[0] == 0)
            for (size_t i = 0; i < p->n; i++) to[(ptrdiff_t)i * p->step[1]] = *from;
        else if (p->n <= 16)
            for (size_t i = 0; i < p->n; i++) to[i] = from[i];
        else
            memcpy(to, from, p->n * sizeof *to);
    }
}

static void add_plane(void *context, const tl_walk_plane *p)
{
    const copy *c = context;
    const float *from = c->from + p->at[0];
    float *to = c->to + p->at[1];
    for (size_t r = 0; r < p->rows; r++, from += p->row[0], to += p->row[1]) {
        if (p->n == 1) {
            *to += *from;
        } else if (p->step[1] == 0) {
            double sum = 0;
            for (size_t i = 0; i < p->n; i++) sum += (double)from[(ptrdiff_t)i * p->step[0]];
            *to += (float)sum;
        } else if (p->step[0] == 1 && p->step[1] == 1) {
            tl_kernels_get()->add(p->n, to, from, to);
        } else {
            for (size_t i = 0; i < p->n; i++)
                to[(ptrdiff_t)i * p->step[1]] += from[(ptrdiff_t)i * p->step[0]];
        }
    }
}

void tl_walk_copy(const tl_walk *walk, const float *from, float *to)
{
    tl_walk_run(walk, copy_plane, &(copy){ from, to });
}

void tl_walk_add(const tl_walk *walk, const float *from, float *to)
{
    tl_walk_run(walk, add_plane, &(copy){ from, to });
}

tl_walk tl_walk_reverse(const tl_walk *walk)
{
    tl_walk out = *walk;
    for (uint32_t a = 0; a < out.rank; a++) {
        out.step[a][0] = walk->step[a][1];
        out.step[a][1] = walk->step[a][0];
    }
    return out;
}

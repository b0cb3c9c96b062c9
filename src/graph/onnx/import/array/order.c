#include "graph/onnx/import/internal.h"

#include <string.h>

void onnx_order_plain(const onnx_import *import, onnx_array *a)
{
    uint32_t lead = onnx_lead(import);
    for (uint32_t i = lead; i < a->rank; i++) a->order[i - lead] = (uint8_t)i;
}

uint32_t onnx_place(const onnx_import *import, const onnx_array *a, uint32_t axis)
{
    uint32_t place = 0, count = onnx_item_rank(import, a);
    while (place < count && a->order[place] != axis) place++;
    TL_ASSERT(place < count);
    return place;
}

tl_status onnx_item_shape(const onnx_import *import, const onnx_node *node, const onnx_array *a,
                          tl_shape *out)
{
    uint32_t rank = onnx_item_rank(import, a);
    if (rank > TL_RANK_MAX)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "a tensor of %u dimensions; at most %d are supported", a->rank,
                         TL_RANK_MAX + (int)onnx_lead(import));
    *out = (tl_shape){ .rank = rank > 0 ? rank : 1, .dim = { 1 } };
    for (uint32_t i = 0; i < rank; i++) out->dim[i] = a->dim[a->order[i]];
    return TL_OK;
}

/* ---- Engine nodes -----------------------------------------------------------------------------
 */

/* Take over tensor and sizes of what the engine made. */
static tl_status adopt(onnx_import *import, const onnx_node *node, tl_tensor_index tensor,
                       onnx_array *out)
{
    const tl_shape *shape = tl_builder_shape(import->builder, tensor);
    if (shape == NULL) {
        tl_status status = tl_builder_status(import->builder, import->err);
        TL_ASSERT(status != TL_OK);
        return tl_fail_context(import->err, status, "ONNX %s", onnx_word_of(node->op).text);
    }
    uint32_t rank = onnx_item_rank(import, out);
    TL_ASSERT(shape->rank == (rank > 0 ? rank : 1));
    out->tensor = tensor;
    if (!import->whole) out->dim[0] = 1;
    for (uint32_t i = 0; i < rank; i++) out->dim[out->order[i]] = shape->dim[i];
    import->floats += tl_shape_count(shape);
    if (import->floats > (import->folding ? ONNX_FOLDED_MAX : ONNX_FLOATS_MAX))
        return onnx_fail(import, node, TL_ELIMIT,
                         "the tensors of one item have more than %zu million numbers together; "
                         "import the model for a smaller size",
                         ONNX_FLOATS_MAX >> 20);
    return TL_OK;
}

tl_status onnx_emit(onnx_import *import, const onnx_node *node, const onnx_emit_options *options,
                    onnx_array *out)
{
    tl_tensor_index inputs[TL_OP_INPUT_MAX];
    TL_ASSERT(options->input_count <= TL_OP_INPUT_MAX);
    for (size_t i = 0; i < options->input_count; i++) inputs[i] = options->inputs[i]->tensor;
    onnx_word name = onnx_word_of(node->proto->name);
    tl_node_options built = { .kind = options->kind,
                              .name = onnx_is_named(node->proto->name) ? name.text : NULL,
                              .attrs = options->attrs,
                              .inputs = inputs,
                              .input_count = options->input_count,
                              .params = options->params,
                              .param_count = options->param_count };
    return adopt(import, node, tl_builder_node(import->builder, &built), out);
}

tl_status onnx_unary(onnx_import *import, const onnx_node *node, tl_op_kind kind,
                     const tl_attrs *attrs, onnx_array *x)
{
    const onnx_array in = *x, *inputs[1] = { &in };
    return onnx_emit(
        import, node,
        &(onnx_emit_options){ .kind = kind, .attrs = attrs, .inputs = inputs, .input_count = 1 },
        x);
}

/* The same numbers under other sizes, which *x has already; `before` is its item's shape. */
static tl_status rename_axes(onnx_import *import, const onnx_node *node, const tl_shape *before,
                             onnx_array *x)
{
    tl_attrs attrs = tl_attrs_default(TL_OP_RESHAPE);
    tl_status status = onnx_item_shape(import, node, x, &attrs.shape);
    if (status != TL_OK || tl_shape_equal(before, &attrs.shape)) return status;
    return onnx_unary(import, node, TL_OP_RESHAPE, &attrs, x);
}

/* ---- Order ------------------------------------------------------------------------------------
 */

/* Axes of more than one number, in that order; returns how many. */
static uint32_t long_axes(const onnx_array *a, const uint8_t *order, uint32_t count, uint8_t *out)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (a->dim[order[i]] != 1) out[kept++] = order[i];
    return kept;
}

tl_status onnx_arrange(onnx_import *import, const onnx_node *node, onnx_array *x,
                       const uint8_t *order)
{
    uint32_t count = onnx_item_rank(import, x);
    if (memcmp(x->order, order, count) == 0) return TL_OK;
    tl_shape before;
    tl_status status = onnx_item_shape(import, node, x, &before);
    if (status != TL_OK) return status;
    uint8_t now[ONNX_RANK_MAX], wanted[ONNX_RANK_MAX];
    uint32_t axes = long_axes(x, x->order, count, now);
    long_axes(x, order, count, wanted);
    if (memcmp(now, wanted, axes) == 0) {
        memcpy(x->order, order, count);
        return rename_axes(import, node, &before, x);
    }
    tl_attrs attrs = tl_attrs_default(TL_OP_PERMUTE);
    for (uint32_t i = 0; i < count; i++) attrs.axes[i] = (uint8_t)onnx_place(import, x, order[i]);
    memcpy(x->order, order, count);
    return onnx_unary(import, node, TL_OP_PERMUTE, &attrs, x);
}

tl_status onnx_arrange_image(onnx_import *import, const onnx_node *node, onnx_array *x)
{
    uint8_t order[ONNX_RANK_MAX];
    uint32_t count = 0;
    for (uint32_t i = onnx_lead(import); i < x->rank; i++)
        if (i != 1) order[count++] = (uint8_t)i;
    order[count] = 1;
    return onnx_arrange(import, node, x, order);
}

tl_status onnx_arrange_last(onnx_import *import, const onnx_node *node, onnx_array *x,
                            uint32_t axis)
{
    uint8_t order[ONNX_RANK_MAX];
    uint32_t kept = 0, count = onnx_item_rank(import, x);
    for (uint32_t i = 0; i < count; i++)
        if (x->order[i] != axis) order[kept++] = x->order[i];
    order[kept] = (uint8_t)axis;
    return onnx_arrange(import, node, x, order);
}

tl_status onnx_transpose(onnx_import *import, const onnx_node *node, onnx_array *x,
                         const uint8_t *permutation)
{
    if (!import->whole && permutation[0] != 0)
        return onnx_fail_batch(import, node, "it moves the axis of the batch");
    onnx_array from = *x;
    uint8_t place[ONNX_RANK_MAX];
    for (uint32_t i = 0; i < x->rank; i++) {
        place[permutation[i]] = (uint8_t)i;
        x->dim[i] = from.dim[permutation[i]];
    }
    for (uint32_t i = 0; i < onnx_item_rank(import, x); i++) x->order[i] = place[from.order[i]];
    return TL_OK;
}

/* ---- Reshape ----------------------------------------------------------------------------------
 */

/* The smallest runs of axes with as many numbers before as after; of each axis its run. */
typedef struct runs {
    uint8_t from[ONNX_RANK_MAX], to[ONNX_RANK_MAX];
    uint32_t count;
} runs;

/* The item's counts are equal (checked by the caller). */
static runs find_runs(const onnx_array *x, uint32_t rank, const uint32_t *dim, uint32_t lead)
{
    runs r = { .count = 0 };
    uint32_t i = lead, k = lead;
    while (i < x->rank && k < rank) {
        uint64_t before = x->dim[i], after = dim[k];
        r.from[i++] = r.to[k++] = (uint8_t)r.count;
        while (before != after) {
            if (before < after) {
                before *= x->dim[i];
                r.from[i++] = (uint8_t)r.count;
            } else {
                after *= dim[k];
                r.to[k++] = (uint8_t)r.count;
            }
        }
        r.count++;
    }
    uint8_t last = (uint8_t)(r.count > 0 ? r.count - 1 : 0); /* of what is left, all are 1 */
    while (i < x->rank) r.from[i++] = last;
    while (k < rank) r.to[k++] = last;
    if (r.count == 0) r.count = 1;
    return r;
}

/* Do the long axes of each run lie side by side, in the file's order? If not, *order is one, close
 * to the present, in which they do. */
static bool runs_are_together(const onnx_import *import, const onnx_array *x, const runs *r,
                              uint8_t *order)
{
    uint8_t axes[ONNX_RANK_MAX];
    uint32_t item_rank = onnx_item_rank(import, x), put = 0;
    uint32_t count = long_axes(x, x->order, item_rank, axes);
    bool seen[ONNX_RANK_MAX] = { false }, together = true;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t run = r->from[axes[i]];
        bool goes_on = i > 0 && r->from[axes[i - 1]] == run;
        together = together && (goes_on ? axes[i] > axes[i - 1] : !seen[run]);
        if (seen[run]) continue;
        seen[run] = true;
        for (uint32_t axis = onnx_lead(import); axis < x->rank; axis++)
            if (r->from[axis] == run) order[put++] = (uint8_t)axis;
    }
    for (uint32_t axis = onnx_lead(import); axis < x->rank; axis++)
        if (!seen[r->from[axis]]) order[put++] = (uint8_t)axis;
    TL_ASSERT(put == item_rank);
    return together;
}

/* [h, w, c] -> [c * h * w]: one operator does both. */
static bool flattens_image(const onnx_import *import, const onnx_array *x, uint32_t rank)
{
    return !import->whole && x->rank == 4 && rank == 2 && x->order[0] == 2 && x->order[1] == 3 &&
           x->dim[1] > 1 && x->dim[2] * (uint64_t)x->dim[3] > 1;
}

tl_status onnx_reshape(onnx_import *import, const onnx_node *node, onnx_array *x, uint32_t rank,
                       const uint32_t *dim)
{
    uint32_t lead = onnx_lead(import);
    TL_ASSERT(rank >= lead);
    uint64_t before_count = 1, count = 1;
    for (uint32_t i = lead; i < x->rank; i++) before_count *= x->dim[i];
    for (uint32_t i = lead; i < rank && count <= before_count; i++) count *= dim[i];
    if (count != before_count)
        return onnx_fail(import, node, TL_EINVAL, "it makes another number of elements of an item");
    bool flat = flattens_image(import, x, rank);
    runs r = find_runs(x, rank, dim, lead);
    uint8_t order[ONNX_RANK_MAX];
    if (!flat && !runs_are_together(import, x, &r, order)) {
        tl_status status = onnx_arrange(import, node, x, order);
        if (status != TL_OK) return status;
    }
    tl_shape before;
    tl_status status = onnx_item_shape(import, node, x, &before);
    if (status != TL_OK) return status;
    onnx_array out = { .tensor = x->tensor, .type = x->type, .rank = rank };
    memcpy(out.dim, dim, rank * sizeof *dim);
    runs_are_together(import, x, &r, order); /* the runs as they lie */
    uint32_t put = 0;
    bool done[ONNX_RANK_MAX] = { false };
    for (uint32_t i = 0; i < onnx_item_rank(import, x); i++) {
        uint8_t run = r.from[order[i]];
        if (done[run]) continue;
        done[run] = true;
        for (uint32_t axis = lead; axis < rank; axis++)
            if (r.to[axis] == run) out.order[put++] = (uint8_t)axis;
    }
    for (uint32_t axis = lead; axis < rank; axis++)
        if (!done[r.to[axis]]) out.order[put++] = (uint8_t)axis;
    onnx_array in = *x;
    *x = out;
    if (!flat) return rename_axes(import, node, &before, x);
    x->tensor = in.tensor;
    return onnx_unary(import, node, TL_OP_FLATTEN, NULL, x);
}

tl_status onnx_unsqueeze(onnx_import *import, const onnx_node *node, onnx_array *x, uint32_t axis)
{
    if (x->rank == ONNX_RANK_MAX)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "more than %d dimensions", ONNX_RANK_MAX);
    uint32_t dim[ONNX_RANK_MAX];
    for (uint32_t i = 0; i < x->rank + 1; i++)
        dim[i] = i == axis ? 1 : x->dim[i > axis ? i - 1 : i];
    return onnx_reshape(import, node, x, x->rank + 1, dim);
}

tl_status onnx_squeeze(onnx_import *import, const onnx_node *node, onnx_array *x, uint32_t axis)
{
    uint32_t dim[ONNX_RANK_MAX];
    TL_ASSERT(x->dim[axis] == 1);
    for (uint32_t i = 0; i + 1 < x->rank; i++) dim[i] = x->dim[i >= axis ? i + 1 : i];
    return onnx_reshape(import, node, x, x->rank - 1, dim);
}

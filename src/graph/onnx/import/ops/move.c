#include "graph/onnx/import/ops/internal.h"

#include <string.h>

/* Operators that choose, join and repeat numbers. */

tl_status onnx_run_concat(onnx_import *import, onnx_node *node)
{
    onnx_array *parts = tl_arena_alloc(import->arena, node->input_count * sizeof *parts);
    onnx_array out;
    uint32_t axis = 0;
    if (parts == NULL) return tl_fail(import->err, TL_ENOMEM, "operands of an ONNX node");
    tl_status status = TL_OK;
    for (size_t i = 0; status == TL_OK && i < node->input_count; i++) {
        const onnx_value *value = onnx_operand(import, node, i);
        status = value == NULL ? onnx_fail(import, node, TL_EINVAL, "operand %zu is missing", i)
                               : onnx_operand_array(import, node, i, &parts[i]);
        if (status == TL_OK && parts[i].rank != parts[0].rank)
            status = onnx_fail(import, node, TL_EINVAL, "operands of different rank");
    }
    if (status == TL_OK) status = onnx_attr_axis(import, node, "axis", 1, parts[0].rank, &axis);
    if (status == TL_OK) status = onnx_concat(import, node, parts, node->input_count, axis, &out);
    return status == TL_OK ? onnx_yield(import, node, &out) : status;
}

/* ---- Slice and Split --------------------------------------------------------------------------
 */

static int64_t clamp(int64_t at, int64_t low, int64_t high)
{
    return at < low ? low : at > high ? high : at;
}

void onnx_slice_range(int64_t size, int64_t step, int64_t *begin, int64_t *end)
{
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    if (*begin < 0) *begin = *begin < -size ? low : *begin + size;
    if (*end < 0) *end = *end < -size ? low : *end + size;
    *begin = clamp(*begin, low, high);
    *end = clamp(*end, low, high);
    if (step > 0 ? *begin >= *end : *begin <= *end) *end = *begin;
}

tl_status onnx_run_slice(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    int64_t starts[ONNX_RANK_MAX], ends[ONNX_RANK_MAX], axes[ONNX_RANK_MAX], steps[ONNX_RANK_MAX];
    size_t counts[4];
    tl_status status = onnx_operand_array(import, node, 0, &x);
    int64_t *const lists[4] = { starts, ends, axes, steps };
    static const char *const NAMES[4] = { "starts", "ends", "axes", "steps" };
    for (size_t i = 0; status == TL_OK && i < 4; i++)
        status = onnx_operand_integers(import, node, i + 1, NAMES[i], false, ONNX_RANK_MAX,
                                       lists[i], &counts[i]);
    if (status != TL_OK) return status;
    if (counts[0] == 0 || counts[1] != counts[0] || (counts[2] != 0 && counts[2] != counts[0]) ||
        (counts[3] != 0 && counts[3] != counts[0]))
        return onnx_fail(import, node, TL_EINVAL, "starts, ends, axes and steps do not match");
    for (size_t i = 0; status == TL_OK && i < counts[0]; i++) {
        uint32_t axis;
        int64_t step = counts[3] == 0 ? 1 : steps[i];
        status = onnx_axis(import, node, counts[2] == 0 ? (int64_t)i : axes[i], x.rank, &axis);
        if (status != TL_OK) return status;
        if (step == 0) return onnx_fail(import, node, TL_EINVAL, "a step of 0");
        bool everything = starts[i] == 0 && ends[i] >= INT32_MAX && step == 1;
        if (axis < onnx_lead(import)) {
            if (everything) continue;
            return onnx_fail_batch(import, node, "it cuts the batch");
        }
        step = clamp(step, -TL_DIM_MAX, TL_DIM_MAX);
        onnx_slice_range(x.dim[axis], step, &starts[i], &ends[i]);
        status = onnx_slice(import, node, &x, axis, starts[i], ends[i], step);
    }
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

/* Sizes of the parts; 0 of `count`: as equal as can be, the last may be smaller. */
static tl_status split_sizes(onnx_import *import, const onnx_node *node, int64_t length,
                             size_t count, int64_t *sizes)
{
    size_t parts = node->output_count;
    if (parts == 0 || (count != 0 && count != parts))
        return onnx_fail(import, node, TL_EINVAL, "%zu sizes for %zu outputs", count, parts);
    int64_t even = (length + (int64_t)parts - 1) / (int64_t)parts, left = length;
    for (size_t i = 0; i < parts; i++) {
        if (count == 0) sizes[i] = even < left ? even : left;
        if (sizes[i] < 0 || sizes[i] > left)
            return onnx_fail(import, node, TL_EINVAL, "its parts do not add up to %lld",
                             (long long)length);
        left -= sizes[i];
    }
    return left == 0 ? TL_OK
                     : onnx_fail(import, node, TL_EINVAL, "its parts do not add up to %lld",
                                 (long long)length);
}

tl_status onnx_run_split(onnx_import *import, onnx_node *node)
{
    enum { PARTS_MAX = 256 };
    onnx_array x;
    int64_t sizes[PARTS_MAX], begin = 0;
    size_t count;
    uint32_t axis = 0;
    if (node->output_count > PARTS_MAX)
        return onnx_fail(import, node, TL_ELIMIT, "more than %d parts", PARTS_MAX);
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 1, "split", false, PARTS_MAX, sizes, &count);
    if (status == TL_OK) status = onnx_attr_axis(import, node, "axis", 0, x.rank, &axis);
    if (status == TL_OK && axis < onnx_lead(import))
        status = onnx_fail_batch(import, node, "it divides the batch");
    if (status == TL_OK) status = split_sizes(import, node, x.dim[axis], count, sizes);
    for (size_t i = 0; status == TL_OK && i < node->output_count; i++) {
        onnx_array part = x;
        bool used = node->outputs[i] != ONNX_NONE && import->values[node->outputs[i]].use_count > 0;
        if (used || import->folding) {
            status = onnx_slice(import, node, &part, axis, begin, begin + sizes[i], 1);
            if (status == TL_OK) status = onnx_yield_at(import, node, i, &part);
        }
        begin += sizes[i];
    }
    return status;
}

/* ---- Gather -----------------------------------------------------------------------------------
 */

/* One constant index: that part of the axis, which goes. */
static tl_status gather_one(onnx_import *import, onnx_node *node, onnx_array *x, uint32_t axis,
                            int64_t index)
{
    tl_status status = onnx_slice(import, node, x, axis, index, index + 1, 1);
    return status == TL_OK ? onnx_squeeze(import, node, x, axis) : status;
}

/* The result of gathering from `data` by `indices`: its axes and their order. */
static tl_status gather_axes(onnx_import *import, const onnx_node *node, const onnx_array *data,
                             uint32_t axis, uint32_t index_rank, onnx_array *out)
{
    out->type = data->type;
    out->rank = data->rank - 1 + index_rank;
    if (out->rank > ONNX_RANK_MAX)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "more than %d dimensions", ONNX_RANK_MAX);
    uint32_t put = 0, lead = onnx_lead(import);
    for (uint32_t i = 0; i < data->rank - lead; i++) {
        uint32_t from = data->order[i];
        if (from == axis)
            for (uint32_t k = 0; k < index_rank; k++) out->order[put++] = (uint8_t)(axis + k);
        else
            out->order[put++] = (uint8_t)(from < axis ? from : from + index_rank - 1);
    }
    return TL_OK;
}

static tl_status gather_constant_indices(onnx_import *import, onnx_node *node, onnx_array *x,
                                         uint32_t axis)
{
    onnx_value *indices = onnx_operand(import, node, 1);
    uint32_t index = 0;
    for (size_t i = 0; i < indices->dims.count; i++) {
        tl_status status = onnx_index(import, node, indices, i, x->dim[axis], &index);
        if (status != TL_OK) return status;
    }
    if (indices->dims.rank == 0) return gather_one(import, node, x, axis, index);
    onnx_array list = { .rank = 0 }, out = { .rank = 0 };
    tl_attrs attrs = tl_attrs_default(TL_OP_GATHER);
    attrs.axis = (int32_t)onnx_place(import, x, axis);
    tl_status status = gather_axes(import, node, x, axis, indices->dims.rank, &out);
    if (status == TL_OK) status = onnx_constant_tensor(import, node, indices, false, &list.tensor);
    const onnx_array *inputs[2] = { x, &list };
    if (status == TL_OK)
        status = onnx_emit(
            import, node,
            &(onnx_emit_options){
                .kind = TL_OP_GATHER, .attrs = &attrs, .inputs = inputs, .input_count = 2 },
            &out);
    *x = out;
    return status;
}

/* A table in the file, looked up by what the network computes; it learns. */
static tl_status gather_table(onnx_import *import, onnx_node *node, uint32_t axis, onnx_array *x)
{
    onnx_value *table = onnx_operand(import, node, 0);
    onnx_array data = { .type = table->constant->data_type, .rank = table->dims.rank };
    onnx_array indices;
    tl_status status = onnx_operand_array(import, node, 1, &indices);
    if (status != TL_OK) return status;
    if (axis != 0 && !import->whole)
        return onnx_fail_batch(import, node, "it looks up along an axis behind the first");
    onnx_array plain = indices;
    onnx_order_plain(import, &plain);
    status = onnx_arrange(import, node, &indices, plain.order);
    if (status == TL_OK)
        status = onnx_constant_tensor(
            import, node, table, onnx_type_is_float(data.type) && !import->folding, &data.tensor);
    if (status != TL_OK) return status;
    tl_attrs attrs = tl_attrs_default(TL_OP_GATHER);
    attrs.axis = (int32_t)axis;
    bool single = onnx_item_rank(import, &indices) == 0; /* the engine sees a list of one */
    *x = (onnx_array){ .type = data.type, .rank = data.rank - 1 + indices.rank + (single ? 1 : 0) };
    if (x->rank > ONNX_RANK_MAX)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "more than %d dimensions", ONNX_RANK_MAX);
    onnx_order_plain(import, x);
    const onnx_array *inputs[2] = { &data, &indices };
    status =
        onnx_emit(import, node,
                  &(onnx_emit_options){
                      .kind = TL_OP_GATHER, .attrs = &attrs, .inputs = inputs, .input_count = 2 },
                  x);
    return status == TL_OK && single ? onnx_squeeze(import, node, x, axis + onnx_lead(import))
                                     : status;
}

tl_status onnx_run_gather(onnx_import *import, onnx_node *node)
{
    onnx_array x, indices, out = { .rank = 0 };
    uint32_t axis = 0;
    const onnx_value *data = onnx_operand(import, node, 0);
    uint32_t rank = data->kind == ONNX_VALUE_CONSTANT ? data->dims.rank : data->array.rank;
    tl_status status = onnx_attr_axis(import, node, "axis", 0, rank, &axis);
    if (status != TL_OK) return status;
    if (data->kind == ONNX_VALUE_CONSTANT) {
        status = gather_table(import, node, axis, &x);
        return status == TL_OK ? onnx_yield(import, node, &x) : status;
    }
    status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK && axis < onnx_lead(import))
        status = onnx_fail_batch(import, node, "it chooses items");
    if (status != TL_OK) return status;
    if (onnx_operand_is_constant(import, node, 1)) {
        status = gather_constant_indices(import, node, &x, axis);
        return status == TL_OK ? onnx_yield(import, node, &x) : status;
    }
    if (!import->whole) return onnx_fail_batch(import, node, "data and indices have a batch each");
    status = onnx_operand_array(import, node, 1, &indices);
    onnx_array plain = indices;
    if (status == TL_OK) onnx_order_plain(import, &plain);
    if (status == TL_OK) status = onnx_arrange(import, node, &indices, plain.order);
    bool single = status == TL_OK && indices.rank == 0;
    if (status == TL_OK)
        status = gather_axes(import, node, &x, axis, single ? 1 : indices.rank, &out);
    tl_attrs attrs = tl_attrs_default(TL_OP_GATHER);
    if (status == TL_OK) attrs.axis = (int32_t)onnx_place(import, &x, axis);
    const onnx_array *inputs[2] = { &x, &indices };
    if (status == TL_OK)
        status = onnx_emit(
            import, node,
            &(onnx_emit_options){
                .kind = TL_OP_GATHER, .attrs = &attrs, .inputs = inputs, .input_count = 2 },
            &out);
    if (status == TL_OK && single) status = onnx_squeeze(import, node, &out, axis);
    return status == TL_OK ? onnx_yield(import, node, &out) : status;
}

/* ---- Padding ----------------------------------------------------------------------------------
 */

typedef struct padding {
    uint32_t before[ONNX_RANK_MAX], after[ONNX_RANK_MAX];
    bool cuts; /* a negative one: the axis is cut */
    int64_t begin[ONNX_RANK_MAX], end[ONNX_RANK_MAX];
} padding;

static tl_status read_padding(onnx_import *import, const onnx_node *node, const onnx_array *x,
                              padding *out)
{
    int64_t pads[2 * ONNX_RANK_MAX], axes[ONNX_RANK_MAX];
    size_t count, axis_count;
    tl_status status =
        onnx_operand_integers(import, node, 1, "pads", false, 2 * ONNX_RANK_MAX, pads, &count);
    if (status == TL_OK)
        status =
            onnx_operand_integers(import, node, 3, "axes", false, ONNX_RANK_MAX, axes, &axis_count);
    if (status != TL_OK) return status;
    if (axis_count == 0)
        for (; axis_count < x->rank; axis_count++) axes[axis_count] = (int64_t)axis_count;
    if (count != 2 * axis_count)
        return onnx_fail(import, node, TL_EINVAL, "%zu pads for %zu axes", count, axis_count);
    *out = (padding){ .cuts = false };
    for (uint32_t i = 0; i < x->rank; i++) out->end[i] = x->dim[i];
    for (size_t i = 0; i < count; i++) {
        uint32_t axis;
        status = onnx_axis(import, node, axes[i % axis_count], x->rank, &axis);
        if (status != TL_OK) return status;
        if (pads[i] < -TL_DIM_MAX || pads[i] > TL_DIM_MAX)
            return onnx_fail(import, node, TL_EINVAL, "pads %lld", (long long)pads[i]);
        out->cuts = out->cuts || pads[i] < 0;
        bool front = i < axis_count;
        if (pads[i] > 0) (front ? out->before : out->after)[axis] = (uint32_t)pads[i];
        if (pads[i] < 0)
            *(front ? &out->begin[axis] : &out->end[axis]) += front ? -pads[i] : pads[i];
    }
    for (uint32_t i = 0; i < x->rank; i++)
        if (out->begin[i] >= out->end[i])
            return onnx_fail(import, node, TL_EUNSUPPORTED, "its result is empty");
    return TL_OK;
}

/* Zeros around an image that a Conv alone uses are added by it. */
static bool is_for_conv(const onnx_import *import, const onnx_node *node, const padding *p,
                        const onnx_array *x)
{
    if (import->folding || node->output_count == 0 || node->outputs[0] == ONNX_NONE || x->rank != 4)
        return false;
    const onnx_value *out = &import->values[node->outputs[0]];
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t most = i < 2 ? 0 : ONNX_WINDOW_MAX;
        if (p->before[i] > most || p->after[i] > most) return false;
    }
    return out->use_count == 1 && !out->is_output && !p->cuts &&
           strcmp(import->nodes[out->consumer].op, "Conv") == 0;
}

static tl_status leave_to_conv(onnx_import *import, onnx_node *node, const padding *p,
                               const onnx_array *x)
{
    tl_status status = onnx_yield(import, node, x);
    uint32_t *pad = import->values[node->outputs[0]].pad;
    for (uint32_t i = 0; i < 2; i++) {
        pad[i] = p->before[2 + i];
        pad[2 + i] = p->after[2 + i];
    }
    return status;
}

tl_status onnx_run_pad(onnx_import *import, onnx_node *node)
{
    static const struct {
        const char *name;
        tl_pad_mode mode;
    } MODES[] = { { "constant", TL_PAD_CONSTANT },
                  { "reflect", TL_PAD_REFLECT },
                  { "edge", TL_PAD_EDGE },
                  { "wrap", TL_PAD_WRAP } };
    onnx_array x;
    padding p;
    double fill;
    size_t mode = 0;
    tl_status status = onnx_operand_number(import, node, 2, "value", 0.0, &fill);
    if (status == TL_OK) status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = read_padding(import, node, &x, &p);
    if (status != TL_OK) return status;
    while (mode < TL_COUNT_OF(MODES) && !onnx_attr_is(node, "mode", MODES[mode].name)) mode++;
    if (mode == TL_COUNT_OF(MODES)) return onnx_fail(import, node, TL_EINVAL, "unknown mode");
    if (mode == 0 && fill == 0.0 && is_for_conv(import, node, &p, &x))
        return leave_to_conv(import, node, &p, &x);
    for (uint32_t i = 0; status == TL_OK && p.cuts && i < x.rank; i++)
        status = onnx_slice(import, node, &x, i, p.begin[i], p.end[i], 1);
    if (status == TL_OK)
        status = onnx_pad(import, node, &x, p.before, p.after, MODES[mode].mode, (float)fill);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

/* ---- Repetition -------------------------------------------------------------------------------
 */

/* x repeated until its axes have those sizes, each a multiple of what it is. */
static tl_status repeat(onnx_import *import, const onnx_node *node, onnx_array *x,
                        const uint64_t *dim)
{
    tl_attrs attrs = tl_attrs_default(TL_OP_TILE);
    onnx_array grown = *x;
    uint64_t count = 1;
    for (uint32_t i = 0; i < x->rank; i++) {
        if (dim[i] > TL_DIM_MAX || (count *= dim[i]) > TL_ITEM_FLOATS_MAX)
            return onnx_fail(import, node, TL_ELIMIT, "its result is too large");
        grown.dim[i] = (uint32_t)dim[i];
    }
    tl_status status = onnx_item_shape(import, node, &grown, &attrs.shape);
    return status == TL_OK ? onnx_unary(import, node, TL_OP_TILE, &attrs, x) : status;
}

tl_status onnx_run_tile(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    int64_t times[ONNX_RANK_MAX];
    uint64_t dim[ONNX_RANK_MAX];
    size_t count;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK)
        status =
            onnx_operand_integers(import, node, 1, "repeats", false, ONNX_RANK_MAX, times, &count);
    if (status == TL_OK && count != x.rank)
        status = onnx_fail(import, node, TL_EINVAL, "%zu repeats for %u axes", count, x.rank);
    if (status == TL_OK && !import->whole && times[0] != 1)
        status = onnx_fail_batch(import, node, "it repeats the batch");
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        if (times[i] < 1 || times[i] > TL_DIM_MAX)
            return onnx_fail(import, node, TL_EUNSUPPORTED, "repeats %lld", (long long)times[i]);
        dim[i] = (uint64_t)times[i] * x.dim[i];
    }
    if (status == TL_OK) status = repeat(import, node, &x, dim);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

tl_status onnx_run_expand(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    int64_t to[ONNX_RANK_MAX];
    uint64_t dim[ONNX_RANK_MAX];
    size_t count;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 1, "shape", true, ONNX_RANK_MAX, to, &count);
    while (status == TL_OK && count > x.rank) {
        if (!import->whole)
            return onnx_fail_batch(import, node, "it puts an axis before the batch");
        status = onnx_unsqueeze(import, node, &x, 0);
    }
    if (status != TL_OK) return status;
    uint32_t before = x.rank - (uint32_t)count;
    for (uint32_t i = 0; i < x.rank; i++) {
        int64_t size = i < before ? 1 : to[i - before];
        bool batch = i < onnx_lead(import);
        if (batch && size != ONNX_BATCH && size != 1 && size != (int64_t)import->batch)
            return onnx_fail_batch(import, node, "it repeats the batch");
        if (batch) size = 1;
        if (size < 1 || size > TL_DIM_MAX)
            return onnx_fail(import, node, TL_EUNSUPPORTED, "size %lld", (long long)size);
        if (size != 1 && x.dim[i] != 1 && (uint64_t)size != x.dim[i])
            return onnx_fail(import, node, TL_EINVAL, "%u does not expand to %lld", x.dim[i],
                             (long long)size);
        dim[i] = size == 1 ? x.dim[i] : (uint64_t)size;
    }
    status = repeat(import, node, &x, dim);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

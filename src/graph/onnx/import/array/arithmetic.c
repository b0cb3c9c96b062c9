#include "graph/onnx/import/internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- Constants as tensors ---------------------------------------------------------------------
 */

/* Its numbers as the engine can hold them: infinities become the largest number. */
static float *finite_floats(onnx_import *import, const onnx_node *node, const onnx_value *value)
{
    if (value->dims.count == 0) {
        onnx_fail(import, node, TL_EUNSUPPORTED, "%s is empty; leave it out of the export",
                  onnx_word_of(value->name).text);
        return NULL;
    }
    float *out = onnx_floats(import, value);
    bool integers = !onnx_type_is_float(value->constant->data_type);
    for (size_t i = 0; out != NULL && i < value->dims.count; i++) {
        if (isinf(out[i]) && isfinite(onnx_tensor_number(value->constant, i))) {
            onnx_fail(import, node, TL_EUNSUPPORTED, "%s has a number beyond float32's",
                      onnx_word_of(value->name).text);
            return NULL;
        }
        if (out[i] > FLT_MAX) out[i] = FLT_MAX;
        if (out[i] < -FLT_MAX) out[i] = -FLT_MAX;
        int64_t exact = integers ? onnx_tensor_integer(value->constant, i) : 0;
        if (exact == ONNX_BATCH) {
            onnx_fail_batch(import, node, "it computes with the size of the batch");
            return NULL;
        }
        if (exact < -(1 << 24) || exact > 1 << 24) {
            onnx_fail(import, node, TL_EUNSUPPORTED,
                      "integers beyond 2^24 (here %lld) are not carried exactly", (long long)exact);
            return NULL;
        }
    }
    return out;
}

static tl_status append_constant(onnx_import *import, const onnx_node *node, onnx_value *value,
                                 const tl_shape *shape, const float *values, bool trained,
                                 tl_tensor_index *out)
{
    const char *name = onnx_param_name(import, value);
    if (name == NULL) return TL_ENOMEM;
    *out = tl_builder_constant(import->builder, name, shape, values, trained);
    if (*out != TL_TENSOR_NONE) return TL_OK;
    tl_status status = tl_builder_status(import->builder, import->err);
    return tl_fail_context(import->err, status, "ONNX %s", onnx_word_of(node->op).text);
}

/* `values` in the file's order, to the order of `a`. */
static float *reorder(onnx_import *import, const onnx_array *a, size_t count, const float *values)
{
    size_t stride[ONNX_RANK_MAX], at[ONNX_RANK_MAX] = { 0 }, step = 1;
    uint32_t rank = onnx_item_rank(import, a), lead = onnx_lead(import);
    for (uint32_t axis = a->rank; axis-- > lead;) {
        stride[onnx_place(import, a, axis)] = step;
        step *= a->dim[axis];
    }
    float *out = onnx_floats_alloc(import, count);
    if (out == NULL) return NULL;
    size_t from = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = values[from];
        for (uint32_t k = rank; k-- > 0;) {
            from += stride[k];
            if (++at[k] < a->dim[a->order[k]]) break;
            from -= stride[k] * at[k];
            at[k] = 0;
        }
    }
    return out;
}

tl_status onnx_constant_array(onnx_import *import, const onnx_node *node, onnx_value *value,
                              uint32_t rank, const uint8_t *order, bool trained, onnx_array *out)
{
    const onnx_dims *dims = &value->dims;
    uint32_t before = rank - dims->rank;
    TL_ASSERT(rank >= dims->rank);
    *out = (onnx_array){ .type = value->constant->data_type, .rank = rank };
    if (rank < onnx_lead(import)) return onnx_fail_batch(import, node, "a number for all items");
    for (uint32_t i = 0; i < rank; i++) out->dim[i] = i < before ? 1 : dims->dim[i - before];
    if (!import->whole && out->dim[0] != 1)
        return onnx_fail_batch(import, node, "a constant operand differs from item to item");
    onnx_order_plain(import, out);
    if (order != NULL) memcpy(out->order, order, onnx_item_rank(import, out));
    tl_shape shape;
    tl_status status = onnx_item_shape(import, node, out, &shape);
    if (status != TL_OK) return status;
    float *values = finite_floats(import, node, value);
    if (values != NULL) values = reorder(import, out, dims->count, values);
    if (values == NULL) return import->err->status;
    return append_constant(import, node, value, &shape, values, trained, &out->tensor);
}

tl_status onnx_constant_tensor(onnx_import *import, const onnx_node *node, onnx_value *value,
                               bool trained, tl_tensor_index *out)
{
    const onnx_dims *dims = &value->dims;
    if (dims->rank > TL_RANK_MAX)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "a constant of %u dimensions", dims->rank);
    tl_shape shape = { .rank = dims->rank > 0 ? dims->rank : 1, .dim = { 1 } };
    for (uint32_t i = 0; i < dims->rank; i++) shape.dim[i] = dims->dim[i];
    const float *values = finite_floats(import, node, value);
    if (values == NULL) return import->err->status;
    return append_constant(import, node, value, &shape, values, trained, out);
}

tl_status onnx_number(onnx_import *import, const onnx_node *node, float number, uint32_t rank,
                      onnx_array *out)
{
    *out = (onnx_array){ .type = ONNX_TYPE(FLOAT), .rank = rank };
    for (uint32_t i = 0; i < rank; i++) out->dim[i] = 1;
    onnx_order_plain(import, out);
    tl_shape shape;
    tl_status status = onnx_item_shape(import, node, out, &shape);
    if (status != TL_OK) return status;
    out->tensor = tl_builder_constant(import->builder, NULL, &shape, &number, false);
    return tl_builder_status(import->builder, import->err);
}

/* ---- Two operands -----------------------------------------------------------------------------
 */

static uint64_t count_of(const onnx_array *a)
{
    uint64_t count = 1;
    for (uint32_t i = 0; i < a->rank; i++) count *= a->dim[i];
    return count;
}

/* Largest rank of the operands. */
static tl_status common_rank(onnx_import *import, const onnx_node *node, size_t first, size_t count,
                             uint32_t *rank)
{
    *rank = 0;
    for (size_t i = first; i < first + count; i++) {
        const onnx_value *value = onnx_operand(import, node, i);
        if (value == NULL) return onnx_fail(import, node, TL_EINVAL, "operand %zu is missing", i);
        uint32_t own = value->kind == ONNX_VALUE_CONSTANT ? value->dims.rank : value->array.rank;
        if (own > *rank) *rank = own;
    }
    return TL_OK;
}

static tl_status raise_rank(onnx_import *import, const onnx_node *node, onnx_array *x,
                            uint32_t rank)
{
    if (x->rank == rank) return TL_OK;
    if (!import->whole) return onnx_fail_batch(import, node, "operands of different rank");
    uint32_t dim[ONNX_RANK_MAX], before = rank - x->rank;
    for (uint32_t i = 0; i < rank; i++) dim[i] = i < before ? 1 : x->dim[i - before];
    return onnx_reshape(import, node, x, rank, dim);
}

/* Is it a layer's output, to which one number a channel is a bias or a scale of the layer? */
static bool is_layer_output(const onnx_import *import, const onnx_value *value)
{
    static const char *const LAYERS[] = { "Conv",   "ConvTranspose",         "Gemm",
                                          "MatMul", "InstanceNormalization", "LayerNormalization" };
    if (value->producer == ONNX_NONE) return false;
    const onnx_node *node = &import->nodes[value->producer];
    for (size_t i = 0; i < TL_COUNT_OF(LAYERS); i++)
        if (strcmp(node->op, LAYERS[i]) == 0) return true;
    if (strcmp(node->op, "Mul") != 0 && strcmp(node->op, "Add") != 0) return false;
    for (size_t i = 0; i < node->input_count; i++) { /* the scale before a shift */
        const onnx_value *source = onnx_operand(import, node, i);
        if (source == NULL || source->producer == ONNX_NONE) continue;
        const char *op = import->nodes[source->producer].op;
        if (strcmp(op, "Conv") == 0 || strcmp(op, "ConvTranspose") == 0) return true;
    }
    return false;
}

/* Does the constant learn: one number for each channel of a layer's output? */
static bool is_trained(const onnx_import *import, const onnx_node *node, size_t index,
                       uint32_t rank, const onnx_array *reference)
{
    const onnx_value *constant = onnx_operand(import, node, index);
    if (import->folding || node->input_count != 2 || constant->dims.count < 2) return false;
    if (strcmp(node->op, "Add") != 0 && strcmp(node->op, "Mul") != 0 &&
        strcmp(node->op, "Sub") != 0)
        return false;
    uint32_t channels = reference->order[onnx_item_rank(import, reference) - 1];
    if (reference->dim[channels] != constant->dims.count) return false;
    if (rank - channels > constant->dims.rank) return false;
    if (constant->dims.dim[constant->dims.rank - (rank - channels)] != constant->dims.count)
        return false;
    const onnx_value *layer = onnx_operand(import, node, 1 - index);
    return layer->kind == ONNX_VALUE_TENSOR && is_layer_output(import, layer);
}

tl_status onnx_aligned(onnx_import *import, const onnx_node *node, size_t first, size_t count,
                       onnx_array *out)
{
    uint32_t rank;
    const onnx_array *reference = NULL;
    tl_status status = common_rank(import, node, first, count, &rank);
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        if (onnx_operand_is_constant(import, node, first + i)) continue;
        status = onnx_operand_array(import, node, first + i, &out[i]);
        if (status == TL_OK) status = raise_rank(import, node, &out[i], rank);
        if (status == TL_OK && (reference == NULL || count_of(&out[i]) > count_of(reference)))
            reference = &out[i];
    }
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        if (onnx_operand_is_constant(import, node, first + i)) {
            bool trained =
                reference != NULL && is_trained(import, node, first + i, rank, reference);
            status =
                onnx_constant_array(import, node, onnx_operand(import, node, first + i), rank,
                                    reference != NULL ? reference->order : NULL, trained, &out[i]);
        } else if (&out[i] != reference) {
            status = onnx_arrange(import, node, &out[i], reference->order);
        }
    }
    return status;
}

tl_status onnx_binary(onnx_import *import, const onnx_node *node, tl_op_kind kind,
                      const onnx_array *a, const onnx_array *b, onnx_array *out)
{
    onnx_array x = *a, y = *b;
    TL_ASSERT(x.rank == y.rank);
    bool second = count_of(&y) > count_of(&x);
    tl_status status =
        second ? onnx_arrange(import, node, &x, y.order) : onnx_arrange(import, node, &y, x.order);
    if (status != TL_OK) return status;
    const onnx_array *inputs[2] = { &x, &y };
    *out = x;
    return onnx_emit(import, node,
                     &(onnx_emit_options){ .kind = kind, .inputs = inputs, .input_count = 2 }, out);
}

tl_status onnx_binary_number(onnx_import *import, const onnx_node *node, tl_op_kind kind,
                             onnx_array *x, float number)
{
    onnx_array constant;
    tl_status status = onnx_number(import, node, number, x->rank, &constant);
    return status == TL_OK ? onnx_binary(import, node, kind, x, &constant, x) : status;
}

/* ---- Along axes -------------------------------------------------------------------------------
 */

tl_status onnx_reduce(onnx_import *import, const onnx_node *node, tl_op_kind kind, uint32_t axes,
                      bool keep, onnx_array *x)
{
    uint32_t item_rank = onnx_item_rank(import, x), kept = 0;
    if (!import->whole && (axes & 1) != 0)
        return onnx_fail_batch(import, node, "it reduces over the batch");
    if (axes == 0) return TL_OK;
    tl_attrs attrs = tl_attrs_default(kind);
    attrs.keep_dims = keep;
    onnx_array out = *x;
    uint8_t number[ONNX_RANK_MAX];
    out.rank = 0;
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        number[axis] = (uint8_t)out.rank;
        if (keep || (axes >> axis & 1) == 0) out.rank++;
    }
    for (uint32_t i = 0; i < item_rank; i++) {
        bool gone = (axes >> x->order[i] & 1) != 0;
        if (gone) attrs.axis_mask |= 1u << i;
        if (keep || !gone) out.order[kept++] = number[x->order[i]];
    }
    const onnx_array *inputs[1] = { x };
    tl_status status = onnx_emit(
        import, node,
        &(onnx_emit_options){ .kind = kind, .attrs = &attrs, .inputs = inputs, .input_count = 1 },
        &out);
    *x = out;
    return status;
}

tl_status onnx_slice(onnx_import *import, const onnx_node *node, onnx_array *x, uint32_t axis,
                     int64_t begin, int64_t end, int64_t step)
{
    if (begin == 0 && end == (int64_t)x->dim[axis] && step == 1) return TL_OK;
    if (axis < onnx_lead(import)) return onnx_fail_batch(import, node, "it cuts the batch");
    if (begin == end)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "its result is empty; leave it out");
    tl_attrs attrs = tl_attrs_default(TL_OP_SLICE);
    attrs.axis = (int32_t)onnx_place(import, x, axis);
    attrs.begin = (int32_t)begin;
    attrs.end = (int32_t)end;
    attrs.step = (int32_t)step;
    return onnx_unary(import, node, TL_OP_SLICE, &attrs, x);
}

tl_status onnx_concat(onnx_import *import, const onnx_node *node, onnx_array *parts, size_t count,
                      uint32_t axis, onnx_array *out)
{
    const onnx_array *inputs[TL_OP_INPUT_MAX];
    onnx_array joined = parts[0];
    size_t filled = 1;
    if (axis < onnx_lead(import)) return onnx_fail_batch(import, node, "it joins along the batch");
    tl_attrs attrs = tl_attrs_default(TL_OP_CONCAT);
    attrs.axis = (int32_t)onnx_place(import, &joined, axis);
    onnx_emit_options options = { .kind = TL_OP_CONCAT, .attrs = &attrs, .inputs = inputs };
    inputs[0] = &joined;
    for (size_t i = 1; i < count; i++) {
        tl_status status = onnx_arrange(import, node, &parts[i], joined.order);
        if (status != TL_OK) return status;
        if (filled == TL_OP_INPUT_MAX) { /* what is there so far becomes the first operand */
            options.input_count = filled;
            status = onnx_emit(import, node, &options, &joined);
            if (status != TL_OK) return status;
            filled = 1;
        }
        inputs[filled++] = &parts[i];
    }
    options.input_count = filled;
    tl_status status = filled > 1 ? onnx_emit(import, node, &options, &joined) : TL_OK;
    *out = joined;
    return status;
}

tl_status onnx_pad(onnx_import *import, const onnx_node *node, onnx_array *x,
                   const uint32_t *before, const uint32_t *after, tl_pad_mode mode, float fill)
{
    tl_attrs attrs = tl_attrs_default(TL_OP_PAD);
    bool any = false;
    for (uint32_t axis = 0; axis < x->rank; axis++) any = any || before[axis] + after[axis] > 0;
    if (!any) return TL_OK;
    if (!import->whole && before[0] + after[0] > 0)
        return onnx_fail_batch(import, node, "it pads the batch");
    tl_shape shape;
    tl_status status = onnx_item_shape(import, node, x, &shape); /* for its check of the rank */
    if (status != TL_OK) return status;
    for (uint32_t i = 0; i < onnx_item_rank(import, x); i++) {
        attrs.pad_begin[i] = before[x->order[i]];
        attrs.pad_end[i] = after[x->order[i]];
    }
    attrs.pad_mode = mode;
    attrs.alpha = fill;
    return onnx_unary(import, node, TL_OP_PAD, &attrs, x);
}

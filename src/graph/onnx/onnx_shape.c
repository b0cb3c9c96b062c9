#include "graph/onnx/onnx_internal.h"

#include <string.h>

/* ---- Names for what is there already ----------------------------------------------------------
 */

static tl_status run_identity(onnx_import *import, onnx_node *node)
{
    const onnx_value *source = onnx_operand(import, node, 0);
    if (source == NULL || source->kind == ONNX_VALUE_UNKNOWN)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "its operand is missing or not made");
    return onnx_yield_same(import, node, source);
}

static tl_status run_cast(onnx_import *import, onnx_node *node)
{
    const onnx_value *source = onnx_operand(import, node, 0);
    int64_t to = onnx_attr_int(node, "to", 0);
    bool to_float =
        to == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT || to == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
    bool to_integer =
        to == ONNX__TENSOR_PROTO__DATA_TYPE__INT64 || to == ONNX__TENSOR_PROTO__DATA_TYPE__INT32;
    bool constant = source != NULL && source->kind == ONNX_VALUE_CONSTANT;
    /* Readers convert a constant's numbers, but do not round them first. */
    bool exact = to_float || (constant && to_integer && !onnx_tensor_is_float(source->constant)) ||
                 (source != NULL && source->kind == ONNX_VALUE_SIZES && to_integer);
    if (!exact)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "conversion to element type %lld is not supported; export in float32",
                         (long long)to);
    return run_identity(import, node);
}

/* value_float, value_int and their lists as a tensor; NULL when there is none of them. */
static Onnx__TensorProto *constant_of_numbers(onnx_import *import, const onnx_node *node)
{
    Onnx__AttributeProto *attr = node->proto->n_attribute == 1 ? node->proto->attribute[0] : NULL;
    if (attr == NULL || (!attr->has_f && !attr->has_i && attr->n_floats + attr->n_ints == 0))
        return NULL;
    Onnx__TensorProto *tensor = tl_arena_alloc(import->arena, sizeof *tensor);
    int64_t *dims = tl_arena_alloc(import->arena, sizeof *dims);
    if (tensor == NULL || dims == NULL) return NULL;
    onnx__tensor_proto__init(tensor);
    bool list = attr->n_floats + attr->n_ints > 0;
    if (attr->has_f || attr->n_floats > 0) {
        tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
        tensor->float_data = list ? attr->floats : &attr->f;
        tensor->n_float_data = list ? attr->n_floats : 1;
    } else {
        tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
        tensor->int64_data = list ? attr->ints : &attr->i;
        tensor->n_int64_data = list ? attr->n_ints : 1;
    }
    *dims = (int64_t)(tensor->n_float_data + tensor->n_int64_data);
    tensor->dims = dims;
    tensor->n_dims = list ? 1 : 0;
    return tensor;
}

static tl_status run_constant(onnx_import *import, onnx_node *node)
{
    if (node->output_count == 0 || node->outputs[0] == ONNX_NONE) return TL_OK;
    onnx_value *value = &import->values[node->outputs[0]];
    const Onnx__AttributeProto *attr = onnx_attr(node, "value");
    const Onnx__TensorProto *tensor =
        attr != NULL && attr->t != NULL ? attr->t : constant_of_numbers(import, node);
    if (tensor == NULL)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "it does not consist of numbers");
    tl_status status = onnx_tensor_check(tensor, value->name, &value->dims, import->err);
    if (status != TL_OK) return status;
    value->kind = ONNX_VALUE_CONSTANT;
    value->constant = tensor;
    return TL_OK;
}

/* A matrix of weights turned around, as some exporters have it before a MatMul. The parameter keeps
 * the initializer's name. */
static tl_status run_transpose(onnx_import *import, onnx_node *node)
{
    const onnx_value *source = onnx_operand(import, node, 0);
    int64_t order[2];
    if (source == NULL || source->kind != ONNX_VALUE_CONSTANT || source->dims.rank != 2)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "only a constant matrix can be transposed; export the model in "
                         "channels-first order (NCHW) without transpositions");
    tl_status status = onnx_attr_sizes(import, node, "perm", 2, 0, 1, -1, order);
    if (status != TL_OK) return status;
    if (order[0] != -1 && order[0] == order[1])
        return onnx_fail(import, node, TL_EINVAL, "perm names an axis twice");
    onnx_value turned = *source;
    if (order[0] != 0) {
        bool back = source->transposed != ONNX_NONE;
        turned.transposed = back ? ONNX_NONE : (int32_t)(source - import->values);
        turned.dims.dim[0] = source->dims.dim[1];
        turned.dims.dim[1] = source->dims.dim[0];
    }
    return onnx_yield_same(import, node, &turned);
}

/* ---- Between images and vectors ---------------------------------------------------------------
 */

/* [n, c, h, w] -> [n, c * h * w] in ONNX's order. */
static tl_status yield_flat(onnx_import *import, onnx_node *node, const onnx_value *x)
{
    const tl_shape *shape = tl_builder_shape(import->builder, x->tensor);
    tl_tensor_index out = x->tensor;
    if (shape->rank == 3) out = onnx_append_unary(import, node, TL_OP_FLATTEN, NULL, x->tensor);
    return onnx_yield(import, node, out, 2);
}

static tl_status run_flatten(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status != TL_OK) return status;
    int64_t axis = onnx_attr_int(node, "axis", 1);
    if (axis < 0) axis += x->rank;
    if (axis != 1) return onnx_fail(import, node, TL_EUNSUPPORTED, "only axis 1 is supported");
    return yield_flat(import, node, x);
}

/* Does dimension `size` of a Reshape stand for `wanted`? -1 is what is left over, 0 the operand's.
 */
static bool stands_for(int64_t size, uint64_t wanted, uint64_t copied)
{
    return size == -1 || (size > 0 && (uint64_t)size == wanted) || (size == 0 && copied == wanted);
}

static tl_status run_reshape(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    int64_t to[ONNX_RANK_MAX];
    size_t count;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 1, "shape", ONNX_RANK_MAX, to, &count);
    if (status != TL_OK) return status;
    onnx_item in = onnx_item_of(import, x);
    uint64_t all = (uint64_t)in.c * in.h * in.w;
    size_t unknown = 0;
    for (size_t i = 0; i < count; i++) unknown += to[i] == -1;
    if (unknown > 1 || count == 0 || to[0] < -1)
        return onnx_fail(import, node, TL_EINVAL, "its shape is malformed");
    /* 1: exported for one item at a time, which then holds for each. */
    if (to[0] > 1 && to[0] != import->batch)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "it mixes the items of a batch");
    if (count == 2 && stands_for(to[1], all, in.c)) return yield_flat(import, node, x);
    bool same = count == 4 && stands_for(to[1], in.c, in.c) && stands_for(to[2], in.h, in.h) &&
                stands_for(to[3], in.w, in.w);
    /* A vector seen as an image of one pixel stays what it is; only its ONNX rank changes. */
    if (same && (x->rank == 4 || all == in.c)) return onnx_yield(import, node, x->tensor, 4);
    return onnx_fail(import, node, TL_EUNSUPPORTED,
                     "only [n, c, h, w] to [n, count] and back to [n, c, 1, 1] are supported");
}

/* Squeeze and Unsqueeze of height and width. */
static tl_status run_squeeze(onnx_import *import, onnx_node *node)
{
    onnx_value *x = onnx_operand(import, node, 0);
    int64_t axes[4];
    size_t count;
    bool one = x != NULL && x->kind == ONNX_VALUE_CONSTANT && x->dims.count == 1;
    if (one || (x != NULL && x->kind == ONNX_VALUE_SIZES)) return onnx_yield_same(import, node, x);
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status == TL_OK) status = onnx_operand_integers(import, node, 1, "axes", 4, axes, &count);
    if (status != TL_OK) return status;
    bool both = count == 2;
    for (size_t i = 0; i < count; i++) {
        if (axes[i] < 0) axes[i] += 4; /* the image's rank: before Squeeze, after Unsqueeze */
        both = both && (axes[i] == 2 || axes[i] == 3);
    }
    if (both) both = axes[0] != axes[1];
    bool removes = strcmp(node->op, "Squeeze") == 0;
    onnx_item in = onnx_item_of(import, x);
    if (!both || x->rank != (removes ? 4u : 2u) || in.h != 1 || in.w != 1)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "only the axes 2 and 3 of an image of one pixel are supported");
    return removes ? yield_flat(import, node, x) : onnx_yield(import, node, x->tensor, 4);
}

/* ---- Channels ---------------------------------------------------------------------------------
 */

static tl_status check_channel_axis(onnx_import *import, onnx_node *node, const onnx_value *x,
                                    int64_t axis)
{
    if (axis < 0) axis += x->rank;
    return axis == 1 ? TL_OK
                     : onnx_fail(import, node, TL_EUNSUPPORTED,
                                 "only the channels (axis 1) are supported");
}

static tl_status run_concat(onnx_import *import, onnx_node *node)
{
    tl_tensor_index inputs[TL_OP_INPUT_MAX];
    size_t count = 0;
    uint32_t rank = 0;
    if (node->input_count == 0) return onnx_fail(import, node, TL_EINVAL, "it has no operands");
    for (size_t i = 0; i < node->input_count; i++) {
        const onnx_value *part = onnx_operand(import, node, i);
        if (part != NULL && part->kind == ONNX_VALUE_SIZES) return onnx_concat_sizes(import, node);
    }
    for (size_t i = 0; i < node->input_count; i++) {
        onnx_value *x;
        tl_status status = onnx_operand_tensor(import, node, i, &x);
        if (status == TL_OK)
            status = check_channel_axis(import, node, x, onnx_attr_int(node, "axis", 1));
        if (status != TL_OK) return status;
        if (rank != 0 && x->rank != rank)
            return onnx_fail(import, node, TL_EINVAL, "operands of different rank");
        rank = x->rank;
        if (count == TL_OP_INPUT_MAX) { /* what is there so far becomes the first operand */
            inputs[0] = onnx_append(
                import, node,
                (tl_node_options){ .kind = TL_OP_CONCAT, .inputs = inputs, .input_count = count });
            count = 1;
        }
        inputs[count++] = x->tensor;
    }
    tl_node_options options = { .kind = TL_OP_CONCAT, .inputs = inputs, .input_count = count };
    return onnx_yield(import, node, count == 1 ? inputs[0] : onnx_append(import, node, options),
                      rank);
}

static tl_status yield_slice(onnx_import *import, onnx_node *node, size_t output,
                             const onnx_value *x, int64_t begin, int64_t end)
{
    onnx_item in = onnx_item_of(import, x);
    if (begin < 0 || begin >= end || end > in.c)
        return onnx_fail(import, node, TL_EINVAL, "channels %lld to %lld of %u", (long long)begin,
                         (long long)end, in.c);
    tl_attrs attrs = tl_attrs_default(TL_OP_SLICE);
    attrs.begin = (int32_t)begin;
    attrs.end = (int32_t)end;
    return onnx_yield_at(import, node, output,
                         onnx_append_unary(import, node, TL_OP_SLICE, &attrs, x->tensor), x->rank);
}

/* An end of a Slice: negative counts from the end, beyond is cut. */
static int64_t slice_bound(int64_t bound, int64_t channels)
{
    if (bound < 0) bound = bound < -channels ? 0 : bound + channels;
    return bound > channels ? channels : bound;
}

static tl_status run_slice(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    int64_t starts[4], ends[4], axes[4] = { 0 }, steps[4] = { 1 };
    size_t start_count, end_count, axis_count, step_count;
    const onnx_value *source = onnx_operand(import, node, 0);
    if (source != NULL && source->kind == ONNX_VALUE_SIZES)
        return onnx_slice_sizes(import, node, source);
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 1, "starts", 4, starts, &start_count);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 2, "ends", 4, ends, &end_count);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 3, "axes", 4, axes, &axis_count);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 4, "steps", 4, steps, &step_count);
    if (status != TL_OK) return status;
    if (start_count != 1 || end_count != 1 || axis_count != 1 || step_count > 1)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "only one axis at a time is supported");
    if (step_count == 1 && steps[0] != 1)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "only step 1 is supported");
    status = check_channel_axis(import, node, x, axes[0]);
    if (status != TL_OK) return status;
    int64_t channels = onnx_item_of(import, x).c;
    return yield_slice(import, node, 0, x, slice_bound(starts[0], channels),
                       slice_bound(ends[0], channels));
}

static tl_status run_split(onnx_import *import, onnx_node *node)
{
    enum { PARTS_MAX = 64 };
    onnx_value *x;
    int64_t sizes[PARTS_MAX];
    size_t count, parts = node->output_count;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 1, "split", PARTS_MAX, sizes, &count);
    if (status == TL_OK)
        status = check_channel_axis(import, node, x, onnx_attr_int(node, "axis", 0));
    if (status != TL_OK) return status;
    int64_t channels = onnx_item_of(import, x).c;
    if (parts == 0 || parts > PARTS_MAX || (count != 0 && count != parts))
        return onnx_fail(import, node, TL_EINVAL, "%zu sizes for %zu outputs", count, parts);
    int64_t even = (channels + (int64_t)parts - 1) / (int64_t)parts, begin = 0;
    for (size_t i = 0; i < parts; i++) {
        int64_t left = channels - begin, size = count != 0 ? sizes[i] : even < left ? even : left;
        if (size < 1 || size > left)
            return onnx_fail(import, node, TL_EINVAL, "its parts do not add up to %lld channels",
                             (long long)channels);
        status = yield_slice(import, node, i, x, begin, begin + size);
        if (status != TL_OK) return status;
        begin += size;
    }
    return TL_OK;
}

/* ---- Padding ----------------------------------------------------------------------------------
 */

/* Zeros around an image are remembered with the value and added by the Conv that uses it. */
static tl_status run_pad(onnx_import *import, onnx_node *node)
{
    const onnx_value *x = onnx_operand(import, node, 0);
    int64_t pads[8], axes[4];
    size_t count, axis_count;
    double fill;
    tl_status status = onnx_operand_integers(import, node, 1, "pads", 8, pads, &count);
    if (status == TL_OK) status = onnx_operand_number(import, node, 2, "value", 0.0, &fill);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 3, "axes", 4, axes, &axis_count);
    if (status != TL_OK) return status;
    if (x == NULL || x->kind != ONNX_VALUE_TENSOR || x->rank != 4)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "its operand is not an image");
    if (axis_count == 0)
        for (axis_count = 0; axis_count < 4; axis_count++) axes[axis_count] = (int64_t)axis_count;
    if (!onnx_attr_is(node, "mode", "constant") || fill != 0.0 || count != 2 * axis_count)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "only padding with zeros is supported");
    onnx_value padded = *x;
    for (size_t i = 0; i < count; i++) {
        int64_t axis = axes[i % axis_count];
        if (axis < 0) axis += 4;
        if (pads[i] == 0) continue;
        if (axis < 2 || axis > 3 || pads[i] < 0 || pads[i] > UINT16_MAX)
            return onnx_fail(import, node, TL_EUNSUPPORTED,
                             "only height and width can be padded, by up to %d", UINT16_MAX);
        uint32_t *pad = &padded.pad[(i < axis_count ? 0 : 2) + (axis - 2)];
        *pad += (uint32_t)pads[i];
        if (*pad > UINT16_MAX) return onnx_fail(import, node, TL_ELIMIT, "too much padding");
    }
    return onnx_yield_same(import, node, &padded);
}

/* ---- The table --------------------------------------------------------------------------------
 */

/* clang-format off */
static const onnx_op_entry SHAPES[] = {
    { "Identity", run_identity, "" },
    { "Dropout", run_identity, "does nothing, in training too" },
    { "Cast", run_cast, "to float, or of constants and sizes" },
    { "Constant", run_constant, "numbers" },
    { "Flatten", run_flatten, "axis 1" },
    { "Reshape", run_reshape, "[n, c, h, w] to [n, count], and [n, c] to [n, c, 1, 1]" },
    { "Squeeze", run_squeeze, "axes 2 and 3 of an image of one pixel" },
    { "Unsqueeze", run_squeeze, "axes 2 and 3 of a vector" },
    { "Concat", run_concat, "along the channels (axis 1)" },
    { "Slice", run_slice, "channels, with step 1" },
    { "Split", run_split, "channels, into up to 64 parts" },
    { "Shape", onnx_run_shape, "where it leads to a Reshape" },
    { "Gather", onnx_run_gather, "of sizes, where they lead to a Reshape" },
    { "Pad", run_pad, "zeros around an image that a Conv uses" },
    { "Transpose", run_transpose, "of a constant matrix" },
};
/* clang-format on */

onnx_handler onnx_shape_find(const char *op)
{
    for (size_t i = 0; i < TL_COUNT_OF(SHAPES); i++)
        if (strcmp(SHAPES[i].op, op) == 0) return SHAPES[i].handler;
    return NULL;
}

const onnx_op_entry *onnx_shape_at(size_t index)
{
    return index < TL_COUNT_OF(SHAPES) ? &SHAPES[index] : NULL;
}

static const struct {
    const char *op, *remedy;
} REMEDIES[] = {
    { "ConstantOfShape", "export the model with fixed sizes, or fold constants first (onnxsim)" },
    { "LeakyRelu", "use Relu, Clip, HardSwish or SiLU (Sigmoid and Mul) instead" },
    { "PRelu", "use Relu, Clip, HardSwish or SiLU (Sigmoid and Mul) instead" },
    { "Elu", "use Relu, Clip, HardSwish or SiLU (Sigmoid and Mul) instead" },
    { "Gelu", "use Relu, Clip, HardSwish or SiLU (Sigmoid and Mul) instead" },
    { "Tanh", "use Relu, Clip, HardSwish or SiLU (Sigmoid and Mul) instead" },
    { "LogSoftmax", "leave it out: the loss works on the values before it" },
    { "QuantizeLinear", "export the float32 model before quantisation" },
    { "DequantizeLinear", "export the float32 model before quantisation" },
    { "QLinearConv", "export the float32 model before quantisation" },
    { "If", "export one branch of the model (trace it)" },
    { "Loop", "export the model unrolled (trace it)" },
};

const char *onnx_remedy(const char *op)
{
    for (size_t i = 0; i < TL_COUNT_OF(REMEDIES); i++)
        if (strcmp(REMEDIES[i].op, op) == 0) return REMEDIES[i].remedy;
    return "rewrite that layer with supported operators (docs/operators.md) and export again";
}

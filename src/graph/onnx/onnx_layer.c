#include "graph/onnx/onnx_internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { SIZE_MAX_ATTR = 1 << 16 }; /* of a kernel, stride, dilation, padding */

/* ---- Windows ----------------------------------------------------------------------------------
 */

/* What SAME padding adds in total so that the output has ceil(in / stride) elements. */
static int64_t same_padding(int64_t in, int64_t kernel, int64_t stride, int64_t dilation)
{
    int64_t out = (in + stride - 1) / stride;
    int64_t total = (out - 1) * stride + (kernel - 1) * dilation + 1 - in;
    return total > 0 ? total : 0;
}

static tl_status read_pads(const onnx_import *import, const onnx_node *node, onnx_item in,
                           const int64_t kernel[2], const int64_t stride[2],
                           const int64_t dilation[2], int64_t pads[4])
{
    if (onnx_attr_is(node, "auto_pad", "NOTSET"))
        return onnx_attr_sizes(import, node, "pads", 4, 0, SIZE_MAX_ATTR, 0, pads);
    memset(pads, 0, 4 * sizeof *pads);
    if (onnx_attr_is(node, "auto_pad", "VALID")) return TL_OK;
    bool upper = onnx_attr_is(node, "auto_pad", "SAME_UPPER");
    if (!upper && !onnx_attr_is(node, "auto_pad", "SAME_LOWER"))
        return onnx_fail(import, node, TL_EINVAL, "unknown auto_pad");
    int64_t size[2] = { in.h, in.w };
    for (int i = 0; i < 2; i++) {
        int64_t total = same_padding(size[i], kernel[i], stride[i], dilation[i]);
        int64_t small = total / 2, large = total - small;
        pads[i] = upper ? small : large;
        pads[i + 2] = upper ? large : small;
    }
    return TL_OK;
}

/* Strides, dilations and padding of a convolution or pooling; `in` includes what a Pad added. */
static tl_status read_window(const onnx_import *import, const onnx_node *node, onnx_item in,
                             const int64_t kernel[2], tl_window *out)
{
    int64_t stride[2], dilation[2], pads[4];
    tl_status status = onnx_attr_sizes(import, node, "strides", 2, 1, SIZE_MAX_ATTR, 1, stride);
    if (status == TL_OK)
        status = onnx_attr_sizes(import, node, "dilations", 2, 1, SIZE_MAX_ATTR, 1, dilation);
    if (status == TL_OK) status = read_pads(import, node, in, kernel, stride, dilation, pads);
    if (status != TL_OK) return status;
    *out = (tl_window){ .kernel_h = (uint32_t)kernel[0],
                        .kernel_w = (uint32_t)kernel[1],
                        .stride_h = (uint32_t)stride[0],
                        .stride_w = (uint32_t)stride[1],
                        .dilation_h = (uint32_t)dilation[0],
                        .dilation_w = (uint32_t)dilation[1],
                        .pad_top = (uint32_t)pads[0],
                        .pad_left = (uint32_t)pads[1],
                        .pad_bottom = (uint32_t)pads[2],
                        .pad_right = (uint32_t)pads[3] };
    return TL_OK;
}

/* ---- Layers with weights ----------------------------------------------------------------------
 */

/* Constant operand `index` as a parameter of `count` floats (0: any). */
static tl_status read_param(onnx_import *import, onnx_node *node, size_t index, size_t count,
                            tl_param_init *out)
{
    onnx_value *value;
    tl_status status = onnx_operand_constant(import, node, index, &value);
    if (status != TL_OK) return status;
    if (value->dims.count == 0 || (count != 0 && value->dims.count != count))
        return onnx_fail(import, node, TL_EINVAL, "operand %zu has %zu numbers instead of %zu",
                         index, value->dims.count, count);
    out->values = onnx_floats(import, value);
    out->name = onnx_param_name(import, value);
    out->count = value->dims.count;
    return out->values == NULL || out->name == NULL ? TL_ENOMEM : TL_OK;
}

static tl_status check_conv_weight(onnx_import *import, onnx_node *node, const onnx_dims *dims,
                                   onnx_item in, int64_t groups)
{
    if (dims->rank != 4)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "its weight has %u dimensions; only images (4) are supported", dims->rank);
    if (dims->count == 0 || dims->dim[2] > SIZE_MAX_ATTR || dims->dim[3] > SIZE_MAX_ATTR)
        return onnx_fail(import, node, TL_EINVAL, "its weight is empty or too large");
    if (groups < 1 || groups > in.c || in.c != (uint64_t)dims->dim[1] * (uint64_t)groups)
        return onnx_fail(import, node, TL_EINVAL,
                         "%lld groups of %u channels do not fit an input of %u channels",
                         (long long)groups, dims->dim[1], in.c);
    return TL_OK;
}

/* Window, channels and groups of a convolution of `x`, with the padding of a Pad before it. */
static tl_status read_conv_attrs(onnx_import *import, onnx_node *node, const onnx_value *x,
                                 const onnx_dims *weight, tl_attrs *attrs)
{
    onnx_item in = onnx_item_of(import, x);
    int64_t groups = onnx_attr_int(node, "group", 1);
    tl_status status = check_conv_weight(import, node, weight, in, groups);
    if (status != TL_OK) return status;
    int64_t kernel[2] = { weight->dim[2], weight->dim[3] }, stated[2];
    in.h += x->pad[0] + x->pad[2];
    in.w += x->pad[1] + x->pad[3];
    status = onnx_attr_sizes(import, node, "kernel_shape", 2, 1, SIZE_MAX_ATTR, 0, stated);
    if (status == TL_OK) status = read_window(import, node, in, kernel, &attrs->window);
    if (status != TL_OK) return status;
    if (stated[0] != 0 && (stated[0] != kernel[0] || stated[1] != kernel[1]))
        return onnx_fail(import, node, TL_EINVAL, "kernel_shape and its weight disagree");
    attrs->window.pad_top += x->pad[0];
    attrs->window.pad_left += x->pad[1];
    attrs->window.pad_bottom += x->pad[2];
    attrs->window.pad_right += x->pad[3];
    attrs->channels = weight->dim[0];
    attrs->groups = (uint32_t)groups;
    attrs->has_bias = onnx_operand(import, node, 2) != NULL;
    return TL_OK;
}

static tl_status run_conv(onnx_import *import, onnx_node *node)
{
    onnx_value *x = onnx_operand(import, node, 0), *weight;
    if (x == NULL || x->kind != ONNX_VALUE_TENSOR)
        return onnx_operand_tensor(import, node, 0, &x); /* says why; pending padding is welcome */
    tl_status status = onnx_operand_constant(import, node, 1, &weight);
    if (status != TL_OK) return status;
    if (x->rank != 4) return onnx_fail(import, node, TL_EUNSUPPORTED, "its input is not an image");
    tl_attrs attrs = tl_attrs_default(TL_OP_CONV);
    status = read_conv_attrs(import, node, x, &weight->dims, &attrs);
    if (status != TL_OK) return status;

    tl_param_init params[2] = { { 0 } };
    status = read_param(import, node, 1, 0, &params[0]);
    if (status == TL_OK && attrs.has_bias)
        status = read_param(import, node, 2, attrs.channels, &params[1]);
    if (status != TL_OK) return status;
    tl_node_options options = { .kind = TL_OP_CONV,
                                .attrs = &attrs,
                                .inputs = &x->tensor,
                                .input_count = 1,
                                .params = params,
                                .param_count = attrs.has_bias ? 2 : 1 };
    return onnx_yield(import, node, onnx_append(import, node, options), 4);
}

static tl_status run_batch_norm(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status != TL_OK) return status;
    if (onnx_attr_int(node, "spatial", 1) != 1)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "spatial = 0 is not supported");
    tl_attrs attrs = tl_attrs_default(TL_OP_BATCH_NORM);
    attrs.epsilon = onnx_attr_float(node, "epsilon", 1e-5f);
    float kept = onnx_attr_float(node, "momentum", 0.9f); /* the share of the old statistics */
    if (!(attrs.epsilon > 0.0f && attrs.epsilon < 1.0f) || !(kept >= 0.0f && kept <= 1.0f))
        return onnx_fail(import, node, TL_EINVAL, "epsilon or momentum is not between 0 and 1");
    attrs.momentum = (float)(1.0 - (double)kept);
    tl_param_init params[4] = { { 0 } };
    onnx_item in = onnx_item_of(import, x);
    for (size_t i = 0; i < 4; i++) {
        status = read_param(import, node, i + 1, in.c, &params[i]);
        if (status != TL_OK) return status;
    }
    tl_node_options options = { .kind = TL_OP_BATCH_NORM,
                                .attrs = &attrs,
                                .inputs = &x->tensor,
                                .input_count = 1,
                                .params = params,
                                .param_count = 4 };
    return onnx_yield(import, node, onnx_append(import, node, options), x->rank);
}

/* A matrix as [outputs, inputs] times `factor`, whichever way it lies in the file. */
static float *read_matrix(onnx_import *import, const onnx_value *matrix, bool outputs_first,
                          float factor)
{
    float *in = onnx_floats(import, matrix);
    float *out = onnx_floats_alloc(import, matrix->dims.count);
    if (in == NULL || out == NULL) return NULL;
    size_t rows = matrix->dims.dim[0], columns = matrix->dims.dim[1];
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            out[outputs_first ? r * columns + c : c * rows + r] = factor * in[r * columns + c];
    return out;
}

/* A Gemm's third operand: [outputs], [1, outputs] or one number for all. */
static tl_status read_gemm_bias(onnx_import *import, onnx_node *node, onnx_value *bias,
                                size_t outputs, float factor, tl_param_init *out)
{
    size_t count = bias->dims.count;
    bool row = bias->dims.rank <= 2 && count == outputs &&
               (bias->dims.rank == 0 || bias->dims.dim[bias->dims.rank - 1] == count);
    if (!row && count != 1)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "its bias does not have one number for each of the %zu outputs", outputs);
    const float *values = onnx_floats(import, bias);
    float *all = onnx_floats_alloc(import, outputs);
    if (values == NULL || all == NULL) return TL_ENOMEM;
    for (size_t i = 0; i < outputs; i++) all[i] = factor * values[row ? i : 0];
    *out = (tl_param_init){ onnx_param_name(import, bias), all, outputs };
    return out->name == NULL ? TL_ENOMEM : TL_OK;
}

/* Append a GEMM; `bias` may be NULL. */
static tl_status append_gemm(onnx_import *import, onnx_node *node, const onnx_value *x,
                             onnx_value *matrix, bool outputs_first, onnx_value *bias, float alpha,
                             float beta, tl_tensor_index *out)
{
    const onnx_dims *dims = &matrix->dims;
    if (x->rank != 2)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "its input is an image; put a Flatten before it");
    if (dims->rank != 2 || dims->count == 0)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "its second operand is not a matrix");
    uint32_t outputs = dims->dim[outputs_first ? 0 : 1], inputs = dims->dim[outputs_first ? 1 : 0];
    if (inputs != onnx_item_of(import, x).c)
        return onnx_fail(import, node, TL_EINVAL, "its matrix takes %u inputs and gets %u", inputs,
                         onnx_item_of(import, x).c);
    tl_attrs attrs = tl_attrs_default(TL_OP_GEMM);
    attrs.channels = outputs;
    attrs.has_bias = bias != NULL;
    tl_param_init params[2] = { { .count = dims->count } };
    params[0].values = read_matrix(import, matrix, outputs_first, alpha);
    params[0].name = onnx_param_name(import, matrix);
    if (params[0].values == NULL || params[0].name == NULL) return TL_ENOMEM;
    if (bias != NULL) {
        tl_status status = read_gemm_bias(import, node, bias, outputs, beta, &params[1]);
        if (status != TL_OK) return status;
    }
    *out = onnx_append(import, node,
                       (tl_node_options){ .kind = TL_OP_GEMM,
                                          .attrs = &attrs,
                                          .inputs = &x->tensor,
                                          .input_count = 1,
                                          .params = params,
                                          .param_count = bias != NULL ? 2 : 1 });
    return TL_OK;
}

static tl_status run_gemm(onnx_import *import, onnx_node *node)
{
    onnx_value *x, *matrix, *bias = NULL;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status == TL_OK) status = onnx_operand_constant(import, node, 1, &matrix);
    if (status == TL_OK && onnx_operand(import, node, 2) != NULL)
        status = onnx_operand_constant(import, node, 2, &bias);
    if (status != TL_OK) return status;
    if (onnx_attr_int(node, "transA", 0) != 0)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "transA = 1 mixes the items of a batch");
    float alpha = onnx_attr_float(node, "alpha", 1.0f), beta = onnx_attr_float(node, "beta", 1.0f);
    tl_tensor_index out = TL_TENSOR_NONE;
    status = append_gemm(import, node, x, matrix, onnx_attr_int(node, "transB", 0) != 0, bias,
                         alpha, beta, &out);
    return status == TL_OK ? onnx_yield(import, node, out, 2) : status;
}

/* The Add of a constant row that alone uses a MatMul's output: both together are one GEMM. */
static onnx_node *find_bias_add(const onnx_import *import, const onnx_node *node, size_t outputs,
                                onnx_value **bias)
{
    if (node->output_count == 0 || node->outputs[0] == ONNX_NONE) return NULL;
    const onnx_value *product = &import->values[node->outputs[0]];
    if (product->use_count != 1 || product->is_output) return NULL;
    onnx_node *add = &import->nodes[product->consumer];
    if (strcmp(add->op, "Add") != 0 || add->input_count != 2) return NULL;
    for (size_t i = 0; i < 2; i++) {
        onnx_value *value = onnx_operand(import, add, i);
        if (value == NULL || value->kind != ONNX_VALUE_CONSTANT) continue;
        if (value->dims.rank != 1 || value->dims.count != outputs) continue;
        *bias = value;
        return add;
    }
    return NULL;
}

static tl_status run_matmul(onnx_import *import, onnx_node *node)
{
    onnx_value *x, *matrix, *bias = NULL;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status == TL_OK) status = onnx_operand_constant(import, node, 1, &matrix);
    if (status != TL_OK) return status;
    onnx_node *add =
        matrix->dims.rank == 2 ? find_bias_add(import, node, matrix->dims.dim[1], &bias) : NULL;
    tl_tensor_index out = TL_TENSOR_NONE;
    status = append_gemm(import, node, x, matrix, false, bias, 1.0f, 1.0f, &out);
    if (status != TL_OK) return status;
    if (add != NULL) add->absorbed = true;
    return onnx_yield(import, add != NULL ? add : node, out, 2);
}

/* ---- Functions of one number ------------------------------------------------------------------
 */

static const struct {
    const char *op;
    tl_op_kind kind;
} PLAIN[] = { { "Relu", TL_OP_RELU },
              { "Sigmoid", TL_OP_SIGMOID },
              { "HardSwish", TL_OP_HARD_SWISH },
              { "Abs", TL_OP_ABS } };

static tl_status run_plain(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status != TL_OK) return status;
    size_t i = 0;
    while (strcmp(PLAIN[i].op, node->op) != 0) i++; /* the table of operators led here */
    return onnx_yield(import, node, onnx_append_unary(import, node, PLAIN[i].kind, NULL, x->tensor),
                      x->rank);
}

static tl_status run_clip(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    double low, high;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_operand_number(import, node, 1, "min", -(double)FLT_MAX, &low);
    if (status == TL_OK)
        status = onnx_operand_number(import, node, 2, "max", (double)FLT_MAX, &high);
    if (status != TL_OK) return status;
    if (!(low <= high))
        return onnx_fail(import, node, TL_EINVAL, "its minimum is above its maximum");
    tl_attrs attrs = tl_attrs_default(TL_OP_CLIP);
    attrs.alpha = (float)fmax(low, -(double)FLT_MAX);
    attrs.beta = (float)fmin(high, (double)FLT_MAX);
    return onnx_yield(import, node, onnx_append_unary(import, node, TL_OP_CLIP, &attrs, x->tensor),
                      x->rank);
}

static tl_status run_hard_sigmoid(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status != TL_OK) return status;
    tl_attrs attrs = tl_attrs_default(TL_OP_HARD_SIGMOID);
    attrs.alpha = onnx_attr_float(node, "alpha", 0.2f);
    attrs.beta = onnx_attr_float(node, "beta", 0.5f);
    if (!isfinite(attrs.alpha) || !isfinite(attrs.beta))
        return onnx_fail(import, node, TL_EINVAL, "alpha or beta is not finite");
    return onnx_yield(import, node,
                      onnx_append_unary(import, node, TL_OP_HARD_SIGMOID, &attrs, x->tensor),
                      x->rank);
}

static tl_status run_softmax(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status != TL_OK) return status;
    int64_t axis = onnx_attr_int(node, "axis", import->opset >= 13 ? -1 : 1);
    if (axis < 0) axis += x->rank;
    onnx_item in = onnx_item_of(import, x);
    /* Before operator set 13 everything from the axis on was one row. */
    bool row = import->opset >= 13 || in.h * in.w == 1;
    if (axis != 1 || !row)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "only the channels (axis 1) are supported");
    return onnx_yield(import, node, onnx_append_unary(import, node, TL_OP_SOFTMAX, NULL, x->tensor),
                      x->rank);
}

/* ---- Pooling ----------------------------------------------------------------------------------
 */

/* Padding at the end that makes floor((in + pads - reach) / stride) + 1 what rounding up gives; a
 * last window that would start in the padding is dropped, as PyTorch and ONNX 1.17 have it. */
static uint32_t ceil_padding(uint32_t in, uint32_t kernel, uint32_t stride, uint32_t before,
                             uint32_t after)
{
    int64_t room = (int64_t)in + before + after - kernel;
    if (room < 0) return after;
    int64_t last = (room + stride - 1) / stride * stride; /* where the last window starts */
    if (last >= (int64_t)in + before) last -= stride;
    int64_t needed = last + kernel - in - before;
    return needed > after ? (uint32_t)needed : after;
}

static tl_status run_max_pool(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    int64_t kernel[2];
    tl_attrs attrs = tl_attrs_default(TL_OP_MAX_POOL);
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_attr_sizes(import, node, "kernel_shape", 2, 1, SIZE_MAX_ATTR, 0, kernel);
    if (status != TL_OK) return status;
    if (kernel[0] == 0 || x->rank != 4)
        return onnx_fail(import, node, TL_EINVAL,
                         "kernel_shape is missing or its input is no image");
    onnx_item in = onnx_item_of(import, x);
    tl_window *w = &attrs.window;
    status = read_window(import, node, in, kernel, w);
    if (status != TL_OK) return status;
    if (w->dilation_h != 1 || w->dilation_w != 1)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "dilations other than 1 are not supported");
    if (onnx_attr_int(node, "ceil_mode", 0) != 0) {
        w->pad_bottom = ceil_padding(in.h, w->kernel_h, w->stride_h, w->pad_top, w->pad_bottom);
        w->pad_right = ceil_padding(in.w, w->kernel_w, w->stride_w, w->pad_left, w->pad_right);
    }
    return onnx_yield(import, node,
                      onnx_append_unary(import, node, TL_OP_MAX_POOL, &attrs, x->tensor), 4);
}

/* Append pooling over the whole image; the result has ONNX rank 4, or 2 when not `keep`. */
static tl_status yield_global(onnx_import *import, onnx_node *node, const onnx_value *x,
                              tl_op_kind kind, bool keep)
{
    if (x->rank != 4) return onnx_fail(import, node, TL_EUNSUPPORTED, "its input is not an image");
    tl_tensor_index out = onnx_append_unary(import, node, kind, NULL, x->tensor);
    if (!keep && out != TL_TENSOR_NONE) out = tl_builder_unary(import->builder, TL_OP_FLATTEN, out);
    return onnx_yield(import, node, out, keep ? 4 : 2);
}

static tl_op_kind pool_kind(const onnx_node *node)
{
    return strstr(node->op, "Max") != NULL ? TL_OP_GLOBAL_MAX_POOL : TL_OP_GLOBAL_AVERAGE_POOL;
}

static tl_status run_global_pool(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    return status == TL_OK ? yield_global(import, node, x, pool_kind(node), true) : status;
}

/* ReduceMean and ReduceMax over height and width. */
static tl_status run_reduce(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    int64_t axes[4];
    size_t count;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status == TL_OK) status = onnx_operand_integers(import, node, 1, "axes", 4, axes, &count);
    if (status != TL_OK) return status;
    unsigned seen = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + (int64_t)x->rank : axes[i];
        if (axis == 2 || axis == 3)
            seen |= 1u << (axis - 2);
        else
            seen |= 4;
    }
    if (seen != 3)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "only height and width together (axes 2, 3) are supported");
    return yield_global(import, node, x, pool_kind(node), onnx_attr_int(node, "keepdims", 1) != 0);
}

static tl_status run_average_pool(onnx_import *import, onnx_node *node)
{
    onnx_value *x;
    int64_t kernel[2];
    tl_window window;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_attr_sizes(import, node, "kernel_shape", 2, 1, SIZE_MAX_ATTR, 0, kernel);
    if (status != TL_OK) return status;
    onnx_item in = onnx_item_of(import, x);
    status = read_window(import, node, in, kernel, &window);
    if (status != TL_OK) return status;
    uint32_t pads = window.pad_top | window.pad_left | window.pad_bottom | window.pad_right;
    if (kernel[0] != in.h || kernel[1] != in.w || pads != 0)
        return onnx_fail(
            import, node, TL_EUNSUPPORTED,
            "averages over parts of an image are not supported; use a global average, a "
            "MaxPool or a Conv with strides");
    return yield_global(import, node, x, TL_OP_GLOBAL_AVERAGE_POOL, true);
}

/* ---- The table --------------------------------------------------------------------------------
 */

static const onnx_op_entry LAYERS[] = {
    { "Conv", run_conv,
      "two dimensions; any strides, dilations, groups and padding (auto_pad too); constant weight "
      "and bias" },
    { "BatchNormalization", run_batch_norm,
      "constant parameters; its momentum is kept for training" },
    { "Gemm", run_gemm, "constant matrix and bias; alpha, beta, transB; not transA" },
    { "MatMul", run_matmul,
      "by a constant matrix; an Add of a constant row after it becomes the bias" },
    { "Relu", run_plain, "" },
    { "Sigmoid", run_plain, "x * Sigmoid(x) becomes SiLU" },
    { "HardSwish", run_plain, "" },
    { "Abs", run_plain, "" },
    { "Clip", run_clip, "constant bounds, as operands or attributes" },
    { "HardSigmoid", run_hard_sigmoid, "alpha and beta" },
    { "Softmax", run_softmax, "over the channels (axis 1)" },
    { "MaxPool", run_max_pool, "two dimensions; strides, padding, ceil_mode; dilation 1" },
    { "AveragePool", run_average_pool, "over the whole image" },
    { "GlobalAveragePool", run_global_pool, "" },
    { "GlobalMaxPool", run_global_pool, "" },
    { "ReduceMean", run_reduce, "over height and width together" },
    { "ReduceMax", run_reduce, "over height and width together" },
    { "Add", onnx_run_binary,
      "two items of equal shape; or one number, or one number a channel, computed or constant" },
    { "Sub", onnx_run_binary, "as Add" },
    { "Mul", onnx_run_binary, "as Add" },
    { "Div", onnx_run_binary, "by a constant" },
};

onnx_handler onnx_layer_find(const char *op)
{
    for (size_t i = 0; i < TL_COUNT_OF(LAYERS); i++)
        if (strcmp(LAYERS[i].op, op) == 0) return LAYERS[i].handler;
    return NULL;
}

bool tl_onnx_operator_at(size_t index, tl_onnx_operator *out)
{
    const onnx_op_entry *entry =
        index < TL_COUNT_OF(LAYERS) ? &LAYERS[index] : onnx_shape_at(index - TL_COUNT_OF(LAYERS));
    if (entry == NULL) return false;
    *out = (tl_onnx_operator){ entry->op, entry->accepts };
    return true;
}

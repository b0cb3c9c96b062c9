#include "graph/onnx/import/ops/internal.h"

#include <string.h>

/* Layers: operators whose weights learn. */

/* ---- Convolution ------------------------------------------------------------------------------
 */

/* The Add of one number a channel that alone uses the node's output: its bias. */
static onnx_node *find_bias_add(const onnx_import *import, const onnx_node *node, size_t channels,
                                uint32_t rank, uint32_t axis, onnx_value **bias)
{
    if (import->folding || node->output_count == 0 || node->outputs[0] == ONNX_NONE) return NULL;
    const onnx_value *product = &import->values[node->outputs[0]];
    if (product->use_count != 1 || product->is_output) return NULL;
    onnx_node *add = &import->nodes[product->consumer];
    if (strcmp(add->op, "Add") != 0 || add->input_count != 2 || add->proto->n_attribute > 0)
        return NULL;
    for (size_t i = 0; i < 2; i++) {
        onnx_value *value = onnx_operand(import, add, i);
        if (value == NULL || value->kind != ONNX_VALUE_CONSTANT) continue;
        const onnx_dims *dims = &value->dims;
        uint32_t from_end = rank - axis; /* the channels' place in the constant */
        if (dims->count != channels || dims->rank < from_end || dims->rank > rank) continue;
        if (dims->dim[dims->rank - from_end] != channels) continue;
        *bias = value;
        return add;
    }
    return NULL;
}

typedef struct conv {
    onnx_array x;
    tl_attrs attrs;
    onnx_value *weight, *bias;
    onnx_node *last; /* the node whose output is made: itself, or an Add */
    bool line;       /* [n, c, w] */
} conv;

/* Operands and groups; of a transposed convolution the weight is [in, out / groups, ...]. */
static tl_status open_conv(onnx_import *import, onnx_node *node, bool transposed, conv *c)
{
    const onnx_dims *dims;
    onnx_value *source = onnx_operand(import, node, 0);
    tl_status status = onnx_operand_constant(import, node, 1, &c->weight);
    if (status != TL_OK) return status;
    if (!transposed && source->kind == ONNX_VALUE_TENSOR)
        c->x = source->array; /* pending padding is welcome */
    else
        status = onnx_operand_array(import, node, 0, &c->x);
    if (status != TL_OK) return status;
    dims = &c->weight->dims;
    if (c->x.rank != 3 && c->x.rank != 4)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "its input has %u dimensions; images (4) and rows (3) are supported",
                         c->x.rank);
    if (dims->rank != c->x.rank)
        return onnx_fail(import, node, TL_EINVAL, "its weight has %u dimensions, its input %u",
                         dims->rank, c->x.rank);
    c->line = c->x.rank == 3;
    uint32_t channels = c->x.dim[1];
    int64_t groups = onnx_attr_int(node, "group", 1);
    if (dims->count == 0 || dims->dim[2] > ONNX_WINDOW_MAX ||
        dims->dim[dims->rank - 1] > ONNX_WINDOW_MAX)
        return onnx_fail(import, node, TL_EINVAL, "its weight is empty or too large");
    uint32_t takes = dims->dim[transposed ? 0 : 1];
    if (groups < 1 || groups > channels ||
        channels != (uint64_t)takes * (uint64_t)(transposed ? 1 : groups) ||
        dims->dim[0] % (uint64_t)groups != 0)
        return onnx_fail(import, node, TL_EINVAL,
                         "%lld groups of %u channels do not fit an input of %u channels",
                         (long long)groups, takes, channels);
    c->attrs.groups = (uint32_t)groups;
    uint64_t made = (uint64_t)dims->dim[transposed ? 1 : 0] * (uint64_t)(transposed ? groups : 1);
    if (made > TL_DIM_MAX) return onnx_fail(import, node, TL_EINVAL, "too many channels");
    c->attrs.channels = (uint32_t)made;
    return TL_OK;
}

static tl_status read_kernel(onnx_import *import, const onnx_node *node, const conv *c,
                             int64_t kernel[2])
{
    uint32_t spatial = c->x.rank - 2;
    int64_t stated[2];
    for (uint32_t i = 0; i < spatial; i++) kernel[i] = c->weight->dims.dim[2 + i];
    tl_status status =
        onnx_attr_sizes(import, node, "kernel_shape", spatial, 1, ONNX_WINDOW_MAX, 0, stated);
    if (status != TL_OK) return status;
    for (uint32_t i = 0; i < spatial; i++)
        if (stated[0] != 0 && stated[i] != kernel[i])
            return onnx_fail(import, node, TL_EINVAL, "kernel_shape and its weight disagree");
    return TL_OK;
}

/* Append the layer to the image x and declare its output. */
static tl_status close_conv(onnx_import *import, onnx_node *node, tl_op_kind kind, conv *c)
{
    tl_param_init params[2] = { { 0 } };
    tl_status status = onnx_operand_param(import, node, 1, 0, &params[0]);
    uint32_t rank = c->x.rank;
    c->last = node;
    if (onnx_operand(import, node, 2) != NULL)
        status = status == TL_OK ? onnx_operand_constant(import, node, 2, &c->bias) : status;
    else
        c->last = find_bias_add(import, node, c->attrs.channels, rank, 1, &c->bias);
    if (c->last == NULL) c->last = node;
    c->attrs.has_bias = c->bias != NULL;
    if (status == TL_OK && c->bias != NULL) {
        bool own = c->last == node;
        size_t index = own || onnx_operand(import, c->last, 1) != c->bias ? 0 : 1;
        status =
            onnx_operand_param(import, c->last, own ? 2 : index, c->attrs.channels, &params[1]);
    }
    if (status == TL_OK && c->line) status = onnx_unsqueeze(import, node, &c->x, 2);
    if (status != TL_OK) return status;
    const tl_window *w = &c->attrs.window;
    bool point = w->kernel_h * w->kernel_w * w->stride_h * w->stride_w == 1 &&
                 w->pad_top + w->pad_left + w->pad_bottom + w->pad_right == 0;
    status =
        point ? onnx_arrange_last(import, node, &c->x, 1) : onnx_arrange_image(import, node, &c->x);
    const onnx_array in = c->x, *inputs[1] = { &in };
    if (status == TL_OK)
        status = onnx_emit(import, node,
                           &(onnx_emit_options){ .kind = kind,
                                                 .attrs = &c->attrs,
                                                 .inputs = inputs,
                                                 .input_count = 1,
                                                 .params = params,
                                                 .param_count = c->bias != NULL ? 2 : 1 },
                           &c->x);
    if (status == TL_OK && c->line) status = onnx_squeeze(import, node, &c->x, 2);
    if (status != TL_OK) return status;
    if (c->last != node) c->last->absorbed = true;
    return onnx_yield(import, c->last, &c->x);
}

/* Padding wider than the kernel reaches, which the engine's windows do not have. */
static tl_status pad_apart(onnx_import *import, const onnx_node *node, conv *c)
{
    tl_window *w = &c->attrs.window;
    uint32_t reach_h = (w->kernel_h - 1) * w->dilation_h,
             reach_w = (w->kernel_w - 1) * w->dilation_w;
    if (w->pad_top <= reach_h && w->pad_bottom <= reach_h && w->pad_left <= reach_w &&
        w->pad_right <= reach_w)
        return TL_OK;
    uint32_t before[ONNX_RANK_MAX] = { 0 }, after[ONNX_RANK_MAX] = { 0 };
    before[c->x.rank - 1] = w->pad_left;
    after[c->x.rank - 1] = w->pad_right;
    if (!c->line) {
        before[2] = w->pad_top;
        after[2] = w->pad_bottom;
    }
    w->pad_top = w->pad_left = w->pad_bottom = w->pad_right = 0;
    return onnx_pad(import, node, &c->x, before, after, TL_PAD_CONSTANT, 0.0f);
}

tl_status onnx_run_conv(onnx_import *import, onnx_node *node)
{
    conv c = { .attrs = tl_attrs_default(TL_OP_CONV) };
    tl_status status = open_conv(import, node, false, &c);
    if (status != TL_OK) return status;
    const uint32_t *pad = onnx_operand(import, node, 0)->pad; /* of a Pad before it */
    int64_t kernel[2], in[2] = { c.x.dim[2], c.x.dim[c.x.rank - 1] };
    in[0] += c.line ? 0 : pad[0] + pad[2];
    in[1] += pad[1] + pad[3];
    status = read_kernel(import, node, &c, kernel);
    if (status == TL_OK)
        status = onnx_read_window(import, node, c.x.rank - 2, kernel, c.line ? in + 1 : in,
                                  &c.attrs.window);
    if (status != TL_OK) return status;
    c.attrs.window.pad_top += pad[0];
    c.attrs.window.pad_left += pad[1];
    c.attrs.window.pad_bottom += pad[2];
    c.attrs.window.pad_right += pad[3];
    status = pad_apart(import, node, &c);
    return status == TL_OK ? close_conv(import, node, TL_OP_CONV, &c) : status;
}

/* Padding of a transposed convolution of which the output's size is given. */
static void pads_for_output(int64_t total, bool upper, uint32_t *begin, uint32_t *end,
                            uint32_t *more)
{
    int64_t small = total > 0 ? total / 2 : 0, large = total > 0 ? total - small : 0;
    *begin = (uint32_t)(upper ? small : large);
    *end = (uint32_t)(upper ? large : small);
    if (total < 0) *more += (uint32_t)-total;
}

static tl_status fit_output(onnx_import *import, const onnx_node *node, conv *c,
                            const int64_t kernel[2])
{
    uint32_t spatial = c->x.rank - 2;
    int64_t wanted[2], extra[2];
    tl_window *w = &c->attrs.window;
    tl_status status =
        onnx_attr_sizes(import, node, "output_padding", spatial, 0, ONNX_WINDOW_MAX, 0, extra);
    if (status == TL_OK)
        status = onnx_attr_sizes(import, node, "output_shape", spatial, 1, TL_DIM_MAX, 0, wanted);
    if (status != TL_OK) return status;
    c->attrs.output_pad_w = (uint32_t)extra[spatial - 1];
    c->attrs.output_pad_h = spatial == 2 ? (uint32_t)extra[0] : 0;
    bool upper = onnx_attr_is(node, "auto_pad", "SAME_UPPER");
    bool same = onnx_attr(node, "auto_pad") != NULL &&
                (upper || onnx_attr_is(node, "auto_pad", "SAME_LOWER"));
    for (uint32_t i = 0; i < spatial; i++) {
        bool wide = i == spatial - 1;
        int64_t in = c->x.dim[2 + i], stride = wide ? w->stride_w : w->stride_h;
        int64_t dilation = wide ? w->dilation_w : w->dilation_h;
        int64_t goal = wanted[i] > 0 ? wanted[i] : same ? in * stride : 0;
        if (goal == 0) continue;
        int64_t total = stride * (in - 1) + extra[i] + (kernel[i] - 1) * dilation + 1 - goal;
        if (total > ONNX_WINDOW_MAX || total < -ONNX_WINDOW_MAX)
            return onnx_fail(import, node, TL_EINVAL, "output_shape %lld is out of reach",
                             (long long)goal);
        pads_for_output(total, same && upper, wide ? &w->pad_left : &w->pad_top,
                        wide ? &w->pad_right : &w->pad_bottom,
                        wide ? &c->attrs.output_pad_w : &c->attrs.output_pad_h);
    }
    return TL_OK;
}

tl_status onnx_run_conv_transpose(onnx_import *import, onnx_node *node)
{
    conv c = { .attrs = tl_attrs_default(TL_OP_CONV_TRANSPOSE) };
    int64_t kernel[2], in[2];
    tl_status status = open_conv(import, node, true, &c);
    if (status == TL_OK) status = read_kernel(import, node, &c, kernel);
    if (status != TL_OK) return status;
    for (uint32_t i = 2; i < c.x.rank; i++) in[i - 2] = c.x.dim[i];
    status = onnx_read_window(import, node, c.x.rank - 2, kernel, in, &c.attrs.window);
    if (status == TL_OK) status = fit_output(import, node, &c, kernel);
    return status == TL_OK ? close_conv(import, node, TL_OP_CONV_TRANSPOSE, &c) : status;
}

/* ---- Matrices ---------------------------------------------------------------------------------
 */

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

typedef struct matrix_layer {
    onnx_array x; /* [..., inputs] */
    onnx_value *matrix, *bias;
    bool outputs_first;
    float alpha, beta;
} matrix_layer;

/* Can a Gemm's third operand be a bias: one number for each output, or for all? */
static bool fits_bias(const onnx_value *bias, size_t outputs)
{
    const onnx_dims *dims = &bias->dims;
    if (bias->kind != ONNX_VALUE_CONSTANT) return false;
    return dims->count == 1 || (dims->count == outputs && dims->dim[dims->rank - 1] == outputs);
}

static tl_status read_bias(onnx_import *import, onnx_value *bias, size_t outputs, float factor,
                           tl_param_init *out)
{
    const float *values = onnx_floats(import, bias);
    float *all = onnx_floats_alloc(import, outputs);
    if (values == NULL || all == NULL) return TL_ENOMEM;
    for (size_t i = 0; i < outputs; i++) all[i] = factor * values[bias->dims.count > 1 ? i : 0];
    *out = (tl_param_init){ onnx_param_name(import, bias), all, outputs };
    return out->name == NULL ? TL_ENOMEM : TL_OK;
}

/* x becomes x times the matrix (, plus the bias). */
static tl_status append_gemm(onnx_import *import, onnx_node *node, matrix_layer *layer)
{
    const onnx_dims *dims = &layer->matrix->dims;
    onnx_array *x = &layer->x;
    if (dims->rank != 2 || dims->count == 0)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "its second operand is not a matrix");
    if (x->rank < 1 + onnx_lead(import))
        return onnx_fail_batch(import, node, "its input is a vector over the batch");
    uint32_t outputs = dims->dim[layer->outputs_first ? 0 : 1];
    uint32_t inputs = dims->dim[layer->outputs_first ? 1 : 0];
    if (inputs != x->dim[x->rank - 1])
        return onnx_fail(import, node, TL_EINVAL, "its matrix takes %u inputs and gets %u", inputs,
                         x->dim[x->rank - 1]);
    tl_status status = onnx_arrange_last(import, node, x, x->rank - 1);
    if (status != TL_OK) return status;
    tl_attrs attrs = tl_attrs_default(TL_OP_GEMM);
    attrs.channels = outputs;
    attrs.has_bias = layer->bias != NULL;
    tl_param_init params[2] = { { .count = dims->count } };
    params[0].values = read_matrix(import, layer->matrix, layer->outputs_first, layer->alpha);
    params[0].name = onnx_param_name(import, layer->matrix);
    if (params[0].values == NULL || params[0].name == NULL) return TL_ENOMEM;
    if (layer->bias != NULL)
        status = read_bias(import, layer->bias, outputs, layer->beta, &params[1]);
    if (status != TL_OK) return status;
    const onnx_array in = *x, *operands[1] = { &in };
    return onnx_emit(import, node,
                     &(onnx_emit_options){ .kind = TL_OP_GEMM,
                                           .attrs = &attrs,
                                           .inputs = operands,
                                           .input_count = 1,
                                           .params = params,
                                           .param_count = layer->bias != NULL ? 2 : 1 },
                     x);
}

static tl_status append_matmul(onnx_import *import, const onnx_node *node, onnx_array *a,
                               onnx_array *b, onnx_array *out)
{
    onnx_array plain = *a;
    TL_ASSERT(a->rank == b->rank);
    if (a->rank < 2 + onnx_lead(import))
        return onnx_fail_batch(import, node, "it multiplies matrices over the batch");
    onnx_order_plain(import, &plain);
    tl_status status = onnx_arrange(import, node, a, plain.order);
    if (status == TL_OK) status = onnx_arrange(import, node, b, plain.order);
    if (status != TL_OK) return status;
    const onnx_array left = *a, right = *b, *inputs[2] = { &left, &right };
    *out = left;
    return onnx_emit(
        import, node,
        &(onnx_emit_options){ .kind = TL_OP_MATMUL, .inputs = inputs, .input_count = 2 }, out);
}

/* Gemm of a constant matrix that is not transposed on the left. */
static tl_status gemm_layer(onnx_import *import, onnx_node *node, matrix_layer *layer)
{
    onnx_value *bias = onnx_operand(import, node, 2);
    tl_status status = onnx_operand_array(import, node, 0, &layer->x);
    if (status == TL_OK) status = onnx_operand_constant(import, node, 1, &layer->matrix);
    if (status != TL_OK) return status;
    if (layer->matrix->dims.rank == 2 && bias != NULL &&
        fits_bias(bias, layer->matrix->dims.dim[layer->outputs_first ? 0 : 1]))
        layer->bias = bias;
    return append_gemm(import, node, layer);
}

static tl_status turn(onnx_import *import, const onnx_node *node, const char *attr, onnx_array *x)
{
    static const uint8_t SWAP[2] = { 1, 0 };
    if (x->rank != 2) return onnx_fail(import, node, TL_EINVAL, "its operands are not matrices");
    return onnx_attr_int(node, attr, 0) != 0 ? onnx_transpose(import, node, x, SWAP) : TL_OK;
}

/* Gemm of two matrices that the network computes. */
static tl_status gemm_product(onnx_import *import, onnx_node *node, matrix_layer *layer)
{
    onnx_array b;
    tl_status status = onnx_operand_array(import, node, 0, &layer->x);
    if (status == TL_OK) status = onnx_operand_array(import, node, 1, &b);
    if (status == TL_OK) status = turn(import, node, "transA", &layer->x);
    if (status == TL_OK) status = turn(import, node, "transB", &b);
    if (status == TL_OK) status = append_matmul(import, node, &layer->x, &b, &layer->x);
    if (status == TL_OK && layer->alpha != 1.0f)
        status = onnx_binary_number(import, node, TL_OP_MUL, &layer->x, layer->alpha);
    return status;
}

tl_status onnx_run_gemm(onnx_import *import, onnx_node *node)
{
    matrix_layer layer = { .outputs_first = onnx_attr_int(node, "transB", 0) != 0,
                           .alpha = onnx_attr_float(node, "alpha", 1.0f),
                           .beta = onnx_attr_float(node, "beta", 1.0f) };
    bool constant = onnx_operand_is_constant(import, node, 1) && !import->folding &&
                    onnx_attr_int(node, "transA", 0) == 0;
    tl_status status =
        constant ? gemm_layer(import, node, &layer) : gemm_product(import, node, &layer);
    if (status == TL_OK && onnx_operand(import, node, 2) != NULL && layer.bias == NULL) {
        onnx_array bias;
        const onnx_value *value = onnx_operand(import, node, 2);
        if (value->kind == ONNX_VALUE_CONSTANT && value->dims.rank <= 2)
            status = onnx_constant_array(import, node, onnx_operand(import, node, 2), 2, NULL,
                                         false, &bias);
        else
            status = onnx_operand_array(import, node, 2, &bias);
        while (status == TL_OK && bias.rank < 2) {
            if (!import->whole) return onnx_fail_batch(import, node, "its bias is over the batch");
            status = onnx_unsqueeze(import, node, &bias, 0);
        }
        if (status == TL_OK && layer.beta != 1.0f)
            status = onnx_binary_number(import, node, TL_OP_MUL, &bias, layer.beta);
        if (status == TL_OK && bias.rank != 2)
            status = onnx_fail(import, node, TL_EINVAL, "its bias has %u dimensions", bias.rank);
        if (status == TL_OK)
            status = onnx_binary(import, node, TL_OP_ADD, &layer.x, &bias, &layer.x);
    }
    return status == TL_OK ? onnx_yield(import, node, &layer.x) : status;
}

static tl_status matmul_layer(onnx_import *import, onnx_node *node)
{
    matrix_layer layer = { .alpha = 1.0f, .beta = 1.0f };
    tl_status status = onnx_operand_array(import, node, 0, &layer.x);
    if (status == TL_OK) status = onnx_operand_constant(import, node, 1, &layer.matrix);
    if (status != TL_OK) return status;
    uint32_t rank = layer.x.rank;
    onnx_node *add = rank == 0 ? NULL
                               : find_bias_add(import, node, layer.matrix->dims.dim[1], rank,
                                               rank - 1, &layer.bias);
    status = append_gemm(import, node, &layer);
    if (status != TL_OK) return status;
    if (add != NULL) add->absorbed = true;
    return onnx_yield(import, add != NULL ? add : node, &layer.x);
}

/* Any other product, as NumPy has it. */
tl_status onnx_run_matmul(onnx_import *import, onnx_node *node)
{
    onnx_array a, b;
    const onnx_value *left = onnx_operand(import, node, 0), *right = onnx_operand(import, node, 1);
    if (right->kind == ONNX_VALUE_CONSTANT && right->dims.rank == 2)
        return matmul_layer(import, node);
    uint32_t ranks[2], rank;
    ranks[0] = left->kind == ONNX_VALUE_CONSTANT ? left->dims.rank : left->array.rank;
    ranks[1] = right->kind == ONNX_VALUE_CONSTANT ? right->dims.rank : right->array.rank;
    bool row = ranks[0] == 1, column = ranks[1] == 1;
    if (ranks[0] == 0 || ranks[1] == 0)
        return onnx_fail(import, node, TL_EINVAL, "its operands are numbers");
    if (!import->whole && (row || column || ranks[0] != ranks[1]) &&
        left->kind != ONNX_VALUE_CONSTANT && right->kind != ONNX_VALUE_CONSTANT)
        return onnx_fail_batch(import, node, "operands of different rank");
    if (!import->whole && (row || column))
        return onnx_fail_batch(import, node, "it multiplies by a vector");
    rank = ranks[0] > ranks[1] ? ranks[0] : ranks[1];
    if (rank < 2) rank = 2;
    tl_status status = left->kind == ONNX_VALUE_CONSTANT && !row
                           ? onnx_constant_array(import, node, onnx_operand(import, node, 0), rank,
                                                 NULL, false, &a)
                           : onnx_operand_array(import, node, 0, &a);
    if (status == TL_OK)
        status = right->kind == ONNX_VALUE_CONSTANT && !column
                     ? onnx_constant_array(import, node, onnx_operand(import, node, 1), rank, NULL,
                                           false, &b)
                     : onnx_operand_array(import, node, 1, &b);
    if (status == TL_OK && column) status = onnx_unsqueeze(import, node, &b, 1);
    while (status == TL_OK && a.rank < rank) status = onnx_unsqueeze(import, node, &a, 0);
    while (status == TL_OK && b.rank < rank) status = onnx_unsqueeze(import, node, &b, 0);
    if (status == TL_OK && (a.rank != rank || b.rank != rank))
        status = onnx_fail_batch(import, node, "operands of different rank");
    if (status == TL_OK) status = append_matmul(import, node, &a, &b, &a);
    if (status == TL_OK && row) status = onnx_squeeze(import, node, &a, rank - 2);
    if (status == TL_OK && column) status = onnx_squeeze(import, node, &a, a.rank - 1);
    return status == TL_OK ? onnx_yield(import, node, &a) : status;
}

tl_status onnx_run_prelu(onnx_import *import, onnx_node *node)
{
    onnx_array x, slope;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status != TL_OK) return status;
    const onnx_value *value = onnx_operand(import, node, 1);
    const onnx_dims *dims = &value->dims;
    uint32_t axis = x.rank >= 2 ? 1 : 0; /* of the channels */
    bool each =
        value->kind == ONNX_VALUE_CONSTANT && dims->rank >= 1 && x.rank >= 2 &&
        dims->rank <= x.rank && dims->count == x.dim[axis] &&
        (dims->rank >= x.rank - axis ? dims->dim[dims->rank - (x.rank - axis)] == dims->count
                                     : dims->rank == 1 && import->opset < 7);
    bool one = value->kind == ONNX_VALUE_CONSTANT && dims->count == 1;
    if (each || one) {
        tl_attrs attrs = tl_attrs_default(TL_OP_PRELU);
        tl_param_init param = { 0 };
        attrs.channels = (uint32_t)dims->count;
        if (each) status = onnx_arrange_last(import, node, &x, axis);
        if (status == TL_OK) status = onnx_operand_param(import, node, 1, 0, &param);
        const onnx_array in = x, *inputs[1] = { &in };
        if (status == TL_OK)
            status = onnx_emit(import, node,
                               &(onnx_emit_options){ .kind = TL_OP_PRELU,
                                                     .attrs = &attrs,
                                                     .inputs = inputs,
                                                     .input_count = 1,
                                                     .params = &param,
                                                     .param_count = 1 },
                               &x);
        return status == TL_OK ? onnx_yield(import, node, &x) : status;
    }
    onnx_array both[2], below; /* max(x, 0) + slope * min(x, 0) */
    status = onnx_aligned(import, node, 0, 2, both);
    if (status != TL_OK) return status;
    slope = both[1];
    below = both[0];
    status = onnx_binary_number(import, node, TL_OP_MIN, &below, 0.0f);
    if (status == TL_OK) status = onnx_unary(import, node, TL_OP_RELU, NULL, &both[0]);
    if (status == TL_OK) status = onnx_binary(import, node, TL_OP_MUL, &below, &slope, &below);
    if (status == TL_OK) status = onnx_binary(import, node, TL_OP_ADD, &both[0], &below, &both[0]);
    return status == TL_OK ? onnx_yield(import, node, &both[0]) : status;
}

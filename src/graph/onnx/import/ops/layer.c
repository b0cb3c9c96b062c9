#include "graph/onnx/import/ops/internal.h"

#include <string.h>

/* Operators whose weights learn, but for convolutions. */

onnx_node *onnx_find_bias_add(const onnx_import *import, const onnx_node *node, size_t channels,
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

/* ---- Matrices ---------------------------------------------------------------------------------
 */

/* A matrix as [outputs, inputs] times `factor`, whichever way it lies in the file. */
static float *read_matrix(onnx_import *import, const onnx_node *node, const onnx_value *matrix,
                          bool outputs_first, float factor)
{
    float *in = onnx_weights(import, node, matrix);
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

static tl_status read_bias(onnx_import *import, const onnx_node *node, onnx_value *bias,
                           size_t outputs, float factor, tl_param_init *out)
{
    const float *values = onnx_weights(import, node, bias);
    float *all = onnx_floats_alloc(import, outputs);
    if (values == NULL || all == NULL) return import->err->status;
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
    params[0].values = read_matrix(import, node, layer->matrix, layer->outputs_first, layer->alpha);
    params[0].name = onnx_param_name(import, layer->matrix);
    if (params[0].values == NULL || params[0].name == NULL) return import->err->status;
    if (layer->bias != NULL)
        status = read_bias(import, node, layer->bias, outputs, layer->beta, &params[1]);
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
                               : onnx_find_bias_add(import, node, layer.matrix->dims.dim[1], rank,
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

#include "graph/onnx/import/ops/internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- Functions of one number ------------------------------------------------------------------
 */

typedef struct function {
    const char *op;
    tl_op_kind kind;
    const char *alpha, *beta; /* attributes; NULL: none */
    float alpha_default, beta_default;
} function;

static const function FUNCTIONS[] = {
    { "Relu", TL_OP_RELU, NULL, NULL, 0, 0 },
    { "Sigmoid", TL_OP_SIGMOID, NULL, NULL, 0, 0 },
    { "HardSwish", TL_OP_HARD_SWISH, NULL, NULL, 0, 0 },
    { "Abs", TL_OP_ABS, NULL, NULL, 0, 0 },
    { "Tanh", TL_OP_TANH, NULL, NULL, 0, 0 },
    { "Softplus", TL_OP_SOFTPLUS, NULL, NULL, 0, 0 },
    { "Softsign", TL_OP_SOFTSIGN, NULL, NULL, 0, 0 },
    { "Mish", TL_OP_MISH, NULL, NULL, 0, 0 },
    { "Exp", TL_OP_EXP, NULL, NULL, 0, 0 },
    { "Log", TL_OP_LOG, NULL, NULL, 0, 0 },
    { "Sqrt", TL_OP_SQRT, NULL, NULL, 0, 0 },
    { "Reciprocal", TL_OP_RECIPROCAL, NULL, NULL, 0, 0 },
    { "Neg", TL_OP_NEG, NULL, NULL, 0, 0 },
    { "Erf", TL_OP_ERF, NULL, NULL, 0, 0 },
    { "Floor", TL_OP_FLOOR, NULL, NULL, 0, 0 },
    { "Ceil", TL_OP_CEIL, NULL, NULL, 0, 0 },
    { "Round", TL_OP_ROUND, NULL, NULL, 0, 0 },
    { "Sign", TL_OP_SIGN, NULL, NULL, 0, 0 },
    { "Not", TL_OP_NOT, NULL, NULL, 0, 0 },
    { "LeakyRelu", TL_OP_LEAKY_RELU, "alpha", NULL, 0.01f, 0 },
    { "Elu", TL_OP_ELU, "alpha", NULL, 1.0f, 0 },
    { "Selu", TL_OP_SELU, "alpha", "gamma", 1.67326319217681884765625f,
      1.05070102214813232421875f },
    { "HardSigmoid", TL_OP_HARD_SIGMOID, "alpha", "beta", 0.2f, 0.5f },
};

tl_status onnx_run_function(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    size_t i = 0;
    while (strcmp(FUNCTIONS[i].op, node->op) != 0) i++; /* the table of operators led here */
    const function *f = &FUNCTIONS[i];
    tl_attrs attrs = tl_attrs_default(f->kind);
    if (f->alpha != NULL) attrs.alpha = onnx_attr_float(node, f->alpha, f->alpha_default);
    if (f->beta != NULL) attrs.beta = onnx_attr_float(node, f->beta, f->beta_default);
    if (!isfinite(attrs.alpha) || !isfinite(attrs.beta))
        return onnx_fail(import, node, TL_EINVAL, "an attribute is not finite");
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = onnx_unary(import, node, f->kind, &attrs, &x);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

tl_status onnx_run_gelu(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    bool tanh = onnx_attr(node, "approximate") != NULL && onnx_attr_is(node, "approximate", "tanh");
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK)
        status = onnx_unary(import, node, tanh ? TL_OP_GELU_TANH : TL_OP_GELU, NULL, &x);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

/* max(x, 0) + min(0, alpha * (exp(x / alpha) - 1)): an ELU of x / alpha, times alpha. */
tl_status onnx_run_celu(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    float alpha = onnx_attr_float(node, "alpha", 1.0f);
    if (!(alpha > 0.0f && alpha <= FLT_MAX))
        return onnx_fail(import, node, TL_EINVAL, "alpha is not above 0");
    tl_attrs attrs = tl_attrs_default(TL_OP_ELU);
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = onnx_binary_number(import, node, TL_OP_MUL, &x, 1.0f / alpha);
    if (status == TL_OK) status = onnx_unary(import, node, TL_OP_ELU, &attrs, &x);
    if (status == TL_OK) status = onnx_binary_number(import, node, TL_OP_MUL, &x, alpha);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

static bool is_dynamic(const onnx_import *import, const onnx_node *node, size_t index)
{
    return onnx_operand(import, node, index) != NULL &&
           !onnx_operand_is_constant(import, node, index);
}

/* Clip by bounds that the network computes. */
static tl_status clip_by_tensors(onnx_import *import, onnx_node *node, onnx_array *x)
{
    tl_status status = TL_OK;
    for (size_t i = 1; status == TL_OK && i < 3; i++) {
        onnx_array bound;
        if (onnx_operand(import, node, i) == NULL) continue;
        if (!import->whole && is_dynamic(import, node, i))
            return onnx_fail_batch(import, node, "its bound is a number for all items");
        status = onnx_operand_is_constant(import, node, i)
                     ? onnx_constant_array(import, node, onnx_operand(import, node, i), x->rank,
                                           NULL, false, &bound)
                     : onnx_operand_array(import, node, i, &bound);
        while (status == TL_OK && bound.rank < x->rank)
            status = onnx_unsqueeze(import, node, &bound, 0);
        if (status == TL_OK && bound.rank != x->rank)
            status = onnx_fail(import, node, TL_EINVAL, "its bound is no number");
        if (status == TL_OK)
            status = onnx_binary(import, node, i == 1 ? TL_OP_MAX : TL_OP_MIN, x, &bound, x);
    }
    return status;
}

tl_status onnx_run_clip(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    double low, high;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status != TL_OK) return status;
    if (is_dynamic(import, node, 1) || is_dynamic(import, node, 2)) {
        status = clip_by_tensors(import, node, &x);
        return status == TL_OK ? onnx_yield(import, node, &x) : status;
    }
    status = onnx_operand_number(import, node, 1, "min", -(double)FLT_MAX, &low);
    if (status == TL_OK)
        status = onnx_operand_number(import, node, 2, "max", (double)FLT_MAX, &high);
    if (status != TL_OK) return status;
    if (!(low <= high))
        return onnx_fail(import, node, TL_EINVAL, "its minimum is above its maximum");
    tl_attrs attrs = tl_attrs_default(TL_OP_CLIP);
    attrs.alpha = (float)fmax(low, -(double)FLT_MAX);
    attrs.beta = (float)fmin(high, (double)FLT_MAX);
    status = onnx_unary(import, node, TL_OP_CLIP, &attrs, &x);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

/* ---- Gates ------------------------------------------------------------------------------------
 */

static bool is_near(double a, double b)
{
    return fabs(a - b) < 1e-6;
}

static const onnx_node *made_by(const onnx_import *import, const onnx_value *value, const char *op)
{
    if (value == NULL || value->producer == ONNX_NONE) return NULL;
    const onnx_node *node = &import->nodes[value->producer];
    return strcmp(node->op, op) == 0 ? node : NULL;
}

static bool is_tensor(const onnx_value *value, const onnx_value *x)
{
    return value != NULL && value->kind == ONNX_VALUE_TENSOR &&
           value->array.tensor == x->array.tensor;
}

/* x * Sigmoid(x) and the like: the operator that they are together, or TL_OP_COUNT. */
static tl_op_kind fused_gate(const onnx_import *import, const onnx_value *x, const onnx_value *gate)
{
    const onnx_node *node = made_by(import, gate, "Sigmoid");
    if (node != NULL && is_tensor(onnx_operand(import, node, 0), x)) return TL_OP_SILU;
    node = made_by(import, gate, "Tanh");
    if (node != NULL) {
        node = made_by(import, onnx_operand(import, node, 0), "Softplus");
        return node != NULL && is_tensor(onnx_operand(import, node, 0), x) ? TL_OP_MISH
                                                                           : TL_OP_COUNT;
    }
    node = made_by(import, gate, "HardSigmoid");
    if (node == NULL || !is_tensor(onnx_operand(import, node, 0), x)) return TL_OP_COUNT;
    bool slope = is_near((double)onnx_attr_float(node, "alpha", 0.2f), 1.0 / 6.0);
    bool offset = is_near((double)onnx_attr_float(node, "beta", 0.5f), 0.5);
    return slope && offset ? TL_OP_HARD_SWISH : TL_OP_COUNT;
}

/* Is value `index` of the node that number? */
static bool operand_equals(const onnx_import *import, const onnx_node *node, size_t index,
                           double number)
{
    const onnx_value *value = onnx_operand(import, node, index);
    return value != NULL && value->kind == ONNX_VALUE_CONSTANT && value->dims.count == 1 &&
           is_near(onnx_tensor_number(value->constant, 0), number);
}

/* x * Clip(x + 3, 0, 6) / 6, as older exporters write HardSwish: the x, or NULL. */
static const onnx_value *spelled_hard_swish(const onnx_import *import, const onnx_node *divide)
{
    if (strcmp(divide->op, "Div") != 0 || !operand_equals(import, divide, 1, 6.0)) return NULL;
    const onnx_node *multiply = made_by(import, onnx_operand(import, divide, 0), "Mul");
    for (size_t i = 0; multiply != NULL && i < 2; i++) {
        const onnx_value *x = onnx_operand(import, multiply, i);
        const onnx_node *clip = made_by(import, onnx_operand(import, multiply, 1 - i), "Clip");
        if (clip == NULL || x == NULL || x->kind != ONNX_VALUE_TENSOR) continue;
        if (!operand_equals(import, clip, 1, 0.0) || !operand_equals(import, clip, 2, 6.0))
            continue;
        const onnx_node *add = made_by(import, onnx_operand(import, clip, 0), "Add");
        for (size_t k = 0; add != NULL && k < 2; k++)
            if (is_tensor(onnx_operand(import, add, k), x) &&
                operand_equals(import, add, 1 - k, 3.0))
                return x;
    }
    return NULL;
}

/* Append what a Mul or Div of the network's tensors stands for, if it does. */
static tl_status append_gate(onnx_import *import, onnx_node *node, bool *done)
{
    const onnx_value *a = onnx_operand(import, node, 0), *b = onnx_operand(import, node, 1);
    const onnx_value *x = spelled_hard_swish(import, node);
    tl_op_kind kind = x != NULL ? TL_OP_HARD_SWISH : TL_OP_COUNT;
    if (strcmp(node->op, "Mul") == 0 && a->kind == ONNX_VALUE_TENSOR &&
        b->kind == ONNX_VALUE_TENSOR) {
        kind = fused_gate(import, a, b);
        x = a;
        if (kind == TL_OP_COUNT) {
            kind = fused_gate(import, b, a);
            x = b;
        }
    }
    *done = kind != TL_OP_COUNT;
    if (!*done) return TL_OK;
    onnx_array array = x->array;
    tl_status status = onnx_unary(import, node, kind, NULL, &array);
    return status == TL_OK ? onnx_yield(import, node, &array) : status;
}

/* ---- Functions of two -------------------------------------------------------------------------
 */

static const struct {
    const char *op;
    tl_op_kind kind;
    bool truth; /* the result is a boolean */
} BINARIES[] = {
    { "Add", TL_OP_ADD, false },
    { "Sub", TL_OP_SUB, false },
    { "Mul", TL_OP_MUL, false },
    { "Div", TL_OP_DIV, false },
    { "Mod", TL_OP_MOD, false },
    { "And", TL_OP_AND, true },
    { "Or", TL_OP_OR, true },
    { "Xor", TL_OP_XOR, true },
    { "Equal", TL_OP_EQUAL, true },
    { "Greater", TL_OP_GREATER, true },
    { "GreaterOrEqual", TL_OP_GREATER_OR_EQUAL, true },
    { "Less", TL_OP_LESS, true },
    { "LessOrEqual", TL_OP_LESS_OR_EQUAL, true },
};

/* Before operator set 7 the second operand could be aligned at `axis` instead of at the end: axes
 * of 1 are put behind it. */
static tl_status align_at_axis(onnx_import *import, const onnx_node *node, onnx_array *pair)
{
    uint32_t axis;
    if (onnx_operand_is_constant(import, node, 0))
        return onnx_fail(import, node, TL_EUNSUPPORTED, "axis beside a constant first operand");
    tl_status status = onnx_operand_array(import, node, 0, &pair[0]);
    if (status == TL_OK) status = onnx_attr_axis(import, node, "axis", 0, pair[0].rank, &axis);
    if (status != TL_OK) return status;
    onnx_value *value = onnx_operand(import, node, 1), padded;
    if (value->kind != ONNX_VALUE_CONSTANT)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "axis beside a computed operand; convert the model with "
                         "onnx.version_converter");
    padded = *value;
    onnx_dims *dims = &padded.dims;
    if (dims->rank + axis > pair[0].rank)
        return onnx_fail(import, node, TL_EINVAL, "axis %u of %u dimensions", axis, pair[0].rank);
    while (dims->rank < pair[0].rank - axis) dims->dim[dims->rank++] = 1;
    return onnx_constant_array(import, node, &padded, pair[0].rank, pair[0].order, false, &pair[1]);
}

static bool has_zero(const onnx_value *constant)
{
    for (size_t i = 0; i < constant->dims.count; i++)
        if (onnx_tensor_number(constant->constant, i) == 0.0) return true;
    return false;
}

tl_status onnx_run_binary(onnx_import *import, onnx_node *node)
{
    bool done = false;
    tl_status status = append_gate(import, node, &done);
    if (status != TL_OK || done) return status;
    onnx_array pair[2];
    size_t i = 0;
    while (strcmp(BINARIES[i].op, node->op) != 0) i++;
    tl_op_kind kind = BINARIES[i].kind;
    status = onnx_attr(node, "axis") != NULL ? align_at_axis(import, node, pair)
                                             : onnx_aligned(import, node, 0, 2, pair);
    if (status != TL_OK) return status;
    int32_t type = pair[0].type;
    if (kind == TL_OP_DIV && onnx_operand_is_constant(import, node, 1) &&
        has_zero(onnx_operand(import, node, 1)))
        return onnx_fail(import, node, TL_EINVAL, "it divides by zero");
    if (kind == TL_OP_MOD && onnx_attr_int(node, "fmod", 0) != 0) kind = TL_OP_FMOD;
    status = onnx_binary(import, node, kind, &pair[0], &pair[1], &pair[0]);
    if (status == TL_OK && kind == TL_OP_DIV && !onnx_type_is_float(type))
        status = onnx_unary(import, node, TL_OP_CAST_INTEGER, NULL, &pair[0]);
    pair[0].type = BINARIES[i].truth ? ONNX_TYPE(BOOL) : type;
    return status == TL_OK ? onnx_yield(import, node, &pair[0]) : status;
}

tl_status onnx_run_pow(onnx_import *import, onnx_node *node)
{
    onnx_array pair[2], x;
    tl_status status;
    bool square = operand_equals(import, node, 1, 2.0), root = operand_equals(import, node, 1, 0.5);
    if (square || root) {
        status = onnx_operand_array(import, node, 0, &x);
        if (status == TL_OK && square)
            status = onnx_binary(import, node, TL_OP_MUL, &x, &x, &pair[0]);
        if (status == TL_OK && root) {
            status = onnx_unary(import, node, TL_OP_SQRT, NULL, &x);
            pair[0] = x;
        }
    } else {
        status = onnx_aligned(import, node, 0, 2, pair);
        x = pair[0];
        if (status == TL_OK)
            status = onnx_binary(import, node, TL_OP_POW, &pair[0], &pair[1], &pair[0]);
    }
    if (status == TL_OK && !onnx_type_is_float(x.type))
        status = onnx_unary(import, node, TL_OP_CAST_INTEGER, NULL, &pair[0]);
    pair[0].type = x.type;
    return status == TL_OK ? onnx_yield(import, node, &pair[0]) : status;
}

/* Sum, Mean, Min and Max of any number of operands. */
tl_status onnx_run_variadic(onnx_import *import, onnx_node *node)
{
    enum { TERMS_MAX = 64 };
    onnx_array terms[TERMS_MAX];
    if (node->input_count > TERMS_MAX)
        return onnx_fail(import, node, TL_ELIMIT, "more than %d operands", TERMS_MAX);
    tl_op_kind kind = strcmp(node->op, "Min") == 0   ? TL_OP_MIN
                      : strcmp(node->op, "Max") == 0 ? TL_OP_MAX
                                                     : TL_OP_ADD;
    tl_status status = onnx_aligned(import, node, 0, node->input_count, terms);
    for (size_t i = 1; status == TL_OK && i < node->input_count; i++)
        status = onnx_binary(import, node, kind, &terms[0], &terms[i], &terms[0]);
    if (status == TL_OK && strcmp(node->op, "Mean") == 0)
        status =
            onnx_binary_number(import, node, TL_OP_MUL, &terms[0], 1.0f / (float)node->input_count);
    return status == TL_OK ? onnx_yield(import, node, &terms[0]) : status;
}

tl_status onnx_run_where(onnx_import *import, onnx_node *node)
{
    onnx_array x[3];
    tl_status status = onnx_aligned(import, node, 0, 3, x);
    if (status != TL_OK) return status;
    const onnx_array *inputs[3] = { &x[0], &x[1], &x[2] };
    onnx_array out = x[0];
    out.type = x[1].type;
    status = onnx_emit(
        import, node,
        &(onnx_emit_options){ .kind = TL_OP_WHERE, .inputs = inputs, .input_count = 3 }, &out);
    return status == TL_OK ? onnx_yield(import, node, &out) : status;
}

tl_status onnx_run_cast(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    int64_t to = onnx_attr_int(node, "to", 0);
    bool integer = to == ONNX_TYPE(INT64) || to == ONNX_TYPE(INT32);
    if (to != ONNX_TYPE(FLOAT) && to != ONNX_TYPE(DOUBLE) && to != ONNX_TYPE(BOOL) && !integer)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "conversion to element type %lld is not supported; export in float32",
                         (long long)to);
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK && to == ONNX_TYPE(BOOL) && x.type != ONNX_TYPE(BOOL))
        status = onnx_unary(import, node, TL_OP_CAST_BOOL, NULL, &x);
    if (status == TL_OK && integer && onnx_type_is_float(x.type))
        status = onnx_unary(import, node, TL_OP_CAST_INTEGER, NULL, &x);
    x.type = (int32_t)to;
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

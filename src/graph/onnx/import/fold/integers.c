#include "graph/onnx/import/fold/internal.h"

#include <string.h>

/* ---- Two integers -----------------------------------------------------------------------------
 */

static int64_t divide(int64_t a, int64_t b)
{
    return b == 0 || (a == INT64_MIN && b == -1) ? 0 : a / b;
}

static int64_t modulo(int64_t a, int64_t b)
{
    if (b == 0 || b == -1) return 0;
    int64_t rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/* Wraps around, as two's complement does. */
static int64_t compute(const char *op, int64_t a, int64_t b)
{
    uint64_t x = (uint64_t)a, y = (uint64_t)b;
    switch (op[0]) {
    case 'A': return strcmp(op, "Add") == 0 ? (int64_t)(x + y) : a != 0 && b != 0;
    case 'S': return (int64_t)(x - y);
    case 'D': return divide(a, b);
    case 'E': return a == b;
    case 'O': return a != 0 || b != 0;
    case 'X': return (a != 0) != (b != 0);
    case 'G': return strcmp(op, "Greater") == 0 ? a > b : a >= b;
    case 'L': return strcmp(op, "Less") == 0 ? a < b : a <= b;
    default: break;
    }
    if (strcmp(op, "Mul") == 0) return (int64_t)(x * y);
    if (strcmp(op, "Mod") == 0) return modulo(a, b);
    if (strcmp(op, "Min") == 0) return a < b ? a : b;
    return a > b ? a : b;
}

static bool is_integer(const onnx_value *value)
{
    return !onnx_type_is_float(value->constant->data_type);
}

/* Two or three operands spread to each other's sizes; strides of 0 repeat. */
typedef struct spread {
    uint32_t rank, dim[ONNX_RANK_MAX];
    int64_t stride[3][ONNX_RANK_MAX];
    size_t at[3];
    uint32_t place[ONNX_RANK_MAX];
} spread;

static bool spread_open(const onnx_import *import, const onnx_node *node, size_t count, spread *s)
{
    *s = (spread){ .rank = 0 };
    for (size_t i = 0; i < count; i++) {
        uint32_t rank = onnx_operand(import, node, i)->dims.rank;
        if (rank > s->rank) s->rank = rank;
    }
    for (uint32_t k = 0; k < s->rank; k++) s->dim[k] = 1;
    for (size_t i = 0; i < count; i++) {
        const onnx_dims *dims = &onnx_operand(import, node, i)->dims;
        int64_t own[ONNX_RANK_MAX];
        uint32_t before = s->rank - dims->rank;
        fold_strides(dims, own);
        for (uint32_t k = 0; k < dims->rank; k++) {
            uint32_t *size = &s->dim[before + k];
            if (dims->dim[k] == 1) continue;
            if (*size != 1 && *size != dims->dim[k]) return false;
            *size = dims->dim[k];
            s->stride[i][before + k] = own[k];
        }
    }
    return true;
}

static void spread_next(spread *s)
{
    for (uint32_t k = s->rank; k-- > 0;) {
        for (int i = 0; i < 3; i++) s->at[i] += (size_t)s->stride[i][k];
        if (++s->place[k] < s->dim[k]) return;
        for (int i = 0; i < 3; i++) s->at[i] -= (size_t)s->stride[i][k] * s->dim[k];
        s->place[k] = 0;
    }
}

static tl_status fold_pair(onnx_import *import, onnx_node *node, const onnx_value *a)
{
    spread s;
    fold_draft d;
    const onnx_value *b = onnx_operand(import, node, 1);
    if (!spread_open(import, node, 2, &s))
        return onnx_fail(import, node, TL_EINVAL, "its operands do not fit together");
    if (!fold_draft_open(import, &d, ONNX_TYPE(INT64), s.rank, s.dim)) return import->err->status;
    for (size_t i = 0; i < d.count; i++, spread_next(&s)) {
        int64_t x = onnx_tensor_integer(a->constant, s.at[0]);
        int64_t y = onnx_tensor_integer(b->constant, s.at[1]);
        if ((x == ONNX_BATCH || y == ONNX_BATCH) && strcmp(node->op, "Equal") != 0)
            return onnx_fail_batch(import, node, "it computes with the size of the batch");
        if (y == 0 && (strcmp(node->op, "Div") == 0 || strcmp(node->op, "Mod") == 0))
            return onnx_fail(import, node, TL_EINVAL, "it divides by zero");
        d.integers[i] = compute(node->op, x, y);
    }
    return fold_draft_yield(import, node, &d, NULL);
}

/* Product, sum and the like over all of a list of integers. */
static tl_status fold_list(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    static const uint32_t ONE[1] = { 1 };
    const char *op = strcmp(node->op, "ReduceProd") == 0  ? "Mul"
                     : strcmp(node->op, "ReduceSum") == 0 ? "Add"
                     : strcmp(node->op, "ReduceMin") == 0 ? "Min"
                                                          : "Max";
    fold_draft d;
    if (source->dims.count == 0) return onnx_fail(import, node, TL_EUNSUPPORTED, "of nothing");
    bool keep = onnx_attr_int(node, "keepdims", 1) != 0;
    if (!fold_draft_open(import, &d, ONNX_TYPE(INT64), keep ? 1 : 0, ONE))
        return import->err->status;
    for (size_t i = 0; i < source->dims.count; i++) {
        int64_t x = onnx_tensor_integer(source->constant, i);
        if (x == ONNX_BATCH)
            return onnx_fail_batch(import, node, "it computes with the size of the batch");
        d.integers[0] = i == 0 ? x : compute(op, d.integers[0], x);
    }
    return fold_draft_yield(import, node, &d, NULL);
}

/* ---- Which of them ----------------------------------------------------------------------------
 */

static const char *const INTEGER_OPS[] = { "Add",
                                           "Sub",
                                           "Mul",
                                           "Div",
                                           "Mod",
                                           "Min",
                                           "Max",
                                           "And",
                                           "Or",
                                           "Xor",
                                           "Equal",
                                           "Greater",
                                           "GreaterOrEqual",
                                           "Less",
                                           "LessOrEqual" };
static const char *const REDUCE_OPS[] = { "ReduceProd", "ReduceSum", "ReduceMin", "ReduceMax" };

static bool is_one_of(const char *op, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(op, list[i]) == 0) return true;
    return false;
}

static bool are_integers(const onnx_import *import, const onnx_node *node)
{
    for (size_t i = 0; i < node->input_count; i++) {
        const onnx_value *value = onnx_operand(import, node, i);
        if (value == NULL || !is_integer(value)) return false;
    }
    return true;
}

folder fold_integers_find(const onnx_import *import, const onnx_node *node,
                          const onnx_value *source)
{
    if (!are_integers(import, node)) return NULL;
    if (node->input_count == 2 && onnx_attr(node, "fmod") == NULL &&
        is_one_of(node->op, INTEGER_OPS, TL_COUNT_OF(INTEGER_OPS)))
        return fold_pair;
    bool is_list = source->dims.rank == 1;
    return is_list && is_one_of(node->op, REDUCE_OPS, TL_COUNT_OF(REDUCE_OPS)) ? fold_list : NULL;
}

/* ---- Choices and types ------------------------------------------------------------------------
 */

tl_status fold_where(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    spread s;
    fold_draft d;
    const onnx_value *parts[3] = { source, onnx_operand(import, node, 1),
                                   onnx_operand(import, node, 2) };
    if (!spread_open(import, node, 3, &s))
        return onnx_fail(import, node, TL_EINVAL, "its operands do not fit together");
    if (!fold_draft_open(import, &d, parts[1]->constant->data_type, s.rank, s.dim))
        return import->err->status;
    for (size_t i = 0; i < d.count; i++, spread_next(&s)) {
        size_t from = onnx_tensor_integer(parts[0]->constant, s.at[0]) != 0 ? 1 : 2;
        fold_draft_copy(&d, i, parts[from], s.at[from]);
    }
    return fold_draft_yield(import, node, &d, NULL);
}

tl_status fold_cast(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    int64_t to = onnx_attr_int(node, "to", 0);
    bool wants_float = to == ONNX_TYPE(FLOAT) || to == ONNX_TYPE(DOUBLE);
    bool wants_integer = to == ONNX_TYPE(INT64) || to == ONNX_TYPE(INT32) || to == ONNX_TYPE(BOOL);
    if (!wants_float && !wants_integer)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "conversion to element type %lld is not supported; export in float32",
                         (long long)to);
    if (wants_float != is_integer(source) && to != ONNX_TYPE(BOOL))
        return onnx_yield_same(import, node, source);
    fold_draft d;
    if (!fold_draft_open(import, &d, (int32_t)to, source->dims.rank, source->dims.dim))
        return import->err->status;
    for (size_t i = 0; i < source->dims.count; i++) {
        if (wants_float && onnx_tensor_integer(source->constant, i) == ONNX_BATCH)
            return onnx_fail_batch(import, node, "it computes with the size of the batch");
        fold_draft_copy(&d, i, source, i); /* towards 0 */
        if (to == ONNX_TYPE(BOOL)) d.integers[i] = onnx_tensor_number(source->constant, i) != 0.0;
    }
    return fold_draft_yield(import, node, &d, source);
}

#include "graph/onnx/import/fold/internal.h"

#include <string.h>

#include "graph/onnx/import/ops/internal.h"

static const struct {
    const char *op;
    folder fold;
} FOLDERS[] = {
    { "Reshape", fold_reshape },     { "Squeeze", fold_axes },
    { "Unsqueeze", fold_axes },      { "Slice", fold_slice },
    { "Transpose", fold_transpose }, { "Expand", fold_expand },
    { "Gather", fold_gather },       { "Concat", fold_concat },
    { "Cast", fold_cast },           { "Where", fold_where },
    { "Range", fold_range },         { "ConstantOfShape", fold_constant_of_shape },
};

tl_status onnx_fold(onnx_import *import, onnx_node *node)
{
    onnx_handler handler = node->entry->handler;
    if (handler == onnx_run_identity || handler == onnx_run_dropout ||
        handler == onnx_run_constant || handler == onnx_run_shape)
        return handler(import, node);
    const onnx_value *source = onnx_operand(import, node, 0);
    if (source == NULL) return onnx_fail(import, node, TL_EINVAL, "operand 0 is missing");
    for (size_t i = 0; i < TL_COUNT_OF(FOLDERS); i++)
        if (strcmp(node->op, FOLDERS[i].op) == 0) return FOLDERS[i].fold(import, node, source);
    folder integers = fold_integers_find(import, node, source);
    return integers != NULL ? integers(import, node, source) : fold_by_engine(import, node);
}

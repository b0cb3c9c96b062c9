#include "graph/onnx/import/ops/internal.h"

#include <string.h>

/* Only of constants, which onnx_fold computes: what else comes here is refused. */
static tl_status constant_only(onnx_import *import, onnx_node *node)
{
    return onnx_fail(
        import, node, TL_EUNSUPPORTED,
        "its operands are computed by the network; only constants are supported there");
}

/* clang-format off */
static const onnx_op_entry OPERATORS[] = {
    { "Conv", onnx_run_conv, 2, 3,
      "rows, images and volumes; strides, dilations, groups, padding (auto_pad too); constant weight and bias; an Add of one number a channel after it becomes the bias" },
    { "ConvTranspose", onnx_run_conv_transpose, 2, 3,
      "rows, images and volumes; as Conv, output_padding; of rows and images output_shape and auto_pad" },
    { "BatchNormalization", onnx_run_batch_norm, 5, 5,
      "its momentum is kept for training; the file's training mode only where a whole tensor is an item" },
    { "Gemm", onnx_run_gemm, 2, 3, "all; a layer where the matrix is constant" },
    { "MatMul", onnx_run_matmul, 2, 2,
      "all; a layer where the matrix is constant, with an Add of a constant row after it" },
    { "PRelu", onnx_run_prelu, 2, 2, "its slope learns where it is one number, or one a channel" },
    { "LayerNormalization", onnx_run_layer_norm, 2, 3, "" },
    { "InstanceNormalization", onnx_run_group_norm, 3, 3, "" },
    { "GroupNormalization", onnx_run_group_norm, 3, 3, "" },
    { "MeanVarianceNormalization", onnx_run_mean_variance, 1, 1, "" },
    { "LpNormalization", onnx_run_lp_norm, 1, 1, "" },
    { "MaxPool", onnx_run_pool, 1, 1, "up to three dimensions; not the indices" },
    { "AveragePool", onnx_run_pool, 1, 1, "up to three dimensions" },
    { "GlobalAveragePool", onnx_run_global_pool, 1, 1, "" },
    { "GlobalMaxPool", onnx_run_global_pool, 1, 1, "" },
    { "Resize", onnx_run_resize, 1, 4, "of height and width, by constant scales or sizes" },
    { "Upsample", onnx_run_resize, 1, 2, "as Resize" },
    { "Relu", onnx_run_function, 1, 1, "" },
    { "Sigmoid", onnx_run_function, 1, 1, "x * Sigmoid(x) becomes SiLU" },
    { "HardSwish", onnx_run_function, 1, 1, "also spelled x * Clip(x + 3, 0, 6) / 6" },
    { "HardSigmoid", onnx_run_function, 1, 1, "" },
    { "Tanh", onnx_run_function, 1, 1, "x * Tanh(Softplus(x)) becomes Mish" },
    { "Softplus", onnx_run_function, 1, 1, "" },
    { "Softsign", onnx_run_function, 1, 1, "" },
    { "Mish", onnx_run_function, 1, 1, "" },
    { "LeakyRelu", onnx_run_function, 1, 1, "" },
    { "Elu", onnx_run_function, 1, 1, "" },
    { "Selu", onnx_run_function, 1, 1, "" },
    { "Celu", onnx_run_celu, 1, 1, "" },
    { "Gelu", onnx_run_gelu, 1, 1, "" },
    { "Exp", onnx_run_function, 1, 1, "" },
    { "Log", onnx_run_function, 1, 1, "" },
    { "Sqrt", onnx_run_function, 1, 1, "" },
    { "Reciprocal", onnx_run_function, 1, 1, "" },
    { "Neg", onnx_run_function, 1, 1, "" },
    { "Abs", onnx_run_function, 1, 1, "" },
    { "Erf", onnx_run_function, 1, 1, "" },
    { "Floor", onnx_run_function, 1, 1, "" },
    { "Ceil", onnx_run_function, 1, 1, "" },
    { "Round", onnx_run_function, 1, 1, "" },
    { "Sign", onnx_run_function, 1, 1, "" },
    { "Not", onnx_run_function, 1, 1, "" },
    { "Clip", onnx_run_clip, 1, 3, "" },
    { "Cast", onnx_run_cast, 1, 1, "to float32, float64 (carried as float32), 32 and 64-bit integers and booleans" },
    { "Add", onnx_run_binary, 2, 2, "" },
    { "Sub", onnx_run_binary, 2, 2, "" },
    { "Mul", onnx_run_binary, 2, 2, "" },
    { "Div", onnx_run_binary, 2, 2, "" },
    { "Mod", onnx_run_binary, 2, 2, "" },
    { "Pow", onnx_run_pow, 2, 2, "" },
    { "And", onnx_run_binary, 2, 2, "" },
    { "Or", onnx_run_binary, 2, 2, "" },
    { "Xor", onnx_run_binary, 2, 2, "" },
    { "Equal", onnx_run_binary, 2, 2, "" },
    { "Greater", onnx_run_binary, 2, 2, "" },
    { "GreaterOrEqual", onnx_run_binary, 2, 2, "" },
    { "Less", onnx_run_binary, 2, 2, "" },
    { "LessOrEqual", onnx_run_binary, 2, 2, "" },
    { "Min", onnx_run_variadic, 1, ONNX_ANY, "up to 64 operands" },
    { "Max", onnx_run_variadic, 1, ONNX_ANY, "up to 64 operands" },
    { "Sum", onnx_run_variadic, 1, ONNX_ANY, "up to 64 operands" },
    { "Mean", onnx_run_variadic, 1, ONNX_ANY, "up to 64 operands" },
    { "Where", onnx_run_where, 3, 3, "" },
    { "ReduceMean", onnx_run_reduce, 1, 2, "" },
    { "ReduceSum", onnx_run_reduce, 1, 2, "" },
    { "ReduceMax", onnx_run_reduce, 1, 2, "" },
    { "ReduceMin", onnx_run_reduce, 1, 2, "" },
    { "ReduceProd", onnx_run_reduce, 1, 2, "" },
    { "ReduceL1", onnx_run_reduce, 1, 2, "" },
    { "ReduceL2", onnx_run_reduce, 1, 2, "" },
    { "ReduceLogSum", onnx_run_reduce, 1, 2, "" },
    { "ReduceLogSumExp", onnx_run_reduce, 1, 2, "" },
    { "ReduceSumSquare", onnx_run_reduce, 1, 2, "" },
    { "Softmax", onnx_run_softmax, 1, 1, "" },
    { "LogSoftmax", onnx_run_softmax, 1, 1, "" },
    { "ArgMax", onnx_run_arg, 1, 1, "" },
    { "ArgMin", onnx_run_arg, 1, 1, "" },
    { "Identity", onnx_run_identity, 1, 1, "" },
    { "Dropout", onnx_run_dropout, 1, 3, "does nothing, in training too; neither its mask nor training_mode" },
    { "Constant", onnx_run_constant, 0, 0, "numbers" },
    { "ConstantOfShape", constant_only, 1, 1, "of known sizes" },
    { "Range", constant_only, 3, 3, "of constants" },
    { "Shape", onnx_run_shape, 1, 1, "" },
    { "Size", onnx_run_shape, 1, 1, "" },
    { "Reshape", onnx_run_reshape, 1, 2, "to known sizes" },
    { "Flatten", onnx_run_flatten, 1, 1, "" },
    { "Squeeze", onnx_run_axes, 1, 2, "" },
    { "Unsqueeze", onnx_run_axes, 1, 2, "" },
    { "Transpose", onnx_run_transpose, 1, 1, "" },
    { "DepthToSpace", onnx_run_depth_space, 1, 1, "" },
    { "SpaceToDepth", onnx_run_depth_space, 1, 1, "" },
    { "Concat", onnx_run_concat, 1, ONNX_ANY, "" },
    { "Split", onnx_run_split, 1, 2, "into up to 256 parts" },
    { "Slice", onnx_run_slice, 1, 5, "by constant bounds" },
    { "Gather", onnx_run_gather, 2, 2, "a table in the file learns" },
    { "Pad", onnx_run_pad, 1, 4, "by constant widths" },
    { "Tile", onnx_run_tile, 2, 2, "by constant repeats" },
    { "Expand", onnx_run_expand, 2, 2, "to known sizes" },
};
/* clang-format on */

const onnx_op_entry *onnx_entry_find(const char *op)
{
    for (size_t i = 0; i < TL_COUNT_OF(OPERATORS); i++)
        if (strcmp(OPERATORS[i].op, op) == 0) return &OPERATORS[i];
    return NULL;
}

bool tl_onnx_operator_at(size_t index, tl_onnx_operator *out)
{
    if (index >= TL_COUNT_OF(OPERATORS)) return false;
    *out = (tl_onnx_operator){ OPERATORS[index].op, OPERATORS[index].accepts };
    return true;
}

static const struct {
    const char *op, *remedy;
} REMEDIES[] = {
    { "QuantizeLinear", "export the float32 model before quantisation" },
    { "DequantizeLinear", "export the float32 model before quantisation" },
    { "DynamicQuantizeLinear", "export the float32 model before quantisation" },
    { "QLinearConv", "export the float32 model before quantisation" },
    { "QLinearMatMul", "export the float32 model before quantisation" },
    { "MatMulInteger", "export the float32 model before quantisation" },
    { "ConvInteger", "export the float32 model before quantisation" },
    { "If", "export one branch of the model (trace it)" },
    { "Loop", "export the model unrolled (trace it)" },
    { "Scan", "export the model unrolled (trace it)" },
    { "NonMaxSuppression",
      "export the model without it: what it keeps depends on the data, and the loop has its own" },
    { "TopK", "export the model without it and choose among its outputs" },
    { "NonZero", "its result's size depends on the data; export the model without it" },
    { "Unique", "its result's size depends on the data; export the model without it" },
    { "Compress", "its result's size depends on the data; export the model without it" },
    { "LSTM", "recurrent networks are not supported" },
    { "GRU", "recurrent networks are not supported" },
    { "RNN", "recurrent networks are not supported" },
    { "Einsum", "write it as MatMul and Transpose" },
    { "GatherND", "write it as Gather or Slice" },
    { "GatherElements", "write it as Gather or Slice" },
    { "ScatterND", "write it as Concat or Where" },
    { "SoftmaxCrossEntropyLoss", "leave the loss out of the export: it is chosen for training" },
    { "NegativeLogLikelihoodLoss", "leave the loss out of the export: it is chosen for training" },
    { "RandomNormal", "export the model for inference" },
    { "RandomUniform", "export the model for inference" },
    { "Bernoulli", "export the model for inference" },
};

const char *onnx_remedy(const char *op)
{
    for (size_t i = 0; i < TL_COUNT_OF(REMEDIES); i++)
        if (strcmp(REMEDIES[i].op, op) == 0) return REMEDIES[i].remedy;
    return "rewrite that layer with supported operators (docs/operators.md) and export again";
}

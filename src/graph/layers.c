#include "graph/builder.h"

#include <string.h>

/* Networks as a list of layers: each names its attributes and appends one node. */

static tl_tensor_index add_node(tl_builder *builder, tl_op_kind kind, const char *name,
                                const tl_attrs *attrs, tl_tensor_index x)
{
    return tl_builder_node(
        builder, &(tl_node_options){
                     .kind = kind, .name = name, .attrs = attrs, .inputs = &x, .input_count = 1 });
}

tl_conv_options tl_conv_square(uint32_t kernel, uint32_t stride, uint32_t groups)
{
    const uint32_t pad = kernel / 2;
    return (tl_conv_options){
        .window = { kernel, kernel, stride, stride, 1, 1, pad, pad, pad, pad }, .groups = groups
    };
}

static tl_tensor_index add_conv(tl_builder *builder, tl_op_kind kind, const char *name,
                                tl_tensor_index x, uint32_t channels,
                                const tl_conv_options *options)
{
    tl_attrs attrs = tl_attrs_default(kind);
    attrs.window = options->window;
    attrs.channels = channels;
    attrs.groups = options->groups;
    attrs.has_bias = options->bias;
    return add_node(builder, kind, name, &attrs, x);
}

tl_tensor_index tl_builder_conv(tl_builder *builder, const char *name, tl_tensor_index x,
                                uint32_t channels, const tl_conv_options *options)
{
    return add_conv(builder, TL_OP_CONV, name, x, channels, options);
}

tl_tensor_index tl_builder_conv_transpose(tl_builder *builder, const char *name, tl_tensor_index x,
                                          uint32_t channels, const tl_conv_options *options)
{
    return add_conv(builder, TL_OP_CONV_TRANSPOSE, name, x, channels, options);
}

tl_tensor_index tl_builder_batch_norm(tl_builder *builder, const char *name, tl_tensor_index x,
                                      float epsilon, float momentum)
{
    tl_attrs attrs = tl_attrs_default(TL_OP_BATCH_NORM);
    attrs.epsilon = epsilon;
    attrs.momentum = momentum;
    return add_node(builder, TL_OP_BATCH_NORM, name, &attrs, x);
}

tl_tensor_index tl_builder_unary(tl_builder *builder, tl_op_kind kind, tl_tensor_index x)
{
    return add_node(builder, kind, NULL, NULL, x);
}

tl_tensor_index tl_builder_binary(tl_builder *builder, tl_op_kind kind, tl_tensor_index a,
                                  tl_tensor_index b)
{
    const tl_tensor_index inputs[] = { a, b };
    return tl_builder_node(builder,
                           &(tl_node_options){ .kind = kind, .inputs = inputs, .input_count = 2 });
}

static tl_tensor_index add_pool(tl_builder *builder, tl_op_kind kind, tl_tensor_index x,
                                uint32_t kernel, uint32_t stride, uint32_t pad)
{
    tl_attrs attrs = tl_attrs_default(kind);
    attrs.window = (tl_window){ kernel, kernel, stride, stride, 1, 1, pad, pad, pad, pad };
    return add_node(builder, kind, NULL, &attrs, x);
}

tl_tensor_index tl_builder_max_pool(tl_builder *builder, tl_tensor_index x, uint32_t kernel,
                                    uint32_t stride, uint32_t pad)
{
    return add_pool(builder, TL_OP_MAX_POOL, x, kernel, stride, pad);
}

tl_tensor_index tl_builder_average_pool(tl_builder *builder, tl_tensor_index x, uint32_t kernel,
                                        uint32_t stride, uint32_t pad)
{
    return add_pool(builder, TL_OP_AVERAGE_POOL, x, kernel, stride, pad);
}

tl_tensor_index tl_builder_enlarge(tl_builder *builder, tl_tensor_index x, uint32_t factor)
{
    const tl_shape *shape = tl_builder_shape(builder, x);
    tl_attrs attrs = tl_attrs_default(TL_OP_RESIZE);
    attrs.resize.position = TL_POSITION_ASYMMETRIC;
    attrs.resize.rounding = TL_ROUNDING_FLOOR;
    if (shape != NULL && shape->rank >= 3) {
        attrs.resize.height = factor * shape->dim[shape->rank - 3];
        attrs.resize.width = factor * shape->dim[shape->rank - 2];
    }
    return add_node(builder, TL_OP_RESIZE, NULL, &attrs, x);
}

tl_tensor_index tl_builder_slice(tl_builder *builder, tl_tensor_index x, int32_t begin, int32_t end)
{
    tl_attrs attrs = tl_attrs_default(TL_OP_SLICE);
    attrs.begin = begin;
    attrs.end = end;
    return add_node(builder, TL_OP_SLICE, NULL, &attrs, x);
}

tl_tensor_index tl_builder_concat(tl_builder *builder, const tl_tensor_index *parts, size_t count,
                                  int32_t axis)
{
    tl_attrs attrs = tl_attrs_default(TL_OP_CONCAT);
    attrs.axis = axis;
    return tl_builder_node(builder, &(tl_node_options){ .kind = TL_OP_CONCAT,
                                                        .attrs = &attrs,
                                                        .inputs = parts,
                                                        .input_count = count });
}

tl_tensor_index tl_builder_reshape(tl_builder *builder, tl_tensor_index x, tl_shape shape)
{
    tl_attrs attrs = tl_attrs_default(TL_OP_RESHAPE);
    attrs.shape = shape;
    return add_node(builder, TL_OP_RESHAPE, NULL, &attrs, x);
}

tl_tensor_index tl_builder_permute(tl_builder *builder, tl_tensor_index x, const uint8_t *axes)
{
    const tl_shape *shape = tl_builder_shape(builder, x);
    tl_attrs attrs = tl_attrs_default(TL_OP_PERMUTE);
    if (shape != NULL) memcpy(attrs.axes, axes, shape->rank);
    return add_node(builder, TL_OP_PERMUTE, NULL, &attrs, x);
}

tl_tensor_index tl_builder_softmax(tl_builder *builder, tl_tensor_index x, int32_t axis)
{
    tl_attrs attrs = tl_attrs_default(TL_OP_SOFTMAX);
    attrs.axis = axis;
    return add_node(builder, TL_OP_SOFTMAX, NULL, &attrs, x);
}

tl_tensor_index tl_builder_gemm(tl_builder *builder, const char *name, tl_tensor_index x,
                                uint32_t outputs)
{
    tl_attrs attrs = tl_attrs_default(TL_OP_GEMM);
    attrs.channels = outputs;
    attrs.has_bias = true;
    return add_node(builder, TL_OP_GEMM, name, &attrs, x);
}

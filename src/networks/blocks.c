/* blocks.c - layers that every architecture here is made of. */
#include "networks/internal.h"

#include <stdarg.h>
#include <stdio.h>

net_name net_namef(const char *format, ...)
{
    net_name name;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name.text, sizeof name.text, format, arguments);
    va_end(arguments);
    return name;
}

uint32_t net_channels(const net *n, tl_tensor_index x)
{
    const tl_shape *shape = tl_builder_shape(n->builder, x);
    return shape == NULL ? 1 : tl_shape_channels(shape);
}

/* TensorFlow's SAME: ceil(size / stride) outputs, the odd pixel of padding last. */
static void pad_same(uint32_t size, uint32_t kernel, uint32_t stride, uint32_t *first,
                     uint32_t *last)
{
    uint32_t reach = ((size + stride - 1) / stride - 1) * stride + kernel;
    uint32_t total = reach > size ? reach - size : 0;
    *first = total / 2;
    *last = total - total / 2;
}

tl_tensor_index net_conv_norm(net *n, tl_tensor_index x, net_name conv, net_name norm,
                              const net_layer *layer)
{
    const tl_shape *shape = tl_builder_shape(n->builder, x);
    uint32_t channels = layer->depthwise ? net_channels(n, x) : layer->channels;
    tl_conv_options options =
        tl_conv_square(layer->kernel, layer->stride, layer->depthwise ? channels : 1);
    if (n->pad_same && shape != NULL) {
        tl_window *w = &options.window;
        pad_same(shape->dim[0], layer->kernel, layer->stride, &w->pad_top, &w->pad_bottom);
        pad_same(shape->dim[1], layer->kernel, layer->stride, &w->pad_left, &w->pad_right);
    }
    x = tl_builder_conv(n->builder, conv.text, x, channels, &options);
    x = tl_builder_batch_norm(n->builder, norm.text, x, n->epsilon, n->momentum);
    return layer->activation == TL_OP_COUNT ? x
                                            : tl_builder_unary(n->builder, layer->activation, x);
}

tl_tensor_index net_pointwise(net *n, tl_tensor_index x, net_name name, uint32_t channels)
{
    tl_conv_options options = tl_conv_square(1, 1, 1);
    options.bias = true;
    return tl_builder_conv(n->builder, name.text, x, channels, &options);
}

uint32_t net_round_channels(double value)
{
    uint32_t rounded = (uint32_t)(value + 4.0) / 8 * 8;
    if (rounded < 8) rounded = 8;
    return rounded < 0.9 * value ? rounded + 8 : rounded;
}

static const tl_param *named(const tl_graph *graph, const char *name)
{
    size_t index = tl_graph_find_param(graph, name);
    TL_ASSERT(index != SIZE_MAX);
    return tl_graph_param(graph, index);
}

void net_fill(const tl_graph *graph, float *flat, const char *name, float value)
{
    const tl_param *param = named(graph, name);
    for (size_t i = 0; i < param->count; i++) flat[param->offset + i] = value;
}

void net_normal(const tl_graph *graph, float *flat, const char *name, double deviation,
                uint64_t seed)
{
    const tl_param *param = named(graph, name);
    tl_rng rng;
    tl_rng_seed(&rng, seed, param->offset);
    for (size_t i = 0; i < param->count; i++)
        flat[param->offset + i] = (float)(deviation * tl_rng_normal(&rng));
}

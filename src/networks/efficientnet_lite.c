/* efficientnet_lite.c - EfficientNet (Tan and Le 2019) without squeeze-and-excite, with ReLU6, stem
 * and head not scaled, as TensorFlow's repository defines Lite0 to Lite4. Names as in the PyTorch
 * ports. */
#include "networks/internal.h"

#include <math.h>

typedef struct stage {
    uint32_t repeats, kernel, stride, expansion, channels;
} stage;

static const stage STAGES[] = {
    { 1, 3, 1, 1, 16 },  { 2, 3, 2, 6, 24 },  { 2, 5, 2, 6, 40 },  { 3, 3, 2, 6, 80 },
    { 3, 5, 1, 6, 112 }, { 4, 5, 2, 6, 192 }, { 1, 3, 1, 6, 320 },
};
enum { STAGE_COUNT = TL_COUNT_OF(STAGES) };

typedef struct settings {
    double width, depth;
} settings;

static const settings SIZES[] = {
    { 1.0, 1.0 }, { 1.0, 1.1 }, { 1.1, 1.2 }, { 1.2, 1.4 }, { 1.4, 1.8 }
};

static tl_tensor_index inverted_residual(net *n, tl_tensor_index x, uint32_t index, const stage *s,
                                         uint32_t channels, uint32_t stride)
{
    const uint32_t before = net_channels(n, x);
    tl_tensor_index y = x;
    if (s->expansion != 1)
        y = net_conv_norm(n, y, net_namef("_blocks.%u._expand_conv", index),
                          net_namef("_blocks.%u._bn0", index),
                          &(net_layer){ before * s->expansion, 1, 1, false, TL_OP_CLIP });
    y = net_conv_norm(n, y, net_namef("_blocks.%u._depthwise_conv", index),
                      net_namef("_blocks.%u._bn1", index),
                      &(net_layer){ 0, s->kernel, stride, true, TL_OP_CLIP });
    y = net_conv_norm(n, y, net_namef("_blocks.%u._project_conv", index),
                      net_namef("_blocks.%u._bn2", index),
                      &(net_layer){ channels, 1, 1, false, TL_OP_COUNT });
    return stride == 1 && before == channels ? tl_builder_binary(n->builder, TL_OP_ADD, y, x) : y;
}

static tl_status build(net *n, tl_tensor_index x, uint32_t size, tl_error *err)
{
    (void)err;
    const settings *scale = &SIZES[size];
    n->epsilon = 1e-3f;
    n->momentum = 0.01f;
    n->pad_same = true;
    uint32_t index = 0;
    x = net_conv_norm(n, x, net_namef("_conv_stem"), net_namef("_bn0"),
                      &(net_layer){ 32, 3, 2, false, TL_OP_CLIP });
    for (size_t i = 0; i < STAGE_COUNT; i++) {
        const stage *s = &STAGES[i];
        const bool end = i == 0 || i == STAGE_COUNT - 1;
        const uint32_t repeats = end ? s->repeats : (uint32_t)ceil(s->repeats * scale->depth);
        for (uint32_t r = 0; r < repeats; r++)
            x = inverted_residual(n, x, index++, s, net_round_channels(s->channels * scale->width),
                                  r == 0 ? s->stride : 1);
    }
    x = net_conv_norm(n, x, net_namef("_conv_head"), net_namef("_bn1"),
                      &(net_layer){ 1280, 1, 1, false, TL_OP_CLIP });
    x = tl_builder_unary(n->builder, TL_OP_GLOBAL_AVERAGE_POOL, x);
    x = tl_builder_unary(n->builder, TL_OP_FLATTEN, x);
    tl_builder_output(n->builder, tl_builder_gemm(n->builder, "_fc", x, n->options->class_count));
    return TL_OK;
}

static void start(const tl_graph *graph, const tl_network_options *options, float *flat)
{
    net_normal(graph, flat, "_fc.weight", 0.01, options->seed);
    net_fill(graph, flat, "_fc.bias", 0.0f);
}

const net_family net_efficientnet_lite = { build, start };

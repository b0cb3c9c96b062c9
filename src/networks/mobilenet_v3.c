/* mobilenet_v3.c - Howard et al., "Searching for MobileNetV3", 2019, tables 1 and 2, with
 * torchvision's layers and names. */
#include "networks/internal.h"

typedef struct block {
    uint32_t kernel, expanded, channels;
    bool squeeze, hard_swish;
    uint32_t stride;
} block;

typedef struct settings {
    block blocks[16]; /* ends with one without channels */
    uint32_t features;
} settings;

static const settings SIZES[] = {
    /* small */
    {
        {
            { 3, 16, 16, true, false, 2 },
            { 3, 72, 24, false, false, 2 },
            { 3, 88, 24, false, false, 1 },
            { 5, 96, 40, true, true, 2 },
            { 5, 240, 40, true, true, 1 },
            { 5, 240, 40, true, true, 1 },
            { 5, 120, 48, true, true, 1 },
            { 5, 144, 48, true, true, 1 },
            { 5, 288, 96, true, true, 2 },
            { 5, 576, 96, true, true, 1 },
            { 5, 576, 96, true, true, 1 },
        },
        1024,
    },
    /* large */
    {
        {
            { 3, 16, 16, false, false, 1 },
            { 3, 64, 24, false, false, 2 },
            { 3, 72, 24, false, false, 1 },
            { 5, 72, 40, true, false, 2 },
            { 5, 120, 40, true, false, 1 },
            { 5, 120, 40, true, false, 1 },
            { 3, 240, 80, false, true, 2 },
            { 3, 200, 80, false, true, 1 },
            { 3, 184, 80, false, true, 1 },
            { 3, 184, 80, false, true, 1 },
            { 3, 480, 112, true, true, 1 },
            { 3, 672, 112, true, true, 1 },
            { 5, 672, 160, true, true, 2 },
            { 5, 960, 160, true, true, 1 },
            { 5, 960, 160, true, true, 1 },
        },
        1280,
    },
};

/* Each channel times a gate that sees the whole map. */
static tl_tensor_index squeeze_and_excite(net *n, tl_tensor_index x, net_name prefix)
{
    const uint32_t channels = net_channels(n, x);
    tl_attrs attrs = tl_attrs_default(TL_OP_HARD_SIGMOID);
    attrs.alpha = 1.0f / 6.0f;
    tl_tensor_index gate = tl_builder_unary(n->builder, TL_OP_GLOBAL_AVERAGE_POOL, x);
    gate =
        net_pointwise(n, gate, net_namef("%s.fc1", prefix.text), net_round_channels(channels / 4));
    gate = tl_builder_unary(n->builder, TL_OP_RELU, gate);
    gate = net_pointwise(n, gate, net_namef("%s.fc2", prefix.text), channels);
    gate = tl_builder_node(n->builder, &(tl_node_options){ .kind = TL_OP_HARD_SIGMOID,
                                                           .attrs = &attrs,
                                                           .inputs = &gate,
                                                           .input_count = 1 });
    return tl_builder_binary(n->builder, TL_OP_MUL, gate, x);
}

static tl_tensor_index part(net *n, tl_tensor_index x, uint32_t block_index, uint32_t *part_index,
                            const net_layer *layer)
{
    const uint32_t p = (*part_index)++;
    return net_conv_norm(n, x, net_namef("features.%u.block.%u.0", block_index, p),
                         net_namef("features.%u.block.%u.1", block_index, p), layer);
}

static tl_tensor_index inverted_residual(net *n, tl_tensor_index x, uint32_t index, const block *b)
{
    const tl_op_kind activation = b->hard_swish ? TL_OP_HARD_SWISH : TL_OP_RELU;
    const uint32_t channels = net_channels(n, x);
    tl_tensor_index y = x;
    uint32_t p = 0;
    if (b->expanded != channels)
        y = part(n, y, index, &p, &(net_layer){ b->expanded, 1, 1, false, activation });
    y = part(n, y, index, &p, &(net_layer){ b->expanded, b->kernel, b->stride, true, activation });
    if (b->squeeze) y = squeeze_and_excite(n, y, net_namef("features.%u.block.%u", index, p++));
    y = part(n, y, index, &p, &(net_layer){ b->channels, 1, 1, false, TL_OP_COUNT });
    return b->stride == 1 && b->channels == channels
               ? tl_builder_binary(n->builder, TL_OP_ADD, y, x)
               : y;
}

static tl_status build(net *n, tl_tensor_index x, uint32_t size, tl_error *err)
{
    (void)err;
    const settings *s = &SIZES[size];
    n->epsilon = 1e-3f;
    n->momentum = 0.01f;
    uint32_t i = 0;
    x = net_conv_norm(n, x, net_namef("features.0.0"), net_namef("features.0.1"),
                      &(net_layer){ 16, 3, 2, false, TL_OP_HARD_SWISH });
    for (; s->blocks[i].channels != 0; i++) x = inverted_residual(n, x, i + 1, &s->blocks[i]);
    x = net_conv_norm(n, x, net_namef("features.%u.0", i + 1), net_namef("features.%u.1", i + 1),
                      &(net_layer){ 6 * net_channels(n, x), 1, 1, false, TL_OP_HARD_SWISH });
    x = tl_builder_unary(n->builder, TL_OP_GLOBAL_AVERAGE_POOL, x);
    x = tl_builder_unary(n->builder, TL_OP_FLATTEN, x);
    x = tl_builder_gemm(n->builder, "classifier.0", x, s->features);
    x = tl_builder_unary(n->builder, TL_OP_HARD_SWISH, x);
    tl_builder_output(n->builder,
                      tl_builder_gemm(n->builder, "classifier.3", x, n->options->class_count));
    return TL_OK;
}

static void start(const tl_graph *graph, const tl_network_options *options, float *flat)
{
    net_normal(graph, flat, "classifier.0.weight", 0.01, options->seed);
    net_fill(graph, flat, "classifier.0.bias", 0.0f);
    net_normal(graph, flat, "classifier.3.weight", 0.01, options->seed);
    net_fill(graph, flat, "classifier.3.bias", 0.0f);
}

const net_family net_mobilenet_v3 = { build, start };

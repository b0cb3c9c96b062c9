/* yolov8.c - YOLOv8 with ultralytics' layers, scale factors and names (its yolov8.yaml). */
#include "networks/internal.h"

#include <math.h>
#include <stdlib.h>

typedef struct settings {
    double depth, width;
    uint32_t channels_max; /* before scaling */
} settings;

static const settings SIZES[] = {
    { 0.33, 0.25, 1024 }, { 0.33, 0.50, 1024 }, { 0.67, 0.75, 768 },
    { 1.00, 1.00, 512 },  { 1.00, 1.25, 512 },
};

enum {
    LEVELS = 3,
    BOX = 4 * TL_NETWORK_BOX_BINS,
    STAGE_REPEATS_MAX = 6,
    DETECT = 22 /* number of the last module */
};
static const uint32_t STRIDES[LEVELS] = { 8, 16, 32 };

static uint32_t scaled_channels(const settings *s, uint32_t channels)
{
    const uint32_t most = channels < s->channels_max ? channels : s->channels_max;
    return (uint32_t)ceil(most * s->width / 8.0) * 8;
}

static uint32_t scaled_repeats(const settings *s, uint32_t repeats)
{
    const double scaled = nearbyint(repeats * s->depth);
    return scaled < 1.0 ? 1 : (uint32_t)scaled;
}

/* ---- Modules ---------------------------------------------------------------------------------
 */

static tl_tensor_index conv(net *n, tl_tensor_index x, net_name name, uint32_t channels,
                            uint32_t kernel, uint32_t stride)
{
    return net_conv_norm(n, x, net_namef("%s.conv", name.text), net_namef("%s.bn", name.text),
                         &(net_layer){ channels, kernel, stride, false, TL_OP_SILU });
}

/* C2f: half of the channels go through bottlenecks one after the other; all that was made is
 * joined. */
static tl_tensor_index stage(net *n, tl_tensor_index x, uint32_t module, uint32_t channels,
                             uint32_t repeats, bool shortcut)
{
    const uint32_t half = channels / 2;
    tl_tensor_index parts[1 + STAGE_REPEATS_MAX];
    TL_ASSERT(repeats <= STAGE_REPEATS_MAX);
    parts[0] = conv(n, x, net_namef("model.%u.cv1", module), 2 * half, 1, 1);
    tl_tensor_index y = tl_builder_slice(n->builder, parts[0], half, 2 * half);
    for (uint32_t i = 0; i < repeats; i++) {
        tl_tensor_index z = conv(n, y, net_namef("model.%u.m.%u.cv1", module, i), half, 3, 1);
        z = conv(n, z, net_namef("model.%u.m.%u.cv2", module, i), half, 3, 1);
        y = shortcut ? tl_builder_binary(n->builder, TL_OP_ADD, y, z) : z;
        parts[1 + i] = y;
    }
    y = tl_builder_concat(n->builder, parts, 1 + repeats, -1);
    return conv(n, y, net_namef("model.%u.cv2", module), channels, 1, 1);
}

/* SPPF: pooling over 5, 9 and 13 pixels, joined. */
static tl_tensor_index pyramid_pool(net *n, tl_tensor_index x, uint32_t module, uint32_t channels)
{
    tl_tensor_index parts[4];
    parts[0] = conv(n, x, net_namef("model.%u.cv1", module), net_channels(n, x) / 2, 1, 1);
    for (int i = 1; i < 4; i++) parts[i] = tl_builder_max_pool(n->builder, parts[i - 1], 5, 1, 2);
    x = tl_builder_concat(n->builder, parts, TL_COUNT_OF(parts), -1);
    return conv(n, x, net_namef("model.%u.cv2", module), channels, 1, 1);
}

/* ---- Backbone, neck and head ------------------------------------------------------------------
 */

static void build_levels(net *n, tl_tensor_index x, const settings *s,
                         tl_tensor_index levels[LEVELS])
{
    const uint32_t c128 = scaled_channels(s, 128), c256 = scaled_channels(s, 256),
                   c512 = scaled_channels(s, 512), c1024 = scaled_channels(s, 1024);
    const uint32_t three = scaled_repeats(s, 3), six = scaled_repeats(s, 6);
    x = conv(n, x, net_namef("model.0"), scaled_channels(s, 64), 3, 2);
    x = conv(n, x, net_namef("model.1"), c128, 3, 2);
    x = stage(n, x, 2, c128, three, true);
    x = conv(n, x, net_namef("model.3"), c256, 3, 2);
    const tl_tensor_index m4 = x = stage(n, x, 4, c256, six, true);
    x = conv(n, x, net_namef("model.5"), c512, 3, 2);
    const tl_tensor_index m6 = x = stage(n, x, 6, c512, six, true);
    x = conv(n, x, net_namef("model.7"), c1024, 3, 2);
    x = stage(n, x, 8, c1024, three, true);
    const tl_tensor_index m9 = pyramid_pool(n, x, 9, c1024);
    x = tl_builder_concat(n->builder,
                          (tl_tensor_index[]){ tl_builder_enlarge(n->builder, m9, 2), m6 }, 2, -1);
    const tl_tensor_index m12 = stage(n, x, 12, c512, three, false);
    x = tl_builder_concat(n->builder,
                          (tl_tensor_index[]){ tl_builder_enlarge(n->builder, m12, 2), m4 }, 2, -1);
    levels[0] = stage(n, x, 15, c256, three, false);
    x = conv(n, levels[0], net_namef("model.16"), c256, 3, 2);
    x = tl_builder_concat(n->builder, (tl_tensor_index[]){ x, m12 }, 2, -1);
    levels[1] = stage(n, x, 18, c512, three, false);
    x = conv(n, levels[1], net_namef("model.19"), c512, 3, 2);
    x = tl_builder_concat(n->builder, (tl_tensor_index[]){ x, m9 }, 2, -1);
    levels[2] = stage(n, x, 21, c1024, three, false);
}

static uint32_t at_least(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* One branch of the head: "cv2" for boxes, "cv3" for classes. */
static tl_tensor_index branch(net *n, tl_tensor_index x, const char *name, uint32_t level,
                              uint32_t width, uint32_t outputs)
{
    x = conv(n, x, net_namef("model.%d.%s.%u.0", DETECT, name, level), width, 3, 1);
    x = conv(n, x, net_namef("model.%d.%s.%u.1", DETECT, name, level), width, 3, 1);
    return net_pointwise(n, x, net_namef("model.%d.%s.%u.2", DETECT, name, level), outputs);
}

static void build_maps(net *n, tl_tensor_index levels[LEVELS])
{
    const uint32_t classes = n->options->class_count, first = net_channels(n, levels[0]);
    const uint32_t box_width = at_least(BOX, first / 4);
    const uint32_t class_width = at_least(first, classes < 100 ? classes : 100);
    for (uint32_t i = 0; i < LEVELS; i++) {
        const tl_tensor_index parts[] = { branch(n, levels[i], "cv2", i, box_width, BOX),
                                          branch(n, levels[i], "cv3", i, class_width, classes) };
        levels[i] = tl_builder_concat(n->builder, parts, 2, -1);
    }
}

/* ---- Decoding ---------------------------------------------------------------------------------
 */

static tl_shape table(uint32_t rows, uint32_t columns)
{
    return (tl_shape){ .rank = 2, .dim = { rows, columns } };
}

/* Where each anchor is, in cells from the corner of its map, and the pixels of its cells. */
static void set_anchors(const net *n, float *centres, float *strides)
{
    for (uint32_t i = 0; i < LEVELS; i++) {
        const uint32_t height = n->options->height / STRIDES[i];
        const uint32_t width = n->options->width / STRIDES[i];
        for (uint32_t p = 0; p < height * width; p++) {
            *centres++ = (float)(p % width) + 0.5f;
            *centres++ = (float)(p / width) + 0.5f;
            *strides++ = (float)STRIDES[i];
        }
    }
}

static tl_tensor_index distances(net *n, tl_tensor_index logits, uint32_t anchors)
{
    float bins[TL_NETWORK_BOX_BINS];
    for (uint32_t i = 0; i < TL_NETWORK_BOX_BINS; i++) bins[i] = (float)i;
    const tl_param_init init = { .name = "model.22.dfl.conv.weight",
                                 .values = bins,
                                 .count = TL_NETWORK_BOX_BINS };
    tl_attrs attrs = tl_attrs_default(TL_OP_CONV);
    attrs.channels = 1;
    tl_tensor_index x =
        tl_builder_reshape(n->builder, logits, tl_shape_image(anchors, 4, TL_NETWORK_BOX_BINS));
    x = tl_builder_unary(n->builder, TL_OP_SOFTMAX, x);
    x = tl_builder_node(n->builder, &(tl_node_options){ .kind = TL_OP_CONV,
                                                        .name = "model.22.dfl.conv",
                                                        .attrs = &attrs,
                                                        .inputs = &x,
                                                        .input_count = 1,
                                                        .params = &init,
                                                        .param_count = 1 });
    return tl_builder_reshape(n->builder, x, table(anchors, 4));
}

/* Boxes [anchors, 4] from distances; `numbers` has room for 3 an anchor. */
static tl_tensor_index boxes(net *n, tl_tensor_index x, uint32_t anchors, float *numbers)
{
    tl_builder *b = n->builder;
    float *strides = numbers + 2 * (size_t)anchors;
    set_anchors(n, numbers, strides);
    const tl_shape one = tl_shape_vector(1), pairs = table(anchors, 2), column = table(anchors, 1);
    const tl_tensor_index half =
        tl_builder_constant(b, "model.22.half", &one, &(float){ 0.5f }, false);
    const tl_tensor_index centres =
        tl_builder_constant(b, "model.22.anchors", &pairs, numbers, false);
    const tl_tensor_index scale =
        tl_builder_constant(b, "model.22.strides", &column, strides, false);
    const tl_tensor_index before = tl_builder_slice(b, x, 0, 2),
                          after = tl_builder_slice(b, x, 2, 4);
    tl_tensor_index parts[2];
    parts[0] = tl_builder_binary(b, TL_OP_SUB, after, before);
    parts[0] = tl_builder_binary(b, TL_OP_MUL, parts[0], half);
    parts[0] = tl_builder_binary(b, TL_OP_ADD, parts[0], centres);
    parts[1] = tl_builder_binary(b, TL_OP_ADD, after, before);
    return tl_builder_binary(b, TL_OP_MUL, tl_builder_concat(n->builder, parts, 2, -1), scale);
}

static void decode(net *n, const tl_tensor_index maps[LEVELS], float *numbers, uint32_t anchors)
{
    tl_builder *b = n->builder;
    const uint32_t classes = n->options->class_count;
    tl_tensor_index rows[LEVELS];
    for (uint32_t i = 0; i < LEVELS; i++) {
        const uint32_t cells = (n->options->height / STRIDES[i]) * (n->options->width / STRIDES[i]);
        rows[i] = tl_builder_reshape(n->builder, maps[i], table(cells, BOX + classes));
    }
    const tl_tensor_index all = tl_builder_concat(n->builder, rows, LEVELS, 0);
    tl_tensor_index parts[2] = {
        distances(n, tl_builder_slice(b, all, 0, BOX), anchors),
        tl_builder_unary(b, TL_OP_SIGMOID, tl_builder_slice(b, all, BOX, BOX + classes)),
    };
    parts[0] = boxes(n, parts[0], anchors, numbers);
    tl_tensor_index y = tl_builder_concat(n->builder, parts, 2, -1);
    tl_builder_output(b, tl_builder_permute(b, y, (const uint8_t[]){ 1, 0 }));
}

/* ---- The family -------------------------------------------------------------------------------
 */

static tl_status build(net *n, tl_tensor_index x, uint32_t size, tl_error *err)
{
    n->epsilon = 1e-3f;
    n->momentum = 0.03f;
    tl_tensor_index maps[LEVELS];
    build_levels(n, x, &SIZES[size], maps);
    build_maps(n, maps);
    if (n->options->form == TL_NETWORK_TRAIN) {
        for (uint32_t i = 0; i < LEVELS; i++) tl_builder_output(n->builder, maps[i]);
        return TL_OK;
    }
    uint32_t anchors = 0;
    for (uint32_t i = 0; i < LEVELS; i++)
        anchors += (n->options->height / STRIDES[i]) * (n->options->width / STRIDES[i]);
    float *numbers = malloc(3 * (size_t)anchors * sizeof *numbers);
    if (numbers == NULL) return tl_fail(err, TL_ENOMEM, "%u anchors", anchors);
    decode(n, maps, numbers, anchors);
    free(numbers);
    return TL_OK;
}

/* Boxes start as wide as some cells; classes as rare as five objects among some hundred cells of
 * the map of a 640 pixel image. */
static void start(const tl_graph *graph, const tl_network_options *options, float *flat)
{
    for (uint32_t i = 0; i < LEVELS; i++) {
        const double cells = (640.0 / STRIDES[i]) * (640.0 / STRIDES[i]);
        const char *const names[] = { "cv2", "cv3" };
        const double biases[] = { 1.0, log(5.0 / options->class_count / cells) };
        for (int k = 0; k < 2; k++) {
            const net_name prefix = net_namef("model.%d.%s.%u.2", DETECT, names[k], i);
            const net_name weight = net_namef("%s.weight", prefix.text);
            const tl_param *param = tl_graph_param(graph, tl_graph_find_param(graph, weight.text));
            net_normal(graph, flat, weight.text, sqrt(1.0 / (3.0 * param->shape.dim[1])),
                       options->seed);
            net_fill(graph, flat, net_namef("%s.bias", prefix.text).text, (float)biases[k]);
        }
    }
}

const net_family net_yolov8 = { build, start };

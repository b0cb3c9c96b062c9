#include "graph/onnx/export/internal.h"

#include <math.h>
#include <string.h>

static uint32_t input(const tl_node *node)
{
    return node->inputs[0];
}

/* Images are [h, w, c]; more dimensions before would need to be folded into the batch. */
static bool is_image(onnx_export *e, const tl_node *node)
{
    if (export_shape(e, input(node))->rank == 3) return true;
    export_fail(e, TL_EUNSUPPORTED, "images with further dimensions before height");
    return false;
}

static void window(onnx_export *e, Onnx__NodeProto *out, const tl_window *w)
{
    const int64_t kernel[] = { w->kernel_h, w->kernel_w }, stride[] = { w->stride_h, w->stride_w };
    const int64_t dilation[] = { w->dilation_h, w->dilation_w };
    const int64_t pads[] = { w->pad_top, w->pad_left, w->pad_bottom, w->pad_right };
    export_ints(e, out, "kernel_shape", kernel, 2);
    export_ints(e, out, "strides", stride, 2);
    export_ints(e, out, "pads", pads, 4);
    if (w->dilation_h != 1 || w->dilation_w != 1) export_ints(e, out, "dilations", dilation, 2);
}

/* ---- Convolution ----------------------------------------------------------------------------- */

/* The normalisation that alone reads what a convolution writes; its index, or node_count. */
static size_t norm_after(const onnx_export *e, const tl_node *node)
{
    const tl_graph *g = e->graph;
    const export_tensor *t = &e->tensors[node->output];
    if (e->options->trainable || t->readers != 1 || t->output != NULL) return g->node_count;
    return g->nodes[t->reader].kind == TL_OP_BATCH_NORM ? t->reader : g->node_count;
}

static const float *numbers(const onnx_export *e, const tl_node *node, uint32_t param)
{
    return e->flat + e->graph->params[node->params[param]].offset;
}

/* "c1.bias" beside "c1.weight", or NULL when that does not go. */
static const char *bias_name(onnx_export *e, const char *weight)
{
    static const char from[] = ".weight", to[] = ".bias";
    const size_t bytes = strlen(weight);
    if (bytes < sizeof from || strcmp(weight + bytes - (sizeof from - 1), from) != 0) return NULL;
    char *name = export_alloc(e, bytes);
    if (name == NULL) return NULL;
    memcpy(name, weight, bytes - (sizeof from - 1));
    strcpy(name + bytes - (sizeof from - 1), to);
    return export_is_taken(e, name) ? NULL : name;
}

/* Weights and bias with the normalisation's scale and shift in them. */
static void fold(onnx_export *e, const tl_node *conv, const tl_node *norm, const char *names[2])
{
    const tl_param *param = &e->graph->params[conv->params[0]];
    const uint32_t out = param->shape.dim[0];
    const size_t each = param->count / out;
    const float *scale = numbers(e, norm, 0), *shift = numbers(e, norm, 1);
    const float *mean = numbers(e, norm, 2), *variance = numbers(e, norm, 3);
    const float *from = numbers(e, conv, 0);
    const float *bias = conv->attrs.has_bias ? numbers(e, conv, 1) : NULL;
    float *weights = export_alloc(e, param->count * sizeof *weights);
    float *biases = export_alloc(e, out * sizeof *biases);
    if (weights == NULL || biases == NULL) return;
    for (uint32_t o = 0; o < out; o++) {
        const double gain =
            (double)scale[o] / sqrt((double)variance[o] + (double)norm->attrs.epsilon);
        for (size_t i = 0; i < each; i++)
            weights[o * each + i] = (float)(gain * (double)from[o * each + i]);
        biases[o] = (float)(gain * ((bias == NULL ? 0.0 : (double)bias[o]) - (double)mean[o]) +
                            (double)shift[o]);
    }
    const int64_t dims[] = { out, param->shape.dim[1], param->shape.dim[2], param->shape.dim[3] };
    names[0] = export_floats(e, param->name, dims, 4, weights);
    names[1] = export_floats(
        e, bias == NULL ? bias_name(e, param->name) : e->graph->params[conv->params[1]].name, dims,
        1, biases);
}

static void conv(onnx_export *e, const tl_node *node)
{
    if (!is_image(e, node)) return;
    const size_t norm = norm_after(e, node);
    const bool folded = norm < e->graph->node_count;
    const char *x = export_want(e, input(node), EXPORT_IMAGE);
    const char *names[2] = { "", "" };
    size_t count = 1;
    if (folded) {
        fold(e, node, &e->graph->nodes[norm], names);
        e->done[norm] = true;
        count = 2;
    } else {
        for (count = 0; count < node->param_count; count++)
            names[count] = export_param(e, node, (uint32_t)count);
    }
    const char *inputs[] = { x, names[0], names[1] };
    const uint32_t to = folded ? e->graph->nodes[norm].output : node->output;
    Onnx__NodeProto *out =
        export_node(e, "Conv", export_make(e, to, EXPORT_IMAGE), inputs, 1 + count);
    window(e, out, &node->attrs.window);
    export_int(e, out, "group", node->attrs.groups);
}

static void conv_transpose(onnx_export *e, const tl_node *node)
{
    if (!is_image(e, node)) return;
    const int64_t extra[] = { node->attrs.output_pad_h, node->attrs.output_pad_w };
    const char *inputs[3] = { export_want(e, input(node), EXPORT_IMAGE) };
    for (uint32_t p = 0; p < node->param_count; p++) inputs[1 + p] = export_param(e, node, p);
    Onnx__NodeProto *out =
        export_node(e, "ConvTranspose", export_make(e, node->output, EXPORT_IMAGE), inputs,
                    1 + node->param_count);
    window(e, out, &node->attrs.window);
    export_int(e, out, "group", node->attrs.groups);
    if (extra[0] != 0 || extra[1] != 0) export_ints(e, out, "output_padding", extra, 2);
}

static void batch_norm(onnx_export *e, const tl_node *node)
{
    const uint32_t rank = export_shape(e, input(node))->rank;
    if (rank != 1 && !is_image(e, node)) return;
    const export_order order = rank == 1 ? EXPORT_PLAIN : EXPORT_IMAGE;
    const char *inputs[5] = { export_want(e, input(node), order) };
    for (uint32_t p = 0; p < 4; p++) inputs[1 + p] = export_param(e, node, p);
    Onnx__NodeProto *out =
        export_node(e, "BatchNormalization", export_make(e, node->output, order), inputs, 5);
    export_float(e, out, "epsilon", node->attrs.epsilon);
    export_float(e, out, "momentum", 1.0f - node->attrs.momentum);
}

/* ---- Matrices -------------------------------------------------------------------------------- */

static void gemm(onnx_export *e, const tl_node *node)
{
    const bool vector = export_shape(e, input(node))->rank == 1, bias = node->attrs.has_bias;
    const char *x = export_want(e, input(node), EXPORT_PLAIN), *w = export_param(e, node, 0);
    const char *b = bias ? export_param(e, node, 1) : "";
    const char *y = export_make(e, node->output, EXPORT_PLAIN);
    if (vector) {
        const char *inputs[] = { x, w, b };
        export_int(e, export_node(e, "Gemm", y, inputs, bias ? 3 : 2), "transB", 1);
        return;
    }
    const char *turned = export_name(e), *product = bias ? export_name(e) : y;
    export_ints(e, EXPORT_NODE(e, "Transpose", turned, w), "perm", (const int64_t[]){ 1, 0 }, 2);
    EXPORT_NODE(e, "MatMul", product, x, turned);
    if (bias) EXPORT_NODE(e, "Add", y, product, b);
}

static void matmul(onnx_export *e, const tl_node *node)
{
    const uint32_t rank = export_shape(e, node->output)->rank;
    const char *a = export_want_rank(e, node->inputs[0], rank, EXPORT_PLAIN);
    const char *b = export_want_rank(e, node->inputs[1], rank, EXPORT_PLAIN);
    EXPORT_NODE(e, "MatMul", export_make(e, node->output, EXPORT_PLAIN), a, b);
}

/* ---- Pooling and resizing -------------------------------------------------------------------- */

static Onnx__NodeProto *image_to_image(onnx_export *e, const tl_node *node, const char *op)
{
    if (!is_image(e, node)) return NULL;
    const char *x = export_want(e, input(node), EXPORT_IMAGE);
    return EXPORT_NODE(e, op, export_make(e, node->output, EXPORT_IMAGE), x);
}

static void pool(onnx_export *e, const tl_node *node)
{
    const bool average = node->kind == TL_OP_AVERAGE_POOL;
    Onnx__NodeProto *out = image_to_image(e, node, average ? "AveragePool" : "MaxPool");
    window(e, out, &node->attrs.window);
    if (node->attrs.ceil_mode) export_int(e, out, "ceil_mode", 1);
    if (average && node->attrs.count_include_pad) export_int(e, out, "count_include_pad", 1);
}

static void global_pool(onnx_export *e, const tl_node *node)
{
    image_to_image(e, node,
                   node->kind == TL_OP_GLOBAL_MAX_POOL ? "GlobalMaxPool" : "GlobalAveragePool");
}

/* A scale of which the file's reader makes that size: it takes the whole part of size * scale. */
static float scale_for(uint32_t from, uint32_t to, float scale)
{
    if (scale == 0.0f) scale = (float)((double)to / (double)from);
    while ((uint32_t)((float)from * scale) < to) scale = nextafterf(scale, INFINITY);
    return scale;
}

static void resize(onnx_export *e, const tl_node *node)
{
    static const char *const modes[] = { "nearest", "linear", "cubic" };
    static const char *const positions[] = { "half_pixel",    NULL,         "pytorch_half_pixel",
                                             "align_corners", "asymmetric", "tf_crop_and_resize" };
    static const char *const roundings[] = { "round_prefer_floor", "round_prefer_ceil", "floor",
                                             "ceil" };
    const tl_resize *r = &node->attrs.resize;
    if (!is_image(e, node)) return;
    if (positions[r->position] == NULL || r->antialias ||
        r->position == TL_POSITION_CROP_AND_RESIZE) {
        export_fail(e, TL_EUNSUPPORTED, "a form of resizing that operator set %d does not have",
                    EXPORT_OPSET);
        return;
    }
    const tl_shape *from = export_shape(e, input(node));
    float *scales = export_alloc(e, 4 * sizeof *scales);
    if (scales == NULL) return;
    scales[0] = scales[1] = 1.0f;
    scales[2] = scale_for(from->dim[0], r->height, r->scale_h);
    scales[3] = scale_for(from->dim[1], r->width, r->scale_w);
    const char *x = export_want(e, input(node), EXPORT_IMAGE);
    const char *by = export_floats(e, NULL, (const int64_t[]){ 4 }, 1, scales);
    Onnx__NodeProto *out =
        EXPORT_NODE(e, "Resize", export_make(e, node->output, EXPORT_IMAGE), x, "", by);
    export_text(e, out, "mode", modes[r->mode]);
    export_text(e, out, "coordinate_transformation_mode", positions[r->position]);
    if (r->mode == TL_RESIZE_NEAREST) export_text(e, out, "nearest_mode", roundings[r->rounding]);
    if (r->mode == TL_RESIZE_CUBIC) export_float(e, out, "cubic_coeff_a", r->cubic);
    if (r->exclude_outside) export_int(e, out, "exclude_outside", 1);
}

export_handler export_layer_find(tl_op_kind kind)
{
    switch (kind) {
    case TL_OP_CONV: return conv;
    case TL_OP_CONV_TRANSPOSE: return conv_transpose;
    case TL_OP_BATCH_NORM: return batch_norm;
    case TL_OP_GEMM: return gemm;
    case TL_OP_MATMUL: return matmul;
    case TL_OP_MAX_POOL:
    case TL_OP_AVERAGE_POOL: return pool;
    case TL_OP_GLOBAL_AVERAGE_POOL:
    case TL_OP_GLOBAL_MAX_POOL: return global_pool;
    case TL_OP_RESIZE: return resize;
    default: return NULL;
    }
}

#include "graph/onnx/import/ops/internal.h"

#include <string.h>

/* Convolutions and transposed convolutions: of rows [n, c, w], images [n, c, h, w] and volumes
 * [n, c, d, h, w]. */

typedef struct conv {
    onnx_array x;
    tl_attrs attrs;
    onnx_value *weight, *bias;
    onnx_node *last; /* the node whose output is made: itself, or an Add */
    bool line;       /* [n, c, w] */
    bool space;      /* [n, c, d, h, w] */
} conv;

/* Operands and groups; of a transposed convolution the weight is [in, out / groups, ...]. */
static tl_status open_conv(onnx_import *import, onnx_node *node, bool transposed, conv *c)
{
    const onnx_dims *dims;
    onnx_value *source = onnx_operand(import, node, 0);
    tl_status status = onnx_operand_constant(import, node, 1, &c->weight);
    if (status != TL_OK) return status;
    if (!transposed && source->kind == ONNX_VALUE_TENSOR)
        c->x = source->array; /* pending padding is welcome */
    else
        status = onnx_operand_array(import, node, 0, &c->x);
    if (status != TL_OK) return status;
    dims = &c->weight->dims;
    if (c->x.rank < 3 || c->x.rank > 5)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "its input has %u dimensions; rows (3), images (4) and volumes (5) are "
                         "supported",
                         c->x.rank);
    if (dims->rank != c->x.rank)
        return onnx_fail(import, node, TL_EINVAL, "its weight has %u dimensions, its input %u",
                         dims->rank, c->x.rank);
    c->line = c->x.rank == 3;
    c->space = c->x.rank == 5;
    uint32_t channels = c->x.dim[1];
    int64_t groups = onnx_attr_int(node, "group", 1);
    for (uint32_t i = 2; i < dims->rank; i++)
        if (dims->count == 0 || dims->dim[i] > ONNX_WINDOW_MAX)
            return onnx_fail(import, node, TL_EINVAL, "its weight is empty or too large");
    uint32_t takes = dims->dim[transposed ? 0 : 1];
    if (groups < 1 || groups > channels ||
        channels != (uint64_t)takes * (uint64_t)(transposed ? 1 : groups) ||
        dims->dim[0] % (uint64_t)groups != 0)
        return onnx_fail(import, node, TL_EINVAL,
                         "%lld groups of %u channels do not fit an input of %u channels",
                         (long long)groups, takes, channels);
    c->attrs.groups = (uint32_t)groups;
    uint64_t made = (uint64_t)dims->dim[transposed ? 1 : 0] * (uint64_t)(transposed ? groups : 1);
    if (made > TL_DIM_MAX) return onnx_fail(import, node, TL_EINVAL, "too many channels");
    c->attrs.channels = (uint32_t)made;
    return TL_OK;
}

static tl_status read_kernel(onnx_import *import, const onnx_node *node, const conv *c,
                             int64_t kernel[3])
{
    uint32_t spatial = c->x.rank - 2;
    int64_t stated[3];
    for (uint32_t i = 0; i < spatial; i++) kernel[i] = c->weight->dims.dim[2 + i];
    tl_status status =
        onnx_attr_sizes(import, node, "kernel_shape", spatial, 1, ONNX_WINDOW_MAX, 0, stated);
    if (status != TL_OK) return status;
    for (uint32_t i = 0; i < spatial; i++)
        if (stated[0] != 0 && stated[i] != kernel[i])
            return onnx_fail(import, node, TL_EINVAL, "kernel_shape and its weight disagree");
    return TL_OK;
}

/* ---- Volumes ----------------------------------------------------------------------------------
 *
 * A kernel over [d, h, w] is a kernel over [h, w] of images whose channels are those of all the
 * depths under it: channel c at depth k of the kernel becomes channel c * kernel_d + k, which is how
 * ONNX's weight lies anyway, and with which groups stay together. */

/* [n, c, d, h, w] -> [n, c * kernel_d, d', h, w]. */
static tl_status unfold_depth(onnx_import *import, const onnx_node *node, onnx_array *x,
                              const tl_window *depth)
{
    const uint32_t kernel = depth->kernel_h, stride = depth->stride_h;
    uint32_t before[ONNX_RANK_MAX] = { 0 }, after[ONNX_RANK_MAX] = { 0 };
    before[2] = depth->pad_top;
    after[2] = depth->pad_bottom;
    tl_status status = onnx_pad(import, node, x, before, after, TL_PAD_CONSTANT, 0.0f);
    if (status != TL_OK) return status;
    const uint64_t reach = (uint64_t)(kernel - 1) * depth->dilation_h;
    if (reach >= x->dim[2] || (uint64_t)x->dim[1] * kernel > TL_DIM_MAX)
        return onnx_fail(import, node, TL_EINVAL, "its kernel does not fit an input of depth %u",
                         x->dim[2]);
    const uint32_t out = (x->dim[2] - 1 - (uint32_t)reach) / stride + 1;
    onnx_array *parts = tl_arena_alloc(import->arena, kernel * sizeof *parts);
    if (parts == NULL) return tl_fail(import->err, TL_ENOMEM, "out of memory");
    for (uint32_t k = 0; k < kernel && status == TL_OK; k++) {
        const int64_t first = (int64_t)k * depth->dilation_h;
        parts[k] = *x;
        status = onnx_slice(import, node, &parts[k], 2, first,
                            first + (int64_t)(out - 1) * stride + 1, stride);
        if (status == TL_OK) status = onnx_unsqueeze(import, node, &parts[k], 2);
    }
    if (status == TL_OK) status = onnx_concat(import, node, parts, kernel, 2, x);
    if (status != TL_OK) return status;
    const uint32_t dim[5] = { x->dim[0], x->dim[1] * kernel, out, x->dim[4], x->dim[5] };
    return onnx_reshape(import, node, x, 5, dim);
}

/* Of a transposed convolution: [in, out, d, h, w] -> [in * d, out, h, w], the depths reversed. */
static tl_status unfold_weight(const onnx_import *import, const conv *c, tl_param_init *weight)
{
    const uint32_t *dim = c->weight->dims.dim;
    const size_t out = dim[1], depth = dim[2], plane = (size_t)dim[3] * dim[4];
    float *to = onnx_floats_alloc(import, weight->count);
    if (to == NULL) return TL_ENOMEM;
    for (size_t i = 0; i < dim[0]; i++)
        for (size_t k = 0; k < depth; k++)
            for (size_t o = 0; o < out; o++)
                memcpy(to + ((i * depth + k) * out + o) * plane,
                       weight->values + ((i * out + o) * depth + depth - 1 - k) * plane,
                       plane * sizeof *to);
    weight->values = to;
    return TL_OK;
}

/* ---- Convolution ------------------------------------------------------------------------------
 */

/* Append the layer to the image x and declare its output. */
static tl_status close_conv(onnx_import *import, onnx_node *node, tl_op_kind kind, conv *c)
{
    tl_param_init params[2] = { { 0 } };
    tl_status status = onnx_operand_param(import, node, 1, 0, &params[0]);
    if (status == TL_OK && c->space && kind == TL_OP_CONV_TRANSPOSE)
        status = unfold_weight(import, c, &params[0]);
    uint32_t rank = c->x.rank;
    c->last = node;
    if (onnx_operand(import, node, 2) != NULL)
        status = status == TL_OK ? onnx_operand_constant(import, node, 2, &c->bias) : status;
    else
        c->last = onnx_find_bias_add(import, node, c->attrs.channels, rank, 1, &c->bias);
    if (c->last == NULL) c->last = node;
    c->attrs.has_bias = c->bias != NULL;
    if (status == TL_OK && c->bias != NULL) {
        bool own = c->last == node;
        size_t index = own || onnx_operand(import, c->last, 1) != c->bias ? 0 : 1;
        status =
            onnx_operand_param(import, c->last, own ? 2 : index, c->attrs.channels, &params[1]);
    }
    if (status == TL_OK && c->line) status = onnx_unsqueeze(import, node, &c->x, 2);
    if (status != TL_OK) return status;
    const tl_window *w = &c->attrs.window;
    bool point = w->kernel_h * w->kernel_w * w->stride_h * w->stride_w == 1 &&
                 w->pad_top + w->pad_left + w->pad_bottom + w->pad_right == 0;
    status =
        point ? onnx_arrange_last(import, node, &c->x, 1) : onnx_arrange_image(import, node, &c->x);
    const onnx_array in = c->x, *inputs[1] = { &in };
    if (status == TL_OK)
        status = onnx_emit(import, node,
                           &(onnx_emit_options){ .kind = kind,
                                                 .attrs = &c->attrs,
                                                 .inputs = inputs,
                                                 .input_count = 1,
                                                 .params = params,
                                                 .param_count = c->bias != NULL ? 2 : 1 },
                           &c->x);
    if (status == TL_OK && c->line) status = onnx_squeeze(import, node, &c->x, 2);
    if (status != TL_OK) return status;
    if (c->last != node) c->last->absorbed = true;
    return onnx_yield(import, c->last, &c->x);
}

/* Padding wider than the kernel reaches, which the engine's windows do not have. */
static tl_status pad_apart(onnx_import *import, const onnx_node *node, conv *c)
{
    tl_window *w = &c->attrs.window;
    uint32_t reach_h = (w->kernel_h - 1) * w->dilation_h,
             reach_w = (w->kernel_w - 1) * w->dilation_w;
    if (w->pad_top <= reach_h && w->pad_bottom <= reach_h && w->pad_left <= reach_w &&
        w->pad_right <= reach_w)
        return TL_OK;
    uint32_t before[ONNX_RANK_MAX] = { 0 }, after[ONNX_RANK_MAX] = { 0 };
    before[c->x.rank - 1] = w->pad_left;
    after[c->x.rank - 1] = w->pad_right;
    if (!c->line) {
        before[c->x.rank - 2] = w->pad_top;
        after[c->x.rank - 2] = w->pad_bottom;
    }
    w->pad_top = w->pad_left = w->pad_bottom = w->pad_right = 0;
    return onnx_pad(import, node, &c->x, before, after, TL_PAD_CONSTANT, 0.0f);
}

static tl_status run_space(onnx_import *import, onnx_node *node, conv *c)
{
    const int64_t in[3] = { c->x.dim[2], c->x.dim[3], c->x.dim[4] };
    int64_t kernel[3];
    tl_window depth;
    tl_status status = read_kernel(import, node, c, kernel);
    if (status == TL_OK)
        status = onnx_read_space(import, node, kernel, in, &c->attrs.window, &depth);
    if (status == TL_OK) status = pad_apart(import, node, c);
    if (status == TL_OK) status = unfold_depth(import, node, &c->x, &depth);
    return status == TL_OK ? close_conv(import, node, TL_OP_CONV, c) : status;
}

tl_status onnx_run_conv(onnx_import *import, onnx_node *node)
{
    conv c = { .attrs = tl_attrs_default(TL_OP_CONV) };
    tl_status status = open_conv(import, node, false, &c);
    if (status == TL_OK && c.space) return run_space(import, node, &c);
    if (status != TL_OK) return status;
    const uint32_t *pad = onnx_operand(import, node, 0)->pad; /* of a Pad before it */
    int64_t kernel[3], in[2] = { c.x.dim[2], c.x.dim[c.x.rank - 1] };
    in[0] += c.line ? 0 : pad[0] + pad[2];
    in[1] += pad[1] + pad[3];
    status = read_kernel(import, node, &c, kernel);
    if (status == TL_OK)
        status = onnx_read_window(import, node, c.x.rank - 2, kernel, c.line ? in + 1 : in,
                                  &c.attrs.window);
    if (status != TL_OK) return status;
    c.attrs.window.pad_top += pad[0];
    c.attrs.window.pad_left += pad[1];
    c.attrs.window.pad_bottom += pad[2];
    c.attrs.window.pad_right += pad[3];
    status = pad_apart(import, node, &c);
    return status == TL_OK ? close_conv(import, node, TL_OP_CONV, &c) : status;
}

/* Padding of a transposed convolution of which the output's size is given. */
static void pads_for_output(int64_t total, bool upper, uint32_t *begin, uint32_t *end,
                            uint32_t *more)
{
    int64_t small = total > 0 ? total / 2 : 0, large = total > 0 ? total - small : 0;
    *begin = (uint32_t)(upper ? small : large);
    *end = (uint32_t)(upper ? large : small);
    if (total < 0) *more += (uint32_t)-total;
}

static tl_status fit_output(onnx_import *import, const onnx_node *node, conv *c,
                            const int64_t kernel[2])
{
    uint32_t spatial = c->x.rank - 2;
    int64_t wanted[2], extra[2];
    tl_window *w = &c->attrs.window;
    tl_status status =
        onnx_attr_sizes(import, node, "output_padding", spatial, 0, ONNX_WINDOW_MAX, 0, extra);
    if (status == TL_OK)
        status = onnx_attr_sizes(import, node, "output_shape", spatial, 1, TL_DIM_MAX, 0, wanted);
    if (status != TL_OK) return status;
    c->attrs.output_pad_w = (uint32_t)extra[spatial - 1];
    c->attrs.output_pad_h = spatial == 2 ? (uint32_t)extra[0] : 0;
    bool upper = onnx_attr_is(node, "auto_pad", "SAME_UPPER");
    bool same = onnx_attr(node, "auto_pad") != NULL &&
                (upper || onnx_attr_is(node, "auto_pad", "SAME_LOWER"));
    for (uint32_t i = 0; i < spatial; i++) {
        bool wide = i == spatial - 1;
        int64_t in = c->x.dim[2 + i], stride = wide ? w->stride_w : w->stride_h;
        int64_t dilation = wide ? w->dilation_w : w->dilation_h;
        int64_t goal = wanted[i] > 0 ? wanted[i] : same ? in * stride : 0;
        if (goal == 0) continue;
        int64_t total = stride * (in - 1) + extra[i] + (kernel[i] - 1) * dilation + 1 - goal;
        if (total > ONNX_WINDOW_MAX || total < -ONNX_WINDOW_MAX)
            return onnx_fail(import, node, TL_EINVAL, "output_shape %lld is out of reach",
                             (long long)goal);
        pads_for_output(total, same && upper, wide ? &w->pad_left : &w->pad_top,
                        wide ? &w->pad_right : &w->pad_bottom,
                        wide ? &c->attrs.output_pad_w : &c->attrs.output_pad_h);
    }
    return TL_OK;
}

/* Stretched and padded so that a plain unfolding finds, at each depth of the output, what a
 * transposed kernel adds there. */
static tl_status stretch_depth(onnx_import *import, const onnx_node *node, conv *c,
                               const tl_window *depth, uint32_t output_pad)
{
    onnx_array *x = &c->x;
    const uint32_t reach = (depth->kernel_h - 1) * depth->dilation_h, d = x->dim[2];
    if (depth->pad_top > reach || depth->pad_bottom > reach + output_pad)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "its pads along the first axis are wider than its kernel");
    if ((uint64_t)d * depth->stride_h > TL_DIM_MAX)
        return onnx_fail(import, node, TL_ELIMIT, "its result is too large");
    uint32_t none[ONNX_RANK_MAX] = { 0 }, gap[ONNX_RANK_MAX] = { 0 };
    const uint32_t flat[5] = { x->dim[0], x->dim[1], d * depth->stride_h, x->dim[3], x->dim[4] };
    gap[3] = depth->stride_h - 1;
    tl_status status = onnx_unsqueeze(import, node, x, 3);
    if (status == TL_OK) status = onnx_pad(import, node, x, none, gap, TL_PAD_CONSTANT, 0.0f);
    if (status == TL_OK) status = onnx_reshape(import, node, x, 5, flat);
    if (status == TL_OK)
        status = onnx_slice(import, node, x, 2, 0, (int64_t)(d - 1) * depth->stride_h + 1, 1);
    uint32_t before[ONNX_RANK_MAX] = { 0 }, after[ONNX_RANK_MAX] = { 0 };
    before[2] = reach - depth->pad_top;
    after[2] = reach + output_pad - depth->pad_bottom;
    return status == TL_OK ? onnx_pad(import, node, x, before, after, TL_PAD_CONSTANT, 0.0f)
                           : status;
}

static tl_status run_space_transpose(onnx_import *import, onnx_node *node, conv *c,
                                     const int64_t kernel[3])
{
    int64_t extra[3];
    tl_window depth;
    if (onnx_attr(node, "output_shape") != NULL ||
        (!onnx_attr_is(node, "auto_pad", "NOTSET") && !onnx_attr_is(node, "auto_pad", "VALID")))
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "of volumes, pads are taken and not output_shape or auto_pad");
    tl_status status =
        onnx_attr_sizes(import, node, "output_padding", 3, 0, ONNX_WINDOW_MAX, 0, extra);
    if (status == TL_OK)
        status = onnx_read_space(import, node, kernel, NULL, &c->attrs.window, &depth);
    if (status != TL_OK) return status;
    c->attrs.output_pad_h = (uint32_t)extra[1];
    c->attrs.output_pad_w = (uint32_t)extra[2];
    status = stretch_depth(import, node, c, &depth, (uint32_t)extra[0]);
    depth.stride_h = 1;
    depth.pad_top = depth.pad_bottom = 0;
    if (status == TL_OK) status = unfold_depth(import, node, &c->x, &depth);
    return status == TL_OK ? close_conv(import, node, TL_OP_CONV_TRANSPOSE, c) : status;
}

tl_status onnx_run_conv_transpose(onnx_import *import, onnx_node *node)
{
    conv c = { .attrs = tl_attrs_default(TL_OP_CONV_TRANSPOSE) };
    int64_t kernel[3], in[2];
    tl_status status = open_conv(import, node, true, &c);
    if (status == TL_OK) status = read_kernel(import, node, &c, kernel);
    if (status == TL_OK && c.space) return run_space_transpose(import, node, &c, kernel);
    if (status != TL_OK) return status;
    for (uint32_t i = 2; i < c.x.rank; i++) in[i - 2] = c.x.dim[i];
    status = onnx_read_window(import, node, c.x.rank - 2, kernel, in, &c.attrs.window);
    if (status == TL_OK) status = fit_output(import, node, &c, kernel);
    return status == TL_OK ? close_conv(import, node, TL_OP_CONV_TRANSPOSE, &c) : status;
}

#include "graph/onnx/import/ops/internal.h"

#include <string.h>

/* ---- Windows ----------------------------------------------------------------------------------
 */

/* What SAME padding adds in total so that the output has ceil(in / stride) elements. */
static int64_t same_padding(int64_t in, int64_t kernel, int64_t stride, int64_t dilation)
{
    int64_t out = (in + stride - 1) / stride;
    int64_t total = (out - 1) * stride + (kernel - 1) * dilation + 1 - in;
    return total > 0 ? total : 0;
}

/* Of up to three axes: first where they begin, then where they end, as ONNX has them. */
typedef struct sides {
    int64_t kernel[3], stride[3], dilation[3], pads[6];
} sides;

static tl_status read_pads(const onnx_import *import, const onnx_node *node, uint32_t spatial,
                           const int64_t *in, sides *s)
{
    if (onnx_attr_is(node, "auto_pad", "NOTSET"))
        return onnx_attr_sizes(import, node, "pads", 2 * spatial, 0, ONNX_WINDOW_MAX, 0, s->pads);
    memset(s->pads, 0, sizeof s->pads);
    if (onnx_attr_is(node, "auto_pad", "VALID")) return TL_OK;
    bool upper = onnx_attr_is(node, "auto_pad", "SAME_UPPER");
    if (!upper && !onnx_attr_is(node, "auto_pad", "SAME_LOWER"))
        return onnx_fail(import, node, TL_EINVAL, "unknown auto_pad");
    for (uint32_t i = 0; i < spatial; i++) {
        int64_t total = same_padding(in[i], s->kernel[i], s->stride[i], s->dilation[i]);
        int64_t small = total / 2, large = total - small;
        s->pads[i] = upper ? small : large;
        s->pads[i + spatial] = upper ? large : small;
    }
    return TL_OK;
}

static tl_status read_sides(const onnx_import *import, const onnx_node *node, uint32_t spatial,
                            const int64_t *kernel, const int64_t *in, sides *s)
{
    memcpy(s->kernel, kernel, spatial * sizeof *kernel);
    tl_status status =
        onnx_attr_sizes(import, node, "strides", spatial, 1, ONNX_WINDOW_MAX, 1, s->stride);
    if (status == TL_OK)
        status =
            onnx_attr_sizes(import, node, "dilations", spatial, 1, ONNX_WINDOW_MAX, 1, s->dilation);
    return status == TL_OK ? read_pads(import, node, spatial, in, s) : status;
}

static tl_window window_of_height(const sides *s, uint32_t axis, uint32_t spatial)
{
    return (tl_window){ .kernel_h = (uint32_t)s->kernel[axis],
                        .kernel_w = 1,
                        .stride_h = (uint32_t)s->stride[axis],
                        .stride_w = 1,
                        .dilation_h = (uint32_t)s->dilation[axis],
                        .dilation_w = 1,
                        .pad_top = (uint32_t)s->pads[axis],
                        .pad_bottom = (uint32_t)s->pads[axis + spatial] };
}

static void set_width(const sides *s, uint32_t axis, uint32_t spatial, tl_window *out)
{
    out->kernel_w = (uint32_t)s->kernel[axis];
    out->stride_w = (uint32_t)s->stride[axis];
    out->dilation_w = (uint32_t)s->dilation[axis];
    out->pad_left = (uint32_t)s->pads[axis];
    out->pad_right = (uint32_t)s->pads[axis + spatial];
}

tl_status onnx_read_window(const onnx_import *import, const onnx_node *node, uint32_t spatial,
                           const int64_t *kernel, const int64_t *in, tl_window *out)
{
    sides s;
    tl_status status = read_sides(import, node, spatial, kernel, in, &s);
    if (status != TL_OK) return status;
    *out = spatial == 1 ? (tl_window){ .kernel_h = 1, .stride_h = 1, .dilation_h = 1 }
                        : window_of_height(&s, 0, spatial);
    set_width(&s, spatial - 1, spatial, out);
    return TL_OK;
}

tl_status onnx_read_space(const onnx_import *import, const onnx_node *node, const int64_t *kernel,
                          const int64_t *in, tl_window *plane, tl_window *depth)
{
    sides s;
    tl_status status = read_sides(import, node, 3, kernel, in, &s);
    if (status != TL_OK) return status;
    *depth = window_of_height(&s, 0, 3);
    *plane = window_of_height(&s, 1, 3);
    set_width(&s, 2, 3, plane);
    return TL_OK;
}

/* ---- Pooling ----------------------------------------------------------------------------------
 */

static bool has_output(const onnx_import *import, const onnx_node *node, size_t index)
{
    return index < node->output_count && node->outputs[index] != ONNX_NONE &&
           import->values[node->outputs[index]].use_count > 0;
}

/* One window over the last two axes of [n, c, h, w] or the last of [n, c, w]. */
static tl_status pool_plane(onnx_import *import, const onnx_node *node, const tl_attrs *attrs,
                            tl_op_kind kind, onnx_array *x)
{
    bool line = x->rank == 3;
    tl_status status = line ? onnx_unsqueeze(import, node, x, 2) : TL_OK;
    if (status == TL_OK) status = onnx_arrange_image(import, node, x);
    if (status == TL_OK) status = onnx_unary(import, node, kind, attrs, x);
    return status == TL_OK && line ? onnx_squeeze(import, node, x, 2) : status;
}

/* Windows over three axes, [n, c, d, h, w]: over height and width, then over depth, which for
 * largest and for mean numbers is the same. */
static tl_status pool_space(onnx_import *import, const onnx_node *node, const tl_attrs *plane,
                            const tl_attrs *depth, tl_op_kind kind, onnx_array *x)
{
    tl_status status = onnx_arrange_image(import, node, x); /* [d, h, w, c] */
    if (status == TL_OK) status = onnx_unary(import, node, kind, plane, x);
    if (status != TL_OK) return status;
    uint32_t h = x->dim[3], w = x->dim[4];
    const uint32_t flat[4] = { x->dim[0], x->dim[1], x->dim[2], h * w };
    status = onnx_reshape(import, node, x, 4, flat);
    if (status == TL_OK) status = pool_plane(import, node, depth, kind, x);
    if (status != TL_OK) return status;
    const uint32_t full[5] = { x->dim[0], x->dim[1], x->dim[2], h, w };
    return onnx_reshape(import, node, x, 5, full);
}

static tl_status pool_kernel(onnx_import *import, const onnx_node *node, const onnx_array *x,
                             int64_t *kernel)
{
    if (x->rank < 3 || x->rank > 5)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "its input has %u dimensions; 3, 4 and 5 are supported", x->rank);
    if (onnx_attr(node, "kernel_shape") == NULL)
        return onnx_fail(import, node, TL_EINVAL, "kernel_shape is missing");
    return onnx_attr_sizes(import, node, "kernel_shape", x->rank - 2, 1, ONNX_WINDOW_MAX, 1,
                           kernel);
}

tl_status onnx_run_pool(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    int64_t kernel[3], in[3];
    tl_op_kind kind = strcmp(node->op, "MaxPool") == 0 ? TL_OP_MAX_POOL : TL_OP_AVERAGE_POOL;
    if (has_output(import, node, 1))
        return onnx_fail(import, node, TL_EUNSUPPORTED, "its indices are not computed");
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = pool_kernel(import, node, &x, kernel);
    if (status != TL_OK) return status;
    tl_attrs attrs = tl_attrs_default(kind);
    attrs.ceil_mode = onnx_attr_int(node, "ceil_mode", 0) != 0;
    attrs.count_include_pad = onnx_attr_int(node, "count_include_pad", 0) != 0;
    for (uint32_t i = 2; i < x.rank; i++) in[i - 2] = x.dim[i];
    if (x.rank == 5) {
        tl_attrs depth = attrs;
        status = onnx_read_space(import, node, kernel, in, &attrs.window, &depth.window);
        if (status == TL_OK) status = pool_space(import, node, &attrs, &depth, kind, &x);
        return status == TL_OK ? onnx_yield(import, node, &x) : status;
    }
    status = onnx_read_window(import, node, x.rank - 2, kernel, in, &attrs.window);
    const tl_window *w = &attrs.window;
    if (kind == TL_OP_AVERAGE_POOL && x.rank == 4 && w->kernel_h == x.dim[2] &&
        w->kernel_w == x.dim[3] && w->pad_top + w->pad_left + w->pad_bottom + w->pad_right == 0 &&
        w->dilation_h == 1 && w->dilation_w == 1)
        kind = TL_OP_GLOBAL_AVERAGE_POOL;
    if (status == TL_OK) status = pool_plane(import, node, &attrs, kind, &x);
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

tl_status onnx_run_global_pool(onnx_import *import, onnx_node *node)
{
    onnx_array x;
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status != TL_OK) return status;
    if (x.rank < 3) return onnx_fail(import, node, TL_EINVAL, "its input is not an image");
    bool largest = strcmp(node->op, "GlobalMaxPool") == 0;
    if (x.rank == 4) {
        status = pool_plane(import, node, NULL,
                            largest ? TL_OP_GLOBAL_MAX_POOL : TL_OP_GLOBAL_AVERAGE_POOL, &x);
    } else {
        uint32_t axes = (1u << x.rank) - 4;
        status = onnx_reduce(import, node, largest ? TL_OP_REDUCE_MAX : TL_OP_REDUCE_MEAN, axes,
                             true, &x);
    }
    return status == TL_OK ? onnx_yield(import, node, &x) : status;
}

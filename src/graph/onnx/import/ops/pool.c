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

typedef struct sides {
    int64_t kernel[2], stride[2], dilation[2], pads[4];
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

tl_status onnx_read_window(const onnx_import *import, const onnx_node *node, uint32_t spatial,
                           const int64_t *kernel, const int64_t *in, tl_window *out)
{
    sides s;
    memcpy(s.kernel, kernel, spatial * sizeof *kernel);
    tl_status status =
        onnx_attr_sizes(import, node, "strides", spatial, 1, ONNX_WINDOW_MAX, 1, s.stride);
    if (status == TL_OK)
        status =
            onnx_attr_sizes(import, node, "dilations", spatial, 1, ONNX_WINDOW_MAX, 1, s.dilation);
    if (status == TL_OK) status = read_pads(import, node, spatial, in, &s);
    if (status != TL_OK) return status;
    uint32_t last = spatial - 1;
    *out = (tl_window){ .kernel_h = 1, .stride_h = 1, .dilation_h = 1 };
    out->kernel_w = (uint32_t)s.kernel[last];
    out->stride_w = (uint32_t)s.stride[last];
    out->dilation_w = (uint32_t)s.dilation[last];
    out->pad_left = (uint32_t)s.pads[last];
    out->pad_right = (uint32_t)s.pads[last + spatial];
    if (spatial == 1) return TL_OK;
    out->kernel_h = (uint32_t)s.kernel[0];
    out->stride_h = (uint32_t)s.stride[0];
    out->dilation_h = (uint32_t)s.dilation[0];
    out->pad_top = (uint32_t)s.pads[0];
    out->pad_bottom = (uint32_t)s.pads[2];
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
typedef struct pool_space {
    tl_attrs plane, depth;
} pool_space;

static tl_status read_space(onnx_import *import, const onnx_node *node, const int64_t *kernel,
                            tl_op_kind kind, pool_space *out)
{
    int64_t stride[3], dilation[3], pads[6];
    if (!onnx_attr_is(node, "auto_pad", "NOTSET") && !onnx_attr_is(node, "auto_pad", "VALID"))
        return onnx_fail(import, node, TL_EUNSUPPORTED, "auto_pad of three dimensions");
    tl_status status = onnx_attr_sizes(import, node, "strides", 3, 1, ONNX_WINDOW_MAX, 1, stride);
    if (status == TL_OK)
        status = onnx_attr_sizes(import, node, "dilations", 3, 1, ONNX_WINDOW_MAX, 1, dilation);
    if (status == TL_OK)
        status = onnx_attr_sizes(import, node, "pads", 6, 0, ONNX_WINDOW_MAX, 0, pads);
    if (status != TL_OK) return status;
    out->plane = out->depth = tl_attrs_default(kind);
    out->plane.window =
        (tl_window){ (uint32_t)kernel[1], (uint32_t)kernel[2],   (uint32_t)stride[1],
                     (uint32_t)stride[2], (uint32_t)dilation[1], (uint32_t)dilation[2],
                     (uint32_t)pads[1],   (uint32_t)pads[2],     (uint32_t)pads[4],
                     (uint32_t)pads[5] };
    out->depth.window =
        (tl_window){ (uint32_t)kernel[0], 1, (uint32_t)stride[0], 1, (uint32_t)dilation[0], 1,
                     (uint32_t)pads[0],   0, (uint32_t)pads[3],   0 };
    out->plane.ceil_mode = out->depth.ceil_mode = onnx_attr_int(node, "ceil_mode", 0) != 0;
    out->plane.count_include_pad = out->depth.count_include_pad =
        onnx_attr_int(node, "count_include_pad", 0) != 0;
    return TL_OK;
}

static tl_status run_space(onnx_import *import, onnx_node *node, const pool_space *space,
                           tl_op_kind kind, onnx_array *x)
{
    tl_status status = onnx_arrange_image(import, node, x); /* [d, h, w, c] */
    if (status == TL_OK) status = onnx_unary(import, node, kind, &space->plane, x);
    if (status != TL_OK) return status;
    uint32_t h = x->dim[3], w = x->dim[4];
    const uint32_t flat[4] = { x->dim[0], x->dim[1], x->dim[2], h * w };
    status = onnx_reshape(import, node, x, 4, flat);
    if (status == TL_OK) status = pool_plane(import, node, &space->depth, kind, x);
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
    int64_t kernel[3], in[2];
    tl_op_kind kind = strcmp(node->op, "MaxPool") == 0 ? TL_OP_MAX_POOL : TL_OP_AVERAGE_POOL;
    if (has_output(import, node, 1))
        return onnx_fail(import, node, TL_EUNSUPPORTED, "its indices are not computed");
    tl_status status = onnx_operand_array(import, node, 0, &x);
    if (status == TL_OK) status = pool_kernel(import, node, &x, kernel);
    if (status != TL_OK) return status;
    if (x.rank == 5) {
        pool_space space;
        status = read_space(import, node, kernel, kind, &space);
        if (status == TL_OK) status = run_space(import, node, &space, kind, &x);
        return status == TL_OK ? onnx_yield(import, node, &x) : status;
    }
    tl_attrs attrs = tl_attrs_default(kind);
    for (uint32_t i = 2; i < x.rank; i++) in[i - 2] = x.dim[i];
    status = onnx_read_window(import, node, x.rank - 2, kernel, in, &attrs.window);
    attrs.ceil_mode = onnx_attr_int(node, "ceil_mode", 0) != 0;
    attrs.count_include_pad = onnx_attr_int(node, "count_include_pad", 0) != 0;
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

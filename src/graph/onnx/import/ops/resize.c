#include "graph/onnx/import/ops/internal.h"

#include <math.h>
#include <string.h>

/* Resize and Upsample of height and width. */

typedef struct plan {
    onnx_array x;
    uint32_t size[ONNX_RANK_MAX];                    /* wanted */
    double scale[ONNX_RANK_MAX];                     /* 0: size over what it is */
    double begin[ONNX_RANK_MAX], end[ONNX_RANK_MAX]; /* shares that are cropped to */
    tl_resize how;
} plan;

typedef struct word {
    const char *text;
    int value;
} word;

/* The value of an attribute that is one of some words; `otherwise` when it is absent. */
static tl_status read_word(const onnx_import *import, const onnx_node *node, const char *name,
                           const word *words, size_t count, int otherwise, int *out)
{
    *out = otherwise;
    if (onnx_attr(node, name) == NULL) return TL_OK;
    for (size_t i = 0; i < count; i++) {
        *out = words[i].value;
        if (onnx_attr_is(node, name, words[i].text)) return TL_OK;
    }
    return onnx_fail(import, node, TL_EUNSUPPORTED, "unknown %s", name);
}

static const word MODES[] = { { "nearest", TL_RESIZE_NEAREST },
                              { "linear", TL_RESIZE_LINEAR },
                              { "bilinear", TL_RESIZE_LINEAR },
                              { "cubic", TL_RESIZE_CUBIC } };
static const word POSITIONS[] = { { "half_pixel", TL_POSITION_HALF_PIXEL },
                                  { "half_pixel_symmetric", TL_POSITION_HALF_PIXEL_SYMMETRIC },
                                  { "pytorch_half_pixel", TL_POSITION_PYTORCH_HALF_PIXEL },
                                  { "align_corners", TL_POSITION_ALIGN_CORNERS },
                                  { "asymmetric", TL_POSITION_ASYMMETRIC },
                                  { "tf_crop_and_resize", TL_POSITION_CROP_AND_RESIZE } };
static const word ROUNDINGS[] = { { "round_prefer_floor", TL_ROUNDING_PREFER_FLOOR },
                                  { "round_prefer_ceil", TL_ROUNDING_PREFER_CEIL },
                                  { "floor", TL_ROUNDING_FLOOR },
                                  { "ceil", TL_ROUNDING_CEIL } };
enum { STRETCH, NOT_LARGER, NOT_SMALLER };
static const word POLICIES[] = { { "stretch", STRETCH },
                                 { "not_larger", NOT_LARGER },
                                 { "not_smaller", NOT_SMALLER } };

/* Before operator set 11, Upsample too, positions were asymmetric and rounded down. */
static tl_status read_modes(const onnx_import *import, const onnx_node *node, tl_resize *out)
{
    bool old = import->opset < 11 || strcmp(node->op, "Upsample") == 0;
    int mode, position, rounding;
    *out = tl_attrs_default(TL_OP_RESIZE).resize;
    tl_status status =
        read_word(import, node, "mode", MODES, TL_COUNT_OF(MODES), TL_RESIZE_NEAREST, &mode);
    if (status == TL_OK)
        status = read_word(import, node, "coordinate_transformation_mode", POSITIONS,
                           TL_COUNT_OF(POSITIONS),
                           old ? TL_POSITION_ASYMMETRIC : TL_POSITION_HALF_PIXEL, &position);
    if (status == TL_OK)
        status = read_word(import, node, "nearest_mode", ROUNDINGS, TL_COUNT_OF(ROUNDINGS),
                           old ? TL_ROUNDING_FLOOR : TL_ROUNDING_PREFER_FLOOR, &rounding);
    if (status != TL_OK) return status;
    out->mode = (tl_resize_mode)mode;
    out->position = (tl_resize_position)position;
    out->rounding = (tl_resize_rounding)rounding;
    out->cubic = onnx_attr_float(node, "cubic_coeff_a", -0.75f);
    out->exclude_outside = onnx_attr_int(node, "exclude_outside", 0) != 0;
    out->antialias = onnx_attr_int(node, "antialias", 0) != 0;
    out->outside = onnx_attr_float(node, "extrapolation_value", 0.0f);
    return TL_OK;
}

/* The axes that scales, sizes and the region are about: all, or attribute "axes". */
static tl_status read_axes(const onnx_import *import, const onnx_node *node, const plan *p,
                           uint32_t *axes, size_t *count)
{
    const Onnx__AttributeProto *attr = onnx_attr(node, "axes");
    *count = attr == NULL ? p->x.rank : attr->n_ints;
    if (*count > ONNX_RANK_MAX) return onnx_fail(import, node, TL_EINVAL, "too many axes");
    for (size_t i = 0; i < *count; i++) {
        tl_status status =
            onnx_axis(import, node, attr == NULL ? (int64_t)i : attr->ints[i], p->x.rank, &axes[i]);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

/* A constant list of `count` numbers at operand `index`. */
static tl_status read_numbers(onnx_import *import, const onnx_node *node, size_t index,
                              const char *name, size_t count, double *out)
{
    onnx_value *value;
    tl_status status = onnx_operand_constant(import, node, index, &value);
    if (status != TL_OK) return status;
    if (value->dims.count != count)
        return onnx_fail(import, node, TL_EINVAL, "%s has %zu numbers instead of %zu", name,
                         value->dims.count, count);
    for (size_t i = 0; i < count; i++) {
        out[i] = onnx_tensor_number(value->constant, i);
        if (!isfinite(out[i])) return onnx_fail(import, node, TL_EINVAL, "%s is not finite", name);
    }
    return TL_OK;
}

static bool is_given(const onnx_import *import, const onnx_node *node, size_t index)
{
    const onnx_value *value = onnx_operand(import, node, index);
    return value != NULL && (value->kind != ONNX_VALUE_CONSTANT || value->dims.count > 0);
}

static tl_status by_scales(onnx_import *import, const onnx_node *node, plan *p, size_t index,
                           const uint32_t *axes, size_t count)
{
    double scales[ONNX_RANK_MAX];
    const Onnx__AttributeProto *attr = onnx_attr(node, "scales");
    tl_status status = TL_OK;
    if (attr != NULL && attr->n_floats == count)
        for (size_t i = 0; i < count; i++) scales[i] = (double)attr->floats[i];
    else
        status = read_numbers(import, node, index, "scales", count, scales);
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        uint32_t axis = axes[i];
        double share =
            p->how.position == TL_POSITION_CROP_AND_RESIZE ? p->end[axis] - p->begin[axis] : 1.0;
        double size = floor((double)p->x.dim[axis] * share * scales[i]);
        if (!(size >= 1.0 && size <= TL_DIM_MAX))
            return onnx_fail(import, node, TL_EINVAL, "a scale of %g", scales[i]);
        p->size[axis] = (uint32_t)size;
        p->scale[axis] = scales[i];
    }
    return status;
}

static tl_status by_sizes(onnx_import *import, const onnx_node *node, plan *p, const uint32_t *axes,
                          size_t count)
{
    int64_t sizes[ONNX_RANK_MAX];
    size_t given;
    int policy;
    tl_status status = read_word(import, node, "keep_aspect_ratio_policy", POLICIES,
                                 TL_COUNT_OF(POLICIES), STRETCH, &policy);
    if (status == TL_OK)
        status =
            onnx_operand_integers(import, node, 3, "sizes", true, ONNX_RANK_MAX, sizes, &given);
    if (status == TL_OK && given != count)
        status = onnx_fail(import, node, TL_EINVAL, "%zu sizes for %zu axes", given, count);
    double common = 0.0;
    for (size_t i = 0; status == TL_OK && i < count; i++) {
        if (axes[i] < onnx_lead(import)) {
            if (sizes[i] == ONNX_BATCH || sizes[i] == 1 || sizes[i] == (int64_t)import->batch)
                continue;
            return onnx_fail_batch(import, node, "it resizes the batch");
        }
        if (sizes[i] < 1 || sizes[i] > TL_DIM_MAX)
            return onnx_fail(import, node, TL_EINVAL, "a size of %lld", (long long)sizes[i]);
        p->size[axes[i]] = (uint32_t)sizes[i];
        double scale = (double)sizes[i] / p->x.dim[axes[i]];
        bool takes = policy == NOT_LARGER ? scale < common : scale > common;
        if (common == 0.0 || takes) common = scale;
    }
    for (size_t i = 0; status == TL_OK && policy != STRETCH && i < count; i++) {
        if (axes[i] < onnx_lead(import)) continue;
        double size = fmax(floor(common * p->x.dim[axes[i]] + 0.5), 1.0);
        if (size > TL_DIM_MAX) return onnx_fail(import, node, TL_ELIMIT, "a size of %g", size);
        p->size[axes[i]] = (uint32_t)size;
        p->scale[axes[i]] = common;
    }
    return status;
}

static tl_status read_plan(onnx_import *import, const onnx_node *node, plan *p)
{
    uint32_t axes[ONNX_RANK_MAX];
    size_t count;
    double region[2 * ONNX_RANK_MAX];
    tl_status status = read_modes(import, node, &p->how);
    if (status == TL_OK) status = read_axes(import, node, p, axes, &count);
    if (status != TL_OK) return status;
    for (uint32_t i = 0; i < p->x.rank; i++) {
        p->size[i] = p->x.dim[i];
        p->end[i] = 1.0;
    }
    if (p->how.position == TL_POSITION_CROP_AND_RESIZE) {
        status = read_numbers(import, node, 1, "roi", 2 * count, region);
        for (size_t i = 0; status == TL_OK && i < count; i++) {
            p->begin[axes[i]] = region[i];
            p->end[axes[i]] = region[count + i];
        }
        if (status != TL_OK) return status;
    }
    bool old = import->opset < 11 || strcmp(node->op, "Upsample") == 0; /* x, scales */
    if (!old && is_given(import, node, 3)) return by_sizes(import, node, p, axes, count);
    return by_scales(import, node, p, old ? 1 : 2, axes, count);
}

/* Are axes other than the last one or two as they were? */
static bool leaves_the_rest(const plan *p)
{
    for (uint32_t i = 0; i < 2; i++)
        if (p->size[i] != p->x.dim[i] || p->begin[i] != 0.0 || p->end[i] != 1.0) return false;
    return true;
}

tl_status onnx_run_resize(onnx_import *import, onnx_node *node)
{
    plan p = { .scale = { 0.0 } };
    tl_status status = onnx_operand_array(import, node, 0, &p.x);
    if (status == TL_OK && p.x.rank != 3 && p.x.rank != 4)
        status = onnx_fail(import, node, TL_EUNSUPPORTED,
                           "its input has %u dimensions; images (4) and rows (3) are supported",
                           p.x.rank);
    if (status == TL_OK) status = read_plan(import, node, &p);
    if (status != TL_OK) return status;
    if (!leaves_the_rest(&p))
        return onnx_fail(import, node, TL_EUNSUPPORTED, "only height and width can be resized");
    bool line = p.x.rank == 3;
    uint32_t last = p.x.rank - 1;
    tl_attrs attrs = tl_attrs_default(TL_OP_RESIZE);
    attrs.resize = p.how;
    attrs.resize.height = line ? 1 : p.size[2];
    attrs.resize.width = p.size[last];
    attrs.resize.scale_h = line ? 0.0f : (float)p.scale[2];
    attrs.resize.scale_w = (float)p.scale[last];
    attrs.resize.crop_top = line ? 0.0f : (float)p.begin[2];
    attrs.resize.crop_bottom = line ? 1.0f : (float)p.end[2];
    attrs.resize.crop_left = (float)p.begin[last];
    attrs.resize.crop_right = (float)p.end[last];
    if (line) status = onnx_unsqueeze(import, node, &p.x, 2);
    if (status == TL_OK) status = onnx_arrange_image(import, node, &p.x);
    if (status == TL_OK) status = onnx_unary(import, node, TL_OP_RESIZE, &attrs, &p.x);
    if (status == TL_OK && line) status = onnx_squeeze(import, node, &p.x, 2);
    return status == TL_OK ? onnx_yield(import, node, &p.x) : status;
}

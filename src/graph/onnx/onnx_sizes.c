#include "graph/onnx/onnx_internal.h"

#include <string.h>

/* Sizes that a file computes from a tensor's shape, as exporters write for view(x.size(0), -1):
 * Shape, Gather, Slice, Unsqueeze and Concat up to a Reshape. All but the batch is known here. */

static tl_status yield_sizes(onnx_import *import, onnx_node *node, const int64_t *sizes,
                             size_t count)
{
    if (node->output_count == 0 || node->outputs[0] == ONNX_NONE) return TL_OK;
    onnx_value *value = &import->values[node->outputs[0]];
    value->kind = ONNX_VALUE_SIZES;
    value->size_count = (uint32_t)count;
    memcpy(value->sizes, sizes, count * sizeof *sizes);
    return TL_OK;
}

/* A number like a Slice's: negative counts from the end, beyond is cut. */
static size_t bound(int64_t at, size_t count)
{
    int64_t limit = (int64_t)count;
    if (at < 0) at = at < -limit ? 0 : at + limit;
    return (size_t)(at > limit ? limit : at);
}

tl_status onnx_run_shape(onnx_import *import, onnx_node *node)
{
    onnx_value *x = NULL;
    tl_status status = onnx_operand_tensor(import, node, 0, &x);
    if (x == NULL) return status;
    onnx_item in = onnx_item_of(import, x);
    int64_t sizes[4] = { ONNX_BATCH, in.c, in.h, in.w };
    size_t begin = bound(onnx_attr_int(node, "start", 0), x->rank);
    size_t end = bound(onnx_attr_int(node, "end", INT64_MAX), x->rank);
    return yield_sizes(import, node, sizes + begin, end > begin ? end - begin : 0);
}

tl_status onnx_run_gather(onnx_import *import, onnx_node *node)
{
    const onnx_value *source = onnx_operand(import, node, 0);
    int64_t indexes[ONNX_RANK_MAX], out[ONNX_RANK_MAX];
    size_t count;
    if (source == NULL || source->kind != ONNX_VALUE_SIZES)
        return onnx_fail(import, node, TL_EUNSUPPORTED,
                         "it can only take sizes out of a Shape; fold constants first (onnxsim)");
    tl_status status =
        onnx_operand_integers(import, node, 1, "indices", ONNX_RANK_MAX, indexes, &count);
    if (status != TL_OK) return status;
    for (size_t i = 0; i < count; i++) {
        int64_t at = indexes[i] < 0 ? indexes[i] + source->size_count : indexes[i];
        if (at < 0 || at >= source->size_count)
            return onnx_fail(import, node, TL_EINVAL, "size %lld of %u", (long long)indexes[i],
                             source->size_count);
        out[i] = source->sizes[at];
    }
    return yield_sizes(import, node, out, count);
}

tl_status onnx_slice_sizes(onnx_import *import, onnx_node *node, const onnx_value *source)
{
    int64_t starts[1] = { 0 }, ends[1] = { 0 }, steps[1] = { 1 };
    size_t start_count, end_count, step_count;
    tl_status status = onnx_operand_integers(import, node, 1, "starts", 1, starts, &start_count);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 2, "ends", 1, ends, &end_count);
    if (status == TL_OK)
        status = onnx_operand_integers(import, node, 4, "steps", 1, steps, &step_count);
    if (status != TL_OK) return status;
    if (start_count != 1 || end_count != 1 || steps[0] != 1)
        return onnx_fail(import, node, TL_EUNSUPPORTED, "only one range with step 1 is supported");
    size_t begin = bound(starts[0], source->size_count), end = bound(ends[0], source->size_count);
    return yield_sizes(import, node, source->sizes + begin, end > begin ? end - begin : 0);
}

tl_status onnx_concat_sizes(onnx_import *import, onnx_node *node)
{
    int64_t out[ONNX_RANK_MAX];
    size_t count = 0;
    for (size_t i = 0; i < node->input_count; i++) {
        const onnx_value *part = onnx_operand(import, node, i);
        bool constant = part != NULL && part->kind == ONNX_VALUE_CONSTANT;
        if (!constant && (part == NULL || part->kind != ONNX_VALUE_SIZES))
            return onnx_fail(import, node, TL_EUNSUPPORTED, "sizes beside something else");
        size_t more = constant ? part->dims.count : part->size_count;
        if (more > ONNX_RANK_MAX - count)
            return onnx_fail(import, node, TL_ELIMIT, "more than %d sizes", ONNX_RANK_MAX);
        for (size_t k = 0; k < more; k++)
            out[count++] = constant ? onnx_tensor_integer(part->constant, k) : part->sizes[k];
    }
    return yield_sizes(import, node, out, count);
}

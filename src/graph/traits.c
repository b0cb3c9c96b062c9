#include "base/rng.h"
#include "graph/internal.h"

#include <string.h>

/* What follows from the nodes of a graph: how far from the outputs each layer is, where the head
 * and its features are, and a hash by which two graphs are the same. */

static bool has_weights(const tl_graph *graph, const tl_node *node)
{
    for (uint32_t p = 0; p < node->param_count; p++)
        if (graph->params[node->params[p]].role == TL_PARAM_WEIGHT) return true;
    return false;
}

/* Stage of a node: layers with weights on the longest way from it to an output. */
static void set_stages(tl_graph *graph, uint32_t *stage /* [tensors], cleared */)
{
    for (size_t n = graph->node_count; n-- > 0;) {
        const tl_node *node = &graph->nodes[n];
        uint32_t own = stage[node->output], before = own + (has_weights(graph, node) ? 1 : 0);
        for (uint32_t p = 0; p < node->param_count; p++) graph->params[node->params[p]].stage = own;
        for (uint32_t i = 0; i < node->input_count; i++)
            if (stage[node->inputs[i]] < before) stage[node->inputs[i]] = before;
    }
}

static const tl_node *maker_of(const tl_graph *graph, uint32_t tensor)
{
    for (size_t n = graph->node_count; n-- > 0;)
        if (graph->nodes[n].output == tensor) return &graph->nodes[n];
    return NULL;
}

/* The operand of a node after the head that changes no ranking of classes, or NULL: functions of
 * scores, names for axes, a constant added. */
static const tl_node *before_scores(const tl_graph *graph, const tl_node *node)
{
    switch (node->kind) {
    case TL_OP_SOFTMAX:
    case TL_OP_LOG_SOFTMAX:
    case TL_OP_SIGMOID:
    case TL_OP_FLATTEN:
    case TL_OP_RESHAPE:
    case TL_OP_PERMUTE: return maker_of(graph, node->inputs[0]);
    case TL_OP_ADD:
    case TL_OP_MUL:
        for (uint32_t i = 0; i < 2; i++) {
            const tl_node *constant = maker_of(graph, node->inputs[i]);
            if (constant != NULL && constant->kind == TL_OP_CONSTANT)
                return maker_of(graph, node->inputs[1 - i]);
        }
        return NULL;
    default: return NULL;
    }
}

const tl_node *tl_graph_head(const tl_graph *graph)
{
    const tl_node *node = maker_of(graph, graph->outputs[0]);
    while (node != NULL && node->kind != TL_OP_GEMM && node->kind != TL_OP_CONV)
        node = before_scores(graph, node);
    if (node == NULL) return NULL;
    bool head = node->kind == TL_OP_GEMM || tl_shape_pixels(&graph->tensors[node->inputs[0]]) == 1;
    return head ? node : NULL;
}

/* The input of the head; else of the last Gemm. */
static void set_features(tl_graph *graph)
{
    graph->features = TL_NONE;
    for (size_t n = 0; n < graph->node_count; n++)
        if (graph->nodes[n].kind == TL_OP_GEMM) graph->features = graph->nodes[n].inputs[0];
    const tl_node *head = tl_graph_head(graph);
    if (head != NULL) graph->features = head->inputs[0];
}

static void hash_u64(uint64_t *hash, uint64_t value)
{
    *hash = tl_mix64(*hash ^ value) + value;
}

static void hash_float(uint64_t *hash, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    hash_u64(hash, bits);
}

static void hash_shape(uint64_t *hash, const tl_shape *shape)
{
    hash_u64(hash, shape->rank);
    for (int i = 0; i < TL_RANK_MAX; i++) hash_u64(hash, shape->dim[i]);
}

static void hash_resize(uint64_t *hash, const tl_resize *r)
{
    const uint32_t numbers[] = { r->mode,  r->position,        r->rounding, r->height,
                                 r->width, r->exclude_outside, r->antialias };
    const float floats[] = { r->scale_h,   r->scale_w,     r->cubic,      r->crop_top,
                             r->crop_left, r->crop_bottom, r->crop_right, r->outside };
    for (size_t i = 0; i < TL_COUNT_OF(numbers); i++) hash_u64(hash, numbers[i]);
    for (size_t i = 0; i < TL_COUNT_OF(floats); i++) hash_float(hash, floats[i]);
}

static void hash_attrs(uint64_t *hash, const tl_attrs *a)
{
    const tl_window *w = &a->window;
    const uint32_t numbers[] = { w->kernel_h,        w->kernel_w,          w->stride_h,
                                 w->stride_w,        w->dilation_h,        w->dilation_w,
                                 w->pad_top,         w->pad_left,          w->pad_bottom,
                                 w->pad_right,       a->output_pad_h,      a->output_pad_w,
                                 a->ceil_mode,       a->count_include_pad, a->channels,
                                 a->groups,          a->has_bias,          (uint32_t)a->axis,
                                 (uint32_t)a->begin, (uint32_t)a->end,     (uint32_t)a->step,
                                 a->axis_mask,       a->keep_dims,         a->pad_mode,
                                 a->trained };
    for (size_t i = 0; i < TL_COUNT_OF(numbers); i++) hash_u64(hash, numbers[i]);
    for (size_t i = 0; i < TL_RANK_MAX; i++) {
        hash_u64(hash, a->axes[i]);
        hash_u64(hash, a->pad_begin[i]);
        hash_u64(hash, a->pad_end[i]);
    }
    hash_resize(hash, &a->resize);
    hash_float(hash, a->alpha);
    hash_float(hash, a->beta);
    hash_float(hash, a->epsilon);
    hash_float(hash, a->momentum);
    hash_shape(hash, &a->shape);
}

static uint64_t hash_graph(const tl_graph *graph)
{
    uint64_t hash = 0x746c677261706831u;
    for (size_t i = 0; i < graph->input_count; i++) {
        hash_u64(&hash, graph->inputs[i]);
        hash_shape(&hash, &graph->tensors[graph->inputs[i]]);
    }
    for (size_t n = 0; n < graph->node_count; n++) {
        const tl_node *node = &graph->nodes[n];
        hash_u64(&hash, node->kind);
        hash_attrs(&hash, &node->attrs);
        for (uint32_t i = 0; i < node->input_count; i++) hash_u64(&hash, node->inputs[i]);
        hash_u64(&hash, node->output);
    }
    for (size_t i = 0; i < graph->output_count; i++) hash_u64(&hash, graph->outputs[i]);
    return hash;
}

void tl_graph_set_traits(tl_graph *graph, uint32_t *stage)
{
    set_stages(graph, stage);
    set_features(graph);
    graph->hash = hash_graph(graph);
}

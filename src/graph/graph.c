#include "graph/internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

size_t tl_graph_param_count(const tl_graph *graph)
{
    return graph->param_count;
}

const tl_param *tl_graph_param(const tl_graph *graph, size_t index)
{
    TL_ASSERT(index < graph->param_count);
    return &graph->params[index];
}

size_t tl_graph_float_count(const tl_graph *graph)
{
    return graph->float_count;
}

size_t tl_graph_find_param(const tl_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->param_count; i++)
        if (strcmp(graph->params[i].name, name) == 0) return i;
    return SIZE_MAX;
}

size_t tl_graph_input_count(const tl_graph *graph)
{
    return graph->input_count;
}

const tl_shape *tl_graph_input_shape(const tl_graph *graph, size_t index)
{
    TL_ASSERT(index < graph->input_count);
    return &graph->tensors[graph->inputs[index]];
}

size_t tl_graph_output_count(const tl_graph *graph)
{
    return graph->output_count;
}

const tl_shape *tl_graph_output_shape(const tl_graph *graph, size_t index)
{
    TL_ASSERT(index < graph->output_count);
    return &graph->tensors[graph->outputs[index]];
}

size_t tl_graph_feature_count(const tl_graph *graph)
{
    return graph->features == TL_NONE ? 0 : tl_shape_count(&graph->tensors[graph->features]);
}

uint64_t tl_graph_macs(const tl_graph *graph)
{
    uint64_t macs = 0;
    for (size_t n = 0; n < graph->node_count; n++) {
        const tl_node *node = &graph->nodes[n];
        const tl_op *op = tl_op_get(node->kind);
        tl_shape inputs[TL_OP_INPUT_MAX];
        for (uint32_t i = 0; i < node->input_count; i++)
            inputs[i] = graph->tensors[node->inputs[i]];
        if (op->macs != NULL && node->kind != TL_OP_BATCH_NORM)
            macs += op->macs(&node->attrs, inputs, &graph->tensors[node->output]);
    }
    return macs;
}

uint64_t tl_graph_hash(const tl_graph *graph)
{
    return graph->hash;
}

void tl_graph_retain(tl_graph *graph)
{
    atomic_fetch_add_explicit(&graph->references, 1, memory_order_relaxed);
}

void tl_graph_release(tl_graph **graph)
{
    tl_graph *old = *graph;
    *graph = NULL;
    if (old == NULL) return;
    if (atomic_fetch_sub_explicit(&old->references, 1, memory_order_acq_rel) != 1) return;
    for (int p = 0; p < TL_PRECISIONS; p++) tl_packer_destroy(old->packers[p]);
    tl_weights_room_free(&old->room);
    pthread_mutex_destroy(&old->mutex);
    free(old->nodes);
    free(old->tensors);
    free(old->params);
    free(old->inputs);
    free(old->outputs);
    free(old);
}

void tl_step_describe(const tl_graph *graph, const tl_node *step, tl_op_mode mode, uint32_t batch,
                      struct dnnl_stream *stream, tl_op_state *out)
{
    memset(out, 0, sizeof *out);
    out->attrs = &step->attrs;
    out->mode = mode;
    out->batch = batch;
    out->stream = stream;
    out->input_count = step->input_count;
    for (uint32_t i = 0; i < step->input_count; i++)
        out->inputs[i] = graph->tensors[step->inputs[i]];
    out->output = graph->tensors[step->output];
}

void *tl_aligned_calloc(size_t bytes)
{
    if (bytes > SIZE_MAX - TL_ALIGN_BYTES) return NULL;
    size_t rounded = tl_align(bytes);
    if (rounded == 0) rounded = TL_ALIGN_BYTES;
    /* Large ones on large pages, where there are: walking through memory is then a third faster. */
    const size_t large = (size_t)2 << 20;
    const bool many = rounded >= 2 * large && rounded <= SIZE_MAX - large;
    if (many) rounded = (rounded + large - 1) / large * large;
    void *memory = aligned_alloc(many ? large : TL_ALIGN_BYTES, rounded);
    if (memory != NULL && many) madvise(memory, rounded, MADV_HUGEPAGE);
    if (memory != NULL) memset(memory, 0, rounded);
    return memory;
}

#include "graph/internal.h"
#include "graph/onnx/import/fold/internal.h"

#include <math.h>
#include <stdlib.h>

/* Run the graph and turn what it computed into constants. */
static tl_status run_graph(onnx_import *import, onnx_node *node, tl_graph *graph, const float *flat,
                           const size_t *outputs)
{
    tl_weights *weights = NULL;
    tl_plan *plan = NULL;
    tl_plan_options options = { .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1 };
    tl_status status = tl_weights_create(graph, flat, &weights, import->err);
    if (status == TL_OK) status = tl_plan_create(graph, &options, &plan, import->err);
    if (status == TL_OK) status = tl_plan_infer(plan, weights, 1, import->err);
    for (size_t i = 0; status == TL_OK && i < tl_graph_output_count(graph); i++) {
        int64_t *integers;
        float *floats;
        const onnx_array *x = &import->values[node->outputs[outputs[i]]].array;
        const float *numbers = tl_plan_output(plan, i);
        Onnx__TensorProto *made =
            onnx_constant_new(import, x->type, x->rank, x->dim, &integers, &floats);
        if (made == NULL) {
            status = import->err->status;
            break;
        }
        for (size_t k = 0; k < made->n_float_data; k++) floats[k] = numbers[k];
        for (size_t k = 0; k < made->n_int64_data; k++) integers[k] = llrint((double)numbers[k]);
        status = onnx_yield_constant(import, node, outputs[i], made, ONNX_NONE);
    }
    tl_plan_destroy(&plan);
    tl_weights_release(&weights);
    return status;
}

/* What running it costs, in multiply-adds; a window is looked at for each number that comes out. */
static uint64_t work_of(const tl_graph *graph)
{
    uint64_t work = tl_graph_macs(graph);
    for (size_t i = 0; i < graph->node_count; i++) {
        const tl_node *node = &graph->nodes[i];
        const tl_window *w = &node->attrs.window;
        bool pools = node->kind == TL_OP_MAX_POOL || node->kind == TL_OP_AVERAGE_POOL;
        uint64_t each = pools ? (uint64_t)w->kernel_h * w->kernel_w : 1;
        work += each * tl_shape_count(&graph->tensors[node->output]);
    }
    return work;
}

static tl_status check_work(onnx_import *import, const onnx_node *node, const tl_graph *graph)
{
    uint64_t work = work_of(graph);
    if (work <= ONNX_FOLDED_WORK_MAX - import->folded_work) {
        import->folded_work += work;
        return TL_OK;
    }
    return onnx_fail(import, node, TL_ELIMIT,
                     "the file's constants take over %llu million multiply-adds to compute; fold "
                     "them before (onnxsim)",
                     (unsigned long long)(ONNX_FOLDED_WORK_MAX >> 20));
}

static tl_status build_and_run(onnx_import *import, onnx_node *node)
{
    enum { OUTPUTS_MAX = 256 };
    size_t outputs[OUTPUTS_MAX], count = 0;
    tl_graph *graph = NULL;
    float *flat = NULL;
    tl_status status = node->entry->handler(import, node);
    for (size_t i = 0; status == TL_OK && i < node->output_count && count < OUTPUTS_MAX; i++) {
        if (node->outputs[i] == ONNX_NONE) continue;
        onnx_value *value = &import->values[node->outputs[i]];
        if (value->kind != ONNX_VALUE_TENSOR) continue;
        onnx_array plain = value->array;
        onnx_order_plain(import, &plain);
        status = onnx_arrange(import, node, &value->array, plain.order);
        if (status == TL_OK) tl_builder_output(import->builder, value->array.tensor);
        outputs[count++] = i;
    }
    if (status != TL_OK || count == 0) return status;
    status = tl_builder_finish(import->builder, 0, &graph, &flat, import->err);
    if (status == TL_OK) status = check_work(import, node, graph);
    if (status == TL_OK) status = run_graph(import, node, graph, flat, outputs);
    tl_graph_release(&graph);
    free(flat);
    return status;
}

tl_status fold_by_engine(onnx_import *import, onnx_node *node)
{
    tl_builder *builder = import->builder;
    bool whole = import->whole;
    size_t floats = import->floats;
    import->builder = NULL;
    import->whole = import->folding = true;
    import->floats = 0;
    tl_status status = tl_builder_create(&import->builder, import->err);
    if (status == TL_OK) status = build_and_run(import, node);
    tl_builder_destroy(&import->builder);
    import->folded += import->floats;
    import->builder = builder;
    import->whole = whole;
    import->folding = false;
    import->floats = floats;
    if (status == TL_OK && import->folded > ONNX_FOLDED_MAX)
        return onnx_fail(import, node, TL_ELIMIT,
                         "the file computes over %zu million constants; fold them before (onnxsim)",
                         ONNX_FOLDED_MAX >> 20);
    return status;
}

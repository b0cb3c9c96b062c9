#include "graph/builder.h"
#include "graph/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct built_param {
    tl_param info; /* offset unused */
    tl_init_kind init;
    uint32_t fan;
    float *values; /* given ones, or NULL */
} built_param;

struct tl_builder {
    tl_node *nodes;
    tl_shape *tensors;
    built_param *params;
    uint32_t *inputs, *outputs;
    size_t node_count, tensor_count, param_count, input_count, output_count;
    size_t node_room, tensor_room, param_room, input_room, output_room;
    tl_error error; /* the first failure */
};

/* ---- Bookkeeping ----------------------------------------------------------------------------- */

tl_status tl_builder_create(tl_builder **out, tl_error *err)
{
    tl_builder *builder = calloc(1, sizeof *builder);
    if (builder == NULL) return tl_fail(err, TL_ENOMEM, "graph builder");
    *out = builder;
    return TL_OK;
}

void tl_builder_destroy(tl_builder **builder)
{
    tl_builder *old = *builder;
    *builder = NULL;
    if (old == NULL) return;
    for (size_t i = 0; i < old->param_count; i++) free(old->params[i].values);
    free(old->nodes);
    free(old->tensors);
    free(old->params);
    free(old->inputs);
    free(old->outputs);
    free(old);
}

static bool failed(const tl_builder *builder)
{
    return builder->error.status != TL_OK;
}

tl_status tl_builder_status(const tl_builder *builder, tl_error *err)
{
    if (failed(builder) && err != NULL) *err = builder->error;
    return builder->error.status;
}

/* Room for one more of `size` bytes in a growing array. */
static bool reserve(tl_builder *builder, void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room) return true;
    size_t more = *room == 0 ? 16 : *room * 2;
    void *old;
    memcpy(&old, array, sizeof old);
    if (count >= TL_NODE_MAX) {
        tl_fail(&builder->error, TL_ELIMIT, "a graph has at most %d nodes", TL_NODE_MAX);
        return false;
    }
    void *grown = realloc(old, more * size);
    if (grown == NULL) {
        tl_fail(&builder->error, TL_ENOMEM, "graph builder");
        return false;
    }
    memcpy(array, &grown, sizeof grown);
    *room = more;
    return true;
}

#define RESERVE(builder, array, thing)                                                             \
    reserve(builder, &(builder)->array, (builder)->thing##_count, &(builder)->thing##_room,        \
            sizeof *(builder)->array)

static uint32_t add_tensor(tl_builder *builder, const tl_shape *shape)
{
    if (!RESERVE(builder, tensors, tensor)) return TL_TENSOR_NONE;
    builder->tensors[builder->tensor_count] = *shape;
    return (uint32_t)builder->tensor_count++;
}

const tl_shape *tl_builder_shape(const tl_builder *builder, tl_tensor_index x)
{
    if (failed(builder) || x >= builder->tensor_count) return NULL;
    return &builder->tensors[x];
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

tl_tensor_index tl_builder_input(tl_builder *builder, const char *name, const tl_shape *item_shape)
{
    if (failed(builder)) return TL_TENSOR_NONE;
    if (tl_shape_check(item_shape, &builder->error) != TL_OK) {
        tl_fail_context(&builder->error, TL_ESHAPE, "input %s", name == NULL ? "" : name);
        return TL_TENSOR_NONE;
    }
    if (!RESERVE(builder, inputs, input)) return TL_TENSOR_NONE;
    uint32_t tensor = add_tensor(builder, item_shape);
    if (tensor != TL_TENSOR_NONE) builder->inputs[builder->input_count++] = tensor;
    return tensor;
}

static bool name_taken(const tl_builder *builder, const char *name)
{
    for (size_t i = 0; i < builder->param_count; i++)
        if (strcmp(builder->params[i].info.name, name) == 0) return true;
    return false;
}

static tl_status add_param(tl_builder *builder, tl_node *node, const tl_param_spec *spec,
                           const tl_param_init *init)
{
    tl_error *err = &builder->error;
    tl_status status = tl_shape_check(&spec->shape, err);
    if (status != TL_OK) return status;
    if (!RESERVE(builder, params, param)) return err->status;
    built_param param = { .init = spec->init, .fan = spec->fan };
    param.info.shape = spec->shape;
    param.info.count = tl_shape_count(&spec->shape);
    param.info.role = spec->role;
    if (init != NULL && init->name != NULL)
        snprintf(param.info.name, sizeof param.info.name, "%s", init->name);
    else
        snprintf(param.info.name, sizeof param.info.name, "%s.%s", node->name, spec->suffix);
    if (name_taken(builder, param.info.name))
        return tl_fail(err, TL_EINVAL, "two parameters are named %s", param.info.name);
    if (init != NULL && init->values != NULL) {
        if (init->count != param.info.count)
            return tl_fail(err, TL_ESHAPE, "parameter %s has %zu numbers, want %zu",
                           param.info.name, init->count, param.info.count);
        param.values = malloc(init->count * sizeof(float));
        if (param.values == NULL) return tl_fail(err, TL_ENOMEM, "parameter %s", param.info.name);
        memcpy(param.values, init->values, init->count * sizeof(float));
    }
    node->params[node->param_count++] = (uint32_t)builder->param_count;
    builder->params[builder->param_count++] = param;
    return TL_OK;
}

static tl_status add_params(tl_builder *builder, tl_node *node, const tl_shape *inputs,
                            const tl_node_options *options)
{
    const tl_op *op = tl_op_get(node->kind);
    tl_param_spec specs[TL_OP_PARAM_MAX];
    size_t count = op->params == NULL ? 0 : op->params(&node->attrs, inputs, specs);
    TL_ASSERT(count <= TL_OP_PARAM_MAX);
    if (options->param_count > count)
        return tl_fail(&builder->error, TL_EINVAL, "%zu parameters given, takes %zu",
                       options->param_count, count);
    for (size_t i = 0; i < count; i++) {
        const tl_param_init *init = i < options->param_count ? &options->params[i] : NULL;
        tl_status status = add_param(builder, node, &specs[i], init);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

static tl_status describe_node(tl_builder *builder, const tl_node_options *options, tl_node *node,
                               tl_shape *inputs, tl_shape *output)
{
    const tl_op *op = tl_op_get(options->kind);
    tl_error *err = &builder->error;
    if (options->input_count < op->input_min || options->input_count > op->input_max)
        return tl_fail(err, TL_EINVAL, "%zu operands, takes %u to %u", options->input_count,
                       op->input_min, op->input_max);
    node->kind = options->kind;
    node->attrs = options->attrs == NULL ? tl_attrs_default(options->kind) : *options->attrs;
    node->attrs.activation.kind = TL_OP_COUNT;
    node->attrs.folded_norm = false;
    node->input_count = (uint32_t)options->input_count;
    for (size_t i = 0; i < options->input_count; i++) {
        if (options->inputs[i] >= builder->tensor_count)
            return tl_fail(err, TL_EINVAL, "operand %zu is no tensor of this graph", i);
        node->inputs[i] = options->inputs[i];
        inputs[i] = builder->tensors[options->inputs[i]];
    }
    tl_status status = op->shape(&node->attrs, inputs, options->input_count, output, err);
    return status == TL_OK ? tl_shape_check(output, err) : status;
}

tl_tensor_index tl_builder_node(tl_builder *builder, const tl_node_options *options)
{
    if (failed(builder)) return TL_TENSOR_NONE;
    TL_ASSERT(options->kind < TL_OP_COUNT);
    tl_node node = { .param_count = 0 };
    tl_shape inputs[TL_OP_INPUT_MAX], output;
    if (options->name != NULL)
        snprintf(node.name, sizeof node.name, "%s", options->name);
    else
        snprintf(node.name, sizeof node.name, "%s%zu", tl_op_get(options->kind)->name,
                 builder->node_count);
    tl_status status = describe_node(builder, options, &node, inputs, &output);
    if (status == TL_OK) status = add_params(builder, &node, inputs, options);
    if (status == TL_OK && RESERVE(builder, nodes, node))
        node.output = add_tensor(builder, &output);
    if (failed(builder)) {
        tl_fail_context(&builder->error, builder->error.status, "node %s (%s)", node.name,
                        tl_op_get(options->kind)->name);
        return TL_TENSOR_NONE;
    }
    builder->nodes[builder->node_count++] = node;
    return node.output;
}

void tl_builder_output(tl_builder *builder, tl_tensor_index x)
{
    if (failed(builder)) return;
    bool input = false;
    for (size_t i = 0; i < builder->input_count; i++) input = input || builder->inputs[i] == x;
    if (x >= builder->tensor_count || input) {
        tl_fail(&builder->error, TL_EINVAL, "an output must be what some node computes");
        return;
    }
    if (RESERVE(builder, outputs, output)) builder->outputs[builder->output_count++] = x;
}

tl_tensor_index tl_builder_constant(tl_builder *builder, const char *name, const tl_shape *shape,
                                    const float *values, bool trained)
{
    if (failed(builder)) return TL_TENSOR_NONE;
    tl_attrs attrs = tl_attrs_default(TL_OP_CONSTANT);
    attrs.shape = *shape;
    attrs.trained = trained;
    if (tl_shape_check(shape, &builder->error) != TL_OK) return TL_TENSOR_NONE;
    const tl_param_init init = { .name = name, .values = values, .count = tl_shape_count(shape) };
    return tl_builder_node(builder, &(tl_node_options){ .kind = TL_OP_CONSTANT,
                                                        .name = name,
                                                        .attrs = &attrs,
                                                        .params = &init,
                                                        .param_count = 1 });
}

/* ---- Finish ---------------------------------------------------------------------------------- */

static void mark_needed(const tl_builder *builder, bool *needed)
{
    for (size_t i = 0; i < builder->output_count; i++) needed[builder->outputs[i]] = true;
    for (size_t n = builder->node_count; n-- > 0;) {
        const tl_node *node = &builder->nodes[n];
        if (!needed[node->output]) continue;
        for (uint32_t i = 0; i < node->input_count; i++) needed[node->inputs[i]] = true;
    }
}

/* Nodes that some output depends on, and their parameters, packed into the flat buffer in order. */
static tl_status copy_nodes(const tl_builder *builder, const bool *needed, tl_graph *graph,
                            uint32_t *built_index, tl_error *err)
{
    for (size_t n = 0; n < builder->node_count; n++) {
        if (!needed[builder->nodes[n].output]) continue;
        tl_node *node = &graph->nodes[graph->node_count++];
        *node = builder->nodes[n];
        for (uint32_t p = 0; p < node->param_count; p++) {
            tl_param *param = &graph->params[graph->param_count];
            *param = builder->params[node->params[p]].info;
            if (param->count > TL_GRAPH_FLOATS_MAX - graph->float_count)
                return tl_fail(err, TL_ELIMIT, "more than %zu parameters", TL_GRAPH_FLOATS_MAX);
            param->offset = graph->float_count;
            graph->float_count += param->count;
            built_index[graph->param_count] = node->params[p];
            node->params[p] = (uint32_t)graph->param_count++;
        }
    }
    return TL_OK;
}

static float initial_value(const built_param *param, tl_rng *rng)
{
    switch (param->init) {
    case TL_INIT_ONE: return 1.0f;
    case TL_INIT_HE_FAN_OUT:
        return (float)(tl_rng_normal(rng) * sqrt(2.0 / (param->fan > 0 ? param->fan : 1)));
    case TL_INIT_FAN_IN:
        return (float)((2 * tl_rng_unit(rng) - 1) / sqrt(param->fan > 0 ? param->fan : 1));
    case TL_INIT_ZERO: break;
    }
    return 0.0f;
}

static tl_status make_flat(const tl_builder *builder, const tl_graph *graph,
                           const uint32_t *built_index, uint64_t seed, float **out, tl_error *err)
{
    float *flat = malloc((graph->float_count + 1) * sizeof *flat);
    if (flat == NULL) return tl_fail(err, TL_ENOMEM, "%zu parameters", graph->float_count);
    for (size_t p = 0; p < graph->param_count; p++) {
        const built_param *param = &builder->params[built_index[p]];
        float *to = flat + graph->params[p].offset;
        if (param->values != NULL) {
            memcpy(to, param->values, param->info.count * sizeof *to);
            continue;
        }
        tl_rng rng;
        tl_rng_seed(&rng, seed, p);
        for (size_t i = 0; i < param->info.count; i++) to[i] = initial_value(param, &rng);
    }
    *out = flat;
    return TL_OK;
}

static tl_graph *graph_alloc(const tl_builder *builder)
{
    tl_graph *graph = calloc(1, sizeof *graph);
    if (graph == NULL) return NULL;
    atomic_init(&graph->references, 1);
    pthread_mutex_init(&graph->mutex, NULL);
    graph->nodes = calloc(builder->node_count + 1, sizeof *graph->nodes);
    graph->tensors = calloc(builder->tensor_count + 1, sizeof *graph->tensors);
    graph->params = calloc(builder->param_count + 1, sizeof *graph->params);
    graph->inputs = calloc(builder->input_count + 1, sizeof *graph->inputs);
    graph->outputs = calloc(builder->output_count + 1, sizeof *graph->outputs);
    if (graph->nodes == NULL || graph->tensors == NULL || graph->params == NULL ||
        graph->inputs == NULL || graph->outputs == NULL)
        tl_graph_release(&graph);
    return graph;
}

/* Number the tensors that are left: inputs, then outputs of nodes. So what was built and not needed
 * leaves no trace, in the hash neither. */
static void copy_tensors(const tl_builder *builder, tl_graph *graph, uint32_t *number)
{
    for (size_t i = 0; i < builder->input_count; i++) {
        uint32_t old = builder->inputs[i];
        number[old] = (uint32_t)graph->tensor_count;
        graph->inputs[graph->input_count++] = number[old];
        graph->tensors[graph->tensor_count++] = builder->tensors[old];
    }
    for (size_t n = 0; n < graph->node_count; n++) {
        tl_node *node = &graph->nodes[n];
        for (uint32_t i = 0; i < node->input_count; i++) node->inputs[i] = number[node->inputs[i]];
        number[node->output] = (uint32_t)graph->tensor_count;
        graph->tensors[graph->tensor_count++] = builder->tensors[node->output];
        node->output = number[node->output];
    }
    for (size_t i = 0; i < builder->output_count; i++)
        graph->outputs[graph->output_count++] = number[builder->outputs[i]];
}

static tl_status fill_graph(const tl_builder *builder, tl_graph *graph, bool *needed,
                            uint32_t *stage, uint32_t *built_index, tl_error *err)
{
    mark_needed(builder, needed);
    tl_status status = copy_nodes(builder, needed, graph, built_index, err);
    if (status != TL_OK) return status;
    copy_tensors(builder, graph, stage); /* as room for numbers; cleared again below */
    memset(stage, 0, (builder->tensor_count + 1) * sizeof *stage);
    tl_graph_set_traits(graph, stage);
    return TL_OK;
}

tl_status tl_builder_finish(tl_builder *builder, uint64_t seed, tl_graph **out, float **flat,
                            tl_error *err)
{
    if (failed(builder)) return tl_builder_status(builder, err);
    if (builder->output_count == 0)
        return tl_fail(err, TL_EINVAL, "the graph has no output; mark one");
    tl_graph *graph = graph_alloc(builder);
    bool *needed = calloc(builder->tensor_count + 1, sizeof *needed);
    uint32_t *stage = calloc(builder->tensor_count + 1, sizeof *stage);
    uint32_t *built_index = calloc(builder->param_count + 1, sizeof *built_index);
    tl_status status = TL_OK;
    if (graph == NULL || needed == NULL || stage == NULL || built_index == NULL)
        status = tl_fail(err, TL_ENOMEM, "graph of %zu nodes", builder->node_count);
    if (status == TL_OK) status = fill_graph(builder, graph, needed, stage, built_index, err);
    if (status == TL_OK && flat != NULL)
        status = make_flat(builder, graph, built_index, seed, flat, err);
    free(needed);
    free(stage);
    free(built_index);
    if (status == TL_OK)
        *out = graph;
    else
        tl_graph_release(&graph);
    return status;
}

#include "graph/classifier.h"

#include "graph/builder.h"
#include "graph/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is known of a network while its end is looked for. */
typedef struct survey {
    const tl_graph *graph;
    const tl_node **maker; /* of each tensor; NULL: an input */
    bool *map;             /* an image-like tensor: pixels lie where the input's did */
    bool *pooled;          /* made of nothing but averages or maxima over the whole image */
} survey;

static bool is_image(const tl_shape *shape)
{
    return shape->rank == 3;
}

static bool makes_map(tl_op_kind kind)
{
    switch (kind) {
    case TL_OP_CONV:
    case TL_OP_BATCH_NORM:
    case TL_OP_RELU:
    case TL_OP_CLIP:
    case TL_OP_HARD_SWISH:
    case TL_OP_HARD_SIGMOID:
    case TL_OP_SIGMOID:
    case TL_OP_SILU:
    case TL_OP_ABS:
    case TL_OP_ADD:
    case TL_OP_SUB:
    case TL_OP_MUL:
    case TL_OP_LEAKY_RELU:
    case TL_OP_PRELU:
    case TL_OP_TANH:
    case TL_OP_ELU:
    case TL_OP_GELU:
    case TL_OP_GELU_TANH:
    case TL_OP_MISH:
    case TL_OP_DIV:
    case TL_OP_PAD:
    case TL_OP_SLICE:
    case TL_OP_RESIZE:
    case TL_OP_CONV_TRANSPOSE:
    case TL_OP_AVERAGE_POOL:
    case TL_OP_MAX_POOL:
    case TL_OP_CONCAT: return true;
    default: return false;
    }
}

static void look_at(survey *s, const tl_node *node)
{
    bool map = false, pooled = node->input_count > 0;
    for (uint32_t i = 0; i < node->input_count; i++) {
        const tl_node *maker = s->maker[node->inputs[i]];
        if (maker != NULL && maker->kind == TL_OP_CONSTANT) continue;
        map = map || s->map[node->inputs[i]];
        pooled = pooled && s->pooled[node->inputs[i]];
    }
    bool pool = node->kind == TL_OP_GLOBAL_AVERAGE_POOL || node->kind == TL_OP_GLOBAL_MAX_POOL;
    s->maker[node->output] = node;
    s->pooled[node->output] = pooled || pool;
    s->map[node->output] =
        map && !pooled && makes_map(node->kind) && is_image(&s->graph->tensors[node->output]);
}

static tl_status survey_make(const tl_graph *graph, survey *out, tl_error *err)
{
    size_t count = graph->tensor_count;
    *out = (survey){ .graph = graph,
                     .maker = calloc(count, sizeof *out->maker),
                     .map = calloc(count, sizeof *out->map),
                     .pooled = calloc(count, sizeof *out->pooled) };
    if (out->maker == NULL || out->map == NULL || out->pooled == NULL)
        return tl_fail(err, TL_ENOMEM, "graph of %zu tensors", count);
    for (size_t i = 0; i < graph->input_count; i++)
        out->map[graph->inputs[i]] = is_image(&graph->tensors[graph->inputs[i]]);
    for (size_t n = 0; n < graph->node_count; n++) look_at(out, &graph->nodes[n]);
    return TL_OK;
}

static void survey_free(survey *s)
{
    free(s->maker);
    free(s->map);
    free(s->pooled);
}

/* A head that a feature vector goes into; NULL: none. */
static const tl_node *last_layer(const survey *s)
{
    const tl_node *node = tl_graph_head(s->graph);
    if (node == NULL) return NULL;
    if (node->kind == TL_OP_GEMM) return s->graph->tensors[node->inputs[0]].rank == 1 ? node : NULL;
    return s->pooled[node->inputs[0]] && node->attrs.groups == 1 ? node : NULL;
}

/* Nothing but one-to-one functions without numbers of their own between it and the output. */
static bool is_whole(const survey *s, const tl_node *last)
{
    const tl_node *node = s->maker[s->graph->outputs[0]];
    while (node != last && node->input_count == 1) node = s->maker[node->inputs[0]];
    return node == last;
}

/* The map of lowest resolution; of several, the one with the most channels; of several, the last.
 */
static uint32_t deepest_map(const survey *s)
{
    const tl_graph *graph = s->graph;
    uint32_t best = TL_NONE;
    for (size_t n = 0; n < graph->node_count; n++) {
        uint32_t tensor = graph->nodes[n].output;
        if (!s->map[tensor]) continue;
        const tl_shape *shape = &graph->tensors[tensor];
        const tl_shape *against = best == TL_NONE ? shape : &graph->tensors[best];
        size_t pixels = tl_shape_pixels(shape), least = tl_shape_pixels(against);
        bool better = pixels < least ||
                      (pixels == least && tl_shape_channels(shape) >= tl_shape_channels(against));
        if (best == TL_NONE || better) best = tensor;
    }
    return best;
}

/* ---- Building -------------------------------------------------------------------------------- */

typedef struct copying {
    const tl_graph *graph;
    const float *flat;
    tl_builder *builder;
    tl_tensor_index *index; /* of each of the graph's tensors in the builder */
} copying;

static void copy_node(copying *c, const tl_node *node)
{
    tl_tensor_index inputs[TL_OP_INPUT_MAX];
    tl_param_init params[TL_OP_PARAM_MAX];
    for (uint32_t i = 0; i < node->input_count; i++) inputs[i] = c->index[node->inputs[i]];
    for (uint32_t p = 0; p < node->param_count; p++) {
        const tl_param *param = &c->graph->params[node->params[p]];
        params[p] = (tl_param_init){ .name = param->name,
                                     .values = c->flat + param->offset,
                                     .count = param->count };
    }
    c->index[node->output] = tl_builder_node(c->builder, &(tl_node_options){
                                                             .kind = node->kind,
                                                             .name = node->name,
                                                             .attrs = &node->attrs,
                                                             .inputs = inputs,
                                                             .input_count = node->input_count,
                                                             .params = params,
                                                             .param_count = node->param_count,
                                                         });
}

/* Numbers of the new last layer: the kept rows, then zeros. */
static tl_status add_layer(copying *c, tl_tensor_index features, const tl_node *kept,
                           const tl_classifier_options *options, tl_error *err)
{
    size_t width = tl_shape_count(tl_builder_shape(c->builder, features));
    float *numbers = calloc(options->outputs * (width + 1), sizeof *numbers);
    if (numbers == NULL) return tl_fail(err, TL_ENOMEM, "last layer of %zu features", width);
    float *bias = numbers + options->outputs * width;
    for (uint32_t p = 0; kept != NULL && p < kept->param_count && p < 2; p++) {
        const tl_param *param = &c->graph->params[kept->params[p]];
        memcpy(p == 0 ? numbers : bias, c->flat + param->offset, param->count * sizeof *numbers);
    }
    tl_attrs attrs = tl_attrs_default(TL_OP_GEMM);
    attrs.channels = options->outputs;
    attrs.has_bias = true;
    const tl_param_init params[2] = {
        { .name = "loop.head.weight", .values = numbers, .count = options->outputs * width },
        { .name = "loop.head.bias", .values = bias, .count = options->outputs },
    };
    tl_builder_output(c->builder, tl_builder_node(c->builder, &(tl_node_options){
                                                                  .kind = TL_OP_GEMM,
                                                                  .name = "loop.head",
                                                                  .attrs = &attrs,
                                                                  .inputs = &features,
                                                                  .input_count = 1,
                                                                  .params = params,
                                                                  .param_count = 2,
                                                              }));
    free(numbers);
    return TL_OK;
}

static tl_status build(copying *c, uint32_t features, bool pooled, const tl_node *kept,
                       const tl_classifier_options *options, tl_error *err)
{
    const tl_graph *graph = c->graph;
    for (size_t i = 0; i < graph->input_count; i++)
        c->index[graph->inputs[i]] =
            tl_builder_input(c->builder, NULL, &graph->tensors[graph->inputs[i]]);
    for (size_t n = 0; n < graph->node_count && c->index[features] == TL_TENSOR_NONE; n++)
        copy_node(c, &graph->nodes[n]);
    tl_tensor_index x = c->index[features];
    if (pooled) x = tl_builder_unary(c->builder, TL_OP_GLOBAL_AVERAGE_POOL, x);
    if (is_image(&graph->tensors[features])) x = tl_builder_unary(c->builder, TL_OP_FLATTEN, x);
    tl_status status = tl_builder_status(c->builder, err);
    return status == TL_OK ? add_layer(c, x, kept, options, err) : status;
}

static tl_status copy(const tl_graph *graph, const float *flat, uint32_t features, bool pooled,
                      const tl_node *kept, const tl_classifier_options *options, tl_graph **out,
                      float **out_flat, tl_error *err)
{
    copying c = { .graph = graph, .flat = flat };
    c.index = malloc(graph->tensor_count * sizeof *c.index);
    tl_status status = tl_builder_create(&c.builder, err);
    if (c.index == NULL) status = tl_fail(err, TL_ENOMEM, "graph");
    for (size_t i = 0; status == TL_OK && i < graph->tensor_count; i++) c.index[i] = TL_TENSOR_NONE;
    if (status == TL_OK) status = build(&c, features, pooled, kept, options, err);
    if (status == TL_OK) status = tl_builder_finish(c.builder, 1, out, out_flat, err);
    tl_builder_destroy(&c.builder);
    free(c.index);
    return status;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static tl_status check_keep(const survey *s, const tl_node *last,
                            const tl_classifier_options *options, bool *keep, tl_error *err)
{
    *keep = options->keep > 0 && last != NULL && last->kind == TL_OP_GEMM && is_whole(s, last) &&
            last->attrs.channels == options->keep;
    if (*keep || !options->keep_or_fail) return TL_OK;
    if (last == NULL || last->kind != TL_OP_GEMM || !is_whole(s, last))
        return tl_fail(err, TL_ESHAPE,
                       "the network's last layer is no Gemm, so that it cannot be kept; leave out "
                       "keep_head: a new last layer learns from the loop's labels");
    return tl_fail(err, TL_ESHAPE,
                   "the network answers for %u classes, the loop has %u; name as many, in the "
                   "network's order, or leave out keep_head for a new last layer",
                   last->attrs.channels, options->keep);
}

static tl_status choose(const survey *s, const tl_node *last, tl_classifier_report *report,
                        uint32_t *features, tl_error *err)
{
    *features = last != NULL ? last->inputs[0] : deepest_map(s);
    if (*features == TL_NONE)
        return tl_fail(err, TL_EUNSUPPORTED,
                       "the network has neither a Gemm at its end nor a feature map to start from; "
                       "export it as a classifier of images or vectors");
    const tl_shape *shape = &s->graph->tensors[*features];
    report->pooled = last == NULL;
    report->height = is_image(shape) ? shape->dim[0] : 1;
    report->width = is_image(shape) ? shape->dim[1] : 1;
    size_t count = report->pooled ? tl_shape_channels(shape) : tl_shape_count(shape);
    if (count > TL_FEATURE_COUNT_MAX)
        return tl_fail(err, TL_ELIMIT,
                       "the network's last features are %zu numbers; a loop takes up to %d: export "
                       "it with pooling before the last layer",
                       count, TL_FEATURE_COUNT_MAX);
    report->features = (uint32_t)count;
    const tl_node *maker = s->maker[*features];
    snprintf(report->from, sizeof report->from, "%s", maker == NULL ? "input" : maker->name);
    return TL_OK;
}

tl_status tl_graph_classifier(const tl_graph *graph, const float *flat,
                              const tl_classifier_options *options, tl_graph **out,
                              float **out_flat, tl_classifier_report *report, tl_error *err)
{
    TL_ASSERT(options->outputs >= 1 && options->keep <= options->outputs);
    survey s;
    uint32_t features = TL_NONE;
    tl_classifier_report found = { 0 };
    tl_status status = survey_make(graph, &s, err);
    const tl_node *last = status == TL_OK ? last_layer(&s) : NULL;
    if (status == TL_OK) status = check_keep(&s, last, options, &found.kept, err);
    if (status == TL_OK) status = choose(&s, last, &found, &features, err);
    if (status == TL_OK)
        status = copy(graph, flat, features, found.pooled, found.kept ? last : NULL, options, out,
                      out_flat, err);
    survey_free(&s);
    if (status != TL_OK) return status;
    size_t added = 1 + (found.pooled ? 1 : 0) + (is_image(&graph->tensors[features]) ? 1 : 0);
    found.dropped = (uint32_t)(graph->node_count + added - (*out)->node_count);
    if (report != NULL) *report = found;
    return TL_OK;
}

#include "networks/small.h"

#include "networks/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tl_small_options tl_small_options_default(void)
{
    return (tl_small_options){
        .height = 64,
        .width = 64,
        .channels = 3,
        .class_count = 8,
        .seed = 1,
        .layer_count = 5,
        .layers = { { 8, 3, 2 }, { 16, 3, 2 }, { 24, 3, 2 }, { 32, 3, 1 }, { 32, 3, 1 } },
    };
}

static tl_status check_options(const tl_small_options *options, tl_error *err)
{
    if (options->class_count < 1 || options->class_count > TL_CLASS_COUNT_MAX)
        return tl_fail(err, TL_EINVAL, "%u outputs; use 1 to %d", options->class_count,
                       TL_CLASS_COUNT_MAX);
    if (options->layer_count < 1 || options->layer_count > TL_SMALL_LAYER_MAX)
        return tl_fail(err, TL_EINVAL, "%u layers; use 1 to %d", options->layer_count,
                       TL_SMALL_LAYER_MAX);
    for (uint32_t i = 0; i < options->layer_count; i++) {
        const tl_small_layer *layer = &options->layers[i];
        if (layer->channels < 1 || layer->channels > 1024 || layer->kernel % 2 == 0 ||
            layer->kernel > 15 || layer->stride < 1 || layer->stride > 8)
            return tl_fail(err, TL_EINVAL,
                           "layer %u: channels 1 to 1024, an odd kernel up to 15, "
                           "stride 1 to 8",
                           i + 1);
    }
    return TL_OK;
}

/* The builder's own start is He's with fan-out; this network was tuned with fan-in and a small last
 * layer. */
static void start(const tl_graph *graph, uint64_t seed, float *flat)
{
    tl_rng rng;
    tl_rng_seed(&rng, seed, 0x6e6574); /* a stream of its own */
    for (size_t i = 0; i < tl_graph_param_count(graph); i++) {
        const tl_param *param = tl_graph_param(graph, i);
        bool last = param->stage == 0;
        if (last && param->role == TL_PARAM_BIAS)
            memset(flat + param->offset, 0, param->count * sizeof *flat);
        if (param->role != TL_PARAM_WEIGHT) continue;
        double fan_in = (double)param->count / param->shape.dim[0];
        double deviation = last ? 0.01 : sqrt(2.0 / fan_in);
        for (size_t k = 0; k < param->count; k++)
            flat[param->offset + k] = (float)(deviation * tl_rng_normal(&rng));
    }
}

static void add_layers(tl_builder *builder, tl_tensor_index x, const tl_small_options *options)
{
    for (uint32_t i = 0; i < options->layer_count; i++) {
        const tl_small_layer *layer = &options->layers[i];
        tl_conv_options conv = tl_conv_square(layer->kernel, layer->stride, 1);
        char name[16];
        snprintf(name, sizeof name, "c%u", i + 1);
        x = tl_builder_conv(builder, name, x, layer->channels, &conv);
        snprintf(name, sizeof name, "n%u", i + 1);
        x = tl_builder_batch_norm(builder, name, x, 1e-5f, 0.1f);
        x = tl_builder_unary(builder, TL_OP_RELU, x);
    }
    tl_tensor_index pools[2] = { tl_builder_unary(builder, TL_OP_GLOBAL_AVERAGE_POOL, x),
                                 tl_builder_unary(builder, TL_OP_GLOBAL_MAX_POOL, x) };
    const tl_node_options concat = { .kind = TL_OP_CONCAT, .inputs = pools, .input_count = 2 };
    x = tl_builder_unary(builder, TL_OP_FLATTEN, tl_builder_node(builder, &concat));
    tl_builder_output(builder, tl_builder_gemm(builder, "head", x, options->class_count));
}

tl_status tl_network_small(const tl_small_options *options, tl_graph **graph, float **flat,
                           tl_error *err)
{
    tl_status status = check_options(options, err);
    if (status != TL_OK) return status;
    tl_builder *builder = NULL;
    status = tl_builder_create(&builder, err);
    if (status != TL_OK) return status;
    tl_shape shape = tl_shape_image(options->height, options->width, options->channels);
    add_layers(builder, tl_builder_input(builder, "input", &shape), options);
    status = tl_builder_finish(builder, options->seed, graph, flat, err);
    tl_builder_destroy(&builder);
    if (status == TL_OK) start(*graph, options->seed, *flat);
    return status;
}

tl_status tl_network_linear(uint32_t feature_count, uint32_t class_count, tl_graph **graph,
                            float **flat, tl_error *err)
{
    if (feature_count < 1 || feature_count > TL_FEATURE_COUNT_MAX || class_count < 1 ||
        class_count > TL_CLASS_COUNT_MAX)
        return tl_fail(err, TL_EINVAL, "%u features and %u classes; use 1 to %d and 1 to %d",
                       feature_count, class_count, TL_FEATURE_COUNT_MAX, TL_CLASS_COUNT_MAX);
    tl_builder *builder = NULL;
    tl_status status = tl_builder_create(&builder, err);
    if (status != TL_OK) return status;
    tl_shape shape = tl_shape_vector(feature_count);
    tl_tensor_index x = tl_builder_input(builder, "input", &shape);
    tl_builder_output(builder, tl_builder_gemm(builder, "head", x, class_count));
    status = tl_builder_finish(builder, 1, graph, flat, err);
    tl_builder_destroy(&builder);
    if (status == TL_OK) memset(*flat, 0, tl_graph_float_count(*graph) * sizeof **flat);
    return status;
}

/* ---- As one of the built-in architectures ----------------------------------------------------- */

static tl_status build(net *n, tl_tensor_index x, uint32_t size, tl_error *err)
{
    (void)size, (void)err;
    tl_small_options options = tl_small_options_default();
    options.class_count = n->options->class_count;
    add_layers(n->builder, x, &options);
    return TL_OK;
}

static void start_of(const tl_graph *graph, const tl_network_options *options, float *flat)
{
    start(graph, options->seed, flat);
}

const net_family net_small = { build, start_of };

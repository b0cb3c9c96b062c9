#include "networks/networks.h"
#include "networks/internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    tl_network network;
    const net_family *family;
    uint32_t size;
} entry;

/* How pixels become numbers. */
#define SYMMETRIC                                                                                  \
    "symmetric", { 127.5f, 127.5f, 127.5f },                                                       \
    {                                                                                              \
        127.5f, 127.5f, 127.5f                                                                     \
    }
#define UNIT                                                                                       \
    "unit", { 0.0f, 0.0f, 0.0f },                                                                  \
    {                                                                                              \
        255.0f, 255.0f, 255.0f                                                                     \
    }
#define IMAGENET                                                                                   \
    "imagenet", { 123.675f, 116.28f, 103.53f },                                                    \
    {                                                                                              \
        58.395f, 57.12f, 57.375f                                                                   \
    }
#define CENTRED                                                                                    \
    "efficientnet_lite", { 127.0f, 127.0f, 127.0f },                                               \
    {                                                                                              \
        128.0f, 128.0f, 128.0f                                                                     \
    }

#define CLASSIFIER(name, about, side, classes, pixels, family, size)                               \
    {                                                                                              \
        { name, about, TL_NETWORK_CLASSIFY, side, side, 3, classes, 1, pixels }, &family, size     \
    }
#define DETECTOR(name, about, size)                                                                \
    {                                                                                              \
        { name, about, TL_NETWORK_DETECT, 640, 640, 3, 80, 32, UNIT }, &net_yolov8, size           \
    }

static const entry ENTRIES[] = {
    CLASSIFIER("small", "learns from nothing, from few labels", 64, 8, SYMMETRIC, net_small, 0),
    CLASSIFIER("mobilenet_v3_small", "MobileNetV3-Small", 224, 1000, IMAGENET, net_mobilenet_v3, 0),
    CLASSIFIER("mobilenet_v3_large", "MobileNetV3-Large", 224, 1000, IMAGENET, net_mobilenet_v3, 1),
    CLASSIFIER("efficientnet_lite0", "EfficientNet-Lite0", 224, 1000, CENTRED,
               net_efficientnet_lite, 0),
    CLASSIFIER("efficientnet_lite1", "EfficientNet-Lite1", 240, 1000, CENTRED,
               net_efficientnet_lite, 1),
    CLASSIFIER("efficientnet_lite2", "EfficientNet-Lite2", 260, 1000, CENTRED,
               net_efficientnet_lite, 2),
    CLASSIFIER("efficientnet_lite3", "EfficientNet-Lite3", 280, 1000, CENTRED,
               net_efficientnet_lite, 3),
    CLASSIFIER("efficientnet_lite4", "EfficientNet-Lite4", 300, 1000, CENTRED,
               net_efficientnet_lite, 4),
    DETECTOR("yolov8n", "YOLOv8 nano", 0),
    DETECTOR("yolov8s", "YOLOv8 small", 1),
    DETECTOR("yolov8m", "YOLOv8 medium", 2),
    DETECTOR("yolov8l", "YOLOv8 large", 3),
    DETECTOR("yolov8x", "YOLOv8 extra large", 4),
};

const tl_network *tl_network_at(size_t index)
{
    return index < TL_COUNT_OF(ENTRIES) ? &ENTRIES[index].network : NULL;
}

const tl_network *tl_network_find(const char *name)
{
    for (size_t i = 0; i < TL_COUNT_OF(ENTRIES); i++)
        if (strcmp(ENTRIES[i].network.name, name) == 0) return &ENTRIES[i].network;
    return NULL;
}

static const entry *entry_of(const tl_network *network)
{
    size_t i = 0;
    while (i < TL_COUNT_OF(ENTRIES) && &ENTRIES[i].network != network) i++;
    TL_ASSERT(i < TL_COUNT_OF(ENTRIES)); /* of tl_network_at or tl_network_find */
    return &ENTRIES[i];
}

/* ---- Making one ------------------------------------------------------------------------------ */

static tl_network_options complete(const tl_network *network, const tl_network_options *given)
{
    tl_network_options o = { .seed = 1 };
    if (given != NULL) o = *given;
    if (o.height == 0) o.height = network->height;
    if (o.width == 0) o.width = network->width;
    if (o.channels == 0) o.channels = network->channels;
    if (o.class_count == 0) o.class_count = network->class_count;
    return o;
}

static tl_status check(const tl_network *network, const tl_network_options *o, tl_error *err)
{
    if (o->class_count > TL_NETWORK_CLASSES_MAX)
        return tl_fail(err, TL_EINVAL, "%u classes; use 1 to %d", o->class_count,
                       TL_NETWORK_CLASSES_MAX);
    if (o->height > TL_NETWORK_SIDE_MAX || o->width > TL_NETWORK_SIDE_MAX ||
        o->height % network->multiple != 0 || o->width % network->multiple != 0)
        return tl_fail(err, TL_EINVAL, "images of %ux%u; %s takes multiples of %u up to %d",
                       o->height, o->width, network->name, network->multiple, TL_NETWORK_SIDE_MAX);
    if (o->channels > TL_NETWORK_CHANNELS_MAX)
        return tl_fail(err, TL_EINVAL, "%u channels; use 1 to %d", o->channels,
                       TL_NETWORK_CHANNELS_MAX);
    return TL_OK;
}

tl_status tl_network_create(const tl_network *network, const tl_network_options *options,
                            tl_graph **graph, float **flat, tl_error *err)
{
    const entry *e = entry_of(network);
    const tl_network_options o = complete(network, options);
    tl_builder *builder = NULL;
    tl_status status = check(network, &o, err);
    if (status == TL_OK) status = tl_builder_create(&builder, err);
    if (status != TL_OK) return status;
    const tl_shape shape = tl_shape_image(o.height, o.width, o.channels);
    net n = { .builder = builder, .options = &o };
    tl_tensor_index x = tl_builder_input(builder, "images", &shape);
    status = e->family->build(&n, x, e->size, err);
    if (status == TL_OK) status = tl_builder_finish(builder, o.seed, graph, flat, err);
    if (status == TL_OK && flat != NULL) e->family->start(*graph, &o, *flat);
    tl_builder_destroy(&builder);
    return status;
}

/* ---- Costs ----------------------------------------------------------------------------------- */

static tl_status plan_bytes(tl_graph *graph, uint32_t batch, tl_plan_mode mode, size_t *bytes,
                            tl_error *err)
{
    tl_plan *plan = NULL;
    const tl_plan_options options = { .batch_max = batch,
                                      .mode = mode,
                                      .threads = 1,
                                      .loss_outputs = (uint32_t)tl_graph_output_count(graph),
                                      .only_measure = true };
    tl_status status = tl_plan_create(graph, &options, &plan, err);
    if (status == TL_OK) *bytes = tl_plan_bytes(plan);
    if (plan != NULL) tl_plan_destroy(&plan);
    return status;
}

static tl_status serving_cost(tl_graph *graph, tl_network_cost *cost, tl_error *err)
{
    for (size_t i = 0; i < tl_graph_param_count(graph); i++) {
        const tl_param *param = tl_graph_param(graph, i);
        if (param->role != TL_PARAM_RUNNING) cost->parameters += param->count;
    }
    cost->features = (uint32_t)tl_graph_feature_count(graph);
    cost->macs = tl_graph_macs(graph);
    tl_status status = tl_graph_weights_bytes(graph, &cost->weights_bytes, err);
    return status == TL_OK ? plan_bytes(graph, 1, TL_PLAN_INFER, &cost->serve_bytes, err) : status;
}

tl_status tl_network_cost_of(const tl_network *network, const tl_network_options *options,
                             uint32_t batch, tl_network_cost *out, tl_error *err)
{
    tl_network_options o = complete(network, options);
    tl_network_cost cost = { .parameters = 0 };
    tl_graph *graph = NULL;
    o.form = TL_NETWORK_SERVE;
    tl_status status = tl_network_create(network, &o, &graph, NULL, err);
    if (status == TL_OK) status = serving_cost(graph, &cost, err);
    if (graph != NULL) tl_graph_release(&graph);
    o.form = TL_NETWORK_TRAIN;
    if (status == TL_OK) status = tl_network_create(network, &o, &graph, NULL, err);
    if (status == TL_OK)
        status = plan_bytes(graph, batch, TL_PLAN_TRAIN_LIVE, &cost.train_bytes, err);
    if (graph != NULL) tl_graph_release(&graph);
    if (status == TL_OK) *out = cost;
    return status;
}

tl_status tl_network_cost_of_graph(tl_graph *graph, uint32_t batch, tl_network_cost *out,
                                   tl_error *err)
{
    tl_network_cost cost = { .parameters = 0 };
    tl_status status = serving_cost(graph, &cost, err);
    if (status == TL_OK)
        status = plan_bytes(graph, batch, TL_PLAN_TRAIN_LIVE, &cost.train_bytes, err);
    if (status == TL_OK) *out = cost;
    return status;
}

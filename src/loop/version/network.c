#include "loop/version/network.h"

#include "format/file.h"
#include "graph/onnx.h"
#include "learn/slow/campaign.h"
#include "loop/item/featurizer.h"
#include "networks/networks.h"
#include "networks/small.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPARE_OUTPUTS = 9, /* classes that may be added while a loop runs */
    DEFAULT_SIDE = 224 /* of a model for any size */
};

bool tl_network_from_file(const tl_loop_config *config)
{
    return config->model_path[0] != '\0' && tl_network_find(config->model_path) == NULL;
}

tl_status tl_network_read_file(const char *path, void **data, size_t *bytes,
                               char hash[TL_MODEL_HASH_BYTES], tl_error *err)
{
    uint8_t digest[(TL_MODEL_HASH_BYTES - 1) / 2];
    tl_status status = tl_file_read(path, TL_MODEL_BYTES_MAX, data, bytes, err);
    if (status == TL_ENOTFOUND)
        return tl_fail(err, status,
                       "model \"%.120s\" is neither a file nor a built-in network; `tightloop "
                       "models` lists those",
                       path);
    if (status != TL_OK) return status;
    crypto_generichash(digest, sizeof digest, *data, *bytes, NULL, 0);
    sodium_bin2hex(hash, TL_MODEL_HASH_BYTES, digest, sizeof digest);
    return TL_OK;
}

static uint32_t output_count(size_t class_count)
{
    uint32_t outputs = (uint32_t)class_count + SPARE_OUTPUTS;
    return outputs < TL_CLASS_COUNT_MAX ? outputs : TL_CLASS_COUNT_MAX;
}

/* Any network with the loop's last layer. Takes over the whole one. */
static tl_status with_last_layer(tl_graph *whole, float *numbers, uint32_t classes, bool keep_head,
                                 tl_graph **graph, float **flat, tl_network_facts *facts,
                                 tl_error *err)
{
    const tl_classifier_options options = { .outputs = output_count(classes),
                                            .keep = classes,
                                            .keep_or_fail = keep_head };
    tl_status status =
        tl_graph_classifier(whole, numbers, &options, graph, flat, &facts->head, err);
    tl_graph_release(&whole);
    free(numbers);
    return status;
}

static tl_status import(const void *data, size_t bytes, const tl_onnx_options *size,
                        uint32_t classes, bool keep_head, tl_graph **graph, float **flat,
                        tl_network_facts *facts, tl_error *err)
{
    tl_graph *whole = NULL;
    float *numbers = NULL;
    tl_status status = tl_onnx_import(data, bytes, size, &whole, &numbers, err);
    if (status != TL_OK) return status;
    return with_last_layer(whole, numbers, classes, keep_head, graph, flat, facts, err);
}

/* One of the built-in architectures; its weights are drawn from the seed. */
static tl_status make_architecture(const tl_network *network, const tl_network_options *options,
                                   uint32_t classes, tl_graph **graph, float **flat,
                                   tl_network_facts *facts, tl_error *err)
{
    tl_graph *whole = NULL;
    float *numbers = NULL;
    tl_status status = tl_network_create(network, options, &whole, &numbers, err);
    if (status != TL_OK) return status;
    status = with_last_layer(whole, numbers, classes, false, graph, flat, facts, err);
    if (status == TL_OK) facts->head.kept = false; /* it had learned nothing */
    return status;
}

static tl_status make_small(const tl_loop_config *config, tl_graph **graph, float **flat,
                            tl_error *err)
{
    const tl_loop_info *info = &config->info;
    uint32_t outputs = output_count(info->class_count);
    if (info->input == TL_INPUT_FEATURES)
        return tl_network_linear(info->feature_count, outputs, graph, flat, err);
    tl_pixels_form form = tl_items_pixels_form(config);
    tl_small_options options = tl_small_options_default();
    options.height = info->height;
    options.width = info->width;
    options.channels = tl_pixels_input_channels(&form);
    options.class_count = outputs;
    options.seed = config->seed;
    return tl_network_small(&options, graph, flat, err);
}

static void fill_facts(const tl_graph *graph, tl_network_facts *facts)
{
    facts->parameters = tl_graph_float_count(graph);
    facts->macs = tl_graph_macs(graph);
    if (facts->head.features == 0) facts->head.features = (uint32_t)tl_graph_feature_count(graph);
    if (tl_graph_input_count(graph) == 0) return;
    const tl_shape *input = tl_graph_input_shape(graph, 0);
    facts->height = input->rank == 3 ? input->dim[0] : 0;
    facts->width = input->rank == 3 ? input->dim[1] : 0;
    facts->channels = input->dim[input->rank - 1];
}

tl_status tl_network_make(const tl_loop_config *config, const void *data, size_t bytes,
                          tl_graph **graph, float **flat, tl_network_facts *facts, tl_error *err)
{
    tl_network_facts found = { 0 };
    const tl_loop_info *info = &config->info;
    const tl_onnx_size sides[2] = { { .axis = 2, .size = info->height },
                                    { .axis = 3, .size = info->width } };
    const tl_onnx_options size = { .sizes = sides,
                                   .size_count = info->input == TL_INPUT_IMAGE ? 2 : 0,
                                   .reading = TL_ONNX_ITEMS };
    const tl_network *network = tl_network_find(config->model_path);
    tl_status status;
    if (network != NULL) {
        tl_pixels_form form = tl_items_pixels_form(config);
        const tl_network_options options = { .height = info->height,
                                             .width = info->width,
                                             .channels = tl_pixels_input_channels(&form),
                                             .seed = config->seed };
        if (info->input != TL_INPUT_IMAGE)
            return tl_fail(err, TL_ESHAPE, "%s takes images; set input: image", network->name);
        status = make_architecture(network, &options, (uint32_t)info->class_count, graph, flat,
                                   &found, err);
    } else if (tl_network_from_file(config))
        status = import(data, bytes, &size, (uint32_t)info->class_count, config->keep_head, graph,
                        flat, &found, err);
    else
        status = make_small(config, graph, flat, err);
    if (status != TL_OK) return status;
    fill_facts(*graph, &found);
    if (found.parameters * sizeof(float) <= TL_MODEL_BYTES_MAX) {
        if (facts != NULL) *facts = found;
        return TL_OK;
    }
    tl_graph_release(graph);
    free(*flat);
    *flat = NULL;
    return tl_fail(err, TL_ELIMIT, "the network has %zu parameters; a loop takes up to %zu",
                   found.parameters, TL_MODEL_BYTES_MAX / sizeof(float));
}

tl_status tl_network_settle(tl_loop_config *config, const tl_graph *graph, tl_error *err)
{
    if (tl_network_from_file(config) && tl_graph_input_count(graph) == 1 &&
        tl_graph_input_shape(graph, 0)->rank == 3)
        config->planes = tl_graph_input_shape(graph, 0)->dim[2];
    bool small = tl_graph_macs(graph) <= TL_CONTINUOUS_MACS_MAX;
    if (config->learning == TL_LEARNING_AUTO)
        config->learning = small ? TL_LEARNING_CONTINUOUS : TL_LEARNING_CAMPAIGN;
    if (config->learning == TL_LEARNING_CAMPAIGN && config->info.input == TL_INPUT_FEATURES)
        return tl_fail(err, TL_EUNSUPPORTED,
                       "campaigns are for networks on images; use learning: continuous");
    return tl_graph_check_loop(graph, config, err);
}

/* What the plans of the loop will take: laid out, not allocated. */
static tl_status measure_plans(tl_graph *graph, uint32_t classes, tl_network_facts *facts,
                               tl_error *err)
{
    const tl_runtime_options runtime = tl_runtime_options_default();
    const tl_plan_options serve = { .batch_max = runtime.batch_max,
                                    .mode = TL_PLAN_INFER,
                                    .threads = 1,
                                    .precision = runtime.precision,
                                    .only_measure = true };
    tl_campaign_options campaign = tl_campaign_options_default();
    campaign.class_count = classes;
    campaign.threads = runtime.trainer_threads;
    tl_plan *plan = NULL;
    tl_status status = tl_graph_weights_bytes(graph, &facts->serve_bytes, err);
    if (status == TL_OK) status = tl_plan_create(graph, &serve, &plan, err);
    if (status == TL_OK) facts->serve_bytes += tl_plan_bytes(plan);
    tl_plan_destroy(&plan);
    if (status != TL_OK || facts->height == 0) return status; /* campaigns are for images */
    return tl_campaign_measure(graph, &campaign, &facts->campaign_batch, &facts->campaign_bytes,
                               err);
}

tl_status tl_network_probe(const char *model, uint32_t height, uint32_t width, uint32_t classes,
                           bool keep_head, tl_network_facts *out, tl_error *err)
{
    void *data = NULL;
    size_t bytes = 0;
    char hash[TL_MODEL_HASH_BYTES];
    const tl_network *network = tl_network_find(model);
    const tl_network_options own = { .height = height, .width = width, .seed = 1 };
    if (network != NULL && keep_head)
        return tl_fail(err, TL_EINVAL, "%s has no last layer to keep: it has learned nothing yet",
                       model);
    tl_status status = TL_OK;
    if (network == NULL) status = tl_network_read_file(model, &data, &bytes, hash, err);
    if (status != TL_OK) return status;
    const tl_onnx_size sides[2] = { { .axis = 2, .size = height }, { .axis = 3, .size = width } };
    const tl_onnx_options size = { .sizes = sides,
                                   .size_count = height > 0 && width > 0 ? 2 : 0,
                                   .height = height > 0 ? height : DEFAULT_SIDE,
                                   .width = width > 0 ? width : DEFAULT_SIDE,
                                   .reading = TL_ONNX_ITEMS };
    tl_graph *graph = NULL;
    float *flat = NULL;
    tl_network_facts facts = { 0 };
    if (network != NULL)
        status = make_architecture(network, &own, classes, &graph, &flat, &facts, err);
    else
        status = import(data, bytes, &size, classes, keep_head, &graph, &flat, &facts, err);
    if (status == TL_OK) fill_facts(graph, &facts);
    if (status == TL_OK) status = measure_plans(graph, classes, &facts, err);
    if (status == TL_OK) *out = facts;
    tl_graph_release(&graph);
    free(flat);
    free(data);
    return status;
}

void tl_network_describe(const tl_network_facts *facts, uint32_t classes, char *out, size_t bytes)
{
    const tl_classifier_report *head = &facts->head;
    int used = snprintf(out, bytes, "%zu parameters, %.1f million multiply-adds an item, ",
                        facts->parameters, (double)facts->macs / 1e6);
    size_t at = used > 0 && (size_t)used < bytes ? (size_t)used : bytes;
    if (head->kept)
        snprintf(out + at, bytes - at,
                 "%u features from %.40s; its own last layer for %u classes is kept",
                 head->features, head->from, classes);
    else if (head->pooled)
        snprintf(out + at, bytes - at,
                 "%u features, the average over the %ux%u map of %.40s; a new last layer for %u "
                 "classes",
                 head->features, head->height, head->width, head->from, classes);
    else
        snprintf(out + at, bytes - at, "%u features from %.40s; a new last layer for %u classes",
                 head->features, head->from, classes);
}

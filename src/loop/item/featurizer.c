#include "loop/item/featurizer.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH = 16 };

struct tl_featurizer {
    tl_graph *graph;
    tl_item_reader *items;
    tl_plan *plan;
    uint8_t *pixels;
    float *vector;
};

/* What does not fit, in words that say what to change. */
static tl_status fail_input(const tl_graph *graph, const tl_shape *want, tl_error *err)
{
    if (tl_graph_input_count(graph) != 1)
        return tl_fail(err, TL_ESHAPE, "the network has %zu inputs; a loop gives it one",
                       tl_graph_input_count(graph));
    const tl_shape *takes = tl_graph_input_shape(graph, 0);
    if (takes->rank != want->rank || takes->rank > 3)
        return tl_fail(err, TL_ESHAPE,
                       "the network takes %s, the loop has %s; change input of the loop",
                       takes->rank == 3   ? "images"
                       : takes->rank == 1 ? "vectors"
                                          : "other tensors",
                       want->rank == 3 ? "images" : "vectors");
    if (want->rank == 1)
        return tl_fail(err, TL_ESHAPE, "the network takes %u numbers, the loop has features: %u",
                       takes->dim[0], want->dim[0]);
    if (takes->dim[0] != want->dim[0] || takes->dim[1] != want->dim[1])
        return tl_fail(err, TL_ESHAPE,
                       "the network takes images of %ux%u, the loop has %ux%u; set size: %ux%u "
                       "(images are scaled on the way in), or export the network for any size",
                       takes->dim[0], takes->dim[1], want->dim[0], want->dim[1], takes->dim[0],
                       takes->dim[1]);
    return tl_fail(err, TL_ESHAPE,
                   "the network takes %u channels, the loop gives %u; channels: 1 gives a grey "
                   "image (1 or 3 planes) or, with a template, 3; channels: 3 gives 3, with a "
                   "template 9",
                   takes->dim[2], want->dim[2]);
}

tl_status tl_graph_check_loop(const tl_graph *graph, const tl_loop_config *config, tl_error *err)
{
    const tl_loop_info *info = &config->info;
    tl_shape want = tl_shape_vector(info->feature_count);
    if (info->input == TL_INPUT_IMAGE) {
        tl_pixels_form form = tl_items_pixels_form(config);
        want = tl_shape_image(info->height, info->width, tl_pixels_input_channels(&form));
    }
    if (tl_graph_input_count(graph) != 1 || !tl_shape_equal(tl_graph_input_shape(graph, 0), &want))
        return fail_input(graph, &want, err);
    if (tl_graph_output_count(graph) < 1 ||
        tl_shape_count(tl_graph_output_shape(graph, 0)) < info->class_count)
        return tl_fail(err, TL_ESHAPE, "the network answers for fewer than the loop's %zu classes",
                       info->class_count);
    if (tl_graph_feature_count(graph) == 0)
        return tl_fail(err, TL_EUNSUPPORTED, "the network's last layer is not a Gemm");
    return TL_OK;
}

void tl_items_to_input(const tl_loop_config *config, const uint8_t *pixels, const float *features,
                       float *input, uint32_t row)
{
    const tl_loop_info *info = &config->info;
    if (info->input == TL_INPUT_FEATURES) {
        memcpy(input + (size_t)row * info->feature_count, features,
               info->feature_count * sizeof *features);
        return;
    }
    tl_pixels_form form = tl_items_pixels_form(config);
    const uint8_t *reference =
        info->has_template ? pixels + (size_t)info->height * info->width * info->channels : NULL;
    tl_pixels_convert(&form, pixels, reference, 0, input + row * tl_pixels_input_count(&form));
}

tl_status tl_featurizer_create(tl_graph *graph, tl_item_reader *items, tl_featurizer **out,
                               tl_error *err)
{
    tl_status status = tl_graph_check_loop(graph, items->config, err);
    if (status != TL_OK) return status;
    tl_featurizer *featurizer = calloc(1, sizeof *featurizer);
    if (featurizer == NULL) return tl_fail(err, TL_ENOMEM, "featurizer");
    featurizer->items = items;
    featurizer->graph = graph;
    tl_graph_retain(graph);
    tl_pixels_form form = tl_items_pixels_form(items->config);
    featurizer->pixels = malloc(tl_pixels_item_bytes(&form) + 1);
    featurizer->vector = malloc((items->config->info.feature_count + 1) * sizeof(float));
    if (featurizer->pixels == NULL || featurizer->vector == NULL)
        status = tl_fail(err, TL_ENOMEM, "featurizer");
    tl_plan_options options = { .batch_max = BATCH, .mode = TL_PLAN_INFER, .threads = 1 };
    if (status == TL_OK) status = tl_plan_create(graph, &options, &featurizer->plan, err);
    if (status != TL_OK) {
        tl_featurizer_destroy(&featurizer);
        return status;
    }
    *out = featurizer;
    return TL_OK;
}

void tl_featurizer_destroy(tl_featurizer **featurizer)
{
    if (*featurizer == NULL) return;
    tl_plan_destroy(&(*featurizer)->plan);
    tl_graph_release(&(*featurizer)->graph);
    free((*featurizer)->pixels);
    free((*featurizer)->vector);
    free(*featurizer);
    *featurizer = NULL;
}

/* Run up to BATCH positions; items that are gone are left out of the batch. */
static tl_status run_batch(tl_featurizer *f, const tl_weights *weights, const uint64_t *positions,
                           size_t count, float *features, float *outputs, bool *found,
                           tl_error *err)
{
    size_t feature_count = tl_graph_feature_count(f->graph);
    size_t output_count = tl_shape_count(tl_graph_output_shape(f->graph, 0));
    float *input = tl_plan_input(f->plan, 0);
    uint32_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        tl_status status = tl_item_fetch(f->items, positions[i], f->pixels, f->vector, err);
        found[i] = status == TL_OK;
        if (status != TL_OK && status != TL_ENOTFOUND) return status;
        if (found[i]) tl_items_to_input(f->items->config, f->pixels, f->vector, input, rows++);
    }
    tl_status status = rows == 0 ? TL_OK : tl_plan_infer(f->plan, weights, rows, err);
    if (status != TL_OK) return status;
    rows = 0;
    for (size_t i = 0; i < count; i++) {
        float *feature_row = features + i * feature_count;
        float *output_row = outputs == NULL ? NULL : outputs + i * output_count;
        if (!found[i]) {
            memset(feature_row, 0, feature_count * sizeof(float));
            if (output_row != NULL) memset(output_row, 0, output_count * sizeof(float));
            continue;
        }
        memcpy(feature_row, tl_plan_features(f->plan) + rows * feature_count,
               feature_count * sizeof(float));
        if (output_row != NULL)
            memcpy(output_row, tl_plan_output(f->plan, 0) + rows * output_count,
                   output_count * sizeof(float));
        rows++;
    }
    return TL_OK;
}

tl_status tl_featurizer_run(tl_featurizer *featurizer, const tl_weights *weights,
                            const uint64_t *positions, size_t count, float *features,
                            float *outputs, bool *found, tl_error *err)
{
    size_t feature_count = tl_graph_feature_count(featurizer->graph);
    size_t output_count = tl_shape_count(tl_graph_output_shape(featurizer->graph, 0));
    for (size_t at = 0; at < count; at += BATCH) {
        size_t some = count - at < BATCH ? count - at : BATCH;
        tl_status status =
            run_batch(featurizer, weights, positions + at, some, features + at * feature_count,
                      outputs == NULL ? NULL : outputs + at * output_count, found + at, err);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

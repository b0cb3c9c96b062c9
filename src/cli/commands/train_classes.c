/* train_classes.c - `tightloop train` on images of one class each. */
#include "cli/commands/train.h"
#include "cli/data/dataset.h"
#include "cli/model.h"
#include "format/json.h"
#include "graph/classifier.h"
#include "graph/onnx.h"
#include "networks/networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN_PIXELS = 6 };

/* The data set, and which of its positions are learned and which are judged. */
typedef struct material {
    tl_dataset *dataset;
    tl_dataset_info info;
    tl_pixels_form form;
    const char *pixels; /* the name of its numbers */
    size_t *learned, *judged;
    size_t learned_count, judged_count;
    uint8_t *image, *reference;
} material;

static void material_free(material *m)
{
    tl_dataset_close(&m->dataset);
    free(m->learned);
    free(m->judged);
    free(m->image);
    free(m->reference);
}

/* Size, planes and numbers of the network's input, as a loop on that model has them. */
static tl_status choose_form(const tl_recipe *recipe, material *m, tl_error *err)
{
    tl_loop_options like = tl_loop_options_default();
    const bool fixed = m->info.fixed_size;
    like.model_path = recipe->model;
    like.class_count = m->info.class_count;
    like.has_template = m->info.has_template;
    like.height = fixed ? m->info.height : (uint32_t)recipe->side;
    like.width = fixed ? m->info.width : (uint32_t)recipe->side;
    like.channels = fixed ? m->info.channels : (uint32_t)recipe->channels;
    like.normalisation = recipe->normalisation;
    tl_status status = tl_model_choose(&like, NULL, err); /* a loop has outputs to spare */
    if (status != TL_OK) return status;
    if (like.input != TL_INPUT_IMAGE)
        return tl_fail(err, TL_ESHAPE, "%.160s takes no images", recipe->model);
    m->form = (tl_pixels_form){ .height = like.height,
                                .width = like.width,
                                .channels = like.channels,
                                .has_template = like.has_template,
                                .align = like.has_template ? ALIGN_PIXELS : 0 };
    if (!fixed) tl_dataset_scale_to(m->dataset, like.height, like.width, like.channels);
    tl_dataset_describe(m->dataset, &m->info);
    m->pixels = like.normalisation;
    return tl_pixels_normalise(&m->form, m->pixels, err);
}

static tl_status material_open(const tl_recipe *recipe, material *m, tl_error *err)
{
    const tl_dataset_options wanted = { .path = recipe->data };
    tl_status status = tl_dataset_open(&wanted, &m->dataset, err);
    if (status != TL_OK) return status;
    tl_dataset_describe(m->dataset, &m->info);
    status = choose_form(recipe, m, err);
    if (status != TL_OK) return status;
    const size_t item = tl_pixels_item_bytes(&m->form);
    m->learned = calloc(m->info.count + 1, sizeof *m->learned);
    m->judged = calloc(m->info.count + 1, sizeof *m->judged);
    m->image = malloc(item + 1);
    m->reference = malloc(item + 1);
    if (m->learned == NULL || m->judged == NULL || m->image == NULL || m->reference == NULL)
        return tl_fail(err, TL_ENOMEM, "%zu items", m->info.count);
    for (size_t i = 0; i < m->info.count; i++) {
        tl_dataset_item at;
        tl_dataset_item_at(m->dataset, i, &at);
        *(at.held_out ? &m->judged[m->judged_count++] : &m->learned[m->learned_count++]) = i;
    }
    return m->learned_count > 0
               ? TL_OK
               : tl_fail(err, TL_EINVAL, "%.160s: no image to learn from", recipe->data);
}

static tl_status fetch_at(material *m, size_t position, tl_train_item *out, tl_error *err)
{
    tl_dataset_item item;
    tl_dataset_item_at(m->dataset, position, &item);
    tl_status status = tl_dataset_pixels(m->dataset, position, m->image, m->reference, err);
    if (status != TL_OK) return status;
    *out = (tl_train_item){ .label = item.label };
    out->source = (tl_augment_source){ .image = m->image,
                                       .reference = m->info.has_template ? m->reference : NULL,
                                       .height = m->info.height,
                                       .width = m->info.width };
    return TL_OK;
}

static tl_status fetch(void *context, size_t index, tl_train_item *out, tl_error *err)
{
    material *m = context;
    return fetch_at(m, m->learned[index], out, err);
}

/* ---- The network ----------------------------------------------------------------------------- */

/* A file at the size of the images, or a detector, whose backbone serves. */
static tl_status make_whole(const tl_recipe *recipe, const tl_network *network, const material *m,
                            tl_graph **graph, float **flat, tl_error *err)
{
    const tl_network_options built = { .height = m->form.height,
                                       .width = m->form.width,
                                       .channels = tl_pixels_input_channels(&m->form),
                                       .class_count =
                                           network != NULL && network->task == TL_NETWORK_CLASSIFY
                                               ? (uint32_t)m->info.class_count
                                               : 0,
                                       .seed = recipe->seed };
    const tl_onnx_size sides[2] = { { .axis = 2, .size = m->form.height },
                                    { .axis = 3, .size = m->form.width } };
    const tl_onnx_options file = { .sizes = sides, .size_count = 2, .reading = TL_ONNX_ITEMS };
    if (network != NULL) return tl_network_create(network, &built, graph, flat, err);
    return tl_onnx_import_file(recipe->model, &file, graph, flat, err);
}

static tl_status make_network(const tl_recipe *recipe, material *m, tl_graph **graph, float **flat,
                              tl_recipe_result *out, tl_error *err)
{
    const tl_network *network = tl_network_find(recipe->model);
    tl_graph *whole = NULL;
    float *numbers = NULL;
    tl_status status = make_whole(recipe, network, m, &whole, &numbers, err);
    if (status != TL_OK) return status;
    if (network != NULL && network->task == TL_NETWORK_CLASSIFY) {
        *graph = whole;
        *flat = numbers;
        tl_recipe_describe(recipe, whole, m->pixels, "", out);
        return TL_OK;
    }
    const uint32_t classes = (uint32_t)m->info.class_count;
    const tl_classifier_options head = { .outputs = classes, .keep = classes };
    tl_classifier_report found;
    status = tl_graph_classifier(whole, numbers, &head, graph, flat, &found, err);
    tl_graph_release(&whole);
    free(numbers);
    if (status != TL_OK) return status;
    const tl_shape *input = tl_graph_input_shape(*graph, 0);
    m->form.repeat =
        !m->form.has_template && m->form.channels == 1 && input->rank == 3 && input->dim[2] == 3;
    tl_recipe_describe(recipe, *graph, m->pixels,
                       found.kept ? "; its own last layer goes on" : "; a new last layer", out);
    return TL_OK;
}

/* ---- Judging --------------------------------------------------------------------------------- */

static tl_status judge(material *m, tl_graph *graph, const float *flat, uint64_t *right,
                       tl_error *err)
{
    tl_recipe_judge judge;
    tl_status status = tl_recipe_judge_open(&judge, graph, flat, &m->form, err);
    if (status != TL_OK) return status;
    *right = 0;
    for (size_t i = 0; i < m->judged_count && status == TL_OK; i++) {
        tl_train_item item;
        status = fetch_at(m, m->judged[i], &item, err);
        if (status == TL_OK) status = tl_recipe_judge_run(&judge, &item.source, NULL, err);
        if (status != TL_OK) break;
        const float *scores = tl_plan_output(judge.plan, 0);
        uint32_t best = 0;
        for (uint32_t c = 1; c < m->info.class_count; c++)
            if (scores[c] > scores[best]) best = c;
        *right += best == item.label;
    }
    tl_recipe_judge_close(&judge);
    return status;
}

/* ---- Weights of classes ---------------------------------------------------------------------- */

/* So that all classes together count alike, however many items each has. */
static void balance(const material *m, float *weights)
{
    size_t counts[TL_CLASS_COUNT_MAX] = { 0 }, present = 0;
    for (size_t i = 0; i < m->learned_count; i++) {
        tl_dataset_item item;
        tl_dataset_item_at(m->dataset, m->learned[i], &item);
        present += counts[item.label]++ == 0;
    }
    for (size_t c = 0; c < m->info.class_count; c++)
        if (counts[c] > 0)
            weights[c] = (float)((double)m->learned_count / (double)(present * counts[c]));
}

/* One of NAME=WEIGHT. */
static tl_status weigh(const material *m, const char *word, float *weights, tl_error *err)
{
    const char *equals = strrchr(word, '=');
    const size_t length = equals == NULL ? strlen(word) : (size_t)(equals - word);
    for (size_t c = 0; c < m->info.class_count; c++) {
        const char *name = m->info.classes[c];
        if (strlen(name) != length || strncmp(word, name, length) != 0) continue;
        const char *text = equals == NULL ? "" : equals + 1;
        double weight;
        if (!tl_json_parse_number(text, strlen(text), &weight) || weight < 0.0 || weight > 1e6)
            return tl_fail(err, TL_EINVAL, "--class-weights: \"%.80s\"; want %.60s=WEIGHT", word,
                           name);
        weights[c] = (float)weight;
        return TL_OK;
    }
    return tl_fail(
        err, TL_EINVAL,
        "--class-weights: \"%.80s\" is neither even nor balanced, nor NAME=WEIGHT of a class "
        "of the data",
        word);
}

static tl_status weigh_classes(const tl_recipe *recipe, const material *m, float *weights,
                               tl_error *err)
{
    for (size_t c = 0; c < m->info.class_count; c++) weights[c] = 1.0f;
    if (strcmp(recipe->class_weights, "even") == 0) return TL_OK;
    if (strcmp(recipe->class_weights, "balanced") == 0) {
        balance(m, weights);
        return TL_OK;
    }
    char *copy = strdup(recipe->class_weights), *rest = NULL;
    tl_status status = copy == NULL ? tl_fail(err, TL_ENOMEM, "--class-weights") : TL_OK;
    for (char *word = copy == NULL ? NULL : strtok_r(copy, ",", &rest);
         word != NULL && status == TL_OK; word = strtok_r(NULL, ",", &rest))
        status = weigh(m, word, weights, err);
    free(copy);
    return status;
}

static void list_classes(const tl_dataset_info *info, tl_recipe_result *out)
{
    size_t used = 0;
    for (size_t c = 0; c < info->class_count && used < sizeof out->order; c++)
        used += (size_t)snprintf(out->order + used, sizeof out->order - used, "%s%s",
                                 c == 0 ? "" : ",", info->classes[c]);
}

static const char *class_name(const void *context, uint32_t label)
{
    return ((const material *)context)->info.classes[label];
}

tl_status tl_train_classes(const tl_recipe *recipe, const tl_train_options *options,
                           tl_recipe_result *out, tl_error *err)
{
    material m = { .learned_count = 0 };
    float weights[TL_CLASS_COUNT_MAX];
    tl_graph *graph = NULL;
    float *flat = NULL;
    tl_train_options wanted = *options;
    tl_status status = material_open(recipe, &m, err);
    if (status == TL_OK) status = weigh_classes(recipe, &m, weights, err);
    if (status == TL_OK) status = make_network(recipe, &m, &graph, &flat, out, err);
    const uint32_t classes = (uint32_t)m.info.class_count;
    wanted.form = m.form;
    wanted.count = m.learned_count;
    wanted.class_count = classes;
    wanted.class_weight = weights;
    if (status == TL_OK) status = tl_recipe_train(&wanted, fetch, &m, graph, flat, out, err);
    if (status == TL_OK) status = judge(&m, graph, flat, &out->right, err);
    list_classes(&m.info, out);
    if (status == TL_OK)
        status = tl_recipe_export(recipe, &m.form, classes, class_name, &m, graph, flat, err);
    out->learned = m.learned_count;
    out->judged = m.judged_count;
    material_free(&m);
    tl_graph_release(&graph);
    free(flat);
    return status;
}

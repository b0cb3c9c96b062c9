/* train_boxes.c - `tightloop train` on images with boxes: detectors. */
#include "cli/commands/train.h"
#include "cli/data/boxset.h"
#include "graph/onnx.h"
#include "networks/networks.h"

#include <stdlib.h>
#include <string.h>

enum { FOUND_MAX = 300, CANDIDATES_MAX = 8192 };

typedef struct material {
    tl_boxset *set;
    tl_boxset_info info;
    tl_pixels_form form;
    const tl_network *network; /* NULL: from a file */
    tl_graph *graph;           /* with raw maps as outputs */
    float *flat;
    tl_yolo_head head;
} material;

static void material_free(material *m)
{
    tl_boxset_close(&m->set);
    tl_graph_release(&m->graph);
    free(m->flat);
}

static tl_status fetch_of(material *m, bool judged, size_t index, tl_train_item *out, tl_error *err)
{
    tl_boxset_item item;
    tl_status status = tl_boxset_item_at(m->set, judged, index, &item, err);
    if (status != TL_OK) return status;
    *out = (tl_train_item){ .source = { .image = item.image,
                                        .height = item.height,
                                        .width = item.width,
                                        .truths = item.truths } };
    return TL_OK;
}

static tl_status fetch(void *context, size_t index, tl_train_item *out, tl_error *err)
{
    return fetch_of(context, false, index, out, err);
}

/* ---- The network ----------------------------------------------------------------------------- */

static tl_status create(const tl_recipe *recipe, const material *m, tl_network_form form,
                        tl_graph **graph, float **flat, tl_error *err)
{
    const tl_network_options wanted = { .height = (uint32_t)recipe->side,
                                        .width = (uint32_t)recipe->side,
                                        .channels = m->form.channels,
                                        .class_count = m->info.class_count,
                                        .seed = recipe->seed,
                                        .form = form };
    return tl_network_create(m->network, &wanted, graph, flat, err);
}

static tl_status import(const tl_recipe *recipe, material *m, tl_error *err)
{
    const uint32_t side = (uint32_t)recipe->side;
    const tl_onnx_size sides[2] = { { .axis = 2, .size = side }, { .axis = 3, .size = side } };
    const tl_onnx_options file = { .sizes = sides,
                                   .size_count = side > 0 ? 2 : 0,
                                   .reading = TL_ONNX_ITEMS };
    tl_status status = tl_onnx_import_file(recipe->model, &file, &m->graph, &m->flat, err);
    if (status == TL_ENOTFOUND)
        return tl_fail(err, status,
                       "model \"%.120s\" is neither a file nor a built-in network; `tightloop "
                       "models` lists those",
                       recipe->model);
    if (status != TL_OK) return status;
    const tl_shape *input = tl_graph_input_shape(m->graph, 0);
    if (tl_graph_input_count(m->graph) == 1 && input->rank == 3 &&
        tl_yolo_head_of_graph(m->graph, &m->head, NULL) == TL_OK)
        return TL_OK;
    return tl_fail(
        err, TL_ESHAPE,
        "%.140s has not the raw maps of a YOLOv8 as outputs, which training needs; files "
        "of `tightloop train --trainable` have",
        recipe->model);
}

static const char *pixels_of(const tl_recipe *recipe, const material *m)
{
    if (recipe->normalisation != NULL) return recipe->normalisation;
    return m->network != NULL ? m->network->pixels : "unit"; /* as every YOLOv8 is trained */
}

static tl_status make_network(const tl_recipe *recipe, material *m, tl_recipe_result *out,
                              tl_error *err)
{
    tl_status status = m->network != NULL
                           ? create(recipe, m, TL_NETWORK_TRAIN, &m->graph, &m->flat, err)
                           : import(recipe, m, err);
    if (status == TL_OK) status = tl_yolo_head_of_graph(m->graph, &m->head, err);
    if (status != TL_OK) return status;
    if (m->head.class_count < m->info.class_count)
        return tl_fail(err, TL_ESHAPE, "%.140s finds %u classes; the labels have %u", recipe->model,
                       m->head.class_count, m->info.class_count);
    const tl_shape *input = tl_graph_input_shape(m->graph, 0);
    m->form.height = input->dim[0];
    m->form.width = input->dim[1];
    m->form.repeat = m->form.channels == 1 && input->dim[2] == 3;
    tl_recipe_describe(recipe, m->graph, pixels_of(recipe, m), "", out);
    return tl_pixels_normalise(&m->form, pixels_of(recipe, m), err);
}

static tl_status material_open(const tl_recipe *recipe, material *m, tl_recipe_result *out,
                               tl_error *err)
{
    m->network = tl_network_find(recipe->model);
    if (m->network != NULL && m->network->task != TL_NETWORK_DETECT)
        return tl_fail(err, TL_EUNSUPPORTED,
                       "%s tells classes; images/ and labels/ want a detector, such as --model "
                       "yolov8n",
                       recipe->model);
    m->form.channels = recipe->channels == 0 ? 3 : (uint32_t)recipe->channels;
    tl_status status = tl_boxset_open(recipe->data, m->form.channels, &m->set, err);
    if (status != TL_OK) return status;
    tl_boxset_describe(m->set, &m->info);
    return make_network(recipe, m, out, err);
}

/* ---- Judging --------------------------------------------------------------------------------- */

/* What was found in one image, and what is there; `out` owns both lists. */
static tl_status judge_one(material *m, tl_recipe_judge *judge, size_t index,
                           tl_detection *candidates, tl_detect_image *out, tl_error *err)
{
    tl_detect_options options = tl_detect_options_default();
    options.score_min = 0.001f;
    options.count_max = FOUND_MAX;
    options.many_labels = true;
    tl_train_item item;
    tl_truths truths;
    tl_status status = fetch_of(m, true, index, &item, err);
    if (status == TL_OK) status = tl_recipe_judge_run(judge, &item.source, &truths, err);
    if (status != TL_OK) return status;
    const float *maps[TL_YOLO_SCALE_MAX];
    for (uint32_t s = 0; s < m->head.scale_count; s++) maps[s] = tl_plan_output(judge->plan, s);
    size_t count = tl_detect_decode(&m->head, maps, 0, &options, candidates, CANDIDATES_MAX);
    count = tl_detect_suppress(&options, candidates, count);
    tl_detection *found = malloc(count * sizeof *found + 1);
    tl_truth *there = malloc(truths.count * sizeof *there + 1);
    *out = (tl_detect_image){ found, count, { there, truths.count } };
    if (found == NULL || there == NULL) return tl_fail(err, TL_ENOMEM, "boxes of an image");
    memcpy(found, candidates, count * sizeof *found);
    if (truths.count > 0) memcpy(there, truths.items, truths.count * sizeof *there);
    return TL_OK;
}

static tl_status judge_all(material *m, tl_recipe_judge *judge, tl_detection *candidates,
                           tl_detect_image *images, tl_recipe_result *out, tl_error *err)
{
    tl_status status = TL_OK;
    out->boxes = 0;
    for (size_t i = 0; i < m->info.judged && status == TL_OK; i++) {
        status = judge_one(m, judge, i, candidates, &images[i], err);
        out->boxes += images[i].truths.count;
    }
    if (status != TL_OK) return status;
    return tl_detect_measure(images, m->info.judged, m->head.class_count, &out->quality, err);
}

static tl_status judge(material *m, tl_recipe_result *out, tl_error *err)
{
    tl_recipe_judge judge;
    tl_status status = tl_recipe_judge_open(&judge, m->graph, m->flat, &m->form, err);
    if (status != TL_OK) return status;
    tl_detection *candidates = calloc(CANDIDATES_MAX, sizeof *candidates);
    tl_detect_image *images = calloc(m->info.judged + 1, sizeof *images);
    status = candidates == NULL || images == NULL
                 ? tl_fail(err, TL_ENOMEM, "boxes")
                 : judge_all(m, &judge, candidates, images, out, err);
    for (size_t i = 0; images != NULL && i < m->info.judged; i++) {
        free((void *)images[i].found);
        free((void *)images[i].truths.items);
    }
    free(images);
    free(candidates);
    tl_recipe_judge_close(&judge);
    return status;
}

/* ---- The file -------------------------------------------------------------------------------- */

static const char *class_name(const void *context, uint32_t label)
{
    return tl_boxset_class(context, label);
}

/* A built-in network is written as it serves, with boxes and probabilities as its output, unless
 * training is to go on from the file. */
static tl_status write_file(const tl_recipe *recipe, const material *m, tl_error *err)
{
    tl_graph *serve = NULL;
    float *numbers = NULL;
    if (m->network == NULL || recipe->trainable)
        return tl_recipe_export(recipe, &m->form, m->info.class_count, class_name, m->set, m->graph,
                                m->flat, err);
    tl_status status = create(recipe, m, TL_NETWORK_SERVE, &serve, &numbers, err);
    if (status != TL_OK) return status;
    memcpy(numbers, m->flat, tl_graph_float_count(m->graph) * sizeof *numbers);
    status = tl_recipe_export(recipe, &m->form, m->info.class_count, class_name, m->set, serve,
                              numbers, err);
    tl_graph_release(&serve);
    free(numbers);
    return status;
}

tl_status tl_train_boxes(const tl_recipe *recipe, const tl_train_options *options,
                         tl_recipe_result *out, tl_error *err)
{
    material m = { .set = NULL };
    tl_train_options wanted = *options;
    tl_status status = material_open(recipe, &m, out, err);
    wanted.form = m.form;
    wanted.count = m.info.learned;
    if (status == TL_OK) status = tl_recipe_train(&wanted, fetch, &m, m.graph, m.flat, out, err);
    if (status == TL_OK) status = judge(&m, out, err);
    if (status == TL_OK) status = write_file(recipe, &m, err);
    out->learned = m.info.learned;
    out->judged = m.info.judged;
    material_free(&m);
    return status;
}

/* train.c - `tightloop train`: a network on labelled images, in epochs, to an ONNX file. */
#include "learn/train/train.h"
#include "cli/command.h"
#include "cli/data/dataset.h"
#include "cli/terminal/progress.h"
#include "graph/onnx.h"
#include "networks/networks.h"
#include "stats/interval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *data, *model, *output;
    uint64_t side, channels, batch, threads, seed, stages;
    double epochs, rate;
    bool json;
} values = { .model = "mobilenet_v3_small",
             .output = "model.onnx",
             .side = 64,
             .channels = 3,
             .batch = 16,
             .threads = 1,
             .seed = 1,
             .epochs = 10,
             .rate = 0.001 };

static const tl_option options[] = {
    { "data", 'd', TL_OPTION_FOLDER, "DIR",
      "A stream of labelled patches, or a folder with one sub-folder of images a class.",
      &values.data, 0, 0 },
    { "model", 'm', TL_OPTION_TEXT, "NAME|FILE",
      "A built-in network, which starts from nothing, or an ONNX model with at least as many "
      "outputs "
      "as there are classes, which goes on from its weights.",
      &values.model, 0, 0 },
    { "output", 'o', TL_OPTION_FILE, "FILE", "The ONNX file to write, over an older one.",
      &values.output, 0, 0 },
    { "side", 0, TL_OPTION_WHOLE, "N", "Pixels of height and width that images are scaled to.",
      &values.side, 8, TL_IMAGE_SIDE_MAX },
    { "channels", 0, TL_OPTION_WHOLE, "N", "Of images in folders: 1 grey or 3 colour.",
      &values.channels, 1, 3 },
    { "epochs", 'e', TL_OPTION_REAL, "N", "Passes over the images.", &values.epochs, 0.001, 10000 },
    { "batch", 'b', TL_OPTION_WHOLE, "N", "Images in a step.", &values.batch, 1, 4096 },
    { "rate", 'r', TL_OPTION_REAL, "R", "Highest learning rate (AdamW).", &values.rate, 1e-9, 10 },
    { "stages", 0, TL_OPTION_WHOLE, "N",
      "Train only the last N layers on a frozen backbone; 0: all.", &values.stages, 0, 100000 },
    { "threads", 't', TL_OPTION_WHOLE, "N", "Threads; results repeat for one number of them.",
      &values.threads, 1, 256 },
    { "seed", 0, TL_OPTION_WHOLE, "N", "Seed of weights, order and augmentation.", &values.seed, 0,
      4294967295.0 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print the result as JSON.", &values.json, 0, 0 },
};

/* The data set, and which of its positions are learned and which are judged. */
typedef struct material {
    tl_dataset *dataset;
    tl_dataset_info info;
    size_t *learned, *judged;
    size_t learned_count, judged_count;
    const size_t *part; /* what tl_train's indices mean at the moment */
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

static tl_status material_open(material *m, tl_error *err)
{
    const tl_dataset_options wanted = { .path = values.data,
                                        .height = (uint32_t)values.side,
                                        .width = (uint32_t)values.side,
                                        .channels = (uint32_t)values.channels };
    tl_status status = tl_dataset_open(&wanted, &m->dataset, err);
    if (status != TL_OK) return status;
    tl_dataset_describe(m->dataset, &m->info);
    const size_t bytes = (size_t)m->info.height * m->info.width * m->info.channels;
    m->learned = calloc(m->info.count + 1, sizeof *m->learned);
    m->judged = calloc(m->info.count + 1, sizeof *m->judged);
    m->image = malloc(bytes + 1);
    m->reference = malloc(bytes + 1);
    if (m->learned == NULL || m->judged == NULL || m->image == NULL || m->reference == NULL)
        return tl_fail(err, TL_ENOMEM, "%zu items", m->info.count);
    for (size_t i = 0; i < m->info.count; i++) {
        tl_dataset_item item;
        tl_dataset_item_at(m->dataset, i, &item);
        *(item.held_out ? &m->judged[m->judged_count++] : &m->learned[m->learned_count++]) = i;
    }
    m->part = m->learned;
    return m->learned_count > 0
               ? TL_OK
               : tl_fail(err, TL_EINVAL, "%s: no image to learn from", values.data);
}

static tl_status fetch(void *context, size_t index, tl_train_item *out, tl_error *err)
{
    material *m = context;
    tl_dataset_item item;
    tl_dataset_item_at(m->dataset, m->part[index], &item);
    tl_status status = tl_dataset_pixels(m->dataset, m->part[index], m->image, m->reference, err);
    if (status != TL_OK) return status;
    *out = (tl_train_item){ .label = item.label };
    out->source = (tl_augment_source){ .image = m->image,
                                       .reference = m->info.has_template ? m->reference : NULL,
                                       .height = m->info.height,
                                       .width = m->info.width };
    return TL_OK;
}

static tl_pixels_form form_of(const material *m)
{
    return (tl_pixels_form){ .height = m->info.height,
                             .width = m->info.width,
                             .channels = m->info.channels,
                             .has_template = m->info.has_template,
                             .align = m->info.has_template ? 6 : 0 };
}

static tl_status make_network(const material *m, tl_graph **graph, float **flat, tl_error *err)
{
    const tl_pixels_form form = form_of(m);
    const tl_network *network = tl_network_find(values.model);
    if (network == NULL) return tl_onnx_import_file(values.model, NULL, graph, flat, err);
    const tl_network_options wanted = { .height = form.height,
                                        .width = form.width,
                                        .channels = tl_pixels_input_channels(&form),
                                        .class_count = (uint32_t)m->info.class_count,
                                        .seed = values.seed };
    if (network->task != TL_NETWORK_CLASSIFY)
        return tl_fail(err, TL_EUNSUPPORTED, "%s finds boxes; this command trains classifiers",
                       values.model);
    return tl_network_create(network, &wanted, graph, flat, err);
}

/* ---- Training and judging -------------------------------------------------------------------- */

static bool on_step(void *context, const tl_train_progress *now)
{
    tl_progress_show(context, now->step, now->steps);
    return true;
}

static tl_status judge(material *m, tl_train *train, tl_graph *graph, const float *flat,
                       uint64_t *right, tl_error *err)
{
    tl_plan *plan = NULL;
    tl_weights *weights = NULL;
    const tl_plan_options wanted = { .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1 };
    tl_status status = tl_plan_create(graph, &wanted, &plan, err);
    if (status == TL_OK) status = tl_weights_create(graph, flat, &weights, err);
    *right = 0;
    for (size_t i = 0; i < m->judged_count && status == TL_OK; i++) {
        tl_dataset_item item;
        m->part = m->judged;
        tl_dataset_item_at(m->dataset, m->judged[i], &item);
        status = tl_train_view(train, i, tl_plan_input(plan, 0), NULL, err);
        if (status == TL_OK) status = tl_plan_infer(plan, weights, 1, err);
        if (status != TL_OK) break;
        const float *scores = tl_plan_output(plan, 0);
        uint32_t best = 0;
        for (uint32_t c = 1; c < m->info.class_count; c++)
            if (scores[c] > scores[best]) best = c;
        *right += best == item.label;
    }
    m->part = m->learned;
    tl_plan_destroy(&plan);
    tl_weights_release(&weights);
    return status;
}

static tl_status learn(material *m, tl_graph *graph, float *flat, uint64_t *right, tl_error *err)
{
    tl_train_options wanted = tl_train_options_default(TL_TASK_CLASSIFY);
    wanted.form = form_of(m);
    wanted.count = m->learned_count;
    wanted.class_count = (uint32_t)m->info.class_count;
    wanted.epochs = values.epochs;
    wanted.rate = values.rate;
    wanted.batch = (uint32_t)values.batch;
    wanted.threads = (uint32_t)values.threads;
    wanted.seed = values.seed;
    wanted.optimizer.trained_stages = (uint32_t)values.stages;
    tl_train *train = NULL;
    tl_progress progress;
    tl_status status = tl_train_create(graph, flat, &wanted, fetch, m, &train, err);
    if (status != TL_OK) return status;
    tl_progress_begin(&progress, "Training");
    status = tl_train_run(train, on_step, &progress, err);
    tl_progress_end(&progress);
    tl_train_result(train, flat);
    if (status == TL_OK) status = judge(m, train, graph, flat, right, err);
    tl_train_destroy(&train);
    return status;
}

static int report(const material *m, uint64_t right)
{
    const tl_interval i = tl_interval_wilson(right, m->judged_count, 0.95);
    const double share = m->judged_count == 0 ? 0.0 : (double)right / (double)m->judged_count;
    tl_text text;
    tl_text_init(&text, 1 << 16);
    if (values.json) {
        tl_json_writer w;
        tl_json_begin(&w, &text);
        tl_json_object(&w);
        tl_json_key(&w, "written"), tl_json_string(&w, values.output);
        tl_json_key(&w, "items"), tl_json_uint(&w, m->learned_count);
        tl_json_key(&w, "accuracy"), tl_json_object(&w);
        tl_json_key(&w, "value"), tl_json_double(&w, share);
        tl_json_key(&w, "low"), tl_json_double(&w, i.low);
        tl_json_key(&w, "high"), tl_json_double(&w, i.high);
        tl_json_key(&w, "hits"), tl_json_uint(&w, right);
        tl_json_key(&w, "count"), tl_json_uint(&w, m->judged_count);
        tl_json_object_end(&w);
        tl_json_object_end(&w);
    } else {
        tl_text_printf(&text,
                       "Wrote %s: trained on %zu images; right on %llu of %zu that were kept out "
                       "(%.4f, 95 %% interval %.4f to %.4f).",
                       values.output, m->learned_count, (unsigned long long)right, m->judged_count,
                       share, i.low, i.high);
    }
    int code = tl_command_print(&tl_command_train, &text);
    tl_text_destroy(&text);
    return code;
}

static int run(const tl_arguments *arguments)
{
    (void)arguments;
    tl_error err = { .text = "--data is missing: the folder of images to train on" };
    if (values.data == NULL) return tl_command_misuse(&tl_command_train, &err);
    material m = { .learned_count = 0 };
    tl_graph *graph = NULL;
    float *flat = NULL;
    uint64_t right = 0;
    tl_status status = material_open(&m, &err);
    if (status == TL_OK) status = make_network(&m, &graph, &flat, &err);
    if (status == TL_OK) status = learn(&m, graph, flat, &right, &err);
    if (status == TL_OK) status = tl_onnx_export_file(graph, flat, NULL, values.output, &err);
    int code = status == TL_OK ? report(&m, right) : tl_command_fail(&tl_command_train, &err);
    material_free(&m);
    tl_graph_release(&graph);
    free(flat);
    return code;
}

const tl_command tl_command_train = {
    .name = "train",
    .summary = "train a network on labelled images, to an ONNX file",
    .details =
        "Trains a classifier in epochs: cross-entropy, AdamW with warm-up and cosine, averaged "
        "weights, mirrored, moved and recoloured images. Images whose name's hash is 0 modulo 10 "
        "are "
        "kept out and judged in the end.\n"
        "The network's input is pixels / 127.5 - 1; with templates it has three channels: image, "
        "template, and |image - template| / 255.",
    .example = "tightloop train --data boards --model mobilenet_v3_small --side 96 --epochs 20\n"
               "tightloop train --data boards --model model.onnx --stages 1 -o tuned.onnx",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run,
};

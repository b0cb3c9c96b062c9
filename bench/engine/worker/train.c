/* Training steps in turns: forward, loss, backward, one step of SGD with momentum. Labels that are
 * boxes ask for the losses of YOLOv8, else it is softmax cross-entropy. The loss and the
 * gradients of the first step go into a file for the comparison with the peer: as the flat vector,
 * and a line of JSON "FILE.json" with the loss and the parameters' names and places. */
#include "bench/engine/worker/worker.h"
#include "learn/detect/yolo_loss.h"
#include "learn/slow/loss.h"
#include "learn/slow/optimizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double RATE = 0.001; /* small: the same batch is learned again and again */

typedef struct training {
    const worker_options *options;
    tl_graph *graph;
    tl_plan *plan;
    tl_optimizer *optimizer;
    float *flat, *grad, *output_grad;
    uint32_t *labels;  /* classification */
    tl_truth *boxes;   /* detection: of all items, */
    tl_truths *truths; /* and [batch] */
    tl_yolo_loss *yolo;
    double loss;
} training;

/* ---- A step ---------------------------------------------------------------------------------- */

static tl_status lose(training *t, tl_error *err)
{
    const uint32_t batch = t->options->batch;
    if (t->yolo == NULL) {
        const uint32_t classes = tl_shape_channels(tl_graph_output_shape(t->graph, 0));
        const tl_loss_options loss = { .width = classes, .class_count = classes };
        t->loss = tl_loss_cross_entropy(&loss, tl_plan_output(t->plan, 0), t->labels, NULL, batch,
                                        NULL, t->output_grad);
        return TL_OK;
    }
    const float *maps[TL_YOLO_SCALE_MAX];
    tl_yolo_parts parts;
    for (size_t i = 0; i < tl_graph_output_count(t->graph); i++)
        maps[i] = tl_plan_output(t->plan, i);
    tl_status status =
        tl_yolo_loss_run(t->yolo, maps, batch, t->truths, &parts, t->output_grad, err);
    if (status == TL_OK) t->loss = parts.total;
    return status;
}

static tl_status differentiate(training *t, tl_error *err)
{
    tl_status status = tl_plan_train_forward(t->plan, t->flat, t->options->batch, err);
    if (status == TL_OK) status = lose(t, err);
    if (status != TL_OK) return status;
    return tl_plan_train_backward(t->plan, t->flat, t->output_grad, t->grad, err);
}

static tl_status run(void *context, tl_error *err)
{
    training *t = context;
    tl_status status = differentiate(t, err);
    if (status == TL_OK)
        status = tl_optimizer_step(t->optimizer, t->plan, t->flat, t->grad, RATE, err);
    return status;
}

/* ---- The first step's results ---------------------------------------------------------------- */

static bool write_names(const training *t, const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) return false;
    fprintf(file, "{\"loss\": %.9g, \"params\": [", t->loss);
    for (size_t i = 0; i < tl_graph_param_count(t->graph); i++) {
        const tl_param *param = tl_graph_param(t->graph, i);
        fprintf(file, "%s[\"%s\", %zu, %zu, %d]", i > 0 ? ", " : "", param->name, param->offset,
                param->count, param->role != TL_PARAM_RUNNING);
    }
    fprintf(file, "]}\n");
    return fclose(file) == 0;
}

static tl_status write_first(const training *t, tl_error *err)
{
    char names[512];
    snprintf(names, sizeof names, "%s.json", t->options->output);
    const size_t count = tl_graph_float_count(t->graph);
    FILE *file = fopen(t->options->output, "wb");
    bool good = file != NULL && fwrite(t->grad, sizeof(float), count, file) == count;
    if (file != NULL) good = fclose(file) == 0 && good;
    return good && write_names(t, names)
               ? TL_OK
               : tl_fail(err, TL_EIO, "%s cannot be written", t->options->output);
}

/* ---- Create ---------------------------------------------------------------------------------- */

static tl_status read_classes(training *t, const tl_npy *array, tl_error *err)
{
    t->labels = calloc(t->options->batch, sizeof *t->labels);
    if (t->labels == NULL) return tl_fail(err, TL_ENOMEM, "labels");
    if (array->count < t->options->batch)
        return tl_fail(err, TL_ESHAPE, "%zu labels are too few", array->count);
    for (uint32_t i = 0; i < t->options->batch; i++)
        t->labels[i] = (uint32_t)tl_npy_integer(array, i);
    return TL_OK;
}

/* Rows of item, class, x1, y1, x2, y2, by item. */
static tl_status read_boxes(training *t, const tl_npy *array, tl_error *err)
{
    const size_t count = array->shape[0];
    t->boxes = calloc(count + 1, sizeof *t->boxes);
    t->truths = calloc(t->options->batch, sizeof *t->truths);
    if (t->boxes == NULL || t->truths == NULL) return tl_fail(err, TL_ENOMEM, "boxes");
    for (size_t i = 0; i < count; i++) {
        float row[6];
        for (size_t k = 0; k < 6; k++) row[k] = (float)tl_npy_number(array, 6 * i + k);
        t->boxes[i] =
            (tl_truth){ .box = { row[2], row[3], row[4], row[5] }, .label = (uint32_t)row[1] };
        const uint32_t item = (uint32_t)row[0];
        if (item >= t->options->batch) return tl_fail(err, TL_ESHAPE, "a box of item %u", item);
        if (t->truths[item].count++ == 0) t->truths[item].items = &t->boxes[i];
    }
    tl_yolo_head head;
    tl_status status = tl_yolo_head_of_graph(t->graph, &head, err);
    if (status != TL_OK) return status;
    const tl_yolo_loss_options options = tl_yolo_loss_options_default(&head, t->options->batch);
    return tl_yolo_loss_create(&options, &t->yolo, err);
}

static tl_status load_labels(training *t, tl_error *err)
{
    worker_array labels;
    if (t->options->labels == NULL) return tl_fail(err, TL_EINVAL, "labels are missing");
    tl_status status = worker_array_load(t->options->labels, &labels, err);
    if (status != TL_OK) return status;
    status = labels.array.rank == 1 ? read_classes(t, &labels.array, err)
                                    : read_boxes(t, &labels.array, err);
    free(labels.data);
    return status;
}

static size_t output_floats(const tl_graph *graph)
{
    size_t count = 0;
    for (size_t i = 0; i < tl_graph_output_count(graph); i++)
        count += tl_shape_count(tl_graph_output_shape(graph, i));
    return count;
}

static tl_status prepare(training *t, const worker_network *network, tl_error *err)
{
    const tl_plan_options options = {
        .batch_max = t->options->batch,
        .mode = t->options->frozen ? TL_PLAN_TRAIN_FROZEN : TL_PLAN_TRAIN_LIVE,
        .threads = t->options->threads,
        .precision = t->options->bf16 ? TL_PRECISION_BF16 : TL_PRECISION_FLOAT32,
        .loss_outputs = (uint32_t)tl_graph_output_count(network->graph)
    };
    tl_optimizer_options sgd = tl_optimizer_options_default(TL_OPTIMIZER_SGD);
    sgd.nesterov = false;
    sgd.weight_decay = 0;
    t->graph = network->graph;
    t->flat = network->flat;
    t->grad = calloc(tl_graph_float_count(t->graph), sizeof *t->grad);
    t->output_grad = calloc(t->options->batch * output_floats(t->graph), sizeof *t->output_grad);
    if (t->grad == NULL || t->output_grad == NULL) return tl_fail(err, TL_ENOMEM, "gradients");
    tl_status status = tl_plan_create(t->graph, &options, &t->plan, err);
    if (status == TL_OK) status = tl_optimizer_create(t->graph, &sgd, &t->optimizer, err);
    if (status == TL_OK) status = worker_fill(t->options, network, t->plan, err);
    if (status == TL_OK) status = load_labels(t, err);
    if (status != TL_OK || t->options->output == NULL) return status;
    status = differentiate(t, err);
    if (status == TL_OK) status = write_first(t, err);
    if (status == TL_OK)
        status = tl_optimizer_step(t->optimizer, t->plan, t->flat, t->grad, RATE, err);
    return status;
}

tl_status worker_train(const worker_options *options, tl_error *err)
{
    training t = { .options = options };
    worker_network network = { .graph = NULL };
    tl_status status = worker_network_load(options, &network, err);
    if (status == TL_OK) status = prepare(&t, &network, err);
    if (status == TL_OK) {
        char ready[128];
        snprintf(ready, sizeof ready, "{\"loss\": %.9g, \"plan_bytes\": %zu}", t.loss,
                 tl_plan_bytes(t.plan));
        status = worker_turns(run, &t, ready, err);
    }
    tl_optimizer_destroy(&t.optimizer);
    tl_plan_destroy(&t.plan);
    tl_yolo_loss_destroy(&t.yolo);
    free(t.truths);
    free(t.boxes);
    free(t.labels);
    free(t.output_grad);
    free(t.grad);
    worker_network_close(&network);
    return status;
}

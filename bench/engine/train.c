/* Training steps in turns: forward, loss, backward, one step of SGD with momentum. The loss and the
 * gradients of the first step go into a file for the comparison with the peer: as the flat vector,
 * and a line of JSON "FILE.json" with the loss and the parameters' names and places. */
#include "bench/engine/worker.h"
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
    uint32_t *labels;
    double loss;
} training;

/* ---- A step ---------------------------------------------------------------------------------- */

static tl_status differentiate(training *t, tl_error *err)
{
    const uint32_t batch = t->options->batch;
    const uint32_t classes = tl_shape_channels(tl_graph_output_shape(t->graph, 0));
    const tl_loss_options loss = { .width = classes, .class_count = classes };
    tl_status status = tl_plan_train_forward(t->plan, t->flat, batch, err);
    if (status != TL_OK) return status;
    t->loss = tl_loss_cross_entropy(&loss, tl_plan_output(t->plan, 0), t->labels, NULL, batch, NULL,
                                    t->output_grad);
    return tl_plan_train_backward(t->plan, t->flat, t->output_grad, t->grad, err);
}

static tl_status run(void *context, tl_error *err)
{
    training *t = context;
    tl_status status = differentiate(t, err);
    if (status == TL_OK) status = tl_optimizer_step(t->optimizer, t->flat, t->grad, RATE, err);
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

static tl_status load_labels(training *t, tl_error *err)
{
    worker_array labels;
    if (t->options->labels == NULL) return tl_fail(err, TL_EINVAL, "labels are missing");
    tl_status status = worker_array_load(t->options->labels, &labels, err);
    if (status != TL_OK) return status;
    if (labels.array.count < t->options->batch)
        status =
            tl_fail(err, TL_ESHAPE, "%s has %zu labels", t->options->labels, labels.array.count);
    for (uint32_t i = 0; status == TL_OK && i < t->options->batch; i++)
        t->labels[i] = (uint32_t)tl_npy_integer(&labels.array, i);
    free(labels.data);
    return status;
}

static tl_status prepare(training *t, const worker_network *network, tl_error *err)
{
    const tl_plan_options options = { .batch_max = t->options->batch,
                                      .mode = t->options->frozen ? TL_PLAN_TRAIN_FROZEN
                                                                 : TL_PLAN_TRAIN_LIVE,
                                      .threads = t->options->threads };
    tl_optimizer_options sgd = tl_optimizer_options_default(TL_OPTIMIZER_SGD);
    sgd.nesterov = false;
    sgd.weight_decay = 0;
    t->graph = network->graph;
    t->flat = network->flat;
    t->grad = calloc(tl_graph_float_count(t->graph), sizeof *t->grad);
    t->output_grad = calloc(t->options->batch * tl_shape_count(tl_graph_output_shape(t->graph, 0)),
                            sizeof *t->output_grad);
    t->labels = calloc(t->options->batch, sizeof *t->labels);
    if (t->grad == NULL || t->output_grad == NULL || t->labels == NULL)
        return tl_fail(err, TL_ENOMEM, "gradients");
    tl_status status = tl_plan_create(t->graph, &options, &t->plan, err);
    if (status == TL_OK) status = tl_optimizer_create(t->graph, &sgd, &t->optimizer, err);
    if (status == TL_OK) status = worker_fill(t->options, network, t->plan, err);
    if (status == TL_OK) status = load_labels(t, err);
    if (status != TL_OK || t->options->output == NULL) return status;
    status = differentiate(t, err);
    if (status == TL_OK) status = write_first(t, err);
    if (status == TL_OK) status = tl_optimizer_step(t->optimizer, t->flat, t->grad, RATE, err);
    return status;
}

tl_status worker_train(const worker_options *options, tl_error *err)
{
    training t = { .options = options };
    worker_network network = { .graph = NULL };
    if (options->bf16) return tl_fail(err, TL_EUNSUPPORTED, "bf16 is not to be had");
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
    free(t.labels);
    free(t.output_grad);
    free(t.grad);
    worker_network_close(&network);
    return status;
}

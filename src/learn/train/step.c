#include "learn/train/step.h"

#include "learn/slow/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct tl_step {
    tl_graph *graph;
    tl_step_options options;
    tl_plan *plan;
    tl_yolo_loss *yolo;
    tl_yolo_head head;
    uint32_t width; /* classify: logits */
    size_t float_count, output_count;
    float *grad, *before; /* [float_count] */
    float *output_grad;   /* [batch, output_count] */
    float *losses;        /* [batch] */
};

/* ---- Creation -------------------------------------------------------------------------------- */

static tl_status read_outputs(tl_step *step, tl_error *err)
{
    tl_step_options *o = &step->options;
    if (o->task == TL_TASK_DETECT) {
        tl_status status = tl_yolo_head_of_graph(step->graph, &step->head, err);
        step->output_count = tl_yolo_head_floats(&step->head);
        return status;
    }
    const tl_shape *output = tl_graph_output_shape(step->graph, 0);
    if (output->rank != 1)
        return tl_fail(err, TL_ESHAPE, "the network's first output is not a vector of scores");
    step->width = output->dim[0];
    step->output_count = step->width;
    if (o->class_count == 0) o->class_count = step->width;
    if (o->class_count > step->width || o->class_count > TL_CLASS_COUNT_MAX)
        return tl_fail(err, TL_ESHAPE, "%u classes; the network has %u outputs, of which %d count",
                       o->class_count, step->width, TL_CLASS_COUNT_MAX);
    return TL_OK;
}

static tl_status create_plan(tl_step *step, tl_error *err)
{
    const tl_step_options *o = &step->options;
    const bool detects = o->task == TL_TASK_DETECT;
    const tl_plan_options options = { .batch_max = o->batch,
                                      .mode =
                                          o->live_norm ? TL_PLAN_TRAIN_LIVE : TL_PLAN_TRAIN_FROZEN,
                                      .threads = o->threads,
                                      .precision = o->precision,
                                      .trained_stages = o->trained_stages,
                                      .loss_outputs = detects ? step->head.scale_count : 1,
                                      .only_measure = o->only_measure };
    tl_status status = tl_plan_create(step->graph, &options, &step->plan, err);
    if (status != TL_OK || !detects) return status;
    tl_yolo_loss_options loss = tl_yolo_loss_options_default(&step->head, o->batch);
    if (o->truth_max > 0) loss.truth_max = o->truth_max;
    return tl_yolo_loss_create(&loss, &step->yolo, err);
}

static tl_status allocate(tl_step *step, tl_error *err)
{
    const size_t batch = step->options.batch;
    step->grad = calloc(step->float_count + 1, sizeof(float));
    step->before = calloc(step->float_count + 1, sizeof(float));
    step->output_grad = calloc(batch * step->output_count + 1, sizeof(float));
    step->losses = calloc(batch + 1, sizeof(float));
    bool ok = step->grad != NULL && step->before != NULL && step->output_grad != NULL &&
              step->losses != NULL;
    return ok ? TL_OK
              : tl_fail(err, TL_ENOMEM, "a training step of %zu parameters", step->float_count);
}

tl_status tl_step_create(tl_graph *graph, const tl_step_options *options, tl_step **out,
                         tl_error *err)
{
    if (options->batch < 1 || options->batch > 4096)
        return tl_fail(err, TL_EINVAL, "a training step of %u items; use 1 to 4096",
                       options->batch);
    if (!(options->label_smoothing >= 0.0f && options->label_smoothing < 1.0f))
        return tl_fail(err, TL_EINVAL, "label smoothing must be in [0, 1)");
    tl_step *step = calloc(1, sizeof *step);
    if (step == NULL) return tl_fail(err, TL_ENOMEM, "training step");
    step->graph = graph;
    tl_graph_retain(graph);
    step->options = *options;
    step->float_count = tl_graph_float_count(graph);
    tl_status status = read_outputs(step, err);
    if (status == TL_OK) status = create_plan(step, err);
    if (status == TL_OK) status = allocate(step, err);
    if (status != TL_OK) {
        tl_step_destroy(&step);
        return status;
    }
    *out = step;
    return TL_OK;
}

void tl_step_destroy(tl_step **step)
{
    if (step == NULL || *step == NULL) return;
    tl_step *old = *step;
    tl_plan_destroy(&old->plan);
    tl_yolo_loss_destroy(&old->yolo);
    tl_graph_release(&old->graph);
    free(old->grad);
    free(old->before);
    free(old->output_grad);
    free(old->losses);
    free(old);
    *step = NULL;
}

size_t tl_step_bytes(const tl_step *step)
{
    size_t floats = 2 * step->float_count + step->options.batch * (step->output_count + 1);
    return sizeof *step + tl_plan_bytes(step->plan) + floats * sizeof(float) +
           (step->yolo == NULL ? 0 : tl_yolo_loss_bytes(step->yolo));
}

tl_plan *tl_step_plan(tl_step *step)
{
    return step->plan;
}

tl_status tl_step_check_images(const tl_graph *graph, const tl_pixels_form *form, tl_error *err)
{
    const tl_shape wanted =
        tl_shape_image(form->height, form->width, tl_pixels_input_channels(form));
    if (tl_graph_input_count(graph) == 1 && tl_shape_equal(tl_graph_input_shape(graph, 0), &wanted))
        return TL_OK;
    return tl_fail(err, TL_ESHAPE, "the network does not take images of %u x %u x %u",
                   wanted.dim[0], wanted.dim[1], wanted.dim[2]);
}

bool tl_step_stand_in(tl_step *step, const float *weights)
{
    const size_t count = tl_shape_count(tl_graph_input_shape(step->graph, 0));
    float *input = tl_plan_input(step->plan, 0);
    const uint32_t batch = step->options.batch;
    uint32_t good = 0;
    while (good < batch && !(weights[good] > 0.0f)) good++;
    if (good == batch) return false;
    for (uint32_t i = 0; i < batch; i++)
        if (!(weights[i] > 0.0f))
            memcpy(input + i * count, input + good * count, count * sizeof *input);
    return true;
}

void tl_step_set_class_count(tl_step *step, uint32_t class_count)
{
    TL_ASSERT(class_count <= step->width);
    step->options.class_count = class_count;
}

const float *tl_step_losses(const tl_step *step)
{
    return step->losses;
}

/* ---- Gradient -------------------------------------------------------------------------------- */

static tl_status loss_of_boxes(tl_step *step, const tl_step_targets *targets, tl_step_loss *loss,
                               tl_error *err)
{
    const float *maps[TL_YOLO_SCALE_MAX];
    for (uint32_t s = 0; s < step->head.scale_count; s++) maps[s] = tl_plan_output(step->plan, s);
    tl_status status = tl_yolo_loss_run(step->yolo, maps, step->options.batch, targets->truths,
                                        &loss->parts, step->output_grad, err);
    loss->total = loss->parts.total;
    return status;
}

static tl_status loss_of_labels(tl_step *step, const tl_step_targets *targets, tl_step_loss *loss)
{
    const tl_loss_options options = { .width = step->width,
                                      .class_count = step->options.class_count,
                                      .label_smoothing = step->options.label_smoothing,
                                      .class_weight = step->options.class_weight };
    loss->total = tl_loss_cross_entropy(&options, tl_plan_output(step->plan, 0), targets->labels,
                                        targets->weights, step->options.batch, step->losses,
                                        step->output_grad);
    return TL_OK;
}

tl_status tl_step_gradient(tl_step *step, float *flat, const tl_step_targets *targets,
                           tl_step_loss *loss, tl_error *err)
{
    tl_step_loss result = { .total = 0.0 };
    memcpy(step->before, flat, step->float_count * sizeof *flat);
    tl_status status = tl_plan_train_forward(step->plan, flat, step->options.batch, err);
    if (status == TL_OK)
        status = step->options.task == TL_TASK_DETECT ? loss_of_boxes(step, targets, &result, err)
                                                      : loss_of_labels(step, targets, &result);
    if (status == TL_OK && !isfinite(result.total))
        status = tl_fail(err, TL_EINVAL, "the loss is not finite; lower the learning rate");
    if (status == TL_OK)
        status = tl_plan_train_backward(step->plan, flat, step->output_grad, step->grad, err);
    if (status != TL_OK)
        memcpy(flat, step->before, step->float_count * sizeof *flat);
    else
        *loss = result;
    return status;
}

/* ---- Update ---------------------------------------------------------------------------------- */

/* grad += pull * (flat - start), but for running statistics. */
static void pull_to_start(tl_step *step, const tl_step_update *update, const float *flat)
{
    for (size_t i = 0; i < tl_graph_param_count(step->graph); i++) {
        const tl_param *param = tl_graph_param(step->graph, i);
        if (param->role == TL_PARAM_RUNNING) continue;
        for (size_t k = param->offset; k < param->offset + param->count; k++)
            step->grad[k] += update->pull * (flat[k] - update->start[k]);
    }
}

tl_status tl_step_apply(tl_step *step, const tl_step_update *update, float *flat, tl_error *err)
{
    if (update->start != NULL && update->pull > 0.0f) pull_to_start(step, update, flat);
    tl_status status =
        tl_optimizer_step(update->optimizer, step->plan, flat, step->grad, update->rate, err);
    if (status != TL_OK) {
        memcpy(flat, step->before, step->float_count * sizeof *flat);
        return status;
    }
    if (update->average != NULL)
        tl_average_update(update->average, flat, step->float_count, update->average_decay,
                          update->updates);
    return TL_OK;
}

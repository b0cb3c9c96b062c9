/* step.h - one training step of any network: forward, loss, backward, update. Layer: learn. One
 * owner thread. What trains a network, label by label or in epochs, the last layer or all of it,
 * classes or boxes, goes through here. */
#ifndef TL_LEARN_STEP_H
#define TL_LEARN_STEP_H

#include "learn/detect/yolo_loss.h"
#include "learn/pixels.h"
#include "learn/slow/optimizer.h"

typedef enum tl_task {
    TL_TASK_CLASSIFY, /* output 0 is [classes or more]: softmax cross-entropy */
    TL_TASK_DETECT    /* the first outputs are a YOLOv8 head: its losses */
} tl_task;

typedef struct tl_step_options {
    tl_task task;
    uint32_t batch;
    bool live_norm; /* batch normalisation by batch statistics, which move the running ones */
    uint32_t threads;
    tl_precision precision;    /* as tl_plan_options; 0 is float32 */
    uint32_t trained_stages;   /* as tl_plan_options; with 1 a head learns on a frozen backbone */
    uint32_t class_count;      /* classify: classes that exist; 0: all outputs */
    float label_smoothing;     /* classify */
    const float *class_weight; /* classify: [class_count] or NULL; borrowed while the step lives */
    uint32_t truth_max;        /* detect: boxes an image; 0: 1,024 */
    bool only_measure;         /* for tl_step_bytes, as tl_plan_options; no step can be made */
} tl_step_options;

typedef struct tl_step tl_step;

/* Compile the plan and allocate everything. TL_EINVAL, TL_ESHAPE (the outputs do not fit the task),
 * TL_ENOMEM, TL_EUNSUPPORTED. */
tl_status tl_step_create(tl_graph *graph, const tl_step_options *options, tl_step **out,
                         tl_error *err);
void tl_step_destroy(tl_step **step); /* NULL-safe */
size_t tl_step_bytes(const tl_step *step);
tl_plan *tl_step_plan(tl_step *step);
/* TL_ESHAPE: the graph's one input is not what images of `form` give. */
tl_status tl_step_check_images(const tl_graph *graph, const tl_pixels_form *form, tl_error *err);
/* Rows of the batch of weight 0 get the input of the first other one, so that batch statistics are
 * of items only. False: all weights are 0. */
bool tl_step_stand_in(tl_step *step, const float *weights);
/* More classes, at most the outputs (asserted). */
void tl_step_set_class_count(tl_step *step, uint32_t class_count);

/* What the batch is to learn; [batch] each. Borrowed. */
typedef struct tl_step_targets {
    const uint32_t *labels;  /* classify */
    const float *weights;    /* classify: or NULL; 0 leaves an item out */
    const tl_truths *truths; /* detect */
} tl_step_targets;

typedef struct tl_step_loss {
    double total;        /* mean of the batch */
    tl_yolo_parts parts; /* detect */
} tl_step_loss;

/* Forward, loss, backward of what lies in input 0 of the plan, with `flat`
 * [tl_graph_float_count], whose running statistics may move. TL_EINVAL: the loss is not finite, or
 * a target is out of range; `flat` is then as it was. */
tl_status tl_step_gradient(tl_step *step, float *flat, const tl_step_targets *targets,
                           tl_step_loss *loss, tl_error *err);
/* Each item's own loss in the last batch, [batch]; classify. Borrowed until the next. */
const float *tl_step_losses(const tl_step *step);

/* How the gradient moves the weights. */
typedef struct tl_step_update {
    tl_optimizer *optimizer;
    double rate;
    const float *start; /* NULL, or weights that `pull` draws towards (L2-SP: Li, Grandvalet and
                           Davoine, "Explicit Inductive Bias for Transfer Learning", 2018) */
    float pull;
    float *average; /* NULL, or moved by tl_average_update */
    double average_decay;
    uint64_t updates; /* of the average before this one */
} tl_step_update;

/* Apply the gradient of the last tl_step_gradient to `flat`. TL_EINVAL: it is not finite; `flat` is
 * then as it was before that call, running statistics included. */
tl_status tl_step_apply(tl_step *step, const tl_step_update *update, float *flat, tl_error *err);

#endif

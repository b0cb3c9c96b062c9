/* train.h - the two kinds of `tightloop train`, and what they share. Layer: cli. */
#ifndef TL_CLI_TRAIN_H
#define TL_CLI_TRAIN_H

#include "learn/detect/detect.h"
#include "learn/train/train.h"

/* What the command was told. */
typedef struct tl_recipe {
    const char *data, *model, *normalisation, *output; /* model, normalisation: or NULL */
    uint64_t side, channels;                           /* 0: the model's */
    uint64_t batch, threads, seed, stages;
    const char *precision; /* "fp32", "bf16" */
    double epochs, rate;
    bool trainable; /* the file keeps what training needs */

    const char *optimiser;                /* "adamw", "sgd" */
    double momentum, decay, clip, warmup; /* decay below 0: the optimiser's own */
    double layer_rate, backbone_rate; /* factors of the rate, as tl_optimizer_options has them */
    double smoothing;                 /* classes */
    const char *class_weights;        /* classes: "even", "balanced" or "NAME=WEIGHT,..." */
    double average, pull, interpolation;
    bool frozen_norm;
    const char *augment; /* NULL, or changes: "none,mirror=0.5" */
} tl_recipe;

typedef struct tl_recipe_result {
    size_t learned, judged; /* images */
    uint64_t right;         /* classes: of judged */
    size_t boxes;           /* boxes: of the judged images */
    tl_detect_quality quality;
    size_t bytes;     /* that training took */
    char about[512];  /* the network, for people */
    char order[1024]; /* classes: their names as the file's outputs have them, for people */
} tl_recipe_result;

/* Train, judge and write the file. `options` are of tl_recipe_options. Errors: those of the data, the
 * model and training. */
tl_status tl_train_classes(const tl_recipe *recipe, const tl_train_options *options,
                           tl_recipe_result *out, tl_error *err);
tl_status tl_train_boxes(const tl_recipe *recipe, const tl_train_options *options,
                         tl_recipe_result *out, tl_error *err);

/* ---- Shared ---------------------------------------------------------------------------------- */

/* What the recipe says of training, over the task's defaults; form, items and classes are the
 * caller's. TL_EINVAL: a choice that is not known, or is not one of this task. */
tl_status tl_recipe_options(const tl_recipe *recipe, tl_task task, tl_train_options *out,
                            tl_error *err);

/* Train `flat` [tl_graph_float_count] in place, with a bar on a terminal; out->bytes is told. */
tl_status tl_recipe_train(const tl_train_options *options, tl_train_fetch fetch, void *context,
                          tl_graph *graph, float *flat, tl_recipe_result *out, tl_error *err);

/* Say in out->about what is trained. `pixels` names the normalisation, `head` what became of the last
 * layer ("": nothing). */
void tl_recipe_describe(const tl_recipe *recipe, const tl_graph *graph, const char *pixels,
                        const char *head, tl_recipe_result *out);

/* A network as serving runs it, one image at a time. */
typedef struct tl_recipe_judge {
    tl_plan *plan;
    tl_weights *weights;
    tl_augment *fitting; /* nothing random */
} tl_recipe_judge;
tl_status tl_recipe_judge_open(tl_recipe_judge *judge, tl_graph *graph, const float *flat,
                               const tl_pixels_form *form, tl_error *err);
void tl_recipe_judge_close(tl_recipe_judge *judge);
/* Run an image; its boxes in pixels of the input (`truths` may be NULL) are borrowed until the next.
 */
tl_status tl_recipe_judge_run(tl_recipe_judge *judge, const tl_augment_source *source,
                              tl_truths *truths, tl_error *err);

/* Write the file, with what is needed to use it: the names of the classes (`name` of `context` gives
 * them), and mean and deviation of pixels. */
tl_status tl_recipe_export(const tl_recipe *recipe, const tl_pixels_form *form,
                           uint32_t class_count,
                           const char *(*name)(const void *context, uint32_t label),
                           const void *context, const tl_graph *graph, const float *flat,
                           tl_error *err);

#endif

/* train_recipe.c - what training classes and training boxes share. */
#include "base/text.h"
#include "cli/commands/train.h"
#include "cli/options.h"
#include "cli/terminal/progress.h"
#include "format/json.h"
#include "graph/onnx.h"
#include "networks/networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool on_step(void *context, const tl_train_progress *now)
{
    tl_progress_show(context, now->step, now->steps);
    return true;
}

/* ---- Options --------------------------------------------------------------------------------- */

/* One change, NAME=NUMBER. */
static tl_status change_augment(const char *word, tl_augment_options *out, tl_error *err)
{
    const struct {
        const char *name;
        float *number;
        double high;
    } KNOWN[] = { { "mirror", &out->mirror_chance, 1.0 },  { "flip", &out->flip_chance, 1.0 },
                  { "scale", &out->scale, 0.95 },          { "shift", &out->translate, 1.0 },
                  { "rotate", &out->rotate, 180.0 },       { "hue", &out->hue, 1.0 },
                  { "saturation", &out->saturation, 1.0 }, { "value", &out->value, 1.0 },
                  { "brightness", &out->brightness, 1.0 }, { "contrast", &out->contrast, 1.0 },
                  { "erase", &out->erase_chance, 1.0 },    { "mosaic", &out->mosaic_chance, 1.0 } };
    const char *names[TL_COUNT_OF(KNOWN)];
    const size_t length = strcspn(word, "=");
    for (size_t i = 0; i < TL_COUNT_OF(KNOWN); i++) {
        names[i] = KNOWN[i].name;
        if (strlen(names[i]) != length || strncmp(word, names[i], length) != 0) continue;
        const char *text = word[length] == '=' ? word + length + 1 : "";
        double number;
        if (!tl_json_parse_number(text, strlen(text), &number) || number < 0.0 ||
            number > KNOWN[i].high)
            return tl_fail(err, TL_EINVAL, "--augment: %s takes a number from 0 to %g, as in %s=%g",
                           names[i], KNOWN[i].high, names[i], KNOWN[i].high / 2);
        *KNOWN[i].number = (float)number;
        return TL_OK;
    }
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)(length < 31 ? length : 31), word);
    const char *near = tl_nearest(name, names, TL_COUNT_OF(names));
    return tl_fail(err, TL_EINVAL,
                   "--augment: \"%.40s\" is none of none, symmetries, mirror, flip, scale, shift, "
                   "rotate, hue, saturation, value, brightness, contrast, erase, mosaic%s%s%s",
                   word, near == NULL ? "" : "; did you mean ", near == NULL ? "" : near,
                   near == NULL ? "" : "?");
}

static tl_status choose_augment(const char *text, tl_task task, tl_augment_options *out,
                                tl_error *err)
{
    char *copy = strdup(text), *rest = NULL;
    tl_status status = copy == NULL ? tl_fail(err, TL_ENOMEM, "--augment") : TL_OK;
    for (char *word = copy == NULL ? NULL : strtok_r(copy, ",", &rest);
         word != NULL && status == TL_OK; word = strtok_r(NULL, ",", &rest)) {
        if (strcmp(word, "none") == 0)
            *out = tl_augment_options_none();
        else if (strcmp(word, "symmetries") == 0)
            out->symmetries = true;
        else
            status = change_augment(word, out, err);
    }
    free(copy);
    if (status == TL_OK && task == TL_TASK_CLASSIFY && out->mosaic_chance > 0.0f)
        status = tl_fail(err, TL_EINVAL, "--augment: mosaic is for boxes; an image has one class");
    return status;
}

tl_status tl_recipe_options(const tl_recipe *recipe, tl_task task, tl_train_options *out,
                            tl_error *err)
{
    const bool sgd = strcmp(recipe->optimiser, "sgd") == 0;
    tl_train_options o = tl_train_options_default(task);
    if (task == TL_TASK_DETECT &&
        (recipe->smoothing > 0.0 || strcmp(recipe->class_weights, "even") != 0))
        return tl_fail(err, TL_EINVAL,
                       "--smoothing and --class-weights are for classes, not boxes");
    o.optimizer = tl_optimizer_options_default(sgd ? TL_OPTIMIZER_SGD : TL_OPTIMIZER_ADAMW);
    if (sgd) o.optimizer.momentum = (float)recipe->momentum;
    if (recipe->decay >= 0.0) o.optimizer.weight_decay = (float)recipe->decay;
    o.optimizer.clip_norm = (float)recipe->clip;
    o.optimizer.stage_factor = (float)recipe->layer_rate;
    o.optimizer.backbone_factor = (float)recipe->backbone_rate;
    o.optimizer.trained_stages = (uint32_t)recipe->stages;
    o.epochs = recipe->epochs;
    o.rate = recipe->rate;
    o.warmup_share = recipe->warmup;
    o.batch = (uint32_t)recipe->batch;
    o.threads = (uint32_t)recipe->threads;
    o.precision = strcmp(recipe->precision, "bf16") == 0 ? TL_PRECISION_BF16 : TL_PRECISION_FLOAT32;
    o.seed = recipe->seed;
    o.live_norm = !recipe->frozen_norm;
    o.label_smoothing = (float)recipe->smoothing;
    o.average_decay = recipe->average;
    o.l2_to_start = (float)recipe->pull;
    o.interpolation = recipe->interpolation;
    *out = o;
    return recipe->augment == NULL ? TL_OK
                                   : choose_augment(recipe->augment, task, &out->augment, err);
}

tl_status tl_recipe_train(const tl_train_options *options, tl_train_fetch fetch, void *context,
                          tl_graph *graph, float *flat, tl_recipe_result *out, tl_error *err)
{
    tl_train *train = NULL;
    tl_progress progress;
    tl_status status = tl_train_create(graph, flat, options, fetch, context, &train, err);
    if (status != TL_OK) return status;
    out->bytes = tl_train_bytes(train);
    tl_progress_begin(&progress, "Training");
    status = tl_train_run(train, on_step, &progress, err);
    tl_progress_end(&progress);
    if (status == TL_OK) tl_train_result(train, flat);
    tl_train_destroy(&train);
    return status;
}

void tl_recipe_describe(const tl_recipe *recipe, const tl_graph *graph, const char *pixels,
                        const char *head, tl_recipe_result *out)
{
    const tl_shape *input = tl_graph_input_shape(graph, 0);
    const bool given = recipe->normalisation != NULL || tl_network_find(recipe->model) != NULL;
    snprintf(out->about, sizeof out->about,
             "%zu parameters, images of %ux%u in %u planes, pixels as %s%s%s",
             tl_graph_float_count(graph), input->dim[0], input->dim[1], input->dim[2], pixels,
             given ? "" : " (a guess: check it against how it was trained)", head);
}

/* ---- Judging --------------------------------------------------------------------------------- */

tl_status tl_recipe_judge_open(tl_recipe_judge *judge, tl_graph *graph, const float *flat,
                               const tl_pixels_form *form, tl_error *err)
{
    const tl_plan_options options = { .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1 };
    const tl_augment_options none = tl_augment_options_none();
    const size_t truth_max = tl_train_options_default(TL_TASK_DETECT).truth_max;
    *judge = (tl_recipe_judge){ .plan = NULL };
    tl_status status = tl_plan_create(graph, &options, &judge->plan, err);
    if (status == TL_OK) status = tl_weights_create(graph, flat, &judge->weights, err);
    if (status == TL_OK) status = tl_augment_create(form, &none, truth_max, &judge->fitting, err);
    if (status != TL_OK) tl_recipe_judge_close(judge);
    return status;
}

void tl_recipe_judge_close(tl_recipe_judge *judge)
{
    tl_plan_destroy(&judge->plan);
    tl_weights_release(&judge->weights);
    tl_augment_destroy(&judge->fitting);
}

tl_status tl_recipe_judge_run(tl_recipe_judge *judge, const tl_augment_source *source,
                              tl_truths *truths, tl_error *err)
{
    tl_rng rng;
    tl_rng_seed(&rng, 0, 0);
    tl_augment_begin(judge->fitting, &rng);
    tl_augment_add(judge->fitting, source);
    tl_augment_finish(judge->fitting, tl_plan_input(judge->plan, 0), truths);
    return tl_plan_infer(judge->plan, judge->weights, 1, err);
}

/* ---- The file -------------------------------------------------------------------------------- */

static void join_names(uint32_t count, const char *(*name)(const void *context, uint32_t label),
                       const void *context, tl_text *out)
{
    for (uint32_t c = 0; c < count; c++)
        tl_text_printf(out, "%s%s", c == 0 ? "" : ",", name(context, c));
}

tl_status tl_recipe_export(const tl_recipe *recipe, const tl_pixels_form *form,
                           uint32_t class_count,
                           const char *(*name)(const void *context, uint32_t label),
                           const void *context, const tl_graph *graph, const float *flat,
                           tl_error *err)
{
    char mean[96] = "127.5,127.5,127.5", std[96] = "127.5,127.5,127.5";
    const float *m = form->mean, *s = form->std;
    if (s[0] > 0.0f) {
        snprintf(mean, sizeof mean, "%g,%g,%g", (double)m[0], (double)m[1], (double)m[2]);
        snprintf(std, sizeof std, "%g,%g,%g", (double)s[0], (double)s[1], (double)s[2]);
    }
    tl_text names;
    tl_text_init(&names, 1 << 20);
    join_names(class_count, name, context, &names);
    const tl_onnx_entry entries[] = { { "classes", names.bytes > 0 ? names.data : "" },
                                      { "mean", mean },
                                      { "std", std } };
    const tl_onnx_export_options file = { .trainable = recipe->trainable,
                                          .metadata = entries,
                                          .metadata_count = TL_COUNT_OF(entries) };
    tl_status status = tl_onnx_export_file(graph, flat, &file, recipe->output, err);
    tl_text_destroy(&names);
    return status;
}

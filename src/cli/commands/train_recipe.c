/* train_recipe.c - what training classes and training boxes share. */
#include "base/text.h"
#include "cli/commands/train.h"
#include "cli/terminal/progress.h"
#include "graph/onnx.h"
#include "networks/networks.h"

#include <stdio.h>

static bool on_step(void *context, const tl_train_progress *now)
{
    tl_progress_show(context, now->step, now->steps);
    return true;
}

tl_status tl_recipe_train(const tl_recipe *recipe, tl_task task, const tl_pixels_form *form,
                          uint32_t class_count, size_t count, tl_train_fetch fetch, void *context,
                          tl_graph *graph, float *flat, tl_error *err)
{
    tl_train_options wanted = tl_train_options_default(task);
    wanted.form = *form;
    wanted.count = count;
    wanted.class_count = class_count;
    wanted.epochs = recipe->epochs;
    wanted.rate = recipe->rate;
    wanted.batch = (uint32_t)recipe->batch;
    wanted.threads = (uint32_t)recipe->threads;
    wanted.seed = recipe->seed;
    wanted.optimizer.trained_stages = (uint32_t)recipe->stages;
    tl_train *train = NULL;
    tl_progress progress;
    tl_status status = tl_train_create(graph, flat, &wanted, fetch, context, &train, err);
    if (status != TL_OK) return status;
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

/* export_tool MODEL SIDE CLASSES FOLDER - writes a network as ONNX files, and what the engine makes
 * of a batch of random items, for export_test.py.
 *
 * MODEL is a built-in network, which learns for some steps first, or an ONNX file (SIDE is for dynamic
 * sizes, CLASSES not used). Written are
 * trained.onnx, served.onnx, input0.f32 and output0.f32 ... (raw, as the engine has them: images
 * [batch, h, w, c]). The trained file is imported again and must give the same bits. */
#include "base/rng.h"
#include "format/file.h"
#include "graph/onnx.h"
#include "learn/train/step.h"
#include "networks/networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2, TRAIN_BATCH = 4, STEPS = 3, SCALES = 3, PATH_BYTES = 4096 };

static const double RATE = 0.01;

static void must(tl_status status, const tl_error *err)
{
    if (status == TL_OK) return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static void write_floats(const char *folder, const char *kind, size_t index, const float *values,
                         size_t count)
{
    char path[PATH_BYTES];
    tl_error err;
    snprintf(path, sizeof path, "%s/%s%zu.f32", folder, kind, index);
    must(tl_file_write(path, values, count * sizeof *values, &err), &err);
}

/* Some items with labels, or with boxes: what they are does not matter. */
static void step_once(tl_step *step, tl_optimizer *optimizer, uint32_t class_count, uint32_t side,
                      size_t numbers, tl_rng *rng, float *flat)
{
    tl_error err;
    uint32_t labels[TRAIN_BATCH];
    tl_truth boxes[TRAIN_BATCH][SCALES];
    tl_truths truths[TRAIN_BATCH];
    float *input = tl_plan_input(tl_step_plan(step), 0);
    for (size_t k = 0; k < TRAIN_BATCH * numbers; k++) input[k] = (float)tl_rng_normal(rng);
    for (uint32_t i = 0; i < TRAIN_BATCH; i++) {
        labels[i] = i % class_count;
        for (int k = 0; k < SCALES; k++) { /* one for each of a detector's maps */
            const float far = (float)side * (float)(1 << k) / (1 << (SCALES - 1));
            boxes[i][k] = (tl_truth){ { 0.0f, 0.0f, far, far }, labels[i] };
        }
        truths[i] = (tl_truths){ boxes[i], SCALES };
    }
    const tl_step_targets targets = { .labels = labels, .truths = truths };
    const tl_step_update update = { .optimizer = optimizer, .rate = RATE };
    tl_step_loss loss;
    must(tl_step_gradient(step, flat, &targets, &loss, &err), &err);
    must(tl_step_apply(step, &update, flat, &err), &err);
}

/* What a network gives that nobody trained would hide a wrong statistic or weight. A detector learns in
 * its form for training, whose numbers are the first of those for serving. */
static void train(const tl_network *network, const tl_network_options *made, float *flat)
{
    tl_error err;
    tl_graph *graph = NULL;
    tl_step *step = NULL;
    tl_optimizer *optimizer = NULL;
    tl_network_options options = *made;
    options.form = TL_NETWORK_TRAIN;
    must(tl_network_create(network, &options, &graph, NULL, &err), &err);
    const tl_optimizer_options sgd = tl_optimizer_options_default(TL_OPTIMIZER_SGD);
    const bool detects = network->task == TL_NETWORK_DETECT;
    const tl_step_options how = { .task = detects ? TL_TASK_DETECT : TL_TASK_CLASSIFY,
                                  .batch = TRAIN_BATCH,
                                  .live_norm = true,
                                  .threads = 1 };
    must(tl_step_create(graph, &how, &step, &err), &err);
    must(tl_optimizer_create(graph, &sgd, &optimizer, &err), &err);
    tl_rng rng;
    tl_rng_seed(&rng, 11, 0);
    for (int i = 0; i < STEPS; i++)
        step_once(step, optimizer, options.class_count, options.height,
                  tl_shape_count(tl_graph_input_shape(graph, 0)), &rng, flat);
    tl_optimizer_destroy(&optimizer);
    tl_step_destroy(&step);
    tl_graph_release(&graph);
}

/* Nearly all must have moved: else nothing trained is compared. (A detector's constants do not, nor the
 * boxes of a map that no box was assigned to.) */
static void check_trained(const tl_graph *graph, const float *before, const float *after)
{
    const size_t count = tl_graph_param_count(graph);
    size_t moved = 0;
    for (size_t i = 0; i < count; i++) {
        const tl_param *param = tl_graph_param(graph, i);
        const size_t at = param->offset, bytes = param->count * sizeof *before;
        moved += memcmp(before + at, after + at, bytes) != 0;
    }
    if (10 * moved >= 9 * count) return;
    fprintf(stderr, "only %zu of %zu parameters learned\n", moved, count);
    exit(1);
}

static void read_network(char **words, tl_graph **graph, float **flat)
{
    tl_error err;
    const tl_network *network = tl_network_find(words[1]);
    if (network == NULL) {
        const tl_onnx_options options = { .height = (uint32_t)atoi(words[2]),
                                          .width = (uint32_t)atoi(words[2]) };
        must(tl_onnx_import_file(words[1], &options, graph, flat, &err), &err);
        return;
    }
    const tl_network_options options = { .height = (uint32_t)atoi(words[2]),
                                         .width = (uint32_t)atoi(words[2]),
                                         .class_count = (uint32_t)atoi(words[3]),
                                         .seed = 7 };
    must(tl_network_create(network, &options, graph, flat, &err), &err);
    const size_t bytes = tl_graph_float_count(*graph) * sizeof **flat;
    float *before = malloc(bytes);
    if (before == NULL) exit(1);
    memcpy(before, *flat, bytes);
    train(network, &options, *flat);
    check_trained(*graph, before, *flat);
    free(before);
}

/* Run a batch; outputs one after the other, the caller's. */
static float *run(tl_graph *graph, const float *flat, const char *folder, size_t *count)
{
    tl_weights *weights = NULL;
    tl_plan *plan = NULL;
    tl_error err;
    const tl_plan_options options = { .batch_max = BATCH, .mode = TL_PLAN_INFER, .threads = 1 };
    must(tl_weights_create(graph, flat, &weights, &err), &err);
    must(tl_plan_create(graph, &options, &plan, &err), &err);
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    for (size_t i = 0; i < tl_graph_input_count(graph); i++) {
        const size_t numbers = BATCH * tl_shape_count(tl_graph_input_shape(graph, i));
        for (size_t k = 0; k < numbers; k++) tl_plan_input(plan, i)[k] = (float)tl_rng_normal(&rng);
        if (folder != NULL) write_floats(folder, "input", i, tl_plan_input(plan, i), numbers);
    }
    must(tl_plan_infer(plan, weights, BATCH, &err), &err);
    float *all = NULL;
    *count = 0;
    for (size_t i = 0; i < tl_graph_output_count(graph); i++) {
        const size_t numbers = BATCH * tl_shape_count(tl_graph_output_shape(graph, i));
        all = realloc(all, (*count + numbers) * sizeof *all);
        if (all == NULL) exit(1);
        memcpy(all + *count, tl_plan_output(plan, i), numbers * sizeof *all);
        *count += numbers;
        if (folder != NULL) write_floats(folder, "output", i, tl_plan_output(plan, i), numbers);
    }
    tl_plan_destroy(&plan);
    tl_weights_release(&weights);
    return all;
}

/* The file that was trained imports again: as the same graph with the same results. */
static void check_again(const char *path, const float *wanted, size_t wanted_count)
{
    tl_graph *graph = NULL;
    float *flat = NULL;
    tl_error err;
    size_t count;
    must(tl_onnx_import_file(path, NULL, &graph, &flat, &err), &err);
    float *got = run(graph, flat, NULL, &count);
    if (count != wanted_count || memcmp(got, wanted, count * sizeof *got) != 0) {
        fprintf(stderr, "%s: imported again it does not give the same bits\n", path);
        exit(1);
    }
    free(got);
    free(flat);
    tl_graph_release(&graph);
}

int main(int count, char **words)
{
    if (count != 5) return 2;
    tl_graph *graph = NULL;
    float *flat = NULL;
    tl_error err;
    char path[PATH_BYTES];
    size_t numbers;
    static const char *const outputs[] = { "scores", "scores2", "scores3", "scores4" };
    static const tl_onnx_entry entries[] = { { "classes", "ok,open,short" } };
    read_network(words, &graph, &flat);
    if (tl_graph_output_count(graph) > TL_COUNT_OF(outputs)) return 2;
    float *wanted = run(graph, flat, words[4], &numbers);
    tl_onnx_export_options options = {
        .output_names = outputs, .version = 3, .metadata = entries, .metadata_count = 1
    };
    snprintf(path, sizeof path, "%s/served.onnx", words[4]);
    must(tl_onnx_export_file(graph, flat, &options, path, &err), &err);
    options.trainable = true;
    snprintf(path, sizeof path, "%s/trained.onnx", words[4]);
    must(tl_onnx_export_file(graph, flat, &options, path, &err), &err);
    check_again(path, wanted, numbers);
    free(wanted);
    free(flat);
    tl_graph_release(&graph);
    return 0;
}

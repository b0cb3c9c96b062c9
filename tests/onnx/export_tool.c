/* export_tool MODEL SIDE CLASSES FOLDER - writes a network as ONNX files, and what the engine makes
 * of a batch of random items, for export_test.py.
 *
 * MODEL is a built-in network or an ONNX file (SIDE is for dynamic sizes, CLASSES not used). Written are
 * trained.onnx, served.onnx, input0.f32 and output0.f32 ... (raw, as the engine has them: images
 * [batch, h, w, c]). The trained file is imported again and must give the same bits. */
#include "base/rng.h"
#include "format/file.h"
#include "graph/onnx.h"
#include "networks/networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2, PATH_BYTES = 4096 };

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

/* Networks that nobody trained have statistics 0 and 1, which would hide a wrong one. */
static void disturb(const tl_graph *graph, float *flat)
{
    tl_rng rng;
    tl_rng_seed(&rng, 11, 0);
    for (size_t i = 0; i < tl_graph_param_count(graph); i++) {
        const tl_param *param = tl_graph_param(graph, i);
        const bool variance = strstr(param->name, "running_var") != NULL;
        if (!variance && strstr(param->name, "running_mean") == NULL) continue;
        for (size_t k = 0; k < param->count; k++) {
            const float noise = (float)(0.1 * tl_rng_normal(&rng));
            flat[param->offset + k] += variance ? noise * noise : noise;
        }
    }
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
    disturb(*graph, *flat);
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

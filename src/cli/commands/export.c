#include "cli/commands/export.h"

#include "cli/options.h"
#include "graph/onnx.h"
#include "networks/networks.h"

#include <stdio.h>
#include <stdlib.h>

enum { NETWORKS_MAX = 64, NUMBERS_BYTES = 96 };

static tl_status find_network(const char *name, const tl_network **out, tl_error *err)
{
    *out = tl_network_find(name);
    if (*out != NULL) return TL_OK;
    const char *names[NETWORKS_MAX];
    size_t count = 0;
    for (; count < NETWORKS_MAX && tl_network_at(count) != NULL; count++)
        names[count] = tl_network_at(count)->name;
    const char *nearest = tl_nearest(name, names, count);
    return tl_fail(err, TL_ENOTFOUND,
                   "there is no built-in network \"%.40s\"%s%s; see 'tightloop models'", name,
                   nearest == NULL ? "" : ", did you mean ", nearest == NULL ? "" : nearest);
}

static void three_numbers(const float numbers[3], char out[NUMBERS_BYTES])
{
    snprintf(out, NUMBERS_BYTES, "%g,%g,%g", (double)numbers[0], (double)numbers[1],
             (double)numbers[2]);
}

tl_status tl_export_network_file(const tl_export_network *options, tl_error *err)
{
    const tl_network *network = NULL;
    tl_graph *graph = NULL;
    float *flat = NULL;
    tl_status status = find_network(options->model, &network, err);
    if (status != TL_OK) return status;
    const tl_network_options wanted = { .height = (uint32_t)options->size,
                                        .width = (uint32_t)options->size,
                                        .class_count = (uint32_t)options->classes,
                                        .seed = options->seed };
    status = tl_network_create(network, &wanted, &graph, &flat, err);
    if (status != TL_OK) return status;
    char mean[NUMBERS_BYTES], std[NUMBERS_BYTES];
    three_numbers(network->mean, mean);
    three_numbers(network->std, std);
    const tl_onnx_entry entries[] = { { "network", network->name },
                                      { "mean", mean },
                                      { "std", std } };
    const tl_onnx_export_options file = { .trainable = options->trainable,
                                          .name = network->name,
                                          .metadata = entries,
                                          .metadata_count = TL_COUNT_OF(entries) };
    status = tl_onnx_export_file(graph, flat, &file, options->path, err);
    free(flat);
    tl_graph_release(&graph);
    return status;
}

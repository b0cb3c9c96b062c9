#include "loop/version/export.h"

#include "graph/onnx.h"
#include "loop/version/network.h"
#include "loop/version/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES_MAX = 5, NUMBERS_BYTES = 96 };

/* A version's record; TL_ENOTFOUND without weights. */
static tl_status find(tl_journal_reader *reader, uint32_t loop, uint64_t number, tl_arena *arena,
                      tl_record *out, tl_error *err)
{
    tl_status status = tl_journal_find_version(reader, loop, number, arena, out, err);
    if (status == TL_ENOTFOUND)
        return tl_fail(err, status, "there is no version %llu; see 'tightloop versions'",
                       (unsigned long long)number);
    if (status == TL_OK && out->as.version.weights == NULL)
        status = tl_fail(err, TL_ENOTFOUND, "the weights of version %llu are not kept",
                         (unsigned long long)number);
    return status;
}

/* The graph; where it came from a file, of the copy that the journal has. */
static tl_status make_graph(tl_journal_reader *reader, uint32_t loop, const tl_loop_config *config,
                            tl_arena *arena, tl_graph **graph, tl_error *err)
{
    tl_record record = { .position = 0 };
    float *flat = NULL;
    tl_status status = TL_OK;
    if (tl_network_from_file(config))
        status = find(reader, loop, TL_NETWORK_VERSION, arena, &record, err);
    if (status == TL_OK)
        status = tl_network_make(config, record.as.version.weights, record.as.version.weights_bytes,
                                 graph, &flat, NULL, err);
    free(flat);
    return status;
}

static void three_numbers(const float numbers[3], char out[NUMBERS_BYTES])
{
    snprintf(out, NUMBERS_BYTES, "%g,%g,%g", (double)numbers[0], (double)numbers[1],
             (double)numbers[2]);
}

static tl_status write_file(tl_graph *graph, const tl_version *version,
                            const tl_loop_config *config, const tl_version_export_options *options,
                            const char *path, tl_error *err)
{
    char number[24], mean[NUMBERS_BYTES], std[NUMBERS_BYTES];
    tl_text classes;
    tl_text_init(&classes, 1 << 20);
    for (size_t i = 0; i < options->class_count; i++)
        tl_text_printf(&classes, "%s%s", i == 0 ? "" : ",", options->classes[i]);
    snprintf(number, sizeof number, "%llu", (unsigned long long)options->version);
    tl_onnx_entry entries[ENTRIES_MAX] = { { "loop", config->info.name },
                                           { "version", number },
                                           { "classes", classes.data } };
    size_t count = 3;
    if (config->info.input == TL_INPUT_IMAGE) {
        static const float symmetric[3] = { 127.5f, 127.5f, 127.5f };
        const tl_pixels_form form = tl_items_pixels_form(config);
        three_numbers(form.std[0] == 0.0f ? symmetric : form.mean, mean);
        three_numbers(form.std[0] == 0.0f ? symmetric : form.std, std);
        entries[count++] = (tl_onnx_entry){ "mean", mean };
        entries[count++] = (tl_onnx_entry){ "std", std };
    }
    const tl_onnx_export_options file = { .trainable = options->trainable,
                                          .name = config->info.name,
                                          .version = (int64_t)options->version,
                                          .metadata = entries,
                                          .metadata_count = count };
    tl_status status =
        tl_text_ok(&classes)
            ? tl_onnx_export_file(graph, tl_weights_flat(version->weights), &file, path, err)
            : tl_fail(err, TL_ENOMEM, "names of classes");
    tl_text_destroy(&classes);
    return status;
}

tl_status tl_version_export(tl_journal_reader *reader, uint32_t loop, const tl_loop_config *config,
                            const tl_version_export_options *options, const char *path,
                            tl_error *err)
{
    tl_arena arena;
    tl_arena_init(&arena, 4 * (size_t)TL_MODEL_BYTES_MAX);
    tl_graph *graph = NULL;
    tl_version *version = NULL;
    tl_record record;
    tl_status status = TL_OK;
    if (options->version == TL_NETWORK_VERSION)
        status = tl_fail(err, TL_ENOTFOUND, "versions count from 1");
    if (status == TL_OK) status = make_graph(reader, loop, config, &arena, &graph, err);
    if (status == TL_OK) status = find(reader, loop, options->version, &arena, &record, err);
    if (status == TL_OK)
        status = tl_version_load(graph, record.as.version.weights, record.as.version.weights_bytes,
                                 &version, err);
    if (status == TL_OK) status = write_file(graph, version, config, options, path, err);
    if (version != NULL) tl_version_destroy(&version);
    if (graph != NULL) tl_graph_release(&graph);
    tl_arena_destroy(&arena);
    return status;
}

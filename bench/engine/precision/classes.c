/* A classifier of patches of boards in float32 and in bf16, on the patches that were kept out: how
 * often each is right, and how often both say the same.
 *   usage: bench_precision_classes DATA MODEL.onnx NORMALISATION
 * Prints a line of JSON; bench/engine/agreement.py runs it. */
#include "cli/data/dataset.h"
#include "graph/onnx.h"
#include "learn/pixels.h"

#include <stdio.h>
#include <stdlib.h>

enum { PATCH_SIDE = 64, ALIGN_PIXELS = 6 }; /* as `tightloop train` does */

static const tl_precision PRECISIONS[] = { TL_PRECISION_FLOAT32, TL_PRECISION_BF16 };
enum { COUNT = TL_COUNT_OF(PRECISIONS) };

typedef struct network {
    tl_graph *graph;
    float *flat;
    tl_weights *weights;
    tl_plan *plans[COUNT];
    size_t classes;
} network;

static tl_status load(const char *path, network *n, tl_error *err)
{
    tl_status status = tl_onnx_import_file(path, NULL, &n->graph, &n->flat, err);
    if (status == TL_OK) status = tl_weights_create(n->graph, n->flat, &n->weights, err);
    for (size_t p = 0; p < COUNT && status == TL_OK; p++) {
        const tl_plan_options options = {
            .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1, .precision = PRECISIONS[p]
        };
        status = tl_plan_create(n->graph, &options, &n->plans[p], err);
    }
    if (status == TL_OK) n->classes = tl_shape_count(tl_graph_output_shape(n->graph, 0));
    return status;
}

static void release(network *n)
{
    for (size_t p = 0; p < COUNT; p++) tl_plan_destroy(&n->plans[p]);
    tl_weights_release(&n->weights);
    tl_graph_release(&n->graph);
    free(n->flat);
}

static tl_status best(network *n, size_t which, const uint8_t *image, const uint8_t *reference,
                      const tl_pixels_form *form, size_t *out, tl_error *err)
{
    tl_plan *plan = n->plans[which];
    tl_pixels_convert(form, image, reference, 0, tl_plan_input(plan, 0));
    tl_status status = tl_plan_infer(plan, n->weights, 1, err);
    const float *scores = tl_plan_output(plan, 0);
    *out = 0;
    for (size_t c = 1; c < n->classes; c++)
        if (scores[c] > scores[*out]) *out = c;
    return status;
}

typedef struct counts {
    size_t judged, same, right[COUNT];
} counts;

static tl_status judge(tl_dataset *data, network *n, const tl_pixels_form *form, counts *out,
                       tl_error *err)
{
    uint8_t image[PATCH_SIDE * PATCH_SIDE], reference[PATCH_SIDE * PATCH_SIDE];
    tl_dataset_info info;
    tl_status status = TL_OK;
    tl_dataset_describe(data, &info);
    for (size_t i = 0; i < info.count && status == TL_OK; i++) {
        tl_dataset_item item;
        size_t said[COUNT] = { 0 };
        tl_dataset_item_at(data, i, &item);
        if (!item.held_out) continue;
        status = tl_dataset_pixels(data, i, image, reference, err);
        for (size_t p = 0; p < COUNT && status == TL_OK; p++) {
            status = best(n, p, image, reference, form, &said[p], err);
            out->right[p] += said[p] == item.label;
        }
        out->judged++;
        out->same += said[0] == said[1];
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: bench_precision_classes DATA MODEL.onnx NORMALISATION\n");
        return 2;
    }
    const tl_dataset_options wanted = { .path = argv[1] };
    tl_pixels_form form = { .height = PATCH_SIDE,
                            .width = PATCH_SIDE,
                            .channels = 1,
                            .has_template = true,
                            .align = ALIGN_PIXELS };
    tl_error err = { .status = TL_OK };
    tl_dataset *data = NULL;
    network n = { .graph = NULL };
    counts all = { .judged = 0 };
    tl_status status = tl_pixels_normalise(&form, argv[3], &err);
    if (status == TL_OK) status = tl_dataset_open(&wanted, &data, &err);
    if (status == TL_OK) status = load(argv[2], &n, &err);
    if (status == TL_OK) status = judge(data, &n, &form, &all, &err);
    if (status == TL_OK)
        printf("{\"judged\": %zu, \"same\": %zu, \"right_fp32\": %zu, \"right_bf16\": %zu}\n",
               all.judged, all.same, all.right[0], all.right[1]);
    else
        fprintf(stderr, "bench_precision_classes: %s\n", err.text);
    release(&n);
    tl_dataset_close(&data);
    return status == TL_OK ? 0 : 1;
}

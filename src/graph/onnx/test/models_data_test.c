/* Third-party networks (data/models) against ONNX Runtime's outputs: MobileNetV3, YOLOv8n with its
 * whole head, and two PaddleOCR networks whose sizes are chosen at import. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/file.h"
#include "format/npy.h"
#include "graph/onnx.h"

#define FOLDER TL_SHARED_DATA "/models"

enum { FILE_BYTES_MAX = 1 << 28 };

typedef struct network {
    const char *name;
    uint32_t height, width; /* chosen; 0: the file's */
    double error;           /* largest error of a number beside the largest number */
} network;

static const network NETWORKS[] = {
    { "mobilenet_v3_small", 0, 0, 1e-5 }, { "mobilenet_v3_large", 0, 0, 1e-5 },
    { "yolov8n_320", 0, 0, 1e-5 },        { "ppocr-cls-mobilenetv3", 48, 192, 1e-5 },
    { "ppocrv4-det", 96, 192, 5e-5 }, /* many small channels before a sigmoid */
};

static tl_npy load(const network *net, const char *kind, void **data)
{
    char path[512];
    size_t bytes;
    tl_npy array = { 0 };
    tl_error err = { .text = "" };
    snprintf(path, sizeof path, FOLDER "/%s.%s.npy", net->name, kind);
    if (tl_file_read(path, FILE_BYTES_MAX, data, &bytes, &err) != TL_OK ||
        tl_npy_parse(*data, bytes, &array, &err) != TL_OK)
        fail_msg("%s", err.text);
    return array;
}

/* Position in [n, h, w, c] of number `index` of [n, c, h, w]; other ranks lie as in the file. */
static size_t place(const tl_npy *array, size_t index)
{
    if (array->rank != 4) return index;
    size_t channels = array->shape[1], pixels = array->shape[2] * array->shape[3];
    size_t pixel = index % pixels, rest = index / pixels;
    return (rest / channels * pixels + pixel) * channels + rest % channels;
}

static void check_outputs(const network *net, uint32_t threads, const float *ours, size_t count)
{
    void *data;
    tl_npy wanted = load(net, "out", &data);
    double largest = 0.0, worst = 0.0;
    assert_int_equal(wanted.count, count);
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs(tl_npy_number(&wanted, i)));
    for (size_t i = 0; i < count; i++) {
        double error = fabs((double)ours[place(&wanted, i)] - tl_npy_number(&wanted, i));
        worst = error <= worst ? worst : error; /* NaN stays */
    }
    print_message("threads %u: largest error %.2g of %.3g (allowed %.2g)\n", threads, worst,
                  largest, net->error * largest);
    assert_true(worst <= net->error * largest);
    free(data);
}

static void infer_agrees(const network *net, uint32_t threads, tl_graph *graph,
                         const tl_weights *weights, const tl_npy *x)
{
    const uint32_t batch = (uint32_t)x->shape[0];
    tl_plan *plan;
    tl_error err = { .text = "" };
    tl_plan_options how = { .batch_max = batch, .mode = TL_PLAN_INFER, .threads = threads };
    if (tl_plan_create(graph, &how, &plan, &err) != TL_OK) fail_msg("%s", err.text);
    for (size_t i = 0; i < x->count; i++)
        tl_plan_input(plan, 0)[place(x, i)] = (float)tl_npy_number(x, i);
    if (tl_plan_infer(plan, weights, batch, &err) != TL_OK) fail_msg("%s", err.text);
    check_outputs(net, threads, tl_plan_output(plan, 0),
                  batch * tl_shape_count(tl_graph_output_shape(graph, 0)));
    tl_plan_destroy(&plan);
}

static void network_agrees(void **state)
{
    const network *net = *state;
    char path[512];
    tl_error err = { .text = "" };
    snprintf(path, sizeof path, FOLDER "/%s.onnx", net->name);
    if (access(path, R_OK) != 0) skip();
    tl_onnx_options options = { .height = net->height,
                                .width = net->width,
                                .reading = TL_ONNX_ITEMS };
    tl_graph *graph;
    float *flat;
    if (tl_onnx_import_file(path, &options, &graph, &flat, &err) != TL_OK) fail_msg("%s", err.text);
    void *data;
    tl_npy x = load(net, "in", &data);
    uint32_t batch = (uint32_t)x.shape[0];
    tl_weights *weights;
    if (tl_weights_create(graph, flat, &weights, &err) != TL_OK) fail_msg("%s", err.text);
    assert_int_equal(x.count, batch * tl_shape_count(tl_graph_input_shape(graph, 0)));
    for (uint32_t threads = 1; threads <= 2; threads++)
        infer_agrees(net, threads, graph, weights, &x);
    tl_weights_release(&weights);
    tl_graph_release(&graph);
    free(flat);
    free(data);
}

int main(void)
{
    if (access(FOLDER, R_OK) != 0) return 77;
    struct CMUnitTest tests[TL_COUNT_OF(NETWORKS)];
    for (size_t i = 0; i < TL_COUNT_OF(NETWORKS); i++)
        tests[i] = (struct CMUnitTest){ .name = NETWORKS[i].name,
                                        .test_func = network_agrees,
                                        .initial_state = (void *)(uintptr_t)&NETWORKS[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

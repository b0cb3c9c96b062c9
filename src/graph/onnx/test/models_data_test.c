/* Third-party networks (data/models) against ONNX Runtime's outputs: MobileNetV3, YOLOv8n with its
 * whole head, and two PaddleOCR networks whose sizes are chosen at import. */
#include "graph/onnx/test/shared_data.h"

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

static void name_of(char out[DATA_NAME_BYTES], const network *net, const char *end)
{
    snprintf(out, DATA_NAME_BYTES, "models/%s.%s", net->name, end);
}

static data_numbers numbers_of(const network *net, const char *end)
{
    char name[DATA_NAME_BYTES];
    name_of(name, net, end);
    return data_read(name);
}

static void network_agrees(void **state)
{
    const network *net = *state;
    char name[DATA_NAME_BYTES];
    const tl_onnx_options options = { .height = net->height,
                                      .width = net->width,
                                      .reading = TL_ONNX_ITEMS };
    tl_graph *graph;
    float *flat;
    name_of(name, net, "onnx");
    if (!data_exists(name)) skip();
    data_import(name, &options, &graph, &flat);
    data_numbers x = numbers_of(net, "in.npy"), y = numbers_of(net, "out.npy");
    assert_int_equal(x.count, x.items * tl_shape_count(tl_graph_input_shape(graph, 0)));
    for (uint32_t threads = 1; threads <= 2; threads++) {
        data_numbers out = data_infer(graph, flat, x.values, x.items, threads);
        snprintf(name, sizeof name, "threads %u", threads);
        assert_int_equal(out.count, y.count);
        data_assert_close(name, out.values, y.values, y.count, net->error, 0.0);
        free(out.values);
    }
    tl_graph_release(&graph);
    free(flat);
    free(x.values);
    free(y.values);
}

int main(void)
{
    if (!data_exists("models")) return 77;
    struct CMUnitTest tests[TL_COUNT_OF(NETWORKS)];
    for (size_t i = 0; i < TL_COUNT_OF(NETWORKS); i++)
        tests[i] = (struct CMUnitTest){ .name = NETWORKS[i].name,
                                        .test_func = network_agrees,
                                        .initial_state = (void *)(uintptr_t)&NETWORKS[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <stdlib.h>

#include "graph/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    tl_graph *graph = NULL;
    float *flat = NULL;
    tl_onnx_options options = { .height = 8, .width = 8 };
    if (tl_onnx_import(data, bytes, &options, &graph, &flat, NULL) != TL_OK) return 0;
    tl_graph_release(&graph);
    free(flat);
    return 0;
}

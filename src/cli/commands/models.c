/* models.c - `tightloop models`: the built-in networks and what they cost. */
#include "cli/command.h"
#include "cli/terminal/terminal.h"
#include "graph/onnx.h"
#include "networks/networks.h"

#include <stdlib.h>
#include <string.h>

static struct {
    const char *model;
    uint64_t classes, size, channels, batch;
    bool json;
} values = { .batch = 8 };

static const tl_option options[] = {
    { "model", 'm', TL_OPTION_TEXT, "NAME|FILE", "Only this network, or an ONNX file.",
      &values.model, 0, 0 },
    { "classes", 'c', TL_OPTION_WHOLE, "N", "Count with so many classes; 0: the network's own.",
      &values.classes, 0, TL_NETWORK_CLASSES_MAX },
    { "size", 's', TL_OPTION_WHOLE, "PIXELS",
      "Count with images of that height and width; 0: the network's own.", &values.size, 0,
      TL_NETWORK_SIDE_MAX },
    { "channels", 0, TL_OPTION_WHOLE, "N", "1 grey or 3 colour; 0: the network's own.",
      &values.channels, 0, TL_NETWORK_CHANNELS_MAX },
    { "batch", 'b', TL_OPTION_WHOLE, "N", "Images of a training step.", &values.batch, 1, 1024 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &values.json, 0, 0 },
};

typedef struct line {
    const tl_network *network; /* NULL: a file */
    uint32_t height, width, class_count;
    tl_network_cost cost;
} line;

static tl_status measure(const tl_network *network, line *out, tl_error *err)
{
    const tl_network_options wanted = { .height = (uint32_t)values.size,
                                        .width = (uint32_t)values.size,
                                        .channels = (uint32_t)values.channels,
                                        .class_count = (uint32_t)values.classes };
    out->network = network;
    out->height = wanted.height == 0 ? network->height : wanted.height;
    out->width = wanted.width == 0 ? network->width : wanted.width;
    out->class_count = wanted.class_count == 0 ? network->class_count : wanted.class_count;
    return tl_network_cost_of(network, &wanted, (uint32_t)values.batch, &out->cost, err);
}

/* An ONNX file: its classes and planes are its own; its output is not looked into. */
static tl_status measure_file(line *out, tl_error *err)
{
    const uint32_t side = (uint32_t)values.size;
    const tl_onnx_size sides[2] = { { .axis = 2, .size = side }, { .axis = 3, .size = side } };
    const tl_onnx_options file = { .sizes = sides, .size_count = side > 0 ? 2 : 0 };
    tl_graph *graph = NULL;
    float *flat = NULL;
    if (values.classes > 0 || values.channels > 0)
        return tl_fail(err, TL_EINVAL, "a file has its own classes and channels");
    tl_status status = tl_onnx_import_file(values.model, &file, &graph, &flat, err);
    if (status == TL_ENOTFOUND)
        return tl_fail(err, status, "\"%.120s\" is neither a file nor one of the built-in networks",
                       values.model);
    if (status != TL_OK) return status;
    const tl_shape *input = tl_graph_input_shape(graph, 0);
    const tl_shape *output = tl_graph_output_shape(graph, 0);
    out->network = NULL;
    out->height = input->rank == 3 ? input->dim[0] : 0;
    out->width = input->rank == 3 ? input->dim[1] : 0;
    out->class_count = output->rank == 1 ? output->dim[0] : 0;
    status = tl_network_cost_of_graph(graph, (uint32_t)values.batch, &out->cost, err);
    tl_graph_release(&graph);
    free(flat);
    return status;
}

static const char *task_of(const line *l)
{
    if (l->network == NULL) return "file";
    return l->network->task == TL_NETWORK_DETECT ? "detect" : "classify";
}

static void write_numbers(tl_json_writer *w, const char *key, const float numbers[3])
{
    tl_json_key(w, key);
    tl_json_array(w);
    for (int i = 0; i < 3; i++) tl_json_float(w, numbers[i]);
    tl_json_array_end(w);
}

static void write_json(tl_json_writer *w, const line *l)
{
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = { { "height", l->height },
                    { "width", l->width },
                    { "classes", l->class_count },
                    { "parameters", l->cost.parameters },
                    { "multiply_adds", l->cost.macs },
                    { "features", l->cost.features },
                    { "weights_bytes", l->cost.weights_bytes },
                    { "serving_bytes", l->cost.serve_bytes },
                    { "training_bytes", l->cost.train_bytes },
                    { "training_batch", values.batch } };
    tl_json_object(w);
    tl_json_key(w, "name");
    tl_json_string(w, l->network == NULL ? values.model : l->network->name);
    if (l->network != NULL) {
        tl_json_key(w, "task");
        tl_json_string(w, task_of(l));
    }
    for (size_t i = 0; i < TL_COUNT_OF(numbers); i++) {
        tl_json_key(w, numbers[i].key);
        tl_json_uint(w, numbers[i].value);
    }
    if (l->network != NULL) {
        tl_json_key(w, "pixels");
        tl_json_string(w, l->network->pixels);
        write_numbers(w, "mean", l->network->mean);
        write_numbers(w, "std", l->network->std);
    }
    tl_json_object_end(w);
}

static void print_count(double count, char out[32])
{
    if (count >= 1e9)
        snprintf(out, 32, "%.2f G", count / 1e9);
    else if (count >= 1e6)
        snprintf(out, 32, "%.1f M", count / 1e6);
    else
        snprintf(out, 32, "%.0f k", count / 1e3);
}

static void print_line(tl_text *out, const line *l)
{
    char parameters[32], macs[32], weights[32], serve[32], train[32], size[32];
    print_count((double)l->cost.parameters, parameters);
    print_count((double)l->cost.macs, macs);
    tl_human_bytes((double)l->cost.weights_bytes, weights);
    tl_human_bytes((double)l->cost.serve_bytes, serve);
    tl_human_bytes((double)l->cost.train_bytes, train);
    snprintf(size, sizeof size, "%ux%u", l->height, l->width);
    const char *slash = l->network == NULL ? strrchr(values.model, '/') : NULL;
    const char *name = l->network != NULL ? l->network->name
                       : slash != NULL    ? slash + 1
                                          : values.model;
    tl_text_printf(out, "%-19s %-8s %9s %7u %10s %10s %8u %9s %9s %9s\n", name, task_of(l), size,
                   l->class_count, parameters, macs, l->cost.features, weights, serve, train);
}

static void write_line(tl_json_writer *w, tl_text *out, const line *l)
{
    if (values.json)
        write_json(w, l);
    else
        print_line(out, l);
}

static tl_status write_all(tl_text *out, tl_error *err)
{
    tl_json_writer w;
    if (values.json) {
        tl_json_begin(&w, out);
        tl_json_array(&w);
    } else {
        tl_text_printf(out, "%-19s %-8s %9s %7s %10s %10s %8s %9s %9s %9s\n", "network", "task",
                       "size", "classes", "parameters", "mult-adds", "features", "weights",
                       "serving", "training");
    }
    uint32_t left_out = 0; /* the multiple that such a network wants */
    for (size_t i = 0; tl_network_at(i) != NULL; i++) {
        const tl_network *network = tl_network_at(i);
        if (values.model != NULL && tl_network_find(values.model) != network) continue;
        const bool fits = values.size % network->multiple == 0;
        if (!fits) left_out = network->multiple;
        if (!fits && values.model == NULL) continue;
        line l;
        tl_status status = measure(network, &l, err);
        if (status != TL_OK) return status;
        write_line(&w, out, &l);
    }
    if (values.model != NULL && tl_network_find(values.model) == NULL) {
        line l;
        tl_status status = measure_file(&l, err);
        if (status != TL_OK) return status;
        write_line(&w, out, &l);
    }
    if (values.json)
        tl_json_array_end(&w);
    else if (left_out > 0)
        tl_text_printf(out, "Left out: detectors, which take multiples of %u.\n", left_out);
    return TL_OK;
}

static int run_models(const tl_arguments *arguments)
{
    (void)arguments;
    tl_text text;
    tl_error err;
    tl_text_init(&text, 1 << 20);
    int code = TL_EXIT_OK;
    if (write_all(&text, &err) != TL_OK)
        code = tl_command_fail(&tl_command_models, &err);
    else if (values.json)
        code = tl_command_print(&tl_command_models, &text);
    else
        fwrite(text.data, 1, text.bytes, stdout);
    tl_text_destroy(&text);
    return code;
}

const tl_command tl_command_models = {
    .name = "models",
    .summary = "the built-in networks: parameters, multiply-adds, memory",
    .details =
        "Lists the networks that need no file, each at its own number of classes and image size "
        "or at those that are given; or tells the same of an ONNX file. Multiply-adds are of one "
        "image, forward. Memory: one "
        "version's weights with the kernels' copies, serving one image, and a training step of "
        "--batch images; the latter two without the weights. Nothing is run. To write one as an "
        "ONNX file: tightloop export --model NAME --onnx FILE",
    .example = "tightloop models --classes 7 --size 64\n"
               "tightloop models --model part.onnx --batch 16",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run_models,
};

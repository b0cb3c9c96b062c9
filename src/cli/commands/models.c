/* models.c - `tightloop models`: the built-in networks and what they cost. */
#include "cli/command.h"
#include "cli/terminal/terminal.h"
#include "networks/networks.h"

#include <string.h>

static struct {
    uint64_t classes, size, channels, batch;
    bool json;
} values = { .batch = 8 };

static const tl_option options[] = {
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
    const tl_network *network;
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
    tl_json_string(w, l->network->name);
    tl_json_key(w, "task");
    tl_json_string(w, l->network->task == TL_NETWORK_DETECT ? "detect" : "classify");
    for (size_t i = 0; i < TL_COUNT_OF(numbers); i++) {
        tl_json_key(w, numbers[i].key);
        tl_json_uint(w, numbers[i].value);
    }
    tl_json_key(w, "pixels");
    tl_json_string(w, l->network->pixels);
    write_numbers(w, "mean", l->network->mean);
    write_numbers(w, "std", l->network->std);
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
    tl_text_printf(out, "%-19s %-8s %9s %7u %10s %10s %8u %9s %9s %9s\n", l->network->name,
                   l->network->task == TL_NETWORK_DETECT ? "detect" : "classify", size,
                   l->class_count, parameters, macs, l->cost.features, weights, serve, train);
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
    for (size_t i = 0; tl_network_at(i) != NULL; i++) {
        line l;
        tl_status status = measure(tl_network_at(i), &l, err);
        if (status != TL_OK) return status;
        if (values.json)
            write_json(&w, &l);
        else
            print_line(out, &l);
    }
    if (values.json) tl_json_array_end(&w);
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
        "or at those that are given. Multiply-adds are of one image, forward. Memory: one "
        "version's weights with the kernels' copies, serving one image, and a training step of "
        "--batch images; the latter two without the weights. Nothing is run. To write one as an "
        "ONNX file: tightloop export --model NAME --onnx FILE",
    .example = "tightloop models --classes 7 --size 64",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run_models,
};

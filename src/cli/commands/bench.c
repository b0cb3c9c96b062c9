/* bench.c - `tightloop bench`: how fast networks run here, beside what this machine could do at
 * most, and where the time goes. */
#include "cli/command.h"
#include "graph/onnx.h"
#include "networks/networks.h"
#include "tensor/peak.h"
#include "tensor/team.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SHOWN_NAME = 32 };

static struct {
    const char *model, *precision;
    uint64_t size, batch, threads;
    double seconds;
    bool layers, train, json;
} values = { .precision = "auto", .batch = 1, .threads = 1, .seconds = 1 };

static const tl_option options[] = {
    { "model", 'm', TL_OPTION_FILE, "NAME|FILE",
      "A built-in network (see `tightloop models`) or an ONNX file; without it, those that people "
      "put on lines.",
      &values.model, 0, 0 },
    { "size", 's', TL_OPTION_WHOLE, "PIXELS",
      "Height and width of the input; without it, what the network was designed for.", &values.size,
      0, TL_NETWORK_SIDE_MAX },
    { "batch", 'b', TL_OPTION_WHOLE, "ITEMS", "Items in one run.", &values.batch, 1, 1024 },
    { "threads", 't', TL_OPTION_WHOLE, "COUNT", "Threads of one run.", &values.threads, 1,
      TL_TEAM_MAX },
    { "precision", 'p', TL_OPTION_CHOICE, "auto|fp32|bf16",
      "Numbers between layers; with --train, of a convolution's products. bf16 needs AVX-512; "
      "auto: "
      "bf16 for inference where the processor has AMX.",
      &values.precision, 0, 0 },
    { "train", 0, TL_OPTION_FLAG, NULL,
      "Time forward and backward of a training step, not inference.", &values.train, 0, 0 },
    { "layers", 'l', TL_OPTION_FLAG, NULL, "Add a table of the layers, the slowest first.",
      &values.layers, 0, 0 },
    { "seconds", 0, TL_OPTION_REAL, "SECONDS", "How long each network is measured.",
      &values.seconds, 0.01, 3600 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON, layers included.", &values.json, 0, 0 },
};

static const char *const usual[] = { "mobilenet_v3_small", "mobilenet_v3_large",
                                     "efficientnet_lite0", "yolov8n" };

/* A network under measurement. */
typedef struct subject {
    const char *name;
    tl_graph *graph;
    float *flat, *grad, *output_grad;
    tl_weights *weights;
    tl_plan *plan;
    size_t outputs; /* that a loss would read */
    double run_s;   /* median of one run */
    double runs;    /* in all, as the layers' clocks count */
} subject;

/* A layer with its share of a run. */
typedef struct layer {
    tl_node_cost cost;
    double seconds, flops, bytes; /* of one run */
} layer;

/* ---- Networks -------------------------------------------------------------------------------- */

static tl_status load(subject *s, tl_error *err)
{
    const tl_network *network = tl_network_find(s->name);
    const uint32_t size = (uint32_t)values.size;
    if (network == NULL) {
        const tl_onnx_size sides[2] = { { .axis = 2, .size = size }, { .axis = 3, .size = size } };
        const tl_onnx_options import = { .sizes = sides, .size_count = size > 0 ? 2 : 0 };
        return tl_onnx_import_file(s->name, &import, &s->graph, &s->flat, err);
    }
    const tl_network_options wanted = { .height = size,
                                        .width = size,
                                        .seed = 1,
                                        .form =
                                            values.train ? TL_NETWORK_TRAIN : TL_NETWORK_SERVE };
    return tl_network_create(network, &wanted, &s->graph, &s->flat, err);
}

/* Numbers between -1 and 1. */
static void fill(float *to, size_t count)
{
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        to[i] = (float)(state >> 8) / (float)(1 << 23) - 1.0f;
    }
}

static tl_status make_gradients(subject *s, tl_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < s->outputs; i++)
        count += values.batch * tl_shape_count(tl_graph_output_shape(s->graph, i));
    s->grad = calloc(tl_graph_float_count(s->graph), sizeof *s->grad);
    s->output_grad = calloc(count, sizeof *s->output_grad);
    if (s->grad == NULL || s->output_grad == NULL) return tl_fail(err, TL_ENOMEM, "gradients");
    fill(s->output_grad, count);
    return TL_OK;
}

static tl_precision precision(void)
{
    if (strcmp(values.precision, "auto") == 0) return TL_PRECISION_AUTO;
    return strcmp(values.precision, "bf16") == 0 ? TL_PRECISION_BF16 : TL_PRECISION_FLOAT32;
}

static const char *precision_text(const subject *s)
{
    return tl_plan_precision(s->plan) == TL_PRECISION_BF16 ? "bf16" : "fp32";
}

static tl_status prepare(subject *s, tl_error *err)
{
    tl_status status = load(s, err);
    if (status != TL_OK) return status;
    s->outputs = tl_graph_output_count(s->graph);
    const tl_plan_options plan = { .batch_max = (uint32_t)values.batch,
                                   .mode = values.train ? TL_PLAN_TRAIN_LIVE : TL_PLAN_INFER,
                                   .threads = (uint32_t)values.threads,
                                   .precision = precision(),
                                   .loss_outputs = values.train ? (uint32_t)s->outputs : 0 };
    status = tl_plan_create(s->graph, &plan, &s->plan, err);
    if (status != TL_OK) return status;
    for (size_t i = 0; i < tl_graph_input_count(s->graph); i++)
        fill(tl_plan_input(s->plan, i),
             values.batch * tl_shape_count(tl_graph_input_shape(s->graph, i)));
    return values.train ? make_gradients(s, err)
                        : tl_weights_create(s->graph, s->flat, &s->weights, err);
}

static void release(subject *s)
{
    tl_weights_release(&s->weights);
    tl_plan_destroy(&s->plan);
    free(s->flat);
    free(s->grad);
    free(s->output_grad);
    tl_graph_release(&s->graph);
}

/* ---- Measuring ------------------------------------------------------------------------------- */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static tl_status run_once(subject *s, tl_error *err)
{
    const uint32_t batch = (uint32_t)values.batch;
    if (!values.train) return tl_plan_infer(s->plan, s->weights, batch, err);
    tl_status status = tl_plan_train_forward(s->plan, s->flat, batch, err);
    if (status != TL_OK) return status;
    return tl_plan_train_backward(s->plan, s->flat, s->output_grad, s->grad, err);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One run to warm up, then runs for the time that is wanted. */
static tl_status measure(subject *s, tl_error *err)
{
    enum { SPANS_MAX = 20000 };
    double *spans = malloc(SPANS_MAX * sizeof *spans);
    if (spans == NULL) return tl_fail(err, TL_ENOMEM, "spans");
    tl_status status = run_once(s, err);
    size_t count = 0;
    const double start = now_s();
    for (double last = start; status == TL_OK && count < SPANS_MAX;) {
        status = run_once(s, err);
        const double now = now_s();
        spans[count++] = now - last;
        last = now;
        if (now - start >= values.seconds) break;
    }
    if (status == TL_OK) {
        qsort(spans, count, sizeof *spans, by_size);
        s->run_s = spans[count / 2];
        s->runs = (double)count + 1;
    }
    free(spans);
    return status;
}

static layer layer_at(const subject *s, size_t index)
{
    layer l;
    tl_plan_node_cost(s->plan, index, &l.cost);
    /* Backward makes two products of each of forward's: by the input and by the weights. */
    const double passes = values.train ? 3 : 1, items = (double)values.batch;
    l.seconds = (l.cost.forward_s + l.cost.backward_s) / s->runs;
    l.flops = 2 * passes * items * (double)l.cost.macs;
    l.bytes = passes * items * (double)l.cost.bytes;
    return l;
}

static double total_flops(const subject *s)
{
    double flops = 0;
    for (size_t i = 0; i < tl_plan_node_count(s->plan); i++) flops += layer_at(s, i).flops;
    return flops;
}

/* ---- Printing -------------------------------------------------------------------------------- */

static void shape_text(const tl_shape *shape, char out[48])
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < shape->rank && used < 40; i++)
        used += (size_t)snprintf(out + used, 48 - used, "%s%u", i > 0 ? "x" : "", shape->dim[i]);
}

static int slowest_first(const void *a, const void *b)
{
    const layer *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static tl_status list_layers(const subject *s, layer **out, double *sum_s, tl_error *err)
{
    const size_t count = tl_plan_node_count(s->plan);
    *out = calloc(count + 1, sizeof **out);
    if (*out == NULL) return tl_fail(err, TL_ENOMEM, "layers");
    *sum_s = 0;
    for (size_t i = 0; i < count; i++) {
        (*out)[i] = layer_at(s, i);
        *sum_s += (*out)[i].seconds;
    }
    qsort(*out, count, sizeof **out, slowest_first);
    return TL_OK;
}

static double share_of(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static void print_layers(const subject *s, const layer *layers, double sum_s, const tl_peak *peak)
{
    printf("  %-*s %-24s %-14s %9s %6s %8s %7s %7s\n", SHOWN_NAME, "layer", "operator", "output",
           "ms", "share", "GFLOP/s", "of peak", "GB/s");
    for (size_t i = 0; i < tl_plan_node_count(s->plan); i++) {
        const layer *l = &layers[i];
        const size_t length = strlen(l->cost.name);
        char shape[48];
        shape_text(&l->cost.output, shape);
        printf("  %-*s %-24s %-14s %9.4f %5.1f%% %8.1f %6.1f%% %7.1f\n", SHOWN_NAME,
               l->cost.name + (length > SHOWN_NAME ? length - SHOWN_NAME : 0), l->cost.op, shape,
               1e3 * l->seconds, 100 * share_of(l->seconds, sum_s),
               1e-9 * share_of(l->flops, l->seconds),
               100 * share_of(share_of(l->flops, l->seconds), peak->flops),
               1e-9 * share_of(l->bytes, l->seconds));
    }
}

static void write_layers(tl_json_writer *w, const subject *s, const layer *layers,
                         const tl_peak *peak)
{
    tl_json_key(w, "layers"), tl_json_array(w);
    for (size_t i = 0; i < tl_plan_node_count(s->plan); i++) {
        const layer *l = &layers[i];
        char shape[48];
        shape_text(&l->cost.output, shape);
        tl_json_object(w);
        tl_json_key(w, "name"), tl_json_string(w, l->cost.name);
        tl_json_key(w, "operator"), tl_json_string(w, l->cost.op);
        tl_json_key(w, "output"), tl_json_string(w, shape);
        tl_json_key(w, "ms"), tl_json_double(w, 1e3 * l->seconds);
        tl_json_key(w, "gflops_per_s"), tl_json_double(w, 1e-9 * share_of(l->flops, l->seconds));
        tl_json_key(w, "share_of_peak");
        tl_json_double(w, share_of(share_of(l->flops, l->seconds), peak->flops));
        tl_json_key(w, "gbytes_per_s"), tl_json_double(w, 1e-9 * share_of(l->bytes, l->seconds));
        tl_json_object_end(w);
    }
    tl_json_array_end(w);
}

static tl_status report(const subject *s, const tl_peak *peak, tl_json_writer *w, tl_error *err)
{
    layer *layers = NULL;
    double sum_s = 0;
    tl_status status = list_layers(s, &layers, &sum_s, err);
    if (status != TL_OK) return status;
    const double flops = total_flops(s), rate = share_of(flops, s->run_s);
    if (values.json) {
        tl_json_object(w);
        tl_json_key(w, "model"), tl_json_string(w, s->name);
        tl_json_key(w, "precision"), tl_json_string(w, precision_text(s));
        tl_json_key(w, "ms"), tl_json_double(w, 1e3 * s->run_s);
        tl_json_key(w, "gflop"), tl_json_double(w, 1e-9 * flops);
        tl_json_key(w, "gflops_per_s"), tl_json_double(w, 1e-9 * rate);
        tl_json_key(w, "share_of_peak"), tl_json_double(w, share_of(rate, peak->flops));
        tl_json_key(w, "plan_bytes"), tl_json_uint(w, tl_plan_bytes(s->plan));
        write_layers(w, s, layers, peak);
        tl_json_object_end(w);
    } else {
        printf("%-24s %s %9.3f ms  %8.1f GFLOP/s  %5.1f%% of peak\n", s->name, precision_text(s),
               1e3 * s->run_s, 1e-9 * rate, 100 * share_of(rate, peak->flops));
        if (values.layers) print_layers(s, layers, sum_s, peak);
    }
    free(layers);
    return TL_OK;
}

/* ---- The command ----------------------------------------------------------------------------- */

static tl_status bench_one(const char *name, const tl_peak *peak, tl_json_writer *w, tl_error *err)
{
    subject s = { .name = name };
    tl_status status = prepare(&s, err);
    if (status == TL_OK) status = measure(&s, err);
    if (status == TL_OK) status = report(&s, peak, w, err);
    release(&s);
    return status;
}

static void begin(const tl_peak *peak, tl_json_writer *w)
{
    if (!values.json) {
        printf("%s, batch %u, threads %u. Peak (%s): %.1f GFLOP/s, %.1f GB/s from memory.\n",
               values.train ? "training step" : "inference", (unsigned)values.batch,
               (unsigned)values.threads, peak->kernels, 1e-9 * peak->flops, 1e-9 * peak->bytes);
        return;
    }
    tl_json_object(w);
    tl_json_key(w, "kernels"), tl_json_string(w, peak->kernels);
    tl_json_key(w, "batch"), tl_json_uint(w, values.batch);
    tl_json_key(w, "threads"), tl_json_uint(w, values.threads);
    tl_json_key(w, "train"), tl_json_boolean(w, values.train);
    tl_json_key(w, "peak_gflops_per_s"), tl_json_double(w, 1e-9 * peak->flops);
    tl_json_key(w, "peak_gbytes_per_s"), tl_json_double(w, 1e-9 * peak->bytes);
    tl_json_key(w, "models"), tl_json_array(w);
}

static int run(const tl_arguments *arguments)
{
    (void)arguments;
    enum { TEXT_BYTES_MAX = 16 << 20 };
    const char *const *names = values.model != NULL ? &values.model : usual;
    const size_t count = values.model != NULL ? 1 : TL_COUNT_OF(usual);
    tl_error err;
    tl_peak peak;
    tl_text text;
    tl_json_writer w;
    tl_text_init(&text, TEXT_BYTES_MAX);
    tl_json_begin(&w, &text);
    tl_status status = tl_peak_measure((uint32_t)values.threads, &peak, &err);
    if (status == TL_OK) begin(&peak, &w);
    for (size_t i = 0; i < count && status == TL_OK; i++)
        status = bench_one(names[i], &peak, &w, &err);
    int code = TL_EXIT_OK;
    if (status != TL_OK) {
        code = tl_command_fail(&tl_command_bench, &err);
    } else if (values.json) {
        tl_json_array_end(&w);
        tl_json_object_end(&w);
        code = tl_command_print(&tl_command_bench, &text);
    }
    tl_text_destroy(&text);
    return code;
}

const tl_command tl_command_bench = {
    .name = "bench",
    .summary = "how fast networks run here, and which layers take the time",
    .details =
        "Runs each network with seeded weights and inputs, and tells the median of a run, the "
        "multiply-adds a second (two operations each), and their share of what this processor can "
        "do at most in fp32, which is measured first. GB/s counts a layer's operands, result and "
        "parameters once each, as fp32: beside the machine's GB/s it tells whether a layer "
        "computes or waits for memory; more than that comes out of caches. With --train a step is "
        "forward and backward without a loss and an optimiser, and counts as three times forward.",
    .example = "tightloop bench\n"
               "tightloop bench --model yolov8n --size 640 --layers\n"
               "tightloop bench --model yolov8n --precision bf16 --threads 2\n"
               "tightloop bench --model part.onnx --train --batch 8 --threads 2 --layers",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run,
};

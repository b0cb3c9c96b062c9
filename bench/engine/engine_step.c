/* engine-step: processor time an image of the engine, one thread: inference at batch 1 and 16, a
 * training step (forward and backward, live and frozen normalisation) at batch 16 and 32; and a
 * table of the layers. The network is that of the circuit boards: 64x64x2, four convolutions,
 * 60,999 parameters. usage: bench_engine_step [rounds] */
#include "graph/builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static tl_tensor_index block(tl_builder *b, const char *name, tl_tensor_index x, uint32_t channels,
                             uint32_t stride)
{
    char norm[32];
    snprintf(norm, sizeof norm, "%s.norm", name);
    const tl_conv_options options = tl_conv_square(3, stride, 1);
    x = tl_builder_conv(b, name, x, channels, &options);
    x = tl_builder_batch_norm(b, norm, x, 1e-5f, 0.1f);
    return tl_builder_unary(b, TL_OP_RELU, x);
}

static tl_status build(bool deep, tl_graph **graph, float **flat, tl_error *err)
{
    tl_builder *b = NULL;
    tl_status status = tl_builder_create(&b, err);
    if (status != TL_OK) return status;
    const tl_shape shape = tl_shape_image(64, 64, deep ? 3 : 2);
    tl_tensor_index x = tl_builder_input(b, "input", &shape);
    x = block(b, "c1", x, 16, 2);
    x = block(b, "c2", x, 32, 2);
    if (deep) x = block(b, "c2b", x, 32, 1);
    x = block(b, "c3", x, 64, 2);
    x = block(b, "c4", x, 64, 1);
    const tl_tensor_index pooled[] = { tl_builder_unary(b, TL_OP_GLOBAL_AVERAGE_POOL, x),
                                       deep ? tl_builder_unary(b, TL_OP_GLOBAL_MAX_POOL, x) : 0 };
    x = pooled[0];
    if (deep)
        x = tl_builder_node(
            b, &(tl_node_options){ .kind = TL_OP_CONCAT, .inputs = pooled, .input_count = 2 });
    x = tl_builder_unary(b, TL_OP_FLATTEN, x);
    tl_builder_output(b, tl_builder_gemm(b, "fc", x, 7));
    status = tl_builder_finish(b, 1, graph, flat, err);
    tl_builder_destroy(&b);
    return status;
}

static void fill(float *to, size_t count)
{
    for (size_t i = 0; i < count; i++) to[i] = (i * 2654435761u >> 16 & 1) != 0 ? 1.0f : -1.0f;
}

static void print_layers(const tl_plan *plan, double images)
{
    for (size_t i = 0; i < tl_plan_node_count(plan); i++) {
        tl_node_cost cost;
        tl_plan_node_cost(plan, i, &cost);
        printf("    %-12s %-24s forward %6.2f us  backward %6.2f us  %8llu macs\n", cost.name,
               cost.op, 1e6 * cost.forward_s / images, 1e6 * cost.backward_s / images,
               (unsigned long long)cost.macs);
    }
}

static tl_status bench_infer(tl_graph *graph, const float *flat, uint32_t batch, int rounds,
                             tl_error *err)
{
    tl_plan *plan = NULL;
    tl_weights *weights = NULL;
    const tl_plan_options options = { .batch_max = batch, .mode = TL_PLAN_INFER, .threads = 1 };
    const double start_s = cpu_s();
    tl_status status = tl_plan_create(graph, &options, &plan, err);
    const double planned_s = cpu_s();
    if (status == TL_OK) status = tl_weights_create(graph, flat, &weights, err);
    if (status == TL_OK)
        printf("plan made in %.1f ms, weights in %.3f ms\n", 1e3 * (planned_s - start_s),
               1e3 * (cpu_s() - planned_s));
    if (status == TL_OK)
        fill(tl_plan_input(plan, 0), batch * tl_shape_count(tl_graph_input_shape(graph, 0)));
    double best = 1e9;
    const int repeat = 1 + 64 / (int)batch;
    for (int r = 0; r < rounds && status == TL_OK; r++) {
        double start = cpu_s();
        for (int i = 0; i < repeat && status == TL_OK; i++)
            status = tl_plan_infer(plan, weights, batch, err);
        double each = (cpu_s() - start) / (batch * repeat);
        if (each < best) best = each;
    }
    if (status == TL_OK) {
        printf("infer batch %u: %.1f us an image, plan %zu bytes\n", batch, 1e6 * best,
               tl_plan_bytes(plan));
        print_layers(plan, (double)rounds * batch * repeat);
    }
    tl_weights_release(&weights);
    tl_plan_destroy(&plan);
    return status;
}

static tl_status bench_train(tl_graph *graph, float *flat, uint32_t batch, tl_plan_mode mode,
                             int rounds, tl_error *err)
{
    tl_plan *plan = NULL;
    const tl_plan_options options = { .batch_max = batch, .mode = mode, .threads = 1 };
    tl_status status = tl_plan_create(graph, &options, &plan, err);
    float *grad = malloc(tl_graph_float_count(graph) * sizeof *grad);
    float *out = malloc(batch * 7 * sizeof *out);
    if (status == TL_OK && (grad == NULL || out == NULL)) status = TL_ENOMEM;
    if (status == TL_OK) {
        fill(tl_plan_input(plan, 0), batch * tl_shape_count(tl_graph_input_shape(graph, 0)));
        fill(out, batch * 7);
    }
    double best = 1e9;
    for (int r = 0; r < rounds && status == TL_OK; r++) {
        double start = cpu_s();
        status = tl_plan_train_forward(plan, flat, batch, err);
        if (status == TL_OK) status = tl_plan_train_backward(plan, flat, out, grad, err);
        double each = (cpu_s() - start) / batch;
        if (each < best) best = each;
    }
    if (status == TL_OK) {
        printf("train batch %u %s: %.1f us an image, plan %zu bytes\n", batch,
               mode == TL_PLAN_TRAIN_LIVE ? "live" : "frozen", 1e6 * best, tl_plan_bytes(plan));
        print_layers(plan, (double)rounds * batch);
    }
    free(grad);
    free(out);
    tl_plan_destroy(&plan);
    return status;
}

int main(int argc, char **argv)
{
    const int rounds = argc > 1 ? atoi(argv[1]) : 100;
    tl_error err = { .status = TL_OK };
    tl_graph *graph = NULL;
    float *flat = NULL;
    tl_status status = build(argc > 2, &graph, &flat, &err);
    if (status == TL_OK) status = bench_infer(graph, flat, 1, rounds, &err);
    if (status == TL_OK) status = bench_infer(graph, flat, 16, rounds, &err);
    if (status == TL_OK) status = bench_train(graph, flat, 16, TL_PLAN_TRAIN_LIVE, rounds, &err);
    if (status == TL_OK) status = bench_train(graph, flat, 32, TL_PLAN_TRAIN_LIVE, rounds, &err);
    if (status == TL_OK) status = bench_train(graph, flat, 32, TL_PLAN_TRAIN_FROZEN, rounds, &err);
    if (status != TL_OK) fprintf(stderr, "engine-step: %s\n", err.text);
    free(flat);
    tl_graph_release(&graph);
    return status == TL_OK ? 0 : 1;
}

#include "bench/engine/worker/worker.h"

#include "format/file.h"
#include "graph/onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FILE_BYTES_MAX = 1 << 29, RUN_MAX = 100000 };

static double clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double worker_now_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

/* ---- Networks and arrays --------------------------------------------------------------------- */

tl_status worker_network_load(const worker_options *options, worker_network *out, tl_error *err)
{
    const tl_onnx_options import = { .height = options->height, .width = options->width };
    return tl_onnx_import_file(options->model, &import, &out->graph, &out->flat, err);
}

void worker_network_close(worker_network *network)
{
    free(network->flat);
    tl_graph_release(&network->graph);
}

tl_status worker_array_load(const char *path, worker_array *out, tl_error *err)
{
    size_t bytes;
    tl_status status = tl_file_read(path, FILE_BYTES_MAX, &out->data, &bytes, err);
    if (status != TL_OK) return status;
    status = tl_npy_parse(out->data, bytes, &out->array, err);
    if (status == TL_OK) return TL_OK;
    free(out->data);
    out->data = NULL;
    return tl_fail_context(err, status, "%s", path);
}

/* [n, c, h, w] to [n, h, w, c]. */
static void to_nhwc(const float *from, const tl_shape *shape, uint32_t batch, float *to)
{
    const size_t channels = tl_shape_channels(shape), pixels = tl_shape_pixels(shape);
    for (size_t n = 0; n < batch; n++)
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < pixels; p++)
                to[(n * pixels + p) * channels + c] = from[(n * channels + c) * pixels + p];
}

tl_status worker_fill(const worker_options *options, const worker_network *network, tl_plan *plan,
                      tl_error *err)
{
    const tl_shape *shape = tl_graph_input_shape(network->graph, 0);
    worker_array input;
    tl_status status = worker_array_load(options->input, &input, err);
    if (status != TL_OK) return status;
    const size_t wanted = options->batch * tl_shape_count(shape);
    float *numbers = malloc(input.array.count * sizeof *numbers);
    if (numbers == NULL) {
        status = tl_fail(err, TL_ENOMEM, "%zu numbers", input.array.count);
    } else if (input.array.count < wanted) {
        status = tl_fail(err, TL_ESHAPE, "%s has %zu numbers; want %zu", options->input,
                         input.array.count, wanted);
    } else {
        tl_npy_copy_f32(&input.array, numbers);
        to_nhwc(numbers, shape, options->batch, tl_plan_input(plan, 0));
    }
    free(numbers);
    free(input.data);
    return status;
}

/* ---- Turns ----------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(double *spans, size_t runs, double wall_s, double cpu_s)
{
    qsort(spans, runs, sizeof *spans, by_size);
    printf("{\"runs\": %zu, \"median_s\": %.9f, \"min_s\": %.9f, \"mean_s\": %.9f, "
           "\"cpu_s\": %.9f}\n",
           runs, spans[runs / 2], spans[0], wall_s / (double)runs, cpu_s / (double)runs);
    fflush(stdout);
}

static tl_status turn(worker_run run, void *context, double seconds, double *spans, tl_error *err)
{
    const double start_s = worker_now_s(), start_cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    double now_s = start_s;
    size_t runs = 0;
    while (runs == 0 || (now_s - start_s < seconds && runs < RUN_MAX)) {
        const tl_status status = run(context, err);
        if (status != TL_OK) return status;
        const double end_s = worker_now_s();
        spans[runs++] = end_s - now_s;
        now_s = end_s;
    }
    report(spans, runs, now_s - start_s, clock_s(CLOCK_PROCESS_CPUTIME_ID) - start_cpu_s);
    return TL_OK;
}

tl_status worker_turns(worker_run run, void *context, const char *ready, tl_error *err)
{
    double *spans = malloc(RUN_MAX * sizeof *spans);
    if (spans == NULL) return tl_fail(err, TL_ENOMEM, "spans");
    tl_status status = run(context, err); /* pages touched, caches filled */
    if (status == TL_OK) {
        printf("%s\n", ready);
        fflush(stdout);
    }
    char line[64];
    while (status == TL_OK && fgets(line, sizeof line, stdin) != NULL)
        status = turn(run, context, strtod(line, NULL), spans, err);
    free(spans);
    return status;
}

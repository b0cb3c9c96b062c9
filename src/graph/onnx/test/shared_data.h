/* shared_data.h - arrays and networks of the shared data (../shared/data), for the tests that hold
 * networks against other frameworks; those of higher modules too. What is wrong fails the test. */
#ifndef TL_GRAPH_ONNX_TEST_SHARED_DATA_H
#define TL_GRAPH_ONNX_TEST_SHARED_DATA_H

#include "format/file.h"
#include "format/npy.h"
#include "graph/onnx.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { DATA_NAME_BYTES = 160, DATA_PATH_BYTES = 512, DATA_FILE_BYTES_MAX = 1 << 28 };

/* A file below the shared data; `data` is free'd by the caller. */
typedef struct data_file {
    void *data;
    size_t bytes;
} data_file;

static inline void data_path(char out[DATA_PATH_BYTES], const char *name)
{
    snprintf(out, DATA_PATH_BYTES, "%s/%s", TL_SHARED_DATA, name);
}

static inline bool data_exists(const char *name)
{
    char path[DATA_PATH_BYTES];
    data_path(path, name);
    return access(path, R_OK) == 0;
}

static inline data_file data_load(const char *name)
{
    char path[DATA_PATH_BYTES];
    data_file f;
    tl_error err = { .text = "" };
    data_path(path, name);
    if (tl_file_read(path, DATA_FILE_BYTES_MAX, &f.data, &f.bytes, &err) != TL_OK)
        fail_msg("%s", err.text);
    return f;
}

static inline tl_npy data_array(const data_file *f)
{
    tl_npy array;
    tl_error err = { .text = "" };
    if (tl_npy_parse(f->data, f->bytes, &array, &err) != TL_OK) fail_msg("%s", err.text);
    return array;
}

/* Position here of number `index` of an array: images [n, c, h, w] lie as [n, h, w, c]. */
static inline size_t data_place(const tl_npy *array, size_t index)
{
    if (array->rank != 4) return index;
    const size_t channels = array->shape[1], pixels = array->shape[2] * array->shape[3];
    const size_t pixel = index % pixels, rest = index / pixels;
    return (rest / channels * pixels + pixel) * channels + rest % channels;
}

typedef struct data_numbers {
    float *values; /* free'd by the caller */
    size_t count;
    uint32_t items; /* the first dimension */
} data_numbers;

static inline data_numbers data_read(const char *name)
{
    data_file f = data_load(name);
    const tl_npy array = data_array(&f);
    data_numbers n = { .values = malloc(array.count * sizeof(float) + 1),
                       .count = array.count,
                       .items = array.rank > 0 ? (uint32_t)array.shape[0] : 1 };
    assert_non_null(n.values);
    for (size_t i = 0; i < array.count; i++)
        n.values[data_place(&array, i)] = (float)tl_npy_number(&array, i);
    free(f.data);
    return n;
}

/* `options` may be NULL. */
static inline void data_import(const char *name, const tl_onnx_options *options, tl_graph **graph,
                               float **flat)
{
    char path[DATA_PATH_BYTES];
    tl_error err = { .text = "" };
    data_path(path, name);
    if (tl_onnx_import_file(path, options, graph, flat, &err) != TL_OK) fail_msg("%s", err.text);
}

/* The network's first output for `batch` items of its first input; free'd by the caller. */
static inline data_numbers data_infer(tl_graph *graph, const float *flat, const float *x,
                                      uint32_t batch, uint32_t threads)
{
    const tl_plan_options options = { .batch_max = batch,
                                      .mode = TL_PLAN_INFER,
                                      .threads = threads };
    tl_weights *weights;
    tl_plan *plan;
    tl_error err = { .text = "" };
    if (tl_weights_create(graph, flat, &weights, &err) != TL_OK) fail_msg("%s", err.text);
    if (tl_plan_create(graph, &options, &plan, &err) != TL_OK) fail_msg("%s", err.text);
    memcpy(tl_plan_input(plan, 0), x,
           batch * tl_shape_count(tl_graph_input_shape(graph, 0)) * sizeof *x);
    if (tl_plan_infer(plan, weights, batch, &err) != TL_OK) fail_msg("%s", err.text);
    data_numbers out = { .count = batch * tl_shape_count(tl_graph_output_shape(graph, 0)),
                         .items = batch };
    out.values = malloc(out.count * sizeof(float));
    assert_non_null(out.values);
    memcpy(out.values, tl_plan_output(plan, 0), out.count * sizeof(float));
    tl_plan_destroy(&plan);
    tl_weights_release(&weights);
    return out;
}

/* No number is further off than `share` of the largest, or of `least` if that is larger. */
static inline void data_assert_close(const char *what, const float *ours, const float *theirs,
                                     size_t count, double share, double least)
{
    double largest = least;
    double worst = 0.0;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)theirs[i]));
    for (size_t i = 0; i < count; i++) {
        double error = fabs((double)ours[i] - (double)theirs[i]);
        worst = fmax(worst, error);
        if (!(error <= share * largest))
            fail_msg("%s: number %zu of %zu is %.9g, not %.9g", what, i, count, (double)ours[i],
                     (double)theirs[i]);
    }
    print_message("%s: largest error %.2g of %.3g (allowed %.2g)\n", what, worst, largest,
                  share * largest);
}

#endif

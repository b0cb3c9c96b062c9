/* json_parse.c - how fast a request's JSON is read: ours (over yajl) and jansson, in turn, on the
 * same body: 30 features as a Python client writes them. Also how fast floats are written. */
#include "format/json.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FEATURES = 30, ROUNDS = 7, REPEATS = 20000 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void make_body(tl_text *body)
{
    tl_text_puts(body,
                 "{\"id\": \"6f0c2a9e-5d3b-4c55-9a35-2b7e5f0c1d11\", \"parameters\": {\"site\": "
                 "\"north\", \"line\": \"line-07\", \"part_number\": \"PCB-4711\"}, \"inputs\": "
                 "[{\"name\": \"features\", \"shape\": [1, 30], \"datatype\": \"FP32\", "
                 "\"data\": [");
    for (int i = 0; i < FEATURES; i++) {
        double x =
            (double)(float)(0.37 * i - 4.1 + 0.001234 * i * i); /* a float32 seen as double */
        tl_text_printf(body, "%s%.17g", i == 0 ? "" : ", ", x);
    }
    tl_text_puts(body, "]}], \"outputs\": [{\"name\": \"scores\"}]}");
}

static double run_ours(const tl_text *body, double *sum)
{
    tl_json_parser *parser = NULL;
    tl_arena arena;
    tl_arena_init(&arena, 1 << 20);
    if (tl_json_parser_create(NULL, &parser, NULL) != TL_OK) return 0;
    double start = now_s();
    for (int i = 0; i < REPEATS; i++) {
        const tl_json *root = NULL;
        float x[FEATURES];
        tl_arena_reset(&arena);
        if (tl_json_parse(parser, body->data, body->bytes, &arena, &root, NULL) != TL_OK) return 0;
        const tl_json *input = tl_json_first(tl_json_get(root, "inputs"));
        size_t count = tl_json_copy_floats(tl_json_get(input, "data"), x, FEATURES);
        for (size_t k = 0; k < count; k++) *sum += (double)x[k];
    }
    double span = now_s() - start;
    tl_json_parser_destroy(&parser);
    tl_arena_destroy(&arena);
    return 1e-6 * (double)body->bytes * REPEATS / span;
}

static double run_jansson(const tl_text *body, double *sum)
{
    double start = now_s();
    for (int i = 0; i < REPEATS; i++) {
        json_t *root = json_loadb(body->data, body->bytes, JSON_REJECT_DUPLICATES, NULL);
        json_t *data = json_object_get(json_array_get(json_object_get(root, "inputs"), 0), "data");
        float x[FEATURES];
        size_t count = json_array_size(data);
        for (size_t k = 0; k < count; k++) x[k] = (float)json_number_value(json_array_get(data, k));
        for (size_t k = 0; k < count; k++) *sum += (double)x[k];
        json_decref(root);
    }
    return 1e-6 * (double)body->bytes * REPEATS / (now_s() - start);
}

static double floats_ns(bool ours)
{
    char out[64];
    size_t bytes = 0;
    double start = now_s();
    for (int i = 1; i <= REPEATS * 20; i++) {
        float x = 1.0f / (float)i;
        bytes += ours ? tl_json_format_float(x, out)
                      : (size_t)snprintf(out, sizeof out, "%.9g", (double)x);
    }
    return bytes == 0 ? 0 : 1e9 * (now_s() - start) / (REPEATS * 20);
}

static double largest(double a, double b)
{
    return a > b ? a : b;
}
static double smallest(double a, double b)
{
    return a < b ? a : b;
}

int main(void)
{
    tl_text body;
    tl_text_init(&body, 1 << 16);
    make_body(&body);
    double ours = 0, jansson = 0, sum_ours = 0, sum_jansson = 0, float_ns = 1e9, printf_ns = 1e9;
    for (int round = 0; round < ROUNDS; round++) { /* in turn; the best of each */
        ours = largest(ours, run_ours(&body, &sum_ours));
        jansson = largest(jansson, run_jansson(&body, &sum_jansson));
        float_ns = smallest(float_ns, floats_ns(true));
        printf_ns = smallest(printf_ns, floats_ns(false));
    }
    bool same = sum_ours == sum_jansson;
    printf("body: %zu bytes, %d floats; best of %d rounds\n", body.bytes, FEATURES, ROUNDS);
    printf("%-28s %8.1f MB/s  %6.2f us a body\n", "read: ours (yajl)", ours,
           (double)body.bytes / ours);
    printf("%-28s %8.1f MB/s  %6.2f us a body\n", "read: jansson", jansson,
           (double)body.bytes / jansson);
    printf("%-28s %8.1f ns\n%-28s %8.1f ns\n", "write a float: ours", float_ns,
           "write a float: printf %.9g", printf_ns);
    printf("{\"bench\": \"json-parse\", \"figures\": {\"ours_mb_s\": %.1f, \"jansson_mb_s\": %.1f, "
           "\"float_ours_ns\": %.1f, \"float_printf_ns\": %.1f, \"same_values\": %s}, \"ratio\": "
           "%.2f, \"bar\": 1.0, \"met\": %s}\n",
           ours, jansson, float_ns, printf_ns, same ? "true" : "false", ours / jansson,
           same && ours >= jansson ? "true" : "false");
    tl_text_destroy(&body);
    return same ? 0 : 1;
}

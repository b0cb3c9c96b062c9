/* request.c - the requests of the load generator, rendered before the clock starts. */
#include "load.h"

#include "base/rng.h"
#include "sim/board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES_MAX = 1024, FEATURE_BYTES_MAX = 12 };

struct load_requests {
    const load_options *options;
    size_t count;
    uint32_t *labels; /* [count], the truth */
    /* Features: whole requests. */
    char **texts;
    size_t *text_bytes;
    /* Boards: a head for each line, then the pixels. */
    char (*heads)[HEAD_BYTES_MAX]; /* [lines] */
    size_t *head_bytes;
    tl_sim_board *boards;
};

/* Each class has its own centre, so that labels can be learned. */
static void features_write(load_requests *requests, size_t index, tl_rng *rng)
{
    const load_options *o = requests->options;
    char *body = malloc(o->features * FEATURE_BYTES_MAX + 256);
    char *text = malloc(o->features * FEATURE_BYTES_MAX + 512);
    if (body == NULL || text == NULL) abort();
    uint32_t label = (uint32_t)tl_rng_below(rng, o->classes);
    int bytes = sprintf(body,
                        "{\"inputs\":[{\"name\":\"features\",\"shape\":[1,%u],"
                        "\"datatype\":\"FP32\",\"data\":[",
                        o->features);
    for (uint32_t i = 0; i < o->features; i++) {
        double centre = i % o->classes == label ? 1.0 : 0.0;
        double value = centre + 2.0 * tl_rng_unit(rng) - 1.0;
        bytes += sprintf(body + bytes, "%s%.5f", i == 0 ? "" : ",", value);
    }
    bytes += sprintf(body + bytes, "]}]}");
    int head = sprintf(text,
                       "POST /v2/models/%s/infer HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                       "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n",
                       o->loop, bytes);
    memcpy(text + head, body, (size_t)bytes);
    free(body);
    requests->texts[index] = text;
    requests->text_bytes[index] = (size_t)(head + bytes);
    requests->labels[index] = label;
}

static void head_write(load_requests *requests, uint32_t line)
{
    char json[512];
    int bytes = sprintf(json,
                        "{\"parameters\":{\"line\":\"L%02u\"},\"inputs\":["
                        "{\"name\":\"image\",\"datatype\":\"UINT8\",\"shape\":[1,64,64],"
                        "\"parameters\":{\"binary_data_size\":4096}},"
                        "{\"name\":\"reference\",\"datatype\":\"UINT8\",\"shape\":[1,64,64],"
                        "\"parameters\":{\"binary_data_size\":4096}}],"
                        "\"outputs\":[{\"name\":\"label\"},{\"name\":\"flagged\"}]}",
                        line);
    int head = sprintf(requests->heads[line],
                       "POST /v2/models/%s/infer HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                       "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n"
                       "Inference-Header-Content-Length: %d\r\n\r\n%s",
                       requests->options->loop, bytes + 2 * TL_SIM_PIXELS, bytes, json);
    requests->head_bytes[line] = (size_t)head;
}

load_requests *load_requests_make(const load_options *options, size_t count)
{
    load_requests *requests = calloc(1, sizeof *requests);
    if (requests == NULL) abort();
    requests->options = options;
    requests->count = count;
    requests->labels = calloc(count, sizeof *requests->labels);
    if (strcmp(options->input, "board") == 0) {
        tl_sim_plant plant = { .seed = options->seed, .defect_rate = 0.3 };
        requests->heads = calloc(options->lines, sizeof *requests->heads);
        requests->head_bytes = calloc(options->lines, sizeof *requests->head_bytes);
        requests->boards = malloc(count * sizeof *requests->boards);
        if (requests->boards == NULL || requests->heads == NULL) abort();
        for (uint32_t line = 0; line < options->lines; line++) head_write(requests, line);
        for (size_t i = 0; i < count; i++) {
            tl_sim_board_draw(&plant, (uint32_t)(i % options->lines), i / options->lines,
                              &requests->boards[i]);
            requests->labels[i] = requests->boards[i].label;
        }
    } else {
        tl_rng rng;
        tl_rng_seed(&rng, options->seed, 0);
        requests->texts = calloc(count, sizeof *requests->texts);
        requests->text_bytes = calloc(count, sizeof *requests->text_bytes);
        for (size_t i = 0; i < count; i++) features_write(requests, i, &rng);
    }
    return requests;
}

void load_requests_free(load_requests *requests)
{
    for (size_t i = 0; requests->texts != NULL && i < requests->count; i++)
        free(requests->texts[i]);
    free(requests->texts);
    free(requests->text_bytes);
    free(requests->heads);
    free(requests->head_bytes);
    free(requests->boards);
    free(requests->labels);
    free(requests);
}

size_t load_request_parts(const load_requests *requests, uint64_t index, struct iovec *parts)
{
    size_t item = (size_t)(index % requests->count);
    if (requests->boards == NULL) {
        parts[0] = (struct iovec){ requests->texts[item], requests->text_bytes[item] };
        return 1;
    }
    size_t line = item % requests->options->lines;
    parts[0] = (struct iovec){ requests->heads[line], requests->head_bytes[line] };
    parts[1] = (struct iovec){ requests->boards[item].image, TL_SIM_PIXELS };
    parts[2] = (struct iovec){ requests->boards[item].reference, TL_SIM_PIXELS };
    return 3;
}

size_t load_feedback_write(const load_requests *requests, uint64_t index, const char *id, char *out,
                           size_t capacity)
{
    char json[200], name[16];
    uint32_t label = requests->labels[index % requests->count];
    snprintf(name, sizeof name, "c%u", label);
    int bytes = snprintf(json, sizeof json, "{\"prediction_id\":\"%.*s\",\"label\":\"%s\"}",
                         ID_BYTES, id, requests->boards != NULL ? TL_SIM_CLASSES[label] : name);
    return (size_t)snprintf(out, capacity,
                            "POST /v2/models/%s/feedback HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                            requests->options->loop, bytes, json);
}

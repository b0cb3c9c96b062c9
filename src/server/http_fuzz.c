/* Fuzz target: everything that the server does with a request's bytes below the HTTP library -
 * path, inference bodies in JSON and binary, feedback bodies, times - and the answer to what was
 * taken.
 *
 * Input: one byte that chooses what it is for, two that say where the JSON ends, then the body. */
#include "server/api/feedback_read.h"
#include "server/api/infer.h"
#include "server/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static tl_json_parser *parser;
static tl_arena arena;

static const tl_loop_info loops[] = {
    { .name = "vectors",
      .input = TL_INPUT_FEATURES,
      .feature_count = 3,
      .class_count = 2,
      .classes = { "ok", "bad" } },
    { .name = "boards",
      .input = TL_INPUT_IMAGE,
      .has_template = true,
      .height = 8,
      .width = 8,
      .channels = 1,
      .class_count = 2,
      .classes = { "ok", "bad" } },
};

/* What the loop would be given is within what its header promises. */
static void check_item(const tl_item *item, const tl_loop_info *loop)
{
    if (loop->input == TL_INPUT_FEATURES) {
        TL_ASSERT(item->feature_count == loop->feature_count);
        for (size_t i = 0; i < item->feature_count; i++)
            TL_ASSERT(item->features[i] - item->features[i] == 0); /* finite */
        return;
    }
    const tl_image *image = &item->image;
    TL_ASSERT(image->encoding != TL_IMAGE_NONE);
    uint8_t sum = 0;
    for (size_t i = 0; i < image->bytes; i++) sum ^= ((const uint8_t *)image->data)[i];
    if (image->encoding == TL_IMAGE_U8)
        TL_ASSERT(image->bytes == (size_t)image->height * image->width * image->channels);
    volatile uint8_t used = sum;
    (void)used;
}

static void infer(const tl_loop_info *loop, const uint8_t *body, size_t bytes, size_t json_bytes)
{
    tl_infer_request request;
    tl_error err;
    if (tl_infer_read(parser, &arena, loop, body, bytes, json_bytes, &request, &err) != TL_OK)
        return;
    TL_ASSERT(request.count >= 1);
    TL_ASSERT(request.count <= TL_ITEM_COUNT_MAX);
    for (size_t i = 0; i < request.count; i++) check_item(&request.items[i], loop);
    tl_prediction *predictions = calloc(request.count, sizeof *predictions);
    if (predictions == NULL) return;
    for (size_t i = 0; i < request.count; i++)
        predictions[i] = (tl_prediction){ .class_count = 2, .label = (uint32_t)i };
    tl_text text;
    tl_text_init(&text, 1 << 24);
    size_t json = tl_infer_write(&request.form, loop, predictions, request.count, &text);
    TL_ASSERT(json <= text.bytes);
    /* The JSON part of the answer is JSON again. */
    const tl_json *root;
    tl_arena_reset(&arena);
    TL_ASSERT(tl_json_parse(parser, text.data, json > 0 ? json : text.bytes, &arena, &root, &err) ==
              TL_OK);
    tl_text_destroy(&text);
    free(predictions);
}

static void feedback(const uint8_t *body, size_t bytes)
{
    const tl_json *root;
    tl_feedback_body read;
    tl_error err;
    if (tl_json_parse(parser, body, bytes, &arena, &root, &err) != TL_OK) return;
    if (tl_feedback_read(root, "me", &arena, &read, &err) != TL_OK) return;
    TL_ASSERT(read.count >= 1);
    TL_ASSERT(read.count <= TL_ITEM_COUNT_MAX);
    for (size_t i = 0; i < read.count; i++) {
        TL_ASSERT(!tl_id_is_none(read.items[i].prediction_id));
        TL_ASSERT(read.items[i].time_us >= 0);
        TL_ASSERT(read.items[i].kind != TL_FEEDBACK_LABEL || read.items[i].label != NULL);
    }
}

static void path(const uint8_t *body, size_t bytes)
{
    static const char *const methods[] = { "GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "" };
    tl_route_match match;
    char *text = tl_arena_strndup(&arena, (const char *)body, bytes);
    int64_t time_us;
    for (size_t i = 0; i < TL_COUNT_OF(methods); i++) {
        tl_route_find(methods[i], text, &match);
        TL_ASSERT(strlen(match.loop) < TL_TEXT_BYTES_MAX);
    }
    (void)tl_time_parse(text, &time_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    if (parser == NULL) {
        if (tl_json_parser_create(NULL, &parser, NULL) != TL_OK) abort();
        tl_arena_init(&arena, 64 << 20);
    }
    size_t bytes = size - 3, json_bytes = (size_t)data[1] << 8 | data[2];
    /* A copy of exactly its size, so that reading past it is seen. */
    uint8_t *body = malloc(bytes + (bytes == 0));
    if (body == NULL) return 0;
    memcpy(body, data + 3, bytes);
    if (json_bytes > bytes) json_bytes = bytes;
    switch (data[0] & 3) {
    case 0: infer(&loops[0], body, bytes, json_bytes); break;
    case 1: infer(&loops[1], body, bytes, json_bytes); break;
    case 2: feedback(body, bytes); break;
    default: path(body, bytes); break;
    }
    free(body);
    tl_arena_reset(&arena);
    return 0;
}

/* Bodies of the Open Inference Protocol: what is taken, what is refused, what is answered. */
#include "server/api/infer.h"
#include "server/api/tensor_input.h"

#include "format/base64.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct bench {
    tl_json_parser *parser;
    tl_arena arena;
    tl_loop_info vectors, boards;
    tl_infer_request request;
    tl_error err;
    char *body; /* of the last request */
} bench;

static int setup(void **state)
{
    bench *b = calloc(1, sizeof *b);
    assert_int_equal(tl_json_parser_create(NULL, &b->parser, NULL), TL_OK);
    tl_arena_init(&b->arena, 16 << 20);
    b->vectors = (tl_loop_info){ .name = "vectors",
                                 .input = TL_INPUT_FEATURES,
                                 .feature_count = 2,
                                 .class_count = 3,
                                 .classes = { "ok", "open", "short" } };
    b->boards = (tl_loop_info){ .name = "boards",
                                .input = TL_INPUT_IMAGE,
                                .has_template = true,
                                .height = 2,
                                .width = 2,
                                .channels = 1,
                                .class_count = 2,
                                .classes = { "ok", "bad" } };
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench *b = *state;
    tl_json_parser_destroy(&b->parser);
    tl_arena_destroy(&b->arena);
    free(b->body);
    free(b);
    return 0;
}

/* JSON followed by binary data. A copy of exactly this size, so that reading past it is seen. */
static tl_status read_with(bench *b, const tl_loop_info *loop, const char *json, const void *blob,
                           size_t blob_bytes)
{
    size_t json_bytes = strlen(json);
    free(b->body);
    char *body = b->body = malloc(json_bytes + blob_bytes + (json_bytes + blob_bytes == 0));
    assert_non_null(body);
    memcpy(body, json, json_bytes);
    if (blob_bytes > 0) memcpy(body + json_bytes, blob, blob_bytes);
    return tl_infer_read(b->parser, &b->arena, loop, body, json_bytes + blob_bytes, json_bytes,
                         &b->request, &b->err);
}

static tl_status read_json(bench *b, const tl_loop_info *loop, const char *json)
{
    return read_with(b, loop, json, NULL, 0);
}

#define FEATURES(shape, type, data)                                                                \
    "{\"inputs\":[{\"name\":\"features\",\"shape\":" shape ",\"datatype\":\"" type                 \
    "\",\"data\":" data "}]}"

static void features_come_flat_or_nested(void **state)
{
    bench *b = *state;
    static const char *const bodies[] = {
        FEATURES("[2,2]", "FP32", "[1,2,3,4.5]"),
        FEATURES("[2,2]", "FP64", "[[1,2],[3,4.5]]"),
    };
    for (size_t i = 0; i < TL_COUNT_OF(bodies); i++) {
        assert_int_equal(read_json(b, &b->vectors, bodies[i]), TL_OK);
        assert_int_equal(b->request.count, 2);
        assert_int_equal(b->request.items[1].feature_count, 2);
        assert_true(b->request.items[0].features[1] == 2.0f);
        assert_true(b->request.items[1].features[1] == 4.5f);
        assert_true(tl_id_is_none(b->request.items[0].id));
    }
}

static void every_number_type_comes_in_binary(void **state)
{
    bench *b = *state;
    static const struct {
        const char *type;
        uint8_t bytes[16];
        size_t element;
    } cases[] = {
        { "INT8", { 0xFE, 3 }, 1 },
        { "INT16", { 0xFE, 0xFF, 3, 0 }, 2 },
        { "INT32", { 0xFE, 0xFF, 0xFF, 0xFF, 3, 0, 0, 0 }, 4 },
        { "INT64", { 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 3 }, 8 },
        { "FP16", { 0x00, 0xC0, 0x00, 0x42 }, 2 },
        { "FP32", { 0, 0, 0, 0xC0, 0, 0, 0x40, 0x40 }, 4 },
        { "FP64", { 0, 0, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 8, 0x40 }, 8 },
    };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        char json[256];
        snprintf(json, sizeof json,
                 "{\"inputs\":[{\"name\":\"features\",\"shape\":[1,2],\"datatype\":\"%s\","
                 "\"parameters\":{\"binary_data_size\":%zu}}]}",
                 cases[i].type, cases[i].element * 2);
        if (read_with(b, &b->vectors, json, cases[i].bytes, cases[i].element * 2) != TL_OK)
            fail_msg("%s: %s", cases[i].type, b->err.text);
        assert_true(b->request.items[0].features[0] == -2.0f);
        assert_true(b->request.items[0].features[1] == 3.0f);
    }
}

static void nan_and_infinity_are_refused(void **state)
{
    bench *b = *state;
    static const float bad[][2] = { { NAN, 0 }, { 0, INFINITY }, { -INFINITY, 0 } };
    const char *json = "{\"inputs\":[{\"name\":\"features\",\"shape\":[1,2],\"datatype\":\"FP32\","
                       "\"parameters\":{\"binary_data_size\":8}}]}";
    for (size_t i = 0; i < TL_COUNT_OF(bad); i++) {
        assert_int_equal(read_with(b, &b->vectors, json, bad[i], 8), TL_EINVAL);
        assert_non_null(strstr(b->err.text, "not finite"));
    }
    /* Finite as a double, but not in single precision. */
    assert_int_equal(read_json(b, &b->vectors, FEATURES("[1,2]", "FP64", "[1e39,0]")), TL_EINVAL);
}

static void malformed_requests_are_refused(void **state)
{
    bench *b = *state;
    static const struct {
        tl_status status;
        const char *body, *text;
    } cases[] = {
        { TL_EINVAL, "", "" },
        { TL_EINVAL, "[]", "must be a JSON object" },
        { TL_EINVAL, "{}", "\"inputs\"" },
        { TL_EINVAL, "{\"inputs\":{}}", "\"inputs\"" },
        { TL_EINVAL, "{\"inputs\":[]}", "\"inputs\"" },
        { TL_EINVAL, "{\"inputs\":[1]}", "array of objects" },
        { TL_EINVAL, "{\"inputs\":[{}]}", "\"name\"" },
        { TL_EINVAL, "{\"parameters\":3,\"inputs\":[]}", "\"parameters\"" },
        { TL_EINVAL, "{\"inputs\":[{\"name\":\"features\"}]}", "\"datatype\"" },
        { TL_EUNSUPPORTED, FEATURES("[1,2]", "BF16", "[1,2]"), "BF16" },
        { TL_EUNSUPPORTED, FEATURES("[1,2]", "FP16", "[1,2]"), "binary only" },
        { TL_EUNSUPPORTED, FEATURES("[1,2]", "BYTES", "[\"a\",\"b\"]"), "not numbers" },
        { TL_ESHAPE, FEATURES("[2]", "FP32", "[1,2]"), "[n, 2]" },
        { TL_ESHAPE, FEATURES("[1,3]", "FP32", "[1,2,3]"), "[n, 2]" },
        { TL_ESHAPE, FEATURES("[1,2]", "FP32", "[1]"), "2 numbers" },
        { TL_ESHAPE, FEATURES("[1,2]", "FP32", "[1,2,3]"), "2 numbers" },
        { TL_ESHAPE, FEATURES("[-1,2]", "FP32", "[1,2]"), "at least 1" },
        { TL_ESHAPE, FEATURES("[0,2]", "FP32", "[]"), "at least 1" },
        { TL_ESHAPE, FEATURES("[1.5,2]", "FP32", "[1,2]"), "whole" },
        { TL_ESHAPE, FEATURES("[]", "FP32", "[1,2]"), "1 to 4" },
        { TL_ESHAPE, FEATURES("[1,1,1,1,2]", "FP32", "[1,2]"), "1 to 4" },
        { TL_ESHAPE, FEATURES("\"2\"", "FP32", "[1,2]"), "1 to 4" },
        { TL_ESHAPE, FEATURES("[1e300,2]", "FP32", "[1,2]"), "whole" },
        { TL_ELIMIT, FEATURES("[2147483648,2147483648]", "FP32", "[1,2]"), "too many" },
        { TL_ELIMIT, FEATURES("[257,2]", "FP32", "[1,2]"), "at most 256" },
        { TL_EINVAL, FEATURES("[1,2]", "FP32", "[1,\"2\"]"), "nothing but numbers" },
        { TL_EINVAL, FEATURES("[1,2]", "FP32", "[1,null]"), "nothing but numbers" },
        { TL_EINVAL, FEATURES("[1,2]", "FP32", "\"ab\""), "nothing but numbers" },
        { TL_EINVAL, FEATURES("[1,2]", "INT32", "[1,2.5]"), "not whole" },
        { TL_EINVAL,
          "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}]}",
          "takes no input \"x\"; it takes features" },
        { TL_EINVAL, "{\"inputs\":[{\"name\":\"features\",\"shape\":[1,2],\"datatype\":\"FP32\"}]}",
          "either \"data\"" },
        { TL_EINVAL,
          "{\"inputs\":[{\"name\":\"features\",\"shape\":[1,2],\"datatype\":\"FP32\","
          "\"data\":[1,2]},{\"name\":\"features\",\"shape\":[1,2],\"datatype\":\"FP32\","
          "\"data\":[1,2]}]}",
          "twice" },
    };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        b->err.text[0] = '\0';
        tl_status status = read_json(b, &b->vectors, cases[i].body);
        if (status != cases[i].status || strstr(b->err.text, cases[i].text) == NULL)
            fail_msg("%s: %s, %s", cases[i].body, tl_status_name(status), b->err.text);
    }
}

static void deep_json_is_refused(void **state)
{
    bench *b = *state;
    static char deep[200001];
    memset(deep, '[', sizeof deep - 1);
    tl_status status = read_json(b, &b->vectors, deep);
    assert_true(status == TL_ELIMIT || status == TL_EINVAL);
}

static void sizes_of_binary_data_are_checked(void **state)
{
    bench *b = *state;
    static const float blob[4] = { 1, 2, 3, 4 };
    static const struct {
        tl_status status;
        const char *size;
        size_t bytes;
    } cases[] = { { TL_OK, "8", 8 },         { TL_EINVAL, "8", 7 },
                  { TL_EINVAL, "8", 9 },     { TL_ESHAPE, "4", 4 },
                  { TL_ESHAPE, "16", 16 },   { TL_EINVAL, "-8", 8 },
                  { TL_EINVAL, "\"8\"", 8 }, { TL_EINVAL, "18446744073709551615", 8 },
                  { TL_EINVAL, "8.5", 8 },   { TL_EINVAL, "1e30", 8 } };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        char json[256];
        snprintf(json, sizeof json,
                 "{\"inputs\":[{\"name\":\"features\",\"shape\":[1,2],\"datatype\":\"FP32\","
                 "\"parameters\":{\"binary_data_size\":%s}}]}",
                 cases[i].size);
        assert_int_equal(read_with(b, &b->vectors, json, blob, cases[i].bytes), cases[i].status);
    }
}

/* ---- Images ---------------------------------------------------------------------------------- */

static void image_files_come_in_binary_and_base64(void **state)
{
    bench *b = *state;
    static const uint8_t blob[] = { 3,   0, 0, 0, 'a', 'b', 'c', 1, 0, 0, 0,
                                    'd', 2, 0, 0, 0,   'e', 'f', 0, 0, 0, 0 };
    tl_status status = read_with(
        b, &b->boards,
        "{\"inputs\":[{\"name\":\"image\",\"shape\":[2],\"datatype\":\"BYTES\","
        "\"parameters\":{\"binary_data_size\":12}},{\"name\":\"reference\",\"shape\":[2,1],"
        "\"datatype\":\"BYTES\",\"parameters\":{\"binary_data_size\":10}}]}",
        blob, sizeof blob);
    assert_int_equal(status, TL_OK);
    const tl_item *items = b->request.items;
    assert_int_equal(b->request.count, 2);
    assert_int_equal(items[0].image.encoding, TL_IMAGE_FILE);
    assert_int_equal(items[0].image.bytes, 3);
    assert_memory_equal(items[1].image.data, "d", 1);
    assert_memory_equal(items[0].reference.data, "ef", 2);
    assert_int_equal(items[1].reference.encoding, TL_IMAGE_NONE);
    status = read_json(b, &b->boards,
                       "{\"inputs\":[{\"name\":\"image\",\"shape\":[2,1],\"datatype\":\"BYTES\","
                       "\"data\":[[\"YWJj\"],[\"ZA==\"]]}]}");
    assert_int_equal(status, TL_OK);
    assert_memory_equal(b->request.items[0].image.data, "abc", 3);
    assert_int_equal(b->request.items[1].image.bytes, 1);
    assert_int_equal(b->request.items[1].reference.encoding, TL_IMAGE_NONE);
}

static void damaged_image_elements_are_refused(void **state)
{
    bench *b = *state;
    static const struct {
        uint8_t blob[12];
        size_t bytes, count;
    } blobs[] = {
        { { 1, 0, 0 }, 3, 1 },                           /* no length */
        { { 2, 0, 0, 0, 'a' }, 5, 1 },                   /* cut off */
        { { 9, 0, 0, 0, 'a', 'b', 'c' }, 7, 2 },         /* the same, and another should follow */
        { { 1, 0, 0, 0, 'a', 1, 0, 0, 0, 'b' }, 10, 1 }, /* one too many */
        { { 0xFF, 0xFF, 0xFF, 0xFF, 'a' }, 5, 1 },       /* huge */
        { { 0, 0, 0, 0 }, 4, 1 },                        /* empty */
    };
    for (size_t i = 0; i < TL_COUNT_OF(blobs); i++) {
        char json[256];
        snprintf(json, sizeof json,
                 "{\"inputs\":[{\"name\":\"image\",\"shape\":[%zu],\"datatype\":\"BYTES\","
                 "\"parameters\":{\"binary_data_size\":%zu}}]}",
                 blobs[i].count, blobs[i].bytes);
        assert_int_not_equal(read_with(b, &b->boards, json, blobs[i].blob, blobs[i].bytes), TL_OK);
    }
    static const char *const bodies[] = {
        "{\"inputs\":[{\"name\":\"image\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"%\"]}]}",
        "{\"inputs\":[{\"name\":\"image\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[7]}]}",
        "{\"inputs\":[{\"name\":\"image\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"\"]}]}",
        "{\"inputs\":[{\"name\":\"image\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":\"YQ\"}]}",
        "{\"inputs\":[{\"name\":\"image\",\"shape\":[2],\"datatype\":\"BYTES\","
        "\"data\":[\"YQ==\"]}]}",
        "{\"inputs\":[{\"name\":\"image\",\"shape\":[1,2],\"datatype\":\"BYTES\","
        "\"data\":[\"YQ==\",\"YQ==\"]}]}",
        "{\"inputs\":[{\"name\":\"reference\",\"shape\":[1],\"datatype\":\"BYTES\","
        "\"data\":[\"YQ==\"]}]}",
        "{\"inputs\":[{\"name\":\"image\",\"shape\":[1],\"datatype\":\"BYTES\","
        "\"data\":[\"YQ==\"]},{\"name\":\"reference\",\"shape\":[2],\"datatype\":\"BYTES\","
        "\"data\":[\"YQ==\",\"YQ==\"]}]}",
    };
    for (size_t i = 0; i < TL_COUNT_OF(bodies); i++)
        assert_int_not_equal(read_json(b, &b->boards, bodies[i]), TL_OK);
}

#define PIXELS(shape, type, parameters, data)                                                      \
    "{\"inputs\":[{\"name\":\"image\",\"shape\":" shape ",\"datatype\":\"" type                    \
    "\",\"parameters\":{" parameters "},\"data\":" data "}]}"

static void pixels_come_in_every_layout(void **state)
{
    bench *b = *state;
    static const uint8_t rows[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
    static const struct {
        const char *body;
        uint8_t want[12];
        uint32_t height, width, channels;
        size_t bytes;
    } cases[] = {
        { PIXELS("[1,2,2]", "UINT8", "", "[0,1,2,255]"), { 0, 1, 2, 255 }, 2, 2, 1, 4 },
        { PIXELS("[1,2,2,3]", "UINT8", "", "[0,1,2,3,4,5,6,7,8,9,10,11]"),
          { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 },
          2,
          2,
          3,
          12 },
        { PIXELS("[1,3,2,2]", "UINT8", "", "[0,1,2,3,4,5,6,7,8,9,10,11]"),
          { 0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11 },
          2,
          2,
          3,
          12 },
        { PIXELS("[1,3,4,1]", "UINT8", "\"layout\":\"NCHW\"", "[0,1,2,3,4,5,6,7,8,9,10,11]"),
          { 0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11 },
          4,
          1,
          3,
          12 },
        { PIXELS("[1,1,2,2]", "FP32", "", "[0,0.5,1,0.2]"), { 0, 128, 255, 51 }, 2, 2, 1, 4 },
        { PIXELS("[1,2,2]", "FP32", "\"range\":255", "[0,1,254.6,3.4]"),
          { 0, 1, 255, 3 },
          2,
          2,
          1,
          4 },
        { PIXELS("[1,2,2]", "INT32", "", "[0,1,200,255]"), { 0, 1, 200, 255 }, 2, 2, 1, 4 },
    };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        if (read_json(b, &b->boards, cases[i].body) != TL_OK)
            fail_msg("%s: %s", cases[i].body, b->err.text);
        const tl_image *image = &b->request.items[0].image;
        assert_int_equal(image->encoding, TL_IMAGE_U8);
        assert_int_equal(image->height, cases[i].height);
        assert_int_equal(image->width, cases[i].width);
        assert_int_equal(image->channels, cases[i].channels);
        assert_int_equal(image->bytes, cases[i].bytes);
        assert_memory_equal(image->data, cases[i].want, cases[i].bytes);
    }
    assert_int_equal(read_with(b, &b->boards,
                               "{\"inputs\":[{\"name\":\"image\",\"shape\":[3,2,2],\"datatype\":"
                               "\"UINT8\",\"parameters\":{\"binary_data_size\":12}}]}",
                               rows, sizeof rows),
                     TL_OK);
    assert_int_equal(b->request.count, 3);
    assert_memory_equal(b->request.items[2].image.data, rows + 8, 4);
}

static void wrong_pixels_are_refused(void **state)
{
    bench *b = *state;
    static const char *const bodies[] = {
        PIXELS("[2,2]", "UINT8", "", "[0,1,2,3]"),
        PIXELS("[1,2,2,2]", "UINT8", "", "[0,1,2,3,4,5,6,7]"),
        PIXELS("[1,2,2]", "UINT8", "", "[0,1,2,256]"),
        PIXELS("[1,2,2]", "INT8", "", "[0,1,2,-1]"),
        PIXELS("[1,2,2]", "FP32", "", "[0,0.5,1,1.5]"),
        PIXELS("[1,2,2]", "FP32", "\"range\":2", "[0,0.5,1,1.5]"),
        PIXELS("[1,2,2]", "UINT8", "", "[0,1,2,1.5]"),
        PIXELS("[1,2,2]", "UINT8", "\"layout\":7", "[0,1]"),
    };
    for (size_t i = 0; i < TL_COUNT_OF(bodies); i++)
        assert_int_not_equal(read_json(b, &b->boards, bodies[i]), TL_OK);
}

/* ---- Parameters ------------------------------------------------------------------------------ */

#define INPUT_TWO                                                                                  \
    "\"inputs\":[{\"name\":\"features\",\"shape\":[2,2],\"datatype\":\"FP32\","                    \
    "\"data\":[1,2,3,4]}]}"
#define ID_A "0123456789abcdef0123456789abcdef"
#define ID_B "01234567-89ab-cdef-0123-456789abcde0"

static void parameters_are_read(void **state)
{
    bench *b = *state;
    static const char *const bodies[] = {
        "{\"id\":\"x\",\"parameters\":{\"site\":\"s\",\"line\":\"l\",\"part\":\"p\",\"version\":7,"
        "\"board\":\"b\",\"lot\":\"o\",\"shift\":\"n\","
        "\"request_id\":\"r\",\"priority\":1,\"item_ids\":[\"" ID_A "\",\"" ID_B "\"]}," INPUT_TWO,
        "{\"id\":\"x\",\"parameters\":{\"site\":\"s\",\"line\":\"l\",\"part\":\"p\","
        "\"board\":\"b\",\"lot\":\"o\",\"shift\":\"n\",\"version\":\"7\",\"request_id\":\"r\","
        "\"item_ids\":\"" ID_A ", " ID_B "\"}," INPUT_TWO,
    };
    for (size_t i = 0; i < TL_COUNT_OF(bodies); i++) {
        if (read_json(b, &b->vectors, bodies[i]) != TL_OK) fail_msg("%s", b->err.text);
        assert_string_equal(b->request.items[1].site, "s");
        assert_string_equal(b->request.items[1].line, "l");
        assert_string_equal(b->request.items[0].part, "p");
        assert_string_equal(b->request.items[1].board, "b");
        assert_string_equal(b->request.items[0].lot, "o");
        assert_string_equal(b->request.items[1].shift, "n");
        assert_int_equal(b->request.version, 7);
        assert_string_equal(b->request.request_id, "r");
        assert_string_equal(b->request.form.id, "x");
        assert_int_equal(b->request.items[0].id.bytes[15], 0xef);
        assert_int_equal(b->request.items[1].id.bytes[15], 0xe0);
    }
}

static void wrong_parameters_are_refused(void **state)
{
    bench *b = *state;
    static const char *const bodies[] = {
        "{\"id\":7," INPUT_TWO,
        "{\"parameters\":{\"site\":7}," INPUT_TWO,
        "{\"parameters\":{\"board\":7}," INPUT_TWO,
        "{\"parameters\":{\"site\":"
        "\"0123456789012345678901234567890123456789012345678901234567890123\"}," INPUT_TWO,
        "{\"parameters\":{\"version\":\"x\"}," INPUT_TWO,
        "{\"parameters\":{\"version\":-1}," INPUT_TWO,
        "{\"parameters\":{\"request_id\":1}," INPUT_TWO,
        "{\"parameters\":{\"item_ids\":\"" ID_A "\"}," INPUT_TWO,
        "{\"parameters\":{\"item_ids\":\"" ID_A "," ID_A "," ID_A "\"}," INPUT_TWO,
        "{\"parameters\":{\"item_ids\":[\"" ID_A "\",\"zz\"]}," INPUT_TWO,
        "{\"parameters\":{\"item_ids\":[\"" ID_A "\",7]}," INPUT_TWO,
        "{\"parameters\":{\"item_ids\":7}," INPUT_TWO,
        "{\"parameters\":{\"item_ids\":\"00000000000000000000000000000000,"
        "00000000000000000000000000000000\"}," INPUT_TWO,
        "{\"parameters\":{\"binary_data_output\":1}," INPUT_TWO,
        "{\"outputs\":[{\"name\":\"nope\"}]," INPUT_TWO,
        "{\"outputs\":[{\"name\":\"label\"},{\"name\":\"label\"}]," INPUT_TWO,
        "{\"outputs\":[{}]," INPUT_TWO,
        "{\"outputs\":[{\"name\":\"scores\",\"parameters\":{\"classification\":2}}]," INPUT_TWO,
        "{\"outputs\":[{\"name\":\"scores\",\"parameters\":{\"binary_data\":\"y\"}}]," INPUT_TWO,
        "{\"outputs\":{\"name\":\"scores\"}," INPUT_TWO,
    };
    for (size_t i = 0; i < TL_COUNT_OF(bodies); i++)
        if (read_json(b, &b->vectors, bodies[i]) == TL_OK) fail_msg("taken: %s", bodies[i]);
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void answers_honour_the_form(void **state)
{
    bench *b = *state;
    tl_prediction predictions[2] = { { .version = 4, .class_count = 2, .scores = { 0.75f, 0.25f } },
                                     { .version = 5,
                                       .class_count = 3,
                                       .label = 2,
                                       .scores = { 0.25f, 0.25f, 0.5f },
                                       .flagged = true } };
    tl_text text;
    tl_text_init(&text, 1 << 20);
    assert_int_equal(
        read_json(b, &b->vectors,
                  "{\"outputs\":[{\"name\":\"label\"},{\"name\":\"scores\"}]," INPUT_TWO),
        TL_OK);
    assert_int_equal(tl_infer_write(&b->request.form, &b->vectors, predictions, 2, &text), 0);
    assert_non_null(strstr(text.data, "\"outputs\":[{\"name\":\"label\",\"datatype\":\"BYTES\","
                                      "\"shape\":[2,1],\"data\":[\"ok\",\"short\"]},"
                                      "{\"name\":\"scores\",\"datatype\":\"FP32\",\"shape\":[2,3],"
                                      "\"data\":[0.75,0.25,0,0.25,0.25,0.5]}]}"));
    /* The items were answered by two versions: the answer says so. */
    assert_non_null(strstr(text.data, "\"version\":4,\"epoch\":0,\"versions\":[4,5]"));
    assert_null(strstr(text.data, "\"epochs\""));
    tl_text_destroy(&text);
}

static void answers_come_in_binary(void **state)
{
    bench *b = *state;
    tl_prediction prediction = {
        .class_count = 3, .label = 1, .scores = { 0.25f, 0.5f, 0.25f }, .flagged = true
    };
    tl_text text;
    tl_text_init(&text, 1 << 20);
    assert_int_equal(read_json(b, &b->vectors,
                               "{\"parameters\":{\"binary_data_output\":true},\"outputs\":["
                               "{\"name\":\"flagged\"},{\"name\":\"label\"},{\"name\":\"scores\","
                               "\"parameters\":{\"binary_data\":false}}]," INPUT_TWO),
                     TL_OK);
    size_t json_bytes = tl_infer_write(&b->request.form, &b->vectors, &prediction, 1, &text);
    assert_int_equal(text.bytes, json_bytes + 1 + 4 + 4);
    assert_memory_equal(text.data + json_bytes, "\1\4\0\0\0open", 9);
    text.data[json_bytes] = '\0';
    assert_non_null(strstr(text.data, "{\"name\":\"flagged\",\"datatype\":\"BOOL\",\"shape\":[1],"
                                      "\"parameters\":{\"binary_data_size\":1}}"));
    assert_non_null(strstr(text.data, "\"parameters\":{\"binary_data_size\":8}"));
    assert_non_null(strstr(text.data, "\"data\":[0.25,0.5,0.25]"));
    tl_text_destroy(&text);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(features_come_flat_or_nested),
        CASE(every_number_type_comes_in_binary),
        CASE(nan_and_infinity_are_refused),
        CASE(malformed_requests_are_refused),
        CASE(deep_json_is_refused),
        CASE(sizes_of_binary_data_are_checked),
        CASE(image_files_come_in_binary_and_base64),
        CASE(damaged_image_elements_are_refused),
        CASE(pixels_come_in_every_layout),
        CASE(wrong_pixels_are_refused),
        CASE(parameters_are_read),
        CASE(wrong_parameters_are_refused),
        CASE(answers_honour_the_form),
        CASE(answers_come_in_binary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

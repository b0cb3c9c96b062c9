/* json_fuzz.c - any bytes as JSON: no crash, and what is accepted is whole and can be written. */
#include "format/json.h"

static void walk(const tl_json *value, tl_json_writer *w)
{
    if (value->key != NULL) {
        TL_ASSERT(value->key[value->key_bytes] == '\0');
        tl_json_key(w, value->key);
    }
    int64_t i;
    switch (value->kind) {
    case TL_JSON_NULL: tl_json_null(w); break;
    case TL_JSON_BOOL: tl_json_boolean(w, value->as.boolean); break;
    case TL_JSON_NUMBER:
        if (tl_json_int64(value, &i))
            tl_json_int(w, i);
        else
            tl_json_double(w, value->as.number.value);
        break;
    case TL_JSON_STRING:
        TL_ASSERT(value->as.string.data[value->as.string.bytes] == '\0');
        tl_json_string(w, value->as.string.data);
        break;
    case TL_JSON_NUMBERS:
        tl_json_array(w);
        for (size_t k = 0; k < value->as.numbers.count; k++)
            tl_json_float(w, (float)value->as.numbers.values[k]);
        tl_json_array_end(w);
        break;
    case TL_JSON_ARRAY:
        tl_json_array(w);
        for (const tl_json *v = tl_json_first(value); v != NULL; v = v->next) walk(v, w);
        tl_json_array_end(w);
        break;
    case TL_JSON_OBJECT:
        tl_json_object(w);
        for (const tl_json *v = tl_json_first(value); v != NULL; v = v->next) walk(v, w);
        tl_json_object_end(w);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static tl_json_parser *parser;
    static tl_arena arena;
    static tl_text text;
    if (parser == NULL) {
        TL_ASSERT(tl_json_parser_create(NULL, &parser, NULL) == TL_OK);
        tl_arena_init(&arena, 1 << 20);
        tl_text_init(&text, 8 << 20);
    }
    tl_arena_reset(&arena);
    const tl_json *root = NULL;
    tl_error err;
    if (tl_json_parse(parser, data, bytes, &arena, &root, &err) != TL_OK) {
        TL_ASSERT(root == NULL);
        TL_ASSERT(err.text[0] != '\0');
        return 0;
    }
    size_t count = 0;
    float floats[16];
    if (tl_json_count_numbers(root, &count))
        TL_ASSERT(tl_json_copy_floats(root, floats, 16) == (count < 16 ? count : 16));
    tl_json_writer w;
    tl_text_clear(&text);
    tl_json_begin(&w, &text);
    walk(root, &w);
    TL_ASSERT(tl_text_ok(&text));
    /* What was written is JSON again, unless a key was cut at a NUL and so became another's. */
    tl_status status = tl_json_parse(parser, text.data, text.bytes, &arena, &root, &err);
    TL_ASSERT(status == TL_OK || status == TL_ELIMIT || status == TL_EINVAL);
    return 0;
}

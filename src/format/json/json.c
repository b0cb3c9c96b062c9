/* json.c - reading: yajl's events become a document in the arena; and access to it. */
#include "format/json.h"

#include "format/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

enum {
    DEPTH_MAX_DEFAULT = 32,
    MEMBERS_MAX_DEFAULT = 256,
    BYTES_MAX_DEFAULT = 64 << 20,
    KEPT_BYTES_MAX = 1 << 20 /* scratch above this is given back after the request */
};

typedef struct frame {
    tl_json *container;
    tl_json *last;  /* newest child */
    uint64_t names; /* one bit for each key's hash: most keys are seen to be new at once */
    bool packed;    /* an array with only numbers so far; they wait in parser->numbers */
} frame;

struct tl_json_parser {
    tl_json_limits limits;
    tl_arena scratch; /* what yajl allocates during one parse */
    size_t scratch_bytes;
    double *numbers; /* of the innermost array */
    size_t number_count, number_capacity;
    frame *frames; /* [limits.depth_max] */
    uint32_t depth;
    tl_arena *arena; /* the rest: of the parse in progress */
    tl_json *root;
    const char *key;
    uint32_t key_bytes;
    tl_error failure;
};

/* ---- Memory for yajl --------------------------------------------------------------------------
 */

typedef struct scratch_head {
    _Alignas(16) size_t bytes;
} scratch_head;

static void *scratch_alloc(void *context, size_t bytes)
{
    tl_json_parser *parser = context;
    scratch_head *head = tl_arena_alloc(&parser->scratch, sizeof *head + bytes);
    TL_ASSERT(head != NULL); /* set aside before the parse: yajl does not check */
    head->bytes = bytes;
    return head + 1;
}

static void scratch_free(void *context, void *pointer)
{
    (void)context;
    (void)pointer;
}

static void *scratch_realloc(void *context, void *pointer, size_t bytes)
{
    if (pointer == NULL) return scratch_alloc(context, bytes);
    size_t old_bytes = ((scratch_head *)pointer)[-1].bytes;
    if (bytes <= old_bytes) return pointer;
    void *out = scratch_alloc(context, bytes);
    memcpy(out, pointer, old_bytes);
    return out;
}

/* yajl does not survive a failed allocation, so set aside all that it can need: small state, and
 * two buffers (the decoded string, a token cut off by the end) that double up to the text's size.
 */
static bool scratch_prepare(tl_json_parser *parser, size_t bytes)
{
    size_t need = 8 * bytes + 16384;
    if (need > parser->scratch_bytes) {
        tl_arena_destroy(&parser->scratch);
        parser->scratch_bytes = 0;
        if (tl_arena_alloc(&parser->scratch, need) == NULL) return false;
        parser->scratch_bytes = need;
    }
    tl_arena_reset(&parser->scratch);
    return true;
}

static void scratch_trim(tl_json_parser *parser)
{
    if (parser->scratch_bytes > KEPT_BYTES_MAX) {
        tl_arena_destroy(&parser->scratch);
        parser->scratch_bytes = 0;
    }
    if (parser->number_capacity > KEPT_BYTES_MAX / sizeof(double)) {
        free(parser->numbers);
        parser->numbers = NULL;
        parser->number_capacity = 0;
    }
}

/* ---- Building ---------------------------------------------------------------------------------
 */

static int fail(tl_json_parser *parser, tl_status status, const char *text)
{
    tl_fail(&parser->failure, status, "%s", text);
    return 0;
}

static int fail_memory(tl_json_parser *parser)
{
    return fail(parser, TL_ELIMIT, "the document needs more memory than a request may use");
}

static tl_json *node_link(tl_json_parser *parser, tl_json_kind kind)
{
    tl_json *node = tl_arena_alloc(parser->arena, sizeof *node);
    if (node == NULL) {
        fail_memory(parser);
        return NULL;
    }
    *node = (tl_json){ .kind = kind, .key = parser->key, .key_bytes = parser->key_bytes };
    parser->key = NULL;
    parser->key_bytes = 0;
    if (parser->depth == 0) {
        parser->root = node;
        return node;
    }
    frame *top = &parser->frames[parser->depth - 1];
    if (top->last == NULL)
        top->container->as.list.first = node;
    else
        top->last->next = node;
    top->last = node;
    top->container->as.list.count++;
    return node;
}

/* Something else came after numbers: they become nodes of a general array. */
static bool numbers_unpack(tl_json_parser *parser)
{
    frame *top = &parser->frames[parser->depth - 1];
    top->packed = false;
    for (size_t i = 0; i < parser->number_count; i++) {
        tl_json *node = node_link(parser, TL_JSON_NUMBER);
        if (node == NULL) return false;
        double value = parser->numbers[i];
        node->as.number.value = value;
        if (fabs(value) <= 9007199254740992.0 && value == trunc(value)) {
            node->whole = TL_WHOLE_SIGNED;
            node->as.number.whole_bits = (uint64_t)(int64_t)value;
        }
    }
    return true;
}

static tl_json *node_add(tl_json_parser *parser, tl_json_kind kind)
{
    if (parser->depth > 0 && parser->frames[parser->depth - 1].packed && !numbers_unpack(parser))
        return NULL;
    return node_link(parser, kind);
}

static int on_null(void *context)
{
    return node_add(context, TL_JSON_NULL) != NULL;
}

static int on_boolean(void *context, int value)
{
    tl_json *node = node_add(context, TL_JSON_BOOL);
    if (node == NULL) return 0;
    node->as.boolean = value != 0;
    return 1;
}

static int number_push(tl_json_parser *parser, double value)
{
    if (parser->number_count == parser->number_capacity) {
        size_t capacity = parser->number_capacity == 0 ? 256 : parser->number_capacity * 2;
        if (parser->number_count * sizeof value > parser->arena->bytes_max)
            return fail_memory(parser);
        double *numbers = realloc(parser->numbers, capacity * sizeof *numbers);
        if (numbers == NULL) return fail(parser, TL_ENOMEM, "an array of numbers");
        parser->numbers = numbers;
        parser->number_capacity = capacity;
    }
    parser->numbers[parser->number_count++] = value;
    return 1;
}

static int on_number(void *context, const char *data, size_t bytes)
{
    tl_json_parser *parser = context;
    tl_json_decimal decimal;
    if (!tl_json_convert_number(data, bytes, &decimal))
        return fail(parser, TL_EINVAL, "a number is too large or too long; expected a finite one");
    if (parser->depth > 0 && parser->frames[parser->depth - 1].packed)
        return number_push(parser, decimal.value);
    tl_json *node = node_link(parser, TL_JSON_NUMBER);
    if (node == NULL) return 0;
    node->as.number.value = decimal.value;
    node->as.number.whole_bits = decimal.whole_bits;
    node->whole = decimal.whole;
    return 1;
}

static int on_string(void *context, const unsigned char *data, size_t bytes)
{
    tl_json_parser *parser = context;
    tl_json *node = node_add(parser, TL_JSON_STRING);
    if (node == NULL) return 0;
    char *copy = tl_arena_strndup(parser->arena, (const char *)data, bytes);
    if (copy == NULL) return fail_memory(parser);
    node->as.string.data = copy;
    node->as.string.bytes = bytes;
    return 1;
}

static int container_open(tl_json_parser *parser, tl_json_kind kind)
{
    if (parser->depth == parser->limits.depth_max)
        return fail(parser, TL_ELIMIT, "nested too deep; send flatter arrays or objects");
    tl_json *node = node_add(parser, kind);
    if (node == NULL) return 0;
    parser->frames[parser->depth++] = (frame){ .container = node, .packed = kind == TL_JSON_ARRAY };
    parser->number_count = 0;
    return 1;
}

static int on_start_map(void *context)
{
    return container_open(context, TL_JSON_OBJECT);
}

static int on_start_array(void *context)
{
    return container_open(context, TL_JSON_ARRAY);
}

static int on_end_map(void *context)
{
    tl_json_parser *parser = context;
    parser->depth--;
    return 1;
}

static int on_end_array(void *context)
{
    tl_json_parser *parser = context;
    frame *top = &parser->frames[--parser->depth];
    if (!top->packed || parser->number_count == 0) return 1;
    size_t bytes = parser->number_count * sizeof *parser->numbers;
    double *values = tl_arena_alloc(parser->arena, bytes);
    if (values == NULL) return fail_memory(parser);
    memcpy(values, parser->numbers, bytes);
    top->container->kind = TL_JSON_NUMBERS;
    top->container->as.numbers.values = values;
    top->container->as.numbers.count = parser->number_count;
    parser->number_count = 0;
    return 1;
}

static bool key_is_new(frame *top, const unsigned char *key, size_t bytes)
{
    uint32_t hash = (uint32_t)bytes;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ key[i]) * 16777619u;
    uint64_t bit = (uint64_t)1 << (hash >> 26);
    bool maybe = (top->names & bit) != 0;
    top->names |= bit;
    if (!maybe) return true;
    for (const tl_json *m = top->container->as.list.first; m != NULL; m = m->next)
        if (m->key_bytes == bytes && memcmp(m->key, key, bytes) == 0) return false;
    return true;
}

static int on_key(void *context, const unsigned char *key, size_t bytes)
{
    tl_json_parser *parser = context;
    frame *top = &parser->frames[parser->depth - 1];
    if (top->container->as.list.count == parser->limits.members_max)
        return fail(parser, TL_ELIMIT, "an object has too many keys");
    if (!key_is_new(top, key, bytes))
        return fail(parser, TL_EINVAL, "a key is given twice in one object; expected it once");
    parser->key = tl_arena_strndup(parser->arena, (const char *)key, bytes);
    if (parser->key == NULL) return fail_memory(parser);
    parser->key_bytes = (uint32_t)bytes;
    return 1;
}

static const yajl_callbacks CALLBACKS = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end_map,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end_array,
};

/* ---- Parsing ----------------------------------------------------------------------------------
 */

tl_status tl_json_parser_create(const tl_json_limits *limits, tl_json_parser **out, tl_error *err)
{
    TL_ASSERT(out != NULL);
    tl_json_parser *parser = calloc(1, sizeof *parser);
    if (parser == NULL) return tl_fail(err, TL_ENOMEM, "JSON parser");
    if (limits != NULL) parser->limits = *limits;
    if (parser->limits.depth_max == 0) parser->limits.depth_max = DEPTH_MAX_DEFAULT;
    if (parser->limits.members_max == 0) parser->limits.members_max = MEMBERS_MAX_DEFAULT;
    if (parser->limits.bytes_max == 0) parser->limits.bytes_max = BYTES_MAX_DEFAULT;
    if (parser->limits.bytes_max > (size_t)1 << 31) parser->limits.bytes_max = (size_t)1 << 31;
    tl_arena_init(&parser->scratch, SIZE_MAX / 2);
    parser->frames = calloc(parser->limits.depth_max, sizeof *parser->frames);
    if (parser->frames == NULL) {
        tl_json_parser_destroy(&parser);
        return tl_fail(err, TL_ENOMEM, "JSON parser");
    }
    *out = parser;
    return TL_OK;
}

void tl_json_parser_destroy(tl_json_parser **parser)
{
    if (*parser == NULL) return;
    tl_arena_destroy(&(*parser)->scratch);
    free((*parser)->numbers);
    free((*parser)->frames);
    free(*parser);
    *parser = NULL;
}

/* The value of \uXXXX at p, or -1. */
static int escape_unit(const char *p, const char *end)
{
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') return -1;
    int unit = 0;
    for (int i = 2; i < 6; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* yajl takes lone surrogates (a "?" or invalid UTF-8 comes out); we do not. Returns the first one,
 * or NULL. Malformed escapes are left for yajl to refuse. */
static const char *find_lone_surrogate(const char *p, const char *end)
{
    while ((p = memchr(p, '\\', (size_t)(end - p))) != NULL) {
        int unit = escape_unit(p, end);
        if (unit >= 0xD800 && unit <= 0xDBFF) {
            int low = escape_unit(p + 6, end);
            if (low < 0xDC00 || low > 0xDFFF) return p;
            p += 12;
        } else if (unit >= 0xDC00 && unit <= 0xDFFF) {
            return p;
        } else {
            p += end - p >= 2 ? 2 : 1;
        }
    }
    return NULL;
}

/* "JSON, byte 12: parse error: premature EOF" */
static tl_status fail_yajl(yajl_handle handle, size_t at, tl_error *err)
{
    const char *text = (const char *)yajl_get_error(handle, 0, NULL, 0);
    return tl_fail(err, TL_EINVAL, "JSON, byte %zu: %.*s", at, (int)strcspn(text, "\n"), text);
}

static tl_status parse(tl_json_parser *parser, const char *data, size_t bytes, tl_error *err)
{
    yajl_alloc_funcs memory = { scratch_alloc, scratch_realloc, scratch_free, parser };
    yajl_handle handle = yajl_alloc(&CALLBACKS, &memory, parser);
    yajl_config(handle, yajl_dont_validate_strings, 1); /* done over the whole text */
    size_t at;
    yajl_status status = yajl_parse(handle, (const unsigned char *)data, bytes);
    at = yajl_get_bytes_consumed(handle);
    if (status == yajl_status_ok) {
        at = bytes;
        status = yajl_complete_parse(handle);
    }
    if (status == yajl_status_ok) return TL_OK;
    if (status == yajl_status_client_canceled)
        return tl_fail(err, parser->failure.status, "JSON, byte %zu: %s", at, parser->failure.text);
    return fail_yajl(handle, at, err);
}

tl_status tl_json_parse(tl_json_parser *parser, const void *data, size_t bytes, tl_arena *arena,
                        const tl_json **out, tl_error *err)
{
    TL_ASSERT(parser != NULL);
    TL_ASSERT(arena != NULL);
    const char *text = data;
    if (bytes == 0) return tl_fail(err, TL_EINVAL, "JSON: empty; expected a value");
    if (bytes > parser->limits.bytes_max)
        return tl_fail(err, TL_ELIMIT, "JSON: %zu bytes, at most %zu are taken", bytes,
                       parser->limits.bytes_max);
    size_t valid = tl_utf8_valid_prefix(text, bytes);
    if (valid < bytes) return tl_fail(err, TL_EINVAL, "JSON, byte %zu: invalid UTF-8", valid);
    const char *surrogate = find_lone_surrogate(text, text + bytes);
    if (surrogate != NULL)
        return tl_fail(err, TL_EINVAL, "JSON, byte %zu: half of a surrogate pair; expected both",
                       (size_t)(surrogate - text));
    if (!scratch_prepare(parser, bytes)) return tl_fail(err, TL_ENOMEM, "JSON parser");

    parser->arena = arena;
    parser->root = NULL;
    parser->key = NULL;
    parser->key_bytes = 0;
    parser->depth = 0;
    parser->number_count = 0;
    tl_status status = parse(parser, text, bytes, err);
    scratch_trim(parser);
    if (status != TL_OK) return status;
    TL_ASSERT(parser->root != NULL);
    *out = parser->root;
    return TL_OK;
}

/* ---- Access -----------------------------------------------------------------------------------
 */

const char *tl_json_kind_text(const tl_json *value)
{
    static const char *const TEXTS[] = {
        [TL_JSON_NULL] = "null",        [TL_JSON_BOOL] = "a boolean",
        [TL_JSON_NUMBER] = "a number",  [TL_JSON_STRING] = "a text",
        [TL_JSON_ARRAY] = "an array",   [TL_JSON_NUMBERS] = "an array of numbers",
        [TL_JSON_OBJECT] = "an object",
    };
    return value == NULL ? "nothing" : TEXTS[value->kind];
}

const tl_json *tl_json_get(const tl_json *value, const char *key)
{
    if (value == NULL || value->kind != TL_JSON_OBJECT) return NULL;
    size_t bytes = strlen(key);
    for (const tl_json *m = value->as.list.first; m != NULL; m = m->next)
        if (m->key_bytes == bytes && memcmp(m->key, key, bytes) == 0) return m;
    return NULL;
}

const tl_json *tl_json_first(const tl_json *value)
{
    if (value == NULL || (value->kind != TL_JSON_OBJECT && value->kind != TL_JSON_ARRAY))
        return NULL;
    return value->as.list.first;
}

size_t tl_json_count(const tl_json *value)
{
    if (value == NULL) return 0;
    if (value->kind == TL_JSON_NUMBERS) return value->as.numbers.count;
    if (value->kind == TL_JSON_OBJECT || value->kind == TL_JSON_ARRAY) return value->as.list.count;
    return 0;
}

bool tl_json_text(const tl_json *value, const char **out)
{
    if (value == NULL || value->kind != TL_JSON_STRING) return false;
    if (memchr(value->as.string.data, '\0', value->as.string.bytes) != NULL) return false;
    *out = value->as.string.data;
    return true;
}

bool tl_json_number(const tl_json *value, double *out)
{
    if (value == NULL || value->kind != TL_JSON_NUMBER) return false;
    *out = value->as.number.value;
    return true;
}

bool tl_json_int64(const tl_json *value, int64_t *out)
{
    if (value == NULL || value->kind != TL_JSON_NUMBER || value->whole != TL_WHOLE_SIGNED)
        return false;
    *out = (int64_t)value->as.number.whole_bits;
    return true;
}

bool tl_json_uint64(const tl_json *value, uint64_t *out)
{
    if (value == NULL || value->kind != TL_JSON_NUMBER || value->whole == TL_WHOLE_NOT)
        return false;
    if (value->whole == TL_WHOLE_SIGNED && (int64_t)value->as.number.whole_bits < 0) return false;
    *out = value->as.number.whole_bits;
    return true;
}

bool tl_json_bool(const tl_json *value, bool *out)
{
    if (value == NULL || value->kind != TL_JSON_BOOL) return false;
    *out = value->as.boolean;
    return true;
}

const char *tl_json_get_text(const tl_json *value, const char *key, const char *fallback)
{
    const char *text = fallback;
    tl_json_text(tl_json_get(value, key), &text);
    return text;
}

/* Recursion is bounded by the parser's depth_max. */
static bool count_numbers(const tl_json *value, size_t *count)
{
    switch (value->kind) {
    case TL_JSON_NUMBER: *count += 1; return true;
    case TL_JSON_NUMBERS: *count += value->as.numbers.count; return true;
    case TL_JSON_ARRAY:
        for (const tl_json *v = value->as.list.first; v != NULL; v = v->next)
            if (!count_numbers(v, count)) return false;
        return true;
    default: return false;
    }
}

bool tl_json_count_numbers(const tl_json *value, size_t *out)
{
    size_t count = 0;
    if (value == NULL || !count_numbers(value, &count)) return false;
    *out = count;
    return true;
}

size_t tl_json_copy_floats(const tl_json *value, float *out, size_t capacity)
{
    if (value == NULL || capacity == 0) return 0;
    size_t count = 0;
    if (value->kind == TL_JSON_NUMBER) {
        out[count++] = (float)value->as.number.value;
    } else if (value->kind == TL_JSON_NUMBERS) {
        for (; count < capacity && count < value->as.numbers.count; count++)
            out[count] = (float)value->as.numbers.values[count];
    } else if (value->kind == TL_JSON_ARRAY) {
        for (const tl_json *v = value->as.list.first; v != NULL; v = v->next)
            count += tl_json_copy_floats(v, out + count, capacity - count);
    }
    return count;
}

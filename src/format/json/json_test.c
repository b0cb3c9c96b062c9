/* json_test.c - what is read, what is refused and how, and that numbers survive the way out and in.
 */
#include "format/json.h"

#include "base/rng.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    tl_json_parser *parser;
    tl_arena arena;
    tl_error err;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tl_arena_init(&f->arena, 1 << 20);
    assert_int_equal(tl_json_parser_create(NULL, &f->parser, &f->err), TL_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    tl_json_parser_destroy(&f->parser);
    tl_json_parser_destroy(&f->parser);
    tl_arena_destroy(&f->arena);
    free(f);
    return 0;
}

static tl_status read_n(fixture *f, const char *text, size_t bytes, const tl_json **out)
{
    /* An exact copy on the heap, so that the sanitizers see reads past the end. */
    char *copy = malloc(bytes == 0 ? 1 : bytes);
    assert_non_null(copy);
    memcpy(copy, text, bytes);
    f->err = (tl_error){ 0 };
    tl_status status = tl_json_parse(f->parser, copy, bytes, &f->arena, out, &f->err);
    free(copy);
    assert_int_equal(status, f->err.status);
    return status;
}

static const tl_json *read_ok(fixture *f, const char *text)
{
    const tl_json *root = NULL;
    if (read_n(f, text, strlen(text), &root) != TL_OK) fail_msg("%s: %s", text, f->err.text);
    assert_non_null(root);
    return root;
}

static void refused(fixture *f, tl_status status, const char *text, const char *words)
{
    const tl_json *root = NULL;
    assert_int_equal(read_n(f, text, strlen(text), &root), status);
    assert_null(root);
    if (strstr(f->err.text, words) == NULL) fail_msg("%s: \"%s\"", text, f->err.text);
}

static void reads_a_request(void **state)
{
    fixture *f = *state;
    const tl_json *root = read_ok(
        f, " {\"id\":\"a\\n\\u00e4\",\"parameters\":{\"site\":\"n\",\"big\":9223372036854775807,"
           "\"top\":18446744073709551615,\"low\":-9223372036854775808,\"half\":0.5,\"on\":true,"
           "\"nothing\":null},\"inputs\":[{\"shape\":[1,4],\"data\":[[1,-2.5],[3e2,0.1]]},"
           "{\"data\":[\"x\",1,[],{}]}]}\n");
    const tl_json *p = tl_json_get(root, "parameters");
    int64_t i = 0;
    uint64_t u = 0;
    double d = 0;
    bool on = false;
    assert_string_equal(tl_json_get_text(root, "id", NULL), "a\n\xC3\xA4");
    assert_string_equal(tl_json_get_text(p, "site", NULL), "n");
    assert_string_equal(tl_json_get_text(p, "missing", "else"), "else");
    assert_string_equal(tl_json_get_text(p, "half", "else"), "else");
    assert_true(tl_json_int64(tl_json_get(p, "big"), &i) && i == INT64_MAX);
    assert_true(tl_json_int64(tl_json_get(p, "low"), &i) && i == INT64_MIN);
    assert_true(tl_json_uint64(tl_json_get(p, "top"), &u) && u == UINT64_MAX);
    assert_false(tl_json_int64(tl_json_get(p, "top"), &i));
    assert_false(tl_json_uint64(tl_json_get(p, "low"), &u));
    assert_false(tl_json_int64(tl_json_get(p, "half"), &i));
    assert_true(tl_json_number(tl_json_get(p, "half"), &d) && d == 0.5);
    assert_true(tl_json_bool(tl_json_get(p, "on"), &on) && on);
    assert_int_equal(tl_json_get(p, "nothing")->kind, TL_JSON_NULL);
    assert_null(tl_json_get(p, "nothin"));
    assert_null(tl_json_get(tl_json_get(p, "nothing"), "x"));
    assert_int_equal(tl_json_count(p), 7);

    const tl_json *inputs = tl_json_get(root, "inputs");
    assert_int_equal(tl_json_count(inputs), 2);
    const tl_json *first = tl_json_first(inputs);
    assert_int_equal(tl_json_get(first, "shape")->kind, TL_JSON_NUMBERS);
    size_t count = 0;
    float x[5] = { 0 };
    assert_true(tl_json_count_numbers(tl_json_get(first, "data"), &count));
    assert_int_equal(count, 4);
    assert_int_equal(tl_json_copy_floats(tl_json_get(first, "data"), x, 5), 4);
    assert_true(x[0] == 1 && x[1] == -2.5f && x[2] == 300 && x[3] == 0.1f && x[4] == 0);
    assert_int_equal(tl_json_copy_floats(tl_json_get(first, "data"), x, 3), 3);
    assert_false(tl_json_count_numbers(tl_json_get(first->next, "data"), &count));
    assert_int_equal(tl_json_count(tl_json_get(first->next, "data")), 4);
    assert_null(first->next->next);
}

/* Numbers first, then something else: the packed array becomes a general one, in order. */
static void mixed_arrays_keep_their_order(void **state)
{
    fixture *f = *state;
    const tl_json *v = read_ok(f, "[1, 2.5, [3, 4], -7, \"x\", [[5]], true]");
    assert_int_equal(v->kind, TL_JSON_ARRAY);
    assert_int_equal(tl_json_count(v), 7);
    const tl_json *at = tl_json_first(v);
    int64_t i = 0;
    double d = 0;
    assert_true(tl_json_int64(at, &i) && i == 1);
    at = at->next;
    assert_true(tl_json_number(at, &d) && d == 2.5 && !tl_json_int64(at, &i));
    at = at->next;
    assert_int_equal(at->kind, TL_JSON_NUMBERS);
    assert_true(at->as.numbers.values[1] == 4);
    at = at->next;
    assert_true(tl_json_int64(at, &i) && i == -7);
    at = at->next;
    assert_int_equal(at->kind, TL_JSON_STRING);
    at = at->next;
    assert_int_equal(tl_json_first(at)->as.numbers.count, 1);
    assert_int_equal(at->next->kind, TL_JSON_BOOL);
    assert_int_equal(read_ok(f, "[]")->kind, TL_JSON_ARRAY);
    size_t count = 9;
    assert_true(tl_json_count_numbers(read_ok(f, "[[],[[]]]"), &count));
    assert_int_equal(count, 0);
}

static void long_arrays_are_packed(void **state)
{
    fixture *f = *state;
    tl_text text;
    tl_text_init(&text, 1 << 20);
    tl_text_puts(&text, "[");
    for (int i = 0; i < 10000; i++) tl_text_printf(&text, "%s%d", i == 0 ? "" : ",", i);
    tl_text_puts(&text, "]");
    const tl_json *v = read_ok(f, text.data);
    assert_int_equal(tl_json_count(v), 10000);
    for (size_t i = 0; i < 10000; i++) assert_true(v->as.numbers.values[i] == (double)i);
    tl_text_destroy(&text);
}

static void refuses_what_is_not_json(void **state)
{
    fixture *f = *state;
    static const char *const BAD[] = {
        "{",
        "}",
        "[1,",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "nul",
        "truee",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "0x10",
        "NaN",
        "[NaN]",
        "Infinity",
        "-Infinity",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12G4\"",
        "\"a\nb\"",
        "{} {}",
        "1 2",
        "[1] x",
        "// c\n1",
        "/**/1",
        "'a'",
        "[1 2]",
        "{\"a\" 1}",
        "{1:2}",
        " ",
        "\xEF\xBB\xBF",
        "{\"a\":1]",
        "[1}",
        "\"\\\"",
        "tru",
    };
    for (size_t i = 0; i < TL_COUNT_OF(BAD); i++) refused(f, TL_EINVAL, BAD[i], "JSON");
    refused(f, TL_EINVAL, "", "empty");
    refused(f, TL_EINVAL, "[1, 2] x", "byte 8");
    refused(f, TL_EINVAL, "{\"a\":", "premature EOF");
    refused(f, TL_EINVAL, "{\"a\":1,\"b\":2,\"a\":3}", "twice");
    refused(f, TL_EINVAL, "[1e999]", "too large");
    refused(f, TL_EINVAL, "-1e999", "too large");
    const tl_json *root = NULL;
    assert_int_equal(read_n(f, "1\0", 2, &root), TL_EINVAL);
    read_ok(f, "{\"a\":1,\"b\":{\"a\":2}}"); /* and the parser is still good */
}

static void refuses_broken_text(void **state)
{
    fixture *f = *state;
    refused(f, TL_EINVAL, "\"\xFF\"", "byte 1: invalid UTF-8");
    refused(f, TL_EINVAL, "\"abcdefgh\xC0\xAF\"", "byte 9: invalid UTF-8"); /* overlong */
    refused(f, TL_EINVAL, "\"\xE0\x80\xAF\"", "byte 1: invalid UTF-8");
    refused(f, TL_EINVAL, "\"\xF0\x80\x80\xAF\"", "byte 1: invalid UTF-8");
    refused(f, TL_EINVAL, "\"\xED\xA0\x80\"", "UTF-8");     /* surrogate */
    refused(f, TL_EINVAL, "\"\xF4\x90\x80\x80\"", "UTF-8"); /* above U+10FFFF */
    refused(f, TL_EINVAL, "\"\xE2\x82\"", "UTF-8");
    refused(f, TL_EINVAL, "\"\\ud800\"", "byte 1: half of a surrogate pair");
    refused(f, TL_EINVAL, "\"\\udc00\"", "surrogate");
    refused(f, TL_EINVAL, "\"\\ud800\\u0041\"", "surrogate");
    refused(f, TL_EINVAL, "\"\\\\\\uDBFFx\"", "byte 3");
    assert_string_equal(read_ok(f, "\"\\ud83d\\ude00\"")->as.string.data, "\xF0\x9F\x98\x80");
    assert_string_equal(read_ok(f, "\"\\\\ud800\"")->as.string.data, "\\ud800");
    assert_string_equal(read_ok(f, "\"\xF4\x8F\xBF\xBF\"")->as.string.data, "\xF4\x8F\xBF\xBF");
    const tl_json *v = read_ok(f, "\"a\\u0000b\"");
    const char *text = NULL;
    assert_int_equal(v->as.string.bytes, 3);
    assert_false(tl_json_text(v, &text));
    assert_int_equal(read_ok(f, "\"\"")->as.string.bytes, 0);
}

static void repeat(tl_text *text, const char *piece, int times)
{
    for (int i = 0; i < times; i++) tl_text_puts(text, piece);
}

static void holds_its_limits(void **state)
{
    fixture *f = *state;
    tl_text text;
    tl_text_init(&text, 1 << 24);
    repeat(&text, "[", 32);
    repeat(&text, "]", 32);
    read_ok(f, text.data);
    tl_text_clear(&text);
    repeat(&text, "[", 33);
    refused(f, TL_ELIMIT, text.data, "too deep");
    tl_text_clear(&text);
    repeat(&text, "{\"a\":", 100000);
    refused(f, TL_ELIMIT, text.data, "too deep");

    tl_text_clear(&text);
    for (int i = 0; i < 300; i++) tl_text_printf(&text, "%s\"k%d\":1", i == 0 ? "{" : ",", i);
    refused(f, TL_ELIMIT, text.data, "too many keys");

    tl_text_clear(&text); /* 16 times as large as a document: over the arena's bound */
    tl_text_puts(&text, "[[]");
    repeat(&text, ",[]", 100000);
    refused(f, TL_ELIMIT, text.data, "more memory");
    tl_text_clear(&text);
    tl_text_puts(&text, "[1");
    repeat(&text, ",1", 1000000);
    tl_text_puts(&text, "]");
    refused(f, TL_ELIMIT, text.data, "more memory");

    tl_text_clear(&text); /* one long number */
    repeat(&text, "7", 2000);
    refused(f, TL_EINVAL, text.data, "too long");
    tl_text_clear(&text);
    tl_text_puts(&text, "\"");
    repeat(&text, "\\n", 200000);
    tl_text_puts(&text, "\"");
    tl_arena_reset(&f->arena);
    assert_int_equal(read_ok(f, text.data)->as.string.bytes, 200000);
    tl_text_destroy(&text);

    tl_json_limits limits = { .bytes_max = 3, .depth_max = 1, .members_max = 1 };
    tl_json_parser_destroy(&f->parser);
    assert_int_equal(tl_json_parser_create(&limits, &f->parser, NULL), TL_OK);
    read_ok(f, "[1]");
    refused(f, TL_ELIMIT, "[1 ]", "4 bytes, at most 3");
}

/* The fast conversions must give what strtod gives, bit for bit. */
static void numbers_are_correctly_rounded(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 7, 0);
    char text[64];
    for (int i = 0; i < 400000; i++) {
        uint64_t digits = tl_rng_u64(&rng) >> tl_rng_below(&rng, 60);
        int exponent = (int)tl_rng_below(&rng, 80) - 50;
        if (i % 3 == 0)
            snprintf(text, sizeof text, "%.17g", (double)(float)tl_rng_unit(&rng));
        else if (i % 3 == 1)
            snprintf(text, sizeof text, "%llue%d", (unsigned long long)digits, exponent);
        else
            snprintf(text, sizeof text, "-%.*g", (int)tl_rng_below(&rng, 20) + 1,
                     tl_rng_unit(&rng) * pow(10, exponent));
        double got = 0;
        assert_true(tl_json_parse_number(text, strlen(text), &got));
        double want = strtod(text, NULL);
        if (memcmp(&got, &want, sizeof got) != 0)
            fail_msg("%s: %.17g, want %.17g", text, got, want);
    }
    /* Halfway cases: between two doubles, and a hair above. */
    static const char *const HARD[] = {
        "9007199254740993",
        "9007199254740993.0000000000000000000000000000001",
        "0.500000000000000166533453693773481063544750213623046875",
        "5e-324",
        "2.4703282292062327e-324",
        "1.7976931348623157e308",
        "2.2250738585072011e-308",
        "18446744073709551615",
        "18446744073709551616",
        "-0",
        "0e999999999999",
        "0.0",
        "1e-400",
        "4.35",
        "8.5e22",
        "1e23",
    };
    for (size_t i = 0; i < TL_COUNT_OF(HARD); i++) {
        double got = 0, want = strtod(HARD[i], NULL);
        assert_true(tl_json_parse_number(HARD[i], strlen(HARD[i]), &got));
        assert_memory_equal(&got, &want, sizeof got);
    }
    double unused = 0;
    assert_false(tl_json_parse_number("1e400", 5, &unused));
    assert_false(tl_json_parse_number("", 0, &unused));
    assert_false(tl_json_parse_number("1 ", 2, &unused));
    assert_false(tl_json_parse_number("1.5.5", 5, &unused));
}

static void check_float(float x)
{
    char out[TL_JSON_FLOAT_BYTES + 1];
    size_t bytes = tl_json_format_float(x, out);
    assert_in_range(bytes, 1, TL_JSON_FLOAT_BYTES);
    out[bytes] = '\0';
    double as_double = 0;
    if (!tl_json_parse_number(out, bytes, &as_double)) fail_msg("%s is no number", out);
    float direct = strtof(out, NULL), narrowed = (float)as_double;
    if (memcmp(&direct, &x, sizeof x) != 0 || memcmp(&narrowed, &x, sizeof x) != 0)
        fail_msg("%.9g written as %s", (double)x, out);
}

static void floats_read_back(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    for (int i = 0; i < 500000; i++) {
        uint32_t bits = (uint32_t)tl_rng_u64(&rng);
        float x;
        memcpy(&x, &bits, sizeof x);
        if (isfinite(x)) check_float(x);
        check_float((float)tl_rng_unit(&rng));
        check_float((float)tl_rng_below(&rng, 100000) / 1000.0f);
    }
    static const float EDGES[] = { 0.0f,         1.0f,        10.0f,       0.1f,       1e9f,
                                   999999999.0f, 16777217.0f, 1e-5f,       9.9999e-6f, FLT_MAX,
                                   FLT_MIN,      1e-45f,      99999999.0f, 0.99999994f };
    for (size_t i = 0; i < TL_COUNT_OF(EDGES); i++) {
        check_float(EDGES[i]);
        check_float(-EDGES[i]);
    }
}

static void floats_are_short(void **state)
{
    (void)state;
    static const struct {
        float value;
        const char *text;
    } CASES[] = {
        { 0.0f, "0" },           { -0.0f, "-0" },      { 1.0f, "1" },           { 0.1f, "0.1" },
        { 0.5f, "0.5" },         { 123.0f, "123" },    { 100000.0f, "100000" }, { 12.25f, "12.25" },
        { 1e-5f, "0.00001" },    { 1e-6f, "1e-6" },    { 1.5e-10f, "1.5e-10" }, { 1e9f, "1e9" },
        { -2.5e20f, "-2.5e20" }, { INFINITY, "null" }, { NAN, "null" },         { 0.3f, "0.3" },
    };
    for (size_t i = 0; i < TL_COUNT_OF(CASES); i++) {
        char out[TL_JSON_FLOAT_BYTES + 1] = { 0 };
        tl_json_format_float(CASES[i].value, out);
        assert_string_equal(out, CASES[i].text);
    }
}

static void doubles_read_back(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    tl_text text;
    tl_text_init(&text, 1000);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = tl_rng_u64(&rng);
        double x, back = 0;
        memcpy(&x, &bits, sizeof x);
        if (i % 2 == 0) x = tl_rng_unit(&rng);
        tl_text_clear(&text);
        tl_json_write_double(&text, x);
        if (!isfinite(x)) continue;
        assert_true(tl_json_parse_number(text.data, text.bytes, &back));
        assert_memory_equal(&back, &x, sizeof x);
    }
    tl_text_clear(&text);
    locale_t before = uselocale((locale_t)0);
    tl_json_write_double(&text, 0.1);
    assert_true(uselocale((locale_t)0) == before);
    tl_json_write_double(&text, NAN);
    tl_json_write_double(&text, 3.0);
    tl_json_write_double(&text, -0.0);
    assert_string_equal(text.data, "0.1null3-0");
    tl_text_destroy(&text);
}

static void a_locale_changes_nothing(void **state)
{
    fixture *f = *state;
    static const char *const NAMES[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8" };
    bool found = false;
    for (size_t i = 0; i < TL_COUNT_OF(NAMES) && !found; i++)
        found = setlocale(LC_ALL, NAMES[i]) != NULL;
    if (!found) skip(); /* none with a decimal comma is installed */
    double d = 0;
    assert_true(tl_json_number(read_ok(f, "1.2345678901234567890123456789e-200"), &d));
    assert_true(d > 1.2e-200 && d < 1.3e-200);
    tl_text text;
    tl_text_init(&text, 100);
    tl_json_write_double(&text, 0.1);
    setlocale(LC_ALL, "C");
    assert_string_equal(text.data, "0.1");
    tl_text_destroy(&text);
}

static void text_is_escaped(void **state)
{
    fixture *f = *state;
    tl_text text;
    tl_text_init(&text, 1000);
    const char raw[] = "a\"b\\c/\n\t\r\b\f\x01\x1f\x7f\xC3\xA4\xF0\x9F\x98\x80";
    tl_json_write_string(&text, raw);
    assert_string_equal(text.data, "\"a\\\"b\\\\c/\\n\\t\\r\\b\\f\\u0001\\u001f\x7f"
                                   "\xC3\xA4\xF0\x9F\x98\x80\"");
    assert_string_equal(read_ok(f, text.data)->as.string.data, raw);
    tl_text_clear(&text);
    tl_json_write_string_n(&text, "x\xFF\xC3(\0y\xE2\x82", 8);
    assert_string_equal(text.data,
                        "\"x\xEF\xBF\xBD\xEF\xBF\xBD(\\u0000y\xEF\xBF\xBD\xEF\xBF\xBD\"");
    tl_text_destroy(&text);
}

static void the_writer_puts_commas(void **state)
{
    fixture *f = *state;
    tl_text text;
    tl_text_init(&text, 100000);
    tl_json_writer w;
    float many[1000];
    for (int i = 0; i < 1000; i++) many[i] = (float)i * -1.2345678e-7f;
    tl_json_begin(&w, &text);
    tl_json_object(&w);
    tl_json_key(&w, "a"), tl_json_int(&w, INT64_MIN);
    tl_json_key(&w, "b"), tl_json_array(&w);
    tl_json_uint(&w, UINT64_MAX), tl_json_boolean(&w, true), tl_json_null(&w);
    tl_json_array(&w), tl_json_array_end(&w);
    tl_json_object(&w), tl_json_object_end(&w);
    tl_json_string(&w, "s"), tl_json_string(&w, NULL), tl_json_raw(&w, "{}", 2);
    tl_json_array_end(&w);
    tl_json_key(&w, "c"), tl_json_float(&w, 0.25f);
    tl_json_key(&w, "d"), tl_json_double(&w, 0.125);
    size_t before = text.bytes;
    tl_json_key(&w, "e"), tl_json_floats(&w, many, 0);
    tl_json_object_end(&w);
    assert_int_equal(before,
                     strlen("{\"a\":-9223372036854775808,\"b\":[18446744073709551615,true,null,"
                            "[],{},\"s\",null,{}],\"c\":0.25,\"d\":0.125"));
    assert_string_equal(text.data,
                        "{\"a\":-9223372036854775808,\"b\":[18446744073709551615,true,null,"
                        "[],{},\"s\",null,{}],\"c\":0.25,\"d\":0.125,\"e\":[]}");
    read_ok(f, text.data);
    tl_text_clear(&text);
    tl_json_begin(&w, &text);
    tl_json_floats(&w, many, 1000);
    const tl_json *v = read_ok(f, text.data);
    assert_int_equal(tl_json_count(v), 1000);
    for (size_t i = 0; i < 1000; i++) assert_true((float)v->as.numbers.values[i] == many[i]);
    tl_text_destroy(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(reads_a_request),
        TEST(mixed_arrays_keep_their_order),
        TEST(long_arrays_are_packed),
        TEST(refuses_what_is_not_json),
        TEST(refuses_broken_text),
        TEST(holds_its_limits),
        TEST(numbers_are_correctly_rounded),
        TEST(floats_read_back),
        TEST(floats_are_short),
        TEST(doubles_read_back),
        TEST(a_locale_changes_nothing),
        TEST(text_is_escaped),
        TEST(the_writer_puts_commas),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

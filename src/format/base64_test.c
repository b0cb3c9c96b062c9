/* base64_test.c - there and back, and what is refused. */
#include "format/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void there_and_back(void **state)
{
    (void)state;
    unsigned char data[3000], back[3000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 7 + i / 256);
    tl_arena arena;
    tl_arena_init(&arena, 10000);
    for (size_t bytes = 0; bytes <= sizeof data; bytes = bytes < 20 ? bytes + 1 : bytes + 257) {
        tl_text text;
        tl_text_init(&text, 10000);
        tl_text_puts(&text, ""); /* so that nothing still is a text */
        tl_base64_encode(data, bytes, &text);
        assert_int_equal(text.bytes, (bytes + 2) / 3 * 4);
        size_t count = 99999;
        assert_int_equal(tl_base64_decode(text.data, text.bytes, back, bytes, &count, NULL), TL_OK);
        assert_int_equal(count, bytes);
        assert_memory_equal(back, data, bytes);
        assert_true(tl_base64_decoded_bytes_max(text.bytes) >= bytes);
        const void *kept = NULL;
        tl_arena_reset(&arena);
        assert_int_equal(tl_base64_decode_arena(text.data, text.bytes, &arena, &kept, &count, NULL),
                         TL_OK);
        assert_int_equal(count, bytes);
        assert_memory_equal(kept, data, bytes);
        tl_text_destroy(&text);
    }
    tl_arena_destroy(&arena);
}

static void refuses(void **state)
{
    (void)state;
    static const char *const BAD[] = { "A",      "AA",   "AAA",   "AA=",      "A===", "====",
                                       "AB==",   "AAB=", "AA==A", "AA==AAAA", "A*==", "AA A",
                                       "AAAA\n", "AA-_", "=AAA",  "AAA=AAAA" };
    char out[16];
    for (size_t i = 0; i < TL_COUNT_OF(BAD); i++) {
        size_t bytes = 77;
        tl_error err = { 0 };
        tl_status status = tl_base64_decode(BAD[i], strlen(BAD[i]), out, sizeof out, &bytes, &err);
        if (status != TL_EINVAL) fail_msg("%s: %d", BAD[i], status);
        assert_int_equal(bytes, 77);
        assert_non_null(strstr(err.text, "base64"));
    }
    size_t bytes = 77;
    assert_int_equal(tl_base64_decode("AAAAAAAA", 8, out, 5, &bytes, NULL), TL_ELIMIT);
    tl_arena arena;
    tl_arena_init(&arena, 4);
    const void *kept = NULL;
    assert_int_equal(tl_base64_decode_arena("AAAAAAAA", 8, &arena, &kept, &bytes, NULL), TL_ENOMEM);
    tl_arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Saved states: round trips, nesting, damage. */
#include "base/blob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void numbers_come_back_little_endian(void **state)
{
    (void)state;
    tl_blob blob;
    tl_blob_init(&blob);
    const float floats[] = { -0.0f, 1.5f };
    const uint64_t words[] = { 1, UINT64_MAX };
    tl_blob_u8(&blob, 7);
    tl_blob_u32(&blob, 0x01020304);
    tl_blob_u64(&blob, 0x1122334455667788);
    tl_blob_f64(&blob, -2.25);
    tl_blob_f32s(&blob, floats, 2);
    tl_blob_u64s(&blob, words, 2);
    assert_true(tl_blob_ok(&blob));
    const uint8_t wanted[] = { 7, 4, 3, 2, 1, 0x88, 0x77 };
    assert_memory_equal(blob.data, wanted, sizeof wanted);
    tl_blob_reader reader;
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    float f[2];
    uint64_t w[2];
    assert_int_equal(tl_blob_read_u8(&reader), 7);
    assert_int_equal(tl_blob_read_u32(&reader), 0x01020304);
    assert_true(tl_blob_read_u64(&reader) == 0x1122334455667788);
    assert_true(tl_blob_read_f64(&reader) == -2.25);
    assert_true(tl_blob_read_f32s(&reader, f, 2));
    assert_true(tl_blob_read_u64s(&reader, w, 2));
    assert_memory_equal(f, floats, sizeof f);
    assert_memory_equal(w, words, sizeof w);
    assert_int_equal(tl_blob_left(&reader), 0);
    assert_int_equal(tl_blob_read_end(&reader, "thing", NULL), TL_OK);
    assert_int_equal(tl_blob_read_u8(&reader), 0);
    assert_int_equal(tl_blob_read_end(&reader, "thing", NULL), TL_ECORRUPT);
    assert_int_equal(tl_blob_read_u64(&reader), 0); /* stays failed */
    tl_blob_reader_init(&reader, blob.data, 3);
    assert_false(tl_blob_read_u64s(&reader, w, SIZE_MAX / 4));
    tl_blob_destroy(&blob);
}

static void build(tl_blob *blob)
{
    size_t outer = tl_blob_section_begin(blob, "OUTR", 3);
    tl_blob_u32(blob, 11);
    size_t inner = tl_blob_section_begin(blob, "INNR", 1);
    for (uint32_t i = 0; i < 200; i++) tl_blob_u32(blob, i);
    tl_blob_section_end(blob, inner);
    tl_blob_section_end(blob, outer);
    size_t next = tl_blob_section_begin(blob, "NEXT", 1);
    tl_blob_section_end(blob, next);
}

static void sections_nest_and_follow(void **state)
{
    (void)state;
    tl_blob blob;
    tl_blob_init(&blob);
    build(&blob);
    tl_blob_reader reader, outer, inner, next;
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    uint32_t version;
    tl_error err;
    assert_int_equal(tl_blob_read_section(&reader, "NEXT", 1, &next, NULL, &err), TL_ECORRUPT);
    assert_int_equal(tl_blob_read_section(&reader, "OUTR", 2, &outer, NULL, &err), TL_EVERSION);
    assert_int_equal(tl_blob_read_section(&reader, "OUTR", 3, &outer, &version, &err), TL_OK);
    assert_int_equal(version, 3);
    assert_int_equal(tl_blob_read_u32(&outer), 11);
    assert_int_equal(tl_blob_read_section(&outer, "INNR", 1, &inner, NULL, &err), TL_OK);
    assert_int_equal(tl_blob_left(&inner), 800);
    assert_int_equal(tl_blob_read_end(&inner, "inner", &err), TL_ECORRUPT); /* not read */
    assert_int_equal(tl_blob_read_end(&outer, "outer", &err), TL_OK);
    assert_int_equal(tl_blob_read_section(&reader, "NEXT", 1, &next, NULL, &err), TL_OK);
    assert_int_equal(tl_blob_left(&reader), 0);
    tl_blob_destroy(&blob);
}

static void every_flipped_bit_and_every_cut_is_found(void **state)
{
    (void)state;
    tl_blob blob;
    tl_blob_init(&blob);
    build(&blob);
    size_t first = blob.bytes - 24; /* the last section is an empty one */
    tl_blob_reader reader, body;
    for (size_t bit = 0; bit < 8 * first; bit++) {
        blob.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        tl_blob_reader_init(&reader, blob.data, blob.bytes);
        assert_int_not_equal(tl_blob_read_section(&reader, "OUTR", 3, &body, NULL, NULL), TL_OK);
        blob.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t bytes = 0; bytes < first; bytes++) {
        tl_blob_reader_init(&reader, blob.data, bytes);
        assert_int_equal(tl_blob_read_section(&reader, "OUTR", 3, &body, NULL, NULL), TL_ECORRUPT);
    }
    tl_blob_destroy(&blob);
}

static void hashes_differ_by_length_seed_and_byte(void **state)
{
    (void)state;
    uint8_t zeros[80] = { 0 };
    for (size_t i = 0; i < sizeof zeros; i++) {
        assert_true(tl_hash64(zeros, i, 0) != tl_hash64(zeros, i + 1, 0));
        assert_true(tl_hash64(zeros, i, 0) != tl_hash64(zeros, i, 1));
        uint64_t before = tl_hash64(zeros, sizeof zeros, 0);
        zeros[i] = 1;
        assert_true(tl_hash64(zeros, sizeof zeros, 0) != before);
        zeros[i] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_come_back_little_endian),
        cmocka_unit_test(sections_nest_and_follow),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_found),
        cmocka_unit_test(hashes_differ_by_length_seed_and_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

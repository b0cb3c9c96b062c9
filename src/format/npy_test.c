#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/file.h"
#include "format/npy.h"

enum { CAPACITY = 4096 };

typedef struct bytes {
    uint8_t *data; /* malloc'ed to its exact size, so that a read past its end is seen by ASan */
    size_t count;
} bytes;

/* A version 1 array with the given header text. */
static bytes make_npy(const char *header, const void *payload, size_t payload_bytes)
{
    size_t header_bytes = strlen(header);
    bytes b = { .count = 10 + header_bytes + payload_bytes };
    b.data = malloc(b.count);
    assert_non_null(b.data);
    memcpy(b.data, "\x93NUMPY\x01\x00", 8);
    b.data[8] = (uint8_t)header_bytes;
    b.data[9] = (uint8_t)(header_bytes >> 8);
    memcpy(b.data + 10, header, header_bytes);
    memcpy(b.data + 10 + header_bytes, payload, payload_bytes);
    return b;
}

static tl_status parse(const char *header, const void *payload, size_t payload_bytes)
{
    bytes b = make_npy(header, payload, payload_bytes);
    tl_npy array;
    tl_error err = { .status = TL_OK };
    tl_status status = tl_npy_parse(b.data, b.count, &array, &err);
    if (status != TL_OK) {
        assert_int_equal(err.status, status);
        assert_true(err.text[0] != '\0');
    }
    free(b.data);
    return status;
}

static void reads_each_type(void **state)
{
    (void)state;
    const float f32[] = { 1.5f, -2.0f, 3.25f, 0.0f, 5.0f, 6.0f };
    bytes b =
        make_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", f32, sizeof f32);
    tl_npy array;
    assert_int_equal(tl_npy_parse(b.data, b.count, &array, NULL), TL_OK);
    assert_int_equal(array.type, TL_NPY_F32);
    assert_int_equal(array.rank, 2);
    assert_int_equal(array.shape[0], 2);
    assert_int_equal(array.shape[1], 3);
    float copy[6];
    tl_npy_copy_f32(&array, copy);
    assert_memory_equal(copy, f32, sizeof f32);
    free(b.data);

    const int64_t i64[] = { INT64_MAX, -7 };
    b = make_npy("{\"descr\":\"<i8\",\"shape\":(2,),\"fortran_order\":False}", i64, sizeof i64);
    assert_int_equal(tl_npy_parse(b.data, b.count, &array, NULL), TL_OK);
    assert_true(tl_npy_integer(&array, 0) == INT64_MAX);
    assert_true(tl_npy_number(&array, 1) == -7.0);
    free(b.data);

    const double f64 = 0.1;
    b = make_npy("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", &f64, sizeof f64);
    assert_int_equal(tl_npy_parse(b.data, b.count, &array, NULL), TL_OK);
    assert_int_equal(array.count, 1);
    assert_true(tl_npy_number(&array, 0) == 0.1);
    free(b.data);

    const uint8_t u8[] = { 255, 1 };
    b = make_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}", u8, sizeof u8);
    assert_int_equal(tl_npy_parse(b.data, b.count, &array, NULL), TL_OK);
    tl_npy_copy_f32(&array, copy);
    assert_true(copy[0] == 255.0f && copy[1] == 1.0f);
    free(b.data);
}

static void refuses_malformed_headers(void **state)
{
    (void)state;
    const float one = 1.0f;
    assert_int_equal(parse("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", &one, 4),
                     TL_OK);
    assert_int_equal(parse("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", &one, 3),
                     TL_EINVAL);
    assert_int_equal(parse("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", &one, 4),
                     TL_EUNSUPPORTED);
    assert_int_equal(parse("{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", &one, 4),
                     TL_EUNSUPPORTED);
    assert_int_equal(parse("{'descr': '<f4', 'fortran_order': False}", &one, 4), TL_EINVAL);
    assert_int_equal(parse("{'descr': '<f4', 'fortran_order': False, 'shape': (1", &one, 4),
                     TL_EINVAL);
    assert_int_equal(parse("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", &one, 4),
                     TL_EINVAL);
    assert_int_equal(parse("{'descr': '<f4", &one, 4), TL_EUNSUPPORTED);
    assert_int_equal(parse("{'other': 1}", &one, 4), TL_EINVAL);
    assert_int_equal(parse("", &one, 4), TL_EINVAL);
}

static void refuses_sizes_that_overflow(void **state)
{
    (void)state;
    const float one = 1.0f;
    assert_int_equal(
        parse("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", &one,
              4),
        TL_EINVAL);
    assert_int_equal(
        parse("{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952,)}", &one, 4),
        TL_EINVAL);
    assert_int_equal(
        parse("{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551617,)}", &one,
              4),
        TL_EINVAL);
    assert_int_equal(
        parse("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", &one, 4),
        TL_EINVAL);
}

/* Every prefix of a good array is refused, and read nowhere past its end. */
static void refuses_every_prefix(void **state)
{
    (void)state;
    const float numbers[2] = { 1.0f, 2.0f };
    bytes b = make_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", numbers,
                       sizeof numbers);
    for (size_t count = 0; count < b.count; count++) {
        uint8_t *part = malloc(count + 1);
        memcpy(part, b.data, count);
        part = realloc(part, count > 0 ? count : 1);
        tl_npy array;
        assert_int_not_equal(tl_npy_parse(part, count, &array, NULL), TL_OK);
        free(part);
    }
    free(b.data);
}

static size_t put_u16(uint8_t *out, size_t at, unsigned value)
{
    out[at] = (uint8_t)value;
    out[at + 1] = (uint8_t)(value >> 8);
    return at + 2;
}

static size_t put_u32(uint8_t *out, size_t at, uint32_t value)
{
    return put_u16(out, put_u16(out, at, value & 0xffff), value >> 16);
}

static size_t put_header(uint8_t *out, size_t at, bool central, unsigned method, const char *name,
                         uint32_t size, uint32_t local_offset)
{
    at = put_u32(out, at, central ? 0x02014b50 : 0x04034b50);
    if (central) at = put_u16(out, at, 20);
    at = put_u16(out, at, 20);
    at = put_u16(out, at, 0);
    at = put_u16(out, at, method);
    at = put_u32(out, at, 0); /* time, date */
    at = put_u32(out, at, 0); /* checksum */
    at = put_u32(out, at, size);
    at = put_u32(out, at, size);
    at = put_u16(out, at, (unsigned)strlen(name));
    at = put_u16(out, at, 0); /* extra field */
    if (central) {
        memset(out + at, 0, 10); /* comment, disk, attributes */
        at = put_u32(out, at + 10, local_offset);
    }
    memcpy(out + at, name, strlen(name));
    return at + strlen(name);
}

/* An archive of arrays "a" and "b/c", each one float64. */
static bytes make_npz(unsigned method)
{
    static const char *const names[2] = { "a.npy", "b/c.npy" };
    const char *header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}";
    bytes archive = { .data = malloc(CAPACITY) };
    uint32_t offsets[2], size = 0;
    size_t at = 0;
    for (int i = 0; i < 2; i++) {
        const double number = 1.0 + i;
        bytes array = make_npy(header, &number, sizeof number);
        offsets[i] = (uint32_t)at;
        size = (uint32_t)array.count;
        at = put_header(archive.data, at, false, method, names[i], size, 0);
        memcpy(archive.data + at, array.data, array.count);
        at += array.count;
        free(array.data);
    }
    size_t directory = at;
    for (int i = 0; i < 2; i++)
        at = put_header(archive.data, at, true, method, names[i], size, offsets[i]);
    size_t directory_bytes = at - directory;
    at = put_u32(archive.data, at, 0x06054b50);
    at = put_u32(archive.data, at, 0);
    at = put_u16(archive.data, at, 2);
    at = put_u16(archive.data, at, 2);
    at = put_u32(archive.data, at, (uint32_t)directory_bytes);
    at = put_u32(archive.data, at, (uint32_t)directory);
    archive.count = put_u16(archive.data, at, 0);
    return archive;
}

static void finds_arrays_in_an_archive(void **state)
{
    (void)state;
    bytes b = make_npz(0);
    tl_npz archive;
    tl_npy array;
    assert_int_equal(tl_npz_open(b.data, b.count, &archive, NULL), TL_OK);
    assert_int_equal(archive.count, 2);
    size_t name_bytes;
    const char *name = tl_npz_name(&archive, 1, &name_bytes);
    assert_int_equal(name_bytes, 7);
    assert_memory_equal(name, "b/c.npy", 7);
    assert_int_equal(tl_npz_find(&archive, "a", &array, NULL), TL_OK);
    assert_true(tl_npy_number(&array, 0) == 1.0);
    assert_int_equal(tl_npz_find(&archive, "b/c", &array, NULL), TL_OK);
    assert_true(tl_npy_number(&array, 0) == 2.0);
    assert_int_equal(tl_npz_find(&archive, "c", &array, NULL), TL_ENOTFOUND);
    free(b.data);

    b = make_npz(8); /* deflate */
    assert_int_equal(tl_npz_open(b.data, b.count, &archive, NULL), TL_OK);
    assert_int_equal(tl_npz_find(&archive, "a", &array, NULL), TL_EUNSUPPORTED);
    free(b.data);
}

/* Change every byte of an archive in turn, and cut it everywhere: an answer or an error, no crash.
 */
static void survives_damaged_archives(void **state)
{
    (void)state;
    bytes b = make_npz(0);
    size_t refused = 0;
    for (size_t i = 0; i < b.count * 4; i++) {
        static const uint8_t masks[3] = { 0xff, 0x80, 0x01 };
        bool cut = i >= b.count * 3;
        size_t at = i % b.count, count = cut ? at : b.count;
        uint8_t *copy = malloc(count > 0 ? count : 1);
        memcpy(copy, b.data, count);
        if (!cut) copy[at] ^= masks[i / b.count];
        tl_npz archive;
        tl_npy array;
        tl_status status = tl_npz_open(copy, count, &archive, NULL);
        unsigned sum = 0; /* names lie inside the archive */
        for (size_t k = 0; status == TL_OK && k < archive.count; k++) {
            size_t name_bytes;
            const char *name = tl_npz_name(&archive, k, &name_bytes);
            for (size_t c = 0; c < name_bytes; c++) sum += (uint8_t)name[c];
        }
        assert_true(sum < UINT32_MAX);
        if (status == TL_OK) status = tl_npz_find(&archive, "b/c", &array, NULL);
        if (status == TL_OK && array.count > 0) (void)tl_npy_number(&array, array.count - 1);
        if (status != TL_OK) refused++;
        if (cut) assert_int_not_equal(status, TL_OK);
        free(copy);
    }
    assert_true(refused > b.count);
    free(b.data);
}

static void reads_whole_files(void **state)
{
    (void)state;
    char path[] = "/tmp/tl_npy_test_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    fputs("twelve bytes", file);
    fclose(file);
    void *data = NULL;
    size_t count = 0;
    assert_int_equal(tl_file_read(path, 12, &data, &count, NULL), TL_OK);
    assert_int_equal(count, 12);
    assert_string_equal(data, "twelve bytes");
    free(data);
    assert_int_equal(tl_file_read(path, 11, &data, &count, NULL), TL_ELIMIT);
    remove(path);
    assert_int_equal(tl_file_read(path, 12, &data, &count, NULL), TL_ENOTFOUND);
    assert_int_equal(tl_file_read("/tmp", 12, &data, &count, NULL), TL_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_each_type),
        cmocka_unit_test(refuses_malformed_headers),
        cmocka_unit_test(refuses_sizes_that_overflow),
        cmocka_unit_test(refuses_every_prefix),
        cmocka_unit_test(finds_arrays_in_an_archive),
        cmocka_unit_test(survives_damaged_archives),
        cmocka_unit_test(reads_whole_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

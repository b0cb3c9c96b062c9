#include "learn/slow/automatic_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void add(tl_automatic_memory *m, uint64_t key, uint32_t label)
{
    assert_int_equal(tl_automatic_memory_add(m, key, label, 0.3f, NULL), TL_OK);
}

static void the_newest_are_kept(void **state)
{
    (void)state;
    tl_automatic_memory m = { 0 };
    for (uint64_t key = 1; key <= TL_AUTOMATIC_MEMORY_MAX + 10; key++)
        add(&m, key, (uint32_t)(key % 2));
    assert_int_equal(m.count, TL_AUTOMATIC_MEMORY_MAX);
    assert_int_equal(m.items[0].key, 11);
    add(&m, 11, 1); /* again: the newest now */
    assert_int_equal(m.count, TL_AUTOMATIC_MEMORY_MAX);
    assert_int_equal(m.items[0].key, 12);
    assert_int_equal(m.items[m.count - 1].key, 11);
    tl_automatic_memory_remove(&m, 500);
    tl_automatic_memory_remove(&m, 500);
    assert_int_equal(m.count, TL_AUTOMATIC_MEMORY_MAX - 1);
    for (uint32_t i = 0; i < m.count; i++) assert_true(m.items[i].key != 500);
    tl_automatic_memory_clear(&m);
    assert_int_equal(m.count, 0);
    tl_automatic_memory_remove(&m, 1);
    tl_automatic_memory_clear(&m);
}

static void a_saved_memory_comes_back(void **state)
{
    (void)state;
    tl_automatic_memory m = { 0 }, copy = { 0 };
    for (uint64_t key = 1; key <= 50; key++) add(&m, 7 * key, (uint32_t)(key % 3));
    tl_blob blob;
    tl_blob_init(&blob);
    tl_automatic_memory_save(&m, &blob);
    tl_blob_reader reader;
    for (size_t cut = 0; cut < blob.bytes; cut += 7) {
        tl_blob_reader_init(&reader, blob.data, cut);
        assert_int_equal(tl_automatic_memory_load(&reader, 3, &copy, NULL), TL_ECORRUPT);
        assert_null(copy.items);
    }
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_automatic_memory_load(&reader, 2, &copy, NULL), TL_ECORRUPT);
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_automatic_memory_load(&reader, 3, &copy, NULL), TL_OK);
    assert_int_equal(copy.count, 50);
    assert_true(copy.weight == 0.3f);
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(copy.items[i].key, m.items[i].key);
        assert_int_equal(copy.items[i].label, m.items[i].label);
    }
    tl_blob_destroy(&blob);
    tl_automatic_memory_clear(&m);
    tl_automatic_memory_clear(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_are_kept),
        cmocka_unit_test(a_saved_memory_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

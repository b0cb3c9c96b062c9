/* The real stream of circuit boards, where it is there. */
#include "cli/data/dataset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char PATH[] = TL_SHARED_DATA "/pcb-stream";

static void reads_the_real_stream(void **state)
{
    (void)state;
    static const char *const orders[] = { "site", "shuffled" };
    for (size_t i = 0; i < 2; i++) {
        tl_dataset *dataset;
        tl_dataset_info info;
        tl_dataset_options options = { .path = PATH, .order = orders[i] };
        assert_int_equal(tl_dataset_open(&options, &dataset, NULL), TL_OK);
        tl_dataset_describe(dataset, &info);
        assert_int_equal(info.count, 14607);
        assert_int_equal(info.class_count, 7);
        assert_string_equal(info.classes[0], "ok");
        size_t held = 0, counts[7] = { 0 };
        for (size_t p = 0; p < info.count; p++) {
            tl_dataset_item item;
            tl_dataset_item_at(dataset, p, &item);
            counts[item.label]++;
            held += item.held_out;
        }
        assert_int_equal(counts[0], 7927);
        assert_in_range(held, 1200, 1800);
        tl_dataset_close(&dataset);
    }
}

int main(void)
{
    if (access(PATH, R_OK) != 0) return 77;
    const struct CMUnitTest tests[] = { cmocka_unit_test(reads_the_real_stream) };
    return cmocka_run_group_tests_name("cli/dataset_data", tests, NULL, NULL);
}

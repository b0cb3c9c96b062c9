/* The arena: buffers that live together never overlap, and the whole is not much larger than what
 * lives at the busiest time. */
#include "base/rng.h"
#include "graph/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { BUFFERS = 60, TIMES = 40 };

static bool together(const tl_buffer *a, const tl_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static void check_layout(uint64_t seed)
{
    tl_buffer buffers[BUFFERS];
    size_t live[TIMES] = { 0 }, busiest = 0, bytes = 0;
    tl_rng rng;
    tl_rng_seed(&rng, seed, 0);
    for (int i = 0; i < BUFFERS; i++) {
        uint32_t first = (uint32_t)tl_rng_below(&rng, TIMES);
        uint32_t last = first + (uint32_t)tl_rng_below(&rng, TIMES - first);
        buffers[i] = (tl_buffer){ .bytes = tl_rng_below(&rng, 5000), .first = first, .last = last };
    }
    assert_int_equal(tl_layout_place(buffers, BUFFERS, &bytes, NULL), TL_OK);
    for (int i = 0; i < BUFFERS; i++) {
        const tl_buffer *a = &buffers[i];
        assert_int_equal(a->offset % TL_ALIGN_BYTES, 0);
        assert_true(a->offset + a->bytes <= bytes);
        for (uint32_t t = a->first; t <= a->last; t++) live[t] += a->bytes;
        for (int j = 0; j < i; j++) {
            const tl_buffer *b = &buffers[j];
            bool apart = a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset;
            if (together(a, b)) assert_true(apart || a->bytes == 0 || b->bytes == 0);
        }
    }
    for (int t = 0; t < TIMES; t++) busiest = live[t] > busiest ? live[t] : busiest;
    assert_true(bytes >= busiest);
    assert_true(bytes <= 2 * busiest);
}

static void test_buffers_that_live_together_lie_apart(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) check_layout(seed);
}

static void test_a_chain_needs_two_buffers(void **state)
{
    (void)state;
    tl_buffer chain[10];
    size_t bytes = 0;
    for (uint32_t i = 0; i < 10; i++)
        chain[i] = (tl_buffer){ .bytes = 640, .first = i, .last = i + 1 };
    assert_int_equal(tl_layout_place(chain, 10, &bytes, NULL), TL_OK);
    assert_int_equal(bytes, 2 * 640);
}

static void test_too_large_is_an_error(void **state)
{
    (void)state;
    tl_error err;
    size_t bytes = 77;
    tl_buffer huge[2] = { { .bytes = SIZE_MAX - 5, .last = 3 }, { .bytes = 64, .last = 3 } };
    assert_int_equal(tl_layout_place(huge, 2, &bytes, &err), TL_ENOMEM);
    huge[0].bytes = (size_t)1 << 45;
    huge[1].bytes = (size_t)1 << 45;
    assert_int_equal(tl_layout_place(huge, 2, &bytes, &err), TL_ENOMEM);
    assert_int_equal(bytes, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffers_that_live_together_lie_apart),
        cmocka_unit_test(test_a_chain_needs_two_buffers),
        cmocka_unit_test(test_too_large_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Unit tests of the base module. */
#include "base/arena.h"
#include "base/histogram.h"
#include "base/id.h"
#include "base/queue.h"
#include "base/rng.h"
#include "base/text.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void error_text_names_the_place(void **state)
{
    (void)state;
    tl_error err;
    assert_int_equal(tl_fail(&err, TL_ESHAPE, "want %d", 3), TL_ESHAPE);
    assert_int_equal(tl_fail_context(&err, TL_EINVAL, "input \"%s\"", "x"), TL_EINVAL);
    assert_string_equal(err.text, "input \"x\": want 3");
    assert_string_equal(tl_status_name(TL_ENOSPC), "TL_ENOSPC");
    assert_string_equal(tl_status_text((tl_status)999), "unknown status");
}

static void long_error_text_is_cut(void **state)
{
    (void)state;
    tl_error err;
    char wide[600];
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    tl_fail(&err, TL_EINVAL, "%s", wide);
    tl_fail_context(&err, TL_EINVAL, "%s", wide);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static int64_t fake_wall_us;

static int64_t wall(void *context)
{
    (void)context;
    return fake_wall_us;
}

static void ids_stay_in_order_when_the_clock_jumps_back(void **state)
{
    (void)state;
    tl_env env = *tl_env_system();
    env.wall_us = wall;
    fake_wall_us = 1700000000000000;
    tl_id_maker maker;
    tl_id_maker_init(&maker, &env);
    tl_id last = tl_id_make(&maker);
    for (int i = 0; i < 20000; i++) {
        if (i == 100) fake_wall_us -= 3600000000;
        tl_id id = tl_id_make(&maker);
        assert_true(tl_id_compare(last, id) < 0);
        last = id;
    }
}

static void ids_survive_text(void **state)
{
    (void)state;
    tl_id_maker maker;
    tl_id_maker_init(&maker, tl_env_system());
    tl_id id = tl_id_make(&maker), back;
    char text[TL_ID_TEXT_BYTES];
    tl_id_format(id, text);
    assert_int_equal(strlen(text), 36);
    assert_int_equal(text[14], '7');
    assert_int_equal(tl_id_parse(text, 36, &back), TL_OK);
    assert_int_equal(tl_id_compare(id, back), 0);
    assert_int_equal(tl_id_parse(text, 35, &back), TL_EINVAL);
    text[8] = '0';
    assert_int_equal(tl_id_parse(text, 36, &back), TL_EINVAL);
    assert_int_equal(tl_id_parse("0000000000000000000000000000000g", 32, &back), TL_EINVAL);
    assert_int_equal(tl_id_parse("00000000000000000000000000000000", 32, &back), TL_EINVAL);
    assert_int_equal(tl_id_parse("0000000000000000000000000000000A", 32, &back), TL_OK);
}

static void rng_is_reproducible_and_roughly_uniform(void **state)
{
    (void)state;
    tl_rng a, b, other;
    tl_rng_seed(&a, 7, 1);
    tl_rng_seed(&b, 7, 1);
    tl_rng_seed(&other, 7, 2);
    int same = 0, counts[10] = { 0 };
    double sum = 0, squares = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t x = tl_rng_u64(&a);
        assert_true(x == tl_rng_u64(&b));
        same += x == tl_rng_u64(&other);
        counts[tl_rng_below(&other, 10)]++;
        double z = tl_rng_normal(&other);
        sum += z;
        squares += z * z;
    }
    assert_int_equal(same, 0);
    for (int i = 0; i < 10; i++) assert_in_range(counts[i], 9600, 10400);
    assert_true(sum / 100000 < 0.02 && sum / 100000 > -0.02);
    assert_true(squares / 100000 < 1.02 && squares / 100000 > 0.98);
}

static void text_remembers_failure(void **state)
{
    (void)state;
    tl_text text;
    tl_text_init(&text, 10);
    tl_text_printf(&text, "%d-%s", 42, "abc");
    assert_string_equal(text.data, "42-abc");
    assert_true(tl_text_ok(&text));
    tl_text_puts(&text, "defgh");
    assert_false(tl_text_ok(&text));
    assert_string_equal(text.data, "42-abc");
    tl_text_clear(&text);
    assert_true(tl_text_ok(&text));
    tl_text_destroy(&text);
}

static void arena_respects_its_bound(void **state)
{
    (void)state;
    tl_arena arena;
    tl_arena_init(&arena, 100000);
    for (int i = 0; i < 10; i++) {
        unsigned char *memory = tl_arena_alloc(&arena, 9999);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 16, 0);
        memset(memory, i, 9999);
    }
    assert_null(tl_arena_alloc(&arena, 9999));
    assert_null(tl_arena_alloc(&arena, SIZE_MAX - 7));
    tl_arena_reset(&arena);
    assert_string_equal(tl_arena_strndup(&arena, "hello", 4), "hell");
    tl_arena_destroy(&arena);
}

static void histogram_quantiles_are_close(void **state)
{
    (void)state;
    static tl_histogram histogram;
    tl_histogram_reset(&histogram);
    assert_true(tl_histogram_quantile_ns(&histogram, 0.5) == 0.0);
    for (int64_t i = 1; i <= 100000; i++) tl_histogram_record_ns(&histogram, i * 1000);
    tl_histogram_record_ns(&histogram, -5);
    double p50 = tl_histogram_quantile_ns(&histogram, 0.5);
    double p99 = tl_histogram_quantile_ns(&histogram, 0.99);
    assert_true(p50 > 48e6 && p50 < 52e6);
    assert_true(p99 > 96e6 && p99 < 102e6);
    assert_in_range(tl_histogram_count_below_ns(&histogram, 10000000), 9700, 10400);
    tl_histogram_record_ns(&histogram, INT64_MAX);
    assert_int_equal(atomic_load(&histogram.count), 100002);
}

static void queue_is_bounded_and_closes(void **state)
{
    (void)state;
    tl_queue *queue = NULL;
    assert_int_equal(tl_queue_create(3, &queue), TL_OK);
    int values[4];
    void *out[4];
    for (int i = 0; i < 3; i++) assert_int_equal(tl_queue_push(queue, &values[i]), TL_OK);
    assert_int_equal(tl_queue_push(queue, &values[3]), TL_EFULL);
    assert_int_equal(tl_queue_pop_many(queue, out, 2, -1), 2);
    assert_ptr_equal(out[1], &values[1]);
    assert_int_equal(tl_queue_push(queue, &values[3]), TL_OK);
    tl_queue_close(queue);
    assert_int_equal(tl_queue_push(queue, &values[0]), TL_ECLOSED);
    assert_int_equal(tl_queue_pop_many(queue, out, 4, -1), 2);
    assert_ptr_equal(out[1], &values[3]);
    assert_int_equal(tl_queue_pop_many(queue, out, 4, -1), 0);
    assert_int_equal(tl_queue_pop_many(queue, out, 4, 1000000), 0);
    tl_queue_destroy(&queue);
    tl_queue_destroy(&queue);
}

typedef struct gatherer {
    tl_queue *queue;
    int64_t gather_ns;
    size_t taken;
} gatherer;

static void *gather(void *context)
{
    gatherer *g = context;
    void *out[8];
    g->taken = tl_queue_pop_gathered(g->queue, out, 8, g->gather_ns, 3);
    return NULL;
}

/* An hour is for ever here: whatever ends it is not the clock. */
static void queue_gathers_what_is_not_urgent(void **state)
{
    (void)state;
    const int64_t hour_ns = 3600 * (int64_t)1000000000;
    int values[8];
    void *out[8];
    pthread_t thread;
    gatherer g = { .gather_ns = hour_ns };
    assert_int_equal(tl_queue_create(8, &g.queue), TL_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(tl_queue_push_quietly(g.queue, &values[i]), TL_OK);
    assert_int_equal(tl_queue_pop_gathered(g.queue, out, 2, hour_ns, 3), 2); /* enough */
    assert_int_equal(tl_queue_push(g.queue, &values[3]), TL_OK);
    assert_int_equal(tl_queue_pop_gathered(g.queue, out, 8, hour_ns, 3), 2); /* urgent */
    assert_ptr_equal(out[0], &values[2]);
    assert_int_equal(pthread_create(&thread, NULL, gather, &g), 0);
    assert_int_equal(tl_queue_push_quietly(g.queue, &values[0]), TL_OK);
    assert_int_equal(tl_queue_push(g.queue, &values[1]), TL_OK);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(g.taken, 2);
    g.gather_ns = 0;
    assert_int_equal(pthread_create(&thread, NULL, gather, &g), 0);
    assert_int_equal(tl_queue_push_quietly(g.queue, &values[0]), TL_OK); /* better than nothing */
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(g.taken, 1);
    tl_queue_close(g.queue);
    assert_int_equal(tl_queue_pop_gathered(g.queue, out, 8, hour_ns, 3), 0);
    tl_queue_destroy(&g.queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_text_names_the_place),
        cmocka_unit_test(long_error_text_is_cut),
        cmocka_unit_test(ids_stay_in_order_when_the_clock_jumps_back),
        cmocka_unit_test(ids_survive_text),
        cmocka_unit_test(rng_is_reproducible_and_roughly_uniform),
        cmocka_unit_test(text_remembers_failure),
        cmocka_unit_test(arena_respects_its_bound),
        cmocka_unit_test(histogram_quantiles_are_close),
        cmocka_unit_test(queue_is_bounded_and_closes),
        cmocka_unit_test(queue_gathers_what_is_not_urgent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

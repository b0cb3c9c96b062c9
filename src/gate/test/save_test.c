/* The gate's state as bytes: it goes on where it stood, and damage does no harm. */
#include "gate/test/line.h"

static tl_gate_policy rich(void)
{
    tl_gate_policy policy = tl_gate_policy_default();
    policy.cost_false_alarm = 0.5;
    policy.noise = 0.05;
    policy.hostile = 0.2;
    policy.promised_error = 0.01;
    policy.timeout_us = 40 * 1000000;
    return policy;
}

/* Whatever can happen to a gate, drawn from the seed. */
static void happen(tl_gate *gate, tl_rng *rng, uint64_t *position)
{
    tl_gate_item item = { .position = *position += 1 + tl_rng_below(rng, 3),
                          .time_us = (int64_t)*position * 300000,
                          .unit = tl_rng_below(rng, 4) == 0 ? 0 : *position / 9 + 1,
                          .site = 1 + tl_rng_below(rng, 3),
                          .flagged = tl_rng_below(rng, 4) == 0,
                          .drawn = tl_rng_below(rng, 2) == 0,
                          .propensity = 0.5,
                          .shadow_count = 3 };
    for (unsigned k = 0; k < 3; k++)
        item.shadow[k] = (tl_gate_call){ 1 + k, tl_rng_below(rng, 3) == 0 };
    assert_int_equal(tl_gate_item_add(gate, &item, NULL), TL_OK);
    uint64_t back = tl_rng_below(rng, 12);
    if (back >= *position) return;
    switch (tl_rng_below(rng, 20)) {
    case 0: tl_gate_unlabel(gate, *position - back); break;
    case 1: tl_gate_drop(gate, 1 + tl_rng_below(rng, 3)); break;
    case 2:
    case 3:
        tl_gate_watch(gate, 1 + tl_rng_below(rng, 3), 1 + (unsigned)tl_rng_below(rng, 7), *position,
                      NULL);
        break;
    default: tl_gate_label(gate, *position - back, tl_rng_below(rng, 3) == 0, tl_rng_below(rng, 9));
    }
}

static void saved(const tl_gate *gate, tl_blob *blob)
{
    tl_blob_init(blob);
    tl_gate_save(gate, blob);
    assert_true(tl_blob_ok(blob));
}

static tl_status load(const tl_blob *blob, tl_gate **out)
{
    tl_blob_reader reader;
    tl_error error;
    tl_blob_reader_init(&reader, blob->data, blob->bytes);
    return tl_gate_load(&reader, out, &error);
}

static void expect_equal(const tl_gate *a, const tl_gate *b)
{
    tl_blob first, second;
    saved(a, &first);
    saved(b, &second);
    assert_int_equal(first.bytes, second.bytes);
    assert_memory_equal(first.data, second.data, first.bytes);
    tl_blob_destroy(&first);
    tl_blob_destroy(&second);
}

static void it_goes_on_bit_by_bit(void **state)
{
    (void)state;
    tl_gate_policy policy = rich();
    tl_gate *gate = NULL, *copy = NULL;
    assert_int_equal(tl_gate_create(&policy, &gate, NULL), TL_OK);
    tl_rng rng;
    tl_rng_seed(&rng, 9, 0);
    uint64_t position = 0;
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned i = 0; i < 37; i++) happen(gate, &rng, &position);
        tl_blob blob;
        saved(gate, &blob);
        assert_int_equal(load(&blob, &copy), TL_OK);
        tl_blob_destroy(&blob);
        tl_rng same = rng;
        uint64_t there = position;
        for (unsigned i = 0; i < 90; i++) happen(gate, &rng, &position);
        for (unsigned i = 0; i < 90; i++) happen(copy, &same, &there);
        expect_equal(gate, copy);
        tl_gate_destroy(&copy);
    }
    tl_gate_status status;
    tl_gate_get_status(gate, &status);
    assert_true(status.spent > 10);
    tl_gate_destroy(&gate);
}

/* Hundreds of boards and items wait for answers. */
static void what_is_open_is_kept(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    tl_gate *copy = NULL;
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 1);
    for (uint64_t i = 0; i < 900; i++) {
        l.unit = i / 3 + 1;
        line_item(&l, false, true, true);
    }
    tl_blob blob;
    saved(l.gate, &blob);
    assert_int_equal(load(&blob, &copy), TL_OK);
    tl_blob_destroy(&blob);
    for (uint64_t i = 1; i <= 900; i++) {
        tl_gate_label(l.gate, i, i % 3 == 0, 1);
        tl_gate_label(copy, i, i % 3 == 0, 1);
    }
    expect_equal(l.gate, copy);
    assert_int_equal(line_standing(&l).counts.units, 298); /* the last two may still grow */
    tl_gate_destroy(&copy);
    line_end(&l);
}

/* The hash of the outermost section made right again, so that what is inside is looked at. */
static void seal(tl_blob *blob)
{
    uint64_t hash = tl_hash64(blob->data, blob->bytes - 8, 0);
    for (unsigned i = 0; i < 8; i++) blob->data[blob->bytes - 8 + i] = (uint8_t)(hash >> (8 * i));
}

static void damage_does_no_harm(void **state)
{
    (void)state;
    tl_gate_policy policy = rich();
    tl_gate *gate = NULL, *broken = NULL;
    assert_int_equal(tl_gate_create(&policy, &gate, NULL), TL_OK);
    tl_rng rng;
    tl_rng_seed(&rng, 10, 0);
    uint64_t position = 0;
    for (unsigned i = 0; i < 400; i++) happen(gate, &rng, &position);
    tl_blob blob;
    saved(gate, &blob);
    blob.data[blob.bytes / 2] ^= 1;
    assert_int_equal(load(&blob, &broken), TL_ECORRUPT);
    blob.data[blob.bytes / 2] ^= 1;
    for (unsigned round = 0; round < 3000; round++) {
        size_t at = 16 + tl_rng_below(&rng, blob.bytes - 24);
        uint8_t before = blob.data[at];
        blob.data[at] = (uint8_t)tl_rng_u64(&rng);
        seal(&blob);
        if (load(&blob, &broken) == TL_OK) {
            tl_rng other = rng;
            uint64_t there = position + 1000000000;
            tl_gate_standing standing;
            for (uint64_t version = 1; version < 4; version++)
                tl_gate_describe(broken, version, &standing);
            tl_gate_item item = { .position = UINT64_MAX / 2, .time_us = INT64_MAX / 8 };
            for (unsigned i = 0; i < 20 && there < UINT64_MAX / 4; i++)
                tl_gate_label(broken, position - i, i % 2 == 0, other.s[0]);
            tl_gate_item_add(broken, &item, NULL);
            tl_gate_destroy(&broken);
        }
        blob.data[at] = before;
    }
    size_t all = blob.bytes;
    for (blob.bytes = 0; blob.bytes < all; blob.bytes += 1 + all / 300)
        assert_int_not_equal(load(&blob, &broken), TL_OK);
    blob.bytes = all;
    tl_blob_destroy(&blob);
    tl_gate_destroy(&gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_on_bit_by_bit),
        cmocka_unit_test(what_is_open_is_kept),
        cmocka_unit_test(damage_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

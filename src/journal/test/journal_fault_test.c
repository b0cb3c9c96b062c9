/* A full disk is survived, a failing one is not trusted any more. */
#include "journal/test/simdisk_impl.h"
#include "journal/test/test_support.h"

typedef struct fixture {
    tl_simdisk *disk;
    tl_journal *journal;
    uint32_t loop;
} fixture;

static void journal_open(fixture *f)
{
    tl_journal_options options = {
        .path = "disk", .vfs = "simdisk", .wal_soft_bytes = 64 << 10, .wal_hard_bytes = 256 << 10
    };
    tl_error err;
    if (tl_journal_open(&options, &f->journal, &err) != TL_OK) fail_msg("%s", err.text);
    f->loop = loop_at(f->journal, "boards");
}

static int set_up_seeded(void **state, uint64_t seed)
{
    fixture *f = calloc(1, sizeof *f);
    f->disk = tl_simdisk_create("simdisk", seed);
    journal_open(f);
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_seeded(state, 1);
}

static int tear_down(void **state)
{
    fixture *f = *state;
    tl_journal_close(&f->journal);
    tl_simdisk_destroy(&f->disk);
    free(f);
    return 0;
}

static tl_status append(fixture *f, uint64_t number, tl_error *err)
{
    static float wide[1000];
    tl_record record = prediction_of(f->loop, number);
    record.as.prediction.features = wide;
    record.as.prediction.feature_count = 1000;
    return tl_journal_append(f->journal, &record, 1, err);
}

static void expect_count(fixture *f, int64_t count)
{
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM prediction"), count);
    assert_int_equal(sql_int(f->journal, "SELECT max(position) FROM prediction"), count);
}

static void a_full_disk_is_survived(void **state)
{
    fixture *f = *state;
    tl_error err;
    uint64_t written = 0;
    while (written < 20) assert_int_equal(append(f, ++written, &err), TL_OK);
    tl_simdisk_fail(f->disk, TL_SIMDISK_FULL, 1, UINT64_MAX);
    tl_status status = TL_OK;
    while (status == TL_OK && written < 500) status = append(f, written++ + 1, &err);
    assert_int_equal(status, TL_ENOSPC);
    assert_non_null(strstr(err.text, "space"));
    written--;
    for (int i = 0; i < 5; i++) assert_int_equal(append(f, 1000, &err), TL_ENOSPC);
    expect_count(f, (int64_t)written); /* reads go on */
    tl_simdisk_fail(f->disk, TL_SIMDISK_FULL, 0, 0);
    for (int i = 0; i < 100; i++) assert_int_equal(append(f, ++written, &err), TL_OK);
    expect_count(f, (int64_t)written);
}

/* After the error nothing more is taken, reading goes on, and the next opening has all that was
 * acknowledged, also when the power fails after that. */
static void a_failing_disk_is_not_trusted(fixture *f, tl_simdisk_fault fault, uint64_t nth)
{
    tl_error err;
    uint64_t written = 0;
    while (written < 5) assert_int_equal(append(f, ++written, &err), TL_OK);
    tl_simdisk_fail(f->disk, fault, nth, 1);
    tl_status status = TL_OK;
    uint64_t tried = written;
    while (status == TL_OK && tried < 500) {
        status = append(f, ++tried, &err);
        if (status == TL_OK) written = tried;
    }
    assert_int_equal(status, TL_EIO);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(append(f, 1000, &err), TL_EIO);
        assert_non_null(strstr(err.text, "read-only"));
    }
    assert_true(sql_int(f->journal, "SELECT count(*) FROM prediction") >= (int64_t)written);
    tl_journal_close(&f->journal);
    journal_open(f);
    int64_t survived = sql_int(f->journal, "SELECT count(*) FROM prediction");
    assert_in_range(survived, written, written + 1); /* what failed may be there or not */
    for (uint64_t i = 0; i < 3; i++) assert_int_equal(append(f, 2000 + i, &err), TL_OK);
    tl_simdisk_cut_after(f->disk, 0);
    tl_journal_close(&f->journal);
    tl_simdisk_power_on(f->disk);
    journal_open(f);
    expect_count(f, survived + 3);
}

static void a_failed_write_makes_it_read_only(void **state)
{
    for (uint64_t nth = 1; nth < 40; nth += 3) {
        a_failing_disk_is_not_trusted(*state, TL_SIMDISK_WRITE, nth);
        tear_down(state);
        set_up(state);
    }
}

static void a_failed_sync_makes_it_read_only(void **state)
{
    for (uint64_t nth = 1; nth < 40; nth += 3) {
        a_failing_disk_is_not_trusted(*state, TL_SIMDISK_SYNC, nth);
        tear_down(state);
        set_up(state);
    }
}

/* The log whose sync failed is readable until the power fails: recovery must not build on it. */
static void recovery_after_a_failed_sync_survives_a_power_cut(void **state)
{
    fixture *f = *state;
    tl_error err;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        tear_down(state);
        set_up_seeded(state, seed);
        f = *state;
        /* Many pages in one group, so that a cut can come between them. */
        for (uint64_t i = 1; i <= 5; i++) assert_int_equal(append(f, i, &err), TL_OK);
        /* From here on the log holds little but this group. */
        tl_journal_close(&f->journal);
        journal_open(f);
        tl_record records[16];
        for (uint64_t i = 0; i < 16; i++) records[i] = prediction_of(f->loop, 100 + i);
        tl_simdisk_fail(f->disk, TL_SIMDISK_SYNC, 1, 1);
        assert_int_equal(tl_journal_append(f->journal, records, 16, &err), TL_EIO);
        tl_journal_close(&f->journal);
        tl_simdisk_cut_after(f->disk, 1 + seed % 40);
        tl_journal_options options = { .path = "disk", .vfs = "simdisk" };
        (void)tl_journal_open(&options, &f->journal, &err);
        tl_journal_close(&f->journal);
        tl_simdisk_power_on(f->disk);
        journal_open(f);
        int64_t count = sql_int(f->journal, "SELECT count(*) FROM prediction");
        assert_true(count == 5 || count == 21);
        assert_int_equal(sql_int(f->journal, "SELECT count(*)=1 FROM pragma_integrity_check WHERE "
                                             "integrity_check='ok'"),
                         1);
    }
}

static void a_flipped_bit_is_found(void **state)
{
    fixture *f = *state;
    tl_error err;
    for (uint64_t i = 1; i <= 50; i++) assert_int_equal(append(f, i, &err), TL_OK);
    tl_journal_close(&f->journal);
    /* The first byte of every page but the first tells what kind it is. */
    for (uint64_t page = 1; page < tl_simdisk_size(f->disk, "disk/journal.db") / 4096; page++)
        assert_true(tl_simdisk_flip(f->disk, "disk/journal.db", page * 4096, 5));
    tl_journal_options options = { .path = "disk", .vfs = "simdisk" };
    assert_int_equal(tl_journal_open(&options, &f->journal, &err), TL_ECORRUPT);
    assert_non_null(strstr(err.text, "doctor"));
}

/* Read all that can be read, and write; any status will do, as long as it is one. */
static void use_whatever_is_there(fixture *f)
{
    tl_journal_options options = { .path = "disk", .vfs = "simdisk" };
    tl_journal_reader *reader = NULL;
    tl_arena arena;
    tl_record got;
    uint64_t last = 0;
    uint32_t loop = 1;
    bool pruned;
    tl_error err;
    if (tl_journal_open(&options, &f->journal, &err) != TL_OK) return;
    tl_arena_init(&arena, 1 << 24);
    (void)tl_journal_loop_open(f->journal, "boards", "{}", &loop, NULL, &err);
    if (tl_journal_reader_open(f->journal, &reader, &err) == TL_OK) {
        for (int i = 0; i < 1000; i++) {
            if (tl_journal_next(reader, UINT32_MAX, last, &arena, &got, &err) != TL_OK) break;
            if (got.position <= last) break; /* damaged order */
            last = got.position;
            tl_arena_reset(&arena);
        }
        for (uint64_t i = 1; i <= 60; i += 7)
            (void)tl_journal_find_prediction(reader, loop, id_of(i), true, &arena, &got, &pruned,
                                             &err);
        (void)tl_journal_find_checkpoint(reader, loop, 0, &arena, &got, &err);
        tl_journal_reader_close(&reader);
    }
    f->loop = loop;
    for (uint64_t i = 0; i < 3; i++) (void)append(f, 5000 + i, &err);
    tl_arena_destroy(&arena);
    tl_journal_close(&f->journal);
}

static void random_damage_gives_statuses(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_error err;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        tear_down(state);
        set_up_seeded(state, seed);
        f = *state;
        tl_rng_seed(&rng, seed, 0xda);
        for (uint64_t i = 1; i <= 40; i++) assert_int_equal(append(f, i, &err), TL_OK);
        tl_journal_close(&f->journal);
        uint64_t bytes = tl_simdisk_size(f->disk, "disk/journal.db"),
                 flips = 1 + tl_rng_below(&rng, 60);
        for (uint64_t i = 0; i < flips; i++) {
            /* Half of them where a page says how it is laid out. */
            uint64_t at = tl_rng_below(&rng, bytes);
            if (tl_rng_below(&rng, 2) == 0) at = at - at % 4096 + tl_rng_below(&rng, 64);
            assert_true(
                tl_simdisk_flip(f->disk, "disk/journal.db", at, (unsigned)tl_rng_u64(&rng)));
        }
        use_whatever_is_there(f);
    }
}

int main(void)
{
    tl_log_set_level(TL_LOG_ERROR + 1);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_full_disk_is_survived),
        TEST(a_failed_write_makes_it_read_only),
        TEST(a_failed_sync_makes_it_read_only),
        TEST(recovery_after_a_failed_sync_survives_a_power_cut),
        TEST(a_flipped_bit_is_found),
        TEST(random_damage_gives_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

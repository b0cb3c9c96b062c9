/* Tests of what keeps a journal in shape: retention, quota, backup, export, migration, the doctor.
 */
#include "journal/test/test_support.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

/* ---- A clock to turn by hand -------------------------------------------------------------------
 */

static _Atomic int64_t fake_wall_us, fake_mono_ns;
static int64_t wall(void *context)
{
    (void)context;
    return atomic_load(&fake_wall_us);
}
static int64_t mono(void *context)
{
    (void)context;
    return atomic_load(&fake_mono_ns);
}
static const tl_env FAKE_ENV = { NULL, wall, mono, NULL };
static const int64_t DAY_NS = 86400 * (int64_t)1000000000;

typedef struct fixture {
    char *folder;
    tl_journal *journal;
    uint32_t loop;
    tl_arena arena;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->folder = folder_new();
    tl_arena_init(&f->arena, 1 << 28);
    atomic_store(&fake_wall_us, 1700000000000000);
    atomic_store(&fake_mono_ns, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    tl_journal_close(&f->journal);
    tl_arena_destroy(&f->arena);
    folder_remove(f->folder);
    free(f);
    return 0;
}

static void open_with(fixture *f, tl_journal_options options)
{
    options.path = f->folder;
    tl_error err;
    tl_journal_close(&f->journal);
    if (tl_journal_open(&options, &f->journal, &err) != TL_OK) fail_msg("%s", err.text);
    f->loop = loop_at(f->journal, "boards");
}

static void path_in(const fixture *f, const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", f->folder, name);
}

/* A statement on the file, past the journal, as somebody with a sqlite3 shell might do it. */
static void by_hand(const fixture *f, const char *sql)
{
    char path[256];
    sqlite3 *db = NULL;
    path_in(f, "journal.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void poke(const fixture *f, off_t offset, const void *data, size_t bytes)
{
    char path[256];
    path_in(f, "journal.db", path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, bytes, offset), bytes);
    close(fd);
}

static tl_status find(fixture *f, uint64_t number, tl_record *out)
{
    tl_journal_reader *reader;
    bool pruned;
    assert_int_equal(tl_journal_reader_open(f->journal, &reader, NULL), TL_OK);
    tl_status status = tl_journal_find_prediction(reader, f->loop, id_of(number), true, &f->arena,
                                                  out, &pruned, NULL);
    tl_journal_reader_close(&reader);
    return status;
}

/* ---- Retention ---------------------------------------------------------------------------------
 */

enum { PICTURE_BYTES = 20000 };

static void append_picture(fixture *f, uint64_t number, const tl_stored_image *reference)
{
    static uint8_t pixels[PICTURE_BYTES];
    for (int i = 0; i < 8; i++) pixels[i] = (uint8_t)(number >> (8 * i));
    tl_stored_image image = { .encoding = TL_IMAGE_U8,
                              .height = 100,
                              .width = 200,
                              .channels = 1,
                              .data = pixels,
                              .bytes = PICTURE_BYTES };
    tl_stored_image_hash(&image);
    tl_record record = prediction_of(f->loop, number);
    record.as.prediction.image = &image;
    record.as.prediction.reference = reference;
    append_ok(f->journal, record);
}

static void wait_for_used_below(fixture *f, uint64_t bytes)
{
    tl_journal_state facts;
    for (int i = 0; i < 2000; i++) {
        tl_journal_describe(f->journal, &facts);
        if (facts.bytes <= bytes) return;
        usleep(10000);
    }
    fail_msg("still %llu bytes", (unsigned long long)facts.bytes);
}

static void the_oldest_unlabelled_give_way(void **state)
{
    fixture *f = *state;
    enum { COUNT = 120, BOUND = 1000000 };
    open_with(f, (tl_journal_options){ .retention_bytes = BOUND });
    tl_stored_image reference = { .encoding = TL_IMAGE_FILE, .data = "P5 template", .bytes = 11 };
    tl_stored_image_hash(&reference);
    for (uint64_t i = 1; i <= COUNT; i++) {
        append_picture(f, i, &reference);
        if (i <= 10) append_ok(f->journal, feedback_of(f->loop, i, TL_FEEDBACK_LABEL, 2, "ann"));
    }
    wait_for_used_below(f, BOUND);
    tl_record got;
    for (uint64_t i = 1; i <= 10; i++) { /* labelled: whole, although the oldest */
        assert_int_equal(find(f, i, &got), TL_OK);
        assert_false(got.as.prediction.pruned);
        assert_int_equal(got.as.prediction.image->bytes, PICTURE_BYTES);
        assert_int_equal(got.as.prediction.reference->bytes, 11);
    }
    assert_int_equal(find(f, 11, &got), TL_OK);
    assert_true(got.as.prediction.pruned);
    assert_null(got.as.prediction.features);
    assert_memory_equal(got.as.prediction.scores, TEST_SCORES, sizeof TEST_SCORES);
    assert_true(got.as.prediction.propensity == 1.0f);
    assert_int_equal(got.as.prediction.epoch, 7);
    assert_string_equal(got.as.prediction.line, "L1");
    assert_string_equal(got.as.prediction.board, "B1");
    assert_null(got.as.prediction.lot);
    assert_int_equal(got.as.prediction.reason, 3);
    assert_int_equal(find(f, COUNT, &got), TL_OK);
    assert_false(got.as.prediction.pruned);
    /* Pruned in order: no kept unlabelled prediction is older than a tombstone. */
    assert_int_equal(sql_int(f->journal,
                             "SELECT count(*) FROM prediction p WHERE position<(SELECT "
                             "max(position) FROM tombstone) AND NOT EXISTS(SELECT 1 FROM "
                             "feedback f WHERE f.prediction_id=p.id)"),
                     0);
    assert_int_equal(sql_int(f->journal,
                             "SELECT count(*) FROM image i WHERE NOT EXISTS(SELECT 1 FROM "
                             "prediction WHERE image=i.number OR reference=i.number)"),
                     0);
    /* A tombstone's id is known, and late feedback on it is kept. */
    append_ok(f->journal, feedback_of(f->loop, 11, TL_FEEDBACK_LABEL, 2, "ann"));
    tl_record again = prediction_of(f->loop, 11);
    again.as.prediction.brought_id = true;
    assert_int_equal(tl_journal_append(f->journal, &again, 1, NULL), TL_ECONFLICT);
    int worst = -1;
    assert_int_equal(tl_journal_doctor(f->folder, NULL, NULL, &worst, NULL), TL_OK);
    assert_true(worst <= 1);
}

static void a_pruned_journal_gives_its_space_back(void **state)
{
    fixture *f = *state;
    open_with(f, (tl_journal_options){ .retention_bytes = 0 });
    for (uint64_t i = 1; i <= 200; i++) append_picture(f, i, NULL);
    open_with(f, (tl_journal_options){ .retention_bytes = 500000 });
    wait_for_used_below(f, 500000);
    char path[256];
    struct stat info = { 0 };
    path_in(f, "journal.db", path);
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(stat(path, &info), 0);
        if (info.st_size < 2500000) return;
        usleep(10000);
    }
    fail_msg("the file still has %lld bytes", (long long)info.st_size);
}

static void age_goes_by_journal_order_not_by_the_wall_clock(void **state)
{
    fixture *f = *state;
    open_with(f, (tl_journal_options){ .env = &FAKE_ENV, .retention_days = 30 });
    for (uint64_t i = 1; i <= 5; i++) append_ok(f->journal, prediction_of(f->loop, i));
    append_ok(f->journal, feedback_of(f->loop, 2, TL_FEEDBACK_LABEL, 1, "ann"));
    atomic_fetch_add(&fake_mono_ns, DAY_NS);
    append_ok(f->journal, prediction_of(f->loop, 6)); /* with a mark of the clock */
    /* The wall clock jumps by ten years, while it runs and over a restart. */
    atomic_fetch_add(&fake_wall_us, 3650 * (DAY_NS / 1000));
    atomic_fetch_add(&fake_mono_ns, DAY_NS);
    append_ok(f->journal, prediction_of(f->loop, 7));
    open_with(f, (tl_journal_options){ .env = &FAKE_ENV, .retention_days = 30 });
    append_ok(f->journal, prediction_of(f->loop, 8));
    tl_journal_close(&f->journal);
    atomic_fetch_add(&fake_wall_us, 3650 * (DAY_NS / 1000));
    open_with(f, (tl_journal_options){ .env = &FAKE_ENV, .retention_days = 30 });
    append_ok(f->journal, prediction_of(f->loop, 9));
    open_with(f, (tl_journal_options){ .env = &FAKE_ENV, .retention_days = 30 });
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM tombstone"), 0);
    /* Thirty days go by. */
    atomic_fetch_add(&fake_mono_ns, 30 * DAY_NS);
    append_ok(f->journal, prediction_of(f->loop, 10));
    tl_journal_close(&f->journal);
    open_with(f, (tl_journal_options){ .env = &FAKE_ENV });
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM prediction WHERE position<=6"), 1);
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM tombstone"), 8);
    tl_record got;
    assert_int_equal(find(f, 2, &got), TL_OK);
    assert_false(got.as.prediction.pruned);
    assert_int_equal(find(f, 10, &got), TL_OK);
    assert_false(got.as.prediction.pruned);
}

static void old_request_ids_are_forgotten(void **state)
{
    fixture *f = *state;
    open_with(f, (tl_journal_options){ .env = &FAKE_ENV });
    tl_record record = prediction_of(f->loop, 1);
    waited w;
    waited_init(&w, &record, 1, "req", 1);
    assert_int_equal(submit_wait(f->journal, &w), TL_OK);
    atomic_fetch_add(&fake_mono_ns, 8 * DAY_NS);
    append_ok(f->journal, prediction_of(f->loop, 2));
    tl_journal_close(&f->journal);
    open_with(f, (tl_journal_options){ .env = &FAKE_ENV });
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM request"), 0);
}

/* ---- Quota and forecast ------------------------------------------------------------------------
 */

static void over_the_quota_predictions_are_refused_and_feedback_is_not(void **state)
{
    fixture *f = *state;
    open_with(f, (tl_journal_options){ .quota_bytes = 500000 });
    tl_status status = TL_OK;
    uint64_t number = 0;
    static uint8_t pixels[PICTURE_BYTES];
    tl_error err;
    while (status == TL_OK && number < 100) {
        number++;
        memcpy(pixels, &number, sizeof number);
        tl_stored_image image = { .encoding = TL_IMAGE_U8,
                                  .height = 1,
                                  .width = PICTURE_BYTES,
                                  .channels = 1,
                                  .data = pixels,
                                  .bytes = PICTURE_BYTES };
        tl_stored_image_hash(&image);
        tl_record record = prediction_of(f->loop, number);
        record.as.prediction.image = &image;
        status = tl_journal_append(f->journal, &record, 1, &err);
    }
    assert_int_equal(status, TL_ENOSPC);
    assert_non_null(strstr(err.text, "quota"));
    assert_in_range(number, 15, 25);
    tl_journal_state facts;
    tl_journal_describe(f->journal, &facts);
    assert_true(facts.bytes <= 500000 + PICTURE_BYTES);
    append_ok(f->journal, feedback_of(f->loop, 1, TL_FEEDBACK_LABEL, 1, "ann"));
}

static void the_forecast_follows_the_growth(void **state)
{
    fixture *f = *state;
    const uint64_t quota = 10000000;
    open_with(f, (tl_journal_options){ .env = &FAKE_ENV, .quota_bytes = quota });
    tl_journal_state facts;
    tl_journal_describe(f->journal, &facts);
    assert_true(facts.days_until_full < 0);
    uint64_t start = facts.bytes;
    for (uint64_t i = 1; i <= 100; i++) append_picture(f, i, NULL);
    atomic_fetch_add(&fake_mono_ns, DAY_NS);
    append_picture(f, 101, NULL);
    tl_journal_describe(f->journal, &facts);
    double expected = (double)(quota - facts.bytes) / (double)(facts.bytes - start);
    assert_true(fabs(facts.days_until_full - expected) < 0.1 * expected);
    /* The rate is remembered over a restart, without a fresh start from zero. */
    open_with(f, (tl_journal_options){ .env = &FAKE_ENV, .quota_bytes = quota });
    tl_journal_describe(f->journal, &facts);
    assert_true(fabs(facts.days_until_full - expected) < 0.1 * expected);
}

/* ---- The write-ahead log -----------------------------------------------------------------------
 */

static off_t wal_size(const fixture *f)
{
    char path[256];
    struct stat info;
    path_in(f, "journal.db-wal", path);
    return stat(path, &info) == 0 ? info.st_size : 0;
}

static void the_log_stays_short_and_recovers_from_a_long_reader(void **state)
{
    fixture *f = *state;
    open_with(f, (tl_journal_options){
                     .env = &FAKE_ENV, .wal_soft_bytes = 128 << 10, .wal_hard_bytes = 512 << 10 });
    for (uint64_t i = 1; i <= 200; i++) append_picture(f, i, NULL);
    assert_true(wal_size(f) < (512 << 10));
    char path[256];
    sqlite3 *db = NULL;
    path_in(f, "journal.db", path);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN;SELECT count(*) FROM prediction", NULL, NULL, NULL),
                     SQLITE_OK);
    for (uint64_t i = 201; i <= 300; i++) append_picture(f, i, NULL);
    assert_true(wal_size(f) > (1 << 20)); /* the snapshot is respected */
    sqlite3_close(db);
    atomic_fetch_add(&fake_mono_ns, DAY_NS / 86400 * 2);
    append_picture(f, 301, NULL);
    append_picture(f, 302, NULL);
    append_picture(f, 303, NULL);
    assert_true(wal_size(f) < (512 << 10));
}

/* ---- Formats -----------------------------------------------------------------------------------
 */

static void an_older_format_is_migrated(void **state)
{
    fixture *f = *state;
    open_with(f, (tl_journal_options){ 0 });
    append_ok(f->journal, prediction_of(f->loop, 1));
    append_ok(f->journal, feedback_of(f->loop, 1, TL_FEEDBACK_LABEL, 2, "ann"));
    tl_journal_close(&f->journal);
    by_hand(f, "DROP VIEW labelled;DROP VIEW standing;DROP VIEW predictions;DROP TABLE clock;"
               "ALTER TABLE feedback DROP COLUMN received_us;"
               "ALTER TABLE prediction DROP COLUMN board;ALTER TABLE prediction DROP COLUMN lot;"
               "ALTER TABLE prediction DROP COLUMN shift;ALTER TABLE prediction DROP COLUMN reason;"
               "ALTER TABLE prediction DROP COLUMN shadows;"
               "ALTER TABLE tombstone DROP COLUMN board;ALTER TABLE tombstone DROP COLUMN lot;"
               "ALTER TABLE tombstone DROP COLUMN shift;ALTER TABLE tombstone DROP COLUMN reason;"
               "PRAGMA user_version=0");
    tl_journal_reader *reader = NULL;
    tl_error err;
    assert_int_equal(tl_journal_reader_open_path(f->folder, &reader, &err), TL_EVERSION);
    open_with(f, (tl_journal_options){ 0 });
    assert_int_equal(sql_int(f->journal, "PRAGMA user_version"), JOURNAL_FORMAT);
    assert_int_equal(sql_int(f->journal, "SELECT received_us FROM feedback"), 5);
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM labelled"), 1);
    append_ok(f->journal, feedback_of(f->loop, 1, TL_FEEDBACK_WITHDRAW, -1, "ann"));
    tl_record more = prediction_of(f->loop, 2);
    more.as.prediction.board = "B";
    append_ok(f->journal, more);
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM predictions WHERE reason=0"), 1);
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM predictions WHERE board='B'"), 1);
}

static void a_migration_that_fails_changes_nothing(void **state)
{
    fixture *f = *state;
    open_with(f, (tl_journal_options){ 0 });
    tl_journal_close(&f->journal);
    by_hand(f, "PRAGMA user_version=0"); /* the column that it would add is there already */
    tl_journal_options options = { .path = f->folder };
    tl_error err;
    assert_int_not_equal(tl_journal_open(&options, &f->journal, &err), TL_OK);
    assert_non_null(strstr(err.text, "migrating from format 0"));
    by_hand(f, "SELECT * FROM labelled"); /* the views were not dropped */
    by_hand(f, "PRAGMA user_version=2");
    open_with(f, (tl_journal_options){ 0 });
}

static void a_newer_format_is_refused(void **state)
{
    fixture *f = *state;
    open_with(f, (tl_journal_options){ 0 });
    tl_journal_close(&f->journal);
    by_hand(f, "PRAGMA user_version=99");
    tl_journal_options options = { .path = f->folder };
    tl_error err;
    assert_int_equal(tl_journal_open(&options, &f->journal, &err), TL_EVERSION);
    assert_non_null(strstr(err.text, "format 99"));
    assert_non_null(strstr(err.text, "newer"));
    /* Nor does the doctor call sound what it cannot read. */
    assert_int_equal(tl_journal_doctor(f->folder, NULL, NULL, NULL, &err), TL_EVERSION);
    assert_non_null(strstr(err.text, "newer"));
}

static void what_is_no_journal_is_refused(void **state)
{
    fixture *f = *state;
    tl_journal_options options = { .path = f->folder };
    tl_error err;
    by_hand(f, "CREATE TABLE recipes(name)");
    assert_int_equal(tl_journal_open(&options, &f->journal, &err), TL_ECORRUPT);
    assert_non_null(strstr(err.text, "not a journal"));
    char garbage[8192];
    memset(garbage, 'x', sizeof garbage);
    poke(f, 0, garbage, sizeof garbage);
    assert_int_equal(tl_journal_open(&options, &f->journal, &err), TL_ECORRUPT);
    assert_non_null(strstr(err.text, "doctor"));
}

/* ---- Backup ------------------------------------------------------------------------------------
 */

typedef struct load {
    fixture *f;
    _Atomic bool stop;
    uint64_t written;
} load;

static void *write_until_told(void *context)
{
    load *l = context;
    while (!atomic_load(&l->stop))
        append_ok(l->f->journal, prediction_of(l->f->loop, ++l->written));
    return NULL;
}

static void a_backup_is_whole_while_writing_goes_on(void **state)
{
    fixture *f = *state;
    open_with(f, (tl_journal_options){ 0 });
    for (uint64_t i = 1; i <= 100; i++) append_picture(f, 1000000 + i, NULL);
    load l = { .f = f };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_until_told, &l), 0);
    char path[256];
    tl_error err;
    path_in(f, "copy.db", path);
    tl_status status = tl_journal_backup(f->journal, path, &err);
    atomic_store(&l.stop, true);
    pthread_join(thread, NULL);
    if (status != TL_OK) fail_msg("%s", err.text);
    assert_int_equal(tl_journal_backup(f->journal, path, &err), TL_ECONFLICT);
    int worst = -1;
    assert_int_equal(tl_journal_doctor(path, NULL, NULL, &worst, NULL), TL_OK);
    assert_int_equal(worst, 1); /* no checkpoint yet */
    tl_journal_reader *reader;
    uint64_t last;
    assert_int_equal(tl_journal_reader_open_path(path, &reader, NULL), TL_OK);
    assert_int_equal(tl_journal_last_position(reader, &last, NULL), TL_OK);
    assert_true(last >= 100);
    tl_journal_reader_close(&reader);
    /* It serves. */
    tl_journal_close(&f->journal);
    char target[256];
    path_in(f, "journal.db", target);
    assert_int_equal(rename(path, target), 0);
    open_with(f, (tl_journal_options){ 0 });
    tl_record got;
    assert_int_equal(find(f, 1000001, &got), TL_OK);
    append_ok(f->journal, prediction_of(f->loop, 9000000));
}

/* ---- Export ------------------------------------------------------------------------------------
 */

static void file_read(const fixture *f, const char *name, char *out, size_t bytes)
{
    char path[256];
    path_in(f, name, path);
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("no file %s", path);
    size_t got = fread(out, 1, bytes - 1, file);
    out[got] = '\0';
    fclose(file);
}

static void export_label(fixture *f, uint64_t number, const tl_stored_image *image)
{
    tl_record record = prediction_of(f->loop, number);
    record.as.prediction.image = image;
    record.as.prediction.part = "a \"b\", c";
    append_ok(f->journal, record);
}

static void the_labelled_data_is_exported(void **state)
{
    fixture *f = *state;
    open_with(f, (tl_journal_options){ 0 });
    tl_stored_image raw = {
        .encoding = TL_IMAGE_U8, .height = 1, .width = 2, .channels = 1, .data = "AB", .bytes = 2
    };
    tl_stored_image png = { .encoding = TL_IMAGE_FILE,
                            .data = "\x89PNG\r\n\x1a\nrest",
                            .bytes = 12 };
    tl_stored_image_hash(&raw);
    tl_stored_image_hash(&png);
    export_label(f, 1, &raw);
    export_label(f, 2, &png);
    export_label(f, 3, NULL); /* withdrawn */
    export_label(f, 4, NULL); /* answered class was wrong: class not known */
    export_label(f, 5, NULL); /* answered class was right */
    append_ok(f->journal, feedback_of(f->loop, 1, TL_FEEDBACK_LABEL, 0, "ann"));
    append_ok(f->journal, feedback_of(f->loop, 2, TL_FEEDBACK_LABEL, 0, "ann"));
    append_ok(f->journal, feedback_of(f->loop, 2, TL_FEEDBACK_LABEL, 2, "bob"));
    append_ok(f->journal, feedback_of(f->loop, 3, TL_FEEDBACK_LABEL, 2, "bob"));
    append_ok(f->journal, feedback_of(f->loop, 3, TL_FEEDBACK_WITHDRAW, -1, "bob"));
    tl_record wrong = feedback_of(f->loop, 4, TL_FEEDBACK_VERDICT, -1, "ann");
    wrong.as.feedback.correct = false;
    append_ok(f->journal, wrong);
    append_ok(f->journal, feedback_of(f->loop, 5, TL_FEEDBACK_VERDICT, -1, "ann"));
    append_ok(f->journal, feedback_of(f->loop, 99, TL_FEEDBACK_LABEL, 1, "ann")); /* pending */
    tl_journal_reader *reader;
    char folder[256], text[4096], name[128];
    const char *const names[3] = { "ok", "mouse,bite", "open" };
    path_in(f, "out", folder);
    assert_int_equal(tl_journal_reader_open(f->journal, &reader, NULL), TL_OK);
    tl_export_options options = { .folder = folder };
    tl_error err;
    tl_status status = tl_journal_export(reader, f->loop, names, 3, &options, &err);
    if (status != TL_OK) fail_msg("%s", err.text);
    tl_journal_reader_close(&reader);
    file_read(f, "out/labels.csv", text, sizeof text);
    char *line = strtok(text, "\n");
    assert_string_equal(line, "id,time,site,line,part,board,lot,shift,image,reference,label,source,"
                              "f0,f1,f2,f3");
    line = strtok(NULL, "\n");
    assert_non_null(
        strstr(line, ",1970-01-01T00:00:01.000000Z,,L1,\"a \"\"b\"\", c\",B1,,,images/"));
    assert_non_null(strstr(line, ".pgm,,ok,ann,1,-2,3.5,0"));
    line = strtok(NULL, "\n");
    assert_non_null(strstr(line, ".png,,open,bob,"));
    line = strtok(NULL, "\n");
    assert_non_null(strstr(line, ",,,\"mouse,bite\",ann,"));
    assert_null(strtok(NULL, "\n"));
    snprintf(name, sizeof name, "out/images/");
    for (int i = 0; i < 32; i++) snprintf(name + 11 + 2 * i, 3, "%02x", raw.hash[i]);
    snprintf(name + 75, 8, ".pgm");
    file_read(f, name, text, sizeof text);
    assert_string_equal(text, "P5\n2 1\n255\nAB");
}

/* ---- Doctor ------------------------------------------------------------------------------------
 */

typedef struct findings {
    char text[8192];
} findings;

static void collect(void *context, int severity, const char *text)
{
    findings *found = context;
    size_t used = strlen(found->text);
    snprintf(found->text + used, sizeof found->text - used, "%d %s\n", severity, text);
}

static int examine(fixture *f, findings *found)
{
    int worst = -1;
    tl_error err;
    found->text[0] = '\0';
    tl_journal_close(&f->journal);
    if (tl_journal_doctor(f->folder, collect, found, &worst, &err) != TL_OK)
        fail_msg("%s", err.text);
    return worst;
}

static void the_doctor_finds_what_is_wrong(void **state)
{
    fixture *f = *state;
    findings found;
    open_with(f, (tl_journal_options){ 0 });
    for (uint64_t i = 1; i <= 50; i++) append_picture(f, i, NULL);
    tl_record state_record = { .kind = TL_RECORD_CHECKPOINT, .loop = f->loop };
    state_record.as.checkpoint = (tl_checkpoint_record){ .build = "b", .body = "x", .bytes = 1 };
    append_ok(f->journal, state_record);
    assert_int_equal(examine(f, &found), 0);
    assert_non_null(strstr(found.text, "Positions 1 to 51 are all there"));
    assert_non_null(strstr(found.text, "All 50 images are what was stored"));
    open_with(f, (tl_journal_options){ 0 });
    append_ok(f->journal, feedback_of(f->loop, 777, TL_FEEDBACK_LABEL, 1, "ann"));
    assert_int_equal(examine(f, &found), 1);
    assert_non_null(strstr(found.text, "1 feedbacks name a prediction that is not known"));
    by_hand(f, "UPDATE image SET data=zeroblob(20000) WHERE number=7");
    assert_int_equal(examine(f, &found), 2);
    assert_non_null(strstr(found.text, "1 of 50 images are not what was stored"));
    by_hand(f, "DELETE FROM image WHERE number=9");
    assert_int_equal(examine(f, &found), 2);
    assert_non_null(strstr(found.text, "1 predictions name an image that is missing"));
    by_hand(f, "DELETE FROM prediction WHERE position=20");
    assert_int_equal(examine(f, &found), 2);
    assert_non_null(strstr(found.text, "1 gaps in the positions, the first at 20"));
    assert_non_null(strstr(found.text, "backup"));
}

static void the_doctor_survives_damage(void **state)
{
    fixture *f = *state;
    findings found;
    open_with(f, (tl_journal_options){ 0 });
    for (uint64_t i = 1; i <= 300; i++) append_ok(f->journal, prediction_of(f->loop, i));
    tl_journal_close(&f->journal);
    char garbage[4096];
    memset(garbage, 0x5a, sizeof garbage);
    for (off_t page = 5; page < 12; page++) poke(f, page * 4096, garbage, sizeof garbage);
    assert_int_equal(examine(f, &found), 2);
    assert_non_null(strstr(found.text, "Damage in the file"));
    poke(f, 0, garbage, sizeof garbage);
    assert_int_equal(examine(f, &found), 2);
    assert_non_null(strstr(found.text, "cannot be opened"));
}

static void the_doctor_looks_lightly_at_a_served_journal(void **state)
{
    fixture *f = *state;
    findings found = { "" };
    int worst = -1;
    open_with(f, (tl_journal_options){ 0 });
    append_ok(f->journal, prediction_of(f->loop, 1));
    assert_int_equal(tl_journal_doctor(f->folder, collect, &found, &worst, NULL), TL_OK);
    assert_non_null(strstr(found.text, "serves this journal"));
    append_ok(f->journal, prediction_of(f->loop, 2));
    assert_int_equal(tl_journal_doctor("/tmp/tl-journal-nowhere", NULL, NULL, &worst, NULL),
                     TL_ENOTFOUND);
}

/* Reading a folder that one may not write to, while nobody serves it. */
static void a_read_only_folder_can_be_read(void **state)
{
    fixture *f = *state;
    open_with(f, (tl_journal_options){ 0 });
    append_ok(f->journal, prediction_of(f->loop, 1));
    tl_journal_close(&f->journal);
    assert_int_equal(chmod(f->folder, 0555), 0);
    bool root = geteuid() == 0; /* who may write anywhere */
    if (root) assert_int_equal(setegid(65534) | seteuid(65534), 0);
    tl_journal_reader *reader = NULL;
    tl_error err = { 0 };
    tl_status status = tl_journal_reader_open_path(f->folder, &reader, &err);
    if (root) assert_int_equal(seteuid(0) | setegid(0), 0);
    chmod(f->folder, 0755);
    tl_journal_reader_close(&reader);
    if (status != TL_OK && status != TL_EIO)
        fail_msg("%s", err.text); /* the folder itself is 0700 */
}

int main(void)
{
    tl_log_set_level(TL_LOG_ERROR + 1);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_oldest_unlabelled_give_way),
        TEST(a_pruned_journal_gives_its_space_back),
        TEST(age_goes_by_journal_order_not_by_the_wall_clock),
        TEST(old_request_ids_are_forgotten),
        TEST(over_the_quota_predictions_are_refused_and_feedback_is_not),
        TEST(the_forecast_follows_the_growth),
        TEST(the_log_stays_short_and_recovers_from_a_long_reader),
        TEST(an_older_format_is_migrated),
        TEST(a_migration_that_fails_changes_nothing),
        TEST(a_newer_format_is_refused),
        TEST(what_is_no_journal_is_refused),
        TEST(a_backup_is_whole_while_writing_goes_on),
        TEST(the_labelled_data_is_exported),
        TEST(the_doctor_finds_what_is_wrong),
        TEST(the_doctor_survives_damage),
        TEST(the_doctor_looks_lightly_at_a_served_journal),
        TEST(a_read_only_folder_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Power cuts: whatever was acknowledged is there afterwards, whole and in its place; nothing else
 * is.
 *
 * One round: a journal on a simulated disk takes random entries; the power fails after a random
 * number of writes; what the disk kept is drawn; the journal is opened again (sometimes the power
 * fails once more while it recovers), and compared with what was submitted. The seed draws all of
 * it, except for how the writer's thread groups the entries. TL_POWER_CUTS sets the number of
 * rounds, TL_POWER_SEED runs one. */
#include "journal/test/simdisk_impl.h"
#include "journal/test/test_support.h"

enum {
    ROUNDS_DEFAULT = 300,
    ENTRIES_MAX = 90,
    RECORDS_MAX = 6,
    BURST_MAX = 12,
    CUT_MAX = 900, /* operations of the disk: opening takes some 60 */
    FEATURE_COUNT_MAX = 600
};

typedef struct planned {
    tl_record records[RECORDS_MAX];
    size_t count;
    char request_id[16]; /* "": none */
    uint64_t body;
    bool submitted, acknowledged, refused, repeated;
    uint64_t first_position;
    size_t found; /* records seen in the journal afterwards */
    waited wait;
} planned;

typedef struct round_state {
    uint64_t seed;
    tl_rng rng;
    tl_simdisk *disk;
    char vfs[32];
    tl_journal *journal;
    uint32_t loop;
    planned entries[ENTRIES_MAX];
    size_t entry_count;
    uint64_t next_id;
    float features[FEATURE_COUNT_MAX];
    const char *trouble; /* first difference found */
    char opening[TL_ERROR_TEXT_BYTES];
    bool relaxed;
} round_state;

/* ---- Plans -------------------------------------------------------------------------------------
 */

/* Each record carries its tag as its time, so that it can be recognised. */
static int64_t tag_of(size_t entry, size_t record)
{
    return (int64_t)(entry * 100 + record + 1);
}

static void plan_prediction(round_state *r, tl_record *record, int64_t tag)
{
    bool duplicate = r->next_id > 1 && tl_rng_below(&r->rng, 12) == 0;
    uint64_t id = duplicate ? 1 + tl_rng_below(&r->rng, r->next_id - 1) : r->next_id++;
    *record = prediction_of(r->loop, id);
    tl_prediction_record *p = &record->as.prediction;
    p->brought_id = duplicate || tl_rng_below(&r->rng, 3) == 0;
    p->time_us = tag;
    p->epoch = tl_mix64((uint64_t)tag) >> 8;
    p->features = r->features;
    p->feature_count = (uint32_t)tl_rng_below(&r->rng, FEATURE_COUNT_MAX);
}

static void plan_record(round_state *r, tl_record *record, int64_t tag)
{
    switch (tl_rng_below(&r->rng, 8)) {
    case 0:
    case 1:
    case 2:
        *record = feedback_of(r->loop, 1 + tl_rng_below(&r->rng, r->next_id + 3), TL_FEEDBACK_LABEL,
                              (int32_t)tl_rng_below(&r->rng, 3), "ann");
        record->as.feedback.time_us = tag;
        record->as.feedback.received_us = (int64_t)(tl_mix64((uint64_t)tag) >> 8);
        break;
    case 3:
        *record = (tl_record){ .kind = TL_RECORD_EVENT, .loop = r->loop };
        record->as.event = (tl_event_record){ .kind = "note", .body = "{}", .time_us = tag };
        break;
    case 4:
        *record = (tl_record){ .kind = TL_RECORD_CHECKPOINT, .loop = r->loop };
        record->as.checkpoint = (tl_checkpoint_record){ .upto = 1,
                                                        .build = "b",
                                                        .body = r->features,
                                                        .bytes = sizeof r->features,
                                                        .time_us = tag };
        break;
    default: plan_prediction(r, record, tag); break;
    }
}

static void plan_entry(round_state *r, size_t index)
{
    planned *e = &r->entries[index];
    *e = (planned){ .count = 1 + tl_rng_below(&r->rng, RECORDS_MAX) };
    for (size_t i = 0; i < e->count; i++) plan_record(r, &e->records[i], tag_of(index, i));
    if (tl_rng_below(&r->rng, 3) == 0) {
        /* Few ids, so that some come again, with the same body or another one. */
        snprintf(e->request_id, sizeof e->request_id, "r%u", (unsigned)tl_rng_below(&r->rng, 20));
        e->body = tl_rng_below(&r->rng, 2);
    }
    waited_init(&e->wait, e->records, e->count, e->request_id[0] != '\0' ? e->request_id : NULL,
                e->body);
}

/* ---- The run until the cut ---------------------------------------------------------------------
 */

static tl_status open_on_disk(round_state *r, tl_error *err)
{
    tl_journal_options options = { .path = "disk",
                                   .vfs = r->vfs,
                                   .relaxed = r->relaxed,
                                   .wal_soft_bytes = 16 * 4096,
                                   .wal_hard_bytes = 64 * 4096 };
    return tl_journal_open(&options, &r->journal, err);
}

static void note_answer(planned *e)
{
    tl_status status = waited_for(&e->wait);
    e->acknowledged = status == TL_OK;
    e->refused = status == TL_ECONFLICT;
    e->repeated = e->wait.entry.repeated;
    e->first_position = e->wait.entry.first_position;
}

static void submit_all(round_state *r)
{
    bool taken = true;
    while (r->entry_count < ENTRIES_MAX && !tl_simdisk_is_off(r->disk) && taken) {
        size_t from = r->entry_count, burst = 1 + tl_rng_below(&r->rng, BURST_MAX);
        while (r->entry_count < ENTRIES_MAX && r->entry_count < from + burst) {
            planned *e = &r->entries[r->entry_count];
            plan_entry(r, r->entry_count++);
            e->submitted = tl_journal_submit(r->journal, &e->wait.entry, NULL) == TL_OK;
            taken = e->submitted;
        }
        for (size_t i = from; i < r->entry_count; i++)
            if (r->entries[i].submitted) note_answer(&r->entries[i]);
    }
}

static void plan_fault(round_state *r)
{
    if (tl_rng_below(&r->rng, 3) != 0) return;
    tl_simdisk_fault fault = (tl_simdisk_fault)tl_rng_below(&r->rng, SIM_FAULTS);
    uint64_t times = fault == TL_SIMDISK_FULL ? 1 + tl_rng_below(&r->rng, 20) : 1;
    tl_simdisk_fail(r->disk, fault, 1 + tl_rng_below(&r->rng, 200), times);
}

/* After an error of the disk the journal is read-only: it is opened anew, the power still on. */
static void run_until_cut(round_state *r)
{
    tl_simdisk_cut_after(r->disk, 1 + tl_rng_below(&r->rng, CUT_MAX));
    r->entry_count = 0;
    plan_fault(r);
    for (int openings = 0; openings < 5 && r->entry_count < ENTRIES_MAX; openings++) {
        if (open_on_disk(r, NULL) == TL_OK &&
            tl_journal_loop_open(r->journal, "boards", "{}", &r->loop, NULL, NULL) == TL_OK)
            submit_all(r);
        bool off = tl_simdisk_is_off(r->disk);
        if (!off && r->entry_count >= ENTRIES_MAX) tl_simdisk_cut_after(r->disk, 0);
        tl_journal_close(&r->journal);
        if (off) break;
    }
    tl_simdisk_power_on(r->disk);
}

/* ---- The comparison ----------------------------------------------------------------------------
 */

static void trouble(round_state *r, const char *text)
{
    if (r->trouble == NULL) r->trouble = text;
}

static bool same_record(const tl_record *a, const tl_record *b)
{
    if (a->kind != b->kind || a->loop != b->loop) return false;
    switch (a->kind) {
    case TL_RECORD_PREDICTION: {
        const tl_prediction_record *x = &a->as.prediction, *y = &b->as.prediction;
        return tl_id_compare(x->id, y->id) == 0 && x->epoch == y->epoch &&
               x->feature_count == y->feature_count && x->score_count == y->score_count &&
               memcmp(x->features, y->features, x->feature_count * sizeof(float)) == 0 &&
               memcmp(x->scores, y->scores, x->score_count * sizeof(float)) == 0 &&
               strcmp(x->line, y->line) == 0;
    }
    case TL_RECORD_FEEDBACK:
        return tl_id_compare(a->as.feedback.prediction_id, b->as.feedback.prediction_id) == 0 &&
               a->as.feedback.received_us == b->as.feedback.received_us &&
               a->as.feedback.label == b->as.feedback.label;
    case TL_RECORD_EVENT: return strcmp(a->as.event.kind, b->as.event.kind) == 0;
    case TL_RECORD_CHECKPOINT: /* only the newest two have bodies */
        return a->as.checkpoint.body == NULL ||
               (a->as.checkpoint.bytes == b->as.checkpoint.bytes &&
                memcmp(a->as.checkpoint.body, b->as.checkpoint.body, a->as.checkpoint.bytes) == 0);
    case TL_RECORD_VERSION: return false;
    }
    return false;
}

static int64_t tag_in(const tl_record *record)
{
    switch (record->kind) {
    case TL_RECORD_PREDICTION: return record->as.prediction.time_us;
    case TL_RECORD_FEEDBACK: return record->as.feedback.time_us;
    case TL_RECORD_EVENT: return record->as.event.time_us;
    case TL_RECORD_CHECKPOINT: return record->as.checkpoint.time_us;
    case TL_RECORD_VERSION: break;
    }
    return 0;
}

/* A record that the journal holds was submitted, just like this, and is where it was said to be. */
static void compare_record(round_state *r, const tl_record *got)
{
    int64_t tag = tag_in(got) - 1;
    size_t entry = (size_t)(tag / 100), index = (size_t)(tag % 100);
    if (tag < 0 || entry >= r->entry_count || index >= r->entries[entry].count) {
        trouble(r, "a record that nobody submitted");
        return;
    }
    planned *e = &r->entries[entry];
    if (!e->submitted || e->refused || e->repeated) trouble(r, "a record that was refused");
    if (!same_record(got, &e->records[index])) trouble(r, "a record with other content");
    if (index == 0 && !e->acknowledged) e->first_position = got->position;
    if (got->position != e->first_position + index) trouble(r, "a record at another position");
    e->found++;
}

static void compare_all(round_state *r)
{
    tl_journal_reader *reader;
    tl_arena arena;
    tl_record got;
    uint64_t last = 0;
    tl_status status;
    tl_arena_init(&arena, 1 << 26);
    assert_int_equal(tl_journal_reader_open(r->journal, &reader, NULL), TL_OK);
    while ((status = tl_journal_next(reader, UINT32_MAX, last, &arena, &got, NULL)) == TL_OK) {
        if (got.position != last + 1) trouble(r, "a gap in the positions");
        last = got.position;
        compare_record(r, &got);
        tl_arena_reset(&arena);
    }
    if (status != TL_ENOTFOUND) trouble(r, "a record that cannot be read");
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    for (size_t i = 0; i < r->entry_count; i++) {
        const planned *e = &r->entries[i];
        if (e->acknowledged && !e->repeated && e->found != e->count)
            trouble(r, "an acknowledged record is missing");
        if (e->found != 0 && e->found != e->count) trouble(r, "half an entry");
    }
}

/* A retry of an acknowledged request still gets its first answer. */
static void compare_requests(round_state *r)
{
    for (size_t i = 0; i < r->entry_count; i++) {
        planned *e = &r->entries[i];
        if (!e->acknowledged || e->request_id[0] == '\0') continue;
        waited again;
        waited_init(&again, e->records, e->count, e->request_id, e->body);
        if (submit_wait(r->journal, &again) != TL_OK || !again.entry.repeated ||
            again.entry.first_position != e->first_position)
            trouble(r, "an acknowledged request is not known");
    }
}

static bool integrity_ok(round_state *r)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    bool ok = sqlite3_open_v2("disk/journal.db", &db, SQLITE_OPEN_READONLY, r->vfs) == SQLITE_OK &&
              sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL) == SQLITE_OK &&
              sqlite3_step(stmt) == SQLITE_ROW &&
              strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") == 0;
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return ok;
}

static void reopen_and_compare(round_state *r)
{
    tl_error err;
    while (tl_rng_below(&r->rng, 3) == 0) { /* the power fails again while recovering */
        tl_simdisk_cut_after(r->disk, 1 + tl_rng_below(&r->rng, 40));
        (void)open_on_disk(r, NULL);
        tl_journal_close(&r->journal);
        tl_simdisk_power_on(r->disk);
    }
    if (open_on_disk(r, &err) != TL_OK) {
        snprintf(r->opening, sizeof r->opening, "the journal does not open: %.200s", err.text);
        trouble(r, r->opening);
        return;
    }
    compare_all(r);
    compare_requests(r);
    if (!integrity_ok(r)) trouble(r, "PRAGMA integrity_check finds damage");
    tl_record more = prediction_of(r->loop != 0 ? r->loop : 1, 1000000);
    if (tl_journal_append(r->journal, &more, 1, NULL) != TL_OK)
        trouble(r, "it takes no more records");
    tl_journal_close(&r->journal);
}

/* NULL, or what was lost. */
static const char *play(uint64_t seed, bool relaxed, bool lie)
{
    static round_state r;
    memset(&r, 0, sizeof r);
    r.seed = seed;
    r.relaxed = relaxed;
    r.next_id = 1;
    tl_rng_seed(&r.rng, seed, 0xc07);
    for (int i = 0; i < FEATURE_COUNT_MAX; i++) r.features[i] = (float)i;
    snprintf(r.vfs, sizeof r.vfs, "simdisk");
    r.disk = tl_simdisk_create(r.vfs, seed);
    assert_non_null(r.disk);
    tl_simdisk_lie(r.disk, lie);
    run_until_cut(&r);
    reopen_and_compare(&r);
    tl_simdisk_destroy(&r.disk);
    return r.trouble;
}

/* ---- Tests -------------------------------------------------------------------------------------
 */

static uint64_t number_from(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : fallback;
}

static void acknowledged_records_survive_power_cuts(void **state)
{
    (void)state;
    uint64_t rounds = number_from("TL_POWER_CUTS", ROUNDS_DEFAULT);
    uint64_t first = number_from("TL_POWER_SEED", 0);
    if (first != 0) rounds = 1;
    for (uint64_t seed = first; seed < first + rounds; seed++) {
        const char *what = play(seed, false, false);
        if (what != NULL) fail_msg("seed %llu: %s", (unsigned long long)seed, what);
    }
}

/* The canary: on a disk whose syncs do nothing, and with synchronous=NORMAL, records are lost, and
 * the comparison above sees it. */
static void losses_are_seen_where_there_are_some(void **state)
{
    (void)state;
    unsigned lost_by_lying = 0, lost_when_relaxed = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        if (play(seed, false, true) != NULL) lost_by_lying++;
        if (play(seed, true, false) != NULL) lost_when_relaxed++;
    }
    assert_true(lost_by_lying > 5);
    assert_true(lost_when_relaxed > 5);
}

int main(void)
{
    tl_log_set_level(TL_LOG_ERROR + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_records_survive_power_cuts),
        cmocka_unit_test(losses_are_seen_where_there_are_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Unit tests of the journal: what goes in comes out, in order, once, and after a restart. */
#include "journal/test/test_support.h"

#include <math.h>

typedef struct fixture {
    char *folder;
    tl_journal *journal;
    uint32_t loop;
    tl_journal_reader *reader;
    tl_arena arena;
} fixture;

static void reader_reopen(fixture *f)
{
    tl_journal_reader_close(&f->reader);
    assert_int_equal(tl_journal_reader_open(f->journal, &f->reader, NULL), TL_OK);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->folder = folder_new();
    f->journal = journal_at(f->folder);
    f->loop = loop_at(f->journal, "boards");
    tl_arena_init(&f->arena, 1 << 26);
    reader_reopen(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    tl_journal_reader_close(&f->reader);
    tl_journal_close(&f->journal);
    tl_arena_destroy(&f->arena);
    folder_remove(f->folder);
    free(f);
    return 0;
}

static void restart(fixture *f)
{
    tl_journal_reader_close(&f->reader);
    tl_journal_close(&f->journal);
    f->journal = journal_at(f->folder);
    reader_reopen(f);
}

static tl_status find(fixture *f, uint64_t number, bool with_images, tl_record *out, bool *pruned)
{
    return tl_journal_find_prediction(f->reader, f->loop, id_of(number), with_images, &f->arena,
                                      out, pruned, NULL);
}

/* ---- Round trips -------------------------------------------------------------------------------
 */

static void prediction_comes_back_whole(void **state)
{
    fixture *f = *state;
    tl_record record = prediction_of(f->loop, 1);
    float heads[6] = { 0.1f, 0.2f, 0.7f, 0.3f, 0.3f, 0.4f };
    record.as.prediction.head_scores = heads;
    record.as.prediction.head_count = 2;
    record.as.prediction.site = "S\xc3\xbc"
                                "d";
    record.as.prediction.review = true;
    record.as.prediction.propensity = NAN;
    static const tl_shadow_record shadows[2] = { { UINT64_MAX - 2, 0.75f, 2, 1 },
                                                 { 4, NAN, 63, 0 } };
    record.as.prediction.board = "SN-4711";
    record.as.prediction.lot = "lot 9";
    record.as.prediction.shift = "night";
    record.as.prediction.reason = 200;
    record.as.prediction.shadows = shadows;
    record.as.prediction.shadow_count = 2;
    append_ok(f->journal, record);
    restart(f);
    tl_record got;
    bool pruned = true;
    assert_int_equal(find(f, 1, true, &got, &pruned), TL_OK);
    const tl_prediction_record *p = &got.as.prediction;
    assert_false(pruned);
    assert_int_equal(got.position, 1);
    assert_int_equal(got.loop, f->loop);
    assert_int_equal(p->time_us, 1000000);
    assert_int_equal(p->version, 1);
    assert_int_equal(p->epoch, 7);
    assert_string_equal(p->site, "S\xc3\xbc"
                                 "d");
    assert_string_equal(p->line, "L1");
    assert_null(p->part);
    assert_null(p->image);
    assert_int_equal(p->feature_count, 4);
    assert_memory_equal(p->features, TEST_FEATURES, sizeof TEST_FEATURES);
    assert_int_equal(p->score_count, 3);
    assert_memory_equal(p->scores, TEST_SCORES, sizeof TEST_SCORES);
    assert_int_equal(p->head_count, 2);
    assert_memory_equal(p->head_scores, heads, sizeof heads);
    assert_int_equal(p->label, 1);
    assert_true(p->flagged && p->review);
    assert_true(p->threshold == 0.5f);
    assert_true(p->propensity != p->propensity); /* a NaN survives */
    assert_string_equal(p->board, "SN-4711");
    assert_string_equal(p->lot, "lot 9");
    assert_string_equal(p->shift, "night");
    assert_int_equal(p->reason, 200);
    assert_int_equal(p->shadow_count, 2);
    assert_true(p->shadows[0].version == UINT64_MAX - 2 && p->shadows[0].defect_score == 0.75f);
    assert_true(p->shadows[0].label == 2 && p->shadows[0].flagged == 1);
    assert_true(p->shadows[1].version == 4 && isnan(p->shadows[1].defect_score));
    assert_true(p->shadows[1].label == 63 && p->shadows[1].flagged == 0);
    tl_record next; /* and the same when reading ahead */
    assert_int_equal(tl_journal_next(f->reader, f->loop, 0, &f->arena, &next, NULL), TL_OK);
    assert_string_equal(next.as.prediction.shift, "night");
    assert_memory_equal(next.as.prediction.shadows, p->shadows, sizeof shadows);
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM predictions WHERE board='SN-4711' "
                                         "AND lot='lot 9' AND shift='night' AND reason=200"),
                     1);
    assert_int_equal(find(f, 2, true, &got, &pruned), TL_ENOTFOUND);
}

/* The layout on disk, byte by byte, and what is none. */
static void shadows_are_checked_when_read(void **state)
{
    (void)state;
    uint8_t bytes[(TL_SHADOW_COUNT_MAX + 1) * TL_SHADOW_BYTES] = { 0 };
    const tl_shadow_record shadow = { 0x0102030405060708, 1.0f, 5, 1 };
    static const uint8_t layout[] = { 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0x80, 0x3f, 5, 1 };
    assert_int_equal(tl_shadows_encode(&shadow, 1, bytes), sizeof layout);
    assert_memory_equal(bytes, layout, sizeof layout);
    tl_shadow_record got[TL_SHADOW_COUNT_MAX];
    uint32_t count = 9;
    assert_true(tl_shadows_decode(bytes, TL_SHADOW_BYTES, got, &count));
    assert_int_equal(count, 1);
    assert_true(got[0].version == shadow.version && got[0].defect_score == 1.0f);
    assert_true(tl_shadows_decode(bytes, TL_SHADOW_COUNT_MAX * TL_SHADOW_BYTES, got, &count));
    assert_int_equal(count, TL_SHADOW_COUNT_MAX);
    assert_false(tl_shadows_decode(bytes, sizeof bytes, got, &count));
    assert_false(tl_shadows_decode(bytes, TL_SHADOW_BYTES - 1, got, &count));
    bytes[13] = 2;
    assert_false(tl_shadows_decode(bytes, TL_SHADOW_BYTES, got, &count));
    bytes[13] = 0;
    bytes[12] = TL_CLASS_COUNT_MAX;
    assert_false(tl_shadows_decode(bytes, TL_SHADOW_BYTES, got, &count));
}

static void every_kind_comes_back_in_order(void **state)
{
    fixture *f = *state;
    uint32_t other = loop_at(f->journal, "other");
    tl_record records[6] = { prediction_of(f->loop, 1),
                             feedback_of(f->loop, 1, TL_FEEDBACK_LABEL, 2, "ann"),
                             { .kind = TL_RECORD_EVENT, .loop = other },
                             { .kind = TL_RECORD_VERSION, .loop = f->loop },
                             { .kind = TL_RECORD_CHECKPOINT, .loop = f->loop },
                             prediction_of(other, 1) };
    records[2].as.event = (tl_event_record){ .kind = "pause", .body = "{}", .time_us = 9 };
    records[3].as.version = (tl_version_record){ .number = 3,
                                                 .parent = 2,
                                                 .origin = "continuous",
                                                 .metrics = "{\"loss\":1}",
                                                 .weights = "wwww",
                                                 .weights_bytes = 4,
                                                 .weights_hash = UINT64_MAX - 1 };
    records[4].as.checkpoint =
        (tl_checkpoint_record){ .upto = 4, .build = "avx2", .body = "state", .bytes = 5 };
    assert_int_equal(tl_journal_append(f->journal, records, 6, NULL), TL_OK);
    for (size_t i = 0; i < 6; i++) assert_int_equal(records[i].position, i + 1);
    restart(f);
    tl_record got;
    for (uint64_t i = 0; i < 6; i++) {
        assert_int_equal(tl_journal_next(f->reader, UINT32_MAX, i, &f->arena, &got, NULL), TL_OK);
        assert_int_equal(got.position, i + 1);
        assert_int_equal(got.kind, records[i].kind);
        assert_int_equal(got.loop, records[i].loop);
    }
    assert_int_equal(tl_journal_next(f->reader, UINT32_MAX, 6, &f->arena, &got, NULL),
                     TL_ENOTFOUND);
    assert_int_equal(tl_journal_next(f->reader, other, 0, &f->arena, &got, NULL), TL_OK);
    assert_int_equal(got.position, 3);
    assert_string_equal(got.as.event.kind, "pause");
    assert_int_equal(tl_journal_next(f->reader, other, 3, &f->arena, &got, NULL), TL_OK);
    assert_int_equal(got.position, 6);
    assert_int_equal(tl_journal_find_version(f->reader, f->loop, 3, &f->arena, &got, NULL), TL_OK);
    assert_memory_equal(got.as.version.weights, "wwww", 4);
    assert_true(got.as.version.weights_hash == UINT64_MAX - 1);
    assert_int_equal(tl_journal_find_checkpoint(f->reader, f->loop, 0, &f->arena, &got, NULL),
                     TL_OK);
    assert_memory_equal(got.as.checkpoint.body, "state", 5);
    uint64_t last;
    assert_int_equal(tl_journal_last_position(f->reader, &last, NULL), TL_OK);
    assert_int_equal(last, 6);
}

static void long_walk_sees_each_record_once(void **state)
{
    fixture *f = *state;
    enum { COUNT = 1000 };
    for (uint64_t i = 0; i < COUNT; i += 50) {
        tl_record records[50];
        for (uint64_t j = 0; j < 50; j++)
            records[j] = (i + j) % 3 == 0 ? feedback_of(f->loop, i + j, 0, 1, "a")
                                          : prediction_of(f->loop, i + j);
        assert_int_equal(tl_journal_append(f->journal, records, 50, NULL), TL_OK);
    }
    uint64_t seen = 0;
    tl_record got;
    while (tl_journal_next(f->reader, f->loop, seen, &f->arena, &got, NULL) == TL_OK) {
        assert_int_equal(got.position, seen + 1);
        tl_id id =
            got.kind == TL_RECORD_PREDICTION ? got.as.prediction.id : got.as.feedback.prediction_id;
        assert_int_equal(tl_id_compare(id, id_of(seen)), 0);
        seen = got.position;
        tl_arena_reset(&f->arena);
    }
    assert_int_equal(seen, COUNT);
    /* What is appended after the end was seen is found. */
    append_ok(f->journal, prediction_of(f->loop, 5000));
    assert_int_equal(tl_journal_next(f->reader, f->loop, seen, &f->arena, &got, NULL), TL_OK);
}

/* ---- Images ------------------------------------------------------------------------------------
 */

static void the_same_image_is_kept_once(void **state)
{
    fixture *f = *state;
    tl_stored_image a = {
        .encoding = TL_IMAGE_U8, .height = 2, .width = 2, .channels = 1, .data = "abcd", .bytes = 4
    };
    tl_stored_image reshaped = a;
    reshaped.height = 1;
    reshaped.width = 4;
    tl_stored_image_hash(&a);
    tl_stored_image_hash(&reshaped);
    assert_memory_not_equal(a.hash, reshaped.hash, sizeof a.hash);
    for (uint64_t i = 1; i <= 3; i++) {
        tl_record record = prediction_of(f->loop, i);
        record.as.prediction.image = i == 3 ? &reshaped : &a;
        record.as.prediction.reference = &a;
        append_ok(f->journal, record);
    }
    tl_journal_state facts;
    tl_journal_describe(f->journal, &facts);
    assert_int_equal(facts.images, 2);
    tl_record got;
    bool pruned;
    assert_int_equal(find(f, 3, true, &got, &pruned), TL_OK);
    assert_int_equal(got.as.prediction.image->width, 4);
    assert_int_equal(got.as.prediction.reference->width, 2);
    assert_memory_equal(got.as.prediction.image->data, "abcd", 4);
    assert_memory_equal(got.as.prediction.image->hash, reshaped.hash, sizeof a.hash);
    assert_int_equal(find(f, 3, false, &got, &pruned), TL_OK);
    assert_null(got.as.prediction.image);
    tl_stored_image alone;
    assert_int_equal(
        tl_journal_find_image(f->reader, got.as.prediction.image_number, &f->arena, &alone, NULL),
        TL_OK);
    assert_int_equal(alone.bytes, 4);
    restart(f);
    tl_journal_describe(f->journal, &facts);
    assert_int_equal(facts.images, 2);
}

/* Each new feedback on an item lists those before it, so that without a bound a flood of them on
 * one item would take a time that grows with its square. */
static void a_flood_of_feedback_on_one_prediction_is_not_listed_whole(void **state)
{
    enum { FLOOD = 600, LISTED_MAX = 256 };
    fixture *f = *state;
    for (int i = 0; i < FLOOD; i++)
        append_ok(f->journal, feedback_of(f->loop, 1, TL_FEEDBACK_LABEL, i % 3, "ann"));
    tl_record *list;
    size_t count;
    assert_int_equal(tl_journal_list_feedback(f->reader, f->loop, id_of(1), UINT64_MAX, &f->arena,
                                              &list, &count, NULL),
                     TL_OK);
    assert_in_range(count, 2, LISTED_MAX);
    for (size_t i = 0; i < count; i++) assert_int_equal(list[i].position, list[0].position + i);
    assert_int_equal(list[count - 1].as.feedback.label, (FLOOD - 1) % 3);
}

/* ---- Feedback, versions, checkpoints, loops ----------------------------------------------------
 */

static void feedback_of_a_prediction_is_listed_in_order(void **state)
{
    fixture *f = *state;
    append_ok(f->journal, feedback_of(f->loop, 1, TL_FEEDBACK_LABEL, 2, "ann"));
    append_ok(f->journal, feedback_of(f->loop, 2, TL_FEEDBACK_LABEL, 1, "ann"));
    append_ok(f->journal, feedback_of(f->loop, 1, TL_FEEDBACK_WITHDRAW, -1, "ann"));
    append_ok(f->journal, feedback_of(f->loop, 1, TL_FEEDBACK_VERDICT, -1, "bob"));
    tl_record *list;
    size_t count;
    tl_id id = id_of(1);
    assert_int_equal(tl_journal_list_feedback(f->reader, f->loop, id, UINT64_MAX, &f->arena, &list,
                                              &count, NULL),
                     TL_OK);
    assert_int_equal(count, 3);
    assert_int_equal(list[0].as.feedback.label, 2);
    assert_int_equal(list[1].as.feedback.kind, TL_FEEDBACK_WITHDRAW);
    assert_string_equal(list[2].as.feedback.source, "bob");
    assert_int_equal(list[2].as.feedback.received_us, 6);
    assert_int_equal(
        tl_journal_list_feedback(f->reader, f->loop, id, 3, &f->arena, &list, &count, NULL), TL_OK);
    assert_int_equal(count, 2);
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM standing"), 2);
    append_ok(f->journal, prediction_of(f->loop, 2)); /* it was answered "hole" */
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM labelled"), 1);
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM labelled WHERE class='hole' AND "
                                         "answered_class='hole' AND label=1 AND source='ann' AND "
                                         "time='1970-01-01T00:00:02.000Z' AND "
                                         "id='01000000-0000-0000-0000-000000000002'"),
                     1);
}

static void versions_are_walked_and_forget_their_weights(void **state)
{
    fixture *f = *state;
    for (uint64_t number = 1; number <= 3; number++) {
        tl_record record = { .kind = TL_RECORD_VERSION, .loop = f->loop };
        record.as.version = (tl_version_record){ .number = number,
                                                 .parent = number - 1,
                                                 .origin = "o",
                                                 .metrics = "{}",
                                                 .weights = "1234",
                                                 .weights_bytes = 4 };
        append_ok(f->journal, record);
    }
    assert_int_equal(tl_journal_version_drop_weights(f->journal, f->loop, 2, NULL), TL_OK);
    append_ok(f->journal, prediction_of(f->loop, 1)); /* behind it in the queue */
    tl_record got;
    uint64_t below = UINT64_MAX, seen = 0;
    while (tl_journal_next_version(f->reader, f->loop, below, &f->arena, &got, NULL) == TL_OK) {
        below = got.as.version.number;
        assert_int_equal(below, 3 - seen);
        assert_null(got.as.version.weights);
        seen++;
    }
    assert_int_equal(seen, 3);
    assert_int_equal(tl_journal_find_version(f->reader, f->loop, 2, &f->arena, &got, NULL), TL_OK);
    assert_null(got.as.version.weights);
    assert_int_equal(tl_journal_find_version(f->reader, f->loop, 3, &f->arena, &got, NULL), TL_OK);
    assert_int_equal(got.as.version.weights_bytes, 4);
    assert_int_equal(tl_journal_find_version(f->reader, f->loop, 4, &f->arena, &got, NULL),
                     TL_ENOTFOUND);
}

static void events_of_a_kind_are_read_newest_first(void **state)
{
    fixture *f = *state;
    uint32_t other = loop_at(f->journal, "other");
    static const char *const kinds[] = { "refuse", "publish", "refuse", "refuse" };
    for (size_t i = 0; i < TL_COUNT_OF(kinds); i++) {
        char body[16];
        snprintf(body, sizeof body, "%zu", i);
        tl_record record = { .kind = TL_RECORD_EVENT, .loop = i == 3 ? other : f->loop };
        record.as.event = (tl_event_record){ .kind = kinds[i], .body = body };
        append_ok(f->journal, record);
    }
    tl_record got;
    assert_int_equal(
        tl_journal_next_event(f->reader, f->loop, "refuse", UINT64_MAX, &f->arena, &got, NULL),
        TL_OK);
    assert_string_equal(got.as.event.body, "2");
    assert_int_equal(
        tl_journal_next_event(f->reader, f->loop, "refuse", got.position, &f->arena, &got, NULL),
        TL_OK);
    assert_string_equal(got.as.event.body, "0");
    assert_int_equal(
        tl_journal_next_event(f->reader, f->loop, "refuse", got.position, &f->arena, &got, NULL),
        TL_ENOTFOUND);
}

static void the_newest_two_checkpoints_are_kept(void **state)
{
    fixture *f = *state;
    uint32_t other = loop_at(f->journal, "other");
    for (uint64_t i = 1; i <= 5; i++) {
        tl_record record = { .kind = TL_RECORD_CHECKPOINT, .loop = i == 1 ? other : f->loop };
        record.as.checkpoint =
            (tl_checkpoint_record){ .upto = i, .build = "b", .body = "x", .bytes = i == 5 ? 0 : 1 };
        append_ok(f->journal, record);
    }
    tl_record got;
    for (uint32_t skip = 0; skip < 2; skip++) {
        assert_int_equal(
            tl_journal_find_checkpoint(f->reader, f->loop, skip, &f->arena, &got, NULL), TL_OK);
        assert_int_equal(got.as.checkpoint.upto, 5 - skip);
        assert_non_null(got.as.checkpoint.body);
    }
    assert_int_equal(tl_journal_find_checkpoint(f->reader, f->loop, 2, &f->arena, &got, NULL),
                     TL_ENOTFOUND);
    assert_int_equal(tl_journal_find_checkpoint(f->reader, other, 0, &f->arena, &got, NULL), TL_OK);
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM checkpoint WHERE body IS NULL"), 2);
    assert_int_equal(sql_int(f->journal, "SELECT max(position)-count(*) FROM checkpoint"), 0);
}

static void loops_keep_number_and_description(void **state)
{
    fixture *f = *state;
    char *config = NULL;
    uint32_t loop = 0;
    assert_int_equal(tl_journal_loop_open(f->journal, "b", "{\"x\":1}", &loop, &config, NULL),
                     TL_OK);
    assert_string_equal(config, "{\"x\":1}");
    free(config);
    restart(f);
    uint32_t again = 0;
    assert_int_equal(tl_journal_loop_open(f->journal, "b", "{}", &again, &config, NULL), TL_OK);
    assert_int_equal(loop, again);
    assert_string_equal(config, "{\"x\":1}");
    free(config);
    const char *name;
    assert_int_equal(tl_journal_loop_info(f->reader, loop, &f->arena, &name, NULL, NULL), TL_OK);
    assert_string_equal(name, "b");
    assert_int_equal(tl_journal_loop_info(f->reader, loop + 1, &f->arena, &name, NULL, NULL),
                     TL_ENOTFOUND);
}

/* ---- Repeats and conflicts ---------------------------------------------------------------------
 */

static void a_repeated_request_gives_the_same_positions(void **state)
{
    fixture *f = *state;
    tl_record first[2] = { prediction_of(f->loop, 1), prediction_of(f->loop, 2) };
    waited w;
    waited_init(&w, first, 2, "req", 1);
    assert_int_equal(submit_wait(f->journal, &w), TL_OK);
    assert_false(w.entry.repeated);
    restart(f);
    tl_record second[2] = { prediction_of(f->loop, 3), prediction_of(f->loop, 4) };
    waited_init(&w, second, 2, "req", 1);
    assert_int_equal(submit_wait(f->journal, &w), TL_OK);
    assert_true(w.entry.repeated);
    assert_int_equal(w.entry.first_position, 1);
    assert_int_equal(w.entry.last_position, 2);
    waited_init(&w, second, 2, "req", 2);
    assert_int_equal(submit_wait(f->journal, &w), TL_ECONFLICT);
    assert_non_null(strstr(w.err.text, "request id"));
    second[0].loop = second[1].loop = loop_at(f->journal, "other"); /* ids are unique a loop */
    waited_init(&w, second, 2, "req", 2);
    assert_int_equal(submit_wait(f->journal, &w), TL_OK);
    assert_int_equal(w.entry.first_position, 3);
}

static void a_known_id_refuses_its_entry_only(void **state)
{
    fixture *f = *state;
    append_ok(f->journal, prediction_of(f->loop, 1));
    tl_record bad[2] = { prediction_of(f->loop, 2), prediction_of(f->loop, 1) };
    tl_record twice[2] = { prediction_of(f->loop, 5), prediction_of(f->loop, 5) };
    tl_record good = prediction_of(f->loop, 3);
    bad[0].as.prediction.brought_id = bad[1].as.prediction.brought_id = true;
    twice[0].as.prediction.brought_id = twice[1].as.prediction.brought_id = true;
    good.as.prediction.brought_id = true;
    waited w[3];
    waited_init(&w[0], bad, 2, NULL, 0);
    waited_init(&w[1], twice, 2, NULL, 0);
    waited_init(&w[2], &good, 1, NULL, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(tl_journal_submit(f->journal, &w[i].entry, NULL), TL_OK);
    assert_int_equal(waited_for(&w[0]), TL_ECONFLICT);
    char text[TL_ID_TEXT_BYTES];
    tl_id_format(id_of(1), text);
    assert_non_null(strstr(w[0].err.text, text));
    assert_int_equal(waited_for(&w[1]), TL_ECONFLICT);
    assert_int_equal(waited_for(&w[2]), TL_OK);
    assert_int_equal(good.position, 2); /* no gap */
    assert_int_equal(sql_int(f->journal, "SELECT count(*) FROM prediction"), 2);
}

/* An id that was not announced as brought, but is known: the group is written entry by entry. */
static void an_unannounced_duplicate_spares_the_others(void **state)
{
    fixture *f = *state;
    tl_record records[40];
    waited w[40];
    for (uint64_t i = 0; i < 40; i++) {
        records[i] = prediction_of(f->loop, i == 20 ? 3 : i);
        waited_init(&w[i], &records[i], 1, NULL, 0);
    }
    for (int i = 0; i < 40; i++)
        assert_int_equal(tl_journal_submit(f->journal, &w[i].entry, NULL), TL_OK);
    for (int i = 0; i < 40; i++)
        assert_int_equal(waited_for(&w[i]), i == 20 ? TL_ECONFLICT : TL_OK);
    assert_int_equal(sql_int(f->journal, "SELECT max(position)-count(*) FROM prediction"), 0);
}

/* ---- Opening -----------------------------------------------------------------------------------
 */

static void two_servers_do_not_share_a_journal(void **state)
{
    fixture *f = *state;
    tl_journal_options options = { .path = f->folder };
    tl_journal *second = NULL;
    tl_error err;
    assert_int_equal(tl_journal_open(&options, &second, &err), TL_EBUSY);
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(err.text, pid));
    options.read_only = true;
    assert_int_equal(tl_journal_open(&options, &second, &err), TL_OK);
    tl_record record = prediction_of(f->loop, 1);
    assert_int_equal(tl_journal_append(second, &record, 1, &err), TL_EPERM);
    uint32_t loop;
    assert_int_equal(tl_journal_loop_open(second, "boards", NULL, &loop, NULL, NULL), TL_OK);
    assert_int_equal(loop, f->loop);
    assert_int_equal(tl_journal_loop_open(second, "none", NULL, &loop, NULL, NULL), TL_ENOTFOUND);
    tl_journal_close(&second);
}

static void the_file_is_set_up_as_promised(void **state)
{
    fixture *f = *state;
    assert_int_equal(sql_int(f->journal, "PRAGMA auto_vacuum"), 2); /* incremental */
    assert_int_equal(sql_int(f->journal, "PRAGMA application_id"), JOURNAL_APPLICATION_ID);
    assert_int_equal(sql_int(f->journal, "SELECT journal_mode='wal' FROM pragma_journal_mode"), 1);
}

static void nothing_there_is_not_found(void **state)
{
    (void)state;
    tl_journal_options options = { .path = "/tmp/tl-journal-nowhere", .read_only = true };
    tl_journal *journal = NULL;
    assert_int_equal(tl_journal_open(&options, &journal, NULL), TL_ENOTFOUND);
    tl_journal_reader *reader = NULL;
    assert_int_equal(tl_journal_reader_open_path("/tmp/tl-journal-nowhere", &reader, NULL),
                     TL_ENOTFOUND);
}

static void an_entry_without_records_is_refused(void **state)
{
    fixture *f = *state;
    assert_int_equal(tl_journal_append(f->journal, NULL, 0, NULL), TL_EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(prediction_comes_back_whole),
        cmocka_unit_test(shadows_are_checked_when_read),
        TEST(every_kind_comes_back_in_order),
        TEST(long_walk_sees_each_record_once),
        TEST(the_same_image_is_kept_once),
        TEST(feedback_of_a_prediction_is_listed_in_order),
        TEST(a_flood_of_feedback_on_one_prediction_is_not_listed_whole),
        TEST(versions_are_walked_and_forget_their_weights),
        TEST(events_of_a_kind_are_read_newest_first),
        TEST(the_newest_two_checkpoints_are_kept),
        TEST(loops_keep_number_and_description),
        TEST(a_repeated_request_gives_the_same_positions),
        TEST(a_known_id_refuses_its_entry_only),
        TEST(an_unannounced_duplicate_spares_the_others),
        TEST(two_servers_do_not_share_a_journal),
        TEST(an_entry_without_records_is_refused),
        TEST(the_file_is_set_up_as_promised),
        cmocka_unit_test(nothing_there_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Submitters, readers, a backup and a scraper of facts at once. Meant for ThreadSanitizer as well.
 */
#include "journal/test/test_support.h"

enum { SUBMITTERS = 4, READERS = 2, ENTRIES = 300, IN_FLIGHT = 16 };

typedef struct shared {
    tl_journal *journal;
    char *folder;
    uint32_t loop;
    _Atomic uint64_t acknowledged; /* highest position told */
    _Atomic int failures;
    _Atomic bool stop;
} shared;

typedef struct worker {
    shared *s;
    uint64_t number;
    pthread_t thread;
} worker;

static void submit_burst(worker *w, uint64_t from, uint64_t count)
{
    tl_record records[IN_FLIGHT];
    waited waits[IN_FLIGHT];
    bool submitted[IN_FLIGHT];
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number = w->number * 1000000 + from + i;
        records[i] = i % 4 == 3 ? feedback_of(w->s->loop, number - 1, 0, 1, "ann")
                                : prediction_of(w->s->loop, number);
        waited_init(&waits[i], &records[i], 1, NULL, 0);
        submitted[i] = tl_journal_submit(w->s->journal, &waits[i].entry, NULL) == TL_OK;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!submitted[i] || waited_for(&waits[i]) != TL_OK) {
            atomic_fetch_add(&w->s->failures, 1);
            continue;
        }
        uint64_t seen = atomic_load(&w->s->acknowledged), position = records[i].position;
        while (seen < position &&
               !atomic_compare_exchange_weak(&w->s->acknowledged, &seen, position)) {
        }
    }
}

static void *submitter(void *context)
{
    worker *w = context;
    for (uint64_t i = 0; i < ENTRIES; i += IN_FLIGHT)
        submit_burst(w, i, ENTRIES - i < IN_FLIGHT ? ENTRIES - i : IN_FLIGHT);
    return NULL;
}

/* Follows the journal; what was acknowledged before it looked is there. */
static void *follower(void *context)
{
    worker *w = context;
    tl_journal_reader *reader;
    tl_arena arena;
    tl_record record;
    uint64_t last = 0;
    tl_arena_init(&arena, 1 << 24);
    if (tl_journal_reader_open(w->s->journal, &reader, NULL) != TL_OK) {
        atomic_fetch_add(&w->s->failures, 1);
        return NULL;
    }
    while (!atomic_load(&w->s->stop)) {
        uint64_t told = atomic_load(&w->s->acknowledged);
        while (tl_journal_next(reader, UINT32_MAX, last, &arena, &record, NULL) == TL_OK) {
            if (record.position != last + 1) atomic_fetch_add(&w->s->failures, 1);
            last = record.position;
            tl_arena_reset(&arena);
        }
        if (last < told) atomic_fetch_add(&w->s->failures, 1);
        sched_yield();
    }
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    return NULL;
}

static void *caretaker(void *context)
{
    worker *w = context;
    tl_journal_state facts;
    char path[256];
    snprintf(path, sizeof path, "%s/copy.db", w->s->folder);
    if (tl_journal_backup(w->s->journal, path, NULL) != TL_OK) atomic_fetch_add(&w->s->failures, 1);
    while (!atomic_load(&w->s->stop)) {
        tl_journal_describe(w->s->journal, &facts);
        usleep(1000);
    }
    return NULL;
}

static void everything_at_once(void **state)
{
    (void)state;
    shared s = { .folder = folder_new() };
    tl_journal_options options = { .path = s.folder,
                                   .wal_soft_bytes = 32 << 10,
                                   .retention_bytes = 400000 };
    assert_int_equal(tl_journal_open(&options, &s.journal, NULL), TL_OK);
    s.loop = loop_at(s.journal, "boards");
    worker workers[SUBMITTERS + READERS + 1];
    for (uint64_t i = 0; i < TL_COUNT_OF(workers); i++) {
        workers[i] = (worker){ .s = &s, .number = i + 1 };
        void *(*job)(void *) = i < SUBMITTERS ? submitter : caretaker;
        if (i >= SUBMITTERS && i < SUBMITTERS + READERS) job = follower;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, job, &workers[i]), 0);
    }
    for (int i = 0; i < SUBMITTERS; i++) pthread_join(workers[i].thread, NULL);
    atomic_store(&s.stop, true);
    for (int i = SUBMITTERS; i < SUBMITTERS + READERS + 1; i++)
        pthread_join(workers[i].thread, NULL);
    assert_int_equal(atomic_load(&s.failures), 0);
    assert_int_equal(atomic_load(&s.acknowledged), SUBMITTERS * ENTRIES);
    tl_journal_close(&s.journal);
    int worst;
    assert_int_equal(tl_journal_doctor(s.folder, NULL, NULL, &worst, NULL), TL_OK);
    assert_true(worst <= 1);
    folder_remove(s.folder);
}

/* Closing answers everything that was accepted. */
static void closing_answers_what_waits(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    char *folder = folder_new();
    tl_journal *journal = journal_at(folder);
    uint32_t loop = loop_at(journal, "boards");
    static tl_record records[COUNT];
    static waited waits[COUNT];
    for (uint64_t i = 0; i < COUNT; i++) {
        records[i] = prediction_of(loop, i);
        waited_init(&waits[i], &records[i], 1, NULL, 0);
        assert_int_equal(tl_journal_submit(journal, &waits[i].entry, NULL), TL_OK);
    }
    tl_journal_close(&journal);
    for (int i = 0; i < COUNT; i++) {
        assert_true(waits[i].is_finished);
        assert_int_equal(waits[i].status, TL_OK);
    }
    folder_remove(folder);
}

static void a_full_queue_is_an_answer(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    char *folder = folder_new();
    tl_journal *journal = NULL;
    tl_journal_options options = { .path = folder, .queue_max = 2 };
    assert_int_equal(tl_journal_open(&options, &journal, NULL), TL_OK);
    uint32_t loop = loop_at(journal, "boards");
    static tl_record records[COUNT];
    static waited waits[COUNT];
    int refused = 0;
    tl_error err;
    for (uint64_t i = 0; i < COUNT; i++) {
        records[i] = prediction_of(loop, i);
        waited_init(&waits[i], &records[i], 1, NULL, 0);
        tl_status status = tl_journal_submit(journal, &waits[i].entry, &err);
        if (status == TL_EFULL) refused++;
    }
    assert_true(refused > 0);
    tl_journal_close(&journal);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_at_once),
        cmocka_unit_test(closing_answers_what_waits),
        cmocka_unit_test(a_full_queue_is_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

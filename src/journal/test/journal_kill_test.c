/* SIGKILL at random moments: what the killed process had acknowledged is there. TL_KILLS: how many.
 */
#include "journal/test/test_support.h"

#include <signal.h>
#include <sys/wait.h>

enum { KILLS_DEFAULT = 12, BURST = 8 };

typedef struct told {
    uint64_t number, position;
} told;

/* The child: appends, and tells each acknowledgement through the pipe, until it is killed. */
static void serve(const char *folder, uint64_t from, int pipe_fd)
{
    tl_journal_options options = { .path = folder, .wal_soft_bytes = 64 << 10 };
    tl_journal *journal = NULL;
    uint32_t loop;
    if (tl_journal_open(&options, &journal, NULL) != TL_OK) _exit(2);
    if (tl_journal_loop_open(journal, "boards", "{}", &loop, NULL, NULL) != TL_OK) _exit(3);
    for (;;) {
        tl_record records[BURST];
        waited waits[BURST];
        for (uint64_t i = 0; i < BURST; i++) {
            records[i] = prediction_of(loop, from + i);
            waited_init(&waits[i], &records[i], 1, NULL, 0);
            if (tl_journal_submit(journal, &waits[i].entry, NULL) != TL_OK) _exit(4);
        }
        for (uint64_t i = 0; i < BURST; i++) {
            if (waited_for(&waits[i]) != TL_OK) _exit(5);
            told line = { from + i, records[i].position };
            if (write(pipe_fd, &line, sizeof line) != sizeof line) _exit(6);
        }
        from += BURST;
    }
}

static void check(const char *folder, const told *lines, size_t count)
{
    int worst = -1;
    assert_int_equal(tl_journal_doctor(folder, NULL, NULL, &worst, NULL), TL_OK);
    assert_true(worst <= 1);
    tl_journal_reader *reader;
    tl_arena arena;
    tl_arena_init(&arena, 1 << 20);
    assert_int_equal(tl_journal_reader_open_path(folder, &reader, NULL), TL_OK);
    for (size_t i = 0; i < count; i++) {
        tl_record got;
        tl_arena_reset(&arena);
        assert_int_equal(
            tl_journal_read_prediction(reader, 1, lines[i].position, false, &arena, &got, NULL),
            TL_OK);
        assert_int_equal(tl_id_compare(got.as.prediction.id, id_of(lines[i].number)), 0);
    }
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
}

/* Lines told by one child, until it is dead; appended to *lines. */
static void run_and_kill(const char *folder, unsigned after_us, told *lines, size_t *count,
                         size_t max)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        serve(folder, 1 + (uint64_t)*count * 2 + 1000000 * (uint64_t)after_us, ends[1]);
    }
    close(ends[1]);
    usleep(after_us);
    kill(pid, SIGKILL);
    while (*count < max && read(ends[0], &lines[*count], sizeof *lines) == sizeof *lines) ++*count;
    close(ends[0]);
    int state;
    assert_int_equal(waitpid(pid, &state, 0), pid);
    assert_true(WIFSIGNALED(state)); /* killed, not given up */
}

static void acknowledged_records_survive_kills(void **state)
{
    (void)state;
    enum { LINES_MAX = 1 << 20 };
    const char *text = getenv("TL_KILLS");
    int kills = text != NULL ? atoi(text) : KILLS_DEFAULT;
    char *folder = folder_new();
    told *lines = calloc(LINES_MAX, sizeof *lines);
    size_t count = 0;
    tl_rng rng;
    tl_rng_seed(&rng, (uint64_t)kills, 0x9);
    tl_journal *journal = journal_at(folder);
    tl_journal_close(&journal);
    for (int i = 0; i < kills; i++) {
        unsigned after_us = (unsigned)(20000 + tl_rng_below(&rng, 150000)) + (unsigned)i;
        run_and_kill(folder, after_us, lines, &count, LINES_MAX);
        check(folder, lines, count);
    }
    assert_true(count > 0);
    free(lines);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(acknowledged_records_survive_kills) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

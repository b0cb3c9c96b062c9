/* Teams of threads: every member works once, sees what was written before a barrier, and sleeps and
 * wakes. Run it under the thread sanitiser too. */
#include "tensor/team.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { MEMBERS = 4, ROUNDS = 300 };

typedef struct job {
    tl_team *team;
    uint32_t calls[MEMBERS];
    uint32_t value[MEMBERS]; /* written by its member, read by all after a barrier */
    _Atomic uint32_t wrong;
} job;

static void count_call(void *arg, uint32_t member)
{
    job *j = arg;
    j->calls[member]++;
}

static void test_every_member_works_once_a_run(void **state)
{
    (void)state;
    for (uint32_t members = 1; members <= MEMBERS; members++) {
        job j = { 0 };
        assert_int_equal(tl_team_create(members, &j.team, NULL), TL_OK);
        assert_int_equal(tl_team_members(j.team), members);
        for (uint32_t round = 1; round <= ROUNDS; round++) {
            tl_team_run(j.team, count_call, &j);
            for (uint32_t m = 0; m < MEMBERS; m++)
                assert_int_equal(j.calls[m], m < members ? round : 0);
        }
        tl_team_destroy(&j.team);
        assert_null(j.team);
    }
}

/* Each member adds what its neighbours wrote before the barrier. */
static void exchange(void *arg, uint32_t member)
{
    job *j = arg;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        j->value[member] = round * (member + 1);
        tl_team_barrier(j->team);
        for (uint32_t m = 0; m < MEMBERS; m++)
            if (j->value[m] != round * (m + 1)) atomic_fetch_add(&j->wrong, 1);
        tl_team_barrier(j->team);
    }
}

static void test_a_barrier_waits_for_all(void **state)
{
    (void)state;
    job j = { 0 };
    assert_int_equal(tl_team_create(MEMBERS, &j.team, NULL), TL_OK);
    tl_team_run(j.team, exchange, &j);
    assert_int_equal(j.wrong, 0);
    tl_team_destroy(&j.team);
}

/* One member comes late enough for the others to fall asleep. */
static void come_late(void *arg, uint32_t member)
{
    job *j = arg;
    const struct timespec late = { .tv_nsec = 3000000 };
    if (member == j->calls[0] % MEMBERS) nanosleep(&late, NULL);
    tl_team_barrier(j->team);
    j->value[member]++;
}

static void test_sleepers_wake(void **state)
{
    (void)state;
    job j = { 0 };
    const struct timespec pause = { .tv_nsec = 3000000 };
    assert_int_equal(tl_team_create(MEMBERS, &j.team, NULL), TL_OK);
    for (j.calls[0] = 0; j.calls[0] < 2 * MEMBERS; j.calls[0]++) {
        tl_team_run(j.team, come_late, &j);
        nanosleep(&pause, NULL); /* between runs they sleep too */
    }
    for (uint32_t m = 0; m < MEMBERS; m++) assert_int_equal(j.value[m], 2 * MEMBERS);
    tl_team_destroy(&j.team);
}

typedef struct sums {
    tl_exchange *exchange;
    _Atomic uint32_t wrong;
} sums;

static void add_up(void *arg, uint32_t member)
{
    sums *s = arg;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        double values[5];
        const size_t count = 1 + round % 5;
        for (size_t i = 0; i < count; i++) values[i] = (double)(round * (member + 1) + i);
        tl_exchange_sum(s->exchange, member, values, count);
        for (size_t i = 0; i < count; i++) /* 1 + 2 + 3 + 4 = 10 */
            if (values[i] != (double)(round * 10 + MEMBERS * i)) atomic_fetch_add(&s->wrong, 1);
    }
}

static void test_all_get_the_sums(void **state)
{
    (void)state;
    tl_team *team = NULL;
    sums s = { 0 };
    assert_int_equal(tl_team_create(MEMBERS, &team, NULL), TL_OK);
    assert_int_equal(tl_exchange_create(team, 5, &s.exchange, NULL), TL_OK);
    tl_team_run(team, add_up, &s);
    tl_team_run(team, add_up, &s);
    assert_int_equal(s.wrong, 0);
    tl_exchange_destroy(&s.exchange);
    tl_team_destroy(&team);
}

static void test_shares_cover_everything_once(void **state)
{
    (void)state;
    for (size_t count = 0; count < 70; count++) {
        for (size_t grain = 1; grain < 20; grain += 6) {
            for (uint32_t members = 1; members < 9; members++) {
                size_t at = 0;
                for (uint32_t m = 0; m < members; m++) {
                    tl_range range = tl_team_range(count, grain, m, members);
                    assert_int_equal(range.begin, at);
                    assert_true(range.end >= range.begin);
                    assert_true(range.begin % grain == 0 || range.begin == count);
                    at = range.end;
                }
                assert_int_equal(at, count);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_member_works_once_a_run),
        cmocka_unit_test(test_a_barrier_waits_for_all),
        cmocka_unit_test(test_sleepers_wake),
        cmocka_unit_test(test_all_get_the_sums),
        cmocka_unit_test(test_shares_cover_everything_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

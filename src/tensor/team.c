#include "tensor/team.h"

#include "tensor/device.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPINS = 4000, /* some 50 to 200 microseconds: longer than most layers wait for each other */
    LINE = 64     /* bytes; what members write often does not share one */
};

/* A number that grows, and threads that wait for it to change. */
typedef struct gate {
    _Alignas(LINE) _Atomic uint32_t count;
    _Alignas(LINE) _Atomic uint32_t sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
} gate;

struct tl_team {
    gate start;  /* opens for each run */
    gate passed; /* opens when all members have come to a barrier */
    _Alignas(LINE) _Atomic uint32_t arrived;
    uint32_t members, threads; /* threads: that were started */
    int spins;
    bool closing;
    void (*work)(void *arg, uint32_t member);
    void *arg;
    struct member {
        tl_team *team;
        uint32_t number;
        pthread_t thread;
    } member[];
};

/* ---- Gates ----------------------------------------------------------------------------------- */

static void gate_init(gate *g)
{
    atomic_init(&g->count, 0);
    atomic_init(&g->sleepers, 0);
    pthread_mutex_init(&g->mutex, NULL);
    pthread_cond_init(&g->changed, NULL);
}

static void gate_destroy(gate *g)
{
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->mutex);
}

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb");
#endif
}

/* The count and the sleepers are each written, then the other is read, in one order that all agree
 * on: so either who opens sees the sleeper, or the sleeper sees the new count. */
static void gate_open(gate *g)
{
    atomic_fetch_add(&g->count, 1);
    if (atomic_load(&g->sleepers) == 0) return;
    pthread_mutex_lock(&g->mutex);
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->mutex);
}

static void gate_wait(gate *g, uint32_t seen, int spins)
{
    for (int i = 0; i < spins; i++) {
        if (atomic_load_explicit(&g->count, memory_order_acquire) != seen) return;
        pause_briefly();
    }
    pthread_mutex_lock(&g->mutex);
    atomic_fetch_add(&g->sleepers, 1);
    while (atomic_load(&g->count) == seen) pthread_cond_wait(&g->changed, &g->mutex);
    atomic_fetch_sub(&g->sleepers, 1);
    pthread_mutex_unlock(&g->mutex);
}

/* ---- Members --------------------------------------------------------------------------------- */

void tl_team_barrier(tl_team *team)
{
    if (team->members == 1) return;
    const uint32_t seen = atomic_load_explicit(&team->passed.count, memory_order_relaxed);
    if (atomic_fetch_add(&team->arrived, 1) + 1 < team->members) {
        gate_wait(&team->passed, seen, team->spins);
        return;
    }
    atomic_store_explicit(&team->arrived, 0,
                          memory_order_relaxed); /* nobody comes before it opens */
    gate_open(&team->passed);
}

static void *member_main(void *arg)
{
    const struct member *self = arg;
    tl_team *team = self->team;
    tl_device_set_threads(1);
    for (uint32_t seen = 0;; seen++) {
        gate_wait(&team->start, seen, team->spins);
        if (team->closing) return NULL;
        team->work(team->arg, self->number);
        tl_team_barrier(team);
    }
}

void tl_team_run(tl_team *team, void (*work)(void *arg, uint32_t member), void *arg)
{
    if (team->members > 1) {
        team->work = work;
        team->arg = arg;
        gate_open(&team->start);
    }
    work(arg, 0);
    tl_team_barrier(team);
}

/* ---- Create ---------------------------------------------------------------------------------- */

/* Processors that this process may use: with fewer than members, spinning would only keep the
 * others from working. */
static uint32_t processors(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return (uint32_t)CPU_COUNT(&set);
}

static bool start_threads(tl_team *team)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    for (uint32_t m = 1; m < team->members && started; m++) {
        struct member *member = &team->member[m];
        member->team = team;
        member->number = m;
        started = pthread_create(&member->thread, NULL, member_main, member) == 0;
        if (started) team->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

tl_status tl_team_create(uint32_t members, tl_team **out, tl_error *err)
{
    TL_ASSERT(members >= 1);
    TL_ASSERT(members <= TL_TEAM_MAX);
    size_t bytes = sizeof(tl_team) + members * sizeof(struct member);
    tl_team *team = aligned_alloc(LINE, (bytes + LINE - 1) / LINE * LINE);
    if (team == NULL) return tl_fail(err, TL_ENOMEM, "team of %u threads", members);
    gate_init(&team->start);
    gate_init(&team->passed);
    atomic_init(&team->arrived, 0);
    team->members = members;
    team->threads = 0;
    team->spins = processors() >= members ? SPINS : 0;
    team->closing = false;
    if (!start_threads(team)) {
        tl_team_destroy(&team);
        return tl_fail(err, TL_ENOMEM, "cannot start %u threads", members - 1);
    }
    *out = team;
    return TL_OK;
}

void tl_team_destroy(tl_team **team)
{
    tl_team *old = *team;
    *team = NULL;
    if (old == NULL) return;
    old->closing = true;
    gate_open(&old->start);
    for (uint32_t m = 1; m <= old->threads; m++) pthread_join(old->member[m].thread, NULL);
    gate_destroy(&old->start);
    gate_destroy(&old->passed);
    free(old);
}

uint32_t tl_team_members(const tl_team *team)
{
    return team->members;
}

tl_range tl_team_range(size_t count, size_t grain, uint32_t member, uint32_t members)
{
    TL_ASSERT(grain >= 1);
    TL_ASSERT(member < members);
    const size_t grains = (count + grain - 1) / grain;
    const size_t begin = grains * member / members * grain;
    const size_t end = grains * (member + 1) / members * grain;
    return (tl_range){ begin < count ? begin : count, end < count ? end : count };
}

/* ---- Exchange -------------------------------------------------------------------------------- */

/* Two boards in turn: who writes the one again has passed the barrier of the other, and so has
 * everybody who read the one. */
struct tl_exchange {
    tl_team *team;
    size_t stride; /* doubles of one member on one board */
    double *boards;
    struct turn {
        _Alignas(LINE) uint32_t count;
    } turns[];
};

tl_status tl_exchange_create(tl_team *team, size_t doubles_max, tl_exchange **out, tl_error *err)
{
    const size_t line = LINE / sizeof(double);
    const size_t bytes = sizeof(tl_exchange) + team->members * sizeof(struct turn);
    tl_exchange *exchange = aligned_alloc(LINE, (bytes + LINE - 1) / LINE * LINE);
    if (exchange == NULL) return tl_fail(err, TL_ENOMEM, "exchange of %u threads", team->members);
    memset(exchange, 0, bytes);
    exchange->team = team;
    exchange->stride = (doubles_max + line) / line * line;
    exchange->boards =
        aligned_alloc(LINE, 2 * team->members * exchange->stride * sizeof *exchange->boards);
    if (exchange->boards == NULL) {
        tl_exchange_destroy(&exchange);
        return tl_fail(err, TL_ENOMEM, "exchange of %zu numbers", doubles_max);
    }
    *out = exchange;
    return TL_OK;
}

void tl_exchange_destroy(tl_exchange **exchange)
{
    if (*exchange == NULL) return;
    free((*exchange)->boards);
    free(*exchange);
    *exchange = NULL;
}

void tl_exchange_sum(tl_exchange *exchange, uint32_t member, double *values, size_t count)
{
    TL_ASSERT(count <= exchange->stride);
    const uint32_t members = exchange->team->members;
    const size_t turn = exchange->turns[member].count++ % 2;
    const double *board = exchange->boards + turn * members * exchange->stride;
    memcpy(exchange->boards + (turn * members + member) * exchange->stride, values,
           count * sizeof *values);
    tl_team_barrier(exchange->team);
    for (size_t i = 0; i < count; i++) {
        double sum = board[i];
        for (uint32_t m = 1; m < members; m++) sum += board[m * exchange->stride + i];
        values[i] = sum;
    }
}

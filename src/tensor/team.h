/* team.h - a few threads that work on one thing together. Layer: tensor (above base).
 *
 * The thread that runs a team is member 0; members - 1 threads of the team's own are the others.
 * Who does what depends on the member's number alone, never on who comes first, so that sums over
 * members in their order repeat bit for bit. Waiting spins for some ten microseconds, then sleeps.
 * A team is used by one thread at a time. */
#ifndef TL_TENSOR_TEAM_H
#define TL_TENSOR_TEAM_H

#include "base/status.h"

typedef struct tl_team tl_team;

enum { TL_TEAM_MAX = 256 };

/* 1..TL_TEAM_MAX members. The threads take no signals, inherit the caller's priority and call
 * oneDNN with one thread each. TL_ENOMEM: a thread cannot be started. */
tl_status tl_team_create(uint32_t members, tl_team **out, tl_error *err);
void tl_team_destroy(tl_team **team); /* NULL-safe; not while it runs */
uint32_t tl_team_members(const tl_team *team);

/* Call work(arg, member) once in each member, the caller being member 0, and wait for all. What
 * the caller wrote before is seen by all, and what they wrote by the caller afterwards. */
void tl_team_run(tl_team *team, void (*work)(void *arg, uint32_t member), void *arg);
/* Within work: wait until every member has come here. Each member must call it equally often. */
void tl_team_barrier(tl_team *team);

/* A part of 0..count-1: begin up to, not including, end. */
typedef struct tl_range {
    size_t begin, end;
} tl_range;

/* The share of `member`: about count / members, in whole multiples of `grain` but for the end. */
tl_range tl_team_range(size_t count, size_t grain, uint32_t member, uint32_t members);

/* Sums over the members of a team while it works: each brings its numbers, all get the same sums,
 * added up in the members' order. */
typedef struct tl_exchange tl_exchange;

/* For up to `doubles_max` numbers at a time. `team` must outlive it. TL_ENOMEM. */
tl_status tl_exchange_create(tl_team *team, size_t doubles_max, tl_exchange **out, tl_error *err);
void tl_exchange_destroy(tl_exchange **exchange); /* NULL-safe */
/* Within work, by every member equally often and with the same count: values [count] become their
 * sums. One barrier. */
void tl_exchange_sum(tl_exchange *exchange, uint32_t member, double *values, size_t count);

#endif

/* id.h - time-ordered identifiers. Layer: base. Text form: see tightloop.h. */
#ifndef TL_BASE_ID_H
#define TL_BASE_ID_H

#include "base/env.h"

/* Makes UUIDv7 (RFC 9562, 5.7) whose order is the order of making, even when the clock jumps back.
 * One owner thread. */
typedef struct tl_id_maker {
    const tl_env *env;
    uint64_t last_ms;
    uint32_t counter;  /* 12 bits within a millisecond (RFC 9562, 6.2, method 1) */
    uint8_t pool[512]; /* randomness drawn ahead: one system call for many ids */
    size_t pool_left;
} tl_id_maker;

void tl_id_maker_init(tl_id_maker *maker, const tl_env *env);
tl_id tl_id_make(tl_id_maker *maker);
/* < 0, 0, > 0 as memcmp. */
int tl_id_compare(tl_id a, tl_id b);

#endif

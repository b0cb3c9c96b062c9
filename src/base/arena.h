/* arena.h - memory that is freed all at once. Layer: base. One owner thread. */
#ifndef TL_BASE_ARENA_H
#define TL_BASE_ARENA_H

#include "base/status.h"

typedef struct tl_arena_block tl_arena_block;

typedef struct tl_arena {
    tl_arena_block *blocks;
    size_t used_bytes, bytes_max;
} tl_arena;

/* `bytes_max` bounds what the arena hands out between resets. */
void tl_arena_init(tl_arena *arena, size_t bytes_max);
/* 16-byte aligned, not cleared; NULL when out of memory or over the bound. */
void *tl_arena_alloc(tl_arena *arena, size_t bytes);
/* A NUL-terminated copy; NULL when out of memory. */
char *tl_arena_strndup(tl_arena *arena, const char *data, size_t bytes);
/* Forget all allocations; keeps the newest (largest) block for the next round. */
void tl_arena_reset(tl_arena *arena);
void tl_arena_destroy(tl_arena *arena);

#endif

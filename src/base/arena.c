#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES_MIN = 4096, ALIGNMENT = 16 };

struct tl_arena_block {
    tl_arena_block *older;
    size_t bytes, used;
    _Alignas(ALIGNMENT) unsigned char data[];
};

void tl_arena_init(tl_arena *arena, size_t bytes_max)
{
    *arena = (tl_arena){ .bytes_max = bytes_max };
}

static bool block_add(tl_arena *arena, size_t bytes)
{
    size_t size = arena->blocks == NULL ? BLOCK_BYTES_MIN : arena->blocks->bytes * 2;
    if (size < bytes) size = bytes;
    tl_arena_block *block = malloc(sizeof *block + size);
    if (block == NULL) return false;
    block->older = arena->blocks;
    block->bytes = size;
    block->used = 0;
    arena->blocks = block;
    return true;
}

void *tl_arena_alloc(tl_arena *arena, size_t bytes)
{
    if (bytes > arena->bytes_max - arena->used_bytes) return NULL;
    size_t rounded = (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    tl_arena_block *block = arena->blocks;
    if (block == NULL || rounded > block->bytes - block->used) {
        if (!block_add(arena, rounded)) return NULL;
        block = arena->blocks;
    }
    void *out = block->data + block->used;
    block->used += rounded;
    arena->used_bytes += bytes;
    return out;
}

char *tl_arena_strndup(tl_arena *arena, const char *data, size_t bytes)
{
    char *copy = tl_arena_alloc(arena, bytes + 1);
    if (copy == NULL) return NULL;
    memcpy(copy, data, bytes);
    copy[bytes] = '\0';
    return copy;
}

static void blocks_free(tl_arena_block *block)
{
    while (block != NULL) {
        tl_arena_block *older = block->older;
        free(block);
        block = older;
    }
}

void tl_arena_reset(tl_arena *arena)
{
    arena->used_bytes = 0;
    if (arena->blocks == NULL) return;
    blocks_free(arena->blocks->older);
    arena->blocks->older = NULL;
    arena->blocks->used = 0;
}

void tl_arena_destroy(tl_arena *arena)
{
    blocks_free(arena->blocks);
    *arena = (tl_arena){ .bytes_max = arena->bytes_max };
}

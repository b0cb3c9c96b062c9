/* patch.h - for fuzz targets of saved states: edits of a sound state, with the hashes of its sections
 * made right again, so that what is behind the hashes is tried. Layer: base, tests only. */
#ifndef TL_BASE_TEST_PATCH_H
#define TL_BASE_TEST_PATCH_H

#include "base/blob.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TL_PATCH_SECTION_MAX = 512, TL_PATCH_HEADER_BYTES = 16, TL_PATCH_EDIT_BYTES = 5 };

/* Sections of a state in the order of their beginnings: an inner one comes after its outer one. */
typedef struct tl_patch_sections {
    size_t begin[TL_PATCH_SECTION_MAX], hashed[TL_PATCH_SECTION_MAX], count;
} tl_patch_sections;

static inline bool tl_patch_is_section(const uint8_t *at, size_t left, size_t *hashed)
{
    uint64_t bytes, hash;
    if (left < TL_PATCH_HEADER_BYTES + 8) return false;
    for (int i = 0; i < 4; i++)
        if (at[i] < 'A' || at[i] > 'Z') return false;
    memcpy(&bytes, at + 8, 8);
    if (bytes > left - TL_PATCH_HEADER_BYTES - 8) return false;
    *hashed = TL_PATCH_HEADER_BYTES + (size_t)bytes;
    memcpy(&hash, at + *hashed, 8);
    return hash == tl_hash64(at, *hashed, 0);
}

static inline void tl_patch_find(const tl_blob *blob, tl_patch_sections *out)
{
    out->count = 0;
    for (size_t at = 0; at < blob->bytes && out->count < TL_PATCH_SECTION_MAX; at++)
        if (tl_patch_is_section(blob->data + at, blob->bytes - at, &out->hashed[out->count]))
            out->begin[out->count++] = at;
}

/* An edit: what to do, where (three bytes, modulo the size), with which value. */
static inline void tl_patch_edit(uint8_t *data, size_t bytes, const uint8_t *edit)
{
    static const double NUMBERS[] = { 0,      -0.0,   1,        -1,        0.5, 1e-9, 1e9,  1e300,
                                      -1e300, 5e-324, INFINITY, -INFINITY, NAN, 20,   0.05, 709 };
    static const uint64_t WORDS[] = { 0,         1,          2,        16,
                                      17,        64,         65536,    UINT32_MAX,
                                      INT64_MAX, UINT64_MAX, 1u << 31, 1ull << 62,
                                      255,       4096,       512,      5 };
    size_t at = (size_t)(edit[1] | edit[2] << 8 | edit[3] << 16) % bytes;
    size_t room = bytes - at < 8 ? bytes - at : 8;
    switch (edit[0] % 5) {
    case 0: data[at] = edit[4]; break;
    case 1: data[at] ^= (uint8_t)(1u << edit[4] % 8); break;
    case 2: memcpy(data + at, &NUMBERS[edit[4] % TL_COUNT_OF(NUMBERS)], room); break;
    case 3: memcpy(data + at, &WORDS[edit[4] % TL_COUNT_OF(WORDS)], room); break;
    case 4: memcpy(data + at, &WORDS[edit[4] % TL_COUNT_OF(WORDS)], room < 4 ? room : 4); break;
    }
}

/* `base` with the edits of `script` and sound hashes; malloc'ed, NULL: out of memory. */
static inline uint8_t *tl_patch_apply(const tl_blob *base, const tl_patch_sections *sections,
                                      const uint8_t *script, size_t bytes)
{
    uint8_t *data = malloc(base->bytes);
    if (data == NULL) return NULL;
    memcpy(data, base->data, base->bytes);
    for (size_t i = 0; i + TL_PATCH_EDIT_BYTES <= bytes; i += TL_PATCH_EDIT_BYTES)
        tl_patch_edit(data, base->bytes, script + i);
    for (size_t i = sections->count; i-- > 0;) {
        uint8_t *at = data + sections->begin[i];
        uint64_t hash = tl_hash64(at, sections->hashed[i], 0);
        memcpy(at + sections->hashed[i], &hash, 8);
    }
    return data;
}

#endif

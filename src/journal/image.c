/* Content hashes of images. */
#include "journal/internal.h"

#include <sodium.h>
#include <string.h>

/* Numbers are hashed with a fixed byte order, so that a journal means the same everywhere. */
static void put_u32(unsigned char *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) out[i] = (unsigned char)(value >> (8 * i));
}

void tl_stored_image_hash(tl_stored_image *image)
{
    unsigned char shape[13];
    shape[0] = image->encoding;
    put_u32(shape + 1, image->height);
    put_u32(shape + 5, image->width);
    put_u32(shape + 9, image->channels);
    crypto_generichash_state state;
    _Static_assert(sizeof image->hash == 32, "BLAKE2b-256");
    crypto_generichash_init(&state, NULL, 0, sizeof image->hash);
    crypto_generichash_update(&state, shape, sizeof shape);
    crypto_generichash_update(&state, image->data, image->bytes);
    crypto_generichash_final(&state, image->hash, sizeof image->hash);
}

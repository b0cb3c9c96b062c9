/* tokens_file.h - what the file of tokens holds. Layer: server, private to it. */
#ifndef TL_SERVER_TOKENS_FILE_H
#define TL_SERVER_TOKENS_FILE_H

#include "server/tokens.h"

enum { TL_TOKEN_HASH_BYTES = 32 };

typedef struct tl_token {
    tl_token_info info;
    uint8_t hash[TL_TOKEN_HASH_BYTES];
} tl_token;

/* All tokens of the file; *out is malloc'ed, the caller's. Errors as of tl_tokens_list. */
tl_status tl_tokens_read(const char *path, tl_token **out, size_t *count_out, tl_error *err);
/* BLAKE2b-256 of a token's text. */
void tl_token_hash(const char *token, size_t bytes, uint8_t hash[TL_TOKEN_HASH_BYTES]);

#endif

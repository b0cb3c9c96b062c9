/* tokens.h - bearer tokens: who may predict, give feedback, administer. Layer: server.
 *
 * A token is 256 random bits, shown once; the file keeps its BLAKE2b-256 hash. One line a token:
 *
 *     NAME RIGHTS HASH          # NAME: [A-Za-z0-9._-], 1..63; RIGHTS: predict,feedback,admin
 *
 * Empty lines and lines that start with '#' are ignored. The functions on files may be called from
 * any thread and any process: a change is atomic and excludes other changes. */
#ifndef TL_SERVER_TOKENS_H
#define TL_SERVER_TOKENS_H

#include "base/status.h"

enum {
    TL_RIGHT_PREDICT = 1,
    TL_RIGHT_FEEDBACK = 2,
    TL_RIGHT_ADMIN = 4,
    TL_RIGHT_ALL = 7,
    TL_TOKEN_TEXT_BYTES = 47, /* "tl_", 43 characters of base64url, NUL */
    TL_TOKEN_COUNT_MAX = 1024
};

typedef struct tl_token_info {
    char name[TL_TEXT_BYTES_MAX];
    unsigned rights;
} tl_token_info;

/* "predict,feedback" to bits; TL_EINVAL lists the known ones. */
tl_status tl_rights_parse(const char *text, unsigned *out, tl_error *err);
/* The reverse; `text` has room for 32 characters. */
void tl_rights_format(unsigned rights, char text[32]);

/* Make a token, append its hash to the file (made with mode 0600 when missing), and give the
 * token's text, which cannot be had again. Errors: TL_EINVAL (name, rights), TL_ECONFLICT (name is
 * there already), TL_ELIMIT, TL_EIO. */
tl_status tl_tokens_create(const char *path, const char *name, unsigned rights,
                           char token[TL_TOKEN_TEXT_BYTES], tl_error *err);

/* Copy up to `capacity` tokens' names and rights; *count_out is how many there are.
 * Errors: TL_ENOTFOUND (no file), TL_EINVAL (damaged; the text names the line), TL_EIO. */
tl_status tl_tokens_list(const char *path, tl_token_info *out, size_t capacity, size_t *count_out,
                         tl_error *err);

/* Take a token out of the file; a running server forgets it within a second.
 * Errors: TL_ENOTFOUND (no file, no such name), TL_EINVAL, TL_EIO. */
tl_status tl_tokens_revoke(const char *path, const char *name, tl_error *err);

#endif

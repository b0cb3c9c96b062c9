/* tokens.c - the file of tokens: reading it, and changing it atomically. */
#include "server/tokens.h"
#include "server/access/tokens_file.h"

#include "base/text.h"
#include "format/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1 << 20 };

static const struct {
    const char *name;
    unsigned bit;
} rights[] = { { "predict", TL_RIGHT_PREDICT },
               { "feedback", TL_RIGHT_FEEDBACK },
               { "admin", TL_RIGHT_ADMIN } };

tl_status tl_rights_parse(const char *text, unsigned *out, tl_error *err)
{
    unsigned bits = 0;
    for (const char *at = text;; at++) {
        size_t bytes = strcspn(at, ","), i = 0;
        while (i < TL_COUNT_OF(rights) &&
               (strlen(rights[i].name) != bytes || strncmp(rights[i].name, at, bytes) != 0))
            i++;
        if (i == TL_COUNT_OF(rights))
            return tl_fail(err, TL_EINVAL,
                           "\"%.40s\" are no rights; give some of predict,feedback,admin", text);
        bits |= rights[i].bit;
        at += bytes;
        if (*at == '\0') break;
    }
    *out = bits;
    return TL_OK;
}

void tl_rights_format(unsigned bits, char text[32])
{
    text[0] = '\0';
    for (size_t i = 0; i < TL_COUNT_OF(rights); i++) {
        if ((bits & rights[i].bit) == 0) continue;
        if (text[0] != '\0') strcat(text, ",");
        strcat(text, rights[i].name);
    }
}

static bool name_is_valid(const char *name)
{
    size_t bytes = strlen(name);
    if (bytes == 0 || bytes >= TL_TEXT_BYTES_MAX) return false;
    for (size_t i = 0; i < bytes; i++) {
        char c = name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && c != '.' && c != '_' && c != '-') return false;
    }
    return true;
}

void tl_token_hash(const char *token, size_t bytes, uint8_t hash[TL_TOKEN_HASH_BYTES])
{
    crypto_generichash(hash, TL_TOKEN_HASH_BYTES, (const unsigned char *)token, bytes, NULL, 0);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static tl_status line_parse(char *line, tl_token *out, tl_error *err)
{
    char *rest = line;
    const char *name = strsep(&rest, " \t"), *right_names = strsep(&rest, " \t");
    const char *hash = strsep(&rest, " \t");
    if (right_names == NULL || hash == NULL || rest != NULL)
        return tl_fail(err, TL_EINVAL, "want NAME RIGHTS HASH");
    if (!name_is_valid(name)) return tl_fail(err, TL_EINVAL, "the name is not valid");
    memcpy(out->info.name, name, strlen(name) + 1);
    tl_status status = tl_rights_parse(right_names, &out->info.rights, err);
    if (status != TL_OK) return status;
    size_t bytes;
    if (strlen(hash) != TL_TOKEN_HASH_BYTES * 2 ||
        sodium_hex2bin(out->hash, sizeof out->hash, hash, strlen(hash), NULL, &bytes, NULL) != 0 ||
        bytes != sizeof out->hash)
        return tl_fail(err, TL_EINVAL, "the hash is not %d hexadecimal digits",
                       TL_TOKEN_HASH_BYTES * 2);
    return TL_OK;
}

static tl_status lines_parse(char *text, tl_token *tokens, size_t *count_out, tl_error *err)
{
    size_t count = 0, number = 0;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        number++;
        line[strcspn(line, "\r")] = '\0';
        if (line[0] == '\0' || line[0] == '#') continue;
        if (count == TL_TOKEN_COUNT_MAX)
            return tl_fail(err, TL_ELIMIT, "more than %d tokens", TL_TOKEN_COUNT_MAX);
        tl_status status = line_parse(line, &tokens[count], err);
        if (status != TL_OK) return tl_fail_context(err, status, "line %zu", number);
        for (size_t i = 0; i < count; i++)
            if (strcmp(tokens[i].info.name, tokens[count].info.name) == 0)
                return tl_fail(err, TL_EINVAL, "line %zu: the name \"%s\" is there twice", number,
                               tokens[i].info.name);
        count++;
    }
    *count_out = count;
    return TL_OK;
}

tl_status tl_tokens_read(const char *path, tl_token **out, size_t *count_out, tl_error *err)
{
    void *data;
    size_t bytes;
    tl_status status = tl_file_read(path, FILE_BYTES_MAX, &data, &bytes, err);
    if (status != TL_OK) return tl_fail_context(err, status, "tokens");
    tl_token *tokens = calloc(TL_TOKEN_COUNT_MAX, sizeof *tokens);
    if (tokens == NULL) {
        free(data);
        return tl_fail(err, TL_ENOMEM, "out of memory for the tokens");
    }
    status = memchr(data, '\0', bytes) != NULL ? tl_fail(err, TL_EINVAL, "not a text file")
                                               : lines_parse(data, tokens, count_out, err);
    free(data);
    if (status != TL_OK) {
        free(tokens);
        return tl_fail_context(err, status, "tokens file %.80s", path);
    }
    *out = tokens;
    return TL_OK;
}

tl_status tl_tokens_list(const char *path, tl_token_info *out, size_t capacity, size_t *count_out,
                         tl_error *err)
{
    tl_token *tokens;
    size_t count;
    tl_status status = tl_tokens_read(path, &tokens, &count, err);
    if (status != TL_OK) return status;
    for (size_t i = 0; i < count && i < capacity; i++) out[i] = tokens[i].info;
    free(tokens);
    *count_out = count;
    return TL_OK;
}

/* ---- Changing -------------------------------------------------------------------------------- */

/* Open the file and lock it; another process may have replaced it while we waited for the lock. */
static int open_locked(const char *path, bool create)
{
    for (;;) {
        int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
        if (fd < 0) return -1;
        struct stat ours, named;
        while (flock(fd, LOCK_EX) != 0 && errno == EINTR) continue;
        bool there = fstat(fd, &ours) == 0 && stat(path, &named) == 0;
        if (there && ours.st_ino == named.st_ino && ours.st_dev == named.st_dev) return fd;
        close(fd);
    }
}

static bool write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(fd, data, bytes);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        data += written;
        bytes -= (size_t)written;
    }
    return true;
}

/* Put `text` in the place of the file, whole or not at all. */
static tl_status replace(const char *path, const tl_text *text, tl_error *err)
{
    char temporary[4096];
    int bytes = snprintf(temporary, sizeof temporary, "%s.new", path);
    if (bytes < 0 || (size_t)bytes >= sizeof temporary)
        return tl_fail(err, TL_EINVAL, "the path of the tokens file is too long");
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return tl_fail(err, TL_EIO, "%.120s: %s", temporary, strerror(errno));
    bool ok = write_all(fd, text->data, text->bytes) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    if (ok && rename(temporary, path) == 0) return TL_OK;
    int reason = errno;
    unlink(temporary);
    return tl_fail(err, TL_EIO, "%.120s: %s", path, strerror(reason));
}

/* The file's text, without the line of `without` (may be NULL). */
static tl_status copy_lines(const char *path, const char *without, tl_text *out, tl_error *err)
{
    void *data;
    size_t bytes;
    tl_status status = tl_file_read(path, FILE_BYTES_MAX, &data, &bytes, err);
    if (status != TL_OK) return status;
    size_t name_bytes = without == NULL ? 0 : strlen(without);
    const char *end = (char *)data + bytes;
    for (const char *line = data; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *next = newline == NULL ? end : newline + 1;
        bool drop = without != NULL && (size_t)(end - line) > name_bytes &&
                    memcmp(line, without, name_bytes) == 0 &&
                    (line[name_bytes] == ' ' || line[name_bytes] == '\t');
        if (!drop) {
            tl_text_append(out, line, (size_t)(next - line));
            if (newline == NULL) tl_text_append(out, "\n", 1);
        }
        line = next;
    }
    free(data);
    return TL_OK;
}

/* With the file locked: TL_OK when `name` is there. Also makes sure that the file is sound. */
static tl_status find_name(const char *path, const char *name, size_t *count_out, tl_error *err)
{
    tl_token *tokens;
    tl_status status = tl_tokens_read(path, &tokens, count_out, err);
    if (status != TL_OK) return status;
    status = TL_ENOTFOUND;
    for (size_t i = 0; i < *count_out; i++)
        if (strcmp(tokens[i].info.name, name) == 0) status = TL_OK;
    free(tokens);
    return status;
}

static void token_make(char token[TL_TOKEN_TEXT_BYTES], char hex[TL_TOKEN_HASH_BYTES * 2 + 1])
{
    uint8_t secret[32], hash[TL_TOKEN_HASH_BYTES];
    randombytes_buf(secret, sizeof secret);
    memcpy(token, "tl_", 3);
    sodium_bin2base64(token + 3, TL_TOKEN_TEXT_BYTES - 3, secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    tl_token_hash(token, strlen(token), hash);
    sodium_bin2hex(hex, TL_TOKEN_HASH_BYTES * 2 + 1, hash, sizeof hash);
    sodium_memzero(secret, sizeof secret);
}

static tl_status create_locked(const char *path, const char *name, unsigned bits,
                               char token[TL_TOKEN_TEXT_BYTES], tl_error *err)
{
    size_t count = 0;
    tl_error missing;
    tl_status status = find_name(path, name, &count, &missing);
    if (status == TL_OK)
        return tl_fail(err, TL_ECONFLICT,
                       "there is a token named \"%s\" already; revoke it or choose another name",
                       name);
    if (status != TL_ENOTFOUND) return tl_fail(err, status, "%s", missing.text);
    if (count >= TL_TOKEN_COUNT_MAX)
        return tl_fail(err, TL_ELIMIT, "there are %zu tokens already; revoke some", count);
    tl_text text;
    tl_text_init(&text, FILE_BYTES_MAX + 1024);
    status = copy_lines(path, NULL, &text, err);
    char made[TL_TOKEN_TEXT_BYTES], hex[TL_TOKEN_HASH_BYTES * 2 + 1], names[32];
    token_make(made, hex);
    tl_rights_format(bits, names);
    tl_text_printf(&text, "%s %s %s\n", name, names, hex);
    if (status == TL_OK && !tl_text_ok(&text)) status = tl_fail(err, TL_ENOMEM, "out of memory");
    if (status == TL_OK) status = replace(path, &text, err);
    tl_text_destroy(&text);
    if (status == TL_OK) memcpy(token, made, sizeof made);
    sodium_memzero(made, sizeof made);
    return status;
}

tl_status tl_tokens_create(const char *path, const char *name, unsigned bits,
                           char token[TL_TOKEN_TEXT_BYTES], tl_error *err)
{
    if (sodium_init() < 0) return tl_fail(err, TL_EIO, "no randomness to make a token of");
    if (!name_is_valid(name))
        return tl_fail(err, TL_EINVAL,
                       "a token's name has 1 to %d letters, digits, '.', '_' or '-'",
                       TL_TEXT_BYTES_MAX - 1);
    if (bits == 0 || (bits & ~(unsigned)TL_RIGHT_ALL) != 0)
        return tl_fail(err, TL_EINVAL, "a token needs some of the rights predict,feedback,admin");
    int fd = open_locked(path, true);
    if (fd < 0) return tl_fail(err, TL_EIO, "%.120s: %s", path, strerror(errno));
    tl_status status = create_locked(path, name, bits, token, err);
    close(fd);
    return status;
}

tl_status tl_tokens_revoke(const char *path, const char *name, tl_error *err)
{
    int fd = open_locked(path, false);
    if (fd < 0)
        return tl_fail(err, errno == ENOENT ? TL_ENOTFOUND : TL_EIO, "%.120s: %s", path,
                       strerror(errno));
    size_t count;
    tl_error detail = { .status = TL_OK };
    tl_status status = find_name(path, name, &count, &detail);
    if (status == TL_ENOTFOUND) {
        status = tl_fail(err, status, "there is no token named \"%.64s\"", name);
    } else if (status != TL_OK) {
        status = tl_fail(err, status, "%s", detail.text);
    } else {
        tl_text text;
        tl_text_init(&text, FILE_BYTES_MAX + 1024);
        tl_text_puts(&text, ""); /* so that there is data even when nothing is left */
        status = copy_lines(path, name, &text, err);
        if (status == TL_OK && !tl_text_ok(&text))
            status = tl_fail(err, TL_ENOMEM, "out of memory");
        if (status == TL_OK) status = replace(path, &text, err);
        tl_text_destroy(&text);
    }
    close(fd);
    return status;
}

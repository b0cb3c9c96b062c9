/* auth.c - who may do what: tokens, and where there are none, that the caller is no web page. */
#include "server/access/tokens_file.h"
#include "server/internal.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct tl_auth {
    char *path;
    pthread_rwlock_t lock; /* over tokens */
    tl_token *tokens;      /* [count] */
    size_t count;
    pthread_mutex_t reload_mutex;
    struct timespec changed; /* of the file that was read */
    off_t bytes;
    ino_t inode;
};

static void remember_file(tl_auth *auth, const struct stat *file)
{
    auth->changed = file->st_mtim;
    auth->bytes = file->st_size;
    auth->inode = file->st_ino;
}

static tl_status reload_locked(tl_auth *auth, tl_error *err)
{
    struct stat file = { 0 };
    /* Before reading: a change between the two is then seen as one more change. */
    if (stat(auth->path, &file) == 0) remember_file(auth, &file);
    if ((file.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)) != 0)
        tl_log(TL_LOG_WARNING, "server: others can read or change %s; chmod 600 it", auth->path);
    tl_token *tokens;
    size_t count;
    tl_status status = tl_tokens_read(auth->path, &tokens, &count, err);
    if (status != TL_OK) return status;
    pthread_rwlock_wrlock(&auth->lock);
    tl_token *old = auth->tokens;
    auth->tokens = tokens;
    auth->count = count;
    pthread_rwlock_unlock(&auth->lock);
    free(old);
    tl_log(TL_LOG_INFO, "server: %zu tokens from %s", count, auth->path);
    return TL_OK;
}

tl_status tl_auth_reload(tl_auth *auth, tl_error *err)
{
    pthread_mutex_lock(&auth->reload_mutex);
    tl_status status = reload_locked(auth, err);
    pthread_mutex_unlock(&auth->reload_mutex);
    return status;
}

void tl_auth_reload_when_changed(tl_auth *auth)
{
    struct stat file;
    tl_error err;
    pthread_mutex_lock(&auth->reload_mutex);
    bool there = stat(auth->path, &file) == 0;
    bool changed = there && (file.st_mtim.tv_sec != auth->changed.tv_sec ||
                             file.st_mtim.tv_nsec != auth->changed.tv_nsec ||
                             file.st_size != auth->bytes || file.st_ino != auth->inode);
    if (changed && reload_locked(auth, &err) != TL_OK)
        tl_log(TL_LOG_ERROR, "server: %s; the tokens in force stay", err.text);
    pthread_mutex_unlock(&auth->reload_mutex);
}

tl_status tl_auth_open(const char *path, tl_auth **out, tl_error *err)
{
    tl_auth *auth = calloc(1, sizeof *auth);
    if (auth == NULL) return tl_fail(err, TL_ENOMEM, "out of memory for the tokens");
    pthread_rwlock_init(&auth->lock, NULL);
    pthread_mutex_init(&auth->reload_mutex, NULL);
    auth->path = strdup(path);
    tl_status status = auth->path == NULL ? tl_fail(err, TL_ENOMEM, "out of memory for the tokens")
                                          : tl_auth_reload(auth, err);
    if (status != TL_OK) {
        tl_auth_close(&auth);
        return status;
    }
    *out = auth;
    return TL_OK;
}

void tl_auth_close(tl_auth **auth)
{
    if (*auth == NULL) return;
    pthread_rwlock_destroy(&(*auth)->lock);
    pthread_mutex_destroy(&(*auth)->reload_mutex);
    free((*auth)->tokens);
    free((*auth)->path);
    free(*auth);
    *auth = NULL;
}

/* ---- A request ------------------------------------------------------------------------------- */

static const char *header(const tl_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* Looks at all tokens, in constant time each, so that the time tells nothing about any of them. */
static bool token_find(tl_auth *auth, const char *token, tl_token_info *out)
{
    uint8_t hash[TL_TOKEN_HASH_BYTES];
    bool found = false;
    tl_token_hash(token, strlen(token), hash);
    pthread_rwlock_rdlock(&auth->lock);
    for (size_t i = 0; i < auth->count; i++) {
        if (sodium_memcmp(hash, auth->tokens[i].hash, sizeof hash) != 0) continue;
        *out = auth->tokens[i].info;
        found = true;
    }
    pthread_rwlock_unlock(&auth->lock);
    return found;
}

static unsigned check_token(tl_request *request, unsigned access, tl_error *err)
{
    const char *value = header(request, MHD_HTTP_HEADER_AUTHORIZATION);
    if (value == NULL || strncasecmp(value, "Bearer ", 7) != 0) {
        tl_fail(err, TL_EPERM, "a token is needed: send the header Authorization: Bearer TOKEN");
        return MHD_HTTP_UNAUTHORIZED;
    }
    tl_token_info token;
    if (!token_find(request->server->auth, value + 7 + strspn(value + 7, " "), &token)) {
        tl_fail(err, TL_EPERM, "this token is not known, or was revoked; ask for a new one");
        return MHD_HTTP_UNAUTHORIZED;
    }
    memcpy(request->source, token.name, sizeof token.name);
    unsigned right = access & TL_RIGHT_ALL;
    if ((token.rights & right) == right) return 0;
    char names[32];
    tl_rights_format(right, names);
    tl_fail(err, TL_EPERM, "the token \"%s\" has not the right \"%s\"", token.name, names);
    return MHD_HTTP_FORBIDDEN;
}

/* The host of "name:port" or "[address]:port" is this machine by address, or "localhost". */
static bool host_is_local(const char *host)
{
    char name[64];
    bool bracket = host[0] == '[';
    size_t bytes = bracket ? strcspn(host, "]") - 1 : strcspn(host, ":");
    if (bytes == 0 || bytes >= sizeof name) return false;
    memcpy(name, host + (bracket ? 1 : 0), bytes);
    name[bytes] = '\0';
    struct in6_addr address;
    return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &address) == 1 ||
           inet_pton(AF_INET6, name, &address) == 1;
}

/* Without tokens a browser on this machine must not be made to speak for somebody else's page: the
 * page's origin must be ours, and ours must be an address (a name can be pointed at us later). */
static unsigned check_browser(tl_request *request, tl_error *err)
{
    const char *host = header(request, MHD_HTTP_HEADER_HOST);
    const char *origin = header(request, MHD_HTTP_HEADER_ORIGIN);
    if (request->server->loopback && host != NULL && !host_is_local(host)) {
        tl_fail(err, TL_EPERM,
                "the host \"%.64s\" is not this machine; use localhost or its address, or tokens",
                host);
        return MHD_HTTP_FORBIDDEN;
    }
    if (origin == NULL) return 0;
    const char *authority = strstr(origin, "://");
    if (host != NULL && authority != NULL && strcasecmp(authority + 3, host) == 0) return 0;
    tl_fail(err, TL_EPERM, "a page of \"%.64s\" may not use this server without a token", origin);
    return MHD_HTTP_FORBIDDEN;
}

unsigned tl_auth_check(tl_request *request, tl_error *err)
{
    const tl_server *server = request->server;
    const tl_route *route = request->match.route;
    unsigned access = route == NULL ? TL_ACCESS_TOKEN : route->access;
    bool open = (access & TL_ACCESS_OPEN) != 0 ||
                ((access & TL_ACCESS_METRICS) != 0 && server->options.open_metrics);
    if (open) return 0;
    if (server->auth != NULL) return check_token(request, access, err);
    memcpy(request->source, "local", sizeof "local");
    return check_browser(request, err);
}

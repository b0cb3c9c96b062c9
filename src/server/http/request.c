/* request.c - the memory of requests, kept for the next ones. */
#include "server/internal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEEP_REQUESTS_MAX = 512,    /* in the free list */
    KEEP_BYTES_MAX = 64 * 1024, /* of a buffer of a request in the free list */
    KEEP_ARENA_BYTES_MAX = 1 << 20,
    BODY_FIRST_BYTES = 4096,
    KEY_BYTES_MAX = TL_REQUEST_ID_BYTES_MAX - 1
};

/* ---- Requests -------------------------------------------------------------------------------- */

static void request_free(tl_request *request)
{
    tl_text_destroy(&request->text);
    free(request->body);
    free(request->results);
    free(request);
}

tl_request *tl_request_take(tl_server *server)
{
    pthread_mutex_lock(&server->free_mutex);
    tl_request *request = server->free_requests;
    if (request != NULL) {
        server->free_requests = request->next;
        server->free_request_count--;
    }
    pthread_mutex_unlock(&server->free_mutex);
    if (request == NULL) {
        request = calloc(1, sizeof *request);
        if (request == NULL) return NULL;
        request->server = server;
        tl_text_init(&request->text, SIZE_MAX / 4);
    }
    request->next = NULL;
    return request;
}

/* Everything but the buffers back to nothing. */
static void request_clear(tl_request *request)
{
    tl_text_clear(&request->text);
    request->connection = NULL;
    request->peer = NULL;
    request->stage = TL_STAGE_RECEIVING;
    request->loop = NULL;
    request->version = 0;
    request->source[0] = '\0';
    request->refusal = 0;
    request->body_bytes = 0;
    request->dropped_bytes = 0;
    request->form.has_id = false;
    request->form.output_count = 0;
    request->result_count = 0;
    request->status = TL_OK;
    request->code = 0;
    request->content_type = NULL;
    request->static_body = NULL;
    request->json_bytes = 0;
    request->cache_control = request->content_policy = NULL;
    request->response = NULL;
}

void tl_request_give(tl_request *request)
{
    tl_server *server = request->server;
    tl_request_body_release(request);
    request_clear(request);
    if (request->text.capacity > KEEP_BYTES_MAX) tl_text_destroy(&request->text);
    if (request->results_capacity > KEEP_BYTES_MAX) {
        free(request->results);
        request->results = NULL;
        request->results_capacity = 0;
    }
    pthread_mutex_lock(&server->free_mutex);
    bool keep = server->free_request_count < KEEP_REQUESTS_MAX;
    if (keep) {
        request->next = server->free_requests;
        server->free_requests = request;
        server->free_request_count++;
    }
    pthread_mutex_unlock(&server->free_mutex);
    if (!keep) request_free(request);
}

void tl_requests_free(tl_server *server)
{
    while (server->free_requests != NULL) {
        tl_request *request = server->free_requests;
        server->free_requests = request->next;
        request_free(request);
    }
}

bool tl_request_results_reserve(tl_request *request, size_t bytes)
{
    if (bytes <= request->results_capacity) return true;
    void *results = realloc(request->results, bytes);
    if (results == NULL) return false;
    request->results = results;
    request->results_capacity = bytes;
    return true;
}

/* ---- Bodies ---------------------------------------------------------------------------------- */

/* The budget of all bodies that are being received. */
static bool body_charge(tl_request *request, size_t bytes)
{
    tl_server *server = request->server;
    size_t before = atomic_fetch_add(&server->pending_body_bytes, bytes);
    if (before + bytes > server->options.max_pending_body_bytes) {
        atomic_fetch_sub(&server->pending_body_bytes, bytes);
        return false;
    }
    request->charged_bytes += bytes;
    return true;
}

static tl_status body_reserve(tl_request *request, size_t need, tl_error *err)
{
    size_t capacity = request->body_capacity * 2;
    if (capacity < BODY_FIRST_BYTES) capacity = BODY_FIRST_BYTES;
    if (capacity > request->server->options.max_body_bytes)
        capacity = request->server->options.max_body_bytes;
    if (capacity < need) capacity = need;
    char *body = realloc(request->body, capacity);
    if (body == NULL) return tl_fail(err, TL_ENOMEM, "out of memory for the body; try again");
    request->body = body;
    request->body_capacity = capacity;
    return TL_OK;
}

tl_status tl_request_body_append(tl_request *request, const void *data, size_t bytes, tl_error *err)
{
    size_t bytes_max = request->server->options.max_body_bytes;
    if (bytes > bytes_max - request->body_bytes)
        return tl_fail(err, TL_ELIMIT, "the body is over %zu bytes; send less at a time",
                       bytes_max);
    if (!body_charge(request, bytes))
        return tl_fail(err, TL_EFULL, "too many bodies are being received; try again shortly");
    if (bytes > request->body_capacity - request->body_bytes) {
        tl_status status = body_reserve(request, request->body_bytes + bytes, err);
        if (status != TL_OK) return status;
    }
    memcpy(request->body + request->body_bytes, data, bytes);
    request->body_bytes += bytes;
    return TL_OK;
}

void tl_request_body_release(tl_request *request)
{
    if (request->charged_bytes > 0)
        atomic_fetch_sub(&request->server->pending_body_bytes, request->charged_bytes);
    request->charged_bytes = 0;
    request->body_bytes = 0;
    if (request->body_capacity <= KEEP_BYTES_MAX) return;
    free(request->body);
    request->body = NULL;
    request->body_capacity = 0;
}

/* ---- Parsers and arenas ---------------------------------------------------------------------- */

static void scratch_free(tl_scratch *scratch)
{
    tl_json_parser_destroy(&scratch->parser);
    tl_arena_destroy(&scratch->arena);
    free(scratch);
}

static tl_scratch *scratch_create(tl_server *server, tl_error *err)
{
    tl_scratch *scratch = calloc(1, sizeof *scratch);
    if (scratch == NULL) {
        tl_fail(err, TL_ENOMEM, "out of memory; try again");
        return NULL;
    }
    size_t body_bytes_max = server->options.max_body_bytes;
    tl_json_limits limits = { .bytes_max = body_bytes_max };
    if (tl_json_parser_create(&limits, &scratch->parser, err) != TL_OK) {
        free(scratch);
        return NULL;
    }
    /* Packed numbers take 8 bytes for 2 of text, and images are decoded from base64 beside it. */
    tl_arena_init(&scratch->arena, body_bytes_max * 6 + KEEP_ARENA_BYTES_MAX);
    return scratch;
}

tl_scratch *tl_scratch_take(tl_server *server, tl_error *err)
{
    pthread_mutex_lock(&server->free_mutex);
    tl_scratch *scratch = server->free_scratches;
    if (scratch != NULL) server->free_scratches = scratch->next;
    pthread_mutex_unlock(&server->free_mutex);
    return scratch != NULL ? scratch : scratch_create(server, err);
}

void tl_scratch_give(tl_server *server, tl_scratch *scratch)
{
    if (scratch->arena.used_bytes > KEEP_ARENA_BYTES_MAX) {
        scratch_free(scratch);
        return;
    }
    tl_arena_reset(&scratch->arena);
    pthread_mutex_lock(&server->free_mutex);
    scratch->next = server->free_scratches;
    server->free_scratches = scratch;
    pthread_mutex_unlock(&server->free_mutex);
}

void tl_scratches_free(tl_server *server)
{
    while (server->free_scratches != NULL) {
        tl_scratch *scratch = server->free_scratches;
        server->free_scratches = scratch->next;
        scratch_free(scratch);
    }
}

tl_status tl_request_json(tl_request *request, tl_scratch *scratch, bool optional,
                          const tl_json **out, tl_error *err)
{
    *out = NULL;
    if (request->body_bytes == 0 && optional) return TL_OK;
    return tl_json_parse(scratch->parser, request->body, request->body_bytes, &scratch->arena, out,
                         err);
}

/* ---- Retries --------------------------------------------------------------------------------- */

/* The same key on another path is another request: so the path is hashed with the body. */
static void body_hash(const tl_request *request, uint64_t hash[2])
{
    crypto_generichash_state state;
    unsigned char digest[16];
    const tl_route_match *match = &request->match;
    crypto_generichash_init(&state, NULL, 0, sizeof digest);
    crypto_generichash_update(&state, (const unsigned char *)match->route->pattern,
                              strlen(match->route->pattern) + 1);
    crypto_generichash_update(&state, (const unsigned char *)match->version,
                              strlen(match->version) + 1);
    crypto_generichash_update(&state, (const unsigned char *)request->body, request->body_bytes);
    crypto_generichash_final(&state, digest, sizeof digest);
    memcpy(hash, digest, sizeof digest);
}

/* "source/key", so that one caller cannot meet another's keys; hashed where that is too long. */
static char *scoped_key(const tl_request *request, const char *key, tl_arena *arena)
{
    size_t source_bytes = strlen(request->source), key_bytes = strlen(key);
    if (request->server->auth == NULL) return tl_arena_strndup(arena, key, key_bytes);
    char *out = tl_arena_alloc(arena, source_bytes + key_bytes + 2);
    if (out == NULL) return NULL;
    memcpy(out, request->source, source_bytes);
    out[source_bytes] = '/';
    memcpy(out + source_bytes + 1, key, key_bytes + 1);
    if (source_bytes + 1 + key_bytes <= KEY_BYTES_MAX) return out;
    unsigned char digest[32];
    crypto_generichash(digest, sizeof digest, (const unsigned char *)out,
                       source_bytes + 1 + key_bytes, NULL, 0);
    char *hex = tl_arena_alloc(arena, sizeof digest * 2 + 1);
    return hex == NULL ? NULL : sodium_bin2hex(hex, sizeof digest * 2 + 1, digest, sizeof digest);
}

tl_status tl_request_key(tl_request *request, const char *parameter, tl_arena *arena,
                         const char **out, uint64_t hash[2], tl_error *err)
{
    const char *key =
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Idempotency-Key");
    if (key == NULL) key = parameter;
    *out = NULL;
    if (key == NULL) return TL_OK;
    size_t bytes = strlen(key);
    if (bytes == 0 || bytes > KEY_BYTES_MAX)
        return tl_fail(err, TL_EINVAL, "an idempotency key has 1 to %d bytes", KEY_BYTES_MAX);
    for (size_t i = 0; i < bytes; i++)
        if (key[i] < ' ' || key[i] > '~')
            return tl_fail(err, TL_EINVAL, "an idempotency key is printable ASCII");
    *out = scoped_key(request, key, arena);
    if (*out == NULL) return tl_fail(err, TL_ENOMEM, "out of memory; try again");
    body_hash(request, hash);
    return TL_OK;
}

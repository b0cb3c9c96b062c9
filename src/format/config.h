/* config.h - the configuration file (YAML) to the options of the public header, and back.
 * Layer: format, over libyaml. A finished configuration may be read by any thread.
 *
 * The file is bounded (TL_CONFIG_BYTES_MAX), anchors, aliases and tags are refused, so are unknown
 * and repeated keys. Every error names the file, the line, what is wrong and what is accepted.
 * One table in config_table.c describes all keys: the reader, the template that `tightloop init`
 * writes, and docs/configuration.md come from it. */
#ifndef TL_FORMAT_CONFIG_H
#define TL_FORMAT_CONFIG_H

#include "base/status.h"
#include "base/text.h"

enum { TL_CONFIG_BYTES_MAX = 256 * 1024, TL_CONFIG_LOOP_COUNT_MAX = 64 };

typedef struct tl_config_server {
    const char *host;                /* to listen on: an address or a name; default "127.0.0.1" */
    uint32_t port;                   /* 0..65535; 0: any free one; default 8080 */
    const char *tls_certificate;     /* PEM file, or NULL: no TLS */
    const char *tls_key;             /* PEM file, or NULL; both or none */
    const char *tokens_file;         /* file of hashed tokens, or NULL */
    bool allow_unauthenticated;      /* listen beyond loopback without tokens; default false */
    uint64_t max_body_bytes;         /* default 16 MiB */
    uint32_t max_connections;        /* default 1000 */
    uint32_t max_connections_per_ip; /* 0: no bound of its own; default 0 */
    uint32_t idle_timeout_s;         /* default 30 */
    uint32_t request_timeout_s;      /* default 60 */
    bool open_metrics;               /* GET /metrics needs no token; default false */
    uint32_t io_threads;             /* default 1 */
} tl_config_server;

/* All strings and arrays belong to the configuration. */
typedef struct tl_config {
    tl_config_server server;
    tl_runtime_options runtime; /* sections `journal` and `engine` */
    tl_loop_options *loops;     /* [loop_count] */
    size_t loop_count;          /* 0..TL_CONFIG_LOOP_COUNT_MAX; names are unique */
} tl_config;

/* What keys that are left out mean: tl_runtime_options_default() and tl_loop_options_default().
 * Passed in, since those belong to a layer above. Their strings must outlive the configuration. */
typedef struct tl_config_defaults {
    tl_runtime_options runtime; /* path NULL: "./tightloop-journal" */
    tl_loop_options loop;
} tl_config_defaults;

/* Read a configuration.
 *   text    borrowed for the call; `source` names it in errors, e.g. the file's name
 *   out     the caller's, for tl_config_destroy
 * Errors: TL_EINVAL, TL_ELIMIT (too long), TL_ENOMEM. */
tl_status tl_config_parse(const char *text, size_t bytes, const char *source,
                          const tl_config_defaults *defaults, tl_config **out, tl_error *err);
/* The same from a file. Errors also: TL_ENOTFOUND, TL_EIO. */
tl_status tl_config_load(const char *path, const tl_config_defaults *defaults, tl_config **out,
                         tl_error *err);
void tl_config_destroy(tl_config **config); /* NULL-safe; clears *config */

/* Append a commented configuration with every key, which reads back as these options: the defaults
 * and one loop. Keys without a value are there as comments. `loop` needs a name and classes. */
void tl_config_write_template(const tl_config_defaults *defaults, const tl_loop_options *loop,
                              tl_text *out);

/* Append docs/configuration.md. */
void tl_config_write_reference(const tl_config_defaults *defaults, tl_text *out);

/* "50GB", "1.5 MiB", "4096" to bytes: B, KB, MB, GB, TB are powers of 1000, KiB, MiB, GiB, TiB of
 * 1024; letters of either case. False when it is none. */
bool tl_config_parse_bytes(const char *text, uint64_t *out);

#endif

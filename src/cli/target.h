/* target.h - a loop to look at or to control: behind a running server (--url), or in a journal that
 * is opened here (--journal, --config). Both answer with the same JSON. Layer: cli. One thread. */
#ifndef TL_CLI_TARGET_H
#define TL_CLI_TARGET_H

#include "cli/command.h"

typedef struct tl_target tl_target;

typedef struct tl_target_options {
    const char *url, *token;      /* a server; url NULL: a journal */
    const char *journal, *config; /* folder, else what the configuration names */
    const char *loop;             /* NULL: the only one */
} tl_target_options;

/* The options that commands with a target have in common: put first in their tables. */
#define TL_TARGET_OPTIONS(t)                                                                       \
    {                                                                                              \
        "url",                                                                                     \
        'u',                                                                                       \
        TL_OPTION_TEXT,                                                                            \
        "URL",                                                                                     \
        "A running server, e.g. http://127.0.0.1:8080.",                                           \
        &(t).url,                                                                                  \
        0,                                                                                         \
        0                                                                                          \
    },                                                                                             \
        { "token",                                                                                 \
          0,                                                                                       \
          TL_OPTION_TEXT,                                                                          \
          "TOKEN",                                                                                 \
          "Its bearer token; without it the environment's TIGHTLOOP_TOKEN.",                       \
          &(t).token,                                                                              \
          0,                                                                                       \
          0 },                                                                                     \
        { "journal",                                                                               \
          'j',                                                                                     \
          TL_OPTION_FOLDER,                                                                        \
          "DIR",                                                                                   \
          "A journal that no server has open.",                                                    \
          &(t).journal,                                                                            \
          0,                                                                                       \
          0 },                                                                                     \
        { "config",                                                                                \
          'c',                                                                                     \
          TL_OPTION_FILE,                                                                          \
          "FILE",                                                                                  \
          "The configuration that names the journal. [tightloop.yaml]",                            \
          &(t).config,                                                                             \
          0,                                                                                       \
          0 },                                                                                     \
    {                                                                                              \
        "loop", 'l', TL_OPTION_TEXT, "NAME", "Which loop, when there are several.", &(t).loop, 0,  \
            0                                                                                      \
    }

/* `changes`: more than looking is wanted. Errors: TL_ENOTFOUND, TL_EINVAL, TL_EIO, TL_EBUSY, ... */
tl_status tl_target_open(const tl_target_options *options, bool changes, tl_target **out,
                         tl_error *err);
void tl_target_close(tl_target **target); /* NULL-safe; clears *target */

/* Answers: JSON text, and parsed; both borrowed until the next call. The form is that of the server
 * (docs/http.md): state of the loop, or its versions. */
typedef struct tl_target_answer {
    const char *text;
    size_t bytes;
    const tl_json *json;
} tl_target_answer;

tl_status tl_target_state(tl_target *target, tl_target_answer *out, tl_error *err);
tl_status tl_target_versions(tl_target *target, uint32_t limit, tl_target_answer *out,
                             tl_error *err);
/* What became of a version, and why. */
tl_status tl_target_explain(tl_target *target, uint64_t version, tl_target_answer *out,
                            tl_error *err);
/* What people are asked: up to `limit` open reviews, of `person` (NULL: of everybody). */
tl_status tl_target_reviews(tl_target *target, const char *person, uint32_t limit,
                            tl_target_answer *out, tl_error *err);
/* Behind a server only. `by`: "site", ...; `query` more of the path's query, "" or "&since=...". */
tl_status tl_target_report(tl_target *target, const char *by, const char *query,
                           tl_target_answer *out, tl_error *err);
/* Changes answer with the state after them. */
tl_status tl_target_promote(tl_target *target, uint64_t version, tl_target_answer *out,
                            tl_error *err);
tl_status tl_target_challenge(tl_target *target, uint64_t version, tl_target_answer *out,
                              tl_error *err);
/* `version` 0: the champion before this one. */
tl_status tl_target_rollback(tl_target *target, uint64_t version, tl_target_answer *out,
                             tl_error *err);
tl_status tl_target_set_frozen(tl_target *target, bool on, tl_target_answer *out, tl_error *err);
tl_status tl_target_set_learning(tl_target *target, bool on, tl_target_answer *out, tl_error *err);

/* Open a runtime on a journal, with all the loops that are recorded in it. */
tl_status tl_target_open_runtime(const tl_runtime_options *options, tl_runtime **out,
                                 tl_error *err);

#endif

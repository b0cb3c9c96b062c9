/* command.h - what the commands of the program share. Layer: cli. */
#ifndef TL_CLI_COMMAND_H
#define TL_CLI_COMMAND_H

#include "cli/options.h"
#include "format/config.h"
#include "format/json.h"
#include "sim/client.h"

extern const tl_command tl_command_demo, tl_command_init, tl_command_serve, tl_command_replay,
    tl_command_status, tl_command_versions, tl_command_promote, tl_command_rollback,
    tl_command_learning, tl_command_models, tl_command_backup, tl_command_export, tl_command_doctor,
    tl_command_token, tl_command_completion, tl_command_help, tl_command_version, tl_command_train,
    tl_command_bench, tl_command_plan, tl_command_report, tl_command_record, tl_command_agreement,
    tl_command_freeze, tl_command_unfreeze, tl_command_explain, tl_command_challenge,
    tl_command_review;

/* All of the above in the order of the help; NULL past the end. */
const tl_command *tl_command_at(size_t index);
/* NULL: no command of that name. */
const tl_command *tl_command_find(const char *name);

/* Run the program: words[0] is its own name. Returns the exit code. */
int tl_program_run(int count, char *const *words);
/* The page of `tightloop help`. */
void tl_program_help(size_t columns, tl_text *out);

/* "tightloop NAME: what went wrong" on standard error. Returns TL_EXIT_FAILURE, or TL_EXIT_DAMAGE
 * for TL_ECORRUPT. */
int tl_command_fail(const tl_command *command, const tl_error *err);
/* The same for wrong usage, with the way to the help; returns TL_EXIT_USAGE. */
int tl_command_misuse(const tl_command *command, const tl_error *err);

/* The VERSION of a command line, 1 or more. TL_EINVAL. */
tl_status tl_command_version_number(const char *text, uint64_t *out, tl_error *err);

/* Write a document to standard output, with a newline. */
int tl_command_print(const tl_command *command, tl_text *text);

enum { TL_CONFIG_NAME_BYTES = 15 };
/* "tightloop.yaml": what commands look for when no --config is given. */
extern const char TL_CONFIG_NAME[TL_CONFIG_NAME_BYTES];

/* The defaults that configurations are read with. */
tl_config_defaults tl_command_config_defaults(void);
/* Read `path`; NULL: TL_CONFIG_NAME. `journal` (may be NULL) takes the place of the file's. With
 * `optional` and no path, a missing file gives the defaults without loops. */
tl_status tl_command_config(const char *path, const char *journal, bool optional, tl_config **out,
                            tl_error *err);

/* ---- A running server ------------------------------------------------------------------------ */

/* A client for --url and --token; a token that is NULL is taken from TIGHTLOOP_TOKEN. */
tl_status tl_command_connect(const char *url, const char *token, tl_client **out, tl_error *err);
/* The loop that `wanted` names, or with NULL the only one of the server. */
tl_status tl_command_pick_loop(tl_client *client, const char *wanted, char out[TL_TEXT_BYTES_MAX],
                               tl_error *err);

#endif

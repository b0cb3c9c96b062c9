/* journal.h - a journal that is only read, also while a server has it open. Layer: cli. */
#ifndef TL_CLI_JOURNAL_H
#define TL_CLI_JOURNAL_H

#include "cli/command.h"
#include "journal/journal.h"

enum { TL_CLI_PATH_BYTES = 4096 };

/* The journal's folder: `journal`, or with NULL the one that the configuration names (NULL:
 * tightloop.yaml). Errors: TL_ENOTFOUND, those of tl_command_config. */
tl_status tl_cli_journal_path(const char *journal, const char *config, char path[TL_CLI_PATH_BYTES],
                              tl_error *err);

typedef struct tl_cli_loop {
    uint32_t number;
    const char *name, *config; /* in the arena; config: its description, JSON */
} tl_cli_loop;

/* The loop `wanted`, or with NULL the only one. Errors: TL_ENOTFOUND, TL_EINVAL (several). */
tl_status tl_cli_journal_loop(tl_journal_reader *reader, const char *wanted, tl_arena *arena,
                              tl_cli_loop *out, tl_error *err);

#endif

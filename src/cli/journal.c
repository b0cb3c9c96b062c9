#include "cli/journal.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

tl_status tl_cli_journal_path(const char *journal, const char *config, char path[TL_CLI_PATH_BYTES],
                              tl_error *err)
{
    tl_config *read;
    tl_status status = tl_command_config(config, journal, journal != NULL, &read, err);
    if (status != TL_OK) return status;
    struct stat st;
    snprintf(path, TL_CLI_PATH_BYTES, "%s", read->runtime.path);
    tl_config_destroy(&read);
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return tl_fail(err, TL_ENOTFOUND, "%.180s: there is no journal", path);
    return TL_OK;
}

tl_status tl_cli_journal_loop(tl_journal_reader *reader, const char *wanted, tl_arena *arena,
                              tl_cli_loop *out, tl_error *err)
{
    tl_cli_loop found = { 0 };
    for (uint32_t number = 1;; number++) {
        const char *name, *text;
        tl_status status = tl_journal_loop_info(reader, number, arena, &name, &text, err);
        if (status == TL_ENOTFOUND) break;
        if (status != TL_OK) return status;
        if (wanted != NULL && strcmp(wanted, name) != 0) continue;
        if (found.number != 0)
            return tl_fail(err, TL_EINVAL, "the journal has several loops; name one with --loop");
        found = (tl_cli_loop){ number, name, text };
    }
    if (found.number == 0 && wanted != NULL)
        return tl_fail(err, TL_ENOTFOUND, "the journal has no loop \"%.64s\"", wanted);
    if (found.number == 0) return tl_fail(err, TL_ENOTFOUND, "the journal has no loops");
    *out = found;
    return TL_OK;
}

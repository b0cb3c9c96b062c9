/* whatif.h - `tightloop replay --what-if`: a journal's verdicts under other rules. Layer: cli. */
#ifndef TL_CLI_WHATIF_H
#define TL_CLI_WHATIF_H

#include "cli/command.h"

/* `changes`: KEY=VALUE[,KEY=VALUE...] of the sections gate and evidence. Returns the exit code. */
int tl_cli_whatif(const tl_command *command, const char *changes, const char *journal,
                  const char *config, const char *loop, bool json);

#endif

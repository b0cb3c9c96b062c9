/* state_json.h - the state and versions of a loop as JSON, in the server's form. Layer: cli. */
#ifndef TL_CLI_STATE_JSON_H
#define TL_CLI_STATE_JSON_H

#include "format/json.h"

void tl_state_write(tl_json_writer *w, const char *name, const tl_loop_state *state);
void tl_share_write(tl_json_writer *w, const char *key, const tl_share *share);
void tl_versions_write(tl_json_writer *w, const tl_version_info *versions, size_t count);

#endif

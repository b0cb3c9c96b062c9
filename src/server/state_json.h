/* state_json.h - the state and the versions of a loop as JSON: what the server answers, and what the
 * command line prints with --json (docs/http.md). Layer: server. */
#ifndef TL_SERVER_STATE_JSON_H
#define TL_SERVER_STATE_JSON_H

#include "format/json.h"

void tl_state_write(tl_json_writer *w, const char *name, const tl_loop_state *state);
/* An estimate, never without its interval and the counts behind it. */
void tl_share_write(tl_json_writer *w, const char *key, const tl_share *share);
/* {"versions": [...]} */
void tl_versions_write(tl_json_writer *w, const tl_version_info *versions, size_t count);

#endif

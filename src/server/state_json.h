/* state_json.h - the state and the versions of a loop as JSON: what the server answers, and what the
 * command line prints with --json (docs/http.md). Layer: server. */
#ifndef TL_SERVER_STATE_JSON_H
#define TL_SERVER_STATE_JSON_H

#include "format/json.h"

void tl_state_write(tl_json_writer *w, const char *name, const tl_loop_state *state);
/* An estimate, never without its interval and the counts behind it. */
void tl_share_write(tl_json_writer *w, const char *key, const tl_share *share);
/* {"versions": [...], "refused": [...]}: up to `limit` of each, newest first. TL_ENOMEM: nothing was
 * written. */
tl_status tl_versions_write(tl_json_writer *w, tl_loop *loop, size_t limit, tl_error *err);

/* What GET .../report answers. */
void tl_report_write(tl_json_writer *w, const char *name, const tl_report *report, tl_report_by by);
/* "site", ...; TL_EINVAL: none of them, the text lists them. */
tl_status tl_report_by_parse(const char *text, tl_report_by *out, tl_error *err);

#endif

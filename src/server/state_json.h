/* state_json.h - the state and the versions of a loop as JSON: what the server answers, and what the
 * command line prints with --json (docs/http.md). Layer: server. */
#ifndef TL_SERVER_STATE_JSON_H
#define TL_SERVER_STATE_JSON_H

#include "format/json.h"

/* `loop` NULL: without its gate, which is asked at this moment. TL_ENOMEM. */
tl_status tl_state_write(tl_json_writer *w, const char *name, const tl_loop_state *state,
                         tl_loop *loop, tl_error *err);
enum { TL_GATE_EVENTS_SHOWN = 32 };
/* "gate": {...} of the state: shadows, the newest events, time to improvement. */
tl_status tl_gate_write(tl_json_writer *w, tl_loop *loop, const tl_loop_state *state,
                        tl_error *err);
/* What became of a version and why: {"stage", "version", "shadows", "verdicts", "events"}. Errors:
 * TL_ENOTFOUND, TL_ENOMEM; nothing was written. */
tl_status tl_explanation_write(tl_json_writer *w, const char *name, tl_loop *loop, uint64_t number,
                               tl_error *err);
void tl_version_write(tl_json_writer *w, const tl_version_info *version);
/* An estimate, never without its interval and the counts behind it. */
void tl_share_write(tl_json_writer *w, const char *key, const tl_share *share);
/* {"versions": [...], "refused": [...]}: up to `limit` of each, newest first. TL_ENOMEM: nothing was
 * written. */
tl_status tl_versions_write(tl_json_writer *w, tl_loop *loop, size_t limit, tl_error *err);
/* What GET .../review answers. Errors: those of tl_loop_reviews; nothing was written. */
tl_status tl_reviews_write(tl_json_writer *w, tl_loop *loop, const char *person, size_t limit,
                           tl_error *err);

/* What GET .../report answers. */
void tl_report_write(tl_json_writer *w, const char *name, const tl_report *report, tl_report_by by);
/* "site", ...; TL_EINVAL: none of them, the text lists them. */
tl_status tl_report_by_parse(const char *text, tl_report_by *out, tl_error *err);

#endif

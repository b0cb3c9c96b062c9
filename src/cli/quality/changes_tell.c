/* changes_tell.c - a change as JSON, and as people read it. */
#include "cli/quality/changes.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void time_text(int64_t time_us, char out[32])
{
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm utc;
    out[0] = '\0';
    if (gmtime_r(&seconds, &utc) != NULL) strftime(out, 32, "%FT%TZ", &utc);
}

static void write_counts(tl_json_writer *w, const tl_change *c)
{
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = { { "version", c->version },
                   { "before", c->before },
                   { "parent", c->parent },
                   { "labels", c->labels },
                   { "golden_errors", c->golden_errors },
                   { "golden_count", c->golden_count } };
    for (size_t i = 0; i < TL_COUNT_OF(counts); i++) {
        tl_json_key(w, counts[i].key);
        tl_json_uint(w, counts[i].value);
    }
}

static void write_judgement(tl_json_writer *w, const tl_change *c)
{
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = { { "units", c->units },
                   { "disagreements", c->disagreements },
                   { "wins", c->wins },
                   { "losses", c->losses } };
    tl_json_key(w, "judgement");
    tl_json_object(w);
    for (size_t i = 0; i < TL_COUNT_OF(counts); i++) {
        tl_json_key(w, counts[i].key);
        tl_json_uint(w, counts[i].value);
    }
    tl_json_key(w, "gain");
    tl_json_double(w, c->gain);
    tl_json_key(w, "gain_low");
    tl_json_double(w, c->gain_low);
    tl_json_key(w, "gain_high");
    tl_json_double(w, c->gain_high);
    tl_json_object_end(w);
}

void tl_change_write(tl_json_writer *w, const tl_change *c)
{
    char when[32];
    time_text(c->time_us, when);
    tl_json_object(w);
    tl_json_key(w, "position");
    tl_json_uint(w, c->position);
    tl_json_put_text(w, "time", when);
    tl_json_put_text(w, "change", c->kind);
    tl_json_put_text(w, "approved_by", *c->who != '\0' ? c->who : "automatic");
    tl_json_key(w, "dry_run");
    tl_json_boolean(w, c->dry_run);
    write_counts(w, c);
    tl_json_put_text(w, "origin", c->origin);
    tl_json_put_text(w, "evidence", c->words);
    if (c->judged) write_judgement(w, c);
    tl_json_key(w, "threshold_before");
    tl_json_float(w, c->threshold_before);
    tl_json_key(w, "threshold_after");
    tl_json_float(w, c->threshold_after);
    tl_json_put_text(w, "build", c->build);
    tl_json_object_end(w);
}

/* ---- For people -------------------------------------------------------------------------------- */

static void what_happened(const tl_change *c, char out[160])
{
    static const struct {
        const char *kind, *before, *after; /* the version's number stands between */
    } kinds[] = {
        { "publish", "version ", " goes into service" },
        { "promote", "version ", " goes into service" },
        { "rollback", "back to version ", "" },
        { "take_back", "taken back: version ", " answers again" },
        { "certify", "version ", " is certified" },
        { "alarm", "alarm on version ", "" },
        { "freeze", "frozen with version ", ": learning and promotion stop" },
        { "unfreeze", "no longer frozen: version ", " answers, and learning goes on" },
    };
    snprintf(out, 160, "%s", c->kind);
    for (size_t i = 0; i < TL_COUNT_OF(kinds); i++)
        if (strcmp(kinds[i].kind, c->kind) == 0)
            snprintf(out, 160, "%s%" PRIu64 "%s", kinds[i].before, c->version, kinds[i].after);
}

static void print_threshold(tl_text *out, const tl_change *c)
{
    tl_text_puts(out, "  threshold  ");
    if (isnan(c->threshold_before))
        tl_text_puts(out, "no prediction before");
    else
        tl_text_printf(out, "%.4f before", (double)c->threshold_before);
    if (isnan(c->threshold_after))
        tl_text_puts(out, "; no prediction after\n");
    else
        tl_text_printf(out, "; %.4f after\n", (double)c->threshold_after);
}

static void print_judgement(tl_text *out, const tl_change *c)
{
    tl_text_printf(out,
                   "  judgement  %" PRIu64 " units, %" PRIu64 " disagreements: %" PRIu64
                   " for, %" PRIu64 " against",
                   c->units, c->disagreements, c->wins, c->losses);
    if (isfinite(c->gain))
        tl_text_printf(out, "; gain %.5f an item (%.5f to %.5f)", c->gain, c->gain_low,
                       c->gain_high);
    tl_text_puts(out, "\n");
}

void tl_change_print(tl_text *out, const tl_change *c)
{
    char when[32], what[160];
    time_text(c->time_us, when);
    what_happened(c, what);
    tl_text_printf(out, "%s  %s%s  (position %" PRIu64 ")\n", when, what,
                   c->dry_run ? " - not done: dry run" : "", c->position);
    tl_text_printf(out, "  approved   %s\n",
                   *c->who != '\0' ? c->who : "by the rule, automatically");
    if (c->before != 0 && c->before != c->version)
        tl_text_printf(out, "  before     version %" PRIu64 "\n", c->before);
    tl_text_printf(
        out, "  version    %" PRIu64 ", %s, made of %" PRIu64 "; learned %" PRIu64 " labels\n",
        c->version, *c->origin != '\0' ? c->origin : "?", c->parent, c->labels);
    if (*c->words != '\0') tl_text_printf(out, "  evidence   %s\n", c->words);
    if (c->judged) print_judgement(out, c);
    if (c->golden_count > 0)
        tl_text_printf(out, "  golden set %" PRIu64 " errors of %" PRIu64 "\n", c->golden_errors,
                       c->golden_count);
    print_threshold(out, c);
    if (*c->build != '\0') tl_text_printf(out, "  build      %s\n", c->build);
}

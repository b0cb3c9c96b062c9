#include "cli/gate/whatif.h"

#include "cli/journal.h"
#include "loop/whatif.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- The changed knobs ----------------------------------------------------------------------- */

/* The lines "KEY: VALUE" of one section, out of KEY=VALUE,...; false: something is not KEY=VALUE. */
static bool put_section(const char *changes, const char *section, tl_text *out)
{
    size_t length = strlen(section), known = 0, all = 0;
    tl_text_printf(out, "    %s:\n", section);
    for (const char *at = changes; *at != '\0';) {
        size_t bytes = strcspn(at, ",");
        const char *equals = memchr(at, '=', bytes);
        if (equals == NULL || equals == at) return false;
        all++;
        if ((size_t)(equals - at) > length + 1 && strncmp(at, section, length) == 0 &&
            at[length] == '.') {
            tl_text_printf(out, "      %.*s: %.*s\n", (int)(equals - at - (ptrdiff_t)length - 1),
                           at + length + 1, (int)((size_t)(at + bytes - equals) - 1), equals + 1);
            known++;
        }
        at += bytes + (at[bytes] == ',');
    }
    if (known == 0) tl_text_puts(out, "      {}\n");
    return all > 0;
}

/* All keys are of the two sections. */
static bool has_foreign_key(const char *changes)
{
    for (const char *at = changes; *at != '\0';) {
        if (strncmp(at, "gate.", 5) != 0 && strncmp(at, "evidence.", 9) != 0) return true;
        at += strcspn(at, ",");
        at += *at == ',';
    }
    return false;
}

/* Read as a configuration is, so that keys, bounds and complaints are the same. */
static tl_status apply(void *context, tl_gate_options *gate, tl_error *err)
{
    tl_text text;
    tl_config *config = NULL;
    tl_config_defaults defaults = tl_command_config_defaults();
    defaults.loop.gate = *gate;
    tl_text_init(&text, 1 << 16);
    tl_text_puts(&text, "loops:\n  - name: x\n    classes: [a, b]\n");
    bool good = !has_foreign_key(context) && put_section(context, "gate", &text) &&
                put_section(context, "evidence", &text) && tl_text_ok(&text);
    tl_status status =
        good ? tl_config_parse(text.data, text.bytes, "--what-if", &defaults, &config, err)
             : tl_fail(err, TL_EINVAL,
                       "--what-if wants gate.KEY=VALUE or evidence.KEY=VALUE, "
                       "several with commas between them; not \"%.80s\"",
                       (const char *)context);
    if (status == TL_OK) *gate = config->loops[0].gate;
    tl_config_destroy(&config);
    tl_text_destroy(&text);
    return status;
}

/* ---- What is told ---------------------------------------------------------------------------- */

static const char *title(const char *kind)
{
    return strcmp(kind, "promote") == 0   ? "promotion of"
           : strcmp(kind, "certify") == 0 ? "certificate against the baseline of"
           : strcmp(kind, "alarm") == 0   ? "alarm on"
                                          : "taking back to";
}

static const char *odds(double log_odds, char out[32])
{
    if (isnan(log_odds))
        snprintf(out, 32, "?");
    else if (log_odds > log(1e6))
        snprintf(out, 32, "10^%.0f", floor(log_odds / log(10)));
    else
        snprintf(out, 32, log_odds < log(10) ? "%.2g" : "%.0f", exp(log_odds));
    return out;
}

static void print_verdict(const tl_whatif_verdict *v)
{
    char have[32], need[32];
    printf("  %s version %" PRIu64 ": ", title(v->kind), v->version);
    if (!v->recorded) {
        printf("did not come then, would have come after %" PRIu64 " labels (evidence %s to 1)\n",
               v->labels_now, odds(v->log_e, have));
        return;
    }
    if (!v->comes) {
        printf("came after %" PRIu64 " labels, would not have come by then: evidence %s to 1, %s "
               "needed\n",
               v->labels_then, odds(v->log_e, have), odds(v->log_needed, need));
        return;
    }
    printf("came after %" PRIu64 " labels, would still come", v->labels_then);
    if (v->labels_now < v->labels_then)
        printf(", %" PRIu64 " labels earlier\n", v->labels_then - v->labels_now);
    else if (v->labels_now > v->labels_then)
        printf(", %" PRIu64 " labels later\n", v->labels_now - v->labels_then);
    else
        printf(" at the same label\n");
}

static const char LIMITS[] =
    "The journal cannot tell what would have answered after a verdict that came at another moment: "
    "the evidence about a version ends where it ended then, when it was promoted, replaced or set "
    "aside. What was reviewed then is what counts now.";

static void print_report(const char *loop, const char *changes, const tl_whatif_report *r)
{
    printf("Loop %s, what if %s: %" PRIu64 " predictions, %" PRIu64 " labels, %" PRIu64
           " policies in shadow.\n",
           loop, changes, r->predictions, r->labels, r->shadows);
    for (size_t i = 0; i < r->count; i++) print_verdict(&r->verdicts[i]);
    if (r->count == 0) printf("  The gate came to no verdict then, and would come to none.\n");
    tl_text text;
    tl_text_init(&text, 4096);
    tl_wrap(&text, LIMITS, 0, 0, 80);
    if (tl_text_ok(&text)) printf("%.*s\n", (int)text.bytes, text.data);
    tl_text_destroy(&text);
}

static void write_verdict(tl_json_writer *w, const tl_whatif_verdict *v)
{
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = { { "version", v->version },
                   { "position_then", v->position_then },
                   { "position_now", v->position_now },
                   { "labels_then", v->labels_then },
                   { "labels_now", v->labels_now } };
    tl_json_object(w);
    tl_json_key(w, "kind"), tl_json_string(w, v->kind);
    tl_json_key(w, "recorded"), tl_json_boolean(w, v->recorded);
    tl_json_key(w, "comes"), tl_json_boolean(w, v->comes);
    for (size_t i = 0; i < TL_COUNT_OF(counts); i++)
        tl_json_key(w, counts[i].key), tl_json_uint(w, counts[i].value);
    tl_json_key(w, "log_e"), tl_json_double(w, v->log_e);
    tl_json_key(w, "log_needed"), tl_json_double(w, v->log_needed);
    tl_json_object_end(w);
}

static int print_json(const tl_command *command, const char *loop, const char *changes,
                      const tl_whatif_report *r)
{
    tl_text text;
    tl_json_writer w;
    tl_text_init(&text, 64 << 20);
    tl_json_begin(&w, &text);
    tl_json_object(&w);
    tl_json_key(&w, "name"), tl_json_string(&w, loop);
    tl_json_key(&w, "what_if"), tl_json_string(&w, changes);
    tl_json_key(&w, "predictions"), tl_json_uint(&w, r->predictions);
    tl_json_key(&w, "labels"), tl_json_uint(&w, r->labels);
    tl_json_key(&w, "shadows"), tl_json_uint(&w, r->shadows);
    tl_json_key(&w, "verdicts");
    tl_json_array(&w);
    for (size_t i = 0; i < r->count; i++) write_verdict(&w, &r->verdicts[i]);
    tl_json_array_end(&w);
    tl_json_key(&w, "limits"), tl_json_string(&w, LIMITS);
    tl_json_object_end(&w);
    int code = tl_command_print(command, &text);
    tl_text_destroy(&text);
    return code;
}

int tl_cli_whatif(const tl_command *command, const char *changes, const char *journal,
                  const char *config, const char *loop, bool json)
{
    char path[TL_CLI_PATH_BYTES], knobs[1024];
    tl_error err;
    tl_journal_reader *reader = NULL;
    tl_cli_loop found = { 0 };
    tl_whatif_report report = { 0 };
    tl_arena arena;
    tl_arena_init(&arena, 16 << 20);
    snprintf(knobs, sizeof knobs, "%s", changes);
    tl_gate_options probe = tl_loop_options_default().gate;
    tl_status status = apply(knobs, &probe, &err); /* wrong knobs are told before the journal is */
    if (status == TL_OK) status = tl_cli_journal_path(journal, config, path, &err);
    if (status == TL_OK) status = tl_journal_reader_open_path(path, &reader, &err);
    if (status == TL_OK) status = tl_cli_journal_loop(reader, loop, &arena, &found, &err);
    if (status == TL_OK)
        status = tl_whatif_run(reader, found.number, found.config, apply, knobs, &report, &err);
    int code = TL_EXIT_OK;
    if (status != TL_OK)
        code = tl_command_fail(command, &err);
    else if (json)
        code = print_json(command, found.name, changes, &report);
    else
        print_report(found.name, changes, &report);
    tl_whatif_clear(&report);
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    return code;
}

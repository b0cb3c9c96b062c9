/* explain.c - `tightloop explain`: why a version serves, waits, was set aside or taken back; or how
 * things stand. */
#include "cli/target.h"
#include "cli/terminal/terminal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static tl_target_options where;
static bool as_json;

static const tl_option options[] = {
    TL_TARGET_OPTIONS(where),
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &as_json, 0, 0 },
};

/* ---- Numbers and words ----------------------------------------------------------------------- */

static uint64_t count_of(const tl_json *value, const char *key)
{
    uint64_t count = 0;
    (void)tl_json_uint64(tl_json_get(value, key), &count);
    return count;
}

/* NaN: not there, or null. */
static double number_of(const tl_json *value, const char *key)
{
    double number = NAN;
    (void)tl_json_number(tl_json_get(value, key), &number);
    return number;
}

static bool flag_of(const tl_json *value, const char *key)
{
    bool flag = false;
    (void)tl_json_bool(tl_json_get(value, key), &flag);
    return flag;
}

static const char *text_of(const tl_json *value, const char *key)
{
    return tl_json_get_text(value, key, "");
}

static const char *when(double seconds, char out[32])
{
    time_t at = (time_t)seconds;
    struct tm local;
    out[0] = '\0';
    if (localtime_r(&at, &local) != NULL) strftime(out, 32, "%F %T", &local);
    return out;
}

static const char *span(double seconds, char out[32])
{
    if (seconds < 120)
        snprintf(out, 32, "%.0f seconds", seconds);
    else if (seconds < 7200)
        snprintf(out, 32, "%.0f minutes", seconds / 60);
    else if (seconds < 172800)
        snprintf(out, 32, "%.0f hours", seconds / 3600);
    else
        snprintf(out, 32, "%.0f days", seconds / 86400);
    return out;
}

/* Evidence is kept as a logarithm; people read odds. */
static const char *odds(double log_odds, char out[32])
{
    if (log_odds > log(1e6))
        snprintf(out, 32, "10^%.0f", floor(log_odds / log(10)));
    else if (log_odds < log(10))
        snprintf(out, 32, "%.2g", exp(log_odds));
    else
        snprintf(out, 32, "%.0f", exp(log_odds));
    return out;
}

static void print_gain(const tl_json *evidence)
{
    double gain = number_of(evidence, "gain");
    if (isnan(gain)) return;
    printf("    gain         %.5f cost an item saved", gain);
    if (!isnan(number_of(evidence, "gain_low")))
        printf(" (95 %% interval %.5f to %.5f)", number_of(evidence, "gain_low"),
               number_of(evidence, "gain_high"));
    printf("\n");
}

static void print_evidence(const tl_json *evidence)
{
    char have[32], need[32];
    uint64_t number = count_of(evidence, "number");
    printf("    counted      %" PRIu64 " reviewed disagreements: in %" PRIu64
           " the one in shadow was right, in %" PRIu64 " it was wrong; %" PRIu64
           " more were not answered in time; %" PRIu64 " items in %" PRIu64 " units\n",
           count_of(evidence, "disagreements"), count_of(evidence, "wins"),
           count_of(evidence, "losses"), count_of(evidence, "timeouts"),
           count_of(evidence, "items"), count_of(evidence, "units"));
    print_gain(evidence);
    if (number_of(evidence, "log_needed") > 0)
        printf("    evidence     %s to 1; %s to 1 is needed\n",
               odds(number_of(evidence, "log_e"), have),
               odds(number_of(evidence, "log_needed"), need));
    if (number > 0)
        printf("    series       number %" PRIu64
               " of everything ever tried: the more were tried, the more is needed\n",
               number);
}

/* ---- How things stand ------------------------------------------------------------------------ */

static void print_sites(const tl_json *sites)
{
    for (const tl_json *s = tl_json_first(sites); s != NULL; s = s->next)
        printf("    at site      %s: %.5f cost an item saved (95 %% interval %.5f to %.5f), right "
               "in %" PRIu64 " of %" PRIu64 " reviewed disagreements%s\n",
               text_of(s, "site"), number_of(s, "gain"), number_of(s, "gain_low"),
               number_of(s, "gain_high"), count_of(s, "wins"), count_of(s, "disagreements"),
               flag_of(s, "worse") ? "; proven worse" : "");
}

static void print_shadow(const tl_json *s, bool details)
{
    char text[32], have[32], need[32];
    const char *role = text_of(s, "role");
    printf("\nVersion %" PRIu64 " in shadow since %s, as %s.\n", count_of(s, "version"),
           when(number_of(s, "since"), text),
           strcmp(role, "challenger") == 0 ? "challenger: it may take over when it is proven better"
           : strcmp(role, "baseline") == 0
               ? "baseline: what answers is held against it, to be certified or taken back"
               : "guard: it answered before, and takes over again if it does better");
    printf("  %s\n", text_of(s, "words"));
    if (details) print_evidence(s);
    if (details) print_sites(tl_json_get(s, "sites"));
    if (number_of(s, "log_harm_needed") > 0)
        printf("    taking back  the detector stands at %s and acts at %s\n",
               odds(number_of(s, "log_harm"), have), odds(number_of(s, "log_harm_needed"), need));
    if (flag_of(s, "blocked_by_site"))
        printf(
            "    blocked      %s: it is not promoted for all. See 'tightloop report --by site'\n",
            *text_of(s, "site_words") == '\0' ? "better over all, but proven worse at one site"
                                              : text_of(s, "site_words"));
    else if (*text_of(s, "site_words") != '\0')
        printf("    note         %s: so it would not be promoted\n", text_of(s, "site_words"));
}

static void print_median(const tl_json *median, const char *unit)
{
    double p50 = number_of(median, "p50"), low = number_of(median, "low"),
           high = number_of(median, "high");
    char text[32], from[32], to[32];
    bool seconds = strcmp(unit, "time") == 0;
    if (isnan(p50)) {
        printf("  in %s: not reached by half of the baselines yet\n", unit);
        return;
    }
    if (!seconds) {
        snprintf(text, sizeof text, "%.0f", p50);
        snprintf(from, sizeof from, "%.0f", low);
        snprintf(to, sizeof to, "%.0f", high);
    } else {
        span(p50, text), span(low, from), span(high, to);
    }
    printf("  in %s: median %s (95 %% interval %s to %s)\n", unit, text, isnan(low) ? "0" : from,
           isnan(high) ? "not known yet" : to);
}

static void print_tti(const tl_json *tti)
{
    uint64_t proven = count_of(tti, "proven"), censored = count_of(tti, "censored");
    printf("\nTime to a proven improvement");
    if (proven + censored == 0) {
        printf(": nothing is held against a baseline yet.\n");
        return;
    }
    printf(", from %" PRIu64 " baseline%s improved upon and %" PRIu64 " that %s not so far:\n",
           proven, proven == 1 ? "" : "s", censored, censored == 1 ? "was" : "were");
    print_median(tl_json_get(tti, "labels"), "labels");
    print_median(tl_json_get(tti, "seconds"), "time");
}

static void print_events(const tl_json *events)
{
    char text[32];
    if (tl_json_first(events) == NULL) return;
    printf("\nWhat the gate did, newest first:\n");
    for (const tl_json *e = tl_json_first(events); e != NULL; e = e->next)
        printf("  %s  %-10s version %" PRIu64 ": %s\n", when(number_of(e, "time"), text),
               text_of(e, "kind"), count_of(e, "version"), text_of(e, "words"));
}

static void print_stand(const tl_json *s)
{
    const tl_json *gate = tl_json_get(s, "gate");
    printf("Loop %s: version %" PRIu64 " answers%s.\n", text_of(s, "name"), count_of(s, "champion"),
           flag_of(s, "frozen")      ? "; frozen: nothing is learned or promoted"
           : !flag_of(s, "learning") ? "; learning is paused"
                                     : "");
    if (flag_of(s, "cold"))
        printf("Cold: labels are few, everything is put up for review, and versions that do no "
               "worse serve at once. Nothing is claimed to be proven until then.\n");
    if (gate == NULL) return; /* an older server */
    if (tl_json_first(tl_json_get(gate, "shadows")) == NULL) printf("Nothing is in shadow.\n");
    for (const tl_json *h = tl_json_first(tl_json_get(gate, "shadows")); h != NULL; h = h->next)
        print_shadow(h, false);
    print_tti(tl_json_get(gate, "tti"));
    printf("\nAlarms so far, the promised error rate being broken: %" PRIu64 ".\n",
           count_of(gate, "alarms"));
    print_events(tl_json_get(gate, "events"));
}

/* ---- One version ----------------------------------------------------------------------------- */

static const char *stage_words(const char *stage)
{
    static const struct {
        const char *stage, *words;
    } stages[] = {
        { "answers", "It answers now." },
        { "challenges", "It is kept waiting: it decides in shadow, and is not proven better yet." },
        { "waits", "It is kept waiting: another version is in shadow, and only one is at a time." },
        { "set_aside", "It was set aside and never took over." },
        { "taken_back", "It was taken back." },
        { "served_before", "It answered before; another version does now." },
        { "never_served", "It never answered." },
    };
    for (size_t i = 0; i < TL_COUNT_OF(stages); i++)
        if (strcmp(stages[i].stage, stage) == 0) return stages[i].words;
    return stage;
}

static const char *verdict_words(const char *kind)
{
    static const struct {
        const char *kind, *words;
    } kinds[] = {
        { "publish", "went into service" },
        { "promote", "was promoted" },
        { "certify", "what answers was certified better than its frozen snapshot" },
        { "take_back", "was put back into service: what answered then did worse" },
        { "rollback", "was put back into service by hand" },
        { "alarm", "broke the promised error rate" },
        { "freeze", "was frozen" },
        { "unfreeze", "was unfrozen" },
        { "challenge", "was made to challenge what answers: in shadow, or waiting for it" },
        { "try", "was put up for shadow by hand" },
    };
    for (size_t i = 0; i < TL_COUNT_OF(kinds); i++)
        if (strcmp(kinds[i].kind, kind) == 0) return kinds[i].words;
    return kind;
}

/* The version explained gave way: the event is about the one that came back for it. */
static bool gave_way(const tl_json *v, uint64_t version)
{
    return strcmp(text_of(v, "kind"), "take_back") == 0 && count_of(v, "champion") == version &&
           count_of(v, "version") != version;
}

static void print_verdict(const tl_json *v, uint64_t version)
{
    char text[32], back[64];
    const char *who = text_of(v, "who");
    snprintf(back, sizeof back, "was taken back: version %" PRIu64 " answers for it",
             count_of(v, "version"));
    const tl_json *evidence = tl_json_get(v, "evidence");
    printf("\n%s  %s%s, by %s (position %" PRIu64 ")\n", when(number_of(v, "time"), text),
           gave_way(v, version) ? back : verdict_words(text_of(v, "kind")),
           flag_of(v, "dry_run") ? " - not done: dry run" : "",
           *who == '\0'               ? "the rule of publishing"
           : strcmp(who, "gate") == 0 ? "the gate"
                                      : who,
           count_of(v, "position"));
    if (*text_of(v, "words") != '\0') printf("  %s\n", text_of(v, "words"));
    if (evidence == NULL) return;
    print_evidence(evidence);
    if (!isnan(number_of(evidence, "tti_seconds")))
        printf("    %s%" PRIu64 " labels, %s\n",
               flag_of(evidence, "tti_proven")
                   ? "it took      "
                   : "given up     nothing was proven better than the baseline in ",
               count_of(evidence, "tti_labels"), span(number_of(evidence, "tti_seconds"), text));
}

static void print_needed(const tl_json *shadow)
{
    double needed = number_of(shadow, "needed");
    if (strcmp(text_of(shadow, "role"), "challenger") != 0) return;
    if (isnan(needed))
        printf("At the moment it does not get ahead; how much more it takes cannot be foreseen.\n");
    else
        printf("It needs about %.0f more disagreements reviewed, if it goes on as so far.\n",
               needed);
}

static void print_version(const tl_json *answer)
{
    char text[32];
    const tl_json *v = tl_json_get(answer, "version");
    const tl_json *shadows = tl_json_get(answer, "shadows");
    printf("Version %" PRIu64 " of loop %s: %s, made of version %" PRIu64 " on %s, knows %" PRIu64
           " labels.\n%s\n",
           count_of(v, "number"), text_of(answer, "name"), text_of(v, "origin"),
           count_of(v, "parent"), when(number_of(v, "created"), text), count_of(v, "labels"),
           stage_words(text_of(answer, "stage")));
    if (*text_of(v, "verdict") != '\0') printf("When it was made: %s.\n", text_of(v, "verdict"));
    for (const tl_json *s = tl_json_first(shadows); s != NULL; s = s->next) print_needed(s);
    for (const tl_json *s = tl_json_first(shadows); s != NULL; s = s->next) print_shadow(s, true);
    const tl_json *verdict = tl_json_first(tl_json_get(answer, "verdicts"));
    for (; verdict != NULL; verdict = verdict->next) print_verdict(verdict, count_of(v, "number"));
    print_events(tl_json_get(answer, "events"));
}

/* ---- The command ----------------------------------------------------------------------------- */

static tl_status ask(tl_target *target, uint64_t version, tl_target_answer *out, tl_error *err)
{
    return version == 0 ? tl_target_state(target, out, err)
                        : tl_target_explain(target, version, out, err);
}

static int run(const tl_arguments *arguments)
{
    tl_error err;
    uint64_t version = 0;
    if (arguments->count == 1 &&
        tl_command_version_number(arguments->items[0], &version, &err) != TL_OK)
        return tl_command_misuse(&tl_command_explain, &err);
    tl_target *target;
    tl_target_answer got;
    if (tl_target_open(&where, false, &target, &err) != TL_OK)
        return tl_command_fail(&tl_command_explain, &err);
    int code = TL_EXIT_OK;
    if (ask(target, version, &got, &err) != TL_OK) {
        code = tl_command_fail(&tl_command_explain, &err);
    } else if (as_json) {
        fwrite(got.text, 1, got.bytes, stdout);
        putchar('\n');
    } else if (version == 0) {
        print_stand(got.json);
    } else {
        print_version(got.json);
    }
    tl_target_close(&target);
    return code;
}

const tl_command tl_command_explain = {
    .name = "explain",
    .summary = "why a version answers, waits, was set aside or taken back",
    .arguments = "[VERSION]",
    .argument_max = 1,
    .details =
        "Says in words what became of VERSION, with the evidence of each verdict: what was "
        "counted, the gain with its interval, how strong the evidence was and how strong it had to "
        "be, and for one that waits about how many more disagreements must be reviewed. Without "
        "VERSION: how things stand now, what decides in shadow, how long improvements took, and "
        "what the gate did.",
    .example = "tightloop explain --url http://127.0.0.1:8080\n"
               "tightloop explain 17 --journal tightloop-journal",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run,
};

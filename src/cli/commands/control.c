/* control.c - `tightloop status | versions | promote | rollback | learning | freeze | unfreeze`. */
#include "cli/target.h"
#include "cli/terminal/terminal.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

static tl_target_options where;
static bool as_json;
static uint64_t limit = 20;

static const tl_option common_options[] = {
    TL_TARGET_OPTIONS(where),
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &as_json, 0, 0 },
};

static const tl_option versions_options[] = {
    TL_TARGET_OPTIONS(where),
    { "limit", 'n', TL_OPTION_WHOLE, "N", "How many of the newest, of each kind.", &limit, 1,
      1000 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &as_json, 0, 0 },
};

/* ---- What people read ------------------------------------------------------------------------ */

static double number_of(const tl_json *value, const char *key)
{
    double number = 0.0;
    (void)tl_json_number(tl_json_get(value, key), &number);
    return number;
}

static uint64_t count_of(const tl_json *value, const char *key)
{
    uint64_t count = 0;
    (void)tl_json_uint64(tl_json_get(value, key), &count);
    return count;
}

static bool flag_of(const tl_json *value, const char *key)
{
    bool flag = false;
    (void)tl_json_bool(tl_json_get(value, key), &flag);
    return flag;
}

static void print_share(const char *name, const tl_json *share)
{
    uint64_t count = count_of(share, "count");
    if (count == 0) {
        printf("  %-18s not known yet: no labels\n", name);
        return;
    }
    printf("  %-18s %.1f %% (95 %% interval %.1f to %.1f; %" PRIu64 " of %" PRIu64 " labelled)\n",
           name, 100.0 * number_of(share, "value"), 100.0 * number_of(share, "low"),
           100.0 * number_of(share, "high"), count_of(share, "hits"), count);
}

/* Spans are of the running process: a journal that is only looked at has none. */
static void print_span(const char *name, double p50_ms, double p99_ms)
{
    if (p99_ms > 0.0) printf("  %-18s p50 %.1f ms, p99 %.1f ms\n", name, p50_ms, p99_ms);
}

static void print_network(const tl_json *s)
{
    const tl_json *network = tl_json_get(s, "network"), *campaign = tl_json_get(s, "campaign");
    if (network == NULL) return; /* an older server */
    const char *learning = tl_json_get_text(network, "learning", "?");
    printf("  %-18s %s (%" PRIu64 " parameters, %" PRIu64 " features); learns %s\n", "network",
           tl_json_get_text(network, "name", "?"), count_of(network, "parameters"),
           count_of(network, "features"),
           strcmp(learning, "campaign") == 0 ? "in campaigns"
           : strcmp(learning, "off") == 0    ? "nothing: only the fast head does"
                                             : "continuously");
    if (campaign == NULL) return;
    uint64_t steps = count_of(campaign, "steps");
    if (steps > 0)
        printf("  %-18s step %" PRIu64 " of %" PRIu64 " of the one under way\n", "campaigns",
               count_of(campaign, "done"), steps);
    else
        printf("  %-18s %" PRIu64 " so far; the next one starts at %" PRIu64 " labels\n",
               "campaigns", count_of(campaign, "judged"), count_of(campaign, "next_labels"));
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* "p50 40 labels (20 to ...)" in one unit. */
static void print_median(const tl_json *median, const char *unit)
{
    double p50, low, high;
    if (!tl_json_number(tl_json_get(median, "p50"), &p50)) {
        printf("not reached by half of them in %s", unit);
        return;
    }
    printf("median %.0f %s", p50, unit);
    if (tl_json_number(tl_json_get(median, "low"), &low))
        printf(" (95 %% interval %.0f to ", low);
    else
        printf(" (95 %% interval 0 to ");
    if (tl_json_number(tl_json_get(median, "high"), &high))
        printf("%.0f)", high);
    else
        printf("not known yet)");
}

static void print_tti(const tl_json *tti)
{
    uint64_t proven = count_of(tti, "proven"), censored = count_of(tti, "censored");
    if (proven + censored == 0) return; /* nothing is held against anything yet */
    printf("  %-18s ", "to improvement");
    print_median(tl_json_get(tti, "labels"), "labels");
    printf("; ");
    print_median(tl_json_get(tti, "seconds"), "seconds");
    printf("; %" PRIu64 " proven, %" PRIu64 " still open or given up\n", proven, censored);
}

static void print_gate(const tl_json *gate)
{
    if (gate == NULL) return; /* an older server */
    for (const tl_json *s = tl_json_first(tl_json_get(gate, "shadows")); s != NULL; s = s->next)
        printf("  %-18s version %" PRIu64 ": %s\n", tl_json_get_text(s, "role", "?"),
               count_of(s, "version"), tl_json_get_text(s, "words", ""));
    print_tti(tl_json_get(gate, "tti"));
    uint64_t alarms = count_of(gate, "alarms");
    if (alarms > 0)
        printf("  %-18s the promised error rate was broken %" PRIu64 " time%s\n", "alarms", alarms,
               plural(alarms));
}

static void print_state(const tl_json *s)
{
    printf("Loop %s: version %" PRIu64 " answers, %s%s\n", tl_json_get_text(s, "name", "?"),
           count_of(s, "champion"),
           flag_of(s, "frozen")     ? "frozen"
           : flag_of(s, "learning") ? "learning is on"
                                    : "learning is paused",
           flag_of(s, "cold") ? "; cold: everything is put up for review" : "");
    print_network(s);
    print_share("precision", tl_json_get(s, "precision"));
    print_share("recall", tl_json_get(s, "recall"));
    print_share("accuracy", tl_json_get(s, "accuracy"));
    printf("  %-18s %" PRIu64 " (%" PRIu64 " flagged, %" PRIu64 " put up for review)\n",
           "predictions", count_of(s, "predictions"), count_of(s, "flagged"),
           count_of(s, "reviews_wanted"));
    printf("  %-18s %" PRIu64 " (%" PRIu64 " waiting for their prediction, %" PRIu64
           " withdrawn)\n",
           "labels", count_of(s, "labels"), count_of(s, "pending"), count_of(s, "withdrawn"));
    if (count_of(s, "trained_labels") > 0)
        printf("  %-18s has worked through %" PRIu64 " labels\n", "slow learner",
               count_of(s, "trained_labels"));
    printf("  %-18s %" PRIu64 " published, %" PRIu64 " not better, %" PRIu64 " taken back\n",
           "versions", count_of(s, "publishes"), count_of(s, "refused"), count_of(s, "rollbacks"));
    print_gate(tl_json_get(s, "gate"));
    print_span("answers", number_of(s, "answer_ms_p50"), number_of(s, "answer_ms_p99"));
    print_span("adaptation latency", number_of(s, "label_to_served_ms_p50"),
               number_of(s, "label_to_served_ms_p99"));
}

static void print_row(const char *number, const char *parent, const tl_json *row, const char *key,
                      const char *origin, const char *what)
{
    char when[32] = "";
    time_t created = (time_t)number_of(row, key);
    struct tm local;
    if (localtime_r(&created, &local) != NULL) strftime(when, sizeof when, "%F %T", &local);
    printf("%7s %7s  %-19s  %-11s %7" PRIu64 "  %s\n", number, parent, when, origin,
           count_of(row, "labels"), what);
}

static void print_version(const tl_json *v)
{
    char number[24], parent[24], what[192];
    const char *verdict = tl_json_get_text(v, "verdict", "");
    snprintf(number, sizeof number, "%" PRIu64, count_of(v, "number"));
    snprintf(parent, sizeof parent, "%" PRIu64, count_of(v, "parent"));
    snprintf(what, sizeof what, "%s%s",
             flag_of(v, "champion") ? "answers now; " : (flag_of(v, "kept") ? "" : "not kept; "),
             *verdict != '\0' ? verdict : "the loop began with it");
    print_row(number, parent, v, "created", tl_json_get_text(v, "origin", ""), what);
}

/* Both lists come newest first, and are shown as one, down to the oldest version of them. */
static void print_versions(const tl_json *answer)
{
    const tl_json *v = tl_json_first(tl_json_get(answer, "versions"));
    const tl_json *r = tl_json_first(tl_json_get(answer, "refused")); /* none of an older server */
    printf("%s%7s %7s  %-19s  %-11s %7s  %s%s\n", tl_style_on(stdout, TL_STYLE_BOLD), "version",
           "parent", "made", "origin", "labels", "what became of it", tl_style_off(stdout));
    while (v != NULL) {
        if (r == NULL || number_of(v, "created") >= number_of(r, "judged")) {
            print_version(v);
            v = v->next;
        } else {
            print_row("-", "-", r, "judged", "", tl_json_get_text(r, "verdict", ""));
            r = r->next;
        }
    }
}

/* ---- The commands ---------------------------------------------------------------------------- */

typedef struct question {
    const tl_command *command;
    bool changes;
    uint64_t version;
    bool on;
    tl_status (*ask)(tl_target *target, const struct question *question, tl_target_answer *out,
                     tl_error *err);
    void (*print)(const tl_json *answer);
} question;

static int answer(const question *q)
{
    tl_target *target;
    tl_target_answer got;
    tl_error err;
    if (tl_target_open(&where, q->changes, &target, &err) != TL_OK)
        return tl_command_fail(q->command, &err);
    int code = TL_EXIT_OK;
    if (q->ask(target, q, &got, &err) != TL_OK) {
        code = tl_command_fail(q->command, &err);
    } else if (as_json) {
        fwrite(got.text, 1, got.bytes, stdout);
        putchar('\n');
    } else {
        q->print(got.json);
    }
    tl_target_close(&target);
    return code;
}

static int parse_version(const tl_command *command, const char *text, uint64_t *out)
{
    tl_error err;
    return tl_command_version_number(text, out, &err) == TL_OK ? TL_EXIT_OK
                                                               : tl_command_misuse(command, &err);
}

static tl_status ask_state(tl_target *target, const question *q, tl_target_answer *out,
                           tl_error *err)
{
    (void)q;
    return tl_target_state(target, out, err);
}

static tl_status ask_versions(tl_target *target, const question *q, tl_target_answer *out,
                              tl_error *err)
{
    (void)q;
    return tl_target_versions(target, (uint32_t)limit, out, err);
}

static tl_status ask_promote(tl_target *target, const question *q, tl_target_answer *out,
                             tl_error *err)
{
    return tl_target_promote(target, q->version, out, err);
}

static tl_status ask_challenge(tl_target *target, const question *q, tl_target_answer *out,
                               tl_error *err)
{
    return tl_target_challenge(target, q->version, out, err);
}

static tl_status ask_rollback(tl_target *target, const question *q, tl_target_answer *out,
                              tl_error *err)
{
    return tl_target_rollback(target, q->version, out, err);
}

static tl_status ask_learning(tl_target *target, const question *q, tl_target_answer *out,
                              tl_error *err)
{
    return tl_target_set_learning(target, q->on, out, err);
}

static tl_status ask_frozen(tl_target *target, const question *q, tl_target_answer *out,
                            tl_error *err)
{
    return tl_target_set_frozen(target, q->on, out, err);
}

static void print_champion(const tl_json *s)
{
    printf("Version %" PRIu64 " of loop %s answers now; %s.\n", count_of(s, "champion"),
           tl_json_get_text(s, "name", "?"),
           flag_of(s, "frozen")     ? "it is frozen: nothing is learned or promoted"
           : flag_of(s, "learning") ? "learning is on"
                                    : "learning is paused");
}

static int run_status(const tl_arguments *arguments)
{
    (void)arguments;
    return answer(
        &(question){ .command = &tl_command_status, .ask = ask_state, .print = print_state });
}

static int run_versions(const tl_arguments *arguments)
{
    (void)arguments;
    return answer(&(question){
        .command = &tl_command_versions, .ask = ask_versions, .print = print_versions });
}

static int run_promote(const tl_arguments *arguments)
{
    question q = {
        .command = &tl_command_promote, .changes = true, .ask = ask_promote, .print = print_champion
    };
    int code = parse_version(q.command, arguments->items[0], &q.version);
    return code == TL_EXIT_OK ? answer(&q) : code;
}

static int run_challenge(const tl_arguments *arguments)
{
    question q = { .command = &tl_command_challenge,
                   .changes = true,
                   .ask = ask_challenge,
                   .print = print_champion };
    int code = parse_version(q.command, arguments->items[0], &q.version);
    return code == TL_EXIT_OK ? answer(&q) : code;
}

static int run_rollback(const tl_arguments *arguments)
{
    question q = { .command = &tl_command_rollback,
                   .changes = true,
                   .ask = ask_rollback,
                   .print = print_champion };
    int code = TL_EXIT_OK;
    if (arguments->count == 1) code = parse_version(q.command, arguments->items[0], &q.version);
    return code == TL_EXIT_OK ? answer(&q) : code;
}

static int run_freeze(const tl_arguments *arguments)
{
    (void)arguments;
    return answer(&(question){ .command = &tl_command_freeze,
                               .changes = true,
                               .on = true,
                               .ask = ask_frozen,
                               .print = print_champion });
}

static int run_unfreeze(const tl_arguments *arguments)
{
    (void)arguments;
    return answer(&(question){ .command = &tl_command_unfreeze,
                               .changes = true,
                               .ask = ask_frozen,
                               .print = print_champion });
}

static int run_learning(const tl_arguments *arguments)
{
    tl_error err;
    question q = { .command = &tl_command_learning,
                   .changes = true,
                   .ask = ask_learning,
                   .print = print_champion };
    q.on = strcmp(arguments->items[0], "resume") == 0;
    if (q.on || strcmp(arguments->items[0], "pause") == 0) return answer(&q);
    tl_fail(&err, TL_EINVAL, "say pause or resume, not \"%.40s\"", arguments->items[0]);
    return tl_command_misuse(q.command, &err);
}

const tl_command tl_command_status = {
    .name = "status",
    .summary = "what a loop does now, and how well, with intervals",
    .details = "Shows the version that answers, precision and recall over the last labelled items "
               "(each predicted before its label was learned), counts, how the policies in shadow "
               "stand, the time to a proven improvement, and latencies. Adaptation latency, from a "
               "label to the head that knows it, is another thing: it says how fast something "
               "changes, not that it got better.",
    .example = "tightloop status --url http://127.0.0.1:8080",
    .options = common_options,
    .option_count = TL_COUNT_OF(common_options),
    .run = run_status,
};

const tl_command tl_command_versions = {
    .name = "versions",
    .summary = "the newest versions of a loop, and what became of them",
    .details =
        "Lists versions, newest first: parent, origin, the labels that they had learned, and "
        "why they were published. Between them, with \"-\" for a number, stand the candidates that "
        "were refused, and why.",
    .example = "tightloop versions --url http://127.0.0.1:8080 --limit 5",
    .options = versions_options,
    .option_count = TL_COUNT_OF(versions_options),
    .run = run_versions,
};

const tl_command tl_command_challenge = {
    .name = "challenge",
    .summary = "let a kept version prove itself in shadow",
    .arguments = "VERSION",
    .argument_min = 1,
    .argument_max = 1,
    .details =
        "VERSION decides beside what answers, on the same items, as soon as the version that "
        "is in shadow now gives way. It goes into service when it is proven better; "
        "'tightloop explain' tells how it stands.",
    .example = "tightloop challenge 17 --url http://127.0.0.1:8080",
    .options = common_options,
    .option_count = TL_COUNT_OF(common_options),
    .run = run_challenge,
};

const tl_command tl_command_promote = {
    .name = "promote",
    .summary = "put a kept version into service",
    .arguments = "VERSION",
    .argument_min = 1,
    .argument_max = 1,
    .details =
        "Puts VERSION into service by the same swap as any publish; answering never stops. The "
        "journal keeps who did it. Without --url the journal is opened here, which works "
        "while no server has it open.",
    .example = "tightloop promote 17 --url http://127.0.0.1:8080",
    .options = common_options,
    .option_count = TL_COUNT_OF(common_options),
    .run = run_promote,
};

const tl_command tl_command_rollback = {
    .name = "rollback",
    .summary = "back to the version before, or to a kept one, and pause learning",
    .arguments = "[VERSION]",
    .argument_max = 1,
    .details =
        "Puts the champion before this one back into service, or VERSION. Learning is paused "
        "then, so that harmful labels are not learned again: withdraw them, and go on with "
        "'tightloop learning resume'.",
    .example = "tightloop rollback --url http://127.0.0.1:8080",
    .options = common_options,
    .option_count = TL_COUNT_OF(common_options),
    .run = run_rollback,
};

static const char *const learning_choices[] = { "pause", "resume", NULL };

const tl_command tl_command_learning = {
    .name = "learning",
    .summary = "pause or resume learning",
    .arguments = "pause|resume",
    .argument_min = 1,
    .argument_max = 1,
    .argument_choices = learning_choices,
    .details =
        "While learning is paused a loop answers and keeps labels as before, and learns them "
        "when it is resumed.",
    .example = "tightloop learning pause --url http://127.0.0.1:8080",
    .options = common_options,
    .option_count = TL_COUNT_OF(common_options),
    .run = run_learning,
};

const tl_command tl_command_freeze = {
    .name = "freeze",
    .summary = "stop learning and promotion: what answers stays as it was qualified",
    .details = "For a line that was requalified: what answers now goes on answering, nothing is "
               "learned and "
               "nothing is promoted until 'tightloop unfreeze'. Predictions, labels and audits are "
               "kept as "
               "before. The journal keeps who froze it, for the change record.",
    .example = "tightloop freeze --url http://127.0.0.1:8080",
    .options = common_options,
    .option_count = TL_COUNT_OF(common_options),
    .run = run_freeze,
};

const tl_command tl_command_unfreeze = {
    .name = "unfreeze",
    .summary = "let a frozen loop learn and be promoted again",
    .details = "Learning goes on, with the labels that came meanwhile, and so does promotion.",
    .example = "tightloop unfreeze --url http://127.0.0.1:8080",
    .options = common_options,
    .option_count = TL_COUNT_OF(common_options),
    .run = run_unfreeze,
};

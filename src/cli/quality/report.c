/* report.c - `tightloop report`: escapes and overkill, in an inspector's words. */
#include "loop/report/report.h"
#include "cli/journal.h"
#include "cli/quality/corrected.h"
#include "cli/target.h"
#include "cli/terminal/terminal.h"
#include "server/state_json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static tl_target_options where;
static struct {
    const char *by, *field, *study, *good;
    uint64_t days;
    bool json;
} values = { .by = "all", .field = "field", .good = "ok" };

static const tl_option options[] = {
    TL_TARGET_OPTIONS(where),
    { "by", 'b', TL_OPTION_CHOICE, "all|site|line|shift|lot|class", "A row for each.", &values.by,
      0, 0 },
    { "days", 'd', TL_OPTION_WHOLE, "N", "Only of the last N days; 0: all of the journal.",
      &values.days, 0, 36500 },
    { "field", 0, TL_OPTION_TEXT, "SOURCE",
      "Feedback of this source is what came back from the field.", &values.field, 0, 0 },
    { "study", 0, TL_OPTION_FILE, "FILE",
      "Correct for operators' errors as found in this table, see agreement.", &values.study, 0, 0 },
    { "good", 0, TL_OPTION_TEXT, "CLASS", "What a good part is called in the study.", &values.good,
      0, 0 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &values.json, 0, 0 },
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

static void print_ppm(tl_text *out, const char *name, const tl_json *share, const char *of)
{
    if (count_of(share, "count") == 0) {
        tl_text_printf(out, "  %-11s not known yet: no verdicts\n", name);
        return;
    }
    tl_text_printf(out,
                   "  %-11s %8.0f ppm of %s (95 %% interval %.0f to %.0f; %" PRIu64 " of %" PRIu64
                   " verdicts)\n",
                   name, 1e6 * number_of(share, "value"), of, 1e6 * number_of(share, "low"),
                   1e6 * number_of(share, "high"), count_of(share, "hits"),
                   count_of(share, "count"));
}

static void print_percent(tl_text *out, const char *name, const tl_json *share, const char *of)
{
    if (count_of(share, "count") == 0) {
        tl_text_printf(out, "  %-11s not known yet: no verdicts\n", name);
        return;
    }
    tl_text_printf(out,
                   "  %-11s %8.2f %% of %s (95 %% interval %.2f to %.2f; %" PRIu64 " of %" PRIu64
                   " verdicts)\n",
                   name, 100.0 * number_of(share, "value"), of, 100.0 * number_of(share, "low"),
                   100.0 * number_of(share, "high"), count_of(share, "hits"),
                   count_of(share, "count"));
}

static void print_silence(tl_text *out, const tl_json *r)
{
    uint64_t silent = count_of(r, "drawn") - count_of(r, "answered");
    const tl_json *worst = tl_json_get(r, "escapes_worst");
    if (silent == 0) return;
    tl_text_printf(out,
                   "  %" PRIu64
                   " items that were put up for review have no verdict; they are taken "
                   "to be like\n  the others. If all that passed among them were defects, escapes "
                   "would be %.0f ppm\n  (at most %.0f).\n",
                   silent, 1e6 * number_of(worst, "value"), 1e6 * number_of(worst, "high"));
}

/* Rules that were not kept. */
static void print_findings(tl_text *out, const tl_json *r)
{
    const char *text;
    const tl_json *found = tl_json_first(tl_json_get(r, "findings"));
    for (; found != NULL; found = found->next)
        if (tl_json_text(found, &text)) tl_text_printf(out, "  Not kept: %s.\n", text);
}

static void print_all(tl_text *out, const tl_json *r)
{
    tl_text_printf(out,
                   "Loop %s, against operators: %" PRIu64 " items, %" PRIu64 " flagged; %" PRIu64
                   " put up for review, %" PRIu64 " with a verdict\n",
                   tl_json_get_text(r, "name", "?"), count_of(r, "items"), count_of(r, "flagged"),
                   count_of(r, "drawn"), count_of(r, "answered"));
    print_ppm(out, "escapes", tl_json_get(r, "escapes"), "what passed");
    print_ppm(out, "overkill", tl_json_get(r, "overkill"), "all items");
    print_ppm(out, "prevalence", tl_json_get(r, "prevalence"), "all items");
    print_percent(out, "recall", tl_json_get(r, "recall"), "the defects flagged");
    print_percent(out, "precision", tl_json_get(r, "precision"), "the flagged defective");
    print_percent(out, "accuracy", tl_json_get(r, "accuracy"), "all items in the right class");
    tl_text_printf(
        out, "  %-11s %8" PRIu64 " escapes found in the field (of %" PRIu64 " told from there)\n",
        "field", count_of(r, "field_escapes"), count_of(r, "field"));
    if (count_of(r, "volunteered") > 0)
        tl_text_printf(out,
                       "  %" PRIu64 " verdicts on items that were not put up for review are not "
                       "counted: nobody knows\n  how they were chosen.\n",
                       count_of(r, "volunteered"));
    print_silence(out, r);
    print_findings(out, r);
}

/* "410 (120-980)", or "-" without verdicts. */
static void ppm_cell(const tl_json *share, char out[48])
{
    if (count_of(share, "count") == 0)
        snprintf(out, 48, "-");
    else
        snprintf(out, 48, "%.0f (%.0f-%.0f)", 1e6 * number_of(share, "value"),
                 1e6 * number_of(share, "low"), 1e6 * number_of(share, "high"));
}

static void print_row(tl_text *out, const tl_json *row)
{
    char escapes[48], overkill[48], prevalence[48];
    ppm_cell(tl_json_get(row, "escapes"), escapes);
    ppm_cell(tl_json_get(row, "overkill"), overkill);
    ppm_cell(tl_json_get(row, "prevalence"), prevalence);
    const char *name = tl_json_get_text(row, "name", "");
    tl_text_printf(out, "%-14s %8" PRIu64 " %8" PRIu64 "  %-24s %-24s %-24s %5" PRIu64 "\n",
                   *name != '\0' ? name : "(not told)", count_of(row, "items"),
                   count_of(row, "answered"), escapes, overkill, prevalence,
                   count_of(row, "field_escapes"));
}

static void print_rows(tl_text *out, const tl_json *r)
{
    const char *by = tl_json_get_text(r, "by", "all");
    if (strcmp(by, "all") == 0) return;
    tl_text_printf(out, "\n%s%-14s %8s %8s  %-24s %-24s %-24s %5s%s\n",
                   tl_style_on(stdout, TL_STYLE_BOLD), by, "items", "verdicts", "escapes, ppm",
                   "overkill, ppm", "prevalence, ppm", "field", tl_style_off(stdout));
    const tl_json *row = tl_json_first(tl_json_get(r, "rows"));
    for (; row != NULL; row = row->next) print_row(out, row);
    if (count_of(r, "rows_left_out") > 0)
        tl_text_printf(out, "(only the first %d that came have rows)\n", TL_REPORT_ROW_COUNT_MAX);
}

/* A line of numbers is packed: taken out as floats, which is enough to show them. */
static void print_confusion(tl_text *out, const tl_json *r)
{
    float numbers[TL_CLASS_COUNT_MAX * TL_CLASS_COUNT_MAX];
    const tl_json *classes = tl_json_get(r, "classes"), *matrix = tl_json_get(r, "confusion");
    size_t count = tl_json_count(classes), cells = 0;
    if (!tl_json_count_numbers(matrix, &cells) || cells != count * count ||
        cells > TL_COUNT_OF(numbers) || count_of(r, "answered") == 0)
        return;
    tl_json_copy_floats(matrix, numbers, cells);
    tl_text_printf(
        out, "\n%sItems, estimated; rows: what they were, columns: what was answered%s\n%-14s",
        tl_style_on(stdout, TL_STYLE_BOLD), tl_style_off(stdout), "");
    const char *name;
    for (const tl_json *c = tl_json_first(classes); c != NULL; c = c->next)
        tl_text_printf(out, " %10.10s", tl_json_text(c, &name) ? name : "?");
    size_t at = 0;
    for (const tl_json *c = tl_json_first(classes); c != NULL; c = c->next) {
        tl_text_printf(out, "\n%-14.14s", tl_json_text(c, &name) ? name : "?");
        for (size_t i = 0; i < count; i++) tl_text_printf(out, " %10.0f", (double)numbers[at++]);
    }
    tl_text_puts(out, "\n");
}

/* ---- Asking ------------------------------------------------------------------------------------ */

static int64_t since_us(void)
{
    return values.days == 0 ? 0 : ((int64_t)time(NULL) - (int64_t)values.days * 86400) * 1000000;
}

/* The answer is JSON either way, so that both look the same. */
static tl_status report_here(tl_text *json, tl_error *err)
{
    char path[TL_CLI_PATH_BYTES];
    tl_journal_reader *reader = NULL;
    tl_report *report = NULL;
    tl_cli_loop loop;
    tl_report_options wanted = { .since_us = since_us(), .field_source = values.field };
    tl_arena arena;
    tl_arena_init(&arena, 16 << 20);
    tl_status status = tl_report_by_parse(values.by, &wanted.by, err);
    if (status == TL_OK) status = tl_cli_journal_path(where.journal, where.config, path, err);
    if (status == TL_OK) status = tl_journal_reader_open_path(path, &reader, err);
    if (status == TL_OK) status = tl_cli_journal_loop(reader, where.loop, &arena, &loop, err);
    if (status == TL_OK) status = tl_report_make(reader, loop.number, &wanted, &report, err);
    if (status == TL_OK) {
        tl_json_writer w;
        tl_json_begin(&w, json);
        tl_report_write(&w, loop.name, report, wanted.by);
    }
    tl_report_destroy(&report);
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    return status;
}

static tl_status report_there(tl_text *json, tl_error *err)
{
    tl_target *target;
    tl_target_answer answer;
    char query[160] = "";
    size_t plain =
        strspn(values.field, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");
    if (values.field[plain] != '\0' || plain >= TL_TEXT_BYTES_MAX)
        return tl_fail(err, TL_EINVAL,
                       "--field takes letters, digits, '-', '.' and '_' with --url");
    snprintf(query, sizeof query, "&field=%s&since=%" PRId64, values.field, since_us() / 1000000);
    tl_status status = tl_target_open(&where, false, &target, err);
    if (status != TL_OK) return status;
    status = tl_target_report(target, values.by, query, &answer, err);
    if (status == TL_OK) tl_text_append(json, answer.text, answer.bytes);
    tl_target_close(&target);
    return status;
}

/* The corrected figures become the last member of the document. */
static void add_corrected(tl_text *json, const tl_corrected *corrected)
{
    tl_json_writer w;
    tl_text own;
    tl_text_init(&own, 1 << 16);
    tl_json_begin(&w, &own);
    tl_corrected_write(&w, corrected);
    size_t end = json->bytes;
    while (end > 0 && json->data[end - 1] != '}') end--;
    json->bytes = end > 0 ? end - 1 : 0;
    tl_text_printf(json, ",\"corrected\":%s}", own.data);
    tl_text_destroy(&own);
}

static void print_people(const tl_json *r, const tl_corrected *corrected, tl_text *out)
{
    print_all(out, r);
    if (corrected != NULL) tl_corrected_print(out, corrected);
    print_rows(out, r);
    print_confusion(out, r);
}

/* From the answer, `json`, to what is printed: more of the same, or `out` for people. */
static tl_status finish(tl_text *json, tl_text *out, tl_error *err)
{
    tl_json_parser *parser = NULL;
    tl_arena arena;
    tl_corrected corrected;
    const tl_json *r = NULL;
    tl_arena_init(&arena, 64 << 20);
    tl_status status = tl_json_parser_create(NULL, &parser, err);
    if (status == TL_OK) status = tl_json_parse(parser, json->data, json->bytes, &arena, &r, err);
    if (status == TL_OK && values.study != NULL)
        status = tl_corrected_read(r, values.study, values.good, &corrected, err);
    if (status == TL_OK && !values.json)
        print_people(r, values.study != NULL ? &corrected : NULL, out);
    if (status == TL_OK && values.json && values.study != NULL) add_corrected(json, &corrected);
    tl_json_parser_destroy(&parser);
    tl_arena_destroy(&arena);
    return status;
}

static int run_report(const tl_arguments *arguments)
{
    (void)arguments;
    tl_text json, text;
    tl_error err;
    tl_text_init(&json, 16 << 20);
    tl_text_init(&text, 16 << 20);
    tl_status status = where.url != NULL ? report_there(&json, &err) : report_here(&json, &err);
    if (status == TL_OK) status = finish(&json, &text, &err);
    int code = TL_EXIT_OK;
    if (status != TL_OK)
        code = tl_command_fail(&tl_command_report, &err);
    else if (values.json)
        code = tl_command_print(&tl_command_report, &json);
    else
        fputs(text.data, stdout);
    tl_text_destroy(&json);
    tl_text_destroy(&text);
    return code;
}

const tl_command tl_command_report = {
    .name = "report",
    .summary = "escapes and overkill in parts per million, with intervals",
    .details =
        "Reads the journal, also while a server has it open, and tells how many defects passed "
        "(escapes), how many good items were flagged (overkill), and how common defects are: "
        "estimates for all items from those that were put up for review, each weighted with the "
        "probability that was logged for it, with 95 % intervals that hold however often they are "
        "looked at. The figures are against operators: as right as those who gave the verdicts; "
        "--study corrects for that.\n\n"
        "Feedback of the source \"field\", weeks later, is counted by itself: defects that had "
        "passed are escapes found in the field.",
    .example = "tightloop report --journal tightloop-journal --by line\n"
               "tightloop report --url http://127.0.0.1:8080 --by class --days 7",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run_report,
};

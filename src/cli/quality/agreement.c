/* agreement.c - `tightloop agreement`: how far the people agree, with the truth and each other. */
#include "cli/journal.h"
#include "cli/quality/study.h"
#include "cli/terminal/terminal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    const char *table, *good, *journal, *config, *loop;
    bool json;
} values = { .good = "ok" };

static const tl_option options[] = {
    { "table", 't', TL_OPTION_FILE, "FILE",
      "A CSV file with the columns part, known, operator, trial, verdict.", &values.table, 0, 0 },
    { "good", 'g', TL_OPTION_TEXT, "CLASS", "What a good part is called in the table.",
      &values.good, 0, 0 },
    { "journal", 'j', TL_OPTION_FOLDER, "DIR",
      "Without a table: the golden items and the blind repeats of this journal.", &values.journal,
      0, 0 },
    { "config", 'c', TL_OPTION_FILE, "FILE",
      "The configuration that names the journal. [tightloop.yaml]", &values.config, 0, 0 },
    { "loop", 'l', TL_OPTION_TEXT, "NAME", "Which loop, when there are several.", &values.loop, 0,
      0 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &values.json, 0, 0 },
};

/* ---- JSON -------------------------------------------------------------------------------------- */

static void write_interval(tl_json_writer *w, tl_interval interval)
{
    tl_json_key(w, "low");
    tl_json_double(w, interval.low);
    tl_json_key(w, "high");
    tl_json_double(w, interval.high);
}

static void write_share(tl_json_writer *w, const char *key, const tl_people_share *share)
{
    tl_json_key(w, key);
    tl_json_object(w);
    tl_json_key(w, "value");
    tl_json_double(w, share->share);
    write_interval(w, share->interval);
    tl_json_key(w, "hits");
    tl_json_uint(w, share->hits);
    tl_json_key(w, "count");
    tl_json_uint(w, share->count);
    tl_json_object_end(w);
}

static void write_kappa(tl_json_writer *w, const char *key, const tl_people_kappa *kappa)
{
    if (key != NULL) tl_json_key(w, key);
    tl_json_object(w);
    tl_json_key(w, "kappa");
    tl_json_double(w, kappa->kappa);
    write_interval(w, kappa->interval);
    tl_json_object_end(w);
}

static void write_operator(tl_json_writer *w, const char *name, const tl_people_operator *o)
{
    tl_json_object(w);
    tl_json_put_text(w, "operator", name);
    write_share(w, "repeatable", &o->repeatable);
    write_share(w, "right", &o->right);
    write_share(w, "misses", &o->misses);
    write_share(w, "false_alarms", &o->false_alarms);
    write_share(w, "wrong_class", &o->wrong_class);
    write_kappa(w, "kappa_to_known", &o->to_known);
    write_kappa(w, "kappa_to_itself", &o->to_itself);
    tl_json_put_text(w, "verdict", tl_people_verdict_text(o->verdict));
    tl_json_put_text(w, "words", o->words);
    tl_json_object_end(w);
}

static void write_json(const tl_study *study, const tl_people_result *r, tl_text *out)
{
    tl_json_writer w;
    tl_json_begin(&w, out);
    tl_json_object(&w);
    tl_json_key(&w, "parts");
    tl_json_uint(&w, r->parts);
    tl_json_key(&w, "trials");
    tl_json_uint(&w, r->trials);
    tl_json_key(&w, "operators");
    tl_json_array(&w);
    for (size_t i = 0; i < r->operators; i++)
        write_operator(&w, study->operator_names[i], &r->each[i]);
    tl_json_array_end(&w);
    tl_json_key(&w, "pairs");
    tl_json_array(&w);
    for (size_t i = 0; i < r->operators; i++) {
        tl_json_array(&w);
        for (size_t j = 0; j < r->operators; j++) write_kappa(&w, NULL, &r->pair[i][j]);
        tl_json_array_end(&w);
    }
    tl_json_array_end(&w);
    write_share(&w, "all_agree", &r->all_agree);
    write_share(&w, "all_right", &r->all_right);
    write_share(&w, "found", &r->found);
    write_share(&w, "passed", &r->passed);
    write_kappa(&w, "kappa_between", &r->between);
    write_kappa(&w, "kappa_to_known", &r->to_known);
    tl_json_put_text(&w, "verdict", tl_people_verdict_text(r->verdict));
    tl_json_put_text(&w, "words", r->words);
    tl_json_object_end(&w);
    tl_text_puts(out, "\n");
}

/* ---- For people -------------------------------------------------------------------------------- */

static void share_cell(const tl_people_share *s, char out[64])
{
    if (s->count == 0)
        snprintf(out, 64, "-");
    else
        snprintf(out, 64, "%llu of %llu, %.1f %% (%.1f-%.1f)", (unsigned long long)s->hits,
                 (unsigned long long)s->count, 100.0 * s->share, 100.0 * s->interval.low,
                 100.0 * s->interval.high);
}

static void kappa_cell(const tl_people_kappa *k, char out[48])
{
    if (isnan(k->kappa))
        snprintf(out, 48, "-");
    else
        snprintf(out, 48, "%.3f (%.2f-%.2f)", k->kappa, k->interval.low, k->interval.high);
}

static void head(tl_text *out, const char *title, const char *second, const char *third)
{
    tl_text_printf(out, "\n%s%s%s\n%-16s %-34s %-34s %s\n", tl_style_on(stdout, TL_STYLE_BOLD),
                   title, tl_style_off(stdout), "operator", second, third, "kappa");
}

static void print_within(const tl_study *study, const tl_people_result *r, tl_text *out)
{
    char parts[64], right[64], misses[64], alarms[64], kappa[48];
    head(out, "Within operators", "parts with all trials alike", "");
    for (size_t i = 0; i < r->operators; i++) {
        share_cell(&r->each[i].repeatable, parts);
        kappa_cell(&r->each[i].to_itself, kappa);
        tl_text_printf(out, "%-16.16s %-34s %-34s %s\n", study->operator_names[i], parts, "",
                       kappa);
    }
    head(out, "Each operator against what is known", "parts always right (effectiveness)",
         "verdict");
    for (size_t i = 0; i < r->operators; i++) {
        share_cell(&r->each[i].right, right);
        kappa_cell(&r->each[i].to_known, kappa);
        tl_text_printf(out, "%-16.16s %-34s %-34s %s\n", study->operator_names[i], right,
                       tl_people_verdict_text(r->each[i].verdict), kappa);
    }
    tl_text_printf(out, "%-16s %-34s %-34s\n", "", "misses: defects called good",
                   "false alarms: good ones called defect");
    for (size_t i = 0; i < r->operators; i++) {
        share_cell(&r->each[i].misses, misses);
        share_cell(&r->each[i].false_alarms, alarms);
        tl_text_printf(out, "%-16.16s %-34s %-34s\n", study->operator_names[i], misses, alarms);
    }
}

static void print_pairs(const tl_study *study, const tl_people_result *r, tl_text *out)
{
    char kappa[48];
    for (size_t i = 0; i < r->operators; i++)
        for (size_t j = i + 1; j < r->operators; j++) {
            kappa_cell(&r->pair[i][j], kappa);
            tl_text_printf(out, "  %.16s and %.16s: kappa %s\n", study->operator_names[i],
                           study->operator_names[j], kappa);
        }
}

static void print_text(const tl_study *study, const tl_people_result *r, tl_text *out)
{
    char share[64], kappa[48];
    tl_text_printf(out,
                   "Attribute agreement: %zu parts, %zu operators, up to %zu trials each; 95 %% "
                   "intervals in brackets\n",
                   r->parts, r->operators, r->trials);
    print_within(study, r, out);
    tl_text_printf(out, "\n%sBetween operators%s\n", tl_style_on(stdout, TL_STYLE_BOLD),
                   tl_style_off(stdout));
    share_cell(&r->all_agree, share);
    kappa_cell(&r->between, kappa);
    tl_text_printf(out, "  all agree in all trials: %s; kappa (Fleiss) %s\n", share, kappa);
    print_pairs(study, r, out);
    tl_text_printf(out, "\n%sAll operators against what is known%s\n",
                   tl_style_on(stdout, TL_STYLE_BOLD), tl_style_off(stdout));
    share_cell(&r->all_right, share);
    kappa_cell(&r->to_known, kappa);
    tl_text_printf(out, "  all right in all trials: %s; kappa %s\n", share, kappa);
    share_cell(&r->found, share);
    tl_text_printf(out, "  defects found: %s\n", share);
    share_cell(&r->passed, share);
    tl_text_printf(out, "  good ones passed: %s\n\n", share);
    for (size_t i = 0; i < r->operators; i++)
        tl_text_printf(out, "%.40s: %s\n", study->operator_names[i], r->each[i].words);
    tl_text_printf(out, "All: %s\n", r->words);
}

/* ---- The command ------------------------------------------------------------------------------- */

static tl_status read_journal(tl_study *study, tl_error *err)
{
    char path[TL_CLI_PATH_BYTES];
    tl_journal_reader *reader = NULL;
    tl_cli_loop loop;
    tl_arena arena;
    tl_arena_init(&arena, 16 << 20);
    tl_status status = tl_cli_journal_path(values.journal, values.config, path, err);
    if (status == TL_OK) status = tl_journal_reader_open_path(path, &reader, err);
    if (status == TL_OK) status = tl_cli_journal_loop(reader, values.loop, &arena, &loop, err);
    if (status == TL_OK)
        status = tl_study_read_journal(reader, loop.number, loop.config, study, err);
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    return status;
}

static int run_agreement(const tl_arguments *arguments)
{
    (void)arguments;
    tl_study study = { 0 };
    tl_people_result *result = NULL;
    tl_error err;
    tl_status status = values.table != NULL
                           ? tl_study_read_table(values.table, values.good, &study, &err)
                           : read_journal(&study, &err);
    if (status == TL_OK) status = tl_study_judge(&study, &result, &err);
    int code = TL_EXIT_OK;
    if (status == TL_OK) {
        tl_text text;
        tl_text_init(&text, 16 << 20);
        if (values.json)
            write_json(&study, result, &text);
        else
            print_text(&study, result, &text);
        fwrite(text.data, 1, text.bytes, stdout);
        tl_text_destroy(&text);
    } else {
        code = tl_command_fail(&tl_command_agreement, &err);
    }
    free(result);
    tl_study_free(&study);
    return code;
}

const tl_command tl_command_agreement = {
    .name = "agreement",
    .summary = "how far the people agree, with what is known and with each other",
    .details =
        "An attribute agreement study: parts whose class is known, judged blindly by several "
        "operators, several times. Tells how well each repeats itself, how often each misses a "
        "defect or gives a false alarm, and kappa within, between and against what is known. "
        "Usual: 50 parts, a third to a half of them defects, 3 operators, 3 trials.\n\n"
        "From a table with --table, or from a journal: golden items that were put before people "
        "again, and the blind repeats of reviews (review.repeats), whose feedback came under their "
        "names. Of repeats nothing is known but what people said, so they tell how people repeat "
        "themselves and agree, not whether they are right. 'tightloop report --study FILE' "
        "corrects "
        "its figures for what the study found.",
    .example = "tightloop agreement --table study.csv\n"
               "tightloop agreement --journal tightloop-journal --json",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run_agreement,
};

/* replay.c - `tightloop replay`: a data set through the loop, or a journal against itself. */
#include "loop/replay.h"
#include "cli/command.h"
#include "cli/data/stream.h"
#include "cli/folder.h"
#include "cli/gate/whatif.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/terminal.h"
#include "journal/journal.h"
#include "stats/interval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TABLE_EVERY_LABELS = 500, PREVALENCE_PER_MILLE = 8 };

static struct {
    const char *data, *order, *holdout, *journal, *loop, *model, *normalisation, *what_if;
    bool verify, json;
    uint64_t seed, limit, delay, replay, side;
} values = { .order = "site", .seed = 1 };

static const tl_option options[] = {
    { "data", 'd', TL_OPTION_FOLDER, "DIR",
      "A stream of labelled patches, or a folder with one sub-folder of images a class.",
      &values.data, 0, 0 },
    { "order", 'o', TL_OPTION_TEXT, "NAME", "Which order of the data.", &values.order, 0, 0 },
    { "holdout", 0, TL_OPTION_FOLDER, "DIR",
      "Judge on these images; without it, on those whose name's hash is 0 modulo 10, which are "
      "kept out of the stream.",
      &values.holdout, 0, 0 },
    { "delay", 0, TL_OPTION_WHOLE, "N", "Labels come N items late.", &values.delay, 0, 1000000 },
    { "limit", 'n', TL_OPTION_WHOLE, "N", "Stop after N items; 0: all.", &values.limit, 0, 1e9 },
    { "replay", 0, TL_OPTION_WHOLE, "N", "Images replayed for each label; 0: the default.",
      &values.replay, 0, 511 },
    { "seed", 0, TL_OPTION_WHOLE, "N", "Seed of the first weights and of sampling.", &values.seed,
      0, 4294967295.0 },
    { "model", 'm', TL_OPTION_FILE, "FILE",
      "With --data: an ONNX model to start from, or a built-in network's name.", &values.model, 0,
      0 },
    { "normalisation", 0, TL_OPTION_TEXT, "HOW",
      "How pixels become the model's numbers, as for init.", &values.normalisation, 0, 0 },
    { "side", 0, TL_OPTION_WHOLE, "N", "Scale images to N x N; 0: as they are, or as the model is.",
      &values.side, 0, TL_IMAGE_SIDE_MAX },
    { "verify", 'v', TL_OPTION_FLAG, NULL,
      "Rebuild the state of --journal from its events and compare digests.", &values.verify, 0, 0 },
    { "what-if", 0, TL_OPTION_TEXT, "KEY=VALUE,...",
      "What the gate would have said of --journal under other rules: knobs of the sections gate "
      "and "
      "evidence of the configuration.",
      &values.what_if, 0, 0 },
    { "journal", 'j', TL_OPTION_FOLDER, "DIR",
      "With --verify or --what-if: the journal to read. With --data: keep the journal in this new "
      "folder.",
      &values.journal, 0, 0 },
    { "loop", 'l', TL_OPTION_TEXT, "NAME", "With --verify: only this loop. With --what-if: which.",
      &values.loop, 0, 0 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &values.json, 0, 0 },
};

/* ---- A data set ------------------------------------------------------------------------------ */

static void print_share(const char *end, uint64_t hits, uint64_t count)
{
    tl_interval i = tl_interval_wilson(hits, count, 0.95);
    double value = count == 0 ? 0.0 : (double)hits / (double)count;
    printf("%6.4f [%.3f, %.3f] %5llu%s", value, i.low, i.high, (unsigned long long)count, end);
}

static void print_counts(const tl_stream_counts *c)
{
    print_share("  ", c->flagged_defects, c->flagged);
    print_share("  ", c->flagged_defects, c->defects);
    print_share("\n", c->correct, c->items);
}

static void show_point(void *context, const tl_stream_point *point)
{
    tl_progress_end(context);
    printf("%7llu  ", (unsigned long long)point->labels);
    print_counts(&point->window);
    fflush(stdout);
}

static void show_progress(void *context, uint64_t done, uint64_t total)
{
    tl_progress_show(context, done, total);
}

static void write_share(tl_json_writer *w, const char *key, uint64_t hits, uint64_t count)
{
    tl_interval i = tl_interval_wilson(hits, count, 0.95);
    tl_json_key(w, key), tl_json_object(w);
    tl_json_key(w, "value"), tl_json_double(w, count == 0 ? 0.0 : (double)hits / (double)count);
    tl_json_key(w, "low"), tl_json_double(w, i.low);
    tl_json_key(w, "high"), tl_json_double(w, i.high);
    tl_json_key(w, "hits"), tl_json_uint(w, hits);
    tl_json_key(w, "count"), tl_json_uint(w, count);
    tl_json_object_end(w);
}

static void write_counts(tl_json_writer *w, const char *key, const tl_stream_counts *c)
{
    tl_json_key(w, key), tl_json_object(w);
    write_share(w, "precision", c->flagged_defects, c->flagged);
    write_share(w, "recall", c->flagged_defects, c->defects);
    write_share(w, "accuracy", c->correct, c->items);
    tl_json_object_end(w);
}

static int print_json(const tl_stream_result *r)
{
    tl_text text;
    tl_text_init(&text, 1 << 16);
    tl_json_writer w;
    tl_json_begin(&w, &text);
    tl_json_object(&w);
    tl_json_key(&w, "items"), tl_json_uint(&w, r->items);
    tl_json_key(&w, "labels"), tl_json_uint(&w, r->labels);
    tl_json_key(&w, "labels_needed");
    r->labels_needed == 0 ? tl_json_null(&w) : tl_json_uint(&w, r->labels_needed);
    tl_json_key(&w, "versions"), tl_json_uint(&w, r->versions);
    tl_json_key(&w, "cpu_s"), tl_json_double(&w, r->cpu_s);
    tl_json_key(&w, "wall_s"), tl_json_double(&w, r->wall_s);
    write_counts(&w, "stream", &r->all);
    write_counts(&w, "last_window", &r->window);
    write_counts(&w, "kept_out", &r->judged);
    tl_json_object_end(&w);
    int code = tl_command_print(&tl_command_replay, &text);
    tl_text_destroy(&text);
    return code;
}

static void print_summary(const tl_stream_result *r, const tl_stream_options *o)
{
    double prevalence = PREVALENCE_PER_MILLE / 1000.0;
    printf("\nKept-out images, never learned from (precision, recall, accuracy over all classes; "
           "95 %% "
           "intervals, counts):\n         ");
    print_counts(&r->judged);
    printf(
        "At a prevalence of %.1f %% that is %.0f false rejects and %.0f misses a million items.\n",
        100 * prevalence, tl_stream_false_rejects_ppm(&r->judged, prevalence),
        tl_stream_misses_ppm(&r->judged, prevalence));
    if (r->labels_needed > 0)
        printf(
            "Precision above %.1f %% at recall above %.0f %% after %llu labels, and for the next "
            "%u items.\n",
            100 * o->precision, 100 * o->recall, (unsigned long long)r->labels_needed,
            o->sustain_items);
    else
        printf("Precision above %.1f %% at recall above %.0f %% was not held for %u items.\n",
               100 * o->precision, 100 * o->recall, o->sustain_items);
    printf("%llu items, %llu labels, %llu versions published, %.1f s of processor time.\n",
           (unsigned long long)r->items, (unsigned long long)r->labels,
           (unsigned long long)r->versions, r->cpu_s);
}

static int run_data(void)
{
    tl_error err = { 0 };
    char folder[] = "/tmp/tightloop-replay-XXXXXX";
    bool temporary = values.journal == NULL;
    if (temporary && mkdtemp(folder) == NULL) {
        tl_fail(&err, TL_EIO, "cannot make a temporary folder; give one with --journal");
        return tl_command_fail(&tl_command_replay, &err);
    }
    if (!temporary && access(values.journal, F_OK) == 0) {
        tl_fail(&err, TL_ECONFLICT, "%s is there already; give a new folder", values.journal);
        return tl_command_fail(&tl_command_replay, &err);
    }
    tl_progress progress;
    tl_stream_options o = tl_stream_options_default();
    o.data = values.data;
    o.order = values.order;
    o.holdout = values.holdout;
    o.journal = temporary ? folder : values.journal;
    o.delay_items = values.delay;
    o.limit_items = values.limit;
    o.seed = values.seed;
    o.replay_per_label = (uint32_t)values.replay;
    o.model = values.model;
    o.normalisation = values.normalisation;
    o.side = (uint32_t)values.side;
    o.judge_every_labels = TABLE_EVERY_LABELS;
    o.on_point = values.json ? NULL : show_point;
    o.on_progress = show_progress;
    o.context = &progress;
    if (!values.json)
        printf(" labels  precision of the last 1,000     recall of the last 1,000        accuracy "
               "over "
               "all classes\n");
    tl_progress_begin(&progress, "Replaying");
    tl_stream_result result;
    tl_status status = tl_stream_run(&o, &result, &err);
    tl_progress_end(&progress);
    if (temporary) tl_folder_remove(folder);
    if (status != TL_OK) return tl_command_fail(&tl_command_replay, &err);
    if (values.json) return print_json(&result);
    print_summary(&result, &o);
    return TL_EXIT_OK;
}

/* ---- A journal ------------------------------------------------------------------------------- */

static void write_report(tl_json_writer *w, const char *name, const tl_verify_report *r)
{
    char digest[17];
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)r->digest);
    tl_json_object(w);
    tl_json_key(w, "loop"), tl_json_string(w, name);
    tl_json_key(w, "events"), tl_json_uint(w, r->events);
    tl_json_key(w, "labels"), tl_json_uint(w, r->labels);
    tl_json_key(w, "judgements"), tl_json_uint(w, r->judgements);
    tl_json_key(w, "checkpoints"), tl_json_uint(w, r->checkpoints);
    tl_json_key(w, "position"), tl_json_uint(w, r->position);
    tl_json_key(w, "digest"), tl_json_string(w, digest);
    tl_json_key(w, "mismatches"), tl_json_uint(w, r->mismatches);
    tl_json_key(w, "first_mismatch"),
        tl_json_string(w, r->mismatches > 0 ? r->first_mismatch : NULL);
    tl_json_object_end(w);
}

static void print_report(const char *name, const tl_verify_report *r)
{
    printf(
        "%s: %llu events, %llu labels, %llu versions and refusals trained again, %llu checkpoints "
        "compared\n",
        name, (unsigned long long)r->events, (unsigned long long)r->labels,
        (unsigned long long)r->judgements, (unsigned long long)r->checkpoints);
    if (r->mismatches == 0)
        printf("  the same, bit for bit; digest %016llx at position %llu\n",
               (unsigned long long)r->digest, (unsigned long long)r->position);
    else
        printf("  %llu differences; the first: %s\n", (unsigned long long)r->mismatches,
               r->first_mismatch);
}

static tl_status verify_loop(const char *name, tl_json_writer *w, bool *damaged, tl_error *err)
{
    tl_progress progress;
    tl_verify_report report;
    tl_verify_options o = {
        .path = values.journal, .loop = name, .progress = show_progress, .context = &progress
    };
    tl_progress_begin(&progress, "Verifying");
    tl_status status = tl_replay_verify(&o, &report, err);
    tl_progress_end(&progress);
    if (status != TL_OK) return status;
    *damaged = *damaged || report.mismatches > 0;
    values.json ? write_report(w, name, &report) : print_report(name, &report);
    return TL_OK;
}

static tl_status verify_all(tl_journal_reader *reader, tl_json_writer *w, bool *damaged,
                            tl_error *err)
{
    bool any = false;
    tl_arena arena;
    tl_arena_init(&arena, 1 << 20);
    tl_status status = TL_OK;
    for (uint32_t number = 1; status == TL_OK; number++) {
        const char *name, *config;
        status = tl_journal_loop_info(reader, number, &arena, &name, &config, err);
        if (status != TL_OK) break;
        if (values.loop != NULL && strcmp(name, values.loop) != 0) continue;
        any = true;
        status = verify_loop(name, w, damaged, err);
    }
    tl_arena_destroy(&arena);
    if (status == TL_ENOTFOUND && any) return TL_OK;
    return status == TL_ENOTFOUND ? tl_fail(err, status, "no such loop in this journal") : status;
}

static int run_verify(void)
{
    tl_error err = { 0 };
    bool damaged = false;
    tl_text text;
    tl_text_init(&text, 1 << 20);
    tl_json_writer w;
    tl_json_begin(&w, &text);
    tl_json_array(&w);
    tl_journal_reader *reader = NULL;
    tl_status status = tl_journal_reader_open_path(values.journal, &reader, &err);
    if (status == TL_OK) status = verify_all(reader, &w, &damaged, &err);
    tl_journal_reader_close(&reader);
    tl_json_array_end(&w);
    int code = damaged ? TL_EXIT_DAMAGE : TL_EXIT_OK;
    if (status != TL_OK)
        code = tl_command_fail(&tl_command_replay, &err);
    else if (values.json && tl_command_print(&tl_command_replay, &text) != TL_EXIT_OK)
        code = TL_EXIT_FAILURE;
    tl_text_destroy(&text);
    return code;
}

static int run(const tl_arguments *arguments)
{
    (void)arguments;
    tl_error err;
    if (values.verify + (values.data != NULL) + (values.what_if != NULL) != 1) {
        tl_fail(&err, TL_EINVAL,
                "want either --data DIR or --verify --journal DIR, or --what-if KEY=VALUE");
        return tl_command_misuse(&tl_command_replay, &err);
    }
    if (values.verify && values.journal == NULL) {
        tl_fail(&err, TL_EINVAL, "--verify wants --journal DIR");
        return tl_command_misuse(&tl_command_replay, &err);
    }
    if (values.what_if != NULL)
        return tl_cli_whatif(&tl_command_replay, values.what_if, values.journal, NULL, values.loop,
                             values.json);
    return values.verify ? run_verify() : run_data();
}

const tl_command tl_command_replay = {
    .name = "replay",
    .summary = "run labelled data through a loop, verify a journal, or ask it 'what if'",
    .details =
        "With --data: the very code of the server predicts each item before its label is learned, "
        "and the curve and the labels needed are printed; then the images that were kept out are "
        "judged.\n\n"
        "With --verify: rebuilds the state from the events in a journal, trains again what was "
        "trained, and compares digests, bit for bit, on the same build and kind of machine.\n\n"
        "With --what-if: tells the gate under changed rules what is in the journal, predictions, "
        "what each policy in shadow decided, labels, and says of each verdict whether and when it "
        "would have come. What would have answered after another verdict it cannot tell: evidence "
        "ends where it ended then.",
    .example = "tightloop replay --data pcb-stream --order site\n"
               "tightloop replay --verify --journal tightloop-journal\n"
               "tightloop replay --what-if gate.alpha=0.01 --journal tightloop-journal",
    .exits = "3 a digest differs, or the journal is damaged",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run,
};

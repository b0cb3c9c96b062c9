/* record.c - `tightloop record`: the change record of each promotion and rollback. */
#include "cli/journal.h"
#include "cli/quality/changes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    const char *journal, *config, *loop;
    bool json;
} values;

static const tl_option options[] = {
    { "journal", 'j', TL_OPTION_FOLDER, "DIR", "Folder of the journal.", &values.journal, 0, 0 },
    { "config", 'c', TL_OPTION_FILE, "FILE",
      "The configuration that names the journal. [tightloop.yaml]", &values.config, 0, 0 },
    { "loop", 'l', TL_OPTION_TEXT, "NAME", "Which loop, when there are several.", &values.loop, 0,
      0 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &values.json, 0, 0 },
};

static void tell(const char *loop, const tl_change *changes, size_t count, uint64_t version,
                 tl_text *out)
{
    tl_json_writer w;
    size_t told = 0;
    if (values.json) {
        tl_json_begin(&w, out);
        tl_json_object(&w);
        tl_json_key(&w, "name");
        tl_json_string(&w, loop);
        tl_json_key(&w, "changes");
        tl_json_array(&w);
    }
    for (size_t i = 0; i < count; i++) {
        if (version != 0 && changes[i].version != version) continue;
        if (values.json) {
            tl_change_write(&w, &changes[i]);
        } else {
            if (told++ > 0) tl_text_puts(out, "\n");
            tl_change_print(out, &changes[i]);
        }
    }
    if (values.json) {
        tl_json_array_end(&w);
        tl_json_object_end(&w);
        tl_text_puts(out, "\n");
    } else if (told == 0) {
        tl_text_printf(out, "Loop %s: no such change.\n", loop);
    }
}

static tl_status record(uint64_t version, tl_text *out, tl_error *err)
{
    char path[TL_CLI_PATH_BYTES];
    tl_journal_reader *reader = NULL;
    tl_cli_loop loop;
    tl_change *changes = NULL;
    size_t count = 0;
    tl_arena arena;
    tl_arena_init(&arena, 16 << 20);
    tl_status status = tl_cli_journal_path(values.journal, values.config, path, err);
    if (status == TL_OK) status = tl_journal_reader_open_path(path, &reader, err);
    if (status == TL_OK) status = tl_cli_journal_loop(reader, values.loop, &arena, &loop, err);
    if (status == TL_OK) status = tl_changes_read(reader, loop.number, &changes, &count, err);
    if (status == TL_OK) tell(loop.name, changes, count, version, out);
    free(changes);
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    return status;
}

static int run_record(const tl_arguments *arguments)
{
    uint64_t version = 0;
    tl_error err;
    if (arguments->count == 1 &&
        tl_command_version_number(arguments->items[0], &version, &err) != TL_OK)
        return tl_command_misuse(&tl_command_record, &err);
    tl_text text;
    tl_text_init(&text, 64 << 20);
    int code = TL_EXIT_OK;
    tl_status status = record(version, &text, &err);
    if (status == TL_OK && !tl_text_ok(&text)) status = tl_fail(&err, TL_ENOMEM, "record");
    if (status != TL_OK)
        code = tl_command_fail(&tl_command_record, &err);
    else
        fwrite(text.data, 1, text.bytes, stdout);
    tl_text_destroy(&text);
    return code;
}

const tl_command tl_command_record = {
    .name = "record",
    .summary = "the change record: what went into service, when, why, and who approved it",
    .arguments = "[VERSION]",
    .argument_max = 1,
    .details =
        "Prints, in order, every change of what answers: promotions, rollbacks, what was taken "
        "back, freezing; each with the versions before and after, who approved it, the evidence in "
        "words, the thresholds in force on both sides, errors on the golden set, the labels seen "
        "and the build. For the quality file. Reads the journal, also while a server has it open.",
    .example = "tightloop record --journal tightloop-journal\n"
               "tightloop record 17 --journal tightloop-journal --json",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run_record,
};

/* care.c - `tightloop backup | export | doctor`: the journal's care. */
#include "cli/command.h"
#include "cli/commands/export.h"
#include "cli/journal.h"
#include "cli/target.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/terminal.h"
#include "journal/journal.h"
#include "loop/config.h"
#include "loop/version/export.h"
#include "networks/networks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct {
    const char *journal, *config, *loop, *to;
    tl_export_network network;
    uint64_t version;
    bool json;
} values = { .network.seed = 1 };

#define JOURNAL_OPTIONS                                                                            \
    { "journal", 'j', TL_OPTION_FOLDER, "DIR", "Folder of the journal.", &values.journal, 0, 0 },  \
    {                                                                                              \
        "config", 'c', TL_OPTION_FILE, "FILE",                                                     \
            "The configuration that names the journal. [tightloop.yaml]", &values.config, 0, 0     \
    }
#define JSON_OPTION                                                                                \
    {                                                                                              \
        "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &values.json, 0, 0                         \
    }

/* The journal's folder from the options. */
static tl_status find_journal(char path[TL_CLI_PATH_BYTES], tl_error *err)
{
    return tl_cli_journal_path(values.journal, values.config, path, err);
}

/* ---- backup ---------------------------------------------------------------------------------- */

static const tl_option backup_options[] = {
    JOURNAL_OPTIONS,
    { "to", 't', TL_OPTION_FILE, "FILE", "Where the copy goes; must not be there yet.", &values.to,
      0, 0 },
    JSON_OPTION,
};

static tl_status back_up(const char *path, tl_error *err)
{
    tl_journal *journal = NULL;
    tl_journal_options options = { .path = path, .read_only = true };
    tl_status status = tl_journal_open(&options, &journal, err);
    if (status == TL_OK) status = tl_journal_backup(journal, values.to, err);
    tl_journal_close(&journal);
    return status;
}

static int run_backup(const tl_arguments *arguments)
{
    (void)arguments;
    char path[TL_CLI_PATH_BYTES], size[32];
    tl_error err;
    struct stat st;
    if (values.to == NULL) {
        tl_fail(&err, TL_EINVAL, "--to FILE is missing");
        return tl_command_misuse(&tl_command_backup, &err);
    }
    if (find_journal(path, &err) != TL_OK || back_up(path, &err) != TL_OK)
        return tl_command_fail(&tl_command_backup, &err);
    if (stat(values.to, &st) != 0) st.st_size = 0;
    tl_human_bytes((double)st.st_size, size);
    if (values.json)
        printf("{\"backup\":true,\"bytes\":%lld}\n", (long long)st.st_size);
    else
        printf("Copied the journal to %s (%s).\n", values.to, size);
    return TL_EXIT_OK;
}

const tl_command tl_command_backup = {
    .name = "backup",
    .summary = "copy the journal, also while a server writes to it",
    .details =
        "Makes a consistent copy of the journal: predictions, feedback, images, versions. It "
        "may run while a server has the journal open. To restore, put the copy into an empty "
        "folder under the journal's file name.",
    .example = "tightloop backup --journal tightloop-journal --to friday.db",
    .options = backup_options,
    .option_count = TL_COUNT_OF(backup_options),
    .run = run_backup,
};

/* ---- export ---------------------------------------------------------------------------------- */

static const tl_option export_options[] = {
    JOURNAL_OPTIONS,
    { "loop", 'l', TL_OPTION_TEXT, "NAME", "Which loop, when there are several.", &values.loop, 0,
      0 },
    { "to", 't', TL_OPTION_FOLDER, "DIR", "Folder for labels.csv and images/; made when missing.",
      &values.to, 0, 0 },
    { "onnx", 'o', TL_OPTION_FILE, "FILE", "Write a network as an ONNX file instead.",
      &values.network.path, 0, 0 },
    { "version", 0, TL_OPTION_WHOLE, "N",
      "For --onnx: a version of the loop; 0: the champion, which a journal tells that no server "
      "has "
      "open.",
      &values.version, 0, 1e15 },
    { "model", 'm', TL_OPTION_TEXT, "NAME",
      "For --onnx: a built-in network instead of a loop's; see models.", &values.network.model, 0,
      0 },
    { "classes", 0, TL_OPTION_WHOLE, "N", "For --model: its classes; 0: its own number.",
      &values.network.classes, 0, TL_NETWORK_CLASSES_MAX },
    { "size", 0, TL_OPTION_WHOLE, "PIXELS", "For --model: height and width; 0: its own.",
      &values.network.size, 0, TL_NETWORK_SIDE_MAX },
    { "seed", 0, TL_OPTION_WHOLE, "N", "For --model: of the initial weights.", &values.network.seed,
      0, 4294967295.0 },
    { "trainable", 0, TL_OPTION_FLAG, NULL,
      "For --onnx: keep normalisation as layers of its own, to train on elsewhere.",
      &values.network.trainable, 0, 0 },
    JSON_OPTION,
};

static void show_progress(void *context, uint64_t done, uint64_t total)
{
    tl_progress_show(context, done, total);
}

/* The loop that is wanted, or the only one. *config is in the arena. */
static tl_status find_loop(tl_journal_reader *reader, tl_arena *arena, uint32_t *out,
                           const char **config, tl_error *err)
{
    tl_cli_loop loop;
    tl_status status = tl_cli_journal_loop(reader, values.loop, arena, &loop, err);
    if (status != TL_OK) return status;
    *out = loop.number;
    *config = loop.config;
    return TL_OK;
}

typedef struct class_list {
    char names[TL_CLASS_COUNT_MAX][TL_TEXT_BYTES_MAX];
    const char *pointers[TL_CLASS_COUNT_MAX];
    size_t count;
} class_list;

static void add_class(class_list *classes, const char *name)
{
    if (classes->count == TL_CLASS_COUNT_MAX || strlen(name) >= TL_TEXT_BYTES_MAX) return;
    for (size_t i = 0; i < classes->count; i++)
        if (strcmp(classes->names[i], name) == 0) return;
    strcpy(classes->names[classes->count], name);
    classes->pointers[classes->count] = classes->names[classes->count];
    classes->count++;
}

/* The classes at creation, and those that events added later. */
static tl_status read_classes(tl_journal_reader *reader, uint32_t loop, const char *config,
                              class_list *out, tl_error *err)
{
    tl_json_parser *parser = NULL;
    tl_arena arena;
    tl_arena_init(&arena, 256 << 20);
    tl_loop_config *recorded = malloc(sizeof *recorded);
    tl_status status = recorded == NULL ? tl_fail(err, TL_ENOMEM, "classes")
                                        : tl_loop_config_read(config, recorded, err);
    if (status == TL_OK) status = tl_json_parser_create(NULL, &parser, err);
    for (size_t i = 0; status == TL_OK && i < recorded->info.class_count; i++)
        add_class(out, recorded->info.classes[i]);
    uint64_t position = 0;
    tl_record record;
    while (status == TL_OK) {
        tl_arena_reset(&arena);
        status = tl_journal_next(reader, loop, position, &arena, &record, err);
        position = record.position;
        const tl_json *body;
        if (status != TL_OK || record.kind != TL_RECORD_EVENT ||
            strcmp(record.as.event.kind, "class") != 0)
            continue;
        const char *text = record.as.event.body;
        if (tl_json_parse(parser, text, strlen(text), &arena, &body, NULL) == TL_OK)
            add_class(out, tl_json_get_text(body, "name", ""));
    }
    tl_json_parser_destroy(&parser);
    tl_arena_destroy(&arena);
    free(recorded);
    return status == TL_ENOTFOUND ? TL_OK : status;
}

/* The version that answers. */
static tl_status find_champion(uint64_t *out, tl_error *err)
{
    const tl_target_options options = { .journal = values.journal,
                                        .config = values.config,
                                        .loop = values.loop };
    tl_target *target = NULL;
    tl_target_answer answer;
    double number = 0.0;
    tl_status status = tl_target_open(&options, false, &target, err);
    if (status == TL_OK) status = tl_target_state(target, &answer, err);
    if (status == TL_OK && !tl_json_number(tl_json_get(answer.json, "champion"), &number))
        status = tl_fail(err, TL_ENOTFOUND, "the loop has no champion");
    if (status == TL_OK) *out = (uint64_t)number;
    tl_target_close(&target);
    return status;
}

static tl_status export_version(const char *path, uint64_t version, tl_error *err)
{
    static class_list classes;
    tl_journal_reader *reader = NULL;
    tl_arena arena;
    uint32_t loop = 0;
    const char *text = NULL;
    tl_arena_init(&arena, 16 << 20);
    tl_loop_config *config = malloc(sizeof *config);
    tl_status status = config == NULL ? tl_fail(err, TL_ENOMEM, "a loop's description") : TL_OK;
    if (status == TL_OK) status = tl_journal_reader_open_path(path, &reader, err);
    if (status == TL_OK) status = find_loop(reader, &arena, &loop, &text, err);
    if (status == TL_OK) status = read_classes(reader, loop, text, &classes, err);
    if (status == TL_OK) status = tl_loop_config_read(text, config, err);
    const tl_version_export_options options = { .version = version,
                                                .classes = classes.pointers,
                                                .class_count = classes.count,
                                                .trainable = values.network.trainable };
    if (status == TL_OK)
        status = tl_version_export(reader, loop, config, &options, values.network.path, err);
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    free(config);
    return status;
}

static tl_status export_loop(const char *path, tl_error *err)
{
    static class_list classes;
    tl_journal_reader *reader = NULL;
    tl_arena arena;
    tl_progress progress;
    uint32_t loop = 0;
    const char *config = NULL;
    tl_arena_init(&arena, 16 << 20);
    tl_status status = tl_journal_reader_open_path(path, &reader, err);
    if (status == TL_OK) status = find_loop(reader, &arena, &loop, &config, err);
    if (status == TL_OK) status = read_classes(reader, loop, config, &classes, err);
    if (status == TL_OK) {
        tl_progress_begin(&progress, "Exporting");
        tl_export_options options = { .folder = values.to,
                                      .progress = show_progress,
                                      .context = &progress };
        status = tl_journal_export(reader, loop, classes.pointers, classes.count, &options, err);
        tl_progress_end(&progress);
    }
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    return status;
}

static tl_status export_network(tl_error *err)
{
    char path[TL_CLI_PATH_BYTES];
    if (values.network.model != NULL) return tl_export_network_file(&values.network, err);
    tl_status status = find_journal(path, err);
    uint64_t version = values.version;
    if (status == TL_OK && version == 0) status = find_champion(&version, err);
    return status == TL_OK ? export_version(path, version, err) : status;
}

static int run_export_network(void)
{
    tl_error err;
    if (export_network(&err) != TL_OK) return tl_command_fail(&tl_command_export, &err);
    if (values.json)
        printf("{\"exported\":true}\n");
    else
        printf("The network is in %s.\n", values.network.path);
    return TL_EXIT_OK;
}

static int run_export(const tl_arguments *arguments)
{
    (void)arguments;
    char path[TL_CLI_PATH_BYTES];
    tl_error err;
    if (values.network.path != NULL) return run_export_network();
    if (values.to == NULL) {
        tl_fail(&err, TL_EINVAL, "--to DIR is missing");
        return tl_command_misuse(&tl_command_export, &err);
    }
    if (find_journal(path, &err) != TL_OK || export_loop(path, &err) != TL_OK)
        return tl_command_fail(&tl_command_export, &err);
    if (values.json)
        printf("{\"exported\":true}\n");
    else
        printf("The labelled data is in %s: labels.csv, and each image once in images/.\n",
               values.to);
    return TL_EXIT_OK;
}

const tl_command tl_command_export = {
    .name = "export",
    .summary = "the labelled data as CSV and images, or a network as ONNX, for other tools",
    .details =
        "Writes labels.csv (id, time, site, line, part, board, lot, shift, image, reference, "
        "label, source, "
        "features) and every image once. It may run while a server has the journal open.\n\n"
        "With --onnx: the network of a loop's version, or a built-in one, as an ONNX file of "
        "any batch. docs/models.md says how its inputs and outputs look and how other tools "
        "take it.",
    .example = "tightloop export --journal tightloop-journal --to labelled\n"
               "tightloop export --journal tightloop-journal --onnx champion.onnx\n"
               "tightloop export --model efficientnet_lite0 --classes 7 --onnx network.onnx",
    .options = export_options,
    .option_count = TL_COUNT_OF(export_options),
    .run = run_export,
};

/* ---- doctor ---------------------------------------------------------------------------------- */

static const tl_option doctor_options[] = { JOURNAL_OPTIONS, JSON_OPTION };

typedef struct findings {
    tl_text text;
    tl_json_writer w;
} findings;

static void take_finding(void *context, int severity, const char *text)
{
    static const char *const names[] = { "fine", "notice", "damage" };
    static const tl_style styles[] = { TL_STYLE_GOOD, TL_STYLE_WARN, TL_STYLE_BAD };
    findings *f = context;
    int rank = severity < 0 ? 0 : severity > 2 ? 2 : severity;
    if (values.json) {
        tl_json_object(&f->w);
        tl_json_key(&f->w, "severity");
        tl_json_string(&f->w, names[rank]);
        tl_json_key(&f->w, "text");
        tl_json_string(&f->w, text);
        tl_json_object_end(&f->w);
        return;
    }
    printf("%s%-7s%s %s\n", tl_style_on(stdout, styles[rank]), names[rank], tl_style_off(stdout),
           text);
}

static int run_doctor(const tl_arguments *arguments)
{
    (void)arguments;
    char path[TL_CLI_PATH_BYTES];
    tl_error err;
    int worst = 0;
    findings f;
    if (find_journal(path, &err) != TL_OK) return tl_command_fail(&tl_command_doctor, &err);
    tl_text_init(&f.text, 16 << 20);
    tl_json_begin(&f.w, &f.text);
    tl_json_object(&f.w);
    tl_json_key(&f.w, "findings");
    tl_json_array(&f.w);
    tl_status status = tl_journal_doctor(path, take_finding, &f, &worst, &err);
    tl_json_array_end(&f.w);
    tl_json_key(&f.w, "damaged");
    tl_json_boolean(&f.w, worst >= 2 || status == TL_ECORRUPT);
    tl_json_object_end(&f.w);
    int code = worst >= 2 ? TL_EXIT_DAMAGE : TL_EXIT_OK;
    if (status != TL_OK)
        code = tl_command_fail(&tl_command_doctor, &err);
    else if (values.json)
        code = tl_command_print(&tl_command_doctor, &f.text) == TL_EXIT_OK ? code : TL_EXIT_FAILURE;
    else
        printf("%s\n", worst >= 2   ? "The journal is damaged. Nothing was changed."
                       : worst == 1 ? "The journal is sound; see the notices."
                                    : "The journal is sound.");
    tl_text_destroy(&f.text);
    return code;
}

const tl_command tl_command_doctor = {
    .name = "doctor",
    .summary = "check a journal and say in words what was found",
    .details =
        "Checks the journal's file, its records and how they belong together. Changes nothing. "
        "While a server has the journal open a lighter check is made.",
    .example = "tightloop doctor --journal tightloop-journal",
    .exits = "3 damage found",
    .options = doctor_options,
    .option_count = TL_COUNT_OF(doctor_options),
    .run = run_doctor,
};

#include "cli/command.h"

#include "cli/terminal/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char TL_CONFIG_NAME[TL_CONFIG_NAME_BYTES] = "tightloop.yaml";

enum { DOCUMENT_BYTES_MAX = 64 << 20 };

/* ---- The program ----------------------------------------------------------------------------- */

static const tl_command *const commands[] = {
    &tl_command_demo,     &tl_command_init,       &tl_command_serve,     &tl_command_status,
    &tl_command_versions, &tl_command_explain,    &tl_command_challenge, &tl_command_promote,
    &tl_command_rollback, &tl_command_learning,   &tl_command_freeze,    &tl_command_unfreeze,
    &tl_command_replay,   &tl_command_train,      &tl_command_models,    &tl_command_backup,
    &tl_command_review,   &tl_command_report,     &tl_command_record,    &tl_command_agreement,
    &tl_command_plan,     &tl_command_export,     &tl_command_doctor,    &tl_command_token,
    &tl_command_bench,    &tl_command_completion, &tl_command_version,   &tl_command_help,
};

const tl_command *tl_command_at(size_t index)
{
    return index < TL_COUNT_OF(commands) ? commands[index] : NULL;
}

const tl_command *tl_command_find(const char *name)
{
    for (size_t i = 0; i < TL_COUNT_OF(commands); i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

void tl_program_help(size_t columns, tl_text *out)
{
    tl_text_puts(out, "tightloop - a model that gets better while it works\n\n"
                      "Usage: tightloop COMMAND [OPTION]...\n\n");
    tl_wrap(out,
            "Serves predictions, keeps every one of them durably, joins the outcome when it "
            "arrives, learns from it, and puts what it learned into service: one process, one "
            "file. To see it at work: tightloop demo\n",
            0, 0, columns);
    tl_text_puts(out, "\nCommands:\n");
    for (size_t i = 0; i < TL_COUNT_OF(commands); i++) {
        tl_text_printf(out, "  %-12s", commands[i]->name);
        tl_wrap(out, commands[i]->summary, 14, 14, columns);
        tl_text_puts(out, "\n");
    }
    tl_text_puts(out, "\nEvery command explains itself: tightloop COMMAND --help\n");
}

static int run_unknown(const char *name)
{
    const char *names[TL_COUNT_OF(commands)];
    for (size_t i = 0; i < TL_COUNT_OF(commands); i++) names[i] = commands[i]->name;
    const char *nearest = tl_nearest(name, names, TL_COUNT_OF(commands));
    fprintf(stderr, "tightloop: there is no command \"%s\"", name);
    if (nearest != NULL) fprintf(stderr, "; did you mean \"%s\"?", nearest);
    fprintf(stderr, "\nSee 'tightloop help'.\n");
    return TL_EXIT_USAGE;
}

static int print_help(const tl_command *command)
{
    tl_text text;
    tl_text_init(&text, DOCUMENT_BYTES_MAX);
    size_t columns = tl_terminal_columns(stdout);
    if (columns > 100) columns = 100;
    tl_options_help(command, columns, &text);
    fputs(text.data, stdout);
    tl_text_destroy(&text);
    return TL_EXIT_OK;
}

int tl_program_run(int count, char *const *words)
{
    if (count < 2) {
        tl_text text;
        tl_text_init(&text, DOCUMENT_BYTES_MAX);
        tl_program_help(tl_terminal_columns(stderr), &text);
        fputs(text.data, stderr);
        tl_text_destroy(&text);
        return TL_EXIT_USAGE;
    }
    const char *name = words[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
    const tl_command *command = tl_command_find(name);
    if (command == NULL) return run_unknown(name);
    tl_arguments arguments;
    bool wants_help;
    tl_error err;
    if (tl_options_parse(command, count - 2, words + 2, &arguments, &wants_help, &err) != TL_OK)
        return tl_command_misuse(command, &err);
    if (wants_help) return print_help(command);
    return command->run(&arguments);
}

/* ---- Answers --------------------------------------------------------------------------------- */

int tl_command_fail(const tl_command *command, const tl_error *err)
{
    fprintf(stderr, "%stightloop %s:%s %s\n", tl_style_on(stderr, TL_STYLE_BAD), command->name,
            tl_style_off(stderr), err->text);
    return err->status == TL_ECORRUPT ? TL_EXIT_DAMAGE : TL_EXIT_FAILURE;
}

int tl_command_misuse(const tl_command *command, const tl_error *err)
{
    fprintf(stderr, "tightloop %s: %s\nSee 'tightloop %s --help'.\n", command->name, err->text,
            command->name);
    return TL_EXIT_USAGE;
}

tl_status tl_command_version_number(const char *text, uint64_t *out, tl_error *err)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value == 0)
        return tl_fail(err, TL_EINVAL, "VERSION is the number of a version, not \"%.40s\"", text);
    *out = value;
    return TL_OK;
}

int tl_command_print(const tl_command *command, tl_text *text)
{
    tl_error err;
    tl_text_puts(text, "\n");
    if (!tl_text_ok(text)) {
        tl_fail(&err, TL_ENOMEM, "not enough memory for the answer");
        return tl_command_fail(command, &err);
    }
    if (fwrite(text->data, 1, text->bytes, stdout) != text->bytes || fflush(stdout) != 0) {
        tl_fail(&err, TL_EIO, "cannot write to standard output");
        return tl_command_fail(command, &err);
    }
    return TL_EXIT_OK;
}

/* ---- Configuration --------------------------------------------------------------------------- */

tl_config_defaults tl_command_config_defaults(void)
{
    return (tl_config_defaults){ .runtime = tl_runtime_options_default(),
                                 .loop = tl_loop_options_default() };
}

tl_status tl_command_config(const char *path, const char *journal, bool optional, tl_config **out,
                            tl_error *err)
{
    tl_config_defaults defaults = tl_command_config_defaults();
    tl_status status;
    if (path == NULL && optional && access(TL_CONFIG_NAME, F_OK) != 0)
        status = tl_config_parse("", 0, "defaults", &defaults, out, err);
    else
        status = tl_config_load(path != NULL ? path : TL_CONFIG_NAME, &defaults, out, err);
    if (status == TL_ENOTFOUND && path == NULL)
        return tl_fail(err, status,
                       "no %s here; make one with 'tightloop init', or name yours "
                       "with --config",
                       TL_CONFIG_NAME);
    if (status == TL_OK && journal != NULL) (*out)->runtime.path = journal;
    return status;
}

/* ---- A running server ------------------------------------------------------------------------ */

tl_status tl_command_connect(const char *url, const char *token, tl_client **out, tl_error *err)
{
    char host[256];
    tl_client_options options = { .host = host,
                                  .token = token != NULL ? token : getenv("TIGHTLOOP_TOKEN") };
    tl_status status = tl_client_parse_url(url, host, &options.port, err);
    return status == TL_OK ? tl_client_open(&options, out, err) : status;
}

tl_status tl_command_pick_loop(tl_client *client, const char *wanted, char out[TL_TEXT_BYTES_MAX],
                               tl_error *err)
{
    tl_client_answer answer;
    if (wanted != NULL) {
        if (strlen(wanted) >= TL_TEXT_BYTES_MAX || strchr(wanted, '/') != NULL)
            return tl_fail(err, TL_EINVAL, "\"%.70s\" is no name of a loop", wanted);
        strcpy(out, wanted);
        return TL_OK;
    }
    tl_status status = tl_client_call(client, "POST", "/v2/repository/index", "{}", &answer, err);
    if (status != TL_OK) return status;
    const tl_json *first = tl_json_first(answer.json);
    const char *name = tl_json_get_text(first, "name", "");
    if (first == NULL) return tl_fail(err, TL_ENOTFOUND, "the server has no loops");
    if (first->next != NULL || strlen(name) >= TL_TEXT_BYTES_MAX)
        return tl_fail(err, TL_EINVAL, "the server has several loops; name one with --loop");
    strcpy(out, name);
    return TL_OK;
}

/* help.c - `tightloop help` and `tightloop version`. */
#include "cli/command.h"
#include "cli/terminal/terminal.h"

#include <string.h>

static bool help_markdown;

static const tl_option help_options[] = {
    { "markdown", 0, TL_OPTION_FLAG, NULL, "All pages in one document: docs/cli.md.",
      &help_markdown, 0, 0 },
};

static void put_markdown_option(const tl_option *option, tl_text *out)
{
    char fallback[TL_OPTION_DEFAULT_BYTES];
    tl_text_puts(out, "| `");
    if (option->letter != 0) tl_text_printf(out, "-%c, ", option->letter);
    tl_text_printf(out, "--%s", option->name);
    if (option->kind != TL_OPTION_FLAG) {
        tl_text_puts(out, " ");
        for (const char *at = option->value; *at != '\0'; at++)
            tl_text_printf(out, *at == '|' ? "\\%c" : "%c", *at);
    }
    tl_option_default(option, fallback);
    tl_text_printf(out, "` | %s%s |\n", option->help, fallback);
}

static void put_markdown_page(const tl_command *command, tl_text *out)
{
    tl_text_printf(out, "\n## %s\n\n%c%s.\n\n    tightloop %s", command->name,
                   command->summary[0] - 'a' + 'A', command->summary + 1, command->name);
    if (command->option_count > 0) tl_text_puts(out, " [OPTION]...");
    if (command->arguments != NULL) tl_text_printf(out, " %s", command->arguments);
    tl_text_printf(out, "\n\n%s\n", command->details);
    if (command->option_count > 0)
        tl_text_puts(out, "\n| option | meaning [default] |\n|---|---|\n");
    for (size_t i = 0; i < command->option_count; i++)
        put_markdown_option(&command->options[i], out);
    tl_text_puts(out, "\nExample:\n\n    ");
    for (const char *at = command->example; *at != '\0'; at++) {
        tl_text_append(out, at, 1);
        if (*at == '\n') tl_text_puts(out, "    ");
    }
    tl_text_puts(out, "\n");
    if (command->exits != NULL)
        tl_text_printf(out, "\nExit codes besides 0, 1, 2: %s.\n", command->exits);
}

static void put_markdown(tl_text *out)
{
    tl_text_puts(out,
                 "# The command line\n\n"
                 "This page is what `tightloop help --markdown` prints; a test holds it against "
                 "the program.\n\n"
                 "- Values follow as `--name value`, `--name=value`, `-n value`; `--` ends the "
                 "options. A wrong "
                 "option is answered with the nearest right one.\n"
                 "- Exit codes: 0 done, 1 failure, 2 wrong usage; more where a command says so. "
                 "What went wrong is "
                 "one line on standard error.\n"
                 "- `--json`: one JSON document on standard output, for machines.\n"
                 "- Long work shows a bar on standard error when that is a terminal. Colours only "
                 "on terminals; "
                 "`NO_COLOR` turns them off, `CLICOLOR_FORCE=1` on.\n"
                 "- `TIGHTLOOP_TOKEN`: the bearer token for `--url`, so that it need not be on the "
                 "command line.\n"
                 "- Shell completion: `source <(tightloop completion bash)`, see completion.\n\n"
                 "| command | what for |\n|---|---|\n");
    for (size_t i = 0; tl_command_at(i) != NULL; i++)
        tl_text_printf(out, "| [%s](#%s) | %s |\n", tl_command_at(i)->name, tl_command_at(i)->name,
                       tl_command_at(i)->summary);
    for (size_t i = 0; tl_command_at(i) != NULL; i++) put_markdown_page(tl_command_at(i), out);
}

static int run_help(const tl_arguments *arguments)
{
    if (arguments->count == 1) {
        char *const words[] = { (char *)(uintptr_t) "tightloop",
                                (char *)(uintptr_t)arguments->items[0],
                                (char *)(uintptr_t) "--help" };
        return tl_program_run(3, words);
    }
    tl_text text;
    tl_text_init(&text, 1 << 20);
    size_t columns = tl_terminal_columns(stdout);
    if (help_markdown)
        put_markdown(&text);
    else
        tl_program_help(columns < 100 ? columns : 100, &text);
    fputs(text.data, stdout);
    tl_text_destroy(&text);
    return TL_EXIT_OK;
}

const tl_command tl_command_help = {
    .name = "help",
    .summary = "the list of commands, or the page of one",
    .arguments = "[COMMAND]",
    .argument_max = 1,
    .details = "Prints the list of commands, or what 'tightloop COMMAND --help' prints.",
    .example = "tightloop help serve",
    .options = help_options,
    .option_count = TL_COUNT_OF(help_options),
    .run = run_help,
};

static bool version_json;

static const tl_option version_options[] = {
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &version_json, 0, 0 },
};

static int run_version(const tl_arguments *arguments)
{
    (void)arguments;
    if (version_json)
        printf("{\"name\":\"tightloop\",\"version\":\"%s\"}\n", tl_version_text());
    else
        printf("tightloop %s\n", tl_version_text());
    return TL_EXIT_OK;
}

const tl_command tl_command_version = {
    .name = "version",
    .summary = "which version this is",
    .details = "Prints the version of the program.",
    .example = "tightloop version",
    .options = version_options,
    .option_count = TL_COUNT_OF(version_options),
    .run = run_version,
};

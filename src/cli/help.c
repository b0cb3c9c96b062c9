/* help.c - `tightloop help` and `tightloop version`. */
#include "cli/command.h"
#include "cli/terminal.h"

#include <string.h>

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

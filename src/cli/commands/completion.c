/* completion.c - `tightloop completion`: scripts for bash, zsh and fish, made from the tables. */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

static const char *const shells[] = { "bash", "zsh", "fish", NULL };

/* "a|b|c" to "a b c". */
static void put_choices(tl_text *out, const char *choices)
{
    for (; *choices != '\0'; choices++) tl_text_append(out, *choices == '|' ? " " : choices, 1);
}

/* Between single quotes. */
static void put_quoted(tl_text *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            tl_text_puts(out, "'\\''");
        else
            tl_text_append(out, text, 1);
    }
}

/* ---- bash ------------------------------------------------------------------------------------ */

static void bash_value(tl_text *out, const tl_command *command, const tl_option *option)
{
    tl_text_printf(out, "        %s:--%s", command->name, option->name);
    if (option->letter != 0) tl_text_printf(out, "|%s:-%c", command->name, option->letter);
    tl_text_puts(out, ") ");
    switch (option->kind) {
    case TL_OPTION_CHOICE:
        tl_text_puts(out, "COMPREPLY=($(compgen -W '");
        put_choices(out, option->value);
        tl_text_puts(out, "' -- \"$word\"))");
        break;
    case TL_OPTION_FILE: tl_text_puts(out, "COMPREPLY=($(compgen -f -- \"$word\"))"); break;
    case TL_OPTION_FOLDER: tl_text_puts(out, "COMPREPLY=($(compgen -d -- \"$word\"))"); break;
    default: tl_text_puts(out, "COMPREPLY=()"); break;
    }
    tl_text_puts(out, "; return ;;\n");
}

static void write_bash(tl_text *out)
{
    tl_text_puts(out,
                 "# bash completion for tightloop\n"
                 "_tightloop() {\n"
                 "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
                 "    local command=${COMP_WORDS[1]}\n"
                 "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                 "        COMPREPLY=($(compgen -W '");
    for (size_t i = 0; tl_command_at(i) != NULL; i++)
        tl_text_printf(out, "%s%s", i > 0 ? " " : "", tl_command_at(i)->name);
    tl_text_puts(out, "' -- \"$word\"))\n        return\n    fi\n"
                      "    case $command:$before in\n");
    for (size_t i = 0; tl_command_at(i) != NULL; i++)
        for (size_t j = 0; j < tl_command_at(i)->option_count; j++)
            if (tl_command_at(i)->options[j].kind != TL_OPTION_FLAG)
                bash_value(out, tl_command_at(i), &tl_command_at(i)->options[j]);
    tl_text_puts(out, "    esac\n    case $command in\n");
    for (size_t i = 0; tl_command_at(i) != NULL; i++) {
        const tl_command *command = tl_command_at(i);
        tl_text_printf(out, "        %s) COMPREPLY=($(compgen -W '", command->name);
        for (size_t j = 0; command->argument_choices && command->argument_choices[j]; j++)
            tl_text_printf(out, "%s ", command->argument_choices[j]);
        for (size_t j = 0; j < command->option_count; j++)
            tl_text_printf(out, "--%s ", command->options[j].name);
        tl_text_puts(out, "--help' -- \"$word\")) ;;\n");
    }
    tl_text_puts(out, "    esac\n}\ncomplete -F _tightloop tightloop\n");
}

/* ---- zsh ------------------------------------------------------------------------------------- */

/* Inside '...:...' of _arguments and _describe colons and brackets have a meaning. */
static void zsh_text(tl_text *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr(":[]\\", *text) != NULL) tl_text_puts(out, "\\");
        if (*text == '\'')
            tl_text_puts(out, "'\\''");
        else
            tl_text_append(out, text, 1);
    }
}

static void zsh_option(tl_text *out, const tl_option *option)
{
    tl_text_printf(out, " \\\n                '--%s%s[", option->name,
                   option->kind == TL_OPTION_FLAG ? "" : "=");
    zsh_text(out, option->help);
    tl_text_puts(out, "]");
    if (option->kind == TL_OPTION_CHOICE) {
        tl_text_puts(out, ":value:(");
        put_choices(out, option->value);
        tl_text_puts(out, ")");
    } else if (option->kind == TL_OPTION_FILE) {
        tl_text_puts(out, ":file:_files");
    } else if (option->kind == TL_OPTION_FOLDER) {
        tl_text_puts(out, ":folder:_files -/");
    } else if (option->kind != TL_OPTION_FLAG) {
        tl_text_puts(out, ":value:");
    }
    tl_text_puts(out, "'");
}

static void write_zsh(tl_text *out)
{
    tl_text_puts(out, "#compdef tightloop\n"
                      "_tightloop() {\n"
                      "    local -a commands\n"
                      "    commands=(\n");
    for (size_t i = 0; tl_command_at(i) != NULL; i++) {
        tl_text_printf(out, "        '%s:", tl_command_at(i)->name);
        zsh_text(out, tl_command_at(i)->summary);
        tl_text_puts(out, "'\n");
    }
    tl_text_puts(out, "    )\n"
                      "    if (( CURRENT == 2 )); then\n"
                      "        _describe 'command' commands\n"
                      "        return\n"
                      "    fi\n"
                      "    local name=$words[2]\n"
                      "    shift words\n"
                      "    (( CURRENT-- ))\n"
                      "    case $name in\n");
    for (size_t i = 0; tl_command_at(i) != NULL; i++) {
        const tl_command *command = tl_command_at(i);
        tl_text_printf(out, "        %s)\n            _arguments '--help[This page.]'",
                       command->name);
        for (size_t j = 0; j < command->option_count; j++) zsh_option(out, &command->options[j]);
        if (command->argument_choices != NULL) {
            tl_text_puts(out, " \\\n                '1:what:(");
            for (size_t j = 0; command->argument_choices[j] != NULL; j++)
                tl_text_printf(out, "%s%s", j > 0 ? " " : "", command->argument_choices[j]);
            tl_text_puts(out, ")'");
        }
        tl_text_puts(out, " ;;\n");
    }
    tl_text_puts(out, "    esac\n}\n_tightloop \"$@\"\n");
}

/* ---- fish ------------------------------------------------------------------------------------ */

static void fish_option(tl_text *out, const char *command, const tl_option *option)
{
    tl_text_printf(out, "complete -c tightloop -n '__fish_seen_subcommand_from %s' -l %s", command,
                   option->name);
    if (option->letter != 0) tl_text_printf(out, " -s %c", option->letter);
    if (option->kind == TL_OPTION_FILE) tl_text_puts(out, " -r -F");
    if (option->kind == TL_OPTION_FOLDER)
        tl_text_puts(out, " -x -a '(__fish_complete_directories)'");
    if (option->kind == TL_OPTION_CHOICE) {
        tl_text_puts(out, " -x -a '");
        put_choices(out, option->value);
        tl_text_puts(out, "'");
    }
    if (option->kind == TL_OPTION_TEXT || option->kind == TL_OPTION_WHOLE ||
        option->kind == TL_OPTION_REAL)
        tl_text_puts(out, " -x");
    tl_text_puts(out, " -d '");
    put_quoted(out, option->help);
    tl_text_puts(out, "'\n");
}

static void write_fish(tl_text *out)
{
    tl_text_puts(out, "# fish completion for tightloop\ncomplete -c tightloop -f\n");
    for (size_t i = 0; tl_command_at(i) != NULL; i++) {
        const tl_command *command = tl_command_at(i);
        tl_text_printf(out, "complete -c tightloop -n __fish_use_subcommand -a %s -d '",
                       command->name);
        put_quoted(out, command->summary);
        tl_text_puts(out, "'\n");
        for (size_t j = 0; command->argument_choices && command->argument_choices[j]; j++)
            tl_text_printf(out, "complete -c tightloop -n '__fish_seen_subcommand_from %s' -a %s\n",
                           command->name, command->argument_choices[j]);
        for (size_t j = 0; j < command->option_count; j++)
            fish_option(out, command->name, &command->options[j]);
    }
}

static int run_completion(const tl_arguments *arguments)
{
    tl_text text;
    tl_error err;
    const char *shell = arguments->items[0];
    tl_text_init(&text, 1 << 20);
    if (strcmp(shell, "bash") == 0) {
        write_bash(&text);
    } else if (strcmp(shell, "zsh") == 0) {
        write_zsh(&text);
    } else if (strcmp(shell, "fish") == 0) {
        write_fish(&text);
    } else {
        tl_fail(&err, TL_EINVAL, "SHELL is one of bash, zsh, fish, not \"%.40s\"", shell);
        return tl_command_misuse(&tl_command_completion, &err);
    }
    fputs(text.data, stdout);
    tl_text_destroy(&text);
    return TL_EXIT_OK;
}

const tl_command tl_command_completion = {
    .name = "completion",
    .summary = "a script that makes your shell complete commands and options",
    .arguments = "SHELL",
    .argument_min = 1,
    .argument_max = 1,
    .argument_choices = shells,
    .details =
        "Prints a completion script for bash, zsh or fish. Load it now, or put it where your "
        "shell looks for such scripts.",
    .example = "source <(tightloop completion bash)\n"
               "tightloop completion fish > ~/.config/fish/completions/tightloop.fish",
    .run = run_completion,
};

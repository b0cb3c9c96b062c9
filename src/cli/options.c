#include "cli/options.h"

#include "format/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_BYTES_MAX = 64, OPTION_COUNT_MAX = 32 };

/* ---- The nearest word ------------------------------------------------------------------------ */

/* Edits from a to b: insert, drop, replace, swap neighbours (optimal string alignment). */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][WORD_BYTES_MAX + 1];
    size_t na = strlen(a), nb = strlen(b);
    if (na > WORD_BYTES_MAX || nb > WORD_BYTES_MAX) return WORD_BYTES_MAX;
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= nb; j++) above[j] = j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[nb];
}

const char *tl_nearest(const char *word, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t best = WORD_BYTES_MAX, length = strlen(word);
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, names[i]);
        /* The start of a longer name is near, too: "--sec". */
        if (length >= 2 && distance > 1 && strncmp(word, names[i], length) == 0) distance = 1;
        if (distance >= best) continue;
        best = distance;
        nearest = names[i];
    }
    return best <= 1 + length / 3 ? nearest : NULL;
}

/* ---- Parsing --------------------------------------------------------------------------------- */

static const tl_option *find_long(const tl_command *command, const char *name, size_t bytes)
{
    for (size_t i = 0; i < command->option_count; i++) {
        const tl_option *o = &command->options[i];
        if (strlen(o->name) == bytes && memcmp(o->name, name, bytes) == 0) return o;
    }
    return NULL;
}

static const tl_option *find_short(const tl_command *command, char letter)
{
    for (size_t i = 0; i < command->option_count; i++)
        if (command->options[i].letter == letter) return &command->options[i];
    return NULL;
}

static tl_status fail_unknown(const tl_command *command, const char *word, tl_error *err)
{
    const char *names[OPTION_COUNT_MAX + 1] = { "help" };
    char name[WORD_BYTES_MAX];
    size_t count = 1;
    for (size_t i = 0; i < command->option_count && i < OPTION_COUNT_MAX; i++)
        names[count++] = command->options[i].name;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    const char *nearest = word[1] == '-' ? tl_nearest(name, names, count) : NULL;
    if (nearest != NULL)
        return tl_fail(err, TL_EINVAL, "unknown option %.40s; did you mean --%s?", word, nearest);
    return tl_fail(err, TL_EINVAL, "unknown option %.40s", word);
}

static tl_status take_choice(const tl_option *option, const char *text, tl_error *err)
{
    size_t bytes = strlen(text);
    for (const char *at = option->value; *at != '\0';) {
        size_t length = strcspn(at, "|");
        if (length == bytes && memcmp(at, text, bytes) == 0) {
            *(const char **)option->target = text;
            return TL_OK;
        }
        at += length + (at[length] == '|');
    }
    return tl_fail(err, TL_EINVAL, "--%s takes one of %s, not \"%.40s\"", option->name,
                   option->value, text);
}

static tl_status take_number(const tl_option *option, const char *text, tl_error *err)
{
    double value;
    bool whole = option->kind == TL_OPTION_WHOLE;
    bool good = tl_json_parse_number(text, strlen(text), &value) && value >= option->low &&
                value <= option->high;
    if (good && whole) good = strspn(text, "0123456789") == strlen(text);
    if (!good)
        return tl_fail(err, TL_EINVAL, "--%s takes a %snumber from %.10g to %.10g, not \"%.40s\"",
                       option->name, whole ? "whole " : "", option->low, option->high, text);
    if (whole)
        *(uint64_t *)option->target = strtoull(text, NULL, 10);
    else
        *(double *)option->target = value;
    return TL_OK;
}

static tl_status take_value(const tl_option *option, const char *text, tl_error *err)
{
    switch (option->kind) {
    case TL_OPTION_FLAG: *(bool *)option->target = true; return TL_OK;
    case TL_OPTION_CHOICE: return take_choice(option, text, err);
    case TL_OPTION_WHOLE:
    case TL_OPTION_REAL: return take_number(option, text, err);
    case TL_OPTION_TEXT:
    case TL_OPTION_FILE:
    case TL_OPTION_FOLDER: break;
    }
    if (text[0] == '\0') return tl_fail(err, TL_EINVAL, "--%s got an empty value", option->name);
    *(const char **)option->target = text;
    return TL_OK;
}

/* words[*at] starts with a dash and is more than one. */
static tl_status parse_option(const tl_command *command, int count, char *const *words, int *at,
                              tl_error *err)
{
    const char *word = words[*at], *value = NULL;
    const tl_option *option;
    if (word[1] == '-') {
        size_t bytes = strcspn(word + 2, "=");
        option = find_long(command, word + 2, bytes);
        if (word[2 + bytes] == '=') value = word + 2 + bytes + 1;
    } else {
        option = find_short(command, word[1]);
        if (word[2] != '\0') value = word + 2;
    }
    if (option == NULL) return fail_unknown(command, word, err);
    if (option->kind == TL_OPTION_FLAG && value != NULL)
        return tl_fail(err, TL_EINVAL, "--%s takes no value", option->name);
    if (option->kind != TL_OPTION_FLAG && value == NULL) {
        if (*at + 1 >= count)
            return tl_fail(err, TL_EINVAL, "--%s wants a value: %s", option->name, option->value);
        value = words[++*at];
    }
    return take_value(option, value, err);
}

static tl_status check_count(const tl_command *command, const tl_arguments *arguments,
                             tl_error *err)
{
    if (arguments->count < command->argument_min)
        return tl_fail(err, TL_EINVAL, "%s is missing", command->arguments);
    if (arguments->count > command->argument_max)
        return tl_fail(err, TL_EINVAL, "one word too many: \"%.60s\"",
                       arguments->items[command->argument_max]);
    return TL_OK;
}

tl_status tl_options_parse(const tl_command *command, int count, char *const *words,
                           tl_arguments *arguments, bool *wants_help, tl_error *err)
{
    *arguments = (tl_arguments){ .count = 0 };
    *wants_help = false;
    bool only_arguments = false;
    for (int i = 0; i < count && !only_arguments; i++) {
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0) {
            *wants_help = true;
            return TL_OK;
        }
        only_arguments = strcmp(words[i], "--") == 0;
    }
    only_arguments = false;
    for (int i = 0; i < count; i++) {
        const char *word = words[i];
        if (!only_arguments && strcmp(word, "--") == 0) {
            only_arguments = true;
        } else if (!only_arguments && word[0] == '-' && word[1] != '\0') {
            tl_status status = parse_option(command, count, words, &i, err);
            if (status != TL_OK) return status;
        } else if (arguments->count == TL_ARGUMENT_COUNT_MAX) {
            return tl_fail(err, TL_EINVAL, "too many words");
        } else {
            arguments->items[arguments->count++] = word;
        }
    }
    return check_count(command, arguments, err);
}

/* ---- Help ------------------------------------------------------------------------------------ */

void tl_wrap(tl_text *out, const char *text, size_t at, size_t indent, size_t columns)
{
    bool fresh = true; /* nothing on this line yet */
    while (*text != '\0') {
        if (*text == '\n') {
            tl_text_puts(out, "\n");
            bool empty = text[1] == '\n' || text[1] == '\0';
            if (!empty) tl_text_printf(out, "%*s", (int)indent, "");
            at = indent;
            fresh = true;
            text++;
            continue;
        }
        size_t spaces = strspn(text, " ");
        size_t bytes = strcspn(text + spaces, " \n");
        if (!fresh && bytes > 0 && at + spaces + bytes > columns) {
            tl_text_printf(out, "\n%*s", (int)indent, "");
            at = indent;
            spaces = 0;
            text += strspn(text, " ");
        }
        tl_text_append(out, text, spaces + bytes);
        text += spaces + bytes;
        at += spaces + bytes;
        fresh = false;
    }
}

void tl_option_default(const tl_option *option, char out[TL_OPTION_DEFAULT_BYTES])
{
    out[0] = '\0';
    const size_t length = strlen(option->help);
    if (length > 0 && option->help[length - 1] == ']') return; /* told in words */
    switch (option->kind) {
    case TL_OPTION_FLAG: return;
    case TL_OPTION_WHOLE:
        snprintf(out, TL_OPTION_DEFAULT_BYTES, " [%" PRIu64 "]", *(const uint64_t *)option->target);
        return;
    case TL_OPTION_REAL:
        snprintf(out, TL_OPTION_DEFAULT_BYTES, " [%g]", *(const double *)option->target);
        return;
    case TL_OPTION_TEXT:
    case TL_OPTION_CHOICE:
    case TL_OPTION_FILE:
    case TL_OPTION_FOLDER: break;
    }
    const char *text = *(const char *const *)option->target;
    if (text != NULL) snprintf(out, TL_OPTION_DEFAULT_BYTES, " [%s]", text);
}

enum { HELP_INDENT = 27 };

static void write_option(const tl_option *option, size_t columns, tl_text *out)
{
    char head[80], fallback[TL_OPTION_DEFAULT_BYTES], help[640];
    char letter[8] = "    ";
    if (option->letter != 0) snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(head, sizeof head, "  %s--%s%s%s", letter, option->name,
             option->kind == TL_OPTION_FLAG ? "" : " ",
             option->kind == TL_OPTION_FLAG ? "" : option->value);
    tl_option_default(option, fallback);
    snprintf(help, sizeof help, "%s%s", option->help, fallback);
    size_t at = strlen(head);
    tl_text_puts(out, head);
    if (at + 2 > HELP_INDENT) {
        tl_text_printf(out, "\n%*s", HELP_INDENT, "");
    } else {
        tl_text_printf(out, "%*s", (int)(HELP_INDENT - at), "");
    }
    tl_wrap(out, help, HELP_INDENT, HELP_INDENT, columns);
    tl_text_puts(out, "\n");
}

void tl_options_help(const tl_command *command, size_t columns, tl_text *out)
{
    tl_text_printf(out, "tightloop %s - %s\n\nUsage: tightloop %s", command->name, command->summary,
                   command->name);
    if (command->option_count > 0) tl_text_puts(out, " [OPTION]...");
    if (command->arguments != NULL) tl_text_printf(out, " %s", command->arguments);
    tl_text_puts(out, "\n\n");
    tl_wrap(out, command->details, 0, 0, columns);
    tl_text_puts(out, "\n\nOptions (defaults in brackets):\n");
    for (size_t i = 0; i < command->option_count; i++)
        write_option(&command->options[i], columns, out);
    tl_text_printf(out, "  -h, --help%*sThis page.\n", HELP_INDENT - 12, "");
    tl_text_puts(out, "\nExample:\n  ");
    for (const char *at = command->example; *at != '\0'; at++) {
        tl_text_append(out, at, 1);
        if (*at == '\n') tl_text_puts(out, "  ");
    }
    tl_text_puts(out, "\n\nExit codes: 0 done, 1 failure, 2 wrong usage");
    if (command->exits != NULL) tl_text_printf(out, ", %s", command->exits);
    tl_text_puts(out, ".\n");
}

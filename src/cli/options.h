/* options.h - a command of the program as a table: parsing, help, completion and error texts all
 * come from it. Layer: cli. One thread. */
#ifndef TL_CLI_OPTIONS_H
#define TL_CLI_OPTIONS_H

#include "base/text.h"

/* What the program answers to the shell. */
enum {
    TL_EXIT_OK = 0,
    TL_EXIT_FAILURE = 1,
    TL_EXIT_USAGE = 2,
    TL_EXIT_DAMAGE = 3,      /* doctor and replay --verify: damaged data, or other digests */
    TL_EXIT_NOT_IMPROVED = 4 /* demo: it ran, and nothing got better */
};

typedef enum tl_option_kind {
    TL_OPTION_FLAG,   /* bool */
    TL_OPTION_TEXT,   /* const char * */
    TL_OPTION_CHOICE, /* const char *; `value` lists what is allowed: "site|shuffled" */
    TL_OPTION_FILE,   /* const char *; completed with file names */
    TL_OPTION_FOLDER, /* const char *; completed with folder names */
    TL_OPTION_WHOLE,  /* uint64_t within low..high */
    TL_OPTION_REAL    /* double within low..high */
} tl_option_kind;

typedef struct tl_option {
    const char *name; /* without dashes */
    char letter;      /* of the short form, or 0 */
    tl_option_kind kind;
    const char *value; /* its name in the help: "FILE"; not for flags */
    const char *help;  /* one sentence; the default is added, unless it ends with one: "[...]" */
    void *target;      /* holds the default before parsing */
    double low, high;  /* of numbers, inclusive */
} tl_option;

enum { TL_ARGUMENT_COUNT_MAX = 8 };

typedef struct tl_arguments {
    const char *items[TL_ARGUMENT_COUNT_MAX]; /* positional, in order */
    size_t count;
} tl_arguments;

typedef struct tl_command {
    const char *name;
    const char *summary;   /* one line for the list of commands */
    const char *arguments; /* positional ones in the usage line: "[VERSION]"; NULL: none */
    size_t argument_min, argument_max;
    const char *const *argument_choices; /* for completion of the first one; NULL-ended, or NULL */
    const char *details;                 /* what it does, in paragraphs of plain text */
    const char *example;                 /* lines that can be typed */
    const char *exits;                   /* lines on exit codes beyond 0, 1, 2; NULL: none */
    const tl_option *options;
    size_t option_count;
    int (*run)(const tl_arguments *arguments);
} tl_command;

/* Every command knows --help (-h) besides its own options. *wants_help is set when it was given;
 * nothing else is checked then. `words` are those after the command's name. Values may follow as
 * "--name value", "--name=value", "-n value" or "-nvalue"; "--" ends the options.
 * Errors: TL_EINVAL, with a text that names the nearest option or what is accepted. */
tl_status tl_options_parse(const tl_command *command, int count, char *const *words,
                           tl_arguments *arguments, bool *wants_help, tl_error *err);

/* The help page of a command, `columns` wide. */
void tl_options_help(const tl_command *command, size_t columns, tl_text *out);

enum { TL_OPTION_DEFAULT_BYTES = 128 };
/* " [64]", or "" when the option has no default to tell. */
void tl_option_default(const tl_option *option, char out[TL_OPTION_DEFAULT_BYTES]);

/* Which of `names` [count] is nearest to `word` by edits, or NULL when none is near. */
const char *tl_nearest(const char *word, const char *const *names, size_t count);

/* Append `text` broken at spaces: `indent` spaces before each line but the first, which starts at
 * column `at`. Newlines in the text are kept. */
void tl_wrap(tl_text *out, const char *text, size_t at, size_t indent, size_t columns);

#endif

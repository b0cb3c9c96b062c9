/* terminal.h - what a person sees: colours where they are wanted, a bar for long work, lines that
 * are drawn in place. Layer: cli. One thread. */
#ifndef TL_CLI_TERMINAL_H
#define TL_CLI_TERMINAL_H

#include "base/text.h"

#include <stdio.h>

typedef enum tl_style {
    TL_STYLE_PLAIN,
    TL_STYLE_BOLD,
    TL_STYLE_DIM,
    TL_STYLE_GOOD,
    TL_STYLE_WARN,
    TL_STYLE_BAD
} tl_style;

/* A terminal that can move its cursor. */
bool tl_terminal_is_live(FILE *stream);
/* Columns, 80 where that is not known; COLUMNS overrides. */
size_t tl_terminal_columns(FILE *stream);
/* Rows, 24 where that is not known; LINES overrides. */
size_t tl_terminal_rows(FILE *stream);
/* The escape sequence of a style, "" where colours are unwanted: no terminal, NO_COLOR set and not
 * empty (no-color.org), TERM=dumb. CLICOLOR_FORCE set and not "0" wants them anyhow. */
const char *tl_style_on(FILE *stream, tl_style style);
const char *tl_style_off(FILE *stream);

/* "1.2 GB", "99 s", "5 h": short, for people. */
void tl_human_bytes(double bytes, char out[32]);
void tl_human_seconds(double seconds, char out[32]);

/* A block of lines at the bottom of the terminal, drawn anew in place. On streams that are no
 * terminal nothing is drawn in place: see tl_terminal_is_live. */
typedef struct tl_screen {
    FILE *stream;
    size_t lines; /* that the last drawing took */
} tl_screen;

/* `text` ends in a newline; lines longer than the terminal are cut there. */
void tl_screen_draw(tl_screen *screen, const char *text);

#endif

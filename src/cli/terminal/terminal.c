#include "cli/terminal/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0';
}

bool tl_terminal_is_live(FILE *stream)
{
    const char *kind = getenv("TERM");
    return isatty(fileno(stream)) && kind != NULL && strcmp(kind, "dumb") != 0;
}

size_t tl_terminal_columns(FILE *stream)
{
    struct winsize size;
    const char *wish = getenv("COLUMNS");
    unsigned long columns = wish != NULL ? strtoul(wish, NULL, 10) : 0;
    if (columns == 0 && ioctl(fileno(stream), TIOCGWINSZ, &size) == 0) columns = size.ws_col;
    if (columns < 20 || columns > 1000) return 80;
    return columns;
}

size_t tl_terminal_rows(FILE *stream)
{
    struct winsize size;
    const char *wish = getenv("LINES");
    unsigned long rows = wish != NULL ? strtoul(wish, NULL, 10) : 0;
    if (rows == 0 && ioctl(fileno(stream), TIOCGWINSZ, &size) == 0) rows = size.ws_row;
    return rows < 5 || rows > 1000 ? 24 : rows;
}

static bool wants_colour(FILE *stream)
{
    const char *force = getenv("CLICOLOR_FORCE");
    if (is_set("NO_COLOR")) return false;
    if (force != NULL && strcmp(force, "0") != 0 && force[0] != '\0') return true;
    return tl_terminal_is_live(stream);
}

const char *tl_style_on(FILE *stream, tl_style style)
{
    static const char *const sequences[] = {
        [TL_STYLE_PLAIN] = "",        [TL_STYLE_BOLD] = "\033[1m",  [TL_STYLE_DIM] = "\033[2m",
        [TL_STYLE_GOOD] = "\033[32m", [TL_STYLE_WARN] = "\033[33m", [TL_STYLE_BAD] = "\033[31m"
    };
    return wants_colour(stream) ? sequences[style] : "";
}

const char *tl_style_off(FILE *stream)
{
    return wants_colour(stream) ? "\033[0m" : "";
}

void tl_human_bytes(double bytes, char out[32])
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    size_t unit = 0;
    for (; bytes >= 999.5 && unit + 1 < TL_COUNT_OF(units); unit++) bytes /= 1000.0;
    snprintf(out, 32, bytes < 9.95 && unit > 0 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

void tl_human_seconds(double seconds, char out[32])
{
    double minutes = seconds / 60.0, hours = minutes / 60.0, days = hours / 24.0;
    if (seconds < 99.5)
        snprintf(out, 32, "%.0f s", seconds);
    else if (minutes < 99.5)
        snprintf(out, 32, "%.0f min", minutes);
    else if (hours < 47.5)
        snprintf(out, 32, "%.0f h", hours);
    else
        snprintf(out, 32, "%.0f days", days);
}

/* Bytes of `line` that fill at most `columns`; escape sequences and the bytes after the first of a
 * UTF-8 character take no room. */
static size_t fitting_bytes(const char *line, size_t bytes, size_t columns)
{
    size_t used = 0;
    for (size_t i = 0; i < bytes;) {
        if (line[i] == '\033') {
            while (i < bytes && line[i] != 'm') i++;
            i += i < bytes;
            continue;
        }
        size_t length = 1;
        while (i + length < bytes && ((unsigned char)line[i + length] & 0xc0) == 0x80) length++;
        if (used == columns) return i;
        used++;
        i += length;
    }
    return bytes;
}

void tl_screen_draw(tl_screen *screen, const char *text)
{
    FILE *out = screen->stream;
    size_t columns = tl_terminal_columns(out);
    if (screen->lines > 0) fprintf(out, "\033[%zuA", screen->lines);
    screen->lines = 0;
    while (*text != '\0') {
        size_t bytes = strcspn(text, "\n");
        size_t fit = fitting_bytes(text, bytes, columns);
        fwrite(text, 1, fit, out);
        fprintf(out, "%s\033[K\n", fit < bytes ? tl_style_off(out) : "");
        screen->lines++;
        text += bytes + (text[bytes] == '\n');
    }
    fputs("\033[J", out);
    fflush(out);
}

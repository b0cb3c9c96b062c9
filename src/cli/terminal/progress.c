#include "cli/terminal/progress.h"

#include "base/env.h"
#include "cli/terminal/terminal.h"

#include <inttypes.h>

enum { BAR_CELLS = 30, REDRAW_NS = 100000000 };

static int64_t now_ns(void)
{
    return tl_env_mono_ns(tl_env_system());
}

void tl_progress_begin(tl_progress *progress, const char *what)
{
    *progress =
        (tl_progress){ .what = what, .live = tl_terminal_is_live(stderr), .started_ns = now_ns() };
}

void tl_progress_show(tl_progress *progress, uint64_t done, uint64_t total)
{
    int64_t now = now_ns();
    if (!progress->live) return;
    if (progress->drawn_ns != 0 && now - progress->drawn_ns < REDRAW_NS && done != total) return;
    progress->drawn_ns = now;
    if (total == 0) {
        fprintf(stderr, "\r%s: %" PRIu64 "\033[K", progress->what, done);
        return;
    }
    double share = done < total ? (double)done / (double)total : 1.0;
    double spent_s = (double)(now - progress->started_ns) / 1e9;
    char left[32] = "", bar[BAR_CELLS + 1];
    for (int i = 0; i < BAR_CELLS; i++) bar[i] = i < (int)(share * BAR_CELLS + 0.5) ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    if (spent_s > 1.0 && share > 0.01 && share < 1.0)
        tl_human_seconds(spent_s * (1.0 - share) / share, left);
    fprintf(stderr, "\r%s [%s] %3.0f %%  %" PRIu64 " of %" PRIu64 "%s%s\033[K", progress->what, bar,
            100.0 * share, done, total, left[0] != '\0' ? ", about " : "", left);
}

void tl_progress_end(tl_progress *progress)
{
    if (progress->live && progress->drawn_ns != 0) fputs("\r\033[K", stderr);
}

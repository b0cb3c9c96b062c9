/* table.c - what the demo shows while it runs: the table of the lines, or a line for logs. */
#include "cli/demo/demo.h"

#include <inttypes.h>
#include <stdio.h>

static void put_share(const tl_share *share, bool colours, tl_text *out)
{
    if (share->count == 0) {
        tl_text_printf(out, "  %-29s", "   -");
        return;
    }
    const char *on = "", *off = colours ? "\033[0m" : "";
    if (colours)
        on = share->value >= 0.95 ? "\033[32m" : share->value >= 0.8 ? "\033[33m" : "\033[31m";
    if (!colours) off = "";
    char counts[32];
    snprintf(counts, sizeof counts, "%" PRIu64 "/%" PRIu64, share->hits, share->count);
    tl_text_printf(out, "  %s%5.1f %%%s  %5.1f - %5.1f  %-8s", on, 100.0 * share->value, off,
                   100.0 * share->low, 100.0 * share->high, counts);
}

static void put_score(const char *name, const tl_demo_score *score, bool colours, tl_text *out)
{
    tl_text_printf(out, "%-9s %6" PRIu64, name, score->boards);
    put_share(&score->precision, colours, out);
    put_share(&score->recall, colours, out);
    tl_text_puts(out, "\n");
}

/* How the share of right decisions went, one block a point. */
static void put_curve(const tl_demo_picture *p, tl_text *out)
{
    static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
    for (size_t i = 0; i < p->curve_count; i++) {
        double value = p->curve[i].score.decisions.value; /* 50 % .. 100 % */
        int level = (int)((value - 0.5) * 16.0);
        tl_text_puts(out, blocks[level < 0 ? 0 : level > 7 ? 7 : level]);
    }
}

void tl_demo_table(const tl_demo_picture *p, size_t rows, bool colours, tl_text *out)
{
    const char *bold = colours ? "\033[1m" : "", *dim = colours ? "\033[2m" : "";
    const char *off = colours ? "\033[0m" : "";
    const tl_loop_state *s = &p->loop;
    tl_text_printf(out, "%stightloop demo%s  %.0f of %.0f s, %u lines, %.0f boards/s over HTTP\n\n",
                   bold, off, p->elapsed_s, p->seconds, p->line_count,
                   p->boards_per_s * (double)p->line_count);
    tl_text_printf(out,
                   "%slast %.0f s  boards  precision (true, from the simulator)"
                   "  recall (true, from the simulator)%s\n",
                   bold, p->window_s, off);
    size_t shown = p->line_count <= rows ? p->line_count : rows - 1;
    for (size_t i = 0; i < shown; i++) {
        char name[16];
        snprintf(name, sizeof name, "line %zu", i + 1);
        put_score(name, &p->lines[i], colours, out);
    }
    if (shown < p->line_count)
        tl_text_printf(out, "%s... and %zu lines more%s\n", dim, p->line_count - shown, off);
    put_score("all lines", &p->all, colours, out);
    tl_text_printf(
        out, "%sshare, 95 %% interval, hits/count; right decisions over time, 50 to 100 %%:%s ",
        dim, off);
    put_curve(p, out);
    tl_text_printf(out,
                   "\n\nlabels    %" PRIu64 " given, %" PRIu64
                   " waiting   review now: %.0f %% of boards%s\n",
                   p->people.given, p->people.waiting, 100.0 * p->review_share,
                   s->cold ? " (cold: everything)" : "");
    tl_text_printf(out,
                   "learning  label to served p50 %.1f ms, p99 %.1f ms   slow learner: %" PRIu64
                   " labels worked through\n",
                   s->label_to_served_ms_p50, s->label_to_served_ms_p99, s->trained_labels);
    tl_text_printf(out,
                   "versions  %" PRIu64 " answers, %" PRIu64 " published, %" PRIu64
                   " not better   threshold %.2f\n",
                   s->champion, s->publishes, s->refused, (double)s->threshold);
    tl_text_printf(
        out, "answers   p50 %.1f ms, p99 %.1f ms, each durable first   failed: %" PRIu64 "%s%s\n",
        p->answer_ms_p50, p->answer_ms_p99, p->failed, p->failed > 0 ? "  " : "",
        p->failed > 0 ? p->failure : "");
}

void tl_demo_line(const tl_demo_picture *p, tl_text *out)
{
    const tl_demo_score *a = &p->all;
    tl_text_printf(out, "%4.0f s  boards %5" PRIu64 "  labels %5" PRIu64, p->elapsed_s, p->boards,
                   p->people.given);
    tl_text_printf(out, "  precision %5.1f %% [%.1f - %.1f]  recall %5.1f %% [%.1f - %.1f]",
                   100.0 * a->precision.value, 100.0 * a->precision.low, 100.0 * a->precision.high,
                   100.0 * a->recall.value, 100.0 * a->recall.low, 100.0 * a->recall.high);
    tl_text_printf(out, "  version %" PRIu64 "  label to served %.1f ms%s\n", p->loop.champion,
                   p->loop.label_to_served_ms_p50, p->loop.cold ? "  cold" : "");
}

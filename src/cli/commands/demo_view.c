/* demo_view.c - what the demo shows: table, log line, story, JSON. */
#include "cli/commands/demo.h"
#include "cli/options.h"
#include "cli/terminal/terminal.h"
#include "format/json.h"
#include "server/state_json.h"
#include "stats/interval.h"

#include <inttypes.h>
#include <string.h>

/* ---- Scores ---------------------------------------------------------------------------------- */

static tl_share share_of(uint64_t hits, uint64_t count)
{
    tl_interval interval = tl_interval_wilson(hits, count, 0.95);
    double value = count > 0 ? (double)hits / (double)count : 0.0;
    return (tl_share){ value, interval.low, interval.high, hits, count };
}

void tl_demo_score_finish(tl_demo_score *score)
{
    score->right = score->boards - score->defects - score->flagged + 2 * score->hits;
    score->precision = share_of(score->hits, score->flagged);
    score->recall = share_of(score->hits, score->defects);
    score->decisions = share_of(score->right, score->boards);
}

bool tl_demo_improved(const tl_demo_picture *p)
{
    return p->start.boards > 0 && p->all.decisions.low > p->start.decisions.high;
}

/* ---- The table ------------------------------------------------------------------------------- */

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

/* ---- The story ------------------------------------------------------------------------------- */

static void tell_start(const tl_demo_picture *p, tl_text *out)
{
    const tl_demo_score *first = &p->start;
    tl_text_printf(out,
                   "It began from nothing: no pretrained weights, no labels. Of the first %" PRIu64
                   " boards it judged %.0f %% rightly; flagging nothing at all would have judged "
                   "%.0f %% rightly.\n\n",
                   first->boards, 100.0 * first->decisions.value,
                   100.0 * (double)(first->boards - first->defects) / (double)first->boards);
}

static void tell_labels(const tl_demo_picture *p, tl_text *out)
{
    tl_text_printf(
        out,
        "Operators gave %" PRIu64 " labels, %" PRIu64 " of them wrong, as people do. Half of "
        "them were in service %.1f ms after they arrived, 99 %% within %.1f ms: the next "
        "answer knew them. Behind that the slow learner retrained the whole network on "
        "%" PRIu64 " labels; %" PRIu64 " of its versions were published without a pause, %" PRIu64
        " were not better and were not.\n\n",
        p->people.given, p->people.wrong, p->loop.label_to_served_ms_p50,
        p->loop.label_to_served_ms_p99, p->loop.trained_labels, p->loop.publishes, p->loop.refused);
}

static void tell_end(const tl_demo_picture *p, tl_text *out)
{
    const tl_demo_score *a = &p->all;
    tl_text_printf(
        out,
        "In the last %.0f s it found %" PRIu64 " of %" PRIu64 " defects (recall %.1f %%, 95 %% "
        "interval %.1f to %.1f), and %" PRIu64 " of its %" PRIu64 " alarms were right (precision "
        "%.1f %%, %.1f to %.1f). The simulator knows this for certain; ",
        p->window_s, a->hits, a->defects, 100.0 * a->recall.value, 100.0 * a->recall.low,
        100.0 * a->recall.high, a->hits, a->flagged, 100.0 * a->precision.value,
        100.0 * a->precision.low, 100.0 * a->precision.high);
    if (p->loop.precision.count > 0)
        tl_text_printf(out,
                       "the loop itself, which sees only labels, puts its precision at %.1f %% "
                       "(%.1f to %.1f).",
                       100.0 * p->loop.precision.value, 100.0 * p->loop.precision.low,
                       100.0 * p->loop.precision.high);
    else
        tl_text_puts(out, "the loop itself has no estimate yet.");
    tl_text_printf(
        out, " %s\n\n",
        p->loop.cold
            ? "It still puts every board up for review; with more labels it will ask less."
            : "It no longer asks for everything: flagged boards and a few audits go to review.");
}

static void tell_rest(const tl_demo_picture *p, tl_text *out)
{
    char size[32];
    tl_human_bytes((double)(p->journal.bytes + p->journal.wal_bytes), size);
    tl_text_printf(out,
                   "Every one of the %" PRIu64
                   " answers was in the journal before it left (p50 %.1f ms, p99 "
                   "%.1f ms over HTTP; %s on disk). %s",
                   p->boards, p->answer_ms_p50, p->answer_ms_p99, size,
                   p->failed == 0 ? "None failed.\n\n" : "");
    if (p->failed > 0)
        tl_text_printf(out, "%" PRIu64 " boards were not inspected; the last reason: %s.\n\n",
                       p->failed, p->failure);
    tl_text_printf(
        out,
        "This plant is worse than real ones: %.0f %% of its boards are defective, so that a "
        "minute is enough. Real lines have far fewer defects and need longer.\n\n",
        100.0 * (double)p->all.defects / (double)(p->all.boards > 0 ? p->all.boards : 1));
}

void tl_demo_story(const tl_demo_picture *p, const char *kept, size_t columns, tl_text *out)
{
    tl_text story;
    tl_text_init(&story, 1 << 20);
    if (p->start.boards == 0) {
        tl_text_puts(&story, "There was too little time to see anything; give it a minute.\n");
    } else {
        tell_start(p, &story);
        tell_labels(p, &story);
        tell_end(p, &story);
        tell_rest(p, &story);
        tl_text_puts(&story, tl_demo_improved(p)
                                 ? "Verdict: it got better, beyond what chance explains.\n\n"
                                 : "Verdict: no improvement beyond what chance explains. Give it "
                                   "more time: --seconds 120.\n\n");
    }
    if (kept != NULL)
        tl_text_printf(&story,
                       "The journal is kept: tightloop serve --journal %s, or look into it with "
                       "the sqlite3 shell.\n",
                       kept);
    tl_text_puts(&story, "Next: 'tightloop replay --data DIR' on real boards; 'tightloop init' and "
                         "'tightloop serve' for a loop of your own.\n");
    tl_text_puts(out, "What happened\n\n");
    if (tl_text_ok(&story)) tl_wrap(out, story.data, 0, 0, columns);
    tl_text_destroy(&story);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_number(tl_json_writer *w, const char *key, double value)
{
    tl_json_key(w, key);
    tl_json_double(w, value);
}

static void put_count(tl_json_writer *w, const char *key, uint64_t value)
{
    tl_json_key(w, key);
    tl_json_uint(w, value);
}

static void put_score_json(tl_json_writer *w, const tl_demo_score *score)
{
    put_count(w, "boards", score->boards);
    put_count(w, "defects", score->defects);
    put_count(w, "flagged", score->flagged);
    tl_share_write(w, "precision", &score->precision);
    tl_share_write(w, "recall", &score->recall);
    tl_share_write(w, "decisions_right", &score->decisions);
}

static void put_curve_json(tl_json_writer *w, const tl_demo_picture *p)
{
    tl_json_key(w, "curve");
    tl_json_array(w);
    for (size_t i = 0; i < p->curve_count; i++) {
        tl_json_object(w);
        put_number(w, "at_s", p->curve[i].at_s);
        put_count(w, "labels", p->curve[i].labels);
        put_score_json(w, &p->curve[i].score);
        tl_json_object_end(w);
    }
    tl_json_array_end(w);
}

void tl_demo_json(const tl_demo_picture *p, tl_text *out)
{
    tl_json_writer w;
    tl_json_begin(&w, out);
    tl_json_object(&w);
    tl_json_key(&w, "improved");
    tl_json_boolean(&w, tl_demo_improved(p));
    put_number(&w, "elapsed_s", p->elapsed_s);
    put_count(&w, "line_count", p->line_count);
    put_count(&w, "boards", p->boards);
    put_count(&w, "boards_failed", p->failed);
    put_count(&w, "labels", p->people.given);
    put_count(&w, "labels_wrong", p->people.wrong);
    put_number(&w, "window_s", p->window_s);
    put_number(&w, "answer_ms_p50", p->answer_ms_p50);
    put_number(&w, "answer_ms_p99", p->answer_ms_p99);
    put_number(&w, "review_share", p->review_share);
    put_count(&w, "journal_bytes", p->journal.bytes + p->journal.wal_bytes);
    tl_json_key(&w, "true_all_lines");
    tl_json_object(&w);
    put_score_json(&w, &p->all);
    tl_json_object_end(&w);
    tl_json_key(&w, "true_lines");
    tl_json_array(&w);
    for (uint32_t i = 0; i < p->line_count; i++) {
        tl_json_object(&w);
        put_score_json(&w, &p->lines[i]);
        tl_json_object_end(&w);
    }
    tl_json_array_end(&w);
    put_curve_json(&w, p);
    tl_json_key(&w, "loop");
    (void)tl_state_write(&w, "boards", &p->loop, NULL, NULL); /* without the gate: cannot fail */
    tl_json_object_end(&w);
}

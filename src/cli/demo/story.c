/* story.c - what happened in the demo, in plain words. */
#include "cli/demo/demo.h"
#include "cli/options.h"
#include "cli/terminal/terminal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

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
        "%" PRIu64 " labels; %" PRIu64 " of its versions were published without a pause; "
        "refused, as not better: %" PRIu64 ".\n\n",
        p->people.given, p->people.wrong, p->loop.label_to_served_ms_p50,
        p->loop.label_to_served_ms_p99, p->loop.trained_labels, p->loop.publishes, p->loop.refused);
}

static bool is_proof(const tl_verdict_info *verdict)
{
    return verdict->judged &&
           (strcmp(verdict->kind, "promote") == 0 || strcmp(verdict->kind, "certify") == 0);
}

static void tell_proof(const tl_verdict_info *verdict, tl_text *out)
{
    tl_text_printf(
        out,
        "%s: over %" PRIu64 " boards, on %" PRIu64 " of which people settled who was right, an "
        "error less is made every %.0f boards (95 %% interval %.4f to %.4f errors a board); "
        "evidence "
        "%.0f to 1, where %.0f to 1 was asked for.",
        strcmp(verdict->kind, "promote") == 0 ? "A version was proven better, and took over"
                                              : "What answers, learning all the time, was proven "
                                                "better than its own snapshot of before",
        verdict->units, verdict->disagreements, 1.0 / verdict->gain, verdict->gain_low,
        verdict->gain_high, exp(verdict->log_e), exp(verdict->log_needed));
    if (!isnan(verdict->tti_seconds))
        tl_text_printf(out, " The time to this improvement: %.0f s, %" PRIu64 " labels.",
                       verdict->tti_seconds, verdict->tti_labels);
}

static void tell_gate(const tl_demo_picture *p, tl_text *out)
{
    if (p->loop.cold) return;
    tl_text_puts(out, "That was the cold phase, in which versions that do no worse serve. Since "
                      "then only what is proven counts as better, however often one looks. ");
    size_t i = 0;
    while (i < p->verdict_count && !is_proof(&p->verdicts[i])) i++;
    if (i < p->verdict_count)
        tell_proof(&p->verdicts[i], out);
    else
        tl_text_puts(out, "Nothing was in this time; versions go on deciding in the shadow.");
    if (p->loop.rollbacks > 0)
        tl_text_printf(out, " What did harm was taken back: %" PRIu64 ".", p->loop.rollbacks);
    tl_text_puts(out, "\n\n");
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
        tell_gate(p, &story);
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

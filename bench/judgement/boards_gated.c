/* boards-gated: real boards through a whole loop with its gate, labels only where a person looked.
 * Four stories: as they come; one of eleven people lies about what he is asked and volunteers more
 * lies; a class of defects that is new in the middle; another light from the middle on. Whatever the
 * gate puts into service, proves, or takes back is held against what it replaced on items whose labels
 * nobody gives away: the rest of the stream, and boards that are kept out.
 *
 * --data DIR   real boards, as pcb-stream takes them (built in: the project's shared data)
 * --only NAME  plain, poisoned, new_class or lighting
 * --items N    of the stream; 0: all
 * --seed N     the first one; 1
 * --seeds N    so many of them, to 16; 3. Figures are sums of counts, the highest share of labels, and
 *              else medians over the seeds in which there is one
 *
 * quick: --only plain --items 2500 --seeds 1 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "bench/judgement/boards/run.h"
#include "bench/judgement/lib/judgement.h"

static const char *const NAMES[BOARDS_STORY_COUNT] = { "plain", "poisoned", "new_class",
                                                       "lighting" };
static const double LABELS_BAR = 0.4;

static const char *text_option(int argc, char **argv, const char *name, const char *otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0) return argv[i + 1];
    return otherwise;
}

static boards_pair both(const boards_change *c)
{
    return (boards_pair){ .items = c->rest.items + c->kept_out.items,
                          .came_errors = c->rest.came_errors + c->kept_out.came_errors,
                          .replaced_errors = c->rest.replaced_errors + c->kept_out.replaced_errors,
                          .better = c->rest.better + c->kept_out.better,
                          .worse = c->rest.worse + c->kept_out.worse };
}

enum { SEEDS_MAX = 16 };

/* Changes of one kind; of these, with a higher true cost, and clearly so: a 95 % interval. */
typedef struct tally {
    unsigned count, worse, clearly_worse;
    unsigned untrue; /* certificates: of the items that they are about */
} tally;

static void count_changes(const boards_result *r, const char *kind, tally *t)
{
    for (size_t i = 0; i < r->change_count; i++) {
        if (strcmp(r->change[i].kind, kind) != 0) continue;
        double low, high;
        boards_pair pair = both(&r->change[i]);
        double gain = boards_pair_gain(&pair, &low, &high);
        t->count++;
        t->worse += gain < 0;
        t->clearly_worse += gain < 0 && high < 0;
        t->untrue += boards_pair_gain(&r->change[i].claim, &low, &high) < 0;
    }
}

static void show_change(const boards_change *c)
{
    double low, high;
    boards_pair pair = both(c);
    double gain = boards_pair_gain(&pair, &low, &high);
    printf("  item %5zu %-10s version %3llu: truly %+.4f [%+.4f, %+.4f] fewer errors an item over "
           "%llu hidden items (rest %llu to %llu errors, kept out %llu to %llu)\n    %s\n",
           c->item, c->kind, (unsigned long long)c->version, gain, low, high,
           (unsigned long long)pair.items, (unsigned long long)c->rest.replaced_errors,
           (unsigned long long)c->rest.came_errors, (unsigned long long)c->kept_out.replaced_errors,
           (unsigned long long)c->kept_out.came_errors, c->words);
    if (c->claim.items == 0) return;
    gain = boards_pair_gain(&c->claim, &low, &high);
    printf(
        "    the %llu items that this is about: truly %+.4f [%+.4f, %+.4f] (%llu to %llu errors)\n",
        (unsigned long long)c->claim.items, gain, low, high,
        (unsigned long long)c->claim.replaced_errors, (unsigned long long)c->claim.came_errors);
}

static void show_tti(const tl_loop_state *s)
{
    printf(
        "  time to improvement: median %.0f labels [%.0f, %.0f], %.0f s [%.0f, %.0f]; proven %llu, "
        "censored %llu\n",
        s->tti_labels_p50, s->tti_labels_low, s->tti_labels_high, s->tti_seconds_p50,
        s->tti_seconds_low, s->tti_seconds_high, (unsigned long long)s->tti_proven,
        (unsigned long long)s->tti_censored);
}

static void show_count(const char *what, uint64_t labels)
{
    if (labels == UINT64_MAX)
        printf("%s never", what);
    else
        printf("%s after %llu labels", what, (unsigned long long)labels);
}

static void show_course(const boards_result *r)
{
    printf("  items   put before people   true precision   true recall   wrong calls\n");
    for (size_t i = 0; i < r->point_count; i++) {
        const tl_stream_counts *p = &r->point[i];
        uint64_t false_alarms = p->flagged - p->flagged_defects;
        uint64_t misses = p->defects - p->flagged_defects;
        printf("  %5zu %16.1f %% %16.3f %13.3f %11.2f %%\n", (i + 1) * BOARDS_WINDOW,
               100.0 * (double)r->asked[i] / (double)p->items, tl_stream_precision(p),
               tl_stream_recall(p), 100.0 * (double)(false_alarms + misses) / (double)p->items);
    }
}

static void show(const char *name, const boards_options *o, const boards_result *r)
{
    printf("%s, seed %llu: %llu items, labels for %.1f %% of them (%llu volunteered, %llu lies), "
           "%llu versions "
           "served, %.0f s of processor time, %.0f s\n",
           name, (unsigned long long)o->seed, (unsigned long long)r->items,
           100.0 * (double)r->labels / (double)r->items, (unsigned long long)r->volunteered,
           (unsigned long long)r->lies, (unsigned long long)r->state.publishes, r->cpu_s,
           r->wall_s);
    show_course(r);
    for (size_t i = 0; i < r->change_count; i++) show_change(&r->change[i]);
    show_tti(&r->state);
    printf("  alarms of the promised error rate: %llu\n", (unsigned long long)r->alarms);
    if (o->story == BOARDS_NEW_CLASS) {
        printf("  the new class: %.0f %% of its first 20 flagged; found", 100 * r->first_flagged);
        show_count("", r->found_labels);
        printf(", %llu of its own\n", (unsigned long long)r->found_class_labels);
    }
    if (o->story == BOARDS_LIGHTING) {
        printf("  wrong calls: %.2f %% before, %.2f %% in the first 300 items after; as before",
               100 * r->errors_before, 100 * r->errors_after);
        show_count("", r->recovered_labels);
        printf("\n");
    }
    printf("\n");
}

/* The median of what is known; NaN: nothing is. */
static double median_of(const double *values, unsigned count)
{
    double finite[SEEDS_MAX];
    unsigned known = 0;
    for (unsigned i = 0; i < count; i++)
        if (isfinite(values[i])) finite[known++] = values[i];
    return known == 0 ? (double)NAN : judgement_median(finite, known);
}

static double labels_of(uint64_t labels)
{
    return labels == UINT64_MAX ? (double)NAN : (double)labels;
}

static void add_medians(const char *name, boards_story story, const boards_result *r,
                        unsigned seeds, char *figures)
{
    enum { PRECISION, RECALL, TTI_LABELS, TTI_S, CPU_S, AFTER, FIGURE_COUNT };
    static const char *const SUFFIXES[] = { "_true_precision_share", "_true_recall_share",
                                            "_tti_labels", "_tti_s", "_cpu_s" };
    double values[FIGURE_COUNT][SEEDS_MAX];
    for (unsigned i = 0; i < seeds; i++) {
        values[PRECISION][i] = tl_stream_precision(&r[i].all);
        values[RECALL][i] = tl_stream_recall(&r[i].all);
        values[TTI_LABELS][i] = r[i].state.tti_labels_p50;
        values[TTI_S][i] = r[i].state.tti_seconds_p50;
        values[CPU_S][i] = r[i].cpu_s;
        values[AFTER][i] =
            labels_of(story == BOARDS_NEW_CLASS ? r[i].found_labels : r[i].recovered_labels);
    }
    for (int which = 0; which < AFTER; which++)
        judgement_figure(figures, name, SUFFIXES[which], median_of(values[which], seeds));
    if (story == BOARDS_NEW_CLASS)
        judgement_figure(figures, name, "_found_labels", median_of(values[AFTER], seeds));
    if (story == BOARDS_LIGHTING)
        judgement_figure(figures, name, "_recovered_labels", median_of(values[AFTER], seeds));
}

/* Of one story with each seed; returns how many promotions and certificates were truly worse. */
static unsigned add_figures(const char *name, boards_story story, const boards_result *r,
                            unsigned seeds, char *figures)
{
    static const char *const KINDS[] = { "promoted", "certified", "taken_back" };
    unsigned worse = 0;
    uint64_t alarms = 0, proven = 0, censored = 0;
    for (int kind = 0; kind < 3; kind++) {
        tally t = { 0, 0, 0, 0 };
        char suffix[64];
        for (unsigned i = 0; i < seeds; i++) count_changes(&r[i], KINDS[kind], &t);
        snprintf(suffix, sizeof suffix, "_%s", KINDS[kind]);
        judgement_figure(figures, name, suffix, t.count);
        snprintf(suffix, sizeof suffix, "_%s_worse", KINDS[kind]);
        judgement_figure(figures, name, suffix, t.worse);
        snprintf(suffix, sizeof suffix, "_%s_clearly_worse", KINDS[kind]);
        judgement_figure(figures, name, suffix, t.clearly_worse);
        if (kind < 2) worse += t.worse;
        if (kind == 1) judgement_figure(figures, name, "_certified_untrue", t.untrue);
    }
    for (unsigned i = 0; i < seeds; i++) {
        alarms += r[i].alarms;
        proven += r[i].state.tti_proven;
        censored += r[i].state.tti_censored;
    }
    judgement_figure(figures, name, "_alarms", (double)alarms);
    judgement_figure(figures, name, "_tti_proven", (double)proven);
    judgement_figure(figures, name, "_tti_censored", (double)censored);
    add_medians(name, story, r, seeds, figures);
    return worse;
}

/* With each seed; false: it failed, and said why. */
static bool run_story(boards_options *options, unsigned seeds, boards_result *results)
{
    uint64_t first = options->seed;
    for (unsigned i = 0; i < seeds; i++) {
        tl_error err = { 0 };
        options->seed = first + i;
        if (boards_run(options, &results[i], &err) != TL_OK) {
            fprintf(stderr, "boards-gated: %s\n", err.text);
            return false;
        }
        show(NAMES[options->story], options, &results[i]);
    }
    options->seed = first;
    return true;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    tl_log_set_level(TL_LOG_ERROR);
    const char *only = text_option(argc, argv, "--only", NULL);
    boards_options options = { .data =
                                   text_option(argc, argv, "--data", TL_SHARED_DATA "/pcb-stream"),
                               .limit = judgement_option(argc, argv, "--items", 0),
                               .seed = judgement_option(argc, argv, "--seed", 1) };
    static boards_result results[SEEDS_MAX];
    unsigned seeds = judgement_option(argc, argv, "--seeds", 3), worse = 0;
    if (seeds == 0 || seeds > SEEDS_MAX) return 2;
    char figures[JUDGEMENT_FIGURES_BYTES] = "";
    double most_labels = 0;
    for (int story = 0; story < BOARDS_STORY_COUNT; story++) {
        double labels = 0;
        if (only != NULL && strcmp(only, NAMES[story]) != 0) continue;
        options.story = (boards_story)story;
        if (!run_story(&options, seeds, results)) return 1;
        for (unsigned i = 0; i < seeds; i++)
            labels = fmax(labels, (double)results[i].labels / (double)results[i].items);
        judgement_figure(figures, NAMES[story], "_labelled_share", labels);
        worse += add_figures(NAMES[story], options.story, results, seeds, figures);
        most_labels = fmax(most_labels, labels);
    }
    judgement_figure(figures, "labelled_share", "_highest", most_labels);
    judgement_figure(figures, "seeds", "", seeds);
    judgement_last_line("boards-gated", figures, worse, 0, worse == 0 && most_labels <= LABELS_BAR);
    return 0;
}

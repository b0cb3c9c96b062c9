/* boards-gated: real boards through a whole loop with its gate, labels only where a person looked.
 * Four stories: as they come; one of eleven people lies about what he is asked and volunteers more
 * lies; a class of defects that is new in the middle; another light from the middle on. Whatever the
 * gate puts into service, proves, or takes back is held against what it replaced on items whose labels
 * nobody gives away: the rest of the stream, and boards that are kept out.
 *
 * --data DIR   real boards, as pcb-stream takes them (built in: the project's shared data)
 * --only NAME  plain, poisoned, new_class or lighting
 * --items N    of the stream; 0: all
 * --seed N
 *
 * quick: --only plain --items 2500 */
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

/* Of the changes of that kind; `worse`: how many brought a higher true cost. */
static unsigned count_changes(const boards_result *r, const char *kind, unsigned *worse)
{
    unsigned count = 0;
    *worse = 0;
    for (size_t i = 0; i < r->change_count; i++) {
        if (strcmp(r->change[i].kind, kind) != 0) continue;
        boards_pair pair = both(&r->change[i]);
        count++;
        *worse += pair.came_errors > pair.replaced_errors;
    }
    return count;
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

static void show(const char *name, boards_story story, const boards_result *r)
{
    printf(
        "%s: %llu items, labels for %.1f %% of them (%llu volunteered, %llu lies), %llu versions "
        "served, %.0f s of processor time, %.0f s\n",
        name, (unsigned long long)r->items, 100.0 * (double)r->labels / (double)r->items,
        (unsigned long long)r->volunteered, (unsigned long long)r->lies,
        (unsigned long long)r->state.publishes, r->cpu_s, r->wall_s);
    printf("  true precision, recall, by %d items:", BOARDS_WINDOW);
    for (size_t i = 0; i < r->point_count; i++)
        printf(" %.3f %.3f%s", tl_stream_precision(&r->point[i]), tl_stream_recall(&r->point[i]),
               i + 1 < r->point_count ? "," : "\n");
    for (size_t i = 0; i < r->change_count; i++) show_change(&r->change[i]);
    show_tti(&r->state);
    printf("  alarms of the promised error rate: %llu\n", (unsigned long long)r->alarms);
    if (story == BOARDS_NEW_CLASS) {
        printf("  the new class: %.0f %% of its first 20 flagged; found", 100 * r->first_flagged);
        show_count("", r->found_labels);
        printf(", %llu of its own\n", (unsigned long long)r->found_class_labels);
    }
    if (story == BOARDS_LIGHTING) {
        printf("  wrong calls: %.2f %% before, %.2f %% in the first 300 items after; as before",
               100 * r->errors_before, 100 * r->errors_after);
        show_count("", r->recovered_labels);
        printf("\n");
    }
    printf("\n");
}

static double known(uint64_t labels)
{
    return labels == UINT64_MAX ? (double)NAN : (double)labels;
}

static void add_figures(const char *name, boards_story story, const boards_result *r, char *figures)
{
    unsigned promoted_worse, certified_worse, back_worse;
    unsigned promoted = count_changes(r, "promoted", &promoted_worse);
    unsigned certified = count_changes(r, "certified", &certified_worse);
    unsigned back = count_changes(r, "taken_back", &back_worse);
    judgement_figure(figures, name, "_labelled_share", (double)r->labels / (double)r->items);
    judgement_figure(figures, name, "_promoted", promoted);
    judgement_figure(figures, name, "_promoted_worse", promoted_worse);
    judgement_figure(figures, name, "_certified", certified);
    judgement_figure(figures, name, "_certified_worse", certified_worse);
    judgement_figure(figures, name, "_taken_back", back);
    judgement_figure(figures, name, "_taken_back_worse", back_worse);
    judgement_figure(figures, name, "_alarms", (double)r->alarms);
    judgement_figure(figures, name, "_true_precision_share", tl_stream_precision(&r->all));
    judgement_figure(figures, name, "_true_recall_share", tl_stream_recall(&r->all));
    judgement_figure(figures, name, "_tti_labels", r->state.tti_labels_p50);
    judgement_figure(figures, name, "_tti_s", r->state.tti_seconds_p50);
    judgement_figure(figures, name, "_tti_proven", (double)r->state.tti_proven);
    judgement_figure(figures, name, "_tti_censored", (double)r->state.tti_censored);
    judgement_figure(figures, name, "_cpu_s", r->cpu_s);
    if (story == BOARDS_NEW_CLASS)
        judgement_figure(figures, name, "_found_labels", known(r->found_labels));
    if (story == BOARDS_LIGHTING)
        judgement_figure(figures, name, "_recovered_labels", known(r->recovered_labels));
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
    static boards_result result;
    char figures[JUDGEMENT_FIGURES_BYTES] = "";
    unsigned worse = 0;
    double most_labels = 0;
    for (int story = 0; story < BOARDS_STORY_COUNT; story++) {
        if (only != NULL && strcmp(only, NAMES[story]) != 0) continue;
        tl_error err = { 0 };
        options.story = (boards_story)story;
        if (boards_run(&options, &result, &err) != TL_OK) {
            fprintf(stderr, "boards-gated: %s\n", err.text);
            return 1;
        }
        show(NAMES[story], options.story, &result);
        add_figures(NAMES[story], options.story, &result, figures);
        unsigned promoted_worse, certified_worse;
        count_changes(&result, "promoted", &promoted_worse);
        count_changes(&result, "certified", &certified_worse);
        worse += promoted_worse + certified_worse;
        most_labels = fmax(most_labels, (double)result.labels / (double)result.items);
    }
    judgement_figure(figures, "labelled_share", "_highest", most_labels);
    judgement_last_line("boards-gated", figures, worse, 0, worse == 0 && most_labels <= LABELS_BAR);
    return 0;
}

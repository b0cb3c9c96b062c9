/* review-signals: what the reviewer's signals find within the same budget. Real boards as the
 * built-in network sees them. Some of their defects it misses; and after a while a kind of defect
 * comes that it has never seen, faint stains on good boards, of which it flags few. The fast head, the
 * mixture and the threshold learn from what people are asked about, as in a loop. Counted: errors
 * found among the passed items that people were asked about, and labels from the first stain until
 * people had seen stains that had passed. Then how well the score is calibrated, for all items, as it
 * is and with a calibrator on top that learns from what people were asked about.
 *
 * --data DIR    real boards, as pcb-stream takes them (built in: the project's shared data)
 * --runs N      orders a network; 20
 * --networks N  seeds; 6
 *
 * quick: --runs 2 --networks 1 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "bench/judgement/lib/judgement.h"
#include "bench/judgement/signals/embed.h"
#include "learn/fast/threshold.h"
#include "loop/item/novelty.h"
#include "loop/version/model.h"
#include "review/reviewer.h"
#include "stats/score/calibrator.h"
#include "stats/score/sketch.h"

enum {
    COLD = 500, /* items that everybody looks at, first */
    ITEMS = 4200,
    ARRIVAL = 1500, /* of the new kind */
    SETTLE = 6, /* times that the reviewer sees what comes before, until its budget has settled */
    HEAD_FROM = 128, /* items that a version's fast head starts from */
    BINS = 20,
    RUNS_MAX = 1024
};
static const double DEFECTS = 0.03, NEW_DEFECTS = 0.01, BUDGET = 0.10, AUDITS = 0.01;

/* What the reviewer is told. */
typedef struct signals_arm {
    const char *name, *about;
    bool random, calibrated, sketch, novelty, value;
} signals_arm;

static const signals_arm ARMS[] = {
    { .name = "random", .about = "by lot alone", .random = true },
    { .name = "uncertainty", .about = "p as it is" },
    { .name = "calibrated", .about = "p calibrated", .calibrated = true },
    { .name = "sketch", .about = " and a sketch's novelty", .calibrated = true, .sketch = true },
    { .name = "novelty_as_it_is", .about = "p as it is and distance", .novelty = true },
    { .name = "novelty", .about = " and distance", .calibrated = true, .novelty = true },
    { .name = "value", .about = " and shadows' scores", .calibrated = true, .value = true },
    { .name = "all",
      .about = " and distance and scores",
      .calibrated = true,
      .novelty = true,
      .value = true },
};
enum { ARM_PLAIN = 1, ARM_SERVED = 5, ARM_COUNT = TL_COUNT_OF(ARMS) };

/* How far probabilities are from what happened. */
typedef struct calibration {
    double nats, count[BINS], said[BINS], came[BINS];
    size_t items;
} calibration;

typedef struct tally {
    uint64_t items, labels, passed_asked;
    uint64_t missed[2], found[2]; /* known defects, new ones: that passed; that people then saw */
    uint64_t stains;
    double first[RUNS_MAX], third[RUNS_MAX]; /* labels until seen, INFINITY: never */
    size_t runs;
    calibration raw[2], mapped[2]; /* before the new kind, and with it */
} tally;

/* One run of one arm. */
typedef struct line {
    const signals_embedding *world;
    tl_model model, shadow[2];
    tl_head_stats *stats;
    tl_threshold *threshold;
    tl_reviewer *reviewer;
    tl_novelty *novelty;
    tl_sketch *sketch;
    tl_calibrator calibrator;
} line;

static void must(tl_status status, const tl_error *err)
{
    if (status == TL_OK) return;
    fprintf(stderr, "review-signals: %s\n", err->text);
    exit(1);
}

static double score_of(const tl_model *model, const signals_embedding *world,
                       const signals_view *view, size_t item, float *heads, float *scores)
{
    tl_model_score(model, view->logits + item * SIGNALS_CLASSES,
                   view->features + item * world->feature_count, heads, scores);
    return 1.0 - (double)scores[0];
}

/* ---- Learning -------------------------------------------------------------------------------- */

static void solve(line *l)
{
    tl_error err;
    tl_head_release(&l->model.head);
    must(tl_head_solve(l->stats, NULL, NULL, &l->model.head, &err), &err);
    l->model.threshold = tl_threshold_value(l->threshold);
}

static void learn(line *l, size_t item, const float *heads, const float *scores)
{
    const signals_embedding *w = l->world;
    uint32_t label = w->label[item];
    tl_error err;
    double score = 1.0 - (double)scores[0];
    tl_threshold_entry entry = { .key = item,
                                 .score = (float)score,
                                 .defect = label != 0,
                                 .flagged = score >= (double)l->model.threshold };
    tl_threshold_learn(l->threshold, &entry);
    tl_mixture_learn(&l->model.mixture, heads, SIGNALS_CLASSES, label);
    must(tl_head_stats_add(l->stats, w->now.features + item * w->feature_count, label, 1, &err),
         &err);
    solve(l);
}

/* The fast head starts from the newest items that its network learned; then comes a cold phase. */
static void warm_up(line *l, const uint32_t *order)
{
    const signals_embedding *w = l->world;
    tl_error err;
    for (size_t i = SIGNALS_LEARNED - HEAD_FROM; i < SIGNALS_LEARNED; i++)
        must(tl_head_stats_add(l->stats, w->now.features + i * w->feature_count, w->label[i], 1,
                               &err),
             &err);
    solve(l);
    for (size_t i = 0; i < COLD; i++) {
        float heads[TL_MODEL_HEAD_COUNT * SIGNALS_CLASSES], scores[SIGNALS_CLASSES];
        double score = score_of(&l->model, w, &w->now, order[i], heads, scores);
        tl_calibrator_add(&l->calibrator, score, w->label[order[i]] != 0, 1.0);
        learn(l, order[i], heads, scores);
    }
}

/* The fast head of the version before, on its own features. */
static tl_head *earlier_head(const signals_embedding *w, const tl_head_stats_options *options)
{
    tl_error err;
    tl_head_stats *stats = NULL;
    tl_head *head = NULL;
    must(tl_head_stats_create(options, &stats, &err), &err);
    for (size_t i = SIGNALS_LEARNED - HEAD_FROM; i < SIGNALS_LEARNED; i++)
        must(tl_head_stats_add(stats, w->earlier.features + i * w->feature_count, w->label[i], 1,
                               &err),
             &err);
    must(tl_head_solve(stats, NULL, NULL, &head, &err), &err);
    tl_head_stats_destroy(&stats);
    return head;
}

/* Features are in a narrow cone: a sketch needs its middle. */
static tl_sketch *centred_sketch(const signals_embedding *w, const uint32_t *order)
{
    tl_error err;
    tl_sketch *sketch = NULL;
    float *centre = calloc(w->feature_count, sizeof *centre);
    for (size_t i = 0; i < COLD; i++)
        for (size_t k = 0; k < w->feature_count; k++)
            centre[k] += w->now.features[order[i] * w->feature_count + k] / COLD;
    must(tl_sketch_create((uint32_t)w->feature_count, 1, centre, &sketch, &err), &err);
    free(centre);
    return sketch;
}

static void line_open(line *l, const signals_embedding *world, const uint32_t *order, uint64_t seed)
{
    tl_error err;
    *l = (line){ .world = world, .model = { .class_count = SIGNALS_CLASSES } };
    const tl_head_stats_options head = { .feature_count = (uint32_t)world->feature_count,
                                         .class_count = SIGNALS_CLASSES,
                                         .form = TL_HEAD_UNIT,
                                         .range = 1.0f };
    tl_mixture_options mixture = tl_mixture_options_default(TL_MODEL_HEAD_COUNT);
    tl_threshold_options threshold = tl_threshold_options_default();
    tl_reviewer_policy review = tl_reviewer_policy_default();
    review.audit_rate = AUDITS;
    review.budget = BUDGET;
    memcpy(review.key, &seed, sizeof seed);
    must(tl_head_stats_create(&head, &l->stats, &err), &err);
    must(tl_mixture_init(&l->model.mixture, &mixture, &err), &err);
    must(tl_threshold_create(&threshold, &l->threshold, &err), &err);
    l->reviewer = tl_reviewer_create(&review);
    l->novelty = tl_novelty_create((uint32_t)world->feature_count);
    l->sketch = centred_sketch(world, order);
    tl_calibrator_init(&l->calibrator);
    l->model.threshold = tl_threshold_value(l->threshold);
    warm_up(l, order);
    /* In the shadow: what serves now, frozen, and the version before it. */
    l->shadow[0] = l->shadow[1] = l->model;
    tl_head_retain(l->shadow[0].head);
    l->shadow[1].head = earlier_head(world, &head);
}

static void line_close(line *l)
{
    tl_head_release(&l->model.head);
    for (int i = 0; i < 2; i++) tl_head_release(&l->shadow[i].head);
    tl_head_stats_destroy(&l->stats);
    tl_threshold_destroy(&l->threshold);
    tl_reviewer_destroy(&l->reviewer);
    tl_novelty_destroy(&l->novelty);
    tl_sketch_destroy(&l->sketch);
}

/* ---- A run ----------------------------------------------------------------------------------- */

static void calibration_add(calibration *c, double p, bool defect)
{
    p = fmin(fmax(p, 1e-6), 1.0 - 1e-6);
    int bin = (int)fmin(p * BINS, BINS - 1);
    c->items++;
    c->nats -= log(defect ? p : 1.0 - p);
    c->count[bin]++;
    c->said[bin] += p;
    c->came[bin] += defect;
}

static double calibration_error(const calibration *c)
{
    double sum = 0.0;
    for (int i = 0; i < BINS; i++) sum += fabs(c->said[i] - c->came[i]);
    return sum / (double)c->items;
}

static tl_review_choice choose(line *l, const signals_arm *arm, size_t item, uint64_t number,
                               double score, bool flagged)
{
    const signals_embedding *w = l->world;
    const signals_view *views[] = { &w->now, &w->earlier };
    static const tl_rival RIVALS[] = { TL_RIVAL_SNAPSHOT, TL_RIVAL_CHALLENGER };
    float heads[TL_MODEL_HEAD_COUNT * SIGNALS_CLASSES], scores[SIGNALS_CLASSES];
    tl_review_signals s = { .flagged = flagged, .p = (float)score, .novelty = NAN };
    memcpy(&s.id, &number, sizeof number);
    if (arm->calibrated) s.p = (float)tl_calibrator_read(&l->calibrator, score);
    for (int i = 0; i < 2; i++) {
        double other = score_of(&l->shadow[i], w, views[i], item, heads, scores);
        bool calls = other >= (double)l->shadow[i].threshold;
        s.rivals.newest[RIVALS[i]] = 1;
        s.rivals.disagrees[RIVALS[i]] = calls != flagged;
        if (arm->value) s.value = fmaxf(s.value, (float)fabs(other - score));
    }
    const float *features = w->now.features + item * w->feature_count;
    if (arm->novelty && !flagged) s.novelty = tl_novelty_see(l->novelty, 1, features);
    if (arm->sketch && !flagged) s.novelty = (float)tl_sketch_add(l->sketch, features);
    if (arm->random) s.p = 0.5f;
    return tl_reviewer_choose(l->reviewer, &s);
}

static void settle(line *l, const signals_arm *arm, const uint32_t *order)
{
    float heads[TL_MODEL_HEAD_COUNT * SIGNALS_CLASSES], scores[SIGNALS_CLASSES];
    for (size_t i = 0; i < SETTLE * (ARRIVAL - COLD); i++) {
        size_t item = order[COLD + i % (ARRIVAL - COLD)];
        double score = score_of(&l->model, l->world, &l->world->now, item, heads, scores);
        (void)choose(l, arm, item, i, score, score >= (double)l->model.threshold);
    }
}

static void run(const signals_embedding *world, const signals_arm *arm, const uint32_t *order,
                uint64_t seed, tally *t)
{
    line l;
    line_open(&l, world, order, seed);
    settle(&l, arm, order);
    uint64_t since = 0, seen = 0;
    t->first[t->runs] = t->third[t->runs] = INFINITY;
    for (size_t i = COLD; i < ITEMS; i++) {
        size_t item = order[i];
        uint32_t label = world->label[item];
        float heads[TL_MODEL_HEAD_COUNT * SIGNALS_CLASSES], scores[SIGNALS_CLASSES];
        double score = score_of(&l.model, world, &world->now, item, heads, scores);
        bool flagged = score >= (double)l.model.threshold, is_new = label == SIGNALS_STAIN;
        calibration_add(&t->raw[i >= ARRIVAL], score, label != 0);
        calibration_add(&t->mapped[i >= ARRIVAL], tl_calibrator_read(&l.calibrator, score),
                        label != 0);
        tl_review_choice choice = choose(&l, arm, item, i, score, flagged);
        bool missed = !flagged && label != 0;
        t->items++;
        t->missed[is_new] += missed;
        t->stains += is_new;
        if (!choice.review) continue;
        t->labels++;
        since += i >= ARRIVAL;
        t->passed_asked += !flagged;
        t->found[is_new] += missed;
        if (is_new && missed && ++seen == 1) t->first[t->runs] = (double)since;
        if (is_new && missed && seen == 3) t->third[t->runs] = (double)since;
        tl_calibrator_add(&l.calibrator, score, label != 0, (double)choice.propensity);
        learn(&l, item, heads, scores);
    }
    t->runs++;
    line_close(&l);
}

/* Items without repetition, by lot: good ones, known defects, and the new kind from its arrival on. */
static void draw_order(const signals_embedding *w, uint64_t seed, uint32_t *order)
{
    tl_rng rng;
    tl_rng_seed(&rng, seed, 2);
    uint32_t *pool[3], counts[3] = { 0 }, taken[3] = { 0 };
    for (int k = 0; k < 3; k++) pool[k] = malloc(w->count * sizeof **pool);
    for (size_t i = SIGNALS_LEARNED; i < w->count; i++) {
        int kind = w->label[i] == 0 ? 0 : w->label[i] == SIGNALS_STAIN ? 2 : 1;
        uint32_t at = (uint32_t)tl_rng_below(&rng, counts[kind] + 1);
        pool[kind][counts[kind]] = pool[kind][at];
        pool[kind][at] = (uint32_t)i;
        counts[kind]++;
    }
    for (size_t i = 0; i < ITEMS; i++) {
        double u = tl_rng_unit(&rng);
        int kind = i >= ARRIVAL && u < NEW_DEFECTS ? 2 : u > 1.0 - DEFECTS ? 1 : 0;
        if (taken[kind] == counts[kind]) taken[kind] = 0; /* used up: again */
        order[i] = pool[kind][taken[kind]++];
    }
    for (int k = 0; k < 3; k++) free(pool[k]);
}

/* ---- Telling --------------------------------------------------------------------------------- */

static double found_share(const tally *t)
{
    return (double)(t->found[0] + t->found[1]) / (double)t->passed_asked;
}

static void show(const signals_arm *arm, tally *t, char *figures)
{
    char share[JUDGEMENT_SHARE_BYTES];
    double first = judgement_median(t->first, t->runs), third = judgement_median(t->third, t->runs);
    uint64_t found = t->found[0] + t->found[1];
    printf("%-26s %5.1f %%  %6llu  %-22s %4llu of %-4llu %5llu of %-5llu %4.0f %4.0f\n", arm->about,
           100.0 * (double)t->labels / (double)t->items, (unsigned long long)t->passed_asked,
           judgement_share((unsigned)found, (unsigned)t->passed_asked, share),
           (unsigned long long)t->found[0], (unsigned long long)t->missed[0],
           (unsigned long long)t->found[1], (unsigned long long)t->missed[1], first, third);
    judgement_figure(figures, arm->name, "_found_share", found_share(t));
    judgement_figure(figures, arm->name, "_known_share",
                     (double)t->found[0] / (double)t->missed[0]);
    judgement_figure(figures, arm->name, "_new_share", (double)t->found[1] / (double)t->missed[1]);
    judgement_figure(figures, arm->name, "_first_labels", first);
    judgement_figure(figures, arm->name, "_third_labels", third);
}

static void show_calibration(const char *when, const calibration *raw, const calibration *mapped)
{
    printf("%s, %zu items: log loss %.4f as it is, %.4f calibrated; calibration error %.4f, %.4f\n",
           when, raw->items, raw->nats / (double)raw->items, mapped->nats / (double)mapped->items,
           calibration_error(raw), calibration_error(mapped));
}

static void show_all(tally *tallies, char *figures)
{
    printf(
        "the reviewer knows          labels   asked  errors found per asked  known missed    new "
        "missed    1st  3rd new one (labels, median)\n");
    for (size_t a = 0; a < ARM_COUNT; a++) show(&ARMS[a], &tallies[a], figures);
    const tally *t = &tallies[ARM_PLAIN];
    printf("flagged of the new kind: %.0f %%\n",
           100.0 * (1.0 - (double)t->missed[1] / (double)t->stains));
    show_calibration("before the new kind", &t->raw[0], &t->mapped[0]);
    show_calibration("with it", &t->raw[1], &t->mapped[1]);
    judgement_figure(figures, "as_it_is", "_calibration_error", calibration_error(&t->raw[0]));
    judgement_figure(figures, "calibrated", "_calibration_error", calibration_error(&t->mapped[0]));
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    tl_log_set_level(TL_LOG_ERROR);
    const char *data = TL_SHARED_DATA "/pcb-stream";
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--data") == 0) data = argv[i + 1];
    unsigned runs = judgement_option(argc, argv, "--runs", 20);
    unsigned networks = judgement_option(argc, argv, "--networks", 6);
    if (runs * networks > RUNS_MAX) runs = RUNS_MAX / networks;
    static tally tallies[ARM_COUNT];
    static uint32_t order[ITEMS];
    char figures[JUDGEMENT_FIGURES_BYTES] = "";
    tl_error err;
    boards_line boards;
    must(boards_line_open(&boards, data, BOARDS_PLAIN, 0, &err), &err);
    for (unsigned n = 0; n < networks; n++) {
        signals_embedding world;
        must(signals_embed(&boards, n + 1, &world, &err), &err);
        for (unsigned r = 0; r < runs; r++) {
            draw_order(&world, r, order);
            for (size_t a = 0; a < ARM_COUNT; a++) run(&world, &ARMS[a], order, r + 1, &tallies[a]);
            judgement_progress("runs", n * runs + r + 1, networks * runs);
        }
        signals_embedding_clear(&world);
    }
    boards_line_close(&boards);
    show_all(tallies, figures);
    double found = found_share(&tallies[ARM_SERVED]), plain = found_share(&tallies[ARM_PLAIN]);
    judgement_last_line("review-signals", figures, found / plain, 1.0, found > plain);
    return 0;
}

/* gate-cost: processor time of the gate, the review and the estimates, beside that of serving: the
 * small network, 64 x 64 grey with templates, a tenth of the boards defective, every drawn item
 * answered. One loop in turns: with four challengers on shared features, with none, with none and
 * nobody answering, and with one challenger that has a backbone of its own, which is told apart.
 * The four differ in their thresholds: two flag .5 and 1 % of the items more, two as many fewer.
 *
 * Counted are: what the four add, with the answers that they ask for; and what cannot be switched
 * off: all that the learner's thread does while nobody answers, handing predictions to it, and
 * choosing for review. Serving is the rest of the turn in which nobody answers.
 *
 * --rounds N   turns; 161
 * --images N   a turn; 200
 *
 * quick: --rounds 21 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "bench/judgement/lib/judgement.h"
#include "cli/folder.h"
#include "loop/core/internal.h"
#include "loop/threads/runtime.h"
#include "sim/board.h"
#include "stats/estimate/selective.h"

enum {
    BOARD_ITEMS = 10,
    LEARNED = 600,
    SHARED = 4,
    ROUNDS_MAX = 1000,
    MICRO = 200000,
    GATHERED = 16
};
static const double BAR = 0.05;

typedef enum arm { NONE, UNANSWERED, FOUR_SHARED, OWN_BACKBONE, ARM_COUNT } arm;

typedef struct bench {
    char folder[64];
    tl_runtime *runtime;
    tl_loop *loop;
    tl_sim_board *boards; /* [images] */
    float *scores;        /* [images] that they are given, ascending */
    uint32_t images;
    uint64_t sent, answers; /* answers: of this turn */
    arm arm;
    double learner; /* of this turn, ns an image */
} bench;

static double clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static double cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static double learner_ns(const bench *b)
{
    clockid_t clock;
    return pthread_getcpuclockid(b->runtime->learner, &clock) == 0 ? clock_ns(clock) : NAN;
}

static void check(tl_status status, const tl_error *err)
{
    if (status == TL_OK) return;
    fprintf(stderr, "gate-cost: %s\n", err->text);
    exit(1);
}

/* ---- Serving --------------------------------------------------------------------------------- */

static void open_loop(bench *b)
{
    tl_error err = { 0 };
    tl_runtime_options runtime = tl_runtime_options_default();
    tl_loop_options loop = tl_loop_options_default();
    snprintf(b->folder, sizeof b->folder, "/tmp/tightloop-bench-XXXXXX");
    if (mkdtemp(b->folder) == NULL) check(tl_fail(&err, TL_EIO, "no folder in /tmp"), &err);
    runtime.path = b->folder;
    runtime.durability = TL_DURABILITY_RELAXED;
    check(tl_runtime_open(&runtime, &b->runtime, &err), &err);
    loop.name = "cost";
    loop.has_template = true;
    loop.classes = TL_SIM_CLASSES;
    loop.class_count = TL_SIM_CLASS_COUNT;
    loop.cold_labels = LEARNED;
    loop.gate.promotion = TL_PROMOTION_NO_WORSE; /* who is in shadow is decided here */
    loop.gate.alpha = 1e-9;                      /* and nobody comes out of it */
    check(tl_loop_open(b->runtime, &loop, &b->loop, &err), &err);
}

static tl_prediction ask(bench *b, const tl_sim_board *board)
{
    tl_error err = { 0 };
    tl_prediction p = { 0 };
    char name[32];
    snprintf(name, sizeof name, "%llu", (unsigned long long)(b->sent++ / BOARD_ITEMS));
    tl_image image = { .encoding = TL_IMAGE_U8,
                       .data = board->image,
                       .bytes = TL_SIM_PIXELS,
                       .height = TL_SIM_SIDE,
                       .width = TL_SIM_SIDE,
                       .channels = 1 };
    tl_item item = { .image = image, .reference = image, .board = name, .site = "a" };
    item.reference.data = board->reference;
    check(tl_loop_predict(b->loop, &item, &p, &err), &err);
    return p;
}

static void answer(bench *b, const tl_prediction *p, uint32_t label)
{
    tl_error err = { 0 };
    tl_feedback feedback = { .prediction_id = p->id,
                             .kind = TL_FEEDBACK_LABEL,
                             .label = TL_SIM_CLASSES[label] };
    check(tl_loop_feedback(b->loop, &feedback, NULL, &err), &err);
}

/* Half of the labels are of defects, so that soon there is something to serve; then learning rests. */
static void learn(bench *b)
{
    tl_error err = { 0 };
    tl_sim_plant plant = { .seed = 2, .defect_rate = 0.5 };
    for (uint64_t i = 0; i < LEARNED; i++) {
        tl_sim_board board;
        tl_sim_board_draw(&plant, 0, i, &board);
        tl_prediction p = ask(b, &board);
        answer(b, &p, board.label);
    }
    check(tl_loop_drain(b->loop, &err), &err);
    check(tl_loop_set_learning(b->loop, false, "bench", &err), &err);
}

static int ascending(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Learning rests: they are given the same ones in each turn. */
static void take_scores(bench *b)
{
    for (uint32_t i = 0; i < b->images; i++) b->scores[i] = ask(b, &b->boards[i]).defect_score;
    qsort(b->scores, b->images, sizeof *b->scores, ascending);
}

static void serve(bench *b)
{
    for (uint32_t i = 0; i < b->images; i++) {
        tl_prediction p = ask(b, &b->boards[i]);
        if (!p.review || b->arm == UNANSWERED) continue;
        answer(b, &p, b->boards[i].label);
        b->answers++;
    }
}

/* ---- Who is in shadow ------------------------------------------------------------------------ */

static void add_challenger(tl_core *core, uint64_t key, float threshold, bool own_backbone)
{
    tl_error err = { 0 };
    tl_shadow *s = &core->shadows[core->shadow_count++];
    *s = (tl_shadow){ .key = key,
                      .version = core->champion,
                      .watch = TL_GATE_BETTER,
                      .own_backbone = own_backbone,
                      .weights = core->weights,
                      .head = core->head,
                      .mixture = core->mixture,
                      .threshold = threshold };
    if (own_backbone)
        check(tl_weights_create(core->graph, tl_weights_flat(core->weights), &s->weights, &err),
              &err);
    else
        tl_weights_retain(core->weights);
    if (s->head != NULL) tl_head_retain(s->head);
    check(tl_gate_watch(core->gate, key, TL_GATE_BETTER, core->position, &err), &err);
}

/* A threshold that flags `more` items more than the other one, or fewer, of those of a turn. */
static float threshold_beside(const bench *b, float threshold, int more)
{
    int count = (int)b->images, place = 0;
    while (place < count && b->scores[place] < threshold) place++;
    place -= more;
    if (place <= 0) return 0.0f;
    if (place >= count) return 1.0f;
    return 0.5f * (b->scores[place - 1] + b->scores[place]);
}

/* On the thread that owns the core. */
static void take_turn(tl_core *core, void *context)
{
    bench *b = context;
    while (core->shadow_count > 0) {
        tl_shadow *s = &core->shadows[--core->shadow_count];
        tl_gate_drop(core->gate, s->key);
        tl_shadow_clear(s);
    }
    static const int MORE_IN_200[SHARED] = { -2, -1, 1, 2 };
    unsigned count = b->arm == FOUR_SHARED ? SHARED : b->arm == OWN_BACKBONE ? 1 : 0;
    float threshold = tl_core_threshold(core);
    for (unsigned i = 0; i < count; i++)
        add_challenger(
            core, (1ull << 40) + 8 * core->position + i,
            threshold_beside(b, threshold, MORE_IN_200[i] * (int)(b->images + 199) / 200),
            b->arm == OWN_BACKBONE);
    core->shadows_changed = true;
}

static double turn(bench *b, arm now)
{
    tl_error err = { 0 };
    b->arm = now;
    check(tl_control_look(b->loop, take_turn, b, &err), &err);
    check(tl_control_barrier(b->loop, &err), &err); /* the batcher knows */
    b->answers = 0;
    double before = cpu_ns(), learner_before = learner_ns(b);
    serve(b);
    check(tl_control_barrier(b->loop, &err), &err);
    b->learner = (learner_ns(b) - learner_before) / b->images;
    return (cpu_ns() - before) / b->images;
}

/* ---- Parts by themselves --------------------------------------------------------------------- */

static double gate_ns(unsigned shadows)
{
    tl_gate *gate = NULL;
    tl_gate_policy policy = tl_gate_policy_default();
    policy.alpha = 1e-9;
    TL_ASSERT(tl_gate_create(&policy, &gate, NULL) == TL_OK);
    for (unsigned s = 0; s < shadows; s++)
        TL_ASSERT(tl_gate_watch(gate, s + 1, TL_GATE_BETTER, 0, NULL) == TL_OK);
    double before = cpu_ns();
    for (uint64_t i = 1; i <= MICRO; i++) {
        bool disagreed = shadows > 0 && i % 50 == 0;
        tl_gate_item item = { .position = i,
                              .time_us = (int64_t)i * 7194,
                              .unit = 1 + i / BOARD_ITEMS,
                              .site = 1,
                              .drawn = disagreed || i % 50 == 25,
                              .propensity = disagreed ? 1.0 : 0.02,
                              .shadow_count = shadows };
        for (unsigned s = 0; s < shadows; s++)
            item.shadow[s] = (tl_gate_call){ s + 1, disagreed && (s + i / 50) % 2 == 0 };
        TL_ASSERT(tl_gate_item_add(gate, &item, NULL) == TL_OK);
        if (item.drawn) tl_gate_label(gate, i, i % 4 == 0, 1);
    }
    double spent = cpu_ns() - before;
    tl_gate_destroy(&gate);
    return spent / MICRO;
}

static double reviewer_ns(void)
{
    tl_reviewer_policy policy = tl_reviewer_policy_default();
    tl_reviewer *reviewer = tl_reviewer_create(&policy);
    TL_ASSERT(reviewer != NULL);
    double before = cpu_ns();
    for (uint64_t i = 1; i <= MICRO; i++) {
        tl_review_signals signals = { .p = 0.1f, .novelty = NAN, .alarm = 1.0f };
        memcpy(signals.id.bytes, &i, sizeof i);
        (void)tl_reviewer_choose(reviewer, &signals);
    }
    double spent = cpu_ns() - before;
    tl_reviewer_destroy(&reviewer);
    return spent / MICRO;
}

static double estimates_ns(void)
{
    static tl_selective state;
    static tl_conformal drift;
    tl_selective_options options = tl_selective_options_default();
    TL_ASSERT(tl_selective_init(&state, &options, NULL) == TL_OK);
    tl_conformal_init(&drift, 0.0, 1.0, 1);
    double before = cpu_ns();
    for (uint64_t i = 1; i <= MICRO; i++) {
        tl_selective_add(&state, i % 10 == 0, i % 10 == 0 || i % 50 == 1, i % 11 == 0,
                         i % 10 == 0 ? 1.0 : 0.02, 0.1);
        tl_conformal_step(&drift, (double)(i * 2654435761u % 4096) / 4096);
    }
    return (cpu_ns() - before) / MICRO;
}

typedef struct pair {
    tl_queue *there, *back;
} pair;

static void *hand_back(void *context)
{
    pair *queues = context;
    void *out[GATHERED];
    while (tl_queue_pop_gathered(queues->there, out, GATHERED, 1000000000, GATHERED) > 0)
        (void)tl_queue_push(queues->back, out[0]);
    return NULL;
}

/* A handful to a thread that gathers, and its answer waited for: twice the waking of what is meant. */
static double handing_ns(void)
{
    pair queues;
    pthread_t thread;
    void *out[1];
    TL_ASSERT(tl_queue_create(GATHERED, &queues.there) == TL_OK);
    TL_ASSERT(tl_queue_create(GATHERED, &queues.back) == TL_OK);
    TL_ASSERT(pthread_create(&thread, NULL, hand_back, &queues) == 0);
    double before = cpu_ns();
    for (unsigned i = 0; i < MICRO; i++) {
        TL_ASSERT(tl_queue_push_quietly(queues.there, out) == TL_OK);
        if (i % GATHERED == GATHERED - 1) tl_queue_pop_many(queues.back, out, 1, -1);
    }
    double spent = cpu_ns() - before;
    tl_queue_close(queues.there);
    pthread_join(thread, NULL);
    tl_queue_destroy(&queues.there);
    tl_queue_destroy(&queues.back);
    return spent / MICRO;
}

static double score_ns(bench *b)
{
    tl_model *model = tl_model_slot_get(b->loop->model);
    size_t features = tl_graph_feature_count(b->loop->graph);
    float *row = calloc(features + TL_CLASS_COUNT_MAX, sizeof *row);
    float heads[TL_MODEL_HEAD_COUNT * TL_CLASS_COUNT_MAX], scores[TL_CLASS_COUNT_MAX];
    TL_ASSERT(row != NULL);
    for (size_t i = 0; i < features; i++) row[i] = (float)(i % 7) / 7;
    tl_model_row shared;
    tl_model_row_begin(&shared, row + features, row);
    double before = cpu_ns();
    for (uint64_t i = 1; i <= MICRO; i++) tl_model_score_row(model, &shared, heads, scores);
    double spent = cpu_ns() - before;
    free(row);
    tl_model_release(&model);
    return spent / MICRO;
}

/* ---- The figures ----------------------------------------------------------------------------- */

/* Median, and its 95 % interval by order statistics; sorts. */
static double median(double *values, unsigned count, double *low, double *high)
{
    double value = judgement_median(values, count);
    unsigned off = (unsigned)fmax(0, floor((count - 1.96 * sqrt(count)) / 2));
    *low = values[off];
    *high = values[count - 1 - off];
    return value;
}

static double show_share(const char *what, double *shares, unsigned rounds, const char *name,
                         char *figures)
{
    double low, high, value = median(shares, rounds, &low, &high);
    printf("%-42s %6.2f %% [%.2f, %.2f] of serving, %u turns\n", what, 100 * value, 100 * low,
           100 * high, rounds);
    judgement_figure(figures, name, "_share", value);
    judgement_figure(figures, name, "_share_low", low);
    judgement_figure(figures, name, "_share_high", high);
    return value;
}

static double show_ns(const char *what, double ns, const char *name, char *figures)
{
    printf("%-42s %6.0f ns an item\n", what, ns);
    judgement_figure(figures, name, "_ns", ns);
    return ns;
}

int main(int argc, char **argv)
{
    static double spent[ARM_COUNT][ROUNDS_MAX], learner[ROUNDS_MAX], shared[ROUNDS_MAX],
        own[ROUNDS_MAX], together[ROUNDS_MAX], serving[ROUNDS_MAX];
    double answers[ARM_COUNT] = { 0 };
    char figures[JUDGEMENT_FIGURES_BYTES] = "";
    unsigned rounds = judgement_option(argc, argv, "--rounds", 161);
    bench b = { .images = judgement_option(argc, argv, "--images", 200) };
    if (rounds > ROUNDS_MAX) rounds = ROUNDS_MAX;
    setvbuf(stdout, NULL, _IOLBF, 0);
    tl_log_set_level(TL_LOG_ERROR);
    b.boards = malloc(b.images * sizeof *b.boards);
    b.scores = malloc(b.images * sizeof *b.scores);
    if (b.boards == NULL || b.scores == NULL || b.images == 0 || rounds == 0) return 2;
    tl_sim_plant plant = { .seed = 1, .defect_rate = 0.1 };
    for (uint32_t i = 0; i < b.images; i++) tl_sim_board_draw(&plant, 0, i, &b.boards[i]);
    open_loop(&b);
    learn(&b);
    take_scores(&b);
    turn(&b, FOUR_SHARED); /* warm */
    double apart = reviewer_ns() + handing_ns();
    for (unsigned r = 0; r < rounds; r++) {
        for (unsigned k = 0; k < ARM_COUNT; k++) { /* who begins changes */
            arm now = (arm)((k + r) % ARM_COUNT);
            spent[now][r] = turn(&b, now);
            answers[now] += (double)b.answers / b.images / rounds;
            if (now == UNANSWERED) learner[r] = b.learner;
        }
        double always = learner[r] + apart, added = spent[FOUR_SHARED][r] - spent[NONE][r];
        serving[r] = spent[UNANSWERED][r] - always;
        shared[r] = added / serving[r];
        own[r] = (spent[OWN_BACKBONE][r] - spent[NONE][r]) / serving[r];
        together[r] = (added + always) / serving[r];
        judgement_progress("turns", r + 1, rounds);
    }
    double low, high, plain = median(serving, rounds, &low, &high);
    printf("serving an image: %.0f us of processor time [%.0f, %.0f]\n", plain / 1e3, low / 1e3,
           high / 1e3);
    judgement_figure(figures, "serving", "_us", plain / 1e3);
    show_share("four challengers on shared features", shared, rounds, "shared", figures);
    show_share("one challenger with its own backbone", own, rounds, "own_backbone", figures);
    printf("items that people answer: %.2f %% with the four, %.2f %% without\n",
           100 * answers[FOUR_SHARED], 100 * answers[NONE]);
    judgement_figure(figures, "answered_with_four", "_share", answers[FOUR_SHARED]);
    judgement_figure(figures, "answered_without", "_share", answers[NONE]);
    show_ns("always: the learner's thread", median(learner, rounds, &low, &high), "learner",
            figures);
    show_ns("always: choosing, handing to the learner", apart, "apart", figures);
    show_ns("of these, the gate without a challenger", gate_ns(0), "gate_bare", figures);
    show_ns("of these, estimates and drift", estimates_ns(), "estimates", figures);
    show_ns("the gate with four", gate_ns(SHARED), "gate", figures);
    show_ns("scoring one challenger", score_ns(&b), "score", figures);
    double total =
        show_share("gate, review and estimates together", together, rounds, "all", figures);
    printf("at 139 images a second %.2f %% of a core\n", 100 * total * plain * 139 / 1e9);
    judgement_figure(figures, "core_at_139_a_second", "_share", total * plain * 139 / 1e9);
    tl_runtime_close(&b.runtime);
    tl_folder_remove(b.folder);
    free(b.boards);
    free(b.scores);
    judgement_last_line("gate-cost", figures, total, BAR, total <= BAR);
    return 0;
}

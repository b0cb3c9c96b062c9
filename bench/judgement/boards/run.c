#include "bench/judgement/boards/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/blob.h"
#include "cli/folder.h"

enum {
    LIAR = BOARDS_SOURCES - 1,
    DELAY = 10, /* a label comes so many items after its prediction */
    NEWEST = 20,
    SETTLED = 300,       /* items of a window after a change */
    RESUME_AFTER = 200,  /* items after a take-back until somebody lets the loop learn on */
    VOLUNTEERED_OF = 20, /* the liar volunteers a lie for one in so many passed items */
    COLD_LABELS = 400,
    ITEM_US = 360000 /* a line of 2.78 items a second */
};

static const double LEAST_EFFECT = 0.0005; /* the loop's default */

/* ---- Time as on a line ----------------------------------------------------------------------- */

typedef struct sim_clock {
    _Atomic int64_t us;
    _Atomic uint64_t drawn;
    uint64_t seed;
} sim_clock;

static int64_t clock_wall_us(void *context)
{
    return atomic_load(&((sim_clock *)context)->us);
}

static int64_t clock_mono_ns(void *context)
{
    (void)context;
    return tl_env_mono_ns(tl_env_system());
}

static void clock_random(void *context, void *out, size_t bytes)
{
    sim_clock *clock = context;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t number = atomic_fetch_add(&clock->drawn, 1);
        uint64_t value = tl_hash64(&number, sizeof number, clock->seed);
        memcpy((uint8_t *)out + i, &value, bytes - i < 8 ? bytes - i : 8);
    }
}

/* ---- A run ----------------------------------------------------------------------------------- */

/* What answers, and what decides beside it: one reference each. */
typedef struct cast {
    tl_model *champion, *shadow[TL_GATE_SHADOW_MAX];
    size_t shadow_count;
} cast;

typedef struct waiting {
    tl_id id;
    uint32_t label;
    bool asked;
    uint64_t number;
} waiting;

typedef struct run {
    const boards_options *options;
    boards_line line;
    boards_truth truth;
    sim_clock clock;
    tl_env env;
    char folder[64];
    tl_runtime *runtime;
    tl_loop *loop;
    uint8_t *pixels;
    waiting waiting[DELAY + 1];
    cast before; /* as after the item before */
    uint64_t event_position, resume_at;
    size_t frozen_at;                     /* the item after which the newest baseline was */
    uint32_t deck[BOARDS_SOURCES], dealt; /* who answers next: everybody once a round, at random */
    tl_rng rng;
    uint8_t *wrong; /* of each item so far */
    uint64_t labels_at_change, class_labels, class_items;
    uint8_t newest[NEWEST]; /* flags of the new class's newest items, ring */
    boards_result *out;
} run;

static tl_status open_loop(run *r, tl_error *err)
{
    tl_runtime_options runtime = tl_runtime_options_default();
    runtime.path = r->folder;
    runtime.durability = TL_DURABILITY_RELAXED;
    tl_status status = tl_runtime_open_in(&runtime, &r->env, NULL, &r->runtime, err);
    if (status != TL_OK) return status;
    const char *classes[TL_CLASS_COUNT_MAX];
    for (size_t i = 0; i < r->line.info.class_count; i++) classes[i] = r->line.info.classes[i];
    tl_loop_options loop = tl_loop_options_default();
    loop.name = "boards";
    loop.height = r->line.info.height;
    loop.width = r->line.info.width;
    loop.channels = r->line.info.channels;
    loop.has_template = r->line.info.has_template;
    loop.classes = classes;
    loop.class_count = r->line.info.class_count;
    loop.seed = r->options->seed;
    loop.cold_labels = COLD_LABELS;
    loop.gate.timeout_s = 60;
    loop.gate.promised_error = 0.04;
    if (r->options->story == BOARDS_POISONED) loop.gate.hostile = 0.1;
    return tl_loop_open(r->runtime, &loop, &r->loop, err);
}

/* ---- Who answers what ------------------------------------------------------------------------ */

static uint32_t next_source(run *r)
{
    if (r->dealt == 0) {
        for (uint32_t i = 0; i < BOARDS_SOURCES; i++) r->deck[i] = i;
        for (uint32_t i = BOARDS_SOURCES; i > 1; i--) {
            uint32_t j = (uint32_t)tl_rng_below(&r->rng, i), kept = r->deck[i - 1];
            r->deck[i - 1] = r->deck[j];
            r->deck[j] = kept;
        }
        r->dealt = BOARDS_SOURCES;
    }
    return r->deck[--r->dealt];
}

static tl_status say(run *r, const waiting *w, uint32_t source, bool lies, tl_error *err)
{
    uint32_t said = w->label;
    if (lies) said = w->label != 0 ? 0 : 1 + (uint32_t)(w->number % (r->line.info.class_count - 1));
    char name[32];
    snprintf(name, sizeof name, "inspector-%02u", source);
    tl_feedback feedback = { .prediction_id = w->id,
                             .kind = TL_FEEDBACK_LABEL,
                             .label = r->line.info.classes[said],
                             .source = name };
    tl_status status = tl_loop_feedback(r->loop, &feedback, NULL, err);
    if (status != TL_OK) return status;
    r->out->labels++;
    r->out->lies += lies;
    if (w->label == r->line.new_class && w->number >= r->line.change_at) r->class_labels++;
    return tl_loop_drain(r->loop, err); /* in step, so that the result does not depend on speed */
}

/* The people look at what was put before them; a liar says more than he is asked. */
static tl_status answer(run *r, const waiting *w, tl_error *err)
{
    bool poisoned = r->options->story == BOARDS_POISONED;
    if (w->asked) {
        uint32_t source = next_source(r);
        r->out->reviewed++;
        return say(r, w, source, poisoned && source == LIAR, err);
    }
    if (!poisoned || w->number % VOLUNTEERED_OF != 0) return TL_OK;
    r->out->volunteered++;
    return say(r, w, LIAR, true, err);
}

/* ---- What the gate does ---------------------------------------------------------------------- */

static void cast_release(cast *c)
{
    tl_model_release(&c->champion);
    for (size_t i = 0; i < c->shadow_count; i++) tl_model_release(&c->shadow[i]);
    c->shadow_count = 0;
}

static void cast_take(tl_loop *loop, cast *c)
{
    c->champion = tl_model_slot_get(loop->model);
    pthread_mutex_lock(&loop->mutex);
    c->shadow_count = loop->shared.shadow_count;
    for (size_t i = 0; i < c->shadow_count; i++) {
        c->shadow[i] = loop->shared.shadows[i];
        tl_model_retain(c->shadow[i]);
    }
    pthread_mutex_unlock(&loop->mutex);
}

/* The baseline of that version that is in shadow no more. */
static const tl_model *gone(const cast *before, const cast *now, uint64_t version)
{
    for (size_t i = 0; i < before->shadow_count; i++) {
        bool stays = before->shadow[i]->version != version;
        for (size_t k = 0; k < now->shadow_count && !stays; k++)
            stays = now->shadow[k]->key == before->shadow[i]->key;
        if (!stays) return before->shadow[i];
    }
    return NULL;
}

/* A version that begins to decide in shadow: whether it should be promoted is known here. */
static tl_status note_challenger(run *r, const tl_gate_event *event, const cast *now, size_t item,
                                 tl_error *err)
{
    const tl_model *challenger = NULL;
    for (size_t i = 0; i < now->shadow_count; i++)
        if (now->shadow[i]->version == event->version && event->version != now->champion->version)
            challenger = now->shadow[i];
    if (challenger == NULL) return TL_OK; /* decided within the same item */
    boards_pair rest, kept_out;
    double low, high;
    tl_status status =
        boards_truth_compare(&r->truth, challenger, now->champion, item, &rest, &kept_out, err);
    r->out->challengers++;
    double gain = boards_pair_gain(&rest, &low, &high);
    r->out->better_challengers += gain > LEAST_EFFECT;
    fprintf(stderr, "  truly %.4f [%.4f, %.4f] fewer errors an item on the rest of the stream\n",
            gain, low, high);
    return status;
}

static tl_status note_change(run *r, const tl_gate_event *event, const cast *now, size_t item,
                             tl_error *err)
{
    if (r->out->change_count == BOARDS_CHANGE_MAX)
        return tl_fail(err, TL_ELIMIT, "too many changes");
    bool certified = strcmp(event->kind, "certified") == 0;
    const tl_model *replaced =
        certified ? gone(&r->before, now, event->version) : r->before.champion;
    if (replaced == NULL) return tl_fail(err, TL_ENOTFOUND, "the baseline of a certificate");
    boards_change *c = &r->out->change[r->out->change_count++];
    *c = (boards_change){ .item = item, .version = event->version };
    snprintf(c->kind, sizeof c->kind, "%s", event->kind);
    snprintf(c->words, sizeof c->words, "%s", event->words);
    tl_status status =
        boards_truth_compare(&r->truth, now->champion, replaced, item, &c->rest, &c->kept_out, err);
    if (status != TL_OK || !certified) return status;
    return boards_truth_since(&r->truth, r->wrong, replaced, r->frozen_at, item, &c->claim, err);
}

static void is_pending(tl_core *core, void *context)
{
    uint64_t number;
    *(bool *)context = tl_core_verdict(core, &number) != NULL;
}

/* Wait until verdicts that were reached are events that were applied. */
static tl_status settle(run *r, tl_error *err)
{
    for (bool pending = true; pending;) {
        tl_status status = tl_control_look(r->loop, is_pending, &pending, err);
        if (status != TL_OK) return status;
        if (pending) nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
    }
    return TL_OK;
}

static tl_status look_at_gate(run *r, size_t item, tl_error *err)
{
    tl_gate_event events[16];
    tl_status status = settle(r, err);
    if (status != TL_OK) return status;
    size_t count = tl_loop_gate_events(r->loop, events, TL_COUNT_OF(events));
    cast now;
    cast_take(r->loop, &now);
    for (size_t i = count; i-- > 0 && status == TL_OK;) {
        const tl_gate_event *e = &events[i];
        if (e->position <= r->event_position) continue;
        fprintf(stderr, "item %zu, %llu labels: %s version %llu: %s\n", item,
                (unsigned long long)r->out->labels, e->kind, (unsigned long long)e->version,
                e->words);
        if (strcmp(e->kind, "alarm") == 0) r->out->alarms++;
        if (strcmp(e->kind, "baseline") == 0) r->frozen_at = item;
        if (strcmp(e->kind, "challenge") == 0) status = note_challenger(r, e, &now, item, err);
        bool taken_back = strcmp(e->kind, "taken_back") == 0;
        if (taken_back) r->resume_at = item + RESUME_AFTER;
        if (taken_back || strcmp(e->kind, "promoted") == 0 || strcmp(e->kind, "certified") == 0)
            status = note_change(r, e, &now, item, err);
    }
    if (count > 0) r->event_position = events[0].position;
    cast_release(&r->before);
    r->before = now;
    if (status == TL_OK && r->resume_at == item && item > 0)
        status = tl_loop_set_learning(r->loop, true, "operator", err);
    return status;
}

/* ---- The truth over time --------------------------------------------------------------------- */

static void count_item(tl_stream_counts *counts, const tl_prediction *p, uint32_t label)
{
    counts->items++;
    counts->correct += p->label == label;
    counts->defects += label != 0;
    counts->flagged += p->flagged;
    counts->flagged_defects += p->flagged && label != 0;
}

static double wrong_share(const run *r, size_t from, size_t until)
{
    uint64_t wrong = 0;
    for (size_t i = from; i < until; i++) wrong += r->wrong[i];
    return until > from ? (double)wrong / (double)(until - from) : 0;
}

static void note_new_class(run *r, bool flagged)
{
    boards_result *out = r->out;
    r->newest[r->class_items++ % NEWEST] = flagged;
    if (r->class_items < NEWEST) return;
    uint32_t sum = 0;
    for (int i = 0; i < NEWEST; i++) sum += r->newest[i];
    if (r->class_items == NEWEST) out->first_flagged = (double)sum / NEWEST;
    if (sum * 5 < NEWEST * 4 || out->found_labels != UINT64_MAX) return;
    out->found_labels = out->labels - r->labels_at_change;
    out->found_class_labels = r->class_labels;
}

static void note_truth(run *r, size_t item, const tl_prediction *p)
{
    boards_result *out = r->out;
    uint32_t label = r->line.items[item].label;
    size_t point = item / BOARDS_WINDOW, change = r->line.change_at;
    count_item(&out->all, p, label);
    if (point < BOARDS_POINT_MAX) {
        count_item(&out->point[point], p, label);
        out->asked[point] += p->review;
        out->point_count = point + 1;
    }
    r->wrong[item] = p->flagged != (label != 0);
    if (item == change) {
        r->labels_at_change = out->labels;
        out->errors_before = wrong_share(r, item > 1000 ? item - 1000 : 0, item);
    }
    if (item < change) return;
    if (label == r->line.new_class) note_new_class(r, p->flagged);
    if (item < change + SETTLED) return;
    double now = wrong_share(r, item - SETTLED, item);
    if (item == change + SETTLED) out->errors_after = now;
    if (out->recovered_labels == UINT64_MAX && now <= 1.5 * out->errors_before)
        out->recovered_labels = out->labels - r->labels_at_change;
}

/* ---- The way through ------------------------------------------------------------------------- */

static tl_image image_of(const boards_line *line, const uint8_t *pixels)
{
    return (tl_image){ .encoding = TL_IMAGE_U8,
                       .data = pixels,
                       .bytes = line->plane,
                       .height = line->info.height,
                       .width = line->info.width,
                       .channels = line->info.channels };
}

static tl_status run_item(run *r, size_t i, tl_error *err)
{
    const boards_item *known = &r->line.items[i];
    tl_prediction p;
    tl_status status = boards_line_pixels(&r->line, known, i, r->pixels, err);
    tl_item item = { .image = image_of(&r->line, r->pixels),
                     .reference = image_of(&r->line, r->pixels + r->line.plane),
                     .site = known->site,
                     .board = known->board };
    if (status == TL_OK) status = tl_loop_predict(r->loop, &item, &p, err);
    if (status != TL_OK) return status;
    note_truth(r, i, &p);
    r->waiting[i % (DELAY + 1)] = (waiting){ p.id, known->label, p.review, i };
    if (i >= DELAY) status = answer(r, &r->waiting[(i + 1) % (DELAY + 1)], err);
    if (status == TL_OK) status = look_at_gate(r, i, err);
    atomic_fetch_add(&r->clock.us, ITEM_US);
    return status;
}

static double clock_s(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static tl_status go(run *r, tl_error *err)
{
    double cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID), wall_s = clock_s(CLOCK_MONOTONIC);
    tl_status status = TL_OK;
    for (size_t i = 0; i < r->line.count && status == TL_OK; i++) status = run_item(r, i, err);
    r->out->items = r->line.count;
    r->out->cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu_s;
    r->out->wall_s = clock_s(CLOCK_MONOTONIC) - wall_s;
    tl_loop_status(r->loop, &r->out->state);
    return status;
}

static tl_status set_up(run *r, tl_error *err)
{
    const boards_options *o = r->options;
    snprintf(r->folder, sizeof r->folder, "/tmp/tightloop-bench-XXXXXX");
    if (mkdtemp(r->folder) == NULL) return tl_fail(err, TL_EIO, "no folder in /tmp");
    r->clock.us = 1700000000000000;
    r->clock.seed = o->seed;
    r->env = (tl_env){ &r->clock, clock_wall_us, clock_mono_ns, clock_random };
    tl_rng_seed(&r->rng, o->seed, 1);
    tl_status status = boards_line_open(&r->line, o->data, o->story, o->limit, err);
    if (status != TL_OK) return status;
    r->pixels = malloc(2 * r->line.plane);
    r->wrong = calloc(r->line.count + 1, 1);
    if (r->pixels == NULL || r->wrong == NULL) return tl_fail(err, TL_ENOMEM, "boards");
    status = open_loop(r, err);
    return status == TL_OK ? boards_truth_open(&r->truth, &r->line, r->loop, err) : status;
}

tl_status boards_run(const boards_options *options, boards_result *out, tl_error *err)
{
    static run r;
    r = (run){ .options = options, .out = out };
    *out = (boards_result){ .found_labels = UINT64_MAX, .recovered_labels = UINT64_MAX };
    tl_status status = set_up(&r, err);
    if (status == TL_OK) status = go(&r, err);
    cast_release(&r.before);
    boards_truth_close(&r.truth);
    tl_runtime_close(&r.runtime);
    tl_folder_remove(r.folder);
    boards_line_close(&r.line);
    free(r.pixels);
    free(r.wrong);
    return status;
}

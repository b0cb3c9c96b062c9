/* Which version is shadowed next: one backbone at a time, the newest waits. */
#include "loop/core/internal.h"

#include <math.h>

enum {
    GUARD_LABELS = 128,  /* an old champion is shadowed for so many labels after its promotion, */
    ASIDE_REVIEWED = 12, /* a challenger that is behind after so many reviewed disagreements is set
                           aside for a newer one, */
    ASIDE_LABELS = 256,  /* and after so many labels one whose proof is not in sight, which is so */
    ASIDE_TIMES = 8      /* if it takes more than so many times the disagreements seen so far */
};
/* ... but not for longer than this when labels are few. */
static const int64_t GUARD_US = 86400000000;

/* A version as a policy: its head knows its kept items, the rest is as it is now. */
static tl_status shadow_of(tl_core *core, tl_version *version, tl_shadow *out, tl_error *err)
{
    tl_status status = TL_OK;
    if (version->stats == NULL)
        status = tl_version_warm(version, core->graph, core->featurizer, &core->config.info,
                                 core->config.feature_range, core->config.info.class_count, err);
    while (status == TL_OK &&
           tl_head_stats_class_count(version->stats) < core->config.info.class_count)
        status = tl_head_stats_add_class(version->stats, err);
    tl_head *head = NULL;
    if (status == TL_OK && tl_head_stats_total(version->stats) > 0)
        status = tl_head_solve(version->stats, NULL, core->solver, &head, err);
    if (status != TL_OK) return status;
    *out = (tl_shadow){ .version = version->number,
                        .weights = version->weights,
                        .head = head,
                        .mixture = core->mixture,
                        .threshold = tl_core_threshold(core),
                        .own_backbone = version->backbone_hash != core->backbone_hash };
    tl_weights_retain(version->weights);
    return TL_OK;
}

/* Takes *version over when it succeeds. */
static tl_status start_challenger(tl_core *core, tl_version **version, tl_error *err)
{
    tl_shadow shadow;
    uint64_t number = (*version)->number;
    tl_status status = shadow_of(core, *version, &shadow, err);
    if (status != TL_OK) return status;
    shadow.watch = TL_WATCH_CHALLENGER;
    shadow.made = *version;
    *version = NULL;
    status = tl_core_follow_begin(core, &shadow, err);
    if (status == TL_OK)
        status = tl_core_add_shadow(core, &shadow, err);
    else
        tl_shadow_clear(&shadow);
    if (status == TL_OK)
        tl_core_note(core, TL_NOTE_CHALLENGE, number, "decides in shadow of what answers");
    return status;
}

static void forget_waiting(tl_core *core, const char *why)
{
    if (core->candidate == NULL) return;
    tl_core_note(core, TL_NOTE_SET_ASIDE, core->candidate->number, why);
    tl_core_let_go(core, core->candidate->number);
    tl_version_destroy(&core->candidate);
}

/* Whether a newer version is worth more than waiting on: it knows more labels, but begins without
 * evidence and with a smaller share of alpha. */
static bool is_hopeless(const tl_core *core, const tl_shadow *challenger)
{
    tl_gate_standing s;
    if (!tl_gate_describe(core->gate, challenger->key, &s)) return false;
    if (s.counts.disagreements >= ASIDE_REVIEWED && s.log_e_better < 0.0) return true;
    if (core->label_events - challenger->since_labels < ASIDE_LABELS) return false;
    uint64_t in_sight = ASIDE_TIMES * (s.counts.disagreements + ASIDE_REVIEWED);
    return !(s.needed <= (double)in_sight); /* or nan */
}

/* A guard that has watched for long enough, or a challenger that gets nowhere, gives way. */
static bool gives_way(const tl_core *core, const tl_shadow *shadow)
{
    if (shadow->watch == TL_WATCH_GUARD)
        return core->label_events - shadow->since_labels >= GUARD_LABELS ||
               core->now_us - shadow->since_us >= GUARD_US;
    return is_hopeless(core, shadow);
}

static void set_aside(tl_core *core, tl_shadow *shadow)
{
    if (shadow->watch == TL_WATCH_CHALLENGER) {
        tl_gate_standing standing;
        tl_gate_describe(core->gate, shadow->key, &standing);
        tl_core_note(core, TL_NOTE_SET_ASIDE, shadow->version, standing.words);
        tl_core_let_go(core, shadow->version);
    }
    tl_core_drop_shadow(core, shadow);
}

/* The version that waits is shadowed as soon as the one backbone in shadow gives way. */
tl_status tl_core_start_waiting(tl_core *core, tl_error *err)
{
    if (core->candidate == NULL) return TL_OK;
    tl_shadow *guard = tl_core_find_watched(core, TL_WATCH_GUARD),
              *challenger = tl_core_find_watched(core, TL_WATCH_CHALLENGER);
    tl_shadow *in_the_way = guard != NULL ? guard : challenger;
    if (in_the_way != NULL && !gives_way(core, in_the_way)) return TL_OK;
    if (in_the_way != NULL) set_aside(core, in_the_way);
    tl_version *version = core->candidate;
    core->candidate = NULL;
    tl_status status = start_challenger(core, &version, err);
    tl_version_destroy(&version);
    return status;
}

tl_status tl_core_step_challenge(tl_core *core, uint64_t number, uint64_t ops,
                                 tl_version **candidate, tl_error *err)
{
    tl_core_decide(core, ops);
    if (ops < core->restart_ops) { /* somebody went elsewhere meanwhile */
        core->refused++;
        tl_core_evict(core, number);
        return TL_OK;
    }
    forget_waiting(core, "never shadowed: a newer version came while it waited");
    tl_status status = tl_core_take_version(core, number, candidate, &core->candidate, err);
    if (status == TL_OK) status = tl_core_start_waiting(core, err);
    if (status == TL_OK && core->candidate != NULL)
        tl_core_note(core, TL_NOTE_WAITS, number, "waits until the one in shadow is decided");
    return status;
}

/* By hand: a version that is kept is shadowed as soon as there is room, and may be promoted again. */
tl_status tl_core_step_try(tl_core *core, uint64_t number, tl_error *err)
{
    if (number == core->champion || !tl_core_proves(core) || !tl_core_pin(core, number))
        return TL_OK; /* it went between the request and the event */
    forget_waiting(core, "never shadowed: another version was put in its place by hand");
    tl_status status = tl_version_read(core->graph, core->items, number, &core->candidate, err);
    if (status == TL_OK) status = tl_core_start_waiting(core, err);
    if (status == TL_OK && core->candidate != NULL)
        tl_core_note(core, TL_NOTE_WAITS, number, "waits until the one in shadow is decided");
    return status;
}

void tl_core_end_baselines(tl_core *core, bool proven)
{
    for (tl_shadow *baseline; (baseline = tl_core_find_watched(core, TL_WATCH_BASELINE)) != NULL;) {
        tl_core_end_baseline(core, baseline, proven);
        tl_core_drop_shadow(core, baseline);
    }
}

static void drop_all_shadows(tl_core *core)
{
    tl_core_end_baselines(core, false);
    while (core->shadow_count > 0) set_aside(core, &core->shadows[core->shadow_count - 1]);
}

void tl_core_gate_restart(tl_core *core)
{
    drop_all_shadows(core);
    forget_waiting(core, "never shadowed: another version was put into service");
    core->has_verdict = false;
    tl_gate_restart(core->gate, core->now_position);
    tl_core_review_restart(core);
}

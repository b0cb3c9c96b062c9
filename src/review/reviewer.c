#include "review/reviewer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NOVELTY_WINDOW = 256, STEP_ITEMS = 32 };

static const double LN_C_MIN = -16.0, LN_C_MAX = 12.0, STEP = 0.05, RATE_DECAY = 1.0 / 2048;

struct tl_reviewer {
    tl_reviewer_policy policy;
    tl_rivals rivals;
    double ln_c;
    double step_sum; /* of probabilities since ln_c last moved */
    uint32_t step_items;
    double rate, rate_weight; /* exponential mean, and how much of it is filled */
    float novelty[NOVELTY_WINDOW];
    uint32_t novelty_count, novelty_at;
};

/* ---- Policy ---------------------------------------------------------------------------------- */

tl_reviewer_policy tl_reviewer_policy_default(void)
{
    return (tl_reviewer_policy){ .audit_rate = 0.02, .disagreements = 0.05 };
}

static bool is_share(double x)
{
    return x >= 0.0 && x <= 1.0;
}

const char *tl_reviewer_policy_check(const tl_reviewer_policy *policy)
{
    if (!is_share(policy->audit_rate)) return "the audit rate must be 0 to 1";
    if (!is_share(policy->budget)) return "the review budget must be 0 to 1";
    if (!is_share(policy->band_rate)) return "the rate of audits in the band must be 0 to 1";
    if (!is_share(policy->blind_rate)) return "the share of blind reviews must be 0 to 1";
    if (!(policy->disagreements > 0.0 && policy->disagreements <= 1.0))
        return "the share of items to ask about for disagreements must be above 0, up to 1";
    return NULL;
}

enum { BLIND = 0x80, CALL_SHIFT = 4, RULE = 0x0f };
_Static_assert(TL_REVIEW_REASON_COUNT <= RULE + 1, "a rule fits into its bits");

uint8_t tl_review_log(tl_review_reason rule, bool blind, uint32_t call)
{
    TL_ASSERT(call <= TL_REVIEW_CALL_MAX);
    return (uint8_t)(rule | call << CALL_SHIFT | (blind ? BLIND : 0));
}

uint32_t tl_review_logged_call(uint8_t logged)
{
    return logged >> CALL_SHIFT & TL_REVIEW_CALL_MAX;
}

tl_review_reason tl_review_logged_rule(uint8_t logged)
{
    uint8_t rule = logged & RULE;
    return rule < TL_REVIEW_REASON_COUNT ? (tl_review_reason)rule : TL_REVIEW_NONE;
}

bool tl_review_logged_blind(uint8_t logged)
{
    return (logged & BLIND) != 0;
}

const char *tl_review_reason_text(tl_review_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) text,
        TL_REVIEW_REASON_MAP(X)
#undef X
    };
    TL_ASSERT(reason < TL_REVIEW_REASON_COUNT);
    return texts[reason];
}

/* ---- Life ------------------------------------------------------------------------------------ */

tl_reviewer *tl_reviewer_create(const tl_reviewer_policy *policy)
{
    tl_reviewer *reviewer = calloc(1, sizeof *reviewer);
    if (reviewer == NULL) return NULL;
    tl_reviewer_set_policy(reviewer, policy);
    return reviewer;
}

void tl_reviewer_destroy(tl_reviewer **reviewer)
{
    if (reviewer == NULL) return;
    free(*reviewer);
    *reviewer = NULL;
}

void tl_reviewer_set_policy(tl_reviewer *reviewer, const tl_reviewer_policy *policy)
{
    TL_ASSERT(tl_reviewer_policy_check(policy) == NULL);
    if (policy->budget != reviewer->policy.budget && policy->budget > 0.0)
        reviewer->ln_c = log(policy->budget); /* a start below the budget, as mean u is below 1 */
    if (policy->disagreements != reviewer->policy.disagreements)
        tl_rivals_init(&reviewer->rivals, policy->disagreements);
    reviewer->policy = *policy;
}

double tl_reviewer_rate(const tl_reviewer *reviewer)
{
    return reviewer->rate_weight > 0.0 ? reviewer->rate / reviewer->rate_weight : 0.0;
}

/* ---- What an item would teach ------------------------------------------------------------------ */

/* Share of the scores in the window that are below this one, ties counted half; then the score
 * enters the window. Without a score, or others to compare with: 0. */
static double novelty_rank(tl_reviewer *r, float score)
{
    if (!isfinite(score)) return 0.0;
    uint32_t below = 0, equal = 0;
    for (uint32_t i = 0; i < r->novelty_count; i++) {
        below += r->novelty[i] < score;
        equal += r->novelty[i] == score;
    }
    double rank = r->novelty_count > 0 ? (below + 0.5 * equal) / r->novelty_count : 0.0;
    r->novelty[r->novelty_at] = score;
    r->novelty_at = (r->novelty_at + 1) % NOVELTY_WINDOW;
    if (r->novelty_count < NOVELTY_WINDOW) r->novelty_count++;
    return rank;
}

static double clamp_unit(double x)
{
    return x > 0.0 ? fmin(x, 1.0) : 0.0; /* NaN: 0 */
}

/* Most of a rank must come from the few newest: the rank itself would spend the budget on everything
 * that is a little newer than the middle. */
static double rank_weight(double rank)
{
    double square = rank * rank, fourth = square * square, eighth = fourth * fourth;
    return eighth * eighth * eighth * eighth;
}

static double teaches(tl_reviewer *r, const tl_review_signals *s)
{
    double p = clamp_unit((double)s->p);
    return 0.5 * 4.0 * p * (1.0 - p) + 0.3 * rank_weight(novelty_rank(r, s->novelty)) +
           0.2 * clamp_unit((double)s->value);
}

/* ---- The budget ------------------------------------------------------------------------------ */

static void account(tl_reviewer *r, double probability)
{
    r->rate += (probability - r->rate) * RATE_DECAY;
    r->rate_weight += (1.0 - r->rate_weight) * RATE_DECAY;
    r->step_sum += probability;
    if (++r->step_items < STEP_ITEMS) return;
    double budget = r->policy.budget, rate = r->step_sum / STEP_ITEMS;
    if (budget > 0.0) {
        /* A burst of flagged items must not silence everything that follows. */
        double step = fmax(STEP * (budget - rate) / budget, -0.25);
        r->ln_c = fmin(fmax(r->ln_c + step, LN_C_MIN), LN_C_MAX);
    }
    r->step_sum = 0.0;
    r->step_items = 0;
}

/* ---- The choice ------------------------------------------------------------------------------ */

typedef struct odds {
    double probability, audit; /* audit: the part of it that is a plain audit */
    tl_review_reason rule;
} odds;

static odds odds_of(tl_reviewer *r, const tl_review_signals *s)
{
    const tl_reviewer_policy *p = &r->policy;
    double alarm = s->alarm > 1.0f ? (double)s->alarm : 1.0;
    double audit = fmin(p->audit_rate * alarm, 1.0);
    double u = p->budget > 0.0 ? teaches(r, s) : 0.0;
    if (s->cold) return (odds){ 1.0, 0.0, TL_REVIEW_COLD };
    double asked = tl_rivals_step(&r->rivals, &s->rivals, !s->flagged && !s->zone);
    if (s->flagged) return (odds){ 1.0, 0.0, TL_REVIEW_FLAGGED };
    if (s->zone) return (odds){ 1.0, 0.0, TL_REVIEW_ZONE };
    /* Whatever else speaks for an item, so that it stays one constant as long as it can. */
    if (asked > 0.0) return (odds){ fmax(asked, audit), 0.0, TL_REVIEW_DISAGREEMENT };
    odds out = { audit, audit, TL_REVIEW_AUDIT };
    double band = s->band ? fmin(p->band_rate * alarm, 1.0) : 0.0;
    double worth = p->budget > 0.0 ? fmin(audit + exp(r->ln_c) * u, 1.0) : 0.0;
    if (band > out.probability) out.probability = band, out.rule = TL_REVIEW_BAND;
    if (worth > out.probability) out.probability = worth, out.rule = TL_REVIEW_UNCERTAIN;
    return out;
}

static bool is_blind(const tl_reviewer *r, const tl_review_signals *s, tl_review_reason reason)
{
    if (reason == TL_REVIEW_AUDIT || reason == TL_REVIEW_BAND) return true;
    return reason == TL_REVIEW_FLAGGED && r->policy.blind_rate > 0.0 &&
           tl_draw_unit(r->policy.key, s->id, TL_DRAW_BLIND, 0) < r->policy.blind_rate;
}

tl_review_choice tl_reviewer_choose(tl_reviewer *r, const tl_review_signals *s)
{
    odds o = odds_of(r, s);
    tl_review_choice out = { .propensity = (float)o.probability, .rule = o.rule };
    if (o.rule != TL_REVIEW_COLD) account(r, o.probability);
    double lot = o.audit > 0.0 || o.probability < 1.0
                     ? tl_draw_unit(r->policy.key, s->id, TL_DRAW_REVIEW, 0)
                     : 0.0;
    /* What is drawn with is what is logged, to the last bit. */
    if (!(lot < (double)out.propensity)) return out;
    out.review = true;
    out.reason = lot < o.audit ? TL_REVIEW_AUDIT : o.rule;
    out.blind = is_blind(r, s, out.reason);
    return out;
}

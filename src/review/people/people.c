#include "review/people/people.h"

#include <math.h>
#include <stdio.h>

enum { CLASS_MAX = 64 };

/* ---- Reading a study --------------------------------------------------------------------------- */

static uint8_t call_of(const tl_people_study *s, size_t part, size_t operator, size_t trial)
{
    return s->calls[(part * s->operators + operator) * s->trials + trial];
}

static tl_status check_study(const tl_people_study *s, tl_error *err)
{
    if (s->parts < 2 || s->parts > TL_PEOPLE_PART_MAX)
        return tl_fail(err, TL_EINVAL, "a study needs 2 to %d parts, this has %zu",
                       TL_PEOPLE_PART_MAX, s->parts);
    if (s->operators < 1 || s->operators > TL_PEOPLE_OPERATOR_MAX)
        return tl_fail(err, TL_EINVAL, "a study needs 1 to %d operators, this has %zu",
                       TL_PEOPLE_OPERATOR_MAX, s->operators);
    if (s->trials < 1 || s->trials > TL_PEOPLE_TRIAL_MAX)
        return tl_fail(err, TL_EINVAL, "a study needs 1 to %d trials, this has %zu",
                       TL_PEOPLE_TRIAL_MAX, s->trials);
    if (s->classes < 2 || s->classes > CLASS_MAX)
        return tl_fail(err, TL_EINVAL, "a study needs 2 to %d classes, this has %u", CLASS_MAX,
                       s->classes);
    if (!(s->confidence > 0.0 && s->confidence < 1.0))
        return tl_fail(err, TL_EINVAL, "the confidence of a study must be between 0 and 1");
    for (size_t i = 0; i < s->parts; i++)
        if (s->known[i] >= s->classes && s->known[i] != TL_PEOPLE_NOTHING)
            return tl_fail(err, TL_EINVAL, "part %zu: its known class %u is not one of the %u", i,
                           s->known[i], s->classes);
    for (size_t i = 0; i < s->parts * s->operators * s->trials; i++)
        if (s->calls[i] >= s->classes && s->calls[i] != TL_PEOPLE_NOTHING)
            return tl_fail(err, TL_EINVAL, "part %zu: the call %u is not one of the %u classes",
                           i / (s->operators * s->trials), s->calls[i], s->classes);
    return TL_OK;
}

/* ---- Kappas ------------------------------------------------------------------------------------ */

/* Who is compared; KNOWN instead of an operator is the reference, ALL everybody. */
enum { KNOWN = -1, ALL = -2 };

typedef struct comparison {
    const tl_people_study *study;
    int a, b; /* Cohen's; b void in Fleiss' */
} comparison;

/* The kappa of all parts but `skip` (none: a number past the parts), with the share of agreement and
 * what chance alone would give. */
typedef struct agreement {
    double observed, chance;
} agreement;

typedef agreement agreement_of(const comparison *c, size_t skip);

static agreement cohen(const comparison *c, size_t skip)
{
    const tl_people_study *s = c->study;
    double rows[CLASS_MAX] = { 0 }, columns[CLASS_MAX] = { 0 }, agree = 0.0, count = 0.0;
    size_t first = c->a == ALL ? 0 : (size_t)c->a;
    size_t last = c->a == ALL ? s->operators : first + 1;
    for (size_t part = 0; part < s->parts; part++) {
        if (part == skip) continue;
        for (size_t who = first; who < last; who++)
            for (size_t trial = 0; trial < s->trials; trial++) {
                uint8_t x = call_of(s, part, who, trial);
                uint8_t y = c->b == KNOWN ? s->known[part] : call_of(s, part, (size_t)c->b, trial);
                if (x == TL_PEOPLE_NOTHING || y == TL_PEOPLE_NOTHING) continue;
                rows[x]++;
                columns[y]++;
                agree += x == y;
                count++;
            }
    }
    agreement out = { agree / count, 0.0 };
    for (size_t k = 0; k < s->classes; k++) out.chance += rows[k] / count * columns[k] / count;
    return out;
}

static agreement fleiss(const comparison *c, size_t skip)
{
    const tl_people_study *s = c->study;
    double totals[CLASS_MAX] = { 0 }, all = 0.0, observed = 0.0, parts = 0.0;
    size_t first = c->a == ALL ? 0 : (size_t)c->a;
    size_t last = c->a == ALL ? s->operators : first + 1;
    for (size_t part = 0; part < s->parts; part++) {
        double count[CLASS_MAX] = { 0 }, n = 0.0, pairs = 0.0;
        if (part == skip) continue;
        for (size_t who = first; who < last; who++)
            for (size_t trial = 0; trial < s->trials; trial++) {
                uint8_t x = call_of(s, part, who, trial);
                if (x == TL_PEOPLE_NOTHING) continue;
                count[x]++;
                n++;
            }
        if (n < 2.0) continue;
        for (size_t k = 0; k < s->classes; k++) {
            pairs += count[k] * (count[k] - 1.0);
            totals[k] += count[k];
        }
        observed += pairs / (n * (n - 1.0));
        all += n;
        parts++;
    }
    agreement out = { observed / parts, 0.0 };
    for (size_t k = 0; k < s->classes; k++) out.chance += totals[k] / all * totals[k] / all;
    return out;
}

static double kappa_of(agreement a)
{
    return a.chance < 1.0 - 1e-12 ? (a.observed - a.chance) / (1.0 - a.chance) : NAN;
}

/* Standard error by leaving out one part at a time. */
static double jackknife(agreement_of *agree, const comparison *c)
{
    double sum = 0.0, squares = 0.0, n = 0.0;
    for (size_t part = 0; part < c->study->parts; part++) {
        double kappa = kappa_of(agree(c, part));
        if (isnan(kappa)) continue;
        n++;
        double delta = kappa - sum;
        sum += delta / n; /* the running mean */
        squares += delta * (kappa - sum);
    }
    return n > 1.0 ? sqrt(squares * (n - 1.0) / n) : 0.0;
}

static tl_people_kappa measure(agreement_of *agree, comparison c)
{
    size_t none = c.study->parts;
    agreement whole = agree(&c, none);
    tl_people_kappa out = { kappa_of(whole), { -1.0, 1.0 } };
    if (isnan(out.kappa)) return out;
    double z = tl_normal_quantile(0.5 + 0.5 * c.study->confidence);
    double half = z * jackknife(agree, &c);
    if (half < 1e-9) {
        /* All alike: no spread to be seen, which is no proof that there is none. So many parts
         * without a difference bound the share of differences. */
        double low = tl_interval_exact(none, none, c.study->confidence).low;
        half = whole.observed * (1.0 - low) / (1.0 - whole.chance);
    }
    out.interval.low = fmax(out.kappa - half, -1.0);
    out.interval.high = fmin(out.kappa + half, 1.0);
    return out;
}

/* ---- Shares ------------------------------------------------------------------------------------ */

static void tally(tl_people_share *share, bool hit)
{
    share->hits += hit;
    share->count++;
}

static void finish(tl_people_share *share, double confidence)
{
    share->share = share->count > 0 ? (double)share->hits / (double)share->count : NAN;
    share->interval = tl_interval_exact(share->hits, share->count, confidence);
}

/* How the calls of some operators on one part agree. */
typedef struct part_calls {
    size_t count; /* calls that were made */
    bool alike, right;
} part_calls;

static part_calls read_part(const tl_people_study *s, size_t part, size_t first, size_t last)
{
    part_calls out = { .alike = true, .right = true };
    uint8_t before = TL_PEOPLE_NOTHING;
    for (size_t who = first; who < last; who++)
        for (size_t trial = 0; trial < s->trials; trial++) {
            uint8_t call = call_of(s, part, who, trial);
            if (call == TL_PEOPLE_NOTHING) continue;
            out.alike = out.alike && (before == TL_PEOPLE_NOTHING || call == before);
            out.right = out.right && call == s->known[part];
            before = call;
            out.count++;
        }
    return out;
}

static bool is_known(const tl_people_study *s, size_t part)
{
    return s->known[part] != TL_PEOPLE_NOTHING;
}

static void count_trials(const tl_people_study *s, size_t who, tl_people_operator *out)
{
    for (size_t part = 0; part < s->parts; part++)
        for (size_t trial = 0; trial < s->trials; trial++) {
            uint8_t call = call_of(s, part, who, trial), known = s->known[part];
            if (call == TL_PEOPLE_NOTHING || known == TL_PEOPLE_NOTHING) continue;
            if (known == 0) {
                tally(&out->false_alarms, call != 0);
            } else {
                tally(&out->misses, call == 0);
                tally(&out->wrong_class, call != 0 && call != known);
            }
        }
}

/* ---- Verdicts ---------------------------------------------------------------------------------- */

const char *tl_people_verdict_text(tl_people_verdict verdict)
{
    static const char *const texts[] = {
#define X(name, text) text,
        TL_PEOPLE_VERDICT_MAP(X)
#undef X
    };
    TL_ASSERT(verdict < TL_PEOPLE_VERDICT_COUNT);
    return texts[verdict];
}

tl_people_verdict tl_people_kappa_verdict(double kappa)
{
    if (isnan(kappa)) return TL_PEOPLE_UNKNOWN;
    return kappa > 0.75 ? TL_PEOPLE_GOOD : kappa < 0.40 ? TL_PEOPLE_POOR : TL_PEOPLE_MARGINAL;
}

/* Of a share that should be small. */
static tl_people_verdict limit(double share, double good, double marginal)
{
    if (isnan(share)) return TL_PEOPLE_UNKNOWN;
    return share <= good ? TL_PEOPLE_GOOD : share <= marginal ? TL_PEOPLE_MARGINAL : TL_PEOPLE_POOR;
}

/* What is not known does not excuse what is. */
static tl_people_verdict worse(tl_people_verdict a, tl_people_verdict b)
{
    if (a == TL_PEOPLE_UNKNOWN) return b;
    if (b == TL_PEOPLE_UNKNOWN) return a;
    return a > b ? a : b;
}

static void write_share(char *out, size_t bytes, const char *name, const tl_people_share *s)
{
    if (s->count == 0)
        snprintf(out, bytes, "%s not known", name);
    else
        snprintf(out, bytes, "%s %.1f %% [%.1f-%.1f] of %llu", name, 100.0 * s->share,
                 100.0 * s->interval.low, 100.0 * s->interval.high, (unsigned long long)s->count);
}

static void judge_operator(const tl_people_study *s, size_t who, tl_people_operator *out)
{
    *out = (tl_people_operator){ 0 };
    for (size_t part = 0; part < s->parts; part++) {
        part_calls calls = read_part(s, part, who, who + 1);
        if (calls.count > 1) tally(&out->repeatable, calls.alike);
        if (calls.count > 0 && is_known(s, part)) tally(&out->right, calls.right);
    }
    count_trials(s, who, out);
    tl_people_share *shares[] = { &out->repeatable, &out->right, &out->misses, &out->false_alarms,
                                  &out->wrong_class };
    for (size_t i = 0; i < TL_COUNT_OF(shares); i++) finish(shares[i], s->confidence);
    out->to_known = measure(cohen, (comparison){ s, (int)who, KNOWN });
    out->to_itself = measure(fleiss, (comparison){ s, (int)who, KNOWN });
    out->verdict = worse(
        worse(limit(1.0 - out->right.share, 0.10, 0.20), limit(out->misses.share, 0.02, 0.05)),
        limit(out->false_alarms.share, 0.05, 0.10));
    char right[80], misses[80], alarms[80];
    write_share(right, sizeof right, "right", &out->right);
    write_share(misses, sizeof misses, "misses", &out->misses);
    write_share(alarms, sizeof alarms, "false alarms", &out->false_alarms);
    snprintf(out->words, sizeof out->words, "%s: %s parts, %s, %s calls",
             tl_people_verdict_text(out->verdict), right, misses, alarms);
}

static void write_kappa(char *out, size_t bytes, const tl_people_kappa *k)
{
    if (isnan(k->kappa))
        snprintf(out, bytes, "not to be told");
    else
        snprintf(out, bytes, "%.2f [%.2f-%.2f]", k->kappa, k->interval.low, k->interval.high);
}

/* ---- The study --------------------------------------------------------------------------------- */

static void judge_together(const tl_people_study *s, tl_people_result *out)
{
    for (size_t part = 0; part < s->parts; part++) {
        part_calls calls = read_part(s, part, 0, s->operators);
        if (calls.count > 1) tally(&out->all_agree, calls.alike);
        if (calls.count > 0 && is_known(s, part)) tally(&out->all_right, calls.right);
    }
    for (size_t who = 0; who < s->operators; who++) {
        const tl_people_operator *each = &out->each[who];
        out->found.hits += each->misses.count - each->misses.hits;
        out->found.count += each->misses.count;
        out->passed.hits += each->false_alarms.count - each->false_alarms.hits;
        out->passed.count += each->false_alarms.count;
        out->verdict = worse(out->verdict, each->verdict);
        out->pair[who][who] = (tl_people_kappa){ 1.0, { 1.0, 1.0 } };
        for (size_t other = 0; other < who; other++)
            out->pair[who][other] = out->pair[other][who] =
                measure(cohen, (comparison){ s, (int)who, (int)other });
    }
    tl_people_share *shares[] = { &out->all_agree, &out->all_right, &out->found, &out->passed };
    for (size_t i = 0; i < TL_COUNT_OF(shares); i++) finish(shares[i], s->confidence);
    out->between = measure(fleiss, (comparison){ s, ALL, KNOWN });
    out->to_known = measure(cohen, (comparison){ s, ALL, KNOWN });
    out->verdict = worse(out->verdict, tl_people_kappa_verdict(out->between.kappa));
    out->verdict = worse(out->verdict, tl_people_kappa_verdict(out->to_known.kappa));
}

tl_status tl_people_judge(const tl_people_study *s, tl_people_result *out, tl_error *err)
{
    tl_status status = check_study(s, err);
    if (status != TL_OK) return status;
    *out = (tl_people_result){ .parts = s->parts,
                               .operators = s->operators,
                               .trials = s->trials,
                               .verdict = TL_PEOPLE_UNKNOWN };
    for (size_t who = 0; who < s->operators; who++) judge_operator(s, who, &out->each[who]);
    judge_together(s, out);
    char between[64], known[64];
    write_kappa(between, sizeof between, &out->between);
    write_kappa(known, sizeof known, &out->to_known);
    snprintf(
        out->words, sizeof out->words,
        "%s: kappa between operators %s, to what is known %s; %zu parts, %zu operators, %zu trials",
        tl_people_verdict_text(out->verdict), between, known, s->parts, s->operators, s->trials);
    return TL_OK;
}

/* ---- Correction -------------------------------------------------------------------------------- */

static double rogan_gladen(double apparent, double sensitivity, double specificity)
{
    double informed = sensitivity + specificity - 1.0;
    if (!(informed > 0.0)) return NAN;
    return fmin(fmax((apparent + specificity - 1.0) / informed, 0.0), 1.0);
}

tl_people_corrected tl_people_correct(double apparent, tl_interval apparent_interval,
                                      const tl_people_share *found, const tl_people_share *passed,
                                      double confidence)
{
    /* Each of the two may be wrong with half the chance. */
    double each = 0.5 + 0.5 * confidence;
    tl_interval se = tl_interval_exact(found->hits, found->count, each);
    tl_interval sp = tl_interval_exact(passed->hits, passed->count, each);
    tl_people_corrected out = { rogan_gladen(apparent, found->share, passed->share), { 0.0, 1.0 } };
    /* The corrected share grows with the apparent one and, while that is below the sensitivity, with
     * the specificity; it falls with the sensitivity. */
    double low = rogan_gladen(apparent_interval.low, se.high, sp.low);
    double high = rogan_gladen(apparent_interval.high, se.low, sp.high);
    if (!isnan(low)) out.interval.low = low;
    if (!isnan(high) && apparent_interval.high < se.low) out.interval.high = high;
    return out;
}

static double recall_of(double flagged, double defects_flagged, double defects_passed)
{
    double caught = flagged * defects_flagged, missed = (1.0 - flagged) * defects_passed;
    return caught + missed > 0.0 ? caught / (caught + missed) : NAN;
}

tl_people_corrected tl_people_correct_recall(double flagged_share, const tl_people_corrected *f,
                                             const tl_people_corrected *p)
{
    tl_people_corrected out = { recall_of(flagged_share, f->value, p->value), { 0.0, 1.0 } };
    double low = recall_of(flagged_share, f->interval.low, p->interval.high);
    double high = recall_of(flagged_share, f->interval.high, p->interval.low);
    if (!isnan(low)) out.interval.low = low;
    if (!isnan(high)) out.interval.high = high;
    return out;
}

/* ---- Repeats ----------------------------------------------------------------------------------- */

bool tl_people_repeat(const tl_people_policy *policy, tl_id id, uint32_t round)
{
    return tl_draw_unit(policy->key, id, TL_DRAW_REPEAT, round) < policy->rate;
}

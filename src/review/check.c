#include "review/check.h"

#include "stats/bettor.h"
#include "stats/estimate/confidence.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct answers {
    uint64_t answered, timed_out;
} answers;

struct tl_review_check {
    tl_review_check_policy policy;
    uint64_t items, drawn; /* left to the lot */
    double expected;
    tl_bettor more, less; /* bets that more are drawn, or fewer, than the probabilities say */
    answers by_reason[TL_REVIEW_REASON_COUNT];
    uint64_t source[TL_REVIEW_SOURCE_MAX + 1]; /* the last place is for all others */
    answers by_source[TL_REVIEW_SOURCE_MAX + 1];
    uint64_t source_count;
    uint64_t volunteered, by_another, impossible;
};

/* ---- Life -------------------------------------------------------------------------------------- */

tl_review_check_policy tl_review_check_policy_default(void)
{
    return (
        tl_review_check_policy){ .answered_min = 0.95, .confidence = 0.95, .false_alarm = 0.001 };
}

static bool policy_is_fine(const tl_review_check_policy *p)
{
    return p->answered_min >= 0.0 && p->answered_min <= 1.0 && p->confidence > 0.0 &&
           p->confidence < 1.0 && p->false_alarm > 0.0 && p->false_alarm < 1.0;
}

tl_review_check *tl_review_check_create(const tl_review_check_policy *policy)
{
    TL_ASSERT(policy_is_fine(policy));
    tl_review_check *check = calloc(1, sizeof *check);
    if (check == NULL) return NULL;
    check->policy = *policy;
    tl_bettor_init(&check->more);
    tl_bettor_init(&check->less);
    return check;
}

void tl_review_check_destroy(tl_review_check **check)
{
    if (check == NULL) return;
    free(*check);
    *check = NULL;
}

/* ---- Counting ---------------------------------------------------------------------------------- */

void tl_review_check_item(tl_review_check *check, bool drawn, double propensity)
{
    double p = fmin(fmax(propensity, 0.0), 1.0); /* not a number: 0 */
    if (p == 0.0 || p == 1.0) {
        check->impossible += drawn != (p == 1.0);
        return;
    }
    check->items++;
    check->drawn += drawn;
    check->expected += p;
    /* Scaled so that neither loses more than all: both are fair games if the lot is. */
    double least = 1e-4; /* a rarer draw pays no more than one of this probability */
    tl_bettor_bet(&check->more, drawn ? 1.0 / fmax(p, least) - 1.0 : -1.0);
    tl_bettor_bet(&check->less, drawn ? -1.0 : p / fmax(1.0 - p, least));
}

static size_t place_of(tl_review_check *check, uint64_t source)
{
    if (source == 0) return TL_REVIEW_SOURCE_MAX;
    for (size_t i = 0; i < check->source_count; i++)
        if (check->source[i] == source) return i;
    if (check->source_count == TL_REVIEW_SOURCE_MAX) return TL_REVIEW_SOURCE_MAX;
    check->source[check->source_count] = source;
    return check->source_count++;
}

void tl_review_check_outcome(tl_review_check *check, tl_review_reason reason,
                             tl_review_outcome outcome, uint64_t source)
{
    TL_ASSERT(reason < TL_REVIEW_REASON_COUNT);
    if (outcome == TL_REVIEW_VOLUNTEERED) {
        check->volunteered++;
        return;
    }
    if (outcome == TL_REVIEW_BY_ANOTHER) {
        check->by_another++;
        return;
    }
    answers *both[] = { &check->by_reason[reason], &check->by_source[place_of(check, source)] };
    for (size_t i = 0; i < 2; i++) {
        both[i]->answered += outcome == TL_REVIEW_ANSWERED;
        both[i]->timed_out += outcome == TL_REVIEW_TIMED_OUT;
    }
}

/* ---- Reading ----------------------------------------------------------------------------------- */

static tl_review_answers read_answers(const tl_review_check *check, const answers *a)
{
    uint64_t all = a->answered + a->timed_out;
    return (tl_review_answers){ .answered = a->answered,
                                .timed_out = a->timed_out,
                                .share = all > 0 ? (double)a->answered / (double)all : NAN,
                                .interval = tl_beta_binomial_interval(a->answered, all,
                                                                      check->policy.confidence) };
}

static double log_e_of(const tl_review_check *check)
{
    double more = tl_bettor_log_e(&check->more), less = tl_bettor_log_e(&check->less);
    double top = fmax(more, less);
    return top + log(0.5 * exp(more - top) + 0.5 * exp(less - top));
}

__attribute__((format(printf, 2, 3))) static void find(tl_review_check_reading *out,
                                                       const char *format, ...)
{
    if (out->finding_count == TL_REVIEW_FINDING_MAX) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out->finding[out->finding_count++], TL_REVIEW_FINDING_BYTES, format, arguments);
    va_end(arguments);
}

static const char *people_call(tl_review_reason reason)
{
    static const char *const names[] = {
        [TL_REVIEW_NONE] = "items without a reason",
        [TL_REVIEW_COLD] = "items of the start",
        [TL_REVIEW_FLAGGED] = "flagged items",
        [TL_REVIEW_DISAGREEMENT] = "disagreements",
        [TL_REVIEW_BAND] = "audits in the band",
        [TL_REVIEW_UNCERTAIN] = "uncertain items",
        [TL_REVIEW_AUDIT] = "audits",
        [TL_REVIEW_ZONE] = "items in the zone of review",
    };
    _Static_assert(TL_COUNT_OF(names) == TL_REVIEW_REASON_COUNT, "a name for each");
    return names[reason];
}

static bool is_short(const tl_review_check *check, const tl_review_answers *a)
{
    return a->interval.high < check->policy.answered_min;
}

static void find_in_answers(const tl_review_check *check, tl_review_check_reading *out)
{
    for (size_t i = 0; i < TL_REVIEW_REASON_COUNT; i++) {
        const tl_review_answers *a = &out->reason[i];
        if (is_short(check, a))
            find(out, "%s are answered %.0f %% [%.0f-%.0f] of the time: estimates assume all",
                 people_call((tl_review_reason)i), 100.0 * a->share, 100.0 * a->interval.low,
                 100.0 * a->interval.high);
    }
    for (size_t i = 0; i < out->source_count; i++) {
        const tl_review_answers *a = &out->source[i].answers;
        if (out->source[i].source != 0 && is_short(check, a))
            find(out, "source %016llx answers %.0f %% [%.0f-%.0f] of what it is asked",
                 (unsigned long long)out->source[i].source, 100.0 * a->share,
                 100.0 * a->interval.low, 100.0 * a->interval.high);
    }
}

static void find_in_people(const tl_review_check *check, tl_review_check_reading *out)
{
    uint64_t all = 0;
    for (size_t i = 0; i < TL_REVIEW_REASON_COUNT; i++)
        all += out->reason[i].answered + out->reason[i].timed_out;
    if (all < check->by_another) all = check->by_another;
    tl_interval share = tl_beta_binomial_interval(check->by_another, all, check->policy.confidence);
    if (all > 0 && share.low > 1.0 - check->policy.answered_min)
        find(out,
             "of %llu drawn items %llu were answered by somebody else than the one who was "
             "asked: no evidence",
             (unsigned long long)all, (unsigned long long)check->by_another);
}

static void find_in_lots(const tl_review_check *check, tl_review_check_reading *out)
{
    if (out->log_e >= -log(check->policy.false_alarm))
        find(out, "%llu of %llu items were drawn where %.0f were to be: the lot is not kept",
             (unsigned long long)out->drawn, (unsigned long long)out->items, out->expected);
    if (out->impossible > 0)
        find(out, "%llu items were drawn, or not, against a probability of 0 or 1",
             (unsigned long long)out->impossible);
}

void tl_review_check_read(const tl_review_check *check, tl_review_check_reading *out)
{
    *out = (tl_review_check_reading){ .items = check->items,
                                      .drawn = check->drawn,
                                      .expected = check->expected,
                                      .log_e = log_e_of(check),
                                      .volunteered = check->volunteered,
                                      .by_another = check->by_another,
                                      .impossible = check->impossible };
    for (size_t i = 0; i < TL_REVIEW_REASON_COUNT; i++)
        out->reason[i] = read_answers(check, &check->by_reason[i]);
    for (size_t i = 0; i <= TL_REVIEW_SOURCE_MAX; i++) {
        const answers *a = &check->by_source[i];
        if (a->answered + a->timed_out == 0) continue;
        out->source[out->source_count].source = check->source[i];
        out->source[out->source_count++].answers = read_answers(check, a);
    }
    find_in_people(check, out);
    find_in_answers(check, out);
    find_in_lots(check, out);
    out->kept = out->finding_count == 0;
}

/* ---- Saving ------------------------------------------------------------------------------------ */

enum { CHECK_VERSION = 2 };

static void save_answers(tl_blob *blob, const answers *a)
{
    tl_blob_u64(blob, a->answered);
    tl_blob_u64(blob, a->timed_out);
}

/* Counts beyond this are damage: doubles hold all below it, and sums stay sums. */
static const uint64_t COUNT_MAX = UINT64_C(1) << 52;

static bool load_answers(tl_blob_reader *body, answers *a)
{
    a->answered = tl_blob_read_u64(body);
    a->timed_out = tl_blob_read_u64(body);
    return a->answered <= COUNT_MAX && a->timed_out <= COUNT_MAX;
}

void tl_review_check_save(const tl_review_check *check, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "RCHK", CHECK_VERSION);
    tl_blob_f64(blob, check->policy.answered_min);
    tl_blob_f64(blob, check->policy.confidence);
    tl_blob_f64(blob, check->policy.false_alarm);
    tl_blob_f64(blob, check->expected);
    tl_bettor_save(&check->more, blob);
    tl_bettor_save(&check->less, blob);
    for (size_t i = 0; i < TL_REVIEW_REASON_COUNT; i++) save_answers(blob, &check->by_reason[i]);
    for (size_t i = 0; i <= TL_REVIEW_SOURCE_MAX; i++) {
        tl_blob_u64(blob, check->source[i]);
        save_answers(blob, &check->by_source[i]);
    }
    const uint64_t counts[] = { check->items,       check->drawn,      check->source_count,
                                check->volunteered, check->by_another, check->impossible };
    tl_blob_u64s(blob, counts, TL_COUNT_OF(counts));
    tl_blob_section_end(blob, section);
}

static bool load_state(tl_blob_reader *body, tl_review_check *check)
{
    check->policy.answered_min = tl_blob_read_f64(body);
    check->policy.confidence = tl_blob_read_f64(body);
    check->policy.false_alarm = tl_blob_read_f64(body);
    check->expected = tl_blob_read_f64(body);
    bool fine = policy_is_fine(&check->policy) && isfinite(check->expected) &&
                tl_bettor_load(&check->more, body, NULL) == TL_OK &&
                tl_bettor_load(&check->less, body, NULL) == TL_OK;
    for (size_t i = 0; i < TL_REVIEW_REASON_COUNT; i++)
        fine = fine && load_answers(body, &check->by_reason[i]);
    for (size_t i = 0; fine && i <= TL_REVIEW_SOURCE_MAX; i++) {
        check->source[i] = tl_blob_read_u64(body);
        fine = load_answers(body, &check->by_source[i]);
    }
    check->items = tl_blob_read_u64(body);
    check->drawn = tl_blob_read_u64(body);
    check->source_count = tl_blob_read_u64(body);
    check->volunteered = tl_blob_read_u64(body);
    check->by_another = tl_blob_read_u64(body);
    check->impossible = tl_blob_read_u64(body);
    return fine && check->source_count <= TL_REVIEW_SOURCE_MAX;
}

tl_status tl_review_check_load(tl_blob_reader *reader, tl_review_check **out, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "RCHK", CHECK_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_review_check *check = calloc(1, sizeof *check);
    if (check == NULL) return tl_fail(err, TL_ENOMEM, "check of the review");
    if (!load_state(&body, check))
        status = tl_fail(err, TL_ECORRUPT, "the state of the check of the review is damaged");
    else
        status = tl_blob_read_end(&body, "check of the review", err);
    if (status != TL_OK) {
        tl_review_check_destroy(&check);
        return status;
    }
    *out = check;
    return TL_OK;
}

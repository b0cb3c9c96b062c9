/* Labels that nobody gave: calls of the version's own head that audits have certified.
 *
 * What is certified is a policy that does not move: the head that was published with the version's
 * weights. The fast head, the mixture and the threshold change with every label, and a precision that
 * was audited of them would be that of something which does not exist any more. So the batcher logs
 * with each prediction how sure that head was of what was answered (0 where it says otherwise), and
 * everything here follows from the record, also from what pruning leaves of it.
 *
 * Audits are the items whose lot lies below the audit rate, and everything while the loop is cold: a
 * plain random sample of all items, whatever else put them before a person. An audit that nobody
 * answers counts as wrong, and so does one whose answer is corrected to another; neither is taken
 * back. Another version, class or policy begins anew.
 *
 * Used are calls that nobody was asked about, at most so many after each label by a person; not where
 * a shadow decides otherwise. They are work for the slow learner and nothing else: the gate, estimates,
 * the threshold, the mixture, the calibrator, the fast head and this state see people's labels only. */
#include "loop/core/internal.h"

#include "stats/estimate/confidence.h"

#include <stdio.h>

enum { GIVEN_A_LABEL = 8, STATE_VERSION = 1 };

static bool is_on(const tl_core *core)
{
    return core->config.review.automatic;
}

/* What is known is of the version that answers; up to `upto` nothing was known of it. */
static void refresh(tl_core *core, uint64_t upto)
{
    tl_core_automatic *a = &core->automatic;
    tl_automatic_policy policy = tl_automatic_policy_default();
    policy.precision = core->config.review.automatic_precision;
    uint32_t classes = (uint32_t)core->config.info.class_count;
    if (a->version == core->champion && a->classes == classes &&
        a->calls.policy.precision == policy.precision)
        return;
    tl_automatic_init(&a->calls, &policy);
    a->version = core->champion;
    a->classes = classes;
    a->since = upto;
}

/* There are calls of what answers that are watched. */
static bool is_known(const tl_core *core)
{
    return is_on(core) && core->automatic.version == core->champion;
}

/* ---- Audits ---------------------------------------------------------------------------------- */

uint8_t tl_core_automatic_call(const tl_core *core, const tl_prediction_record *p)
{
    if (!is_on(core) || !p->review) return 0;
    bool audit =
        tl_review_logged_rule(p->reason) == TL_REVIEW_COLD ||
        tl_draw_unit(core->config.audit_key, p->id, TL_DRAW_REVIEW, 0) < core->config.audit_rate;
    return audit ? (uint8_t)tl_review_logged_call(p->reason) : 0;
}

static void count(tl_core *core, const tl_drawn *drawn, bool same)
{
    tl_core_automatic *a = &core->automatic;
    double probability = tl_automatic_call_probability(drawn->call);
    if (!tl_automatic_audit(&a->calls, drawn->flagged, probability, same)) return;
    a->ended++;
    a->forget = true;
}

static bool is_watched(const tl_core *core, const tl_drawn *drawn)
{
    return is_known(core) && drawn->call != 0 && drawn->key > core->automatic.since;
}

void tl_core_automatic_answer(tl_core *core, const tl_drawn *drawn, const tl_prediction_record *p,
                              int32_t before, int32_t label)
{
    if (label < 0 || !is_watched(core, drawn)) return;
    bool same = (uint32_t)label == p->label;
    bool taken_back = before >= 0 && (uint32_t)before == p->label && !same;
    if (before < 0 || taken_back) count(core, drawn, same);
}

void tl_core_automatic_time_out(tl_core *core, const tl_drawn *drawn)
{
    if (is_watched(core, drawn)) count(core, drawn, false);
}

/* ---- Labels ---------------------------------------------------------------------------------- */

/* A few after each label by a person, and none for a learner that is far behind. */
static bool is_wanted(tl_core *core)
{
    tl_core_automatic *a = &core->automatic;
    if (a->given_at != core->label_events) {
        a->given_at = core->label_events;
        a->given = 0;
    }
    return core->learning && core->config.learning != TL_LEARNING_OFF && a->given < GIVEN_A_LABEL &&
           tl_core_op_count(core) - core->decided_ops < TL_BACKLOG_MIN;
}

tl_status tl_core_automatic_prediction(tl_core *core, const tl_record *record, tl_error *err)
{
    const tl_prediction_record *p = &record->as.prediction;
    if (!is_on(core)) return TL_OK;
    refresh(core, record->position - 1);
    uint32_t call = tl_review_logged_call(p->reason);
    if (p->review || call == 0 || tl_review_logged_rule(p->reason) == TL_REVIEW_DISAGREEMENT)
        return TL_OK;
    double weight = tl_automatic_weight(&core->automatic.calls, p->flagged,
                                        tl_automatic_call_probability(call));
    if (weight <= 0.0 || p->label >= core->automatic.classes || !is_wanted(core)) return TL_OK;
    core->automatic.given++;
    core->automatic.labels++;
    tl_train_op op = { .code = TL_TRAIN_AUTOMATIC,
                       .label = p->label,
                       .key = record->position,
                       .weight = (float)weight };
    return tl_core_push_op(core, op, err);
}

tl_status tl_core_automatic_settle(tl_core *core, tl_error *err)
{
    tl_core_automatic *a = &core->automatic;
    if (!is_on(core) && a->version != 0) {
        a->version = 0;
        a->forget = true;
    }
    if (!a->forget) return TL_OK;
    a->forget = false;
    return tl_core_push_op(core, (tl_train_op){ .code = TL_TRAIN_FORGET }, err);
}

/* ---- Looking --------------------------------------------------------------------------------- */

void tl_core_automatic_describe(const tl_core *core, tl_loop_state *out)
{
    out->automatic_labels = core->automatic.labels;
    out->automatic_bins = is_known(core) ? tl_automatic_certified(&core->automatic.calls) : 0;
}

void tl_core_automatic_estimates(const tl_core *core, tl_estimates *out)
{
    const tl_core_automatic *a = &core->automatic;
    out->automatic_labels = a->labels;
    out->automatic_ended = a->ended;
    if (!is_known(core)) {
        snprintf(out->automatic_words, sizeof out->automatic_words, "%s",
                 is_on(core) ? "No automatic labels: nothing is audited yet."
                             : "Automatic labels are off.");
        return;
    }
    tl_automatic_reading reading;
    tl_automatic_read(&a->calls, &reading);
    out->automatic_bins = reading.certified;
    out->automatic_audits = reading.audits;
    uint64_t audits = reading.certified_audits, right = audits - reading.certified_errors;
    if (audits > 0) {
        tl_interval interval = tl_beta_binomial_interval(right, audits, 0.95);
        out->automatic_precision = (tl_share){ .value = (double)right / (double)audits,
                                               .low = interval.low,
                                               .high = interval.high,
                                               .hits = right,
                                               .count = audits };
    }
    snprintf(out->automatic_words, sizeof out->automatic_words, "%s", reading.words);
}

/* ---- In a checkpoint ------------------------------------------------------------------------- */

void tl_core_automatic_save(const tl_core *core, tl_blob *blob)
{
    const tl_core_automatic *a = &core->automatic;
    size_t section = tl_blob_section_begin(blob, "AUTL", STATE_VERSION);
    const uint64_t numbers[] = { a->version, a->since,  a->classes, a->given_at,
                                 a->given,   a->labels, a->ended };
    tl_blob_u64s(blob, numbers, TL_COUNT_OF(numbers));
    if (a->version != 0) tl_automatic_save(&a->calls, blob);
    tl_blob_section_end(blob, section);
}

tl_status tl_core_automatic_load(tl_core *core, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader body;
    tl_core_automatic a = { 0 };
    uint64_t numbers[7] = { 0 };
    tl_status status = tl_blob_read_section(reader, "AUTL", STATE_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_blob_read_u64s(&body, numbers, TL_COUNT_OF(numbers));
    a.version = numbers[0];
    a.since = numbers[1];
    a.classes = (uint32_t)numbers[2];
    a.given_at = numbers[3];
    a.given = (uint32_t)numbers[4];
    a.labels = numbers[5];
    a.ended = numbers[6];
    if (a.version != 0) status = tl_automatic_load(&body, &a.calls, err);
    if (status == TL_OK) status = tl_blob_read_end(&body, "automatic labels", err);
    if (status == TL_OK) core->automatic = a;
    return status;
}

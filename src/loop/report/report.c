#include "loop/report/report.h"

#include "loop/core/standing.h"
#include "loop/report/asked.h"
#include "loop/report/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STATEMENTS_MAX = 256 };
static const double CHANCE_MIN = 1e-6; /* what is never looked at is told as such */

/* One kind of items: flagged, or passed. */
typedef struct kind {
    uint64_t drawn, answered;
    double propensity_min; /* above 0; 1 where nothing came */
} kind;

typedef struct making {
    tl_report_options options;
    const char *field_source;
    tl_report_classes classes;
    tl_report_asked *asked;
    tl_report *report;
    kind kinds[2]; /* passed, flagged */
    char (*names)[TL_TEXT_BYTES_MAX];
    size_t name_count, left_out;
    tl_report_group *groups; /* [1 + rows]: all, then the rows */
    tl_report_group worst;
    tl_record *statements; /* [STATEMENTS_MAX] */
    tl_review_check *check;
    int64_t newest_us;
    bool gathering; /* the second walk */
} making;

/* ---- One item ---------------------------------------------------------------------------------- */

/* What those said whose word is (or is not) that of the field; of an item that somebody was asked about,
 * only what that one said. */
static int32_t fold(making *m, const tl_prediction_record *p, const tl_record *feedback,
                    size_t count, bool from_field)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_field = strcmp(feedback[i].as.feedback.source, m->field_source) == 0;
        if (is_field == from_field && kept < STATEMENTS_MAX) m->statements[kept++] = feedback[i];
    }
    uint64_t asked = from_field ? 0 : tl_report_asked_of(m->asked, p);
    if (asked != 0)
        return tl_people_label(p, m->statements, kept, asked, m->classes.count,
                               m->classes.third_class_at);
    return tl_standing_fold(p, m->statements, kept, m->classes.count, m->classes.third_class_at);
}

static const char *group_of(const making *m, const tl_prediction_record *p)
{
    const char *text = NULL;
    switch (m->options.by) {
    case TL_REPORT_SITE: text = p->site; break;
    case TL_REPORT_LINE: text = p->line; break;
    case TL_REPORT_SHIFT: text = p->shift; break;
    case TL_REPORT_LOT: text = p->lot; break;
    case TL_REPORT_ALL:
    case TL_REPORT_CLASS: return NULL;
    }
    return text != NULL && strlen(text) < TL_TEXT_BYTES_MAX ? text : "";
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static const char *find_name(const making *m, const char *name)
{
    return bsearch(name, m->names, m->name_count, sizeof *m->names, compare_names);
}

/* Keep the names in order; the first TL_REPORT_ROW_COUNT_MAX of them that come. */
static void note_name(making *m, const char *name)
{
    if (name == NULL || find_name(m, name) != NULL) return;
    if (m->name_count == TL_REPORT_ROW_COUNT_MAX) {
        m->left_out++;
        return;
    }
    size_t at = m->name_count++;
    while (at > 0 && strcmp(m->names[at - 1], name) > 0) {
        memcpy(m->names[at], m->names[at - 1], sizeof *m->names);
        at--;
    }
    strcpy(m->names[at], name);
}

static void survey(making *m, const tl_report_item *item)
{
    kind *k = &m->kinds[item->prediction->flagged];
    double propensity = (double)item->prediction->propensity;
    k->drawn += item->prediction->review;
    k->answered += item->verified;
    if (propensity > 0.0 && propensity < k->propensity_min) k->propensity_min = propensity;
    note_name(m, group_of(m, item->prediction));
    if (item->prediction->time_us > m->newest_us) m->newest_us = item->prediction->time_us;
}

static double answered_share(const kind *k)
{
    return k->drawn == 0 ? 1.0 : (double)k->answered / (double)k->drawn;
}

static void note_confusion(making *m, const tl_report_item *item)
{
    size_t count = m->classes.count;
    if (!item->verified || item->prediction->label >= count || item->chance <= 0.0) return;
    size_t cell = (size_t)item->told * count + item->prediction->label;
    m->report->confusion[cell] += 1.0 / item->chance;
    m->report->confusion_count[cell]++;
}

static void gather(making *m, tl_report_item *item)
{
    const tl_prediction_record *p = item->prediction;
    double drawn = isfinite(p->propensity) ? (double)p->propensity : 0.0;
    item->chance = drawn * answered_share(&m->kinds[p->flagged]);
    tl_report_group_add(&m->groups[0], item, 0);
    tl_report_rules_add(m->check, item, m->newest_us);
    note_confusion(m, item);
    const char *group = group_of(m, p), *found = group != NULL ? find_name(m, group) : NULL;
    if (found != NULL) {
        size_t index = (size_t)((const char(*)[TL_TEXT_BYTES_MAX])found - m->names);
        tl_report_group_add(&m->groups[1 + index], item, 0);
    }
    for (uint32_t class = 1; m->options.by == TL_REPORT_CLASS && class < m->classes.count; class ++)
        tl_report_group_add(&m->groups[class], item, class);
    /* The worst case has a verdict on everything that was drawn. */
    tl_report_item worst = *item;
    worst.chance = p->flagged ? item->chance : drawn;
    if (p->review && !p->flagged && item->told < 0) {
        worst.verified = true;
        worst.told = 1;
    }
    tl_report_group_add(&m->worst, &worst, 0);
}

static tl_status take(void *context, const tl_prediction_record *p, const tl_record *feedback,
                      size_t count, tl_error *err)
{
    making *m = context;
    (void)err;
    if (m->options.since_us != 0 && p->time_us < m->options.since_us) return TL_OK;
    if (m->options.until_us != 0 && p->time_us >= m->options.until_us) return TL_OK;
    tl_report_item item = { .prediction = p,
                            .told = count > 0 ? fold(m, p, feedback, count, false) : -1,
                            .field = count > 0 ? fold(m, p, feedback, count, true) : -1 };
    item.verified = p->review && item.told >= 0;
    if (m->gathering)
        gather(m, &item);
    else
        survey(m, &item);
    return TL_OK;
}

/* ---- The whole --------------------------------------------------------------------------------- */

static tl_selective_options options_of(const making *m, bool with_silence)
{
    double least[2];
    for (int flagged = 0; flagged < 2; flagged++) {
        const kind *k = &m->kinds[flagged];
        least[flagged] = k->propensity_min * (with_silence || flagged ? answered_share(k) : 1.0);
        /* Rounding must not put the least one below itself. */
        least[flagged] *= 1.0 - 1e-6;
        if (!(least[flagged] > CHANCE_MIN)) least[flagged] = CHANCE_MIN;
    }
    return (tl_selective_options){ .flagged_propensity_min = least[1],
                                   .passed_propensity_min = least[0] };
}

static size_t row_count(const making *m)
{
    return m->options.by == TL_REPORT_CLASS ? m->classes.count - 1 : m->name_count;
}

static tl_status groups_make(making *m, tl_error *err)
{
    size_t rows = row_count(m);
    tl_selective_options options = options_of(m, true), worst = options_of(m, false);
    m->groups = calloc(1 + rows, sizeof *m->groups);
    m->report->rows = calloc(rows + 1, sizeof *m->report->rows);
    if (m->groups == NULL || m->report->rows == NULL)
        return tl_fail(err, TL_ENOMEM, "rows of a report");
    tl_status status = tl_report_group_init(&m->groups[0], "", &options, err);
    for (size_t i = 0; i < rows && status == TL_OK; i++) {
        const char *name = m->options.by == TL_REPORT_CLASS ? m->classes.names[i + 1] : m->names[i];
        status = tl_report_group_init(&m->groups[1 + i], name, &options, err);
    }
    return status == TL_OK ? tl_report_group_init(&m->worst, "", &worst, err) : status;
}

static tl_status groups_read(making *m, tl_error *err)
{
    tl_report *report = m->report;
    tl_status status = tl_report_group_read(&m->groups[0], 0, err);
    if (status == TL_OK) status = tl_report_group_read(&m->worst, 0, err);
    report->row_count = row_count(m);
    report->rows_left_out = m->left_out;
    for (size_t i = 0; i < report->row_count && status == TL_OK; i++) {
        bool classes = m->options.by == TL_REPORT_CLASS;
        status = tl_report_group_read(&m->groups[1 + i], classes ? (uint32_t)i + 1 : 0, err);
        report->rows[i] = m->groups[1 + i].row;
    }
    report->all = m->groups[0].row;
    report->escapes_worst = m->worst.row.escapes;
    tl_report_rules_read(m->check, report);
    return status;
}

static tl_status allocate(making *m, tl_error *err)
{
    size_t cells = m->classes.count * m->classes.count;
    tl_report *report = m->report = calloc(1, sizeof *report);
    m->names = calloc(TL_REPORT_ROW_COUNT_MAX, sizeof *m->names);
    m->statements = calloc(STATEMENTS_MAX, sizeof *m->statements);
    tl_review_check_policy rules = tl_review_check_policy_default();
    m->check = tl_review_check_create(&rules);
    if (report == NULL || m->names == NULL || m->statements == NULL || m->check == NULL)
        return tl_fail(err, TL_ENOMEM, "a report");
    report->confusion = calloc(cells, sizeof *report->confusion);
    report->confusion_count = calloc(cells, sizeof *report->confusion_count);
    if (report->confusion == NULL || report->confusion_count == NULL)
        return tl_fail(err, TL_ENOMEM, "a report");
    report->class_count = m->classes.count;
    memcpy(report->classes, m->classes.names, sizeof report->classes);
    return TL_OK;
}

static tl_status make(making *m, tl_journal_reader *reader, uint32_t loop, tl_error *err)
{
    uint64_t upto;
    tl_status status = tl_report_classes_read(reader, loop, &m->classes, err);
    if (status == TL_OK) status = tl_report_asked_read(reader, loop, &m->asked, err);
    if (status == TL_OK) status = allocate(m, err);
    if (status == TL_OK) status = tl_journal_last_position(reader, &upto, err);
    if (status == TL_OK) status = tl_journal_walk_outcomes(reader, loop, upto, take, m, err);
    if (status == TL_OK) status = groups_make(m, err);
    m->gathering = true;
    if (status == TL_OK) status = tl_journal_walk_outcomes(reader, loop, upto, take, m, err);
    return status == TL_OK ? groups_read(m, err) : status;
}

tl_status tl_report_make(tl_journal_reader *reader, uint32_t loop, const tl_report_options *options,
                         tl_report **out, tl_error *err)
{
    making *m = calloc(1, sizeof *m);
    if (m == NULL) return tl_fail(err, TL_ENOMEM, "a report");
    m->options = *options;
    m->field_source = options->field_source != NULL ? options->field_source : "field";
    m->kinds[0].propensity_min = m->kinds[1].propensity_min = 1.0;
    tl_status status = make(m, reader, loop, err);
    if (status == TL_OK)
        *out = m->report;
    else
        tl_report_destroy(&m->report);
    free(m->groups);
    free(m->names);
    free(m->statements);
    tl_report_asked_free(m->asked);
    tl_review_check_destroy(&m->check);
    free(m);
    return status;
}

void tl_report_destroy(tl_report **report)
{
    if (*report == NULL) return;
    free((*report)->rows);
    free((*report)->confusion);
    free((*report)->confusion_count);
    free(*report);
    *report = NULL;
}

/* group.c - one row of a report: counts, and estimates from the items that somebody looked at. */
#include "loop/report/internal.h"

#include <math.h>
#include <string.h>

static const double CONFIDENCE = 0.95;

tl_status tl_report_group_init(tl_report_group *group, const char *name,
                               const tl_selective_options *options, tl_error *err)
{
    *group = (tl_report_group){ 0 };
    strncpy(group->row.name, name, sizeof group->row.name - 1);
    tl_status status = tl_selective_init(&group->defects, options, err);
    if (status == TL_OK) status = tl_selective_init(&group->errors, options, err);
    if (status == TL_OK) status = tl_selective_init(&group->blamed, options, err);
    return status;
}

static double score_of(const tl_prediction_record *p, uint32_t class)
{
    return class < p->score_count && isfinite(p->scores[class]) ? (double)p->scores[class] : 0.0;
}

static void count_item(tl_report_row *row, const tl_report_item *item, bool counts_field)
{
    const tl_prediction_record *p = item->prediction;
    row->items++;
    row->flagged += p->flagged;
    row->drawn += p->review;
    row->answered += item->verified;
    row->volunteered += !p->review && item->told >= 0;
    row->field += counts_field && item->field >= 0;
    row->field_escapes += counts_field && item->field > 0 && !p->flagged;
}

void tl_report_group_add(tl_report_group *group, const tl_report_item *item, uint32_t class)
{
    const tl_prediction_record *p = item->prediction;
    bool of_class = class == 0 || item->told == (int32_t) class;
    bool answered_class = class == 0 || p->label == class;
    count_item(&group->row, item, class == 0 || item->field == (int32_t) class);
    double any = 1.0 - score_of(p, 0);
    tl_selective_add(&group->defects, p->flagged, item->verified, item->told > 0 && of_class,
                     item->chance, class == 0 ? any : score_of(p, class));
    if (class == 0)
        tl_selective_add(&group->errors, p->flagged, item->verified,
                         item->told != (int32_t)p->label, item->chance,
                         1.0 - score_of(p, p->label));
    else
        tl_selective_add(&group->blamed, p->flagged && answered_class, item->verified,
                         item->told > 0, item->chance, any);
}

tl_share tl_report_share(const tl_figure *figure)
{
    return (tl_share){ isnan(figure->value) ? 0.0 : figure->value, figure->low, figure->high,
                       figure->hits, figure->count };
}

static tl_share complement(tl_share share)
{
    return (tl_share){ 1.0 - share.value, 1.0 - share.high, 1.0 - share.low,
                       share.count - share.hits, share.count };
}

tl_status tl_report_group_read(tl_report_group *group, uint32_t class, tl_error *err)
{
    tl_report_row *row = &group->row;
    tl_selective_figures defects, other;
    tl_status status =
        tl_selective_read(&group->defects, TL_SELECTIVE_RUNNING, CONFIDENCE, &defects, err);
    if (status == TL_OK)
        status = tl_selective_read(class == 0 ? &group->errors : &group->blamed,
                                   TL_SELECTIVE_RUNNING, CONFIDENCE, &other, err);
    if (status != TL_OK) return status;
    row->escapes = tl_report_share(&defects.escape);
    row->prevalence = tl_report_share(&defects.prevalence);
    row->recall = tl_report_share(&defects.recall);
    row->precision = tl_report_share(&defects.precision);
    if (class == 0) {
        row->overkill = tl_report_share(&defects.overkill);
        row->accuracy = complement(tl_report_share(&other.prevalence));
    } else {
        row->overkill = tl_report_share(&other.overkill);
    }
    return TL_OK;
}

/* internal.h - what the files of the report share. */
#ifndef TL_LOOP_REPORT_INTERNAL_H
#define TL_LOOP_REPORT_INTERNAL_H

#include "loop/report/classes.h"
#include "loop/report/report.h"
#include "review/check.h"
#include "stats/estimate/selective.h"

/* One item with what was said of it. */
typedef struct tl_report_item {
    const tl_prediction_record *prediction;
    int32_t told;  /* class by those who look, or -1 */
    int32_t field; /* class by the field, or -1 */
    bool verified; /* drawn and answered */
    double chance; /* to be drawn and answered */
} tl_report_item;

/* What is gathered for one row. */
typedef struct tl_report_group {
    tl_report_row row;
    tl_selective defects; /* flagged against defective */
    tl_selective errors;  /* answered against told: its prevalence is the share of wrong answers */
    tl_selective blamed;  /* of a class: flagged as such against defective at all */
} tl_report_group;

tl_status tl_report_group_init(tl_report_group *group, const char *name,
                               const tl_selective_options *options, tl_error *err);
/* `class` 0: all of them; else only what concerns that class. */
void tl_report_group_add(tl_report_group *group, const tl_report_item *item, uint32_t class);
/* The shares into group->row. */
tl_status tl_report_group_read(tl_report_group *group, uint32_t class, tl_error *err);

/* Whether the rules of review were kept (rules.c): an item, and in the end what was found. `newest_us`
 * is the time of the newest item: what was drawn long before and has no verdict is left open. */
void tl_report_rules_add(tl_review_check *check, const tl_report_item *item, int64_t newest_us);
void tl_report_rules_read(const tl_review_check *check, tl_report *out);

/* A share of selective.h as it is shown. */
tl_share tl_report_share(const tl_figure *figure);

#endif

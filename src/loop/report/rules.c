/* rules.c - whether the rules of review were kept, on which every figure of a report rests. */
#include "loop/report/internal.h"

#include <string.h>

_Static_assert((int)TL_REPORT_FINDING_COUNT_MAX >= (int)TL_REVIEW_FINDING_MAX, "room for all");
_Static_assert((int)TL_REPORT_FINDING_BYTES >= (int)TL_REVIEW_FINDING_BYTES, "room for each");

static const int64_t LEFT_OPEN_US =
    INT64_C(86400) * 1000000; /* a day: somebody should have looked */

void tl_report_rules_add(tl_review_check *check, const tl_report_item *item, int64_t newest_us)
{
    const tl_prediction_record *p = item->prediction;
    tl_review_check_item(check, p->review, (double)p->propensity);
    tl_review_reason reason = tl_review_logged_rule(p->reason);
    if (item->verified)
        tl_review_check_outcome(check, reason, TL_REVIEW_ANSWERED, 0);
    else if (!p->review && item->told >= 0)
        tl_review_check_outcome(check, reason, TL_REVIEW_VOLUNTEERED, 0);
    else if (p->review && newest_us - p->time_us > LEFT_OPEN_US)
        tl_review_check_outcome(check, reason, TL_REVIEW_TIMED_OUT, 0);
}

void tl_report_rules_read(const tl_review_check *check, tl_report *out)
{
    tl_review_check_reading reading;
    tl_review_check_read(check, &reading);
    out->finding_count = reading.finding_count;
    for (size_t i = 0; i < reading.finding_count; i++)
        memcpy(out->findings[i], reading.finding[i], sizeof reading.finding[i]);
}

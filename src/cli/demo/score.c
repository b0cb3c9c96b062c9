/* score.c - boards counted, and whether it got better. */
#include "cli/demo/demo.h"
#include "stats/interval.h"

static tl_share share_of(uint64_t hits, uint64_t count)
{
    tl_interval interval = tl_interval_wilson(hits, count, 0.95);
    double value = count > 0 ? (double)hits / (double)count : 0.0;
    return (tl_share){ value, interval.low, interval.high, hits, count };
}

void tl_demo_score_finish(tl_demo_score *score)
{
    score->right = score->boards - score->defects - score->flagged + 2 * score->hits;
    score->precision = share_of(score->hits, score->flagged);
    score->recall = share_of(score->hits, score->defects);
    score->decisions = share_of(score->right, score->boards);
}

bool tl_demo_improved(const tl_demo_picture *p)
{
    return p->start.boards > 0 && p->all.decisions.low > p->start.decisions.high;
}

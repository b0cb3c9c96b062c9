#include "gate/no_worse.h"

#include "gate/gate.h"

#include <math.h>
#include <stdio.h>

static tl_no_worse_verdict verdict_of(bool publish, const char *reason,
                                      const tl_no_worse_evidence *evidence)
{
    tl_no_worse_verdict verdict = { .publish = publish };
    double count = evidence->count > 0 ? evidence->count : 1;
    snprintf(verdict.words, sizeof verdict.words,
             "%s: loss %.4f against %.4f over %u items; golden errors %u against %u of %u", reason,
             evidence->candidate_loss / count, evidence->champion_loss / count, evidence->count,
             evidence->golden_candidate_errors, evidence->golden_champion_errors,
             evidence->golden_count);
    return verdict;
}

static bool golden_stands(const tl_no_worse_evidence *e)
{
    if (!e->golden_paired) return e->golden_candidate_errors <= e->golden_champion_errors;
    uint32_t fixed = e->golden_champion_errors + e->golden_new_errors - e->golden_candidate_errors;
    return tl_gate_golden(e->golden_new_errors, fixed);
}

tl_no_worse_verdict tl_no_worse_decide(const tl_no_worse_evidence *evidence)
{
    if (evidence->count == 0) return verdict_of(false, "refused, no evidence yet", evidence);
    if (!isfinite(evidence->candidate_loss))
        return verdict_of(false, "refused, its loss is not finite", evidence);
    if (!golden_stands(evidence)) return verdict_of(false, "refused, new golden errors", evidence);
    if (evidence->candidate_loss > evidence->champion_loss)
        return verdict_of(false, "refused, not better", evidence);
    return verdict_of(true, "published, no worse", evidence);
}

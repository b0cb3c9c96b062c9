#include "loop/threads/spans.h"

#include <stdbool.h>
#include <stddef.h>

static size_t kept(uint64_t count, size_t limit)
{
    return count < limit ? (size_t)count : limit;
}

void tl_spans_handed(tl_spans *s, uint64_t ops, int64_t now_ns)
{
    const tl_span_mark *last = &s->rounds[(s->round_count - 1) % TL_SPANS_ROUNDS];
    if (s->round_count > 0 && last->number == ops) return;
    s->rounds[s->round_count++ % TL_SPANS_ROUNDS] = (tl_span_mark){ ops, now_ns };
}

/* The round that handed over the last of them: the first, in order, with at least as many. One that is
 * older than the ring would be taken for a later one. */
static const tl_span_mark *find_round(const tl_spans *s, uint64_t ops)
{
    size_t count = kept(s->round_count, TL_SPANS_ROUNDS);
    const tl_span_mark *found = NULL;
    for (size_t i = 1; i <= count; i++) { /* newest first */
        const tl_span_mark *round = &s->rounds[(s->round_count - i) % TL_SPANS_ROUNDS];
        if (round->number < ops) return found;
        found = round;
    }
    return s->round_count > count ? NULL : found;
}

void tl_spans_judged(tl_spans *s, uint64_t ops, uint64_t version, int64_t now_ns)
{
    const tl_span_mark *round = find_round(s, ops);
    if (round != NULL) tl_histogram_record_ns(&s->candidate_ns, now_ns - round->at_ns);
    if (version != 0)
        s->judged[s->judged_count++ % TL_SPANS_VERSIONS] = (tl_span_mark){ version, now_ns };
}

void tl_spans_serves(tl_spans *s, uint64_t version, int64_t now_ns)
{
    if (version == s->serving) return;
    bool first = s->serving == 0; /* it answered when the loop was opened */
    s->serving = version;
    if (first) return;
    for (size_t i = 0; i < kept(s->judged_count, TL_SPANS_VERSIONS); i++) {
        tl_span_mark *judged = &s->judged[i];
        if (judged->number != version) continue;
        tl_histogram_record_ns(&s->verdict_ns, now_ns - judged->at_ns);
        judged->number = 0; /* what brings it back later is no verdict on its judgement */
    }
    atomic_store(&s->fresh_ns, now_ns);
    atomic_store(&s->fresh, version);
}

void tl_spans_answered(tl_spans *s, uint64_t version, int64_t now_ns)
{
    if (version != atomic_load_explicit(&s->fresh, memory_order_relaxed)) return;
    int64_t since_ns = atomic_load(&s->fresh_ns);
    if (atomic_compare_exchange_strong(&s->fresh, &version, 0))
        tl_histogram_record_ns(&s->first_answer_ns, now_ns - since_ns);
}

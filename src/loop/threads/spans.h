/* spans.h - how long versions take: from the newest label that one knows to its judgement, from there
 * until it answers, from there to its first answer. Since the process began; nothing here is state of
 * the loop. Layer: loop. Written by the learner's thread, but for tl_spans_answered, which any may
 * call. */
#ifndef TL_LOOP_SPANS_H
#define TL_LOOP_SPANS_H

#include "base/histogram.h"

enum { TL_SPANS_ROUNDS = 256, TL_SPANS_VERSIONS = 32 }; /* older ones are not measured */

typedef struct tl_span_mark {
    uint64_t number; /* operations handed to the trainer so far; of a version */
    int64_t at_ns;
} tl_span_mark;

typedef struct tl_spans {
    tl_histogram candidate_ns, verdict_ns, first_answer_ns;
    tl_span_mark rounds[TL_SPANS_ROUNDS], judged[TL_SPANS_VERSIONS]; /* rings */
    uint64_t round_count, judged_count, serving;
    _Atomic uint64_t fresh; /* version that was not seen to answer yet; 0: none */
    _Atomic int64_t fresh_ns;
} tl_spans;

/* A round's labels were applied: so many operations were handed to the trainer since the beginning. */
void tl_spans_handed(tl_spans *spans, uint64_t ops, int64_t now_ns);
/* A version (0: refused) made of the first `ops` operations was judged, and that is durable. */
void tl_spans_judged(tl_spans *spans, uint64_t ops, uint64_t version, int64_t now_ns);
/* That version answers from now on; nothing happens when it did before. */
void tl_spans_serves(tl_spans *spans, uint64_t version, int64_t now_ns);
/* A durable answer by that version left. */
void tl_spans_answered(tl_spans *spans, uint64_t version, int64_t now_ns);

#endif

/* whatif.h - what the gate would have said under another policy, from a journal. Layer: loop. Reads
 * only; works on a journal that is being served, up to the position of the call. One thread.
 *
 * A fresh gate with the changed policy is told what the journal has: predictions with what each
 * shadow decided, the labels that stood at each moment, when shadows came and went. What cannot be
 * known from a journal: what would have answered after a verdict that came at another moment. So the
 * evidence about a shadow ends where it ended then, with the verdict as recorded or when it was set
 * aside. A shadow that was gone before any prediction carried it spends no number of the series. */
#ifndef TL_LOOP_WHATIF_H
#define TL_LOOP_WHATIF_H

#include "journal/journal.h"
#include "loop/config.h"

typedef struct tl_whatif_verdict {
    const char *kind;                     /* "promote", "certify", "take_back", "alarm". Static */
    uint64_t version;                     /* of the shadow; of an alarm: what answered */
    uint64_t key;                         /* of the shadow */
    bool recorded;                        /* the journal has it */
    bool comes;                           /* it comes under the changed policy */
    uint64_t position_then, position_now; /* in the journal; 0: not */
    uint64_t labels_then, labels_now;     /* labels until then */
    double log_e,
        log_needed; /* nats; where it does not come: when its evidence ended; NaN: unknown */
} tl_whatif_verdict;

typedef struct tl_whatif_report {
    uint64_t predictions, labels, shadows; /* that it was told */
    size_t count;
    tl_whatif_verdict *verdicts; /* [count], in the order of the first of both moments */
} tl_whatif_report;

/* Changes the policy in force, at the beginning and at each change of the knobs. */
typedef tl_status (*tl_whatif_fn)(void *context, tl_gate_options *gate, tl_error *err);

/* `config`: the loop's description in the journal. Errors: those of reading and of `change`,
 * TL_EINVAL (the changed policy is none), TL_ENOMEM. */
tl_status tl_whatif_run(tl_journal_reader *reader, uint32_t loop, const char *config,
                        tl_whatif_fn change, void *context, tl_whatif_report *out, tl_error *err);
void tl_whatif_clear(tl_whatif_report *report); /* frees what is in it */

#endif

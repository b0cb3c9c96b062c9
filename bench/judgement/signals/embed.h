/* embed.h - real boards as two versions of the built-in network see them, and among them a kind of
 * defect that neither knows: faint stains, painted on every twelfth good board. One owner thread. */
#ifndef BENCH_SIGNALS_EMBED_H
#define BENCH_SIGNALS_EMBED_H

#include "bench/judgement/boards/line.h"

enum {
    SIGNALS_CLASSES = 8,
    SIGNALS_STAIN = 7,
    SIGNALS_LEARNED = 1600,
    SIGNALS_LEARNED_EARLIER = 1100
};

/* What a version makes of each item. */
typedef struct signals_view {
    float *features; /* [count, feature_count] */
    float *logits;   /* [count, SIGNALS_CLASSES] */
} signals_view;

typedef struct signals_embedding {
    size_t count, feature_count;
    uint32_t *label; /* [count], SIGNALS_STAIN among them; the first SIGNALS_LEARNED, which have
                        no stains, were learned from in that order */
    signals_view now, earlier;
} signals_embedding;

/* Learns from the line's first boards, then looks at all. `seed`: of the network. Errors: those of
 * the data set, of learning. */
tl_status signals_embed(const boards_line *line, uint64_t seed, signals_embedding *out,
                        tl_error *err);
void signals_embedding_clear(signals_embedding *embedding);

#endif

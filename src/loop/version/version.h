/* version.h - an immutable version as it goes into service: weights, and the statistics of the fast
 * head on its features. Layer: loop. One owner at a time; handed from the trainer to the learner.
 */
#ifndef TL_LOOP_VERSION_H
#define TL_LOOP_VERSION_H

#include "learn/fast/head.h"
#include "loop/item/featurizer.h"

typedef struct tl_version {
    uint64_t number, parent;
    uint64_t op_count;     /* made after so many training operations */
    uint64_t weights_hash; /* of all flat numbers */
    uint64_t
        backbone_hash;   /* of all but the last layer's: versions that agree in it share features */
    tl_weights *weights; /* owned reference */
    /* Items that the fast head starts from: recent ones, balanced over the classes. */
    uint64_t *kept_keys;
    uint32_t *kept_labels;
    size_t kept_count;
    tl_head_stats *stats; /* of those items; NULL until tl_version_warm, or when the statistics of
                             the champion carry on because the backbone is the same */
} tl_version;

/* Copies everything. Errors: TL_ENOMEM, TL_EINVAL (numbers that are not finite). */
tl_status tl_version_create(tl_graph *graph, const float *flat, uint64_t number, uint64_t parent,
                            uint64_t op_count, const uint64_t *kept_keys,
                            const uint32_t *kept_labels, size_t kept_count, tl_version **out,
                            tl_error *err);
void tl_version_destroy(tl_version **version); /* NULL-safe */

/* Compute `stats` from the kept items. */
tl_status tl_version_warm(tl_version *version, tl_graph *graph, tl_featurizer *featurizer,
                          const tl_loop_info *info, float feature_range, size_t class_count,
                          tl_error *err);
/* How many features the fast head has on this graph. */
uint32_t tl_version_fast_features(const tl_graph *graph, const tl_loop_info *info);
/* Empty statistics for features of this graph. */
tl_status tl_version_empty_stats(const tl_graph *graph, const tl_loop_info *info,
                                 float feature_range, size_t class_count, tl_head_stats **out,
                                 tl_error *err);

/* The blob of the journal's version record, and back. Errors of reading: TL_ECORRUPT, TL_EVERSION.
 */
tl_status tl_version_save(const tl_version *version, tl_graph *graph, tl_blob *blob, tl_error *err);
tl_status tl_version_load(tl_graph *graph, const void *data, size_t bytes, tl_version **out,
                          tl_error *err);
/* Read version `number` from the journal. TL_ENOTFOUND: its weights are not kept. */
tl_status tl_version_read(tl_graph *graph, tl_item_reader *items, uint64_t number, tl_version **out,
                          tl_error *err);

#endif

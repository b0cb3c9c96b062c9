/* campaign.h - a fine-tune of a network over the labels that there are, in small steps, so that who
 * runs it can stop between them. Layer: learn (above graph). One owner thread.
 *
 * First the last layer learns on the features of the network as it is (a full fine-tune behind an
 * untrained last layer spoils the features: Kumar and others 2022), then everything: half of each
 * batch are new labels, half any, balanced over the classes; AdamW with warm-up and a cosine, a
 * smaller rate for the backbone, a pull towards the weights it started from (L2-SP), and the average
 * over the last steps as the result. A function of its options, the entries in their order and the
 * items: the same again gives the same bits. */
#ifndef TL_LEARN_CAMPAIGN_H
#define TL_LEARN_CAMPAIGN_H

#include "learn/slow/automatic_memory.h"
#include "learn/slow/learner.h"

typedef struct tl_campaign tl_campaign;

typedef struct tl_campaign_entry {
    uint64_t key;
    uint32_t label;
    bool fresh; /* no campaign has learned it yet */
} tl_campaign_entry;

typedef struct tl_campaign_options {
    tl_pixels_form pixels; /* what an item is: images */
    uint64_t seed;
    uint32_t class_count;  /* at most the graph's outputs */
    uint32_t threads;      /* bits are reproducible for one number */
    uint32_t batch;        /* default 16; less when a step would need more than bytes_max */
    size_t bytes_max;      /* of the plan; default 1 GiB */
    uint32_t head_items;   /* at most so many for the last layer alone; default 1,024 */
    double epochs;         /* passes of the full fine-tune; default 8 */
    uint32_t steps_min;    /* but at least so many steps; default 200 */
    double rate;           /* peak; default 3e-3 */
    float backbone_factor; /* of the rate for all others; default 1 */
    float l2_to_start;     /* default 1e-4 */
    double average_decay;  /* default 0.99 */
    double warmup_share;   /* of the steps; default 0.05 */
    /* Items with a label that nobody gave: a quarter of each batch while everything learns; copied.
     * Default none. */
    const tl_automatic_item *automatic; /* [automatic_count] */
    size_t automatic_count;
    float automatic_weight; /* of each, 0..1 */
} tl_campaign_options;

tl_campaign_options tl_campaign_options_default(void);

/* `start` [tl_graph_float_count] and `entries` are copied; `fetch` as for the learner. Errors:
 * TL_EINVAL (nothing to learn from), TL_ESHAPE, TL_ENOMEM, TL_EUNSUPPORTED. */
tl_status tl_campaign_create(tl_graph *graph, const float *start, const tl_campaign_entry *entries,
                             size_t count, const tl_campaign_options *options,
                             tl_learner_fetch fetch, void *context, tl_campaign **out,
                             tl_error *err);
void tl_campaign_destroy(tl_campaign **campaign); /* NULL-safe */

/* One step: some ten milliseconds for small images, more for large ones. Only while steps are left.
 * Errors: TL_ENOMEM; items that cannot be fetched are left out and counted. */
tl_status tl_campaign_step(tl_campaign *campaign, tl_error *err);
uint64_t tl_campaign_done(const tl_campaign *campaign);
uint64_t tl_campaign_steps(const tl_campaign *campaign); /* in all */
uint64_t tl_campaign_skipped(const tl_campaign *campaign);
/* Mean loss of the last step, nats. */
double tl_campaign_loss(const tl_campaign *campaign);
/* The weights [tl_graph_float_count] so far; in the end the result. Borrowed. */
const float *tl_campaign_result(const tl_campaign *campaign);
size_t tl_campaign_bytes(const tl_campaign *campaign);
/* What it would say while everything learns, and over how many items a step would go: the plan is laid
 * out, not allocated. Of `options` batch, bytes_max, class_count and threads count. TL_ENOMEM,
 * TL_ESHAPE, TL_EUNSUPPORTED. */
tl_status tl_campaign_measure(tl_graph *graph, const tl_campaign_options *options, uint32_t *batch,
                              size_t *bytes, tl_error *err);

#endif

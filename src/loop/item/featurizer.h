/* featurizer.h - network outputs and features of items in the journal. Layer: loop. One owner
 * thread. Results do not depend on how items are grouped. */
#ifndef TL_LOOP_FEATURIZER_H
#define TL_LOOP_FEATURIZER_H

#include "graph/graph.h"
#include "loop/item/items.h"

typedef struct tl_featurizer tl_featurizer;

/* Borrows `items` and its info, retains `graph`. Errors: TL_ENOMEM, TL_ESHAPE (the graph's input is
 * not what the loop's items give). */
tl_status tl_featurizer_create(tl_graph *graph, tl_item_reader *items, tl_featurizer **out,
                               tl_error *err);
void tl_featurizer_destroy(tl_featurizer **featurizer);

/* Of the items predicted at positions[i]: features [count, tl_graph_feature_count] and, when not
 * NULL, outputs [count, output 0]. found[i] is false for an item that is not kept any more; its
 * rows are zero. Errors: those of running, and of reading other than TL_ENOTFOUND. */
tl_status tl_featurizer_run(tl_featurizer *featurizer, const tl_weights *weights,
                            const uint64_t *positions, size_t count, float *features,
                            float *outputs, bool *found, tl_error *err);

/* TL_ESHAPE unless the graph takes what the loop's items give and answers for its classes. */
tl_status tl_graph_check_loop(const tl_graph *graph, const tl_loop_config *config, tl_error *err);
/* Write one item into row `row` of the plan's input. `pixels` as tl_item_fetch gives them. */
void tl_items_to_input(const tl_loop_config *config, const uint8_t *pixels, const float *features,
                       float *input, uint32_t row);

#endif

/* classifier.h - another last layer on a given network. Layer: graph. Any thread.
 *
 * A network comes with the classes that it was trained for, or is a detector; a loop has classes of
 * its own. The classifier of a network is its backbone up to a feature vector, and one Gemm:
 *   - the network ends in a Gemm (Softmax and the like after it do not count): the features are that
 *     layer's input;
 *   - it ends in a 1x1 convolution on a pooled map: likewise;
 *   - otherwise (detectors, segmentation): the deepest feature map, which is the one of lowest
 *     resolution with the most channels, averaged over its pixels. */
#ifndef TL_GRAPH_CLASSIFIER_H
#define TL_GRAPH_CLASSIFIER_H

#include "graph/graph.h"

typedef struct tl_classifier_options {
    uint32_t outputs;  /* of the new last layer */
    uint32_t keep;     /* the first so many outputs keep the network's own last layer, when that is
                           a Gemm with exactly so many; 0: it goes. The others start at 0 */
    bool keep_or_fail; /* TL_ESHAPE unless it can be kept */
} tl_classifier_options;

typedef struct tl_classifier_report {
    bool kept;              /* the network's own last layer is the first part of the new one */
    bool pooled;            /* from a feature map of height x width */
    uint32_t height, width; /* of that map; 1 x 1 otherwise */
    uint32_t features;
    uint32_t dropped; /* nodes of the network that are not used any more */
    char from[64];    /* the node that makes the features, or "input" */
} tl_classifier_report;

/* `flat` [tl_graph_float_count] are the network's numbers; *out_flat is malloc'ed and the caller's.
 * A new last layer starts at 0: equal scores. `report` may be NULL.
 * Errors: TL_EUNSUPPORTED (no vector and no feature map to start from), TL_ESHAPE, TL_ELIMIT (more
 * features than TL_FEATURE_COUNT_MAX), TL_ENOMEM. */
tl_status tl_graph_classifier(const tl_graph *graph, const float *flat,
                              const tl_classifier_options *options, tl_graph **out,
                              float **out_flat, tl_classifier_report *report, tl_error *err);

#endif

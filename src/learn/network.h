/* network.h - the built-in networks, made with the graph builder. Layer: learn. Any thread. */
#ifndef TL_LEARN_NETWORK_H
#define TL_LEARN_NETWORK_H

#include "graph/graph.h"

typedef struct tl_network_options {
    uint32_t height, width, channels; /* of the input as tl_pixels_convert writes it; sides >= 16 */
    uint32_t class_count; /* width of the last layer: outputs for classes to come included */
    float width_factor;   /* of the channel counts, rounded to multiples of 8; default 1 */
    uint64_t seed;        /* of the initial weights */
} tl_network_options;

tl_network_options tl_network_options_default(void);

/* The small network for images that learns from nothing: five convolutions with batch
 * normalisation, global average and maximum, one Gemm. Some 70,000 parameters at factor 1. *flat is
 * malloc'ed [tl_graph_float_count] and the caller's. Errors: TL_EINVAL, TL_ENOMEM. */
tl_status tl_network_small(const tl_network_options *options, tl_graph **graph, float **flat,
                           tl_error *err);

/* One Gemm on a feature vector [feature_count]; its features are the input itself. Starts at 0. */
tl_status tl_network_linear(uint32_t feature_count, uint32_t class_count, tl_graph **graph,
                            float **flat, tl_error *err);

#endif

/* small.h - the small networks that learn from nothing. Layer: networks. Any thread. */
#ifndef TL_NETWORKS_SMALL_H
#define TL_NETWORKS_SMALL_H

#include "graph/graph.h"

enum { TL_SMALL_LAYER_MAX = 12 };

/* A convolution without bias, batch normalisation, ReLU. */
typedef struct tl_small_layer {
    uint32_t channels, kernel, stride; /* kernel odd, padding kernel / 2 */
} tl_small_layer;

typedef struct tl_small_options {
    uint32_t height, width, channels; /* of the input, as tl_pixels_convert writes it */
    uint32_t class_count; /* width of the last layer: outputs for classes to come included */
    uint64_t seed;        /* of the initial weights */
    uint32_t layer_count; /* default 5, 3x3 each: 8/2, 16/2, 24/2, 32, 32 (channels/stride) */
    tl_small_layer layers[TL_SMALL_LAYER_MAX];
} tl_small_options;

tl_small_options tl_small_options_default(void);

/* The small network for images that learns from nothing: the layers, then average and maximum over
 * the map side by side (the features), then one Gemm. By default 21,600 parameters and 1.8 million
 * multiply-adds for 64x64x3. Convolutions start normal with He's fan-in deviation, the last layer
 * normal with deviation 0.01. *flat is malloc'ed [tl_graph_float_count] and the caller's.
 * Errors: TL_EINVAL, TL_ESHAPE, TL_ENOMEM. */
tl_status tl_network_small(const tl_small_options *options, tl_graph **graph, float **flat,
                           tl_error *err);

/* One Gemm on a feature vector [feature_count]; its features are the input itself. Starts at 0. */
tl_status tl_network_linear(uint32_t feature_count, uint32_t class_count, tl_graph **graph,
                            float **flat, tl_error *err);

#endif

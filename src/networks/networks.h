/* networks.h - the built-in architectures, by name. Layer: networks (above graph). Any thread.
 *
 * Layers, parameter names and shapes are those of the reference implementations: torchvision's
 * MobileNetV3, the EfficientNet-Lite of TensorFlow's repository (names as in its PyTorch ports),
 * ultralytics' YOLOv8. So weights from there fit by name. */
#ifndef TL_NETWORKS_NETWORKS_H
#define TL_NETWORKS_NETWORKS_H

#include "graph/graph.h"

enum {
    TL_NETWORK_CLASSES_MAX = 1 << 16,
    TL_NETWORK_SIDE_MAX = 8192,
    TL_NETWORK_CHANNELS_MAX = 64,
    TL_NETWORK_BOX_BINS = 16, /* YOLOv8: numbers for each of a box's four distances */
};

typedef enum tl_network_task {
    TL_NETWORK_CLASSIFY, /* output: logits [classes] */
    TL_NETWORK_DETECT    /* see tl_network_form */
} tl_network_task;

typedef struct tl_network {
    const char *name;  /* "mobilenet_v3_small" */
    const char *about; /* a few words */
    tl_network_task task;
    uint32_t height, width, channels; /* of the input that it was designed for */
    uint32_t class_count;             /* likewise */
    uint32_t multiple;                /* height and width must be multiples of it */
    /* Input = (pixel - mean) / std of pixels 0..255 in the order red, green, blue; and the name of
     * that form: "symmetric", "unit", "imagenet", "efficientnet_lite". */
    const char *pixels;
    float mean[3], std[3];
} tl_network;

/* By index from 0 on; NULL past the last. Static. */
const tl_network *tl_network_at(size_t index);
/* NULL: there is none of that name. */
const tl_network *tl_network_find(const char *name);

/* Two graphs of a detector with the same parameters. The flat numbers of TL_NETWORK_TRAIN are the
 * first of those of TL_NETWORK_SERVE; what follows there is constant. */
typedef enum tl_network_form {
    TL_NETWORK_SERVE, /* output [4 + classes, anchors]: box centre, width and height in pixels of
                         the input, then the classes' probabilities; anchors are the pixels of the
                         maps below, map after map, row by row */
    TL_NETWORK_TRAIN  /* outputs: maps of stride 8, 16, 32, [h, w, 4 * TL_NETWORK_BOX_BINS +
                         classes]: logits of the distances to left, top, right, bottom, then of the
                         classes */
} tl_network_form;

typedef struct tl_network_options {
    uint32_t height, width, channels; /* 0: the network's own */
    uint32_t class_count;             /* 0: the network's own */
    uint64_t seed;                    /* of the initial weights */
    tl_network_form form;             /* of a detector; a classifier has one form */
} tl_network_options;

/* Make the graph and, unless `flat` is NULL, its initial parameters: convolutions normal with He's
 * fan-out deviation, normalisation 1 and 0, last layers small, a detector's last biases such that
 * boxes start some cells wide and classes rare. `options` may be NULL. *flat is malloc'ed
 * [tl_graph_float_count] and the caller's.
 * Errors: TL_EINVAL (an option is out of range; the text says what is accepted), TL_ESHAPE,
 * TL_ENOMEM. */
tl_status tl_network_create(const tl_network *network, const tl_network_options *options,
                            tl_graph **graph, float **flat, tl_error *err);

/* ---- What a network costs ----------------------------------------------------------------------
 */

typedef struct tl_network_cost {
    uint64_t parameters;  /* running statistics and constants not counted */
    uint64_t macs;        /* multiply-adds of one item, forward */
    size_t weights_bytes; /* of one version, with the kernels' copies */
    size_t serve_bytes;   /* a plan for one item */
    size_t train_bytes;   /* a plan for `batch` items, live normalisation */
    uint32_t features;    /* penultimate; 0: none */
} tl_network_cost;

/* Plans are laid out, not allocated; nothing is run. Options as above. `batch` >= 1; of training. */
tl_status tl_network_cost_of(const tl_network *network, const tl_network_options *options,
                             uint32_t batch, tl_network_cost *out, tl_error *err);
/* Of any graph, as one from a file. */
tl_status tl_network_cost_of_graph(tl_graph *graph, uint32_t batch, tl_network_cost *out,
                                   tl_error *err);

#endif

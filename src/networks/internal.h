/* internal.h - what the architectures share. Layer: networks. */
#ifndef TL_NETWORKS_INTERNAL_H
#define TL_NETWORKS_INTERNAL_H

#include "graph/builder.h"
#include "networks/networks.h"

typedef struct net_name {
    char text[64];
} net_name;
net_name net_namef(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A network under construction. Failures are remembered by the builder. */
typedef struct net {
    tl_builder *builder;
    const tl_network_options *options; /* nothing left to default */
    float epsilon, momentum;           /* of every normalisation */
    bool pad_same;                     /* TensorFlow's padding: the odd pixel at the end */
} net;

/* Convolution without bias, normalisation, activation. */
typedef struct net_layer {
    uint32_t channels, kernel, stride;
    bool depthwise;        /* channels is that of x */
    tl_op_kind activation; /* TL_OP_COUNT: none */
} net_layer;
tl_tensor_index net_conv_norm(net *n, tl_tensor_index x, net_name conv, net_name norm,
                              const net_layer *layer);
/* A 1x1 convolution with bias. */
tl_tensor_index net_pointwise(net *n, tl_tensor_index x, net_name name, uint32_t channels);
uint32_t net_channels(const net *n, tl_tensor_index x);

/* The nearest multiple of 8, never below 90 % of `value` (as in MobileNet and EfficientNet). */
uint32_t net_round_channels(double value);

/* Set parameters of that name in `flat`: to one number; to normal ones of that deviation. */
void net_fill(const tl_graph *graph, float *flat, const char *name, float value);
void net_normal(const tl_graph *graph, float *flat, const char *name, double deviation,
                uint64_t seed);

/* An architecture. `size` is the index in the family's own table of sizes. */
typedef struct net_family {
    /* Append the layers and mark the outputs. A failure is returned here or remembered by the
     * builder. */
    tl_status (*build)(net *n, tl_tensor_index x, uint32_t size, tl_error *err);
    /* What the initial weights have special. */
    void (*start)(const tl_graph *graph, const tl_network_options *options, float *flat);
} net_family;

extern const net_family net_small, net_mobilenet_v3, net_efficientnet_lite, net_yolov8;

#endif

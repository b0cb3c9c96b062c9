/* internal.h - what the parts of the graph module share. Layer: graph. */
#ifndef TL_GRAPH_INTERNAL_H
#define TL_GRAPH_INTERNAL_H

#include "graph/graph.h"
#include "tensor/team.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    TL_NODE_MAX = 1 << 14, /* nodes, tensors and parameters of a graph, each */
    TL_NAME_BYTES = 64,
    TL_PRECISIONS = 2 /* float32, bf16 */
};
#define TL_NONE             UINT32_MAX
#define TL_GRAPH_FLOATS_MAX ((size_t)1 << 30)

typedef struct tl_node {
    char name[TL_NAME_BYTES];
    tl_op_kind kind;
    tl_attrs attrs;
    uint32_t inputs[TL_OP_INPUT_MAX]; /* tensors */
    uint32_t input_count;
    uint32_t output;
    uint32_t params[TL_OP_PARAM_MAX]; /* of the graph */
    uint32_t param_count;
} tl_node;

/* A tensor comes from an input or from one node; nodes are in an order in which they can run. */
typedef struct tl_packer tl_packer;

/* The memory of one tl_weights. */
typedef struct tl_weights_room {
    float *flat;  /* as given */
    void *packed; /* as kernels like them */
} tl_weights_room;

struct tl_graph {
    _Atomic uint32_t references;
    tl_node *nodes;
    size_t node_count;
    tl_shape *tensors;
    size_t tensor_count;
    tl_param *params;
    size_t param_count, float_count;
    uint32_t *inputs, *outputs; /* tensors */
    size_t input_count, output_count;
    uint32_t features; /* tensor or TL_NONE */
    uint64_t hash;
    pthread_mutex_t mutex; /* of packers (made at first use, then their own calls) and room */
    tl_packer *packers[TL_PRECISIONS];
    tl_weights_room room; /* of weights that were given up, for the next; or NULL */
};

/* ---- traits.c -------------------------------------------------------------------------------- */

/* The Gemm, or the convolution of an image of one pixel, behind the first output, with nothing after
 * it that changes a ranking of classes; NULL: the network has none. */
const tl_node *tl_graph_head(const tl_graph *graph);
/* Stages of the parameters, features and hash, of a graph that has its nodes; `stage` is room for a
 * number of each tensor, cleared. */
void tl_graph_set_traits(tl_graph *graph, uint32_t *stage);

/* ---- fuse.c ---------------------------------------------------------------------------------- */

/* A program is a graph's nodes as one mode runs them: some folded into others. Steps are nodes
 * whose output may be that of the last node folded in. *steps is malloc'ed. TL_ENOMEM. */
tl_status tl_program_make(const tl_graph *graph, tl_op_mode mode, tl_node **steps, size_t *count,
                          tl_error *err);

/* ---- halves.c -------------------------------------------------------------------------------- */

/* Which steps of an inference program work on bf16, and which tensors are bf16 between them; both
 * zeroed. */
void tl_program_halves(const tl_graph *graph, const tl_node *steps, size_t count,
                       struct dnnl_stream *stream, bool *step_half, bool *tensor_half);
/* Outputs and features are the caller's: float32 always. */
bool tl_graph_is_outside(const tl_graph *graph, uint32_t tensor);

/* ---- layout.c -------------------------------------------------------------------------------- */

/* A buffer that lives from time `first` to `last`, both included. */
typedef struct tl_buffer {
    size_t bytes, offset;
    uint32_t first, last;
} tl_buffer;

/* Give every buffer an offset such that buffers that live at the same time do not overlap; largest
 * first, each at the lowest free place. Returns the bytes of the whole. TL_ENOMEM. */
tl_status tl_layout_place(tl_buffer *buffers, size_t count, size_t *bytes, tl_error *err);

/* ---- weights.c ------------------------------------------------------------------------------- */

/* Where each step of the inference program finds its packed parameters. */
struct tl_packer {
    tl_node *steps;
    tl_op_state *states; /* for packing: one item, one thread */
    size_t *offsets;     /* of each step in the packed buffer */
    uint8_t *takes;      /* which of a step's parameters no earlier step has, a bit each */
    bool *step_half, *tensor_half;
    size_t step_count, bytes;
    struct dnnl_stream *stream;
};

/* The graph's packer for a precision, made at the first call; lives as long as the graph. Any
 * thread. */
tl_status tl_graph_packer(tl_graph *graph, tl_precision precision, const tl_packer **out,
                          tl_error *err);
void tl_packer_destroy(tl_packer *packer); /* NULL-safe */
void tl_weights_room_free(tl_weights_room *room);
/* tl_weights_create by the members of `team`, with room for a failure of each, or NULL and NULL. */
tl_status tl_weights_make(tl_graph *graph, const float *flat, tl_team *team, tl_error *failures,
                          tl_weights **out, tl_error *err);
tl_graph *tl_weights_graph(const tl_weights *weights);
/* Packed at the first call for a precision. Any thread. TL_ENOMEM. */
tl_status tl_weights_packed(const tl_weights *weights, tl_precision precision, const void **out,
                            tl_error *err);

/* A step's operator state without what prepare fills in. */
void tl_step_describe(const tl_graph *graph, const tl_node *step, tl_op_mode mode, uint32_t batch,
                      struct dnnl_stream *stream, tl_op_state *out);

/* 64-byte aligned, zeroed, so that pages are there before the first run. NULL when out of memory.
 */
void *tl_aligned_calloc(size_t bytes);

#endif

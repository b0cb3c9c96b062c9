/* tensor.h - shapes and the operator table. Layer: tensor (above base).
 *
 * Every operator is one file, or part of its family's (op_*.c), that defines `const tl_op
 * tl_op_<name>`, and one line in TL_OP_MAP. The graph, the planner and the gradient check walk the
 * table and know no operator by itself, except for the fusions in graph/fuse.c.
 *
 * Everything is dense float32 in row-major order; what files carry as integers and booleans is
 * carried as floats, exact up to 2^24. An item has 1 to TL_RANK_MAX dimensions, the batch is outside
 * the shape and no operator sees it. Images are [height, width, channels]; operators on images take
 * more dimensions before these, [n, h, w, c], and treat them as so many images. Channels are always
 * the last dimension. Parameters have ONNX's layouts ([out, in / groups, kh, kw] for convolutions,
 * [out, in] for Gemm). A state is owned by one thread; the table is constant. */
#ifndef TL_TENSOR_TENSOR_H
#define TL_TENSOR_TENSOR_H

#include "base/status.h"

/* ---- Shapes ---------------------------------------------------------------------------------- */

enum {
    TL_RANK_MAX = 6,
    TL_DIM_MAX = 1 << 24, /* a single dimension */
    TL_OP_INPUT_MAX = 8,  /* operands of one node (Concat takes the most) */
    TL_OP_PARAM_MAX = 6,  /* parameters of one node, a folded normalisation's included */
    TL_ALIGN_BYTES = 64   /* of every buffer that an operator sees */
};

/* Bytes up to where the next aligned buffer begins. */
static inline size_t tl_align(size_t bytes)
{
    return (bytes + TL_ALIGN_BYTES - 1) / TL_ALIGN_BYTES * TL_ALIGN_BYTES;
}
#define TL_ITEM_FLOATS_MAX ((size_t)1 << 28) /* floats in one item or parameter */

/* Dimensions past `rank` are 0, so that shapes compare with tl_shape_equal and hash by field. */
typedef struct tl_shape {
    uint32_t rank;             /* 1..TL_RANK_MAX */
    uint32_t dim[TL_RANK_MAX]; /* each 1..TL_DIM_MAX */
} tl_shape;

tl_shape tl_shape_vector(uint32_t count); /* [count] */
tl_shape tl_shape_image(uint32_t height, uint32_t width, uint32_t channels);
tl_shape tl_shape_weights(uint32_t out, uint32_t in, uint32_t height, uint32_t width);
bool tl_shape_equal(const tl_shape *a, const tl_shape *b);
/* Product of the dimensions. */
size_t tl_shape_count(const tl_shape *shape);
/* Channels are the last dimension; pixels everything before it. [count] is one pixel. */
uint32_t tl_shape_channels(const tl_shape *shape);
size_t tl_shape_pixels(const tl_shape *shape);
/* TL_ESHAPE when a rank or dimension is out of range or the product is over TL_ITEM_FLOATS_MAX. */
tl_status tl_shape_check(const tl_shape *shape, tl_error *err);

/* ---- The table ------------------------------------------------------------------------------- */

/* X(NAME, name). Append only: the order is in graph hashes. What each computes, with its operands
 * (x, a, b are tensors), attributes and parameters:
 *
 *   CONV        window, channels, groups, has_bias; params weight [o, i/groups, kh, kw], bias? [o]
 *   CONV_TRANSPOSE  window, output_pad, channels (= o), groups, has_bias; params weight
 *               [i, o/groups, kh, kw], bias? [o]; height
 *               (h - 1) * stride + (kernel - 1) * dilation + 1 + output_pad - pad_top - pad_bottom
 *   BATCH_NORM  epsilon, momentum; params scale, shift, running mean, running variance, each [c]
 *   GEMM        channels (= outputs), has_bias; [..., count] -> [..., channels]; params weight
 *               [out, in], bias?
 *   MATMUL      a [..., m, k] times b [..., k, n]; what is before is broadcast
 *
 * Of one number, y = f(x):
 *   RELU        max(x, 0)
 *   CLIP        min(max(x, alpha), beta); ReLU6 is alpha 0, beta 6
 *   HARD_SWISH  x * min(max(x / 6 + 1/2, 0), 1)
 *   HARD_SIGMOID min(max(alpha * x + beta, 0), 1); ONNX's defaults are 0.2 and 0.5
 *   SIGMOID     1 / (1 + exp(-x))
 *   SILU        x * sigmoid(x)
 *   ABS         |x|
 *   LEAKY_RELU  x, or alpha * x below 0; default 0.01
 *   TANH        tanh(x)
 *   ELU         x, or alpha * (exp(x) - 1) below 0; default 1
 *   SELU        beta * (x, or alpha * (exp(x) - 1) below 0); ONNX's defaults
 *   GELU        x / 2 * (1 + erf(x / sqrt(2)))
 *   GELU_TANH   x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))
 *   SOFTPLUS    log(1 + exp(x))
 *   MISH        x * tanh(softplus(x))
 *   SOFTSIGN    x / (1 + |x|)
 *   EXP LOG SQRT RECIPROCAL NEG ERF
 *   FLOOR CEIL SIGN; ROUND (halves to even)
 *   NOT         1 where x is 0, else 0
 *   CAST_INTEGER towards 0;  CAST_BOOL  0 where x is 0, else 1
 *   PRELU       x, or slope * x below 0; channels; params slope [channels]: one, or one a channel
 *
 * Of two numbers; operands are broadcast as NumPy does (aligned at the last axis, sizes equal or
 * 1), so one number a channel is [c] beside [h, w, c]:
 *   ADD SUB MUL DIV MIN MAX
 *   POW         a to the b
 *   MOD         a - b * floor(a / b), the sign is b's;  FMOD  C's, the sign is a's
 *   EQUAL GREATER GREATER_OR_EQUAL LESS LESS_OR_EQUAL  1 or 0
 *   AND OR XOR  of "is not 0"
 *   WHERE       three operands: b where a is not 0, else c
 *
 * Of windows, images:
 *   MAX_POOL    window; padding counts as minus infinity; ceil_mode: a last window that begins
 *               inside, and ends past the padding, counts too
 *   AVERAGE_POOL window; padding does not count, unless count_include_pad; ceil_mode likewise (what
 *               is past the padding never counts)
 *               Pools of three dimensions are two of these: over [d, h, w, c], then over the same
 *               numbers as [d, h * w, c]
 *   GLOBAL_AVERAGE_POOL GLOBAL_MAX_POOL  [h, w, c] -> [1, 1, c]
 *   RESIZE      resize: to [resize.height, resize.width, c]
 *
 * Of axes. `axis` counts from 0; a negative one from the end, the default -1 is the last:
 *   SOFTMAX LOG_SOFTMAX  along axis
 *   REDUCE_SUM REDUCE_MEAN REDUCE_MAX REDUCE_MIN REDUCE_PROD REDUCE_L2  axis_mask: bit i is axis i,
 *               0 stands for all; keep_dims: they stay, as 1; else they go (a number is [1])
 *   ARG_MAX     axis, keep_dims: the index of the largest, the first of equals
 *
 * That move numbers:
 *   CONCAT      1..TL_OP_INPUT_MAX operands along axis
 *   FLATTEN     [h, w, c] -> [c * h * w] in ONNX's order (channel-major)
 *   SLICE       axis, begin, end, step: begin, begin + step, ... before end. With step < 0 downwards,
 *               end may be -1. Nothing is clamped: 0 <= begin < size
 *   RESHAPE     shape, of the same count; costs nothing
 *   PERMUTE     axes: axis i of y is axis axes[i] of x; x itself is moved
 *   PAD         pad_begin, pad_end by axis, pad_mode; a constant is alpha
 *   EXPAND TILE shape of y: x repeated along each axis (aligned at the last; each size of y is a
 *               multiple of x's)
 *   GATHER      x and indices: x.shape[:axis] + indices.shape + x.shape[axis + 1:]. Indices below 0
 *               count from the end; what is outside is taken as the nearest inside
 *   CONSTANT    no operand; attribute shape; params value (trained or not: see below)
 *
 * Without a gradient: FLOOR CEIL ROUND SIGN NOT casts, MOD FMOD, comparisons and AND OR XOR,
 * ARG_MAX; the first operand of WHERE, the second of GATHER. */
#define TL_OP_MAP(X)                                                                               \
    X(CONV, conv)                                                                                  \
    X(BATCH_NORM, batch_norm)                                                                      \
    X(RELU, relu)                                                                                  \
    X(CLIP, clip)                                                                                  \
    X(HARD_SWISH, hard_swish)                                                                      \
    X(HARD_SIGMOID, hard_sigmoid)                                                                  \
    X(SIGMOID, sigmoid)                                                                            \
    X(SILU, silu)                                                                                  \
    X(ABS, abs)                                                                                    \
    X(ADD, add)                                                                                    \
    X(SUB, sub)                                                                                    \
    X(MUL, mul)                                                                                    \
    X(MAX_POOL, max_pool)                                                                          \
    X(GLOBAL_AVERAGE_POOL, global_average_pool)                                                    \
    X(GLOBAL_MAX_POOL, global_max_pool)                                                            \
    X(CONCAT, concat)                                                                              \
    X(FLATTEN, flatten)                                                                            \
    X(SLICE, slice)                                                                                \
    X(GEMM, gemm)                                                                                  \
    X(SOFTMAX, softmax)                                                                            \
    X(CONSTANT, constant)                                                                          \
    X(LEAKY_RELU, leaky_relu)                                                                      \
    X(TANH, tanh)                                                                                  \
    X(ELU, elu)                                                                                    \
    X(SELU, selu)                                                                                  \
    X(GELU, gelu)                                                                                  \
    X(GELU_TANH, gelu_tanh)                                                                        \
    X(SOFTPLUS, softplus)                                                                          \
    X(MISH, mish)                                                                                  \
    X(SOFTSIGN, softsign)                                                                          \
    X(EXP, exp)                                                                                    \
    X(LOG, log)                                                                                    \
    X(SQRT, sqrt)                                                                                  \
    X(RECIPROCAL, reciprocal)                                                                      \
    X(NEG, neg)                                                                                    \
    X(ERF, erf)                                                                                    \
    X(FLOOR, floor)                                                                                \
    X(CEIL, ceil)                                                                                  \
    X(SIGN, sign)                                                                                  \
    X(ROUND, round)                                                                                \
    X(NOT, logical_not)                                                                            \
    X(CAST_INTEGER, cast_integer)                                                                  \
    X(CAST_BOOL, cast_bool)                                                                        \
    X(PRELU, prelu)                                                                                \
    X(DIV, div)                                                                                    \
    X(POW, pow)                                                                                    \
    X(MIN, min)                                                                                    \
    X(MAX, max)                                                                                    \
    X(MOD, mod)                                                                                    \
    X(FMOD, fmod)                                                                                  \
    X(EQUAL, equal)                                                                                \
    X(GREATER, greater)                                                                            \
    X(GREATER_OR_EQUAL, greater_or_equal)                                                          \
    X(LESS, less)                                                                                  \
    X(LESS_OR_EQUAL, less_or_equal)                                                                \
    X(AND, logical_and)                                                                            \
    X(OR, logical_or)                                                                              \
    X(XOR, logical_xor)                                                                            \
    X(WHERE, where)                                                                                \
    X(AVERAGE_POOL, average_pool)                                                                  \
    X(RESIZE, resize)                                                                              \
    X(CONV_TRANSPOSE, conv_transpose)                                                              \
    X(MATMUL, matmul)                                                                              \
    X(LOG_SOFTMAX, log_softmax)                                                                    \
    X(REDUCE_SUM, reduce_sum)                                                                      \
    X(REDUCE_MEAN, reduce_mean)                                                                    \
    X(REDUCE_MAX, reduce_max)                                                                      \
    X(REDUCE_MIN, reduce_min)                                                                      \
    X(REDUCE_PROD, reduce_prod)                                                                    \
    X(REDUCE_L2, reduce_l2)                                                                        \
    X(ARG_MAX, arg_max)                                                                            \
    X(RESHAPE, reshape)                                                                            \
    X(PERMUTE, permute)                                                                            \
    X(PAD, pad)                                                                                    \
    X(EXPAND, expand)                                                                              \
    X(TILE, tile)                                                                                  \
    X(GATHER, gather)

typedef enum tl_op_kind {
#define X(NAME, name) TL_OP_##NAME,
    TL_OP_MAP(X)
#undef X
        TL_OP_COUNT
} tl_op_kind;

/* ---- Attributes ------------------------------------------------------------------------------ */

typedef struct tl_window {
    uint32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w; /* each >= 1 */
    uint32_t pad_top, pad_left, pad_bottom, pad_right; /* any four; each below the kernel's reach */
} tl_window;

typedef enum tl_pad_mode { TL_PAD_CONSTANT, TL_PAD_REFLECT, TL_PAD_EDGE, TL_PAD_WRAP } tl_pad_mode;

typedef enum tl_resize_mode { TL_RESIZE_NEAREST, TL_RESIZE_LINEAR, TL_RESIZE_CUBIC } tl_resize_mode;

/* Where output pixel i is in the input; s is the scale, l the length of the output (as the scale
 * gives it, not rounded), m of the input. */
typedef enum tl_resize_position {
    TL_POSITION_HALF_PIXEL,           /* (i + 1/2) / s - 1/2 */
    TL_POSITION_HALF_PIXEL_SYMMETRIC, /* the same, about the middle: for lengths that are rounded */
    TL_POSITION_PYTORCH_HALF_PIXEL,   /* the same, but 0 for an output of one pixel */
    TL_POSITION_ALIGN_CORNERS,        /* i * (m - 1) / (l - 1) */
    TL_POSITION_ASYMMETRIC,           /* i / s */
    TL_POSITION_CROP_AND_RESIZE       /* TensorFlow's: inside crop_*; outside is `outside` */
} tl_resize_position;

typedef enum tl_resize_rounding {
    TL_ROUNDING_PREFER_FLOOR,
    TL_ROUNDING_PREFER_CEIL,
    TL_ROUNDING_FLOOR,
    TL_ROUNDING_CEIL
} tl_resize_rounding;

typedef struct tl_resize {
    tl_resize_mode mode;
    tl_resize_position position;
    tl_resize_rounding rounding; /* NEAREST */
    uint32_t height, width;      /* of the output */
    float scale_h, scale_w;      /* 0: output size over input size */
    float cubic;                 /* coefficient of CUBIC; -0.75 */
    bool exclude_outside;        /* taps outside do not count; else the edge is repeated */
    bool antialias;              /* LINEAR, CUBIC: widen the filter when shrinking */
    float crop_top, crop_left, crop_bottom, crop_right; /* shares of the image, 0 0 1 1 */
    float outside;
} tl_resize;

/* Elementwise function that conv and batch_norm can apply to what they write (set by graph/fuse.c,
 * never by whoever builds a graph). TL_OP_COUNT: none. */
typedef struct tl_activation {
    tl_op_kind kind; /* one of the operator's `fuses`, or TL_OP_COUNT */
    float alpha, beta;
} tl_activation;

/* All attributes of all operators; those that an operator does not name are 0. */
typedef struct tl_attrs {
    tl_window window;
    uint32_t output_pad_h, output_pad_w; /* each below the stride or the dilation */
    bool ceil_mode, count_include_pad;
    uint32_t channels, groups;
    bool has_bias;
    float alpha, beta;
    float epsilon;  /* > 0 */
    float momentum; /* PyTorch's: running = (1 - momentum) * running + momentum * batch; 0..1 */
    int32_t axis;   /* -rank..rank-1 */
    int32_t begin, end, step;
    uint32_t axis_mask;
    bool keep_dims;
    uint8_t axes[TL_RANK_MAX];
    uint32_t pad_begin[TL_RANK_MAX], pad_end[TL_RANK_MAX];
    tl_pad_mode pad_mode;
    tl_resize resize;
    tl_shape shape;
    bool trained; /* CONSTANT: its value is a parameter that learns */
    /* Set by graph/fuse.c only: */
    tl_activation activation;
    bool fused_add;   /* CONV, inference: a second operand, of the output's shape, is added last */
    bool folded_norm; /* CONV, inference: its parameters are followed by those of a BATCH_NORM,
                         whose epsilon is the attribute */
} tl_attrs;

/* Attributes with neutral values: window 1x1 stride 1 dilation 1 no padding, groups 1, epsilon
 * 1e-5, momentum 0.1, axis -1, step 1, keep_dims, the resize of an enlarging by nearest pixels
 * (half pixel, prefer floor, cubic -0.75, crop 0 0 1 1), the defaults of alpha and beta above, no
 * activation. Adjust what differs. */
tl_attrs tl_attrs_default(tl_op_kind kind);

/* ---- What an operator is --------------------------------------------------------------------- */

typedef enum tl_param_role {
    TL_PARAM_WEIGHT, /* convolution or matrix weights: weight decay applies */
    TL_PARAM_BIAS,   /* biases, and the scale and shift of batch normalisation: it does not */
    TL_PARAM_RUNNING /* not trained: running mean and variance (moved by live batch normalisation),
                        constants */
} tl_param_role;

/* Seeded initial value of a parameter that is not given one. */
typedef enum tl_init_kind {
    TL_INIT_ZERO,
    TL_INIT_ONE,
    TL_INIT_HE_FAN_OUT,
    TL_INIT_FAN_IN
} tl_init_kind;

typedef struct tl_param_spec {
    const char *suffix; /* "weight", "bias" (also scale, shift), "running_mean",
                           "running_var", "value" */
    tl_shape shape;
    tl_param_role role;
    tl_init_kind init;
    uint32_t fan; /* of the initialisation: fan-out or fan-in */
} tl_param_spec;

typedef enum tl_op_mode { TL_MODE_INFER, TL_MODE_TRAIN_FROZEN, TL_MODE_TRAIN_LIVE } tl_op_mode;

/* What forward leaves for backward, and what prepare states about its memory. All bytes. */
typedef struct tl_op_needs {
    size_t packed; /* parameters as kernels like them; inference, the same for every batch */
    size_t saved;  /* kept from forward to backward */
    size_t forward_scratch; /* garbage before and after */
    size_t backward_scratch;
    bool keeps_input[TL_OP_INPUT_MAX]; /* backward reads x[i] */
    bool keeps_output;                 /* backward reads y */
    bool in_place;                     /* forward may have y == x[0] (counts equal) */
    bool backward_in_place;            /* backward may have dx[0] == dy */
    bool parts;     /* inference: forward can be cut; each part has forward_scratch of its own */
    bool rows;      /* inference: forward can be asked for some rows of one image, of rank 3 */
    bool alone;     /* inference: forward is for one thread at a time */
    bool any_batch; /* inference: forward reads state->batch, up to the one prepared for */
} tl_op_needs;

/* One operator compiled for one (batch, mode). The caller fills the first part, prepare the second.
 * Pointers here are borrowed until destroy. */
typedef struct tl_op_state {
    tl_op_kind kind; /* set by tl_op_prepare */
    const tl_attrs *attrs;
    tl_op_mode mode;
    uint32_t batch;
    struct dnnl_stream *stream; /* of the owner thread */
    /* Training by several threads: `batch` is this one's share of the items; what is summed over
     * the batch is summed over the threads too. NULL: alone. */
    struct tl_exchange *exchange;
    uint32_t member; /* of the exchange's team; member 0 moves running statistics */
    size_t input_count;
    tl_shape inputs[TL_OP_INPUT_MAX], output; /* one item's */
    bool wants_grad[TL_OP_INPUT_MAX];         /* backward must write dx[i] */
    /* Where the operator's `halves` says so. Inference: operands and result are bf16, dense; the
     * pointers of a run are to uint16_t. Training: a convolution rounds the operands of its products
     * to bf16 inside; a normalisation's x and dx are bf16. Sums are float32, and so is what a run
     * reads and writes else. */
    bool half;
    bool half_output; /* training, a convolution that is half: y and dy are bf16 */

    tl_op_needs needs;
    void *own; /* malloc'ed by prepare or NULL; tl_op_release frees it */
} tl_op_state;

/* The buffers of one run, TL_ALIGN_BYTES aligned, not overlapping except as needs allow. */
typedef struct tl_op_run {
    const float *x[TL_OP_INPUT_MAX]; /* [batch, ...inputs[i]] */
    float *y;                        /* [batch, ...output] */
    float *params[TL_OP_PARAM_MAX];  /* canonical layout; only live running statistics are written.
                                        Not aligned */
    const void *packed;              /* inference: what pack wrote */
    void *saved, *scratch;
    uint32_t part, parts; /* inference, needs.parts: do this part of so many; 0: the whole */
    uint32_t row_begin,
        row_end;                /* inference, needs.rows: only these rows of y, reading only rows of
                                    x[0] under their windows; row_end 0: all */
    const float *dy;            /* [batch, ...output] */
    float *dx[TL_OP_INPUT_MAX]; /* written, not added to; NULL when not wanted */
    float *dparams[TL_OP_PARAM_MAX]; /* written; canonical layout; not aligned */
    /* Training, operators with phases: how many items these are, and how many came before. */
    uint32_t items, first_item;
} tl_op_run;

/* What an operator does beside forward and backward in training when something of it is of the
 * whole batch: its parameters' gradient, moments. Training runs some items at a time, so that they
 * stay in the cache from one operator to the next. The order is
 *   SETTLE_FORWARD once, forward for all items; backward for all items, SETTLE_BACKWARD once;
 * and where it sums over the batch (`sums_batch`) in live training
 *   GATHER_FORWARD for all items, SETTLE_FORWARD once, forward for all items;
 *   GATHER_BACKWARD for all items, SETTLE_BACKWARD once, backward for all items. */
typedef enum tl_op_phase {
    TL_PHASE_GATHER_FORWARD,
    TL_PHASE_SETTLE_FORWARD,
    TL_PHASE_GATHER_BACKWARD,
    TL_PHASE_SETTLE_BACKWARD /* writes dparams, which backward leaves alone */
} tl_op_phase;

typedef struct tl_op {
    const char *name; /* as in TL_OP_MAP */
    uint32_t input_min, input_max;
    /* Kinds that attrs.activation may be, a bit each (they are below 64): when serving, when
     * training. */
    uint64_t fuses_infer, fuses_train;
    /* How many parameters, and which. NULL: none. Inputs have passed `shape`. */
    size_t (*params)(const tl_attrs *attrs, const tl_shape *inputs,
                     tl_param_spec specs[TL_OP_PARAM_MAX]);
    /* Shape of the output item; checks attributes and operands. TL_ESHAPE, TL_EINVAL. */
    tl_status (*shape)(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                       tl_shape *output, tl_error *err);
    /* Multiply-adds of one item, forward. NULL: none worth counting. */
    uint64_t (*macs)(const tl_attrs *attrs, const tl_shape *inputs, const tl_shape *output);
    /* Whether it should work on bf16 (`half`), when operand i is bf16 already where operands[i].
     * NULL: it cannot, it is given float32. */
    bool (*halves)(const tl_op_state *state, const bool *operands);
    /* Fill needs and own. TL_ENOMEM, TL_EUNSUPPORTED. */
    tl_status (*prepare)(tl_op_state *state, tl_error *err);
    /* Inference: write needs.packed bytes of parameters in the kernels' layout. `packed` is zeroed,
     * TL_ALIGN_BYTES aligned. May allocate. NULL: forward reads params. */
    tl_status (*pack)(const tl_op_state *state, const float *const *params, void *packed,
                      tl_error *err);
    tl_status (*forward)(const tl_op_state *state, const tl_op_run *run, tl_error *err);
    /* NULL: no gradient comes through, as if the output were constant. */
    tl_status (*backward)(const tl_op_state *state, const tl_op_run *run, tl_error *err);
    /* NULL: no phases. With phases, `saved` is of the whole batch, and so is the state's batch where
     * `sums_batch` counts. */
    tl_status (*phase)(const tl_op_state *state, const tl_op_run *run, tl_op_phase phase,
                       tl_error *err);
    bool sums_batch; /* live training needs all items before forward, and before backward */
    /* Free what `own` holds, not own itself; copes with what a failed prepare left. NULL: nothing.
     */
    void (*destroy)(tl_op_state *state);
} tl_op;

/* The descriptor of `kind`, which must be below TL_OP_COUNT. */
const tl_op *tl_op_get(tl_op_kind kind);
/* By name as in TL_OP_MAP ("conv"); TL_OP_COUNT when there is none. */
tl_op_kind tl_op_find(const char *name);
/* prepare and destroy by way of these: needs and own start cleared, and a failure leaves nothing.
 */
tl_status tl_op_prepare(tl_op_kind kind, tl_op_state *state, tl_error *err);
/* Whether it must see all items before it goes on. */
bool tl_op_sums_batch(tl_op_kind kind, tl_op_mode mode);
/* Training: all items of the state's batch at once, phases included. */
tl_status tl_op_forward(tl_op_kind kind, const tl_op_state *state, const tl_op_run *run,
                        tl_error *err);
tl_status tl_op_backward(tl_op_kind kind, const tl_op_state *state, const tl_op_run *run,
                         tl_error *err);
void tl_op_release(tl_op_kind kind, tl_op_state *state);

#endif

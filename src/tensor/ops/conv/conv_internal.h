/* conv_internal.h - convolution: what its dispatch, inference, training and own kernels share.
 * Layer: tensor. */
#ifndef TL_TENSOR_OPS_CONV_CONV_INTERNAL_H
#define TL_TENSOR_OPS_CONV_CONV_INTERNAL_H

#include "tensor/internal.h"
#include "tensor/team.h"

enum { TL_CONV_WEIGHT, TL_CONV_BIAS };

/* ---- Own kernels ----------------------------------------------------------------------------- */

/* Weights in canonical layout and bias of some outputs, with a folded normalisation applied (or plain
 * copies). weights [outputs, per_output], bias [outputs]. */
void tl_conv_fold(const tl_attrs *attrs, tl_range outputs, size_t per_output,
                  const float *const *params, float *weights, float *bias);
/* One channel in and out a group. */
bool tl_depthwise_fits(const tl_attrs *attrs, const tl_shape *input);
extern const tl_op tl_depthwise; /* prepare, pack, forward, backward only */
bool tl_depthwise_halves(const tl_op_state *state);
/* 3x3, stride 1, enough channels and pixels. */
bool tl_winograd_fits(const tl_attrs *attrs, const tl_shape *input);
/* Training: whether it is faster than the direct form in bf16. */
bool tl_winograd_beats_halves(const tl_attrs *attrs, const tl_shape *input);
extern const tl_op tl_winograd; /* likewise; serving, it adds attrs.fused_add itself */

/* Serving: dense, not dilated. Adds the second operand of attrs.fused_add itself. */
bool tl_panel_fits(const tl_op_state *state);
extern const tl_op tl_panel; /* prepare, pack, forward only */

/* ---- conv_strips.c --------------------------------------------------------------------------- */

/* How an image is cut into padded strips, for windows without dilation. */
typedef struct tl_strips {
    const tl_window *window;
    size_t height, width, channels; /* of the image */
    size_t first, columns;          /* of the padded image, that a strip has */
    size_t row_floats;              /* of a strip */
    tl_range taken;                 /* channels that a strip has */
    size_t rows;                    /* output rows that one strip serves */
    size_t floats;                  /* room for a strip */
} tl_strips;

/* What the output columns `outputs` read of the channels `taken`. */
tl_strips tl_strips_of(const tl_op_state *state, tl_range outputs, tl_range taken);
/* The same strips for other channels, at most as many. */
void tl_strips_take(tl_strips *strips, tl_range taken);
/* The padded input of output rows `rows`, at most strips->rows, of the image x; half: x is bf16. */
void tl_strips_fill(const tl_strips *strips, const void *x, bool half, tl_range rows, float *strip);

/* ---- By oneDNN: conv_dnnl.c, conv_infer.c, conv_train.c -------------------------------------- */

typedef struct tl_conv_state {
    tl_call forward, backward_data, backward_weights;
    tl_call lower; /* serving: forward's rows from lower_output on, where that is not 0 */
    uint32_t lower_output, lower_input;
    struct dnnl_stream *lower_stream;                 /* its own: a thread of its own may run it */
    tl_call pack_weights, pack_data, unpack_gradient; /* reorders; may be empty: same layout */
    size_t packed_bytes, data_weights_bytes, gradient_bytes; /* of the weights in each layout */
    /* Training in bf16: bytes of x and of dy. x is kept as `saved`, dy lies in backward's scratch. */
    size_t x_half_bytes, dy_half_bytes;
    size_t scratch_offset; /* backward: the primitives' scratch, after weights and dy */
} tl_conv_state;

/* The layers of one problem. */
typedef struct tl_conv_descs {
    dnnl_memory_desc_t x, y, weights, any_weights, bias;
    /* In training in bf16 these differ: dx, y as it is written, dw. Else they are as above. */
    dnnl_memory_desc_t dx, y_written, any_gradient;
    dnnl_dims_t strides, dilations, pad_begin, pad_end;
    bool has_bias;
} tl_conv_descs;

tl_status tl_conv_describe(const tl_op_state *state, uint32_t batch, tl_conv_descs *d,
                           tl_error *err);
/* Whether oneDNN's primitives can apply it; then those of tl_conv_make_forward do. */
bool tl_conv_has_activation(tl_op_kind kind);
/* Whether the primitive adds the second operand of attrs.fused_add: of bf16 it does. */
bool tl_conv_adds(const tl_op_state *state);
/* Scratch in our arena; the activation inside the primitive, and then an addition of `add`, unless
 * that is NULL. */
tl_status tl_conv_make_attr(const tl_activation *act, const dnnl_memory_desc_t *add,
                            dnnl_primitive_attr_t *out, tl_error *err);
tl_status tl_conv_make_forward(const tl_op_state *state, const tl_conv_descs *d,
                               const dnnl_memory_desc_t *weights, dnnl_primitive_desc_t *out,
                               tl_error *err);
dnnl_memory_desc_t tl_conv_weights_of(const_dnnl_primitive_desc_t desc, dnnl_query_t which);
/* A reorder, or an empty call when the layouts are the same. */
tl_status tl_conv_make_reorder(tl_call *call, const dnnl_memory_desc_t *from,
                               const dnnl_memory_desc_t *to, tl_error *err);
/* oneDNN takes inputs as pointers to what could be written; it does not write them. */
void *tl_conv_readable(const void *data);

tl_status tl_conv_prepare_infer(tl_op_state *state, tl_error *err);
tl_status tl_conv_pack(const tl_op_state *state, const float *const *params, void *packed,
                       tl_error *err);
tl_status tl_conv_infer(const tl_op_state *state, const tl_op_run *run, tl_error *err);

tl_status tl_conv_prepare_train(tl_op_state *state, tl_error *err);
tl_status tl_conv_train_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err);
tl_status tl_conv_train_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err);

#endif

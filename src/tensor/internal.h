/* internal.h - what the operators share: oneDNN calls and vector kernels. Layer: tensor. */
#ifndef TL_TENSOR_INTERNAL_H
#define TL_TENSOR_INTERNAL_H

#include "tensor/device.h"
#include "tensor/kernels/kernels.h"
#include "tensor/team.h"
#include "tensor/tensor.h"

#include <oneapi/dnnl/dnnl.h>

/* ---- oneDNN ---------------------------------------------------------------------------------- */

/* The CPU engine, made once; NULL when oneDNN cannot make it. Any thread. */
dnnl_engine_t tl_dnnl_engine(void);
/* TL_OK, or the failure of `what` as a tl_status with text. */
tl_status tl_dnnl_check(dnnl_status_t status, const char *what, tl_error *err);

enum { TL_CALL_ARG_MAX = 6 };

/* One primitive with the memories it runs on; the scratchpad, if any, is the last of them. */
typedef struct tl_call {
    dnnl_primitive_t primitive;
    int arg_count;
    dnnl_exec_arg_t args[TL_CALL_ARG_MAX];
    void *handles[TL_CALL_ARG_MAX]; /* as last set: setting is not free */
    size_t scratch_bytes;
} tl_call;

typedef struct tl_call_arg {
    int arg; /* DNNL_ARG_... */
    const dnnl_memory_desc_t *desc;
    bool shared; /* read by other threads too: not even its padding is written */
} tl_call_arg;

/* Make the primitive of `desc` (still the caller's). On failure *call is empty. */
tl_status tl_call_create(tl_call *call, const_dnnl_primitive_desc_t desc, const tl_call_arg *args,
                         int arg_count, tl_error *err);
/* A reorder between two layouts. */
tl_status tl_call_create_reorder(tl_call *call, const dnnl_memory_desc_t *from,
                                 const dnnl_memory_desc_t *to, tl_error *err);
/* Run on `buffers`, in the order of creation; `scratch` has scratch_bytes. */
tl_status tl_call_run(tl_call *call, dnnl_stream_t stream, void *const *buffers, void *scratch,
                      tl_error *err);
void tl_call_destroy(tl_call *call); /* harmless on an empty one */

/* ---- Helpers of operators -------------------------------------------------------------------- */

/* Size of one axis after a window; 0 when the window does not fit. */
uint32_t tl_window_output(uint32_t size, uint32_t kernel, uint32_t stride, uint32_t dilation,
                          uint32_t pad_begin, uint32_t pad_end);
/* Check a window's numbers. TL_ESHAPE. */
tl_status tl_window_check(const tl_window *window, tl_error *err);
/* The same, and the output's height and width. */
tl_status tl_window_shape(const tl_window *window, const tl_shape *image, uint32_t *height,
                          uint32_t *width, tl_error *err);
/* Operators on images see [h, w, c]: the last three dimensions of a shape (TL_ESHAPE when there are
 * fewer), a shape with these replaced, and a state whose dimensions before them count as batch.
 * The state is `state` itself when there are none, else *room. */
tl_status tl_image_of(const tl_shape *shape, tl_shape *image, tl_error *err);
tl_shape tl_image_into(const tl_shape *like, uint32_t height, uint32_t width, uint32_t channels);
const tl_op_state *tl_image_state(const tl_op_state *state, tl_op_state *room);
/* `prepare` of that state, for this one. */
tl_status tl_image_prepare(tl_op_state *state,
                           tl_status (*prepare)(tl_op_state *state, tl_error *err), tl_error *err);
/* calloc for a state's `own`; TL_ENOMEM. */
tl_status tl_op_alloc(tl_op_state *state, size_t bytes, tl_error *err);
tl_activation tl_activation_none(void);
/* Bytes of a number of the operands and the result. */
size_t tl_number_bytes(const tl_op_state *state);
/* `halves` of operators that only move numbers: serving, where all operands are bf16 already. */
bool tl_moves_halves(const tl_op_state *state, const bool *operands);
#define TL_OP_BIT(kind) ((uint64_t)1 << (kind))
/* The kinds that tl_kernels applies to what other loops write. */
#define TL_ACTIVATION_BITS                                                                         \
    (TL_OP_BIT(TL_OP_RELU) | TL_OP_BIT(TL_OP_CLIP) | TL_OP_BIT(TL_OP_HARD_SWISH) |                 \
     TL_OP_BIT(TL_OP_HARD_SIGMOID) | TL_OP_BIT(TL_OP_SIGMOID) | TL_OP_BIT(TL_OP_SILU) |            \
     TL_OP_BIT(TL_OP_ABS) | TL_OP_BIT(TL_OP_LEAKY_RELU) | TL_OP_BIT(TL_OP_TANH) |                  \
     TL_OP_BIT(TL_OP_ELU) | TL_OP_BIT(TL_OP_GELU) | TL_OP_BIT(TL_OP_MISH))

/* What a run does of 0..count-1, in whole multiples of `grain`: everything, or its part. */
static inline tl_range tl_run_share(const tl_op_run *run, size_t count, size_t grain)
{
    return tl_team_range(count, grain, run->part, run->parts == 0 ? 1 : run->parts);
}

#define X(NAME, name) extern const tl_op tl_op_##name;
TL_OP_MAP(X)
#undef X

#endif

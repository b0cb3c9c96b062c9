#include "tensor/internal.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(TL_OP_MISH < 64, "activations that are fused are bits of uint64_t");

tl_shape tl_shape_vector(uint32_t count)
{
    return (tl_shape){ .rank = 1, .dim = { count } };
}

tl_shape tl_shape_image(uint32_t height, uint32_t width, uint32_t channels)
{
    return (tl_shape){ .rank = 3, .dim = { height, width, channels } };
}

tl_shape tl_shape_weights(uint32_t out, uint32_t in, uint32_t height, uint32_t width)
{
    return (tl_shape){ .rank = 4, .dim = { out, in, height, width } };
}

bool tl_shape_equal(const tl_shape *a, const tl_shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, sizeof a->dim) == 0;
}

size_t tl_shape_count(const tl_shape *shape)
{
    size_t count = 1;
    for (uint32_t i = 0; i < shape->rank; i++) count *= shape->dim[i];
    return count;
}

uint32_t tl_shape_channels(const tl_shape *shape)
{
    TL_ASSERT(shape->rank >= 1);
    TL_ASSERT(shape->rank <= TL_RANK_MAX);
    return shape->dim[shape->rank - 1];
}

size_t tl_shape_pixels(const tl_shape *shape)
{
    return tl_shape_count(shape) / tl_shape_channels(shape);
}

tl_status tl_shape_check(const tl_shape *shape, tl_error *err)
{
    if (shape->rank < 1 || shape->rank > TL_RANK_MAX)
        return tl_fail(err, TL_ESHAPE, "a shape has 1 to %d dimensions, not %u", TL_RANK_MAX,
                       shape->rank);
    size_t count = 1;
    for (uint32_t i = 0; i < TL_RANK_MAX; i++) {
        uint32_t dim = shape->dim[i];
        if (i >= shape->rank ? dim != 0 : dim < 1 || dim > TL_DIM_MAX)
            return tl_fail(err, TL_ESHAPE, "dimension %u is %u; want 1 to %d, and 0 past the rank",
                           i, dim, TL_DIM_MAX);
        if (i >= shape->rank) continue;
        if (count > TL_ITEM_FLOATS_MAX / dim)
            return tl_fail(err, TL_ESHAPE, "a shape has more than %zu numbers", TL_ITEM_FLOATS_MAX);
        count *= dim;
    }
    return TL_OK;
}

tl_activation tl_activation_none(void)
{
    return (tl_activation){ .kind = TL_OP_COUNT };
}

tl_attrs tl_attrs_default(tl_op_kind kind)
{
    tl_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    attrs.window = (tl_window){ 1, 1, 1, 1, 1, 1, 0, 0, 0, 0 };
    attrs.groups = 1;
    attrs.epsilon = 1e-5f;
    attrs.momentum = 0.1f;
    attrs.activation = tl_activation_none();
    attrs.axis = -1;
    attrs.step = 1;
    attrs.keep_dims = true;
    attrs.resize.cubic = -0.75f;
    attrs.resize.crop_bottom = attrs.resize.crop_right = 1.0f;
    switch ((int)kind) {
    case TL_OP_CLIP: attrs.beta = 6.0f; break;
    case TL_OP_HARD_SIGMOID: attrs.alpha = 0.2f, attrs.beta = 0.5f; break;
    case TL_OP_LEAKY_RELU: attrs.alpha = 0.01f; break;
    case TL_OP_ELU: attrs.alpha = 1.0f; break;
    case TL_OP_SELU: attrs.alpha = 1.67326319f, attrs.beta = 1.05070102f; break;
    default: break;
    }
    return attrs;
}

static const tl_op *const table[TL_OP_COUNT] = {
#define X(NAME, name) [TL_OP_##NAME] = &tl_op_##name,
    TL_OP_MAP(X)
#undef X
};

const tl_op *tl_op_get(tl_op_kind kind)
{
    TL_ASSERT(kind < TL_OP_COUNT);
    return table[kind];
}

tl_op_kind tl_op_find(const char *name)
{
    for (int kind = 0; kind < TL_OP_COUNT; kind++)
        if (strcmp(table[kind]->name, name) == 0) return (tl_op_kind)kind;
    return TL_OP_COUNT;
}

uint32_t tl_window_output(uint32_t size, uint32_t kernel, uint32_t stride, uint32_t dilation,
                          uint32_t pad_begin, uint32_t pad_end)
{
    uint64_t reach = (uint64_t)(kernel - 1) * dilation + 1;
    uint64_t padded = (uint64_t)size + pad_begin + pad_end;
    return padded < reach ? 0 : (uint32_t)((padded - reach) / stride + 1);
}

static bool axis_valid(uint32_t kernel, uint32_t stride, uint32_t dilation, uint32_t pad_begin,
                       uint32_t pad_end)
{
    const uint32_t limit = 1 << 12; /* far above any network's; keeps products small */
    if (kernel < 1 || stride < 1 || dilation < 1) return false;
    if (kernel > limit || stride > limit || dilation > limit) return false;
    uint32_t reach = (kernel - 1) * dilation + 1;
    return pad_begin < reach && pad_end < reach;
}

tl_status tl_window_check(const tl_window *window, tl_error *err)
{
    const tl_window *w = window;
    if (!axis_valid(w->kernel_h, w->stride_h, w->dilation_h, w->pad_top, w->pad_bottom) ||
        !axis_valid(w->kernel_w, w->stride_w, w->dilation_w, w->pad_left, w->pad_right))
        return tl_fail(err, TL_ESHAPE,
                       "kernel, stride and dilation must be 1 to 4096, and padding "
                       "below the kernel's reach");
    return TL_OK;
}

tl_status tl_window_shape(const tl_window *window, const tl_shape *image, uint32_t *height,
                          uint32_t *width, tl_error *err)
{
    TL_ASSERT(image->rank == 3);
    const tl_window *w = window;
    tl_status status = tl_window_check(w, err);
    if (status != TL_OK) return status;
    *height = tl_window_output(image->dim[0], w->kernel_h, w->stride_h, w->dilation_h, w->pad_top,
                               w->pad_bottom);
    *width = tl_window_output(image->dim[1], w->kernel_w, w->stride_w, w->dilation_w, w->pad_left,
                              w->pad_right);
    if (*height == 0 || *width == 0)
        return tl_fail(err, TL_ESHAPE, "an image of %u x %u is too small for the kernel",
                       image->dim[0], image->dim[1]);
    return TL_OK;
}

tl_status tl_image_of(const tl_shape *shape, tl_shape *image, tl_error *err)
{
    if (shape->rank < 3)
        return tl_fail(err, TL_ESHAPE, "want an image [h, w, c], got rank %u", shape->rank);
    const uint32_t *dim = shape->dim + shape->rank - 3;
    *image = tl_shape_image(dim[0], dim[1], dim[2]);
    return TL_OK;
}

tl_shape tl_image_into(const tl_shape *like, uint32_t height, uint32_t width, uint32_t channels)
{
    tl_shape out = *like;
    out.dim[out.rank - 3] = height;
    out.dim[out.rank - 2] = width;
    out.dim[out.rank - 1] = channels;
    return out;
}

const tl_op_state *tl_image_state(const tl_op_state *state, tl_op_state *room)
{
    if (state->inputs[0].rank == 3) return state;
    *room = *state;
    tl_image_of(&state->inputs[0], &room->inputs[0], NULL);
    tl_image_of(&state->output, &room->output, NULL);
    room->batch *= (uint32_t)(tl_shape_count(&state->output) / tl_shape_count(&room->output));
    return room;
}

tl_status tl_image_prepare(tl_op_state *state,
                           tl_status (*prepare)(tl_op_state *state, tl_error *err), tl_error *err)
{
    tl_op_state room;
    if (tl_image_state(state, &room) == state) return prepare(state, err);
    tl_status status = prepare(&room, err);
    state->needs = room.needs;
    state->own = room.own;
    return status;
}

size_t tl_number_bytes(const tl_op_state *state)
{
    return state->half ? sizeof(uint16_t) : sizeof(float);
}

bool tl_moves_halves(const tl_op_state *state, const bool *operands)
{
    bool all = state->mode == TL_MODE_INFER;
    for (size_t i = 0; i < state->input_count; i++) all = all && operands[i];
    return all;
}

tl_status tl_op_alloc(tl_op_state *state, size_t bytes, tl_error *err)
{
    state->own = calloc(1, bytes);
    if (state->own == NULL) return tl_fail(err, TL_ENOMEM, "state of an operator");
    return TL_OK;
}

tl_status tl_op_prepare(tl_op_kind kind, tl_op_state *state, tl_error *err)
{
    memset(&state->needs, 0, sizeof state->needs);
    state->own = NULL;
    state->kind = kind;
    tl_status status = tl_op_get(kind)->prepare(state, err);
    if (status != TL_OK) tl_op_release(kind, state);
    return status;
}

bool tl_op_sums_batch(tl_op_kind kind, tl_op_mode mode)
{
    return tl_op_get(kind)->sums_batch && mode == TL_MODE_TRAIN_LIVE;
}

tl_status tl_op_forward(tl_op_kind kind, const tl_op_state *state, const tl_op_run *run,
                        tl_error *err)
{
    const tl_op *op = tl_op_get(kind);
    tl_op_run all = *run;
    all.items = state->batch;
    all.first_item = 0;
    tl_status status = TL_OK;
    if (tl_op_sums_batch(kind, state->mode))
        status = op->phase(state, &all, TL_PHASE_GATHER_FORWARD, err);
    if (status == TL_OK && op->phase != NULL && state->mode != TL_MODE_INFER)
        status = op->phase(state, &all, TL_PHASE_SETTLE_FORWARD, err);
    return status == TL_OK ? op->forward(state, &all, err) : status;
}

tl_status tl_op_backward(tl_op_kind kind, const tl_op_state *state, const tl_op_run *run,
                         tl_error *err)
{
    const tl_op *op = tl_op_get(kind);
    tl_op_run all = *run;
    all.items = state->batch;
    all.first_item = 0;
    if (op->phase == NULL) return op->backward(state, &all, err);
    const bool sums = tl_op_sums_batch(kind, state->mode);
    tl_status status = sums ? op->phase(state, &all, TL_PHASE_GATHER_BACKWARD, err)
                            : op->backward(state, &all, err);
    if (status == TL_OK) status = op->phase(state, &all, TL_PHASE_SETTLE_BACKWARD, err);
    return status == TL_OK && sums ? op->backward(state, &all, err) : status;
}

void tl_op_release(tl_op_kind kind, tl_op_state *state)
{
    const tl_op *op = tl_op_get(kind);
    if (state->own != NULL && op->destroy != NULL) op->destroy(state);
    free(state->own);
    state->own = NULL;
}

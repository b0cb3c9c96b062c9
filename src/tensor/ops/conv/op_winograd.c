/* 3x3 convolution with stride 1 by Winograd's F(4x4, 3x3) (Lavin & Gray 2016): a tile of 4x4
 * outputs takes 36 products a pair of channels instead of 144. oneDNN 2.6 runs the direct form at
 * the processor's peak, so that fewer products are the only way to be faster; it has no Winograd
 * for NHWC.
 *
 * Interpolation at 0, +-sqrt(1/2), +-sqrt(2) and infinity, which loses half as many digits as the
 * usual 0, +-1, +-2 (relative error of sums over 64 channels 6e-7 instead of 1.3e-6; the direct
 * form 1e-7):
 *
 *   B' = 1  0 -5/2  0  1  0     A' = 1 1    1    1    1    0     G = 1        0        0
 *        0 -b -2    a  1  0          0 a   -a    b   -b    0         -2/3    -2a/3    -1/3
 *        0  b -2   -a  1  0          0 1/2  1/2  2    2    0         -2/3     2a/3    -1/3
 *        0 -a -1/2  b  1  0          0 a^3 -a^3  b^3 -b^3  1          1/6     b/6      1/3
 *        0  a -1/2 -b  1  0                                           1/6    -b/6      1/3
 *        0  1  0 -5/2  0  1         a = sqrt(1/2), b = sqrt(2)        0        0        1
 *
 * y = A'[(G g G') * (B' d B)]A, so that dg = G'[sum (B' d B) * (A dy A')]G; and dx is the same
 * convolution of dy with the kernels turned and the channels exchanged. The products over the
 * channels are 36 matrix products. */
#include "tensor/ops/conv/conv_internal.h"
#include "tensor/ops/panels.h"

#include <stdlib.h>
#include <string.h>

enum {
    PLANES = 36,
    TILE_CHUNK = 48, /* tiles at once: their planes should stay in the second-level cache */
    PLANE_PAD = 16   /* floats between planes, so that they do not fall on the same cache lines */
};

/* One convolution of a batch of images: forward, or of dy for dx. */
typedef struct problem {
    uint32_t in_h, in_w, out_h, out_w, pad_top, pad_left;
    size_t in, out; /* channels */
    size_t tiles_h, tiles_w;
} problem;

/* Whether the tiles have at most so many percent more pixels than the output. */
static bool tiles_waste_at_most(uint64_t percent, const tl_window *w, const tl_shape *input)
{
    const uint64_t out_h = input->dim[0] + w->pad_top + w->pad_bottom - 2;
    const uint64_t out_w = input->dim[1] + w->pad_left + w->pad_right - 2;
    const uint64_t tiles = (out_h + 3) / 4 * ((out_w + 3) / 4);
    return tiles * 16 * 100 <= out_h * out_w * (100 + percent);
}

bool tl_winograd_fits(const tl_attrs *attrs, const tl_shape *input)
{
    const tl_window *w = &attrs->window;
    const uint64_t in = input->dim[2], out = attrs->channels;
    if (attrs->groups != 1 || w->kernel_h != 3 || w->kernel_w != 3) return false;
    if (w->stride_h != 1 || w->stride_w != 1 || w->dilation_h != 1 || w->dilation_w != 1)
        return false;
    /* Few channels: the transforms cost more than they save. Many: the weights leave the cache. */
    if (in < 16 || out < 16 || in * out > 192 * 192) return false;
    return tiles_waste_at_most(60, w, input);
}

bool tl_winograd_beats_halves(const tl_attrs *attrs, const tl_shape *input)
{
    const uint32_t in = input->dim[2], out = attrs->channels;
    return tl_winograd_fits(attrs, input) && in >= 32 && out >= 32 &&
           tiles_waste_at_most(20, &attrs->window, input);
}

static problem forward_problem(const tl_op_state *state)
{
    const tl_window *w = &state->attrs->window;
    problem p = { .in_h = state->inputs[0].dim[0],
                  .in_w = state->inputs[0].dim[1],
                  .out_h = state->output.dim[0],
                  .out_w = state->output.dim[1],
                  .pad_top = w->pad_top,
                  .pad_left = w->pad_left,
                  .in = state->inputs[0].dim[2],
                  .out = state->output.dim[2] };
    p.tiles_h = (p.out_h + 3) / 4;
    p.tiles_w = (p.out_w + 3) / 4;
    return p;
}

static problem backward_problem(const tl_op_state *state)
{
    const problem f = forward_problem(state);
    problem p = { .in_h = f.out_h,
                  .in_w = f.out_w,
                  .out_h = f.in_h,
                  .out_w = f.in_w,
                  .pad_top = 2 - f.pad_top,
                  .pad_left = 2 - f.pad_left,
                  .in = f.out,
                  .out = f.in };
    p.tiles_h = (p.out_h + 3) / 4;
    p.tiles_w = (p.out_w + 3) / 4;
    return p;
}

/* ---- Sizes, in floats ------------------------------------------------------------------------ */

static size_t round16(size_t count)
{
    return (count + 15) / 16 * 16;
}
static size_t weights_plane(const problem *p)
{
    return round16(p->in * p->out) + PLANE_PAD;
}
static size_t weights_floats(const problem *p)
{
    return PLANES * weights_plane(p);
}
static size_t taps_floats(const problem *p)
{
    return round16(9 * p->in * p->out);
}

static size_t chunk_of(const problem *p, uint32_t batch)
{
    size_t tiles = batch * p->tiles_h * p->tiles_w;
    return tiles < TILE_CHUNK ? tiles : TILE_CHUNK;
}

static size_t tile_plane(size_t chunk, size_t channels)
{
    return round16(chunk * channels) + PLANE_PAD;
}

static size_t planes_floats(const problem *p, uint32_t batch)
{
    const size_t chunk = chunk_of(p, batch);
    return PLANES * (tile_plane(chunk, p->in) + tile_plane(chunk, p->out));
}

static tl_status winograd_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    const problem f = forward_problem(state), b = backward_problem(state);
    tl_op_needs *needs = &state->needs;
    needs->forward_scratch = planes_floats(&f, state->batch) * sizeof(float);
    if (state->mode == TL_MODE_INFER) {
        needs->parts = state->batch == 1;
        needs->packed = (weights_floats(&f) + round16(f.out)) * sizeof(float);
        return TL_OK;
    }
    const size_t group = round16(tl_group_floats((uint32_t)f.out));
    const size_t weights = weights_floats(&f) + taps_floats(&f);
    size_t planes = planes_floats(&f, state->batch);
    if (planes_floats(&b, state->batch) > planes) planes = planes_floats(&b, state->batch);
    needs->forward_scratch += weights * sizeof(float);
    needs->backward_scratch = (weights + planes + group) * sizeof(float);
    needs->keeps_input[0] = true;
    return TL_OK;
}

/* ---- Weights --------------------------------------------------------------------------------- */

/* [out, in, 9] to taps [9, out, in]. */
static void split_taps(const float *weights, size_t pairs, float *taps)
{
    for (size_t i = 0; i < pairs; i++)
        for (size_t t = 0; t < 9; t++) taps[t * pairs + i] = weights[i * 9 + t];
}

static void join_taps(const float *taps, size_t pairs, float *weights)
{
    for (size_t i = 0; i < pairs; i++)
        for (size_t t = 0; t < 9; t++) weights[i * 9 + t] = taps[t * pairs + i];
}

/* Canonical weights to planes [in, out]. */
static void transform_forward(const problem *p, const float *weights, float *taps, float *planes)
{
    tl_panels_turn(weights, p->out, p->in, 9, taps);
    tl_kernels_get()->winograd_weights(taps, p->in * p->out, false, planes, weights_plane(p));
}

static tl_status winograd_pack(const tl_op_state *state, const float *const *params, void *packed,
                               tl_error *err)
{
    const problem p = forward_problem(state);
    float *folded = malloc(2 * taps_floats(&p) * sizeof *folded);
    if (folded == NULL) return tl_fail(err, TL_ENOMEM, "fold weights");
    float *planes = packed;
    tl_conv_fold(state->attrs, (tl_range){ 0, p.out }, p.in * 9, params, folded,
                 planes + weights_floats(&p));
    transform_forward(&p, folded, folded + taps_floats(&p), planes);
    free(folded);
    return TL_OK;
}

/* ---- Convolution ----------------------------------------------------------------------------- */

/* Where tile number `n` of the batch lies; y and x are those of its first output. */
typedef struct place {
    size_t image;
    ptrdiff_t y, x;
} place;

static place place_of(const problem *p, size_t n)
{
    const size_t each = p->tiles_h * p->tiles_w, within = n % each;
    return (place){ .image = n / each,
                    .y = (ptrdiff_t)(within / p->tiles_w * 4),
                    .x = (ptrdiff_t)(within % p->tiles_w * 4) };
}

static void gather(const problem *p, const float *x, size_t first, size_t count, float *planes)
{
    for (size_t i = 0; i < count; i++) {
        const place at = place_of(p, first + i);
        const tl_winograd_tile tile = { .image = x + at.image * p->in_h * p->in_w * p->in,
                                        .height = p->in_h,
                                        .width = p->in_w,
                                        .channels = p->in,
                                        .y = at.y - (ptrdiff_t)p->pad_top,
                                        .x = at.x - (ptrdiff_t)p->pad_left,
                                        .planes = planes + i * p->in,
                                        .plane = tile_plane(count, p->in) };
        tl_kernels_get()->winograd_gather(&tile);
    }
}

static void store(const problem *p, const float *bias, size_t first, size_t count, float *planes,
                  float *y)
{
    for (size_t i = 0; i < count; i++) {
        const place at = place_of(p, first + i);
        const tl_winograd_tile tile = { .height = p->out_h,
                                        .width = p->out_w,
                                        .channels = p->out,
                                        .y = at.y,
                                        .x = at.x,
                                        .planes = planes + i * p->out,
                                        .plane = tile_plane(count, p->out) };
        tl_kernels_get()->winograd_store(&tile, bias, y + at.image * p->out_h * p->out_w * p->out);
    }
}

static tl_range all_tiles(const problem *p, uint32_t batch)
{
    return (tl_range){ 0, batch * p->tiles_h * p->tiles_w };
}

/* The tiles of a range; `batch` gives the size of planes. */
static void convolve(const problem *p, uint32_t batch, tl_range tiles, const float *weights,
                     const float *bias, const float *x, float *planes, float *y)
{
    const size_t chunk = chunk_of(p, batch);
    for (size_t first = tiles.begin; first < tiles.end; first += chunk) {
        const size_t count = tiles.end - first < chunk ? tiles.end - first : chunk;
        float *from = planes, *to = planes + PLANES * tile_plane(count, p->in);
        gather(p, x, first, count, from);
        for (size_t k = 0; k < PLANES; k++) {
            const tl_gemm_args product = { .rows = count,
                                           .columns = p->out,
                                           .inner = p->in,
                                           .a = from + k * tile_plane(count, p->in),
                                           .a_row = p->in,
                                           .a_inner = 1,
                                           .b = weights + k * weights_plane(p),
                                           .b_row = p->out,
                                           .c = to + k * tile_plane(count, p->out),
                                           .c_row = p->out };
            tl_kernels_get()->gemm(&product);
        }
        store(p, bias, first, count, to, y);
    }
}

/* A part is some rows of tiles of one image; then what is done to rows of pixels follows. */
static void winograd_infer(const tl_op_state *state, const tl_op_run *run, const problem *p)
{
    const tl_kernels *k = tl_kernels_get();
    const uint32_t parts = run->parts == 0 ? 1 : run->parts;
    const tl_range rows = tl_team_range(state->batch * p->tiles_h, 1, run->part, parts);
    const tl_range tiles = { rows.begin * p->tiles_w, rows.end * p->tiles_w };
    const float *weights = run->packed;
    TL_ASSERT(parts == 1 || state->batch == 1);
    convolve(p, state->batch, tiles, weights, weights + weights_floats(p), run->x[0], run->scratch,
             run->y);
    const size_t all = state->batch * tl_shape_count(&state->output), row = p->out_w * p->out;
    const size_t begin = run->part == 0 ? 0 : rows.begin * 4 * row;
    const size_t end = run->part + 1 == parts ? all : rows.end * 4 * row;
    if (begin >= end) return;
    float *y = run->y + begin;
    if (state->attrs->activation.kind != TL_OP_COUNT)
        k->activate(&state->attrs->activation, end - begin, y, y);
    if (state->attrs->fused_add) k->add(end - begin, y, run->x[1] + begin, y);
}

static tl_status winograd_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const problem p = forward_problem(state);
    const tl_activation *act = &state->attrs->activation;
    if (state->mode == TL_MODE_INFER) {
        winograd_infer(state, run, &p);
        return TL_OK;
    }
    float *weights = run->scratch, *taps = weights + weights_floats(&p);
    transform_forward(&p, run->params[TL_CONV_WEIGHT], taps, weights);
    convolve(&p, state->batch, all_tiles(&p, state->batch), weights,
             state->attrs->has_bias ? run->params[TL_CONV_BIAS] : NULL, run->x[0],
             taps + taps_floats(&p), run->y);
    const size_t count = state->batch * tl_shape_count(&state->output);
    if (act->kind != TL_OP_COUNT) tl_kernels_get()->activate(act, count, run->y, run->y);
    return TL_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

static void spread(const problem *p, const float *dy, size_t first, size_t count, float *planes)
{
    for (size_t i = 0; i < count; i++) {
        const place at = place_of(p, first + i);
        const tl_winograd_tile tile = { .image = dy + at.image * p->out_h * p->out_w * p->out,
                                        .height = p->out_h,
                                        .width = p->out_w,
                                        .channels = p->out,
                                        .y = at.y,
                                        .x = at.x,
                                        .planes = planes + i * p->out,
                                        .plane = tile_plane(count, p->out) };
        tl_kernels_get()->winograd_spread(&tile);
    }
}

/* Gradient planes [out, in] = sum over tiles of (A dy A')' (B' x B). */
static void sum_weights(const problem *p, uint32_t batch, const float *x, const float *dy,
                        float *planes, float *gradient)
{
    const size_t tiles = batch * p->tiles_h * p->tiles_w, chunk = chunk_of(p, batch);
    for (size_t first = 0; first < tiles; first += chunk) {
        const size_t count = tiles - first < chunk ? tiles - first : chunk;
        float *in = planes, *out = planes + PLANES * tile_plane(count, p->in);
        gather(p, x, first, count, in);
        spread(p, dy, first, count, out);
        for (size_t k = 0; k < PLANES; k++) {
            const tl_gemm_args product = { .rows = p->out,
                                           .columns = p->in,
                                           .inner = count,
                                           .a = out + k * tile_plane(count, p->out),
                                           .a_row = 1,
                                           .a_inner = p->out,
                                           .b = in + k * tile_plane(count, p->in),
                                           .b_row = p->in,
                                           .c = gradient + k * weights_plane(p),
                                           .c_row = p->in,
                                           .adds = first > 0 };
            tl_kernels_get()->gemm(&product);
        }
    }
}

static void sum_bias(const tl_op_state *state, const tl_op_run *run, float *sum)
{
    const size_t channels = state->output.dim[2], group = tl_group_floats((uint32_t)channels);
    memset(sum, 0, group * sizeof *sum);
    tl_kernels_get()->sum_groups(state->batch * tl_shape_count(&state->output), group, run->dy,
                                 sum);
    for (size_t c = 0; c < channels; c++) {
        double total = 0;
        for (size_t at = c; at < group; at += channels) total += (double)sum[at];
        run->dparams[TL_CONV_BIAS][c] = (float)total;
    }
}

static tl_status winograd_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const tl_kernels *k = tl_kernels_get();
    const problem f = forward_problem(state), b = backward_problem(state);
    const size_t pairs = f.in * f.out;
    float *weights = run->scratch, *taps = weights + weights_floats(&f);
    float *sum = taps + taps_floats(&f);
    float *planes = sum + round16(tl_group_floats((uint32_t)f.out));
    if (run->dx[0] != NULL) {
        split_taps(run->params[TL_CONV_WEIGHT], pairs, taps);
        k->winograd_weights(taps, pairs, true, weights, weights_plane(&b));
        convolve(&b, state->batch, all_tiles(&b, state->batch), weights, NULL, run->dy, planes,
                 run->dx[0]);
    }
    sum_weights(&f, state->batch, run->x[0], run->dy, planes, weights);
    k->winograd_gradient(weights, weights_plane(&f), taps, pairs);
    join_taps(taps, pairs, run->dparams[TL_CONV_WEIGHT]);
    if (state->attrs->has_bias) sum_bias(state, run, sum);
    return TL_OK;
}

const tl_op tl_winograd = {
    .name = "winograd",
    .prepare = winograd_prepare,
    .pack = winograd_pack,
    .forward = winograd_forward,
    .backward = winograd_backward,
};

/* The product of two computed operands, a [..., m, k] by b [..., k, n]; what is before the matrices
 * is broadcast. da = dy b', db = a' dy, summed where an operand was repeated. */
#include "tensor/internal.h"
#include "tensor/walk.h"

#include <string.h>

typedef struct matmul_state {
    tl_walk walk; /* over the matrices of one item: a, b, y */
    size_t m, k, n;
    bool one_b; /* b is one matrix: a is one tall matrix */
} matmul_state;

/* A shape without its last two axes; [1] when nothing is left. */
static tl_shape lead_of(const tl_shape *shape)
{
    tl_shape out = *shape;
    for (int i = 0; i < 2; i++) out.dim[--out.rank] = 0;
    if (out.rank == 0) out = tl_shape_vector(1);
    return out;
}

static tl_status matmul_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                              tl_shape *output, tl_error *err)
{
    (void)attrs, (void)input_count;
    const tl_shape *a = &inputs[0], *b = &inputs[1];
    if (a->rank < 2 || b->rank < 2)
        return tl_fail(err, TL_ESHAPE, "a product of matrices wants two or more axes");
    if (a->dim[a->rank - 1] != b->dim[b->rank - 2])
        return tl_fail(err, TL_ESHAPE, "%u columns by %u rows", a->dim[a->rank - 1],
                       b->dim[b->rank - 2]);
    const tl_shape lead_a = lead_of(a), lead_b = lead_of(b);
    tl_shape out;
    if (!tl_shape_broadcast(&lead_a, &lead_b, &out))
        return tl_fail(err, TL_ESHAPE, "the numbers of matrices do not go together");
    if (a->rank == 2 && b->rank == 2) out.rank = 0;
    out.dim[out.rank++] = a->dim[a->rank - 2];
    out.dim[out.rank++] = b->dim[b->rank - 1];
    *output = out;
    return TL_OK;
}

static uint64_t matmul_macs(const tl_attrs *attrs, const tl_shape *inputs, const tl_shape *output)
{
    (void)attrs;
    return (uint64_t)tl_shape_channels(&inputs[0]) * tl_shape_count(output);
}

static tl_status matmul_prepare(tl_op_state *state, tl_error *err)
{
    tl_status status = tl_op_alloc(state, sizeof(matmul_state), err);
    if (status != TL_OK) return status;
    matmul_state *own = state->own;
    const tl_shape *a = &state->inputs[0], *b = &state->inputs[1];
    own->m = a->dim[a->rank - 2];
    own->k = a->dim[a->rank - 1];
    own->n = b->dim[b->rank - 1];
    const tl_shape lead_a = lead_of(a), lead_b = lead_of(b), lead = lead_of(&state->output);
    own->one_b = tl_shape_count(&lead_b) == 1;
    ptrdiff_t step[2][TL_RANK_MAX], dense = (ptrdiff_t)tl_shape_count(&lead);
    tl_walk_broadcast(&lead_a, &lead, step[0]);
    tl_walk_broadcast(&lead_b, &lead, step[1]);
    for (uint32_t i = 0; i < lead.rank && !own->one_b; i++) {
        dense /= (ptrdiff_t)lead.dim[i];
        tl_walk_axis(&own->walk, lead.dim[i],
                     (ptrdiff_t[TL_WALK_TENSORS]){ step[0][i] * (ptrdiff_t)(own->m * own->k),
                                                   step[1][i] * (ptrdiff_t)(own->k * own->n),
                                                   dense * (ptrdiff_t)(own->m * own->n) });
    }
    if (own->one_b) own->m = tl_shape_count(&state->output) / own->n;
    state->needs.keeps_input[0] = state->wants_grad[1];
    state->needs.keeps_input[1] = state->wants_grad[0];
    state->needs.backward_scratch = own->k * own->n * sizeof(float);
    return TL_OK;
}

typedef struct matmul_call {
    const matmul_state *own;
    const float *a, *b, *dy;
    float *y, *da, *db, *turned; /* turned: b' */
} matmul_call;

static void one_product(const matmul_call *c, ptrdiff_t a, ptrdiff_t b, ptrdiff_t y)
{
    const size_t m = c->own->m, k = c->own->k, n = c->own->n;
    const tl_gemm_args forward = { .rows = m,
                                   .columns = n,
                                   .inner = k,
                                   .a = c->a + a,
                                   .a_row = k,
                                   .a_inner = 1,
                                   .b = c->b + b,
                                   .b_row = n,
                                   .c = c->y + y,
                                   .c_row = n };
    if (c->dy == NULL) {
        tl_kernels_get()->gemm(&forward);
        return;
    }
    if (c->da != NULL) {
        for (size_t i = 0; i < k; i++)
            for (size_t j = 0; j < n; j++) c->turned[j * k + i] = c->b[b + (ptrdiff_t)(i * n + j)];
        const tl_gemm_args args = { .rows = m,
                                    .columns = k,
                                    .inner = n,
                                    .a = c->dy + y,
                                    .a_row = n,
                                    .a_inner = 1,
                                    .b = c->turned,
                                    .b_row = k,
                                    .c = c->da + a,
                                    .c_row = k,
                                    .adds = true };
        tl_kernels_get()->gemm(&args);
    }
    if (c->db != NULL) {
        const tl_gemm_args args = { .rows = k,
                                    .columns = n,
                                    .inner = m,
                                    .a = c->a + a,
                                    .a_row = 1,
                                    .a_inner = k,
                                    .b = c->dy + y,
                                    .b_row = n,
                                    .c = c->db + b,
                                    .c_row = n,
                                    .adds = true };
        tl_kernels_get()->gemm(&args);
    }
}

static void matmul_plane(void *context, const tl_walk_plane *p)
{
    for (size_t r = 0; r < p->rows; r++) {
        for (size_t i = 0; i < p->n; i++) {
            ptrdiff_t at[3];
            for (int t = 0; t < 3; t++)
                at[t] = p->at[t] + (ptrdiff_t)r * p->row[t] + (ptrdiff_t)i * p->step[t];
            one_product(context, at[0], at[1], at[2]);
        }
    }
}

static void matmul_run(const tl_op_state *state, const tl_op_run *run, bool back)
{
    const matmul_state *own = state->own;
    const size_t out = tl_shape_count(&state->output);
    const size_t in[2] = { tl_shape_count(&state->inputs[0]), tl_shape_count(&state->inputs[1]) };
    for (uint32_t i = 0; i < state->batch; i++) {
        matmul_call call = { .own = own,
                             .a = run->x[0] + i * in[0],
                             .b = run->x[1] + i * in[1],
                             .dy = back ? run->dy + i * out : NULL,
                             .y = run->y + i * out,
                             .da = run->dx[0] == NULL ? NULL : run->dx[0] + i * in[0],
                             .db = run->dx[1] == NULL ? NULL : run->dx[1] + i * in[1],
                             .turned = run->scratch };
        tl_walk_run(&own->walk, matmul_plane, &call);
    }
}

static tl_status matmul_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    matmul_run(state, run, false);
    return TL_OK;
}

static tl_status matmul_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    for (int i = 0; i < 2; i++)
        if (run->dx[i] != NULL)
            memset(run->dx[i], 0, state->batch * tl_shape_count(&state->inputs[i]) * sizeof(float));
    matmul_run(state, run, true);
    return TL_OK;
}

const tl_op tl_op_matmul = {
    .name = "matmul",
    .input_min = 2,
    .input_max = 2,
    .shape = matmul_shape,
    .macs = matmul_macs,
    .prepare = matmul_prepare,
    .forward = matmul_forward,
    .backward = matmul_backward,
};

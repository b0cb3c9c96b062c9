/* Rows of the table whose operator follows. */
#include "tensor/internal.h"

static tl_status later_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                             tl_shape *output, tl_error *err)
{
    (void)attrs, (void)inputs, (void)input_count, (void)output;
    return tl_fail(err, TL_EUNSUPPORTED, "this operator is not there yet");
}

static tl_status later_prepare(tl_op_state *state, tl_error *err)
{
    (void)state;
    return tl_fail(err, TL_EUNSUPPORTED, "this operator is not there yet");
}

static tl_status later_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)state, (void)run;
    return tl_fail(err, TL_EUNSUPPORTED, "this operator is not there yet");
}

#define LATER(name_)                                                                               \
    const tl_op tl_op_##name_ = { .name = #name_,                                                  \
                                  .input_min = 1,                                                  \
                                  .input_max = TL_OP_INPUT_MAX,                                    \
                                  .shape = later_shape,                                            \
                                  .prepare = later_prepare,                                        \
                                  .forward = later_forward };

LATER(leaky_relu)
LATER(tanh)
LATER(elu)
LATER(selu)
LATER(gelu)
LATER(gelu_tanh)
LATER(softplus)
LATER(mish)
LATER(softsign)
LATER(exp)
LATER(log)
LATER(sqrt)
LATER(reciprocal)
LATER(neg)
LATER(erf)
LATER(floor)
LATER(ceil)
LATER(sign)
LATER(round)
LATER(logical_not)
LATER(cast_integer)
LATER(cast_bool)
LATER(prelu)
LATER(div)
LATER(pow)
LATER(min)
LATER(max)
LATER(mod)
LATER(fmod)
LATER(equal)
LATER(greater)
LATER(greater_or_equal)
LATER(less)
LATER(less_or_equal)
LATER(logical_and)
LATER(logical_or)
LATER(logical_xor)
LATER(where)
LATER(average_pool)
LATER(resize)
LATER(conv_transpose)
LATER(matmul)
LATER(log_softmax)
LATER(reduce_sum)
LATER(reduce_mean)
LATER(reduce_max)
LATER(reduce_min)
LATER(reduce_prod)
LATER(reduce_l2)
LATER(arg_max)
LATER(reshape)
LATER(permute)
LATER(pad)
LATER(expand)
LATER(tile)
LATER(gather)

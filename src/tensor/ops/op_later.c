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

LATER(average_pool)
LATER(resize)
LATER(conv_transpose)

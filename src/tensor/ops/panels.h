/* panels.h - matrices packed for the panel kernel. Layer: tensor.
 *
 * The columns of a weight matrix [inner, out] are cut into panels of 32, and at the end of 16 or 8;
 * a panel is [inner, width], dense, missing columns 0. So a block of sums reads one stream. */
#ifndef TL_TENSOR_OPS_PANELS_H
#define TL_TENSOR_OPS_PANELS_H

#include "tensor/kernels/kernels.h"
#include "tensor/team.h"

/* Floats of the packed matrix, and of its bias after it: the columns with those that fill up. */
size_t tl_panels_floats(size_t out, size_t inner);
size_t tl_panels_columns(size_t out);
size_t tl_panels_count(size_t out);
/* Of the panel that begins at column `begin`. */
size_t tl_panels_width(size_t out, size_t begin);

/* Pack canonical weights [out, channels, taps] as [taps * channels, out]. bias [out] may be NULL. */
void tl_panels_pack(const float *weights, const float *bias, size_t out, size_t channels,
                    size_t taps, float *panels, float *panel_bias);

/* The same numbers, [taps * channels, out], not in panels. */
void tl_panels_turn(const float *weights, size_t out, size_t channels, size_t taps, float *turned);

/* Run panels `which` over the pixels of `pixels`, whose weights, bias, width, columns are ignored,
 * and whose y and add are those of column 0. */
void tl_panels_run(const tl_panel_args *pixels, size_t out, const float *panels,
                   const float *panel_bias, tl_range which);

#endif

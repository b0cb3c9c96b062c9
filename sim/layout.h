/* layout.h - copper patterns of a place on a board: bundles of traces, fan-outs, planes, pads.
 * Layer: sim. */
#ifndef TL_SIM_LAYOUT_H
#define TL_SIM_LAYOUT_H

#include "base/rng.h"
#include "sim/board.h"
#include "sim/canvas.h"

/* Draw one pattern of the line's design rules; consumes randomness from `rng`. */
void tl_layout_draw(const tl_sim_line *line, tl_rng *rng, tl_canvas *out);

/* Put a defect where the pattern allows it. False: there is no room for one of this kind here; the
 * canvas is then unchanged. (x, y) is its centre on the canvas. */
bool tl_defect_draw(tl_sim_class kind, const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas,
                    float *x, float *y);

#endif

/* colour.h - random changes of colour. Layer: learn. Any thread. */
#ifndef TL_LEARN_COLOUR_H
#define TL_LEARN_COLOUR_H

#include "base/rng.h"
#include "base/status.h"

/* As limits: how far each may go. As drawn: hue is a share of the circle that is added, brightness a
 * share of 255; the others are factors, contrast about 127.5. */
typedef struct tl_colour {
    double hue, saturation, value; /* of pixels of 3 channels (Smith's HSV, 1978) */
    double brightness, contrast;
} tl_colour;

/* Each evenly between its limits: -h..h for hue and brightness, 1 - s..1 + s for factors. */
tl_colour tl_colour_draw(const tl_colour *limits, tl_rng *rng);
/* In place; pixels [count, channels]. Nothing to change costs nothing. */
void tl_colour_apply(const tl_colour *colour, uint32_t channels, size_t count, uint8_t *pixels);

#endif

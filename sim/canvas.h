/* canvas.h - copper on a patch as coverage: shapes that add or cut, and questions about what is
 * where. Layer: sim. One owner thread per canvas. Coordinates are pixels of the canvas, pixel
 * centres at whole numbers. */
#ifndef TL_SIM_CANVAS_H
#define TL_SIM_CANVAS_H

#include <stdbool.h>

enum {
    TL_CANVAS_MARGIN = 4, /* around the patch, so that a shifted view still sees copper */
    TL_CANVAS_SIDE = 64 + 2 * TL_CANVAS_MARGIN
};

typedef struct tl_canvas {
    float cover[TL_CANVAS_SIDE][TL_CANVAS_SIDE]; /* [y][x], 0 bare .. 1 copper */
} tl_canvas;

typedef enum tl_ink { TL_INK_ADD, TL_INK_CUT } tl_ink;

void tl_canvas_fill(tl_canvas *canvas, float cover);
void tl_canvas_disc(tl_canvas *canvas, tl_ink ink, float x, float y, float radius);
/* A line with round ends. */
void tl_canvas_stroke(tl_canvas *canvas, tl_ink ink, float x0, float y0, float x1, float y1,
                      float radius);
/* A rectangle by its centre, with corners rounded by `radius` (less than both halves). */
void tl_canvas_box(tl_canvas *canvas, tl_ink ink, float x, float y, float half_width,
                   float half_height, float radius);

/* Copper (more than half) at the nearest pixel; what lies outside continues the border. */
bool tl_canvas_is_copper(const tl_canvas *canvas, float x, float y);
/* Whether every pixel within `radius` is copper (or, with `copper` false, bare). */
bool tl_canvas_is_all(const tl_canvas *canvas, float x, float y, float radius, bool copper);
/* Steps of half a pixel from (x, y) along the unit vector (dx, dy) until copper (bare, with
 * `copper` false) is met; the distance in pixels, or `limit` when none is met before. */
float tl_canvas_reach(const tl_canvas *canvas, float x, float y, float dx, float dy, bool copper,
                      float limit);

#endif

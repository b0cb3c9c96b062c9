#include "sim/canvas.h"

#include <math.h>

void tl_canvas_fill(tl_canvas *canvas, float cover)
{
    for (int y = 0; y < TL_CANVAS_SIDE; y++)
        for (int x = 0; x < TL_CANVAS_SIDE; x++) canvas->cover[y][x] = cover;
}

/* `distance` is signed: negative inside the shape. One pixel of soft edge. */
static void blend(float *cover, tl_ink ink, float distance)
{
    float inside = 0.5f - distance;
    if (inside <= 0.0f) return;
    if (inside > 1.0f) inside = 1.0f;
    if (ink == TL_INK_ADD) {
        if (inside > *cover) *cover = inside;
    } else if (1.0f - inside < *cover) {
        *cover = 1.0f - inside;
    }
}

typedef struct span {
    int first, last;
} span;

/* The pixels from `low` to `high` with their soft edge, clipped to the canvas. */
static span clip(float low, float high)
{
    span s = { (int)floorf(low - 1.0f), (int)ceilf(high + 1.0f) };
    if (s.first < 0) s.first = 0;
    if (s.last > TL_CANVAS_SIDE - 1) s.last = TL_CANVAS_SIDE - 1;
    return s;
}

void tl_canvas_disc(tl_canvas *canvas, tl_ink ink, float x, float y, float radius)
{
    tl_canvas_stroke(canvas, ink, x, y, x, y, radius);
}

void tl_canvas_stroke(tl_canvas *canvas, tl_ink ink, float x0, float y0, float x1, float y1,
                      float radius)
{
    float dx = x1 - x0, dy = y1 - y0;
    float length2 = dx * dx + dy * dy;
    span rows = clip(fminf(y0, y1) - radius, fmaxf(y0, y1) + radius);
    span columns = clip(fminf(x0, x1) - radius, fmaxf(x0, x1) + radius);
    for (int y = rows.first; y <= rows.last; y++) {
        for (int x = columns.first; x <= columns.last; x++) {
            float px = (float)x - x0, py = (float)y - y0;
            float t = length2 > 0.0f ? (px * dx + py * dy) / length2 : 0.0f;
            t = fminf(1.0f, fmaxf(0.0f, t));
            float ex = px - t * dx, ey = py - t * dy;
            blend(&canvas->cover[y][x], ink, sqrtf(ex * ex + ey * ey) - radius);
        }
    }
}

void tl_canvas_box(tl_canvas *canvas, tl_ink ink, float x, float y, float half_width,
                   float half_height, float radius)
{
    span rows = clip(y - half_height, y + half_height);
    span columns = clip(x - half_width, x + half_width);
    for (int py = rows.first; py <= rows.last; py++) {
        for (int px = columns.first; px <= columns.last; px++) {
            float ex = fabsf((float)px - x) - half_width + radius;
            float ey = fabsf((float)py - y) - half_height + radius;
            float ox = fmaxf(ex, 0.0f), oy = fmaxf(ey, 0.0f);
            float inside = fminf(fmaxf(ex, ey), 0.0f);
            blend(&canvas->cover[py][px], ink, sqrtf(ox * ox + oy * oy) + inside - radius);
        }
    }
}

static int nearest(float v)
{
    int i = (int)lrintf(v);
    if (i < 0) return 0;
    return i < TL_CANVAS_SIDE ? i : TL_CANVAS_SIDE - 1;
}

bool tl_canvas_is_copper(const tl_canvas *canvas, float x, float y)
{
    return canvas->cover[nearest(y)][nearest(x)] > 0.5f;
}

bool tl_canvas_is_all(const tl_canvas *canvas, float x, float y, float radius, bool copper)
{
    int reach = (int)ceilf(radius);
    for (int dy = -reach; dy <= reach; dy++) {
        for (int dx = -reach; dx <= reach; dx++) {
            if ((float)(dx * dx + dy * dy) > radius * radius) continue;
            if (tl_canvas_is_copper(canvas, x + (float)dx, y + (float)dy) != copper) return false;
        }
    }
    return true;
}

float tl_canvas_reach(const tl_canvas *canvas, float x, float y, float dx, float dy, bool copper,
                      float limit)
{
    for (float d = 0.0f; d < limit; d += 0.5f)
        if (tl_canvas_is_copper(canvas, x + d * dx, y + d * dy) == copper) return d;
    return limit;
}

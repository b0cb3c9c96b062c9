#include "sim/layout.h"

#include <math.h>

static const float middle = (TL_CANVAS_SIDE - 1) / 2.0f;

static float between(tl_rng *rng, float low, float high)
{
    return low + (high - low) * (float)tl_rng_unit(rng);
}

static bool chance(tl_rng *rng, double share)
{
    return tl_rng_unit(rng) < share;
}

/* A polyline in its own frame, turned by quarter turns and mirrored onto the canvas: patterns are
 * written once, for traces that run from left to right. */
typedef struct frame {
    int quarter_turns;
    bool mirrored;
} frame;

static frame random_frame(tl_rng *rng)
{
    uint64_t bits = tl_rng_u64(rng);
    return (frame){ (int)(bits & 3), (bits & 4) != 0 };
}

static void place(frame f, float x, float y, float *px, float *py)
{
    float u = x - middle, v = f.mirrored ? middle - y : y - middle;
    for (int i = 0; i < f.quarter_turns; i++) {
        float t = u;
        u = -v;
        v = t;
    }
    *px = middle + u;
    *py = middle + v;
}

static void trace(tl_canvas *canvas, frame f, const float (*points)[2], int count, float radius)
{
    for (int i = 0; i + 1 < count; i++) {
        float x0, y0, x1, y1;
        place(f, points[i][0], points[i][1], &x0, &y0);
        place(f, points[i + 1][0], points[i + 1][1], &x1, &y1);
        tl_canvas_stroke(canvas, TL_INK_ADD, x0, y0, x1, y1, radius);
    }
}

static void via(tl_canvas *canvas, frame f, float x, float y, float radius, bool drilled)
{
    float px, py;
    place(f, x, y, &px, &py);
    tl_canvas_disc(canvas, TL_INK_ADD, px, py, radius);
    if (drilled) tl_canvas_disc(canvas, TL_INK_CUT, px, py, radius * 0.45f);
}

static void pad(tl_canvas *canvas, frame f, float x, float y, float half_width, float half_height)
{
    float px, py;
    place(f, x, y, &px, &py);
    bool upright = (f.quarter_turns & 1) != 0;
    tl_canvas_box(canvas, TL_INK_ADD, px, py, upright ? half_height : half_width,
                  upright ? half_width : half_height, 1.5f);
}

/* Parallel traces; some bundles bend by 45 degrees and go back on another level. */
static void draw_bundle(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas)
{
    frame f = random_frame(rng);
    float width = line->trace_px * between(rng, 0.85f, 1.5f);
    float pitch = width + line->gap_px * between(rng, 0.9f, 1.6f);
    int count = 2 + (int)tl_rng_below(rng, 4);
    float bend = chance(rng, 0.6) ? between(rng, 8.0f, 26.0f) : 0.0f;
    float knee = between(rng, 12.0f, 40.0f);
    float y = between(rng, 2.0f, 22.0f);
    for (int i = 0; i < count; i++, y += pitch) {
        /* Each knee moves along so that the slanted parts keep their distance too. */
        float x = knee - (float)i * pitch * 0.4142f;
        const float points[4][2] = {
            { -6.0f, y }, { x, y }, { x + bend, y + bend }, { 80.0f, y + bend }
        };
        if (chance(rng, 0.18)) { /* ends in a via */
            trace(canvas, f, points, 2, width / 2.0f);
            via(canvas, f, points[1][0], points[1][1], width / 2.0f + 2.2f, chance(rng, 0.7));
        } else {
            trace(canvas, f, points, 4, width / 2.0f);
        }
    }
}

/* A row of pads, each with a trace that leaves it, some at 45 degrees. */
static void draw_fan_out(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas)
{
    frame f = random_frame(rng);
    float pitch = line->trace_px + line->gap_px + between(rng, 5.0f, 9.0f);
    float half = (pitch - line->gap_px) / 2.0f;
    float length = between(rng, 7.0f, 13.0f);
    float slant = chance(rng, 0.5) ? between(rng, 6.0f, 14.0f) : 0.0f;
    float x = between(rng, 8.0f, 24.0f);
    for (float y = between(rng, -4.0f, 8.0f); y < 80.0f; y += pitch) {
        pad(canvas, f, x, y, length, half);
        if (chance(rng, 0.15)) continue;
        float start = x + length + between(rng, 0.0f, 2.0f);
        const float points[4][2] = {
            { x, y }, { start, y }, { start + slant, y + slant }, { 80.0f, y + slant }
        };
        trace(canvas, f, points, 4, line->trace_px / 2.0f);
    }
}

/* A copper plane with clearances around vias and a channel that a trace runs through. */
static void draw_plane(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas)
{
    frame f = random_frame(rng);
    float edge = between(rng, 24.0f, 52.0f), x, y;
    place(f, middle, edge - 40.0f, &x, &y);
    bool upright = (f.quarter_turns & 1) != 0;
    tl_canvas_box(canvas, TL_INK_ADD, x, y, upright ? 40.0f : 60.0f, upright ? 60.0f : 40.0f, 1.0f);
    int holes = (int)tl_rng_below(rng, 3);
    for (int i = 0; i < holes; i++) {
        float hx = between(rng, 8.0f, 64.0f), hy = between(rng, 4.0f, edge - 14.0f);
        float radius = between(rng, 3.2f, 4.8f);
        place(f, hx, hy, &x, &y);
        tl_canvas_disc(canvas, TL_INK_CUT, x, y, radius + line->gap_px * 0.9f);
        via(canvas, f, hx, hy, radius, chance(rng, 0.7));
    }
    float level = edge + line->gap_px + line->trace_px / 2.0f;
    for (; level < 84.0f; level += line->trace_px + line->gap_px * between(rng, 1.0f, 2.4f)) {
        const float points[2][2] = { { -6.0f, level }, { 80.0f, level } };
        if (chance(rng, 0.8)) trace(canvas, f, points, 2, line->trace_px / 2.0f);
    }
}

/* A grid of round pads with traces between some of the rows. */
static void draw_grid(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas)
{
    frame f = random_frame(rng);
    float radius = between(rng, 4.5f, 7.5f);
    float pitch = 2.0f * radius + line->trace_px + 2.0f * line->gap_px;
    float x0 = between(rng, -6.0f, 12.0f), y0 = between(rng, -6.0f, 12.0f);
    bool drilled = chance(rng, 0.5);
    for (float y = y0; y < 84.0f; y += pitch) {
        for (float x = x0; x < 84.0f; x += pitch)
            if (chance(rng, 0.9)) via(canvas, f, x, y, radius, drilled);
        const float points[2][2] = { { -6.0f, y + pitch / 2.0f }, { 80.0f, y + pitch / 2.0f } };
        if (chance(rng, 0.75)) trace(canvas, f, points, 2, line->trace_px / 2.0f);
    }
}

/* One trace that winds to gain length. */
static void draw_serpentine(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas)
{
    frame f = random_frame(rng);
    float radius = line->trace_px / 2.0f;
    float pitch = line->trace_px + line->gap_px * between(rng, 1.1f, 1.8f);
    float top = between(rng, 6.0f, 18.0f), bottom = between(rng, 50.0f, 66.0f);
    float x = between(rng, 0.0f, 8.0f);
    for (bool down = true; x < 84.0f; x += pitch, down = !down) {
        float far_end = down ? bottom : top;
        const float points[3][2] = { { x, top }, { x, bottom }, { 0.0f, 0.0f } };
        const float turn[2][2] = { { x, far_end }, { x + pitch, far_end } };
        trace(canvas, f, points, 2, radius);
        trace(canvas, f, turn, 2, radius);
    }
}

/* A few large areas: shields, heat spreaders, edge contacts. */
static void draw_areas(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas)
{
    frame f = random_frame(rng);
    float x = between(rng, -4.0f, 14.0f);
    while (x < 80.0f) {
        float half = between(rng, 6.0f, 15.0f);
        float y = between(rng, 8.0f, 60.0f), tall = between(rng, 14.0f, 34.0f);
        pad(canvas, f, x + half, y, half, tall);
        const float points[2][2] = { { x + half, y }, { x + half, y > middle ? -6.0f : 80.0f } };
        trace(canvas, f, points, 2, line->trace_px / 2.0f);
        x += 2.0f * half + line->gap_px * between(rng, 1.0f, 2.2f);
    }
}

void tl_layout_draw(const tl_sim_line *line, tl_rng *rng, tl_canvas *out)
{
    static void (*const patterns[])(const tl_sim_line *, tl_rng *, tl_canvas *) = {
        draw_bundle, draw_bundle, draw_fan_out, draw_plane, draw_grid, draw_serpentine, draw_areas
    };
    tl_canvas_fill(out, 0.0f);
    patterns[tl_rng_below(rng, TL_COUNT_OF(patterns))](line, rng, out);
}

/* ---- Defects --------------------------------------------------------------------------------- */

enum { TRY_COUNT = 120 };

typedef struct spot {
    float x, y;
} spot;

/* Away from the border, as the centre of a defect is in a patch cut around it. */
static spot random_spot(tl_rng *rng)
{
    float low = TL_CANVAS_MARGIN + 10.0f, high = TL_CANVAS_SIDE - 1.0f - low;
    return (spot){ between(rng, low, high), between(rng, low, high) };
}

/* One of the eight directions in which copper runs. */
static spot random_direction(tl_rng *rng)
{
    float angle = (float)tl_rng_below(rng, 8) * 0.78539816f;
    return (spot){ cosf(angle), sinf(angle) };
}

/* An irregular spot: a disc with lobes. */
static void blob(tl_canvas *canvas, tl_ink ink, tl_rng *rng, float x, float y, float radius)
{
    tl_canvas_disc(canvas, ink, x, y, radius * 0.8f);
    int lobes = 2 + (int)tl_rng_below(rng, 3);
    for (int i = 0; i < lobes; i++) {
        float angle = between(rng, 0.0f, 6.2831853f), far = radius * between(rng, 0.3f, 0.6f);
        tl_canvas_disc(canvas, ink, x + far * cosf(angle), y + far * sinf(angle),
                       radius * between(rng, 0.35f, 0.6f));
    }
}

static bool draw_open(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas, spot *at)
{
    spot p = random_spot(rng), across = random_direction(rng);
    if (!tl_canvas_is_copper(canvas, p.x, p.y)) return false;
    float limit = line->trace_px * 1.2f + 2.0f;
    float left = tl_canvas_reach(canvas, p.x, p.y, -across.x, -across.y, false, limit);
    float right = tl_canvas_reach(canvas, p.x, p.y, across.x, across.y, false, limit);
    float width = left + right;
    if (width > limit || width < 2.5f) return false;
    p.x += across.x * (right - left) / 2.0f;
    p.y += across.y * (right - left) / 2.0f;
    float along = 9.0f; /* copper before and behind: a trace, not the corner of a pad */
    if (tl_canvas_reach(canvas, p.x, p.y, -across.y, across.x, false, along) < along) return false;
    if (tl_canvas_reach(canvas, p.x, p.y, across.y, -across.x, false, along) < along) return false;
    float half = width / 2.0f + 0.3f, lean = between(rng, -1.5f, 1.5f);
    float gap = between(rng, 1.5f, 3.2f);
    tl_canvas_stroke(canvas, TL_INK_CUT, p.x - across.x * half - across.y * lean,
                     p.y - across.y * half + across.x * lean,
                     p.x + across.x * half + across.y * lean,
                     p.y + across.y * half - across.x * lean, gap);
    *at = p;
    return true;
}

static bool draw_short(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas, spot *at)
{
    spot p = random_spot(rng), d = random_direction(rng);
    if (tl_canvas_is_copper(canvas, p.x, p.y)) return false;
    float limit = line->gap_px * 2.2f + 4.0f;
    float back = tl_canvas_reach(canvas, p.x, p.y, -d.x, -d.y, true, limit);
    float ahead = tl_canvas_reach(canvas, p.x, p.y, d.x, d.y, true, limit);
    if (back >= limit || ahead >= limit || back + ahead > limit || back + ahead < 2.5f)
        return false;
    /* A notch that is open at neither side would only be filled: want bare board to both sides. */
    float beside = fmaxf(4.5f, 0.5f * (back + ahead));
    if (tl_canvas_reach(canvas, p.x, p.y, -d.y, d.x, true, beside) < beside) return false;
    if (tl_canvas_reach(canvas, p.x, p.y, d.y, -d.x, true, beside) < beside) return false;
    float radius = between(rng, 1.2f, 2.4f), lean = between(rng, -2.0f, 2.0f);
    float x0 = p.x - d.x * (back + 1.0f), y0 = p.y - d.y * (back + 1.0f);
    float x1 = p.x + d.x * (ahead + 1.0f), y1 = p.y + d.y * (ahead + 1.0f);
    float mx = (x0 + x1) / 2.0f - d.y * lean, my = (y0 + y1) / 2.0f + d.x * lean;
    tl_canvas_stroke(canvas, TL_INK_ADD, x0, y0, mx, my, radius);
    tl_canvas_stroke(canvas, TL_INK_ADD, mx, my, x1, y1, radius);
    *at = (spot){ mx, my };
    return true;
}

/* A point on an edge of copper and the direction that leads out of it. */
static bool find_edge(tl_rng *rng, const tl_canvas *canvas, spot *edge, spot *outward)
{
    spot p = random_spot(rng), d = random_direction(rng);
    if (!tl_canvas_is_copper(canvas, p.x, p.y)) return false;
    float far = tl_canvas_reach(canvas, p.x, p.y, d.x, d.y, false, 12.0f);
    if (far >= 12.0f) return false;
    *edge = (spot){ p.x + d.x * (far - 0.5f), p.y + d.y * (far - 0.5f) };
    *outward = d;
    float low = TL_CANVAS_MARGIN + 7.0f, high = TL_CANVAS_SIDE - 1.0f - low;
    if (fminf(edge->x, edge->y) < low || fmaxf(edge->x, edge->y) > high) return false;
    /* The edge runs across the direction: one step out, both neighbours are bare. */
    float ox = edge->x + d.x * 1.6f, oy = edge->y + d.y * 1.6f;
    float ix = edge->x - d.x * 1.6f, iy = edge->y - d.y * 1.6f;
    return !tl_canvas_is_copper(canvas, ox - d.y * 3.0f, oy + d.x * 3.0f) &&
           !tl_canvas_is_copper(canvas, ox + d.y * 3.0f, oy - d.x * 3.0f) &&
           tl_canvas_is_copper(canvas, ix - d.y * 3.0f, iy + d.x * 3.0f) &&
           tl_canvas_is_copper(canvas, ix + d.y * 3.0f, iy - d.x * 3.0f);
}

static bool draw_mousebite(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas, spot *at)
{
    (void)line;
    spot edge, out;
    if (!find_edge(rng, canvas, &edge, &out)) return false;
    float thick = tl_canvas_reach(canvas, edge.x, edge.y, -out.x, -out.y, false, 14.0f);
    float depth = fminf(between(rng, 2.4f, 5.0f), 0.65f * thick);
    if (depth < 2.2f) return false;
    float radius = fminf(between(rng, 1.8f, 2.8f), depth); /* the bite ends `depth` inside */
    float x = edge.x - out.x * (depth - radius), y = edge.y - out.y * (depth - radius);
    tl_canvas_stroke(canvas, TL_INK_CUT, x, y, edge.x + out.x * 0.8f, edge.y + out.y * 0.8f,
                     radius);
    float slide = between(rng, -2.0f, 2.0f);
    tl_canvas_disc(canvas, TL_INK_CUT, edge.x - out.y * slide, edge.y + out.x * slide,
                   between(rng, 0.9f, 1.6f));
    *at = (spot){ x, y };
    return true;
}

static bool draw_spur(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas, spot *at)
{
    (void)line;
    spot edge, out;
    if (!find_edge(rng, canvas, &edge, &out)) return false;
    float start = 1.5f;
    float free_px = start + tl_canvas_reach(canvas, edge.x + out.x * start, edge.y + out.y * start,
                                            out.x, out.y, true, 14.0f);
    float length = fminf(between(rng, 3.0f, 6.0f), free_px - 2.6f);
    if (length < 2.6f) return false;
    float lean = between(rng, -1.2f, 1.2f);
    float x = edge.x + out.x * length - out.y * lean, y = edge.y + out.y * length + out.x * lean;
    tl_canvas_stroke(canvas, TL_INK_ADD, edge.x - out.x, edge.y - out.y, x, y,
                     between(rng, 1.2f, 1.9f));
    tl_canvas_disc(canvas, TL_INK_ADD, edge.x, edge.y, between(rng, 1.2f, 2.0f));
    *at = (spot){ (edge.x + x) / 2.0f, (edge.y + y) / 2.0f };
    return true;
}

static bool draw_copper(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas, spot *at)
{
    spot p = random_spot(rng);
    float radius = between(rng, 2.2f, fminf(4.0f, 1.6f + line->gap_px * 0.4f));
    if (!tl_canvas_is_all(canvas, p.x, p.y, radius + 1.6f, false)) return false;
    blob(canvas, TL_INK_ADD, rng, p.x, p.y, radius);
    *at = p;
    return true;
}

static bool draw_pinhole(const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas, spot *at)
{
    (void)line;
    spot p = random_spot(rng);
    float radius = between(rng, 2.0f, 3.6f);
    if (!tl_canvas_is_all(canvas, p.x, p.y, radius + 1.0f, true)) return false;
    blob(canvas, TL_INK_CUT, rng, p.x, p.y, radius);
    *at = p;
    return true;
}

bool tl_defect_draw(tl_sim_class kind, const tl_sim_line *line, tl_rng *rng, tl_canvas *canvas,
                    float *x, float *y)
{
    static bool (*const draw[TL_SIM_CLASS_COUNT])(
        const tl_sim_line *, tl_rng *, tl_canvas *,
        spot *) = { [TL_SIM_OPEN] = draw_open,           [TL_SIM_SHORT] = draw_short,
                    [TL_SIM_MOUSEBITE] = draw_mousebite, [TL_SIM_SPUR] = draw_spur,
                    [TL_SIM_COPPER] = draw_copper,       [TL_SIM_PINHOLE] = draw_pinhole };
    TL_ASSERT((int)kind > TL_SIM_OK);
    TL_ASSERT((int)kind < TL_SIM_CLASS_COUNT);
    spot at;
    for (int i = 0; i < TRY_COUNT; i++) {
        if (!draw[kind](line, rng, canvas, &at)) continue;
        *x = at.x;
        *y = at.y;
        return true;
    }
    return false;
}

#include "sim/board.h"

#include "sim/canvas.h"
#include "sim/layout.h"

#include <math.h>
#include <string.h>

const char *const TL_SIM_CLASSES[TL_SIM_CLASS_COUNT] = { "ok",   "open",   "short",   "mousebite",
                                                         "spur", "copper", "pin-hole" };

enum {
    BARE_LEVEL = 52, /* grey of the solder mask and of copper on a golden template */
    COPPER_LEVEL = 200,
    STREAM_LINE = 1, /* names of the random streams */
    STREAM_PLACE = 2,
    STREAM_BOARD = 3,
    PLACE_TRY_COUNT = 64
};

static float between(tl_rng *rng, float low, float high)
{
    return low + (high - low) * (float)tl_rng_unit(rng);
}

static void seed_stream(tl_rng *rng, uint64_t seed, uint64_t stream, uint32_t line, uint64_t index)
{
    tl_rng_seed(rng, seed, tl_mix64(tl_mix64(stream ^ ((uint64_t)line << 8)) ^ index));
}

void tl_sim_line_draw(uint64_t seed, uint32_t line, tl_sim_line *out)
{
    tl_rng rng;
    seed_stream(&rng, seed, STREAM_LINE, line, 0);
    *out = (tl_sim_line){
        .trace_px = between(&rng, 4.0f, 7.5f),
        .gap_px = between(&rng, 4.5f, 7.5f),
        .gain = between(&rng, 0.88f, 1.10f),
        .offset = between(&rng, -9.0f, 9.0f),
        .slope = between(&rng, 0.0f, 12.0f),
        .slope_angle = between(&rng, 0.0f, 6.2831853f),
        .noise = between(&rng, 2.0f, 5.0f),
        .blur = between(&rng, 0.0f, 0.6f),
        .jitter_px = between(&rng, 0.15f, 0.5f),
        .etch_px = between(&rng, 0.05f, 0.2f),
        .dust_rate = between(&rng, 0.05f, 0.3f),
    };
}

static void draw_place(uint64_t seed, uint32_t line_number, const tl_sim_line *line, uint32_t place,
                       tl_canvas *out)
{
    tl_rng rng;
    seed_stream(&rng, seed, STREAM_PLACE, line_number, place);
    tl_layout_draw(line, &rng, out);
}

static uint8_t to_grey(float level)
{
    if (level <= 0.0f) return 0;
    return level >= 255.0f ? 255 : (uint8_t)(level + 0.5f);
}

static void take_reference(const tl_canvas *canvas, uint8_t out[TL_SIM_PIXELS])
{
    for (int y = 0; y < TL_SIM_SIDE; y++) {
        const float *row = &canvas->cover[y + TL_CANVAS_MARGIN][TL_CANVAS_MARGIN];
        for (int x = 0; x < TL_SIM_SIDE; x++)
            out[y * TL_SIM_SIDE + x] = to_grey(BARE_LEVEL + (COPPER_LEVEL - BARE_LEVEL) * row[x]);
    }
}

/* ---- The camera ------------------------------------------------------------------------------ */

/* Weights (w, 1 - 2w, w) along both axes; the border is repeated. */
static void blur(tl_canvas *canvas, float w)
{
    tl_canvas half;
    const int last = TL_CANVAS_SIDE - 1;
    for (int y = 0; y <= last; y++) {
        const float *row = canvas->cover[y];
        for (int x = 0; x <= last; x++)
            half.cover[y][x] = w * (row[x > 0 ? x - 1 : 0] + row[x < last ? x + 1 : last]) +
                               (1.0f - 2.0f * w) * row[x];
    }
    for (int y = 0; y <= last; y++) {
        const float *above = half.cover[y > 0 ? y - 1 : 0];
        const float *below = half.cover[y < last ? y + 1 : last];
        for (int x = 0; x <= last; x++)
            canvas->cover[y][x] = w * (above[x] + below[x]) + (1.0f - 2.0f * w) * half.cover[y][x];
    }
}

/* Move every edge outward by `px` (inward when negative): soften, then steepen around a level. */
static void etch(tl_canvas *canvas, float px)
{
    blur(canvas, 0.25f);
    for (int y = 0; y < TL_CANVAS_SIDE; y++) {
        for (int x = 0; x < TL_CANVAS_SIDE; x++) {
            float c = (canvas->cover[y][x] - 0.5f) * 1.8f + 0.5f + px * 0.8f;
            canvas->cover[y][x] = fminf(1.0f, fmaxf(0.0f, c));
        }
    }
}

/* Specks and hairs that lie on the board: small, of low contrast, harmless. */
typedef struct dust {
    float x, y, radius, level;
} dust;

enum { DUST_MAX = 3 };

static int draw_dust(const tl_sim_line *line, tl_rng *rng, dust out[DUST_MAX])
{
    int count = 0;
    while (count < DUST_MAX && tl_rng_unit(rng) < line->dust_rate) {
        float level = between(rng, 20.0f, 50.0f);
        out[count++] = (dust){ between(rng, 0.0f, 63.0f), between(rng, 0.0f, 63.0f),
                               between(rng, 0.4f, 1.0f), tl_rng_unit(rng) < 0.5 ? level : -level };
    }
    return count;
}

static void add_dust(float levels[TL_SIM_PIXELS], const dust *specks, int count)
{
    for (int i = 0; i < count; i++) {
        const dust *d = &specks[i];
        for (int y = (int)d->y - 2; y <= (int)d->y + 3; y++) {
            for (int x = (int)d->x - 2; x <= (int)d->x + 3; x++) {
                if (x < 0 || y < 0 || x >= TL_SIM_SIDE || y >= TL_SIM_SIDE) continue;
                float distance = hypotf((float)x - d->x, (float)y - d->y) - d->radius;
                float inside = fminf(1.0f, fmaxf(0.0f, 0.5f - distance));
                levels[y * TL_SIM_SIDE + x] += inside * d->level;
            }
        }
    }
}

/* Roughly normal, standard deviation 1: eight bytes of one draw, added up. */
static float cheap_normal(uint64_t bits)
{
    const uint64_t even = 0x00ff00ff00ff00ffULL;
    uint64_t pairs = (bits & even) + ((bits >> 8) & even); /* four sums of two bytes */
    pairs *= 0x0001000100010001ULL;                        /* their total in the top 16 bits */
    return ((float)(pairs >> 48) - 1020.0f) / 209.0f;
}

/* What the camera sees of `canvas`, shifted by (dx, dy) pixels, under the line's light. */
static void take_image(const tl_canvas *canvas, const tl_sim_line *line, tl_rng *rng, float dx,
                       float dy, uint8_t out[TL_SIM_PIXELS])
{
    float gain = line->gain * between(rng, 0.95f, 1.05f);
    float offset = line->offset + between(rng, -5.0f, 5.0f);
    float slope_x = line->slope / TL_SIM_SIDE * cosf(line->slope_angle);
    float slope_y = line->slope / TL_SIM_SIDE * sinf(line->slope_angle);
    float left = (float)TL_CANVAS_MARGIN - dx, top = (float)TL_CANVAS_MARGIN - dy;
    int x0 = (int)floorf(left), y0 = (int)floorf(top);
    float fx = left - (float)x0, fy = top - (float)y0;
    float levels[TL_SIM_PIXELS];
    for (int y = 0; y < TL_SIM_SIDE; y++) {
        const float *upper = &canvas->cover[y0 + y][x0], *lower = &canvas->cover[y0 + y + 1][x0];
        for (int x = 0; x < TL_SIM_SIDE; x++) {
            float a = upper[x] + fx * (upper[x + 1] - upper[x]);
            float b = lower[x] + fx * (lower[x + 1] - lower[x]);
            float cover = a + fy * (b - a);
            float light = slope_x * (float)(x - 32) + slope_y * (float)(y - 32);
            levels[y * TL_SIM_SIDE + x] =
                gain * (BARE_LEVEL + (COPPER_LEVEL - BARE_LEVEL) * cover) + offset + light;
        }
    }
    dust specks[DUST_MAX];
    add_dust(levels, specks, draw_dust(line, rng, specks));
    for (int i = 0; i < TL_SIM_PIXELS; i++)
        out[i] = to_grey(levels[i] + line->noise * cheap_normal(tl_rng_u64(rng)));
}

/* ---- Boards ---------------------------------------------------------------------------------- */

static void draw_board(const tl_sim_plant *plant, uint32_t line_number, tl_sim_class label,
                       tl_rng *rng, tl_sim_board *out)
{
    tl_sim_line line;
    tl_sim_line_draw(plant->seed, line_number, &line);
    tl_canvas canvas;
    float x = 0.0f, y = 0.0f;
    bool placed = false;
    for (int i = 0; i < PLACE_TRY_COUNT && !placed; i++) {
        out->place = (uint32_t)tl_rng_below(rng, TL_SIM_PLACE_COUNT);
        draw_place(plant->seed, line_number, &line, out->place, &canvas);
        take_reference(&canvas, out->reference);
        placed = label == TL_SIM_OK || tl_defect_draw(label, &line, rng, &canvas, &x, &y);
    }
    /* A product without room for this kind of defect in 64 places does not have it. */
    out->label = placed ? (uint32_t)label : TL_SIM_OK;
    float dx = between(rng, -line.jitter_px, line.jitter_px);
    float dy = between(rng, -line.jitter_px, line.jitter_px);
    out->defect_x = out->label == TL_SIM_OK ? -1.0f : x - TL_CANVAS_MARGIN + dx;
    out->defect_y = out->label == TL_SIM_OK ? -1.0f : y - TL_CANVAS_MARGIN + dy;
    etch(&canvas, line.etch_px * between(rng, -1.0f, 1.0f));
    blur(&canvas, 0.02f + 0.2f * line.blur * between(rng, 0.6f, 1.0f));
    take_image(&canvas, &line, rng, dx, dy, out->image);
}

void tl_sim_board_draw(const tl_sim_plant *plant, uint32_t line, uint64_t index, tl_sim_board *out)
{
    tl_rng rng;
    seed_stream(&rng, plant->seed, STREAM_BOARD, line, index);
    tl_sim_class label = TL_SIM_OK;
    if (tl_rng_unit(&rng) < plant->defect_rate)
        label = (tl_sim_class)(1 + tl_rng_below(&rng, TL_SIM_CLASS_COUNT - 1));
    draw_board(plant, line, label, &rng, out);
}

void tl_sim_board_draw_class(const tl_sim_plant *plant, uint32_t line, uint64_t index,
                             tl_sim_class label, tl_sim_board *out)
{
    TL_ASSERT((int)label < TL_SIM_CLASS_COUNT);
    tl_rng rng;
    seed_stream(&rng, plant->seed, STREAM_BOARD, line, index);
    (void)tl_rng_u64(&rng);
    (void)tl_rng_u64(&rng);
    draw_board(plant, line, label, &rng, out);
}

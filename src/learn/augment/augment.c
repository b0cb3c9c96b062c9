#include "learn/augment/augment.h"

#include "learn/augment/colour.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GREY = 114, SAMPLES_MAX = 4 };
#define PI            3.14159265358979323846
#define SIDE_MIN      2.0 /* pixels of a box that stays */
#define AREA_LEFT_MIN 0.1

/* x' = a x + b y + c, y' = d x + e y + f. */
typedef struct affine {
    double a, b, c, d, e, f;
} affine;

typedef struct rectangle {
    double x1, y1, x2, y2;
} rectangle;

/* What was drawn for an item. */
typedef struct drawn {
    affine to_output, to_canvas; /* canvas and output pixels */
    rectangle canvas;
    double meet_x, meet_y; /* of a mosaic */
    uint32_t sources, transform;
    tl_colour colour;
    rectangle erased; /* empty: nothing */
} drawn;

struct tl_augment {
    tl_pixels_form form;
    tl_augment_options options;
    bool mosaic;
    drawn now;
    uint32_t added;
    uint8_t *image, *reference; /* [h, w, c] of the form */
    tl_truth *truths;
    size_t truth_count, truth_max;
};

/* ---- Options --------------------------------------------------------------------------------- */

tl_augment_options tl_augment_options_none(void)
{
    return (tl_augment_options){ .scale = 0.0f };
}

tl_augment_options tl_augment_options_classify(void)
{
    return (tl_augment_options){ .mirror_chance = 0.5f,
                                 .scale = 0.15f,
                                 .translate = 0.1f,
                                 .hue = 0.015f,
                                 .saturation = 0.3f,
                                 .brightness = 0.15f,
                                 .contrast = 0.15f };
}

tl_augment_options tl_augment_options_detect(void)
{
    return (tl_augment_options){ .mirror_chance = 0.5f,
                                 .scale = 0.5f,
                                 .translate = 0.1f,
                                 .hue = 0.015f,
                                 .saturation = 0.7f,
                                 .value = 0.4f,
                                 .mosaic_chance = 1.0f };
}

static tl_status check_options(const tl_augment_options *o, tl_error *err)
{
    const float shares[] = { o->mirror_chance, o->flip_chance,  o->translate,  o->hue,
                             o->saturation,    o->value,        o->brightness, o->contrast,
                             o->erase_chance,  o->mosaic_chance };
    bool sane = o->scale >= 0.0f && o->scale <= 0.95f && o->rotate >= 0.0f && o->rotate <= 180.0f;
    for (size_t i = 0; i < TL_COUNT_OF(shares); i++)
        sane = sane && shares[i] >= 0.0f && shares[i] <= 1.0f;
    return sane ? TL_OK
                : tl_fail(err, TL_EINVAL,
                          "augmentation: shares and chances are 0 to 1, scale at most 0.95, rotate "
                          "at most 180 degrees");
}

tl_status tl_augment_create(const tl_pixels_form *form, const tl_augment_options *options,
                            size_t truth_max, tl_augment **out, tl_error *err)
{
    tl_status status = check_options(options, err);
    if (status != TL_OK) return status;
    tl_augment *augment = calloc(1, sizeof *augment);
    if (augment == NULL) return tl_fail(err, TL_ENOMEM, "augmentation");
    const size_t bytes = (size_t)form->height * form->width * form->channels;
    augment->form = *form;
    augment->options = *options;
    augment->mosaic = true;
    augment->truth_max = truth_max;
    augment->image = malloc(bytes + 1);
    augment->reference = malloc(bytes + 1);
    augment->truths = calloc(truth_max + 1, sizeof *augment->truths);
    if (augment->image == NULL || augment->reference == NULL || augment->truths == NULL) {
        tl_augment_destroy(&augment);
        return tl_fail(err, TL_ENOMEM, "augmentation of %zu pixels", bytes);
    }
    *out = augment;
    return TL_OK;
}

void tl_augment_destroy(tl_augment **augment)
{
    if (augment == NULL || *augment == NULL) return;
    free((*augment)->image);
    free((*augment)->reference);
    free((*augment)->truths);
    free(*augment);
    *augment = NULL;
}

void tl_augment_set_mosaic(tl_augment *augment, bool on)
{
    augment->mosaic = on;
}

/* ---- Drawing --------------------------------------------------------------------------------- */

static double between(tl_rng *rng, double low, double high)
{
    return low + (high - low) * tl_rng_unit(rng);
}

static void draw_place(tl_augment *augment, tl_rng *rng)
{
    const tl_augment_options *o = &augment->options;
    drawn *now = &augment->now;
    const double height = augment->form.height, width = augment->form.width;
    const double twice = now->sources == 1 ? 1.0 : 2.0;
    now->canvas = (rectangle){ 0.0, 0.0, twice * width, twice * height };
    now->meet_x = between(rng, 0.5, 1.5) * width;
    now->meet_y = between(rng, 0.5, 1.5) * height;
    double scale = between(rng, 1.0 - (double)o->scale, 1.0 + (double)o->scale);
    double angle = between(rng, -1.0, 1.0) * (double)o->rotate * PI / 180.0;
    double x = width * (0.5 + between(rng, -1.0, 1.0) * (double)o->translate);
    double y = height * (0.5 + between(rng, -1.0, 1.0) * (double)o->translate);
    double c = cos(angle), s = sin(angle);
    double middle_x = now->canvas.x2 / 2.0, middle_y = now->canvas.y2 / 2.0;
    affine *to = &now->to_output, *from = &now->to_canvas;
    *to = (affine){ .a = scale * c, .b = -scale * s, .d = scale * s, .e = scale * c };
    to->c = x - to->a * middle_x - to->b * middle_y;
    to->f = y - to->d * middle_x - to->e * middle_y;
    *from = (affine){ .a = c / scale, .b = s / scale, .d = -s / scale, .e = c / scale };
    from->c = middle_x - from->a * x - from->b * y;
    from->f = middle_y - from->d * x - from->e * y;
}

static uint32_t draw_transform(const tl_augment *augment, tl_rng *rng)
{
    const tl_augment_options *o = &augment->options;
    uint32_t any = (uint32_t)tl_rng_below(rng, tl_pixels_transform_count(&augment->form));
    bool mirror = tl_rng_unit(rng) < (double)o->mirror_chance;
    bool flip = tl_rng_unit(rng) < (double)o->flip_chance;
    return o->symmetries ? any : (mirror ? 1u : 0u) | (flip ? 2u : 0u);
}

static rectangle draw_erased(const tl_augment *augment, tl_rng *rng)
{
    const double height = augment->form.height, width = augment->form.width;
    bool happens = tl_rng_unit(rng) < (double)augment->options.erase_chance;
    double area = between(rng, 0.02, 0.2) * height * width;
    double aspect = exp(between(rng, log(0.3), log(1.0 / 0.3)));
    double wide = fmin(sqrt(area * aspect), width), high = fmin(sqrt(area / aspect), height);
    double x = floor(between(rng, 0.0, width - wide)), y = floor(between(rng, 0.0, height - high));
    return happens ? (rectangle){ x, y, floor(x + wide), floor(y + high) } : (rectangle){ 0 };
}

uint32_t tl_augment_begin(tl_augment *augment, tl_rng *rng)
{
    const tl_augment_options *o = &augment->options;
    const size_t bytes =
        (size_t)augment->form.height * augment->form.width * augment->form.channels;
    bool mosaic = tl_rng_unit(rng) < (double)o->mosaic_chance;
    augment->now.sources = mosaic && augment->mosaic ? TL_AUGMENT_SOURCES_MAX : 1;
    draw_place(augment, rng);
    augment->now.transform = draw_transform(augment, rng);
    augment->now.erased = draw_erased(augment, rng);
    const tl_colour most = { .hue = (double)o->hue,
                             .saturation = (double)o->saturation,
                             .value = (double)o->value,
                             .brightness = (double)o->brightness,
                             .contrast = (double)o->contrast };
    augment->now.colour = tl_colour_draw(&most, rng);
    augment->added = 0;
    augment->truth_count = 0;
    memset(augment->image, GREY, bytes);
    memset(augment->reference, GREY, bytes);
    return augment->now.sources;
}

/* ---- Resampling ------------------------------------------------------------------------------ */

/* How one source lies on the canvas. */
typedef struct tile {
    rectangle covers;   /* of the canvas */
    double scale, x, y; /* canvas = source * scale + (x, y) */
    affine to_source;   /* from output pixels */
    uint32_t samples;   /* an output pixel in each direction */
} tile;

static tile place(const tl_augment *augment, const tl_augment_source *source)
{
    const double height = augment->form.height, width = augment->form.width;
    const drawn *now = &augment->now;
    tile t = { .scale = fmin(height / source->height, width / source->width) };
    const double wide = source->width * t.scale, high = source->height * t.scale;
    if (now->sources == 1) {
        t.x = (width - wide) / 2.0;
        t.y = (height - high) / 2.0;
    } else { /* the inner corner of each lies at the meeting point */
        t.x = augment->added % 2 == 0 ? now->meet_x - wide : now->meet_x;
        t.y = augment->added / 2 == 0 ? now->meet_y - high : now->meet_y;
    }
    const rectangle *all = &now->canvas;
    t.covers = (rectangle){ fmax(t.x, all->x1), fmax(t.y, all->y1), fmin(t.x + wide, all->x2),
                            fmin(t.y + high, all->y2) };
    const affine *from = &now->to_canvas;
    t.to_source = (affine){ from->a / t.scale, from->b / t.scale, (from->c - t.x) / t.scale,
                            from->d / t.scale, from->e / t.scale, (from->f - t.y) / t.scale };
    double shrinks = hypot(t.to_source.a, t.to_source.d);
    t.samples = (uint32_t)fmin(fmax(ceil(shrinks - 0.01), 1.0), SAMPLES_MAX);
    return t;
}

/* The four pixels about a point of a source, and their weights. */
typedef struct sample {
    size_t at[4];
    float weight[4];
} sample;

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

static sample sample_at(const tl_augment_source *source, uint32_t channels, double x, double y)
{
    x = clamp(x - 0.5, 0.0, source->width - 1.0);
    y = clamp(y - 0.5, 0.0, source->height - 1.0);
    size_t left = (size_t)x, top = (size_t)y;
    size_t right = left + 1 < source->width ? left + 1 : left;
    size_t bottom = top + 1 < source->height ? top + 1 : top;
    float u = (float)(x - (double)left), v = (float)(y - (double)top);
    const size_t row = (size_t)source->width * channels;
    return (sample){ { top * row + left * channels, top * row + right * channels,
                       bottom * row + left * channels, bottom * row + right * channels },
                     { (1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u } };
}

/* One output pixel: the mean of the samples that the tile covers, if it covers the middle. */
static void render_pixel(tl_augment *augment, const tl_augment_source *source, const tile *t,
                         uint32_t px, uint32_t py)
{
    const uint32_t channels = augment->form.channels, n = t->samples;
    const affine *c = &augment->now.to_canvas, *s = &t->to_source;
    double mx = px + 0.5, my = py + 0.5;
    double u = c->a * mx + c->b * my + c->c, v = c->d * mx + c->e * my + c->f;
    if (!(u >= t->covers.x1 && u < t->covers.x2 && v >= t->covers.y1 && v < t->covers.y2)) return;
    float sums[2][4] = { { 0 } };
    for (uint32_t i = 0; i < n * n; i++) {
        double x = px + (i % n + 0.5) / n, y = py + (double)(i / n + 0.5) / n;
        sample at =
            sample_at(source, channels, s->a * x + s->b * y + s->c, s->d * x + s->e * y + s->f);
        for (uint32_t k = 0; k < channels; k++)
            for (int corner = 0; corner < 4; corner++) {
                size_t from = at.at[corner] + k;
                sums[0][k] += at.weight[corner] * (float)source->image[from];
                if (source->reference != NULL)
                    sums[1][k] += at.weight[corner] * (float)source->reference[from];
            }
    }
    const size_t to = ((size_t)py * augment->form.width + px) * channels;
    const float share = 1.0f / (float)(n * n);
    for (uint32_t k = 0; k < channels; k++) {
        augment->image[to + k] = (uint8_t)(sums[0][k] * share + 0.5f);
        if (source->reference != NULL)
            augment->reference[to + k] = (uint8_t)(sums[1][k] * share + 0.5f);
    }
}

/* ---- Boxes ----------------------------------------------------------------------------------- */

static rectangle clip(rectangle r, const rectangle *by)
{
    return (rectangle){ clamp(r.x1, by->x1, by->x2), clamp(r.y1, by->y1, by->y2),
                        clamp(r.x2, by->x1, by->x2), clamp(r.y2, by->y1, by->y2) };
}

static double area_of(const rectangle *r)
{
    return (r->x2 - r->x1) * (r->y2 - r->y1);
}

/* What encloses the corners of a canvas rectangle in the output. */
static rectangle move(const affine *to, const rectangle *r)
{
    const double xs[2] = { r->x1, r->x2 }, ys[2] = { r->y1, r->y2 };
    rectangle out = { INFINITY, INFINITY, -INFINITY, -INFINITY };
    for (int i = 0; i < 4; i++) {
        double x = to->a * xs[i % 2] + to->b * ys[i / 2] + to->c;
        double y = to->d * xs[i % 2] + to->e * ys[i / 2] + to->f;
        out.x1 = fmin(out.x1, x);
        out.x2 = fmax(out.x2, x);
        out.y1 = fmin(out.y1, y);
        out.y2 = fmax(out.y2, y);
    }
    return out;
}

static void add_truth(tl_augment *augment, const tile *t, const tl_truth *truth)
{
    const rectangle output = { 0.0, 0.0, augment->form.width, augment->form.height };
    rectangle box = { (double)truth->box.x1 * t->scale + t->x,
                      (double)truth->box.y1 * t->scale + t->y,
                      (double)truth->box.x2 * t->scale + t->x,
                      (double)truth->box.y2 * t->scale + t->y };
    const rectangle whole = move(&augment->now.to_output, &box);
    box = clip(box, &t->covers);
    box = move(&augment->now.to_output, &box);
    box = clip(box, &output);
    bool stays = box.x2 - box.x1 >= SIDE_MIN && box.y2 - box.y1 >= SIDE_MIN &&
                 area_of(&box) >= AREA_LEFT_MIN * area_of(&whole);
    if (!stays || augment->truth_count == augment->truth_max) return;
    augment->truths[augment->truth_count++] =
        (tl_truth){ { (float)box.x1, (float)box.y1, (float)box.x2, (float)box.y2 }, truth->label };
}

/* As tl_pixels_convert turns the picture. */
static void turn_truths(tl_augment *augment)
{
    const float width = (float)augment->form.width, height = (float)augment->form.height;
    const uint32_t transform = augment->now.transform;
    for (size_t i = 0; i < augment->truth_count; i++) {
        tl_box *box = &augment->truths[i].box;
        if (transform & 4) *box = (tl_box){ box->y1, box->x1, box->y2, box->x2 };
        if (transform & 1) *box = (tl_box){ width - box->x2, box->y1, width - box->x1, box->y2 };
        if (transform & 2) *box = (tl_box){ box->x1, height - box->y2, box->x2, height - box->y1 };
    }
}

/* ---- Items ----------------------------------------------------------------------------------- */

void tl_augment_add(tl_augment *augment, const tl_augment_source *source)
{
    TL_ASSERT(augment->added < augment->now.sources);
    TL_ASSERT((source->reference != NULL) == augment->form.has_template);
    const tile t = place(augment, source);
    rectangle seen = move(&augment->now.to_output, &t.covers);
    const rectangle output = { 0.0, 0.0, augment->form.width, augment->form.height };
    seen = clip(seen, &output);
    for (uint32_t y = (uint32_t)seen.y1; y < (uint32_t)ceil(seen.y2); y++)
        for (uint32_t x = (uint32_t)seen.x1; x < (uint32_t)ceil(seen.x2); x++)
            render_pixel(augment, source, &t, x, y);
    for (size_t i = 0; i < source->truths.count; i++)
        add_truth(augment, &t, &source->truths.items[i]);
    augment->added++;
}

static void erase(tl_augment *augment)
{
    const rectangle *r = &augment->now.erased;
    const size_t channels = augment->form.channels;
    const size_t bytes = (size_t)(r->x2 - r->x1) * channels;
    for (size_t y = (size_t)r->y1; y < (size_t)r->y2; y++) {
        size_t at = (y * augment->form.width + (size_t)r->x1) * channels;
        memset(augment->image + at, GREY, bytes);
        memset(augment->reference + at, GREY, bytes);
    }
}

void tl_augment_finish(tl_augment *augment, float *input, tl_truths *truths)
{
    TL_ASSERT(augment->added == augment->now.sources);
    const tl_pixels_form *form = &augment->form;
    const size_t pixels = (size_t)form->height * form->width;
    tl_colour_apply(&augment->now.colour, form->channels, pixels, augment->image);
    if (form->has_template)
        tl_colour_apply(&augment->now.colour, form->channels, pixels, augment->reference);
    erase(augment);
    tl_pixels_convert(form, augment->image, form->has_template ? augment->reference : NULL,
                      augment->now.transform, input);
    turn_truths(augment);
    if (truths != NULL) *truths = (tl_truths){ augment->truths, augment->truth_count };
}

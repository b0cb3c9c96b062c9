#include "learn/augment/colour.h"

#include <math.h>

tl_colour tl_colour_draw(const tl_colour *limits, tl_rng *rng)
{
    double draws[5];
    for (int i = 0; i < 5; i++) draws[i] = 2.0 * tl_rng_unit(rng) - 1.0;
    return (tl_colour){ .hue = draws[0] * limits->hue,
                        .saturation = 1.0 + draws[1] * limits->saturation,
                        .value = 1.0 + draws[2] * limits->value,
                        .brightness = draws[3] * limits->brightness,
                        .contrast = 1.0 + draws[4] * limits->contrast };
}

/* Not fmin and fmax: those are calls, several for each number of each image. */
static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most_of(double a, double b)
{
    return a > b ? a : b;
}

static uint8_t to_byte(double value)
{
    return (uint8_t)least(most_of(value + 0.5, 0.0), 255.0);
}

/* Value, brightness and contrast act on every channel alike: one table. */
static void apply_tones(const tl_colour *colour, size_t bytes, uint8_t *pixels)
{
    uint8_t table[256];
    for (int v = 0; v < 256; v++) {
        double changed = v * colour->value;
        changed = (changed - 127.5) * colour->contrast + 127.5 + 255.0 * colour->brightness;
        table[v] = to_byte(changed);
    }
    for (size_t i = 0; i < bytes; i++) pixels[i] = table[pixels[i]];
}

/* Hue and saturation; the largest channel stays. */
static void turn(const tl_colour *colour, uint8_t *rgb)
{
    const double r = rgb[0], g = rgb[1], b = rgb[2];
    const double most = most_of(r, most_of(g, b)), range = most - least(r, least(g, b));
    if (!(range > 0.0)) return; /* grey */
    double hue = most == r   ? (g - b) / range
                 : most == g ? 2.0 + (b - r) / range
                             : 4.0 + (r - g) / range; /* in sixths of the circle */
    hue += 6.0 * colour->hue;
    hue -= 6.0 * floor(hue / 6.0);
    const double saturation = least(range / most * colour->saturation, 1.0);
    for (int i = 0; i < 3; i++) {
        double k = (i == 0 ? 5.0 : i == 1 ? 3.0 : 1.0) + hue;
        if (k >= 6.0) k -= 6.0;
        double part = most_of(0.0, least(least(k, 4.0 - k), 1.0));
        rgb[i] = to_byte(most * (1.0 - saturation * part));
    }
}

void tl_colour_apply(const tl_colour *colour, uint32_t channels, size_t count, uint8_t *pixels)
{
    bool turns = channels == 3 && (colour->hue != 0.0 || colour->saturation != 1.0);
    for (size_t i = 0; i < count && turns; i++) turn(colour, pixels + 3 * i);
    if (colour->value != 1.0 || colour->contrast != 1.0 || colour->brightness != 0.0)
        apply_tones(colour, count * channels, pixels);
}

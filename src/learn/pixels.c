#include "learn/pixels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

size_t tl_pixels_item_bytes(const tl_pixels_form *form)
{
    size_t bytes = (size_t)form->height * form->width * form->channels;
    return form->has_template ? 2 * bytes : bytes;
}

uint32_t tl_pixels_input_channels(const tl_pixels_form *form)
{
    if (form->repeat && !form->has_template) return 3;
    return form->has_template ? 3 * form->channels : form->channels;
}

size_t tl_pixels_input_count(const tl_pixels_form *form)
{
    return (size_t)form->height * form->width * tl_pixels_input_channels(form);
}

uint32_t tl_pixels_transform_count(const tl_pixels_form *form)
{
    return form->height == form->width ? 8 : 4;
}

/* ---- Registration ---------------------------------------------------------------------------- */

static uint32_t row_difference(const uint8_t *a, const uint8_t *b, size_t count)
{
    uint32_t sum = 0;
    size_t i = 0;
#if defined(__SSE2__)
    __m128i sums = _mm_setzero_si128();
    for (; i + 16 <= count; i += 16)
        sums = _mm_add_epi64(sums, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)(a + i)),
                                                _mm_loadu_si128((const __m128i *)(b + i))));
    if (i + 8 <= count) {
        sums = _mm_add_epi64(sums, _mm_sad_epu8(_mm_loadl_epi64((const __m128i *)(a + i)),
                                                _mm_loadl_epi64((const __m128i *)(b + i))));
        i += 8;
    }
    sum = (uint32_t)_mm_cvtsi128_si32(sums) + (uint32_t)_mm_cvtsi128_si32(_mm_srli_si128(sums, 8));
#endif
    for (; i < count; i++) sum += (uint32_t)abs(a[i] - b[i]);
    return sum;
}

static uint32_t usable_align(const tl_pixels_form *form)
{
    uint32_t side = form->height < form->width ? form->height : form->width;
    uint32_t align = form->align < side / 8 ? form->align : side / 8;
    return align < TL_PIXELS_ALIGN_MAX ? align : TL_PIXELS_ALIGN_MAX;
}

/* Over the middle part; gives up once it is above `limit`. */
static uint64_t difference(const tl_pixels_form *form, const uint8_t *image,
                           const uint8_t *reference, int dy, int dx, uint64_t limit)
{
    size_t margin = usable_align(form), c = form->channels, row = form->width * c;
    const uint8_t *a = image + margin * row + margin * c;
    const uint8_t *b =
        reference + (size_t)((int)margin + dy) * row + (size_t)((int)margin + dx) * c;
    uint64_t sum = 0;
    for (size_t y = 2 * margin; y < form->height && sum <= limit; y++, a += row, b += row)
        sum += row_difference(a, b, (form->width - 2 * margin) * c);
    return sum;
}

typedef struct fit {
    const tl_pixels_form *form;
    const uint8_t *image, *reference;
    uint64_t best;
    int dy, dx;
} fit;

static void try_shift(fit *f, int dy, int dx)
{
    uint64_t sum = difference(f->form, f->image, f->reference, dy, dx, f->best);
    if (sum >= f->best) return;
    f->best = sum;
    f->dy = dy;
    f->dx = dx;
}

/* Shifts by length, then dy, then dx: the first of several best ones is the one that is kept. */
void tl_pixels_align(const tl_pixels_form *form, const uint8_t *image, const uint8_t *reference,
                     int *dy, int *dx)
{
    static const int8_t ROOT[] = {
        [0] = 0, [1] = 1, [4] = 2, [9] = 3, [16] = 4, [25] = 5, [36] = 6, [49] = 7
    };
    int m = (int)usable_align(form);
    fit f = { .form = form, .image = image, .reference = reference, .best = UINT64_MAX };
    try_shift(&f, 0, 0);
    for (int square = 1; square <= 2 * m * m && f.best > 0; square++) {
        for (int y = -m; y <= m; y++) {
            int rest = square - y * y;
            if (rest < 0 || rest > m * m) continue;
            int x = ROOT[rest];
            if (x * x != rest) continue;
            try_shift(&f, y, -x);
            if (x > 0) try_shift(&f, y, x);
        }
    }
    *dy = f.dy;
    *dx = f.dx;
}

void tl_pixels_move(const tl_pixels_form *form, const uint8_t *image, const uint8_t *reference,
                    int dy, int dx, uint8_t *out)
{
    int height = (int)form->height, width = (int)form->width;
    size_t c = form->channels, row = form->width * c;
    int left = dx < 0 ? -dx : 0, right = dx > 0 ? width - dx : width; /* covered: left..right-1 */
    for (int y = 0; y < height; y++) {
        const uint8_t *own = image + (size_t)y * row;
        uint8_t *to = out + (size_t)y * row;
        bool covered = y + dy >= 0 && y + dy < height && left < right;
        if (!covered || dx != 0) memcpy(to, own, row);
        if (covered)
            memcpy(to + (size_t)left * c,
                   reference + (size_t)(y + dy) * row + (size_t)(left + dx) * c,
                   (size_t)(right - left) * c);
    }
}

void tl_pixels_register(const tl_pixels_form *form, const uint8_t *image, const uint8_t *reference,
                        uint8_t *out)
{
    int dy, dx;
    tl_pixels_align(form, image, reference, &dy, &dx);
    tl_pixels_move(form, image, reference, dy, dx, out);
}

/* ---- Conversion ------------------------------------------------------------------------------ */

/* Where the output's first pixel lies in the image, and how far its next pixel and row are. */
typedef struct walk {
    ptrdiff_t begin, pixel, row;
} walk;

static walk find_walk(const tl_pixels_form *form, uint32_t transform)
{
    ptrdiff_t c = (ptrdiff_t)form->channels, row = (ptrdiff_t)form->width * c;
    ptrdiff_t height = (ptrdiff_t)form->height, width = (ptrdiff_t)form->width;
    walk w = { .pixel = transform & 4 ? row : c, .row = transform & 4 ? c : row };
    if (transform & 1) { /* the mirrored axes are the output's */
        w.begin += w.pixel * (width - 1);
        w.pixel = -w.pixel;
    }
    if (transform & 2) {
        w.begin += w.row * (height - 1);
        w.row = -w.row;
    }
    return w;
}

/* Every byte's value, worked out by the compiler. */
#define FOUR(X, v)    X(v), X((v) + 1), X((v) + 2), X((v) + 3)
#define SIXTEEN(X, v) FOUR(X, v), FOUR(X, (v) + 4), FOUR(X, (v) + 8), FOUR(X, (v) + 12)
#define SIXTY_FOUR(X, v)                                                                           \
    SIXTEEN(X, v), SIXTEEN(X, (v) + 16), SIXTEEN(X, (v) + 32), SIXTEEN(X, (v) + 48)
#define EVERY_BYTE(X) SIXTY_FOUR(X, 0), SIXTY_FOUR(X, 64), SIXTY_FOUR(X, 128), SIXTY_FOUR(X, 192)
#define SIGNED(v)     ((float)(v) / 127.5f - 1.0f)
#define SHARE(v)      ((float)(v) / 255.0f)

static const float VALUE[256] = { EVERY_BYTE(SIGNED) };
static const float DIFFERENCE[256] = { EVERY_BYTE(SHARE) };

/* What bytes become in each of three channels, and differences. */
typedef struct value_tables {
    const float *of[3], *difference;
    float own[4][256]; /* unless they are the usual ones */
} value_tables;

static void find_values(const tl_pixels_form *form, value_tables *tables)
{
    tables->difference = DIFFERENCE;
    for (int k = 0; k < 3; k++) tables->of[k] = VALUE;
    if (form->std[0] == 0.0f) return;
    for (int k = 0; k < 3; k++) {
        for (int byte = 0; byte < 256; byte++)
            tables->own[k][byte] = ((float)byte - form->mean[k]) / form->std[k];
        tables->of[k] = tables->own[k];
    }
    for (int byte = 0; byte < 256; byte++)
        tables->own[3][byte] = (float)byte / (2.0f * form->std[2]);
    tables->difference = tables->own[3];
}

static void convert_alone(const tl_pixels_form *form, const uint8_t *image, walk w,
                          const value_tables *tables, float *out)
{
    size_t c = form->channels, planes = tl_pixels_input_channels(form);
    size_t step = planes == c ? 1 : 0; /* 0: a grey value for each plane */
    for (uint32_t y = 0; y < form->height; y++) {
        const uint8_t *at = image + w.begin + (ptrdiff_t)y * w.row;
        for (uint32_t x = 0; x < form->width; x++, at += w.pixel)
            for (size_t k = 0; k < planes; k++) *out++ = tables->of[k][at[k * step]];
    }
}

/* One pixel of a pair: image, template and difference of each of its c channels. */
static void convert_pixel(const uint8_t *a, const uint8_t *b, size_t c, const value_tables *tables,
                          float *out)
{
    for (size_t k = 0; k < c; k++) {
        size_t second = c == 1 ? 1 : k;
        out[k] = tables->of[k][a[k]];
        out[c + k] = tables->of[second][b[k]];
        out[2 * c + k] = tables->difference[a[k] > b[k] ? a[k] - b[k] : b[k] - a[k]];
    }
}

static void convert_pair(const tl_pixels_form *form, const uint8_t *image, const uint8_t *reference,
                         walk w, const value_tables *tables, float *out)
{
    size_t c = form->channels;
    for (uint32_t y = 0; y < form->height; y++) {
        ptrdiff_t at = w.begin + (ptrdiff_t)y * w.row;
        for (uint32_t x = 0; x < form->width; x++, at += w.pixel, out += 3 * c)
            convert_pixel(image + at, reference + at, c, tables, out);
    }
}

/* The pair with the template moved: what the shift leaves uncovered repeats the image. */
static void convert_moved(const tl_pixels_form *form, const uint8_t *image,
                          const uint8_t *reference, uint32_t transform, int dy, int dx,
                          const value_tables *tables, float *out)
{
    ptrdiff_t c = (ptrdiff_t)form->channels, row = (ptrdiff_t)form->width * c;
    int height = (int)form->height, width = (int)form->width;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++, out += 3 * c) {
            int v = transform & 2 ? height - 1 - y : y, u = transform & 1 ? width - 1 - x : x;
            int sy = transform & 4 ? u : v, sx = transform & 4 ? v : u;
            bool covered = sy + dy >= 0 && sy + dy < height && sx + dx >= 0 && sx + dx < width;
            const uint8_t *a = image + sy * row + sx * c;
            const uint8_t *b = covered ? reference + (sy + dy) * row + (sx + dx) * c : a;
            convert_pixel(a, b, form->channels, tables, out);
        }
    }
}

void tl_pixels_convert(const tl_pixels_form *form, const uint8_t *image, const uint8_t *reference,
                       uint32_t transform, float *out)
{
    TL_ASSERT(transform < tl_pixels_transform_count(form));
    TL_ASSERT((reference != NULL) == form->has_template);
    walk w = find_walk(form, transform);
    value_tables tables;
    find_values(form, &tables);
    if (!form->has_template) {
        convert_alone(form, image, w, &tables, out);
        return;
    }
    int dy = 0, dx = 0;
    if (form->align > 0) tl_pixels_align(form, image, reference, &dy, &dx);
    if (dy == 0 && dx == 0)
        convert_pair(form, image, reference, w, &tables, out);
    else
        convert_moved(form, image, reference, transform, dy, dx, &tables, out);
}

/* ---- Names of conversions -------------------------------------------------------------------- */

typedef struct named_values {
    const char *name;
    float mean[3], std[3];
} named_values;

static const named_values NAMED[] = {
    { "symmetric", { 0 }, { 0 } },
    { "unit", { 0, 0, 0 }, { 255, 255, 255 } },
    { "imagenet", { 123.675f, 116.28f, 103.53f }, { 58.395f, 57.12f, 57.375f } },
    { "efficientnet_lite", { 127, 127, 127 }, { 128, 128, 128 } },
};

/* "A" or "A,B,C", up to `end`. */
static bool read_three(const char *text, const char *end, float out[3])
{
    for (int i = 0; i < 3; i++) {
        char *rest;
        double value = strtod(text, &rest);
        if (rest == text || rest > end || !(fabs(value) <= 1e6)) return false;
        out[i] = (float)value;
        if (i == 0 && rest == end) {
            out[1] = out[2] = out[0];
            return true;
        }
        if (i < 2 && *rest != ',') return false;
        text = i < 2 ? rest + 1 : rest;
    }
    return text == end;
}

tl_status tl_pixels_normalise(tl_pixels_form *form, const char *text, tl_error *err)
{
    if (text == NULL || *text == '\0') text = NAMED[0].name;
    named_values found = { 0 };
    bool known = false;
    for (size_t i = 0; i < TL_COUNT_OF(NAMED) && !known; i++) {
        known = strcmp(text, NAMED[i].name) == 0;
        if (known) found = NAMED[i];
    }
    const char *slash = strchr(text, '/');
    if (!known && slash != NULL)
        known = read_three(text, slash, found.mean) &&
                read_three(slash + 1, text + strlen(text), found.std) && found.std[0] > 0.0f &&
                found.std[1] > 0.0f && found.std[2] > 0.0f;
    if (!known)
        return tl_fail(err, TL_EINVAL,
                       "normalisation \"%.60s\"; use symmetric, unit, imagenet, efficientnet_lite, "
                       "or numbers: MEAN,MEAN,MEAN/STD,STD,STD of bytes 0 to 255",
                       text);
    memcpy(form->mean, found.mean, sizeof form->mean);
    memcpy(form->std, found.std, sizeof form->std);
    return TL_OK;
}

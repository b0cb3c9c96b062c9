/* image_test.c - every form of file that is taken, the resizer's arithmetic, and hostile files. */
#include "format/image.h"

#include "base/rng.h"

#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include <cmocka.h>

typedef struct fixture {
    tl_image_decoder *decoder;
    tl_text file;
    tl_error err;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(tl_image_decoder_create(NULL, &f->decoder, NULL), TL_OK);
    tl_text_init(&f->file, 64 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    tl_image_decoder_destroy(&f->decoder);
    tl_image_decoder_destroy(&f->decoder);
    tl_text_destroy(&f->file);
    free(f);
    return 0;
}

/* Decode an exact copy on the heap, so that the sanitizers see reads past the end. */
static tl_status decode_n(fixture *f, const void *data, size_t bytes, uint32_t channels,
                          tl_pixels *out)
{
    void *copy = malloc(bytes == 0 ? 1 : bytes);
    assert_non_null(copy);
    memcpy(copy, data, bytes);
    f->err = (tl_error){ 0 };
    tl_status status = tl_image_decode(f->decoder, copy, bytes, channels, out, &f->err);
    assert_int_equal(status, f->err.status);
    free(copy);
    return status;
}

static tl_pixels decode_ok(fixture *f, uint32_t channels)
{
    tl_pixels out = { 0 };
    if (decode_n(f, f->file.data, f->file.bytes, channels, &out) != TL_OK)
        fail_msg("%s", f->err.text);
    return out;
}

static void refused(fixture *f, const void *data, size_t bytes, tl_status status, const char *words)
{
    tl_pixels out = { 0 };
    assert_int_equal(decode_n(f, data, bytes, 0, &out), status);
    assert_null(out.data);
    if (strstr(f->err.text, words) == NULL) fail_msg("\"%s\", not \"%s\"", f->err.text, words);
}

/* ---- PNG --------------------------------------------------------------------------------------
 */

typedef struct png_form {
    int depth, type, interlace;
    bool transparent; /* with a tRNS chunk */
} png_form;

static void on_write(png_structp png, png_bytep data, size_t bytes)
{
    tl_text_append(png_get_io_ptr(png), (const char *)data, bytes);
}

static void on_flush(png_structp png)
{
    (void)png;
}

enum { W = 13, H = 9 };

static uint32_t sample_of(uint32_t y, uint32_t x, uint32_t c, int depth)
{
    return (y * 7919u + x * 104729u + c * 1299709u + 12345u) % (1u << depth);
}

/* A palette's colours depend on the index only. */
static uint8_t palette_of(uint32_t index, uint32_t c)
{
    return (uint8_t)(index * 67 + c * 29 + 5);
}

static void put_sample(uint8_t *row, size_t i, int depth, uint32_t value)
{
    if (depth == 16) {
        row[2 * i] = (uint8_t)(value >> 8);
        row[2 * i + 1] = (uint8_t)value;
    } else {
        size_t bit = i * (size_t)depth;
        row[bit / 8] |= (uint8_t)(value << (8 - (size_t)depth - bit % 8));
    }
}

static void png_make(tl_text *out, png_form form, uint32_t width, uint32_t height)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, out, on_write, on_flush);
    png_set_IHDR(png, info, width, height, form.depth, form.type, form.interlace, 0, 0);
    png_color palette[256];
    png_byte alphas[4] = { 0, 100, 200, 255 };
    png_color_16 key = { .gray = 1, .red = 1, .green = 1, .blue = 1 };
    for (uint32_t i = 0; i < 256; i++)
        palette[i] = (png_color){ palette_of(i, 0), palette_of(i, 1), palette_of(i, 2) };
    bool indexed = form.type == PNG_COLOR_TYPE_PALETTE;
    if (indexed) png_set_PLTE(png, info, palette, 1 << form.depth);
    if (form.transparent) png_set_tRNS(png, info, alphas, indexed ? 2 : 0, indexed ? NULL : &key);
    png_set_gAMA(png, info, 1.0); /* to be ignored */
    png_write_info(png, info);
    uint32_t channels = png_get_channels(png, info);
    size_t row_bytes = png_get_rowbytes(png, info);
    uint8_t *row = malloc(row_bytes);
    int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t y = 0; y < height; y++) {
            memset(row, 0, row_bytes);
            for (uint32_t x = 0; x < width; x++)
                for (uint32_t c = 0; c < channels; c++)
                    put_sample(row, (size_t)x * channels + c, form.depth,
                               sample_of(y, x, c, form.depth));
            png_write_row(png, row);
        }
    png_write_end(png, info);
    free(row);
    png_destroy_write_struct(&png, &info);
}

static uint8_t expected(png_form form, uint32_t y, uint32_t x, uint32_t c)
{
    uint32_t value = sample_of(y, x, form.type == PNG_COLOR_TYPE_PALETTE ? 0 : c, form.depth);
    if (form.type == PNG_COLOR_TYPE_PALETTE) return palette_of(value, c);
    uint32_t maximum = (1u << form.depth) - 1;
    return (uint8_t)((value * 255 + maximum / 2) / maximum);
}

static void reads_all_forms_of_png(void **state)
{
    fixture *f = *state;
    static const png_form FORMS[] = {
        { 1, 0, 0, false },  { 2, 0, 0, false },  { 4, 0, 0, false }, { 8, 0, 0, false },
        { 16, 0, 0, false }, { 8, 0, 0, true },   { 2, 0, 0, true },  { 8, 2, 0, false },
        { 16, 2, 0, false }, { 8, 2, 0, true },   { 1, 3, 0, false }, { 2, 3, 0, false },
        { 4, 3, 0, false },  { 8, 3, 0, false },  { 8, 3, 0, true },  { 1, 3, 0, true },
        { 8, 4, 0, false },  { 16, 4, 0, false }, { 8, 6, 0, false }, { 16, 6, 0, false },
    };
    for (size_t i = 0; i < 2 * TL_COUNT_OF(FORMS); i++) {
        png_form form = FORMS[i / 2];
        form.interlace = i % 2 == 0 ? PNG_INTERLACE_NONE : PNG_INTERLACE_ADAM7;
        tl_text_clear(&f->file);
        png_make(&f->file, form, W, H);
        tl_pixels p = decode_ok(f, 0);
        assert_int_equal(p.height, H);
        assert_int_equal(p.width, W);
        uint32_t channels = (form.type & 2) != 0 ? 3 : 1;
        assert_int_equal(p.channels, channels);
        for (uint32_t k = 0; k < H * W * channels; k++) {
            uint8_t want = expected(form, k / channels / W, k / channels % W, k % channels);
            if (p.data[k] != want)
                fail_msg("depth %d type %d at %u: %d, not %d", form.depth, form.type, k, p.data[k],
                         want);
        }
        tl_image_info info;
        assert_int_equal(tl_image_probe(f->decoder, f->file.data, f->file.bytes, &info, NULL),
                         TL_OK);
        assert_int_equal(info.format, TL_IMAGE_FORMAT_PNG);
        assert_int_equal(info.channels, channels);
        uint8_t grey[H * W];
        assert_int_equal(
            tl_image_decode_to(f->decoder, f->file.data, f->file.bytes, H, W, 1, grey, NULL),
            TL_OK);
        p = decode_ok(f, 3);
        uint32_t sum = 19595u * p.data[0] + 38470u * p.data[1] + 7471u * p.data[2];
        assert_int_equal(grey[0], (sum + 32768) >> 16);
    }
}

/* ---- All formats ------------------------------------------------------------------------------
 */

static void picture(uint8_t *out, uint32_t height, uint32_t width, uint32_t channels)
{
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < channels; c++)
                *out++ = (uint8_t)(40 + 100 * y / height + 80 * x / width + 10 * c);
}

typedef tl_status encode_fn(tl_pixels pixels, tl_text *out, tl_error *err);

static tl_status encode_jpeg(tl_pixels pixels, tl_text *out, tl_error *err)
{
    return tl_image_encode_jpeg(pixels, 95, out, err);
}

static encode_fn *const ENCODERS[] = { tl_image_encode_png, tl_image_encode_pnm, encode_jpeg };

static void encodes_and_decodes(void **state)
{
    fixture *f = *state;
    uint8_t in[31 * 45 * 3];
    for (size_t i = 0; i < TL_COUNT_OF(ENCODERS); i++)
        for (uint32_t channels = 1; channels <= 3; channels += 2) {
            picture(in, 31, 45, channels);
            tl_text_clear(&f->file);
            assert_int_equal(ENCODERS[i]((tl_pixels){ in, 31, 45, channels }, &f->file, NULL),
                             TL_OK);
            tl_pixels p = decode_ok(f, 0);
            assert_int_equal(p.channels, channels);
            assert_int_equal(p.height, 31);
            assert_int_equal(p.width, 45);
            int allowed = ENCODERS[i] == encode_jpeg ? 6 : 0;
            for (size_t k = 0; k < 31 * 45 * channels; k++)
                assert_in_range(p.data[k] - in[k] + 100, 100 - allowed, 100 + allowed);
            p = decode_ok(f, 1);
            assert_int_equal(p.channels, 1);
            p = decode_ok(f, 3);
            assert_int_equal(p.channels, 3);
            if (channels == 1 && allowed == 0)
                for (size_t k = 0; k < 31 * 45 * 3; k++) assert_int_equal(p.data[k], in[k / 3]);
        }
    tl_text small;
    tl_text_init(&small, 100);
    for (size_t i = 0; i < TL_COUNT_OF(ENCODERS); i++)
        assert_int_equal(ENCODERS[i]((tl_pixels){ in, 31, 45, 3 }, &small, NULL), TL_ENOMEM);
    tl_text_destroy(&small);
}

static void reads_pnm_as_the_format_says(void **state)
{
    fixture *f = *state;
    static const char BITS[] = "P4 # a comment\n10 # width\n2\n\xA5\x40\x00\xFF";
    tl_pixels p = { 0 };
    assert_int_equal(decode_n(f, BITS, sizeof BITS - 1, 0, &p), TL_OK);
    static const uint8_t WANT[20] = { 0,   255, 0,   255, 255, 0,   255, 0,   255, 0,
                                      255, 255, 255, 255, 255, 255, 255, 255, 0,   0 };
    assert_int_equal(p.width, 10);
    assert_memory_equal(p.data, WANT, 20);
    static const char WIDE[] = "P5\n2 1 65535\n\x80\x00\xFF\xFF";
    assert_int_equal(decode_n(f, WIDE, sizeof WIDE - 1, 0, &p), TL_OK);
    assert_int_equal(p.data[0], 128);
    assert_int_equal(p.data[1], 255);
    static const char FEW[] = "P6#x\n1 1 3\n\x01\x02\x09";
    assert_int_equal(decode_n(f, FEW, sizeof FEW - 1, 0, &p), TL_OK);
    assert_int_equal(p.data[0], 85);
    assert_int_equal(p.data[1], 170);
    assert_int_equal(p.data[2], 255); /* above the maximum: clamped */
    static const char *const BAD[] = { "P5",
                                       "P5 ",
                                       "P5 1",
                                       "P5 1 1",
                                       "P5 1 1 255",
                                       "P5 x 1 255\n",
                                       "P5 -1 1 255\n",
                                       "P5 1 1 0\n1",
                                       "P5 1 1 65536\n12",
                                       "P5 1 1 255x1",
                                       "P5x1 1 255\n1",
                                       "P4 # 1 1\n",
                                       "P5 9999999999 1 255\n1" };
    for (size_t i = 0; i < TL_COUNT_OF(BAD); i++)
        refused(f, BAD[i], strlen(BAD[i]), TL_EINVAL, i == 0 ? "not a JPEG" : "PNM");
    refused(f, "P5 0 1 255\n1", 12, TL_EINVAL, "no pixels");
    refused(f, "P5 2 2 255\n123", 14, TL_EINVAL, "truncated: 3 bytes of pixels, expected 4");
    refused(f, "P5 60000 60000 255\n1", 20, TL_ELIMIT, "60000 x 60000 pixels");
    refused(f, "P5 70000 1 255\n1", 16, TL_ELIMIT, "a side");
}

/* ---- Resizing ---------------------------------------------------------------------------------
 */

static void resizes_exactly(void **state)
{
    fixture *f = *state;
    static const uint8_t FOUR[4] = { 0, 100, 200, 41 };
    uint8_t out[64];
    assert_int_equal(tl_image_resize(f->decoder, (tl_pixels){ FOUR, 2, 2, 1 }, 1, 1, 1, out, NULL),
                     TL_OK);
    assert_int_equal(out[0], 85); /* 341 / 4 = 85.25 */
    static const uint8_t THREE[3] = { 0, 90, 240 };
    tl_image_resize(f->decoder, (tl_pixels){ THREE, 1, 3, 1 }, 1, 2, 1, out, NULL);
    assert_int_equal(out[0], 30);  /* (0 + 90/2) / 1.5 */
    assert_int_equal(out[1], 190); /* (90/2 + 240) / 1.5 */
    static const uint8_t TWO[2] = { 0, 100 };
    tl_image_resize(f->decoder, (tl_pixels){ TWO, 1, 2, 1 }, 1, 4, 1, out, NULL);
    static const uint8_t WIDER[4] = { 0, 25, 75, 100 };
    assert_memory_equal(out, WIDER, 4);
    tl_image_resize(f->decoder, (tl_pixels){ TWO, 2, 1, 1 }, 4, 1, 1, out, NULL);
    assert_memory_equal(out, WIDER, 4);
    tl_image_resize(f->decoder, (tl_pixels){ TWO, 1, 2, 1 }, 3, 1, 3, out, NULL);
    for (int i = 0; i < 9; i++) assert_int_equal(out[i], 50);
}

/* Against the plain formula in floating point, over many sizes. */
static double reference(const uint8_t *in, uint32_t n, uint32_t stride, uint32_t m, uint32_t o)
{
    double ratio = (double)n / m, sum = 0;
    if (n >= m) {
        for (uint32_t i = 0; i < n; i++) {
            double low = i > o * ratio ? i : o * ratio;
            double high = i + 1 < (o + 1) * ratio ? i + 1 : (o + 1) * ratio;
            if (high > low) sum += (high - low) * in[(size_t)i * stride];
        }
        return sum / ratio;
    }
    double at = (o + 0.5) * ratio - 0.5;
    if (at < 0) at = 0;
    if (at > n - 1) at = n - 1;
    uint32_t first = (uint32_t)at, second = first + 1 < n ? first + 1 : first;
    return in[(size_t)first * stride] * (1 - (at - first)) +
           in[(size_t)second * stride] * (at - first);
}

static void resizes_like_the_formula(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    uint8_t in[40 * 3], out[60 * 3];
    for (int round = 0; round < 3000; round++) {
        uint32_t n = 1 + (uint32_t)tl_rng_below(&rng, 40), m = 1 + (uint32_t)tl_rng_below(&rng, 60);
        uint32_t channels = round % 2 == 0 ? 1 : 3;
        bool tall = round % 4 >= 2;
        for (size_t i = 0; i < n * channels; i++) in[i] = (uint8_t)tl_rng_u64(&rng);
        tl_pixels p = { in, tall ? n : 1, tall ? 1 : n, channels };
        assert_int_equal(
            tl_image_resize(f->decoder, p, tall ? m : 1, tall ? 1 : m, channels, out, NULL), TL_OK);
        for (uint32_t i = 0; i < m * channels; i++) {
            double want = reference(in + i % channels, n, channels, m, i / channels);
            double error = out[i] - want;
            if (error > 0.501 || error < -0.501)
                fail_msg("%u to %u at %u: %d, not %f", n, m, i, out[i], want);
        }
    }
}

static void keeps_flat_pictures_flat(void **state)
{
    fixture *f = *state;
    static uint8_t in[300 * 200 * 3], out[64 * 500 * 3];
    memset(in, 255, sizeof in);
    tl_pixels p = { in, 300, 200, 3 };
    assert_int_equal(tl_image_resize(f->decoder, p, 64, 500, 3, out, NULL), TL_OK);
    for (size_t i = 0; i < sizeof out; i++) assert_int_equal(out[i], 255);
    assert_int_equal(tl_image_resize(f->decoder, p, 300, 200, 1, out, NULL), TL_OK);
    for (size_t i = 0; i < 300 * 200; i++) assert_int_equal(out[i], 255);
}

/* ---- Hostile files ----------------------------------------------------------------------------
 */

static void refuses_truncated_files(void **state)
{
    fixture *f = *state;
    uint8_t in[32 * 32 * 3];
    picture(in, 32, 32, 3);
    for (size_t i = 0; i < TL_COUNT_OF(ENCODERS); i++) {
        tl_text_clear(&f->file);
        assert_int_equal(ENCODERS[i]((tl_pixels){ in, 32, 32, 3 }, &f->file, NULL), TL_OK);
        for (size_t bytes = 0; bytes < f->file.bytes; bytes++) {
            tl_pixels out = { 0 };
            tl_status status = decode_n(f, f->file.data, bytes, 0, &out);
            if (status != TL_EINVAL) fail_msg("encoder %zu, %zu bytes: %d", i, bytes, status);
        }
        decode_ok(f, 0);
    }
    refused(f, "", 0, TL_EINVAL, "empty");
    refused(f, "GIF89a", 6, TL_EINVAL, "not a JPEG, PNG");
}

static void survives_damaged_files(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    uint8_t in[32 * 32 * 3];
    picture(in, 32, 32, 3);
    for (size_t i = 0; i < TL_COUNT_OF(ENCODERS); i++) {
        tl_text_clear(&f->file);
        assert_int_equal(ENCODERS[i]((tl_pixels){ in, 32, 32, 3 }, &f->file, NULL), TL_OK);
        for (int round = 0; round < 2000; round++) {
            size_t at = (size_t)tl_rng_below(&rng, f->file.bytes);
            char before = f->file.data[at];
            f->file.data[at] = (char)tl_rng_u64(&rng);
            tl_pixels out = { 0 };
            decode_n(f, f->file.data, f->file.bytes, 0, &out); /* any answer, but no crash */
            f->file.data[at] = before;
        }
        decode_ok(f, 0);
    }
}

/* A small file that says it is large is refused from its header, before any memory is taken. */
static void refuses_bombs(void **state)
{
    fixture *f = *state;
    png_form grey = { 1, 0, 0, false };
    png_make(&f->file, grey, 30000, 2000);
    assert_true(f->file.bytes < 60000 * 200);
    refused(f, f->file.data, f->file.bytes, TL_ELIMIT, "2000 x 30000 pixels; at most 25000000");
    uint8_t header[33];
    memcpy(header, f->file.data, sizeof header);
    memset(header + 16, 0x7F, 8);
    refused(f, header, sizeof header, TL_ELIMIT, "pixels");
    memset(header + 16, 0, 8);
    refused(f, header, sizeof header, TL_EINVAL, "no pixels");

    tl_image_limits limits = { .bytes_max = 10000, .pixels_max = 1000, .jpeg_scans_max = 4 };
    tl_image_decoder_destroy(&f->decoder);
    assert_int_equal(tl_image_decoder_create(&limits, &f->decoder, NULL), TL_OK);
    refused(f, f->file.data, 10001, TL_ELIMIT, "a file of 10001 bytes; at most 10000");
    uint8_t in[40 * 40 * 3];
    picture(in, 40, 40, 3);
    for (size_t i = 0; i < TL_COUNT_OF(ENCODERS); i++) {
        tl_text_clear(&f->file);
        assert_int_equal(ENCODERS[i]((tl_pixels){ in, 40, 40, 3 }, &f->file, NULL), TL_OK);
        refused(f, f->file.data, f->file.bytes, TL_ELIMIT, "40 x 40 pixels; at most 1000");
    }
}

/* A progressive JPEG costs a pass over the picture for each scan, and scans can be tiny. */
static void bounds_the_scans_of_a_jpeg(void **state)
{
    fixture *f = *state;
    uint8_t in[40 * 40 * 3];
    picture(in, 40, 40, 3);
    tjhandle handle = tjInitCompress();
    unsigned char *file = NULL;
    unsigned long bytes = 0;
    assert_int_equal(tjCompress2(handle, in, 40, 0, 40, TJPF_RGB, &file, &bytes, TJSAMP_420, 90,
                                 TJFLAG_PROGRESSIVE),
                     0);
    tl_pixels out = { 0 };
    assert_int_equal(decode_n(f, file, bytes, 0, &out), TL_OK);
    tl_image_limits limits = { .jpeg_scans_max = 9 };
    tl_image_decoder_destroy(&f->decoder);
    assert_int_equal(tl_image_decoder_create(&limits, &f->decoder, NULL), TL_OK);
    out.data = NULL;
    refused(f, file, bytes, TL_ELIMIT, "scans; at most 9");
    tjFree(file);
    tjDestroy(handle);
}

static void refuses_cmyk(void **state)
{
    fixture *f = *state;
    uint8_t in[8 * 8 * 4] = { 0 };
    tjhandle handle = tjInitCompress();
    unsigned char *file = NULL;
    unsigned long bytes = 0;
    assert_int_equal(tjCompress2(handle, in, 8, 0, 8, TJPF_CMYK, &file, &bytes, TJSAMP_444, 90, 0),
                     0);
    refused(f, file, bytes, TL_EUNSUPPORTED, "CMYK");
    tjFree(file);
    tjDestroy(handle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(reads_all_forms_of_png),
        TEST(encodes_and_decodes),
        TEST(reads_pnm_as_the_format_says),
        TEST(resizes_exactly),
        TEST(resizes_like_the_formula),
        TEST(keeps_flat_pictures_flat),
        TEST(refuses_truncated_files),
        TEST(survives_damaged_files),
        TEST(refuses_bombs),
        TEST(bounds_the_scans_of_a_jpeg),
        TEST(refuses_cmyk),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

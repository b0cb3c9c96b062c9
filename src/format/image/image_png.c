/* image_png.c - PNG in and out, over libpng. Its errors are long jumps; they land in the functions
 * named try_*, which keep no locals across the jump. */
#include "format/image/image_internal.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>

enum { HEADER_BYTES = 33, CHUNK_BYTES_MAX = 1 << 20, CHUNKS_KEPT_MAX = 16 };

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

tl_status tl_image_png_probe(tl_image_decoder *decoder, const uint8_t *data, size_t bytes,
                             tl_image_info *out, tl_error *err)
{
    (void)decoder;
    if (bytes < HEADER_BYTES) return tl_fail(err, TL_EINVAL, "PNG: truncated in its header");
    if (memcmp(data + 12, "IHDR", 4) != 0)
        return tl_fail(err, TL_EINVAL, "PNG: damaged: no header at its start");
    out->width = big_endian(data + 16);
    out->height = big_endian(data + 20);
    out->channels = (data[25] & PNG_COLOR_MASK_COLOR) != 0 ? 3 : 1; /* a palette holds colours */
    return TL_OK;
}

typedef struct reader {
    png_structp png;
    png_infop info;
    const uint8_t *data;
    size_t left;
    uint8_t *out;
    int passes; /* 7 when interlaced */
    tl_image_info *size;
    char text[96];
} reader;

static void on_error(png_structp png, png_const_charp text)
{
    char *kept = png_get_error_ptr(png);
    if (kept != NULL) snprintf(kept, sizeof((reader *)NULL)->text, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void on_read(png_structp png, png_bytep out, size_t bytes)
{
    reader *r = png_get_io_ptr(png);
    if (bytes > r->left) png_error(png, "truncated");
    memcpy(out, r->data, bytes);
    r->data += bytes;
    r->left -= bytes;
}

static void set_transformations(png_structp png, png_infop info)
{
    png_byte type = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    if (depth == 16) png_set_scale_16(png);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    png_set_strip_alpha(png);
}

static bool try_header(reader *r)
{
    if (setjmp(png_jmpbuf(r->png)) != 0) return false;
    png_set_read_fn(r->png, r, on_read);
    png_set_user_limits(r->png, TL_IMAGE_FILE_SIDE_MAX, TL_IMAGE_FILE_SIDE_MAX);
    png_set_chunk_malloc_max(r->png, CHUNK_BYTES_MAX);
    png_set_chunk_cache_max(r->png, CHUNKS_KEPT_MAX);
    png_read_info(r->png, r->info);
    if (png_get_image_width(r->png, r->info) != r->size->width ||
        png_get_image_height(r->png, r->info) != r->size->height)
        png_error(r->png, "two headers");
    set_transformations(r->png, r->info);
    r->passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    r->size->channels = png_get_channels(r->png, r->info);
    if ((r->size->channels != 1 && r->size->channels != 3) ||
        png_get_rowbytes(r->png, r->info) != (size_t)r->size->width * r->size->channels)
        png_error(r->png, "unknown form of pixels");
    return true;
}

static void read_rows(reader *r)
{
    size_t row_bytes = (size_t)r->size->width * r->size->channels;
    for (int pass = 0; pass < r->passes; pass++)
        for (uint32_t y = 0; y < r->size->height; y++)
            png_read_row(r->png, r->out + y * row_bytes, NULL);
    png_read_end(r->png, NULL); /* a file that ends before its last chunk is truncated */
}

static bool try_pixels(reader *r)
{
    if (setjmp(png_jmpbuf(r->png)) != 0) return false;
    read_rows(r);
    return true;
}

tl_status tl_image_png_decode(tl_image_decoder *decoder, const uint8_t *data, size_t bytes,
                              uint32_t channels, tl_image_info *info, tl_error *err)
{
    (void)channels; /* converted by the caller */
    reader r = { .data = data, .left = bytes, .size = info };
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r.text, on_error, on_warning);
    if (r.png == NULL) return tl_fail(err, TL_ENOMEM, "PNG decoder");
    tl_status status = TL_OK;
    r.info = png_create_info_struct(r.png);
    if (r.info == NULL) status = tl_fail(err, TL_ENOMEM, "PNG decoder");
    if (status == TL_OK && !try_header(&r))
        status = tl_fail(err, TL_EINVAL, "PNG: damaged or truncated: %s", r.text);
    if (status == TL_OK)
        status = tl_image_reserve(&decoder->pixels,
                                  (size_t)info->height * info->width * info->channels, err);
    r.out = decoder->pixels.data;
    if (status == TL_OK && !try_pixels(&r))
        status = tl_fail(err, TL_EINVAL, "PNG: damaged or truncated: %s", r.text);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    return status;
}

static void on_write(png_structp png, png_bytep data, size_t bytes)
{
    tl_text *out = png_get_io_ptr(png);
    tl_text_append(out, (const char *)data, bytes);
    if (!tl_text_ok(out)) png_error(png, "out of memory");
}

static void on_flush(png_structp png)
{
    (void)png;
}

static bool try_write(png_structp png, png_infop info, const tl_pixels *pixels, tl_text *out)
{
    if (setjmp(png_jmpbuf(png)) != 0) return false;
    png_set_write_fn(png, out, on_write, on_flush);
    png_set_compression_level(png, 1);
    png_set_IHDR(png, info, pixels->width, pixels->height, 8,
                 pixels->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (uint32_t y = 0; y < pixels->height; y++)
        png_write_row(png, pixels->data + (size_t)y * pixels->width * pixels->channels);
    png_write_end(png, info);
    return true;
}

tl_status tl_image_encode_png(tl_pixels pixels, tl_text *out, tl_error *err)
{
    TL_ASSERT(pixels.channels == 1 || pixels.channels == 3);
    char text[sizeof((reader *)NULL)->text] = "";
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, text, on_error, on_warning);
    if (png == NULL) return tl_fail(err, TL_ENOMEM, "PNG encoder");
    tl_status status = TL_OK;
    png_infop info = png_create_info_struct(png);
    if (info == NULL || !try_write(png, info, &pixels, out))
        status = tl_fail(err, TL_ENOMEM, "PNG encoder: %s", text);
    png_destroy_write_struct(&png, &info);
    return status;
}

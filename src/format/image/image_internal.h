/* image_internal.h - what the files of the image decoder share. Layer: format; not for others. */
#ifndef TL_FORMAT_IMAGE_INTERNAL_H
#define TL_FORMAT_IMAGE_INTERNAL_H

#include "format/image.h"

enum { TL_IMAGE_FILE_SIDE_MAX = 65535 }; /* keeps the resizer's sums within 32 bits */

typedef struct tl_image_buffer {
    void *data;
    size_t capacity;
} tl_image_buffer;

struct tl_image_decoder {
    tl_image_limits limits;
    uint64_t decoded_count;    /* pixels, in its life */
    void *jpeg;                /* tjhandle; made when first needed */
    tl_image_buffer pixels;    /* as decoded */
    tl_image_buffer converted; /* with the wanted channels */
    tl_image_buffer resized, sums;
};

/* At least `bytes`, old content lost; much larger buffers of the past are given back. */
tl_status tl_image_reserve(tl_image_buffer *buffer, size_t bytes, tl_error *err);
/* Hold a size read from a header against the limits. */
tl_status tl_image_check_size(const tl_image_decoder *decoder, uint64_t height, uint64_t width,
                              tl_error *err);
/* count pixels from `from` channels to `to`; a copy when they are equal. */
void tl_image_convert(const uint8_t *in, size_t count, uint32_t from, uint32_t to, uint8_t *out);

/* Of each format: read the header; decode into decoder->pixels. info comes from the probe and was
 * held against the limits; decoding sets info->channels to what it made of it. */
typedef tl_status tl_image_probe_fn(tl_image_decoder *decoder, const uint8_t *data, size_t bytes,
                                    tl_image_info *out, tl_error *err);
typedef tl_status tl_image_decode_fn(tl_image_decoder *decoder, const uint8_t *data, size_t bytes,
                                     uint32_t channels, tl_image_info *info, tl_error *err);

tl_image_probe_fn tl_image_jpeg_probe, tl_image_png_probe, tl_image_pnm_probe;
tl_image_decode_fn tl_image_jpeg_decode, tl_image_png_decode, tl_image_pnm_decode;
void tl_image_jpeg_close(tl_image_decoder *decoder);

#endif

/* image.h - images in: JPEG, PNG, PNM, recognised by content, to 8-bit pixels of a wanted size.
 * Layer: format, over libturbojpeg and libpng. A decoder is a reusable context: one owner thread
 * each. The encoders may be called from any thread.
 *
 * Pixels are [height, width, channels], 8 bits, rows without padding; channels is 1 (grey) or 3
 * (red, green, blue). Colour becomes grey by ITU-R BT.601 luma; grey becomes colour by repetition.
 * 16-bit samples are scaled to 8; alpha is dropped; colour profiles and gamma are ignored, as the
 * usual training pipelines do. */
#ifndef TL_FORMAT_IMAGE_H
#define TL_FORMAT_IMAGE_H

#include "base/status.h"
#include "base/text.h"

typedef enum tl_image_format {
    TL_IMAGE_FORMAT_UNKNOWN,
    TL_IMAGE_FORMAT_JPEG,
    TL_IMAGE_FORMAT_PNG,
    TL_IMAGE_FORMAT_PNM /* P4 bitmap, P5 grey, P6 colour; 8 or 16 bits */
} tl_image_format;

typedef struct tl_image_limits {
    size_t bytes_max;        /* of the file; default 32 MiB */
    uint64_t pixels_max;     /* height * width, checked before decoding; default 25,000,000 */
    uint32_t jpeg_scans_max; /* of a progressive JPEG; default 32 */
} tl_image_limits;

typedef struct tl_image_info {
    tl_image_format format;
    uint32_t height, width;
    uint32_t channels; /* 1 or 3: what the file holds, alpha not counted */
} tl_image_info;

/* Pixels owned by somebody else: see the function that gives them. */
typedef struct tl_pixels {
    const uint8_t *data; /* [height, width, channels] */
    uint32_t height, width, channels;
} tl_pixels;

typedef struct tl_image_decoder tl_image_decoder;

/* `limits` NULL, or a field 0: the defaults. Errors: TL_ENOMEM. */
tl_status tl_image_decoder_create(const tl_image_limits *limits, tl_image_decoder **out,
                                  tl_error *err);
void tl_image_decoder_destroy(tl_image_decoder **decoder); /* NULL-safe; clears *decoder */

/* Pixels (height * width) of all that it decoded in its life, so that a caller can bound the work of
 * many images: a file of some kilobytes may hold pixels_max of them. */
uint64_t tl_image_decoder_count(const tl_image_decoder *decoder);

/* Recognise by the first bytes. */
tl_image_format tl_image_recognise(const void *data, size_t bytes);

/* Read the header only, and hold it against the limits. Errors as of tl_image_decode. */
tl_status tl_image_probe(tl_image_decoder *decoder, const void *data, size_t bytes,
                         tl_image_info *out, tl_error *err);

/* Decode a file at its own size.
 *   channels  1, 3, or 0 for what the file holds
 *   out       borrowed until the decoder's next call or its end
 * Errors: TL_EINVAL (not an image, damaged, truncated), TL_ELIMIT (too many bytes, pixels or
 * scans), TL_EUNSUPPORTED (CMYK JPEG and the like), TL_ENOMEM. */
tl_status tl_image_decode(tl_image_decoder *decoder, const void *data, size_t bytes,
                          uint32_t channels, tl_pixels *out, tl_error *err);

/* Decode and bring to a size: tl_image_decode, then tl_image_resize.
 *   out  [height, width, channels], the caller's; untouched on error
 *   height, width  >= 1; channels 1 or 3 (asserted) */
tl_status tl_image_decode_to(tl_image_decoder *decoder, const void *data, size_t bytes,
                             uint32_t height, uint32_t width, uint32_t channels, uint8_t *out,
                             tl_error *err);

/* Bring pixels to height x width and `channels`: each axis by area averaging where it shrinks and
 * linearly between pixel centres where it grows; a plain copy when nothing changes.
 *   in   borrowed; may be the decoder's own pixels; must not overlap out; sides >= 1 (asserted)
 *   out  [height, width, channels]
 * Errors: TL_ENOMEM. */
tl_status tl_image_resize(tl_image_decoder *decoder, tl_pixels in, uint32_t height, uint32_t width,
                          uint32_t channels, uint8_t *out, tl_error *err);

/* Append a file of these pixels to `out` (bytes, not text). PNG uses the fastest compression.
 * Errors: TL_ENOMEM (also the bound of `out`), TL_EINVAL (JPEG: sides over 65535). */
tl_status tl_image_encode_png(tl_pixels pixels, tl_text *out, tl_error *err);
tl_status tl_image_encode_pnm(tl_pixels pixels, tl_text *out, tl_error *err); /* P5 or P6 */
tl_status tl_image_encode_jpeg(tl_pixels pixels, int quality, tl_text *out, tl_error *err);

#endif

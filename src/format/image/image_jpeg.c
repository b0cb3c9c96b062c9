/* image_jpeg.c - JPEG in and out, over libturbojpeg. */
#include "format/image/image_internal.h"

#include <turbojpeg.h>

enum { MARKER_SOI = 0xD8, MARKER_EOI = 0xD9, MARKER_SOS = 0xDA };

static tl_status jpeg_open(tl_image_decoder *decoder, tl_error *err)
{
    if (decoder->jpeg == NULL) decoder->jpeg = tjInitDecompress();
    return decoder->jpeg != NULL ? TL_OK : tl_fail(err, TL_ENOMEM, "JPEG decoder");
}

void tl_image_jpeg_close(tl_image_decoder *decoder)
{
    if (decoder->jpeg != NULL) tjDestroy(decoder->jpeg);
    decoder->jpeg = NULL;
}

/* The library's handle can be left in the middle of the bad file, so that even a good one fails
 * next: start afresh. */
static tl_status fail_jpeg(tl_image_decoder *decoder, tl_error *err)
{
    tl_status status =
        tl_fail(err, TL_EINVAL, "JPEG: damaged or truncated: %s", tjGetErrorStr2(decoder->jpeg));
    tl_image_jpeg_close(decoder);
    return status;
}

tl_status tl_image_jpeg_probe(tl_image_decoder *decoder, const uint8_t *data, size_t bytes,
                              tl_image_info *out, tl_error *err)
{
    tl_status status = jpeg_open(decoder, err);
    if (status != TL_OK) return status;
    int width = 0, height = 0, subsampling = 0, space = 0;
    int result = tjDecompressHeader3(decoder->jpeg, data, (unsigned long)bytes, &width, &height,
                                     &subsampling, &space);
    if (result != 0 || width < 0 || height < 0) return fail_jpeg(decoder, err);
    if (space != TJCS_GRAY && space != TJCS_YCbCr && space != TJCS_RGB)
        return tl_fail(err, TL_EUNSUPPORTED, "JPEG: in CMYK; send it in colour or grey");
    out->height = (uint32_t)height;
    out->width = (uint32_t)width;
    out->channels = space == TJCS_GRAY ? 1 : 3;
    return TL_OK;
}

/* Scans of the file: each costs a pass over the whole image, however few bytes it has. Segments are
 * walked properly, since a thumbnail inside one has scans of its own. */
static uint32_t count_scans(const uint8_t *p, size_t bytes)
{
    uint32_t scans = 0;
    size_t at = 0;
    while (at + 1 < bytes) {
        if (p[at] != 0xFF || p[at + 1] == 0 || p[at + 1] == 0xFF) {
            at++; /* coded data, or filling */
            continue;
        }
        uint8_t marker = p[at + 1];
        at += 2;
        if (marker == MARKER_EOI) break;
        if (marker == MARKER_SOI || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7)) continue;
        if (marker == MARKER_SOS) scans++;
        if (at + 1 >= bytes) break;
        at += (size_t)p[at] << 8 | p[at + 1];
    }
    return scans;
}

tl_status tl_image_jpeg_decode(tl_image_decoder *decoder, const uint8_t *data, size_t bytes,
                               uint32_t channels, tl_image_info *info, tl_error *err)
{
    uint32_t scans = count_scans(data, bytes);
    if (scans > decoder->limits.jpeg_scans_max)
        return tl_fail(err, TL_ELIMIT,
                       "JPEG: %u scans; at most %u are taken: send it less finely "
                       "progressive",
                       scans, decoder->limits.jpeg_scans_max);
    if (channels != 0) info->channels = channels; /* the library converts on the way */
    size_t row_bytes = (size_t)info->width * info->channels;
    tl_status status = tl_image_reserve(&decoder->pixels, row_bytes * info->height, err);
    if (status != TL_OK) return status;
    int result = tjDecompress2(decoder->jpeg, data, (unsigned long)bytes, decoder->pixels.data,
                               (int)info->width, (int)row_bytes, (int)info->height,
                               info->channels == 1 ? TJPF_GRAY : TJPF_RGB,
                               TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS);
    return result == 0 ? TL_OK : fail_jpeg(decoder, err);
}

tl_status tl_image_encode_jpeg(tl_pixels pixels, int quality, tl_text *out, tl_error *err)
{
    if (pixels.height > 65535 || pixels.width > 65535)
        return tl_fail(err, TL_EINVAL, "JPEG: sides are at most 65535 pixels");
    tjhandle handle = tjInitCompress();
    if (handle == NULL) return tl_fail(err, TL_ENOMEM, "JPEG encoder");
    unsigned char *file = NULL;
    unsigned long bytes = 0;
    bool grey = pixels.channels == 1;
    int result = tjCompress2(handle, pixels.data, (int)pixels.width, 0, (int)pixels.height,
                             grey ? TJPF_GRAY : TJPF_RGB, &file, &bytes,
                             grey ? TJSAMP_GRAY : TJSAMP_444, quality, 0);
    tl_status status = TL_OK;
    if (result != 0) status = tl_fail(err, TL_EINVAL, "JPEG: %s", tjGetErrorStr2(handle));
    if (status == TL_OK) tl_text_append(out, (const char *)file, bytes);
    if (status == TL_OK && !tl_text_ok(out)) status = tl_fail(err, TL_ENOMEM, "JPEG file");
    tjFree(file);
    tjDestroy(handle);
    return status;
}

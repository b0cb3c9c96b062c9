#include "loop/items.h"

#include <math.h>
#include <string.h>

enum {
    ALIGN_PIXELS = 6,           /* boards sit in their fixture to within a few pixels */
    ARENA_BYTES_MAX = 128 << 20 /* two stored images at their largest */
};

tl_pixels_form tl_items_pixels_form(const tl_loop_info *info)
{
    return (tl_pixels_form){ .height = info->height,
                             .width = info->width,
                             .channels = info->channels,
                             .has_template = info->has_template,
                             .align = info->has_template ? ALIGN_PIXELS : 0 };
}

tl_status tl_items_decode(tl_image_decoder *decoder, const tl_loop_info *info,
                          const tl_image *image, uint8_t *out, tl_error *err)
{
    if (image->encoding == TL_IMAGE_FILE)
        return tl_image_decode_to(decoder, image->data, image->bytes, info->height, info->width,
                                  info->channels, out, err);
    if (image->encoding != TL_IMAGE_U8)
        return tl_fail(err, TL_EINVAL, "the item has no image; send JPEG, PNG, PGM, PPM or pixels");
    if (image->channels != 1 && image->channels != 3)
        return tl_fail(err, TL_ESHAPE, "pixels have %u channels; want 1 or 3", image->channels);
    if (image->height < 1 || image->width < 1 || image->height > 16384 || image->width > 16384)
        return tl_fail(err, TL_ESHAPE, "pixels are %ux%u; each side must be 1 to 16384",
                       image->height, image->width);
    if (image->bytes != (size_t)image->height * image->width * image->channels)
        return tl_fail(err, TL_ESHAPE, "pixels have %zu bytes; [%u, %u, %u] takes %zu",
                       image->bytes, image->height, image->width, image->channels,
                       (size_t)image->height * image->width * image->channels);
    tl_pixels pixels = { image->data, image->height, image->width, image->channels };
    return tl_image_resize(decoder, pixels, info->height, info->width, info->channels, out, err);
}

void tl_items_clamp(float *features, size_t count, float range)
{
    for (size_t i = 0; i < count; i++) features[i] = fminf(fmaxf(features[i], -range), range);
}

tl_status tl_item_reader_open(tl_journal *journal, const tl_loop_info *info, float feature_range,
                              uint32_t loop, tl_item_reader *out, tl_error *err)
{
    tl_item_reader reader = { .info = info, .loop = loop, .feature_range = feature_range };
    tl_arena_init(&reader.arena, ARENA_BYTES_MAX);
    tl_status status = tl_journal_reader_open(journal, &reader.journal, err);
    if (status == TL_OK) status = tl_image_decoder_create(NULL, &reader.decoder, err);
    if (status != TL_OK) {
        tl_item_reader_close(&reader);
        return status;
    }
    *out = reader;
    return TL_OK;
}

void tl_item_reader_close(tl_item_reader *reader)
{
    tl_journal_reader_close(&reader->journal);
    tl_image_decoder_destroy(&reader->decoder);
    tl_arena_destroy(&reader->arena);
}

static tl_status decode_stored(tl_item_reader *reader, const tl_stored_image *stored, uint8_t *out,
                               tl_error *err)
{
    if (stored == NULL || stored->data == NULL)
        return tl_fail(err, TL_ENOTFOUND, "the image is not kept any more");
    tl_image image = { .encoding = (tl_image_encoding)stored->encoding,
                       .data = stored->data,
                       .bytes = stored->bytes,
                       .height = stored->height,
                       .width = stored->width,
                       .channels = stored->channels };
    return tl_items_decode(reader->decoder, reader->info, &image, out, err);
}

tl_status tl_item_fetch(tl_item_reader *reader, uint64_t position, uint8_t *pixels, float *features,
                        tl_error *err)
{
    tl_arena_reset(&reader->arena);
    tl_record record;
    tl_status status = tl_journal_read_prediction(reader->journal, reader->loop, position, true,
                                                  &reader->arena, &record, err);
    if (status != TL_OK) return status;
    const tl_prediction_record *prediction = &record.as.prediction;
    if (reader->info->input == TL_INPUT_FEATURES) {
        if (prediction->feature_count != reader->info->feature_count)
            return tl_fail(err, TL_ENOTFOUND, "the features are not kept any more");
        memcpy(features, prediction->features, prediction->feature_count * sizeof *features);
        tl_items_clamp(features, prediction->feature_count, reader->feature_range);
        return TL_OK;
    }
    status = decode_stored(reader, prediction->image, pixels, err);
    if (status != TL_OK || !reader->info->has_template) return status;
    uint8_t *reference =
        pixels + (size_t)reader->info->height * reader->info->width * reader->info->channels;
    if (prediction->reference == NULL) { /* no template came with it: a black one */
        memset(reference, 0, (size_t)(reference - pixels));
        return TL_OK;
    }
    return decode_stored(reader, prediction->reference, reference, err);
}

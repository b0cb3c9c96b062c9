#include "loop/item/items.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGN_PIXELS = 6,           /* boards sit in their fixture to within a few pixels */
    ARENA_BYTES_MAX = 128 << 20 /* two stored images at their largest */
};

tl_pixels_form tl_items_pixels_form(const tl_loop_config *config)
{
    const tl_loop_info *info = &config->info;
    tl_pixels_form form = { .height = info->height,
                            .width = info->width,
                            .channels = info->channels,
                            .has_template = info->has_template,
                            .align = info->has_template ? ALIGN_PIXELS : 0 };
    form.repeat = !info->has_template && info->channels == 1 && config->planes == 3;
    tl_status status = tl_pixels_normalise(&form, config->normalisation, NULL);
    TL_ASSERT(status == TL_OK); /* checked when the configuration was made or read */
    return form;
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

tl_status tl_item_reader_open(tl_journal *journal, const tl_loop_config *config, uint32_t loop,
                              tl_item_reader *out, tl_error *err)
{
    tl_item_reader reader = { .config = config, .loop = loop };
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
    free(reader->cache.keys);
    free(reader->cache.pixels);
    reader->cache = (tl_item_cache){ 0 };
}

void tl_item_reader_keep(tl_item_reader *reader, size_t bytes)
{
    if (reader->config->info.input != TL_INPUT_IMAGE) return;
    tl_pixels_form form = tl_items_pixels_form(reader->config);
    tl_item_cache cache = { .item_bytes = tl_pixels_item_bytes(&form) };
    cache.pair_count = bytes / (2 * cache.item_bytes);
    cache.keys = calloc(2 * cache.pair_count + 1, sizeof *cache.keys);
    cache.pixels = malloc(2 * cache.pair_count * cache.item_bytes + 1); /* touched when used */
    if (cache.pair_count > 0 && cache.keys != NULL && cache.pixels != NULL) {
        reader->cache = cache;
        return;
    }
    free(cache.keys);
    free(cache.pixels);
}

static size_t cache_pair(const tl_item_cache *cache, uint64_t position)
{
    return 2 * (size_t)(tl_mix64(position) % cache->pair_count);
}

static bool cache_get(const tl_item_cache *cache, uint64_t position, uint8_t *pixels)
{
    if (cache->pair_count == 0) return false;
    size_t place = cache_pair(cache, position);
    if (cache->keys[place] != position && cache->keys[++place] != position) return false;
    memcpy(pixels, cache->pixels + place * cache->item_bytes, cache->item_bytes);
    return true;
}

/* The newer of the two moves over. */
static void cache_put(tl_item_cache *cache, uint64_t position, const uint8_t *pixels)
{
    if (cache->pair_count == 0) return;
    size_t place = cache_pair(cache, position), bytes = cache->item_bytes;
    uint8_t *at = cache->pixels + place * bytes;
    if (cache->keys[place] != 0) memcpy(at + bytes, at, bytes);
    cache->keys[place + 1] = cache->keys[place];
    memcpy(at, pixels, bytes);
    cache->keys[place] = position;
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
    return tl_items_decode(reader->decoder, &reader->config->info, &image, out, err);
}

static tl_status fetch(tl_item_reader *reader, uint64_t position, uint8_t *pixels, float *features,
                       tl_error *err)
{
    tl_arena_reset(&reader->arena);
    tl_record record;
    tl_status status = tl_journal_read_prediction(reader->journal, reader->loop, position, true,
                                                  &reader->arena, &record, err);
    if (status != TL_OK) return status;
    const tl_prediction_record *prediction = &record.as.prediction;
    const tl_loop_info *info = &reader->config->info;
    if (info->input == TL_INPUT_FEATURES) {
        if (prediction->feature_count != info->feature_count)
            return tl_fail(err, TL_ENOTFOUND, "the features are not kept any more");
        memcpy(features, prediction->features, prediction->feature_count * sizeof *features);
        tl_items_clamp(features, prediction->feature_count, reader->config->feature_range);
        return TL_OK;
    }
    status = decode_stored(reader, prediction->image, pixels, err);
    if (status != TL_OK || !info->has_template) return status;
    uint8_t *reference = pixels + (size_t)info->height * info->width * info->channels;
    if (prediction->reference == NULL) { /* no template came with it: a black one */
        memset(reference, 0, (size_t)(reference - pixels));
        return TL_OK;
    }
    return decode_stored(reader, prediction->reference, reference, err);
}

tl_status tl_item_fetch(tl_item_reader *reader, uint64_t position, uint8_t *pixels, float *features,
                        tl_error *err)
{
    if (cache_get(&reader->cache, position, pixels)) return TL_OK;
    tl_status status = fetch(reader, position, pixels, features, err);
    if (status == TL_OK) cache_put(&reader->cache, position, pixels);
    return status;
}

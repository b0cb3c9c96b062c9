/* image_fuzz.c - any bytes as an image: no crash, every pixel of what is accepted is written. */
#include "format/image.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static tl_image_decoder *decoder;
    static const tl_image_limits LIMITS = { .pixels_max = 100000, .jpeg_scans_max = 8 };
    if (decoder == NULL) TL_ASSERT(tl_image_decoder_create(&LIMITS, &decoder, NULL) == TL_OK);
    tl_error err;
    tl_image_info info;
    tl_pixels pixels;
    tl_status probed = tl_image_probe(decoder, data, bytes, &info, &err);
    for (uint32_t channels = 0; channels <= 3; channels = channels == 0 ? 1 : channels + 2) {
        tl_status status = tl_image_decode(decoder, data, bytes, channels, &pixels, &err);
        if (status != TL_OK) {
            TL_ASSERT(err.text[0] != '\0');
            continue;
        }
        TL_ASSERT(probed == TL_OK);
        TL_ASSERT(pixels.height == info.height);
        TL_ASSERT(pixels.width == info.width);
        TL_ASSERT(channels == 0 || pixels.channels == channels);
        uint32_t sum = 0;
        size_t count = (size_t)pixels.height * pixels.width * pixels.channels;
        for (size_t i = 0; i < count; i++) sum += pixels.data[i];
        static uint8_t small[13 * 17 * 3];
        TL_ASSERT(tl_image_resize(decoder, pixels, 13, 17, 3, small, &err) == TL_OK);
        TL_ASSERT(sum <= count * 255);
    }
    return 0;
}

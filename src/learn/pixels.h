/* pixels.h - 8-bit images to a network's input. Layer: learn. Any thread.
 *
 * Without a template an item is [h, w, c] bytes and the input has c channels: v / 127.5 - 1; a grey
 * image may be repeated for a network of three. With a template, an item is two such images one
 * after the other, the image and its template, and the input [h, w, 3c] holds image, template (both
 * v / 127.5 - 1), and |image - template| / 255. A difference of 0 is 0, so that the zeros with which
 * convolutions pad show no difference.
 *
 * A network that was trained on other numbers has (v - mean) / std, the three of which belong to the
 * channels of a pixel, or to image, template and difference of a grey pair; the difference is
 * |image - template| / (2 std).
 *
 * The template is first registered: moved by whole pixels, at most `align` in each direction, to
 * where it differs least from the image (sum of absolute differences over the middle part that
 * every shift covers; the shortest shift wins ties, then the one with the smaller dy, dx). What the
 * shift leaves uncovered repeats the image, so that it shows no difference. */
#ifndef TL_LEARN_PIXELS_H
#define TL_LEARN_PIXELS_H

#include "base/status.h"

enum { TL_PIXELS_ALIGN_MAX = 7 };

typedef struct tl_pixels_form {
    uint32_t height, width, channels;
    bool has_template;
    uint32_t align; /* 0: as is; at most TL_PIXELS_ALIGN_MAX and an eighth of the shorter side
                       are used */
    bool repeat;    /* channels 1, no template: the grey value three times */
    float mean[3], std[3]; /* of bytes 0..255; std[0] == 0: 127.5 and 127.5 */
} tl_pixels_form;

/* How pixels become numbers, by a name: "symmetric" (v / 127.5 - 1), "unit" (v / 255), "imagenet"
 * (per channel, as torchvision's networks), "efficientnet_lite" ((v - 127) / 128); or by numbers,
 * "MEAN,MEAN,MEAN/STD,STD,STD" of bytes 0..255 (one MEAN or STD stands for all three). NULL or "":
 * symmetric. TL_EINVAL: none of these; mean and std are then unchanged. */
tl_status tl_pixels_normalise(tl_pixels_form *form, const char *text, tl_error *err);

/* Bytes of one item: image, then template. */
size_t tl_pixels_item_bytes(const tl_pixels_form *form);
/* Channels of the network's input. */
uint32_t tl_pixels_input_channels(const tl_pixels_form *form);
/* Floats of one input: height * width * channels. */
size_t tl_pixels_input_count(const tl_pixels_form *form);
/* How many transforms there are: 8 for square images (the symmetries of the square), 4 otherwise
 * (flips). Transform bits: 1 mirrors left and right, 2 top and bottom, 4 swaps rows and columns
 * (applied first). 0 leaves the image as it is. */
uint32_t tl_pixels_transform_count(const tl_pixels_form *form);

/* Where the template fits best: *dy and *dx such that image[y, x] ~ template[y + dy, x + dx]. */
void tl_pixels_align(const tl_pixels_form *form, const uint8_t *image, const uint8_t *reference,
                     int *dy, int *dx);
/* The template moved there, [h, w, c]: for who keeps items and aligns each only once. Converting it
 * with `align` 0 gives what converting the original with `align` gives. `out` must not overlap. */
void tl_pixels_move(const tl_pixels_form *form, const uint8_t *image, const uint8_t *reference,
                    int dy, int dx, uint8_t *out);
/* tl_pixels_align, then tl_pixels_move. */
void tl_pixels_register(const tl_pixels_form *form, const uint8_t *image, const uint8_t *reference,
                        uint8_t *out);
/* `image` and `reference` [h, w, c] (reference NULL without template) to out [h, w,
 * input_channels], aligned, converted and transformed. */
void tl_pixels_convert(const tl_pixels_form *form, const uint8_t *image, const uint8_t *reference,
                       uint32_t transform, float *out);

#endif

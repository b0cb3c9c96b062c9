/* augment.h - images for training: placed, moved, recoloured, with boxes that follow. Layer: learn.
 * One owner thread per handle. What comes out is a function of the options, the random numbers and
 * the images alone.
 *
 * An item starts from one image, or from four (mosaic: Bochkovskiy et al., "YOLOv4", 2020) that meet
 * at a random point of a canvas twice as large. An image is first scaled to fit the network's input,
 * its sides kept in proportion. Then the canvas is scaled, turned and shifted about its middle,
 * resampled (linearly; by the mean of up to 4 x 4 samples where it shrinks), recoloured, and mirrored
 * while it is converted (tl_pixels_convert). What no image covers is grey 114. A template goes the
 * same way as its image. With the options of tl_augment_options_none all of this is the plain
 * fitting that serving needs. */
#ifndef TL_LEARN_AUGMENT_H
#define TL_LEARN_AUGMENT_H

#include "base/rng.h"
#include "learn/detect/box.h"
#include "learn/pixels.h"

enum { TL_AUGMENT_SOURCES_MAX = 4 };

/* Shares are 0..1; chances that something happens at all are called so. */
typedef struct tl_augment_options {
    bool symmetries;              /* any of tl_pixels_transform_count instead of the next two */
    float mirror_chance;          /* left and right */
    float flip_chance;            /* top and bottom */
    float scale;                  /* by 1 - scale to 1 + scale, evenly */
    float translate;              /* by up to this share of each side */
    float rotate;                 /* by up to this many degrees */
    float hue, saturation, value; /* colour only: shift of up to this share of the circle; factors
                                      of 1 - share to 1 + share */
    float brightness, contrast;   /* by up to this share of 255; factor about the middle */
    float erase_chance; /* a grey rectangle of 2 to 20 % of the area (Zhong et al., "Random
                                      Erasing Data Augmentation", 2017) */
    float mosaic_chance;
} tl_augment_options;

tl_augment_options tl_augment_options_none(void);
/* Classification: mirror, scale 0.15, translate 0.1, brightness and contrast 0.15, a little colour. */
tl_augment_options tl_augment_options_classify(void);
/* Detection, as YOLOv8 is trained: mosaic, scale 0.5, translate 0.1, mirror, colour. */
tl_augment_options tl_augment_options_detect(void);

/* An image before it is fitted; borrowed. */
typedef struct tl_augment_source {
    const uint8_t *image;     /* [height, width, channels of the form] */
    const uint8_t *reference; /* the same shape; NULL when the form has no template */
    uint32_t height, width;
    tl_truths truths; /* in pixels of this image */
} tl_augment_source;

typedef struct tl_augment tl_augment;

/* `form` is what the network takes; its `align` is heeded. Everything is allocated here: up to
 * `truth_max` boxes an item (further ones are left out). TL_EINVAL, TL_ENOMEM. */
tl_status tl_augment_create(const tl_pixels_form *form, const tl_augment_options *options,
                            size_t truth_max, tl_augment **out, tl_error *err);
void tl_augment_destroy(tl_augment **augment); /* NULL-safe */
/* Whether mosaics are made from now on; off for the last epochs of a training. */
void tl_augment_set_mosaic(tl_augment *augment, bool on);

/* Draw what is to happen to the next item; returns how many sources it is made of. Then give them
 * with tl_augment_add one by one, and finish. */
uint32_t tl_augment_begin(tl_augment *augment, tl_rng *rng);
void tl_augment_add(tl_augment *augment, const tl_augment_source *source);
/* The input [h, w, input channels] of the form. `truths` (may be NULL): boxes in its pixels, clipped
 * to it; those smaller than 2 pixels or with less than a tenth of their area left are dropped.
 * Borrowed until the next begin. */
void tl_augment_finish(tl_augment *augment, float *input, tl_truths *truths);

#endif

/* line.h - the boards of a data set as a line would inspect them, with what happens on the way.
 * One owner thread.
 *
 * Sites one after the other, the patches of a board one after the other. All good patches, and of the
 * defective ones every third, so that about a fifth of the items are defects: nobody would look at
 * more than two items in five. Boards that are kept out never come. */
#ifndef BENCH_BOARDS_LINE_H
#define BENCH_BOARDS_LINE_H

#include "cli/data/dataset.h"

typedef enum boards_story {
    BOARDS_PLAIN,
    BOARDS_POISONED,  /* one of the people who answer lies, and volunteers lies */
    BOARDS_NEW_CLASS, /* one class of defects does not come before the middle */
    BOARDS_LIGHTING,  /* from the middle on images are brighter and flatter, templates are not */
    BOARDS_STORY_COUNT
} boards_story;

typedef struct boards_item {
    size_t at; /* in the data set */
    uint32_t label;
    const char *board, *site; /* borrowed from the data set */
} boards_item;

typedef struct boards_line {
    boards_story story;
    tl_dataset *data;
    tl_dataset_info info;
    boards_item *items, *kept_out;
    size_t count, kept_out_count;
    size_t change_at;   /* number of the item with which the story's change comes */
    uint32_t new_class; /* of BOARDS_NEW_CLASS */
    size_t plane;       /* bytes of an image */
} boards_line;

/* limit: items of the stream; 0: all. Errors: those of the data set, TL_ENOMEM. */
tl_status boards_line_open(boards_line *line, const char *data, boards_story story, size_t limit,
                           tl_error *err);
void boards_line_close(boards_line *line);

/* Image and template into pixels [2 * plane], as they look when item number `when` is inspected. */
tl_status boards_line_pixels(const boards_line *line, const boards_item *item, size_t when,
                             uint8_t *pixels, tl_error *err);
/* Whether such an item can come at that time. */
bool boards_line_comes(const boards_line *line, const boards_item *item, size_t when);

#endif

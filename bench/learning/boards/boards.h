/* boards.h - whole boards with their templates and boxes (detect_1bit_png.tar and boxes.csv of
 * pcb-stream), in memory at the size of a network. For the benchmarks. */
#ifndef TL_BENCH_BOARDS_H
#define TL_BENCH_BOARDS_H

#include "learn/train/train.h"

typedef struct board {
    char name[32];
    bool held_out;              /* the rule of cli/data/dataset.h */
    uint8_t *image, *reference; /* [side, side]; the template registered to the image */
    tl_truth *truths;           /* pixels of [side, side]; classes from 0 on */
    size_t truth_count;
} board;

typedef struct boards {
    uint32_t side;
    board *items;
    size_t count;
    size_t *learned, *judged; /* indices of both parts */
    size_t learned_count, judged_count;
} boards;

enum { BOARD_SIDE = 640, BOARD_CLASSES = 6 };
extern const char *const BOARD_CLASS_NAMES[BOARD_CLASSES];

/* Exits with a message where the folder cannot be read. `limit` boards at most; 0: all. */
void boards_load(const char *folder, uint32_t side, size_t limit, boards *out);
void boards_free(boards *all);
/* The form of a network's input: image, template and their difference. */
tl_pixels_form boards_form(const boards *all);
/* tl_train_fetch of the learned part; the context is the boards. */
tl_status boards_fetch(void *context, size_t index, tl_train_item *out, tl_error *err);

#endif

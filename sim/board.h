/* board.h - patches of printed circuit boards drawn from a seed: what the cameras of a simulated
 * factory see. Layer: sim (above format). Pure functions; any thread.
 *
 * A line inspects one product: TL_SIM_PLACE_COUNT places of a board, each with its golden template.
 * A board is a place with what really varies: registration error, exposure, light that falls off,
 * over- and under-etching, blur, sensor noise, dust - all harmless - and, at the plant's defect
 * rate, one of six kinds of defects. Everything is a function of (seed, line, index). */
#ifndef TL_SIM_BOARD_H
#define TL_SIM_BOARD_H

#include "base/rng.h"
#include "base/status.h"

enum {
    TL_SIM_SIDE = 64, /* pixels of height and width */
    TL_SIM_PIXELS = TL_SIM_SIDE * TL_SIM_SIDE,
    TL_SIM_CLASS_COUNT = 7,
    TL_SIM_PLACE_COUNT = 240
};

typedef enum tl_sim_class {
    TL_SIM_OK,
    TL_SIM_OPEN,      /* a trace is cut through */
    TL_SIM_SHORT,     /* copper joins what should be apart */
    TL_SIM_MOUSEBITE, /* a bite out of an edge */
    TL_SIM_SPUR,      /* a thorn on an edge */
    TL_SIM_COPPER,    /* an island of copper */
    TL_SIM_PINHOLE    /* a hole in copper */
} tl_sim_class;

/* "ok", "open", "short", "mousebite", "spur", "copper", "pin-hole". */
extern const char *const TL_SIM_CLASSES[TL_SIM_CLASS_COUNT];

typedef struct tl_sim_plant {
    uint64_t seed;
    double defect_rate; /* share of boards with a defect, 0..1; the six kinds are equally likely */
} tl_sim_plant;

/* What sets one line apart from the others; the same for its whole life. */
typedef struct tl_sim_line {
    float trace_px; /* width of a trace */
    float gap_px;   /* and the space between two */
    float gain;     /* contrast, 1 is nominal */
    float offset;   /* brightness, grey levels */
    float slope;    /* how much the light falls off over the patch, grey levels */
    float slope_angle;
    float noise;     /* standard deviation, grey levels */
    float blur;      /* 0 none .. 1 strong */
    float jitter_px; /* registration error, at most 1 */
    float etch_px;   /* typical over- or under-etching of an edge */
    float dust_rate; /* harmless specks a patch */
} tl_sim_line;

typedef struct tl_sim_board {
    uint8_t image[TL_SIM_PIXELS];     /* [64, 64], what the camera sees */
    uint8_t reference[TL_SIM_PIXELS]; /* [64, 64], the golden template of the place */
    uint32_t label;                   /* a tl_sim_class: the truth */
    uint32_t place;                   /* < TL_SIM_PLACE_COUNT */
    float defect_x, defect_y;         /* pixels, of the image; -1 when ok */
} tl_sim_board;

void tl_sim_line_draw(uint64_t seed, uint32_t line, tl_sim_line *out);
void tl_sim_board_draw(const tl_sim_plant *plant, uint32_t line, uint64_t index, tl_sim_board *out);
/* The same with the class given (for tests and balanced sets). */
void tl_sim_board_draw_class(const tl_sim_plant *plant, uint32_t line, uint64_t index,
                             tl_sim_class label, tl_sim_board *out);

#endif

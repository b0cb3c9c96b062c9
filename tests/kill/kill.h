/* kill.h - a process that is killed, and what it told before. The worker runs a loop under load and
 * reports through a pipe each thing that the library acknowledged, after the call returned; the
 * checker kills it and looks whether all of that is there.
 *
 * A report is written whole or not at all (it is far below PIPE_BUF), so what the checker reads is
 * exactly what was acknowledged before the kill. */
#ifndef TL_TESTS_KILL_H
#define TL_TESTS_KILL_H

#include <stdbool.h>
#include <stdint.h>
#include <tightloop.h>

enum {
    KILL_FEATURES = 8,
    KILL_SIDE = 16, /* of images */
    KILL_CLASSES = 3,
    KILL_EXTRA_CLASSES = 3, /* may be added while running */
    KILL_SOURCES = 3,
    KILL_BATCH = 4 /* items of a request with an id */
};

typedef enum kill_kind {
    KILL_READY,         /* the loop is open */
    KILL_STATUS,        /* position, digest: as tl_loop_status says */
    KILL_PREDICTION,    /* id, position, version, epoch, label, scores; request when it had one */
    KILL_FEEDBACK,      /* id, position, state, label, source */
    KILL_ASKING,        /* request and seed: a request with an id is about to be made */
    KILL_CLASS,         /* label: so many classes there are */
    KILL_LEARNING_SOON, /* learning is about to be switched */
    KILL_LEARNING,      /* state: it was switched to that */
    KILL_TROUBLE        /* text: a call failed that should not */
} kill_kind;

typedef struct kill_report {
    uint32_t kind; /* a kill_kind */
    uint32_t state;
    int32_t label; /* class index, -1: none */
    uint32_t class_count, source, item;
    uint64_t position, digest, version, epoch, seed;
    uint64_t request; /* number of the request; 0: it had no id */
    tl_id id;
    union {
        float scores[KILL_CLASSES + KILL_EXTRA_CLASSES];
        char text[160];
    } as;
} kill_report;

typedef struct kill_worker_options {
    const char *path;
    uint64_t seed; /* differs from life to life: ids and request ids are made of it */
    bool images;   /* small images instead of feature vectors */
    bool eager;    /* lies: reports before the library has answered; the checker must see it */
    int fd;        /* reports go there */
} kill_worker_options;

/* Runs until it is killed; returns only when it cannot open the loop. */
int kill_worker_run(const kill_worker_options *options);

/* The same runtime and loop for the worker and the checker. */
tl_status kill_open(const char *path, bool images, bool read_only, bool training,
                    tl_runtime **runtime, tl_loop **loop, tl_error *err);

/* An item that a seed stands for, and its true class. */
typedef struct kill_item {
    float features[KILL_FEATURES];
    uint8_t pixels[KILL_SIDE * KILL_SIDE];
    uint32_t label;
    tl_item item; /* points into the struct */
} kill_item;

void kill_item_draw(kill_item *out, bool images, uint64_t seed);
/* An id that a seed stands for. */
tl_id kill_id(uint64_t seed);

/* A request of KILL_BATCH items with an id, waited for. Every second item brings its id. */
tl_status kill_ask(tl_loop *loop, bool images, uint64_t request, tl_prediction out[KILL_BATCH],
                   tl_error *err);

extern const char *const KILL_SOURCE[KILL_SOURCES];

#endif

/* replay.h - which labelled items to learn from again. Layer: learn. One owner thread.
 *
 * An index, not a store: entries are keys (journal positions of predictions) with label and last
 * loss. When it is full, the class with the most entries gives up one of its own at random (a
 * class-balanced reservoir). A function of the calls alone: no clock, no pointer order. */
#ifndef TL_LEARN_REPLAY_H
#define TL_LEARN_REPLAY_H

#include "base/blob.h"
#include "base/rng.h"

typedef struct tl_replay tl_replay;

typedef struct tl_replay_options {
    uint32_t capacity;    /* entries; default 65,536 */
    double by_loss;       /* share of draws by loss; the others are class-balanced; default 0.5 */
    uint32_t by_loss_min; /* entries below which no draw goes by loss; default 32 */
    double ok_share; /* of the class-balanced draws go to class 0, the rest in equal parts to the
                        other classes that have entries; default 0.25 */
    /* A draw by loss takes an entry in proportion to its last loss, limited to this range, so that
     * neither easy entries vanish nor suspect labels take over. Not yet trained on: the upper
     * limit. */
    float loss_low, loss_high; /* default 0.02 and 2 nats */
    /* An entry whose loss was above `suspect_loss` in each of its last `suspect_count` trainings is
     * drawn by loss as if its loss were loss_low. 0: never. Default 8 nats, 0 times. */
    float suspect_loss;
    uint32_t suspect_count;
} tl_replay_options;

tl_replay_options tl_replay_options_default(void);

typedef struct tl_replay_entry {
    uint64_t key;
    uint32_t label;
    float loss;       /* of its last training; negative: not yet */
    uint16_t suspect; /* consecutive trainings with a loss above suspect_loss */
    uint8_t excluded; /* 1: kept, but never drawn (golden set) */
    uint8_t note;     /* the caller's; 0 at first */
} tl_replay_entry;

/* Errors: TL_EINVAL, TL_ENOMEM. */
tl_status tl_replay_create(const tl_replay_options *options, tl_replay **out, tl_error *err);
void tl_replay_destroy(tl_replay **replay);

/* TL_ECONFLICT: the key is there already; TL_EINVAL: label not below TL_CLASS_COUNT_MAX. `rng`
 * chooses who goes when full. */
tl_status tl_replay_add(tl_replay *replay, uint64_t key, uint32_t label, tl_rng *rng,
                        tl_error *err);
/* False when the key is not there. */
bool tl_replay_remove(tl_replay *replay, uint64_t key);
bool tl_replay_relabel(tl_replay *replay, uint64_t key, uint32_t label);
bool tl_replay_exclude(tl_replay *replay, uint64_t key, bool excluded);
/* Note the loss of a training on it. */
bool tl_replay_set_loss(tl_replay *replay, uint64_t key, float loss);
bool tl_replay_set_note(tl_replay *replay, uint64_t key, uint8_t note);
/* Borrowed until the next change; NULL when not there. */
const tl_replay_entry *tl_replay_find(const tl_replay *replay, uint64_t key);
/* index 0..count-1, in no particular order. */
const tl_replay_entry *tl_replay_at(const tl_replay *replay, size_t index);
size_t tl_replay_count(const tl_replay *replay);
size_t tl_replay_class_count(const tl_replay *replay, uint32_t label); /* that can be drawn */

size_t tl_replay_drawable(const tl_replay *replay);
size_t tl_replay_bytes(const tl_replay *replay);

/* Draw `count` entries with replacement into out [count]; returns how many: count, or 0 when no
 * entry can be drawn. */
size_t tl_replay_sample(const tl_replay *replay, tl_rng *rng, size_t count, tl_replay_entry *out);

/* The same with another share of draws by loss. */
size_t tl_replay_sample_mixed(const tl_replay *replay, tl_rng *rng, size_t count, double by_loss,
                              tl_replay_entry *out);

tl_status tl_replay_save(const tl_replay *replay, tl_blob *blob, tl_error *err);
/* The options are those given, not saved ones; entries over the capacity are refused.
 * TL_ECORRUPT, TL_EVERSION, TL_ENOMEM. */
tl_status tl_replay_load(tl_blob_reader *reader, const tl_replay_options *options, tl_replay **out,
                         tl_error *err);

#endif

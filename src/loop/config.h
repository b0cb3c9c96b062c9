/* config.h - what a loop is: an owned, checked copy of tl_loop_options, and its JSON in the
 * journal. Layer: loop. Immutable once made, except for the knobs, which an event "configure" may
 * change. */
#ifndef TL_LOOP_CONFIG_H
#define TL_LOOP_CONFIG_H

#include "base/blob.h"
#include "base/env.h"
#include "base/status.h"
#include "base/text.h"
#include "format/json.h"
#include "gate/gate.h"
#include "review/reviewer.h"

enum { TL_MODEL_HASH_BYTES = 65, TL_NORMALISATION_BYTES = 96, TL_CAMPAIGN_THREADS_MAX = 64 };

typedef struct tl_loop_config {
    /* Fixed at creation. */
    tl_loop_info info; /* classes: those at creation; the core's list grows */
    float feature_range;
    uint64_t seed;
    uint8_t audit_key[TL_DRAW_KEY_BYTES];
    char model_path[512]; /* of the ONNX file that it was made of, or a built-in network's name;
                               empty: the small network */
    char model_hash[TL_MODEL_HASH_BYTES]; /* of the file's bytes, hexadecimal; else empty */
    bool keep_head;
    char normalisation[TL_NORMALISATION_BYTES]; /* empty: symmetric */
    uint32_t planes;      /* channels of the network's input; 0: as the items give */
    tl_learning learning; /* never TL_LEARNING_AUTO once recorded */
    /* Knobs. */
    uint32_t replay_per_label, publish_every_labels, cold_labels, campaign_labels;
    uint32_t campaign_threads; /* the runtime's; recorded, since results repeat for one number */
    double audit_rate, target_precision;
    tl_gate_options gate;
    tl_review_options review;
    char people[TL_PERSON_COUNT_MAX][TL_TEXT_BYTES_MAX]; /* who reviews */
    uint32_t person_count;
} tl_loop_config;

/* Check and copy; draws a new audit key. Errors: TL_EINVAL (the text names the option). */
tl_status tl_loop_config_make(const tl_loop_options *options, const tl_env *env,
                              tl_loop_config *out, tl_error *err);
tl_status tl_loop_config_write(const tl_loop_config *config, tl_text *out);
/* Errors: TL_ECORRUPT. */
tl_status tl_loop_config_read(const char *json, tl_loop_config *out, tl_error *err);

/* TL_ECONFLICT when `wanted` contradicts what `recorded` fixed at creation. A model, a normalisation
 * or a way of learning that `wanted` does not name agrees with any. */
tl_status tl_loop_config_agree(const tl_loop_config *recorded, const tl_loop_config *wanted,
                               tl_error *err);
/* Open a loop as `recorded` in its journal describes it, with the knobs as they are by now. */
tl_status tl_loop_open_recorded(tl_runtime *runtime, const tl_loop_config *recorded, tl_loop **out,
                                tl_error *err);

bool tl_loop_config_knobs_equal(const tl_loop_config *a, const tl_loop_config *b);
void tl_loop_config_copy_knobs(tl_loop_config *to, const tl_loop_config *from);

/* ---- The knobs of the gate and of review (config_gate.c) ---- */

/* TL_EINVAL: the text names the knob. */
tl_status tl_loop_policy_check(const tl_gate_options *options, const tl_review_options *review,
                               tl_error *err);
void tl_loop_policy_write(const tl_loop_config *config, tl_json_writer *w);
/* NULL: a loop from before there was proof; it goes on without. False: damaged. */
bool tl_loop_policy_read(const tl_json *section, tl_loop_config *config);
bool tl_loop_policy_equal(const tl_loop_config *a, const tl_loop_config *b);
void tl_loop_policy_save(const tl_loop_config *config, tl_blob *blob);
tl_status tl_loop_policy_load(tl_blob_reader *body, tl_loop_config *config, tl_error *err);
/* The gate's policy of these knobs. */
tl_gate_policy tl_loop_config_gate(const tl_gate_options *options);
/* The same of review; *out is wholly written, so that two of them can be compared as bytes. */
void tl_loop_review_policy(const tl_loop_config *config, tl_reviewer_policy *out);

/* ---- Who reviews (config_people.c) ---- */

/* Check and copy. TL_EINVAL: the text says what is wrong. */
tl_status tl_loop_people_take(const tl_loop_options *options, tl_loop_config *out, tl_error *err);
void tl_loop_people_write(const tl_loop_config *config, tl_json_writer *w);
/* NULL: nobody. False: damaged. */
bool tl_loop_people_read(const tl_json *list, tl_loop_config *config);
bool tl_loop_people_equal(const tl_loop_config *a, const tl_loop_config *b);
void tl_loop_people_copy(tl_loop_config *to, const tl_loop_config *from);
void tl_loop_people_save(const tl_loop_config *config, tl_blob *blob);
tl_status tl_loop_people_load(tl_blob_reader *body, tl_loop_config *config, tl_error *err);

/* A name of a loop, class, site, ...: 1..63 bytes of printable UTF-8 without control characters. */
bool tl_name_is_valid(const char *name);

#endif

/* tightloop.h - serve, keep, learn, prove, swap: the whole loop in one library.
 *
 * A *runtime* owns one journal (a folder with a SQLite file) and the threads that serve it. A *loop*
 * is one task inside a runtime that improves itself: it predicts on items, keeps each prediction,
 * joins the feedback that arrives later, learns from it and publishes what proved better.
 *
 *     tl_runtime *runtime;
 *     tl_loop *loop;
 *     tl_runtime_open(&runtime_options, &runtime, &err);
 *     tl_loop_open(runtime, &loop_options, &loop, &err);
 *     tl_loop_predict(loop, &item, &prediction, &err);         // durable when it returns
 *     tl_loop_feedback(loop, &feedback, &result, &err);        // the next prediction knows it
 *     tl_runtime_close(&runtime);                              // closes its loops too
 *
 * Threads: every function may be called from any thread, except that closing a handle must not
 * overlap other calls on it. Callbacks run on a thread of the runtime and must not block.
 *
 * Errors: functions return a tl_status. A caller may pass a tl_error to learn what happened and what
 * to do about it; NULL is fine. Outputs come last and are untouched on error. Passing NULL where a
 * pointer is required is a caller's bug and asserts; malformed data is an error, never a crash.
 */
#ifndef TIGHTLOOP_H
#define TIGHTLOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TL_API __attribute__((visibility("default")))
#else
#define TL_API
#endif

/* ---- Status and errors ----------------------------------------------------------------------- */

/* X(name, short text). The order is part of the ABI: append only. */
#define TL_STATUS_MAP(X)                                                                           \
    X(OK, "ok")                                                                                    \
    X(EINVAL, "invalid argument or malformed input")                                               \
    X(ENOMEM, "out of memory")                                                                     \
    X(EIO, "input/output error")                                                                   \
    X(ENOSPC, "no space left for the journal")                                                     \
    X(ENOTFOUND, "not found")                                                                      \
    X(ECONFLICT, "conflicts with what is already recorded")                                        \
    X(ESHAPE, "wrong shape")                                                                       \
    X(EUNSUPPORTED, "not supported")                                                               \
    X(EFULL, "a queue is full; try again shortly")                                                 \
    X(ELIMIT, "over a limit")                                                                      \
    X(ECLOSED, "closed or shutting down")                                                          \
    X(EVERSION, "written by a newer version")                                                      \
    X(ECORRUPT, "damaged data")                                                                    \
    X(EPERM, "not permitted")                                                                      \
    X(EBUSY, "in use by another process")

typedef enum tl_status {
#define X(name, text) TL_##name,
    TL_STATUS_MAP(X)
#undef X
        TL_STATUS_COUNT
} tl_status;

enum { TL_ERROR_TEXT_BYTES = 256 };

/* The detail of a failure: what happened, and what to do. Owned by the caller, no allocation. */
typedef struct tl_error {
    tl_status status;
    char text[TL_ERROR_TEXT_BYTES]; /* UTF-8, NUL-terminated */
} tl_error;

/* The short text of a status, e.g. "wrong shape". Static. */
TL_API const char *tl_status_text(tl_status status);
/* The name of a status, e.g. "TL_ESHAPE". Static. */
TL_API const char *tl_status_name(tl_status status);

/* ---- Identifiers ----------------------------------------------------------------------------- */

/* 128 bits, time-ordered when made here (UUID version 7, RFC 9562). All zero means "none". */
typedef struct tl_id {
    uint8_t bytes[16];
} tl_id;

enum { TL_ID_TEXT_BYTES = 37 }; /* canonical UUID text and its NUL */

TL_API void tl_id_format(tl_id id, char text[TL_ID_TEXT_BYTES]);
/* Accepts the canonical text (36 characters) or 32 hexadecimal digits. TL_EINVAL otherwise. */
TL_API tl_status tl_id_parse(const char *text, size_t bytes, tl_id *out);
TL_API bool tl_id_is_none(tl_id id);

/* ---- Limits ---------------------------------------------------------------------------------- */

enum {
    TL_CLASS_COUNT_MAX = 64,       /* classes a loop */
    TL_FEATURE_COUNT_MAX = 4096,   /* numbers in a feature vector */
    TL_TEXT_BYTES_MAX = 64,        /* names: loop, class, site, board, source, ..., with NUL */
    TL_REQUEST_ID_BYTES_MAX = 128, /* a caller's request id, with NUL */
    TL_ITEM_COUNT_MAX = 256,       /* items in one request */
    TL_PERSON_COUNT_MAX = 32,      /* people who review a loop's items */
    TL_IMAGE_SIDE_MAX = 1024       /* pixels of height or width that a loop takes in */
};

/* ---- Runtime --------------------------------------------------------------------------------- */

typedef struct tl_runtime tl_runtime;
typedef struct tl_loop tl_loop;

typedef enum tl_durability {
    TL_DURABILITY_FULL,   /* acknowledged = on disk (fsync); the default */
    TL_DURABILITY_RELAXED /* acknowledged = handed to the operating system: a power cut may lose it */
} tl_durability;

/* What numbers are between the layers of a network that answers. Learning is always float32. */
typedef enum tl_precision {
    TL_PRECISION_FLOAT32,
    TL_PRECISION_BF16, /* TL_EUNSUPPORTED where the processor has no AVX-512 */
    TL_PRECISION_AUTO  /* bf16 where the processor multiplies it in tiles (AMX), else float32 */
} tl_precision;

typedef struct tl_runtime_options {
    const char *path;         /* folder of the journal; made when missing */
    tl_durability durability; /* default TL_DURABILITY_FULL */
    uint64_t quota_bytes;     /* journal size at which predictions get TL_ENOSPC; 0: no quota */
    uint64_t retention_bytes; /* drop oldest unlabelled items above this size; 0: keep all */
    uint32_t retention_days;  /* drop unlabelled items older than this; 0: keep all */
    uint32_t trainer_threads; /* of a campaign, to 64; 0: no slow learner; default 1 */
    uint32_t batch_max;       /* micro-batch, items; default 32 */
    uint32_t queue_max;       /* items that may wait before TL_EFULL; default 4096 */
    tl_precision precision;   /* of answers; default TL_PRECISION_AUTO */
    bool read_only;           /* open for looking: no predictions, no feedback, no learning */
} tl_runtime_options;

/* The defaults, to be adjusted; `path` must be set. */
TL_API tl_runtime_options tl_runtime_options_default(void);

/* Open or create the journal at options->path, recover what a crash left, start the threads.
 * Errors: TL_EIO, TL_ENOMEM, TL_EVERSION (journal of a newer version), TL_ECORRUPT (see
 * `tightloop doctor`), TL_EBUSY (another process serves it). Then *out is untouched. */
TL_API tl_status tl_runtime_open(const tl_runtime_options *options, tl_runtime **out,
                                 tl_error *err);

/* Answer what was accepted, make it durable, write a checkpoint, close all loops, stop the threads.
 * NULL-safe; clears *runtime. Loop handles of this runtime are invalid afterwards. */
TL_API void tl_runtime_close(tl_runtime **runtime);

/* ---- Loop ------------------------------------------------------------------------------------ */

typedef enum tl_input_form {
    TL_INPUT_IMAGE,   /* 8-bit images, scaled to height x width on the way in */
    TL_INPUT_FEATURES /* vectors of feature_count numbers */
} tl_input_form;

typedef enum tl_learning {
    TL_LEARNING_AUTO,       /* continuous for small networks, campaigns for others */
    TL_LEARNING_CONTINUOUS, /* some steps of the whole network for each label */
    TL_LEARNING_CAMPAIGN,   /* a fine-tune over all labels, every so many new ones */
    TL_LEARNING_OFF         /* the fast head only; the network stays as it came */
} tl_learning;

/* How a version comes into service once the loop is warm. While it is cold, labels are few and all
 * items are reviewed: versions that do no worse serve at once. */
typedef enum tl_promotion {
    TL_PROMOTION_PROVEN,  /* when evidence proves it better, at any time of looking */
    TL_PROMOTION_NO_WORSE /* when it did no worse on the last labels: fast, and no proof */
} tl_promotion;

/* What is one unit of evidence. Defects of one board or lot have one cause: they are one witness. */
typedef enum tl_evidence_unit {
    TL_EVIDENCE_BOARD, /* items with the same `board`; without one, the item */
    TL_EVIDENCE_LOT,   /* items with the same `lot`; without one, the item */
    TL_EVIDENCE_ITEM
} tl_evidence_unit;

/* What is done about a finding. */
typedef enum tl_response {
    TL_RESPONSE_OFF,
    TL_RESPONSE_DRY_RUN, /* journaled: what would have been done */
    TL_RESPONSE_ACT
} tl_response;

/* The judgement over versions: costs, what is promised, and how sure it must be. */
typedef struct tl_gate_options {
    tl_promotion promotion;  /* default TL_PROMOTION_PROVEN */
    tl_evidence_unit unit;   /* default TL_EVIDENCE_BOARD */
    double alpha;            /* chance of any false promotion, ever; default 0.05 */
    double effect;           /* least gain that counts, in cost an item; default 0.0005 */
    double cost_miss;        /* of a defect that passes, 0..1; default 1 */
    double cost_false_alarm; /* of a good item that is flagged, 0..1; default 1 */
    double noise;            /* labels that are wrong at random, at most, 0..0.4; default 0 */
    double hostile;        /* share of the evidence that one hostile source may give, and the cap on
                                each source; whoever contradicts far more often than the others is not
                                learned from; 0: sources are trusted; default 0 */
    double promised_error; /* share of wrong calls that is promised; 0: nothing; default 0 */
    uint32_t alarm_days;   /* mean days between alarms without a cause; default 90 */
    uint32_t take_back_days; /* the same for taking back; default 90 */
    uint32_t timeout_s;      /* a review that is not answered by then counts against the new
                                version; default 86400 */
    tl_response take_back;   /* proven harm: back to the last certified version; default ACT */
    tl_response drift;       /* items look different, without any label: ACT makes audits four times
                                as dense for 5,000 items, and never more; default DRY_RUN */
    uint32_t drift_items;    /* mean items between such alarms without a cause; default 1000000 */
} tl_gate_options;

/* Which items are put before a person, beyond those that are flagged. */
typedef struct tl_review_options {
    double budget; /* share of all items, flagged ones and audits included: what it leaves goes to
                          uncertain items; 0: flagged ones, disagreements and audits only; default 0 */
    double blind;  /* share of flagged items that are shown without the verdict, so that its
                          absence tells nothing; default 0 */
    double
        band; /* probability of an audit just below the threshold that is to be certified, while the
                    line is frozen; below audit_rate: no denser there; default 0 */
    double escapes;       /* of the defects, missed at most below the accepting threshold, to be
                          certified while the line is frozen; default 0.01 */
    double confidence;    /* of that certificate; default 0.95 */
    double disagreements; /* share of all items that people are asked about only because versions in
                             the shadow disagree; beyond, not all of these are asked about. 1: all;
                             default 0.05 */
    bool automatic;       /* calls that audits certify become labels of little weight for the slow
                              learner, and never evidence; default false */
    double automatic_precision; /* that must be certified for it, 0.9 to below 1; default 0.995 */
    double
        repeats; /* share of the answered reviews that are put up once more, blind, to the same person
                       or another, to measure people; default 0 */
} tl_review_options;

typedef struct tl_loop_options {
    const char *name;           /* [A-Za-z0-9._-], 1..63 characters */
    tl_input_form input;        /* default TL_INPUT_IMAGE */
    uint32_t height, width;     /* image pixels; default 64 x 64 */
    uint32_t channels;          /* 1 grey (default) or 3 colour */
    bool has_template;          /* each image comes with its template (golden sample) */
    uint32_t feature_count;     /* for TL_INPUT_FEATURES */
    float feature_range;        /* |value| above this is clamped; default 16 */
    const char *const *classes; /* class names; the first one is "nothing to flag" */
    size_t class_count;         /* 2..TL_CLASS_COUNT_MAX */
    const char *model_path;     /* ONNX file, or the name of a built-in network; NULL: the
                                      built-in small network, or what the journal has */
    bool keep_head;             /* the model's own last layer must have these classes, and stays */
    const char *normalisation;  /* how pixels become the model's numbers: symmetric, unit,
                                      imagenet, efficientnet_lite, or "MEAN,.../STD,..."; NULL: symmetric,
                                      or what the journal has */
    tl_learning learning;       /* of the network; default TL_LEARNING_AUTO */
    uint32_t campaign_labels;   /* new labels before the first campaign; default 256 */
    uint64_t seed;              /* of weights, sampling and audit; default 1 */
    uint32_t replay_per_label;  /* images replayed for each new label; default 16 */
    uint32_t publish_every_labels; /* slow learner offers its weights that often; default 32 */
    uint32_t
        cold_labels; /* everything is put up for review until there are so many, and a fifth of the
                             defects is found, or ten times as many; default 400 */
    double audit_rate;       /* share of passed items put up for review; default 0.02 */
    double target_precision; /* flags aim at this precision; default 0.994 */
    tl_gate_options gate;
    tl_review_options review;
    const char *const
        *people;         /* who reviews, by the source of their feedback: each item is put before
                                  one of them by lot, and only that one's answer is evidence; default
                                  none: anybody's answer is */
    size_t person_count; /* 0..TL_PERSON_COUNT_MAX */
} tl_loop_options;

TL_API tl_loop_options tl_loop_options_default(void);

/* Open the loop `options->name`, or create it when the journal has none of that name. For a loop that
 * exists, input form and classes must agree with what is recorded (TL_ECONFLICT); classes that were
 * added while running are kept. The loop is warm when this returns.
 * Errors: TL_EINVAL, TL_ECONFLICT, TL_EUNSUPPORTED (model), TL_ENOMEM, TL_EIO. */
TL_API tl_status tl_loop_open(tl_runtime *runtime, const tl_loop_options *options, tl_loop **out,
                              tl_error *err);

/* Checkpoint and close one loop; NULL-safe; clears *loop. */
TL_API void tl_loop_close(tl_loop **loop);

/* The loop of that name, or NULL. Borrowed until it or the runtime is closed. */
TL_API tl_loop *tl_runtime_loop(tl_runtime *runtime, const char *name);
/* The i-th open loop in order of opening, or NULL past the end. */
TL_API tl_loop *tl_runtime_loop_at(tl_runtime *runtime, size_t index);

/* What a loop takes and answers: fixed at creation, except that classes may be added. */
typedef struct tl_loop_info {
    char name[TL_TEXT_BYTES_MAX];
    tl_input_form input;
    uint32_t height, width, channels;
    bool has_template;
    uint32_t feature_count;
    size_t class_count;
    char classes[TL_CLASS_COUNT_MAX][TL_TEXT_BYTES_MAX];
} tl_loop_info;

TL_API void tl_loop_describe(tl_loop *loop, tl_loop_info *out);

/* ---- Predict --------------------------------------------------------------------------------- */

typedef enum tl_image_encoding {
    TL_IMAGE_NONE, /* no image here */
    TL_IMAGE_FILE, /* JPEG, PNG, PGM or PPM, recognised by content */
    TL_IMAGE_U8    /* raw [height, width, channels], 0..255 */
} tl_image_encoding;

typedef struct tl_image {
    tl_image_encoding encoding;
    const void *data; /* borrowed for the call */
    size_t bytes;
    uint32_t height, width, channels; /* TL_IMAGE_U8 only */
} tl_image;

typedef struct tl_item {
    tl_id id;              /* none: one is made; else the caller's own, unique in the loop */
    tl_image image;        /* TL_INPUT_IMAGE */
    tl_image reference;    /* its template, when the loop has one; none: a blank (black) template */
    const float *features; /* TL_INPUT_FEATURES: [feature_count], finite */
    size_t feature_count;
    /* NULL or UTF-8 under TL_TEXT_BYTES_MAX; borrowed. */
    const char *site, *line;
    const char *part;        /* what kind of product: its part number */
    const char *board;       /* which unit: its serial number; items of one belong together */
    const char *lot, *shift; /* of the production */
} tl_item;

typedef struct tl_predict_request {
    const tl_item *items;
    size_t count; /* 1..TL_ITEM_COUNT_MAX */
    const char
        *request_id; /* NULL, or the caller's: a retry with the same body gets the same answer */
    uint64_t body_hash[2]; /* of the request's body; used with request_id only */
    uint64_t version;      /* 0: the champion; else a kept version answers (not kept: ENOTFOUND) */
} tl_predict_request;

/* Of a frozen line with a certified threshold (tl_estimates.accept_below) there are three. */
typedef enum tl_zone {
    TL_ZONE_ACCEPT, /* below both thresholds; without a certificate: not flagged */
    TL_ZONE_REVIEW, /* between them: a person decides */
    TL_ZONE_REJECT  /* flagged */
} tl_zone;

typedef struct tl_prediction {
    tl_id id;
    uint64_t position; /* in the journal */
    uint64_t version;  /* the immutable version that answered */
    uint64_t epoch;    /* journal position of the last feedback its head had learned */
    uint32_t label;    /* index of the most likely class */
    uint32_t class_count;
    float scores[TL_CLASS_COUNT_MAX]; /* probabilities, sum 1 */
    float defect_score;               /* 1 - scores[0] */
    float threshold;                  /* flagged = defect_score >= threshold */
    bool flagged;
    tl_zone zone; /* what to do with the item */
    bool review;  /* somebody should look: flagged, audit, or the loop is still cold */
    bool blind;   /* shown to them without the answer, so that they do not lean on it: audits, and a
                   share of the flagged items (review.blind) */
    float propensity;   /* probability with which `review` was set, fixed before the label */
    const char *person; /* who is to look; NULL: nobody, or anybody. Until the loop is closed */
} tl_prediction;

/* Called once for each accepted request, after its predictions are durable (status TL_OK) or could
 * not be made (then predictions is NULL, count 0 and err says why). Arrays are borrowed until it
 * returns. Runs on a thread of the runtime. */
typedef void (*tl_predict_done)(void *context, tl_status status, const tl_prediction *predictions,
                                size_t count, const tl_error *err);

/* Decode and check the items on the calling thread, then queue them. TL_OK: `done` will be called
 * exactly once. Any other status: it will not.
 * Errors: TL_EINVAL, TL_ESHAPE, TL_ELIMIT (image too large), TL_ECONFLICT (item id known, or request
 * id known with another body), TL_ENOTFOUND (version), TL_EFULL, TL_ENOSPC, TL_ECLOSED. */
TL_API tl_status tl_loop_predict_async(tl_loop *loop, const tl_predict_request *request,
                                       tl_predict_done done, void *context, tl_error *err);

/* The same for one item, waiting until it is durable. */
TL_API tl_status tl_loop_predict(tl_loop *loop, const tl_item *item, tl_prediction *out,
                                 tl_error *err);

/* ---- Feedback -------------------------------------------------------------------------------- */

typedef enum tl_feedback_kind {
    TL_FEEDBACK_LABEL,   /* the true class is `label` */
    TL_FEEDBACK_VERDICT, /* the answered class was correct or not */
    TL_FEEDBACK_WITHDRAW /* forget what was said of this prediction by this source */
} tl_feedback_kind;

typedef struct tl_feedback {
    tl_id prediction_id;
    tl_feedback_kind kind;
    const char *label;  /* class name, for TL_FEEDBACK_LABEL */
    bool correct;       /* for TL_FEEDBACK_VERDICT */
    const char *source; /* who says so; NULL: "local" */
    int64_t time_us;    /* when it was observed, Unix microseconds; 0: now */
} tl_feedback;

typedef enum tl_feedback_state {
    TL_FEEDBACK_APPLIED,   /* joined and learned from */
    TL_FEEDBACK_CORRECTED, /* replaced what was said before */
    TL_FEEDBACK_REPEATED,  /* the same was said before: no effect */
    TL_FEEDBACK_PENDING,   /* the prediction is not known yet; joined when it arrives */
    TL_FEEDBACK_WITHDRAWN, /* the earlier label was forgotten */
    TL_FEEDBACK_NOTED /* kept, but nothing to learn (verdict "incorrect" without a class, ...) */
} tl_feedback_state;

/* "applied", "corrected", ... Static. */
TL_API const char *tl_feedback_state_text(tl_feedback_state state);

typedef struct tl_feedback_result {
    tl_feedback_state state;
    uint64_t position; /* in the journal */
    uint64_t epoch;    /* predictions of this epoch or later know it */
} tl_feedback_result;

/* Called once for each accepted request when all its feedback is durable and the head that knows it
 * is published. Runs on a thread of the runtime. */
typedef void (*tl_feedback_done)(void *context, tl_status status, const tl_feedback_result *results,
                                 size_t count, const tl_error *err);

typedef struct tl_feedback_request {
    const tl_feedback *items;
    size_t count;           /* 1..TL_ITEM_COUNT_MAX */
    const char *request_id; /* as in tl_predict_request */
    uint64_t body_hash[2];
} tl_feedback_request;

/* All or nothing: one malformed item refuses the request.
 * Errors: TL_EINVAL (unknown class: the text lists the known ones), TL_ECONFLICT, TL_EFULL (also too
 * many pending), TL_ENOSPC, TL_ECLOSED. */
TL_API tl_status tl_loop_feedback_async(tl_loop *loop, const tl_feedback_request *request,
                                        tl_feedback_done done, void *context, tl_error *err);

/* The same for one, waiting until it is durable and learned. */
TL_API tl_status tl_loop_feedback(tl_loop *loop, const tl_feedback *feedback,
                                  tl_feedback_result *out, tl_error *err);

/* ---- Status, versions, control --------------------------------------------------------------- */

/* A share with its 95 % interval and the counts behind it; count 0: nothing known yet, 0..1. */
typedef struct tl_share {
    double value, low, high;
    uint64_t hits, count;
} tl_share;

typedef struct tl_loop_state {
    uint64_t predictions, flagged, reviews_wanted;
    uint64_t feedback, labels, pending, withdrawn, clamped;
    uint64_t champion;       /* version that answers */
    uint64_t epoch;          /* last feedback that the champion's head knows */
    uint64_t position;       /* last journal position applied */
    uint64_t trained_labels; /* labels the slow learner has worked through */
    uint64_t publishes, rollbacks,
        refused;     /* versions that went live, were taken back, were not better */
    uint64_t golden; /* items in the golden set */
    bool learning;   /* false: paused */
    bool cold;       /* everything is put up for review */
    float threshold;
    tl_share precision, recall, accuracy; /* over the last labelled items, each predicted before its
                                             label was learned; among reviewed items, see the docs */
    double label_to_served_ms_p50, label_to_served_ms_p99; /* feedback arrival to published head */
    double answer_ms_p50, answer_ms_p99;                   /* arrival to durable answer */
    bool frozen;               /* a requalified line: see tl_loop_set_frozen */
    uint64_t alarms;           /* broken promises of the error rate */
    uint64_t automatic_labels; /* that nobody gave, see tl_estimates */
    uint64_t automatic_bins;   /* kinds of calls that are certified for it now */
    /* Time to improvement: from a baseline to the proof that what answers is better. Kaplan-Meier
     * medians; NaN: not reached by half of them. */
    double tti_seconds_p50, tti_seconds_low, tti_seconds_high;
    double tti_labels_p50, tti_labels_low, tti_labels_high;
    uint64_t tti_proven,
        tti_censored;                /* of the newest baselines, the open one among the censored */
    uint64_t digest;                 /* chained over everything learned, for replay --verify */
    char network[TL_TEXT_BYTES_MAX]; /* the end of the model's path; "small" or "linear" */
    uint64_t parameters, multiply_adds;     /* of the network; multiply-adds for one item */
    uint32_t network_features;              /* what the fast head learns on */
    tl_learning learns;                     /* how the network learns; never TL_LEARNING_AUTO */
    uint64_t campaigns;                     /* judged so far */
    uint64_t campaign_done, campaign_steps; /* of the one under way; 0 of 0: none is */
    uint64_t next_campaign_labels; /* labels at which the next starts; 0: not in campaigns */
} tl_loop_state;

/* "auto", "continuous", "campaign", "off". Static. */
TL_API const char *tl_learning_text(tl_learning learning);

TL_API void tl_loop_status(tl_loop *loop, tl_loop_state *out);

/* How long a stage of the loop takes, since the process began. */
typedef struct tl_loop_stage {
    const char
        *name; /* of each request: "answer" (arrival to durable answer); of each label: "commit"
                         (feedback to durable), "update" (a round's records applied), "publish" (a
                         round's new model swapped in), "label_to_served" (all three: feedback to
                         the model that knows it); of each version: "candidate" (the newest of its
                         labels applied, until its judgement is durable), "verdict" (from then until
                         it answers), "first_answer" (until the first durable answer by it); of
                         versions that never answered only the first. Static */
    uint64_t count;
    double sum_seconds, p50_seconds, p99_seconds;
} tl_loop_stage;

enum { TL_LOOP_STAGE_COUNT = 8 };
TL_API void tl_loop_stages(tl_loop *loop, tl_loop_stage out[TL_LOOP_STAGE_COUNT]);

typedef struct tl_version_info {
    uint64_t number, parent;
    char origin[TL_TEXT_BYTES_MAX]; /* "initial", "continuous", "import", ... */
    int64_t created_us;
    uint64_t position;                      /* trained up to this journal position */
    uint64_t labels;                        /* labels seen by its weights */
    double window_loss, parent_window_loss; /* mean prequential log loss, nats; NaN: not known */
    uint32_t window_count;
    uint32_t golden_errors, golden_count;
    bool kept; /* weights are still there: may be promoted */
    bool champion;
    char verdict[128]; /* why it was published, in words; "": the loop began with it */
} tl_version_info;

/* Copy up to `capacity` of the newest versions, newest first; returns how many were written. */
TL_API size_t tl_loop_versions(tl_loop *loop, tl_version_info *out, size_t capacity);
/* One of them, however old. TL_ENOTFOUND. */
TL_API tl_status tl_loop_version(tl_loop *loop, uint64_t number, tl_version_info *out,
                                 tl_error *err);

/* A policy that decides in shadow of what answers, and how its evidence stands. */
enum { TL_STANDING_SITE_MAX = 16 };

/* The same at one site. */
typedef struct tl_site_standing {
    char name[TL_TEXT_BYTES_MAX];
    uint64_t units, items, disagreements, wins, losses, timeouts;
    double gain, gain_low, gain_high;
    bool worse; /* proven, at 5 % over all sites */
} tl_site_standing;

typedef struct tl_standing {
    uint64_t version;
    const char *role;         /* "challenger", "baseline", "guard" (the champion before). Static */
    int64_t since_us;         /* in shadow since then */
    uint64_t number;          /* in the series of everything ever tried; 0: none spent */
    double alpha;             /* what that number may spend; 0: none */
    double log_e, log_needed; /* evidence for the verdict it waits for, and what that takes, nats */
    double log_harm,
        log_harm_needed;    /* that what answers must give way to it; needed 0: not asked */
    uint64_t units, items;  /* of evidence */
    uint64_t disagreements; /* reviewed */
    uint64_t wins, losses;  /* of it, against what answers */
    uint64_t timeouts;      /* reviews nobody answered: counted against it */
    double gain, gain_low, gain_high; /* cost an item that it saves; 95 % at any time */
    double needed;        /* about so many more reviewed disagreements; NaN: not foreseeable */
    bool blocked_by_site; /* better over all, and proven worse at one site */
    char words[256];
    char site_words[512]; /* at which site it loses, and how much; "": at none */
    tl_site_standing sites[TL_STANDING_SITE_MAX]; /* the first that had evidence */
    size_t site_count;
} tl_standing;

/* Copy up to `capacity` of them; returns how many were written. Waits for the learner's round. */
TL_API size_t tl_loop_standings(tl_loop *loop, tl_standing *out, size_t capacity);

/* What serves, judged by the answers on drawn items, each weighted by its logged probability: since it
 * was put into service, at any time of looking 95 %. */
typedef struct tl_estimates {
    uint64_t since_position;
    uint64_t items, verified; /* predicted; drawn and answered (or timed out: as errors) */
    tl_share recall, precision, prevalence;
    tl_share escapes;      /* share of the passed items that is defective */
    tl_share overkill;     /* share of all items that is flagged though good */
    bool certified;        /* at most review.escapes of the defects score below accept_below */
    double accept_below;   /* 0: nothing is accepted unseen */
    double needed_defects; /* verified, still, for the certificate; infinity: not to be had */
    double needed_labels;  /* the same in answers; NaN: not known yet */
    uint64_t open_reviews; /* drawn and not answered yet */
    uint64_t
        by_another; /* drawn, and answered by another than the one who was asked: no evidence */
    uint64_t drift_alarms;
    bool rules_kept; /* those that these figures rest on */
    char threshold_words[384], rules_words[160], suspects_words[160];
    /* Labels that nobody gave (tl_review_options.automatic): how many went into training so far, and
     * how many certificates have ended; of the version that serves, kinds of calls that are certified,
     * all audits of its calls, and how often those of the certified kinds were right. */
    uint64_t automatic_labels, automatic_ended, automatic_bins, automatic_audits;
    tl_share automatic_precision;
    char automatic_words[224];
    char people_words[200]; /* how items shown again were answered; "": none yet */
} tl_estimates;

/* Waits for the learner's round. */
TL_API tl_status tl_loop_estimates(tl_loop *loop, tl_estimates *out, tl_error *err);

/* ---- What people are asked ------------------------------------------------------------------- */

enum { TL_REVIEW_LIST_MAX = 256 }; /* reviews in one answer */

/* An item that waits for a person's answer. */
typedef struct tl_review_item {
    tl_id id;
    uint64_t position; /* of the prediction in the journal */
    int64_t time_us;   /* since then it is asked */
    int64_t until_us;  /* then it is timed out; Unix microseconds */
    bool blind;        /* to be judged without the model's word: none of the next four is told */
    bool flagged;
    uint32_t label;     /* as answered */
    float defect_score; /* NaN when blind */
    const char *why;   /* the rule: "disagreement", "flagged", "cold"; "blind" when blind. Static */
    const char *words; /* the same for people. Static */
    /* "" where nothing was told. */
    char site[TL_TEXT_BYTES_MAX], line[TL_TEXT_BYTES_MAX], part[TL_TEXT_BYTES_MAX];
    char board[TL_TEXT_BYTES_MAX], lot[TL_TEXT_BYTES_MAX];
    char person[TL_TEXT_BYTES_MAX]; /* who is asked; "": anybody */
} tl_review_item;

/* The open reviews, the most valuable first; the place of a blind one does not tell what the model
 * says of it.
 *   person    only what that one is asked; NULL: of everybody
 *   out       [capacity]; capacity 1..TL_REVIEW_LIST_MAX
 *   count     how many were written
 *   open      how many there are, of that person
 * Waits for the learner's round. Errors: TL_EINVAL (capacity, or nobody of that name is asked: the text
 * lists who is), TL_ENOMEM, TL_EIO. */
TL_API tl_status tl_loop_reviews(tl_loop *loop, const char *person, tl_review_item *out,
                                 size_t capacity, size_t *count, uint64_t *open, tl_error *err);

/* Of each person: how many reviews are open. */
typedef struct tl_review_person {
    char name[TL_TEXT_BYTES_MAX];
    uint64_t open;
} tl_review_person;

/* In the order of the options; returns how many there are. Waits for the learner's round. */
TL_API size_t tl_loop_people(tl_loop *loop, tl_review_person out[TL_PERSON_COUNT_MAX]);

/* What the gate did. */
typedef struct tl_gate_event {
    const char *kind; /* "baseline", "challenge", "waits", "set_aside", "promoted", "certified",
                         "taken_back", "alarm", "drift", "distrusted", "trusted". Static */
    uint64_t position, version;
    int64_t time_us;
    char words[256];
} tl_gate_event;

/* The newest of them (at most 128 are kept), newest first, as above. */
TL_API size_t tl_loop_gate_events(tl_loop *loop, tl_gate_event *out, size_t capacity);

/* A change of what answers, or a verdict on it, as the journal keeps it, with its evidence. */
typedef struct tl_verdict_info {
    char kind[16]; /* "publish", "promote", "certify", "take_back", "rollback", "alarm",
                                    "freeze", "unfreeze"; of one version also "challenge" (it was
                                    made, and decides in shadow or waits), "try" (by hand) */
    char who[TL_TEXT_BYTES_MAX]; /* "gate", or who did it by hand; "": the rule of publishing */
    uint64_t position, version;
    uint64_t champion; /* what answered then, as far as it is told; take_back: what gave way */
    int64_t time_us;
    bool dry_run;             /* it was only said */
    bool judged;              /* by the gate: what follows is known */
    uint64_t number;          /* in the series of everything ever tried; 0: none spent */
    double log_e, log_needed; /* evidence, and what it took, nats */
    uint64_t units, items, disagreements, wins, losses, timeouts;
    double gain, gain_low, gain_high; /* as in tl_standing */
    double tti_seconds; /* since the baseline was frozen that ended with it; NaN: none did */
    uint64_t tti_labels;
    bool tti_proven; /* improved upon; else given up: it would have taken longer */
    char words[256];
} tl_verdict_info;

/* The newest of them, newest first, as above; `version` 0: of all versions. Reads the journal, all of
 * it: however old they are. */
TL_API size_t tl_loop_verdicts(tl_loop *loop, uint64_t version, tl_verdict_info *out,
                               size_t capacity);

/* A candidate that did not become a version: its weights were dropped. */
typedef struct tl_refusal_info {
    uint64_t position; /* of the judgement in the journal */
    uint64_t labels;   /* labels seen by its weights */
    int64_t judged_us;
    char verdict[128]; /* why, in words */
} tl_refusal_info;

/* The newest judgements against a candidate, newest first, as above. */
TL_API size_t tl_loop_refusals(tl_loop *loop, tl_refusal_info *out, size_t capacity);

/* ---- The report ------------------------------------------------------------------------------ */

typedef enum tl_report_by {
    TL_REPORT_ALL,
    TL_REPORT_SITE,
    TL_REPORT_LINE,
    TL_REPORT_SHIFT,
    TL_REPORT_LOT,
    TL_REPORT_CLASS
} tl_report_by;

enum {
    TL_REPORT_ROW_COUNT_MAX = 256,
    TL_REPORT_FINDING_COUNT_MAX = 8,
    TL_REPORT_FINDING_BYTES = 160
};

typedef struct tl_report_options {
    tl_report_by by;
    int64_t since_us, until_us; /* of the predictions, Unix microseconds; 0: no bound */
    const char *field_source;   /* feedback of this source is what was found in the field: counted
                                   apart, not among the verdicts; NULL: "field" */
} tl_report_options;

/* Shares with 95 % intervals that hold whenever they are looked at; estimates for all items, from
 * those that were put up for review, each weighted by the inverse of the probability with which it
 * was. `hits` and `count` are the verdicts behind a share, not weighted. */
typedef struct tl_report_row {
    char name[TL_TEXT_BYTES_MAX]; /* of the site, line, ..., class; "" where none was told */
    uint64_t items, flagged;
    uint64_t drawn, answered; /* put up for review; of these, with a verdict */
    uint64_t volunteered;     /* verdicts on items that were not put up: not among the answered */
    uint64_t field, field_escapes; /* told from the field; of these, defects that had passed */
    tl_share escapes;              /* of the items that passed: defects */
    tl_share overkill;             /* of all items: flagged though good */
    tl_share prevalence;           /* of all items: defects */
    tl_share recall;               /* of the defects: flagged */
    tl_share precision;            /* of the flagged: defects. Not of a class */
    tl_share accuracy;             /* of all items: answered with the right class. Not of a class */
} tl_report_row;

typedef struct tl_report {
    tl_report_row all;
    /* Drawn items that passed and have no verdict are taken to be like those that have one. If all
     * of them were escapes: the share of the passed, and its upper limit. */
    tl_share escapes_worst;
    size_t row_count;
    size_t rows_left_out; /* sites, ... beyond TL_REPORT_ROW_COUNT_MAX */
    tl_report_row *rows;  /* [row_count], by name; classes in their order, without the first */
    size_t class_count;
    char classes[TL_CLASS_COUNT_MAX][TL_TEXT_BYTES_MAX];
    /* Of all items, estimated: what they were by what was answered; [told * class_count + answered].
     * And the verdicts behind it. */
    double *confusion;
    uint64_t *confusion_count;
    /* Which rules that the figures rest on were not kept, in words: drawn items left open for more
     * than a day, lots that are not as their probabilities say. */
    size_t finding_count;
    char findings[TL_REPORT_FINDING_COUNT_MAX][TL_REPORT_FINDING_BYTES];
} tl_report;

/* Reads the whole journal of the loop, some 100,000 predictions a second; does not disturb serving.
 * Escapes and all else are "against operators": as right as those who gave the verdicts.
 * Errors: TL_ENOMEM, TL_EIO, TL_ECORRUPT. */
TL_API tl_status tl_loop_report(tl_loop *loop, const tl_report_options *options, tl_report **out,
                                tl_error *err);
TL_API void tl_report_destroy(tl_report **report); /* NULL-safe; clears *report */

/* Put a kept version into service. `who` is journaled. Waits until it answers.
 * TL_ENOTFOUND: no such version, or its weights were not kept. */
TL_API tl_status tl_loop_promote(tl_loop *loop, uint64_t version, const char *who, tl_error *err);
/* Let a kept version decide in shadow of what answers, as soon as the backbone in shadow gives way, and
 * put it into service when it is proven better. Errors: as above, and TL_ECONFLICT where nothing is to
 * be proven (gate.promotion: no-worse). */
TL_API tl_status tl_loop_challenge(tl_loop *loop, uint64_t version, const char *who, tl_error *err);
/* Back to `version`, or with 0 to the champion before this one; learning is paused until resumed. */
TL_API tl_status tl_loop_rollback(tl_loop *loop, uint64_t version, const char *who, tl_error *err);
TL_API tl_status tl_loop_set_learning(tl_loop *loop, bool on, const char *who, tl_error *err);
/* A requalified line: while frozen, nothing is learned, promoted or certified, and the answer to an
 * item stays the same bit for bit; proven harm and broken promises are still told and taken back.
 * tl_loop_set_learning(on) is TL_ECONFLICT meanwhile. */
TL_API tl_status tl_loop_set_frozen(tl_loop *loop, bool on, const char *who, tl_error *err);
/* TL_ECONFLICT: exists already; TL_ELIMIT: too many. */
TL_API tl_status tl_loop_add_class(tl_loop *loop, const char *name, const char *who, tl_error *err);

/* The golden set: labelled items on which no published version may make more errors than the one it
 * replaces; one that must prove itself in shadow, not more new ones than an exact paired test takes for
 * chance. While it is empty that rule is void. Items of it are never trained on from then on. */
TL_API tl_status tl_loop_golden_add(tl_loop *loop, tl_id prediction, const char *who,
                                    tl_error *err);
TL_API tl_status tl_loop_golden_remove(tl_loop *loop, tl_id prediction, const char *who,
                                       tl_error *err);
/* Copies up to `capacity` ids; returns how many there are. */
TL_API size_t tl_loop_golden(tl_loop *loop, tl_id *out, size_t capacity);

/* What happened, one line of JSON: {"type":"publish","loop":...,...}. `json` is borrowed until the
 * callback returns. Runs on a thread of the runtime; must not block or call back into the loop. */
typedef void (*tl_event_fn)(void *context, const char *json, size_t bytes);
/* One listener a runtime; NULL removes it. */
TL_API void tl_runtime_on_event(tl_runtime *runtime, tl_event_fn fn, void *context);

/* Wait until the slow learner has worked through every label so far (for batch use and tests). */
TL_API tl_status tl_loop_drain(tl_loop *loop, tl_error *err);

/* Journal facts for /metrics and `doctor`. */
typedef struct tl_journal_state {
    uint64_t bytes, wal_bytes, quota_bytes, commits, records, images;
    double commit_ms_p50, commit_ms_p99;
    double days_until_full; /* forecast at the present rate; negative: no quota or not growing */
} tl_journal_state;

TL_API void tl_runtime_journal_state(tl_runtime *runtime, tl_journal_state *out);

/* Copy the journal to `path` while serving. TL_ECONFLICT: a file is there already. */
TL_API tl_status tl_runtime_backup(tl_runtime *runtime, const char *path, tl_error *err);

/* "1.2.3" */
TL_API const char *tl_version_text(void);

#ifdef __cplusplus
}
#endif

#endif

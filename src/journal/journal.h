/* journal.h - the one durable, ordered record of everything: predictions, feedback, events,
 * versions, images, checkpoints. Layer: journal (above base). Format: docs/formats/journal.md.
 *
 * A journal is a folder with one SQLite file in WAL mode. One writer thread takes *entries* (all
 * the records of one request) from a bounded queue, gives every record the next position, writes as
 * many entries as are waiting in one transaction, and calls each entry's `done` after the commit,
 * in the order of positions. So `done(TL_OK)` means durable, and a group costs one sync.
 *
 * Positions are gap-free from 1 over all loops and kinds of records that carry one.
 *
 * Threads: tl_journal_submit from any thread; a tl_journal_reader belongs to one thread at a time.
 * After a failed write the group is rolled back and its entries are told; after TL_EIO the journal
 * is read-only until it is opened anew (a sync that failed once is never retried). */
#ifndef TL_JOURNAL_JOURNAL_H
#define TL_JOURNAL_JOURNAL_H

#include "base/arena.h"
#include "base/env.h"

typedef struct tl_journal tl_journal;
typedef struct tl_journal_reader tl_journal_reader;

typedef struct tl_journal_options {
    const char *path;  /* folder, made when missing */
    const tl_env *env; /* NULL: the system's */
    const char *vfs;   /* SQLite VFS by name, NULL: the default one. With one, `path` is a name in
                          that VFS: no folder and no lock file are made in the file system */
    bool relaxed;      /* synchronous=NORMAL */
    bool read_only;    /* no writer thread; submit answers TL_EPERM */
    size_t queue_max;  /* entries that may wait; default 8192 */
    uint64_t quota_bytes;     /* submit of predictions answers TL_ENOSPC above it; 0: none */
    uint64_t retention_bytes; /* prune unlabelled predictions, oldest first, above it; 0: never */
    uint32_t retention_days;  /* prune unlabelled predictions that are older; 0: never */
    /* SQLite checkpoints between groups when its log is longer (0: 1 MiB), and above the hard bound
     * (0: 64 MiB) waits up to 0.1 s for readers so that the log starts over. */
    uint32_t wal_soft_bytes, wal_hard_bytes;
} tl_journal_options;

/* Errors: TL_EIO, TL_ENOMEM, TL_EVERSION, TL_ECORRUPT, TL_EBUSY (a lock file held by a live
 * process), TL_ENOTFOUND (read_only and nothing there). Older formats are migrated in place, in one
 * transaction. */
tl_status tl_journal_open(const tl_journal_options *options, tl_journal **out, tl_error *err);
/* Writes what waits, calls every `done`, checkpoints the WAL, joins the thread. NULL-safe. */
void tl_journal_close(tl_journal **journal);

/* ---- Records --------------------------------------------------------------------------------- */

typedef enum tl_record_kind {
    TL_RECORD_PREDICTION,
    TL_RECORD_FEEDBACK,
    TL_RECORD_EVENT,     /* publish, refuse, rollback, pause, resume, class, golden, skip, ... */
    TL_RECORD_VERSION,   /* a version and (when kept) its weights */
    TL_RECORD_CHECKPOINT /* state of a loop; the newest two a loop are kept */
} tl_record_kind;

/* An image as it came in. Kept once however often it comes (BLAKE2b-256 of encoding,
 * shape and bytes). */
typedef struct tl_stored_image {
    uint8_t encoding;                 /* a tl_image_encoding; TL_IMAGE_NONE: no image */
    uint32_t height, width, channels; /* of raw images; 0 for files */
    const void *data;
    size_t bytes;
    uint8_t hash[32]; /* set by tl_stored_image_hash, on the caller's thread */
} tl_stored_image;

void tl_stored_image_hash(tl_stored_image *image);

enum { TL_SHADOW_COUNT_MAX = 8 };

/* What a challenger said of an item that the champion answered. */
typedef struct tl_shadow_record {
    uint64_t version;
    float defect_score;
    uint8_t label;   /* class index */
    uint8_t flagged; /* 0 or 1 */
} tl_shadow_record;

typedef struct tl_prediction_record {
    tl_id id;
    int64_t time_us;
    uint64_t version, epoch;
    const char *site, *line, *part;           /* NULL or text */
    const char *board, *lot, *shift;          /* likewise */
    const tl_stored_image *image, *reference; /* NULL: none */
    const float *features;                    /* the input vector, or NULL */
    uint32_t feature_count;
    const float *scores; /* [score_count] probabilities as answered */
    uint32_t score_count;
    const float *head_scores; /* [head_count * score_count] what each head said, or NULL */
    uint32_t head_count;
    uint32_t label; /* index of the answered class */
    bool flagged, review;
    uint8_t reason; /* the rule that set the propensity, drawn or not; 0: none; +128: shown blind */
    float threshold, propensity;
    const tl_shadow_record *shadows; /* [shadow_count], or NULL */
    uint32_t shadow_count;           /* at most TL_SHADOW_COUNT_MAX */
    bool brought_id;                 /* the caller brought the id: may be known already */
    /* By readers only. */
    bool pruned; /* a tombstone: no image, features, head scores, shadows or part */
    uint64_t image_number, reference_number; /* 0: none; see tl_journal_find_image */
} tl_prediction_record;

typedef struct tl_feedback_record {
    tl_id prediction_id;
    uint8_t kind;  /* a tl_feedback_kind */
    int32_t label; /* class index, or -1 */
    bool correct;
    const char *source; /* text */
    int64_t time_us;    /* when observed */
    int64_t received_us;
} tl_feedback_record;

typedef struct tl_event_record {
    const char *kind; /* e.g. "publish" */
    const char *body; /* JSON text */
    int64_t time_us;
} tl_event_record;

typedef struct tl_version_record {
    uint64_t number, parent;
    const char *origin;  /* text */
    const char *metrics; /* JSON text */
    int64_t time_us;
    uint64_t trained_position; /* trained up to this position */
    uint64_t weights_hash;
    const void *weights; /* blob, or NULL when not kept */
    size_t weights_bytes;
} tl_version_record;

typedef struct tl_checkpoint_record {
    uint64_t upto;     /* state after this position */
    const char *build; /* processor and library versions that made it */
    const void *body;
    size_t bytes;
    int64_t time_us;
} tl_checkpoint_record;

typedef struct tl_record {
    tl_record_kind kind;
    uint32_t loop;     /* from tl_journal_loop_open */
    uint64_t position; /* given by the writer; valid in `done` and from readers */
    union {
        tl_prediction_record prediction;
        tl_feedback_record feedback;
        tl_event_record event;
        tl_version_record version;
        tl_checkpoint_record checkpoint;
    } as;
} tl_record;

/* ---- Writing --------------------------------------------------------------------------------- */

typedef struct tl_journal_entry tl_journal_entry;
struct tl_journal_entry {
    /* By the caller; all borrowed until `done`. Written all or none. */
    tl_record *records;
    size_t count;
    const char *request_id; /* NULL, or the caller's id of the request, unique a loop */
    uint64_t body_hash[2];
    void (*done)(tl_journal_entry *entry, tl_status status, const tl_error *err);
    void *context;
    /* By the writer, before `done`. */
    bool repeated;           /* request_id known with the same body: nothing was written; the */
    uint64_t first_position; /* earlier request's records have these positions */
    uint64_t last_position;
};

/* Queue an entry. TL_OK: `done` will be called once, on the writer thread, with TL_OK (durable),
 * TL_ECONFLICT (a brought id is known; or request_id known with another body), TL_ENOSPC, TL_EIO,
 * TL_ENOMEM, TL_ECORRUPT or TL_EBUSY (a foreign program holds the file's write lock).
 * Other answers: `done` will not be called: TL_EFULL, TL_ECLOSED, TL_EPERM, TL_EIO (read-only after
 * a failed write), TL_EINVAL (no records), TL_ENOSPC (over the quota; feedback, events and
 * checkpoints are still taken). The entry may be freed or submitted again from within `done`;
 * `done` must not wait for the writer (tl_journal_append, tl_journal_loop_open). */
tl_status tl_journal_submit(tl_journal *journal, tl_journal_entry *entry, tl_error *err);
/* The same, waiting for the commit. */
tl_status tl_journal_append(tl_journal *journal, tl_record *records, size_t count, tl_error *err);

/* Number of the loop of that name, made when missing with `config` (JSON text) as its description.
 * *config_out (malloc'ed, may be NULL) gets what is recorded. Waits for the commit. */
tl_status tl_journal_loop_open(tl_journal *journal, const char *name, const char *config,
                               uint32_t *loop, char **config_out, tl_error *err);

/* Forget the weights of a version (its row stays). Queued, no answer. */
tl_status tl_journal_version_drop_weights(tl_journal *journal, uint32_t loop, uint64_t number,
                                          tl_error *err);

/* ---- Reading --------------------------------------------------------------------------------- */

/* A read-only connection of its own. Sees everything whose `done` was called before. */
tl_status tl_journal_reader_open(tl_journal *journal, tl_journal_reader **out, tl_error *err);
/* The same without a writer in this process, e.g. for `tightloop doctor`. */
tl_status tl_journal_reader_open_path(const char *path, tl_journal_reader **out, tl_error *err);
void tl_journal_reader_close(tl_journal_reader **reader);

/* Records are filled with pointers into `arena`, valid until it is reset. */

/* TL_ENOTFOUND: unknown. A pruned prediction is found as a tombstone: *pruned is set, image and
 * features are NULL. Images are read only when `with_images`. */
tl_status tl_journal_find_prediction(tl_journal_reader *reader, uint32_t loop, tl_id id,
                                     bool with_images, tl_arena *arena, tl_record *out,
                                     bool *pruned, tl_error *err);
/* The image of that number (image_number of a prediction). TL_ENOTFOUND: no such image. */
tl_status tl_journal_find_image(tl_journal_reader *reader, uint64_t number, tl_arena *arena,
                                tl_stored_image *out, tl_error *err);
/* The next record of `loop` (any loop: UINT32_MAX) with position > after, in order. Images are not
 * read; weights and checkpoint bodies are (NULL where they were dropped); a pruned prediction has
 * `pruned` set. Reads ahead: cheap when `after` is the position of the record before. TL_ENOTFOUND:
 * no more. */
tl_status tl_journal_next(tl_journal_reader *reader, uint32_t loop, uint64_t after, tl_arena *arena,
                          tl_record *out, tl_error *err);
/* The prediction at a position. TL_ENOTFOUND: no prediction there, or pruned. */
tl_status tl_journal_read_prediction(tl_journal_reader *reader, uint32_t loop, uint64_t position,
                                     bool with_images, tl_arena *arena, tl_record *out,
                                     tl_error *err);
/* All feedback (the newest 256, so that nobody can make this slow: it is listed for each new one)
 * on a prediction with position <= upto, in order; *out is an array of *count records in the arena
 * (NULL when there is none). */
tl_status tl_journal_list_feedback(tl_journal_reader *reader, uint32_t loop, tl_id prediction_id,
                                   uint64_t upto, tl_arena *arena, tl_record **out, size_t *count,
                                   tl_error *err);
/* A prediction (without image, features, head scores and part, kept or pruned) and all that was said
 * of it, as tl_journal_list_feedback gives it. Borrowed until it returns; a status other than TL_OK
 * ends the walk, and is its answer. */
typedef tl_status (*tl_outcome_fn)(void *context, const tl_prediction_record *prediction,
                                   const tl_record *feedback, size_t count, tl_error *err);
/* Every prediction of `loop` with position <= upto; in order, but the pruned ones after the others
 * of some thousand positions. Feedback up to `upto` as well, so that the walk sees one moment. */
tl_status tl_journal_walk_outcomes(tl_journal_reader *reader, uint32_t loop, uint64_t upto,
                                   tl_outcome_fn fn, void *context, tl_error *err);
tl_status tl_journal_find_version(tl_journal_reader *reader, uint32_t loop, uint64_t number,
                                  tl_arena *arena, tl_record *out, tl_error *err);
/* Newest first: the next version with a number below `below` (UINT64_MAX: the newest), without
 * weights. */
tl_status tl_journal_next_version(tl_journal_reader *reader, uint32_t loop, uint64_t below,
                                  tl_arena *arena, tl_record *out, tl_error *err);
/* Newest first: the next event of that kind ("refuse") with a position below `below` (UINT64_MAX: the
 * newest). Walks the events between. TL_ENOTFOUND: no more. */
tl_status tl_journal_next_event(tl_journal_reader *reader, uint32_t loop, const char *kind,
                                uint64_t below, tl_arena *arena, tl_record *out, tl_error *err);
/* `skip` 0: the newest checkpoint, 1: the one before. */
tl_status tl_journal_find_checkpoint(tl_journal_reader *reader, uint32_t loop, uint32_t skip,
                                     tl_arena *arena, tl_record *out, tl_error *err);
/* The loops: name and config of number `loop`; TL_ENOTFOUND past the end. Numbers start at 1. */
tl_status tl_journal_loop_info(tl_journal_reader *reader, uint32_t loop, tl_arena *arena,
                               const char **name, const char **config, tl_error *err);
/* Last position committed. */
tl_status tl_journal_last_position(tl_journal_reader *reader, uint64_t *out, tl_error *err);

/* ---- Care ------------------------------------------------------------------------------------ */

/* Sizes, counts, commit latencies, forecast; cheap, any thread. */
void tl_journal_describe(tl_journal *journal, tl_journal_state *out);
/* Copy to `path` while serving (SQLite backup in small steps); TL_ECONFLICT: exists. */
tl_status tl_journal_backup(tl_journal *journal, const char *path, tl_error *err);

typedef struct tl_export_options {
    const char *folder; /* made; labels.csv and images/<hash>.<ext> are written into it */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
} tl_export_options;
/* The labelled data of a loop: labels.csv (id, time, site, line, part, board, lot, shift, image,
 * reference, label, source, features...) and the images, each once. `class_names` [class_count]. */
tl_status tl_journal_export(tl_journal_reader *reader, uint32_t loop,
                            const char *const *class_names, size_t class_count,
                            const tl_export_options *options, tl_error *err);

/* One finding of the doctor, in words. severity 0: fine, 1: worth knowing, 2: damage. */
typedef void (*tl_doctor_fn)(void *context, int severity, const char *text);
/* Check a journal that no process serves, or (lighter) one that is served. Changes nothing.
 * TL_OK also when damage was found: `worst` tells. Errors: TL_ENOTFOUND, TL_EVERSION (written by a
 * newer program: whether it is sound cannot be told). */
tl_status tl_journal_doctor(const char *path, tl_doctor_fn fn, void *context, int *worst,
                            tl_error *err);

#endif

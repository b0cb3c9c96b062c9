/* Saved states of heads, statistics, mixture, threshold and replay memory with arbitrary bodies:
 * the first byte chooses which; the section around it is sound, so that the checks behind the hash
 * are what is tried. What loads must also work. */
#include "learn/fast/head.h"
#include "learn/fast/mixture.h"
#include "learn/fast/threshold.h"
#include "learn/slow/replay.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void try_stats(tl_blob_reader *reader)
{
    tl_head_stats *stats = NULL;
    tl_head *head = NULL;
    if (tl_head_stats_load(reader, &stats, NULL) != TL_OK) return;
    if (tl_head_stats_feature_count(stats) <= 64 &&
        tl_head_solve(stats, NULL, NULL, &head, NULL) == TL_OK)
        tl_head_release(&head);
    tl_head_stats_destroy(&stats);
}

static void try_head(tl_blob_reader *reader)
{
    static float x[TL_FEATURE_COUNT_MAX];
    float scores[TL_CLASS_COUNT_MAX];
    tl_head *head = NULL;
    if (tl_head_load(reader, &head, NULL) != TL_OK) return;
    tl_head_predict(head, x, scores);
    tl_head_release(&head);
}

static void try_mixture(tl_blob_reader *reader)
{
    tl_mixture mixture;
    const float scores[TL_MIXTURE_HEAD_MAX * 2] = { 0.5f, 0.5f, 0.9f, 0.1f };
    float out[2];
    if (tl_mixture_load(reader, &mixture, NULL) != TL_OK) return;
    tl_mixture_learn(&mixture, scores, 2, 1);
    tl_mixture_combine(&mixture, scores, 2, out);
}

static void try_threshold(tl_blob_reader *reader)
{
    tl_threshold *threshold = NULL;
    if (tl_threshold_load(reader, &threshold, NULL) != TL_OK) return;
    tl_threshold_forget(threshold, 1);
    tl_threshold_value(threshold);
    tl_threshold_destroy(&threshold);
}

static void try_replay(tl_blob_reader *reader)
{
    tl_replay_options options = tl_replay_options_default();
    options.capacity = 64;
    tl_replay *replay = NULL;
    tl_replay_entry out[16];
    tl_rng rng;
    tl_rng_seed(&rng, 1, 1);
    if (tl_replay_load(reader, &options, &replay, NULL) != TL_OK) return;
    for (uint64_t key = 0; key < 70; key++) tl_replay_add(replay, key, key % 5, &rng, NULL);
    tl_replay_sample(replay, &rng, 16, out);
    for (uint64_t key = 0; key < 70; key++) tl_replay_remove(replay, key);
    tl_replay_destroy(&replay);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct {
        char tag[4];
        void (*load)(tl_blob_reader *reader);
    } KINDS[] = { { "HSTA", try_stats },
                  { "HEAD", try_head },
                  { "MIXT", try_mixture },
                  { "THRE", try_threshold },
                  { "RPLY", try_replay } };
    if (bytes == 0) return 0;
    size_t kind = data[0] % TL_COUNT_OF(KINDS);
    tl_blob blob;
    tl_blob_init(&blob);
    size_t begin = tl_blob_section_begin(&blob, KINDS[kind].tag, 1);
    tl_blob_bytes(&blob, data + 1, bytes - 1);
    tl_blob_section_end(&blob, begin);
    tl_blob_reader reader;
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    if (tl_blob_ok(&blob)) KINDS[kind].load(&reader);
    tl_blob_destroy(&blob);
    return 0;
}

/* The learner as a state machine: it learns, repeats itself bit for bit, goes on after loading, and
 * heeds withdrawals, golden items, new classes and items that cannot be had. */
#include "learn/slow/campaign.h"
#include "learn/slow/learner.h"

#include "learn/slow/loss.h"
#include "networks/small.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 16, PIXELS = SIDE * SIDE, OUTPUTS = 4 };

/* Synthetic boards: a key is a picture. Its label is key % 3: nothing, a bar, a blob that its
 * template lacks. */
typedef struct world {
    uint64_t missing[4]; /* keys that cannot be fetched; 0: none */
    uint64_t fetched[512];
    size_t fetched_count;
} world;

static uint32_t label_of(uint64_t key)
{
    return (uint32_t)(key % 3);
}

static bool is_missing(const world *w, uint64_t key)
{
    for (size_t i = 0; i < TL_COUNT_OF(w->missing); i++)
        if (w->missing[i] != 0 && w->missing[i] == key) return true;
    return false;
}

static void draw(uint64_t key, uint8_t *pixels)
{
    tl_rng rng;
    tl_rng_seed(&rng, key, 99);
    for (size_t i = 0; i < PIXELS; i++) {
        pixels[PIXELS + i] = tl_rng_below(&rng, 3) == 0 ? 200 : 20;
        pixels[i] = (uint8_t)(pixels[PIXELS + i] + tl_rng_below(&rng, 20));
    }
    size_t at = tl_rng_below(&rng, 10) * SIDE + tl_rng_below(&rng, 10);
    for (size_t y = 0; label_of(key) > 0 && y < (label_of(key) == 1 ? 1 : 4); y++)
        for (size_t x = 0; x < (label_of(key) == 1 ? 6 : 3); x++)
            pixels[at + y * SIDE + x] = (uint8_t)(255 - pixels[at + y * SIDE + x]);
}

static tl_status fetch(void *context, uint64_t key, uint8_t *pixels, float *features, tl_error *err)
{
    world *w = context;
    assert_null(features);
    if (is_missing(w, key)) return tl_fail(err, TL_ENOTFOUND, "pruned");
    w->fetched[w->fetched_count++ % TL_COUNT_OF(w->fetched)] = key;
    draw(key, pixels);
    return TL_OK;
}

static bool was_fetched(const world *w, uint64_t key)
{
    for (size_t i = 0; i < w->fetched_count && i < TL_COUNT_OF(w->fetched); i++)
        if (w->fetched[i] == key) return true;
    return false;
}

static tl_graph *make_graph(float **flat)
{
    tl_small_options options = tl_small_options_default();
    options.height = options.width = SIDE;
    options.class_count = OUTPUTS;
    options.layer_count = 2;
    options.layers[0] = (tl_small_layer){ 8, 3, 2 };
    options.layers[1] = (tl_small_layer){ 16, 3, 1 };
    tl_graph *graph = NULL;
    assert_int_equal(tl_network_small(&options, &graph, flat, NULL), TL_OK);
    return graph;
}

static tl_learner_options make_options(void)
{
    tl_learner_options options = tl_learner_options_default();
    options.pixels = (tl_pixels_form){
        .height = SIDE, .width = SIDE, .channels = 1, .has_template = true, .align = 1
    };
    options.class_count = 3;
    options.replay.capacity = 200;
    return options;
}

static tl_learner *make(const tl_learner_options *options)
{
    float *flat = NULL;
    tl_graph *graph = make_graph(&flat);
    tl_learner *learner = NULL;
    tl_error err = { 0 };
    if (tl_learner_create(graph, flat, options, &learner, &err) != TL_OK) fail_msg("%s", err.text);
    tl_graph_release(&graph);
    free(flat);
    return learner;
}

static tl_learner_result step(tl_learner *learner, uint64_t key, world *w)
{
    tl_learner_result result;
    tl_error err = { 0 };
    if (tl_learner_step(learner, key, label_of(key), fetch, w, &result, &err) != TL_OK)
        fail_msg("%s", err.text);
    return result;
}

static void it_learns_from_nothing(void **state)
{
    (void)state;
    tl_learner_options options = make_options();
    tl_learner *learner = make(&options);
    world w = { 0 };
    double early = 0, late = 0;
    for (uint64_t key = 1; key <= 400; key++) {
        tl_learner_result result = step(learner, key, &w);
        assert_true(result.predicted && result.trained);
        assert_int_equal(result.skipped_count, 0);
        float sum = result.scores[0] + result.scores[1] + result.scores[2];
        assert_float_equal(sum, 1.0, 1e-5);
        assert_float_equal(result.log_loss, -log((double)result.scores[label_of(key)]), 1e-4);
        if (key <= 60) early += result.log_loss / 60;
        if (key > 300) late += result.log_loss / 100;
    }
    assert_true(early > 0.8);
    assert_true(late < 0.25);
    assert_int_equal(tl_learner_labels(learner), 400);
    assert_int_equal(tl_learner_steps(learner), 400);
    assert_int_equal(tl_replay_count(tl_learner_replay(learner)), 200); /* its capacity */
    assert_true(tl_learner_bytes(learner) > 100000);
    tl_learner_destroy(&learner);
}

/* Everything that can happen to a learner, in an order that a number decides. */
static void live(tl_learner *learner, world *w, uint64_t from, uint64_t to)
{
    for (uint64_t key = from; key < to; key++) {
        step(learner, key, w);
        if (key % 7 == 3) tl_learner_remove(learner, key - 2);
        if (key % 11 == 5) tl_learner_relabel(learner, key - 1, 2);
        if (key % 13 == 6)
            assert_int_equal(tl_learner_exclude(learner, key + 1, true, NULL), TL_OK);
        if (key % 39 == 6)
            assert_int_equal(tl_learner_exclude(learner, key + 1, false, NULL), TL_OK);
        if (key % 17 == 1) step(learner, key / 2, w); /* said again */
        if (key == 45) assert_int_equal(tl_learner_set_class_count(learner, 4, NULL), TL_OK);
    }
}

static void the_same_calls_give_the_same_bits(void **state)
{
    (void)state;
    tl_learner_options options = make_options();
    options.labels_per_step = 2;
    options.early_labels = 10;
    options.early_steps = 3;
    uint64_t digest[3];
    for (int run = 0; run < 3; run++) {
        options.seed = run < 2 ? 5 : 6;
        tl_learner *learner = make(&options);
        world w = { .missing = { 12, 30, 61 } };
        live(learner, &w, 1, 90);
        digest[run] = tl_learner_digest(learner);
        tl_learner_destroy(&learner);
    }
    assert_true(digest[0] != 0);
    assert_true(digest[0] == digest[1]);
    assert_true(digest[0] != digest[2]);
}

static void a_loaded_learner_goes_on_with_the_same_bits(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < 2; kind++) {
        tl_learner_options options = make_options();
        options.optimizer.kind = (tl_optimizer_kind)kind;
        options.labels_per_step = 2;
        options.replay_per_label = 5;
        options.replay.capacity = 40;               /* evictions too */
        for (uint64_t cut = 49; cut <= 50; cut++) { /* with and without a pending label */
            tl_learner *one = make(&options), *two = make(&options);
            world w = { .missing = { 12, 52, 61 } };
            live(one, &w, 1, cut);
            live(two, &w, 1, 20); /* another state, to be replaced */
            tl_blob blob;
            tl_blob_init(&blob);
            assert_int_equal(tl_learner_save(one, &blob, NULL), TL_OK);
            tl_blob_reader reader;
            tl_blob_reader_init(&reader, blob.data, blob.bytes);
            assert_int_equal(tl_learner_load(two, &reader, NULL), TL_OK);
            assert_int_equal(tl_blob_left(&reader), 0);
            assert_true(tl_learner_digest(one) == tl_learner_digest(two));
            /* Left-out items must be filled with what both have, not with what lay there before. */
            for (size_t i = 0; i < TL_COUNT_OF(w.missing); i++)
                w.missing[i] = tl_replay_at(tl_learner_replay(one), i)->key;
            live(one, &w, cut, 90);
            live(two, &w, cut, 90);
            assert_true(tl_learner_digest(one) == tl_learner_digest(two));
            tl_blob_destroy(&blob);
            tl_learner_destroy(&one);
            tl_learner_destroy(&two);
        }
    }
}

static void a_damaged_state_changes_nothing(void **state)
{
    (void)state;
    tl_learner_options options = make_options();
    tl_learner *learner = make(&options);
    world w = { 0 };
    live(learner, &w, 1, 30);
    tl_blob blob;
    tl_blob_init(&blob);
    assert_int_equal(tl_learner_save(learner, &blob, NULL), TL_OK);
    live(learner, &w, 30, 40);
    uint64_t digest = tl_learner_digest(learner);
    tl_blob_reader reader;
    for (size_t i = 0; i < blob.bytes; i += 997) {
        tl_blob_reader_init(&reader, blob.data, i);
        assert_int_equal(tl_learner_load(learner, &reader, NULL), TL_ECORRUPT);
        blob.data[i] ^= 4;
        tl_blob_reader_init(&reader, blob.data, blob.bytes);
        assert_int_not_equal(tl_learner_load(learner, &reader, NULL), TL_OK);
        blob.data[i] ^= 4;
    }
    assert_true(tl_learner_digest(learner) == digest);
    /* Sound by its hash, but of another network. */
    float *flat = NULL;
    tl_graph *graph = NULL;
    assert_int_equal(tl_network_linear(6, 3, &graph, &flat, NULL), TL_OK);
    tl_learner *other = NULL;
    options.feature_count = 6;
    assert_int_equal(tl_learner_create(graph, flat, &options, &other, NULL), TL_OK);
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_learner_load(other, &reader, NULL), TL_ECORRUPT);
    tl_learner_destroy(&other);
    tl_graph_release(&graph);
    free(flat);
    tl_blob_destroy(&blob);
    tl_learner_destroy(&learner);
}

static void withdrawn_and_golden_items_are_not_used_again(void **state)
{
    (void)state;
    tl_learner_options options = make_options();
    tl_learner *learner = make(&options);
    world w = { 0 };
    assert_int_equal(tl_learner_exclude(learner, 25, true, NULL), TL_OK); /* before its label */
    for (uint64_t key = 1; key <= 20; key++) step(learner, key, &w);
    assert_true(tl_learner_remove(learner, 4));
    assert_false(tl_learner_remove(learner, 4));
    assert_int_equal(tl_learner_exclude(learner, 8, true, NULL), TL_OK);
    tl_learner_result result = step(learner, 25, &w);
    assert_true(result.predicted);
    assert_false(result.trained);
    assert_int_equal(tl_learner_steps(learner), 20);
    w.fetched_count = 0;
    for (uint64_t key = 30; key <= 70; key++) step(learner, key, &w);
    assert_true(w.fetched_count < TL_COUNT_OF(w.fetched));
    assert_false(was_fetched(&w, 4));
    assert_false(was_fetched(&w, 8));
    assert_false(was_fetched(&w, 25));
    assert_true(was_fetched(&w, 5));
    assert_int_equal(tl_learner_exclude(learner, 25, false, NULL), TL_OK);
    w.fetched_count = 0;
    for (uint64_t key = 71; key <= 110 && !was_fetched(&w, 25); key++) step(learner, key, &w);
    assert_true(was_fetched(&w, 25));
    tl_learner_destroy(&learner);
}

static void missing_items_are_told_and_left_out(void **state)
{
    (void)state;
    tl_learner_options options = make_options();
    tl_learner *learner = make(&options);
    world w = { 0 };
    for (uint64_t key = 1; key <= 10; key++) step(learner, key, &w);
    uint64_t steps = tl_learner_steps(learner);
    w.missing[0] = 11;
    tl_learner_result result = step(learner, 11, &w);
    assert_false(result.predicted || result.trained);
    assert_int_equal(result.skipped_count, 1);
    assert_int_equal(result.skipped[0], 11);
    assert_null(tl_replay_find(tl_learner_replay(learner), 11));
    w.missing[0] = 3;
    float loss = tl_replay_find(tl_learner_replay(learner), 3)->loss;
    size_t told = 0;
    for (uint64_t key = 12; key <= 40; key++) {
        result = step(learner, key, &w);
        assert_true(result.trained);
        for (size_t i = 0; i < result.skipped_count; i++) assert_int_equal(result.skipped[i], 3);
        told += result.skipped_count;
    }
    assert_true(told > 0);
    assert_int_equal(tl_learner_steps(learner), steps + 29);
    assert_float_equal(tl_replay_find(tl_learner_replay(learner), 3)->loss, loss, 0);
    tl_learner_destroy(&learner);
}

/* Scores of a key by weights, as a server would work them out. */
static void predict_alone(const float *weights_flat, uint64_t key, float *scores)
{
    float *flat = NULL;
    tl_graph *graph = make_graph(&flat);
    tl_plan *plan = NULL;
    tl_weights *weights = NULL;
    const tl_plan_options options = { .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1 };
    assert_int_equal(tl_plan_create(graph, &options, &plan, NULL), TL_OK);
    assert_int_equal(tl_weights_create(graph, weights_flat, &weights, NULL), TL_OK);
    tl_learner_options learner = make_options();
    uint8_t pixels[2 * PIXELS];
    draw(key, pixels);
    tl_pixels_convert(&learner.pixels, pixels, pixels + PIXELS, 0, tl_plan_input(plan, 0));
    assert_int_equal(tl_plan_infer(plan, weights, 1, NULL), TL_OK);
    tl_loss_softmax(tl_plan_output(plan, 0), 3, scores);
    tl_weights_release(&weights);
    tl_plan_destroy(&plan);
    tl_graph_release(&graph);
    free(flat);
}

/* What is said of a new item must not depend on its label: it is predicted before it is learned. */
static void items_are_predicted_before_they_are_learned(void **state)
{
    (void)state;
    tl_learner_options options = make_options();
    tl_learner *learner[2] = { make(&options), make(&options) };
    world w = { 0 };
    for (int i = 0; i < 2; i++)
        for (uint64_t key = 1; key <= 40; key++) step(learner[i], key, &w);
    float scores[3];
    predict_alone(tl_learner_average(learner[0]), 41, scores);
    tl_learner_result result[2];
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(tl_learner_step(learner[i], 41, i, fetch, &w, &result[i], NULL), TL_OK);
    assert_memory_equal(result[0].scores, result[1].scores, sizeof result[0].scores);
    for (size_t c = 0; c < 3; c++) assert_float_equal(result[0].scores[c], scores[c], 1e-4);
    assert_true(tl_learner_digest(learner[0]) != tl_learner_digest(learner[1]));
    tl_learner_destroy(&learner[0]);
    tl_learner_destroy(&learner[1]);
}

static void classes_to_come_are_masked(void **state)
{
    (void)state;
    tl_learner_options options = make_options();
    options.optimizer.weight_decay = 0;
    tl_learner *learner = make(&options);
    float *flat = NULL;
    tl_graph *graph = make_graph(&flat);
    const tl_param *head = tl_graph_param(graph, tl_graph_find_param(graph, "head.weight"));
    size_t row = head->count / OUTPUTS, last = head->offset + 3 * row;
    world w = { 0 };
    for (uint64_t key = 1; key <= 20; key++) step(learner, key, &w);
    assert_memory_equal(tl_learner_flat(learner) + last, flat + last, row * sizeof(float));
    assert_memory_not_equal(tl_learner_flat(learner) + head->offset, flat + head->offset,
                            row * sizeof(float));
    tl_learner_result result;
    assert_int_equal(tl_learner_step(learner, 21, 3, fetch, &w, &result, NULL), TL_EINVAL);
    assert_int_equal(tl_learner_set_class_count(learner, 5, NULL), TL_ELIMIT);
    assert_int_equal(tl_learner_set_class_count(learner, 4, NULL), TL_OK);
    assert_int_equal(tl_learner_step(learner, 21, 3, fetch, &w, &result, NULL), TL_OK);
    assert_true(result.trained && result.scores[3] > 0);
    assert_memory_not_equal(tl_learner_flat(learner) + last, flat + last, row * sizeof(float));
    tl_graph_release(&graph);
    free(flat);
    tl_learner_destroy(&learner);
}

static void images_are_turned_when_asked_to(void **state)
{
    (void)state;
    uint64_t digest[2];
    for (int i = 0; i < 2; i++) {
        tl_learner_options options = make_options();
        options.augment = i == 1;
        options.replay_per_label = 0;
        tl_learner *learner = make(&options);
        world w = { 0 };
        for (uint64_t key = 1; key <= 8; key++) step(learner, key, &w);
        digest[i] = tl_hash64(tl_learner_flat(learner), 64 * sizeof(float), 0);
        tl_learner_destroy(&learner);
    }
    assert_true(digest[0] != digest[1]);
}

/* ---- Feature vectors ------------------------------------------------------------------------- */

static tl_status fetch_features(void *context, uint64_t key, uint8_t *pixels, float *features,
                                tl_error *err)
{
    (void)context;
    (void)err;
    assert_null(pixels);
    tl_rng rng;
    tl_rng_seed(&rng, key, 3);
    for (size_t i = 0; i < 6; i++)
        features[i] = (float)(tl_rng_normal(&rng) + (label_of(key) == i ? 3.0 : 0.0));
    if (key == 1000) features[2] = INFINITY;
    return TL_OK;
}

static void vectors_are_learned_too(void **state)
{
    (void)state;
    float *flat = NULL;
    tl_graph *graph = NULL;
    assert_int_equal(tl_network_linear(6, 3, &graph, &flat, NULL), TL_OK);
    tl_learner_options options = make_options();
    options.feature_count = 6;
    options.schedule.base = 0.05;
    tl_learner *learner = NULL;
    assert_int_equal(tl_learner_create(graph, flat, &options, &learner, NULL), TL_OK);
    double late = 0;
    tl_learner_result result;
    for (uint64_t key = 1; key <= 300; key++) {
        assert_int_equal(
            tl_learner_step(learner, key, label_of(key), fetch_features, NULL, &result, NULL),
            TL_OK);
        if (key > 200) late += result.log_loss / 100;
    }
    assert_true(late < 0.2);
    /* A number that is not finite is left out, and does no harm to the weights. */
    uint64_t steps = tl_learner_steps(learner);
    float *before = malloc(tl_graph_float_count(graph) * sizeof *before);
    memcpy(before, tl_learner_flat(learner), tl_graph_float_count(graph) * sizeof *before);
    assert_int_equal(tl_learner_step(learner, 1000, 1, fetch_features, NULL, &result, NULL), TL_OK);
    assert_false(result.trained);
    assert_int_equal(tl_learner_steps(learner), steps);
    assert_memory_equal(before, tl_learner_flat(learner),
                        tl_graph_float_count(graph) * sizeof *before);
    free(before);
    tl_learner_destroy(&learner);
    tl_graph_release(&graph);
    free(flat);
}

static void impossible_options_are_refused(void **state)
{
    (void)state;
    float *flat = NULL;
    tl_graph *graph = make_graph(&flat);
    tl_learner *learner = NULL;
    tl_learner_options good = make_options(), bad = good;
    bad.replay_per_label = 512;
    assert_int_equal(tl_learner_create(graph, flat, &bad, &learner, NULL), TL_EINVAL);
    bad = good;
    bad.pixels.has_template = false; /* one channel; the network wants three */
    assert_int_equal(tl_learner_create(graph, flat, &bad, &learner, NULL), TL_ESHAPE);
    bad = good;
    bad.class_count = 5;
    assert_int_equal(tl_learner_create(graph, flat, &bad, &learner, NULL), TL_ESHAPE);
    bad = good;
    bad.schedule.base = NAN;
    assert_int_equal(tl_learner_create(graph, flat, &bad, &learner, NULL), TL_EINVAL);
    bad = good;
    bad.replay.capacity = 0;
    assert_int_equal(tl_learner_create(graph, flat, &bad, &learner, NULL), TL_EINVAL);
    assert_null(learner);
    tl_learner_destroy(&learner);
    tl_graph_release(&graph);
    free(flat);
}

/* ---- Campaigns ------------------------------------------------------------------------------- */

/* Mean log loss of `flat` on keys that were never learned. */
static double held_out_loss(const float *flat)
{
    tl_learner_options options = make_options();
    float *unused = NULL;
    tl_graph *graph = make_graph(&unused);
    tl_learner *learner = NULL;
    assert_int_equal(tl_learner_create(graph, flat, &options, &learner, NULL), TL_OK);
    world w = { 0 };
    double loss = 0;
    for (uint64_t key = 5000; key < 5090; key++) {
        assert_int_equal(tl_learner_exclude(learner, key, true, NULL), TL_OK);
        loss += step(learner, key, &w).log_loss / 90;
    }
    tl_learner_destroy(&learner);
    tl_graph_release(&graph);
    free(unused);
    return loss;
}

/* Over what is trained: nothing pulls running statistics. */
static double distance(const float *a, const float *b, size_t count)
{
    float *flat = NULL;
    tl_graph *graph = make_graph(&flat);
    double sum = 0;
    for (size_t p = 0; p < tl_graph_param_count(graph); p++) {
        const tl_param *param = tl_graph_param(graph, p);
        if (param->role == TL_PARAM_RUNNING) continue;
        for (size_t i = param->offset; i < param->offset + param->count; i++)
            sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    }
    assert_int_equal(tl_graph_float_count(graph), count);
    tl_graph_release(&graph);
    free(flat);
    return sqrt(sum);
}

enum { CAMPAIGN_LABELS = 150 };

/* The result, which the caller frees; *skipped may be NULL. */
static float *run_campaign(const tl_campaign_options *options, world *w, uint64_t *skipped)
{
    tl_campaign_entry entries[CAMPAIGN_LABELS];
    for (uint64_t i = 0; i < CAMPAIGN_LABELS; i++)
        entries[i] = (tl_campaign_entry){ i + 1, label_of(i + 1), i >= CAMPAIGN_LABELS / 2 };
    float *start = NULL;
    tl_graph *graph = make_graph(&start);
    tl_campaign *campaign = NULL;
    tl_error err = { 0 };
    if (tl_campaign_create(graph, start, entries, CAMPAIGN_LABELS, options, fetch, w, &campaign,
                           &err) != TL_OK)
        fail_msg("%s", err.text);
    while (tl_campaign_done(campaign) < tl_campaign_steps(campaign))
        assert_int_equal(tl_campaign_step(campaign, NULL), TL_OK);
    size_t bytes = tl_graph_float_count(graph) * sizeof(float);
    float *out = malloc(bytes);
    assert_non_null(out);
    memcpy(out, tl_campaign_result(campaign), bytes);
    if (skipped != NULL) *skipped = tl_campaign_skipped(campaign);
    tl_campaign_destroy(&campaign);
    tl_graph_release(&graph);
    free(start);
    return out;
}

/* Keys of labels that nobody gave are far off, so that they are told apart. */
enum { AUTOMATIC = 9000 };

static size_t automatic_fetched(const world *w)
{
    size_t count = 0;
    for (size_t i = 0; i < w->fetched_count; i++) count += w->fetched[i] >= AUTOMATIC;
    return count;
}

/* A quarter of each batch; of weight 0 they change nothing that is learned. */
static void labels_that_nobody_gave_are_a_part_of_each_batch(void **state)
{
    (void)state;
    tl_learner_options options = make_options();
    tl_learner *learner = make(&options), *plain = make(&options);
    world w = { 0 }, same = { 0 };
    for (uint64_t key = 1; key <= 20; key++) step(learner, key, &w), step(plain, key, &same);
    assert_true(tl_learner_digest(learner) == tl_learner_digest(plain));
    for (uint64_t i = 0; i < 30; i++)
        assert_int_equal(tl_learner_automatic(learner, AUTOMATIC + i, 0, 0.3f, NULL), TL_OK);
    assert_int_equal(tl_learner_automatic(learner, 20, 0, 0.3f, NULL),
                     TL_OK); /* known by a person */
    assert_int_equal(tl_learner_automatic_count(learner), 30);
    assert_int_equal(tl_learner_automatic(learner, 1, 9, 0.3f, NULL), TL_EINVAL);
    assert_int_equal(tl_learner_automatic(learner, 1, 0, 1.5f, NULL), TL_EINVAL);
    uint64_t labels = tl_learner_labels(learner), steps = tl_learner_steps(learner);
    w.fetched_count = 0;
    for (uint64_t key = 21; key <= 30; key++) step(learner, key, &w), step(plain, key, &same);
    uint32_t batch = 1 + options.replay_per_label;
    size_t most = 10 * (batch / TL_AUTOMATIC_PART); /* twice the same in a row is fetched once */
    assert_in_range(automatic_fetched(&w), most - 4, most);
    assert_int_equal(tl_learner_labels(learner), labels + 10);
    assert_int_equal(tl_learner_steps(learner), steps + 10);
    assert_true(tl_learner_digest(learner) != tl_learner_digest(plain));
    assert_int_equal(tl_replay_count(tl_learner_replay(learner)), 30);
    step(learner, AUTOMATIC + 3, &w); /* a person's word takes the place */
    assert_int_equal(tl_learner_automatic_count(learner), 29);
    assert_int_equal(tl_learner_exclude(learner, AUTOMATIC + 4, true, NULL), TL_OK);
    assert_int_equal(tl_learner_automatic_count(learner), 28);
    tl_learner_forget_automatic(learner);
    w.fetched_count = 0;
    step(learner, 31, &w);
    assert_true(automatic_fetched(&w) <= batch); /* the one that a person labelled, at most */
    assert_int_equal(tl_learner_automatic_count(learner), 0);
    tl_learner_destroy(&learner);
    tl_learner_destroy(&plain);
}

/* The weight counts: what is wrong and weighs nothing does no harm. */
static void wrong_ones_of_no_weight_do_no_harm(void **state)
{
    (void)state;
    tl_learner_options options = make_options();
    double loss[2] = { 0 };
    for (int heavy = 0; heavy < 2; heavy++) {
        tl_learner *learner = make(&options);
        world w = { 0 };
        for (uint64_t i = 0; i < 60; i++)
            assert_int_equal(tl_learner_automatic(learner, AUTOMATIC + i,
                                                  (label_of(AUTOMATIC + i) + 1) % 3,
                                                  heavy ? 1.0f : 0.01f, NULL),
                             TL_OK);
        for (uint64_t key = 1; key <= 300; key++) {
            tl_learner_result result = step(learner, key, &w);
            if (key > 200) loss[heavy] += result.log_loss / 100;
        }
        tl_learner_destroy(&learner);
    }
    assert_true(loss[1] > 1.5 * loss[0]);
}

static void a_campaign_improves_on_its_start(void **state)
{
    (void)state;
    world w = { 0 };
    tl_campaign_options options = tl_campaign_options_default();
    options.pixels = make_options().pixels;
    options.class_count = 3;
    options.rate = 0.01;
    options.epochs = 30;
    float *start = NULL;
    tl_graph *graph = make_graph(&start);
    size_t count = tl_graph_float_count(graph);
    float *out = run_campaign(&options, &w, NULL), *again = run_campaign(&options, &w, NULL);
    assert_memory_equal(out, again, count * sizeof *out);
    assert_true(held_out_loss(start) > 1.0);
    assert_true(held_out_loss(out) < 0.6);
    free(again);
    options.l2_to_start = 1000;
    again = run_campaign(&options, &w, NULL);
    assert_true(distance(again, start, count) < 0.5 * distance(out, start, count));
    free(again);
    tl_graph_release(&graph);
    free(start);
    free(out);
}

/* A quarter of each batch while everything learns, with their weight. */
static void a_campaign_learns_from_labels_that_nobody_gave(void **state)
{
    (void)state;
    tl_automatic_item wrong[60];
    for (uint64_t i = 0; i < 60; i++)
        wrong[i] = (tl_automatic_item){ AUTOMATIC + i, (label_of(AUTOMATIC + i) + 1) % 3 };
    tl_campaign_options options = tl_campaign_options_default();
    options.pixels = make_options().pixels;
    options.class_count = 3;
    options.rate = 0.01;
    options.epochs = 30;
    options.automatic = wrong;
    options.automatic_count = TL_COUNT_OF(wrong);
    double loss[2];
    for (int heavy = 0; heavy < 2; heavy++) {
        world w = { 0 };
        options.automatic_weight = heavy ? 1.0f : 0.01f;
        float *out = run_campaign(&options, &w, NULL);
        size_t seen = 0;
        for (size_t i = 0; i < TL_COUNT_OF(w.fetched); i++) seen += w.fetched[i] >= AUTOMATIC;
        assert_int_equal(seen, TL_COUNT_OF(w.fetched) / TL_AUTOMATIC_PART); /* the last ones */
        loss[heavy] = held_out_loss(out);
        free(out);
    }
    assert_true(loss[0] < 0.6 && loss[1] > 1.5 * loss[0]);
    wrong[7].label = 3;
    tl_campaign *none = NULL;
    world w = { 0 };
    const tl_campaign_entry entry = { 1, 0, true };
    float *start = NULL;
    tl_graph *graph = make_graph(&start);
    assert_int_equal(tl_campaign_create(graph, start, &entry, 1, &options, fetch, &w, &none, NULL),
                     TL_EINVAL);
    tl_graph_release(&graph);
    free(start);
}

static void a_campaign_does_without_items_that_are_gone(void **state)
{
    (void)state;
    world w = { .missing = { 3 } };
    uint64_t skipped = 0;
    tl_campaign_options options = tl_campaign_options_default();
    options.pixels = make_options().pixels;
    options.class_count = 3;
    float *out = run_campaign(&options, &w, &skipped);
    assert_true(skipped > 0);
    free(out);
    tl_campaign *none = NULL;
    float *start = NULL;
    tl_graph *graph = make_graph(&start);
    const tl_campaign_entry wrong = { 1, 3, true };
    assert_int_equal(tl_campaign_create(graph, start, &wrong, 0, &options, fetch, &w, &none, NULL),
                     TL_EINVAL);
    assert_int_equal(tl_campaign_create(graph, start, &wrong, 1, &options, fetch, &w, &none, NULL),
                     TL_EINVAL);
    options.pixels.height = 2 * SIDE;
    assert_int_equal(tl_campaign_create(graph, start, &wrong, 1, &options, fetch, &w, &none, NULL),
                     TL_ESHAPE);
    assert_null(none);
    tl_graph_release(&graph);
    free(start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_learns_from_nothing),
        cmocka_unit_test(the_same_calls_give_the_same_bits),
        cmocka_unit_test(a_loaded_learner_goes_on_with_the_same_bits),
        cmocka_unit_test(a_damaged_state_changes_nothing),
        cmocka_unit_test(withdrawn_and_golden_items_are_not_used_again),
        cmocka_unit_test(missing_items_are_told_and_left_out),
        cmocka_unit_test(items_are_predicted_before_they_are_learned),
        cmocka_unit_test(classes_to_come_are_masked),
        cmocka_unit_test(images_are_turned_when_asked_to),
        cmocka_unit_test(vectors_are_learned_too),
        cmocka_unit_test(impossible_options_are_refused),
        cmocka_unit_test(labels_that_nobody_gave_are_a_part_of_each_batch),
        cmocka_unit_test(wrong_ones_of_no_weight_do_no_harm),
        cmocka_unit_test(a_campaign_improves_on_its_start),
        cmocka_unit_test(a_campaign_learns_from_labels_that_nobody_gave),
        cmocka_unit_test(a_campaign_does_without_items_that_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

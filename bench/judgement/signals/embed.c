#include "bench/judgement/signals/embed.h"

#include "base/rng.h"
#include "learn/slow/learner.h"
#include "networks/small.h"

#include <stdlib.h>
#include <string.h>

enum { STAINED_OF_GOOD = 12, VEIL = 100 };

typedef struct embedder {
    const boards_line *line;
    size_t *item; /* [count] numbers of the line's items, as they are listed */
    tl_graph *graph;
    tl_learner *learner;
    tl_learner_options options;
    tl_plan *plan;
    uint8_t *pixels;
    signals_embedding *out;
} embedder;

/* A faint round veil over a good board: nothing that a network for sharp defects has seen. */
static void paint_stain(uint8_t *image, uint32_t width, uint32_t height, uint64_t seed)
{
    tl_rng rng;
    tl_rng_seed(&rng, seed, SIGNALS_STAIN);
    int radius = 7 + (int)tl_rng_below(&rng, 8);
    int x = (int)tl_rng_below(&rng, width), y = (int)tl_rng_below(&rng, height);
    for (int i = 0; i < (int)height; i++)
        for (int k = 0; k < (int)width; k++) {
            uint8_t *pixel = &image[i * (int)width + k];
            if ((i - y) * (i - y) + (k - x) * (k - x) <= radius * radius)
                *pixel = (uint8_t)(*pixel + (128 - *pixel) * VEIL / 256);
        }
}

static tl_status fetch(void *context, uint64_t key, uint8_t *pixels, float *features, tl_error *err)
{
    (void)features;
    const embedder *e = context;
    tl_status status = boards_line_pixels(e->line, &e->line->items[e->item[key]], 0, pixels, err);
    if (status == TL_OK && e->out->label[key] == SIGNALS_STAIN)
        paint_stain(pixels, e->line->info.width, e->line->info.height, key);
    return status;
}

/* What is learned from first, then everything else. */
static void list_items(embedder *e)
{
    signals_embedding *out = e->out;
    for (int rest = 0; rest < 2; rest++) {
        size_t learned = 0;
        for (size_t i = 0; i < e->line->count; i++) {
            uint32_t label = e->line->items[i].label;
            bool first = learned < SIGNALS_LEARNED;
            learned += first;
            if (first == (rest == 1)) continue;
            if (!first && label == 0 && i % STAINED_OF_GOOD == 0) label = SIGNALS_STAIN;
            e->item[out->count] = i;
            out->label[out->count++] = label;
        }
    }
}

static tl_status create_network(embedder *e, uint64_t seed, tl_error *err)
{
    float *flat = NULL;
    tl_small_options network = tl_small_options_default();
    const tl_plan_options plan = { .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1 };
    e->options = tl_learner_options_default();
    network.seed = e->options.seed = seed;
    e->options.class_count = SIGNALS_CLASSES;
    e->options.replay_per_label = 16;
    tl_status status = tl_network_small(&network, &e->graph, &flat, err);
    if (status == TL_OK) status = tl_learner_create(e->graph, flat, &e->options, &e->learner, err);
    if (status == TL_OK) status = tl_plan_create(e->graph, &plan, &e->plan, err);
    free(flat);
    return status;
}

static tl_status allocate(embedder *e, tl_error *err)
{
    signals_embedding *out = e->out;
    size_t count = e->line->count, features = tl_graph_feature_count(e->graph);
    out->feature_count = features;
    out->label = malloc(count * sizeof *out->label);
    e->item = malloc(count * sizeof *e->item);
    e->pixels = malloc(2 * e->line->plane);
    bool room = out->label != NULL && e->item != NULL && e->pixels != NULL;
    signals_view *const views[] = { &out->now, &out->earlier };
    for (size_t i = 0; i < TL_COUNT_OF(views); i++) {
        views[i]->features = malloc(count * features * sizeof(float));
        views[i]->logits = malloc(count * SIGNALS_CLASSES * sizeof(float));
        room = room && views[i]->features != NULL && views[i]->logits != NULL;
    }
    return room ? TL_OK : tl_fail(err, TL_ENOMEM, "what a network makes of %zu boards", count);
}

static tl_status learn(embedder *e, size_t from, size_t to, tl_error *err)
{
    tl_status status = TL_OK;
    for (size_t i = from; i < to && status == TL_OK; i++) {
        tl_learner_result result;
        status = tl_learner_step(e->learner, i, e->out->label[i], fetch, e, &result, err);
    }
    return status;
}

static tl_status look(embedder *e, signals_view *view, tl_error *err)
{
    size_t features = e->out->feature_count;
    tl_weights *weights = NULL;
    tl_status status = tl_weights_create(e->graph, tl_learner_average(e->learner), &weights, err);
    for (size_t i = 0; i < e->out->count && status == TL_OK; i++) {
        status = fetch(e, i, e->pixels, NULL, err);
        if (status != TL_OK) break;
        tl_pixels_convert(&e->options.pixels, e->pixels, e->pixels + e->line->plane, 0,
                          tl_plan_input(e->plan, 0));
        status = tl_plan_infer(e->plan, weights, 1, err);
        memcpy(view->features + i * features, tl_plan_features(e->plan), features * sizeof(float));
        memcpy(view->logits + i * SIGNALS_CLASSES, tl_plan_output(e->plan, 0),
               SIGNALS_CLASSES * sizeof(float));
    }
    tl_weights_release(&weights);
    return status;
}

tl_status signals_embed(const boards_line *line, uint64_t seed, signals_embedding *out,
                        tl_error *err)
{
    *out = (signals_embedding){ 0 };
    embedder e = { .line = line, .out = out };
    tl_status status = create_network(&e, seed, err);
    if (status == TL_OK) status = allocate(&e, err);
    if (status == TL_OK) list_items(&e);
    if (status == TL_OK) status = learn(&e, 0, SIGNALS_LEARNED_EARLIER, err);
    if (status == TL_OK) status = look(&e, &out->earlier, err);
    if (status == TL_OK) status = learn(&e, SIGNALS_LEARNED_EARLIER, SIGNALS_LEARNED, err);
    if (status == TL_OK) status = look(&e, &out->now, err);
    tl_learner_destroy(&e.learner);
    tl_plan_destroy(&e.plan);
    tl_graph_release(&e.graph);
    free(e.item);
    free(e.pixels);
    return status;
}

void signals_embedding_clear(signals_embedding *embedding)
{
    signals_view *const views[] = { &embedding->now, &embedding->earlier };
    for (size_t i = 0; i < TL_COUNT_OF(views); i++) {
        free(views[i]->features);
        free(views[i]->logits);
    }
    free(embedding->label);
    *embedding = (signals_embedding){ 0 };
}

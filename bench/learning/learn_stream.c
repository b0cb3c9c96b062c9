/* learn_stream.c - the slow learner by itself on real boards: one pass, test-then-train, no server,
 * no journal. Says what a label costs and how soon and how well the built-in network learns.
 *
 *     learn_stream [--order site|shuffled] [--seed N] [--limit N] [--replay N] [--delay N]
 *                  [--rate X] [--data DIR]
 *
 * Kept out are the images whose name's FNV-1a-64 hash is 0 modulo 10. Labels needed: the first
 * count from which precision over the last 1,000 is above .994 and recall above .95 for 500 more
 * items. */
#include "base/env.h"
#include "learn/fast/threshold.h"
#include "learn/slow/learner.h"
#include "networks/small.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIDE = 64, PIXELS = SIDE * SIDE, PACKED = 2 * PIXELS / 8, CLASSES = 7, PUBLISH = 16 };

typedef struct boards {
    uint8_t *packed; /* [count, PACKED] one bit a pixel: image, then template */
    uint8_t *label, *kept_out;
    uint32_t *order;
    size_t count, order_count;
} boards;

typedef struct settings {
    const char *data, *order;
    uint64_t seed;
    size_t limit, delay;
    uint32_t replay;
    double rate;
} settings;

static void die(const char *what)
{
    fprintf(stderr, "learn_stream: %s\n", what);
    exit(1);
}

static void must(tl_status status, const tl_error *err)
{
    if (status != TL_OK) die(err->text);
}

static uint64_t fnv1a(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text != '\0'; text++) hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return hash;
}

static FILE *open_file(const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) die(path);
    return file;
}

/* The field of that index in a line of comma-separated values, cut out in place. */
static char *field(char *line, int index)
{
    for (; index > 0 && line != NULL; index--) {
        line = strchr(line, ',');
        if (line != NULL) line++;
    }
    if (line == NULL) die("a line with too few fields");
    line[strcspn(line, ",\r\n")] = '\0';
    return line;
}

static int column(const char *header, const char *name)
{
    int index = 0;
    for (const char *at = header; at != NULL && *at != '\0'; index++) {
        size_t bytes = strcspn(at, ",\r\n");
        if (bytes == strlen(name) && strncmp(at, name, bytes) == 0) return index;
        at = strchr(at, ',');
        if (at != NULL) at++;
    }
    die(name);
    return -1;
}

static void load_labels(boards *b, const char *folder)
{
    FILE *file = open_file(folder, "labels.csv");
    char header[512], line[512], copy[512];
    if (fgets(header, sizeof header, file) == NULL) die("labels.csv is empty");
    int label = column(header, "label"), image = column(header, "image");
    size_t capacity = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (b->count == capacity) {
            capacity = capacity == 0 ? 4096 : 2 * capacity;
            b->label = realloc(b->label, capacity);
            b->kept_out = realloc(b->kept_out, capacity);
            if (b->label == NULL || b->kept_out == NULL) die("out of memory");
        }
        memcpy(copy, line, sizeof line);
        b->label[b->count] = (uint8_t)atoi(field(line, label));
        b->kept_out[b->count++] = fnv1a(field(copy, image)) % 10 == 0;
    }
    fclose(file);
}

static void load(boards *b, const settings *s)
{
    load_labels(b, s->data);
    FILE *file = open_file(s->data, "patches_u1.npy");
    b->packed = malloc(b->count * PACKED);
    if (b->packed == NULL || fseek(file, 128, SEEK_SET) != 0 ||
        fread(b->packed, PACKED, b->count, file) != b->count)
        die("patches_u1.npy is cut short");
    fclose(file);
    char name[64], line[512];
    snprintf(name, sizeof name, "order_%s.csv", s->order);
    file = open_file(s->data, name);
    b->order = calloc(b->count, sizeof *b->order);
    if (b->order == NULL || fgets(line, sizeof line, file) == NULL) die("no order");
    int id = column(line, "id");
    while (b->order_count < b->count && fgets(line, sizeof line, file) != NULL) {
        uint32_t item = (uint32_t)strtoul(field(line, id), NULL, 10);
        if (item < b->count && !b->kept_out[item]) b->order[b->order_count++] = item;
    }
    fclose(file);
    if (s->limit > 0 && b->order_count > s->limit) b->order_count = s->limit;
}

static tl_status fetch(void *context, uint64_t key, uint8_t *pixels, float *features, tl_error *err)
{
    (void)features;
    (void)err;
    const boards *b = context;
    const uint8_t *packed = b->packed + key * PACKED;
    for (size_t i = 0; i < 2 * PIXELS; i++)
        pixels[i] = (packed[i / 8] >> (7 - i % 8) & 1) ? 255 : 0;
    return TL_OK;
}

/* Scores of one item by published weights. */
static void predict(const boards *b, const tl_pixels_form *form, tl_plan *plan,
                    const tl_weights *weights, uint32_t item, float *scores)
{
    uint8_t pixels[2 * PIXELS];
    tl_error err;
    fetch((void *)b, item, pixels, NULL, NULL);
    tl_pixels_convert(form, pixels, pixels + PIXELS, 0, tl_plan_input(plan, 0));
    must(tl_plan_infer(plan, weights, 1, &err), &err);
    const float *logits = tl_plan_output(plan, 0);
    double sum = 0.0;
    for (int c = 0; c < CLASSES; c++) sum += exp((double)(logits[c] - logits[0]));
    for (int c = 0; c < CLASSES; c++)
        scores[c] = (float)(exp((double)(logits[c] - logits[0])) / sum);
}

typedef struct score {
    size_t items, right, flagged, defects, hits;
} score;

static bool count(score *s, const float *scores, float threshold, uint32_t label)
{
    uint32_t best = 0, worst = 1;
    for (uint32_t c = 1; c < CLASSES; c++) worst = scores[c] > scores[worst] ? c : worst;
    bool flagged = 1.0f - scores[0] >= threshold;
    if (flagged) best = worst;
    s->items++;
    s->right += best == label;
    s->flagged += flagged;
    s->defects += label > 0;
    s->hits += flagged && label > 0;
    return flagged;
}

static void print(const char *name, const score *s)
{
    printf("%s: accuracy %.4f precision %.4f recall %.4f of %zu\n", name,
           (double)s->right / (double)s->items, (double)s->hits / (double)s->flagged,
           (double)s->hits / (double)s->defects, s->items);
}

/* flagged and truth as bits 0 and 1 of each item. */
static size_t labels_needed(const uint8_t *said, size_t items)
{
    size_t since = 0;
    for (size_t i = 1000; i <= items; i++) {
        size_t hits = 0, flagged = 0, defects = 0;
        for (size_t k = i - 1000; k < i; k++) {
            flagged += said[k] & 1;
            defects += said[k] >> 1;
            hits += said[k] == 3;
        }
        bool good = 1000 * hits > 994 * flagged && 100 * hits > 95 * defects;
        if (!good)
            since = 0;
        else if (since == 0)
            since = i;
        if (since > 0 && i - since >= 500) return since;
    }
    return 0;
}

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

typedef struct run {
    tl_graph *graph;
    tl_learner *learner;
    tl_threshold *threshold;
    tl_plan *plan;
    tl_weights *weights;
    tl_learner_options options;
} run;

static void start(run *r, const settings *s)
{
    tl_error err;
    float *flat = NULL;
    tl_small_options network = tl_small_options_default();
    network.seed = s->seed;
    must(tl_network_small(&network, &r->graph, &flat, &err), &err);
    r->options = tl_learner_options_default();
    r->options.seed = s->seed;
    r->options.class_count = CLASSES;
    if (s->replay > 0) r->options.replay_per_label = s->replay;
    if (s->rate > 0) r->options.schedule.base = s->rate;
    must(tl_learner_create(r->graph, flat, &r->options, &r->learner, &err), &err);
    tl_threshold_options threshold = tl_threshold_options_default();
    must(tl_threshold_create(&threshold, &r->threshold, &err), &err);
    const tl_plan_options plan = { .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1 };
    must(tl_plan_create(r->graph, &plan, &r->plan, &err), &err);
    free(flat);
}

static void learn(run *r, boards *b, uint32_t item, const float *scores, bool flagged)
{
    tl_error err;
    tl_learner_result result;
    tl_threshold_entry entry = {
        .key = item, .score = 1.0f - scores[0], .flagged = flagged, .defect = b->label[item] > 0
    };
    tl_threshold_learn(r->threshold, &entry);
    must(tl_learner_step(r->learner, item, b->label[item], fetch, b, &result, &err), &err);
}

static void stream(run *r, boards *b, const settings *s)
{
    tl_error err;
    uint8_t *said = calloc(b->order_count, 1);
    float(*scores)[CLASSES] = calloc(b->order_count, sizeof *scores);
    if (said == NULL || scores == NULL) die("out of memory");
    score all = { 0 };
    float threshold = 0;
    double begin = cpu_s();
    for (size_t i = 0; i < b->order_count; i++) {
        if (i % PUBLISH == 0) {
            tl_weights_release(&r->weights);
            must(tl_weights_create(r->graph, tl_learner_average(r->learner), &r->weights, &err),
                 &err);
            threshold = tl_threshold_value(r->threshold);
        }
        uint32_t item = b->order[i];
        predict(b, &r->options.pixels, r->plan, r->weights, item, scores[i]);
        bool flagged = count(&all, scores[i], threshold, b->label[item]);
        said[i] = (uint8_t)(flagged | (b->label[item] > 0) << 1);
        if (i >= s->delay) {
            size_t late = i - s->delay;
            learn(r, b, b->order[late], scores[late], said[late] & 1);
        }
    }
    double cost = (cpu_s() - begin) / (double)b->order_count;
    print("stream", &all);
    printf("labels needed %zu, CPU %.3f ms a label, digest %016llx\n",
           labels_needed(said, b->order_count), 1e3 * cost,
           (unsigned long long)tl_learner_digest(r->learner));
    free(said);
    free(scores);
}

static void hold_out(run *r, const boards *b)
{
    tl_error err;
    score kept = { 0 };
    tl_weights_release(&r->weights);
    must(tl_weights_create(r->graph, tl_learner_average(r->learner), &r->weights, &err), &err);
    for (uint32_t item = 0; item < b->count; item++) {
        float scores[CLASSES];
        if (!b->kept_out[item]) continue;
        predict(b, &r->options.pixels, r->plan, r->weights, item, scores);
        count(&kept, scores, tl_threshold_value(r->threshold), b->label[item]);
    }
    print("kept out", &kept);
}

int main(int argc, char **argv)
{
    settings s = { .data = TL_SHARED_DATA "/pcb-stream", .order = "site", .seed = 1 };
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--order") == 0) s.order = argv[i + 1];
        if (strcmp(argv[i], "--data") == 0) s.data = argv[i + 1];
        if (strcmp(argv[i], "--seed") == 0) s.seed = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--limit") == 0) s.limit = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--delay") == 0) s.delay = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--replay") == 0) s.replay = (uint32_t)atoi(argv[i + 1]);
        if (strcmp(argv[i], "--rate") == 0) s.rate = atof(argv[i + 1]);
    }
    boards b = { 0 };
    run r = { 0 };
    load(&b, &s);
    start(&r, &s);
    stream(&r, &b, &s);
    hold_out(&r, &b);
    tl_weights_release(&r.weights);
    tl_plan_destroy(&r.plan);
    tl_threshold_destroy(&r.threshold);
    tl_learner_destroy(&r.learner);
    tl_graph_release(&r.graph);
    free(b.packed);
    free(b.label);
    free(b.kept_out);
    free(b.order);
    return 0;
}

/* finetune, our side: real boards through a loop on some network, once.
 * usage: finetune DATA LIMIT SEED EARLY JUDGE_EARLY JUDGE_EVERY NETWORK LEARNING [SIDE]
 * Judged are the boards that are kept out: every JUDGE_EARLY labels up to EARLY of them, then every
 * JUDGE_EVERY.
 * NETWORK: "small", an ONNX file, or a built-in network's name (which starts from a seed).
 * LEARNING: continuous, campaign, off. Prints a line of JSON; bench/learning/finetune.py runs it. */
#include "cli/data/stream.h"
#include "cli/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS_MAX = 256 };

typedef struct curve {
    tl_stream_point points[POINTS_MAX];
    size_t count;
} curve;

static void add_point(void *context, const tl_stream_point *point)
{
    curve *c = context;
    if (c->count > 0 && c->points[c->count - 1].labels == point->labels) return;
    if (c->count < POINTS_MAX) c->points[c->count++] = *point;
}

static void print_result(const curve *c, const tl_stream_result *r)
{
    printf("{\"labels\":%llu,\"labels_needed\":%llu,\"versions\":%llu,\"cpu_s\":%.2f,\"points\":[",
           (unsigned long long)r->labels, (unsigned long long)r->labels_needed,
           (unsigned long long)r->versions, r->cpu_s);
    for (size_t i = 0; i < c->count; i++) {
        const tl_stream_point *p = &c->points[i];
        printf("%s{\"labels\":%llu,\"window_precision\":%.4f,\"window_recall\":%.4f,"
               "\"precision\":%.4f,\"recall\":%.4f,\"accuracy\":%.4f}",
               i > 0 ? "," : "", (unsigned long long)p->labels, tl_stream_precision(&p->window),
               tl_stream_recall(&p->window), tl_stream_precision(&p->judged),
               tl_stream_recall(&p->judged), tl_stream_accuracy(&p->judged));
    }
    printf("]}\n");
}

static bool read_learning(const char *word, tl_learning *out)
{
    for (int i = TL_LEARNING_CONTINUOUS; i <= TL_LEARNING_OFF; i++)
        if (strcmp(word, tl_learning_text((tl_learning)i)) == 0) *out = (tl_learning)i;
    return *out != TL_LEARNING_AUTO;
}

int main(int argc, char **argv)
{
    tl_stream_options options = tl_stream_options_default();
    if (argc < 9 || !read_learning(argv[8], &options.learning)) {
        fprintf(stderr,
                "usage: finetune DATA LIMIT SEED EARLY JUDGE_EARLY JUDGE_EVERY NETWORK LEARNING "
                "[SIDE]\n");
        return 2;
    }
    char folder[] = "/tmp/tightloop-bench-XXXXXX";
    tl_error err = { 0 };
    tl_stream_result result;
    static curve points;
    if (mkdtemp(folder) == NULL) return 1;
    options.data = argv[1];
    options.limit_items = strtoull(argv[2], NULL, 10);
    options.seed = strtoull(argv[3], NULL, 10);
    options.early_labels = (uint32_t)strtoul(argv[4], NULL, 10);
    options.judge_early_labels = (uint32_t)strtoul(argv[5], NULL, 10);
    options.judge_every_labels = (uint32_t)strtoul(argv[6], NULL, 10);
    options.model = strcmp(argv[7], "small") == 0 ? NULL : argv[7];
    options.normalisation = options.model == NULL ? NULL : "efficientnet_lite";
    options.side = argc > 9 ? (uint32_t)strtoul(argv[9], NULL, 10) : 0;
    options.precision = 0.99; /* at a recall of 0.95 */
    options.journal = folder;
    options.on_point = add_point;
    options.context = &points;
    tl_status status = tl_stream_run(&options, &result, &err);
    tl_folder_remove(folder);
    if (status != TL_OK) {
        fprintf(stderr, "finetune: %s\n", err.text);
        return 1;
    }
    print_result(&points, &result);
    return 0;
}

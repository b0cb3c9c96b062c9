/* pcb-stream, our side: real boards through the loop, several seeds, one after the other.
 * usage: pcb_stream DATA ORDER DELAY SEEDS JUDGE_EVERY [HOLDOUT] [LIMIT]
 * SEEDS: how many, from 1 on, or FIRST-LAST. Prints a line of JSON for each seed;
 * bench/learning/pcb_stream.py runs it and judges. */
#include "cli/data/stream.h"
#include "cli/folder.h"

#include <stdio.h>
#include <stdlib.h>

static void print_point(void *context, const tl_stream_point *point)
{
    fprintf(stderr,
            "seed %llu labels %6llu | window precision %.4f recall %.4f | kept out accuracy %.4f "
            "precision %.4f recall %.4f\n",
            *(unsigned long long *)context, (unsigned long long)point->labels,
            tl_stream_precision(&point->window), tl_stream_recall(&point->window),
            tl_stream_accuracy(&point->judged), tl_stream_precision(&point->judged),
            tl_stream_recall(&point->judged));
}

static void print_result(unsigned long long seed, const tl_stream_result *r)
{
    printf("{\"seed\":%llu,\"items\":%llu,\"labels\":%llu,\"labels_needed\":%llu,"
           "\"accuracy\":%.6f,\"precision\":%.6f,\"recall\":%.6f,\"judged_items\":%llu,"
           "\"judged_defects\":%llu,\"lowest_precision\":%.6f,\"lowest_at\":%llu,"
           "\"false_rejects_ppm\":%.1f,\"misses_ppm\":%.1f,\"stream_precision\":%.6f,"
           "\"stream_recall\":%.6f,\"versions\":%llu,\"cpu_s\":%.2f,\"wall_s\":%.2f}\n",
           seed, (unsigned long long)r->items, (unsigned long long)r->labels,
           (unsigned long long)r->labels_needed, tl_stream_accuracy(&r->judged),
           tl_stream_precision(&r->judged), tl_stream_recall(&r->judged),
           (unsigned long long)r->judged.items, (unsigned long long)r->judged.defects,
           r->lowest_precision, (unsigned long long)r->lowest_at,
           tl_stream_false_rejects_ppm(&r->judged, 0.008), tl_stream_misses_ppm(&r->judged, 0.008),
           tl_stream_precision(&r->all), tl_stream_recall(&r->all), (unsigned long long)r->versions,
           r->cpu_s, r->wall_s);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: pcb_stream DATA ORDER DELAY SEEDS JUDGE_EVERY [HOLDOUT] [LIMIT]\n");
        return 2;
    }
    char *rest;
    unsigned long long first = 1, last = strtoull(argv[4], &rest, 10), seed;
    if (*rest == '-') {
        first = last;
        last = strtoull(rest + 1, NULL, 10);
    }
    for (seed = first; seed <= last; seed++) {
        char folder[] = "/tmp/tightloop-bench-XXXXXX";
        tl_error err = { 0 };
        tl_stream_result result;
        if (mkdtemp(folder) == NULL) return 1;
        tl_stream_options options = tl_stream_options_default();
        options.data = argv[1];
        options.order = argv[2];
        options.delay_items = strtoull(argv[3], NULL, 10);
        options.judge_every_labels = (uint32_t)strtoul(argv[5], NULL, 10);
        options.holdout = argc > 6 && argv[6][0] != '\0' ? argv[6] : NULL;
        options.limit_items = argc > 7 ? strtoull(argv[7], NULL, 10) : 0;
        options.seed = seed;
        options.journal = folder;
        options.on_point = print_point;
        options.context = &seed;
        tl_status status = tl_stream_run(&options, &result, &err);
        tl_folder_remove(folder);
        if (status != TL_OK) {
            fprintf(stderr, "pcb_stream: %s\n", err.text);
            return 1;
        }
        print_result(seed, &result);
    }
    return 0;
}

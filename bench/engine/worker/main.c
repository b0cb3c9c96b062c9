/* The engine's side of the benchmarks against other engines.
 *   usage: bench_engine infer|deploy|train --model FILE --input FILE [--labels FILE] [--output FILE]
 *                       [--batch N] [--threads N] [--size N] [--frozen] */
#include "bench/engine/worker/worker.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option words[] = {
    { "model", required_argument, NULL, 'm' },     { "input", required_argument, NULL, 'i' },
    { "labels", required_argument, NULL, 'l' },    { "output", required_argument, NULL, 'o' },
    { "batch", required_argument, NULL, 'b' },     { "threads", required_argument, NULL, 't' },
    { "size", required_argument, NULL, 's' },      { "frozen", no_argument, NULL, 'f' },
    { "precision", required_argument, NULL, 'p' }, { NULL, 0, NULL, 0 },
};

static uint32_t whole(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

static bool read_options(int argc, char **argv, worker_options *out)
{
    int letter;
    while ((letter = getopt_long(argc, argv, "", words, NULL)) != -1) {
        switch (letter) {
        case 'm': out->model = optarg; break;
        case 'i': out->input = optarg; break;
        case 'l': out->labels = optarg; break;
        case 'o': out->output = optarg; break;
        case 'b': out->batch = whole(optarg); break;
        case 't': out->threads = whole(optarg); break;
        case 's': out->height = out->width = whole(optarg); break;
        case 'p': out->bf16 = strcmp(optarg, "bf16") == 0; break;
        case 'f': out->frozen = true; break;
        default: return false;
        }
    }
    return optind + 1 == argc && out->model != NULL && out->input != NULL;
}

int main(int argc, char **argv)
{
    worker_options options = { .batch = 1, .threads = 1 };
    if (!read_options(argc, argv, &options)) {
        fprintf(stderr, "engine: see the usage in bench/engine/worker/main.c\n");
        return 2;
    }
    tl_error err = { .status = TL_OK };
    options.deploy = strcmp(argv[optind], "deploy") == 0;
    const bool trains = strcmp(argv[optind], "train") == 0;
    const tl_status status = trains ? worker_train(&options, &err) : worker_infer(&options, &err);
    if (status != TL_OK) fprintf(stderr, "engine: %s\n", err.text);
    return status == TL_OK ? 0 : 1;
}

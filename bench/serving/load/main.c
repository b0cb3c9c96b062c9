/* main.c - the load generator: load --port N --loop NAME --input features|board [...]
 * Prints one line of JSON. All traffic stays on the loopback interface. */
#include "load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS_MAX = 40000 };

static const char usage[] =
    "usage: load --port N [--loop NAME] [--input features|board] [--features N] [--classes N]\n"
    "            [--lines N] [--connections N] [--feedback-connections N] [--rate R] [--seconds "
    "S]\n"
    "            [--warm S] [--labels SHARE] [--items N] [--swap A,B] [--swaps N] [--seed N]\n"
    "Without --rate: a closed loop. --swap promotes the versions A and B in turn in every second\n"
    "second; latencies of both kinds of seconds are given apart.\n";

static void count_print(const char *name, const load_count *count)
{
    const tl_histogram *h = &count->latency;
    printf("\"%s\": {\"sent\": %llu, \"answered\": %llu, \"refused\": %llu, \"failed\": %llu, "
           "\"p50_ms\": %.4f, \"p90_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, "
           "\"max_ms\": %.4f}, ",
           name, (unsigned long long)count->sent, (unsigned long long)count->answered,
           (unsigned long long)count->refused, (unsigned long long)count->failed,
           tl_histogram_quantile_ns(h, 0.5) / 1e6, tl_histogram_quantile_ns(h, 0.9) / 1e6,
           tl_histogram_quantile_ns(h, 0.99) / 1e6, tl_histogram_quantile_ns(h, 0.999) / 1e6,
           (double)count->worst_ns / 1e6);
}

static void result_print(const load_result *result)
{
    printf("{");
    count_print("predict", &result->all);
    count_print("feedback", &result->feedback);
    count_print("without", &result->swap[0]);
    count_print("with", &result->swap[1]);
    printf("\"swaps\": %llu, \"swap_p99_ms\": %.3f, \"seconds\": %.3f, \"per_s\": %.1f, "
           "\"load_cpu_s\": %.3f, \"late_ms\": %.3f, \"answer_bytes\": %llu, \"failure\": \"",
           (unsigned long long)result->swaps,
           tl_histogram_quantile_ns(&result->swap_latency, 0.99) / 1e6, result->seconds,
           result->seconds > 0 ? (double)result->all.answered / result->seconds : 0.0,
           result->cpu_s, result->rate_late_ms, (unsigned long long)result->answer_bytes);
    for (const char *c = result->failure; *c != '\0'; c++)
        if (*c >= ' ' && *c <= '~') printf("%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
    printf("\"}\n");
}

static bool option_read(load_options *o, int name, size_t *items)
{
    char *comma;
    switch (name) {
    case 'p': o->port = (uint16_t)atoi(optarg); return true;
    case 'l': o->loop = optarg; return true;
    case 'i': o->input = optarg; return true;
    case 'f': o->features = (uint32_t)atoi(optarg); return true;
    case 'k': o->classes = (uint32_t)atoi(optarg); return true;
    case 'L': o->lines = (uint32_t)atoi(optarg); return true;
    case 'c': o->connections = (uint32_t)atoi(optarg); return true;
    case 'b': o->feedback_connections = (uint32_t)atoi(optarg); return true;
    case 'r': o->rate = atof(optarg); return true;
    case 's': o->seconds = atof(optarg); return true;
    case 'w': o->warm_s = atof(optarg); return true;
    case 'a': o->labels = atof(optarg); return true;
    case 'n': *items = (size_t)atoi(optarg); return true;
    case 'N': o->swaps = (uint32_t)atoi(optarg); return true;
    case 'S': o->seed = strtoull(optarg, NULL, 10); return true;
    case 'x':
        o->swap[0] = strtoull(optarg, &comma, 10);
        o->swap[1] = *comma == ',' ? strtoull(comma + 1, NULL, 10) : 0;
        return o->swap[1] != 0;
    default: return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        { "port", 1, NULL, 'p' },
        { "loop", 1, NULL, 'l' },
        { "input", 1, NULL, 'i' },
        { "features", 1, NULL, 'f' },
        { "classes", 1, NULL, 'k' },
        { "lines", 1, NULL, 'L' },
        { "connections", 1, NULL, 'c' },
        { "feedback-connections", 1, NULL, 'b' },
        { "rate", 1, NULL, 'r' },
        { "seconds", 1, NULL, 's' },
        { "warm", 1, NULL, 'w' },
        { "labels", 1, NULL, 'a' },
        { "items", 1, NULL, 'n' },
        { "swap", 1, NULL, 'x' },
        { "swaps", 1, NULL, 'N' },
        { "seed", 1, NULL, 'S' },
        { NULL, 0, NULL, 0 },
    };
    load_options options = { .loop = "bench",
                             .input = "features",
                             .features = 30,
                             .classes = 2,
                             .lines = 50,
                             .connections = 32,
                             .feedback_connections = 8,
                             .seconds = 5.0,
                             .swaps = 1,
                             .seed = 1 };
    size_t items = 1024;
    int name;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option_read(&options, name, &items)) continue;
        fputs(usage, stderr);
        return 2;
    }
    bool known = strcmp(options.input, "features") == 0 || strcmp(options.input, "board") == 0;
    if (options.port == 0 || !known || options.connections < 1 || options.connections > 4096 ||
        items < 1 || items > ITEMS_MAX || options.lines < 1 || options.features < 1 ||
        options.features > 4096 || options.classes < 1 || options.swaps < 1 ||
        !(options.seconds > 0.0 && options.seconds <= 3600.0) || !(options.rate >= 0.0)) {
        fputs(usage, stderr);
        return 2;
    }
    static load_result result;
    load_requests *requests = load_requests_make(&options, items);
    bool ok = load_run(&options, requests, &result);
    result_print(&result);
    load_requests_free(requests);
    return ok ? 0 : 1;
}

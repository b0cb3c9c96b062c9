/* learn_head.c - what the fast learner costs: microseconds for learning one label (rank-1 update of
 * the statistics), for a head from them (solve), for one answer (predict), by number of features.
 *
 *     learn_head [seconds a figure, default 0.2]
 *
 * One thread; the best of several rounds, since other work on the machine only ever adds time. */
#include "base/env.h"
#include "base/rng.h"
#include "learn/fast/head.h"

#include <stdio.h>
#include <stdlib.h>

enum { CLASSES = 7, EXAMPLES = 500, FEATURES_MAX = 512, ROUNDS = 5 };

typedef struct bench {
    uint32_t d;
    tl_head_stats *stats;
    tl_head_solver *solver;
    tl_head *head;
    float x[EXAMPLES][FEATURES_MAX];
    size_t turn;
} bench;

static void must(tl_status status, const tl_error *err)
{
    if (status == TL_OK) return;
    fprintf(stderr, "learn_head: %s\n", err->text);
    exit(1);
}

static void update(bench *b)
{
    tl_error err;
    size_t i = b->turn++ % EXAMPLES;
    must(tl_head_stats_add(b->stats, b->x[i], (uint32_t)(i % CLASSES), 1, &err), &err);
}

static void solve(bench *b)
{
    tl_error err;
    tl_head_release(&b->head);
    must(tl_head_solve(b->stats, NULL, b->solver, &b->head, &err), &err);
}

static void predict(bench *b)
{
    float scores[CLASSES];
    tl_head_predict(b->head, b->x[b->turn++ % EXAMPLES], scores);
}

static double microseconds(bench *b, void (*act)(bench *), double seconds)
{
    const tl_env *env = tl_env_system();
    double best = 1e30;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t begin = tl_env_mono_ns(env), end = begin;
        int64_t count = 0;
        while ((double)(end - begin) < seconds * 1e9 / ROUNDS) {
            for (int i = 0; i < 4; i++) act(b);
            count += 4;
            end = tl_env_mono_ns(env);
        }
        double each = (double)(end - begin) * 1e-3 / (double)count;
        if (each < best) best = each;
    }
    return best;
}

static void run(bench *b, uint32_t d, double seconds)
{
    tl_error err;
    b->d = d;
    tl_head_stats_options options = {
        .feature_count = d, .class_count = CLASSES, .form = TL_HEAD_RAW, .range = 16.0f
    };
    must(tl_head_stats_create(&options, &b->stats, &err), &err);
    must(tl_head_solver_create(d, &b->solver, &err), &err);
    tl_rng rng;
    tl_rng_seed(&rng, 1, d);
    for (size_t i = 0; i < EXAMPLES; i++) {
        for (uint32_t j = 0; j < d; j++)
            b->x[i][j] = (float)(tl_rng_normal(&rng) + (j % CLASSES == i % CLASSES ? 2.0 : 0.0));
        update(b);
    }
    double update_us = microseconds(b, update, seconds);
    double solve_us = microseconds(b, solve, seconds);
    double predict_us = microseconds(b, predict, seconds);
    printf("%8u  %12.2f  %12.1f  %12.2f\n", d, update_us, solve_us, predict_us);
    tl_head_release(&b->head);
    tl_head_solver_destroy(&b->solver);
    tl_head_stats_destroy(&b->stats);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 0.2;
    static const uint32_t sizes[] = { 30, 64, 128, 256, 512 };
    bench *b = calloc(1, sizeof *b);
    if (b == NULL) return 1;
    printf("features  update [us]    solve [us]    predict [us]     (%d classes)\n", CLASSES);
    for (size_t i = 0; i < TL_COUNT_OF(sizes); i++) run(b, sizes[i], seconds > 0 ? seconds : 0.2);
    free(b);
    return 0;
}

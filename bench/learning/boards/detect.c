/* A YOLOv8n trained from scratch on whole boards, and how well it finds their defects.
 *
 * usage: bench_detect_boards [--data DIR] [--side 320] [--epochs N] [--batch N] [--threads N]
 *            [--rate R] [--seed N] [--boards N] [--save FILE] [--load FILE] [--detections FILE]
 *
 * Images of every tenth board (by name) are kept out of training and judged: mean average precision
 * and the data set's own rule, before and after, in the end in bf16 too where the processor has it.
 * --save writes the weights (float32, no header), --load judges such weights without training,
 * --detections writes what was found for score_detect.py. The last line is JSON. */
#include "learn/detect/detect.h"
#include "base/env.h"
#include "bench/learning/boards/boards.h"
#include "networks/networks.h"
#include "tensor/device.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOUND_MAX = 300, CANDIDATES_MAX = 8192 };

typedef struct settings {
    const char *data, *save, *load, *detections;
    uint32_t side, batch, threads;
    size_t boards;
    double epochs, rate;
    uint64_t seed;
} settings;

static void check(tl_status status, const tl_error *err)
{
    if (status == TL_OK) return;
    fprintf(stderr, "bench_detect_boards: %s\n", err->text);
    exit(1);
}

static void *need(void *pointer)
{
    tl_error err = { .text = "out of memory" };
    check(pointer == NULL ? TL_ENOMEM : TL_OK, &err);
    return pointer;
}

static double now_s(void)
{
    return 1e-9 * (double)tl_env_mono_ns(tl_env_system());
}

/* ---- Judging --------------------------------------------------------------------------------- */

typedef struct quality {
    tl_detect_quality coco;
    tl_detect_matched matched, sure; /* all that was found; scores of 0.25 and more */
} quality;

/* The best boxes of one board into `found` [FOUND_MAX]. */
static size_t find(tl_plan *plan, const tl_weights *weights, const tl_yolo_head *head,
                   const boards *all, const board *item, tl_detection *candidates,
                   tl_detection *found)
{
    const tl_pixels_form form = boards_form(all);
    tl_error err = { 0 };
    tl_detect_options options = tl_detect_options_default();
    options.score_min = 0.001f;
    options.many_labels = true;
    tl_pixels_convert(&form, item->image, item->reference, 0, tl_plan_input(plan, 0));
    check(tl_plan_infer(plan, weights, 1, &err), &err);
    const float *maps[TL_YOLO_SCALE_MAX];
    for (uint32_t s = 0; s < head->scale_count; s++) maps[s] = tl_plan_output(plan, s);
    size_t count = tl_detect_decode(head, maps, 0, &options, candidates, CANDIDATES_MAX);
    count = tl_detect_suppress(&options, candidates, count);
    memcpy(found, candidates, count * sizeof *found);
    return count;
}

static void write_detections(const char *path, const boards *all, const tl_detect_image *images)
{
    FILE *file = need(fopen(path, "w"));
    const double scale = (double)BOARD_SIDE / all->side;
    fprintf(file, "image,x1,y1,x2,y2,confidence,name\n");
    for (size_t i = 0; i < all->judged_count; i++)
        for (size_t d = 0; d < images[i].found_count; d++) {
            const tl_detection *f = &images[i].found[d];
            fprintf(file, "%s,%.2f,%.2f,%.2f,%.2f,%.6f,%s\n", all->items[all->judged[i]].name,
                    scale * (double)f->box.x1, scale * (double)f->box.y1, scale * (double)f->box.x2,
                    scale * (double)f->box.y2, (double)f->score, BOARD_CLASS_NAMES[f->label]);
        }
    fclose(file);
}

static quality judge(tl_graph *graph, const float *flat, const boards *all, tl_precision precision,
                     const char *detections)
{
    tl_error err = { 0 };
    tl_plan *plan = NULL;
    tl_weights *weights = NULL;
    tl_yolo_head head;
    quality out;
    const tl_plan_options options = {
        .batch_max = 1, .mode = TL_PLAN_INFER, .threads = 1, .precision = precision
    };
    check(tl_plan_create(graph, &options, &plan, &err), &err);
    check(tl_weights_create(graph, flat, &weights, &err), &err);
    check(tl_yolo_head_of_graph(graph, &head, &err), &err);
    tl_detection *candidates = need(calloc(CANDIDATES_MAX, sizeof *candidates));
    tl_detection *found = need(calloc(all->judged_count * FOUND_MAX, sizeof *found));
    tl_detect_image *images = need(calloc(all->judged_count, sizeof *images));
    for (size_t i = 0; i < all->judged_count; i++) {
        const board *item = &all->items[all->judged[i]];
        tl_detection *own = found + i * FOUND_MAX;
        images[i] = (tl_detect_image){ own,
                                       find(plan, weights, &head, all, item, candidates, own),
                                       { item->truths, item->truth_count } };
    }
    check(tl_detect_measure(images, all->judged_count, BOARD_CLASSES, &out.coco, &err), &err);
    check(tl_detect_measure_boards(images, all->judged_count, &out.matched, &err), &err);
    if (detections != NULL) write_detections(detections, all, images);
    for (size_t i = 0; i < all->judged_count; i++) /* by falling score */
        while (images[i].found_count > 0 &&
               images[i].found[images[i].found_count - 1].score < 0.25f)
            images[i].found_count--;
    check(tl_detect_measure_boards(images, all->judged_count, &out.sure, &err), &err);
    free(candidates);
    free(found);
    free(images);
    tl_weights_release(&weights);
    tl_plan_destroy(&plan);
    return out;
}

static void tell(const char *when, const quality *q)
{
    printf("%-8s mAP50 %.4f   mAP50-95 %.4f   boards' rule: AP %.4f; from score 0.25: precision "
           "%.4f recall %.4f F %.4f\n",
           when, q->coco.map50, q->coco.map50_95, q->matched.average_precision, q->sure.precision,
           q->sure.recall, q->sure.f_mean);
    fflush(stdout);
}

/* ---- Training -------------------------------------------------------------------------------- */

typedef struct watch {
    double begin_s, told_s, loss;
    uint64_t since;
} watch;

static bool on_step(void *context, const tl_train_progress *now)
{
    watch *w = context;
    double t = now_s();
    w->loss += now->loss.total;
    w->since++;
    if (t - w->told_s < 10.0 && now->step < now->steps) return true;
    printf("step %4llu of %llu   epoch %5.2f   loss %7.3f   rate %.5f   %.1f s\n",
           (unsigned long long)now->step, (unsigned long long)now->steps, now->epoch,
           w->loss / (double)w->since, now->rate, t - w->begin_s);
    fflush(stdout);
    w->told_s = t;
    w->loss = 0.0;
    w->since = 0;
    return true;
}

static void learn(const settings *s, tl_graph *graph, boards *all, float *flat)
{
    tl_error err = { 0 };
    tl_train_options options = tl_train_options_default(TL_TASK_DETECT);
    options.form = boards_form(all);
    options.count = all->learned_count;
    options.epochs = s->epochs;
    options.batch = s->batch;
    options.threads = s->threads;
    options.seed = s->seed;
    options.rate = s->rate;
    options.average_decay = 0.99;
    options.truth_max = 256;
    options.augment.symmetries = true;     /* a board has no upside */
    options.augment.mosaic_chance = 0.25f; /* for few epochs */
    options.augment.scale = 0.25f;
    options.plain_share = 0.3;
    tl_train *train = NULL;
    watch w = { .begin_s = now_s() };
    check(tl_train_create(graph, flat, &options, boards_fetch, all, &train, &err), &err);
    printf("%.0f MB for training\n", 1e-6 * (double)tl_train_bytes(train));
    check(tl_train_run(train, on_step, &w, &err), &err);
    tl_train_result(train, flat);
    tl_train_destroy(&train);
}

static void store(const char *path, const char *mode, float *flat, size_t count)
{
    FILE *file = need(fopen(path, mode));
    size_t done = *mode == 'r' ? fread(flat, sizeof *flat, count, file)
                               : fwrite(flat, sizeof *flat, count, file);
    tl_error err = { .text = "the file of weights does not fit this network" };
    check(done == count ? TL_OK : TL_EINVAL, &err);
    fclose(file);
}

static settings parse(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        { "data", 1, NULL, 'd' },  { "side", 1, NULL, 's' },       { "epochs", 1, NULL, 'e' },
        { "batch", 1, NULL, 'b' }, { "threads", 1, NULL, 't' },    { "rate", 1, NULL, 'r' },
        { "seed", 1, NULL, 'S' },  { "boards", 1, NULL, 'n' },     { "save", 1, NULL, 'o' },
        { "load", 1, NULL, 'l' },  { "detections", 1, NULL, 'D' }, { NULL, 0, NULL, 0 }
    };
    settings s = { .data = TL_SHARED_DATA "/pcb-stream",
                   .side = 320,
                   .batch = 16,
                   .threads = 2,
                   .epochs = 10,
                   .rate = 2e-3,
                   .seed = 1 };
    for (int o; (o = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (o == 'd')
            s.data = optarg;
        else if (o == 's')
            s.side = (uint32_t)strtoul(optarg, NULL, 10);
        else if (o == 'e')
            s.epochs = strtod(optarg, NULL);
        else if (o == 'b')
            s.batch = (uint32_t)strtoul(optarg, NULL, 10);
        else if (o == 't')
            s.threads = (uint32_t)strtoul(optarg, NULL, 10);
        else if (o == 'r')
            s.rate = strtod(optarg, NULL);
        else if (o == 'S')
            s.seed = strtoull(optarg, NULL, 10);
        else if (o == 'n')
            s.boards = strtoull(optarg, NULL, 10);
        else if (o == 'o')
            s.save = optarg;
        else if (o == 'l')
            s.load = optarg;
        else if (o == 'D')
            s.detections = optarg;
        else
            exit(2);
    }
    return s;
}

/* Judge what came of it, and print the last line. */
static void conclude(const settings *s, tl_graph *graph, const float *flat, const boards *all,
                     double train_s)
{
    const quality after = judge(graph, flat, all, TL_PRECISION_FLOAT32, s->detections);
    char in_bf16[128] = "";
    tell("after", &after);
    if (tl_device_runs_bf16()) {
        const quality half = judge(graph, flat, all, TL_PRECISION_BF16, NULL);
        tell("in bf16", &half);
        snprintf(in_bf16, sizeof in_bf16, "\"map50_bf16\": %.4f, \"map50_95_bf16\": %.4f, ",
                 half.coco.map50, half.coco.map50_95);
    }
    printf("{\"bench\": \"detect-boards\", \"figures\": {\"side\": %u, \"epochs\": %g, "
           "\"judged\": %zu, \"map50\": %.4f, \"map50_95\": %.4f, %s\"boards_ap\": %.4f, "
           "\"boards_f\": %.4f, \"train_s\": %.1f}}\n",
           s->side, s->load != NULL ? 0.0 : s->epochs, all->judged_count, after.coco.map50,
           after.coco.map50_95, in_bf16, after.matched.average_precision, after.sure.f_mean,
           train_s);
}

int main(int argc, char **argv)
{
    const settings s = parse(argc, argv);
    tl_error err = { 0 };
    boards all;
    tl_graph *graph = NULL;
    float *flat = NULL;
    const tl_network_options network = { .height = s.side,
                                         .width = s.side,
                                         .channels = 3,
                                         .class_count = BOARD_CLASSES,
                                         .seed = s.seed,
                                         .form = TL_NETWORK_TRAIN };
    check(tl_network_create(tl_network_find("yolov8n"), &network, &graph, &flat, &err), &err);
    boards_load(s.data, s.side, s.boards, &all);
    printf("%zu boards to learn from, %zu to judge on; %u pixels, %zu parameters\n",
           all.learned_count, all.judged_count, s.side, tl_graph_float_count(graph));
    double train_s = 0.0;
    if (s.load != NULL) {
        store(s.load, "rb", flat, tl_graph_float_count(graph));
    } else {
        quality before = judge(graph, flat, &all, TL_PRECISION_FLOAT32, NULL);
        tell("before", &before);
        const double begin_s = now_s();
        learn(&s, graph, &all, flat);
        train_s = now_s() - begin_s;
    }
    if (s.save != NULL) store(s.save, "wb", flat, tl_graph_float_count(graph));
    conclude(&s, graph, flat, &all, train_s);
    boards_free(&all);
    free(flat);
    tl_graph_release(&graph);
    return 0;
}

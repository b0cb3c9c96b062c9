#include "learn/detect/assign.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON 1e-9

typedef struct candidate {
    size_t anchor;
    double metric;
} candidate;

/* What is known of an anchor in the image at hand. */
typedef struct anchor_state {
    double box[4];          /* its prediction, once decoded */
    double overlap;         /* the largest with any box that it lies in */
    int32_t nearest, owner; /* boxes: of that overlap; that has it among its best */
    uint32_t wanted;        /* by so many boxes */
    bool decoded;
} anchor_state;

/* The largest metric and overlap among the anchors of a box. */
typedef struct truth_state {
    double metric, overlap;
} truth_state;

struct tl_assign {
    tl_yolo_head head;
    tl_assign_options options;
    anchor_state *anchors;
    truth_state *truths;
    size_t truth_max;
    candidate best[TL_ASSIGN_TOPK_MAX]; /* of the box at hand, by falling metric */
    size_t best_count;
};

/* One image on its way through. */
typedef struct image {
    tl_assign *assign;
    const float *const *maps;
    uint32_t item;
    const tl_truths *truths;
} image;

tl_status tl_assign_create(const tl_yolo_head *head, const tl_assign_options *options,
                           size_t truth_max, tl_assign **out, tl_error *err)
{
    if (options->topk < 1 || options->topk > TL_ASSIGN_TOPK_MAX || !(options->alpha >= 0.0) ||
        !(options->beta >= 0.0))
        return tl_fail(err, TL_EINVAL, "assignment: topk must be 1 to %d, alpha and beta 0 or more",
                       TL_ASSIGN_TOPK_MAX);
    tl_assign *assign = calloc(1, sizeof *assign);
    if (assign == NULL) return tl_fail(err, TL_ENOMEM, "assignment");
    assign->head = *head;
    assign->options = *options;
    assign->truth_max = truth_max;
    assign->anchors = calloc(head->anchor_count, sizeof *assign->anchors);
    assign->truths = calloc(truth_max + 1, sizeof *assign->truths);
    if (assign->anchors == NULL || assign->truths == NULL) {
        tl_assign_destroy(&assign);
        return tl_fail(err, TL_ENOMEM, "assignment of %zu anchors", head->anchor_count);
    }
    *out = assign;
    return TL_OK;
}

void tl_assign_destroy(tl_assign **assign)
{
    if (assign == NULL || *assign == NULL) return;
    free((*assign)->anchors);
    free((*assign)->truths);
    free(*assign);
    *assign = NULL;
}

size_t tl_assign_bytes(const tl_assign *assign)
{
    return sizeof *assign + assign->head.anchor_count * sizeof *assign->anchors +
           assign->truth_max * sizeof *assign->truths;
}

/* ---- One pair -------------------------------------------------------------------------------- */

static double probability(double logit)
{
    return 1.0 / (1.0 + exp(-logit));
}

/* Metric of an anchor for a box, and their overlap. */
static double metric_of(const image *img, size_t index, const tl_truth *truth, double *overlap)
{
    tl_assign *assign = img->assign;
    anchor_state *state = &assign->anchors[index];
    tl_yolo_anchor anchor = tl_yolo_head_anchor(&assign->head, index);
    const float *channels = tl_yolo_head_at(&assign->head, img->maps, img->item, &anchor);
    if (!state->decoded) tl_yolo_box(&anchor, channels, state->box);
    state->decoded = true;
    const double target[4] = { (double)truth->box.x1, (double)truth->box.y1, (double)truth->box.x2,
                               (double)truth->box.y2 };
    *overlap = fmax(tl_box_complete_iou(target, state->box, NULL), 0.0);
    double score = probability((double)channels[TL_YOLO_BOX_CHANNELS + truth->label]);
    return pow(score, assign->options.alpha) * pow(*overlap, assign->options.beta);
}

/* Keep the best ones; anchors come in rising order, so that of equal ones the first stays. */
static void offer(tl_assign *assign, size_t anchor, double metric)
{
    if (!(metric > 0.0)) return;
    size_t at = assign->best_count, room = assign->options.topk;
    if (at == room && !(metric > assign->best[room - 1].metric)) return;
    if (at == room)
        at--;
    else
        assign->best_count++;
    for (; at > 0 && metric > assign->best[at - 1].metric; at--)
        assign->best[at] = assign->best[at - 1];
    assign->best[at] = (candidate){ anchor, metric };
}

/* ---- One box --------------------------------------------------------------------------------- */

/* Cells whose middle lies strictly between two coordinates: first..last-1. */
static void cells_between(double low, double high, const tl_yolo_scale *scale, uint32_t cells,
                          uint32_t *first, uint32_t *last)
{
    *first = *last = 0;
    if (!(high > low)) return;
    double from = floor(low / scale->stride - 0.5), to = ceil(high / scale->stride - 0.5) + 1.0;
    uint32_t begin = from > 0.0 ? (uint32_t)fmin(from, cells) : 0;
    uint32_t end = to > 0.0 ? (uint32_t)fmin(to, cells) : 0;
    while (begin < end && !((begin + 0.5) * scale->stride - low > EPSILON)) begin++;
    while (end > begin && !(high - (end - 0.5) * scale->stride > EPSILON)) end--;
    *first = begin;
    *last = end;
}

static void consider(const image *img, size_t index, int32_t truth)
{
    double overlap;
    double metric = metric_of(img, index, &img->truths->items[truth], &overlap);
    anchor_state *state = &img->assign->anchors[index];
    if (overlap > state->overlap) {
        state->overlap = overlap;
        state->nearest = truth;
    }
    offer(img->assign, index, metric);
}

/* The anchors that box `truth` wants. */
static void choose(const image *img, int32_t truth)
{
    tl_assign *assign = img->assign;
    const tl_box *box = &img->truths->items[truth].box;
    assign->best_count = 0;
    for (uint32_t s = 0; s < assign->head.scale_count; s++) {
        const tl_yolo_scale *scale = &assign->head.scales[s];
        uint32_t left, right, top, bottom;
        cells_between((double)box->x1, (double)box->x2, scale, scale->width, &left, &right);
        cells_between((double)box->y1, (double)box->y2, scale, scale->height, &top, &bottom);
        for (uint32_t y = top; y < bottom; y++)
            for (uint32_t x = left; x < right; x++)
                consider(img, scale->first + (size_t)y * scale->width + x, truth);
    }
    for (size_t i = 0; i < assign->best_count; i++) {
        anchor_state *state = &assign->anchors[assign->best[i].anchor];
        state->wanted++;
        state->owner = truth;
    }
}

/* ---- One image ------------------------------------------------------------------------------- */

static void reset(tl_assign *assign, size_t truth_count)
{
    for (size_t i = 0; i < assign->head.anchor_count; i++) {
        anchor_state *state = &assign->anchors[i];
        state->decoded = false;
        state->overlap = 0.0;
        state->nearest = state->owner = -1;
        state->wanted = 0;
    }
    memset(assign->truths, 0, truth_count * sizeof *assign->truths);
}

/* Owners for good; metrics into out, the largest of each box into its state. */
static void settle(const image *img, tl_assigned *out)
{
    tl_assign *assign = img->assign;
    for (size_t i = 0; i < assign->head.anchor_count; i++) {
        const anchor_state *state = &assign->anchors[i];
        out[i] = (tl_assigned){ .truth = -1 };
        if (state->wanted == 0) continue;
        out[i].truth = state->wanted == 1 ? state->owner : state->nearest;
        double overlap;
        double metric = metric_of(img, i, &img->truths->items[out[i].truth], &overlap);
        truth_state *truth = &assign->truths[out[i].truth];
        truth->metric = fmax(truth->metric, metric);
        truth->overlap = fmax(truth->overlap, overlap);
    }
}

static double scale_targets(const image *img, tl_assigned *out)
{
    double sum = 0.0;
    for (size_t i = 0; i < img->assign->head.anchor_count; i++) {
        if (out[i].truth < 0) continue;
        const truth_state *truth = &img->assign->truths[out[i].truth];
        double overlap;
        double metric = metric_of(img, i, &img->truths->items[out[i].truth], &overlap);
        double target = metric * truth->overlap / (truth->metric + EPSILON);
        out[i].target = (float)target;
        sum += target;
    }
    return sum;
}

double tl_assign_run(tl_assign *assign, const float *const *maps, uint32_t item,
                     const tl_truths *truths, tl_assigned *out)
{
    TL_ASSERT(truths->count <= assign->truth_max);
    const image img = { .assign = assign, .maps = maps, .item = item, .truths = truths };
    reset(assign, truths->count);
    for (size_t t = 0; t < truths->count; t++) {
        TL_ASSERT(truths->items[t].label < assign->head.class_count);
        choose(&img, (int32_t)t);
    }
    settle(&img, out);
    return scale_targets(&img, out);
}

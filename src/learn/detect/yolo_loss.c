#include "learn/detect/yolo_loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The largest distance that is learned, in strides: the last bin but for a little, so that it has a
 * bin to its right. */
#define DISTANCE_MAX ((double)TL_YOLO_BINS - 1.0 - 0.01)

/* Beyond it a product of numbers up to 2 starts anew. */
#define PRODUCT_MAX 1e300

struct tl_yolo_loss {
    tl_yolo_loss_options options;
    tl_assign *assign;
    tl_assigned *assigned; /* [batch_max, anchors] */
};

/* One run. Sums are without the division by `norm`; gradients are with it. */
typedef struct run {
    const tl_yolo_loss_options *options;
    const float *const *maps;
    float *grads[TL_YOLO_SCALE_MAX]; /* each like its map, or NULL */
    double norm;
    double box, classes, distance;
} run;

tl_yolo_loss_options tl_yolo_loss_options_default(const tl_yolo_head *head, uint32_t batch_max)
{
    return (tl_yolo_loss_options){ .head = *head,
                                   .batch_max = batch_max,
                                   .truth_max = 1024,
                                   .assign = { .topk = 10, .alpha = 0.5, .beta = 6.0 },
                                   .box_gain = 7.5,
                                   .class_gain = 0.5,
                                   .distance_gain = 1.5 };
}

tl_status tl_yolo_loss_create(const tl_yolo_loss_options *options, tl_yolo_loss **out,
                              tl_error *err)
{
    if (options->batch_max < 1 || options->batch_max > 4096 || options->truth_max > 1 << 16)
        return tl_fail(err, TL_EINVAL, "a batch of %u with up to %u boxes; use up to 4096 and %d",
                       options->batch_max, options->truth_max, 1 << 16);
    if (!(options->box_gain >= 0.0 && options->class_gain >= 0.0 && options->distance_gain >= 0.0))
        return tl_fail(err, TL_EINVAL, "the gains of the losses must be 0 or more");
    tl_yolo_loss *loss = calloc(1, sizeof *loss);
    if (loss == NULL) return tl_fail(err, TL_ENOMEM, "YOLO loss");
    loss->options = *options;
    size_t anchors = options->batch_max * options->head.anchor_count;
    loss->assigned = calloc(anchors, sizeof *loss->assigned);
    tl_status status = loss->assigned == NULL
                           ? tl_fail(err, TL_ENOMEM, "targets of %zu anchors", anchors)
                           : tl_assign_create(&options->head, &options->assign, options->truth_max,
                                              &loss->assign, err);
    if (status != TL_OK) {
        tl_yolo_loss_destroy(&loss);
        return status;
    }
    *out = loss;
    return TL_OK;
}

void tl_yolo_loss_destroy(tl_yolo_loss **loss)
{
    if (loss == NULL || *loss == NULL) return;
    tl_assign_destroy(&(*loss)->assign);
    free((*loss)->assigned);
    free(*loss);
    *loss = NULL;
}

size_t tl_yolo_loss_bytes(const tl_yolo_loss *loss)
{
    const tl_yolo_loss_options *o = &loss->options;
    return sizeof *loss + o->batch_max * o->head.anchor_count * sizeof *loss->assigned +
           tl_assign_bytes(loss->assign);
}

/* ---- Classes --------------------------------------------------------------------------------- */

/* Binary cross-entropy of logits [count] to targets of 0, in nats; gradients times `factor`. The sum
 * of ln(1 + e^-|x|) is the logarithm of a product of numbers up to 2, of which a double holds many. */
static double background(const float *logits, size_t count, float factor, float *grad)
{
    double sum = 0.0, product = 1.0;
    for (size_t i = 0; i < count; i++) {
        const float x = logits[i], small = expf(-fabsf(x));
        sum += x > 0.0f ? (double)x : 0.0;
        product *= 1.0 + (double)small;
        if (grad != NULL) grad[i] = factor * (x >= 0.0f ? 1.0f : small) / (1.0f + small);
        if (product > PRODUCT_MAX) {
            sum += log(product);
            product = 1.0;
        }
    }
    return sum + log(product);
}

/* All anchors of one map, item after item, as if none had a target; sides get gradient 0. */
static void classes_of_map(run *r, const tl_yolo_scale *scale, uint32_t batch, const float *map,
                           float *grad)
{
    const uint32_t classes = r->options->head.class_count;
    const size_t channels = tl_yolo_head_channels(&r->options->head);
    const size_t cells = (size_t)batch * scale->height * scale->width;
    const float factor = (float)(r->options->class_gain / r->norm);
    for (size_t i = 0; i < cells; i++, map += channels) {
        float *to = NULL;
        if (grad != NULL) {
            memset(grad, 0, TL_YOLO_BOX_CHANNELS * sizeof *grad);
            to = grad + TL_YOLO_BOX_CHANNELS;
            grad += channels;
        }
        r->classes += background(map + TL_YOLO_BOX_CHANNELS, classes, factor, to);
    }
}

/* ---- Foreground ------------------------------------------------------------------------------ */

/* An anchor that has a box, in strides. */
typedef struct positive {
    const float *channels;
    float *grad; /* NULL: not wanted */
    double weight;
    double probabilities[4][TL_YOLO_BINS], distances[4]; /* left, top, right, bottom */
    double box[4], target[4];
} positive;

static void decode(const tl_yolo_anchor *anchor, const tl_truth *truth, positive *p)
{
    const double x = anchor->x / anchor->stride, y = anchor->y / anchor->stride;
    const double centre[4] = { x, y, x, y };
    const double sides[4] = { (double)truth->box.x1, (double)truth->box.y1, (double)truth->box.x2,
                              (double)truth->box.y2 };
    for (int i = 0; i < 4; i++) {
        p->distances[i] = tl_yolo_distance(p->channels + i * TL_YOLO_BINS, p->probabilities[i]);
        p->box[i] = centre[i] + (i < 2 ? -p->distances[i] : p->distances[i]);
        p->target[i] = sides[i] / anchor->stride;
    }
}

static void box_loss(run *r, positive *p)
{
    double by_box[4];
    double overlap = tl_box_complete_iou(p->box, p->target, p->grad == NULL ? NULL : by_box);
    r->box += p->weight * (1.0 - overlap);
    if (p->grad == NULL) return;
    const double factor = r->options->box_gain * p->weight / r->norm;
    for (int i = 0; i < 4; i++) {
        double by_distance = factor * (i < 2 ? by_box[i] : -by_box[i]);
        for (int k = 0; k < TL_YOLO_BINS; k++)
            p->grad[i * TL_YOLO_BINS + k] +=
                (float)(by_distance * p->probabilities[i][k] * (k - p->distances[i]));
    }
}

/* ln of the sum of e^logit of one side, from a bin that is not small. */
static double log_sum(const float *logits, const double *probabilities)
{
    int largest = 0;
    for (int i = 1; i < TL_YOLO_BINS; i++)
        if (probabilities[i] > probabilities[largest]) largest = i;
    return (double)logits[largest] - log(probabilities[largest]);
}

static void distance_loss(run *r, const tl_yolo_anchor *anchor, positive *p)
{
    const double x = anchor->x / anchor->stride, y = anchor->y / anchor->stride;
    const double wanted[4] = { x - p->target[0], y - p->target[1], p->target[2] - x,
                               p->target[3] - y };
    const double factor = r->options->distance_gain * p->weight / (4.0 * r->norm);
    for (int i = 0; i < 4; i++) {
        double distance = fmin(fmax(wanted[i], 0.0), DISTANCE_MAX);
        int left = (int)distance;
        double near_right = distance - left, near_left = 1.0 - near_right;
        const double *share = p->probabilities[i];
        const float *logits = p->channels + i * TL_YOLO_BINS;
        r->distance += p->weight / 4.0 *
                       (log_sum(logits, share) - near_left * (double)logits[left] -
                        near_right * (double)logits[left + 1]);
        for (int k = 0; p->grad != NULL && k < TL_YOLO_BINS; k++) {
            double target = k == left ? near_left : k == left + 1 ? near_right : 0.0;
            p->grad[i * TL_YOLO_BINS + k] += (float)(factor * (share[k] - target));
        }
    }
}

/* What the class of its box adds to an anchor that was taken for background. */
static void class_target(run *r, const positive *p, uint32_t label)
{
    const size_t at = TL_YOLO_BOX_CHANNELS + label;
    r->classes -= p->weight * (double)p->channels[at];
    if (p->grad != NULL) p->grad[at] -= (float)(r->options->class_gain * p->weight / r->norm);
}

static size_t foreground(run *r, uint32_t item, const tl_truths *truths,
                         const tl_assigned *assigned)
{
    const tl_yolo_head *head = &r->options->head;
    size_t count = 0;
    for (size_t i = 0; i < head->anchor_count; i++) {
        if (assigned[i].truth < 0) continue;
        count++;
        const tl_truth *truth = &truths->items[assigned[i].truth];
        tl_yolo_anchor anchor = tl_yolo_head_anchor(head, i);
        positive p = { .channels = tl_yolo_head_at(head, r->maps, item, &anchor),
                       .weight = (double)assigned[i].target };
        if (r->grads[anchor.scale] != NULL)
            p.grad = r->grads[anchor.scale] + (p.channels - r->maps[anchor.scale]);
        decode(&anchor, truth, &p);
        box_loss(r, &p);
        distance_loss(r, &anchor, &p);
        class_target(r, &p, truth->label);
    }
    return count;
}

/* ---- Runs ------------------------------------------------------------------------------------ */

static tl_status check(const tl_yolo_loss_options *o, uint32_t batch, const tl_truths *truths,
                       tl_error *err)
{
    TL_ASSERT(batch >= 1);
    TL_ASSERT(batch <= o->batch_max);
    for (uint32_t i = 0; i < batch; i++) {
        if (truths[i].count > o->truth_max)
            return tl_fail(err, TL_EINVAL, "an image with %zu boxes; at most %u", truths[i].count,
                           o->truth_max);
        for (size_t t = 0; t < truths[i].count; t++)
            if (truths[i].items[t].label >= o->head.class_count)
                return tl_fail(err, TL_EINVAL, "a box of class %u; there are %u",
                               truths[i].items[t].label, o->head.class_count);
    }
    return TL_OK;
}

tl_status tl_yolo_loss_run(tl_yolo_loss *loss, const float *const *maps, uint32_t batch,
                           const tl_truths *truths, tl_yolo_parts *parts, float *grad,
                           tl_error *err)
{
    const tl_yolo_loss_options *o = &loss->options;
    const tl_yolo_head *head = &o->head;
    tl_status status = check(o, batch, truths, err);
    if (status != TL_OK) return status;
    tl_yolo_parts result = { 0 };
    for (uint32_t i = 0; i < batch; i++)
        result.target_sum += tl_assign_run(loss->assign, maps, i, &truths[i],
                                           loss->assigned + i * head->anchor_count);
    run r = { .options = o, .maps = maps, .norm = fmax(result.target_sum, 1.0) };
    for (uint32_t s = 0; s < head->scale_count; s++) {
        const tl_yolo_scale *scale = &head->scales[s];
        r.grads[s] = grad;
        classes_of_map(&r, scale, batch, maps[s], grad);
        size_t floats = (size_t)batch * scale->height * scale->width * tl_yolo_head_channels(head);
        if (grad != NULL) grad += floats;
    }
    for (uint32_t i = 0; i < batch; i++)
        result.foreground += foreground(&r, i, &truths[i], loss->assigned + i * head->anchor_count);
    result.box = r.box / r.norm;
    result.classes = r.classes / r.norm;
    result.distance = r.distance / r.norm;
    result.total = o->box_gain * result.box + o->class_gain * result.classes +
                   o->distance_gain * result.distance;
    *parts = result;
    return TL_OK;
}

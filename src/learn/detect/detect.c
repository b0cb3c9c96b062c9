#include "learn/detect/detect.h"

#include <math.h>
#include <stdlib.h>

tl_detect_options tl_detect_options_default(void)
{
    return (tl_detect_options){ .score_min = 0.25f, .overlap_max = 0.7, .count_max = 300 };
}

/* ---- Decoding -------------------------------------------------------------------------------- */

/* The best so far, as a heap with the worst on top. */
typedef struct best {
    tl_detection *items;
    size_t count, capacity;
} best;

static void sift_down(best *b, size_t at)
{
    for (;;) {
        size_t child = 2 * at + 1, least = at;
        for (size_t i = child; i < child + 2 && i < b->count; i++)
            if (b->items[i].score < b->items[least].score) least = i;
        if (least == at) return;
        tl_detection moved = b->items[at];
        b->items[at] = b->items[least];
        b->items[least] = moved;
        at = least;
    }
}

/* Whether a box of that score would be kept: boxes are decoded only then. */
static bool has_room(const best *b, float score)
{
    return b->count < b->capacity || (b->capacity > 0 && score > b->items[0].score);
}

static void keep(best *b, const tl_detection *item)
{
    if (b->count == b->capacity) {
        b->items[0] = *item;
        sift_down(b, 0);
        return;
    }
    size_t at = b->count++;
    b->items[at] = *item;
    while (at > 0 && b->items[at].score < b->items[(at - 1) / 2].score) {
        tl_detection moved = b->items[at];
        b->items[at] = b->items[(at - 1) / 2];
        b->items[(at - 1) / 2] = moved;
        at = (at - 1) / 2;
    }
}

static int compare_numbers(float a, float b)
{
    return (a > b) - (a < b);
}

/* By falling score; then by class and place, so that the order is one. */
static int by_score(const void *a, const void *b)
{
    const tl_detection *x = a, *y = b;
    int order = compare_numbers(y->score, x->score);
    if (order == 0) order = (x->label > y->label) - (x->label < y->label);
    if (order == 0) order = compare_numbers(x->box.x1, y->box.x1);
    if (order == 0) order = compare_numbers(x->box.y1, y->box.y1);
    if (order == 0) order = compare_numbers(x->box.x2, y->box.x2);
    return order == 0 ? compare_numbers(x->box.y2, y->box.y2) : order;
}

static void offer_anchor(const tl_yolo_head *head, const tl_yolo_anchor *anchor,
                         const float *channels, const tl_detect_options *options, float logit_min,
                         best *kept)
{
    const float *logits = channels + TL_YOLO_BOX_CHANNELS;
    uint32_t first = 0, last = head->class_count;
    if (!options->many_labels) {
        for (uint32_t c = 1; c < head->class_count; c++)
            if (logits[c] > logits[first]) first = c;
        last = first + 1;
    }
    bool decoded = false;
    tl_detection found = { .score = 0.0f };
    for (uint32_t c = first; c < last; c++) {
        if (!(logits[c] >= logit_min)) continue;
        found.score = 1.0f / (1.0f + expf(-logits[c]));
        found.label = c;
        if (!has_room(kept, found.score)) continue;
        if (!decoded) {
            double box[4];
            tl_yolo_box(anchor, channels, box);
            found.box = (tl_box){ (float)box[0], (float)box[1], (float)box[2], (float)box[3] };
            decoded = true;
        }
        keep(kept, &found);
    }
}

size_t tl_detect_decode(const tl_yolo_head *head, const float *const *maps, uint32_t item,
                        const tl_detect_options *options, tl_detection *out, size_t capacity)
{
    best kept = { .items = out, .capacity = capacity };
    const double least = (double)options->score_min;
    const float logit_min = least <= 0.0   ? -INFINITY
                            : least >= 1.0 ? INFINITY
                                           : (float)log(least / (1.0 - least));
    for (size_t i = 0; i < head->anchor_count; i++) {
        tl_yolo_anchor anchor = tl_yolo_head_anchor(head, i);
        offer_anchor(head, &anchor, tl_yolo_head_at(head, maps, item, &anchor), options, logit_min,
                     &kept);
    }
    qsort(out, kept.count, sizeof *out, by_score);
    return kept.count;
}

size_t tl_detect_suppress(const tl_detect_options *options, tl_detection *boxes, size_t count)
{
    size_t kept = 0;
    qsort(boxes, count, sizeof *boxes, by_score);
    for (size_t i = 0; i < count && kept < options->count_max; i++) {
        bool stays = true;
        for (size_t j = 0; j < kept && stays; j++)
            stays = boxes[j].label != boxes[i].label ||
                    tl_box_iou(&boxes[j].box, &boxes[i].box) <= options->overlap_max;
        if (stays) boxes[kept++] = boxes[i];
    }
    return kept;
}

/* ---- Average precision ----------------------------------------------------------------------- */

enum { THRESHOLDS = 10, RECALLS = 101 };

/* A found box of the class at hand. */
typedef struct claim {
    float score;
    uint32_t image, index;
} claim;

static int by_claim(const void *a, const void *b)
{
    const claim *x = a, *y = b;
    int order = compare_numbers(y->score, x->score);
    if (order == 0) order = (x->image > y->image) - (x->image < y->image);
    return order == 0 ? (x->index > y->index) - (x->index < y->index) : order;
}

typedef struct measure {
    const tl_detect_image *images;
    size_t count;
    claim *claims;
    double *precision;
    bool *taken;         /* of every box of every image */
    size_t *first_truth; /* of each image in `taken` */
} measure;

static size_t collect(const measure *m, uint32_t label, size_t *truth_count)
{
    size_t claims = 0;
    *truth_count = 0;
    for (size_t i = 0; i < m->count; i++) {
        const tl_detect_image *image = &m->images[i];
        for (size_t t = 0; t < image->truths.count; t++)
            if (image->truths.items[t].label == label) ++*truth_count;
        for (size_t d = 0; d < image->found_count; d++)
            if (image->found[d].label == label)
                m->claims[claims++] = (claim){ image->found[d].score, (uint32_t)i, (uint32_t)d };
    }
    qsort(m->claims, claims, sizeof *m->claims, by_claim);
    return claims;
}

/* Whether a claim gets a free box of its class. */
static bool settle(const measure *m, const claim *c, double threshold)
{
    const tl_detect_image *image = &m->images[c->image];
    const tl_detection *found = &image->found[c->index];
    size_t best_truth = SIZE_MAX;
    double most = threshold;
    for (size_t t = 0; t < image->truths.count; t++) {
        if (image->truths.items[t].label != found->label) continue;
        if (m->taken[m->first_truth[c->image] + t]) continue;
        double overlap = tl_box_iou(&found->box, &image->truths.items[t].box);
        if (overlap < most || (best_truth != SIZE_MAX && overlap == most)) continue;
        most = overlap;
        best_truth = t;
    }
    if (best_truth == SIZE_MAX) return false;
    m->taken[m->first_truth[c->image] + best_truth] = true;
    return true;
}

static double average_precision(const measure *m, size_t claims, size_t truths, double threshold)
{
    size_t right = 0, at = 0;
    for (size_t i = 0; i < m->first_truth[m->count]; i++) m->taken[i] = false;
    /* The precision at each correct claim; wrong ones only lower what follows. */
    for (size_t i = 0; i < claims; i++)
        if (settle(m, &m->claims[i], threshold))
            m->precision[right] = (double)(right + 1) / (double)(i + 1), right++;
    for (size_t i = right; i-- > 1;)
        m->precision[i - 1] = fmax(m->precision[i - 1], m->precision[i]);
    double sum = 0.0;
    for (int r = 0; r < RECALLS; r++) {
        while (at < right && (double)(at + 1) / (double)truths < r / 100.0 - 1e-12) at++;
        if (at < right) sum += m->precision[at];
    }
    return sum / RECALLS;
}

static void measure_classes(const measure *m, uint32_t class_count, tl_detect_quality *out)
{
    tl_detect_quality q = { 0 };
    for (uint32_t label = 0; label < class_count; label++) {
        size_t truths, claims = collect(m, label, &truths);
        if (truths == 0) continue;
        q.classes++;
        for (int t = 0; t < THRESHOLDS; t++) {
            double ap = average_precision(m, claims, truths, 0.5 + 0.05 * t);
            if (t == 0) q.map50 += ap;
            q.map50_95 += ap / THRESHOLDS;
        }
    }
    if (q.classes > 0) {
        q.map50 /= (double)q.classes;
        q.map50_95 /= (double)q.classes;
    }
    *out = q;
}

static size_t count_found(const tl_detect_image *images, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += images[i].found_count;
    return sum;
}

tl_status tl_detect_measure(const tl_detect_image *images, size_t count, uint32_t class_count,
                            tl_detect_quality *out, tl_error *err)
{
    size_t found = count_found(images, count);
    measure m = { .images = images, .count = count };
    m.claims = calloc(found + 1, sizeof *m.claims);
    m.precision = calloc(found + 1, sizeof *m.precision);
    m.first_truth = calloc(count + 1, sizeof *m.first_truth);
    for (size_t i = 0; i < count && m.first_truth != NULL; i++)
        m.first_truth[i + 1] = m.first_truth[i] + images[i].truths.count;
    if (m.first_truth != NULL) m.taken = calloc(m.first_truth[count] + 1, sizeof *m.taken);
    bool ok = m.claims != NULL && m.precision != NULL && m.taken != NULL;
    if (ok) measure_classes(&m, class_count, out);
    free(m.claims);
    free(m.precision);
    free(m.first_truth);
    free(m.taken);
    return ok ? TL_OK : tl_fail(err, TL_ENOMEM, "measuring %zu boxes", found);
}

/* ---- DeepPCB's rule -------------------------------------------------------------------------- */

/* Mark which boxes of an image are correct. */
static void match_board(const tl_detect_image *image, bool *used, claim *claims)
{
    for (size_t d = 0; d < image->found_count; d++) {
        used[d] = false;
        claims[d] = (claim){ .score = image->found[d].score };
    }
    for (size_t t = 0; t < image->truths.count; t++) {
        const tl_truth *truth = &image->truths.items[t];
        for (size_t d = 0; d < image->found_count; d++) {
            if (used[d] || !(tl_box_iou(&truth->box, &image->found[d].box) > 0.33)) continue;
            used[d] = true;
            claims[d].index = image->found[d].label == truth->label; /* correct */
            break;
        }
    }
}

static int by_falling_score(const void *a, const void *b)
{
    const claim *x = a, *y = b; /* image: the place in the list, so that equal ones keep it */
    int order = compare_numbers(y->score, x->score);
    return order == 0 ? (x->image > y->image) - (x->image < y->image) : order;
}

tl_status tl_detect_measure_boards(const tl_detect_image *images, size_t count,
                                   tl_detect_matched *out, tl_error *err)
{
    size_t found = count_found(images, count), truths = 0, correct = 0, at = 0;
    claim *claims = calloc(found + 1, sizeof *claims);
    bool *used = calloc(found + 1, sizeof *used);
    tl_detect_matched result = { 0 };
    tl_status status = TL_OK;
    if (claims == NULL || used == NULL)
        status = tl_fail(err, TL_ENOMEM, "measuring %zu boxes", found);
    for (size_t i = 0; i < count && status == TL_OK; at += images[i++].found_count) {
        match_board(&images[i], used, claims + at);
        truths += images[i].truths.count;
    }
    if (status == TL_OK) {
        for (size_t i = 0; i < found; i++) claims[i].image = (uint32_t)i;
        qsort(claims, found, sizeof *claims, by_falling_score);
        for (size_t i = 0; i < found; i++)
            if (claims[i].index != 0)
                result.average_precision += (double)++correct / (double)(i + 1);
        if (truths > 0) {
            result.average_precision /= (double)truths;
            result.recall = (double)correct / (double)truths;
        }
        if (found > 0) result.precision = (double)correct / (double)found;
        double both = result.precision + result.recall;
        if (both > 0.0) result.f_mean = 2.0 * result.precision * result.recall / both;
        *out = result;
    }
    free(claims);
    free(used);
    return status;
}

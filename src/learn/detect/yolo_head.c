#include "learn/detect/yolo_head.h"

#include <math.h>
#include <string.h>

static tl_status check_class_count(uint32_t class_count, tl_error *err)
{
    if (class_count >= 1 && class_count <= TL_YOLO_CLASS_MAX) return TL_OK;
    return tl_fail(err, TL_EINVAL, "%u classes to detect; use 1 to %d", class_count,
                   TL_YOLO_CLASS_MAX);
}

static void add_scale(tl_yolo_head *head, uint32_t height, uint32_t width, uint32_t stride)
{
    head->scales[head->scale_count++] = (tl_yolo_scale){
        .height = height, .width = width, .stride = stride, .first = head->anchor_count
    };
    head->anchor_count += (size_t)height * width;
}

tl_status tl_yolo_head_make(uint32_t height, uint32_t width, uint32_t class_count,
                            tl_yolo_head *out, tl_error *err)
{
    tl_status status = check_class_count(class_count, err);
    if (status != TL_OK) return status;
    if (height < 32 || width < 32 || height % 32 != 0 || width % 32 != 0)
        return tl_fail(err, TL_EINVAL, "a detector for %u x %u; use multiples of 32", height,
                       width);
    tl_yolo_head head = { .class_count = class_count };
    for (uint32_t stride = 8; stride <= 32; stride *= 2)
        add_scale(&head, height / stride, width / stride, stride);
    *out = head;
    return TL_OK;
}

/* The stride of a map, or 0. */
static uint32_t stride_of(const tl_shape *input, const tl_shape *map)
{
    if (map->rank != 3 || map->dim[2] <= TL_YOLO_BOX_CHANNELS) return 0;
    uint32_t stride = input->dim[0] / map->dim[0];
    bool fits = stride * map->dim[0] == input->dim[0] && stride * map->dim[1] == input->dim[1];
    return fits ? stride : 0;
}

tl_status tl_yolo_head_of_graph(const tl_graph *graph, tl_yolo_head *out, tl_error *err)
{
    const tl_shape *input = tl_graph_input_shape(graph, 0);
    tl_yolo_head head = { 0 };
    uint32_t channels = 0, before = 0;
    size_t outputs = tl_graph_output_count(graph);
    if (outputs > TL_YOLO_SCALE_MAX) outputs = TL_YOLO_SCALE_MAX;
    for (size_t i = 0; i < outputs && input->rank == 3; i++) {
        const tl_shape *map = tl_graph_output_shape(graph, i);
        uint32_t stride = stride_of(input, map);
        if (stride == 0 || (i > 0 && (stride != 2 * before || map->dim[2] != channels))) break;
        channels = map->dim[2];
        before = stride;
        add_scale(&head, map->dim[0], map->dim[1], stride);
    }
    if (head.scale_count == 0)
        return tl_fail(err, TL_ESHAPE,
                       "the network's first output is no map [h, w, %d + classes] of a YOLOv8 head",
                       TL_YOLO_BOX_CHANNELS);
    head.class_count = channels - TL_YOLO_BOX_CHANNELS;
    tl_status status = check_class_count(head.class_count, err);
    if (status == TL_OK) *out = head;
    return status;
}

uint32_t tl_yolo_head_channels(const tl_yolo_head *head)
{
    return TL_YOLO_BOX_CHANNELS + head->class_count;
}

size_t tl_yolo_head_floats(const tl_yolo_head *head)
{
    return head->anchor_count * tl_yolo_head_channels(head);
}

tl_yolo_anchor tl_yolo_head_anchor(const tl_yolo_head *head, size_t anchor)
{
    TL_ASSERT(anchor < head->anchor_count);
    uint32_t s = head->scale_count - 1;
    while (head->scales[s].first > anchor) s--;
    const tl_yolo_scale *scale = &head->scales[s];
    size_t cell = anchor - scale->first;
    return (tl_yolo_anchor){ .scale = s,
                             .cell = cell,
                             .x = ((double)(cell % scale->width) + 0.5) * scale->stride,
                             .y = ((double)(cell / scale->width) + 0.5) * scale->stride,
                             .stride = scale->stride };
}

const float *tl_yolo_head_at(const tl_yolo_head *head, const float *const *maps, uint32_t item,
                             const tl_yolo_anchor *anchor)
{
    const tl_yolo_scale *scale = &head->scales[anchor->scale];
    size_t cells = (size_t)scale->height * scale->width;
    return maps[anchor->scale] + (item * cells + anchor->cell) * tl_yolo_head_channels(head);
}

double tl_yolo_distance(const float *logits, double *probabilities)
{
    double max = (double)logits[0], sum = 0.0, mean = 0.0;
    for (int i = 1; i < TL_YOLO_BINS; i++) max = fmax(max, (double)logits[i]);
    for (int i = 0; i < TL_YOLO_BINS; i++) {
        probabilities[i] = exp((double)logits[i] - max);
        sum += probabilities[i];
    }
    for (int i = 0; i < TL_YOLO_BINS; i++) {
        probabilities[i] /= sum;
        mean += i * probabilities[i];
    }
    return mean;
}

void tl_yolo_box(const tl_yolo_anchor *anchor, const float *channels, double box[4])
{
    double probabilities[TL_YOLO_BINS];
    const double centre[4] = { anchor->x, anchor->y, anchor->x, anchor->y };
    for (int side = 0; side < 4; side++) {
        double distance =
            anchor->stride * tl_yolo_distance(channels + side * TL_YOLO_BINS, probabilities);
        box[side] = side < 2 ? centre[side] - distance : centre[side] + distance;
    }
}

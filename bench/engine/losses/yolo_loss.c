/* Our YOLOv8 losses on given heads, for bench/peers/torch_yolo_loss.py to compare with PyTorch.
 *
 * usage: bench_yolo_loss FOLDER HEIGHT WIDTH CLASSES BATCH
 *
 * Reads FOLDER/maps.npy (float32, the three maps [batch, h, w, 64 + classes] one after the other)
 * and FOLDER/boxes.npy (float32 [n, 6]: image, class, x1, y1, x2, y2 in pixels, images in order);
 * writes FOLDER/grad.f32 (as the maps, no header) and prints the losses as JSON. */
#include "learn/detect/yolo_loss.h"
#include "format/file.h"
#include "format/npy.h"

#include <stdio.h>
#include <stdlib.h>

static void check(tl_status status, const tl_error *err)
{
    if (status == TL_OK) return;
    fprintf(stderr, "bench_yolo_loss: %s\n", err->text);
    exit(1);
}

/* The numbers of FOLDER/NAME; malloc'ed. */
static float *load(const char *folder, const char *name, size_t *count)
{
    char path[4096];
    void *data = NULL;
    size_t bytes = 0;
    tl_npy array;
    tl_error err = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, name);
    check(tl_file_read(path, (size_t)1 << 31, &data, &bytes, &err), &err);
    check(tl_npy_parse(data, bytes, &array, &err), &err);
    float *numbers = malloc((array.count + 1) * sizeof *numbers);
    TL_ASSERT(numbers != NULL);
    tl_npy_copy_f32(&array, numbers);
    *count = array.count;
    free(data);
    return numbers;
}

static void save(const char *folder, const float *grad, size_t count)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/grad.f32", folder);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(grad, sizeof *grad, count, file) != count || fclose(file) != 0) {
        fprintf(stderr, "bench_yolo_loss: cannot write %s\n", path);
        exit(1);
    }
}

/* Boxes by image; malloc'ed. */
static tl_truth *read_boxes(const char *folder, uint32_t batch, tl_truths *truths)
{
    size_t count = 0;
    float *rows = load(folder, "boxes.npy", &count);
    tl_truth *boxes = malloc((count / 6 + 1) * sizeof *boxes);
    TL_ASSERT(boxes != NULL);
    for (size_t i = 0; i < count / 6; i++) {
        const float *row = rows + 6 * i;
        uint32_t image = (uint32_t)row[0];
        TL_ASSERT(image < batch);
        boxes[i] = (tl_truth){ { row[2], row[3], row[4], row[5] }, (uint32_t)row[1] };
        if (truths[image].count++ == 0) truths[image].items = &boxes[i];
    }
    free(rows);
    return boxes;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: bench_yolo_loss FOLDER HEIGHT WIDTH CLASSES BATCH\n");
        return 2;
    }
    const uint32_t batch = (uint32_t)strtoul(argv[5], NULL, 10);
    tl_error err = { 0 };
    tl_yolo_head head;
    check(tl_yolo_head_make((uint32_t)strtoul(argv[2], NULL, 10),
                            (uint32_t)strtoul(argv[3], NULL, 10),
                            (uint32_t)strtoul(argv[4], NULL, 10), &head, &err),
          &err);
    size_t count = 0;
    float *all = load(argv[1], "maps.npy", &count), *at = all;
    float *grad = malloc((count + 1) * sizeof *grad);
    tl_truths *truths = calloc(batch + 1, sizeof *truths);
    TL_ASSERT(count == batch * tl_yolo_head_floats(&head));
    TL_ASSERT(grad != NULL && truths != NULL);
    const float *maps[TL_YOLO_SCALE_MAX];
    for (uint32_t s = 0; s < head.scale_count; s++) {
        maps[s] = at;
        at += (size_t)batch * head.scales[s].height * head.scales[s].width *
              tl_yolo_head_channels(&head);
    }
    tl_truth *boxes = read_boxes(argv[1], batch, truths);
    tl_yolo_loss_options options = tl_yolo_loss_options_default(&head, batch);
    tl_yolo_loss *loss = NULL;
    tl_yolo_parts parts;
    check(tl_yolo_loss_create(&options, &loss, &err), &err);
    check(tl_yolo_loss_run(loss, maps, batch, truths, &parts, grad, &err), &err);
    save(argv[1], grad, count);
    printf("{\"total\": %.17g, \"box\": %.17g, \"classes\": %.17g, \"distance\": %.17g, "
           "\"target_sum\": %.17g, \"foreground\": %zu}\n",
           parts.total, parts.box, parts.classes, parts.distance, parts.target_sum,
           parts.foreground);
    tl_yolo_loss_destroy(&loss);
    free(boxes);
    free(truths);
    free(grad);
    free(all);
    return 0;
}

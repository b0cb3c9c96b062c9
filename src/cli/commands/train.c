/* train.c - `tightloop train`: a network on labelled images, in epochs, to an ONNX file. */
#include "cli/commands/train.h"
#include "cli/command.h"
#include "cli/data/boxset.h"
#include "cli/terminal/terminal.h"
#include "stats/interval.h"

#include <string.h>

static struct {
    tl_recipe recipe;
    bool json;
} values = { .recipe = { .output = "model.onnx",
                         .batch = 16,
                         .threads = 1,
                         .seed = 1,
                         .epochs = 10,
                         .rate = 0.001,
                         .optimiser = "adamw",
                         .precision = "fp32",
                         .momentum = 0.9,
                         .decay = -1,
                         .clip = 10,
                         .warmup = 0.05,
                         .layer_rate = 1,
                         .backbone_rate = 1,
                         .class_weights = "even",
                         .average = 0.999,
                         .interpolation = 1 } };

static const tl_option options[] = {
    { "data", 'd', TL_OPTION_FOLDER, "DIR",
      "A stream of labelled patches; a folder with one sub-folder of images a class; or a folder "
      "with images and labels, for boxes.",
      &values.recipe.data, 0, 0 },
    { "model", 'm', TL_OPTION_TEXT, "NAME|FILE",
      "A built-in network, which starts from nothing, or an ONNX model, which goes on from its "
      "weights. [mobilenet_v3_small; for boxes yolov8n]",
      &values.recipe.model, 0, 0 },
    { "output", 'o', TL_OPTION_FILE, "FILE", "The ONNX file to write, over an older one.",
      &values.recipe.output, 0, 0 },
    { "side", 0, TL_OPTION_WHOLE, "N",
      "Pixels of height and width that images are brought to; 0: the model's.", &values.recipe.side,
      0, TL_IMAGE_SIDE_MAX },
    { "channels", 0, TL_OPTION_WHOLE, "N",
      "Of images in folders: 1 grey or 3 colour; 0: what the model takes.", &values.recipe.channels,
      0, 3 },
    { "normalisation", 0, TL_OPTION_TEXT, "HOW",
      "How pixels become the model's numbers, as for init. [the built-in network's, or guessed by "
      "the file's name]",
      &values.recipe.normalisation, 0, 0 },
    { "epochs", 'e', TL_OPTION_REAL, "N", "Passes over the images.", &values.recipe.epochs, 0.001,
      10000 },
    { "batch", 'b', TL_OPTION_WHOLE, "N", "Images in a step.", &values.recipe.batch, 1, 4096 },
    { "rate", 'r', TL_OPTION_REAL, "R", "Highest learning rate.", &values.recipe.rate, 1e-9, 10 },
    { "stages", 0, TL_OPTION_WHOLE, "N",
      "Train only the last N layers on a frozen backbone; 0: all.", &values.recipe.stages, 0,
      100000 },
    { "optimiser", 0, TL_OPTION_CHOICE, "adamw|sgd",
      "How gradients move the weights; sgd wants a higher --rate.", &values.recipe.optimiser, 0,
      0 },
    { "momentum", 0, TL_OPTION_REAL, "M", "Of sgd; Nesterov's.", &values.recipe.momentum, 0,
      0.9999 },
    { "decay", 0, TL_OPTION_REAL, "D", "Weight decay. [0.01; of sgd 0.0005]", &values.recipe.decay,
      0, 10 },
    { "clip", 0, TL_OPTION_REAL, "NORM",
      "Gradients of a larger norm are scaled down to it; 0: never.", &values.recipe.clip, 0, 1e9 },
    { "warmup", 0, TL_OPTION_REAL, "SHARE",
      "Share of the steps in which the rate rises; then it falls by a cosine.",
      &values.recipe.warmup, 0, 1 },
    { "layer-rate", 0, TL_OPTION_REAL, "F",
      "Each layer learns at F times the rate of the one after it.", &values.recipe.layer_rate, 0,
      1 },
    { "backbone-rate", 0, TL_OPTION_REAL, "F", "All layers but the last learn at F times the rate.",
      &values.recipe.backbone_rate, 0, 1 },
    { "frozen-norm", 0, TL_OPTION_FLAG, NULL,
      "Normalise by the running statistics that the model came with, and keep them.",
      &values.recipe.frozen_norm, 0, 0 },
    { "average", 0, TL_OPTION_REAL, "D",
      "Decay of the moving average of the weights, which is the result; 0: the last weights.",
      &values.recipe.average, 0, 0.999999 },
    { "pull", 0, TL_OPTION_REAL, "L2", "Pull towards the weights at the start (L2-SP).",
      &values.recipe.pull, 0, 1000 },
    { "interpolate", 0, TL_OPTION_REAL, "A",
      "The result is start + A (trained - start), which keeps more of what a model knew.",
      &values.recipe.interpolation, 0, 1 },
    { "smoothing", 0, TL_OPTION_REAL, "S",
      "Classes: share of the target that is spread over all classes.", &values.recipe.smoothing, 0,
      0.99 },
    { "class-weights", 0, TL_OPTION_TEXT, "HOW",
      "Classes: even, balanced (by how many images each has), or NAME=WEIGHT,... (others 1).",
      &values.recipe.class_weights, 0, 0 },
    { "augment", 0, TL_OPTION_TEXT, "LIST",
      "Changes of how images are varied: none, symmetries, or NAME=NUMBER, with commas; names: "
      "mirror, flip, scale, shift, rotate, hue, saturation, value, brightness, contrast, erase, "
      "mosaic. docs/training.md has what is usual.",
      &values.recipe.augment, 0, 0 },
    { "threads", 't', TL_OPTION_WHOLE, "N", "Threads; results repeat for one number of them.",
      &values.recipe.threads, 1, 256 },
    { "precision", 'p', TL_OPTION_CHOICE, "fp32|bf16",
      "Of a convolution's products, not of weights and gradients; bf16 needs AVX-512, and is "
      "faster "
      "with AVX512_BF16 or AMX.",
      &values.recipe.precision, 0, 0 },
    { "seed", 0, TL_OPTION_WHOLE, "N", "Seed of weights, order and augmentation.",
      &values.recipe.seed, 0, 4294967295.0 },
    { "trainable", 0, TL_OPTION_FLAG, NULL,
      "Write a file that training can go on from: normalisation kept apart, a detector's raw maps.",
      &values.recipe.trainable, 0, 0 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print the result as JSON.", &values.json, 0, 0 },
};

/* ---- Reports --------------------------------------------------------------------------------- */

static void report_classes(const tl_recipe_result *r, tl_json_writer *w, tl_text *text)
{
    const tl_interval i = tl_interval_wilson(r->right, r->judged, 0.95);
    const double share = r->judged == 0 ? 0.0 : (double)r->right / (double)r->judged;
    if (w == NULL) {
        tl_text_printf(text,
                       "right on %llu of %zu that were kept out (%.4f, 95 %% interval %.4f to "
                       "%.4f).",
                       (unsigned long long)r->right, r->judged, share, i.low, i.high);
        tl_text_printf(text, "\nClasses in the order of its outputs: %s.", r->order);
        return;
    }
    tl_json_key(w, "accuracy"), tl_json_object(w);
    tl_json_key(w, "value"), tl_json_double(w, share);
    tl_json_key(w, "low"), tl_json_double(w, i.low);
    tl_json_key(w, "high"), tl_json_double(w, i.high);
    tl_json_key(w, "hits"), tl_json_uint(w, r->right);
    tl_json_key(w, "count"), tl_json_uint(w, r->judged);
    tl_json_object_end(w);
}

static void report_boxes(const tl_recipe_result *r, tl_json_writer *w, tl_text *text)
{
    const tl_detect_quality *q = &r->quality;
    if (w == NULL) {
        tl_text_printf(text,
                       "mAP50 %.4f and mAP50-95 %.4f over %zu boxes of %zu classes in %zu images "
                       "that were kept out.",
                       q->map50, q->map50_95, r->boxes, q->classes, r->judged);
        return;
    }
    tl_json_key(w, "map50"), tl_json_double(w, q->map50);
    tl_json_key(w, "map50_95"), tl_json_double(w, q->map50_95);
    tl_json_key(w, "boxes"), tl_json_uint(w, r->boxes);
    tl_json_key(w, "classes"), tl_json_uint(w, q->classes);
    tl_json_key(w, "images"), tl_json_uint(w, r->judged);
}

static int report(const tl_recipe *recipe, const tl_recipe_result *r, bool boxes)
{
    tl_text text;
    tl_json_writer w;
    tl_text_init(&text, 1 << 16);
    if (values.json) {
        tl_json_begin(&w, &text);
        tl_json_object(&w);
        tl_json_key(&w, "written"), tl_json_string(&w, recipe->output);
        tl_json_key(&w, "model"), tl_json_string(&w, r->about);
        tl_json_key(&w, "items"), tl_json_uint(&w, r->learned);
        tl_json_key(&w, "training_bytes"), tl_json_uint(&w, r->bytes);
    } else {
        char memory[32];
        tl_human_bytes((double)r->bytes, memory);
        tl_text_printf(&text,
                       "%s: %s.\nTraining took %s of memory for steps of %u.\nWrote %s: trained on "
                       "%zu images; ",
                       recipe->model, r->about, memory, (unsigned)recipe->batch, recipe->output,
                       r->learned);
    }
    (boxes ? report_boxes : report_classes)(r, values.json ? &w : NULL, &text);
    if (values.json) tl_json_object_end(&w);
    int code = tl_command_print(&tl_command_train, &text);
    tl_text_destroy(&text);
    return code;
}

static int run(const tl_arguments *arguments)
{
    (void)arguments;
    tl_error err = { .text = "--data is missing: the folder of images to train on" };
    tl_recipe recipe = values.recipe;
    tl_recipe_result result = { .learned = 0 };
    if (recipe.data == NULL) return tl_command_misuse(&tl_command_train, &err);
    if (recipe.channels == 2 || (recipe.side > 0 && recipe.side < 8)) {
        tl_fail(&err, TL_EINVAL, "--channels is 1 or 3, --side 8 or more; 0 takes the model's");
        return tl_command_misuse(&tl_command_train, &err);
    }
    const bool boxes = tl_boxset_is_at(recipe.data);
    if (recipe.model == NULL) recipe.model = boxes ? "yolov8n" : "mobilenet_v3_small";
    tl_train_options wanted;
    if (tl_recipe_options(&recipe, boxes ? TL_TASK_DETECT : TL_TASK_CLASSIFY, &wanted, &err) !=
        TL_OK)
        return tl_command_misuse(&tl_command_train, &err);
    tl_status status = boxes ? tl_train_boxes(&recipe, &wanted, &result, &err)
                             : tl_train_classes(&recipe, &wanted, &result, &err);
    if (status == TL_OK) return report(&recipe, &result, boxes);
    return tl_command_fail(&tl_command_train, &err);
}

const tl_command tl_command_train = {
    .name = "train",
    .summary = "train a network on labelled images, to an ONNX file",
    .details =
        "Trains a classifier or a detector in epochs: AdamW with warm-up and cosine, averaged "
        "weights, moved, scaled, mirrored and recoloured images. For classes the loss is "
        "cross-entropy. For boxes, images/NAME.jpg go with labels/NAME.txt (a line a box: class "
        "from 0, middle x and y, width and height as shares of the image), the losses are "
        "YOLOv8's, "
        "and four images are put together as a mosaic but for the last steps.\n"
        "Images whose name's hash is 0 modulo 10 are kept out and judged in the end; so are those "
        "in "
        "images/val, where there is images/train. An ONNX model with another number of outputs "
        "than "
        "there are classes gets a new last layer. A detector is written with boxes and "
        "probabilities "
        "as its output. docs/training.md says more.",
    .example = "tightloop train --data boards --model mobilenet_v3_small --side 96 --epochs 20\n"
               "tightloop train --data boards --model model.onnx --stages 1 -o tuned.onnx\n"
               "tightloop train --data scratches --model yolov8n --side 320 --epochs 50",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run,
};

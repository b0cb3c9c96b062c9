/* operators_test.c - docs/operators.md agrees with the operator table and the importer's. With
 * --reference it prints that page. */
#include "base/text.h"
#include "format/file.h"
#include "graph/onnx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What each operator computes, in words of the page. */
static const char *const MEANINGS[TL_OP_COUNT] = {
    [TL_OP_CONV] = "convolution of images: strides, dilations, padding, groups; bias or none",
    [TL_OP_BATCH_NORM] =
        "batch normalisation: by running statistics, or by the batch's in training",
    [TL_OP_RELU] = "max(x, 0)",
    [TL_OP_CLIP] = "min(max(x, alpha), beta); ReLU6 is 0, 6",
    [TL_OP_HARD_SWISH] = "x * min(max(x / 6 + 1/2, 0), 1)",
    [TL_OP_HARD_SIGMOID] = "min(max(alpha * x + beta, 0), 1)",
    [TL_OP_SIGMOID] = "1 / (1 + exp(-x))",
    [TL_OP_SILU] = "x * sigmoid(x)",
    [TL_OP_ABS] = "the absolute value",
    [TL_OP_ADD] = "a + b; b may be one number an item, or one a channel",
    [TL_OP_SUB] = "a - b, likewise",
    [TL_OP_MUL] = "a * b, likewise",
    [TL_OP_MAX_POOL] = "the largest in each window: strides, padding",
    [TL_OP_GLOBAL_AVERAGE_POOL] = "each channel's mean over the image",
    [TL_OP_GLOBAL_MAX_POOL] = "each channel's largest over the image",
    [TL_OP_CONCAT] = "operands side by side along the channels",
    [TL_OP_FLATTEN] = "an image as a vector, in ONNX's order",
    [TL_OP_SLICE] = "some channels that lie side by side",
    [TL_OP_GEMM] = "a matrix times the item, with or without bias",
    [TL_OP_SOFTMAX] = "exp(x) over its sum over the channels",
    [TL_OP_CONSTANT] = "a tensor that is part of the network, trained or not",
};

static void write_activations(unsigned kinds, tl_text *text)
{
    const char *before = "";
    for (unsigned kind = 0; kind < TL_OP_COUNT; kind++) {
        if ((kinds >> kind & 1) == 0) continue;
        tl_text_printf(text, "%s%s", before, tl_op_get((tl_op_kind)kind)->name);
        before = ", ";
    }
}

static void write_table(tl_text *text)
{
    tl_text_puts(text, "| operator | operands | computes | trained through |\n|---|---|---|---|\n");
    for (unsigned kind = 0; kind < TL_OP_COUNT; kind++) {
        const tl_op *op = tl_op_get((tl_op_kind)kind);
        tl_text_printf(text, "| %s | %u", op->name, op->input_min);
        if (op->input_max != op->input_min) tl_text_printf(text, " to %u", op->input_max);
        tl_text_printf(text, " | %s | %s |\n", MEANINGS[kind] != NULL ? MEANINGS[kind] : "?",
                       op->backward != NULL ? "yes" : "no");
    }
    tl_text_puts(text,
                 "\nComputed in one go with what they follow, where a network has them so:\n\n");
    for (unsigned kind = 0; kind < TL_OP_COUNT; kind++) {
        const tl_op *op = tl_op_get((tl_op_kind)kind);
        if (op->fuses_infer == 0) continue;
        tl_text_printf(text, "- `%s`: ", op->name);
        write_activations(op->fuses_infer, text);
        tl_text_puts(text, op->fuses_train == op->fuses_infer ? "" : "; in training ");
        if (op->fuses_train == 0) tl_text_puts(text, "none");
        if (op->fuses_train != op->fuses_infer) write_activations(op->fuses_train, text);
        tl_text_puts(text, "\n");
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tl_onnx_operator *)a)->name, ((const tl_onnx_operator *)b)->name);
}

enum { ONNX_OPERATORS_MAX = 256 };

static size_t list_onnx(tl_onnx_operator list[ONNX_OPERATORS_MAX])
{
    size_t count = 0;
    while (count < ONNX_OPERATORS_MAX && tl_onnx_operator_at(count, &list[count])) count++;
    qsort(list, count, sizeof *list, by_name);
    return count;
}

static void write_reference(tl_text *text)
{
    tl_text_puts(text,
                 "# Operators\n\n"
                 "Printed from the engine's tables; a test holds this page against them.\n\n"
                 "## Of the engine\n\n"
                 "Items are images [height, width, channels] or vectors [count] of float32; the "
                 "batch is outside.\n\n");
    write_table(text);
    tl_text_puts(text, "\n## Of ONNX files\n\n"
                       "Operator sets from 6 on. The first dimension of everything is the batch. "
                       "Images are [n, c, h, w] in the file. A file with anything else is refused, "
                       "and the error names the node and a remedy.\n\n"
                       "| operator | what of it |\n|---|---|\n");
    tl_onnx_operator list[ONNX_OPERATORS_MAX];
    size_t count = list_onnx(list);
    for (size_t i = 0; i < count; i++)
        tl_text_printf(text, "| %s | %s |\n", list[i].name,
                       list[i].accepts[0] != '\0' ? list[i].accepts : "all");
}

static void every_operator_is_described(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < TL_OP_COUNT; kind++) assert_non_null(MEANINGS[kind]);
    tl_onnx_operator list[ONNX_OPERATORS_MAX];
    size_t count = list_onnx(list);
    assert_in_range(count, 2, ONNX_OPERATORS_MAX - 1);
    for (size_t i = 0; i < count; i++) assert_non_null(list[i].accepts);
    for (size_t i = 1; i < count; i++) assert_string_not_equal(list[i - 1].name, list[i].name);
}

/* Refresh with: graph_operators_test --reference > docs/operators.md */
static void the_page_is_current(void **state)
{
    (void)state;
    tl_text text;
    tl_text_init(&text, 1 << 20);
    write_reference(&text);
    void *file = NULL;
    size_t bytes = 0;
    assert_int_equal(tl_file_read(TL_SOURCE_DIR "/docs/operators.md", 1 << 20, &file, &bytes, NULL),
                     TL_OK);
    assert_string_equal((const char *)file, text.data);
    free(file);
    tl_text_destroy(&text);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--reference") == 0) {
        tl_text text;
        tl_text_init(&text, 1 << 20);
        write_reference(&text);
        fputs(text.data, stdout);
        tl_text_destroy(&text);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_is_described),
        cmocka_unit_test(the_page_is_current),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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
    [TL_OP_ADD] = "a + b; shapes are broadcast as NumPy does",
    [TL_OP_SUB] = "a - b, likewise",
    [TL_OP_MUL] = "a * b, likewise",
    [TL_OP_MAX_POOL] = "the largest in each window: strides, dilations, padding",
    [TL_OP_GLOBAL_AVERAGE_POOL] = "each channel's mean over the image",
    [TL_OP_GLOBAL_MAX_POOL] = "each channel's largest over the image",
    [TL_OP_CONCAT] = "operands side by side along an axis",
    [TL_OP_FLATTEN] = "an image as a vector, in ONNX's order",
    [TL_OP_SLICE] = "a part of an axis, by steps",
    [TL_OP_GEMM] = "a matrix times the last axis, with or without bias",
    [TL_OP_SOFTMAX] = "exp(x) over its sum along an axis",
    [TL_OP_CONSTANT] = "a tensor that is part of the network, trained or not",
    [TL_OP_LEAKY_RELU] = "x, or alpha * x below 0",
    [TL_OP_TANH] = "tanh(x)",
    [TL_OP_ELU] = "x, or alpha * (exp(x) - 1) below 0",
    [TL_OP_SELU] = "beta times elu",
    [TL_OP_GELU] = "x / 2 * (1 + erf(x / sqrt(2)))",
    [TL_OP_GELU_TANH] = "the same by tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))",
    [TL_OP_SOFTPLUS] = "log(1 + exp(x))",
    [TL_OP_MISH] = "x * tanh(softplus(x))",
    [TL_OP_SOFTSIGN] = "x / (1 + abs(x))",
    [TL_OP_EXP] = "exp(x)",
    [TL_OP_LOG] = "the natural logarithm",
    [TL_OP_SQRT] = "the square root",
    [TL_OP_RECIPROCAL] = "1 / x",
    [TL_OP_NEG] = "-x",
    [TL_OP_ERF] = "the error function",
    [TL_OP_FLOOR] = "the next integer below",
    [TL_OP_CEIL] = "the next integer above",
    [TL_OP_SIGN] = "-1, 0 or 1",
    [TL_OP_ROUND] = "the nearest integer; halves to even",
    [TL_OP_NOT] = "1 where x is 0, else 0",
    [TL_OP_CAST_INTEGER] = "x without what is after the point",
    [TL_OP_CAST_BOOL] = "0 where x is 0, else 1",
    [TL_OP_PRELU] = "x, or slope * x below 0; the slope learns",
    [TL_OP_DIV] = "a / b, likewise",
    [TL_OP_POW] = "a to the b, likewise",
    [TL_OP_MIN] = "the smaller, likewise",
    [TL_OP_MAX] = "the larger, likewise",
    [TL_OP_MOD] = "a - b * floor(a / b), likewise",
    [TL_OP_FMOD] = "the remainder with a's sign, likewise",
    [TL_OP_EQUAL] = "1 or 0, likewise",
    [TL_OP_GREATER] = "1 or 0, likewise",
    [TL_OP_GREATER_OR_EQUAL] = "1 or 0, likewise",
    [TL_OP_LESS] = "1 or 0, likewise",
    [TL_OP_LESS_OR_EQUAL] = "1 or 0, likewise",
    [TL_OP_AND] = "1 or 0, likewise",
    [TL_OP_OR] = "1 or 0, likewise",
    [TL_OP_XOR] = "1 or 0, likewise",
    [TL_OP_WHERE] = "b where a is not 0, else c; broadcast likewise",
    [TL_OP_AVERAGE_POOL] =
        "the mean of each window: strides, dilations, padding that counts or not",
    [TL_OP_RESIZE] = "an image of another size: nearest, linear, cubic, as ONNX has them",
    [TL_OP_CONV_TRANSPOSE] =
        "transposed convolution of images: strides, dilations, padding, groups; bias or none",
    [TL_OP_MATMUL] = "a product of matrices; what is before the last two axes is broadcast",
    [TL_OP_LOG_SOFTMAX] = "the logarithm of softmax",
    [TL_OP_REDUCE_SUM] = "the sum over some axes",
    [TL_OP_REDUCE_MEAN] = "the mean over some axes",
    [TL_OP_REDUCE_MAX] = "the largest over some axes",
    [TL_OP_REDUCE_MIN] = "the smallest over some axes",
    [TL_OP_REDUCE_PROD] = "the product over some axes",
    [TL_OP_REDUCE_L2] = "the root of the sum of squares over some axes",
    [TL_OP_ARG_MAX] = "the index of the largest along an axis",
    [TL_OP_RESHAPE] = "the same numbers as another shape",
    [TL_OP_PERMUTE] = "axes in another order",
    [TL_OP_PAD] = "constants, edges, or mirrored or wrapped numbers around an item",
    [TL_OP_EXPAND] = "repeats an item along axes",
    [TL_OP_TILE] = "the same",
    [TL_OP_GATHER] = "what an operand of indices picks along an axis",
};

static void write_activations(uint64_t kinds, tl_text *text)
{
    const char *before = "";
    for (unsigned kind = 0; kind < TL_OP_COUNT && kind < 64; kind++) {
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
                 "Items have 1 to 6 dimensions of float32; images are [height, width, channels], "
                 "perhaps several. The batch is outside. Integers and booleans of files are "
                 "carried as floats, exact up to 2^24.\n\n");
    write_table(text);
    tl_text_puts(text,
                 "\n## Of ONNX files\n\n"
                 "Operator sets from 6 on. The first dimension of everything is the batch, and "
                 "stays outside; where a file mixes it with others, an item is the whole "
                 "tensor. Dimensions are up to six, sizes known at import; what is constant "
                 "is computed then. A file with anything else is refused, and the error names "
                 "the node and a remedy.\n\n"
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

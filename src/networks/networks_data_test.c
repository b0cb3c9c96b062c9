/* The built-in architectures against networks that other frameworks made: with their weights, the
 * same outputs. */
#include "graph/onnx/test/shared_data.h"
#include "networks/networks.h"

typedef struct oracle {
    const char *network, *model, *input, *output; /* files below the shared data */
    uint32_t side, class_count, items;
    void (*copy)(const tl_graph *theirs, const float *from, const tl_graph *ours, float *to);
} oracle;

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* Every parameter of theirs has one of ours of that name, and the other way round. */
static void copy_by_name(const tl_graph *theirs, const float *from, const tl_graph *ours, float *to)
{
    assert_int_equal(tl_graph_param_count(theirs), tl_graph_param_count(ours));
    for (size_t i = 0; i < tl_graph_param_count(theirs); i++) {
        const tl_param *a = tl_graph_param(theirs, i);
        size_t index = tl_graph_find_param(ours, a->name);
        if (index == SIZE_MAX) fail_msg("there is no %s", a->name);
        const tl_param *b = tl_graph_param(ours, index);
        assert_true(tl_shape_equal(&a->shape, &b->shape));
        assert_int_equal(a->role, b->role);
        memcpy(to + b->offset, from + a->offset, a->count * sizeof *to);
    }
}

static void set(const tl_param *param, float *flat, float value)
{
    for (size_t k = 0; k < param->count; k++) flat[param->offset + k] = value;
}

/* Theirs are weight, bias, weight, bias ... in the order of ours; our normalisation becomes one that
 * adds the bias. */
static void copy_folded(const tl_graph *theirs, const float *from, const tl_graph *ours, float *to)
{
    size_t next = 0;
    for (size_t i = 0; i < tl_graph_param_count(ours); i++) {
        const tl_param *b = tl_graph_param(ours, i);
        bool norm_weight = b->role == TL_PARAM_BIAS && ends_with(b->name, "weight");
        if (norm_weight || b->role == TL_PARAM_RUNNING) {
            float value = ends_with(b->name, "running_mean") ? 0.0f
                          : norm_weight                      ? 1.0f
                                                             : 1.0f - 1e-3f;
            set(b, to, value);
            continue;
        }
        assert_true(next < tl_graph_param_count(theirs));
        const tl_param *a = tl_graph_param(theirs, next++);
        if (!tl_shape_equal(&a->shape, &b->shape)) fail_msg("%s is not %s", a->name, b->name);
        memcpy(to + b->offset, from + a->offset, a->count * sizeof *to);
    }
    assert_int_equal(next, tl_graph_param_count(theirs));
}

/* The same where layers are in another order: "a.conv.bias" becomes "a.bn.bias". Their exporter tied
 * the biases of the three box layers, which all are 1. */
static void copy_folded_by_name(const tl_graph *theirs, const float *from, const tl_graph *ours,
                                float *to)
{
    for (size_t i = 0; i < tl_graph_param_count(ours); i++) {
        const tl_param *b = tl_graph_param(ours, i);
        char name[96];
        snprintf(name, sizeof name, "%s", b->name);
        if (b->role == TL_PARAM_RUNNING || ends_with(name, "bn.weight")) {
            if (ends_with(name, "running_var")) set(b, to, 1.0f - 1e-3f);
            continue;
        }
        if (ends_with(name, "bn.bias"))
            strcpy(name + strlen(name) - strlen("bn.bias"), "conv.bias");
        if (strstr(name, ".22.cv2.") != NULL && ends_with(name, ".2.bias"))
            strcpy(name, "model.22.cv2.0.2.bias");
        size_t index = tl_graph_find_param(theirs, name);
        if (index == SIZE_MAX) fail_msg("there is no %s", name);
        const tl_param *a = tl_graph_param(theirs, index);
        if (a->count != b->count) fail_msg("%s is not %s", a->name, b->name);
        memcpy(to + b->offset, from + a->offset, a->count * sizeof *to);
    }
}

static const oracle ORACLES[] = {
    { "mobilenet_v3_small", "fixtures/mobilenet_v3_small/mobilenet_v3_small.train.onnx",
      "fixtures/mobilenet_v3_small/input.npy", "fixtures/mobilenet_v3_small/output.npy", 64, 7, 1,
      copy_by_name },
    { "efficientnet_lite0", "fixtures/efficientnet_lite0_ft7/efficientnet_lite0_ft7.train.onnx",
      "fixtures/efficientnet_lite0_ft7/input.npy", "fixtures/efficientnet_lite0_ft7/output.npy", 64,
      7, 1, copy_by_name },
    { "efficientnet_lite0", "fixtures/efficientnet_lite0_1000/efficientnet_lite0_1000.infer.onnx",
      "fixtures/efficientnet_lite0_1000/input.npy", "fixtures/efficientnet_lite0_1000/output.npy",
      224, 1000, 2, copy_folded },
    { "mobilenet_v3_small", "models/mobilenet_v3_small.onnx", "models/mobilenet_v3_small.in.npy",
      "models/mobilenet_v3_small.out.npy", 224, 1000, 1, copy_folded },
    { "mobilenet_v3_large", "models/mobilenet_v3_large.onnx", "models/mobilenet_v3_large.in.npy",
      "models/mobilenet_v3_large.out.npy", 224, 1000, 1, copy_folded },
    { "yolov8n", "models/yolov8n_320.onnx", "models/yolov8n_320.in.npy",
      "models/yolov8n_320.out.npy", 320, 80, 1, copy_folded_by_name },
};

static void outputs_are_theirs(void **state)
{
    const oracle *o = *state;
    if (!data_exists(o->model)) skip();
    tl_graph *theirs = NULL, *ours = NULL;
    float *from = NULL, *to = NULL;
    tl_error err = { .text = "" };
    const tl_network_options options = { .height = o->side,
                                         .width = o->side,
                                         .class_count = o->class_count };
    data_import(o->model, NULL, &theirs, &from);
    if (tl_network_create(tl_network_find(o->network), &options, &ours, &to, &err) != TL_OK)
        fail_msg("%s", err.text);
    o->copy(theirs, from, ours, to);
    data_numbers x = data_read(o->input), y = data_read(o->output);
    assert_int_equal(x.items, o->items);
    data_numbers z = data_infer(ours, to, x.values, x.items, 1);
    assert_int_equal(y.count, z.count);
    data_assert_close(o->network, z.values, y.values, y.count, 1e-5, 1.0);
    free(x.values);
    free(y.values);
    free(z.values);
    free(from);
    free(to);
    tl_graph_release(&theirs);
    tl_graph_release(&ours);
}

int main(void)
{
    if (!data_exists("fixtures")) return 77;
    struct CMUnitTest tests[TL_COUNT_OF(ORACLES)];
    for (size_t i = 0; i < TL_COUNT_OF(ORACLES); i++)
        tests[i] = (struct CMUnitTest){ .name = ORACLES[i].model,
                                        .test_func = outputs_are_theirs,
                                        .initial_state = (void *)&ORACLES[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

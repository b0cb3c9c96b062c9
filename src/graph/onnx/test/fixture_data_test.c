/* Whole networks against PyTorch: outputs, losses, gradients, and parameters after three steps.
 * The data and their tolerances are described in data/fixtures/README.md. */
#include "graph/onnx/test/shared_data.h"

#include "format/json.h"

enum { STEPS = 3, BATCH = 4 };

typedef struct network {
    const char *name;
    bool has_infer, has_state0, has_arrays; /* arrays: every number; else digests */
    double gradient_frozen, gradient_live;  /* largest relative error of one tensor's gradient */
    double logits_live; /* largest error of a logit beside max(1, the largest), and of the loss */
    double slack;       /* absolute error of a parameter after the steps, as a norm */
    bool jumps_live;    /* its live training amplifies rounding: see JUMPS */
    /* Share of the update, after the steps in live mode, that is allowed where it is more than four
     * times the file's one draw: see EDGE. */
    double update_live;
} network;

/* In the third step of the small MobileNetV3, one number of channel 40 of
 * features.2.block.1.1/BatchNormalization (item 3) comes before its ReLU to between -2e-7 and 1e-6,
 * where rounding is 3e-7 and the nearest other number of the 18,432 is 1.6e-5 away. Built by clang,
 * one thread has it below 0; two and three threads have it above, as gcc has with any number. Until
 * then all of these agree to 4e-6 in every tensor before an activation and to 8e-6 in the
 * gradients. Which side it falls to moves the third gradient by 6.3e-4, and the update by 2.2e-4. */
#define EDGE 2.4e-4

static const network NETWORKS[] = {
    { "tiny_cnn", true, true, true, 5e-6, 1e-4, 1e-5, 1e-7, false, 0 },
    { "pcb_cnn", true, true, true, 5e-6, 1e-4, 1e-5, 1e-7, false, 0 },
    { "mobilenet_v3_small", true, false, false, 1e-5, 1e-3, 1e-5, 1e-7, false, EDGE },
    { "efficientnet_lite0_ft7", false, false, false, 1e-5, 1e-3, 1e-4, 1e-6, true, 0 },
};

/* The pretrained network has 16 numbers a channel in its last blocks. One of them lies so near an edge
 * of ReLU6 that rounding decides its side, and then the gradient moves by a twentieth; the steps after
 * it move hundreds and thousands more across. PyTorch does the same: bench/peers/torch_spread.py finds
 * its float32 0.01 % to 37 % of the update away from its own float64, which agrees with the file,
 * after three steps with the input moved by 1e-7 of itself or not; 0.01 % with one memory layout and
 * 37 % with the other as it is; losses 1, 2 and 3 at most 0.0017, 0.010 and 0.031 away. The file is one
 * draw of these. So the first forward pass is held strictly, and the first gradient of one thread; the
 * rest to what that spread allows. Ours were at most 0.0017, 0.011 and 0.044 away. */
static const struct {
    double gradient, losses[STEPS + 1], update; /* shares of the gradient and of the update; nats */
} JUMPS = { 0.08, { 1e-4, 4e-3, 2e-2, 9e-2 }, 0.5 };

/* ---- Files ------------------------------------------------------------------------------------
 */

/* "fixtures/NETWORK/..."; `mode` stands for a %s in `format`. */
static void name_of(char out[DATA_NAME_BYTES], const network *net, const char *format,
                    const char *mode)
{
    const int begin = snprintf(out, DATA_NAME_BYTES, "fixtures/%s/", net->name);
    snprintf(out + begin, (size_t)(DATA_NAME_BYTES - begin), format, mode);
}

static data_file load(const network *net, const char *format, const char *mode)
{
    char name[DATA_NAME_BYTES];
    name_of(name, net, format, mode);
    return data_load(name);
}

static float *numbers_of(const network *net, const char *format, const char *mode)
{
    char name[DATA_NAME_BYTES];
    name_of(name, net, format, mode);
    return data_read(name).values;
}

static tl_npy member_of(const tl_npz *archive, const char *format, const char *name)
{
    char full[160];
    snprintf(full, sizeof full, format, name);
    tl_npy array;
    tl_error err = { .text = "" };
    if (tl_npz_find(archive, full, &array, &err) != TL_OK) fail_msg("%s", err.text);
    return array;
}

typedef struct meta {
    double learning_rate, momentum, losses[STEPS + 1], update_error;
} meta;

static double number_of(const tl_json *root, const char *format, const char *mode)
{
    char key[64];
    double value = 0.0;
    snprintf(key, sizeof key, format, mode);
    assert_true(tl_json_number(tl_json_get(root, key), &value));
    return value;
}

static meta meta_of(const network *net, const char *mode)
{
    data_file f = load(net, "%s", "meta.json");
    tl_json_limits limits = { .members_max = 4096 };
    tl_json_parser *parser;
    tl_arena arena;
    const tl_json *root;
    tl_arena_init(&arena, DATA_FILE_BYTES_MAX);
    assert_int_equal(tl_json_parser_create(&limits, &parser, NULL), TL_OK);
    assert_int_equal(tl_json_parse(parser, f.data, f.bytes, &arena, &root, NULL), TL_OK);
    meta m = { .learning_rate = number_of(root, "%s", "lr"),
               .momentum = number_of(root, "%s", "momentum"),
               .update_error = number_of(root, "after3_fp32_vs_fp64_rel_to_update_%s", mode) };
    char key[32];
    snprintf(key, sizeof key, "losses_%s", mode);
    const tl_json *losses = tl_json_get(root, key);
    assert_int_equal(tl_json_count(losses), STEPS + 1);
    assert_int_equal(losses->kind, TL_JSON_NUMBERS);
    memcpy(m.losses, losses->as.numbers.values, sizeof m.losses);
    tl_json_parser_destroy(&parser);
    tl_arena_destroy(&arena);
    free(f.data);
    return m;
}

static void import(const network *net, const char *kind, tl_graph **graph, float **flat)
{
    char name[DATA_NAME_BYTES], format[64];
    snprintf(format, sizeof format, "%s.%%s.onnx", net->name);
    name_of(name, net, format, kind);
    data_import(name, NULL, graph, flat);
}

static void skip_without(const network *net, const char *file)
{
    char name[DATA_NAME_BYTES];
    name_of(name, net, "%s", file);
    if (!data_exists(name)) skip();
}

/* ---- Comparing --------------------------------------------------------------------------------
 */

/* What is known of one parameter: all of its numbers, or those at some positions. */
typedef struct sample {
    tl_npy positions, values;
    bool whole;
} sample;

static sample sample_of(const network *net, const tl_npz *archive, const char *prefix,
                        const char *name)
{
    char format[64];
    sample s = { .whole = net->has_arrays };
    if (s.whole) {
        s.values = member_of(archive, "%s", name);
        return s;
    }
    snprintf(format, sizeof format, "%s/%%s/idx", prefix);
    s.positions = member_of(archive, format, name);
    snprintf(format, sizeof format, "%s/%%s/val", prefix);
    s.values = member_of(archive, format, name);
    assert_int_equal(s.positions.count, s.values.count);
    return s;
}

static size_t sample_position(const sample *s, size_t index, const tl_param *param)
{
    int64_t at = s->whole ? (int64_t)index : tl_npy_integer(&s->positions, index);
    assert_true(at >= 0 && (size_t)at < param->count);
    return param->offset + (size_t)at;
}

typedef struct distance {
    double error, change, size; /* squared norms: ours - theirs, theirs - start, theirs */
} distance;

static distance measure(const tl_param *param, const sample *s, const float *ours,
                        const float *start)
{
    distance d = { 0.0, 0.0, 0.0 };
    if (s->whole) assert_int_equal(s->values.count, param->count);
    for (size_t i = 0; i < s->values.count; i++) {
        size_t at = sample_position(s, i, param);
        double theirs = tl_npy_number(&s->values, i);
        double error = (double)ours[at] - theirs;
        double change = theirs - (start != NULL ? (double)start[at] : 0.0);
        d.error += error * error;
        d.change += change * change;
        d.size += theirs * theirs;
    }
    return d;
}

/* ---- Inference --------------------------------------------------------------------------------
 */

/* The network on items of one file is the other's numbers. */
static void check_items(const network *net, tl_graph *graph, const float *flat, const char *x_name,
                        const char *y_name)
{
    char x_path[DATA_NAME_BYTES], y_path[DATA_NAME_BYTES];
    name_of(x_path, net, "%s", x_name);
    name_of(y_path, net, "%s", y_name);
    data_numbers x = data_read(x_path), y = data_read(y_path);
    data_numbers out = data_infer(graph, flat, x.values, x.items, 1);
    assert_int_equal(x.count, x.items * tl_shape_count(tl_graph_input_shape(graph, 0)));
    assert_int_equal(y.count, out.count);
    data_assert_close(y_name, out.values, y.values, y.count, 1e-5, 1.0);
    free(x.values);
    free(y.values);
    free(out.values);
}

static void check_output(const network *net, const char *kind)
{
    tl_graph *graph;
    float *flat;
    import(net, kind, &graph, &flat);
    assert_int_equal(tl_graph_input_count(graph), 1);
    assert_int_equal(tl_graph_output_count(graph), 1);
    check_items(net, graph, flat, "input.npy", "output.npy");
    /* Frozen normalisation computes the same as inference. */
    check_items(net, graph, flat, "batch_x.npy", "logits_frozen.npy");
    free(flat);
    tl_graph_release(&graph);
}

static void outputs_agree(void **state)
{
    const network *net = *state;
    skip_without(net, "meta.json");
    if (net->has_infer) check_output(net, "infer");
    check_output(net, "train");
}

/* A pretrained ImageNet classifier on two photographs. */
static void pretrained_classifier_agrees(void **state)
{
    const network net = { .name = "efficientnet_lite0_1000" };
    (void)state;
    skip_without(&net, "output.npy");
    tl_graph *graph;
    float *flat;
    import(&net, "infer", &graph, &flat);
    assert_int_equal(tl_shape_count(tl_graph_output_shape(graph, 0)), 1000);
    check_items(&net, graph, flat, "input.npy", "output.npy");
    free(flat);
    tl_graph_release(&graph);
}

static void parameters_are_those_of_the_file(void **state)
{
    const network *net = *state;
    skip_without(net, "meta.json");
    if (!net->has_state0) skip();
    tl_graph *graph;
    float *flat;
    import(net, "train", &graph, &flat);
    data_file f = load(net, "%s", "state0.npz");
    tl_npz archive;
    assert_int_equal(tl_npz_open(f.data, f.bytes, &archive, NULL), TL_OK);
    size_t named = tl_graph_param_count(graph);
    for (size_t i = 0; i < tl_graph_param_count(graph); i++) {
        const tl_param *param = tl_graph_param(graph, i);
        tl_npy array = member_of(&archive, "%s", param->name);
        assert_int_equal(array.count, param->count);
        for (size_t k = 0; k < array.count; k++)
            assert_true((float)tl_npy_number(&array, k) == flat[param->offset + k]);
        bool running = strstr(param->name, "running_") != NULL;
        assert_int_equal(param->role == TL_PARAM_RUNNING, running);
    }
    for (size_t i = 0; i < archive.count; i++) { /* PyTorch's counters are no parameters */
        size_t bytes;
        const char *name = tl_npz_name(&archive, i, &bytes);
        named += memmem(name, bytes, "num_batches_tracked", 19) != NULL;
    }
    assert_int_equal(named, archive.count);
    free(f.data);
    free(flat);
    tl_graph_release(&graph);
}

/* ---- Training ---------------------------------------------------------------------------------
 */

typedef struct training {
    const network *net;
    const char *mode;
    meta meta;
    tl_graph *graph;
    tl_plan *plan;
    float *flat, *start, *gradient, *velocity, *logits_gradient;
    int64_t labels[BATCH];
    size_t classes;
} training;

static void training_open(training *t, const network *net, const char *mode, tl_plan_mode plan_mode,
                          uint32_t threads)
{
    *t = (training){ .net = net, .mode = mode, .meta = meta_of(net, mode) };
    import(net, "train", &t->graph, &t->flat);
    size_t count = tl_graph_float_count(t->graph);
    t->classes = tl_shape_count(tl_graph_output_shape(t->graph, 0));
    t->start = malloc(count * sizeof *t->start);
    t->gradient = malloc(count * sizeof *t->gradient);
    t->velocity = calloc(count, sizeof *t->velocity);
    t->logits_gradient = malloc(BATCH * t->classes * sizeof *t->logits_gradient);
    assert_true(t->start && t->gradient && t->velocity && t->logits_gradient);
    memcpy(t->start, t->flat, count * sizeof *t->start);
    for (size_t i = 0; i < count; i++) t->gradient[i] = NAN; /* must all be written */
    data_file f = load(net, "%s", "batch_y.npy");
    tl_npy labels = data_array(&f);
    assert_int_equal(labels.count, BATCH);
    for (size_t i = 0; i < BATCH; i++) t->labels[i] = tl_npy_integer(&labels, i);
    free(f.data);
    tl_plan_options options = { .batch_max = BATCH, .mode = plan_mode, .threads = threads };
    tl_error err = { .text = "" };
    if (tl_plan_create(t->graph, &options, &t->plan, &err) != TL_OK) fail_msg("%s", err.text);
}

static void training_close(training *t)
{
    tl_plan_destroy(&t->plan);
    tl_graph_release(&t->graph);
    free(t->flat);
    free(t->start);
    free(t->gradient);
    free(t->velocity);
    free(t->logits_gradient);
}

/* Mean softmax cross-entropy in nats, and its gradient by the logits. */
static double cross_entropy(const float *logits, const int64_t *labels, size_t classes,
                            float *gradient)
{
    double loss = 0.0;
    for (size_t n = 0; n < BATCH; n++) {
        const float *z = logits + n * classes;
        double largest = -HUGE_VAL, sum = 0.0;
        for (size_t c = 0; c < classes; c++) largest = fmax(largest, (double)z[c]);
        for (size_t c = 0; c < classes; c++) sum += exp((double)z[c] - largest);
        loss += (log(sum) + largest - (double)z[labels[n]]) / BATCH;
        for (size_t c = 0; c < classes; c++) {
            double p = exp((double)z[c] - largest) / sum;
            gradient[n * classes + c] = (float)((p - (c == (size_t)labels[n])) / BATCH);
        }
    }
    return loss;
}

/* Forward on the batch; returns the loss. */
static double training_forward(training *t)
{
    tl_error err = { .text = "" };
    float *x = numbers_of(t->net, "%s", "batch_x.npy");
    size_t count = tl_shape_count(tl_graph_input_shape(t->graph, 0));
    memcpy(tl_plan_input(t->plan, 0), x, BATCH * count * sizeof *x);
    free(x);
    if (tl_plan_train_forward(t->plan, t->flat, BATCH, &err) != TL_OK) fail_msg("%s", err.text);
    return cross_entropy(tl_plan_output(t->plan, 0), t->labels, t->classes, t->logits_gradient);
}

static void training_backward(training *t)
{
    tl_error err = { .text = "" };
    if (tl_plan_train_backward(t->plan, t->flat, t->logits_gradient, t->gradient, &err) != TL_OK)
        fail_msg("%s", err.text);
}

/* PyTorch's SGD: v = momentum v + g, w = w - lr v, in float32. */
static void training_step(training *t)
{
    float rate = (float)t->meta.learning_rate, momentum = (float)t->meta.momentum;
    for (size_t i = 0; i < tl_graph_param_count(t->graph); i++) {
        const tl_param *param = tl_graph_param(t->graph, i);
        for (size_t k = param->offset; k < param->offset + param->count; k++) {
            if (param->role == TL_PARAM_RUNNING) {
                assert_true(t->gradient[k] == 0.0f);
                continue;
            }
            t->velocity[k] = momentum * t->velocity[k] + t->gradient[k];
            t->flat[k] -= rate * t->velocity[k];
        }
    }
}

static bool is_live(const training *t)
{
    return strcmp(t->mode, "live") == 0;
}

static bool jumps(const training *t)
{
    return t->net->jumps_live && is_live(t);
}

/* strictly: every tensor; else all together. */
static void check_gradients(const training *t, bool strictly)
{
    data_file f = load(t->net, t->net->has_arrays ? "grads_%s.npz" : "digest_%s.npz", t->mode);
    tl_npz archive;
    assert_int_equal(tl_npz_open(f.data, f.bytes, &archive, NULL), TL_OK);
    double share = is_live(t) ? t->net->gradient_live : t->net->gradient_frozen;
    double all = 0.0, off = 0.0, worst = 0.0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < tl_graph_param_count(t->graph); i++) {
            const tl_param *param = tl_graph_param(t->graph, i);
            if (param->role == TL_PARAM_RUNNING) continue;
            sample s = sample_of(t->net, &archive, "grad", param->name);
            distance d = measure(param, &s, t->gradient, NULL);
            if (pass == 0) {
                off += d.error;
                all += d.size; /* the norm of the whole gradient, for those that are 0 in theory */
                continue;
            }
            double allowed = share * sqrt(d.size) + 1e-6 * sqrt(all);
            if (strictly && !(sqrt(d.error) <= allowed))
                fail_msg("%s %s: gradient of %s differs by %.3g of %.3g", t->net->name, t->mode,
                         param->name, sqrt(d.error), sqrt(d.size));
            worst = fmax(worst, sqrt(d.error) / allowed);
        }
    }
    if (!strictly) worst = sqrt(off / all) / JUMPS.gradient;
    print_message("%s %s: worst gradient at %.2g of what is allowed, all %.2g off\n", t->net->name,
                  t->mode, worst, sqrt(off / all));
    assert_true(worst <= 1.0);
    free(f.data);
}

/* Parameters and running statistics: together to the error that float32 makes, each one roughly. */
static void check_after_steps(const training *t)
{
    data_file f = load(t->net, t->net->has_arrays ? "after3_%s.npz" : "digest_%s.npz", t->mode);
    tl_npz archive;
    assert_int_equal(tl_npz_open(f.data, f.bytes, &archive, NULL), TL_OK);
    distance all = { 0.0, 0.0, 0.0 };
    double worst = 0.0;
    for (size_t i = 0; i < tl_graph_param_count(t->graph); i++) {
        const tl_param *param = tl_graph_param(t->graph, i);
        sample s = sample_of(t->net, &archive, "after3", param->name);
        distance d = measure(param, &s, t->flat, t->start);
        double rounding = 3e-7 * sqrt(d.size) + t->net->slack;
        bool running = param->role == TL_PARAM_RUNNING;
        double share = running ? 1e-4 + t->meta.update_error : 1e-2;
        if (!jumps(t) && !(sqrt(d.error) <= share * sqrt(d.change) + rounding))
            fail_msg("%s %s: %s after %d steps differs by %.3g of a change of %.3g", t->net->name,
                     t->mode, param->name, STEPS, sqrt(d.error), sqrt(d.change));
        worst = fmax(worst, (sqrt(d.error) - rounding) / sqrt(d.change + 1e-300));
        if (running) continue;
        all.error += d.error;
        all.change += d.change;
    }
    double share = jumps(t) ? JUMPS.update : 4.0 * t->meta.update_error + 1e-5;
    if (is_live(t)) share = fmax(share, t->net->update_live);
    print_message("%s %s: after %d steps %.2g (allowed %.2g), worst tensor %.2g\n", t->net->name,
                  t->mode, STEPS, sqrt(all.error / all.change), share, worst);
    assert_true(sqrt(all.error) <= share * sqrt(all.change));
    free(f.data);
}

/* How far the loss may be after so many steps. */
static double loss_allowed(const training *t, int steps)
{
    if (jumps(t)) return JUMPS.losses[steps];
    double each = is_live(t) ? t->net->logits_live : 1e-5;
    return steps == STEPS ? STEPS * each : each; /* each step adds as much */
}

static void check_loss(const training *t, int steps, double loss)
{
    print_message("%s %s: loss %d is %.7f, in the file %.7f\n", t->net->name, t->mode, steps, loss,
                  t->meta.losses[steps]);
    assert_true(fabs(loss - t->meta.losses[steps]) <= loss_allowed(t, steps));
}

static void check_training(const network *net, const char *mode, tl_plan_mode plan_mode,
                           uint32_t threads)
{
    training t;
    training_open(&t, net, mode, plan_mode, threads);
    for (int step = 0; step < STEPS; step++) {
        check_loss(&t, step, training_forward(&t));
        if (step == 0) {
            float *logits = numbers_of(net, "logits_%s.npy", mode);
            data_assert_close("logits", tl_plan_output(t.plan, 0), logits, BATCH * t.classes,
                              loss_allowed(&t, 0), 1.0);
            free(logits);
        }
        training_backward(&t);
        if (step == 0) check_gradients(&t, !jumps(&t) || threads == 1);
        training_step(&t);
    }
    /* The last loss first: the running statistics in the file have seen that forward pass too. */
    check_loss(&t, STEPS, training_forward(&t));
    check_after_steps(&t);
    training_close(&t);
}

static void training_with_frozen_normalisation_agrees(void **state)
{
    skip_without(*state, "meta.json");
    for (uint32_t threads = 1; threads <= 3; threads++) /* 3 do not divide the batch */
        check_training(*state, "frozen", TL_PLAN_TRAIN_FROZEN, threads);
}

static void training_with_live_normalisation_agrees(void **state)
{
    skip_without(*state, "meta.json");
    for (uint32_t threads = 1; threads <= 3; threads++)
        check_training(*state, "live", TL_PLAN_TRAIN_LIVE, threads);
}

int main(void)
{
    if (!data_exists("fixtures")) return 77;
    struct CMUnitTest tests[4 * TL_COUNT_OF(NETWORKS) + 1];
    static char names[4 * TL_COUNT_OF(NETWORKS)][96];
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } kinds[4] = { { "parameters", parameters_are_those_of_the_file },
                   { "outputs", outputs_agree },
                   { "frozen", training_with_frozen_normalisation_agrees },
                   { "live", training_with_live_normalisation_agrees } };
    for (size_t i = 0; i < TL_COUNT_OF(tests) - 1; i++) {
        const network *net = &NETWORKS[i / 4];
        snprintf(names[i], sizeof names[i], "%s %s", net->name, kinds[i % 4].name);
        tests[i] = (struct CMUnitTest){ .name = names[i],
                                        .test_func = kinds[i % 4].run,
                                        .initial_state = (void *)(uintptr_t)net };
    }
    tests[TL_COUNT_OF(tests) - 1] =
        (struct CMUnitTest)cmocka_unit_test(pretrained_classifier_agrees);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Loops on a network from a file: what is kept of it, campaigns, and starting again. */
#include "graph/onnx/test/support.h"
#include "loop/test/test_support.h"

enum { SIDE = 16, FIRST_CAMPAIGN = 32 };

typedef struct network_file {
    char path[128];
    float weight[8 * 3 * 3 * 3], head[4 * 8];
} network_file;

/* A small backbone for images of 16 x 16 x 3 with a last layer for `classes` classes; any size. */
static void write_network(fixture *f, network_file *file, uint64_t seed, int64_t classes)
{
    model *m = model_of(DIMS(0, 3, 0, 0));
    tl_rng rng;
    tl_rng_seed(&rng, seed, 0);
    for (size_t i = 0; i < TL_COUNT_OF(file->weight); i++)
        file->weight[i] = (float)tl_rng_normal(&rng) * 0.3f;
    for (size_t i = 0; i < TL_COUNT_OF(file->head); i++) file->head[i] = (float)tl_rng_normal(&rng);
    const int64_t four[4] = { 8, 3, 3, 3 }, two[2] = { classes, 8 };
    add_floats(m, "c.weight", 4, four, TL_COUNT_OF(file->weight), file->weight);
    add_floats(m, "fc.weight", 2, two, (size_t)classes * 8, file->head);
    Onnx__NodeProto *conv = add_node(m, "Conv", "x,c.weight", "c");
    attr_ints(m, conv, "strides", DIMS(2, 2));
    attr_ints(m, conv, "pads", DIMS(1, 1, 1, 1));
    add_node(m, "Relu", "c", "r");
    add_node(m, "GlobalAveragePool", "r", "p");
    add_node(m, "Flatten", "p", "v");
    attr_int(m, add_node(m, "Gemm", "v,fc.weight", "y"), "transB", 1);
    add_output(m, "y");
    size_t bytes;
    uint8_t *data = pack(m, &bytes);
    snprintf(file->path, sizeof file->path, "%s.onnx", f->path);
    FILE *out = fopen(file->path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, bytes, out), bytes);
    fclose(out);
    free(data);
    model_free(m);
}

static void choose_network(fixture *f, network_file *file)
{
    write_network(f, file, 5, 4);
    f->options.input = TL_INPUT_IMAGE;
    f->options.height = f->options.width = SIDE;
    f->options.channels = 1; /* repeated for the three planes of the network */
    f->options.feature_count = 0;
    f->options.model_path = file->path;
    f->options.normalisation = "127/128";
    f->options.learning = TL_LEARNING_CAMPAIGN;
    f->options.campaign_labels = FIRST_CAMPAIGN;
}

/* Stripes: flat, upright, lying. */
static uint32_t draw_stripes(tl_rng *rng, uint8_t *pixels)
{
    uint32_t label = (uint32_t)tl_rng_below(rng, 3);
    size_t shift = tl_rng_below(rng, 4);
    for (size_t y = 0; y < SIDE; y++)
        for (size_t x = 0; x < SIDE; x++) {
            size_t along = label == 1 ? x + shift : label == 2 ? y + shift : 0;
            pixels[y * SIDE + x] = (uint8_t)((along / 2 % 2 ? 200 : 60) + tl_rng_below(rng, 30));
        }
    return label;
}

static tl_prediction predict_stripes(fixture *f, const uint8_t *pixels)
{
    tl_error err = { 0 };
    tl_item item = { .image = { .encoding = TL_IMAGE_U8,
                                .data = pixels,
                                .bytes = SIDE * SIDE,
                                .height = SIDE,
                                .width = SIDE,
                                .channels = 1 } };
    tl_prediction p = { 0 };
    ok(tl_loop_predict(f->loop, &item, &p, &err), &err);
    return p;
}

static void learn_stripes(fixture *f, tl_rng *rng, int count)
{
    uint8_t pixels[SIDE * SIDE];
    for (int i = 0; i < count; i++) {
        uint32_t label = draw_stripes(rng, pixels);
        label_as(f, predict_stripes(f, pixels).id, CLASSES[label], NULL);
    }
}

static int remove_file(void **state)
{
    fixture *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s.onnx", f->path);
    unlink(path);
    return tear_down(state);
}

/* Labels, a campaign, its version in service; then without the file; then all of it again. */
static void a_campaign_is_published_and_can_be_repeated(void **state)
{
    fixture *f = *state;
    network_file file;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    choose_network(f, &file);
    tl_network_facts facts;
    tl_error err;
    ok(tl_network_probe(file.path, SIDE, SIDE, 3, false, &facts, &err), &err);
    open_loop(f);
    /* What is told before there is a loop is what it takes then. */
    size_t weights_bytes;
    ok(tl_graph_weights_bytes(f->loop->graph, &weights_bytes, &err), &err);
    assert_int_equal(facts.serve_bytes, tl_plan_bytes(f->loop->serving_plan) + weights_bytes);
    assert_int_equal(facts.campaign_batch, 16);
    assert_true(facts.campaign_bytes > weights_bytes);
    tl_loop_state s = status_of(f);
    assert_int_equal(s.learns, TL_LEARNING_CAMPAIGN);
    assert_int_equal(s.network_features, 8);
    assert_int_equal(s.next_campaign_labels, FIRST_CAMPAIGN);
    learn_stripes(f, &rng, FIRST_CAMPAIGN - 1);
    drain(f);
    assert_int_equal(status_of(f).champion, 1);
    learn_stripes(f, &rng, 1);
    drain(f);
    s = status_of(f);
    assert_int_equal(s.campaigns, 1);
    assert_int_equal(s.champion, 2);
    assert_int_equal(s.next_campaign_labels, 2 * FIRST_CAMPAIGN);
    tl_version_info versions[4];
    assert_int_equal(tl_loop_versions(f->loop, versions, 4), 2); /* not the file's bytes */
    assert_string_equal(versions[0].origin, "campaign");
    assert_string_equal(versions[1].origin, "import");

    uint8_t pixels[SIDE * SIDE];
    draw_stripes(&rng, pixels);
    tl_prediction before = predict_stripes(f, pixels);
    unlink(file.path); /* the journal has it */
    reopen(f);
    tl_prediction after = predict_stripes(f, pixels);
    assert_memory_equal(before.scores, after.scores, 3 * sizeof(float));
    learn_stripes(f, &rng, FIRST_CAMPAIGN);
    drain(f);
    assert_int_equal(status_of(f).campaigns, 2);
    tl_verify_report report = verify(f);
    assert_int_equal(report.judgements, 2);
}

/* Whatever a campaign had done when the process ended: it starts again, with the same result. */
static void a_campaign_that_was_cut_short_ends_the_same(void **state)
{
    fixture *f = *state;
    network_file file;
    tl_rng rng;
    tl_rng_seed(&rng, 6, 0);
    choose_network(f, &file);
    open_loop(f);
    learn_stripes(f, &rng, FIRST_CAMPAIGN); /* and close it at once */
    reopen(f);
    drain(f);
    assert_int_equal(status_of(f).campaigns, 1);
    reopen(f);
    assert_int_equal(status_of(f).campaigns, 1); /* not once more */
    verify(f);
}

/* A pause holds a campaign between two steps. */
static void a_pause_holds_a_campaign(void **state)
{
    fixture *f = *state;
    network_file file;
    tl_error err = { 0 };
    tl_rng rng;
    tl_rng_seed(&rng, 7, 0);
    choose_network(f, &file);
    open_loop(f);
    learn_stripes(f, &rng, FIRST_CAMPAIGN - 1);
    drain(f);
    learn_stripes(f, &rng, 1);
    ok(tl_loop_set_learning(f->loop, false, "me", &err), &err);
    drain(f); /* returns though the campaign is not over, unless it was over before the pause */
    uint64_t judged = status_of(f).campaigns;
    ok(tl_loop_set_learning(f->loop, true, "me", &err), &err);
    drain(f);
    assert_int_equal(status_of(f).campaigns, 1);
    assert_in_range(judged, 0, 1);
    verify(f);
}

static void another_file_under_the_name_is_told(void **state)
{
    fixture *f = *state;
    network_file file;
    tl_error err = { 0 };
    choose_network(f, &file);
    open_loop(f);
    tl_runtime_close(&f->runtime);
    write_network(f, &file, 99, 4);
    open_runtime(f);
    assert_int_equal(tl_loop_open(f->runtime, &f->options, &f->loop, &err), TL_ECONFLICT);
    assert_non_null(strstr(err.text, "is not the file that the loop was made of"));
    f->options.model_path = NULL; /* what the journal has */
    ok(tl_loop_open(f->runtime, &f->options, &f->loop, &err), &err);
}

/* The configuration may change them; a tool that opens the loop as recorded leaves them. */
static void knobs_of_campaigns_change(void **state)
{
    fixture *f = *state;
    network_file file;
    tl_error err = { 0 };
    tl_loop_config *created = malloc(sizeof *created);
    tl_rng rng;
    tl_rng_seed(&rng, 8, 0);
    choose_network(f, &file);
    open_loop(f);
    *created = f->loop->config;
    learn_stripes(f, &rng, FIRST_CAMPAIGN / 2 - 1);
    f->options.campaign_labels = FIRST_CAMPAIGN / 2;
    reopen(f);
    drain(f);
    assert_int_equal(status_of(f).next_campaign_labels, FIRST_CAMPAIGN / 2);
    tl_runtime_close(&f->runtime);
    open_runtime(f);
    ok(tl_loop_open_recorded(f->runtime, created, &f->loop, &err), &err);
    drain(f);
    assert_int_equal(status_of(f).next_campaign_labels, FIRST_CAMPAIGN / 2);
    learn_stripes(f, &rng, 1);
    drain(f);
    assert_int_equal(status_of(f).campaigns, 1);
    assert_int_equal(status_of(f).next_campaign_labels, FIRST_CAMPAIGN);
    verify(f);
    free(created);
}

/* Results repeat for one number of threads: a campaign is done again with the one it had. */
static void the_number_of_threads_is_recorded(void **state)
{
    fixture *f = *state;
    network_file file;
    tl_rng rng;
    tl_rng_seed(&rng, 9, 0);
    choose_network(f, &file);
    f->runtime_options.trainer_threads = 3;
    open_loop(f);
    learn_stripes(f, &rng, FIRST_CAMPAIGN);
    drain(f);
    f->runtime_options.trainer_threads = 1;
    reopen(f);
    learn_stripes(f, &rng, FIRST_CAMPAIGN);
    drain(f);
    assert_int_equal(verify(f).judgements, 2);
}

static void refused(fixture *f, tl_status status, const char *words)
{
    tl_error err = { 0 };
    open_runtime(f);
    assert_int_equal(tl_loop_open(f->runtime, &f->options, &f->loop, &err), status);
    if (strstr(err.text, words) == NULL) fail_msg("%s\nnot: %s", err.text, words);
    tl_runtime_close(&f->runtime);
}

/* A model that does not do leaves no loop behind. */
static void what_does_not_fit_is_told(void **state)
{
    fixture *f = *state;
    network_file file;
    choose_network(f, &file);
    f->options.has_template = true;
    f->options.channels = 3;
    refused(f, TL_ESHAPE, "the network takes 3 channels, the loop gives 9");
    f->options.channels = 1;
    f->options.keep_head = true;
    refused(f, TL_ESHAPE, "the network answers for 4 classes, the loop has 3");
    f->options.keep_head = false;
    f->options.normalisation = "bright";
    refused(f, TL_EINVAL, "normalisation \"bright\"");
    f->options.normalisation = NULL;
    FILE *out = fopen(file.path, "wb");
    assert_non_null(out);
    fputs("no model", out);
    fclose(out);
    refused(f, TL_EINVAL, "ONNX");
    assert_int_equal(truncate(file.path, TL_MODEL_BYTES_MAX + 1), 0);
    refused(f, TL_ELIMIT, "");
    unlink(file.path);
    refused(f, TL_ENOTFOUND, "is neither a file nor a built-in network");
    write_network(f, &file, 5, 4);
    open_loop(f);
}

static void a_head_that_fits_is_kept(void **state)
{
    fixture *f = *state;
    network_file file;
    choose_network(f, &file);
    write_network(f, &file, 5, 3);
    f->options.keep_head = true;
    f->options.learning = TL_LEARNING_OFF;
    open_loop(f);
    uint8_t pixels[SIDE * SIDE];
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    draw_stripes(&rng, pixels);
    tl_prediction p = predict_stripes(f, pixels);
    assert_true(fabs((double)p.scores[0] - (double)p.scores[1]) >
                1e-3); /* a new one knows nothing */
    learn_stripes(f, &rng, 2 * FIRST_CAMPAIGN);
    drain(f);
    assert_int_equal(status_of(f).campaigns, 0);
    assert_int_equal(status_of(f).champion, 1);
    ok(tl_loop_add_class(f->loop, "rust", "me", NULL), NULL); /* outputs are left for it */
    verify(f);
}

static void built_in_networks_go_by_name(void **state)
{
    fixture *f = *state;
    network_file file;
    choose_network(f, &file);
    f->options.model_path = "mobilenet_v3_small";
    f->options.height = f->options.width = 32;
    f->options.normalisation = "imagenet";
    f->options.learning = TL_LEARNING_AUTO;
    open_loop(f);
    assert_string_equal(status_of(f).network, "mobilenet_v3_small");
    assert_int_equal(status_of(f).network_features, 1024);
    uint8_t pixels[SIDE * SIDE];
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    draw_stripes(&rng, pixels);
    tl_prediction before = predict_stripes(f, pixels);
    reopen(f);
    tl_prediction after = predict_stripes(f, pixels);
    assert_memory_equal(before.scores, after.scores, 3 * sizeof(float));
    learn_stripes(f, &rng, 10);
    verify(f);
    f->options.model_path = "mobilenet_v3_large";
    refused(f, TL_ECONFLICT, "was made with mobilenet_v3_small");
}

#define NETWORK_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_closed, remove_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NETWORK_TEST(a_campaign_is_published_and_can_be_repeated),
        NETWORK_TEST(a_campaign_that_was_cut_short_ends_the_same),
        NETWORK_TEST(a_pause_holds_a_campaign),
        NETWORK_TEST(knobs_of_campaigns_change),
        NETWORK_TEST(the_number_of_threads_is_recorded),
        NETWORK_TEST(another_file_under_the_name_is_told),
        NETWORK_TEST(what_does_not_fit_is_told),
        NETWORK_TEST(a_head_that_fits_is_kept),
        NETWORK_TEST(built_in_networks_go_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

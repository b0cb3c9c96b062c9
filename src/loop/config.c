#include "loop/config.h"

#include "format/json.h"
#include "learn/pixels.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { REPLAY_MAX = 511 }; /* one batch with the new label */

bool tl_name_is_valid(const char *name)
{
    size_t bytes = strnlen(name, TL_TEXT_BYTES_MAX);
    if (bytes == 0 || bytes == TL_TEXT_BYTES_MAX) return false;
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) return false;
    return true;
}

static bool loop_name_is_valid(const char *name)
{
    if (!tl_name_is_valid(name)) return false;
    for (const char *at = name; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && strchr("._-", *at) == NULL) return false;
    return true;
}

static tl_status check_input(const tl_loop_options *options, tl_error *err)
{
    if (options->input == TL_INPUT_FEATURES) {
        if (options->feature_count < 1 || options->feature_count > TL_FEATURE_COUNT_MAX)
            return tl_fail(err, TL_EINVAL, "feature_count is %u; give 1 to %d",
                           options->feature_count, TL_FEATURE_COUNT_MAX);
        if (!(options->feature_range > 0.0f) || !isfinite(options->feature_range))
            return tl_fail(err, TL_EINVAL, "feature_range must be a positive number");
        return TL_OK;
    }
    if (options->input != TL_INPUT_IMAGE)
        return tl_fail(err, TL_EINVAL, "input must be image or features");
    if (options->height < 16 || options->height > TL_IMAGE_SIDE_MAX || options->width < 16 ||
        options->width > TL_IMAGE_SIDE_MAX)
        return tl_fail(err, TL_EINVAL, "image size %ux%u; each side must be 16 to %d",
                       options->height, options->width, TL_IMAGE_SIDE_MAX);
    if (options->channels != 1 && options->channels != 3)
        return tl_fail(err, TL_EINVAL, "channels is %u; give 1 (grey) or 3 (colour)",
                       options->channels);
    return TL_OK;
}

static tl_status check_classes(const tl_loop_options *options, tl_error *err)
{
    if (options->classes == NULL || options->class_count < 2 ||
        options->class_count > TL_CLASS_COUNT_MAX)
        return tl_fail(err, TL_EINVAL, "%zu classes; give 2 to %d, the first one being \"ok\"",
                       options->classes == NULL ? 0 : options->class_count, TL_CLASS_COUNT_MAX);
    for (size_t i = 0; i < options->class_count; i++) {
        if (!tl_name_is_valid(options->classes[i]))
            return tl_fail(err, TL_EINVAL,
                           "class %zu: a name is 1 to %d bytes without control "
                           "characters",
                           i, TL_TEXT_BYTES_MAX - 1);
        for (size_t j = 0; j < i; j++)
            if (strcmp(options->classes[i], options->classes[j]) == 0)
                return tl_fail(err, TL_EINVAL, "class \"%s\" is there twice", options->classes[i]);
    }
    return TL_OK;
}

static const char *const LEARNING[] = { [TL_LEARNING_AUTO] = "auto",
                                        [TL_LEARNING_CONTINUOUS] = "continuous",
                                        [TL_LEARNING_CAMPAIGN] = "campaign",
                                        [TL_LEARNING_OFF] = "off" };

const char *tl_learning_text(tl_learning learning)
{
    TL_ASSERT((size_t)learning < TL_COUNT_OF(LEARNING));
    return LEARNING[learning];
}

static tl_status check_model(const tl_loop_options *options, tl_error *err)
{
    if (options->model_path != NULL &&
        strlen(options->model_path) >= sizeof((tl_loop_config *)NULL)->model_path)
        return tl_fail(err, TL_EINVAL, "the path of the model is too long");
    if (options->keep_head && options->model_path == NULL)
        return tl_fail(err, TL_EINVAL, "keep_head wants a model whose last layer is kept");
    if ((size_t)options->learning >= TL_COUNT_OF(LEARNING))
        return tl_fail(err, TL_EINVAL, "learning must be auto, continuous, campaign or off");
    if (options->campaign_labels < 16)
        return tl_fail(err, TL_EINVAL, "campaign_labels is %u; give at least 16",
                       options->campaign_labels);
    const char *normalisation = options->normalisation;
    if (normalisation != NULL && strlen(normalisation) >= TL_NORMALISATION_BYTES)
        return tl_fail(err, TL_EINVAL, "normalisation is too long");
    tl_pixels_form form = { 0 };
    return tl_pixels_normalise(&form, normalisation, err);
}

static tl_status check_knobs(const tl_loop_options *options, tl_error *err)
{
    if (options->replay_per_label > REPLAY_MAX)
        return tl_fail(err, TL_EINVAL, "replay_per_label is %u; give 0 to %d",
                       options->replay_per_label, REPLAY_MAX);
    if (options->publish_every_labels < 1)
        return tl_fail(err, TL_EINVAL, "publish_every_labels must be at least 1");
    if (!(options->audit_rate >= 0.0 && options->audit_rate <= 1.0))
        return tl_fail(err, TL_EINVAL, "audit_rate must be 0 to 1");
    if (!(options->target_precision >= 0.5 && options->target_precision < 1.0))
        return tl_fail(err, TL_EINVAL, "target_precision must be 0.5 to 1");
    return tl_loop_policy_check(&options->gate, &options->review, err);
}

tl_status tl_loop_config_make(const tl_loop_options *options, const tl_env *env,
                              tl_loop_config *out, tl_error *err)
{
    if (options->name == NULL || !loop_name_is_valid(options->name))
        return tl_fail(err, TL_EINVAL, "a loop's name is 1 to %d of A-Z a-z 0-9 . _ -",
                       TL_TEXT_BYTES_MAX - 1);
    tl_status status = check_input(options, err);
    if (status == TL_OK) status = check_classes(options, err);
    if (status == TL_OK) status = check_model(options, err);
    if (status == TL_OK) status = check_knobs(options, err);
    tl_loop_config config = { 0 };
    if (status == TL_OK) status = tl_loop_people_take(options, &config, err);
    if (status != TL_OK) return status;

    snprintf(config.info.name, sizeof config.info.name, "%s", options->name);
    config.info.input = options->input;
    if (options->input == TL_INPUT_IMAGE) {
        config.info.height = options->height;
        config.info.width = options->width;
        config.info.channels = options->channels;
        config.info.has_template = options->has_template;
    } else {
        config.info.feature_count = options->feature_count;
        config.feature_range = options->feature_range;
    }
    config.info.class_count = options->class_count;
    for (size_t i = 0; i < options->class_count; i++)
        snprintf(config.info.classes[i], sizeof config.info.classes[i], "%s", options->classes[i]);
    config.seed = options->seed;
    env->random(env->context, config.audit_key, sizeof config.audit_key);
    if (options->model_path != NULL)
        snprintf(config.model_path, sizeof config.model_path, "%s", options->model_path);
    if (options->normalisation != NULL)
        snprintf(config.normalisation, sizeof config.normalisation, "%s", options->normalisation);
    config.keep_head = options->keep_head;
    config.learning = options->learning;
    config.campaign_labels = options->campaign_labels;
    config.campaign_threads = 1;
    config.replay_per_label = options->replay_per_label;
    config.publish_every_labels = options->publish_every_labels;
    config.cold_labels = options->cold_labels;
    config.audit_rate = options->audit_rate;
    config.target_precision = options->target_precision;
    config.gate = options->gate;
    config.review = options->review;
    *out = config;
    return TL_OK;
}

tl_status tl_loop_config_write(const tl_loop_config *config, tl_text *out)
{
    const tl_loop_info *info = &config->info;
    char key[2 * TL_DRAW_KEY_BYTES + 1];
    for (int i = 0; i < TL_DRAW_KEY_BYTES; i++)
        snprintf(key + 2 * i, 3, "%02x", config->audit_key[i]);
    tl_json_writer w;
    tl_json_begin(&w, out);
    tl_json_object(&w);
    tl_json_key(&w, "name"), tl_json_string(&w, info->name);
    tl_json_key(&w, "input"),
        tl_json_string(&w, info->input == TL_INPUT_IMAGE ? "image" : "features");
    tl_json_key(&w, "height"), tl_json_uint(&w, info->height);
    tl_json_key(&w, "width"), tl_json_uint(&w, info->width);
    tl_json_key(&w, "channels"), tl_json_uint(&w, info->channels);
    tl_json_key(&w, "template"), tl_json_boolean(&w, info->has_template);
    tl_json_key(&w, "features"), tl_json_uint(&w, info->feature_count);
    tl_json_key(&w, "feature_range"), tl_json_float(&w, config->feature_range);
    tl_json_key(&w, "classes"), tl_json_array(&w);
    for (size_t i = 0; i < info->class_count; i++) tl_json_string(&w, info->classes[i]);
    tl_json_array_end(&w);
    tl_json_key(&w, "seed"), tl_json_uint(&w, config->seed);
    tl_json_key(&w, "audit_key"), tl_json_string(&w, key);
    tl_json_key(&w, "model"), tl_json_string(&w, config->model_path);
    tl_json_key(&w, "model_hash"), tl_json_string(&w, config->model_hash);
    tl_json_key(&w, "keep_head"), tl_json_boolean(&w, config->keep_head);
    tl_json_key(&w, "normalisation"), tl_json_string(&w, config->normalisation);
    tl_json_key(&w, "planes"), tl_json_uint(&w, config->planes);
    tl_json_key(&w, "learning"), tl_json_string(&w, LEARNING[config->learning]);
    tl_json_key(&w, "campaign_labels"), tl_json_uint(&w, config->campaign_labels);
    tl_json_key(&w, "campaign_threads"), tl_json_uint(&w, config->campaign_threads);
    tl_json_key(&w, "replay_per_label"), tl_json_uint(&w, config->replay_per_label);
    tl_json_key(&w, "publish_every_labels"), tl_json_uint(&w, config->publish_every_labels);
    tl_json_key(&w, "cold_labels"), tl_json_uint(&w, config->cold_labels);
    tl_json_key(&w, "audit_rate"), tl_json_double(&w, config->audit_rate);
    tl_json_key(&w, "target_precision"), tl_json_double(&w, config->target_precision);
    tl_json_key(&w, "gate");
    tl_loop_policy_write(config, &w);
    tl_json_key(&w, "people");
    tl_loop_people_write(config, &w);
    tl_json_object_end(&w);
    return tl_text_ok(out) ? TL_OK : TL_ENOMEM;
}

static bool read_u32(const tl_json *root, const char *key, uint32_t *out)
{
    uint64_t value;
    if (!tl_json_uint64(tl_json_get(root, key), &value) || value > UINT32_MAX) return false;
    *out = (uint32_t)value;
    return true;
}

static bool read_key(const char *text, uint8_t out[TL_DRAW_KEY_BYTES])
{
    if (text == NULL || strlen(text) != 2 * TL_DRAW_KEY_BYTES) return false;
    for (int i = 0; i < TL_DRAW_KEY_BYTES; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1) return false;
        out[i] = (uint8_t)byte;
    }
    return true;
}

/* Loops from before other networks than the small one have none of this. */
static bool read_network(const tl_json *root, tl_loop_config *c)
{
    snprintf(c->model_path, sizeof c->model_path, "%s", tl_json_get_text(root, "model", ""));
    snprintf(c->model_hash, sizeof c->model_hash, "%s", tl_json_get_text(root, "model_hash", ""));
    snprintf(c->normalisation, sizeof c->normalisation, "%s",
             tl_json_get_text(root, "normalisation", ""));
    (void)tl_json_bool(tl_json_get(root, "keep_head"), &c->keep_head);
    (void)read_u32(root, "planes", &c->planes);
    if (!read_u32(root, "campaign_labels", &c->campaign_labels)) c->campaign_labels = 256;
    if (!read_u32(root, "campaign_threads", &c->campaign_threads)) c->campaign_threads = 1;
    const char *learning = tl_json_get_text(root, "learning", LEARNING[TL_LEARNING_CONTINUOUS]);
    for (size_t i = 0; i < TL_COUNT_OF(LEARNING); i++)
        if (strcmp(learning, LEARNING[i]) == 0) c->learning = (tl_learning)i;
    tl_pixels_form form = { 0 };
    return c->learning != TL_LEARNING_AUTO && c->campaign_labels > 0 && c->campaign_threads >= 1 &&
           c->campaign_threads <= TL_CAMPAIGN_THREADS_MAX &&
           tl_pixels_normalise(&form, c->normalisation, NULL) == TL_OK;
}

static bool read_all(const tl_json *root, tl_loop_config *c)
{
    double range = 0;
    const char *input = tl_json_get_text(root, "input", "");
    c->info.input = strcmp(input, "features") == 0 ? TL_INPUT_FEATURES : TL_INPUT_IMAGE;
    snprintf(c->info.name, sizeof c->info.name, "%s", tl_json_get_text(root, "name", ""));
    const tl_json *classes = tl_json_get(root, "classes");
    for (const tl_json *item = tl_json_first(classes); item != NULL; item = item->next) {
        const char *name;
        if (c->info.class_count == TL_CLASS_COUNT_MAX || !tl_json_text(item, &name)) return false;
        snprintf(c->info.classes[c->info.class_count++], TL_TEXT_BYTES_MAX, "%s", name);
    }
    bool ok = read_u32(root, "height", &c->info.height) &&
              read_u32(root, "width", &c->info.width) &&
              read_u32(root, "channels", &c->info.channels) &&
              tl_json_bool(tl_json_get(root, "template"), &c->info.has_template) &&
              read_u32(root, "features", &c->info.feature_count) &&
              tl_json_number(tl_json_get(root, "feature_range"), &range) &&
              tl_json_uint64(tl_json_get(root, "seed"), &c->seed) &&
              read_key(tl_json_get_text(root, "audit_key", NULL), c->audit_key) &&
              read_u32(root, "replay_per_label", &c->replay_per_label) &&
              read_u32(root, "publish_every_labels", &c->publish_every_labels) &&
              read_u32(root, "cold_labels", &c->cold_labels) &&
              tl_json_number(tl_json_get(root, "audit_rate"), &c->audit_rate) &&
              tl_json_number(tl_json_get(root, "target_precision"), &c->target_precision);
    c->feature_range = (float)range;
    return ok && c->info.class_count >= 2 && read_network(root, c) &&
           tl_loop_policy_read(tl_json_get(root, "gate"), c) &&
           tl_loop_people_read(tl_json_get(root, "people"), c);
}

tl_status tl_loop_config_read(const char *json, tl_loop_config *out, tl_error *err)
{
    tl_arena arena;
    tl_arena_init(&arena, 1 << 20);
    tl_json_parser *parser = NULL;
    const tl_json *root = NULL;
    tl_loop_config config = { 0 };
    tl_status status = tl_json_parser_create(NULL, &parser, err);
    if (status == TL_OK) status = tl_json_parse(parser, json, strlen(json), &arena, &root, err);
    if (status == TL_OK && !read_all(root, &config))
        status = tl_fail(err, TL_ECORRUPT, "the loop's description in the journal is not complete");
    if (status == TL_OK) *out = config;
    tl_json_parser_destroy(&parser);
    tl_arena_destroy(&arena);
    return status;
}

tl_status tl_loop_config_agree(const tl_loop_config *recorded, const tl_loop_config *wanted,
                               tl_error *err)
{
    const tl_loop_info *a = &recorded->info, *b = &wanted->info;
    bool same_input = a->input == b->input && a->height == b->height && a->width == b->width &&
                      a->channels == b->channels && a->has_template == b->has_template &&
                      a->feature_count == b->feature_count;
    if (!same_input)
        return tl_fail(err, TL_ECONFLICT,
                       "loop \"%s\" was made with another input form; use another name, or the "
                       "form it was made with",
                       a->name);
    if (wanted->normalisation[0] != '\0' &&
        strcmp(wanted->normalisation, recorded->normalisation) != 0)
        return tl_fail(err, TL_ECONFLICT,
                       "loop \"%s\" was made with normalisation %s; leave that as it was, or use "
                       "another name",
                       a->name,
                       recorded->normalisation[0] == '\0' ? "symmetric" : recorded->normalisation);
    if (wanted->learning != TL_LEARNING_AUTO && wanted->learning != recorded->learning)
        return tl_fail(err, TL_ECONFLICT,
                       "loop \"%s\" was made with learning: %s; leave that as it was, use another "
                       "name, or pause learning",
                       a->name, LEARNING[recorded->learning]);
    if (b->class_count < a->class_count)
        return tl_fail(err, TL_ECONFLICT, "loop \"%s\" was made with %zu classes, not %zu", a->name,
                       a->class_count, b->class_count);
    for (size_t i = 0; i < a->class_count; i++)
        if (strcmp(a->classes[i], b->classes[i]) != 0)
            return tl_fail(err, TL_ECONFLICT, "loop \"%s\": class %zu is \"%s\", not \"%s\"",
                           a->name, i, a->classes[i], b->classes[i]);
    return TL_OK;
}

bool tl_loop_config_knobs_equal(const tl_loop_config *a, const tl_loop_config *b)
{
    return a->replay_per_label == b->replay_per_label &&
           a->publish_every_labels == b->publish_every_labels && a->cold_labels == b->cold_labels &&
           a->campaign_labels == b->campaign_labels && a->campaign_threads == b->campaign_threads &&
           a->audit_rate == b->audit_rate && a->target_precision == b->target_precision &&
           tl_loop_policy_equal(a, b) && tl_loop_people_equal(a, b);
}

void tl_loop_config_copy_knobs(tl_loop_config *to, const tl_loop_config *from)
{
    to->replay_per_label = from->replay_per_label;
    to->publish_every_labels = from->publish_every_labels;
    to->cold_labels = from->cold_labels;
    to->campaign_labels = from->campaign_labels;
    to->campaign_threads = from->campaign_threads;
    to->audit_rate = from->audit_rate;
    to->target_precision = from->target_precision;
    to->gate = from->gate;
    to->review = from->review;
    tl_loop_people_copy(to, from);
}

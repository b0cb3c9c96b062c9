/* infer_read.c - the body of an inference request to the items of a loop. */
#include "server/api/infer.h"
#include "server/api/tensor_input.h"

#include <string.h>

typedef struct reading {
    tl_arena *arena;
    const tl_loop_info *loop;
    const uint8_t *blob; /* what is left of the binary tensors */
    size_t blob_bytes;
    tl_tensor_input image, reference, features; /* name NULL: not given */
    tl_infer_request *out;
    tl_error *err;
} reading;

/* A text parameter that fits the loop's bound; *out stays when it is not given. */
static tl_status read_name(const reading *r, const tl_json *parameters, const char *key,
                           const char **out)
{
    const tl_json *value = tl_json_get(parameters, key);
    if (value == NULL || value->kind == TL_JSON_NULL) return TL_OK;
    const char *text;
    if (!tl_json_text(value, &text) || strlen(text) >= TL_TEXT_BYTES_MAX)
        return tl_fail(r->err, TL_EINVAL, "parameter \"%s\" must be a text of at most %d bytes",
                       key, TL_TEXT_BYTES_MAX - 1);
    *out = text;
    return TL_OK;
}

/* A version is a whole number, or the text of one, as the protocol has it in paths and answers. */
static tl_status read_version(const reading *r, const tl_json *value, uint64_t *out)
{
    const char *text;
    if (value == NULL || value->kind == TL_JSON_NULL || tl_json_uint64(value, out)) return TL_OK;
    if (tl_json_text(value, &text) && text[0] != '\0' && strlen(text) <= 19 &&
        strspn(text, "0123456789") == strlen(text)) {
        *out = 0;
        for (const char *c = text; *c != '\0'; c++) *out = *out * 10 + (uint64_t)(*c - '0');
        return TL_OK;
    }
    return tl_fail(r->err, TL_EINVAL, "parameter \"version\" must be the number of a version");
}

static tl_status read_id(const reading *r, const char *text, size_t bytes, size_t index)
{
    if (index >= r->out->count)
        return tl_fail(r->err, TL_ESHAPE, "item_ids: there are more ids than the %zu items",
                       r->out->count);
    tl_id id;
    if (tl_id_parse(text, bytes, &id) != TL_OK || tl_id_is_none(id))
        return tl_fail(r->err, TL_EINVAL,
                       "item_ids: \"%.*s\" is no id; give 32 hexadecimal digits "
                       "or a UUID, not all zero",
                       (int)(bytes > 40 ? 40 : bytes), text);
    r->out->items[index].id = id;
    return TL_OK;
}

/* "a,b,c", for clients whose parameters are scalars. */
static tl_status read_id_list(const reading *r, const char *text, size_t *count)
{
    for (;;) {
        size_t bytes = strcspn(text, ",");
        size_t start = 0, end = bytes;
        while (start < end && text[start] == ' ') start++;
        while (end > start && text[end - 1] == ' ') end--;
        tl_status status = read_id(r, text + start, end - start, *count);
        if (status != TL_OK) return status;
        (*count)++;
        if (text[bytes] == '\0') return TL_OK;
        text += bytes + 1;
    }
}

static tl_status read_ids(const reading *r, const tl_json *value)
{
    if (value == NULL || value->kind == TL_JSON_NULL) return TL_OK;
    size_t count = 0;
    const char *text;
    tl_status status = TL_OK;
    if (tl_json_text(value, &text)) {
        status = read_id_list(r, text, &count);
    } else if (value->kind == TL_JSON_ARRAY) {
        const tl_json *id = tl_json_first(value);
        for (; id != NULL && status == TL_OK; id = id->next, count++) {
            if (!tl_json_text(id, &text))
                return tl_fail(r->err, TL_EINVAL, "item_ids: each id must be a text");
            status = read_id(r, text, strlen(text), count);
        }
    } else {
        return tl_fail(r->err, TL_EINVAL,
                       "item_ids must be an array of texts, or one text with "
                       "commas between the ids");
    }
    if (status != TL_OK) return status;
    if (count != r->out->count)
        return tl_fail(r->err, TL_ESHAPE, "item_ids: %zu ids for %zu items", count, r->out->count);
    return TL_OK;
}

/* The texts that are kept with all items of the request. */
static tl_status read_names(const reading *r, const tl_json *parameters, tl_item *out)
{
    const struct {
        const char *key, **place;
    } names[] = { { "site", &out->site },   { "line", &out->line }, { "part", &out->part },
                  { "board", &out->board }, { "lot", &out->lot },   { "shift", &out->shift } };
    tl_status status = TL_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == TL_OK; i++)
        status = read_name(r, parameters, names[i].key, names[i].place);
    return status;
}

/* After the items are there. */
static tl_status read_parameters(const reading *r, const tl_json *root)
{
    const tl_json *parameters = tl_json_get(root, "parameters");
    if (parameters == NULL) return TL_OK;
    tl_item names = { 0 };
    tl_status status = read_names(r, parameters, &names);
    if (status == TL_OK)
        status = read_version(r, tl_json_get(parameters, "version"), &r->out->version);
    if (status == TL_OK) status = read_ids(r, tl_json_get(parameters, "item_ids"));
    if (status != TL_OK) return status;
    const tl_json *request_id = tl_json_get(parameters, "request_id");
    if (request_id != NULL && !tl_json_text(request_id, &r->out->request_id))
        return tl_fail(r->err, TL_EINVAL, "parameter \"request_id\" must be a text");
    for (size_t i = 0; i < r->out->count; i++) {
        tl_item *item = &r->out->items[i];
        item->site = names.site;
        item->line = names.line;
        item->part = names.part;
        item->board = names.board;
        item->lot = names.lot;
        item->shift = names.shift;
    }
    return TL_OK;
}

/* ---- Outputs --------------------------------------------------------------------------------- */

static const char *const output_names[TL_OUTPUT_COUNT] = { "scores", "label", "flagged" };

static tl_status read_output(const reading *r, const tl_json *json, bool binary)
{
    tl_infer_form *form = &r->out->form;
    const char *name = tl_json_get_text(json, "name", NULL);
    if (name == NULL) return tl_fail(r->err, TL_EINVAL, "each requested output needs a \"name\"");
    size_t output = 0;
    while (output < TL_OUTPUT_COUNT && strcmp(name, output_names[output]) != 0) output++;
    if (output == TL_OUTPUT_COUNT)
        return tl_fail(r->err, TL_EINVAL,
                       "there is no output \"%.64s\"; there are scores, label, flagged", name);
    for (size_t i = 0; i < form->output_count; i++)
        if (form->outputs[i].output == (tl_output)output)
            return tl_fail(r->err, TL_EINVAL, "output \"%s\" is asked for twice", name);
    const tl_json *parameters = tl_json_get(json, "parameters");
    const tl_json *own = tl_json_get(parameters, "binary_data");
    if (own != NULL && !tl_json_bool(own, &binary))
        return tl_fail(r->err, TL_EINVAL, "output \"%s\": binary_data must be true or false", name);
    if (tl_json_get(parameters, "classification") != NULL)
        return tl_fail(r->err, TL_EUNSUPPORTED,
                       "output \"%s\": the classification extension is not offered; the output "
                       "\"label\" names the class",
                       name);
    form->outputs[form->output_count].output = (tl_output)output;
    form->outputs[form->output_count].binary = binary;
    form->output_count++;
    return TL_OK;
}

static tl_status read_form(const reading *r, const tl_json *root)
{
    tl_infer_form *form = &r->out->form;
    const tl_json *id = tl_json_get(root, "id");
    if (id != NULL && id->kind != TL_JSON_NULL) {
        const char *text;
        if (!tl_json_text(id, &text) || strlen(text) >= sizeof form->id)
            return tl_fail(r->err, TL_EINVAL, "\"id\" must be a text of at most %zu bytes",
                           sizeof form->id - 1);
        memcpy(form->id, text, strlen(text) + 1);
        form->has_id = true;
    }
    bool binary = false;
    const tl_json *all = tl_json_get(tl_json_get(root, "parameters"), "binary_data_output");
    if (all != NULL && !tl_json_bool(all, &binary))
        return tl_fail(r->err, TL_EINVAL, "parameter \"binary_data_output\" must be true or false");
    const tl_json *outputs = tl_json_get(root, "outputs");
    if (outputs == NULL || tl_json_count(outputs) == 0) {
        form->output_count = TL_OUTPUT_COUNT;
        for (size_t i = 0; i < TL_OUTPUT_COUNT; i++) {
            form->outputs[i].output = (tl_output)i;
            form->outputs[i].binary = binary;
        }
        return TL_OK;
    }
    if (outputs->kind != TL_JSON_ARRAY)
        return tl_fail(r->err, TL_EINVAL, "\"outputs\" must be an array of objects");
    for (const tl_json *output = tl_json_first(outputs); output != NULL; output = output->next) {
        tl_status status = read_output(r, output, binary);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

static tl_tensor_input *input_place(reading *r, const char *name)
{
    if (r->loop->input == TL_INPUT_FEATURES)
        return strcmp(name, "features") == 0 ? &r->features : NULL;
    if (strcmp(name, "image") == 0) return &r->image;
    if (strcmp(name, "reference") == 0 && r->loop->has_template) return &r->reference;
    return NULL;
}

static const char *input_names(const tl_loop_info *loop)
{
    if (loop->input == TL_INPUT_FEATURES) return "features";
    return loop->has_template ? "image, reference" : "image";
}

static tl_status read_inputs(reading *r, const tl_json *root)
{
    const tl_json *inputs = tl_json_get(root, "inputs");
    if (inputs == NULL || inputs->kind != TL_JSON_ARRAY || tl_json_count(inputs) == 0)
        return tl_fail(
            r->err, TL_EINVAL,
            "\"inputs\" must be an array of objects with name, shape, datatype and data");
    for (const tl_json *input = tl_json_first(inputs); input != NULL; input = input->next) {
        tl_tensor_input tensor;
        tl_status status = tl_tensor_read(input, &r->blob, &r->blob_bytes, &tensor, r->err);
        if (status != TL_OK) return status;
        tl_tensor_input *place = input_place(r, tensor.name);
        if (place == NULL)
            return tl_fail(r->err, TL_EINVAL, "loop \"%s\" takes no input \"%.64s\"; it takes %s",
                           r->loop->name, tensor.name, input_names(r->loop));
        if (place->name != NULL)
            return tl_fail(r->err, TL_EINVAL, "input \"%.64s\" is there twice", tensor.name);
        *place = tensor;
    }
    if (r->blob_bytes != 0)
        return tl_fail(r->err, TL_EINVAL,
                       "%zu bytes of the body belong to no input; check binary_data_size and "
                       "Inference-Header-Content-Length",
                       r->blob_bytes);
    return TL_OK;
}

static tl_status items_make(reading *r, const tl_tensor_input *first)
{
    size_t count = first->shape[0];
    if (count > TL_ITEM_COUNT_MAX)
        return tl_fail(r->err, TL_ELIMIT, "%zu items in one request; send at most %d at a time",
                       count, TL_ITEM_COUNT_MAX);
    r->out->items = tl_arena_alloc(r->arena, count * sizeof *r->out->items);
    if (r->out->items == NULL) return tl_fail(r->err, TL_ENOMEM, "out of memory for the items");
    memset(r->out->items, 0, count * sizeof *r->out->items);
    r->out->count = count;
    return TL_OK;
}

static tl_status read_features(reading *r)
{
    const tl_tensor_input *tensor = &r->features;
    uint32_t want = r->loop->feature_count;
    if (tensor->name == NULL)
        return tl_fail(r->err, TL_EINVAL, "the input \"features\" is missing");
    if (tensor->rank != 2 || tensor->shape[1] != want)
        return tl_fail(r->err, TL_ESHAPE, "input \"features\": the shape must be [n, %u]", want);
    tl_status status = items_make(r, tensor);
    if (status != TL_OK) return status;
    const float *values;
    status = tl_tensor_floats(tensor, r->arena, &values, r->err);
    if (status != TL_OK) return status;
    for (size_t i = 0; i < r->out->count; i++) {
        r->out->items[i].features = values + i * want;
        r->out->items[i].feature_count = want;
    }
    return TL_OK;
}

static tl_status read_images_of(reading *r, const tl_tensor_input *tensor, tl_image **out)
{
    tl_image *images = tl_arena_alloc(r->arena, r->out->count * sizeof *images);
    if (images == NULL) return tl_fail(r->err, TL_ENOMEM, "out of memory for the images");
    *out = images;
    return tensor->type == TL_DATATYPE_BYTES
               ? tl_tensor_image_files(tensor, r->arena, images, r->err)
               : tl_tensor_pixels(tensor, r->arena, images, r->err);
}

static tl_status read_images(reading *r)
{
    if (r->image.name == NULL) return tl_fail(r->err, TL_EINVAL, "the input \"image\" is missing");
    tl_status status = items_make(r, &r->image);
    if (status != TL_OK) return status;
    tl_image *images, *references = NULL;
    status = read_images_of(r, &r->image, &images);
    if (status != TL_OK) return status;
    if (r->reference.name != NULL) {
        if (r->reference.shape[0] != r->out->count)
            return tl_fail(r->err, TL_ESHAPE,
                           "input \"reference\" has %zu items, \"image\" has %zu",
                           r->reference.shape[0], r->out->count);
        status = read_images_of(r, &r->reference, &references);
        if (status != TL_OK) return status;
    }
    for (size_t i = 0; i < r->out->count; i++) {
        if (images[i].encoding == TL_IMAGE_NONE)
            return tl_fail(r->err, TL_EINVAL, "input \"image\": element %zu is empty", i);
        r->out->items[i].image = images[i];
        if (references != NULL) r->out->items[i].reference = references[i];
    }
    return TL_OK;
}

tl_status tl_infer_read(tl_json_parser *parser, tl_arena *arena, const tl_loop_info *loop,
                        const void *body, size_t bytes, size_t json_bytes, tl_infer_request *out,
                        tl_error *err)
{
    TL_ASSERT(json_bytes <= bytes);
    *out = (tl_infer_request){ 0 };
    reading r = { .arena = arena,
                  .loop = loop,
                  .blob = (const uint8_t *)body + json_bytes,
                  .blob_bytes = bytes - json_bytes,
                  .out = out,
                  .err = err };
    const tl_json *root;
    tl_status status = tl_json_parse(parser, body, json_bytes, arena, &root, err);
    if (status != TL_OK) return status;
    if (root->kind != TL_JSON_OBJECT)
        return tl_fail(err, TL_EINVAL, "the body must be a JSON object with \"inputs\"");
    const tl_json *parameters = tl_json_get(root, "parameters");
    if (parameters != NULL && parameters->kind != TL_JSON_OBJECT)
        return tl_fail(err, TL_EINVAL, "\"parameters\" must be an object");
    status = read_form(&r, root);
    if (status == TL_OK) status = read_inputs(&r, root);
    if (status == TL_OK)
        status = loop->input == TL_INPUT_FEATURES ? read_features(&r) : read_images(&r);
    if (status == TL_OK) status = read_parameters(&r, root);
    return status;
}

/* infer_write.c - predictions to the answer of the Open Inference Protocol. */
#include "server/api/infer.h"

#include <stdio.h>
#include <string.h>

typedef struct writing {
    tl_json_writer w;
    const tl_loop_info *loop;
    const tl_prediction *predictions;
    size_t count, class_count;
} writing;

static const char *label_text(const writing *out, size_t index)
{
    uint32_t label = out->predictions[index].label;
    return label < out->loop->class_count ? out->loop->classes[label] : "";
}

static void write_uints(writing *out, const char *key, bool versions)
{
    tl_json_key(&out->w, key);
    tl_json_array(&out->w);
    for (size_t i = 0; i < out->count; i++)
        tl_json_uint(&out->w, versions ? out->predictions[i].version : out->predictions[i].epoch);
    tl_json_array_end(&out->w);
}

/* One number where all items agree, as they nearly always do; else also one for each. */
static void write_origin(writing *out)
{
    const tl_prediction *first = &out->predictions[0];
    bool versions_differ = false, epochs_differ = false;
    for (size_t i = 1; i < out->count; i++) {
        if (out->predictions[i].version != first->version) versions_differ = true;
        if (out->predictions[i].epoch != first->epoch) epochs_differ = true;
    }
    tl_json_key(&out->w, "version");
    tl_json_uint(&out->w, first->version);
    tl_json_key(&out->w, "epoch");
    tl_json_uint(&out->w, first->epoch);
    if (versions_differ) write_uints(out, "versions", true);
    if (epochs_differ) write_uints(out, "epochs", false);
    tl_json_key(&out->w, "threshold");
    tl_json_float(&out->w, first->threshold);
}

static const char *const ZONES[] = {
    [TL_ZONE_ACCEPT] = "accept", [TL_ZONE_REVIEW] = "review", [TL_ZONE_REJECT] = "reject"
};

/* Who is to look; only where there are people to choose from. */
static void write_people(writing *out)
{
    bool any = false;
    for (size_t i = 0; i < out->count; i++) any = any || out->predictions[i].person != NULL;
    if (!any) return;
    tl_json_key(&out->w, "person");
    tl_json_array(&out->w);
    for (size_t i = 0; i < out->count; i++)
        if (out->predictions[i].person != NULL)
            tl_json_string(&out->w, out->predictions[i].person);
        else
            tl_json_null(&out->w);
    tl_json_array_end(&out->w);
}

static void write_parameters(writing *out)
{
    tl_json_key(&out->w, "parameters");
    tl_json_object(&out->w);
    tl_json_key(&out->w, "prediction_ids");
    tl_json_array(&out->w);
    for (size_t i = 0; i < out->count; i++) {
        char quoted[TL_ID_TEXT_BYTES + 2];
        tl_id_format(out->predictions[i].id, quoted + 1);
        quoted[0] = quoted[TL_ID_TEXT_BYTES] = '"';
        tl_json_raw(&out->w, quoted, TL_ID_TEXT_BYTES + 1);
    }
    tl_json_array_end(&out->w);
    write_origin(out);
    tl_json_key(&out->w, "review");
    tl_json_array(&out->w);
    for (size_t i = 0; i < out->count; i++) tl_json_boolean(&out->w, out->predictions[i].review);
    tl_json_array_end(&out->w);
    tl_json_key(&out->w, "propensity");
    tl_json_array(&out->w);
    for (size_t i = 0; i < out->count; i++) tl_json_float(&out->w, out->predictions[i].propensity);
    tl_json_array_end(&out->w);
    tl_json_key(&out->w, "blind");
    tl_json_array(&out->w);
    for (size_t i = 0; i < out->count; i++) tl_json_boolean(&out->w, out->predictions[i].blind);
    tl_json_array_end(&out->w);
    write_people(out);
    tl_json_key(&out->w, "zone");
    tl_json_array(&out->w);
    for (size_t i = 0; i < out->count; i++)
        tl_json_string(&out->w, ZONES[out->predictions[i].zone]);
    tl_json_array_end(&out->w);
    tl_json_object_end(&out->w);
}

/* ---- Outputs --------------------------------------------------------------------------------- */

static size_t blob_bytes_of(const writing *out, tl_output output)
{
    if (output == TL_OUTPUT_SCORES) return out->count * out->class_count * sizeof(float);
    if (output == TL_OUTPUT_FLAGGED) return out->count;
    size_t bytes = 0;
    for (size_t i = 0; i < out->count; i++) bytes += sizeof(uint32_t) + strlen(label_text(out, i));
    return bytes;
}

/* A class may be added between two items of a request: the earlier one gives it no probability. */
static float score_of(const tl_prediction *prediction, size_t class_index)
{
    return class_index < prediction->class_count ? prediction->scores[class_index] : 0.0f;
}

static void write_data(writing *out, tl_output output)
{
    tl_json_key(&out->w, "data");
    tl_json_array(&out->w);
    for (size_t i = 0; i < out->count; i++) {
        const tl_prediction *prediction = &out->predictions[i];
        switch (output) {
        case TL_OUTPUT_SCORES:
            for (size_t c = 0; c < out->class_count; c++)
                tl_json_float(&out->w, score_of(prediction, c));
            break;
        case TL_OUTPUT_LABEL: tl_json_string(&out->w, label_text(out, i)); break;
        case TL_OUTPUT_FLAGGED: tl_json_boolean(&out->w, prediction->flagged); break;
        }
    }
    tl_json_array_end(&out->w);
}

static void write_output(writing *out, tl_output output, bool binary)
{
    static const char *const heads[TL_OUTPUT_COUNT] = {
        [TL_OUTPUT_SCORES] = "\"name\":\"scores\",\"datatype\":\"FP32\",\"shape\":[",
        [TL_OUTPUT_LABEL] = "\"name\":\"label\",\"datatype\":\"BYTES\",\"shape\":[",
        [TL_OUTPUT_FLAGGED] = "\"name\":\"flagged\",\"datatype\":\"BOOL\",\"shape\":["
    };
    tl_text *text = out->w.text;
    tl_json_object(&out->w);
    tl_text_puts(text, heads[output]);
    tl_json_write_uint64(text, out->count);
    if (output != TL_OUTPUT_FLAGGED) {
        tl_text_append(text, ",", 1);
        tl_json_write_uint64(text, output == TL_OUTPUT_SCORES ? out->class_count : 1);
    }
    tl_text_append(text, "],", 2);
    if (binary) {
        tl_json_key(&out->w, "parameters");
        tl_json_object(&out->w);
        tl_json_key(&out->w, "binary_data_size");
        tl_json_uint(&out->w, blob_bytes_of(out, output));
        tl_json_object_end(&out->w);
    } else {
        write_data(out, output);
    }
    tl_json_object_end(&out->w);
}

static void append_blob(writing *out, tl_output output)
{
    tl_text *text = out->w.text;
    for (size_t i = 0; i < out->count; i++) {
        const tl_prediction *prediction = &out->predictions[i];
        if (output == TL_OUTPUT_SCORES) {
            for (size_t c = 0; c < out->class_count; c++) {
                float score = score_of(prediction, c);
                tl_text_append(text, (const char *)&score, sizeof score);
            }
        } else if (output == TL_OUTPUT_FLAGGED) {
            tl_text_append(text, prediction->flagged ? "\1" : "\0", 1);
        } else {
            const char *label = label_text(out, i);
            uint32_t bytes = (uint32_t)strlen(label);
            tl_text_append(text, (const char *)&bytes, sizeof bytes);
            tl_text_append(text, label, bytes);
        }
    }
}

bool tl_infer_is_binary(const tl_infer_form *form)
{
    for (size_t i = 0; i < form->output_count; i++)
        if (form->outputs[i].binary) return true;
    return false;
}

size_t tl_infer_write(const tl_infer_form *form, const tl_loop_info *loop,
                      const tl_prediction *predictions, size_t count, tl_text *text)
{
    TL_ASSERT(count >= 1);
    writing out = { .loop = loop, .predictions = predictions, .count = count };
    for (size_t i = 0; i < count; i++)
        if (predictions[i].class_count > out.class_count)
            out.class_count = predictions[i].class_count;
    size_t start = text->bytes;
    tl_json_begin(&out.w, text);
    tl_json_object(&out.w);
    tl_json_key(&out.w, "model_name");
    tl_json_string(&out.w, loop->name);
    char version[24];
    snprintf(version, sizeof version, "%llu", (unsigned long long)predictions[0].version);
    tl_json_key(&out.w, "model_version");
    tl_json_string(&out.w, version);
    if (form->has_id) {
        tl_json_key(&out.w, "id");
        tl_json_string(&out.w, form->id);
    }
    write_parameters(&out);
    tl_json_key(&out.w, "outputs");
    tl_json_array(&out.w);
    for (size_t i = 0; i < form->output_count; i++)
        write_output(&out, form->outputs[i].output, form->outputs[i].binary);
    tl_json_array_end(&out.w);
    tl_json_object_end(&out.w);
    if (!tl_infer_is_binary(form)) return 0;
    size_t json_bytes = text->bytes - start;
    for (size_t i = 0; i < form->output_count; i++)
        if (form->outputs[i].binary) append_blob(&out, form->outputs[i].output);
    return json_bytes;
}

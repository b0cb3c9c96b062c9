#include "cli/state_json.h"

#include <inttypes.h>
#include <stdio.h>

static void put_uint(tl_json_writer *w, const char *key, uint64_t value)
{
    tl_json_key(w, key);
    tl_json_uint(w, value);
}

static void put_double(tl_json_writer *w, const char *key, double value)
{
    tl_json_key(w, key);
    tl_json_double(w, value);
}

static void put_bool(tl_json_writer *w, const char *key, bool value)
{
    tl_json_key(w, key);
    tl_json_boolean(w, value);
}

void tl_share_write(tl_json_writer *w, const char *key, const tl_share *share)
{
    tl_json_key(w, key);
    tl_json_object(w);
    put_double(w, "value", share->value);
    put_double(w, "low", share->low);
    put_double(w, "high", share->high);
    put_uint(w, "hits", share->hits);
    put_uint(w, "count", share->count);
    tl_json_object_end(w);
}

void tl_state_write(tl_json_writer *w, const char *name, const tl_loop_state *state)
{
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        { "predictions", state->predictions },
        { "flagged", state->flagged },
        { "reviews_wanted", state->reviews_wanted },
        { "feedback", state->feedback },
        { "labels", state->labels },
        { "pending", state->pending },
        { "withdrawn", state->withdrawn },
        { "clamped", state->clamped },
        { "trained_labels", state->trained_labels },
        { "publishes", state->publishes },
        { "rollbacks", state->rollbacks },
        { "refused", state->refused },
        { "golden", state->golden },
        { "champion", state->champion },
        { "epoch", state->epoch },
        { "position", state->position },
    };
    char digest[24];
    snprintf(digest, sizeof digest, "%016" PRIx64, state->digest);
    tl_json_object(w);
    tl_json_key(w, "name");
    tl_json_string(w, name);
    for (size_t i = 0; i < TL_COUNT_OF(counts); i++) put_uint(w, counts[i].key, counts[i].value);
    put_bool(w, "learning", state->learning);
    put_bool(w, "cold", state->cold);
    put_double(w, "threshold", (double)state->threshold);
    tl_share_write(w, "precision", &state->precision);
    tl_share_write(w, "recall", &state->recall);
    tl_share_write(w, "accuracy", &state->accuracy);
    put_double(w, "label_to_served_ms_p50", state->label_to_served_ms_p50);
    put_double(w, "label_to_served_ms_p99", state->label_to_served_ms_p99);
    put_double(w, "answer_ms_p50", state->answer_ms_p50);
    put_double(w, "answer_ms_p99", state->answer_ms_p99);
    tl_json_key(w, "digest");
    tl_json_string(w, digest);
    tl_json_object_end(w);
}

static void write_version(tl_json_writer *w, const tl_version_info *version)
{
    tl_json_object(w);
    put_uint(w, "number", version->number);
    put_uint(w, "parent", version->parent);
    tl_json_key(w, "origin");
    tl_json_string(w, version->origin);
    put_double(w, "created", (double)version->created_us / 1e6);
    put_uint(w, "position", version->position);
    put_uint(w, "labels", version->labels);
    put_double(w, "window_loss", version->window_loss); /* NaN becomes null */
    put_double(w, "parent_window_loss", version->parent_window_loss);
    put_uint(w, "window_count", version->window_count);
    put_uint(w, "golden_errors", version->golden_errors);
    put_uint(w, "golden_count", version->golden_count);
    put_bool(w, "kept", version->kept);
    put_bool(w, "champion", version->champion);
    tl_json_key(w, "verdict");
    tl_json_string(w, version->verdict);
    tl_json_object_end(w);
}

void tl_versions_write(tl_json_writer *w, const tl_version_info *versions, size_t count)
{
    tl_json_object(w);
    tl_json_key(w, "versions");
    tl_json_array(w);
    for (size_t i = 0; i < count; i++) write_version(w, &versions[i]);
    tl_json_array_end(w);
    tl_json_object_end(w);
}

#include "server/state_json.h"

#include <stdio.h>
#include <stdlib.h>

void tl_share_write(tl_json_writer *w, const char *key, const tl_share *share)
{
    tl_json_key(w, key);
    tl_json_object(w);
    tl_json_put_double(w, "value", share->value);
    tl_json_put_double(w, "low", share->low);
    tl_json_put_double(w, "high", share->high);
    tl_json_put_uint(w, "hits", share->hits);
    tl_json_put_uint(w, "count", share->count);
    tl_json_object_end(w);
}

static void write_counts(tl_json_writer *w, const tl_loop_state *state)
{
    tl_json_put_uint(w, "predictions", state->predictions);
    tl_json_put_uint(w, "flagged", state->flagged);
    tl_json_put_uint(w, "reviews_wanted", state->reviews_wanted);
    tl_json_put_uint(w, "feedback", state->feedback);
    tl_json_put_uint(w, "labels", state->labels);
    tl_json_put_uint(w, "pending", state->pending);
    tl_json_put_uint(w, "withdrawn", state->withdrawn);
    tl_json_put_uint(w, "clamped", state->clamped);
    tl_json_put_uint(w, "trained_labels", state->trained_labels);
    tl_json_put_uint(w, "publishes", state->publishes);
    tl_json_put_uint(w, "rollbacks", state->rollbacks);
    tl_json_put_uint(w, "refused", state->refused);
    tl_json_put_uint(w, "golden", state->golden);
}

static void write_network(tl_json_writer *w, const tl_loop_state *state)
{
    tl_json_key(w, "network");
    tl_json_object(w);
    tl_json_key(w, "name");
    tl_json_string(w, state->network);
    tl_json_put_uint(w, "parameters", state->parameters);
    tl_json_put_uint(w, "multiply_adds", state->multiply_adds);
    tl_json_put_uint(w, "features", state->network_features);
    tl_json_key(w, "learning");
    tl_json_string(w, tl_learning_text(state->learns));
    tl_json_object_end(w);
    if (state->next_campaign_labels == 0) return;
    tl_json_key(w, "campaign");
    tl_json_object(w);
    tl_json_put_uint(w, "judged", state->campaigns);
    tl_json_put_uint(w, "done", state->campaign_done);
    tl_json_put_uint(w, "steps", state->campaign_steps);
    tl_json_put_uint(w, "next_labels", state->next_campaign_labels);
    tl_json_object_end(w);
}

/* What serves, judged by the answers on items that were drawn for review. */
static tl_status write_estimates(tl_json_writer *w, tl_loop *loop, tl_error *err)
{
    tl_estimates e;
    tl_status status = tl_loop_estimates(loop, &e, err);
    if (status != TL_OK) return status;
    tl_json_key(w, "estimates");
    tl_json_object(w);
    tl_json_put_uint(w, "since_position", e.since_position);
    tl_json_put_uint(w, "items", e.items);
    tl_json_put_uint(w, "verified", e.verified);
    tl_share_write(w, "recall", &e.recall);
    tl_share_write(w, "precision", &e.precision);
    tl_share_write(w, "prevalence", &e.prevalence);
    tl_share_write(w, "escapes", &e.escapes);
    tl_share_write(w, "overkill", &e.overkill);
    tl_json_put_bool(w, "certified", e.certified);
    tl_json_put_double(w, "accept_below", e.accept_below);
    tl_json_put_double(w, "needed_defects", e.needed_defects); /* infinity becomes null */
    tl_json_put_double(w, "needed_labels", e.needed_labels);
    tl_json_key(w, "threshold_words"), tl_json_string(w, e.threshold_words);
    tl_json_put_uint(w, "open_reviews", e.open_reviews);
    tl_json_put_uint(w, "by_another", e.by_another);
    tl_json_put_uint(w, "drift_alarms", e.drift_alarms);
    tl_json_put_bool(w, "rules_kept", e.rules_kept);
    tl_json_key(w, "rules_words"), tl_json_string(w, e.rules_words);
    tl_json_key(w, "suspects_words"), tl_json_string(w, e.suspects_words);
    tl_json_put_uint(w, "automatic_labels", e.automatic_labels);
    tl_json_put_uint(w, "automatic_ended", e.automatic_ended);
    tl_json_put_uint(w, "automatic_bins", e.automatic_bins);
    tl_json_put_uint(w, "automatic_audits", e.automatic_audits);
    tl_share_write(w, "automatic_precision", &e.automatic_precision);
    tl_json_key(w, "automatic_words"), tl_json_string(w, e.automatic_words);
    tl_json_key(w, "people_words"), tl_json_string(w, e.people_words);
    tl_json_object_end(w);
    return TL_OK;
}

tl_status tl_state_write(tl_json_writer *w, const char *name, const tl_loop_state *state,
                         tl_loop *loop, tl_error *err)
{
    char digest[24];
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)state->digest);
    tl_json_object(w);
    tl_json_key(w, "name");
    tl_json_string(w, name);
    tl_json_put_uint(w, "champion", state->champion);
    tl_json_put_uint(w, "epoch", state->epoch);
    tl_json_put_uint(w, "position", state->position);
    tl_json_put_bool(w, "learning", state->learning);
    tl_json_put_bool(w, "frozen", state->frozen);
    tl_json_put_bool(w, "cold", state->cold);
    tl_json_put_double(w, "threshold", (double)state->threshold);
    write_counts(w, state);
    tl_share_write(w, "precision", &state->precision);
    tl_share_write(w, "recall", &state->recall);
    tl_share_write(w, "accuracy", &state->accuracy);
    tl_json_put_double(w, "label_to_served_ms_p50", state->label_to_served_ms_p50);
    tl_json_put_double(w, "label_to_served_ms_p99", state->label_to_served_ms_p99);
    tl_json_put_double(w, "answer_ms_p50", state->answer_ms_p50);
    tl_json_put_double(w, "answer_ms_p99", state->answer_ms_p99);
    write_network(w, state);
    tl_status status = loop != NULL ? tl_gate_write(w, loop, state, err) : TL_OK;
    if (status == TL_OK && loop != NULL) status = write_estimates(w, loop, err);
    tl_json_key(w, "digest");
    tl_json_string(w, digest);
    tl_json_object_end(w);
    return status;
}

void tl_version_write(tl_json_writer *w, const tl_version_info *version)
{
    tl_json_object(w);
    tl_json_put_uint(w, "number", version->number);
    tl_json_put_uint(w, "parent", version->parent);
    tl_json_key(w, "origin");
    tl_json_string(w, version->origin);
    tl_json_put_double(w, "created", (double)version->created_us / 1e6);
    tl_json_put_uint(w, "position", version->position);
    tl_json_put_uint(w, "labels", version->labels);
    tl_json_put_double(w, "window_loss", version->window_loss); /* NaN becomes null */
    tl_json_put_double(w, "parent_window_loss", version->parent_window_loss);
    tl_json_put_uint(w, "window_count", version->window_count);
    tl_json_put_uint(w, "golden_errors", version->golden_errors);
    tl_json_put_uint(w, "golden_count", version->golden_count);
    tl_json_put_bool(w, "kept", version->kept);
    tl_json_put_bool(w, "champion", version->champion);
    tl_json_key(w, "verdict");
    tl_json_string(w, version->verdict);
    tl_json_object_end(w);
}

static void write_refusal(tl_json_writer *w, const tl_refusal_info *refusal)
{
    tl_json_object(w);
    tl_json_put_double(w, "judged", (double)refusal->judged_us / 1e6);
    tl_json_put_uint(w, "position", refusal->position);
    tl_json_put_uint(w, "labels", refusal->labels);
    tl_json_key(w, "verdict");
    tl_json_string(w, refusal->verdict);
    tl_json_object_end(w);
}

tl_status tl_versions_write(tl_json_writer *w, tl_loop *loop, size_t limit, tl_error *err)
{
    tl_version_info *versions = calloc(limit, sizeof *versions);
    tl_refusal_info *refusals = calloc(limit, sizeof *refusals);
    tl_status status = TL_OK;
    if (versions == NULL || refusals == NULL) {
        status = tl_fail(err, TL_ENOMEM, "no memory for %zu versions; ask for fewer", limit);
    } else {
        size_t count = tl_loop_versions(loop, versions, limit);
        tl_json_object(w);
        tl_json_key(w, "versions");
        tl_json_array(w);
        for (size_t i = 0; i < count; i++) tl_version_write(w, &versions[i]);
        tl_json_array_end(w);
        count = tl_loop_refusals(loop, refusals, limit);
        tl_json_key(w, "refused");
        tl_json_array(w);
        for (size_t i = 0; i < count; i++) write_refusal(w, &refusals[i]);
        tl_json_array_end(w);
        tl_json_object_end(w);
    }
    free(versions);
    free(refusals);
    return status;
}

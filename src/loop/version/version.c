#include "loop/version/version.h"

#include "loop/version/network.h"

#include <stdlib.h>
#include <string.h>

enum { BLOB_VERSION = 1, KEPT_MAX = 1 << 20 };

/* Hash of the flat numbers; `backbone_only` leaves out the parameters of stage 0, the last layer.
 */
static uint64_t hash_flat(const tl_graph *graph, const float *flat, bool backbone_only)
{
    uint64_t hash = tl_graph_hash(graph);
    for (size_t i = 0; i < tl_graph_param_count(graph); i++) {
        const tl_param *param = tl_graph_param(graph, i);
        if (backbone_only && param->stage == 0) continue;
        hash = tl_hash64(flat + param->offset, param->count * sizeof *flat, hash);
    }
    return hash;
}

tl_status tl_version_create(tl_graph *graph, const float *flat, uint64_t number, uint64_t parent,
                            uint64_t op_count, const uint64_t *kept_keys,
                            const uint32_t *kept_labels, size_t kept_count, tl_version **out,
                            tl_error *err)
{
    tl_version *version = calloc(1, sizeof *version);
    if (version == NULL) return tl_fail(err, TL_ENOMEM, "version");
    version->number = number;
    version->parent = parent;
    version->op_count = op_count;
    version->weights_hash = hash_flat(graph, flat, false);
    version->backbone_hash = hash_flat(graph, flat, true);
    version->kept_keys = malloc((kept_count + 1) * sizeof *kept_keys);
    version->kept_labels = malloc((kept_count + 1) * sizeof *kept_labels);
    version->kept_count = kept_count;
    tl_status status = TL_OK;
    if (version->kept_keys == NULL || version->kept_labels == NULL)
        status = tl_fail(err, TL_ENOMEM, "version");
    if (status == TL_OK) status = tl_weights_create(graph, flat, &version->weights, err);
    if (status != TL_OK) {
        tl_version_destroy(&version);
        return status;
    }
    if (kept_count > 0) {
        memcpy(version->kept_keys, kept_keys, kept_count * sizeof *kept_keys);
        memcpy(version->kept_labels, kept_labels, kept_count * sizeof *kept_labels);
    }
    *out = version;
    return TL_OK;
}

void tl_version_destroy(tl_version **version)
{
    if (*version == NULL) return;
    tl_weights_release(&(*version)->weights);
    tl_head_stats_destroy(&(*version)->stats);
    free((*version)->kept_keys);
    free((*version)->kept_labels);
    free(*version);
    *version = NULL;
}

uint32_t tl_version_fast_features(const tl_graph *graph, const tl_loop_info *info)
{
    uint32_t count = (uint32_t)tl_graph_feature_count(graph);
    return info->input == TL_INPUT_IMAGE && count > TL_FAST_FEATURES_MAX ? TL_FAST_FEATURES_MAX
                                                                         : count;
}

tl_status tl_version_empty_stats(const tl_graph *graph, const tl_loop_info *info,
                                 float feature_range, size_t class_count, tl_head_stats **out,
                                 tl_error *err)
{
    tl_head_stats_options options = {
        .feature_count = tl_version_fast_features(graph, info),
        .input_count = (uint32_t)tl_graph_feature_count(graph),
        .class_count = (uint32_t)class_count,
        .form = info->input == TL_INPUT_FEATURES ? TL_HEAD_RAW : TL_HEAD_UNIT,
        .range = info->input == TL_INPUT_FEATURES ? feature_range : 1.0f,
    };
    return tl_head_stats_create(&options, out, err);
}

tl_status tl_version_warm(tl_version *version, tl_graph *graph, tl_featurizer *featurizer,
                          const tl_loop_info *info, float feature_range, size_t class_count,
                          tl_error *err)
{
    size_t feature_count = tl_graph_feature_count(graph);
    tl_head_stats *stats = NULL;
    tl_status status = tl_version_empty_stats(graph, info, feature_range, class_count, &stats, err);
    float *features = malloc((version->kept_count * feature_count + 1) * sizeof *features);
    bool *found = malloc(version->kept_count + 1);
    if (status == TL_OK && (features == NULL || found == NULL))
        status = tl_fail(err, TL_ENOMEM, "features of %zu items", version->kept_count);
    if (status == TL_OK)
        status = tl_featurizer_run(featurizer, version->weights, version->kept_keys,
                                   version->kept_count, features, NULL, found, err);
    for (size_t i = 0; status == TL_OK && i < version->kept_count; i++)
        if (found[i])
            status = tl_head_stats_add(stats, features + i * feature_count, version->kept_labels[i],
                                       +1, err);
    free(features);
    free(found);
    if (status != TL_OK) {
        tl_head_stats_destroy(&stats);
        return status;
    }
    tl_head_stats_destroy(&version->stats);
    version->stats = stats;
    return TL_OK;
}

tl_status tl_version_save(const tl_version *version, tl_graph *graph, tl_blob *blob, tl_error *err)
{
    size_t section = tl_blob_section_begin(blob, "VERS", BLOB_VERSION);
    size_t float_count = tl_graph_float_count(graph);
    tl_blob_u64(blob, version->number);
    tl_blob_u64(blob, version->parent);
    tl_blob_u64(blob, version->op_count);
    tl_blob_u64(blob, tl_graph_hash(graph));
    tl_blob_u64(blob, float_count);
    tl_blob_f32s(blob, tl_weights_flat(version->weights), float_count);
    tl_blob_u64(blob, version->kept_count);
    tl_blob_u64s(blob, version->kept_keys, version->kept_count);
    for (size_t i = 0; i < version->kept_count; i++) tl_blob_u32(blob, version->kept_labels[i]);
    tl_blob_section_end(blob, section);
    return tl_blob_ok(blob) ? TL_OK : tl_fail(err, TL_ENOMEM, "saving a version");
}

typedef struct parsed_version {
    uint64_t number, parent, op_count;
    float *flat;
    uint64_t *kept_keys;
    uint32_t *kept_labels;
    size_t kept_count;
} parsed_version;

static tl_status parse(tl_graph *graph, tl_blob_reader *body, parsed_version *out, tl_error *err)
{
    out->number = tl_blob_read_u64(body);
    out->parent = tl_blob_read_u64(body);
    out->op_count = tl_blob_read_u64(body);
    uint64_t graph_hash = tl_blob_read_u64(body);
    uint64_t float_count = tl_blob_read_u64(body);
    if (graph_hash != tl_graph_hash(graph) || float_count != tl_graph_float_count(graph))
        return tl_fail(err, TL_ECORRUPT, "a version was made for another network");
    out->flat = malloc(float_count * sizeof *out->flat);
    if (out->flat == NULL) return tl_fail(err, TL_ENOMEM, "version");
    tl_blob_read_f32s(body, out->flat, float_count);
    uint64_t kept = tl_blob_read_u64(body);
    if (kept > KEPT_MAX || kept > tl_blob_left(body) / 12)
        return tl_fail(err, TL_ECORRUPT, "a version claims %llu kept items",
                       (unsigned long long)kept);
    out->kept_count = (size_t)kept;
    out->kept_keys = malloc((kept + 1) * sizeof *out->kept_keys);
    out->kept_labels = malloc((kept + 1) * sizeof *out->kept_labels);
    if (out->kept_keys == NULL || out->kept_labels == NULL)
        return tl_fail(err, TL_ENOMEM, "version");
    tl_blob_read_u64s(body, out->kept_keys, out->kept_count);
    for (size_t i = 0; i < out->kept_count; i++) out->kept_labels[i] = tl_blob_read_u32(body);
    return tl_blob_read_end(body, "a version", err);
}

tl_status tl_version_load(tl_graph *graph, const void *data, size_t bytes, tl_version **out,
                          tl_error *err)
{
    tl_blob_reader reader, body;
    uint32_t format;
    parsed_version parsed = { 0 };
    tl_blob_reader_init(&reader, data, bytes);
    tl_status status = tl_blob_read_section(&reader, "VERS", BLOB_VERSION, &body, &format, err);
    if (status == TL_OK) status = parse(graph, &body, &parsed, err);
    if (status == TL_OK)
        status =
            tl_version_create(graph, parsed.flat, parsed.number, parsed.parent, parsed.op_count,
                              parsed.kept_keys, parsed.kept_labels, parsed.kept_count, out, err);
    free(parsed.flat);
    free(parsed.kept_keys);
    free(parsed.kept_labels);
    return status;
}

tl_status tl_version_read(tl_graph *graph, tl_item_reader *items, uint64_t number, tl_version **out,
                          tl_error *err)
{
    tl_arena_reset(&items->arena);
    tl_record record;
    tl_status status =
        tl_journal_find_version(items->journal, items->loop, number, &items->arena, &record, err);
    if (status != TL_OK) return status;
    if (record.as.version.weights == NULL)
        return tl_fail(err, TL_ENOTFOUND, "the weights of version %llu are not kept any more",
                       (unsigned long long)number);
    return tl_version_load(graph, record.as.version.weights, record.as.version.weights_bytes, out,
                           err);
}

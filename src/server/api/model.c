/* model.c - what is served: metadata and readiness of the Open Inference Protocol, the repository.
 */
#include "server/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSIONS_MAX = 256 };

tl_status tl_live_handle(tl_request *request, tl_error *err)
{
    (void)err;
    request->static_body = "{\"live\":true}";
    return TL_OK;
}

tl_status tl_ready_handle(tl_request *request, tl_error *err)
{
    (void)err;
    request->static_body = "{\"ready\":true}";
    return TL_OK;
}

tl_status tl_server_metadata_handle(tl_request *request, tl_error *err)
{
    (void)err;
    tl_json_writer w;
    tl_json_begin(&w, &request->text);
    tl_json_object(&w);
    tl_json_key(&w, "name");
    tl_json_string(&w, "tightloop");
    tl_json_key(&w, "version");
    tl_json_string(&w, tl_version_text());
    tl_json_key(&w, "extensions");
    static const char extensions[] = "[\"binary_tensor_data\",\"model_repository\",\"feedback\"]";
    tl_json_raw(&w, extensions, sizeof extensions - 1);
    tl_json_object_end(&w);
    return TL_OK;
}

static void write_tensor(tl_json_writer *w, const char *name, const char *datatype, int64_t columns)
{
    tl_json_object(w);
    tl_json_key(w, "name");
    tl_json_string(w, name);
    tl_json_key(w, "datatype");
    tl_json_string(w, datatype);
    tl_json_key(w, "shape");
    tl_json_array(w);
    tl_json_int(w, -1);
    if (columns > 0) tl_json_int(w, columns);
    tl_json_array_end(w);
    tl_json_object_end(w);
}

static void write_tensors(tl_json_writer *w, const tl_loop_info *info)
{
    tl_json_key(w, "inputs");
    tl_json_array(w);
    if (info->input == TL_INPUT_FEATURES) {
        write_tensor(w, "features", "FP32", info->feature_count);
    } else {
        write_tensor(w, "image", "BYTES", 1);
        if (info->has_template) write_tensor(w, "reference", "BYTES", 1);
    }
    tl_json_array_end(w);
    tl_json_key(w, "outputs");
    tl_json_array(w);
    write_tensor(w, "scores", "FP32", (int64_t)info->class_count);
    write_tensor(w, "label", "BYTES", 1);
    write_tensor(w, "flagged", "BOOL", 0);
    tl_json_array_end(w);
}

/* What else a person wants to know of the model. */
static void write_parameters(tl_json_writer *w, const tl_loop_info *info)
{
    tl_json_key(w, "parameters");
    tl_json_object(w);
    tl_json_key(w, "classes");
    tl_json_array(w);
    for (size_t i = 0; i < info->class_count; i++) tl_json_string(w, info->classes[i]);
    tl_json_array_end(w);
    if (info->input == TL_INPUT_IMAGE) {
        tl_json_key(w, "height");
        tl_json_uint(w, info->height);
        tl_json_key(w, "width");
        tl_json_uint(w, info->width);
        tl_json_key(w, "channels");
        tl_json_uint(w, info->channels);
    }
    tl_json_object_end(w);
}

static tl_status version_unknown(const tl_request *request, tl_error *err)
{
    return tl_fail(err, TL_ENOTFOUND,
                   "loop \"%s\" keeps no version %llu; GET /v2/models/%s/versions lists them",
                   request->match.loop, (unsigned long long)request->version, request->match.loop);
}

/* The newest versions; *out is malloc'ed. */
static tl_status versions_get(tl_loop *loop, tl_version_info **out, size_t *count, tl_error *err)
{
    tl_version_info *versions = calloc(VERSIONS_MAX, sizeof *versions);
    if (versions == NULL) return tl_fail(err, TL_ENOMEM, "out of memory; try again");
    *count = tl_loop_versions(loop, versions, VERSIONS_MAX);
    *out = versions;
    return TL_OK;
}

/* A path without a version is right for any loop; with one, the version must be kept. */
static bool version_is_there(const tl_request *request, const tl_version_info *versions,
                             size_t count)
{
    if (request->version == 0) return true;
    for (size_t i = 0; i < count; i++)
        if (versions[i].number == request->version) return versions[i].kept;
    return false;
}

tl_status tl_model_handle(tl_request *request, tl_error *err)
{
    tl_loop_info info;
    tl_loop_describe(request->loop, &info);
    tl_version_info *versions = NULL;
    size_t count = 0;
    tl_status status = versions_get(request->loop, &versions, &count, err);
    if (status != TL_OK) return status;
    if (!version_is_there(request, versions, count)) {
        free(versions);
        return version_unknown(request, err);
    }
    tl_json_writer w;
    tl_json_begin(&w, &request->text);
    tl_json_object(&w);
    tl_json_key(&w, "name");
    tl_json_string(&w, info.name);
    tl_json_key(&w, "versions");
    tl_json_array(&w);
    for (size_t i = 0; i < count; i++) {
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)versions[i].number);
        if (versions[i].kept) tl_json_string(&w, number);
    }
    tl_json_array_end(&w);
    tl_json_key(&w, "platform");
    tl_json_string(&w, "tightloop");
    write_tensors(&w, &info);
    write_parameters(&w, &info);
    tl_json_object_end(&w);
    free(versions);
    return TL_OK;
}

tl_status tl_model_ready_handle(tl_request *request, tl_error *err)
{
    tl_version_info *versions = NULL;
    size_t count = 0;
    tl_status status = versions_get(request->loop, &versions, &count, err);
    if (status != TL_OK) return status;
    bool there = version_is_there(request, versions, count);
    free(versions);
    if (!there) return version_unknown(request, err);
    tl_json_writer w;
    tl_json_begin(&w, &request->text);
    tl_json_object(&w);
    tl_json_key(&w, "name");
    tl_json_string(&w, request->match.loop);
    tl_json_key(&w, "ready");
    tl_json_boolean(&w, true);
    tl_json_object_end(&w);
    return TL_OK;
}

/* ---- Repository ------------------------------------------------------------------------------ */

/* Every open loop is ready, so {"ready": true} asks for the same. */
tl_status tl_index_handle(tl_request *request, tl_error *err)
{
    tl_scratch *scratch = tl_scratch_take(request->server, err);
    if (scratch == NULL) return TL_ENOMEM;
    const tl_json *root;
    tl_status status = tl_request_json(request, scratch, true, &root, err);
    if (status == TL_OK && root != NULL && root->kind != TL_JSON_OBJECT)
        status = tl_fail(err, TL_EINVAL, "the body must be empty or {\"ready\": true}");
    tl_scratch_give(request->server, scratch);
    if (status != TL_OK) return status;
    tl_json_writer w;
    tl_json_begin(&w, &request->text);
    tl_json_array(&w);
    tl_loop *loop;
    for (size_t i = 0; (loop = tl_runtime_loop_at(request->server->runtime, i)) != NULL; i++) {
        tl_loop_info info;
        tl_loop_state state;
        tl_loop_describe(loop, &info);
        tl_loop_status(loop, &state);
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)state.champion);
        tl_json_object(&w);
        tl_json_key(&w, "name");
        tl_json_string(&w, info.name);
        tl_json_key(&w, "version");
        tl_json_string(&w, number);
        tl_json_key(&w, "state");
        tl_json_string(&w, "READY");
        tl_json_key(&w, "reason");
        tl_json_string(&w, "");
        tl_json_object_end(&w);
    }
    tl_json_array_end(&w);
    return TL_OK;
}

/* Loops are opened by the program's configuration; loading one that is open is done already. */
tl_status tl_load_handle(tl_request *request, tl_error *err)
{
    (void)err;
    request->static_body = "{}";
    return TL_OK;
}

tl_status tl_unload_handle(tl_request *request, tl_error *err)
{
    return tl_fail(err, TL_EUNSUPPORTED,
                   "loop \"%s\" stays open; take it out of the configuration and restart",
                   request->match.loop);
}

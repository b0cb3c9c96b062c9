#include "graph/onnx/import/file/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 1024 };

/* Where an initializer's numbers are. */
typedef struct place {
    const char *location;
    uint64_t offset, bytes;
    bool has_bytes;
} place;

static bool read_number(const char *text, uint64_t *out)
{
    if (text == NULL || *text < '0' || *text > '9') return false;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static tl_status read_place(const Onnx__TensorProto *tensor, place *out, tl_error *err)
{
    *out = (place){ .location = NULL };
    for (size_t i = 0; i < tensor->n_external_data; i++) {
        const Onnx__StringStringEntryProto *entry = tensor->external_data[i];
        if (entry->key == NULL) continue;
        bool right = true;
        if (strcmp(entry->key, "location") == 0) out->location = entry->value;
        if (strcmp(entry->key, "offset") == 0) right = read_number(entry->value, &out->offset);
        if (strcmp(entry->key, "length") == 0) {
            right = read_number(entry->value, &out->bytes);
            out->has_bytes = true;
        }
        if (!right)
            return tl_fail(err, TL_EINVAL, "initializer %s: %s of its external data is no number",
                           onnx_word_of(tensor->name).text, onnx_word_of(entry->key).text);
    }
    if (!onnx_is_named(out->location))
        return tl_fail(err, TL_EINVAL, "initializer %s: its external data has no location",
                       onnx_word_of(tensor->name).text);
    return TL_OK;
}

/* Open `location` below the folder, one part of the path after the other: no part is "..", none a
 * link. *file is -1 on an error. */
static tl_status open_below(const char *folder, const char *location, int *file, tl_error *err)
{
    char path[PATH_BYTES_MAX];
    *file = -1;
    onnx_word word = onnx_word_of(location);
    size_t bytes = strlen(location);
    if (bytes >= sizeof path || *location == '/')
        return tl_fail(err, TL_EUNSUPPORTED, "external data %s: not a path below the model",
                       word.text);
    memcpy(path, location, bytes + 1);
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *rest = path;
    for (char *part = strsep(&rest, "/"); part != NULL && at >= 0; part = strsep(&rest, "/")) {
        if (*part == '\0' || strcmp(part, ".") == 0) continue;
        if (strcmp(part, "..") == 0) {
            close(at);
            return tl_fail(err, TL_EUNSUPPORTED,
                           "external data %s: the path leads out of the model's folder; keep the "
                           "data beside the model",
                           word.text);
        }
        int kind = rest == NULL ? O_NONBLOCK : O_DIRECTORY;
        int next = openat(at, part, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | kind);
        int code = errno;
        close(at);
        at = next;
        errno = code;
    }
    if (at < 0)
        return tl_fail(err, errno == ENOENT ? TL_ENOTFOUND : TL_EIO, "external data %s: %s",
                       word.text,
                       errno == ELOOP ? "it is a link, which is not followed" : strerror(errno));
    *file = at;
    return TL_OK;
}

static tl_status read_all(int file, void *data, size_t bytes, uint64_t offset, tl_error *err)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(file, (char *)data + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return tl_fail(err, TL_EIO, "external data: %s", got < 0 ? strerror(errno) : "cut off");
        done += (size_t)got;
    }
    return TL_OK;
}

static tl_status load_one(Onnx__TensorProto *tensor, const char *folder, tl_arena *arena,
                          size_t *left, tl_error *err)
{
    place p;
    int file;
    struct stat info;
    onnx_word word = onnx_word_of(tensor->name);
    tl_status status = read_place(tensor, &p, err);
    if (status == TL_OK) status = open_below(folder, p.location, &file, err);
    if (status != TL_OK) return status;
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
        status = tl_fail(err, TL_EINVAL, "initializer %s: its external data is no file", word.text);
    } else if (p.offset > (uint64_t)info.st_size ||
               (p.has_bytes && p.bytes > (uint64_t)info.st_size - p.offset)) {
        status = tl_fail(err, TL_EINVAL, "initializer %s: its external data is cut off", word.text);
    } else {
        if (!p.has_bytes) p.bytes = (uint64_t)info.st_size - p.offset;
        if (p.bytes > *left)
            status = tl_fail(err, TL_ELIMIT, "ONNX file: over %zu MB of external data",
                             ONNX_FILE_BYTES_MAX >> 20);
    }
    if (status == TL_OK) {
        *left -= p.bytes;
        arena->bytes_max += 6 * p.bytes;
        tensor->raw_data.len = p.bytes;
        tensor->raw_data.data = tl_arena_alloc(arena, p.bytes + 1);
        if (tensor->raw_data.data == NULL)
            status = tl_fail(err, TL_ENOMEM, "initializer %s", word.text);
        else
            status = read_all(file, tensor->raw_data.data, p.bytes, p.offset, err);
    }
    close(file);
    if (status != TL_OK) return status;
    tensor->has_raw_data = 1;
    tensor->n_external_data = 0;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
    return TL_OK;
}

tl_status onnx_external_load(Onnx__GraphProto *graph, const char *folder, tl_arena *arena,
                             tl_error *err)
{
    size_t left = ONNX_FILE_BYTES_MAX;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        Onnx__TensorProto *tensor = graph->initializer[i];
        if (!tensor->has_data_location ||
            tensor->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
            continue;
        tl_status status = load_one(tensor, folder, arena, &left, err);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

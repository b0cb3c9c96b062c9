#include "graph/onnx/import/file/internal.h"

#include <string.h>

/* The protobuf library recurses once a nested message and merges repeated occurrences of a singular
 * one, so a small hostile file could exhaust the stack or the processor. A scan of the wire format
 * refuses both before; the arena bounds the memory. Wire format: protobuf.dev/programming-guides/
 * encoding. */

typedef struct wire {
    const uint8_t *at, *end;
} wire;

static bool take_varint(wire *w, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (w->at == w->end) return false;
        uint8_t byte = *w->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool skip(wire *w, uint64_t bytes)
{
    if (bytes > (uint64_t)(w->end - w->at)) return false;
    w->at += bytes;
    return true;
}

/* The bytes of a field of this wire type; `body` is set for length-delimited ones. */
static bool take_field(wire *w, unsigned wire_type, wire *body)
{
    uint64_t number;
    *body = (wire){ NULL, NULL };
    switch (wire_type) {
    case 0: return take_varint(w, &number);
    case 1: return skip(w, 8);
    case 5: return skip(w, 4);
    case 2:
        if (!take_varint(w, &number)) return false;
        body->at = w->at;
        if (!skip(w, number)) return false;
        body->end = w->at;
        return true;
    default: return false; /* groups are not used by ONNX */
    }
}

static tl_status scan_message(const ProtobufCMessageDescriptor *descriptor, wire w, unsigned depth,
                              tl_error *err)
{
    uint64_t seen = 0; /* by field: singular messages that occurred */
    if (depth > ONNX_DEPTH_MAX)
        return tl_fail(err, TL_ELIMIT, "ONNX file: messages nested deeper than %d", ONNX_DEPTH_MAX);
    while (w.at < w.end) {
        uint64_t key;
        wire body;
        if (!take_varint(&w, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX >> 3 ||
            !take_field(&w, key & 7, &body))
            return tl_fail(err, TL_EINVAL, "not an ONNX file, or it is damaged or cut off");
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(descriptor, (unsigned)(key >> 3));
        if (field == NULL || field->type != PROTOBUF_C_TYPE_MESSAGE || body.at == NULL) continue;
        size_t bit = (size_t)(field - descriptor->fields);
        TL_ASSERT(bit < 64);
        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
            if (seen >> bit & 1)
                return tl_fail(err, TL_EINVAL, "ONNX file: field %s occurs twice", field->name);
            seen |= UINT64_C(1) << bit;
        }
        tl_status status = scan_message(field->descriptor, body, depth + 1, err);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

typedef struct memory {
    tl_arena *arena;
    bool refused; /* a request went over the arena's bound */
} memory;

static void *model_alloc(void *context, size_t bytes)
{
    memory *m = context;
    void *out = tl_arena_alloc(m->arena, bytes);
    m->refused |= out == NULL;
    return out;
}

/* Freed with the arena. */
static void model_free(void *context, void *pointer)
{
    (void)context;
    (void)pointer;
}

/* The word that TFLite files have behind the offset of their first table. */
static bool is_tflite(const void *data, size_t bytes)
{
    return bytes >= 8 && memcmp((const uint8_t *)data + 4, "TFL3", 4) == 0;
}

tl_status onnx_model_parse(const void *data, size_t bytes, tl_arena *arena, Onnx__ModelProto **out,
                           tl_error *err)
{
    if (is_tflite(data, bytes))
        return tl_fail(err, TL_EUNSUPPORTED,
                       "a TFLite file; convert it first: python -m tf2onnx.convert --tflite FILE "
                       "--output network.onnx (docs/models.md says how)");
    wire w = { data, (const uint8_t *)data + bytes };
    tl_status status = scan_message(&onnx__model_proto__descriptor, w, 0, err);
    if (status != TL_OK) return status;
    memory m = { arena, false };
    ProtobufCAllocator allocator = { model_alloc, model_free, &m };
    Onnx__ModelProto *model = onnx__model_proto__unpack(&allocator, bytes, data);
    if (m.refused)
        return tl_fail(err, TL_ELIMIT, "ONNX file: its structure needs over %zu MB of memory",
                       arena->bytes_max >> 20);
    if (model == NULL)
        return tl_fail(err, TL_EINVAL, "not an ONNX file, or it is damaged or cut off");
    if (model->graph == NULL) return tl_fail(err, TL_EINVAL, "ONNX file: it holds no graph");
    *out = model;
    return TL_OK;
}
